//! What is planned is what is read, both ways, and exactly as long as was said.

use std::ops::Range;

use proptest::prelude::*;
use qcow2::fuzzing::{decode, map, read};
use qcow2::{CLUSTER, Error, Layout, Limits, Segment};

const REACH: u64 = 512 << 20;

/// The first of `extents`, which are in order, that ends behind `from`.
fn next(extents: &[Range<u64>], from: u64) -> Option<Range<u64>> {
    extents.iter().find(|extent| extent.end > from).cloned()
}

fn render(layout: Layout<impl Fn(u64) -> Option<Range<u64>>>) -> Vec<u8> {
    let mut file = Vec::new();
    for segment in layout.into_segments() {
        match segment {
            Segment::Meta(bytes) => file.extend(bytes),
            Segment::Payload { virtual_offset, len } => {
                file.extend((virtual_offset..virtual_offset + len).map(content));
            }
        }
    }
    file
}

fn content(at: u64) -> u8 {
    ((at >> 16) as u8).wrapping_mul(7) ^ (at >> 9) as u8 | 1
}

/// Whole clusters, neighbours as one.
fn clusters(extents: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut found: Vec<Range<u64>> = Vec::new();
    for extent in extents {
        let (start, end) = (extent.start / CLUSTER * CLUSTER, extent.end.next_multiple_of(CLUSTER));
        match found.last_mut() {
            Some(last) if last.end >= start => last.end = last.end.max(end),
            _ => found.push(start..end),
        }
    }
    found
}

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
        let layout = Layout::new(size, |from| next(&extents, from)).unwrap();
        let (len, allocated) = (layout.stream_len(), layout.allocated());
        prop_assert_eq!(layout.virtual_size(), size.next_multiple_of(512));
        let file = render(layout);
        prop_assert_eq!(file.len() as u64, len);
        let wanted = clusters(&extents);
        prop_assert_eq!(wanted.iter().map(|run| run.end - run.start).sum::<u64>(), allocated);

        let limits = Limits::default();
        let end = size.next_multiple_of(512);
        let streamed = decode(&file, cut, &limits).unwrap();
        let places: Vec<_> = streamed.iter().map(|(at, data)| *at..at + data.len() as u64).collect();
        let shown: Vec<_> = wanted.iter().map(|run| run.start..run.end.min(end)).collect();
        prop_assert_eq!(places, shown);
        for (at, data) in &streamed {
            prop_assert!(data.iter().zip(*at..).all(|(byte, at)| *byte == content(at)));
        }
        let map = map(&file, &limits).unwrap();
        prop_assert_eq!(map.header().virtual_size, end);
        let found = read(&map, &file, u64::MAX).unwrap();
        prop_assert_eq!(found.iter().map(|(_, data)| data.len()).sum::<usize>(),
            streamed.iter().map(|(_, data)| data.len()).sum::<usize>());
        prop_assert!(found.iter().all(|(from, data)| data.iter().zip(*from..).all(|(byte, at)| *byte == content(at))));
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
