//! Nova's chain of bridges, made by the real plugin with tools that keep what they are told in files.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use e2e::dom0::Dom0;
use e2e::pool::{NETWORK, Pool};
use e2e::ports::{PORT, chain, files, nic, tools};
use tempfile::TempDir;
use uuid::Uuid;
use xapi_simulator::World;
use xapi_simulator::fault::Fault;
use xenapi_driver::bridges::{Port, interim_network};
use xenapi_driver::live::MigrateOptions;
use xenapi_driver::resize::ResizeOptions;
use xenapi_driver::spec::{Flavor, InstanceSpec, Nic, SrChoice};
use xenapi_driver::{Cause, Driver, PowerChange, Progress, Settings, Shutdown, SpawnOptions, Stage, Which};
use xenapi_types::{Failure, Host, Vm, VmPowerState};

async fn spec(pool: &Pool, folder: &Path) -> Result<InstanceSpec> {
    let image = folder.join("image");
    std::fs::File::create(&image)?.set_len(4 << 20)?;
    let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, 0), image);
    spec.nics = vec![nic(pool, PORT).await?];
    Ok(spec)
}

async fn spawn(pool: &Pool, folder: &Path) -> Result<Which> {
    let spec = spec(pool, folder).await?;
    Ok(Which::Instance(pool.driver.spawn(spec, SpawnOptions::default()).await?.uuid))
}

async fn bridge_of(pool: &Pool, port: &str) -> Result<String> {
    let name = interim_network(port.parse()?);
    let found = pool.driver.networks().await?.into_iter().find(|network| network.name == name);
    Ok(found.context("the port's network")?.bridge)
}

#[tokio::test]
async fn a_port_is_plugged_and_unplugged() -> Result<()> {
    let dom0 = Dom0::new(env!("CARGO_BIN_EXE_dom0-plugins"), &["xenhost.py"])?;
    tools(&dom0)?;
    let (pool, folder) = (Pool::with_plugins(&dom0.plugins()).await?, tempfile::tempdir()?);
    let which = spawn(&pool, folder.path()).await?;
    let networks = pool.driver.networks().await?;
    let interim = networks.into_iter().find(|network| network.name == "net-3f2504e0-4").expect("its network");
    let port = || Port { id: PORT.parse().expect("a uuid"), integration_bridge: "xapi1".to_owned() };
    let plug = || pool.driver.plug_port(which.clone(), port(), Progress::none());

    let dry = pool.driver.dry_run(|driver| driver.plug_port(which.clone(), port(), Progress::none())).await?;
    assert_eq!((dry.steps.len(), files(&dom0)?.len()), (3, 0), "{dry}");
    // What fails half way is taken down again.
    std::fs::write(dom0.store().join("refuses"), "")?;
    plug().await.unwrap_err();
    assert_eq!(files(&dom0)?, BTreeSet::from(["refuses".to_owned()]));
    std::fs::remove_file(dom0.store().join("refuses"))?;

    plug().await?;
    let wanted = chain(PORT, &interim.bridge);
    assert_eq!(files(&dom0)?, wanted);
    plug().await?;
    assert_eq!(files(&dom0)?, wanted, "once more is no harm");

    let host = pool.client().all_records::<Host>().await?.into_values().next().expect("a host");
    let node = host.uuid.parse()?;
    let dry = pool.driver.dry_run(|driver| driver.unplug_port(node, port(), Progress::none())).await?;
    assert_eq!((dry.steps.len(), files(&dom0)?), (1, wanted), "{dry}");
    for _ in 0..2 {
        pool.driver.unplug_port(host.uuid.parse()?, port(), Progress::none()).await?;
        assert_eq!(files(&dom0)?, BTreeSet::new());
    }
    Ok(())
}

