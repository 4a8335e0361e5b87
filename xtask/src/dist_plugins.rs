//! `cargo xtask dist-plugins`: the dom0 plugins as one binary that runs on old hosts, in an archive with
//! its installer.
//!
//! dom0 of XenServer 7 to 8 and XCP-ng 8 has glibc 2.17 and nothing else that can be relied on. Of the ways
//! to build for it the first that this machine has is taken: musl, zigbuild for glibc 2.17, or the host's
//! own glibc linked in statically. What comes out is looked at whichever way it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

const OLDEST_GLIBC: (u32, u32) = (2, 17);
const MUSL: &str = "x86_64-unknown-linux-musl";
const GNU: &str = "x86_64-unknown-linux-gnu";

pub(crate) fn run() -> Result<()> {
    let root = crate::root();
    let binary = build(&root)?;
    check(&binary)?;
    let archive = pack(&root, &binary)?;
    println!("{}: {} bytes", archive.display(), fs::metadata(&archive)?.len());
    Ok(())
}

fn build(root: &Path) -> Result<PathBuf> {
    let (how, command, target, flags): (_, &[&str], _, _) = if has_target(MUSL)? {
        ("musl, static", &["build"], MUSL, "")
    } else if Command::new("cargo-zigbuild").arg("--version").output().is_ok() {
        ("glibc 2.17 by zig", &["zigbuild"], "x86_64-unknown-linux-gnu.2.17", "")
    } else {
        ("glibc, static", &["build"], GNU, "-C target-feature=+crt-static")
    };
    println!("building for {target} ({how})");
    let target_dir = root.join("target").join("dist");
    let status = cargo()
        .args(command)
        .args(["--release", "--package", "xapi-plugins", "--bin", "xapi-plugins", "--target", target])
        .arg("--target-dir")
        .arg(&target_dir)
        .env("RUSTFLAGS", format!("{flags} -C strip=symbols"))
        .current_dir(root)
        .status()
        .context("cargo")?;
    if !status.success() {
        bail!("the plugins do not build for {target}");
    }
    // zigbuild names the folder without the version.
    let folder = if target == MUSL { MUSL } else { GNU };
    Ok(target_dir.join(folder).join("release").join("xapi-plugins"))
}

/// Whether the standard library for a target is installed, by whatever means.
fn has_target(target: &str) -> Result<bool> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "target-libdir", "--target", target]).output()?;
    Ok(output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// Refuses a binary that wants a newer C library than dom0's, or any other library.
fn check(binary: &Path) -> Result<()> {
    let output = Command::new("readelf")
        .args(["--wide", "--dynamic", "--version-info", "--program-headers"])
        .arg(binary)
        .env("LC_ALL", "C")
        .output()
        .context("readelf, of binutils")?;
    if !output.status.success() {
        bail!("readelf: {}", String::from_utf8_lossy(&output.stderr));
    }
    let wants = Wants::of(&String::from_utf8_lossy(&output.stdout));
    wants.check().with_context(|| binary.display().to_string())?;
    println!("{}", wants.describe());
    Ok(())
}

/// What a binary wants of the machine that it runs on.
#[derive(Debug, Default, PartialEq)]
struct Wants {
    /// The loader and libraries.
    libraries: Vec<String>,
    /// Versions of glibc's symbols, each once.
    glibc: Vec<(u32, u32)>,
}

impl Wants {
    fn of(readelf: &str) -> Self {
        let between = |line: &str, from: &str, to: char| {
            let rest = &line[line.find(from)? + from.len()..];
            Some(rest.split(to).next().unwrap_or_default().trim().to_owned())
        };
        let mut wants = Self::default();
        for line in readelf.lines() {
            wants.libraries.extend(between(line, "Shared library: [", ']'));
            let version = between(line, "Name: GLIBC_", ' ').and_then(|version| {
                let (major, rest) = version.split_once('.')?;
                Some((major.parse().ok()?, rest.split('.').next()?.parse().ok()?))
            });
            wants.glibc.extend(version);
        }
        wants.glibc.sort_unstable();
        wants.glibc.dedup();
        wants
    }

    fn check(&self) -> Result<()> {
        let of_glibc = |library: &&String| {
            ["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "ld-linux-x86-64.so.2"]
                .contains(&library.as_str())
                // Part of every dom0: it is what the compiler's unwinder is in.
                || library.as_str() == "libgcc_s.so.1"
        };
        if let Some(foreign) = self.libraries.iter().find(|library| !of_glibc(library)) {
            bail!("it wants the library {foreign}, which dom0 may not have");
        }
        match self.glibc.last() {
            Some(newest) if *newest > OLDEST_GLIBC => bail!(
                "it wants glibc {}.{}, and dom0 has {}.{}",
                newest.0,
                newest.1,
                OLDEST_GLIBC.0,
                OLDEST_GLIBC.1
            ),
            _ => Ok(()),
        }
    }

    fn describe(&self) -> String {
        match self.glibc.last() {
            _ if self.libraries.is_empty() => "static: it wants no library".to_owned(),
            Some((major, minor)) => {
                format!("it wants glibc {major}.{minor} and {}", self.libraries.join(", "))
            }
            None => format!("it wants {}", self.libraries.join(", ")),
        }
    }
}

/// An archive that is the same, byte for byte, for the same binary.
fn pack(root: &Path, binary: &Path) -> Result<PathBuf> {
    let name = format!("xapi-plugins-{}", env!("CARGO_PKG_VERSION"));
    let dist = root.join("target").join("dist");
    let folder = dist.join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    fs::copy(binary, folder.join("xapi-plugins"))?;
    fs::copy(root.join("xapi-plugins/dist/install.sh"), folder.join("install.sh"))?;
    let archive = dist.join(format!("{name}.tar.gz"));
    let status = Command::new("tar")
        .args(["--create", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"])
        .args(["--use-compress-program=gzip --no-name -9", "--file"])
        .arg(&archive)
        .arg(&name)
        .current_dir(&dist)
        .status()
        .context("tar")?;
    if !status.success() {
        bail!("tar: {status}");
    }
    Ok(archive)
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DYNAMIC: &str = "\
 0x0000000000000001 (NEEDED)             Shared library: [libgcc_s.so.1]
 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]
Version needs section '.gnu.version_r' contains 2 entries:
  000000: Version: 1  File: libc.so.6  Cnt: 3
  0x0010:   Name: GLIBC_2.14  Flags: none  Version: 6
  0x0020:   Name: GLIBC_2.2.5  Flags: none  Version: 5
  0x0030:   Name: GLIBC_2.14  Flags: none  Version: 4
";

    #[test]
    fn an_old_glibc_will_do() {
        let wants = Wants::of(DYNAMIC);
        assert_eq!(wants.glibc, [(2, 2), (2, 14)]);
        assert!(wants.check().is_ok());
        assert_eq!(wants.describe(), "it wants glibc 2.14 and libgcc_s.so.1, libc.so.6");
        assert!(Wants::of("There is no dynamic section in this file.").check().is_ok());
    }

    #[test]
    fn a_newer_glibc_and_other_libraries_will_not() {
        let newer = Wants::of(&DYNAMIC.replace("2.14  Flags: none  Version: 6", "2.34  Flags: none"));
        assert_eq!(newer.check().unwrap_err().to_string(), "it wants glibc 2.34, and dom0 has 2.17");
        let foreign = Wants::of(&DYNAMIC.replace("libgcc_s.so.1", "libssl.so.3"));
        assert!(foreign.check().unwrap_err().to_string().contains("libssl.so.3"));
    }
}
