//! Damages that other readers were seen to crash on, hang on or misread, each with its verdict: as a file, as a stream,
//! and by the inspector. What the errors say exactly is in `hostile.rs`.
//!
//! The disk is blktap's: 16 MiB with the blocks 1, 3 and 6, a map of full blocks, and checksums made right again after
//! the damage unless they are the damage. What needs several files, a stream or an archive are the rows from 110 on, in
//! `disk-stream/tests/rows.rs`.

mod common;

use common::{NOW, TABLE, end, entry, footers, header, inspect, sector_of, variant};
use uuid::Uuid;
use vhd::format::{Creator, DiskType, DynamicHeader, Footer, Geometry, Timestamp};
use vhd::fuzzing::{self, Found};
use vhd::inspect::Grade;
use vhd::{Decoder, EndFooterPolicy};

const MIB: usize = 1 << 20;
const BATMAP: usize = 2048;
const FIRST: usize = 3072;
const BLOCK: usize = 2 * MIB + 512;
const BLOCKS: [usize; 3] = [1, 3, 6];

fn content(at: usize) -> u8 {
    (at >> 9) as u8 | 1
}

/// With a table of so many entries, in blocks of this size.
fn build(entries: usize, block_size: usize) -> Vec<u8> {
    let creator = Creator { application: *b"tap\0", version: 0x0001_0003, os: [0; 4] };
    let footer =
        Footer::new(DiskType::Dynamic, 16 << 20, Uuid::from_u128(5), Timestamp(9), creator).to_bytes();
    let mut header = DynamicHeader::new(TABLE as u64, u32::try_from(entries).unwrap());
    header.block_size = u32::try_from(block_size).unwrap();
    let mut file = [&footer[..], &header.to_bytes()].concat();
    file.resize((TABLE + 4 * entries).next_multiple_of(512), 0xff);
    let batmap = file.len();
    let per_block = 2 * MIB / block_size;
    let mut bits = vec![0_u8; 512];
    file.resize(batmap + 1024, 0);
    for number in BLOCKS.iter().flat_map(|block| block * per_block..(block + 1) * per_block) {
        bits[number / 8] |= 0x80 >> (number % 8);
        let sector = u32::try_from(file.len() / 512).unwrap();
        entry(&mut file, number, sector);
        file.resize(file.len() + 512, 0xff);
        file.extend((number * block_size..(number + 1) * block_size).map(content));
    }
    let sum = !bits.iter().fold(0, |sum, byte| sum + u32::from(*byte));
    file[batmap..batmap + 8].copy_from_slice(b"tdbatmap");
    file[batmap + 8..batmap + 16].copy_from_slice(&(batmap as u64 + 512).to_be_bytes());
    file[batmap + 16..batmap + 24].copy_from_slice(&[0, 0, 0, 1, 0, 1, 0, 2]);
    file[batmap + 24..batmap + 28].copy_from_slice(&sum.to_be_bytes());
    file[batmap + 512..batmap + 1024].copy_from_slice(&bits);
    file.extend_from_slice(&footer);
    file
}

fn valid() -> Vec<u8> {
    build(8, 2 * MIB)
}

/// To the sector that is made of its own and the one where the file ends.
fn move_entry(file: &mut [u8], block: usize, to: fn(u32, u32) -> u32) {
    let sector = to(sector_of(file, block), u32::try_from(file.len() / 512).unwrap());
    entry(file, block, sector);
}

fn truncate(file: &mut Vec<u8>, back: usize) {
    file.truncate(file.len() - back);
}

fn block_size(file: &mut [u8], bytes: u32) {
    header(file, 32, &bytes.to_be_bytes());
}

fn entries(file: &mut [u8], number: u32) {
    header(file, 28, &number.to_be_bytes());
}

fn table(file: &mut [u8], offset: u64) {
    header(file, 16, &offset.to_be_bytes());
}

fn descending(file: &mut [u8]) {
    let (one, six) = (FIRST, FIRST + 2 * BLOCK);
    let (low, high) = file.split_at_mut(six);
    low[one..one + BLOCK].swap_with_slice(&mut high[..BLOCK]);
    let (first, last) = (sector_of(file, 1), sector_of(file, 6));
    entry(file, 1, last);
    entry(file, 6, first);
}

fn end_footer_cookie(file: &mut [u8]) -> usize {
    file.len() - 512
}

