//! The single looks that an inspection takes, each with what readers make of what it finds.

use super::{Findings, Grade, Reader, Repair};
use crate::bitmap;
use crate::format::{
    BLOCK_SIZE, Creator, DiskType, DynamicHeader, FOOTER_LEN, Footer, Geometry, Platform, SECTOR, Timestamp,
};
use crate::map::{BlockPlace, DiskMap, Warning};

/// `vhd-util check` allows clocks to be this wrong, in seconds.
const SLACK: u32 = 1800;

/// What the footer that was believed says.
pub(super) fn footer(map: &DiskMap, now: Option<Timestamp>, found: &mut Findings) {
    let footer = map.footer();
    if let Some(now) = now {
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
    warnings(map, found);
}

/// What the reader of the map accepted with a warning.
fn warnings(map: &DiskMap, found: &mut Findings) {
    for warning in map.warnings() {
        match warning {
            Warning::Features(_) => found
                .add(Grade::Misread, warning.to_string())
                .refused(&[Reader::VhdUtil])
                .repair(Repair::Features),
            Warning::StrayBytes(_) => {
                found.add(Grade::Misread, warning.to_string()).refused(&[Reader::VhdUtil, Reader::SevenZip])
            }
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
pub(super) fn good_footer_at(map: &DiskMap, end_at: u64) -> u64 {
    let fixed = map.header().is_none();
    let front = has(map, Warning::EndFooterDamaged) || has(map, Warning::EndFooterMissing);
    match (fixed, front) {
        (false, true) => 0,
        _ => end_at + u64::from(has(map, Warning::ShortEndFooter)),
    }
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

/// What the header and the parent locators say.
pub(super) fn header(map: &DiskMap, header: &DynamicHeader, len: u64, found: &mut Findings) {
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
pub(super) fn batmap<E>(
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

/// Blocks that are there in part, and data in what is said to be absent.
pub(super) fn bitmaps<E>(
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
