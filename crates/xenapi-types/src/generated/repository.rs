//! `Repository`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `Repository`. Since XAPI 1.301.0.
        class Repository is Listed Labelled;
        /// The record of a `Repository`, as `get_record` returns it.
        "Repository" RepositoryRecord {
            /// `string`, read-only. Since XAPI 1.301.0.
            0 "uuid" [opt] uuid: Option<String>;
            /// `string`, read-write.
            1 "name_label" name_label: String;
            /// `string`, read-write.
            2 "name_description" name_description: String;
            /// `string`, set by `create` only. Since XAPI 1.301.0.
            3 "binary_url" [opt] binary_url: Option<String>;
            /// `string`, set by `create` only. Since XAPI 1.301.0.
            4 "source_url" [opt] source_url: Option<String>;
            /// `bool`, set by `create` only. Since XAPI 1.301.0.
            5 "update" [opt] update: Option<bool>;
            /// `string`, read-only. Since XAPI 1.301.0.
            6 "hash" [opt] hash: Option<String>;
            /// `bool`, read-only. Since XAPI 1.301.0. Removed in XAPI 23.18.0.
            7 "up_to_date" [opt] up_to_date: Option<bool>;
            /// `string`, set by `create` only. Since XAPI 22.12.0. Prototype: may change.
            8 "gpgkey_path" [opt] gpgkey_path: Option<String>;
            /// `enum origin`, read-only. Since XAPI 24.23.0.
            9 "origin" [opt] origin: Option<Origin>;
            /// `string`, read-only. Since XAPI 25.7.0.
            10 "certificate" [opt] certificate: Option<String>;
        }
    }

    open_enum! {
        /// `enum origin`
        Origin {
            Remote "remote",
            Bundle "bundle",
            RemotePool "remote_pool",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `Repository.set_gpgkey_path`, returns `void`. Since XAPI 22.12.0. Prototype: may change.
    /// Least role: client-cert.
    "Repository.set_gpgkey_path" SetGpgkeyPath -> () {
        /// `Repository ref`
        repository: Ref<Repository>,
        /// `string`
        value: String,
    }
}

call! {
    /// `Repository.forget`, returns `void`. Since XAPI 1.301.0. Least role: client-cert.
    "Repository.forget" Forget -> () {
        /// `Repository ref`
        repository: Ref<Repository>,
    }
}

call! {
    /// `Repository.introduce`, returns `Repository ref`. Since XAPI 1.301.0. Least role:
    /// client-cert.
    "Repository.introduce" Introduce -> Ref<Repository> {
        /// `string`
        name_label: String,
        /// `string`
        name_description: String,
        /// `string`
        binary_url: String,
        /// `string`
        source_url: String,
        /// `bool`
        update: bool,
        ;
        /// `string`, has a default on the server.
        gpgkey_path: String = Default::default(),
    }
}

call! {
    /// `Repository.introduce_bundle`, returns `Repository ref`. Since XAPI 24.23.0. Least role:
    /// pool-operator.
    "Repository.introduce_bundle" IntroduceBundle -> Ref<Repository> {
        /// `string`
        name_label: String,
        /// `string`
        name_description: String,
    }
}

call! {
    /// `Repository.introduce_remote_pool`, returns `Repository ref`. Since XAPI 25.7.0. Least role:
    /// pool-operator.
    "Repository.introduce_remote_pool" IntroduceRemotePool -> Ref<Repository> {
        /// `string`
        name_label: String,
        /// `string`
        name_description: String,
        /// `string`
        binary_url: String,
        /// `string`
        certificate: String,
    }
}

/// Names of the fields of `Repository`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Repository;
        ro UUID "uuid" String;
        rw NAME_LABEL "name_label" String;
        rw NAME_DESCRIPTION "name_description" String;
        ro BINARY_URL "binary_url" String;
        ro SOURCE_URL "source_url" String;
        ro UPDATE "update" bool;
        ro HASH "hash" String;
        ro UP_TO_DATE "up_to_date" bool;
        ro GPGKEY_PATH "gpgkey_path" String;
        ro ORIGIN "origin" Origin;
        ro CERTIFICATE "certificate" String;
    }
}
