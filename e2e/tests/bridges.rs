//! Nova's chain of bridges, made by the real plugin with tools that keep what they are told in files.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use e2e::dom0::Dom0;
use e2e::pool::{NETWORK, Pool};
use uuid::Uuid;
use xenapi_driver::bridges::{Port, interim_network};
use xenapi_driver::network::NetworkSpec;
use xenapi_driver::spec::{Flavor, InstanceSpec, Nic};
use xenapi_driver::{Cause, PowerChange, Progress, Shutdown, SpawnOptions, Which};
use xenapi_types::Host;

/// A device is a file `dev-…`; what is in a bridge, `in-BRIDGE-DEVICE`; a port, `ovs-BRIDGE-PORT`. The two ends of a link
/// go together.
const IP: &str = r#"
case "$2 $3" in
  "show "*) [ -e "$STORE/dev-$3" ];;
  "add "*) [ ! -e "$STORE/dev-$3" ] && echo "$8" > "$STORE/dev-$3" && echo "$3" > "$STORE/dev-$8";;
  "delete "*) peer=$(cat "$STORE/dev-$3") && rm -f "$STORE/dev-$3" "$STORE/dev-$peer" "$STORE"/in-*-"$3" "$STORE"/in-*-"$peer";;
  "set "*) [ -e "$STORE/dev-$3" ];;
esac"#;
const BRCTL: &str = r#"
case "$1" in
  addbr) [ ! -e "$STORE/dev-$2" ] && : > "$STORE/dev-$2";;
  delbr) rm "$STORE/dev-$2" && ! ls "$STORE"/in-"$2"-* 2>/dev/null;;
  addif) [ -e "$STORE/dev-$2" ] && [ -e "$STORE/dev-$3" ] && : > "$STORE/in-$2-$3";;
  setfd|stp) [ -e "$STORE/dev-$2" ];;
  *) exit 1;;
esac"#;
const OVS: &str = r#"
while [ $# -gt 0 ]; do
  case "$1" in
    del-port) if [ "$3" = -- ] || [ $# -eq 2 ]; then rm -f "$STORE"/ovs-*-"$2"; else rm -f "$STORE/ovs-$2-$3"; fi; shift;;
    add-port) [ -e "$STORE/dev-$3" ] || exit 1; [ ! -e "$STORE/refuses" ] || exit 1; : > "$STORE/ovs-$2-$3"; shift 2;;
  esac
  shift
done"#;

const PORT: &str = "3f2504e0-4f89-11d3-9a0c-0305e82c3301";

fn files(dom0: &Dom0) -> Result<BTreeSet<String>> {
    let entries = std::fs::read_dir(dom0.store())?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    Ok(names.collect::<Result<BTreeSet<_>>>()?.into_iter().filter(|name| !name.contains('%')).collect())
}

fn tools(dom0: &Dom0) -> Result<()> {
    for (name, body) in [("ip", IP), ("brctl", BRCTL), ("ovs-vsctl", OVS)] {
        dom0.tool(name, body)?;
    }
    Ok(())
}

async fn spawn(pool: &Pool, folder: &Path) -> Result<Which> {
    let image = folder.join("image");
    std::fs::File::create(&image)?.set_len(4 << 20)?;
    let name = interim_network(PORT.parse()?);
    let network = NetworkSpec { name: name.clone(), mtu: None, vlan: None };
    pool.driver.ensure_network(network, Progress::none()).await?;
    let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, 0), image);
    let mut nic = Nic::on(name);
    nic.other_config.insert("neutron-port-id".into(), PORT.into());
    spec.nics = vec![nic];
    Ok(Which::Instance(pool.driver.spawn(spec, SpawnOptions::default()).await?.uuid))
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
    let p = "3f2504e0-4f";
    let wanted = BTreeSet::from([
        format!("dev-qbr{p}"),
        format!("dev-qvb{p}"),
        format!("dev-qvo{p}"),
        format!("dev-tap{p}"),
        format!("dev-vif{p}"),
        format!("in-qbr{p}-qvb{p}"),
        format!("in-qbr{p}-tap{p}"),
        format!("ovs-xapi1-qvo{p}"),
        format!("ovs-{}-vif{p}", interim.bridge),
    ]);
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
