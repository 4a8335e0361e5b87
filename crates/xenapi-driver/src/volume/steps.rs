//! What attaching a volume would do, told instead of done.

use xenapi_types::{Host, Ref, Sr, VmRecord};

use super::source::{Storage, Volume};
use super::{connect, hosts_of};
use crate::error::Cause;
use crate::job::Job;

/// The steps of an attachment, as far as they can be known without asking the storage server: the first is about the
/// repository, the last about the VM.
pub(super) async fn attaching(job: &Job, vm: &VmRecord, volume: &Volume) -> Result<Vec<String>, Cause> {
    let hosts = hosts_of(job, vm).await?;
    if hosts.is_empty() {
        return Err(Cause::NoHost);
    }
    let storage = connecting(job, &volume.storage, &hosts).await?;
    let id = volume.id.clone().unwrap_or_else(|| volume.disk.to_string());
    Ok(vec![storage, format!("attach volume {id:?} to VM {}", vm.uuid)])
}

async fn connecting(job: &Job, storage: &Storage, hosts: &[Ref<Host>]) -> Result<String, Cause> {
    let doing = || Cause::host("looking for the repository of a volume");
    let remote = storage.remote();
    let uuid = match (storage, &remote) {
        (Storage::Repository(uuid), _) => Some(*uuid),
        (_, Some(remote)) => remote.sr_uuid,
        (_, None) => None,
    };
    let found = match uuid {
        Some(uuid) => job.client().by_uuid_opt::<Sr>(&uuid.to_string()).await.map_err(doing())?,
        None => None,
    };
    let name =
        remote.as_ref().map_or_else(|| format!("{:?}", uuid.unwrap_or_default()), |it| it.label.clone());
    let Some(sr) = found else {
        return match remote {
            Some(_) => Ok(format!("find {name}, introduce it unless the pool knows it, and connect it")),
            None => Err(connect::unknown_repository(job, &name)),
        };
    };
    let record = job.client().record(&sr).await.map_err(doing())?;
    let mut unplugged = 0;
    for host in hosts {
        let mut plugged = false;
        for pbd in &record.pbds {
            let pbd = job.client().record_opt(pbd).await.map_err(doing())?;
            plugged |= pbd.is_some_and(|pbd| pbd.host == *host && pbd.currently_attached);
        }
        unplugged += usize::from(!plugged);
    }
    Ok(match unplugged {
        0 => format!("use storage repository {:?}, which is connected", record.name_label),
        hosts => format!("connect storage repository {:?} on {hosts} hosts", record.name_label),
    })
}
