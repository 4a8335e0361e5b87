//! `VM_metrics`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `VM_metrics`.
        class VmMetrics is Listed;
        /// The record of a `VM_metrics`, as `get_record` returns it.
        "VM_metrics" VmMetricsRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `int`, read-only.
            1 "memory_actual" memory_actual: i64;
            /// `int`, read-only.
            2 "VCPUs_number" vcpus_number: i64;
            /// `(int -> float) map`, read-only. Removed in XenServer 6.1 (tampa).
            3 "VCPUs_utilisation" vcpus_utilisation: BTreeMap<i64, f64>;
            /// `(int -> int) map`, read-only.
            4 "VCPUs_CPU" vcpus_cpu: BTreeMap<i64, i64>;
            /// `(string -> string) map`, read-only.
            5 "VCPUs_params" vcpus_params: BTreeMap<String, String>;
            /// `(int -> string set) map`, read-only.
            6 "VCPUs_flags" vcpus_flags: BTreeMap<i64, Vec<String>>;
            /// `string set`, read-only.
            7 "state" state: Vec<String>;
            /// `datetime`, read-only.
            8 "start_time" start_time: DateTime;
            /// `datetime`, read-only.
            9 "install_time" install_time: DateTime;
            /// `datetime`, read-only.
            10 "last_updated" last_updated: DateTime;
            /// `(string -> string) map`, read-write. Since XenServer 5.0 (orlando).
            11 "other_config" other_config: BTreeMap<String, String>;
            /// `bool`, read-only. Since XenServer 7.1 (ely).
            12 "hvm" hvm: bool;
            /// `bool`, read-only. Since XenServer 7.1 (ely).
            13 "nested_virt" nested_virt: bool;
            /// `bool`, read-only. Since XenServer 7.1 (ely).
            14 "nomigrate" nomigrate: bool;
            /// `enum domain_type`, read-only. Since XenServer 7.5 (kolkata).
            15 "current_domain_type" current_domain_type: DomainType = DomainType::Unspecified;
            /// `bool`, read-only. Since XAPI 26.2.0.
            16 "numa_optimised" [opt] numa_optimised: Option<bool>;
            /// `int`, read-only. Since XAPI 26.2.0.
            17 "numa_nodes" [opt] numa_nodes: Option<i64>;
            /// `(int -> int) map`, read-only. Since XAPI 26.2.0.
            18 "numa_node_memory" [opt] numa_node_memory: Option<BTreeMap<i64, i64>>;
        }
    }
}

/// Names of the fields of `VM_metrics`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        VmMetrics;
        ro UUID "uuid" String;
        ro MEMORY_ACTUAL "memory_actual" i64;
        ro VCPUS_NUMBER "VCPUs_number" i64;
        ro VCPUS_UTILISATION "VCPUs_utilisation" BTreeMap<i64, f64>;
        ro VCPUS_CPU "VCPUs_CPU" BTreeMap<i64, i64>;
        ro VCPUS_PARAMS "VCPUs_params" BTreeMap<String, String>;
        ro VCPUS_FLAGS "VCPUs_flags" BTreeMap<i64, Vec<String>>;
        ro STATE "state" Vec<String>;
        ro START_TIME "start_time" DateTime;
        ro INSTALL_TIME "install_time" DateTime;
        ro LAST_UPDATED "last_updated" DateTime;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro HVM "hvm" bool;
        ro NESTED_VIRT "nested_virt" bool;
        ro NOMIGRATE "nomigrate" bool;
        ro CURRENT_DOMAIN_TYPE "current_domain_type" DomainType;
        ro NUMA_OPTIMISED "numa_optimised" bool;
        ro NUMA_NODES "numa_nodes" i64;
        ro NUMA_NODE_MEMORY "numa_node_memory" BTreeMap<i64, i64>;
    }
}
