//! Streams into files.

use std::path::Path;

use vhd::format::DiskType;
use vhd::{Decoder, Event, Summary};

use crate::chunked;
use crate::error::Error;
use crate::incoming::{Incoming, Part};
use crate::progress::Progress;
use crate::receive::Consume;
use crate::target::{Existing, Partial};

/// What a sink has written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
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

/// Takes a stream and keeps the disk as a sparse raw file, or writes it to a block device.
///
/// Blocks may come in any order. See [`Existing`] for devices.
#[derive(Debug)]
pub struct RawSink {
    target: Partial,
    incoming: Incoming,
}

impl RawSink {
    /// Begins a disk at `path` for a dynamic VHD stream.
    ///
    /// # Errors
    /// [`Error::Exists`] and [`Error::Create`].
    pub fn of_vhd(path: &Path, existing: Existing) -> Result<Self, Error> {
        Self::new(path, existing, Incoming::Vhd(Box::default()))
    }

    /// Begins a disk at `path` for a raw stream of exactly `size` bytes.
    ///
    /// # Errors
    /// [`Error::Exists`] and [`Error::Create`].
    pub fn of_raw(path: &Path, existing: Existing, size: u64) -> Result<Self, Error> {
        Self::new(path, existing, Incoming::Raw { position: 0, size })
    }

    /// Begins a disk of `size` bytes at `path` for a stream in XAPI's `chunked` framing, which does not tell the
    /// size. Where no record says anything it is zero. What is wrong with the stream is
    /// [`Error::Chunked`].
    ///
    /// # Errors
    /// [`Error::Exists`] and [`Error::Create`].
    pub fn of_chunked(path: &Path, existing: Existing, size: u64) -> Result<Self, Error> {
        Self::new(path, existing, Incoming::Chunked(Box::new(chunked::Decoder::new(size))))
    }

    /// Begins a disk at `path` for a stream that tells what it is: a dynamic VHD, a qcow2 image whose tables
    /// precede its data, or an archive of chunks as XAPI makes it. A stream that is none of them is
    /// [`Error::UnknownStream`]: raw disks have to be named.
    ///
    /// # Errors
    /// [`Error::Exists`] and [`Error::Create`].
    pub fn of_any(path: &Path, existing: Existing) -> Result<Self, Error> {
        Self::new(path, existing, Incoming::Unknown(Vec::new()))
    }

    fn new(path: &Path, existing: Existing, incoming: Incoming) -> Result<Self, Error> {
        Ok(Self { target: Partial::create_disk(path, existing)?, incoming })
    }
}

impl Consume for RawSink {
    type Output = Saved;

    fn feed(&mut self, bytes: &[u8], progress: &Progress) -> Result<(), Error> {
        let Self { target, incoming } = self;
        let again = matches!(incoming, Incoming::Chunked(_));
        incoming.feed(bytes, &mut |part| match part {
            Part::Size(size) => {
                progress.set_virtual_size(size);
                target.expect(size)
            }
            Part::Plan(extents) => {
                progress.set_data_size(extents.map(|extent| extent.end - extent.start).sum());
                Ok(())
            }
            Part::Data(at, bytes) => {
                if again {
                    target.overwrite_at(at, bytes)?;
                } else {
                    target.write_at(at, bytes)?;
                }
                progress.add_data(bytes.len());
                progress.reach(at + bytes.len() as u64);
                Ok(())
            }
        })
    }

    fn finish(self) -> Result<Saved, Error> {
        let saved = self.incoming.finish()?;
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
