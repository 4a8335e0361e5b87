//! What instances show and use, and what becomes of them.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use e2e::bench::Bench;
use e2e::dom0::Dom0;
use e2e::pool::Pool;
use e2e::sweep::scene::Scene;
use e2e::sweep::verb::{Step, Verb};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use xenapi_driver::console::{ConsoleBridge, Door, Viewer};
use xenapi_driver::observe::Lifecycle;
use xenapi_driver::{Cause, Otherwise, PowerChange, Progress, Settings, Shutdown, Which};
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

/// What the guest wrote last stays to be read when it is off, also when somebody else had it boot once more
/// meanwhile: by then its domain is another one than the driver knew of.
#[tokio::test]
async fn the_log_of_a_guest_that_is_off() -> Result<()> {
    let dom0 = Dom0::new(env!("CARGO_BIN_EXE_dom0-plugins"), &["console.py"])?;
    let own = Bench::over(Pool::with_plugins(&dom0.plugins()).await?).await?;
    let spec = own.spec();
    let bench = own.start(spec).await?;
    let logs = dom0.path("/var/log/xen/guest");
    std::fs::create_dir_all(&logs)?;
    let write = |domid: i64, text: &str| std::fs::write(logs.join(format!("console.{domid}")), text);
    let log = async || bench.driver.console_log(&bench.which).await;
    let clean = Shutdown::Clean { timeout: Duration::from_secs(20), otherwise: Otherwise::Fail };
    for shutdown in [Shutdown::Hard, clean] {
        bench.power(PowerChange::On).await?;
        let first = bench.record().await?.domid;
        write(first, "first")?;
        assert_eq!(log().await?, "first", "{shutdown:?}");
        bench.client().call(vm::HardReboot { vm: bench.vm.clone() }).await?;
        let second = bench.record().await?.domid;
        assert_ne!(second, first, "{shutdown:?}");
        write(second, "second")?;
        assert_eq!(log().await?, "second", "while it runs, {shutdown:?}");
        assert_eq!(bench.power(PowerChange::Off(shutdown)).await?, VmPowerState::Halted);
        assert_eq!(log().await?, "second", "after {shutdown:?}");
    }
    Ok(())
}

/// As a VNC viewer greets: it gets the guest's screen, and with it nothing else of the host.
#[tokio::test]
async fn a_viewer_comes_through_the_bridge() -> Result<()> {
    let scene = Scene::set(&SPAWNED).await?;
    let driver = &scene.pool.driver;
    let count = || scene.pool.simulator.core().db().read(|view| view.objects("session").count());
    driver.instances().await?;
    let sessions = count();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (door, bridge) =
        (Door::Port(listener), ConsoleBridge::new(driver, scene.which(), ConsoleProtocol::Rfb));
    for _ in 0..2 {
        let mut viewer = TcpStream::connect(address).await?;
        let serving = {
            let (guest, bridge) = (door.open().await?, bridge.clone());
            tokio::spawn(async move { bridge.serve(guest).await })
        };
        let mut version = [0; 12];
        viewer.read_exact(&mut version).await?;
        assert_eq!(&version, b"RFB 003.008\n");
        assert_eq!(count(), sessions + 1, "it has a session of its own");
        viewer.write_all(&version).await?;
        let mut security = [0; 2];
        viewer.read_exact(&mut security).await?;
        assert_eq!(security, [1, 1], "the host has asked who it is already");
        // Without authentication; the screen may be shared.
        viewer.write_all(&[1]).await?;
        assert_eq!(viewer.read_u32().await?, 0);
        viewer.write_all(&[1]).await?;
        let (width, height) = (viewer.read_u16().await?, viewer.read_u16().await?);
        assert!(width > 0 && height > 0);
        let mut format = [0; 16];
        viewer.read_exact(&mut format).await?;
        let mut name = vec![0; usize::try_from(viewer.read_u32().await?)?];
        viewer.read_exact(&mut name).await?;
        assert!(!name.is_empty());
        drop(viewer);
        serving.await??;
        assert_eq!(count(), sessions, "it is closed with the viewer's connection");
    }
    // Nobody else's, and none that is off.
    let (near, _far) = tokio::io::duplex(64);
    let foreign = ConsoleBridge::new(driver, Which::Named("somebody else's".into()), ConsoleProtocol::Rfb);
    let error = foreign.serve(Viewer::new(near, "a test")).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NotOurs { .. }), "{error}");
    driver.power(scene.which(), PowerChange::Off(Shutdown::Hard), Progress::none()).await?;
    let (near, _far) = tokio::io::duplex(64);
    let error = bridge.serve(Viewer::new(near, "a test")).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Host { .. }), "{error}");
    assert_eq!(count(), sessions);
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
    let load = driver.instance_load(&scene.which()).await?;
    assert!(load.cpu.is_some_and(|cpu| (0.0..=1.0).contains(&cpu)) && load.measured_at.is_some(), "{load:?}");
    assert_eq!(load.memory_total_bytes.map(|bytes| bytes as f64), measured.get("memory").copied());
    assert!(load.memory_free_bytes.is_some_and(|free| Some(free) < load.memory_total_bytes), "{load:?}");
    assert!(load.networks.iter().all(|nic| nic.received_per_second.is_some()) && load.networks.len() == 1);
    assert!(load.disks.iter().any(|disk| disk.name == "xvda" && disk.read_per_second.is_some()), "{load:?}");
    let since = SystemTime::now() - Duration::from_secs(600);
    let moved = driver.traffic(&scene.which(), since).await?;
    let macs: Vec<_> = driver.interfaces(&scene.which()).await?.into_iter().map(|nic| nic.mac).collect();
    assert_eq!(moved.iter().map(|traffic| traffic.mac.clone()).collect::<Vec<_>>(), macs);
    assert!(moved.iter().all(|traffic| traffic.received_bytes > 0 && traffic.sent_bytes > 0), "{moved:?}");
    driver.power(scene.which(), PowerChange::Off(Shutdown::Hard), Progress::none()).await?;
    for error in [
        driver.diagnostics(&scene.which()).await.err().context("it is off")?,
        driver.traffic(&scene.which(), since).await.err().context("it is off")?,
        driver.instance_load(&scene.which()).await.err().context("it is off")?,
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
