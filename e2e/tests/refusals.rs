//! What cannot be is told before anything is changed: every verb in every situation in which it cannot be done.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::pool::{EXT, NETWORK};
use e2e::sweep::scene::{self, Scene};
use e2e::sweep::verb::{Step, Verb};
use image_store::FileSink;
use uuid::Uuid;
use xapi_simulator::fault::Fault;
use xenapi_driver::backup::BackupOptions;
use xenapi_driver::evacuate::EvacuateOptions;
use xenapi_driver::live::MigrateOptions;
use xenapi_driver::network::{NetworkSpec, Vlan};
use xenapi_driver::node::DrainOptions;
use xenapi_driver::plan::Conflict;
use xenapi_driver::pool_move::MoveOptions;
use xenapi_driver::pools::PoolMigrateOptions;
use xenapi_driver::rescue::RescueOptions;
use xenapi_driver::resize::{RebuildOptions, ResizeOptions};
use xenapi_driver::spec::{Flavor, InstanceSpec, Locking, Nic, SrChoice};
use xenapi_driver::upload::UploadOptions;
use xenapi_driver::volume::{AttachOptions, Storage, Volume, VolumeDisk};
use xenapi_driver::{
    AgentTimeouts, Cause, Driver, Error, Existing, PowerChange, Progress, Shutdown, SpawnOptions, Which,
};
use xenapi_types::{ConsoleProtocol, Safety, Sr, Vm, VmOperations, VmPowerState, network, sr, vm};
use xenapi_wire::Failure;

type Call<'a> = Pin<Box<dyn Future<Output = xenapi_driver::Result<()>> + 'a>>;

/// A verb done to an instance.
struct Act {
    name: &'static str,
    call: for<'a> fn(&'a Driver, &'a Scene, Which) -> Call<'a>,
}

macro_rules! acts {
    ($($name:literal => |$d:ident, $s:ident, $w:ident| $call:expr;)*) => {
        &[$(Act {
            name: $name,
            call: |$d, $s, $w| Box::pin(async move { let _ = $s; $call.await.map(drop) }),
        },)*]
    };
}

const NIC: &str = "0";

