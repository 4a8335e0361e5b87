//! What instances show and use: their consoles, what is measured of them, what their interfaces have moved, and what
//! becomes of them.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::read::ZlibDecoder;
use uuid::Uuid;
use xenapi_client::{Cache, Changes, ConsoleStream, RrdQuery, RrdUpdates};
use xenapi_types::{ConsoleProtocol, Host, Ref, Vif, Vm, VmOperations, VmPowerState, VmRecord};

use crate::driver::Driver;
use crate::error::{Cause, Error, Op, Result};
use crate::find::{self, Which};
use crate::job::Job;
use crate::power::LAST_DOMID;
use crate::progress::{Progress, Stage};

const PLUGIN: &str = "console.py";
/// The plugin sends the last 100 KiB; what is much longer is none of its answers.
const MAX_LOG_BYTES: u64 = 1 << 20;

/// What an interface of an instance has moved.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Traffic {
    /// Its number in the VM.
    pub device: u32,
    /// Its address.
    pub mac: String,
    /// What the guest has received, in bytes.
    pub received_bytes: u64,
    /// What the guest has sent, in bytes.
    pub sent_bytes: u64,
}

/// What became of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceEvent {
    /// The instance.
    pub uuid: Uuid,
    /// Uuid of its VM.
    pub vm_uuid: String,
    /// `name_label` of its VM.
    pub name: String,
    /// What happened.
    pub what: Lifecycle,
}

/// What can become of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lifecycle {
    /// It is there, in this state.
    Created(VmPowerState),
    /// It has another power state: from, to.
    Power(VmPowerState, VmPowerState),
    /// It runs on, on another host: the host's reference. A start and a halt, between which XAPI has it on a host, are none.
    Moved(Ref<Host>),
    /// Its guest has booted anew: it runs on the same host as another domain. After a move whose new domain
    /// XAPI tells only once the operation has ended, it is told too: nothing tells the two apart.
    Rebooted,
    /// It is gone, or an instance of this owner no longer.
    Removed,
}

/// The events of all instances of a driver's owner; see [`Driver::events`].
pub struct InstanceEvents {
    changes: Changes<Vm>,
    owner: String,
    /// It ends with its last handle.
    _cache: Cache,
}

impl std::fmt::Debug for InstanceEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstanceEvents").field("owner", &self.owner).finish_non_exhaustive()
    }
}

impl InstanceEvents {
    /// Waits for the next one. `None` when the pool cannot be followed any more, as after
    /// [`Driver::close`]. What happens while nobody waits is put together: each instance is told of once, from the
    /// state that was told last to the present one. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<InstanceEvent> {
        loop {
            let change = self.changes.next().await?;
            let (before, after) = (change.before.as_deref(), change.after.as_deref());
            let (before, after): (Option<&VmRecord>, Option<&VmRecord>) =
                (before.map(|vm| &**vm), after.map(|vm| &**vm));
            if let Some(event) = event(before, after, &self.owner) {
                return Some(event);
            }
        }
    }
}

fn event(before: Option<&VmRecord>, after: Option<&VmRecord>, owner: &str) -> Option<InstanceEvent> {
    let made = |vm: &VmRecord| {
        let is_instance = !vm.is_a_template && !vm.is_a_snapshot;
        is_instance.then(|| find::made_for(&vm.other_config, &vm.uuid, owner)).flatten()
    };
    let known = before.filter(|vm| made(vm).is_some());
    let vm = after.filter(|vm| made(vm).is_some()).or(known)?;
    let what = match (known, after) {
        (None, Some(now)) => Lifecycle::Created(now.power_state.clone()),
        (_, None) => Lifecycle::Removed,
        (_, Some(now)) if made(now).is_none() => Lifecycle::Removed,
        (Some(then), Some(now)) if then.power_state != now.power_state => {
            Lifecycle::Power(then.power_state.clone(), now.power_state.clone())
        }
        (Some(then), Some(now)) if has_moved(then, now) => Lifecycle::Moved(now.resident_on.clone()),
        (Some(then), Some(now)) if has_rebooted(then, now) => Lifecycle::Rebooted,
        _ => return None,
    };
    Some(InstanceEvent { uuid: made(vm)?, vm_uuid: vm.uuid.clone(), name: vm.name_label.clone(), what })
}

/// XAPI writes host, state and domain one after the other, each a change of its own: a guest that starts has
/// a host while it is still halted, and one that is halted has one for a moment.
fn has_moved(then: &VmRecord, now: &VmRecord) -> bool {
    let off = [VmPowerState::Halted, VmPowerState::Suspended].contains(&now.power_state);
    let hosts = [&then.resident_on, &now.resident_on];
    hosts[0] != hosts[1] && !off && hosts.iter().all(|host| !host.is_null())
}

