//! The logic of the fuzz targets, which property tests run too.

mod archives;

pub use archives::archive;

use crate::chunked::{ChunkError, Decoder};

/// Bytes as the framing of chunks: read whole and in small parts, they are the same data at the same places,
/// and the same verdict.
///
/// # Panics
/// When they are not.
pub fn chunked(bytes: &[u8]) {
    let whole = read(std::iter::once(bytes));
    // The first byte decides about the parts, so that a fuzzer can choose.
    let part = usize::from(bytes.first().copied().unwrap_or_default()) + 1;
    assert_eq!(whole, read(bytes.chunks(part)), "in parts of {part}");
}

/// Every byte with its place, and how it ended.
type Outcome = (Vec<(u64, u8)>, Result<(), ChunkError>);

fn read<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let (mut decoder, mut data) = (Decoder::new(), Vec::new());
    for mut part in parts {
        loop {
            match decoder.next(&mut part) {
                Ok(Some(piece)) => data.extend((piece.offset..).zip(piece.bytes.iter().copied())),
                Ok(None) => break,
                Err(error) => return (data, Err(error)),
            }
        }
    }
    (data, decoder.finish())
}
