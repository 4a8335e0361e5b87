//! A host that hangs, as its storage does: what was asked of it is given up, says so, and what it does later
//! is put in order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::bench::{Bench, Running};
use e2e::pool::{LVM, NETWORK};
use xapi_simulator::fault::Fault;
use xenapi_driver::reconcile::{Kind, ReconcileOptions};
use xenapi_driver::rescue::RescueOptions;
use xenapi_driver::resize::ResizeOptions;
use xenapi_driver::spec::{Flavor, Nic, SrChoice};
use xenapi_driver::{Cause, Driver, Error, Operation, Otherwise, PowerChange, Progress, Settings, Shutdown};
use xenapi_types::{Vdi, Vif, VmPowerState, VmRecord};
use xenapi_wire::Failure;

/// So long this driver waits, and then a moment for what it has given up.
const SHORT: Duration = Duration::from_millis(200);
/// So long what was given up may take once it goes on.
const LATE: Duration = Duration::from_secs(20);

async fn bench() -> Result<(Running, Driver)> {
    let own = Bench::new().await?;
    let mut spec = own.spec();
    spec.nics = vec![Nic::on(NETWORK)];
    let bench = own.start(spec).await?;
    let hasty = bench.pool.driver_with(Settings { detach_timeout: SHORT, ..Settings::default() })?;
    Ok((bench, hasty))
}

fn says(error: &Error, doing: &str) {
    let text = error.to_string();
    assert!(matches!(error.cause(), Cause::NoAnswer { .. }), "{text}");
    for part in [doing, "no answer within", "do it once more then"] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
}

async fn comes_to(bench: &Running, state: impl FnMut(&VmRecord) -> bool) -> Result<()> {
    bench.client().wait_until(&bench.vm, LATE, state).await.map(drop).context("what was given up goes on")
}

async fn put_in_order(driver: &Driver, kind: Kind) -> Result<()> {
    let options = || ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
    let found = driver.reconcile(options()).await?;
    assert!(found.leftovers.is_empty(), "{:?}", found.leftovers);
    // What was given up has left the record of a task, too.
    let kinds = found.done.iter().map(|found| found.kind).filter(|kind| *kind != Kind::ForgottenTask);
    assert_eq!(kinds.collect::<Vec<_>>(), [kind]);
    let again = driver.reconcile(options()).await?;
    assert!(again.done.is_empty(), "{:?}", again.done);
    Ok(())
}

fn is_off(vm: &VmRecord) -> bool {
    vm.power_state == VmPowerState::Halted && vm.current_operations.is_empty()
}

#[tokio::test]
async fn a_guest_that_is_not_switched_off_in_time() -> Result<()> {
    let (bench, hasty) = bench().await?;
    let faults = bench.simulator.faults();
    for (method, change, doing) in [
        ("VM.hard_shutdown", PowerChange::Off(Shutdown::Hard), "switching VM "),
        ("VM.hard_reboot", PowerChange::Reboot(Shutdown::Hard), "resetting VM "),
    ] {
        hasty.power(bench.which.clone(), PowerChange::On, Progress::none()).await?;
        faults.on(method, Fault::Stuck);
        let change = || hasty.power(bench.which.clone(), change, Progress::none());
        says(&change().await.unwrap_err(), doing);
        assert_eq!(bench.power_state().await?, VmPowerState::Running);
        faults.clear();
        comes_to(&bench, |vm| vm.current_operations.is_empty()).await?;
        change().await?;
    }
    faults.on("VM.hard_shutdown", Fault::Stuck);
    says(&hasty.soft_delete(bench.which.clone(), Progress::none()).await.unwrap_err(), "switching VM ");
    faults.clear();
    comes_to(&bench, is_off).await?;
    put_in_order(&hasty, Kind::BrokenSoftDeletion).await?;
    hasty.restore(bench.which.clone(), Progress::none()).await?;
    hasty.power(bench.which.clone(), PowerChange::On, Progress::none()).await?;
    faults.on("VM.hard_shutdown", Fault::Stuck);
    says(&hasty.destroy(bench.which.clone(), Progress::none()).await.unwrap_err(), "switching VM ");
    faults.clear();
    comes_to(&bench, is_off).await?;
    put_in_order(&hasty, Kind::BrokenDestruction).await?;
    assert!(bench.client().record_opt(&bench.vm).await?.is_none());
    Ok(())
}

