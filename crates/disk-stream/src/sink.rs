//! Streams into files.

use std::path::Path;

use vhd::format::DiskType;
use vhd::{Decoder, Event, Summary};

use crate::chunked;
use crate::error::Error;
use crate::flatten::{End, Flat};
use crate::incoming::{Incoming, Part};
use crate::progress::Progress;
use crate::receive::Consume;
use crate::target::{Existing, Partial};
use crate::upload::Upload;

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
/// footer at the end included. A new one has the mode 0600, whatever the umask: it is a guest's disk.
#[derive(Debug)]
pub struct VhdSink {
    target: Partial,
    decoder: Decoder,
}

impl VhdSink {
    /// Begins a file at `path`, which keeps the stream byte for byte. On a device, where the last footer is to be at the
    /// device's end, it could not.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Create`], and [`Error::Refused`] for a device, before anything is written to it.
    pub fn create(path: &Path, existing: Existing) -> Result<Self, Error> {
        let target = Partial::private(path, existing)?;
        if target.is_device() {
            let why = "a VHD that is kept as it arrives does not fit the end of a device; save it to a file, and convert \
                       that onto the device";
            return Err(Error::Refused { path: path.to_owned(), why: why.to_owned() });
        }
        Ok(Self { target, decoder: Decoder::new() })
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
    /// What is put behind the disk.
    end: Option<End>,
    /// Whether the size of the disk is known.
    sized: bool,
}

impl RawSink {
    /// Begins a disk at `path` for a VHD stream, dynamic or fixed.
    ///
    /// A fixed VHD shows only by its last 512 bytes that it is one. It may therefore become a file, which does not appear if
    /// it was none, and no device, on which something would have been overwritten by then: [`Error::Refused`].
    ///
    /// # Errors
    /// [`Error::Exists`] and [`Error::Create`].
    pub fn of_vhd(path: &Path, existing: Existing) -> Result<Self, Error> {
        let mut sink = Self::new(path, existing, Incoming::AnyVhd(Vec::new()))?;
        if sink.target.is_device() {
            sink.incoming = Incoming::Vhd(Box::default());
        }
        Ok(sink)
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
    /// [`Error::UnknownStream`]: raw disks have to be named. An archive tells its disk's size only at its end, and is
    /// refused for a device before anything is written to it ([`is_archive`](crate::is_archive) tells which stream is one).
    ///
    /// # Errors
    /// [`Error::Exists`] and [`Error::Create`].
    pub fn of_any(path: &Path, existing: Existing) -> Result<Self, Error> {
        Self::new(path, existing, Incoming::Unknown(Vec::new()))
    }

    fn new(path: &Path, existing: Existing, incoming: Incoming) -> Result<Self, Error> {
        Ok(Self { target: Partial::private(path, existing)?, incoming, end: None, sized: false })
    }

    /// Makes it a fixed VHD: a footer is put behind the disk, which gets a whole number of sectors. Of `upload`, size, uuid
    /// and time of creation are used.
    ///
    /// # Errors
    /// [`Error::Refused`] for a device, whose length would have to be that of disk and footer:
    /// [`Image::save_fixed_vhd`](crate::Image::save_fixed_vhd) writes there.
    pub fn fixed_vhd(self, upload: Upload) -> Result<Self, Error> {
        if self.target.is_device() {
            let why = "a fixed VHD ends where the device does, and what comes does not tell where it ends before it does; \
                       save it to a file, and convert that onto the device";
            return Err(Error::Refused { path: self.target.path().to_owned(), why: why.to_owned() });
        }
        Ok(Self { end: Some(End { format: Flat::FixedVhd, upload }), ..self })
    }
}

impl Consume for RawSink {
    type Output = Saved;

