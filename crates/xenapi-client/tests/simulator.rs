//! The client against a pool that behaves like a real one, without a network between them.

mod support;

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::Full;
use sha2::{Digest, Sha256};
use support::simulated;
use xapi_simulator::Simulator;
use xapi_simulator::fault::Fault;
use xenapi_client::{
    Cause, Client, Config, Direction, Encoding, ErrorKind, ExportFormat, ImportFormat, Limits, RetryPolicy,
    TaskMark, Trust, private_connect_fn,
};
use xenapi_types::query::Query;
use xenapi_types::{
    Host, Pool, Sr, Task, TaskStatusType, Vdi, VdiType, Vm, VmRecord, pbd, sr, task, vdi, vm,
};
use xenapi_wire::{Failure, Ref, Value};

const MIB: usize = 1 << 20;

struct Bench {
    simulator: Arc<Simulator>,
    client: Client,
}

async fn bench() -> Bench {
    bench_with(|config| config).await
}

async fn bench_with(change: impl FnOnce(Config) -> Config) -> Bench {
    let simulator = simulated::demo().await;
    let client = simulated::client(&simulator, change);
    Bench { simulator, client }
}

impl Bench {
    async fn disk(&self, sr: &str, bytes: usize) -> Ref<Vdi> {
        let sr = self.client.by_name_label::<Sr>(sr).await.unwrap();
        let create = vdi::Create {
            name_label: "disk".to_owned(),
            sr,
            virtual_size: i64::try_from(bytes).unwrap(),
            r#type: VdiType::User,
            ..vdi::Create::default()
        };
        self.client.call(create).await.unwrap()
    }

    async fn import(
        &self,
        vdi: &Ref<Vdi>,
        format: ImportFormat,
        body: impl Into<Bytes>,
    ) -> xenapi_client::Result<u64> {
        self.client.import_vdi(vdi, format, Full::new(body.into())).await.map(|imported| imported.bytes)
    }

    async fn export(&self, vdi: &Ref<Vdi>, format: ExportFormat) -> Vec<u8> {
        let mut export = self.client.export_vdi(vdi, format, None).await.unwrap();
        let mut all = Vec::new();
        while let Some(data) = export.chunk().await.unwrap() {
            all.extend_from_slice(&data);
        }
        assert_eq!(export.finish().await.unwrap().bytes, all.len() as u64);
        all
    }

    async fn tasks(&self) -> Vec<Ref<Task>> {
        self.client.all::<Task>().await.unwrap()
    }
}

