//! What changes when a VM starts, stops, sleeps and wakes.
//!
//! Each function is one step of the database: the checks have been made, the hypervisor has done its part.

use std::collections::BTreeMap;

use xenapi_wire::{DateTime, Failure, Value};

use super::super::{gpu, sriov};
use super::guests::Guests;
use super::memory::footprint_bytes;
use super::operations::Power;
use crate::db::{Db, NULL, Object, Tx, View};

/// Where a VM can run, or why not.
///
/// # Errors
/// `HANDLE_INVALID` / `HOST_OFFLINE`, `HOST_DISABLED`, `HOST_NOT_ENOUGH_FREE_MEMORY`, and what a disk or a
/// network that the host does not see raises.
pub(super) fn assert_can_run_on(view: &View, vm: Object<'_>, host: &str) -> Result<(), Failure> {
    let host = view.find("host", host).ok_or_else(|| Failure::new("HOST_OFFLINE", [host]))?;
    if !host.bool("enabled") {
        return Err(Failure::new("HOST_DISABLED", [host.reference()]));
    }
    if !is_live(view, host) {
        return Err(Failure::new("HOST_NOT_LIVE", [""; 0]));
    }
    for vbd in view.follow(vm, "VBDs", "VBD") {
        let Some(vdi) = vbd.ref_opt("VDI").and_then(|vdi| view.find("VDI", vdi)) else { continue };
        if !sees_sr(view, host.reference(), vdi.str("SR")) {
            return Err(Failure::new("VM_REQUIRES_SR", [vm.reference(), vdi.str("SR")]));
        }
    }
    for vif in view.follow(vm, "VIFs", "VIF") {
        let network = vif.str("network");
        let internal = view.find("network", network).is_some_and(|n| n.strs("PIFs").next().is_none());
        let here =
            view.objects("PIF").any(|p| p.str("network") == network && p.str("host") == host.reference());
        if !internal && !here {
            return Err(Failure::new("VM_REQUIRES_NETWORK", [vm.reference(), network]));
        }
    }
    gpu::assert_room(view, vm, host.reference())?;
    sriov::assert_room(view, vm, host.reference())?;
    let (needed, free) = (footprint_bytes(vm), free_memory_bytes(view, host));
    if needed > free {
        return Err(Failure::new("HOST_NOT_ENOUGH_FREE_MEMORY", [needed.to_string(), free.to_string()]));
    }
    Ok(())
}

/// The hosts a VM can run on, its affinity first, then the one with the most free memory.
pub(in crate::classes) fn possible_hosts(view: &View, vm: Object<'_>) -> Vec<String> {
    let mut hosts: Vec<_> =
        view.objects("host").filter(|host| assert_can_run_on(view, vm, host.reference()).is_ok()).collect();
    hosts.sort_by_key(|host| {
        (host.reference() != vm.str("affinity"), std::cmp::Reverse(free_memory_bytes(view, *host)))
    });
    hosts.iter().map(|host| host.reference().to_owned()).collect()
}

/// `host.compute_free_memory`: what is left beside the hypervisor, dom0 and the guests that run there or are
/// about to, in bytes.
pub(crate) fn free_memory_bytes(view: &View, host: Object<'_>) -> i64 {
    let total =
        view.find("host_metrics", host.str("metrics")).map_or(0, |metrics| metrics.int("memory_total"));
    let used: i64 = view
        .objects("VM")
        .filter(|vm| {
            let here = host.reference();
            vm.str("resident_on") == here || vm.str("scheduled_to_be_resident_on") == here
        })
        .map(footprint_bytes)
        .sum();
    total - host.int("memory_overhead") - used
}

fn is_live(view: &View, host: Object<'_>) -> bool {
    view.find("host_metrics", host.str("metrics")).is_none_or(|metrics| metrics.bool("live"))
}

pub(super) fn sees_sr(view: &View, host: &str, sr: &str) -> bool {
    view.objects("PBD")
        .any(|pbd| pbd.str("host") == host && pbd.str("SR") == sr && pbd.bool("currently_attached"))
}

