//! `Caller`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `Caller`. Since XAPI 26.17.0. Prototype: may change.
        class Caller is Listed Labelled;
        /// The record of a `Caller`, as `get_record` returns it.
        "Caller" CallerRecord {
            /// `string`, read-only. Since XAPI 26.17.0.
            0 "uuid" [opt] uuid: Option<String>;
            /// `string`, read-write. Since XAPI 26.17.0.
            1 "name_label" [opt] name_label: Option<String>;
            /// `string`, read-write. Since XAPI 26.17.0.
            2 "name_description" [opt] name_description: Option<String>;
            /// `string`, set by `create` only. Since XAPI 26.17.0.
            3 "user_agent" [opt] user_agent: Option<String>;
            /// `string`, set by `create` only. Since XAPI 26.17.0.
            4 "client_ip" [opt] client_ip: Option<String>;
            /// `datetime`, read-only. Since XAPI 26.17.0.
            5 "last_access" [opt] last_access: Option<DateTime>;
            /// `string set`, read-only. Since XAPI 26.17.0.
            6 "groups" [opt] groups: Option<Vec<String>>;
            /// `Rate_limit ref`, read-only. Since XAPI 26.17.0.
            7 "rate_limit" [opt] rate_limit: Option<Ref<RateLimit>>;
            /// `bool`, read-only. Since XAPI 26.17.0.
            8 "auto_registered" [opt] auto_registered: Option<bool>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

create! {
    /// `Caller.create`: makes an object from its constructor fields. Least role: pool-operator.
    "Caller.create" Create -> Ref<Caller> {
        /// `string`, has a default. Since XAPI 26.17.0.
        0 "name_label" [opt] name_label: Option<String>;
        /// `string`, has a default. Since XAPI 26.17.0.
        1 "name_description" [opt] name_description: Option<String>;
        /// `string`, has a default. Since XAPI 26.17.0.
        2 "user_agent" [opt] user_agent: Option<String>;
        /// `string`, has a default. Since XAPI 26.17.0.
        3 "client_ip" [opt] client_ip: Option<String>;
    }
}

call! {
    /// `Caller.destroy`: removes an object. Least role: pool-operator.
    "Caller.destroy" Destroy -> () {
        /// `Caller ref`
        caller: Ref<Caller>,
    }
}

call! {
    /// `Caller.add_group`, returns `void`. Since XAPI 26.17.0. Least role: pool-operator.
    "Caller.add_group" AddGroup -> () {
        /// `Caller ref`
        caller: Ref<Caller>,
        /// `string`
        group: String,
    }
}

call! {
    /// `Caller.remove_group`, returns `void`. Since XAPI 26.17.0. Least role: pool-operator.
    "Caller.remove_group" RemoveGroup -> () {
        /// `Caller ref`
        caller: Ref<Caller>,
        /// `string`
        group: String,
    }
}

call! {
    /// `Caller.query_token_usage`, returns `float`. Since XAPI 26.15.0. Least role: pool-operator.
    "Caller.query_token_usage" QueryTokenUsage -> f64 {
        /// `Caller ref`
        caller: Ref<Caller>,
    }
}

call! {
    /// `Caller.query_call_count`, returns `int`. Since XAPI 26.15.0. Least role: pool-operator.
    "Caller.query_call_count" QueryCallCount -> i64 {
        /// `Caller ref`
        caller: Ref<Caller>,
    }
}

call! {
    /// `Caller.query_group_token_usage`, returns `float`. Since XAPI 26.15.0. Least role:
    /// pool-operator.
    "Caller.query_group_token_usage" QueryGroupTokenUsage -> f64 {
        /// `string`
        group: String,
    }
}

call! {
    /// `Caller.query_group_call_count`, returns `int`. Since XAPI 26.15.0. Least role:
    /// pool-operator.
    "Caller.query_group_call_count" QueryGroupCallCount -> i64 {
        /// `string`
        group: String,
    }
}

call! {
    /// `Caller.query_all_usage`, returns `string set set`. Since XAPI 26.17.0. Least role:
    /// pool-operator.
    "Caller.query_all_usage" QueryAllUsage -> Vec<Vec<String>> {
    }
}

/// Names of the fields of `Caller`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Caller;
        ro UUID "uuid" String;
        rw NAME_LABEL "name_label" String;
        rw NAME_DESCRIPTION "name_description" String;
        ro USER_AGENT "user_agent" String;
        ro CLIENT_IP "client_ip" String;
        ro LAST_ACCESS "last_access" DateTime;
        ro GROUPS "groups" Vec<String>;
        ro RATE_LIMIT "rate_limit" Ref<RateLimit>;
        ro AUTO_REGISTERED "auto_registered" bool;
    }
}
