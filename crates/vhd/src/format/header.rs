//! The dynamic disk header.

use nom::bytes::complete::take;
use nom::number::complete::{be_u32, be_u64};
use uuid::Uuid;

use super::checksum::checksum;
use super::footer::fields;
use super::locator::LOCATOR_LEN;
use super::{BLOCK_SIZE, ParentLocator, Timestamp};
use crate::error::{Error, Structure};
use crate::layout::Parent;

/// Length of a dynamic header in bytes.
pub const HEADER_LEN: usize = 1024;

const COOKIE: [u8; 8] = *b"cxsparse";
const VERSION: u32 = 0x0001_0000;
const CHECKSUM_AT: usize = 36;
const NAME_AT: usize = 64;
const NAME_LEN: usize = 512;
const LOCATORS_AT: usize = 576;
const LOCATORS: usize = 8;
const RESERVED_AT: usize = 768;

/// The header of a dynamic or differencing disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicHeader {
    /// All ones; a leftover of a format that chains headers. Some writers have 32 bits of ones.
    pub next_offset: u64,
    /// Where the block allocation table is, in bytes.
    pub table_offset: u64,
    /// Number of entries of the table; may exceed what the disk needs.
    pub max_table_entries: u32,
    /// Size of a block in bytes.
    pub block_size: u32,
    /// Identity of the parent; null means none, or (blktap) a raw parent.
    pub parent_uuid: Uuid,
    /// When the parent was last written; nobody enforces it.
    pub parent_timestamp: Timestamp,
    /// The parent's file name; a hint. Invalid UTF-16 becomes replacement characters.
    pub parent_name: String,
    /// Where the parent may be found, in the order of the file; free slots left out.
    pub locators: Vec<ParentLocator>,
    /// Bytes that must be zero are not; kept as a remark, never written.
    pub stray_bytes: bool,
}

impl DynamicHeader {
    /// A header without a parent, for 2 MiB blocks.
    pub fn new(table_offset: u64, max_table_entries: u32) -> Self {
        Self {
            next_offset: u64::MAX,
            table_offset,
            max_table_entries,
            block_size: BLOCK_SIZE,
            parent_uuid: Uuid::nil(),
            parent_timestamp: Timestamp(0),
            parent_name: String::new(),
            locators: Vec::new(),
            stray_bytes: false,
        }
    }

    /// Reads the header that stands at byte `at`.
    ///
    /// # Errors
    /// [`Error::HeaderCookie`], [`Error::Checksum`], [`Error::Version`] and
    /// [`Error::BlockSize`].
    pub fn parse(bytes: &[u8; HEADER_LEN], at: u64) -> Result<Self, Error> {
        let (cookie, rest) = bytes.split_first_chunk::<8>().expect("a header is longer than its cookie");
        if *cookie != COOKIE {
            return Err(Error::HeaderCookie { at, found: *cookie });
        }
        let ([next_offset, table_offset], rest) = fields(rest, (be_u64, be_u64), |(a, b)| [a, b]);
        let ([version, max_table_entries, block_size, stored], rest) =
            fields(rest, (be_u32, be_u32, be_u32, be_u32), |(a, b, c, d)| [a, b, c, d]);
        let (parent_uuid, rest) =
            fields(rest, take(16_usize), |id: &[u8]| Uuid::from_slice(id).unwrap_or_default());
        let ([parent_timestamp, reserved], _) = fields(rest, (be_u32, be_u32), |(a, b)| [a, b]);

        let computed = checksum(bytes, CHECKSUM_AT);
        if stored != computed {
            return Err(Error::Checksum { what: Structure::Header, at, stored, computed });
        }
        if version != VERSION {
            return Err(Error::Version { what: Structure::Header, at, found: version });
        }
        if !block_size.is_power_of_two() || !(4 << 10..=256 << 20).contains(&block_size) {
            return Err(Error::BlockSize { found: block_size });
        }
        let (entries, _) = bytes[LOCATORS_AT..RESERVED_AT].as_chunks::<LOCATOR_LEN>();
        Ok(Self {
            next_offset,
            table_offset,
            max_table_entries,
            block_size,
            parent_uuid,
            parent_timestamp: Timestamp(parent_timestamp),
            parent_name: name(&bytes[NAME_AT..NAME_AT + NAME_LEN]),
            locators: entries.iter().filter_map(ParentLocator::parse).collect(),
            stray_bytes: reserved != 0 || bytes[RESERVED_AT..].iter().any(|byte| *byte != 0),
        })
    }

