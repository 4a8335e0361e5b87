//! What a guest takes from its host's memory: more than it is given.
//!
//! XAPI starts a guest where there is room for its `memory_dynamic_max` and for its `memory_overhead`: the tables
//! by which the processor finds its pages, and what the hypervisor and the device model keep for the domain. A guest that
//! only just fits by its own memory is refused at its start, when its disks are filled already.

use xenapi_types::VmRecord;

const MIB: u64 = 1 << 20;
const PAGES_PER_MIB: u64 = 256;
/// Pages of the table for each vCPU, and what the hypervisor keeps beside them: XAPI tells 10 MiB for 64 vCPUs.
const PAGES_PER_VCPU: u64 = 256 + 40;
/// Pages of the table for each MiB of the guest.
const PAGES_PER_GUEST_MIB: u64 = 2;
/// What every domain costs: that of one with a device model, which is the larger.
const FIXED_MIB: u64 = 2;

/// What a guest that is not there yet will take, in bytes, by XAPI's own reckoning for a `HVM_shadow_multiplier` of 1,
/// each of its parts rounded up to whole MiB.
pub(crate) fn needed_bytes(memory_bytes: u64, vcpus: u32) -> u64 {
    let guest_mib = memory_bytes.div_ceil(MIB);
    let pages = u64::from(vcpus.max(1)) * PAGES_PER_VCPU + guest_mib * PAGES_PER_GUEST_MIB;
    // Two parts are rounded.
    let overhead_mib = pages.div_ceil(PAGES_PER_MIB) + 1 + FIXED_MIB;
    memory_bytes.saturating_add(overhead_mib * MIB)
}

/// What a guest takes where it runs, or would take as it is, in bytes.
pub(crate) fn taken_bytes(vm: &VmRecord) -> u64 {
    let bytes = |n: i64| u64::try_from(n).unwrap_or(0);
    bytes(vm.memory_dynamic_max).saturating_add(bytes(vm.memory_overhead))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_less_than_what_xapi_tells() {
        // (memory in MiB, vCPUs, VM.memory_overhead in MiB of an HVM guest)
        for (mib, vcpus, told_mib) in
            [(1, 1, 5), (512, 1, 8), (1_024, 1, 12), (4_096, 4, 39), (32_768, 64, 332)]
        {
            let needed_mib = needed_bytes(mib * MIB, vcpus) / MIB - mib;
            assert!(
                (told_mib..=told_mib + 2).contains(&needed_mib),
                "{mib} MiB, {vcpus} vCPUs: {needed_mib}"
            );
        }
        assert_eq!(needed_bytes(u64::MAX, 1), u64::MAX);
    }
}