/// A domain's number also changes when a guest has just started, or moves: then it has had none, or the
/// operation is under way.
fn has_rebooted(then: &VmRecord, now: &VmRecord) -> bool {
    let moves = |vm: &VmRecord| {
        let moving = |operation| [VmOperations::PoolMigrate, VmOperations::MigrateSend].contains(operation);
        vm.current_operations.values().any(moving)
    };
    let has_both = then.domid >= 0 && now.domid >= 0 && then.domid != now.domid;
    has_both
        && then.resident_on == now.resident_on
        && now.power_state == VmPowerState::Running
        && ![then, now].into_iter().any(moves)
}

impl Driver {
    /// The last that the guest of an instance wrote to its first serial or PV console: 100 KiB at most. Of one that is
    /// off, that of its last boot, as long as its host keeps it. The host needs the plugin `console`, and its
    /// `xenconsoled` has to log guests.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`], [`Cause::NotOurs`]; [`Cause::WrongState`] for one that has never run;
    /// [`Cause::PluginAnswer`]; [`Cause::Host`], with the plugin's words when there is no log.
    pub async fn console_log(&self, which: &Which) -> Result<String> {
        self.observed(which, async |job, _, record| {
            let (host, domid) = last_domain(&record)?;
            let args = BTreeMap::from([("dom_id".to_owned(), domid.to_string())]);
            let asked = job.client().call_plugin(&host, PLUGIN, "get_console_log", &args).await;
            let doing = format!("asking for the console log of VM {}", record.uuid);
            unpack(&asked.map_err(Cause::host(doing))?)
        })
        .await
    }

    /// The console of a running instance: its screen (`Rfb`, the protocol of VNC) or its terminal (`Vt100`). It has a
    /// session of its own, which ends when it is closed.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`], [`Cause::NotOurs`]; [`Cause::Host`] when it has none, as while it is off.
    pub async fn console(&self, which: &Which, protocol: ConsoleProtocol) -> Result<ConsoleStream> {
        self.observed(which, async |job, vm, record| {
            let opened = job.client().vm_console(&vm, protocol).await;
            opened.map_err(Cause::host(format!("opening a console of VM {}", record.uuid)))
        })
        .await
    }

    /// The latest that its host has measured of a running instance, by the names of the data sources: `cpu0` (a share
    /// of one processor), `memory` (bytes), `vif_0_rx` and `vbd_xvda_read` (bytes a second), and whatever else the
    /// release measures. Those without a value are left out.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`], [`Cause::NotOurs`]; [`Cause::WrongState`] for one that is off; [`Cause::Host`].
    pub async fn diagnostics(&self, which: &Which) -> Result<BTreeMap<String, f64>> {
        self.observed(which, async |job, vm, record| {
            running(&record)?;
            let kept = job.client().vm_rrd(&vm).await;
            let kept =
                kept.map_err(Cause::host(format!("reading what is measured of VM {}", record.uuid)))?;
            let latest = |name: &String| kept.latest(name).filter(|value| value.is_finite());
            let names = kept.sources.iter().map(|source| source.name.clone());
            Ok(names.filter_map(|name| latest(&name).map(|value| (name, value))).collect())
        })
        .await
    }

    /// What the interfaces of a running instance have moved since then: the sum of the rates that its host keeps, of
    /// 5 seconds for the last 10 minutes, of a minute for 2 hours, of an hour for a week. No plugin is needed. What was
    /// moved on another host before the guest was migrated is not in it.
    ///
    /// # Errors
    ///
    /// As [`Driver::diagnostics`].
    pub async fn traffic(&self, which: &Which, since: SystemTime) -> Result<Vec<Traffic>> {
        self.observed(which, async |job, _, record| {
            running(&record)?;
            let doing = || Cause::host(format!("reading what the interfaces of VM {} move", record.uuid));
            let vm_uuid = Some(record.uuid.clone());
            let query = RrdQuery { vm_uuid, with_host: false, ..RrdQuery::since(since) };
            let updates = job.client().rrd_updates(&record.resident_on, &query).await.map_err(doing())?;
            let mut all = Vec::new();
            for vif in &record.vifs {
                let vif = job.client().record::<Vif>(vif).await.map_err(doing())?;
                let Ok(device) = vif.device.parse() else { continue };
                let bytes = |direction| sum(&updates, &record.uuid, &format!("vif_{device}_{direction}"));
                let (received_bytes, sent_bytes) = (bytes("rx"), bytes("tx"));
                all.push(Traffic { device, mac: vif.mac, received_bytes, sent_bytes });
            }
            all.sort_by_key(|traffic| traffic.device);
            Ok(all)
        })
        .await
    }

