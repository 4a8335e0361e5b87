//! Merging a differencing VHD into its parent, so that it survives being killed at any moment.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use vhd::DiskMap;
use vhd::bitmap;
use vhd::coalesce::{Merge, Plan, PlanError, Refusal};
use vhd::format::{FOOTER_LEN, SECTOR};

use crate::error::Error;
use crate::family;
use crate::image::{Declared, Image, Opening};
use crate::layer::Layer;
use crate::parents::Parents;
use crate::pool::{PIECE, zeros};
use crate::progress::{Progress, Stage};
use crate::repair::{Inspected, lock};
use crate::source::vhd::unreadable;
use crate::target::{folder, open_to_write, read_note};

mod journal;
mod place;
mod removal;

use journal::{Journal, Step};
pub(crate) use place::journal_of;
pub use removal::coalesce_and_remove;

/// What was merged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Coalesced {
    /// The parent, which now holds the child's disk.
    pub parent: PathBuf,
    /// Blocks of the child that have data; 0 when an earlier call had copied them all.
    pub blocks: u64,
    /// Bytes that were copied.
    pub copied_bytes: u64,
    /// Whether an interrupted merge was gone on with.
    pub resumed: bool,
    /// What had the child as its parent and was given the child's.
    pub moved: Vec<PathBuf>,
    /// Whether the mark of a base copy was taken off the parent, on which nothing stands any longer.
    pub unhidden: bool,
}

/// Merges the data of a differencing VHD into its parent, a VHD or a raw disk, so that the parent holds the
/// disk that the child showed. Blocking.
///
/// The child stays as it is: it still shows the same disk, and can be removed. What has the child as its
/// parent has to be given the new one.
///
/// Killed at any moment, by a loss of power too, nothing is lost: the child shows its disk all the time, and
/// the parent is a good VHD. A journal beside the parent (`.NAME.coalesce`; of a device, in [`Opening::journals`]) then says what
/// was under way, and the next call with the same child completes it. Data are on the disk before anything says that they are
/// there.
///
/// # Errors
/// As [`Image::open_with`]; [`Error::Refused`], before anything is written, when the disks or their blocks
/// differ in size, when something else in the folder of the child or the parent has the same parent (its disk
/// would change), or looks like a VHD and cannot be understood, or when another merge into the parent was begun; [`Error::InUse`]; [`Error::Write`].
pub fn coalesce(child: &Path, opening: &Opening, progress: &Progress) -> Result<Coalesced, Error> {
    run(child, opening, progress, &mut |file, at, bytes| file.write_all_at(bytes, at))
}

/// How bytes get into a file; tests let it fail.
pub(crate) type Put<'a> = dyn FnMut(&File, u64, &[u8]) -> std::io::Result<()> + 'a;

fn run(child: &Path, opening: &Opening, progress: &Progress, put: &mut Put<'_>) -> Result<Coalesced, Error> {
    let image = open(child, opening)?;
    let [child, parent, ..] = image.layers() else { return Err(whole(child)) };
    merge(child, parent, opening.journals.as_deref(), progress, put)
}

fn whole(child: &Path) -> Error {
    Error::Refused { path: child.to_owned(), why: "it is a whole disk and has no parent".to_owned() }
}

/// What of a merge comes after its two disks are open.
pub(crate) fn merge(
    child: &Layer,
    parent: &Layer,
    journals: Option<&Path>,
    progress: &Progress,
    put: &mut Put<'_>,
) -> Result<Coalesced, Error> {
    let mut work = Work::begin(child, parent, journals)?;
    if work.journal.step() != Step::Merging {
        let why =
            "what was its child is being given its parent: complete that with coalesce --delete".to_owned();
        return Err(Error::Refused { path: child.path().to_owned(), why });
    }
    let done = work.fill(progress, put)?;
    work.journal.remove()?;
    Ok(done)
}

/// A child and its parent, both locked against others who lock until it is dropped.
struct Work<'a> {
    child: &'a Layer,
    parent: &'a Layer,
    /// The parent, to be written.
    file: File,
    journal: Journal,
    _child_lock: File,
}

