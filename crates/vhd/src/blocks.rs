//! A set of equal pieces of a disk: one bit for each.

use std::ops::Range;

/// Which pieces of a disk hold data; 128 KiB of memory for 2 TiB in pieces of 2 MiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockSet {
    virtual_size: u64,
    block_size: u32,
    words: Vec<u64>,
    len: u64,
}

impl BlockSet {
    /// No pieces of a disk of `virtual_size` bytes in pieces of `block_size` bytes; the last one
    /// may be shorter.
    ///
    /// # Panics
    /// When `block_size` is 0 or the set does not fit memory's address space.
    pub fn new(virtual_size: u64, block_size: u32) -> Self {
        let blocks = virtual_size.div_ceil(u64::from(block_size));
        let words = usize::try_from(blocks.div_ceil(64)).expect("one bit a block fits the address space");
        Self { virtual_size, block_size, words: vec![0; words], len: 0 }
    }

    /// The disk's size in bytes.
    pub fn virtual_size(&self) -> u64 {
        self.virtual_size
    }

    /// The size of a piece in bytes.
    pub fn block_size(&self) -> u32 {
        self.block_size
    }

    /// Number of pieces of the whole disk.
    pub fn capacity(&self) -> u64 {
        self.virtual_size.div_ceil(u64::from(self.block_size))
    }

    /// Number of pieces in the set.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no piece is in the set.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds the piece with this number; `false` when it was there.
    ///
    /// # Panics
    /// When the disk has no such piece.
    pub fn insert(&mut self, block: u64) -> bool {
        assert!(block < self.capacity(), "block {block} of {}", self.capacity());
        let (word, bit) = split(block);
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.len += u64::from(new);
        new
    }

    /// Adds every piece that shares a byte with `bytes`, which is cut at the end of the disk.
    pub fn insert_bytes(&mut self, bytes: Range<u64>) {
        let end = bytes.end.min(self.virtual_size);
        if bytes.start < end {
            let size = u64::from(self.block_size);
            for block in bytes.start / size..end.div_ceil(size) {
                self.insert(block);
            }
        }
    }

    /// Whether the piece with this number is in the set.
    pub fn contains(&self, block: u64) -> bool {
        let (word, bit) = split(block);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// The numbers of the pieces in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.words.iter().zip(0_u64..).filter(|(word, _)| **word != 0).flat_map(|(word, index)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                (left != 0).then(|| {
                    let bit = u64::from(left.trailing_zeros());
                    left &= left - 1;
                    index * 64 + bit
                })
            })
        })
    }

    /// The bytes of the disk in the set, neighbours joined, ascending.
    pub fn extents(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut next = 0;
        std::iter::from_fn(move || self.extent_from(next).inspect(|extent| next = extent.end))
    }

    /// The first extent that has a byte at or behind `from`, without what lies before `from`.
    pub fn extent_from(&self, from: u64) -> Option<Range<u64>> {
        self.run_from(from, true)
    }

    /// The bytes of the disk not in the set, neighbours joined, ascending.
    pub fn gaps(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut next = 0;
        std::iter::from_fn(move || self.run_from(next, false).inspect(|gap| next = gap.end))
    }

    fn run_from(&self, from: u64, in_set: bool) -> Option<Range<u64>> {
        let first = self.next_where(from / u64::from(self.block_size), in_set)?;
        let behind = self.next_where(first, !in_set).unwrap_or(self.capacity());
        let start = self.block_bytes(first).start.max(from);
        Some(start..self.block_bytes(behind - 1).end).filter(|run| !run.is_empty())
    }

    /// The bytes of a piece, cut at the end of the disk.
    pub fn block_bytes(&self, block: u64) -> Range<u64> {
        let start = block * u64::from(self.block_size);
        start..self.virtual_size.min(start + u64::from(self.block_size))
    }

    /// The first piece from `from` on that is (or is not) in the set.
    pub(crate) fn next_where(&self, from: u64, in_set: bool) -> Option<u64> {
        let mut at = from;
        while at < self.capacity() {
            let (index, bit) = split(at);
            let word = if in_set { self.words[index] } else { !self.words[index] };
            let left = word & !(bit - 1);
            if left != 0 {
                let found = at / 64 * 64 + u64::from(left.trailing_zeros());
                return (found < self.capacity()).then_some(found);
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }
}

fn split(block: u64) -> (usize, u64) {
    // The constructor made sure that every word has an index; larger numbers are out of range.
    (usize::try_from(block / 64).unwrap_or(usize::MAX), 1 << (block % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_whole_blocks() {
        let mut set = BlockSet::new(1000, 100);
        set.insert_bytes(150..250);
        set.insert_bytes(150..150);
        set.insert_bytes(999..5000);
        assert_eq!(set.iter().collect::<Vec<_>>(), [1, 2, 9]);
        assert_eq!(set.extents().collect::<Vec<_>>(), [100..300, 900..1000]);
        assert_eq!(set.gaps().collect::<Vec<_>>(), [0..100, 300..900]);
        assert_eq!(set.len(), 3);
        assert!(!set.insert(1) && set.contains(1) && !set.contains(10) && !set.contains(u64::MAX));
    }

    #[test]
    fn the_last_block_may_be_short() {
        let mut set = BlockSet::new(64 * 100 + 7, 100);
        set.insert_bytes(0..u64::MAX);
        assert_eq!(set.len(), 65);
        assert_eq!(set.extents().collect::<Vec<_>>(), vec![0..6407]);
        assert_eq!(set.gaps().count(), 0);
    }
}
