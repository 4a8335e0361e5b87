//! A disk attached to the control domain, held by one call at a time, and what a call puts around it:
//! loop devices for its partitions, mounts. Both go when their guard does, and what a call that was killed
//! left behind goes when the next one takes the disk.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::dom0::{CommandError, Dom0};
use crate::partition_table::{HEAD_BYTES, Partition, Plan, SECTOR, Table};
use crate::plugins::Error;

/// `losetup` and `mount` are quick, and wait for the disk at worst.
const TOOL_LIMIT: Duration = Duration::from_secs(120);
/// How long a call waits for another one on the same disk.
const LOCK_LIMIT: Duration = Duration::from_secs(60);
/// What a copy reads at once: a block of a VHD.
const PIECE_BYTES: usize = 2 << 20;
const DETACH_POLL: Duration = Duration::from_millis(100);
const DETACH_POLLS: u32 = 100;
const LOCK_POLL: Duration = Duration::from_millis(500);

/// A disk that this call alone works on.
pub(crate) struct Disk<'a> {
    pub(crate) dom0: &'a dyn Dom0,
    path: PathBuf,
    file: File,
}

impl<'a> Disk<'a> {
    /// Opens a disk, waits for other calls to be done with it, and removes what a dead call left around it.
    ///
    /// The lock is a lock on the device's file. Programs that are started inherit it: while one that
    /// outlived its call still works on the disk, nobody else does.
    ///
    /// # Errors
    /// When it cannot be opened, it is mounted, or something else of the control domain, such as LVM or another call, uses
    /// it for longer than a minute.
    pub(crate) fn open(dom0: &'a dyn Dom0, path: &Path) -> Result<Self, Error> {
        let failed = |e: std::io::Error| Error::file(path, &e);
        let mut waited = Duration::ZERO;
        let file = loop {
            // Whoever has a block device open here has it alone, so it opens when another call has closed it.
            let busy = match dom0.open_disk(path) {
                Ok(file) => match file.try_lock() {
                    Ok(()) => break file,
                    Err(TryLockError::WouldBlock) => {
                        let text = format!("{}: another call has been working on it", path.display());
                        Error::Other(format!("{text} for {} s", LOCK_LIMIT.as_secs()))
                    }
                    Err(TryLockError::Error(e)) => return Err(failed(e)),
                },
                Err(e) if e.kind() == ErrorKind::ResourceBusy && !is_mounted(dom0, path) => failed(e),
                Err(e) => return Err(failed(e)),
            };
            if waited >= LOCK_LIMIT {
                return Err(busy);
            }
            dom0.sleep(LOCK_POLL);
            waited += LOCK_POLL;
        };
        let disk = Self { dom0, path: path.to_owned(), file };
        disk.remove_leftovers()?;
        Ok(disk)
    }

    pub(crate) fn sectors(&self) -> Result<u64, Error> {
        use std::io::{Seek, SeekFrom};
        let len = (&self.file).seek(SeekFrom::End(0)).map_err(|e| self.failed(&e))?;
        Ok(len / SECTOR)
    }

    pub(crate) fn table(&self) -> Result<Table, Error> {
        let sectors = self.sectors()?;
        let head = self.read(0, HEAD_BYTES.min(sectors * SECTOR))?;
        Table::parse(&head, sectors).map_err(|e| self.refuse(e))
    }

    pub(crate) fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; len as usize];
        self.file.read_exact_at(&mut bytes, offset).map_err(|e| self.failed(&e))?;
        Ok(bytes)
    }

    /// Writes in the plan's order, each on the disk before the next.
    pub(crate) fn write(&self, plan: &Plan) -> Result<(), Error> {
        for write in &plan.writes {
            self.write_at(&write.bytes, write.offset)?;
            self.sync()?;
        }
        Ok(())
    }

    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        self.file.write_all_at(bytes, offset).map_err(|e| self.failed(&e))
    }

    /// Calls `differs` with each piece of the first `len` bytes that is not the same on another disk, and where. It is
    /// told of as `step`.
    pub(crate) fn compare(
        &self,
        other: &Self,
        step: &str,
        len: u64,
        mut differs: impl FnMut(u64, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for offset in (0..len).step_by(PIECE_BYTES) {
            let piece = (PIECE_BYTES as u64).min(len - offset);
            self.dom0.report(step, offset, len);
            if self.dom0.is_unwanted() {
                return Err(Error::Cancelled(format!("{step} {}", self.path.display())));
            }
            let bytes = self.read(offset, piece)?;
            if bytes != other.read(offset, piece)? {
                differs(offset, &bytes)?;
            }
        }
        Ok(())
    }

    /// Has what is read next come from the disk and not from memory.
    pub(crate) fn forget_cached(&self) -> Result<(), Error> {
        let advice = rustix::fs::Advice::DontNeed;
        rustix::fs::fadvise(&self.file, 0, None, advice).map_err(|e| self.failed(&e.into()))
    }

    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(|e| self.failed(&e))
    }

    /// A block device for a partition alone, until the guard goes.
    pub(crate) fn attach(&self, partition: &Partition) -> Result<Attached<'_>, Error> {
        let offset = (partition.start * SECTOR).to_string();
        let len = (partition.sectors * SECTOR).to_string();
        let disk = self.path.to_string_lossy();
        let args = ["--find", "--show", "--offset", &offset, "--sizelimit", &len, &disk];
        let device = self.dom0.run("losetup", &args, "", TOOL_LIMIT)?.trim().to_owned();
        Ok(Attached { dom0: self.dom0, device, is_attached: true })
    }

    /// A refusal that names the disk.
    pub(crate) fn refuse(&self, reason: impl std::fmt::Display) -> Error {
        Error::Refused(format!("{}: {reason}", self.path.display()))
    }

    fn failed(&self, error: &std::io::Error) -> Error {
        Error::file(&self.path, error)
    }

    /// Unmounts and detaches every loop device on this disk: whoever holds the lock has not made any yet.
    fn remove_leftovers(&self) -> Result<(), Error> {
        let listed = self.dom0.run("losetup", &["-j", &self.path.to_string_lossy()], "", TOOL_LIMIT)?;
        let devices = listed.lines().filter_map(|line| line.split_once(':').map(|(device, _)| device));
        for device in devices {
            let mounts = self.dom0.read_to_string(Path::new("/proc/mounts")).unwrap_or_default();
            if mounts.lines().any(|line| line.split(' ').next() == Some(device)) {
                unmount(self.dom0, device)?;
            }
            detach(self.dom0, device)?;
        }
        Ok(())
    }
}

