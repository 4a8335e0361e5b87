//! What a guest finds in xenstore below `vm-data/`. XAPI keeps it in the VM's `xenstore_data` and writes it at every
//! boot; to a guest that runs, the plugin `xenstore` in dom0 writes it too.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use config_drive::{MacAddr, netmask};
use serde_json::{Map, Value, json};
use xenapi_client::Client;
use xenapi_types::{Network, Ref, Vm, VmRecord, network, vm};

use crate::cancel::Stop;
use crate::drive::{Interface, vifs};
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::find::{self, Which};
use crate::job::Job;
use crate::operation::Operation;
use crate::plan::{Conflict, Conflicts};
use crate::progress::{Progress, Stage};
use crate::spec::{Address, OsType};

/// The name that Nova's clients use, which the installer makes.
const PLUGIN: &str = "xenstore.py";
pub(crate) const HOSTNAME: &str = "vm-data/hostname";
const NETWORKING: &str = "vm-data/networking/";
const METADATA: &str = "vm-data/user-metadata/";
/// What Windows takes of a host name.
const WINDOWS_NAME_LEN: usize = 15;

/// What became of a change for the guest that runs. For the next boot it is noted in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LiveUpdate {
    /// The guest finds it now.
    Written,
    /// There is no guest that runs.
    NotRunning,
    /// The host has no plugin `xenstore`: the guest finds it after its next boot.
    NoPlugin,
}

impl Driver {
    /// Changes an instance's metadata where its guest finds it (`vm-data/user-metadata/…`): a value to set, or `None`
    /// to remove the key. What is not named stays. The config drive goes on saying what it said when it was made.
    ///
    /// It can be repeated.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`], [`Cause::NotOurs`]; [`Cause::Conflicts`] for two keys that would be written as one;
    /// [`Cause::Host`], after which the next boot has the changes and the running guest may have some of them.
    pub fn change_metadata(
        &self,
        which: Which,
        changes: BTreeMap<String, Option<String>>,
        progress: Progress,
    ) -> Operation<LiveUpdate> {
        self.verb(Op::Metadata, format!("instance {which}"), progress, move |job, stop| {
            Box::pin(async move {
                let finding = async {
                    let written = metadata(&changes).map_err(Conflicts::from)?;
                    Ok((find::ours(job, &which).await?, written))
                };
                let ((vm, record), changes) = job.stage(Stage::Find, finding).await?;
                job.would(|| steps(&record, &changes))?;
                let changing = change(job, &vm, &record, &changes, stop);
                job.stage(Stage::Vm, changing).await
            })
        })
    }

    /// Tells a guest of its interfaces (`vm-data/networking/…`): of all that it has now, with these addresses by MAC
    /// address; the others have DHCP. Interfaces that it does not have any more are forgotten. An agent in the guest
    /// configures them when it is [asked](crate::Agent::reset_network) to.
    ///
    /// # Errors
    ///
    /// As [`Driver::change_metadata`]; [`Cause::NoSuchInterface`] for an address of none of them.
    pub fn tell_network(
        &self,
        which: Which,
        addresses: BTreeMap<MacAddr, Vec<Address>>,
        progress: Progress,
    ) -> Operation<LiveUpdate> {
        self.verb(Op::Metadata, format!("instance {which}"), progress, move |job, stop| {
            Box::pin(async move {
                let finding = async {
                    let (vm, record) = find::ours(job, &which).await?;
                    let changes = networks(job, &record, &addresses).await?;
                    Ok((vm, record, changes))
                };
                let (vm, record, changes) = job.stage(Stage::Find, finding).await?;
                job.would(|| steps(&record, &changes))?;
                let changing = change(job, &vm, &record, &changes, stop);
                job.stage(Stage::Vm, changing).await
            })
        })
    }
}

/// Changes in words; values may be secrets.
fn steps(vm: &VmRecord, changes: &BTreeMap<String, Option<String>>) -> Vec<String> {
    let verb = |value: &Option<String>| if value.is_some() { "write" } else { "remove" };
    changes.iter().map(|(key, value)| format!("{} {key} of VM {}", verb(value), vm.uuid)).collect()
}

