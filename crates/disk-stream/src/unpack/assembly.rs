//! Layers of a disk, in whatever order they come, as one disk.
//!
//! Nothing that was written has to be taken back or kept: what comes later is left out where a layer nearer to the
//! leaf was there first, and overwrites what is farther away.

use std::collections::BTreeMap;
use std::ops::Range;

use vhd::format::{BLOCK_SIZE, SECTOR};
use vhd::{bitmap, zero};

use crate::error::Error;
use crate::pool::{PIECE, zeros};
use crate::unpack::Rest;
use crate::unpack::coverage::{Bitmaps, Coverage, MOST, Sectors};
use crate::unpack::problem::{Fault, Problem};

/// Where a disk goes, in whole sectors and in any order.
pub(crate) trait Target: std::fmt::Debug + Send {
    /// Writes `bytes` at `offset` of the disk.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error>;

    /// As [`Target::write`], where something may have been written before.
    fn write_over(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.write(offset, bytes)
    }
}

/// Zeros are left out in units of this size.
const GRAIN: usize = 64 << 10;

/// The disk under construction.
pub(crate) struct Assembly {
    target: Box<dyn Target>,
    /// Of the disk, in bytes.
    size: u64,
    /// Whether the target holds something else than zeros where nothing is written.
    fill: bool,
    /// Whether that is to stay.
    kept: bool,
    layers: BTreeMap<u32, Coverage>,
    bitmaps: Bitmaps,
    /// The number of the current layer: 0 is the leaf.
    level: u32,
    /// Whether anything can be below the current layer.
    differencing: bool,
    /// What is done with the sectors of the current layer.
    how: How,
    /// The current block, and its sectors that are to be written; everything, if there is none.
    block: Option<(Range<u64>, Vec<u8>)>,
    raw_end: u64,
}

impl Assembly {
    pub(crate) fn new(target: Box<dyn Target>, size: u64, rest: Rest) -> Self {
        Self {
            target,
            size,
            fill: rest == Rest::Anything,
            kept: rest == Rest::Kept,
            layers: BTreeMap::new(),
            bitmaps: Bitmaps::default(),
            level: 0,
            differencing: false,
            how: match rest {
                Rest::Zeros => How::SkipZeros,
                Rest::Anything => How::All,
                Rest::Kept => How::Over,
            },
            block: None,
            raw_end: 0,
        }
    }

    /// Begins a layer of this size.
    pub(super) fn layer(&mut self, level: u32, differencing: bool, virtual_size: u64) -> Result<(), Problem> {
        self.fits(virtual_size, true)?;
        let below = self.layers.range(level + 1..).next().is_some();
        (self.level, self.differencing) = (level, differencing);
        self.how = match (below || self.kept, self.fill) {
            (true, _) => How::Over,
            (false, true) => How::All,
            (false, false) => How::SkipZeros,
        };
        // Also of what is known to be the last one: it says that there was something below.
        self.layers.insert(level, Coverage::new(self.size));
        self.block = None;
        Ok(())
    }

    pub(super) fn fits(&self, at_least: u64, exact: bool) -> Result<(), Problem> {
        if at_least <= self.size {
            return Ok(());
        }
        Err(Problem::TooLarge { at_least, exact, limit: self.size })
    }

    /// Whether blocks must be of 2 MiB.
    fn tracks(&self) -> bool {
        self.fill || self.differencing || self.layers.len() > 1
    }

    /// Begins a block of the current layer, which has the sectors in `have`.
    pub(super) fn block(
        &mut self,
        name: &str,
        bytes: Range<u64>,
        block_size: u32,
        have: &[u8],
    ) -> Result<(), Fault> {
        let mut have = have.to_vec();
        if self.tracks() {
            if block_size != BLOCK_SIZE {
                return Err(Problem::BlockSize { name: name.to_owned(), block_size }.into());
            }
            let number = u32::try_from(bytes.start / u64::from(BLOCK_SIZE)).unwrap_or(u32::MAX);
            let mut todo: Sectors = [0; 512];
            todo.copy_from_slice(&have[..512]);
            if self.fill || self.differencing {
                let layer = self.layers.get_mut(&self.level).expect("the current layer is there");
                if !layer.add(number, &todo, &mut self.bitmaps).map_err(temporary)? {
                    return Err(Problem::Scattered { limit: MOST }.into());
                }
            }
            for nearer in self.layers.range(..self.level).map(|(_, layer)| layer) {
                nearer.mask(number, &mut todo, &self.bitmaps).map_err(temporary)?;
            }
            have.copy_from_slice(&todo);
        }
        self.block = Some((bytes, have));
        Ok(())
    }