/// Bytes that are different everywhere, with a hole in the middle.
fn content(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut content: Vec<u8> = (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    content[bytes / 4..bytes / 2].fill(0);
    content
}

#[tokio::test]
async fn the_same_records_come_over_both_encodings() {
    let bench = bench().await;
    let xml = simulated::client(&bench.simulator, |config| config.encoding(Encoding::XmlRpc));
    let json = simulated::client(&bench.simulator, |config| config.encoding(Encoding::JsonRpc));
    assert_eq!(xml.all_records::<Vm>().await.unwrap(), json.all_records::<Vm>().await.unwrap());
    assert_eq!(xml.all_records::<Sr>().await.unwrap(), json.all_records::<Sr>().await.unwrap());
    assert_eq!(xml.all_records::<Host>().await.unwrap(), json.all_records::<Host>().await.unwrap());
    let pools = xml.all_records::<Pool>().await.unwrap();
    assert_eq!(pools, json.all_records::<Pool>().await.unwrap());
    assert_eq!(pools.len(), 1);
}

#[tokio::test]
async fn objects_are_found_read_and_changed() {
    let bench = bench().await;
    let client = &bench.client;
    let template = client.by_name_label::<Vm>("Other install media").await.unwrap();
    let record = client.record(&template).await.unwrap();
    assert!(record.is_a_template);
    assert_eq!(client.by_uuid::<Vm>(&record.uuid).await.unwrap(), template);

    let name = "a \"name\" & <more>";
    let copy: Ref<Vm> = client.call(simulated::new_vm(name)).await.unwrap();
    assert_eq!(client.get_field(&copy, vm::field::NAME_LABEL).await.unwrap(), name);
    let named = client.records_named::<Vm>(name).await.unwrap();
    assert!(named.len() == 1 && named.contains_key(&copy), "{:?}", named.keys());
    client.set_field(&copy, vm::field::NAME_LABEL, "plain").await.unwrap();
    let query = Query::eq("name__label", "plain").unwrap();
    assert_eq!(client.records_where::<Vm>(&query).await.unwrap().len(), 1);

    client.add_to(&copy, vm::field::OTHER_CONFIG, "k", "v").await.unwrap();
    let error = client.add_to(&copy, vm::field::OTHER_CONFIG, "k", "w").await.unwrap_err();
    assert!(error.is("MAP_DUPLICATE_KEY"), "{error}");
    client.put_in(&copy, vm::field::OTHER_CONFIG, "k", "w").await.unwrap();
    let map = client.get_field(&copy, vm::field::OTHER_CONFIG).await.unwrap();
    assert_eq!(map.get("k").map(String::as_str), Some("w"));
    client.remove_from(&copy, vm::field::OTHER_CONFIG, "k").await.unwrap();

    let again = client.call(simulated::new_vm("plain")).await.unwrap();
    assert_eq!(client.by_name_label::<Vm>("plain").await.unwrap_err().kind(), ErrorKind::Ambiguous);
    client.destroy(&again).await.unwrap();
    assert_eq!(client.destroy(&again).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(client.record_opt(&again).await.unwrap(), None);
    let error = client.record(&again).await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("there is no VM {again}")) && error.contains("http://simulator"),
        "{error}"
    );
    assert_eq!(client.by_name_label::<Vm>("nobody").await.unwrap_err().kind(), ErrorKind::NotFound);
    let none = "00000000-0000-4000-8000-000000000000";
    assert_eq!(client.by_uuid_opt::<Vm>(none).await.unwrap(), None);
    client.close().await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let bench = bench().await;
    let simulator = Arc::clone(&bench.simulator);
    let config = Config::new("http://simulator", "root", "wrong").unwrap();
    let connector = private_connect_fn(move |_| {
        let connection = simulator.connect();
        async move { Ok(connection) }
    });
    let error = Client::over(config, connector).unwrap().login().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Credentials, "{error}");
}

#[tokio::test]
async fn tasks_end_with_their_result_and_leave_nothing_behind() {
    let bench = bench().await;
    let client = &bench.client;
    let template = client.by_name_label::<Vm>("Other install media").await.unwrap();
    let copy = client.spawn_task(simulated::new_vm("copy")).await.unwrap().await.unwrap();
    assert_eq!(client.get_field(&copy, vm::field::NAME_LABEL).await.unwrap(), "copy");

    let start = vm::Start { vm: template, start_paused: false, force: false };
    let error = client.spawn_task(start).await.unwrap().await.unwrap_err();
    assert!(error.is("VM_IS_TEMPLATE"), "{error}");
    assert_eq!(bench.tasks().await, []);
}

#[tokio::test]
async fn any_call_can_run_as_a_task_by_its_name() {
    let bench = bench().await;
    let vm = bench.client.call(simulated::new_vm("original")).await.unwrap();
    let params = [Value::String(vm.to_string()), Value::String("copy".to_owned())];
    let task = bench.client.spawn_task_of::<[Value], Value>("VM.clone", &params).await.unwrap();
    let copy = task.await.unwrap();
    let copies = bench.client.all_by_name_label::<Vm>("copy").await.unwrap();
    assert_eq!(copies, [Ref::from(copy.as_str().unwrap())]);
    assert_eq!(bench.tasks().await, []);
}

