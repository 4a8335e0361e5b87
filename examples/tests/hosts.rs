//! The maintenance of a host, as an operator does it, and volumes that change their place.

mod simulated;

use anyhow::{Context, Result};
use serde_json::Value;
use simulated::Simulated;
use xapi_simulator::World;
use xapi_simulator::fault::Fault;
use xenapi_types::Host;
use xenapi_wire::Failure;

fn text<'a>(row: &'a Value, key: &str) -> Result<&'a str> {
    row[key].as_str().with_context(|| format!("{key} in {row}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn drained_rebooted_and_back() -> Result<()> {
    let pool = Simulated::new(World::demo().with_hosts(2)).await?;
    let listed = pool.run("pool", "list")?;
    let (first, second) = (text(&listed[0], "name")?, text(&listed[1], "name")?);
    let uuid = text(&listed[1], "host")?;
    let storage = pool.run("pool", &format!("storage {second}"))?;
    let local = storage.iter().find(|sr| sr["type"] == "ext").context("a repository of its own")?;
    assert!(local["used_bytes"].is_number(), "{local}");
    let sr = text(local, "sr")?;
    pool.run("spawn", &format!("--name web1 --image disk.raw --no-verify --node {uuid} --sr {sr}"))?;
    let shown = pool.run("pool", &format!("show {second}"))?;
    assert_eq!((&shown[0]["guests"], &shown[0]["enabled"]), (&1.into(), &true.into()));
    let error = pool.fails("pool", &format!("reboot {second}"))?;
    assert!(error.contains("disable it"), "{error}");
    let enabled = async || -> Result<bool> {
        let host = pool.client.by_uuid::<Host>(uuid).await?;
        Ok(pool.client.record(&host).await?.enabled)
    };
    pool.run("pool", &format!("disable {second}"))?;
    assert!(!enabled().await?);
    let error = pool.fails("pool", &format!("shutdown {second}"))?;
    assert!(error.contains("drain it"), "{error}");
    pool.run("pool", &format!("enable {second}"))?;
    assert!(enabled().await?);
    assert!(pool.would("pool", &format!("drain {second}"))?.contains("move VM"));
    assert!(enabled().await?, "a dry run changes nothing");
    pool.run("pool", &format!("drain {second}"))?;
    assert!(!enabled().await?);
    let instance = pool.run("instances", "list")?;
    assert_eq!(text(&instance[0], "node")?, text(&listed[0], "host")?, "it runs on the other host");
    assert!(pool.would("pool", &format!("reboot {second}"))?.contains("reboot"));
    pool.run("pool", &format!("reboot {second}"))?;

    // Guests of a host come up with it.
    pool.run("instances", "power web1 off --hard")?;
    let resume = format!("resume {first} --instance {}", text(&instance[0], "instance")?);
    assert!(pool.would("pool", &resume)?.contains("run"));
    pool.run("pool", &resume)?;
    assert_eq!(pool.run("instances", "list")?[0]["state"], "Running");
    let error = pool.fails("pool", "show nowhere")?;
    assert!(error.contains(&format!("there are {first}, {second}")), "{error}");
    Ok(())
}

/// What cannot be moved is a failure, told with its reason: nobody is to reboot the host then. So is what does not come up.
#[tokio::test(flavor = "multi_thread")]
async fn what_stays_on_a_host_is_told() -> Result<()> {
    let pool = Simulated::new(World::demo()).await?;
    pool.run("spawn", "--name web1 --image disk.raw --no-verify")?;
    let host = text(&pool.run("pool", "list")?[0], "name")?.to_owned();
    let drained = pool.fails_after("pool", &format!("drain {host}"))?;
    let stuck = &drained["stuck"][0];
    assert_eq!(stuck["vm"], *pool.vm("web1").await?.1.uuid, "{drained}");
    assert!(!text(stuck, "why")?.is_empty());
    assert_eq!((&drained["enabled"], &drained["moved"]), (&false.into(), &Value::Array(vec![])), "{drained}");
    let instance = pool.run("instances", "list")?;
    assert_eq!(instance[0]["state"], "Running");

    pool.run("instances", "power web1 off --hard")?;
    let refusal = Failure::new("INTERNAL_ERROR", ["out of order"]);
    for call in ["VM.start", "VM.start_on"] {
        pool.simulator.faults().on_every(call, Fault::Failure(refusal.clone()));
    }
    let resume = format!("resume {host} --instance {}", text(&instance[0], "instance")?);
    let resumed = pool.fails_after("pool", &resume)?;
    assert_eq!(resumed["down"][0]["vm"], stuck["vm"], "{resumed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_in_the_place_of_another() -> Result<()> {
    let pool = Simulated::new(World::demo()).await?;
    let ((sr, old), (_, new)) = (pool.disk("old", 8 << 20).await?, pool.disk("new", 16 << 20).await?);
    pool.run(
        "spawn",
        &format!("--name web1 --image disk.raw --no-verify --volume sr={sr},vdi={old},id=data"),
    )?;
    let swap = format!("swap web1 data --sr {sr} --vdi {new} --id other");
    assert!(!pool.would("volumes", &swap)?.is_empty());
    assert_eq!(pool.run("volumes", "list web1")?[0]["vdi"], *old);
    let swapped = pool.run("volumes", &swap)?;
    assert_eq!((&swapped[0]["volume"], &swapped[0]["vdi"]), (&"other".into(), &(*new).into()));
    assert_eq!(pool.run("volumes", "list web1")?, swapped);
    let error = pool.fails("volumes", &format!("swap web1 other --sr {sr} --vdi {old}"))?;
    assert!(error.contains("cannot shrink to 8 MiB"), "{error}");

    let host = text(&pool.run("pool", "list")?[0], "name")?.to_owned();
    let connector = pool.run("volumes", &format!("connector {host}"))?;
    assert!(!text(&connector[0], "ip")?.is_empty());
    let error = pool.fails("volumes", "connector nowhere")?;
    assert!(error.contains("no host is called"), "{error}");
    Ok(())
}