impl<'a> Work<'a> {
    /// Looks at everything that may stand in the way of a merge, or takes up where one was interrupted.
    fn begin(child: &'a Layer, parent: &'a Layer, journals: Option<&Path>) -> Result<Self, Error> {
        let path = parent.path();
        let child_lock = hold(child)?;
        if !parent.can_be_parent() {
            let format = parent.format().name();
            let why = format!("its parent is a disk in the format {format}, which is not written here");
            return Err(Error::Refused { path: child.path().to_owned(), why });
        }
        let failed = |source| Error::Open { path: path.to_owned(), source };
        let file = open_to_write(path).map_err(failed)?;
        lock(&file, path)?;
        same_file(&file, parent)?;
        let journal = Journal::of(place::place_of(parent, journals)?, child, parent)?;
        // Its own children are siblings as soon as they are moved, and the parent does not change any longer.
        if journal.step() == Step::Merging {
            refuse_siblings(child, parent)?;
        }
        Ok(Self { child, parent, file, journal, _child_lock: child_lock })
    }

    fn fill(&mut self, progress: &Progress, put: &mut Put<'_>) -> Result<Coalesced, Error> {
        let (child, parent) = (self.child, self.parent);
        let mut job = Job { child, parent, file: &self.file, progress, put, copied_bytes: 0 };
        progress.begin(Stage::Streaming, 0, child.virtual_size());
        let blocks = match parent.map().filter(|map| map.header().is_some()) {
            Some(_) => job.fill_blocks(&mut self.journal)?,
            None => job.fill_flat(&mut self.journal)?,
        };
        let copied_bytes = job.copied_bytes;
        look_at(parent)?;
        Ok(Coalesced { blocks, copied_bytes, ..self.nothing_copied() })
    }

    fn nothing_copied(&self) -> Coalesced {
        Coalesced {
            parent: self.parent.path().to_owned(),
            blocks: 0,
            copied_bytes: 0,
            resumed: self.journal.resumed(),
            moved: Vec::new(),
            unhidden: false,
        }
    }
}

/// Whether a VHD that was merged into is one for everybody, before anything is told or removed.
fn look_at(parent: &Layer) -> Result<(), Error> {
    let Some(map) = parent.map() else { return Ok(()) };
    let mut opening = Opening { parents: Parents::Ignore, ..Opening::default() };
    opening.limits.virtual_size = opening.limits.virtual_size.max(map.virtual_size());
    let entries = map.header().map_or(0, |header| header.max_table_entries);
    opening.limits.table_entries = opening.limits.table_entries.max(entries);
    if map.header().is_some() {
        Layer::open(parent.path(), Declared::Vhd, &opening)?;
    }
    Ok(())
}

/// Locks the child: what is written to it from here on would be lost, or not be what was merged.
fn hold(child: &Layer) -> Result<File, Error> {
    let path = child.path();
    let failed = |source| Error::Open { path: path.to_owned(), source };
    let open = |write| File::options().read(true).write(write).open(path);
    let file = open(true).or_else(|error| match error.kind() {
        // Nobody writes there, or not this user.
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => open(false),
        _ => Err(error),
    });
    let file = file.map_err(failed)?;
    lock(&file, path)?;
    same_file(&file, child)?;
    child.check_unchanged()?;
    Ok(file)
}

/// Opens the chain. A parent beside the child into which a merge of it was broken off while its footer was
/// on the way to its new place is repaired first, which loses nothing.
fn open(child: &Path, opening: &Opening) -> Result<Image, Error> {
    let error = match Image::open_with(child, opening) {
        Ok(image) => return Ok(image),
        Err(error) => error,
    };
    let alone = Opening { parents: Parents::Ignore, ..opening.clone() };
    let Some(uuid) = Layer::open(child, Declared::Vhd, &alone)?.link().uuid else { return Err(error) };
    let folder = folder(child);
    let Ok(entries) = folder.read_dir() else { return Err(error) };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let parent = name.to_str().and_then(|name| name.strip_prefix('.')?.strip_suffix(".coalesce"));
        let ours = |note: Vec<u8>| {
            String::from_utf8_lossy(&note).lines().any(|line| line == format!("child {uuid}"))
        };
        if let Some(parent) = parent
            && read_note(&entry.path(), place::MOST).is_ok_and(ours)
        {
            Inspected::repair(&folder.join(parent))?;
            return Image::open_with(child, opening);
        }
    }
    Err(error)
}

struct Job<'a, 'p> {
    child: &'a Layer,
    parent: &'a Layer,
    file: &'a File,
    progress: &'a Progress,
    put: &'a mut Put<'p>,
    copied_bytes: u64,
}

