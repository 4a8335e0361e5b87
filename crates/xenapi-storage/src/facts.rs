//! What differs between types of storage repositories, as data.
//!
//! Sources: the drivers of XAPI's storage manager (`CAPABILITIES` of each, `lvutil`, `vhdutil`) and
//! `sm_fs_ops.ml` of XAPI for which new disks do not read as zeros.

use std::collections::BTreeMap;

use crate::Size;

/// What the type and the `sm_config` of a repository imply for disks in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What can be in it.
    pub holds: Holds,
    /// How a new disk is stored.
    pub format: Format,
    /// When space is taken.
    pub allocation: Allocation,
    /// Virtual sizes are rounded up to a multiple of this many bytes, and one is the least.
    pub size_step_bytes: u64,
    /// The largest virtual size in bytes, if there is one that is known.
    pub max_virtual_bytes: Option<u64>,
    /// What is allocated for a disk is rounded up to a multiple of this many bytes.
    pub extent_bytes: u64,
    /// Whether a new disk reads as zeros. If not, XAPI refuses to import a VHD into it, and every byte of
    /// a raw image must be sent.
    pub prezeroed: bool,
    /// Whether XAPI exports the differences between a disk and its snapshot: it finds them in VHD files.
    pub delta_export: bool,
}

/// What can be in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Disks that are created in it.
    Disks,
    /// Whole LUNs, one a disk, of the size they happen to have.
    Luns,
    /// Disc images and devices; no disk can be created.
    Media,
}

/// How a disk is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As a VHD, in a file or in a volume.
    Vhd,
    /// As it is.
    Raw,
    /// In a way that this crate does not know.
    Unknown,
}

/// When space for a disk is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// As it is written.
    Thin,
    /// All of it at creation.
    Thick,
    /// Not known.
    Unknown,
}

/// The largest virtual size of a VHD: 2040 GiB.
pub const VHD_MAX_BYTES: u64 = 2040 << 30;

const MIB: u64 = 1 << 20;

/// The block size of a VHD, which sizes of VHDs are multiples of.
const VHD_BLOCK_BYTES: u64 = 2 * MIB;
/// The extent size of the storage manager's volume groups.
const LVM_EXTENT_BYTES: u64 = 4 * MIB;
/// An empty VHD with a block table for 2 TiB: the storage manager reserves that much, so that a later
/// resize does not have to move the table.
const VHD_TABLE_BYTES: u64 = 4_327_936;
/// The sector bitmap of each block, on a page of its own.
const VHD_BITMAP_BYTES: u64 = 4096;

const VHD_FILE: Facts = Facts {
    holds: Holds::Disks,
    format: Format::Vhd,
    allocation: Allocation::Thin,
    size_step_bytes: VHD_BLOCK_BYTES,
    max_virtual_bytes: Some(VHD_MAX_BYTES),
    extent_bytes: 4096,
    prezeroed: true,
    delta_export: true,
};

const VHD_VOLUME: Facts = Facts { allocation: Allocation::Thick, extent_bytes: LVM_EXTENT_BYTES, ..VHD_FILE };

const RAW_VOLUME: Facts = Facts {
    format: Format::Raw,
    size_step_bytes: LVM_EXTENT_BYTES,
    max_virtual_bytes: None,
    prezeroed: false,
    delta_export: false,
    ..VHD_VOLUME
};

const RAW_FILE: Facts =
    Facts { format: Format::Raw, max_virtual_bytes: None, delta_export: false, ..VHD_FILE };

const LUN: Facts = Facts { holds: Holds::Luns, size_step_bytes: 512, extent_bytes: 512, ..RAW_VOLUME };

const MEDIA: Facts = Facts { holds: Holds::Media, prezeroed: true, ..LUN };

/// For types this crate has not heard of: nothing is promised that is not sure, and sizes are asked for
/// in steps that suit every type there is.
const UNKNOWN: Facts = Facts {
    holds: Holds::Disks,
    format: Format::Unknown,
    allocation: Allocation::Unknown,
    size_step_bytes: VHD_BLOCK_BYTES,
    max_virtual_bytes: None,
    extent_bytes: LVM_EXTENT_BYTES,
    prezeroed: true,
    delta_export: false,
};

