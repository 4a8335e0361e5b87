//! A stream written anew while it passes.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::ops::Range;

use rustix::io::Errno;
use vhd::format::{BLOCK_SIZE, round_up_to_block};
use vhd::layout::{Layout, Segment, Segments};
use vhd::{Ahead, BlockSet, zero};

use crate::error::Error;
use crate::incoming::{Incoming, Outlet, Part};
use crate::pipe::Passage;
use crate::pool::zeros;
use crate::progress::Progress;
use crate::receive::Consume;
use crate::sink::Saved;
use crate::upload::Upload;

/// Takes the stream of a disk, a VHD by whoever or a qcow2 image, and writes it as our dynamic VHD: blocks
/// of 2 MiB in the disk's order, full bitmaps. Nothing is kept but a table.
///
/// What the stream calls allocated is written: its zeros are not looked for, because the length has to be
/// known before them.
pub struct Recode<W> {
    incoming: Incoming,
    output: Output<W>,
}

struct Output<W> {
    writer: W,
    upload: Upload,
    size: u64,
    plan: Option<Plan>,
}

/// What is still to be written.
struct Plan {
    segments: Segments,
    stream_len: u64,
    virtual_size: u64,
    blocks: u32,
    /// The payload that comes next, in bytes of the disk.
    payload: Range<u64>,
}

impl<W> std::fmt::Debug for Recode<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recode").field("incoming", &self.incoming).finish_non_exhaustive()
    }
}

impl<W: Write> Recode<W> {
    /// Writes to `writer`. Of `upload`, size, uuid and time of creation are used.
    pub fn new(writer: W, upload: Upload) -> Self {
        let output = Output { writer, upload, size: 0, plan: None };
        Self { incoming: Incoming::Unknown(Vec::new()), output }
    }

    /// The exact length of what is written, once the tables of the stream are read; before that, nothing is
    /// written.
    pub fn stream_len(&self) -> Option<u64> {
        self.output.plan.as_ref().map(|plan| plan.stream_len)
    }
}

/// Bytes that are read at a time where they have to be looked at.
const READ: u64 = 256 << 10;

impl Recode<File> {
    /// Feeds all that `input` has, and finishes. Blocking.
    ///
    /// Where the system can do it (one end is a pipe), data of a VHD go from one end to the other without
    /// being copied here: footers, header, table and bitmaps are read and checked as ever, and data are
    /// never looked at by a [`Recode`].
    ///
    /// # Errors
    /// What is wrong with the stream, [`Error::Input`] and [`Error::Output`].
    pub fn feed_all(mut self, mut input: &File, progress: &Progress) -> Result<Saved, Error> {
        let mut buffer = vec![0; READ as usize];
        let passage = Passage::between(input, &self.output.writer);
        let mut may_splice = true;
        loop {
            let most = match self.incoming.ahead() {
                Ahead::Data(range) if may_splice => match self.pass(passage, input, &range)? {
                    Some(0) => return self.finish(),
                    Some(len) => {
                        progress.add_data(usize::try_from(len).unwrap_or(usize::MAX));
                        progress.reach(range.start + len);
                        continue;
                    }
                    None => {
                        may_splice = false;
                        continue;
                    }
                },
                Ahead::Data(_) => READ,
                // Not a byte of data is read that could be passed on.
                Ahead::Other(len) => {
                    if may_splice {
                        len.min(READ)
                    } else {
                        READ
                    }
                }
            };
            // At most a buffer.
            match input.read(&mut buffer[..usize::try_from(most).unwrap_or(usize::MAX)]) {
                Ok(0) => return self.finish(),
                Ok(len) => self.feed(&buffer[..len], progress)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Input(error)),
            }
        }
    }

    /// Moves the first of these bytes of the disk from `input` to the output, and tells how many: none at the
    /// end. `None` when they have to be read, because the system cannot do it, or because they are not planned.
    fn pass(&mut self, passage: Passage, input: &File, range: &Range<u64>) -> Result<Option<u64>, Error> {
        self.output.advance(range.start)?;
        let Some(plan) = &mut self.output.plan else { return Err(Error::Unplanned) };
        if plan.payload.start != range.start || plan.payload.is_empty() {
            return Ok(None);
        }
        let len = usize::try_from(range.end.min(plan.payload.end) - range.start).unwrap_or(usize::MAX);
        match passage.pass(input, &self.output.writer, len) {
            Ok(len) => {
                let len = len as u64;
                plan.payload.start += len;
                self.incoming.pass_data(len);
                Ok(Some(len))
            }
            Err(Errno::INVAL | Errno::NOSYS | Errno::PERM | Errno::OPNOTSUPP) => Ok(None),
            Err(error) => Err(Error::Output(error.into())),
        }
    }
}

