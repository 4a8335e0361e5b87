//! What somebody's own tools make, which is left alone: for tests of that.

use xenapi_types::{
    OnCrashBehaviour, OnNormalExit, Ref, Sr, VbdMode, VbdType, Vdi, VdiType, Vm, vbd, vdi, vm,
};

/// A VM as somebody's own tools make it: 256 MiB of memory, one CPU, no disks and no keys of any driver's.
pub fn vm(name_label: impl Into<String>) -> vm::Create {
    vm::Create {
        name_label: name_label.into(),
        memory_static_max: 256 << 20,
        memory_dynamic_max: 256 << 20,
        memory_dynamic_min: 256 << 20,
        memory_static_min: 256 << 20,
        vcpus_max: 1,
        vcpus_at_startup: 1,
        actions_after_shutdown: OnNormalExit::Destroy,
        actions_after_reboot: OnNormalExit::Restart,
        actions_after_crash: OnCrashBehaviour::Destroy,
        hvm_boot_policy: "BIOS order".into(),
        ..vm::Create::default()
    }
}

/// A disk of 4 MiB, as somebody's own tools make it.
pub fn disk(name_label: impl Into<String>, sr: Ref<Sr>) -> vdi::Create {
    vdi::Create {
        name_label: name_label.into(),
        sr,
        virtual_size: 4 << 20,
        r#type: VdiType::User,
        ..vdi::Create::default()
    }
}

/// A drive with a disk in it; the first of a VM is what it boots from.
pub fn drive(vm: &Ref<Vm>, vdi: &Ref<Vdi>, userdevice: usize) -> vbd::Create {
    vbd::Create {
        vm: vm.clone(),
        vdi: vdi.clone(),
        userdevice: userdevice.to_string(),
        bootable: userdevice == 0,
        mode: VbdMode::Rw,
        r#type: VbdType::Disk,
        ..vbd::Create::default()
    }
}
