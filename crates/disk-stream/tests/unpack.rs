//! Packed disks: whatever the packing and the order of the layers, the disk is the same, or there is a clear error.

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use common::archive::{altered, gzip, member, tar};
use common::layers::{Layer, layers, render, uuid};
use common::*;
use disk_stream::{
    Compression, Declared, Error, Existing, Format, Identified, Identity, Image, Opening, PackBody, Package,
    Packed, Packing, Parents, Problem, Progress, Rest, Unpack, Upload,
};
use http_body_util::{BodyExt, Full, StreamBody};
use proptest::prelude::*;
use tempfile::tempdir;
use uuid::Uuid;
use vhd::format::{BLOCK_SIZE, DiskType, Footer, Timestamp};
use vhd::layout::Parent;

/// As a network brings it: in pieces of odd lengths.
async fn open(bytes: &[u8], options: Unpack) -> Result<Packed, Error> {
    let frames: Vec<_> =
        bytes.chunks(70_001).map(|piece| Ok(http_body::Frame::data(Bytes::copy_from_slice(piece)))).collect();
    Packed::open(StreamBody::new(Frames(frames.into_iter())), options).await
}

type Frame = Result<http_body::Frame<Bytes>, std::io::Error>;
struct Frames(std::vec::IntoIter<Frame>);
impl futures_core::Stream for Frames {
    type Item = Frame;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Frame>> {
        std::task::Poll::Ready(self.0.next())
    }
}

async fn unpacked(bytes: &[u8], options: Unpack, size: u64) -> Result<Vec<u8>, Error> {
    let folder = tempdir().unwrap();
    let path = folder.path().join("disk");
    let saved = open(bytes, options).await?.save_raw(&path, Existing::Refuse, size).await;
    if let Err(error) = saved {
        assert!(names(folder.path()).is_empty(), "something is left after {error:?}");
        return Err(error);
    }
    Ok(std::fs::read(path).unwrap())
}

/// What a host makes of the framing, on a disk that was used before or was not.
async fn through_chunks(bytes: &[u8], size: usize, rest: Rest) -> Result<Vec<u8>, String> {
    let disk = vec![if rest == Rest::Zeros { 0 } else { 0x55 }; size];
    onto(disk, bytes, rest).await
}

/// What a host makes of the framing, on this disk.
async fn onto(mut disk: Vec<u8>, bytes: &[u8], rest: Rest) -> Result<Vec<u8>, String> {
    let options = Unpack { change: rest == Rest::Kept, ..Unpack::default() };
    let packed = open(bytes, options).await.map_err(|error| error.to_string())?;
    let body = packed.chunked_body(disk.len() as u64, rest, Progress::new());
    let stream = BodyExt::collect(body).await.map_err(|error| error.to_string())?.to_bytes();
    let mut at = 0;
    loop {
        let offset = u64::from_le_bytes(stream[at..at + 8].try_into().unwrap()) as usize;
        let len = u32::from_le_bytes(stream[at + 8..at + 12].try_into().unwrap()) as usize;
        at += 12;
        if (offset, len) == (0, 0) {
            assert_eq!(at, stream.len());
            return Ok(disk);
        }
        assert!(offset.is_multiple_of(512) && len.is_multiple_of(512) && len > 0);
        disk[offset..offset + len].copy_from_slice(&stream[at..at + len]);
        at += len;
    }
}

/// The layers from the leaf to the root, and the disk.
fn chain(layers: &[Layer]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut disk = Vec::new();
    let mut files = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let parent = number.checked_sub(1).map(|below| Parent {
            uuid: uuid(below),
            timestamp: Timestamp(0),
            path: "parent.vhd".to_owned(),
        });
        files.insert(0, render(layer, number, parent.as_ref(), &mut disk));
    }
    (files, disk)
}

