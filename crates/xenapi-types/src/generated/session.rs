//! `session`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `session`.
        class Session;
        /// The record of a `session`, as `get_record` returns it.
        "session" SessionRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `host ref`, read-only.
            1 "this_host" this_host: Ref<Host>;
            /// `user ref`, read-only.
            2 "this_user" this_user: Ref<User>;
            /// `datetime`, read-only.
            3 "last_active" last_active: DateTime;
            /// `bool`, read-only.
            4 "pool" pool: bool;
            /// `(string -> string) map`, read-write. Since XenServer 4.1 (miami).
            5 "other_config" other_config: BTreeMap<String, String>;
            /// `bool`, read-only. Since XenServer 5.5 (george).
            6 "is_local_superuser" is_local_superuser: bool;
            /// `subject ref`, read-only. Since XenServer 5.5 (george).
            7 "subject" subject: Ref<Subject>;
            /// `datetime`, read-only. Since XenServer 5.5 (george).
            8 "validation_time" validation_time: DateTime;
            /// `string`, read-only. Since XenServer 5.5 (george).
            9 "auth_user_sid" auth_user_sid: String;
            /// `string`, read-only. Since XenServer 5.6 (midnight-ride).
            10 "auth_user_name" auth_user_name: String;
            /// `string set`, set by `create` only. Since XenServer 5.6 (midnight-ride).
            11 "rbac_permissions" rbac_permissions: Vec<String>;
            /// `task ref set`, read-only. Since XenServer 5.6 (midnight-ride).
            12 "tasks" tasks: Vec<Ref<Task>>;
            /// `session ref`, set by `create` only. Since XenServer 5.6 (midnight-ride).
            13 "parent" [secret] parent: Ref<Session>;
            /// `string`, read-only. Since XenServer 6.2 (clearwater).
            14 "originator" originator: String;
            /// `bool`, read-only. Since XAPI 21.2.0.
            15 "client_certificate" [opt] client_certificate: Option<bool>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `session.logout_subject_identifier`, returns `void`. Since XenServer 5.5 (george). Least
    /// role: pool-operator.
    "session.logout_subject_identifier" LogoutSubjectIdentifier -> () {
        /// `string`
        subject_identifier: String,
    }
}

call! {
    /// `session.get_all_subject_identifiers`, returns `string set`. Since XenServer 5.5 (george).
    /// Least role: read-only.
    "session.get_all_subject_identifiers" GetAllSubjectIdentifiers -> Vec<String> {
    }
}

call! {
    /// `session.local_logout`, returns `void`. Since XenServer 4.1 (miami). Least role: pool-admin.
    "session.local_logout" LocalLogout [no_async] -> () {
    }
}

call! {
    /// `session.create_from_db_file`, returns `session ref`. Since XenServer 7.0 (dundee).
    "session.create_from_db_file" CreateFromDbFile -> Ref<Session> {
        /// `string`
        filename: String,
    }
}

call! {
    /// `session.slave_local_login_with_password`, returns `session ref`. Since XenServer 4.1
    /// (miami). Least role: pool-admin.
    "session.slave_local_login_with_password" SlaveLocalLoginWithPassword [no_session no_async] -> Ref<Session> {
        /// `string`
        uname: String,
        /// `string`
        [secret] pwd: String,
    }
}

call! {
    /// `session.change_password`, returns `void`.
    "session.change_password" ChangePassword [no_async] -> () {
        /// `string`
        [secret] old_pwd: String,
        /// `string`
        [secret] new_pwd: String,
    }
}

call! {
    /// `session.logout`, returns `void`. Least role: read-only.
    "session.logout" Logout [no_async] -> () {
    }
}

call! {
    /// `session.login_with_password`, returns `session ref`. Least role: read-only. Fails with
    /// `SESSION_AUTHENTICATION_FAILED`, `HOST_IS_SLAVE`, among others.
    "session.login_with_password" LoginWithPassword [no_session no_async] -> Ref<Session> {
        /// `string`
        uname: String,
        /// `string`
        [secret] pwd: String,
        ;
        /// `string`, has a default on the server. Since XenServer 4.1 (miami).
        version: String = "1.1".into(),
        /// `string`, has a default on the server. Since XenServer 6.2 (clearwater).
        originator: String = Default::default(),
    }
}

/// Names of the fields of `session`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Session;
        ro UUID "uuid" String;
        ro THIS_HOST "this_host" Ref<Host>;
        ro THIS_USER "this_user" Ref<User>;
        ro LAST_ACTIVE "last_active" DateTime;
        ro POOL "pool" bool;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro IS_LOCAL_SUPERUSER "is_local_superuser" bool;
        ro SUBJECT "subject" Ref<Subject>;
        ro VALIDATION_TIME "validation_time" DateTime;
        ro AUTH_USER_SID "auth_user_sid" String;
        ro AUTH_USER_NAME "auth_user_name" String;
        ro RBAC_PERMISSIONS "rbac_permissions" Vec<String>;
        ro TASKS "tasks" Vec<Ref<Task>>;
        ro PARENT "parent" Ref<Session>;
        ro ORIGINATOR "originator" String;
        ro CLIENT_CERTIFICATE "client_certificate" bool;
    }
}