const KINDS: &[(&str, Facts)] = &[
    ("cslg", Facts { prezeroed: false, ..UNKNOWN }),
    ("dummy", RAW_FILE),
    ("ext", VHD_FILE),
    ("file", VHD_FILE),
    ("hba", LUN),
    ("iscsi", LUN),
    ("iso", MEDIA),
    ("lvhd", VHD_VOLUME),
    ("lvm", VHD_VOLUME),
    ("lvmofcoe", VHD_VOLUME),
    ("lvmohba", VHD_VOLUME),
    ("lvmoiscsi", VHD_VOLUME),
    ("nfs", VHD_FILE),
    ("rawfile", RAW_FILE),
    ("rawnfs", RAW_FILE),
    ("shm", MEDIA),
    ("smb", VHD_FILE),
    ("udev", MEDIA),
];

impl Facts {
    /// What is known of repositories of this type with this `sm_config`.
    pub fn of(sr_type: &str, sm_config: &BTreeMap<String, String>) -> Self {
        let sr_type = sr_type.to_ascii_lowercase();
        let setting = |key: &str| sm_config.get(key).map(String::as_str);
        let known = KINDS.iter().find(|(name, _)| *name == sr_type).map_or(UNKNOWN, |(_, facts)| *facts);
        match sr_type.as_str() {
            // An old volume group that was never upgraded keeps its disks raw.
            "lvm" | "lvmoiscsi" | "lvmohba" if setting("use_vhd") != Some("true") => RAW_VOLUME,
            "lvm" | "lvmoiscsi" | "lvmohba" | "lvmofcoe" | "lvhd"
                if setting("allocation") == Some("thin") =>
            {
                Self { allocation: Allocation::Thin, ..known }
            }
            "equal" if setting("allocation") == Some("thick") => {
                Self { prezeroed: false, allocation: Allocation::Thick, ..known }
            }
            _ => known,
        }
    }

    /// The virtual size that a disk of `wanted_bytes` gets.
    ///
    /// # Errors
    ///
    /// The largest size there is, if it is less.
    pub fn round_size(&self, wanted_bytes: u64) -> Result<u64, Size> {
        let max =
            self.max_virtual_bytes.unwrap_or(i64::MAX as u64 / self.size_step_bytes * self.size_step_bytes);
        if wanted_bytes > max {
            return Err(Size(max));
        }
        Ok(wanted_bytes.max(1).next_multiple_of(self.size_step_bytes))
    }

    /// The bytes that a new disk takes at once: all of it with the VHD's tables where space is taken at
    /// creation, and the tables alone elsewhere.
    ///
    /// `virtual_bytes` must be a size that [`round_size`](Self::round_size) returns.
    pub fn initial_bytes(&self, virtual_bytes: u64) -> u64 {
        match self.allocation {
            Allocation::Thin => self.allocated_bytes(0),
            Allocation::Thick | Allocation::Unknown => self.allocated_bytes(virtual_bytes),
        }
    }

