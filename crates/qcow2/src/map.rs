//! Finding a disk's bytes in a file that can be read at any place.

use std::ops::Range;

use crate::cluster::{self, Compressed, OFFSET};
use crate::header::{HEAD_LEN, Header};
use crate::{Error, Limits, ReadError};

/// Where the second tables of a disk are: header and first table, checked as a whole.
///
/// Memory: 16 bytes for each second table that the disk may have, which for 2 TiB in clusters of
/// 64 KiB are 4096.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    header: Header,
    len: u64,
    /// Offsets; 0 where there is no table.
    l1: Vec<u64>,
    /// The same without the zeros, ascending.
    tables: Vec<u64>,
}

/// The part of a disk that one entry of the first table stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Where the second table is, in bytes of the file; `None`: all of this is zero.
    pub offset: Option<u64>,
    /// How long the second table is: one cluster.
    pub len: u64,
    /// The bytes of the disk it describes.
    pub bytes: Range<u64>,
}

/// What a part of a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Zero.
    Zeros,
    /// In the file from this byte on.
    Data {
        /// Byte of the file.
        offset: u64,
    },
    /// In a compressed cluster: read its bytes, [`Map::unpack`] them.
    Compressed(Compressed),
}

/// Entries looked at for one answer, so that many answers about one table stay cheap.
const LOOK_AHEAD: u64 = 1024;

