//! What one disk has and another has not, as a differencing VHD.

use std::path::{Component, Path, PathBuf};

use vhd::BlockSet;
use vhd::format::{BLOCK_SIZE, Timestamp};
use vhd::layout::{Layout, Parent};

use crate::body::DiskBody;
use crate::error::Error;
use crate::image::Image;
use crate::layer::identity;
use crate::progress::{Progress, Stage};
use crate::reader::{Found, Reader};
use crate::sink::Saved;
use crate::target::{Existing, resolved};
use crate::upload::{Upload, blocking};

/// Bytes compared at a time.
const LOOK: usize = 256 << 10;

impl Image {
    /// The blocks of 2 MiB in which this disk differs from `base`, which reads as zeros behind its
    /// end. Blocking. What both find at the same place of the same file is not read.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Changed`].
    pub fn differing_blocks(&self, base: &Self, progress: &Progress) -> Result<BlockSet, Error> {
        self.differing_within(self.virtual_size(), base, progress)
    }

    /// The same of a disk of `size` bytes, which has zeros behind the end of this one, and `base` may not.
    fn differing_within(&self, size: u64, base: &Self, progress: &Progress) -> Result<BlockSet, Error> {
        progress.begin(Stage::Scanning, 0, size);
        let mut set = BlockSet::new(size, BLOCK_SIZE);
        let (mut ours, mut theirs) = (self.reader(), base.reader());
        let mut buffers = [vec![0; LOOK], vec![0; LOOK]];
        let mut at = 0;
        while at < size {
            let block = at / u64::from(BLOCK_SIZE);
            if set.contains(block) {
                at = set.block_bytes(block).end;
                continue;
            }
            let next =
                |reader: &mut Reader| Ok(reader.next_likely(at, size)?.map_or(size, |data| data.start));
            let start = next(&mut ours)?.min(next(&mut theirs)?);
            if start > at {
                at = start;
                continue;
            }
            let (mine, my_len) = ours.piece(at)?;
            let (its, its_len) = theirs.piece(at)?;
            let len = my_len.min(its_len).min(size - at);
            if same_place(&ours, mine, &theirs, its) {
                at += len;
                continue;
            }
            let len = usize::try_from(len).unwrap_or(LOOK).min(LOOK);
            let [mine, its] = &mut buffers;
            ours.read(at, &mut mine[..len])?;
            theirs.read(at, &mut its[..len])?;
            if mine[..len] != its[..len] {
                let same = mine.iter().zip(&*its).take_while(|(a, b)| a == b).count() as u64;
                let block = (at + same) / u64::from(BLOCK_SIZE);
                set.insert(block);
                // The rest of the piece may lie in another block.
                at = set.block_bytes(block).end;
            } else {
                at += len as u64;
            }
            progress.reach(at);
        }
        self.check_unchanged()?;
        base.check_unchanged()?;
        Ok(set)
    }

    /// Writes what this disk has and `base` has not as a differencing VHD of `base`. Blocking.
    ///
    /// The VHD names `base` (for a chain, its leaf) by a path relative to the folder of `path`, by its
    /// uuid and by its time of modification.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] when `base`, or this disk, is larger than what is made; [`Error::Refused`] when `path` is
    /// `base` or below it; otherwise as [`Image::save_vhd`].
    pub fn save_difference(
        &self,
        base: &Self,
        path: &Path,
        existing: Existing,
        upload: &Upload,
    ) -> Result<Saved, Error> {
        // The way to the parent begins where the file is, and not where a link to it is.
        let path = &resolved(path, existing);
        if let Ok(metadata) = path.metadata()
            && existing == Existing::Replace
            && base.layers().iter().any(|layer| layer.file_identity() == identity(&metadata))
        {
            let why = "it is the parent that the difference is to have, or below it; write to another file";
            return Err(Error::Refused { path: path.to_owned(), why: why.to_owned() });
        }
        let plan = self.plan_difference(base, path, upload)?;
        // What takes its own place is a parent only, if it was.
        let leaf = &self.layers()[0];
        let own = path.metadata().is_ok_and(|metadata| identity(&metadata) == leaf.file_identity());
        let plan = plan.hidden(own && leaf.link().hidden);
        self.save_planned(plan.into(), path, existing, upload)
    }

