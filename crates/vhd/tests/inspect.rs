//! Deviations found, graded and repaired.

use std::convert::Infallible;

use uuid::Uuid;
use vhd::format::{Creator, Timestamp};
use vhd::fuzzing;
use vhd::inspect::{Finding, Grade, Inspection, Reader, Repair, Report, Writer};
use vhd::layout::{Dialect, Layout, Parameters};

const MIB: u64 = 1 << 20;

fn valid() -> Vec<u8> {
    let parameters = Parameters {
        virtual_size: 16 * MIB,
        uuid: Uuid::from_u128(0x1111_2222_3333_4444_8555_6666_7777_8888),
        timestamp: Timestamp(700_000_000),
        dialect: Dialect::XenapiRs,
    };
    let extents = [2 * MIB..3 * MIB, 6 * MIB..7 * MIB];
    fuzzing::render(Layout::dynamic_from_extents(&parameters, extents).unwrap(), |at| (at >> 12) as u8 | 1)
}

fn inspect(file: &[u8]) -> Report {
    let inspection = Inspection { now: Some(Timestamp(800_000_000)), bitmaps: true, ..Inspection::default() };
    let read = |at: u64, buffer: &mut [u8]| {
        let at = usize::try_from(at).unwrap();
        buffer.copy_from_slice(&file[at..at + buffer.len()]);
        Ok::<_, Infallible>(())
    };
    let Ok(report) = inspection.run(file.len() as u64, read);
    report
}

/// What is found beside that an old QEMU has to be told the size, which is so for nearly every size.
fn found(report: &Report) -> Vec<&Finding> {
    let old = [Reader::QemuBefore10];
    report.findings.iter().filter(|finding| finding.misread_by != old).collect()
}

fn footers(file: &mut [u8], at: usize, bytes: &[u8]) {
    let end = file.len() - 512;
    for start in [0, end] {
        file[start + at..start + at + bytes.len()].copy_from_slice(bytes);
        fuzzing::make_sum(&mut file[start..start + 512], 64);
    }
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
