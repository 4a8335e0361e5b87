//! One file or block device that holds a disk or a layer of one.

use std::fs::{File, FileType};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use vhd::chain::Link;
use vhd::format::{DiskType, ParentPath, Timestamp};
use vhd::{DiskMap, Probe, ReadError};

use crate::error::Error;
use crate::image::{Declared, Opening};

/// A layer of an image. Clones share the file.
#[derive(Debug, Clone)]
pub struct Layer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    /// Of the file or device, in bytes.
    len: u64,
    device: bool,
    modified: (i64, i64),
    identity: (u64, u64),
    map: Option<DiskMap>,
}

impl Layer {
    pub(crate) fn open(path: &Path, declared: Declared, opening: &Opening) -> Result<Self, Error> {
        let failed = |source| Error::Open { path: path.to_owned(), source };
        // Before it is opened, because opening some devices has effects, and again on what was
        // opened. Without O_NONBLOCK, a FIFO put in its place would wait for a writer.
        check_kind(path, std::fs::metadata(path).map_err(failed)?.file_type())?;
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
        Self::of_file(path, file, declared, opening)
    }

    pub(crate) fn of_file(
        path: &Path,
        mut file: File,
        declared: Declared,
        opening: &Opening,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Open { path: path.to_owned(), source };
        let metadata = file.metadata().map_err(failed)?;
        let kind = metadata.file_type();
        check_kind(path, kind)?;
        let len = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if len == 0 {
            return Err(Error::Empty { path: path.to_owned() });
        }
        let mut inner = Inner {
            path: path.to_owned(),
            file,
            len,
            device: kind.is_block_device(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            identity: identity(&metadata),
            map: None,
        };
        if inner.is_vhd(declared)? {
            inner.map = Some(inner.read_map(opening)?);
        }
        Ok(Self(Arc::new(inner)))
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Length of the file or device in bytes.
    pub fn file_len(&self) -> u64 {
        self.0.len
    }

    /// Footer, header and block map of a VHD; `None` for a raw disk.
    pub fn map(&self) -> Option<&DiskMap> {
        self.0.map.as_ref()
    }

    /// The size of its disk in bytes.
    pub fn virtual_size(&self) -> u64 {
        self.map().map_or(self.0.len, DiskMap::virtual_size)
    }

    /// Bytes that the file takes on its file system.
    ///
    /// # Errors
    /// [`Error::Open`] when the file cannot be asked.
    pub fn occupied(&self) -> Result<u64, Error> {
        let metadata = self.0.file.metadata();
        let metadata = metadata.map_err(|source| Error::Open { path: self.0.path.clone(), source })?;
        Ok(if self.0.device { self.0.len } else { metadata.blocks() * 512 })
    }

    /// What it says of itself and of its parent.
    pub fn link(&self) -> Link {
        let link = self.map().map_or_else(|| Link::raw(self.0.len), Link::vhd);
        link.written(self.written())
    }

    /// When it was last written.
    pub fn written(&self) -> Timestamp {
        Timestamp::from_unix(u64::try_from(self.0.modified.0).unwrap_or_default())
    }

    /// The paths that its locators name as the parent's, in their order; those that cannot be read
    /// are left out.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Changed`].
    pub fn parent_paths(&self) -> Result<Vec<ParentPath>, Error> {
        let mut paths = Vec::new();
        for locator in self.map().and_then(DiskMap::header).iter().flat_map(|header| &header.locators) {
            let Some(range) = locator.range(self.0.len) else { continue };
            let mut bytes = vec![0; locator.len as usize];
            self.read_file(range.start, &mut bytes)?;
            paths.extend(locator.path(&bytes));
        }
        Ok(paths)
    }

    pub(crate) fn is_differencing(&self) -> bool {
        self.map().is_some_and(|map| map.footer().disk_type == DiskType::Differencing)
    }

    /// Whether its data are at their places in the file: a raw disk or a fixed VHD.
    pub(crate) fn is_flat(&self) -> bool {
        self.map().is_none_or(|map| map.header().is_none())
    }

    /// The parent's name, or its uuid where no name is given.
    pub(crate) fn parent_name(&self) -> Option<String> {
        let header = self.map()?.header()?;
        let name = &header.parent_name;
        Some(if name.is_empty() { header.parent_uuid.to_string() } else { name.clone() })
    }

    /// Device and inode.
    pub(crate) fn identity(&self) -> (u64, u64) {
        self.0.identity
    }

    pub(crate) fn check_unchanged(&self) -> Result<(), Error> {
        let inner = &*self.0;
        let failed = |source| Error::Open { path: inner.path.clone(), source };
        let changed = |what| Err(Error::Changed { path: inner.path.clone(), what });
        let metadata = inner.file.metadata().map_err(failed)?;
        if inner.device {
            let len = (&inner.file).seek(SeekFrom::End(0)).map_err(failed)?;
            return if len == inner.len { Ok(()) } else { changed("the size of the device") };
        }
        if metadata.len() != inner.len {
            changed("its size")
        } else if (metadata.mtime(), metadata.mtime_nsec()) != inner.modified {
            changed("its time of modification")
        } else {
            Ok(())
        }
    }

    pub(crate) fn file(&self) -> &File {
        &self.0.file
    }

    pub(crate) fn is_device(&self) -> bool {
        self.0.device
    }

    pub(crate) fn read_file(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.0.read_file(offset, buffer)
    }
}

/// Device and inode.
pub(crate) fn identity(metadata: &std::fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn check_kind(path: &Path, kind: FileType) -> Result<(), Error> {
    if kind.is_file() || kind.is_block_device() {
        return Ok(());
    }
    Err(Error::NotADisk { path: path.to_owned(), kind: kind_name(kind) })
}

impl Inner {
    fn is_vhd(&self, declared: Declared) -> Result<bool, Error> {
        match declared {
            Declared::Raw => return Ok(false),
            Declared::Vhd => return Ok(true),
            Declared::Unknown => {}
        }
        let sector = self.len.min(512);
        let (mut first, mut last) = ([0; 512], [0; 512]);
        // At most 512.
        let len = usize::try_from(sector).unwrap_or(512);
        self.read_file(0, &mut first[..len])?;
        self.read_file(self.len - sector, &mut last[..len])?;
        match vhd::probe(&first[..len], &last[..len], self.len) {
            Probe::Raw => Ok(false),
            Probe::Vhd(_) => Ok(true),
            // The map's errors are more precise.
            Probe::Damaged(_) if sector == 512 => Ok(true),
            Probe::Damaged(source) => Err(Error::Format { path: self.path.clone(), source }),
        }
    }

    fn read_map(&self, opening: &Opening) -> Result<DiskMap, Error> {
        let read_at = |offset, buffer: &mut [u8]| self.read_file(offset, buffer);
        DiskMap::read(self.len, opening.end_footer, &opening.limits, read_at).map_err(|error| match error {
            ReadError::Format(source) => Error::Format { path: self.path.clone(), source },
            ReadError::Io { source, .. } => source,
        })
    }

    fn read_file(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let len = buffer.len();
        self.file.read_exact_at(buffer, offset).map_err(|source| match source.kind() {
            // Nothing is read behind the length found at opening.
            io::ErrorKind::UnexpectedEof => {
                Error::Changed { path: self.path.clone(), what: "it became shorter" }
            }
            _ => Error::Read { path: self.path.clone(), offset, len, source },
        })
    }
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
