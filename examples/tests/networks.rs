//! Networks, interfaces and ports, as an operator has them, and what XAPI's records say then.

mod simulated;

use anyhow::{Context, Result};
use simulated::{Simulated, plugins};
use xapi_simulator::World;
use xapi_simulator::core::Config as Behaviour;
use xenapi_types::{Network, VifLockingMode, Vlan};

#[tokio::test(flavor = "multi_thread")]
async fn a_network_on_a_vlan_comes_and_goes() -> Result<()> {
    let pool = Simulated::new(World::demo()).await?;
    let make = "make tenant --vlan 7 --over xenbr0 --mtu 1400";
    assert!(pool.would("networks", make)?.contains("VLAN 7"));
    assert!(pool.client.all_records::<Vlan>().await?.is_empty());
    let made = pool.run("networks", make)?;
    assert_eq!(made[0]["mtu"], 1400);
    let vlans = pool.client.all_records::<Vlan>().await?;
    assert_eq!(vlans.values().map(|vlan| vlan.tag).collect::<Vec<_>>(), [7]);
    assert_eq!(pool.run("networks", make)?, made, "it is there");
    assert!(pool.run("networks", "list")?.contains(&made[0]));
    let error = pool.fails("networks", "make tenant")?;
    assert!(error.contains("tenant"), "{error}");
    assert!(!pool.would("networks", "remove tenant")?.is_empty());
    pool.run("networks", "remove tenant")?;
    let networks = pool.client.all_records::<Network>().await?;
    assert!(networks.values().all(|network| network.name_label != "tenant"));
    assert!(pool.client.all_records::<Vlan>().await?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interface_comes_is_locked_and_goes() -> Result<()> {
    let pool = Simulated::new(World::demo()).await?;
    pool.run("spawn", "--name web1 --image disk.raw")?;
    let nic = "xenbr0,mac=52:54:00:12:34:56,mtu=1400,qos-kbps=512";
    assert!(pool.would("networks", &format!("attach web1 {nic}"))?.contains("52:54:00:12:34:56"));
    pool.run("networks", &format!("attach web1 {nic}"))?;
    let vif = async || -> Result<_> {
        let vif = pool.vm("web1").await?.1.vifs.pop().context("an interface")?;
        Ok(pool.client.record(&vif).await?)
    };
    let record = vif().await?;
    assert_eq!(
        (record.mtu, &*record.qos_algorithm_params["kbps"], record.currently_attached),
        (1400, "512", true)
    );

    pool.run("networks", "lock web1 0 --allowed 192.0.2.5 --allowed 2001:db8::5")?;
    let record = vif().await?;
    assert_eq!(
        (record.locking_mode, &record.ipv4_allowed[..]),
        (VifLockingMode::Locked, &["192.0.2.5".to_owned()][..])
    );
    assert_eq!(record.ipv6_allowed, ["2001:db8::5"]);
    let shown = pool.run("networks", "interfaces web1")?;
    assert_eq!((&shown[0]["locking"], &shown[0]["allowed"][0]), (&"locked".into(), &"192.0.2.5".into()));
    assert!(!pool.would("networks", "lock web1 0 --locking disabled")?.is_empty());
    pool.run("networks", "lock web1 0 --locking disabled")?;
    assert_eq!(vif().await?.locking_mode, VifLockingMode::Disabled);
    let error = pool.fails("networks", "lock web1 0 --locking unlocked --allowed 192.0.2.5")?;
    assert!(error.contains("locked"), "{error}");

    let tell =
        "tell web1 --interface 52:54:00:12:34:56,address=192.0.2.5/24,gateway=192.0.2.1,dns=192.0.2.53";
    assert!(pool.would("networks", tell)?.contains("vm-data/networking"));
    pool.run("networks", tell)?;
    let told: String = pool.vm("web1").await?.1.xenstore_data.into_values().collect();
    assert!(told.contains("192.0.2.53"), "{told}");
    let error = pool.fails("networks", &tell.replace("56,", "57,"))?;
    assert!(error.contains("52:54:00:12:34:57"), "{error}");

    pool.run("networks", "detach web1 52:54:00:12:34:56")?;
    assert!(pool.vm("web1").await?.1.vifs.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_plugged_by_the_plugin() -> Result<()> {
    let folder = tempfile::tempdir()?;
    plugins::write(folder.path())?;
    let behaviour = Behaviour { plugins: Some(folder.path().to_owned()), ..Behaviour::default() };
    let pool = Simulated::behaving(World::demo(), behaviour).await?;
    let port = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
    let asked = || std::fs::read_to_string(folder.path().join("asked")).unwrap_or_default();
    pool.run("spawn", &format!("--name web1 --image disk.raw --network xenbr0,port={port}"))?;
    let error = pool.fails("networks", &format!("plug web1 {port}"))?;
    assert!(error.contains("--bridge") && error.contains("ovs_integration_bridge"), "{error}");
    assert!(pool.would("networks", &format!("plug web1 {port} --bridge br-int"))?.contains("br-int"));
    let node = pool.run("instances", "list")?[0]["node"].as_str().context("a node")?.to_owned();
    assert_eq!(asked(), "");
    pool.run("networks", &format!("plug web1 {port} --bridge br-int"))?;
    let names = ["qbr7c9e6679-74", "tap7c9e6679-74"];
    assert!(names.iter().all(|name| asked().contains(name)), "{}", asked());
    std::fs::remove_file(folder.path().join("asked"))?;
    pool.run("networks", &format!("unplug {node} {port} --set ovs_integration_bridge=br-int"))?;
    assert!(asked().contains("qbr7c9e6679-74"), "{}", asked());
    Ok(())
}
