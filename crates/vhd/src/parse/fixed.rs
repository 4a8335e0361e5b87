//! Fixed disks in streams of unknown length.

use super::{Summary, check_fixed};
use crate::error::{Error, Structure};
use crate::format::{FOOTER_LEN, Footer};
use crate::limits::Limits;

/// A push decoder for a fixed disk in a stream that ends somewhere: its only footer is in the last 512 bytes, which are
/// held back. [`Decoder::fixed`](crate::Decoder::fixed) is for a known length.
///
/// The data are given out unseen; [`FixedDecoder::finish`] tells whether they were a VHD at all.
///
/// ```
/// # fn demo(chunks: Vec<Vec<u8>>) -> Result<(), vhd::Error> {
/// let mut decoder = vhd::FixedDecoder::default();
/// for chunk in &chunks {
///     for (at, bytes) in decoder.feed(chunk)? {
///         println!("{} bytes at {at}", bytes.len());
///     }
/// }
/// println!("a disk of {} bytes", decoder.finish()?.footer.current_size);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct FixedDecoder {
    limits: Limits,
    /// Bytes consumed.
    position: u64,
    /// The last of them, which may be the footer.
    held: Vec<u8>,
    /// Those that were held and no longer can be.
    released: Vec<u8>,
}

impl FixedDecoder {
    /// Bytes of the stream consumed so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Takes bytes, and gives out those of the disk that are certain by now: where, and which; either part may be empty.
    ///
    /// # Errors
    /// [`Error::TooLarge`] as soon as the disk is larger than one may be.
    pub fn feed<'a>(&'a mut self, bytes: &'a [u8]) -> Result<[(u64, &'a [u8]); 2], Error> {
        let at = self.position - self.held.len() as u64;
        self.position += bytes.len() as u64;
        let certain = (self.held.len() + bytes.len()).saturating_sub(FOOTER_LEN);
        let (virtual_size, limit) = (at + certain as u64, self.limits.virtual_size);
        if virtual_size > limit {
            return Err(Error::TooLarge { virtual_size, limit });
        }
        let from_held = certain.min(self.held.len());
        self.released.clear();
        self.released.extend(self.held.drain(..from_held));
        let (now, held) = bytes.split_at(certain - from_held);
        self.held.extend_from_slice(held);
        Ok([(at, &self.released), (at + from_held as u64, now)])
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// [`Error::Truncated`] when there are less than 512 bytes, those of a damaged footer, [`Error::NotVhd`] where there is
    /// none, and [`Error::FixedSize`] for one that does not end a fixed disk of this length.
    pub fn finish(self) -> Result<Summary, Error> {
        let Some(footer) = self.held.first_chunk::<FOOTER_LEN>() else {
            let missing = FOOTER_LEN as u64 - self.position;
            return Err(Error::Truncated { what: Structure::EndFooter, at: self.position, missing });
        };
        let footer = Footer::parse(footer, self.position - FOOTER_LEN as u64, Structure::EndFooter)?;
        check_fixed(&footer, self.position, &self.limits)?;
        Ok(Summary { footer, header: None, blocks: 0, stream_len: self.position })
    }
}
