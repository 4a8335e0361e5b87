//! Cylinders, heads and sectors.

/// The geometry in a footer.
///
/// Only Virtual PC and QEMU (for creators `vpc ` and `qemu`) take a disk's size from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Geometry {
    /// Number of cylinders.
    pub cylinders: u16,
    /// Heads for each cylinder.
    pub heads: u8,
    /// Sectors for each track.
    pub sectors: u8,
}

impl std::fmt::Display for Geometry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.cylinders, self.heads, self.sectors)
    }
}

const MAX_SECTORS: u64 = 65535 * 16 * 255;
const LARGE: u64 = 65535 * 16 * 63;

impl Geometry {
    /// The geometry for a disk of `size` bytes (VHD specification, appendix "CHS Calculation").
    ///
    /// The result never describes more than the disk: `vhd-util check` refuses files whose
    /// geometry is larger than its own calculation.
    pub fn for_size(size: u64) -> Self {
        let total = size.div_ceil(512).min(MAX_SECTORS);
        Self::calculate(total, total >= LARGE)
    }

    /// The geometry as XAPI's vhd-tool writes it: it compares with `>` where the specification
    /// has `>=`, which shows for exactly one size.
    pub fn for_size_as_vhd_tool(size: u64) -> Self {
        let total = size.div_ceil(512).min(MAX_SECTORS);
        Self::calculate(total, total > LARGE)
    }

    fn calculate(total: u64, large: bool) -> Self {
        let (sectors, heads, tracks) = if large {
            (255, 16, total / 255)
        } else {
            let tracks = total / 17;
            let heads = tracks.div_ceil(1024).max(4);
            if heads <= 16 && tracks < heads * 1024 {
                (17, heads, tracks)
            } else if total / 31 < 16 * 1024 {
                (31, 16, total / 31)
            } else {
                (63, 16, total / 63)
            }
        };
        // The branches above keep each field in its range: tracks / 16 is at most 65535.
        Self {
            cylinders: u16::try_from(tracks / heads).unwrap_or(u16::MAX),
            heads: u8::try_from(heads).unwrap_or(16),
            sectors,
        }
    }

    /// The size in bytes that the geometry describes.
    pub fn size(self) -> u64 {
        u64::from(self.cylinders) * u64::from(self.heads) * u64::from(self.sectors) * 512
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sectors: u64, (cylinders, heads, per_track): (u16, u8, u8)) {
        assert_eq!(
            Geometry::for_size(sectors * 512),
            Geometry { cylinders, heads, sectors: per_track },
            "{sectors} sectors"
        );
    }

    #[test]
    fn follows_the_specification() {
        check(0, (0, 4, 17));
        check(16384, (240, 4, 17)); // 8 MiB, as XAPI exports it
        check(1024 * 4 * 17 - 1, (1023, 4, 17));
        check(1024 * 4 * 17, (140, 16, 31)); // as many tracks as 4 heads allow: no longer 17 sectors
        check((1024 * 4 + 1) * 17, (819, 5, 17));
        check(1024 * 16 * 17, (561, 16, 31));
        check(1024 * 16 * 31, (503, 16, 63));
        check(2_097_152, (2080, 16, 63)); // 1 GiB
        check(65535 * 16 * 63 - 1, (65534, 16, 63));
        check(65535 * 16 * 63, (16191, 16, 255));
        check(65535 * 16 * 255 + 5, (65535, 16, 255));
    }

    #[test]
    fn vhd_tool_differs_at_one_size_only() {
        let size = 65535 * 16 * 63 * 512;
        assert_eq!(
            Geometry::for_size_as_vhd_tool(size),
            Geometry { cylinders: 65535, heads: 16, sectors: 63 }
        );
        for other in [size - 512, size + 512] {
            assert_eq!(Geometry::for_size_as_vhd_tool(other), Geometry::for_size(other));
        }
    }

    #[test]
    fn is_never_larger_than_the_disk() {
        for megabytes in (0..3_000_000_u64).step_by(997) {
            let size = megabytes << 20;
            assert!(Geometry::for_size(size).size() <= size, "{megabytes} MiB");
        }
    }
}
