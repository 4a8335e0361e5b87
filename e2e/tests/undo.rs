//! Whatever fails, and wherever: the pool holds what it held before.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use e2e::pool::{Census, NETWORK, Pool};
use examples::demo_image::DemoImage;
use tempfile::TempDir;
use tokio::sync::mpsc;
use xapi_simulator::fault::Fault;
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec, Nic};
use xenapi_driver::{Cause, Checks, Event, Progress, SpawnOptions, Stage, Which};
use xenapi_wire::Failure;

/// What a spawn asks of the host, and how often.
const CALLS: &[(&str, usize)] = &[
    ("host.get_all_records", 1),
    ("host.compute_free_memory", 1),
    ("SR.get_all_records", 1),
    ("PBD.get_all_records", 1),
    ("pool.get_all_records", 5),
    ("network.get_all_records", 1),
    ("VM.get_by_name_label", 1),
    ("VDI.create", 2),
    ("VDI.get_record", 2),
    ("VDI.add_to_other_config", 2),
    ("VDI.get_SR", 4),
    ("SR.get_PBDs", 4),
    ("PBD.get_host", 4),
    ("task.create", 4),
    ("/import_raw_vdi", 2),
    ("task.get_record", 4),
    ("task.destroy", 4),
    ("VDI.get_VBDs", 2),
    ("/export_raw_vdi", 2),
    ("VDI.get_virtual_size", 1),
    ("VM.create", 1),
    ("VM.get_uuid", 1),
    ("VM.add_to_other_config", 2),
    ("VBD.create", 2),
    ("VIF.create", 1),
    ("VM.start_on", 1),
    ("VM.get_record", 1),
    ("VM.get_domid", 1),
    ("VM.remove_from_other_config", 1),
];

struct Bench {
    pool: Pool,
    _files: TempDir,
    image: PathBuf,
    before: Census,
}

impl Bench {
    async fn new() -> Result<Self> {
        let files = tempfile::tempdir()?;
        let image = files.path().join("demo.img");
        DemoImage { virtual_bytes: 64 << 20, payload_bytes: 1 << 20 }.write(&image)?;
        let pool = Pool::demo().await?;
        let before = pool.census().await?;
        Ok(Self { pool, _files: files, image, before })
    }

    fn spec(&self) -> InstanceSpec {
        let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, 0), &self.image);
        spec.nics = vec![Nic::on(NETWORK)];
        spec.config_drive = Some(ConfigDrive::default());
        spec
    }

    fn options() -> SpawnOptions {
        SpawnOptions { checks: Checks::AllDisks, ..SpawnOptions::default() }
    }

    /// Spawns with a fault at the `k`-th call of a method. The driver may get over it; then the
    /// instance is destroyed. In either case nothing must be left.
    async fn with_fault(&self, method: &str, k: usize, fault: Fault) -> Result<bool> {
        let faults = self.pool.simulator.faults();
        faults.on_nth(method, k, fault.clone());
        let result = self.pool.driver.spawn(self.spec(), Self::options()).await;
        assert_eq!(faults.clear(), 0, "{method} was called less than {k} times");
        let failed = match result {
            Ok(instance) => {
                self.pool.driver.destroy(Which::Instance(instance.uuid), Progress::none()).await?;
                false
            }
            Err(error) => {
                assert!(error.leftovers().is_empty(), "{method} {k} {fault:?}: {error}");
                assert!(!error.to_string().contains('\n'), "{error}");
                true
            }
        };
        self.pool
            .census()
            .await?
            .assert_as(&self.before, &format!("after {fault:?} at call {k} of {method}"));
        Ok(failed)
    }
}

