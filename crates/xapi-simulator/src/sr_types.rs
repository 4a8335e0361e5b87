//! What storage repositories can do, by type.
//!
//! The facts are those of the stock storage manager's drivers (their `CAPABILITIES` lists and size rules); `rawfile`
//! is the driver of the recorded server, which keeps plain files and copies them for snapshots.

use xenapi_wire::Failure;

use crate::disk::{BLOCK, Overrun};

/// How a type keeps its disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// VHDs in files that grow; snapshots share a base copy.
    VhdFiles,
    /// VHDs in volumes of full size; snapshots share a base copy.
    VhdVolumes,
    /// Plain files; snapshots are copies.
    RawFiles,
    /// ISO images, brought in by whoever administers the library.
    Isos,
    /// The LUNs of a target, one disk each.
    Luns,
    /// No content: disks cannot be attached.
    Nothing,
}

/// A type of storage repository.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SrType {
    /// As in `SR.type`.
    pub(crate) name: &'static str,
    /// The driver's name for people.
    pub(crate) label: &'static str,
    /// What the driver says it is.
    pub(crate) description: &'static str,
    /// The driver's file name in dom0.
    pub(crate) driver: &'static str,
    /// How the disks are kept.
    pub(crate) layout: Layout,
    /// What the driver can do; a suffix `/2` is the feature's version.
    pub(crate) capabilities: &'static [&'static str],
    /// Keys of `device_config` without which nothing works, and the error when they are missing.
    pub(crate) required_config: &'static [(&'static str, u32)],
}

/// The largest VHD: 2040 GiB.
const MAX_VHD: u64 = 2040 << 30;
/// Space a volume takes: whole extents of this size.
const EXTENT: u64 = 4 << 20;
/// The allocation table of a VHD is made for 2 TiB, so that a disk can grow without moving it.
const VHD_METADATA: u64 = 5 << 20;

const VHD_FILE: &[&str] = &[
    "SR_PROBE",
    "SR_UPDATE",
    "VDI_CREATE",
    "VDI_DELETE",
    "VDI_ATTACH",
    "VDI_DETACH",
    "VDI_UPDATE",
    "VDI_CLONE",
    "VDI_SNAPSHOT",
    "VDI_RESIZE",
    "VDI_MIRROR",
    "VDI_GENERATE_CONFIG",
    "VDI_RESET_ON_BOOT/2",
    "ATOMIC_PAUSE",
    "VDI_CONFIG_CBT",
    "VDI_ACTIVATE",
    "VDI_DEACTIVATE",
    "THIN_PROVISIONING",
    "VDI_READ_CACHING",
];

