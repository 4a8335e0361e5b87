//! The table in the first sector: four entries of 16 bytes from byte 446 on.

use super::{Partition, PartitionKind, Plan, TableError, Write, u32_at};

const SIGNATURE: [u8; 2] = [0x55, 0xaa];
const ENTRIES: usize = 446;
const ENTRY: usize = 16;
const PROTECTIVE: u8 = 0xee;
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];

/// An MBR: the sector, whose entries have been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mbr {
    sector: Vec<u8>,
}

/// What the first sector is.
pub(super) enum Found {
    Table(Mbr),
    /// A stand-in: the table is a GPT.
    Protective,
}

impl Mbr {
    pub(super) fn parse(head: &[u8], disk_sectors: u64) -> Result<Found, TableError> {
        let sector = head.get(..512).ok_or(TableError::TooSmall(disk_sectors))?;
        if sector[510..] != SIGNATURE {
            return Err(TableError::Absent);
        }
        let mbr = Self { sector: sector.to_vec() };
        let used: Vec<usize> = (0..4).filter(|i| mbr.kind(*i) != 0).collect();
        if used.iter().any(|i| mbr.kind(*i) == PROTECTIVE) {
            let hybrid = || TableError::Damaged("a GPT whose protective MBR has other partitions".to_owned());
            return if used.len() == 1 { Ok(Found::Protective) } else { Err(hybrid()) };
        }
        for index in used {
            let partition = mbr.partition(index);
            let number = partition.number;
            let end = partition.start + partition.sectors;
            let wrong = if !matches!(mbr.entry(index)[0], 0 | 0x80) {
                // The code of a FAT boot sector stands where the table would be.
                "has a boot flag that is neither 0 nor 0x80".to_owned()
            } else if partition.start == 0 || partition.sectors == 0 {
                "is empty".to_owned()
            } else if end > disk_sectors {
                format!("ends at sector {end} of a disk that has {disk_sectors}")
            } else if EXTENDED.contains(&mbr.kind(index)) {
                return Err(TableError::Extended(number));
            } else {
                continue;
            };
            return Err(TableError::Damaged(format!("partition {number} {wrong}")));
        }
        Ok(Found::Table(mbr))
    }

    pub(super) fn partitions(&self) -> Vec<Partition> {
        (0..4).filter(|i| self.kind(*i) != 0).map(|i| self.partition(i)).collect()
    }

    pub(super) fn resize(&self, partition: Partition, disk_sectors: u64) -> Result<Plan, TableError> {
        let partition = reaching_end(partition.number, partition.start, disk_sectors)?;
        let mut sector = self.sector.clone();
        put_extent(&mut sector, &partition);
        let writes = if sector == self.sector { vec![] } else { vec![Write { offset: 0, bytes: sector }] };
        Ok(Plan { partition, writes })
    }

    pub(super) fn single(start: u64, kind: PartitionKind, disk_sectors: u64) -> Result<Plan, TableError> {
        let partition = reaching_end(1, start, disk_sectors)?;
        let mut sector = vec![0; 512];
        sector[ENTRIES + 4] = match kind {
            PartitionKind::Linux => 0x83,
            PartitionKind::Swap => 0x82,
            PartitionKind::Fat => 0x0c,
        };
        put_extent(&mut sector, &partition);
        sector[510..].copy_from_slice(&SIGNATURE);
        Ok(Plan { partition, writes: vec![Write { offset: 0, bytes: sector }] })
    }

    fn entry(&self, index: usize) -> &[u8] {
        &self.sector[ENTRIES + index * ENTRY..][..ENTRY]
    }

    fn kind(&self, index: usize) -> u8 {
        self.entry(index)[4]
    }

    fn partition(&self, index: usize) -> Partition {
        let entry = self.entry(index);
        let (start, sectors) = (u32_at(entry, 8), u32_at(entry, 12));
        Partition { number: index as u32 + 1, start: start.into(), sectors: sectors.into() }
    }
}

fn reaching_end(number: u32, start: u64, disk_sectors: u64) -> Result<Partition, TableError> {
    // Both the start and the length are 32 bits; tools are careful with an end beyond them too.
    let end = disk_sectors.min(u32::MAX.into());
    match end.checked_sub(start) {
        Some(sectors) if sectors > 0 && start > 0 => Ok(Partition { number, start, sectors }),
        _ => Err(TableError::TooSmall(disk_sectors)),
    }
}

/// Writes where a partition begins and ends; its type and boot flag stay.
fn put_extent(sector: &mut [u8], partition: &Partition) {
    let entry = &mut sector[ENTRIES + (partition.number as usize - 1) * ENTRY..][..ENTRY];
    entry[1..4].copy_from_slice(&chs(partition.start));
    entry[5..8].copy_from_slice(&chs(partition.start + partition.sectors - 1));
    entry[8..12].copy_from_slice(&(partition.start as u32).to_le_bytes());
    entry[12..16].copy_from_slice(&(partition.sectors as u32).to_le_bytes());
}

/// Cylinder, head and sector of the geometry with 255 heads and 63 sectors, which every tool assumes.
fn chs(lba: u64) -> [u8; 3] {
    let (cylinder, head, sector) = (lba / (255 * 63), lba / 63 % 255, lba % 63 + 1);
    if cylinder > 1023 {
        return [0xfe, 0xff, 0xff];
    }
    [head as u8, sector as u8 | (cylinder >> 8 << 6) as u8, cylinder as u8]
}
