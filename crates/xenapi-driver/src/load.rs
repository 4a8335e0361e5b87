//! How busy hosts and instances are: processors, memory, networks and disks, in the same units whoever tells it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use uuid::Uuid;
use xenapi_client::{Client, RrdQuery, RrdUpdates};
use xenapi_types::{Host, HostRecord, Pbd, Ref, Sr, host};

use crate::driver::Driver;
use crate::error::{Cause, Error, Op, Result};
use crate::find::Which;
use crate::inventory;
use crate::job::Job;
use crate::node;
use crate::observe;
use crate::progress::{Progress, Stage};

const PLUGIN: &str = "xenhost.py";
/// How far back a value may be: six measurements. The last one may not be complete yet.
const RECENT: Duration = Duration::from_secs(30);
const KIB: f64 = 1024.0;
const MIB: f64 = 1_048_576.0;

/// How busy a host or an instance is. What is not known is absent, and never 0: the first seconds after a start, what a
/// release does not measure, what a route does not tell.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Load {
    /// When the latest of it was measured, by the host's clock.
    pub measured_at: Option<SystemTime>,
    /// The share of the time of all its processors that is used, from 0 to 1.
    pub cpu: Option<f64>,
    /// That of each processor, in the order of their numbers.
    pub cpus: Vec<Option<f64>>,
    /// Tasks that run or wait to run in the control domain; of hosts only.
    pub load_average: Option<f64>,
    /// All of the memory, in bytes.
    pub memory_total_bytes: Option<u64>,
    /// What is free of it, in bytes. Of an instance, the guest's tools tell it.
    pub memory_free_bytes: Option<u64>,
    /// In the order of their names.
    pub networks: Vec<NetworkLoad>,
    /// In the order of their names.
    pub disks: Vec<DiskLoad>,
}

/// What an interface moves.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct NetworkLoad {
    /// The host's interface, `eth0`, or the number of the instance's.
    pub name: String,
    /// What it receives, in bytes per second.
    pub received_per_second: Option<f64>,
    /// What it sends, in bytes per second.
    pub sent_per_second: Option<f64>,
}

/// What a disk moves.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct DiskLoad {
    /// The uuid of the host's repository, or the instance's device, `xvda`.
    pub name: String,
    /// What is read from it, in bytes per second.
    pub read_per_second: Option<f64>,
    /// What is written to it, in bytes per second.
    pub written_per_second: Option<f64>,
}

/// Who tells how busy a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum LoadFrom {
    /// What the host measures of itself (RRDs), without a plugin.
    #[default]
    Measurements,
    /// The function `host_data` of Nova's plugin `xenhost.py`: memory, and nothing else of it.
    Plugin,
}

impl Driver {
    /// How busy a host is.
    ///
    /// # Errors
    ///
    /// [`Cause::HostDown`] for a host that the pool does not hear of; [`Cause::Host`] when it measures nothing at all
    /// (`NotFound`), or has not the plugin that is asked for; [`Cause::PluginAnswer`].
    pub async fn node_load(&self, node: Uuid, from: LoadFrom) -> Result<Load> {
        let job = Job::new(self.clone(), Progress::none());
        let look = async {
            let (host, record) = node::host(&job, node).await?;
            let doing = || Cause::host(format!("asking how busy host {:?} is", record.name_label));
            if inventory::is_dead(job.client(), &record.metrics).await.map_err(doing())? {
                return Err(Cause::HostDown { host: record.name_label });
            }
            match from {
                LoadFrom::Measurements => of_host(job.client(), &host, &record).await.map_err(doing()),
                LoadFrom::Plugin => told(job.client(), &host, &record).await,
            }
        };
        look.await.map_err(|cause: Cause| Error::new(Op::Node, format!("node {node}"), Stage::Find, cause))
    }

    /// How busy a running instance is, as its host measures it. No plugin is needed.
    ///
    /// # Errors
    ///
    /// As [`Driver::diagnostics`].
    pub async fn instance_load(&self, which: &Which) -> Result<Load> {
        self.observed(which, async |job, _, record| {
            observe::running(&record)?;
            let doing = Cause::host(format!("asking how busy VM {} is", record.uuid));
            let measured = Measured::read(job.client(), &record.resident_on, &record.uuid, "vm").await;
            Ok(measured.map_err(doing)?.of_vm())
        })
        .await
    }
}

