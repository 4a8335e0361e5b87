//! The measurements of a simulated pool, in both forms.

mod support;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use support::simulated;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xapi_simulator::Simulator;
use xenapi_client::{Client, Consolidation, ErrorKind, Rrd, RrdQuery, RrdUpdates};
use xenapi_types::{Host, Sr, Vm, vm};
use xenapi_wire::Ref;

struct Bench {
    simulator: Arc<Simulator>,
    client: Client,
    host: Ref<Host>,
    vm: Ref<Vm>,
}

async fn bench() -> Bench {
    let simulator = simulated::demo().await;
    let client = simulated::client(&simulator, |config| config);
    let host = client.all::<Host>().await.unwrap().remove(0);
    let create = vm::Create { vcpus_max: 2, vcpus_at_startup: 2, ..simulated::new_vm("guest") };
    let vm = client.call(create).await.unwrap();
    Bench { simulator, client, host, vm }
}

impl Bench {
    async fn start(&self) {
        let start = vm::Start { vm: self.vm.clone(), start_paused: false, force: false };
        self.client.call(start).await.unwrap();
    }

    /// A document as a script gets it, with name and password.
    async fn raw(&self, target: &str) -> Vec<u8> {
        let mut connection = self.simulator.connect();
        let head = format!("GET {target} HTTP/1.0\r\nAuthorization: Basic cm9vdDpwdw==\r\n\r\n");
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.0 200 OK"), "{}", String::from_utf8_lossy(&answer[..20]));
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        answer.split_off(end + 4)
    }
}

#[tokio::test]
async fn both_forms_say_the_same() {
    let bench = bench().await;
    bench.start().await;
    let uuid = bench.client.get_field(&bench.vm, vm::field::UUID).await.unwrap();
    let xml = Rrd::parse(&bench.raw(&format!("/vm_rrd?uuid={uuid}")).await).unwrap();
    let json = Rrd::parse(&bench.raw(&format!("/vm_rrd?uuid={uuid}&json=true")).await).unwrap();
    assert_eq!((&xml.sources, xml.archives.len()), (&json.sources, json.archives.len()));
    // A minute later the values have moved on by some rows; those of the same time are equal.
    for (xml, json) in xml.archives.iter().zip(&json.archives).filter(|(xml, json)| xml.end == json.end) {
        assert_eq!(format!("{:?}", xml.rows), format!("{:?}", json.rows));
    }
    let path = "/rrd_updates?host=true&cf=MAX&interval=60&start=";
    let start = 3_600 * 24 * 365 * 50;
    let xml = RrdUpdates::parse(&bench.raw(&format!("{path}{start}")).await).unwrap();
    let json = RrdUpdates::parse(&bench.raw(&format!("{path}{start}&json=true")).await).unwrap();
    assert_eq!(xml.series.len(), json.series.len());
    // So long ago that only days are left.
    assert_eq!((xml.step, json.step, xml.times.len()), (86_400, 86_400, 366));
}

#[tokio::test]
async fn a_running_vm_is_measured() {
    let bench = bench().await;
    let error = bench.client.vm_rrd(&bench.vm).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    bench.start().await;
    let rrd = bench.client.vm_rrd(&bench.vm).await.unwrap();
    let names: Vec<&str> = rrd.sources.iter().map(|source| source.name.as_str()).collect();
    assert!(names.starts_with(&["cpu0", "cpu1", "memory"]), "{names:?}");
    let finest = &rrd.archives[0];
    assert_eq!((finest.step, finest.rows.len()), (5, 120));
    assert!(finest.rows[0].iter().all(|value| value.is_nan()), "it did not run then");
}

#[tokio::test]
async fn a_host_measures_itself_and_its_vms() {
    let bench = bench().await;
    bench.start().await;
    let since = SystemTime::now() - Duration::from_secs(300);
    let updates = bench.client.rrd_updates(&bench.host, &RrdQuery::since(since)).await.unwrap();
    assert_eq!(updates.step, 5);
    assert!(updates.times.is_sorted() && (59..=61).contains(&updates.times.len()), "{:?}", updates.times);
    let of = |kind: &str, name: &str| {
        let found = updates.series.iter().find(|series| series.kind == kind && series.name == name);
        found.unwrap_or_else(|| panic!("no {name} of a {kind}"))
    };
    let (total, free) = (of("host", "memory_total_kib"), of("host", "memory_free_kib"));
    assert_eq!(of("vm", "memory").values.len(), updates.times.len());
    let (total, free) = (total.values.last().unwrap(), free.values.last().unwrap());
    assert!(*free > 0.0 && *free <= total - 256.0 * 1_024.0, "{free} of {total}");
    let uses = &of("host", "cpu_avg").values;
    assert!(uses.iter().all(|used| (0.0..=1.0).contains(used)), "{uses:?}");
    // Every consolidation of a coarser resolution, of one VM.
    let uuid = bench.client.get_field(&bench.vm, vm::field::UUID).await.unwrap();
    let query = RrdQuery {
        interval: Some(Duration::from_secs(60)),
        consolidation: None,
        with_host: false,
        vm_uuid: Some(uuid.clone()),
        ..RrdQuery::since(since)
    };
    let updates = bench.client.rrd_updates(&bench.host, &query).await.unwrap();
    assert_eq!(updates.step, 60);
    assert!(updates.series.iter().all(|series| series.uuid == uuid));
    let ways = |name: &str| updates.series.iter().filter(|series| series.name == name).count();
    assert_eq!(ways("cpu1"), 3);
    let host = bench.client.host_rrd(&bench.host).await.unwrap();
    let of = |cf: &Consolidation| host.archives.iter().find(|a| a.consolidation == *cf && a.step == 3_600);
    let [low, mean, high] = [Consolidation::Min, Consolidation::Average, Consolidation::Max]
        .map(|cf| &of(&cf).unwrap().rows[160]);
    for ((low, mean), high) in low.iter().zip(mean).zip(high) {
        assert!(low <= mean && mean <= high, "{low} {mean} {high}");
    }
    assert!(host.latest("loadavg").is_some());
}

#[tokio::test]
async fn a_storage_repository_is_measured() {
    let bench = bench().await;
    let sr = bench.client.by_name_label::<Sr>("Local storage").await.unwrap();
    let record = bench.client.record(&sr).await.unwrap();
    let rrd = bench.client.sr_rrd(&sr).await.unwrap();
    assert_eq!(rrd.latest("size"), Some(record.physical_size as f64));
    assert_eq!(rrd.latest("physical_utilisation"), Some(record.physical_utilisation as f64));
    let xml = Rrd::parse(&bench.raw(&format!("/sr_rrd?uuid={}", record.uuid)).await).unwrap();
    assert_eq!(xml.sources, rrd.sources);
    let since = SystemTime::now() - Duration::from_secs(60);
    let query = RrdQuery { with_host: false, sr_uuid: Some(record.uuid.clone()), ..RrdQuery::since(since) };
    let updates = bench.client.rrd_updates(&bench.host, &query).await.unwrap();
    assert!(updates.series.iter().any(|series| series.kind == "sr" && series.uuid == record.uuid));
    let error = bench.client.sr_rrd(&Ref::from("OpaqueRef:none")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}
