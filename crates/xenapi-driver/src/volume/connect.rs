//! Making a repository usable on a host, and finding a disk in it.

use std::collections::BTreeMap;

use uuid::Uuid;
use xenapi_storage::ownership::{self, Claim, Ownership};
use xenapi_types::{Host, Pbd, PbdRecord, Ref, Sr, SrRecord, Vdi, VdiRecord, VdiType, pbd, secret, sr, vdi};

use super::release;
use super::source::{Remote, Storage, Volume, VolumeDisk};
use crate::cancel::Stop;
use crate::error::Cause;
use crate::job::Job;
use crate::remove::gone_is_fine;

/// The uuid of the repository: given, computed, or asked for at the server.
pub(super) async fn sr_uuid(
    job: &Job,
    storage: &Storage,
    host: &Ref<Host>,
    stop: &Stop,
) -> Result<String, Cause> {
    let Some(remote) = storage.remote() else {
        let Storage::Repository(uuid) = storage else { unreachable!("all others are remote") };
        return Ok(uuid.to_string());
    };
    if let Some(uuid) = remote.sr_uuid {
        return Ok(uuid.to_string());
    }
    let doing = format!("looking for storage repositories on {}", remote.label);
    let mut device_config = remote.device_config.clone();
    let password = password(job, &remote).await?;
    device_config.extend(password);
    let call =
        sr::Probe { host: host.clone(), device_config, r#type: remote.sr_type.into(), sm_config: None };
    let patience = job.driver.settings().storage_timeout;
    let answered = job.within(call, doing, patience, stop).await;
    release::secrets(job.client(), |keys| {
        keys.get(ownership::OPERATION).is_some_and(|value| *value == job.operation.to_string())
    })
    .await
    .map_err(Cause::host("removing the password of a probe"))?;
    let mut found = uuids_in(&answered?);
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => {
            Err(Cause::NoSuchVolume { wanted: "a repository".into(), place: remote.label, have: vec![] })
        }
        (Some(last), false) => {
            found.push(last);
            Err(Cause::NoSuchVolume {
                wanted: "the only repository".into(),
                place: remote.label,
                have: found,
            })
        }
    }
}

/// The texts in `<UUID>` elements of what `SR.probe` returns: an XML document, or, from the recent drivers, one
/// with other elements around it.
fn uuids_in(xml: &str) -> Vec<String> {
    let inside = xml.split("<UUID>").skip(1).filter_map(|rest| rest.split_once("</UUID>"));
    inside.map(|(uuid, _)| uuid.trim().to_owned()).filter(|uuid| uuid.parse::<Uuid>().is_ok()).collect()
}

/// Has the pool know the repository and the hosts use it. What is there already is used as it is; what is
/// made carries the operation's keys.
pub(super) async fn connect(
    job: &Job,
    storage: &Storage,
    uuid: &str,
    hosts: &[Ref<Host>],
    stop: &Stop,
) -> Result<(Ref<Sr>, SrRecord), Cause> {
    let remote = storage.remote();
    let client = job.client();
    let name = remote.as_ref().map_or_else(|| uuid.to_owned(), |remote| remote.label.clone());
    let doing = || format!("connecting storage repository {name:?}");
    let reference = match (client.by_uuid_opt::<Sr>(uuid).await.map_err(Cause::host(doing()))?, &remote) {
        (Some(reference), _) => reference,
        (None, Some(remote)) => introduce(job, remote, uuid, stop).await?,
        (None, None) => return Err(unknown_repository(job, uuid)),
    };
    let mut record = client.record(&reference).await.map_err(Cause::host(doing()))?;
    let mut connections: Vec<(Ref<Pbd>, PbdRecord)> = Vec::new();
    for pbd in &record.pbds {
        let found = client.record_opt(pbd).await.map_err(Cause::host(doing()))?;
        connections.extend(found.map(|found| (pbd.clone(), found)));
    }
    for host in hosts {
        let pbd = match (connections.iter().find(|(_, pbd)| pbd.host == *host), &remote) {
            (Some((_, pbd)), _) if pbd.currently_attached => continue,
            (Some((pbd, connection)), remote)
                if !has_old_password(job, &record, connection, remote.as_ref()) =>
            {
                pbd.clone()
            }
            (old, Some(remote)) => {
                stop.check()?;
                if let Some((pbd, connection)) = old {
                    let gone = async {
                        gone_is_fine(client.destroy(pbd).await)?;
                        release::passwords(client, release::passwords_of(connection)).await
                    };
                    gone.await.map_err(Cause::host(doing()))?;
                }
                let mut device_config = remote.device_config.clone();
                // XAPI removes a connection's secrets with it: each has one of its own.
                device_config.extend(password(job, remote).await?);
                let call = pbd::Create {
                    host: host.clone(),
                    sr: reference.clone(),
                    device_config,
                    other_config: keys(job),
                };
                client.call(call).await.map_err(Cause::host(doing()))?
            }
            (_, None) => {
                let host = client.record(host).await.map_err(Cause::host(doing()))?;
                return Err(Cause::NotConnected { sr: record.name_label, host: host.name_label });
            }
        };
        stop.check()?;
        job.within(pbd::Plug { pbd }, doing(), job.driver.settings().storage_timeout, stop).await?;
        record = client.record(&reference).await.map_err(Cause::host(doing()))?;
    }
    Ok((reference, record))
}

