//! What instances show and use, and what becomes of them.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use e2e::sweep::scene::Scene;
use e2e::sweep::verb::{Step, Verb};
use tokio::io::AsyncReadExt;
use xenapi_driver::observe::Lifecycle;
use xenapi_driver::{Cause, PowerChange, Progress, Settings, Shutdown, Which};
use xenapi_types::{ConsoleProtocol, Vm, VmPowerState, vm};
use xenapi_wire::{DateTime, Value};

const SPAWNED: Verb = Verb { name: "observed", prepare: &[Step::Spawn], act: Step::Destroy };
const GREETING: &str = "\r\nweb1 login: ";

#[tokio::test]
async fn the_console_and_its_log() -> Result<()> {
    let scene = Scene::set(&SPAWNED).await?;
    let driver = &scene.pool.driver;
    assert_eq!(driver.console_log(&scene.which()).await?, GREETING);
    // After a reboot its domain is another one.
    let reboot = PowerChange::Reboot(Shutdown::Hard);
    driver.power(scene.which(), reboot, Progress::none()).await?;
    assert_eq!(driver.console_log(&scene.which()).await?, GREETING);

    let count = || scene.pool.simulator.core().db().read(|view| view.objects("session").count());
    let sessions = count();
    let mut terminal = driver.console(&scene.which(), ConsoleProtocol::Vt100).await?;
    let mut seen = [0; GREETING.len()];
    terminal.read_exact(&mut seen).await?;
    assert_eq!(str::from_utf8(&seen)?, GREETING);
    assert_eq!(count(), sessions + 1, "it has a session of its own");
    terminal.close().await?;
    assert_eq!(count(), sessions);

    driver.power(scene.which(), PowerChange::Off(Shutdown::Hard), Progress::none()).await?;
    let error = driver.console_log(&scene.which()).await.unwrap_err().to_string();
    assert!(error.contains("No such file"), "the last domain's log was asked for: {error}");
    let foreign = driver.console_log(&Which::Named("somebody else's".into())).await.unwrap_err();
    assert!(matches!(foreign.cause(), Cause::NotOurs { .. }), "{foreign}");
    Ok(())
}

#[tokio::test]
async fn what_is_measured_and_moved() -> Result<()> {
    let scene = Scene::set(&SPAWNED).await?;
    let driver = &scene.pool.driver;
    // It has run for an hour: of a guest that has just been started nothing may be known yet.
    let client = scene.pool.client();
    let metrics = client.record(&client.by_name_label::<Vm>("web1").await?).await?.metrics.to_string();
    let hour_ago = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs() - 3_600;
    let started = Value::DateTime(DateTime::from_unix_seconds(i64::try_from(hour_ago)?));
    scene.pool.simulator.core().db().write(|tx| tx.set("VM_metrics", &metrics, "start_time", started))?;
    let measured = driver.diagnostics(&scene.which()).await?;
    for source in ["cpu0", "memory", "vif_0_rx", "vif_0_tx"] {
        let value = measured.get(source).with_context(|| format!("no {source}: {measured:?}"))?;
        assert!(*value >= 0.0, "{source}: {value}");
    }
    let since = SystemTime::now() - Duration::from_secs(600);
    let moved = driver.traffic(&scene.which(), since).await?;
    let macs: Vec<_> = driver.interfaces(&scene.which()).await?.into_iter().map(|nic| nic.mac).collect();
    assert_eq!(moved.iter().map(|traffic| traffic.mac.clone()).collect::<Vec<_>>(), macs);
    assert!(moved.iter().all(|traffic| traffic.received_bytes > 0 && traffic.sent_bytes > 0), "{moved:?}");
    driver.power(scene.which(), PowerChange::Off(Shutdown::Hard), Progress::none()).await?;
    for error in [
        driver.diagnostics(&scene.which()).await.err().context("it is off")?,
        driver.traffic(&scene.which(), since).await.err().context("it is off")?,
    ] {
        assert!(matches!(error.cause(), Cause::WrongState { .. }), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn what_becomes_of_instances_is_told_whoever_does_it() -> Result<()> {
    let scene = Scene::set(&SPAWNED).await?;
    let driver = scene.pool.driver_with(Settings::default())?;
    let mut events = driver.events().await?;
    let mut next = async || {
        let event = tokio::time::timeout(Duration::from_secs(60), events.next()).await?;
        anyhow::Ok(event.context("the events have ended")?)
    };
    // By somebody else, with the host's own tools.
    let client = scene.pool.client();
    let vm = client.by_name_label::<Vm>("web1").await?;
    client.call(vm::HardShutdown { vm: vm.clone() }).await?;
    let event = next().await?;
    assert_eq!(event.uuid, scene.instance);
    assert_eq!(event.what, Lifecycle::Power(VmPowerState::Running, VmPowerState::Halted));
    Step::Destroy.run(&scene).await?;
    assert_eq!(next().await?.what, Lifecycle::Removed);
    // Nothing was told of the other VM, which came and went before the next of ours.
    let foreign = client.by_name_label::<Vm>("somebody else's").await?;
    client.call(vm::HardShutdown { vm: foreign }).await?;
    Step::Spawn.run(&scene).await?;
    let mut states = Vec::new();
    while states.last() != Some(&VmPowerState::Running) {
        let event = next().await?;
        assert_eq!(event.uuid, scene.instance, "{event:?}");
        match event.what {
            Lifecycle::Created(state) | Lifecycle::Power(_, state) => states.push(state),
            Lifecycle::Moved(_) | Lifecycle::Rebooted => {}
            other => anyhow::bail!("{other:?}"),
        }
    }
    Ok(())
}
