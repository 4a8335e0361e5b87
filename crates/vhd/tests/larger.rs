//! VHDs in files and on devices that are larger than they are: where their footer is found, and what may be around it.

mod common;

use std::convert::Infallible;

use common::{inspect, variant};
use uuid::Uuid;
use vhd::format::{Creator, DiskType, DynamicHeader, Footer, Timestamp};
use vhd::fuzzing;
use vhd::inspect::{Grade, Repair};
use vhd::layout::{Dialect, Layout, Parameters};
use vhd::{EndFooterPolicy, Error, Limits, Surplus, Warning};

const MIB: usize = 1 << 20;
/// No whole number of sectors, so that a footer may stand anywhere.
const SIZE: usize = 2 * MIB + 700;

fn footer(size: usize) -> [u8; 512] {
    let creator = Creator { application: *b"test", version: 1, os: [0; 4] };
    Footer::new(DiskType::Fixed, size as u64, Uuid::from_u128(1), Timestamp(1), creator).to_bytes()
}

fn disk(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at >> 9) as u8 | 1).collect()
}

fn fixed(size: usize) -> Vec<u8> {
    [disk(size), footer(size).to_vec()].concat()
}

fn dynamic() -> Vec<u8> {
    let parameters = Parameters {
        virtual_size: SIZE as u64,
        uuid: Uuid::from_u128(1),
        timestamp: Timestamp(1),
        dialect: Dialect::XenapiRs,
    };
    let size = SIZE as u64;
    fuzzing::render(Layout::dynamic_from_extents(&parameters, std::iter::once(0..size)).unwrap(), |at| {
        (at >> 9) as u8 | 1
    })
}

fn limits(surplus: Surplus, padding: usize) -> Limits {
    let mut limits = Limits::default();
    (limits.surplus, limits.padding) = (surplus, padding as u64);
    limits
}

/// What is put around a VHD, and what becomes of it: the warning, or the error's name.
type Row = (&'static str, Vec<u8>, Result<Option<Warning>, &'static str>);

/// The verdicts where nothing but zeros may be around it, and where anything may.
fn rows() -> Vec<(Row, Result<Option<Warning>, &'static str>)> {
    let with = |disk: &[u8], zeros: usize, more: &[u8]| [disk, &vec![0; zeros], more].concat();
    let (whole, plain, end) = (fixed(SIZE), disk(SIZE), footer(SIZE));
    let trailing = |bytes: usize| Ok(Some(Warning::Trailing(bytes as u64)));
    let gap = |bytes: usize| Ok(Some(Warning::Gap(bytes as u64)));
    let mut guests_front = whole.clone();
    guests_front[..512].copy_from_slice(&dynamic()[..512]);
    let mut poisoned = whole.clone();
    poisoned[..8].copy_from_slice(b"v_poison");
    let mut hidden = footer(SIZE);
    hidden[85] = 1;
    fuzzing::make_sum(&mut hidden, 64);
    let stray = {
        let mut stray = footer(SIZE);
        stray[511] = 1;
        fuzzing::make_sum(&mut stray, 64);
        stray
    };
    let same = |name, file, verdict: Result<Option<Warning>, &'static str>| ((name, file, verdict), verdict);
    vec![
        same("as it is", whole.clone(), Ok(None)),
        same("zeros behind", with(&whole, 3 * MIB, &[]), trailing(3 * MIB)),
        same("a byte behind", with(&whole, 1, &[]), trailing(1)),
        same("a sector behind", with(&whole, 512, &[]), trailing(512)),
        same(
            "hidden, zeros behind",
            with(&[plain.clone(), hidden.to_vec()].concat(), 999, &[]),
            trailing(999),
        ),
        same("a last byte", with(&[plain.clone(), stray.to_vec()].concat(), 5000, &[]), trailing(5000)),
        same("zeros before the footer", with(&plain, 3 * MIB, &end), gap(3 * MIB)),
        same("a sector before the footer", with(&plain, 512, &end), gap(512)),
        same("v_poison written by the guest", with(&poisoned, 0, &[]), Ok(None)),
        same("zeros on both sides", [with(&plain, 512, &end), vec![0; 4096]].concat(), Err("FixedSize")),
        same(
            "a footer of a larger disk",
            with(&[disk(SIZE), footer(SIZE + 1).to_vec()].concat(), 999, &[]),
            Err("FixedSize"),
        ),
        same("cut", with(&[disk(SIZE - 1), end.to_vec()].concat(), 0, &[]), Err("FixedSize")),
        same("junk behind", with(&whole, 0, &[7; 4096]), Err("NotVhd")),
        same("junk behind zeros", with(&whole, 4096, &[7]), Err("NotVhd")),
        same(
            "a dynamic one's front, written by the guest",
            with(&guests_front, 4096, &[]),
            Err("HeaderCookie"),
        ),
        same("no footer", with(&plain, 4096, &[]), Err("NotVhd")),
        same("nothing but zeros", vec![0; 9000], Err("NotVhd")),
        (("junk before the footer", [&plain[..], &[7; 4096], &end].concat(), Err("FixedSize")), gap(4096)),
        (("data that were moved", with(&[0; 512], 0, &whole), Err("FixedSize")), gap(512)),
        (("too many zeros behind", with(&whole, 5 * MIB, &[]), Err("NotVhd")), trailing(5 * MIB)),
        (("too many zeros before", with(&plain, 5 * MIB, &end), Err("FixedSize")), gap(5 * MIB)),
        same("dynamic, zeros behind", with(&dynamic(), 3 * MIB, &[]), trailing(3 * MIB)),
        (("dynamic, junk behind", with(&dynamic(), 0, &[7; 999]), Err("TrailingData")), trailing(999)),
        (("dynamic, too many zeros", with(&dynamic(), 5 * MIB, &[]), Err("TrailingData")), trailing(5 * MIB)),
    ]
}

