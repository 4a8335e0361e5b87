//! Interfaces and networks: hot and cold, locked and free, and nothing left of what did not work.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::bench::{Bench, Running};
use e2e::pool::{NETWORK, writes};
use xapi_simulator::World;
use xapi_simulator::fault::Fault;
use xenapi_driver::interface::Interface;
use xenapi_driver::network::{NetworkSpec, Vlan};
use xenapi_driver::plan::Conflict;
use xenapi_driver::reconcile::ReconcileOptions;
use xenapi_driver::spec::{Flavor, InstanceSpec, Locking, MacAddr, MacChoice, Nic};
use xenapi_driver::{Cause, PowerChange, Progress, Settings, Shutdown, SpawnOptions, Which};
use xenapi_types::{Network, Pif, VifLockingMode, VifRecord, pif, vlan as vlans, vm};
use xenapi_wire::Failure;

async fn bench() -> Result<Running> {
    bench_of(World::demo(), vec![Nic::on(NETWORK)]).await
}

async fn bench_of(world: World, nics: Vec<Nic>) -> Result<Running> {
    let own = Bench::of(world).await?;
    let node = Some(own.nodes().await?[0].uuid.parse()?);
    let spec = InstanceSpec { nics, node, ..own.spec() };
    own.start(spec).await
}

async fn attach(bench: &Running, nic: Nic) -> xenapi_driver::Result<Interface> {
    bench.pool.driver.attach_interface(bench.which.clone(), nic, Progress::none()).await
}

async fn detach(bench: &Running, name: &str) -> xenapi_driver::Result<Interface> {
    bench.pool.driver.detach_interface(bench.which.clone(), name, Progress::none()).await
}

/// What an interface of a new instance is like in XAPI, and what is none.
#[tokio::test]
async fn size_of_packets_and_rate_from_the_first_start_on() -> Result<()> {
    let limited = Nic { mtu: Some(9000), limit_kbytes: Some(2048), ..Nic::on(NETWORK) };
    let bench = bench_of(World::demo(), vec![limited.clone(), Nic::on(NETWORK)]).await?;
    let mut vifs = Vec::new();
    for vif in bench.record().await?.vifs {
        vifs.push(bench.client().record(&vif).await?);
    }
    vifs.sort_by(|a, b| a.device.cmp(&b.device));
    let [first, second] = &vifs[..] else { panic!("{vifs:?}") };
    let kbps = |vif: &VifRecord| vif.qos_algorithm_params.clone().into_iter().collect::<Vec<_>>();
    assert_eq!((first.mtu, &*first.qos_algorithm_type), (9000, "ratelimit"));
    assert_eq!(kbps(first), [("kbps".to_owned(), "2048".to_owned())]);
    assert_eq!((second.mtu, &*second.qos_algorithm_type, kbps(second)), (1500, "", vec![]));

    bench.simulator.faults().record();
    let bad = Nic { mtu: Some(67), limit_kbytes: Some(0), ..Nic::on(NETWORK) };
    let spec = InstanceSpec::new("web2", Flavor::new(1, 512, 0), &bench.image);
    let error = bench.spawn(InstanceSpec { nics: vec![bad], ..spec }).await.unwrap_err();
    let Cause::Conflicts(conflicts) = error.cause() else { panic!("{error}") };
    assert_eq!(conflicts.iter().cloned().collect::<Vec<_>>(), [Conflict::Mtu(67), Conflict::NoRate]);
    assert_eq!(writes(bench.simulator.faults().recorded()), [""; 0]);
    bench.census().await?.assert_as(&bench.before, "refused");
    Ok(())
}

