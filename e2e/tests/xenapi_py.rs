//! The official Python client, driven by the calls of clients that were written for real hosts, works against
//! the simulator unchanged.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use e2e::pool::personality;
use e2e::tools;
use xapi_simulator::{Simulator, World};

const PASSWORD: &str = "xapi-test";

/// The package on PyPI, at the version that this was written with.
const PACKAGE: &str = "XenAPI==26.21.1";

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, clippy::print_stdout, reason = "a skip must be seen, and so must the figures")]
async fn the_official_python_client_works() -> Result<()> {
    if !tools::present(&["python3"]) {
        return Ok(());
    }
    let python = match tokio::task::spawn_blocking(environment).await? {
        Ok(python) => python,
        Err(error) => {
            // No network, or a Python without pip: there, nothing may be skipped.
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{error:?}");
            eprintln!("skipped: {PACKAGE} cannot be installed: {error:#}");
            return Ok(());
        }
    };
    let simulator = Simulator::builder()
        .world(World::demo())
        .password(PASSWORD)
        .personality(personality())
        .build()
        .await?;
    let before = simulator.snapshot_of_objects();
    let url = simulator.listen("127.0.0.1:0").await?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/old_client.py");
    let mut command = Command::new(python);
    command.arg(script).args([&url, "root", PASSWORD]);
    println!("{}", tokio::task::spawn_blocking(move || tools::output(&mut command)).await??.trim());
    assert_eq!(without_messages(simulator.snapshot_of_objects()), without_messages(before));
    Ok(())
}

type Objects = std::collections::BTreeMap<String, std::collections::BTreeSet<String>>;

/// Messages about guests stay when the guests have gone.
fn without_messages(mut objects: Objects) -> Objects {
    objects.remove("message");
    objects
}

/// The Python of a virtual environment with the client in it, which is made once.
fn environment() -> Result<PathBuf> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("xenapi-py");
    let python = directory.join("bin/python3");
    let marker = directory.join(PACKAGE);
    if marker.is_file() {
        return Ok(python);
    }
    // The marker comes last: what a run that was broken off has left is made anew.
    tools::output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&directory))?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE];
    tools::output(Command::new(&python).args(install))?;
    std::fs::write(&marker, "").with_context(|| marker.display().to_string())?;
    Ok(python)
}
