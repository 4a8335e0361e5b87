//! The VM in the other pool: as it is here, but for what is of its host and of its pool.

use std::collections::BTreeMap;

use xenapi_client::{Client, ErrorKind};
use xenapi_storage::ownership::{self, Ownership};
use xenapi_types::{Ref, VbdRecord, VifRecord, Vm, VmRecord, vbd, vif, vm};

use super::copy::Copying;
use super::journal::{Journal, KEYS, MOVED_FROM};
use super::{Plan, REASON};
use crate::cancel::Stop;
use crate::error::Cause;
use crate::inventory::Node;
use crate::job::Job;
use crate::power::LAST_DOMID;
use crate::progress::Stage;
use crate::reconcile;
use crate::record;
use crate::resize;
use crate::spec::Flavor;
use crate::zeros;

/// The VM with another size, on another host.
pub(super) fn resized(vm: &VmRecord, flavor: Option<&Flavor>, node: &Node) -> VmRecord {
    let shape = resize::shape(vm, flavor, node);
    let mut vm = vm.clone();
    let [static_min, static_max, dynamic_min, dynamic_max] = shape.memory;
    (vm.memory_static_min, vm.memory_static_max) = (static_min, static_max);
    (vm.memory_dynamic_min, vm.memory_dynamic_max) = (dynamic_min, dynamic_max);
    (vm.vcpus_max, vm.vcpus_at_startup) = (shape.vcpus_max, shape.vcpus_at_startup);
    (vm.vcpus_params, vm.affinity) = (shape.vcpus_params, shape.affinity);
    vm
}

/// Makes the VM with its devices, halted and marked as unfinished. Returns its uuid, too.
pub(super) async fn make(
    there: &Job,
    plan: &Plan,
    journal: &Journal,
    copies: &[Copying<'_>],
    stop: &Stop,
) -> Result<(Ref<Vm>, String), Cause> {
    let (client, owner) = (there.client(), there.driver.settings().owner.clone());
    let ownership = Ownership { owner, instance: plan.instance, operation: there.operation };
    let doing = || Cause::host(format!("creating VM {:?} in the other pool", plan.after.name_label));
    stop.check()?;
    let vm = client.call(create(&plan.after, &ownership, journal)).await.map_err(doing())?;
    let uuid = client.get_field(&vm, vm::field::UUID).await.map_err(doing())?;
    let sealed = client.add_to(&vm, vm::field::OTHER_CONFIG, ownership::SELF, &uuid).await;
    sealed.map_err(doing())?;
    let mut blocked = plan.after.blocked_operations.clone();
    blocked.retain(|_, reason| reason != REASON);
    if !blocked.is_empty() {
        client.set_field(&vm, vm::field::BLOCKED_OPERATIONS, blocked).await.map_err(doing())?;
    }
    set_firmware_texts(client, &vm, &plan.before).await.map_err(doing())?;
    for (drive, source) in &plan.drives {
        stop.check()?;
        let copy = source.as_ref().and_then(|source| copies.iter().find(|copy| *copy.vdi() == source.vdi));
        let disk = copy.and_then(Copying::made).map_or(Ref::NULL, |disk| disk.reference.clone());
        let doing = Cause::host(format!("attaching a disk as device {}", drive.userdevice));
        client.call(vbd_like(drive, &vm, disk, ownership.keys())).await.map_err(doing)?;
    }
    for added in &plan.added {
        let disk = there.make_disk(&added.disk, &added.sr, stop, |_| {}).await?;
        there.seal(&disk).await?;
        zeros::fill(there, &added.sr, &disk, 0, Stage::Devices, stop).await?;
        let doing = Cause::host(format!("attaching a new disk as device {}", added.disk.userdevice));
        client.call(record::vbd(&added.disk, &vm, &disk.reference, ownership.keys())).await.map_err(doing)?;
    }
    for (vif, network) in &plan.vifs {
        stop.check()?;
        let doing = Cause::host(format!("attaching interface {}", vif.device));
        let call = vif::Create { network: network.clone(), ..vif_like(vif, &vm, ownership.keys()) };
        client.call(call).await.map_err(doing)?;
    }
    Ok((vm, uuid))
}

/// Those that `VM.set_bios_strings` takes.
const FIRMWARE_TEXTS: [&str; 13] = [
    "bios-vendor",
    "bios-version",
    "system-manufacturer",
    "system-product-name",
    "system-version",
    "system-serial-number",
    "enclosure-asset-tag",
    "baseboard-manufacturer",
    "baseboard-product-name",
    "baseboard-version",
    "baseboard-serial-number",
    "baseboard-asset-tag",
    "baseboard-location-in-chassis",
];

/// What the guest is told of its machine, by which software may know it, is as before. XAPI itself gives a VM
/// that has none the texts of Xen when it starts for the first time.
async fn set_firmware_texts(client: &Client, vm: &Ref<Vm>, like: &VmRecord) -> xenapi_client::Result<()> {
    let mut value = like.bios_strings.clone();
    value.retain(|key, text| FIRMWARE_TEXTS.contains(&&**key) && !text.is_empty());
    let is_xen = |key: &str, text: &str| value.get(key).is_some_and(|found| found == text);
    if value.is_empty() || (is_xen("bios-vendor", "Xen") && is_xen("system-product-name", "HVM domU")) {
        return Ok(());
    }
    let wanted = value.clone();
    match client.call(vm::SetBiosStrings { vm: vm.clone(), value }).await {
        // They can be set once.
        Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
            let now = client.get_field(vm, vm::field::BIOS_STRINGS).await?;
            let is_set = wanted.iter().all(|(key, text)| now.get(key) == Some(text));
            if is_set { Ok(()) } else { Err(error) }
        }
        // Before XenServer 7.3 they can only be copied from a host.
        Err(error) if error.is("MESSAGE_METHOD_UNKNOWN") => {
            tracing::warn!(
                vm = like.uuid,
                "the other pool cannot give the VM the texts that its firmware had"
            );
            Ok(())
        }
        done => done,
    }
}