/// A disk that another guest uses must not be used by this one, unless both only read or it may be shared.
///
/// A VBD of a control domain is in nobody's way: XAPI exempts those from the rule.
///
/// # Errors
/// `VDI_IN_USE`.
pub(super) fn assert_disks_free(view: &View, vm: Object<'_>) -> Result<(), Failure> {
    for vbd in view.follow(vm, "VBDs", "VBD") {
        let Some(vdi) = vbd.ref_opt("VDI").and_then(|vdi| view.find("VDI", vdi)) else { continue };
        let writes = |vbd: Object<'_>| vbd.str("mode") == "RW";
        let clash = view.follow(vdi, "VBDs", "VBD").any(|other| {
            other.reference() != vbd.reference()
                && other.str("VM") != vm.reference()
                && other.bool("currently_attached")
                && !vdi.bool("sharable")
                && (writes(other) || writes(vbd))
                && view.find("VM", other.str("VM")).is_some_and(|user| !user.bool("is_control_domain"))
        });
        if clash {
            return Err(Failure::new("VDI_IN_USE", [vdi.reference()]));
        }
    }
    Ok(())
}

/// A paravirtualised guest without a boot loader needs a kernel that is in dom0.
///
/// # Errors
/// `INVALID_VALUE`.
pub(super) fn assert_can_boot(vm: Object<'_>) -> Result<(), Failure> {
    if vm.str("domain_type") != "pv" || !vm.str("PV_bootloader").is_empty() {
        return Ok(());
    }
    // The plugins of dom0 are programs of this machine, and so their files are this machine's.
    let is_missing = |path: &str| !std::path::Path::new(path).is_file();
    let [kernel, ramdisk] = [vm.str("PV_kernel"), vm.str("PV_ramdisk")];
    if is_missing(kernel) {
        return Err(Failure::new("INVALID_VALUE", ["kernel", kernel, "File does not exist"]));
    }
    if !ramdisk.is_empty() && is_missing(ramdisk) {
        return Err(Failure::new("INVALID_VALUE", ["ramdisk", ramdisk, "File does not exist"]));
    }
    Ok(())
}

/// The VM runs, or is paused, on a host, in a new domain.
pub(super) fn started(
    tx: &mut Tx<'_>,
    vm: &str,
    host: &str,
    state: Power,
    guests: &Guests,
    now: &DateTime,
) -> Result<(), Failure> {
    let domid = new_domid(tx, host, guests);
    let object = tx.object("VM", vm)?;
    let hvm = object.str("domain_type") == "hvm";
    let (metrics, vcpus) = (object.str("metrics").to_owned(), object.int("VCPUs_at_startup"));
    // A VM that has run before has lost its target.
    let memory = match object.int("memory_target") {
        0 => object.int("memory_dynamic_max"),
        target => target,
    };
    let mut platform = object.map("platform").clone();
    if hvm {
        platform.entry("device-model".to_owned()).or_insert_with(|| "qemu-upstream-compat".into());
    }
    let firmware_is_new = object.map("bios_strings").is_empty() && hvm;
    tx.set("VM", vm, "platform", Value::Struct(platform))?;
    if firmware_is_new {
        tx.set("VM", vm, "bios_strings", strings(GENERIC_BIOS))?;
    }
    if object_needs_generation(tx.object("VM", vm)?) {
        tx.set("VM", vm, "generation_id", new_generation_id())?;
    }
    tx.set("VM", vm, "last_boot_CPU_flags", strings(&[("vendor", "GenuineIntel"), ("features", "")]))?;
    tx.set("VM", vm, "domid", Value::Int(domid))?;
    tx.set("VM", vm, "memory_target", Value::Int(memory))?;
    tx.set("VM", vm, "resident_on", host)?;
    tx.set("VM", vm, "scheduled_to_be_resident_on", NULL)?;
    set_state(tx, vm, state)?;
    if !guests.keep_xenstore_data {
        tx.set("VM", vm, "xenstore_data", Value::Struct(BTreeMap::new()))?;
    }
    if tx.exists("VM_metrics", &metrics) {
        let kind = if hvm { "hvm" } else { "pv" };
        tx.set("VM_metrics", &metrics, "start_time", Value::DateTime(now.clone()))?;
        tx.set("VM_metrics", &metrics, "VCPUs_number", Value::Int(vcpus))?;
        tx.set("VM_metrics", &metrics, "hvm", Value::Bool(hvm))?;
        tx.set("VM_metrics", &metrics, "current_domain_type", kind)?;
        if guests.report_memory {
            tx.set("VM_metrics", &metrics, "memory_actual", Value::Int(memory))?;
        }
    }
    attach_devices(tx, vm, host)?;
    if guests.have_consoles {
        open_consoles(tx, vm, host)?;
    }
    match (guests.are_real, guests.have_tools) {
        (true, _) => button_report(tx, vm, now),
        (false, true) => tools_report(tx, vm, &address(tx, host, domid), now),
        (false, false) => Ok(()),
    }
}