/// Whole sectors: what is behind the disk's end in the last one is zero.
fn padded(mut disk: Vec<u8>, size: usize) -> Vec<u8> {
    disk.resize(size, 0);
    disk
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layers_in_any_order_are_one_disk(
        layers in layers(), order in Just((0..5_usize).collect::<Vec<_>>()).prop_shuffle(), compress: bool, old: bool,
    ) {
        let layers: Vec<_> = layers
            .into_iter()
            .map(|layer| Layer { block_size: BLOCK_SIZE, size: layer.size.next_multiple_of(512), ..layer })
            .collect();
        let (files, disk) = chain(&layers);
        let old = old && files.len() <= 3;
        let name = |level: usize| if old { ["snap.vhd", "image.vhd", "base.vhd"][level].to_owned() } else { format!("./{level}.vhd") };
        let names: Vec<_> = (0..files.len()).map(name).collect();
        let members: Vec<_> = order.iter().filter(|at| **at < files.len()).map(|at| (names[*at].as_str(), files[*at].as_slice())).collect();
        let archive = if compress { gzip(&tar(&members)) } else { tar(&members) };
        let size = disk.len() + 3 * BLOCK_SIZE as usize;
        let disk = padded(disk, size);
        let (saved, zeros, any) = runtime().block_on(async {
            (
                unpacked(&archive, Unpack::default(), size as u64).await,
                through_chunks(&archive, size, Rest::Zeros).await,
                through_chunks(&archive, size, Rest::Anything).await,
            )
        });
        prop_assert!(saved.unwrap() == disk);
        prop_assert!(zeros.unwrap() == disk);
        prop_assert!(any.unwrap() == disk);
    }

    /// A disk that is copied while it is used: whole, and then what has changed since.
    #[test]
    fn what_has_changed_goes_onto_what_there_is(layers in layers()) {
        let size = layers.iter().map(|layer| layer.size.next_multiple_of(512)).max().unwrap_or(512);
        let layers: Vec<_> = layers.into_iter().map(|layer| Layer { size, ..layer }).collect();
        let (mut files, disk) = chain(&layers);
        let copied = runtime().block_on(async {
            let mut copy = vec![0; size as usize];
            let mut rest = Rest::Zeros;
            while let Some(layer) = files.pop() {
                copy = onto(copy, &layer, rest).await?;
                rest = Rest::Kept;
            }
            Ok::<_, String>(copy)
        });
        prop_assert!(copied.unwrap() == disk);
    }
}

fn one_disk(size: u64) -> (Vec<u8>, Vec<u8>) {
    let layer = Layer { block_size: BLOCK_SIZE, size, writes: vec![(3, 90, 1), (5000, 8000, 2)] };
    let (files, disk) = chain(&[layer]);
    (files.into_iter().next().unwrap(), disk)
}

