//! blktap's map of full blocks: nobody needs it to read a disk, and blktap refuses a disk that has a wrong one.

use super::{Findings, Grade, Reader};
use crate::bitmap;
use crate::format::{Creator, DynamicHeader, SECTOR};
use crate::map::DiskMap;

/// Whether the map is there where the creator's version promises it and is right, and whether its key hash says that the
/// data are encrypted.
pub(super) fn check<E>(
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
    let mut head = [0; SECTOR as usize];
    if at + SECTOR <= len {
        read_at(at, &mut head)?;
    }
    if !head.starts_with(b"tdbatmap") {
        found
            .add(
                Grade::Misread,
                "blktap's map of full blocks, which this version promises, is missing".into(),
            )
            .refused(&[Reader::VhdUtil]);
        return Ok(false);
    }
    let encrypted = DiskMap::is_encrypted(&head);
    if encrypted {
        found.add(
            Grade::Fatal,
            "the data are encrypted (blktap's key hash is set) and cannot be read without the key".into(),
        );
    }
    if let Some(problem) = problem(&Head::of(&head), map, header, len, read_at)? {
        found
            .add(Grade::Misread, format!("blktap's map of full blocks {problem}; no data depend on it"))
            .refused(&[Reader::VhdUtil]);
    }
    Ok(encrypted)
}

/// What the first sector says of the map.
struct Head {
    offset: u64,
    sectors: u32,
    version: u32,
    checksum: u32,
}

impl Head {
    fn of(sector: &[u8; SECTOR as usize]) -> Self {
        let word =
            |at: usize| u32::from_be_bytes([sector[at], sector[at + 1], sector[at + 2], sector[at + 3]]);
        Self {
            offset: u64::from(word(8)) << 32 | u64::from(word(12)),
            sectors: word(16),
            version: word(20),
            checksum: word(24),
        }
    }
}

fn problem<E>(
    head: &Head,
    map: &DiskMap,
    header: &DynamicHeader,
    len: u64,
    read_at: &mut impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<Option<&'static str>, E> {
    if !matches!(head.version, 0x0001_0001 | 0x0001_0002) {
        return Ok(Some("is of an unknown version"));
    }
    let bytes = u64::from(head.sectors) * SECTOR;
    let bits = |blocks: u64| blocks.div_ceil(8).next_multiple_of(SECTOR);
    let blocks = map.virtual_size().div_ceil(u64::from(header.block_size));
    // The table was accepted, so that what it needs is small.
    if !(bits(blocks)..=bits(header.max_table_entries.into())).contains(&bytes) {
        return Ok(Some("has not the size that its disk needs"));
    }
    if head.offset.checked_add(bytes).is_none_or(|end| end > len) {
        return Ok(Some("cannot be where it is said to be"));
    }
    let mut full = vec![0; usize::try_from(bytes).unwrap_or(0)];
    read_at(head.offset, &mut full)?;
    let sum = |value: fn(&u8) -> u32| !full.iter().map(value).fold(0, u32::wrapping_add);
    // Version 1.1 was written by a compiler whose characters have signs.
    let signed = head.version == 0x0001_0001
        && head.checksum == sum(|byte| i32::from(byte.cast_signed()).cast_unsigned());
    if !signed && head.checksum != sum(|byte| u32::from(*byte)) {
        return Ok(Some("has a wrong checksum"));
    }
    let claimed: u64 = full.iter().map(|byte| u64::from(byte.count_ones())).sum();
    let size = u64::from(header.block_size);
    let blocks = map.allocated().flat_map(|extent| extent.start / size..extent.end.div_ceil(size));
    // Counted in 32 bits.
    let there = blocks
        .filter(|block| bitmap::is_set(&full, u32::try_from(*block).unwrap_or(u32::MAX)))
        .count() as u64;
    Ok((claimed > there).then_some("has blocks that the disk has not"))
}
