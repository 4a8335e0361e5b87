//! What tests and fuzz targets share: a stream of whatever format, taken whole and in pieces.

mod packed;

use std::ops::Range;

pub use self::packed::packed;
use crate::chunked::Decoder;
use crate::error::Error;
use crate::incoming::{Incoming, Part};
use crate::sink::Saved;
use crate::unpack::tar::Archive;

/// What a stream told until its end, or until what is wrong with it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    sizes: Vec<u64>,
    plan: Vec<Range<u64>>,
    /// Neighbours joined.
    data: Vec<(u64, Vec<u8>)>,
}

/// A stream that is fed whole and in pieces, whose length the first byte gives, tells the same and ends the same way, as
/// anything and as a VHD of whatever type; and what tells by itself that it is a VHD is the same VHD.
///
/// # Panics
/// When it does not.
pub fn stream(bytes: &[u8]) {
    let Some((cut, stream)) = bytes.split_first() else { return };
    let [anything, vhd] = [Incoming::Unknown, Incoming::AnyVhd].map(|begin: fn(Vec<u8>) -> Incoming| {
        let whole = read(begin(Vec::new()), [stream].into_iter());
        let pieces = read(begin(Vec::new()), stream.chunks(usize::from(*cut) + 1));
        assert_eq!(whole.1, pieces.1);
        // What comes before an error that spoils it does not count.
        if whole.1.is_ok() {
            assert_eq!(whole.0, pieces.0);
        }
        whole
    });
    if stream.len() >= 512 && vhd::format::Footer::has_cookie(stream) {
        assert_eq!(anything, vhd);
    }
}

/// A tar archive whose members are read one after the other, and each found again at its place, has the same ones.
///
/// # Panics
/// When it has not.
pub fn archive(bytes: &[u8]) {
    let (mut forward, mut at) = (Archive::at(bytes, 0), 0);
    loop {
        let mut again = Archive::at(bytes.get(at..).unwrap_or_default(), at as u64);
        let (next, same) = (forward.next(), again.next());
        match (next, same) {
            (Ok(Some(next)), Ok(Some(same))) => {
                assert_eq!((&next, forward.position()), (&same, again.position()));
                let end = forward.position().saturating_add(next.size).checked_next_multiple_of(512);
                at = end.and_then(|end| usize::try_from(end).ok()).unwrap_or(usize::MAX);
            }
            (next, same) => {
                assert_eq!(next.is_ok(), same.is_ok());
                return;
            }
        }
    }
}

/// Records of XAPI's chunked framing make the disk that they say one after the other, whole and in pieces, or are
/// refused both ways at the same place. The first bytes give the disk's size and the length of the pieces.
///
/// # Panics
/// When they do not.
pub fn chunked(bytes: &[u8]) {
    let Some((&[high, low, cut], stream)) = bytes.split_first_chunk::<3>() else { return };
    let size = u16::from_be_bytes([high, low]);
    let fed = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut decoder, mut disk) = (Decoder::new(size.into()), vec![0; usize::from(size)]);
        for mut piece in pieces {
            while let Some((at, data)) = decoder.feed(&mut piece)? {
                let at = usize::try_from(at).expect("inside of the disk");
                disk[at..at + data.len()].copy_from_slice(data);
            }
        }
        decoder.finish().map(|()| disk)
    };
    let whole = fed(&mut std::iter::once(stream));
    assert_eq!(whole, fed(&mut stream.chunks(usize::from(cut) + 1)));
    assert_eq!(whole.ok(), records(stream, size.into()));
}

/// The disk of `size` bytes that whole records make, if they are right.
fn records(mut stream: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut disk = vec![0; size.next_multiple_of(512)];
    loop {
        let (offset, rest) = stream.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (offset, len) = (u64::from_le_bytes(*offset), u32::from_le_bytes(*len) as usize);
        if (offset, len) == (0, 0) {
            disk.truncate(size);
            return rest.is_empty().then_some(disk);
        }
        let (data, rest) = rest.split_at_checked(len).filter(|_| len > 0)?;
        let start = usize::try_from(offset).ok()?;
        disk.get_mut(start..start.checked_add(len)?)?.copy_from_slice(data);
        stream = rest;
    }
}

fn read<'a>(mut incoming: Incoming, pieces: impl Iterator<Item = &'a [u8]>) -> (Told, Result<Saved, String>) {
    let mut told = Told::default();
    let fed = pieces.map(|piece| incoming.feed(piece, &mut |part| told.take(part))).find(Result::is_err);
    let end = fed.unwrap_or(Ok(())).and_then(|()| incoming.finish());
    (told, end.map_err(|error| error.to_string()))
}

impl Told {
    fn take(&mut self, part: Part<'_>) -> Result<(), Error> {
        match part {
            Part::Size(size) => self.sizes.push(size),
            Part::Plan(extents) => self.plan.extend(extents),
            Part::Data(at, bytes) => match self.data.last_mut() {
                Some((start, last)) if *start + last.len() as u64 == at => last.extend_from_slice(bytes),
                _ => self.data.push((at, bytes.to_vec())),
            },
        }
        Ok(())
    }
}
