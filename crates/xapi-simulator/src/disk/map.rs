//! Which blocks of a layer are its own, in memory and on file.
//!
//! The file has a header of 64 bytes (magic, version, flags, virtual size, parent), then one bit a
//! block, least significant first. It is kept apart from the data's holes, because a block of
//! zeros written over a parent's block is data, whatever a file system makes of it.

use uuid::Uuid;

use super::BLOCK;

const MAGIC: &[u8; 8] = b"XSIMDISK";
const VERSION: u32 = 1;
const HIDDEN: u32 = 1;
/// Offset of the bits.
pub(super) const HEADER_LEN: u64 = 64;

/// One bit for each block of a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BlockMap {
    bytes: Vec<u8>,
    blocks: u64,
    used: u64,
}

impl BlockMap {
    /// An empty map for a disk of `len_bytes`.
    pub(crate) fn new(len_bytes: u64) -> Self {
        let blocks = len_bytes.div_ceil(BLOCK);
        Self { bytes: vec![0; blocks.div_ceil(8) as usize], blocks, used: 0 }
    }

    /// Whether `block` is in the map; blocks behind the end are not.
    pub(crate) fn get(&self, block: u64) -> bool {
        block < self.blocks && self.bytes[(block / 8) as usize] & (1 << (block % 8)) != 0
    }

    /// Adds `block`; it must not be behind the end.
    pub(crate) fn set(&mut self, block: u64) {
        let (byte, bit) = (&mut self.bytes[(block / 8) as usize], 1 << (block % 8));
        self.used += u64::from(*byte & bit == 0);
        *byte |= bit;
    }

    /// How many blocks are in the map.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// How many blocks the disk has.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Adds every block of `other`, as far as this map reaches.
    pub(crate) fn union(&mut self, other: &BlockMap) {
        let blocks = self.blocks;
        for block in other.iter().take_while(|&block| block < blocks) {
            self.set(block);
        }
    }

    /// The blocks in the map, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.blocks).filter(|&block| self.get(block))
    }

    /// Makes room for a disk of `len_bytes`, which is not less than before.
    pub(super) fn grow(&mut self, len_bytes: u64) {
        self.blocks = self.blocks.max(len_bytes.div_ceil(BLOCK));
        self.bytes.resize(self.blocks.div_ceil(8) as usize, 0);
    }

    /// Where in the file, and as which byte, the bit of `block` is stored.
    pub(super) fn stored(&self, block: u64) -> (u64, u8) {
        (HEADER_LEN + block / 8, self.bytes[(block / 8) as usize])
    }
}

/// What a map file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MapFile {
    pub(super) virtual_size: u64,
    pub(super) parent: Option<Uuid>,
    pub(super) hidden: bool,
    pub(super) map: BlockMap,
}

impl MapFile {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN as usize + self.map.bytes.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(if self.hidden { HIDDEN } else { 0 }).to_le_bytes());
        out.extend_from_slice(&self.virtual_size.to_le_bytes());
        out.extend_from_slice(self.parent.unwrap_or(Uuid::nil()).as_bytes());
        out.resize(HEADER_LEN as usize, 0);
        out.extend_from_slice(&self.map.bytes);
        out
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, &'static str> {
        let header = bytes.get(..HEADER_LEN as usize).ok_or("too short")?;
        if &header[..8] != MAGIC {
            return Err("wrong magic");
        }
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        if word(8) != VERSION {
            return Err("unknown version");
        }
        let virtual_size = u64::from_le_bytes(header[16..24].try_into().expect("eight bytes"));
        let parent = Uuid::from_slice(&header[24..40]).expect("sixteen bytes");
        let blocks = virtual_size.div_ceil(BLOCK);
        let bits = &bytes[HEADER_LEN as usize..];
        if bits.len() as u64 != blocks.div_ceil(8) {
            return Err("its length does not fit its disk");
        }
        let used = bits.iter().map(|byte| u64::from(byte.count_ones())).sum();
        Ok(Self {
            virtual_size,
            parent: (!parent.is_nil()).then_some(parent),
            hidden: word(12) & HIDDEN != 0,
            map: BlockMap { bytes: bits.to_vec(), blocks, used },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_files_round_trip() {
        let mut map = BlockMap::new(19 * BLOCK + 1);
        for block in [0, 7, 8, 19] {
            map.set(block);
            map.set(block);
        }
        assert_eq!((map.used(), map.blocks()), (4, 20));
        for parent in [None, Some(Uuid::from_u128(5))] {
            let file =
                MapFile { virtual_size: 19 * BLOCK + 1, parent, hidden: parent.is_some(), map: map.clone() };
            assert_eq!(MapFile::from_bytes(&file.to_bytes()), Ok(file));
        }
    }

    #[test]
    fn damaged_map_files_are_refused() {
        let good = MapFile { virtual_size: BLOCK, parent: None, hidden: false, map: BlockMap::new(BLOCK) };
        let good = good.to_bytes();
        for (what, bytes) in [
            ("short", good[..40].to_vec()),
            ("no bits", good[..64].to_vec()),
            ("magic", [b"YSIMDISK", &good[8..]].concat()),
            ("version", [&good[..8], &[9], &good[9..]].concat()),
        ] {
            assert!(MapFile::from_bytes(&bytes).is_err(), "{what}");
        }
    }
}
