//! cloud-init's NoCloud layout: four files in the root of a drive labelled `cidata`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::redacted::Redacted;
use crate::wiped::{self, Wiped};
use crate::{
    Addressing, Error, Ipv6Mode, KeyKind, Link, LinkKind, MetaData, NetworkData, Route, Service, Tree,
};

const FILE: &str = "meta-data";

/// What goes on a NoCloud drive. Its image wants [`Label::NoCloud`](crate::Label::NoCloud).
///
/// The documents are YAML of the kind that is also JSON.
#[derive(Clone)]
pub struct NoCloud {
    meta_data: MetaData,
    network_data: Option<NetworkData>,
    user_data: Bytes,
    vendor_data: Option<Bytes>,
}

impl NoCloud {
    /// A drive with no more than the instance's own data on it. The layout has no place for device tags,
    /// and none for certificates among the keys.
    pub fn new(meta_data: MetaData) -> Self {
        Self { meta_data, network_data: None, user_data: Bytes::new(), vendor_data: None }
    }

    /// The network cards and their addresses: `network-config`, in version 2 of cloud-init's format.
    /// Without this there is none, and cloud-init asks DHCP.
    pub fn network_data(mut self, data: NetworkData) -> Self {
        self.network_data = Some(data);
        self
    }

    /// What the user wants run: `user-data`, in UTF-8 or gzip. The file is there even when it is empty, as cloud-init takes
    /// no drive without it.
    pub fn user_data(mut self, data: impl Into<Bytes>) -> Self {
        self.user_data = data.into();
        self
    }

    /// What the operator wants every guest to run: `vendor-data`.
    pub fn vendor_data(mut self, data: impl Into<Bytes>) -> Self {
        self.vendor_data = Some(data.into());
        self
    }

    /// The files of the drive.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidField`] for a field that a guest could not use, or that this layout cannot say.
    pub fn tree(&self) -> Result<Tree, Error> {
        let mut tree = Tree::new();
        tree.insert(FILE, to_yaml(self.meta_data()?))?;
        crate::drive::check_user_data("user-data", &self.user_data)?;
        tree.insert("user-data", self.user_data.clone())?;
        if let Some(data) = &self.vendor_data {
            tree.insert("vendor-data", data.clone())?;
        }
        if let Some(data) = &self.network_data {
            data.check()?;
            tree.insert("network-config", to_yaml(network_config(data)))?;
        }
        Ok(tree)
    }

    fn meta_data(&self) -> Result<Value, Error> {
        let data = &self.meta_data;
        data.check()?;
        if let Some(i) = data.keys.iter().position(|key| key.kind != KeyKind::Ssh) {
            let (field, value) = (format!("keys[{i}]"), data.keys[i].name.clone());
            return Err(Error::InvalidField {
                file: FILE,
                field,
                value,
                reason: "is not a key for SSH, and NoCloud has others nowhere",
            });
        }
        if !data.devices.is_empty() {
            return Err(Error::InvalidField {
                file: FILE,
                field: "devices".to_owned(),
                value: data.devices.len().to_string(),
                reason: "entries are given, and NoCloud has device tags nowhere",
            });
        }
        let mut object = Map::new();
        let mut set = |key: &str, value: Value| object.insert(key.to_owned(), value);
        set("instance-id", json!(data.uuid.to_string()));
        set("local-hostname", json!(data.hostname));
        set("name", json!(data.name));
        set("launch-index", json!(data.launch_index));
        if !data.keys.is_empty() {
            set("public-keys", data.keys.iter().map(|key| json!(key.data.trim_end())).collect());
        }
        if let Some(zone) = &data.availability_zone {
            set("availability-zone", json!(zone));
        }
        if let Some(project) = &data.project_id {
            set("project-id", json!(project));
        }
        if !data.meta.is_empty() {
            set("meta", json!(data.meta));
        }
        if let Some(password) = &data.admin_pass {
            set("admin_pass", json!(password.expose()));
        }
        if !data.random_seed.is_empty() {
            set("random_seed", json!(STANDARD.encode(&data.random_seed)));
        }
        Ok(object.into())
    }
}

