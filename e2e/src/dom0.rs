//! A dom0 for the real plugins: a directory of plugins for a simulated host, and tools of xenstore that keep their keys
//! in files.

use std::os::unix::fs::PermissionsExt;
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
        for folder in ["plugins", "tools", "store"] {
            std::fs::create_dir(path(folder))?;
        }
        let (tools, store) = (path("tools"), path("store"));
        for (name, body) in TOOLS {
            script(&tools.join(name), &format!("STORE='{}'\n{body}", store.display()))?;
        }
        for plugin in plugins {
            let body = format!(
                "export DOM0_ROOT='{}'\nPATH='{}':\"$PATH\"\nexec -a {plugin} '{program}' \"$@\"",
                path("host").display(),
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

fn script(path: &Path, body: &str) -> Result<()> {
    std::fs::write(path, format!("#!/bin/bash\n{body}\n"))?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?)
}