/// Whether a device is there is asked of the plugin, and who does not answer has not said that it is not.
#[tokio::test]
async fn what_was_not_looked_at_is_not_taken_for_gone() -> Result<()> {
    let dom0 = Dom0::new(env!("CARGO_BIN_EXE_dom0-plugins"), &["xenhost.py"])?;
    tools(&dom0)?;
    let (pool, folder) = (Pool::with_plugins(&dom0.plugins()).await?, tempfile::tempdir()?);
    let which = spawn(&pool, folder.path()).await?;
    let host = pool.client().all_records::<Host>().await?.into_values().next().expect("a host");
    let node: Uuid = host.uuid.parse()?;
    let port = || Port { id: PORT.parse().expect("a uuid"), integration_bridge: "xapi1".to_owned() };
    let crash = || Failure::new("XENAPI_PLUGIN_FAILURE", ["signal: SIGKILL", "", ""]);
    let refusal = || Failure::new("INTERNAL_ERROR", ["a fault of the test"]);
    for failure in [crash(), refusal()] {
        // The devices are looked for by the third, the fifth and the seventh of the calls.
        for call in [3, 5, 7] {
            pool.driver.plug_port(which.clone(), port(), Progress::none()).await?;
            let faults = pool.simulator.faults();
            faults.on_nth("host.call_plugin", call, Fault::Failure(failure.clone()));
            let unplugged = pool.driver.unplug_port(node, port(), Progress::none()).await;
            assert_eq!(faults.clear(), 0, "call {call}");
            assert!(unplugged.is_err(), "call {call} of {}", failure.code);
            pool.driver.unplug_port(node, port(), Progress::none()).await?;
            assert_eq!(files(&dom0)?, BTreeSet::new(), "call {call} of {}", failure.code);
        }
    }
    Ok(())
}

