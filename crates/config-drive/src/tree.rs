//! The files of a drive, checked as they come in.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use crate::Error;
use crate::redacted::Redacted;

/// The files of a drive by their path from its root.
///
/// A path is relative, with `/` between its parts, and only made of names that vfat, ISO 9660 with
/// Joliet, Linux and Windows all accept. Directories exist because files are in them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tree {
    files: BTreeMap<String, Bytes>,
    /// What a file system without letter case sees, to what was written: files, and directories on their way.
    folded: BTreeMap<String, Entry>,
}

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    spelling: String,
    /// The file that this is, or the first file below this directory.
    file: String,
    is_directory: bool,
}

impl Tree {
    /// At most this many files.
    pub const MAX_FILES: usize = 1024;
    /// At most this many directories above a file.
    pub const MAX_DEPTH: usize = 16;
    /// At most this many bytes in one part of a path; vfat's limit is 255 UTF-16 units.
    pub const MAX_NAME_BYTES: usize = 255;

    /// A tree without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree of the given files.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert), for the first file that is refused.
    pub fn from_files<P: Into<String>, B: Into<Bytes>>(
        files: impl IntoIterator<Item = (P, B)>,
    ) -> Result<Self, Error> {
        let mut tree = Self::new();
        for (path, content) in files {
            tree.insert(path, content)?;
        }
        Ok(tree)
    }

    /// Adds a file.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPath`], [`Error::Collision`], [`Error::FileIsDirectory`] and
    /// [`Error::TooManyFiles`]; the tree is then as it was.
    pub fn insert(&mut self, path: impl Into<String>, content: impl Into<Bytes>) -> Result<(), Error> {
        let path = path.into();
        check_path(&path)?;
        if self.files.len() == Self::MAX_FILES {
            return Err(Error::TooManyFiles { path, limit: Self::MAX_FILES });
        }
        let mut entries = Vec::new();
        for end in path.match_indices('/').map(|(at, _)| at).chain([path.len()]) {
            let spelling = &path[..end];
            let is_directory = end < path.len();
            match self.folded.get(&fold(spelling)) {
                None => {
                    entries.push(Entry { spelling: spelling.to_owned(), file: path.clone(), is_directory });
                }
                Some(there) if there.spelling != spelling => {
                    return Err(Error::Collision { path, other: there.file.clone() });
                }
                Some(there) => match (there.is_directory, is_directory) {
                    (true, true) => {}
                    (false, false) => return Err(Error::Collision { other: path.clone(), path }),
                    (false, true) => {
                        return Err(Error::FileIsDirectory { path: there.file.clone(), other: path });
                    }
                    (true, false) => {
                        return Err(Error::FileIsDirectory { path, other: there.file.clone() });
                    }
                },
            }
        }
        self.folded.extend(entries.into_iter().map(|entry| (fold(&entry.spelling), entry)));
        self.files.insert(path, content.into());
        Ok(())
    }

    /// The files in the order of their paths, which does not depend on the order they were added in.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.files.iter().map(|(path, content)| (path.as_str(), content))
    }

    /// The directories, each after the one it is in.
    pub fn directories(&self) -> impl Iterator<Item = &str> {
        let mut directories: Vec<_> = self
            .folded
            .values()
            .filter(|entry| entry.is_directory)
            .map(|entry| entry.spelling.as_str())
            .collect();
        directories.sort_unstable();
        directories.into_iter()
    }

    /// The content of one file.
    pub fn file(&self, path: &str) -> Option<&Bytes> {
        self.files.get(path)
    }

    /// The sum of the lengths of all files.
    pub fn content_bytes(&self) -> u64 {
        self.files.values().map(|content| content.len() as u64).sum()
    }

    /// The error for an image that is too small.
    pub(crate) fn does_not_fit(&self, image_bytes: u64) -> Error {
        let largest = self.files.iter().max_by_key(|(_, content)| content.len());
        let (largest, largest_bytes) =
            largest.map(|(path, content)| (path.clone(), content.len() as u64)).unwrap_or_default();
        Error::DoesNotFit { content_bytes: self.content_bytes(), image_bytes, largest, largest_bytes }
    }
}

impl fmt::Debug for Tree {
    /// Paths and lengths; the content holds user data and passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.files.iter().map(|(path, content)| (path, Redacted(content.len()))))
            .finish()
    }
}

fn fold(path: &str) -> String {
    path.to_uppercase()
}

fn check_path(path: &str) -> Result<(), Error> {
    let invalid = |reason| Err(Error::InvalidPath { path: path.to_owned(), reason });
    if path.is_empty() {
        return invalid("the path is empty");
    }
    if path.starts_with('/') {
        return invalid("the path must be relative to the root of the drive");
    }
    if path.split('/').count() > Tree::MAX_DEPTH + 1 {
        return invalid("there are more than 16 directories in the path");
    }
    for name in path.split('/') {
        if let Some(reason) = fault_of_name(name) {
            return invalid(reason);
        }
    }
    Ok(())
}

