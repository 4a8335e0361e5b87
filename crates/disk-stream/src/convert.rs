//! Images into files of the other format.

use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use uuid::Uuid;
use vhd::layout::Segment;

use crate::copy::{Step, copy};
use crate::error::Error;
use crate::family::children_of;
use crate::image::{Declared, Image, Opening};
use crate::layer::identity;
use crate::parents::Parents;
use crate::produce::Plan;
use crate::progress::Stage;
use crate::sink::Saved;
use crate::target::{Existing, Partial};
use crate::upload::Upload;

/// Bytes that a thread takes at a time where nothing else says how many belong together.
const STEP: u64 = 2 << 20;

impl Image {
    /// Writes the disk as a dynamic VHD file, or to a block device (see [`Existing`]). Blocking.
    ///
    /// # Errors
    /// As [`Image::vhd_body`], and [`Error::Exists`], [`Error::Create`], [`Error::DeviceTooSmall`], [`Error::Refused`] where
    /// the device is what is read, or the file a parent of it, [`Error::InUse`], and [`Error::Write`].
    pub fn save_vhd(&self, path: &Path, existing: Existing, upload: &Upload) -> Result<Saved, Error> {
        let plan = self.plan(upload, &AtomicBool::new(true))?;
        self.save_planned(plan.into(), path, existing, upload)
    }

    /// Writes the disk as a qcow2 image, all tables before the data, into a file or onto a block device: see
    /// [`Image::qcow2_body`]. Blocking.
    ///
    /// # Errors
    /// As [`Image::qcow2_body`] and [`Image::save_vhd`].
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
        let target = self.target(path, existing, upload.uuid)?;
        let Plan { mut segments, stream_len, virtual_size, data_len, blocks, footer } = plan;
        target.expect(stream_len)?;
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
                match segments.next().transpose()? {
                    Some(Segment::Meta(bytes)) => {
                        position += bytes.len() as u64;
                        let last = footer && position == stream_len;
                        return Ok(Some(if last {
                            Step::Footer { bytes, to }
                        } else {
                            Step::Put { bytes, to }
                        }));
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
    /// [`Error::DoesNotFit`], [`Error::Read`], [`Error::Changed`], [`Error::Exists`], [`Error::Create`],
    /// [`Error::DeviceTooSmall`], [`Error::Refused`] where the device is what is read, or the file a parent of it,
    /// [`Error::InUse`], and [`Error::Write`].
    pub fn save_raw(&self, path: &Path, existing: Existing, upload: &Upload) -> Result<Saved, Error> {
        let size = self.size_for(upload)?;
        self.save_flat(path, existing, upload, size, &[])
    }

    /// Writes the disk as a fixed VHD: a sparse raw file with a footer behind it. Blocking.
    ///
    /// # Errors
    /// As [`Image::save_raw`], and [`Error::Layout`] for a disk larger than a VHD can be. [`Error::Refused`] for a device
    /// that is larger than disk and footer, which would not follow each other there.
    pub fn save_fixed_vhd(&self, path: &Path, existing: Existing, upload: &Upload) -> Result<Saved, Error> {
        let footer = self.plan_fixed(upload)?;
        self.save_flat(path, existing, upload, footer.current_size, &footer.to_bytes())
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
        let target = self.target(path, existing, upload.uuid)?;
        let stream_len = size + tail.len() as u64;
        if let Some(len) = target.device_len().filter(|len| *len > stream_len && !tail.is_empty()) {
            let why = format!(
                "the footer of a fixed VHD follows the disk, and the device has {len} bytes: ask for a disk of {} bytes, \
                 or for a dynamic VHD",
                len - tail.len() as u64
            );
            return Err(Error::Refused { path: path.to_owned(), why });
        }
        target.expect(stream_len)?;
        upload.progress.begin(Stage::Streaming, size, size);
        let (mut reader, mut extent) = (self.reader(), 0..0);
        copy(self, &target, &upload.progress, || {
            // Once for each: where data end costs a file system as many steps as they have pages.
            if extent.is_empty() {
                let Some(next) = reader.next_data(extent.end, self.virtual_size())? else { return Ok(None) };
                extent = next;
            }
            let (from, len) = (extent.start, (extent.end - extent.start).min(STEP));
            extent.start += len;
            Ok(Some(Step::Move { from, len, to: from }))
        })?;
        target.write_footer(size, tail)?;
        target.complete(stream_len)?;
        Ok(Saved { virtual_size: size, stream_len, blocks: 0 })
    }

    /// Where to write what is read from here. A file that replaces the leaf does so in the end; a device would be gone
    /// before it is read.
    fn target(&self, path: &Path, existing: Existing, uuid: Option<Uuid>) -> Result<Partial, Error> {
        self.refuse_target(path, existing, uuid)?;
        Partial::create(path, existing)
    }

    /// What is below a leaf belongs to other disks as well, and so does a leaf that is another's parent, unless what takes
    /// its place is the same disk with the same `uuid`.
    pub(crate) fn refuse_target(
        &self,
        path: &Path,
        existing: Existing,
        uuid: Option<Uuid>,
    ) -> Result<(), Error> {
        let refused = |why: String| Err(Error::Refused { path: path.to_owned(), why });
        let Ok(metadata) = path.metadata() else { return Ok(()) };
        let target = identity(&metadata);
        let Some(layer) = self.layers().iter().position(|layer| layer.file_identity() == target) else {
            return refuse_parent(path, existing);
        };
        let leaf = &self.layers()[0];
        if metadata.file_type().is_block_device() {
            return refused("it is what is read; write to another device or a file".to_owned());
        } else if existing == Existing::Replace && layer > 0 {
            let why = "what is read is a difference to it, and others may be; write to another file, or merge into it";
            return refused(why.to_owned());
        } else if existing == Existing::Replace
            && (uuid.is_none() || uuid != leaf.link().uuid)
            && let Some(child) = children_of(leaf)?.first()
        {
            return Err(stands_on(path, child));
        }
        Ok(())
    }
}

/// Refuses to replace what others have as their parent: none of them would be a disk any longer.
pub(crate) fn refuse_parent(path: &Path, existing: Existing) -> Result<(), Error> {
    let Some(metadata) = path.metadata().ok().filter(|_| existing == Existing::Replace) else {
        return Ok(());
    };
    let open = |declared| {
        let alone = Opening { parents: Parents::Ignore, declared, ..Opening::default() };
        Image::open_with(path, &alone).ok()
    };
    // What is no VHD may be a parent all the same, by its name. Devices have neighbours of all kinds.
    let old = open(Declared::Vhd).or_else(|| open(Declared::Raw).filter(|_| metadata.is_file()));
    // Where nobody knows, it is as it was asked for.
    let child = old.and_then(|old| children_of(&old.layers()[0]).ok()?.into_iter().next());
    child.map_or(Ok(()), |child| Err(stands_on(path, &child)))
}

fn stands_on(path: &Path, child: &Path) -> Error {
    let why = format!("{} is a difference to it; write to another file", child.display());
    Error::Refused { path: path.to_owned(), why }
}