#[test]
fn what_may_be_around_a_vhd() {
    let told_the_size = |warning: &&Warning| {
        !matches!(warning, Warning::UnevenSize(_) | Warning::StrayBytes(_) | Warning::Hidden(_))
    };
    for ((what, file, zeros), anything) in rows() {
        for (surplus, verdict) in [(Surplus::Zeros, zeros), (Surplus::Anything, anything)] {
            let map = fuzzing::map_with(&file, EndFooterPolicy::Required, &limits(surplus, 4 * MIB));
            let found =
                map.as_ref().map(|map| map.warnings().iter().find(told_the_size).copied()).map_err(variant);
            assert_eq!(found, verdict.map_err(str::to_owned), "{what}: {surplus:?}");
            let Ok(map) = map else { continue };
            assert_eq!(map.virtual_size(), SIZE as u64, "{what}");
            if what.contains("moved") || what.contains("v_poison") {
                continue;
            }
            for at in [0, MIB + 5, SIZE - 300] {
                let read = fuzzing::read(&map, &file, at as u64..at as u64 + 300);
                assert!(read == disk(SIZE)[at..at + 300], "{what}: {at}");
            }
        }
    }
}

/// How much is read of a file that is mostly padding: no more than is allowed, and of one without any, no more than ever.
#[test]
fn zeros_are_looked_through_up_to_the_limit() {
    let read = |file: &[u8], limits: &Limits| {
        let mut bytes = 0;
        let map = vhd::DiskMap::read(file.len() as u64, EndFooterPolicy::Required, limits, |at, buffer| {
            bytes += buffer.len();
            let at = usize::try_from(at).unwrap();
            buffer.copy_from_slice(&file[at..at + buffer.len()]);
            Ok::<_, Infallible>(())
        });
        (map.is_ok(), bytes)
    };
    let padded = [fixed(SIZE), vec![0; 9 * MIB]].concat();
    let (found, bytes) = read(&padded, &limits(Surplus::Zeros, 8 * MIB));
    assert!(!found && (8 * MIB..8 * MIB + 4096).contains(&bytes), "{bytes}");
    let (found, bytes) = read(&padded, &limits(Surplus::Zeros, 10 * MIB));
    assert!(found && bytes < 10 * MIB, "{bytes}");
    assert_eq!(read(&fixed(SIZE), &Limits::default()), (true, 1024));
}

