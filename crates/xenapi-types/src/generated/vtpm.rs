//! `VTPM`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `VTPM`. Since XAPI 22.26.0. Prototype: may change.
        class Vtpm is Listed;
        /// The record of a `VTPM`, as `get_record` returns it.
        "VTPM" VtpmRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `enum vtpm_operations set`, read-only.
            1 "allowed_operations" allowed_operations: Vec<VtpmOperations>;
            /// `(string -> enum vtpm_operations) map`, read-only.
            2 "current_operations" current_operations: BTreeMap<String, VtpmOperations>;
            /// `VM ref`, set by `create` only.
            3 "VM" vm: Ref<Vm>;
            /// `VM ref`, read-only.
            4 "backend" backend: Ref<Vm>;
            /// `enum persistence_backend`, read-only. Since XAPI 22.26.0. Prototype: may change.
            5 "persistence_backend" [opt] persistence_backend: Option<PersistenceBackend>;
            /// `bool`, set by `create` only. Since XAPI 22.26.0. Prototype: may change.
            6 "is_unique" [opt] is_unique: Option<bool>;
            /// `bool`, read-only. Since XAPI 22.26.0. Prototype: may change.
            7 "is_protected" [opt] is_protected: Option<bool>;
        }
    }

    open_enum! {
        /// `enum persistence_backend`
        PersistenceBackend {
            Xapi "xapi",
        }
    }

    open_enum! {
        /// `enum vtpm_operations`
        VtpmOperations {
            Destroy "destroy",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `VTPM.destroy`, returns `void`. Since XAPI 22.26.0. Prototype: may change. Least role:
    /// vm-admin.
    "VTPM.destroy" Destroy -> () {
        /// `VTPM ref`
        vtpm: Ref<Vtpm>,
    }
}

call! {
    /// `VTPM.create`, returns `VTPM ref`. Since XAPI 22.26.0. Prototype: may change. Least role:
    /// vm-admin.
    "VTPM.create" Create -> Ref<Vtpm> {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `bool`
        is_unique: bool,
    }
}

/// Names of the fields of `VTPM`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Vtpm;
        ro UUID "uuid" String;
        ro ALLOWED_OPERATIONS "allowed_operations" Vec<VtpmOperations>;
        ro CURRENT_OPERATIONS "current_operations" BTreeMap<String, VtpmOperations>;
        ro VM "VM" Ref<Vm>;
        ro BACKEND "backend" Ref<Vm>;
        ro PERSISTENCE_BACKEND "persistence_backend" PersistenceBackend;
        ro IS_UNIQUE "is_unique" bool;
        ro IS_PROTECTED "is_protected" bool;
    }
}