/// A program that dies half way leaves a part of the chain; what is there says nothing of what is behind it.
#[tokio::test]
async fn half_a_chain_is_completed() -> Result<()> {
    let dom0 = Dom0::new(env!("CARGO_BIN_EXE_dom0-plugins"), &["xenhost.py"])?;
    tools(&dom0)?;
    let (pool, folder) = (Pool::with_plugins(&dom0.plugins()).await?, tempfile::tempdir()?);
    let which = spawn(&pool, folder.path()).await?;
    let interim = bridge_of(&pool, PORT).await?;
    let port = || Port { id: PORT.parse().expect("a uuid"), integration_bridge: "xapi1".to_owned() };
    pool.driver.plug_port(which.clone(), port(), Progress::none()).await?;
    let whole = chain(PORT, &interim);
    let p = &PORT[..11];
    let [guest, host] = [format!("in-qbr{p}-tap{p}"), format!("ovs-{interim}-vif{p}")];
    let [outer, inner] = [format!("ovs-xapi1-qvo{p}"), format!("in-qbr{p}-qvb{p}")];
    let pair = [format!("dev-tap{p}"), format!("dev-vif{p}")];
    for lost in [
        vec![&guest],
        vec![&guest, &host],
        vec![&guest, &host, &pair[0], &pair[1]],
        vec![&guest, &host, &pair[0], &pair[1], &outer],
        vec![&guest, &host, &pair[0], &pair[1], &outer, &inner],
    ] {
        for file in &lost {
            std::fs::remove_file(dom0.store().join(file))?;
        }
        pool.driver.plug_port(which.clone(), port(), Progress::none()).await?;
        assert_eq!(files(&dom0)?, whole, "without {lost:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_plugged_is_told() -> Result<()> {
    // Without the plugin.
    let (pool, folder) = (Pool::demo().await?, tempfile::tempdir()?);
    let which = spawn(&pool, folder.path()).await?;
    let plug = async |id: Uuid, bridge: &str| {
        let port = Port { id, integration_bridge: bridge.to_owned() };
        pool.driver.plug_port(which.clone(), port, Progress::none()).await.unwrap_err()
    };
    let id: Uuid = PORT.parse()?;
    let missing = plug(id, "xapi1").await;
    assert!(missing.to_string().contains("xenhost.py"), "{missing}");
    assert!(matches!(plug(Uuid::nil(), "xapi1").await.cause(), Cause::NoSuchInterface { .. }));
    assert!(matches!(plug(id, "xapi1; reboot").await.cause(), Cause::NoBridge(_)));
    // Another port of whose id no more is in the names: they would share a network and a bridge.
    let mut nic = Nic::on(NETWORK);
    nic.other_config.insert("neutron-port-id".into(), "3f2504e0-4bad-11d3-9a0c-0305e82c3301".into());
    let other = pool.driver.attach_interface(which.clone(), nic, Progress::none()).await?;
    let taken = plug(id, "xapi1").await;
    assert!(matches!(taken.cause(), Cause::PortNameTaken { .. }), "{taken}");
    pool.driver.detach_interface(which.clone(), &other.mac, Progress::none()).await?;
    assert!(matches!(plug(id, "xapi1").await.cause(), Cause::Host { .. }));
    let off = PowerChange::Off(Shutdown::Hard);
    pool.driver.power(which.clone(), off, Progress::none()).await?;
    assert!(matches!(plug(id, "xapi1").await.cause(), Cause::WrongState { .. }));
    Ok(())
}

/// A pool of two hosts with a control domain each, whose driver connects ports by itself.
struct TwoHosts {
    pool: Pool,
    driver: Driver,
    /// With the uuids of their hosts; that of the first node is the first.
    dom0s: Vec<(Uuid, Dom0)>,
    folder: TempDir,
}

impl TwoHosts {
    async fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins)?;
        let pool = Pool::of_plugins(World::demo().with_all_drivers().with_hosts(2), &plugins).await?;
        pool.share("shared").await?;
        let mut dom0s = Vec::new();
        for node in pool.driver.nodes().await? {
            let all = ["xenhost.py", "dom0_plugin_version.py"];
            let dom0 = Dom0::new(env!("CARGO_BIN_EXE_dom0-plugins"), &all)?;
            tools(&dom0)?;
            std::os::unix::fs::symlink(dom0.plugins(), plugins.join(&node.uuid))?;
            dom0s.push((node.uuid.parse()?, dom0));
        }
        let settings =
            Settings { integration_bridge: Some("xapi1".into()), ..pool.driver.settings().clone() };
        let driver = Driver::over(pool.driver.client().clone(), settings);
        Ok(Self { pool, driver, dom0s, folder })
    }

    async fn spec(&self) -> Result<InstanceSpec> {
        let mut spec = spec(&self.pool, self.folder.path()).await?;
        spec.node = Some(self.dom0s[0].0);
        spec.sr = SrChoice::NameLabel("shared".into());
        Ok(spec)
    }

    /// What is there of ports on either host.
    fn files(&self) -> Result<[BTreeSet<String>; 2]> {
        Ok([files(&self.dom0s[0].1)?, files(&self.dom0s[1].1)?])
    }

    /// As after a reboot of the host, of which XAPI alone knows what was.
    fn forget(&self, host: usize) -> Result<()> {
        let dom0 = &self.dom0s[host].1;
        Ok(files(dom0)?.iter().try_for_each(|name| std::fs::remove_file(dom0.store().join(name)))?)
    }
}

