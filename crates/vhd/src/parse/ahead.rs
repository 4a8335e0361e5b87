//! What comes next, for whoever moves data without looking at them.

use std::ops::Range;

use super::{Decoder, State};
use crate::bitmap;

/// What comes next in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ahead {
    /// Data of the disk, these bytes of it, as they are: [`Decoder::pass_data`] needs not see them.
    Data(Range<u64>),
    /// Something else, for [`Decoder::feed`]; no data come in its next so many bytes, of which there are
    /// more than 0.
    Other(u64),
}

impl Decoder {
    /// What comes next. Before the table was read, nobody knows, and data may follow it at once:
    /// [`Ahead::Other`] with the largest number there is.
    pub fn ahead(&self) -> Ahead {
        let (Some(shape), State::Data(..) | State::Bitmap(_)) = (self.shape, &self.state) else {
            return Ahead::Other(u64::MAX);
        };
        let (index, done) = match self.state {
            State::Data(index, done) => (index, done),
            State::Bitmap(index) => {
                let end = self.placed.get(index).map(|placed| placed.offset() + u64::from(shape.bitmap_len));
                return Ahead::Other(end.map_or(1, |end| end.saturating_sub(self.position).max(1)));
            }
            _ => return Ahead::Other(u64::MAX),
        };
        let sector = done / 512;
        let run_end = bitmap::run_end(&self.bitmap, sector, shape.sectors()) * 512;
        let len = u64::from(run_end - done);
        let Some(placed) = self.placed.get(index) else { return Ahead::Other(len) };
        let start = u64::from(placed.block) * u64::from(shape.block_size) + u64::from(done);
        // What lies behind the disk's end is not part of it.
        if bitmap::is_set(&self.bitmap, sector) && start + len <= shape.virtual_size {
            Ahead::Data(start..start + len)
        } else {
            Ahead::Other(len)
        }
    }

    /// Counts `len` bytes as read, which came at the start of what [`Decoder::ahead`] called data; of more
    /// than that, only those.
    pub fn pass_data(&mut self, len: u64) {
        if let (Ahead::Data(range), &State::Data(index, done)) = (self.ahead(), &self.state) {
            // At most a block.
            self.past_data(index, done, u32::try_from(len.min(range.end - range.start)).unwrap_or(u32::MAX));
        }
    }
}
