//! The header, and what of it is refused.

use crate::{Error, Limits};

/// The first four bytes of an image.
pub const MAGIC: [u8; 4] = *b"QFI\xfb";

/// Bytes of the file from which a header is read: enough for any name in it that a tool writes.
pub(crate) const HEAD_LEN: usize = 4096;

const V2_LEN: usize = 72;
const V3_LEN: usize = 104;

const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION_TYPE: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;

const DATA_FILE_NAME: u32 = 0x4441_5441;
const BACKING_FORMAT: u32 = 0xe279_2aca;

/// How compressed clusters are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Deflate, without a header around it.
    Deflate,
    /// Zstandard.
    Zstd,
}

/// What an image says of itself, found acceptable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// The disk's size in bytes.
    pub virtual_size: u64,
    /// A cluster has 2 to this power bytes: 9 to 21.
    pub cluster_bits: u32,
    /// Where the first table is, in bytes of the file; 0 for a disk that needs none.
    pub l1_offset: u64,
    /// Entries of the first table.
    pub l1_entries: u32,
    /// How compressed clusters are compressed.
    pub compression: Compression,
    /// Clusters are allocated in 32 parts.
    pub subclusters: bool,
    /// Reference counts may be wrong, because a writer was interrupted; data are not.
    pub dirty: bool,
    /// A writer has found that the tables contradict each other, and marked the image.
    pub corrupt: bool,
    /// Number of internal snapshots.
    pub snapshots: u32,
    /// The image of which this one holds only what differs, as its name stands there ("?" where it cannot be read). Its data
    /// are refused ([`Error::BackingFile`]) by everything else in this crate.
    pub backing_file: Option<String>,
    /// What that is said to be.
    pub backing_format: Option<String>,
    /// Where the table of reference counts is: bytes of the file.
    pub refcount_table: std::ops::Range<u64>,
}

impl Header {
    /// Whether a file that begins so is a qcow2 image, of whatever version.
    pub fn is_qcow2(first: &[u8]) -> bool {
        first.starts_with(&MAGIC)
    }

    /// The image of which the one that begins so holds only what differs, as its name stands there; of damaged ones, and those
    /// that are not read by this crate, too.
    pub fn backing_file_of(first: &[u8]) -> Option<String> {
        (Self::is_qcow2(first) && first.len() >= 20).then(|| backing_file(first)).flatten()
    }

    /// Reads the header in the first bytes of a file: 4 KiB, or all of a shorter one.
    ///
    /// # Errors
    /// [`Error`], when it is damaged, or says what is not read by this crate. A backing file is told, and is refused where data
    /// would be read.
    pub fn parse(head: &[u8], limits: &Limits) -> Result<Self, Error> {
        let header = Self::read(head)?;
        header.check(limits)?;
        Ok(header)
    }

    fn read(head: &[u8]) -> Result<Self, Error> {
        if !Self::is_qcow2(head) {
            return Err(Error::NotQcow2);
        }
        let whole = |len: usize| match len.checked_sub(head.len()) {
            None | Some(0) => Ok(()),
            Some(missing) => {
                Err(Error::Truncated { what: "header", at: head.len() as u64, missing: missing as u64 })
            }
        };
        whole(8)?;
        let version = u32_at(head, 4);
        if !matches!(version, 2 | 3) {
            return Err(Error::Version(version));
        }
        whole(if version == 2 { V2_LEN } else { V3_LEN })?;
        let cluster_bits = u32_at(head, 20);
        if !(9..=21).contains(&cluster_bits) {
            return Err(Error::ClusterBits(cluster_bits));
        }
        let features = if version == 2 { 0 } else { u64_at(head, 72) };
        let extensions = Extensions::read(head, version, 1 << cluster_bits)?;
        refuse(head, features, &extensions)?;
        let compression = match extensions.compression_type(head, features) {
            0 => Compression::Deflate,
            1 => Compression::Zstd,
            other => return Err(Error::Compression(other)),
        };
        let subclusters = features & EXTENDED_L2 != 0;
        if subclusters && cluster_bits < 14 {
            return Err(Error::Subclusters(cluster_bits));
        }
        let refcounts = u64_at(head, 48);
        Ok(Self {
            version,
            virtual_size: u64_at(head, 24),
            cluster_bits,
            l1_offset: u64_at(head, 40),
            l1_entries: u32_at(head, 36),
            compression,
            subclusters,
            dirty: features & DIRTY != 0,
            corrupt: features & CORRUPT != 0,
            snapshots: u32_at(head, 60),
            backing_file: backing_file(head),
            backing_format: extensions.backing_format,
            refcount_table: refcounts..refcounts.saturating_add(u64::from(u32_at(head, 56)) << cluster_bits),
        })
    }

