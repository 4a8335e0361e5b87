//! The records that a plan becomes, field by field as Nova's XenAPI driver made them.

use std::collections::BTreeMap;

use uuid::Uuid;
use xenapi_storage::ownership;
use xenapi_types::{
    DomainType, OnCrashBehaviour, OnNormalExit, Ref, Sr, VbdMode, VbdType, Vdi, VdiType, VifLockingMode, Vm,
    vbd, vdi, vgpu, vif, vm,
};

use crate::plan::{DiskPlan, GpuPlan, NicPlan, Plan};
use crate::spec::{Firmware, Locking, VmMode};

/// The VM. It has no devices yet, and is halted.
pub(crate) fn vm(plan: &Plan) -> vm::Create {
    let wanted = &plan.vm;
    let memory = wanted.memory_bytes as i64;
    let vcpus = i64::from(wanted.vcpus);
    let common = vm::Create {
        name_label: wanted.name_label.clone(),
        user_version: 0,
        is_a_template: false,
        affinity: plan.node.reference.clone(),
        // Without a least, all three are equal, so that nothing balloons the guest.
        memory_static_max: memory,
        memory_dynamic_max: memory,
        memory_dynamic_min: wanted.memory_min_bytes as i64,
        memory_static_min: 0,
        vcpus_max: vcpus,
        vcpus_at_startup: vcpus,
        vcpus_params: wanted.vcpus_params.clone(),
        // `destroy` ends the domain; the VM's record and disks stay.
        actions_after_shutdown: OnNormalExit::Destroy,
        actions_after_reboot: OnNormalExit::Restart,
        actions_after_crash: OnCrashBehaviour::Destroy,
        platform: wanted.platform.clone(),
        tags: wanted.tags.clone(),
        // Gone when the instance is complete.
        other_config: unfinished(&wanted.other_config),
        xenstore_data: wanted.xenstore_data.clone(),
        ..vm::Create::default()
    };
    match wanted.mode {
        VmMode::Hvm => vm::Create {
            hvm_boot_policy: "BIOS order".to_owned(),
            hvm_boot_params: boot_params(wanted.firmware),
            ..common
        },
        // It is set when it is there.
        mode => vm::Create {
            // Unspecified, it follows from the boot policy, and is PV.
            domain_type: if mode == VmMode::Pvh { DomainType::Pvh } else { DomainType::Unspecified },
            // The guest's own boot loader configuration names the kernel. One's own is set when it is there.
            pv_bootloader: if wanted.own_kernel { String::new() } else { "pygrub".to_owned() },
            ..common
        },
    }
}

fn boot_params(firmware: Firmware) -> BTreeMap<String, String> {
    let mut params = BTreeMap::from([("order".to_owned(), "dc".to_owned())]);
    // Without the key it is a BIOS, on hosts that know no other too.
    if firmware != Firmware::Bios {
        params.insert("firmware".to_owned(), "uefi".to_owned());
    }
    params
}

fn unfinished(keys: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut keys = keys.clone();
    keys.insert(ownership::UNFINISHED.to_owned(), "true".to_owned());
    keys
}

/// A disk's VDI, in `sr`.
pub(crate) fn vdi(disk: &DiskPlan, sr: &Ref<Sr>) -> vdi::Create {
    vdi::Create {
        name_label: disk.name_label.clone(),
        name_description: disk.name_description.clone(),
        sr: sr.clone(),
        virtual_size: disk.virtual_bytes as i64,
        r#type: VdiType::User,
        sharable: false,
        read_only: false,
        other_config: disk.other_config.clone(),
        ..vdi::Create::default()
    }
}

/// A disk's place in a VM.
pub(crate) fn vbd(
    disk: &DiskPlan,
    vm: &Ref<Vm>,
    vdi: &Ref<Vdi>,
    keys: BTreeMap<String, String>,
) -> vbd::Create {
    vbd::Create {
        vm: vm.clone(),
        vdi: vdi.clone(),
        userdevice: disk.userdevice.number().to_string(),
        bootable: disk.bootable,
        mode: if disk.writable { VbdMode::Rw } else { VbdMode::Ro },
        r#type: if disk.disc { VbdType::Cd } else { VbdType::Disk },
        unpluggable: true,
        empty: false,
        other_config: keys,
        ..vbd::Create::default()
    }
}

/// The fields of a VIF that say what its guest may send.
pub(crate) fn locking(wanted: &Locking) -> (VifLockingMode, Vec<String>, Vec<String>) {
    match wanted {
        Locking::NetworkDefault => (VifLockingMode::NetworkDefault, Vec::new(), Vec::new()),
        Locking::Unlocked => (VifLockingMode::Unlocked, Vec::new(), Vec::new()),
        Locking::Disabled => (VifLockingMode::Disabled, Vec::new(), Vec::new()),
        Locking::Locked { ipv4, ipv6 } => (VifLockingMode::Locked, ipv4.clone(), ipv6.clone()),
    }
}

/// A network interface.
pub(crate) fn vif(nic: &NicPlan, vm: &Ref<Vm>) -> vif::Create {
    let (locking_mode, ipv4_allowed, ipv6_allowed) = locking(&nic.locking);
    vif::Create {
        device: nic.device.to_string(),
        network: nic.network.reference.clone(),
        vm: vm.clone(),
        mac: nic.mac.to_string(),
        mtu: nic.mtu,
        other_config: nic.other_config.clone(),
        qos_algorithm_type: if nic.limit_kbytes.is_some() { "ratelimit" } else { "" }.to_owned(),
        qos_algorithm_params: nic.limit_kbytes.iter().map(|n| ("kbps".to_owned(), n.to_string())).collect(),
        locking_mode,
        ipv4_allowed,
        ipv6_allowed,
        ..vif::Create::default()
    }
}

/// A virtual GPU, with Nova's key.
pub(crate) fn vgpu(gpu: &GpuPlan, vm: &Ref<Vm>, instance: Uuid) -> vgpu::Create {
    vgpu::Create {
        vm: vm.clone(),
        gpu_group: gpu.group.clone(),
        device: Some(gpu.device.to_string()),
        other_config: Some(BTreeMap::from([("nova-instance-uuid".to_owned(), instance.to_string())])),
        r#type: Some(gpu.kind.clone()),
    }
}
