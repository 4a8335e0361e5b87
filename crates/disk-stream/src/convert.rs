//! Images into files of the other format.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use vhd::Layout;
use vhd::format::SECTOR;
use vhd::layout::Segment;

use crate::copy::{Step, copy};
use crate::error::Error;
use crate::image::Image;
use crate::produce::Plan;
use crate::progress::Stage;
use crate::sink::Saved;
use crate::target::{Existing, Partial};
use crate::upload::Upload;

/// Bytes that a thread takes at a time where nothing else says how many belong together.
const STEP: u64 = 2 << 20;

impl Image {
    /// Writes the disk as a dynamic VHD file. Blocking.
    ///
    /// # Errors
    /// As [`Image::vhd_body`], and [`Error::Exists`], [`Error::Create`], [`Error::Write`].
    pub fn save_vhd(&self, path: &Path, existing: Existing, upload: &Upload) -> Result<Saved, Error> {
        let plan = self.plan(upload, &AtomicBool::new(true))?;
        self.save_planned(plan.into(), path, existing, upload)
    }

    /// Writes the disk as a qcow2 image, all tables before the data: see [`Image::qcow2_body`]. Blocking.
    ///
    /// # Errors
    /// As [`Image::qcow2_body`], and [`Error::Exists`], [`Error::Create`], [`Error::Write`].
    pub fn save_qcow2(&self, path: &Path, existing: Existing, upload: &Upload) -> Result<Saved, Error> {
        let plan = self.plan_qcow2(upload, &AtomicBool::new(true))?;
        self.save_planned(plan, path, existing, upload)
    }

    pub(crate) fn save_planned(
        &self,
        plan: Plan,
        path: &Path,
        existing: Existing,
        upload: &Upload,
    ) -> Result<Saved, Error> {
        let target = Partial::create(path, existing)?;
        let Plan { mut segments, stream_len, virtual_size, data_len, blocks } = plan;
        upload.progress.begin(Stage::Streaming, stream_len, virtual_size);
        upload.progress.set_data_size(data_len);
        let (mut position, mut payload) = (0, 0..0);
        copy(self, &target, &upload.progress, || {
            loop {
                let to = position;
                if !payload.is_empty() {
                    let (from, len) = (payload.start, STEP.min(payload.end - payload.start));
                    payload.start += len;
                    position += len;
                    return Ok(Some(Step::Move { from, len, to }));
                }
                match segments.next() {
                    Some(Segment::Meta(bytes)) => {
                        position += bytes.len() as u64;
                        return Ok(Some(Step::Put { bytes, to }));
                    }
                    Some(Segment::Payload { virtual_offset, len }) => {
                        payload = virtual_offset..virtual_offset + len;
                    }
                    // A hole.
                    Some(Segment::Zeros { len }) => position += len,
                    None => return Ok(None),
                }
            }
        })?;
        target.complete(stream_len)?;
        Ok(Saved { virtual_size, stream_len, blocks })
    }

    /// Writes the disk as a sparse raw file, or to a block device (see [`Existing`]). Blocking.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Changed`], [`Error::Exists`], [`Error::Create`],
    /// [`Error::DeviceTooSmall`] and [`Error::Write`].
    pub fn save_raw(&self, path: &Path, existing: Existing, upload: &Upload) -> Result<Saved, Error> {
        let size = upload.virtual_size.unwrap_or(self.virtual_size()).max(self.virtual_size());
        self.save_flat(path, existing, upload, size, &[])
    }

    /// Writes the disk as a fixed VHD: a sparse raw file with a footer behind it. Blocking.
    ///
    /// # Errors
    /// As [`Image::save_raw`], and [`Error::Layout`] for a disk larger than a VHD can be.
    pub fn save_fixed_vhd(&self, path: &Path, existing: Existing, upload: &Upload) -> Result<Saved, Error> {
        let size = upload.virtual_size.unwrap_or(self.virtual_size()).max(self.virtual_size());
        let failed = |source| Error::Layout { path: self.path().to_owned(), source };
        let size = size.next_multiple_of(SECTOR);
        let footer = Layout::fixed(&upload.parameters(size)).map_err(failed)?.footer().to_bytes();
        self.save_flat(path, existing, upload, size, &footer)
    }

    /// The disk's bytes at their places, and something behind them.
    fn save_flat(
        &self,
        path: &Path,
        existing: Existing,
        upload: &Upload,
        size: u64,
        tail: &[u8],
    ) -> Result<Saved, Error> {
        let target = if tail.is_empty() {
            Partial::create_disk(path, existing)?
        } else {
            Partial::create(path, existing)?
        };
        target.expect(size)?;
        let stream_len = size + tail.len() as u64;
        upload.progress.begin(Stage::Streaming, size, size);
        let (mut reader, mut at) = (self.reader(), 0);
        copy(self, &target, &upload.progress, || {
            let Some(extent) = reader.next_data(at, self.virtual_size())? else { return Ok(None) };
            let (from, len) = (extent.start, (extent.end - extent.start).min(STEP));
            at = from + len;
            Ok(Some(Step::Move { from, len, to: from }))
        })?;
        target.write_at(size, tail)?;
        target.complete(stream_len)?;
        Ok(Saved { virtual_size: size, stream_len, blocks: 0 })
    }
}
