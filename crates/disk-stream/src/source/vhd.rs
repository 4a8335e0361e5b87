//! VHDs, one by one; what makes them chains is in `image`.

use std::ops::Range;
use std::sync::OnceLock;

use vhd::format::DiskType;
use vhd::{BlockPlace, DiskMap, Place, Probe, ReadError, Warning, bitmap, zero};

use super::{BlockSource, Extent, Memo};
use crate::error::Error;
use crate::image::{Bitmaps, Format, Opening};
use crate::layer::DiskFile;
use crate::parents::Parents;

#[derive(Debug)]
pub(crate) struct Vhd {
    map: DiskMap,
    bitmaps: Bitmaps,
    /// The first block that was seen to have data in sectors that its bitmap leaves out.
    absent: OnceLock<u32>,
}

impl Vhd {
    pub(super) fn map(&self) -> &DiskMap {
        &self.map
    }

    /// What showed while the disk was read.
    pub(crate) fn seen(&self) -> Option<Warning> {
        self.absent.get().map(|block| Warning::AbsentData(*block))
    }

    /// Looks at a little of what a bitmap leaves out, so that it costs little where much is.
    fn look_at_absent(&self, file: &DiskFile, block: &BlockPlace, bits: &[u8]) {
        // In a differencing VHD they are the parent's, whatever is there.
        if self.map.footer().disk_type == DiskType::Differencing || self.absent.get().is_some() {
            return;
        }
        let gaps = bitmap::runs(bits, block.sectors()).filter(|(_, there)| !there).map(|(run, _)| run);
        let firsts = gaps.map(|run| run.start..run.end.min(run.start + 8)).take(16);
        // Nobody needs these sectors: that they cannot be read is no error.
        if firsts.into_iter().any(|run| matches!(data_in(file, block, run), Ok(Some(_)))) {
            self.absent.get_or_init(|| block.block);
        }
    }
}

/// Whether it is a VHD, sound or not, by its first and last sector.
pub(super) fn recognises(file: &DiskFile, first: &[u8], last: &[u8]) -> Result<bool, Error> {
    match vhd::probe(first, last, file.len()) {
        Probe::Raw => Ok(false),
        Probe::Vhd(_) => Ok(true),
        // The map's errors are more precise.
        Probe::Damaged(_) if first.len() == 512 => Ok(true),
        Probe::Damaged(source) => Err(Error::Format { path: file.path().to_owned(), source }),
    }
}

pub(super) fn open(file: &DiskFile, opening: &Opening) -> Result<Vhd, Error> {
    let read_at = |offset, buffer: &mut [u8]| file.read_at(offset, buffer);
    let map = DiskMap::read(file.len(), opening.end_footer, &opening.limits, read_at)
        .map_err(|error| unreadable(file, error))?;
    // Whoever only looks at it may do so.
    if opening.parents != Parents::Ignore {
        refuse_encrypted(file, &map)?;
    }
    let differencing = map.footer().disk_type == DiskType::Differencing;
    let bitmaps = if differencing { Bitmaps::Honour } else { opening.bitmaps };
    Ok(Vhd { map, bitmaps, absent: OnceLock::new() })
}

/// What a VHD says that cannot be read, or not any longer.
pub(crate) fn unreadable(file: &DiskFile, error: ReadError<Error>) -> Error {
    match error {
        ReadError::Format(source) => Error::Format { path: file.path().to_owned(), source },
        ReadError::Io { source, .. } => source,
    }
}

/// What is read of an encrypted disk is of no use.
pub(crate) fn refuse_encrypted(file: &DiskFile, map: &DiskMap) -> Result<(), Error> {
    let mut batmap = [0; SECTOR];
    let Some(at) = map.batmap_offset().filter(|at| at + SECTOR as u64 <= file.len()) else { return Ok(()) };
    file.read_at(at, &mut batmap)?;
    if DiskMap::is_encrypted(&batmap) {
        let source = vhd::Error::Encrypted { at };
        return Err(Error::Format { path: file.path().to_owned(), source });
    }
    Ok(())
}

