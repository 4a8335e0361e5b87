//! A dom0 for the real plugins: a directory of plugins for a simulated host, and tools of xenstore that keep their keys
//! in files.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::Result;
use tempfile::TempDir;

/// Each key is a file; `/` in its name is `%`.
const TOOLS: &[(&str, &str)] = &[
    ("xenstore-read", r#"[ "$1" = -- ] && shift; cat "$STORE/$(printf %s "$1" | tr / %)""#),
    (
        "xenstore-write",
        r#"[ "$1" = -- ] && shift; f="$STORE/$(printf %s "$1" | tr / %)"; printf %s "$2" > "$f.new.$$" && mv "$f.new.$$" "$f""#,
    ),
    ("xenstore-rm", r#"[ "$1" = -- ] && shift; rm -f "$STORE/$(printf %s "$1" | tr / %)""#),
    (
        "xenstore-ls",
        r#"cd "$STORE" && for f in "$(printf %s "$2" | tr / %)"%*; do [ -e "$f" ] && printf '%s = "%s"\n' "$(printf %s "$f" | tr % /)" "$(cat "$f")"; done; true"#,
    ),
    ("xenstore-exists", r#"[ "$1" = -- ] && shift; [ -e "$STORE/$(printf %s "$1" | tr / %)" ]"#),
];

/// Those that a disk's partition is made a device with, where there are no loop devices: a copy of its bytes, which goes
/// back when it is detached. It can be formatted, checked and resized, and not mounted.
const WITHOUT_LOOPS: &[(&str, &str)] = &[(
    "losetup",
    r#"at() { [ -e "$DOM0_ROOT$1" ] && echo "$DOM0_ROOT$1" || echo "$1"; }
case "$1" in
-j) for f in "$STORE"/loop*.from; do [ -e "$f" ] && [ "$(sed -n 1p "$f")" = "$(at "$2")" ] && echo "${f%.from}: []: ($2)"; done; true ;;
-d) { read -r disk; read -r offset; } < "$2.from" &&
    dd if="$2" of="$disk" bs=64K oflag=seek_bytes seek="$offset" conv=notrunc status=none && rm "$2" "$2.from" ;;
--find) [ -f "$(at "$7")" ] && f=$(mktemp "$STORE/loopXXXXXX") && printf '%s\n%s\n' "$(at "$7")" "$4" > "$f.from" &&
    dd if="$(at "$7")" of="$f" bs=64K iflag=skip_bytes,count_bytes skip="$4" count="$6" conv=sparse status=none && echo "$f" ;;
*) exit 1 ;;
esac"#,
)];

/// The plugins and their xenstore.
pub struct Dom0 {
    root: TempDir,
}

impl Dom0 {
    /// With these plugins of the program (`xenstore.py`), as the installer would name them.
    ///
    /// # Errors
    ///
    /// When its files cannot be written.
    pub fn new(program: &str, plugins: &[&str]) -> Result<Self> {
        let root = tempfile::tempdir()?;
        let path = |part: &str| root.path().join(part);
        for folder in ["plugins", "tools", "store", "tmp"] {
            std::fs::create_dir(path(folder))?;
        }
        let (tools, store) = (path("tools"), path("store"));
        for (name, body) in TOOLS {
            script(&tools.join(name), &format!("STORE='{}'\n{body}", store.display()))?;
        }
        for plugin in plugins {
            let body = format!(
                "export DOM0_ROOT='{}' TMPDIR='{}'\nPATH='{}':\"$PATH\"\nexec -a {plugin} '{program}' \"$@\"",
                path("host").display(),
                path("tmp").display(),
                tools.display()
            );
            script(&path("plugins").join(plugin), &body)?;
        }
        Ok(Self { root })
    }

    /// For machines without loop devices, and to see what is done on those: disks have to be plain files.
    ///
    /// # Errors
    ///
    /// When its files cannot be written.
    pub fn without_loops(self) -> Result<Self> {
        WITHOUT_LOOPS.iter().try_for_each(|(name, body)| self.tool(name, body))?;
        Ok(self)
    }

