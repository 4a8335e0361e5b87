//! Files that appear complete or not at all, and devices of which the same can be seen.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FallocateFlags, OFlags, fallocate};
use vhd::zero;

use crate::convert::refuse_parent;
use crate::draft::{Access, Draft};
use crate::error::Error;
use crate::repair::{lock, refuse_locked};

/// What to do when the target exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// Fail, and leave it alone.
    #[default]
    Refuse,
    /// Replace it, in one step, when the new one is complete, which then has its permissions and, as far as that is
    /// allowed, its owner. A link stays, and what it leads to is replaced.
    ///
    /// A block device is overwritten, which destroys what was on it at once. Until it is complete it begins
    /// with a mark by which [`Image::open`](crate::Image::open) refuses it ([`Error::Incomplete`]), and has no footer at
    /// its end. What is made there must fit ([`Error::DeviceTooSmall`], before anything is written); a VHD's last footer
    /// is in the last sector of the device, where `tapdisk` and libvhd look for it.
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

/// A block device. Its first bytes and its footer are written last.
#[derive(Debug)]
struct Device {
    file: File,
    len: u64,
    /// There once its old content is gone.
    kept: Mutex<Option<Kept>>,
}

/// What makes a device a disk, and is kept until everything else is there.
#[derive(Debug, Default)]
struct Kept {
    head: Vec<u8>,
    /// Ends where the device does.
    footer: Vec<u8>,
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
    /// A file or a block device.
    pub(crate) fn create(path: &Path, existing: Existing) -> Result<Self, Error> {
        Self::with(path, existing, Access::Umask)
    }

    /// The same for what arrives, of which a new file is for its owner alone. What others have as their parent is not
    /// replaced.
    pub(crate) fn private(path: &Path, existing: Existing) -> Result<Self, Error> {
        refuse_parent(path, existing)?;
        Self::with(path, existing, Access::Owner)
    }