fn fixed(disk: &[u8]) -> Vec<u8> {
    let creator = vhd::format::Creator { application: *b"test", version: 0x0001_0000, os: [0; 4] };
    let footer = Footer::new(DiskType::Fixed, disk.len() as u64, uuid(1), Timestamp(1), creator);
    [disk, &footer.to_bytes()].concat()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// A frame that says the checksum of its content, as the tool of that name writes it.
fn zstd_with_sum(bytes: &[u8]) -> Vec<u8> {
    let mut frame = zstd(bytes);
    frame[4] |= 4;
    let sum = twox_hash::XxHash64::oneshot(0, bytes).to_le_bytes();
    [&frame[..], &sum[..4]].concat()
}

/// One with a checksum, of another disk's data.
fn zstd_other(bytes: &[u8]) -> Vec<u8> {
    let mut frame = zstd_with_sum(bytes);
    let sum = frame.len() - 4;
    let mut other = bytes.to_vec();
    other[7000] ^= 1;
    frame.splice(..sum, zstd_with_sum(&other)[..zstd(&other).len()].iter().copied());
    frame
}

/// A frame of one block as it is, which says that it has this length.
fn zstd_of_length(bytes: &[u8], len: u64) -> Vec<u8> {
    let block = u32::try_from(bytes.len()).unwrap() << 3 | 1;
    let head = [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &len.to_le_bytes(), &block.to_le_bytes()[..3]].concat();
    [&head[..], bytes].concat()
}

#[tokio::test]
async fn every_packing_is_recognised() {
    let (dynamic, disk) = one_disk(10 * MIB);
    let fixed = fixed(&disk);
    let (raw, blocks, flat) = (Format::Raw, Format::Vhd(DiskType::Dynamic), Format::Vhd(DiskType::Fixed));
    let (gz, zs) = (Some(Compression::Gzip), Some(Compression::Zstd));
    let prefixed = |head: &mut [u8]| {
        head[257..265].copy_from_slice(b"ustar\x0000");
        head[345] = b'.';
    };
    let len = dynamic.len() as u64;
    let sized = |head: &mut [u8]| {
        head[124..136].copy_from_slice(&[&[0x80, 0, 0, 0][..], &len.to_be_bytes()].concat());
    };
    let longer = |name: &str| member("././@LongLink", b'L', name.len() as u64, name.as_bytes());
    let endless = member("0.vhd", b'0', len, &dynamic);
    // (what, bytes, compression, archive, format, whether the size is known)
    let cases = [
        ("raw", disk.clone(), None, false, raw, true),
        ("dynamic", dynamic.clone(), None, false, blocks, true),
        ("raw.gz", gzip(&disk), gz, false, raw, false),
        ("two gzip members", [gzip(&disk[..9999]), gzip(&disk[9999..])].concat(), gz, false, raw, false),
        ("dynamic.gz", gzip(&dynamic), gz, false, blocks, true),
        ("fixed.gz", gzip(&fixed), gz, false, raw, false),
        ("raw.zst", zstd(&disk), zs, false, raw, false),
        ("raw.zst with a checksum", zstd_with_sum(&disk), zs, false, raw, false),
        ("dynamic.zst", zstd(&dynamic), zs, false, blocks, true),
        ("0.vhd.tar", tar(&[("./0.vhd", &dynamic)]), None, true, blocks, true),
        ("0.vhd.tar.gz", gzip(&tar(&[("0.vhd", &dynamic)])), gz, true, blocks, true),
        ("tar.gz without an end mark", gzip(&endless), gz, true, blocks, true),
        ("fixed in tar.gz", gzip(&tar(&[("0.vhd", &fixed)])), gz, true, flat, true),
        ("any.vhd in tar.zst", zstd(&tar(&[("my disk.vhd", &dynamic)])), zs, true, blocks, true),
        ("with a leftover", tar(&[("swap.vhd", b"what"), ("0.vhd", &dynamic)]), None, true, blocks, true),
        ("raw in tar.gz", gzip(&tar(&[("disk.raw", &disk)])), gz, true, raw, true),
        ("a name after a name", altered(&dynamic, |head| head[6] = b'x'), None, true, blocks, true),
        ("a prefix", altered(&dynamic, prefixed), None, true, blocks, true),
        ("a size in base 256", altered(&dynamic, sized), None, true, blocks, true),
        ("a long name", [longer("./0.vhd\0"), altered(&dynamic, |_| ())].concat(), None, true, blocks, true),
        ("another number", tar(&[("00.vhd", &dynamic)]), None, true, blocks, true),
    ];
    for (what, bytes, compression, archive, format, sized) in cases {
        let options = || Unpack { len: Some(bytes.len() as u64), ..Unpack::default() };
        let found = *open(&bytes, options()).await.unwrap().found();
        assert_eq!(
            (found.compression, found.archive, found.format),
            (compression, archive, format),
            "{what}"
        );
        assert_eq!(found.virtual_size, sized.then_some(disk.len() as u64), "{what}");
        assert!(unpacked(&bytes, options(), 10 * MIB).await.unwrap() == disk, "{what}");
        for rest in [Rest::Zeros, Rest::Anything] {
            assert!(through_chunks(&bytes, disk.len(), rest).await.unwrap() == disk, "{what}");
        }
    }
    // A fixed VHD declared as one has its own size; a raw disk is never looked into.
    let declared = |declared| Unpack { declared, len: Some(fixed.len() as u64), ..Unpack::default() };
    assert_eq!(open(&fixed, declared(Declared::Vhd)).await.unwrap().found().virtual_size, Some(10 * MIB));
    assert!(unpacked(&fixed, declared(Declared::Raw), 10 * MIB + 512).await.unwrap() == fixed);
    let gz = padded(gzip(&disk), MIB as usize);
    let bare = Unpack { declared: Declared::Raw, packing: Packing::Bare, ..Unpack::default() };
    assert!(unpacked(&gz, bare, MIB).await.unwrap() == gz);
}

#[tokio::test]
async fn gzip_may_have_many_members_and_zeros_behind_them() {
    let (_, disk) = one_disk(MIB);
    let empty = gzip(b"");
    let cut = disk.len() / 3;
    let members = [gzip(&disk[..cut]), empty.repeat(20_000), gzip(&disk[cut..]), empty].concat();
    let options = || Unpack { declared: Declared::Raw, ..Unpack::default() };
    for zeros in [0, 1, 700, 3 << 20] {
        let padded = [members.clone(), vec![0; zeros]].concat();
        assert!(unpacked(&padded, options(), MIB).await.unwrap() == disk, "{zeros} zeros");
    }
    let whole = gzip(&disk);
    let cut = (whole.len() - 8..whole.len()).map(|len| whole[..len].to_vec());
    for bad in cut.chain([[whole.clone(), vec![0; 700], vec![1]].concat()]) {
        let error = unpacked(&bad, options(), MIB).await.unwrap_err();
        let Error::Packed(problem) = &error else { panic!("{error:?}") };
        assert!(problem.to_string().contains("gzip stream is damaged"), "{problem}");
    }
}

#[tokio::test]
async fn bad_input_is_refused_with_a_reason_and_leaves_nothing() {
    let (dynamic, disk) = one_disk(10 * MIB);
    let layer = |size, writes| Layer { block_size: BLOCK_SIZE, size, writes };
    let (two, _) = chain(&[layer(10 * MIB, vec![(0, 5000, 1)]), layer(10 * MIB, vec![(7, 9, 2)])]);
    let (three, _) = chain(&[layer(MIB, vec![]), layer(MIB, vec![(9, 9, 1)]), layer(MIB, vec![(1, 1, 2)])]);
    let small = chain(&[
        Layer { block_size: 4096, ..layer(MIB, vec![(0, 3, 1)]) },
        Layer { block_size: 4096, ..layer(MIB, vec![(7, 9, 2)]) },
    ]);
    let lying = |size: u64| [member("0.vhd", b'0', size, &dynamic), vec![0; 1024]].concat();
    let mut bad_sum = tar(&[("0.vhd", &dynamic)]);
    bad_sum[600] ^= 1;
    let mut bad_crc = gzip(&disk);
    let len = bad_crc.len();
    bad_crc[len - 6] ^= 1;
    let mut bad_xxh = zstd_with_sum(&disk);
    *bad_xxh.last_mut().unwrap() ^= 1;
    let bomb = gzip(&vec![0; 64 << 20]);
    let link = [member("0.vhd", b'2', 0, b""), vec![0; 1024]].concat();
    let longer = |name: &str| member("././@LongLink", b'L', name.len() as u64, name.as_bytes());
    let mut cut_trailer = gzip(&member("0.vhd", b'0', dynamic.len() as u64, &dynamic));
    cut_trailer.truncate(cut_trailer.len() - 3);
    let endless = [tar(&[("0.vhd", &dynamic)]), vec![0; 5 << 20]].concat();
    let pax = |text: &str| {
        [member("x", b'x', text.len() as u64, text.as_bytes()), altered(&dynamic, |_| ())].concat()
    };
    let sized = |field: &[u8; 12]| altered(&dynamic, |head| head[124..136].copy_from_slice(field));
    let (many, _) = chain(&vec![layer(MIB, vec![]); 31]);
    let numbers: Vec<_> = (0..31).map(|number| format!("{number}.vhd")).collect();
    let many: Vec<_> =
        numbers.iter().zip(&many).map(|(name, file)| (name.as_str(), file.as_slice())).collect();
    let special = |kind: u8| [member("0.vhd", kind, 0, b""), vec![0; 1024]].concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("junk behind the gzip", [gzip(&disk), vec![7; 700]].concat(), "gzip stream is damaged"),
        ("a negative size", sized(&[0xff; 12]), "size is no number"),
        ("a size that is not octal", sized(b"99999999999\0"), "size is no number"),
        (
            "a size beyond all measure",
            sized(&[0x80, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]),
            "beyond all measure",
        ),
        ("a name in Latin-1", altered(&dynamic, |head| head[0] = 0xe4), "not UTF-8"),
        (
            "a name without end",
            [longer(&"9".repeat(70_000)), tar(&[("0.vhd", &dynamic)])].concat(),
            "too long",
        ),
        ("a FIFO", special(b'6'), "neither a file nor a directory"),
        ("a device", special(b'3'), "neither a file nor a directory"),
        ("a hard link", special(b'1'), "neither a file nor a directory"),
        ("a folder of the name", special(b'5'), "no disk in its tar"),
        ("31 layers", tar(&many), "30"),
        ("another number and a number", tar(&[("00.vhd", &two[0]), ("1.vhd", &two[1])]), "several disks"),
        ("nothing", vec![], "is empty"),
        ("nothing, compressed", gzip(b""), "is empty"),
        ("cut gzip", gzip(&disk)[..2000].to_vec(), "gzip stream is damaged or cut short"),
        ("gzip with another checksum", bad_crc, "gzip stream is damaged"),
        ("zstd with another checksum", bad_xxh, "zstd stream is damaged"),
        (
            "zstd cut in its checksum",
            zstd_with_sum(&disk)[..zstd(&disk).len() + 3].to_vec(),
            "zstd stream is damaged",
        ),
        ("zstd with a block that is another one", zstd_other(&disk), "zstd stream is damaged"),
        ("zstd of another length", zstd_of_length(&disk[..4096], 4097), "zstd stream is damaged"),
        ("two zstd frames", zstd(&disk).repeat(2), "zstd stream is damaged"),
        ("compressed twice", gzip(&gzip(&disk)), "compressed twice"),
        ("a bomb", gzip(&[bomb.clone(), bomb].concat()), "compressed twice"),
        ("a bomb of zeros", gzip(&vec![0; 64 << 20]), "does not fit into 10485760 bytes"),
        ("a bomb behind the archive", gzip(&endless), "something follows its end"),
        ("cut tar", tar(&[("0.vhd", &dynamic)])[..9000].to_vec(), "is not a usable VHD"),
        (
            "no end mark",
            tar(&[("0.vhd", &dynamic)])[..512 + 512 + dynamic.len()].to_vec(),
            "without its end mark",
        ),
        ("no end mark, and gzip cut in its own", cut_trailer, "gzip stream is damaged or cut short"),
        ("a header's checksum", bad_sum, "checksum of a header"),
        ("size too small", lying(dynamic.len() as u64 - 512), "is not a usable VHD"),
        ("size too large", lying(dynamic.len() as u64 + 512), "is not a usable VHD"),
        ("size beyond the archive", lying(1 << 32), "is not a usable VHD"),
        ("two disks", tar(&[("a.vhd", &dynamic), ("b.vhd", &dynamic)]), "\"a.vhd\" and \"b.vhd\""),
        ("two raw disks", tar(&[("a.raw", &disk), ("b.raw", &disk)]), "\"a.raw\" and \"b.raw\""),
        ("one layer twice", tar(&[("0.vhd", &two[0]), ("./0.vhd", &two[0])]), "several disks"),
        ("numbers and names", tar(&[("0.vhd", &two[0]), ("base.vhd", &two[1])]), "several disks"),
        ("no disk", tar(&[]), "no disk in its tar"),
        ("missing base", tar(&[("0.vhd", &two[0])]), "the parent of layer 0"),
        ("missing leaf", tar(&[("1.vhd", &two[1])]), "no 0.vhd"),
        ("missing middle", tar(&[("0.vhd", &three[0]), ("2.vhd", &three[2])]), "no 1.vhd"),
        ("swapped", tar(&[("0.vhd", &two[1]), ("1.vhd", &two[0])]), "chain"),
        ("another parent", tar(&[("0.vhd", &three[0]), ("1.vhd", &three[2])]), "names the parent"),
        ("a whole disk on another", tar(&[("0.vhd", &dynamic), ("1.vhd", &two[1])]), "chain"),
        ("differencing, alone", two[0].clone(), "the parent of layer 0"),
        ("small blocks", tar(&[("0.vhd", &small.0[0]), ("1.vhd", &small.0[1])]), "blocks of 4096 bytes"),
        ("a path upwards", tar(&[("../0.vhd", &dynamic)]), "\"../0.vhd\""),
        ("an absolute path", tar(&[("/etc/0.vhd", &dynamic)]), "\"/etc/0.vhd\""),
        ("a folder", tar(&[("disks/0.vhd", &dynamic)]), "not directly in it"),
        ("a link", link, "neither a file nor a directory"),
        ("an OVF package", tar(&[("appliance.ovf", b"<xml/>")]), "convert the disk"),
        ("an empty member", tar(&[("0.vhd", b"")]), "which is empty"),
        ("a raw layer below", tar(&[("0.vhd", &two[0]), ("1.vhd", &disk)]), "must come first"),
        ("an odd extended header", pax("5 size\n"), "extended header is malformed"),
        ("a sparse member", pax("22 GNU.sparse.major=1\n"), "--sparse"),
        ("another size in an extended header", pax("10 size=9\n"), "is not a usable VHD"),
        ("qcow2", [b"QFI\xfb".to_vec(), vec![0; 1000]].concat(), "qcow2"),
        ("qcow2 in an archive", tar(&[("disk", &[b"QFI\xfb".to_vec(), vec![0; 1000]].concat())]), "qcow2"),
        ("a larger disk", one_disk(10 * MIB + 512).0, "does not fit into 10485760"),
        ("a cut VHD", dynamic[..dynamic.len() - 512].to_vec(), "is not a usable VHD"),
        ("more than a VHD", [dynamic.clone(), vec![1; 512]].concat(), "is not a usable VHD"),
    ];
    for (what, bytes, reason) in cases {
        let error = unpacked(&bytes, Unpack::default(), 10 * MIB).await.expect_err(what);
        let Error::Packed(problem) = &error else { panic!("{what}: {error:?}") };
        let text = match &**problem {
            Problem::Chain(source) => format!("{problem}: {source}"),
            problem => problem.to_string(),
        };
        assert!(text.contains(reason), "{what}: {text}");
        assert!(through_chunks_fails(&bytes, 10 * MIB).await, "{what}");
    }
    let (vhd, raw) = (Declared::Vhd, Declared::Raw);
    let declared = [
        (vhd, Packing::Unknown, disk.clone(), "declared as a VHD"),
        (vhd, Packing::Bare, gzip(&dynamic), "declared as a VHD"),
        (raw, Packing::Unknown, tar(&[("0.vhd", &dynamic)]), "declared as raw"),
        (vhd, Packing::Archive, dynamic.clone(), "declared as a tar archive"),
        (raw, Packing::Archive, gzip(&disk), "declared as a tar archive"),
        (Declared::Qcow2, Packing::Unknown, disk.clone(), "qcow2"),
    ];
    for (declared, packing, bytes, reason) in declared {
        let options = Unpack { declared, packing, len: Some(bytes.len() as u64), change: false };
        let error = unpacked(&bytes, options, 10 * MIB).await.expect_err(reason);
        let Error::Packed(problem) = error else { panic!("{error:?}") };
        assert!(problem.to_string().contains(reason), "{problem}");
    }
}

