//! Decides everything about an instance before anything is touched: a pure function from what is
//! wanted and what there is to what will be done, or to everything that stands in the way.

mod conflict;
pub(crate) mod devices;

use std::collections::BTreeMap;

use config_drive::MacAddr;
use uuid::Uuid;

pub use conflict::{Conflict, Conflicts};
pub use devices::GpuPlan;

use xenapi_storage::device::UserDevice;
use xenapi_storage::ownership::{DiskUse, Ownership};
use xenapi_storage::{DiskRequest, Place, Repository};
use xenapi_types::{Host, Ref};

use crate::drive;
use crate::inventory::{Inventory, Network, Node};
use crate::mac;
use crate::memory;
use crate::spec::{
    ConfigDriveLabel, Firmware, Flavor, Grow, InstanceSpec, Locking, MacChoice, Nic, OsType, Power,
    RootImage, VmMode,
};
use crate::xenstore;

/// The unit of a VHD's data.
const VHD_BLOCK_BYTES: u64 = 2 << 20;

/// Of one of several disks.
pub(crate) const LARGEST_EPHEMERAL_GIB: u64 = 2000;

/// What is known about an image once its head has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// Its path, or what it is called where it is.
    pub name: String,
    /// Size of the disk it describes, in bytes.
    pub virtual_bytes: u64,
    /// Whether it is a disc to install from.
    pub disc: bool,
}

/// Everything that will be done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The instance's uuid.
    pub instance: Uuid,
    /// The host the VM starts on.
    pub node: Node,
    /// The SR that all disks go to.
    pub sr: Repository,
    /// The disk that the image goes to: the root disk, or the disc that is installed from; then the root disk is the
    /// first of those that are blank.
    pub root: DiskPlan,
    /// How the image gets there; `None` when the root disk is a volume, which is there.
    pub import: Option<ImportPlan>,
    /// The config drive; its size is known when it has been built.
    pub config_drive: Option<DiskPlan>,
    /// Blank disks: a root disk to install on, for swap, and those that end with the instance.
    pub blank: Vec<DiskPlan>,
    /// The VM.
    pub vm: VmPlan,
    /// Its network interfaces, in the order of their device numbers.
    pub nics: Vec<NicPlan>,
    /// Its virtual GPUs.
    pub gpus: Vec<GpuPlan>,
    /// Whether it is started.
    pub power: Power,
}

/// How an image is written to a new disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImportPlan {
    /// As a dynamic VHD of what is allocated: the host shows its progress and checks its structure.
    Vhd,
    /// As the pieces that are allocated, for disks that are no whole number of VHD blocks.
    Chunked,
    /// Every byte, for disks that do not read as zeros where nothing was written.
    Raw,
}

/// A disk and how the VM sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskPlan {
    /// `name_label` of the VDI.
    pub name_label: String,
    /// `name_description`: the disk's use.
    pub name_description: String,
    /// `virtual_size` asked for, in bytes; 0 while it is not known.
    pub virtual_bytes: u64,
    /// `other_config`.
    pub other_config: BTreeMap<String, String>,
    /// `userdevice` of the VBD.
    pub userdevice: UserDevice,
    /// Whether the VM boots from it.
    pub bootable: bool,
    /// Whether the guest may write to it.
    pub writable: bool,
    /// Whether the guest sees it as a disc in a drive.
    pub disc: bool,
}

/// The parts of the VM record that are not the same for every VM.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VmPlan {
    /// `name_label`.
    pub name_label: String,
    /// The maxima of memory, in bytes.
    pub memory_bytes: u64,
    /// `memory_dynamic_min`, in bytes: the same where nothing is ballooned.
    pub memory_min_bytes: u64,
    /// `VCPUs_max` and `VCPUs_at_startup`.
    pub vcpus: u32,
    /// `VCPUs_params`.
    pub vcpus_params: BTreeMap<String, String>,
    /// `tags`.
    pub tags: Vec<String>,
    /// How it is virtualised.
    pub mode: VmMode,
    /// Whether a PV guest's kernel is given besides its disks.
    pub own_kernel: bool,
    /// What starts the boot loader of an HVM guest.
    pub firmware: Firmware,
    /// Whether it gets a virtual TPM.
    pub tpm: bool,
    /// `platform`.
    pub platform: BTreeMap<String, String>,
    /// `other_config`.
    pub other_config: BTreeMap<String, String>,
    /// `xenstore_data`.
    pub xenstore_data: BTreeMap<String, String>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NicPlan {
    /// `device`.
    pub device: usize,
    /// The network.
    pub network: Network,
    /// `MAC`.
    pub mac: MacAddr,
    /// `locking_mode` and the addresses it allows.
    pub locking: Locking,
    /// `MTU` in bytes.
    pub mtu: i64,
    /// The limit of its quality of service in kilobytes per second.
    pub limit_kbytes: Option<u32>,
    /// `other_config`.
    pub other_config: BTreeMap<String, String>,
}