const TYPES: &[SrType] = &[
    SrType {
        name: "ext",
        label: "Local EXT3 VHD",
        description: "SR plugin which represents disks as VHD files stored on a local EXT filesystem",
        driver: "EXTSR",
        layout: Layout::VhdFiles,
        capabilities: VHD_FILE,
        required_config: &[("device", 90)],
    },
    SrType {
        name: "nfs",
        label: "NFS VHD",
        description: "SR plugin which stores disks as VHD files on a remote NFS filesystem",
        driver: "NFSSR",
        layout: Layout::VhdFiles,
        capabilities: VHD_FILE,
        required_config: &[("server", 102), ("serverpath", 101)],
    },
    SrType {
        name: "smb",
        label: "SMB VHD",
        description: "SR plugin which stores disks as VHD files on a remote SMB filesystem",
        driver: "SMBSR",
        layout: Layout::VhdFiles,
        capabilities: VHD_FILE,
        required_config: &[("server", 102)],
    },
    SrType {
        name: "file",
        label: "Local Path VHD",
        description: "SR plugin which represents disks as VHD files stored on a local path",
        driver: "FileSR",
        layout: Layout::VhdFiles,
        capabilities: &[
            "SR_PROBE",
            "SR_UPDATE",
            "VDI_CREATE",
            "VDI_DELETE",
            "VDI_ATTACH",
            "VDI_DETACH",
            "VDI_CLONE",
            "VDI_SNAPSHOT",
            "VDI_RESIZE",
            "VDI_MIRROR",
            "VDI_GENERATE_CONFIG",
            "VDI_CONFIG_CBT",
            "VDI_ACTIVATE",
            "VDI_DEACTIVATE",
            "THIN_PROVISIONING",
        ],
        required_config: &[("location", 94)],
    },
    SrType {
        name: "lvm",
        label: "Local VHD on LVM",
        description: "SR plugin which represents disks as VHD disks on Logical Volumes within a locally-attached Volume Group",
        driver: "LVHDSR",
        layout: Layout::VhdVolumes,
        capabilities: &[
            "SR_PROBE",
            "SR_UPDATE",
            "SR_TRIM",
            "VDI_CREATE",
            "VDI_DELETE",
            "VDI_ATTACH",
            "VDI_DETACH",
            "VDI_MIRROR",
            "VDI_CLONE",
            "VDI_SNAPSHOT",
            "VDI_RESIZE",
            "ATOMIC_PAUSE",
            "VDI_RESET_ON_BOOT/2",
            "VDI_UPDATE",
            "VDI_CONFIG_CBT",
            "VDI_ACTIVATE",
            "VDI_DEACTIVATE",
        ],
        required_config: &[("device", 90)],
    },
    SrType {
        name: "lvmoiscsi",
        label: "LVHD over iSCSI",
        description: "SR plugin which represents disks as Logical Volumes within a Volume Group created on an iSCSI LUN",
        driver: "LVHDoISCSISR",
        layout: Layout::VhdVolumes,
        capabilities: LVM_SHARED,
        required_config: &[("target", 95), ("targetIQN", 96), ("SCSIid", 107)],
    },
    SrType {
        name: "iscsi",
        label: "iSCSI",
        description: "Base ISCSI SR driver, provides a LUN-per-VDI. Does not support creation of VDIs but accesses existing LUNs on a target.",
        driver: "ISCSISR",
        layout: Layout::Luns,
        capabilities: &["SR_PROBE", "VDI_CREATE", "VDI_DELETE", "VDI_ATTACH", "VDI_DETACH", "VDI_INTRODUCE"],
        required_config: &[("target", 95), ("targetIQN", 96)],
    },
    SrType {
        name: "lvmohba",
        label: "LVHD over FC",
        description: "SR plugin which represents disks as VHDs on Logical Volumes within a Volume Group created on an HBA LUN",
        driver: "LVHDoHBASR",
        layout: Layout::VhdVolumes,
        capabilities: LVM_SHARED,
        required_config: &[("SCSIid", 107)],
    },
    SrType {
        name: "rawfile",
        label: "rawfile",
        description: "raw files in a directory (local experiment)",
        driver: "RawFileSR",
        layout: Layout::RawFiles,
        capabilities: &[
            "SR_PROBE",
            "SR_UPDATE",
            "VDI_ACTIVATE",
            "VDI_ATTACH",
            "VDI_CLONE",
            "VDI_CREATE",
            "VDI_DEACTIVATE",
            "VDI_DELETE",
            "VDI_DETACH",
            "VDI_INTRODUCE",
            "VDI_RESIZE",
            "VDI_SNAPSHOT",
            "VDI_UPDATE",
        ],
        required_config: &[],
    },
    SrType {
        name: "dummy",
        label: "dummy",
        description: "SR plugin which manages fake data",
        driver: "DummySR",
        layout: Layout::Nothing,
        capabilities: &[
            "SR_PROBE",
            "VDI_ACTIVATE",
            "VDI_ATTACH",
            "VDI_CLONE",
            "VDI_CREATE",
            "VDI_DEACTIVATE",
            "VDI_DELETE",
            "VDI_DETACH",
            "VDI_INTRODUCE",
            "VDI_MIRROR",
            "VDI_RESIZE",
            "VDI_SNAPSHOT",
        ],
        required_config: &[],
    },
    SrType {
        name: "iso",
        label: "ISO",
        description: "Handles CD images stored as files in iso format",
        driver: "ISOSR",
        layout: Layout::Isos,
        capabilities: &[
            "SR_ATTACH",
            "SR_DETACH",
            "SR_SCAN",
            "VDI_ATTACH",
            "VDI_CREATE",
            "VDI_DELETE",
            "VDI_DETACH",
        ],
        required_config: &[("location", 94)],
    },
    SrType {
        name: "udev",
        label: "udev",
        description: "SR plugin which represents devices plugged in via udev as VDIs",
        driver: "udevSR",
        layout: Layout::Nothing,
        capabilities: &["VDI_INTRODUCE", "VDI_ATTACH", "VDI_DETACH", "VDI_UPDATE", "SR_UPDATE"],
        required_config: &[],
    },
];

