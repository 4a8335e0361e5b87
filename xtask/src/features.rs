//! What users of a crate may have that the workspace's own build never shows: other features, older
//! dependencies, an older Rust.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    features: BTreeMap<String, Vec<String>>,
    /// An empty list means that it is not published.
    publish: Option<Vec<String>>,
    /// The oldest Rust that it says it can do with.
    rust_version: Option<String>,
}

/// `cargo xtask features`: each published crate builds alone, without features, with each one, and with all.
pub(crate) fn run() -> Result<()> {
    for package in published()? {
        for features in selections(&package) {
            let name = ["--package", package.name.as_str()];
            let arguments = ["check", "--quiet", "--no-default-features", "--features", &features];
            cargo(&crate::root(), &[&arguments[..], &name[..]].concat(), &[])
                .with_context(|| format!("{} with features {features:?}", package.name))?;
            println!("{} [{features}]", package.name);
        }
    }
    Ok(())
}

/// `cargo xtask minimal-versions`: the published crates build with the oldest versions that they say they can do with.
pub(crate) fn minimal_versions() -> Result<()> {
    let root = crate::root();
    let lock = root.join("Cargo.lock");
    let kept = fs::read(&lock)?;
    // The choice of versions is not for the stable cargo; what is built is.
    let unstable = [("RUSTC_BOOTSTRAP", "1")];
    let result = (|| {
        cargo(&root, &["update", "--quiet", "-Z", "direct-minimal-versions"], &unstable)?;
        let published = published()?;
        let mut arguments = vec!["check", "--all-features"];
        arguments.extend(published.iter().flat_map(|package| ["--package", package.name.as_str()]));
        cargo(&root, &arguments, &[("CARGO_TARGET_DIR", "target/minimal")])
    })();
    fs::write(&lock, kept)?;
    result
}

/// `cargo xtask msrv`: everything that users build compiles with the oldest Rust that the crates say they can do with.
///
/// Where that is not installed, this is said, and is no failure: it cannot be had where nothing can be downloaded.
pub(crate) fn oldest_rust() -> Result<()> {
    let packages = published()?;
    let versions: BTreeSet<&str> =
        packages.iter().filter_map(|package| package.rust_version.as_deref()).collect();
    for version in versions {
        let rustup = |arguments: &[&str]| {
            let mut rustup = Command::new("rustup");
            rustup.current_dir(crate::root()).args(["run", version, "cargo"]).args(arguments);
            crate::hide_this_package(&mut rustup);
            rustup
        };
        if !rustup(&["--version"]).output().is_ok_and(|output| output.status.success()) {
            println!(
                "LEFT OUT: Rust {version} is not installed; rustup toolchain install {version} --profile minimal"
            );
            continue;
        }
        let mut check = rustup(&["check", "--locked", "--workspace", "--lib", "--bins", "--examples"]);
        check.args(["--exclude", "fuzz", "--exclude", "benches"]).env("CARGO_TARGET_DIR", "target/msrv");
        if !check.status()?.success() {
            bail!("it does not build with Rust {version}, which Cargo.toml promises");
        }
    }
    Ok(())
}

fn published() -> Result<Vec<Package>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(crate::root())
        .output()?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("what cargo metadata says")?;
    Ok(metadata.packages.into_iter().filter(|package| package.publish.is_none()).collect())
}

/// Lists of features for `--features`.
fn selections(package: &Package) -> Vec<String> {
    let names: Vec<&str> =
        package.features.keys().map(String::as_str).filter(|name| *name != "default").collect();
    let mut selections = vec![String::new()];
    selections.extend(names.iter().map(|name| (*name).to_owned()));
    if names.len() > 1 {
        selections.push(names.join(","));
    }
    selections
}

fn cargo(root: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    // Where it is run by a cargo of its own, that one's choices are not for this one.
    cargo.current_dir(root).args(arguments).env_remove("CARGO_TARGET_DIR").envs(variables.iter().copied());
    match cargo.status()?.success() {
        true => Ok(()),
        false => bail!("failed: cargo {}", arguments.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_alone_and_all_together() {
        let package = |features: &[&str]| Package {
            name: "x".into(),
            features: features.iter().map(|name| ((*name).to_owned(), Vec::new())).collect(),
            publish: None,
            rust_version: None,
        };
        assert_eq!(selections(&package(&[])), [""]);
        assert_eq!(selections(&package(&["default", "http"])), ["", "http"]);
        assert_eq!(selections(&package(&["a", "b", "default"])), ["", "a", "b", "a,b"]);
    }
}
