//! Reading a VHD from a stream, forward only.
//!
//! ```text
//! FrontFooter ─► Header ─► Table ─┬► Bitmap ─► Data ─┬─► Tail ─► end
//!      (gaps between all of them) └──────◄───────────┘
//! ```
//!
//! Everything that footer, header and table can tell is checked before the first byte of data is
//! given out. Blocks come in the order of the file. What the stream ends with can of course only
//! be judged at the end: [`Decoder::finish`] must say yes before the data are trusted.

use std::ops::Range;

use crate::bitmap;
use crate::error::{Error, Structure};
use crate::format::{DiskType, DynamicHeader, FOOTER_LEN, Footer, HEADER_LEN, SECTOR};
use crate::limits::Limits;
use crate::map::DiskMap;
use crate::table::{self, Placement, Shape};

mod ahead;
mod fixed;
mod input;

pub use ahead::Ahead;
pub use fixed::FixedDecoder;

/// What a [`Decoder`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// The first footer was read and accepted. (Of a fixed disk: the only one, after the data.)
    Footer(Footer),
    /// The dynamic header was read and accepted.
    Header(Box<DynamicHeader>),
    /// The block allocation table was read and accepted; data follow.
    Table {
        /// Number of blocks in the file.
        blocks: u32,
        /// The least length in bytes that the stream must have; the length, if nothing stands
        /// between the last block and the footer.
        stream_len: u64,
    },
    /// A block starts. Its sector bitmap is at [`Decoder::bitmap`] until the next event.
    Block {
        /// The bytes of the disk it stands for, cut at the end of the disk.
        bytes: Range<u64>,
        /// Whether all sectors are present. Absent sectors are zero, or as in the parent.
        full: bool,
    },
    /// Bytes of the disk.
    Data {
        /// Where on the disk, in bytes.
        virtual_offset: u64,
        /// The bytes; never empty.
        bytes: &'a [u8],
    },
    /// Bytes of the stream that belong to nothing: batmaps, locators, padding.
    Gap {
        /// Where in the stream, in bytes.
        offset: u64,
        /// How many.
        len: u64,
    },
}

/// What a complete stream contained.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The footer.
    pub footer: Footer,
    /// The header, unless the disk is fixed.
    pub header: Option<Box<DynamicHeader>>,
    /// Number of blocks; 0 for a fixed disk.
    pub blocks: u32,
    /// Length of the stream in bytes.
    pub stream_len: u64,
}

/// A push decoder for the VHD stream of an unknown writer.
///
/// Memory is bounded by the table: 4 bytes for each block of the disk while it is read (4 MiB for 2 TiB), 12
/// for each run of blocks that follow each other on the disk and in the file, and one bitmap. Nothing is taken on the word of the header;
/// buffers grow with the bytes that arrive.
///
/// ```
/// # fn demo(chunks: Vec<Vec<u8>>) -> Result<(), vhd::Error> {
/// let mut decoder = vhd::Decoder::new();
/// for chunk in &chunks {
///     let mut input = chunk.as_slice();
///     while let Some(event) = decoder.feed(&mut input)? {
///         if let vhd::Event::Data { virtual_offset, bytes } = event {
///             println!("{} bytes at {virtual_offset}", bytes.len());
///         }
///     }
/// }
/// let summary = decoder.finish()?;
/// println!("{} blocks", summary.blocks);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Decoder {
    limits: Limits,
    len: Option<u64>,
    state: State,
    /// Bytes consumed.
    position: u64,
    /// Bytes of structures that did not come in one piece.
    buffer: Vec<u8>,
    /// Unused bytes passed so far.
    unused: u64,
    footer: Option<Footer>,
    header: Option<Box<DynamicHeader>>,
    shape: Option<Shape>,
    placed: Placement,
    bitmap: Vec<u8>,
    failed: Option<Error>,
}

