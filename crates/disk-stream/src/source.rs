//! Formats: what a reader must know of one, and which ones there are.
//!
//! A new format is one file beside this one that implements [`BlockSource`], and its place in [`open`].

mod qcow2;
mod raw;
pub(crate) mod vhd;

use std::fmt;

use ::vhd::DiskMap;

use crate::error::Error;
use crate::image::{Declared, Format, Opening};
use crate::layer::DiskFile;
use crate::target::is_marked;

/// An open disk in some format: where its bytes are, and how to read those that are not simply there.
///
/// What it says of a disk was checked before, or is checked when it is asked; it never says that bytes are
/// outside of the file.
pub(crate) trait BlockSource: fmt::Debug + Send + Sync {
    /// Which format it is.
    fn format(&self) -> Format;

    /// The disk's size in bytes.
    fn virtual_size(&self) -> u64;

    /// What is at the byte `at` of the disk, and for how many bytes; `None` behind its end.
    fn extent(&self, file: &DiskFile, at: u64, memo: &mut Memo) -> Result<Option<(Extent, u64)>, Error>;

    /// Fills `buffer` with the disk's bytes from `at` on, which all lie in one extent that is
    /// [`Extent::Encoded`].
    fn decode(&self, file: &DiskFile, at: u64, buffer: &mut [u8], memo: &mut Memo) -> Result<(), Error> {
        let _ = (file, at, buffer, memo);
        Err(Error::Interrupted)
    }

    /// Whether each byte of the disk is at its own place in the file, so that holes of the file are holes of
    /// the disk.
    fn is_flat(&self) -> bool {
        false
    }

    /// Footer, header and table, if it is a VHD: chains are made of them.
    fn vhd(&self) -> Option<&DiskMap> {
        None
    }

    /// What people want to know of it beside its size: names and values.
    fn details(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// What a part of a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// In the file, from this byte on.
    At(u64),
    /// In the file, and not as it is on the disk: [`BlockSource::decode`].
    Encoded,
    /// Zero, whatever a parent has.
    Zeros,
    /// What the parent has, or zero.
    Absent,
}

/// What a reader keeps of one layer: the table and the unpacked cluster that it used last.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    pub(crate) table: Kept,
    pub(crate) cluster: Kept,
}

/// Bytes that were read or made once, and what they are.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    key: Option<u64>,
    bytes: Vec<u8>,
}

impl Kept {
    /// The bytes for `key`; made by `make`, in the buffer of the last ones, if they are not these already.
    pub(crate) fn get(
        &mut self,
        key: u64,
        make: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<&[u8], Error> {
        if self.key != Some(key) {
            // A half-made buffer is nobody's.
            self.key = None;
            make(&mut self.bytes)?;
            self.key = Some(key);
        }
        Ok(&self.bytes)
    }
}

/// Finds out what a file is, if nobody says it, and opens it.
pub(crate) fn open(file: &DiskFile, opening: &Opening) -> Result<Box<dyn BlockSource>, Error> {
    // At most 512, as is the last one.
    let sector = usize::try_from(file.len()).unwrap_or(512).min(512);
    let (mut first, mut last) = ([0; 512], [0; 512]);
    let (first, last) = (&mut first[..sector], &mut last[..sector]);
    file.read_at(0, first)?;
    if is_marked(first) {
        return Err(Error::Incomplete { path: file.path().to_owned() });
    }
    match opening.declared {
        Declared::Raw => return Ok(raw::open(file)),
        Declared::Vhd => return vhd::open(file, opening),
        Declared::Qcow2 => return qcow2::open(file),
        Declared::Unknown => {}
    }
    file.read_at(file.len() - sector as u64, last)?;
    if qcow2::recognises(first) && !vhd::recognises(file, first, last).unwrap_or(false) {
        qcow2::open(file)
    } else if vhd::recognises(file, first, last)? {
        vhd::open(file, opening)
    } else if let Some(format) = foreign(first) {
        Err(Error::Foreign { path: file.path().to_owned(), format })
    } else {
        Ok(raw::open(file))
    }
}

/// Formats that are known by their first bytes and not read here.
pub(crate) fn foreign(head: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 8] = [
        (b"KDMV", "a VMDK image"),
        (b"# Disk DescriptorFile", "a VMDK descriptor"),
        (b"vhdxfile", "a VHDX image"),
        (b"<<< Oracle VM VirtualBox Disk Image >>>", "a VDI of VirtualBox"),
        (b"<<< QEMU VM Virtual Disk Image >>>", "a VDI of VirtualBox"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\xfd7zXZ\0", "an xz stream"),
        (b"BZh", "a bzip2 stream"),
    ];
    known.into_iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, format)| format)
}
