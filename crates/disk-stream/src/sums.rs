//! Whether a disk holds what was written to it, when what was written cannot be read a second time.
//!
//! Of each block of 2 MiB one number is kept: the sum of the hashes of its sectors, each seeded with its place. That
//! does not depend on the order in which sectors come, and those of zeros count nothing, so that it is the same whether
//! they were written or left out.

use std::hash::Hasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use twox_hash::XxHash64;
use vhd::format::{BLOCK_SIZE, SECTOR};
use vhd::zero;

use crate::error::Error;
use crate::incoming::{Incoming, Part};
use crate::progress::Progress;
use crate::receive::Consume;
use crate::unpack::Target;

/// What was written to a disk, 16 bytes for every 2 MiB of it. Clones are one and the same.
///
/// Blocks in which sectors were written more than once are not compared: those that several layers have, where the
/// layers come with the base first. XenServer's archives have the leaf first. It finds what storage and transfers do to data, not what somebody does who wants it
/// not to be found.
#[derive(Debug, Clone, Default)]
pub struct Sums(Arc<Mutex<Vec<Block>>>);

#[derive(Debug, Clone, Copy, Default)]
struct Block {
    sum: u64,
    written_over: bool,
}

impl Sums {
    /// Of a disk to which nothing was written.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Block>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds whole sectors.
    fn add(&self, offset: u64, bytes: &[u8], over: bool) {
        let mut blocks = self.lock();
        for (at, sector) in (offset..).step_by(SECTOR as usize).zip(bytes.chunks(SECTOR as usize)) {
            let zeros = zero::is_zero(sector);
            if zeros && !over {
                continue;
            }
            let number = usize::try_from(at / u64::from(BLOCK_SIZE)).unwrap_or(usize::MAX);
            if blocks.len() <= number {
                blocks.resize(number + 1, Block::default());
            }
            let mut hash = XxHash64::with_seed(at);
            hash.write(sector);
            let block = &mut blocks[number];
            block.sum = block.sum.wrapping_add(hash.finish());
            block.written_over |= over;
        }
    }

    /// The first byte of the first block that differs.
    pub fn difference(&self, other: &Self) -> Option<u64> {
        let (ours, theirs) = (self.lock().clone(), other.lock().clone());
        let differ = |at: &usize| {
            let [ours, theirs] = [&ours, &theirs].map(|blocks| blocks.get(*at).copied().unwrap_or_default());
            ours.sum != theirs.sum && !ours.written_over && !theirs.written_over
        };
        let block = (0..ours.len().max(theirs.len())).find(differ)?;
        Some(block as u64 * u64::from(BLOCK_SIZE))
    }
}

/// Takes a dynamic VHD stream, of which it keeps nothing but its sums.
#[derive(Debug)]
pub struct SumSink {
    incoming: Incoming,
    sums: Sums,
    /// The beginning of a sector whose rest is in the next piece of the stream.
    begun: Vec<u8>,
}

impl Default for SumSink {
    fn default() -> Self {
        Self { incoming: Incoming::Vhd(Box::default()), sums: Sums::new(), begun: Vec::new() }
    }
}

impl Consume for SumSink {
    type Output = Sums;

    fn feed(&mut self, bytes: &[u8], progress: &Progress) -> Result<(), Error> {
        let Self { incoming, sums, begun } = self;
        incoming.feed(bytes, &mut |part| {
            let Part::Data(mut at, mut bytes) = part else { return Ok(()) };
            progress.reach(at + bytes.len() as u64);
            if !begun.is_empty() {
                let first = at - begun.len() as u64;
                let (rest, next) = bytes.split_at((SECTOR as usize - begun.len()).min(bytes.len()));
                begun.extend_from_slice(rest);
                if begun.len() < SECTOR as usize {
                    return Ok(());
                }
                sums.add(first, begun, false);
                begun.clear();
                (at, bytes) = (first + SECTOR, next);
            }
            let whole = bytes.len() - bytes.len() % SECTOR as usize;
            sums.add(at, &bytes[..whole], false);
            begun.extend_from_slice(&bytes[whole..]);
            Ok(())
        })
    }

    fn finish(self) -> Result<Sums, Error> {
        self.incoming.finish().map(|_| self.sums)
    }
}

/// Adds up what passes.
#[derive(Debug)]
pub(crate) struct Summing {
    pub(crate) target: Box<dyn Target>,
    pub(crate) sums: Sums,
}

impl Target for Summing {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.sums.add(offset, bytes, false);
        self.target.write(offset, bytes)
    }

    fn write_over(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.sums.add(offset, bytes, true);
        self.target.write_over(offset, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_zeros_do_not_matter_and_places_do() {
        let sums = |parts: &[(u64, &[u8])]| {
            let sums = Sums::new();
            parts.iter().for_each(|(at, bytes)| sums.add(*at, bytes, false));
            sums
        };
        let (a, b, zeros) = ([1; 512], [2; 1024], [0; 512]);
        let block = u64::from(BLOCK_SIZE);
        let disk = sums(&[(0, &a), (block, &b)]);
        for (other, difference) in [
            (sums(&[(block, &b[..512]), (0, &a), (block + 512, &b[..512])]), None),
            (sums(&[(0, &a), (block, &b), (9 * block, &zeros)]), None),
            (sums(&[(512, &a), (block, &b)]), Some(0)),
            (sums(&[(0, &a), (block, &b[..512])]), Some(block)),
            (sums(&[(0, &a), (block, &b), (9 * block, &a)]), Some(9 * block)),
            (sums(&[]), Some(0)),
        ] {
            assert_eq!((disk.difference(&other), other.difference(&disk)), (difference, difference));
        }
        // What was under it is not known any more.
        disk.add(block, &a, true);
        assert_eq!(disk.difference(&sums(&[(0, &a), (block, &zeros)])), None);
        assert_eq!(disk.difference(&sums(&[(block, &a)])), Some(0));
    }
}