#[derive(Debug, Clone)]
enum State {
    FrontFooter,
    Header,
    Table,
    /// The first sector of blktap's map of full blocks, which tells whether the data that follow are encrypted.
    Batmap,
    /// The bitmap of the block with this index in `placed`.
    Bitmap(usize),
    /// The data of that block.
    Data(usize, Run),
    /// Behind the last block; `ended` is where a copy of the footer was last seen to end.
    Tail {
        ended: Option<u64>,
    },
    /// The data of a fixed disk of this size.
    FixedData(u64),
    FixedFooter,
    Done,
}

/// How far the data of a block have come, and how far what the bitmap says there goes on; both in bytes of the block.
#[derive(Debug, Clone, Copy)]
struct Run {
    done: u32,
    end: u32,
    present: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// For a dynamic or differencing disk in a stream of unknown length.
    pub fn new() -> Self {
        Self::start(State::FrontFooter, None)
    }

    /// For a dynamic or differencing disk in a stream of exactly `len` bytes. Blocks and footers
    /// that do not fit the length are found before any data is given out.
    pub fn with_len(len: u64) -> Self {
        Self::start(State::FrontFooter, Some(len))
    }

    /// For a fixed disk in a stream of exactly `len` bytes; [`FixedDecoder`] is for one that ends somewhere. Its only footer is at the end, so the
    /// data are given out unseen; [`Decoder::finish`] tells whether it was a VHD at all.
    pub fn fixed(len: u64) -> Self {
        let size = len.checked_sub(FOOTER_LEN as u64).filter(|size| *size > 0);
        Self::start(size.map_or(State::FixedFooter, State::FixedData), Some(len))
    }

    fn start(state: State, len: Option<u64>) -> Self {
        Self {
            limits: Limits::default(),
            len,
            state,
            position: 0,
            buffer: Vec::new(),
            unused: 0,
            footer: None,
            header: None,
            shape: None,
            placed: Placement::default(),
            bitmap: Vec::new(),
            failed: None,
        }
    }

    /// With other limits than the default ones.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Bytes of the stream consumed so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The footer, once read.
    pub fn footer(&self) -> Option<&Footer> {
        self.footer.as_ref()
    }

    /// The header, once read.
    pub fn header(&self) -> Option<&DynamicHeader> {
        self.header.as_deref()
    }

    /// The bytes of the disk that the blocks stand for, in the order in which they come; none before
    /// [`Event::Table`].
    pub fn allocation(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.shape.into_iter().flat_map(|shape| {
            self.placed.iter().map(move |placed| {
                let start = u64::from(placed.block) * u64::from(shape.block_size);
                start..shape.virtual_size.min(start + u64::from(shape.block_size))
            })
        })
    }

    /// The sector bitmap of the current block; bits as in [`bitmap`](crate::bitmap).
    pub fn bitmap(&self) -> &[u8] {
        &self.bitmap
    }

