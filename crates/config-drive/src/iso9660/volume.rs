//! Volume descriptors (ECMA-119, 8).

use super::record::{self, both_u16, both_u32};
use super::{Branch, SECTOR_BYTES};
use crate::Label;

/// Level 3 of UCS-2, which is how a descriptor says that it is Joliet's.
const JOLIET_ESCAPE: &[u8] = b"%/E";
const PREPARER: &str = "XENAPI-RS CONFIG-DRIVE";
/// 1 January 1980, 00:00 UTC, in digits (ECMA-119, 8.4.26.1).
const CREATED: &[u8; 17] = b"1980010100000000\0";
const NEVER: &[u8; 17] = b"0000000000000000\0";

/// The descriptor of the primary hierarchy. Its label is in lower case against the letter of the standard,
/// as `mkisofs` writes it too, since guests look for it so.
pub(super) fn primary(label: Label, sectors: u32, branch: &Branch) -> Vec<u8> {
    let text = |text: &str, len: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(len, b' ');
        bytes
    };
    descriptor(1, &[], text, label, sectors, branch)
}

/// The descriptor of the Joliet hierarchy.
pub(super) fn joliet(label: Label, sectors: u32, branch: &Branch) -> Vec<u8> {
    let text = |text: &str, len: usize| {
        let spaces = std::iter::repeat(u16::from(b' '));
        let mut bytes: Vec<_> =
            text.encode_utf16().chain(spaces).take(len / 2).flat_map(u16::to_be_bytes).collect();
        bytes.resize(len, 0);
        bytes
    };
    descriptor(2, JOLIET_ESCAPE, text, label, sectors, branch)
}

pub(super) fn terminator() -> Vec<u8> {
    header(255)
}

fn header(kind: u8) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(b"CD001\x01\x00");
    bytes
}

fn descriptor(
    kind: u8,
    escape: &[u8],
    text: impl Fn(&str, usize) -> Vec<u8>,
    label: Label,
    sectors: u32,
    branch: &Branch,
) -> Vec<u8> {
    let mut bytes = header(kind);
    let zeros = |bytes: &mut Vec<u8>, len| bytes.resize(bytes.len() + len, 0);
    bytes.extend(text("", 32));
    bytes.extend(text(label.as_str(), 32));
    zeros(&mut bytes, 8);
    bytes.extend(both_u32(sectors));
    bytes.extend(escape);
    zeros(&mut bytes, 32 - escape.len());
    // One volume in the set, the first.
    bytes.extend(both_u16(1));
    bytes.extend(both_u16(1));
    bytes.extend(both_u16(SECTOR_BYTES as u16));
    bytes.extend(both_u32(branch.path_table_bytes));
    bytes.extend(branch.little_endian_path_table.to_le_bytes());
    zeros(&mut bytes, 4);
    bytes.extend(branch.big_endian_path_table.to_be_bytes());
    zeros(&mut bytes, 4);
    bytes.extend(record::root(branch));
    // Volume set, publisher, preparer, application.
    for name in ["", "", PREPARER, ""] {
        bytes.extend(text(name, 128));
    }
    // Files with a copyright, an abstract and a bibliography.
    for _ in 0..3 {
        bytes.extend(text("", 37));
    }
    for date in [CREATED, CREATED, NEVER, NEVER] {
        bytes.extend(date);
    }
    bytes.push(1);
    bytes.resize(SECTOR_BYTES as usize, 0);
    bytes
}
