//! Packed disks: any bytes, and streams that are compressed here.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::Compression as Level;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use vhd::fuzzing::make_sum;

use crate::error::Error;
use crate::image::{Declared, Format};
use crate::incoming::Incoming;
use crate::unpack::problem::Fault;
use crate::unpack::{self, Assembly, Compression, Found, Packing, Rest, Target, Unpack, Unpacked};

/// The largest disk, and the most that a description makes.
const MOST: usize = 5 << 20;
const LONG: usize = 128 << 10;
const SECTOR: usize = 512;

/// Bytes as a packed disk, or as the description of a stream that is packed here, by the first byte. Behind it: the disk's
/// size, the length of the pieces, the length of what is compressed at a time, and a place in the compressed stream.
///
/// Whatever comes, no byte is written outside of the disk, and it is the same disk or the same error whole and in pieces,
/// onto zeros and onto anything. What is compressed is the disk that it is when it is not, however it is compressed; when
/// the compressed stream is cut or a byte of it is another one, it is that disk still, or refused.
///
/// # Panics
/// When one of that is not so.
pub fn packed(bytes: &[u8]) {
    let Some((&[how, size, cut, member, high, low], rest)) = bytes.split_first_chunk::<6>() else { return };
    let trial = Trial {
        size: if size < 0xf8 {
            (usize::from(size) + 1) * SECTOR
        } else {
            (usize::from(size) - 0xf7) * MOST / 8
        },
        cut: if cut < 0x80 { usize::from(cut) + 1 } else { (usize::from(cut) - 0x7f) * 1009 },
        options: options(how),
    };
    let stream = if how & 1 == 0 { rest.to_vec() } else { describe(rest) };
    let plain = trial.agreed(&stream);
    second_reader(&trial, &stream, &plain);
    if stream.is_empty() || trial.options.packing == Packing::Bare || Compression::of(&stream).is_some() {
        return;
    }
    let size = (usize::from(member) + 1) * if how & 2 == 0 { 64 } else { 16 << 10 };
    // Each member takes its time.
    let size = size.max(stream.len().div_ceil(8));
    let packed = match how & 4 {
        0 => stream.chunks(size).flat_map(|part| gzip(part, Level::new(member.into()))).collect(),
        _ if how & 8 == 0 => with_sum(compress_to_vec(&*stream, CompressionLevel::Fastest), &stream),
        _ => with_sum(compress_to_vec(&*stream, CompressionLevel::Uncompressed), &stream),
    };
    same(&trial.unpack(&packed, trial.cut, Rest::Zeros), &plain, &stream);
    let at = usize::from(u16::from_be_bytes([high, low])) % packed.len();
    // The first bytes say that it is compressed.
    if at > 3 {
        damaged(&trial, &packed, at, &plain, &stream);
    }
}

fn options(how: u8) -> Unpack {
    let declared =
        [Declared::Unknown, Declared::Raw, Declared::Vhd, Declared::Qcow2][usize::from(how >> 4 & 3)];
    let packing =
        [Packing::Unknown, Packing::Unknown, Packing::Bare, Packing::Archive][usize::from(how >> 6)];
    Unpack { declared, packing, len: None, change: false }
}

/// What was made of a stream: what it was and the disk, or why not.
type Outcome = Result<(Unpacked, Vec<u8>), String>;

struct Trial {
    /// Of the disk, in bytes.
    size: usize,
    /// How many bytes come at a time.
    cut: usize,
    options: Unpack,
}

impl Trial {
    /// What a stream is, whichever way it comes and wherever it goes.
    fn agreed(&self, stream: &[u8]) -> Outcome {
        let onto_zeros = self.unpack(stream, stream.len(), Rest::Zeros);
        assert_eq!(onto_zeros, self.unpack(stream, self.cut, Rest::Zeros), "in pieces of {}", self.cut);
        if stream.len() > LONG {
            return onto_zeros;
        }
        let onto_anything = self.unpack(stream, self.cut, Rest::Anything);
        // Layers onto a disk that was used must have blocks of one size.
        if onto_anything.is_ok() || onto_zeros.is_err() {
            assert_eq!(onto_zeros.is_ok(), onto_anything.is_ok(), "{onto_zeros:?} {onto_anything:?}");
            if onto_zeros.is_ok() {
                assert_eq!(onto_zeros, onto_anything, "onto anything");
            }
        }
        onto_zeros
    }

    fn unpack(&self, stream: &[u8], cut: usize, rest: Rest) -> Outcome {
        // A long one byte by byte takes seconds.
        let cut = cut.max(stream.len() / 4096);
        let fill = if rest == Rest::Zeros { 0 } else { 0x55 };
        let disk = Arc::new(Mutex::new(vec![fill; self.size]));
        let target = Onto(disk.clone());
        let mut begin = |_: Found| -> Result<Assembly, Fault> {
            Ok(Assembly::new(Box::new(target.clone()), self.size as u64, rest))
        };
        let told = unpack::decode(Pieces { stream, cut }, &self.options, &mut begin);
        let disk = disk.lock().unwrap_or_else(PoisonError::into_inner).clone();
        told.map(|unpacked| (unpacked, disk)).map_err(|fault| format!("{fault:?}"))
    }
}

