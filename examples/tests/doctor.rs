//! The doctor as an operator starts it, on the simulated pool.

use std::process::{Command, Output};

use anyhow::{Context, Result};
use serde_json::Value;

fn doctor(args: &[&str]) -> Result<Output> {
    let mut path = std::env::current_exe()?;
    path.pop();
    path.pop();
    let mut command = Command::new(path.join("examples").join("doctor"));
    for variable in ["XENAPI_URL", "XENAPI_USER", "XENAPI_PASSWORD", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command.args(args).env("OS_XENSERVER__AGENT_TIMEOUT", "7").output().context("doctor")
}

#[test]
fn a_nova_conf_is_read_and_every_row_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let conf = folder.path().join("nova.conf");
    std::fs::write(
        &conf,
        "[DEFAULT]\nflat_injected = yes\n[xenserver]\nagent_timeout = 5\ncheck_hots = no\n",
    )?;
    let conf = conf.display().to_string();
    let output = doctor(&["--nova-conf", &conf, "--set", "independent_compute=true", "--json"])?;
    // The simulated host has no plugins, and flat_injected wants one.
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(report["mode"]["independent"]["because"], "independent_compute is set (command line)");
    assert_eq!(report["options"]["agent_timeout"]["value"], "7");
    assert_eq!(report["options"]["agent_timeout"]["origin"], "environment OS_XENSERVER__AGENT_TIMEOUT");
    let finding = format!("{conf}, line 5: [xenserver] check_hots is not an option; check_host is one");
    assert_eq!(report["findings"], serde_json::json!([finding]));
    assert_eq!(report["plugins"][0]["state"]["plugins"], "missing");
    assert!(report["rows"].as_array().is_some_and(|rows| rows.len() >= 14));
    let conflicts = report["conflicts"].as_array().context("conflicts")?;
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    assert!(
        conflicts[0]
            .as_str()
            .is_some_and(|text| text.starts_with(&format!("flat_injected ({conf}, line 2)")))
    );
    Ok(())
}

#[test]
fn settings_that_fit_and_strictness() -> Result<()> {
    let output = doctor(&["--set", "independent_compute=true"])?;
    let text = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{text}");
    assert!(text.contains("config drive: works differently: "), "{text}");
    assert!(text.contains("trust: the simulator in this process"), "{text}");
    assert!(text.contains("SR \"Local storage\": type ext, the default, file-based"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("host ") && line.contains(": clock ")), "{text}");
    assert!(!text.contains("warning: the clock"), "{text}");
    assert!(text.contains("separate kernel and ramdisk: refused: "), "{text}");
    let output = doctor(&["--set", "independent_compute=true", "--strict"])?;
    let text = String::from_utf8(output.stdout)?;
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("conflict: check_host (default) is true"), "{text}");
    Ok(())
}

#[test]
fn files_that_cannot_be_read() -> Result<()> {
    for args in [["--nova-conf", "/nonexistent"], ["--set", "check_host"]] {
        let output = doctor(&args)?;
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8(output.stderr)?.starts_with("error: "));
    }
    Ok(())
}
