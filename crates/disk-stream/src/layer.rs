//! One file or block device that holds a disk or a layer of one.

use std::fs::{File, FileType};
use std::io::{self, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::OFlags;
use vhd::chain::Link;
use vhd::format::{DiskType, ParentLocator, ParentPath, Timestamp};
use vhd::{DiskMap, Warning};

use crate::error::Error;
use crate::image::{Declared, Format, Opening};
use crate::scan::is_believed;
use crate::source::{self, BlockSource, Source};
use crate::upload::now;

/// A layer of an image. Clones share the file.
#[derive(Debug, Clone)]
pub struct Layer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: DiskFile,
    source: Source,
}

/// A file or a block device, or a part of one that is a member of an archive, open for reading.
#[derive(Debug)]
pub struct DiskFile {
    /// Of a member of an archive, its name behind that of the archive.
    path: PathBuf,
    file: Arc<File>,
    /// Where it begins in the file: elsewhere than at 0 for a member of an archive.
    start: u64,
    len: u64,
    /// Of the file or device, in bytes.
    whole_len: u64,
    device: bool,
    modified: (i64, i64),
    identity: Identity,
    tells_holes: OnceLock<bool>,
}

/// Device, inode, and the byte of the file with which it begins.
pub(crate) type Identity = (u64, u64, u64);

impl Layer {
    pub(crate) fn open(path: &Path, declared: Declared, opening: &Opening) -> Result<Self, Error> {
        Self::of(DiskFile::open(path)?, declared, opening)
    }

    pub(crate) fn of(file: DiskFile, declared: Declared, opening: &Opening) -> Result<Self, Error> {
        let source = source::open(&file, &Opening { declared, ..opening.clone() })?;
        Ok(Self(Arc::new(Inner { file, source })))
    }

    pub(crate) fn of_source(
        file: DiskFile,
        open: impl FnOnce(&DiskFile) -> Result<Box<dyn BlockSource>, Error>,
    ) -> Result<Self, Error> {
        let source = Source::Other(open(&file)?);
        Ok(Self(Arc::new(Inner { file, source })))
    }

    /// What it is.
    pub fn format(&self) -> Format {
        self.source().format()
    }

    /// What people want to know of its format beside its size, as names and values. Nothing for VHDs, of
    /// which [`Layer::map`] tells all.
    pub fn details(&self) -> Vec<(&'static str, String)> {
        self.source().details()
    }

    /// The path it was opened by; of a member of an archive, the archive's with its name behind it.
    pub fn path(&self) -> &Path {
        &self.0.file.path
    }

    /// Length of the file or device in bytes.
    pub fn file_len(&self) -> u64 {
        self.0.file.len
    }

    /// Footer, header and block map of a VHD; `None` for other formats.
    pub fn map(&self) -> Option<&DiskMap> {
        self.0.source.map()
    }

    /// The size of its disk in bytes.
    pub fn virtual_size(&self) -> u64 {
        self.source().virtual_size()
    }

    /// Bytes that the file takes on its file system; of a member of an archive, its length.
    ///
    /// # Errors
    /// [`Error::Open`] when the file cannot be asked.
    pub fn occupied(&self) -> Result<u64, Error> {
        let file = &self.0.file;
        let metadata = file.file.metadata();
        let metadata = metadata.map_err(|source| Error::Open { path: file.path.clone(), source })?;
        let whole = !file.device && file.len == file.whole_len;
        Ok(if whole { metadata.blocks() * 512 } else { file.len })
    }

    /// What it says of itself and of its parent.
    pub fn link(&self) -> Link {
        let link = self.map().map_or_else(|| Link::raw(self.virtual_size()), Link::vhd);
        link.written(self.written())
    }

    /// What is odd about a VHD and does not stand in the way of reading it, as of now and as far as it was read
    /// ([`Warning::AbsentData`]); nothing for other formats.
    pub fn warnings(&self) -> Vec<Warning> {
        let Some(map) = self.map() else { return Vec::new() };
        let seen = self.vhd().and_then(source::vhd::Vhd::seen);
        map.warnings().iter().copied().chain(map.future(now())).chain(seen).collect()
    }

