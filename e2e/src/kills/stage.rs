//! A pool on a port, and the program that is killed.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::{Child, Command};
use xapi_simulator::fault::Fault;
use xenapi_driver::InstanceInfo;
use xenapi_types::{Task, TaskStatusType};

use super::{Kill, Moment, Outcome};
use crate::pool::PASSWORD;
use crate::sweep::scene::Scene;
use crate::sweep::verb::Verb;

/// So slow that a transfer can be killed in the middle of it.
const BYTES_PER_SECOND: u64 = 64 << 20;

pub(super) struct Stage {
    pub(super) scene: Scene,
    pub(super) verb: &'static Verb,
    /// The instance and its root disk before the verb, if there is one.
    pub(super) before: Option<(InstanceInfo, String)>,
    url: String,
    victim: PathBuf,
}

impl Stage {
    pub(super) async fn set(verb: &'static Verb, victim: &Path) -> Result<Self> {
        let scene = Scene::set(verb).await?;
        let url = scene.pool.simulator.listen("127.0.0.1:0").await?;
        let mut stage = Self { scene, verb, before: None, url, victim: victim.to_owned() };
        if !verb.prepare.is_empty() {
            stage.before = Some(stage.instance().await?);
        }
        Ok(stage)
    }

    fn start(&self, verb: &str) -> Result<Child> {
        let mut command = Command::new(&self.victim);
        command.args([&self.url, PASSWORD, verb]);
        match verb {
            "spawn" => command.arg(self.scene.image()),
            "reconcile" => command.arg("all"),
            _ => command.arg(self.scene.instance.to_string()),
        };
        command.arg(self.scene.output()).stdout(Stdio::piped()).kill_on_drop(true);
        command.spawn().with_context(|| self.victim.display().to_string())
    }

    /// The calls of the verb, in order.
    pub(super) async fn calls(&self) -> Result<Vec<String>> {
        self.scene.faults().record();
        let output = self.start(self.verb.name)?.wait_with_output().await?;
        ensure!(output.status.success(), "{}", output.status);
        Ok(self.scene.faults().recorded())
    }

    /// Kills the verb, reconciles, and looks at everything.
    pub(super) async fn killed_at(&self, kill: &Kill) -> Result<Outcome> {
        self.scene.pool.simulator.link().set_bandwidth(Some(BYTES_PER_SECOND));
        let killed = self.kill(kill).await?;
        self.scene.pool.simulator.link().set_bandwidth(None);
        self.quiet().await?;
        let findings = self.reconcile().await?;
        let complete = self.judge().await.with_context(|| format!("reconciled: {findings:?}"))?;
        Ok(Outcome { killed, complete, findings: findings.len() })
    }

    async fn kill(&self, kill: &Kill) -> Result<bool> {
        let faults = self.scene.faults();
        let mut struck = faults.struck();
        let fault = match kill.moment {
            Moment::Before => Fault::Hang,
            Moment::After => Fault::Silence,
            Moment::Later(_) => Fault::Slow(std::time::Duration::ZERO),
        };
        faults.on_nth(&kill.target, kill.k, fault);
        let mut child = self.start(self.verb.name)?;
        let killed = tokio::select! {
            changed = struck.changed() => {
                changed?;
                if let Moment::Later(delay) = kill.moment {
                    tokio::time::sleep(delay).await;
                }
                let alive = child.try_wait()?.is_none();
                child.kill().await?;
                alive
            }
            status = child.wait() => {
                ensure!(status?.success(), "it failed by itself");
                false
            }
        };
        faults.clear();
        Ok(killed)
    }

    /// Has a new program put the pool in order, which says what it did.
    async fn reconcile(&self) -> Result<Vec<String>> {
        let output = self.start("reconcile")?.wait_with_output().await?;
        ensure!(output.status.success(), "reconciling: {}", output.status);
        let text = String::from_utf8(output.stdout)?;
        let findings = text.lines().filter_map(|line| line.strip_prefix("reconciled: "));
        Ok(findings.map(str::to_owned).collect())
    }

    /// What the dead program had asked for goes on for a while: calls that are served later than their connection
    /// lives, and tasks. XAPI ends and removes tasks that nobody looks after by itself, a day later.
    async fn quiet(&self) -> Result<()> {
        self.scene.pool.simulator.connections().count().wait_for(|count| count.open == 0).await?;
        let client = self.scene.pool.client();
        loop {
            let tasks = client.all_records::<Task>().await?;
            let is_pending = |task: &xenapi_types::TaskRecord| task.status == TaskStatusType::Pending;
            if tasks.values().any(|task| is_pending(task) && task.name_label.starts_with("Async.")) {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                continue;
            }
            for (task, record) in tasks {
                if is_pending(&record) {
                    // By XAPI itself: old releases have no call for it.
                    let db = self.scene.pool.simulator.core().db();
                    let ended = db.write(|tx| tx.set("task", &task.to_string(), "status", "cancelled"));
                    ended.map_err(|failure| anyhow::anyhow!("{failure}"))?;
                }
                client.destroy(&task).await?;
            }
            return Ok(());
        }
    }
}
