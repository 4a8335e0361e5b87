//! Whether a pool is as it should be after a kill and reconciling.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use xenapi_driver::Progress;
use xenapi_driver::reconcile::ReconcileOptions;

use super::stage::Stage;
use crate::pool::Pool;
use crate::sweep::beside;
use crate::sweep::outcome::{self, Found};
use crate::sweep::portrait::Portrait;
use crate::sweep::scene::Scene;
use crate::sweep::verb::Step;

impl Stage {
    /// Makes sure that everything is as before the verb, or as after it, and says whether it is the latter.
    pub(super) async fn judge(&self) -> Result<bool> {
        for pool in self.pools() {
            nothing_to_do(pool).await?;
        }
        self.scene.look_at_the_foreign_instance().await?;
        let mut left = outcome::left_in_dom0(&self.scene).await?;
        left.retain(|what| !outcome::is_last_word(what));
        ensure!(left.is_empty(), "in dom0: {left:#?}");
        let now = Self::look(&self.scene).await?;
        let (before, after) = (now.against(&self.before), now.against(&self.after));
        match (before.is_empty(), after.is_empty()) {
            (true, _) => Ok(false),
            (false, true) => Ok(true),
            _ if self.is_emptied(&now) => Ok(true),
            _ if self.is_half_plugged(&now) || self.forget_files(&before)? => Ok(false),
            (false, false) => bail!("neither as before {before:#?} nor as after {after:#?}"),
        }
    }

    /// The portrait, with what there is of ports in the control domains.
    pub(super) async fn look(scene: &Scene) -> Result<Portrait> {
        Ok(Portrait::of(scene).await?.and(scene.port_files()?))
    }

    /// A drain that broke off: what has moved stays where it is, and the host takes guests again.
    fn is_emptied(&self, now: &Portrait) -> bool {
        let [(hosts, others), (before, _), (_, after)] =
            [now, &self.before, &self.after].map(Portrait::hosts_apart);
        self.verb.act == Step::Drain && hosts == before && others == after
    }

    /// The verbs on a single port are repeated by whoever began them: nothing in XAPI tells of them. Until then, a part of
    /// the bridges may be there, and nothing else.
    fn is_half_plugged(&self, now: &Portrait) -> bool {
        let whole = if self.verb.act == Step::PlugPort { &self.after } else { &self.before };
        let of_port = |line: &String| line.contains("of a port ");
        matches!(self.verb.act, Step::PlugPort | Step::UnplugPort)
            && now.against(whole).iter().all(|line| line.starts_with('-') && of_port(line))
    }

    /// Removes files on our side that are whole, if there is nothing else that was not there before: what stays in the
    /// pool is told there after the file is complete.
    fn forget_files(&self, changes: &[String]) -> Result<bool> {
        let whole =
            |change: &String| change.strip_prefix("+file ")?.strip_suffix(", whole").map(str::to_owned);
        let files: Option<Vec<_>> = changes.iter().map(whole).collect();
        for file in files.iter().flatten() {
            fs::remove_file(self.scene.files.path().join(file))?;
        }
        Ok(files.is_some())
    }

    /// All that there is can be removed, and then nothing of ours is left.
    pub(super) async fn end(&self) -> Result<()> {
        let mut found = Found::default();
        if matches!(self.verb.act, Step::EnsureNetwork | Step::RemoveNetwork) {
            Step::RemoveNetwork.run(&self.scene).await?;
        }
        if self.verb.act == Step::PlugPort {
            Step::UnplugPort.run(&self.scene).await?;
        }
        beside::remove_disks(&self.scene).await?;
        if let Some((there, bare)) = &self.scene.there {
            there.driver.destroy(self.scene.which(), Progress::none()).await?;
            found.leaks.extend(there.census().await?.changes_since(bare));
        }
        outcome::removed(&self.scene, self.verb, &mut found).await?;
        let wrong: Vec<_> = found.leaks.into_iter().chain(found.wrong).collect();
        ensure!(wrong.is_empty(), "in the end: {wrong:#?}");
        Ok(())
    }

    /// The verb can be done where it was undone.
    pub(super) async fn again(&self) -> Result<()> {
        self.verb.act.run(&self.scene).await.context("once more, and not killed")?;
        let complete = self.judge().await.context("once more, and not killed")?;
        ensure!(complete || self.before == *self.after, "nothing was done, and no error said so");
        self.end().await
    }
}

async fn nothing_to_do(pool: &Pool) -> Result<()> {
    let options = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
    let again = pool.driver.reconcile(options).await.context("reconciling once more")?;
    ensure!(again.done.is_empty() && again.leftovers.is_empty(), "reconciled once more: {again:?}");
    Ok(())
}
