//! Stores and disks together.

use std::path::Path;

use uuid::Uuid;

use super::map::MapFile;
use super::*;

const U: [Uuid; 6] = [
    Uuid::from_u128(0),
    Uuid::from_u128(1),
    Uuid::from_u128(2),
    Uuid::from_u128(3),
    Uuid::from_u128(4),
    Uuid::from_u128(5),
];
const SIZE: u64 = 4 * BLOCK;

fn open(dir: &Path) -> Store {
    Store::open(dir, u64::MAX, Overrun::Refuse).unwrap()
}

fn content(store: &Store, uuid: Uuid) -> Vec<u8> {
    let disk = store.disk(uuid).unwrap();
    let mut all = vec![0xaa; disk.len_bytes() as usize];
    disk.read_at(0, &mut all).unwrap();
    all
}

#[test]
fn writes_are_read_back_across_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.create(U[1], SIZE).unwrap();
    let data: Vec<u8> = (0..5_000u32).flat_map(u32::to_le_bytes).collect();
    store.disk(U[1]).unwrap().write_at(BLOCK - 7_000, &data).unwrap();
    let mut expected = vec![0; SIZE as usize];
    expected[BLOCK as usize - 7_000..][..data.len()].copy_from_slice(&data);
    assert!(content(&store, U[1]) == expected);
    assert_eq!(store.info(U[1]).unwrap().own_bytes, 2 * BLOCK);
    // The data file is the disk.
    assert!(std::fs::read(dir.path().join(format!("{}.raw", U[1]))).unwrap() == expected);
    let again = open(dir.path());
    assert!(content(&again, U[1]) == expected);
}

#[test]
fn zeros_are_allocated_but_take_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.create(U[1], SIZE).unwrap();
    let disk = store.disk(U[1]).unwrap();
    disk.write_at(0, &vec![0; SIZE as usize]).unwrap();
    assert_eq!(store.info(U[1]).unwrap().own_bytes, SIZE);
    let file = std::fs::metadata(dir.path().join(format!("{}.raw", U[1]))).unwrap();
    assert!(std::os::unix::fs::MetadataExt::blocks(&file) < 64);
    assert!(disk.is_hole(0));
}

#[test]
fn a_write_behind_the_end_fails_or_grows() {
    let dir = tempfile::tempdir().unwrap();
    for (overrun, name) in [(Overrun::Refuse, "a"), (Overrun::Grow, "b")] {
        let store = Store::open(&dir.path().join(name), u64::MAX, overrun).unwrap();
        store.create(U[1], 1000).unwrap();
        let disk = store.disk(U[1]).unwrap();
        let result = disk.write_at(999, b"xy");
        assert_eq!(result.is_err(), overrun == Overrun::Refuse, "{result:?}");
        assert_eq!(disk.len_bytes(), if result.is_ok() { 1001 } else { 1000 });
        assert!(disk.write_at(u64::MAX, b"x").is_err());
        assert!(disk.read_at(u64::MAX, &mut [0; 2]).is_err());
    }
}

#[test]
fn a_full_store_refuses_new_blocks_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), 2 * BLOCK, Overrun::Refuse).unwrap();
    store.create(U[1], SIZE).unwrap();
    let disk = store.disk(U[1]).unwrap();
    disk.write_at(0, &vec![1; 2 * BLOCK as usize]).unwrap();
    assert!(matches!(disk.write_at(3 * BLOCK, b"x"), Err(DiskError::Full(_))));
    disk.write_at(BLOCK, b"x").unwrap();
    store.create(U[2], SIZE).unwrap();
    assert!(matches!(store.duplicate(U[1], U[3]), Err(DiskError::Full(_))));
    assert!(store.info(U[3]).is_none());
    store.remove(U[1]).unwrap();
    assert_eq!(store.used_bytes(), 0);
    assert!(disk.write_at(0, b"x").is_err(), "a removed disk took a write");
    store.disk(U[2]).unwrap().write_at(0, b"x").unwrap();
}

#[test]
fn snapshots_keep_their_content() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.create(U[1], SIZE).unwrap();
    let disk = store.disk(U[1]).unwrap();
    disk.write_at(0, &vec![1; 2 * BLOCK as usize]).unwrap();
    let before = content(&store, U[1]);
    assert!(store.snapshot(U[1], U[2], U[3]).unwrap());
    // The disk that was open before goes on; a part of a block takes the rest from the parent.
    disk.write_at(BLOCK + 5, b"new").unwrap();
    disk.write_at(3 * BLOCK, b"more").unwrap();
    let mut after = before.clone();
    after[BLOCK as usize + 5..][..3].copy_from_slice(b"new");
    after[3 * BLOCK as usize..][..4].copy_from_slice(b"more");
    for store in [&store, &open(dir.path())] {
        assert!(content(store, U[1]) == after);
        assert!(content(store, U[3]) == before);
        assert_eq!(store.info(U[1]).unwrap().parent, Some(U[2]));
        assert_eq!(store.info(U[3]).unwrap().parent, Some(U[2]));
        assert!(store.info(U[2]).unwrap().hidden);
    }
    // A disk without blocks of its own shares its parent.
    assert!(!store.snapshot(U[3], U[4], U[5]).unwrap());
    assert_eq!(store.info(U[5]).unwrap().parent, Some(U[2]));
    assert!(matches!(store.remove(U[2]), Err(DiskError::HasChildren(_))));
    let zeros = vec![0; BLOCK as usize];
    store.disk(U[5]).unwrap().write_at(0, &zeros).unwrap();
    assert!(content(&store, U[5])[..BLOCK as usize] == zeros, "zeros did not cover the parent's data");
    for uuid in [U[1], U[3], U[5]] {
        assert!(store.sweep().unwrap().is_empty());
        store.remove(uuid).unwrap();
    }
    assert_eq!(store.sweep().unwrap(), [U[2]]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(store.used_bytes(), 0);
}

