//! Volumes in the words of a command line: as options, or as one value, `iscsi=192.0.2.10,iqn=…,lun=1,id=data`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use uuid::Uuid;
use xenapi_client::Secret;
use xenapi_driver::volume::{Iscsi, Mount, Nfs, Smb, Storage, Volume, VolumeDisk};

use crate::options::Options;
use crate::words::Words;

/// Where a volume is, and which one. What belongs together is looked at by [`Place::check`], in whichever way
/// it was written.
#[derive(Debug, Clone, Default, Args)]
pub struct Place {
    /// A repository that the pool has.
    #[arg(long, value_name = "UUID")]
    sr: Option<Uuid>,
    /// An iSCSI target's address; for an --iqn without one, the options target_host and target_port say it, and for an
    /// address without a port the latter.
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    iscsi: Option<String>,
    /// An NFS export.
    #[arg(long, value_name = "SERVER:PATH")]
    nfs: Option<String>,
    /// An SMB share.
    #[arg(long, value_name = "//SERVER/SHARE")]
    smb: Option<String>,
    /// The target's name.
    #[arg(long)]
    iqn: Option<String>,
    /// Options for the mount of an NFS export.
    #[arg(long, value_name = "OPTIONS")]
    nfs_options: Option<String>,
    /// Which repository of an NFS export or an SMB share, if there are several.
    #[arg(long, value_name = "UUID")]
    sr_uuid: Option<Uuid>,
    /// Which LUN.
    #[arg(long)]
    lun: Option<u32>,
    /// Which disk; without it and --lun, the only one there is.
    #[arg(long, value_name = "UUID")]
    vdi: Option<Uuid>,
    /// Who logs in to the storage: to an iSCSI target or an SMB share.
    #[arg(long)]
    login: Option<String>,
    /// A file whose first line is the password for the storage.
    #[arg(long, value_name = "FILE")]
    login_password_file: Option<PathBuf>,
    /// What the volume is called; its disk's uuid otherwise.
    #[arg(long)]
    id: Option<String>,
    /// Several instances may have the --lun at the same time. A disk of the pool says that itself.
    #[arg(long)]
    shared: bool,
}

impl Place {
    /// Sees that there is one place, and that every word means something there.
    ///
    /// # Errors
    ///
    /// With the word that does not.
    pub fn check(&self) -> Result<(), String> {
        let places = [
            ("sr", self.sr.is_some()),
            ("iqn", self.iqn.is_some()),
            ("nfs", self.nfs.is_some()),
            ("smb", self.smb.is_some()),
        ];
        let named: Vec<_> = places.iter().filter(|(_, named)| *named).map(|(place, _)| *place).collect();
        let [place] = named[..] else {
            return Err(
                "where is the volume? one place of it is wanted: sr, iqn (for iscsi), nfs or smb".to_owned()
            );
        };
        for (word, given, of) in [
            ("iscsi", self.iscsi.is_some(), &["iqn"][..]),
            ("nfs-options", self.nfs_options.is_some(), &["nfs"]),
            ("sr-uuid", self.sr_uuid.is_some(), &["nfs", "smb"]),
            ("login", self.login.is_some(), &["iqn", "smb"]),
            ("login-password-file", self.login_password_file.is_some(), &["iqn", "smb"]),
        ] {
            if given && !of.contains(&place) {
                return Err(format!("{word} belongs to {}, and means nothing with {place}", of.join(" or ")));
            }
        }
        if self.login.is_some() != self.login_password_file.is_some() {
            return Err("login and login-password-file belong together".to_owned());
        }
        if self.vdi.is_some() && self.lun.is_some() {
            return Err("vdi and lun are two disks: leave one out".to_owned());
        }
        if self.shared && self.lun.is_none() {
            return Err("shared belongs to lun: a disk of the pool says that itself".to_owned());
        }
        Ok(())
    }

    /// The volume.
    ///
    /// # Errors
    ///
    /// Those of [`Place::check`], and for a password that cannot be read.
    pub fn volume(&self, options: &Options) -> Result<Volume> {
        self.check().map_err(anyhow::Error::msg)?;
        let login = match (&self.login, &self.login_password_file) {
            (Some(login), Some(path)) => Some((login.clone(), secret(path)?)),
            _ => None,
        };
        let sr_uuid = self.sr_uuid;
        let storage = match self {
            Self { sr: Some(uuid), .. } => Storage::Repository(*uuid),
            Self { iscsi, iqn: Some(iqn), .. } => {
                let portal = options.portal(iscsi.as_deref())?;
                Storage::Iscsi(Iscsi { portal, iqn: iqn.clone(), chap: login })
            }
            Self { nfs: Some(export), nfs_options, .. } => {
                let (server, path) = export.split_once(':').context("an NFS export is SERVER:PATH")?;
                let (server, path) = (server.into(), path.into());
                Storage::Nfs(Nfs { server, path, options: nfs_options.clone(), sr_uuid })
            }
            Self { smb: Some(server), .. } => Storage::Smb(Smb { server: server.clone(), login, sr_uuid }),
            _ => bail!("where is the volume?"),
        };
        let disk = match (self.vdi, self.lun) {
            (Some(uuid), _) => VolumeDisk::Uuid(uuid),
            (None, Some(lun)) => VolumeDisk::Lun(lun),
            (None, None) => VolumeDisk::Only,
        };
        Ok(Volume { id: self.id.clone(), shared: self.shared, ..Volume::new(storage, disk) })
    }
}