/// Plans `spec` on `inventory`.
///
/// # Errors
///
/// Every conflict there is, not only the first one.
pub fn plan(
    spec: &InstanceSpec,
    inventory: &Inventory,
    image: &ImageFacts,
    owner: &str,
    operation: Uuid,
) -> Result<Plan, Conflicts> {
    let mut found = Vec::new();
    let mark = Ownership { owner: owner.to_owned(), instance: spec.uuid, operation };

    check_name(spec, inventory, &mut found);
    check_flavor(&spec.flavor, &mut found);
    devices::check(spec, inventory, &mut found);
    let node = note(&mut found, choose_node(spec, inventory));
    if let Some(node) = node {
        check_node(spec, node, &mut found);
    }
    let sizes = blank_sizes(spec, image.disc);
    check_volumes(spec, image.disc, &sizes, &mut found);
    let from_volume = matches!(spec.image, RootImage::Volume(_));
    found.extend(spec.disk_setup.conflicts(from_volume || image.disc));
    found.extend(spec.agent.iter().flat_map(|agent| agent.conflicts(spec.power)));
    let virtual_bytes = match spec.flavor.root_bytes() {
        Some(bytes) if !from_volume && !image.disc => bytes,
        _ => image.virtual_bytes,
    };
    check_image(spec, image, virtual_bytes, &mut found);
    let sr = node.and_then(|node| note(&mut found, choose_sr(spec, inventory, node)));
    if let Some(sr) = sr {
        let disks = [virtual_bytes].into_iter().chain(sizes.iter().map(|(.., bytes)| *bytes));
        // How much of the image is data is not known yet; a thick SR takes the whole disk anyway.
        let disks: Vec<_> =
            disks.map(|virtual_bytes| DiskRequest { virtual_bytes, data_bytes: Some(0) }).collect();
        note(&mut found, sr.check_space(&disks).map_err(Conflict::from));
    }
    let nics = plan_nics(spec, inventory, &mark, &mut found);
    let gpus = node.map(|node| {
        let networks: Vec<&Network> = nics.iter().map(|nic| &nic.network).collect();
        devices::check_on(spec, &networks, inventory, node, &mut found);
        devices::gpus(&spec.hardware.gpus, &inventory.gpus, node, &mut found)
    });
    let xenstore_data = xenstore_data(spec, &nics, &mut found);

    let (Some(node), Some(sr), true) = (node, sr, found.is_empty()) else {
        return Err(Conflicts::new(found));
    };
    let root = image_disk(spec, image, &mark, sr.facts().round_size(virtual_bytes).unwrap_or(virtual_bytes));
    let config_drive = config_drive_place(spec, image.disc, &sizes)
        .zip(spec.config_drive.as_ref())
        .map(|(userdevice, drive)| DiskPlan { userdevice, ..config_drive(&mark, drive.label, 0) });
    let blank = blank_disks(spec, sizes, sr, &mark);
    Ok(Plan {
        instance: spec.uuid,
        node: node.clone(),
        sr: sr.clone(),
        import: (!from_volume).then(|| choose_import(sr, root.virtual_bytes)),
        root,
        config_drive,
        blank,
        vm: plan_vm(spec, &mark, xenstore_data),
        nics,
        gpus: gpus.unwrap_or_default(),
        power: spec.power,
    })
}

/// Whether a disk of `virtual_bytes` can hold the image.
fn check_image(spec: &InstanceSpec, image: &ImageFacts, virtual_bytes: u64, found: &mut Vec<Conflict>) {
    if image.disc && spec.flavor.root_gib == 0 {
        found.push(Conflict::DiscWithoutRoot { image: image.name.clone() });
    }
    if image.virtual_bytes > virtual_bytes {
        found.push(Conflict::ImageTooLarge {
            image: image.name.clone(),
            image_bytes: image.virtual_bytes,
            root_bytes: virtual_bytes,
        });
    }
}