/// What the guest of a new instance finds. The metadata has been written already, for its keys can be in conflict.
pub(crate) fn first(
    hostname: &str,
    os_type: Option<OsType>,
    auto_disk_config: bool,
    interfaces: &[Interface<'_>],
) -> BTreeMap<String, String> {
    let python_bool = if auto_disk_config { "True" } else { "False" };
    let mut data = BTreeMap::from([
        // XenServer's VSS provider would snapshot the guest's volumes behind the driver's back.
        ("vm-data/allowvssprovider".to_owned(), "false".to_owned()),
        ("vm-data/auto-disk-config".to_owned(), python_bool.to_owned()),
        (HOSTNAME.to_owned(), host_name(hostname, os_type == Some(OsType::Windows))),
    ]);
    data.extend(interfaces.iter().map(|interface| (networking_key(interface.mac), networking(interface))));
    data
}

/// A host name as guests of this kind take it.
pub(crate) fn host_name(name: &str, windows: bool) -> String {
    name.chars().take(if windows { WINDOWS_NAME_LEN } else { usize::MAX }).collect()
}

/// The host name that an instance has while it is rescued.
pub(crate) fn rescue_name(record: &VmRecord, hostname: &str) -> String {
    host_name(&format!("RESCUE-{hostname}"), is_windows(record))
}

/// Only Windows guests are given Viridian's enlightenments.
pub(crate) fn is_windows(record: &VmRecord) -> bool {
    record.platform.get("viridian").is_some_and(|viridian| viridian == "true")
}

/// Changes of metadata by the keys that the guest sees: what xenstore does not take in a key becomes `_`.
///
/// # Errors
///
/// Two names that become one.
pub(crate) fn metadata(
    changes: &BTreeMap<String, Option<String>>,
) -> Result<BTreeMap<String, Option<String>>, Conflict> {
    let mut data = BTreeMap::new();
    for (key, value) in changes {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '@');
        let safe: String = key.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
        let value = value.as_deref().map(|text| Value::from(text).to_string());
        if data.insert(format!("{METADATA}{safe}"), value).is_some() {
            return Err(Conflict::MetadataKeys { key: key.clone(), written_as: safe });
        }
    }
    Ok(data)
}

fn networking_key(mac: MacAddr) -> String {
    format!("{NETWORKING}{}", mac.to_string().replace(':', ""))
}

/// An interface as the agents want it told, in JSON. What there is none of is left out.
fn networking(interface: &Interface<'_>) -> String {
    let mut told = Map::new();
    told.insert("label".to_owned(), json!(interface.label));
    told.insert("mac".to_owned(), json!(interface.mac));
    for (is_v4, list, gateway) in [(true, "ips", "gateway"), (false, "ip6s", "gateway_v6")] {
        let family: Vec<&Address> =
            interface.addresses.iter().filter(|known| known.address.is_ipv4() == is_v4).collect();
        let Some(first) = family.first() else { continue };
        told.insert(list.to_owned(), family.iter().map(|known| ip(known)).collect());
        let way = first.gateway.filter(|way| !is_own(interface, *way));
        told.extend(way.map(|address| (gateway.to_owned(), json!(address))));
        told.extend(broadcast(first).map(|address| ("broadcast".to_owned(), json!(address))));
    }
    let routes = interface.addresses.iter().flat_map(|known| &known.routes);
    let routes = routes.filter(|route| !is_own(interface, route.gateway)).map(|route| {
        json!({
            "route": route.network,
            "netmask": netmask(route.network, route.prefix),
            "gateway": route.gateway,
        })
    });
    let dns: BTreeSet<IpAddr> = interface.addresses.iter().flat_map(|known| known.dns.clone()).collect();
    for (key, all) in
        [("routes", routes.collect::<Vec<_>>()), ("dns", dns.iter().map(|ip| json!(ip)).collect())]
    {
        if !all.is_empty() {
            told.insert(key.to_owned(), Value::Array(all));
        }
    }
    Value::Object(told).to_string()
}

