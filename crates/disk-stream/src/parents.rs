//! Finding the parents of a differencing VHD.
//!
//! Whoever wrote a VHD chose the paths in it, so a path alone never opens a file: either the caller
//! names the files, or they lie in a folder that the caller named, reached without symbolic links and
//! without leaving it, and are recognised by their uuid.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use vhd::chain::{ChainError, by_uuid};
use vhd::format::ParentPath;

use crate::error::Error;
use crate::image::{Declared, Opening};
use crate::layer::{DiskFile, Layer};

/// Where the parents of a differencing VHD are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Parents {
    /// A differencing VHD is refused: it is not a whole disk.
    #[default]
    Refuse,
    /// The VHD is opened alone; what it lacks reads as zeros. To look at it, not to copy it.
    Ignore,
    /// These files, from the VHD's parent to the root, as an OVA or a descriptor lists them. A raw
    /// disk can only be the last one, of a VHD that names a raw parent.
    Order(Vec<PathBuf>),
    /// Whichever of these files, and of the files named `*.vhd` directly in these folders, has the
    /// right uuid.
    Among(Vec<PathBuf>),
    /// Where the locators say, but only inside of this folder (and the folders in it): no symbolic
    /// links, no `..` beyond it, no device. Where a locator holds an absolute path, a file of that
    /// name beside the child is tried. The VHD itself must be in the folder, too.
    Within(PathBuf),
}

/// All layers, from `leaf` on.
pub(crate) fn find_parents(leaf: Layer, parents: &Parents, opening: &Opening) -> Result<Vec<Layer>, Error> {
    match parents {
        Parents::Refuse | Parents::Ignore => Ok(vec![leaf]),
        Parents::Order(paths) => in_order(leaf, paths, opening),
        Parents::Among(paths) => among(leaf, paths, opening),
        Parents::Within(folder) => within(leaf, folder, opening),
    }
}

fn in_order(leaf: Layer, paths: &[PathBuf], opening: &Opening) -> Result<Vec<Layer>, Error> {
    let mut layers = vec![leaf];
    for path in paths {
        let raw = layers.last().is_some_and(names_raw_parent);
        // A raw disk's content must not make a VHD of it, nor a VHD's a raw disk.
        let declared = if raw && !opening.rules.trust_order { Declared::Raw } else { Declared::Unknown };
        let layer = Layer::open(path, declared, opening)?;
        push(&mut layers, layer, opening)?;
    }
    Ok(layers)
}

fn names_raw_parent(layer: &Layer) -> bool {
    layer.link().parent.is_some_and(|parent| parent.uuid.is_none())
}

fn push(layers: &mut Vec<Layer>, layer: Layer, opening: &Opening) -> Result<(), Error> {
    let failed = |source| Error::Chain { path: layers[0].path().to_owned(), source };
    if let Some(same) = layers.iter().position(|other| other.identity() == layer.identity()) {
        let uuid = layer.link().uuid.unwrap_or_default();
        return Err(failed(ChainError::Cycle { layer: same, ancestor: layers.len(), uuid }));
    }
    if layers.len() >= opening.rules.depth {
        return Err(failed(ChainError::TooDeep { limit: opening.rules.depth }));
    }
    layers.push(layer);
    Ok(())
}

fn among(leaf: Layer, paths: &[PathBuf], opening: &Opening) -> Result<Vec<Layer>, Error> {
    let mut files = Vec::new();
    for path in paths {
        let failed = |source| Error::Open { path: path.clone(), source };
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        for entry in path.read_dir().map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            if file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("vhd")) {
                files.push(file);
            }
        }
    }
    let mut known = HashSet::from([leaf.identity()]);
    let (mut links, mut places) = (vec![leaf.link()], vec![(leaf.path().to_owned(), leaf.identity())]);
    for file in files {
        match Layer::open(&file, Declared::Vhd, opening) {
            // Of many disks, few are opened at a time.
            Ok(layer) if known.insert(layer.identity()) => {
                links.push(layer.link());
                places.push((file, layer.identity()));
            }
            Err(error @ Error::Open { .. }) if has_no_files_left(&error) => return Err(error),
            // What cannot be opened is nobody's parent; what is needed and missing is told below.
            Ok(_) | Err(_) => {}
        }
    }
    let failed = |source| Error::Chain { path: leaf.path().to_owned(), source };
    let order = by_uuid(&links, 0, &opening.rules).map_err(failed)?;
    let mut layers = vec![leaf];
    for (path, identity) in order[1..].iter().map(|place| &places[*place]) {
        let layer = Layer::open(path, Declared::Vhd, opening)?;
        if layer.identity() != *identity {
            return Err(Error::Changed { path: path.clone(), what: "another file has its name" });
        }
        layers.push(layer);
    }
    Ok(layers)
}

/// Whether a file was not opened because too many are.
fn has_no_files_left(error: &Error) -> bool {
    let Error::Open { source, .. } = error else { return false };
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| source.raw_os_error() == Some(errno.raw_os_error()))
}