const LVM_SHARED: &[&str] = &[
    "SR_PROBE",
    "SR_UPDATE",
    "SR_METADATA",
    "SR_TRIM",
    "SR_CACHING",
    "VDI_CREATE",
    "VDI_DELETE",
    "VDI_ATTACH",
    "VDI_DETACH",
    "VDI_GENERATE_CONFIG",
    "VDI_CLONE",
    "VDI_SNAPSHOT",
    "VDI_RESIZE",
    "ATOMIC_PAUSE",
    "VDI_RESET_ON_BOOT/2",
    "VDI_UPDATE",
    "VDI_MIRROR",
    "VDI_CONFIG_CBT",
    "VDI_ACTIVATE",
    "VDI_DEACTIVATE",
];

impl SrType {
    /// The type of this name, which is in lower case.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        TYPES.iter().find(|kind| kind.name == name)
    }

    /// All types.
    pub(crate) fn all() -> impl Iterator<Item = &'static Self> {
        TYPES.iter()
    }

    /// The driver's features with their versions.
    pub(crate) fn features(&self) -> impl Iterator<Item = (&'static str, i64)> + use<> {
        self.capabilities.iter().map(|capability| match capability.split_once('/') {
            Some((name, version)) => (name, version.parse().unwrap_or(1)),
            None => (*capability, 1),
        })
    }

    /// Whether the driver has a feature.
    pub(crate) fn has(&self, feature: &str) -> bool {
        self.features().any(|(name, _)| name == feature)
    }

    /// Whether disks are VHDs: they share base copies, and differences between them can be exported.
    pub(crate) fn is_vhd(&self) -> bool {
        matches!(self.layout, Layout::VhdFiles | Layout::VhdVolumes)
    }

    /// Whether a disk takes its full size from the start.
    pub(crate) fn is_thick(&self) -> bool {
        self.layout == Layout::VhdVolumes
    }

    /// The size a disk gets when `requested` is asked for.
    ///
    /// # Errors
    /// `SR_BACKEND_FAILURE_79` for a size the format cannot have.
    pub(crate) fn round_size(&self, requested: i64) -> Result<u64, Failure> {
        let invalid = |reason: &str| backend_failure(79, &format!("VDI Invalid size [opterr={reason}]"));
        if self.is_vhd() {
            let limits = "VDI size must be between 1 MB and 2088960 MB";
            let size = u64::try_from(requested).map_err(|_| invalid(limits))?;
            if size > MAX_VHD {
                return Err(invalid(limits));
            }
            return Ok(size.max(BLOCK).next_multiple_of(BLOCK));
        }
        // What Python makes of an absurd size in these drivers.
        let absurd = || backend_failure(1200, "Python int too large to convert to C long");
        let size = u64::try_from(requested).map_err(|_| absurd())?;
        if self.layout == Layout::Isos {
            return Ok(size);
        }
        size.checked_next_multiple_of(BLOCK).filter(|size| *size <= i64::MAX as u64).ok_or_else(absurd)
    }

    /// Space that a disk takes, given its size, the bytes of its own blocks and whether it is a base copy.
    pub(crate) fn physical_utilisation(&self, virtual_size: u64, own_bytes: u64, hidden: bool) -> u64 {
        match self.layout {
            Layout::VhdFiles => vhd_len(own_bytes),
            // Base copies are deflated to what they hold.
            Layout::VhdVolumes if hidden => vhd_len(own_bytes).next_multiple_of(EXTENT),
            Layout::VhdVolumes => vhd_len(virtual_size).next_multiple_of(EXTENT),
            // The recorded driver does not say.
            Layout::RawFiles | Layout::Isos | Layout::Nothing => 0,
            Layout::Luns => virtual_size,
        }
    }

    /// Whether fresh disks read as zeros, so that an upload may leave out what is zero. Volumes do not, unless
    /// they hold VHDs: `use_vhd` in the SR's `sm_config`, and no `type=raw` in the disk's.
    pub(crate) fn is_prezeroed(&self, use_vhd: bool, raw_disk: bool) -> bool {
        self.layout != Layout::VhdVolumes || (use_vhd && !raw_disk)
    }

    /// What happens to writes behind the end of a disk.
    pub(crate) fn overrun(&self) -> Overrun {
        if self.layout == Layout::RawFiles { Overrun::Grow } else { Overrun::Refuse }
    }
}

