//! What is done about each finding.

use std::collections::BTreeMap;

use uuid::Uuid;
use xenapi_client::Client;
use xenapi_types::{Ref, Sr, Vdi, Vif, VifRecord, Vm, vdi};

use super::{Found, Kind, ORPHANED, Object, operation_of};
use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::Cause;
use crate::find::Which;
use crate::held::Held;
use crate::image_cache::{Cloning, lock};
use crate::job::{Job, heap};
use crate::node::drain;
use crate::ports::{self, Ports};
use crate::remove::{self, Dom0, gone_is_fine};
use crate::resize::{restore, restore::By};
use crate::volume::release::{self, Forgotten};
use crate::volume::{reach, swap};
use crate::{
    adopt, destroy, evacuate, half, interface, kernel, ledger, moving, network, pool_move, request, rescue,
    soft_delete,
};

/// Whether there was anything to do.
pub(super) async fn settle(job: &Job, found: &Found, stop: &Stop) -> Result<bool, Cause> {
    match (&found.object, found.finding.kind) {
        (Object::Sr(sr), Kind::UnusedRepository) => {
            let _gate = job.turn(&found.finding.uuid, stop).await?;
            repository(&job.driver, sr, &found.finding.to_string()).await
        }
        _ => object(job, found, stop).await.map(|()| true),
    }
}

/// One that is in use again is left as it is.
async fn repository(driver: &Driver, sr: &Ref<Sr>, doing: &str) -> Result<bool, Cause> {
    match release::forget_if_unused(driver, sr).await.map_err(Held::while_doing(doing))? {
        Forgotten::Gone => Ok(true),
        Forgotten::Used => Ok(false),
        Forgotten::KeptByDeadHost(host) => Err(Cause::HostDown { host }),
    }
}

async fn object(job: &Job, Found { finding, object, operation }: &Found, stop: &Stop) -> Result<(), Cause> {
    let (client, driver) = (job.client(), &job.driver);
    let patience = driver.settings().detach_timeout;
    let _gate = job.turn(&finding.uuid, stop).await?;
    let held = |done: Result<(), Held>| done.map_err(Held::while_doing(finding.to_string()));
    let settled = match (object, finding.kind) {
        (Object::Task(task), Kind::ForgottenTask) => gone_is_fine(client.destroy(task).await),
        (Object::Task(task), _) => return request::take_back(client, task, patience).await,
        (Object::Vm(vm), Kind::BrokenResize) => {
            return held(restore::revert(driver, vm, *operation, By::Reconciling).await);
        }
        (Object::Vm(vm), Kind::BrokenConfirmation) => {
            return held(restore::confirm(driver, vm, *operation, By::Reconciling).await.map(drop));
        }
        (Object::Vm(vm), Kind::BrokenMove) => {
            return held(pool_move::restore(driver, vm, *operation).await);
        }
        (Object::Rescued(vm, operation), _) => return held(rescue::end(driver, vm, *operation).await),
        (Object::Vm(_), Kind::BrokenDestruction) => {
            let which = Which::Instance(finding.uuid.parse().unwrap_or_default());
            return heap(|| destroy::body(job, &which, stop)).await.map(drop).map_err(|failed| failed.cause);
        }
        (Object::Vm(vm), Kind::BrokenSoftDeletion) => return held(soft_delete::complete(driver, vm).await),
        (Object::Vm(vm), Kind::BrokenAdoption) => return adopt::complete(job, vm).await,
        (Object::Vm(vm), Kind::BrokenEvacuation) => return evacuate::complete(job, vm).await,
        (Object::Vm(vm), Kind::BrokenMigration) => {
            return moving::settle(driver, None, vm).await.map(drop);
        }
        (Object::Vm(vm), Kind::Mark) => unmark_vm(client, vm, *operation).await,
        (Object::Vm(vm), _) => {
            if let Ok(record) = client.record(vm).await
                && let Some(instance) =
                    crate::find::made_for(&record.other_config, &record.uuid, &driver.settings().owner)
            {
                // As long as the VM is there, this can be tried again.
                Ports::of(driver, &record, ports::home(&record)).await?.down().await?;
                kernel::forget(client, &record, instance).await?;
            }
            return held(remove::vm(driver, vm).await);
        }
        (Object::Vdi(vdi), Kind::HeldDisk) => remove::detach_from_dom0(client, vdi, patience).await,
        (Object::Vdi(vdi), Kind::Mark) => unmark(client, vdi, *operation).await,
        (Object::Vdi(vdi), _) => remove::vdi(client, vdi, Dom0::Detach, patience).await,
        (Object::Vbd(vbd), Kind::BrokenSwap) => return held(swap::settle(driver, vbd).await),
        (Object::Vbd(vbd), _) => match client.record_opt(vbd).await {
            // Whoever has gone on with it has taken the mark away.
            Ok(now) if now.as_ref().is_none_or(|now| !is_still_half(&now.other_config, *operation)) => Ok(()),
            Ok(_) => return held(release::drive_of(driver, vbd, true).await),
            Err(error) => Err(error),
        },
        (Object::Vif(vif), _) => match client.record_opt(vif).await {
            Ok(now) if now.as_ref().is_none_or(|now| !is_still_half(&now.other_config, *operation)) => Ok(()),
            Ok(now) => return held(let_go(driver, vif, now.as_ref()).await),
            Err(error) => Err(error),
        },
        (Object::Sr(sr), _) => match finding.uuid.parse() {
            Ok(operation) => lock::give_up(client, sr, operation).await,
            Err(_) => Ok(()),
        },
        (Object::Pbd(pbd), _) => return held(reach::settle(driver, pbd).await),
        (Object::Host(host), _) => match finding.uuid.parse() {
            Ok(operation) => ledger::release(client, host, operation).await,
            Err(_) => Ok(()),
        },
        (Object::Drained(host, operations), _) => drain::give_up(driver, host, operations).await,
        (Object::Pool, _) => match finding.uuid.parse() {
            Ok(operation) => moving::arriving::clear(client, operation, patience).await,
            Err(_) => Ok(()),
        },
        (Object::Network(network), _) => network::remove(client, network).await,
        (Object::Secret, _) => match client.by_uuid_opt::<xenapi_types::Secret>(&finding.uuid).await {
            Ok(Some(secret)) => gone_is_fine(client.destroy(&secret).await),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        },
    };
    settled.map_err(Cause::host(finding.to_string()))
}

