//! A pool on a port, and the program that is killed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use tokio::process::{Child, Command};
use xapi_simulator::fault::Fault;

use super::{Kill, Moment, Outcome};
use crate::pool::{PASSWORD, Pool};
use crate::sweep::portrait::Portrait;
use crate::sweep::scene::Scene;
use crate::sweep::verb::Verb;
use crate::victim;

/// So slow that a transfer can be killed in the middle of it.
const BYTES_PER_SECOND: u64 = 64 << 20;

pub(super) struct Stage {
    pub(super) scene: Scene,
    pub(super) verb: &'static Verb,
    /// What everything looks like before the verb …
    pub(super) before: Portrait,
    /// … and after it.
    pub(super) after: Arc<Portrait>,
    urls: Vec<String>,
    victim: PathBuf,
}

/// What a verb does when nobody kills it.
pub(super) struct Whole {
    /// What it calls and transfers.
    pub(super) calls: Vec<String>,
    pub(super) after: Arc<Portrait>,
}

impl Whole {
    /// Lets the verb run to its end.
    pub(super) async fn of(verb: &'static Verb, victim: &Path) -> Result<Self> {
        let mut stage = Stage::set(verb, victim, None).await?;
        stage.scene.record();
        let output = stage.start("sweep")?.wait_with_output().await?;
        ensure!(output.status.success(), "{}", output.status);
        let calls = stage.scene.recorded();
        stage.quiet().await?;
        stage.after = Arc::new(Stage::look(&stage.scene).await?);
        stage.judge().await?;
        stage.end().await?;
        Ok(Self { calls, after: stage.after })
    }
}

impl Stage {
    pub(super) async fn set(verb: &'static Verb, victim: &Path, whole: Option<&Whole>) -> Result<Self> {
        let scene = Scene::set(verb).await?;
        let before = Self::look(&scene).await?;
        let after = whole.map_or_else(|| Arc::new(before.clone()), |whole| Arc::clone(&whole.after));
        let mut stage = Self { scene, verb, before, after, urls: Vec::new(), victim: victim.to_owned() };
        let mut urls = Vec::new();
        for pool in stage.pools() {
            let listening = pool.simulator.listen_pool("127.0.0.1:0").await?;
            urls.push(listening.first().context("a master")?.url.clone());
        }
        stage.urls = urls;
        Ok(stage)
    }

    pub(super) fn pools(&self) -> Vec<&Pool> {
        [&self.scene.pool].into_iter().chain(self.scene.there.as_ref().map(|(there, _)| there)).collect()
    }

    fn start(&self, verb: &str) -> Result<Child> {
        let mut command = Command::new(&self.victim);
        command.args([&self.urls[0], PASSWORD, verb, self.verb.name]);
        command.arg(serde_json::to_string(&self.scene.place())?).args(&self.urls[1..]);
        command.stdout(Stdio::piped()).kill_on_drop(true);
        command.spawn().with_context(|| self.victim.display().to_string())
    }

    /// Kills the verb, reconciles, and looks at everything.
    pub(super) async fn killed_at(&self, kill: &Kill) -> Result<Outcome> {
        self.slow(Some(BYTES_PER_SECOND));
        let killed = self.kill(kill).await?;
        self.slow(None);
        self.quiet().await?;
        let findings = self.reconcile().await?;
        let complete = self.judge().await.with_context(|| format!("reconciled: {findings:?}"))?;
        Ok(Outcome { killed, complete, findings: findings.len() })
    }

    fn slow(&self, bytes_per_second: Option<u64>) {
        for pool in self.pools() {
            pool.simulator.link().set_bandwidth(bytes_per_second);
        }
    }

    async fn kill(&self, kill: &Kill) -> Result<bool> {
        let (faults, target) = self.scene.faults_at(&kill.target);
        let mut struck = faults.struck();
        let fault = match kill.moment {
            Moment::Before => Fault::Hang,
            Moment::After => Fault::Silence,
            Moment::Later(_) => Fault::Slow(std::time::Duration::ZERO),
        };
        faults.on_nth(target, kill.k, fault);
        let mut child = self.start("sweep")?;
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

    /// Has a new program put the pools in order, which says what it did.
    async fn reconcile(&self) -> Result<Vec<String>> {
        let output = self.start("reconcile")?.wait_with_output().await?;
        ensure!(output.status.success(), "reconciling: {}", output.status);
        let text = String::from_utf8(output.stdout)?;
        let findings = text.lines().filter_map(|line| line.strip_prefix("reconciled: "));
        Ok(findings.map(str::to_owned).collect())
    }

    /// What the dead program had asked for goes on for a while: calls that are served later than their connection
    /// lives, and tasks. XAPI ends and removes tasks that nobody looks after by itself, a day later.
    pub(super) async fn quiet(&self) -> Result<()> {
        for pool in self.pools() {
            pool.simulator.connections().count().wait_for(|count| count.open == 0).await?;
            victim::forget_tasks(pool).await?;
        }
        Ok(())
    }
}
