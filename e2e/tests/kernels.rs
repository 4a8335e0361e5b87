//! Guests of mode xen whose kernel and ramdisk are files of dom0: brought there, shared, and removed with the last one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::dom0::Dom0;
use e2e::pool::{Census, Pool};
use e2e::tools;
use image_store::{Algorithm, Digest};
use tempfile::TempDir;
use xapi_simulator::World;
use xapi_simulator::fault::Fault;
use xenapi_driver::evacuate::EvacuateOptions;
use xenapi_driver::live::MigrateOptions;
use xenapi_driver::reconcile::ReconcileOptions;
use xenapi_driver::resize::{RebuildOptions, ResizeOptions};
use xenapi_driver::spec::{Flavor, Grow, InstanceSpec, Kernel, Remote, SrChoice, VmMode};
use xenapi_driver::{Cause, Instance, Node, PowerChange, Progress, Shutdown, Which};
use xenapi_types::{Host, Vdi, Vm, VmPowerState, VmRecord, vm};
use xenapi_wire::Failure;

const ARGS: &str = "root=/dev/xvda ro console=hvc0";

struct Bench {
    dom0: Dom0,
    pool: Pool,
    files: TempDir,
    before: Census,
}

impl Bench {
    async fn new() -> Result<Self> {
        let dom0 =
            Dom0::new(env!("CARGO_BIN_EXE_dom0-plugins"), &["dom0_protocol.py", "dom0_plugin_version.py"])?;
        let pool = Pool::of_plugins(World::demo().with_hosts(2).with_all_drivers(), &dom0.plugins()).await?;
        let files = tempfile::tempdir()?;
        // A file system without a partition table, as an AMI is; nothing here reads it.
        fs::write(files.path().join("ami"), vec![7; 4 << 20])?;
        fs::write(files.path().join("aki"), b"kernel ".repeat(100_001))?;
        fs::write(files.path().join("ari"), b"ramdisk".repeat(200_003))?;
        pool.share("shared").await?;
        let before = pool.census().await?;
        Ok(Self { dom0, pool, files, before })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// A guest whose kernel and ramdisk its host fetches from here.
    fn fetched(&self, name: &str, server: &str) -> Result<InstanceSpec> {
        let remote = |file: &str| {
            let digest = Digest::of(Algorithm::Sha512, &fs::read(self.file(file))?);
            anyhow::Ok(Remote { url: format!("{server}/{file}"), headers: BTreeMap::new(), digest })
        };
        let kernel = Kernel::new(remote("aki")?);
        let kernel = Kernel { ramdisk: Some(remote("ari")?.into()), args: ARGS.to_owned(), ..kernel };
        let sr = SrChoice::NameLabel("shared".into());
        Ok(InstanceSpec { kernel: Some(kernel), sr, ..self.spec(name) })
    }

    /// A server of the files, and what it was asked for until now.
    fn serve(&self) -> Result<(String, Arc<Mutex<Vec<String>>>)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (folder, told) = (self.files.path().to_owned(), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.expect("a connection"));
                let (mut first, mut line) = (String::new(), String::new());
                let _ = stream.read_line(&mut first);
                while stream.read_line(&mut line).is_ok_and(|len| len > 2) {
                    line.clear();
                }
                let path = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
                let content = fs::read(folder.join(&path)).unwrap_or_default();
                told.lock().expect("a list").push(path);
                let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
                // Who has enough may go.
                let _ = stream.get_mut().write_all(&[head.as_bytes(), &content].concat());
            }
        });
        Ok((url, asked))
    }

    /// The host that an instance is not on.
    async fn other(&self, instance: &Instance) -> Result<Node> {
        let nodes = self.pool.driver.nodes().await?;
        nodes.into_iter().find(|node| node.uuid != instance.node_uuid).context("another host")
    }

    /// As if the other host had kept nothing: in this pool both keep their files in one place.
    fn forget(&self) -> Result<()> {
        for name in self.kept()? {
            fs::remove_file(self.dom0.path("/boot/guest").join(name))?;
        }
        Ok(())
    }

    fn spec(&self, name: &str) -> InstanceSpec {
        let mut spec = InstanceSpec::new(name, Flavor::new(1, 512, 0), self.file("ami"));
        let kernel = Kernel::files(self.file("aki"), Some(self.file("ari")));
        spec.kernel = Some(Kernel { args: ARGS.to_owned(), ..kernel });
        spec
    }

    async fn spawn(&self, spec: InstanceSpec) -> xenapi_driver::Result<Instance> {
        let nodes = self.pool.driver.nodes().await?;
        let home = nodes.iter().find(|node| node.name == "demo-host").and_then(|node| node.uuid.parse().ok());
        self.pool.spawn(InstanceSpec { node: home, ..spec }).await
    }

    async fn vm(&self, instance: &Instance) -> Result<VmRecord> {
        let client = self.pool.client();
        Ok(client.record(&client.by_uuid::<Vm>(&instance.vm_uuid).await?).await?)
    }

    async fn destroy(&self, instance: &Instance) -> Result<()> {
        self.pool.destroy(instance).await?;
        Ok(())
    }

    /// What dom0 keeps, in the order of the names.
    fn kept(&self) -> Result<Vec<String>> {
        let folder = self.dom0.path("/boot/guest");
        let mut names = Vec::new();
        if folder.exists() {
            for entry in fs::read_dir(folder)? {
                names.push(entry?.file_name().into_string().unwrap_or_default());
            }
        }
        names.sort();
        Ok(names)
    }
}

