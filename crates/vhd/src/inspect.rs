//! Looking at a VHD with suspicion: who wrote it, what deviates from what everybody accepts, who
//! stumbles over that, and what can be put right without losing a byte.
//!
//! What readers do with a deviation was seen by giving it to them: blktap's `vhd-util check`, XAPI's
//! `vhd-tool`, QEMU 10.0, Xen Orchestra's vhd-lib, 7-Zip and libvhdi.

use std::fmt;

use uuid::Uuid;

use crate::error::{Error, Structure};
use crate::format::{FOOTER_LEN, Geometry, Timestamp, footer_sum};
use crate::limits::Limits;
use crate::map::{DiskMap, EndFooterPolicy, ReadError};

mod batmap;
mod checks;
mod places;
mod writer;

use places::Places;
pub use writer::Writer;

/// Programs that read VHDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reader {
    /// `vhd-util check`, which dom0 plugins run on what is uploaded.
    VhdUtil,
    /// blktap: what runs disks in XenServer.
    Tapdisk,
    /// XAPI's importer and exporter.
    VhdTool,
    /// Xen Orchestra.
    XenOrchestra,
    /// QEMU and `qemu-img`.
    Qemu,
    /// QEMU and `qemu-img` of versions before 10.
    QemuBefore10,
    /// 7-Zip.
    SevenZip,
}

impl fmt::Display for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VhdUtil => "vhd-util check",
            Self::Tapdisk => "tapdisk",
            Self::VhdTool => "XAPI (vhd-tool)",
            Self::XenOrchestra => "Xen Orchestra",
            Self::Qemu => "QEMU",
            Self::QemuBefore10 => "QEMU before version 10",
            Self::SevenZip => "7-Zip",
        })
    }
}

/// How bad a deviation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grade {
    /// XenServer takes it; others, if named, refuse it, which loses nothing, or have to be told what it is.
    Accepted,
    /// Somebody refuses it in XenServer, or takes it for another disk than it is.
    Misread,
    /// Not a usable disk.
    Fatal,
}

/// Something that deviates.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub grade: Grade,
    /// What it is, in a sentence.
    pub what: String,
    /// Who refuses the VHD because of it.
    pub refused_by: &'static [Reader],
    /// Who reads other data, or another size, because of it.
    pub misread_by: &'static [Reader],
    /// What puts it right, if that loses nothing.
    pub repair: Option<Repair>,
}

/// A change that loses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Repair {
    /// Write the footer at the start anew, from the one at the end.
    FrontFooter,
    /// Write the footer at the end anew, from the copy at the start; it starts at this byte.
    EndFooter(u64),
    /// Cut what follows the footer; the file then has this length.
    Truncate(u64),
    /// Replace the geometry by the specification's for this size.
    Geometry,
    /// Give the disk a uuid.
    Uuid,
    /// Set the feature bit that is always set.
    Features,
    /// Count the time of creation from 2000, as the specification has it, where Xen Orchestra counted from
    /// 1970: the same moment, which is this.
    Timestamp(Timestamp),
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Report {
    /// Who wrote the VHD, as far as its creator fields tell.
    pub writer: Option<Writer>,
    /// The map, when the VHD can be read.
    pub map: Option<DiskMap>,
    /// Why it cannot be read. Another [`Inspection`] may read it.
    pub error: Option<Error>,
    /// All deviations, the worst first.
    pub findings: Vec<Finding>,
    /// Whether somebody encrypted the data (blktap's key hash); they cannot be read without the key.
    pub encrypted: bool,
    good_footer: Option<[u8; FOOTER_LEN]>,
    end_at: u64,
}