impl Map {
    /// Reads and checks header and first table of a file of `len` bytes. `read_at` fills the buffer from
    /// the given byte of the file.
    ///
    /// # Errors
    /// [`ReadError::Format`] with the first thing that is wrong; [`ReadError::Io`] when `read_at` fails.
    pub fn read<E>(
        len: u64,
        limits: &Limits,
        mut read_at: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Self, ReadError<E>> {
        // At most HEAD_LEN.
        let mut head = vec![0; usize::try_from(len).unwrap_or(HEAD_LEN).min(HEAD_LEN)];
        read_at(0, &mut head).map_err(ReadError::Io)?;
        let header = Header::parse(&head, limits)?;
        let l1 = header.l1_range();
        if l1.end > len {
            return Err(Error::Truncated { what: "L1 table", at: len, missing: l1.end - len }.into());
        }
        // Bounded by the limits.
        let mut bytes = vec![0; usize::try_from(l1.end - l1.start).unwrap_or(usize::MAX)];
        read_at(l1.start, &mut bytes).map_err(ReadError::Io)?;
        Ok(Self::new(header, len, &bytes)?)
    }

    /// From the bytes of the first table, as many as the disk needs. `len` is the file's, or
    /// `u64::MAX` where it is not known.
    pub(crate) fn new(header: Header, len: u64, l1: &[u8]) -> Result<Self, Error> {
        let words = l1.as_chunks::<8>().0.iter().map(|entry| u64::from_be_bytes(*entry));
        let mut map = Self { header, len, l1: Vec::with_capacity(l1.len() / 8), tables: Vec::new() };
        let own = map.header.l1_range();
        for (entry, index) in words.zip(0_u32..) {
            let wrong = |why| Error::L1Entry { index, entry, why };
            let offset = entry & OFFSET;
            let end = offset + map.header.cluster_size();
            if entry & !(OFFSET | 1 << 63) != 0 {
                return Err(wrong("reserved bits are set"));
            }
            if !offset.is_multiple_of(map.header.cluster_size()) {
                return Err(wrong("it is not at the start of a cluster"));
            }
            if offset != 0 && (offset < own.end && own.start < end) {
                return Err(wrong("the table would overlap the L1 table"));
            }
            if offset != 0 && end > len {
                return Err(Error::Truncated { what: "L2 table", at: len, missing: end - len });
            }
            map.l1.push(offset);
        }
        map.tables = map.l1.iter().copied().filter(|offset| *offset != 0).collect();
        map.tables.sort_unstable();
        if let Some(twice) = map.tables.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]) {
            let index = map.l1.iter().rposition(|offset| *offset == twice).unwrap_or_default();
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            return Err(Error::L1Entry { index, entry: twice, why: "another entry has the same table" });
        }
        Ok(map)
    }

    /// What the image says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The second tables, in bytes of the file, ascending.
    pub(crate) fn tables(&self) -> &[u64] {
        &self.tables
    }

    /// What the second tables describe, in the order of the tables in the file: first bytes on the disk.
    pub(crate) fn tables_in_order(&self) -> Vec<u64> {
        let reach = self.header.table_reach();
        let mut tables: Vec<(u64, u64)> = self
            .l1
            .iter()
            .zip(0..)
            .filter(|(offset, _)| **offset != 0)
            .map(|(o, i)| (*o, i * reach))
            .collect();
        tables.sort_unstable();
        tables.into_iter().map(|(_, place)| place).collect()
    }

    /// The table for the byte `at` of the disk; `None` behind its end. Where there is no table, neighbours
    /// without one are joined.
    pub fn table(&self, at: u64) -> Option<Table> {
        let size = self.header.virtual_size;
        if at >= size {
            return None;
        }
        let reach = self.header.table_reach();
        let index = usize::try_from(at / reach).ok()?;
        let offset = Some(*self.l1.get(index)?).filter(|offset| *offset != 0);
        let empty = |offset: &&u64| **offset == 0;
        let entries = match offset {
            Some(_) => 1,
            None => self.l1[index..].iter().take_while(empty).count(),
        };
        let start = index as u64 * reach;
        let bytes = start..size.min(start + entries as u64 * reach);
        Some(Table { offset, len: self.header.cluster_size(), bytes })
    }

    /// What the byte `at` of the disk is, and for how many bytes that goes on, after a second table whose
    /// content is `entries`; neighbours are joined.
    ///
    /// # Errors
    /// [`Error::L2Entry`].
    ///
    /// # Panics
    /// When `at` does not belong to this table, or `entries` are not all of it.
    pub fn piece(&self, table: &Table, entries: &[u8], at: u64) -> Result<(Piece, u64), Error> {
        assert!(table.bytes.contains(&at), "byte {at} is not of the table");
        if table.offset.is_none() {
            return Ok((Piece::Zeros, table.bytes.end - at));
        }
        let (first, len) = self.cluster(table, entries, at)?;
        let mut end = at + len;
        let look_end = table.bytes.end.min(end.saturating_add(LOOK_AHEAD << self.header.cluster_bits));
        while end < look_end {
            // What is wrong with a neighbour is told when somebody asks for it.
            let Ok((next, len)) = self.cluster(table, entries, end) else { break };
            let joins = match (first, next) {
                (Piece::Zeros, Piece::Zeros) => true,
                (Piece::Data { offset }, Piece::Data { offset: next }) => next == offset + (end - at),
                _ => false,
            };
            if !joins {
                break;
            }
            end += len;
        }
        Ok((first, end.min(table.bytes.end) - at))
    }

    /// One cluster, or the part of one that is the same.
    fn cluster(&self, table: &Table, entries: &[u8], at: u64) -> Result<(Piece, u64), Error> {
        let size = self.header.cluster_size();
        let (start, inside) = (at - at % size, at % size);
        // A table has at most 2 MiB.
        let place = usize::try_from((start - table.bytes.start) / size * self.header.entry_len());
        let entry = &entries[place.unwrap_or(usize::MAX)..];
        let entry = &entry[..usize::try_from(self.header.entry_len()).unwrap_or(16)];
        let (piece, len) = cluster::decode(&self.header, entry, start, inside)?;
        let wrong = |entry, why| Error::L2Entry { at: start, entry, why };
        match piece {
            Piece::Zeros => {}
            Piece::Data { offset } => {
                let cluster = offset - inside;
                // What lies behind the end of the disk needs not be in the file.
                let end = offset + len.min(table.bytes.end - at);
                if end > self.len {
                    return Err(Error::Truncated { what: "data", at: self.len, missing: end - self.len });
                }
                if let Some(why) = self.metadata_at(cluster) {
                    return Err(wrong(cluster, why));
                }
            }
            Piece::Compressed(compressed) if compressed.offset >= self.len => {
                let missing = compressed.offset + compressed.len - self.len;
                return Err(Error::Truncated { what: "compressed data", at: self.len, missing });
            }
            Piece::Compressed(compressed) => {
                if let Some(why) = self.metadata_at(compressed.offset - compressed.offset % size) {
                    return Err(wrong(compressed.offset, why));
                }
            }
        }
        Ok((piece, len))
    }

    /// What stands in the cluster of the file that begins here, if it is metadata.
    fn metadata_at(&self, offset: u64) -> Option<&'static str> {
        let cluster = offset..offset + self.header.cluster_size();
        let in_the_way = |part: &Range<u64>| part.start < cluster.end && cluster.start < part.end;
        if offset == 0 {
            Some("its data would be the header")
        } else if in_the_way(&self.header.l1_range()) {
            Some("its data would be the L1 table")
        } else if in_the_way(&self.header.refcount_table) {
            Some("its data would be the table of reference counts")
        } else if self.tables.binary_search(&offset).is_ok() {
            Some("its data would be an L2 table")
        } else {
            None
        }
    }

    /// Unpacks the bytes of a compressed cluster; those that lie behind the end of the file may be left
    /// out. `cluster` becomes as long as a cluster.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn unpack(&self, from: &Compressed, bytes: &[u8], cluster: &mut Vec<u8>) -> Result<(), Error> {
        // At most 2 MiB.
        cluster.resize(1 << self.header.cluster_bits, 0);
        cluster::unpack(self.header.compression, from.at, bytes, cluster)
    }

    /// Length of the file that the map was made for, in bytes.
    pub fn file_len(&self) -> u64 {
        self.len
    }
}
