//! XAPI's `chunked` framing, read: records of an offset (u64) and a length (u32), little-endian, and data; one of
//! twelve zero bytes ends it.
//!
//! Records come in any order, and a later one replaces what an earlier one said. Nothing tells how large the disk
//! is, and nothing protects the bytes: what can be wrong is all that can be seen.

/// Bytes before the data of a record.
const HEAD: usize = 12;

/// Takes records apart, in whatever pieces they come.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// The disk's size in bytes.
    size: u64,
    /// Bytes taken.
    position: u64,
    head: Vec<u8>,
    /// Where the next byte of data belongs.
    at: u64,
    /// Bytes of data that are still to come.
    left: u32,
    ended: bool,
}

/// What is wrong with a stream of records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the record at byte {at} of the chunked stream {why}")]
#[non_exhaustive]
pub struct ChunkedError {
    /// Byte of the stream.
    pub at: u64,
    /// What it does that it cannot.
    pub why: &'static str,
}

impl Decoder {
    /// For a disk of `size` bytes.
    pub(crate) fn new(size: u64) -> Self {
        Self { size, position: 0, head: Vec::with_capacity(HEAD), at: 0, left: 0, ended: false }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Takes bytes from the front of `input` up to the next data, and tells where they belong; `None` when all
    /// are taken. What fills up the last sector of a disk that ends inside of it is left out.
    pub(crate) fn feed<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<(u64, &'a [u8])>, ChunkedError> {
        while !input.is_empty() {
            if self.ended {
                return Err(self.wrong(0, "follows the one that ends it"));
            }
            if self.left == 0 {
                self.record(input)?;
                continue;
            }
            let (data, rest) = input.split_at(input.len().min(self.left as usize));
            *input = rest;
            let at = self.at;
            self.at += data.len() as u64;
            self.position += data.len() as u64;
            // At most what was left.
            self.left -= u32::try_from(data.len()).unwrap_or(self.left);
            let inside = usize::try_from(self.size.saturating_sub(at)).unwrap_or(usize::MAX).min(data.len());
            if inside > 0 {
                return Ok(Some((at, &data[..inside])));
            }
        }
        Ok(None)
    }

    fn record(&mut self, input: &mut &[u8]) -> Result<(), ChunkedError> {
        let (part, rest) = input.split_at(input.len().min(HEAD - self.head.len()));
        self.head.extend_from_slice(part);
        *input = rest;
        self.position += part.len() as u64;
        let Some((offset, len)) = self.head.split_first_chunk::<8>() else { return Ok(()) };
        let Some(len) = len.first_chunk::<4>() else { return Ok(()) };
        let (offset, len) = (u64::from_le_bytes(*offset), u32::from_le_bytes(*len));
        self.head.clear();
        let end = offset.checked_add(u64::from(len));
        if end.is_none_or(|end| end > self.size.checked_next_multiple_of(512).unwrap_or(u64::MAX)) {
            return Err(self.wrong(HEAD, "goes beyond the end of the disk"));
        }
        if len == 0 && offset != 0 {
            return Err(self.wrong(HEAD, "has no data, and does not end the stream either"));
        }
        (self.at, self.left, self.ended) = (offset, len, len == 0);
        Ok(())
    }

    fn wrong(&self, back: usize, why: &'static str) -> ChunkedError {
        ChunkedError { at: self.position - back as u64, why }
    }

    /// Takes the end.
    pub(crate) fn finish(self) -> Result<(), ChunkedError> {
        if self.ended {
            return Ok(());
        }
        let back = if self.left > 0 { 0 } else { self.head.len() };
        Err(self.wrong(back, "is cut off, or the last one is missing"))
    }
}
