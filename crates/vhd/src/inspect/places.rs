//! What lies over each other in a file, and what its parent locators say.

use std::cell::RefCell;
use std::ops::Range;

use super::{Findings, Grade, Reader};
use crate::format::{DiskType, DynamicHeader, SECTOR};
use crate::map::{DiskMap, ReadError};

/// What has places in a file of `len` bytes.
pub(super) struct Places<'a> {
    pub(super) map: &'a DiskMap,
    pub(super) header: &'a DynamicHeader,
    pub(super) len: u64,
}

type Read<'a, E> = &'a mut dyn FnMut(u64, &mut [u8]) -> Result<(), E>;

/// Whether locators say the same as the header, as `vhd-util check` wants it.
pub(super) fn locators<E>(
    Places { map, header, len }: &Places<'_>,
    read_at: Read<'_, E>,
    found: &mut Findings,
) -> Result<(), E> {
    if map.footer().disk_type != DiskType::Differencing {
        return Ok(());
    }
    for (at, locator) in header.locators.iter().enumerate() {
        if header.locators[..at].iter().any(|other| other.platform == locator.platform) {
            let text = format!("it has several parent locators {}", locator.platform);
            found.add(Grade::Misread, text).refused(&[Reader::VhdUtil]);
        }
        let Some(range) = locator.range(*len) else { continue };
        // At most [`ParentLocator::MAX_LEN`].
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or_default()];
        read_at(range.start, &mut bytes)?;
        if let Some(path) = locator.path(&bytes)
            && !header.parent_name.is_empty()
            && path.file_name() != header.parent_name
        {
            let text = format!(
                "the parent locator {} leads to {:?}, and the header names the parent {:?}",
                locator.platform,
                path.file_name(),
                header.parent_name
            );
            found.add(Grade::Misread, text).refused(&[Reader::VhdUtil]);
        }
    }
    Ok(())
}

/// Blocks that lie over what blktap writes, or reads to find the parent.
pub(super) fn blocks<E>(
    Places { map, header, len }: &Places<'_>,
    read_at: Read<'_, E>,
    found: &mut Findings,
) -> Result<(), E> {
    let mut parts: Vec<(String, Range<u64>)> = Vec::new();
    let at = header.table_offset + header.table_len();
    if map.batmap_offset().is_some() && map.footer().creator.version >= 0x0001_0001 && at + SECTOR <= *len {
        let mut head = [0; SECTOR as usize];
        read_at(at, &mut head)?;
        if let Some(range) = DiskMap::batmap_range(&head).filter(|range| range.end <= *len) {
            let what = "blktap's map of full blocks";
            parts.extend([(what.to_owned(), at..at + SECTOR), (what.to_owned(), range)]);
        }
    }
    let locators = header.locators.iter().filter(|_| map.footer().disk_type == DiskType::Differencing);
    parts.extend(locators.filter_map(|locator| {
        Some((format!("the parent locator {}", locator.platform), locator.range(*len)?))
    }));
    // Of the table, between two blocks.
    let read_at = RefCell::new(read_at);
    for block in map.blocks(|at, bytes| read_at.borrow_mut()(at, bytes)) {
        if parts.is_empty() {
            break;
        }
        let block = match block {
            Ok(block) => block,
            Err(ReadError::Io { source, .. }) => return Err(source),
            // Told by whoever reads the bitmaps, or uses it.
            Err(ReadError::Format(_)) => return Ok(()),
        };
        let (start, end) = (block.bitmap_offset, block.data_offset + u64::from(header.block_size));
        let mut over = None;
        parts.retain(|(what, part)| {
            let meets = part.start < end && start < part.end;
            over = over.take().or_else(|| meets.then(|| what.clone()));
            !meets
        });
        if let Some(what) = over {
            parts.retain(|(other, _)| *other != what);
            let text = format!("block {} at byte {start} lies over {what}", block.block);
            found.add(Grade::Misread, text).refused(&[Reader::VhdUtil]);
        }
    }
    Ok(())
}
