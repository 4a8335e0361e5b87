//! Compressed archives: gzip and zstd, both ways.

use std::io::{self, Write};

use flate2::write::{GzDecoder, GzEncoder};
use ruzstd::decoding::FrameDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use xenapi_types::handler::Compression;

/// Unpacks what comes in parts of any size.
pub(super) enum Unpacker {
    Gzip(Box<GzDecoder<Vec<u8>>>),
    Zstd(Box<Unzstd>),
}

impl Unpacker {
    /// How many bytes tell how a stream is packed.
    pub(super) const MAGIC_LEN: usize = 4;

    /// For a stream that begins like this; nothing when it is not packed.
    pub(super) fn of(begin: [u8; Self::MAGIC_LEN]) -> Option<Self> {
        match begin {
            [0x1f, 0x8b, ..] => Some(Self::Gzip(GzDecoder::new(Vec::new()).into())),
            ZSTD => Some(Self::Zstd(Box::default())),
            _ => None,
        }
    }

    /// Takes the next part, none at the end, and adds to `plain` what it gives.
    ///
    /// # Errors
    /// A stream that is damaged or cut off.
    pub(super) fn unpack(&mut self, packed: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Gzip(gzip) => {
                let mut rest = packed;
                while !rest.is_empty() {
                    let taken = gzip.write(rest)?;
                    if taken == 0 {
                        // What is behind the end of the compressed stream belongs to nobody.
                        break;
                    }
                    rest = &rest[taken..];
                }
                // It keeps some of what it has decompressed.
                gzip.flush()?;
                plain.append(gzip.get_mut());
                Ok(())
            }
            Self::Zstd(zstd) => zstd.unpack(packed, plain),
        }
    }
}

const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// No header of a frame is longer.
const MAX_HEADER: usize = 18;

/// Frames of zstd, one after the other.
#[derive(Default)]
pub(super) struct Unzstd {
    waiting: Vec<u8>,
    /// Of the frame that has been begun.
    frame: Option<FrameDecoder>,
}

impl Unzstd {
    fn unpack(&mut self, packed: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
        self.waiting.extend_from_slice(packed);
        let mut rest = &self.waiting[..];
        while !rest.is_empty() {
            let frame = self.frame.get_or_insert_with(FrameDecoder::new);
            // Nothing is taken of a block that is not whole.
            let taken = match frame.decode_from_to(rest, &mut []) {
                Ok((taken, _)) => taken,
                Err(_) if frame.blocks_decoded() == 0 && rest.len() < MAX_HEADER => 0,
                Err(error) => return Err(io::Error::other(error)),
            };
            if taken == 0 || taken > rest.len() {
                break;
            }
            rest = &rest[taken..];
            frame.collect_to_writer(&mut *plain)?;
            if frame.is_finished() {
                self.frame = None;
            }
        }
        let taken = self.waiting.len() - rest.len();
        self.waiting.drain(..taken);
        let is_cut = packed.is_empty() && self.frame.is_some();
        if is_cut { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

/// Packs what goes out.
pub(super) enum Packer {
    Gzip(Box<GzEncoder<Vec<u8>>>),
    /// What is to go into the next frame.
    Zstd(Vec<u8>),
}

/// How many bytes go into a frame of zstd. Programs that read zstd take any number of frames.
const FRAME: usize = 1 << 20;

impl Packer {
    /// The one that a client asks for; nothing when it wants none.
    ///
    /// # Errors
    /// A compression that XAPI does not know: its name.
    pub(super) fn of(compression: Option<&Compression>) -> Result<Option<Self>, String> {
        match compression.map(Compression::as_str) {
            None | Some("false") => Ok(None),
            Some("true" | "gzip") => {
                Ok(Some(Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::fast()).into())))
            }
            Some("zstd") => Ok(Some(Self::Zstd(Vec::new()))),
            Some(other) => Err(other.to_owned()),
        }
    }

    /// Takes some of `plain`, and adds to `packed` what is ready.
    ///
    /// # Errors
    /// None that occur in memory.
    pub(super) fn pack(&mut self, plain: &[u8], packed: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Gzip(gzip) => {
                let taken = gzip.write(plain)?;
                packed.append(gzip.get_mut());
                Ok(taken)
            }
            Self::Zstd(frame) => {
                let taken = plain.len().min(FRAME - frame.len());
                frame.extend_from_slice(&plain[..taken]);
                if frame.len() == FRAME {
                    packed.extend(compress_to_vec(&frame[..], CompressionLevel::Fastest));
                    frame.clear();
                }
                Ok(taken)
            }
        }
    }

