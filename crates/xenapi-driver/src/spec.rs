//! What the user wants: one instance, described without a word about how it is made.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

pub use config_drive::{
    Format as ConfigDriveFormat, ImageSize as ConfigDriveSize, Label as ConfigDriveLabel, MacAddr, Route,
};
pub use disk_stream::Declared as ImageFormat;
use uuid::Uuid;
use xenapi_client::Secret;
pub use xenapi_storage::Choice as SrChoice;
use xenapi_storage::device::UserDevice;

pub use crate::agent::{AdminPassword, AgentNeed, AgentSetup};
pub use crate::disk_setup::{DiskSetup, Grow};
pub use crate::image::RootImage;
pub use crate::kernel::{Kernel, KernelSource, Remote};
pub use crate::volume::Mount;

/// An instance to make. The fields that have a usual value get it from [`InstanceSpec::new`].
#[derive(Debug, Clone)]
pub struct InstanceSpec {
    /// The VM's `name_label`; no other VM of the pool may have it.
    pub name: String,
    /// The instance's own uuid, by which its objects are found again.
    pub uuid: Uuid,
    /// Size of the machine.
    pub flavor: Flavor,
    /// Where the root disk's content is.
    pub image: RootImage,
    /// What the image is, where that is known. A raw disk's content belongs to whoever used it, and
    /// can be made to look like a VHD.
    pub image_format: ImageFormat,
    /// Whether the image is the root disk's content, or a disc to install from.
    pub image_use: ImageUse,
    /// Uuid of the host to run on; may be left out where there is only one.
    pub node: Option<Uuid>,
    /// Where the disks go.
    pub sr: SrChoice,
    /// What dom0 does to the disks before the first start.
    pub disk_setup: DiskSetup,
    /// Volumes that it has from the beginning, besides a root disk that is one ([`RootImage::Volume`]).
    pub volumes: Vec<Mount>,
    /// Tags of disks by their place, so that software in the guest finds them: the config drive tells them. Volumes
    /// can have some if they are given a place.
    pub disk_tags: BTreeMap<UserDevice, Vec<String>>,
    /// Network interfaces in the order the guest sees them, device 0 first.
    pub nics: Vec<Nic>,
    /// How the guest is virtualised; `None` lets the plan decide ([`VmMode`]).
    pub vm_mode: Option<VmMode>,
    /// A kernel besides the disks, for a guest of mode xen.
    pub kernel: Option<Kernel>,
    /// Kind of guest, where it is known.
    pub os_type: Option<OsType>,
    /// What the machine is like, besides its size.
    pub hardware: Hardware,
    /// The VM's tags, by which operators' tools sort VMs.
    pub tags: Vec<String>,
    /// Content of the config drive; `None` makes an instance without one.
    pub config_drive: Option<ConfigDrive>,
    /// The instance's metadata, shown to the guest in the config drive (`meta`) and in xenstore
    /// (`vm-data/user-metadata/…`).
    pub metadata: BTreeMap<String, String>,
    /// What the agent in its image is asked for after the first start; `None` does not ask it.
    pub agent: Option<AgentSetup>,
    /// Whether the instance is started, or left halted when it is complete.
    pub power: Power,
}

impl InstanceSpec {
    /// An instance with a fresh uuid, on the pool's default SR, without network or config drive.
    pub fn new(name: impl Into<String>, flavor: Flavor, image: impl Into<RootImage>) -> Self {
        Self {
            name: name.into(),
            uuid: Uuid::new_v4(),
            flavor,
            image: image.into(),
            image_format: ImageFormat::Unknown,
            image_use: ImageUse::Declared,
            node: None,
            sr: SrChoice::PoolDefault,
            disk_setup: DiskSetup::default(),
            volumes: Vec::new(),
            disk_tags: BTreeMap::new(),
            nics: Vec::new(),
            vm_mode: None,
            kernel: None,
            os_type: None,
            hardware: Hardware::default(),
            tags: Vec::new(),
            config_drive: None,
            metadata: BTreeMap::new(),
            agent: None,
            power: Power::On,
        }
    }
}

/// What an instance does with its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImageUse {
    /// What its place says: Glance calls discs `iso`, and file systems `ami`. Everything else is a disk.
    #[default]
    Declared,
    /// The root disk is made of it.
    Disk,
    /// It is a disc (ISO 9660 or UDF, not packed), which goes into the drive that the VM boots from first, beside a
    /// blank root disk of the flavor's size. It is a disk like the others in XAPI, on the same SR, and ends with the
    /// instance.
    Disc,
    /// It is a file system (not packed) of a root disk that has no partition table: one is written in front of it, so that
    /// it is the first partition, `/dev/xvda1`. It begins where Nova has it, at sector 63. The disk has 32,256 bytes more
    /// than the file system.
    FileSystem,
}

