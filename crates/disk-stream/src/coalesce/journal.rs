//! What says that a merge is under way.

use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use uuid::Uuid;
use vhd::format::{FOOTER_LEN, SECTOR};
use vhd::{DiskMap, Warning};

use super::place::MOST;
use crate::error::Error;
use crate::layer::Layer;
use crate::target::{folder, read_note};

/// A file; [`super::place`] knows where.
pub(super) struct Journal {
    path: PathBuf,
    /// Up to where new blocks begin.
    head: String,
    /// Which files these are. Where the child was written anew meanwhile, or another file has the parent's name, nobody can
    /// go on where it was: the merge is planned anew then, which loses nothing.
    files: String,
    /// Where new blocks begin in the parent.
    area: u64,
    step: Step,
    resumed: bool,
    /// Whether there is a file that may be replaced.
    exists: bool,
    /// Whether the file says all this.
    written: bool,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The child's data are being copied.
    Merging,
    /// The parent shows the child's disk, and what has the child as its parent is being given that.
    Moving,
    /// Nothing has the child as its parent any longer.
    Removing,
}

impl Step {
    /// The journal's last line.
    fn line(self) -> &'static str {
        match self {
            Self::Merging => "",
            Self::Moving => "moving\n",
            Self::Removing => "removing\n",
        }
    }
}

impl Journal {
    /// `journal` is where it is.
    pub(super) fn of(journal: PathBuf, child: &Layer, parent: &Layer) -> Result<Self, Error> {
        let uuid = |layer: &Layer| layer.link().uuid.unwrap_or_default();
        // The numbers of devices, and those of files in their folder, are others when the machine is started anew.
        let place = match parent.disk_file().is_device() {
            true => "device".to_owned(),
            false => parent.identity().1.to_string(),
        };
        let (seconds, nanos) = child.disk_file().modified();
        let mut journal = Self {
            path: journal,
            head: format!("xenapi-rs coalesce 1\nchild {}\nparent {}\narea ", uuid(child), uuid(parent)),
            files: format!(
                "files {place} {}:{}:{seconds}.{nanos:09}\n",
                child.identity().1,
                child.file_len()
            ),
            area: 0,
            step: Step::Merging,
            resumed: false,
            exists: false,
            written: false,
        };
        let text = match read_note(&journal.path, MOST) {
            Ok(note) => String::from_utf8_lossy(&note).into_owned(),
            Err(source) if source.kind() == ErrorKind::NotFound => {
                journal.renew(parent)?;
                return Ok(journal);
            }
            Err(source) => return Err(Error::Open { path: journal.path, source }),
        };
        journal.exists = true;
        let Some((area, rest)) = text.strip_prefix(&journal.head).and_then(|rest| rest.split_once('\n'))
        else {
            // All that was left to do there is to remove a file that nobody needs.
            if !text.ends_with(&format!("\n{}", Step::Removing.line())) {
                let why = format!(
                    "another merge into {} was begun and not completed ({}): complete that one first, or, if its child is lost, \
                     look whether the parent is still the disk that it should be, and remove {}",
                    parent.path().display(),
                    begun(&text),
                    journal.path.display()
                );
                return Err(Error::Refused { path: child.path().to_owned(), why });
            }
            journal.renew(parent)?;
            return Ok(journal);
        };
        journal.resumed = true;
        let steps = [Step::Merging, Step::Moving, Step::Removing];
        let step = rest.strip_prefix(&journal.files);
        let step = step.and_then(|line| steps.into_iter().find(|step| step.line() == line));
        match (area.parse(), step) {
            (Ok(area), Some(step)) if step != Step::Merging || !has_locators_behind(parent, area) => {
                (journal.area, journal.step, journal.written) = (area, step, true);
            }
            _ => journal.renew(parent)?,
        }
        Ok(journal)
    }