impl<W: Write> Outlet for Output<W> {
    fn take(&mut self, part: Part<'_>, progress: &Progress) -> Result<(), Error> {
        match part {
            Part::Size(size) => {
                self.size = size;
                progress.set_virtual_size(size);
                Ok(())
            }
            Part::Plan(extents) => self.plan(extents, progress),
            Part::Data(at, bytes) => {
                self.data(at, bytes)?;
                progress.add_data(bytes.len());
                progress.reach(at + bytes.len() as u64);
                Ok(())
            }
        }
    }
}

impl<W: Write> Output<W> {
    fn plan(
        &mut self,
        extents: &mut dyn Iterator<Item = Range<u64>>,
        progress: &Progress,
    ) -> Result<(), Error> {
        let failed = |source| Error::Layout { path: "the stream".into(), source };
        let size =
            self.upload.virtual_size.unwrap_or_else(|| round_up_to_block(self.size).unwrap_or(u64::MAX));
        if size < self.size {
            let (path, virtual_size) = ("the stream".into(), self.size);
            return Err(Error::DoesNotFit { path, virtual_size, asked: size });
        }
        let parameters = self.upload.parameters(size);
        // What is too large is told before a table is made for it.
        Layout::fixed(&parameters).map_err(failed)?;
        let mut set = BlockSet::new(size, BLOCK_SIZE);
        let (mut end, mut allocated) = (0, 0);
        for extent in extents {
            if extent.start < end {
                return Err(Error::OutOfOrder);
            }
            allocated += extent.end - extent.start;
            end = extent.end;
            set.insert_bytes(extent);
        }
        progress.set_data_size(allocated);
        let blocks = u32::try_from(set.len()).unwrap_or(u32::MAX);
        let layout = Layout::dynamic(&parameters, set).map_err(failed)?;
        let stream_len = layout.stream_len();
        let segments = layout.into_segments();
        self.plan = Some(Plan { segments, stream_len, virtual_size: size, blocks, payload: 0..0 });
        Ok(())
    }

    /// Writes everything up to byte `at` of the disk, as zeros where it has to be data.
    fn advance(&mut self, at: u64) -> Result<(), Error> {
        let Some(plan) = &mut self.plan else { return Err(Error::Unplanned) };
        let write = |writer: &mut W, bytes: &[u8]| writer.write_all(bytes).map_err(Error::Output);
        loop {
            while !plan.payload.is_empty() && plan.payload.start < at {
                let gap = zeros(plan.payload.end.min(at) - plan.payload.start);
                write(&mut self.writer, &gap)?;
                plan.payload.start += gap.len() as u64;
            }
            if !plan.payload.is_empty() {
                return Ok(());
            }
            match plan.segments.next() {
                None => return Ok(()),
                Some(Segment::Payload { virtual_offset, len }) => {
                    plan.payload = virtual_offset..virtual_offset + len;
                }
                Some(Segment::Meta(bytes)) => write(&mut self.writer, &bytes)?,
                Some(Segment::Zeros { len }) => {
                    let mut left = len;
                    while left > 0 {
                        let gap = zeros(left);
                        write(&mut self.writer, &gap)?;
                        left -= gap.len() as u64;
                    }
                }
            }
        }
    }

    fn data(&mut self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            self.advance(at)?;
            let Some(plan) = &mut self.plan else { return Err(Error::Unplanned) };
            let room = plan.payload.end.saturating_sub(at);
            let len = usize::try_from(room).unwrap_or(usize::MAX).min(rest.len());
            // Only what was planned can come, in the planned order.
            if len == 0 || plan.payload.start != at {
                return if zero::is_zero(rest) { Ok(()) } else { Err(Error::OutOfOrder) };
            }
            self.writer.write_all(&rest[..len]).map_err(Error::Output)?;
            plan.payload.start += len as u64;
            at += len as u64;
            rest = &rest[len..];
        }
        Ok(())
    }
}

impl<W: Write + Send + 'static> Consume for Recode<W> {
    type Output = Saved;

    fn feed(&mut self, bytes: &[u8], progress: &Progress) -> Result<(), Error> {
        self.incoming.pour(bytes, &mut self.output, progress)
    }

    fn finish(self) -> Result<Saved, Error> {
        let Self { incoming, mut output } = self;
        // Its footer completes a disk: not for a stream that is not complete.
        incoming.finish()?;
        output.advance(u64::MAX)?;
        output.writer.flush().map_err(Error::Output)?;
        let Some(plan) = output.plan else { return Err(Error::Unplanned) };
        Ok(Saved { virtual_size: plan.virtual_size, stream_len: plan.stream_len, blocks: plan.blocks })
    }
}