    /// Adds what is left to `packed`.
    ///
    /// # Errors
    /// None that occur in memory.
    pub(super) fn finish(self, packed: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Gzip(gzip) => packed.append(&mut gzip.finish()?),
            Self::Zstd(frame) => packed.extend(compress_to_vec(&frame[..], CompressionLevel::Fastest)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(name: &str, plain: &[u8]) -> Vec<u8> {
        let mut packer = Packer::of(Some(&Compression::from(name))).unwrap().unwrap();
        let (mut out, mut rest) = (Vec::new(), plain);
        while !rest.is_empty() {
            rest = &rest[packer.pack(rest, &mut out).unwrap()..];
        }
        packer.finish(&mut out).unwrap();
        out
    }

    fn unpacked(packed: &[u8], step: usize) -> io::Result<Vec<u8>> {
        let mut unpacker = Unpacker::of(packed[..4].try_into().unwrap()).unwrap();
        let mut plain = Vec::new();
        for part in packed.chunks(step) {
            unpacker.unpack(part, &mut plain)?;
        }
        unpacker.unpack(&[], &mut plain)?;
        Ok(plain)
    }

    #[test]
    fn what_was_packed_is_unpacked_whatever_it_is_cut_into() {
        let all: Vec<u8> = (0..1_500_000_u32).flat_map(|n| (n / 3).to_le_bytes()).collect();
        for plain in [&all[..0], &all[..1], &all[..FRAME], &all] {
            for name in ["gzip", "true", "zstd"] {
                let packed = packed(name, plain);
                assert!(packed.len() < plain.len() + 64, "{name}: {} of {}", packed.len(), plain.len());
                for step in [1 << 30, 4_097, 100_000, 5] {
                    let step = if plain.len() > FRAME { step.max(1_000) } else { step };
                    assert!(unpacked(&packed, step).unwrap() == plain, "{name}, {step}");
                }
            }
        }
    }

    #[test]
    fn what_is_whole_is_given_before_the_end() {
        let packed = packed("zstd", &[7; 5_000]);
        let mut unpacker = Unpacker::of(packed[..4].try_into().unwrap()).unwrap();
        let mut plain = Vec::new();
        unpacker.unpack(&packed, &mut plain).unwrap();
        assert_eq!(plain, [7; 5_000]);
    }

    #[test]
    fn frames_with_checksums_are_read() {
        // What `zstd` makes of `abc` and a line feed.
        let packed = b"\x28\xb5\x2f\xfd\x04\x58\x21\x00\x00abc\n\x2d\x6e\x4c\x82";
        for step in [1, 2, 5, 100] {
            assert_eq!(unpacked(packed, step).unwrap(), b"abc\n");
        }
    }

    #[test]
    fn a_cut_frame_is_an_error() {
        let packed = packed("zstd", &[7; 3 << 20]);
        for len in [5, 30, packed.len() - 1] {
            assert!(unpacked(&packed[..len], 1_000).is_err(), "{len}");
        }
        assert!(unpacked(&[&packed[..], b"junk"].concat(), 1_000).is_err());
    }

    #[test]
    fn nothing_and_the_unknown_are_not_packed() {
        assert!(Packer::of(None).unwrap().is_none());
        assert!(Packer::of(Some(&Compression::from("false"))).unwrap().is_none());
        assert_eq!(Packer::of(Some(&Compression::from("lzma"))).err().as_deref(), Some("lzma"));
        assert!(Unpacker::of(*b"ova.").is_none());
    }
}