    /// New blocks go where the last footer is now; on a device, where that stays, behind everything else.
    pub(super) fn renew(&mut self, parent: &Layer) -> Result<(), Error> {
        let unsure = |warning: &Warning| {
            matches!(warning, Warning::Trailing(_) | Warning::EndFooterMissing | Warning::FootersDisagree(_))
        };
        let grows = parent.map().filter(|map| map.header().is_some());
        if let Some(odd) = grows.and_then(|map| map.warnings().iter().find(|odd| unsure(odd))) {
            let why = format!("its blocks would go where its last footer is, and {odd}; repair it first");
            return Err(Error::Refused { path: parent.path().to_owned(), why });
        }
        self.area = match grows {
            Some(map) if parent.disk_file().is_device() => data_end(map, parent)?,
            _ => parent.file_len().saturating_sub(FOOTER_LEN as u64),
        };
        self.written = false;
        Ok(())
    }

    pub(super) fn area(&self) -> u64 {
        self.area
    }

    pub(super) fn step(&self) -> Step {
        self.step
    }

    /// Whether an interrupted merge is gone on with.
    pub(super) fn resumed(&self) -> bool {
        self.resumed
    }

    /// On the disk before the first byte of the parent changes.
    pub(super) fn begin(&mut self) -> Result<(), Error> {
        if self.written { Ok(()) } else { self.write() }
    }

    /// What comes from here on is another step.
    pub(super) fn reach(&mut self, step: Step) -> Result<(), Error> {
        self.step = step;
        self.write()
    }

    fn write(&mut self) -> Result<(), Error> {
        let failed = |source| Error::Create { path: self.path.clone(), source };
        let text = format!("{}{}\n{}{}", self.head, self.area, self.files, self.step.line());
        let folder = folder(&self.path);
        // That of a journal beside a file is there.
        std::fs::create_dir_all(folder).map_err(failed)?;
        let prefix = self.draft_prefix();
        let mut file = tempfile::Builder::new().prefix(&prefix).tempfile_in(folder).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        let named = if self.exists { file.persist(&self.path) } else { file.persist_noclobber(&self.path) };
        named.map_err(|error| failed(error.error))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        (self.exists, self.written) = (true, true);
        Ok(())
    }

    /// With what a program left of it that was killed while it wrote it.
    pub(super) fn remove(&self) -> Result<(), Error> {
        let failed = |source| Error::Write { path: self.path.clone(), source };
        let prefix = self.draft_prefix();
        for entry in std::fs::read_dir(folder(&self.path)).map_err(failed)?.flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
                std::fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        std::fs::remove_file(&self.path).map_err(failed)
    }

    fn draft_prefix(&self) -> OsString {
        let mut prefix = self.path.file_name().unwrap_or_default().to_owned();
        prefix.push(".");
        prefix
    }
}

/// Whether a VHD has got another parent since its last footer was there: the way to it is what follows.
fn has_locators_behind(parent: &Layer, area: u64) -> bool {
    let locators = parent.map().and_then(DiskMap::header).map_or(&[][..], |header| &header.locators);
    locators.iter().filter_map(|locator| locator.range(parent.file_len())).any(|range| range.end > area)
}

/// The byte of a VHD behind which there is nothing of it but a footer.
fn data_end(map: &DiskMap, layer: &Layer) -> Result<u64, Error> {
    let end = map.data_end();
    let mut batmap = [0; FOOTER_LEN];
    let Some(at) = map.batmap_offset().filter(|at| at + SECTOR <= layer.file_len()) else { return Ok(end) };
    layer.disk_file().read_at(at, &mut batmap)?;
    Ok(DiskMap::batmap_end(&batmap).map_or(end, |batmap| end.max(batmap).max(at + SECTOR)))
}

/// What a journal says of the merge that it is about.
fn begun(text: &str) -> String {
    let child = text.lines().find_map(|line| line.strip_prefix("child ")?.parse::<Uuid>().ok());
    child.map_or_else(|| "its journal cannot be read".to_owned(), |uuid| format!("of the child {uuid}"))
}
