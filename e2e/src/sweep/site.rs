//! What a verb is done with, wherever the pool is: in the same process, or in that of a program that will be killed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;
use xenapi_driver::spec::InstanceSpec;
use xenapi_driver::{Driver, Operation, Progress, SpawnOptions, Which};

/// Where a verb is done, but for the pools.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Place {
    /// The folder of the files on our side.
    pub files: PathBuf,
    /// The uuid of our instance, there or not.
    pub instance: Uuid,
    /// The host that our instance is made on.
    pub home: Uuid,
    /// Another host and a repository of its own, for verbs that need one.
    pub elsewhere: Option<(Uuid, Uuid)>,
}

/// A place, and drivers of its pools.
#[derive(Debug)]
pub struct Site {
    /// Of the pool.
    pub driver: Driver,
    /// Of another pool, for the verb that needs one.
    pub there: Option<Driver>,
    place: Place,
    leftovers: Arc<AtomicUsize>,
    progress: Progress,
    cancel: watch::Sender<bool>,
}

impl Site {
    pub(super) fn new(
        driver: Driver,
        there: Option<Driver>,
        place: Place,
        leftovers: Arc<AtomicUsize>,
    ) -> Self {
        let (progress, cancel) = (Progress::none(), watch::Sender::new(false));
        Self { driver, there, place, leftovers, progress, cancel }
    }

    /// In a process of its own, which was told the place in a text.
    ///
    /// # Errors
    ///
    /// When the text is none that [`Place`] makes.
    pub fn told(driver: Driver, there: Option<Driver>, place: &str) -> Result<Self> {
        let place = serde_json::from_str(place).context("the place")?;
        Ok(Self::new(driver, there, place, Arc::default()))
    }

    /// The same, where what is done is told, and cancelled when `cancel` becomes true.
    #[must_use]
    pub(crate) fn watched(self, progress: Progress, cancel: watch::Sender<bool>) -> Self {
        Self { progress, cancel, ..self }
    }

    /// Who is told what is done.
    pub(crate) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Waits for the end of a verb, which is cancelled when that is asked for.
    pub(crate) async fn run<T>(&self, mut operation: Operation<T>) -> xenapi_driver::Result<T> {
        let mut cancel = self.cancel.subscribe();
        tokio::select! {
            biased;
            result = &mut operation => return result,
            // The sender is here.
            _ = cancel.wait_for(|cancel| *cancel) => {}
        }
        operation.cancel();
        operation.await
    }

    /// Our instance.
    pub fn which(&self) -> Which {
        Which::Instance(self.place.instance)
    }

    pub(crate) fn instance(&self) -> Uuid {
        self.place.instance
    }

    pub(crate) fn home(&self) -> Uuid {
        self.place.home
    }

    /// Where there are several hosts, the one to name.
    pub(super) fn node(&self) -> Option<Uuid> {
        self.place.elsewhere.map(|_| self.place.home)
    }

    pub(crate) fn elsewhere(&self) -> (Uuid, Uuid) {
        self.place.elsewhere.expect("a pool of two hosts")
    }

    /// The image to spawn from.
    pub(crate) fn image(&self) -> PathBuf {
        image(&self.place.files)
    }

    /// A disc to install from, as far as anybody looks.
    pub(crate) fn disc(&self) -> PathBuf {
        disc(&self.place.files)
    }

    /// Where files are written to.
    pub(crate) fn output(&self) -> PathBuf {
        output(&self.place.files)
    }

    /// Where it is noted which disk was imported.
    pub(crate) fn disk_note(&self) -> PathBuf {
        self.place.files.join(DISK_NOTE)
    }

    /// Makes an instance, as it is usually made.
    pub(super) async fn spawn(&self, spec: InstanceSpec) -> xenapi_driver::Result<()> {
        self.spawn_with(spec, SpawnOptions::default()).await
    }

    pub(super) async fn spawn_with(
        &self,
        spec: InstanceSpec,
        options: SpawnOptions,
    ) -> xenapi_driver::Result<()> {
        let options = SpawnOptions { progress: self.progress(), ..options };
        self.run(self.driver.spawn(spec, options)).await.map(drop)
    }

    /// Notes how many things the verb says that it could not remove, though it succeeded.
    pub(crate) fn note_leftovers(&self, count: usize) {
        self.leftovers.store(count, Ordering::Relaxed);
    }
}

/// The file in which it is noted which disk was imported.
pub(super) const DISK_NOTE: &str = "disk.uuid";

pub(crate) fn image(files: &Path) -> PathBuf {
    files.join("image.raw")
}

pub(crate) fn disc(files: &Path) -> PathBuf {
    files.join("disc.iso")
}

pub(crate) fn output(files: &Path) -> PathBuf {
    files.join("out.vhd")
}
