//! What a config drive tells a guest, in the options of a command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;
use xenapi_driver::spec::{ConfigDrive, ConfigDriveFormat, ConfigDriveLabel, ConfigDriveSize};

use crate::cli;
use crate::options::Options;
use crate::volume::secret;

/// The drive's content, file system, label and size.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Config drive")]
pub struct Drive {
    /// A file for cloud-init.
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// The file system of the config drive: iso9660 or vfat; if left out, what the option config_drive_format says.
    #[arg(long, value_name = "FORMAT")]
    config_drive_format: Option<ConfigDriveFormat>,
    /// The label of the config drive, and so its layout: config-2 (OpenStack's) or cidata (NoCloud).
    #[arg(long, value_name = "LABEL", default_value_t)]
    config_drive_label: ConfigDriveLabel,
    /// The size of the config drive: smallest, nova (64 MiB), or a number of MiB.
    #[arg(long, value_name = "MIB", default_value_t)]
    config_drive_size: ConfigDriveSize,
    /// A file for the guest, here and there; may be given several times.
    #[arg(long, value_name = "PATH=FILE", value_parser = cli::key_value)]
    file: Vec<(String, String)>,
    /// A public key, or the file that holds it; may be given several times.
    #[arg(long, value_name = "KEY|FILE")]
    ssh_key: Vec<String>,
    /// The guest's host name; the name of the instance otherwise.
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// A file whose first line is the administrator's password. Everyone who can read the disk can read it.
    #[arg(long, value_name = "FILE")]
    admin_password_file: Option<PathBuf>,
    /// A JSON file with what every guest is to know: vendor_data.json.
    #[arg(long, value_name = "FILE")]
    vendor_data: Option<PathBuf>,
    /// The same from services: vendor_data2.json.
    #[arg(long, value_name = "FILE")]
    vendor_data2: Option<PathBuf>,
    /// The availability zone to tell.
    #[arg(long, value_name = "NAME")]
    availability_zone: Option<String>,
    /// The project to tell.
    #[arg(long, value_name = "ID")]
    project_id: Option<String>,
}

impl Drive {
    /// The options of these that are given: without a config drive they would do nothing.
    pub fn given(&self) -> impl Iterator<Item = &'static str> {
        let Self { user_data, config_drive_format, config_drive_label, config_drive_size, .. } = self;
        let Self { file, ssh_key, hostname, admin_password_file, vendor_data, vendor_data2, .. } = self;
        let options = [
            ("--user-data", user_data.is_some()),
            ("--config-drive-format", config_drive_format.is_some()),
            ("--config-drive-label", *config_drive_label != ConfigDriveLabel::default()),
            ("--config-drive-size", *config_drive_size != ConfigDriveSize::default()),
            ("--file", !file.is_empty()),
            ("--ssh-key", !ssh_key.is_empty()),
            ("--hostname", hostname.is_some()),
            ("--admin-password-file", admin_password_file.is_some()),
            ("--vendor-data", vendor_data.is_some()),
            ("--vendor-data2", vendor_data2.is_some()),
            ("--availability-zone", self.availability_zone.is_some()),
            ("--project-id", self.project_id.is_some()),
        ];
        options.into_iter().filter(|(_, is_given)| *is_given).map(|(option, _)| option)
    }

    /// As the driver has it.
    ///
    /// # Errors
    ///
    /// For a file that cannot be read, or is no JSON where that is wanted.
    pub fn content(&self, options: &Options) -> Result<ConfigDrive> {
        let mut ssh_keys = BTreeMap::new();
        for (number, key) in (0..).zip(&self.ssh_key) {
            ssh_keys.insert(format!("key{number}"), ssh_key(key)?);
        }
        let user_data = self.user_data.as_deref().map(|path| {
            std::fs::read(path)
                .with_context(|| format!("the user data file {} cannot be read", path.display()))
        });
        Ok(ConfigDrive {
            user_data: user_data.transpose()?,
            ssh_keys,
            files: files(&self.file)?,
            hostname: self.hostname.clone(),
            admin_pass: self.admin_password_file.as_deref().map(secret).transpose()?,
            vendor_data: self.vendor_data.as_deref().map(json).transpose()?,
            vendor_data2: self.vendor_data2.as_deref().map(json).transpose()?,
            availability_zone: self.availability_zone.clone(),
            project_id: self.project_id.clone(),
            format: self.config_drive_format.map_or_else(|| options.config_drive_format(), Ok)?,
            label: self.config_drive_label,
            size: self.config_drive_size,
        })
    }
}

