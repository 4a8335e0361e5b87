//! What the fuzz targets and the property tests run: arbitrary input, and an oracle.

mod inspect;

use std::ops::Range;

use uuid::Uuid;

pub use self::inspect::inspect;
use crate::format::{BLOCK_SIZE, DiskType, Footer, Timestamp};
use crate::layout::{Dialect, Layout, Parameters, Segment};
use crate::{
    Decoder, DiskMap, EndFooterPolicy, Error, Event, FixedDecoder, Limits, Place, Summary, Warning, Window,
    bitmap,
};

/// Runs `stream` through `decoder` in pieces whose lengths are taken from `cuts` in turn (0 counts
/// as 1; no cuts, one piece), and returns the events with adjacent data and gaps joined.
pub fn decode(mut decoder: Decoder, stream: &[u8], cuts: &[usize]) -> (Vec<Found>, Result<Summary, Error>) {
    let mut found = Vec::new();
    let mut cuts = cuts.iter().cycle();
    let mut rest = stream;
    while !rest.is_empty() {
        let len = cuts.next().map_or(rest.len(), |cut| (*cut).clamp(1, rest.len()));
        let (mut piece, behind) = rest.split_at(len);
        rest = behind;
        loop {
            match decoder.feed(&mut piece) {
                Ok(Some(event)) => note(&mut found, event),
                Ok(None) => break,
                Err(error) => return (found, Err(error)),
            }
        }
    }
    (found, decoder.finish())
}

/// An event without borrowed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Any event but data and gaps.
    Structure(Event<'static>),
    /// Data.
    Data(u64, Vec<u8>),
    /// A gap.
    Gap(Range<u64>),
}

fn note(found: &mut Vec<Found>, event: Event<'_>) {
    match (event, found.last_mut()) {
        (Event::Data { virtual_offset, bytes }, Some(Found::Data(offset, data)))
            if *offset + data.len() as u64 == virtual_offset =>
        {
            data.extend_from_slice(bytes);
        }
        (Event::Data { virtual_offset, bytes }, _) => {
            found.push(Found::Data(virtual_offset, bytes.to_vec()));
        }
        (Event::Gap { offset, len }, Some(Found::Gap(range))) if range.end == offset => range.end += len,
        (Event::Gap { offset, len }, _) => found.push(Found::Gap(offset..offset + len)),
        (Event::Footer(footer), _) => found.push(Found::Structure(Event::Footer(footer))),
        (Event::Header(header), _) => found.push(Found::Structure(Event::Header(header))),
        (Event::Table { blocks, stream_len }, _) => {
            found.push(Found::Structure(Event::Table { blocks, stream_len }));
        }
        (Event::Block { bytes, full }, _) => found.push(Found::Structure(Event::Block { bytes, full })),
    }
}

/// Arbitrary bytes neither panic nor disagree: as they are, and with checksums made right, the end
/// footer a copy of the front one, so that the gates behind the first are reached.
///
/// # Panics
/// When the readers disagree; see `agree`.
pub fn parse(bytes: &[u8]) {
    agree(bytes);
    let size = bytes.len() as u64;
    if size > 0 {
        // A guest may have written anything into a fixed disk.
        let creator = Dialect::XenapiRs.creator();
        let footer = Footer::new(DiskType::Fixed, size, Uuid::from_u128(1), Timestamp(2), creator);
        let file = [bytes, &footer.to_bytes()].concat();
        agree(&file);
        assert_eq!(fixed(&file, &[]).1.map(|summary| summary.footer), Ok(footer));
    }
    if bytes.len() > 2048 {
        let mut file = bytes.to_vec();
        make_sum(&mut file[..512], 64);
        make_sum(&mut file[512..1536], 36);
        let end = file.len() - 512;
        file.copy_within(..512, end);
        agree(&file);
    }
}

/// What a stream is as a fixed disk that ends somewhere: its data, in one piece, and what is known at the end.
///
/// # Panics
/// When the data do not follow each other.
pub fn fixed(stream: &[u8], cuts: &[usize]) -> (Vec<u8>, Result<Summary, Error>) {
    let (mut decoder, mut data, mut rest) = (FixedDecoder::default(), Vec::new(), stream);
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let len = cuts.next().map_or(rest.len(), |cut| (*cut).clamp(1, rest.len()));
        let (piece, behind) = rest.split_at(len);
        rest = behind;
        match decoder.feed(piece) {
            Ok(parts) => parts.into_iter().for_each(|(at, bytes)| {
                assert_eq!(at, data.len() as u64);
                data.extend_from_slice(bytes);
            }),
            Err(error) => return (data, Err(error)),
        }
    }
    assert_eq!(decoder.position(), stream.len() as u64);
    (data, decoder.finish())
}

