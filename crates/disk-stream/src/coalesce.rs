//! Merging a differencing VHD into its parent, so that it survives being killed at any moment.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;
use vhd::bitmap;
use vhd::coalesce::{Merge, Plan};
use vhd::format::{FOOTER_LEN, SECTOR};

use crate::error::Error;
use crate::image::{Declared, Format, Image, Opening};
use crate::layer::Layer;
use crate::parents::Parents;
use crate::pool::PIECE;
use crate::progress::{Progress, Stage};
use crate::repair::{Inspected, lock};

/// What was merged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Coalesced {
    /// The parent, which now holds the child's disk.
    pub parent: PathBuf,
    /// Blocks of the child that have data.
    pub blocks: u64,
    /// Bytes that were copied.
    pub copied_bytes: u64,
    /// Whether an interrupted merge was gone on with.
    pub resumed: bool,
}

/// Merges the data of a differencing VHD into its parent, a VHD or a raw disk, so that the parent holds the
/// disk that the child showed. Blocking.
///
/// The child stays as it is: it still shows the same disk, and can be removed. What has the child as its
/// parent has to be given the new one.
///
/// Killed at any moment, by a loss of power too, nothing is lost: the child shows its disk all the time, and
/// the parent is a good VHD. A journal beside the parent (`.NAME.coalesce`) then says what was under way, and
/// the next call with the same child completes it. Data are on the disk before anything says that they are
/// there.
///
/// # Errors
/// As [`Image::open_with`]; [`Error::Refused`], before anything is written, when the disks or their blocks
/// differ in size, when another VHD in the folder of the child or the parent has the same parent (its disk
/// would change), or when another merge into the parent was begun; [`Error::InUse`]; [`Error::Write`].
pub fn coalesce(child: &Path, opening: &Opening, progress: &Progress) -> Result<Coalesced, Error> {
    run(child, opening, progress, &mut |file, at, bytes| file.write_all_at(bytes, at))
}

/// How bytes get into a file; tests let it fail.
pub(crate) type Put<'a> = dyn FnMut(&File, u64, &[u8]) -> std::io::Result<()> + 'a;

fn run(child: &Path, opening: &Opening, progress: &Progress, put: &mut Put<'_>) -> Result<Coalesced, Error> {
    let image = open(child, opening)?;
    let refused = |why: String| Error::Refused { path: child.to_owned(), why };
    let [child, parent, ..] = image.layers() else {
        return Err(refused("it is a whole disk and has no parent".to_owned()));
    };
    merge(child, parent, opening, progress, put)
}

/// What of a merge comes after its two disks are open.
pub(crate) fn merge(
    child: &Layer,
    parent: &Layer,
    opening: &Opening,
    progress: &Progress,
    put: &mut Put<'_>,
) -> Result<Coalesced, Error> {
    let refused = |why: String| Error::Refused { path: child.path().to_owned(), why };
    let path = parent.path();
    if parent.format() == Format::Qcow2 {
        return Err(refused("its parent is a qcow2 image, which is not written here".to_owned()));
    }
    let failed = |source| Error::Open { path: path.to_owned(), source };
    let file = File::options().read(true).write(true).open(path).map_err(failed)?;
    lock(&file, path)?;
    same_file(&file, parent)?;
    let same_parent = siblings(child, parent, opening)?;
    if let Some(sibling) = same_parent.first() {
        let why = format!(
            "{} has the same parent, and its disk would change; merge or rebase that one first",
            sibling.display()
        );
        return Err(refused(why));
    }
    let journal = Journal::of(path, child, parent)?;
    let mut job = Job { child, parent, file, progress, put, copied_bytes: 0 };
    progress.begin(Stage::Streaming, 0, child.virtual_size());
    let blocks = match parent.map().filter(|map| map.header().is_some()) {
        Some(_) => job.fill_blocks(&journal)?,
        None => job.fill_flat(&journal)?,
    };
    journal.remove()?;
    Ok(Coalesced {
        parent: path.to_owned(),
        blocks,
        copied_bytes: job.copied_bytes,
        resumed: journal.resumed,
    })
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
    let folder = child.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = folder.read_dir() else { return Err(error) };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let parent = name.to_str().and_then(|name| name.strip_prefix('.')?.strip_suffix(".coalesce"));
        let ours = |text: String| text.lines().any(|line| line == format!("child {uuid}"));
        if let Some(parent) = parent
            && std::fs::read_to_string(entry.path()).is_ok_and(ours)
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
    /// The parent, to be written.
    file: File,
    progress: &'a Progress,
    put: &'a mut Put<'p>,
    copied_bytes: u64,
}

