//! Disks of every shape against a flat model.

mod common;

use std::path::Path;

use bytes::Bytes;
use common::*;
use disk_stream::{Consume, Existing, Progress, RawSink, Upload, Verifier, VhdSink, receive};
use http_body_util::Full;
use proptest::prelude::*;
use tempfile::tempdir;
use uuid::Uuid;
use vhd::format::{Creator, DiskType, DynamicHeader, Footer, Timestamp, bitmap_len};

/// A VHD as some writer may have made it.
#[derive(Debug, Clone)]
struct Shape {
    size: u64,
    block_size: u32,
    /// For each block: where in the order of the file (`None`: not allocated), the gap before it in
    /// sectors, and a seed of its bitmap (0: empty, 1: full).
    blocks: Vec<(Option<u32>, u16, u64)>,
    table_gap: u16,
    spare_entries: u32,
    tail_gap: u16,
}

fn shape() -> impl Strategy<Value = Shape> {
    let block_size = prop::sample::select(vec![4096_u32, 65536, 512 << 10, 2 << 20, 4 << 20]);
    (block_size, 1..9_u64, 0..5000_u64).prop_flat_map(|(block_size, blocks, cut)| {
        let size = (blocks * u64::from(block_size)).saturating_sub(cut).max(1);
        let count = usize::try_from(size.div_ceil(u64::from(block_size))).unwrap();
        let block = (prop::option::weighted(0.7, any::<u32>()), 0..9_u16, 0..6_u64);
        let blocks = prop::collection::vec(block, count);
        (blocks, 0..5_u16, 0..200_u32, 0..20_u16).prop_map(
            move |(blocks, table_gap, spare_entries, tail_gap)| Shape {
                size,
                block_size,
                blocks,
                table_gap,
                spare_entries,
                tail_gap,
            },
        )
    })
}