/// The disks of the pool, without base copies.
async fn disks(bench: &Running) -> Result<BTreeSet<String>> {
    let all = bench.client().all_records::<Vdi>().await?;
    Ok(all.into_values().filter(|vdi| vdi.managed).map(|vdi| vdi.uuid).collect())
}

/// What is noted in the instance, but for the number of its domain.
async fn keys(bench: &Running) -> Result<BTreeMap<String, String>> {
    let mut keys = bench.record().await?.other_config;
    keys.remove("last_dom_id");
    Ok(keys)
}

/// The guest goes off after all: what was given up then has it run again.
#[tokio::test]
async fn a_verb_that_wanted_it_off_on_the_way() -> Result<()> {
    let (bench, hasty) = bench().await?;
    let faults = bench.simulator.faults();
    let before = (disks(&bench).await?, keys(&bench).await?);
    let resize = ResizeOptions { flavor: Some(Flavor::new(2, 512, 0)), ..ResizeOptions::default() };
    let resize = ResizeOptions { shutdown: Shutdown::Hard, ..resize };
    faults.on("VM.hard_shutdown", Fault::Stuck);
    let error = hasty.resize(bench.which.clone(), resize).await.unwrap_err();
    says(&error, "switching VM ");
    let [left] = error.leftovers() else { panic!("{error}") };
    assert!(left.to_string().contains("resize of VM") && left.to_string().contains("no answer"), "{left}");
    faults.clear();
    comes_to(&bench, is_off).await?;
    put_in_order(&hasty, Kind::BrokenResize).await?;
    assert_eq!(bench.power_state().await?, VmPowerState::Running);
    assert_eq!((disks(&bench).await?, keys(&bench).await?), before, "resized in vain");

    faults.on("VM.hard_shutdown", Fault::Stuck);
    let rescue = RescueOptions::with(&*bench.image);
    says(&hasty.rescue(bench.which.clone(), rescue).await.unwrap_err(), "switching VM ");
    faults.clear();
    comes_to(&bench, is_off).await?;
    put_in_order(&hasty, Kind::BrokenRescue).await?;
    assert_eq!(bench.power_state().await?, VmPowerState::Running);
    assert_eq!((disks(&bench).await?, keys(&bench).await?), before, "rescued in vain");
    Ok(())
}

#[tokio::test]
async fn an_interface_that_is_not_plugged_or_unplugged_in_time() -> Result<()> {
    let (bench, hasty) = bench().await?;
    let faults = bench.simulator.faults();
    let attach = || hasty.attach_interface(bench.which.clone(), Nic::on(NETWORK), Progress::none());
    let count = async || hasty.interfaces(&bench.which).await.map(|all| all.len());
    faults.on("VIF.plug", Fault::Stuck);
    let error = attach().await.unwrap_err();
    says(&error, "plugging interface ");
    assert!(error.leftovers().is_empty(), "{error}");
    assert_eq!(count().await?, 1);
    faults.clear();
    e2e::victim::forget_tasks(&bench.pool).await?;
    bench.pool.census().await?.assert_as(&bench.before, "plugged in vain");

    // What cannot be removed is plugged in the end: its mark tells that it is not wanted.
    faults.on("VIF.plug", Fault::Stuck);
    faults.on("VIF.destroy", Fault::Failure(Failure::new("INTERNAL_ERROR", ["it was to be"])));
    let error = attach().await.unwrap_err();
    says(&error, "plugging interface ");
    assert_eq!(error.leftovers().len(), 1, "{error}");
    let late = hasty.interfaces(&bench.which).await?.pop().context("the new one")?;
    let late = bench.client().by_uuid::<Vif>(&late.uuid).await?;
    faults.clear();
    bench.client().wait_until(&late, LATE, |vif| vif.currently_attached).await?;
    put_in_order(&hasty, Kind::HalfAttachedInterface).await?;
    assert_eq!(count().await?, 1);

    let second = attach().await?;
    faults.on("VIF.unplug", Fault::Stuck);
    let detach = || hasty.detach_interface(bench.which.clone(), &*second.uuid, Progress::none());
    says(&detach().await.unwrap_err(), &format!("unplugging interface {} (VIF ", second.mac));
    assert_eq!(hasty.interfaces(&bench.which).await?.last(), Some(&second), "it is as it was");
    let vif = bench.client().by_uuid::<Vif>(&second.uuid).await?;
    faults.clear();
    bench.client().wait_until(&vif, LATE, |vif| !vif.currently_attached).await?;
    put_in_order(&hasty, Kind::HalfAttachedInterface).await?;
    e2e::victim::forget_tasks(&bench.pool).await?;
    bench.pool.census().await?.assert_as(&bench.before, "unplugged late");
    Ok(())
}

