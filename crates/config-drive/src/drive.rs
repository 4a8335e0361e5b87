//! From the description of an instance to the files of its drive.

use std::fmt;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::metadata::openstack::ContentIndex;
use crate::metadata::{Version, ec2, network, openstack};
use crate::redacted::Redacted;
use crate::{Ec2MetaData, Error, MetaData, NetworkData, Tree, wiped};

/// What goes on the drive of one instance.
///
/// The files, and from which version on each has what, are those of OpenStack Nova 21: guests pick the
/// newest version they know, so all are written.
#[derive(Clone)]
pub struct ConfigDrive {
    meta_data: MetaData,
    network_data: Option<NetworkData>,
    user_data: Option<Bytes>,
    vendor_data: Value,
    vendor_data2: Value,
    ec2: Option<Ec2MetaData>,
    network_config: Option<Bytes>,
    files: Vec<(String, Bytes)>,
}

impl ConfigDrive {
    /// At most this many bytes of user data: OpenStack takes 65,535 characters of it in base64.
    pub const MAX_USER_DATA_BYTES: usize = 65_535 / 4 * 3;

    /// A drive with no more than the instance's own data on it.
    pub fn new(meta_data: MetaData) -> Self {
        Self {
            meta_data,
            network_data: None,
            user_data: None,
            vendor_data: json!({}),
            vendor_data2: json!({}),
            ec2: None,
            network_config: None,
            files: Vec::new(),
        }
    }

    /// The network cards and their addresses: `network_data.json`, from version 2015-10-15.
    pub fn network_data(mut self, data: NetworkData) -> Self {
        self.network_data = Some(data);
        self
    }

    /// What the user wants run, decoded: `user_data`; UTF-8 or gzip, at most
    /// [`MAX_USER_DATA_BYTES`](Self::MAX_USER_DATA_BYTES).
    pub fn user_data(mut self, data: impl Into<Bytes>) -> Self {
        self.user_data = Some(data.into());
        self
    }

    /// What the operator wants every guest to know: `vendor_data.json`, from version 2013-10-17.
    pub fn vendor_data(mut self, data: Value) -> Self {
        self.vendor_data = data;
        self
    }

    /// The same from the operator's services: `vendor_data2.json`, from version 2016-10-06.
    pub fn vendor_data2(mut self, data: Value) -> Self {
        self.vendor_data2 = data;
        self
    }

    /// The EC2 tree. Without this there is none.
    pub fn ec2(mut self, data: Ec2MetaData) -> Self {
        self.ec2 = Some(data);
        self
    }

    /// A Debian `interfaces` file for guests that do not read `network_data.json`.
    pub fn network_config(mut self, interfaces: impl Into<Bytes>) -> Self {
        self.network_config = Some(interfaces.into());
        self
    }

    /// A file for the guest to put at an absolute path of its own.
    pub fn injected_file(mut self, path: impl Into<String>, content: impl Into<Bytes>) -> Self {
        self.files.push((path.into(), content.into()));
        self
    }

    /// The files of the drive.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidField`] for a field that a guest could not use, or that would let one file pass
    /// for another: the error names both.
    pub fn tree(&self) -> Result<Tree, Error> {
        self.meta_data.check()?;
        if let Some(network) = &self.network_data {
            network.check()?;
        }
        if let Some(data) = &self.user_data {
            check_user_data("user_data", data)?;
        }
        let mut tree = Tree::new();
        self.add_ec2(&mut tree)?;
        let index = self.add_content(&mut tree)?;
        let network_data = self.network_data.as_ref().map_or_else(|| json!({}), NetworkData::to_json);
        for (version, directory) in Version::ALL {
            let mut add =
                |name: &str, content: Bytes| tree.insert(format!("openstack/{directory}/{name}"), content);
            add(openstack::FILE, to_bytes(self.meta_data.to_json(version, &index)))?;
            if let Some(data) = &self.user_data {
                add("user_data", data.clone())?;
            }
            if version >= Version::Havana {
                add("vendor_data.json", to_bytes(self.vendor_data.clone()))?;
            }
            if version >= Version::Liberty {
                add(network::FILE, to_bytes(network_data.clone()))?;
            }
            if version >= Version::NewtonTwo {
                add("vendor_data2.json", to_bytes(self.vendor_data2.clone()))?;
            }
        }
        Ok(tree)
    }

    fn add_ec2(&self, tree: &mut Tree) -> Result<(), Error> {
        let Some(ec2) = &self.ec2 else { return Ok(()) };
        let meta_data = to_bytes(ec2.to_json(&self.meta_data.hostname, &self.meta_data.keys)?);
        for version in ec2::VERSIONS {
            tree.insert(format!("ec2/{version}/{}", ec2::FILE), meta_data.clone())?;
            if let Some(data) = &self.user_data {
                tree.insert(format!("ec2/{version}/user-data"), data.clone())?;
            }
        }
        Ok(())
    }

    /// Numbered files; `meta_data.json` says what each is.
    fn add_content(&self, tree: &mut Tree) -> Result<ContentIndex, Error> {
        let mut index = ContentIndex::default();
        let mut number = 0;
        let mut add = |content: &Bytes| {
            let path = format!("content/{number:04}");
            number += 1;
            tree.insert(format!("openstack/{path}"), content.clone()).map(|()| format!("/{path}"))
        };
        if let Some(interfaces) = &self.network_config {
            index.network_config = Some(add(interfaces)?);
        }
        for (i, (path, content)) in self.files.iter().enumerate() {
            check_guest_path(i, path)?;
            if self.files[..i].iter().any(|(other, _)| other == path) {
                return Err(invalid_file(i, path, "is given twice"));
            }
            index.files.push((path.clone(), add(content)?));
        }
        Ok(index)
    }
}

impl fmt::Debug for ConfigDrive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigDrive")
            .field("meta_data", &self.meta_data)
            .field("network_data", &self.network_data)
            .field("user_data", &self.user_data.as_ref().map(|data| Redacted(data.len())))
            .field(
                "files",
                &self.files.iter().map(|(path, data)| (path, Redacted(data.len()))).collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
    }
}

/// More than OpenStack takes would not survive a move of the instance there.
pub(crate) fn check_user_data(file: &'static str, data: &[u8]) -> Result<(), Error> {
    if data.len() > ConfigDrive::MAX_USER_DATA_BYTES {
        return Err(Error::UserDataTooLong {
            file,
            len: data.len(),
            limit: ConfigDrive::MAX_USER_DATA_BYTES,
        });
    }
    if data.starts_with(&GZIP) {
        return Ok(());
    }
    std::str::from_utf8(data)
        .map(drop)
        .map_err(|at| Error::UserDataNotText { file, offset: at.valid_up_to() })
}

/// What a gzip file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

fn to_bytes(value: Value) -> Bytes {
    wiped::json(value).into()
}

/// The guest's agent opens this path as root, so that it must say plainly where it leads.
fn check_guest_path(i: usize, path: &str) -> Result<(), Error> {
    let reason = if !path.starts_with('/') || path.ends_with('/') {
        "is not the absolute path of a file"
    } else if path.split('/').any(|part| part == "..") {
        "leads through \"..\""
    } else if path.chars().any(char::is_control) {
        "has a control character"
    } else if path.len() > 255 {
        "is longer than 255 bytes"
    } else {
        return Ok(());
    };
    Err(invalid_file(i, path, reason))
}

fn invalid_file(i: usize, path: &str, reason: &'static str) -> Error {
    Error::InvalidField {
        file: openstack::FILE,
        field: format!("files[{i}].path"),
        value: path.to_owned(),
        reason,
    }
}
