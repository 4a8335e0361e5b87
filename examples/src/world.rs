//! Where the examples work: a real host, or a simulator in this process.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::time::timeout;
use xapi_simulator::core::Config as Behaviour;
use xapi_simulator::{Simulator, World as Pool};
use xenapi_client::{Client, Config, private_connect_fn};
use xenapi_driver::Driver;
use xenapi_driver::compatibility::Machine;

use crate::cli::{Common, Target};
use crate::demo_image::DemoImage;
use crate::guest_image;
use crate::options::Way;
use crate::report::{self, Said};
use crate::ui::Ui;

/// A whole program: opens the world, works in it in this way, ends it, and prints what came of it.
pub async fn program_as<T: Said>(
    common: &Common,
    way: impl FnOnce(&Ui) -> Result<Way>,
    work: impl AsyncFnOnce(&World, &Ui) -> Result<T>,
) -> ExitCode {
    report::log();
    let ui = Ui::new(common.json);
    let result = async {
        let world = World::open_as(common, way(&ui)?, &ui).await?;
        let result = work(&world, &ui).await;
        world.end(result, &ui).await
    };
    report::exit(result.await, common.json)
}

/// A driver, and the simulator behind it if there is no host.
pub struct World {
    driver: Driver,
    simulator: Option<Arc<Simulator>>,
    /// Whether guests really run on the simulator.
    boots: bool,
    scratch: TempDir,
}

impl World {
    /// Connects to the host that is named, or starts a simulator. For a dry run, its driver only tells.
    ///
    /// # Errors
    ///
    /// When the host cannot be reached, or the simulator's state cannot be used.
    pub async fn open(common: &Common, ui: &Ui) -> Result<Self> {
        Self::open_as(common, Way::default(), ui).await
    }

    /// As [`World::open`], in this way.
    ///
    /// # Errors
    ///
    /// Those of [`World::open`], and when the options do not fit where this program runs.
    pub async fn open_as(common: &Common, way: Way, ui: &Ui) -> Result<Self> {
        let mut world = Self::at_as(&common.target, way, ui).await?;
        if common.dry_run {
            world.driver = world.driver.rehearsing();
        }
        Ok(world)
    }

    /// As [`World::open`], for tools that change nothing.
    ///
    /// # Errors
    ///
    /// Those of [`World::open`].
    pub async fn at(target: &Target, ui: &Ui) -> Result<Self> {
        Self::at_as(target, Way::default(), ui).await
    }

    /// As [`World::at`], in this way.
    ///
    /// # Errors
    ///
    /// Those of [`World::open_as`].
    pub async fn at_as(target: &Target, way: Way, ui: &Ui) -> Result<Self> {
        let options = way.options.clone();
        let world = Self::start(target, way, ui).await?;
        match world.driver.check_options(&options, &Machine::default()).await {
            Ok(()) => Ok(world),
            Err(error) => world.end(Err(error), ui).await,
        }
    }

    async fn start(target: &Target, way: Way, ui: &Ui) -> Result<Self> {
        let scratch = tempfile::Builder::new()
            .prefix("xenapi-rs-")
            .tempdir()
            .context("no directory for temporary files can be made")?;
        if let Some(config) = target.config()? {
            let connecting = Driver::connect_as(way.limited(config), way.settings);
            let driver = match way.login_timeout {
                Some(most) => timeout(most, connecting).await.with_context(|| {
                    format!("the host does not let us in within the {} s of login_timeout", most.as_secs())
                })?,
                None => connecting.await,
            }?;
            return Ok(Self { driver, simulator: None, boots: false, scratch });
        }
        let state = target.simulator_state.clone().unwrap_or_else(|| scratch.path().join("state"));
        let notice = format!("no --url: simulating a pool, its state in {}", state.display());
        // Who has forgotten to name the pool must not take a simulated one for it.
        if target.is_meant() {
            ui.say(&notice);
        } else {
            ui.warn(&notice);
        }
        let behaviour = Behaviour { qemu: target.qemu(), ..Behaviour::default() };
        let boots = behaviour.qemu.is_some();
        let simulator = Simulator::builder().world(Pool::demo()).config(behaviour);
        let simulator = simulator.state_dir(&state).password("demo").build().await;
        let simulator =
            simulator.with_context(|| format!("no pool can be simulated in {}", state.display()))?;
        let simulator = Arc::new(simulator);
        let client = in_process(&simulator)?;
        let driver = Driver::over(client, way.settings);
        Ok(Self { driver, simulator: Some(simulator), boots, scratch })
    }

    /// The driver.
    pub fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Whether guests really run on the simulator.
    pub fn boots(&self) -> bool {
        self.boots
    }

    /// Another host, that is a pool of its own: the one that `target` names, or one that is simulated like this one.
    /// Its driver behaves like this one's.
    ///
    /// # Errors
    ///
    /// When it cannot be reached, and without `target` when this pool is not simulated.
    pub async fn newcomer(&self, target: Option<&Target>) -> Result<Driver> {
        if let Some(config) = target.map(Target::config).transpose()?.flatten() {
            return Ok(Driver::connect_as(config, self.driver.settings().clone()).await?);
        }
        let simulator =
            self.simulator.as_ref().context("this pool is not simulated: name the host that joins")?;
        let other = Simulator::builder().world(Pool::demo().elsewhere(2)).password("demo").build().await?;
        let other = Arc::new(other);
        simulator.meet(&other);
        Ok(Driver::over(in_process(&other)?, self.driver.settings().clone()))
    }

    /// The password that `target` was opened with.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn password(&self, target: &Target) -> Result<String> {
        if self.simulator.is_some() { Ok("demo".to_owned()) } else { target.password() }
    }

    /// Makes a small disk image in a directory that is removed in the end: one that boots where guests are run.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or one that boots cannot be made for want of packages.
    pub async fn demo_image(&self, ui: &Ui) -> Result<PathBuf> {
        let path = self.scratch.path().join("demo.img");
        if self.boots {
            ui.say("no --image: making a Linux guest of Debian's packages");
            let target = path.clone();
            tokio::task::spawn_blocking(move || guest_image::write(&target)).await??;
            return Ok(path);
        }
        ui.say("no --image: making a demo disk of 1 GiB");
        let target = path.clone();
        tokio::task::spawn_blocking(move || DemoImage::default().write(&target)).await??;
        Ok(path)
    }

    /// Waits for what is under way, logs out, keeps the simulator's state, and returns what came of the work.
    ///
    /// # Errors
    ///
    /// The work's own before anything else; else when the simulator's state cannot be written.
    pub async fn end<T, E: Into<anyhow::Error>>(self, result: Result<T, E>, ui: &Ui) -> Result<T> {
        if let Err(error) = self.driver.close().await {
            ui.warn(&format!("warning: {error}"));
        }
        let kept = self.simulator.as_ref().map_or(Ok(()), |simulator| simulator.shutdown());
        let value = result.map_err(Into::into)?;
        kept.context("the simulator's state cannot be kept")?;
        Ok(value)
    }
}

/// A client whose connections end in `simulator`, without a network between them.
fn in_process(simulator: &Arc<Simulator>) -> Result<Client> {
    let simulator = Arc::clone(simulator);
    let config = Config::new("http://simulator", "root", "demo")?;
    Ok(Client::over(
        config,
        private_connect_fn(move |endpoint| {
            let url = endpoint.to_string();
            let place = url.rsplit('/').next().and_then(|place| place.split(':').next());
            let connection = simulator.connect_to(place.unwrap_or_default());
            async move { Ok(connection) }
        }),
    )?)
}
