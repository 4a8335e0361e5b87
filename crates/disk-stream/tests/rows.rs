//! The second half of the list of hostile inputs: differences, streams, archives and chains, by the number of each row. The
//! first half, rows 1 to 109, is `vhd/tests/verdicts.rs`.
//!
//! A row is run here, or names the test that shows it, which must be there.

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use common::archive::{altered, gzip, member, tar};
use common::layers::{Layer, render, uuid};
use common::{MIB, content_of};
use disk_stream::{Error, Existing, Image, Opening, Packed, Parents, Problem, Unpack, Upload};
use http_body_util::Full;
use tempfile::tempdir;
use vhd::format::{BLOCK_SIZE, Creator, DiskType, FOOTER_LEN, Footer, Platform, Timestamp};
use vhd::fuzzing::{self, Found};
use vhd::layout::Parent;
use vhd::{Decoder, Structure};

const HEADER: usize = 512;
const LOCATORS: usize = HEADER + 576;
const NAME: std::ops::Range<usize> = HEADER + 64..HEADER + 576;
const UUID: std::ops::Range<usize> = HEADER + 40..HEADER + 56;
/// What three locators of a leaf say stands here, a sector each.
const PATHS: usize = 1536;
const NONE: &str = "";

/// What becomes of a leaf with its parent `0.vhd` beside it, after the damage: the error as a file (none: it is the disk), as
/// a stream (none: it is taken apart), and what the inspector tells beside that it is a difference.
type Leaf = (u32, &'static str, fn(&mut Vec<u8>), &'static str, &'static str, &'static str);