fn attach_devices(tx: &mut Tx<'_>, vm: &str, host: &str) -> Result<(), Failure> {
    for vbd in refs(tx, vm, "VBDs")? {
        let device = device_name(tx.object("VBD", &vbd)?.str("userdevice"));
        tx.set("VBD", &vbd, "device", device)?;
        tx.set("VBD", &vbd, "currently_attached", Value::Bool(true))?;
    }
    for vif in refs(tx, vm, "VIFs")? {
        tx.set("VIF", &vif, "currently_attached", Value::Bool(true))?;
    }
    let vgpus = refs(tx, vm, "VGPUs")?;
    gpu::attach(tx, &vgpus, host)?;
    gpu::attach_pci(tx, vm, host)
}

/// The number of a new domain. Each host counts its own.
pub(super) fn new_domid(view: &View, host: &str, guests: &Guests) -> i64 {
    let here = view.objects("VM").filter(|vm| vm.str("resident_on") == host);
    guests.next_domid(host, here.map(|vm| vm.int("domid")).max().unwrap_or(0))
}

/// The address that a domain's guest gives itself: no other of the pool has it.
fn address(view: &View, host: &str, domid: i64) -> String {
    let number = view
        .find("host", host)
        .map_or(0, |host| view.objects("host").filter(|other| other.created() < host.created()).count());
    format!("10.{number}.{}.{}", domid / 256, domid % 256)
}

/// All that is known of a guest without Xen's tools that hears its power button.
fn button_report(tx: &mut Tx<'_>, vm: &str, now: &DateTime) -> Result<(), Failure> {
    let features = ["feature-shutdown", "feature-poweroff", "feature-reboot"].map(|feature| (feature, "1"));
    let metrics = tx.create(
        "VM_guest_metrics",
        [
            ("other", strings(&features)),
            ("last_updated", Value::DateTime(now.clone())),
            ("live", Value::Bool(true)),
        ],
    );
    tx.set("VM", vm, "guest_metrics", metrics)
}

/// The hosts lost their guests with their power: nothing that was on is on any more.
///
/// # Errors
/// None, unless the database contradicts itself.
pub(crate) fn power_failed(db: &Db, guests: &Guests) -> Result<(), Failure> {
    db.write(|tx| {
        let on: Vec<String> = tx
            .objects("VM")
            .filter(|vm| matches!(Power::of(*vm), Power::Running | Power::Paused))
            .filter(|vm| !vm.bool("is_control_domain"))
            .map(|vm| vm.reference().to_owned())
            .collect();
        on.iter().try_for_each(|vm| halted(tx, vm, guests))
    })
}

/// A fresh `VM.generation_id`: two random 63-bit numbers.
pub(crate) fn new_generation_id() -> String {
    let id = uuid::Uuid::new_v4().as_u128();
    format!("{}:{}", (id >> 65) as u64, (id as u64) >> 1)
}

fn object_needs_generation(vm: Object<'_>) -> bool {
    matches!(vm.str("generation_id"), "" | "0:0")
}

/// Moves a VM between running and paused.
pub(super) fn set_state(tx: &mut Tx<'_>, vm: &str, state: Power) -> Result<(), Failure> {
    tx.set("VM", vm, "power_state", state.name())?;
    for (set, class) in [("VBDs", "VBD"), ("VIFs", "VIF")] {
        for device in refs(tx, vm, set)? {
            tx.touch(class, &device);
        }
    }
    Ok(())
}

