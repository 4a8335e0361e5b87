//! `Observer`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `Observer`. Since XAPI 23.14.0. Prototype: may change.
        class Observer is Listed Labelled;
        /// The record of a `Observer`, as `get_record` returns it.
        "Observer" ObserverRecord {
            /// `string`, read-only. Since XAPI 23.14.0. Prototype: may change.
            0 "uuid" [opt] uuid: Option<String>;
            /// `string`, read-write.
            1 "name_label" name_label: String;
            /// `string`, read-write.
            2 "name_description" name_description: String;
            /// `host ref set`, set by `create` only. Since XAPI 23.14.0. Prototype: may change.
            3 "hosts" [opt] hosts: Option<Vec<Ref<Host>>>;
            /// `(string -> string) map`, set by `create` only. Since XAPI 23.14.0. Prototype: may
            /// change.
            4 "attributes" [opt] attributes: Option<BTreeMap<String, String>>;
            /// `string set`, set by `create` only. Since XAPI 23.14.0. Prototype: may change.
            5 "endpoints" [opt] endpoints: Option<Vec<String>>;
            /// `string set`, set by `create` only. Since XAPI 23.14.0. Prototype: may change.
            6 "components" [opt] components: Option<Vec<String>>;
            /// `bool`, set by `create` only. Since XAPI 23.14.0. Prototype: may change.
            7 "enabled" [opt] enabled: Option<bool>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

create! {
    /// `Observer.create`: makes an object from its constructor fields. Least role: pool-admin.
    "Observer.create" Create -> Ref<Observer> {
        /// `string`, has a default.
        0 "name_label" name_label: String;
        /// `string`, has a default.
        1 "name_description" name_description: String;
        /// `host ref set`, has a default. Since XAPI 23.14.0. Prototype: may change.
        2 "hosts" [opt] hosts: Option<Vec<Ref<Host>>>;
        /// `(string -> string) map`, has a default. Since XAPI 23.14.0. Prototype: may change.
        3 "attributes" [opt] attributes: Option<BTreeMap<String, String>>;
        /// `string set`, has a default. Since XAPI 23.14.0. Prototype: may change.
        4 "endpoints" [opt] endpoints: Option<Vec<String>>;
        /// `string set`, has a default. Since XAPI 23.14.0. Prototype: may change.
        5 "components" [opt] components: Option<Vec<String>>;
        /// `bool`, has a default. Since XAPI 23.14.0. Prototype: may change.
        6 "enabled" [opt] enabled: Option<bool>;
    }
}

call! {
    /// `Observer.destroy`: removes an object. Least role: pool-admin.
    "Observer.destroy" Destroy -> () {
        /// `Observer ref`
        observer: Ref<Observer>,
    }
}

call! {
    /// `Observer.set_components`, returns `void`. Since XAPI 23.14.0. Prototype: may change. Least
    /// role: pool-admin.
    "Observer.set_components" SetComponents -> () {
        /// `Observer ref`
        observer: Ref<Observer>,
        /// `string set`
        value: Vec<String>,
    }
}

call! {
    /// `Observer.set_endpoints`, returns `void`. Since XAPI 23.14.0. Prototype: may change. Least
    /// role: pool-admin.
    "Observer.set_endpoints" SetEndpoints -> () {
        /// `Observer ref`
        observer: Ref<Observer>,
        /// `string set`
        value: Vec<String>,
    }
}

call! {
    /// `Observer.set_attributes`, returns `void`. Since XAPI 23.14.0. Prototype: may change. Least
    /// role: pool-admin.
    "Observer.set_attributes" SetAttributes -> () {
        /// `Observer ref`
        observer: Ref<Observer>,
        /// `(string -> string) map`
        value: BTreeMap<String, String>,
    }
}

call! {
    /// `Observer.set_enabled`, returns `void`. Since XAPI 23.14.0. Prototype: may change. Least
    /// role: pool-admin.
    "Observer.set_enabled" SetEnabled -> () {
        /// `Observer ref`
        observer: Ref<Observer>,
        /// `bool`
        value: bool,
    }
}

call! {
    /// `Observer.set_hosts`, returns `void`. Since XAPI 23.14.0. Prototype: may change. Least role:
    /// pool-admin.
    "Observer.set_hosts" SetHosts -> () {
        /// `Observer ref`
        observer: Ref<Observer>,
        /// `host ref set`
        value: Vec<Ref<Host>>,
    }
}

/// Names of the fields of `Observer`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Observer;
        ro UUID "uuid" String;
        rw NAME_LABEL "name_label" String;
        rw NAME_DESCRIPTION "name_description" String;
        ro HOSTS "hosts" Vec<Ref<Host>>;
        ro ATTRIBUTES "attributes" BTreeMap<String, String>;
        ro ENDPOINTS "endpoints" Vec<String>;
        ro COMPONENTS "components" Vec<String>;
        ro ENABLED "enabled" bool;
    }
}