/// Names in the common ground of the long names of vfat (FAT specification, "Long Directory Entries")
/// and what Windows will open.
fn fault_of_name(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("a part of the path is empty");
    }
    if name == "." || name == ".." {
        return Some("the path leads through \".\" or \"..\"");
    }
    if name.len() > Tree::MAX_NAME_BYTES {
        return Some("a part of the path is longer than 255 bytes");
    }
    if name.ends_with(['.', ' ']) || name.starts_with(' ') {
        return Some("a part of the path ends with a dot or has a space at its edge, which vfat drops");
    }
    if name.chars().any(|c| c.is_control() || "\"*/:<>?\\|".contains(c)) {
        return Some("a part of the path has a character that vfat does not allow");
    }
    if name.chars().any(|c| u32::from(c) > 0xffff) {
        return Some("a part of the path has a character outside Unicode's basic plane");
    }
    // FAT specification, "Long Directory Entries": U+FFFF fills what is left of an entry after the name.
    if name.contains(['\u{fffe}', '\u{ffff}']) {
        return Some(
            "a part of the path has U+FFFE or U+FFFF, which are no characters and end a name on vfat",
        );
    }
    let stem = name.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let numbered = |device: &str| {
        stem.strip_prefix(device).is_some_and(|rest| rest.len() == 1 && rest.as_bytes()[0].is_ascii_digit())
    };
    if ["CON", "PRN", "AUX", "NUL"].contains(&stem.as_str()) || numbered("COM") || numbered("LPT") {
        return Some("a part of the path is the name of a device on Windows");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(paths: &[&str], expected: Result<(), &str>) {
        let result = Tree::from_files(paths.iter().map(|path| (*path, "")));
        match (result, expected) {
            (Ok(tree), Ok(())) => assert_eq!(tree.files().count(), paths.len()),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (result, expected) => panic!("{paths:?}: {result:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn paths() {
        check(&["openstack/latest/meta_data.json", "openstack/content/0000", "é/日本"], Ok(()));
        check(&["a.b/c", "a/b", "ab"], Ok(()));
        check(&["console", "com", "com10", "lpt.x"], Ok(()));
        for (path, expected) in [
            ("", "empty"),
            ("/etc/passwd", "relative"),
            ("../x", "\"..\""),
            ("a/../../x", "\"..\""),
            ("a/./x", "\"..\""),
            ("a//x", "empty"),
            ("a/", "empty"),
            ("a\\x", "does not allow"),
            ("C:x", "does not allow"),
            ("a\0x", "does not allow"),
            ("a\nx", "does not allow"),
            ("a?", "does not allow"),
            ("x.", "drops"),
            ("a /x", "drops"),
            ("😀", "basic plane"),
            ("2@\u{ffff}", "no characters"),
            ("d\u{ffff}/x", "no characters"),
            ("a/nul.txt", "device"),
            ("COM1", "device"),
            ("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r", "16 directories"),
        ] {
            check(&[path], Err(expected));
        }
        check(&["x".repeat(255).as_str()], Ok(()));
        check(&["x".repeat(256).as_str()], Err("255 bytes"));
    }

    #[test]
    fn collisions() {
        check(&["a/x", "a/X"], Err("one name"));
        check(&["a/x", "A/y"], Err("one name"));
        check(&["a/x", "a/x"], Err("one name"));
        check(&["a/é", "a/É"], Err("one name"));
        check(&["a", "a/x"], Err("\"a\" is a file and also the directory of \"a/x\""));
        check(&["a/b/x", "a/b"], Err("\"a/b\" is a file and also the directory of \"a/b/x\""));
    }

    #[test]
    fn a_refused_file_leaves_nothing_behind() {
        let mut tree = Tree::from_files([("d/x", "1")]).unwrap();
        let before = tree.clone();
        tree.insert("new/../y", "2").unwrap_err();
        tree.insert("d/x/deeper/y", "2").unwrap_err();
        assert_eq!(tree, before);
        assert_eq!(tree.directories().collect::<Vec<_>>(), ["d"]);
    }

    #[test]
    fn no_more_files_than_allowed() {
        let mut tree = Tree::from_files((0..Tree::MAX_FILES).map(|i| (i.to_string(), ""))).unwrap();
        let error = tree.insert("last", "").unwrap_err();
        assert_eq!(error, Error::TooManyFiles { path: "last".into(), limit: Tree::MAX_FILES });
    }

    #[test]
    fn debug_shows_no_content() {
        let tree = Tree::from_files([("openstack/latest/user_data", "top secret")]).unwrap();
        assert_eq!(format!("{tree:?}"), r#"{"openstack/latest/user_data": <10 bytes>}"#);
    }
}
