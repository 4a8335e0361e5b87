//! The daemon as an init system starts it, on the simulated pool.
#![allow(clippy::print_stderr, reason = "a skip is to be seen")]
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

fn program() -> Command {
    let mut path = std::env::current_exe().expect("the test's own path");
    path.pop();
    path.pop();
    let mut command = Command::new(path.join("examples").join("agent"));
    for variable in ["XENAPI_URL", "XENAPI_USER", "XENAPI_PASSWORD", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command
}

struct Agent {
    child: Child,
    address: String,
    /// What it prints for programs.
    told: Lines<BufReader<ChildStdout>>,
}

impl Agent {
    fn start() -> Result<Self> {
        let mut command = program();
        command.args(["--listen", "127.0.0.1:0", "--reconcile-every", "1", "--json"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("agent")?;
        let told = BufReader::new(child.stdout.take().context("its results")?).lines();
        let mut log = BufReader::new(child.stderr.take().context("its log")?);
        let mut line = String::new();
        while !line.contains("address=") {
            line.clear();
            ensure!(log.read_line(&mut line)? > 0, "it ended without serving");
        }
        // Whoever does not read the log holds it up.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let address = line.split("address=").nth(1).context("an address")?;
        let address = address.split_whitespace().next().context("an address")?.to_owned();
        Ok(Self { child, address, told })
    }

    fn next(&mut self) -> Result<Value> {
        Ok(serde_json::from_str(&self.told.next().context("a line")??)?)
    }

    fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// The value of a sample, by its name and labels.
    fn sample(&self, name: &str) -> Result<Option<f64>> {
        let page = self.get("/metrics")?;
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.map(str::parse).transpose()?)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_tells_of_the_pool_reconciles_and_ends_when_it_is_told_to() -> Result<()> {
    let mut agent = Agent::start()?;
    let health = agent.get("/healthz")?;
    assert!(health.starts_with("HTTP/1.1 200 ") && health.ends_with("following\n"), "{health}");
    assert!(agent.get("/else")?.starts_with("HTTP/1.1 404 "));
    assert_eq!(agent.sample("xenapi_following")?, Some(1.0));
    assert_eq!(agent.sample("xenapi_resyncs_total")?, Some(1.0));
    let page = agent.get("/metrics")?;
    for line in ["xenapi_host_enabled{host=\"", "xenapi_sr_bytes{sr=\"Local storage\",uuid=\""] {
        assert!(page.contains(line), "{line} is missing in {page}");
    }
    while agent.sample("xenapi_reconciliations_total")? < Some(2.0) {
        std::thread::yield_now();
    }
    assert_eq!(agent.sample("xenapi_reconciliation_failures_total")?, Some(0.0));
    assert!(agent.sample("xenapi_reconciled_timestamp_seconds")? > Some(1e9));

    assert_eq!(agent.next()?, json!({ "serving": agent.address }));
    assert_eq!(agent.next()?, json!({ "reconciled": [], "leftovers": [], "waiting": [] }));
    let check = |address: &str| program().args(["--check", address]).output();
    assert!(check(&agent.address)?.status.success());
    let told = program().args(["--check", &agent.address, "--json"]).output()?;
    assert_eq!(serde_json::from_slice::<Value>(&told.stdout)?, json!({ "health": "following" }));
    let told = program().args(["--check", "127.0.0.1:1", "--json"]).output()?;
    assert!(serde_json::from_slice::<Value>(&told.stdout)?["error"].is_string(), "{told:?}");
    let nobody = check("127.0.0.1:1")?;
    assert_eq!(nobody.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&nobody.stderr).contains("no agent answers at 127.0.0.1:1"),
        "{nobody:?}"
    );

    let pid = rustix::process::Pid::from_child(&agent.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    assert!(agent.child.wait()?.success());
    Ok(())
}

/// The units name options that there are, and systemd understands them.
#[test]
fn the_units_are_sound() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let contrib = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib");
    let help = String::from_utf8(program().arg("--help").output()?.stdout)?;
    let mut units = Vec::new();
    for name in ["xenapi-agent.service", "xapi-simulator.service"] {
        let unit = std::fs::read_to_string(contrib.join(name))?;
        let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).context("ExecStart")?;
        if name == "xenapi-agent.service" {
            for option in start.split_whitespace().filter(|word| word.starts_with("--")) {
                assert!(help.contains(option), "{option} is no option of the agent");
            }
        }
        // The programs are not installed here.
        let path = folder.path().join(name);
        std::fs::write(&path, unit.replace("/usr/local/bin/", "/bin/true "))?;
        units.push(path);
    }
    match Command::new("systemd-analyze").arg("verify").args(&units).output() {
        Ok(verdict) => assert!(verdict.status.success() && verdict.stderr.is_empty(), "{verdict:?}"),
        Err(_) if std::env::var_os("CI").is_some() => anyhow::bail!("systemd-analyze is not installed"),
        Err(_) => eprintln!("skipped: systemd-analyze is not installed"),
    }
    Ok(())
}

/// The image has every program that there is, and runs none that is not.
#[test]
fn the_image_has_all_programs() -> Result<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let image = std::fs::read_to_string(root.join("../contrib/Containerfile"))?;
    let manifest = std::fs::read_to_string(root.join("Cargo.toml"))?;
    let targets = manifest.split("[[example]]\nname = \"").skip(1);
    let mut programs: Vec<&str> = targets.filter_map(|rest| rest.split('"').next()).collect();
    let words =
        image.split_whitespace().filter_map(|word| word.strip_prefix("/src/target/release/examples/"));
    let mut copied: Vec<&str> = words.collect();
    programs.sort_unstable();
    copied.sort_unstable();
    assert_eq!(copied, programs);
    Ok(())
}
