//! Is the disk that comes back the image that was sent?

use std::ops::Range;

use vhd::{BlockSet, Decoder, Event, bitmap, zero};

use crate::error::Error;
use crate::image::Image;
use crate::progress::Progress;
use crate::reader::Reader;
use crate::receive::Consume;
use crate::sink::{note, whole_disk};

/// Compares a stream with an image while it arrives; nothing of the disk is kept.
///
/// The disk may be larger than the image, as a VDI grown to a flavor's size is: what lies behind
/// the image must be zero. Every byte of both is looked at, except what both sides say is not
/// allocated.
#[derive(Debug)]
pub struct Verifier {
    reader: Reader,
    buffer: Vec<u8>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Raw {
        position: u64,
    },
    Vhd {
        decoder: Box<Decoder>,
        /// Blocks that came; the others must be zero in the image.
        seen: BlockSet,
    },
}

/// What a verification has looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Size of the disk in bytes.
    pub virtual_size: u64,
    /// Bytes of the disk that were in the stream.
    pub compared_bytes: u64,
}

const BUFFER: usize = 256 << 10;

impl Verifier {
    /// For a raw stream.
    pub fn of_raw(image: &Image) -> Self {
        Self::new(image, Source::Raw { position: 0 })
    }

    /// For a VHD stream.
    pub fn of_vhd(image: &Image) -> Self {
        // The set is made anew when the header is there.
        let seen = BlockSet::new(0, vhd::format::BLOCK_SIZE);
        Self::new(image, Source::Vhd { decoder: Box::default(), seen })
    }

    fn new(image: &Image, source: Source) -> Self {
        Self { reader: image.reader(), buffer: vec![0; BUFFER], source }
    }

    fn compare(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        for (part, at) in bytes.chunks(BUFFER).zip((offset..).step_by(BUFFER)) {
            let ours = &mut self.buffer[..part.len()];
            self.reader.read(at, ours)?;
            if ours != part {
                let same = ours.iter().zip(part).take_while(|(a, b)| a == b).count();
                return Err(self.differs(at + same as u64));
            }
        }
        Ok(())
    }

    /// The image must be zero here.
    fn expect_zero(&mut self, bytes: Range<u64>) -> Result<(), Error> {
        let mut from = bytes.start;
        while let Some(extent) = self.reader.next_likely(from, bytes.end)? {
            from = extent.end;
            for at in extent.clone().step_by(BUFFER) {
                let len = usize::try_from(extent.end - at).unwrap_or(BUFFER).min(BUFFER);
                let ours = &mut self.buffer[..len];
                self.reader.read(at, ours)?;
                if !zero::is_zero(ours) {
                    let zeros = ours.iter().take_while(|byte| **byte == 0).count();
                    return Err(self.differs(at + zeros as u64));
                }
            }
        }
        Ok(())
    }

    /// A difference, unless the image is no longer what it was.
    fn differs(&self, offset: u64) -> Error {
        let image = self.reader.image();
        match image.check_unchanged() {
            Err(changed) => changed,
            Ok(()) => Error::Differs { path: image.path().to_owned(), offset },
        }
    }

    fn check_size(&self, got: u64) -> Result<(), Error> {
        let image = self.reader.image();
        let expected = image.virtual_size();
        if got < expected {
            return Err(Error::TooSmall { path: image.path().to_owned(), got, expected });
        }
        Ok(())
    }

    fn event(&mut self, event: &Event<'_>, bits: &[u8]) -> Result<(), Error> {
        whole_disk(event)?;
        match event {
            Event::Footer(footer) => self.check_size(footer.current_size),
            Event::Block { bytes, full } => {
                if !full {
                    // A block has at most 256 MiB.
                    let sectors = u32::try_from((bytes.end - bytes.start).div_ceil(512)).unwrap_or(u32::MAX);
                    for (run, present) in bitmap::runs(bits, sectors) {
                        let place = |sector: u32| bytes.end.min(bytes.start + u64::from(sector) * 512);
                        if !present {
                            self.expect_zero(place(run.start)..place(run.end))?;
                        }
                    }
                }
                Ok(())
            }
            Event::Data { virtual_offset, bytes } => self.compare(*virtual_offset, bytes),
            _ => Ok(()),
        }
    }
}

impl Consume for Verifier {
    type Output = Verified;

    fn feed(&mut self, bytes: &[u8], progress: &Progress) -> Result<(), Error> {
        let mut input = bytes;
        loop {
            let (event, bits) = match &mut self.source {
                Source::Raw { position } => {
                    let at = *position;
                    *position += bytes.len() as u64;
                    progress.set_virtual_size(self.reader.image().virtual_size());
                    progress.reach(*position);
                    return self.compare(at, bytes);
                }
                Source::Vhd { decoder, seen } => {
                    let Some(event) = decoder.feed(&mut input).map_err(Error::Stream)? else { return Ok(()) };
                    note(&event, progress);
                    match (&event, decoder.footer()) {
                        (Event::Header(header), Some(footer)) => {
                            *seen = BlockSet::new(footer.current_size, header.block_size);
                        }
                        (Event::Block { bytes, .. }, _) => seen.insert_bytes(bytes.clone()),
                        _ => {}
                    }
                    let bits = match &event {
                        Event::Block { full: false, .. } => decoder.bitmap().to_vec(),
                        _ => Vec::new(),
                    };
                    (event, bits)
                }
            };
            self.event(&event, &bits)?;
        }
    }

    fn finish(mut self) -> Result<Verified, Error> {
        let empty = Source::Raw { position: 0 };
        let verified = match std::mem::replace(&mut self.source, empty) {
            Source::Raw { position } => {
                self.check_size(position)?;
                Verified { virtual_size: position, compared_bytes: position }
            }
            Source::Vhd { decoder, seen } => {
                let summary = decoder.finish().map_err(Error::Stream)?;
                for gap in seen.gaps() {
                    self.expect_zero(gap)?;
                }
                let compared_bytes = seen.extents().map(|extent| extent.end - extent.start).sum();
                Verified { virtual_size: summary.footer.current_size, compared_bytes }
            }
        };
        self.reader.image().check_unchanged()?;
        Ok(verified)
    }
}
