//! What is planned is what is read, both ways, and exactly as long as was said.

use std::ops::Range;

use proptest::prelude::*;
use qcow2::{CLUSTER, Error, Layout, Segment, fuzzing};

const REACH: u64 = 512 << 20;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_is_planned_is_read(
        size in prop_oneof![1..40 * CLUSTER, REACH - CLUSTER..3 * REACH],
        parts in prop::collection::vec((0.0..1.0_f64, 1..400_000_u64), 0..5),
        cut in 1..100_000_usize,
    ) {
        let mut extents: Vec<Range<u64>> = parts.iter().map(|(place, len)| {
            let start = (size as f64 * place) as u64;
            start..(start + len).min(size)
        }).collect();
        extents.sort_by_key(|extent| extent.start);
        extents.dedup_by(|later, first| later.start < first.end);
        fuzzing::layout(size, &extents, cut);
    }
}

/// Each cluster of the file is counted once, and by one that is counted itself, at the sizes at which another
/// block of counts becomes necessary, and at the largest.
#[test]
fn counts_count_themselves() {
    let edge = 32768 * CLUSTER;
    for data in [0, edge - 9 * CLUSTER, edge - 8 * CLUSTER, edge, 40 << 40] {
        let size = data.max(1 << 40);
        let layout = Layout::new(size, |from| (from < data).then_some(from..data)).unwrap();
        assert_eq!(layout.allocated(), data);
        let len = layout.stream_len();
        let (mut total, mut counted, mut places) = (0, 0, 0);
        for (number, segment) in layout.into_segments().enumerate() {
            total += segment.len();
            let Segment::Meta(bytes) = segment else { continue };
            if number == 0 {
                places = u32::from_be_bytes(bytes[56..60].try_into().unwrap());
            }
            // Blocks of counts consist of ones up to the end of what is counted.
            let word = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
            if word(0) == 0x0001_0001_0001_0001 {
                counted += bytes.chunks(2).filter(|count| *count == [0, 1]).count() as u64;
            }
        }
        assert_eq!(total, len, "{data}");
        assert_eq!(counted * CLUSTER, len, "{data}");
        assert!(places > 0);
    }
}

#[test]
fn what_is_no_disk_is_refused() {
    let layout = |size| Layout::new(size, |_| None).map(|layout| layout.stream_len());
    assert_eq!(layout(0), Err(Error::EmptyDisk));
    let limit = 64 << 40;
    assert_eq!(layout(limit + 1), Err(Error::TooLarge { virtual_size: limit + 1, limit }));
    assert_eq!(layout(1), Ok(4 * CLUSTER));
}
