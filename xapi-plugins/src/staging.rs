//! A folder inside a file-based SR in which VHDs are put together before the SR sees them: on the same file
//! system, so that they come and go by a rename, and in a folder, which scans of the SR pass over.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, RenameFlags, renameat_with, statvfs};

use crate::convention::Args;
use crate::dom0::{Dom0, Folder};
use crate::plugins::{Error, is_uuid};
use crate::xapi::inventory;

const PREFIX: &str = ".xapi-plugins-";
/// After this nobody works in the folder of another host: a transfer may take a day, and its disks are checked after it.
const FOREIGN_LIMIT: Duration = Duration::from_secs(2 * 86_400);
/// Stands for a host without an inventory, while it runs.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// `vhd-util check` reads all of a disk's metadata, perhaps over a slow network.
const CHECK_LIMIT: Duration = Duration::from_secs(3_600);
/// `vhd-util check` of a disk that was in use: not an error.
const EXIT_IN_USE: i32 = 22;
/// A twentieth of an SR stays free, and no more than this: others' thin disks grow there.
const MAX_RESERVE_BYTES: u64 = 16 << 30;

/// What an image must leave free of the file system that a folder is on.
pub(crate) fn reserve_bytes(folder: &Path) -> io::Result<u64> {
    let found = statvfs(folder)?;
    Ok((found.f_blocks.saturating_mul(found.f_frsize) / 20).min(MAX_RESERVE_BYTES))
}

/// What is free of the file system that a folder is on.
pub(crate) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let found = statvfs(folder)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// The folder of a file-based SR, an argument of many functions: one that SM has plugged, `/run/sr-mount/UUID`, by this
/// name or another that leads there, such as `/var/run/sr-mount/UUID` or, of a `file` SR, the folder itself. What comes
/// back has no links.
pub(crate) fn sr_path(dom0: &dyn Dom0, args: &Args) -> Result<PathBuf, Error> {
    let text = args.required("sr_path")?;
    let refused = |reason: &str| Error::Argument { name: "sr_path", reason: format!("{text:?} {reason}") };
    let not_there = || refused("is no folder of this host: is the SR file-based and plugged here?");
    if !Path::new(text).is_absolute() {
        return Err(refused("is not the folder of an SR, such as /var/run/sr-mount/UUID"));
    }
    let path = fs::canonicalize(text).ok().filter(|path| path.is_dir()).ok_or_else(not_there)?;
    let repositories = dom0.folder(Folder::Repositories);
    let plugged = dom0.list(&repositories).unwrap_or_default();
    let mut plugged = plugged.iter().filter(|name| is_uuid(name));
    match plugged.any(|name| fs::canonicalize(repositories.join(name)).is_ok_and(|found| found == path)) {
        true => Ok(path),
        false => {
            Err(refused(&format!("is no SR that is plugged here: none of {} is it", repositories.display())))
        }
    }
}

/// A folder for one call. It goes when this does; one of a call that was killed goes with the next call of its host.
pub(crate) struct Staging {
    path: PathBuf,
    /// Holds a lock, by which others see that the folder is in use.
    _lock: File,
}

