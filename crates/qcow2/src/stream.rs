//! Reading an image that arrives, without going back.

use std::collections::VecDeque;
use std::ops::Range;

use crate::header::HEAD_LEN;
use crate::{Error, Header, Limits, Map, Piece};

/// Reads an image forward only: header, first table, second tables, then data, each part where the
/// image says, what is between them passed over. XAPI exports images in this order, and takes no
/// other ones.
///
/// Feed it bytes as they come; it gives events.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    position: u64,
    state: State,
}

/// What a stream has told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// The header.
    Header(Header),
    /// All tables were read and are good; data follow, so many bytes.
    Tables {
        /// Bytes of the disk that are in the stream.
        allocated: u64,
    },
    /// Data.
    Data {
        /// Byte of the disk.
        virtual_offset: u64,
        /// The data.
        bytes: &'a [u8],
    },
}

#[derive(Debug)]
enum State {
    Head(Vec<u8>),
    /// The first table.
    First {
        header: Header,
        bytes: Vec<u8>,
    },
    /// The second tables, in the order of the file.
    Second {
        map: Map,
        /// First byte on the disk of what each of them describes.
        places: Vec<u64>,
        next: usize,
        bytes: Vec<u8>,
        runs: Vec<Run>,
    },
    Data {
        header: Header,
        runs: VecDeque<Run>,
    },
}

/// Bytes of the disk and where they begin in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    offset: u64,
    at: u64,
    len: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Decoder {
    /// Waits for the first byte of an image.
    pub fn new(limits: Limits) -> Self {
        Self { limits, position: 0, state: State::Head(Vec::with_capacity(HEAD_LEN)) }
    }

    /// Bytes taken so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The bytes of the disk that are still to come, in the order in which they do; none before
    /// [`Event::Tables`].
    pub fn allocation(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let runs = match &self.state {
            State::Data { runs, .. } => Some(runs),
            _ => None,
        };
        runs.into_iter().flatten().map(|run| run.at..run.at + run.len)
    }

    /// Takes bytes from the front of `input` up to the next event; `None` when all are taken.
    ///
    /// # Errors
    /// Whatever [`Header::parse`] and [`Map`] refuse; [`Error::NotStreamable`] when the order of the image,
    /// or compressed clusters, forbid to read it forward only. All of this before the first data.
    pub fn feed<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Error> {
        while !input.is_empty() {
            if let Some(event) = self.step(input)? {
                return Ok(Some(event));
            }
        }
        // A table may end where the input does.
        self.step(input)
    }

    fn step<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Error> {
        match &mut self.state {
            State::Head(head) => {
                if !collect(head, HEAD_LEN as u64, input, &mut self.position) {
                    return Ok(None);
                }
                let header = Header::of_whole(head, &self.limits)?;
                if header.cluster_size() < HEAD_LEN as u64 {
                    return Err(Error::NotStreamable("its clusters are smaller than 4 KiB"));
                }
                let first = header.l1_range();
                if (first.end - first.start) / 8 > u64::from(self.limits.kept_entries) {
                    return Err(Error::NotStreamable("its first table is too large to be kept"));
                }
                self.state = State::First { header: header.clone(), bytes: Vec::new() };
                Ok(Some(Event::Header(header)))
            }
            State::First { header, bytes } => {
                let wanted = header.l1_range();
                if !(skip(wanted.start, input, &mut self.position)
                    && collect(bytes, wanted.end - wanted.start, input, &mut self.position))
                {
                    return Ok(None);
                }
                let map = Map::new(header.clone(), u64::MAX, bytes)?;
                if map.tables().first().is_some_and(|first| *first < self.position) {
                    return Err(Error::NotStreamable("an L2 table comes before the L1 table"));
                }
                let places = map.tables_in_order();
                self.state = State::Second { map, places, next: 0, bytes: Vec::new(), runs: Vec::new() };
                Ok(None)
            }
            State::Second { map, places, next, bytes, runs } => {
                let Some(place) = places.get(*next).copied() else { return self.begin_data().map(Some) };
                let table = map.kept_table(place).ok_or(Error::EmptyDisk)?;
                let wanted = table.offset.unwrap_or_default();
                if !(skip(wanted, input, &mut self.position)
                    && collect(bytes, table.len, input, &mut self.position))
                {
                    return Ok(None);
                }
                note_runs(map, &table, bytes, runs)?;
                if runs.len() > self.limits.runs {
                    return Err(Error::NotStreamable("its data are in too many pieces"));
                }
                bytes.clear();
                *next += 1;
                Ok(None)
            }
            State::Data { runs, .. } => {
                if runs.is_empty() {
                    // What follows the last data belongs to nobody.
                    self.position += input.len() as u64;
                    *input = &[];
                }
                Ok(data(runs, input, &mut self.position))
            }
        }
    }

    /// All tables are there: orders what they say by its place in the file.
    fn begin_data(&mut self) -> Result<Event<'static>, Error> {
        let empty = State::Head(Vec::new());
        let State::Second { map, mut runs, .. } = std::mem::replace(&mut self.state, empty) else {
            return Err(Error::NotQcow2);
        };
        runs.sort_unstable_by_key(|run| run.offset);
        if runs.first().is_some_and(|first| first.offset < self.position) {
            return Err(Error::NotStreamable("data come before the tables that describe them"));
        }
        if runs.windows(2).any(|pair| pair[0].offset + pair[0].len > pair[1].offset) {
            return Err(Error::NotStreamable("two places of the disk share a cluster"));
        }
        let allocated = runs.iter().map(|run| run.len).sum();
        self.state = State::Data { header: map.header().clone(), runs: runs.into() };
        Ok(Event::Tables { allocated })
    }

    /// Takes the end of the stream. What follows the last data may be missing.
    ///
    /// # Errors
    /// [`Error::Truncated`] when something else is.
    pub fn finish(self) -> Result<Header, Error> {
        let at = self.position;
        let cut = |what, end: u64| Err(Error::Truncated { what, at, missing: end.saturating_sub(at) });
        match self.state {
            // A short image is no streamable one, but has more precise errors.
            State::Head(head) => {
                let header = Header::of_whole(&head, &self.limits)?;
                cut("L1 table", header.l1_range().end)
            }
            State::First { header, .. } => cut("L1 table", header.l1_range().end),
            State::Second { map, .. } => {
                let end = map.tables().last().map_or(at, |last| last + map.header().cluster_size());
                cut("L2 table", end)
            }
            State::Data { header, runs } => match runs.back() {
                None => Ok(header),
                Some(last) => cut("data", last.offset + last.len),
            },
        }
    }
}

