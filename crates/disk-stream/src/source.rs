//! Formats: what a reader must know of one, and which ones there are.
//!
//! A new format is one file that implements [`BlockSource`]: anywhere, for [`Image::of_source`](crate::Image::of_source);
//! beside this one with its place in [`open`], if it is to be recognised.

mod qcow2;
mod raw;
pub(crate) mod vhd;

use std::fmt;
use std::path::Path;

use ::vhd::DiskMap;

use crate::error::Error;
use crate::image::{Declared, Format, Opening};
use crate::layer::DiskFile;
use crate::tar;
use crate::target::is_marked;

/// An open disk in some format: where its bytes are, and how to read those that are not simply there.
///
/// Whatever an [`Image`](crate::Image) can do follows from these few answers: bodies of any kind, files, comparisons,
/// differences. A format that nobody knows here:
///
/// ```
/// use disk_stream::{BlockSource, DiskFile, Error, Extent, Format, Image, Memo};
///
/// /// Sixteen bytes, and then the disk's, all of them.
/// #[derive(Debug)]
/// struct Boxed(u64);
///
/// impl BlockSource for Boxed {
///     fn format(&self) -> Format {
///         Format::Other("boxed")
///     }
///
///     fn virtual_size(&self) -> u64 {
///         self.0
///     }
///
///     fn extent(&self, _: &DiskFile, at: u64, _: &mut Memo) -> Result<Option<(Extent, u64)>, Error> {
///         Ok((at < self.0).then(|| (Extent::At(16 + at), self.0 - at)))
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("disk.boxed");
/// # std::fs::write(&path, [&b"my disk, 4 bytes"[..], b"data"].concat())?;
/// let image = Image::of_source(&path, |file| {
///     let mut head = [0; 16];
///     file.read_at(0, &mut head)?;
///     if !head.starts_with(b"my disk") {
///         return Err(Error::of_source(file, "it does not begin with \"my disk\""));
///     }
///     Ok(Box::new(Boxed(file.len() - 16)))
/// })?;
/// let mut disk = [0; 4];
/// image.reader().read(0, &mut disk)?;
/// assert_eq!(&disk, b"data");
/// # Ok(()) }
/// ```
///
/// What it says of a disk was checked before, or is checked when it is asked ([`Error::of_source`]): a header can say anything,
/// and memory is not taken on its word. It is asked from several threads, and blocks.
pub trait BlockSource: fmt::Debug + Send + Sync {
    /// Which format it is; of one that is not known here, [`Format::Other`].
    fn format(&self) -> Format;

    /// The disk's size in bytes, which does not change.
    fn virtual_size(&self) -> u64;

    /// What is at the byte `at` of the disk, and for how many bytes, more than 0; `None` behind its end.
    ///
    /// # Errors
    /// [`Error::Read`], and what is wrong with the image.
    fn extent(&self, file: &DiskFile, at: u64, memo: &mut Memo) -> Result<Option<(Extent, u64)>, Error>;

    /// Fills `buffer` with the disk's bytes from `at` on, which all lie in one extent that is
    /// [`Extent::Encoded`]. Formats without such need not have it.
    ///
    /// # Errors
    /// [`Error::Read`], and what is wrong with the image.
    fn decode(&self, file: &DiskFile, at: u64, buffer: &mut [u8], memo: &mut Memo) -> Result<(), Error> {
        let _ = (at, buffer, memo);
        Err(Error::of_source(file, "its reader says that bytes are encoded, and does not decode them"))
    }

    /// Whether each byte of the disk is at its own place in the file, so that holes of the file are holes of
    /// the disk.
    fn is_flat(&self) -> bool {
        false
    }

    /// What it calls the image without which it is no whole disk. Such a one can be looked at, and its data are not read:
    /// [`BlockSource::extent`] refuses.
    fn backing_file(&self) -> Option<&str> {
        None
    }