    /// What becomes of the instances of this driver's owner from now on, whoever does it: from `event.from`, without
    /// asking again and again.
    ///
    /// # Errors
    ///
    /// When the pool cannot be asked now; later trouble that passes is waited out.
    pub async fn events(&self) -> Result<InstanceEvents> {
        let started = Cache::builder().watch::<Vm>().start(self.client()).await;
        let cache = started.map_err(|error| {
            Error::new(Op::Observe, self.endpoint(), Stage::Find, Cause::host("following the pool")(error))
        })?;
        let (_, changes) = cache.subscribe::<Vm>();
        Ok(InstanceEvents { changes, owner: self.settings().owner.clone(), _cache: cache })
    }

    pub(crate) async fn observed<T>(
        &self,
        which: &Which,
        look: impl AsyncFnOnce(&Job, Ref<Vm>, VmRecord) -> std::result::Result<T, Cause>,
    ) -> Result<T> {
        let job = Job::new(self.clone(), Progress::none());
        let looked = match find::ours(&job, which).await {
            Ok((vm, record)) => look(&job, vm, record).await,
            Err(cause) => Err(cause),
        };
        looked.map_err(|cause| Error::new(Op::Observe, format!("instance {which}"), Stage::Find, cause))
    }
}

pub(crate) fn running(vm: &VmRecord) -> std::result::Result<(), Cause> {
    if vm.power_state == VmPowerState::Running {
        return Ok(());
    }
    let (vm, state) = (vm.uuid.clone(), vm.power_state.to_string());
    Err(Cause::WrongState { vm, state, remedy: "only what runs is measured" })
}

/// The host and the domain of a guest, or of its last boot.
fn last_domain(vm: &VmRecord) -> std::result::Result<(Ref<Host>, i64), Cause> {
    let noted = || vm.other_config.get(LAST_DOMID).and_then(|domid| domid.parse().ok());
    let domid = Some(vm.domid).filter(|domid| *domid >= 0).or_else(noted);
    let host = [&vm.resident_on, &vm.affinity].into_iter().find(|host| !host.is_null());
    match host.cloned().zip(domid) {
        Some(found) => Ok(found),
        None => Err(Cause::WrongState {
            vm: vm.uuid.clone(),
            state: vm.power_state.to_string(),
            remedy: "it has never run; switch it on first",
        }),
    }
}

/// What the plugin answers: text, compressed by zlib, as base64.
fn unpack(answer: &str) -> std::result::Result<String, Cause> {
    let wrong = |why: String| Cause::PluginAnswer { plugin: PLUGIN, why };
    let compressed = BASE64_STANDARD.decode(answer.trim()).map_err(|error| wrong(error.to_string()))?;
    let mut log = Vec::new();
    let read = ZlibDecoder::new(&compressed[..]).take(MAX_LOG_BYTES + 1).read_to_end(&mut log);
    read.map_err(|error| wrong(error.to_string()))?;
    if log.len() as u64 > MAX_LOG_BYTES {
        return Err(wrong(format!("it is longer than {MAX_LOG_BYTES} bytes")));
    }
    Ok(String::from_utf8_lossy(&log).into_owned())
}