    /// When it was last written.
    pub fn written(&self) -> Timestamp {
        Timestamp::from_unix(u64::try_from(self.0.file.modified.0).unwrap_or_default())
    }

    /// The paths that its locators name as the parent's, in their order; those that cannot be read
    /// are left out.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Changed`].
    pub fn parent_paths(&self) -> Result<Vec<ParentPath>, Error> {
        Ok(self.locators()?.iter().filter_map(|(locator, bytes)| locator.path(bytes)).collect())
    }

    /// Its locators and what they point to; those that point to nothing are left out.
    pub(crate) fn locators(&self) -> Result<Vec<(ParentLocator, Vec<u8>)>, Error> {
        let mut locators = Vec::new();
        for locator in self.map().and_then(DiskMap::header).iter().flat_map(|header| &header.locators) {
            let Some(range) = locator.range(self.file_len()) else { continue };
            let mut bytes = vec![0; locator.len as usize];
            self.0.file.read_at(range.start, &mut bytes)?;
            locators.push((*locator, bytes));
        }
        Ok(locators)
    }

    /// What another format than VHD calls the image without which it is no whole disk, as it stands there. It is not looked
    /// for.
    pub fn backing_file(&self) -> Option<&str> {
        self.source().backing_file()
    }

    pub(crate) fn is_differencing(&self) -> bool {
        self.map().is_some_and(|map| map.footer().disk_type == DiskType::Differencing)
            || self.backing_file().is_some()
    }

    /// The parent's name, or its uuid where no name is given.
    pub(crate) fn parent_name(&self) -> Option<String> {
        if let Some(name) = self.backing_file() {
            return Some(name.to_owned());
        }
        let header = self.map()?.header()?;
        let name = &header.parent_name;
        Some(if name.is_empty() { header.parent_uuid.to_string() } else { name.clone() })
    }

    pub(crate) fn identity(&self) -> Identity {
        self.0.file.identity
    }

    /// That of the file or device it is in; of a member of an archive, the archive's.
    pub(crate) fn file_identity(&self) -> Identity {
        let (device, inode, _) = self.0.file.identity;
        (device, inode, 0)
    }

    pub(crate) fn check_unchanged(&self) -> Result<(), Error> {
        self.0.file.check_unchanged()
    }

    pub(crate) fn disk_file(&self) -> &DiskFile {
        &self.0.file
    }

    pub(crate) fn vhd(&self) -> Option<&source::vhd::Vhd> {
        self.0.source.vhd()
    }

    pub(crate) fn source(&self) -> &dyn BlockSource {
        self.0.source.blocks()
    }

    /// Whether it can be the parent of a VHD and be written as one: a VHD, or the disk's bytes and nothing else.
    pub(crate) fn can_be_parent(&self) -> bool {
        self.map().is_some() || self.format() == Format::Raw
    }
}