async fn of_host(client: &Client, host: &Ref<Host>, record: &HostRecord) -> xenapi_client::Result<Load> {
    let (measured, pbds, srs) = tokio::try_join!(
        Measured::read(client, host, &record.uuid, "host"),
        client.all_records::<Pbd>(),
        client.all_records::<Sr>()
    )?;
    let plugged = pbds.values().filter(|pbd| pbd.host == *host && pbd.currently_attached);
    let repositories: Vec<&str> = plugged.filter_map(|pbd| Some(&*srs.get(&pbd.sr)?.uuid)).collect();
    Ok(measured.of_host(&repositories))
}

/// What the plugin says. Its answer is XAPI's own, in Nova's words.
async fn told(client: &Client, host: &Ref<Host>, record: &HostRecord) -> std::result::Result<Load, Cause> {
    let args = BTreeMap::from([("host_uuid".to_owned(), record.uuid.clone())]);
    let answer = client.call_plugin(host, PLUGIN, "host_data", &args).await;
    let doing = Cause::host(format!("asking the plugin {PLUGIN} of host {:?}", record.name_label));
    parse_host_data(&answer.map_err(doing)?)
}

fn parse_host_data(text: &str) -> std::result::Result<Load, Cause> {
    #[derive(Deserialize)]
    struct HostData {
        host_memory: Memory,
    }
    #[derive(Deserialize)]
    struct Memory {
        total: Option<u64>,
        free: Option<u64>,
    }
    let read = serde_json::from_str::<HostData>(text);
    let Memory { total, free } =
        read.map_err(|error| Cause::PluginAnswer { plugin: PLUGIN, why: error.to_string() })?.host_memory;
    Ok(Load { memory_total_bytes: total, memory_free_bytes: free, ..Load::default() })
}

/// The latest value of each source; none for one that had no number lately.
struct Measured {
    at: Option<SystemTime>,
    values: BTreeMap<String, Option<f64>>,
}

