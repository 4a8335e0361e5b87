//! Who has a disk as its parent.

use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;
use vhd::format::{FOOTER_LEN, Footer, ParentPath};
use vhd::{EndFooterPolicy, Surplus};

use crate::error::Error;
use crate::image::{Declared, Opening};
use crate::layer::{DiskFile, Identity, Layer, identity};
use crate::parents::Parents;
use crate::target::folder;

/// The VHDs beside a disk that have it as their parent, and the qcow2 images that have it as their backing file: files and
/// block devices of its folder, and of the one where it really is if its name is a link, whatever they are called. What somebody has open, and what lacks its last footer, count as well. Blocking.
///
/// What lies in other folders is not looked for, nor in those below; nor are files that were never completed (`.NAME.partial`).
///
/// # Errors
/// [`Error::Open`] when the folder cannot be read. [`Error::Refused`] when something in it begins or ends as a VHD does and
/// cannot be understood, or is called one and cannot be read: nobody knows whose child it is.
pub fn children_of(disk: &Layer) -> Result<Vec<PathBuf>, Error> {
    let found = children(disk, None, &[folder(disk.path())])?;
    Ok(found.into_iter().map(|child| child.path).collect())
}

/// What has a disk as its parent.
pub(crate) struct Child {
    pub(crate) path: PathBuf,
    pub(crate) identity: Identity,
    /// Or a qcow2 image.
    pub(crate) vhd: bool,
}

/// The VHDs and qcow2 images in these folders, and in that where the file of `parent` really is, that have it as their parent;
/// `named` is what a child of it calls it.
pub(crate) fn children(parent: &Layer, named: Option<Uuid>, folders: &[&Path]) -> Result<Vec<Child>, Error> {
    let mut names: Vec<PathBuf> = vec![parent.path().to_owned()];
    names.extend(parent.path().canonicalize());
    let names: Vec<&str> = names.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let uuid = parent.link().uuid.filter(|uuid| !uuid.is_nil());
    let real = real_folder(parent);
    let is_real = |folder: &&&Path| real.is_some() && folder.canonicalize().ok() == real;
    let more = real.as_deref().filter(|_| !folders.iter().any(|folder| is_real(&folder)));
    let mut found: Vec<Child> = Vec::new();
    for folder in folders.iter().copied().chain(more) {
        let failed = |source| Error::Open { path: folder.to_path_buf(), source };
        for entry in folder.read_dir().map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Ok(metadata) = path.metadata() else { continue };
            let identity = identity(&metadata);
            if identity == parent.identity()
                || is_partial(&path)
                || found.iter().any(|other| other.identity == identity)
            {
                continue;
            }
            let Some(layer) = understood(&path, parent.path())? else {
                if is_backing_file(parent, &names, &path) {
                    found.push(Child { path, identity, vhd: false });
                }
                continue;
            };
            let Some(link) = layer.link().parent else { continue };
            // A raw parent, or one that is taken whatever its uuid, is known by its name.
            if (uuid.is_some() && link.uuid == uuid)
                || ((link.uuid == named || link.uuid == uuid)
                    && names_of_parent(&layer)?.iter().any(|name| names.contains(&&**name)))
            {
                found.push(Child { path, identity, vhd: true });
            }
        }
    }
    Ok(found)
}

/// The folder of a file, whatever links lead to it. A device stays where its name is, as those of its kind are.
fn real_folder(disk: &Layer) -> Option<PathBuf> {
    let file = disk.path().canonicalize().ok().filter(|_| !disk.disk_file().is_device())?;
    Some(folder(&file).to_owned())
}

/// Whether it was never completed: a kill leaves it, and it is nobody's disk, whatever it holds.
fn is_partial(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(b".") && name.ends_with(b".partial")
}

/// Bytes of a qcow2 image that have the name of its backing file in them.
const QCOW2_HEAD: u64 = 4096;