    fn feed(&mut self, bytes: &[u8], progress: &Progress) -> Result<(), Error> {
        let Self { target, incoming, end, sized } = self;
        let again = matches!(incoming, Incoming::Chunked(_));
        let fed = incoming.feed(bytes, &mut |part| match part {
            Part::Size(size) => {
                let size = end.as_ref().map_or(Ok(size), |end| end.size(size))?;
                progress.set_virtual_size(size);
                *sized = true;
                target.expect(size)
            }
            Part::Data(..) if target.is_device() && !*sized => {
                let why = "an archive tells only at its end how large its disk is, which may not fit the device; save it to a \
                           file first";
                Err(Error::Refused { path: target.path().to_owned(), why: why.to_owned() })
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
        });
        fed.map_err(|error| match error {
            Error::Stream(vhd::Error::NotVhd { at: 0, .. }) if target.is_device() => {
                let why = "what comes does not begin as a dynamic VHD, and a fixed one shows only at its end that it is \
                           one; save it to a file first";
                Error::Refused { path: target.path().to_owned(), why: why.to_owned() }
            }
            error => error,
        })
    }

    fn finish(self) -> Result<Saved, Error> {
        let Self { target, incoming, end, .. } = self;
        let mut saved = incoming.finish()?;
        let Some(end) = end else {
            target.complete(saved.virtual_size)?;
            return Ok(saved);
        };
        saved.virtual_size = end.size(saved.virtual_size)?;
        let footer = end.footer(saved.virtual_size)?;
        target.write_footer(saved.virtual_size, &footer)?;
        target.complete(saved.virtual_size + footer.len() as u64)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar;
    use vhd::format::{BLOCK_SIZE, DynamicHeader, FOOTER_LEN, Footer};

    /// What is no disk after all is known before the first byte of the device is gone.
    #[test]
    fn a_device_is_left_alone_until_tables_are_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device");
        let before = vec![0xa5; 8 << 20];
        for (stream, whole) in
            [(vhd_of(&[3, 3]), false), (qcow2_of(1 << 62), false), (vhd_of(&[u32::MAX; 2]), true)]
        {
            std::fs::write(&path, &before).unwrap();
            let mut sink = sink_on(&path);
            let progress = Progress::new();
            let fed = stream.chunks(777).try_for_each(|bytes| sink.feed(bytes, &progress));
            assert_eq!(fed.is_ok(), whole, "{fed:?}");
            assert!(std::fs::read(&path).unwrap() == before);
            assert_eq!(fed.and_then(|()| sink.finish()).is_ok(), whole);
            assert_eq!(
                std::fs::read(&path).unwrap() == before,
                !whole,
                "what is empty has to be written, too"
            );
        }
    }

    #[test]
    fn a_device_is_left_alone_by_what_does_not_tell_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device");
        std::fs::write(&path, vec![0xa5; 8 << 20]).unwrap();
        let mut sink = sink_on(&path);
        let mut header = [0; 512];
        header[..14].copy_from_slice(b"Ref:1/00000000");
        header[124..135].copy_from_slice(b"00000000001");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert!(tar::is_archive(&header));
        let progress = Progress::new();
        sink.feed(&header, &progress).unwrap();
        let refused = sink.feed(b"a", &progress).unwrap_err().to_string();
        assert!(refused.contains("save it to a file first"), "{refused}");
        assert!(std::fs::read(&path).unwrap() == vec![0xa5; 8 << 20]);
    }

    fn sink_on(path: &Path) -> RawSink {
        let (target, incoming) = (Partial::as_device(path), Incoming::Unknown(Vec::new()));
        RawSink { target, incoming, end: None, sized: false }
    }

    /// A dynamic VHD of two blocks with these entries.
    fn vhd_of(table: &[u32; 2]) -> Vec<u8> {
        let uuid = uuid::Uuid::from_u128(1);
        let creator = vhd::format::Creator::XENAPI_RS;
        let footer = Footer::new(
            DiskType::Dynamic,
            2 * u64::from(BLOCK_SIZE),
            uuid,
            vhd::format::Timestamp(1),
            creator,
        );
        let header = DynamicHeader::new(1536, 2);
        let mut bytes = [&footer.to_bytes()[..], &header.to_bytes()].concat();
        table.iter().for_each(|entry| bytes.extend_from_slice(&entry.to_be_bytes()));
        bytes.resize(2048, 0xff);
        bytes.extend_from_slice(&footer.to_bytes());
        assert_eq!(bytes.len(), 2048 + FOOTER_LEN);
        bytes
    }

    /// A qcow2 image of 1 MiB in clusters of 4 KiB, with this entry in its second table.
    fn qcow2_of(entry: u64) -> Vec<u8> {
        let mut file = vec![0; 6 * 4096];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"QFI\xfb");
        for (at, value) in [(4, 3_u32), (20, 12), (36, 1), (56, 1), (96, 4), (100, 112)] {
            put(at, &value.to_be_bytes());
        }
        for (at, value) in
            [(24, 1 << 20), (40, 3 * 4096), (48, 4096), (4096, 2 * 4096), (3 * 4096, (1 << 63) + 4 * 4096)]
        {
            put(at, &u64::to_be_bytes(value));
        }
        put(4 * 4096, &(entry + 5 * 4096).to_be_bytes());
        file
    }
}
