//! An archive as it comes, checked.

use std::fmt;

use super::{Checksum, DESCRIPTION, Header, HeaderError, PIECE_LEN, PieceName, RECORD};

/// The longest description that is held, in bytes.
const MAX_DESCRIPTION: u64 = 64 << 20;

/// The longest checksum.
const MAX_CHECKSUM: u64 = 64;

/// Reads an archive piece by piece, out of bytes cut anywhere, and checks all that can be checked: that a guest's
/// begins with its description, that pieces come in order and with their checksum, that
/// the end is there and nothing behind it. Holds one piece at a time, or the description.
#[derive(Debug)]
pub struct Decoder {
    /// What is being read, up to `wanted` bytes.
    unit: Vec<u8>,
    wanted: usize,
    state: State,
    /// Where the unit begins.
    offset: u64,
    is_begun: bool,
    is_guest: bool,
    /// Disk and number of the last piece that had content.
    last: Option<(String, u64)>,
}

#[derive(Debug)]
enum State {
    Header,
    Description(u64),
    Piece {
        name: String,
        len: u64,
    },
    /// Of the piece whose name and content these are.
    ChecksumHeader {
        name: String,
        content: Vec<u8>,
    },
    Checksum {
        name: String,
        content: Vec<u8>,
        kind: Checksum,
        len: u64,
    },
    Ended,
}

/// A part of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// The description of a guest, in XML.
    Description(Vec<u8>),
    /// A piece of a disk.
    Piece {
        /// The disk's name in the archive.
        disk: String,
        /// The number of the piece: it begins at this many MiB.
        index: u64,
        /// Its content; none says nothing.
        content: Vec<u8>,
    },
}

/// What is wrong with an archive, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveError {
    /// Where the member begins that is wrong, in bytes from the beginning.
    pub offset: u64,
    /// What is wrong.
    pub kind: ArchiveErrorKind,
}

/// What is wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArchiveErrorKind {
    /// There is no header of a member.
    Header(HeaderError),
    /// A member that does not belong there.
    Unexpected {
        /// What belongs there.
        expected: &'static str,
        /// The member's name.
        found: String,
    },
    /// A member that is longer than such a one can be.
    TooLong {
        /// The member's name.
        name: String,
        /// Its length in bytes.
        len: u64,
    },
    /// The content of a piece is not the one that the checksum was made of.
    Damaged {
        /// The piece's name.
        name: String,
    },
    /// It ends before its end.
    Truncated,
    /// It goes on behind its end.
    Trailing,
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: ", self.offset)?;
        match &self.kind {
            ArchiveErrorKind::Header(error) => error.fmt(f),
            ArchiveErrorKind::Unexpected { expected, found } => {
                write!(f, "the member {found:?} where {expected} belongs")
            }
            ArchiveErrorKind::TooLong { name, len } => {
                write!(f, "the member {name:?} has {len} bytes, which is too many")
            }
            ArchiveErrorKind::Damaged { name } => {
                write!(f, "the checksum of {name} is not that of its content")
            }
            ArchiveErrorKind::Truncated => f.write_str("the archive is cut off"),
            ArchiveErrorKind::Trailing => f.write_str("there are data behind the end of the archive"),
        }
    }
}

impl std::error::Error for ArchiveError {}

impl Decoder {
    /// For the archive of a guest (XVA), not compressed.
    pub fn of_guest() -> Self {
        Self::new(true)
    }

    /// For the archive of a disk.
    pub fn of_disk() -> Self {
        Self::new(false)
    }

    fn new(is_guest: bool) -> Self {
        Self {
            unit: Vec::new(),
            wanted: RECORD,
            state: State::Header,
            offset: 0,
            is_begun: false,
            is_guest,
            last: None,
        }
    }

