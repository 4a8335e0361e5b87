//! The fields behind a record's name: System Use Sharing Protocol (IEEE P1281) and Rock Ridge (P1282).

use super::SECTOR_BYTES;
use super::record::{both_u32, pad_to_even};

/// The longest record is 255 bytes, and its length is even.
const MAX_RECORD_BYTES: usize = 254;
const NM_HEADER_BYTES: usize = 5;
/// A field's length is one byte.
const MAX_NM_BYTES: usize = 255 - NM_HEADER_BYTES;

/// `S_IFDIR | 0555` and `S_IFREG | 0444`: owned by root, readable by all, as `mkisofs -r` makes them.
const DIRECTORY_MODE: u32 = 0o040_555;
const FILE_MODE: u32 = 0o100_444;

/// Modified, read and changed at the start of 1980, which is also the first moment that FAT knows.
const TF: [u8; 26] = {
    let mut field = *b"TF\x1a\x01\x0e.....................";
    let mut at = 5;
    while at < field.len() {
        field[at] = super::record::EPOCH[(at - 5) % 7];
        at += 1;
    }
    field
};

/// Says that the fields are Rock Ridge's, in the words of its own annex.
const ER: (&[u8], &[u8], &[u8]) = (
    b"RRIP_1991A",
    b"THE ROCK RIDGE INTERCHANGE PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS",
    b"PLEASE CONTACT DISC PUBLISHER FOR SPECIFICATION SOURCE.  SEE PUBLISHER IDENTIFIER IN PRIMARY VOLUME DESCRIPTOR FOR CONTACT INFORMATION.",
);

/// What the fields of a record are about.
#[derive(Clone, Copy)]
pub(super) enum Subject<'a> {
    /// The `.` of the root, which also carries the announcement of the protocol.
    Root { links: u32 },
    /// `.` and `..` of any directory.
    Dot { links: u32 },
    /// A directory by its name.
    Directory { name: &'a str, links: u32 },
    /// A file by its name.
    File { name: &'a str },
}

/// The sectors behind a directory, for what does not fit in its records.
pub(super) struct Continuation {
    first_sector: u32,
    bytes: Vec<u8>,
}

impl Continuation {
    pub(super) fn from_sector(first_sector: u32) -> Self {
        Self { first_sector, bytes: Vec::new() }
    }

    /// Stores a piece, which must not cross the end of a sector, and returns the field that points to it.
    fn store(&mut self, piece: &[u8]) -> Vec<u8> {
        let sector = SECTOR_BYTES as usize;
        if self.bytes.len() % sector + piece.len() > sector {
            self.bytes.resize(self.bytes.len().next_multiple_of(sector), 0);
        }
        let mut field = b"CE\x1c\x01".to_vec();
        field.extend(both_u32(self.first_sector + (self.bytes.len() / sector) as u32));
        field.extend(both_u32((self.bytes.len() % sector) as u32));
        field.extend(both_u32(piece.len() as u32));
        self.bytes.extend_from_slice(piece);
        field
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The fields for a record whose part before them has `record_bytes`.
pub(super) fn fields(subject: Subject<'_>, record_bytes: usize, continuation: &mut Continuation) -> Vec<u8> {
    let mut fields = Vec::new();
    let (mode, links, name) = match subject {
        Subject::Root { links } => {
            fields.extend(b"SP\x07\x01\xbe\xef\x00");
            (DIRECTORY_MODE, links, None)
        }
        Subject::Dot { links } => (DIRECTORY_MODE, links, None),
        Subject::Directory { name, links } => (DIRECTORY_MODE, links, Some(name)),
        Subject::File { name } => (FILE_MODE, 1, Some(name)),
    };
    fields.extend(b"PX\x24\x01");
    for number in [mode, links, 0, 0] {
        fields.extend(both_u32(number));
    }
    fields.extend(TF);
    if let Subject::Root { .. } = subject {
        fields.extend(continuation.store(&er()));
    }
    if let Some(name) = name {
        let name = nm(name.as_bytes());
        if record_bytes + fields.len() + name.len() <= MAX_RECORD_BYTES {
            fields.extend(name);
        } else {
            fields.extend(continuation.store(&name));
        }
    }
    debug_assert!(record_bytes + fields.len() <= MAX_RECORD_BYTES);
    pad_to_even(&mut fields);
    fields
}

/// A name, in two fields if it is longer than one can be.
fn nm(name: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    let mut pieces = name.chunks(MAX_NM_BYTES).peekable();
    while let Some(piece) = pieces.next() {
        let continues = u8::from(pieces.peek().is_some());
        fields.extend([b'N', b'M', (NM_HEADER_BYTES + piece.len()) as u8, 1, continues]);
        fields.extend(piece);
    }
    fields
}

fn er() -> Vec<u8> {
    let (id, description, source) = ER;
    let len = 8 + id.len() + description.len() + source.len();
    let mut field =
        vec![b'E', b'R', len as u8, 1, id.len() as u8, description.len() as u8, source.len() as u8, 1];
    for text in [id, description, source] {
        field.extend(text);
    }
    field
}