impl DiskFile {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Open { path: path.to_owned(), source };
        // Before it is opened, because opening some devices has effects, and again on what was
        // opened. Without O_NONBLOCK, a FIFO put in its place would wait for a writer.
        check_kind(path, std::fs::metadata(path).map_err(failed)?.file_type())?;
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
        Self::of(path, file)
    }

    pub(crate) fn of(path: &Path, mut file: File) -> Result<Self, Error> {
        let failed = |source| Error::Open { path: path.to_owned(), source };
        let metadata = file.metadata().map_err(failed)?;
        let kind = metadata.file_type();
        check_kind(path, kind)?;
        let len = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if len == 0 {
            return Err(Error::Empty { path: path.to_owned() });
        }
        Ok(Self {
            path: path.to_owned(),
            file: Arc::new(file),
            start: 0,
            len,
            whole_len: len,
            device: kind.is_block_device(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            identity: identity(&metadata),
            tells_holes: OnceLock::new(),
        })
    }

    /// A part of it, inside of its length, as a file of its own.
    pub(crate) fn part(&self, name: &str, bytes: &Range<u64>) -> Self {
        let (device, inode, _) = self.identity;
        Self {
            path: self.path.join(name),
            file: self.file.clone(),
            start: bytes.start,
            len: bytes.end - bytes.start,
            identity: (device, inode, bytes.start),
            tells_holes: OnceLock::new(),
            ..*self
        }
    }

    /// The path it was opened by; of a member of an archive, the archive's with its name behind it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes when it was opened, more than 0.
    #[expect(clippy::len_without_is_empty, reason = "what is empty is not opened")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The next byte from `at` on that is data, or a hole, as the file system tells.
    pub(crate) fn seek(&self, at: u64, what: fn(u64) -> rustix::fs::SeekFrom) -> rustix::io::Result<u64> {
        rustix::fs::seek(&*self.file, what(self.start + at)).map(|found| found - self.start)
    }

    pub(crate) fn is_device(&self) -> bool {
        self.device
    }

    /// Whether what the file system says of data and holes is believed: of a file, unless it is plainly wrong.
    pub(crate) fn tells_holes(&self) -> bool {
        *self.tells_holes.get_or_init(|| {
            let said = self.seek(0, rustix::fs::SeekFrom::Data);
            !self.device && is_believed(said, self.len, |at, buffer| self.read_at(at, buffer))
        })
    }

    #[cfg(test)]
    pub(crate) fn telling_holes(self, tells: bool) -> Self {
        Self { tells_holes: tells.into(), ..self }
    }

    /// Seconds and nanoseconds.
    pub(crate) fn modified(&self) -> (i64, i64) {
        self.modified
    }

    fn check_unchanged(&self) -> Result<(), Error> {
        let failed = |source| Error::Open { path: self.path.clone(), source };
        let changed = |what| Err(Error::Changed { path: self.path.clone(), what });
        let metadata = self.file.metadata().map_err(failed)?;
        if self.device {
            let len = (&*self.file).seek(SeekFrom::End(0)).map_err(failed)?;
            return if len == self.whole_len { Ok(()) } else { changed("the size of the device") };
        }
        if metadata.len() != self.whole_len {
            changed("its size")
        } else if (metadata.mtime(), metadata.mtime_nsec()) != self.modified {
            changed("its time of modification")
        } else {
            Ok(())
        }
    }

    /// Fills the buffer from this byte of the file on. Blocking.
    ///
    /// # Errors
    /// [`Error::Read`], also for bytes behind the end, and [`Error::Changed`] when the file has become shorter.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let len = buffer.len();
        if offset.checked_add(len as u64).is_none_or(|end| end > self.len) {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "they are behind its end");
            return Err(Error::Read { path: self.path.clone(), offset, len, source });
        }
        self.file.read_exact_at(buffer, self.start + offset).map_err(|source| match source.kind() {
            // Nothing is read behind the length found at opening.
            io::ErrorKind::UnexpectedEof => {
                Error::Changed { path: self.path.clone(), what: "it became shorter" }
            }
            _ => Error::Read { path: self.path.clone(), offset, len, source },
        })
    }
}

/// Of a whole file, or of a device by whatever name.
pub(crate) fn identity(metadata: &std::fs::Metadata) -> Identity {
    if metadata.file_type().is_block_device() {
        // No file has the inode 0.
        return (metadata.rdev(), 0, 0);
    }
    (metadata.dev(), metadata.ino(), 0)
}

fn check_kind(path: &Path, kind: FileType) -> Result<(), Error> {
    if kind.is_file() || kind.is_block_device() {
        return Ok(());
    }
    Err(Error::NotADisk { path: path.to_owned(), kind: kind_name(kind) })
}

fn kind_name(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "directory"
    } else if kind.is_char_device() {
        "character device"
    } else if kind.is_fifo() {
        "FIFO"
    } else if kind.is_socket() {
        "socket"
    } else {
        "special file"
    }
}
