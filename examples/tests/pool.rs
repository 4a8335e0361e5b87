//! `pool` as an operator starts it, on simulated hosts.

use std::process::{Command, Output};

use anyhow::{Context, Result};
use serde_json::Value;

fn pool(args: &[&str]) -> Result<Output> {
    let mut path = std::env::current_exe()?;
    path.pop();
    path.pop();
    let mut command = Command::new(path.join("examples").join("pool"));
    for variable in ["XENAPI_URL", "XENAPI_USER", "XENAPI_PASSWORD", "XENAPI_NEWCOMER_URL", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command.args(args).output().context("pool")
}

#[test]
fn a_host_joins_and_the_coordinator_stays() -> Result<()> {
    let state = tempfile::tempdir()?;
    let state = state.path().display().to_string();
    let output = pool(&["--simulator-state", &state, "--json", "join", "--simulated"])?;
    assert!(output.status.success(), "{output:?}");
    let joined: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(joined["name"], "demo-host-2");
    let uuid = joined["joined"].as_str().context("a uuid")?;
    let output = pool(&["--simulator-state", &state, "--json", "eject", uuid])?;
    assert!(output.status.success(), "{output:?}");

    let coordinator = "aad1fc93-fe91-59fc-8984-bec272d5a9b4";
    let output = pool(&["--simulator-state", &state, "eject", coordinator])?;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8(output.stderr)?;
    assert!(error.contains("it is the coordinator"), "{error}");
    Ok(())
}

#[test]
fn a_host_is_named_or_simulated() -> Result<()> {
    for args in [&["join"][..], &["join", "https://xen2", "--simulated"], &["eject", "xen2"]] {
        assert_eq!(pool(args)?.status.code(), Some(2), "{args:?}");
    }
    Ok(())
}
