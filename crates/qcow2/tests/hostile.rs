//! Images that lie, each with the verdict that is expected; and the good ones they are made of.

use qcow2::fuzzing::{decode, map, parse, read};
use qcow2::{Error, Limits};

const CLUSTER: usize = 4096;

/// A streamable image of a disk of 3 MiB: header, table and blocks of reference counts, L1, two L2, three
/// clusters of data (at 4 KiB, at 8 KiB and at 600 clusters), as XAPI orders them.
fn good() -> Vec<u8> {
    let mut file = vec![0; 9 * CLUSTER];
    file[..4].copy_from_slice(b"QFI\xfb");
    put32(&mut file, 4, 3);
    put32(&mut file, 20, 12);
    put64(&mut file, 24, 3 << 20);
    put32(&mut file, 36, 2);
    put64(&mut file, 40, 3 * CLUSTER as u64);
    put64(&mut file, 48, CLUSTER as u64);
    put32(&mut file, 56, 1);
    put32(&mut file, 96, 4);
    put32(&mut file, 100, 112);
    put64(&mut file, CLUSTER, 2 * CLUSTER as u64);
    for (entry, cluster) in [(l1(0), 4), (l1(1), 5), (l2(0, 1), 6), (l2(0, 2), 7), (l2(1, 88), 8)] {
        put64(&mut file, entry, (1 << 63) + (cluster * CLUSTER) as u64);
    }
    for cluster in 6..9 {
        file[cluster * CLUSTER..][..CLUSTER].fill(u8::try_from(cluster).expect("small"));
    }
    file
}

fn l1(index: usize) -> usize {
    3 * CLUSTER + index * 8
}

fn l2(table: usize, index: usize) -> usize {
    (4 + table) * CLUSTER + index * 8
}

/// The entry of a cluster that is compressed into less than a sector, in this cluster of the file.
fn packed(cluster: u64) -> u64 {
    (1 << 62) + cluster * CLUSTER as u64
}