/// The disk that the image goes to.
fn image_disk(spec: &InstanceSpec, image: &ImageFacts, mark: &Ownership, virtual_bytes: u64) -> DiskPlan {
    let (disk_use, userdevice, name_label) = match image.disc {
        true => (DiskUse::Iso, UserDevice::BOOT_CD, format!("{} {}", spec.name, DiskUse::Iso.as_str())),
        false => (DiskUse::Root, UserDevice::ROOT, spec.name.clone()),
    };
    DiskPlan {
        name_label,
        name_description: disk_use.as_str().to_owned(),
        virtual_bytes,
        other_config: mark.disk_keys(disk_use),
        userdevice,
        bootable: true,
        writable: !image.disc,
        disc: image.disc,
    }
}

/// The disk of a config drive with that label and of that many bytes.
pub(crate) fn config_drive(mark: &Ownership, label: ConfigDriveLabel, virtual_bytes: u64) -> DiskPlan {
    DiskPlan {
        name_label: label.to_string(),
        name_description: DiskUse::ConfigDrive.as_str().to_owned(),
        virtual_bytes,
        other_config: mark.disk_keys(DiskUse::ConfigDrive),
        userdevice: UserDevice::CONFIG_DRIVE,
        bootable: false,
        writable: false,
        disc: false,
    }
}

/// Keeps the value, or the conflict.
fn note<T>(found: &mut Vec<Conflict>, result: Result<T, Conflict>) -> Option<T> {
    result.map_err(|conflict| found.push(conflict)).ok()
}

fn check_name(spec: &InstanceSpec, inventory: &Inventory, found: &mut Vec<Conflict>) {
    if spec.name.is_empty() || spec.name.chars().any(char::is_control) {
        found.push(Conflict::BadName(spec.name.clone()));
    }
    if let Some(vm) = &inventory.name_taken_by {
        found.push(Conflict::NameInUse { name: spec.name.clone(), vm: vm.clone() });
    }
}

fn check_flavor(flavor: &Flavor, found: &mut Vec<Conflict>) {
    if flavor.vcpus == 0 || flavor.memory_mib == 0 {
        found.push(Conflict::EmptyFlavor);
    }
}

/// Where the config drive goes: its own place, or, if a volume is to be there, the next one that is free.
fn config_drive_place(
    spec: &InstanceSpec,
    disc: bool,
    blank: &[(DiskUse, UserDevice, u64)],
) -> Option<UserDevice> {
    spec.config_drive.as_ref()?;
    let volumes = || spec.volumes.iter().filter_map(|mount| mount.device);
    let mut taken: Vec<_> = blank.iter().map(|(_, place, _)| *place).chain(volumes()).collect();
    taken.extend(disc.then_some(UserDevice::BOOT_CD));
    (UserDevice::CONFIG_DRIVE.number()..).map_while(UserDevice::new).find(|place| !taken.contains(place))
}

/// No two disks are in one place, and tags are of places that have one.
fn check_volumes(
    spec: &InstanceSpec,
    disc: bool,
    blank: &[(DiskUse, UserDevice, u64)],
    found: &mut Vec<Conflict>,
) {
    let mut taken = vec![UserDevice::ROOT];
    taken.extend(disc.then_some(UserDevice::BOOT_CD));
    taken.extend(blank.iter().map(|(_, place, _)| *place));
    for device in spec.volumes.iter().filter_map(|mount| mount.device) {
        if taken.contains(&device) {
            found.push(Conflict::PlaceTaken(device));
        }
        taken.push(device);
    }
    // What was taken is all that there is to tell of.
    let nowhere = spec.disk_tags.keys().filter(|place| !taken.contains(place));
    found.extend(nowhere.map(|place| Conflict::TagsOfNothing(*place)));
}

