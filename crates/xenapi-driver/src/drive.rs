//! The config drive of an instance: what is on it, and the disk that it is on.

mod disk;

use std::collections::BTreeMap;
use std::net::IpAddr;

use config_drive::{
    Addressing, ConfigDrive, Device, Ec2MetaData, Image, ImageOptions, KeyPair, Label, Link, LinkKind,
    MacAddr, MetaData, Network, NetworkData, NoCloud, Route, Service, Tree,
};
use serde_json::Value;
use uuid::Uuid;
use xenapi_storage::device::UserDevice;
use xenapi_types::{Vif, VifRecord, VmRecord};

pub use disk::NewDrive;
pub(crate) use disk::{Renewal, check, is_config_drive, verify, write, written_by};

use crate::error::Cause;
use crate::job::Job;
use crate::plan::NicPlan;
use crate::spec::{self, Address, InstanceSpec};

/// OpenStack gives a guest this many random bytes to start its generator with.
const SEED_BYTES: usize = 512;

/// What a config drive tells a guest besides what it was told to say.
#[derive(Debug, Clone)]
pub(crate) struct Guest<'a> {
    pub(crate) instance: Uuid,
    pub(crate) name: &'a str,
    pub(crate) metadata: &'a BTreeMap<String, String>,
    /// In the order of their devices.
    pub(crate) interfaces: Vec<Interface<'a>>,
    /// Tags of disks by their place.
    pub(crate) disk_tags: &'a BTreeMap<UserDevice, Vec<String>>,
}

/// An interface as its guest is told of it.
#[derive(Debug, Clone)]
pub(crate) struct Interface<'a> {
    pub(crate) device: usize,
    pub(crate) mac: MacAddr,
    /// In bytes; 0 where it is not known.
    pub(crate) mtu: i64,
    /// The name of its network.
    pub(crate) label: &'a str,
    /// What the network service calls it.
    pub(crate) port: Option<&'a str>,
    /// None means DHCP.
    pub(crate) addresses: &'a [Address],
    pub(crate) tags: &'a [String],
}

impl<'a> Guest<'a> {
    /// The guest of an instance that is being made.
    pub(crate) fn planned(spec: &'a InstanceSpec, nics: &'a [NicPlan]) -> Self {
        let interfaces = spec.nics.iter().zip(nics).map(|(nic, plan)| Interface {
            device: plan.device,
            mac: plan.mac,
            mtu: plan.mtu,
            label: &plan.network.name,
            port: nic.other_config.get(PORT).map(String::as_str),
            addresses: &nic.addresses,
            tags: &nic.tags,
        });
        Self {
            instance: spec.uuid,
            name: &spec.name,
            metadata: &spec.metadata,
            interfaces: interfaces.collect(),
            disk_tags: &spec.disk_tags,
        }
    }
}

impl<'a> Interface<'a> {
    /// One that is there.
    pub(crate) fn of(
        mac: MacAddr,
        vif: &'a VifRecord,
        label: &'a str,
        addresses: &'a BTreeMap<MacAddr, Vec<Address>>,
    ) -> Self {
        Self {
            device: vif.device.parse().unwrap_or(0),
            mac,
            mtu: vif.mtu,
            label,
            port: vif.other_config.get(PORT).map(String::as_str),
            addresses: addresses.get(&mac).map_or(&[], Vec::as_slice),
            tags: &[],
        }
    }
}

/// The interfaces of a VM in the order of their devices; those that are named must be among them.
pub(crate) async fn vifs(
    job: &Job,
    vm: &VmRecord,
    mut named: impl Iterator<Item = &MacAddr>,
) -> Result<Vec<(MacAddr, VifRecord)>, Cause> {
    let mut found: Vec<(MacAddr, VifRecord)> = Vec::new();
    for vif in &vm.vifs {
        let doing = || Cause::host(format!("reading the interfaces of VM {}", vm.uuid));
        let Some(record) = job.client().record_opt::<Vif>(vif).await.map_err(doing())? else { continue };
        found.extend(record.mac.parse().ok().map(|mac| (mac, record)));
    }
    found.sort_by_key(|(_, vif)| vif.device.parse::<usize>().unwrap_or(usize::MAX));
    if let Some(mac) = named.find(|mac| !found.iter().any(|(known, _)| known == *mac)) {
        let have = found.iter().map(|(mac, _)| mac.to_string()).collect();
        return Err(Cause::NoSuchInterface { wanted: mac.to_string(), vm: vm.uuid.clone(), have });
    }
    Ok(found)
}

