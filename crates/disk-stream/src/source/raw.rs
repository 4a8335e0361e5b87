//! Raw disks.

use super::{BlockSource, Extent, Memo};
use crate::error::Error;
use crate::image::Format;
use crate::layer::DiskFile;

/// The disk's bytes and nothing else.
#[derive(Debug)]
struct Raw {
    len: u64,
}

pub(super) fn open(file: &DiskFile) -> Box<dyn BlockSource> {
    Box::new(Raw { len: file.len() })
}

impl BlockSource for Raw {
    fn format(&self) -> Format {
        Format::Raw
    }

    fn virtual_size(&self) -> u64 {
        self.len
    }

    fn extent(&self, _: &DiskFile, at: u64, _: &mut Memo) -> Result<Option<(Extent, u64)>, Error> {
        Ok(self.len.checked_sub(at).filter(|left| *left > 0).map(|left| (Extent::At(at), left)))
    }

    fn is_flat(&self) -> bool {
        true
    }
}
