//! Files that appear complete or not at all, and devices of which the same can be seen.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FallocateFlags, OFlags, fallocate};
use vhd::zero;

use crate::draft::Draft;
use crate::error::Error;

/// What to do when the target exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// Fail, and leave it alone.
    #[default]
    Refuse,
    /// Replace it, in one step, when the new one is complete.
    ///
    /// A block device is overwritten, which destroys what was on it at once. Until it is complete it begins
    /// with a mark by which [`Image::open`](crate::Image::open) refuses it ([`Error::Incomplete`]).
    Replace,
}

/// A target in the making. A file has no name until it is complete: whatever interrupts the work, nobody takes a part
/// for the whole, and nothing is left.
#[derive(Debug)]
pub(crate) struct Partial {
    file: Target,
    path: PathBuf,
    existing: Existing,
}

#[derive(Debug)]
enum Target {
    File(Draft),
    Device(Device),
}

/// A block device. Its first bytes are written last.
#[derive(Debug)]
struct Device {
    file: File,
    len: u64,
    /// There once its old content is gone.
    head: Mutex<Option<Vec<u8>>>,
}

/// What a device begins with that is not complete.
const MARK: &[u8] = b"This disk is incomplete: xenapi-rs was interrupted while it wrote it.\n";
const HEAD: usize = 4096;

/// Whether a disk begins with the mark of one that is not complete.
pub(crate) fn is_marked(first: &[u8]) -> bool {
    first.starts_with(MARK)
}

/// Zeros are left out of the file in units of this size.
const GRAIN: usize = 64 << 10;

impl Partial {
    /// A raw disk: a file or a block device.
    pub(crate) fn create_disk(path: &Path, existing: Existing) -> Result<Self, Error> {
        if !path.metadata().is_ok_and(|metadata| metadata.file_type().is_block_device()) {
            return Self::create(path, existing);
        }
        let path = path.to_owned();
        if existing == Existing::Refuse {
            return Err(Error::Exists { path });
        }
        let device = Device::open(&path).map_err(|source| Error::Create { path: path.clone(), source })?;
        Ok(Self { file: Target::Device(device), path, existing })
    }

    /// A file.
    pub(crate) fn create(path: &Path, existing: Existing) -> Result<Self, Error> {
        let path = path.to_owned();
        if existing == Existing::Refuse && path.symlink_metadata().is_ok() {
            return Err(Error::Exists { path });
        }
        // A rename would put a file in the place of a device's node.
        if let Ok(metadata) = path.metadata()
            && !metadata.is_file()
        {
            let source = io::Error::other("it is not a regular file; devices take raw disks only");
            return Err(Error::Create { path, source });
        }
        match Draft::beside(&path) {
            Ok(file) => Ok(Self { file: Target::File(file), path, existing }),
            Err(source) => Err(Error::Create { path, source }),
        }
    }

    /// Says how large the disk will be at least, as soon as that is known. A device on which that fits is
    /// overwritten from here on.
    pub(crate) fn expect(&self, size: u64) -> Result<(), Error> {
        let Target::Device(device) = &self.file else { return Ok(()) };
        if size > device.len {
            return Err(Error::DeviceTooSmall { path: self.path.clone(), len: device.len, size });
        }
        device.begin().map_err(|source| Error::Write { path: self.path.clone(), source })
    }

    /// Writes at a place that was not written before; zeros become holes.
    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.expect(offset + bytes.len() as u64)?;
        let failed = |source| Error::Write { path: self.path.clone(), source };
        for run in zero::nonzero_runs(bytes, GRAIN) {
            let (bytes, offset) = (&bytes[run.clone()], offset + run.start as u64);
            match &self.file {
                Target::File(file) => file.as_file().write_all_at(bytes, offset).map_err(failed)?,
                Target::Device(device) => device.write_at(offset, bytes).map_err(failed)?,
            }
        }
        Ok(())
    }

    /// Writes at a place that may have been written before.
    pub(crate) fn overwrite_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.expect(offset + bytes.len() as u64)?;
        match &self.file {
            Target::File(file) => file.as_file().write_all_at(bytes, offset),
            Target::Device(device) => device.write_at(offset, bytes),
        }
        .map_err(|source| Error::Write { path: self.path.clone(), source })
    }

    /// Makes the file `len` bytes long, durable, and visible. A device keeps its length.
    pub(crate) fn complete(self, len: u64) -> Result<(), Error> {
        self.expect(len)?;
        let Self { file, path, existing } = self;
        let failed = |source| Error::Write { path: path.clone(), source };
        let file = match file {
            Target::Device(device) => return device.complete().map_err(failed),
            Target::File(file) => file,
        };
        file.as_file().set_len(len).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        match existing {
            Existing::Replace => file.replace(&path).map_err(failed)?,
            Existing::Refuse => file.appear(&path).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Error::Exists { path: path.clone() },
                _ => failed(error),
            })?,
        }
        // The new name is durable only with its folder.
        File::open(folder(&path)).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

impl Device {
    /// Exclusively: a device that is mounted, or of which another one is made, is refused by the system.
    fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::EXCL.bits().cast_signed();
        let mut file = File::options().read(true).write(true).custom_flags(flags).open(path)?;
        let len = file.seek(SeekFrom::End(0))?;
        if len < HEAD as u64 {
            return Err(io::Error::other("the device has less than 4096 bytes"));
        }
        Ok(Self { file, len, head: Mutex::new(None) })
    }

    /// Marks it as incomplete, and makes the rest zero.
    fn begin(&self) -> io::Result<()> {
        let mut head = self.head();
        if head.is_some() {
            return Ok(());
        }
        let mut mark = MARK.to_vec();
        mark.resize(HEAD, 0);
        self.file.write_all_at(&mark, 0)?;
        self.file.sync_all()?;
        self.clear()?;
        *head = Some(vec![0; HEAD]);
        Ok(())
    }

    fn head(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        // Whoever held it has not completed the device.
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes everything behind the mark zero, by the device's own means where it has them.
    fn clear(&self) -> io::Result<()> {
        let (start, len) = (HEAD as u64, self.len - HEAD as u64);
        let mode = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
        if len == 0 || fallocate(&self.file, mode, start, len).is_ok() {
            return Ok(());
        }
        let zeros = vec![0; 1 << 20];
        let mut at = start;
        while at < self.len {
            // At most a MiB.
            let part = usize::try_from(self.len - at).unwrap_or(zeros.len()).min(zeros.len());
            self.file.write_all_at(&zeros[..part], at)?;
            at += part as u64;
        }
        Ok(())
    }

    /// After [`Device::begin`].
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let inside = usize::try_from(offset).unwrap_or(HEAD).min(HEAD);
        let (head, rest) = bytes.split_at(bytes.len().min(HEAD - inside));
        if let (false, Some(kept)) = (head.is_empty(), &mut *self.head()) {
            kept[inside..inside + head.len()].copy_from_slice(head);
        }
        self.file.write_all_at(rest, offset + head.len() as u64)
    }

    fn complete(self) -> io::Result<()> {
        self.file.sync_all()?;
        self.file.write_all_at(self.head().as_deref().unwrap_or_default(), 0)?;
        self.file.sync_all()
    }
}

pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