/// Bytes, from the rates of a data source.
fn sum(updates: &RrdUpdates, vm_uuid: &str, name: &str) -> u64 {
    let series = updates.series.iter().find(|series| series.uuid == vm_uuid && series.name == name);
    let rates = series.into_iter().flat_map(|series| &series.values).filter(|rate| rate.is_finite());
    let step = Duration::from_secs(updates.step).as_secs_f64();
    rates.map(|rate| rate * step).sum::<f64>() as u64
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use xenapi_client::{Consolidation, RrdSeries};
    use xenapi_storage::ownership::Ownership;

    use super::*;

    fn packed(text: &[u8]) -> String {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(text).unwrap();
        BASE64_STANDARD.encode(zlib.finish().unwrap())
    }

    #[test]
    fn what_the_plugin_sends() {
        assert_eq!(unpack(&packed("Booting …\r\n".as_bytes())).unwrap(), "Booting …\r\n");
        assert_eq!(unpack(&packed(b"half \xe2\x80")).unwrap(), "half \u{fffd}", "the end is cut anywhere");
        for wrong in ["no base64!", &BASE64_STANDARD.encode("no zlib"), &packed(&vec![b'x'; 2 << 20])] {
            let error = unpack(wrong).unwrap_err().to_string();
            assert!(error.contains(PLUGIN), "{error}");
        }
    }

    #[test]
    fn whose_log_it_is() {
        let [home, here] = [1, 2].map(Ref::<Host>::from_uuid_bits);
        let mut vm = VmRecord::default();
        vm.domid = -1;
        assert!(matches!(last_domain(&vm), Err(Cause::WrongState { .. })));
        vm.affinity = home.clone();
        assert!(last_domain(&vm).is_err(), "it has never run");
        vm.other_config.insert(LAST_DOMID.to_owned(), "7".to_owned());
        assert_eq!(last_domain(&vm).unwrap(), (home, 7));
        // What was noted is of the boot before.
        (vm.domid, vm.resident_on) = (9, here.clone());
        assert_eq!(last_domain(&vm).unwrap(), (here, 9));
    }

    #[test]
    fn rates_become_bytes() {
        let series = |uuid: &str, name: &str, values: &[f64]| RrdSeries {
            consolidation: Consolidation::Average,
            kind: "vm".to_owned(),
            uuid: uuid.to_owned(),
            name: name.to_owned(),
            values: values.to_vec(),
        };
        let series = vec![
            series("other", "vif_0_rx", &[1e9]),
            series("vm", "vif_1_rx", &[1e9]),
            series("vm", "vif_0_rx", &[100.0, f64::NAN, 50.5]),
        ];
        let updates = RrdUpdates { step: 60, times: vec![60, 120, 180], series };
        assert_eq!(sum(&updates, "vm", "vif_0_rx"), 9_030);
        assert_eq!(sum(&updates, "vm", "vif_0_tx"), 0);
    }

    #[test]
    fn what_becomes_of_instances() {
        let instance = Uuid::from_u128(1);
        let host = |number: u128| if number == 0 { Ref::NULL } else { Ref::<Host>::from_uuid_bits(number) };
        let vm = |state: VmPowerState, domid: i64, on: u128| {
            let mark = Ownership { owner: "us".into(), instance, operation: Uuid::nil() };
            let mut vm = VmRecord::default();
            (vm.uuid, vm.power_state, vm.domid) = ("vm".to_owned(), state, domid);
            (vm.resident_on, vm.other_config) = (host(on), mark.keys());
            vm
        };
        use VmPowerState::{Halted, Running, Suspended};
        let moving = |domid: i64, on: u128| {
            let mut vm = vm(Running, domid, on);
            vm.current_operations.insert("OpaqueRef:task".to_owned(), VmOperations::PoolMigrate);
            vm
        };
        let (off, on) = (vm(Halted, -1, 0), vm(Running, 4, 1));
        let mut foreign = on.clone();
        foreign.other_config.clear();
        for (before, after, wanted) in [
            (None, Some(&off), Some(Lifecycle::Created(Halted))),
            (Some(&foreign), Some(&on), Some(Lifecycle::Created(Running))),
            (Some(&off), Some(&on), Some(Lifecycle::Power(Halted, Running))),
            (Some(&on), Some(&vm(Running, 5, 1)), Some(Lifecycle::Rebooted)),
            (Some(&on), Some(&vm(Running, 2, 2)), Some(Lifecycle::Moved(host(2)))),
            // A start, a halt, a suspension and a move, one field after the other.
            (Some(&off), Some(&vm(Halted, -1, 1)), None),
            (Some(&vm(Halted, -1, 1)), Some(&vm(Running, -1, 1)), Some(Lifecycle::Power(Halted, Running))),
            (Some(&vm(Running, -1, 1)), Some(&on), None),
            (Some(&on), Some(&vm(Halted, 4, 1)), Some(Lifecycle::Power(Running, Halted))),
            (Some(&vm(Halted, 4, 1)), Some(&vm(Halted, 4, 0)), None),
            (Some(&vm(Halted, 4, 0)), Some(&off), None),
            (Some(&vm(Suspended, 4, 1)), Some(&vm(Suspended, 4, 0)), None),
            (Some(&vm(Suspended, 4, 0)), Some(&vm(Suspended, 4, 2)), None),
            (Some(&on), Some(&moving(4, 1)), None),
            (Some(&moving(4, 1)), Some(&moving(4, 2)), Some(Lifecycle::Moved(host(2)))),
            (Some(&moving(4, 2)), Some(&moving(2, 2)), None),
            (Some(&moving(4, 2)), Some(&vm(Running, 2, 2)), None),
            (Some(&moving(2, 2)), Some(&vm(Running, 2, 2)), None),
            // It is given back.
            (Some(&on), Some(&foreign), Some(Lifecycle::Removed)),
            (Some(&on), None, Some(Lifecycle::Removed)),
            (Some(&on), Some(&on), None),
            (None, Some(&foreign), None),
            (Some(&foreign), None, None),
        ] {
            let event = event(before, after, "us");
            assert!(event.iter().all(|event| event.uuid == instance && event.vm_uuid == "vm"));
            assert_eq!(event.map(|event| event.what), wanted);
        }
    }
}
