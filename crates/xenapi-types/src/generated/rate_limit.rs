//! `Rate_limit`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `Rate_limit`. Since XAPI 26.17.0. Prototype: may change.
        class RateLimit is Listed Labelled;
        /// The record of a `Rate_limit`, as `get_record` returns it.
        "Rate_limit" RateLimitRecord {
            /// `string`, read-only. Since XAPI 26.17.0.
            0 "uuid" [opt] uuid: Option<String>;
            /// `string`, read-write. Since XAPI 26.17.0.
            1 "name_label" [opt] name_label: Option<String>;
            /// `string`, read-write. Since XAPI 26.17.0.
            2 "name_description" [opt] name_description: Option<String>;
            /// `Caller ref set`, read-only. Since XAPI 26.17.0.
            3 "callers" [opt] callers: Option<Vec<Ref<Caller>>>;
            /// `float`, set by `create` only. Since XAPI 26.17.0.
            4 "burst_size" [opt] burst_size: Option<f64>;
            /// `float`, set by `create` only. Since XAPI 26.17.0.
            5 "fill_rate" [opt] fill_rate: Option<f64>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

create! {
    /// `Rate_limit.create`: makes an object from its constructor fields. Least role: pool-operator.
    "Rate_limit.create" Create -> Ref<RateLimit> {
        /// `string`, has a default. Since XAPI 26.17.0.
        0 "name_label" [opt] name_label: Option<String>;
        /// `string`, has a default. Since XAPI 26.17.0.
        1 "name_description" [opt] name_description: Option<String>;
        /// `float`, has a default. Since XAPI 26.17.0.
        2 "burst_size" [opt] burst_size: Option<f64>;
        /// `float`, has a default. Since XAPI 26.17.0.
        3 "fill_rate" [opt] fill_rate: Option<f64>;
    }
}

call! {
    /// `Rate_limit.destroy`: removes an object. Least role: pool-operator.
    "Rate_limit.destroy" Destroy -> () {
        /// `Rate_limit ref`
        rate_limit: Ref<RateLimit>,
    }
}

call! {
    /// `Rate_limit.add_caller`, returns `void`. Since XAPI 26.17.0. Least role: pool-admin.
    "Rate_limit.add_caller" AddCaller -> () {
        /// `Rate_limit ref`
        rate_limit: Ref<RateLimit>,
        /// `Caller ref`
        caller: Ref<Caller>,
    }
}

call! {
    /// `Rate_limit.remove_caller`, returns `void`. Since XAPI 26.17.0. Least role: pool-admin.
    "Rate_limit.remove_caller" RemoveCaller -> () {
        /// `Rate_limit ref`
        rate_limit: Ref<RateLimit>,
        /// `Caller ref`
        caller: Ref<Caller>,
    }
}

call! {
    /// `Rate_limit.set_burst_size`, returns `void`. Since XAPI 26.17.0. Least role: pool-admin.
    "Rate_limit.set_burst_size" SetBurstSize -> () {
        /// `Rate_limit ref`
        rate_limit: Ref<RateLimit>,
        /// `float`
        value: f64,
    }
}

call! {
    /// `Rate_limit.set_fill_rate`, returns `void`. Since XAPI 26.17.0. Least role: pool-admin.
    "Rate_limit.set_fill_rate" SetFillRate -> () {
        /// `Rate_limit ref`
        rate_limit: Ref<RateLimit>,
        /// `float`
        value: f64,
    }
}

/// Names of the fields of `Rate_limit`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        RateLimit;
        ro UUID "uuid" String;
        rw NAME_LABEL "name_label" String;
        rw NAME_DESCRIPTION "name_description" String;
        ro CALLERS "callers" Vec<Ref<Caller>>;
        ro BURST_SIZE "burst_size" f64;
        ro FILL_RATE "fill_rate" f64;
    }
}