/// Writes the checksum of a structure into its field.
pub fn make_sum(structure: &mut [u8], field: usize) {
    structure[field..field + 4].fill(0);
    let sum = !structure.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    structure[field..field + 4].copy_from_slice(&sum.to_be_bytes());
}

/// The decoder says the same whole and in pieces, and what it accepts, the map accepts with the
/// same data.
///
/// # Panics
/// When that is not so.
fn agree(stream: &[u8]) {
    let whole = decode(Decoder::new(), stream, &[]);
    let pieces = decode(Decoder::new(), stream, &[1, 511, 7, 4096]);
    assert_eq!(whole.1, pieces.1);
    if whole.1.is_ok() {
        assert_eq!(whole.0, pieces.0);
    }
    let known = decode(Decoder::with_len(stream.len() as u64), stream, &[]);
    let map = map(stream, EndFooterPolicy::Required);
    drop(self::map(stream, EndFooterPolicy::FrontSuffices));
    let as_fixed = fixed(stream, &[]);
    assert_eq!(as_fixed, fixed(stream, &[1, 511, 7, 4096]));
    assert_eq!(as_fixed.0, stream[..stream.len().saturating_sub(512)]);
    let announced = decode(Decoder::fixed(stream.len() as u64), stream, &[3, 1000]).1;
    assert_eq!(as_fixed.1, announced, "of a known and of an unknown length");
    if !Footer::has_cookie(stream) {
        // A footer of 511 bytes is for files only, and so are zeros around one.
        let of_file = |warning: &Warning| {
            matches!(warning, Warning::ShortEndFooter | Warning::Gap(_) | Warning::Trailing(_))
        };
        let is_fixed =
            |map: &DiskMap| map.footer().disk_type == DiskType::Fixed && !map.warnings().iter().any(of_file);
        assert_eq!(as_fixed.1.is_ok(), map.as_ref().is_ok_and(is_fixed));
    }
    if known.1.is_ok() {
        let map = map.expect("what can be read forward can be read at random");
        for found in &known.0 {
            if let Found::Data(offset, data) = found {
                let sample = data.len().min(4096);
                assert_eq!(read(&map, stream, *offset..*offset + sample as u64), data[..sample]);
            }
        }
    }
}

/// [`layout`] with a disk, extents and cuts taken from arbitrary bytes.
///
/// # Panics
/// As [`layout`].
pub fn layout_of_bytes(bytes: &[u8]) {
    let number = |at: usize| bytes[at..].iter().take(3).fold(0, |all, byte| all << 8 | u64::from(*byte));
    if bytes.is_empty() {
        return;
    }
    let size = number(0) % (9 << 20) + 1;
    let extents: Vec<Range<u64>> = (3..bytes.len().min(30))
        .step_by(6)
        .map(|at| {
            let start = number(at) % size;
            start..size.min(start + number((at + 3).min(bytes.len() - 1)) / 8)
        })
        .collect();
    // Not byte by byte, which takes seconds: `parse` does that, of shorter streams.
    let cuts: Vec<usize> =
        bytes.iter().skip(30).take(8).map(|byte| usize::from(*byte) * 5003 + 509).collect();
    let dialect = if bytes[0].is_multiple_of(2) { Dialect::XenapiRs } else { Dialect::Xapi };
    layout(size, &extents, dialect, &cuts);
}

/// Any allocation of any disk: the plan's pieces add up to its length, and decode to the same
/// allocation and the same bytes.
///
/// # Panics
/// When one of that is not so.
pub fn layout(size: u64, extents: &[Range<u64>], dialect: Dialect, cuts: &[usize]) {
    let parameters =
        Parameters { virtual_size: size, uuid: Uuid::from_u128(1), timestamp: Timestamp(2), dialect };
    let Ok(layout) = Layout::dynamic_from_extents(&parameters, extents.iter().cloned()) else { return };
    let (len, blocks, footer) = (layout.stream_len(), layout.block_count(), layout.footer().clone());
    let stream = render(layout, content);
    assert_eq!(stream.len() as u64, len);
    let (found, summary) = decode(Decoder::with_len(len), &stream, cuts);
    let summary = summary.expect("own streams decode");
    assert_eq!((u64::from(summary.blocks), summary.stream_len, &summary.footer), (blocks, len, &footer));
    let map = map(&stream, EndFooterPolicy::Required).expect("own files open");
    let uneven = (!size.is_multiple_of(512)).then_some(Warning::UnevenSize(size));
    assert_eq!(map.warnings(), uneven.as_slice());
    let mut covered = crate::BlockSet::new(size, BLOCK_SIZE);
    for found in &found {
        if let Found::Data(offset, data) = found {
            covered.insert_bytes(*offset..*offset + data.len() as u64);
            assert!((*offset..).zip(data).all(|(at, byte)| content(at) == *byte), "data at {offset}");
        }
    }
    assert_eq!(covered, map.allocation(BLOCK_SIZE));
    assert_eq!(covered.len(), blocks);
    for extent in extents.iter().filter(|extent| !extent.is_empty()) {
        assert!(covered.contains(extent.start / u64::from(BLOCK_SIZE)));
        assert!(covered.contains((extent.end - 1) / u64::from(BLOCK_SIZE)));
    }
}

