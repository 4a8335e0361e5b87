//! What comes next, for whoever moves data without looking at them.

use std::ops::Range;

use super::{Decoder, State};

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
        let Some(shape) = self.shape else { return Ahead::Other(u64::MAX) };
        let bitmap = |index: usize| {
            let end = self.placed.get(index).map(|placed| placed.offset() + u64::from(shape.bitmap_len));
            Ahead::Other(end.map_or(1, |end| end.saturating_sub(self.position).max(1)))
        };
        let (index, run) = match self.state {
            State::Data(index, run) => (index, run),
            State::Batmap => return bitmap(0),
            State::Bitmap(index) => return bitmap(index),
            _ => return Ahead::Other(u64::MAX),
        };
        let len = u64::from(run.end - run.done);
        let Some(placed) = self.placed.get(index) else { return Ahead::Other(len) };
        let start = u64::from(placed.block) * u64::from(shape.block_size) + u64::from(run.done);
        // What lies behind the disk's end is not part of it.
        if run.present && start + len <= shape.virtual_size {
            Ahead::Data(start..start + len)
        } else {
            Ahead::Other(len)
        }
    }

    /// Counts `len` bytes as read, which came at the start of what [`Decoder::ahead`] called data; of more
    /// than that, only those.
    pub fn pass_data(&mut self, len: u64) {
        if let (Ahead::Data(range), &State::Data(index, run)) = (self.ahead(), &self.state) {
            // At most a block.
            self.past_data(index, run, u32::try_from(len.min(range.end - range.start)).unwrap_or(u32::MAX));
        }
    }
}

#[cfg(test)]
thread_local! {
    /// How often the end of a run was looked for.
    pub(super) static RUNS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::format::Timestamp;
    use crate::fuzzing;
    use crate::layout::{Dialect, Layout, Parameters};

    const MIB: u64 = 1 << 20;

    /// A disk of three blocks that are there; the bitmap of the second says so of its first and last quarter only.
    fn stream() -> Vec<u8> {
        let parameters = Parameters {
            virtual_size: 6 * MIB,
            uuid: Uuid::from_u128(1),
            timestamp: Timestamp(1),
            dialect: Dialect::XenapiRs,
        };
        let layout = Layout::dynamic_from_extents(&parameters, std::iter::once(0..6 * MIB)).unwrap();
        let mut file = fuzzing::render(layout, |at| (at >> 9) as u8 | 1);
        let second = 2048 + (2 << 20) + 512;
        file[second + 128..second + 384].fill(0);
        file
    }

    /// Passes `piece` bytes of data at a time, and feeds the rest; the data that were passed.
    fn pass(file: &[u8], piece: u64) -> (Vec<Range<u64>>, usize) {
        RUNS.set(0);
        let (mut decoder, mut at, mut passed) = (Decoder::new(), 0, Vec::<Range<u64>>::new());
        while at < file.len() {
            let len = match decoder.ahead() {
                Ahead::Data(range) => {
                    let len = piece.min(range.end - range.start);
                    decoder.pass_data(len);
                    match passed.last_mut() {
                        Some(last) if last.end == range.start => last.end += len,
                        _ => passed.push(range.start..range.start + len),
                    }
                    usize::try_from(len).unwrap()
                }
                Ahead::Other(len) => {
                    let len = usize::try_from(len.min(700)).unwrap().min(file.len() - at);
                    let mut input = &file[at..at + len];
                    while decoder.feed(&mut input).unwrap().is_some() {}
                    len
                }
            };
            at += len;
        }
        decoder.finish().unwrap();
        (passed, RUNS.get())
    }

    #[test]
    fn the_end_of_a_run_is_looked_for_once() {
        let file = stream();
        for piece in [512, 64 << 10, 2 << 20] {
            let (passed, runs) = pass(&file, piece);
            let half = MIB / 2;
            assert_eq!(passed, [0..2 * MIB + half, 4 * MIB - half..6 * MIB], "in pieces of {piece}");
            assert_eq!(runs, 1 + 3 + 1, "in pieces of {piece}");
        }
        // The same where data are looked at.
        for piece in [1000, 64 << 10] {
            RUNS.set(0);
            fuzzing::decode(Decoder::new(), &file, &[piece]).1.unwrap();
            assert_eq!(RUNS.get(), 1 + 3 + 1);
        }
    }
}
