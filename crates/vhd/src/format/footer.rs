//! The footer.

use nom::Parser;
use nom::bytes::complete::take;
use nom::number::complete::{be_u8, be_u16, be_u32, be_u64};
use uuid::Uuid;

use super::checksum::checksum;
use super::{Geometry, Timestamp};
use crate::error::{Error, Structure};

/// Length of a footer in bytes.
pub const FOOTER_LEN: usize = 512;

const COOKIE: [u8; 8] = *b"conectix";
const POISON: [u8; 8] = *b"v_poison";
const VERSION: u32 = 0x0001_0000;
const FEATURES_RESERVED: u32 = 2;
const CHECKSUM_AT: usize = 64;
const HIDDEN_AT: usize = 85;

/// What is behind the footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiskType {
    /// All bytes of the disk, then the footer.
    Fixed,
    /// Only allocated blocks; the rest is zero.
    Dynamic,
    /// Only what differs from a parent.
    Differencing,
}

impl DiskType {
    /// The number in the footer.
    pub fn number(self) -> u32 {
        match self {
            Self::Fixed => 2,
            Self::Dynamic => 3,
            Self::Differencing => 4,
        }
    }

    fn from_number(number: u32) -> Option<Self> {
        [Self::Fixed, Self::Dynamic, Self::Differencing].into_iter().find(|kind| kind.number() == number)
    }
}

/// Who wrote a VHD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Creator {
    /// Four letters, such as `caml` (XAPI), `tap\0` (blktap), `qemu`, `win `.
    pub application: [u8; 4],
    /// The application's version, usually major << 16 | minor.
    pub version: u32,
    /// The host's operating system: `Wi2k`, `Mac `, or zeros.
    pub os: [u8; 4],
}

impl Creator {
    /// This library. The letters are its own because others carry obligations: `tap` promises a
    /// batmap, `vpc ` and `qemu` make QEMU take the disk's size from the geometry.
    pub const XENAPI_RS: Self = Self { application: *b"xnrs", version: 0x0001_0000, os: [0; 4] };

    /// XAPI's exporter.
    pub const XAPI: Self = Self { application: *b"caml", version: 1, os: [0; 4] };
}

/// The footer of a VHD; dynamic and differencing disks carry a copy in their first sector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// Feature bits; bit 1 is always set by correct writers.
    pub features: u32,
    /// Where the dynamic header is, in bytes; all ones for a fixed disk.
    pub data_offset: u64,
    /// When the disk was made.
    pub timestamp: Timestamp,
    /// Who wrote it.
    pub creator: Creator,
    /// The size at creation in bytes; informational.
    pub original_size: u64,
    /// The disk's size in bytes. Every current reader takes this one.
    pub current_size: u64,
    /// The geometry for machines that need one.
    pub geometry: Geometry,
    /// Fixed, dynamic or differencing.
    pub disk_type: DiskType,
    /// The disk's identity; children name it.
    pub uuid: Uuid,
    /// 1 when a machine's memory was saved with the disk.
    pub saved_state: u8,
    /// blktap's extension: 1 marks a disk that is only the parent of others.
    pub hidden: u8,
    /// Bytes that must be zero are not; kept as a remark, never written.
    pub stray_bytes: bool,
}

impl Footer {
    /// A footer for a new disk. `data_offset` is `None` for a fixed disk.
    pub fn new(disk_type: DiskType, size: u64, uuid: Uuid, timestamp: Timestamp, creator: Creator) -> Self {
        Self {
            features: FEATURES_RESERVED,
            data_offset: if disk_type == DiskType::Fixed { u64::MAX } else { FOOTER_LEN as u64 },
            timestamp,
            creator,
            original_size: size,
            current_size: size,
            geometry: Geometry::for_size(size),
            disk_type,
            uuid,
            saved_state: 0,
            hidden: 0,
            stray_bytes: false,
        }
    }

    /// Whether `bytes` start with a footer's cookie, that of a disabled VHD included.
    pub fn has_cookie(bytes: &[u8]) -> bool {
        bytes.starts_with(&COOKIE) || bytes.starts_with(&POISON)
    }