#[tokio::test]
async fn two_guests_share_a_kernel_and_leave_nothing() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let bench = Bench::new().await?;
    let one = bench.spawn(bench.spec("one")).await?;
    let vm = bench.vm(&one).await?;
    assert_eq!(vm.power_state, VmPowerState::Running);
    assert_eq!((vm.hvm_boot_policy.as_str(), vm.pv_bootloader.as_str(), vm.pv_args.as_str()), ("", "", ARGS));
    for (path, wanted) in [(&vm.pv_kernel, "aki"), (&vm.pv_ramdisk, "ari")] {
        assert_eq!(fs::read(path)?, fs::read(bench.file(wanted))?, "{path}");
        assert_eq!(fs::metadata(path)?.nlink(), 2, "the guest's and the cache's");
    }
    // They came on disks of which none is left.
    let disks = bench.before.objects.get("VDI").map_or(0, BTreeSet::len);
    assert_eq!(bench.pool.client().all::<Vdi>().await?.len(), disks + 1);

    bench.pool.simulator.faults().record();
    let two = bench.spawn(bench.spec("two")).await?;
    let calls = bench.pool.simulator.faults().recorded();
    assert_eq!(
        calls.iter().filter(|call| *call == "VDI.create").count(),
        1,
        "the root disk alone: {calls:?}"
    );
    let shared = bench.vm(&two).await?.pv_kernel;
    assert_eq!(fs::metadata(&shared)?.nlink(), 3);

    bench.destroy(&one).await?;
    assert!(!fs::exists(&vm.pv_kernel)? && !fs::exists(&vm.pv_ramdisk)?);
    assert_eq!(fs::read(&shared)?, fs::read(bench.file("aki"))?);
    assert_eq!(bench.kept()?.len(), 4);
    bench.destroy(&two).await?;
    assert_eq!(bench.kept()?, [""; 0]);
    bench.pool.census().await?.assert_as(&bench.before, "after both");
    Ok(())
}

#[tokio::test]
async fn a_fault_at_every_call_leaves_no_kernel() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let bench = Bench::new().await?;
    let calls = ["VBD.plug", "VM.set_PV_kernel", "VM.set_PV_ramdisk", "VM.set_PV_args", "VM.start_on"];
    for call in calls.map(str::to_owned).into_iter().chain(["VDI.destroy".to_owned()]) {
        let failure = Failure::new("INTERNAL_ERROR", ["it was to be"]);
        bench.pool.simulator.faults().on(&call, Fault::Failure(failure));
        let error = bench.spawn(bench.spec("one")).await.err().with_context(|| call.clone())?;
        assert!(error.leftovers().is_empty(), "{call}: {error}");
        assert_eq!(bench.kept()?, [""; 0], "{call}");
        bench.pool.census().await?.assert_as(&bench.before, &call);
    }
    Ok(())
}

