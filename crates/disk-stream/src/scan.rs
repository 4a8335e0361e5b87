//! Finding what a disk holds before its stream begins.
//!
//! A VHD's length follows from its allocated blocks, and XAPI wants the length before the first
//! byte: so the disk is looked through first. Holes cost nothing (`SEEK_HOLE`, the block table,
//! the sector bitmaps). Inside of what is allocated, a block is read only up to its first byte
//! that is not zero, for most blocks of most disks a few KiB; a disk filled with zeros is read
//! whole, which is still cheaper than sending it.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use vhd::{BlockSet, zero};

use crate::error::Error;
use crate::image::Image;
use crate::layer::DiskFile;
use crate::progress::{Progress, Stage};
use crate::reader::Reader;

/// What to make of zeros in allocated parts of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Zeros {
    /// Look for them and leave them out.
    #[default]
    Detect,
    /// Trust the file's map: no data are read, zeros in allocated parts are sent.
    Keep,
}

/// The first look at a block; grows, because a block that begins with zeros goes on with them.
const FIRST_LOOK: usize = 16 << 10;
const LARGEST_LOOK: usize = 256 << 10;

/// Which pieces of `piece_size` bytes hold data. Blocking; memory is one bit a piece and a
/// buffer of 256 KiB.
///
/// # Errors
/// [`Error::Read`] and [`Error::Changed`].
pub fn scan(image: &Image, piece_size: u32, zeros: Zeros, progress: &Progress) -> Result<BlockSet, Error> {
    scan_while(image, piece_size, zeros, progress, &AtomicBool::new(true))
}

/// [`scan`] that gives up with [`Error::Interrupted`] when nobody waits for it any longer.
pub(crate) fn scan_while(
    image: &Image,
    piece_size: u32,
    zeros: Zeros,
    progress: &Progress,
    wanted: &AtomicBool,
) -> Result<BlockSet, Error> {
    progress.begin(Stage::Scanning, 0, image.virtual_size());
    let mut scan = Scan {
        set: BlockSet::new(image.virtual_size(), piece_size),
        reader: image.reader(),
        buffer: vec![0; LARGEST_LOOK],
        zeros,
        progress,
        wanted,
    };
    // Where a piece is left at its first byte that is not zero, holes inside of pieces need not be known.
    let likely = zeros == Zeros::Detect && u64::from(piece_size) >= LIKELY;
    let next = if likely { Reader::next_likely } else { Reader::next_data };
    let mut at = 0;
    while let Some(extent) = next(&mut scan.reader, at, image.virtual_size())? {
        at = extent.end;
        scan.add(extent)?;
    }
    image.check_unchanged()?;
    Ok(scan.set)
}

struct Scan<'a> {
    set: BlockSet,
    reader: Reader,
    buffer: Vec<u8>,
    zeros: Zeros,
    progress: &'a Progress,
    wanted: &'a AtomicBool,
}

impl Scan<'_> {
    /// Adds the pieces of an allocated extent, those of zeros left out if so wanted.
    fn add(&mut self, extent: Range<u64>) -> Result<(), Error> {
        let size = u64::from(self.set.block_size());
        for piece in extent.start / size..extent.end.div_ceil(size) {
            if self.set.contains(piece) {
                continue;
            }
            if !self.wanted.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let bytes = self.set.block_bytes(piece);
            let part = bytes.start.max(extent.start)..bytes.end.min(extent.end);
            if self.zeros == Zeros::Keep || self.has_data(part)? {
                self.set.insert(piece);
            }
            self.progress.reach(bytes.end);
        }
        Ok(())
    }

    fn has_data(&mut self, bytes: Range<u64>) -> Result<bool, Error> {
        let mut at = bytes.start;
        let mut look = FIRST_LOOK;
        while at < bytes.end {
            let len = usize::try_from(bytes.end - at).unwrap_or(look).min(look);
            let buffer = &mut self.buffer[..len];
            self.reader.read(at, buffer)?;
            if !zero::is_zero(buffer) {
                return Ok(true);
            }
            at += len as u64;
            look = LARGEST_LOOK;
        }
        Ok(false)
    }
}

/// The next part of the file from `at` on that may hold data.
///
/// A file system that cannot tell, and every block device, holds data everywhere.
pub(crate) fn next_extent(file: &DiskFile, at: u64, end: u64) -> Option<Range<u64>> {
    let start = next_data(file, at, end)?;
    if file.is_device() {
        return Some(start..end);
    }
    let hole = file.seek(start, SeekFrom::Hole).ok().filter(|hole| *hole > start);
    Some(start..hole.unwrap_or(end).min(end))
}

/// The same, without its exact end: it goes on to a multiple of [`LIKELY`] at most.
pub(crate) fn likely_extent(file: &DiskFile, at: u64, end: u64) -> Option<Range<u64>> {
    let start = next_data(file, at, end)?;
    Some(start..(start + 1).next_multiple_of(LIKELY).min(end))
}

/// The size of a VHD's block, in which holes are looked for.
const LIKELY: u64 = 2 << 20;

/// `ENXIO` means that only a hole is left.
fn next_data(file: &DiskFile, at: u64, end: u64) -> Option<u64> {
    if file.is_device() {
        return (at < end).then_some(at);
    }
    match file.seek(at, SeekFrom::Data) {
        Ok(start) => Some(start.max(at)),
        Err(Errno::NXIO) => None,
        Err(_) => Some(at),
    }
    .filter(|start| *start < end)
}
