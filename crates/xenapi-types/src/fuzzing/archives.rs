//! Archives of guests and of disks.

use crate::archive::{
    ArchiveError, Checksum, DESCRIPTION, Decoder, END, Header, HeaderError, Item, PieceName, RECORD, member,
    piece,
};

/// Bytes as the archive of a guest or of a disk. The first byte says which, and whether what follows the second is the
/// archive itself or a list of members to be written into one, so that a fuzzer need not guess checksums; the second is
/// the length of pieces.
///
/// * Whole and in pieces, it is the same parts and the same verdict.
/// * Pieces of a disk that follow each other have rising numbers.
/// * What was written is what is read, up to the first member that is wrong.
/// * What is accepted, written again, is accepted as the same.
/// * No more is held than twice the longest member, nor than twice what has come: a length in a header is not believed.
///
/// # Panics
/// When that is not so.
pub fn archive(bytes: &[u8]) {
    let Some((&[form, cut], rest)) = bytes.split_first_chunk::<2>() else { return };
    let new = if form & 1 == 0 { Decoder::of_guest } else { Decoder::of_disk };
    let made = match form & 2 {
        0 => Made { bytes: rest.to_vec(), items: None, longest: rest.len() },
        _ => make(rest),
    };
    let whole = read(new(), std::iter::once(&made.bytes[..]), made.longest);
    let parts = read(new(), made.bytes.chunks(usize::from(cut) + 1), made.longest);
    assert_eq!(whole, parts, "in parts of {}", usize::from(cut) + 1);
    let (items, verdict) = whole;
    for neighbours in items.iter().filter_map(place).collect::<Vec<_>>().windows(2) {
        assert!(neighbours[0].0 != neighbours[1].0 || neighbours[0].1 < neighbours[1].1, "{neighbours:?}");
    }
    if let Some(written) = made.items {
        assert!(written.starts_with(&items), "{items:?} was read of {written:?}");
    }
    if verdict.is_ok() {
        again(new(), &items);
    }
}

/// Where a piece that says something belongs.
fn place(item: &Item) -> Option<(&str, u64)> {
    match item {
        Item::Piece { disk, index, content } if !content.is_empty() => Some((disk, *index)),
        _ => None,
    }
}

/// An archive, its parts if all that can be read of it is what was written on purpose, and its longest member.
struct Made {
    bytes: Vec<u8>,
    items: Option<Vec<Item>>,
    longest: usize,
}

/// As much as is made of a list: no fuzzer shall wait for more.
const LONGEST: usize = 256 << 10;

/// The parts of an archive and how it ended.
type Outcome = (Vec<Item>, Result<(), ArchiveError>);

fn read<'a>(mut decoder: Decoder, parts: impl Iterator<Item = &'a [u8]>, longest: usize) -> Outcome {
    let (mut items, mut come) = (Vec::new(), 0);
    for mut part in parts {
        come += part.len();
        loop {
            let item = match decoder.next(&mut part) {
                Ok(item) => item,
                Err(error) => return (items, Err(error)),
            };
            let most = 2 * come.min(longest) + 8 * RECORD;
            assert!(
                decoder.held() <= most,
                "{} bytes are held of {come}, {longest} in a row",
                decoder.held()
            );
            match item {
                Some(item) => items.push(item),
                None => break,
            }
        }
    }
    (items, decoder.finish())
}

/// What was read, written as XAPI would.
fn again(decoder: Decoder, items: &[Item]) {
    let mut bytes = Vec::new();
    for item in items {
        let written = match item {
            Item::Description(xml) => member(DESCRIPTION, xml, 0),
            Item::Piece { disk, index, content } => piece(PieceName { disk, index: *index }, content),
        };
        match written {
            Ok(member) => bytes.extend(member),
            // Others' headers have room for longer ones.
            Err(error) => return assert_eq!(error, HeaderError::Name),
        }
    }
    bytes.extend(END);
    let (same, verdict) = read(decoder, std::iter::once(&bytes[..]), bytes.len());
    assert_eq!(verdict, Ok(()));
    assert_eq!(same, items);
}

