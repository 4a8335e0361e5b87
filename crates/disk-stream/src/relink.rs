//! Giving a differencing VHD another parent by its header alone.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use vhd::format::{FOOTER_LEN, Footer, HEADER_LEN, SECTOR};
use vhd::{DiskMap, Structure};

use crate::coalesce::same_file;
use crate::difference::parent_of;
use crate::error::Error;
use crate::image::{Declared, Image, Opening};
use crate::layer::{DiskFile, Layer};
use crate::parents::Parents;
use crate::progress::Progress;
use crate::repair::lock;
use crate::target::read_note;

/// Makes `base` the parent of the differencing VHD at `child`, without touching its blocks: the parent was
/// moved, renamed, written in another format or flattened. Blocking.
///
/// This is done only where nobody can see a difference: the disk of the old parent, with everything below
/// it, and that of the new one are compared first, and have to be the same. `opening` says where the old
/// ones are.
///
/// The new path is appended, about 2 KiB, then the header is written. Killed in between, the child is what it
/// was. Where a loss of power leaves the header with a sector of each, a note beside the child (`.NAME.relink`) has the old one,
/// which the next call puts back before it begins anew: what the new parent holds by then was not compared.
///
/// # Errors
/// As [`Image::open_with`]; [`Error::Refused`], before anything is written, when the disks differ, when the
/// child is on a device, or is no differencing VHD; [`Error::InUse`]; [`Error::Write`].
pub fn relink(child: &Path, base: &Image, opening: &Opening, progress: &Progress) -> Result<(), Error> {
    let failed = |source| Error::Open { path: child.to_owned(), source };
    let file = File::options().read(true).write(true).open(child).map_err(failed)?;
    lock(&file, child)?;
    let note = Note::of(child);
    note.undo(&file)?;
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
    let offset = map.footer().data_offset;
    note.write(&file, offset, &header)?;
    write_header(&file, child, offset, &header)?;
    note.remove()
}