/// Name, damage, the error as a file and as a stream (none: accepted), and what the inspector tells.
type Row = (&'static str, fn(&mut Vec<u8>), &'static str, &'static str, &'static str);

const NONE: &str = "";

/// The numbers are places in the table, from 1 on.
const ROWS: [Row; 109] = [
    ("valid", |_| {}, NONE, NONE, NONE),
    ("0 bytes", |f| f.clear(), "Truncated", "Truncated", "truncated"),
    ("1 byte", |f| f.truncate(1), "Truncated", "Truncated", "truncated"),
    ("511 bytes", |f| f.truncate(511), "Truncated", "Truncated", "truncated"),
    ("after the table", |f| f.truncate(2048), "Truncated", "Truncated", "truncated"),
    ("after the header", |f| f.truncate(1536), "Truncated", "Truncated", "truncated"),
    ("half of the end footer", |f| truncate(f, 256), "Truncated", "Truncated", "256 bytes are missing"),
    ("mid table", |f| f.truncate(TABLE + 4), "Truncated", "Truncated", "truncated"),
    ("mid bitmap", |f| f.truncate(FIRST + 100), "Truncated", "Truncated", "truncated"),
    ("mid data", |f| f.truncate(FIRST + 9999), "Truncated", "Truncated", "truncated"),
    ("mid header", |f| f.truncate(1000), "Truncated", "Truncated", "truncated"),
    ("no end footer", |f| truncate(f, 512), "MissingEndFooter", "MissingEndFooter", "end is missing"),
    ("end footer of 511 bytes", |f| truncate(f, 1), NONE, "Truncated", "511 bytes"),
    ("junk behind", |f| f.resize(f.len() + MIB, 0x55), "TrailingData", "TrailingData", "follow the footer"),
    (
        "a gap before the end footer",
        |f| {
            let footer = f.split_off(f.len() - 512);
            f.resize(f.len() + 5120, 0);
            f.extend(footer);
        },
        NONE,
        NONE,
        NONE,
    ),
    (
        "both cookies",
        |f| {
            let at = end_footer_cookie(f);
            (f[0], f[at]) = (b'X', b'X');
        },
        "NotVhd",
        "NotVhd",
        "not a VHD",
    ),
    ("front cookie", |f| f[0] = b'X', NONE, "NotVhd", "start is damaged"),
    (
        "both checksums",
        |f| {
            let at = end_footer_cookie(f);
            (f[400], f[at + 400]) = (1, 1);
        },
        "Checksum",
        "Checksum",
        "checksum",
    ),
    (
        "end checksum",
        |f| {
            let at = end_footer_cookie(f);
            f[at + 400] = 1;
        },
        NONE,
        "Checksum",
        "end is damaged",
    ),
    (
        "sizes differ",
        |f| end(f, 48, &(8_u64 << 20).to_be_bytes()),
        "FooterMismatch",
        "FooterMismatch",
        "disagree",
    ),
    ("uuids differ", |f| end(f, 68, &[9; 16]), "FooterMismatch", "FooterMismatch", "disagree"),
    ("front checksum", |f| f[400] = 1, NONE, "Checksum", "start is damaged"),
    ("type 0", |f| footers(f, 60, &[0, 0, 0, 0]), "DiskType", "DiskType", "type"),
    ("type 1", |f| footers(f, 60, &[0, 0, 0, 1]), "DiskType", "DiskType", "type"),
    ("type 7", |f| footers(f, 60, &[0, 0, 0, 7]), "DiskType", "DiskType", "type"),
    ("no features", |f| footers(f, 8, &[0; 4]), NONE, NONE, "feature bits"),
    ("footer version 2.0", |f| footers(f, 12, &[0, 2, 0, 0]), "Version", "Version", "version"),
    ("differencing, no parent", |f| footers(f, 60, &[0, 0, 0, 4]), "NoParent", "NoParent", "parent"),
    ("fixed, with a table", |f| footers(f, 60, &[0, 0, 0, 2]), "FixedSize", "FrontFooterFixed", "fixed"),
    ("header at 513", |f| footers(f, 16, &513_u64.to_be_bytes()), "HeaderOffset", "HeaderOffset", "header"),
    ("header at 0", |f| footers(f, 16, &[0; 8]), "HeaderOffset", "HeaderOffset", "header"),
    ("header at the last byte", |f| footers(f, 16, &[0xff; 8]), "HeaderOffset", "HeaderOffset", "header"),
    (
        "header behind the end",
        |f| footers(f, 16, &(1_u64 << 40).to_be_bytes()),
        "HeaderOffset",
        "GapTooLong",
        "header",
    ),
    (
        "Virtual PC, geometry too large",
        |f| {
            footers(f, 28, b"vpc ");
            let Geometry { cylinders, heads, sectors } = Geometry::for_size(32 << 20);
            footers(f, 56, &[&cylinders.to_be_bytes()[..], &[heads, sectors]].concat());
        },
        NONE,
        NONE,
        "QEMU believes the geometry",
    ),
    ("no geometry", |f| footers(f, 56, &[0; 4]), NONE, NONE, NONE),
    ("empty disk", |f| footers(f, 48, &[0; 8]), "EmptyDisk", "EmptyDisk", "disk"),
    ("2^63 bytes", |f| footers(f, 48, &(1_u64 << 63).to_be_bytes()), "TooLarge", "TooLarge", "limit"),
    ("2^64-1 bytes", |f| footers(f, 48, &[0xff; 8]), "TooLarge", "TooLarge", "limit"),
    (
        "8 PiB",
        |f| footers(f, 48, &((8_u64 << 50) + (2 << 20)).to_be_bytes()),
        "TooLarge",
        "TooLarge",
        "limit",
    ),
    (
        "larger than the table",
        |f| footers(f, 48, &(17_u64 << 20).to_be_bytes()),
        "TableTooSmall",
        "TableTooSmall",
        "table",
    ),
    (
        "no whole sectors",
        |f| footers(f, 48, &((16_u64 << 20) - 3).to_be_bytes()),
        NONE,
        NONE,
        "whole number of sectors",
    ),
    ("no whole blocks", |f| footers(f, 48, &((16_u64 << 20) - 512).to_be_bytes()), NONE, NONE, NONE),
    (
        "larger when it was made",
        |f| footers(f, 40, &(1_u64 << 50).to_be_bytes()),
        NONE,
        NONE,
        "size at creation",
    ),
    ("header checksum", |f| f[1500] = 1, "Checksum", "Checksum", "checksum"),
    ("header cookie", |f| header(f, 0, b"cxspursE"), "HeaderCookie", "HeaderCookie", "cookie"),
    ("header link as the specification has it", |f| header(f, 8, &[0; 4]), NONE, NONE, "data offset"),
    ("header version 2", |f| header(f, 24, &[0, 0, 0, 2]), "Version", "Version", "version"),
    ("blocks of 0", |f| block_size(f, 0), "BlockSize", "BlockSize", "block"),
    ("blocks of 1", |f| block_size(f, 1), "BlockSize", "BlockSize", "block"),
    ("blocks of 1 MiB, too few", |f| block_size(f, 1 << 20), "TableTooSmall", "TableTooSmall", "table"),
    ("blocks of 2 GiB", |f| block_size(f, 1 << 31), "BlockSize", "BlockSize", "block"),
    ("blocks of 256", |f| block_size(f, 256), "BlockSize", "BlockSize", "block"),
    ("blocks of 3 MiB", |f| block_size(f, 3 << 20), "BlockSize", "BlockSize", "block"),
    ("blocks of 4 KiB, too few", |f| block_size(f, 4096), "TableTooSmall", "TableTooSmall", "table"),
    ("blocks of 4 MiB, over each other", |f| block_size(f, 4 << 20), "BlockOverlap", "BlockOverlap", "block"),
    ("blocks of 4 GiB - 1", |f| block_size(f, u32::MAX), "BlockSize", "BlockSize", "block"),
    ("blocks of 512", |f| block_size(f, 512), "BlockSize", "BlockSize", "block"),
    ("blocks of 512 KiB", |f| *f = build(32, 512 << 10), NONE, NONE, "blocks of 2 MiB only"),
    ("blocks of 64 KiB, too few", |f| block_size(f, 65536), "TableTooSmall", "TableTooSmall", "table"),
    ("no entry", |f| entries(f, 0), "TableTooSmall", "TableTooSmall", "table"),
    ("65536 entries over the blocks", |f| entries(f, 0x1_0000), "BlockOverlap", "BlockOverlap", "block"),
    ("2^28 entries", |f| entries(f, 1 << 28), "TableTooLarge", "TableTooLarge", "table"),
    ("2^30 entries", |f| entries(f, 1 << 30), "TableTooLarge", "TableTooLarge", "table"),
    ("2^30 + 1 entries", |f| entries(f, (1 << 30) + 1), "TableTooLarge", "TableTooLarge", "table"),
    ("one entry too few", |f| entries(f, 7), "TableTooSmall", "TableTooSmall", "table"),
    ("2^31 - 1 entries", |f| entries(f, 0x7fff_ffff), "TableTooLarge", "TableTooLarge", "table"),
    ("2^31 entries", |f| entries(f, 1 << 31), "TableTooLarge", "TableTooLarge", "table"),
    ("one entry more", |f| entries(f, 9), NONE, NONE, "9 entries"),
    ("2^32 - 1 entries", |f| entries(f, u32::MAX), "TableTooLarge", "TableTooLarge", "table"),
    ("preallocated, one more", |f| *f = build(9, 2 * MIB), NONE, NONE, "9 entries"),
    ("preallocated for 2 GiB", |f| *f = build(1024, 2 * MIB), NONE, NONE, "1024 entries"),
    ("table at 0", |f| table(f, 0), "TableOffset", "TableOffset", "table"),
    ("table at 1 TiB", |f| table(f, 1 << 40), "TableOffset", "GapTooLong", "table"),
    ("table at 512", |f| table(f, 512), "TableOffset", "TableOffset", "table"),
    ("table at 1024", |f| table(f, 1024), "TableOffset", "TableOffset", "table"),
    ("table at 1537", |f| table(f, 1537), "TableOffset", "TableOffset", "table"),
    ("table at 2^63", |f| table(f, 1 << 63), "TableOffset", "GapTooLong", "table"),
    ("table at 2^64 - 512", |f| table(f, u64::MAX - 511), "TableOffset", "TableOffset", "table"),
    ("table at 2^64 - 1", |f| table(f, u64::MAX), "TableOffset", "TableOffset", "table"),
    ("table in a block", |f| table(f, FIRST as u64 + 4096), "BlockBounds", "BlockOverlap", "block"),
    (
        "one block eight times",
        |f| (0..8).for_each(|block| entry(f, block, (FIRST / 512) as u32)),
        "BlockOverlap",
        "BlockOverlap",
        "block",
    ),
    ("one block twice", |f| entry(f, 2, (FIRST / 512) as u32), "BlockOverlap", "BlockOverlap", "block"),
    ("blocks in descending order", |f| descending(f), NONE, NONE, NONE),
    ("block over the front footer", |f| entry(f, 3, 0), "BlockOverlap", "BlockOverlap", "block"),
    ("block at sector 2^31", |f| entry(f, 3, 1 << 31), "BlockBounds", "GapTooLong", "block"),
    ("block at sector 2^32 - 2", |f| entry(f, 3, u32::MAX - 1), "BlockBounds", "GapTooLong", "block"),
    ("block over the header", |f| entry(f, 3, 1), "BlockOverlap", "BlockOverlap", "block"),
    ("block over the table", |f| entry(f, 3, 3), "BlockOverlap", "BlockOverlap", "block"),
    ("block behind the end", |f| move_entry(f, 3, |_, end| end + 9), "BlockBounds", "Truncated", "block"),
    (
        "block over the end footer",
        |f| move_entry(f, 6, |sector, _| sector + 1),
        "BlockBounds",
        "MissingEndFooter",
        "block",
    ),
    ("padding of the table", |f| f[TABLE + 32..BATMAP].fill(0), NONE, NONE, NONE),
    (
        "blocks over each other in part",
        |f| move_entry(f, 3, |sector, _| sector - 1),
        "BlockOverlap",
        "BlockOverlap",
        "block",
    ),
    ("a bitmap without a bit", |f| f[FIRST..FIRST + 512].fill(0), NONE, NONE, "bitmap says are not there"),
    (
        "a bitmap of the second half",
        |f| f[FIRST..FIRST + 256].fill(0),
        NONE,
        NONE,
        "bitmap says are not there",
    ),
    ("batmap checksum", |f| f[BATMAP + 27] ^= 1, NONE, NONE, "wrong checksum"),
    (
        "batmap with blocks that are not there",
        |f| {
            f[BATMAP + 512] |= 0x80;
            f[BATMAP + 27] = f[BATMAP + 27].wrapping_sub(0x80);
        },
        NONE,
        NONE,
        "blocks that the disk has not",
    ),
    ("batmap cookie", |f| f[BATMAP] = b'T', NONE, NONE, "full blocks, which this version promises"),
    ("batmap behind the end", |f| f[BATMAP + 8..BATMAP + 16].fill(0x7f), NONE, NONE, "cannot be where"),
    ("batmap of size 0", |f| f[BATMAP + 16..BATMAP + 20].fill(0), NONE, NONE, "size that its disk needs"),
    (
        "batmap of size 2^32 - 1",
        |f| f[BATMAP + 16..BATMAP + 20].fill(0xff),
        NONE,
        NONE,
        "size that its disk needs",
    ),
    (
        "batmap version 9.9",
        |f| f[BATMAP + 20..BATMAP + 24].copy_from_slice(&[0, 9, 0, 9]),
        NONE,
        NONE,
        "unknown version",
    ),
    ("v_poison", |f| footers(f, 0, b"v_poison"), "Poisoned", "Poisoned", "poison"),
    ("blktap 9.9", |f| footers(f, 32, &[0, 9, 0, 9]), NONE, NONE, "version that blktap does not know"),
    ("hidden", |f| footers(f, 85, &[1]), NONE, NONE, "marked hidden"),
    ("hidden 7", |f| footers(f, 85, &[7]), NONE, NONE, "neither 0 nor 1"),
    ("reserved bytes", |f| footers(f, 300, &[1]), NONE, NONE, "reserved bytes"),
    ("saved state", |f| footers(f, 84, &[1]), NONE, NONE, "saved state"),
    ("created in the future", |f| footers(f, 24, &(NOW.0 + 1801).to_be_bytes()), NONE, NONE, "in the future"),
    ("no uuid", |f| footers(f, 68, &[0; 16]), NONE, NONE, "uuid is null"),
];

