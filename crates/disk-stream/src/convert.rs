//! Images into files of the other format.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use vhd::Layout;
use vhd::format::SECTOR;

use crate::error::Error;
use crate::image::Image;
use crate::pool::PIECE;
use crate::produce::{Produce, VhdStream};
use crate::progress::Stage;
use crate::sink::Saved;
use crate::target::{Existing, Partial};
use crate::upload::Upload;

impl Image {
    /// Writes the disk as a dynamic VHD file. Blocking.
    ///
    /// # Errors
    /// As [`Image::vhd_body`], and [`Error::Exists`], [`Error::Create`], [`Error::Write`].
    pub fn save_vhd(&self, path: &Path, existing: Existing, upload: &Upload) -> Result<Saved, Error> {
        let plan = self.plan(upload, &AtomicBool::new(true))?;
        self.save_planned(plan, path, existing, upload)
    }

    pub(crate) fn save_planned(
        &self,
        plan: Layout,
        path: &Path,
        existing: Existing,
        upload: &Upload,
    ) -> Result<Saved, Error> {
        let mut target = Partial::create(path, existing)?;
        let plan = if upload.aligned { plan.aligned() } else { plan };
        let (stream_len, virtual_size) = (plan.stream_len(), plan.footer().current_size);
        let mut stream = VhdStream::new(self.reader(), plan);
        upload.progress.begin(Stage::Streaming, stream_len, virtual_size);
        upload.progress.set_data_size(stream.data_len());
        let mut position = 0;
        while let Some(piece) = stream.next()? {
            target.write_at(position, &piece.bytes)?;
            position += piece.bytes.len() as u64;
            upload.progress.add_wire(piece.bytes.len());
            if piece.data {
                upload.progress.add_data(piece.bytes.len());
            }
            upload.progress.reach(piece.virtual_end);
        }
        target.complete(stream_len)?;
        Ok(Saved { virtual_size, stream_len, blocks: stream.blocks() })
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
        let mut target = if tail.is_empty() {
            Partial::create_disk(path, existing)?
        } else {
            Partial::create(path, existing)?
        };
        target.expect(size)?;
        let stream_len = size + tail.len() as u64;
        upload.progress.begin(Stage::Streaming, size, size);
        let mut reader = self.reader();
        let mut buffer = vec![0; PIECE];
        let mut at = 0;
        while let Some(extent) = reader.next_data(at, self.virtual_size())? {
            // At most a piece.
            let len = usize::try_from(extent.end - extent.start).unwrap_or(PIECE).min(PIECE);
            reader.read(extent.start, &mut buffer[..len])?;
            target.write_at(extent.start, &buffer[..len])?;
            at = extent.start + len as u64;
            upload.progress.add_wire(len);
            upload.progress.add_data(len);
            upload.progress.reach(at);
        }
        self.check_unchanged()?;
        target.write_at(size, tail)?;
        target.complete(stream_len)?;
        Ok(Saved { virtual_size: size, stream_len, blocks: 0 })
    }
}