impl Staging {
    pub(crate) fn new(dom0: &dyn Dom0, sr: &Path) -> Result<Self, Error> {
        let at = |e: io::Error| Error::file(sr, &e);
        let own = prefix(dom0)?;
        sweep(sr, &own).map_err(at)?;
        for attempt in 0..1_000 {
            let path = sr.join(format!("{own}{}-{attempt}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(at)?,
            }
            // Before it is locked, another call may take it for a dead one's.
            let Ok(lock) = File::open(&path) else { continue };
            if lock.try_lock().is_ok() && path.is_dir() {
                return Ok(Self { path, _lock: lock });
            }
        }
        Err(at(io::ErrorKind::AlreadyExists.into()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Links `<uuid>.vhd` of the SR into the folder as `<number>.vhd`.
    pub(crate) fn link(&self, sr: &Path, uuid: &str, number: usize) -> Result<(), Error> {
        let source = sr.join(format!("{uuid}.vhd"));
        fs::hard_link(&source, self.path.join(format!("{number}.vhd"))).map_err(|e| Error::file(&source, &e))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What stays is swept by the next call.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// How the names of this host's folders begin.
fn prefix(dom0: &dyn Dom0) -> Result<String, Error> {
    let host: Result<_, Error> = inventory(dom0, "INSTALLATION_UUID").or_else(|no_inventory| {
        let boot = dom0.read_to_string(Path::new(BOOT)).map_err(|_| no_inventory)?;
        Ok(boot.trim().to_owned())
    });
    match host? {
        host if is_uuid(&host) => Ok(format!("{PREFIX}{host}-")),
        odd => {
            Err(Error::Other(format!("this host has the name {odd:?} in its inventory, which is no uuid")))
        }
    }
}

/// Removes the folders of calls that are no more. Locks of folders are not seen by other hosts of a shared SR, so theirs
/// must be old, too.
fn sweep(sr: &Path, own: &str) -> io::Result<()> {
    for entry in fs::read_dir(sr)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with(PREFIX) || !entry.file_type()?.is_dir() {
            continue;
        }
        let path = entry.path();
        let may_go = name.starts_with(own) || is_old(&path);
        if may_go && File::open(&path).is_ok_and(|folder| folder.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(path);
        }
    }
    Ok(())
}

/// Whether nothing has come into a folder, or into one in it, for longer than any call takes.
fn is_old(folder: &Path) -> bool {
    let inner = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    inner.chain([folder.to_owned()]).all(|path| {
        let changed = fs::symlink_metadata(path).and_then(|found| found.modified());
        let age = changed.ok().and_then(|changed| SystemTime::now().duration_since(changed).ok());
        age.is_some_and(|age| age > FOREIGN_LIMIT)
    })
}

/// Brings the VHDs `0.vhd` (the leaf), `1.vhd` … of a folder into an SR: under uuids from the end of
/// `uuids`, each linked to its parent, checked, the base first. Returns the leaf's uuid.
///
/// When it fails, none of them is in the SR.
pub(crate) fn import_vhds(
    dom0: &dyn Dom0,
    sr: &Path,
    folder: &Path,
    uuids: &[String],
) -> Result<String, Error> {
    let count = number(folder)?;
    if let Some(wrong) = uuids.iter().find(|uuid| !is_uuid(uuid)) {
        let reason = format!("{wrong:?} is not a uuid");
        return Err(Error::Argument { name: "uuid_stack", reason });
    }
    if uuids.len() < count {
        let reason = format!("{} uuids are too few for {count} disks", uuids.len());
        return Err(Error::Argument { name: "uuid_stack", reason });
    }
    let names: Vec<&String> = uuids.iter().rev().take(count).collect();
    let staged: Vec<PathBuf> = names.iter().map(|uuid| folder.join(format!("{uuid}.vhd"))).collect();
    for (number, path) in staged.iter().enumerate() {
        rename(&folder.join(format!("{number}.vhd")), path)?;
        make_private(path)?;
    }
    for pair in staged.windows(2).rev() {
        vhd_util(dom0, &["modify", "-n", text(&pair[0])?, "-p", text(&pair[1])?])?;
    }
    refuse_hidden(dom0, &staged[0])?;
    for (number, path) in staged.iter().enumerate() {
        check(dom0, path)?;
        check_parent(dom0, path, staged.get(number + 1).map(PathBuf::as_path))?;
    }
    let mut moved = Vec::new();
    for path in staged.iter().rev() {
        let target = sr.join(path.file_name().unwrap_or_default());
        if let Err(e) = bring(dom0, path, &target) {
            for target in moved {
                let _ = fs::remove_file(target);
            }
            return Err(e);
        }
        moved.push(target);
    }
    Ok(names[0].clone())
}

/// Gives files with the names of old the numbers of today, and sees that none is missing and each is a file.
fn number(folder: &Path) -> Result<usize, Error> {
    let names = vhds(folder)?;
    let old: Vec<&str> = ["snap.vhd", "image.vhd", "base.vhd"]
        .into_iter()
        .filter(|name| names.iter().any(|found| found == name))
        .collect();
    for (number, name) in old.iter().enumerate() {
        rename(&folder.join(name), &folder.join(format!("{number}.vhd")))?;
    }
    if let ([only], []) = (names.as_slice(), old.as_slice()) {
        rename(&folder.join(only), &folder.join("0.vhd"))?;
    }
    let names = vhds(folder)?;
    if names.is_empty() {
        return Err(Error::Other("corrupt image: it holds no VHD".to_owned()));
    }
    for number in 0..names.len() {
        let path = folder.join(format!("{number}.vhd"));
        let Ok(found) = fs::symlink_metadata(&path) else {
            let text = format!("corrupt image: expected the VHD with sequence number {number}");
            return Err(Error::Other(text));
        };
        if !found.is_file() {
            return Err(Error::Other(format!("corrupt image: {number}.vhd is no file")));
        }
    }
    Ok(names.len())
}

fn vhds(folder: &Path) -> Result<Vec<String>, Error> {
    let at = |e: io::Error| Error::file(folder, &e);
    let names = fs::read_dir(folder).map_err(at)?.map(|entry| Ok(entry?.file_name()));
    let names: Vec<_> = names.collect::<io::Result<_>>().map_err(at)?;
    let is_vhd = |name: &str| name.ends_with(".vhd") && name != "swap.vhd";
    Ok(names.iter().filter_map(|name| name.to_str()).filter(|name| is_vhd(name)).map(str::to_owned).collect())
}

/// A leaf that is marked as hidden would be removed by the SR's next scan.
fn refuse_hidden(dom0: &dyn Dom0, leaf: &Path) -> Result<(), Error> {
    let answer = vhd_util(dom0, &["query", "-n", text(leaf)?, "-f"])?;
    let hidden = answer.lines().find_map(|line| line.strip_prefix("hidden"));
    match hidden.is_some_and(|value| value.trim_start_matches(':').trim() == "1") {
        true => Err(Error::Other("corrupt image: its leaf is marked as hidden".to_owned())),
        false => Ok(()),
    }
}

/// One whose footer or header is damaged is repaired from the other copy, once.
fn check(dom0: &dyn Dom0, path: &Path) -> Result<(), Error> {
    let look = || -> Result<Option<String>, Error> {
        let done = dom0.execute("vhd-util", &["check", "-n", text(path)?, "-p"], "", CHECK_LIMIT)?;
        let first = done.stdout.lines().next().unwrap_or_default().to_owned();
        let is_invalid = first.contains("invalid") || !matches!(done.code, 0 | EXIT_IN_USE);
        Ok(is_invalid.then(|| if first.is_empty() { done.stderr.trim().to_owned() } else { first }))
    };
    if look()?.is_none() {
        return Ok(());
    }
    vhd_util(dom0, &["repair", "-n", text(path)?])?;
    let Some(complaint) = look()? else { return Ok(()) };
    let hint = match complaint.contains("timestamp") {
        true => "; do the clocks of the hosts agree?",
        false => "",
    };
    Err(Error::Other(format!("corrupt image: {complaint}{hint}")))
}

/// The chain is the one that was made here and leads nowhere else.
fn check_parent(dom0: &dyn Dom0, path: &Path, parent: Option<&Path>) -> Result<(), Error> {
    let done = dom0.execute("vhd-util", &["query", "-n", text(path)?, "-p"], "", CHECK_LIMIT)?;
    let answer = done.stdout.lines().next().unwrap_or_default().trim();
    let is_right = match parent {
        Some(parent) => Path::new(answer).file_name() == parent.file_name(),
        None => answer.contains("has no parent"),
    };
    match is_right {
        true => Ok(()),
        false => {
            let wanted = parent.and_then(Path::file_name).unwrap_or(OsStr::new("none"));
            let wanted = wanted.to_string_lossy();
            Err(Error::Other(format!("corrupt image: wrong parent {answer:?} where {wanted} is wanted")))
        }
    }
}

/// Moves a file to where nothing is; from another file system, copies it first.
fn bring(dom0: &dyn Dom0, from: &Path, to: &Path) -> Result<(), Error> {
    match place(from, to) {
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            let staging = Staging::new(dom0, to.parent().unwrap_or(to))?;
            let part = staging.path().join("part");
            copy(dom0, from, &part)?;
            place(&part, to)
        }
        done => done,
    }
    .map_err(|e| Error::file(to, &e))
}

/// Gives a file another name that nothing has, in one step: what comes there meanwhile stays. A link can do so on every
/// file system that has links, NFS too; one that has none, such as SMB's, may know a rename that can.
fn place(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(e) if matches!(e.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::CrossesDevices) => Err(e),
        Err(_) => Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?),
    }
}

/// Copies a file without its holes.
pub(crate) fn copy(dom0: &dyn Dom0, from: &Path, to: &Path) -> Result<(), Error> {
    let limit = Duration::from_secs(12 * 3_600);
    dom0.run("cp", &["--sparse=always", "--", text(from)?, text(to)?], "", limit)?;
    Ok(())
}

/// Whatever mode an image chose, its disks are root's alone. A file system without modes has those of its mount.
fn make_private(path: &Path) -> Result<(), Error> {
    match fs::set_permissions(path, fs::Permissions::from_mode(0o600)) {
        Err(e) if !matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
            Err(Error::file(path, &e))
        }
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(|e| Error::file(from, &e))
}

fn vhd_util(dom0: &dyn Dom0, args: &[&str]) -> Result<String, Error> {
    Ok(dom0.run("vhd-util", args, "", CHECK_LIMIT)?)
}

pub(crate) fn text(path: &Path) -> Result<&str, Error> {
    path.to_str().ok_or_else(|| Error::Other(format!("{}: its name is no UTF-8", path.display())))
}

#[cfg(test)]
pub(crate) mod tests;