impl Report {
    /// Adds what was found by somebody who knows more than this one file.
    pub fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.grade));
    }

    /// The worst grade; `None` when nothing deviates.
    pub fn grade(&self) -> Option<Grade> {
        self.findings.iter().map(|finding| finding.grade).max()
    }

    /// All changes that can be made, in the order of the findings.
    pub fn repairs(&self) -> Vec<Repair> {
        self.findings.iter().filter_map(|finding| finding.repair).collect()
    }

    /// The bytes to write for `repairs`, which must come from [`Report::repairs`].
    ///
    /// Bytes of the footer that no repair is about are kept as they are, unknown ones included.
    pub fn plan(&self, repairs: &[Repair], uuid: Uuid) -> Plan {
        let Some(mut footer) = self.good_footer.filter(|_| !repairs.is_empty()) else {
            return Plan::default();
        };
        let mut plan = Plan::default();
        let (mut front, mut end) = (false, None);
        let mut changed = false;
        for repair in repairs {
            let mut put = |at: usize, bytes: &[u8]| {
                footer[at..at + bytes.len()].copy_from_slice(bytes);
                changed = true;
            };
            match *repair {
                Repair::FrontFooter => front = true,
                Repair::EndFooter(at) => end = Some(at),
                Repair::Truncate(len) => plan.truncate = Some(len),
                Repair::Geometry => {
                    let size = self.map.as_ref().map_or(0, DiskMap::virtual_size);
                    let geometry = Geometry::for_size(size);
                    put(56, &geometry.cylinders.to_be_bytes());
                    put(58, &[geometry.heads, geometry.sectors]);
                }
                Repair::Uuid => put(68, uuid.as_bytes()),
                Repair::Features => {
                    let bits = footer[11] | 2;
                    footer[11] = bits;
                    changed = true;
                }
                Repair::Timestamp(time) => put(24, &time.0.to_be_bytes()),
            }
        }
        if changed {
            let sum = footer_sum(&footer);
            footer[64..68].copy_from_slice(&sum.to_be_bytes());
            front = true;
            end = end.or(Some(self.end_at));
        }
        let fixed = self.map.as_ref().is_some_and(|map| map.header().is_none());
        if let Some(at) = end {
            plan.writes.push((at, footer.to_vec()));
        }
        if front && !fixed {
            plan.writes.push((0, footer.to_vec()));
        }
        plan
    }
}

/// Bytes to write and the length to cut to, to repair a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// Where, and what.
    pub writes: Vec<(u64, Vec<u8>)>,
    /// The new length of the file, if it becomes shorter.
    pub truncate: Option<u64>,
}

/// What to look at, and how.
#[derive(Debug, Clone, Default)]
pub struct Inspection {
    /// What a VHD may claim.
    pub limits: Limits,
    /// The time now, to know the future by; `None` leaves times alone.
    pub now: Option<Timestamp>,
    /// Which footer counts where both are sound and disagree: [`EndFooterPolicy::FrontCounts`] or
    /// [`EndFooterPolicy::EndCounts`], whose repair writes that one to both ends. With any other, nobody knows.
    pub end_footer: EndFooterPolicy,
    /// Read the sector bitmaps, and the data of sectors that are said to be absent.
    pub bitmaps: bool,
}