#[test]
fn the_inspector_tells_and_repairs() {
    for vhd in [fixed(SIZE), dynamic()] {
        let report = inspect(&[&vhd[..], &[0; 9000]].concat());
        assert_eq!(report.grade(), Some(Grade::Misread));
        assert_eq!(report.repairs(), [Repair::Truncate(vhd.len() as u64)]);
        let mut null = [&vhd[..], &[0; 9000]].concat();
        let end = vhd.len() - 512;
        for start in if vhd[..8] == *b"conectix" { vec![0, end] } else { vec![end] } {
            null[start + 68..start + 84].fill(0);
            fuzzing::make_sum(&mut null[start..start + 512], 64);
        }
        // A repair of its footer is made where that is.
        let report = inspect(&null);
        let plan = report.plan(&report.repairs(), Uuid::from_u128(1));
        for (at, bytes) in plan.writes {
            let at = usize::try_from(at).unwrap();
            null[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        null.truncate(usize::try_from(plan.truncate.unwrap()).unwrap());
        assert!(null == vhd);
    }
    let gap = inspect(&[disk(SIZE), vec![0; 512], footer(SIZE).to_vec()].concat());
    assert!(gap.findings.iter().any(|f| f.grade == Grade::Accepted && f.what.contains("lie between")));
    assert_eq!(gap.repairs(), []);
}

/// Of an empty disk by blktap, the footer is behind blktap's map of full blocks.
#[test]
fn an_empty_disk_of_blktap_may_have_zeros_behind_it() {
    let creator = Creator { application: *b"tap\0", version: 0x0001_0003, os: [0; 4] };
    let size = 16 * MIB as u64;
    let footer = Footer::new(DiskType::Dynamic, size, Uuid::from_u128(1), Timestamp(1), creator).to_bytes();
    let mut file = [&footer[..], &DynamicHeader::new(1536, 8).to_bytes(), &[0xff; 512]].concat();
    file.resize(file.len() + 1024, 0);
    file[2048..2056].copy_from_slice(b"tdbatmap");
    file[2056..2064].copy_from_slice(&2560_u64.to_be_bytes());
    file[2064..2068].copy_from_slice(&1_u32.to_be_bytes());
    file.extend_from_slice(&footer);
    assert_eq!(fuzzing::map(&file, EndFooterPolicy::Required).unwrap().warnings(), []);
    file.resize(file.len() + 9000, 0);
    let map = fuzzing::map(&file, EndFooterPolicy::Required).unwrap();
    assert_eq!(map.warnings(), [Warning::Trailing(9000)]);
}

/// Two sound footers that disagree: which one counts is for the caller to say.
#[test]
fn the_footer_that_was_asked_for_counts() {
    let read = |file: &[u8], policy| fuzzing::map(file, policy);
    let mut smaller = dynamic();
    let end = smaller.len() - 512;
    smaller[end + 48..end + 56].copy_from_slice(&(MIB as u64).to_be_bytes());
    fuzzing::make_sum(&mut smaller[end..], 64);
    let mismatch = Error::FooterMismatch { field: "size" };
    for policy in [EndFooterPolicy::Required, EndFooterPolicy::FrontSuffices] {
        assert_eq!(read(&smaller, policy), Err(mismatch.clone()));
    }
    for (policy, size) in [(EndFooterPolicy::FrontCounts, SIZE), (EndFooterPolicy::EndCounts, MIB)] {
        let map = read(&smaller, policy).unwrap();
        assert_eq!(map.virtual_size(), size as u64);
        assert!(map.warnings().contains(&Warning::FootersDisagree("size")), "{:?}", map.warnings());
    }
    // One that is not there does not count.
    let cut = &dynamic()[..end];
    assert!(read(cut, EndFooterPolicy::FrontCounts).is_ok());
    assert!(matches!(read(cut, EndFooterPolicy::EndCounts), Err(Error::NotVhd { .. })));
    let mut headless = dynamic();
    headless[0] = b'X';
    assert!(read(&headless, EndFooterPolicy::EndCounts).is_ok());
    assert!(matches!(read(&headless, EndFooterPolicy::FrontCounts), Err(Error::NotVhd { .. })));
    // What a guest wrote into its first sector is not asked for by chance.
    let mut forged = fixed(SIZE);
    forged[..512].copy_from_slice(&dynamic()[..512]);
    assert_eq!(read(&forged, EndFooterPolicy::EndCounts).unwrap().footer().disk_type, DiskType::Fixed);
    // A disabled VHD is disabled, whichever counts.
    let mut poisoned = dynamic();
    poisoned[..8].copy_from_slice(b"v_poison");
    assert_eq!(read(&poisoned, EndFooterPolicy::EndCounts), Err(Error::Poisoned { at: 0 }));
}
