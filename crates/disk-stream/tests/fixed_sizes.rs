//! Fixed VHDs of any size that arrive packed: the footer is found wherever in the pieces that are read it lies.

mod common;

use bytes::Bytes;
use common::archive::{gzip, tar};
use common::content;
use disk_stream::{Declared, Error, Existing, Packed, Unpack};
use http_body_util::Full;
use proptest::prelude::*;
use tempfile::tempdir;
use vhd::format::{Creator, DiskType, Footer, Timestamp};

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;

fn fixed(size: usize) -> (Vec<u8>, Vec<u8>) {
    let disk: Vec<u8> = (0..size as u64).map(content).collect();
    let creator = Creator { application: *b"test", version: 1, os: [0; 4] };
    let footer =
        Footer::new(DiskType::Fixed, size as u64, uuid::Uuid::from_u128(1), Timestamp(1), creator).to_bytes();
    let vhd = [&disk[..], &footer].concat();
    (disk, vhd)
}

async fn unpacked(bytes: &[u8], declared: Declared, size: usize) -> Result<Vec<u8>, Error> {
    let folder = tempdir().unwrap();
    let path = folder.path().join("disk");
    let options = Unpack { declared, len: Some(bytes.len() as u64), ..Unpack::default() };
    let packed = Packed::open(Full::new(Bytes::copy_from_slice(bytes)), options).await?;
    packed.save_raw(&path, Existing::Refuse, size as u64).await?;
    Ok(std::fs::read(path).unwrap())
}

/// As it is, compressed, in an archive, and as what it is declared to be or not.
fn check(size: usize) {
    let (mut disk, vhd) = fixed(size);
    let sectors = size.next_multiple_of(512);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let unpacked = |bytes: &[u8], declared| runtime.block_on(unpacked(bytes, declared, sectors));
    disk.resize(sectors, 0);
    for (how, bytes, declared) in [
        ("declared", vhd.clone(), Declared::Vhd),
        ("not declared", vhd.clone(), Declared::Unknown),
        ("compressed", gzip(&vhd), Declared::Unknown),
        ("in an archive", tar(&[("0.vhd", &vhd)]), Declared::Unknown),
    ] {
        assert!(unpacked(&bytes, declared).unwrap() == disk, "{size} bytes, {how}");
    }
    // Without its footer, it is a raw disk to whom nothing was said, and nothing to others.
    let bare = &vhd[..size];
    assert!(unpacked(bare, Declared::Unknown).unwrap() == disk, "{size} bytes, raw");
    for (bytes, declared) in [(bare.to_vec(), Declared::Vhd), (tar(&[("0.vhd", bare)]), Declared::Unknown)] {
        assert!(unpacked(&bytes, declared).is_err(), "{size} bytes, without a footer");
    }
}

#[test]
fn around_the_pieces_that_are_read() {
    for pieces in 1..=2 {
        for off in [-1025, -513, -512, -511, -86, -1, 0, 1, 86, 511, 512, 513] {
            check((pieces * PIECE).checked_add_signed(off).unwrap());
        }
    }
    [1, 511, 512, 513, 5000].into_iter().for_each(check);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_any_size(size in 1..3 * PIECE) {
        check(size);
    }
}
