//! Reading the content of an image.

use std::ops::Range;

use vhd::{BlockPlace, Place, bitmap};

use crate::error::Error;
use crate::image::Image;
use crate::layer::Layer;
use crate::scan::next_extent;

/// Reads the content of a disk; keeps the bitmap of the block it is in, for each layer.
#[derive(Debug)]
pub struct Reader {
    image: Image,
    bits: Vec<Option<(BlockPlace, Vec<u8>)>>,
}

/// Where a byte of the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// In the file of this layer.
    pub(crate) layer: usize,
    /// Byte of the file.
    pub(crate) offset: u64,
}

impl Reader {
    pub(crate) fn new(image: Image) -> Self {
        let bits = vec![None; image.layers().len()];
        Self { image, bits }
    }

    /// The image it reads.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Fills `buffer` with the disk's bytes from `virtual_offset` on. What is not allocated in any
    /// layer and what lies behind the end of the disk is zero.
    ///
    /// # Errors
    /// [`Error::Read`], and [`Error::Changed`] when a file is shorter than it was.
    pub fn read(&mut self, virtual_offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let mut at = virtual_offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let (found, len) = self.piece(at)?;
            // At most the rest of a buffer.
            let len = usize::try_from(len).unwrap_or(usize::MAX).min(rest.len());
            if len < rest.len()
                && len < SHORT
                && let Some(layers) = self.mixed(at)?
            {
                let len = usize::try_from(layers.len).unwrap_or(usize::MAX).min(rest.len());
                let (part, behind) = rest.split_at_mut(len);
                self.read_mixed(&layers.blocks, at, part)?;
                at += len as u64;
                rest = behind;
                continue;
            }
            let (part, behind) = rest.split_at_mut(len);
            match found {
                Some(Found { layer, offset }) => self.image.layers()[layer].read_file(offset, part)?,
                None => part.fill(0),
            }
            at += len as u64;
            rest = behind;
        }
        Ok(())
    }

    /// The layers that hold parts of what starts at `at`, when bitmaps there are mixed; `None` when
    /// none of them has a block there.
    fn mixed(&self, at: u64) -> Result<Option<Mixed>, Error> {
        let left = self.image.virtual_size().saturating_sub(at);
        let (first, len) = self.image.first_layer(at);
        let mut mixed = Mixed { blocks: Vec::new(), len: len.min(left) };
        for layer in first.unwrap_or(usize::MAX)..self.image.layers().len() {
            match place_in(&self.image.layers()[layer], at) {
                Some(Place::Block(block)) => {
                    mixed.len = mixed.len.min(block.bytes.end - at);
                    mixed.blocks.push((layer, Some(block)));
                }
                Some(Place::File { len, .. }) => {
                    mixed.len = mixed.len.min(len);
                    mixed.blocks.push((layer, None));
                    break;
                }
                Some(Place::Unallocated { len }) => mixed.len = mixed.len.min(len),
                // Behind the end of a smaller parent.
                None => {}
            }
        }
        Ok((!mixed.blocks.is_empty()).then_some(mixed))
    }

    /// Reads each layer's part at once, from the root up, and keeps of it what its bitmap says is
    /// there: scattered bits would otherwise cost a read for each run.
    fn read_mixed(
        &mut self,
        blocks: &[(usize, Option<BlockPlace>)],
        at: u64,
        part: &mut [u8],
    ) -> Result<(), Error> {
        part.fill(0);
        let mut own = Vec::new();
        let end = at + part.len() as u64;
        for (layer, block) in blocks.iter().rev() {
            let Some(block) = block else {
                self.image.layers()[*layer].read_file(at, part)?;
                continue;
            };
            let mut from = at;
            while from < end {
                let (place, len) = self.in_block(*layer, block, from)?;
                let behind = end.min(from + len);
                if place.is_some() {
                    if own.is_empty() {
                        own.resize(part.len(), 0);
                        let offset = block.data_offset + (at - block.bytes.start);
                        self.image.layers()[*layer].read_file(offset, &mut own)?;
                    }
                    // Both lie in the part.
                    let place = |byte: u64| usize::try_from(byte - at).unwrap_or(usize::MAX);
                    let run = place(from)..place(behind);
                    part[run.clone()].copy_from_slice(&own[run]);
                }
                from = behind;
            }
            own.clear();
        }
        Ok(())
    }

    /// The next part of the disk from `from` on, and before `end`, that may hold something else than
    /// zeros: what the file system calls data, or what a VHD's table and bitmaps call allocated.
    /// Neighbouring parts may come one by one.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn next_data(&mut self, from: u64, end: u64) -> Result<Option<Range<u64>>, Error> {
        let end = end.min(self.image.virtual_size());
        let mut at = from;
        while at < end {
            let (found, len) = self.piece(at)?;
            let behind = at.saturating_add(len).min(end);
            match found {
                None => {}
                // The holes of a raw image, and of the data of a fixed VHD, are those of the file.
                Some(Found { layer, .. }) if self.image.layers()[layer].is_flat() => {
                    if let Some(extent) = next_extent(&self.image.layers()[layer], at, behind) {
                        return Ok(Some(extent));
                    }
                }
                Some(_) => return Ok(Some(at..behind)),
            }
            at = behind;
        }
        Ok(None)
    }

    /// Where the byte of the disk is (`None`: it is zero), and for how many bytes that goes on.
    pub(crate) fn piece(&mut self, at: u64) -> Result<(Option<Found>, u64), Error> {
        let Some(left) = self.image.virtual_size().checked_sub(at).filter(|left| *left > 0) else {
            return Ok((None, u64::MAX - at));
        };
        let (first, len) = self.image.first_layer(at);
        let mut len = len.min(left);
        for layer in first.unwrap_or(usize::MAX)..self.image.layers().len() {
            let (offset, own) = match place_in(&self.image.layers()[layer], at) {
                Some(Place::File { offset, len }) => (Some(offset), len),
                Some(Place::Unallocated { len }) => (None, len),
                Some(Place::Block(block)) => self.in_block(layer, &block, at)?,
                // Behind the end of a smaller parent.
                None => continue,
            };
            len = len.min(own);
            if let Some(offset) = offset {
                return Ok((Some(Found { layer, offset }), len));
            }
        }
        Ok((None, len))
    }

    fn in_block(&mut self, layer: usize, block: &BlockPlace, at: u64) -> Result<(Option<u64>, u64), Error> {
        let bits = self.bitmap(layer, block)?;
        let inside = at - block.bytes.start;
        // A block has at most 256 MiB.
        let sector = u32::try_from(inside / 512).unwrap_or(u32::MAX);
        let end = bitmap::run_end(bits, sector, block.sectors());
        let end = block.bytes.end.min(block.bytes.start + u64::from(end) * 512);
        let place = bitmap::is_set(bits, sector).then_some(block.data_offset + inside);
        Ok((place, end - at))
    }

    /// The sector bitmap of a block.
    pub(crate) fn bitmap(&mut self, layer: usize, block: &BlockPlace) -> Result<&[u8], Error> {
        let current = &mut self.bits[layer];
        if !matches!(current, Some((current, _)) if current == block) {
            let mut bits = current.take().map(|(_, bits)| bits).unwrap_or_default();
            bits.resize(block.bitmap_len as usize, 0);
            self.image.layers()[layer].read_file(block.bitmap_offset, &mut bits)?;
            *current = Some((block.clone(), bits));
        }
        Ok(current.as_ref().map(|(_, bits)| bits.as_slice()).unwrap_or_default())
    }
}

/// Runs shorter than this are not read one by one.
const SHORT: usize = 64 << 10;

/// What to put together for a part of a disk.
struct Mixed {
    /// From the leaf on; `None` is a flat layer, behind which nothing is seen.
    blocks: Vec<(usize, Option<BlockPlace>)>,
    /// For so many bytes.
    len: u64,
}

fn place_in(layer: &Layer, at: u64) -> Option<Place> {
    match layer.map() {
        Some(map) => map.place(at),
        None => {
            let len = layer.file_len().checked_sub(at).filter(|len| *len > 0)?;
            Some(Place::File { offset: at, len })
        }
    }
}
