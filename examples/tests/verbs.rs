//! The tools for instances, volumes and migrations, as a user starts them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// One of the examples, which Cargo builds before their tests, on a simulated pool that is kept.
fn tool(name: &str, state: &Path, args: &[&str]) -> Result<Output> {
    let mut path: PathBuf = std::env::current_exe()?;
    path.pop();
    path.pop();
    let mut command = Command::new(path.join("examples").join(name));
    for variable in ["XENAPI_URL", "XENAPI_USER", "XENAPI_PASSWORD", "RUST_LOG"] {
        command.env_remove(variable);
    }
    Ok(command.stdin(Stdio::null()).arg("--simulator-state").arg(state).args(args).output()?)
}

/// The objects that a tool printed, one a line.
fn json(output: &Output) -> Result<Vec<Value>> {
    let (text, errors) = (str::from_utf8(&output.stdout)?, str::from_utf8(&output.stderr)?);
    ensure!(output.status.success() && errors.is_empty(), "{text} {errors}");
    text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

#[test]
fn a_day_of_an_instance() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let state = directory.path().join("state");
    let run = |name: &str, args: &[&str]| json(&tool(name, &state, &[args, &["--json"]].concat())?);
    let spawned = run("spawn", &["--name", "web1", "--flavor", "1:512:0"])?;
    let sr = |rows: &[Value]| rows.first().and_then(|row| row["sr"].as_str()).map(str::to_owned);
    ensure!(sr(&spawned).is_some(), "{spawned:?}");

    let listed = run("instances", &["list"])?;
    assert_eq!(
        (listed.len(), &listed[0]["name"], &listed[0]["state"]),
        (1, &"web1".into(), &"Running".into())
    );
    assert_eq!(run("instances", &["power", "web1", "off", "--hard"])?[0]["state"], "Halted");
    run("instances", &["resize", "web1", "--flavor", "2:1024:2"])?;
    assert_eq!(run("instances", &["list"])?[0]["state"], "Halted (resized)");
    run("instances", &["revert", "web1"])?;
    let listed = run("instances", &["list"])?;
    assert_eq!((&listed[0]["vcpus"], &listed[0]["state"]), (&1.into(), &"Halted".into()));
    assert_eq!(run("instances", &["power", "web1", "on"])?[0]["state"], "Running");
    assert!(run("instances", &["reconcile", "--older-than", "0"])?.is_empty());
    assert!(run("volumes", &["list", "web1"])?.is_empty());
    let shown = run("instances", &["show", "web1"])?;
    assert_eq!(shown[0]["volumes"], Value::Array(vec![]));
    let node = listed[0]["node"].as_str().context("a node")?;
    let plan = run("migrate", &["web1", "--to", node, "--plan"])?;
    assert_eq!(plan[0]["node"], node);
    run("instances", &["destroy", "web1"])?;
    assert!(run("instances", &["list"])?.is_empty());
    Ok(())
}

#[test]
fn images_out_and_in_and_from_a_disc() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let state = directory.path().join("state");
    let at = |name: &str| directory.path().join(name).display().to_string();
    let run = |name: &str, args: &[&str]| json(&tool(name, &state, &[args, &["--json"]].concat())?);
    run("spawn", &["--name", "web1", "--flavor", "1:512:0"])?;
    for format in ["vhd-archive", "vhd-chain", "vhd", "raw-archive", "qcow2"] {
        let (place, name) = (at(format), format!("from-{format}"));
        run(
            "snapshot",
            &["--instance", "web1", "--to", &place, "--format", format, "--compression-level", "1"],
        )?;
        // Of a compressed raw disk nobody knows the size.
        run("spawn", &["--name", &name, "--image", &place, "--flavor", "1:128:1"])?;
        run("instances", &["destroy", &name])?;
    }
    run("snapshot", &["--instance", "web1", "--all", "--to", &at("{}.vhd"), "--format", "vhd"])?;
    ensure!(Path::new(&at("0.vhd")).exists(), "the root disk's image");

    let cached = run("images", &["cache", "--id", "one", "--image", &at("vhd")])?;
    assert_eq!(run("images", &["list"])?, cached);
    assert_eq!(run("images", &["evict", "--keep-mib", "0", "--dry-run"])?.len(), 1);
    assert_eq!(run("images", &["evict", "--keep-mib", "0"])?.len(), 1);
    assert!(run("images", &["list"])?.is_empty());

    let mut disc = vec![0; 64 << 10];
    disc[16 * 2048..][..6].copy_from_slice(b"\x01CD001");
    std::fs::write(at("installer.iso"), disc)?;
    run("spawn", &["--name", "new", "--image", &at("installer.iso"), "--flavor", "1:128:1"])?;
    let refused = tool("spawn", &state, &["--image", &at("vhd"), "--image-format", "iso"])?;
    let text = str::from_utf8(&refused.stderr)?;
    assert!(!refused.status.success() && text.contains("no disc"), "{text}");
    Ok(())
}

#[test]
fn errors_are_one_sentence() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let state = directory.path().join("state");
    for (name, args, part) in [
        ("instances", &["show", "nobody"][..], "nobody"),
        ("instances", &["power", "nobody", "pause", "--hard"], "only off and reboot"),
        ("volumes", &["detach", "nobody", "5"], "nobody"),
        ("volumes", &["attach", "nobody"], "where is the volume?"),
        ("migrate", &["nobody", "--to", "00000000-0000-0000-0000-000000000001"], "nobody"),
    ] {
        let output = tool(name, &state, args)?;
        let text = str::from_utf8(&output.stderr)?;
        assert_eq!(output.status.code(), Some(1), "{name} {args:?}: {text}");
        let last = text.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: ") && last.contains(part), "{name} {args:?}: {text}");
    }
    Ok(())
}