/// All verbs that are done to an instance that there is.
static ACTS: &[Act] = acts! {
    "destroy" => |d, s, w| d.destroy(w, Progress::none());
    "off" => |d, s, w| d.power(w, PowerChange::Off(Shutdown::Hard), Progress::none());
    "pause" => |d, s, w| d.power(w, PowerChange::Pause, Progress::none());
    "soft-delete" => |d, s, w| d.soft_delete(w, Progress::none());
    "restore" => |d, s, w| d.restore(w, Progress::none());
    "snapshot" => |d, s, w| d.snapshot(w, s.output(), Existing::Refuse, Progress::none());
    "backup" => |d, s, w| d.backup(w, s.output(), BackupOptions::default());
    "upload" => |d, s, w| d.upload(w, Arc::new(FileSink::new(s.output())), UploadOptions::default());
    "upload-all" => |d, s, w| d.upload_disks(w, |_| None, UploadOptions::default());
    "resize" => |d, s, w| d.resize(w, ResizeOptions { flavor: Some(Flavor::new(2, 1024, 1)), ..ResizeOptions::default() });
    "confirm-resize" => |d, s, w| d.confirm_resize(w, Progress::none());
    "revert-resize" => |d, s, w| d.revert_resize(w, Progress::none());
    "rescue" => |d, s, w| d.rescue(w, RescueOptions::with(s.image()));
    "unrescue" => |d, s, w| d.unrescue(w, Progress::none());
    "rebuild" => |d, s, w| d.rebuild(w, RebuildOptions::with(s.image()));
    "live-migrate" => |d, s, w| d.live_migrate(w, MigrateOptions::to(s.elsewhere.map_or_else(Uuid::nil, |there| there.0)));
    "pool-migrate" => |d, s, w| d.migrate_to_pool(w, d, PoolMigrateOptions::default());
    "pool-move" => |d, s, w| d.move_to_pool(w, d, MoveOptions::default());
    "confirm-move" => |d, s, w| d.confirm_move(w, d, Progress::none());
    "revert-move" => |d, s, w| d.revert_move(w, d, Progress::none());
    "evacuate" => |d, s, w| d.evacuate(w, EvacuateOptions::to(s.home));
    "attach-volume" => |d, s, w| d.attach_volume(w, scene::volume(), AttachOptions::default());
    "detach-volume" => |d, s, w| d.detach_volume(w, scene::VOLUME, Progress::none());
    "extend-volume" => |d, s, w| d.extend_volume(w, scene::VOLUME, Some(64 << 20), Progress::none());
    "swap-volume" => |d, s, w| d.swap_volume(w, scene::VOLUME, scene::other_volume(), Progress::none());
    "attach-nic" => |d, s, w| d.attach_interface(w, Nic::on(NETWORK), Progress::none());
    "detach-nic" => |d, s, w| d.detach_interface(w, NIC, Progress::none());
    "lock-nic" => |d, s, w| d.lock_interface(w, NIC, Locking::Disabled, Progress::none());
    "metadata" => |d, s, w| d.change_metadata(w, BTreeMap::new(), Progress::none());
    "tell-network" => |d, s, w| d.tell_network(w, BTreeMap::new(), Progress::none());
    "check-drive" => |d, s, w| d.check_config_drive(w, Progress::none());
    "volumes" => |d, s, w| async { d.volumes(&w).await };
    "check-volumes" => |d, s, w| d.check_volumes(w, Progress::none());
    "interfaces" => |d, s, w| async { d.interfaces(&w).await };
    "agent" => |d, s, w| async { d.agent(&w, AgentTimeouts::default()).await };
    "console-log" => |d, s, w| async { d.console_log(&w).await };
    "console" => |d, s, w| async { d.console(&w, ConsoleProtocol::Vt100).await };
    "diagnostics" => |d, s, w| async { d.diagnostics(&w).await };
    "instance-load" => |d, s, w| async { d.instance_load(&w).await };
};

/// A pool of two hosts with one of our instances that runs, and one of somebody else's.
async fn scene() -> Result<Scene> {
    Scene::set(&Verb { name: "refusals", prepare: &[Step::Spawn], act: Step::LiveMigrate }).await
}

/// Does it; it must be refused, without a call that changes something, and all is there that was there.
async fn refused(scene: &Scene, name: &str, call: Call<'_>) -> Result<Error> {
    let before = scene.pool.census().await?;
    scene.faults().record();
    let result = call.await;
    let written: Vec<String> = scene
        .faults()
        .recorded()
        .into_iter()
        // A repository is scanned for a disk before it is said that there is none.
        .filter(|call| !call.starts_with("session.") && !["SR.scan", "task.destroy"].contains(&&**call))
        .filter(|call| Safety::of(call) != Safety::Reads)
        .collect();
    let error = result.err().with_context(|| format!("{name} was done"))?;
    let changes = scene.pool.census().await?.changes_since(&before);
    ensure!(changes.is_empty(), "{name}: {error}: {changes:?}");
    ensure!(written.is_empty(), "{name}: {error}: written before: {written:?}");
    let text = error.to_string();
    ensure!(error.leftovers().is_empty() && !text.contains('\n'), "{name}: {error}");
    // What went wrong with what, and no place that nobody filled in.
    ensure!(text.starts_with("cannot ") && !text.contains(['{', '}', '%']), "{name}: {error}");
    Ok(error)
}

/// All verbs but these are refused for this reason.
async fn all_refused(
    scene: &Scene,
    which: impl Fn() -> Which,
    but: &[&str],
    reason: impl Fn(&Cause) -> bool,
) -> Result<()> {
    for act in ACTS.iter().filter(|act| !but.contains(&act.name)) {
        let error = refused(scene, act.name, (act.call)(&scene.pool.driver, scene, which())).await?;
        ensure!(reason(error.cause()), "{}: {error}", act.name);
    }
    scene.look_at_the_foreign_instance().await
}