    /// The same as a stream, for a file at `path`, which nobody looks at or makes: the way from its folder to
    /// `base` is what the VHD says. Compares the disks first; dropping the future does not stop that.
    ///
    /// # Errors
    /// As [`Image::save_difference`], but for what writing a file may meet.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn difference_body(&self, base: &Self, path: &Path, upload: Upload) -> Result<DiskBody, Error> {
        let (image, base, path) = (self.clone(), base.clone(), path.to_owned());
        blocking(move |_| {
            let plan = image.plan_difference(&base, &path, &upload)?;
            Ok(image.planned_body(plan.into(), upload.progress))
        })
        .await
    }

    fn plan_difference(&self, base: &Self, path: &Path, upload: &Upload) -> Result<Layout, Error> {
        let size = self.size_for(upload)?;
        if base.virtual_size() > size {
            let (path, virtual_size) = (base.path().to_owned(), base.virtual_size());
            return Err(Error::DoesNotFit { path, virtual_size, asked: size });
        }
        let parameters = upload.parameters(size);
        let parent = parent_of(base, path)?;
        let failed = |source| Error::Layout { path: self.path().to_owned(), source };
        // What cannot be laid out is told before disks are compared.
        Layout::differencing(&parameters, &parent, BlockSet::new(size, BLOCK_SIZE)).map_err(failed)?;
        let blocks = self.differing_within(size, base, &upload.progress)?;
        let plan = Layout::differencing(&parameters, &parent, blocks).map_err(failed)?;
        Ok(if upload.aligned { plan.aligned() } else { plan })
    }
}

fn same_place(ours: &Reader, mine: Option<Found>, theirs: &Reader, its: Option<Found>) -> bool {
    match (mine, its) {
        (None, None) => true,
        (Some(mine), Some(its)) if mine.offset.is_some() && mine.offset == its.offset => {
            let layer = |reader: &Reader, found: Found| reader.image().layers()[found.layer].identity();
            layer(ours, mine) == layer(theirs, its)
        }
        _ => false,
    }
}

/// How a child at `child` names `base`.
pub(crate) fn parent_of(base: &Image, child: &Path) -> Result<Parent, Error> {
    let failed = |source| Error::Open { path: base.path().to_owned(), source };
    let folder = child.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.canonicalize().map_err(|source| Error::Create { path: child.to_owned(), source })?;
    let place = base.path().canonicalize().map_err(failed)?;
    let written: Timestamp = base.layers()[0].written();
    let path = relative(&folder, &place);
    let Some(path) = path.to_str() else {
        let source = vhd::Error::ParentPath { path: path.display().to_string(), why: "it is not Unicode" };
        return Err(Error::Layout { path: child.to_owned(), source });
    };
    if !base.layers()[0].can_be_parent() {
        let source = vhd::Error::ParentPath {
            path: path.to_owned(),
            why: "only a VHD or a raw disk can be the parent of a VHD; convert it first",
        };
        return Err(Error::Layout { path: child.to_owned(), source });
    }
    // A null uuid says that the parent is a raw disk.
    let uuid = base.map().map(|map| map.footer().uuid).unwrap_or_default();
    if base.map().is_some() && uuid.is_nil() {
        let source =
            vhd::Error::ParentPath { path: path.to_owned(), why: "its uuid is null; repair it first" };
        return Err(Error::Layout { path: child.to_owned(), source });
    }
    Ok(Parent { uuid, timestamp: written, path: path.to_owned() })
}

/// The way from one absolute path to another.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    up.chain(to.components().skip(common)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_between_folders() {
        for (from, to, way) in
            [("/a", "/a/b.vhd", "b.vhd"), ("/a/c", "/a/b/d.vhd", "../b/d.vhd"), ("/", "/b.vhd", "b.vhd")]
        {
            assert_eq!(relative(Path::new(from), Path::new(to)), Path::new(way));
        }
    }
}