    /// A further tool of the control domain's; its body finds what the tools keep in `$STORE`.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn tool(&self, name: &str, body: &str) -> Result<()> {
        let store = self.store();
        script(&self.root.path().join("tools").join(name), &format!("STORE='{}'\n{body}", store.display()))
    }

    /// All of it.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Where the tools keep what they are told.
    pub fn store(&self) -> std::path::PathBuf {
        self.root.path().join("store")
    }

    /// What a simulated host takes its plugins from.
    pub fn plugins(&self) -> std::path::PathBuf {
        self.root.path().join("plugins")
    }

    /// Where a file of dom0 is that the plugins keep.
    pub fn path(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join("host").join(path.trim_start_matches('/'))
    }

    /// What there is in it beside its plugins, tools and xenstore: folders and files, what is mounted there, loop devices
    /// and locks on files below `disks`, programs that were started here and still run.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    pub fn census(&self, disks: &Path) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        list(&self.root.path().join("tmp"), &mut found)?;
        let mut kept = BTreeSet::new();
        list(&self.root.path().join("host"), &mut kept)?;
        // Folders of its own stay there once they were made, but for those of one call.
        found.extend(
            kept.into_iter().filter(|path| path.contains("/.xapi-plugins-") || !Path::new(path).is_dir()),
        );
        let root = self.root.path().to_string_lossy();
        let mounts = std::fs::read_to_string("/proc/self/mounts")?;
        found.extend(mounts.lines().filter(|line| line.contains(&*root)).map(|line| format!("mount {line}")));
        let disks_text = disks.to_string_lossy();
        for device in std::fs::read_dir("/sys/block").into_iter().flatten() {
            let device = device?;
            let backing =
                std::fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
            if backing.contains(&*disks_text) {
                // Its number is by chance.
                found.insert(format!("loop device on {}", backing.trim()));
            }
        }
        found.extend(locks(disks)?.into_iter().map(|path| format!("lock on {path}")));
        found.extend(programs(&root).into_iter().map(|program| format!("program {program}")));
        Ok(found)
    }

    /// What a domain's xenstore has at a path.
    pub fn read(&self, domid: i64, path: &str) -> Option<String> {
        std::fs::read_to_string(self.file(domid, path)).ok()
    }

    /// Writes to a domain's xenstore, as its guest would.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write(&self, domid: i64, path: &str, value: &str) -> Result<()> {
        // A reader must not see half of it.
        let file = self.file(domid, path);
        let new = file.with_extension("new-from-guest");
        std::fs::write(&new, value)?;
        Ok(std::fs::rename(new, file)?)
    }

    /// Removes a key.
    pub fn remove(&self, domid: i64, path: &str) {
        let _ = std::fs::remove_file(self.file(domid, path));
    }

    /// The keys below a path of a domain with their values.
    pub fn below(&self, domid: i64, path: &str) -> std::collections::BTreeMap<String, String> {
        let prefix = format!("/local/domain/{domid}/{path}/").replace('/', "%");
        let entries = std::fs::read_dir(self.root.path().join("store")).into_iter().flatten().flatten();
        let keys = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let key = name.strip_prefix(&prefix).filter(|key| !key.contains(".new"))?.replace('%', "/");
            Some((key, std::fs::read_to_string(entry.path()).ok()?))
        });
        keys.collect()
    }

    fn file(&self, domid: i64, path: &str) -> std::path::PathBuf {
        let key = format!("/local/domain/{domid}/{path}").replace('/', "%");
        self.root.path().join("store").join(key)
    }
}

/// Everything below a folder, which need not be there.
fn list(folder: &Path, found: &mut BTreeSet<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let entry = entry?;
        found.insert(entry.path().display().to_string());
        if entry.file_type()?.is_dir() {
            list(&entry.path(), found)?;
        }
    }
    Ok(())
}

/// The files below a folder on which another program than this one has a lock.
fn locks(folder: &Path) -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    list(folder, &mut files)?;
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let own = std::process::id().to_string();
    let locked: BTreeSet<u64> = locks
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, "FLOCK", _, _, pid, place, ..] = words[..] else { return None };
            place.rsplit(':').next()?.parse().ok().filter(|_| pid != own)
        })
        .collect();
    let is_locked = |path: &String| std::fs::metadata(path).is_ok_and(|file| locked.contains(&file.ino()));
    Ok(files.into_iter().filter(is_locked).collect())
}

/// The programs that run with this folder as their control domain's.
fn programs(root: &str) -> BTreeSet<String> {
    let wanted = format!("DOM0_ROOT={root}/");
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_ours = processes.filter(|process| {
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry.starts_with(wanted.as_bytes()))
    });
    let names =
        of_ours.map(|process| std::fs::read_to_string(process.path().join("comm")).unwrap_or_default());
    names.map(|name| name.trim().to_owned()).collect()
}

fn script(path: &Path, body: &str) -> Result<()> {
    std::fs::write(path, format!("#!/bin/bash\n{body}\n"))?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A child that must not outlive the test.
    struct Killed(Child);

    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn what_is_left_in_dom0_is_found() -> Result<()> {
        let (dom0, disks) = (Dom0::new("/bin/true", &["xenhost.py"])?, tempfile::tempdir()?);
        let begin = dom0.census(disks.path())?;
        assert_eq!(begin, BTreeSet::new());
        let folder = dom0.root().join("tmp/xapi-plugins-1-0");
        std::fs::create_dir(&folder)?;
        std::fs::create_dir_all(dom0.path("/run/sr-mount/sr/.xapi-plugins-1-0"))?;
        std::fs::create_dir_all(dom0.path("/run/xapi-plugins"))?;
        std::fs::write(dom0.path("/run/xapi-plugins/job.json"), "{}")?;
        let disk = disks.path().join("disk");
        std::fs::write(&disk, "")?;
        // It says that it has the lock, and keeps it until its input ends.
        let mut command = Command::new("flock");
        command.arg(&disk).args(["sh", "-c", "echo locked; read -r end"]).env("DOM0_ROOT", dom0.path("/"));
        let mut holder = Killed(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        let mut said = [0; 7];
        std::io::Read::read_exact(holder.0.stdout.as_mut().expect("it is piped"), &mut said)?;
        let found = dom0.census(disks.path())?;
        let has = |what: &str| found.iter().any(|found| found.contains(what));
        for what in ["tmp/xapi-plugins-1-0", "sr/.xapi-plugins-1-0", "job.json", "lock on", "program flock"] {
            assert!(has(what), "{what} in {found:?}");
        }
        assert!(!found.iter().any(|path| path.ends_with("/run/xapi-plugins")), "{found:?}");
        drop(holder.0.stdin.take());
        holder.0.wait()?;
        assert!(
            !dom0
                .census(disks.path())?
                .iter()
                .any(|found| found.starts_with("lock") || found.starts_with("program"))
        );
        Ok(())
    }
}
