//! Whatever fails, and wherever: the pool holds what it held before.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Result;
use e2e::bench::Bench;
use e2e::pool::{NETWORK, foreign_drive};
use tokio::sync::mpsc;
use xapi_simulator::fault::Fault;
use xenapi_driver::spec::{ConfigDrive, InstanceSpec, Nic};
use xenapi_driver::{Cause, Checks, Event, Existing, Instance, Progress, SpawnOptions, Stage, Which};
use xenapi_types::{Ref, Task, Vbd, Vdi, Vm, vm};
use xenapi_wire::Failure;

/// What a spawn asks of the host, and how often.
const CALLS: &[(&str, usize)] = &[
    ("host.get_all_records", 1),
    ("host.compute_free_memory", 2),
    ("host.add_to_other_config", 2),
    ("host.get_other_config", 1),
    ("SR.get_all_records", 1),
    ("PBD.get_all_records", 1),
    ("pool.get_all_records", 1),
    ("network.get_all_records", 1),
    ("VM.get_by_name_label", 2),
    ("VDI.create", 2),
    ("VDI.get_record", 2),
    ("VDI.add_to_other_config", 2),
    ("PBD.get_all_records_where", 1),
    ("task.create", 4),
    ("/import_raw_vdi", 2),
    ("task.get_record", 4),
    ("task.destroy", 4),
    ("VDI.get_VBDs", 2),
    ("/export_raw_vdi", 2),
    ("VDI.get_virtual_size", 1),
    ("VDI.update", 1),
    ("VDI.get_physical_utilisation", 1),
    ("VM.create", 1),
    ("VM.get_uuid", 1),
    ("VM.add_to_other_config", 2),
    ("VBD.create", 2),
    ("VIF.create", 1),
    ("VM.start_on", 1),
    ("VM.get_record", 1),
    ("VM.remove_from_other_config", 1),
];

fn spec_of(bench: &Bench) -> InstanceSpec {
    let mut spec = bench.spec();
    spec.nics = vec![Nic::on(NETWORK)];
    spec.config_drive = Some(ConfigDrive::default());
    spec
}

fn options() -> SpawnOptions {
    SpawnOptions { checks: Checks::AllDisks, ..SpawnOptions::default() }
}

/// Spawns with a fault at the `k`-th call of a method. The driver may get over it; then the
/// instance is destroyed. In either case nothing must be left.
async fn with_fault(bench: &Bench, method: &str, k: usize, fault: Fault) -> Result<bool> {
    let faults = bench.simulator.faults();
    faults.on_nth(method, k, fault.clone());
    let result = bench.driver.spawn(spec_of(bench), options()).await;
    assert_eq!(faults.clear(), 0, "{method} was called less than {k} times");
    let failed = match result {
        Ok(instance) => {
            bench.destroy(&instance).await?;
            false
        }
        Err(error) => {
            assert!(error.leftovers().is_empty(), "{method} {k} {fault:?}: {error}");
            assert!(!error.to_string().contains('\n'), "{error}");
            true
        }
    };
    bench.census().await?.assert_as(&bench.before, &format!("after {fault:?} at call {k} of {method}"));
    Ok(failed)
}

