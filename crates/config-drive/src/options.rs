//! Which file system carries the files, under which label and in how many bytes.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Image, Tree, iso9660, vfat};

/// How a [`Tree`] becomes a disk. The default is the smallest ISO 9660 image with OpenStack's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImageOptions {
    /// The file system.
    pub format: Format,
    /// Its label.
    pub label: Label,
    /// The length of the image.
    pub size: ImageSize,
}

/// A file system that guests find a drive in. Either is a whole disk, without a partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// ISO 9660 with the long names of Rock Ridge and Joliet: what OpenStack Nova makes unless told
    /// otherwise. A guest sees it on a disk as well as on a CD drive, and cannot write to it.
    #[default]
    Iso9660,
    /// FAT, for guests without ISO 9660.
    Vfat,
}

/// The label by which a guest finds its drive, and with it the layout it expects there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Label {
    /// `config-2`: OpenStack's layout, as [`ConfigDrive`](crate::ConfigDrive) makes it.
    #[default]
    ConfigDrive,
    /// `cidata`: the layout of [`NoCloud`](crate::NoCloud).
    NoCloud,
}

/// How large the image is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImageSize {
    /// The smallest multiple of 2 MiB that holds the content. Storage repositories that keep VHD round
    /// virtual sizes up to 2 MiB, so that the disk has the length of the image.
    #[default]
    Smallest,
    /// 64 MiB, the size of the disk that OpenStack Nova puts a config drive on.
    Nova,
    /// This many bytes, a multiple of 2 MiB up to 1 GiB.
    Bytes(u64),
}

impl fmt::Display for Format {
    /// As OpenStack Nova's option `config_drive_format` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iso9660 => "iso9660",
            Self::Vfat => "vfat",
        })
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "iso9660" => Ok(Self::Iso9660),
            "vfat" => Ok(Self::Vfat),
            _ => Err(format!("unknown config drive format {text:?}: use iso9660 or vfat")),
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::ConfigDrive, Self::NoCloud].into_iter().find(|label| label.as_str() == text).ok_or_else(|| {
            format!("unknown config drive label {text:?}: use config-2 (OpenStack) or cidata (NoCloud)")
        })
    }
}

impl fmt::Display for ImageSize {
    /// `smallest`, or the length in bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Smallest => f.write_str("smallest"),
            Self::Nova => Self::NOVA_BYTES.fmt(f),
            Self::Bytes(bytes) => bytes.fmt(f),
        }
    }
}

impl FromStr for ImageSize {
    type Err = String;

    /// `smallest`, `nova`, or a number of MiB.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "smallest" => Ok(Self::Smallest),
            "nova" => Ok(Self::Nova),
            mib => match mib.parse::<u64>().ok().and_then(|mib| mib.checked_mul(1 << 20)) {
                Some(bytes) => Ok(Self::Bytes(bytes)),
                None => {
                    Err(format!("unknown config drive size {text:?}: use smallest, nova or a number of MiB"))
                }
            },
        }
    }
}

impl Label {
    /// The label as it is written, in lower case: cloud-init accepts either case, other readers do not.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigDrive => "config-2",
            Self::NoCloud => "cidata",
        }
    }
}

impl ImageSize {
    /// The unit of all sizes.
    pub(crate) const STEP_BYTES: u64 = 2 << 20;
    /// The largest image.
    pub(crate) const MAX_BYTES: u64 = 1 << 30;
    const NOVA_BYTES: u64 = 64 << 20;

    /// The length that is asked for, or `None` if the content decides.
    pub(crate) fn fixed(self) -> Result<Option<u64>, Error> {
        let image_bytes = match self {
            Self::Smallest => return Ok(None),
            Self::Nova => Self::NOVA_BYTES,
            Self::Bytes(bytes) => bytes,
        };
        if image_bytes == 0 || image_bytes > Self::MAX_BYTES || image_bytes % Self::STEP_BYTES != 0 {
            return Err(Error::ImageSize { image_bytes });
        }
        Ok(Some(image_bytes))
    }
}

impl Image {
    /// Builds the image of a tree. The same tree and options give the same bytes.
    ///
    /// # Errors
    ///
    /// [`Error::ImageSize`] and [`Error::DoesNotFit`]; [`Error::InvalidPath`] for a name that the format
    /// cannot hold; [`Error::Vfat`] if a long name's short alias meets a file of that very name.
    pub fn build(tree: &Tree, options: ImageOptions) -> Result<Self, Error> {
        match options.format {
            Format::Iso9660 => iso9660::build(tree, options.label, options.size),
            Format::Vfat => vfat::build(tree, options.label, options.size),
        }
    }
}
