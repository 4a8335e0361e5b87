//! What a file is called in each hierarchy.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::{Entry, Hierarchy, Target};
use crate::{Error, Tree};

/// Joliet allows 64 units; 103 is what fits in a record beside what Windows and Linux want to read, and
/// what `genisoimage -joliet-long` and libisofs write.
const MAX_JOLIET_UNITS: usize = 103;
/// Linux cuts a Rock Ridge name off at 254 bytes (`fs/isofs/rock.c`).
const MAX_ROCK_RIDGE_BYTES: usize = 253;
/// Of name and extension together (ECMA-119, 7.5.1).
const MAX_PRIMARY_CHARS: usize = 30;

/// The identifiers of one entry.
#[derive(Debug, Default)]
pub(super) struct Names {
    stem: String,
    extension: String,
    is_file: bool,
    joliet: Vec<u16>,
}

impl Names {
    /// The identifier as bytes of a record.
    pub(super) fn identifier(&self, hierarchy: Hierarchy) -> Vec<u8> {
        match hierarchy {
            Hierarchy::Primary if self.is_file => format!("{}.{};1", self.stem, self.extension).into_bytes(),
            Hierarchy::Primary => self.stem.clone().into_bytes(),
            Hierarchy::Joliet => self.joliet.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
        }
    }

    /// The order of records in a directory (ECMA-119, 9.3).
    pub(super) fn cmp_in(&self, other: &Self, hierarchy: Hierarchy) -> Ordering {
        match hierarchy {
            Hierarchy::Primary => (&self.stem, &self.extension).cmp(&(&other.stem, &other.extension)),
            Hierarchy::Joliet => self.joliet.cmp(&other.joliet),
        }
    }
}

/// Whether every name can be written in full, so that no guest sees another name than the one given.
pub(super) fn check(tree: &Tree) -> Result<(), Error> {
    for path in tree.directories().chain(tree.files().map(|(path, _)| path)) {
        let name = path.rsplit('/').next().unwrap_or(path);
        let reason = if name.encode_utf16().count() > MAX_JOLIET_UNITS {
            "a part of the path is longer than the 103 characters that Joliet holds"
        } else if name.len() > MAX_ROCK_RIDGE_BYTES {
            "a part of the path is longer than the 253 bytes that Rock Ridge holds"
        } else if name.contains(';') {
            "a part of the path has a semicolon, which ISO 9660 keeps for versions"
        } else {
            continue;
        };
        return Err(Error::InvalidPath { path: path.to_owned(), reason });
    }
    Ok(())
}

/// Gives the entries of one directory their identifiers.
pub(super) fn assign(entries: &mut [Entry<'_>]) {
    let mut taken = HashSet::new();
    for entry in entries {
        let is_file = matches!(entry.target, Target::File(_));
        let (stem, extension) = match entry.name.rsplit_once('.') {
            Some((stem, extension)) if is_file && !stem.is_empty() => (stem, extension),
            _ => (entry.name, ""),
        };
        let extension = plain(extension, MAX_PRIMARY_CHARS / 2);
        let room = MAX_PRIMARY_CHARS - extension.len();
        let mut candidate = plain(stem, room);
        let mut number = 0u32;
        while !taken.insert((candidate.clone(), extension.clone())) {
            let suffix = number.to_string();
            candidate = plain(stem, room - suffix.len()) + &suffix;
            number += 1;
        }
        entry.names =
            Names { stem: candidate, extension, is_file, joliet: entry.name.encode_utf16().collect() };
    }
}

/// In the characters that ISO 9660 allows, cut off at a length.
fn plain(text: &str, max_chars: usize) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    text.chars().map(plain).take(max_chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iso9660::Content;

    #[test]
    fn identifiers_are_plain_and_different() {
        let long = "a".repeat(60);
        let longer = format!("{long}.json");
        let (cut, cut_stem) = (format!("{}.;1", "A".repeat(30)), format!("{}.JSON;1", "A".repeat(26)));
        let file = Target::File(Content { sector: 0, len: 0 });
        let cases = [
            ("2012-08-10", Target::Directory(1), "2012_08_10"),
            ("2012.08.10", Target::Directory(2), "2012_08_100"),
            ("2012_08_10", Target::Directory(3), "2012_08_101"),
            ("meta_data.json", file, "META_DATA.JSON;1"),
            ("meta-data.json", file, "META_DATA0.JSON;1"),
            ("user_data", file, "USER_DATA.;1"),
            (".profile", file, "_PROFILE.;1"),
            ("é.tar.gz", file, "__TAR.GZ;1"),
            (&long, file, &cut),
            (&longer, file, &cut_stem),
        ];
        let mut entries = cases.map(|(name, target, _)| Entry { name, names: Names::default(), target });
        assign(&mut entries);
        for (entry, (name, _, expected)) in entries.iter().zip(cases) {
            let identifier = entry.names.identifier(Hierarchy::Primary);
            assert_eq!(String::from_utf8(identifier).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn what_one_of_the_hierarchies_could_not_hold_is_refused() {
        for (path, expected) in [
            ("x".repeat(104), Err("103 characters")),
            (format!("{}/file", "x".repeat(104)), Err("103 characters")),
            ("日".repeat(85), Err("253 bytes")),
            ("a;1".to_owned(), Err("semicolon")),
            ("x".repeat(103), Ok(())),
            ("日".repeat(84), Ok(())),
        ] {
            match (check(&Tree::from_files([(path, "")]).unwrap()), expected) {
                (Ok(()), Ok(())) => {}
                (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
                (result, expected) => panic!("{result:?} instead of {expected:?}"),
            }
        }
    }
}