/// The end mark never comes.
async fn through_chunks_fails(bytes: &[u8], size: u64) -> bool {
    let Ok(packed) = open(bytes, Unpack::default()).await else { return true };
    let body = packed.chunked_body(size, Rest::Zeros, Progress::new());
    BodyExt::collect(body).await.is_err()
}

#[tokio::test]
async fn what_is_packed_is_what_is_unpacked() {
    let folder = tempdir().unwrap();
    let raw = sample(folder.path());
    let image = common::open(&raw).unwrap();
    let size = image.virtual_size().next_multiple_of(u64::from(BLOCK_SIZE));
    let disk = padded(std::fs::read(&raw).unwrap(), size as usize);
    let vhd = || image.vhd_body(Upload::default());
    for (package, level) in [
        (Package::VhdArchive { layers: 1 }, None),
        (Package::VhdArchive { layers: 1 }, Some(1)),
        (Package::Vhd, None),
    ] {
        let packed = collect(PackBody::new(vhd().await.unwrap(), package, level)).await;
        let found = *open(&packed, Unpack::default()).await.unwrap().found();
        assert_eq!(
            (found.archive, found.virtual_size),
            (package == Package::VhdArchive { layers: 1 }, Some(size))
        );
        assert!(unpacked(&packed, Unpack::default(), size).await.unwrap() == disk, "{package:?}");
    }
    let package = Package::RawArchive(disk.len() as u64);
    let packed = collect(PackBody::new(Full::new(Bytes::from(disk.clone())), package, Some(9))).await;
    assert!(unpacked(&packed, Unpack::default(), size).await.unwrap() == disk);
    // GNU tar agrees.
    let archive = folder.path().join("archive");
    std::fs::write(&archive, packed).unwrap();
    if has("tar") {
        let listed = run("tar", &["-tvzf", text(&archive)]);
        assert!(listed.contains(&size.to_string()) && listed.trim_end().ends_with("disk.raw"), "{listed}");
    }

    // A disk that is not whole is no package.
    let whole = collect(vhd().await.unwrap()).await;
    for (bytes, package) in [
        (whole[..whole.len() - 512].to_vec(), Package::VhdArchive { layers: 1 }),
        (disk.clone(), Package::Vhd),
        (disk.clone(), Package::RawArchive(size + 1)),
        (disk, Package::RawArchive(size - 1)),
    ] {
        let packing = PackBody::new(Full::new(Bytes::from(bytes)), package, None);
        assert!(BodyExt::collect(packing).await.is_err(), "{package:?}");
    }
}

