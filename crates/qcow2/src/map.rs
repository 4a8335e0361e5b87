//! Finding a disk's bytes in a file that can be read at any place.

use std::ops::Range;

use crate::cluster::{self, Compressed};
use crate::first::{Entry, First, Rules, Window};
use crate::header::{HEAD_LEN, Header};
use crate::{Error, Limits, ReadError};

/// Where the second tables of a disk are: header and first table, checked as a whole.
///
/// Memory: 16 bytes for each entry of the first table, of which 2 TiB in clusters of 64 KiB have 4096. A table with more
/// than [`Limits::kept_entries`] stays in the file; 10 bits for each second table then say where in the file these are (16
/// while it is opened): 5 MiB for 2 TiB in clusters of 2 KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    header: Header,
    len: u64,
    first: First,
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
        let header = Header::of_whole(&head, limits)?;
        let l1 = header.l1_range();
        if l1.end > len {
            return Err(Error::Truncated { what: "L1 table", at: len, missing: l1.end - len }.into());
        }
        let first = First::read(&Rules::of(&header, len), limits, read_at)?;
        Ok(Self { header, len, first })
    }

    /// From the bytes of the first table, as many as the disk needs. `len` is the file's, or
    /// `u64::MAX` where it is not known.
    pub(crate) fn new(header: Header, len: u64, l1: &[u8]) -> Result<Self, Error> {
        let first = First::new(&Rules::of(&header, len), l1)?;
        Ok(Self { header, len, first })
    }

    /// What the image says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The second tables of a first one that is in memory, in bytes of the file, ascending.
    pub(crate) fn tables(&self) -> &[u64] {
        self.first.kept().map_or(&[], |(_, tables)| tables)
    }

    /// What these describe, in the order of the tables in the file: first bytes on the disk.
    pub(crate) fn tables_in_order(&self) -> Vec<u64> {
        let reach = self.header.table_reach();
        let l1 = self.first.kept().map_or(&[][..], |(l1, _)| l1);
        let mut tables: Vec<(u64, u64)> =
            l1.iter().zip(0..).filter(|(offset, _)| **offset != 0).map(|(o, i)| (*o, i * reach)).collect();
        tables.sort_unstable();
        tables.into_iter().map(|(_, place)| place).collect()
    }

    /// The table for the byte `at` of the disk; `None` behind its end. Where there is no table, neighbours
    /// without one are joined.
    ///
    /// A first table that is not in memory is read by `read_at`, a piece at a time; `window` keeps the last one, of this
    /// map and of no other.
    ///
    /// # Errors
    /// [`ReadError::Io`] when `read_at` fails; [`Error::L1Entry`] when the first table has changed since it was checked.
    pub fn table<E>(
        &self,
        at: u64,
        window: &mut Window,
        read_at: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Option<Table>, ReadError<E>> {
        if at >= self.header.virtual_size {
            return Ok(None);
        }
        let index = at / self.header.table_reach();
        let found = self.first.entry(&Rules::of(&self.header, self.len), index, window, read_at)?;
        Ok(found.map(|found| self.table_at(index, found)))
    }

    /// The same where the first table is in memory.
    pub(crate) fn kept_table(&self, at: u64) -> Option<Table> {
        let index = at / self.header.table_reach();
        self.first.kept_entry(index).map(|found| self.table_at(index, found))
    }

    fn table_at(&self, index: u64, found: Entry) -> Table {
        let (offset, entries) = match found {
            Entry::Table(offset) => (Some(offset), 1),
            Entry::Nothing { entries } => (None, entries),
        };
        let reach = self.header.table_reach();
        let start = index * reach;
        let bytes = start..self.header.virtual_size.min(start + entries * reach);
        Table { offset, len: self.header.cluster_size(), bytes }
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
        } else if self.first.has(offset, self.header.cluster_bits) {
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