/// The VM's domain is gone and nothing of it is kept.
pub(super) fn halted(tx: &mut Tx<'_>, vm: &str, guests: &Guests) -> Result<(), Failure> {
    leave_host(tx, vm)?;
    for (set, class) in [("VBDs", "VBD"), ("VIFs", "VIF"), ("VGPUs", "VGPU"), ("VUSBs", "VUSB")] {
        for device in refs(tx, vm, set)? {
            if tx.exists(class, &device) {
                tx.set(class, &device, "currently_attached", Value::Bool(false))?;
            }
            if class == "VGPU" && tx.exists(class, &device) {
                tx.set(class, &device, "resident_on", NULL)?;
            }
        }
    }
    let guest_metrics = tx.object("VM", vm)?.str("guest_metrics").to_owned();
    if !guests.keep_guest_metrics && tx.exists("VM_guest_metrics", &guest_metrics) {
        tx.set("VM", vm, "guest_metrics", NULL)?;
        tx.delete("VM_guest_metrics", &guest_metrics);
    }
    tx.set("VM", vm, "requires_reboot", Value::Bool(false))?;
    // What is known of a domain goes with it; a suspended VM has none.
    if Power::of(tx.object("VM", vm)?) != Power::Suspended {
        tx.set("VM", vm, "memory_target", Value::Int(0))?;
        forget_domain(tx, vm)?;
    }
    set_state(tx, vm, Power::Halted)
}

/// The metrics of a VM whose domain is gone: only when it was started is still told.
fn forget_domain(tx: &mut Tx<'_>, vm: &str) -> Result<(), Failure> {
    let metrics = tx.object("VM", vm)?.str("metrics").to_owned();
    if !tx.exists("VM_metrics", &metrics) {
        return Ok(());
    }
    tx.set("VM_metrics", &metrics, "VCPUs_number", Value::Int(0))?;
    tx.set("VM_metrics", &metrics, "hvm", Value::Bool(false))?;
    tx.set("VM_metrics", &metrics, "current_domain_type", "unspecified")
}

/// The VM goes on running on another host, in a new domain.
pub(super) fn moved(tx: &mut Tx<'_>, vm: &str, host: &str, guests: &Guests) -> Result<(), Failure> {
    let domid = new_domid(tx, host, guests);
    tx.set("VM", vm, "domid", Value::Int(domid))?;
    tx.set("VM", vm, "resident_on", host)?;
    let consoles = refs(tx, vm, "consoles")?;
    consoles.iter().for_each(|console| tx.delete("console", console));
    if guests.have_consoles {
        open_consoles(tx, vm, host)?;
    }
    Ok(())
}

/// The VM's memory is on disk; its devices stay attached in name.
pub(super) fn suspended(tx: &mut Tx<'_>, vm: &str, suspend_vdi: &str) -> Result<(), Failure> {
    leave_host(tx, vm)?;
    tx.set("VM", vm, "suspend_VDI", suspend_vdi)?;
    set_state(tx, vm, Power::Suspended)
}

fn leave_host(tx: &mut Tx<'_>, vm: &str) -> Result<(), Failure> {
    tx.set("VM", vm, "domid", Value::Int(-1))?;
    tx.set("VM", vm, "resident_on", NULL)?;
    tx.set("VM", vm, "scheduled_to_be_resident_on", NULL)?;
    tx.set("VM", vm, "attached_PCIs", Value::Array(Vec::new()))?;
    for console in refs(tx, vm, "consoles")? {
        tx.delete("console", &console);
    }
    let metrics = tx.object("VM", vm)?.str("metrics").to_owned();
    if tx.exists("VM_metrics", &metrics) {
        tx.set("VM_metrics", &metrics, "memory_actual", Value::Int(0))?;
    }
    Ok(())
}

fn open_consoles(tx: &mut Tx<'_>, vm: &str, host: &str) -> Result<(), Failure> {
    let address = tx.object("host", host)?.str("address").to_owned();
    for protocol in ["rfb", "vt100"] {
        let console = tx.create("console", [("protocol", protocol.into()), ("VM", vm.into())]);
        tx.set("console", &console, "location", format!("https://{address}/console?ref={console}"))?;
    }
    Ok(())
}