/// Changes a field of the first locator.
fn locator(file: &mut [u8], field: usize, bytes: &[u8]) {
    let at = LOCATORS + field;
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Leaves one locator, which says this, and no name.
fn renamed(file: &mut [u8], path: &[u8]) {
    (0..3).for_each(|slot| file[LOCATORS + slot * 24..LOCATORS + slot * 24 + 4].fill(0));
    let url = [b"file://", path].concat();
    locator(file, 0, &Platform::MACX.0.to_be_bytes());
    locator(file, 8, &u32::try_from(url.len()).unwrap().to_be_bytes());
    file[PATHS..PATHS + url.len()].copy_from_slice(&url);
    file[NAME].fill(0);
}

const PLACE: &str = "cannot be where it is said to be";
const LOST: &str = "ParentNotFound";

const LEAVES: [Leaf; 18] = [
    (110, "locator of 2^32 - 1 bytes", |f| locator(f, 8, &[0xff; 4]), NONE, NONE, PLACE),
    (111, "locator longer than its space", |f| locator(f, 8, &4096_u32.to_be_bytes()), NONE, NONE, PLACE),
    (112, "locator at 2^64 - 1", |f| locator(f, 16, &[0xff; 8]), NONE, NONE, PLACE),
    (113, "locator behind the end", |f| locator(f, 16, &(1_u64 << 40).to_be_bytes()), NONE, NONE, PLACE),
    (114, "locator without space", |f| locator(f, 4, &[0; 4]), NONE, NONE, PLACE),
    // The path itself fits.
    (115, "locator with too much space", |f| locator(f, 4, &0xffff_fe00_u32.to_be_bytes()), NONE, NONE, NONE),
    (116, "locator with 513 bytes of space", |f| locator(f, 4, &513_u32.to_be_bytes()), NONE, NONE, PLACE),
    (
        117,
        "locator of VirtualBox",
        |f| locator(f, 0, &0x4d16_3258_u32.to_be_bytes()),
        NONE,
        NONE,
        "unknown code",
    ),
    (118, "no name", |f| f[NAME].fill(0), NONE, NONE, "name is empty"),
    (119, "a name that is no UTF-16", |f| f[NAME][..2].copy_from_slice(&[0xd8, 0]), NONE, NONE, NONE),
    (120, "another parent's uuid", |f| f[HEADER + 40] ^= 9, "Chain(ParentUuid", NONE, NONE),
    (121, "nothing", |_| {}, NONE, NONE, NONE),
    (122, "a path out of the folder", |f| renamed(f, b"../../../../etc/passwd"), LOST, NONE, "name is empty"),
    (123, "a device", |f| renamed(f, b"/dev/zero"), LOST, NONE, "name is empty"),
    (124, "an absolute path", |f| renamed(f, b"/etc/passwd"), LOST, NONE, "name is empty"),
    (
        125,
        "itself",
        |f| {
            renamed(f, b"./1.vhd");
            f[UUID].copy_from_slice(uuid(1).as_bytes());
        },
        "Chain(Cycle",
        NONE,
        "name is empty",
    ),
    (126, "a path with NUL and newline", |f| renamed(f, b"./0.vhd\0\n"), LOST, NONE, "name is empty"),
    (
        127,
        "a raw parent, /etc/passwd",
        |f| {
            renamed(f, b"/etc/passwd");
            f[UUID].fill(0);
        },
        LOST,
        NONE,
        "name is empty",
    ),
];

/// A row whose verdict is found by a function: the name of an error, or nothing where all is as it should be.
type Row = (u32, &'static str, fn() -> String, &'static str);

const ROWS: [Row; 14] = [
    (
        121,
        "alone, without being asked",
        || alone(|image, to| image.save_vhd(to, Existing::Refuse, &Upload::default()).map(drop)),
        "Differencing",
    ),
    (
        121,
        "alone, as it is",
        || alone(|image, to| image.save_layer(to, Existing::Refuse, &Upload::default()).map(drop)),
        NONE,
    ),
    (128, "byte by byte", || streamed(&whole(), &[1], None), NONE),
    (130, "the end between two blocks", || streamed(&whole()[..FIRST + BLOCK], &[], None), "Truncated"),
    (131, "a length that is too small", || announced(-1024), "BlockBounds"),
    (131, "a length that is too large", || announced(1024), "Truncated"),
    (
        134,
        "a table at 1 TiB",
        || changed(|f| f[HEADER + 16..HEADER + 24].copy_from_slice(&(1_u64 << 40).to_be_bytes())),
        "GapTooLong",
    ),
    (
        135,
        "a gap of many GiB",
        || changed(|f| f[TABLE + 4..TABLE + 8].copy_from_slice(&(1_u32 << 28).to_be_bytes())),
        "GapTooLong",
    ),
    (136, "a locator in a block", || in_a_block(b"file://../../etc/passwd"), LOST),
    (136, "a locator in a block that says the truth", || in_a_block(b"file://./0.vhd"), NONE),
    (142, "O_DIRECT refused", direct_io, NONE),
    (164, "a fixed parent", || with_parent(|root| fixed(&root)), NONE),
    (165, "a hidden parent", || with_parent(hidden), NONE),
    (166, "a hidden leaf", hidden_leaf, "HiddenLeaf"),
];

/// What becomes of what is packed: the words of the refusal, or none, and then it is the disk.
type Archive = (u32, &'static str, fn() -> Vec<u8>, &'static str);

const ARCHIVES: [Archive; 50] = [
    (145, "gzip without its trailer", || cut(gzip(&zero_vhd()), 8), "damaged or cut short"),
    (145, "gzip cut in its trailer", || cut(gzip(&zero_vhd()), 3), "damaged or cut short"),
    (146, "another CRC-32", || flipped(gzip(&zero_vhd()), 6), "gzip stream is damaged"),
    (146, "another length", || flipped(gzip(&zero_vhd()), 2), "gzip stream is damaged"),
    (147, "two members", || [gzip(&zero_vhd()[..999]), gzip(&zero_vhd()[999..])].concat(), NONE),
    (148, "zeros behind", || [gzip(&zero_vhd()), vec![0; 700]].concat(), NONE),
    (148, "something behind", || [gzip(&zero_vhd()), vec![7; 700]].concat(), "gzip stream is damaged"),
    (149, "ten thousand members of nothing", || [gzip(&zero_vhd()), gzip(b"").repeat(10_000)].concat(), NONE),
    (149, "and before the disk", || [gzip(b"").repeat(10_000), gzip(&zero_vhd())].concat(), NONE),
    (149, "and no disk", || gzip(b"").repeat(10_000), "is empty"),
    (
        149,
        "a hundred thousand stored blocks of nothing",
        || padded_with(&[0, 0, 0, 0xff, 0xff], 100_000),
        NONE,
    ),
    // Four of them have five bytes.
    (149, "as many compressed ones", || padded_with(&[0x02, 0x08, 0x20, 0x80, 0], 25_000), NONE),
    (150, "a bomb", || gzip(&vec![0; 64 << 20]), "does not fit into"),
    (
        151,
        "another checksum of a header",
        || flipped(tar(&[("0.vhd", &zero_vhd())]), 0),
        "checksum of a header",
    ),
    (152, "a size that is not octal", || sized(b"99999999999\0"), "size is no number"),
    (152, "a negative size", || sized(&[0xff; 12]), "size is no number"),
    (152, "another size in an extended header", || pax("10 size=9\n"), "is not a usable VHD"),
    (152, "a sparse member", || pax("22 GNU.sparse.major=1\n"), "--sparse"),
    (
        152,
        "a sparse member of format 0.0",
        || sparse(&["size=8192", "numblocks=1", "offset=0", "numbytes=512"]),
        "--sparse",
    ),
    (
        152,
        "a sparse member of format 0.1",
        || sparse(&["size=8192", "numblocks=1", "name=0.vhd", "map=0,512"]),
        "--sparse",
    ),
    (152, "a sparse member of GNU's own type", || special(b'S'), "neither a file nor a directory"),
    (153, "../0.vhd", || tar(&[("../0.vhd", &zero_vhd())]), "\"../0.vhd\""),
    (153, "/0.vhd", || tar(&[("/0.vhd", &zero_vhd())]), "\"/0.vhd\""),
    (153, "./0.vhd", || tar(&[("./0.vhd", &zero_vhd())]), NONE),
    (153, "0.vhd\\0x", || altered(&zero_vhd(), |head| head[6] = b'x'), NONE),
    (153, "no UTF-8", || altered(&zero_vhd(), |head| head[0] = 0xe4), "not UTF-8"),
    (153, "a name of 70,000 bytes", || long_name(&"9".repeat(70_000)), "too long"),
    // Nothing is ever written by that name.
    (153, "a name of 256 bytes", || long_name(&format!("{}.vhd", "n".repeat(252))), NONE),
    (153, "and by an extended header", || pax(&record(&format!("path={}.vhd", "n".repeat(252)))), NONE),
    (154, "a hard link", || special(b'1'), "neither a file nor a directory"),
    (154, "a symbolic link", || special(b'2'), "neither a file nor a directory"),
    (154, "a device", || special(b'3'), "neither a file nor a directory"),
    (154, "a FIFO", || special(b'6'), "neither a file nor a directory"),
    (154, "a directory", || special(b'5'), "no disk in its tar"),
    (155, "two 0.vhd", || tar(&[("0.vhd", &zero_vhd()), ("./0.vhd", &zero_vhd())]), "several disks"),
    (156, "no 1.vhd", || tar(&[("0.vhd", &pair().1), ("2.vhd", &pair().0)]), "no 1.vhd"),
    (156, "no 0.vhd", || tar(&[("1.vhd", &zero_vhd())]), "no 0.vhd"),
    (156, "00.vhd", || tar(&[("00.vhd", &zero_vhd())]), NONE),
    (156, "31 layers", || layers(31), "30"),
    (156, "a hundred thousand layers", || layers(100_000), "30"),
    (
        156,
        "a hundred thousand members that are none",
        || [member("swap.vhd", b'0', 0, b"").repeat(100_000), altered(&zero_vhd(), |_| ())].concat(),
        NONE,
    ),
    (157, "numbers and names", || tar(&[("0.vhd", &pair().1), ("base.vhd", &pair().0)]), "several disks"),
    (158, "swap.vhd", || tar(&[("swap.vhd", b"what"), ("0.vhd", &zero_vhd())]), NONE),
    (
        159,
        "a member that is too long",
        || [member("0.vhd", b'0', zero_vhd().len() as u64 + 512, &zero_vhd()), vec![0; 2048]].concat(),
        "is not a usable VHD",
    ),
    // Nothing else tells it from a download that broke off.
    (
        160,
        "no end mark",
        || member("0.vhd", b'0', zero_vhd().len() as u64, &zero_vhd()),
        "without its end mark",
    ),
    (
        160,
        "no end mark, compressed",
        || gzip(&member("0.vhd", b'0', zero_vhd().len() as u64, &zero_vhd())),
        NONE,
    ),
    // It may be the disk that was meant.
    (
        160,
        "something behind the end mark",
        || [tar(&[("0.vhd", &zero_vhd())]), vec![7; 5 << 20]].concat(),
        "something follows its end",
    ),
    (
        161,
        "a prefix",
        || {
            altered(&zero_vhd(), |head| {
                head[257..265].copy_from_slice(b"ustar\x0000");
                head[345] = b'.';
            })
        },
        NONE,
    ),
    (161, "@LongLink", || long_name("./0.vhd\0"), NONE),
    (161, "@LongLink of a folder", long_folder, NONE),
];

/// Rows that need a device, a full disk, a host or several files: file and name of the test that shows the verdict.
const SHOWN: [(u32, &str, &str, &str); 23] = [
    (
        129,
        "a host that stops in the middle",
        "xenapi-client/tests/transfers.rs",
        "a_host_that_stops_reading_is_given_up",
    ),
    (129, "what has come is not kept", "disk-stream/tests/receive.rs", "a_dropped_transfer_leaves_nothing"),
    (129, "where it stopped is told", "disk-stream/tests/receive.rs", "where_a_transfer_stopped_is_told"),
    (129, "a server that says nothing more", "image-store/tests/http.rs", "a_silent_server_is_given_up"),
    (
        132,
        "what follows on the connection",
        "xenapi-client/tests/transfers.rs",
        "a_body_longer_than_it_says_never_passes_for_a_success",
    ),
    (133, "a block before the table", "vhd/tests/hostile.rs", "a_block_before_the_table_is_for_files_only"),
    (137, "records that lie", "disk-stream/tests/hostile.rs", "records_that_lie"),
    (138, "a reader that goes away", "disk-stream/tests/hostile.rs", "an_output_that_takes_no_more"),
    (138, "a full file system", "disk-stream/tests/hostile.rs", "a_file_system_that_is_full"),
    (
        139,
        "a device that is too small",
        "disk-stream/tests/devices.rs",
        "what_does_not_fit_on_a_device_destroys_nothing",
    ),
    (140, "a device onto itself", "disk-stream/tests/devices.rs", "a_device_is_not_written_from_itself"),
    (140, "a file onto itself", "disk-stream/tests/hostile.rs", "a_disk_may_replace_its_own_source"),
    (141, "a source that changes", "disk-stream/tests/upload.rs", "a_changing_image_fails_the_stream"),
    (143, "SEEK_DATA that is not there", "disk-stream/src/scan.rs", "what_file_systems_say_of_data"),
    (144, "holes that are none", "disk-stream/src/scan.rs", "a_hole_that_holds_data_is_none"),
    (162, "a larger and a smaller leaf", "disk-stream/tests/hostile.rs", "sizes_of_leaf_and_parent"),
    (163, "blocks of different sizes", "disk-stream/tests/chain.rs", "writes_over_a_chain_match_a_flat_disk"),
    (167, "more than 30 layers", "disk-stream/tests/chain.rs", "hundreds_of_layers"),
    (168, "circles of files and links", "disk-stream/tests/chain.rs", "circles_are_seen"),
    (168, "circles of uuids of any length", "vhd/src/chain.rs", "orders_by_identity"),
    (169, "two files with one uuid", "disk-stream/tests/hostile.rs", "two_files_with_the_uuid_of_the_parent"),
    (170, "a parent that changed", "vhd/src/chain.rs", "oddities_are_told"),
    (171, "a parent that is no file", "disk-stream/tests/chain.rs", "parents_stay_in_their_folder"),
];

/// The same, of what the files hold.
const SHOWN_OF_CONTENT: [(u32, &str, &str, &str); 6] = [
    (164, "a raw parent", "disk-stream/tests/chain.rs", "a_raw_parent_is_raw_whatever_it_holds"),
    (172, "a file of the host as raw parent", "disk-stream/tests/chain.rs", "parents_stay_in_their_folder"),
    (
        173,
        "a format that a guest wrote",
        "disk-stream/tests/hostile.rs",
        "what_a_guest_wrote_does_not_make_the_format",
    ),
    (174, "an encrypted VHD", "disk-stream/tests/chain.rs", "encrypted_data_are_not_taken_for_plain"),
    (174, "one that arrives", "vhd/tests/inspect.rs", "encrypted_streams_are_not_taken_for_plain"),
    (174, "one without a block", "vhd/tests/inspect.rs", "encrypted_streams_without_a_block"),
];

#[test]
fn no_row_is_missing() {
    let numbers: BTreeSet<u32> = (LEAVES.iter().map(|row| row.0))
        .chain(ROWS.iter().map(|row| row.0))
        .chain(ARCHIVES.iter().map(|row| row.0))
        .chain(SHOWN.iter().chain(&SHOWN_OF_CONTENT).map(|row| row.0))
        .collect();
    assert!(numbers.iter().copied().eq(110..=174), "{numbers:?}");
}

#[test]
fn the_tests_that_are_named_are_there() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (number, what, file, name) in SHOWN.into_iter().chain(SHOWN_OF_CONTENT) {
        let text = std::fs::read_to_string(crates.join(file)).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let at = lines.iter().position(|line| {
            let line = line.strip_prefix("async ").unwrap_or(line);
            line.strip_prefix("fn ")
                .and_then(|line| line.strip_prefix(name))
                .is_some_and(|rest| rest.starts_with('('))
        });
        let at = at.unwrap_or_else(|| panic!("{number} {what}: no {name} in {file}"));
        assert!(lines[at - 1].ends_with("test]"), "{number} {what}: {name} is no test");
    }
}