/// Whether the qcow2 image at `path`, if it is one, has `parent` as its backing file. A name that leads to no file here, as
/// that of a moved image or in a description (`json:`), is compared by its last part with `names`.
fn is_backing_file(parent: &Layer, names: &[&str], path: &Path) -> bool {
    let Ok(file) = DiskFile::open(path) else { return false };
    // At most 4096.
    let mut head = vec![0; usize::try_from(file.len().min(QCOW2_HEAD)).unwrap_or_default()];
    let name = file.read_at(0, &mut head).ok().and_then(|()| qcow2::Header::backing_file_of(&head));
    let Some(name) = name else { return false };
    match folder(path).join(&name).metadata() {
        Ok(metadata) => identity(&metadata) == parent.identity(),
        Err(_) => name.split(['/', ':', '"']).any(|part| names.contains(&part)),
    }
}

/// A VHD by its content, however odd, or nothing; `parent` is the disk that will change.
fn understood(path: &Path, parent: &Path) -> Result<Option<Layer>, Error> {
    let unclear = |what: &str, error: &dyn std::error::Error| {
        let reason = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        let why = format!(
            "{} {what} and cannot be read ({error}{reason}), so that nobody knows whether it is a child of it; repair that \
             one, or move it out of the folder",
            path.display()
        );
        Err(Error::Refused { path: parent.to_owned(), why })
    };
    match resembles(path) {
        Ok(false) => return Ok(None),
        Ok(true) => {}
        // What is gone meanwhile, is no disk, or is not named as one, as drives without a disc.
        Err(Error::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error @ (Error::Open { .. } | Error::Read { .. } | Error::Changed { .. })) if is_named(path) => {
            return unclear("is called a VHD", &error);
        }
        Err(_) => return Ok(None),
    }
    let mut opening = Opening { parents: Parents::Ignore, ..Opening::default() };
    opening.limits.virtual_size = 64 << 40;
    opening.limits.table_entries = 32 << 20;
    opening.limits.surplus = Surplus::Anything;
    let open = |policy| {
        let opening = Opening { end_footer: policy, ..opening.clone() };
        Layer::open(path, Declared::Vhd, &opening)
    };
    let others = [EndFooterPolicy::FrontCounts, EndFooterPolicy::EndCounts];
    match open(EndFooterPolicy::FrontSuffices) {
        Ok(layer) => Ok(Some(layer)),
        Err(error) => match others.into_iter().find_map(|policy| open(policy).ok()) {
            Some(layer) => Ok(Some(layer)),
            None => unclear("looks like a VHD", &error),
        },
    }
}

/// Whether either end of a file or device has the mark of a VHD.
fn resembles(path: &Path) -> Result<bool, Error> {
    let file = DiskFile::open(path)?;
    let Some(last_at) = file.len().checked_sub(FOOTER_LEN as u64) else { return Ok(false) };
    let (mut first, mut last) = ([0; FOOTER_LEN], [0; FOOTER_LEN]);
    file.read_at(0, &mut first)?;
    file.read_at(last_at, &mut last)?;
    // The last one may lack a byte.
    Ok([&first[..], &last[..], &last[1..]].into_iter().any(Footer::has_cookie))
}

/// As files and the volumes of LVM repositories are.
fn is_named(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("vhd"))
        || path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"VHD-"))
}

/// What it says that its parent's file is called.
fn names_of_parent(child: &Layer) -> Result<Vec<String>, Error> {
    let mut paths = child.parent_paths()?;
    let header = child.map().and_then(|map| map.header());
    paths.extend(header.and_then(|header| ParentPath::new(&header.parent_name)));
    Ok(paths.iter().map(|path| path.file_name().to_owned()).collect())
}

/// Whether a file is the parent of a disk whose parents were not looked for, by its uuid; a raw one by its name.
pub(crate) fn is_parent(path: &Path, child: &Layer) -> Result<bool, Error> {
    let Some(parent) = child.link().parent else { return Ok(false) };
    let alone = Opening {
        parents: Parents::Ignore,
        end_footer: EndFooterPolicy::FrontSuffices,
        ..Opening::default()
    };
    let uuid = Layer::open(path, Declared::Vhd, &alone).ok().and_then(|layer| layer.link().uuid);
    if parent.uuid.is_some() || uuid.is_some() {
        return Ok(parent.uuid == uuid);
    }
    let name = path.file_name().and_then(|name| name.to_str());
    Ok(path.exists() && names_of_parent(child)?.iter().any(|other| Some(&**other) == name))
}