impl Job<'_, '_> {
    /// A parent with blocks.
    fn fill_blocks(&mut self, journal: &mut Journal) -> Result<u64, Error> {
        let (Some(child), Some(parent)) = (self.child.map(), self.parent.map()) else { return Ok(0) };
        let refused = |why: String| Error::Refused { path: self.child.path().to_owned(), why };
        let table = self.parent.disk_file();
        let plan = |area| Plan::new(child, parent, area, |at, bytes| table.read_at(at, bytes));
        let planned = match plan(journal.area()) {
            Err(PlanError::Refused(Refusal::Area { .. })) if journal.resumed() => {
                journal.renew(self.parent)?;
                plan(journal.area())
            }
            planned => planned,
        };
        let plan = planned.map_err(|error| match error {
            PlanError::Refused(refusal) => {
                refused(format!("{refusal}; write the whole disk anew with convert instead"))
            }
            PlanError::Read(error) => unreadable(table, error),
        })?;
        let footer_at = self.parent.file_len().saturating_sub(FOOTER_LEN as u64);
        match plan.footer_at {
            // The footer of a device stays where it is.
            Some(end) if table.is_device() && end > footer_at => {
                let why = format!(
                    "the new blocks of its parent need {} bytes more than the device has before its footer; enlarge that, \
                     and repair it, or write the whole disk anew with convert",
                    end - footer_at
                );
                return Err(refused(why));
            }
            Some(at) if !table.is_device() => {
                journal.begin()?;
                self.put(at, &parent.footer().to_bytes())?;
                self.sync()?;
            }
            _ => journal.begin()?,
        }
        let own = self.child.disk_file();
        let merges = || plan.merges(child, |at, bytes| own.read_at(at, bytes));
        for merge in merges() {
            let merge = merge.map_err(|error| unreadable(own, error))?;
            self.data(&merge, plan.differencing)?;
            self.progress.reach(merge.child.bytes.end);
        }
        self.sync()?;
        // Before anything says that it is there.
        self.child.check_unchanged()?;
        for merge in merges() {
            let merge = merge.map_err(|error| unreadable(own, error))?;
            match merge.entry {
                Some(entry) => self.put(entry.at, &entry.bytes)?,
                None => self.bits(&merge)?,
            }
        }
        self.sync()?;
        Ok(plan.blocks())
    }

    /// The sectors that the child has, and the bitmap of a new block, which nothing refers to yet.
    fn data(&mut self, merge: &Merge, differencing: bool) -> Result<(), Error> {
        let bits = self.child_bits(merge)?;
        if merge.entry.is_some() {
            let mut own = bits.clone();
            if !differencing {
                own.fill(0xff);
            }
            self.put(merge.parent.bitmap_offset, &own)?;
        }
        // A bitmap that says that all is there says so of what the child lacks, too.
        let whole = merge.entry.is_some() && !differencing;
        for (run, present) in bitmap::runs(&bits, merge.child.sectors()) {
            let offset = u64::from(run.start) * SECTOR;
            let len = u64::from(run.end - run.start) * SECTOR;
            let to = merge.parent.data_offset + offset;
            if present {
                self.copy(merge.child.data_offset + offset, to, len)?;
            } else if whole {
                self.zeros(to, to + len)?;
            }
        }
        if whole {
            // Behind the end of the disk, which somebody may enlarge.
            let behind = merge.parent.data_offset + u64::from(merge.child.sectors()) * SECTOR;
            let block_size = self.child.map().and_then(DiskMap::header).map_or(0, |header| header.block_size);
            self.zeros(behind, merge.parent.data_offset + u64::from(block_size))?;
        }
        Ok(())
    }

