//! Looking at a VHD with suspicion: who wrote it, what deviates from what everybody accepts, who
//! stumbles over that, and what can be put right without losing a byte.
//!
//! What readers do with a deviation was seen by giving it to them: blktap's `vhd-util check`, XAPI's
//! `vhd-tool`, QEMU 10.0, Xen Orchestra's vhd-lib, 7-Zip and libvhdi.

use std::fmt;

use uuid::Uuid;

use crate::bitmap;
use crate::error::{Error, Structure};
use crate::format::{
    BLOCK_SIZE, Creator, DiskType, DynamicHeader, FOOTER_LEN, Footer, Geometry, Platform, SECTOR, Timestamp,
    footer_sum,
};
use crate::limits::Limits;
use crate::map::{BlockPlace, DiskMap, EndFooterPolicy, ReadError, Warning};

mod writer;

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
    /// All deviations, the worst first.
    pub findings: Vec<Finding>,
    /// Whether somebody encrypted the data (blktap's key hash); they cannot be read without the key.
    pub encrypted: bool,
    good_footer: Option<[u8; FOOTER_LEN]>,
    end_at: u64,
}

impl Report {
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
    /// Read the sector bitmaps, and the data of sectors that are said to be absent.
    pub bitmaps: bool,
}

/// `vhd-util check` allows clocks to be this wrong, in seconds.
const SLACK: u32 = 1800;

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
            findings: Vec::new(),
            encrypted: false,
            good_footer: None,
            end_at: len.saturating_sub(FOOTER_LEN as u64),
        };
        let map = self.read_map(len, &mut read_at, &mut found, &mut report.end_at)?;
        if let Some(map) = map {
            report.writer = Some(Writer::of(map.footer().creator));
            self.footer(&map, &mut found);
            let good = good_footer_at(&map, report.end_at);
            let mut bytes = [0; FOOTER_LEN];
            // A footer of 511 bytes lacks its last one, a zero.
            let have = usize::try_from(len - good).unwrap_or(FOOTER_LEN).min(FOOTER_LEN);
            read_at(good, &mut bytes[..have])?;
            report.good_footer = Some(bytes);
            footers(&map, len, &mut report.end_at, &mut found);
            if let Some(header) = map.header() {
                header_findings(&map, header, len, &mut found);
                report.encrypted = batmap(&map, header, len, &mut read_at, &mut found)?;
                if self.bitmaps {
                    bitmaps(&map, &mut read_at, &mut found)?;
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
    ) -> Result<Option<DiskMap>, E> {
        let mut read =
            |len| match DiskMap::read(len, EndFooterPolicy::FrontSuffices, &self.limits, &mut *read_at) {
                Ok(map) => Ok(Ok(map)),
                Err(ReadError::Format(error)) => Ok(Err(error)),
                Err(ReadError::Io { source, .. }) => Err(source),
            };
        let error = match read(len)? {
            Ok(map) => return Ok(Some(map)),
            Err(error) => error,
        };
        match error {
            Error::TrailingData { at, len: extra } => {
                if let Ok(map) = read(at)? {
                    *end_at = at - FOOTER_LEN as u64;
                    found
                        .add(
                            Grade::Misread,
                            format!("{extra} bytes follow the footer, which ends at byte {at}"),
                        )
                        .refused(&[Reader::VhdUtil, Reader::VhdTool, Reader::XenOrchestra])
                        .repair(Repair::Truncate(at));
                    return Ok(Some(map));
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
                    return Ok(Some(map));
                }
            }
            _ => {}
        }
        found.add(Grade::Fatal, error.to_string());
        Ok(None)
    }

    fn footer(&self, map: &DiskMap, found: &mut Findings) {
        let footer = map.footer();
        if let Some(now) = self.now {
            future(footer, now, found);
        }
        let formula = Geometry::for_size(footer.current_size);
        size_by_geometry(footer, found);
        let packed = |g: Geometry| (g.cylinders, g.heads, g.sectors);
        if packed(footer.geometry) > packed(formula) {
            let finding = found.add(
                Grade::Misread,
                format!("its geometry {} is larger than that of its size, {formula}", footer.geometry),
            );
            finding.refused(&[Reader::VhdUtil]);
            // For these, the geometry is the size, as QEMU sees it.
            if !matches!(&footer.creator.application, b"vpc " | b"qemu") {
                finding.repair(Repair::Geometry);
            }
        }
        if footer.features & !3 != 0 {
            found
                .add(Grade::Misread, format!("the feature bits are {:#x}", footer.features))
                .refused(&[Reader::VhdUtil]);
        }
        if footer.original_size > footer.current_size {
            found
                .add(Grade::Accepted, "its size at creation is larger than its size".into())
                .refused(&[Reader::XenOrchestra]);
        }
        if footer.creator.application == *b"tap\0" && footer.creator.version > 0x0001_0003 {
            found
                .add(Grade::Misread, "the creator's version is one that blktap does not know".into())
                .refused(&[Reader::VhdUtil]);
        }
        if footer.hidden > 1 || footer.saved_state > 1 {
            found
                .add(Grade::Misread, "the marks \"hidden\" and \"saved state\" are neither 0 nor 1".into())
                .refused(&[Reader::VhdUtil]);
        }
        for warning in map.warnings() {
            match warning {
                Warning::Features(_) => found
                    .add(Grade::Misread, warning.to_string())
                    .refused(&[Reader::VhdUtil])
                    .repair(Repair::Features),
                Warning::StrayBytes(_) => found
                    .add(Grade::Misread, warning.to_string())
                    .refused(&[Reader::VhdUtil, Reader::SevenZip]),
                Warning::NullUuid => found
                    .add(Grade::Misread, warning.to_string())
                    .refused(&[Reader::VhdUtil])
                    .repair(Repair::Uuid),
                Warning::Hidden(_) => {
                    found.add(Grade::Accepted, warning.to_string()).refused(&[Reader::SevenZip])
                }
                Warning::SavedState => found.add(Grade::Accepted, warning.to_string()),
                Warning::HeaderLink(_) => found.add(Grade::Misread, warning.to_string()).refused(&[
                    Reader::Tapdisk,
                    Reader::VhdTool,
                    Reader::XenOrchestra,
                ]),
                Warning::UnevenSize(_) => {
                    found.add(Grade::Accepted, warning.to_string()).refused(&[Reader::XenOrchestra])
                }
                // Told with their repair by `footers`.
                Warning::FrontFooterDamaged
                | Warning::EndFooterDamaged
                | Warning::EndFooterMissing
                | Warning::ShortEndFooter => continue,
            };
        }
    }
}

/// QEMU takes the geometry for the size: of two writers always, before version 10 of all but those it knew. A
/// geometry that is the largest there is tells any of them to look at the size.
fn size_by_geometry(footer: &Footer, found: &mut Findings) {
    let Geometry { cylinders, heads, sectors } = footer.geometry;
    let size = footer.geometry.size();
    if size == footer.current_size || (cylinders, heads, sectors) == (65535, 16, 255) {
        return;
    }
    let told =
        |who| format!("its geometry makes {size} bytes, its size is {}, and {who}", footer.current_size);
    match &footer.creator.application {
        b"vpc " | b"qemu" => found
            .add(Grade::Misread, told("QEMU believes the geometry of this writer"))
            .misread(&[Reader::Qemu, Reader::QemuBefore10]),
        b"win " | b"qem2" | b"d2v " | b"tap\0" | b"CTXS" => return,
        _ => found
            .add(
                Grade::Accepted,
                told("an old QEMU believes the geometry unless force_size_calc=current_size"),
            )
            .misread(&[Reader::QemuBefore10]),
    };
}

/// Xen Orchestra counts seconds from 1970, which the others read as a date 30 years ahead.
fn future(footer: &Footer, now: Timestamp, found: &mut Findings) {
    let latest = now.0.saturating_add(SLACK);
    let Some(ahead) = footer.timestamp.0.checked_sub(latest).filter(|ahead| *ahead > 0) else { return };
    let seconds = ahead + SLACK;
    let from_1970 = Timestamp::from_unix(u64::from(footer.timestamp.0));
    if footer.creator.application == *b"xo  " && from_1970.0 <= latest {
        let text =
            "its time of creation counts from 1970, as Xen Orchestra does; others read a date in the future";
        found
            .add(Grade::Misread, text.into())
            .refused(&[Reader::VhdUtil])
            .repair(Repair::Timestamp(from_1970));
    } else {
        // Nobody knows when it was made; a wrong clock is put right, not written over.
        found
            .add(Grade::Misread, format!("it was created {seconds} s in the future; is the clock right?"))
            .refused(&[Reader::VhdUtil]);
    }
}

fn has(map: &DiskMap, warning: Warning) -> bool {
    map.warnings().contains(&warning)
}

/// Where the footer that was believed stands.
fn good_footer_at(map: &DiskMap, end_at: u64) -> u64 {
    let fixed = map.header().is_none();
    let front = has(map, Warning::EndFooterDamaged) || has(map, Warning::EndFooterMissing);
    match (fixed, front) {
        (false, true) => 0,
        _ => end_at + u64::from(has(map, Warning::ShortEndFooter)),
    }
}

/// Findings about damaged, missing and short footers; `end_at` becomes the end footer's place.
fn footers(map: &DiskMap, len: u64, end_at: &mut u64, found: &mut Findings) {
    let cut = found.0.iter().any(|finding| matches!(finding.repair, Some(Repair::EndFooter(_))));
    if has(map, Warning::FrontFooterDamaged) {
        found
            .add(Grade::Misread, "the footer at the start is damaged; the one at the end is good".into())
            .refused(&[
                Reader::VhdUtil,
                Reader::Qemu,
                Reader::VhdTool,
                Reader::XenOrchestra,
                Reader::SevenZip,
            ])
            .repair(Repair::FrontFooter);
    }
    if has(map, Warning::EndFooterDamaged) {
        found
            .add(Grade::Misread, "the footer at the end is damaged; its copy at the start is good".into())
            .refused(&[Reader::VhdUtil, Reader::VhdTool, Reader::XenOrchestra, Reader::SevenZip])
            .repair(Repair::EndFooter(*end_at));
    }
    if has(map, Warning::EndFooterMissing) && !cut {
        // blktap overwrites the footer in place, so the last sector is free unless blocks reach into it.
        let last = len.saturating_sub(FOOTER_LEN as u64);
        *end_at = if map.data_end() <= last && last.is_multiple_of(SECTOR) {
            last
        } else {
            len.next_multiple_of(SECTOR)
        };
        found
            .add(Grade::Misread, "the footer at the end is missing; its copy at the start is good".into())
            .refused(&[Reader::VhdUtil, Reader::VhdTool, Reader::XenOrchestra, Reader::SevenZip])
            .repair(Repair::EndFooter(*end_at));
    }
    if has(map, Warning::ShortEndFooter) {
        *end_at += 1;
        found
            .add(Grade::Accepted, "the footer at the end has 511 bytes".into())
            .refused(&[Reader::XenOrchestra, Reader::SevenZip])
            .repair(Repair::EndFooter(*end_at));
    }
}

fn header_findings(map: &DiskMap, header: &DynamicHeader, len: u64, found: &mut Findings) {
    if header.block_size != BLOCK_SIZE {
        found
            .add(
                Grade::Misread,
                format!("its blocks have {} bytes; XenServer reads blocks of 2 MiB only", header.block_size),
            )
            .refused(&[Reader::VhdUtil])
            .misread(&[Reader::Tapdisk, Reader::VhdTool]);
    }
    let needed = map.virtual_size().div_ceil(u64::from(header.block_size));
    if u64::from(header.max_table_entries) > needed {
        let text = format!("its table has {} entries, the disk needs {needed}", header.max_table_entries);
        found.add(Grade::Accepted, text).refused(&[Reader::SevenZip]);
    }
    let differencing = map.footer().disk_type == DiskType::Differencing;
    if !differencing && header.names_parent() {
        found
            .add(Grade::Misread, "it names a parent, and is no differencing disk".into())
            .refused(&[Reader::VhdUtil]);
    }
    if !differencing {
        return;
    }
    found
        .add(
            Grade::Accepted,
            "a differencing disk; QEMU and libvhdi take what is in the parent for zeros".into(),
        )
        .misread(&[Reader::Qemu]);
    for locator in &header.locators {
        let known =
            [Platform::W2RU, Platform::W2KU, Platform::MACX, Platform::MAC, Platform::WI2R, Platform::WI2K];
        if !known.contains(&locator.platform) {
            found
                .add(Grade::Misread, format!("a parent locator has the unknown code {}", locator.platform))
                .refused(&[Reader::VhdUtil, Reader::Tapdisk, Reader::VhdTool]);
        } else if locator.range(len).is_none() {
            found
                .add(
                    Grade::Misread,
                    format!("the parent locator {} cannot be where it is said to be", locator.platform),
                )
                .refused(&[Reader::VhdUtil]);
        }
    }
    if !header.locators.iter().any(|locator| locator.platform == Platform::MACX) {
        found
            .add(Grade::Misread, "no parent locator of the kind MacX, the only one that XAPI follows".into())
            .refused(&[Reader::VhdTool]);
    }
    if header.parent_name.is_empty() {
        found
            .add(Grade::Misread, "the parent's name is empty".into())
            .refused(&[Reader::VhdUtil, Reader::XenOrchestra]);
    }
}

/// blktap's map of full blocks, promised by its creator version: whether it is there, and whether its
/// key hash says that the data are encrypted.
fn batmap<E>(
    map: &DiskMap,
    header: &DynamicHeader,
    len: u64,
    read_at: &mut impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    found: &mut Findings,
) -> Result<bool, E> {
    let Creator { application, version, .. } = map.footer().creator;
    let at = header.table_offset + header.table_len();
    if application != *b"tap\0" || version < 0x0001_0001 {
        return Ok(false);
    }
    let mut bytes = [0; 512];
    if at + 512 <= len {
        read_at(at, &mut bytes)?;
    }
    if !bytes.starts_with(b"tdbatmap") {
        found
            .add(
                Grade::Misread,
                "blktap's map of full blocks, which this version promises, is missing".into(),
            )
            .refused(&[Reader::VhdUtil]);
        return Ok(false);
    }
    let encrypted = DiskMap::is_encrypted(&bytes);
    if encrypted {
        found.add(
            Grade::Fatal,
            "the data are encrypted (blktap's key hash is set) and cannot be read without the key".into(),
        );
    }
    Ok(encrypted)
}

fn bitmaps<E>(
    map: &DiskMap,
    read_at: &mut impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    found: &mut Findings,
) -> Result<(), E> {
    let differencing = map.footer().disk_type == DiskType::Differencing;
    let (mut partial, mut hidden_data) = (0_u64, 0_u64);
    let mut bits = Vec::new();
    let mut data = Vec::new();
    for block in map.blocks() {
        let BlockPlace { bitmap_offset, bitmap_len, data_offset, .. } = block;
        bits.resize(bitmap_len as usize, 0);
        read_at(bitmap_offset, &mut bits)?;
        let sectors = block.sectors();
        if bitmap::is_full(&bits, sectors) {
            continue;
        }
        partial += 1;
        if differencing {
            continue;
        }
        for (run, _) in bitmap::runs(&bits, sectors).filter(|(_, present)| !present) {
            for sector in run.clone().step_by(256) {
                let len = (run.end - sector).min(256) as usize * 512;
                data.resize(len, 0);
                read_at(data_offset + u64::from(sector) * SECTOR, &mut data)?;
                hidden_data += data.chunks(512).filter(|sector| !crate::zero::is_zero(sector)).count() as u64;
            }
        }
    }
    if differencing && partial > 0 {
        let text = format!(
            "{partial} blocks are there in part only; readers that ignore bitmaps lose the parent's part"
        );
        found.add(Grade::Misread, text).misread(&[Reader::Qemu, Reader::XenOrchestra]);
    } else if hidden_data > 0 {
        let text = format!("{hidden_data} sectors hold data that their bitmap says are not there");
        found
            .add(Grade::Misread, text)
            .refused(&[Reader::SevenZip])
            .misread(&[Reader::Qemu, Reader::XenOrchestra]);
    } else if partial > 0 {
        found.add(
            Grade::Accepted,
            format!("{partial} blocks are there in part only; the rest is zero in the file, too"),
        );
    }
    Ok(())
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, grade: Grade, what: String) -> &mut Finding {
        self.0.push(Finding { grade, what, refused_by: &[], misread_by: &[], repair: None });
        self.0.last_mut().expect("just pushed")
    }
}

impl Finding {
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