#[tokio::test]
async fn hot_and_cold() -> Result<()> {
    let bench = bench().await?;
    let mut nic = Nic { mtu: Some(1400), limit_kbytes: Some(1000), ..Nic::on(NETWORK) };
    nic.mac = MacChoice::Given("02:00:00:00:11:22".parse()?);
    nic.other_config.insert("neutron-port-id".into(), "port-7".into());
    let hot = attach(&bench, nic.clone()).await?;
    assert_eq!((hot.device, hot.mtu, hot.plugged), (1, 1400, true));
    let vif = bench.pool.client().by_uuid::<xenapi_types::Vif>(&hot.uuid).await?;
    let vif = bench.pool.client().record(&vif).await?;
    assert_eq!(vif.qos_algorithm_type, "ratelimit");
    assert_eq!(vif.qos_algorithm_params.get("kbps").map(String::as_str), Some("1000"));
    let error = attach(&bench, nic).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Conflicts(_)), "{error}");

    bench.power(PowerChange::Off(Shutdown::Hard)).await?;
    let cold = attach(&bench, Nic::on(NETWORK)).await?;
    assert_eq!((cold.device, cold.plugged), (2, false));
    let devices: Vec<u32> =
        bench.pool.driver.interfaces(&bench.which).await?.into_iter().map(|i| i.device).collect();
    assert_eq!(devices, [0, 1, 2]);
    bench.power(PowerChange::On).await?;
    // The gap is filled before a higher number is taken.
    detach(&bench, "port-7").await?;
    assert_eq!(attach(&bench, Nic::on(NETWORK)).await?.device, 1);
    detach(&bench, "1").await?;
    detach(&bench, &cold.mac.to_uppercase()).await?;
    // Consoles come and go with the domain.
    let now = bench.pool.census().await?;
    for class in ["VIF", "VIF_metrics"] {
        assert_eq!(now.objects.get(class), bench.before.objects.get(class));
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_is_told_before_anything_is_done() -> Result<()> {
    let bench = bench().await?;
    let error = attach(&bench, Nic::on("no such network")).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Conflicts(_)), "{error}");
    let error = detach(&bench, "9").await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NoSuchInterface { .. }), "{error}");
    bench.power(PowerChange::Suspend).await?;
    let suspended = bench.pool.census().await?;
    let error = attach(&bench, Nic::on(NETWORK)).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::WrongState { .. }), "{error}");
    let error = detach(&bench, "0").await.unwrap_err();
    assert!(matches!(error.cause(), Cause::WrongState { .. }), "{error}");
    bench.pool.census().await?.assert_as(&suspended, "when suspended");
    Ok(())
}

#[tokio::test]
async fn seven_interfaces_and_the_sixteenth_too_many() -> Result<()> {
    let bench = bench_of(World::demo(), vec![Nic::on(NETWORK); 7]).await?;
    let listed = bench.pool.driver.interfaces(&bench.which).await?;
    assert_eq!(listed.iter().map(|i| i.device).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    for device in 7..16 {
        assert_eq!(attach(&bench, Nic::on(NETWORK)).await?.device, device);
    }
    let error = attach(&bench, Nic::on(NETWORK)).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::DeviceInUse { .. }), "{error}");
    Ok(())
}

#[tokio::test]
async fn locked_and_unlocked_and_as_before_when_it_fails() -> Result<()> {
    let bench = bench().await?;
    let lock =
        |locking| bench.pool.driver.lock_interface(bench.which.clone(), "0", locking, Progress::none());
    let locked = Locking::Locked { ipv4: vec!["192.0.2.9".into()], ipv6: vec!["2001:db8::9".into()] };
    let seen = lock(locked.clone()).await?;
    assert_eq!(seen.locking_mode, VifLockingMode::Locked);
    assert_eq!(
        (&*seen.ipv4_allowed, &*seen.ipv6_allowed),
        (&["192.0.2.9".to_owned()][..], &["2001:db8::9".to_owned()][..])
    );
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    for (method, k) in [
        ("VIF.set_locking_mode", 1),
        ("VIF.set_ipv4_allowed", 1),
        ("VIF.set_ipv6_allowed", 1),
        ("VIF.set_locking_mode", 2),
    ] {
        bench.pool.simulator.faults().on_nth(method, k, refusal.clone());
        let error = lock(Locking::Unlocked).await.unwrap_err();
        assert!(error.leftovers().is_empty(), "{error}");
        assert_eq!(bench.pool.driver.interfaces(&bench.which).await?[0], seen, "{method} {k}");
    }
    let wrong = Locking::Locked { ipv4: vec!["not an address".into()], ipv6: vec![] };
    let error = lock(wrong).await.unwrap_err();
    assert_eq!(error.failure().map(|failure| &*failure.code), Some("INVALID_IP_ADDRESS_SPECIFIED"));
    assert_eq!(bench.pool.driver.interfaces(&bench.which).await?[0], seen);
    assert_eq!(lock(Locking::Unlocked).await?.locking_mode, VifLockingMode::Unlocked);
    Ok(())
}