/// Whether a connection of ours that is not plugged may have a password that is none any more: that of today is given.
fn has_old_password(job: &Job, sr: &SrRecord, connection: &PbdRecord, remote: Option<&Remote<'_>>) -> bool {
    let is_ours = release::introduced_by(sr, &job.driver.settings().owner)
        && matches!(
            Claim::read(&connection.other_config, &connection.uuid),
            Claim::Original(maker) | Claim::Unsealed(maker) if maker.owner == job.driver.settings().owner
        );
    is_ours && remote.is_some_and(|remote| remote.password.is_some())
}

pub(super) fn unknown_repository(job: &Job, uuid: &str) -> Cause {
    let wanted = format!("storage repository {uuid}");
    Cause::NoSuchVolume { wanted, place: job.driver.endpoint(), have: vec![] }
}

async fn introduce(job: &Job, remote: &Remote<'_>, uuid: &str, stop: &Stop) -> Result<Ref<Sr>, Cause> {
    stop.check()?;
    let mut sm_config = keys(job);
    // The uuid is known beforehand, so that the mark is complete at once.
    sm_config.insert(ownership::SELF.to_owned(), uuid.to_owned());
    let call = sr::Introduce {
        uuid: uuid.to_owned(),
        name_label: remote.label.clone(),
        name_description: "introduced for volumes of instances".to_owned(),
        r#type: remote.sr_type.to_owned(),
        content_type: String::new(),
        shared: true,
        sm_config: Some(sm_config),
    };
    match job.client().call(call).await {
        Ok(reference) => Ok(reference),
        // Somebody else was faster.
        Err(error) if error.is("SR_UUID_EXISTS") => {
            let found = job.client().by_uuid::<Sr>(uuid).await;
            found.map_err(Cause::host(format!("looking for storage repository {uuid}")))
        }
        Err(error) => Err(Cause::host(format!("introducing storage repository {:?}", remote.label))(error)),
    }
}

/// The entry of `device_config` that names a new `secret` object with the password.
async fn password(job: &Job, remote: &Remote<'_>) -> Result<Option<(String, String)>, Cause> {
    let Some((key, password)) = remote.password else { return Ok(None) };
    let made = async {
        let call = secret::Create { value: password.expose().to_owned(), other_config: keys(job) };
        let secret = job.client().call(call).await?;
        job.client().get_field(&secret, secret::field::UUID).await
    };
    let uuid = made.await.map_err(Cause::host(format!("keeping the password for {}", remote.label)))?;
    Ok(Some((key.to_owned(), uuid)))
}

/// A repository, its connections and passwords serve all instances.
pub(super) fn keys(job: &Job) -> BTreeMap<String, String> {
    let owner = job.driver.settings().owner.clone();
    Ownership { owner, instance: Uuid::nil(), operation: job.operation }.keys()
}