/// Neutron's key on a VIF.
pub(crate) const PORT: &str = "neutron-port-id";

/// The config drive that `wanted` describes, as a disk image; reads no clock and touches no file.
///
/// # Errors
///
/// What the config drive refuses: a host name, key, address or tag that no guest can use, user data that is none, what
/// the layout has no place for, or too much content.
pub(crate) fn build(guest: &Guest<'_>, wanted: &spec::ConfigDrive) -> Result<Image, config_drive::Error> {
    let tree = match wanted.label {
        Label::ConfigDrive => openstack(guest, wanted)?,
        Label::NoCloud => nocloud(guest, wanted)?,
    };
    let &spec::ConfigDrive { format, label, size, .. } = wanted;
    Image::build(&tree, ImageOptions { format, label, size })
}

/// Refuses addresses that contradict each other, for a guest that is told of them by other means only.
pub(crate) fn check_network(guest: &Guest<'_>) -> Result<(), config_drive::Error> {
    network_data(&guest.interfaces).check()
}

fn meta_data(guest: &Guest<'_>, wanted: &spec::ConfigDrive) -> MetaData {
    let hostname = hostname(Some(wanted), guest.name, guest.instance);
    MetaData {
        availability_zone: wanted.availability_zone.clone(),
        project_id: wanted.project_id.clone(),
        meta: guest.metadata.clone(),
        keys: wanted.ssh_keys.iter().map(|(name, key)| KeyPair::ssh(name, key)).collect(),
        admin_pass: wanted.admin_pass.as_ref().map(|password| password.expose().into()),
        random_seed: random_bytes(SEED_BYTES),
        devices: devices(guest),
        ..MetaData::new(guest.instance, guest.name, hostname)
    }
}

/// What has tags: interfaces first, as OpenStack lists them.
fn devices(guest: &Guest<'_>) -> Vec<Device> {
    let nics = guest.interfaces.iter().filter(|interface| !interface.tags.is_empty());
    let nics = nics.map(|interface| Device::nic(interface.mac, interface.tags.to_vec()));
    let disks = guest.disk_tags.iter().filter(|(_, tags)| !tags.is_empty()).flat_map(|(place, tags)| {
        Device::xen_disk(place.number().into(), &format!("/dev/{}", place.linux_name()), tags)
    });
    nics.chain(disks).collect()
}

fn openstack(guest: &Guest<'_>, wanted: &spec::ConfigDrive) -> Result<Tree, config_drive::Error> {
    let mut drive = ConfigDrive::new(meta_data(guest, wanted)).ec2(ec2(guest, wanted));
    if !guest.interfaces.is_empty() {
        drive = drive.network_data(network_data(&guest.interfaces));
    }
    if let Some(user_data) = &wanted.user_data {
        drive = drive.user_data(user_data.clone());
    }
    if let Some(vendor_data) = &wanted.vendor_data {
        drive = drive.vendor_data(vendor_data.clone());
    }
    if let Some(vendor_data) = &wanted.vendor_data2 {
        drive = drive.vendor_data2(vendor_data.clone());
    }
    for (path, content) in &wanted.files {
        drive = drive.injected_file(path, content.clone());
    }
    drive.tree()
}

