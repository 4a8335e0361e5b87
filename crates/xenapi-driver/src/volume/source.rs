//! Where a volume is.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use uuid::Uuid;
use xenapi_client::Secret;
use xenapi_storage::device::UserDevice;

/// A disk that outlives the instances it is attached to.
#[derive(Debug, Clone)]
pub struct Volume {
    /// What the block storage service calls it; kept in the VBD's `other_config:osvol`, Nova's key.
    pub id: Option<String>,
    /// The storage repository that it is in.
    pub storage: Storage,
    /// Which of the repository's disks it is.
    pub disk: VolumeDisk,
    /// Whether several VMs may write to it at the same time. Only a LUN can be taken over as such; of a disk
    /// that the pool knows already, it stays as it is.
    pub shared: bool,
}

impl Volume {
    /// A volume in `storage`, not shared and without a name of its own.
    pub fn new(storage: Storage, disk: VolumeDisk) -> Self {
        Self { id: None, storage, disk, shared: false }
    }
}

/// A volume and its place in a VM.
#[derive(Debug, Clone)]
pub struct Mount {
    /// The volume.
    pub volume: Volume,
    /// The place; `None` takes the first that is free behind those of the instance's own disks.
    pub device: Option<UserDevice>,
    /// The guest must not write to it.
    pub read_only: bool,
}

impl From<Volume> for Mount {
    /// At the first free place, for reading and writing.
    fn from(volume: Volume) -> Self {
        Self { volume, device: None, read_only: false }
    }
}

/// A storage repository, known to the pool or to be made known to it.
#[derive(Debug, Clone)]
pub enum Storage {
    /// One that the pool has: Nova's `xensm`.
    Repository(Uuid),
    /// A LUN for each disk. The SR's uuid follows from the target ([`xenapi_storage::iscsi_sr_uuid`]).
    Iscsi(Iscsi),
    /// VHDs on an NFS export.
    Nfs(Nfs),
    /// VHDs on an SMB share.
    Smb(Smb),
}

/// An iSCSI target.
#[derive(Debug, Clone)]
pub struct Iscsi {
    /// Where it is.
    pub portal: Portal,
    /// Its name.
    pub iqn: String,
    /// The name and the password by which hosts log in.
    pub chap: Option<(String, Secret)>,
}

/// An NFS export with a storage repository on it.
#[derive(Debug, Clone)]
pub struct Nfs {
    /// The server.
    pub server: String,
    /// The exported directory.
    pub path: String,
    /// Options for the mount.
    pub options: Option<String>,
    /// The repository; may be left out where there is only one.
    pub sr_uuid: Option<Uuid>,
}

/// An SMB share with a storage repository on it.
#[derive(Debug, Clone)]
pub struct Smb {
    /// `//server/share`.
    pub server: String,
    /// The name and the password by which hosts log in.
    pub login: Option<(String, Secret)>,
    /// The repository; may be left out where there is only one.
    pub sr_uuid: Option<Uuid>,
}

/// Which disk of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeDisk {
    /// The one with this uuid.
    Uuid(Uuid),
    /// The one on this LUN.
    Lun(u32),
    /// The only one there is.
    Only,
}

impl fmt::Display for VolumeDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(uuid) => uuid.fmt(f),
            Self::Lun(lun) => write!(f, "LUN {lun}"),
            Self::Only => f.write_str("its only disk"),
        }
    }
}

/// An address and a port: `192.0.2.1:3260`, `[2001:db8::1]:3260`, `target.example.org`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portal {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port; 3260 when none is given.
    pub port: u16,
}

/// Text that is no portal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no iSCSI portal: use an address with or without a port, such as 192.0.2.1:3260 or [2001:db8::1]:3260"
)]
pub struct PortalError(pub String);

impl FromStr for Portal {
    type Err = PortalError;

    fn from_str(text: &str) -> Result<Self, PortalError> {
        Self::with_port(text, Self::PORT)
    }
}

impl Portal {
    /// The port that iSCSI has.
    pub const PORT: u16 = 3260;

