//! A stream written as the disk's bytes in their order while it passes: a raw disk, or a fixed VHD.

use std::io::Write;
use std::ops::Range;

use vhd::format::SECTOR;
use vhd::layout::Layout;

use crate::error::Error;
use crate::incoming::{Incoming, Outlet, Part};
use crate::pool::zeros;
use crate::progress::Progress;
use crate::receive::Consume;
use crate::sink::Saved;
use crate::upload::Upload;

/// What a stream is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arriving {
    /// It tells itself: a dynamic VHD, a qcow2 image whose tables precede its data, or an archive of chunks as XAPI makes it.
    Unknown,
    /// A VHD of any type. A fixed one shows only by its last 512 bytes that it is one.
    Vhd,
    /// A raw disk of so many bytes.
    Raw(u64),
}

/// Disks that have all their bytes in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flat {
    /// The bytes and nothing else.
    Raw,
    /// The bytes of a whole number of sectors, and a footer.
    FixedVhd,
}

/// Takes the stream of a disk and writes all of its bytes in order, as a raw disk or a fixed VHD. Nothing is kept but the
/// table of a VHD or of a qcow2 image.
///
/// Blocks in another order than the disk's are [`Error::OutOfOrder`], before anything is written.
pub struct Flatten<W> {
    incoming: Incoming,
    output: Output<W>,
}

struct Output<W> {
    writer: W,
    end: End,
    /// Bytes written.
    position: u64,
    planned: bool,
}

/// What a disk ends with.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) format: Flat,
    pub(crate) upload: Upload,
}

impl<W> std::fmt::Debug for Flatten<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flatten").field("incoming", &self.incoming).finish_non_exhaustive()
    }
}

impl<W: Write> Flatten<W> {
    /// Writes to `writer`. Of `upload`, size, uuid and time of creation are used.
    pub fn new(writer: W, stream: Arriving, format: Flat, upload: Upload) -> Self {
        let incoming = match stream {
            Arriving::Unknown => Incoming::Unknown(Vec::new()),
            Arriving::Vhd => Incoming::AnyVhd(Vec::new()),
            Arriving::Raw(size) => Incoming::Raw { position: 0, size },
        };
        let output = Output { writer, end: End { format, upload }, position: 0, planned: false };
        Self { incoming, output }
    }

    /// Whether it is known that nothing stands in the way of writing; before that, nothing is written.
    pub fn is_planned(&self) -> bool {
        self.output.planned
    }
}

impl End {
    /// The size of the disk, of which `arrived` bytes have come or will come, as the target has it.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`], and [`Error::Layout`] for a fixed VHD that is larger than one may be.
    pub(crate) fn size(&self, arrived: u64) -> Result<u64, Error> {
        let size = self.upload.virtual_size.unwrap_or(arrived);
        if size < arrived {
            let (path, virtual_size) = ("the stream".into(), arrived);
            return Err(Error::DoesNotFit { path, virtual_size, asked: size });
        }
        match self.format {
            Flat::Raw => Ok(size),
            Flat::FixedVhd => Ok(self.layout(size)?.footer().current_size),
        }
    }

    /// What stands behind a disk of this size.
    ///
    /// # Errors
    /// As [`End::size`].
    pub(crate) fn footer(&self, size: u64) -> Result<Vec<u8>, Error> {
        match self.format {
            Flat::Raw => Ok(Vec::new()),
            Flat::FixedVhd => Ok(self.layout(size)?.footer().to_bytes().to_vec()),
        }
    }

    fn layout(&self, size: u64) -> Result<Layout, Error> {
        let failed = |source| Error::Layout { path: "the stream".into(), source };
        let whole = size.checked_next_multiple_of(SECTOR).unwrap_or(u64::MAX);
        Layout::fixed(&self.upload.parameters(whole)).map_err(failed)
    }
}

impl<W: Write> Outlet for Output<W> {
    fn take(&mut self, part: Part<'_>, progress: &Progress) -> Result<(), Error> {
        match part {
            Part::Size(size) => {
                progress.set_virtual_size(self.end.size(size)?);
                Ok(())
            }
            Part::Plan(extents) => {
                progress.set_data_size(in_order(extents)?);
                self.planned = true;
                Ok(())
            }
            Part::Data(at, bytes) => {
                let end = at + bytes.len() as u64;
                if at < self.position {
                    return Err(Error::OutOfOrder);
                }
                self.end.size(end)?;
                self.planned = true;
                self.zeros(at)?;
                self.writer.write_all(bytes).map_err(Error::Output)?;
                self.position = end;
                progress.add_data(bytes.len());
                progress.reach(end);
                Ok(())
            }
        }
    }
}

impl<W: Write> Output<W> {
    /// Zeros up to byte `to` of the disk.
    fn zeros(&mut self, to: u64) -> Result<(), Error> {
        while self.position < to {
            let gap = zeros(to - self.position);
            self.writer.write_all(&gap).map_err(Error::Output)?;
            self.position += gap.len() as u64;
        }
        Ok(())
    }
}

/// How many bytes these are, if they are in the disk's order.
fn in_order(extents: &mut dyn Iterator<Item = Range<u64>>) -> Result<u64, Error> {
    let (mut end, mut all) = (0, 0);
    for extent in extents {
        if extent.start < end {
            return Err(Error::OutOfOrder);
        }
        all += extent.end - extent.start;
        end = extent.end;
    }
    Ok(all)
}

impl<W: Write + Send + 'static> Consume for Flatten<W> {
    type Output = Saved;

    fn feed(&mut self, bytes: &[u8], progress: &Progress) -> Result<(), Error> {
        self.incoming.pour(bytes, &mut self.output, progress)
    }

    fn finish(self) -> Result<Saved, Error> {
        let Self { incoming, mut output } = self;
        // Its footer completes a disk: not for a stream that is not complete.
        let size = output.end.size(incoming.finish()?.virtual_size)?;
        output.zeros(size)?;
        let footer = output.end.footer(size)?;
        output.writer.write_all(&footer).map_err(Error::Output)?;
        output.writer.flush().map_err(Error::Output)?;
        Ok(Saved { virtual_size: size, stream_len: size + footer.len() as u64, blocks: 0 })
    }
}
