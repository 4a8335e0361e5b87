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
/// A file system that cannot tell or is not believed, and every block device, holds data everywhere.
pub(crate) fn next_extent(file: &DiskFile, at: u64, end: u64) -> Option<Range<u64>> {
    let start = next_data(file, at, end)?;
    if !file.tells_holes() {
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

fn next_data(file: &DiskFile, at: u64, end: u64) -> Option<u64> {
    let start = if file.tells_holes() { data_from(file.seek(at, SeekFrom::Data), at) } else { Some(at) };
    start.filter(|start| *start < end)
}

/// Where data begin, from `at` on, after what the file system says: `ENXIO` means that only a hole is left, anything else
/// that it cannot tell.
fn data_from(said: rustix::io::Result<u64>, at: u64) -> Option<u64> {
    match said {
        Ok(start) => Some(start.max(at)),
        Err(Errno::NXIO) => None,
        Err(_) => Some(at),
    }
}

/// Places at which a file is looked at that is said to be one hole, and bytes at each.
const SAMPLES: u64 = 16;
const SAMPLE: u64 = 4096;

/// Whether to believe a file system that says so of where the data of a file of `len` bytes begin: some, over a network or
/// in a process, call a file that they know nothing of a hole, data and all.
pub(crate) fn is_believed(
    said: rustix::io::Result<u64>,
    len: u64,
    mut read_at: impl FnMut(u64, &mut [u8]) -> Result<(), Error>,
) -> bool {
    if said != Err(Errno::NXIO) {
        return true;
    }
    let mut buffer = [0; SAMPLE as usize];
    let last = len.saturating_sub(SAMPLE);
    (0..SAMPLES).all(|sample| {
        let at = u64::try_from(u128::from(last) * u128::from(sample) / u128::from(SAMPLES - 1)).unwrap_or(0);
        let bytes = &mut buffer[..usize::try_from(len).unwrap_or(usize::MAX).min(SAMPLE as usize)];
        // What cannot be read says so again when it is.
        read_at(at, bytes).is_ok() && zero::is_zero(bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn what_file_systems_say_of_data() {
        for (said, at, data) in [
            (Ok(100), 100, Some(100)),
            (Ok(4096), 100, Some(4096)),
            // It tells of the page.
            (Ok(0), 100, Some(100)),
            // At the tail: nothing comes any more.
            (Err(Errno::NXIO), 100, None),
            (Err(Errno::INVAL), 100, Some(100)),
            (Err(Errno::OPNOTSUPP), 0, Some(0)),
            (Err(Errno::IO), 7, Some(7)),
        ] {
            assert_eq!(data_from(said, at), data, "{said:?} from {at}");
        }
    }

    #[test]
    fn a_hole_that_holds_data_is_none() {
        const LEN: u64 = 10 << 20;
        let disk = |data: Option<u64>| {
            move |at: u64, bytes: &mut [u8]| {
                assert!(at + bytes.len() as u64 <= LEN);
                bytes.fill(0);
                if let Some(place) = data.and_then(|data| data.checked_sub(at))
                    && let Some(byte) = bytes.get_mut(usize::try_from(place).unwrap())
                {
                    *byte = 1;
                }
                Ok(())
            }
        };
        assert!(is_believed(Err(Errno::NXIO), LEN, disk(None)));
        for data in [0, 511, LEN - 1] {
            assert!(!is_believed(Err(Errno::NXIO), LEN, disk(Some(data))), "a byte at {data}");
            // Some data are known: it knows of the file.
            assert!(is_believed(Ok(8192), LEN, disk(Some(data))));
        }
        assert!(!is_believed(Err(Errno::NXIO), 1, |_, bytes| {
            bytes[0] = 1;
            Ok(())
        }));
    }

    /// Holes are a shortcut: without them, the disk is the same.
    #[test]
    fn without_holes_the_disk_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(9 << 20).unwrap();
        file.write_all_at(&[7; 5000], 5 << 20).unwrap();
        let sets = [true, false].map(|tells| {
            let file = DiskFile::open(&path).unwrap().telling_holes(tells);
            let everything = next_extent(&file, 0, 9 << 20) == Some(0..9 << 20);
            assert_eq!(likely_extent(&file, 0, 9 << 20).unwrap().start == 0, !tells);
            assert_eq!(everything, !tells);
            let image = Image::of_file(file, &crate::Opening::default()).unwrap();
            scan(&image, 2 << 20, Zeros::Detect, &Progress::new()).unwrap()
        });
        assert_eq!(sets[0], sets[1]);
        assert_eq!(sets[0].len(), 1);
    }
}