    /// Bytes of the current block: whole sectors, but for the end of the disk.
    pub(super) fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let Some((block, todo)) = &self.block else {
            return write(&mut *self.target, self.how, offset, bytes);
        };
        let first = sector((offset - block.start) / SECTOR);
        let last = first + sector((bytes.len() as u64).div_ceil(SECTOR));
        let mut at = first;
        while at < last {
            let end = bitmap::run_end(todo, at, last);
            if bitmap::is_set(todo, at) {
                let part = |sector: u32| ((sector - first) as usize * SECTOR as usize).min(bytes.len());
                let part = part(at)..part(end);
                let offset = offset + part.start as u64;
                write(&mut *self.target, self.how, offset, &bytes[part])?;
            }
            at = end;
        }
        Ok(())
    }

    /// Begins a disk of whose `data` everything will come; what is between them is zero.
    pub(super) fn pieces(&mut self, data: impl Iterator<Item = Range<u64>>) -> Result<(), Error> {
        self.block = None;
        if !self.fill {
            return Ok(());
        }
        let mut data: Vec<_> = data.collect();
        data.sort_unstable_by_key(|bytes| bytes.start);
        let mut at = 0;
        for bytes in data {
            self.zeros(at..bytes.start.max(at))?;
            at = bytes.end;
        }
        self.raw_end = at;
        Ok(())
    }

    /// Bytes of a disk without blocks.
    pub(super) fn raw(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.block = None;
        self.raw_end = offset + bytes.len() as u64;
        self.fits(self.raw_end, false)?;
        Ok(write(&mut *self.target, self.how, offset, bytes)?)
    }

    /// Fills what was not written, where that matters.
    pub(super) fn finish(mut self) -> Result<(), Fault> {
        if !self.fill {
            return Ok(());
        }
        let mut at = self.raw_end;
        if self.raw_end > 0 && self.layers.len() == 1 {
            return Ok(self.zeros(at..self.size)?);
        }
        while at < self.size {
            let end = (at + u64::from(BLOCK_SIZE)).min(self.size);
            let number = u32::try_from(at / u64::from(BLOCK_SIZE)).unwrap_or(u32::MAX);
            let mut todo: Sectors = [0xff; 512];
            for layer in self.layers.values() {
                layer.mask(number, &mut todo, &self.bitmaps).map_err(temporary)?;
            }
            for (run, _) in bitmap::runs(&todo, sector((end - at).div_ceil(SECTOR))).filter(|(_, open)| *open)
            {
                let bytes = at + u64::from(run.start) * SECTOR..at + u64::from(run.end) * SECTOR;
                self.zeros(bytes)?;
            }
            at = end;
        }
        Ok(())
    }

    fn zeros(&mut self, mut bytes: Range<u64>) -> Result<(), Error> {
        while !bytes.is_empty() {
            let piece = zeros(bytes.end - bytes.start);
            self.target.write(bytes.start, &piece)?;
            bytes.start += piece.len() as u64;
        }
        Ok(())
    }
}

/// What is done with sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Those of zeros are left out.
    SkipZeros,
    /// They are written.
    All,
    /// They are written over those of layers below, which came before, or over what the target holds.
    Over,
}

fn write(target: &mut dyn Target, how: How, offset: u64, bytes: &[u8]) -> Result<(), Error> {
    debug_assert!(bytes.len() <= PIECE);
    match how {
        _ if bytes.is_empty() => return Ok(()),
        How::All => return target.write(offset, bytes),
        How::Over => return target.write_over(offset, bytes),
        How::SkipZeros => {}
    }
    for run in zero::nonzero_runs(bytes, GRAIN) {
        target.write(offset + run.start as u64, &bytes[run])?;
    }
    Ok(())
}

/// Within a block, whose sectors are few.
fn sector(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn temporary(source: std::io::Error) -> Error {
    Error::Write { path: std::env::temp_dir(), source }
}