    /// Takes bytes from the front of `input` up to the next event; `None` means that all of
    /// `input` was taken and more is needed.
    ///
    /// However the stream is cut into inputs, the events are the same, except that `Data` and
    /// `Gap` come in the pieces in which they arrive.
    ///
    /// # Errors
    /// Any [`Error`] of a malformed VHD; the decoder is of no use afterwards and repeats it.
    pub fn feed<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.step(input).inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn step<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Error> {
        while !input.is_empty() {
            let event = match self.state {
                State::FrontFooter => self.front_footer(input)?,
                State::Header => self.read_header(input)?,
                State::Table => self.read_table(input)?,
                State::Batmap => self.read_batmap(input)?,
                State::Bitmap(index) => self.read_bitmap(input, index)?,
                State::Data(index, run) => self.data(input, index, run),
                State::Tail { ended } => self.tail(input, ended)?,
                State::FixedData(size) => Some(self.fixed_data(input, size)),
                State::FixedFooter => self.fixed_footer(input)?,
                State::Done => {
                    return Err(Error::TrailingData { at: self.position, len: input.len() as u64 });
                }
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// [`Error::Truncated`] when it is not complete, [`Error::MissingEndFooter`],
    /// [`Error::FooterMismatch`] or [`Error::TrailingData`] when it does not end with its footer,
    /// and the error that [`Decoder::feed`] gave, if any.
    pub fn finish(mut self) -> Result<Summary, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.state {
            State::Done => {}
            // With a known length, a complete stream is done.
            State::Tail { ended } if self.len.is_none() && self.position >= self.table_end() => {
                self.check_tail(ended)?;
            }
            _ => return Err(self.truncated()),
        }
        let Some(footer) = self.footer.take() else { return Err(self.truncated()) };
        Ok(Summary {
            footer,
            header: self.header,
            blocks: u32::try_from(self.placed.len()).unwrap_or(u32::MAX),
            stream_len: self.position,
        })
    }

    fn front_footer<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Error> {
        let whole = self.collect(input, FOOTER_LEN);
        if let Some(cookie) = self.buffer.first_chunk::<8>().filter(|c| !Footer::has_cookie(*c)) {
            return Err(Error::NotVhd { at: 0, found: *cookie });
        }
        if !whole {
            return Ok(None);
        }
        let footer = Footer::parse(&self.take_array(), 0, Structure::FrontFooter)?;
        if footer.disk_type == DiskType::Fixed {
            return Err(Error::FrontFooterFixed);
        }
        table::check_footer(&footer, &self.limits)?;
        self.fits(Structure::Header, footer.data_offset + HEADER_LEN as u64)?;
        self.footer = Some(footer.clone());
        self.state = State::Header;
        Ok(Some(Event::Footer(footer)))
    }

    fn read_header<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Error> {
        let Some(footer) = self.footer.clone() else { return Err(self.truncated()) };
        let offset = footer.data_offset;
        if let Some(gap) = self.skip_to(input, offset, Structure::Header)? {
            return Ok(Some(gap));
        }
        if !self.collect(input, HEADER_LEN) {
            return Ok(None);
        }
        let header = Box::new(DynamicHeader::parse(&self.take_array(), offset)?);
        let shape = table::check_header(&footer, &header, &self.limits)?;
        self.fits(Structure::Table, header.table_offset + header.table_len())?;
        self.forward(Structure::Table, header.table_offset)?;
        self.shape = Some(shape);
        self.header = Some(header.clone());
        self.state = State::Table;
        Ok(Some(Event::Header(header)))
    }

    fn read_table<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Error> {
        let (Some(header), Some(shape)) = (&self.header, self.shape) else { return Err(self.truncated()) };
        let offset = header.table_offset;
        if self.position < offset && self.buffer.is_empty() {
            return self.skip_to(input, offset, Structure::Table);
        }
        // The limit on entries keeps this far below 4 GiB.
        let want = shape.blocks as usize * 4;
        // One that came in one piece is read where it is.
        let whole = input.split_at_checked(want).filter(|_| self.buffer.is_empty());
        if whole.is_none() && !self.collect(input, want) {
            return Ok(None);
        }
        let (Some(footer), Some(header)) = (&self.footer, &self.header) else { return Ok(None) };
        let end = self.len.map(|len| len.saturating_sub(FOOTER_LEN as u64));
        let table = whole.map_or(self.buffer.as_slice(), |(table, _)| table);
        let placed = table::place(table, footer, header, &shape, end)?;
        self.buffer = Vec::new();
        if let Some((_, rest)) = whole {
            self.position += want as u64;
            *input = rest;
        }
        let behind = header.table_offset + header.table_len();
        if let Some(first) = placed.first().filter(|first| first.offset() < behind) {
            let (offset, position) = (first.offset(), self.position);
            return Err(Error::NotForward { what: Structure::Bitmap, offset, position });
        }
        let stream_len =
            placed.last().map_or(behind, |last| last.offset() + shape.block_len()) + FOOTER_LEN as u64;
        self.placed = placed;
        self.fits(Structure::EndFooter, stream_len)?;
        let room = self.placed.first().is_some_and(|first| first.offset() >= behind + SECTOR);
        self.state = if room && self.is_blktap() { State::Batmap } else { self.state_before(0) };
        let blocks = u32::try_from(self.placed.len()).unwrap_or(u32::MAX);
        Ok(Some(Event::Table { blocks, stream_len }))
    }

    fn state_before(&self, index: usize) -> State {
        if index < self.placed.len() { State::Bitmap(index) } else { State::Tail { ended: None } }
    }

    fn read_batmap<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Error> {
        let Some(first) = self.placed.first() else { return Err(self.truncated()) };
        let (offset, at) = (first.offset(), self.table_end());
        if self.position < at {
            return Ok(Some(self.pass(input, at)));
        }
        let gap = self.pass_batmap(input, offset, Structure::Bitmap)?;
        if gap.is_some() {
            self.state = State::Bitmap(0);
        }
        Ok(gap)
    }

    /// Takes the first sector of blktap's map, which is part of what lies between the table and `offset`, where `before` starts.
    fn pass_batmap<'a>(
        &mut self,
        input: &mut &'a [u8],
        offset: u64,
        before: Structure,
    ) -> Result<Option<Event<'a>>, Error> {
        if self.buffer.is_empty() {
            self.gap_to(offset, before)?;
        }
        if !self.collect(input, FOOTER_LEN) {
            return Ok(None);
        }
        self.refuse_encrypted()?;
        self.buffer.clear();
        self.unused += SECTOR;
        Ok(Some(Event::Gap { offset: self.table_end(), len: SECTOR }))
    }

