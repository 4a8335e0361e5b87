//! VHDs, one by one; what makes them chains is in `image`.

use vhd::{BlockPlace, DiskMap, Place, Probe, ReadError, bitmap};

use super::{BlockSource, Extent, Memo};
use crate::error::Error;
use crate::image::{Format, Opening};
use crate::layer::DiskFile;
use crate::parents::Parents;

#[derive(Debug)]
struct Vhd(DiskMap);

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

pub(super) fn open(file: &DiskFile, opening: &Opening) -> Result<Box<dyn BlockSource>, Error> {
    let read_at = |offset, buffer: &mut [u8]| file.read_at(offset, buffer);
    let failed = |source| Error::Format { path: file.path().to_owned(), source };
    let map = match DiskMap::read(file.len(), opening.end_footer, &opening.limits, read_at) {
        Ok(map) => map,
        Err(ReadError::Format(source)) => return Err(failed(source)),
        Err(ReadError::Io { source, .. }) => return Err(source),
    };
    // Whoever only looks at it may do so.
    if opening.parents != Parents::Ignore
        && let Some(at) = map.batmap_offset().filter(|at| at + SECTOR as u64 <= file.len())
    {
        let mut batmap = [0; SECTOR];
        file.read_at(at, &mut batmap)?;
        if DiskMap::is_encrypted(&batmap) {
            return Err(failed(vhd::Error::Encrypted { at }));
        }
    }
    Ok(Box::new(Vhd(map)))
}

const SECTOR: usize = 512;

impl BlockSource for Vhd {
    fn format(&self) -> Format {
        Format::Vhd(self.0.footer().disk_type)
    }

    fn virtual_size(&self) -> u64 {
        self.0.virtual_size()
    }

    fn extent(&self, file: &DiskFile, at: u64, memo: &mut Memo) -> Result<Option<(Extent, u64)>, Error> {
        Ok(match self.0.place(at) {
            Some(Place::File { offset, len }) => Some((Extent::At(offset), len)),
            Some(Place::Unallocated { len }) => Some((Extent::Absent, len)),
            Some(Place::Block(block)) => Some(in_block(file, &block, at, memo)?),
            None => None,
        })
    }

    fn is_flat(&self) -> bool {
        self.0.header().is_none()
    }

    fn vhd(&self) -> Option<&DiskMap> {
        Some(&self.0)
    }
}

/// What a block has at the byte `at` of the disk, and for how many bytes.
pub(crate) fn in_block(
    file: &DiskFile,
    block: &BlockPlace,
    at: u64,
    memo: &mut Memo,
) -> Result<(Extent, u64), Error> {
    let bits = memo.table.get(block.bitmap_offset, |bits| {
        bits.resize(block.bitmap_len as usize, 0);
        file.read_at(block.bitmap_offset, bits)
    })?;
    let inside = at - block.bytes.start;
    // A block has at most 256 MiB.
    let sector = u32::try_from(inside / 512).unwrap_or(u32::MAX);
    let end = bitmap::run_end(bits, sector, block.sectors());
    let end = block.bytes.end.min(block.bytes.start + u64::from(end) * 512);
    let there = bitmap::is_set(bits, sector);
    Ok((if there { Extent::At(block.data_offset + inside) } else { Extent::Absent }, end - at))
}
