//! What the program that is killed does, and what the tests expect of it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use xenapi_client::Secret;
use xenapi_driver::resize::ResizeOptions;
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec, Nic, SrChoice};
use xenapi_driver::volume::{AttachOptions, Iscsi, Storage, Volume, VolumeDisk};
use xenapi_driver::{Checks, Progress, Shutdown, SpawnOptions, Which};
use xenapi_types::{Task, TaskRecord, TaskStatusType};

use crate::pool::{LVM, NETWORK, Pool};

/// The iSCSI target, which has one LUN.
pub const PORTAL: &str = "192.0.2.1";
/// The target's name.
pub const IQN: &str = "iqn.2010-10.org.example:volume-1";
/// The password of its user `user`.
pub const CHAP: &str = "correct-horse";

/// The instance that is spawned from an image.
pub fn spec(image: &str) -> InstanceSpec {
    let mut spec = InstanceSpec::new("victim", Flavor::new(1, 512, 0), image);
    spec.nics = vec![Nic::on(NETWORK)];
    spec.config_drive = Some(ConfigDrive::default());
    spec
}

/// How it is spawned.
pub fn options(progress: Progress) -> SpawnOptions {
    SpawnOptions { checks: Checks::AllDisks, progress }
}

/// What an instance is resized to.
pub fn resize(progress: Progress) -> ResizeOptions {
    ResizeOptions {
        flavor: Some(Flavor::new(2, 1024, 1)),
        sr: Some(SrChoice::NameLabel(LVM.into())),
        shutdown: Shutdown::Hard,
        progress,
        ..ResizeOptions::default()
    }
}

/// What is attached to an instance.
///
/// # Errors
///
/// When the text is no uuid.
pub fn attachment(instance: &str, progress: Progress) -> Result<(Which, Volume, AttachOptions)> {
    let chap = Some(("user".to_owned(), Secret::new(CHAP)));
    let iscsi = Iscsi { portal: PORTAL.parse()?, iqn: IQN.into(), chap };
    let volume = Volume::new(Storage::Iscsi(iscsi), VolumeDisk::Lun(0));
    Ok((Which::Instance(instance.parse()?), volume, AttachOptions { progress, ..AttachOptions::default() }))
}

/// Starts the program, and kills it when it says that its `n`-th stage begins. Says whether it was over before.
///
/// # Errors
///
/// When it cannot be started.
pub async fn kill_at(mut program: Command, n: usize) -> Result<bool> {
    let mut child = program.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
    let mut over = false;
    for _ in 0..n {
        match lines.next_line().await? {
            Some(line) if line != "done" => {}
            _ => {
                over = true;
                break;
            }
        }
    }
    child.kill().await?;
    Ok(over)
}

/// Waits until the tasks that a dead program asked for are over, and removes their records.
///
/// # Errors
///
/// When the pool cannot be asked.
pub async fn forget_tasks(pool: &Pool) -> Result<()> {
    loop {
        let tasks = pool.client().all_records::<Task>().await?;
        let is_pending = |task: &TaskRecord| task.status == TaskStatusType::Pending;
        // Nobody ends the task of a transfer whose program is gone before it began.
        if tasks.values().all(|task| !is_pending(task) || !task.name_label.starts_with("Async.")) {
            for (task, record) in tasks {
                if is_pending(&record) {
                    // Nor is it ended by anybody else: XAPI collects it after a day.
                    let db = pool.simulator.core().db();
                    db.write(|tx| tx.set("task", &task.to_string(), "status", "cancelled"))?;
                }
                // XAPI removes the records of finished tasks by itself, some time later.
                pool.client().destroy(&task).await?;
            }
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
