//! `openstack/<version>/meta_data.json`.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Version, check_hostname};
use crate::redacted::Redacted;
use crate::{Device, Error, Secret};

pub(crate) const FILE: &str = "meta_data.json";

/// What the instance is.
#[derive(Clone, PartialEq, Eq)]
pub struct MetaData {
    /// The uuid of the instance, by which cloud-init knows a new instance from a reboot.
    pub uuid: Uuid,
    /// The name a person gave it.
    pub name: String,
    /// The host name, with its domain if it has one.
    pub hostname: String,
    /// The place of this instance among those of one request.
    pub launch_index: u32,
    /// The availability zone.
    pub availability_zone: Option<String>,
    /// The project. From version 2015-10-15.
    pub project_id: Option<String>,
    /// The user's own keys and values.
    pub meta: BTreeMap<String, String>,
    /// Public keys for the first user's login.
    pub keys: Vec<KeyPair>,
    /// The password of the administrator.
    pub admin_pass: Option<Secret>,
    /// Random bytes for the guest to start its own generator with; OpenStack gives 512. From version 2013-04-04.
    pub random_seed: Vec<u8>,
    /// Devices with tags. From version 2016-06-30.
    pub devices: Vec<Device>,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The name of the key pair.
    pub name: String,
    /// What kind it is.
    pub kind: KeyKind,
    /// The public part: one line of an `authorized_keys` file, or a certificate in PEM.
    pub data: String,
}

/// The kind of a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// A key for SSH.
    Ssh,
    /// A certificate, for WinRM.
    X509,
}

impl KeyPair {
    /// A key for SSH.
    pub fn ssh(name: impl Into<String>, data: impl Into<String>) -> Self {
        Self { name: name.into(), kind: KeyKind::Ssh, data: data.into() }
    }
}

/// What `meta_data.json` says of the files in `openstack/content`.
#[derive(Default)]
pub(crate) struct ContentIndex {
    pub(crate) network_config: Option<String>,
    /// Path in the guest, path on the drive.
    pub(crate) files: Vec<(String, String)>,
}

impl MetaData {
    /// An instance of which no more is known; the other fields can be set.
    pub fn new(uuid: Uuid, name: impl Into<String>, hostname: impl Into<String>) -> Self {
        Self {
            uuid,
            name: name.into(),
            hostname: hostname.into(),
            launch_index: 0,
            availability_zone: None,
            project_id: None,
            meta: BTreeMap::new(),
            keys: Vec::new(),
            admin_pass: None,
            random_seed: Vec::new(),
            devices: Vec::new(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        check_hostname(FILE, "hostname", &self.hostname)?;
        for (i, key) in self.keys.iter().enumerate() {
            let reason = if key.data.trim().is_empty() {
                "has no key in it"
            } else if key.kind == KeyKind::Ssh && key.data.trim_end().contains(['\n', '\r', '\0']) {
                "is more than one line, and so would add lines to the guest's authorized_keys"
            } else if self.keys[..i].iter().any(|other| other.name == key.name) {
                "has the name of another key"
            } else {
                continue;
            };
            let field = format!("keys[{i}]");
            return Err(Error::InvalidField { file: FILE, field, value: key.name.clone(), reason });
        }
        for (i, device) in self.devices.iter().enumerate() {
            // The rule of OpenStack's API for tags.
            let is_valid = |tag: &&String| {
                (1..=60).contains(&tag.chars().count())
                    && !tag.contains([',', '/'])
                    && !tag.contains(char::is_control)
            };
            if let Some(tag) = device.tags.iter().find(|tag| !is_valid(tag)) {
                let (field, value) = (format!("devices[{i}].tags"), tag.clone());
                let reason = "is not a tag: 1 to 60 characters, no comma, slash or control character";
                return Err(Error::InvalidField { file: FILE, field, value, reason });
            }
        }
        Ok(())
    }

    pub(crate) fn to_json(&self, version: Version, content: &ContentIndex) -> Value {
        let mut data = Map::new();
        let mut set = |key: &str, value: Value| data.insert(key.to_owned(), value);
        set("uuid", json!(self.uuid.to_string()));
        set("name", json!(self.name));
        set("hostname", json!(self.hostname));
        set("launch_index", json!(self.launch_index));
        set("availability_zone", json!(self.availability_zone));
        if !self.meta.is_empty() {
            set("meta", json!(self.meta));
        }
        if !content.files.is_empty() {
            let files = content.files.iter();
            set(
                "files",
                files.map(|(path, on_drive)| json!({"path": path, "content_path": on_drive})).collect(),
            );
        }
        if let Some(on_drive) = &content.network_config {
            set("network_config", json!({"name": "network_config", "content_path": on_drive}));
        }
        if let Some(password) = &self.admin_pass {
            set("admin_pass", json!(password.expose()));
        }
        if !self.keys.is_empty() {
            let by_name: BTreeMap<_, _> = self.keys.iter().map(|key| (&key.name, &key.data)).collect();
            set("public_keys", json!(by_name));
            let kind = |key: &KeyPair| match key.kind {
                KeyKind::Ssh => "ssh",
                KeyKind::X509 => "x509",
            };
            let keys = self.keys.iter();
            set(
                "keys",
                keys.map(|key| json!({"name": key.name, "type": kind(key), "data": key.data})).collect(),
            );
        }
        if version >= Version::Grizzly && !self.random_seed.is_empty() {
            set("random_seed", json!(STANDARD.encode(&self.random_seed)));
        }
        if version >= Version::Liberty {
            set("project_id", json!(self.project_id));
        }
        if version >= Version::NewtonOne {
            set("devices", self.devices.iter().map(|device| device.to_json(version)).collect());
        }
        data.into()
    }
}

impl fmt::Debug for MetaData {
    /// Without the password, the seed, and the values of `meta`, where users do keep secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetaData")
            .field("uuid", &self.uuid)
            .field("name", &self.name)
            .field("hostname", &self.hostname)
            .field("meta", &self.meta.keys())
            .field("keys", &self.keys.iter().map(|key| &key.name).collect::<Vec<_>>())
            .field("admin_pass", &self.admin_pass)
            .field("random_seed", &Redacted(self.random_seed.len()))
            .field("devices", &self.devices)
            .finish_non_exhaustive()
    }
}