    /// What people want to know of it beside its size: names and values.
    fn details(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// What a part of a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Extent {
    /// In the file, from this byte on.
    At(u64),
    /// In the file, and not as it is on the disk: [`BlockSource::decode`].
    Encoded,
    /// Zero, whatever a parent has.
    Zeros,
    /// What the parent has, or zero.
    Absent,
}

/// What a reader keeps of one layer: the table and the unpacked bytes that it used last.
#[derive(Debug, Default)]
pub struct Memo {
    /// Of the block table of a VHD, where that is not in memory.
    pub(crate) window: ::vhd::Window,
    /// Of the first table of a qcow2 image, likewise.
    pub(crate) first: ::qcow2::Window,
    table: Kept,
    unpacked: Kept,
}

impl Memo {
    /// The table that `key` names, its place in the file for example: the one that is kept, or what `make` puts into the
    /// buffer, which holds the last one.
    ///
    /// # Errors
    /// Those of `make`; nothing is kept then.
    pub fn table(
        &mut self,
        key: u64,
        make: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<&[u8], Error> {
        self.table.get(key, make)
    }

    /// The same for bytes of the disk that are not in the file as they are.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn unpacked(
        &mut self,
        key: u64,
        make: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<&[u8], Error> {
        self.unpacked.get(key, make)
    }
}

/// Bytes that were read or made once, and what they are.
#[derive(Debug, Default)]
struct Kept {
    key: Option<u64>,
    bytes: Vec<u8>,
}

impl Kept {
    fn get(
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

/// A source, as far as a chain has to know it: VHDs are what chains are made of.
#[derive(Debug)]
pub(crate) enum Source {
    Vhd(Box<vhd::Vhd>),
    Other(Box<dyn BlockSource>),
}

impl Source {
    pub(crate) fn blocks(&self) -> &dyn BlockSource {
        match self {
            Self::Vhd(vhd) => &**vhd,
            Self::Other(other) => &**other,
        }
    }

    /// Footer, header and table of a VHD.
    pub(crate) fn map(&self) -> Option<&DiskMap> {
        self.vhd().map(vhd::Vhd::map)
    }

    pub(crate) fn vhd(&self) -> Option<&vhd::Vhd> {
        match self {
            Self::Vhd(vhd) => Some(&**vhd),
            Self::Other(_) => None,
        }
    }
}

/// Finds out what a file is, if nobody says it, and opens it.
pub(crate) fn open(file: &DiskFile, opening: &Opening) -> Result<Source, Error> {
    // At most 512, as is the last one.
    let sector = usize::try_from(file.len()).unwrap_or(512).min(512);
    let (mut first, mut last) = ([0; 512], [0; 512]);
    let (first, last) = (&mut first[..sector], &mut last[..sector]);
    file.read_at(0, first)?;
    if is_marked(first) {
        return Err(Error::Incomplete { path: file.path().to_owned() });
    }
    match opening.declared {
        Declared::Raw => return Ok(Source::Other(raw::open(file))),
        Declared::Vhd => return vhd::open(file, opening).map(|vhd| Source::Vhd(Box::new(vhd))),
        Declared::Qcow2 => return qcow2::open(file, opening).map(Source::Other),
        Declared::Unknown => {}
    }
    file.read_at(file.len() - sector as u64, last)?;
    if qcow2::recognises(first) && !vhd::recognises(file, first, last).unwrap_or(false) {
        qcow2::open(file, opening).map(Source::Other)
    } else if vhd::recognises(file, first, last)? {
        vhd::open(file, opening).map(|vhd| Source::Vhd(Box::new(vhd)))
    } else if let Some(format) = foreign(first) {
        Err(Error::Foreign { path: file.path().to_owned(), format })
    } else if tar::is_archive(first) {
        let format = "an archive of a disk as XAPI makes it (format=tar)";
        Err(Error::ForwardOnly { path: file.path().to_owned(), format })
    } else if let Some(format) = named(file.path()) {
        Err(Error::Misnamed { path: file.path().to_owned(), format })
    } else {
        Ok(Source::Other(raw::open(file)))
    }
}

/// What the name of a file says that it is. A raw disk has no mark of its own, so that what is left of another format would
/// pass for one.
fn named(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?;
    let known = [
        ("vhd", "a VHD"),
        ("vhdx", "a VHDX image"),
        ("qcow2", "a qcow2 image"),
        ("vmdk", "a VMDK image"),
        ("vdi", "a VDI of VirtualBox"),
    ];
    known.into_iter().find(|(name, _)| extension.eq_ignore_ascii_case(name)).map(|(_, format)| format)
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
