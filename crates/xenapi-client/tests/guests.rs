//! Whole VMs out of a simulated pool and back.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use support::simulated;
use xapi_simulator::Simulator;
use xapi_simulator::fault::Fault;
use xenapi_client::{Client, ErrorKind, ExportFormat, ImportFormat, VmExport};
use xenapi_types::archive::{self, Decoder, Item, PieceName};
use xenapi_types::handler::Compression;
use xenapi_types::{Network, Sr, Task, VbdMode, VbdType, Vdi, VdiType, Vm, vbd, vdi, vif, vm};
use xenapi_wire::Ref;

const MIB: usize = 1 << 20;

struct Bench {
    simulator: Arc<Simulator>,
    client: Client,
}

async fn bench() -> Bench {
    let simulator = simulated::demo().await;
    let mut timeouts = support::timeouts();
    timeouts.stall = Duration::from_secs(20);
    timeouts.settle = Duration::from_millis(200);
    Bench { client: simulated::client(&simulator, |config| config.timeouts(timeouts)), simulator }
}

/// Bytes that are different everywhere, with holes of whole MiB.
fn content(mib: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = vec![0; mib * MIB];
    for piece in bytes.chunks_mut(MIB).step_by(2) {
        for byte in piece.iter_mut().take(100_000) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
    }
    bytes
}

impl Bench {
    async fn disk(&self, vm: &Ref<Vm>, device: &str, bytes: Vec<u8>) -> Ref<Vdi> {
        let sr = self.client.by_name_label::<Sr>("Local storage").await.unwrap();
        let create = vdi::Create {
            name_label: format!("disk {device}"),
            sr,
            virtual_size: i64::try_from(bytes.len()).unwrap(),
            r#type: VdiType::User,
            ..vdi::Create::default()
        };
        let vdi = self.client.call(create).await.unwrap();
        self.client.import_vdi(&vdi, ImportFormat::Raw, Full::new(Bytes::from(bytes))).await.unwrap();
        let create = vbd::Create {
            vm: vm.clone(),
            vdi: vdi.clone(),
            userdevice: device.to_owned(),
            mode: VbdMode::Rw,
            r#type: VbdType::Disk,
            ..vbd::Create::default()
        };
        self.client.call(create).await.unwrap();
        vdi
    }

    /// A halted VM with two disks and an interface.
    async fn guest(&self) -> Ref<Vm> {
        let vm = self.client.call(simulated::new_vm("guest")).await.unwrap();
        self.disk(&vm, "0", content(4, 1)).await;
        self.disk(&vm, "1", content(2, 2)).await;
        let network = self.client.all::<Network>().await.unwrap().remove(0);
        let create =
            vif::Create { vm: vm.clone(), device: "0".to_owned(), network, ..vif::Create::default() };
        self.client.call(create).await.unwrap();
        vm
    }

    async fn disks(&self, vm: &Ref<Vm>) -> BTreeMap<String, Vec<u8>> {
        let mut disks = BTreeMap::new();
        for vbd in self.client.get_field(vm, vm::field::VBDS).await.unwrap() {
            let record = self.client.record(&vbd).await.unwrap();
            let mut export = self.client.export_vdi(&record.vdi, ExportFormat::Raw, None).await.unwrap();
            let mut all = Vec::new();
            while let Some(data) = export.chunk().await.unwrap() {
                all.extend_from_slice(&data);
            }
            disks.insert(record.userdevice, all);
        }
        disks
    }

    async fn macs(&self, vm: &Ref<Vm>) -> Vec<String> {
        let mut macs = Vec::new();
        for vif in self.client.get_field(vm, vm::field::VIFS).await.unwrap() {
            macs.push(self.client.get_field(&vif, vif::field::MAC).await.unwrap());
        }
        macs
    }

    async fn destroy(&self, vm: &Ref<Vm>) {
        for vbd in self.client.get_field(vm, vm::field::VBDS).await.unwrap() {
            let vdi = self.client.get_field(&vbd, vbd::field::VDI).await.unwrap();
            self.client.wait_until_detached(&vdi, Duration::from_secs(20)).await.unwrap();
            self.client.destroy(&vdi).await.unwrap();
        }
        self.client.destroy(vm).await.unwrap();
    }

    async fn export(&self, vm: &Ref<Vm>, options: VmExport) -> Vec<u8> {
        let mut file = Vec::new();
        let mut told = 0;
        let export = self.client.export_vm(vm, options).await.unwrap();
        let exported = export.copy_to(&mut file, |bytes| told = bytes).await.unwrap();
        assert_eq!((exported.bytes, told), (file.len() as u64, file.len() as u64));
        file
    }

