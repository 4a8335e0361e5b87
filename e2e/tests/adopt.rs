//! VMs that somebody else made: no verb touches them before they are taken over, and then every verb does.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use e2e::bench::Bench;
use e2e::pool::{self, EXT, Pool};
use xapi_simulator::fault::Fault;
use xenapi_driver::reconcile::{Kind, ReconcileOptions};
use xenapi_driver::resize::ResizeOptions;
use xenapi_driver::spec::Flavor;
use xenapi_driver::{Cause, PowerChange, Progress, Settings, Shutdown, Which};
use xenapi_types::{Ref, Sr, VbdMode, Vdi, Vm, VmPowerState, vbd, vdi, vm};
use xenapi_wire::Failure;

struct Foreign {
    vm: Ref<Vm>,
    uuid: String,
    /// Of its own, one that is read only, one that another VM uses as well.
    disks: [Ref<Vdi>; 3],
}

/// A VM as somebody's own tools make it.
async fn foreign(pool: &Pool) -> Result<Foreign> {
    let client = pool.client();
    let make = async |name: &str| -> Result<Ref<Vm>> {
        let other_config = BTreeMap::from([("theirs".to_owned(), "1".to_owned())]);
        let call = vm::Create { other_config, ..pool::foreign(name) };
        Ok(client.call(call).await?)
    };
    let (vm, other) = (make("theirs").await?, make("another").await?);
    let sr = client.by_name_label::<Sr>(EXT).await?;
    let mut disks = Vec::new();
    for n in 0..3 {
        let call =
            vdi::Create { sharable: n == 2, ..pool::foreign_disk(format!("their disk {n}"), sr.clone()) };
        let disk = client.call(call).await?;
        let mode = if n == 1 { VbdMode::Ro } else { VbdMode::Rw };
        let users = if n == 2 { vec![&vm, &other] } else { vec![&vm] };
        for user in users {
            let call = vbd::Create { mode: mode.clone(), ..pool::foreign_drive(user, &disk, n) };
            client.call(call).await?;
        }
        disks.push(disk);
    }
    let uuid = client.get_field(&vm, vm::field::UUID).await?;
    let Ok(disks) = disks.try_into() else { anyhow::bail!("three") };
    Ok(Foreign { vm, uuid, disks })
}

fn which() -> Which {
    Which::Named("theirs".into())
}