#[test]
fn leaves_have_their_verdicts() {
    for (number, what, damage, as_file, as_stream, told) in LEAVES {
        let (root, mut leaf) = pair();
        damage(&mut leaf);
        fuzzing::make_sum(&mut leaf[HEADER..1536], 36);
        assert_eq!(opened(&root, &leaf), as_file, "{number} {what}: as a file");
        assert_eq!(streamed(&leaf, &[70_001], None), as_stream, "{number} {what}: as a stream");
        let read = |at: u64, buffer: &mut [u8]| {
            let at = usize::try_from(at).unwrap();
            buffer.copy_from_slice(&leaf[at..at + buffer.len()]);
            Ok::<_, std::convert::Infallible>(())
        };
        let Ok(report) = vhd::inspect::Inspection::default().run(leaf.len() as u64, read);
        let found: Vec<&str> = report.findings.iter().map(|finding| &*finding.what).collect();
        assert!(found.iter().any(|found| found.contains(told)), "{number} {what}: {found:?}");
        let others = [PLACE, "unknown code", "name is empty"].into_iter().filter(|words| *words != told);
        let more: Vec<&str> =
            others.filter(|words| found.iter().any(|found| found.contains(words))).collect();
        assert!(more.is_empty(), "{number} {what}: {found:?}");
    }
}

