use super::*;

const MIB: u64 = 2048;

fn head(writes: &[Write], disk_sectors: u64) -> Vec<u8> {
    let mut disk = vec![0; (disk_sectors * SECTOR) as usize];
    apply(&mut disk, writes);
    disk
}

fn apply(disk: &mut [u8], writes: &[Write]) {
    for write in writes {
        disk[write.offset as usize..][..write.bytes.len()].copy_from_slice(&write.bytes);
    }
}

/// A GPT with the given partitions, first and last sector, made with nothing of the code under test but
/// the checksum.
fn gpt_disk(disk_sectors: u64, partitions: &[(usize, u64, u64)]) -> Vec<u8> {
    let mut disk = vec![0; (disk_sectors * SECTOR) as usize];
    disk[446 + 4] = 0xee;
    disk[446 + 8] = 1;
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    for (number, first, last) in partitions {
        let entry = &mut disk[1024 + (number - 1) * 128..][..128];
        entry[..16].fill(7);
        entry[16..32].fill(8);
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
    }
    let crc = crc32fast::hash(&disk[1024..1024 + 128 * 128]);
    let header = &mut disk[512..1024];
    header[..8].copy_from_slice(b"EFI PART");
    header[8..16].copy_from_slice(&[0, 0, 1, 0, 92, 0, 0, 0]);
    for (at, value) in [(24, 1), (32, disk_sectors - 1), (40, 34), (48, disk_sectors - 34), (72, 2_u64)] {
        header[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    header[80..84].copy_from_slice(&128_u32.to_le_bytes());
    header[84..88].copy_from_slice(&128_u32.to_le_bytes());
    header[88..92].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32fast::hash(&header[..92]);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
    disk
}

#[test]
fn a_new_mbr_reads_back_and_grows_once() {
    let new = single(2048, PartitionKind::Swap, 64 * MIB).unwrap();
    let disk = head(&new.writes, 64 * MIB);
    let table = Table::parse(&disk, 64 * MIB).unwrap();
    assert_eq!(table.single(), Ok(Partition { number: 1, start: 2048, sectors: 63 * MIB }));
    assert_eq!(disk[450], 0x82);
    let grown = table.resize(128 * MIB).unwrap();
    assert_eq!(grown.partition.sectors, 127 * MIB);
    let disk = head(&grown.writes, 128 * MIB);
    assert_eq!((disk[450], &disk[510..512]), (0x82, &[0x55, 0xaa][..]));
    let again = Table::parse(&disk, 128 * MIB).unwrap().resize(128 * MIB).unwrap();
    assert!(again.writes.is_empty());
}

#[test]
fn an_mbr_ends_at_two_tib() {
    let disk = head(&single(2048, PartitionKind::Linux, MIB * 2).unwrap().writes, MIB * 2);
    let plan = Table::parse(&disk, MIB * 2).unwrap().resize(1 << 33).unwrap();
    assert_eq!(plan.partition.start + plan.partition.sectors, u64::from(u32::MAX));
}

#[test]
fn a_gpt_grows_with_its_copy() {
    let mut disk = gpt_disk(64 * MIB, &[(1, 2048, 64 * MIB - 34)]);
    disk.resize((128 * MIB * SECTOR) as usize, 0);
    let plan = Table::parse(&disk, 128 * MIB).unwrap().resize(128 * MIB).unwrap();
    assert_eq!(plan.partition, Partition { number: 1, start: 2048, sectors: 127 * MIB - 33 });
    apply(&mut disk, &plan.writes);
    let table = Table::parse(&disk, 128 * MIB).unwrap();
    assert_eq!(table.single(), Ok(plan.partition));
    assert!(table.resize(128 * MIB).unwrap().writes.is_empty());
    // The copy says where it is and where the first is.
    let copy = &disk[disk.len() - 512..];
    assert_eq!((u64_at(copy, 24), u64_at(copy, 32), u64_at(copy, 72)), (128 * MIB - 1, 1, 128 * MIB - 33));
    assert_eq!(u32_at(&disk, 446 + 12), (128 * MIB - 1) as u32);
}

#[test]
fn cut_short_anywhere_one_table_is_whole() {
    let mut disk = gpt_disk(64 * MIB, &[(1, 2048, 4096)]);
    disk.resize((128 * MIB * SECTOR) as usize, 0);
    let plan = Table::parse(&disk, 128 * MIB).unwrap().resize(128 * MIB).unwrap();
    for done in 0..=plan.writes.len() {
        let mut disk = disk.clone();
        apply(&mut disk, &plan.writes[..done]);
        // What a tool does with a damaged first table: it takes the copy in the last sector.
        let copy = disk[disk.len() - 512..].to_vec();
        let copy_is_whole = copy.starts_with(b"EFI PART");
        assert!(Table::parse(&disk, 128 * MIB).is_ok() || copy_is_whole, "after {done} writes");
    }
}

#[test]
fn a_smaller_disk() {
    let disk = gpt_disk(64 * MIB, &[(1, 2048, 64 * MIB - 34)]);
    let table = Table::parse(&disk, 64 * MIB).unwrap();
    assert_eq!(table.resize(32 * MIB).unwrap().partition.sectors, 31 * MIB - 33);
    assert_eq!(table.resize(2048), Err(TableError::TooSmall(2048)));
    assert_eq!(table.resize(10), Err(TableError::TooSmall(10)));
}

#[track_caller]
fn refused(disk: &[u8], disk_sectors: u64, text: &str) {
    let result = Table::parse(disk, disk_sectors).and_then(|table| table.resize(disk_sectors));
    let error = result.expect_err("refused").to_string();
    assert!(error.contains(text), "{error}");
}

#[test]
fn tables_that_lie_or_are_something_else() {
    let new = single(2048, PartitionKind::Linux, 64 * MIB).unwrap();
    let good = head(&new.writes, 64 * MIB);
    let with = |changes: &[(usize, u8)]| {
        let mut disk = good[..512].to_vec();
        changes.iter().for_each(|(at, value)| disk[*at] = *value);
        disk
    };
    refused(&[], 0, "too small");
    refused(&vec![0; 512], 64 * MIB, "no partition table");
    refused(&with(&[]), 32 * MIB, "ends at sector 131072 of a disk that has 65536");
    refused(&with(&[(446, 0x42)]), 64 * MIB, "boot flag");
    refused(&with(&[(450, 0x0f)]), 64 * MIB, "extended");
    refused(&with(&[(458, 0), (459, 0), (460, 0), (461, 0)]), 64 * MIB, "is empty");
    refused(&with(&[(450, 0)]), 64 * MIB, "has 0 partitions");
    let second = [(466, 0x83), (466 + 4, 0), (466 + 5, 8), (466 + 8, 1)];
    refused(&with(&second), 64 * MIB, "overlap");
    refused(&with(&[(450, 0xee)]), 64 * MIB, "too small");
    refused(&with(&[(450, 0xee), (466, 0x83)]), 64 * MIB, "protective MBR has other partitions");
}

/// A GPT that has room for so many partitions, of which there is one.
fn gpt_with_room_for(entries: u32) -> Vec<u8> {
    let mut disk = gpt_disk(64 * MIB, &[(1, 4096, 8192)]);
    // As many as there can be on this disk.
    let checked = 1024 + (entries as usize * 128).min(disk.len() - 1024);
    let crc = crc32fast::hash(&disk[1024..checked]);
    let header = &mut disk[512..1024];
    header[80..84].copy_from_slice(&entries.to_le_bytes());
    header[88..92].copy_from_slice(&crc.to_le_bytes());
    header[16..20].fill(0);
    let crc = crc32fast::hash(&header[..92]);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
    disk
}

#[test]
fn no_more_entries_than_allowed() {
    for entries in [1, 128, 4_096] {
        let disk = gpt_with_room_for(entries);
        // As much as is ever read of a disk.
        let table = Table::parse(&disk[..HEAD_BYTES as usize], 64 * MIB).unwrap();
        assert_eq!(table.single(), Ok(Partition { number: 1, start: 4096, sectors: 4097 }), "{entries}");
    }
    for entries in [0, 4_097, u32::MAX] {
        refused(&gpt_with_room_for(entries), 64 * MIB, "entries have an unusual size or number");
    }
}

#[test]
fn gpts_that_lie_or_hold_more() {
    let end = 64 * MIB;
    refused(&gpt_disk(end, &[(1, 2048, 4096), (2, 5000, 6000)]), end, "has 2 partitions");
    refused(&gpt_disk(end, &[(2, 2048, 4096)]), end, "has number 2");
    refused(&gpt_disk(end, &[(1, 2048, end)]), end, "partition 1 is from sector 2048 to 131072");
    refused(&gpt_disk(end, &[(1, 33, 4096)]), end, "partition 1 is from sector 33");
    refused(&gpt_disk(end, &[(1, 4096, 2048)]), end, "partition 1 is from sector 4096");
    for (at, text) in [(512, "without a GPT header"), (560, "header's checksum"), (1200, "entries is wrong")]
    {
        let mut disk = gpt_disk(end, &[(1, 2048, 4096)]);
        disk[at] ^= 1;
        refused(&disk, end, text);
    }
}