/// A partition as a block device of its own.
pub(crate) struct Attached<'a> {
    dom0: &'a dyn Dom0,
    device: String,
    is_attached: bool,
}

impl Attached<'_> {
    pub(crate) fn device(&self) -> &str {
        &self.device
    }

    /// Mounts it where only root looks, without programs or devices of the guest, until the guard goes.
    pub(crate) fn mount(&self, fs: &str) -> Result<Mounted<'_>, Error> {
        let at = self.dom0.temp_dir().map_err(|e| Error::file("a temporary folder", &e))?;
        let target = at.to_string_lossy();
        let args = ["-t", fs, "-o", "rw,nosuid,nodev,noexec", &self.device, &target];
        let mounted = self.dom0.run("mount", &args, "", TOOL_LIMIT);
        if let Err(error) = mounted {
            let _ = self.dom0.remove_dir(&at);
            return Err(error.into());
        }
        Ok(Mounted { dom0: self.dom0, at, is_mounted: true })
    }

    /// Detaches it now, so that a failure is seen.
    pub(crate) fn detach(mut self) -> Result<(), Error> {
        self.is_attached = false;
        Ok(detach(self.dom0, &self.device)?)
    }
}

/// Whether a disk or a partition of it is mounted as such, which no call of a plugin does.
fn is_mounted(dom0: &dyn Dom0, disk: &Path) -> bool {
    let device = std::fs::canonicalize(disk).unwrap_or_else(|_| disk.to_owned());
    let device = device.to_string_lossy();
    let mounts = dom0.read_to_string(Path::new("/proc/mounts")).unwrap_or_default();
    let rest_of = |line: &str| line.split(' ').next()?.strip_prefix(&*device).map(str::to_owned);
    mounts
        .lines()
        .filter_map(rest_of)
        .any(|rest| rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_digit() || c == 'p'))
}

/// Unmounts, again while somebody else looks at it.
fn unmount(dom0: &dyn Dom0, what: &str) -> Result<(), CommandError> {
    for _ in 0..DETACH_POLLS {
        match dom0.run("umount", &[what], "", TOOL_LIMIT) {
            Err(error) if error.stderr.contains("busy") => dom0.sleep(DETACH_POLL),
            done => return done.map(drop),
        }
    }
    dom0.run("umount", &[what], "", TOOL_LIMIT).map(drop)
}

/// Detaches a loop device and waits until it is. The kernel puts it off while anybody has the device open,
/// as `losetup -f` of somebody else has for a moment; a VDI cannot be unplugged that long.
fn detach(dom0: &dyn Dom0, device: &str) -> Result<(), CommandError> {
    let name = device.rsplit('/').next().unwrap_or_default();
    let state = PathBuf::from(format!("/sys/block/{name}/loop/backing_file"));
    let backing = dom0.read_to_string(&state).ok();
    match dom0.run("losetup", &["-d", device], "", TOOL_LIMIT) {
        // Somebody else's detaching, which the kernel had put off, came first.
        Err(error) if error.stderr.contains("No such device") => return Ok(()),
        done => done?,
    };
    for _ in 0..DETACH_POLLS {
        let now = dom0.read_to_string(&state).ok();
        if now.is_none() || now != backing {
            return Ok(());
        }
        dom0.sleep(DETACH_POLL);
    }
    let reason = format!("{device} is still attached: another program has it open");
    Err(CommandError { program: "losetup".to_owned(), reason, stderr: String::new() })
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        if self.is_attached {
            // On the way out of another failure, which is the one to report.
            let _ = detach(self.dom0, &self.device);
        }
    }
}

/// A mounted partition.
pub(crate) struct Mounted<'a> {
    dom0: &'a dyn Dom0,
    at: PathBuf,
    is_mounted: bool,
}

impl Mounted<'_> {
    pub(crate) fn path(&self) -> &Path {
        &self.at
    }

    /// Unmounts it now, so that a failure is seen: what was written is not on the disk before.
    pub(crate) fn unmount(mut self) -> Result<(), Error> {
        self.is_mounted = false;
        Ok(self.release()?)
    }

    fn release(&self) -> Result<(), CommandError> {
        unmount(self.dom0, &self.at.to_string_lossy())?;
        let _ = self.dom0.remove_dir(&self.at);
        Ok(())
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = self.release();
        }
    }
}