impl Job<'_, '_> {
    /// A parent with blocks.
    fn fill_blocks(&mut self, journal: &Journal) -> Result<u64, Error> {
        let (Some(child), Some(parent)) = (self.child.map(), self.parent.map()) else { return Ok(0) };
        let refused = |why: String| Error::Refused { path: self.child.path().to_owned(), why };
        let plan = Plan::new(child, parent, journal.area).map_err(|refusal| {
            refused(format!("{refusal}; write the whole disk anew with convert instead"))
        })?;
        journal.begin()?;
        if let Some(at) = plan.footer_at {
            self.put(at, &parent.footer().to_bytes())?;
            self.sync()?;
        }
        for merge in &plan.merges {
            self.data(merge, plan.differencing)?;
            self.progress.reach(merge.child.bytes.end);
        }
        self.sync()?;
        for merge in &plan.merges {
            match merge.entry {
                Some(entry) => self.put(entry.at, &entry.bytes)?,
                None => self.bits(merge)?,
            }
        }
        self.sync()?;
        Ok(plan.merges.len() as u64)
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
        for (run, _) in bitmap::runs(&bits, merge.child.sectors()).filter(|(_, present)| *present) {
            let offset = u64::from(run.start) * SECTOR;
            let len = u64::from(run.end - run.start) * SECTOR;
            self.copy(merge.child.data_offset + offset, merge.parent.data_offset + offset, len)?;
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
    fn fill_flat(&mut self, journal: &Journal) -> Result<u64, Error> {
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
        for block in map.blocks() {
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
        (self.put)(&self.file, at, bytes).map_err(failed)
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

/// The VHDs beside the child or the parent that have the same parent.
fn siblings(child: &Layer, parent: &Layer, opening: &Opening) -> Result<Vec<PathBuf>, Error> {
    let folder = |path: &Path| {
        let path = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        path.canonicalize().map_err(|source| Error::Open { path: path.to_owned(), source })
    };
    let mut folders = vec![folder(child.path())?, folder(parent.path())?];
    folders.dedup();
    let uuid = parent.link().uuid;
    let alone = Opening { declared: Declared::Vhd, parents: Parents::Ignore, ..opening.clone() };
    let mut found = Vec::new();
    for folder in folders {
        let failed = |source| Error::Open { path: folder.clone(), source };
        for entry in folder.read_dir().map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("vhd")) {
                continue;
            }
            // What cannot be read is nobody's child.
            let Ok(other) = Layer::open(&path, alone.declared, &alone) else { continue };
            let Some(link) = other.link().parent else { continue };
            let same = match uuid {
                Some(uuid) => link.uuid == Some(uuid),
                // A raw parent has no identity but its name.
                None => {
                    let name = parent.path().file_name().and_then(|name| name.to_str());
                    link.uuid.is_none()
                        && other.parent_paths()?.iter().any(|path| Some(path.file_name()) == name)
                }
            };
            if same && other.identity() != child.identity() {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// What says, beside the parent, that a merge is under way.
struct Journal {
    path: PathBuf,
    text: String,
    /// Where new blocks begin in the parent.
    area: u64,
    resumed: bool,
}

impl Journal {
    fn of(path: &Path, child: &Layer, parent: &Layer) -> Result<Self, Error> {
        let journal = journal_of(path);
        let uuid = |layer: &Layer| layer.link().uuid.unwrap_or_default();
        let head = format!("xenapi-rs coalesce 1\nchild {}\nparent {}\narea ", uuid(child), uuid(parent));
        let area = parent.file_len().saturating_sub(FOOTER_LEN as u64);
        match std::fs::read_to_string(&journal) {
            Ok(text) => {
                let area = text.strip_prefix(&head).and_then(|area| area.trim_end().parse().ok());
                let Some(area) = area else {
                    let why = format!(
                        "another merge into {} was begun and not completed ({}): complete that one first",
                        path.display(),
                        begun(&text)
                    );
                    return Err(Error::Refused { path: child.path().to_owned(), why });
                };
                Ok(Self { path: journal, text, area, resumed: true })
            }
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self { path: journal, text: format!("{head}{area}\n"), area, resumed: false })
            }
            Err(source) => Err(Error::Open { path: journal, source }),
        }
    }

    /// On the disk before the first byte of the parent changes.
    fn begin(&self) -> Result<(), Error> {
        let failed = |source| Error::Create { path: self.path.clone(), source };
        if self.resumed {
            return Ok(());
        }
        let folder = self.path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".coalesce.").tempfile_in(folder).map_err(failed)?;
        file.write_all(self.text.as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist_noclobber(&self.path).map_err(|error| failed(error.error))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    fn remove(&self) -> Result<(), Error> {
        std::fs::remove_file(&self.path).map_err(|source| Error::Write { path: self.path.clone(), source })
    }
}

fn journal_of(parent: &Path) -> PathBuf {
    let name = parent.file_name().unwrap_or_default().to_string_lossy();
    parent.with_file_name(format!(".{name}.coalesce"))
}

/// What a journal says of the merge that it is about.
fn begun(text: &str) -> String {
    let child = text.lines().find_map(|line| line.strip_prefix("child ")?.parse::<Uuid>().ok());
    child.map_or_else(|| "its journal cannot be read".to_owned(), |uuid| format!("of the child {uuid}"))
}

#[cfg(test)]
mod tests;
