//! Giving a differencing VHD another parent by its header alone.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use vhd::DiskMap;
use vhd::format::{FOOTER_LEN, HEADER_LEN, SECTOR};

use crate::coalesce::same_file;
use crate::difference::parent_of;
use crate::error::Error;
use crate::image::{Declared, Image, Opening};
use crate::layer::{DiskFile, Layer};
use crate::progress::Progress;
use crate::repair::lock;

/// Makes `base` the parent of the differencing VHD at `child`, without touching its blocks: the parent was
/// moved, renamed, written in another format or flattened. Blocking.
///
/// This is done only where nobody can see a difference: the disk of the old parent, with everything below
/// it, and that of the new one are compared first, and have to be the same. `opening` says where the old
/// ones are.
///
/// The new path is appended, about 2 KiB, then the header is written. Killed in between, the child is what it
/// was, but for the header itself, which a note beside it (`.NAME.relink`) then completes: call this again.
///
/// # Errors
/// As [`Image::open_with`]; [`Error::Refused`], before anything is written, when the disks differ, when the
/// child is on a device, or is no differencing VHD; [`Error::InUse`]; [`Error::Write`].
pub fn relink(child: &Path, base: &Image, opening: &Opening, progress: &Progress) -> Result<(), Error> {
    let failed = |source| Error::Open { path: child.to_owned(), source };
    let file = File::options().read(true).write(true).open(child).map_err(failed)?;
    lock(&file, child)?;
    let note = Note::of(child);
    note.complete(&file)?;
    let image = Image::open_with(child, opening)?;
    let refused = |why: &str| Err(Error::Refused { path: child.to_owned(), why: why.to_owned() });
    let (Some(old), Some(map)) = (image.parent(), image.map()) else {
        return refused("it is a whole disk and has no parent");
    };
    let leaf = &image.layers()[0];
    if leaf.disk_file().is_device() || !leaf.file_len().is_multiple_of(SECTOR) {
        return refused("what is appended to it has to begin at a sector of a regular file");
    }
    same_file(&file, leaf)?;
    if base.layers().iter().any(|layer| layer.identity() == leaf.identity()) {
        return refused("it would be below itself");
    }
    let (larger, smaller) =
        if old.virtual_size() < base.virtual_size() { (base, &old) } else { (&old, base) };
    if let Some(differing) = larger.differing_blocks(smaller, progress)?.extents().next() {
        let why = format!(
            "its parent and {} differ near byte {}, and so would its disk; write it anew with rebase",
            base.path().display(),
            differing.start
        );
        return refused(&why);
    }
    let header = append(&file, leaf.disk_file(), map, base, child)?;
    note.write(map.footer().data_offset, &header)?;
    note.complete(&file)
}

/// Appends the new locators and, once more, the footer; the new header.
fn append(
    file: &File,
    leaf: &DiskFile,
    map: &DiskMap,
    base: &Image,
    child: &Path,
) -> Result<[u8; HEADER_LEN], Error> {
    let failed = |source| Error::Write { path: child.to_owned(), source };
    let parent = parent_of(base, child)?;
    let layout = |source| Error::Layout { path: child.to_owned(), source };
    let (locators, mut bytes) = parent.locators(leaf.len()).map(|(l, b)| (l, b.to_vec())).map_err(layout)?;
    let mut footer = [0; FOOTER_LEN];
    leaf.read_at(0, &mut footer)?;
    bytes.extend_from_slice(&footer);
    file.write_all_at(&bytes, leaf.len()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    let Some(header) = map.header() else {
        return Err(Error::Refused { path: child.to_owned(), why: "it has no header".to_owned() });
    };
    let mut header = header.clone();
    header.set_parent(&parent, locators);
    Ok(header.to_bytes())
}

/// The header that is to be written: a header is two sectors, and the power may fail between them.
struct Note {
    path: PathBuf,
    child: PathBuf,
}

const MAGIC: &[u8; 16] = b"xenapi-rs relink";

impl Note {
    fn of(child: &Path) -> Self {
        let name = child.file_name().unwrap_or_default().to_string_lossy();
        Self { path: child.with_file_name(format!(".{name}.relink")), child: child.to_owned() }
    }

    fn write(&self, offset: u64, header: &[u8]) -> Result<(), Error> {
        let failed = |source| Error::Create { path: self.path.clone(), source };
        let folder = self.path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".relink.").tempfile_in(folder).map_err(failed)?;
        file.write_all(&[&MAGIC[..], &offset.to_le_bytes(), header].concat()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&self.path).map_err(|error| failed(error.error))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// Writes the header that was noted, if one was.
    fn complete(&self, file: &File) -> Result<(), Error> {
        let note = match std::fs::read(&self.path) {
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(Error::Open { path: self.path.clone(), source }),
            Ok(note) => note,
        };
        let parts = note.strip_prefix(MAGIC).and_then(<[u8]>::split_first_chunk::<8>);
        let Some((offset, header)) = parts.filter(|(_, header)| header.len() == HEADER_LEN) else {
            let why = "it is not the note of a new parent".to_owned();
            return Err(Error::Refused { path: self.path.clone(), why });
        };
        let failed = |source| Error::Write { path: self.child.clone(), source };
        file.write_all_at(header, u64::from_le_bytes(*offset)).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        std::fs::remove_file(&self.path).map_err(|source| Error::Write { path: self.path.clone(), source })
    }
}

/// Writes what a differencing VHD has onto `target`, a raw disk or a VHD, whose disk becomes the one that
/// the VHD shows on it. Blocking. `declared` says what the target is.
///
/// As [`coalesce`](crate::coalesce), with any target that has the parent's content: a copy of it, or a raw
/// disk made of it. A VHD must have the parent's uuid, unless `trusted`; that a raw disk has the parent's
/// content nobody can see. The target's own parents are neither needed nor changed.
///
/// # Errors
/// As [`coalesce`](crate::coalesce).
pub fn apply(
    delta: &Path,
    target: &Path,
    declared: Declared,
    trusted: bool,
    progress: &Progress,
) -> Result<crate::Coalesced, Error> {
    let alone = Opening::default();
    let refused = |why: String| Err(Error::Refused { path: delta.to_owned(), why });
    let child = Layer::open(delta, Declared::Vhd, &alone)?;
    let Some(parent) = child.link().parent else {
        return refused("it is a whole disk: there is nothing to apply it to".to_owned());
    };
    let onto = Layer::open(target, declared, &alone)?;
    let own = onto.link().uuid;
    if !trusted && onto.map().is_some() && parent.uuid != own {
        let name = |uuid: Option<uuid::Uuid>| uuid.map_or("a raw disk".to_owned(), |uuid| uuid.to_string());
        let why = format!(
            "its parent is {}, {} is {}: applied to it, it may make another disk; say so if that is meant",
            name(parent.uuid),
            target.display(),
            name(own)
        );
        return refused(why);
    }
    crate::coalesce::merge(&child, &onto, &alone, progress, &mut |file, at, bytes| {
        file.write_all_at(bytes, at)
    })
}