    /// The 1024 bytes of the header, with its checksum. A name of more than 255 UTF-16 units and
    /// locators beyond eight are cut: the format has no room for them.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(&COOKIE);
        bytes[8..16].copy_from_slice(&self.next_offset.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.table_offset.to_be_bytes());
        bytes[24..28].copy_from_slice(&VERSION.to_be_bytes());
        bytes[28..32].copy_from_slice(&self.max_table_entries.to_be_bytes());
        bytes[32..36].copy_from_slice(&self.block_size.to_be_bytes());
        bytes[40..56].copy_from_slice(self.parent_uuid.as_bytes());
        bytes[56..60].copy_from_slice(&self.parent_timestamp.0.to_be_bytes());
        let (units, _) = bytes[NAME_AT..NAME_AT + NAME_LEN - 2].as_chunks_mut::<2>();
        for (to, unit) in units.iter_mut().zip(self.parent_name.encode_utf16()) {
            *to = unit.to_be_bytes();
        }
        let (slots, _) = bytes[LOCATORS_AT..RESERVED_AT].as_chunks_mut::<LOCATOR_LEN>();
        for (slot, locator) in slots.iter_mut().zip(&self.locators[..self.locators.len().min(LOCATORS)]) {
            *slot = locator.to_bytes();
        }
        let sum = checksum(&bytes, CHECKSUM_AT);
        bytes[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// Names another parent.
    pub fn set_parent(&mut self, parent: &Parent, locators: Vec<ParentLocator>) {
        self.parent_uuid = parent.uuid;
        self.parent_timestamp = parent.timestamp;
        self.parent_name = parent.path.rsplit('/').next().unwrap_or_default().to_owned();
        self.locators = locators;
    }

    /// Whether the header says anything about a parent.
    pub fn names_parent(&self) -> bool {
        !self.parent_uuid.is_nil() || !self.parent_name.is_empty() || !self.locators.is_empty()
    }

    /// Length of the table in bytes, padded to whole sectors.
    pub fn table_len(&self) -> u64 {
        (u64::from(self.max_table_entries) * 4).next_multiple_of(512)
    }
}

fn name(bytes: &[u8]) -> String {
    let (units, _) = bytes.as_chunks::<2>();
    let units = units.iter().map(|unit| u16::from_be_bytes(*unit)).take_while(|unit| *unit != 0);
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Platform;

    #[test]
    fn round_trips_with_a_parent() {
        let mut header = DynamicHeader::new(1536, 4);
        header.parent_uuid = Uuid::from_u128(5);
        header.parent_timestamp = Timestamp(77);
        header.parent_name = "base disk \u{1f4be}.vhd".into();
        header.locators = vec![ParentLocator { platform: Platform::MACX, space: 512, len: 23, offset: 2048 }];
        assert_eq!(DynamicHeader::parse(&header.to_bytes(), 512), Ok(header));
    }

    #[test]
    fn refuses_block_sizes_nobody_can_use() {
        for size in [0, 1, 256, 512, 2048, 3 << 20, 512 << 20, 1 << 31, u32::MAX] {
            let mut header = DynamicHeader::new(1536, 4);
            header.block_size = size;
            assert_eq!(DynamicHeader::parse(&header.to_bytes(), 512), Err(Error::BlockSize { found: size }));
        }
    }
}