/// What a machine is like, besides its size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hardware {
    /// What starts the boot loader.
    pub firmware: Firmware,
    /// Cores that share a socket, as the guest sees it; a divisor of the number of virtual CPUs. `None` is one.
    pub cores_per_socket: Option<u32>,
    /// Whether the guest may run virtual machines itself, where the host can.
    pub nested: bool,
    /// The four digits of the emulated platform device, for guests whose drivers look for another one than the
    /// usual.
    pub device_id: Option<String>,
    /// Devices of the host that the guest gets for itself: `0000:04:00.0`.
    pub pci: Vec<String>,
    /// Whether the guest has a virtual TPM. It needs UEFI, and a host that knows of them.
    pub tpm: bool,
    /// Virtual GPUs: each the name of a type (`VGPU_type.model_name`) or its uuid.
    pub gpus: Vec<String>,
    /// The emulated graphics card (`platform:vga`); `None` leaves it to XAPI.
    pub vga: Option<Vga>,
    /// Its memory in MiB, from 1 to 256 (`platform:videoram`); `None` leaves it to XAPI.
    pub video_ram_mib: Option<u32>,
}

/// An emulated graphics card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Vga {
    /// A Cirrus Logic GD 5446.
    Cirrus,
    /// Plain VGA with the extensions of VESA: larger modes.
    Std,
}

impl Vga {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Cirrus => "cirrus",
            Self::Std => "std",
        }
    }
}

/// What starts a guest's boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Firmware {
    /// A BIOS.
    #[default]
    Bios,
    /// UEFI.
    Uefi {
        /// Only boot loaders that are signed may start.
        secure_boot: bool,
    },
}

/// Size of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flavor {
    /// Number of virtual CPUs, at least 1.
    pub vcpus: u32,
    /// Memory in MiB. It is fixed unless there is a least.
    pub memory_mib: u64,
    /// The least memory in MiB that the host may leave to the guest when others need it (`memory_dynamic_min`), by
    /// the balloon driver in the guest. There is room for all of its memory when it is placed. `None` is no ballooning.
    pub memory_min_mib: Option<u64>,
    /// Size of the root disk in GiB; 0 keeps the image's own size.
    pub root_gib: u64,
    /// Share of the processor against other guests (Xen's credit scheduler, usual value 256).
    pub vcpu_weight: Option<u32>,
    /// Ceiling in percent of one physical CPU; 0 or `None` is no ceiling.
    pub vcpu_cap: Option<u32>,
    /// Physical CPUs the guest may use; empty is all of them.
    pub vcpu_mask: Vec<u32>,
    /// Size of a blank disk for the guest to swap to, at device 2, in MiB; 0 is none.
    pub swap_mib: u64,
    /// Size of the blank disks that end with the instance, from device 4 on, in GiB in all; 0 is none. More than
    /// 2000 GiB become several disks, none larger than that, for a VHD can be no larger than 2040 GiB.
    pub ephemeral_gib: u64,
}

impl Flavor {
    /// A flavor without scheduling wishes.
    pub fn new(vcpus: u32, memory_mib: u64, root_gib: u64) -> Self {
        Self {
            vcpus,
            memory_mib,
            memory_min_mib: None,
            root_gib,
            vcpu_weight: None,
            vcpu_cap: None,
            vcpu_mask: Vec::new(),
            swap_mib: 0,
            ephemeral_gib: 0,
        }
    }

    /// The least memory in bytes: all of it, without ballooning.
    pub fn memory_min_bytes(&self) -> u64 {
        self.memory_min_mib.unwrap_or(self.memory_mib) << 20
    }

    /// Memory in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_mib << 20
    }

    /// Size of the root disk in bytes, or `None` when the image decides.
    pub fn root_bytes(&self) -> Option<u64> {
        (self.root_gib > 0).then_some(self.root_gib << 30)
    }
}

/// A flavor's text that was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown flavor {0:?}: use m1.tiny, m1.small, m1.medium, m1.large or m1.xlarge, \
     or vcpus:memory_mib:root_gib such as 2:2048:20"
)]
pub struct FlavorError(pub String);

impl FromStr for Flavor {
    type Err = FlavorError;

