//! Guests of mode xen whose kernel and ramdisk are files of dom0: brought there, shared, and removed with the last one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use e2e::dom0::Dom0;
use e2e::pool::{Census, Pool};
use e2e::tools;
use tempfile::TempDir;
use xapi_simulator::World;
use xapi_simulator::fault::Fault;
use xenapi_driver::live::MigrateOptions;
use xenapi_driver::spec::{Flavor, Grow, InstanceSpec, Kernel, VmMode};
use xenapi_driver::{Cause, Instance, Progress, SpawnOptions, Which};
use xenapi_types::{Vdi, Vm, VmPowerState, VmRecord};
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
        let pool = Pool::of_plugins(World::demo().with_hosts(2), &dom0.plugins()).await?;
        let files = tempfile::tempdir()?;
        // A file system without a partition table, as an AMI is; nothing here reads it.
        fs::write(files.path().join("ami"), vec![7; 4 << 20])?;
        fs::write(files.path().join("aki"), b"kernel ".repeat(100_001))?;
        fs::write(files.path().join("ari"), b"ramdisk".repeat(200_003))?;
        let before = pool.census().await?;
        Ok(Self { dom0, pool, files, before })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
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
        self.pool.driver.spawn(InstanceSpec { node: home, ..spec }, SpawnOptions::default()).await
    }

    async fn vm(&self, instance: &Instance) -> Result<VmRecord> {
        let client = self.pool.client();
        Ok(client.record(&client.by_uuid::<Vm>(&instance.vm_uuid).await?).await?)
    }

    async fn destroy(&self, instance: &Instance) -> Result<()> {
        self.pool.driver.destroy(Which::Instance(instance.uuid), Progress::none()).await?;
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
    assert_eq!(bench.pool.client().all::<Vdi>().await?.len(), 1);

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
