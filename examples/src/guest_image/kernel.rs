//! A kernel and some of its modules from Debian's package: the one that is installed, or else a downloaded one.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// The package that depends on the newest kernel for virtual machines.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// An unpacked package.
pub(super) struct Kernel {
    pub(super) image: PathBuf,
    modules: BTreeMap<String, PathBuf>,
}

impl Kernel {
    /// Takes the one that is installed here, or downloads and unpacks one in `scratch`; nothing is installed.
    ///
    /// # Errors
    /// When there is none, and apt cannot get one.
    pub(super) fn get(scratch: &Path) -> Result<Self> {
        if let Some(image) = newest(Path::new("/boot"))? {
            return Self::of(image, Path::new("/lib/modules"));
        }
        let depends = run(Command::new("apt-cache").args(["depends", "--important", PACKAGE]))?;
        let name = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image"));
        let name = name.with_context(|| {
            format!("apt knows no kernel that {PACKAGE} depends on: run apt-get update, or install {PACKAGE}")
        })?;
        let name = format!("linux-image{name}");
        run(Command::new("apt-get").args(["download", "-qq", &name]).current_dir(scratch)).with_context(
            || format!("the package {name} cannot be downloaded; {PACKAGE} can be installed instead"),
        )?;
        let packages = files(scratch)?;
        let package = packages.iter().find(|path| path.extension() == Some(OsStr::new("deb")));
        let package = package.context("apt-get has downloaded nothing")?;
        run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(scratch))?;
        let image =
            newest(&scratch.join("boot"))?.context("the package of the kernel has no kernel in it")?;
        // Where /lib is a link to /usr/lib, packages have it there.
        let modules = ["lib/modules", "usr/lib/modules"].map(|path| scratch.join(path));
        let modules = modules.iter().find(|path| path.is_dir());
        Self::of(image, modules.context("the package of the kernel has no modules in it")?)
    }

    fn of(image: PathBuf, modules: &Path) -> Result<Self> {
        let name = image.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let version = name.trim_start_matches("vmlinuz-");
        let mut found = BTreeMap::new();
        let mut directories = vec![modules.join(version).join("kernel")];
        while let Some(directory) = directories.pop() {
            for path in files(&directory)? {
                if path.is_dir() {
                    directories.push(path);
                } else if let Some(module) = module_name(&path) {
                    found.insert(module, path);
                }
            }
        }
        Ok(Self { image, modules: found })
    }

    /// These modules and those they need, in the order in which they can be loaded. One that is no module is built in.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(super) fn modules(&self, wanted: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
        let mut ordered = Vec::new();
        for name in wanted {
            self.add(name, &mut ordered)?;
        }
        Ok(ordered)
    }

    fn add(&self, name: &str, ordered: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
        let Some(path) = self.modules.get(name) else { return Ok(()) };
        if ordered.iter().any(|(other, _)| other == name) {
            return Ok(());
        }
        let content = read(path)?;
        for needed in needs(&content) {
            self.add(&needed, ordered)?;
        }
        ordered.push((name.to_owned(), content));
        Ok(())
    }
}

/// Newer releases compress their modules.
fn read(path: &Path) -> Result<Vec<u8>> {
    if path.extension() != Some(OsStr::new("xz")) {
        return std::fs::read(path).with_context(|| path.display().to_string());
    }
    let output = Command::new("xz").arg("-dc").arg(path).output().context("xz cannot be run")?;
    ensure!(output.status.success(), "xz cannot unpack {}", path.display());
    Ok(output.stdout)
}

/// The name in a module's file name, spelt as other modules refer to it.
fn module_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(".xz").unwrap_or(name).strip_suffix(".ko")?;
    Some(name.replace('-', "_"))
}

/// The modules that one depends on: `depends=a,b` among the strings of its `.modinfo` section.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let list = module[at + KEY.len()..].split(|&byte| byte == 0).next().unwrap_or_default();
    let list = String::from_utf8_lossy(list);
    list.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

/// The newest kernel for virtual machines in a directory, by the order of names.
fn newest(directory: &Path) -> Result<Option<PathBuf>> {
    if !directory.is_dir() {
        return Ok(None);
    }
    let name = |path: &PathBuf| path.file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned();
    let is_kernel =
        |path: &PathBuf| name(path).starts_with("vmlinuz-") && name(path).ends_with("-cloud-amd64");
    Ok(files(directory)?.into_iter().filter(is_kernel).max())
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Runs a program and returns what it wrote.
pub(super) fn run(command: &mut Command) -> Result<String> {
    let output = match command.env("LC_ALL", "C.UTF-8").output() {
        Ok(output) => output,
        Err(error) => bail!("{:?} cannot be run: {error}", command.get_program()),
    };
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {}", output.status, complaint.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_tell_what_they_need() {
        assert_eq!(
            needs(b"\x7fELF\0license=GPL\0depends=virtio,virtio-ring\0name=x\0"),
            ["virtio", "virtio_ring"]
        );
        assert_eq!(needs(b"license=GPL\0depends=\0"), [""; 0]);
        assert_eq!(module_name(Path::new("/x/nls_iso8859-1.ko.xz")).as_deref(), Some("nls_iso8859_1"));
    }
}
