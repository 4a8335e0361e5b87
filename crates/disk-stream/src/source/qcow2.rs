//! qcow2 images that are whole disks.

use qcow2::{Header, Limits, Map, Piece, ReadError, Table};

use super::{BlockSource, Extent, Memo};
use crate::error::Error;
use crate::image::{Format, Opening};
use crate::layer::DiskFile;
use crate::parents::Parents;

#[derive(Debug)]
struct Qcow2(Map);

pub(super) fn recognises(first: &[u8]) -> bool {
    Header::is_qcow2(first)
}

/// What has a backing file, of which only the header is looked at.
#[derive(Debug)]
struct Overlay(Header);

/// Bytes of the file that have a header with all names in it.
const HEAD: u64 = 4096;

pub(super) fn open(file: &DiskFile, opening: &Opening) -> Result<Box<dyn BlockSource>, Error> {
    let read_at = |offset, buffer: &mut [u8]| file.read_at(offset, buffer);
    match Map::read(file.len(), &Limits::default(), read_at) {
        Ok(map) => Ok(Box::new(Qcow2(map))),
        // Whoever only looks at it may do so.
        Err(ReadError::Format(qcow2::Error::BackingFile(_))) if opening.parents == Parents::Ignore => {
            // At most a few KiB.
            let mut head = vec![0; usize::try_from(file.len().min(HEAD)).unwrap_or_default()];
            file.read_at(0, &mut head)?;
            let header = Header::parse(&head, &Limits::default()).map_err(|source| damaged(file, source))?;
            Ok(Box::new(Overlay(header)))
        }
        Err(error) => Err(unreadable(file, error)),
    }
}

fn unreadable(file: &DiskFile, error: ReadError<Error>) -> Error {
    match error {
        ReadError::Format(source) => damaged(file, source),
        ReadError::Io(source) => source,
    }
}

fn damaged(file: &DiskFile, source: qcow2::Error) -> Error {
    Error::Qcow2 { path: file.path().to_owned(), source }
}

impl Qcow2 {
    fn table(&self, file: &DiskFile, at: u64, memo: &mut Memo) -> Result<Option<Table>, Error> {
        let read_at = |offset, buffer: &mut [u8]| file.read_at(offset, buffer);
        self.0.table(at, &mut memo.first, read_at).map_err(|error| unreadable(file, error))
    }

    fn piece(&self, file: &DiskFile, table: &Table, at: u64, memo: &mut Memo) -> Result<(Piece, u64), Error> {
        let entries = match table.offset {
            None => &[][..],
            Some(offset) => memo.table(offset, |bytes| {
                // A cluster, at most 2 MiB.
                bytes.resize(usize::try_from(table.len).unwrap_or(usize::MAX), 0);
                file.read_at(offset, bytes)
            })?,
        };
        self.0.piece(table, entries, at).map_err(|source| damaged(file, source))
    }
}

impl BlockSource for Qcow2 {
    fn format(&self) -> Format {
        Format::Qcow2
    }

    fn virtual_size(&self) -> u64 {
        self.0.header().virtual_size
    }

    fn extent(&self, file: &DiskFile, at: u64, memo: &mut Memo) -> Result<Option<(Extent, u64)>, Error> {
        let Some(table) = self.table(file, at, memo)? else { return Ok(None) };
        let (piece, len) = self.piece(file, &table, at, memo)?;
        let extent = match piece {
            Piece::Zeros => Extent::Zeros,
            Piece::Data { offset } => Extent::At(offset),
            Piece::Compressed(_) => Extent::Encoded,
        };
        Ok(Some((extent, len)))
    }

    fn decode(&self, file: &DiskFile, at: u64, buffer: &mut [u8], memo: &mut Memo) -> Result<(), Error> {
        let Some(table) = self.table(file, at, memo)? else { return Ok(()) };
        let (Piece::Compressed(packed), _) = self.piece(file, &table, at, memo)? else { return Ok(()) };
        let cluster = memo.unpacked(packed.at, |cluster| {
            let len = packed.len.min(file.len() - packed.offset);
            // A little more than a cluster, at most.
            let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
            file.read_at(packed.offset, &mut bytes)?;
            self.0.unpack(&packed, &bytes, cluster).map_err(|source| damaged(file, source))
        })?;
        let inside = usize::try_from(at - packed.at).unwrap_or(usize::MAX);
        buffer.copy_from_slice(&cluster[inside..inside + buffer.len()]);
        Ok(())
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        details(self.0.header())
    }
}

impl BlockSource for Overlay {
    fn format(&self) -> Format {
        Format::Qcow2
    }

    fn virtual_size(&self) -> u64 {
        self.0.virtual_size
    }

    fn extent(&self, file: &DiskFile, _: u64, _: &mut Memo) -> Result<Option<(Extent, u64)>, Error> {
        let name = self.backing_file().unwrap_or_default().to_owned();
        Err(damaged(file, qcow2::Error::BackingFile(name)))
    }

    fn backing_file(&self) -> Option<&str> {
        self.0.backing_file.as_deref()
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        let format = self.0.backing_format.clone().map(|format| ("backing file format", format));
        details(&self.0).into_iter().chain(format).collect()
    }
}

fn details(header: &Header) -> Vec<(&'static str, String)> {
    let mut details = vec![
        ("version", header.version.to_string()),
        ("cluster size", header.cluster_size().to_string()),
        ("compression", format!("{:?}", header.compression).to_lowercase()),
        ("snapshots", header.snapshots.to_string()),
    ];
    if header.subclusters {
        details.push(("subclusters", "32 to a cluster".to_owned()));
    }
    if header.dirty {
        details.push(("warning", "its reference counts may be wrong; its data are not".to_owned()));
    }
    if header.corrupt {
        details.push(("warning", "a program found it damaged and marked it: qemu-img check".to_owned()));
    }
    details
}
