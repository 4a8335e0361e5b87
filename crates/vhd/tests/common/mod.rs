//! Disks in memory, and how they are damaged: checksums are made right again after each damage.
#![allow(dead_code, reason = "each test uses a part of this")]

use std::convert::Infallible;
use std::ops::Range;

use uuid::Uuid;
use vhd::format::Timestamp;
use vhd::fuzzing;
use vhd::inspect::{Inspection, Report};
use vhd::layout::{Dialect, Layout, Parameters};

pub(crate) const MIB: u64 = 1 << 20;
/// Where the table of a disk is that was made here.
pub(crate) const TABLE: usize = 1536;
/// When the disks are looked at.
pub(crate) const NOW: Timestamp = Timestamp(800_000_000);

/// A dynamic disk of 16 MiB with the blocks in which these bytes are.
pub(crate) fn disk<const N: usize>(extents: [Range<u64>; N]) -> Vec<u8> {
    let parameters = Parameters {
        virtual_size: 16 * MIB,
        uuid: Uuid::from_u128(0x1111_2222_3333_4444_8555_6666_7777_8888),
        timestamp: Timestamp(700_000_000),
        dialect: Dialect::XenapiRs,
    };
    fuzzing::render(Layout::dynamic_from_extents(&parameters, extents).unwrap(), |at| (at >> 12) as u8 | 1)
}

/// Changes bytes of the footer that begins at `start`.
pub(crate) fn footer_at(file: &mut [u8], start: usize, at: usize, bytes: &[u8]) {
    file[start + at..start + at + bytes.len()].copy_from_slice(bytes);
    fuzzing::make_sum(&mut file[start..start + 512], 64);
}

pub(crate) fn front(file: &mut [u8], at: usize, bytes: &[u8]) {
    footer_at(file, 0, at, bytes);
}

pub(crate) fn end(file: &mut [u8], at: usize, bytes: &[u8]) {
    footer_at(file, file.len() - 512, at, bytes);
}

pub(crate) fn footers(file: &mut [u8], at: usize, bytes: &[u8]) {
    front(file, at, bytes);
    end(file, at, bytes);
}

pub(crate) fn header(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[512 + at..512 + at + bytes.len()].copy_from_slice(bytes);
    fuzzing::make_sum(&mut file[512..1536], 36);
}

/// Says where a block is.
pub(crate) fn entry(file: &mut [u8], block: usize, sector: u32) {
    file[TABLE + 4 * block..TABLE + 4 * block + 4].copy_from_slice(&sector.to_be_bytes());
}

pub(crate) fn sector_of(file: &[u8], block: usize) -> u32 {
    u32::from_be_bytes(*file[TABLE + 4 * block..].first_chunk().unwrap())
}

/// What an inspection of everything finds.
pub(crate) fn inspect(file: &[u8]) -> Report {
    let inspection = Inspection { now: Some(NOW), bitmaps: true, ..Inspection::default() };
    let read = |at: u64, buffer: &mut [u8]| {
        let at = usize::try_from(at).unwrap();
        buffer.copy_from_slice(&file[at..at + buffer.len()]);
        Ok::<_, Infallible>(())
    };
    let Ok(report) = inspection.run(file.len() as u64, read);
    report
}

/// The name of an error.
pub(crate) fn variant(error: &vhd::Error) -> String {
    format!("{error:?}").chars().take_while(|letter| letter.is_alphanumeric()).collect()
}