#[tokio::test]
async fn a_body_that_fails_at_any_place_is_no_disk() {
    let (dynamic, _) = one_disk(10 * MIB);
    let archive = gzip(&tar(&[("0.vhd", &dynamic)]));
    for len in (0..archive.len()).step_by(archive.len() / 40) {
        let broken = || Err(std::io::Error::other("the cable"));
        let frames = vec![Ok(http_body::Frame::data(Bytes::copy_from_slice(&archive[..len]))), broken()];
        let error = match Packed::open(StreamBody::new(Frames(frames.into_iter())), Unpack::default()).await {
            Err(error) => error,
            Ok(packed) => {
                let body = packed.chunked_body(10 * MIB, Rest::Zeros, Progress::new());
                BodyExt::collect(body).await.unwrap_err()
            }
        };
        assert!(matches!(error, Error::Body { position, .. } if position == len as u64), "{len}: {error:?}");
    }
    // Dropping it at any time is no trouble either.
    let packed = Packed::open(Full::new(Bytes::from(archive)), Unpack::default()).await.unwrap();
    drop(packed.chunked_body(10 * MIB, Rest::Zeros, Progress::new()));
}

/// XAPI's exports of a disk's versions, each against the one before, as a chain that any tool can follow.
#[tokio::test]
async fn layers_that_came_one_by_one_are_a_chain() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (raw, upload) = (at("disk.raw"), Upload::default);
    let size = 10 * MIB;
    std::fs::write(&raw, vec![7; size as usize]).unwrap();
    common::open(&raw).unwrap().save_vhd(&at("full"), Existing::Refuse, &upload()).unwrap();
    for (number, byte) in [("first", 1_u8), ("second", 2)] {
        let before = at("before.raw");
        std::fs::copy(&raw, &before).unwrap();
        let file = File::options().write(true).open(&raw).unwrap();
        file.write_all_at(&[byte; 5000], u64::from(byte) * 4 * MIB + 1024).unwrap();
        let before = common::open(&before).unwrap();
        common::open(&raw)
            .unwrap()
            .save_difference(&before, &at(number), Existing::Refuse, &upload())
            .unwrap();
    }
    let disk = std::fs::read(&raw).unwrap();
    let layer = |file: &str, number: u128, last: bool| {
        let path = format!("{}.vhd", number + 1);
        let parent = Parent { uuid: Uuid::from_u128(number + 2), timestamp: Timestamp(0), path };
        let identity = Identity { uuid: Uuid::from_u128(number + 1), parent: (!last).then_some(parent) };
        Identified::new(Full::new(Bytes::from(std::fs::read(at(file)).unwrap())), identity)
    };
    let layers = async |files: &[&str], last: &str| {
        let mut stream = Vec::new();
        for (number, file) in files.iter().enumerate() {
            let collected = BodyExt::collect(layer(file, number as u128, file == &last)).await;
            stream.extend_from_slice(&collected.unwrap().to_bytes());
        }
        Full::new(Bytes::from(stream))
    };
    let names = ["second", "first", "full"];
    let package = Package::VhdArchive { layers: 3 };
    let packed = collect(PackBody::new(layers(&names, "full").await, package, Some(1))).await;
    assert!(unpacked(&packed, Unpack::default(), size).await.unwrap() == disk);

    // Their names hold outside of the archive, too.
    std::fs::write(at("archive"), &packed).unwrap();
    let chain = at("chain");
    std::fs::create_dir(&chain).unwrap();
    if has("tar") {
        run("tar", &["-xzf", text(&at("archive")), "-C", text(&chain)]);
        let opening = Opening { parents: Parents::Within(chain.clone()), ..Opening::default() };
        let image = Image::open_with(&chain.join("0.vhd"), &opening).unwrap();
        assert_eq!((image.layers().len(), image.chain_warnings()), (3, &[][..]));
        image.save_raw(&at("again.raw"), Existing::Refuse, &upload()).unwrap();
        assert!(std::fs::read(at("again.raw")).unwrap() == disk);
    }

    // Too few, too many, in the wrong order, or not the kind that they should be.
    for (count, files, last) in [
        (4, &names[..], "full"),
        (2, &names[..], "full"),
        (3, &["second", "full", "first"][..], "full"),
        (1, &["second"][..], ""),
    ] {
        let package = Package::VhdArchive { layers: count };
        let packing = PackBody::new(layers(files, last).await, package, None);
        assert!(BodyExt::collect(packing).await.is_err(), "{count} of {files:?}");
    }
    for (file, last) in [("full", false), ("first", true), ("disk.raw", true)] {
        assert!(BodyExt::collect(layer(file, 0, last)).await.is_err(), "{file}");
    }
}

