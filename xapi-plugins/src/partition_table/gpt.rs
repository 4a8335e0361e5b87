//! The GUID partition table: a header in sector 1, its entries from sector 2 on, and a copy of both at the
//! end of the disk. Only the first copy is read: an image that was made larger has the other in its middle.

use super::{Partition, Plan, SECTOR, TableError, Write, u32_at, u64_at};

/// Bytes of an entry; other sizes are allowed by the standard and made by nobody.
pub(super) const ENTRY: usize = 128;
/// The usual table has 128.
pub(super) const MAX_ENTRIES: u64 = 4_096;
const SIGNATURE: &[u8] = b"EFI PART";
const HEADER_CRC: usize = 16;
const OWN_LBA: usize = 24;
const OTHER_LBA: usize = 32;
const LAST_USABLE: usize = 48;
const ENTRIES_LBA: usize = 72;
const ENTRIES_CRC: usize = 88;

/// A GPT: its header and its entries, both checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpt {
    /// The first sector.
    protective: Vec<u8>,
    /// A sector.
    header: Vec<u8>,
    header_len: usize,
    /// Whole sectors.
    entries: Vec<u8>,
    count: usize,
}

impl Gpt {
    pub(super) fn parse(head: &[u8], disk_sectors: u64) -> Result<Self, TableError> {
        let damaged = |text: &str| TableError::Damaged(text.to_owned());
        let header = head.get(512..1024).ok_or(TableError::TooSmall(disk_sectors))?;
        if !header.starts_with(SIGNATURE) {
            return Err(damaged("a protective MBR without a GPT header"));
        }
        let header_len = u32_at(header, 12) as usize;
        if !(92..=512).contains(&header_len) {
            return Err(damaged("the GPT header's length is wrong"));
        }
        if header_crc(header, header_len) != u32_at(header, HEADER_CRC) {
            return Err(damaged("the GPT header's checksum is wrong; `sgdisk -v` tells more"));
        }
        let (count, size) = (u64::from(u32_at(header, 80)), u32_at(header, 84) as usize);
        if u64_at(header, OWN_LBA) != 1 || u64_at(header, ENTRIES_LBA) != 2 {
            return Err(damaged("the GPT is not where it should be"));
        }
        if size != ENTRY || count == 0 || count > MAX_ENTRIES {
            return Err(damaged("the GPT's entries have an unusual size or number"));
        }
        let len = (count as usize * ENTRY).next_multiple_of(512);
        let entries = head.get(1024..1024 + len).ok_or(TableError::TooSmall(disk_sectors))?;
        if crc32fast::hash(&entries[..count as usize * ENTRY]) != u32_at(header, ENTRIES_CRC) {
            return Err(damaged("the checksum of the GPT's entries is wrong; `sgdisk -v` tells more"));
        }
        let gpt = Self {
            protective: head[..512].to_vec(),
            header: header.to_vec(),
            header_len,
            entries: entries.to_vec(),
            count: count as usize,
        };
        let first_usable = 2 + len as u64 / SECTOR;
        for index in gpt.used() {
            let (start, last) = gpt.extent(index);
            if start < first_usable || last < start || last >= disk_sectors {
                let text = format!(
                    "partition {} is from sector {start} to {last} of a disk that has {disk_sectors}",
                    index + 1
                );
                return Err(TableError::Damaged(text));
            }
        }
        Ok(gpt)
    }

    pub(super) fn partitions(&self) -> Vec<Partition> {
        let partition = |index: usize| {
            let (start, last) = self.extent(index);
            Partition { number: index as u32 + 1, start, sectors: last - start + 1 }
        };
        self.used().map(partition).collect()
    }

    pub(super) fn resize(&self, partition: Partition, disk_sectors: u64) -> Result<Plan, TableError> {
        let entries_sectors = self.entries.len() as u64 / SECTOR;
        let too_small = TableError::TooSmall(disk_sectors);
        let Some(last_usable) = disk_sectors.checked_sub(entries_sectors + 2) else { return Err(too_small) };
        if last_usable <= partition.start {
            return Err(too_small);
        }
        let mut entries = self.entries.clone();
        let at = (partition.number as usize - 1) * ENTRY;
        entries[at + 40..at + 48].copy_from_slice(&last_usable.to_le_bytes());
        let crc = crc32fast::hash(&entries[..self.count * ENTRY]);

        let backup_lba = disk_sectors - 1;
        let header = |own: u64, other: u64, entries_lba: u64| {
            let mut header = self.header.clone();
            for (at, value) in
                [(OWN_LBA, own), (OTHER_LBA, other), (LAST_USABLE, last_usable), (ENTRIES_LBA, entries_lba)]
            {
                header[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
            header[ENTRIES_CRC..ENTRIES_CRC + 4].copy_from_slice(&crc.to_le_bytes());
            let crc = header_crc(&header, self.header_len);
            header[HEADER_CRC..HEADER_CRC + 4].copy_from_slice(&crc.to_le_bytes());
            header
        };
        let partition = Partition { sectors: last_usable - partition.start + 1, ..partition };
        let primary = header(1, backup_lba, 2);
        if primary == self.header {
            return Ok(Plan { partition, writes: vec![] });
        }
        let mut backup = entries.clone();
        backup.extend(header(backup_lba, 1, last_usable + 1));
        // The copy first: a header whose entries are half written is not valid, and the copy is used then.
        let writes = vec![
            Write { offset: (last_usable + 1) * SECTOR, bytes: backup },
            Write { offset: 2 * SECTOR, bytes: entries },
            Write { offset: SECTOR, bytes: primary },
            Write { offset: 0, bytes: self.protective_for(disk_sectors) },
        ];
        Ok(Plan { partition, writes })
    }

    /// The first sector, with the length of the stand-in partition corrected.
    fn protective_for(&self, disk_sectors: u64) -> Vec<u8> {
        let mut sector = self.protective.clone();
        let len = u32::try_from(disk_sectors - 1).unwrap_or(u32::MAX);
        for entry in sector[446..510].chunks_exact_mut(16).filter(|entry| entry[4] == 0xee) {
            entry[12..16].copy_from_slice(&len.to_le_bytes());
        }
        sector
    }

    fn used(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.count).filter(|index| self.entries[index * ENTRY..][..16] != [0; 16])
    }

    /// First and last sector.
    fn extent(&self, index: usize) -> (u64, u64) {
        let entry = &self.entries[index * ENTRY..][..ENTRY];
        (u64_at(entry, 32), u64_at(entry, 40))
    }
}

fn header_crc(header: &[u8], len: usize) -> u32 {
    let mut header = header[..len].to_vec();
    header[HEADER_CRC..HEADER_CRC + 4].fill(0);
    crc32fast::hash(&header)
}
