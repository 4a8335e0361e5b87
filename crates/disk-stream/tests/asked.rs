//! What is refused or read in one way only unless the caller asks for something else.

mod common;

use std::path::Path;

use common::layers::{Layer, render, uuid};
use common::{MIB, content_of};
use disk_stream::{Bitmaps, Error, Existing, Image, Opening, Parents, Upload};
use tempfile::tempdir;
use vhd::format::{BLOCK_SIZE, Timestamp};
use vhd::layout::Parent;

/// Of the first block, sectors 3 to 12 and a lonely one are there; `render` leaves other bytes in the rest.
fn written(size: u64) -> Layer {
    Layer { block_size: BLOCK_SIZE, size, writes: vec![(3, 10, 1), (700, 1, 2)] }
}

fn read(path: &Path, bitmaps: Bitmaps, parents: Parents) -> Result<Vec<u8>, Error> {
    let opening = Opening { bitmaps, parents, ..Opening::default() };
    let image = Image::open_with(path, &opening)?;
    let mut all = vec![0; usize::try_from(image.virtual_size()).unwrap()];
    image.reader().read(0, &mut all)?;
    // As it is written elsewhere, by way of the places in the file.
    let copy = path.with_extension("copy");
    image.save_raw(&copy, Existing::Replace, &Upload::default())?;
    assert!(std::fs::read(copy).unwrap() == all);
    Ok(all)
}

#[test]
fn sectors_that_a_bitmap_leaves_out() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("disk.vhd");
    let mut disk = Vec::new();
    let file = render(&written(3 * MIB), 0, None, &mut disk);
    std::fs::write(&path, &file).unwrap();
    assert!(read(&path, Bitmaps::Honour, Parents::Refuse).unwrap() == disk);
    // The file has 0x99 wherever nothing was written to the block.
    let shown = read(&path, Bitmaps::Ignore, Parents::Refuse).unwrap();
    assert_eq!((shown[0], shown[20 * 512], shown[(2 << 20) + 5]), (0x99, 0x99, 0));
    assert!(shown[3 * 512..13 * 512] == disk[3 * 512..13 * 512]);
    let refused = read(&path, Bitmaps::Refuse, Parents::Refuse).unwrap_err();
    let first = 1536 + 512 + 512;
    assert!(
        matches!(refused, Error::Format { source: vhd::Error::AbsentData { block: 0, at }, .. } if at == first),
        "{refused:?}"
    );
    // Where the file has zeros there, nobody can read it otherwise.
    let mut zeros = file.clone();
    zeros.iter_mut().skip(2560).take(2 << 20).filter(|byte| **byte == 0x99).for_each(|byte| *byte = 0);
    std::fs::write(&path, zeros).unwrap();
    let honoured = read(&path, Bitmaps::Honour, Parents::Refuse).unwrap();
    for bitmaps in [Bitmaps::Ignore, Bitmaps::Refuse] {
        assert!(read(&path, bitmaps, Parents::Refuse).unwrap() == honoured, "{bitmaps:?}");
    }
}

/// There, they are the parent's, whatever is asked for.
#[test]
fn sectors_that_a_bitmap_of_a_difference_leaves_out() {
    let folder = tempdir().unwrap();
    let mut disk = Vec::new();
    let root = Layer { block_size: BLOCK_SIZE, size: 3 * MIB, writes: vec![(0, 6144, 3)] };
    std::fs::write(folder.path().join("0.vhd"), render(&root, 0, None, &mut disk)).unwrap();
    let parent = Parent { uuid: uuid(0), timestamp: Timestamp(0), path: "0.vhd".to_owned() };
    let leaf = folder.path().join("1.vhd");
    std::fs::write(&leaf, render(&written(3 * MIB), 1, Some(&parent), &mut disk)).unwrap();
    for bitmaps in [Bitmaps::Honour, Bitmaps::Ignore] {
        let within = Parents::Within(folder.path().to_owned());
        assert!(read(&leaf, bitmaps, within).unwrap() == disk, "{bitmaps:?}");
    }
}

#[test]
fn disks_that_are_larger_than_a_vhd_should_be() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("large.vhd");
    // 3 TiB in blocks of 32 MiB, with a single one there.
    let size = 3 << 40;
    let layer = Layer { block_size: 32 << 20, size: 64 * MIB, writes: vec![(0, 9, 1)] };
    let mut file = render(&layer, 0, None, &mut Vec::new());
    let entries = u32::try_from(size / (32_u64 << 20)).unwrap();
    // Room for the larger table.
    let more = (entries as usize * 4).next_multiple_of(512) - 512;
    file.splice(2048..2048, vec![0xff; more]);
    let sector =
        u32::from_be_bytes(file[1536..1540].try_into().unwrap()) + u32::try_from(more / 512).unwrap();
    file[1536..1540].copy_from_slice(&sector.to_be_bytes());
    file[512 + 28..512 + 32].copy_from_slice(&entries.to_be_bytes());
    vhd::fuzzing::make_sum(&mut file[512..1536], 36);
    for start in [0, file.len() - 512] {
        file[start + 48..start + 56].copy_from_slice(&u64::to_be_bytes(size));
        vhd::fuzzing::make_sum(&mut file[start..start + 512], 64);
    }
    std::fs::write(&path, file).unwrap();
    let refused = common::open(&path).unwrap_err();
    assert!(matches!(refused, Error::Format { source: vhd::Error::TooLarge { .. }, .. }), "{refused:?}");
    let mut opening = Opening::default();
    opening.limits.virtual_size = 64 << 40;
    let image = Image::open_with(&path, &opening).unwrap();
    assert_eq!(image.virtual_size(), size);
    let mut start = [0; 512];
    image.reader().read(0, &mut start).unwrap();
    assert!(!vhd::zero::is_zero(&start));
    // No VHD can be made of it, and it is told before anything is written.
    let made = image.save_vhd(&folder.path().join("out"), Existing::Refuse, &Upload::default()).unwrap_err();
    assert!(matches!(made, Error::Layout { source: vhd::Error::TooLarge { .. }, .. }), "{made:?}");
    let small = render(&written(MIB), 0, None, &mut Vec::new());
    std::fs::write(&path, small).unwrap();
    assert_eq!(content_of(&Image::open_with(&path, &opening).unwrap()).len(), 1 << 20);
}