    /// As text says, with this port where it says none.
    ///
    /// # Errors
    ///
    /// For text that is no portal.
    pub fn with_port(text: &str, otherwise: u16) -> Result<Self, PortalError> {
        let invalid = || PortalError(text.to_owned());
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or_else(invalid)?)),
            // An IPv6 address without brackets has no port.
            None if text.matches(':').count() > 1 => (text, None),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Ok(otherwise), |port| port.parse().map_err(|_| invalid()))?;
        if host.is_empty() || host.contains(['[', ']', '/', ' ']) {
            return Err(invalid());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

/// What hosts need to know to reach a repository that the pool does not have yet.
pub(super) struct Remote<'a> {
    pub(super) sr_type: &'static str,
    pub(super) label: String,
    /// `device_config`, without passwords.
    pub(super) device_config: BTreeMap<String, String>,
    /// The key under which `device_config` names the `secret` object, and the password in it.
    pub(super) password: Option<(&'static str, &'a Secret)>,
    /// The repository, if it is known without asking the server.
    pub(super) sr_uuid: Option<Uuid>,
}

impl Storage {
    pub(super) fn remote(&self) -> Option<Remote<'_>> {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        Some(match self {
            Self::Repository(_) => return None,
            Self::Iscsi(Iscsi { portal: Portal { host, port }, iqn, chap }) => {
                let mut device_config =
                    map(&[("target", host), ("port", &port.to_string()), ("targetIQN", iqn)]);
                device_config.extend(chap.iter().map(|(user, _)| ("chapuser".to_owned(), user.clone())));
                Remote {
                    sr_type: "iscsi",
                    label: format!("iSCSI {iqn} at {host}"),
                    device_config,
                    password: chap.as_ref().map(|(_, password)| ("chappassword_secret", password)),
                    sr_uuid: Some(xenapi_storage::iscsi_sr_uuid(host, *port, iqn)),
                }
            }
            Self::Nfs(Nfs { server, path, options, sr_uuid }) => {
                let mut device_config = map(&[("server", server), ("serverpath", path)]);
                device_config.extend(options.iter().map(|options| ("options".to_owned(), options.clone())));
                let label = format!("NFS {server}:{path}");
                Remote { sr_type: "nfs", label, device_config, password: None, sr_uuid: *sr_uuid }
            }
            Self::Smb(Smb { server, login, sr_uuid }) => {
                let mut device_config = map(&[("server", server)]);
                device_config.extend(login.iter().map(|(user, _)| ("username".to_owned(), user.clone())));
                Remote {
                    sr_type: "smb",
                    label: format!("SMB {server}"),
                    device_config,
                    password: login.as_ref().map(|(_, password)| ("password_secret", password)),
                    sr_uuid: *sr_uuid,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portals() {
        for (text, expected) in [
            ("192.0.2.1:3260", Some(("192.0.2.1", 3260))),
            ("192.0.2.1", Some(("192.0.2.1", 3260))),
            ("target.example.org:860", Some(("target.example.org", 860))),
            ("[2001:db8::1]:3261", Some(("2001:db8::1", 3261))),
            ("[2001:db8::1]", Some(("2001:db8::1", 3260))),
            ("2001:db8::1", Some(("2001:db8::1", 3260))),
            ("", None),
            (":3260", None),
            ("192.0.2.1:", None),
            ("192.0.2.1:99999", None),
            ("192.0.2.1:3260,1", None),
            ("[2001:db8::1]3260", None),
        ] {
            let portal = text.parse::<Portal>().ok();
            assert_eq!(portal.as_ref().map(|p| (&*p.host, p.port)), expected, "{text:?}");
        }
    }

    #[test]
    fn passwords_are_no_part_of_what_is_shown() {
        let storage = Storage::Iscsi(Iscsi {
            portal: "192.0.2.1".parse().unwrap(),
            iqn: "iqn.2010-10.org.example:a".into(),
            chap: Some(("user".into(), Secret::new("hunter2"))),
        });
        assert!(!format!("{storage:?}").contains("hunter2"));
        let remote = storage.remote().unwrap();
        assert!(!remote.device_config.values().any(|value| value == "hunter2"));
    }
}
