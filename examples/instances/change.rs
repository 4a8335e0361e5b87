//! What becomes of an instance.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clap::{Subcommand, ValueEnum};
use examples::cli;
use examples::hosts;
use examples::options::Options;
use examples::table::Table;
use examples::ui::Ui;
use examples::world::World;
use uuid::Uuid;
use xenapi_driver::evacuate::EvacuateOptions;
use xenapi_driver::rescue::RescueOptions;
use xenapi_driver::resize::{OldDisks, RebuildOptions, ResizeOptions};
use xenapi_driver::spec::{Flavor, SrChoice};
use xenapi_driver::{LiveUpdate, PowerChange, Shutdown, Which};

use crate::new_root::{NewDriveArgs, NewRoot};

#[derive(Debug, Subcommand)]
pub(crate) enum Change {
    /// Bring an instance into a power state.
    Power {
        instance: String,
        state: State,
        /// Do not ask the guest. Without this it has a minute, or for a reboot what the option reboot_timeout says.
        #[arg(long)]
        hard: bool,
    },
    /// Give an instance another size, host or repository; confirm or revert it afterwards.
    Resize {
        instance: String,
        /// m1.small, or vcpus:memory_mib:root_gib.
        #[arg(long)]
        flavor: Option<Flavor>,
        /// Uuid of the host it is to be on.
        #[arg(long, value_name = "UUID")]
        node: Option<Uuid>,
        /// Name or uuid of the repository its disks are to be in.
        #[arg(long, value_name = "NAME|UUID")]
        sr: Option<String>,
        /// A disk, by uuid, and the repository that it is to be in, instead of --sr; may be given several times.
        #[arg(long, value_name = "UUID=NAME|UUID", value_parser = cli::key_value)]
        disk: Vec<(String, String)>,
        /// Do not ask the guest to shut down: without this it has a minute.
        #[arg(long)]
        hard: bool,
        #[command(flatten)]
        drive: NewDriveArgs,
    },
    /// Keep the new size.
    Confirm { instance: String },
    /// Have the old size again.
    Revert { instance: String },
    /// Boot an instance from a rescue disk.
    Rescue {
        instance: String,
        /// Name or uuid of the repository that the rescue disk goes to; the pool's default one otherwise.
        #[arg(long, value_name = "NAME|UUID")]
        sr: Option<String>,
        #[command(flatten)]
        root: NewRoot,
    },
    /// End a rescue.
    Unrescue { instance: String },
    /// Give an instance a new root disk from an image. Its other disks, its volumes, interfaces and its uuid stay.
    Rebuild {
        instance: String,
        #[command(flatten)]
        root: NewRoot,
    },
    /// Start an instance of a host that is dead on another one, if that reaches its disks.
    Evacuate {
        instance: String,
        /// Name or uuid of the other host.
        #[arg(long, value_name = "NAME|UUID")]
        to: String,
        #[command(flatten)]
        drive: NewDriveArgs,
    },
    /// Switch an instance off and keep it from being started, to be restored or destroyed later.
    SoftDelete { instance: String },
    /// Let an instance that was soft-deleted be started again.
    Restore { instance: String },
    /// Change an instance's metadata, as its guest finds it in xenstore.
    Metadata {
        instance: String,
        /// A key to set (KEY=VALUE) or to remove (KEY).
        #[arg(required = true, value_name = "KEY[=VALUE]")]
        changes: Vec<String>,
    },
    /// Compare an instance's config drive with what was written to it.
    CheckDrive { instance: String },
    /// Remove an instance with its disks.
    Destroy { instance: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    On,
    Off,
    Reboot,
    Pause,
    Unpause,
    Suspend,
    Resume,
}

impl Change {
    pub(crate) fn instance(&self) -> &str {
        match self {
            Self::Power { instance, .. }
            | Self::Resize { instance, .. }
            | Self::Confirm { instance }
            | Self::Revert { instance }
            | Self::Rescue { instance, .. }
            | Self::Unrescue { instance }
            | Self::Rebuild { instance, .. }
            | Self::Evacuate { instance, .. }
            | Self::SoftDelete { instance }
            | Self::Restore { instance }
            | Self::Metadata { instance, .. }
            | Self::CheckDrive { instance }
            | Self::Destroy { instance } => instance,
        }
    }

