//! What a VM's memory costs its host.

use crate::db::Object;

const MIB: i64 = 1 << 20;
const PAGES_PER_MIB: i64 = 256;

/// `VM.memory_overhead` in bytes: the domain's own structures and its shadow or HAP tables.
///
/// XAPI reserves a page for each of 256 per vCPU and two for each MiB of memory, and a fixed part that
/// depends on the kind of domain.
pub(super) fn overhead_bytes(vm: Object<'_>) -> i64 {
    // Each rounded up to MiB; nonsense below zero counts as nothing.
    let static_mib = (vm.int("memory_static_max").max(0) + MIB - 1) / MIB;
    let pages = PAGES_PER_MIB * vm.int("VCPUs_max").max(0) + 2 * static_mib;
    let shadow_mib = (pages as f64 * vm.float("HVM_shadow_multiplier") / PAGES_PER_MIB as f64).ceil() as i64;
    let fixed_mib = if vm.str("domain_type") == "hvm" { 3 } else { 2 };
    (shadow_mib + fixed_mib) * MIB
}

/// What a running VM takes from its host, in bytes.
pub(super) fn footprint_bytes(vm: Object<'_>) -> i64 {
    vm.int("memory_dynamic_max").max(vm.int("memory_dynamic_min")) + overhead_bytes(vm)
}