#[tokio::test]
async fn a_fault_at_every_call_of_an_attachment_leaves_nothing() -> Result<()> {
    let bench = bench().await?;
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    for method in ["network.get_all_records", "VM.get_allowed_VIF_devices", "VIF.create", "VIF.plug"] {
        for fault in [&refusal, &Fault::DropAfterExecution] {
            bench.pool.simulator.faults().on(method, fault.clone());
            match attach(&bench, Nic::on(NETWORK)).await {
                Ok(_) if *fault == Fault::DropAfterExecution => drop(detach(&bench, "1").await?),
                Ok(_) => panic!("{method} does not matter"),
                Err(error) => assert!(error.leftovers().is_empty(), "{error}"),
            }
            assert_eq!(bench.pool.simulator.faults().clear(), 0, "{method}");
            // Nobody knows of a task whose answer was lost.
            e2e::victim::forget_tasks(&bench.pool).await?;
            bench.pool.census().await?.assert_as(&bench.before, &format!("{method} {fault:?}"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_vlan_on_every_host() -> Result<()> {
    let bench = bench_of(World::demo().with_hosts(2), vec![]).await?;
    let driver = &bench.pool.driver;
    let vlan = |tag| NetworkSpec {
        name: "tenant".into(),
        mtu: Some(1450),
        vlan: Some(Vlan { over: NETWORK.into(), tag }),
    };
    let made = driver.ensure_network(vlan(100), Progress::none()).await?;
    assert_eq!((&*made.name, made.mtu), ("tenant", 1450));
    let state = bench.pool.census().await?;
    assert_eq!(driver.ensure_network(vlan(100), Progress::none()).await?, made);
    bench.pool.census().await?.assert_as(&state, "the same once more");
    let pifs = bench.pool.client().all_records::<Pif>().await?;
    assert_eq!(pifs.values().filter(|pif| pif.vlan == 100 && pif.device == "eth0").count(), 2);
    let error = driver.ensure_network(vlan(101), Progress::none()).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NetworkDiffers { .. }), "{error}");

    let attached = attach(&bench, Nic::on("tenant")).await?;
    assert_eq!((attached.mtu, &attached.network_uuid), (1450, &made.uuid));
    let refused = async |when: &str| {
        let used = bench.pool.census().await?;
        let error = driver.remove_network("tenant", Progress::none()).await.unwrap_err();
        assert!(matches!(error.cause(), Cause::NetworkInUse { .. }), "{error}");
        bench.pool.census().await?.assert_as(&used, when);
        let options = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
        let found = driver.reconcile(options).await?;
        assert!(found.done.is_empty() && found.unclear.is_empty(), "{when}: {found:?}");
        anyhow::Ok(())
    };
    refused("while the guest runs").await?;
    detach(&bench, "0").await?;
    driver.remove_network("tenant", Progress::none()).await?;
    driver.remove_network("tenant", Progress::none()).await?;
    bench.pool.census().await?.assert_as(&bench.before, "in the end");

    // With the network XAPI would remove the interface of a guest that is off.
    bench.power(PowerChange::Off(Shutdown::Hard)).await?;
    let before = bench.pool.census().await?;
    let made = driver.ensure_network(vlan(100), Progress::none()).await?;
    attach(&bench, Nic::on("tenant")).await?;
    refused("while the guest is off").await?;
    // One host has lost its VLAN, as a removal that broke off leaves it.
    let network = bench.pool.client().by_uuid::<Network>(&made.uuid).await?;
    let first = bench.pool.client().record(&network).await?.pifs[1].clone();
    let vlan_of = bench.pool.client().get_field(&first, pif::field::VLAN_MASTER_OF).await?;
    bench.pool.client().call(vlans::Destroy { vlan: vlan_of }).await?;
    assert_eq!(driver.ensure_network(vlan(100), Progress::none()).await?, made);
    assert_eq!(bench.pool.client().record(&network).await?.pifs.len(), 2, "it is on every host again");
    detach(&bench, "0").await?;
    driver.remove_network("tenant", Progress::none()).await?;
    bench.pool.census().await?.assert_as(&before, "in the end of that");

    let error = driver.remove_network(NETWORK, Progress::none()).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NetworkDiffers { .. }), "{error}");
    let found = bench.pool.client().all_by_name_label::<Network>(NETWORK).await?;
    found.first().context("somebody else's network stays")?;
    Ok(())
}

/// Each with programs of its own, which know nothing of each other.
#[tokio::test]
async fn one_network_for_all_who_ask_at_once() -> Result<()> {
    let bench = bench().await?;
    for round in 0..5 {
        let name = format!("shared-{round}");
        let drivers = (0..4).map(|_| bench.pool.driver_with(Settings::default()));
        let drivers: Vec<_> = drivers.collect::<Result<_>>()?;
        let asked = drivers.iter().map(|driver| {
            let spec = NetworkSpec { name: name.clone(), mtu: None, vlan: None };
            driver.ensure_network(spec, Progress::none())
        });
        let mut answers = Vec::new();
        for operation in asked.collect::<Vec<_>>() {
            answers.push(operation.await?);
        }
        let there = bench.pool.client().all_by_name_label::<Network>(&name).await?;
        assert_eq!(there.len(), 1, "{name}");
        for answer in answers {
            assert_eq!(answer.reference, there[0], "{name}");
        }
        bench.pool.driver.remove_network(&*name, Progress::none()).await?;
    }
    bench.pool.census().await?.assert_as(&bench.before, "in the end");
    Ok(())
}

/// Its VLAN takes its time: who comes meanwhile waits for it, whatever becomes of it.
#[tokio::test]
async fn a_network_that_another_program_is_busy_with() -> Result<()> {
    let bench = bench().await?;
    let other = bench.pool.driver_with(Settings::default())?;
    let spec =
        NetworkSpec { name: "tenant".into(), mtu: None, vlan: Some(Vlan { over: NETWORK.into(), tag: 100 }) };
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    for fault in [None, Some(refusal)] {
        let faults = bench.pool.simulator.faults();
        faults.on_nth("pool.create_VLAN_from_PIF", 1, Fault::Slow(Duration::from_secs(1)));
        if let Some(fault) = fault.clone() {
            faults.on_nth("network.add_to_other_config", 1, fault);
        }
        let first = bench.pool.driver.ensure_network(spec.clone(), Progress::none());
        let second = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            other.ensure_network(spec.clone(), Progress::none()).await
        };
        let (first, second) = tokio::join!(first, second);
        let second = second?;
        match fault {
            None => assert_eq!(first?.reference, second.reference),
            Some(_) => assert!(first.unwrap_err().leftovers().is_empty()),
        }
        let there = bench.client().all_by_name_label::<Network>("tenant").await?;
        assert_eq!(there, [second.reference]);
        bench.pool.driver.remove_network("tenant", Progress::none()).await?;
    }
    bench.pool.census().await?.assert_as(&bench.before, "in the end");
    Ok(())
}