impl fmt::Debug for NoCloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoCloud")
            .field("meta_data", &self.meta_data)
            .field("network_data", &self.network_data)
            .field("user_data", &Redacted(self.user_data.len()))
            .field("vendor_data", &self.vendor_data.as_ref().map(|data| Redacted(data.len())))
            .finish()
    }
}

/// JSON is YAML but for characters that YAML wants escaped: controls, and what it takes for line ends.
fn to_yaml(value: Value) -> Bytes {
    let (json, mut yaml) = (wiped::json(value), Wiped::default());
    for c in json.text().chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                yaml.push(format!("\\u{:04x}", u32::from(c)).as_bytes());
            }
            c => yaml.push(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    yaml.push(b"\n");
    yaml.into()
}

/// Cards are matched by address: how the guest's kernel names them is not for us to know.
fn network_config(data: &NetworkData) -> Value {
    let mut config = json!({"version": 2, "ethernets": {}});
    for link in &data.links {
        let (section, settings) = match &link.kind {
            LinkKind::Bond { links, mode, miimon, xmit_hash_policy } => {
                let mut parameters = json!({"mode": mode.as_str()});
                if let Some(miimon) = miimon {
                    parameters["mii-monitor-interval"] = json!(miimon);
                }
                if let Some(policy) = xmit_hash_policy {
                    parameters["transmit-hash-policy"] = json!(policy);
                }
                ("bonds", json!({"interfaces": links, "macaddress": link.mac, "parameters": parameters}))
            }
            LinkKind::Vlan { link: on, tag } => {
                ("vlans", json!({"id": tag, "link": on, "macaddress": link.mac}))
            }
            _ => ("ethernets", json!({"match": {"macaddress": link.mac}})),
        };
        let mut settings = settings.as_object().cloned().unwrap_or_default();
        settings.extend(addresses(link, data));
        config[section][&link.id] = settings.into();
    }
    config
}

fn addresses(link: &Link, data: &NetworkData) -> Map<String, Value> {
    let mut settings = Map::new();
    if let Some(mtu) = link.mtu {
        settings.insert("mtu".into(), json!(mtu));
    }
    let (mut addresses, mut routes, mut servers) = (Vec::new(), Vec::new(), Vec::new());
    let mut set = |key: &str| settings.insert(key.to_owned(), json!(true));
    for network in data.networks.iter().filter(|network| network.link == link.id) {
        match network.addressing {
            Addressing::Dhcp4 => set("dhcp4"),
            Addressing::Dhcp6 | Addressing::Router { mode: Ipv6Mode::Dhcpv6Stateful, .. } => set("dhcp6"),
            Addressing::Router { mode: Ipv6Mode::Slaac | Ipv6Mode::Dhcpv6Stateless, .. } => set("accept-ra"),
            Addressing::Static { address, prefix } => {
                addresses.push(format!("{address}/{prefix}"));
                routes.extend(network.routes_away().map(route));
                servers.extend(&network.services);
                continue;
            }
        };
    }
    if !addresses.is_empty() {
        settings.insert("addresses".into(), json!(addresses));
        servers.extend(&data.services);
    }
    if !routes.is_empty() {
        settings.insert("routes".into(), routes.into());
    }
    let mut names: Vec<Value> = Vec::new();
    for Service::Dns(address) in servers {
        if !names.contains(&json!(address)) {
            names.push(json!(address));
        }
    }
    if !names.is_empty() {
        settings.insert("nameservers".into(), json!({"addresses": names}));
    }
    settings
}

fn route(route: &Route) -> Value {
    json!({"to": format!("{}/{}", route.network, route.prefix), "via": route.gateway})
}
