//! `auth`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `auth.get_group_membership`, returns `string set`. Since XenServer 5.5 (george). Least role:
    /// read-only.
    "auth.get_group_membership" GetGroupMembership [no_async] -> Vec<String> {
        /// `string`
        subject_identifier: String,
    }
}

call! {
    /// `auth.get_subject_information_from_identifier`, returns `(string -> string) map`. Since
    /// XenServer 5.5 (george). Least role: read-only.
    "auth.get_subject_information_from_identifier" GetSubjectInformationFromIdentifier [no_async] -> BTreeMap<String, String> {
        /// `string`
        subject_identifier: String,
    }
}

call! {
    /// `auth.get_subject_identifier`, returns `string`. Since XenServer 5.5 (george). Least role:
    /// read-only.
    "auth.get_subject_identifier" GetSubjectIdentifier [no_async] -> String {
        /// `string`
        subject_name: String,
    }
}