fn within(leaf: Layer, folder: &Path, opening: &Opening) -> Result<Vec<Layer>, Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Open { path, source }
    };
    let root = folder.canonicalize().map_err(failed(folder))?;
    let place = leaf.path().canonicalize().map_err(failed(leaf.path()))?;
    let Ok(inside) = place.strip_prefix(&root) else {
        let source = std::io::Error::other(format!("it is not in {}", folder.display()));
        return Err(Error::Open { path: leaf.path().to_owned(), source });
    };
    let directory = File::open(&root).map_err(failed(&root))?;
    let mut names = vec![inside.to_owned()];
    let mut layers = vec![leaf];
    while let Some(child) = layers.last().filter(|child| child.is_differencing()).cloned() {
        let wanted = child.link().parent.and_then(|parent| parent.uuid);
        let beside = names.last().and_then(|name| name.parent()).unwrap_or(Path::new("")).to_owned();
        let mut search =
            Search { wanted, directory: &directory, root: &root, opening, tried: String::new(), other: None };
        let Some((name, layer)) = search.find(&child, &beside)? else {
            let Search { tried, other, .. } = search;
            let path = child.path().to_owned();
            return Err(match other {
                Some(found) => Error::Chain {
                    path,
                    source: ChainError::ParentUuid { layer: layers.len() - 1, expected: wanted, found },
                },
                None => {
                    Error::ParentNotFound { path, parent: child.parent_name().unwrap_or_default(), tried }
                }
            });
        };
        push(&mut layers, layer, opening)?;
        names.push(name);
    }
    Ok(layers)
}

struct Search<'a> {
    /// The parent's uuid; `None` is a raw disk.
    wanted: Option<uuid::Uuid>,
    directory: &'a File,
    root: &'a Path,
    opening: &'a Opening,
    tried: String,
    /// What was found instead.
    other: Option<Option<uuid::Uuid>>,
}

impl Search<'_> {
    fn find(&mut self, child: &Layer, beside: &Path) -> Result<Option<(PathBuf, Layer)>, Error> {
        let paths = child.parent_paths()?;
        let (absolute, relative): (Vec<_>, Vec<_>) = paths.iter().partition(|path| path.is_absolute());
        for path in relative {
            if let Some(found) = self.open(beside, path.as_str()) {
                return Ok(Some(found));
            }
        }
        for path in &absolute {
            self.note(path.as_str(), "an absolute path");
        }
        // A raw disk cannot be recognised: for it, only what is said exactly.
        if self.wanted.is_some() {
            let header = child.map().and_then(|map| map.header()).map(|header| header.parent_name.as_str());
            let name = header.and_then(ParentPath::new);
            for path in absolute.into_iter().chain(name.as_ref()) {
                if let Some(found) = self.open(beside, path.file_name()) {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    fn note(&mut self, path: &str, why: impl std::fmt::Display) {
        let said = format!("{path:?}: {why}");
        // Several locators name the same file.
        if !self.tried.contains(&said) {
            let comma = if self.tried.is_empty() { "" } else { "; " };
            self.tried.push_str(&format!("{comma}{said}"));
        }
    }

    fn open(&mut self, beside: &Path, path: &str) -> Option<(PathBuf, Layer)> {
        let Some(inside) = normal(&beside.join(path)) else {
            self.note(path, "lies outside of the folder");
            return None;
        };
        let file = match open_beneath(self.directory, &inside) {
            Ok(file) => file,
            Err(error) => {
                self.note(path, error);
                return None;
            }
        };
        let declared = if self.wanted.is_some() { Declared::Vhd } else { Declared::Raw };
        let layer = match DiskFile::of(&self.root.join(&inside), file)
            .and_then(|file| Layer::of(file, declared, self.opening))
        {
            Ok(layer) => layer,
            Err(error) => {
                self.note(path, error);
                return None;
            }
        };
        let found = layer.link().uuid;
        if found != self.wanted && !self.opening.rules.trust_order {
            self.other.get_or_insert(found);
            return None;
        }
        Some((inside, layer))
    }
}

/// The path without `.` and `..`; `None` when it leads out of the folder it starts in.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => inside.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !inside.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(inside)
}

/// Opens a regular file in or below a folder, one name after the other, none of them a link.
fn open_beneath(directory: &File, path: &Path) -> std::io::Result<File> {
    let mut folder = directory.try_clone()?;
    let mut names = path.iter().peekable();
    while let Some(name) = names.next() {
        if names.peek().is_some() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            folder = openat(&folder, name, flags, Mode::empty())?.into();
            continue;
        }
        // Looked at before, because opening a device may have effects; O_NONBLOCK and the look that
        // follows are for what is put in its place in between.
        let stat = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(std::io::Error::other("not a regular file"));
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&folder, name, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other("not a regular file"));
        }
        return Ok(file);
    }
    Err(std::io::Error::other("it names no file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for (path, inside) in [
            ("a/../b.vhd", Some("b.vhd")),
            ("a/./b.vhd", Some("a/b.vhd")),
            ("a/../../b.vhd", None),
            ("../a/b.vhd", None),
            ("/etc/passwd", None),
        ] {
            assert_eq!(normal(Path::new(path)).as_deref(), inside.map(Path::new), "{path}");
        }
    }
}
