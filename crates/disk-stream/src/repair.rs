//! Inspecting VHD files, and repairing what can be repaired without losing a byte.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, SeekFrom, fcntl_lock, flock, seek};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use vhd::inspect::{Grade, Inspection, Plan, Repair, Report};

use crate::archive;
use crate::error::Error;
use crate::image::Opening;
use crate::layer::DiskFile;
use crate::progress::{Progress, Stage};
use crate::target::open_to_write;
use crate::upload::now;

/// A VHD file under inspection.
#[derive(Debug)]
pub struct Inspected {
    path: PathBuf,
    file: File,
    len: u64,
    report: Report,
}

/// What a repair has done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repaired {
    /// The repairs that were made.
    pub repairs: Vec<Repair>,
    /// The bytes of the file that were written.
    pub written: Vec<Range<u64>>,
    /// The length that the file was cut to, in bytes, if it was.
    pub truncated: Option<u64>,
    /// SHA-256 of all the other bytes in hexadecimal, the same before and after.
    pub untouched_sha256: String,
}

impl Inspected {
    /// Looks at a file or block device. Blocking.
    ///
    /// `thorough` reads the sector bitmaps too, and what lies in sectors that are said to be absent.
    ///
    /// # Errors
    /// [`Error::Open`] and [`Error::Read`]. What is wrong with the VHD is in the report.
    pub fn open(path: &Path, thorough: bool) -> Result<Self, Error> {
        Self::open_with(path, thorough, &Opening::default())
    }

    /// As [`Inspected::open`], with what a VHD may claim and which footer counts where two disagree as in `opening`, of which
    /// nothing else is used. Blocking.
    ///
    /// # Errors
    /// As [`Inspected::open`].
    pub fn open_with(path: &Path, thorough: bool, opening: &Opening) -> Result<Self, Error> {
        Self::of(path, &inspection(thorough, opening), false, &Progress::new())
    }

    fn of(path: &Path, inspection: &Inspection, writable: bool, progress: &Progress) -> Result<Self, Error> {
        let failed = |source| Error::Open { path: path.to_owned(), source };
        let file = if writable { open_to_write(path) } else { File::open(path) }.map_err(failed)?;
        if writable {
            lock(&file, path)?;
        }
        let len = seek(&file, SeekFrom::End(0)).map_err(|e| failed(e.into()))?;
        let report = inspect_file(path, &file, len, inspection, progress)?;
        Ok(Self { path: path.to_owned(), file, len, report })
    }

    /// What was found.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Length of the file in bytes.
    pub fn file_len(&self) -> u64 {
        self.len
    }

    /// Refuses what is no usable disk, as [`Inspected::repair`] does: there is nothing that a repair could put right.
    ///
    /// # Errors
    /// [`Error::Refused`]; [`Error::Format`] for what another [`Opening`] would make usable.
    pub fn refuse_fatal(&self) -> Result<(), Error> {
        use vhd::Error::{FooterMismatch, TableTooLarge, TooLarge};
        if self.report.grade() != Some(Grade::Fatal) {
            return Ok(());
        }
        if let Some(source @ (FooterMismatch { .. } | TooLarge { .. } | TableTooLarge { .. })) =
            self.report.error.clone()
        {
            return Err(Error::Format { path: self.path.clone(), source });
        }
        let what: Vec<&str> = self.report.findings.iter().map(|finding| &*finding.what).collect();
        let why = format!("it is not a usable disk ({}); restore it from a copy", what.join("; "));
        Err(Error::Refused { path: self.path.clone(), why })
    }

    /// Puts right everything that can be without losing a byte. Blocking.
    ///
    /// The file is locked against others who lock (`flock`), what QEMU has locked is refused, and it is inspected again under the lock. Footers are
    /// written one after the other, each on the disk before the next, so that one good footer is there at
    /// any moment; what follows the footer is cut last. The rest of the file is read before and after
    /// and compared, and the repairs are looked for once more at the end.
    ///
    /// # Errors
    /// [`Error::InUse`]; [`Error::Refused`] when it is not a usable disk; [`Error::Write`];
    /// [`Error::NotKept`] when the file does not hold what was written.
    pub fn repair(path: &Path) -> Result<Repaired, Error> {
        Self::repair_with(path, &Opening::default(), &Progress::new())
    }

    /// As [`Inspected::repair`], for what can be used as `opening` says: where two footers disagree, the one that counts is
    /// written in the place of the other. `progress` tells how far each of the two comparing looks at the file is, in its bytes.
    /// Blocking.
    ///
    /// # Errors
    /// As [`Inspected::repair`].
    pub fn repair_with(path: &Path, opening: &Opening, progress: &Progress) -> Result<Repaired, Error> {
        let inspection = inspection(false, opening);
        let found = Self::of(path, &inspection, true, &Progress::new())?;
        found.refuse_fatal()?;
        let repairs = found.report.repairs();
        let plan = found.report.plan(&repairs, Uuid::new_v4());
        let failed = |source| Error::Open { path: path.to_owned(), source };
        if plan.truncate.is_some() && found.file.metadata().map_err(failed)?.file_type().is_block_device() {
            let why = "what follows its footer cannot be cut off a device; convert it to a file, and that onto the device"
                .to_owned();
            return Err(Error::Refused { path: path.to_owned(), why });
        }
        found.apply(repairs, &plan, &inspection, progress)
    }

