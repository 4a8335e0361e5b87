//! Letting go of storage, so that it can be done twice and at any point.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;
use xenapi_client::{Client, Result};
use xenapi_storage::ownership::Claim;
use xenapi_types::{
    Host, Pbd, PbdRecord, Ref, Sr, SrRecord, Vbd, Vdi, Vm, VmPowerState, host, pbd, secret, sr, vbd,
};

use crate::cancel::Stop;
use crate::driver::Driver;
use crate::held::{Held, tolerated};
use crate::inventory;
use crate::job;
use crate::remove::gone_is_fine;

/// Takes back what one operation attached: drives of the VM, then the repository, its connections, and the
/// passwords for it, as far as the operation made them.
pub(super) async fn operation(
    driver: &Driver,
    operation: Uuid,
    vm: &Ref<Vm>,
    sr_uuid: &str,
) -> Result<(), Held> {
    let client = driver.client();
    drives(driver, operation, vm).await?;
    if let Some(reference) = client.by_uuid_opt::<Sr>(sr_uuid).await? {
        let Some(record) = client.record_opt(&reference).await? else { return Ok(()) };
        if made_by(&record.sm_config, operation) {
            forget_if_unused(driver, &reference).await?;
        } else {
            connections_of(driver, &record, operation).await?;
        }
    }
    Ok(secrets(client, |keys| made_by(keys, operation)).await?)
}

/// Takes back the drives of the VM that one operation made.
pub(super) async fn drives(driver: &Driver, operation: Uuid, vm: &Ref<Vm>) -> Result<(), Held> {
    let client = driver.client();
    let Some(record) = client.record_opt(vm).await? else { return Ok(()) };
    for reference in &record.vbds {
        let Some(drive) = client.record_opt(reference).await? else { continue };
        if made_by(&drive.other_config, operation) {
            // What is given up may end well later: its mark tells what it is.
            drive_of(driver, reference, record.power_state != VmPowerState::Halted).await?;
        }
    }
    Ok(())
}

/// Takes back the repositories, connections and passwords of one operation, whose VM is gone.
pub(super) async fn connections(driver: &Driver, operation: Uuid) -> Result<(), Held> {
    let client = driver.client();
    for (reference, record) in client.all_records::<Sr>().await? {
        if made_by(&record.sm_config, operation) {
            forget_if_unused(driver, &reference).await?;
        } else {
            connections_of(driver, &record, operation).await?;
        }
    }
    Ok(secrets(client, |keys| made_by(keys, operation)).await?)
}

async fn connections_of(driver: &Driver, sr: &SrRecord, operation: Uuid) -> Result<(), Held> {
    let client = driver.client();
    for reference in &sr.pbds {
        let Some(connection) = client.record_opt(reference).await? else { continue };
        if made_by(&connection.other_config, operation) {
            disconnect(driver, reference, &connection, &Stop::new()).await?;
            gone_is_fine(client.destroy(reference).await)?;
        }
    }
    Ok(())
}

/// Unplugs a drive, if it may be plugged, and removes it. Its disk stays.
pub(crate) async fn drive_of(driver: &Driver, drive: &Ref<Vbd>, alive: bool) -> Result<(), Held> {
    unplug(driver, drive, alive, &Stop::new()).await?;
    let gone = gone_is_fine(driver.client().destroy(drive).await);
    if !gone.as_ref().is_err_and(|error| error.is("OPERATION_NOT_ALLOWED")) {
        return Ok(gone?);
    }
    // Its guest was started in between, and has it.
    unplug(driver, drive, true, &Stop::new()).await?;
    Ok(gone_is_fine(driver.client().destroy(drive).await)?)
}

/// Unplugs a drive, for no longer than a host may take to let go of a disk: one whose server is dead may take for ever.
pub(crate) async fn unplug(driver: &Driver, drive: &Ref<Vbd>, alive: bool, stop: &Stop) -> Result<(), Held> {
    let Some(record) = driver.client().record_opt(drive).await? else { return Ok(()) };
    if !alive || !record.currently_attached {
        return Ok(());
    }
    let doing = format!("unplugging device {} (VBD {})", record.userdevice, record.uuid);
    let patience = driver.settings().detach_timeout;
    let call = vbd::Unplug { vbd: drive.clone() };
    let unplugged = job::within(driver.client(), call, doing, patience, stop).await;
    tolerated(unplugged.map_err(Held::from), &["DEVICE_ALREADY_DETACHED"])
}

/// Plugs a drive, for as long as [`unplug`].
pub(crate) async fn plug(driver: &Driver, drive: &Ref<Vbd>, stop: &Stop) -> Result<(), Held> {
    let Some(record) = driver.client().record_opt(drive).await? else { return Ok(()) };
    let doing = format!("plugging device {} (VBD {})", record.userdevice, record.uuid);
    let patience = driver.settings().detach_timeout;
    let call = vbd::Plug { vbd: drive.clone() };
    let plugged = job::within(driver.client(), call, doing, patience, stop).await;
    tolerated(plugged.map_err(Held::from), &["DEVICE_ALREADY_ATTACHED"])
}

