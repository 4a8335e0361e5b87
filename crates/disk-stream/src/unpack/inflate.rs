//! Compressed streams, recognised by their first bytes. No I/O of its own.

use std::hash::Hasher;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use twox_hash::XxHash64;

use crate::unpack::problem::Problem;

/// How a disk, or an archive with one, is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// gzip, of one or several members.
    Gzip,
    /// Zstandard, of one frame.
    Zstd,
}

impl Compression {
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// A reader whose first bytes can be looked at without taking them.
pub(super) struct Ahead<R> {
    head: Vec<u8>,
    taken: usize,
    inner: R,
}

/// Enough for everything that is recognised: tar says so at byte 257, and has a checksum over 512.
const AHEAD: u64 = 512;

impl<R: Read> Ahead<R> {
    pub(super) fn new(mut inner: R) -> io::Result<Self> {
        let mut head = Vec::new();
        inner.by_ref().take(AHEAD).read_to_end(&mut head)?;
        Ok(Self { head, taken: 0, inner })
    }

    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }
}

impl<R: Read> Read for Ahead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let head = &self.head[self.taken..];
        if head.is_empty() {
            return self.inner.read(buffer);
        }
        let len = head.len().min(buffer.len());
        buffer[..len].copy_from_slice(&head[..len]);
        self.taken += len;
        Ok(len)
    }
}

/// Largest window of a Zstandard stream: what `zstd` uses up to level 19, and a little more. The whole of it is
/// kept in memory.
const WINDOW: u64 = 16 << 20;
/// What the decompressors read at a time.
const PIECE: usize = 128 << 10;

/// Undoes the compression.
pub(super) fn inflate<'a, R: Read + 'a>(
    from: Ahead<R>,
    how: Compression,
) -> Result<Box<dyn Read + 'a>, Problem> {
    match how {
        Compression::Gzip => {
            Ok(Box::new(Members { member: Some(GzDecoder::new(BufReader::with_capacity(PIECE, from))) }))
        }
        Compression::Zstd => {
            let from = BufReader::with_capacity(PIECE, from);
            let decoder =
                StreamingDecoder::new_with_max_window_size(from, WINDOW).map_err(|error| match error {
                    FrameDecoderError::WindowSizeTooBig { requested, .. } => {
                        Problem::Window { window: requested, limit: WINDOW }
                    }
                    error => Problem::Compressed {
                        format: how.name(),
                        source: io::Error::other(error.to_string()),
                    },
                })?;
            Ok(Box::new(OneFrame { decoder, len: 0, hash: XxHash64::with_seed(0), ended: false }))
        }
    }
}

/// The content of all members, one after the other (RFC 1952, section 2.2). Zeros may follow them, which devices of
/// whole blocks leave there; anything else is an error, since it might have been a member.
struct Members<R> {
    /// The one that is read; none behind the last.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let len = member.read(buffer)?;
            if len > 0 || buffer.is_empty() {
                return Ok(len);
            }
            let rest = member.get_mut();
            match rest.fill_buf()?.first() {
                None => self.member = None,
                Some(0) => {
                    only_zeros(rest)?;
                    self.member = None;
                }
                Some(_) => self.member = self.member.take().map(|member| GzDecoder::new(member.into_inner())),
            }
        }
        Ok(0)
    }
}

fn only_zeros(mut from: impl BufRead) -> io::Result<()> {
    loop {
        let rest = from.fill_buf()?;
        if rest.iter().any(|byte| *byte != 0) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more than zeros follows its end"));
        }
        match rest.len() {
            0 => return Ok(()),
            len => from.consume(len),
        }
    }
}

/// The content of one frame, and an error if it is not what the frame says of its length and its checksum, which the
/// decoder passes over, or if something follows it: without that, the rest would be lost in silence.
struct OneFrame<R: Read> {
    decoder: StreamingDecoder<R, FrameDecoder>,
    /// Of what has come, in bytes.
    len: u64,
    hash: XxHash64,
    ended: bool,
}

impl<R: Read> OneFrame<R> {
    fn end(&mut self) -> io::Result<()> {
        let damaged = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        // A frame that says nothing has a length of 0.
        let said = self.decoder.decoder.content_size();
        if said != 0 && said != self.len {
            return damaged("the content has not the length that the frame says");
        }
        // The lower half of it.
        let sum = (self.hash.finish() & u64::from(u32::MAX)) as u32;
        if self.decoder.decoder.get_checksum_from_data().is_some_and(|said| said != sum) {
            return damaged("the checksum of the content does not fit");
        }
        match self.decoder.get_mut().read(&mut [0])? {
            0 => Ok(()),
            _ => damaged("a second frame follows the first one"),
        }
    }
}

impl<R: Read> Read for OneFrame<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.decoder.read(buffer)?;
        self.hash.write(&buffer[..len]);
        self.len += len as u64;
        if len == 0 && !buffer.is_empty() && !self.ended {
            self.end()?;
            self.ended = true;
        }
        Ok(len)
    }
}