#[tokio::test]
async fn a_wait_ends_with_the_change_it_waits_for() {
    let bench = bench().await;
    let client = bench.client.clone();
    let copy = client.call(simulated::new_vm("before")).await.unwrap();
    let waiting = {
        let (client, copy) = (client.clone(), copy.clone());
        tokio::spawn(async move {
            let renamed = |record: &VmRecord| record.name_label == "after";
            client.wait_until(&copy, Duration::from_secs(10), renamed).await
        })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    client.set_field(&copy, vm::field::NAME_LABEL, "after").await.unwrap();
    let record = waiting.await.unwrap().unwrap();
    assert_eq!(record.name_label, "after");
}

#[tokio::test]
async fn batches_of_events_follow_each_other() {
    let bench = bench().await;
    let client = &bench.client;
    let all = client.events_from(&["VM"], "", Duration::ZERO).await.unwrap();
    assert_eq!(all.events.len(), client.all::<Vm>().await.unwrap().len());
    let none = client.events_from(&["VM"], &all.token, Duration::ZERO).await.unwrap();
    assert_eq!(none.events, []);
    let copy = client.call(simulated::new_vm("copy")).await.unwrap();
    let some = client.events_from(&["VM"], &none.token, Duration::from_secs(5)).await.unwrap();
    let event = some.events.iter().find(|event| event.object::<Vm>() == Some(copy.clone())).unwrap();
    assert_eq!(event.record::<Vm>().unwrap().unwrap().name_label, "copy");
    let error = client.events_from(&["VM"], "nonsense", Duration::ZERO).await.unwrap_err();
    assert!(error.is("EVENT_FROM_TOKEN_PARSE_FAILURE"), "{error}");
}

#[tokio::test]
async fn raw_disks_go_in_and_come_out_the_same() {
    for sr in ["Local storage", "Local LVM"] {
        let bench = bench().await;
        let data = content(4 * MIB);
        let disk = bench.disk(sr, 4 * MIB).await;
        assert_eq!(bench.import(&disk, ImportFormat::Raw, data.clone()).await.unwrap(), 4 * MIB as u64);
        bench.client.wait_until_detached(&disk, Duration::from_secs(10)).await.unwrap();
        assert!(bench.export(&disk, ExportFormat::Raw).await == data, "{sr}");
        assert_eq!(bench.tasks().await, []);
    }
}

#[tokio::test]
async fn a_vhd_that_came_out_goes_in_again() {
    let bench = bench().await;
    let data = content(8 * MIB);
    let first = bench.disk("Local storage", 8 * MIB).await;
    bench.import(&first, ImportFormat::Raw, data.clone()).await.unwrap();
    let vhd = bench.export(&first, ExportFormat::Vhd).await;
    let second = bench.disk("Local storage", 8 * MIB).await;
    bench.import(&second, ImportFormat::Vhd, vhd.clone()).await.unwrap();
    assert!(bench.export(&second, ExportFormat::Raw).await == data);

    let third = bench.disk("Local storage", 8 * MIB).await;
    let error = bench.import(&third, ImportFormat::Vhd, vhd[..vhd.len() - 512].to_vec()).await.unwrap_err();
    assert!(error.is("VDI_IO_ERROR"), "{error}");
    assert_eq!(error.diagnosis().unwrap().cause, Cause::ContentRefused, "{error}");
    assert_eq!(bench.tasks().await, []);
}

/// A body that does not know its length.
struct Unsized(Full<Bytes>);

impl Body for Unsized {
    type Data = Bytes;
    type Error = std::convert::Infallible;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

#[tokio::test]
async fn chunks_go_where_they_belong() {
    let bench = bench().await;
    let disk = bench.disk("Local storage", 4 * MIB).await;
    let mut body = Vec::new();
    for (offset, byte) in [(3 * MIB, 3_u8), (MIB, 1)] {
        body.extend_from_slice(&(offset as u64).to_le_bytes());
        body.extend_from_slice(&4_096_u32.to_le_bytes());
        body.extend_from_slice(&[byte; 4_096]);
    }
    body.extend_from_slice(&[0; 12]);
    bench.import(&disk, ImportFormat::RawChunked, body.clone()).await.unwrap();
    let mut expected = vec![0; 4 * MIB];
    expected[MIB..MIB + 4_096].fill(1);
    expected[3 * MIB..3 * MIB + 4_096].fill(3);
    assert!(bench.export(&disk, ExportFormat::Raw).await == expected);

    // Their end mark makes a length superfluous; what ends without it is not complete.
    let unsized_body = |len: usize| Unsized(Full::new(Bytes::copy_from_slice(&body[..len])));
    let disk = bench.disk("Local storage", 4 * MIB).await;
    let import = bench.client.import_vdi(&disk, ImportFormat::RawChunked, unsized_body(body.len()));
    assert_eq!(import.await.unwrap().bytes, body.len() as u64);
    assert!(bench.export(&disk, ExportFormat::Raw).await == expected);
    let cut = bench.client.import_vdi(&disk, ImportFormat::RawChunked, unsized_body(body.len() - 12));
    assert_eq!(cut.await.unwrap_err().kind(), ErrorKind::Transfer);
    let raw = bench.client.import_vdi(&disk, ImportFormat::Raw, unsized_body(body.len()));
    assert_eq!(raw.await.unwrap_err().kind(), ErrorKind::Body);
}

#[tokio::test]
async fn uploads_that_fail_say_why_and_leave_no_task() {
    let bench = bench().await;
    let disk = bench.disk("Local storage", 2 * MIB).await;
    let error = bench.import(&disk, ImportFormat::Raw, content(4 * MIB)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transfer, "{error}");
    assert_eq!(error.diagnosis().unwrap().cause, Cause::LongerThanDisk, "{error}");

    let error = bench.import(&disk, ImportFormat::Vhd, content(MIB)).await.unwrap_err();
    assert_eq!(error.diagnosis().unwrap().cause, Cause::ContentRefused, "{error}");

    let nothing: Ref<Vdi> = "OpaqueRef:00000000-0000-4000-8000-000000000000".into();
    let error = bench.import(&nothing, ImportFormat::Raw, content(MIB)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let error = bench.client.export_vdi(&nothing, ExportFormat::Raw, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(bench.tasks().await, []);
}

#[tokio::test]
async fn storage_that_no_host_sees_is_named_before_anything_is_sent() {
    let bench = bench().await;
    let disk = bench.disk("Local storage", 2 * MIB).await;
    let sr = bench.client.by_name_label::<Sr>("Local storage").await.unwrap();
    for pbd in bench.client.get_field(&sr, sr::field::PBDS).await.unwrap() {
        bench.client.call(pbd::Unplug { pbd }).await.unwrap();
    }
    let error = bench.import(&disk, ImportFormat::Raw, content(2 * MIB)).await.unwrap_err();
    assert!(error.is("SR_HAS_NO_PBDS"), "{error}");
    assert!(error.to_string().contains(&format!("plug a PBD of SR {sr}")), "{error}");
    assert_eq!(bench.tasks().await, []);
}

#[tokio::test]
async fn a_busy_host_is_waited_for_in_order() {
    let limits = Limits { transfers_per_host: 1, ..Limits::default() };
    let bench = bench_with(|config| config.limits(limits)).await;
    let disks = [bench.disk("Local storage", 2 * MIB).await, bench.disk("Local storage", 2 * MIB).await];
    // A download that nobody reads does not keep uploads waiting.
    let unread = bench.client.export_vdi(&disks[1], ExportFormat::Raw, None).await.unwrap();

    let (feed, body) = tokio::sync::mpsc::channel(1);
    let first = bench.client.import_vdi(&disks[0], ImportFormat::Raw, Fed { body, left: 2 * MIB });
    let first = tokio::spawn(first.into_future());
    while bench.client.transfer_queues().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (told, mut positions) = tokio::sync::mpsc::unbounded_channel();
    let second = bench
        .client
        .import_vdi(&disks[1], ImportFormat::Raw, Full::new(Bytes::from(content(2 * MIB))))
        .on_queue(move |position| {
            let _ = told.send(position);
        });
    drop(unread);
    let second = tokio::spawn(second.into_future());
    assert_eq!(positions.recv().await, Some(1));
    let uploads = bench.client.transfer_queues();
    let uploads = uploads.iter().find(|queue| queue.direction == Direction::Upload).unwrap();
    assert_eq!((uploads.running, uploads.waiting.len()), (1, 1));

    feed.send(Bytes::from(content(2 * MIB))).await.unwrap();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(positions.recv().await, None);
    assert_eq!(bench.client.transfer_queues(), []);
    assert!(bench.export(&disks[1], ExportFormat::Raw).await == content(2 * MIB));
}

#[tokio::test]
async fn downloads_say_where_in_the_queue_they_are() {
    let limits = Limits { transfers_per_host: 1, ..Limits::default() };
    let bench = bench_with(|config| config.limits(limits)).await;
    let disk = bench.disk("Local storage", 2 * MIB).await;
    let first = bench.client.export_vdi(&disk, ExportFormat::Raw, None).await.unwrap();
    let (told, mut positions) = tokio::sync::mpsc::unbounded_channel();
    let tell = |who: &'static str| {
        let told = told.clone();
        move |position| told.send((who, position)).expect("somebody listens")
    };
    let second = bench.client.export_vdi(&disk, ExportFormat::Raw, None).on_queue(tell("second"));
    let second = tokio::spawn(second.into_future());
    assert_eq!(positions.recv().await, Some(("second", 1)));
    let third = tokio::spawn(bench.client.export_database().on_queue(tell("third")).into_future());
    assert_eq!(positions.recv().await, Some(("third", 2)));
    drop(first);
    let second = second.await.unwrap().unwrap();
    assert_eq!(positions.recv().await, Some(("third", 1)));
    second.finish().await.unwrap();
    third.await.unwrap().unwrap().finish().await.unwrap();
    assert!(positions.try_recv().is_err());
    assert_eq!(bench.client.transfer_queues(), []);
}

/// A body whose data somebody else hands over.
struct Fed {
    body: tokio::sync::mpsc::Receiver<Bytes>,
    left: usize,
}

impl Body for Fed {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let data = std::task::ready!(self.body.poll_recv(cx));
        self.left -= data.as_ref().map_or(0, Bytes::len);
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left as u64)
    }
}

#[tokio::test]
async fn checksums_are_computed_on_the_way() {
    let bench = bench().await;
    let disk = bench.disk("Local storage", 2 * MIB).await;
    let body = Full::new(Bytes::from(content(2 * MIB)));
    let imported = bench.client.import_vdi(&disk, ImportFormat::Raw, body).checksum().await.unwrap();
    let export = bench.client.export_vdi(&disk, ExportFormat::Raw, None).await.unwrap();
    let exported = export.checksum().finish().await.unwrap();
    let expected: [u8; 32] = Sha256::digest(content(2 * MIB)).into();
    assert_eq!((imported.sha256, exported.sha256), (Some(expected), Some(expected)));
}

#[tokio::test]
async fn parallel_streams_fill_one_disk() {
    const STREAMS: usize = 4;
    const DISK: usize = 8 * MIB;
    let bench = bench().await;
    let disk = bench.disk("Local storage", DISK).await;
    let mut content = content(DISK);
    content[6 * MIB + 4_096..7 * MIB].fill(0);
    let route = bench.client.route_to(&disk).await.unwrap();
    let uploads = (0..STREAMS).map(|stream| {
        // Every fourth piece of 64 KiB, from the last one backwards, and none that is a hole.
        let pieces = content.chunks(64 << 10).enumerate().skip(stream).step_by(STREAMS);
        let filled = pieces.filter(|(_, piece)| piece.iter().any(|byte| *byte != 0));
        let mut body = Vec::new();
        for (number, piece) in filled.collect::<Vec<_>>().into_iter().rev() {
            body.extend_from_slice(&((number as u64) << 16).to_le_bytes());
            body.extend_from_slice(&u32::try_from(piece.len()).unwrap().to_le_bytes());
            body.extend_from_slice(piece);
        }
        body.extend_from_slice(&[0; 12]);
        let body = Full::new(Bytes::from(body));
        let upload = bench.client.import_vdi(&disk, ImportFormat::RawChunked, body).via(route.clone());
        tokio::spawn(upload.into_future())
    });
    let mut sent = 0;
    for upload in uploads.collect::<Vec<_>>() {
        sent += upload.await.unwrap().unwrap().bytes;
    }
    assert!(sent < 6 * MIB as u64, "{sent} bytes for a disk of which more than a quarter are holes");
    assert!(bench.export(&disk, ExportFormat::Raw).await == content);
}

/// A host says of a disk that is in use nothing but that.
#[tokio::test]
async fn who_holds_a_disk_is_said_by_the_one_who_is_refused_it() {
    let bench = bench().await;
    let client = &bench.client;
    let disk = bench.disk("Local storage", 16 * MIB).await;
    let says = |error: xenapi_client::Error, words: &[&str]| {
        assert!(error.is("VDI_IN_USE"), "{error}");
        let shown = error.to_string();
        assert!(words.iter().all(|word| shown.contains(word)), "{shown}, without some of {words:?}");
    };

    // An export under way: dom0 has the disk.
    let mut export = client.export_vdi(&disk, ExportFormat::Raw, None).await.unwrap();
    export.chunk().await.unwrap();
    let dom0 = ["Control domain", "VBD", "wait_until_detached"];
    let destroy = vdi::Destroy { vdi: disk.clone() };
    says(client.destroy(&disk).await.unwrap_err(), &dom0);
    says(client.spawn_task(destroy).await.unwrap().await.unwrap_err(), &dom0);
    export.finish().await.unwrap();
    client.wait_until_detached(&disk, Duration::from_secs(10)).await.unwrap();

    // A guest runs with it.
    let vm = client.call(simulated::new_vm("web")).await.unwrap();
    let attach = xenapi_types::vbd::Create {
        vm: vm.clone(),
        vdi: disk.clone(),
        userdevice: "0".to_owned(),
        mode: xenapi_types::VbdMode::Rw,
        r#type: xenapi_types::VbdType::Disk,
        ..xenapi_types::vbd::Create::default()
    };
    client.call(attach).await.unwrap();
    client.call(vm::Start { vm: vm.clone(), start_paused: false, force: false }).await.unwrap();
    let web = ["attached to \"web\"", "shut that VM down"];
    says(client.destroy(&disk).await.unwrap_err(), &web);
    let in_use = || Fault::Failure(Failure::new("VDI_IN_USE", [disk.to_string(), "export".to_owned()]));
    bench.simulator.faults().on("/export_raw_vdi", in_use());
    says(client.export_vdi(&disk, ExportFormat::Raw, None).await.unwrap_err(), &web);
    bench.simulator.faults().on("/import_raw_vdi", in_use());
    says(bench.import(&disk, ImportFormat::Raw, content(2 * MIB)).await.unwrap_err(), &web[..1]);

    // Who cannot be asked is not waited for.
    bench.simulator.faults().on("VDI.get_VBDs", Fault::Hang);
    let hurried = client.with_deadline(Duration::from_millis(500));
    says(hurried.destroy(&disk).await.unwrap_err(), &["it cannot be found out who holds the disk"]);

    client.call(vm::HardShutdown { vm }).await.unwrap();
    client.destroy(&disk).await.unwrap();
}

#[tokio::test]
async fn a_session_that_expires_before_a_transfer_is_replaced() {
    let bench = bench().await;
    let disk = bench.disk("Local storage", 2 * MIB).await;
    bench.simulator.faults().on("VDI.get_SR", Fault::SessionExpired);
    bench.import(&disk, ImportFormat::Raw, content(2 * MIB)).await.unwrap();
}

/// A body of 64 MiB that does not go on after the first.
struct Stuck(bool);

impl Body for Stuck {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(content(MIB).into()))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(64 * MIB as u64)
    }
}

