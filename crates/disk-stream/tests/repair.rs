//! Repairing files: what was damaged is right again, what was not is untouched, and what cannot be
//! repaired is left alone.

#![allow(clippy::single_range_in_vec_init)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use disk_stream::{Declared, Error, Existing, Image, Inspected, Opening, Progress, Upload};
use tempfile::TempDir;
use vhd::EndFooterPolicy;
use vhd::inspect::{Grade, Repair};

struct Bench {
    _folder: TempDir,
    path: PathBuf,
    good: Vec<u8>,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("disk.raw");
    let data: Vec<u8> = (0..5_u32 << 20).map(|i| (i >> 9) as u8 | 1).collect();
    fs::write(&raw, data).unwrap();
    let path = folder.path().join("disk.vhd");
    let image = Image::open_blocking(&raw, Declared::Raw).unwrap();
    image.save_vhd(&path, Existing::Refuse, &Upload::default()).unwrap();
    let good = fs::read(&path).unwrap();
    Bench { _folder: folder, path, good }
}

#[test]
fn a_file_that_a_host_had_open_when_it_died() {
    let bench = bench();
    let end = bench.good.len() as u64 - 512;
    File::options().write(true).open(&bench.path).unwrap().write_all_at(&[0xc7; 512], end).unwrap();
    let found = Inspected::open(&bench.path, true).unwrap();
    assert_eq!(found.report().grade(), Some(Grade::Misread));
    assert!(Image::open_blocking(&bench.path, Declared::Vhd).is_err());
    let repaired = Inspected::repair(&bench.path).unwrap();
    assert_eq!(repaired.repairs, [Repair::EndFooter(end)]);
    assert_eq!(repaired.written, vec![end..end + 512]);
    assert!(fs::read(&bench.path).unwrap() == bench.good);
    // Nothing is left to do, and nothing is done.
    let again = Inspected::repair(&bench.path).unwrap();
    assert_eq!((again.repairs, again.written, again.truncated), (vec![], vec![], None));
    assert!(fs::read(&bench.path).unwrap() == bench.good);
}

#[test]
fn what_follows_the_footer_is_cut() {
    let bench = bench();
    let len = bench.good.len() as u64;
    fs::write(&bench.path, [&bench.good[..], &[7; 1000]].concat()).unwrap();
    let repaired = Inspected::repair(&bench.path).unwrap();
    assert_eq!((repaired.repairs, repaired.truncated), (vec![Repair::Truncate(len)], Some(len)));
    assert!(fs::read(&bench.path).unwrap() == bench.good);
}

#[test]
fn what_is_no_disk_is_left_alone() {
    let bench = bench();
    let cut = &bench.good[..bench.good.len() / 2];
    fs::write(&bench.path, cut).unwrap();
    let error = Inspected::repair(&bench.path).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert!(fs::read(&bench.path).unwrap() == cut);
}

#[test]
fn a_file_that_somebody_else_changes() {
    let bench = bench();
    let other = File::open(&bench.path).unwrap();
    rustix::fs::flock(&other, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(matches!(Inspected::repair(&bench.path), Err(Error::InUse { .. })));
    drop(other);
    assert!(Inspected::repair(&bench.path).is_ok());
}

/// Nobody can know which of two footers is right but who is asked.
#[test]
fn the_footer_that_counts_is_put_at_both_ends() {
    let bench = bench();
    let end = bench.good.len() - 512;
    let mut other = bench.good.clone();
    other[end + 68] ^= 1;
    vhd::fuzzing::make_sum(&mut other[end..], 64);
    fs::write(&bench.path, &other).unwrap();
    let error = Inspected::repair(&bench.path).unwrap_err();
    assert!(matches!(error, Error::Format { source: vhd::Error::FooterMismatch { .. }, .. }), "{error:?}");
    assert!(fs::read(&bench.path).unwrap() == other);
    let opening = Opening { end_footer: EndFooterPolicy::FrontCounts, ..Opening::default() };
    assert!(Inspected::open_with(&bench.path, false, &opening).unwrap().refuse_fatal().is_ok());
    let progress = Progress::new();
    let repaired = Inspected::repair_with(&bench.path, &opening, &progress).unwrap();
    let now = progress.snapshot();
    assert!(now.virtual_size > 0 && now.virtual_bytes <= now.virtual_size, "{now:?}");
    assert_eq!(repaired.repairs, [Repair::EndFooter(end as u64)]);
    assert!(fs::read(&bench.path).unwrap() == bench.good);
}