#[tokio::test]
async fn a_refusal_at_every_call() -> Result<()> {
    let bench = Bench::new().await?;
    // A finished task whose record may not be removed is litter that XAPI collects itself.
    for &(method, count) in CALLS.iter().filter(|(method, _)| *method != "task.destroy") {
        for k in 1..=count {
            let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
            let failed = with_fault(&bench, method, k, refusal).await?;
            // Looking at a transfer that ends well may fail, and its way is looked for again.
            let only_looks = matches!(
                method,
                "task.get_record"
                    | "VDI.get_virtual_size"
                    | "VDI.update"
                    | "VDI.get_physical_utilisation"
                    | "PBD.get_all_records_where"
            );
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
            with_fault(&bench, method, k, Fault::DropAfterExecution).await?;
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
        with_fault(&bench, method, k, Fault::DropBefore).await?;
        with_fault(&bench, method, k, Fault::SessionExpired).await?;
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
    let error = bench.pool.driver.spawn(spec_of(&bench), options()).await.expect_err("an error");
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
    let error = bench.pool.driver.spawn(spec_of(&bench), options()).await.expect_err("an error");
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
        let options = SpawnOptions { progress, ..options() };
        let mut spawning = bench.pool.driver.spawn(spec_of(&bench), options);
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

/// Each stage from its beginning to its end, and the bytes of each transfer to the last one.
#[tokio::test]
async fn stages_and_bytes_are_told() -> Result<()> {
    let bench = Bench::new().await?;
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let progress = Progress::to(move |event| drop(sender.send(event)));
    bench.pool.driver.spawn(spec_of(&bench), SpawnOptions { progress, ..options() }).await?;
    let (mut open, mut ended, mut moved) = (Vec::new(), Vec::new(), BTreeMap::<_, Vec<_>>::new());
    while let Ok(event) = receiver.try_recv() {
        match event {
            Event::Started(stage) => open.push(stage),
            Event::Finished(stage, _) => {
                open.retain(|begun| *begun != stage);
                ended.push(stage);
            }
            Event::Bytes(stage, transfer) => {
                assert!(open.contains(&stage), "{stage} is not under way");
                moved.entry(stage).or_default().push(transfer);
            }
            Event::Failed(stage, _) => panic!("{stage} has failed"),
            _ => {}
        }
    }
    assert_eq!(open, []);
    for stage in [
        Stage::Image,
        Stage::Plan,
        Stage::RootDisk,
        Stage::ConfigDrive,
        Stage::Vm,
        Stage::Start,
        Stage::Complete,
    ] {
        let times = ended.iter().filter(|other| **other == stage).count();
        assert_eq!(times, 1, "{stage} ends once: {ended:?}");
    }
    for stage in [Stage::RootDisk, Stage::RootDiskCheck] {
        let told = moved.get(&stage).map_or(&[][..], |told| told);
        assert!(told.is_sorted_by_key(|transfer| transfer.wire_bytes), "{told:?}");
        let last = told.last().copied().expect("something was moved");
        assert_eq!(Some(last.wire_bytes), last.wire_total_bytes, "{stage}");
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
    let options = SpawnOptions { progress, ..options() };
    let spawning = bench.pool.driver.spawn(spec_of(&bench), options);
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

/// What a snapshot asks of the host once it has found the disk, and how often.
const SNAPSHOT_CALLS: &[(&str, usize)] = &[
    ("VDI.add_to_other_config", 1),
    ("VDI.snapshot", 1),
    ("VDI.remove_from_other_config", 1),
    ("VDI.set_other_config", 1),
    ("task.create", 1),
    ("/export_raw_vdi", 1),
];

#[tokio::test]
async fn a_snapshot_that_fails_leaves_neither_snapshot_nor_file_nor_key() -> Result<()> {
    let bench = Bench::new().await?;
    let spec = InstanceSpec { config_drive: None, ..spec_of(&bench) };
    let instance = bench.pool.spawn(spec).await?;
    let before = visible(&bench).await?;
    let out = tempfile::tempdir()?;
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    for &(method, count) in SNAPSHOT_CALLS {
        for k in 1..=count {
            for fault in [&refusal, &Fault::DropAfterExecution] {
                if (method, fault) == ("task.create", &Fault::DropAfterExecution) {
                    continue;
                }
                let faults = bench.pool.simulator.faults();
                faults.on_nth(method, k, fault.clone());
                let which = Which::Instance(instance.uuid);
                let path = out.path().join("web1.vhd");
                let result =
                    bench.pool.driver.snapshot(which, &path, Existing::Refuse, Progress::none()).await;
                assert_eq!(faults.clear(), 0, "{method} was called less than {k} times");
                match result {
                    // Where it does no harm, the client asks again when an answer is lost.
                    Ok(_) if *fault == Fault::DropAfterExecution => fs::remove_file(&path)?,
                    Ok(_) => panic!("{method} does not matter"),
                    Err(error) => assert!(error.leftovers().is_empty(), "{method} {fault:?}: {error}"),
                }
                assert_eq!(fs::read_dir(out.path())?.count(), 0, "{method} {fault:?}");
                assert_eq!(visible(&bench).await?, before, "{method} {fault:?}");
            }
        }
    }
    Ok(())
}

/// The disks that a user can see, with their keys, and the tasks.
async fn visible(bench: &Bench) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
    let mut disks = bench.pool.client().all_records::<Vdi>().await?;
    disks.retain(|_, vdi| vdi.managed);
    let mut seen: BTreeMap<_, _> = disks.into_values().map(|vdi| (vdi.uuid, vdi.other_config)).collect();
    seen.extend(bench.pool.census().await?.tasks.into_iter().map(|task| (task, BTreeMap::new())));
    Ok(seen)
}

/// Two at once with the same name: at most one may stay.
#[tokio::test]
async fn the_same_name_twice_at_once() -> Result<()> {
    let bench = Bench::new().await?;
    for _ in 0..5 {
        let spawn = || bench.pool.spawn(spec_of(&bench));
        let (first, second) = tokio::join!(spawn(), spawn());
        let made: Vec<_> = [&first, &second].into_iter().filter_map(|result| result.as_ref().ok()).collect();
        assert!(made.len() <= 1, "two instances have the same name");
        for error in [&first, &second].into_iter().filter_map(|result| result.as_ref().err()) {
            assert!(error.to_string().contains("\"web1\" is already in use"), "{error}");
            assert!(error.leftovers().is_empty(), "{error}");
        }
        if let Some(instance) = made.first() {
            bench.pool.destroy(instance).await?;
        }
        bench.pool.census().await?.assert_as(&bench.before, "after two of the same name");
    }
    Ok(())
}

/// Destroying is not undone but repeated: whatever fails, the next one finishes it.
#[tokio::test]
async fn a_destroy_that_fails_is_finished_by_the_next_one() -> Result<()> {
    let bench = Bench::new().await?;
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    let calls = [
        ("VM.get_all_records", 1),
        ("VDI.get_all_records", 1),
        ("VM.hard_shutdown", 1),
        ("VM.destroy", 1),
        ("VDI.destroy", 2),
    ];
    for (method, count) in calls {
        for k in 1..=count {
            for fault in [&refusal, &Fault::DropAfterExecution] {
                let instance = bench.pool.spawn(spec_of(&bench)).await?;
                let destroy = || bench.pool.destroy(&instance);
                bench.pool.simulator.faults().on_nth(method, k, fault.clone());
                let first = destroy().await;
                assert_eq!(
                    bench.pool.simulator.faults().clear(),
                    0,
                    "{method} was called less than {k} times"
                );
                // When the answer is lost, what only looks is asked again by the client, and a task is found
                // again by its mark.
                let may_get_over = *fault == Fault::DropAfterExecution
                    && (method.ends_with("get_all_records") || method == "VM.hard_shutdown");
                assert!(first.is_err() || may_get_over, "{method} {k} {fault:?}");
                destroy().await?;
                // The task of a shutdown whose answer was lost is litter that XAPI collects itself.
                for (task, record) in bench.pool.client().all_records::<Task>().await? {
                    if record.name_label == "Async.VM.hard_shutdown" {
                        bench.pool.client().destroy(&task).await?;
                    }
                }
                let when = format!("after {fault:?} at call {k} of {method}");
                bench.pool.census().await?.assert_as(&bench.before, &when);
            }
        }
    }
    Ok(())
}

/// A disk that was taken off, and that somebody's VM has, be it off or a template, outlives the instance.
#[tokio::test]
async fn a_disk_that_another_vm_has_by_now_is_kept() -> Result<()> {
    let bench = Bench::new().await?;
    let client = bench.client();
    let taken = async |instance: &Instance, theirs: &Ref<Vm>| -> Result<(Ref<Vdi>, Ref<Vbd>)> {
        let (vm, record) = bench.vm(instance).await?;
        client.call(vm::HardShutdown { vm }).await?;
        let root = bench.disk_at(&record, "0").await?;
        client.destroy(&record.vbds[0]).await?;
        Ok((root.clone(), client.call(foreign_drive(theirs, &root, 1)).await?))
    };
    let there = async |root: &Ref<Vdi>, drive: &Ref<Vbd>| -> Result<bool> {
        Ok(client.record_opt(root).await?.is_some() && client.record_opt(drive).await?.is_some())
    };
    let (theirs, _) = bench.make_foreign("theirs", "their disk", BTreeMap::new()).await?;
    let instance = bench.spawn(bench.spec()).await?;
    let (root, drive) = taken(&instance, &theirs).await?;
    let dry = bench.driver.dry_run(|driver| driver.destroy(Which::Instance(instance.uuid), Progress::none()));
    assert!(dry.await?.to_string().contains(&format!("keep disk {}", instance.root_uuid)));
    let destroyed = bench.destroy(&instance).await?;
    assert!(there(&root, &drive).await?, "{destroyed:?}");
    assert_eq!(destroyed.kept_disk_uuids, [&*instance.root_uuid]);
    client.destroy(&drive).await?;

    // While the VM is being removed.
    let instance = bench.spawn(bench.spec()).await?;
    let (vm, record) = bench.vm(&instance).await?;
    let root = bench.disk_at(&record, "0").await?;
    let faults = bench.simulator.faults();
    let mut struck = faults.struck();
    struck.mark_unchanged();
    faults.on("VM.destroy", Fault::Slow(Duration::from_millis(500)));
    let taking = async {
        struck.changed().await?;
        client.call(foreign_drive(&theirs, &root, 1)).await.map_err(anyhow::Error::from)
    };
    let (destroyed, drive) = tokio::join!(bench.destroy(&instance), taking);
    let (destroyed, drive) = (destroyed?, drive?);
    assert!(there(&root, &drive).await?, "{destroyed:?}");
    assert!(client.record_opt(&vm).await?.is_none());
    assert_eq!(destroyed.kept_disk_uuids, [&*instance.root_uuid]);

    // Its VM was made a template.
    let instance = bench.spawn(bench.spec()).await?;
    let (vm, record) = bench.vm(&instance).await?;
    client.call(vm::HardShutdown { vm: vm.clone() }).await?;
    client.set_field(&vm, vm::field::IS_A_TEMPLATE, true).await?;
    let destroyed = bench.destroy(&instance).await?;
    assert!(there(&bench.disk_at(&record, "0").await?, &record.vbds[0]).await?, "{destroyed:?}");
    assert_eq!(destroyed.disk_uuids, [""; 0]);
    Ok(())
}
