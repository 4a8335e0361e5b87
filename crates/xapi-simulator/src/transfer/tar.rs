//! Disks as XAPI's archives: members `vdi/00000000` of 1 MiB, each with its checksum; absent numbers are zeros.

use super::xxh64::xxh64;

/// Bytes of disk in a member; the last one may be shorter.
pub(super) const CHUNK: u64 = 1 << 20;
/// Two empty blocks end an archive.
pub(super) const END: [u8; 1024] = [0; 1024];

const RECORD: usize = 512;

/// The members for chunk number `index`: header, data and padding, then the same for the checksum.
pub(super) fn members(index: u64, chunk: &[u8]) -> Vec<u8> {
    let name = format!("vdi/{index:08}");
    let checksum = format!("{:016X}", xxh64(chunk));
    let mut out = Vec::with_capacity(chunk.len() + 4 * RECORD);
    member(&mut out, &name, chunk);
    member(&mut out, &format!("{name}.xxhash"), checksum.as_bytes());
    out
}

/// Header as XAPI writes it: mode 400, everything else zero, no magic.
fn member(out: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut header = [0; RECORD];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000400");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{:011o}", content.len()));
    put(136, "00000000000");
    // The sum counts its own field as blanks.
    put(148, "        ");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..156].copy_from_slice(format!("{sum:07o}\0").as_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(RECORD), 0);
}
