//! `Driver_variant`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `Driver_variant`. Since XAPI 25.2.0. Prototype: may change.
        class DriverVariant is Listed;
        /// The record of a `Driver_variant`, as `get_record` returns it.
        "Driver_variant" DriverVariantRecord {
            /// `string`, read-only. Since XAPI 25.2.0.
            0 "uuid" [opt] uuid: Option<String>;
            /// `string`, read-only. Since XAPI 25.2.0.
            1 "name" [opt] name: Option<String>;
            /// `Host_driver ref`, read-only. Since XAPI 25.2.0.
            2 "driver" [opt] driver: Option<Ref<HostDriver>>;
            /// `string`, read-only. Since XAPI 25.2.0.
            3 "version" [opt] version: Option<String>;
            /// `bool`, read-only. Since XAPI 25.2.0.
            4 "hardware_present" [opt] hardware_present: Option<bool>;
            /// `float`, read-only. Since XAPI 25.2.0.
            5 "priority" [opt] priority: Option<f64>;
            /// `string`, read-only. Since XAPI 25.2.0.
            6 "status" [opt] status: Option<String>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `Driver_variant.select`, returns `void`. Since XAPI 25.2.0. Least role: pool-admin.
    "Driver_variant.select" Select -> () {
        /// `Driver_variant ref`
        driver_variant: Ref<DriverVariant>,
    }
}

/// Names of the fields of `Driver_variant`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        DriverVariant;
        ro UUID "uuid" String;
        ro NAME "name" String;
        ro DRIVER "driver" Ref<HostDriver>;
        ro VERSION "version" String;
        ro HARDWARE_PRESENT "hardware_present" bool;
        ro PRIORITY "priority" f64;
        ro STATUS "status" String;
    }
}