/// Takes a volume's drive from a VM, and forgets the repository if nobody else uses it. The drive goes last: as
/// long as it is there, whoever asks once more knows what is to be forgotten. It can be stopped as long as the drive is plugged.
pub(super) async fn volume(
    driver: &Driver,
    drive: &Ref<Vbd>,
    alive: bool,
    sr: &Ref<Sr>,
    stop: &Stop,
) -> Result<(), Held> {
    unplug(driver, drive, alive, stop).await?;
    forget(driver, sr, Some(drive)).await?;
    Ok(gone_is_fine(driver.client().destroy(drive).await)?)
}

/// What became of a repository that was to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Forgotten {
    /// Nobody knows it any more.
    Gone,
    /// Somebody has a disk of it, or has introduced it for himself.
    Used,
    /// The host of this name is dead, so that nobody can have it let go of its connection. All is as it was.
    KeptByDeadHost(String),
}

/// Forgets a repository that this owner introduced, once no VM has a disk of it.
pub(crate) async fn forget_if_unused(driver: &Driver, sr: &Ref<Sr>) -> Result<Forgotten, Held> {
    forget(driver, sr, None).await
}

async fn forget(driver: &Driver, sr: &Ref<Sr>, but_for: Option<&Ref<Vbd>>) -> Result<Forgotten, Held> {
    let (client, owner) = (driver.client(), &driver.settings().owner);
    let Some(record) = client.record_opt(sr).await? else { return Ok(Forgotten::Gone) };
    if !introduced_by(&record, owner) || is_used(client, &record.vdis, but_for).await? {
        return Ok(Forgotten::Used);
    }
    let (mut plugged, mut passwords) = (Vec::new(), BTreeSet::new());
    for reference in &record.pbds {
        let Some(connection) = client.record_opt(reference).await? else { continue };
        if let Err(error) = disconnect(driver, reference, &connection, &Stop::new()).await {
            // A guest of another host may need it until all let go.
            if let Err(error) = connect_again(driver, &plugged).await {
                tracing::warn!(%error, sr = record.uuid, "a host is left without its connection");
            }
            // Reconciling forgets the repository later.
            return match is_dead(client, &connection.host).await? {
                true => Ok(Forgotten::KeptByDeadHost(name_of(client, &connection.host).await)),
                false => Err(error),
            };
        }
        if connection.currently_attached {
            plugged.push(reference);
        }
        passwords.extend(passwords_of(&connection));
    }
    // Somebody who attaches a disk of it to a VM that is off has found it connected.
    let vdis = client.record_opt(sr).await?.map(|record| record.vdis).unwrap_or_default();
    if is_used(client, &vdis, but_for).await? {
        connect_again(driver, &plugged).await?;
        return Ok(Forgotten::Used);
    }
    gone_is_fine(client.call(sr::Forget { sr: sr.clone() }).await)?;
    // Not before: a connection without its password could never be plugged again. Whoever reconciles finds them, too.
    self::passwords(client, passwords).await?;
    Ok(Forgotten::Gone)
}

/// Uuids of the secrets that a connection has.
pub(super) fn passwords_of(connection: &PbdRecord) -> BTreeSet<String> {
    let secrets = connection.device_config.iter().filter(|(key, _)| key.ends_with("_secret"));
    secrets.map(|(_, uuid)| uuid.clone()).collect()
}

/// Destroys secrets, whose connection is gone.
pub(super) async fn passwords(client: &Client, uuids: BTreeSet<String>) -> Result<()> {
    for uuid in uuids {
        if let Some(password) = client.by_uuid_opt::<xenapi_types::Secret>(&uuid).await? {
            gone_is_fine(client.destroy(&password).await)?;
        }
    }
    Ok(())
}

/// Whether the pool has given up a host.
async fn is_dead(client: &Client, host: &Ref<Host>) -> Result<bool> {
    let metrics = client.get_field(host, host::field::METRICS).await?;
    inventory::is_dead(client, &metrics).await
}

/// The name of a host, or its reference if nobody can be asked for it.
async fn name_of(client: &Client, host: &Ref<Host>) -> String {
    client.get_field(host, host::field::NAME_LABEL).await.unwrap_or_else(|_| host.to_string())
}

async fn connect_again(driver: &Driver, pbds: &[&Ref<Pbd>]) -> Result<(), Held> {
    for pbd in pbds {
        let (doing, patience) = ("connecting it once more".to_owned(), driver.settings().storage_timeout);
        let call = pbd::Plug { pbd: (*pbd).clone() };
        job::within(driver.client(), call, doing, patience, &Stop::new()).await?;
    }
    Ok(())
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

/// Unplugs a connection, for no longer than a storage server may take to answer.
pub(super) async fn disconnect(
    driver: &Driver,
    reference: &Ref<Pbd>,
    connection: &PbdRecord,
    stop: &Stop,
) -> Result<(), Held> {
    if !connection.currently_attached {
        return Ok(());
    }
    let sr = driver.client().get_field(&connection.sr, sr::field::NAME_LABEL).await.unwrap_or_default();
    let doing = format!("disconnecting storage repository {sr:?} (PBD {})", connection.uuid);
    let patience = driver.settings().storage_timeout;
    let call = pbd::Unplug { pbd: reference.clone() };
    let unplugged = job::within(driver.client(), call, doing, patience, stop).await;
    tolerated(unplugged.map_err(Held::from), &[])
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