fn nocloud(guest: &Guest<'_>, wanted: &spec::ConfigDrive) -> Result<Tree, config_drive::Error> {
    let nowhere = |field: &str, value: &str, reason| config_drive::Error::InvalidField {
        file: "config drive labelled cidata",
        field: field.to_owned(),
        value: value.to_owned(),
        reason,
    };
    if let Some(path) = wanted.files.keys().next() {
        let reason = "cannot be given to the guest in NoCloud's layout; use write_files in the user data";
        return Err(nowhere("files", path, reason));
    }
    if wanted.vendor_data2.is_some() {
        return Err(nowhere("vendor_data2", "", "has no place in NoCloud's layout; use vendor_data"));
    }
    let mut drive = NoCloud::new(meta_data(guest, wanted));
    if !guest.interfaces.is_empty() {
        drive = drive.network_data(network_data(&guest.interfaces));
    }
    if let Some(user_data) = &wanted.user_data {
        drive = drive.user_data(user_data.clone());
    }
    if let Some(vendor_data) = &wanted.vendor_data {
        let text = match vendor_data {
            Value::Object(parts) => parts.get("cloud-init").and_then(Value::as_str),
            other => other.as_str(),
        };
        let reason =
            "is neither text nor an object with text in \"cloud-init\", which is all that NoCloud has";
        let text = text.ok_or_else(|| nowhere("vendor_data", "", reason))?;
        drive = drive.vendor_data(text.to_owned());
    }
    drive.tree()
}

fn network_data(interfaces: &[Interface<'_>]) -> NetworkData {
    let mut data = NetworkData::default();
    for interface in interfaces {
        let id = format!("interface{}", interface.device);
        data.links.push(Link {
            id: id.clone(),
            vif_id: interface.port.map(str::to_owned),
            kind: LinkKind::Phy,
            mtu: u32::try_from(interface.mtu).ok().filter(|mtu| *mtu > 0),
            mac: interface.mac,
        });
        let mut add = |addressing, routes, services| {
            data.networks.push(Network {
                id: format!("network{}", data.networks.len()),
                link: id.clone(),
                network_id: None,
                addressing,
                routes,
                services,
            });
        };
        if interface.addresses.is_empty() {
            add(Addressing::Dhcp4, Vec::new(), Vec::new());
        }
        for known in interface.addresses {
            add(
                Addressing::Static { address: known.address, prefix: known.prefix_len },
                known.gateway.map(Route::default_via).into_iter().chain(known.routes.clone()).collect(),
                known.dns.iter().copied().map(Service::Dns).collect(),
            );
        }
    }
    data
}

fn ec2(guest: &Guest<'_>, wanted: &spec::ConfigDrive) -> Ec2MetaData {
    let (short, ..) = guest.instance.as_fields();
    let addresses = guest.interfaces.iter().flat_map(|interface| interface.addresses);
    Ec2MetaData {
        instance_id: format!("i-{short:08x}"),
        reservation_id: format!("r-{short:08x}"),
        local_ipv4: addresses.into_iter().find_map(|known| match known.address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }),
        availability_zone: wanted.availability_zone.clone(),
        ..Ec2MetaData::default()
    }
}

/// The host name of an instance.
pub(crate) fn hostname(wanted: Option<&spec::ConfigDrive>, name: &str, instance: Uuid) -> String {
    wanted.and_then(|wanted| wanted.hostname.clone()).unwrap_or_else(|| hostname_of(name, instance))
}

/// A host name made from an instance's name: what a DNS label can have, the rest left out.
fn hostname_of(name: &str, instance: Uuid) -> String {
    let mut label = String::new();
    for c in name.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' | '0'..='9' | '.' => label.push(c),
            '-' | '_' | ' ' => label.push('-'),
            _ => {}
        }
    }
    label.truncate(63);
    let label = label.trim_matches(['-', '.']);
    if label.is_empty() { format!("server-{instance}") } else { label.to_owned() }
}

/// Random bytes from the operating system, by way of uuids: 122 bits in each sixteen bytes.
fn random_bytes(len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(|| Uuid::new_v4().into_bytes()).take(len.div_ceil(16)).flatten().collect();
    bytes.truncate(len);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        for (name, host) in [
            ("web1", "web1"),
            ("My Web_1", "my-web-1"),
            ("-x-", "x"),
            ("sp\u{e4}t", "spt"),
            ("\u{65e5}\u{672c}", "server-00000000-0000-0000-0000-000000000007"),
        ] {
            assert_eq!(hostname_of(name, Uuid::from_u128(7)), host);
        }
    }
}