/// The disk that is meant. One that does not show is looked for once more after a scan.
pub(super) async fn disk(
    job: &Job,
    volume: &Volume,
    sr: &Ref<Sr>,
    sr_name: &str,
    stop: &Stop,
) -> Result<(Ref<Vdi>, VdiRecord), Cause> {
    let doing = || format!("looking for {} in storage repository {sr_name:?}", volume.disk);
    for scanned in [false, true] {
        if scanned {
            let patience = job.driver.settings().storage_timeout;
            job.within(sr::Scan { sr: sr.clone() }, doing(), patience, stop).await?;
        }
        let disks = disks_of(job, sr).await.map_err(Cause::host(doing()))?;
        // What is not managed is a base copy, unless it is a LUN.
        let usable = disks.iter().filter(|(_, disk)| disk.managed || disk.sm_config.contains_key("LUNid"));
        let mut fitting = usable.filter(|(_, disk)| match volume.disk {
            VolumeDisk::Uuid(uuid) => disk.uuid == uuid.to_string(),
            VolumeDisk::Lun(lun) => disk.sm_config.get("LUNid").is_some_and(|id| *id == lun.to_string()),
            VolumeDisk::Only => !disk.is_a_snapshot,
        });
        match (fitting.next(), fitting.next()) {
            (Some((reference, record)), None) => return take_over(job, volume, sr, reference, record).await,
            (None, _) if !scanned => {}
            _ => {
                return Err(Cause::NoSuchVolume {
                    wanted: volume.disk.to_string(),
                    place: format!("storage repository {sr_name:?}"),
                    have: disks.into_iter().map(|(_, disk)| disk.uuid).collect(),
                });
            }
        }
    }
    unreachable!("the second round returns")
}

async fn disks_of(job: &Job, sr: &Ref<Sr>) -> xenapi_client::Result<Vec<(Ref<Vdi>, VdiRecord)>> {
    let query = xenapi_types::query::Query::eq("SR", sr.to_string())?;
    Ok(job.client().records_where::<Vdi>(&query).await?.into_iter().collect())
}

/// A LUN that nobody has used yet shows as a disk that is not managed: XAPI wants it introduced.
async fn take_over(
    job: &Job,
    volume: &Volume,
    sr: &Ref<Sr>,
    reference: &Ref<Vdi>,
    record: &VdiRecord,
) -> Result<(Ref<Vdi>, VdiRecord), Cause> {
    if record.managed {
        return Ok((reference.clone(), record.clone()));
    }
    let doing = || format!("taking over disk {}", record.uuid);
    let name_label = volume.id.clone().unwrap_or_else(|| record.uuid.clone());
    let call = vdi::Introduce {
        uuid: record.uuid.clone(),
        name_label,
        name_description: record.name_description.clone(),
        sr: sr.clone(),
        r#type: VdiType::User,
        sharable: volume.shared,
        read_only: record.read_only,
        other_config: record.other_config.clone(),
        location: record.location.clone(),
        xenstore_data: record.xenstore_data.clone(),
        sm_config: record.sm_config.clone(),
        managed: true,
        virtual_size: record.virtual_size,
        physical_utilisation: record.physical_utilisation,
        metadata_of_pool: Ref::NULL,
        is_a_snapshot: false,
        snapshot_time: record.snapshot_time.clone(),
        snapshot_of: Ref::NULL,
    };
    let client = job.client();
    let introduced = client.call(call).await.map_err(Cause::host(doing()))?;
    let record = client.record(&introduced).await.map_err(Cause::host(doing()))?;
    Ok((introduced, record))
}

#[cfg(test)]
mod tests {
    use super::uuids_in;

    #[test]
    fn what_a_probe_prints() {
        let one = "<?xml version=\"1.0\" ?>\n<SRlist>\n\t<SR>\n\t\t<UUID>\n\t\t\t\
                   0b5ba9a1-1a3b-4c83-8a4e-d5f3a3a7d1c5\n\t\t</UUID>\n\t</SR>\n</SRlist>\n";
        assert_eq!(uuids_in(one), ["0b5ba9a1-1a3b-4c83-8a4e-d5f3a3a7d1c5"]);
        for nothing in ["", "<SRlist/>", "<UUID>", "<UUID>not one</UUID>"] {
            assert!(uuids_in(nothing).is_empty(), "{nothing}");
        }
    }
}