    /// Takes bytes off the front of `input` up to the next complete item; `None` when all has been taken.
    ///
    /// # Errors
    /// [`ArchiveError`]; nothing can be read after it.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Item>, ArchiveError> {
        loop {
            let len = input.len().min(self.wanted - self.unit.len());
            let (taken, rest) = input.split_at(len);
            self.unit.extend_from_slice(taken);
            *input = rest;
            if self.unit.len() < self.wanted {
                return Ok(None);
            }
            let unit = std::mem::take(&mut self.unit);
            let item = self.step(unit).map_err(|kind| ArchiveError { offset: self.offset, kind })?;
            if item.is_some() {
                return Ok(item);
            }
        }
    }

    /// Whether all has been read.
    ///
    /// # Errors
    /// [`ArchiveErrorKind::Truncated`] when the end is missing.
    pub fn finish(&self) -> Result<(), ArchiveError> {
        match self.state {
            State::Ended if self.unit.iter().all(|byte| *byte == 0) => Ok(()),
            State::Ended => Err(ArchiveError { offset: self.offset, kind: ArchiveErrorKind::Trailing }),
            _ => Err(ArchiveError { offset: self.offset, kind: ArchiveErrorKind::Truncated }),
        }
    }

    /// How many bytes are allocated for what has come.
    pub(crate) fn held(&self) -> usize {
        let of_state = match &self.state {
            State::Header | State::Description(_) | State::Ended => 0,
            State::Piece { name, .. } => name.capacity(),
            State::ChecksumHeader { name, content } | State::Checksum { name, content, .. } => {
                name.capacity() + content.capacity()
            }
        };
        let of_last = self.last.as_ref().map_or(0, |(disk, _)| disk.capacity());
        self.unit.capacity() + of_state + of_last
    }

    fn step(&mut self, mut unit: Vec<u8>) -> Result<Option<Item>, ArchiveErrorKind> {
        let read = unit.len() as u64;
        let state = std::mem::replace(&mut self.state, State::Header);
        let mut item = None;
        match state {
            State::Header | State::Ended | State::ChecksumHeader { .. } => {
                let record = unit[..].try_into().expect("as many bytes as were wanted");
                let header = Header::parse(record).map_err(ArchiveErrorKind::Header)?;
                self.state = self.member(header.as_ref(), state)?;
                let content = header.filter(|_| !matches!(self.state, State::Header | State::Ended));
                self.wanted = content.map_or(RECORD, |h| usize::try_from(h.len).unwrap_or(0) + h.padding());
                if self.wanted == 0 {
                    // A member without content: it is complete already.
                    self.offset += read;
                    return self.step(Vec::new());
                }
            }
            State::Description(len) => {
                unit.truncate(usize::try_from(len).unwrap_or(0));
                item = Some(Item::Description(unit));
                self.wanted = RECORD;
            }
            State::Piece { name, len } => {
                unit.truncate(usize::try_from(len).unwrap_or(0));
                self.state = State::ChecksumHeader { name, content: unit };
                self.wanted = RECORD;
            }
            State::Checksum { name, content, kind, len } => {
                let found = &unit[..usize::try_from(len).unwrap_or(0)];
                if !kind.is_of(&content, found) {
                    return Err(ArchiveErrorKind::Damaged { name });
                }
                item = PieceName::parse(&name).map(|piece| Item::Piece {
                    disk: piece.disk.to_owned(),
                    index: piece.index,
                    content,
                });
                self.wanted = RECORD;
            }
        }
        self.offset += read;
        Ok(item)
    }

    /// What is to be read after a header.
    fn member(&mut self, header: Option<&Header>, before: State) -> Result<State, ArchiveErrorKind> {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        let expected = match &before {
            State::Ended if header.is_some() => return Err(ArchiveErrorKind::Trailing),
            State::ChecksumHeader { .. } => "the checksum of a piece",
            _ if is_first && self.is_guest => DESCRIPTION,
            _ => "a piece of a disk",
        };
        let unexpected = |found: &str| ArchiveErrorKind::Unexpected { expected, found: found.to_owned() };
        let Some(Header { name, len }) = header else {
            let may_end = matches!(before, State::Header | State::Ended) && !(is_first && self.is_guest);
            return if may_end { Ok(State::Ended) } else { Err(unexpected("")) };
        };
        let (name, len) = (name.clone(), *len);
        let limit = |max: u64| match len <= max {
            true => Ok(()),
            false => Err(ArchiveErrorKind::TooLong { name: name.clone(), len }),
        };
        if let State::ChecksumHeader { name: piece, content } = before {
            let kind = Checksum::parse(&name, &piece).ok_or_else(|| unexpected(&name))?;
            limit(MAX_CHECKSUM)?;
            return Ok(State::Checksum { name: piece, content, kind, len });
        }
        if is_first && self.is_guest {
            return if name == DESCRIPTION {
                limit(MAX_DESCRIPTION).map(|()| State::Description(len))
            } else {
                Err(unexpected(&name))
            };
        }
        let piece = PieceName::parse(&name).ok_or_else(|| unexpected(&name))?;
        let is_repeated =
            self.last.as_ref().is_some_and(|(disk, index)| disk == piece.disk && *index >= piece.index);
        if is_repeated && len > 0 {
            return Err(ArchiveErrorKind::Unexpected { expected: "a later piece", found: name });
        }
        if len > 0 {
            self.last = Some((piece.disk.to_owned(), piece.index));
        }
        limit(PIECE_LEN)?;
        Ok(State::Piece { name, len })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{END, member, piece};
    use super::*;

    fn archive(parts: &[Vec<u8>]) -> Vec<u8> {
        parts.concat()
    }

    fn pieces() -> [Vec<u8>; 4] {
        [
            member(DESCRIPTION, b"<value/>", 7).unwrap(),
            piece(PieceName { disk: "Ref:4", index: 0 }, &[1; 1 << 20]).unwrap(),
            piece(PieceName { disk: "Ref:4", index: 3 }, &[2; 700]).unwrap(),
            END.to_vec(),
        ]
    }

    fn decode(mut decoder: Decoder, bytes: &[u8], step: usize) -> Result<Vec<Item>, ArchiveError> {
        let mut items = Vec::new();
        for part in bytes.chunks(step) {
            let mut input = part;
            while let Some(item) = decoder.next(&mut input)? {
                items.push(item);
            }
            assert!(input.is_empty());
        }
        decoder.finish().map(|()| items)
    }

    #[test]
    fn an_archive_is_read_whatever_it_is_cut_into() {
        let archive = archive(&pieces());
        let expected = vec![
            Item::Description(b"<value/>".to_vec()),
            Item::Piece { disk: "Ref:4".to_owned(), index: 0, content: vec![1; 1 << 20] },
            Item::Piece { disk: "Ref:4".to_owned(), index: 3, content: vec![2; 700] },
        ];
        for step in [1 << 30, 511, 512, 4_097] {
            assert_eq!(decode(Decoder::of_guest(), &archive, step).as_ref(), Ok(&expected), "{step}");
        }
        let disk = &archive[RECORD * 2..];
        assert_eq!(decode(Decoder::of_disk(), disk, 1_000).unwrap(), expected[1..]);
        assert_eq!(decode(Decoder::of_disk(), &END, 1_000), Ok(Vec::new()));
    }

    #[test]
    fn a_piece_without_content_is_passed_on() {
        let keep_alive = piece(PieceName { disk: "vdi", index: 0 }, b"").unwrap();
        let content = piece(PieceName { disk: "vdi", index: 0 }, b"x").unwrap();
        let items = decode(Decoder::of_disk(), &archive(&[keep_alive, content, END.to_vec()]), 100).unwrap();
        assert_eq!(items.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_found() {
        let [description, first, last, end] = pieces();
        let mut damaged = first.clone();
        damaged[5_000] ^= 1;
        let foreign = member("readme", b"hello", 0).unwrap();
        let head = |name: &str, len: u64| Header { name: name.to_owned(), len }.to_bytes(0).unwrap();
        let long = head("Ref:4/00000000", PIECE_LEN + 1);
        let (long_description, empty) = (head("ova.xml", MAX_DESCRIPTION + 1), head("Ref:4/00000000", 0));
        let long_checksum = head("Ref:4/00000000.xxhash", MAX_CHECKSUM + 1);
        let cases: [(&[&[u8]], &str); 12] = [
            (&[&long_description], "too many"),
            (&[&description, &empty, &long_checksum], "too many"),
            (&[&first, &end], "where ova.xml belongs"),
            (&[&[b'j'; 2_048]], "no header"),
            (&[&end], "where ova.xml belongs"),
            (&[&description, &damaged, &end], "checksum of Ref:4/00000000"),
            (&[&description, &first], "cut off"),
            (&[&description, &first[..9_000]], "cut off"),
            (&[&description, &foreign, &end], "where a piece of a disk belongs"),
            (&[&description, &last, &first, &end], "a later piece"),
            (&[&description, &long], "too many"),
            (&[&description, &end, &description], "behind the end"),
        ];
        for (parts, text) in cases {
            let error = decode(Decoder::of_guest(), &parts.concat(), 10_000).unwrap_err();
            assert!(error.to_string().contains(text), "{error}, not {text}");
        }
    }
}
