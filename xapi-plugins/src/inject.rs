//! What goes into a guest's root file system before it boots, as Nova's `flat_injected` and
//! `injected_files` have it.

use std::io;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::confined::{Put, Root};
use crate::convention::Args;
use crate::disk::Disk;
use crate::filesystem::FileSystem;
use crate::plugins::Error;
use crate::resize;

/// Where a guest keeps its keys, its passwords, its interfaces.
const KEYS: &str = "/root/.ssh/authorized_keys";
const SHADOW: &str = "/etc/shadow";
const INTERFACES: &str = "/etc/network/interfaces";
/// More goes over a config drive.
const MAX_FILES: usize = 64;
const MAX_BYTES: usize = 4 << 20;

/// What to write.
#[derive(Default)]
pub(crate) struct Injection {
    files: Vec<(String, Vec<u8>)>,
    ssh_key: Option<String>,
    password_hash: Option<String>,
    interfaces: Option<String>,
    agent_path: Option<String>,
}

impl Injection {
    /// `files`: JSON list of `[path, content in base64]`; `ssh_key`; `root_password_hash` as `crypt` makes
    /// it; `interfaces`: the text of `/etc/network/interfaces`; `agent_path`: a file whose presence in the
    /// guest means that its agent does the work.
    pub(crate) fn of(args: &Args) -> Result<Self, Error> {
        let injection = Self {
            files: args.optional("files").map(files).transpose()?.unwrap_or_default(),
            ssh_key: line(args, "ssh_key")?,
            password_hash: line(args, "root_password_hash")?,
            interfaces: args.optional("interfaces").map(str::to_owned),
            agent_path: args.optional("agent_path").map(str::to_owned),
        };
        let is_hash = |hash: &String| {
            hash.starts_with('$') && hash.bytes().all(|b| b.is_ascii_alphanumeric() || b"$./=,".contains(&b))
        };
        if injection.password_hash.as_ref().is_some_and(|hash| !is_hash(hash)) {
            return Err(Error::Argument {
                name: "root_password_hash",
                reason: "a hash as crypt(3) makes it is wanted, such as $6$salt$hash".to_owned(),
            });
        }
        let is_empty = injection.files.is_empty()
            && injection.ssh_key.is_none()
            && injection.password_hash.is_none()
            && injection.interfaces.is_none();
        if is_empty {
            return Err(Error::Argument { name: "files", reason: "there is nothing to inject".to_owned() });
        }
        Ok(injection)
    }

    /// Writes all of it into the only partition of a disk. Whether it did: a guest with an agent is left
    /// to that.
    pub(crate) fn write(&self, disk: &Disk<'_>) -> Result<bool, Error> {
        let (partition, fs) = resize::checked(disk)?;
        let attached = disk.attach(&partition)?;
        let mounted = attached.mount(match &fs {
            // One driver of the kernel mounts all three; dom0's has no other.
            FileSystem::Ext(_) => "ext4",
            other => other.name(),
        })?;
        let root = Root::open(mounted.path()).map_err(|e| disk.refuse(e))?;
        let written = self.write_in(&root);
        drop(root);
        mounted.unmount()?;
        attached.detach()?;
        written.map_err(|(path, e)| disk.refuse(format!("{path} of the guest: {e}")))
    }

