//! The hosts themselves: what they have, whether they take guests, and their maintenance.

pub(crate) mod drain;
mod pci;

use std::time::Duration;

use uuid::Uuid;
use xenapi_types::{Host, HostMetrics, HostRecord, Pbd, Ref, Sr, Vdi, Vm, VmRecord, host};

pub use drain::{DrainOptions, Drained};
pub use pci::{PciDevice, PciOffer, PciUser};

use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::{Cause, Error, Op, Result};
use crate::inventory::{self, GpuInfo, Node};
use crate::job::Job;
use crate::operation::Operation;
use crate::progress::{Progress, Stage};

/// What there is to know of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// The host.
    pub node: Node,
    /// Its name on the network.
    pub hostname: String,
    /// Whether the pool hears of it.
    pub live: bool,
    /// All of its memory in bytes.
    pub memory_total_bytes: u64,
    /// The processor's model.
    pub cpu_model: String,
    /// Number of its processors' sockets.
    pub cpu_sockets: u32,
    /// Virtual CPUs of the guests that are there.
    pub vcpus_used: u32,
    /// Guests that are there, those of others too.
    pub guests: u32,
    /// For how long it has been up, if it says so.
    pub uptime: Option<Duration>,
    /// The GPUs that guests may be given, in the order of their addresses.
    pub gpus: Vec<GpuInfo>,
    /// Its storage, network and display controllers, in the order of their addresses.
    pub pci: Vec<PciDevice>,
    /// What guests it can run, as it says: `hvm-3.0-x86_64`.
    pub capabilities: Vec<String>,
    /// The repositories that it is connected to, in the order of their names.
    pub storage: Vec<StorageInfo>,
}

/// A repository, as placement needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StorageInfo {
    /// Its uuid.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Its type.
    pub sr_type: String,
    /// Whether other hosts have it too.
    pub shared: bool,
    /// Its size in bytes, if it is known.
    pub total_bytes: Option<u64>,
    /// What is in use, in bytes.
    pub used_bytes: u64,
    /// What its disks would take if they were full, in bytes.
    pub allocated_bytes: u64,
}

impl Driver {
    /// What there is to know of the node with this uuid.
    ///
    /// # Errors
    ///
    /// When there is none, or the pool cannot be asked.
    pub async fn node(&self, node: Uuid) -> Result<NodeInfo> {
        let job = Job::new(self.clone(), Progress::none());
        let read = async {
            let (reference, record) = host(&job, node).await?;
            info(&job, &reference, record).await
        };
        read.await.map_err(|cause: Cause| Error::new(Op::Node, format!("node {node}"), Stage::Find, cause))
    }

    /// Has a host take new guests, or not; those that are there stay. It can be repeated. What a drain that broke off would
    /// have taken back is settled with it.
    ///
    /// # Errors
    ///
    /// [`Cause::Host`].
    pub fn set_node_enabled(&self, node: Uuid, enabled: bool, progress: Progress) -> Operation<()> {
        self.verb(Op::Node, format!("node {node}"), progress, move |job, stop| {
            Box::pin(async move {
                let (reference, record) = job.stage(Stage::Find, host(job, node)).await?;
                job.stage(Stage::Power, set_enabled(job, &reference, &record, enabled, stop)).await?;
                job.stage(Stage::Power, drain::decided(job, &reference, &record)).await
            })
        })
    }

    /// Reboots a host that takes no guests and has none.
    ///
    /// # Errors
    ///
    /// [`Cause::NodeBusy`] before anything is done; [`Cause::Host`].
    pub fn reboot_node(&self, node: Uuid, progress: Progress) -> Operation<()> {
        self.down(node, true, progress)
    }

    /// Switches a host off that takes no guests and has none.
    ///
    /// # Errors
    ///
    /// As [`Driver::reboot_node`].
    pub fn shutdown_node(&self, node: Uuid, progress: Progress) -> Operation<()> {
        self.down(node, false, progress)
    }

    fn down(&self, node: Uuid, again: bool, progress: Progress) -> Operation<()> {
        self.verb(Op::Node, format!("node {node}"), progress, move |job, stop| {
            Box::pin(async move {
                let (reference, record) = job.stage(Stage::Find, host(job, node)).await?;
                let going = async {
                    let busy = |why| Cause::NodeBusy { host: record.name_label.clone(), why };
                    if record.enabled {
                        return Err(busy("it takes guests; disable it"));
                    }
                    if !guests(job, &reference).await?.is_empty() {
                        return Err(busy("guests are there; drain it"));
                    }
                    let host = reference.clone();
                    job.would(|| {
                        let verb = if again { "reboot" } else { "switch off" };
                        vec![format!("{verb} host {:?}", record.name_label)]
                    })?;
                    stop.check()?;
                    let doing = format!("bringing host {:?} down", record.name_label);
                    match again {
                        true => job.run(host::Reboot { host }, doing, Stage::Power, stop).await,
                        false => job.run(host::Shutdown { host }, doing, Stage::Power, stop).await,
                    }
                };
                job.stage(Stage::Power, going).await
            })
        })
    }
}

pub(crate) async fn host(job: &Job, node: Uuid) -> std::result::Result<(Ref<Host>, HostRecord), Cause> {
    let read = async {
        let reference = job.client().by_uuid::<Host>(&node.to_string()).await?;
        let record = job.client().record(&reference).await?;
        Ok((reference, record))
    };
    read.await.map_err(Cause::host("reading the host"))
}