#[test]
fn rows_have_their_verdicts() {
    for (number, what, found, verdict) in ROWS {
        assert_eq!(found(), verdict, "{number} {what}");
    }
}

#[tokio::test]
async fn archives_have_their_verdicts() {
    let size = 4 * MIB;
    for (number, what, bytes, verdict) in ARCHIVES {
        let folder = tempdir().unwrap();
        let path = folder.path().join("disk");
        let packed = Packed::open(Full::new(Bytes::from(bytes())), Unpack::default()).await;
        let saved = match packed {
            Ok(packed) => packed.save_raw(&path, Existing::Refuse, size).await.map(drop),
            Err(error) => Err(error),
        };
        let said = match &saved {
            Ok(()) => String::new(),
            Err(Error::Packed(problem)) => match &**problem {
                Problem::Chain(source) => format!("{problem}: {source}"),
                problem => problem.to_string(),
            },
            Err(other) => panic!("{number} {what}: {other:?}"),
        };
        assert!(said.contains(verdict) && said.is_empty() == (verdict == NONE), "{number} {what}: {said}");
        match saved {
            Ok(()) => assert!(std::fs::read(&path).unwrap() == disk(), "{number} {what}"),
            Err(_) => assert!(common::names(folder.path()).is_empty(), "{number} {what}"),
        }
    }
}