fn put32(file: &mut [u8], at: usize, value: u32) {
    file[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

fn put64(file: &mut [u8], at: usize, value: u64) {
    file[at..at + 8].copy_from_slice(&value.to_be_bytes());
}

/// What is wrong with an image, wherever it is found, and wherever its first table is.
fn verdict(file: &[u8]) -> Option<Error> {
    let of = |limits| map(file, &limits).and_then(|map| read(&map, file, u64::MAX)).err();
    let verdict = of(Limits::default());
    assert_eq!(of(in_file()), verdict);
    verdict
}

/// The first table is not in memory.
fn in_file() -> Limits {
    Limits { kept_entries: 0, ..Limits::default() }
}

#[test]
fn a_good_image_is_read_both_ways() {
    let file = good();
    let map = map(&file, &Limits::default()).unwrap();
    let data = |cluster: u8, clusters: usize| vec![cluster; clusters * CLUSTER];
    let found = read(&map, &file, u64::MAX).unwrap();
    assert_eq!(found, [(4096, [data(6, 1), data(7, 1)].concat()), (600 * 4096, data(8, 1))]);
    for cut in [1, 511, 4096, 1 << 20] {
        assert_eq!(decode(&file, cut, &Limits::default()).unwrap(), found, "in pieces of {cut}");
    }
    // Trailing bytes belong to nobody.
    let longer = [file.as_slice(), &[7; 700]].concat();
    assert_eq!(decode(&longer, 999, &Limits::default()).unwrap(), found);
}

type Change = fn(&mut Vec<u8>);

/// The name of the error's variant.
fn kind(error: Option<&Error>) -> String {
    let text = error.map_or("accepted".to_owned(), |error| format!("{error:?}"));
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

const TABLE: &[(&str, Change, &str)] = &[
    ("valid", |_| {}, "accepted"),
    ("empty file", |f| f.clear(), "NotQcow2"),
    ("three bytes", |f| f.truncate(3), "NotQcow2"),
    ("only the magic", |f| f.truncate(4), "Truncated"),
    ("half a header", |f| f.truncate(80), "Truncated"),
    ("header only", |f| f.truncate(CLUSTER), "Truncated"),
    ("half an L1 table", |f| f.truncate(l1(1)), "Truncated"),
    ("half an L2 table", |f| f.truncate(l2(1, 7)), "Truncated"),
    ("half the last data", |f| f.truncate(8 * CLUSTER + 100), "Truncated"),
    ("another magic", |f| f[3] = 0, "NotQcow2"),
    ("version 1", |f| put32(f, 4, 1), "Version"),
    ("version 4", |f| put32(f, 4, 4), "Version"),
    (
        "backing file",
        |f| {
            put64(f, 8, 200);
            put32(f, 16, 4);
            f[200..204].copy_from_slice(b"/etc");
        },
        "BackingFile",
    ),
    (
        "backing file with a lying name",
        |f| {
            put64(f, 8, u64::MAX);
            put32(f, 16, u32::MAX);
        },
        "BackingFile",
    ),
    ("clusters of 256 bytes", |f| put32(f, 20, 8), "ClusterBits"),
    ("clusters of 4 MiB", |f| put32(f, 20, 22), "ClusterBits"),
    ("clusters of 2^(2^32-1)", |f| put32(f, 20, u32::MAX), "ClusterBits"),
    ("size 0", |f| put64(f, 24, 0), "EmptyDisk"),
    ("size 2^63", |f| put64(f, 24, 1 << 63), "TooLarge"),
    ("size 2^64-1", |f| put64(f, 24, u64::MAX), "TooLarge"),
    ("size beyond the L1 table", |f| put64(f, 24, (4 << 20) + 1), "L1TooSmall"),
    ("size that needs 32 Mi tables", |f| put64(f, 24, 64 << 40), "L1TooLarge"),
    ("AES", |f| put32(f, 32, 1), "Encrypted"),
    ("LUKS", |f| put32(f, 32, 2), "Encrypted"),
    ("encryption 77", |f| put32(f, 32, 77), "Encrypted"),
    ("L1 table of 1 entry", |f| put32(f, 36, 1), "L1TooSmall"),
    ("L1 table of 2^32-1 entries, of which 2 are needed", |f| put32(f, 36, u32::MAX), "accepted"),
    ("L1 table in the header", |f| put64(f, 40, 0), "L1Offset"),
    ("L1 table not aligned", |f| put64(f, 40, 3 * CLUSTER as u64 + 8), "L1Offset"),
    ("L1 table at 2^63", |f| put64(f, 40, 1 << 63), "L1Offset"),
    ("L1 table behind the end", |f| put64(f, 40, 900 * CLUSTER as u64), "Truncated"),
    ("dirty", |f| f[79] |= 1, "accepted"),
    ("marked corrupt", |f| f[79] |= 2, "accepted"),
    ("external data file", |f| f[79] |= 4, "ExternalData"),
    ("subclusters of 128 bytes", |f| f[79] |= 16, "Subclusters"),
    ("unknown feature", |f| f[72] = 1, "Features"),
    (
        "compression 9",
        |f| {
            f[79] |= 8;
            f[104] = 9;
        },
        "Compression",
    ),
    ("header of 8 bytes", |f| put32(f, 100, 8), "HeaderLength"),
    ("header of 1 GiB", |f| put32(f, 100, 1 << 30), "HeaderLength"),
    (
        "extension of 4 GiB",
        |f| {
            put32(f, 112, 5);
            put32(f, 116, u32::MAX);
        },
        "Extension",
    ),
    ("extensions without an end", |f| f[112..CLUSTER].fill(1), "Extension"),
    ("L1 entry with reserved bits", |f| f[l1(0) + 7] |= 1, "L1Entry"),
    ("L2 table not aligned", |f| f[l1(0) + 6] |= 2, "L1Entry"),
    ("L2 table is the L1 table", |f| put64(f, l1(0), 3 * CLUSTER as u64), "L1Entry"),
    ("L2 table behind the end", |f| put64(f, l1(1), 1000 * CLUSTER as u64), "Truncated"),
    ("one L2 table twice", |f| put64(f, l1(1), 4 * CLUSTER as u64), "L1Entry"),
    ("L2 entry with reserved bits", |f| f[l2(0, 1) + 7] |= 2, "L2Entry"),
    ("data not aligned", |f| f[l2(0, 1) + 6] |= 2, "L2Entry"),
    ("data in the L1 table", |f| put64(f, l2(0, 1), 3 * CLUSTER as u64), "L2Entry"),
    ("data in an L2 table", |f| put64(f, l2(0, 1), 5 * CLUSTER as u64), "L2Entry"),
    ("data in the reference counts", |f| put64(f, l2(0, 1), CLUSTER as u64), "L2Entry"),
    ("data behind the end", |f| put64(f, l2(1, 88), 9 * CLUSTER as u64), "Truncated"),
    ("data at 2^55", |f| put64(f, l2(1, 88), 1 << 55), "Truncated"),
    ("a cluster of zeros", |f| f[l2(0, 1) + 7] |= 1, "accepted"),
    (
        "a cluster of zeros in version 2",
        |f| {
            put32(f, 4, 2);
            f[l2(0, 1) + 7] |= 1;
        },
        "L2Entry",
    ),
    ("two clusters at one place", |f| put64(f, l2(0, 9), 6 * CLUSTER as u64), "accepted"),
    ("compressed behind the end", |f| put64(f, l2(0, 1), packed(90)), "Truncated"),
    ("compressed in the header", |f| put64(f, l2(0, 1), packed(0) + 16), "L2Entry"),
    ("compressed rubbish", |f| put64(f, l2(0, 1), packed(6)), "Damaged"),
    (
        "compressed, too short",
        |f| {
            f[6 * CLUSTER..][..4].copy_from_slice(&[3, 0, 0, 0]);
            put64(f, l2(0, 1), packed(6));
        },
        "Damaged",
    ),
    (
        "compressed by zstd, rubbish",
        |f| {
            f[79] |= 8;
            f[104] = 1;
            put64(f, l2(0, 1), packed(6));
        },
        "Damaged",
    ),
];

#[test]
fn every_lie_has_its_verdict() {
    let mut wrong = Vec::new();
    for (name, change, expected) in TABLE {
        let mut file = good();
        change(&mut file);
        let error = verdict(&file);
        if kind(error.as_ref()) != *expected {
            wrong.push(format!("{name}: {error:?}, not {expected}"));
        }
        // Forward only, nothing more is accepted, and nothing is given out before it is refused.
        if let Ok(found) = decode(&file, 1000, &Limits::default()) {
            let map = map(&file, &Limits::default()).unwrap();
            assert_eq!(found, read(&map, &file, u64::MAX).unwrap(), "{name}");
        }
        parse(&file);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn names_are_told() {
    let mut file = good();
    put64(&mut file, 8, 200);
    put32(&mut file, 16, 8);
    file[200..208].copy_from_slice(b"base.img");
    assert_eq!(verdict(&file), Some(Error::BackingFile("base.img".into())));
    let mut file = good();
    file[79] |= 4;
    put32(&mut file, 112, 0x4441_5441);
    put32(&mut file, 116, 8);
    file[120..128].copy_from_slice(b"data.raw");
    assert_eq!(verdict(&file), Some(Error::ExternalData("data.raw".into())));
}

#[test]
fn what_cannot_be_read_forward_is_told_before_data() {
    let changes: &[(&str, Change)] = &[
        ("compressed", |f| put64(f, l2(0, 1), packed(6))),
        ("shared", |f| put64(f, l2(0, 9), 6 * CLUSTER as u64)),
        ("data before a table", |f| {
            f[8 * CLUSTER..].fill(0);
            put64(f, l1(1), 8 * CLUSTER as u64);
        }),
        ("a table before the first", |f| {
            put64(f, l1(1), 2 * CLUSTER as u64);
        }),
        ("small clusters", |f| put32(f, 20, 9)),
    ];
    for (name, change) in changes {
        let mut file = good();
        change(&mut file);
        let mut decoder = qcow2::Decoder::default();
        let mut rest = file.as_slice();
        let error = loop {
            match decoder.feed(&mut rest) {
                Ok(Some(qcow2::Event::Data { .. })) => panic!("{name}: data before the error"),
                Ok(Some(_)) => {}
                Ok(None) => panic!("{name}: no error"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::NotStreamable(_) | Error::L1TooSmall { .. }), "{name}: {error:?}");
    }
    let scattered = Limits { runs: 1, ..Limits::default() };
    assert!(matches!(decode(&good(), 4096, &scattered), Err(Error::NotStreamable(_))));
    // A table that would stay in the file is not there yet.
    let large = Limits { kept_entries: 0, ..Limits::default() };
    assert!(matches!(decode(&good(), 4096, &large), Err(Error::NotStreamable(_))));
    assert!(decode(&good(), 4096, &Limits::default()).is_ok());
}

#[test]
fn a_first_table_that_changes_is_noticed_where_it_is_not_in_memory() {
    let file = good();
    let map = map(&file, &in_file()).expect("a good image");
    for entry in [8, 6 * CLUSTER as u64, 1 << 56, 99 * CLUSTER as u64] {
        let mut changed = file.clone();
        put64(&mut changed, l1(1), entry);
        assert_eq!(read(&map, &changed, 2 << 20), read(&map, &file, 2 << 20));
        let error = read(&map, &changed, u64::MAX).expect_err("another table");
        assert!(matches!(error, Error::L1Entry { index: 1, .. }), "{error:?}");
    }
}

/// The second tables of a large first one, in disorder, with a hole: all are found, and nothing else is.
#[test]
fn many_tables_in_disorder() {
    // Two groups of 65,536 clusters, 512 bytes each; a table for 32 KiB.
    let (entries, clusters) = (4000_u64, 100_000_u64);
    let mut file = vec![0; 512 * usize::try_from(clusters).expect("in memory")];
    let head = good();
    file[..112].copy_from_slice(&head[..112]);
    put32(&mut file, 20, 9);
    put64(&mut file, 24, entries << 15);
    put32(&mut file, 36, u32::try_from(entries).expect("small"));
    put64(&mut file, 40, 4096);
    put64(&mut file, 48, 512);
    put32(&mut file, 56, 1);
    put64(&mut file, 512, 1024);
    for index in (0..entries).filter(|index| !(1000..3500).contains(index)) {
        // Even ones are tables, and each has one cluster of data behind itself.
        let table = 200 + index * 9_973 % 49_000 * 2;
        let at = |byte: u64| usize::try_from(byte).expect("in memory");
        put64(&mut file, at(4096 + index * 8), table * 512);
        put64(&mut file, at(table * 512 + 8 * (index % 64)), (table + 1) * 512);
        file[at((table + 1) * 512)..][..8].copy_from_slice(&index.to_le_bytes());
    }
    let both = [Limits::default(), in_file()].map(|limits| {
        let map = map(&file, &limits).expect("a good image");
        read(&map, &file, u64::MAX).expect("good tables")
    });
    assert_eq!(both[0].len(), 1500);
    assert!(both[0] == both[1]);
    // One of them becomes data of another, or its table.
    let entry = |index: usize| u64::from_be_bytes(*file[4096 + index * 8..].first_chunk().expect("inside"));
    let (first, last) = (usize::try_from(entry(0)).expect("in memory"), entry(3999));
    let mut lies = file.clone();
    put64(&mut lies, first, last);
    assert!(matches!(
        verdict(&lies),
        Some(Error::L2Entry { at: 0, why: "its data would be an L2 table", .. })
    ));
    let mut lies = file.clone();
    put64(&mut lies, 4096, last);
    assert!(matches!(verdict(&lies), Some(Error::L1Entry { index: 3999, .. })));
}

#[test]
fn every_cut_of_a_stream_is_noticed() {
    let file = good();
    for len in (0..file.len()).step_by(97) {
        assert!(decode(&file[..len], 1 << 20, &Limits::default()).is_err(), "cut at {len}");
    }
}

#[test]
fn any_byte_may_be_wrong() {
    let file = good();
    for at in (0..120).chain(l1(0)..l1(2)).chain(l2(0, 0)..l2(0, 4)) {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut file = file.clone();
            file[at] = value;
            parse(&file);
            drop(verdict(&file));
        }
    }
}
