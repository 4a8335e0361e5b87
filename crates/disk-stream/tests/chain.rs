//! Chains: found, refused, read, flattened, compared.

mod common;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::layers::{Layer, layers, render, uuid};
use common::*;
use disk_stream::{Declared, Error, Existing, Image, Opening, Parents, Upload};
use proptest::prelude::*;
use tempfile::tempdir;
use vhd::chain::{ChainError, ChainWarning};
use vhd::format::{DynamicHeader, ParentLocator, Platform, Timestamp};
use vhd::layout::Parent;

/// Writes the chain into `folder` as `0.vhd` (the root) and so on; the leaf's path and the disk.
fn write_chain(folder: &Path, layers: &[Layer]) -> (PathBuf, Vec<u8>) {
    let mut disk = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let parent = number.checked_sub(1).map(|below| Parent {
            uuid: uuid(below),
            timestamp: Timestamp(0),
            path: format!("{below}.vhd"),
        });
        let file = render(layer, number, parent.as_ref(), &mut disk);
        std::fs::write(folder.join(format!("{number}.vhd")), file).unwrap();
    }
    (folder.join(format!("{}.vhd", layers.len() - 1)), disk)
}

fn within(folder: &Path) -> Opening {
    Opening { parents: Parents::Within(folder.to_owned()), ..Opening::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn writes_over_a_chain_match_a_flat_disk(layers in layers(), cuts in prop::collection::vec(1..700_000_usize, 1..5)) {
        let folder = tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (leaf, disk) = write_chain(folder.path(), &layers);
        let order: Vec<PathBuf> = (0..layers.len() - 1).rev().map(|number| at(&format!("{number}.vhd"))).collect();
        let among = vec![folder.path().to_owned()];
        let ways = [Parents::Within(folder.path().to_owned()), Parents::Order(order), Parents::Among(among)];
        // With tables in memory, and in the files.
        for (parents, runs) in ways.iter().flat_map(|way| [(way, u32::MAX), (way, 0)]) {
            let mut opening = Opening { parents: parents.clone(), ..Opening::default() };
            opening.limits.runs = runs;
            let chain = Image::open_with(&leaf, &opening).unwrap();
            prop_assert_eq!(chain.layers().len(), layers.len());
            prop_assert!(content_of(&chain) == disk);
            // In pieces of any length, and whatever was read before.
            let (mut reader, mut from) = (chain.reader(), 0);
            for len in cuts.iter().cycle() {
                let end = disk.len().min(from + len);
                let mut part = vec![0x11; end - from];
                reader.read(from as u64, &mut part).unwrap();
                prop_assert!(part == disk[from..end], "{from}..{end}");
                from = end;
                if from == disk.len() {
                    break;
                }
            }
        }
        let chain = Image::open_with(&leaf, &within(folder.path())).unwrap();
        // Flattened, both ways.
        let exact = Upload { virtual_size: Some(disk.len() as u64), ..Upload::default() };
        chain.save_raw(&at("flat.raw"), Existing::Refuse, &exact).unwrap();
        prop_assert!(std::fs::read(at("flat.raw")).unwrap() == disk);
        chain.save_vhd(&at("flat"), Existing::Refuse, &Upload { aligned: true, ..exact.clone() }).unwrap();
        let flat = open(&at("flat")).unwrap();
        prop_assert!(content_of(&flat) == disk);
        prop_assert!(blocks_of(&flat).all(|block| block.data_offset % 4096 == 0));

        // The difference from the root, and the difference of a difference.
        let root = open(&at("0.vhd")).unwrap();
        chain.save_difference(&root, &at("difference"), Existing::Refuse, &exact).unwrap();
        let applied = Image::open_with(&at("difference"), &within(folder.path())).unwrap();
        prop_assert_eq!(applied.layers().len(), 2);
        prop_assert!(content_of(&applied) == disk);
        let none = applied.differing_blocks(&flat, &disk_stream::Progress::new()).unwrap();
        prop_assert!(none.is_empty());
        let blocks = blocks_of(&applied).map(|block| u64::from(block.block)).collect::<Vec<_>>();
        let own = content_of(&root);
        let byte = |disk: &[u8], at: usize| disk.get(at).copied().unwrap_or(0);
        let expected: Vec<u64> = (0..disk.len().div_ceil(2 << 20))
            .filter(|block| (block * (2 << 20)..disk.len().min((block + 1) * (2 << 20))).any(|at| byte(&own, at) != byte(&disk, at)))
            .map(|block| block as u64)
            .collect();
        prop_assert_eq!(blocks, expected);
    }
}

/// A root and a leaf in one folder, after `damage` to the leaf.
fn pair(folder: &Path, damage: impl Fn(&mut Vec<u8>)) -> (PathBuf, Vec<u8>) {
    let layer = |writes| Layer { block_size: 2 << 20, size: 8 * MIB, writes };
    let (leaf, disk) =
        write_chain(folder, &[layer(vec![(0, 9000, 1)]), layer(vec![(5, 3, 2), (10_000, 5000, 3)])]);
    let mut file = std::fs::read(&leaf).unwrap();
    damage(&mut file);
    vhd::fuzzing::make_sum(&mut file[512..1536], 36);
    std::fs::write(&leaf, file).unwrap();
    (leaf, disk)
}

/// Damages all locators, or with `only`, one.
fn locators(file: &mut [u8], field: usize, bytes: &[u8], only: Option<usize>) {
    for slot in 0..3 {
        if only.is_none_or(|only| only == slot) {
            let at = 512 + 576 + slot * 24 + field;
            file[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }
}

/// Replaces what the locators say by this path.
fn renamed(file: &mut [u8], path: &[u8]) {
    locators(file, 0, &[0; 4], None);
    locators(file, 0, &Platform::MACX.0.to_be_bytes(), Some(0));
    let bytes = [b"file://", path].concat();
    locators(file, 8, &u32::try_from(bytes.len()).unwrap().to_be_bytes(), Some(0));
    file[1536..1536 + bytes.len()].copy_from_slice(&bytes);
    file[512 + 64..512 + 576].fill(0);
}

#[track_caller]
fn check_found(name: &str, damage: impl Fn(&mut Vec<u8>)) {
    let folder = tempdir().unwrap();
    let (leaf, disk) = pair(folder.path(), damage);
    let chain =
        Image::open_with(&leaf, &within(folder.path())).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(content_of(&chain) == disk, "{name}");
}

#[track_caller]
fn check_missing(name: &str, damage: impl Fn(&mut Vec<u8>)) -> String {
    let folder = tempdir().unwrap();
    let (leaf, _) = pair(folder.path(), damage);
    match Image::open_with(&leaf, &within(folder.path())) {
        Err(Error::ParentNotFound { tried, .. }) => tried,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn bad_locators_are_passed_over() {
    check_found("valid", |_| {});
    let damages: [(&str, usize, &[u8]); 8] = [
        ("length 2^32-1", 8, &[0xff; 4]),
        ("length over the space", 8, &4096_u32.to_be_bytes()),
        ("offset 2^64-1", 16, &[0xff; 8]),
        ("offset past the end", 16, &(1_u64 << 40).to_be_bytes()),
        ("space 0", 4, &[0; 4]),
        ("space 0xFFFFFE00, length past the end", 4, &0xffff_fe00_u32.to_be_bytes()),
        ("space 513", 4, &513_u32.to_be_bytes()),
        ("unknown code", 0, &0x4d16_3258_u32.to_be_bytes()),
    ];
    for (name, field, bytes) in damages {
        check_found(name, |file| locators(file, field, bytes, Some(0)));
        // The name in the header is left.
        check_found(name, |file| locators(file, field, bytes, None));
        // A space that claims much is no damage while the path itself fits.
        if !name.contains("0xFFFFFE00") {
            check_missing(name, |file| {
                locators(file, field, bytes, None);
                file[512 + 64..512 + 576].fill(0);
            });
        }
    }
    check_found("name empty", |file| file[512 + 64..512 + 576].fill(0));
    check_found("name invalid", |file| file[512 + 64..512 + 66].copy_from_slice(&[0xd8, 0]));
}

#[test]
fn parents_stay_in_their_folder() {
    let tried = check_missing("up", |file| renamed(file, b"../../../../etc/passwd"));
    assert!(tried.contains("outside"), "{tried}");
    for path in ["/dev/zero", "/etc/passwd", "C:/windows/win.ini"] {
        let tried = check_missing(path, |file| renamed(file, path.as_bytes()));
        assert!(tried.contains("absolute"), "{tried}");
    }
    check_missing("control characters", |file| renamed(file, b"./0.vhd\0\n"));
    let raw = check_missing("raw parent", |file| {
        file[512 + 40..512 + 56].fill(0);
        renamed(file, b"/etc/passwd");
    });
    assert!(raw.contains("absolute"), "{raw}");
    // A folder beside the allowed one, a link to a file outside, a FIFO.
    let folder = tempdir().unwrap();
    let inside = folder.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    let (leaf, _) = pair(&inside, |_| {});
    std::fs::rename(inside.join("0.vhd"), folder.path().join("0.vhd")).unwrap();
    symlink("../0.vhd", inside.join("0.vhd")).unwrap();
    assert!(matches!(Image::open_with(&leaf, &within(&inside)), Err(Error::ParentNotFound { .. })));
    std::fs::remove_file(inside.join("0.vhd")).unwrap();
    run("mkfifo", &[text(&inside.join("0.vhd"))]);
    assert!(matches!(Image::open_with(&leaf, &within(&inside)), Err(Error::ParentNotFound { .. })));
    // The leaf itself must be in the folder.
    assert!(matches!(
        Image::open_with(&leaf, &within(&std::env::temp_dir().join("..").join("etc"))),
        Err(Error::Open { .. })
    ));
}

#[test]
fn a_locator_may_go_up_inside_of_the_folder() {
    let folder = tempdir().unwrap();
    let sub = folder.path().join("sub");
    std::fs::create_dir(&sub).unwrap();
    let (leaf, disk) = pair(folder.path(), |file| renamed(file, b"../0.vhd"));
    let moved = sub.join("leaf.vhd");
    std::fs::rename(leaf, &moved).unwrap();
    assert!(content_of(&Image::open_with(&moved, &within(folder.path())).unwrap()) == disk);
    assert!(matches!(Image::open_with(&moved, &within(&sub)), Err(Error::ParentNotFound { .. })));
}

#[test]
fn the_wrong_parent_is_refused_unless_trusted() {
    let folder = tempdir().unwrap();
    let (leaf, disk) = pair(folder.path(), |file| file[512 + 40] = 9);
    let wrong = |result: Result<Image, Error>| {
        assert!(
            matches!(result, Err(Error::Chain { source: ChainError::ParentUuid { layer: 0, .. }, .. })),
            "{result:?}"
        );
    };
    wrong(Image::open_with(&leaf, &within(folder.path())));
    let mut opening =
        Opening { parents: Parents::Order(vec![folder.path().join("0.vhd")]), ..Opening::default() };
    wrong(Image::open_with(&leaf, &opening));
    opening.rules.trust_order = true;
    let chain = Image::open_with(&leaf, &opening).unwrap();
    assert!(content_of(&chain) == disk);
    assert_eq!(chain.chain_warnings()[0], ChainWarning::Trusted { layer: 0 });
    // Not even by trust is a whole disk a child, or a child a whole disk.
    assert!(matches!(Image::open_blocking(&leaf, Declared::Unknown), Err(Error::Differencing { .. })));
    opening.parents = Parents::Order(vec![]);
    let missing = Image::open_with(&leaf, &opening);
    assert!(matches!(missing, Err(Error::Chain { source: ChainError::ParentMissing { layer: 0, .. }, .. })));
}

#[test]
fn circles_are_seen() {
    let folder = tempdir().unwrap();
    let (leaf, _) = pair(folder.path(), |file| {
        renamed(file, b"./1.vhd");
        let own = uuid(1);
        file[512 + 40..512 + 56].copy_from_slice(own.as_bytes());
    });
    for opening in
        [within(folder.path()), Opening { parents: Parents::Among(vec![leaf.clone()]), ..Opening::default() }]
    {
        let circle = Image::open_with(&leaf, &opening);
        assert!(matches!(circle, Err(Error::Chain { source: ChainError::Cycle { .. }, .. })), "{circle:?}");
    }
    // By a hard link, too.
    let (leaf, _) = pair(folder.path(), |_| {});
    std::fs::remove_file(folder.path().join("0.vhd")).unwrap();
    std::fs::hard_link(&leaf, folder.path().join("0.vhd")).unwrap();
    let opening =
        Opening { parents: Parents::Order(vec![folder.path().join("0.vhd")]), ..Opening::default() };
    let circle = Image::open_with(&leaf, &opening);
    assert!(matches!(circle, Err(Error::Chain { source: ChainError::Cycle { .. }, .. })), "{circle:?}");
}

#[test]
fn a_raw_parent_is_raw_whatever_it_holds() {
    let folder = tempdir().unwrap();
    let (leaf, _) = pair(folder.path(), |file| file[512 + 40..512 + 56].fill(0));
    // The parent file is a VHD by its looks, but the child says that it is a raw disk.
    let chain = Image::open_with(&leaf, &within(folder.path())).unwrap();
    let mut start = [0; 8];
    chain.reader().read(0, &mut start).unwrap();
    assert_eq!(&start, b"conectix");
}

#[test]
fn hundreds_of_layers() {
    let folder = tempdir().unwrap();
    let layers: Vec<Layer> = (0..300)
        .map(|number| Layer {
            block_size: 2 << 20,
            size: 32 * MIB,
            writes: vec![(number * 200 % 60_000, 50, number as u8)],
        })
        .collect();
    let (leaf, disk) = write_chain(folder.path(), &layers);
    let mut opening = within(folder.path());
    let deep = Image::open_with(&leaf, &opening);
    assert!(matches!(deep, Err(Error::Chain { source: ChainError::TooDeep { limit: 30 }, .. })), "{deep:?}");
    opening.rules.depth = 300;
    assert!(content_of(&Image::open_with(&leaf, &opening).unwrap()) == disk);
    opening.rules.depth = 299;
    assert!(Image::open_with(&leaf, &opening).is_err());
}

#[test]
fn locators_are_those_of_blktap() {
    let folder = tempdir().unwrap();
    let (_, disk) = pair(folder.path(), |_| {});
    std::fs::write(folder.path().join("disk.raw"), &disk).unwrap();
    let raw = open(&folder.path().join("disk.raw")).unwrap();
    let base = open(&folder.path().join("0.vhd")).unwrap();
    let target = folder.path().join("difference.vhd");
    raw.save_difference(&base, &target, Existing::Refuse, &Upload::default()).unwrap();
    let file = std::fs::read(&target).unwrap();
    let chain = Image::open_with(&target, &within(folder.path())).unwrap();
    let header = chain.map().unwrap().header().unwrap();
    assert_eq!(header.parent_name, "0.vhd");
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let expected = [
        (Platform::MACX, b"file://./0.vhd".to_vec()),
        (Platform::W2KU, utf16(".\\0.vhd")),
        (Platform::W2RU, utf16(".\\0.vhd")),
    ];
    let found = header.locators.iter().map(|locator: &ParentLocator| {
        assert_eq!(locator.space, 512);
        let range = locator.range(file.len() as u64).unwrap();
        (
            locator.platform,
            file[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec(),
        )
    });
    assert_eq!(found.collect::<Vec<_>>(), expected);
    assert_eq!(header.parent_timestamp, base.layers()[0].written());
    if has("7zz") {
        run("7zz", &["x", text(&target), &format!("-o{}", text(&folder.path().join("out")))]);
        let out = folder.path().join("out").join("difference.img");
        assert!(std::fs::read(out).unwrap() == disk);
    }
}

#[test]
fn encrypted_data_are_not_taken_for_plain() {
    let folder = tempdir().unwrap();
    let (leaf, _) = pair(folder.path(), |file| {
        // A batmap of blktap behind the table, and in it the cookie of a key's hash.
        let header = DynamicHeader::parse(file[512..1536].first_chunk().unwrap(), 512).unwrap();
        let at = usize::try_from(header.table_offset + header.table_len()).unwrap();
        file[at..at + 8].copy_from_slice(b"tdbatmap");
        file[at + 29] = 1;
        for footer in [0, file.len() - 512] {
            file[footer + 28..footer + 32].copy_from_slice(b"tap\0");
            vhd::fuzzing::make_sum(&mut file[footer..footer + 512], 64);
        }
    });
    let error = Image::open_with(&leaf, &within(folder.path())).unwrap_err();
    assert!(matches!(error, Error::Format { source: vhd::Error::Encrypted { .. }, .. }), "{error:?}");
    let alone = Opening { parents: Parents::Ignore, ..Opening::default() };
    assert!(Image::open_with(&leaf, &alone).is_ok(), "it may be looked at");
}