/// What the tools in the guest report once it is up.
fn tools_report(tx: &mut Tx<'_>, vm: &str, address: &str, now: &DateTime) -> Result<(), Failure> {
    let networks = strings(&[("0/ip", address), ("0/ipv4/0", address)]);
    let existing = tx.object("VM", vm)?.str("guest_metrics").to_owned();
    if tx.exists("VM_guest_metrics", &existing) {
        tx.set("VM_guest_metrics", &existing, "networks", networks)?;
        return tx.set("VM_guest_metrics", &existing, "last_updated", Value::DateTime(now.clone()));
    }
    let metrics = tx.create(
        "VM_guest_metrics",
        [
            ("os_version", strings(GUEST_OS)),
            (
                "PV_drivers_version",
                strings(&[("major", "8"), ("minor", "4"), ("micro", "0"), ("build", "1")]),
            ),
            ("PV_drivers_up_to_date", Value::Bool(true)),
            ("PV_drivers_detected", Value::Bool(true)),
            ("networks", networks),
            ("other", strings(GUEST_FEATURES)),
            ("last_updated", Value::DateTime(now.clone())),
            ("live", Value::Bool(true)),
        ],
    );
    tx.set("VM", vm, "guest_metrics", metrics)
}

const GUEST_OS: &[(&str, &str)] = &[
    ("name", "Debian GNU/Linux 12 (bookworm)"),
    ("uname", "6.1.0-18-amd64"),
    ("distro", "debian"),
    ("major", "12"),
    ("minor", "0"),
];

const GUEST_FEATURES: &[(&str, &str)] = &[
    ("feature-shutdown", "1"),
    ("feature-reboot", "1"),
    ("feature-poweroff", "1"),
    ("feature-suspend", "1"),
    ("feature-vcpu-hotplug", "1"),
];

/// The firmware's texts unless somebody chose others.
pub(super) const GENERIC_BIOS: &[(&str, &str)] = &[
    ("bios-vendor", "Xen"),
    ("bios-version", ""),
    ("system-manufacturer", "Xen"),
    ("system-product-name", "HVM domU"),
    ("system-version", ""),
    ("system-serial-number", ""),
    ("baseboard-manufacturer", ""),
    ("baseboard-product-name", ""),
    ("baseboard-version", ""),
    ("baseboard-serial-number", ""),
    ("baseboard-asset-tag", ""),
    ("baseboard-location-in-chassis", ""),
    ("enclosure-asset-tag", ""),
    ("hp-rombios", ""),
    ("oem-1", "Xen"),
    ("oem-2", "MS_VM_CERT/SHA1/bdbeb6e0a816d43fa6d3fe8aaef04c2bad9d3e3d"),
];

/// A map of texts.
pub(super) fn strings(pairs: &[(&str, &str)]) -> Value {
    Value::Struct(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect())
}

/// The members of a set of references of a VM.
pub(super) fn refs(view: &View, vm: &str, set: &str) -> Result<Vec<String>, Failure> {
    Ok(view.object("VM", vm)?.strs(set).map(str::to_owned).collect())
}

/// The guest's name of a block device: `xvda` for 0, `xvdaa` for 26; a name is taken as it is.
pub(crate) fn device_name(userdevice: &str) -> String {
    let Ok(mut number) = userdevice.parse::<u32>() else { return userdevice.to_owned() };
    let mut letters = Vec::new();
    loop {
        letters.push(char::from(b'a' + (number % 26) as u8));
        if number < 26 {
            break;
        }
        number = number / 26 - 1;
    }
    letters.iter().rev().fold("xvd".to_owned(), |name, letter| name + &letter.to_string())
}

#[cfg(test)]
mod tests {
    use super::device_name;

    #[test]
    fn device_names() {
        for (number, name) in
            [("0", "xvda"), ("3", "xvdd"), ("25", "xvdz"), ("26", "xvdaa"), ("xvdc", "xvdc")]
        {
            assert_eq!(device_name(number), name);
        }
    }
}