/// Data of the first of the runs that are still to come.
fn data<'a>(runs: &mut VecDeque<Run>, input: &mut &'a [u8], position: &mut u64) -> Option<Event<'a>> {
    let run = runs.front_mut()?;
    if !skip(run.offset, input, position) || input.is_empty() {
        return None;
    }
    let len = usize::try_from(run.len).unwrap_or(usize::MAX).min(input.len());
    let (bytes, rest) = input.split_at(len);
    let virtual_offset = run.at;
    *input = rest;
    *position += len as u64;
    run.offset += len as u64;
    run.at += len as u64;
    run.len -= len as u64;
    if run.len == 0 {
        runs.pop_front();
    }
    Some(Event::Data { virtual_offset, bytes })
}

/// Passes over what is before byte `to`; whether it was reached.
fn skip(to: u64, input: &mut &[u8], position: &mut u64) -> bool {
    let len = usize::try_from(to.saturating_sub(*position)).unwrap_or(usize::MAX).min(input.len());
    *input = &input[len..];
    *position += len as u64;
    *position >= to
}

/// Fills `bytes` up to `len`; whether it is full. Memory is taken as bytes come.
fn collect(bytes: &mut Vec<u8>, len: u64, input: &mut &[u8], position: &mut u64) -> bool {
    let missing = usize::try_from(len).unwrap_or(usize::MAX) - bytes.len();
    let (own, rest) = input.split_at(missing.min(input.len()));
    bytes.extend_from_slice(own);
    *input = rest;
    *position += own.len() as u64;
    own.len() == missing
}

/// Adds what a second table says is in the stream; what continues the last run joins it.
fn note_runs(map: &Map, table: &crate::Table, entries: &[u8], runs: &mut Vec<Run>) -> Result<(), Error> {
    let Range { start: mut at, end } = table.bytes;
    while at < end {
        let (piece, len) = map.piece(table, entries, at)?;
        match (piece, runs.last_mut()) {
            (Piece::Zeros, _) => {}
            (Piece::Compressed(_), _) => {
                return Err(Error::NotStreamable("it has compressed clusters"));
            }
            (Piece::Data { offset }, Some(last))
                if last.offset + last.len == offset && last.at + last.len == at =>
            {
                last.len += len;
            }
            (Piece::Data { offset }, _) => runs.push(Run { offset, at, len }),
        }
        at += len;
    }
    Ok(())
}