/// The bridges of an interface go first: as long as it is there, this can be tried again.
async fn let_go(driver: &Driver, vif: &Ref<Vif>, record: Option<&VifRecord>) -> Result<(), Held> {
    if let Some(record) = record
        && let Some(vm) = driver.client().record_opt(&record.vm).await?
    {
        Ports::for_one(driver, record, ports::home(&vm)).await?.down().await?;
    }
    interface::let_go(driver, vif).await
}

fn is_still_half(keys: &BTreeMap<String, String>, operation: Uuid) -> bool {
    half::by(keys, Some(operation)) == Some(operation)
}

/// Takes this operation's marks from a disk. Others have put theirs there in the meantime.
async fn unmark(client: &Client, vdi: &Ref<Vdi>, operation: Uuid) -> xenapi_client::Result<()> {
    let Some(record) = client.record_opt(vdi).await? else { return Ok(()) };
    let keys = &record.other_config;
    let is_mark = |key: &&String| match &***key {
        Cloning::KEY => Cloning::read(keys).is_none_or(|cloning| cloning.operation == operation),
        ORPHANED => true,
        key => operation_of(key) == Some(operation),
    };
    for key in keys.keys().filter(is_mark) {
        client.remove_from(vdi, vdi::field::OTHER_CONFIG, key.as_str()).await?;
    }
    Ok(())
}

async fn unmark_vm(client: &Client, vm: &Ref<Vm>, operation: Uuid) -> xenapi_client::Result<()> {
    let Some(record) = client.record_opt(vm).await? else { return Ok(()) };
    for key in record.other_config.keys().filter(|key| operation_of(key) == Some(operation)) {
        client.remove_from(vm, xenapi_types::vm::field::OTHER_CONFIG, key.as_str()).await?;
    }
    Ok(())
}