    fn with(path: &Path, existing: Existing, access: Access) -> Result<Self, Error> {
        if existing == Existing::Refuse && path.symlink_metadata().is_ok() {
            return Err(Error::Exists { path: path.to_owned() });
        }
        let path = resolved(path, existing);
        let old = path.metadata();
        let made = match old.as_ref().map(Metadata::file_type) {
            Ok(kind) if kind.is_block_device() => {
                let device = Device::open(&path);
                if let Ok(device) = &device {
                    refuse_locked(&device.file, &path)?;
                }
                device.map(Target::Device)
            }
            // A rename would put a file in its place.
            Ok(kind) if !kind.is_file() => {
                Err(io::Error::other("it is neither a regular file nor a block device"))
            }
            _ => {
                // Whoever has the old one open would not see the new one. Where it cannot be asked, it can be replaced all
                // the same.
                if old.is_ok()
                    && let Ok(file) = File::options().read(true).write(true).open(&path)
                {
                    lock(&file, &path)?;
                }
                let draft = Draft::beside(&path, access);
                let like_old = |draft: Draft| old.map_or(Ok(()), |old| draft.resemble(&old)).map(|()| draft);
                draft.and_then(like_old).map(Target::File)
            }
        };
        match made {
            Ok(file) => Ok(Self { file, path, existing }),
            Err(source) => Err(Error::Create { path, source }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn is_device(&self) -> bool {
        self.device_len().is_some()
    }

    /// The device's length in bytes, if it is one.
    pub(crate) fn device_len(&self) -> Option<u64> {
        match &self.file {
            Target::Device(device) => Some(device.len),
            Target::File(_) => None,
        }
    }

    /// Says how many bytes there will be at least, as soon as that is known. Nothing is written yet.
    pub(crate) fn expect(&self, size: u64) -> Result<(), Error> {
        match &self.file {
            Target::Device(device) if size > device.len => {
                Err(Error::DeviceTooSmall { path: self.path.clone(), len: device.len, size })
            }
            _ => Ok(()),
        }
    }

    /// A device on which so many bytes fit is overwritten from here on.
    fn begin(&self, size: u64) -> Result<(), Error> {
        self.expect(size)?;
        let Target::Device(device) = &self.file else { return Ok(()) };
        device.begin().map_err(|source| Error::Write { path: self.path.clone(), source })
    }

    /// Writes at a place that was not written before; zeros become holes.
    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.begin(offset + bytes.len() as u64)?;
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
        self.begin(offset + bytes.len() as u64)?;
        match &self.file {
            Target::File(file) => file.as_file().write_all_at(bytes, offset),
            Target::Device(device) => device.write_at(offset, bytes),
        }
        .map_err(|source| Error::Write { path: self.path.clone(), source })
    }

    /// Writes a footer, which begins at `offset` of a file and ends where a device does. Of a device it is kept until all
    /// else is there.
    pub(crate) fn write_footer(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let Target::Device(device) = &self.file else { return self.write_at(offset, bytes) };
        self.begin(offset + bytes.len() as u64)?;
        if let Some(kept) = &mut *device.kept() {
            kept.footer = bytes.to_vec();
        }
        Ok(())
    }

    /// Makes the file `len` bytes long, durable, and visible. A device keeps its length.
    pub(crate) fn complete(self, len: u64) -> Result<(), Error> {
        self.begin(len)?;
        let Self { file, path, existing } = self;
        let failed = |source| Error::Write { path: path.clone(), source };
        let file = match file {
            Target::Device(device) => return device.complete().map_err(failed),
            Target::File(file) => file,
        };
        file.as_file().set_len(len).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        match existing {
            Existing::Replace => {
                file.replace(&path).map_err(failed)?;
                // They are about the file that was there.
                for note in [crate::coalesce::journal_of(&path), crate::relink::note_of(&path)] {
                    match std::fs::remove_file(note) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                        _ => {}
                    }
                }
            }
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
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = open_to_write(path)?;
        let len = file.seek(SeekFrom::End(0))?;
        if len < HEAD as u64 {
            return Err(io::Error::other("the device has less than 4096 bytes"));
        }
        Ok(Self { file, len, kept: Mutex::new(None) })
    }

    /// Marks it as incomplete, and makes the rest zero.
    fn begin(&self) -> io::Result<()> {
        let mut kept = self.kept();
        if kept.is_some() {
            return Ok(());
        }
        let mut mark = MARK.to_vec();
        mark.resize(HEAD, 0);
        self.file.write_all_at(&mark, 0)?;
        self.file.sync_all()?;
        self.clear()?;
        *kept = Some(Kept { head: vec![0; HEAD], footer: Vec::new() });
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        // Whoever held it has not completed the device.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
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
        if let (false, Some(kept)) = (head.is_empty(), &mut *self.kept()) {
            kept.head[inside..inside + head.len()].copy_from_slice(head);
        }
        self.file.write_all_at(rest, offset + head.len() as u64)
    }

    fn complete(self) -> io::Result<()> {
        self.file.sync_all()?;
        let Kept { head, footer } = self.kept().take().unwrap_or_default();
        self.file.write_all_at(&footer, self.len - footer.len() as u64)?;
        self.file.write_all_at(&head, 0)?;
        self.file.sync_all()
    }
}

/// What is replaced: where a link leads, if there is something, so that it is not the link.
pub(crate) fn resolved(path: &Path, existing: Existing) -> PathBuf {
    let is_link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
    let target = if is_link && existing == Existing::Replace { path.canonicalize().ok() } else { None };
    target.unwrap_or_else(|| path.to_owned())
}

/// Opens what is there, to write to it; a device exclusively: one that is mounted, or of which another one is made, is refused
/// by the system.
pub(crate) fn open_to_write(path: &Path) -> io::Result<File> {
    let is_device = path.metadata()?.file_type().is_block_device();
    let flags = if is_device { OFlags::EXCL } else { OFlags::empty() };
    File::options().read(true).write(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// What a program has noted in a small file. Whatever else has its name is neither waited for nor read whole.
pub(crate) fn read_note(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let mut note = Vec::new();
    if file.metadata()?.is_file() {
        file.take(most as u64 + 1).read_to_end(&mut note)?;
    }
    if note.len() > most { Err(io::Error::other("it is larger than what is noted there")) } else { Ok(note) }
}

pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
impl Partial {
    /// A file in the place of a device: what is written where and when is the same.
    pub(crate) fn as_device(path: &Path) -> Self {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let device = Device { len: file.metadata().unwrap().len(), file, kept: Mutex::default() };
        Self { file: Target::Device(device), path: path.to_owned(), existing: Existing::Replace }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Declared, Image};

    #[test]
    fn neither_end_of_a_device_is_a_disk_before_all_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device");
        std::fs::write(&path, [0xa5; 64 << 10]).unwrap();
        let device = || Partial::as_device(&path);
        let work = |target: &Partial| {
            target.write_at(0, &[1; 5000]).unwrap();
            target.write_at(8192, &[2; 512]).unwrap();
            target.write_footer(8704, &[3; 512]).unwrap();
        };
        let target = device();
        assert!(matches!(target.expect(64 << 10 | 1), Err(Error::DeviceTooSmall { .. })));
        target.expect(64 << 10).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [0xa5; 64 << 10], "nothing was written");
        work(&target);
        drop(target);
        let left = std::fs::read(&path).unwrap();
        assert!(is_marked(&left) && left[4096..5000] == [1; 904] && left[8192..8704] == [2; 512]);
        assert!(zero::is_zero(&left[8704..]), "neither the old end nor the new one");
        let opened = Image::open_blocking(&path, Declared::Raw);
        assert!(matches!(opened, Err(Error::Incomplete { .. })), "{opened:?}");

        let target = device();
        work(&target);
        target.complete(9216).unwrap();
        let done = std::fs::read(&path).unwrap();
        assert_eq!(done.len(), 64 << 10);
        assert!(done[..5000] == [1; 5000] && done[(64 << 10) - 512..] == [3; 512]);
        assert!(zero::is_zero(&done[8704..(64 << 10) - 512]));
    }
}