    fn apply(
        &self,
        repairs: Vec<Repair>,
        plan: &Plan,
        inspection: &Inspection,
        progress: &Progress,
    ) -> Result<Repaired, Error> {
        let failed = |source| Error::Write { path: self.path.clone(), source };
        let lost = |what: String| Error::NotKept { path: self.path.clone(), what };
        let mut written: Vec<Range<u64>> =
            plan.writes.iter().map(|(at, bytes)| *at..at + bytes.len() as u64).collect();
        written.sort_by_key(|range| range.start);
        let end = self.len.min(plan.truncate.unwrap_or(u64::MAX));
        let before = self.digest(&written, end, progress)?;
        for (at, bytes) in &plan.writes {
            self.file.write_all_at(bytes, *at).map_err(failed)?;
            self.file.sync_all().map_err(failed)?;
        }
        if let Some(len) = plan.truncate {
            self.file.set_len(len).map_err(failed)?;
            self.file.sync_all().map_err(failed)?;
        }
        if self.digest(&written, end, progress)? != before {
            return Err(lost("bytes changed that nobody wrote".to_owned()));
        }
        let len = seek(&self.file, SeekFrom::End(0)).map_err(|e| failed(e.into()))?;
        let left = inspect_file(&self.path, &self.file, len, inspection, &Progress::new())?;
        if let Some(finding) = left.findings.iter().find(|finding| finding.repair.is_some()) {
            return Err(lost(finding.what.clone()));
        }
        Ok(Repaired { repairs, written, truncated: plan.truncate, untouched_sha256: before })
    }

    /// Of all bytes before `end` that no range covers.
    fn digest(&self, without: &[Range<u64>], end: u64, progress: &Progress) -> Result<String, Error> {
        progress.begin(Stage::Scanning, 0, end);
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        for gap in without.iter().cloned().chain(std::iter::once(end..end)) {
            while at < gap.start.min(end) {
                // At most a buffer.
                let len = usize::try_from(gap.start.min(end) - at).unwrap_or(usize::MAX).min(buffer.len());
                read_at(&self.path, &self.file, at, &mut buffer[..len])?;
                hash.update(&buffer[..len]);
                at += len as u64;
                progress.reach(at);
            }
            at = at.max(gap.end);
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Locks a file that is going to be changed, until it is closed.
pub(crate) fn lock(file: &File, path: &Path) -> Result<(), Error> {
    // First: where one kind of lock is made of the other, as on NFS, ours would be in our own way.
    refuse_locked(file, path)?;
    flock(file, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        let path = path.to_owned();
        match io::Error::from(error) {
            source if source.kind() == io::ErrorKind::WouldBlock => Error::InUse { path },
            source => Error::Open { path, source },
        }
    })
}

/// Whether somebody has locked ranges of a file, open for writing, as QEMU does with the images of a running guest. Such a
/// lock of our own would go as soon as this process closes the file by any of its names, so that none is kept. File
/// systems that have no such locks have nobody who holds one.
pub(crate) fn refuse_locked(file: &File, path: &Path) -> Result<(), Error> {
    match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::AGAIN | Errno::ACCESS) => return Err(Error::InUse { path: path.to_owned() }),
        Err(_) => {}
        Ok(()) => drop(fcntl_lock(file, FlockOperation::NonBlockingUnlock)),
    }
    Ok(())
}

/// Looks at a VHD file or block device, or at each layer in a tar archive of them, from the leaf on; each with its path, of
/// a layer that of the archive with its name behind it. Blocking; see [`Inspected::open`].
///
/// # Errors
/// [`Error::Open`], [`Error::Read`] and, for an archive that is none of one disk, [`Error::Archive`].
pub fn inspect(path: &Path, thorough: bool) -> Result<Vec<(PathBuf, Report)>, Error> {
    inspect_with(path, thorough, &Opening::default(), &Progress::new())
}

/// As [`inspect`], with what a VHD may claim and which footer counts where two disagree as in `opening`, of which nothing
/// else is used. `progress` tells how far in a file it has looked, in its bytes. Blocking.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_with(
    path: &Path,
    thorough: bool,
    opening: &Opening,
    progress: &Progress,
) -> Result<Vec<(PathBuf, Report)>, Error> {
    let files = match DiskFile::open(path) {
        Ok(file) => archive::files(&file)?,
        // The report says what is wrong with it.
        Err(Error::Empty { .. }) => None,
        Err(error) => return Err(error),
    };
    let inspection = inspection(thorough, opening);
    let Some(files) = files else {
        return Ok(vec![(path.to_owned(), Inspected::of(path, &inspection, false, progress)?.report)]);
    };
    let inspect = |file: DiskFile| {
        progress.begin(Stage::Scanning, 0, file.len());
        let report = inspection.run(file.len(), |at, buffer| {
            progress.reach(at + buffer.len() as u64);
            file.read_at(at, buffer)
        })?;
        Ok((file.path().to_owned(), report))
    };
    files.into_iter().map(inspect).collect()
}

fn inspect_file(
    path: &Path,
    file: &File,
    len: u64,
    inspection: &Inspection,
    progress: &Progress,
) -> Result<Report, Error> {
    progress.begin(Stage::Scanning, 0, len);
    inspection.run(len, |at, buffer| {
        progress.reach(at + buffer.len() as u64);
        read_at(path, file, at, buffer)
    })
}

fn inspection(thorough: bool, opening: &Opening) -> Inspection {
    let (limits, end_footer) = (opening.limits.clone(), opening.end_footer);
    Inspection { limits, end_footer, now: Some(now()), bitmaps: thorough }
}

fn read_at(path: &Path, file: &File, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
    let len = buffer.len();
    let failed = |source| Error::Read { path: path.to_owned(), offset, len, source };
    file.read_exact_at(buffer, offset).map_err(failed)
}
