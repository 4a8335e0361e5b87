//! The pool, its hosts, its networks and the interfaces of guests.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use xenapi_types::{Host, HostMetrics, Network, Pif, Pool, Vif, Vm, VmPowerState, network, vif, vm};
use xenapi_wire::{DateTime, Ref, Value};

use super::clean::Made;
use super::expect::{refused, refused_with, same};
use super::lab::Lab;

super::checks! { "pool";
    there_is_one_pool_with_a_coordinator,
    every_host_has_a_control_domain,
    a_host_tells_its_versions,
    a_host_tells_the_time,
    a_host_tells_its_memory,
    unknown_hosts_are_refused,
    interfaces_agree_with_hosts_and_networks,
    one_interface_is_for_management,
    a_network_gets_a_bridge_of_its_own,
    an_odd_mtu_is_replaced,
    a_bridge_belongs_to_one_network,
    a_network_needs_no_more_than_settings,
    unknown_fields_are_ignored,
    an_interface_gets_a_local_address,
    an_address_is_kept_as_it_was_given,
    malformed_addresses_are_refused,
    a_device_number_is_used_once,
    device_names_that_make_no_sense_are_refused,
    free_device_numbers_are_listed,
    an_interface_needs_guest_and_network,
    nothing_is_plugged_into_a_halted_guest,
    a_running_guest_holds_its_interfaces,
    a_destroyed_network_takes_its_interfaces_along,
}

const UNKNOWN: &str = "OpaqueRef:00000000-0000-4000-8000-000000000000";

async fn there_is_one_pool_with_a_coordinator(lab: &Lab) -> Result<()> {
    same("pools", lab.client.all::<Pool>().await?, [lab.site.pool.clone()])?;
    let coordinator = lab.client.record(&lab.site.pool).await?.master;
    let is_slave: bool = lab.rpc("pool.is_slave", (&coordinator,)).await?;
    same("pool.is_slave of the coordinator", is_slave, false)
}

async fn every_host_has_a_control_domain(lab: &Lab) -> Result<()> {
    lab.site.dom0()?;
    for host in lab.client.all_records::<Host>().await?.into_values() {
        let domain = lab.client.record::<Vm>(&host.control_domain).await?;
        same("is_control_domain", domain.is_control_domain, true)?;
        same("power_state", domain.power_state, VmPowerState::Running)?;
        ensure!(host.resident_vms.contains(&host.control_domain), "host.resident_VMs does not list it");
    }
    Ok(())
}

async fn a_host_tells_its_versions(lab: &Lab) -> Result<()> {
    let host = lab.client.record(&lab.site.host).await?;
    same("API_version_major", host.api_version_major, 2)?;
    ensure!(host.api_version_minor >= 1, "API_version_minor is {}", host.api_version_minor);
    for key in ["product_version", "product_brand", "platform_version", "xapi"] {
        ensure!(host.software_version.contains_key(key), "software_version has no {key}");
    }
    let versions: BTreeMap<String, String> = lab.rpc("host.get_software_version", (&lab.site.host,)).await?;
    same("product_version", versions.get("product_version"), host.software_version.get("product_version"))
}

async fn a_host_tells_the_time(lab: &Lab) -> Result<()> {
    let time: DateTime = lab.rpc("host.get_servertime", (&lab.site.host,)).await?;
    ensure!(time.as_str().ends_with('Z'), "host.get_servertime gave {time}");
    let seconds = time.unix_seconds()?;
    let again: DateTime = lab.rpc("host.get_servertime", (&lab.site.host,)).await?;
    ensure!((0..60).contains(&(again.unix_seconds()? - seconds)), "from {time} to {again}");
    let local: Value = lab.rpc("host.get_server_localtime", (&lab.site.host,)).await?;
    ensure!(!format!("{local:?}").contains('Z'), "local time {local:?} has a zone");
    Ok(())
}

