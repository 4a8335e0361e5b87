//! `migrate --pool` between two pools on ports, each with a password of its own: as a program, between machines.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use xapi_simulator::fault::Fault;
use xapi_simulator::{Simulator, World};
use xenapi_wire::Failure;

struct Pools {
    simulators: [Simulator; 2],
    urls: [String; 2],
    files: TempDir,
}

impl Pools {
    async fn new() -> Result<Self> {
        let files = tempfile::tempdir()?;
        std::fs::write(files.path().join("there"), "other-password\n")?;
        let here = Simulator::builder().world(World::demo()).password("a-password").build().await?;
        let there = Simulator::builder().world(World::demo().elsewhere(2)).password("other-password");
        let there = there.build().await?;
        here.meet(&there);
        let urls = [here.listen("127.0.0.1:0").await?, there.listen("127.0.0.1:0").await?];
        Ok(Self { simulators: [here, there], urls, files })
    }

    /// Starts an example, against this pool or the other one.
    async fn tool(&self, name: &str, pool: usize, args: &[&str]) -> Result<Output> {
        let mut path = std::env::current_exe()?;
        path.pop();
        path.pop();
        let mut command = Command::new(path.join("examples").join(name));
        command.env_remove("RUST_LOG").env_remove("XENAPI_USER").env("XENAPI_URL", &self.urls[pool]);
        command.env("XENAPI_PASSWORD", ["a-password", "other-password"][pool]);
        Ok(command.args(args).arg("--json").stdin(std::process::Stdio::null()).output().await?)
    }

    /// The objects that it prints.
    async fn run(&self, name: &str, pool: usize, args: &[&str]) -> Result<Vec<Value>> {
        let output = self.tool(name, pool, args).await?;
        ensure!(output.status.success(), "{name} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        let objects = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
        objects.collect::<Result<_, _>>().context("the result is not JSON")
    }

    async fn migrate(&self, more: &[&str]) -> Result<Vec<Value>> {
        let password = self.files.path().join("there").display().to_string();
        let other = ["web1", "--pool", &self.urls[1], "--pool-password-file", &password];
        self.run("migrate", 0, &[&other, more].concat()).await
    }

    /// The names and states of the instances in either pool.
    async fn listed(&self) -> Result<[Vec<String>; 2]> {
        let mut all = [Vec::new(), Vec::new()];
        for (pool, found) in all.iter_mut().enumerate() {
            let rows = self.run("instances", pool, &["list"]).await?;
            let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
            let moved = |row: &Value| if row["moved"] == true { " (moved)" } else { "" };
            let told = |row: &Value| format!("{} {}{}", text(row, "name"), text(row, "state"), moved(row));
            found.extend(rows.iter().map(told));
        }
        Ok(all)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_goes_to_another_pool_and_back() -> Result<()> {
    let pools = Pools::new().await?;
    pools.run("spawn", 0, &["--name", "web1", "--flavor", "1:512:0", "--no-verify"]).await?;
    let running = || vec!["web1 Running".to_owned()];
    assert_eq!(pools.listed().await?, [running(), vec![]]);

    // The other pool's own password is what opens it.
    let wrong = pools.tool("migrate", 0, &["web1", "--pool", &pools.urls[1]]).await?;
    let told = String::from_utf8_lossy(&wrong.stdout).into_owned() + &String::from_utf8_lossy(&wrong.stderr);
    assert!(!wrong.status.success() && told.contains("cannot log in"), "{told}");
    assert!(!told.contains("a-password"), "{told}");
    let dry = pools.migrate(&["--dry-run"]).await?;
    assert!(dry[0]["would"].as_array().is_some_and(|steps| steps.len() >= 3), "{dry:?}");
    assert_eq!(pools.listed().await?, [running(), vec![]]);

    // Alive; that the log-out there fails changes nothing of it.
    let refusal = Failure::new("INTERNAL_ERROR", ["out of order"]);
    pools.simulators[1].faults().on_every("session.logout", Fault::Failure(refusal));
    let moved = pools.migrate(&[]).await?;
    pools.simulators[1].faults().clear();
    assert_eq!(moved[0]["disks"].as_object().map(serde_json::Map::len), Some(2), "{moved:?}");
    assert_eq!(pools.listed().await?, [vec![], running()]);
    pools.run("instances", 1, &["destroy", "web1"]).await?;

    // Cold, with a way back, and then for good.
    pools.run("spawn", 0, &["--name", "web1", "--flavor", "1:512:0", "--no-verify"]).await?;
    let moved = pools.migrate(&["--cold"]).await?;
    assert_eq!(moved[0]["state"], "Running, to be confirmed or reverted", "{moved:?}");
    assert_eq!(pools.listed().await?, [vec!["web1 Halted (moved)".to_owned()], running()]);
    let shown = pools.run("instances", 0, &["show", "web1"]).await?;
    assert_eq!((&shown[0]["state"], &shown[0]["moved"]), (&"Halted".into(), &true.into()), "{shown:?}");
    pools.migrate(&["--revert"]).await?;
    assert_eq!(pools.listed().await?, [running(), vec![]]);
    pools.migrate(&["--cold"]).await?;
    pools.migrate(&["--confirm"]).await?;
    assert_eq!(pools.listed().await?, [vec![], running()]);
    pools.run("instances", 1, &["destroy", "web1"]).await?;
    Ok(())
}