#[tokio::test]
async fn dropped_transfers_leave_nothing_in_the_host() {
    let bench = bench().await;
    let disk = bench.disk("Local storage", 64 * MIB).await;
    let import = bench.client.import_vdi(&disk, ImportFormat::Raw, Stuck(false)).into_future();
    let import = tokio::spawn(import);
    while bench.tasks().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    import.abort();
    assert!(import.await.unwrap_err().is_cancelled());
    let mut export = bench.client.export_vdi(&disk, ExportFormat::Raw, None).await.unwrap();
    export.chunk().await.unwrap();
    drop(export);
    for _ in 0..100 {
        if bench.tasks().await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(bench.tasks().await, []);
    bench.client.wait_until_detached(&disk, Duration::from_secs(10)).await.unwrap();
    bench.client.destroy(&disk).await.unwrap();
}

#[tokio::test]
async fn a_transfer_dropped_while_its_record_is_removed_leaves_none() {
    let bench = bench().await;
    let disk = bench.disk("Local storage", MIB).await;
    let faults = bench.simulator.faults();
    // Removed at the second attempt only, which the caller does not live to see.
    faults.on("task.destroy", Fault::SessionExpired);
    let mut struck = faults.struck();
    let body = Full::new(Bytes::from(content(MIB)));
    let import = bench.client.import_vdi(&disk, ImportFormat::Raw, body).into_future();
    tokio::select! {
        biased;
        struck = struck.changed() => struck.unwrap(),
        imported = import => panic!("it was not waited for: {imported:?}"),
    }
    for _ in 0..100 {
        if bench.tasks().await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(bench.tasks().await, []);
}

#[tokio::test]
async fn faults_on_the_way() {
    let bench = bench().await;
    let client = &bench.client;
    let faults = bench.simulator.faults();
    let disk = bench.disk("Local storage", MIB).await;
    let before = client.all::<Vdi>().await.unwrap().len();

    faults.on("VDI.get_all", Fault::DropAfterExecution);
    client.all::<Vdi>().await.unwrap();

    faults.on("VDI.snapshot", Fault::DropAfterExecution);
    let snapshot = vdi::Snapshot { vdi: disk.clone(), driver_params: Some(BTreeMap::new()) };
    let error = client.call(snapshot).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    let vdis = client.all_records::<Vdi>().await.unwrap();
    assert_eq!(vdis.values().filter(|vdi| vdi.is_a_snapshot).count(), 1, "it was carried out, once");
    assert!(vdis.len() > before);

    faults.on("VDI.get_all", Fault::SessionExpired);
    client.all::<Vdi>().await.unwrap();

    faults.on("VDI.get_all", Fault::Hang);
    let error = client.with_deadline(Duration::from_millis(200)).all::<Vdi>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");

    faults.on("VDI.get_record", Fault::DropAfterBytes(300));
    client.record(&disk).await.unwrap();
    assert_eq!(faults.clear(), 0);
}

#[tokio::test]
async fn a_task_whose_reference_was_lost_is_found_again() {
    let bench = bench().await;
    let (client, faults) = (bench.client.with_task_owner("somebody"), bench.simulator.faults());
    let disk = bench.disk("Local storage", MIB).await;
    let snapshot = || vdi::Snapshot { vdi: disk.clone(), driver_params: Some(BTreeMap::new()) };
    for fault in [Fault::DropAfterExecution, Fault::DropAfterBytes(20)] {
        faults.on("VDI.snapshot", fault);
        let task = client.spawn_task(snapshot()).await.unwrap();
        let mark = TaskMark::of(&client.record(task.reference()).await.unwrap()).expect("a mark");
        assert!(mark.owner.as_deref() == Some("somebody") && client.holds_task(&mark), "{mark:?}");
        let made = task.wait().await.unwrap();
        assert!(client.record(&made).await.unwrap().is_a_snapshot);
        assert!(!client.holds_task(&mark));
    }
    faults.on("VDI.snapshot", Fault::DropBefore);
    let error = client.spawn_task(snapshot()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    let vdis = client.all_records::<Vdi>().await.unwrap();
    assert_eq!(vdis.values().filter(|vdi| vdi.is_a_snapshot).count(), 2, "each was carried out, once");
    assert_eq!(bench.tasks().await, []);

    // What cannot be in a header goes without.
    for owner in ["", "\u{e9}", "two\nlines", " ", &*"x".repeat(129)] {
        let task = client.with_task_owner(owner).spawn_task(snapshot()).await.unwrap();
        let mark = TaskMark::of(&client.record(task.reference()).await.unwrap()).expect("a mark");
        assert_eq!(mark.owner, None, "{owner:?}");
        task.wait().await.unwrap();
    }
}

#[tokio::test]
async fn a_task_survives_a_broken_wait() {
    let bench = bench().await;
    let client = &bench.client;
    for (method, fault) in [
        ("task.get_record", Fault::DropBefore),
        ("event.from", Fault::DropAfterExecution),
        ("event.from", Fault::SessionExpired),
    ] {
        let task: Ref<Task> =
            client.call(task::Create { label: method.to_owned(), description: String::new() }).await.unwrap();
        bench.simulator.faults().on(method, fault);
        let waiting = tokio::spawn(xenapi_client::Task::<()>::attach(client, task.clone(), "work").wait());
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(bench.simulator.faults().clear(), 0);
        assert!(!waiting.is_finished());
        client.call(task::SetStatus { task, value: TaskStatusType::Success }).await.unwrap();
        waiting.await.unwrap().unwrap();
    }
    assert_eq!(bench.tasks().await, []);
}

#[tokio::test]
async fn over_tls_with_a_pinned_certificate() {
    let bench = bench().await;
    let (url, fingerprint) = bench.simulator.listen_tls("127.0.0.1:0").await.unwrap();
    let config = Config::new(&url, "root", "pw").unwrap();
    let error =
        Client::connect(config.clone().trust(Trust::Fingerprints(vec!["ab".repeat(32).parse().unwrap()])))
            .await
            .unwrap_err();
    assert!(error.kind() == ErrorKind::Untrusted, "{error}");
    let client =
        Client::connect(config.trust(Trust::Fingerprints(vec![fingerprint.parse().unwrap()]))).await.unwrap();
    let disk = bench.disk("Local storage", 2 * MIB).await;
    let body = Full::new(Bytes::from(content(2 * MIB)));
    client.import_vdi(&disk, ImportFormat::Raw, body).await.unwrap();
    assert!(bench.export(&disk, ExportFormat::Raw).await == content(2 * MIB));
    client.close().await.unwrap();
}

#[tokio::test]
async fn many_callers_at_once() {
    let bench = bench().await;
    let calls: Vec<_> = (0..64)
        .map(|i| {
            let client = bench.client.clone();
            tokio::spawn(async move {
                if i % 2 == 0 {
                    client.all_records::<Vm>().await.map(drop)
                } else {
                    client.all::<Sr>().await.map(drop)
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

fn quick() -> RetryPolicy {
    RetryPolicy {
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(20),
        ..RetryPolicy::default()
    }
}

fn busy(code: &str) -> Fault {
    Fault::Failure(Failure::new(code, ["VM", "OpaqueRef:1", "start"]))
}

#[tokio::test]
async fn calls_are_made_again_as_the_table_says() {
    let bench = bench_with(|config| config.retries(quick())).await;
    let (client, faults) = (&bench.client, bench.simulator.faults());
    let vm = client.call(simulated::new_vm("twin")).await.unwrap();

    // Turned away: whatever the call does.
    for code in ["TOO_BUSY", "HOST_STILL_BOOTING", "OTHER_OPERATION_IN_PROGRESS", "TOO_MANY_PENDING_TASKS"] {
        (0..3).for_each(|_| faults.on("VM.create", busy(code)));
        let made = client.call(simulated::new_vm(code)).await.unwrap();
        assert_eq!(client.all_by_name_label::<Vm>(code).await.unwrap(), [made], "{code}: made once");
    }

    // Lost before or after: what is idempotent comes through, several times if need be.
    faults.on("VM.set_name_label", Fault::DropAfterExecution);
    faults.on("VM.set_name_label", Fault::DropBefore);
    faults.on("VM.set_name_label", Fault::DropAfterBytes(20));
    client.set_field(&vm, vm::field::NAME_LABEL, "renamed").await.unwrap();
    assert_eq!(client.get_field(&vm, vm::field::NAME_LABEL).await.unwrap(), "renamed");

    // A host that is always busy is not asked for ever, nor beyond the deadline.
    (0..10).for_each(|_| faults.on("VM.get_record", busy("TOO_BUSY")));
    let error = client.record(&vm).await.unwrap_err();
    assert!(error.is("TOO_BUSY"), "{error}");
    assert_eq!(faults.clear(), 0, "ten attempts");
    (0..3).for_each(|_| faults.on("VM.get_record", busy("TOO_BUSY")));
    let minute = Duration::from_secs(60);
    let slow = client.with_retries(RetryPolicy { first_pause: minute, longest_pause: minute, ..quick() });
    let error = slow.with_deadline(Duration::from_secs(10)).record(&vm).await.unwrap_err();
    assert!(error.is("TOO_BUSY"), "the last error rather than a time-out: {error}");
    assert_eq!(faults.clear(), 2, "one attempt");
    faults.on("VM.get_record", busy("TOO_BUSY"));
    assert!(client.with_retries(RetryPolicy::OFF).record(&vm).await.unwrap_err().is("TOO_BUSY"));

    // Final codes are final.
    faults.on("VM.get_record", busy("INTERNAL_ERROR"));
    assert!(client.record(&vm).await.unwrap_err().is("INTERNAL_ERROR"));
    assert_eq!(faults.clear(), 0);
}

#[tokio::test]
async fn a_lost_creation_is_found_by_its_mark() {
    const KEY: &str = "made-by";
    let bench = bench().await;
    let (client, faults) = (&bench.client, bench.simulator.faults());
    let marked = |mark: &str| vm::Create {
        other_config: [(KEY.to_owned(), mark.to_owned())].into(),
        ..simulated::new_vm("marked")
    };
    let field = vm::field::OTHER_CONFIG;

    faults.on("VM.create", Fault::DropAfterExecution);
    let vm = client.create_marked(marked("one"), field, KEY, "one").await.unwrap();
    assert_eq!(client.record(&vm).await.unwrap().other_config[KEY], "one");
    assert_eq!(client.resolve_created(field, KEY, "one").await.unwrap(), Some(vm));

    faults.on("VM.create", Fault::DropBefore);
    let error = client.create_marked(marked("two"), field, KEY, "two").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    assert!(error.to_string().contains("no object with made-by=two so far"), "{error}");
    assert_eq!(client.resolve_created(field, KEY, "two").await.unwrap(), None);

    client.call(marked("one")).await.unwrap();
    let error = client.resolve_created(field, KEY, "one").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ambiguous, "{error}");
}