/// From here on, nobody takes it for the rest of a move that broke off.
pub(super) async fn complete(there: &Job, vm: &Ref<Vm>) -> Result<(), Cause> {
    let complete = there.client().remove_from(vm, vm::field::OTHER_CONFIG, ownership::UNFINISHED).await;
    complete.map_err(Cause::host("noting that the instance is complete"))
}

fn create(like: &VmRecord, ownership: &Ownership, journal: &Journal) -> vm::Create {
    let like = like.clone();
    let mut other_config = like.other_config;
    other_config.retain(|key, _| {
        let ours = [ownership::SELF, LAST_DOMID].into_iter().chain([KEYS.text]).chain(KEYS.flags());
        !ours.into_iter().any(|own| own == key) && reconcile::operation_of(key).is_none()
    });
    other_config.extend(ownership.vm_keys());
    other_config.insert(ownership::UNFINISHED.to_owned(), "true".to_owned());
    other_config.insert(MOVED_FROM.to_owned(), journal.operation.to_string());
    vm::Create {
        name_label: like.name_label,
        name_description: like.name_description,
        user_version: like.user_version,
        is_a_template: false,
        affinity: like.affinity,
        memory_static_max: like.memory_static_max,
        memory_dynamic_max: like.memory_dynamic_max,
        memory_dynamic_min: like.memory_dynamic_min,
        memory_static_min: like.memory_static_min,
        vcpus_params: like.vcpus_params,
        vcpus_max: like.vcpus_max,
        vcpus_at_startup: like.vcpus_at_startup,
        actions_after_shutdown: like.actions_after_shutdown,
        actions_after_reboot: like.actions_after_reboot,
        actions_after_crash: like.actions_after_crash,
        pv_bootloader: like.pv_bootloader,
        pv_kernel: like.pv_kernel,
        pv_ramdisk: like.pv_ramdisk,
        pv_args: like.pv_args,
        pv_bootloader_args: like.pv_bootloader_args,
        pv_legacy_args: like.pv_legacy_args,
        hvm_boot_policy: like.hvm_boot_policy,
        hvm_boot_params: like.hvm_boot_params,
        hvm_shadow_multiplier: like.hvm_shadow_multiplier,
        platform: like.platform,
        other_config,
        recommendations: like.recommendations,
        xenstore_data: like.xenstore_data,
        tags: like.tags,
        start_delay: like.start_delay,
        shutdown_delay: like.shutdown_delay,
        order: like.order,
        hardware_platform_version: like.hardware_platform_version,
        has_vendor_device: like.has_vendor_device,
        reference_label: like.reference_label,
        domain_type: like.domain_type,
        nvram: like.nvram,
        ..vm::Create::default()
    }
}

fn vbd_like(
    like: &VbdRecord,
    vm: &Ref<Vm>,
    disk: Ref<xenapi_types::Vdi>,
    keys: BTreeMap<String, String>,
) -> vbd::Create {
    let like = like.clone();
    let mut other_config = like.other_config;
    other_config.extend(keys);
    vbd::Create {
        vm: vm.clone(),
        empty: disk.is_null(),
        vdi: disk,
        userdevice: like.userdevice,
        bootable: like.bootable,
        mode: like.mode,
        r#type: like.r#type,
        unpluggable: like.unpluggable,
        other_config,
        qos_algorithm_type: like.qos_algorithm_type,
        qos_algorithm_params: like.qos_algorithm_params,
        ..vbd::Create::default()
    }
}

fn vif_like(like: &VifRecord, vm: &Ref<Vm>, keys: BTreeMap<String, String>) -> vif::Create {
    let like = like.clone();
    let mut other_config = like.other_config;
    other_config.extend(keys);
    vif::Create {
        device: like.device,
        vm: vm.clone(),
        mac: like.mac,
        mtu: like.mtu,
        other_config,
        qos_algorithm_type: like.qos_algorithm_type,
        qos_algorithm_params: like.qos_algorithm_params,
        locking_mode: like.locking_mode,
        ipv4_allowed: like.ipv4_allowed,
        ipv6_allowed: like.ipv6_allowed,
        ..vif::Create::default()
    }
}