impl Inspection {
    /// Looks at a file of `len` bytes; `read_at` fills the buffer from the given byte.
    ///
    /// # Errors
    /// When `read_at` fails. What is wrong with the VHD is no error but a finding.
    pub fn run<E>(
        &self,
        len: u64,
        mut read_at: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Report, E> {
        let mut found = Findings::default();
        let mut report = Report {
            writer: None,
            map: None,
            error: None,
            findings: Vec::new(),
            encrypted: false,
            good_footer: None,
            end_at: len.saturating_sub(FOOTER_LEN as u64),
        };
        let map = match self.read_map(len, &mut read_at, &mut found, &mut report.end_at)? {
            Ok(map) => Some(map),
            Err(error) => {
                found.add(Grade::Fatal, error.to_string());
                report.error = Some(error);
                None
            }
        };
        let chosen = self.end_footer == EndFooterPolicy::FrontCounts;
        if let Some(map) = map {
            report.writer = Some(Writer::of(map.footer().creator));
            checks::footer(&map, self.now, &mut found);
            let good = checks::good_footer_at(&map, report.end_at, chosen);
            let mut bytes = [0; FOOTER_LEN];
            // A footer of 511 bytes lacks its last one, a zero.
            let have = usize::try_from(len - good).unwrap_or(FOOTER_LEN).min(FOOTER_LEN);
            read_at(good, &mut bytes[..have])?;
            report.good_footer = Some(bytes);
            checks::footers(&map, len, &mut report.end_at, &mut found);
            if let Some(header) = map.header() {
                let mut front = [0; FOOTER_LEN];
                read_at(0, &mut front)?;
                checks::copies(&map, &front, &bytes, &mut found);
                checks::disagreeing(&map, chosen, report.end_at, &mut found);
                checks::header(&map, header, len, &mut found);
                let places = Places { map: &map, header, len };
                places::locators(&places, &mut read_at, &mut found)?;
                places::blocks(&places, &mut read_at, &mut found)?;
                report.encrypted = batmap::check(&map, header, len, &mut read_at, &mut found)?;
                if self.bitmaps {
                    checks::bitmaps(&map, &mut read_at, &mut found)?;
                }
            }
            report.map = Some(map);
        }
        report.findings = found.0;
        report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.grade));
        Ok(report)
    }

    /// The map, if need be without what follows the end or the cut footer.
    fn read_map<E>(
        &self,
        len: u64,
        read_at: &mut impl FnMut(u64, &mut [u8]) -> Result<(), E>,
        found: &mut Findings,
        end_at: &mut u64,
    ) -> Result<Result<DiskMap, Error>, E> {
        let mut read_by = |len, policy| match DiskMap::read(len, policy, &self.limits, &mut *read_at) {
            Ok(map) => Ok(Ok(map)),
            Err(ReadError::Format(error)) => Ok(Err(error)),
            Err(ReadError::Io { source, .. }) => Err(source),
        };
        let chosen = matches!(self.end_footer, EndFooterPolicy::FrontCounts | EndFooterPolicy::EndCounts);
        // Damage is told as it is; only between two that are sound has somebody to choose.
        let mut read = |len| match read_by(len, EndFooterPolicy::FrontSuffices)? {
            Err(Error::FooterMismatch { .. }) if chosen => read_by(len, self.end_footer),
            read => Ok(read),
        };
        let error = match read(len)? {
            Ok(map) => {
                if let Some(end) = checks::trailing(&map, len, found) {
                    *end_at = end - FOOTER_LEN as u64;
                }
                return Ok(Ok(map));
            }
            Err(error) => error,
        };
        match &error {
            Error::TrailingData { at, len: extra } => {
                let at = *at;
                if let Ok(map) = read(at)? {
                    *end_at = at - FOOTER_LEN as u64;
                    found
                        .add(
                            Grade::Misread,
                            format!("{extra} bytes follow the footer, which ends at byte {at}"),
                        )
                        .refused(&[Reader::VhdUtil, Reader::VhdTool, Reader::XenOrchestra])
                        .repair(Repair::Truncate(at));
                    return Ok(Ok(map));
                }
            }
            Error::Truncated { what: Structure::EndFooter, at, missing } if len > FOOTER_LEN as u64 => {
                let footer_at = (at + missing).saturating_sub(FOOTER_LEN as u64);
                if let Ok(map) = read(footer_at)? {
                    *end_at = footer_at;
                    found
                        .add(
                            Grade::Misread,
                            format!("the footer at the end is cut: {missing} bytes are missing"),
                        )
                        .refused(&[Reader::VhdUtil, Reader::XenOrchestra])
                        .repair(Repair::EndFooter(footer_at));
                    return Ok(Ok(map));
                }
            }
            _ => {}
        }
        Ok(Err(error))
    }
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, grade: Grade, what: String) -> &mut Finding {
        self.0.push(Finding::new(grade, what));
        self.0.last_mut().expect("just pushed")
    }
}

impl Finding {
    /// That nobody in particular stumbles over.
    pub fn new(grade: Grade, what: impl Into<String>) -> Self {
        Self { grade, what: what.into(), refused_by: &[], misread_by: &[], repair: None }
    }

    fn refused(&mut self, by: &'static [Reader]) -> &mut Self {
        self.refused_by = by;
        self
    }

    fn misread(&mut self, by: &'static [Reader]) -> &mut Self {
        self.misread_by = by;
        self
    }

    fn repair(&mut self, repair: Repair) -> &mut Self {
        self.repair = Some(repair);
        self
    }
}
