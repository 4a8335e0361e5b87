//! `cargo xtask releases`: the tests of the driver at simulators of old releases. Every test program of `e2e` runs, but
//! those that are left out by name, with the reason.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// What is tried if nothing is named.
const OLD: [&str; 4] = ["xenserver-7.0", "xenserver-7.6", "xcp-ng-8.2", "xcp-ng-8.3"];

/// The simulators of the tests take it from there (`e2e::pool::PERSONALITY`).
const RELEASE: &str = "XAPI_SIMULATOR_RELEASE";

/// Programs that have nothing to try at another release.
const LEFT_OUT: [(&str, &str); 16] = [
    ("boot", "QEMU boots what the driver wrote, whoever the server was; takes minutes"),
    ("conformance", "compares with recordings of the newest release"),
    ("core_strings", "looks into the memory of the process, not at the server"),
    ("glance", "tries a real Glance; the host's part is in image_sources"),
    ("glance_dom0", "tries plugins of dom0 with a real Glance; the host's part is in plugins"),
    ("host", "tries a real host, which has the release that it has"),
    ("images", "looks at the images that other tests begin with; there is no server"),
    ("kills", "a long trial, of what is left in any pool"),
    ("load", "a long trial, of the client's memory and turns"),
    ("nova_plugins", "calls plugins of dom0 by themselves; there is no server"),
    ("parity", "reads documents; there is no server"),
    ("rivals", "a long trial, of drivers against each other"),
    ("secrets", "looks at what the client writes into logs, and not at the server"),
    ("servers", "chooses the releases itself"),
    ("sweep", "a long trial; servers has its verbs at each release"),
    ("xenapi_py", "tries other people's clients, with calls of the newest release"),
];

/// Runs them at these releases.
pub(crate) fn run(names: &[&str]) -> Result<()> {
    let programs = programs(&crate::root())?;
    let names = if names.is_empty() { &OLD[..] } else { names };
    let mut failed = Vec::new();
    for name in names {
        println!("=== {name}");
        let mut cargo = crate::cargo();
        cargo.args(["test", "--quiet", "--package", "e2e", "--no-fail-fast"]);
        cargo.args(programs.iter().flat_map(|program| ["--test", program])).env(RELEASE, name);
        if !cargo.status()?.success() {
            failed.push(*name);
        }
    }
    match failed[..] {
        [] => Ok(()),
        _ => bail!("tests fail at {}", failed.join(", ")),
    }
}

/// The test programs of `e2e` that are not left out.
fn programs(root: &Path) -> Result<Vec<String>> {
    let folder = root.join("e2e/tests");
    let mut programs = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "rs") || path.join("main.rs").is_file() {
            programs.extend(path.file_stem().and_then(|name| name.to_str()).map(str::to_owned));
        }
    }
    programs.sort();
    for (name, _) in LEFT_OUT {
        ensure!(programs.iter().any(|program| program == name), "{name} is left out, and is not there");
    }
    programs.retain(|program| LEFT_OUT.iter().all(|(name, _)| name != program));
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_there_and_has_a_reason() {
        let programs = programs(&crate::root()).unwrap();
        assert!(programs.len() > 35 && programs.iter().any(|program| program == "instance"), "{programs:?}");
        assert!(
            LEFT_OUT
                .iter()
                .all(|(name, reason)| !programs.contains(&(*name).to_owned()) && reason.len() > 20)
        );
    }
}
