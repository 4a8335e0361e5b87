//! Writing an image in the one order in which it can be streamed.

use std::fmt;
use std::ops::Range;

use crate::header::MAGIC;
use crate::{Error, Limits};

/// Bytes of a cluster of the images that are written: what XAPI and `qemu-img` write.
pub const CLUSTER: u64 = 64 << 10;

/// Entries of a table of eight bytes each.
const ENTRIES: u64 = CLUSTER / 8;
/// Clusters of which one block of reference counts tells, two bytes each.
const COUNTED: u64 = CLUSTER / 2;
/// Bytes of the disk that one second table describes.
const REACH: u64 = ENTRIES * CLUSTER;
/// The cluster is referred to once.
const COPIED: u64 = 1 << 63;
const HEADER_LEN: u32 = 104;

/// A plan of a version 3 image: header, table and blocks of reference counts, first table, second tables,
/// and then the clusters of data in the disk's order. XAPI exports images in this order, and takes no other.
///
/// Memory is that of one cluster, whatever the disk; where it has data, `next` tells when it is asked.
///
/// ```
/// use qcow2::{Layout, Segment};
///
/// // A disk of 1 GiB with 100 bytes at its start.
/// let layout = Layout::new(1 << 30, |from| (from < 100).then_some(from..100))?;
/// let len = layout.stream_len();
/// let written = layout.into_segments().map(|segment| segment.len()).sum::<u64>();
/// assert_eq!(written, len);
/// # Ok::<(), qcow2::Error>(())
/// ```
pub struct Layout<F> {
    virtual_size: u64,
    next: F,
    parts: Parts,
}

/// Clusters of each part of the file, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parts {
    refcount_table: u64,
    refcount_blocks: u64,
    first_table: u64,
    second_tables: u64,
    data: u64,
}

/// A piece of the stream, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// These bytes, a cluster.
    Meta(Vec<u8>),
    /// Bytes of the disk, to be read by the caller, in whole clusters: what is behind the disk's end is
    /// zero.
    Payload {
        /// Where on the disk, in bytes.
        virtual_offset: u64,
        /// How many bytes.
        len: u64,
    },
}

impl Segment {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Meta(bytes) => bytes.len() as u64,
            Self::Payload { len, .. } => *len,
        }
    }

    /// Whether it has no bytes; none of a [`Layout`] is so.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<F> fmt::Debug for Layout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { virtual_size, parts, .. } = self;
        f.debug_struct("Layout")
            .field("virtual_size", virtual_size)
            .field("parts", parts)
            .finish_non_exhaustive()
    }
}

impl<F: Fn(u64) -> Option<Range<u64>>> Layout<F> {
    /// For a disk of `virtual_size` bytes, of which `next` tells the first extent of data that ends behind the
    /// given byte, and always the same. Disks have whole sectors; the last one is filled up.
    ///
    /// # Errors
    /// [`Error::EmptyDisk`] and [`Error::TooLarge`].
    pub fn new(virtual_size: u64, next: F) -> Result<Self, Error> {
        let limit = Limits::default().virtual_size;
        if virtual_size == 0 {
            return Err(Error::EmptyDisk);
        }
        if virtual_size > limit {
            return Err(Error::TooLarge { virtual_size, limit });
        }
        let virtual_size = virtual_size.next_multiple_of(512);
        let mut layout = Self { virtual_size, next, parts: Parts::default() };
        let (mut data, mut tables, mut at, mut table_end) = (0, 0, 0, 0);
        while let Some(run) = layout.run(at) {
            data += run.end - run.start;
            // Tables that the run is in and that were not counted yet.
            let first = (run.start / ENTRIES).max(table_end);
            let behind = run.end.div_ceil(ENTRIES);
            tables += behind.saturating_sub(first);
            table_end = behind;
            at = run.end;
        }
        layout.parts = Parts::of(virtual_size, tables, data);
        Ok(layout)
    }

    /// The next clusters with data, from this one on.
    fn run(&self, from: u64) -> Option<Range<u64>> {
        let extent = (self.next)(from.checked_mul(CLUSTER)?)?;
        let start = (extent.start / CLUSTER).max(from);
        let end = extent.end.min(self.virtual_size).div_ceil(CLUSTER);
        (start < end).then_some(start..end)
    }

    /// The disk's size in bytes, in whole sectors.
    pub fn virtual_size(&self) -> u64 {
        self.virtual_size
    }

    /// Bytes of the disk that are in the file, in whole clusters.
    pub fn allocated(&self) -> u64 {
        self.parts.data * CLUSTER
    }

    /// Exact length of the stream in bytes.
    pub fn stream_len(&self) -> u64 {
        (self.parts.meta() + self.parts.data) * CLUSTER
    }

    /// All pieces of the stream.
    pub fn into_segments(self) -> Segments<F> {
        Segments { layout: self, cluster: 0, run: 0..0, at: 0, referred: 0 }
    }
}

impl Default for Parts {
    fn default() -> Self {
        Self { refcount_table: 1, refcount_blocks: 1, first_table: 1, second_tables: 0, data: 0 }
    }
}

impl Parts {
    fn of(virtual_size: u64, second_tables: u64, data: u64) -> Self {
        let first_table = virtual_size.div_ceil(REACH).div_ceil(ENTRIES);
        let mut parts = Self { first_table, second_tables, data, ..Self::default() };
        // The counts count themselves, so that their number is sought; it only grows.
        loop {
            let blocks = (parts.meta() + data).div_ceil(COUNTED);
            let table = blocks.div_ceil(ENTRIES);
            if (table, blocks) == (parts.refcount_table, parts.refcount_blocks) {
                return parts;
            }
            (parts.refcount_table, parts.refcount_blocks) = (table, blocks);
        }
    }