    /// Reads a footer that stands at byte `at`, named `what` in errors.
    ///
    /// # Errors
    /// [`Error::NotVhd`], [`Error::Poisoned`], [`Error::Checksum`], [`Error::Version`] and
    /// [`Error::DiskType`].
    pub fn parse(bytes: &[u8; FOOTER_LEN], at: u64, what: Structure) -> Result<Self, Error> {
        let (cookie, rest) = bytes.split_first_chunk::<8>().expect("a footer is longer than its cookie");
        match *cookie {
            COOKIE => {}
            POISON => return Err(Error::Poisoned { at }),
            found => return Err(Error::NotVhd { at, found }),
        }
        let ([features, version], rest) = fields(rest, (be_u32, be_u32), |(a, b)| [a, b]);
        let ((data_offset, timestamp), rest) = fields(rest, (be_u64, be_u32), |fields| fields);
        let ((application, app_version, os), rest) =
            fields(rest, (take(4_usize), be_u32, take(4_usize)), |(app, version, os): (&[u8], _, &[u8])| {
                (four(app), version, four(os))
            });
        let ([original_size, current_size], rest) = fields(rest, (be_u64, be_u64), |(a, b)| [a, b]);
        let (geometry, rest) = fields(rest, (be_u16, be_u8, be_u8), |(cylinders, heads, sectors)| Geometry {
            cylinders,
            heads,
            sectors,
        });
        let ([type_number, stored], rest) = fields(rest, (be_u32, be_u32), |(a, b)| [a, b]);
        let (uuid, rest) = fields(rest, take(16_usize), |id: &[u8]| Uuid::from_slice(id).unwrap_or_default());
        let ([saved_state, hidden], reserved) = fields(rest, (be_u8, be_u8), |(a, b)| [a, b]);

        let creator = Creator { application, version: app_version, os };
        verify_checksum(bytes, stored, creator, at, what)?;
        if version != VERSION {
            return Err(Error::Version { what, at, found: version });
        }
        let Some(disk_type) = DiskType::from_number(type_number) else {
            return Err(Error::DiskType { at, found: type_number });
        };
        Ok(Self {
            features,
            data_offset,
            timestamp: Timestamp(timestamp),
            creator,
            original_size,
            current_size,
            geometry,
            disk_type,
            uuid,
            saved_state,
            hidden,
            stray_bytes: reserved.iter().any(|byte| *byte != 0),
        })
    }