/// Use, place and size of the blank disks.
fn blank_sizes(spec: &InstanceSpec, disc: bool) -> Vec<(DiskUse, UserDevice, u64)> {
    let flavor = &spec.flavor;
    let root = flavor.root_bytes().filter(|_| disc).map(|bytes| (DiskUse::User, UserDevice::ROOT, bytes));
    let swap = (flavor.swap_mib > 0).then_some((DiskUse::Swap, UserDevice::SWAP, flavor.swap_mib << 20));
    let places = (UserDevice::FIRST_EPHEMERAL.number()..).filter_map(UserDevice::new);
    let sizes = ephemeral_sizes(flavor.ephemeral_gib);
    let ephemeral = places.zip(sizes).map(|(place, gib)| (DiskUse::Ephemeral, place, gib << 30));
    root.into_iter().chain(swap).chain(ephemeral).collect()
}

/// Nova's rule: disks of 2000 GiB while more than that is left, or of 1024 GiB when that leaves whole terabytes.
pub(crate) fn ephemeral_sizes(gib: u64) -> Vec<u64> {
    const TERABYTE: u64 = 1024;
    let each = if gib.is_multiple_of(TERABYTE) { TERABYTE } else { LARGEST_EPHEMERAL_GIB };
    let (mut sizes, mut left) = (Vec::new(), gib);
    if gib <= LARGEST_EPHEMERAL_GIB && gib > 0 {
        return vec![gib];
    }
    while left > 0 {
        let size = left.min(each);
        sizes.push(size);
        left -= size;
    }
    sizes
}

fn blank_disks(
    spec: &InstanceSpec,
    sizes: Vec<(DiskUse, UserDevice, u64)>,
    sr: &Repository,
    mark: &Ownership,
) -> Vec<DiskPlan> {
    sizes.into_iter().map(|blank| blank_disk(&spec.name, blank, sr, mark)).collect()
}

/// A blank disk of a VM of this name, by its use, place and size.
pub(crate) fn blank_disk(
    vm: &str,
    (disk_use, userdevice, bytes): (DiskUse, UserDevice, u64),
    sr: &Repository,
    mark: &Ownership,
) -> DiskPlan {
    // Nova's names: the second of a kind is number one.
    let name_label = match userdevice.number().saturating_sub(UserDevice::FIRST_EPHEMERAL.number()) {
        _ if disk_use == DiskUse::User => vm.to_owned(),
        0 => format!("{vm} {}", disk_use.as_str()),
        n => format!("{vm} {} ({n})", disk_use.as_str()),
    };
    DiskPlan {
        name_label,
        name_description: disk_use.as_str().to_owned(),
        virtual_bytes: sr.facts().round_size(bytes).unwrap_or(bytes),
        other_config: mark.disk_keys(disk_use),
        userdevice,
        bootable: disk_use == DiskUse::User,
        writable: true,
        disc: false,
    }
}

/// Makes sure that a VM can have another flavor: processors that fill their sockets, and memory that is a
/// range, if it is to be one.
pub(crate) fn check_size(flavor: &Flavor, platform: &BTreeMap<String, String>) -> Result<(), Conflicts> {
    let mut found = Vec::new();
    check_flavor(flavor, &mut found);
    let cores = platform.get("cores-per-socket").and_then(|cores| cores.parse().ok());
    devices::sockets(flavor, cores, &mut found);
    devices::memory(flavor, &mut found);
    if found.is_empty() { Ok(()) } else { Err(Conflicts::new(found)) }
}

/// What an interface cannot be like on any network. XAPI takes it all, and the guest's network does not work.
fn nic_limits(nic: &Nic, found: &mut Vec<Conflict>) {
    found.extend(bad_mtu(nic.mtu));
    if nic.limit_kbytes == Some(0) {
        found.push(Conflict::NoRate);
    }
}

/// The least is what IPv4 needs, the most what a packet's length can say.
pub(crate) fn bad_mtu(mtu: Option<u32>) -> Option<Conflict> {
    mtu.filter(|mtu| !(68..=65_535).contains(mtu)).map(Conflict::Mtu)
}

pub(crate) fn check_nic(nic: &Nic) -> Result<(), Conflicts> {
    let mut found = Vec::new();
    nic_limits(nic, &mut found);
    if found.is_empty() { Ok(()) } else { Err(Conflicts::new(found)) }
}

fn choose_node<'a>(spec: &InstanceSpec, inventory: &'a Inventory) -> Result<&'a Node, Conflict> {
    choose_node_of(&inventory.nodes, spec.node, None)
}

