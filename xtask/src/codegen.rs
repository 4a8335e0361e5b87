//! `cargo xtask codegen`: facts in, `crates/xenapi-types/src/generated` out.

mod bindings;
mod errors;
mod meta;
mod rust;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::facts::Facts;

/// Fields and parameters that came after this release are optional: it is the oldest that people
/// still run (XCP-ng 8.2 is made from it), so what it has can be relied on.
const BASELINE: &str = "stockholm";

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    Write,
    Check,
}

pub(crate) fn run(mode: Mode) -> Result<()> {
    let root = crate::root();
    let facts = Facts::read(&root.join("xtask/datamodel"))?;
    let dir = root.join("crates/xenapi-types/src/generated");
    let mut files = BTreeMap::new();
    for (name, text) in generate(&facts)? {
        let text = format(&root, &text).with_context(|| format!("formatting {name}"))?;
        files.insert(dir.join(name), text);
    }
    match mode {
        Mode::Write => write(&dir, &files),
        Mode::Check => check(&dir, &files),
    }
}

/// File names, relative to `generated`, with their content.
fn generate(facts: &Facts) -> Result<Vec<(String, String)>> {
    let mut files = vec![
        ("mod.rs".to_owned(), bindings::index(facts)),
        ("errors.rs".to_owned(), errors::file(facts)),
        ("meta/mod.rs".to_owned(), meta::index(facts)),
    ];
    for class in &facts.classes {
        let name = class.name.to_ascii_lowercase();
        let context = || format!("class {}", class.name);
        files.push((format!("{name}.rs"), bindings::file(facts, class).with_context(context)?));
        files.push((format!("meta/{name}.rs"), meta::file(class).with_context(context)?));
    }
    Ok(files)
}

fn format(root: &Path, text: &str) -> Result<String> {
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--emit", "stdout", "--config-path"])
        .arg(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("rustfmt does not start: is the component installed?")?;
    child.stdin.take().context("rustfmt's input")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("rustfmt refuses the generated code");
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn write(dir: &Path, files: &BTreeMap<PathBuf, String>) -> Result<()> {
    std::fs::create_dir_all(dir.join("meta"))?;
    for path in present(dir)? {
        if !files.contains_key(&path) {
            std::fs::remove_file(&path)?;
        }
    }
    let mut changed = 0;
    for (path, text) in files {
        // Files that stay as they are keep their time, so that cargo does not build them again.
        if std::fs::read_to_string(path).is_ok_and(|old| old == *text) {
            continue;
        }
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
        changed += 1;
    }
    println!("{} files, {changed} changed", files.len());
    Ok(())
}

fn check(dir: &Path, files: &BTreeMap<PathBuf, String>) -> Result<()> {
    let mut stale: Vec<String> = Vec::new();
    for path in present(dir)? {
        if !files.contains_key(&path) {
            stale.push(format!("{} should not be there", path.display()));
        }
    }
    for (path, text) in files {
        if !std::fs::read_to_string(path).is_ok_and(|old| old == *text) {
            stale.push(format!("{} differs", path.display()));
        }
    }
    if !stale.is_empty() {
        bail!("generated code is not current; run `cargo xtask codegen`:\n  {}", stale.join("\n  "));
    }
    println!("{} files are current", files.len());
    Ok(())
}

/// The Rust files that are in the folder now.
fn present(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for dir in [dir.to_owned(), dir.join("meta")] {
        if !dir.exists() {
            continue;
        }
        for entry in std::fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    Ok(found)
}