    /// What is there now, when nothing goes on any more.
    fn objects(&self) -> BTreeMap<String, std::collections::BTreeSet<String>> {
        self.simulator.snapshot_of_objects()
    }

    async fn tasks(&self) -> usize {
        self.client.all::<Task>().await.unwrap().len()
    }
}

fn body(bytes: &[u8]) -> Full<Bytes> {
    Full::new(Bytes::copy_from_slice(bytes))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_survives_the_journey() {
    let bench = bench().await;
    let empty = bench.objects();
    let vm = bench.guest().await;
    let (disks, macs) = (bench.disks(&vm).await, bench.macs(&vm).await);
    assert!(disks["0"] == content(4, 1));
    for compression in [None, Some(Compression::Gzip), Some(Compression::Zstd)] {
        let options = VmExport { compression: compression.clone(), ..VmExport::default() };
        let archive = bench.export(&vm, options).await;
        // Two of four MiB and the last one, and both of two; or else compressed.
        assert!(archive.len() < 5 * MIB + 100_000, "{}", archive.len());
        let sent = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&sent);
        let importing = bench.client.import_vm(body(&archive));
        let copies = importing.on_progress(move |bytes| seen.store(bytes, Ordering::Relaxed)).await.unwrap();
        let [copy] = &copies[..] else { panic!("{copies:?}") };
        assert!(sent.load(Ordering::Relaxed) > 0);
        assert_eq!(bench.client.get_field(copy, vm::field::NAME_LABEL).await.unwrap(), "guest");
        assert!(bench.disks(copy).await == disks, "{compression:?}");
        assert_ne!(bench.macs(copy).await, macs, "two VMs, two addresses");
        bench.destroy(copy).await;
    }
    bench.destroy(&vm).await;
    assert_eq!(bench.objects(), empty);
    assert_eq!(bench.tasks().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_vm_is_the_same() {
    let bench = bench().await;
    let vm = bench.guest().await;
    let (uuid, macs) = (bench.client.get_field(&vm, vm::field::UUID).await.unwrap(), bench.macs(&vm).await);
    let disks = bench.disks(&vm).await;
    let archive = bench.export(&vm, VmExport::default()).await;
    let before = bench.objects();
    let error = bench.client.import_vm(body(&archive)).restore().await.unwrap_err();
    assert!(error.is("VM_TO_IMPORT_IS_NOT_NEWER_VERSION"), "{error}");
    assert_eq!(bench.objects(), before);
    bench.destroy(&vm).await;
    let sr = bench.client.by_name_label::<Sr>("Local LVM").await.unwrap();
    let restored = bench.client.import_vm(body(&archive)).restore().sr(&sr).await.unwrap().remove(0);
    assert_eq!(bench.client.get_field(&restored, vm::field::UUID).await.unwrap(), uuid);
    assert_eq!(bench.macs(&restored).await, macs);
    let restored_disks = bench.disks(&restored).await;
    for (device, content) in &disks {
        assert!(restored_disks[device].starts_with(content), "{device}");
    }
    assert_eq!(bench.tasks().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_good_archive_leaves_nothing() {
    let bench = bench().await;
    let vm = bench.guest().await;
    let archive = bench.export(&vm, VmExport::default()).await;
    let before = bench.objects();
    let mut damaged = archive.clone();
    let first = archive.windows(14).position(|w| w.ends_with(b"/00000000")).unwrap();
    damaged[first + 2_000] ^= 1;
    let foreign = archive::member("readme.txt", b"hello", 0).unwrap();
    let cases = [
        (b"junk".repeat(1_000), "does not begin like a tar file"),
        (foreign, "\"readme.txt\""),
        (Vec::new(), "does not begin like a tar file"),
        (damaged.clone(), "checksum of Ref:"),
        (archive[..archive.len() / 2].to_vec(), "cut off"),
    ];
    for (bytes, text) in cases {
        let error = bench.client.import_vm(body(&bytes)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Body, "{error}");
        assert!(error.to_string().contains(text), "{error}, not {text}");
    }
    // The host's own words, when this side does not look.
    let error = bench.client.import_vm(body(&archive[..archive.len() / 2])).force().await.unwrap_err();
    assert!(error.is("IMPORT_ERROR_PREMATURE_EOF"), "{error}");
    // The host ends what was cut off by itself.
    let mut changes = bench.simulator.core().db().subscribe();
    while bench.objects() != before || bench.tasks().await > 0 {
        changes.changed().await.unwrap();
    }
    let forced = bench.client.import_vm(body(&damaged)).force().await.unwrap();
    assert_eq!(forced.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_off_is_told() {
    let bench = bench().await;
    let vm = bench.guest().await;
    let archive = bench.export(&vm, VmExport::default()).await;
    bench.simulator.faults().on("/export", Fault::DropAfterBytes(2 * MIB));
    let export = bench.client.export_vm(&vm, VmExport::default()).await.unwrap();
    let error = export.finish().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transfer, "{error}");
    let before = bench.objects();
    bench.simulator.faults().on("/import", Fault::DropAfterBytes(2 * MIB));
    let error = bench.client.import_vm(body(&archive)).await.unwrap_err();
    assert!(error.is("IMPORT_ERROR_PREMATURE_EOF"), "{error}");
    assert_eq!(bench.objects(), before);
    bench.client.call(vm::Start { vm: vm.clone(), start_paused: false, force: false }).await.unwrap();
    let error = bench.client.export_vm(&vm, VmExport::default()).await.unwrap_err();
    assert!(error.is("VM_BAD_POWER_STATE"), "{error}");
    let error = bench.client.export_vm(&Ref::from("OpaqueRef:none"), VmExport::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(bench.tasks().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_comes_in_pieces() {
    let bench = bench().await;
    let vm = bench.guest().await;
    let vbd = bench.client.get_field(&vm, vm::field::VBDS).await.unwrap().remove(0);
    let vdi = bench.client.get_field(&vbd, vbd::field::VDI).await.unwrap();
    let mut raw = Vec::new();
    let export = bench.client.export_vdi(&vdi, ExportFormat::Raw, None).await.unwrap();
    export.copy_to(&mut raw, |_| {}).await.unwrap();
    let mut export = bench.client.export_vdi(&vdi, ExportFormat::Tar, None).await.unwrap();
    let (mut disk, mut decoder) = (vec![0; raw.len()], Decoder::of_disk());
    while let Some(data) = export.chunk().await.unwrap() {
        let mut data = &data[..];
        while let Some(item) = decoder.next(&mut data).unwrap() {
            let Item::Piece { disk: name, index, content } = item else { panic!("{item:?}") };
            assert_eq!(name, "vdi");
            let at = usize::try_from(index).unwrap() * MIB;
            disk[at..at + content.len()].copy_from_slice(&content);
        }
    }
    decoder.finish().unwrap();
    assert!(disk == raw);
    assert_eq!(PieceName { disk: "vdi", index: 1 }.to_string(), "vdi/00000001");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_goes_in_pieces() {
    let bench = bench().await;
    let vm = bench.guest().await;
    let disk = bench.disk(&vm, "2", content(4, 3)).await;
    let tar = async |vdi: &Ref<Vdi>| {
        let mut bytes = Vec::new();
        let export = bench.client.export_vdi(vdi, ExportFormat::Tar, None).await.unwrap();
        export.copy_to(&mut bytes, |_| {}).await.unwrap();
        bytes
    };
    let archive = tar(&disk).await;
    let copy = bench.disk(&vm, "3", vec![0; 4 * MIB]).await;
    let imported = bench.client.import_vdi(&copy, ImportFormat::Tar, body(&archive)).await.unwrap();
    assert_eq!(imported.bytes, archive.len() as u64);
    assert!(bench.disks(&vm).await["3"] == content(4, 3));
    assert!(tar(&copy).await == archive);

    // What is wrong is found before the host has it.
    let mut damaged = archive.clone();
    damaged[70_000] ^= 1;
    for (bytes, text) in [
        (&damaged[..], "checksum of vdi/00000000"),
        (&archive[..archive.len() - 1_024], "cut off"),
        (b"a raw disk, for example".repeat(100).as_slice(), "no header"),
    ] {
        let error = bench.client.import_vdi(&copy, ImportFormat::Tar, body(bytes)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Body, "{error}");
        assert!(error.to_string().contains(text), "{error}, not {text}");
    }
    // The host says what this side cannot see.
    let small = bench.disk(&vm, "4", vec![0; 2 * MIB]).await;
    let error = bench.client.import_vdi(&small, ImportFormat::Tar, body(&archive)).await.unwrap_err();
    assert!(error.is("IMPORT_ERROR_UNEXPECTED_FILE"), "{error}");
    assert_eq!(bench.tasks().await, 0);
}
