//! Sizes in words.

use std::fmt;

/// A number of bytes, written exactly where that is short and with its bytes where it is not, so that
/// two sizes in one sentence never look the same when they differ.
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let bytes = self.0;
        for (unit, shift) in units {
            if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
                return write!(f, "{} {unit}", bytes >> shift);
            }
        }
        match units.into_iter().find(|(_, shift)| bytes >= 1 << shift) {
            None => write!(f, "{bytes} bytes"),
            // In hundredths of the unit, cut off: the exact number stands beside it.
            Some((unit, shift)) => {
                let hundredths = (u128::from(bytes) * 100) >> shift;
                write!(f, "{bytes} bytes ({}.{:02} {unit})", hundredths / 100, hundredths % 100)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Size;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (512, "512 bytes"),
            (4 << 30, "4 GiB"),
            (1536 << 20, "1536 MiB"),
            (67_125_248, "65552 KiB"),
            (4_295_467_009, "4295467009 bytes (4.00 GiB)"),
            (u64::MAX, "18446744073709551615 bytes (16777215.99 TiB)"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