    fn write_in(&self, root: &Root) -> Result<bool, (String, io::Error)> {
        let at = |path: &str| {
            let path = path.to_owned();
            move |e: io::Error| (path, e)
        };
        if let Some(path) = &self.agent_path
            && root.has(path).map_err(at(path))?
        {
            return Ok(false);
        }
        for (path, content) in &self.files {
            root.write(path, content, 0o644, Put::Replace).map_err(at(path))?;
        }
        if let Some(text) = &self.interfaces {
            root.write(INTERFACES, text.as_bytes(), 0o644, Put::Replace).map_err(at(INTERFACES))?;
        }
        if let Some(key) = &self.ssh_key {
            let old = root.read(KEYS).map_err(at(KEYS))?.unwrap_or_default();
            // A call that is repeated does not add the key again.
            if !old.split(|b| *b == b'\n').any(|line| line == key.as_bytes()) {
                let separator = if old.last().is_none_or(|b| *b == b'\n') { "" } else { "\n" };
                let text = format!("{separator}{key}\n");
                root.write(KEYS, text.as_bytes(), 0o600, Put::Append).map_err(at(KEYS))?;
            }
        }
        if let Some(hash) = &self.password_hash {
            let shadow = root.read(SHADOW).map_err(at(SHADOW))?;
            let shadow = shadow.and_then(|old| with_root_password(&String::from_utf8(old).ok()?, hash));
            let missing = || io::Error::new(io::ErrorKind::NotFound, "it has no line of root");
            let shadow = shadow.ok_or_else(missing).map_err(at(SHADOW))?;
            root.write(SHADOW, shadow.as_bytes(), 0o600, Put::Replace).map_err(at(SHADOW))?;
        }
        Ok(true)
    }
}

/// `/etc/shadow` with another password for root.
fn with_root_password(shadow: &str, hash: &str) -> Option<String> {
    let mut found = false;
    let lines = shadow.lines().map(|line| {
        let mut fields: Vec<&str> = line.split(':').collect();
        if fields.len() >= 2 && fields[0] == "root" {
            found = true;
            fields[1] = hash;
        }
        fields.join(":") + "\n"
    });
    let shadow = lines.collect();
    found.then_some(shadow)
}

fn files(json: &str) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let refused = |reason: String| Error::Argument { name: "files", reason };
    let list: Vec<(String, String)> = serde_json::from_str(json)
        .map_err(|e| refused(format!("a list of [path, base64] is wanted: {e}")))?;
    let mut total = 0;
    let mut files = Vec::new();
    for (path, content) in list {
        let content =
            BASE64_STANDARD.decode(content).map_err(|e| refused(format!("{path:?}: no base64: {e}")))?;
        total += content.len();
        if !path.starts_with('/') || path.split('/').any(|name| name == "..") || path.contains('\0') {
            return Err(refused(format!("{path:?} is not an absolute path without \"..\"")));
        }
        files.push((path, content));
    }
    if files.len() > MAX_FILES || total > MAX_BYTES {
        return Err(refused(format!("more than {MAX_FILES} files or {MAX_BYTES} bytes: use a config drive")));
    }
    Ok(files)
}

