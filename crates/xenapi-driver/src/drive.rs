//! The content of an instance's config drive, from its specification and plan.

use std::net::IpAddr;

use config_drive::{
    Addressing, ConfigDrive, Ec2MetaData, Image, ImageOptions, KeyPair, Link, LinkKind, MetaData, Network,
    NetworkData, Route, Service,
};
use uuid::Uuid;

use crate::plan::NicPlan;
use crate::spec::{self, InstanceSpec, Nic};

/// OpenStack gives a guest this many random bytes to start its generator with.
const SEED_BYTES: usize = 512;

/// The config drive that `wanted` describes, as a disk image; reads no clock and touches no file.
///
/// # Errors
///
/// What the config drive refuses: a host name or key that no guest can use, or too much content.
pub(crate) fn build(
    spec: &InstanceSpec,
    wanted: &spec::ConfigDrive,
    nics: &[NicPlan],
) -> Result<Image, config_drive::Error> {
    let hostname = wanted.hostname.clone().unwrap_or_else(|| hostname_of(&spec.name, spec.uuid));
    let keys = wanted.ssh_keys.iter().map(|(name, key)| KeyPair::ssh(name, key)).collect();
    let meta_data = MetaData {
        availability_zone: wanted.availability_zone.clone(),
        meta: spec.metadata.clone(),
        keys,
        admin_pass: wanted.admin_pass.clone().map(Into::into),
        random_seed: random_bytes(SEED_BYTES),
        ..MetaData::new(spec.uuid, &*spec.name, hostname)
    };
    let mut drive = ConfigDrive::new(meta_data).ec2(ec2(spec, wanted));
    if !nics.is_empty() {
        drive = drive.network_data(network_data(&spec.nics, nics));
    }
    if let Some(user_data) = &wanted.user_data {
        drive = drive.user_data(user_data.clone());
    }
    if let Some(vendor_data) = &wanted.vendor_data {
        drive = drive.vendor_data(vendor_data.clone());
    }
    Image::build(&drive.tree()?, ImageOptions { format: wanted.format, ..ImageOptions::default() })
}

fn network_data(wanted: &[Nic], planned: &[NicPlan]) -> NetworkData {
    let mut data = NetworkData::default();
    for (nic, plan) in wanted.iter().zip(planned) {
        let id = format!("interface{}", plan.device);
        data.links.push(Link {
            id: id.clone(),
            vif_id: nic.other_config.get("neutron-port-id").cloned(),
            kind: LinkKind::Phy,
            mtu: u32::try_from(plan.network.mtu).ok().filter(|mtu| *mtu > 0),
            mac: plan.mac,
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
        if nic.addresses.is_empty() {
            add(Addressing::Dhcp4, Vec::new(), Vec::new());
        }
        for known in &nic.addresses {
            add(
                Addressing::Static { address: known.address, prefix: known.prefix_len },
                known.gateway.map(Route::default_via).into_iter().collect(),
                known.dns.iter().copied().map(Service::Dns).collect(),
            );
        }
    }
    data
}

fn ec2(spec: &InstanceSpec, wanted: &spec::ConfigDrive) -> Ec2MetaData {
    let (short, ..) = spec.uuid.as_fields();
    let addresses = spec.nics.iter().flat_map(|nic| &nic.addresses);
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
