//! Letting go of storage, so that it can be done twice and at any point.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;
use xenapi_client::{Client, Result};
use xenapi_storage::ownership::Claim;
use xenapi_types::{Pbd, Ref, Sr, SrRecord, Vbd, Vdi, Vm, VmPowerState, pbd, secret, sr, vbd};

use crate::remove::{gone_is_fine, tolerate};

/// Takes back what one operation attached: drives of the VM, then the repository, its connections, and the
/// passwords for it, as far as the operation made them.
pub(super) async fn operation(
    client: &Client,
    owner: &str,
    operation: Uuid,
    vm: &Ref<Vm>,
    sr_uuid: &str,
) -> Result<()> {
    if let Some(record) = client.record_opt(vm).await? {
        for reference in &record.vbds {
            let Some(drive) = client.record_opt(reference).await? else { continue };
            if made_by(&drive.other_config, operation) {
                drive_of(client, reference, record.power_state != VmPowerState::Halted).await?;
            }
        }
    }
    if let Some(reference) = client.by_uuid_opt::<Sr>(sr_uuid).await? {
        let Some(record) = client.record_opt(&reference).await? else { return Ok(()) };
        if made_by(&record.sm_config, operation) {
            forget_if_unused(client, owner, &reference).await?;
        } else {
            connections_of(client, &record, operation).await?;
        }
    }
    secrets(client, |keys| made_by(keys, operation)).await
}

/// Takes back the repositories, connections and passwords of one operation, whose VM is gone.
pub(super) async fn connections(client: &Client, owner: &str, operation: Uuid) -> Result<()> {
    for (reference, record) in client.all_records::<Sr>().await? {
        if made_by(&record.sm_config, operation) {
            forget_if_unused(client, owner, &reference).await?;
        } else {
            connections_of(client, &record, operation).await?;
        }
    }
    secrets(client, |keys| made_by(keys, operation)).await
}

async fn connections_of(client: &Client, sr: &SrRecord, operation: Uuid) -> Result<()> {
    for reference in &sr.pbds {
        let Some(connection) = client.record_opt(reference).await? else { continue };
        if made_by(&connection.other_config, operation) {
            disconnect(client, reference, connection.currently_attached).await?;
            gone_is_fine(client.destroy(reference).await)?;
        }
    }
    Ok(())
}

/// Unplugs a drive, if it may be plugged, and removes it. Its disk stays.
pub(crate) async fn drive_of(client: &Client, drive: &Ref<Vbd>, alive: bool) -> Result<()> {
    unplug(client, drive, alive).await?;
    gone_is_fine(client.destroy(drive).await)
}

async fn unplug(client: &Client, drive: &Ref<Vbd>, alive: bool) -> Result<()> {
    let attached = match client.record_opt(drive).await? {
        Some(record) => record.currently_attached,
        None => return Ok(()),
    };
    if alive && attached {
        tolerate(client.call(vbd::Unplug { vbd: drive.clone() }).await, &["DEVICE_ALREADY_DETACHED"])?;
    }
    Ok(())
}

/// Takes a volume's drive from a VM, and forgets the repository if nobody else uses it. The drive goes last: as
/// long as it is there, whoever asks once more knows what is to be forgotten.
pub(super) async fn volume(
    client: &Client,
    owner: &str,
    drive: &Ref<Vbd>,
    alive: bool,
    sr: &Ref<Sr>,
) -> Result<()> {
    unplug(client, drive, alive).await?;
    forget(client, owner, sr, Some(drive)).await?;
    gone_is_fine(client.destroy(drive).await)
}

/// Forgets a repository that this owner introduced, once no VM has a disk of it. Says whether it is gone.
pub(crate) async fn forget_if_unused(client: &Client, owner: &str, sr: &Ref<Sr>) -> Result<bool> {
    forget(client, owner, sr, None).await
}

async fn forget(client: &Client, owner: &str, sr: &Ref<Sr>, but_for: Option<&Ref<Vbd>>) -> Result<bool> {
    let Some(record) = client.record_opt(sr).await? else { return Ok(true) };
    if !introduced_by(&record, owner) || is_used(client, &record.vdis, but_for).await? {
        return Ok(false);
    }
    for reference in &record.pbds {
        let Some(connection) = client.record_opt(reference).await? else { continue };
        disconnect(client, reference, connection.currently_attached).await?;
        // Before the repository, which is all that knows of them.
        for (_, uuid) in connection.device_config.iter().filter(|(key, _)| key.ends_with("_secret")) {
            if let Some(password) = client.by_uuid_opt::<xenapi_types::Secret>(uuid).await? {
                gone_is_fine(client.destroy(&password).await)?;
            }
        }
    }
    gone_is_fine(client.call(sr::Forget { sr: sr.clone() }).await)?;
    Ok(true)
}

/// Whether a driver of this owner introduced the repository. The keys are in `sm_config`: `SR.introduce` takes
/// no `other_config`, and a mark that comes later can be lost.
pub(crate) fn introduced_by(sr: &SrRecord, owner: &str) -> bool {
    matches!(Claim::read(&sr.sm_config, &sr.uuid), Claim::Original(maker) if maker.owner == owner)
}

async fn is_used(client: &Client, vdis: &[Ref<Vdi>], but_for: Option<&Ref<Vbd>>) -> Result<bool> {
    for vdi in vdis {
        let record = client.record_opt(vdi).await?;
        if record.is_some_and(|vdi| vdi.vbds.iter().any(|drive| Some(drive) != but_for)) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn disconnect(client: &Client, connection: &Ref<Pbd>, attached: bool) -> Result<()> {
    if attached {
        gone_is_fine(client.call(pbd::Unplug { pbd: connection.clone() }).await)?;
    }
    Ok(())
}

/// Destroys the secrets whose keys are fit for it, and that no connection uses. Their values are not read.
pub(crate) async fn secrets(client: &Client, fit: impl Fn(&BTreeMap<String, String>) -> bool) -> Result<()> {
    let secrets = client.all::<xenapi_types::Secret>().await?;
    if secrets.is_empty() {
        return Ok(());
    }
    let configs = client.all_records::<Pbd>().await?.into_values().map(|pbd| pbd.device_config);
    let used: BTreeSet<String> =
        configs.flatten().filter(|(key, _)| key.ends_with("_secret")).map(|(_, uuid)| uuid).collect();
    for reference in secrets {
        let keys = match client.get_field(&reference, secret::field::OTHER_CONFIG).await {
            Err(error) if error.kind() == xenapi_client::ErrorKind::NotFound => continue,
            keys => keys?,
        };
        if fit(&keys) && !used.contains(&client.get_field(&reference, secret::field::UUID).await?) {
            gone_is_fine(client.destroy(&reference).await)?;
        }
    }
    Ok(())
}

pub(super) fn made_by(keys: &BTreeMap<String, String>, operation: Uuid) -> bool {
    keys.get(xenapi_storage::ownership::OPERATION).is_some_and(|value| *value == operation.to_string())
}
