//! Layers of a chain, as somebody's writes make them.

use proptest::prelude::*;
use uuid::Uuid;
use vhd::format::{Creator, DiskType, DynamicHeader, FOOTER_LEN, Footer, HEADER_LEN, Timestamp, bitmap_len};
use vhd::layout::Parent;

use super::content;

/// A layer as a machine's writes make it: only the written sectors are in it.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) block_size: u32,
    pub(crate) size: u64,
    /// First sector, number of sectors, seed of the content (0: zeros).
    pub(crate) writes: Vec<(u64, u64, u8)>,
}

pub(crate) fn uuid(number: usize) -> Uuid {
    Uuid::from_u128(0x1000_4000_8000_0000_0000 + number as u128)
}

/// Applies the writes to `disk`, and returns the VHD with them and nothing else.
pub(crate) fn render(layer: &Layer, number: usize, parent: Option<&Parent>, disk: &mut Vec<u8>) -> Vec<u8> {
    let size = usize::try_from(layer.size).unwrap();
    disk.resize(size, 0);
    let block_size = layer.block_size as usize;
    let kind = if parent.is_some() { DiskType::Differencing } else { DiskType::Dynamic };
    let creator = Creator { application: *b"tap\0", version: 0x0001_0003, os: [0; 4] };
    let footer = Footer::new(kind, layer.size, uuid(number), Timestamp(5), creator);
    let front = (FOOTER_LEN + HEADER_LEN) as u64;
    let (locators, lead) = parent.map(|parent| parent.locators(front).unwrap()).unwrap_or_default();
    let mut header =
        DynamicHeader::new(front + lead.len() as u64, u32::try_from(size.div_ceil(block_size)).unwrap());
    header.block_size = layer.block_size;
    if let Some(parent) = parent {
        header.set_parent(parent, locators);
    }
    let mut file = [footer.to_bytes().as_slice(), &header.to_bytes(), &lead].concat();
    let table = file.len();
    file.resize(table + usize::try_from(header.table_len()).unwrap(), 0xff);
    let bitmap = bitmap_len(layer.block_size) as usize;
    for (first, count, seed) in &layer.writes {
        for sector in (*first..first + count).filter(|sector| sector * 512 < layer.size) {
            let at = usize::try_from(sector * 512).unwrap();
            let data: Vec<u8> = (0..512)
                .map(|byte| if *seed == 0 { 0 } else { content(at as u64 + byte).wrapping_add(*seed) })
                .collect();
            let end = size.min(at + 512);
            disk[at..end].copy_from_slice(&data[..end - at]);
            let entry = table + at / block_size * 4;
            let mut place = u32::from_be_bytes(file[entry..entry + 4].try_into().unwrap()) as usize * 512;
            if place == u32::MAX as usize * 512 {
                place = file.len();
                // What is not written holds bytes that must not show.
                file.resize(place + bitmap, 0);
                file.resize(place + bitmap + block_size, 0x99);
                file[entry..entry + 4].copy_from_slice(&u32::try_from(place / 512).unwrap().to_be_bytes());
            }
            let inside = at % block_size;
            file[place + inside / 4096] |= 0x80 >> (inside / 512 % 8);
            file[place + bitmap + inside..][..512].copy_from_slice(&data);
        }
    }
    file.extend_from_slice(&footer.to_bytes());
    file
}

pub(crate) fn layers() -> impl Strategy<Value = Vec<Layer>> {
    let write = (0..20_000_u64, prop_oneof![1..40_u64, 1..6000_u64], 0..5_u8);
    let block_size = prop::sample::select(vec![4096_u32, 65536, 2 << 20, 2 << 20]);
    let layer = (block_size, prop::collection::vec(write, 0..6));
    (prop::collection::vec(layer, 1..6), 1..20_000_u64, 0..400_u64).prop_map(|(layers, sectors, odd)| {
        let grow = |number: usize| sectors * 512 + odd + 512 * 700 * number as u64;
        layers
            .into_iter()
            .enumerate()
            .map(|(number, (block_size, writes))| Layer { block_size, size: grow(number), writes })
            .collect()
    })
}
