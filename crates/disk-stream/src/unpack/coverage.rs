//! Which sectors of a disk are settled already, layer by layer.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use vhd::BlockSet;
use vhd::format::BLOCK_SIZE;

/// One bit for each sector of a block, the most significant first.
pub(super) type Sectors = [u8; 512];

/// The sectors that one layer has: one bit for a block that is full, 512 bytes for one that is not.
pub(super) struct Coverage {
    full: BlockSet,
    partial: HashMap<u32, u32>,
}

/// The bitmaps of partly filled blocks of all layers: the first ones in memory, further ones in an unnamed temporary
/// file, which grows by 512 bytes for each.
#[derive(Default)]
pub(super) struct Bitmaps {
    memory: Vec<u8>,
    file: Option<File>,
    len: u32,
}

/// 16 MiB of memory.
const IN_MEMORY: u32 = 32 << 10;
/// 512 MiB of temporary storage, for 2 TiB of partly filled blocks.
pub(super) const MOST: u32 = 1 << 20;

impl Bitmaps {
    /// `None` when there are too many.
    fn push(&mut self, sectors: &Sectors) -> io::Result<Option<u32>> {
        if self.len >= MOST {
            return Ok(None);
        }
        if self.len < IN_MEMORY {
            self.memory.extend_from_slice(sectors);
        } else {
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(tempfile::tempfile()?),
            };
            file.write_all_at(sectors, u64::from(self.len - IN_MEMORY) * 512)?;
        }
        self.len += 1;
        Ok(Some(self.len - 1))
    }

    fn get(&self, slot: u32) -> io::Result<Sectors> {
        let mut sectors = [0; 512];
        if slot < IN_MEMORY {
            let at = slot as usize * 512;
            sectors.copy_from_slice(&self.memory[at..at + 512]);
        } else if let Some(file) = &self.file {
            file.read_exact_at(&mut sectors, u64::from(slot - IN_MEMORY) * 512)?;
        }
        Ok(sectors)
    }
}

impl Coverage {
    pub(super) fn new(virtual_size: u64) -> Self {
        Self { full: BlockSet::new(virtual_size, BLOCK_SIZE), partial: HashMap::new() }
    }

    /// Adds a block, which a layer has but once. `false` when there are too many partly filled ones.
    pub(super) fn add(&mut self, block: u32, sectors: &Sectors, bitmaps: &mut Bitmaps) -> io::Result<bool> {
        if sectors.iter().all(|byte| *byte == 0xff) {
            self.full.insert(u64::from(block));
            return Ok(true);
        }
        let slot = bitmaps.push(sectors)?;
        if let Some(slot) = slot {
            self.partial.insert(block, slot);
        }
        Ok(slot.is_some())
    }

    /// Takes out of `sectors` those that this layer has.
    pub(super) fn mask(&self, block: u32, sectors: &mut Sectors, bitmaps: &Bitmaps) -> io::Result<()> {
        if self.full.contains(u64::from(block)) {
            *sectors = [0; 512];
        } else if let Some(slot) = self.partial.get(&block) {
            let have = bitmaps.get(*slot)?;
            sectors.iter_mut().zip(have).for_each(|(sectors, have)| *sectors &= !have);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitmaps_beyond_memory_are_kept_in_a_file() {
        let mut bitmaps = Bitmaps::default();
        let sectors = |slot: u32| -> Sectors { std::array::from_fn(|at| (slot as usize * 3 + at) as u8) };
        for slot in 0..IN_MEMORY + 100 {
            assert_eq!(bitmaps.push(&sectors(slot)).unwrap(), Some(slot));
        }
        for slot in [0, 1, IN_MEMORY - 1, IN_MEMORY, IN_MEMORY + 99] {
            assert!(bitmaps.get(slot).unwrap() == sectors(slot), "{slot}");
        }
        assert_eq!(bitmaps.memory.len(), 16 << 20);
    }
}
