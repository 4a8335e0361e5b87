//! Partition tables as pure data: bytes → table → plan → bytes to write. No device is touched here.
//!
//! What is planned is what Nova's `auto_disk_config` and its resize need: one partition that ends with
//! the disk. Everything else is refused with the reason. Sectors are of 512 bytes, as XAPI's disks have them.

mod gpt;
mod mbr;

/// Bytes of a sector.
pub const SECTOR: u64 = 512;

/// How much of the start of a disk holds either table, the largest GPT included.
pub const HEAD_BYTES: u64 = (2 + gpt::MAX_ENTRIES * gpt::ENTRY as u64 / SECTOR) * SECTOR;

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Table {
    /// The table of PCs, in the first sector.
    Mbr(mbr::Mbr),
    /// The GUID partition table.
    Gpt(gpt::Gpt),
}

/// A partition, in sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 1.
    pub number: u32,
    /// Its first sector.
    pub start: u64,
    /// How many it has.
    pub sectors: u64,
}

/// Bytes and their place on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where, in bytes.
    pub offset: u64,
    /// What.
    pub bytes: Vec<u8>,
}

/// What to write, and what the partition is afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The partition as it will be.
    pub partition: Partition,
    /// In this order: whenever it is cut short, one whole table is on the disk. Empty when all is as wanted.
    pub writes: Vec<Write>,
}

/// Why a table is not read, or not changed. Nothing has been written then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// The disk, or what was read of it, is too short.
    #[error("a disk of {0} sectors is too small for a partition table and a partition")]
    TooSmall(u64),
    /// No table: perhaps a file system on the whole disk.
    #[error("there is no partition table")]
    Absent,
    /// A table that contradicts itself or the disk.
    #[error("the partition table is damaged: {0}")]
    Damaged(String),
    /// Not exactly one partition.
    #[error("the disk has {0} partitions; only a disk with a single one is resized")]
    NotSingle(usize),
    /// A single partition with another number than 1.
    #[error("the only partition has number {0}; only number 1 is resized")]
    NotFirst(u32),
    /// A partition that is a table of its own.
    #[error("partition {0} is an extended partition")]
    Extended(u32),
}

impl Table {
    /// Reads the table from the first [`HEAD_BYTES`] of a disk (or all of a smaller one).
    ///
    /// # Errors
    /// When there is none, or it contradicts itself or the disk.
    pub fn parse(head: &[u8], disk_sectors: u64) -> Result<Self, TableError> {
        let table = match mbr::Mbr::parse(head, disk_sectors)? {
            mbr::Found::Table(mbr) => Self::Mbr(mbr),
            mbr::Found::Protective => Self::Gpt(gpt::Gpt::parse(head, disk_sectors)?),
        };
        let mut partitions = table.partitions();
        partitions.sort_by_key(|p| p.start);
        for pair in partitions.windows(2) {
            if pair[0].start + pair[0].sectors > pair[1].start {
                let text = format!("partitions {} and {} overlap", pair[0].number, pair[1].number);
                return Err(TableError::Damaged(text));
            }
        }
        Ok(table)
    }

    /// The partitions in the order of the table.
    pub fn partitions(&self) -> Vec<Partition> {
        match self {
            Self::Mbr(mbr) => mbr.partitions(),
            Self::Gpt(gpt) => gpt.partitions(),
        }
    }

    /// The only partition.
    ///
    /// # Errors
    /// When there is none, more than one, or its number is not 1.
    pub fn single(&self) -> Result<Partition, TableError> {
        match self.partitions()[..] {
            [partition] if partition.number == 1 => Ok(partition),
            [partition] => Err(TableError::NotFirst(partition.number)),
            ref all => Err(TableError::NotSingle(all.len())),
        }
    }

    /// Plans the only partition to end where a disk of `disk_sectors` ends. An MBR reaches no further than
    /// 2 TiB; the partition ends there then.
    ///
    /// # Errors
    /// As [`single`](Self::single), and when such a disk would have no room for the partition.
    pub fn resize(&self, disk_sectors: u64) -> Result<Plan, TableError> {
        let partition = self.single()?;
        match self {
            Self::Mbr(mbr) => mbr.resize(partition, disk_sectors),
            Self::Gpt(gpt) => gpt.resize(partition, disk_sectors),
        }
    }
}

/// Plans a new MBR with one partition from `start` to the end of the disk, as far as an MBR reaches.
///
/// # Errors
/// When the disk ends before.
pub fn single(start: u64, kind: PartitionKind, disk_sectors: u64) -> Result<Plan, TableError> {
    mbr::Mbr::single(start, kind, disk_sectors)
}

/// What a new partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionKind {
    /// A Linux file system.
    Linux,
    /// Linux swap space.
    Swap,
    /// A FAT file system that Windows finds.
    Fat,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

#[cfg(test)]
mod tests;
