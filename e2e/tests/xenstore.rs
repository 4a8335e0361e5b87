//! What a guest finds in xenstore, for its next boot and while it runs, written by the real plugin.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use e2e::dom0::Dom0;
use e2e::pool::{NETWORK, Pool};
use serde_json::{Value, json};
use tempfile::TempDir;
use xapi_simulator::fault::Fault;
use xenapi_driver::rescue::RescueOptions;
use xenapi_driver::spec::{Address, ConfigDrive, Flavor, InstanceSpec, MacChoice, Nic, OsType, Power};
use xenapi_driver::{Cause, LiveUpdate, PowerChange, Progress, Shutdown, Which};
use xenapi_types::{Ref, Vm, VmRecord, vm};
use xenapi_wire::Failure;

const MAC: &str = "fa:16:3e:00:00:01";
const NETWORKING: &str = "vm-data/networking/fa163e000001";

struct Bench {
    pool: Pool,
    dom0: Dom0,
    files: TempDir,
    which: Which,
    vm: Ref<Vm>,
}

impl Bench {
    async fn new(change: impl FnOnce(&mut InstanceSpec)) -> Result<Self> {
        Self::with(&["xenstore.py"], change).await
    }

    async fn with(plugins: &[&str], change: impl FnOnce(&mut InstanceSpec)) -> Result<Self> {
        let dom0 = Dom0::new(env!("CARGO_BIN_EXE_dom0-plugins"), plugins)?;
        let pool = Pool::with_plugins(&dom0.plugins()).await?;
        let files = tempfile::tempdir()?;
        let image = files.path().join("image");
        std::fs::File::create(&image)?.set_len(4 << 20)?;
        let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, 0), image);
        spec.nics = vec![Nic { mac: MacChoice::Given(MAC.parse()?), ..Nic::on(NETWORK) }];
        change(&mut spec);
        let instance = pool.spawn(spec).await?;
        let vm = pool.client().by_uuid::<Vm>(&instance.vm_uuid).await?;
        Ok(Self { pool, dom0, files, which: Which::Instance(instance.uuid), vm })
    }

    async fn record(&self) -> Result<VmRecord> {
        Ok(self.pool.client().record(&self.vm).await?)
    }

    async fn change(&self, changes: &[(&str, Option<&str>)]) -> xenapi_driver::Result<LiveUpdate> {
        let own = |text: &str| text.to_owned();
        let changes = changes.iter().map(|(key, value)| (own(key), value.map(own))).collect();
        self.pool.driver.change_metadata(self.which.clone(), changes, Progress::none()).await
    }
}

#[tokio::test]
async fn what_a_new_guest_finds() -> Result<()> {
    let bench = Bench::new(|spec| {
        spec.power = Power::Off;
        spec.os_type = Some(OsType::Windows);
        spec.metadata = BTreeMap::from([("role.name".to_owned(), "front".to_owned())]);
        spec.config_drive =
            Some(ConfigDrive { hostname: Some("a-rather-long-name".to_owned()), ..ConfigDrive::default() });
        let gateway = "10.0.0.1".parse().ok();
        spec.nics[0].addresses = vec![Address { gateway, ..Address::new("10.0.0.5".parse().unwrap(), 24) }];
    })
    .await?;
    let mut data = bench.record().await?.xenstore_data;
    let networking: Value = serde_json::from_str(&data.remove(NETWORKING).context("the interface")?)?;
    assert_eq!(
        networking,
        json!({
            "label": NETWORK, "mac": MAC, "gateway": "10.0.0.1", "broadcast": "10.0.0.255",
            "ips": [{"ip": "10.0.0.5", "enabled": "1", "netmask": "255.255.255.0", "gateway": "10.0.0.1"}],
        })
    );
    let data: Vec<(&str, &str)> = data.iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(
        data,
        [
            ("vm-data/allowvssprovider", "false"),
            ("vm-data/auto-disk-config", "False"),
            ("vm-data/hostname", "a-rather-long-n"),
            ("vm-data/user-metadata/role_name", "\"front\""),
        ]
    );
    Ok(())
}

/// The host name is for the first boot only.
#[tokio::test]
async fn the_host_name_is_gone_after_the_boot() -> Result<()> {
    let bench = Bench::new(|_| {}).await?;
    let data = bench.record().await?.xenstore_data;
    assert!(!data.contains_key("vm-data/hostname"), "{data:?}");
    assert_eq!(data["vm-data/auto-disk-config"], "False");
    // And for the boot of a rescue, under another name.
    let image = bench.files.path().join("image");
    bench.pool.driver.rescue(bench.which.clone(), RescueOptions::with(image)).await?;
    assert_eq!(bench.record().await?.xenstore_data["vm-data/hostname"], "RESCUE-web1");
    bench.pool.driver.unrescue(bench.which.clone(), Progress::none()).await?;
    assert_eq!(bench.record().await?.xenstore_data, data);
    Ok(())
}

