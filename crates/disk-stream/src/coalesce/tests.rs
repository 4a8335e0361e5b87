//! Killed at every write, and gone on with.

use std::fs;
use std::io;

use proptest::prelude::*;
use tempfile::TempDir;
use vhd::EndFooterPolicy;

use super::*;
use crate::target::Existing;
use crate::upload::Upload;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 12 * MIB;

struct Chain {
    folder: TempDir,
    /// What the child shows.
    disk: Vec<u8>,
}

impl Chain {
    /// A base, a child of it, and a child of that, each with some runs of its own.
    fn new(base: &[(u64, u64)], child: &[(u64, u64)], leaf: &[(u64, u64)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = vec![0; SIZE as usize];
        let write = |disk: &mut Vec<u8>, runs: &[(u64, u64)], salt: u8| {
            for (at, len) in runs {
                for i in *at..(at + len).min(SIZE) {
                    disk[i as usize] = ((i >> 9) as u8).wrapping_mul(31).wrapping_add(salt) | 1;
                }
            }
        };
        let path = |name: &str| folder.path().join(name);
        let mut below: Option<Image> = None;
        for (name, runs, salt) in [("base.vhd", base, 2), ("child.vhd", child, 4), ("leaf.vhd", leaf, 8)] {
            write(&mut disk, runs, salt);
            fs::write(path("disk.raw"), &disk).unwrap();
            let raw = Image::open_blocking(&path("disk.raw"), Declared::Raw).unwrap();
            match &below {
                None => raw.save_vhd(&path(name), Existing::Refuse, &Upload::default()).unwrap(),
                Some(below) => {
                    raw.save_difference(below, &path(name), Existing::Refuse, &Upload::default()).unwrap()
                }
            };
            below = Some(Image::open_with(&path(name), &opening(&folder)).unwrap());
        }
        fs::remove_file(path("disk.raw")).unwrap();
        Self { folder, disk }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The disk that a file shows with its parents.
    fn shown(&self, name: &str) -> Vec<u8> {
        let image = Image::open_with(&self.path(name), &opening(&self.folder)).unwrap();
        let mut all = vec![0; SIZE as usize];
        image.reader().read(0, &mut all).unwrap();
        all
    }

    /// Merges the leaf, and breaks off in the middle of the n-th write.
    fn merge_until(&self, n: usize) -> Result<Coalesced, Error> {
        let mut left = n;
        run(&self.path("leaf.vhd"), &opening(&self.folder), &Progress::new(), &mut |file, at, bytes| {
            if left == 0 {
                // Disks write whole sectors.
                let half = bytes.len() / 2 / 512 * 512;
                file.write_all_at(&bytes[..half], at)?;
                return Err(io::Error::other("killed"));
            }
            left -= 1;
            file.write_all_at(bytes, at)
        })
    }
}

fn opening(folder: &TempDir) -> Opening {
    Opening { parents: Parents::Among(vec![folder.path().to_owned()]), ..Opening::default() }
}

#[test]
fn killed_at_every_write() {
    let runs = [(0, 3 * MIB), (5 * MIB, 512), (8 * MIB + 1024, 4096)];
    for n in 0..400 {
        let chain = Chain::new(&[(0, MIB), (9 * MIB, MIB)], &[(4096, 8192)], &runs);
        let result = chain.merge_until(n);
        assert!(chain.shown("leaf.vhd") == chain.disk, "write {n}: the child shows something else");
        // The parent alone is a VHD that anybody opens, at its end too.
        let alone = Opening { end_footer: EndFooterPolicy::Required, ..opening(&chain.folder) };
        Image::open_with(&chain.path("child.vhd"), &alone).unwrap_or_else(|e| panic!("write {n}: {e}"));
        if result.is_ok() {
            assert!(n > 6, "there was something to write");
            assert!(chain.shown("child.vhd") == chain.disk);
            return;
        }
        let done = chain.merge_until(usize::MAX).unwrap_or_else(|e| panic!("write {n}: {e}"));
        assert!(done.resumed, "write {n}");
        assert!(chain.shown("child.vhd") == chain.disk, "write {n}: the parent is not the disk");
        let len = fs::metadata(chain.path("child.vhd")).unwrap().len();
        let whole = Chain::new(&[(0, MIB), (9 * MIB, MIB)], &[(4096, 8192)], &runs);
        whole.merge_until(usize::MAX).unwrap();
        assert_eq!(len, fs::metadata(whole.path("child.vhd")).unwrap().len(), "write {n}: space was lost");
        assert!(!chain.path(".child.vhd.coalesce").exists());
    }
    panic!("it never ends");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_parent_becomes_the_disk(
        base in runs(), child in runs(), leaf in runs(), killed in 0..40_usize,
    ) {
        let chain = Chain::new(&base, &child, &leaf);
        if chain.merge_until(killed).is_err() {
            prop_assert!(chain.shown("leaf.vhd") == chain.disk);
            chain.merge_until(usize::MAX).unwrap();
        }
        prop_assert!(chain.shown("child.vhd") == chain.disk);
        prop_assert!(chain.shown("leaf.vhd") == chain.disk);
    }
}

fn runs() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let run = (0..SIZE / 512, 1..4 * MIB / 512).prop_map(|(at, len)| (at * 512, len * 512));
    prop::collection::vec(run, 0..5)
}

/// The file had grown when the power went, but the footer was not in it yet.
#[test]
fn a_torn_footer() {
    let chain = Chain::new(&[(0, MIB)], &[(4096, 8192)], &[(5 * MIB, MIB)]);
    chain.merge_until(0).unwrap_err();
    let parent = File::options().write(true).open(chain.path("child.vhd")).unwrap();
    let len = parent.metadata().unwrap().len();
    parent.set_len(len + (2 << 20) + 512).unwrap();
    assert!(Image::open_with(&chain.path("leaf.vhd"), &opening(&chain.folder)).is_err());
    assert!(chain.merge_until(usize::MAX).unwrap().resumed);
    assert!(chain.shown("leaf.vhd") == chain.disk);
}

#[test]
fn into_a_raw_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("base.raw"), vec![3; 4 << 20]).unwrap();
    let mut disk = vec![3; 4 << 20];
    disk[5000..9000].fill(7);
    fs::write(path("disk.raw"), &disk).unwrap();
    let base = Image::open_blocking(&path("base.raw"), Declared::Raw).unwrap();
    let whole = Image::open_blocking(&path("disk.raw"), Declared::Raw).unwrap();
    whole.save_difference(&base, &path("leaf.vhd"), Existing::Refuse, &Upload::default()).unwrap();
    let opening = Opening { parents: Parents::Order(vec![path("base.raw")]), ..Opening::default() };
    coalesce(&path("leaf.vhd"), &opening, &Progress::new()).unwrap();
    assert!(fs::read(path("base.raw")).unwrap() == disk);
}