    /// Makes zeros of what may hold something: a device does behind its VHD, and a file where it was before.
    fn zeros(&mut self, mut at: u64, end: u64) -> Result<(), Error> {
        let end = end.min(self.parent.file_len());
        while at < end {
            let piece = zeros(end - at);
            self.put(at, &piece)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Adds the child's bits to those of a block that the parent had.
    fn bits(&mut self, merge: &Merge) -> Result<(), Error> {
        let own = self.child_bits(merge)?;
        let mut bits = vec![0; merge.parent.bitmap_len as usize];
        self.parent.disk_file().read_at(merge.parent.bitmap_offset, &mut bits)?;
        let before = bits.clone();
        bits.iter_mut().zip(own).for_each(|(bit, more)| *bit |= more);
        if bits == before { Ok(()) } else { self.put(merge.parent.bitmap_offset, &bits) }
    }

    fn child_bits(&self, merge: &Merge) -> Result<Vec<u8>, Error> {
        let mut bits = vec![0; merge.child.bitmap_len as usize];
        self.child.disk_file().read_at(merge.child.bitmap_offset, &mut bits)?;
        Ok(bits)
    }

    /// A raw disk or a fixed VHD: its bytes are where they are.
    fn fill_flat(&mut self, journal: &mut Journal) -> Result<u64, Error> {
        let refused = |why: &str| Error::Refused { path: self.child.path().to_owned(), why: why.to_owned() };
        let (own, theirs) = (self.child.virtual_size(), self.parent.virtual_size());
        let may_grow = self.parent.map().is_none() && !self.parent.disk_file().is_device();
        if own < theirs || (own > theirs && !may_grow) {
            return Err(refused("its disk has another size than its parent's; write it anew with convert"));
        }
        journal.begin()?;
        let Some(map) = self.child.map() else { return Ok(0) };
        if own > theirs {
            let failed = |source| Error::Write { path: self.parent.path().to_owned(), source };
            self.file.set_len(own).map_err(failed)?;
        }
        let mut blocks = 0;
        let table = self.child.disk_file();
        for block in map.blocks(|at, bytes| table.read_at(at, bytes)) {
            let block = block.map_err(|error| unreadable(table, error))?;
            let mut bits = vec![0; block.bitmap_len as usize];
            self.child.disk_file().read_at(block.bitmap_offset, &mut bits)?;
            for (run, _) in bitmap::runs(&bits, block.sectors()).filter(|(_, present)| *present) {
                let offset = u64::from(run.start) * SECTOR;
                let to = block.bytes.start + offset;
                // The disk's last sector may be cut.
                let len = (u64::from(run.end - run.start) * SECTOR).min(own - to);
                self.copy(block.data_offset + offset, to, len)?;
            }
            blocks += 1;
            self.progress.reach(block.bytes.end);
        }
        self.sync()?;
        self.child.check_unchanged()?;
        Ok(blocks)
    }

    fn copy(&mut self, from: u64, to: u64, len: u64) -> Result<(), Error> {
        let mut buffer = vec![0; usize::try_from(len).unwrap_or(PIECE).min(PIECE)];
        let mut done = 0;
        while done < len {
            let part = usize::try_from(len - done).unwrap_or(PIECE).min(buffer.len());
            self.child.disk_file().read_at(from + done, &mut buffer[..part])?;
            self.put(to + done, &buffer[..part])?;
            done += part as u64;
        }
        self.copied_bytes += len;
        self.progress.add_wire(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(())
    }

    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        let failed = |source| Error::Write { path: self.parent.path().to_owned(), source };
        (self.put)(self.file, at, bytes).map_err(failed)
    }

    fn sync(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(|source| Error::Write { path: self.parent.path().to_owned(), source })
    }
}

/// Whether a file that was opened to write is the one that was looked at.
pub(crate) fn same_file(file: &File, layer: &Layer) -> Result<(), Error> {
    let failed = |source| Error::Open { path: layer.path().to_owned(), source };
    if crate::layer::identity(&file.metadata().map_err(failed)?) != layer.identity() {
        return Err(Error::Changed { path: layer.path().to_owned(), what: "another file has its name" });
    }
    Ok(())
}

/// Whether something beside the child or the parent has the same parent, whose disk would change.
fn refuse_siblings(child: &Layer, parent: &Layer) -> Result<(), Error> {
    let canonical = |path: &Path| {
        let path = folder(path);
        path.canonicalize().map_err(|source| Error::Open { path: path.to_owned(), source })
    };
    let folders = [canonical(child.path())?, canonical(parent.path())?];
    let folders: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    let folders = if folders[0] == folders[1] { &folders[..1] } else { &folders };
    let named = child.link().parent.and_then(|link| link.uuid);
    let found = family::children(parent, named, folders)?;
    let Some(sibling) = found.into_iter().find(|sibling| sibling.identity != child.identity()) else {
        return Ok(());
    };
    let why = format!(
        "{} has the same parent, and its disk would change; merge or rebase that one first",
        sibling.path.display()
    );
    Err(Error::Refused { path: child.path().to_owned(), why })
}

#[cfg(test)]
mod tests;