#[tokio::test]
async fn a_refusal_at_every_call() -> Result<()> {
    let bench = Bench::new().await?;
    // A finished task whose record may not be removed is litter that XAPI collects itself.
    for &(method, count) in CALLS.iter().filter(|(method, _)| *method != "task.destroy") {
        for k in 1..=count {
            let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
            let failed = bench.with_fault(method, k, refusal).await?;
            // Looking at a transfer that ends well may fail.
            let only_looks = matches!(method, "task.get_record" | "VDI.get_virtual_size");
            assert!(failed || only_looks, "call {k} of {method} does not matter");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_lost_answer_at_every_call() -> Result<()> {
    let bench = Bench::new().await?;
    // Nobody heard of a task whose reference was lost: XAPI removes it some time after its end.
    let makes_a_task = |method: &str| matches!(method, "task.create" | "VM.start_on");
    for &(method, count) in CALLS.iter().filter(|(method, _)| !makes_a_task(method)) {
        for k in 1..=count {
            bench.with_fault(method, k, Fault::DropAfterExecution).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_lost_call_and_a_lost_session_at_every_step_that_creates() -> Result<()> {
    let bench = Bench::new().await?;
    for (method, k) in [
        ("VDI.create", 1),
        ("VDI.create", 2),
        ("/import_raw_vdi", 1),
        ("VM.create", 1),
        ("VBD.create", 2),
        ("VM.start_on", 1),
    ] {
        bench.with_fault(method, k, Fault::DropBefore).await?;
        bench.with_fault(method, k, Fault::SessionExpired).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_undone_is_named() -> Result<()> {
    let bench = Bench::new().await?;
    let faults = bench.pool.simulator.faults();
    let refusal = |code: &str| Fault::Failure(Failure::new(code, ["a fault of the test"]));
    faults.on("VM.create", refusal("INTERNAL_ERROR"));
    // Both disks on their own, then once more when all is swept.
    for k in 1..=3 {
        faults.on_nth("VDI.destroy", k, refusal("SR_BACKEND_FAILURE_80"));
    }
    let error = bench.pool.driver.spawn(bench.spec(), Bench::options()).await.expect_err("an error");
    assert_eq!(error.stage(), Stage::Vm);
    assert_eq!(error.leftovers().len(), 3, "{error}");
    let text = error.to_string();
    for part in ["INTERNAL_ERROR", "remove by hand", "disk \"web1\"", "SR_BACKEND_FAILURE_80"] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    Ok(())
}

#[tokio::test]
async fn an_undo_that_fails_once_is_made_up_for() -> Result<()> {
    let bench = Bench::new().await?;
    let faults = bench.pool.simulator.faults();
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    for call in ["VBD.create", "VM.destroy", "VDI.destroy"] {
        faults.on(call, refusal.clone());
    }
    let error = bench.pool.driver.spawn(bench.spec(), Bench::options()).await.expect_err("an error");
    assert!(error.leftovers().is_empty(), "{error}");
    bench.pool.census().await?.assert_as(&bench.before, "in the end");
    Ok(())
}

/// Cancels a spawn as soon as a stage begins.
#[tokio::test]
async fn cancelled_at_every_stage() -> Result<()> {
    let bench = Bench::new().await?;
    let stages = [
        Stage::Image,
        Stage::Plan,
        Stage::Scan,
        Stage::RootDisk,
        Stage::RootDiskCheck,
        Stage::ConfigDrive,
        Stage::ConfigDriveCheck,
        Stage::Vm,
        Stage::Devices,
        Stage::Start,
    ];
    for stage in stages {
        let (sender, mut events) = mpsc::unbounded_channel();
        let progress = Progress::to(move |event| {
            // The receiver goes away when the test is done with it.
            let _ = sender.send(event);
        });
        // Otherwise it would be over before it can be cancelled.
        bench.pool.simulator.faults().on("VM.start_on", Fault::Slow(Duration::from_millis(300)));
        let options = SpawnOptions { progress, ..Bench::options() };
        let mut spawning = bench.pool.driver.spawn(bench.spec(), options);
        let result = loop {
            tokio::select! {
                result = &mut spawning => break result,
                Some(event) = events.recv() => {
                    if matches!(event, Event::Started(begun) if begun == stage) {
                        spawning.cancel();
                    }
                }
            }
        };
        bench.pool.simulator.faults().clear();
        let error = result.expect_err("cancelled");
        assert!(matches!(error.cause(), Cause::Cancelled), "{stage}: {error}");
        assert!(error.leftovers().is_empty(), "{stage}: {error}");
        bench.pool.census().await?.assert_as(&bench.before, &format!("cancelled at {stage}"));
    }
    Ok(())
}

#[tokio::test]
async fn dropped_in_the_middle() -> Result<()> {
    let bench = Bench::new().await?;
    let (sender, mut events) = mpsc::unbounded_channel();
    let progress = Progress::to(move |event| {
        let _ = sender.send(event);
    });
    let options = SpawnOptions { progress, ..Bench::options() };
    let spawning = bench.pool.driver.spawn(bench.spec(), options);
    while let Some(event) = events.recv().await {
        if matches!(event, Event::Started(Stage::RootDisk)) {
            break;
        }
    }
    drop(spawning);
    bench.pool.driver.clone().close().await?;
    bench.pool.census().await?.assert_as(&bench.before, "in the end");
    Ok(())
}