    /// The 512 bytes of the footer, with its checksum.
    pub fn to_bytes(&self) -> [u8; FOOTER_LEN] {
        let mut out = Vec::with_capacity(FOOTER_LEN);
        out.extend_from_slice(&COOKIE);
        out.extend_from_slice(&self.features.to_be_bytes());
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&self.data_offset.to_be_bytes());
        out.extend_from_slice(&self.timestamp.0.to_be_bytes());
        out.extend_from_slice(&self.creator.application);
        out.extend_from_slice(&self.creator.version.to_be_bytes());
        out.extend_from_slice(&self.creator.os);
        out.extend_from_slice(&self.original_size.to_be_bytes());
        out.extend_from_slice(&self.current_size.to_be_bytes());
        out.extend_from_slice(&self.geometry.cylinders.to_be_bytes());
        out.extend_from_slice(&[self.geometry.heads, self.geometry.sectors]);
        out.extend_from_slice(&self.disk_type.number().to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(self.uuid.as_bytes());
        out.extend_from_slice(&[self.saved_state, self.hidden]);
        let mut bytes = [0; FOOTER_LEN];
        bytes[..out.len()].copy_from_slice(&out);
        let sum = checksum(&bytes, CHECKSUM_AT);
        bytes[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The first field that matters in which two footers of one disk differ.
    ///
    /// Others are left to differ: early blktap set `hidden` in one copy only.
    pub(crate) fn difference(&self, other: &Self) -> Option<&'static str> {
        [
            ("disk type", self.disk_type != other.disk_type),
            ("size", self.current_size != other.current_size),
            ("uuid", self.uuid != other.uuid),
            ("place of the dynamic header", self.data_offset != other.data_offset),
        ]
        .into_iter()
        .find_map(|(field, differs)| differs.then_some(field))
    }
}

fn verify_checksum(
    bytes: &[u8; FOOTER_LEN],
    stored: u32,
    creator: Creator,
    at: u64,
    what: Structure,
) -> Result<(), Error> {
    let computed = checksum(bytes, CHECKSUM_AT);
    // blktap 0.1 and 1.1 set the hidden mark without touching the checksum.
    let old_blktap = creator.application == *b"tap\0" && matches!(creator.version, 0x1 | 0x0001_0001);
    let unhidden = computed.wrapping_add(u32::from(bytes[HIDDEN_AT]));
    if stored == computed || (old_blktap && stored == unhidden) {
        Ok(())
    } else {
        Err(Error::Checksum { what, at, stored, computed })
    }
}

/// The checksum that these bytes must carry.
pub(crate) fn footer_sum(bytes: &[u8; FOOTER_LEN]) -> u32 {
    checksum(bytes, CHECKSUM_AT)
}

/// Applies `parser` to the front of `input`, which the structure's length guarantees to suffice.
pub(super) fn fields<'a, P, T>(input: &'a [u8], mut parser: P, into: impl Fn(P::Output) -> T) -> (T, &'a [u8])
where
    P: Parser<&'a [u8], Error = nom::error::Error<&'a [u8]>>,
{
    match parser.parse(input) {
        Ok((rest, value)) => (into(value), rest),
        Err(_) => unreachable!("fixed-size fields inside a structure of known length"),
    }
}

pub(super) fn four(bytes: &[u8]) -> [u8; 4] {
    let mut out = [0; 4];
    out.copy_from_slice(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Footer {
        let uuid = Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef);
        Footer::new(DiskType::Dynamic, 8 << 20, uuid, Timestamp(7), Creator::XENAPI_RS)
    }

    #[track_caller]
    fn check(damage: impl Fn(&mut [u8; 512]), expected: Error) {
        let mut bytes = sample().to_bytes();
        damage(&mut bytes);
        assert_eq!(Footer::parse(&bytes, 1024, Structure::EndFooter), Err(expected));
    }

    fn resum(bytes: &mut [u8; 512]) {
        let sum = checksum(bytes, CHECKSUM_AT);
        bytes[64..68].copy_from_slice(&sum.to_be_bytes());
    }

    #[test]
    fn round_trips() {
        let footer = sample();
        assert_eq!(Footer::parse(&footer.to_bytes(), 0, Structure::FrontFooter), Ok(footer));
    }

    #[test]
    fn names_what_is_wrong() {
        check(|b| b[0] = b'x', Error::NotVhd { at: 1024, found: *b"xonectix" });
        check(|b| b[..8].copy_from_slice(b"v_poison"), Error::Poisoned { at: 1024 });
        let stored = u32::from_be_bytes(four(&sample().to_bytes()[64..68]));
        check(
            |b| b[300] = 1,
            Error::Checksum { what: Structure::EndFooter, at: 1024, stored, computed: stored - 1 },
        );
        check(
            |b| {
                b[13] = 2;
                resum(b);
            },
            Error::Version { what: Structure::EndFooter, at: 1024, found: 0x0002_0000 },
        );
        check(
            |b| {
                b[63] = 7;
                resum(b);
            },
            Error::DiskType { at: 1024, found: 7 },
        );
    }

    #[test]
    fn old_blktap_may_hide_without_summing() {
        let mut footer = sample();
        footer.creator = Creator { application: *b"tap\0", version: 0x0001_0001, os: [0; 4] };
        let mut bytes = footer.to_bytes();
        bytes[85] = 1;
        assert_eq!(Footer::parse(&bytes, 0, Structure::FrontFooter).map(|f| f.hidden), Ok(1));
        footer.creator.version = 0x0001_0003;
        let mut bytes = footer.to_bytes();
        bytes[85] = 1;
        assert!(Footer::parse(&bytes, 0, Structure::FrontFooter).is_err());
    }

    #[test]
    fn stray_bytes_are_noticed_and_not_written_back() {
        let mut bytes = sample().to_bytes();
        bytes[511] = 9;
        resum(&mut bytes);
        let footer = Footer::parse(&bytes, 0, Structure::FrontFooter).unwrap();
        assert!(footer.stray_bytes);
        assert_eq!(footer.to_bytes(), sample().to_bytes());
    }
}