    /// As [`Header::parse`], of an image that is a whole disk.
    pub(crate) fn of_whole(head: &[u8], limits: &Limits) -> Result<Self, Error> {
        let header = Self::read(head)?;
        if let Some(name) = header.backing_file {
            return Err(Error::BackingFile(name));
        }
        header.check(limits)?;
        Ok(header)
    }

    /// Bytes of a cluster.
    pub fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Bytes of an entry of a second table.
    pub(crate) fn entry_len(&self) -> u64 {
        if self.subclusters { 16 } else { 8 }
    }

    /// Bytes of the disk that one second table describes.
    pub(crate) fn table_reach(&self) -> u64 {
        self.cluster_size() / self.entry_len() * self.cluster_size()
    }

    /// Bytes of the file that the first table has, as far as the disk needs it.
    pub(crate) fn l1_range(&self) -> std::ops::Range<u64> {
        self.l1_offset..self.l1_offset + self.tables() * 8
    }

    /// Second tables that the disk may have.
    pub(crate) fn tables(&self) -> u64 {
        self.virtual_size.div_ceil(self.table_reach())
    }

    fn check(&self, limits: &Limits) -> Result<(), Error> {
        if self.virtual_size == 0 {
            return Err(Error::EmptyDisk);
        }
        if self.virtual_size > limits.virtual_size {
            return Err(Error::TooLarge { virtual_size: self.virtual_size, limit: limits.virtual_size });
        }
        let needed = self.tables();
        if needed > u64::from(limits.l1_entries) {
            return Err(Error::L1TooLarge { entries: needed, limit: limits.l1_entries });
        }
        if u64::from(self.l1_entries) < needed {
            return Err(Error::L1TooSmall { entries: self.l1_entries, needed });
        }
        let aligned = self.l1_offset.is_multiple_of(self.cluster_size());
        if self.l1_offset < self.cluster_size() || !aligned || self.l1_offset > u64::MAX >> 8 {
            return Err(Error::L1Offset(self.l1_offset));
        }
        Ok(())
    }
}

/// What is there and cannot be read.
fn refuse(head: &[u8], features: u64, extensions: &Extensions) -> Result<(), Error> {
    match u32_at(head, 32) {
        0 => {}
        1 => return Err(Error::Encrypted("AES")),
        2 => return Err(Error::Encrypted("LUKS")),
        _ => return Err(Error::Encrypted("an unknown method")),
    }
    let unknown = features & !(DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2);
    if unknown != 0 {
        return Err(Error::Features(unknown));
    }
    if features & EXTERNAL_DATA != 0 {
        return Err(Error::ExternalData(extensions.data_file.clone()));
    }
    Ok(())
}

fn backing_file(head: &[u8]) -> Option<String> {
    let (offset, len) = (u64_at(head, 8), u32_at(head, 16));
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let name = start.checked_add(len as usize).and_then(|end| head.get(start..end));
    (offset != 0).then(|| name.map_or("?".into(), |name| String::from_utf8_lossy(name).into_owned()))
}

/// What stands between the header and the end of its cluster.
struct Extensions {
    header_len: u32,
    data_file: String,
    backing_format: Option<String>,
}

impl Extensions {
    fn read(head: &[u8], version: u32, cluster_size: u64) -> Result<Self, Error> {
        let header_len = if version == 2 { 72 } else { u32_at(head, 100) };
        let least = if version == 2 { V2_LEN } else { V3_LEN };
        if (header_len as usize) < least || u64::from(header_len) > cluster_size || header_len % 8 != 0 {
            return Err(Error::HeaderLength(header_len));
        }
        let mut found = Self { header_len, data_file: "?".to_owned(), backing_format: None };
        let mut at = header_len as usize;
        // An end that is not there is the end of what was read: extensions behind it tell nothing needed.
        while let Some(start) = head.get(at..at + 8) {
            let (kind, len) = (u32_at(start, 0), u32_at(start, 4) as usize);
            if kind == 0 {
                break;
            }
            let behind = (at + 8).saturating_add(len);
            if behind as u64 > cluster_size {
                return Err(Error::Extension(at as u64));
            }
            let text = || head.get(at + 8..behind).map(|name| String::from_utf8_lossy(name).into_owned());
            match kind {
                DATA_FILE_NAME => found.data_file = text().unwrap_or(found.data_file),
                BACKING_FORMAT => found.backing_format = text(),
                _ => {}
            }
            at = behind.next_multiple_of(8);
        }
        Ok(found)
    }

    /// The field may be there without the feature, and is zero then.
    fn compression_type(&self, head: &[u8], features: u64) -> u8 {
        let there = self.header_len as usize > V3_LEN && features & COMPRESSION_TYPE != 0;
        if there { head.get(V3_LEN).copied().unwrap_or_default() } else { 0 }
    }
}

/// Of bytes that were found to be long enough.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |field| u32::from_be_bytes(*field))
}

/// Of bytes that were found to be long enough.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |field| u64::from_be_bytes(*field))
}
