//! Telling writers by what they call themselves.

use std::fmt;

use crate::format::Creator;

/// Who wrote a VHD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Writer {
    /// This library.
    XenapiRs,
    /// libvhd and tapdisk, of XenServer's dom0.
    Blktap {
        /// Major and minor version.
        version: (u16, u16),
    },
    /// XAPI's exporter.
    Xapi,
    /// Xen Orchestra.
    XenOrchestra,
    /// `qemu-img` without `force_size`: sized by its geometry.
    Qemu,
    /// `qemu-img` with `force_size`.
    QemuForced,
    /// Virtual PC: sized by its geometry.
    VirtualPc,
    /// Hyper-V and other parts of Windows.
    Windows,
    /// Disk2vhd.
    Disk2vhd,
    /// Virtual Server 2004.
    VirtualServer,
    /// VirtualBox.
    VirtualBox,
    /// XenConverter.
    XenConvert,
    /// Azure.
    Azure,
    /// Somebody else.
    Unknown([u8; 4]),
}

impl Writer {
    /// The writer who uses this creator field.
    pub fn of(creator: Creator) -> Self {
        match &creator.application {
            b"xnrs" => Self::XenapiRs,
            b"tap\0" => {
                let [a, b, c, d] = creator.version.to_be_bytes();
                Self::Blktap { version: (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])) }
            }
            b"caml" => Self::Xapi,
            b"xo  " => Self::XenOrchestra,
            b"qemu" => Self::Qemu,
            b"qem2" => Self::QemuForced,
            b"vpc " => Self::VirtualPc,
            b"win " => Self::Windows,
            b"d2v\0" | b"d2v " => Self::Disk2vhd,
            b"vs  " => Self::VirtualServer,
            b"vbox" => Self::VirtualBox,
            b"CTXS" => Self::XenConvert,
            b"wa\0\0" => Self::Azure,
            other => Self::Unknown(*other),
        }
    }
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::XenapiRs => f.write_str("xenapi-rs"),
            Self::Blktap { version: (major, minor) } => write!(f, "XenServer's blktap {major}.{minor}"),
            Self::Xapi => f.write_str("XAPI's exporter (vhd-tool)"),
            Self::XenOrchestra => f.write_str("Xen Orchestra"),
            Self::Qemu => f.write_str("qemu-img without force_size (its geometry is its size)"),
            Self::QemuForced => f.write_str("qemu-img with force_size"),
            Self::VirtualPc => f.write_str("Virtual PC (its geometry is its size)"),
            Self::Windows => f.write_str("Windows or Hyper-V"),
            Self::Disk2vhd => f.write_str("Disk2vhd"),
            Self::VirtualServer => f.write_str("Virtual Server 2004"),
            Self::VirtualBox => f.write_str("VirtualBox"),
            Self::XenConvert => f.write_str("XenConvert"),
            Self::Azure => f.write_str("Azure"),
            Self::Unknown(letters) => write!(f, "unknown (\"{}\")", letters.escape_ascii()),
        }
    }
}
