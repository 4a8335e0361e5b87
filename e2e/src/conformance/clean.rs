//! Taking away what checks have made.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xenapi_client::Client;
use xenapi_types::{
    Cls, Message, Network, Sr, Task, TaskStatusType, Vbd, Vdi, Vif, Vm, VmPowerState, message, pbd, sr, task,
    vbd, vif, vm,
};
use xenapi_wire::{DateTime, Ref};

use super::lab::{Lab, TAG, is_gone};
use super::session::LogOut;

/// How long storage is given to let go of a disk.
const PATIENCE: Duration = Duration::from_secs(120);

/// Something that a check has made.
pub(super) enum Made {
    Vm(Ref<Vm>),
    Vdi(Ref<Vdi>),
    Vbd(Ref<Vbd>),
    Vif(Ref<Vif>),
    Network(Ref<Network>),
    Sr(Ref<Sr>),
    Task(Ref<Task>),
    Message(Ref<Message>),
    /// What is told of the VM with this uuid, which may be gone.
    MessagesOf(String),
    Session(Client),
    BareSession(String),
}

impl Lab {
    /// Takes away what the check has made, the last first, whatever goes wrong on the way.
    ///
    /// # Errors
    /// What could not be taken away.
    pub(super) async fn clean(&self) -> Result<()> {
        let mut first_error = Ok(());
        loop {
            let Some(made) = self.made().pop() else { return first_error };
            if let Err(error) = made.remove(&self.client).await {
                first_error = first_error.and(Err(error));
            }
        }
    }
}

impl Made {
    async fn remove(self, client: &Client) -> Result<()> {
        match self {
            Self::Vm(vm) => remove_vm(client, &vm).await.with_context(|| format!("VM {vm} is left")),
            Self::Vdi(vdi) => remove_vdi(client, &vdi).await.with_context(|| format!("VDI {vdi} is left")),
            Self::Vbd(vbd) => remove_vbd(client, &vbd).await.with_context(|| format!("VBD {vbd} is left")),
            Self::Vif(vif) => remove_vif(client, &vif).await.with_context(|| format!("VIF {vif} is left")),
            Self::Network(network) => {
                gone(client.destroy(&network).await).with_context(|| format!("network {network} is left"))
            }
            Self::Sr(sr) => remove_sr(client, &sr).await.with_context(|| format!("SR {sr} is left")),
            Self::Task(task) => {
                remove_task(client, &task).await.with_context(|| format!("task {task} is left"))
            }
            Self::Message(message) => {
                gone(client.destroy(&message).await).with_context(|| format!("message {message} is left"))
            }
            Self::MessagesOf(uuid) => remove_messages(client, uuid).await.context("messages are left"),
            Self::Session(session) => match session.close().await {
                Err(error) if !error.is("SESSION_INVALID") => Err(error).context("a session is left"),
                _ => Ok(()),
            },
            Self::BareSession(session) => match client.call(LogOut(vec![session])).await {
                Err(error) if !error.is("SESSION_INVALID") => Err(error).context("a session is left"),
                _ => Ok(()),
            },
        }
    }
}

/// That a call succeeded, or came too late.
fn gone(result: xenapi_client::Result<()>) -> Result<()> {
    match result {
        Err(error) if !is_gone(&error) => Err(error.into()),
        _ => Ok(()),
    }
}

async fn remove_vm(client: &Client, vm: &Ref<Vm>) -> Result<()> {
    let Some(record) = client.record_opt(vm).await? else { return Ok(()) };
    if !record.blocked_operations.is_empty() {
        client.set_field(vm, vm::field::BLOCKED_OPERATIONS, BTreeMap::new()).await?;
    }
    if record.power_state != VmPowerState::Halted && !record.is_a_snapshot {
        let shutdown = client.call(vm::HardShutdown { vm: vm.clone() }).await;
        if let Err(error) = shutdown
            && !error.is("VM_BAD_POWER_STATE")
        {
            return Err(error.into());
        }
    }
    for snapshot in &record.snapshots {
        Box::pin(remove_vm(client, snapshot)).await?;
    }
    // Clones, snapshots and suspended guests have disks that no check knows by name.
    let mut disks = vec![record.suspend_vdi];
    for vbd in &record.vbds {
        disks.extend(client.record_opt(vbd).await?.map(|vbd| vbd.vdi));
    }
    gone(client.destroy(vm).await)?;
    for disk in disks {
        let Some(disk_record) = client.record_opt(&disk).await? else { continue };
        if disk_record.other_config.contains_key(TAG) && disk_record.vbds.is_empty() {
            remove_vdi(client, &disk).await?;
        }
    }
    remove_messages(client, record.uuid).await
}

/// They outlive the VM that they are about.
async fn remove_messages(client: &Client, vm_uuid: String) -> Result<()> {
    let messages = message::Get { cls: Cls::Vm, obj_uuid: vm_uuid, since: DateTime::epoch() };
    for message in client.call(messages).await?.into_keys() {
        gone(client.destroy(&message).await)?;
    }
    Ok(())
}