/// What lies behind the end of a layer is zero for those on it, and would show what the layer below it has there.
#[test]
fn a_layer_smaller_than_its_parent_is_refused() {
    let layer = |size, writes| Layer { block_size: BLOCK_SIZE, size, writes };
    let (files, _) = chain(&[
        layer(8 * MIB, vec![(0, 100, 1), (10_000, 100, 2)]),
        layer(4 * MIB, vec![(50, 10, 3)]),
        layer(8 * MIB, vec![(60, 10, 4)]),
    ]);
    let members: Vec<_> =
        ["0.vhd", "1.vhd", "2.vhd"].into_iter().zip(files.iter().map(Vec::as_slice)).collect();
    let archive = tar(&members);
    let refused = runtime().block_on(unpacked(&archive, Unpack::default(), 8 * MIB)).unwrap_err();
    let Error::Packed(problem) = &refused else { panic!("{refused:?}") };
    assert!(
        matches!(&**problem, Problem::ChildSmaller { name, size, parent }
            if name == "1.vhd" && *size == 4 * MIB && *parent == 8 * MIB),
        "{problem:?}"
    );
    // Where it is, it can be read, as what it says does.
    let folder = tempdir().unwrap();
    let path = folder.path().join("archive.tar");
    std::fs::write(&path, archive).unwrap();
    let image = common::open(&path).unwrap();
    assert!(content_of(&image)[4 << 20..].iter().all(|byte| *byte == 0));
}