    /// The five classic flavors by name, or `vcpus:memory_mib:root_gib`.
    fn from_str(text: &str) -> Result<Self, FlavorError> {
        let named = match text {
            "m1.tiny" => Some((1, 512, 1)),
            "m1.small" => Some((1, 2048, 20)),
            "m1.medium" => Some((2, 4096, 40)),
            "m1.large" => Some((4, 8192, 80)),
            "m1.xlarge" => Some((8, 16384, 160)),
            _ => None,
        };
        if let Some((vcpus, memory_mib, root_gib)) = named {
            return Ok(Self::new(vcpus, memory_mib, root_gib));
        }
        let unknown = || FlavorError(text.to_owned());
        let mut parts = text.split(':');
        let mut number = |max: u64| {
            let value = parts.next()?.parse::<u64>().ok()?;
            (value <= max).then_some(value)
        };
        let vcpus = number(u64::from(u16::MAX)).and_then(|n| u32::try_from(n).ok()).ok_or_else(unknown)?;
        let memory_mib = number(1 << 40).ok_or_else(unknown)?;
        let root_gib = number(1 << 30).ok_or_else(unknown)?;
        if parts.next().is_some() || vcpus == 0 || memory_mib == 0 {
            return Err(unknown());
        }
        Ok(Self::new(vcpus, memory_mib, root_gib))
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} vCPU, {} MiB of memory, {} GiB root disk", self.vcpus, self.memory_mib, self.root_gib)
    }
}

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// The network, by its uuid or else its `name_label` or else its bridge (`xenbr0`).
    pub network: String,
    /// The address the guest sees.
    pub mac: MacChoice,
    /// What the virtual switch lets through.
    pub locking: Locking,
    /// Addresses told to the guest in the config drive and in xenstore; empty means DHCP.
    pub addresses: Vec<Address>,
    /// The MTU in bytes, from 68 to 65535; `None` takes the network's.
    pub mtu: Option<u32>,
    /// The most that the guest may send, in kilobytes per second, at least 1; `None` is no limit. It is the VIF's
    /// `qos_algorithm_params:kbps` of the algorithm `ratelimit`.
    pub limit_kbytes: Option<u32>,
    /// Tags by which software in the guest finds it; the config drive tells them.
    pub tags: Vec<String>,
    /// Further keys of the VIF's `other_config`, such as `neutron-port-id`.
    pub other_config: BTreeMap<String, String>,
}

impl Nic {
    /// An interface on `network` with a generated address.
    pub fn on(network: impl Into<String>) -> Self {
        Self {
            network: network.into(),
            mac: MacChoice::default(),
            locking: Locking::NetworkDefault,
            addresses: Vec::new(),
            mtu: None,
            limit_kbytes: None,
            tags: Vec::new(),
            other_config: BTreeMap::new(),
        }
    }
}

/// A static address for the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Length of the network's prefix in bits.
    pub prefix_len: u8,
    /// The default gateway, if this address has one.
    pub gateway: Option<IpAddr>,
    /// Name servers to use.
    pub dns: Vec<IpAddr>,
    /// Routes besides the default one.
    pub routes: Vec<Route>,
}

impl Address {
    /// An address without gateway, name servers or routes.
    pub fn new(address: IpAddr, prefix_len: u8) -> Self {
        Self { address, prefix_len, gateway: None, dns: Vec::new(), routes: Vec::new() }
    }
}

/// Where a VIF's MAC address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MacChoice {
    /// This one.
    Given(MacAddr),
    /// A locally administered one, made from the instance's uuid and the device number, so that the
    /// same specification always gives the same address.
    #[default]
    Local,
    /// One under XenSource's prefix `00:16:3e`, made the same way; only 24 bits of it differ.
    XenSource,
}

/// A VIF's locking mode: what its guest may send and receive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locking {
    /// As the network says.
    NetworkDefault,
    /// Everything.
    Unlocked,
    /// Nothing.
    Disabled,
    /// Only these addresses, with the VIF's own MAC.
    Locked {
        /// IPv4 addresses without prefix length.
        ipv4: Vec<String>,
        /// IPv6 addresses without prefix length.
        ipv6: Vec<String>,
    },
}

/// How a guest is virtualised.
///
/// Left out, it is [`VmMode::Hvm`] for every guest without a [kernel](Kernel) of its own. Nova chose PV for
/// Linux and for every VHD image, which recent hosts cannot run: their hypervisor has no 64-bit PV guests any
/// more. A guest whose image needs PV says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VmMode {
    /// Full virtualisation; guests with PV drivers use them. Nova's `hvm`.
    Hvm,
    /// Paravirtualisation, the kernel taken from the image by pygrub, or given besides it. Nova's `xen`.
    Pv,
    /// A kernel started as with [`VmMode::Pv`], in a container of the processor's virtualisation: without emulated
    /// hardware, and on hosts that run no PV guests any more. Needs XenServer 8 or XCP-ng 8 at least. Not of Nova.
    Pvh,
}