// What the rows are made of.

const TABLE: usize = 1536;
const FIRST: usize = 2048;
const BLOCK: usize = BLOCK_SIZE as usize + 512;

/// A dynamic disk of 4 MiB with two blocks, in order.
fn layer(writes: Vec<(u64, u64, u8)>) -> Layer {
    Layer { block_size: BLOCK_SIZE, size: 4 * MIB, writes }
}

fn whole() -> Vec<u8> {
    render(&layer(vec![(0, 900, 1), (5000, 9, 2)]), 0, None, &mut Vec::new())
}

/// One that compresses to nothing.
fn zero_vhd() -> Vec<u8> {
    render(&layer(vec![(3, 1, 1)]), 0, None, &mut Vec::new())
}

fn disk() -> Vec<u8> {
    let mut disk = Vec::new();
    render(&layer(vec![(3, 1, 1)]), 0, None, &mut disk);
    disk
}

/// A root and a leaf.
fn pair() -> (Vec<u8>, Vec<u8>) {
    let (root, leaf, _) = chain();
    (root, leaf)
}

fn chain() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let mut disk = Vec::new();
    let root = render(&layer(vec![(0, 900, 1)]), 0, None, &mut disk);
    let parent = Parent { uuid: uuid(0), timestamp: Timestamp(0), path: "0.vhd".to_owned() };
    let leaf = render(&layer(vec![(7, 9, 2)]), 1, Some(&parent), &mut disk);
    (root, leaf, disk)
}