#[tokio::test]
async fn metadata_changes_while_the_guest_runs() -> Result<()> {
    let bench = Bench::new(|_| {}).await?;
    let before = bench.record().await?;
    let seen = || bench.dom0.below(before.domid, "vm-data/user-metadata");
    assert_eq!(bench.change(&[("a.b", Some("it's \"x\"")), ("empty", Some(""))]).await?, LiveUpdate::Written);
    let expected = [("a_b", r#""it's \"x\"""#), ("empty", "\"\"")];
    let expected = BTreeMap::from(expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(seen(), expected);
    let data = bench.record().await?.xenstore_data;
    assert_eq!(data["vm-data/user-metadata/a_b"], r#""it's \"x\"""#);
    // Changed, removed, and removed again.
    for _ in 0..2 {
        let changes = [("a.b", Some("y")), ("empty", None), ("never", None)];
        assert_eq!(bench.change(&changes).await?, LiveUpdate::Written);
        assert_eq!(seen(), BTreeMap::from([("a_b".to_owned(), "\"y\"".to_owned())]));
    }
    assert_eq!(bench.change(&[("a_b", None)]).await?, LiveUpdate::Written);
    assert_eq!(bench.record().await?.xenstore_data, before.xenstore_data);
    Ok(())
}

#[tokio::test]
async fn metadata_that_cannot_be_changed() -> Result<()> {
    let bench = Bench::new(|_| {}).await?;
    let before = bench.record().await?.xenstore_data;
    let error = bench.change(&[("a.b", Some("1")), ("a/b", Some("2"))]).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Conflicts(_)), "{error}");
    assert_eq!(bench.record().await?.xenstore_data, before);

    // What the host fails to tell the guest is said, and can be done again.
    let full = Failure::new("XENAPI_PLUGIN_FAILURE", ["write_record", "PluginError", "no space"]);
    bench.pool.simulator.faults().on("host.call_plugin", Fault::Failure(full));
    let error = bench.change(&[("a", Some("1"))]).await.unwrap_err();
    assert!(error.to_string().contains("vm-data/user-metadata/a"), "{error}");
    assert_eq!(bench.change(&[("a", Some("1"))]).await?, LiveUpdate::Written);

    bench.pool.driver.power(bench.which.clone(), PowerChange::Off(Shutdown::Hard), Progress::none()).await?;
    assert_eq!(bench.change(&[("a", Some("2"))]).await?, LiveUpdate::NotRunning);
    assert_eq!(bench.record().await?.xenstore_data["vm-data/user-metadata/a"], "\"2\"");
    Ok(())
}

#[tokio::test]
async fn without_the_plugin_the_next_boot_has_it() -> Result<()> {
    let bench = Bench::with(&[], |_| {}).await?;
    assert_eq!(bench.change(&[("a", Some("1"))]).await?, LiveUpdate::NoPlugin);
    assert_eq!(bench.record().await?.xenstore_data["vm-data/user-metadata/a"], "\"1\"");
    Ok(())
}

#[tokio::test]
async fn interfaces_are_told_as_they_are_now() -> Result<()> {
    let bench = Bench::new(|_| {}).await?;
    let (driver, client, record) = (&bench.pool.driver, bench.pool.client(), bench.record().await?);
    // One that is there no more.
    let gone = "vm-data/networking/fa163e0000ff";
    client.add_to(&bench.vm, vm::field::XENSTORE_DATA, gone, "{}").await?;
    bench.dom0.write(record.domid, gone, "{}")?;
    let tell = |mac: &str, ip: &str| {
        let addresses = BTreeMap::from([(mac.parse().unwrap(), vec![Address::new(ip.parse().unwrap(), 24)])]);
        driver.tell_network(bench.which.clone(), addresses, Progress::none())
    };
    assert_eq!(tell(MAC, "10.0.0.6").await?, LiveUpdate::Written);
    let live = bench.dom0.below(record.domid, "vm-data/networking");
    let data = bench.record().await?.xenstore_data;
    assert_eq!(live.keys().collect::<Vec<_>>(), ["fa163e000001"]);
    assert!(live["fa163e000001"].contains("10.0.0.6"), "{live:?}");
    assert_eq!(data[NETWORKING], live["fa163e000001"]);
    assert!(!data.contains_key(gone));
    let error = tell("fa:16:3e:00:00:77", "10.0.0.7").await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NoSuchInterface { .. }), "{error}");
    assert_eq!(bench.record().await?.xenstore_data, data);
    Ok(())
}
