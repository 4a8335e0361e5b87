//! Where the journal of a merge is kept.

use std::env;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::layer::Layer;

/// The folder of all of them, in that of what programs keep.
const FOLDER: &str = "xenapi-rs/merges";

/// No journal is longer.
pub(super) const MOST: usize = 4096;

/// Where it is beside a file.
pub(crate) fn journal_of(parent: &Path) -> PathBuf {
    let name = parent.file_name().unwrap_or_default().to_string_lossy();
    parent.with_file_name(format!(".{name}.coalesce"))
}

/// Where that of a merge into `parent` is: beside a file, whatever link leads to it. The folder of a device is in memory, and forgets it when the machine is
/// started anew, so that it is in `folder` then, or in that of what programs keep.
pub(super) fn place_of(parent: &Layer, folder: Option<&Path>) -> Result<PathBuf, Error> {
    if !parent.disk_file().is_device() {
        let path = parent.path();
        let linked = if path.is_symlink() { path.canonicalize().ok() } else { None };
        return Ok(journal_of(linked.as_deref().unwrap_or(path)));
    }
    let is_root = rustix::process::geteuid().is_root();
    let Some(folder) =
        folder.map(Path::to_owned).or_else(|| state(is_root, |name| env::var_os(name)?.into_string().ok()))
    else {
        let why = "it is a device, and nothing says where the journal of a merge into it can be kept: name a folder that is there \
                   when the machine is started anew (--journal-folder, XDG_STATE_HOME)";
        return Err(Error::Refused { path: parent.path().to_owned(), why: why.to_owned() });
    };
    Ok(folder.join(name_of(parent)))
}

/// The folder for what programs keep, as the XDG base directories have it; of root, whose home is another one under `sudo`, that
/// of the system.
fn state(is_root: bool, variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let own = || if is_root { Some("/var/lib".into()) } else { Some(absolute("HOME")?.join(".local/state")) };
    absolute("XDG_STATE_HOME").or_else(own).map(|folder| folder.join(FOLDER))
}

/// A VHD is known by its uuid, whatever its device is called next time; of a raw disk, nothing but the path is known.
fn name_of(parent: &Layer) -> String {
    match parent.link().uuid.filter(|uuid| !uuid.is_nil()) {
        Some(uuid) => format!("{uuid}.coalesce"),
        None => {
            let path = std::path::absolute(parent.path()).unwrap_or_else(|_| parent.path().to_owned());
            format!("{}.coalesce", path.to_string_lossy().trim_start_matches('/').replace('/', "-"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_last() {
        type Variables = &'static [(&'static str, &'static str)];
        let cases: &[(bool, Variables, Option<&str>)] = &[
            (true, &[("HOME", "/root")], Some("/var/lib/xenapi-rs/merges")),
            (true, &[("XDG_STATE_HOME", "/srv/state")], Some("/srv/state/xenapi-rs/merges")),
            (false, &[("HOME", "/home/a")], Some("/home/a/.local/state/xenapi-rs/merges")),
            (
                false,
                &[("HOME", "/home/a"), ("XDG_STATE_HOME", "state")],
                Some("/home/a/.local/state/xenapi-rs/merges"),
            ),
            (false, &[("HOME", "/home/a"), ("XDG_STATE_HOME", "/s")], Some("/s/xenapi-rs/merges")),
            (false, &[("HOME", "")], None),
            (false, &[], None),
        ];
        for (is_root, variables, folder) in cases {
            let found = state(*is_root, |wanted| {
                variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
            });
            assert_eq!(found.as_deref(), folder.map(Path::new), "{is_root} {variables:?}");
        }
    }
}
