//! What blktap writes, and what becomes of it when the parts that nobody but blktap reads are damaged:
//! preallocated tables, batmaps, page-aligned blocks with holes before them, blocks in any order.

use uuid::Uuid;
use vhd::format::{Creator, DiskType, DynamicHeader, Footer, Timestamp};
use vhd::fuzzing::{self, Found};
use vhd::{Decoder, EndFooterPolicy, Error};

const MIB: usize = 1 << 20;
const SIZE: usize = 16 * MIB;
const BLOCK: usize = 2 * MIB;
const TABLE: usize = 1536;
/// As SM preallocates: far more than the disk needs.
const ENTRIES: usize = 1024;
const BATMAP: usize = TABLE + 4 * ENTRIES;
/// Blocks of the disk, in the order in which they are in the file.
const ORDER: [usize; 3] = [6, 1, 3];

fn content(at: usize) -> u8 {
    (at >> 9) as u8 | 1
}

/// A disk of 16 MiB by blktap, whose data begin at multiples of 4 KiB; and what it holds.
fn file() -> (Vec<u8>, Vec<u8>) {
    let creator = Creator { application: *b"tap\0", version: 0x0001_0003, os: [0; 4] };
    let footer =
        Footer::new(DiskType::Dynamic, SIZE as u64, Uuid::from_u128(5), Timestamp(9), creator).to_bytes();
    let mut file = footer.to_vec();
    file.extend_from_slice(&DynamicHeader::new(TABLE as u64, ENTRIES as u32).to_bytes());
    file.resize(BATMAP, 0xff);
    file.extend_from_slice(&batmap());
    let mut disk = vec![0; SIZE];
    for block in ORDER {
        // The bitmap is the sector before a page.
        file.resize((file.len() + 512).next_multiple_of(4096) - 512, 0);
        let sector = u32::try_from(file.len() / 512).unwrap();
        file[TABLE + 4 * block..][..4].copy_from_slice(&sector.to_be_bytes());
        file.resize(file.len() + 512, 0xff);
        for (byte, at) in disk[block * BLOCK..][..BLOCK].iter_mut().zip(block * BLOCK..) {
            *byte = content(at);
        }
        file.extend_from_slice(&disk[block * BLOCK..][..BLOCK]);
    }
    file.extend_from_slice(&footer);
    (file, disk)
}

/// Header and map of full blocks.
fn batmap() -> Vec<u8> {
    let mut batmap = vec![0; 1024];
    batmap[..8].copy_from_slice(b"tdbatmap");
    batmap[8..16].copy_from_slice(&(BATMAP as u64 + 512).to_be_bytes());
    batmap[16..20].copy_from_slice(&1_u32.to_be_bytes());
    batmap[20..24].copy_from_slice(&0x0001_0002_u32.to_be_bytes());
    batmap[512] = 0b0101_0010;
    let sum = !u32::from(batmap[512]);
    batmap[24..28].copy_from_slice(&sum.to_be_bytes());
    batmap
}

/// Whether a disk is read right at random, in some bytes of every 64 KiB of it.
fn at_random(file: &[u8], disk: &[u8]) -> bool {
    let map = fuzzing::map(file, EndFooterPolicy::Required).unwrap();
    assert_eq!(map.virtual_size(), disk.len() as u64);
    (0..disk.len()).step_by(64 << 10).all(|at| {
        let sample = at..at + 600;
        fuzzing::read(&map, file, sample.start as u64..sample.end as u64) == disk[sample]
    })
}

fn forward(file: &[u8]) -> Result<Vec<u8>, Error> {
    let mut disk = vec![0; SIZE];
    let (found, summary) = fuzzing::decode(Decoder::with_len(file.len() as u64), file, &[60_000, 7]);
    for found in found {
        if let Found::Data(at, bytes) = found {
            let at = usize::try_from(at).unwrap();
            disk[at..at + bytes.len()].copy_from_slice(&bytes);
        }
    }
    summary.map(|_| disk)
}

#[test]
fn batmaps_are_nobodys_truth() {
    type Damage = fn(&mut Vec<u8>);
    let damages: &[(&str, Damage)] = &[
        ("valid", |_| {}),
        ("checksum wrong", |f| f[BATMAP + 27] ^= 1),
        ("claims that blocks are full which are not there", |f| f[BATMAP + 512] = 0xff),
        ("claims nothing", |f| f[BATMAP + 512] = 0),
        ("cookie wrong", |f| f[BATMAP] = b'T'),
        ("offset behind the end", |f| f[BATMAP + 8..BATMAP + 16].fill(0x7f)),
        ("size 0", |f| f[BATMAP + 16..BATMAP + 20].fill(0)),
        ("size 0xFFFFFFFF", |f| f[BATMAP + 16..BATMAP + 20].fill(0xff)),
        ("version 9.9", |f| f[BATMAP + 20..BATMAP + 24].copy_from_slice(&[0, 9, 0, 9])),
        ("one entry more than the disk", |f| f[512 + 28..512 + 32].copy_from_slice(&9_u32.to_be_bytes())),
    ];
    for (name, damage) in damages {
        let (mut file, disk) = file();
        damage(&mut file);
        fuzzing::make_sum(&mut file[512..1536], 36);
        assert!(at_random(&file, &disk), "{name}: file");
        assert!(forward(&file).unwrap() == disk, "{name}: stream");
    }
}

#[test]
fn a_bitmap_without_a_bit_is_a_block_of_zeros() {
    let (mut file, mut disk) = file();
    let first = usize::try_from(u32::from_be_bytes(file[TABLE + 4..TABLE + 8].try_into().unwrap())).unwrap();
    file[first * 512..][..512].fill(0);
    disk[BLOCK..2 * BLOCK].fill(0);
    assert!(at_random(&file, &disk));
    assert!(forward(&file).unwrap() == disk);
}

#[test]
fn the_footer_of_a_volume_is_at_its_end() {
    // As SM grows a volume: the footer is in the last sector, far behind the last block.
    let (mut file, disk) = file();
    let footer = file.split_off(file.len() - 512);
    file.resize(file.len() + (9 << 20), 0);
    file.extend(footer);
    assert!(at_random(&file, &disk));
    assert!(forward(&file).unwrap() == disk);
}
