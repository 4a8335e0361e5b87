//! Reading the content of an image.

use std::ops::Range;

use vhd::{BlockPlace, Place};

use crate::error::Error;
use crate::image::Image;
use crate::layer::DiskFile;
use crate::scan::{likely_extent, next_extent};
use crate::source::{Extent, Memo};

/// Reads the content of a disk; keeps the table that it used last, for each layer.
#[derive(Debug)]
pub struct Reader {
    image: Image,
    memos: Vec<Memo>,
}

/// Where a byte of the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// In the file of this layer.
    pub(crate) layer: usize,
    /// Byte of the file; `None` where the bytes are not there as they are on the disk.
    pub(crate) offset: Option<u64>,
}

impl Reader {
    pub(crate) fn new(image: Image) -> Self {
        let memos = image.layers().iter().map(|_| Memo::default()).collect();
        Self { image, memos }
    }

    /// The image it reads.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Fills `buffer` with the disk's bytes from `virtual_offset` on. What is not allocated in any
    /// layer and what lies behind the end of the disk is zero.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Changed`] when a file is shorter than it was, and [`Error::Qcow2`] when a
    /// table or a compressed cluster of such an image is damaged.
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
                Some(Found { layer, offset: Some(offset) }) => {
                    self.image.layers()[layer].disk_file().read_at(offset, part)?;
                }
                Some(Found { layer, offset: None }) => {
                    let (memo, layer) = (&mut self.memos[layer], &self.image.layers()[layer]);
                    layer.source().decode(layer.disk_file(), at, part, memo)?;
                }
                None => part.fill(0),
            }
            at += len as u64;
            rest = behind;
        }
        Ok(())
    }

    /// The layers that hold parts of what starts at `at`, when bitmaps there are mixed; `None` when
    /// none of them has a block there.
    fn mixed(&mut self, at: u64) -> Result<Option<Mixed>, Error> {
        let left = self.image.virtual_size().saturating_sub(at);
        let (first, len) = self.image.first_layer(at);
        let mut mixed = Mixed { blocks: Vec::new(), len: len.min(left) };
        for layer in first.unwrap_or(usize::MAX)..self.image.layers().len() {
            let own = &self.image.layers()[layer];
            let seen = self.image.seen(layer, at);
            if seen == 0 {
                break;
            }
            mixed.len = mixed.len.min(seen);
            let place = match own.vhd() {
                Some(vhd) => vhd.place(own.disk_file(), at, &mut self.memos[layer])?,
                None if own.source().is_flat() => {
                    let left = own.virtual_size().saturating_sub(at);
                    (left > 0).then_some(Place::File { offset: at, len: left })
                }
                // Another format has no bitmaps to mix.
                None => return Ok(None),
            };
            match place {
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
                // Behind the end of a smaller parent there is nothing more.
                None => break,
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
            let file = self.image.layers()[*layer].disk_file();
            let (Some(block), Some(vhd)) = (block, self.image.layers()[*layer].vhd()) else {
                file.read_at(at, part)?;
                continue;
            };
            let mut from = at;
            while from < end {
                let (extent, len) = vhd.in_block(file, block, from, &mut self.memos[*layer])?;
                let behind = end.min(from + len);
                if extent != Extent::Absent {
                    if own.is_empty() {
                        own.resize(part.len(), 0);
                        file.read_at(block.data_offset + (at - block.bytes.start), &mut own)?;
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
        self.next(from, end, next_extent)
    }

    /// As [`Reader::next_data`], for whoever looks at the bytes anyway: of a flat image, the end of what the
    /// file system calls data is not looked for, which costs it a step for each of its pages. Whoever asks piece by piece
    /// pays them again and again: minutes for a full disk of 2 GiB in tmpfs.
    pub(crate) fn next_likely(&mut self, from: u64, end: u64) -> Result<Option<Range<u64>>, Error> {
        self.next(from, end, likely_extent)
    }

    fn next(
        &mut self,
        from: u64,
        end: u64,
        in_file: fn(&DiskFile, u64, u64) -> Option<Range<u64>>,
    ) -> Result<Option<Range<u64>>, Error> {
        let end = end.min(self.image.virtual_size());
        let mut at = from;
        while at < end {
            let (found, len) = self.piece(at)?;
            let behind = at.saturating_add(len).min(end);
            match found {
                None => {}
                // The holes of a raw image, and of the data of a fixed VHD, are those of the file.
                Some(Found { layer, .. }) if self.image.layers()[layer].source().is_flat() => {
                    let file = self.image.layers()[layer].disk_file();
                    if let Some(extent) = in_file(file, at, behind) {
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
            let (memo, layer_file) = (&mut self.memos[layer], &self.image.layers()[layer]);
            let seen = self.image.seen(layer, at);
            if seen == 0 {
                break;
            }
            len = len.min(seen);
            let found = layer_file.source().extent(layer_file.disk_file(), at, memo)?;
            // Behind the end of a smaller parent there is nothing more.
            let Some((extent, own)) = found else { break };
            if own == 0 {
                // Nobody would ever get past it.
                let file = layer_file.disk_file();
                return Err(Error::of_source(
                    file,
                    "its reader knows of no byte at a place inside of the disk",
                ));
            }
            len = len.min(own);
            let offset = match extent {
                Extent::Absent => continue,
                Extent::Zeros => return Ok((None, len)),
                Extent::At(offset) => Some(offset),
                Extent::Encoded => None,
            };
            return Ok((Some(Found { layer, offset }), len));
        }
        Ok((None, len))
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