/// These verbs are refused for this reason.
async fn some_refused(scene: &Scene, names: &[&str], reason: impl Fn(&Cause) -> bool) -> Result<()> {
    for name in names {
        let act = ACTS.iter().find(|act| act.name == *name).with_context(|| (*name).to_owned())?;
        let error = refused(scene, name, (act.call)(&scene.pool.driver, scene, scene.which())).await?;
        ensure!(reason(error.cause()), "{name}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn what_there_is_not_and_what_is_not_ours() -> Result<()> {
    let scene = scene().await?;
    let nobody = || Which::Named("nobody".into());
    all_refused(
        &scene,
        nobody,
        &[],
        |cause| matches!(cause, Cause::NoSuchInstance(name) if name == "nobody"),
    )
    .await?;
    let unknown = Uuid::new_v4();
    // To destroy what is gone is no error.
    let missing = |cause: &Cause| matches!(cause, Cause::NoSuchInstance(_));
    all_refused(&scene, || Which::Instance(unknown), &["destroy"], missing).await?;
    let foreign = || Which::Named("somebody else's".into());
    all_refused(&scene, foreign, &[], |cause| matches!(cause, Cause::NotOurs { .. })).await
}

/// What a verb is to use, and nobody has.
#[tokio::test]
async fn what_is_to_be_used_and_is_not_there() -> Result<()> {
    let scene = scene().await?;
    let (driver, which, nobody) = (&scene.pool.driver, || scene.which(), Uuid::new_v4());
    let spawn = |change: &dyn Fn(&mut InstanceSpec)| -> Call<'_> {
        let mut spec = InstanceSpec::new("web2", Flavor::new(1, 512, 0), scene.image());
        spec.node = Some(scene.home);
        change(&mut spec);
        Box::pin(async move { driver.spawn(spec, SpawnOptions::default()).await.map(drop) })
    };
    let resize = |options: ResizeOptions| -> Call<'_> {
        Box::pin(async { driver.resize(which(), options).await.map(drop) })
    };
    let attach = |volume: Volume| -> Call<'_> {
        Box::pin(async { driver.attach_volume(which(), volume, AttachOptions::default()).await.map(drop) })
    };
    let storage = driver.node(scene.home).await?.storage;
    let sr = storage.iter().find(|sr| sr.name == EXT).context("its repository")?.uuid.parse()?;
    let no_sr = || Some(SrChoice::Named("no such".into()));
    let calls: Vec<(&str, Call<'_>)> = vec![
        ("no such image", spawn(&|spec| spec.image = scene.files.path().join("no such image").into())),
        ("no SR matches \"no such\"", spawn(&|spec| spec.sr = SrChoice::Named("no such".into()))),
        (
            "no network has the uuid, name or bridge \"no such\"",
            spawn(&|spec| spec.nics = vec![Nic::on("no such")]),
        ),
        ("no host", spawn(&|spec| spec.node = Some(nobody))),
        ("no SR matches", resize(ResizeOptions { sr: no_sr(), ..ResizeOptions::default() })),
        ("no host", resize(ResizeOptions { node: Some(nobody), ..ResizeOptions::default() })),
        (
            "no host",
            Box::pin(async { driver.live_migrate(which(), MigrateOptions::to(nobody)).await.map(drop) }),
        ),
        ("no host", Box::pin(async { driver.drain_node(nobody, DrainOptions::default()).await.map(drop) })),
        ("no host", Box::pin(async { driver.reboot_node(nobody, Progress::none()).await.map(drop) })),
        (
            "no host",
            Box::pin(async { driver.set_node_enabled(nobody, false, Progress::none()).await.map(drop) }),
        ),
        (
            "no such image",
            Box::pin(async { driver.rescue(which(), RescueOptions::with("no such image")).await }),
        ),
        (
            "no such image",
            Box::pin(async {
                driver.rebuild(which(), RebuildOptions::with("no such image")).await.map(drop)
            }),
        ),
        (
            "no network has",
            Box::pin(async {
                driver.attach_interface(which(), Nic::on("no such"), Progress::none()).await.map(drop)
            }),
        ),
        (
            "has no interface \"9\"",
            Box::pin(async { driver.detach_interface(which(), "9", Progress::none()).await.map(drop) }),
        ),
        (
            "has no interface \"9\"",
            Box::pin(async {
                driver.lock_interface(which(), "9", Locking::Disabled, Progress::none()).await.map(drop)
            }),
        ),
        (
            "an MTU of 67 bytes is none",
            Box::pin(async {
                let nic = Nic { mtu: Some(67), ..Nic::on(NETWORK) };
                driver.attach_interface(which(), nic, Progress::none()).await.map(drop)
            }),
        ),
        (
            "a limit of 0 kilobytes per second",
            Box::pin(async {
                let nic = Nic { limit_kbytes: Some(0), ..Nic::on(NETWORK) };
                driver.attach_interface(which(), nic, Progress::none()).await.map(drop)
            }),
        ),
        (
            "an MTU of 65536 bytes is none",
            Box::pin(async {
                let spec = NetworkSpec { name: "jumbo".into(), mtu: Some(65_536), vlan: None };
                driver.ensure_network(spec, Progress::none()).await.map(drop)
            }),
        ),
        ("volume", attach(Volume::new(Storage::Repository(nobody), VolumeDisk::Uuid(nobody)))),
        ("volume", attach(Volume::new(Storage::Repository(sr), VolumeDisk::Uuid(nobody)))),
    ];
    for (says, call) in calls {
        let text = refused(&scene, says, call).await?.to_string();
        assert!(text.contains(says), "{says:?} is missing in {text}");
    }
    Ok(())
}

