//! Killed at every write, and gone on with.

use std::fs;
use std::io;

use proptest::prelude::*;
use tempfile::TempDir;
use vhd::{EndFooterPolicy, Warning};

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

    /// Merges the leaf and removes it; `step` may break that off.
    fn remove(&self, step: &mut dyn FnMut() -> Result<(), Error>) -> Result<Coalesced, Error> {
        let mut put = |file: &File, at, bytes: &[u8]| file.write_all_at(bytes, at);
        removal::run(&self.path("leaf.vhd"), &opening(&self.folder), &Progress::new(), &mut put, step)
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

/// Between a kill and the next call, somebody writes the child anew against the parent as it is by then, or the parent: where
/// new blocks began says nothing any more, and no block of the parent is written over.
#[test]
fn killed_and_gone_on_with_by_other_disks() {
    let runs: Vec<(u64, u64)> = (1..6).map(|block| (block * 2 * MIB, MIB)).collect();
    let anew = |chain: &Chain, name: &str, base: &str| {
        let open = |name: &str| Image::open_with(&chain.path(name), &opening(&chain.folder)).unwrap();
        let (image, base) = (open(name), open(base));
        let upload = Upload { uuid: image.layers()[0].link().uuid, ..Upload::default() };
        image.save_difference(&base, &chain.path(name), Existing::Replace, &upload).unwrap();
    };
    let (mut killed, journal) = (0, ".child.vhd.coalesce");
    for n in 0..60 {
        for whose in ["leaf.vhd", "child.vhd"] {
            let chain = Chain::new(&[(0, MIB)], &[(4096, 8192)], &runs);
            if chain.merge_until(n).is_ok() {
                continue;
            }
            killed += 1;
            // What the parent shows by now is nobody's disk, and stays what it is when it is written anew.
            let (shown, text) = (chain.shown("child.vhd"), fs::read(chain.path(journal)).unwrap());
            anew(&chain, whose, if whose == "leaf.vhd" { "child.vhd" } else { "base.vhd" });
            assert_eq!(chain.path(journal).exists(), whose == "leaf.vhd", "what is replaced has no journal");
            assert!(chain.shown("child.vhd") == shown && chain.shown("leaf.vhd") == chain.disk, "write {n}");
            fs::write(chain.path(journal), text).unwrap();
            let done = chain.merge_until(usize::MAX).unwrap_or_else(|e| panic!("{whose}, write {n}: {e}"));
            assert!(done.resumed, "write {n}");
            assert!(chain.shown("child.vhd") == chain.disk, "{whose}, write {n}: the parent is not the disk");
            assert!(
                chain.shown("leaf.vhd") == chain.disk,
                "{whose}, write {n}: the child shows something else"
            );
            assert!(!chain.path(journal).exists());
        }
    }
    assert!(killed > 20, "{killed}");
}

/// What is written to the child while it is merged would be lost with it.
#[test]
fn whoever_writes_to_the_child_is_noticed() {
    let chain = Chain::new(&[(0, MIB)], &[(4096, 8192)], &[(2 * MIB, 4 * MIB)]);
    let child = File::options().read(true).write(true).open(chain.path("leaf.vhd")).unwrap();
    lock(&child, &chain.path("leaf.vhd")).unwrap();
    let error = chain.merge_until(usize::MAX).unwrap_err();
    assert!(matches!(&error, Error::InUse { path } if path.ends_with("leaf.vhd")), "{error}");
    drop(child);
    let before = chain.shown("child.vhd");
    let child = File::options().write(true).open(chain.path("leaf.vhd")).unwrap();
    let past = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    child.set_modified(past).unwrap();
    let merged =
        run(&chain.path("leaf.vhd"), &opening(&chain.folder), &Progress::new(), &mut |file, at, bytes| {
            child.set_modified(std::time::SystemTime::now())?;
            file.write_all_at(bytes, at)
        });
    assert!(matches!(merged, Err(Error::Changed { .. })), "{merged:?}");
    assert!(chain.shown("child.vhd") == before, "nothing says that the data are there");
    // Nor is it removed.
    let mut late = || {
        child.set_modified(past).unwrap();
        Ok(())
    };
    let removed = chain.remove(&mut late);
    assert!(matches!(removed, Err(Error::Changed { .. })), "{removed:?}");
    assert!(chain.shown("leaf.vhd") == chain.disk && chain.shown("child.vhd") == chain.disk);
    let done = chain.remove(&mut || Ok(())).unwrap();
    assert!(done.resumed && !chain.path("leaf.vhd").exists() && chain.shown("child.vhd") == chain.disk);
}

/// However far it came, the next call with the same child completes it, and nobody's disk changes in between.
#[test]
fn killed_at_every_step_of_a_removal() {
    for n in 0.. {
        let chain = Chain::new(&[(0, MIB)], &[(4096, 8192)], &[(2 * MIB, MIB), (5 * MIB, MIB)]);
        let open = |name: &str| Image::open_with(&chain.path(name), &opening(&chain.folder)).unwrap();
        let leaf = open("leaf.vhd");
        let tops = ["a.vhd", "b.vhd", "c.vhd"];
        for top in tops {
            leaf.save_difference(&leaf, &chain.path(top), Existing::Refuse, &Upload::default()).unwrap();
        }
        let shown = |name: &str| assert!(chain.shown(name) == chain.disk, "step {n}: {name}");
        let mut left = n;
        let broken = chain.remove(&mut || {
            left -= 1;
            if left < 0 { Err(Error::Interrupted) } else { Ok(()) }
        });
        tops.into_iter().for_each(shown);
        shown("child.vhd");
        if broken.is_ok() {
            assert_eq!(n, 6, "the merge, three of them, the last word, and the removal");
            return;
        }
        // What is left where a kill comes between a link and a rename.
        fs::copy(chain.path("a.vhd"), chain.path(".4x1z.partial")).unwrap();
        if n < 5 {
            shown("leaf.vhd");
            // Others have to wait, and what was begun with a removal ends with one.
            if n < 4 {
                let error = coalesce(&chain.path("a.vhd"), &opening(&chain.folder), &Progress::new());
                assert!(matches!(error, Err(Error::Refused { .. })), "{error:?}");
                let error = coalesce(&chain.path("leaf.vhd"), &opening(&chain.folder), &Progress::new());
                assert!(matches!(error, Err(Error::Refused { .. })), "{error:?}");
            }
            let done = chain.remove(&mut || Ok(())).unwrap_or_else(|e| panic!("step {n}: {e}"));
            assert_eq!((done.resumed, done.moved.len()), (true, 3_usize.saturating_sub(n as usize)));
            assert!(!chain.path(".child.vhd.coalesce").exists(), "step {n}");
        }
        assert!(!chain.path("leaf.vhd").exists());
        tops.into_iter().for_each(shown);
        // The next merge finds nothing in its way.
        tops[1..].iter().for_each(|top| fs::remove_file(chain.path(top)).unwrap());
        coalesce(&chain.path("a.vhd"), &opening(&chain.folder), &Progress::new()).unwrap();
        shown("child.vhd");
        assert!(!chain.path(".child.vhd.coalesce").exists(), "step {n}");
    }
}

/// What cannot be moved is told before anything is written.
#[test]
fn a_removal_looks_at_what_stands_on_the_child_first() {
    let chain = Chain::new(&[(0, MIB)], &[(4096, 8192)], &[(2 * MIB, MIB)]);
    let leaf = Image::open_with(&chain.path("leaf.vhd"), &opening(&chain.folder)).unwrap();
    let top = chain.path("top.vhd");
    leaf.save_difference(&leaf, &top, Existing::Refuse, &Upload::default()).unwrap();
    let before = fs::read(chain.path("child.vhd")).unwrap();
    let refused = |why: &str| {
        let error = chain.remove(&mut || Ok(())).unwrap_err();
        assert!(fs::read(chain.path("child.vhd")).unwrap() == before, "{error}");
        assert!(error.to_string().contains(why), "{error}");
    };
    let user = File::options().read(true).write(true).open(&top).unwrap();
    lock(&user, &top).unwrap();
    refused("in use");
    drop(user);
    fs::hard_link(&top, chain.path("same")).unwrap();
    refused("2 names");
    fs::remove_file(chain.path("same")).unwrap();
    fs::write(chain.path(".top.vhd.coalesce"), "").unwrap();
    refused("a merge into it was begun");
    fs::remove_file(chain.path(".top.vhd.coalesce")).unwrap();
    fs::write(chain.path("over.qcow2"), overlay("leaf.vhd")).unwrap();
    refused("qemu-img rebase");
    fs::remove_file(chain.path("over.qcow2")).unwrap();
    fs::hard_link(chain.path("leaf.vhd"), chain.path("same")).unwrap();
    refused("2 names");
    fs::remove_file(chain.path("same")).unwrap();
    // As while somebody has it open: known for a child, and no difference that could be written anew.
    let whole = fs::read(&top).unwrap();
    let mut open = whole.clone();
    let end = open.len() - 512;
    open[end..].fill(0xc7);
    fs::write(&top, open).unwrap();
    refused("top.vhd is not a usable VHD");
    fs::write(&top, whole).unwrap();
    assert_eq!(chain.remove(&mut || Ok(())).unwrap().moved, [top]);
}

/// While children are given their new parent, somebody makes one more.
#[test]
fn what_was_made_on_the_child_meanwhile_keeps_it() {
    let chain = Chain::new(&[(0, MIB)], &[(4096, 8192)], &[(2 * MIB, MIB)]);
    let late = chain.path("late.vhd");
    let error = chain.remove(&mut || {
        if !late.exists() {
            let leaf = Image::open_with(&chain.path("leaf.vhd"), &opening(&chain.folder)).unwrap();
            leaf.save_difference(&leaf, &late, Existing::Refuse, &Upload::default()).unwrap();
        }
        Ok(())
    });
    let error = error.unwrap_err();
    assert!(
        matches!(&error, Error::Refused { path, why } if *path == late && why.contains("meanwhile")),
        "{error}"
    );
    assert!(chain.shown("late.vhd") == chain.disk);
    assert_eq!(chain.remove(&mut || Ok(())).unwrap().moved, [late]);
    assert!(!chain.path("leaf.vhd").exists() && chain.shown("late.vhd") == chain.disk);
}

/// Its siblings are beside the file, and so is its journal, whatever link leads there.
#[test]
fn a_parent_behind_a_link() {
    let chain = Chain::new(&[(0, MIB)], &[(4096, 8192)], &[(2 * MIB, MIB)]);
    fs::create_dir(chain.path("far")).unwrap();
    let far = chain.path("far/child.vhd");
    fs::rename(chain.path("child.vhd"), &far).unwrap();
    std::os::unix::fs::symlink("far/child.vhd", chain.path("child.vhd")).unwrap();
    let parent = Image::open_with(&far, &opening(&chain.folder)).unwrap();
    let twin = chain.path("far/twin.vhd");
    parent.save_difference(&parent, &twin, Existing::Refuse, &Upload::default()).unwrap();
    let before = fs::read(&far).unwrap();
    let error = chain.merge_until(usize::MAX).unwrap_err();
    assert!(matches!(&error, Error::Refused { why, .. } if why.contains("twin.vhd")), "{error}");
    assert!(fs::read(&far).unwrap() == before);
    fs::remove_file(&twin).unwrap();
    chain.merge_until(3).unwrap_err();
    assert!(chain.path("far/.child.vhd.coalesce").exists());
    assert!(chain.merge_until(usize::MAX).unwrap().resumed && chain.shown("child.vhd") == chain.disk);
}

/// A base copy is one with another parent, too: XenServer would take it for a disk of its own.
#[test]
fn what_is_moved_stays_hidden() {
    let chain = Chain::new(&[(0, MIB)], &[(4096, 8192)], &[(2 * MIB, MIB)]);
    let path = chain.path("leaf.vhd");
    hide(&chain, "leaf.vhd");
    let leaf = Image::open_with(&path, &opening(&chain.folder)).unwrap();
    leaf.save_difference(&leaf, &chain.path("top.vhd"), Existing::Refuse, &Upload::default()).unwrap();
    let done = coalesce_and_remove(&chain.path("child.vhd"), &opening(&chain.folder), &Progress::new());
    assert_eq!(done.unwrap().moved, std::slice::from_ref(&path));
    assert_eq!(marks(&chain, "leaf.vhd"), [1, 1]);
    assert!(chain.shown("top.vhd") == chain.disk);
    // Elsewhere, it is a disk like any other.
    let leaf = Image::open_with(&path, &opening(&chain.folder)).unwrap();
    let base = Image::open_with(&chain.path("base.vhd"), &opening(&chain.folder)).unwrap();
    leaf.save_difference(&base, &chain.path("copy.vhd"), Existing::Refuse, &Upload::default()).unwrap();
    assert_eq!(fs::read(chain.path("copy.vhd")).unwrap()[85], 0);
}

/// Marks a VHD in the folder as a base copy, in both footers.
fn hide(chain: &Chain, name: &str) {
    let mut bytes = fs::read(chain.path(name)).unwrap();
    for at in [0, bytes.len() - 512] {
        bytes[at + 85] = 1;
        vhd::fuzzing::make_sum(&mut bytes[at..at + 512], 64);
    }
    fs::write(chain.path(name), bytes).unwrap();
}

fn marks(chain: &Chain, name: &str) -> [u8; 2] {
    let bytes = fs::read(chain.path(name)).unwrap();
    [bytes[85], bytes[bytes.len() - 512 + 85]]
}

/// A base copy that becomes the disk is none any longer, whenever it is killed; one on which something stands remains one.
#[test]
fn a_parent_that_becomes_a_leaf_is_not_hidden() {
    let chain = || {
        let chain = Chain::new(&[(0, MIB)], &[(4096, 8192)], &[(2 * MIB, MIB)]);
        hide(&chain, "child.vhd");
        chain
    };
    for n in 0.. {
        let (chain, mut left) = (chain(), n);
        let mut put = |file: &File, at, bytes: &[u8]| {
            left = usize::checked_sub(left, 1).ok_or_else(|| io::Error::other("killed"))?;
            file.write_all_at(bytes, at)
        };
        let leaf = chain.path("leaf.vhd");
        let broken = removal::run(&leaf, &opening(&chain.folder), &Progress::new(), &mut put, &mut || Ok(()));
        let done = match broken {
            Ok(done) if n > 4 => done,
            Ok(done) => panic!("{done:?} after {n} writes"),
            Err(_) => {
                assert!(chain.shown("leaf.vhd") == chain.disk, "write {n}");
                assert_eq!(marks(&chain, "child.vhd")[0], 1, "write {n}");
                chain.remove(&mut || Ok(())).unwrap_or_else(|error| panic!("write {n}: {error}"))
            }
        };
        assert!(done.unhidden, "write {n}");
        assert_eq!(marks(&chain, "child.vhd"), [0, 0], "write {n}");
        assert!(chain.shown("child.vhd") == chain.disk, "write {n}");
        if !done.resumed {
            break;
        }
    }
    // What stands on it needs it hidden.
    let on = chain();
    let leaf = Image::open_with(&on.path("leaf.vhd"), &opening(&on.folder)).unwrap();
    leaf.save_difference(&leaf, &on.path("top.vhd"), Existing::Refuse, &Upload::default()).unwrap();
    assert!(!on.remove(&mut || Ok(())).unwrap().unhidden);
    assert_eq!(marks(&on, "child.vhd"), [1, 1]);
    // Nobody needs what stood where something was that nobody needed.
    let rest = chain();
    hide(&rest, "leaf.vhd");
    assert!(!rest.remove(&mut || Ok(())).unwrap().unhidden);
    assert_eq!(marks(&rest, "child.vhd"), [1, 1]);
}

/// As much of a qcow2 image as has the name of its backing file.
fn overlay(backing: &str) -> Vec<u8> {
    let mut head = vec![0; 4096];
    head[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
    head[8..16].copy_from_slice(&112_u64.to_be_bytes());
    head[16..20].copy_from_slice(&u32::try_from(backing.len()).unwrap().to_be_bytes());
    head[112..112 + backing.len()].copy_from_slice(backing.as_bytes());
    head
}

/// The disk of a qcow2 image on the parent would change as that of a VHD.
#[test]
fn qcow2_images_on_the_parent() {
    let chain = Chain::new(&[(0, MIB)], &[(4096, 8192)], &[(2 * MIB, MIB)]);
    let before = fs::read(chain.path("child.vhd")).unwrap();
    let absolute = chain.path("child.vhd");
    for name in [
        "child.vhd",
        "./child.vhd",
        absolute.to_str().unwrap(),
        "/moved/child.vhd",
        r#"json:{"driver": "vpc", "file": {"filename": "/moved/child.vhd"}}"#,
    ] {
        fs::write(chain.path("over"), overlay(name)).unwrap();
        let error = chain.merge_until(usize::MAX).unwrap_err();
        let Error::Refused { why, .. } = &error else { panic!("{name}: {error:?}") };
        assert!(why.contains("over has the same parent"), "{name}: {why}");
        assert!(fs::read(chain.path("child.vhd")).unwrap() == before);
    }
    // Of another disk, and of none.
    fs::create_dir(chain.path("sub")).unwrap();
    fs::write(chain.path("sub/child.vhd"), "another").unwrap();
    for name in ["base.vhd", "grandchild.vhd", "sub/child.vhd", ""] {
        fs::write(chain.path(&format!("over-{}", name.len())), overlay(name)).unwrap();
    }
    fs::remove_file(chain.path("over")).unwrap();
    chain.merge_until(usize::MAX).unwrap();
    assert!(chain.shown("child.vhd") == chain.disk);
}

/// What was appended to the parent after a kill is not written over.
#[test]
fn a_parent_that_has_got_another_parent_since() {
    let chain = Chain::new(&[(0, MIB)], &[(4096, 8192)], &[(2 * MIB, 4 * MIB)]);
    chain.merge_until(0).unwrap_err();
    let base = Image::open_with(&chain.path("base.vhd"), &opening(&chain.folder)).unwrap();
    base.save_vhd(&chain.path("copy.vhd"), Existing::Refuse, &Upload::default()).unwrap();
    let copy = Image::open_with(&chain.path("copy.vhd"), &opening(&chain.folder)).unwrap();
    crate::relink(&chain.path("child.vhd"), &copy, &opening(&chain.folder), &Progress::new()).unwrap();
    assert!(chain.merge_until(usize::MAX).unwrap().resumed);
    let child = Image::open_with(&chain.path("child.vhd"), &opening(&chain.folder)).unwrap();
    assert_eq!(child.layers()[0].parent_paths().unwrap().len(), 3, "the ways to the parent");
    assert!(chain.shown("child.vhd") == chain.disk);
}

/// The file had grown when the power went, but the footer was not in it yet.
#[test]
fn a_torn_footer() {
    let chain = Chain::new(&[(0, MIB)], &[(4096, 8192)], &[(5 * MIB, MIB)]);
    chain.merge_until(0).unwrap_err();
    let parent = File::options().write(true).open(chain.path("child.vhd")).unwrap();
    let len = parent.metadata().unwrap().len();
    parent.set_len(len + (2 << 20) + 512).unwrap();
    // What follows the old footer is zero, and belongs to nothing yet.
    let torn = Image::open_with(&chain.path("child.vhd"), &opening(&chain.folder)).unwrap();
    assert!(
        matches!(torn.layers()[0].warnings()[..], [Warning::Trailing(_), ..]),
        "{:?}",
        torn.layers()[0].warnings()
    );
    assert!(chain.shown("leaf.vhd") == chain.disk);
    assert!(chain.merge_until(usize::MAX).unwrap().resumed);
    assert!(chain.shown("leaf.vhd") == chain.disk);
}

#[test]
fn a_parent_with_zeros_behind_it() {
    let chain = Chain::new(&[(0, MIB)], &[(4096, 8192)], &[(5 * MIB, MIB)]);
    let parent = File::options().write(true).open(chain.path("child.vhd")).unwrap();
    let len = parent.metadata().unwrap().len();
    parent.set_len(len + 700).unwrap();
    assert!(chain.shown("leaf.vhd") == chain.disk);
    let refused = chain.merge_until(usize::MAX).unwrap_err();
    assert!(matches!(&refused, Error::Refused { why, .. } if why.contains("repair")), "{refused:?}");
    parent.set_len(len).unwrap();
    chain.merge_until(usize::MAX).unwrap();
    assert!(chain.shown("child.vhd") == chain.disk);
}

/// A device has anything behind its VHD, and a file what a merge left that was broken off: a new block of a disk without a
/// parent is whole, and shows none of it.
#[test]
fn what_was_there_before_does_not_show() {
    let chain = Chain::new(&[(0, MIB)], &[(4 * MIB, 512), (SIZE - 512, 512)], &[]);
    fs::remove_file(chain.path("leaf.vhd")).unwrap();
    let child = Image::open_with(&chain.path("child.vhd"), &opening(&chain.folder)).unwrap();
    let file = File::options().read(true).write(true).open(chain.path("child.vhd")).unwrap();
    let read_at = |at, bytes: &mut [u8]| file.read_exact_at(bytes, at);
    for block in child.map().unwrap().blocks(read_at).map(|block| block.unwrap()) {
        let mut bits = [0; 512];
        bits[if block.block == 2 { 0 } else { 511 }] = if block.block == 2 { 0x80 } else { 1 };
        file.write_all_at(&bits, block.bitmap_offset).unwrap();
    }
    let merge = |put: &mut Put<'_>| {
        run(&chain.path("child.vhd"), &opening(&chain.folder), &Progress::new(), put).map(drop)
    };
    let before = fs::metadata(chain.path("base.vhd")).unwrap().len();
    let mut writes = 0;
    let killed = merge(&mut |file, at, bytes| {
        writes += 1;
        if writes > 1 { Err(io::Error::other("killed")) } else { file.write_all_at(bytes, at) }
    });
    assert!(matches!(killed, Err(Error::Write { .. })), "{killed:?}");
    let base = File::options().write(true).open(chain.path("base.vhd")).unwrap();
    let after = base.metadata().unwrap().len() - 512;
    assert_eq!(after, before - 512 + 2 * (2 * MIB + 512));
    base.write_all_at(&vec![0xa5; (after - before) as usize], before).unwrap();
    merge(&mut |file, at, bytes| file.write_all_at(bytes, at)).unwrap();
    assert!(chain.shown("base.vhd") == chain.disk);
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
    assert!(
        matches!(&error, Error::Refused { why, .. } if why.contains("another merge") && why.contains(".child.vhd.coalesce")),
        "{error}"
    );
    assert!(fs::read(chain.path("child.vhd")).unwrap() == before);
    // What is no journal at all is not read whole.
    fs::write(chain.path(".child.vhd.coalesce"), vec![b'x'; 5000]).unwrap();
    let error = chain.merge_until(usize::MAX).unwrap_err();
    assert!(
        std::error::Error::source(&error).is_some_and(|source| source.to_string().contains("larger")),
        "{error}"
    );
    // A whole disk.
    let error = coalesce(&chain.path("base.vhd"), &opening(&chain.folder), &Progress::new()).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
}

/// Whoever it is and whatever state it is in: the children of a disk are known by what they hold.
#[test]
fn siblings_of_any_name_and_in_any_state() {
    let chain = Chain::new(&[(0, MIB)], &[(MIB, MIB)], &[(2 * MIB, MIB)]);
    let parent = Image::open_with(&chain.path("child.vhd"), &opening(&chain.folder)).unwrap();
    parent.save_difference(&parent, &chain.path("twin"), Existing::Refuse, &Upload::default()).unwrap();
    let twin = fs::read(chain.path("twin")).unwrap();
    fs::remove_file(chain.path("twin")).unwrap();
    let before = fs::read(chain.path("child.vhd")).unwrap();
    let refusal = |name: &str, bytes: &[u8]| {
        fs::write(chain.path(name), bytes).unwrap();
        let error = chain.merge_until(usize::MAX).unwrap_err();
        assert!(fs::read(chain.path("child.vhd")).unwrap() == before);
        fs::remove_file(chain.path(name)).unwrap();
        let Error::Refused { why, .. } = error else { panic!("{name}: {error:?}") };
        assert!(why.contains(name), "{why}");
        why
    };
    let end = twin.len() - 512;
    let in_use = [&twin[..end], &[0xc7; 512]].concat();
    let renamed = [&twin[..8], &[0; 504], &twin[512..]].concat();
    for (name, bytes) in [
        ("VHD-5a3c4f0e-8a0d-4a39-8f3b-0d4d7a6a1f52", &twin[..]),
        ("twin.img", &twin),
        ("twin", &renamed),
        ("cut.vhd", &twin[..end]),
        ("used.vhd", &in_use),
    ] {
        assert!(refusal(name, bytes).contains("has the same parent"), "{name}");
    }
    // Nobody knows whose child this is.
    let headless = [&twin[..512], &[7; 1024], &twin[1536..]].concat();
    assert!(refusal("broken", &headless).contains("looks like a VHD and cannot be read"));
    // What is none, and another's child, are no hindrance.
    fs::write(chain.path("notes.vhd"), "what was done when").unwrap();
    fs::write(chain.path("empty.vhd"), "").unwrap();
    fs::create_dir(chain.path("folder.vhd")).unwrap();
    std::os::unix::fs::symlink("nowhere", chain.path("link.vhd")).unwrap();
    let base = Image::open_with(&chain.path("base.vhd"), &opening(&chain.folder)).unwrap();
    base.save_difference(&base, &chain.path("other.vhd"), Existing::Refuse, &Upload::default()).unwrap();
    chain.merge_until(usize::MAX).unwrap();
    assert!(chain.shown("child.vhd") == chain.disk);
}

/// What is applied calls another disk its parent, which its children do not.
#[test]
fn children_of_a_raw_disk_are_in_the_way_of_any_delta() {
    let chain = Chain::new(&[(0, MIB)], &[(MIB, MIB)], &[]);
    let whole = |name: &str| Image::open_blocking(&chain.path(name), Declared::Raw).unwrap();
    fs::write(chain.path("disk.raw"), chain.shown("base.vhd")).unwrap();
    fs::write(chain.path("new.raw"), &chain.disk).unwrap();
    let base = whole("disk.raw");
    whole("new.raw")
        .save_difference(&base, &chain.path("other.vhd"), Existing::Refuse, &Upload::default())
        .unwrap();
    let before = fs::read(chain.path("disk.raw")).unwrap();
    let apply = || {
        let (delta, target) = (chain.path("child.vhd"), chain.path("disk.raw"));
        crate::relink::apply(&delta, &target, Declared::Raw, true, &Progress::new())
    };
    let error = apply().unwrap_err();
    assert!(error.to_string().contains("other.vhd has the same parent"), "{error}");
    assert!(fs::read(chain.path("disk.raw")).unwrap() == before);
    fs::remove_file(chain.path("other.vhd")).unwrap();
    apply().unwrap();
    assert!(fs::read(chain.path("disk.raw")).unwrap() == chain.shown("child.vhd"));
}