/// An argument of one line; an empty one is as if it were left out, and so is `None`, as Python writes what is not there.
fn line(args: &Args, name: &'static str) -> Result<Option<String>, Error> {
    match args.optional(name).map(str::trim).filter(|text| !["", "None"].contains(text)) {
        Some(text) if text.contains(['\n', '\r', '\0']) => {
            Err(Error::Argument { name, reason: "one line is wanted".to_owned() })
        }
        text => Ok(text.map(str::to_owned)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let guest = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(guest.path().join("etc")).unwrap();
        std::fs::write(guest.path().join("etc/shadow"), "root:*:1:0:99999:7:::\nmail:*:1:::::\n").unwrap();
        let root = Root::open(guest.path()).unwrap();
        (guest, root)
    }

    #[test]
    fn everything_at_once_and_twice() {
        let (guest, root) = root();
        let injection = Injection::of(&Args::of(&[
            ("files", r#"[["/etc/motd", "aGk="], ["/opt/new/file", ""]]"#),
            ("ssh_key", "ssh-ed25519 AAAA me\n"),
            ("root_password_hash", "$6$salt$hash"),
            ("interfaces", "auto lo\n"),
            ("agent_path", "usr/sbin/xe-update-networking"),
        ]))
        .unwrap();
        for _ in 0..2 {
            assert!(injection.write_in(&root).unwrap());
        }
        let text = |path: &str| std::fs::read_to_string(guest.path().join(path)).unwrap();
        assert_eq!(text("etc/motd"), "hi");
        assert_eq!(text("opt/new/file"), "");
        assert_eq!(text("root/.ssh/authorized_keys"), "ssh-ed25519 AAAA me\n");
        assert_eq!(text("etc/shadow"), "root:$6$salt$hash:1:0:99999:7:::\nmail:*:1:::::\n");
        assert_eq!(text("etc/network/interfaces"), "auto lo\n");
    }

    /// A key that is not there is no key of the name "None", and whose password is not given keeps it.
    #[test]
    fn what_is_not_given_is_not_written() {
        for key in [&[][..], &[("ssh_key", "")], &[("ssh_key", "None")]] {
            let (guest, root) = root();
            let shadow = std::fs::read(guest.path().join("etc/shadow")).unwrap();
            let motd = [("files", r#"[["/etc/motd", "aGk="]]"#)];
            let args = Args::of(&[&motd, key].concat());
            assert!(Injection::of(&args).unwrap().write_in(&root).unwrap());
            assert_eq!(std::fs::read(guest.path().join("etc/motd")).unwrap(), b"hi");
            assert_eq!(std::fs::read(guest.path().join("etc/shadow")).unwrap(), shadow);
            for absent in ["root", "etc/network"] {
                assert!(!guest.path().join(absent).exists(), "{absent} {key:?}");
            }
            // Without the file there is nothing to do, and the disk is not touched.
            assert!(Injection::of(&Args::of(key)).is_err(), "{key:?}");
        }
    }

    #[test]
    fn a_guest_with_an_agent_is_left_alone() {
        let (guest, root) = root();
        std::fs::create_dir_all(guest.path().join("usr/sbin")).unwrap();
        std::fs::write(guest.path().join("usr/sbin/agent"), "").unwrap();
        let args = Args::of(&[("ssh_key", "k"), ("agent_path", "usr/sbin/agent")]);
        assert!(!Injection::of(&args).unwrap().write_in(&root).unwrap());
        assert!(!guest.path().join("root").exists());
    }

    #[test]
    fn a_guest_without_passwords() {
        let (guest, root) = root();
        let injection = Injection::of(&Args::of(&[("root_password_hash", "$6$a$b")])).unwrap();
        std::fs::write(guest.path().join("etc/shadow"), "mail:*:1:::::\n").unwrap();
        assert!(injection.write_in(&root).is_err());
    }

    #[test]
    fn hostile_arguments() {
        for (name, value) in [
            ("files", r#"[["/etc/../../x", ""]]"#),
            ("files", r#"[["etc/x", ""]]"#),
            ("files", r#"[["/x", "?"]]"#),
            ("files", r#"{"/x": ""}"#),
            ("files", "[]"),
            ("ssh_key", "a\nb"),
            ("root_password_hash", "secret"),
            ("root_password_hash", "$6$a:0:0"),
            ("root_password_hash", "$6$a\nroot2::0"),
        ] {
            let refused = Injection::of(&Args::of(&[(name, value)]));
            assert!(matches!(refused, Err(Error::Argument { .. })), "{name} {value}");
        }
        assert!(Injection::of(&Args::of(&[("ssh_key", ""), ("agent_path", "/x")])).is_err());
        let files = |count: usize, len: usize| {
            let content = BASE64_STANDARD.encode(vec![b'x'; len]);
            let all: Vec<_> = (0..count).map(|n| (format!("/etc/{n}"), content.clone())).collect();
            Injection::of(&Args::of(&[("files", &serde_json::to_string(&all).expect("text"))]))
        };
        assert!(files(MAX_FILES, 1).is_ok() && files(1, MAX_BYTES).is_ok());
        for too_much in [files(MAX_FILES + 1, 1), files(1, MAX_BYTES + 1)] {
            let refused = too_much.err().expect("it is refused").to_string();
            assert!(refused.contains("use a config drive"), "{refused}");
        }
    }
}
