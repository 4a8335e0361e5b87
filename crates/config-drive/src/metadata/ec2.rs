//! `ec2/<version>/meta-data.json`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::check_hostname;
use crate::{Error, KeyPair};

pub(crate) const FILE: &str = "meta-data.json";
/// OpenStack writes eight older versions only when it is configured to.
pub(crate) const VERSIONS: [&str; 2] = ["2009-04-04", "latest"];

/// What the instance looks like to software that speaks EC2's metadata.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ec2MetaData {
    /// `ami-id`, as `ami-00000001`.
    pub ami_id: String,
    /// `instance-id`, as `i-00000001`.
    pub instance_id: String,
    /// `reservation-id`, as `r-abcdefgh`.
    pub reservation_id: String,
    /// `ami-launch-index`.
    pub launch_index: u32,
    /// `instance-type`: the name of the flavor.
    pub instance_type: String,
    /// `hostname`, `local-hostname` and `public-hostname`; the drive's host name when empty.
    pub hostname: String,
    /// `local-ipv4`: the first fixed address.
    pub local_ipv4: Option<core::net::Ipv4Addr>,
    /// `public-ipv4`: the first floating address.
    pub public_ipv4: Option<core::net::Ipv4Addr>,
    /// `security-groups`.
    pub security_groups: Vec<String>,
    /// `block-device-mapping`: `root` to `/dev/sda1`, and so on.
    pub block_device_mapping: BTreeMap<String, String>,
    /// `kernel-id`.
    pub kernel_id: Option<String>,
    /// `ramdisk-id`.
    pub ramdisk_id: Option<String>,
    /// `placement/availability-zone`.
    pub availability_zone: Option<String>,
}

impl Ec2MetaData {
    pub(crate) fn to_json(&self, hostname: &str, keys: &[KeyPair]) -> Result<Value, Error> {
        let hostname = if self.hostname.is_empty() { hostname } else { &self.hostname };
        check_hostname(FILE, "hostname", hostname)?;
        let address =
            |address: Option<core::net::Ipv4Addr>| address.map(|a| a.to_string()).unwrap_or_default();
        let mut data = json!({
            "ami-id": self.ami_id,
            "ami-launch-index": self.launch_index,
            // What OpenStack's metadata service says here, word for word.
            "ami-manifest-path": "FIXME",
            "block-device-mapping": self.block_device_mapping,
            "hostname": hostname,
            "instance-action": "none",
            "instance-id": self.instance_id,
            "instance-type": self.instance_type,
            "local-hostname": hostname,
            "local-ipv4": address(self.local_ipv4),
            "placement": { "availability-zone": self.availability_zone },
            "public-hostname": hostname,
            "public-ipv4": address(self.public_ipv4),
            "reservation-id": self.reservation_id,
            "security-groups": self.security_groups,
        });
        if let Some(id) = &self.kernel_id {
            data["kernel-id"] = json!(id);
        }
        if let Some(id) = &self.ramdisk_id {
            data["ramdisk-id"] = json!(id);
        }
        if !keys.is_empty() {
            let keys = keys.iter().enumerate();
            data["public-keys"] = keys
                .map(|(i, key)| {
                    (i.to_string(), json!({"_name": format!("{i}={}", key.name), "openssh-key": key.data}))
                })
                .collect::<serde_json::Map<_, _>>()
                .into();
        }
        Ok(data)
    }
}