impl Measured {
    /// Of the object of this kind, by the host's clock: that of this machine may be wrong.
    async fn read(client: &Client, host: &Ref<Host>, uuid: &str, kind: &str) -> xenapi_client::Result<Self> {
        let now = client.call(host::GetServertime { host: host.clone() }).await?;
        let now = node::seconds_since_1970(now.as_str()).and_then(|seconds| u64::try_from(seconds).ok());
        let now = now.map_or_else(SystemTime::now, |seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        let since = now.checked_sub(RECENT).unwrap_or(UNIX_EPOCH);
        // Of no VM but this, and of none at all when it is that of a host.
        let vm_uuid = Some(uuid.to_owned());
        let query = RrdQuery { vm_uuid, with_host: kind == "host", ..RrdQuery::since(since) };
        let updates = client.rrd_updates(host, &query).await?;
        Ok(Self::of(&updates, uuid, kind))
    }

    fn of(updates: &RrdUpdates, uuid: &str, kind: &str) -> Self {
        let (mut latest, mut values) = (None, BTreeMap::new());
        for series in updates.series.iter().filter(|series| series.uuid == uuid && series.kind == kind) {
            let index = series.values.iter().rposition(|value| value.is_finite());
            latest = latest.max(index);
            values.insert(series.name.clone(), index.map(|index| series.values[index]));
        }
        let at = latest.and_then(|index| u64::try_from(*updates.times.get(index)?).ok());
        Self { at: at.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)), values }
    }

    fn value(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied().flatten()
    }

    fn bytes(&self, name: &str, unit: f64) -> Option<u64> {
        self.value(name).filter(|value| *value >= 0.0).map(|value| (value * unit) as u64)
    }

    fn of_host(&self, repositories: &[&str]) -> Load {
        let mut disks = BTreeMap::<String, DiskLoad>::new();
        for (name, value) in &self.values {
            let Some((way, short)) =
                name.strip_prefix("io_throughput_").and_then(|rest| rest.split_once('_'))
            else {
                continue;
            };
            // A source is named after the first characters of the uuid.
            let whole = repositories.iter().find(|uuid| uuid.starts_with(short)).unwrap_or(&short);
            let disk = disks.entry((*whole).to_owned()).or_default();
            let bytes = value.map(|mib| mib * MIB);
            match way {
                "read" => disk.read_per_second = bytes,
                "write" => disk.written_per_second = bytes,
                _ => {}
            }
        }
        Load {
            load_average: self.value("loadavg"),
            memory_total_bytes: self.bytes("memory_total_kib", KIB),
            memory_free_bytes: self.bytes("memory_free_kib", KIB),
            networks: self.networks("pif_"),
            disks: named(disks, |disk, name| disk.name = name),
            ..self.processors()
        }
    }

    fn of_vm(&self) -> Load {
        let mut disks = BTreeMap::<String, DiskLoad>::new();
        for (name, way, value) in self.both_ways("vbd_", ["_read", "_write"]) {
            let disk = disks.entry(name).or_default();
            match way {
                0 => disk.read_per_second = value,
                _ => disk.written_per_second = value,
            }
        }
        Load {
            memory_total_bytes: self.bytes("memory", 1.0),
            memory_free_bytes: self.bytes("memory_internal_free", KIB),
            networks: self.networks("vif_"),
            disks: named(disks, |disk, name| disk.name = name),
            ..self.processors()
        }
    }

    fn processors(&self) -> Load {
        let number = |name: &str| name.strip_prefix("cpu")?.parse::<u32>().ok();
        let cpus: BTreeMap<u32, Option<f64>> =
            self.values.iter().filter_map(|(name, value)| Some((number(name)?, *value))).collect();
        let cpus: Vec<Option<f64>> = cpus.into_values().collect();
        let known: Vec<f64> = cpus.iter().flatten().copied().collect();
        let mean = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);
        Load { measured_at: self.at, cpu: self.value("cpu_avg").or(mean), cpus, ..Load::default() }
    }

    fn networks(&self, prefix: &str) -> Vec<NetworkLoad> {
        let mut networks = BTreeMap::<String, NetworkLoad>::new();
        // `aggr` is the sum of all.
        let single = self.both_ways(prefix, ["_rx", "_tx"]).filter(|(name, ..)| name != "aggr");
        for (name, way, value) in single {
            let network = networks.entry(name).or_default();
            match way {
                0 => network.received_per_second = value,
                _ => network.sent_per_second = value,
            }
        }
        named(networks, |network, name| network.name = name)
    }

    /// Device, direction and value of the sources that are named so: `vbd_xvda_read`, and not `vbd_xvda_iops_read`.
    fn both_ways<'a>(
        &'a self,
        prefix: &'a str,
        ways: [&'a str; 2],
    ) -> impl Iterator<Item = (String, usize, Option<f64>)> + 'a {
        self.values.iter().filter_map(move |(name, value)| {
            let rest = name.strip_prefix(prefix)?;
            let (way, device) =
                ways.iter().enumerate().find_map(|(way, suffix)| Some((way, rest.strip_suffix(suffix)?)))?;
            (!device.contains('_')).then(|| (device.to_owned(), way, *value))
        })
    }
}

