//! `Host_driver`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `Host_driver`. Since XAPI 25.2.0. Prototype: may change.
        class HostDriver is Listed;
        /// The record of a `Host_driver`, as `get_record` returns it.
        "Host_driver" HostDriverRecord {
            /// `string`, read-only. Since XAPI 25.2.0.
            0 "uuid" [opt] uuid: Option<String>;
            /// `host ref`, read-only. Since XAPI 25.2.0.
            1 "host" [opt] host: Option<Ref<Host>>;
            /// `string`, read-only. Since XAPI 25.2.0.
            2 "name" [opt] name: Option<String>;
            /// `string`, read-only. Since XAPI 25.2.0.
            3 "friendly_name" [opt] friendly_name: Option<String>;
            /// `Driver_variant ref set`, read-only. Since XAPI 25.2.0.
            4 "variants" [opt] variants: Option<Vec<Ref<DriverVariant>>>;
            /// `Driver_variant ref`, read-only. Since XAPI 25.2.0.
            5 "active_variant" [opt] active_variant: Option<Ref<DriverVariant>>;
            /// `Driver_variant ref`, read-only. Since XAPI 25.2.0.
            6 "selected_variant" [opt] selected_variant: Option<Ref<DriverVariant>>;
            /// `string`, read-only. Since XAPI 25.2.0.
            7 "type" [opt] r#type: Option<String>;
            /// `string`, read-only. Since XAPI 25.2.0.
            8 "description" [opt] description: Option<String>;
            /// `string`, read-only. Since XAPI 25.2.0.
            9 "info" [opt] info: Option<String>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `Host_driver.select`, returns `void`. Since XAPI 25.2.0. Least role: pool-admin.
    "Host_driver.select" Select -> () {
        /// `Host_driver ref`
        host_driver: Ref<HostDriver>,
        /// `Driver_variant ref`
        variant: Ref<DriverVariant>,
    }
}

call! {
    /// `Host_driver.deselect`, returns `void`. Since XAPI 25.2.0. Least role: pool-admin.
    "Host_driver.deselect" Deselect -> () {
        /// `Host_driver ref`
        host_driver: Ref<HostDriver>,
    }
}

call! {
    /// `Host_driver.rescan`, returns `void`. Since XAPI 25.2.0. Least role: pool-admin.
    "Host_driver.rescan" Rescan -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

/// Names of the fields of `Host_driver`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        HostDriver;
        ro UUID "uuid" String;
        ro HOST "host" Ref<Host>;
        ro NAME "name" String;
        ro FRIENDLY_NAME "friendly_name" String;
        ro VARIANTS "variants" Vec<Ref<DriverVariant>>;
        ro ACTIVE_VARIANT "active_variant" Ref<DriverVariant>;
        ro SELECTED_VARIANT "selected_variant" Ref<DriverVariant>;
        ro TYPE "type" String;
        ro DESCRIPTION "description" String;
        ro INFO "info" String;
    }
}
