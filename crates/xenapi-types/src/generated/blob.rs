//! `blob`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `blob`. Since XenServer 5.0 (orlando).
        class Blob is Listed Labelled;
        /// The record of a `blob`, as `get_record` returns it.
        "blob" BlobRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `string`, read-write.
            1 "name_label" name_label: String;
            /// `string`, read-write.
            2 "name_description" name_description: String;
            /// `int`, read-only.
            3 "size" size: i64;
            /// `bool`, read-write. Since XenServer 6.1 (tampa).
            4 "public" public: bool;
            /// `datetime`, set by `create` only.
            5 "last_updated" last_updated: DateTime;
            /// `string`, set by `create` only.
            6 "mime_type" mime_type: String;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `blob.destroy`, returns `void`. Since XenServer 5.0 (orlando). Least role: pool-operator.
    "blob.destroy" Destroy [no_async] -> () {
        /// `blob ref`
        blob: Ref<Blob>,
    }
}

call! {
    /// `blob.create`, returns `blob ref`. Since XenServer 5.0 (orlando). Least role: pool-operator.
    "blob.create" Create [no_async] -> Ref<Blob> {
        /// `string`
        mime_type: String,
        ;
        /// `bool`, has a default on the server. Since XenServer 6.1 (tampa).
        public: bool = Default::default(),
    }
}

/// Names of the fields of `blob`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Blob;
        ro UUID "uuid" String;
        rw NAME_LABEL "name_label" String;
        rw NAME_DESCRIPTION "name_description" String;
        ro SIZE "size" i64;
        rw PUBLIC "public" bool;
        ro LAST_UPDATED "last_updated" DateTime;
        ro MIME_TYPE "mime_type" String;
    }
}