/// A byte for each place of a disk, different from its neighbours and from other blocks.
fn content(at: u64) -> u8 {
    (at ^ (at >> 9) ^ (at >> 21)).to_le_bytes()[0]
}

/// The bytes of a layout over a disk with this content.
pub fn render(layout: Layout, content: impl Fn(u64) -> u8) -> Vec<u8> {
    let mut stream = Vec::new();
    for segment in layout.into_segments() {
        match segment {
            Segment::Meta(bytes) => stream.extend_from_slice(&bytes),
            Segment::Payload { virtual_offset, len } => {
                stream.extend((virtual_offset..virtual_offset + len).map(&content));
            }
            Segment::Zeros { len } => {
                stream.resize(stream.len() + usize::try_from(len).expect("less than a block"), 0);
            }
        }
    }
    stream
}

/// The map of a file in memory.
///
/// # Errors
/// The malformation.
///
/// # Panics
/// When the map asks for bytes that the file does not have.
pub fn map(file: &[u8], policy: EndFooterPolicy) -> Result<DiskMap, Error> {
    map_with(file, policy, &Limits::default())
}

/// The same with other limits than the default ones.
///
/// # Errors
/// Those of [`DiskMap::read`].
///
/// # Panics
/// When the map is another one where its table stays in the file.
pub fn map_with(file: &[u8], policy: EndFooterPolicy, limits: &Limits) -> Result<DiskMap, Error> {
    let read = |offset: u64, buffer: &mut [u8]| read_at(file, offset, buffer);
    let map = |limits| {
        DiskMap::read(file.len() as u64, policy, limits, read).map_err(|error| match error {
            crate::ReadError::Format(error) => error,
            crate::ReadError::Io { source, .. } => match source {},
        })
    };
    // A table that stays in the file says the same.
    let (found, listed) = (map(limits), map(&Limits { runs: 0, ..limits.clone() }));
    match (&found, &listed) {
        (Ok(found), Ok(listed)) => {
            let of =
                |map: &DiskMap| map.blocks(read).map(|block| block.expect("it is there")).collect::<Vec<_>>();
            assert_eq!(of(found), of(listed));
            assert_eq!(found.allocation(BLOCK_SIZE), listed.allocation(BLOCK_SIZE));
            assert_eq!(found.allocated_blocks(), listed.allocated_blocks());
            assert_eq!((found.data_end(), found.warnings()), (listed.data_end(), listed.warnings()));
        }
        (Err(found), Err(listed)) => assert_eq!(found, listed),
        _ => panic!("{found:?}, and with its table in the file {listed:?}"),
    }
    found
}

/// What a map reads of a file in memory.
///
/// # Errors
/// None.
///
/// # Panics
/// When bytes are asked for that the file does not have.
pub fn read_at(file: &[u8], offset: u64, buffer: &mut [u8]) -> Result<(), std::convert::Infallible> {
    let start = usize::try_from(offset).expect("reads stay inside of the file");
    buffer.copy_from_slice(&file[start..start + buffer.len()]);
    Ok(())
}

fn place(map: &DiskMap, file: &[u8], window: &mut Window, at: u64) -> Option<Place> {
    map.place(at, window, |offset, buffer| read_at(file, offset, buffer)).expect("the table does not change")
}

/// Bytes of the disk, byte by byte: slow and obviously right.
///
/// # Panics
/// When `bytes` lie behind the end of the disk or data behind the end of the file.
pub fn read(map: &DiskMap, file: &[u8], bytes: Range<u64>) -> Vec<u8> {
    let at = |offset: u64| file[usize::try_from(offset).expect("inside of the file")];
    let mut window = Window::default();
    bytes
        .map(|byte| match place(map, file, &mut window, byte).expect("inside of the disk") {
            Place::File { offset, .. } => at(offset),
            Place::Unallocated { .. } => 0,
            Place::Block(block) => {
                let inside = byte - block.bytes.start;
                let sector = u32::try_from(inside / 512).expect("inside of the block");
                let start = usize::try_from(block.bitmap_offset).expect("inside of the file");
                if bitmap::is_set(&file[start..start + block.bitmap_len as usize], sector) {
                    at(block.data_offset + inside)
                } else {
                    0
                }
            }
        })
        .collect()
}
