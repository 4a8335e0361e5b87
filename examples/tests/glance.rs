//! Images of a real Glance by their names, with the variables of OpenStack's own tools.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testdata::openstack::{self, OpenStack};

/// A program that does its work; the object that it prints.
fn tool(name: &str, state: &Path, openstack: &OpenStack, password: &str, args: &[&str]) -> Result<Value> {
    let mut path = std::env::current_exe()?;
    path.pop();
    path.pop();
    let mut command = Command::new(path.join("examples").join(name));
    for variable in ["XENAPI_URL", "XENAPI_USER", "XENAPI_PASSWORD", "RUST_LOG", "OS_TOKEN", "OS_CACERT"] {
        command.env_remove(variable);
    }
    command.env("OS_AUTH_URL", &openstack.auth_url).env("OS_PASSWORD", password);
    command.env("OS_USERNAME", "admin").env("OS_PROJECT_NAME", "admin");
    let output = command.arg("--simulator-state").arg(state).arg("--json").args(args).output()?;
    let text = str::from_utf8(&output.stdout)?;
    serde_json::from_str(text).with_context(|| format!("{text} {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn to_glance_and_from_it_by_name() -> Result<()> {
    let Some(openstack) = openstack::get() else { return Ok(()) };
    let directory = tempfile::tempdir()?;
    let state = directory.path().join("state");
    let run = |name: &str, args: &[&str]| tool(name, &state, openstack, &openstack.password, args);
    run("spawn", &["--name", "web1", "--flavor", "1:512:0"])?;
    let sent = run(
        "snapshot",
        &[
            "--instance",
            "web1",
            "--to",
            "glance:web1 of today",
            "--format",
            "vhd",
            "--property",
            "os_type=linux",
        ],
    )?;
    ensure!(sent["error"].is_null() && !sent["digest"].is_null(), "{sent}");
    let spawned = run("spawn", &["--name", "web2", "--image", "glance:web1 of today"])?;
    ensure!(spawned["error"].is_null() && !spawned["root_disk"].is_null(), "{spawned}");

    // What the instances hold is the same disk.
    for (instance, file) in [("web1", "one"), ("web2", "two")] {
        let path = directory.path().join(file).display().to_string();
        run("snapshot", &["--instance", instance, "--output", &path])?;
    }
    let mut programs = std::env::current_exe()?;
    programs.pop();
    programs.pop();
    let files = ["one", "two"].map(|file| directory.path().join(file));
    let same = Command::new(programs.join("examples/disk")).arg("compare").args(files).output()?;
    ensure!(same.status.success(), "{same:?}");

    for (password, image, reason) in
        [(&*openstack.password, "glance:nobody's", "nobody's"), ("wrong", "glance:web1 of today", "401")]
    {
        let refused = tool("spawn", &state, openstack, password, &["--name", "web3", "--image", image])?;
        let error = refused["error"].as_str().with_context(|| refused.to_string())?;
        ensure!(error.contains(reason), "{error}");
    }
    Ok(())
}
