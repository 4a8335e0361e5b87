//! An answer that is read piece by piece, each of which is freed as soon as it has been read.
//!
//! Records take about as much memory as their text, so an answer read in one piece is held twice at its end. Here a
//! [`Scanner`] looks at a window of the text. A step of it (one event, one name) that comes near the end of the window is
//! made again when there is more of the text: what a scanner sees is the same as in one piece.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::scan::{Reading, Scanner, State};
use crate::codec::{Event, Source};
use crate::error::DecodeError;

/// How far a step may look beyond what it passes. What looks further, as for the end of a comment, fails where the text
/// ends, and a step that fails is made again too.
const LOOKAHEAD: usize = 64;

pub(super) struct Window<P> {
    pieces: VecDeque<P>,
    text: String,
    /// How much of the text has been dropped before this window.
    before: usize,
    /// The beginning of a character that goes on in the next piece.
    cut: Vec<u8>,
    state: State,
    max_depth: usize,
    /// Room for members' names, which come and go.
    spare: Vec<String>,
}

impl<P: AsRef<[u8]>> Window<P> {
    /// A window behind the first `at` bytes, which are in the first piece, inside `depth` arrays and structs.
    pub(super) fn new(pieces: VecDeque<P>, at: usize, depth: usize, max_depth: usize) -> Self {
        let mut window = Self {
            pieces,
            text: String::new(),
            before: 0,
            cut: Vec::new(),
            state: State::default(),
            max_depth,
            spare: Vec::new(),
        };
        window.grow();
        window.state = State { at, depth, hollow: false };
        window
    }

    /// The byte of the document that comes next.
    pub(super) fn at(&self) -> usize {
        self.before + self.state.at
    }

    /// Makes a step, again on more text as long as it does not get on with what there is.
    pub(super) fn step<T>(
        &mut self,
        step: impl Fn(&mut Scanner<'_>, &mut Vec<String>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        loop {
            let mut scanner = Scanner::resume(&self.text, self.state, self.max_depth, Reading::Response);
            let result = step(&mut scanner, &mut self.spare);
            let state = scanner.state();
            let is_sure = result.is_ok() && self.text.len() - state.at > LOOKAHEAD;
            if is_sure || self.pieces.is_empty() {
                self.state = state;
                return result.map_err(|error| error.moved(self.before));
            }
            self.grow();
        }
    }

    /// Drops what has been read, and takes at least as much more as is left, so that a long text is not looked at often.
    fn grow(&mut self) {
        self.text.drain(..self.state.at);
        self.before += std::mem::take(&mut self.state.at);
        let wanted = 2 * self.text.len() + 1;
        while self.text.len() < wanted
            && let Some(piece) = self.pieces.pop_front()
        {
            self.append(piece.as_ref());
        }
    }

    /// Appends text as [`String::from_utf8_lossy`] reads it, also where a character is cut in two.
    fn append(&mut self, piece: &[u8]) {
        let joined;
        let mut bytes = piece;
        if !self.cut.is_empty() {
            joined = [&std::mem::take(&mut self.cut), piece].concat();
            bytes = &joined;
        }
        // As nearly all pieces are. Chunk by chunk takes several times as long.
        if let Ok(text) = std::str::from_utf8(bytes) {
            return self.text.push_str(text);
        }
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.text.push_str(chunk.valid());
            let invalid = chunk.invalid();
            let is_cut = std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            if is_cut && chunks.peek().is_none() && !self.pieces.is_empty() {
                self.cut = invalid.to_vec();
            } else if !invalid.is_empty() {
                self.text.push(char::REPLACEMENT_CHARACTER);
            }
        }
    }
}

/// Nothing is borrowed from the window: it moves on.
impl<'de, P: AsRef<[u8]>> Source<'de> for Window<P> {
    fn event(&mut self) -> Result<Event<'de>, DecodeError> {
        self.step(|scanner, _| {
            Ok(match scanner.event()? {
                Event::Nil => Event::Nil,
                Event::Bool(value) => Event::Bool(value),
                Event::Int(value) => Event::Int(value),
                Event::Double(value) => Event::Double(value),
                Event::Text(text) => Event::Text(Cow::Owned(text.into_owned())),
                Event::Date(text) => Event::Date(Cow::Owned(text.into_owned())),
                Event::Array => Event::Array,
                Event::Struct => Event::Struct,
            })
        })
    }

    fn element(&mut self, first: bool) -> Result<bool, DecodeError> {
        self.step(|scanner, _| scanner.element(first))
    }

    fn key(&mut self, first: bool) -> Result<Option<Cow<'de, str>>, DecodeError> {
        self.step(|scanner, spare| {
            let Some(name) = scanner.key(first)? else { return Ok(None) };
            let mut room = spare.pop().unwrap_or_default();
            room.clear();
            room.push_str(&name);
            Ok(Some(Cow::Owned(room)))
        })
    }

    fn recycle(&mut self, name: Cow<'de, str>) {
        if let Cow::Owned(room) = name {
            self.spare.push(room);
        }
    }

    fn skip(&mut self) -> Result<(), DecodeError> {
        self.step(|scanner, _| scanner.skip())
    }

    fn offset(&self) -> Option<usize> {
        Some(self.at())
    }
}
