//! Sizes in words.

use std::fmt;

/// A number of bytes, shown in the largest unit that it is a whole number of, or else as bytes with the
/// nearest unit beside them: two sizes in one sentence never look the same when they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let bytes = self.0;
        match UNITS.into_iter().find(|(_, shift)| bytes >> shift != 0) {
            None => write!(f, "{bytes} bytes"),
            Some((unit, shift)) if bytes.is_multiple_of(1 << shift) => write!(f, "{} {unit}", bytes >> shift),
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
            (1023, "1023 bytes"),
            (2 << 20, "2 MiB"),
            (2040 << 30, "2040 GiB"),
            ((10 << 30) + 512, "10737418752 bytes (10.00 GiB)"),
            (67_125_248, "67125248 bytes (64.01 MiB)"),
            (u64::MAX, "18446744073709551615 bytes (17179869183.99 GiB)"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
