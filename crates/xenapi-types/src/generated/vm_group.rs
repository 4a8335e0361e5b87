//! `VM_group`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `VM_group`. Since XAPI 24.19.1. Prototype: may change.
        class VmGroup is Listed Labelled;
        /// The record of a `VM_group`, as `get_record` returns it.
        "VM_group" VmGroupRecord {
            /// `string`, read-only. Since XAPI 24.19.1.
            0 "uuid" [opt] uuid: Option<String>;
            /// `string`, read-write. Since XAPI 24.19.1.
            1 "name_label" [opt] name_label: Option<String>;
            /// `string`, read-write. Since XAPI 24.19.1.
            2 "name_description" [opt] name_description: Option<String>;
            /// `enum placement_policy`, set by `create` only. Since XAPI 24.19.1.
            3 "placement" [opt] placement: Option<PlacementPolicy>;
            /// `VM ref set`, read-only. Since XAPI 24.19.1.
            4 "VMs" [opt] vms: Option<Vec<Ref<Vm>>>;
        }
    }

    open_enum! {
        /// `enum placement_policy`
        PlacementPolicy {
            AntiAffinity "anti_affinity",
            Normal "normal",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

create! {
    /// `VM_group.create`: makes an object from its constructor fields. Least role: vm-admin.
    "VM_group.create" Create -> Ref<VmGroup> {
        /// `string`, has a default. Since XAPI 24.19.1.
        0 "name_label" [opt] name_label: Option<String>;
        /// `string`, has a default. Since XAPI 24.19.1.
        1 "name_description" [opt] name_description: Option<String>;
        /// `enum placement_policy`, has a default. Since XAPI 24.19.1.
        2 "placement" [opt] placement: Option<PlacementPolicy>;
    }
}

call! {
    /// `VM_group.destroy`: removes an object. Least role: vm-admin.
    "VM_group.destroy" Destroy -> () {
        /// `VM_group ref`
        vm_group: Ref<VmGroup>,
    }
}

/// Names of the fields of `VM_group`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        VmGroup;
        ro UUID "uuid" String;
        rw NAME_LABEL "name_label" String;
        rw NAME_DESCRIPTION "name_description" String;
        ro PLACEMENT "placement" PlacementPolicy;
        ro VMS "VMs" Vec<Ref<Vm>>;
    }
}
