//! `VM_appliance`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `VM_appliance`. Since XenServer 6.0 (boston).
        class VmAppliance is Listed Labelled;
        /// The record of a `VM_appliance`, as `get_record` returns it.
        "VM_appliance" VmApplianceRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `string`, read-write.
            1 "name_label" name_label: String;
            /// `string`, read-write.
            2 "name_description" name_description: String;
            /// `enum vm_appliance_operation set`, read-only.
            3 "allowed_operations" allowed_operations: Vec<VmApplianceOperation>;
            /// `(string -> enum vm_appliance_operation) map`, read-only.
            4 "current_operations" current_operations: BTreeMap<String, VmApplianceOperation>;
            /// `VM ref set`, read-only.
            5 "VMs" vms: Vec<Ref<Vm>>;
        }
    }

    open_enum! {
        /// `enum vm_appliance_operation`
        VmApplianceOperation {
            Start "start",
            CleanShutdown "clean_shutdown",
            HardShutdown "hard_shutdown",
            Shutdown "shutdown",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

create! {
    /// `VM_appliance.create`: makes an object from its constructor fields. Least role:
    /// pool-operator.
    "VM_appliance.create" Create -> Ref<VmAppliance> {
        /// `string`, has a default.
        0 "name_label" name_label: String;
        /// `string`, has a default.
        1 "name_description" name_description: String;
    }
}

call! {
    /// `VM_appliance.destroy`: removes an object. Least role: pool-operator.
    "VM_appliance.destroy" Destroy -> () {
        /// `VM_appliance ref`
        vm_appliance: Ref<VmAppliance>,
    }
}

call! {
    /// `VM_appliance.recover`, returns `void`. Since XenServer 6.0 (boston). Least role: read-only.
    /// Fails with `VM_REQUIRES_SR`, among others.
    "VM_appliance.recover" Recover -> () {
        /// `VM_appliance ref`
        vm_appliance: Ref<VmAppliance>,
        /// `session ref`
        [secret] session_to: Ref<Session>,
        /// `bool`
        force: bool,
    }
}

call! {
    /// `VM_appliance.get_SRs_required_for_recovery`, returns `SR ref set`. Since XenServer 6.5
    /// (creedence). Least role: read-only.
    "VM_appliance.get_SRs_required_for_recovery" GetSrsRequiredForRecovery -> Vec<Ref<Sr>> {
        /// `VM_appliance ref`
        vm_appliance: Ref<VmAppliance>,
        /// `session ref`
        [secret] session_to: Ref<Session>,
    }
}

call! {
    /// `VM_appliance.assert_can_be_recovered`, returns `void`. Since XenServer 6.0 (boston). Least
    /// role: read-only. Fails with `VM_REQUIRES_SR`, among others.
    "VM_appliance.assert_can_be_recovered" AssertCanBeRecovered -> () {
        /// `VM_appliance ref`
        vm_appliance: Ref<VmAppliance>,
        /// `session ref`
        [secret] session_to: Ref<Session>,
    }
}

call! {
    /// `VM_appliance.shutdown`, returns `void`. Since XenServer 6.0 (boston). Least role:
    /// pool-operator. Fails with `OPERATION_PARTIALLY_FAILED`, among others.
    "VM_appliance.shutdown" Shutdown -> () {
        /// `VM_appliance ref`
        vm_appliance: Ref<VmAppliance>,
    }
}

call! {
    /// `VM_appliance.hard_shutdown`, returns `void`. Since XenServer 6.0 (boston). Least role:
    /// pool-operator. Fails with `OPERATION_PARTIALLY_FAILED`, among others.
    "VM_appliance.hard_shutdown" HardShutdown -> () {
        /// `VM_appliance ref`
        vm_appliance: Ref<VmAppliance>,
    }
}

call! {
    /// `VM_appliance.clean_shutdown`, returns `void`. Since XenServer 6.0 (boston). Least role:
    /// pool-operator. Fails with `OPERATION_PARTIALLY_FAILED`, among others.
    "VM_appliance.clean_shutdown" CleanShutdown -> () {
        /// `VM_appliance ref`
        vm_appliance: Ref<VmAppliance>,
    }
}

call! {
    /// `VM_appliance.start`, returns `void`. Since XenServer 6.0 (boston). Least role:
    /// pool-operator. Fails with `OPERATION_PARTIALLY_FAILED`, among others.
    "VM_appliance.start" Start -> () {
        /// `VM_appliance ref`
        vm_appliance: Ref<VmAppliance>,
        /// `bool`
        paused: bool,
    }
}

/// Names of the fields of `VM_appliance`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        VmAppliance;
        ro UUID "uuid" String;
        rw NAME_LABEL "name_label" String;
        rw NAME_DESCRIPTION "name_description" String;
        ro ALLOWED_OPERATIONS "allowed_operations" Vec<VmApplianceOperation>;
        ro CURRENT_OPERATIONS "current_operations" BTreeMap<String, VmApplianceOperation>;
        ro VMS "VMs" Vec<Ref<Vm>>;
    }
}
