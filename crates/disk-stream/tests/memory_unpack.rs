//! Archives that are larger than the memory that taking them apart may need. Alone in its binary: the peak is the process's.

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use common::*;
use disk_stream::{Existing, Packed, Parents, Unpack, Upload};
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::Frame;
use http_body_util::StreamBody;
use tempfile::tempdir;

/// A file, as a network brings it.
struct Arriving(File);

impl futures_core::Stream for Arriving {
    type Item = std::io::Result<Frame<Bytes>>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut piece = vec![0; 64 << 10];
        Poll::Ready(match self.0.read(&mut piece) {
            Ok(0) => None,
            Ok(len) => Some(Ok(Frame::data(Bytes::from(piece).slice(..len)))),
            Err(error) => Some(Err(error)),
        })
    }
}

/// 192 MiB of data in a disk of 1 GiB, and two layers over it that change something in every other block.
fn layers(folder: &Path) -> Vec<PathBuf> {
    let raw = folder.join("disk.raw");
    let piece: Vec<u8> = (0..MIB as usize).map(|n| (n * 7 % 253) as u8).collect();
    let file = File::create(&raw).unwrap();
    file.set_len(1 << 30).unwrap();
    for n in 0..192 {
        std::os::unix::fs::FileExt::write_all_at(&file, &piece, n * 5 * MIB).unwrap();
    }
    let path = |n: usize| folder.join(format!("{n}.vhd"));
    let opening = disk_stream::Opening { parents: Parents::Within(folder.to_owned()), ..Default::default() };
    open(&raw).unwrap().save_vhd(&path(2), Existing::Refuse, &Upload::default()).unwrap();
    for n in [1, 0] {
        for block in 0..96 {
            let at = block * 10 * MIB + n as u64 * 4096;
            std::os::unix::fs::FileExt::write_all_at(&file, &[n as u8 + 1; 4096], at).unwrap();
        }
        let below = disk_stream::Image::open_with(&path(n + 1), &opening).unwrap();
        let now = open(&raw).unwrap();
        now.save_difference(&below, &path(n), Existing::Refuse, &Upload::default()).unwrap();
    }
    (0..3).map(path).collect()
}

/// As `tar` writes it; the members are copied in pieces.
fn pack(archive: &Path, members: &[PathBuf]) {
    let mut gzip = GzEncoder::new(File::create(archive).unwrap(), Compression::fast());
    for path in members {
        let (len, mut head) = (path.metadata().unwrap().len(), [0; 512]);
        let name = path.file_name().unwrap().to_str().unwrap();
        head[..name.len()].copy_from_slice(name.as_bytes());
        head[100..108].copy_from_slice(b"0000644\0");
        head[124..136].copy_from_slice(format!("{len:011o}\0").as_bytes());
        head[156..164].copy_from_slice(b"0\0\0\0\0\0\0\0");
        head[257..265].copy_from_slice(b"ustar  \0");
        head[148..156].fill(b' ');
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        gzip.write_all(&head).unwrap();
        std::io::copy(&mut File::open(path).unwrap(), &mut gzip).unwrap();
        gzip.write_all(&vec![0; (len.next_multiple_of(512) - len) as usize]).unwrap();
    }
    gzip.write_all(&[0; 1024]).unwrap();
    gzip.finish().unwrap();
}

#[test]
fn a_chain_in_any_order_is_unpacked_in_less_than_64_mib() {
    let folder = tempdir().unwrap();
    let layers = layers(folder.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for (name, order) in [("leaf first", [0, 1, 2]), ("base first", [2, 1, 0]), ("middle first", [1, 2, 0])] {
        let (archive, disk) = (folder.path().join("image.tar.gz"), folder.path().join("unpacked.raw"));
        pack(&archive, &order.map(|n| layers[n].clone()));
        runtime.block_on(async {
            let body = StreamBody::new(Arriving(File::open(&archive).unwrap()));
            let packed = Packed::open(body, Unpack::default()).await.unwrap();
            packed.save_raw(&disk, Existing::Replace, 1 << 30).await.unwrap();
        });
        assert!(same(&disk, &folder.path().join("disk.raw")), "{name}");
    }
    let peak = peak();
    assert!(peak < 64, "{peak} MiB");
}

fn same(a: &Path, b: &Path) -> bool {
    let [mut a, mut b] = [a, b].map(|path| File::open(path).unwrap());
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    (0..1024).all(|_| {
        a.read_exact(&mut left).unwrap();
        b.read_exact(&mut right).unwrap();
        left == right
    })
}