/// A compressed stream is what it is when it is not compressed.
fn same(packed: &Outcome, plain: &Outcome, stream: &[u8]) {
    match (packed, plain) {
        (Ok((packed, disk)), Ok((unpacked, other))) => {
            assert_eq!(disk, other, "compressed, it is another disk");
            let (found, expected) = (packed.found, unpacked.found);
            assert_eq!((found.archive, found.format), (expected.archive, expected.format));
            assert_eq!(packed.layers, unpacked.layers);
        }
        (Err(_), Err(_)) => {}
        // That its end mark is missing proves nothing about an archive whose compression says that it is whole.
        (Ok((packed, _)), Err(plain)) => {
            assert!(packed.found.archive && plain.contains("end mark"), "{plain}");
        }
        (Err(packed), Ok(_)) => panic!("{} bytes, compressed: {packed}", stream.len()),
    }
}

/// A compressed stream that is cut at this byte, and one in which it is another one.
fn damaged(trial: &Trial, packed: &[u8], at: usize, plain: &Outcome, stream: &[u8]) {
    let mut other = packed.to_vec();
    other[at] ^= 1 << (at % 8);
    if let Ok((_, disk)) = trial.unpack(&other, trial.cut, Rest::Zeros) {
        let (_, expected) = plain.as_ref().expect("damage does not make it good");
        assert_eq!(&disk, expected, "byte {at} is another one");
    }
    if let Ok((unpacked, disk)) = trial.unpack(&packed[..at], trial.cut, Rest::Zeros) {
        // Whole members are a stream, too, of what there is in them.
        assert!(packed[..2] == [0x1f, 0x8b], "a part of a frame was taken for a whole one");
        let len = inflated(&packed[..at]).expect("a part of a member was taken for a whole one");
        let beginning = trial.unpack(&gzip(&stream[..len], Level::fast()), trial.cut, Rest::Zeros);
        assert_eq!(beginning, Ok((unpacked, disk)), "cut at byte {at}");
    }
}

/// How much a stream of whole gzip members is.
fn inflated(stream: &[u8]) -> Option<usize> {
    let mut out = Vec::new();
    flate2::read::MultiGzDecoder::new(stream).read_to_end(&mut out).ok().map(|_| out.len())
}

/// A dynamic VHD or a qcow2 image is the disk that the reader of single images makes of it.
fn second_reader(trial: &Trial, stream: &[u8], outcome: &Outcome) {
    let Ok((Unpacked { found, .. }, disk)) = outcome else { return };
    if found.archive || found.compression.is_some() || found.format == Format::Raw {
        return;
    }
    let (told, end) = super::read(Incoming::Unknown(Vec::new()), std::iter::once(stream));
    if end.is_err() {
        return;
    }
    let mut expected = vec![0; trial.size];
    for (at, bytes) in told.data {
        let at = usize::try_from(at).expect("inside of the disk");
        expected[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    assert_eq!(disk, &expected, "another disk than the reader of images has");
}

/// A stream from its description: literal bytes, repeated ones, and checksums of what was made last.
fn describe(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some((what, rest)) = bytes.split_first() {
        bytes = rest;
        match what {
            0..0xf0 => {
                let (literal, rest) = rest.split_at(rest.len().min(usize::from(*what) + 1));
                out.extend_from_slice(literal);
                bytes = rest;
            }
            0xf0..0xf8 => {
                let Some((&[high, low, byte], rest)) = rest.split_first_chunk::<3>() else { break };
                let unit = if *what < 0xf4 { 1 } else { 64 };
                let len = usize::from(u16::from_be_bytes([high, low])) * unit;
                out.resize(out.len() + len.min(MOST - out.len()), byte);
                bytes = rest;
            }
            0xf8 | 0xf9 => seal(&mut out, SECTOR, |footer| make_sum(footer, 64)),
            0xfa | 0xfb => seal(&mut out, 2 * SECTOR, |header| make_sum(header, 36)),
            0xfc | 0xfd => out.resize(out.len().next_multiple_of(SECTOR), 0),
            _ => seal(&mut out, SECTOR, |head| {
                head[148..156].fill(b' ');
                let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
                head[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
                head[154] = 0;
            }),
        }
        if out.len() >= MOST {
            break;
        }
    }
    out.truncate(MOST);
    out
}

fn seal(out: &mut [u8], len: usize, how: impl Fn(&mut [u8])) {
    if let Some(start) = out.len().checked_sub(len) {
        how(&mut out[start..]);
    }
}

fn gzip(part: &[u8], level: Level) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::new(level.level() % 10));
    encoder.write_all(part).and_then(|()| encoder.finish()).expect("memory takes everything")
}

/// A frame with the checksum of its content, which the encoder here leaves out.
fn with_sum(mut frame: Vec<u8>, content: &[u8]) -> Vec<u8> {
    frame[4] |= 4;
    let sum = twox_hash::XxHash64::oneshot(0, content);
    frame.extend_from_slice(&sum.to_le_bytes()[..4]);
    frame
}

/// A stream that comes in pieces.
struct Pieces<'a> {
    stream: &'a [u8],
    cut: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = buffer.len().min(self.cut).min(self.stream.len());
        let (piece, rest) = self.stream.split_at(len);
        buffer[..len].copy_from_slice(piece);
        self.stream = rest;
        Ok(len)
    }
}

#[derive(Debug, Clone)]
struct Onto(Arc<Mutex<Vec<u8>>>);

impl Target for Onto {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut disk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = usize::try_from(offset).expect("inside of the disk");
        assert!(at.is_multiple_of(SECTOR) && !bytes.is_empty(), "{} bytes at {at}", bytes.len());
        let len = disk.len();
        assert!(at + bytes.len() <= len, "{} bytes at {at} of a disk of {len}", bytes.len());
        disk[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}