/// From the first start to the end, without anybody asking for it, and where the guest is.
#[tokio::test]
async fn a_ports_bridges_come_and_go_with_its_guest() -> Result<()> {
    let two = TwoHosts::new().await?;
    let driver = &two.driver;
    let spawned = driver.spawn(two.spec().await?, SpawnOptions::default()).await?;
    let which = || Which::Instance(spawned.uuid);
    let wanted = chain(PORT, &bridge_of(&two.pool, PORT).await?);
    let none = BTreeSet::new;
    assert_eq!(two.files()?, [wanted.clone(), none()]);
    let vm = two.pool.client().by_uuid::<Vm>(&spawned.vm_uuid).await?;
    assert_eq!(
        two.pool.client().record(&vm).await?.power_state,
        VmPowerState::Running,
        "not paused any more"
    );

    // They stay while it is off, as Nova's did, and come back with it on a host that was started anew.
    let off = PowerChange::Off(Shutdown::Hard);
    for power in [off, PowerChange::On, PowerChange::Reboot(Shutdown::Hard), PowerChange::Suspend] {
        driver.power(which(), power, Progress::none()).await?;
        assert_eq!(two.files()?, [wanted.clone(), none()], "{power:?}");
    }
    two.forget(0)?;
    driver.power(which(), PowerChange::On, Progress::none()).await?;
    assert_eq!(two.files()?, [wanted.clone(), none()]);

    // A second one while it runs, which goes alone.
    const SECOND: &str = "11111111-2222-4333-8444-555555555555";
    let second = nic(&two.pool, SECOND).await?;
    driver.attach_interface(which(), second, Progress::none()).await?;
    let both: BTreeSet<String> =
        wanted.iter().cloned().chain(chain(SECOND, &bridge_of(&two.pool, SECOND).await?)).collect();
    assert_eq!(two.files()?, [both.clone(), none()]);
    driver.live_migrate(which(), MigrateOptions::to(two.dom0s[1].0)).await?;
    assert_eq!(two.files()?, [none(), both]);
    driver.detach_interface(which(), SECOND, Progress::none()).await?;
    assert_eq!(two.files()?, [none(), wanted.clone()]);

    // Cold, there and back, and there for good.
    let back =
        || ResizeOptions { node: Some(two.dom0s[0].0), shutdown: Shutdown::Hard, ..ResizeOptions::default() };
    driver.resize(which(), back()).await?;
    assert_eq!(two.files()?, [wanted.clone(), wanted.clone()], "until it is decided");
    driver.revert_resize(which(), Progress::none()).await?;
    assert_eq!(two.files()?, [none(), wanted.clone()]);
    driver.resize(which(), back()).await?;
    driver.confirm_resize(which(), Progress::none()).await?;
    assert_eq!(two.files()?, [wanted, none()]);
    driver.destroy(which(), Progress::none()).await?;
    assert_eq!(two.files()?, [none(), none()]);
    Ok(())
}

