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

/// A dynamic disk without data, and with these bytes in these places.
fn empty_but(damage: Vec<(usize, u8)>) -> Vec<u8> {
    let parameters = Parameters {
        virtual_size: 5 << 20,
        uuid: Uuid::from_u128(3),
        timestamp: Timestamp(4),
        dialect: Dialect::Xapi,
    };
    let layout = Layout::dynamic_from_extents(&parameters, []).unwrap();
    let mut file = fuzzing::render(layout, |_| 0);
    for (at, byte) in damage {
        let len = file.len();
        file[at % len] = byte;
    }
    file
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

    /// Metadata damaged in few places; the fuzzed function makes the checksums right.
    #[test]
    fn damaged_metadata_never_panic(
        damage in prop::collection::vec((0..3072_usize, any::<u8>()), 1..6),
        cut in 0..1000_usize,
    ) {
        let mut file = empty_but(damage);
        file.truncate(file.len() - cut / 2);
        fuzzing::parse(&file);
    }

    /// Metadata damaged in few places, with any checksums made right or none, and anything behind the end: what an
    /// inspection says of it holds, and so does what its repair promises.
    #[test]
    fn damaged_metadata_are_judged_and_repaired(
        damage in prop::collection::vec((prop_oneof![0..96_usize, 512..600_usize, 1536..1552_usize, 2048..3072_usize], any::<u8>()), 0..4),
        cut in 0..700_usize,
        behind in prop::collection::vec(any::<u8>(), 0..3),
        how: u8,
    ) {
        let mut file = empty_but(damage);
        file.truncate(file.len() - cut.saturating_sub(100));
        file.extend(behind);
        fuzzing::inspect(&[&[how][..], &file].concat());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layouts_of_arbitrary_bytes_are_inverse(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        fuzzing::layout_of_bytes(&bytes);
    }
}
