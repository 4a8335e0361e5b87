//! Tar archives, read strictly and forward. No I/O of its own, nothing is ever written by a member's name.

use std::io::{self, Read};

use vhd::zero;

use crate::unpack::problem::{Fault, Problem};

const RECORD: usize = 512;
/// Longest extended header: the name and size of a member do not take more.
const HEADER_LIMIT: u64 = 64 << 10;
/// Most zeros behind the end of an archive. Tapes were filled up to a blocking factor; a bomb goes on for ever.
const TAIL_LIMIT: u64 = 4 << 20;

/// An archive, member by member.
pub(crate) struct Archive<R> {
    from: R,
    at: u64,
    /// Of the current member, with its padding.
    left: u64,
    padding: u64,
    /// Whether that it is whole is known without its end mark.
    whole: bool,
}

/// A regular file in an archive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) size: u64,
}

/// What extended headers say of the member that follows.
#[derive(Default)]
struct Extended {
    name: Option<String>,
    size: Option<u64>,
}

/// Whether these are the first 512 bytes of an archive.
pub(crate) fn recognises(head: &[u8]) -> bool {
    head.first_chunk::<RECORD>().is_some_and(|head| &head[257..262] == b"ustar" && checksum_fits(head))
}

impl<R: Read> Archive<R> {
    pub(super) fn new(from: R) -> Self {
        Self::at(from, 0)
    }

    /// The rest of an archive, from a member's header at this byte on.
    pub(crate) fn at(from: R, at: u64) -> Self {
        Self { from, at, left: 0, padding: 0, whole: false }
    }

    /// An archive whose source fails where it was cut, as one that is compressed: the end mark, which some writers leave
    /// out, proves nothing then.
    pub(super) fn whole(self) -> Self {
        Self { whole: true, ..self }
    }

    /// Byte of the archive.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// Bytes of the current member that were not read.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// The next regular file; what is left of the one before is passed over. `None` at the end, behind which must be
    /// nothing.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, Fault> {
        let mut extended = Extended::default();
        loop {
            self.skip()?;
            let Some(head) = self.record()? else { return self.tail() };
            let size = number(&head[124..136]).ok_or_else(|| self.malformed("the size is no number"))?;
            let name = || -> Result<String, Fault> { self.name(&head) };
            match head[156] {
                b'0' | 0 | b'7' => {
                    let name = extended.name.map_or_else(name, Ok)?;
                    let size = extended.size.unwrap_or(size);
                    self.enter(size)?;
                    return Ok(Some(Member { name, size }));
                }
                b'5' => {
                    // What an extended header says is of the member behind it, which this is.
                    extended = Extended::default();
                    self.enter(size)?;
                }
                b'L' => {
                    let bytes = self.header(size)?;
                    extended.name =
                        Some(self.text(bytes.split(|byte| *byte == 0).next().unwrap_or_default())?);
                }
                b'x' => {
                    let bytes = self.header(size)?;
                    self.read_pax(&bytes, &mut extended)?;
                }
                b'g' => drop(self.header(size)?),
                _ => {
                    let name = extended.name.map_or_else(name, Ok)?;
                    let problem = "which is neither a file nor a directory";
                    return Err(Problem::Member { name, problem }.into());
                }
            }
        }
    }

    fn enter(&mut self, size: u64) -> Result<(), Fault> {
        let whole = size.checked_next_multiple_of(RECORD as u64);
        let whole = whole.ok_or_else(|| self.malformed("the size is beyond all measure"))?;
        (self.left, self.padding) = (size, whole - size);
        Ok(())
    }

    /// Passes over the rest of a member.
    fn skip(&mut self) -> Result<(), Fault> {
        let rest = self.left + self.padding;
        let passed = io::copy(&mut self.from.by_ref().take(rest), &mut io::sink())?;
        self.at += passed;
        if passed < rest {
            return Err(self.malformed("it ends in the middle of a member"));
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// The next record, or `None` if it is all zeros, or there is none and need not be.
    fn record(&mut self) -> Result<Option<[u8; RECORD]>, Fault> {
        let mut record = [0; RECORD];
        let len = fill(&mut self.from, &mut record)?;
        if len == 0 && self.whole {
            return Ok(None);
        }
        if len < RECORD {
            return Err(self.malformed("it ends without its end mark"));
        }
        if zero::is_zero(&record) {
            return Ok(None);
        }
        if !checksum_fits(&record) {
            return Err(self.malformed("the checksum of a header does not fit"));
        }
        self.at += RECORD as u64;
        Ok(Some(record))
    }

    fn header(&mut self, size: u64) -> Result<Vec<u8>, Fault> {
        if size > HEADER_LIMIT {
            return Err(self.malformed("an extended header is too long"));
        }
        self.enter(size)?;
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < size {
            return Err(self.malformed("it ends in an extended header"));
        }
        Ok(bytes)
    }

    /// Lines of `LENGTH NAME=VALUE`.
    fn read_pax(&self, mut bytes: &[u8], extended: &mut Extended) -> Result<(), Fault> {
        let malformed = || self.malformed("an extended header is malformed");
        while !bytes.is_empty() {
            let space = bytes.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
            let len: usize = self.text(&bytes[..space])?.parse().map_err(|_| malformed())?;
            let line =
                bytes.get(space + 1..len).and_then(|line| line.strip_suffix(b"\n")).ok_or_else(malformed)?;
            let equals = line.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
            let value = &line[equals + 1..];
            match &line[..equals] {
                b"path" => extended.name = Some(self.text(value)?),
                b"size" => extended.size = Some(self.text(value)?.parse().map_err(|_| malformed())?),
                name if name.starts_with(b"GNU.sparse") => {
                    return Err(self.malformed("a member is stored sparse; pack it without --sparse"));
                }
                _ => {}
            }
            bytes = &bytes[len..];
        }
        Ok(())
    }

    fn name(&self, head: &[u8; RECORD]) -> Result<String, Fault> {
        let field =
            |range: std::ops::Range<usize>| head[range].split(|byte| *byte == 0).next().unwrap_or_default();
        let name = self.text(field(0..100))?;
        // Only POSIX archives have a prefix there; GNU's magic is "ustar  ".
        let prefix = if &head[257..263] == b"ustar\0" { self.text(field(345..500))? } else { String::new() };
        Ok(if prefix.is_empty() { name } else { format!("{prefix}/{name}") })
    }

    fn text(&self, bytes: &[u8]) -> Result<String, Fault> {
        String::from_utf8(bytes.to_vec()).map_err(|_| self.malformed("a name is not UTF-8"))
    }

    /// What follows the first record of zeros.
    fn tail(&mut self) -> Result<Option<Member>, Fault> {
        let mut buffer = [0; 16 << 10];
        let mut passed = 0;
        loop {
            let len = fill(&mut self.from, &mut buffer)?;
            if len == 0 {
                return Ok(None);
            }
            passed += len as u64;
            if passed > TAIL_LIMIT || !zero::is_zero(&buffer[..len]) {
                return Err(self.malformed("something follows its end"));
            }
        }
    }

    fn malformed(&self, problem: &str) -> Fault {
        Problem::Archive { at: self.at, problem: problem.to_owned() }.into()
    }
}

/// The content of the current member.
impl<R: Read> Read for Archive<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.from.by_ref().take(self.left).read(buffer)?;
        (self.at, self.left) = (self.at + len as u64, self.left - len as u64);
        Ok(len)
    }
}

