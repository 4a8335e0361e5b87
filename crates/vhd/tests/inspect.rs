//! Deviations found, graded and repaired.

mod common;

use common::{MIB, disk, entry, footers, front, header, inspect, sector_of};
use uuid::Uuid;
use vhd::format::{Creator, Timestamp};
use vhd::fuzzing::{self, Found};
use vhd::inspect::{Finding, Grade, Inspection, Reader, Repair, Report, Writer};
use vhd::layout::{Dialect, Layout, Parameters, Parent};
use vhd::{BlockSet, Decoder, EndFooterPolicy, Error};

fn valid() -> Vec<u8> {
    disk([2 * MIB..3 * MIB, 6 * MIB..7 * MIB])
}

/// What is found beside that an old QEMU has to be told the size, which is so for nearly every size.
fn found(report: &Report) -> Vec<&Finding> {
    let old = [Reader::QemuBefore10];
    report.findings.iter().filter(|finding| finding.misread_by != old).collect()
}

fn apply(file: &mut Vec<u8>, report: &Report, repairs: &[Repair]) {
    let plan = report.plan(repairs, Uuid::from_u128(77));
    for (at, bytes) in plan.writes {
        let at = usize::try_from(at).unwrap();
        file.resize(file.len().max(at + bytes.len()), 0);
        file[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    file.truncate(plan.truncate.map_or(usize::MAX, |len| usize::try_from(len).unwrap()));
}

/// The damage is found, nothing else is, and the repair makes the file what it was, but for the
/// bytes of `same_but` in both footers.
#[track_caller]
fn check_repaired(name: &str, damage: impl Fn(&mut Vec<u8>), repair: Repair, same_but: &[(usize, usize)]) {
    let mut file = valid();
    damage(&mut file);
    let report = inspect(&file);
    assert_eq!(report.repairs(), [repair], "{name}: {:?}", report.findings);
    assert_ne!(report.grade(), Some(Grade::Fatal), "{name}");
    apply(&mut file, &report, &[repair]);
    let after = inspect(&file);
    assert!(found(&after).is_empty(), "{name}: {:?}", after.findings);
    let (mut expected, end) = (valid(), file.len() - 512);
    for start in [0, end] {
        for (from, to) in same_but.iter().chain(&[(64, 68)]) {
            let range = start + from..start + to;
            expected[range.clone()].copy_from_slice(&file[range]);
        }
    }
    assert!(file == expected, "{name}: something else changed");
}

#[test]
fn what_is_lossless_is_repaired() {
    let report = inspect(&valid());
    assert!(found(&report).is_empty(), "{:?}", report.findings);
    assert_eq!(report.writer, Some(Writer::XenapiRs));
    let end = valid().len() as u64 - 512;
    let at = usize::try_from(end).unwrap();
    check_repaired("front footer", |f| f[100] ^= 1, Repair::FrontFooter, &[]);
    check_repaired("front footer gone", |f| f[..512].fill(0), Repair::FrontFooter, &[]);
    check_repaired("end footer", |f| f[at + 100] ^= 1, Repair::EndFooter(end), &[]);
    check_repaired("a running tapdisk", |f| f[at..].fill(0xc7), Repair::EndFooter(end), &[]);
    check_repaired("end footer missing", |f| f.truncate(at), Repair::EndFooter(end), &[]);
    check_repaired("end footer cut", |f| f.truncate(at + 100), Repair::EndFooter(end), &[]);
    check_repaired("end footer of 511 bytes", |f| f.truncate(at + 511), Repair::EndFooter(end), &[]);
    check_repaired("trailing data", |f| f.resize(f.len() + 9999, 7), Repair::Truncate(end + 512), &[]);
    check_repaired("null uuid", |f| footers(f, 68, &[0; 16]), Repair::Uuid, &[(68, 84)]);
    check_repaired("geometry", |f| footers(f, 56, &[0xff, 0xff, 16, 255]), Repair::Geometry, &[]);
    check_repaired("features", |f| footers(f, 8, &[0; 4]), Repair::Features, &[]);
    check_repaired("time of one footer", |f| front(f, 24, &[0, 0, 0, 7]), Repair::FrontFooter, &[]);
    check_repaired("creator of one footer", |f| front(f, 28, b"caml"), Repair::FrontFooter, &[]);
    check_repaired("size at creation of one footer", |f| front(f, 40, &[0; 8]), Repair::FrontFooter, &[]);
    check_repaired("geometry of one footer", |f| front(f, 56, &[0, 1, 1, 1]), Repair::FrontFooter, &[]);
    check_repaired("one footer hidden", |f| front(f, 85, &[1]), Repair::FrontFooter, &[]);
    // Xen Orchestra's way to write 700,000,000 s after 2000.
    let orchestra = |f: &mut Vec<u8>| {
        footers(f, 24, &(946_684_800_u32 + 700_000_000).to_be_bytes());
        footers(f, 28, b"xo  ");
    };
    check_repaired("future", orchestra, Repair::Timestamp(Timestamp(700_000_000)), &[(28, 32)]);
}

/// What nobody can know is not invented.
#[test]
fn another_writers_future_is_told_and_left_alone() {
    let mut file = valid();
    footers(&mut file, 24, &[0x7f, 0, 0, 0]);
    let report = inspect(&file);
    assert_eq!(report.grade(), Some(Grade::Misread));
    assert_eq!(report.repairs(), []);
}

#[test]
fn several_at_once() {
    let mut file = valid();
    footers(&mut file, 68, &[0; 16]);
    footers(&mut file, 56, &[0xff; 4]);
    let end = file.len() - 512;
    file[end + 300] = 1;
    let report = inspect(&file);
    apply(&mut file, &report, &report.repairs());
    assert!(found(&inspect(&file)).is_empty());
}

#[test]
fn strange_bytes_survive_a_repair() {
    let mut file = valid();
    footers(&mut file, 400, b"somebody's");
    footers(&mut file, 68, &[0; 16]);
    let report = inspect(&file);
    apply(&mut file, &report, &report.repairs());
    assert_eq!(&file[400..410], b"somebody's");
    let left = inspect(&file);
    let left = found(&left);
    assert!(left.len() == 1 && left[0].repair.is_none(), "{left:?}");
}

/// What looks like a damaged footer at the end of a file may be a piece of its table: to write a footer there would be the
/// end of the disk.
#[test]
fn a_footer_is_not_written_over_the_table() {
    for (len, offset) in
        [(1576, Error::HeaderOffset { offset: 512 }), (2060, Error::TableOffset { offset: 1536, entries: 8 })]
    {
        let mut file = disk([]);
        file.truncate(len);
        file.resize(len, 0);
        let cookie = len - 512;
        if cookie < 1536 {
            header(&mut file, cookie - 512, b"conectix");
        } else {
            file[cookie..cookie + 8].copy_from_slice(b"conectix");
        }
        let report = inspect(&file);
        assert_eq!((report.grade(), report.error.as_ref()), (Some(Grade::Fatal), Some(&offset)), "{len}");
        assert_eq!(report.repairs(), []);
    }
}

#[track_caller]
fn check_found(name: &str, damage: impl Fn(&mut Vec<u8>), grade: Grade, words: &str) {
    let mut file = valid();
    damage(&mut file);
    let report = inspect(&file);
    let found = report.findings.iter().find(|finding| finding.what.contains(words));
    assert_eq!(found.map(|finding| finding.grade), Some(grade), "{name}: {:?}", report.findings);
    assert_eq!(found.and_then(|finding| finding.repair), None, "{name}");
}

#[test]
fn what_loses_something_is_left_alone() {
    let creator = |file: &mut Vec<u8>, name: &[u8], version: u32| {
        footers(file, 28, name);
        footers(file, 32, &version.to_be_bytes());
    };
    check_found("hidden", |f| footers(f, 85, &[1]), Grade::Accepted, "hidden");
    check_found("no batmap", |f| creator(f, b"tap\0", 0x0001_0003), Grade::Misread, "full blocks");
    check_found("CHS", |f| creator(f, b"vpc ", 1), Grade::Misread, "QEMU believes the geometry");
    check_found("overlap", |f| f[1536..1540].copy_from_slice(&4_u32.to_be_bytes()), Grade::Fatal, "block 0");
    check_found("partial", |f| f[2048 + 100] = 0, Grade::Misread, "bitmap");
    check_found("empty", |f| f.truncate(3), Grade::Fatal, "truncated");
    check_found(
        "mismatch",
        |f| {
            f[70] ^= 1;
            fuzzing::make_sum(&mut f[..512], 64);
        },
        Grade::Fatal,
        "disagree",
    );
    check_found(
        "encrypted",
        |f| {
            creator(f, b"tap\0", 0x0001_0003);
            // Blocks are moved by a sector to make room.
            f.splice(2048..2048, [0; 512]);
            for entry in [1540, 1548] {
                let sector = u32::from_be_bytes(f[entry..entry + 4].try_into().unwrap());
                f[entry..entry + 4].copy_from_slice(&(sector + 1).to_be_bytes());
            }
            f[2048..2056].copy_from_slice(b"tdbatmap");
            f[2048 + 29] = 1;
        },
        Grade::Fatal,
        "encrypted",
    );
}

/// What `vhd-util check` and Xen Orchestra refuse, and everybody else reads.
#[test]
fn what_the_strict_refuse_is_told() {
    let blktap = |file: &mut Vec<u8>| {
        footers(file, 28, b"tap\0");
        footers(file, 32, &0x0001_0001_u32.to_be_bytes());
    };
    check_found(
        "hidden in front by an old blktap",
        |f| {
            blktap(f);
            f[85] = 1;
        },
        Grade::Misread,
        "differ (mark \"hidden\")",
    );
    check_found(
        "the time of a parent",
        |f| header(f, 56, &[0, 0, 0, 1]),
        Grade::Misread,
        "when its parent was",
    );
    check_found(
        "a header elsewhere",
        |f| {
            // Two sectors of it move by one, and what is behind by as much.
            f.splice(512..512, [0; 512]);
            footers(f, 16, &1024_u64.to_be_bytes());
            f[1024 + 16..1024 + 24].copy_from_slice(&2048_u64.to_be_bytes());
            fuzzing::make_sum(&mut f[1024..2048], 36);
            for entry in [2048 + 4, 2048 + 12] {
                let sector = u32::from_be_bytes(f[entry..entry + 4].try_into().unwrap());
                f[entry..entry + 4].copy_from_slice(&(sector + 1).to_be_bytes());
            }
        },
        Grade::Misread,
        "its header is at byte 1024",
    );
    check_found(
        "the map of full blocks in a block",
        |f| {
            blktap(f);
            f.splice(2048..2048, [0; 512]);
            for block in [1, 3] {
                let sector = sector_of(f, block);
                entry(f, block, sector + 1);
            }
            f[2048..2056].copy_from_slice(b"tdbatmap");
            f[2056..2064].copy_from_slice(&4096_u64.to_be_bytes());
            f[2064..2072].copy_from_slice(&[0, 0, 0, 1, 0, 1, 0, 1]);
        },
        Grade::Misread,
        "block 1 at byte 2560 lies over blktap's map of full blocks",
    );
    let parameters = Parameters {
        virtual_size: 4 * MIB,
        uuid: Uuid::from_u128(1),
        timestamp: Timestamp(1),
        dialect: Dialect::XenapiRs,
    };
    let mut fixed = fuzzing::render(Layout::fixed(&parameters).unwrap(), |_| 1);
    assert!(found(&inspect(&fixed)).is_empty());
    common::end(&mut fixed, 16, &512_u64.to_be_bytes());
    let report = inspect(&fixed);
    assert!(found(&report)[0].what.contains("data offset is 0x200"), "{:?}", report.findings);
}

/// Locators that `vhd-util check` refuses though they can be followed.
#[test]
fn locators_are_held_to_the_header_and_to_the_blocks() {
    let parameters = Parameters {
        virtual_size: 4 * MIB,
        uuid: Uuid::from_u128(1),
        timestamp: Timestamp(1),
        dialect: Dialect::XenapiRs,
    };
    let parent = Parent { uuid: Uuid::from_u128(2), timestamp: Timestamp(1), path: "base.vhd".to_owned() };
    let mut blocks = BlockSet::new(4 * MIB, 2 << 20);
    blocks.insert(0);
    let layout = Layout::differencing(&parameters, &parent, blocks).unwrap();
    let child = fuzzing::render(layout, |_| 1);
    let told = |damage: &dyn Fn(&mut Vec<u8>)| {
        let mut file = child.clone();
        damage(&mut file);
        fuzzing::make_sum(&mut file[512..1536], 36);
        let odd = inspect(&file).findings.into_iter().filter(|finding| finding.grade == Grade::Misread);
        odd.map(|finding| finding.what).collect::<Vec<_>>()
    };
    assert_eq!(told(&|_| {}), [""; 0]);
    // Entries of 24 bytes from byte 576 of the header on.
    let second = 512 + 576 + 24;
    let twice = told(&|file| file.copy_within(512 + 576..second, second));
    assert_eq!(twice, ["it has several parent locators MacX"]);
    let other = told(&|file| file[512 + 65] = b'B');
    assert!(
        other.len() == 3 && other[0].contains("leads to \"base.vhd\", and the header names"),
        "{other:?}"
    );
    let inside = told(&|file| {
        let len = file.len() as u64;
        file[second + 16..second + 24].copy_from_slice(&(len - 4096).to_be_bytes());
    });
    assert!(
        inside.iter().any(|what| what.starts_with("block 0 at byte") && what.ends_with("W2ku")),
        "{inside:?}"
    );
}

/// Of two footers that disagree, whoever chooses one has it at both ends.
#[test]
fn the_footer_that_was_chosen_is_repaired_with() {
    let mut smaller = valid();
    common::end(&mut smaller, 48, &(8 * MIB).to_be_bytes());
    for (policy, size) in [(EndFooterPolicy::FrontCounts, 16 * MIB), (EndFooterPolicy::EndCounts, 8 * MIB)] {
        let mut file = smaller.clone();
        let run = |file: &[u8], end_footer| {
            let inspection = Inspection { now: Some(common::NOW), end_footer, ..Inspection::default() };
            let read = |at: u64, buffer: &mut [u8]| {
                let at = usize::try_from(at).unwrap();
                buffer.copy_from_slice(&file[at..at + buffer.len()]);
                Ok::<_, std::convert::Infallible>(())
            };
            inspection.run(file.len() as u64, read).unwrap()
        };
        assert_eq!(run(&file, EndFooterPolicy::Required).grade(), Some(Grade::Fatal));
        let report = run(&file, policy);
        assert_eq!(report.grade(), Some(Grade::Misread), "{:?}", report.findings);
        apply(&mut file, &report, &report.repairs());
        let map = fuzzing::map(&file, EndFooterPolicy::Required).unwrap();
        assert_eq!(map.virtual_size(), size);
        assert_eq!(run(&file, EndFooterPolicy::Required).repairs(), []);
    }
}

/// A stream of an encrypted disk is refused before its first byte of data, however it comes.
#[test]
fn encrypted_streams_are_not_taken_for_plain() {
    let mut file = valid();
    file.splice(2048..2048, [0; 1024]);
    for block in [1, 3] {
        let sector = sector_of(&file, block);
        entry(&mut file, block, sector + 2);
    }
    footers(&mut file, 28, b"tap\0");
    footers(&mut file, 32, &0x0001_0003_u32.to_be_bytes());
    file[2048..2056].copy_from_slice(b"tdbatmap");
    let whole = fuzzing::decode(Decoder::new(), &file, &[]);
    assert!(whole.1.is_ok());
    assert_eq!(fuzzing::decode(Decoder::new(), &file, &[700, 1]).0, whole.0, "in pieces");
    file[2048 + 29] = 1;
    for decoder in [Decoder::new(), Decoder::with_len(file.len() as u64)] {
        for cuts in [&[][..], &[1, 511, 70_001]] {
            let (found, end) = fuzzing::decode(decoder.clone(), &file, cuts);
            assert_eq!(end.map(|_| ()), Err(Error::Encrypted { at: 2048 }));
            assert!(!found.iter().any(|found| matches!(found, Found::Data(..))));
        }
    }
}

/// Nor one of a disk without any block yet, whose data will be.
#[test]
fn encrypted_streams_without_a_block() {
    let mut file = valid();
    let end = file.len() - 512;
    file.drain(2048..end);
    file.splice(2048..2048, [0; 1024]);
    for block in [1, 3] {
        entry(&mut file, block, u32::MAX);
    }
    footers(&mut file, 28, b"tap\0");
    footers(&mut file, 32, &0x0001_0003_u32.to_be_bytes());
    let bare = [&file[..2048], &file[3072..]].concat();
    file[2048..2056].copy_from_slice(b"tdbatmap");
    let decoders = |file: &[u8]| [Decoder::new(), Decoder::with_len(file.len() as u64)];
    let cuts = [&[][..], &[2048, 511, 1], &[1]];
    for plain in [&bare, &file] {
        for decoder in decoders(plain) {
            for cuts in cuts {
                let (found, end) = fuzzing::decode(decoder.clone(), plain, cuts);
                assert_eq!(end.map(|summary| summary.blocks), Ok(0));
                assert!(!found.iter().any(|found| matches!(found, Found::Data(..))));
            }
        }
    }
    assert!(!inspect(&file).encrypted);
    file[2048 + 29] = 1;
    for decoder in decoders(&file) {
        for cuts in cuts {
            let end = fuzzing::decode(decoder.clone(), &file, cuts).1;
            assert_eq!(end.map(|_| ()), Err(Error::Encrypted { at: 2048 }));
        }
    }
    assert!(inspect(&file).encrypted);
}

/// Which versions of QEMU take the geometry for the size, of whom.
#[test]
fn who_reads_the_size_from_the_geometry() {
    let misread = |application: &[u8], size: u64, geometry: &[u8]| {
        let mut file = valid();
        footers(&mut file, 28, application);
        footers(&mut file, 48, &size.to_be_bytes());
        footers(&mut file, 56, geometry);
        let misread: Vec<Reader> =
            inspect(&file).findings.iter().flat_map(|f| f.misread_by).copied().collect();
        misread
    };
    let size = 481 * 4 * 17 * 512;
    let (fits, largest) = ([1, 225, 4, 17], [0xff, 0xff, 16, 255]);
    for application in [b"xnrs", b"caml", b"xo  ", b"vbox"] {
        assert_eq!(misread(application, size + 512, &fits), [Reader::QemuBefore10]);
    }
    for application in [b"qemu", b"vpc "] {
        assert_eq!(misread(application, size + 512, &fits), [Reader::Qemu, Reader::QemuBefore10]);
    }
    for application in [b"qem2", b"win ", b"CTXS"] {
        assert_eq!(misread(application, size + 512, &fits), []);
    }
    assert_eq!(misread(b"xnrs", size, &fits), []);
    assert_eq!(misread(b"qemu", size + 512, &largest), []);
}

#[test]
fn writers_are_named() {
    for (letters, name) in
        [(b"tap\0", "blktap 1.3"), (b"qem2", "force_size"), (b"vbox", "VirtualBox"), (b"zz\0\0", "zz")]
    {
        let writer = Writer::of(Creator { application: *letters, version: 0x0001_0003, os: [0; 4] });
        assert!(writer.to_string().contains(name), "{writer}");
    }
}