/// Names of networks and repositories are as free as those of VMs.
#[tokio::test]
async fn networks_and_repositories_of_one_name() -> Result<()> {
    let scene = scene().await?;
    let (driver, client) = (&scene.pool.driver, scene.pool.client());
    for _ in 0..2 {
        client.call(network::Create { name_label: "twin".into(), ..network::Create::default() }).await?;
    }
    for sr in client.all::<Sr>().await? {
        client.call(sr::SetNameLabel { sr, value: "twin".to_owned() }).await?;
    }
    let mut spec = InstanceSpec::new("web2", Flavor::new(1, 512, 0), scene.image());
    (spec.node, spec.sr) = (Some(scene.home), SrChoice::Named("twin".into()));
    let sr = Some(SrChoice::Named("twin".into()));
    let calls: Vec<(&str, Call<'_>)> = vec![
        (
            "more than one SR matches \"twin\"",
            Box::pin(async { driver.spawn(spec, SpawnOptions::default()).await.map(drop) }),
        ),
        (
            "more than one SR matches \"twin\"",
            Box::pin(async {
                driver.resize(scene.which(), ResizeOptions { sr, ..ResizeOptions::default() }).await.map(drop)
            }),
        ),
        (
            "\"twin\"",
            Box::pin(async {
                driver.attach_interface(scene.which(), Nic::on("twin"), Progress::none()).await.map(drop)
            }),
        ),
    ];
    for (says, call) in calls {
        let text = refused(&scene, says, call).await?.to_string();
        assert!(text.contains(says), "{says:?} is missing in {text}");
    }
    Ok(())
}

#[tokio::test]
async fn names_that_are_there_twice() -> Result<()> {
    let scene = scene().await?;
    let client = scene.pool.client();
    let ours = client.by_name_label::<Vm>("web1").await?;
    let foreign = client.by_name_label::<Vm>("somebody else's").await?;
    client.set_field(&foreign, vm::field::NAME_LABEL, "web1".to_owned()).await?;
    let mut uuids = Vec::new();
    for vm in [&ours, &foreign] {
        uuids.push(client.get_field(vm, vm::field::UUID).await?);
    }
    for act in ACTS {
        let call = (act.call)(&scene.pool.driver, &scene, Which::Named("web1".into()));
        let text = refused(&scene, act.name, call).await?.to_string();
        assert!(text.contains("several VMs are named \"web1\""), "{}: {text}", act.name);
        assert!(uuids.iter().all(|uuid| text.contains(uuid)), "{}: {text}", act.name);
    }
    Ok(())
}