/// Destroys a disk, its snapshots and what attaches it. Storage may need a while to let go of it.
async fn remove_vdi(client: &Client, vdi: &Ref<Vdi>) -> Result<()> {
    let Some(record) = client.record_opt(vdi).await? else { return Ok(()) };
    for snapshot in &record.snapshots {
        Box::pin(remove_vdi(client, snapshot)).await?;
    }
    patiently(|| async {
        // XAPI's own attachments to dom0 go away by themselves.
        for vbd in client.record_opt(vdi).await?.map(|record| record.vbds).unwrap_or_default() {
            if client.record_opt(&vbd).await?.is_some_and(|record| record.other_config.contains_key(TAG)) {
                remove_vbd(client, &vbd).await?;
            }
        }
        gone(client.destroy(vdi).await)
    })
    .await
}

async fn remove_vbd(client: &Client, vbd: &Ref<Vbd>) -> Result<()> {
    let Some(record) = client.record_opt(vbd).await? else { return Ok(()) };
    if record.currently_attached {
        let unplugged = client.call(vbd::Unplug { vbd: vbd.clone() }).await;
        if let Err(error) = unplugged
            && !error.is("DEVICE_ALREADY_DETACHED")
            && !is_gone(&error)
        {
            // A guest's devices can be taken away only with the guest.
            client.call(vm::HardShutdown { vm: record.vm }).await.with_context(|| error.to_string())?;
        }
    }
    gone(client.destroy(vbd).await)
}

async fn remove_vif(client: &Client, vif: &Ref<Vif>) -> Result<()> {
    let Some(record) = client.record_opt(vif).await? else { return Ok(()) };
    if record.currently_attached {
        client.call(vif::Unplug { vif: vif.clone() }).await?;
    }
    gone(client.destroy(vif).await)
}

async fn remove_sr(client: &Client, sr: &Ref<Sr>) -> Result<()> {
    let Some(record) = client.record_opt(sr).await? else { return Ok(()) };
    for pbd in &record.pbds {
        gone(client.call(pbd::Unplug { pbd: pbd.clone() }).await)?;
    }
    gone(client.call(sr::Forget { sr: sr.clone() }).await)
}

async fn remove_task(client: &Client, task: &Ref<Task>) -> Result<()> {
    let Some(record) = client.record_opt(task).await? else { return Ok(()) };
    if matches!(record.status, TaskStatusType::Pending | TaskStatusType::Cancelling) {
        // XAPI keeps a pending task that is destroyed.
        let end = task::SetStatus { task: task.clone(), value: TaskStatusType::Cancelled };
        gone(client.call(end).await)?;
    }
    gone(client.destroy(task).await)
}

/// Tries again while something is still busy with the object.
async fn patiently<F: Future<Output = Result<()>>>(mut attempt: impl FnMut() -> F) -> Result<()> {
    let begin = Instant::now();
    loop {
        let result = attempt().await;
        let is_busy = result.as_ref().err().and_then(|e| e.downcast_ref()).is_some_and(is_busy);
        if !is_busy || begin.elapsed() > PATIENCE {
            return result;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

fn is_busy(error: &xenapi_client::Error) -> bool {
    error.is("VDI_IN_USE") || error.is("OTHER_OPERATION_IN_PROGRESS")
}

/// Takes away whatever bears the mark of a run and is still there: objects whose reference was lost
/// with an answer, or that XAPI made by itself. Gives back their names.
pub(super) async fn sweep(client: &Client, run: &str) -> Result<Vec<String>> {
    let is_ours = |config: &BTreeMap<String, String>| config.get(TAG).is_some_and(|value| value == run);
    let mut found = Vec::new();
    for (vm, record) in client.all_records::<Vm>().await? {
        if is_ours(&record.other_config) {
            found.push(format!("VM {} {:?}", record.uuid, record.name_label));
            Made::Vm(vm).remove(client).await?;
        }
    }
    for (vdi, record) in client.all_records::<Vdi>().await? {
        if is_ours(&record.other_config) {
            found.push(format!("VDI {} {:?}", record.uuid, record.name_label));
            Made::Vdi(vdi).remove(client).await?;
        }
    }
    for (sr, record) in client.all_records::<Sr>().await? {
        if is_ours(&record.other_config) {
            found.push(format!("SR {} {:?}", record.uuid, record.name_label));
            Made::Sr(sr).remove(client).await?;
        }
    }
    for (network, record) in client.all_records::<Network>().await? {
        if is_ours(&record.other_config) {
            found.push(format!("network {} {:?}", record.uuid, record.name_label));
            Made::Network(network).remove(client).await?;
        }
    }
    for (task, record) in client.all_records::<Task>().await? {
        if record.name_label.contains(&format!("{TAG} {run} ")) {
            found.push(format!("task {} {:?}", record.uuid, record.name_label));
            Made::Task(task).remove(client).await?;
        }
    }
    Ok(found)
}