    fn is_blktap(&self) -> bool {
        self.footer.as_ref().is_some_and(|footer| footer.creator.application == *b"tap\0")
    }

    /// Looks at the sector behind the table, which is in the buffer.
    fn refuse_encrypted(&self) -> Result<(), Error> {
        let encrypted = self.buffer.first_chunk().is_some_and(DiskMap::is_encrypted);
        if encrypted { Err(Error::Encrypted { at: self.table_end() }) } else { Ok(()) }
    }

    fn read_bitmap<'a>(&mut self, input: &mut &'a [u8], index: usize) -> Result<Option<Event<'a>>, Error> {
        let Some(shape) = self.shape else { return Err(self.truncated()) };
        let Some(placed) = self.placed.get(index) else { return Err(self.truncated()) };
        if self.buffer.is_empty() && self.position < placed.offset() {
            if self.position < self.table_end() {
                // Entries that the disk does not need, and padding, are part of the table.
                return Ok(Some(self.pass(input, self.table_end())));
            }
            return self.skip_to(input, placed.offset(), Structure::Bitmap);
        }
        if !self.collect(input, shape.bitmap_len as usize) {
            return Ok(None);
        }
        std::mem::swap(&mut self.bitmap, &mut self.buffer);
        self.buffer.clear();
        self.state = State::Data(index, self.run(shape, 0));
        let start = u64::from(placed.block) * u64::from(shape.block_size);
        let end = shape.virtual_size.min(start + u64::from(shape.block_size));
        Ok(Some(Event::Block {
            bytes: start..end,
            full: bitmap::is_full(&self.bitmap, sectors_of(end - start)),
        }))
    }

    /// What the bitmap says from this byte of a block on, which is inside of it. Data come in pieces, runs mostly have
    /// the length of a block, and looking for their end takes time: it is done once.
    fn run(&self, shape: Shape, done: u32) -> Run {
        #[cfg(test)]
        ahead::RUNS.with(|runs| runs.set(runs.get() + 1));
        let sector = done / 512;
        let end = bitmap::run_end(&self.bitmap, sector, shape.sectors()) * 512;
        Run { done, end, present: bitmap::is_set(&self.bitmap, sector) }
    }

    fn data<'a>(&mut self, input: &mut &'a [u8], index: usize, run: Run) -> Option<Event<'a>> {
        let shape = self.shape?;
        let Run { done, end, present } = run;
        let len = input.len().min((end - done) as usize);
        let (bytes, rest) = input.split_at(len);
        *input = rest;
        // `len` is at most the run, which fits 32 bits.
        self.past_data(index, run, u32::try_from(len).unwrap_or(end - done));
        let block = self.placed.get(index)?.block;
        let virtual_offset = u64::from(block) * u64::from(shape.block_size) + u64::from(done);
        let visible = shape.virtual_size.saturating_sub(virtual_offset).min(len as u64);
        // At most `len`, which is a usize.
        let bytes = &bytes[..usize::try_from(visible).unwrap_or(len)];
        (present && !bytes.is_empty()).then_some(Event::Data { virtual_offset, bytes })
    }

    /// Goes on behind `len` bytes of a block's data, which end where the run does, or before.
    fn past_data(&mut self, index: usize, run: Run, len: u32) {
        self.position += u64::from(len);
        let done = run.done + len;
        self.state = match self.shape {
            Some(_) if done < run.end => State::Data(index, Run { done, ..run }),
            Some(shape) if done < shape.block_size => State::Data(index, self.run(shape, done)),
            _ => self.state_before(index + 1),
        };
    }

    fn tail<'a>(&mut self, input: &mut &'a [u8], ended: Option<u64>) -> Result<Option<Event<'a>>, Error> {
        if self.position < self.table_end() {
            return Ok(Some(self.pass(input, self.table_end())));
        }
        // Behind a table without a block, only this sector tells that the blocks to come will be encrypted.
        let batmap_end = self.table_end() + SECTOR;
        let mapped = self.placed.first().is_none() && self.is_blktap();
        if let Some(len) = self.len {
            let footer_at = len.saturating_sub(FOOTER_LEN as u64);
            if mapped && self.position < batmap_end && batmap_end <= footer_at {
                return self.pass_batmap(input, footer_at, Structure::EndFooter);
            }
            if self.buffer.is_empty() && self.position < footer_at {
                return self.skip_to(input, footer_at, Structure::EndFooter);
            }
        }
        if self.buffer.len() == FOOTER_LEN {
            // The sector before was not the last one.
            self.buffer.clear();
            self.unused += FOOTER_LEN as u64;
            self.slack(Structure::EndFooter, self.position)?;
        }
        if !self.collect(input, FOOTER_LEN) {
            return Ok(None);
        }
        if mapped && self.position == batmap_end {
            self.refuse_encrypted()?;
        }
        if self.len.is_some() {
            self.check_tail(None)?;
            self.buffer.clear();
            self.state = State::Done;
        } else if Footer::has_cookie(&self.buffer) {
            self.state = State::Tail { ended: ended.or(Some(self.position)) };
        }
        Ok(None)
    }

    /// Judges the last sector, which is in the buffer.
    fn check_tail(&self, ended: Option<u64>) -> Result<(), Error> {
        let missing = |at| Error::MissingEndFooter { at };
        let Some(bytes) = self.buffer.first_chunk::<FOOTER_LEN>() else {
            return Err(match (ended, self.buffer.len()) {
                (Some(at), _) => Error::TrailingData { at, len: self.position - at },
                (None, 0) => missing(self.position),
                _ => self.truncated(),
            });
        };
        let at = self.position - FOOTER_LEN as u64;
        let (Ok(last), Some(first)) = (Footer::parse(bytes, at, Structure::EndFooter), &self.footer) else {
            if Footer::has_cookie(bytes) {
                return Footer::parse(bytes, at, Structure::EndFooter).map(|_| ());
            }
            return Err(match ended {
                Some(at) => Error::TrailingData { at, len: self.position - at },
                None => missing(self.position),
            });
        };
        first.difference(&last).map_or(Ok(()), |field| Err(Error::FooterMismatch { field }))
    }

    fn fixed_data<'a>(&mut self, input: &mut &'a [u8], size: u64) -> Event<'a> {
        let left = size - self.position;
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let (bytes, rest) = input.split_at(len);
        *input = rest;
        let virtual_offset = self.position;
        self.position += len as u64;
        if self.position == size {
            self.state = State::FixedFooter;
        }
        Event::Data { virtual_offset, bytes }
    }

    fn fixed_footer<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Error> {
        if !self.collect(input, FOOTER_LEN) {
            return Ok(None);
        }
        let at = self.position - FOOTER_LEN as u64;
        let footer = Footer::parse(&self.take_array(), at, Structure::EndFooter)?;
        check_fixed(&footer, self.position, &self.limits)?;
        self.footer = Some(footer.clone());
        self.state = State::Done;
        Ok(Some(Event::Footer(footer)))
    }

    /// Refuses a structure that ends behind the announced end of the stream.
    fn fits(&self, what: Structure, end: u64) -> Result<(), Error> {
        match self.len {
            Some(len) if end > len => Err(Error::Truncated { what, at: len, missing: end - len }),
            _ => Ok(()),
        }
    }

    /// The error for a stream that ends now.
    fn truncated(&self) -> Error {
        let at = self.position;
        let header_end = self.footer.as_ref().map_or(0, |f| f.data_offset.saturating_add(HEADER_LEN as u64));
        let table_end = self.table_end();
        let footer = FOOTER_LEN as u64;
        let (what, end) = match self.state {
            State::FrontFooter => (Structure::FrontFooter, footer),
            State::Header if self.buffer.is_empty() => (Structure::Gap, header_end),
            State::Header => (Structure::Header, header_end),
            State::Table => (Structure::Table, table_end),
            State::Batmap => (Structure::Gap, self.expected_end()),
            State::Bitmap(_) if self.buffer.is_empty() => (Structure::Gap, self.expected_end()),
            State::Bitmap(_) => (Structure::Bitmap, self.expected_end()),
            State::Data(..) => (Structure::Data, self.expected_end()),
            State::FixedData(size) => (Structure::Data, size + footer),
            State::FixedFooter => (Structure::EndFooter, self.len.unwrap_or(at)),
            State::Tail { .. } if at < table_end => (Structure::Table, table_end + footer),
            State::Tail { .. } | State::Done => (Structure::EndFooter, at.next_multiple_of(SECTOR)),
        };
        // Nothing shorter than a footer is a disk.
        let end = self.len.map_or(end, |len| len.max(footer));
        Error::Truncated { what, at, missing: end.saturating_sub(at).max(1) }
    }

    /// Where the table ends, padding included; 0 before the header is read.
    fn table_end(&self) -> u64 {
        self.header.as_ref().map_or(0, |header| header.table_offset + header.table_len())
    }

    fn expected_end(&self) -> u64 {
        let block_len = self.shape.map_or(0, |shape| shape.block_len());
        self.placed.last().map_or(0, |last| last.offset() + block_len + FOOTER_LEN as u64)
    }
}

/// Sectors that `bytes` of a disk touch; at most those of one block.
fn sectors_of(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(SECTOR)).unwrap_or(u32::MAX)
}

/// Checks the footer of a fixed disk in a file of `file_len` bytes.
pub(crate) fn check_fixed(footer: &Footer, file_len: u64, limits: &Limits) -> Result<(), Error> {
    let virtual_size = footer.current_size;
    table::check_footer(footer, limits)?;
    if footer.disk_type != DiskType::Fixed || virtual_size.checked_add(FOOTER_LEN as u64) != Some(file_len) {
        return Err(Error::FixedSize { virtual_size, file_len });
    }
    Ok(())
}