    /// Where blocks of reference counts, first table, second tables and data begin.
    fn starts(&self) -> [u64; 4] {
        let blocks = 1 + self.refcount_table;
        let first = blocks + self.refcount_blocks;
        let second = first + self.first_table;
        [blocks, first, second, second + self.second_tables]
    }

    fn meta(&self) -> u64 {
        let [.., data] = self.starts();
        data
    }
}

/// The pieces of a stream: [`Layout::into_segments`].
pub struct Segments<F> {
    layout: Layout<F>,
    /// The cluster of the file that comes next.
    cluster: u64,
    /// Clusters with data; those before were looked at.
    run: Range<u64>,
    /// The cluster of the disk that second tables or data go on with.
    at: u64,
    /// Second tables, and then clusters of data, that were referred to.
    referred: u64,
}

impl<F> fmt::Debug for Segments<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segments")
            .field("layout", &self.layout)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

impl<F: Fn(u64) -> Option<Range<u64>>> Iterator for Segments<F> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        let parts = self.layout.parts;
        let [blocks, first, second, data] = parts.starts();
        let cluster = self.cluster;
        self.cluster += 1;
        Some(Segment::Meta(match cluster {
            0 => self.header(),
            // Entries of the table are the places of its blocks.
            c if c < blocks => {
                table(c - 1, |entry| (entry < parts.refcount_blocks).then_some((blocks + entry) * CLUSTER))
            }
            c if c < first => counts((c - blocks) * COUNTED, data + parts.data),
            c if c < second => {
                self.rewind(c == first);
                self.first_table(c - first, second)
            }
            c if c < data => {
                self.rewind(c == second);
                self.second_table(data)
            }
            c => {
                self.rewind(c == data);
                let run = self.run_from(self.at);
                if run.is_empty() {
                    return None;
                }
                self.at = run.end;
                let (virtual_offset, len) = (run.start * CLUSTER, (run.end - run.start) * CLUSTER);
                return Some(Segment::Payload { virtual_offset, len });
            }
        }))
    }
}

impl<F: Fn(u64) -> Option<Range<u64>>> Segments<F> {
    /// At the start of a part, which looks the disk through from its first cluster.
    fn rewind(&mut self, start: bool) {
        if start {
            (self.run, self.at, self.referred) = (0..0, 0, 0);
        }
    }

    fn header(&self) -> Vec<u8> {
        let Layout { virtual_size, parts, .. } = &self.layout;
        let [_, first, ..] = parts.starts();
        // A disk of the limit has 131072 second tables, and 128 Ki blocks of counts at most.
        let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let mut cluster = vec![0; CLUSTER as usize];
        let mut put = |at: usize, bytes: &[u8]| cluster[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(4, &3_u32.to_be_bytes());
        put(20, &CLUSTER.trailing_zeros().to_be_bytes());
        put(24, &virtual_size.to_be_bytes());
        put(36, &small(virtual_size.div_ceil(REACH)).to_be_bytes());
        put(40, &(first * CLUSTER).to_be_bytes());
        put(48, &CLUSTER.to_be_bytes());
        put(56, &small(parts.refcount_table).to_be_bytes());
        // Counts of 2^4 bits.
        put(96, &4_u32.to_be_bytes());
        put(100, &HEADER_LEN.to_be_bytes());
        cluster
    }

    /// The clusters with data from this one on, as far as they follow each other; none behind the last ones.
    /// Asked in ascending order, which looks the disk through once.
    fn run_from(&mut self, cluster: u64) -> Range<u64> {
        if self.run.end <= cluster {
            self.run = self.layout.run(cluster).unwrap_or(u64::MAX..u64::MAX);
        }
        self.run.start.max(cluster)..self.run.end
    }

    /// The cluster of the first table with this number; second tables begin at `second`.
    fn first_table(&mut self, number: u64, second: u64) -> Vec<u8> {
        table(number, |entry| {
            let used = self.run_from(entry * ENTRIES).start < (entry + 1) * ENTRIES;
            used.then(|| self.refer(second))
        })
    }

    /// The next second table that has an entry; data begin at `data`.
    fn second_table(&mut self, data: u64) -> Vec<u8> {
        let number = self.run_from(self.at).start / ENTRIES;
        self.at = (number + 1) * ENTRIES;
        table(number, |entry| (self.run_from(entry).start == entry).then(|| self.refer(data)))
    }

    /// An entry for the next of the clusters that begin at cluster `first` of the file.
    fn refer(&mut self, first: u64) -> u64 {
        let place = (first + self.referred) * CLUSTER;
        self.referred += 1;
        place | COPIED
    }
}

/// A cluster of entries of eight bytes, the `number`th of a table; `None` is zero.
fn table(number: u64, mut entry: impl FnMut(u64) -> Option<u64>) -> Vec<u8> {
    let first = number * ENTRIES;
    (first..first + ENTRIES).flat_map(|index| entry(index).unwrap_or(0).to_be_bytes()).collect()
}

/// A block of reference counts from cluster `first` on: one for each cluster before `end`.
fn counts(first: u64, end: u64) -> Vec<u8> {
    (first..first + COUNTED).flat_map(|cluster| u16::from(cluster < end).to_be_bytes()).collect()
}