/// The node with this uuid; without one, the instance's home, or the only node there is.
pub(crate) fn choose_node_of<'a>(
    nodes: &'a [Node],
    wanted: Option<Uuid>,
    home: Option<&Ref<Host>>,
) -> Result<&'a Node, Conflict> {
    let have = || nodes.iter().map(|n| format!("{} ({})", n.uuid, n.name)).collect();
    if let (None, Some(home)) = (wanted, nodes.iter().find(|node| Some(&node.reference) == home)) {
        return Ok(home);
    }
    match (wanted, nodes) {
        (None, [only]) => Ok(only),
        (None, _) => Err(Conflict::NodeNotNamed { have: have() }),
        (Some(wanted), nodes) => {
            let wanted = wanted.to_string();
            nodes
                .iter()
                .find(|node| node.uuid == wanted)
                .ok_or_else(|| Conflict::NoSuchNode { wanted, have: have() })
        }
    }
}

fn check_node(spec: &InstanceSpec, node: &Node, found: &mut Vec<Conflict>) {
    found.extend(node.refusal());
    let needed_bytes = memory::needed_bytes(spec.flavor.memory_bytes(), spec.flavor.vcpus);
    // One that is not live has none anyway.
    if node.live && spec.power != Power::Off && needed_bytes > node.memory_free_bytes {
        found.push(Conflict::NotEnoughMemory {
            node: node.name.clone(),
            needed_bytes,
            free_bytes: node.memory_free_bytes,
        });
    }
}

fn choose_sr<'a>(
    spec: &InstanceSpec,
    inventory: &'a Inventory,
    node: &Node,
) -> Result<&'a Repository, Conflict> {
    let place = Place { host: &node.reference, host_name: &node.name, default_sr: &inventory.default_sr };
    Ok(spec.sr.select(&inventory.srs, place)?)
}

pub(crate) fn choose_import(sr: &Repository, virtual_bytes: u64) -> ImportPlan {
    if !sr.facts().prezeroed {
        ImportPlan::Raw
    } else if virtual_bytes.is_multiple_of(VHD_BLOCK_BYTES) {
        ImportPlan::Vhd
    } else {
        // The last block of a VHD would reach beyond the end of the disk.
        ImportPlan::Chunked
    }
}

/// The network that is meant: by uuid, or the only one with this name, or else this bridge.
pub(crate) fn choose_network<'a>(all: &'a [Network], wanted: &str) -> Result<&'a Network, Conflict> {
    let spellings: [fn(&Network) -> &String; 3] = [|n| &n.uuid, |n| &n.name, |n| &n.bridge];
    for spelling in spellings {
        let found: Vec<_> = all.iter().filter(|network| spelling(network) == wanted).collect();
        match found[..] {
            [] => {}
            [only] => return Ok(only),
            _ => {
                let uuids = found.into_iter().map(|network| network.uuid.clone()).collect();
                return Err(Conflict::AmbiguousNetwork { wanted: wanted.to_owned(), uuids });
            }
        }
    }
    let have = all.iter().map(|network| network.name.clone()).collect();
    Err(Conflict::NoSuchNetwork { wanted: wanted.to_owned(), have })
}

fn plan_nics(
    spec: &InstanceSpec,
    inventory: &Inventory,
    mark: &Ownership,
    found: &mut Vec<Conflict>,
) -> Vec<NicPlan> {
    let mut taken: Vec<MacAddr> = Vec::new();
    for nic in &spec.nics {
        nic_limits(nic, found);
        let MacChoice::Given(mac) = nic.mac else { continue };
        if taken.contains(&mac) {
            found.push(Conflict::DuplicateMac(mac));
        }
        if let Some(vm) = inventory.macs_taken.get(&mac.to_string()) {
            found.push(Conflict::MacInUse { mac, vm: vm.clone() });
        }
        taken.push(mac);
    }
    let mut nics = Vec::new();
    for (device, nic) in spec.nics.iter().enumerate() {
        let network = choose_network(&inventory.networks, &nic.network);
        let Some(network) = note(found, network) else { continue };
        let mac = mac::choose(nic.mac, spec.uuid, device, &taken);
        taken.push(mac);
        let mut other_config = nic.other_config.clone();
        other_config.extend(mark.keys());
        nics.push(NicPlan {
            device,
            network: network.clone(),
            mac,
            locking: nic.locking.clone(),
            mtu: nic.mtu.map_or(network.mtu, i64::from),
            limit_kbytes: nic.limit_kbytes,
            other_config,
        });
    }
    nics
}

