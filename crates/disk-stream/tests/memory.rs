//! The largest disk there is, in little memory. Alone in its binary: the peak is the process's.

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::*;
use disk_stream::{Error, Existing, Progress, Upload, Verifier, VhdSink, Zeros, receive, scan};
use http_body_util::BodyExt;
use tempfile::tempdir;
use vhd::format::{BLOCK_SIZE, MAX_VIRTUAL_SIZE, Timestamp};
use vhd::layout::{Dialect, Parameters, Segment};
use vhd::{BlockSet, Layout};

#[test]
fn a_disk_of_2040_gib_takes_less_than_32_mib() {
    let folder = tempdir().unwrap();
    let raw = folder.path().join("huge.raw");
    let size = MAX_VIRTUAL_SIZE;
    raw_disk(&raw, size, &[(0, MIB), (size / 2 - 100, 200), (size - 4096, 4096)]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let path = folder.path().join("huge.vhd");
    runtime.block_on(async {
        let image = open(&raw).unwrap();
        let body = image.vhd_body(Upload::default()).await.unwrap();
        assert_eq!(body.stream_len(), 1536 + 1_044_480 * 4 + 4 * (2 * MIB + 512) + 512);
        let saved = receive(body, VhdSink::create(&path, Existing::Refuse).unwrap(), Progress::new());
        assert_eq!(saved.await.unwrap().blocks, 4);

        let vhd = open(&path).unwrap();
        let body = vhd.vhd_body(Upload::default()).await.unwrap();
        let verified = receive(body, Verifier::of_vhd(&image), Progress::new()).await.unwrap();
        assert_eq!((verified.virtual_size, verified.compared_bytes), (size, 8 * MIB));

        for image in [&image, &vhd] {
            let mut body = image.raw_body(Upload::default()).unwrap();
            assert_eq!(body.stream_len(), size);
            for _ in 0..20 {
                body.frame().await.unwrap().unwrap();
            }
            drop(body);
            let chunked = image.chunked_body(Upload::default()).await.unwrap();
            assert!(chunked.stream_len() < 2 * MIB);
        }
    });
    full_table(&folder.path().join("full.vhd"));
    let peak = peak();
    assert!(peak < 32, "{peak} MiB");
}

/// Every block is there, with an empty bitmap and no data: as much metadata as a VHD can have.
fn full_table(path: &Path) {
    let parameters = Parameters {
        virtual_size: MAX_VIRTUAL_SIZE,
        uuid: uuid::Uuid::from_u128(1),
        timestamp: Timestamp(1),
        dialect: Dialect::XenapiRs,
    };
    let mut all = BlockSet::new(MAX_VIRTUAL_SIZE, BLOCK_SIZE);
    all.insert_bytes(0..MAX_VIRTUAL_SIZE);
    let layout = Layout::dynamic(&parameters, all).unwrap();
    let len = layout.stream_len();
    let footer = layout.footer().to_bytes();
    let file = File::create(path).unwrap();
    file.set_len(len).unwrap();
    let mut at = 0;
    for segment in layout.into_segments() {
        let Segment::Meta(bytes) = segment else { break };
        file.write_all_at(&bytes, at).unwrap();
        at += bytes.len() as u64;
    }
    file.write_all_at(&footer, len - 512).unwrap();
    let image = open(path).unwrap();
    assert_eq!(image.map().unwrap().allocated_blocks(), 1_044_480);
    // The first bitmap was written above, with all bits; its data are zeros.
    let found = scan(&image, BLOCK_SIZE, Zeros::Keep, &Progress::new()).unwrap();
    assert_eq!(found.iter().collect::<Vec<_>>(), [0]);
    let larger = Upload { virtual_size: Some(MAX_VIRTUAL_SIZE + 1), ..Upload::default() };
    let refused = image.save_vhd(&path.with_extension("larger"), Existing::Refuse, &larger).unwrap_err();
    assert!(matches!(refused, Error::Layout { source: vhd::Error::TooLarge { .. }, .. }), "{refused}");
}
