//! On, off and between: whatever an instance's state, the verb leads to its end or says why not, and
//! touches nothing that is not the driver's.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::bench::{Bench, Running};
use e2e::pool::Pool;
use xapi_simulator::Guests;
use xapi_simulator::fault::Fault;
use xenapi_driver::spec::{self, Flavor, InstanceSpec};
use xenapi_driver::{Cause, Driver, Otherwise, PowerChange, Progress, Settings, Shutdown, Which};
use xenapi_types::{Host, Ref, VmOperations, VmPowerState, vm};
use xenapi_wire::Failure;

const CLEAN: Shutdown = Shutdown::Clean { timeout: Duration::from_secs(20), otherwise: Otherwise::Fail };

async fn bench() -> Result<Running> {
    let own = Bench::new().await?;
    let spec = own.spec();
    own.start(spec).await
}

async fn no_tasks(bench: &Running) -> Result<()> {
    let tasks = bench.pool.census().await?.tasks;
    anyhow::ensure!(tasks.is_empty(), "{tasks:?}");
    Ok(())
}

#[tokio::test]
async fn from_every_state_to_every_other() -> Result<()> {
    use VmPowerState::{Halted, Paused, Running, Suspended};
    let bench = bench().await?;
    for (change, wanted) in [
        (PowerChange::On, Running),
        (PowerChange::Pause, Paused),
        (PowerChange::Pause, Paused),
        (PowerChange::Unpause, Running),
        (PowerChange::Suspend, Suspended),
        (PowerChange::Resume, Running),
        (PowerChange::Reboot(CLEAN), Running),
        (PowerChange::Reboot(Shutdown::Hard), Running),
        (PowerChange::Off(CLEAN), Halted),
        (PowerChange::Off(Shutdown::Hard), Halted),
        (PowerChange::Reboot(CLEAN), Running),
        (PowerChange::Suspend, Suspended),
        (PowerChange::On, Running),
        (PowerChange::Pause, Paused),
        (PowerChange::Off(Shutdown::NOVA), Halted),
        (PowerChange::On, Running),
    ] {
        assert_eq!(bench.power(change).await?, wanted, "{change:?}");
        assert_eq!(bench.power_state().await?, wanted, "{change:?}");
    }
    let record = bench.pool.client().record(&bench.vm).await?;
    assert_eq!(record.other_config.get("last_dom_id"), Some(&record.domid.to_string()));
    no_tasks(&bench).await
}

#[tokio::test]
async fn a_state_without_a_way_is_told_before_anything_is_done() -> Result<()> {
    let bench = bench().await?;
    bench.power(PowerChange::Suspend).await?;
    for change in
        [PowerChange::Reboot(Shutdown::Hard), PowerChange::Off(Shutdown::NOVA), PowerChange::Unpause]
    {
        let error = bench.power(change).await.unwrap_err();
        assert!(matches!(error.cause(), Cause::WrongState { .. }), "{error}");
        assert!(error.to_string().contains("Suspended"), "{error}");
        assert_eq!(bench.power_state().await?, VmPowerState::Suspended);
    }
    Ok(())
}

/// XAPI refuses what the guest has to take part in; the error says what to do about that.
#[tokio::test]
async fn a_guest_without_drivers() -> Result<()> {
    let bench = bench().await?;
    let refused = |method: &str| {
        let failure = Failure::new("VM_MISSING_PV_DRIVERS", ["OpaqueRef:guest"]);
        bench.pool.simulator.faults().on(method, Fault::Failure(failure));
    };
    for (method, change, remedy) in [
        ("VM.suspend", PowerChange::Suspend, "install its guest tools"),
        ("VM.clean_shutdown", PowerChange::Off(CLEAN), "use a hard shutdown"),
        ("VM.clean_reboot", PowerChange::Reboot(CLEAN), "use a hard shutdown"),
    ] {
        refused(method);
        let error = bench.power(change).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("VM_MISSING_PV_DRIVERS") && text.contains(remedy), "{text}");
        assert!(error.remedy().is_some_and(|told| told.contains(remedy)), "{text}");
        assert_eq!(bench.power_state().await?, VmPowerState::Running);
    }
    no_tasks(&bench).await
}

