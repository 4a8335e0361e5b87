//! The daemon as an init system starts it, on the simulated pool.

mod bench;
mod simulated;

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context, Result, ensure};
use bench::program;
use serde_json::{Value, json};
use simulated::Simulated;
use xapi_simulator::World;
use xenapi_types::{VmPowerState, vm};

struct Agent {
    child: Child,
    address: String,
    /// What it prints for programs.
    told: Lines<BufReader<ChildStdout>>,
}

impl Agent {
    fn start() -> Result<Self> {
        let mut command = program("agent");
        command.args(["--simulated", "--listen", "127.0.0.1:0", "--reconcile-every", "1", "--json"]);
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

/// A variable that did not reach a service would else have it say that all is well, of a pool that it made up.
#[test]
fn without_a_pool_it_does_not_start() -> Result<()> {
    for args in
        [&["--listen", "127.0.0.1:0"][..], &["--listen", "127.0.0.1:0", "--known-hosts", "/nonexistent"]]
    {
        let ended = program("agent").args(args).output()?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(
            !ended.status.success() && said.contains("XENAPI_URL") && said.contains("--simulated"),
            "{said}"
        );
        assert!(!said.contains("simulating"), "{said}");
    }
    Ok(())
}

/// What killed programs left is told, and nothing else happens; then a round does it.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_what_a_round_would_do() -> Result<()> {
    let pool = Simulated::new(World::demo()).await?;
    let nothing = json!({ "would": [], "too_young": [], "unclear": [], "waiting": [] });
    assert_eq!(pool.run("agent", "--dry-run")?, [nothing]);
    pool.run("spawn", "--name web1 --image disk.raw")?;
    let (vm, record) = pool.vm("web1").await?;
    let uuid = record.uuid;
    // As if the program had been killed before it was complete.
    let field = vm::field::OTHER_CONFIG;
    pool.client.add_to(&vm, field, "xenapi-rs:unfinished", "true").await?;
    let young = pool.run("agent", "--dry-run")?;
    let step = format!("remove VM {uuid}, which never became an instance");
    assert_eq!(young, [json!({ "would": [], "too_young": [&step], "unclear": [], "waiting": [] })]);
    let before = pool.simulator.snapshot_of_objects();
    let due = pool.run("agent", "--dry-run --older-than 0")?;
    assert_eq!(due, [json!({ "would": [&step], "too_young": [], "unclear": [], "waiting": [] })]);
    let after = pool.simulator.snapshot_of_objects();
    assert_eq!([before.get("VM"), before.get("VDI")], [after.get("VM"), after.get("VDI")]);
    assert_eq!(pool.client.get_field(&vm, vm::field::POWER_STATE).await?, VmPowerState::Running);
    Ok(())
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
    let memory = page.lines().filter(|line| line.starts_with("xenapi_host_memory"));
    assert_eq!(memory.filter(|line| line.contains("\",uuid=\"")).count(), 2, "{page}");
    for line in ["xenapi_host_enabled{host=\"", "xenapi_sr_bytes{sr=\"Local storage\",uuid=\""] {
        assert!(page.contains(line), "{line} is missing in {page}");
    }
    while agent.sample("xenapi_reconciliations_total")? < Some(2.0) {
        std::thread::yield_now();
    }
    assert_eq!(agent.sample("xenapi_reconciliation_failures_total")?, Some(0.0));
    assert!(agent.sample("xenapi_reconciled_timestamp_seconds")? > Some(1e9));

    assert_eq!(agent.next()?, json!({ "serving": agent.address }));
    let nothing = json!({ "reconciled": [], "leftovers": [], "too_young": [], "unclear": [], "waiting": [] });
    assert_eq!(agent.next()?, nothing);
    let check = |address: &str| program("agent").args(["--check", address]).output();
    assert!(check(&agent.address)?.status.success());
    let told = program("agent").args(["--check", &agent.address, "--json"]).output()?;
    assert_eq!(serde_json::from_slice::<Value>(&told.stdout)?, json!({ "health": "following" }));
    let told = program("agent").args(["--check", "127.0.0.1:1", "--json"]).output()?;
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

/// Who is refused by the host will be so until somebody starts it with another password: it does not stay as
/// if it were well.
#[tokio::test(flavor = "multi_thread")]
async fn locked_out_for_good_it_ends_with_an_error() -> Result<()> {
    let pool = Simulated::new(World::demo()).await?;
    let mut command = pool.command("agent", "--listen 127.0.0.1:0 --reconcile-every 0")?;
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut told = BufReader::new(child.stdout.take().context("its results")?).lines();
    tokio::task::block_in_place(|| told.next()).context("its address")??;
    pool.lock_out();
    let ended = tokio::task::block_in_place(|| child.wait())?;
    ensure!(ended.code() == Some(1), "{ended:?}");
    let last = tokio::task::block_in_place(|| told.next()).context("an error")??;
    assert!(last.contains("not followed any more"), "{last}");
    Ok(())
}