/// Whether this is the guest's own address: Neutron tells a router of the ways that go through it.
fn is_own(interface: &Interface<'_>, address: IpAddr) -> bool {
    interface.addresses.iter().any(|known| known.address == address)
}

fn ip(known: &Address) -> Value {
    let mut ip = Map::new();
    ip.insert("ip".to_owned(), json!(known.address));
    ip.insert("enabled".to_owned(), json!("1"));
    let mask = match known.address {
        IpAddr::V4(_) => json!(netmask(known.address, known.prefix_len)),
        IpAddr::V6(_) => json!(known.prefix_len),
    };
    ip.insert("netmask".to_owned(), mask);
    let gateway = known.gateway.filter(|gateway| *gateway != known.address);
    ip.extend(gateway.map(|gateway| ("gateway".to_owned(), json!(gateway))));
    Value::Object(ip)
}

fn broadcast(known: &Address) -> Option<IpAddr> {
    match (known.address, netmask(known.address, known.prefix_len)) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => {
            Some(IpAddr::V4((address.to_bits() | !mask.to_bits()).into()))
        }
        _ => None,
    }
}

/// What is to be written and removed for the guest to know of exactly the interfaces that it has.
async fn networks(
    job: &Job,
    record: &VmRecord,
    addresses: &BTreeMap<MacAddr, Vec<Address>>,
) -> Result<BTreeMap<String, Option<String>>, Cause> {
    let vifs = vifs(job, record, addresses.keys()).await?;
    let known = record.xenstore_data.keys().filter(|key| key.starts_with(NETWORKING));
    let mut changes: BTreeMap<String, Option<String>> = known.map(|key| (key.clone(), None)).collect();
    for (mac, vif) in &vifs {
        let doing = || Cause::host(format!("reading the networks of VM {}", record.uuid));
        let label = label(job.client(), &vif.network).await.map_err(doing())?;
        let interface = Interface::of(*mac, vif, &label, addresses);
        changes.insert(networking_key(*mac), Some(networking(&interface)));
    }
    Ok(changes)
}

async fn label(client: &Client, network: &Ref<Network>) -> xenapi_client::Result<String> {
    client.get_field(network, network::field::NAME_LABEL).await
}

/// Sets and removes keys, for the next boot and for the guest that runs. It can be stopped as long as another change of the
/// same VM is under way.
pub(crate) async fn change(
    job: &Job,
    vm: &Ref<Vm>,
    record: &VmRecord,
    changes: &BTreeMap<String, Option<String>>,
    stop: &Stop,
) -> Result<LiveUpdate, Cause> {
    let _gate = job.turn(&format!("xenstore-{}", record.uuid), stop).await?;
    stop.check()?;
    write(job.client(), vm, &record.uuid, changes).await
}