fn plan_vm(spec: &InstanceSpec, mark: &Ownership, xenstore_data: BTreeMap<String, String>) -> VmPlan {
    let flavor = &spec.flavor;
    let usual = if spec.kernel.is_some() { VmMode::Pv } else { VmMode::Hvm };
    let mode = spec.vm_mode.unwrap_or(usual);
    let vcpus_params = vcpus_params(flavor);
    let truth = |value: bool| value.to_string();
    let platform = [
        ("acpi", truth(true)),
        ("apic", truth(true)),
        ("nx", truth(mode != VmMode::Pv)),
        ("pae", truth(true)),
        ("timeoffset", "0".to_owned()),
        ("viridian", truth(spec.os_type == Some(OsType::Windows))),
    ];
    let mut platform: BTreeMap<String, String> = platform.map(|(key, value)| (key.to_owned(), value)).into();
    let hardware = &spec.hardware;
    let mut also = |key: &str, value: Option<String>| {
        platform.extend(value.map(|value| (key.to_owned(), value)));
    };
    also("cores-per-socket", hardware.cores_per_socket.map(|cores| cores.to_string()));
    also("nested-virt", hardware.nested.then(|| truth(true)));
    also("device_id", hardware.device_id.clone());
    also("vga", hardware.vga.map(|vga| vga.as_str().to_owned()));
    also("videoram", hardware.video_ram_mib.map(|mib| mib.to_string()));
    if let Firmware::Uefi { secure_boot } = hardware.firmware {
        also("secureboot", Some(truth(secure_boot)));
    }
    let mut other_config = mark.vm_keys();
    if !hardware.pci.is_empty() {
        let devices = (0..).zip(&hardware.pci).map(|(n, address): (u32, _)| format!("{n}/{address}"));
        other_config.insert("pci".to_owned(), devices.collect::<Vec<_>>().join(","));
    }
    VmPlan {
        name_label: spec.name.clone(),
        own_kernel: spec.kernel.is_some(),
        tags: spec.tags.clone(),
        firmware: hardware.firmware,
        tpm: hardware.tpm,
        memory_bytes: flavor.memory_bytes(),
        memory_min_bytes: flavor.memory_min_bytes(),
        vcpus: flavor.vcpus,
        vcpus_params,
        mode,
        platform,
        other_config,
        xenstore_data,
    }
}

/// How the hypervisor shares its processors out.
pub(crate) fn vcpus_params(flavor: &Flavor) -> BTreeMap<String, String> {
    let mut vcpus_params = BTreeMap::new();
    if flavor.vcpu_weight.is_some() || flavor.vcpu_cap.is_some() {
        // Both or none: XenServer 6.1 and 6.2 ignored one alone.
        vcpus_params.insert("weight".to_owned(), flavor.vcpu_weight.unwrap_or(256).to_string());
        vcpus_params.insert("cap".to_owned(), flavor.vcpu_cap.unwrap_or(0).to_string());
    }
    if !flavor.vcpu_mask.is_empty() {
        let mask: Vec<_> = flavor.vcpu_mask.iter().map(u32::to_string).collect();
        vcpus_params.insert("mask".to_owned(), mask.join(","));
    }
    vcpus_params
}

/// What the guest finds in xenstore: `vm-data/…`.
fn xenstore_data(
    spec: &InstanceSpec,
    nics: &[NicPlan],
    found: &mut Vec<Conflict>,
) -> BTreeMap<String, String> {
    let hostname = drive::hostname(spec.config_drive.as_ref(), &spec.name, spec.uuid);
    let guest = drive::Guest::planned(spec, nics);
    let grows = spec.disk_setup.grow != Grow::No;
    let mut data = xenstore::first(&hostname, spec.os_type, grows, &guest.interfaces);
    let metadata = spec.metadata.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
    match xenstore::metadata(&metadata.collect()) {
        Ok(written) => data.extend(written.into_iter().filter_map(|(key, value)| Some((key, value?)))),
        Err(conflict) => found.push(conflict),
    }
    data
}

#[cfg(test)]
mod tests;