/// Members as the bytes say, each after a byte that tells its kind.
fn make(bytes: &[u8]) -> Made {
    let mut choices = Choices(bytes);
    let mut made = Made { bytes: Vec::new(), items: Some(Vec::new()), longest: 0 };
    while let Some(kind) = choices.byte() {
        if made.bytes.len() > LONGEST {
            break;
        }
        let written = match kind % 8 {
            0 => {
                let xml = choices.content();
                made.note(Item::Description(xml.clone()), xml.len());
                member(DESCRIPTION, &xml, 0)
            }
            kind @ 1..=3 => {
                let (disk, index) = (choices.disk(), u64::from(choices.byte().unwrap_or_default()));
                let content = choices.content();
                made.note(
                    Item::Piece { disk: disk.to_owned(), index, content: content.clone() },
                    content.len(),
                );
                let name = PieceName { disk, index };
                match kind {
                    1 => piece(name, &content),
                    2 => with_sha1(name, &content),
                    _ => foreign(name, &content),
                }
            }
            4 => Ok(END[..RECORD].to_vec()),
            kind => {
                // From here on there may be anything.
                made.items = None;
                choices.odd(kind, &mut made.longest)
            }
        };
        made.bytes.extend(written.unwrap_or_default());
    }
    made
}

impl Made {
    fn note(&mut self, item: Item, len: usize) {
        self.longest = self.longest.max(len);
        if let Some(items) = &mut self.items {
            items.push(item);
        }
    }
}

/// As old hosts wrote it.
fn with_sha1(name: PieceName<'_>, content: &[u8]) -> Result<Vec<u8>, HeaderError> {
    let mut out = member(&name.to_string(), content, 0)?;
    out.extend(member(&format!("{name}.checksum"), Checksum::Sha1.of(content).as_bytes(), 0)?);
    Ok(out)
}

/// As other programs write it: the disk's name in the prefix of a ustar header, the number short, the checksum in small
/// letters.
fn foreign(name: PieceName<'_>, content: &[u8]) -> Result<Vec<u8>, HeaderError> {
    let checksum = Checksum::XxHash.of(content).to_ascii_lowercase();
    let mut out = in_folder(name.disk, member(&name.index.to_string(), content, 7)?);
    out.extend(in_folder(name.disk, member(&format!("{}.xxhash", name.index), checksum.as_bytes(), 7)?));
    Ok(out)
}

fn in_folder(folder: &str, mut member: Vec<u8>) -> Vec<u8> {
    member[257..262].copy_from_slice(b"ustar");
    member[345..][..folder.len()].copy_from_slice(folder.as_bytes());
    member[148..156].fill(b' ');
    let sum: u32 = member[..RECORD].iter().map(|byte| u32::from(*byte)).sum();
    member[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    member
}

/// What to write.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }

    /// A length and what it is filled with.
    fn content(&mut self) -> Vec<u8> {
        let [low, high, fill] = [(); 3].map(|()| self.byte().unwrap_or_default());
        vec![fill; usize::from(u16::from_le_bytes([low, high]))]
    }

    fn disk(&mut self) -> &'static str {
        ["vdi", "Ref:4", "Ref:13/a"][usize::from(self.byte().unwrap_or_default()) % 3]
    }

    /// A member of any name, a header that promises any length, or any record.
    fn odd(&mut self, kind: u8, longest: &mut usize) -> Result<Vec<u8>, HeaderError> {
        if kind == 5 {
            let record = self.take(RECORD);
            return Ok([&record[..], &vec![0; RECORD - record.len()]].concat());
        }
        let len = usize::from(self.byte().unwrap_or_default());
        let name = String::from_utf8_lossy(&self.take(len)).into_owned();
        if kind == 6 {
            let len = usize::from(self.byte().unwrap_or_default());
            let content = self.take(len);
            *longest = (*longest).max(content.len());
            return member(&name, &content, 0);
        }
        let len = self.take(5).iter().fold(0, |len, byte| len << 8 | u64::from(*byte));
        // What follows is taken for its content.
        *longest = usize::MAX;
        Ok(Header { name, len }.to_bytes(0)?.to_vec())
    }
}
