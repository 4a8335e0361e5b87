//! Emit and decode are inverse; nothing arbitrary panics.

use std::ops::Range;

use proptest::prelude::*;
use uuid::Uuid;
use vhd::format::Timestamp;
use vhd::fuzzing;
use vhd::layout::{Dialect, Layout, Parameters};

const SIZE: u64 = 24 << 20;

fn extents() -> impl Strategy<Value = (u64, Vec<Range<u64>>)> {
    (1..SIZE).prop_flat_map(|size| {
        let extent = (0..size, 0..3_000_000_u64).prop_map(move |(start, len)| start..size.min(start + len));
        (Just(size), prop::collection::vec(extent, 0..5))
    })
}

fn dialect() -> impl Strategy<Value = Dialect> {
    prop::sample::select(vec![Dialect::XenapiRs, Dialect::Xapi])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layout_and_decoder_are_inverse(
        (size, extents) in extents(),
        dialect in dialect(),
        cuts in prop::collection::vec(1..3_000_000_usize, 0..6),
    ) {
        fuzzing::layout(size, &extents, dialect, &cuts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
        fuzzing::parse(&bytes);
    }

    /// Damage with a right checksum gets past the first gate.
    #[test]
    fn damaged_metadata_never_panic(
        damage in prop::collection::vec((0..3072_usize, any::<u8>()), 1..6),
        cut in 0..4000_usize,
    ) {
        let parameters = Parameters {
            virtual_size: 5 << 20,
            uuid: Uuid::from_u128(3),
            timestamp: Timestamp(4),
            dialect: Dialect::XenapiRs,
        };
        let layout = Layout::dynamic_from_extents(&parameters, []).unwrap();
        let mut file = fuzzing::render(layout, |_| 0);
        for (at, byte) in damage {
            let len = file.len();
            file[at % len] = byte;
        }
        resum(&mut file, 0, 64, 512);
        resum(&mut file, 512, 36, 1024);
        let front: Vec<u8> = file[..512].to_vec();
        let end = file.len() - 512;
        if cut % 2 == 0 {
            file[end..].copy_from_slice(&front);
        }
        file.truncate(file.len().max(cut) - cut / 3);
        fuzzing::parse(&file);
    }
}

/// Writes the checksum of a structure of `len` bytes at `at` into its field.
fn resum(file: &mut [u8], at: usize, field: usize, len: usize) {
    let part = &mut file[at..at + len];
    part[field..field + 4].fill(0);
    let sum = !part.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    part[field..field + 4].copy_from_slice(&sum.to_be_bytes());
}