/// The header of a regular file, as GNU tar writes it.
pub(super) fn header(name: &str, size: u64) -> [u8; RECORD] {
    let mut head = [0; RECORD];
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    match format!("{size:011o}\0") {
        digits if digits.len() == 12 => put(124, digits.as_bytes()),
        _ => put(124, &[&[0x80, 0, 0, 0][..], &size.to_be_bytes()].concat()),
    }
    put(136, b"00000000000\0");
    put(156, b"0");
    put(257, b"ustar  \0");
    put(148, b"        ");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    head
}

/// What follows a file of this size, up to the next record.
pub(super) fn padding(size: u64) -> &'static [u8] {
    // Less than a record.
    let len = size.next_multiple_of(RECORD as u64) - size;
    &END[..usize::try_from(len).unwrap_or(0)]
}

/// The end mark of an archive.
pub(super) const END: [u8; 2 * RECORD] = [0; 2 * RECORD];

/// Reads until the buffer is full or the stream ends.
pub(super) fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(len) => filled += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The sum of all bytes, with its own field as blanks.
fn checksum_fits(head: &[u8; RECORD]) -> bool {
    let blanks = 8 * u64::from(b' ');
    let sum: u64 = head[..148].iter().chain(&head[156..]).map(|byte| u64::from(*byte)).sum();
    number(&head[148..156]) == Some(sum + blanks)
}

/// A number in octal digits, or in GNU's base 256 for what needs more of them.
fn number(field: &[u8]) -> Option<u64> {
    // The field of the checksum has no room for the mark and a number.
    if field[0] == 0x80 && field.len() > 8 {
        let high = field.len() - 8;
        return field[1..high]
            .iter()
            .all(|byte| *byte == 0)
            .then(|| field[high..].iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_any_length() {
        for size in [0, 511, (8 << 30) - 1, 8 << 30, 2 << 40] {
            let head = header("0.vhd", size);
            assert!(recognises(&head), "{size}");
            let mut archive = Archive::new(&head[..]);
            assert_eq!(archive.next().unwrap(), Some(Member { name: "0.vhd".to_owned(), size }));
        }
    }

    #[test]
    fn a_checksum_in_base_256_is_none() {
        let mut head = header("0.vhd", 512);
        head[148..156].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0x20, 0]);
        assert!(!recognises(&head));
    }
}
