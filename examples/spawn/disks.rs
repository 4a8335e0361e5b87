//! Its further disks, and what dom0 does to those that are made before the first start.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::{Args, ValueEnum};
use examples::cli;
use examples::options::Options;
use examples::volume::{self, Attached};
use xenapi_driver::spec::{ConfigDrive, InstanceSpec};
use xenapi_driver::{DiskSetup, Grow, Injection};

/// Volumes, and the work of the plugin `dom0_protocol`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Disks")]
pub(crate) struct Disks {
    /// A volume that it has from the beginning, as --boot-volume is written, also with device= and read-only; may be given
    /// several times.
    #[arg(long, value_name = volume::VOLUME, value_parser = volume::attached)]
    volume: Vec<Attached>,
    /// A tag of the disk at that place (0 is the root disk); may be given several times.
    #[arg(long, value_name = "DEVICE=TAG", value_parser = cli::key_value)]
    disk_tag: Vec<(String, String)>,
    /// Whether dom0 grows the root disk's only partition and its file system to the disk. Like what follows, it needs our
    /// plugins on the host.
    #[arg(long, value_enum, value_name = "WHETHER", default_value = "no")]
    grow: Growing,
    /// Make swap space of the swap disk.
    #[arg(long)]
    format_swap: bool,
    /// Format ephemeral disks: ext2, ext3, ext4, xfs or vfat; if left out, as the option default_ephemeral_format says.
    #[arg(long, value_name = "FORMAT")]
    ephemeral_fs: Option<String>,
    /// Write what the config drive tells (--ssh-key, --file) into the root file system as well; the option
    /// flat_injected says so too.
    #[arg(long)]
    inject: bool,
    /// A file with root's password as crypt(3) hashes it, to be written there.
    #[arg(long, value_name = "FILE")]
    inject_password_hash_file: Option<PathBuf>,
    /// A file that becomes /etc/network/interfaces there.
    #[arg(long, value_name = "FILE")]
    inject_interfaces: Option<PathBuf>,
}

/// Whether a root disk's partition grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Growing {
    /// The guest does it, or nobody.
    No,
    /// Where that is safe; otherwise it starts as it is, and why is told.
    Try,
    /// Or there is no instance.
    Require,
}

impl Disks {
    /// Adds them to what is to be made.
    pub(crate) fn describe(
        &self,
        spec: &mut InstanceSpec,
        drive: &ConfigDrive,
        options: &Options,
    ) -> Result<()> {
        for (option, given, wanted) in [
            ("--format-swap", self.format_swap && spec.flavor.swap_mib == 0, "--swap-mib"),
            (
                "--ephemeral-fs",
                self.ephemeral_fs.is_some() && spec.flavor.ephemeral_gib == 0,
                "--ephemeral-gib",
            ),
            (
                "--inject",
                self.inject && drive.files.is_empty() && drive.ssh_keys.is_empty(),
                "--ssh-key or --file",
            ),
        ] {
            ensure!(!given, "{option} does nothing without {wanted}");
        }
        for volume in &self.volume {
            spec.volumes.push(volume.mount(options)?);
        }
        for (place, tag) in &self.disk_tag {
            spec.disk_tags.entry(place.parse()?).or_default().push(tag.clone());
        }
        let settings = options.read()?;
        let usual_fs = Some(settings.text("default_ephemeral_format")).filter(|fs| !fs.is_empty());
        spec.disk_setup = DiskSetup {
            grow: match self.grow {
                Growing::No => Grow::No,
                Growing::Try => Grow::Try,
                Growing::Require => Grow::Require,
            },
            injection: Some(self.injection(drive, self.inject || settings.flag("flat_injected"))?),
            format_swap: self.format_swap,
            ephemeral_fs: self.ephemeral_fs.clone().or(usual_fs),
        };
        Ok(())
    }

    /// What is written into the root file system; nothing is an injection too.
    fn injection(&self, drive: &ConfigDrive, all: bool) -> Result<Injection> {
        let text = |path: &Path| {
            std::fs::read_to_string(path)
                .with_context(|| format!("the file {} cannot be read", path.display()))
        };
        let files = drive.files.iter().filter(|_| all);
        Ok(Injection {
            files: files.map(|(path, content)| (path.clone(), BASE64_STANDARD.encode(content))).collect(),
            ssh_key: drive.ssh_keys.values().next().filter(|_| all).cloned(),
            root_password_hash: self
                .inject_password_hash_file
                .as_deref()
                .map(|path| text(path).map(|text| text.trim_end().to_owned()))
                .transpose()?,
            interfaces: self.inject_interfaces.as_deref().map(text).transpose()?,
        })
    }
}
