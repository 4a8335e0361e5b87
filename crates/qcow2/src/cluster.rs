//! Entries of second tables, and compressed clusters.

use std::io::Read;

use flate2::{Decompress, FlushDecompress};

use crate::header::{Compression, Header, u64_at};
use crate::{Error, Piece};

const COMPRESSED: u64 = 1 << 62;
const COPIED: u64 = 1 << 63;
const ZERO: u64 = 1;
pub(crate) const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const SUBCLUSTERS: u64 = 32;

/// A compressed cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compressed {
    /// First byte of the cluster on the disk.
    pub at: u64,
    /// Where its compressed bytes are, in bytes of the file.
    pub offset: u64,
    /// How many they are at most: the last ones may be somebody else's, or behind the end of the file.
    pub len: u64,
}

/// The bytes of a cluster from `inside` on: what they are, and for how many bytes.
///
/// `entry` is the cluster's in its table, `at` its first byte on the disk.
pub(crate) fn decode(header: &Header, entry: &[u8], at: u64, inside: u64) -> Result<(Piece, u64), Error> {
    let word = u64_at(entry, 0);
    let wrong = |why| Error::L2Entry { at, entry: word, why };
    let left = header.cluster_size() - inside;
    if word & COMPRESSED != 0 {
        return Ok((Piece::Compressed(compressed(header, word, at)), left));
    }
    let zero_flag = header.version > 2 && !header.subclusters;
    let known = OFFSET | COPIED | if zero_flag { ZERO } else { 0 };
    if word & !known != 0 {
        return Err(wrong("reserved bits are set"));
    }
    let offset = word & OFFSET;
    if !offset.is_multiple_of(header.cluster_size()) {
        return Err(wrong("it is not at the start of a cluster"));
    }
    if header.subclusters {
        let parts = u64_at(entry, 8);
        let (data, zero) = (parts & 0xffff_ffff, parts >> 32);
        if data & zero != 0 {
            return Err(wrong("subclusters have data and are zero at the same time"));
        }
        if data != 0 && offset == 0 {
            return Err(wrong("subclusters have data which are nowhere"));
        }
        let size = header.cluster_size() / SUBCLUSTERS;
        let first = inside / size;
        let has = |part: u64| data >> part & 1 != 0;
        let same = (first..SUBCLUSTERS).take_while(|part| has(*part) == has(first)).count() as u64;
        let len = (first + same) * size - inside;
        return Ok((if has(first) { Piece::Data { offset: offset + inside } } else { Piece::Zeros }, len));
    }
    let empty = offset == 0 || word & ZERO != 0 && zero_flag;
    Ok((if empty { Piece::Zeros } else { Piece::Data { offset: offset + inside } }, left))
}

fn compressed(header: &Header, word: u64, at: u64) -> Compressed {
    let bits = 62 - (header.cluster_bits - 8);
    let offset = word & ((1 << bits) - 1);
    let sectors = ((word & (COMPRESSED - 1)) >> bits) + 1;
    Compressed { at, offset, len: sectors * 512 - offset % 512 }
}

/// Unpacks a compressed cluster into `cluster`, which has exactly the cluster's size.
pub(crate) fn unpack(how: Compression, at: u64, bytes: &[u8], cluster: &mut [u8]) -> Result<(), Error> {
    let damaged = |why| Error::Damaged { at, why };
    match how {
        Compression::Deflate => {
            let mut inflate = Decompress::new(false);
            inflate
                .decompress(bytes, cluster, FlushDecompress::Finish)
                .map_err(|_| damaged("it is not deflated"))?;
            // The stream may go on when the cluster is full; nobody needs its end.
            if inflate.total_out() != cluster.len() as u64 {
                return Err(damaged("it is too short"));
            }
            Ok(())
        }
        Compression::Zstd => {
            let mut decoder = ruzstd::decoding::StreamingDecoder::new(bytes)
                .map_err(|_| damaged("it is no Zstandard frame"))?;
            decoder.read_exact(cluster).map_err(|_| damaged("its Zstandard frame is damaged or too short"))
        }
    }
}
