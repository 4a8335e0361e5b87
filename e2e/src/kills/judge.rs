//! Whether a pool is as it should be after a kill and reconciling.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xenapi_client::ExportFormat;
use xenapi_driver::reconcile::ReconcileOptions;
use xenapi_driver::resize::ResizeState;
use xenapi_driver::{InstanceInfo, Progress, Which};
use xenapi_types::{Vbd, Vm};

use super::stage::Stage;
use crate::pool::Census;
use crate::sweep::{outcome, verb};

impl Stage {
    /// Takes back what is complete, and says whether anything was.
    pub(super) async fn judge(&self) -> Result<bool> {
        let complete = match self.verb.name {
            "spawn" => self.spawned().await?,
            "resize" => self.resized().await?,
            _ => self.saved()?,
        };
        let pool = &self.scene.pool;
        let again = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
        let again = pool.driver.reconcile(again).await.context("reconciling once more")?;
        ensure!(again.done.is_empty() && again.leftovers.is_empty(), "the second time: {:?}", again.done);
        let census = pool.census().await?;
        ensure!(census.tasks.is_empty(), "{:?}", census.tasks);
        match &self.before {
            None => {
                let changes = census.changes_since(&self.scene.before);
                ensure!(changes.is_empty(), "{changes:?}");
            }
            Some(before) => {
                ensure!(self.instance().await? == *before, "the instance is another: {before:?}");
                let now = self.counts(census).await?;
                let then = self.counts(self.scene.before.clone()).await?;
                ensure!(now == then, "{now:?} instead of {then:?}");
            }
        }
        self.scene.look_at_the_foreign_instance().await?;
        Ok(complete)
    }

    async fn spawned(&self) -> Result<bool> {
        let driver = &self.scene.pool.driver;
        let all = driver.instances().await?;
        let Some(info) = all.first() else { return Ok(false) };
        ensure!(!info.unfinished && all.len() == 1, "{all:?}");
        driver.destroy(Which::Instance(info.uuid), Progress::none()).await?;
        Ok(true)
    }

    async fn resized(&self) -> Result<bool> {
        let driver = &self.scene.pool.driver;
        let info = driver.instance(&self.scene.which()).await?;
        if info.resize != Some(ResizeState::Done) {
            return Ok(false);
        }
        driver.revert_resize(self.scene.which(), Progress::none()).await?;
        Ok(true)
    }

    /// Nothing but what was there, or a whole image.
    fn saved(&self) -> Result<bool> {
        let output = self.scene.output();
        let complete = output.exists();
        if complete {
            let whole = self.verb.name == "upload" || verb::is_whole_vhd(&output)?;
            ensure!(whole, "the file is not whole");
            fs::remove_file(&output)?;
        }
        let names: Vec<_> = fs::read_dir(self.scene.files.path())?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<Result<_>>()?;
        ensure!(names == ["image.raw"], "files are left: {names:?}");
        Ok(complete)
    }

    /// The instance, and what is on its root disk.
    pub(super) async fn instance(&self) -> Result<(InstanceInfo, String)> {
        let client = self.scene.pool.client();
        let info = self.scene.pool.driver.instance(&self.scene.which()).await?;
        let vm = client.by_uuid::<Vm>(&info.vm_uuid).await?;
        let mut root = None;
        for vbd in client.record(&vm).await?.vbds {
            root = Some(client.record::<Vbd>(&vbd).await?).filter(|vbd| vbd.userdevice == "0").or(root);
        }
        let mut export =
            client.export_vdi(&root.context("a root disk")?.vdi, ExportFormat::Raw, None).await?;
        let mut digest = 0_u64;
        while let Some(chunk) = export.chunk().await? {
            // FNV: all that is asked is whether it is the same.
            digest = chunk
                .iter()
                .fold(digest, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3));
        }
        export.finish().await?;
        Ok((info, format!("{digest:016x}")))
    }

    /// How many objects there are of each class. Drives are made anew when a resize is taken back, so that references
    /// differ; what belongs to a domain comes and goes with it.
    async fn counts(&self, census: Census) -> Result<BTreeMap<String, usize>> {
        let passing = ["VM_guest_metrics", "console"];
        let visible = outcome::visible(&self.scene, census).await?;
        let mut counts: BTreeMap<String, usize> =
            visible.objects.into_iter().map(|(class, all)| (class, all.len())).collect();
        counts.retain(|class, _| !passing.contains(&class.as_str()));
        Ok(counts)
    }
}