const SECTOR: usize = 512;

impl BlockSource for Vhd {
    fn format(&self) -> Format {
        Format::Vhd(self.map.footer().disk_type)
    }

    fn virtual_size(&self) -> u64 {
        self.map.virtual_size()
    }

    fn extent(&self, file: &DiskFile, at: u64, memo: &mut Memo) -> Result<Option<(Extent, u64)>, Error> {
        Ok(match self.place(file, at, memo)? {
            Some(Place::File { offset, len }) => Some((Extent::At(offset), len)),
            Some(Place::Unallocated { len }) => Some((Extent::Absent, len)),
            Some(Place::Block(block)) => Some(self.in_block(file, &block, at, memo)?),
            None => None,
        })
    }

    fn is_flat(&self) -> bool {
        self.map.header().is_none()
    }
}

impl Vhd {
    /// Where the byte `at` of the disk is, and how much follows it there.
    pub(crate) fn place(&self, file: &DiskFile, at: u64, memo: &mut Memo) -> Result<Option<Place>, Error> {
        let read_at = |offset, buffer: &mut [u8]| file.read_at(offset, buffer);
        self.map.place(at, &mut memo.window, read_at).map_err(|error| unreadable(file, error))
    }

    /// What a block has at the byte `at` of the disk, and for how many bytes.
    pub(crate) fn in_block(
        &self,
        file: &DiskFile,
        block: &BlockPlace,
        at: u64,
        memo: &mut Memo,
    ) -> Result<(Extent, u64), Error> {
        let bits = memo.table(block.bitmap_offset, |bits| {
            bits.resize(block.bitmap_len as usize, 0);
            match self.bitmaps {
                Bitmaps::Ignore => bits.fill(0xff),
                Bitmaps::Honour => {
                    file.read_at(block.bitmap_offset, bits)?;
                    self.look_at_absent(file, block, bits);
                }
                Bitmaps::Refuse => {
                    file.read_at(block.bitmap_offset, bits)?;
                    nothing_absent(file, block, bits)?;
                }
            }
            Ok(())
        })?;
        let inside = at - block.bytes.start;
        // A block has at most 256 MiB.
        let sector = u32::try_from(inside / 512).unwrap_or(u32::MAX);
        let end = bitmap::run_end(bits, sector, block.sectors());
        let end = block.bytes.end.min(block.bytes.start + u64::from(end) * 512);
        let there = bitmap::is_set(bits, sector);
        Ok((if there { Extent::At(block.data_offset + inside) } else { Extent::Absent }, end - at))
    }
}

/// Looks for data in sectors that are said not to be there.
fn nothing_absent(file: &DiskFile, block: &BlockPlace, bits: &[u8]) -> Result<(), Error> {
    for (run, _) in bitmap::runs(bits, block.sectors()).filter(|(_, there)| !there) {
        if let Some(at) = data_in(file, block, run)? {
            let source = vhd::Error::AbsentData { block: block.block, at };
            return Err(Error::Format { path: file.path().to_owned(), source });
        }
    }
    Ok(())
}

/// Where the first of these sectors that is not zero is in the file.
fn data_in(file: &DiskFile, block: &BlockPlace, sectors: Range<u32>) -> Result<Option<u64>, Error> {
    let mut data = Vec::new();
    for first in sectors.clone().step_by(256) {
        data.resize((sectors.end - first).min(256) as usize * SECTOR, 0);
        let start = block.data_offset + u64::from(first) * SECTOR as u64;
        file.read_at(start, &mut data)?;
        if let Some(sector) = data.chunks(SECTOR).position(|sector| !zero::is_zero(sector)) {
            return Ok(Some(start + (sector * SECTOR) as u64));
        }
    }
    Ok(None)
}
