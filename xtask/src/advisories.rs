//! `cargo xtask advisories`: whether a dependency has a known vulnerability, by the database of RustSec.
//!
//! The database is fetched first. Where it cannot be reached, that is said and is no failure, unless it is `--required`: an
//! old answer must not pass for a new one.

use anyhow::{Context, Result, bail};

pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let required = arguments.contains(&"--required");
    let deny = |arguments: &[&str]| {
        let mut cargo = crate::cargo();
        cargo
            .args(["deny", "--locked", "--all-features"])
            .args(arguments)
            .status()
            .context("cargo deny: `cargo install cargo-deny`")
    };
    if !deny(&["fetch", "db"])?.success() {
        if required {
            bail!("the database of advisories cannot be reached");
        }
        println!("SKIPPED: the database of advisories cannot be reached; nothing was checked");
        return Ok(());
    }
    match deny(&["--offline", "check", "advisories"])?.success() {
        true => Ok(()),
        false => bail!("a dependency has an advisory: see above"),
    }
}
