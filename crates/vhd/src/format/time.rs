//! VHD's calendar.

/// Seconds between the Unix epoch and 2000-01-01T00:00:00Z.
const EPOCH: u64 = 946_684_800;

/// Seconds since 2000-01-01T00:00:00Z (VHD specification, "Time Stamp"); wraps in 2136.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u32);

impl Timestamp {
    /// From seconds since 1970; what lies outside of the range becomes its nearest end.
    pub fn from_unix(seconds: u64) -> Self {
        Self(u32::try_from(seconds.saturating_sub(EPOCH)).unwrap_or(u32::MAX))
    }

    /// As seconds since 1970.
    pub fn to_unix(self) -> u64 {
        u64::from(self.0) + EPOCH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_2000() {
        assert_eq!(Timestamp::from_unix(EPOCH), Timestamp(0));
        assert_eq!(Timestamp::from_unix(0), Timestamp(0));
        assert_eq!(Timestamp::from_unix(EPOCH + (1 << 40)), Timestamp(u32::MAX));
        assert_eq!(Timestamp::from_unix(1_700_000_000).to_unix(), 1_700_000_000);
    }
}