fn name_of(error: &Error) -> String {
    let letters =
        |text: String| -> String { text.chars().take_while(|letter| letter.is_alphanumeric()).collect() };
    match error {
        Error::Chain { source, .. } => format!("Chain({}", letters(format!("{source:?}"))),
        Error::Format { source, .. } => letters(format!("{source:?}")),
        other => letters(format!("{other:?}")),
    }
}

/// The error of a leaf with this parent beside it; it is the disk if there is none.
fn opened(root: &[u8], leaf: &[u8]) -> String {
    let folder = tempdir().unwrap();
    std::fs::write(folder.path().join("0.vhd"), root).unwrap();
    std::fs::write(folder.path().join("1.vhd"), leaf).unwrap();
    let parents = Parents::Within(folder.path().to_owned());
    match Image::open_with(&folder.path().join("1.vhd"), &Opening { parents, ..Opening::default() }) {
        Ok(image) => {
            assert!(content_of(&image) == chain().2, "it is another disk");
            let warnings = image.chain_warnings().iter().map(|warning| format!("{warning:?}"));
            warnings.filter(|warning| warning == "HiddenLeaf").collect()
        }
        Err(error) => name_of(&error),
    }
}

/// The error of a leaf that is written where its parent is not at hand; with that beside it, it is the disk again.
fn alone(write: fn(&Image, &Path) -> Result<(), Error>) -> String {
    let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
    let (root, leaf, disk) = chain();
    std::fs::write(here.path().join("leaf.vhd"), &leaf).unwrap();
    let opening = Opening { parents: Parents::Ignore, ..Opening::default() };
    let image = Image::open_with(&here.path().join("leaf.vhd"), &opening).unwrap();
    let to = there.path().join("1.vhd");
    if let Err(error) = write(&image, &to) {
        assert!(common::names(there.path()).is_empty());
        return name_of(&error);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let body = runtime.block_on(async {
        let body = image.layer_body(Upload::default()).await.unwrap();
        common::collect(body).await
    });
    assert!(std::fs::read(&to).unwrap() == body, "as a file and as a stream");
    // What it says of itself and of its parent is what it said, and so is what it has.
    let written = Image::open_with(&to, &opening).unwrap();
    let (new, old) = (written.map().unwrap(), image.map().unwrap());
    let (header, was) = (new.header().unwrap(), old.header().unwrap());
    assert_eq!((new.footer().uuid, new.footer().timestamp), (old.footer().uuid, old.footer().timestamp));
    assert_eq!((header.parent_uuid, &header.parent_name), (was.parent_uuid, &was.parent_name));
    assert_eq!(header.parent_timestamp, was.parent_timestamp);
    let paths = |image: &Image| image.layers()[0].parent_paths().unwrap();
    assert_eq!(paths(&written), paths(&image));
    std::fs::write(there.path().join("0.vhd"), root).unwrap();
    let parents = Parents::Within(there.path().to_owned());
    let chain = Image::open_with(&to, &Opening { parents, ..Opening::default() }).unwrap();
    assert!(content_of(&chain) == disk, "it is another disk");
    String::new()
}

/// The error of a stream, before which no data came unless it is one of its end.
fn streamed(stream: &[u8], cuts: &[usize], len: Option<u64>) -> String {
    let decoder = len.map_or_else(Decoder::new, Decoder::with_len);
    let (found, summary) = fuzzing::decode(decoder, stream, cuts);
    let Err(error) = summary else { return String::new() };
    let late = matches!(
        error,
        vhd::Error::GapTooLong { .. }
            | vhd::Error::Truncated { what: Structure::Gap | Structure::EndFooter, .. }
    );
    assert!(late || !found.iter().any(|found| matches!(found, Found::Data(..))), "data came before {error}");
    format!("{error:?}").chars().take_while(|letter| letter.is_alphanumeric()).collect()
}

fn announced(more: i64) -> String {
    let stream = whole();
    streamed(&stream, &[], (stream.len() as u64).checked_add_signed(more))
}

fn changed(damage: fn(&mut Vec<u8>)) -> String {
    let mut stream = whole();
    damage(&mut stream);
    fuzzing::make_sum(&mut stream[HEADER..1536], 36);
    streamed(&stream, &[70_001], None)
}

/// The leaf's locator stands in its block, whose bitmap says that nothing is there.
fn in_a_block(url: &[u8]) -> String {
    let (root, mut leaf) = pair();
    renamed(&mut leaf, b"nothing.vhd");
    let at = leaf.len() - FOOTER_LEN - 512;
    leaf[at..at + url.len()].copy_from_slice(url);
    locator(&mut leaf, 8, &u32::try_from(url.len()).unwrap().to_be_bytes());
    locator(&mut leaf, 16, &(at as u64).to_be_bytes());
    fuzzing::make_sum(&mut leaf[HEADER..1536], 36);
    opened(&root, &leaf)
}

/// Nobody asks for it here, what reads and writes goes through the page cache: the files that do.
fn direct_io() -> String {
    fn look(folder: &Path, found: &mut String) {
        for path in folder.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                look(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let mut flags = text.match_indices("OFlags::DIRECT");
            if flags.any(|(at, flag)| !text[at + flag.len()..].starts_with("ORY"))
                || text.contains("O_DIRECT")
            {
                found.push_str(&path.display().to_string());
            }
        }
    }
    let mut found = String::new();
    look(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

fn with_parent(change: fn(Vec<u8>) -> Vec<u8>) -> String {
    let (root, leaf) = pair();
    opened(&change(root), &leaf)
}

fn fixed(root: &[u8]) -> Vec<u8> {
    let folder = tempdir().unwrap();
    let path = folder.path().join("root.vhd");
    std::fs::write(&path, root).unwrap();
    let disk = content_of(&common::open(&path).unwrap());
    let creator = Creator { application: *b"test", version: 1, os: [0; 4] };
    let footer = Footer::new(DiskType::Fixed, disk.len() as u64, uuid(0), Timestamp(1), creator);
    [&disk[..], &footer.to_bytes()].concat()
}

fn hidden(mut vhd: Vec<u8>) -> Vec<u8> {
    for start in [0, vhd.len() - FOOTER_LEN] {
        vhd[start + 85] = 1;
        fuzzing::make_sum(&mut vhd[start..start + FOOTER_LEN], 64);
    }
    vhd
}

fn hidden_leaf() -> String {
    let (root, leaf) = pair();
    opened(&root, &hidden(leaf))
}

fn cut(mut bytes: Vec<u8>, back: usize) -> Vec<u8> {
    bytes.truncate(bytes.len() - back);
    bytes
}

/// One bit is another: so far from the end of a gzip, or in the header of a member.
fn flipped(mut bytes: Vec<u8>, back: usize) -> Vec<u8> {
    let at = if back == 0 { 600 } else { bytes.len() - back };
    bytes[at] ^= 1;
    bytes
}

fn sized(field: &[u8; 12]) -> Vec<u8> {
    altered(&zero_vhd(), |head| head[124..136].copy_from_slice(field))
}

fn pax(text: &str) -> Vec<u8> {
    [member("x", b'x', text.len() as u64, text.as_bytes()), altered(&zero_vhd(), |_| ())].concat()
}

/// A line of an extended header, which begins with its own length.
fn record(text: &str) -> String {
    let mut lens = (1_usize..7).map(|digits| (digits, digits + text.len() + 2));
    let (_, len) = lens.find(|(digits, len)| len.to_string().len() == *digits).unwrap();
    format!("{len} {text}\n")
}

/// A member of which an extended header says so of its holes.
fn sparse(fields: &[&str]) -> Vec<u8> {
    pax(&fields.iter().map(|field| record(&format!("GNU.sparse.{field}"))).collect::<String>())
}

/// A gzip whose stream begins with so many of these bytes: behind its header, which has ten.
fn padded_with(block: &[u8], times: usize) -> Vec<u8> {
    let whole = gzip(&zero_vhd());
    let (header, stream) = whole.split_at(10);
    [header, &block.repeat(times), stream].concat()
}

fn long_name(name: &str) -> Vec<u8> {
    let long = member("././@LongLink", b'L', name.len() as u64, name.as_bytes());
    [long, altered(&zero_vhd(), |_| ())].concat()
}

/// What is said of a folder is not of the file behind it.
fn long_folder() -> Vec<u8> {
    let name = format!("{}/", "folder".repeat(30));
    let long = member("././@LongLink", b'L', name.len() as u64, name.as_bytes());
    [long, member("folder", b'5', 0, b""), altered(&zero_vhd(), |_| ())].concat()
}

fn special(kind: u8) -> Vec<u8> {
    [member("0.vhd", kind, 0, b""), vec![0; 1024]].concat()
}

/// So many layers, of which the first 31 have a content.
fn layers(count: usize) -> Vec<u8> {
    let empty = render(&layer(vec![]), 0, None, &mut Vec::new());
    let mut all = Vec::new();
    for number in 0..31 {
        all.extend(member(&format!("{number}.vhd"), b'0', empty.len() as u64, &empty));
    }
    all.extend(member("31.vhd", b'0', 0, b"").repeat(count - 31));
    all.resize(all.len() + 1024, 0);
    all
}