    /// The bytes that a disk takes with `data_bytes` of it written, in whole blocks.
    pub(crate) fn allocated_bytes(&self, data_bytes: u64) -> u64 {
        let overhead = match self.format {
            Format::Vhd => VHD_TABLE_BYTES + data_bytes.div_ceil(VHD_BLOCK_BYTES) * VHD_BITMAP_BYTES,
            Format::Raw | Format::Unknown => 0,
        };
        data_bytes.saturating_add(overhead).next_multiple_of(self.extent_bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn facts(sr_type: &str, sm_config: &[(&str, &str)]) -> Facts {
        Facts::of(sr_type, &sm_config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn table_is_sorted() {
        assert!(KINDS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn types() {
        let vhd = [("use_vhd", "true"), ("allocation", "thick")];
        for (sr_type, sm_config, expected) in [
            ("ext", &[][..], VHD_FILE),
            ("EXT", &[], VHD_FILE),
            ("nfs", &[], VHD_FILE),
            ("smb", &[], VHD_FILE),
            ("lvm", &vhd, VHD_VOLUME),
            ("lvmoiscsi", &vhd, VHD_VOLUME),
            ("lvm", &[], RAW_VOLUME),
            ("lvm", &[("use_vhd", "false")], RAW_VOLUME),
            ("lvhd", &[], VHD_VOLUME),
            (
                "lvmoiscsi",
                &[("use_vhd", "true"), ("allocation", "thin")],
                Facts { allocation: Allocation::Thin, ..VHD_VOLUME },
            ),
            (
                "equal",
                &[("allocation", "thick")],
                Facts { prezeroed: false, allocation: Allocation::Thick, ..UNKNOWN },
            ),
            ("iso", &[], MEDIA),
            ("iscsi", &[], LUN),
            ("rawfile", &[], RAW_FILE),
            ("linstor", &[], UNKNOWN),
        ] {
            assert_eq!(facts(sr_type, sm_config), expected, "{sr_type} {sm_config:?}");
        }
        assert!(!facts("lvm", &[]).prezeroed && facts("lvm", &vhd).prezeroed && facts("ext", &[]).prezeroed);
        assert!(!facts("cslg", &[]).prezeroed);
    }

    #[test]
    fn sizes() {
        let lvm = [("use_vhd", "true")];
        for (sr_type, sm_config, wanted, expected) in [
            ("ext", &[][..], 0, Ok(2 * MIB)),
            ("ext", &[], 1, Ok(2 * MIB)),
            ("ext", &[], 2 * MIB, Ok(2 * MIB)),
            ("nfs", &[], 2 * MIB + 1, Ok(4 * MIB)),
            ("lvm", &lvm, 67_125_248, Ok(66 * MIB)),
            ("lvm", &[], 66 * MIB, Ok(68 * MIB)),
            ("ext", &[], VHD_MAX_BYTES, Ok(VHD_MAX_BYTES)),
            ("ext", &[], VHD_MAX_BYTES - 1, Ok(VHD_MAX_BYTES)),
            ("ext", &[], VHD_MAX_BYTES + 1, Err(Size(VHD_MAX_BYTES))),
            ("lvm", &lvm, u64::MAX, Err(Size(VHD_MAX_BYTES))),
            ("rawfile", &[], 3 << 40, Ok(3 << 40)),
            ("iscsi", &[], 1000, Ok(1024)),
        ] {
            assert_eq!(facts(sr_type, sm_config).round_size(wanted), expected, "{sr_type} {wanted}");
        }
    }

    #[test]
    fn what_a_new_disk_takes() {
        const GIB: u64 = 1 << 30;
        let lvm = facts("lvm", &[("use_vhd", "true")]);
        // 10 GiB, 5,120 bitmaps of 4 KiB, the table, rounded up to 4 MiB.
        assert_eq!(lvm.initial_bytes(10 * GIB), 10 * GIB + 28 * MIB);
        assert_eq!(lvm.initial_bytes(2 * MIB), 8 * MIB);
        assert_eq!(facts("lvm", &[]).initial_bytes(10 * GIB), 10 * GIB);
        assert_eq!(facts("ext", &[]).initial_bytes(10 * GIB), 4_329_472);
        assert_eq!(facts("rawfile", &[]).initial_bytes(10 * GIB), 0);
    }

    proptest! {
        #[test]
        fn rounding(index in 0..KINDS.len(), wanted in any::<u64>(), small in 0..(5u64 << 30)) {
            let facts = KINDS[index].1;
            for wanted in [wanted, small] {
                match facts.round_size(wanted) {
                    Ok(size) => {
                        prop_assert!(size >= wanted && size - wanted <= facts.size_step_bytes);
                        prop_assert_eq!(facts.round_size(size), Ok(size));
                        prop_assert!(facts.max_virtual_bytes.is_none_or(|max| size <= max));
                        prop_assert!(i64::try_from(size).is_ok(), "the server's sizes are signed");
                    }
                    Err(Size(max)) => prop_assert!(wanted > max && facts.round_size(max) == Ok(max)),
                }
            }
        }
    }
}