/// Bytes of a VHD file with so many bytes of blocks: each has a bitmap and is aligned to 4 KiB.
fn vhd_len(block_bytes: u64) -> u64 {
    VHD_METADATA + block_bytes / BLOCK * (BLOCK + 4096)
}

/// What a driver's exception becomes on the wire.
pub(crate) fn backend_failure(code: u32, message: &str) -> Failure {
    Failure::new(format!("SR_BACKEND_FAILURE_{code}"), ["", message, ""])
}

/// The driver's answer when an SR has no room.
pub(crate) fn no_space() -> Failure {
    backend_failure(44, "There is insufficient space")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_as_the_drivers_do() {
        let round = |name, size| SrType::find(name).unwrap().round_size(size).map_err(|e| e.code);
        for (name, requested, expected) in [
            ("rawfile", 0, Ok(0)),
            ("rawfile", 1, Ok(BLOCK)),
            ("rawfile", 5_000_000, Ok(3 * BLOCK)),
            ("rawfile", 2_190_433_320_961, Ok(2_190_435_418_112)),
            ("rawfile", -1, Err("SR_BACKEND_FAILURE_1200".to_owned())),
            ("rawfile", i64::MAX, Err("SR_BACKEND_FAILURE_1200".to_owned())),
            ("ext", 0, Ok(BLOCK)),
            ("ext", 2_190_433_320_960, Ok(2_190_433_320_960)),
            ("ext", 2_190_433_320_961, Err("SR_BACKEND_FAILURE_79".to_owned())),
            ("lvm", -1, Err("SR_BACKEND_FAILURE_79".to_owned())),
            ("iso", 1000, Ok(1000)),
        ] {
            assert_eq!(round(name, requested), expected, "{name} {requested}");
        }
    }

    #[test]
    fn thick_disks_take_their_size_and_thin_ones_their_data() {
        let used =
            |name, hidden| SrType::find(name).unwrap().physical_utilisation(64 * BLOCK, 2 * BLOCK, hidden);
        assert!(used("lvm", false) > 64 * BLOCK);
        assert!(used("lvm", true) < 8 * BLOCK);
        assert!(used("ext", false) < 8 * BLOCK);
    }

    #[test]
    fn features_have_versions() {
        let ext = SrType::find("ext").unwrap();
        assert!(ext.features().any(|feature| feature == ("VDI_RESET_ON_BOOT", 2)));
        assert!(ext.has("VDI_CLONE") && !ext.has("VDI_RESIZE_ONLINE"));
    }
}
