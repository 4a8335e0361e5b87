//! What tests and fuzz targets share: reading an image in memory, the slow way.

use crate::{Decoder, Error, Event, Limits, Map, Piece, ReadError};

/// The map of an image in memory.
///
/// # Errors
/// What is wrong with it.
pub fn map(file: &[u8], limits: &Limits) -> Result<Map, Error> {
    Map::read(file.len() as u64, limits, |offset, buffer: &mut [u8]| {
        buffer.copy_from_slice(slice(file, offset, buffer.len() as u64));
        Ok::<(), std::convert::Infallible>(())
    })
    .map_err(|error| match error {
        ReadError::Format(error) => error,
        ReadError::Io(never) => match never {},
    })
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
    let mut found = Vec::new();
    let mut at = 0;
    while at < map.header().virtual_size.min(most) {
        let table = map.table(at).expect("inside of the disk");
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
    let Ok(map) = map(file, limits) else {
        assert!(streamed.is_err(), "what can be read forward can be read at random");
        return;
    };
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
