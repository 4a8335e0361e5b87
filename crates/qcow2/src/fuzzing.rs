//! What tests and fuzz targets share: reading an image in memory, the slow way, and writing one to be read.

use std::convert::Infallible;
use std::ops::Range;

use crate::{CLUSTER, Decoder, Error, Event, Layout, Limits, Map, Piece, ReadError, Segment, Window};

/// The map of an image in memory.
///
/// # Errors
/// What is wrong with it.
pub fn map(file: &[u8], limits: &Limits) -> Result<Map, Error> {
    Map::read(file.len() as u64, limits, reading(file)).map_err(of_memory)
}

fn reading(file: &[u8]) -> impl FnMut(u64, &mut [u8]) -> Result<(), Infallible> {
    |offset, buffer| {
        buffer.copy_from_slice(slice(file, offset, buffer.len() as u64));
        Ok(())
    }
}

fn of_memory(error: ReadError<Infallible>) -> Error {
    match error {
        ReadError::Format(error) => error,
        ReadError::Io(never) => match never {},
    }
}

fn slice(file: &[u8], offset: u64, len: u64) -> &[u8] {
    let place = |byte: u64| usize::try_from(byte).expect("reads stay inside of the file");
    &file[place(offset)..place(offset + len)]
}

/// All pieces of a disk of which at most `most` bytes are looked at: `(first byte, bytes)` of what is not
/// known to be zero.
///
/// # Errors
/// The first thing that is wrong.
pub fn read(map: &Map, file: &[u8], most: u64) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let (mut found, mut window) = (Vec::new(), Window::default());
    let mut at = 0;
    while at < map.header().virtual_size.min(most) {
        let table =
            map.table(at, &mut window, reading(file)).map_err(of_memory)?.expect("inside of the disk");
        let entries = table.offset.map_or(&[][..], |offset| slice(file, offset, table.len));
        let (piece, len) = map.piece(&table, entries, at)?;
        assert!(len > 0 && at + len <= map.header().virtual_size, "a piece of {len} bytes at {at}");
        match piece {
            Piece::Zeros => {}
            Piece::Data { offset } => found.push((at, slice(file, offset, len).to_vec())),
            Piece::Compressed(compressed) => {
                let end = (file.len() as u64).min(compressed.offset + compressed.len);
                let packed = slice(file, compressed.offset, end - compressed.offset);
                let mut cluster = Vec::new();
                map.unpack(&compressed, packed, &mut cluster)?;
                let inside = usize::try_from(at - compressed.at).expect("inside of the cluster");
                let len = usize::try_from(len).expect("a cluster at most");
                found.push((at, cluster[inside..inside + len].to_vec()));
            }
        }
        at += len;
    }
    Ok(found)
}

/// Decodes a stream in pieces of `cut` bytes.
///
/// # Errors
/// The first thing that is wrong.
pub fn decode(stream: &[u8], cut: usize, limits: &Limits) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let mut decoder = Decoder::new(limits.clone());
    let mut found: Vec<(u64, Vec<u8>)> = Vec::new();
    for mut piece in stream.chunks(cut.max(1)) {
        while let Some(event) = decoder.feed(&mut piece)? {
            let Event::Data { virtual_offset, bytes } = event else { continue };
            match found.last_mut() {
                Some((at, data)) if *at + data.len() as u64 == virtual_offset => data.extend(bytes),
                _ => found.push((virtual_offset, bytes.to_vec())),
            }
        }
    }
    decoder.finish()?;
    Ok(found)
}

/// Arbitrary bytes neither panic nor take much memory, nor do the two readers disagree: as they are, and
/// with the header of an image that is otherwise good.
///
/// # Panics
/// When that is not so.
pub fn parse(bytes: &[u8]) {
    let limits = Limits { l1_entries: 1 << 16, runs: 1 << 12, ..Limits::default() };
    check(bytes, &limits);
    if bytes.len() > 512 {
        let mut file = bytes.to_vec();
        file[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        file[8..20].fill(0);
        file[20..24].copy_from_slice(&(9 + u32::from(bytes[23]) % 13).to_be_bytes());
        file[32..36].fill(0);
        file[72..80].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, bytes[79] & 0x18]);
        file[100..112].copy_from_slice(&[0, 0, 0, 112, bytes[104] & 1, 0, 0, 0, 0, 0, 0, 0]);
        file[112..120].fill(0);
        check(&file, &limits);
    }
}