/// The guest may never answer, and its host never end what was cancelled: whoever gives it up gets an answer all the same.
#[tokio::test]
async fn what_is_cancelled_is_not_waited_for_without_end() -> Result<()> {
    let (bench, hasty) = bench().await?;
    let faults = bench.simulator.faults();
    let clean = |timeout, otherwise| Shutdown::Clean { timeout, otherwise };
    let patient = clean(Duration::from_secs(3_600), Otherwise::Hard);
    for (method, change) in [
        ("VM.clean_shutdown", PowerChange::Off(patient)),
        ("VM.clean_reboot", PowerChange::Reboot(patient)),
        ("VM.pause", PowerChange::Pause),
        ("VM.suspend", PowerChange::Suspend),
    ] {
        let mut struck = faults.struck();
        faults.on(method, Fault::Stuck);
        let operation = hasty.power(bench.which.clone(), change, Progress::none());
        struck.changed().await?;
        gives_up(method, operation).await?;
        goes_on(&bench).await?;
        hasty.power(bench.which.clone(), PowerChange::On, Progress::none()).await?;
    }
    // One that is not waited for longer: the next step is taken, or the guest stays.
    let before = bench.record().await?.domid;
    faults.on("VM.clean_shutdown", Fault::Stuck);
    let off = |otherwise| PowerChange::Off(clean(SHORT, otherwise));
    let error = hasty.power(bench.which.clone(), off(Otherwise::Fail), Progress::none()).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::GuestStays { .. }), "{error}");
    assert_eq!(bench.record().await?.domid, before);
    goes_on(&bench).await?;
    hasty.power(bench.which.clone(), PowerChange::On, Progress::none()).await?;
    faults.on("VM.clean_shutdown", Fault::Stuck);
    let state = hasty.power(bench.which.clone(), off(Otherwise::Hard), Progress::none()).await?;
    assert_eq!(state, VmPowerState::Halted);
    goes_on(&bench).await
}

#[tokio::test]
async fn a_copy_that_hangs_is_given_up() -> Result<()> {
    let (bench, hasty) = bench().await?;
    let before = (disks(&bench).await?, keys(&bench).await?);
    let resize = || ResizeOptions {
        sr: Some(SrChoice::NameLabel(LVM.to_owned())),
        shutdown: Shutdown::Hard,
        ..ResizeOptions::default()
    };
    let mut struck = bench.simulator.faults().struck();
    bench.simulator.faults().on("VDI.copy", Fault::Stuck);
    let operation = hasty.resize(bench.which.clone(), resize());
    struck.changed().await?;
    gives_up("VDI.copy", operation).await?;
    goes_on(&bench).await?;
    assert_eq!((disks(&bench).await?, keys(&bench).await?), before, "copied in vain");
    assert_eq!(bench.power_state().await?, VmPowerState::Running);
    Ok(())
}

async fn gives_up<T>(what: &str, operation: Operation<T>) -> Result<()> {
    operation.cancel();
    let ended =
        tokio::time::timeout(LATE, operation).await.with_context(|| format!("{what} is waited for"))?;
    let error = ended.err().with_context(|| format!("{what} was done"))?;
    ensure!(matches!(error.cause(), Cause::Cancelled) && error.leftovers().is_empty(), "{what}: {error}");
    Ok(())
}

/// The host goes on with what it had begun.
async fn goes_on(bench: &Running) -> Result<()> {
    bench.simulator.faults().clear();
    e2e::victim::forget_tasks(&bench.pool).await
}