/// As [`change`], for whoever keeps others out by himself.
pub(crate) async fn write(
    client: &Client,
    vm: &Ref<Vm>,
    uuid: &str,
    changes: &BTreeMap<String, Option<String>>,
) -> Result<LiveUpdate, Cause> {
    let doing = |key: &str| Cause::host(format!("changing {key} in the xenstore data of VM {uuid}"));
    for (key, value) in changes {
        // Adding a key that is there fails.
        client.remove_from(vm, vm::field::XENSTORE_DATA, &**key).await.map_err(doing(key))?;
        if let Some(value) = value {
            let added = client.add_to(vm, vm::field::XENSTORE_DATA, &**key, &**value).await;
            added.map_err(doing(key))?;
        }
    }
    let record = client.record(vm).await.map_err(Cause::host(format!("reading VM {uuid}")))?;
    if record.domid < 0 {
        return Ok(LiveUpdate::NotRunning);
    }
    for (key, value) in changes {
        let mut args = BTreeMap::from([
            ("dom_id".to_owned(), record.domid.to_string()),
            ("path".to_owned(), key.clone()),
        ]);
        args.extend(value.clone().map(|value| ("value".to_owned(), value)));
        let function = if value.is_some() { "write_record" } else { "delete_record" };
        match client.call_plugin(&record.resident_on, PLUGIN, function, &args).await {
            Ok(_) => {}
            Err(error) if error.is("XENAPI_MISSING_PLUGIN") => return Ok(LiveUpdate::NoPlugin),
            Err(error) => {
                return Err(Cause::host(format!("telling the guest of VM {uuid} its {key}"))(error));
            }
        }
    }
    Ok(LiveUpdate::Written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Route;

    fn interface<'a>(addresses: &'a [Address]) -> Interface<'a> {
        let mac = "fa:16:3e:00:00:01".parse().unwrap();
        Interface { device: 0, mac, mtu: 1500, label: "lan", port: None, addresses, tags: &[] }
    }

    #[test]
    fn networking_as_the_agents_read_it() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let v4 = Address {
            gateway: Some(ip("10.0.0.1")),
            dns: vec![ip("10.0.0.53"), ip("10.0.0.54")],
            routes: vec![Route { network: ip("192.168.0.0"), prefix: 16, gateway: ip("10.0.0.9") }],
            ..Address::new(ip("10.0.0.5"), 22)
        };
        let second = Address { dns: vec![ip("10.0.0.53")], ..Address::new(ip("10.1.0.5"), 24) };
        let v6 = Address { gateway: Some(ip("fd00::1")), ..Address::new(ip("fd00::5"), 64) };
        let told: Value = serde_json::from_str(&networking(&interface(&[v4, v6, second]))).unwrap();
        let expected = json!({
            "label": "lan", "mac": "fa:16:3e:00:00:01",
            "gateway": "10.0.0.1", "broadcast": "10.0.3.255", "gateway_v6": "fd00::1",
            "ips": [
                {"ip": "10.0.0.5", "enabled": "1", "netmask": "255.255.252.0", "gateway": "10.0.0.1"},
                {"ip": "10.1.0.5", "enabled": "1", "netmask": "255.255.255.0"},
            ],
            "ip6s": [{"ip": "fd00::5", "enabled": "1", "netmask": 64, "gateway": "fd00::1"}],
            "routes": [{"route": "192.168.0.0", "netmask": "255.255.0.0", "gateway": "10.0.0.9"}],
            "dns": ["10.0.0.53", "10.0.0.54"],
        });
        assert_eq!(told, expected);
        let told: Value = serde_json::from_str(&networking(&interface(&[]))).unwrap();
        assert_eq!(told, json!({"label": "lan", "mac": "fa:16:3e:00:00:01"}));
    }

    #[test]
    fn a_router_is_not_told_to_go_through_itself() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let own = ip("10.0.0.1");
        let routes = [("192.168.0.0", own), ("172.16.0.0", ip("10.0.0.9"))].map(|(network, gateway)| Route {
            network: ip(network),
            prefix: 16,
            gateway,
        });
        let router = Address { gateway: Some(own), routes: routes.into(), ..Address::new(own, 24) };
        let told: Value = serde_json::from_str(&networking(&interface(&[router]))).unwrap();
        assert_eq!(told.get("gateway"), None);
        assert_eq!(told["ips"][0].get("gateway"), None);
        let kept = json!([{"route": "172.16.0.0", "netmask": "255.255.0.0", "gateway": "10.0.0.9"}]);
        assert_eq!(told["routes"], kept);
    }

    #[test]
    fn host_names() {
        assert_eq!(host_name("a-rather-long-name", false), "a-rather-long-name");
        assert_eq!(host_name("a-rather-long-name", true), "a-rather-long-n");
        let mut record = VmRecord::default();
        assert_eq!(rescue_name(&record, "dummy-of-some-len"), "RESCUE-dummy-of-some-len");
        record.platform.insert("viridian".to_owned(), "true".to_owned());
        assert_eq!(rescue_name(&record, "dummy-of-some-len"), "RESCUE-dummy-of");
    }
}