fn verdict<T>(result: &Result<T, vhd::Error>) -> String {
    result.as_ref().err().map(variant).unwrap_or_default()
}

#[test]
fn every_row_has_its_verdict() {
    let mut wrong = Vec::new();
    for (number, (name, damage, as_file, as_stream, told)) in (1..).zip(ROWS) {
        let mut file = valid();
        damage(&mut file);
        let mut expect = |what: &str, found: String, wanted: &str| {
            if found != wanted {
                wrong.push(format!("{number} {name}: {what}: {found:?}, not {wanted:?}"));
            }
        };
        let map = fuzzing::map(&file, EndFooterPolicy::Required);
        expect("file", verdict(&map), as_file);
        let (found, summary) = fuzzing::decode(Decoder::new(), &file, &[70_001, 1, 511]);
        expect("stream", verdict(&summary), as_stream);
        let early =
            !matches!(as_stream, NONE | "Truncated" | "MissingEndFooter" | "TrailingData" | "FooterMismatch");
        let early = early && name != "end checksum" && as_stream != "GapTooLong";
        let data = found.iter().any(|found| matches!(found, Found::Data(..)));
        expect("data before the refusal", (early && data).to_string(), "false");

        let report = inspect(&file);
        let hit = report.findings.iter().find(|finding| finding.what.contains(told));
        let grade = report.grade().unwrap_or(Grade::Accepted);
        match told {
            NONE => expect("told", format!("{grade:?}"), "Accepted"),
            told => expect(
                "told",
                hit.map_or_else(|| format!("{:?}", report.findings), |_| told.to_owned()),
                told,
            ),
        }
        let usable = as_file == NONE || report.grade() != Some(Grade::Fatal);
        expect("fatal", (grade == Grade::Fatal).to_string(), if usable { "false" } else { "true" });

        let Ok(map) = map else { continue };
        for block in BLOCKS {
            // In the second half of the block, and before the end of a disk that was made a little smaller.
            let at = block * 2 * MIB + 3 * MIB / 2;
            let read = fuzzing::read(&map, &file, at as u64..at as u64 + 600);
            let absent = name == "a bitmap without a bit" && block == 1;
            let same = (at..).zip(&read).all(|(at, byte)| *byte == if absent { 0 } else { content(at) });
            expect("data", same.to_string(), "true");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