/// The file, and the disk it stands for.
fn render(shape: &Shape) -> (Vec<u8>, Vec<u8>) {
    let footer = Footer::new(
        DiskType::Dynamic,
        shape.size,
        Uuid::from_u128(7),
        Timestamp(7),
        Creator { application: *b"win ", version: 0x000a_0000, os: *b"Wi2k" },
    );
    let count = u32::try_from(shape.blocks.len()).unwrap();
    let table_offset = 1536 + u64::from(shape.table_gap) * 512;
    let mut header = DynamicHeader::new(table_offset, count + shape.spare_entries);
    header.block_size = shape.block_size;
    let mut file = footer.to_bytes().to_vec();
    file.extend_from_slice(&header.to_bytes());
    let table = usize::try_from(table_offset).unwrap();
    file.resize(table, 0x33);
    file.resize(table + usize::try_from(header.table_len()).unwrap(), 0xff);
    let mut disk = vec![0; usize::try_from(shape.size).unwrap()];
    let mut order: Vec<_> = (0..shape.blocks.len()).filter(|b| shape.blocks[*b].0.is_some()).collect();
    order.sort_by_key(|block| shape.blocks[*block].0);
    for block in order {
        let (_, gap, seed) = shape.blocks[block];
        file.resize(file.len() + usize::from(gap) * 512, 0x55);
        let sector = u32::try_from(file.len() / 512).unwrap();
        file[table + block * 4..table + block * 4 + 4].copy_from_slice(&sector.to_be_bytes());
        let sectors = shape.block_size as usize / 512;
        let present = |sector: usize| match seed {
            0 => false,
            1 => true,
            2 => sector.is_multiple_of(2),
            seed => (sector as u64 / seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63 == 0,
        };
        let mut bitmap = vec![0_u8; bitmap_len(shape.block_size) as usize];
        (0..sectors).filter(|s| present(*s)).for_each(|s| bitmap[s / 8] |= 0x80 >> (s % 8));
        file.extend_from_slice(&bitmap);
        let start = block * shape.block_size as usize;
        for sector in 0..sectors {
            let at = start + sector * 512;
            // Some sectors are present and zero; absent ones hold bytes that must not show.
            let bytes: Vec<u8> = match (present(sector), (block + sector / 100) % 5) {
                (true, 4) => vec![0; 512],
                _ => (at as u64..at as u64 + 512).map(content).collect(),
            };
            file.extend_from_slice(&bytes);
            if present(sector) && at < disk.len() {
                let end = disk.len().min(at + 512);
                disk[at..end].copy_from_slice(&bytes[..end - at]);
            }
        }
    }
    file.resize(file.len() + usize::from(shape.tail_gap) * 512, 0x77);
    file.extend_from_slice(&footer.to_bytes());
    (file, disk)
}

/// The header of a member.
fn member(name: &str, len: u64) -> [u8; 512] {
    let mut head = [0; 512];
    head[..name.len()].copy_from_slice(name.as_bytes());
    head[124..135].copy_from_slice(format!("{len:011o}").as_bytes());
    head[148..156].fill(b' ');
    head[257..263].copy_from_slice(b"ustar\0");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
    head
}

fn take<C: Consume>(stream: &[u8], consumer: C) -> C::Output {
    let body = Full::new(Bytes::copy_from_slice(stream));
    block_on(receive(body, consumer, Progress::new())).unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// A part of the description of a stream: literal bytes, repeated ones, the header of a member, or a checksum.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let literal = prop::collection::vec(any::<u8>(), 1..40)
        .prop_map(|bytes| [&[u8::try_from(bytes.len() - 1).unwrap()][..], &bytes].concat());
    let repeated = (0xf0..0xf8_u8, 0..4_u8, any::<u8>(), any::<u8>())
        .prop_map(|(what, high, low, byte)| vec![what, high, low, byte]);
    let member = (0..3000_u64).prop_map(|len| {
        member("0.vhd", len).chunks(128).flat_map(|piece| [&[127][..], piece].concat()).collect()
    });
    prop_oneof![literal, repeated, member, (0xf8..=0xff_u8).prop_map(|what| vec![what])]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn vhds_of_any_shape_are_read_right(shape in shape()) {
        let folder = tempdir().unwrap();
        let (file, disk) = render(&shape);
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("vhd"), &file).unwrap();
        std::fs::write(at("raw"), &disk).unwrap();
        let image = open(&at("vhd")).unwrap();
        prop_assert!(content_of(&image) == disk);

        let raw = block_on(async { collect(image.raw_body(Upload::default()).unwrap()).await });
        prop_assert!(raw == disk);
        image.save_raw(&at("saved"), Existing::Refuse, &Upload::default()).unwrap();
        prop_assert!(read(&at("saved")) == disk);

        // The canonical VHD of it, and the file itself, as streams.
        let upload = Upload { virtual_size: Some(shape.size), ..Upload::default() };
        let canonical = block_on(async { collect(image.vhd_body(upload).await.unwrap()).await });
        let model = open(&at("raw")).unwrap();
        for (name, stream) in [("canonical", &canonical), ("verbatim", &file)] {
            take(stream, Verifier::of_vhd(&model));
            take(stream, RawSink::of_vhd(&at(name), Existing::Refuse).unwrap());
            prop_assert!(read(&at(name)) == disk);
            take(stream, VhdSink::create(&at(name), Existing::Replace).unwrap());
            prop_assert!(&read(&at(name)) == stream);
            prop_assert!(content_of(&open(&at(name)).unwrap()) == disk);
        }
        take(&disk, Verifier::of_raw(&image));
    }

    #[test]
    fn a_stream_tells_the_same_whole_and_in_pieces(
        shape in shape(),
        cut in any::<u8>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut stream = render(&shape).0;
        damage.into_iter().for_each(|(place, byte)| *place.get_mut(&mut stream) = byte);
        disk_stream::fuzzing::stream(&[&[cut][..], &stream].concat());
    }

    /// Descriptions of streams, in which what makes sense is more frequent than by chance.
    #[test]
    fn what_is_packed_is_the_disk_or_refused(
        how: u8,
        head in any::<[u8; 5]>(),
        parts in prop::collection::vec(part(), 0..8),
    ) {
        disk_stream::fuzzing::packed(&[&[how][..], &head, &parts.concat()].concat());
    }

    #[test]
    fn members_of_an_archive_are_where_they_are_said_to_be(
        members in prop::collection::vec((0..2000_u64, any::<bool>()), 0..5),
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut archive = Vec::new();
        for (len, end) in members {
            archive.extend_from_slice(&member("0.vhd", len));
            archive.resize(archive.len() + usize::try_from(len.next_multiple_of(512)).unwrap(), u8::from(end));
        }
        archive.resize(archive.len() + 1024, 0);
        if let Some((place, byte)) = damage {
            *place.get_mut(&mut archive) = byte;
        }
        disk_stream::fuzzing::archive(&archive);
    }

    #[test]
    fn chunked_records_make_the_disk_they_say(
        size in 1..1200_u16,
        cut in any::<u8>(),
        records in prop::collection::vec((0..1300_u64, prop::collection::vec(any::<u8>(), 0..40)), 0..6),
        end in prop::option::weighted(0.9, Just([0; 12])),
    ) {
        let [high, low] = size.to_be_bytes();
        let mut bytes = vec![high, low, cut];
        for (at, data) in &records {
            bytes.extend(at.to_le_bytes());
            bytes.extend((data.len() as u32).to_le_bytes());
            bytes.extend(data);
        }
        bytes.extend(end.iter().flatten());
        disk_stream::fuzzing::chunked(&bytes);
    }

    #[test]
    fn raw_disks_of_any_shape_come_back(
        size in 1..12 * MIB,
        extents in prop::collection::vec((0..12 * MIB, 1..300_000_u64), 0..5),
    ) {
        let folder = tempdir().unwrap();
        let (raw, vhd) = (folder.path().join("raw"), folder.path().join("vhd"));
        let extents: Vec<_> = extents
            .into_iter()
            .filter(|(start, _)| *start < size)
            .map(|(start, len)| (start, len.min(size - start)))
            .collect();
        raw_disk(&raw, size, &extents);
        let image = open(&raw).unwrap();
        let saved = image.save_vhd(&vhd, Existing::Refuse, &Upload::default()).unwrap();
        let mut used: Vec<u64> =
            extents.iter().flat_map(|(start, len)| start / (2 * MIB)..(start + len).div_ceil(2 * MIB)).collect();
        used.sort_unstable();
        used.dedup();
        prop_assert_eq!(u64::from(saved.blocks), used.len() as u64);
        let mut expected = read(&raw);
        expected.resize(usize::try_from(saved.virtual_size).unwrap(), 0);
        prop_assert!(content_of(&open(&vhd).unwrap()) == expected);
        take(&read(&vhd), Verifier::of_vhd(&image));
    }
}
