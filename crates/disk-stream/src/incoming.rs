//! A disk that arrives, in whatever format, once and forward only.

use std::ops::Range;

use vhd::format::DiskType;
use vhd::{Ahead, Decoder, Event, FixedDecoder, Structure};

use crate::chunked;
use crate::error::Error;
use crate::progress::Progress;
use crate::sink::Saved;
use crate::tar;

/// The reader of a stream.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// Its first sector tells.
    Unknown(Vec<u8>),
    /// A VHD, whose first sector tells of which type.
    AnyVhd(Vec<u8>),
    Vhd(Box<Decoder>),
    FixedVhd(FixedDecoder),
    Qcow2(Box<qcow2::Decoder>),
    Tar(Box<tar::Decoder>),
    /// A later record may replace an earlier one.
    Chunked(Box<chunked::Decoder>),
    Raw {
        position: u64,
        size: u64,
    },
}

/// What a stream has told.
pub(crate) enum Part<'a> {
    /// The size of the disk in bytes.
    Size(u64),
    /// What will come, in this order.
    Plan(&'a mut dyn Iterator<Item = Range<u64>>),
    /// Bytes of the disk, from this one on.
    Data(u64, &'a [u8]),
}

/// What becomes of a stream.
pub(crate) trait Outlet {
    fn take(&mut self, part: Part<'_>, progress: &Progress) -> Result<(), Error>;
}

/// Takes what a stream tells.
type Take<'t> = dyn FnMut(Part<'_>) -> Result<(), Error> + 't;

/// Bytes that tell what a stream is.
const SECTOR: usize = 512;

impl Incoming {
    /// Takes bytes, and hands on what they tell.
    pub(crate) fn pour(
        &mut self,
        bytes: &[u8],
        outlet: &mut impl Outlet,
        progress: &Progress,
    ) -> Result<(), Error> {
        self.feed(bytes, &mut |part| outlet.take(part, progress))
    }

    /// Takes bytes, and hands on what they tell.
    ///
    /// # Errors
    /// What is wrong with the stream, and what `take` says.
    pub(crate) fn feed(&mut self, bytes: &[u8], take: &mut Take<'_>) -> Result<(), Error> {
        let mut input = bytes;
        match self {
            Self::Unknown(first) | Self::AnyVhd(first) => {
                let missing = (SECTOR - first.len()).min(input.len());
                first.extend_from_slice(&input[..missing]);
                if first.len() < SECTOR {
                    return Ok(());
                }
                let first = std::mem::take(first);
                *self = self.recognise(&first)?;
                self.feed(&first, take)?;
                self.feed(&input[missing..], take)
            }
            Self::Vhd(decoder) => feed_vhd(decoder, input, take),
            Self::FixedVhd(decoder) => {
                let parts = decoder.feed(bytes).map_err(Error::Stream)?;
                parts
                    .into_iter()
                    .filter(|(_, bytes)| !bytes.is_empty())
                    .try_for_each(|(at, bytes)| take(Part::Data(at, bytes)))
            }
            Self::Qcow2(decoder) => feed_qcow2(decoder, input, take),
            Self::Tar(decoder) => {
                while let Some((at, bytes)) = decoder.feed(&mut input).map_err(Error::Tar)? {
                    take(Part::Data(at, bytes))?;
                }
                Ok(())
            }
            Self::Chunked(decoder) => {
                if decoder.position() == 0 {
                    take(Part::Size(decoder.size()))?;
                }
                while let Some((at, bytes)) = decoder.feed(&mut input).map_err(Error::Chunked)? {
                    take(Part::Data(at, bytes))?;
                }
                Ok(())
            }
            Self::Raw { position, size } => {
                let at = *position;
                let end = at + bytes.len() as u64;
                if end > *size {
                    return Err(Error::Length { got: end, expected: *size });
                }
                *position = end;
                if at == 0 {
                    take(Part::Size(*size))?;
                }
                take(Part::Data(at, bytes))
            }
        }
    }

    /// What comes next, where that is known.
    pub(crate) fn ahead(&self) -> Ahead {
        match self {
            Self::Vhd(decoder) => decoder.ahead(),
            _ => Ahead::Other(u64::MAX),
        }
    }

    /// Takes `len` bytes of what is [`Ahead::Data`] as read.
    pub(crate) fn pass_data(&mut self, len: u64) {
        if let Self::Vhd(decoder) = self {
            decoder.pass_data(len);
        }
    }

    fn recognise(&self, first: &[u8]) -> Result<Self, Error> {
        if vhd::format::Footer::has_cookie(first) {
            Ok(Self::Vhd(Box::default()))
        } else if matches!(self, Self::AnyVhd(_)) {
            Ok(Self::FixedVhd(FixedDecoder::default()))
        } else if qcow2::Header::is_qcow2(first) {
            Ok(Self::Qcow2(Box::default()))
        } else if tar::is_archive(first) {
            Ok(Self::Tar(Box::default()))
        } else {
            Err(Error::UnknownStream)
        }
    }

    /// Takes the end.
    ///
    /// # Errors
    /// When something is missing.
    pub(crate) fn finish(self) -> Result<Saved, Error> {
        let saved = |virtual_size, stream_len, blocks| Saved { virtual_size, stream_len, blocks };
        match self {
            Self::Unknown(_) => Err(Error::UnknownStream),
            Self::AnyVhd(first) => {
                let (at, missing) = (first.len() as u64, (SECTOR - first.len()) as u64);
                Err(Error::Stream(vhd::Error::Truncated { what: Structure::EndFooter, at, missing }))
            }
            Self::Vhd(decoder) => {
                let summary = decoder.finish().map_err(Error::Stream)?;
                Ok(saved(summary.footer.current_size, summary.stream_len, summary.blocks))
            }
            Self::FixedVhd(decoder) => {
                let summary = decoder.finish().map_err(Error::Stream)?;
                Ok(saved(summary.footer.current_size, summary.stream_len, 0))
            }
            Self::Qcow2(decoder) => {
                let position = decoder.position();
                let header = decoder.finish().map_err(Error::Qcow2Stream)?;
                Ok(saved(header.virtual_size, position, 0))
            }
            Self::Tar(decoder) => {
                let position = decoder.position();
                Ok(saved(decoder.finish().map_err(Error::Tar)?, position, 0))
            }
            Self::Chunked(decoder) => {
                let (size, position) = (decoder.size(), decoder.position());
                decoder.finish().map_err(Error::Chunked)?;
                Ok(saved(size, position, 0))
            }
            Self::Raw { position, size } if position == size => Ok(saved(size, position, 0)),
            Self::Raw { position, size } => Err(Error::Length { got: position, expected: size }),
        }
    }
}

fn feed_vhd(decoder: &mut Decoder, mut input: &[u8], take: &mut Take<'_>) -> Result<(), Error> {
    while let Some(event) = decoder.feed(&mut input).map_err(Error::Stream)? {
        match event {
            Event::Footer(footer) if footer.disk_type == DiskType::Differencing => {
                return Err(Error::PartOfDisk);
            }
            Event::Footer(footer) => take(Part::Size(footer.current_size))?,
            Event::Table { .. } => take(Part::Plan(&mut decoder.allocation()))?,
            Event::Data { virtual_offset, bytes } => take(Part::Data(virtual_offset, bytes))?,
            _ => {}
        }
    }
    Ok(())
}

fn feed_qcow2(decoder: &mut qcow2::Decoder, mut input: &[u8], take: &mut Take<'_>) -> Result<(), Error> {
    while let Some(event) = decoder.feed(&mut input).map_err(Error::Qcow2Stream)? {
        match event {
            qcow2::Event::Header(header) => take(Part::Size(header.virtual_size))?,
            qcow2::Event::Tables { .. } => take(Part::Plan(&mut decoder.allocation()))?,
            qcow2::Event::Data { virtual_offset, bytes } => take(Part::Data(virtual_offset, bytes))?,
        }
    }
    Ok(())
}
