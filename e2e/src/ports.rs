//! A control domain whose bridges are files: what `ip`, `brctl` and `ovs-vsctl` are told is kept beside its xenstore.

use std::collections::BTreeSet;

use anyhow::Result;
use xenapi_driver::Progress;
use xenapi_driver::bridges::interim_network;
use xenapi_driver::network::NetworkSpec;
use xenapi_driver::spec::Nic;

use crate::dom0::Dom0;
use crate::pool::Pool;

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
  addif) [ -e "$STORE/dev-$2" ] && [ -e "$STORE/dev-$3" ] || exit 1
    for bridge in "$STORE"/in-*-"$3"; do
      [ ! -e "$bridge" ] || { echo "device $3 is already a member of a bridge; can't enslave it to bridge $2." >&2; exit 1; }
    done
    : > "$STORE/in-$2-$3";;
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

/// The port of an instance.
pub const PORT: &str = "3f2504e0-4f89-11d3-9a0c-0305e82c3301";

/// What there is of ports in a control domain.
///
/// # Errors
///
/// When it cannot be looked at.
pub fn files(dom0: &Dom0) -> Result<BTreeSet<String>> {
    let entries = std::fs::read_dir(dom0.store())?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    Ok(names.collect::<Result<BTreeSet<_>>>()?.into_iter().filter(|name| !name.contains('%')).collect())
}

/// Gives a control domain its tools.
///
/// # Errors
///
/// When they cannot be written.
pub fn tools(dom0: &Dom0) -> Result<()> {
    for (name, body) in [("ip", IP), ("brctl", BRCTL), ("ovs-vsctl", OVS)] {
        dom0.tool(name, body)?;
    }
    Ok(())
}

/// An interface on the network of a port, which is made for it.
///
/// # Errors
///
/// When it cannot be made.
pub async fn nic(pool: &Pool, port: &str) -> Result<Nic> {
    let name = interim_network(port.parse()?);
    let network = NetworkSpec { name: name.clone(), mtu: None, vlan: None };
    pool.driver.ensure_network(network, Progress::none()).await?;
    let mut nic = Nic::on(name);
    nic.other_config.insert("neutron-port-id".into(), port.into());
    Ok(nic)
}

/// What there is of a port in a control domain.
pub fn chain(port: &str, interim: &str) -> BTreeSet<String> {
    let p = &port[..11];
    [
        format!("dev-qbr{p}"),
        format!("dev-qvb{p}"),
        format!("dev-qvo{p}"),
        format!("dev-tap{p}"),
        format!("dev-vif{p}"),
        format!("in-qbr{p}-qvb{p}"),
        format!("in-qbr{p}-tap{p}"),
        format!("ovs-xapi1-qvo{p}"),
        format!("ovs-{interim}-vif{p}"),
    ]
    .into()
}
