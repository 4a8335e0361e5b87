//! What benchmarks run beside ours, and how it comes onto this machine: libraries into `target`, which is nobody else's,
//! programs by apt-get where that needs no password. What cannot be had is named, and its rows are left out.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Programs, and the packages of Debian that bring them.
const PROGRAMS: [(&str, &str); 8] = [
    ("python3", "python3-venv"),
    ("qemu-img", "qemu-utils"),
    ("gzip", "gzip"),
    ("pigz", "pigz"),
    ("igzip", "isal"),
    ("tar", "tar"),
    ("node", "nodejs"),
    ("npm", "npm"),
];

/// The official client on PyPI.
const XENAPI: &str = "XenAPI==26.21.1";

/// Where a benchmark finds what is no program on PATH: names of variables, and what is in them.
pub(super) type Places = Vec<(&'static str, PathBuf)>;

/// Installs what is missing if `install`, and says what cannot be had.
pub(super) fn provide(root: &Path, install: bool) -> Places {
    let missing = packages(|program| !answers(program));
    if let Err(error) = programs(&missing, install) {
        println!("left out: {error:#}");
    }
    // The second one is also what `.ci/run` makes for the tests of disk-stream.
    let libraries = [
        ("BENCH_PYTHON", root.join("target/bench-peers/python"), "bin/python", python as Library),
        ("DISK_PEERS_NODE", root.join("target/disk-peers/node"), "node_modules", node),
    ];
    let place =
        |(variable, folder, within, library): (_, PathBuf, _, Library)| match once(&folder, install, || {
            library(root, &folder)
        }) {
            Ok(()) => Some((variable, folder.join(within))),
            Err(error) => {
                println!("left out: {error:#}");
                None
            }
        };
    libraries.into_iter().filter_map(place).collect()
}

/// Crates that are peers: the workspace's own lock says which version is built.
const CRATES: [&str; 5] = ["xmlrpc", "serde_json", "hyper", "flate2", "zlib-rs"];

/// Which version of each peer is beside ours: a line for each, in the order of the lists here.
pub(super) fn versions(root: &Path, places: &Places) -> String {
    let mut lines: Vec<String> = Vec::new();
    for program in PROGRAMS.iter().map(|(program, _)| *program).chain(["cp", "cat"]) {
        lines.push(version_of(program).unwrap_or_else(|| format!("{program}: not there")));
    }
    let has = |variable: &str| places.iter().find(|(name, _)| *name == variable).map(|(_, path)| path);
    lines.extend(has("BENCH_PYTHON").map(|_| XENAPI.replace("==", " ")));
    let package = has("DISK_PEERS_NODE").map(|modules| modules.join("vhd-lib/package.json"));
    let package = package.and_then(|path| fs::read_to_string(path).ok());
    lines.extend(package.as_deref().and_then(npm_version).map(|version| format!("vhd-lib {version}")));
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    lines.extend(CRATES.iter().filter_map(|name| Some(format!("{name} {}", locked(&lock, name)?))));
    lines.into_iter().map(|line| format!("peer: {line}\n")).collect()
}

/// The first line of what a program says of its version; some say it on standard error.
fn version_of(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&said).lines().next()?.trim().to_owned();
    // Some say nothing but the number.
    Some(if line.contains(program) { line } else { format!("{program} {line}") })
}

fn npm_version(package: &str) -> Option<String> {
    let package: serde_json::Value = serde_json::from_str(package).ok()?;
    package["version"].as_str().map(str::to_owned)
}

/// The version of a crate in `Cargo.lock`; the first, where there are several.
fn locked<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    rest.split('"').next()
}

/// Installs a library into a folder.
type Library = fn(root: &Path, folder: &Path) -> Result<()>;

/// The packages of programs for which `lacks` says so.
fn packages(lacks: impl Fn(&str) -> bool) -> Vec<&'static str> {
    PROGRAMS.into_iter().filter(|(program, _)| lacks(program)).map(|(_, package)| package).collect()
}

fn answers(program: &str) -> bool {
    let asked = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

fn programs(missing: &[&str], install: bool) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let command = format!("apt-get install --no-install-recommends {}", missing.join(" "));
    if !install || !is_root() || !answers("apt-get") {
        bail!("programs are missing, which this would bring: {command}");
    }
    println!("{command}");
    let quiet = ["-qq", "-y", "--no-install-recommends"];
    let apt = |arguments: &[&str]| {
        run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt(&["-qq", "update"]).and_then(|()| apt(&[&["install"], &quiet[..], missing].concat()))
}

/// Whether apt-get would be let.
fn is_root() -> bool {
    let said = Command::new("id").arg("-u").output();
    said.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// The marker comes last: what an installation that was broken off has left is made anew.
fn once(folder: &Path, install: bool, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let marker = folder.join("ready");
    if marker.is_file() {
        return Ok(());
    }
    if !install {
        bail!("{} is not there, and nothing is to be installed", folder.display());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    make()?;
    fs::write(&marker, "").with_context(|| marker.display().to_string())
}

fn python(_: &Path, folder: &Path) -> Result<()> {
    run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", XENAPI];
    run(Command::new(folder.join("bin/python")).args(install))
}

fn node(root: &Path, folder: &Path) -> Result<()> {
    for name in ["package.json", "package-lock.json"] {
        fs::copy(root.join(".ci/disk-peers").join(name), folder.join(name)).context(name)?;
    }
    let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    run(Command::new("npm").args(install).current_dir(folder))
}

fn run(command: &mut Command) -> Result<()> {
    let shown = || {
        let words = [command.get_program()].into_iter().chain(command.get_args());
        words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
    };
    let shown = shown();
    let output = command.output().with_context(|| shown.clone())?;
    if !output.status.success() {
        bail!("{shown}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_of_what_is_there() {
        let told = versions(&crate::root(), &Vec::new());
        for name in CRATES {
            assert!(told.lines().any(|line| line.starts_with(&format!("peer: {name} "))), "{told}");
        }
        assert!(!told.contains("vhd-lib") && told.contains("peer: cp "), "{told}");
        assert_eq!(npm_version("{\"version\":\"4.11.1\"}").as_deref(), Some("4.11.1"));
        assert_eq!(version_of("no-such-program-anywhere"), None);
    }

    #[test]
    fn packages_of_missing_programs() {
        assert_eq!(packages(|program| ["igzip", "node"].contains(&program)), ["isal", "nodejs"]);
        assert!(packages(|_| false).is_empty());
    }

    #[test]
    fn what_is_missing_is_named_and_left_alone_without_leave() {
        let error = programs(&["isal", "pigz"], false).unwrap_err();
        assert!(error.to_string().ends_with("apt-get install --no-install-recommends isal pigz"), "{error}");
    }

    #[test]
    fn an_installation_that_was_broken_off_is_made_anew_and_a_whole_one_is_kept() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("library");
        assert!(once(&folder, false, || panic!("nobody allowed this")).is_err());
        assert!(once(&folder, true, || run(Command::new("touch").arg(folder.join("half")))).is_ok());
        assert!(once(&folder, true, || panic!("it is there")).is_ok());
        fs::remove_file(folder.join("ready")).unwrap();
        assert!(once(&folder, true, || bail!("no network")).is_err());
        assert!(!folder.join("half").exists() && !folder.join("ready").exists());
    }
}
