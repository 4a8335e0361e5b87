//! `network_sriov`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `network_sriov`. Since XenServer 7.5 (kolkata).
        class NetworkSriov is Listed;
        /// The record of a `network_sriov`, as `get_record` returns it.
        "network_sriov" NetworkSriovRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `PIF ref`, set by `create` only. Since XenServer 7.5 (kolkata).
            1 "physical_PIF" physical_pif: Ref<Pif>;
            /// `PIF ref`, set by `create` only. Since XenServer 7.5 (kolkata).
            2 "logical_PIF" logical_pif: Ref<Pif>;
            /// `bool`, read-only. Since XenServer 7.5 (kolkata).
            3 "requires_reboot" requires_reboot: bool;
            /// `enum sriov_configuration_mode`, read-only. Since XenServer 7.5 (kolkata).
            4 "configuration_mode" configuration_mode: SriovConfigurationMode = SriovConfigurationMode::NotKnown;
        }
    }

    open_enum! {
        /// `enum sriov_configuration_mode`
        SriovConfigurationMode {
            Sysfs "sysfs",
            Modprobe "modprobe",
            Manual "manual",
            NotKnown "unknown",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `network_sriov.get_remaining_capacity`, returns `int`. Since XenServer 7.5 (kolkata). Least
    /// role: read-only.
    "network_sriov.get_remaining_capacity" GetRemainingCapacity -> i64 {
        /// `network_sriov ref`
        network_sriov: Ref<NetworkSriov>,
    }
}

call! {
    /// `network_sriov.destroy`, returns `void`. Since XenServer 7.5 (kolkata). Least role:
    /// pool-operator.
    "network_sriov.destroy" Destroy -> () {
        /// `network_sriov ref`
        network_sriov: Ref<NetworkSriov>,
    }
}

call! {
    /// `network_sriov.create`, returns `network_sriov ref`. Since XenServer 7.5 (kolkata). Least
    /// role: pool-operator.
    "network_sriov.create" Create -> Ref<NetworkSriov> {
        /// `PIF ref`
        pif: Ref<Pif>,
        /// `network ref`
        network: Ref<Network>,
    }
}

/// Names of the fields of `network_sriov`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        NetworkSriov;
        ro UUID "uuid" String;
        ro PHYSICAL_PIF "physical_PIF" Ref<Pif>;
        ro LOGICAL_PIF "logical_PIF" Ref<Pif>;
        ro REQUIRES_REBOOT "requires_reboot" bool;
        ro CONFIGURATION_MODE "configuration_mode" SriovConfigurationMode;
    }
}