/// Each was free when it was looked at, before the images came; and what a snapshot remembers is free.
#[tokio::test]
async fn one_address_for_one_guest() -> Result<()> {
    let own = Bench::of(World::demo()).await?;
    let mac: MacAddr = "02:00:00:00:00:77".parse()?;
    let before = own.pool.census().await?;
    let spec = |name: &str| InstanceSpec {
        nics: vec![Nic { mac: MacChoice::Given(mac), ..Nic::on(NETWORK) }],
        ..InstanceSpec::new(name, Flavor::new(1, 256, 0), &own.image)
    };
    own.pool.simulator.faults().on_every("VIF.create", Fault::Slow(Duration::from_secs(1)));
    let spawns = ["a", "b"].map(|name| own.pool.driver.spawn(spec(name), SpawnOptions::default()));
    let mut made = Vec::new();
    for spawn in spawns {
        match spawn.await {
            Ok(instance) => made.push(instance),
            Err(error) => {
                let Cause::Conflicts(conflicts) = error.cause() else { panic!("{error}") };
                assert!(conflicts.iter().all(|it| matches!(it, Conflict::MacInUse { .. })), "{error}");
                assert!(error.leftovers().is_empty(), "{error}");
            }
        }
    }
    assert!(made.len() < 2, "{made:?}");
    own.pool.simulator.faults().clear();
    for instance in made {
        own.pool.driver.destroy(Which::Instance(instance.uuid), Progress::none()).await?;
    }
    own.pool.census().await?.assert_as(&before, "afterwards");

    let third = spec("c");
    let running = own.start(third).await?;
    let call = vm::Snapshot { vm: running.vm.clone(), new_name: "before".into(), ignore_vdis: None };
    running.client().call(call).await?;
    detach(&running, &mac.to_string()).await?;
    let again = Nic { mac: MacChoice::Given(mac), ..Nic::on(NETWORK) };
    assert_eq!(attach(&running, again).await?.mac, mac.to_string());
    Ok(())
}

#[tokio::test]
async fn a_network_that_fails_leaves_nothing() -> Result<()> {
    let bench = bench().await?;
    let spec =
        NetworkSpec { name: "tenant".into(), mtu: None, vlan: Some(Vlan { over: NETWORK.into(), tag: 100 }) };
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    for method in
        ["network.create", "network.add_to_other_config", "pool.create_VLAN_from_PIF", "network.get_record"]
    {
        for fault in [&refusal, &Fault::DropAfterExecution] {
            bench.pool.simulator.faults().on(method, fault.clone());
            let result = bench.pool.driver.ensure_network(spec.clone(), Progress::none()).await;
            assert_eq!(bench.pool.simulator.faults().clear(), 0, "{method}");
            match result {
                Ok(_) if *fault == Fault::DropAfterExecution => {
                    bench.pool.driver.remove_network("tenant", Progress::none()).await?;
                }
                Ok(_) => panic!("{method} does not matter"),
                Err(error) => assert!(error.leftovers().is_empty(), "{method} {fault:?}: {error}"),
            }
            bench.pool.census().await?.assert_as(&bench.before, &format!("{method} {fault:?}"));
        }
    }
    let bad = NetworkSpec { vlan: Some(Vlan { over: NETWORK.into(), tag: 4095 }), ..spec };
    let error = bench.pool.driver.ensure_network(bad, Progress::none()).await.unwrap_err();
    assert!(error.to_string().contains("a tag from 0 to 4094"), "{error}");
    bench.pool.census().await?.assert_as(&bench.before, "after a bad tag");
    Ok(())
}