#[tokio::test]
async fn instances_in_the_wrong_state() -> Result<()> {
    let scene = scene().await?;
    let wrong = |cause: &Cause| matches!(cause, Cause::WrongState { .. });
    let driver = &scene.pool.driver;
    some_refused(&scene, &["confirm-resize", "revert-resize"], |c| matches!(c, Cause::NotResized { .. }))
        .await?;
    some_refused(&scene, &["confirm-move", "revert-move"], |c| matches!(c, Cause::NotMoved { .. })).await?;
    some_refused(&scene, &["pool-move"], |c| matches!(c, Cause::SamePool(_))).await?;
    some_refused(&scene, &["unrescue"], |c| matches!(c, Cause::NotRescued { .. })).await?;
    let nothing = |c: &Cause| matches!(c, Cause::NoSuchVolume { .. });
    some_refused(&scene, &["detach-volume", "extend-volume", "swap-volume"], nothing).await?;
    some_refused(&scene, &["evacuate"], |c| matches!(c, Cause::HostLives { .. })).await?;

    driver.power(scene.which(), PowerChange::Pause, Progress::none()).await?;
    let need_a_guest_at_rest = [
        "resize",
        "rescue",
        "rebuild",
        "live-migrate",
        "pool-migrate",
        "attach-volume",
        "attach-nic",
        "detach-nic",
        "diagnostics",
        "instance-load",
    ];
    some_refused(&scene, &need_a_guest_at_rest, wrong).await?;
    driver.power(scene.which(), PowerChange::Unpause, Progress::none()).await?;

    Step::Rescue.run(&scene).await?;
    let rescued = |c: &Cause| matches!(c, Cause::Rescued { .. });
    some_refused(&scene, &["rescue", "resize", "rebuild", "live-migrate", "pool-migrate"], rescued).await?;
    Step::Unrescue.run(&scene).await?;

    Step::Resize.run(&scene).await?;
    let pending = |c: &Cause| matches!(c, Cause::ResizePending { .. });
    some_refused(&scene, &["rescue", "resize", "rebuild", "live-migrate", "pool-migrate"], pending).await?;
    Step::RevertResize.run(&scene).await?;

    driver.power(scene.which(), PowerChange::Off(Shutdown::Hard), Progress::none()).await?;
    some_refused(&scene, &["pause", "live-migrate", "diagnostics", "instance-load"], wrong).await?;

    // Another program is still making it.
    let client = scene.pool.client();
    let vm = client.by_name_label::<Vm>("web1").await?;
    client.add_to(&vm, vm::field::OTHER_CONFIG, "xenapi-rs:unfinished", "true").await?;
    all_refused(&scene, || scene.which(), &["destroy"], wrong).await?;
    assert_eq!(client.get_field(&vm, vm::field::POWER_STATE).await?, VmPowerState::Halted);

    // It was to be destroyed, and that failed when it was to be stopped: who reconciles goes on with it.
    client.remove_from(&vm, vm::field::OTHER_CONFIG, "xenapi-rs:unfinished").await?;
    driver.power(scene.which(), PowerChange::On, Progress::none()).await?;
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    scene.pool.simulator.faults().on("VM.hard_shutdown", refusal);
    driver.destroy(scene.which(), Progress::none()).await.expect_err("it could not be stopped");
    assert!(driver.instance(&scene.which()).await?.destroying);
    let refused = |cause: &Cause| matches!(cause, Cause::WrongState { .. } | Cause::NotMoved { .. });
    all_refused(&scene, || scene.which(), &["destroy"], refused).await?;
    assert_eq!(client.get_field(&vm, vm::field::POWER_STATE).await?, VmPowerState::Running);
    driver.destroy(scene.which(), Progress::none()).await?;
    Ok(())
}