fn write_header(file: &File, child: &Path, offset: u64, header: &[u8]) -> Result<(), Error> {
    let written = file.write_all_at(header, offset).and_then(|()| file.sync_all());
    written.map_err(|source| Error::Write { path: child.to_owned(), source })
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
    bytes.extend_from_slice(&believed(leaf, map)?);
    file.write_all_at(&bytes, leaf.len()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    let Some(header) = map.header() else {
        return Err(Error::Refused { path: child.to_owned(), why: "it has no header".to_owned() });
    };
    let mut header = header.clone();
    header.set_parent(&parent, locators);
    Ok(header.to_bytes())
}

/// The footer that the file was opened by. Where the one in front is another, or damaged, it must not be at both ends.
fn believed(leaf: &DiskFile, map: &DiskMap) -> Result<[u8; FOOTER_LEN], Error> {
    let mut front = [0; FOOTER_LEN];
    leaf.read_at(0, &mut front)?;
    let same = Footer::parse(&front, 0, Structure::FrontFooter).is_ok_and(|footer| footer == *map.footer());
    // With what it has in places that nobody knows.
    Ok(if same { front } else { map.footer().to_bytes() })
}

/// What to do when only a part of a header was written: it is two sectors, and the power may fail between them.
///
/// It says for which file it is: its length, its front footer, the header before and the one that is to be written. By now another
/// file may have the name.
struct Note {
    path: PathBuf,
    child: PathBuf,
}

const MAGIC: &[u8; 18] = b"xenapi-rs relink 2";
const NOTE_LEN: usize = MAGIC.len() + 16 + FOOTER_LEN + 2 * HEADER_LEN;

/// Where the note of what happens to a file is.
pub(crate) fn note_of(child: &Path) -> PathBuf {
    let name = child.file_name().unwrap_or_default().to_string_lossy();
    child.with_file_name(format!(".{name}.relink"))
}

impl Note {
    fn of(child: &Path) -> Self {
        Self { path: note_of(child), child: child.to_owned() }
    }

    fn write(&self, child: &File, offset: u64, header: &[u8]) -> Result<(), Error> {
        let unread = |source| Error::Open { path: self.child.clone(), source };
        let (mut footer, mut old) = ([0; FOOTER_LEN], [0; HEADER_LEN]);
        child.read_exact_at(&mut footer, 0).map_err(unread)?;
        child.read_exact_at(&mut old, offset).map_err(unread)?;
        let len = child.metadata().map_err(unread)?.len();
        let note = [&MAGIC[..], &offset.to_le_bytes(), &len.to_le_bytes(), &footer, &old, header].concat();
        let failed = |source| Error::Create { path: self.path.clone(), source };
        let folder = self.path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".relink.").tempfile_in(folder).map_err(failed)?;
        file.write_all(&note).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&self.path).map_err(|error| failed(error.error))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// Puts back the header that was there, if another one was noted, this is the file that it is for, and only a part of
    /// it was written.
    fn undo(&self, file: &File) -> Result<(), Error> {
        let note = match read_note(&self.path, NOTE_LEN) {
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(Error::Open { path: self.path.clone(), source }),
            Ok(note) => note,
        };
        let refused = |why: &str| Err(Error::Refused { path: self.path.clone(), why: why.to_owned() });
        if !note.starts_with(MAGIC) || note.len() != NOTE_LEN {
            return refused("it is not the note of a new parent");
        }
        let (numbers, rest) = note[MAGIC.len()..].split_at(16);
        let number = |at: usize| numbers[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let (footer, headers) = rest.split_at(FOOTER_LEN);
        let (old, new) = headers.split_at(HEADER_LEN);
        let (offset, len) = (number(0), number(8));
        let unread = |source| Error::Open { path: self.child.clone(), source };
        let (mut front, mut now) = ([0; FOOTER_LEN], [0; HEADER_LEN]);
        let there = file.metadata().map_err(unread)?.len() == len
            && file.read_exact_at(&mut front, 0).is_ok()
            && file.read_exact_at(&mut now, offset).is_ok();
        // Of each sector, the old or the new one: any of both may be there.
        let sectors = now.chunks(512).zip(old.chunks(512)).zip(new.chunks(512));
        if there && front == *footer && sectors.into_iter().all(|((now, old), new)| now == old || now == new)
        {
            if now != *old && now != *new {
                write_header(file, &self.child, offset, old)?;
            }
        } else if Layer::open(&self.child, Declared::Vhd, &alone()).is_err() {
            // Another file that is whole needs no note.
            return refused(
                "it is the note of another file than the one that has its name now; remove it if that is right",
            );
        }
        self.remove()
    }

    fn remove(&self) -> Result<(), Error> {
        std::fs::remove_file(&self.path).map_err(|source| Error::Write { path: self.path.clone(), source })
    }
}

/// To look at it.
fn alone() -> Opening {
    Opening { parents: Parents::Ignore, ..Opening::default() }
}

/// Writes what a differencing VHD has onto `target`, a raw disk or a VHD, whose disk becomes the one that
/// the VHD shows on it. Blocking. `declared` says what the target is.
///
/// As [`coalesce`](crate::coalesce), with any target that has the parent's content: a copy of it, or a raw
/// disk made of it. A VHD must have the parent's uuid, unless `trusted`; that a raw disk has the parent's
/// content nobody can see. The target's own parents are neither needed nor changed.
///
/// # Errors
/// As [`coalesce`](crate::coalesce), and [`Error::OtherParent`].
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
        let (path, target) = (delta.to_owned(), target.to_owned());
        return Err(Error::OtherParent { path, target, expected: name(parent.uuid), found: name(own) });
    }
    crate::coalesce::merge(&child, &onto, None, progress, &mut |file, at, bytes| file.write_all_at(bytes, at))
}