/// The task fails as XAPI lets it when the guest has no agent, or does not listen.
#[tokio::test]
async fn a_guest_that_does_not_come_down() -> Result<()> {
    let bench = bench().await?;
    let deaf = || Fault::Failure(Failure::new("VM_SHUTDOWN_TIMEOUT", ["OpaqueRef:guest", "1200."]));
    bench.pool.simulator.faults().on("VM.clean_shutdown", deaf());
    let error = bench.power(PowerChange::Off(CLEAN)).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::GuestStays { .. }), "{error}");
    assert_eq!(bench.power_state().await?, VmPowerState::Running);
    bench.pool.simulator.faults().on("VM.clean_shutdown", deaf());
    assert_eq!(bench.power(PowerChange::Off(Shutdown::NOVA)).await?, VmPowerState::Halted);
    // So it is with reboots, each with a new domain where it comes to one.
    bench.power(PowerChange::On).await?;
    let domid =
        async || Ok::<_, anyhow::Error>(bench.pool.client().get_field(&bench.vm, vm::field::DOMID).await?);
    let before = domid().await?;
    bench.pool.simulator.faults().on("VM.clean_reboot", deaf());
    let error = bench.power(PowerChange::Reboot(CLEAN)).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::GuestStays { .. }), "{error}");
    assert_eq!((bench.power_state().await?, domid().await?), (VmPowerState::Running, before));
    bench.pool.simulator.faults().on("VM.clean_reboot", deaf());
    assert_eq!(bench.power(PowerChange::Reboot(Shutdown::NOVA)).await?, VmPowerState::Running);
    assert_ne!(domid().await?, before);
    bench.power(PowerChange::Off(CLEAN)).await?;
    // No patience at all: the request is cancelled, whether or not the guest was quicker.
    let now = Shutdown::Clean { timeout: Duration::ZERO, otherwise: Otherwise::Hard };
    bench.power(PowerChange::On).await?;
    assert_eq!(bench.power(PowerChange::Off(now)).await?, VmPowerState::Halted);
    no_tasks(&bench).await
}

/// It hears the request, and does nothing: it is given up after the caller's patience, not XAPI's of twenty minutes.
#[tokio::test]
async fn a_guest_that_never_answers() -> Result<()> {
    let mut guests = Guests::new();
    guests.ignore_requests = true;
    let own = Bench::over(Pool::of_guests(guests).await?).await?;
    let spec = own.spec();
    let bench = own.start(spec).await?;
    let faults = bench.pool.simulator.faults();
    let soon = |otherwise| Shutdown::Clean { timeout: Duration::from_millis(200), otherwise };
    for (change, request, force, wanted) in [
        (PowerChange::Reboot as fn(_) -> _, "VM.clean_reboot", "VM.hard_reboot", VmPowerState::Running),
        (PowerChange::Off, "VM.clean_shutdown", "VM.hard_shutdown", VmPowerState::Halted),
    ] {
        let before = bench.record().await?.domid;
        let error = bench.power(change(soon(Otherwise::Fail))).await.unwrap_err();
        assert!(matches!(error.cause(), Cause::GuestStays { .. }), "{error}");
        let record = bench.record().await?;
        assert_eq!((record.power_state, record.domid), (VmPowerState::Running, before));
        // The request is over: nothing keeps others from the VM.
        assert!(record.current_operations.is_empty(), "{:?}", record.current_operations);
        no_tasks(&bench).await?;

        faults.record();
        assert_eq!(bench.power(change(soon(Otherwise::Hard))).await?, wanted);
        let mut calls = faults.recorded();
        calls.retain(|call| [request, "task.cancel", force].contains(&call.as_str()));
        assert_eq!(calls, [request, "task.cancel", force]);
        let record = bench.record().await?;
        assert_ne!(record.domid, before);
        assert!(record.current_operations.is_empty(), "{:?}", record.current_operations);
        no_tasks(&bench).await?;
    }
    // Who is asked to stop waiting takes the request back, too.
    bench.power(PowerChange::On).await?;
    let before = bench.record().await?.domid;
    let rebooting =
        bench.pool.driver.power(bench.which.clone(), PowerChange::Reboot(CLEAN), Progress::none());
    while bench.record().await?.current_operations.is_empty() {
        tokio::task::yield_now().await;
    }
    rebooting.cancel();
    let error = rebooting.await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Cancelled), "{error}");
    let record = bench.record().await?;
    assert_eq!((record.power_state, record.domid), (VmPowerState::Running, before));
    assert!(record.current_operations.is_empty(), "{:?}", record.current_operations);
    no_tasks(&bench).await
}

/// A host that lost its power has no domains when it boots, and its guests are down for XAPI: what ran is brought up
/// again by the verb for it, and what was down before or was deleted stays so.
#[tokio::test]
async fn guests_come_up_again_when_their_host_has_booted() -> Result<()> {
    let bench = bench().await?;
    let client = bench.pool.client();
    let home = client.get_field(&bench.vm, vm::field::RESIDENT_ON).await?;
    for (before, up) in
        [(PowerChange::On, true), (PowerChange::Pause, true), (PowerChange::Off(CLEAN), false)]
    {
        bench.power(before).await?;
        // What XAPI does to each guest of a host that boots.
        client.call(vm::PowerStateReset { vm: bench.vm.clone() }).await?;
        assert_eq!(bench.power_state().await?, VmPowerState::Halted);
        if up {
            assert_eq!(bench.power(PowerChange::On).await?, VmPowerState::Running);
            assert_eq!(client.get_field(&bench.vm, vm::field::RESIDENT_ON).await?, home);
            let vm = client.record(&bench.vm).await?;
            assert_eq!(vm.other_config["last_dom_id"], vm.domid.to_string(), "its console log is found");
        }
    }
    bench.pool.driver.soft_delete(bench.which.clone(), Progress::none()).await?;
    bench.power(PowerChange::On).await.unwrap_err();
    assert_eq!(bench.power_state().await?, VmPowerState::Halted);
    Ok(())
}