#[tokio::test]
async fn hosts_that_take_no_guests() -> Result<()> {
    let scene = scene().await?;
    let driver = &scene.pool.driver;
    let (there, _) = scene.elsewhere.context("two hosts")?;
    driver.set_node_enabled(there, false, Progress::none()).await?;
    let disabled = |error: &Error| match error.cause() {
        Cause::Conflicts(conflicts) => conflicts.iter().any(|c| matches!(c, Conflict::NodeDisabled { .. })),
        _ => false,
    };
    let mut spec = InstanceSpec::new("web2", Flavor::new(1, 512, 0), scene.image());
    spec.node = Some(there);
    let cold = ResizeOptions { node: Some(there), ..ResizeOptions::default() };
    let calls: [(&str, Call<'_>); 3] = [
        ("spawn", Box::pin(async { driver.spawn(spec, SpawnOptions::default()).await.map(drop) })),
        ("resize", Box::pin(async { driver.resize(scene.which(), cold).await.map(drop) })),
        (
            "live-migrate",
            Box::pin(async { driver.live_migrate(scene.which(), MigrateOptions::to(there)).await.map(drop) }),
        ),
    ];
    for (name, call) in calls {
        let error = refused(&scene, name, call).await?;
        assert!(disabled(&error), "{name}: {error}");
    }
    // Its own host: it could not come up again with its disks.
    let enable = async |enabled| driver.set_node_enabled(scene.home, enabled, Progress::none()).await;
    for (prepare, names) in [
        (None, &["resize", "rescue", "rebuild"][..]),
        (Some((Step::Rescue, Step::Unrescue)), &["unrescue"]),
        (Some((Step::Resize, Step::RevertResize)), &["revert-resize"]),
    ] {
        if let Some((begin, _)) = &prepare {
            begin.run(&scene).await?;
        }
        enable(false).await?;
        for name in names {
            let act = ACTS.iter().find(|act| act.name == *name).with_context(|| (*name).to_owned())?;
            let error = refused(&scene, name, (act.call)(driver, &scene, scene.which())).await?;
            assert!(disabled(&error), "{name}: {error}");
        }
        enable(true).await?;
        if let Some((_, end)) = &prepare {
            end.run(&scene).await?;
        }
    }
    Ok(())
}

/// A size that no machine has, or that its processors cannot be grouped into.
#[tokio::test]
async fn sizes_that_cannot_be() -> Result<()> {
    let scene = scene().await?;
    let client = scene.pool.client();
    let vm = client.by_name_label::<Vm>("web1").await?;
    client.add_to(&vm, vm::field::PLATFORM, "cores-per-socket", "2").await?;
    for (flavor, says) in [
        (Flavor::new(0, 512, 0), "no vCPU or no memory"),
        (Flavor::new(2, 0, 0), "no vCPU or no memory"),
        (Flavor::new(3, 512, 0), "3 vCPUs cannot be sockets of 2 cores"),
    ] {
        let options = ResizeOptions { flavor: Some(flavor), ..ResizeOptions::default() };
        let call = Box::pin(async { scene.pool.driver.resize(scene.which(), options).await.map(drop) });
        let text = refused(&scene, says, call).await?.to_string();
        assert!(text.contains(says), "{says:?} is missing in {text}");
    }
    Ok(())
}

#[tokio::test]
async fn editions_that_lack_a_feature() -> Result<()> {
    let scene = scene().await?;
    let driver = &scene.pool.driver;
    let (there, sr) = scene.elsewhere.context("two hosts")?;
    let spec =
        NetworkSpec { name: "tenant".into(), mtu: None, vlan: Some(Vlan { over: NETWORK.into(), tag: 7 }) };
    let live = || -> Call<'_> {
        let sr = Some(SrChoice::Uuid(sr.to_string()));
        let options = MigrateOptions { sr, ..MigrateOptions::to(there) };
        Box::pin(async { driver.live_migrate(scene.which(), options).await.map(drop) })
    };
    let lock = Locking::Disabled;
    let pool_migrate: Call<'_> = Box::pin(async {
        driver.migrate_to_pool(scene.which(), driver, PoolMigrateOptions::default()).await.map(drop)
    });
    let flavor = Flavor { memory_min_mib: Some(256), ..Flavor::new(1, 512, 0) };
    let balloon = ResizeOptions { flavor: Some(flavor), ..ResizeOptions::default() };
    let limited = Nic { limit_kbytes: Some(9), ..Nic::on(NETWORK) };
    let calls: [(&str, &str, Call<'_>); 7] = [
        (
            "restrict_qos",
            "limits of rates (QoS)",
            Box::pin(async {
                driver.attach_interface(scene.which(), limited, Progress::none()).await.map(drop)
            }),
        ),
        (
            "restrict_dmc",
            "ballooning",
            Box::pin(async { driver.resize(scene.which(), balloon).await.map(drop) }),
        ),
        ("restrict_storage_xen_motion", "storage migration", pool_migrate),
        ("restrict_xen_motion", "live migration", live()),
        ("restrict_storage_xen_motion", "storage migration", live()),
        (
            "restrict_vif_locking",
            "locking of interfaces",
            Box::pin(async {
                driver.lock_interface(scene.which(), NIC, lock, Progress::none()).await.map(drop)
            }),
        ),
        (
            "restrict_vlan",
            "VLANs",
            Box::pin(async { driver.ensure_network(spec, Progress::none()).await.map(drop) }),
        ),
    ];
    let pool = scene.pool.client().all::<xenapi_types::Pool>().await?.remove(0).to_string();
    for (key, name, call) in calls {
        let restrictions =
            xenapi_wire::Value::Struct([(key.to_owned(), "true".into())].into_iter().collect());
        scene.pool.simulator.core().db().write(|tx| tx.set("pool", &pool, "restrictions", restrictions))?;
        let text = refused(&scene, key, call).await?.to_string();
        assert!(
            text.contains(&format!("the pool's edition or release has no {name} ({key})")),
            "{key}: {text}"
        );
    }
    Ok(())
}

