//! The single looks that an inspection takes, each with what readers make of what it finds.

use std::cell::RefCell;
use std::ops::Range;

use super::{Findings, Grade, Reader, Repair};
use crate::bitmap;
use crate::format::{
    BLOCK_SIZE, Creator, DiskType, DynamicHeader, FOOTER_LEN, Footer, Geometry, HEADER_LEN, MAX_VIRTUAL_SIZE,
    Platform, SECTOR, Timestamp,
};
use crate::map::{BlockPlace, CLOCK_SLACK, DiskMap, ReadError, Warning};

/// What the footer that was believed says.
pub(super) fn footer(map: &DiskMap, now: Option<Timestamp>, found: &mut Findings) {
    let footer = map.footer();
    if let Some(now) = now {
        future(map, now, found);
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
    if footer.current_size > MAX_VIRTUAL_SIZE {
        let text = format!("it has {} bytes, and a VHD of XenServer at most 2040 GiB", footer.current_size);
        found.add(Grade::Misread, text).refused(&[Reader::Tapdisk, Reader::VhdTool]);
    }
    if footer.disk_type == DiskType::Fixed && footer.data_offset != u64::MAX {
        let text = format!("its data offset is {:#x}, and all ones in a fixed disk", footer.data_offset);
        found.add(Grade::Misread, text).refused(&[Reader::VhdUtil]);
    }
    if footer.original_size > footer.current_size {
        found
            .add(Grade::Accepted, "its size at creation is larger than its size".into())
            .refused(&[Reader::XenOrchestra]);
    }
    if footer.hidden > 1 || footer.saved_state > 1 {
        found
            .add(Grade::Misread, "the marks \"hidden\" and \"saved state\" are neither 0 nor 1".into())
            .refused(&[Reader::VhdUtil]);
    }
    map.warnings().iter().for_each(|warning| warn(*warning, found));
}

/// What the reader of the map accepted with a warning.
fn warn(warning: Warning, found: &mut Findings) {
    match warning {
        Warning::Features(_) => found
            .add(Grade::Misread, warning.to_string())
            .refused(&[Reader::VhdUtil])
            .repair(Repair::Features),
        Warning::StrayBytes(_) => {
            found.add(Grade::Misread, warning.to_string()).refused(&[Reader::VhdUtil, Reader::SevenZip])
        }
        Warning::NullUuid => {
            found.add(Grade::Misread, warning.to_string()).refused(&[Reader::VhdUtil]).repair(Repair::Uuid)
        }
        Warning::Hidden(_) => found.add(Grade::Accepted, warning.to_string()).refused(&[Reader::SevenZip]),
        Warning::SavedState => found.add(Grade::Accepted, warning.to_string()),
        Warning::CreatorVersion { .. } | Warning::Future(_) => {
            found.add(Grade::Misread, warning.to_string()).refused(&[Reader::VhdUtil])
        }
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
        | Warning::ShortEndFooter
        | Warning::Trailing(_)
        | Warning::FootersDisagree(_)
        // Nor by whoever reads no data; `Inspection::bitmaps` looks for it.
        | Warning::AbsentData(_) => return,
        Warning::Gap(_) => found.add(Grade::Accepted, warning.to_string()).refused(&[Reader::SevenZip]),
    };
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
fn future(map: &DiskMap, now: Timestamp, found: &mut Findings) {
    let Some(warning) = map.future(now) else { return };
    let footer = map.footer();
    let from_1970 = Timestamp::from_unix(u64::from(footer.timestamp.0));
    if footer.creator.application == *b"xo  " && from_1970.0 <= now.0.saturating_add(CLOCK_SLACK) {
        let text =
            "its time of creation counts from 1970, as Xen Orchestra does; others read a date in the future";
        found
            .add(Grade::Misread, text.into())
            .refused(&[Reader::VhdUtil])
            .repair(Repair::Timestamp(from_1970));
    } else {
        // Nobody knows when it was made; a wrong clock is put right, not written over.
        warn(warning, found);
    }
}

fn has(map: &DiskMap, warning: Warning) -> bool {
    map.warnings().contains(&warning)
}

/// Where the footer that was believed stands.
pub(super) fn good_footer_at(map: &DiskMap, end_at: u64, front_counts: bool) -> u64 {
    let fixed = map.header().is_none();
    let front = has(map, Warning::EndFooterDamaged)
        || has(map, Warning::EndFooterMissing)
        || (front_counts && disagree(map));
    match (fixed, front) {
        (false, true) => 0,
        _ => end_at + u64::from(has(map, Warning::ShortEndFooter)),
    }
}

fn disagree(map: &DiskMap) -> bool {
    map.warnings().iter().any(|warning| matches!(warning, Warning::FootersDisagree(_)))
}

/// Two footers that disagree about what the disk is, of which somebody has chosen one.
pub(super) fn disagreeing(map: &DiskMap, front_counts: bool, end_at: u64, found: &mut Findings) {
    if !disagree(map) {
        return;
    }
    let (which, repair) =
        if front_counts { ("start", Repair::EndFooter(end_at)) } else { ("end", Repair::FrontFooter) };
    found
        .add(Grade::Misread, format!("the footers disagree, and the one at the {which} was chosen"))
        .refused(&[Reader::VhdUtil, Reader::VhdTool, Reader::XenOrchestra])
        .repair(repair);
}

/// Two sound footers that say the same of the disk, and differ all the same: `good` is the one at the end.
pub(super) fn copies(map: &DiskMap, front: &[u8; FOOTER_LEN], good: &[u8; FOOTER_LEN], found: &mut Findings) {
    // What is damaged or was chosen is told for itself.
    if front == good || has(map, Warning::FrontFooterDamaged) || disagree(map) {
        return;
    }
    let parts = [
        ("features", 8..12),
        ("time of creation", 24..28),
        ("creator", 28..40),
        ("size at creation", 40..48),
        ("geometry", 56..60),
        ("mark \"saved state\"", 84..85),
        ("mark \"hidden\"", 85..86),
        ("reserved bytes", 86..FOOTER_LEN),
    ];
    let differing: Vec<&str> = parts
        .into_iter()
        .filter(|(_, part)| front[part.clone()] != good[part.clone()])
        .map(|(n, _)| n)
        .collect();
    let text = format!("the footers at the start and at the end differ ({})", differing.join(", "));
    let finding = found.add(Grade::Misread, text).refused(&[Reader::VhdUtil, Reader::XenOrchestra]);
    // blktap 0.1 and 1.1 hide a disk in front only: that copy knows better, and nobody knows of what else.
    let Creator { application, version, .. } = map.footer().creator;
    if !(application == *b"tap\0" && version <= 0x0001_0001 && front[85] != good[85]) {
        finding.repair(Repair::FrontFooter);
    }
}

/// What follows the last footer, and its end.
pub(super) fn trailing(map: &DiskMap, len: u64, found: &mut Findings) -> Option<u64> {
    let behind = map.warnings().iter().find_map(|warning| match warning {
        Warning::Trailing(behind) => Some(*behind),
        _ => None,
    })?;
    let fixed: &[Reader] = &[Reader::VhdUtil, Reader::Tapdisk, Reader::Qemu];
    let dynamic = &[Reader::VhdUtil, Reader::VhdTool, Reader::XenOrchestra];
    found
        .add(Grade::Misread, format!("{behind} bytes follow the footer, which ends at byte {}", len - behind))
        .refused(if map.header().is_none() { fixed } else { dynamic })
        .repair(Repair::Truncate(len - behind));
    Some(len - behind)
}

/// Findings about damaged, missing and short footers; `end_at` becomes the end footer's place.
pub(super) fn footers(map: &DiskMap, len: u64, end_at: &mut u64, found: &mut Findings) {
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
        // blktap's map of full blocks, as large as it may be, stands behind the table.
        let entries = map.header().map_or(0, |header| u64::from(header.max_table_entries));
        let batmap_end =
            map.batmap_offset().map_or(0, |at| at + SECTOR + entries.div_ceil(8).next_multiple_of(SECTOR));
        let data_end = map.data_end().max(batmap_end.min(len));
        *end_at =
            if data_end <= last && last.is_multiple_of(SECTOR) { last } else { len.next_multiple_of(SECTOR) };
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

/// What the header and the parent locators say.
pub(super) fn header(map: &DiskMap, header: &DynamicHeader, len: u64, found: &mut Findings) {
    let own = map.footer().data_offset;
    if own != FOOTER_LEN as u64 {
        found
            .add(Grade::Misread, format!("its header is at byte {own}, where some look at byte {FOOTER_LEN}"))
            .refused(&[Reader::VhdTool, Reader::XenOrchestra]);
    }
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
    } else if !differencing && header.parent_timestamp.0 != 0 {
        let text = "it says when its parent was written, and is no differencing disk";
        found.add(Grade::Misread, text.into()).refused(&[Reader::VhdUtil]);
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
        } else if let Some(what) = locator.range(len).and_then(|range| meets(map, header, len, &range)) {
            let text = format!("the parent locator {} lies in the {what}", locator.platform);
            found.add(Grade::Misread, text).refused(&[Reader::VhdUtil, Reader::VhdTool]);
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

/// What a locator cannot share its bytes with.
fn meets(map: &DiskMap, header: &DynamicHeader, len: u64, range: &Range<u64>) -> Option<&'static str> {
    let (own, table) = (map.footer().data_offset, header.table_offset);
    let end = len.saturating_sub(FOOTER_LEN as u64);
    let no_end = has(map, Warning::EndFooterMissing)
        || map.warnings().iter().any(|w| matches!(w, Warning::Trailing(_)));
    let parts = [
        ("header", own..own + HEADER_LEN as u64),
        ("block allocation table", table..table + header.table_len()),
        ("footer at the end", if no_end { 0..0 } else { end..len }),
    ];
    parts.into_iter().find(|(_, part)| part.start < range.end && range.start < part.end).map(|(what, _)| what)
}

/// Blocks that are there in part, and data in what is said to be absent.
pub(super) fn bitmaps<E>(
    map: &DiskMap,
    read_at: &mut impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    found: &mut Findings,
) -> Result<(), E> {
    let differencing = map.footer().disk_type == DiskType::Differencing;
    let (mut partial, mut hidden_data) = (0_u64, 0_u64);
    let (mut bits, mut data) = (Vec::new(), Vec::new());
    // Of the table, too, between two blocks.
    let read_at = RefCell::new(read_at);
    let mut read_table = |at: u64, bytes: &mut [u8]| read_at.borrow_mut()(at, bytes);
    for block in map.blocks(&mut read_table) {
        let block = match block {
            Ok(block) => block,
            Err(ReadError::Io { source, .. }) => return Err(source),
            Err(ReadError::Format(error)) => {
                found.add(Grade::Fatal, error.to_string());
                return Ok(());
            }
        };
        let BlockPlace { bitmap_offset, bitmap_len, data_offset, .. } = block;
        bits.resize(bitmap_len as usize, 0);
        read_at.borrow_mut()(bitmap_offset, &mut bits)?;
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
                read_at.borrow_mut()(data_offset + u64::from(sector) * SECTOR, &mut data)?;
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