/// An operator's lock is refused in the operator's words, by XAPI: it is no soft deletion.
async fn kept_off_by_an_operator(bench: &Running) -> Result<()> {
    let error = bench.power(PowerChange::On).await.unwrap_err();
    let failure = error.failure().with_context(|| error.to_string())?;
    let text = failure.params.last().map(String::as_str);
    assert_eq!((&*failure.code, text), ("OPERATION_BLOCKED", Some("maintenance")));
    assert!(error.to_string().contains("maintenance"), "{error}");
    assert!(!error.to_string().contains("soft-deleted"), "{error}");
    assert!(!bench.pool.driver.instance(&bench.which).await?.soft_deleted);
    assert_eq!(bench.power_state().await?, VmPowerState::Halted);
    Ok(())
}

#[tokio::test]
async fn soft_delete_keeps_what_others_blocked() -> Result<()> {
    let bench = bench().await?;
    let (client, driver) = (bench.pool.client(), &bench.pool.driver);
    let field = vm::field::BLOCKED_OPERATIONS;
    let theirs = BTreeMap::from([
        (VmOperations::Destroy, "an operator's".to_owned()),
        (VmOperations::Start, "maintenance".to_owned()),
    ]);
    for (operation, text) in &theirs {
        client.add_to(&bench.vm, field, operation.clone(), &**text).await?;
    }
    // Without a host that it prefers: what a start on such a one is called for XAPI is not blocked.
    client.set_field(&bench.vm, vm::field::AFFINITY, Ref::<Host>::default()).await?;
    bench.off().await?;
    kept_off_by_an_operator(&bench).await?;
    let delete = || driver.soft_delete(bench.which.clone(), Progress::none());
    delete().await?;
    delete().await?;
    assert_eq!(bench.power_state().await?, VmPowerState::Halted);
    assert!(driver.instance(&bench.which).await?.soft_deleted);
    let mut both = theirs.clone();
    both.insert(VmOperations::StartOn, "xenapi-rs: soft-deleted".to_owned());
    assert_eq!(client.get_field(&bench.vm, field).await?, both);
    let error = bench.power(PowerChange::On).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::WrongState { .. }), "{error}");
    assert!(error.to_string().contains("is soft-deleted; restore it first"), "{error}");
    // Others hear it from XAPI, however they start it.
    let (vm, host) = (bench.vm.clone(), client.all::<Host>().await?.remove(0));
    let call = vm::StartOn { vm: vm.clone(), host, start_paused: false, force: true };
    let error = client.call(call).await.unwrap_err();
    assert!(error.is("OPERATION_BLOCKED") && error.to_string().contains("soft-deleted"), "{error}");
    let error = client.call(vm::Start { vm, start_paused: false, force: true }).await.unwrap_err();
    assert!(error.is("OPERATION_BLOCKED"), "{error}");

    driver.restore(bench.which.clone(), Progress::none()).await?;
    assert_eq!(client.get_field(&bench.vm, field).await?, theirs);
    kept_off_by_an_operator(&bench).await?;
    client.remove_from(&bench.vm, field, VmOperations::Start).await?;
    assert_eq!(bench.power(PowerChange::On).await?, VmPowerState::Running);
    Ok(())
}

#[tokio::test]
async fn lists_halted_instances_and_no_vms_of_others() -> Result<()> {
    let bench = bench().await?;
    let spec = InstanceSpec {
        power: spec::Power::Off,
        ..InstanceSpec::new("db1", Flavor::new(2, 256, 0), &bench.image)
    };
    bench.pool.spawn(spec).await?;
    let listed = bench.pool.driver.instances().await?;
    let shown: Vec<_> =
        listed.iter().map(|i| (&*i.name, &i.power_state, i.vcpus, i.memory_bytes >> 20)).collect();
    assert_eq!(shown, [("db1", &VmPowerState::Halted, 2, 256), ("web1", &VmPowerState::Running, 1, 512)]);
    assert!(listed.iter().all(|instance| instance.node.is_some()));

    let settings = Settings { owner: "somebody-else".into(), ..Settings::default() };
    let other = Driver::over(bench.pool.client().clone(), settings);
    assert_eq!(other.instances().await?, []);
    let error = other
        .power(bench.which.clone(), PowerChange::Off(Shutdown::Hard), Progress::none())
        .await
        .unwrap_err();
    assert!(matches!(error.cause(), Cause::NotOurs { .. }), "{error}");
    let error = other.soft_delete(bench.which.clone(), Progress::none()).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NotOurs { .. }), "{error}");
    assert_eq!(bench.power_state().await?, VmPowerState::Running);
    let error = bench.pool.driver.instance(&Which::parse("nobody")).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NoSuchInstance(_)), "{error}");
    Ok(())
}