fn named<T>(all: BTreeMap<String, T>, set: impl Fn(&mut T, String)) -> Vec<T> {
    let named = all.into_iter().map(|(name, mut one)| {
        set(&mut one, name);
        one
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use xenapi_client::{Consolidation, RrdSeries};

    use super::*;

    fn updates(kind: &str, series: &[(&str, &[f64])]) -> RrdUpdates {
        let series = series.iter().map(|(name, values)| RrdSeries {
            consolidation: Consolidation::Average,
            kind: kind.to_owned(),
            uuid: "it".to_owned(),
            name: (*name).to_owned(),
            values: values.to_vec(),
        });
        RrdUpdates { step: 5, times: vec![100, 105, 110], series: series.collect() }
    }

    #[test]
    fn of_a_host() {
        const NO: f64 = f64::NAN;
        let mut updates = updates(
            "host",
            &[
                ("cpu10", &[0.1, 0.2, 0.4]),
                ("cpu2", &[0.5, NO, NO]),
                ("cpu3", &[NO, NO, NO]),
                ("memory_total_kib", &[2048.0, 2048.0, NO]),
                ("memory_free_kib", &[NO, NO, f64::INFINITY]),
                ("pif_eth0_rx", &[1.0, 2.0, 3.0]),
                ("pif_aggr_rx", &[9.0, 9.0, 9.0]),
                ("io_throughput_read_0a1b2c3d", &[0.0, 0.0, 1.5]),
                ("io_throughput_write_ffffffff", &[0.0, 0.0, 2.0]),
                ("io_throughput_total_0a1b2c3d", &[0.0, 0.0, 9.0]),
            ],
        );
        updates.series.extend(self::updates("vm", &[("cpu0", &[1.0, 1.0, 1.0])]).series);
        let load = Measured::of(&updates, "it", "host").of_host(&["0a1b2c3d-0000-4000-8000-000000000000"]);
        assert_eq!(load.measured_at, Some(UNIX_EPOCH + Duration::from_secs(110)));
        assert_eq!(load.cpus, [Some(0.5), None, Some(0.4)], "by number, and as they were last");
        assert!(load.cpu.is_some_and(|cpu| (cpu - 0.45).abs() < 1e-9), "{:?}", load.cpu);
        assert_eq!(
            (load.load_average, load.memory_total_bytes, load.memory_free_bytes),
            (None, Some(2 << 20), None)
        );
        let [eth0] = &load.networks[..] else { panic!("{load:?}") };
        assert_eq!((&*eth0.name, eth0.received_per_second, eth0.sent_per_second), ("eth0", Some(3.0), None));
        let disks: Vec<_> =
            load.disks.iter().map(|d| (&*d.name, d.read_per_second, d.written_per_second)).collect();
        let wanted = [
            ("0a1b2c3d-0000-4000-8000-000000000000", Some(1.5 * MIB), None),
            ("ffffffff", None, Some(2.0 * MIB)),
        ];
        assert_eq!(disks, wanted);
        assert_eq!(Measured::of(&updates, "another", "host").of_host(&[]), Load::default());
    }

    #[test]
    fn of_an_instance() {
        let updates = updates(
            "vm",
            &[
                ("cpu0", &[0.25, 0.25, 0.75]),
                ("memory", &[1e9, 1e9, 1e9]),
                ("memory_internal_free", &[1.0, 1.0, 4.0]),
                ("vif_1_tx", &[7.0, 7.0, 7.0]),
                ("vbd_xvda_read", &[1.0, 1.0, 1.0]),
                ("vbd_xvda_write", &[2.0, 2.0, 2.0]),
                ("vbd_xvda_iops_read", &[5.0, 5.0, 5.0]),
                ("vbd_xvda_write_latency", &[5.0, 5.0, 5.0]),
            ],
        );
        let load = Measured::of(&updates, "it", "vm").of_vm();
        assert_eq!(
            (load.cpu, load.memory_total_bytes, load.memory_free_bytes),
            (Some(0.75), Some(1_000_000_000), Some(4096))
        );
        let [vif] = &load.networks[..] else { panic!("{load:?}") };
        assert_eq!((&*vif.name, vif.received_per_second, vif.sent_per_second), ("1", None, Some(7.0)));
        let [xvda] = &load.disks[..] else { panic!("{load:?}") };
        assert_eq!(
            (&*xvda.name, xvda.read_per_second, xvda.written_per_second),
            ("xvda", Some(1.0), Some(2.0))
        );
    }

    #[test]
    fn what_the_plugin_says() {
        let load = parse_host_data(
            r#"{"enabled": "true", "host_memory": {"total": 8, "free": 3, "free-computed": 2}}"#,
        );
        let load = load.unwrap();
        assert_eq!((load.memory_total_bytes, load.memory_free_bytes, load.cpu), (Some(8), Some(3), None));
        let load = parse_host_data(r#"{"host_memory": {"total": null, "free": null}}"#).unwrap();
        assert_eq!(load, Load::default());
        for wrong in ["", "[]", "{}", r#"{"host_memory": {"total": "much"}}"#] {
            let error = parse_host_data(wrong).unwrap_err().to_string();
            assert!(error.contains(PLUGIN), "{error}");
        }
    }
}
