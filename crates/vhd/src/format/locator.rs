//! Parent locators: where a differencing disk says its parent is.

use nom::number::complete::{be_u32, be_u64};

use super::footer::fields;

/// The kind of path a locator holds, by its code.
///
/// Codes this library does not know are kept: VirtualBox mistypes two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Platform(pub u32);

impl Platform {
    /// Relative Windows path, UTF-16 little-endian.
    pub const W2RU: Self = Self(0x5732_7275);
    /// Absolute Windows path, UTF-16 little-endian (blktap puts a relative one here, too).
    pub const W2KU: Self = Self(0x5732_6b75);
    /// A file URL in UTF-8; the one that blktap and XAPI use.
    pub const MACX: Self = Self(0x4d61_6358);
    /// A Mac alias.
    pub const MAC: Self = Self(0x4d61_6320);
}

/// An entry of the dynamic header's locator table; the path itself stands elsewhere in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParentLocator {
    /// The kind of path.
    pub platform: Platform,
    /// Room for the path as it is written in the file: in sectors by the specification, in bytes
    /// by Microsoft, VirtualBox and blktap. [`ParentLocator::space_bytes`] tells.
    pub space: u32,
    /// Length of the path in bytes.
    pub len: u32,
    /// Where the path is, in bytes from the start of the file.
    pub offset: u64,
}

/// Length of an entry in bytes.
pub(super) const LOCATOR_LEN: usize = 24;

impl ParentLocator {
    /// Reads an entry; `None` when the slot is free.
    pub(super) fn parse(bytes: &[u8; LOCATOR_LEN]) -> Option<Self> {
        let ((platform, space, len, _reserved, offset), _) =
            fields(bytes.as_slice(), (be_u32, be_u32, be_u32, be_u32, be_u64), |fields| fields);
        (platform != 0).then_some(Self { platform: Platform(platform), space, len, offset })
    }

    pub(super) fn to_bytes(self) -> [u8; LOCATOR_LEN] {
        let mut out = [0; LOCATOR_LEN];
        out[..4].copy_from_slice(&self.platform.0.to_be_bytes());
        out[4..8].copy_from_slice(&self.space.to_be_bytes());
        out[8..12].copy_from_slice(&self.len.to_be_bytes());
        out[16..].copy_from_slice(&self.offset.to_be_bytes());
        out
    }

    /// The room in bytes: values under 512 are sectors, others must be whole sectors in bytes.
    pub fn space_bytes(self) -> Option<u64> {
        match self.space {
            0 => None,
            sectors @ 1..512 => Some(u64::from(sectors) * 512),
            bytes if bytes % 512 == 0 => Some(u64::from(bytes)),
            _ => None,
        }
    }
}
