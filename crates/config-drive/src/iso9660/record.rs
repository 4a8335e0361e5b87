//! Directory records and path tables (ECMA-119, 9.1 and 9.4).

use super::susp::{self, Continuation, Subject};
use super::{Branch, Directory, Hierarchy, SECTOR_BYTES, Target};

/// 1 January 1980, 00:00 UTC, as a record has it (ECMA-119, 9.1.5).
pub(super) const EPOCH: [u8; 7] = [80, 1, 1, 0, 0, 0, 0];

const SELF: &[u8] = &[0];
const PARENT: &[u8] = &[1];

/// Some sectors.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extent {
    pub(super) sector: u32,
    pub(super) len: u32,
}

impl Extent {
    /// The first sector behind it.
    pub(super) fn behind(self) -> u32 {
        self.sector + super::sectors_of(self.len as usize)
    }
}

/// Where the things are that records point to.
#[derive(Clone, Copy)]
pub(super) struct Placement<'a> {
    /// Directories, by number.
    pub(super) extents: &'a [Extent],
    /// The first content.
    pub(super) contents: u32,
}

/// A directory as it stands on the volume.
pub(super) struct DirectoryBytes {
    /// Whole sectors.
    pub(super) records: Vec<u8>,
    /// Goes in the sectors behind them.
    pub(super) continuation: Vec<u8>,
}

pub(super) fn directory(
    directories: &[Directory<'_>],
    number: usize,
    hierarchy: Hierarchy,
    placement: Placement<'_>,
) -> DirectoryBytes {
    let directory = &directories[number];
    let mut continuation = Continuation::from_sector(placement.extents[number].behind());
    let mut records = Vec::new();
    let mut add = |identifier: &[u8], extent: Extent, subject: Subject<'_>| {
        let mut record = record(identifier, extent, is_directory(subject));
        if hierarchy == Hierarchy::Primary {
            record.extend(susp::fields(subject, record.len(), &mut continuation));
        }
        record[0] = record.len() as u8;
        push_record(&mut records, &record);
    };
    let links = directory.links();
    let own = if number == 0 { Subject::Root { links } } else { Subject::Dot { links } };
    add(SELF, placement.extents[number], own);
    let parent = directory.parent;
    add(PARENT, placement.extents[parent], Subject::Dot { links: directories[parent].links() });
    for entry in directory.sorted(hierarchy) {
        let (extent, subject) = match entry.target {
            Target::Directory(number) => (
                placement.extents[number],
                Subject::Directory { name: entry.name, links: directories[number].links() },
            ),
            Target::File(content) => (
                Extent { sector: placement.contents.saturating_add(content.sector), len: content.len },
                Subject::File { name: entry.name },
            ),
        };
        add(&entry.names.identifier(hierarchy), extent, subject);
    }
    records.resize(records.len().next_multiple_of(SECTOR_BYTES as usize), 0);
    DirectoryBytes { records, continuation: continuation.into_bytes() }
}

/// The record of the root that a volume descriptor holds: without any fields of Rock Ridge.
pub(super) fn root(branch: &Branch) -> Vec<u8> {
    record(SELF, branch.extents[0], true)
}

fn is_directory(subject: Subject<'_>) -> bool {
    !matches!(subject, Subject::File { .. })
}

fn record(identifier: &[u8], extent: Extent, is_directory: bool) -> Vec<u8> {
    let mut record = vec![0, 0];
    record.extend(both_u32(extent.sector));
    record.extend(both_u32(extent.len));
    record.extend(EPOCH);
    record.extend([if is_directory { 2 } else { 0 }, 0, 0]);
    record.extend(both_u16(1));
    record.push(identifier.len() as u8);
    record.extend(identifier);
    pad_to_even(&mut record);
    record[0] = record.len() as u8;
    record
}

/// No record crosses the end of a sector.
fn push_record(records: &mut Vec<u8>, record: &[u8]) {
    let sector = SECTOR_BYTES as usize;
    if records.len() % sector + record.len() > sector {
        records.resize(records.len().next_multiple_of(sector), 0);
    }
    records.extend_from_slice(record);
}

/// The table of all directories, with numbers little endian and big endian.
pub(super) fn path_tables(directories: &[Directory<'_>], branch: &Branch) -> (Vec<u8>, Vec<u8>) {
    let mut positions = vec![0u16; directories.len()];
    let mut identifiers = vec![SELF.to_vec(); directories.len()];
    for directory in directories {
        for entry in &directory.entries {
            if let Target::Directory(number) = entry.target {
                identifiers[number] = entry.names.identifier(branch.hierarchy);
            }
        }
    }
    let (mut little, mut big) = (Vec::new(), Vec::new());
    for (&number, position) in branch.order.iter().zip(1..) {
        positions[number] = position;
        let identifier = &identifiers[number];
        let sector = branch.extents[number].sector;
        let parent = positions[directories[number].parent];
        for table in [&mut little, &mut big] {
            table.extend([identifier.len() as u8, 0]);
        }
        little.extend(sector.to_le_bytes());
        little.extend(parent.to_le_bytes());
        big.extend(sector.to_be_bytes());
        big.extend(parent.to_be_bytes());
        for table in [&mut little, &mut big] {
            table.extend(identifier);
            pad_to_even(table);
        }
    }
    (little, big)
}

/// A number as the standard wants most of them: little endian, then big endian.
pub(super) fn both_u32(number: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// The same of 16 bits.
pub(super) fn both_u16(number: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (number.to_le_bytes(), number.to_be_bytes());
    [a, b, c, d]
}

pub(super) fn pad_to_even(bytes: &mut Vec<u8>) {
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
}