/// How a volume is written as one value: the names of the options above, and these of its attachment.
pub const VOLUME: &str = "KEY=VALUE[,KEY=VALUE…]";

/// A volume and how an instance has it.
#[derive(Debug, Clone)]
pub struct Attached {
    place: Place,
    device: Option<String>,
    read_only: bool,
}

impl Attached {
    /// As the driver has it.
    ///
    /// # Errors
    ///
    /// Those of [`Place::volume`], and for a place in the VM that is none.
    pub fn mount(&self, options: &Options) -> Result<Mount> {
        let device = self.device.as_deref().map(str::parse).transpose()?;
        Ok(Mount { device, read_only: self.read_only, ..Mount::from(self.place.volume(options)?) })
    }

    /// The volume that is booted from.
    ///
    /// # Errors
    ///
    /// Those of [`Place::volume`], and for what a root disk cannot have.
    pub fn root(&self, options: &Options) -> Result<Volume> {
        if self.device.is_some() || self.read_only {
            bail!(
                "--boot-volume: a root disk has the place 0 and is written to; leave device= and read-only out"
            );
        }
        self.place.volume(options)
    }
}

/// Reads one value.
///
/// # Errors
///
/// For what is not understood, and those of [`Place::check`].
pub fn attached(text: &str) -> Result<Attached, String> {
    let mut words = Words::of(text);
    let place = Place {
        sr: words.one("sr")?,
        iscsi: words.one("iscsi")?,
        nfs: words.one("nfs")?,
        smb: words.one("smb")?,
        iqn: words.one("iqn")?,
        nfs_options: words.one("nfs-options")?,
        sr_uuid: words.one("sr-uuid")?,
        lun: words.one("lun")?,
        vdi: words.one("vdi")?,
        login: words.one("login")?,
        login_password_file: words.one("login-password-file")?,
        id: words.one("id")?,
        shared: words.flag("shared"),
    };
    let (device, read_only) = (words.one("device")?, words.flag("read-only"));
    words.end()?;
    place.check()?;
    Ok(Attached { place, device, read_only })
}

/// The first line of a file.
///
/// # Errors
///
/// When it cannot be read.
pub fn secret(path: &Path) -> Result<Secret> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the password file {} cannot be read", path.display()))?;
    Ok(Secret::new(text.lines().next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_one_value() -> Result<(), String> {
        let read = attached(
            "iscsi=192.0.2.10,iqn=iqn.2010-10.org.example:v,lun=3,id=data,device=xvdf,read-only,shared",
        )?;
        assert_eq!((read.place.lun, read.place.id.as_deref()), (Some(3), Some("data")));
        assert_eq!((read.device.as_deref(), read.read_only, read.place.shared), (Some("xvdf"), true, true));
        for (text, part) in [
            ("lun=1", "one place of it is wanted"),
            ("iscsi=192.0.2.1,lun=1", "one place of it is wanted"),
            ("nfs=a:/b,smb=//a/b", "one place of it is wanted"),
            ("sr=x", "sr=x"),
            ("nfs=a:/b,lun=1,vdi=6f1f8c2e-5a0a-4a53-9a3b-0d8a1ce2a8f1", "leave one out"),
            ("smb=//a/b,login=web", "belong together"),
            ("smb=//a/b,login-password-file=x", "belong together"),
            ("nfs=a:/b,login=web,login-password-file=x", "login belongs to iqn or smb"),
            ("sr=6f1f8c2e-5a0a-4a53-9a3b-0d8a1ce2a8f1,iscsi=192.0.2.1", "iscsi belongs to iqn"),
            ("smb=//a/b,nfs-options=ro", "nfs-options belongs to nfs"),
            ("iqn=i,sr-uuid=6f1f8c2e-5a0a-4a53-9a3b-0d8a1ce2a8f1", "sr-uuid belongs to nfs or smb"),
            ("nfs=a:/b,shared", "shared belongs to lun"),
            ("nfs=a:/b,ro", "is not understood"),
        ] {
            let error = attached(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        Ok(())
    }
}
