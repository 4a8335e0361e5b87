//! qcow2 images written while a disk leaves, and read while they arrive.

mod common;

use bytes::Bytes;
use common::layers::{Layer, render};
use common::*;
use disk_stream::{
    Consume, Declared, Error, Image, PackBody, Package, Packed, Preview, Progress, Reading, Rest, Spool,
    SumSink, Sums, Unpack, Upload, receive,
};
use http_body_util::{BodyExt, Full};
use tempfile::tempdir;

async fn packed(vhd: Vec<u8>) -> Vec<u8> {
    BodyExt::collect(PackBody::new(Full::new(Bytes::from(vhd)), Package::Qcow2, None))
        .await
        .unwrap()
        .to_bytes()
        .to_vec()
}

/// What is on a disk after it came in chunks, one that held something else before or not, and the sums of it.
async fn arrived(image: &[u8], size: usize, rest: Rest) -> (Vec<u8>, Sums) {
    let sums = Sums::new();
    let packed = Packed::open(Full::new(Bytes::copy_from_slice(image)), Unpack::default()).await.unwrap();
    let body = packed.summed(&sums).chunked_body(size as u64, rest, Progress::new());
    let stream = BodyExt::collect(body).await.unwrap().to_bytes();
    let mut disk = vec![if rest == Rest::Zeros { 0 } else { 0x55 }; size];
    let mut at = 0;
    loop {
        let offset = u64::from_le_bytes(stream[at..at + 8].try_into().unwrap()) as usize;
        let len = u32::from_le_bytes(stream[at + 8..at + 12].try_into().unwrap()) as usize;
        at += 12;
        if len == 0 {
            return (disk, sums);
        }
        disk[offset..offset + len].copy_from_slice(&stream[at..at + len]);
        at += len;
    }
}

fn reading(bytes: &[u8]) -> Reading {
    let mut preview = Preview::new(Declared::Unknown);
    for piece in bytes.chunks(70_001) {
        if preview.feed(piece) != Reading::Unknown {
            break;
        }
    }
    preview.reading()
}

#[tokio::test]
async fn a_disk_leaves_as_qcow2_and_comes_back() {
    let folder = tempdir().unwrap();
    let raw = sample(folder.path());
    let image = open(&raw).unwrap();
    let whole = collect(image.vhd_body(Upload::default()).await.unwrap()).await;
    let disk = std::fs::read(&raw).unwrap();
    // Blocks whose bitmaps leave sectors out; and a disk without data.
    let mut sparse = Vec::new();
    let size = 12 * MIB + 512;
    let block_size = vhd::format::BLOCK_SIZE;
    let mut writes = vec![(8, 4, 3), (4 * 4096, 9, 1), (4 * 4096 + 100, 3, 2), (6 * 4096, 1, 4)];
    let layer = Layer { block_size, size, writes: writes.clone() };
    let scattered = render(&layer, 0, None, &mut sparse);
    let empty = Layer { block_size, size: 3 * MIB, writes: Vec::new() };
    let mut nothing = Vec::new();
    let blank = render(&empty, 0, None, &mut nothing);
    for (name, vhd, disk) in
        [("whole", whole, disk), ("sparse", scattered, sparse), ("blank", blank, nothing)]
    {
        let bytes = packed(vhd.clone()).await;
        assert_eq!(reading(&bytes), Reading::Forward, "{name}");
        let path = folder.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        let ours = Image::open_blocking(&path, Declared::Qcow2).unwrap();
        assert!(ours.virtual_size() >= disk.len() as u64, "{name}");
        assert!(content_of(&ours).starts_with(&disk), "{name}");
        if has("qemu-img") {
            run("qemu-img", &["check", "-f", "qcow2", text(&path)]);
            let theirs = folder.path().join("theirs.raw");
            run("qemu-img", &["convert", "-f", "qcow2", "-O", "raw", text(&path), text(&theirs)]);
            assert!(std::fs::read(&theirs).unwrap().starts_with(&disk), "{name}");
        }
        let size = disk.len().next_multiple_of(2 << 20) + (4 << 20);
        let mut sink = SumSink::default();
        // As a network brings it.
        vhd.chunks(1237).for_each(|piece| sink.feed(piece, &Progress::new()).unwrap());
        let back = sink.finish().unwrap();
        for rest in [Rest::Zeros, Rest::Anything] {
            let (there, sums) = arrived(&bytes, size, rest).await;
            assert!(there.starts_with(&disk) && there[disk.len()..].iter().all(|byte| *byte == 0), "{name}");
            assert_eq!(sums.difference(&back), None, "{name}, {rest:?}");
        }
    }
    // Its tables say in advance where everything is: blocks in another order than the disk's cannot be passed on.
    writes.reverse();
    let reversed = render(&Layer { block_size, size, writes }, 0, None, &mut Vec::new());
    let reversed = PackBody::new(Full::new(Bytes::from(reversed)), Package::Qcow2, None);
    assert!(matches!(BodyExt::collect(reversed).await, Err(Error::OutOfOrder)));
    // A part of a VHD is no image.
    let half = collect(image.vhd_body(Upload::default()).await.unwrap()).await;
    let half = Full::new(Bytes::from(half[..half.len() / 2].to_vec()));
    assert!(BodyExt::collect(PackBody::new(half, Package::Qcow2, None)).await.is_err());
}

#[tokio::test]
async fn what_cannot_be_read_as_it_comes_is_kept_up_to_a_limit() {
    if !has("qemu-img") {
        return;
    }
    let folder = tempdir().unwrap();
    let raw = sample(folder.path());
    let path = folder.path().join("compressed.qcow2");
    run("qemu-img", &["convert", "-c", "-O", "qcow2", text(&raw), text(&path)]);
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(reading(&bytes), Reading::Random);
    let kept = async |limit: u64| {
        let spool = Spool::new("somewhere/image", Declared::Qcow2, limit)?;
        receive(Full::new(Bytes::from(bytes.clone())), spool, Progress::new()).await
    };
    let image = kept(bytes.len() as u64).await.unwrap();
    assert!(content_of(&image) == std::fs::read(&raw).unwrap());
    image.check_unchanged().unwrap();
    let error = kept(bytes.len() as u64 - 1).await.unwrap_err().to_string();
    assert!(error.contains("somewhere/image") && error.contains("convert it"), "{error}");
}