/// A public key, or what is in the file that holds it.
///
/// # Errors
///
/// When the file cannot be read.
pub fn ssh_key(key: &str) -> Result<String> {
    if key.contains(' ') {
        return Ok(key.to_owned());
    }
    let text =
        std::fs::read_to_string(key).with_context(|| format!("the SSH key file {key} cannot be read"))?;
    Ok(text.trim_end().to_owned())
}

/// What is in files of this machine, by the paths that they are to have.
fn files(pairs: &[(String, String)]) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for (path, file) in pairs {
        let content = std::fs::read(file).with_context(|| format!("the file {file} cannot be read"))?;
        files.insert(path.clone(), content);
    }
    Ok(files)
}

fn json(path: &Path) -> Result<Value> {
    let text = std::fs::read(path).with_context(|| format!("the file {} cannot be read", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("the file {} is no JSON", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        drive: Drive,
        #[command(flatten)]
        options: Options,
    }

    fn content(args: &[&str]) -> Result<ConfigDrive> {
        let cli = Cli::try_parse_from([&["test"], args].concat())?;
        cli.drive.content(&cli.options)
    }

    fn given(args: &[&str]) -> Result<Vec<&'static str>> {
        Ok(Cli::try_parse_from([&["test"], args].concat())?.drive.given().collect())
    }

    #[test]
    fn everything_that_is_told() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str, text: &str| -> Result<String> {
            std::fs::write(folder.path().join(name), text)?;
            Ok(folder.path().join(name).display().to_string())
        };
        let (vendor, vendor2) = (at("vendor", "{\"a\": 1}")?, at("vendor2", "[2]")?);
        let (key, password, motd) =
            (at("key", "ssh-rsa AAAA me\n")?, at("password", "tiger\nnot this\n")?, at("motd", "hello")?);
        assert_eq!(
            given(&["--config-drive-size", "nova", "--hostname", "web"])?,
            ["--config-drive-size", "--hostname"]
        );
        assert!(given(&["--config-drive-size", "smallest"])?.is_empty());
        let drive = content(&[
            "--hostname",
            "web",
            "--admin-password-file",
            &password,
            "--vendor-data",
            &vendor,
            "--vendor-data2",
            &vendor2,
            "--availability-zone",
            "az-1",
            "--project-id",
            "p",
            "--ssh-key",
            &key,
            "--ssh-key",
            "ssh-rsa BBBB you",
            "--file",
            &format!("/etc/motd={motd}"),
            "--user-data",
            &motd,
            "--config-drive-format",
            "vfat",
        ])?;
        assert_eq!((drive.hostname.as_deref(), drive.project_id.as_deref()), (Some("web"), Some("p")));
        assert_eq!(drive.admin_pass.as_ref().map(xenapi_client::Secret::expose), Some("tiger"));
        assert_eq!(
            (drive.vendor_data, drive.vendor_data2),
            (Some(serde_json::json!({"a": 1})), Some(serde_json::json!([2])))
        );
        assert_eq!(
            (drive.availability_zone.as_deref(), drive.format),
            (Some("az-1"), ConfigDriveFormat::Vfat)
        );
        assert_eq!(
            (&*drive.ssh_keys["key0"], &*drive.ssh_keys["key1"]),
            ("ssh-rsa AAAA me", "ssh-rsa BBBB you")
        );
        assert_eq!(
            (&*drive.files["/etc/motd"], drive.user_data.as_deref()),
            (&b"hello"[..], Some(&b"hello"[..]))
        );
        Ok(())
    }

    #[test]
    fn files_that_are_missing_or_wrong() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("vendor");
        std::fs::write(&path, "a: 1")?;
        let path = path.display().to_string();
        for (args, part) in [
            (["--vendor-data", path.as_str()], "is no JSON"),
            (["--user-data", "/nonexistent/x"], "the user data file /nonexistent/x cannot be read"),
            (["--admin-password-file", "/nonexistent/x"], "the password file"),
            (["--ssh-key", "/nonexistent/x"], "the SSH key file"),
            (["--file", "/etc/motd=/nonexistent/x"], "the file /nonexistent/x"),
        ] {
            let error = format!("{:#}", content(&args).unwrap_err());
            assert!(error.contains(part), "{args:?}: {error}");
        }
        Ok(())
    }
}