/// A host that only cannot be reached may keep what the guest had there, and somebody has to hear of it; one
/// that the pool has given up, or that never had the function, keeps nobody from the rest.
#[tokio::test]
async fn destroyed_although_a_host_does_not_answer() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let bench = Bench::new().await?;
    let first = bench.pool.client().all::<Host>().await?.remove(0);
    let metrics = bench.pool.client().record(&first).await?.metrics.to_string();
    let away = ("CANNOT_CONTACT_HOST", first.to_string());
    let unknown = ("UNKNOWN_XENAPI_PLUGIN_FUNCTION", "remove_kernels".to_owned());
    for ((code, about), live, goes) in [(&away, true, false), (&away, false, true), (&unknown, true, true)] {
        let one = bench.spawn(bench.spec("one")).await?;
        let off = PowerChange::Off(Shutdown::Hard);
        bench.pool.driver.power(Which::Instance(one.uuid), off, Progress::none()).await?;
        bench.pool.simulator.core().db().write(|tx| tx.set("host_metrics", &metrics, "live", live))?;
        let fault = Fault::Failure(Failure::new(*code, [about.clone()]));
        bench.pool.simulator.faults().on("host.call_plugin", fault);
        let destroyed = bench.pool.destroy(&one).await;
        assert_eq!(destroyed.is_ok(), goes, "{code} {live}: {destroyed:?}");
        assert_eq!(bench.pool.simulator.faults().clear(), 0, "{code}");
        if !goes {
            bench.destroy(&one).await?;
        }
        assert_eq!(bench.kept()?, [""; 0], "{code}");
        bench.pool.simulator.core().db().write(|tx| tx.set("host_metrics", &metrics, "live", true))?;
        bench.pool.census().await?.assert_as(&bench.before, code);
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_is_told_before_anything_is_made() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let bench = Bench::new().await?;
    let refused = async |spec: InstanceSpec, part: &str| -> Result<()> {
        let error = bench.spawn(spec).await.err().context("it cannot be made")?.to_string();
        assert!(error.contains(part), "{error}");
        bench.pool.census().await?.assert_as(&bench.before, part);
        Ok(())
    };
    let spec = InstanceSpec { vm_mode: Some(VmMode::Hvm), ..bench.spec("one") };
    refused(spec, "a guest of mode hvm starts the kernel on its disk").await?;
    let mut spec = bench.spec("one");
    spec.kernel.as_mut().context("a kernel")?.max_bytes = 700_000;
    refused(spec, "the most for a kernel or ramdisk").await?;
    fs::write(bench.file("empty"), "")?;
    let kernel = |name: &str| Some(Kernel::files(bench.file(name), None));
    refused(InstanceSpec { kernel: kernel("empty"), ..bench.spec("one") }, "is empty").await?;
    refused(InstanceSpec { kernel: kernel("absent"), ..bench.spec("one") }, "absent").await?;

    // Other hosts do not have the file.
    let one = bench.spawn(bench.spec("one")).await?;
    let nodes = bench.pool.driver.nodes().await?;
    let other = nodes.iter().find(|node| node.uuid != one.node_uuid).context("another host")?;
    let options = MigrateOptions::to(other.uuid.parse()?);
    let error = bench.pool.driver.live_migrate(Which::Instance(one.uuid), options).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::KernelStays { .. }), "{error}");
    bench.destroy(&one).await?;

    fs::remove_file(bench.dom0.plugins().join("dom0_plugin_version.py"))?;
    let spec = bench.spec("one");
    assert_eq!(spec.disk_setup.grow, Grow::No);
    refused(spec, "its plugins lack cache_kernel, place_kernel, remove_kernels").await
}