/// What fails leaves none, and a host that cannot do it is told of beforehand; without the setting, nothing is done.
#[tokio::test]
async fn no_bridges_are_left_of_what_failed_and_none_are_made_unasked() -> Result<()> {
    let two = TwoHosts::new().await?;
    let (driver, none) = (&two.driver, || [BTreeSet::new(), BTreeSet::new()]);
    let spec = two.spec().await?;
    let before = two.pool.census().await?;
    std::fs::write(two.dom0s[0].1.store().join("refuses"), "")?;
    let error = driver.spawn(spec.clone(), SpawnOptions::default()).await.unwrap_err();
    assert!(error.stage() == Stage::Start && error.leftovers().is_empty(), "{error}");
    std::fs::remove_file(two.dom0s[0].1.store().join("refuses"))?;
    assert_eq!(two.files()?, none());
    two.pool.census().await?.assert_as(&before, "the bridges failed");
    // Later, when the bridges are there.
    let refusal = || Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    two.pool.simulator.faults().on("VM.unpause", refusal());
    driver.spawn(spec.clone(), SpawnOptions::default()).await.unwrap_err();
    assert_eq!((two.files()?, two.pool.simulator.faults().clear()), (none(), 0));
    two.pool.census().await?.assert_as(&before, "the start failed");

    let plain = two.pool.driver.spawn(spec.clone(), SpawnOptions::default()).await?;
    assert_eq!(two.files()?, none(), "nobody asked for it");
    let which = || Which::Instance(plain.uuid);
    // An interface that cannot be connected is not attached either.
    const SECOND: &str = "11111111-2222-4333-8444-555555555555";
    let second = nic(&two.pool, SECOND).await?;
    let interfaces = driver.interfaces(&which()).await?;
    std::fs::write(two.dom0s[0].1.store().join("refuses"), "")?;
    driver.attach_interface(which(), second.clone(), Progress::none()).await.unwrap_err();
    std::fs::remove_file(two.dom0s[0].1.store().join("refuses"))?;
    assert_eq!((two.files()?, driver.interfaces(&which()).await?), (none(), interfaces));
    // Another one whose names are the same, cut.
    let twin = nic(&two.pool, "3f2504e0-4f89-11d3-9a0c-0305e82c3302").await?;
    let error = driver.attach_interface(which(), twin, Progress::none()).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::PortNameTaken { .. }), "{error}");

    for (_, dom0) in &two.dom0s {
        std::fs::remove_file(dom0.plugins().join("dom0_plugin_version.py"))?;
    }
    two.pool.simulator.faults().record();
    let other = InstanceSpec { name: "web2".into(), uuid: Uuid::new_v4(), ..spec };
    for error in [
        driver.spawn(other, SpawnOptions::default()).await.unwrap_err(),
        driver.attach_interface(which(), second, Progress::none()).await.unwrap_err(),
        driver.live_migrate(which(), MigrateOptions::to(two.dom0s[1].0)).await.unwrap_err(),
    ] {
        assert!(error.stage() == Stage::Plan && error.to_string().contains("xenhost.py"), "{error}");
    }
    assert_eq!(e2e::pool::writes(two.pool.simulator.faults().recorded()), [""; 0]);
    Ok(())
}

/// The bridges of a dead host are gone with it; one that only cannot be reached may have them.
#[tokio::test]
async fn destroyed_although_the_host_is_dead() -> Result<()> {
    let two = TwoHosts::new().await?;
    let spawned = two.driver.spawn(two.spec().await?, SpawnOptions::default()).await?;
    let which = || Which::Instance(spawned.uuid);
    two.driver.power(which(), PowerChange::Off(Shutdown::Hard), Progress::none()).await?;
    let home = two.pool.client().by_uuid::<Host>(&two.dom0s[0].0.to_string()).await?;
    let metrics = two.pool.client().record(&home).await?.metrics.to_string();
    let fault = Fault::Failure(Failure::new("CANNOT_CONTACT_HOST", [home.to_string()]));
    two.pool.simulator.faults().on_every("host.call_plugin", fault);
    let error = two.driver.destroy(which(), Progress::none()).await.unwrap_err();
    assert!(error.to_string().contains("CANNOT_CONTACT_HOST"), "{error}");
    two.pool.simulator.core().db().write(|tx| tx.set("host_metrics", &metrics, "live", false))?;
    two.driver.destroy(which(), Progress::none()).await?;
    assert!(two.pool.client().by_uuid_opt::<Vm>(&spawned.vm_uuid).await?.is_none());
    Ok(())
}

/// A host of which XAPI says once that it cannot be reached, and which lives, still has them.
#[tokio::test]
async fn a_host_that_was_not_reached_is_not_taken_for_dead() -> Result<()> {
    let two = TwoHosts::new().await?;
    let spawned = two.driver.spawn(two.spec().await?, SpawnOptions::default()).await?;
    let which = || Which::Instance(spawned.uuid);
    let away = Failure::new("HOST_OFFLINE", ["OpaqueRef:away"]);
    two.pool.simulator.faults().on_nth("host.call_plugin", 3, Fault::Failure(away));
    let error = two.driver.destroy(which(), Progress::none()).await.unwrap_err();
    assert_eq!((error.stage(), two.pool.simulator.faults().clear()), (Stage::Remove, 0), "{error}");
    two.driver.destroy(which(), Progress::none()).await?;
    assert_eq!(two.files()?, [BTreeSet::new(), BTreeSet::new()]);
    Ok(())
}