async fn a_host_tells_its_memory(lab: &Lab) -> Result<()> {
    let host = lab.client.record(&lab.site.host).await?;
    let metrics = lab.client.record::<HostMetrics>(&host.metrics).await?;
    let free: i64 = lab.rpc("host.compute_free_memory", (&lab.site.host,)).await?;
    ensure!(free > 0 && free < metrics.memory_total, "{free} bytes of {} are free", metrics.memory_total);
    let overhead: i64 = lab.rpc("VM.compute_memory_overhead", (lab.vm().await?,)).await?;
    ensure!(overhead > 0, "no memory overhead");
    Ok(())
}

async fn unknown_hosts_are_refused(lab: &Lab) -> Result<()> {
    for method in ["host.get_vms_which_prevent_evacuation", "host.get_record", "host.get_enabled"] {
        let answer: xenapi_client::Result<Value> = lab.rpc(method, (UNKNOWN,)).await;
        refused_with(answer, "HANDLE_INVALID", &["host", UNKNOWN])?;
    }
    Ok(())
}

async fn interfaces_agree_with_hosts_and_networks(lab: &Lab) -> Result<()> {
    for (pif, record) in lab.client.all_records::<Pif>().await? {
        let host = lab.client.record::<Host>(&record.host).await?;
        let network = lab.client.record::<Network>(&record.network).await?;
        ensure!(host.pifs.contains(&pif), "host.PIFs does not list {pif}");
        ensure!(network.pifs.contains(&pif), "network.PIFs does not list {pif}");
    }
    Ok(())
}

async fn one_interface_is_for_management(lab: &Lab) -> Result<()> {
    let interface: Ref<Pif> = lab.rpc("host.get_management_interface", (&lab.site.host,)).await?;
    let record = lab.client.record(&interface).await?;
    same("PIF.management", record.management, true)?;
    same("PIF.host", &record.host, &lab.site.host)
}

/// Bridges are numbered: `xapi0`, `xapi1`.
async fn a_network_gets_a_bridge_of_its_own(lab: &Lab) -> Result<()> {
    let (first, second) = (lab.network().await?, lab.network().await?);
    let (first, second) = (lab.client.record(&first).await?, lab.client.record(&second).await?);
    for record in [&first, &second] {
        let number = record.bridge.strip_prefix("xapi").and_then(|number| number.parse::<u32>().ok());
        ensure!(number.is_some(), "the bridge is {:?}", record.bridge);
        same("MTU", record.mtu, 1500)?;
        same("managed", record.managed, true)?;
        same("PIFs", record.pifs.len(), 0)?;
    }
    ensure!(first.bridge != second.bridge, "both are on {}", first.bridge);
    Ok(())
}

async fn an_odd_mtu_is_replaced(lab: &Lab) -> Result<()> {
    for (asked, expected) in [(9000, 9000), (-5, 1500), (1, 1)] {
        let network = lab.client.call(network::Create { mtu: asked, ..lab.network_fields() }).await?;
        lab.keep(Made::Network(network.clone()));
        same(&format!("MTU for {asked}"), lab.client.record(&network).await?.mtu, expected)?;
    }
    Ok(())
}

async fn a_bridge_belongs_to_one_network(lab: &Lab) -> Result<()> {
    let network = lab.network().await?;
    let taken = lab.client.record(&network).await?.bridge;
    for bridge in [taken.as_str(), "toolongbridgename0"] {
        let create = network::Create { bridge: bridge.to_owned(), ..lab.network_fields() };
        let answer = lab.client.call(create).await;
        if let Ok(made) = &answer {
            lab.keep(Made::Network(made.clone()));
        }
        refused_with(answer, "INVALID_VALUE", &["bridge", bridge])?;
    }
    Ok(())
}

