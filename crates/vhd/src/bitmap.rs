//! The sector bitmap in front of each block: one bit a sector, the most significant first.

use std::ops::Range;

/// Runs of sectors with equal bits, in order.
///
/// `sectors` is the number of sectors in the block; the bitmap's padding is not looked at.
///
/// # Panics
/// When the bitmap has fewer bits than `sectors`.
pub fn runs(bitmap: &[u8], sectors: u32) -> impl Iterator<Item = (Range<u32>, bool)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        (at < sectors).then(|| {
            let start = at;
            let set = is_set(bitmap, at);
            at = run_end(bitmap, at, sectors);
            (start..at, set)
        })
    })
}

/// Whether the bit of `sector` is set.
pub fn is_set(bitmap: &[u8], sector: u32) -> bool {
    bitmap[sector as usize / 8] & (0x80 >> (sector % 8)) != 0
}

/// The first sector behind `from` whose bit differs from that of `from`, at most `sectors`.
pub fn run_end(bitmap: &[u8], from: u32, sectors: u32) -> u32 {
    let set = is_set(bitmap, from);
    let same = if set { 0xff } else { 0 };
    let mut at = from;
    while at < sectors {
        if at.is_multiple_of(8) && bitmap[at as usize / 8] == same {
            at += 8;
        } else if is_set(bitmap, at) == set {
            at += 1;
        } else {
            break;
        }
    }
    at.min(sectors)
}

/// Whether the bits of all `sectors` are set.
pub fn is_full(bitmap: &[u8], sectors: u32) -> bool {
    is_set(bitmap, 0) && run_end(bitmap, 0, sectors) == sectors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_follow_the_bits() {
        let bitmap = [0b1111_1111, 0b1110_0000, 0, 0, 0b0000_0001, 0xff];
        assert_eq!(runs(&bitmap, 40).collect::<Vec<_>>(), [(0..11, true), (11..39, false), (39..40, true)]);
        assert_eq!(runs(&bitmap, 44).last(), Some((39..44, true)));
        assert!(is_full(&bitmap, 8) && !is_full(&bitmap, 12));
    }
}