async fn guests(job: &Job, host: &Ref<Host>) -> std::result::Result<Vec<(Ref<Vm>, VmRecord)>, Cause> {
    let vms = job.client().all_records::<Vm>().await.map_err(Cause::host("reading the VMs"))?;
    let here = |(_, vm): &(Ref<Vm>, VmRecord)| vm.resident_on == *host && !vm.is_control_domain;
    Ok(vms.into_iter().filter(here).collect())
}

async fn set_enabled(
    job: &Job,
    host: &Ref<Host>,
    record: &HostRecord,
    enabled: bool,
    stop: &Stop,
) -> std::result::Result<(), Cause> {
    if record.enabled == enabled {
        return Ok(());
    }
    job.would(|| {
        let verb = if enabled { "have it take new guests" } else { "have it take no new guests" };
        vec![format!("{verb}: host {:?}", record.name_label)]
    })?;
    stop.check()?;
    let (client, host) = (job.client(), host.clone());
    let done = match enabled {
        true => client.call(host::Enable { host }).await,
        false => client.call(host::Disable { host, auto_enable: None }).await,
    };
    done.map_err(Cause::host(format!("changing whether host {:?} takes guests", record.name_label)))
}

async fn info(job: &Job, reference: &Ref<Host>, record: HostRecord) -> std::result::Result<NodeInfo, Cause> {
    let client = job.client();
    let nodes = inventory::read_nodes(&job.driver).await?;
    let node = nodes.into_iter().find(|node| node.reference == *reference).ok_or(Cause::NoHost)?;
    let guests = guests(job, reference).await?;
    let doing = || Cause::host(format!("reading host {:?}", record.name_label));
    let metrics = client.record_opt::<HostMetrics>(&record.metrics).await.map_err(doing())?;
    let now = client.call(host::GetServertime { host: reference.clone() }).await.map_err(doing())?;
    let number = |key: &str| record.cpu_info.get(key).and_then(|value| value.parse().ok()).unwrap_or(0);
    let bytes = |n: i64| u64::try_from(n).unwrap_or(0);
    Ok(NodeInfo {
        hostname: record.hostname.clone(),
        live: metrics.as_ref().is_none_or(|metrics| metrics.live),
        memory_total_bytes: metrics.map_or(0, |metrics| bytes(metrics.memory_total)),
        cpu_model: record.cpu_info.get("modelname").cloned().unwrap_or_default(),
        cpu_sockets: number("socket_count"),
        vcpus_used: guests.iter().map(|(_, vm)| u32::try_from(vm.vcpus_max).unwrap_or(0)).sum(),
        guests: u32::try_from(guests.len()).unwrap_or(u32::MAX),
        uptime: uptime(&record, now.as_str()),
        gpus: inventory::devices::gpus_of(client, reference).await.map_err(doing())?,
        pci: pci::of(client, reference).await.map_err(doing())?,
        capabilities: record.capabilities.clone(),
        storage: storage(job, reference).await?,
        node,
    })
}

/// From `other_config:boot_time`, in seconds since 1970, to the host's own clock.
fn uptime(record: &HostRecord, now: &str) -> Option<Duration> {
    let booted = record.other_config.get("boot_time")?.parse::<f64>().ok()?;
    let seconds = seconds_since_1970(now)? as f64 - booted;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Of XAPI's `20261121T10:11:12Z`, which is UTC.
pub(crate) fn seconds_since_1970(text: &str) -> Option<i64> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let part = |range: std::ops::Range<usize>| digits.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let (hour, minute, second) = (part(8..10)?, part(10..12)?, part(12..14)?);
    // Days from civil: years begin in March, so that the day that comes and goes is the last.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days =
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

async fn storage(job: &Job, host: &Ref<Host>) -> std::result::Result<Vec<StorageInfo>, Cause> {
    let client = job.client();
    let read = async {
        let (srs, pbds, vdis) = tokio::try_join!(
            client.all_records::<Sr>(),
            client.all_records::<Pbd>(),
            client.all_records::<Vdi>()
        )?;
        let mut found = Vec::new();
        for pbd in pbds.values().filter(|pbd| pbd.host == *host && pbd.currently_attached) {
            let Some(sr) = srs.get(&pbd.sr) else { continue };
            let bytes = |n: i64| u64::try_from(n).unwrap_or(0);
            found.push(StorageInfo {
                uuid: sr.uuid.clone(),
                name: sr.name_label.clone(),
                sr_type: sr.r#type.clone(),
                shared: sr.shared,
                total_bytes: u64::try_from(sr.physical_size).ok().filter(|size| *size > 0),
                used_bytes: bytes(sr.physical_utilisation),
                allocated_bytes: vdis
                    .values()
                    .filter(|vdi| vdi.sr == pbd.sr && vdi.managed)
                    .map(|vdi| bytes(vdi.virtual_size))
                    .sum(),
            });
        }
        found.sort_by(|a, b| (&a.name, &a.uuid).cmp(&(&b.name, &b.uuid)));
        Ok(found)
    };
    read.await.map_err(Cause::host("reading the storage of the host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, seconds) in [
            ("19700101T00:00:00Z", Some(0)),
            ("20000301T00:00:00Z", Some(951_868_800)),
            ("20240229T12:34:56Z", Some(1_709_210_096)),
            ("20261121T10:11:12Z", Some(1_795_255_872)),
            ("soon", None),
        ] {
            assert_eq!(seconds_since_1970(text), seconds, "{text}");
        }
        let mut record = HostRecord::default();
        assert_eq!(uptime(&record, "20000301T00:00:00Z"), None);
        record.other_config.insert("boot_time".into(), "951868700.".into());
        assert_eq!(uptime(&record, "20000301T00:00:00Z"), Some(Duration::from_secs(100)));
        assert_eq!(uptime(&record, "19990301T00:00:00Z"), None, "a clock that was set back");
    }
}