#[tokio::test]
async fn a_host_fetches_a_kernel_itself_and_the_next_host_too() -> Result<()> {
    if !tools::can_be_dom0() || !tools::present(&["curl", "prlimit"]) {
        return Ok(());
    }
    let bench = Bench::new().await?;
    let (server, asked) = bench.serve()?;
    let asked = || std::mem::take(&mut *asked.lock().expect("a list"));
    bench.pool.simulator.faults().record();
    let one = bench.spawn(bench.fetched("one", &server)?).await?;
    let calls = bench.pool.simulator.faults().recorded();
    assert_eq!(
        calls.iter().filter(|call| *call == "VDI.create").count(),
        1,
        "the root disk alone: {calls:?}"
    );
    assert_eq!(asked(), ["aki", "ari"]);
    let has_kernel = async |instance: &Instance| -> Result<VmRecord> {
        let vm = bench.vm(instance).await?;
        assert_eq!((vm.power_state, vm.pv_args.as_str()), (VmPowerState::Running, ARGS));
        for (path, wanted) in [(&vm.pv_kernel, "aki"), (&vm.pv_ramdisk, "ari")] {
            assert_eq!(fs::read(path)?, fs::read(bench.file(wanted))?, "{path}");
        }
        bench.vm(instance).await
    };
    has_kernel(&one).await?;
    let two = bench.spawn(bench.fetched("two", &server)?).await?;
    assert_eq!(asked(), [""; 0], "they are in the cache");
    bench.destroy(&two).await?;

    // A cold move: the other host fetches them for itself.
    let there = bench.other(&one).await?;
    let which = Which::Instance(one.uuid);
    bench.forget()?;
    let options = ResizeOptions { node: Some(there.uuid.parse()?), ..ResizeOptions::default() };
    bench.pool.driver.resize(which.clone(), options).await?;
    assert_eq!(has_kernel(&one).await?.resident_on, there.reference);
    assert_eq!(asked(), ["aki", "ari"]);
    bench.pool.driver.confirm_resize(which.clone(), Progress::none()).await?;

    // A new root disk: the kernel is no part of it.
    bench.pool.driver.rebuild(which.clone(), RebuildOptions::with(bench.file("ami"))).await?;
    has_kernel(&one).await?;
    assert_eq!(asked(), [""; 0]);

    // The host has died, with all that it kept.
    let client = bench.pool.client();
    let metrics = client.record(&there.reference).await?.metrics.to_string();
    bench.pool.simulator.core().db().write(|tx| tx.set("host_metrics", &metrics, "live", false))?;
    bench.forget()?;
    bench.pool.driver.evacuate(which.clone(), EvacuateOptions::to(one.node_uuid.parse()?)).await?;
    assert_ne!(has_kernel(&one).await?.resident_on, there.reference);
    assert_eq!(asked(), ["aki", "ari"]);
    bench.pool.simulator.core().db().write(|tx| tx.set("host_metrics", &metrics, "live", true))?;
    bench.destroy(&one).await?;
    assert_eq!(bench.kept()?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_kernel_that_was_sent_stays_on_its_host() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let bench = Bench::new().await?;
    let sr = SrChoice::NameLabel("shared".into());
    let one = bench.spawn(InstanceSpec { sr, ..bench.spec("one") }).await?;
    let (there, which) = (bench.other(&one).await?, Which::Instance(one.uuid));
    let before = bench.pool.census().await?;
    let options =
        |node: &str| anyhow::Ok(ResizeOptions { node: Some(node.parse()?), ..ResizeOptions::default() });
    let error = bench.pool.driver.resize(which.clone(), options(&there.uuid)?).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::KernelStays { .. }), "{error}");
    let home = bench.vm(&one).await?.resident_on;
    let metrics = bench.pool.client().record(&home).await?.metrics.to_string();
    bench.pool.simulator.core().db().write(|tx| tx.set("host_metrics", &metrics, "live", false))?;
    let evacuating = bench.pool.driver.evacuate(which.clone(), EvacuateOptions::to(there.uuid.parse()?));
    let error = evacuating.await.unwrap_err();
    assert!(matches!(error.cause(), Cause::KernelStays { .. }), "{error}");
    bench.pool.census().await?.assert_as(&before, "after two refusals");
    bench.pool.simulator.core().db().write(|tx| tx.set("host_metrics", &metrics, "live", true))?;
    // On its host it can have another size.
    let flavor = Some(Flavor::new(2, 512, 0));
    let here = ResizeOptions { flavor, ..options(&one.node_uuid)? };
    bench.pool.driver.resize(which.clone(), here).await?;
    bench.pool.driver.confirm_resize(which.clone(), Progress::none()).await?;
    let vm = bench.vm(&one).await?;
    assert_eq!((vm.vcpus_max, vm.power_state), (2, VmPowerState::Running));
    assert_eq!(fs::read(&vm.pv_kernel)?, fs::read(bench.file("aki"))?);
    Ok(())
}

/// A program that was killed before its instance was complete has left kernels, and reconciling removes them with it.
#[tokio::test]
async fn kernels_that_a_killed_program_left_are_removed() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let bench = Bench::new().await?;
    let one = bench.spawn(bench.spec("one")).await?;
    bench.spawn(bench.spec("two")).await?;
    assert_eq!(bench.kept()?.len(), 6);
    let client = bench.pool.client();
    let vm = client.by_uuid::<Vm>(&one.vm_uuid).await?;
    client.add_to(&vm, vm::field::OTHER_CONFIG, "xenapi-rs:unfinished", "true").await?;
    let options = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
    bench.pool.driver.reconcile(options).await?;
    assert!(client.record_opt(&vm).await?.is_none(), "the instance was no more than a beginning");
    let kept = bench.kept()?;
    assert!(kept.len() == 4 && !kept.iter().any(|name| name.contains(&one.uuid.to_string())), "{kept:?}");
    Ok(())
}