#[test]
fn every_verb_on_an_instance_is_tried() -> Result<()> {
    let verbs = include_str!("../../crates/xenapi-driver/src/compute.rs");
    let body = verbs.split("pub trait ComputeDriver").nth(1).context("the trait")?;
    let on_instances = body.split("\n}").next().unwrap_or_default().split("    fn ").skip(1);
    let here = include_str!("refusals.rs");
    for head in on_instances.filter(|head| head.contains("which: ")) {
        let name = head.split(['(', '<']).next().unwrap_or_default();
        // Under other names in the driver, or not refused but answered.
        let called = match name {
            "check_live_migration" | "live_migrate" => "live_migrate",
            "set_admin_password" | "inject_file" | "reset_network" => "agent",
            "get_info" | "traffic" => continue,
            // Takes what is not ours: what it refuses is in `adopt.rs`.
            "adopt" => continue,
            other => other,
        };
        ensure!(here.contains(&format!("d.{called}(")), "{name} is not tried");
    }
    Ok(())
}

/// What an operator keeps from being done with a VM, found out before its guest is down.
#[tokio::test]
async fn what_others_have_blocked() -> Result<()> {
    use VmOperations::{CleanShutdown, Destroy, HardShutdown, Start, StartOn};
    let scene = scene().await?;
    let client = scene.pool.client();
    let shown = scene.pool.driver.instance(&scene.which()).await?;
    let vm = client.by_uuid::<Vm>(&shown.vm_uuid.to_string()).await?;
    let restarted = ["resize", "rescue", "rebuild", "pool-move"];
    for (operation, names) in [
        (Destroy, &["destroy"][..]),
        (HardShutdown, &["destroy", "resize", "rescue", "rebuild", "pool-move"]),
        (CleanShutdown, &restarted),
        (Start, &restarted),
        (StartOn, &restarted),
    ] {
        client
            .add_to(&vm, vm::field::BLOCKED_OPERATIONS, operation.clone(), "the auditors look at it")
            .await?;
        some_refused(&scene, names, |cause| {
            matches!(cause, Cause::WrongState { state, .. } if state.contains("(the auditors look at it)"))
        })
        .await?;
        client.remove_from(&vm, vm::field::BLOCKED_OPERATIONS, operation).await?;
    }
    scene.pool.driver.destroy(scene.which(), Progress::none()).await?;
    Ok(())
}
