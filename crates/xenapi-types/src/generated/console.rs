//! `console`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `console`.
        class Console is Listed;
        /// The record of a `console`, as `get_record` returns it.
        "console" ConsoleRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `enum console_protocol`, read-only.
            1 "protocol" protocol: ConsoleProtocol;
            /// `string`, read-only.
            2 "location" location: String;
            /// `VM ref`, read-only.
            3 "VM" vm: Ref<Vm>;
            /// `(string -> string) map`, read-write.
            4 "other_config" other_config: BTreeMap<String, String>;
        }
    }

    open_enum! {
        /// `enum console_protocol`
        ConsoleProtocol {
            Vt100 "vt100",
            Rfb "rfb",
            Rdp "rdp",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

create! {
    /// `console.create`: makes an object from its constructor fields. Least role: vm-admin.
    "console.create" Create -> Ref<Console> {
        /// `(string -> string) map`, required.
        0 "other_config" other_config: BTreeMap<String, String>;
    }
}

call! {
    /// `console.destroy`: removes an object. Least role: vm-admin.
    "console.destroy" Destroy -> () {
        /// `console ref`
        console: Ref<Console>,
    }
}

/// Names of the fields of `console`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Console;
        ro UUID "uuid" String;
        ro PROTOCOL "protocol" ConsoleProtocol;
        ro LOCATION "location" String;
        ro VM "VM" Ref<Vm>;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
    }
}