async fn a_network_needs_no_more_than_settings(lab: &Lab) -> Result<()> {
    let fields: BTreeMap<&str, String> = [("name_label", lab.name())].into();
    let answer: xenapi_client::Result<Value> = lab.rpc("network.create", (fields,)).await;
    let reason = "Server_helpers.Dispatcher_FieldNotFound(\"other_config\")";
    refused_with(answer, "INTERNAL_ERROR", &[reason])?;
    let fields: BTreeMap<&str, BTreeMap<String, String>> = [("other_config", lab.tag())].into();
    let network: Ref<Network> = lab.rpc("network.create", (fields,)).await?;
    lab.keep(Made::Network(network.clone()));
    same("name_label", lab.client.record(&network).await?.name_label.as_str(), "")
}

async fn unknown_fields_are_ignored(lab: &Lab) -> Result<()> {
    let mut fields: BTreeMap<&str, Value> = BTreeMap::new();
    fields.insert("other_config", Value::encode(&lab.tag())?);
    fields.insert("name_label", Value::encode(&lab.name())?);
    fields.insert("no_such_field", Value::encode("x")?);
    let network: Ref<Network> = lab.rpc("network.create", (fields,)).await?;
    lab.keep(Made::Network(network));
    Ok(())
}

async fn an_interface_gets_a_local_address(lab: &Lab) -> Result<()> {
    let (vm, network) = (lab.vm().await?, lab.network().await?);
    let mut addresses = BTreeSet::new();
    for device in ["0", "1", "2"] {
        let record = lab.client.record(&lab.vif(&vm, &network, device).await?).await?;
        let bytes: Vec<_> = record.mac.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
        let first = bytes.first().and_then(|byte| byte.clone().ok()).with_context(|| record.mac.clone())?;
        ensure!(bytes.len() == 6 && bytes.iter().all(Result::is_ok), "MAC {:?}", record.mac);
        same("the first byte's lowest bits (local, unicast)", first & 3, 2)?;
        same("currently_attached", record.currently_attached, false)?;
        same("device", record.device.as_str(), device)?;
        addresses.insert(record.mac);
    }
    same("different addresses", addresses.len(), 3)
}

async fn an_address_is_kept_as_it_was_given(lab: &Lab) -> Result<()> {
    let (vm, network) = (lab.vm().await?, lab.network().await?);
    // Neither capitals nor repetitions nor multicast addresses are looked at.
    for (device, mac) in [
        ("0", "AA:BB:CC:00:11:44"),
        ("1", "aa:bb:cc:00:11:22"),
        ("2", "aa:bb:cc:00:11:22"),
        ("3", "01:00:5e:00:00:01"),
    ] {
        let fields = vif::Create { mac: mac.to_owned(), ..lab.vif_fields(&vm, &network, device) };
        let vif = lab.client.call(fields).await?;
        lab.keep(Made::Vif(vif.clone()));
        same("MAC", lab.client.record(&vif).await?.mac.as_str(), mac)?;
    }
    Ok(())
}

/// Makes an interface that should be refused.
async fn unwelcome(lab: &Lab, fields: vif::Create) -> xenapi_client::Result<Ref<Vif>> {
    let answer = lab.client.call(fields).await;
    if let Ok(vif) = &answer {
        lab.keep(Made::Vif(vif.clone()));
    }
    answer
}

async fn malformed_addresses_are_refused(lab: &Lab) -> Result<()> {
    let (vm, network) = (lab.vm().await?, lab.network().await?);
    for mac in ["banana", "aa:bb:cc"] {
        let fields = vif::Create { mac: mac.to_owned(), ..lab.vif_fields(&vm, &network, "0") };
        refused_with(unwelcome(lab, fields).await, "MAC_INVALID", &[mac])?;
    }
    Ok(())
}

async fn a_device_number_is_used_once(lab: &Lab) -> Result<()> {
    let (vm, network) = (lab.vm().await?, lab.network().await?);
    let vif = lab.vif(&vm, &network, "0").await?;
    let again = unwelcome(lab, lab.vif_fields(&vm, &network, "0")).await;
    refused_with(again, "DEVICE_ALREADY_EXISTS", &["0"])?;
    lab.client.destroy(&vif).await?;
    lab.vif(&vm, &network, "0").await?;
    Ok(())
}