#[tokio::test]
async fn nobody_elses_vm_is_touched_before_it_is_taken_over() -> Result<()> {
    let pool = Pool::demo().await?;
    let theirs = foreign(&pool).await?;
    let client = pool.client();
    let keys = async |vdi: &Ref<Vdi>| client.get_field(vdi, vdi::field::OTHER_CONFIG).await;
    let on = || pool.driver.power(which(), PowerChange::On, Progress::none());
    let refused = on().await.unwrap_err();
    assert!(matches!(refused.cause(), Cause::NotOurs { .. }), "{refused}");
    assert!(pool.driver.destroy(which(), Progress::none()).await.is_err());

    // What would be written is told, key by key, and is all that is written.
    let before = pool.census().await?;
    let keys_before = client.get_field(&theirs.vm, vm::field::OTHER_CONFIG).await?;
    let dry = pool.driver.dry_run(|driver| driver.adopt(which(), Progress::none())).await?.to_string();
    for part in ["xenapi-rs:owner", "xenapi-rs:self", "nova_uuid", &theirs.uuid, "leave disk"] {
        assert!(dry.contains(part), "{part} is missing in {dry}");
    }
    assert_eq!(client.get_field(&theirs.vm, vm::field::OTHER_CONFIG).await?, keys_before);
    let adopted = pool.driver.adopt(which(), Progress::none()).await?;
    assert_eq!((adopted.disk_uuids.len(), adopted.kept_disk_uuids.len()), (1, 2));
    pool.census().await?.assert_as(&before, "no object came or went");
    let mut written = client.get_field(&theirs.vm, vm::field::OTHER_CONFIG).await?;
    written.retain(|key, value| keys_before.get(key) != Some(value));
    let names: Vec<&str> = written.keys().map(String::as_str).collect();
    let ours = ["xenapi-rs:instance", "xenapi-rs:operation", "xenapi-rs:owner", "xenapi-rs:self"];
    assert_eq!(names, [&["nova_uuid"][..], &ours].concat());
    assert!(keys_before.iter().all(|(key, _)| !ours.contains(&key.as_str())));
    assert_eq!(keys(&theirs.disks[0]).await?.into_keys().collect::<Vec<_>>(), ours);
    for left in &theirs.disks[1..] {
        assert!(keys(left).await?.is_empty());
    }
    // Once more is no harm.
    assert_eq!(pool.driver.adopt(which(), Progress::none()).await?.instance, adopted.instance);

    assert_eq!(on().await?, VmPowerState::Running);
    assert_eq!(pool.driver.instances().await?.len(), 1);
    let off = PowerChange::Off(Shutdown::Hard);
    pool.driver.power(Which::Instance(adopted.instance), off, Progress::none()).await?;
    let destroyed = pool.driver.destroy(Which::Instance(adopted.instance), Progress::none()).await?;
    assert_eq!((destroyed.disk_uuids, destroyed.kept_disk_uuids.len()), (adopted.disk_uuids, 2));
    // The other VM has its disk.
    assert!(client.record_opt(&theirs.disks[2]).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn what_is_an_instance_already_stays_its_owners() -> Result<()> {
    let pool = Pool::demo().await?;
    foreign(&pool).await?;
    pool.driver.adopt(which(), Progress::none()).await?;
    let settings = Settings { owner: "another".into(), ..Settings::default() };
    let error = pool.driver_with(settings)?.adopt(which(), Progress::none()).await.unwrap_err();
    assert!(
        matches!(error.cause(), Cause::AdoptedElsewhere { owner, .. } if owner == "xenapi-rs"),
        "{error}"
    );
    let nobody = pool.driver.adopt(Which::Named("nobody".into()), Progress::none()).await.unwrap_err();
    assert!(matches!(nobody.cause(), Cause::NoSuchInstance(_)), "{nobody}");
    Ok(())
}

#[tokio::test]
async fn what_fails_half_way_is_taken_back() -> Result<()> {
    let pool = Pool::demo().await?;
    let theirs = foreign(&pool).await?;
    let client = pool.client();
    let before = client.get_field(&theirs.vm, vm::field::OTHER_CONFIG).await?;
    for (method, most) in [("VM.add_to_other_config", 5), ("VDI.add_to_other_config", 4)] {
        for n in 1..=most {
            let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
            pool.simulator.faults().on_nth(method, n, refusal);
            let error = pool.driver.adopt(which(), Progress::none()).await.unwrap_err();
            assert!(error.leftovers().is_empty(), "{error:?}");
            let what = format!("{method} {n}");
            assert_eq!(client.get_field(&theirs.vm, vm::field::OTHER_CONFIG).await?, before, "{what}");
            assert!(client.get_field(&theirs.disks[0], vdi::field::OTHER_CONFIG).await?.is_empty(), "{what}");
        }
    }
    pool.driver.adopt(which(), Progress::none()).await?;
    Ok(())
}

/// What is noted of an instance is not its copy's, whatever that is asked for.
#[tokio::test]
async fn a_copy_that_is_taken_over_has_nothing_to_do_with_the_originals_resize() -> Result<()> {
    let own = Bench::new().await?;
    let spec = own.spec();
    let bench = own.start(spec).await?;
    let (client, driver) = (bench.client(), &bench.driver);
    bench.off().await?;
    let flavor = Some(Flavor::new(1, 512, 1));
    driver.resize(bench.which.clone(), ResizeOptions { flavor, ..ResizeOptions::default() }).await?;
    let copy = client.call(vm::Clone { vm: bench.vm.clone(), new_name: "copy".into() }).await?;
    let before = bench.census().await?;
    let adopted = driver.adopt(Which::Named("copy".into()), Progress::none()).await?;
    let keys = client.get_field(&copy, vm::field::OTHER_CONFIG).await?;
    assert!(!keys.keys().any(|key| key.starts_with("xenapi-rs:resize")), "{keys:?}");
    let which = Which::Instance(adopted.instance);
    for error in [
        driver.revert_resize(which.clone(), Progress::none()).await.unwrap_err(),
        driver.confirm_resize(which.clone(), Progress::none()).await.unwrap_err(),
    ] {
        assert!(matches!(error.cause(), Cause::NotResized { .. }), "{error}");
    }
    // Nor is what was taken over before it was known whose it is.
    let text = bench.record().await?.other_config["xenapi-rs:resize"].clone();
    client.add_to(&copy, vm::field::OTHER_CONFIG, "xenapi-rs:resize", text).await?;
    let now = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
    let found = driver.reconcile(now).await?;
    assert!(found.done.is_empty() && found.leftovers.is_empty(), "{found:?}");
    bench.census().await?.assert_as(&before, "the original's disks are there");
    driver.revert_resize(bench.which.clone(), Progress::none()).await?;
    driver.destroy(which, Progress::none()).await?;
    assert_eq!(
        client.get_field(&bench.disk_at(&bench.record().await?, "0").await?, vdi::field::UUID).await?,
        bench.instance.root_uuid
    );
    Ok(())
}

/// A snapshot that is reverted to brings back what was noted when it was taken: the instance, which was
/// complete since, stays, and the disks that it has then become its own.
#[tokio::test]
async fn what_a_snapshot_brings_back_removes_no_instance() -> Result<()> {
    let own = Bench::new().await?;
    let spec = own.spec();
    let bench = own.start(spec).await?;
    let (client, driver, field) = (bench.client(), &bench.driver, vm::field::OTHER_CONFIG);
    bench.off().await?;
    // As it is until a spawn is complete.
    client.add_to(&bench.vm, field, "xenapi-rs:unfinished", "true").await?;
    let call = vm::Snapshot { vm: bench.vm.clone(), new_name: "theirs".into(), ignore_vdis: None };
    let snapshot = client.call(call).await?;
    client.remove_from(&bench.vm, field, "xenapi-rs:unfinished").await?;
    client.call(vm::Revert { snapshot: snapshot.clone() }).await?;
    assert!(bench.record().await?.other_config.contains_key("xenapi-rs:unfinished"), "else nothing is tried");
    let before = bench.census().await?;
    let now = || ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
    let found = driver.reconcile(now()).await?;
    bench.census().await?.assert_as(&before, &format!("{found:?}"));
    let told: Vec<_> = found.unclear.iter().map(|finding| (finding.kind, &finding.uuid)).collect();
    assert!(told.contains(&(Kind::UnclearInstance, &bench.instance.vm_uuid)), "{found:?}");

    client.remove_from(&bench.vm, field, "xenapi-rs:unfinished").await?;
    let root = bench.disk_at(&bench.record().await?, "0").await?;
    let root = client.get_field(&root, vdi::field::UUID).await?;
    let adopted = driver.adopt(bench.which.clone(), Progress::none()).await?;
    assert_eq!(adopted.disk_uuids, [&*root], "the one that has taken its root disk's place");
    assert_eq!(driver.adopt(bench.which.clone(), Progress::none()).await?.disk_uuids, [""; 0]);
    let flavor = Some(Flavor::new(1, 512, 1));
    let resized =
        driver.resize(bench.which.clone(), ResizeOptions { flavor, ..ResizeOptions::default() }).await?;
    assert_eq!(resized.replaced_disks, 1);
    driver.confirm_resize(bench.which.clone(), Progress::none()).await?;
    let destroyed = driver.destroy(bench.which.clone(), Progress::none()).await?;
    assert_eq!((destroyed.disk_uuids.len(), destroyed.kept_disk_uuids.len()), (1, 0));
    Ok(())
}