fn check(file: &[u8], limits: &Limits) {
    const MOST: u64 = 8 << 20;
    let streamed = decode(file, 1 << 16, limits);
    assert_eq!(streamed, decode(file, 4097, limits));
    let opened = map(file, limits);
    let in_file = map(file, &Limits { kept_entries: 0, ..limits.clone() });
    assert_eq!(opened.as_ref().err(), in_file.as_ref().err());
    let Ok(map) = opened else {
        assert!(streamed.is_err(), "what can be read forward can be read at random");
        return;
    };
    if let Ok(in_file) = in_file {
        let (kept, asked) = (read(&map, file, MOST), read(&in_file, file, MOST));
        assert!(kept == asked, "where the first table is makes no difference");
    }
    let read = read(&map, file, MOST);
    if let Ok(streamed) = streamed {
        let pieces = read.expect("what can be read forward can be read at random");
        let mut disk = std::collections::BTreeMap::new();
        for (at, data) in &streamed {
            disk.insert(*at, data);
        }
        for (at, data) in pieces {
            let (start, run) = disk.range(..=at).next_back().expect("both find the same data");
            let inside = usize::try_from(at - start).expect("in memory");
            assert_eq!(data, run[inside..inside + data.len()]);
        }
    }
}

/// [`layout`] with a disk, extents and a cut taken from arbitrary bytes.
///
/// # Panics
/// As [`layout`].
pub fn layout_of_bytes(bytes: &[u8]) {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
    let Some((head, rest)) = bytes.split_at_checked(6) else { return };
    // Up to three second tables; the largest disks have little data.
    let size = number(&head[..4]) % (3 * (512 << 20)) + 1;
    let mut extents: Vec<Range<u64>> = rest
        .chunks_exact(6)
        .take(8)
        .map(|part| {
            let start = number(&part[..4]) % size;
            start..size.min(start + 8 * number(&part[4..]) + 1)
        })
        .collect();
    extents.sort_by_key(|extent| extent.start);
    extents.dedup_by(|later, first| later.start < first.end);
    layout(size, &extents, usize::from(head[4]) << 9 | usize::from(head[5]) | 1);
}

/// Any allocation of any disk: the plan has the length it says, and is read as the same disk, at random and in pieces
/// of `cut` bytes. `extents` are in order and do not overlap.
///
/// # Panics
/// When that is not so.
pub fn layout(size: u64, extents: &[Range<u64>], cut: usize) {
    let next = |from| extents.iter().find(|extent| extent.end > from).cloned();
    let layout = Layout::new(size, next).expect("no more than can be described");
    let end = size.next_multiple_of(512);
    assert_eq!(layout.virtual_size(), end);
    let wanted = clusters(extents);
    let bytes = |runs: &[Range<u64>]| runs.iter().map(|run| run.end - run.start).sum::<u64>();
    assert_eq!(layout.allocated(), bytes(&wanted));
    let len = layout.stream_len();
    let file = render(layout);
    assert_eq!(file.len() as u64, len);

    let limits = Limits::default();
    let streamed = decode(&file, cut, &limits).expect("own images are read forward");
    let places: Vec<_> = streamed.iter().map(|(at, data)| *at..at + data.len() as u64).collect();
    let shown: Vec<_> = wanted.iter().map(|run| run.start..run.end.min(end)).collect();
    assert_eq!(places, shown);
    let map = map(&file, &limits).expect("own images are opened");
    assert_eq!(map.header().virtual_size, end);
    let found = read(&map, &file, u64::MAX).expect("own images are read");
    assert_eq!(found.iter().map(|(_, data)| data.len() as u64).sum::<u64>(), bytes(&shown));
    for (from, data) in streamed.iter().chain(&found) {
        assert!(data.iter().zip(*from..).all(|(byte, at)| *byte == content(at)), "data at {from}");
    }
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

/// A byte for each place of a disk, never zero.
fn content(at: u64) -> u8 {
    ((at >> 16) as u8).wrapping_mul(7) ^ (at >> 9) as u8 | 1
}