/// Not even `autodetect`, which VBD.create takes.
async fn device_names_that_make_no_sense_are_refused(lab: &Lab) -> Result<()> {
    let (vm, network) = (lab.vm().await?, lab.network().await?);
    for device in ["autodetect", "banana", "-1", ""] {
        let answer = unwelcome(lab, lab.vif_fields(&vm, &network, device)).await;
        refused_with(answer, "INVALID_DEVICE", &[device])?;
    }
    Ok(())
}

async fn free_device_numbers_are_listed(lab: &Lab) -> Result<()> {
    let (vm, network) = (lab.vm().await?, lab.network().await?);
    lab.vif(&vm, &network, "1").await?;
    let free: Vec<String> = lab.rpc("VM.get_allowed_VIF_devices", (&vm,)).await?;
    ensure!(free.starts_with(&["0".to_owned(), "2".to_owned()]), "{free:?}");
    Ok(())
}

async fn an_interface_needs_guest_and_network(lab: &Lab) -> Result<()> {
    let (vm, network) = (lab.vm().await?, lab.network().await?);
    let answer = unwelcome(lab, lab.vif_fields(&Ref::from(UNKNOWN), &network, "0")).await;
    refused_with(answer, "HANDLE_INVALID", &["VM", UNKNOWN])?;
    for wrong in [UNKNOWN, "OpaqueRef:NULL"] {
        let answer = unwelcome(lab, lab.vif_fields(&vm, &Ref::from(wrong), "0")).await;
        refused_with(answer, "HANDLE_INVALID", &["network", wrong])?;
    }
    Ok(())
}

async fn nothing_is_plugged_into_a_halted_guest(lab: &Lab) -> Result<()> {
    let (vm, network) = (lab.vm().await?, lab.network().await?);
    let vif = lab.vif(&vm, &network, "0").await?;
    for method in ["VIF.plug", "VIF.unplug"] {
        let answer: xenapi_client::Result<Value> = lab.rpc(method, (&vif,)).await;
        refused_with(answer, "VM_BAD_POWER_STATE", &[&vm.to_string(), "running", "halted"])?;
    }
    Ok(())
}

async fn a_running_guest_holds_its_interfaces(lab: &Lab) -> Result<()> {
    let (vm, network) = (lab.vm().await?, lab.network().await?);
    let vif = lab.vif(&vm, &network, "0").await?;
    lab.start(&vm).await?;
    same("currently_attached", lab.client.record(&vif).await?.currently_attached, true)?;
    let reason = "VIF currently attached to a running VM";
    refused_with(lab.client.destroy(&vif).await, "OPERATION_NOT_ALLOWED", &[reason])?;
    let failure = refused(lab.client.destroy(&network).await, "NETWORK_CONTAINS_VIF")?;
    same("the interfaces named", failure.params, [vif.to_string()])?;
    lab.client.call(vm::HardShutdown { vm: vm.clone() }).await?;
    same("currently_attached", lab.client.record(&vif).await?.currently_attached, false)?;
    lab.client.destroy(&vif).await?;
    lab.client.destroy(&network).await?;
    Ok(())
}

async fn a_destroyed_network_takes_its_interfaces_along(lab: &Lab) -> Result<()> {
    let (vm, network) = (lab.vm().await?, lab.network().await?);
    let vif = lab.vif(&vm, &network, "0").await?;
    lab.client.destroy(&network).await?;
    ensure!(lab.client.record_opt(&vif).await?.is_none(), "the interface is still there");
    same("VM.VIFs", lab.client.record(&vm).await?.vifs.len(), 0)?;
    refused_with(lab.client.destroy(&network).await, "HANDLE_INVALID", &["network", &network.to_string()])
}