#[test]
fn what_would_hurt_others_is_refused() {
    let chain = Chain::new(&[(0, MIB)], &[(MIB, MIB)], &[(2 * MIB, MIB)]);
    // Another child of the same parent.
    let parent = Image::open_with(&chain.path("child.vhd"), &opening(&chain.folder)).unwrap();
    parent.save_difference(&parent, &chain.path("twin.vhd"), Existing::Refuse, &Upload::default()).unwrap();
    let before = fs::read(chain.path("child.vhd")).unwrap();
    let error = chain.merge_until(usize::MAX).unwrap_err();
    assert!(matches!(&error, Error::Refused { why, .. } if why.contains("twin.vhd")), "{error}");
    assert!(fs::read(chain.path("child.vhd")).unwrap() == before);
    fs::remove_file(chain.path("twin.vhd")).unwrap();
    // A merge of somebody else's.
    fs::write(chain.path(".child.vhd.coalesce"), "xenapi-rs coalesce 1\nchild 0a\n").unwrap();
    let error = chain.merge_until(usize::MAX).unwrap_err();
    assert!(matches!(&error, Error::Refused { why, .. } if why.contains("another merge")), "{error}");
    assert!(fs::read(chain.path("child.vhd")).unwrap() == before);
    // A whole disk.
    let error = coalesce(&chain.path("base.vhd"), &opening(&chain.folder), &Progress::new()).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
}