#[test]
fn duplicates_are_independent() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.create(U[1], SIZE - 512).unwrap();
    let disk = store.disk(U[1]).unwrap();
    disk.write_at(SIZE - 600, b"end").unwrap();
    store.snapshot(U[1], U[2], U[3]).unwrap();
    disk.write_at(0, b"start").unwrap();
    store.duplicate(U[1], U[4]).unwrap();
    assert_eq!(store.info(U[4]).unwrap().parent, None);
    assert!(content(&store, U[4]) == content(&store, U[1]));
    disk.write_at(0, b"other").unwrap();
    assert!(content(&store, U[4])[..5] == *b"start");
}

#[test]
fn disks_grow_and_never_shrink() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.create(U[1], BLOCK).unwrap();
    store.disk(U[1]).unwrap().write_at(BLOCK - 1, b"x").unwrap();
    store.snapshot(U[1], U[2], U[3]).unwrap();
    store.resize(U[1], 9 * BLOCK).unwrap();
    assert!(matches!(store.resize(U[1], BLOCK), Err(DiskError::Shrinking { .. })));
    store.disk(U[1]).unwrap().write_at(9 * BLOCK - 1, b"y").unwrap();
    let all = content(&open(dir.path()), U[1]);
    assert_eq!((all[BLOCK as usize - 1], all[9 * BLOCK as usize - 1]), (b'x', b'y'));
    assert_eq!(all.iter().filter(|&&byte| byte != 0).count(), 2);
}

#[test]
fn broken_off_snapshots_are_put_right() {
    let dir = tempfile::tempdir().unwrap();
    let original = {
        let store = open(dir.path());
        store.create(U[1], SIZE).unwrap();
        store.disk(U[1]).unwrap().write_at(5, b"data").unwrap();
        content(&store, U[1])
    };
    let file = |uuid: Uuid, suffix: &str| dir.path().join(format!("{uuid}.{suffix}"));
    let old = MapFile::from_bytes(&std::fs::read(file(U[1], "map")).unwrap()).unwrap();
    let base = MapFile { hidden: true, ..old.clone() };
    let leaf = MapFile { parent: Some(U[2]), map: BlockMap::new(SIZE), ..old };
    // The steps of a snapshot, each followed by what a killed process would leave.
    let steps: [&dyn Fn(); 4] = [
        &|| std::fs::hard_link(file(U[1], "raw"), file(U[2], "raw")).unwrap(),
        &|| std::fs::write(file(U[2], "map.new"), b"half").unwrap(),
        &|| std::fs::write(file(U[2], "map"), base.to_bytes()).unwrap(),
        &|| std::fs::write(file(U[1], "map"), leaf.to_bytes()).unwrap(),
    ];
    for last in 0..steps.len() {
        steps[..=last].iter().for_each(|step| step());
        let store = open(dir.path());
        assert!(content(&store, U[1]) == original, "after step {last}");
        store.disk(U[1]).unwrap().write_at(5, b"else").unwrap();
        if last < 3 {
            assert_eq!(store.list().len(), 1, "after step {last}");
            assert!(!file(U[2], "raw").exists());
            store.disk(U[1]).unwrap().write_at(5, b"data").unwrap();
        } else {
            assert!(content(&store, U[2]) == original, "the write went to the parent's file");
        }
    }
}

#[test]
fn broken_off_removals_and_creations_are_ended() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path());
        store.create(U[1], SIZE).unwrap();
        store.create(U[2], SIZE).unwrap();
    }
    let file = |uuid: Uuid, suffix: &str| dir.path().join(format!("{uuid}.{suffix}"));
    std::fs::rename(file(U[1], "map"), file(U[1], "map.gone")).unwrap();
    std::fs::write(file(U[3], "raw"), b"").unwrap();
    std::fs::write(file(U[3], "map.new"), b"half").unwrap();
    std::fs::write(file(U[2], "map.new"), b"half").unwrap();
    let store = open(dir.path());
    assert_eq!(store.list().iter().map(|info| info.uuid).collect::<Vec<_>>(), [U[2]]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_damaged_store_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).create(U[1], SIZE).unwrap();
    let map = dir.path().join(format!("{}.map", U[1]));
    std::fs::write(&map, b"junk").unwrap();
    assert!(matches!(Store::open(dir.path(), u64::MAX, Overrun::Refuse), Err(DiskError::BadMap(..))));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}
