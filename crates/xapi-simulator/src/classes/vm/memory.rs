//! What a VM's memory costs its host.

use crate::db::Object;

const MIB: i64 = 1 << 20;
const PAGES_PER_MIB: i64 = 256;

/// Pages that a domain takes for each vCPU beside its tables. That 64 of them take 10 MiB is recorded, and that one
/// or two take 1: that leaves 37 to 40.
const PAGES_PER_VCPU: i64 = 40;

/// So many vCPUs are reckoned with when a VM may get more of them.
pub(super) const MANY_VCPUS: i64 = 64;

/// `VM.memory_overhead` in bytes: the domain's own structures and its shadow or HAP tables.
pub(super) fn overhead_bytes(vm: Object<'_>) -> i64 {
    // Each rounded up to MiB; nonsense below zero counts as nothing.
    let static_mib = (vm.int("memory_static_max").max(0) + MIB - 1) / MIB;
    overhead_mib(vm, static_mib, vm.int("VCPUs_max").max(0)) * MIB
}

/// XAPI reserves a page for each of 256 per vCPU and two for each MiB of memory, and a fixed part that
/// depends on the kind of domain.
fn overhead_mib(vm: Object<'_>, static_mib: i64, vcpus: i64) -> i64 {
    let pages = PAGES_PER_MIB * vcpus + 2 * static_mib;
    let shadow_mib = (pages as f64 * vm.float("HVM_shadow_multiplier") / PAGES_PER_MIB as f64).ceil() as i64;
    let fixed_mib = if vm.str("domain_type") == "hvm" { 2 } else { 1 };
    let vcpus_mib = (vcpus.max(1) * PAGES_PER_VCPU + PAGES_PER_MIB - 1) / PAGES_PER_MIB;
    shadow_mib + fixed_mib + vcpus_mib
}

/// The largest `memory_static_max` with which a VM of so many vCPUs fits into so many bytes, in whole MiB.
pub(super) fn largest_static_max(vm: Object<'_>, vcpus: i64, total: i64) -> i64 {
    let fits = |mib: i64| mib + overhead_mib(vm, mib, vcpus) <= total / MIB;
    let (mut low, mut high) = (0, (total / MIB).max(0));
    while low < high {
        let middle = (low + high + 1) / 2;
        if fits(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low * MIB
}

/// What a running VM takes from its host, in bytes.
pub(super) fn footprint_bytes(vm: Object<'_>) -> i64 {
    vm.int("memory_dynamic_max").max(vm.int("memory_dynamic_min")) + overhead_bytes(vm)
}
