//! The checksum of footers and headers.

/// One's complement of the sum of all bytes, the four bytes at `field` counted as zero.
///
/// A plain byte sum: it guards against typing errors, not against swapped or moved bytes.
pub(super) fn checksum(bytes: &[u8], field: usize) -> u32 {
    let sum = |part: &[u8]| part.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    !sum(bytes).wrapping_sub(sum(&bytes[field..field + 4]))
}
