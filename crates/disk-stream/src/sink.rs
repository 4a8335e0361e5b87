//! Streams into files.

use std::path::Path;

use vhd::format::DiskType;
use vhd::{Decoder, Event, Summary};

use crate::error::Error;
use crate::progress::Progress;
use crate::receive::Consume;
use crate::target::{Existing, Partial};

/// What a sink has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Size of the disk in bytes.
    pub virtual_size: u64,
    /// Length of the stream in bytes.
    pub stream_len: u64,
    /// Blocks of a VHD stream; 0 for a raw one.
    pub blocks: u32,
}

/// Takes a dynamic or differencing VHD stream and keeps it, byte for byte, as a VHD file.
///
/// The stream is decoded on the way: the file appears only when everything is there and right, the
/// footer at the end included.
#[derive(Debug)]
pub struct VhdSink {
    target: Partial,
    decoder: Decoder,
}

impl VhdSink {
    /// Begins a file at `path`.
    ///
    /// # Errors
    /// [`Error::Exists`] and [`Error::Create`].
    pub fn create(path: &Path, existing: Existing) -> Result<Self, Error> {
        Ok(Self { target: Partial::create(path, existing)?, decoder: Decoder::new() })
    }
}

impl Consume for VhdSink {
    type Output = Saved;

    fn feed(&mut self, bytes: &[u8], progress: &Progress) -> Result<(), Error> {
        let position = self.decoder.position();
        let mut input = bytes;
        while let Some(event) = self.decoder.feed(&mut input).map_err(Error::Stream)? {
            note(&event, progress);
        }
        self.target.write_at(position, bytes)
    }

    fn finish(self) -> Result<Saved, Error> {
        let summary = self.decoder.finish().map_err(Error::Stream)?;
        self.target.complete(summary.stream_len)?;
        Ok(saved(&summary))
    }
}

/// Takes a stream and keeps the disk as a sparse raw file.
#[derive(Debug)]
pub struct RawSink {
    target: Partial,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Vhd(Box<Decoder>),
    Raw { position: u64, size: u64 },
}

impl RawSink {
    /// Begins a file at `path` for a dynamic VHD stream.
    ///
    /// # Errors
    /// [`Error::Exists`] and [`Error::Create`].
    pub fn of_vhd(path: &Path, existing: Existing) -> Result<Self, Error> {
        Ok(Self { target: Partial::create(path, existing)?, source: Source::Vhd(Box::default()) })
    }

    /// Begins a file at `path` for a raw stream of exactly `size` bytes.
    ///
    /// # Errors
    /// [`Error::Exists`] and [`Error::Create`].
    pub fn of_raw(path: &Path, existing: Existing, size: u64) -> Result<Self, Error> {
        Ok(Self { target: Partial::create(path, existing)?, source: Source::Raw { position: 0, size } })
    }
}

impl Consume for RawSink {
    type Output = Saved;

    fn feed(&mut self, bytes: &[u8], progress: &Progress) -> Result<(), Error> {
        match &mut self.source {
            Source::Vhd(decoder) => {
                let mut input = bytes;
                while let Some(event) = decoder.feed(&mut input).map_err(Error::Stream)? {
                    note(&event, progress);
                    whole_disk(&event)?;
                    if let Event::Data { virtual_offset, bytes } = event {
                        self.target.write_at(virtual_offset, bytes)?;
                    }
                }
            }
            Source::Raw { position, size } => {
                let end = *position + bytes.len() as u64;
                if end > *size {
                    return Err(Error::Length { got: end, expected: *size });
                }
                self.target.write_at(*position, bytes)?;
                *position = end;
                progress.set_virtual_size(*size);
                progress.reach(end);
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Saved, Error> {
        let saved = match self.source {
            Source::Vhd(decoder) => saved(&decoder.finish().map_err(Error::Stream)?),
            Source::Raw { position, size } if position == size => {
                Saved { virtual_size: size, stream_len: position, blocks: 0 }
            }
            Source::Raw { position, size } => return Err(Error::Length { got: position, expected: size }),
        };
        self.target.complete(saved.virtual_size)?;
        Ok(saved)
    }
}

fn saved(summary: &Summary) -> Saved {
    Saved {
        virtual_size: summary.footer.current_size,
        stream_len: summary.stream_len,
        blocks: summary.blocks,
    }
}

/// Refuses streams that are only a part of a disk.
pub(crate) fn whole_disk(event: &Event<'_>) -> Result<(), Error> {
    match event {
        Event::Footer(footer) if footer.disk_type == DiskType::Differencing => Err(Error::PartOfDisk),
        _ => Ok(()),
    }
}

pub(crate) fn note(event: &Event<'_>, progress: &Progress) {
    match event {
        Event::Footer(footer) => progress.set_virtual_size(footer.current_size),
        Event::Data { virtual_offset, bytes } => progress.reach(virtual_offset + bytes.len() as u64),
        _ => {}
    }
}
