//! One layer of a chain by itself.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use vhd::format::{BLOCK_SIZE, SECTOR};
use vhd::layout::{Layout, Segment};
use vhd::{BlockSet, Place};

use crate::body::DiskBody;
use crate::error::Error;
use crate::family::is_parent;
use crate::image::Image;
use crate::layer::Layer;
use crate::produce::Plan;
use crate::sink::Saved;
use crate::source::Memo;
use crate::source::vhd::refuse_encrypted;
use crate::target::Existing;
use crate::upload::{Upload, blocking};

impl Image {
    /// Writes the leaf of a chain alone, as the differencing VHD that it is, without a look at its parent: open it with
    /// [`Parents::Ignore`](crate::Parents::Ignore) where that is not at hand. Blocking.
    ///
    /// Uuid, time of creation, what it says of its parent, and its sector bitmaps are kept, unless `upload` has another uuid or
    /// time. It is nothing without its parent, and readers that do not look at bitmaps (QEMU, Xen Orchestra) misread one
    /// whose blocks are not whole. A relative way to the parent is kept as it is, too: put the file where that leads there.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is a whole disk, which [`Image::save_vhd`] writes; [`Error::Layout`] when its blocks are not
    /// those of 2 MiB; otherwise as [`Image::save_vhd`].
    pub fn save_layer(&self, path: &Path, existing: Existing, upload: &Upload) -> Result<Saved, Error> {
        let (plan, leaf) = (self.plan_layer(upload)?, &self.layers()[0]);
        let upload = Upload { uuid: upload.uuid.or(leaf.link().uuid), ..upload.clone() };
        self.refuse_target(path, existing, upload.uuid)?;
        if existing == Existing::Replace && is_parent(path, leaf)? {
            let why = "it is the parent of what is read; write to another file".to_owned();
            return Err(Error::Refused { path: path.to_owned(), why });
        }
        self.leaf_alone().save_planned(plan, path, existing, &upload)
    }

    /// The same as a stream.
    ///
    /// # Errors
    /// As [`Image::save_layer`], but for what writing a file may meet.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn layer_body(&self, upload: Upload) -> Result<DiskBody, Error> {
        let image = self.clone();
        blocking(move |_| {
            let alone = image.leaf_alone();
            Ok(alone.planned_body(image.plan_layer(&upload)?, upload.progress))
        })
        .await
    }

    /// What is only looked at is no disk that could be written.
    ///
    /// # Errors
    /// [`Error::Differencing`] of a difference that was opened without its parent.
    pub(crate) fn refuse_part(&self) -> Result<(), Error> {
        match self.layers().last().filter(|root| root.is_differencing()) {
            None => Ok(()),
            Some(root) => {
                let (path, parent) = (root.path().to_owned(), root.parent_name().unwrap_or_default());
                Err(Error::Differencing { path, parent })
            }
        }
    }

    fn plan_layer(&self, upload: &Upload) -> Result<Plan, Error> {
        let leaf = self.layers()[0].clone();
        let parts = leaf.map().and_then(|map| Some((map, map.header()?)));
        let Some((map, header)) = parts.filter(|_| leaf.is_differencing()) else {
            if leaf.backing_file().is_some() {
                self.refuse_part()?;
            }
            let why = "it is a whole disk, and no layer on another one; convert it".to_owned();
            return Err(Error::Refused { path: self.path().to_owned(), why });
        };
        let failed = |source| Error::Layout { path: self.path().to_owned(), source };
        if header.block_size != BLOCK_SIZE {
            return Err(failed(vhd::Error::BlockSize { found: header.block_size }));
        }
        refuse_encrypted(leaf.disk_file(), map)?;
        let size = self.at_least(upload.virtual_size.unwrap_or(self.virtual_size()))?;
        let mut parameters = upload.parameters(size);
        parameters.uuid = upload.uuid.unwrap_or(map.footer().uuid);
        parameters.timestamp = upload.timestamp.unwrap_or(map.footer().timestamp);
        // Sizes are judged before there is a set of that size.
        Layout::fixed(&parameters).map_err(failed)?;
        let mut blocks = BlockSet::new(size, BLOCK_SIZE);
        map.allocated().for_each(|bytes| blocks.insert_bytes(bytes));
        let layout = Layout::layer(&parameters, header, &leaf.locators()?, blocks).map_err(failed)?;
        let layout = if upload.aligned { layout.aligned() } else { layout };
        let mut plan = Plan::from(layout);
        let (mut segments, mut memo) = (plan.segments.peekable(), Memo::default());
        plan.segments = Box::new(std::iter::from_fn(move || {
            let segment = segments.next()?;
            // What stands before the data of a block is its bitmap.
            match (segment, segments.peek()) {
                (Ok(Segment::Meta(bytes)), Some(Ok(Segment::Payload { virtual_offset, .. }))) => {
                    Some(with_bitmap(&leaf, *virtual_offset, &bytes, &mut memo))
                }
                (segment, _) => Some(segment),
            }
        }));
        Ok(plan)
    }
}

/// The bytes before a block, which end with a bitmap, with that of the layer instead.
fn with_bitmap(leaf: &Layer, at: u64, before: &Bytes, memo: &mut Memo) -> Result<Segment, Error> {
    let mut bytes = BytesMut::from(&before[..]);
    let bitmap = bytes.len().saturating_sub(SECTOR as usize);
    if let Some(vhd) = leaf.vhd()
        && let Some(Place::Block(block)) = vhd.place(leaf.disk_file(), at, memo)?
    {
        leaf.disk_file().read_at(block.bitmap_offset, &mut bytes[bitmap..])?;
    }
    Ok(Segment::Meta(bytes.freeze()))
}