    /// Sees that every option means something.
    ///
    /// # Errors
    ///
    /// With the one that does not.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Resize { drive, .. } | Self::Evacuate { drive, .. } => drive.check(),
            Self::Rescue { root, .. } | Self::Rebuild { root, .. } => root.drive.check(),
            _ => Ok(()),
        }
    }

    /// Changes an instance, and says what it is then.
    pub(crate) async fn run(&self, options: &Options, world: &World, ui: &Ui) -> Result<Table> {
        let (driver, which) = (world.driver(), Which::parse(self.instance()));
        ui.begin();
        let progress = ui.progress();
        let state = match self {
            Self::Power { state, hard, .. } => {
                let state = driver.power(which, power(*state, *hard, options)?, progress);
                ui.until_interrupted(state).await?.to_string()
            }
            Self::Resize { .. } => self.resize(options, world, ui).await?,
            Self::Confirm { .. } => {
                let old = ui.until_interrupted(driver.confirm_resize(which, progress)).await?;
                with_kept("confirmed", &old)
            }
            Self::Revert { .. } => {
                ui.until_interrupted(driver.revert_resize(which, progress)).await?;
                "reverted".to_owned()
            }
            Self::Rescue { sr, root, .. } => self.rescue(sr.as_deref(), root, options, world, ui).await?,
            Self::Unrescue { .. } => {
                ui.until_interrupted(driver.unrescue(which, progress)).await?;
                "itself again".to_owned()
            }
            Self::Rebuild { root, .. } => self.rebuild(root, options, world, ui).await?,
            Self::Evacuate { to, drive, .. } => {
                let (node, config_drive) = (hosts::find(driver, to).await?, drive.drive(options)?);
                let evacuate = EvacuateOptions { node, config_drive, progress };
                ui.until_interrupted(driver.evacuate(which, evacuate)).await?;
                format!("started on {to}")
            }
            Self::SoftDelete { .. } => {
                ui.until_interrupted(driver.soft_delete(which, progress)).await?;
                "soft-deleted: restore it, or destroy it".to_owned()
            }
            Self::Restore { .. } => {
                ui.until_interrupted(driver.restore(which, progress)).await?;
                "restored: it can be started".to_owned()
            }
            Self::Metadata { changes, .. } => {
                let changed = driver.change_metadata(which, metadata(changes), progress);
                match ui.until_interrupted(changed).await? {
                    LiveUpdate::Written => "the guest finds it now",
                    LiveUpdate::NotRunning => "the guest finds it when it is started",
                    _ => "the guest finds it after its next boot: the host has no plugin for more",
                }
                .to_owned()
            }
            Self::CheckDrive { .. } => {
                ui.until_interrupted(driver.check_config_drive(which, progress)).await?;
                "the config drive is what was written".to_owned()
            }
            Self::Destroy { .. } => {
                ui.until_interrupted(driver.destroy(which, progress)).await?;
                "gone".to_owned()
            }
        };
        Ok(crate::state(self.instance(), &state))
    }

    async fn resize(&self, options: &Options, world: &World, ui: &Ui) -> Result<String> {
        let Self::Resize { instance, flavor, node, sr, disk, hard, drive } = self else { unreachable!() };
        let wanted = ResizeOptions {
            flavor: flavor.clone(),
            node: *node,
            sr: sr.clone().map(SrChoice::Named),
            disks: cli::disks(disk),
            config_drive: drive.drive(options)?,
            shutdown: if *hard { Shutdown::Hard } else { Shutdown::NOVA },
            progress: ui.progress(),
        };
        let resizing = world.driver().resize(Which::parse(instance), wanted);
        Ok(format!("{}, to be confirmed or reverted", ui.until_interrupted(resizing).await?.power_state))
    }

    async fn rescue(
        &self,
        sr: Option<&str>,
        root: &NewRoot,
        options: &Options,
        world: &World,
        ui: &Ui,
    ) -> Result<String> {
        let mut wanted = RescueOptions::with(root.image()?);
        wanted.sr = sr.map_or(wanted.sr, |sr| SrChoice::Named(sr.to_owned()));
        (wanted.image_format, wanted.config_drive) = (root.format(), root.drive.drive(options)?);
        (wanted.shutdown, wanted.progress) = (shutdown(root), ui.progress());
        ui.until_interrupted(world.driver().rescue(Which::parse(self.instance()), wanted)).await?;
        Ok("rescued".to_owned())
    }

    async fn rebuild(&self, root: &NewRoot, options: &Options, world: &World, ui: &Ui) -> Result<String> {
        let mut wanted = RebuildOptions::with(root.image()?);
        (wanted.image_format, wanted.config_drive) = (root.format(), root.drive.drive(options)?);
        (wanted.shutdown, wanted.progress) = (shutdown(root), ui.progress());
        let old = ui.until_interrupted(world.driver().rebuild(Which::parse(self.instance()), wanted)).await?;
        Ok(with_kept("rebuilt", &old))
    }
}

/// What was done, and which of the old disks are still there.
fn with_kept(done: &str, old: &OldDisks) -> String {
    let kept = old.kept.iter().map(|(disk, why)| format!("; disk {disk} stays: {why}"));
    [done.to_owned()].into_iter().chain(kept).collect()
}

fn shutdown(root: &NewRoot) -> Shutdown {
    if root.clean { Shutdown::NOVA } else { Shutdown::Hard }
}

fn metadata(changes: &[String]) -> BTreeMap<String, Option<String>> {
    let change = |text: &String| match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (text.clone(), None),
    };
    changes.iter().map(change).collect()
}

fn power(state: State, hard: bool, options: &Options) -> Result<PowerChange> {
    let shutdown = match state {
        _ if hard => Shutdown::Hard,
        State::Reboot => options.reboot()?,
        _ => Shutdown::NOVA,
    };
    let change = match state {
        State::On => PowerChange::On,
        State::Off => PowerChange::Off(shutdown),
        State::Reboot => PowerChange::Reboot(shutdown),
        State::Pause => PowerChange::Pause,
        State::Unpause => PowerChange::Unpause,
        State::Suspend => PowerChange::Suspend,
        State::Resume => PowerChange::Resume,
    };
    if hard && !matches!(state, State::Off | State::Reboot) {
        bail!("only off and reboot can be --hard");
    }
    Ok(change)
}