impl FromStr for VmMode {
    type Err = String;

    /// Nova's names and their aliases: `hvm`, `hv`, `xen`, `pv`, and `pvh`, in any case.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "hvm" | "hv" | "baremetal" => Ok(Self::Hvm),
            "xen" | "pv" => Ok(Self::Pv),
            "pvh" => Ok(Self::Pvh),
            _ => Err(format!("unknown VM mode {text:?}: use hvm, xen or pvh")),
        }
    }
}

/// Kind of guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OsType {
    /// Linux.
    Linux,
    /// Windows: gets the Viridian enlightenments.
    Windows,
}

impl FromStr for OsType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "linux" => Ok(Self::Linux),
            "windows" => Ok(Self::Windows),
            _ => Err(format!("unknown OS type {text:?}: use linux or windows")),
        }
    }
}

/// What the config drive tells the guest, besides the instance's name, uuid, metadata and network.
#[derive(Clone, Default)]
pub struct ConfigDrive {
    /// The user data, as it is given to cloud-init: UTF-8 or gzip.
    pub user_data: Option<Vec<u8>>,
    /// Public keys by name.
    pub ssh_keys: BTreeMap<String, String>,
    /// The host name; the instance's name when `None`.
    pub hostname: Option<String>,
    /// Password of the administrator. Everyone who can read the disk can read it.
    pub admin_pass: Option<Secret>,
    /// What the operator wants every guest to know: `vendor_data.json`. NoCloud has only what cloud-init takes of it:
    /// text, or an object with text in `cloud-init`.
    pub vendor_data: Option<serde_json::Value>,
    /// The same from the operator's services: `vendor_data2.json`. NoCloud has no place for it.
    pub vendor_data2: Option<serde_json::Value>,
    /// Files for the guest to put in absolute paths of its own. NoCloud has no place for them: user data can say it.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The availability zone to report.
    pub availability_zone: Option<String>,
    /// The project to report.
    pub project_id: Option<String>,
    /// The file system the drive is written in.
    pub format: ConfigDriveFormat,
    /// The label by which the guest finds it, and so the layout: OpenStack's or NoCloud's.
    pub label: ConfigDriveLabel,
    /// The size of the disk: the smallest that will do unless it is said.
    pub size: ConfigDriveSize,
}

impl fmt::Debug for ConfigDrive {
    /// User data and password are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigDrive")
            .field("user_data", &self.user_data.as_ref().map(Vec::len))
            .field("ssh_keys", &self.ssh_keys)
            .field("hostname", &self.hostname)
            .field("admin_pass", &self.admin_pass)
            .field("vendor_data", &self.vendor_data.as_ref().map(|_| "<redacted>"))
            .field("vendor_data2", &self.vendor_data2.as_ref().map(|_| "<redacted>"))
            .field("files", &self.files.keys())
            .field("availability_zone", &self.availability_zone)
            .field("project_id", &self.project_id)
            .field("format", &self.format)
            .field("label", &self.label)
            .field("size", &self.size)
            .finish()
    }
}

/// What happens when an instance is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It is started.
    On,
    /// It is started, and paused before its first instruction.
    Paused,
    /// It stays halted.
    Off,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flavors() {
        for (text, expected) in [
            ("m1.small", Some((1, 2048, 20))),
            ("2:512:0", Some((2, 512, 0))),
            ("4:8192:80", Some((4, 8192, 80))),
            ("0:512:1", None),
            ("1:0:1", None),
            ("1:512", None),
            ("1:512:1:1", None),
            ("1:-5:1", None),
            ("1:99999999999999999999:1", None),
            ("m1.huge", None),
        ] {
            let got = text.parse::<Flavor>().ok().map(|f| (f.vcpus, f.memory_mib, f.root_gib));
            assert_eq!(got, expected, "{text}");
        }
        let error = "m9".parse::<Flavor>().unwrap_err().to_string();
        assert!(error.contains("\"m9\"") && error.contains("m1.small"), "{error}");
    }

    #[test]
    fn secrets_stay_out_of_debug() {
        let drive = ConfigDrive {
            admin_pass: Some("hunter2".into()),
            user_data: Some(b"token: abc".to_vec()),
            ..ConfigDrive::default()
        };
        let text = format!("{drive:?}");
        assert!(!text.contains("hunter2") && !text.contains("abc"), "{text}");
    }
}
