//! `event`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The record of a `event`, as results of calls hold it.
        "event" EventRecord {
            /// `any`, read-only. Since XenServer 6.0 (boston).
            0 "snapshot" snapshot: Value;
            /// `int`, set by `create` only.
            1 "id" id: i64;
            /// `datetime`, set by `create` only. Deprecated since XenServer 6.0 (boston).
            2 "timestamp" timestamp: DateTime;
            /// `string`, set by `create` only.
            3 "class" class: String;
            /// `enum event_operation`, set by `create` only.
            4 "operation" operation: EventOperation;
            /// `string`, set by `create` only.
            5 "ref" r#ref: String;
            /// `string`, set by `create` only. Deprecated since XenServer 6.0 (boston).
            6 "obj_uuid" obj_uuid: String;
        }
    }

    open_enum! {
        /// `enum event_operation`
        EventOperation {
            Add "add",
            Del "del",
            Mod "mod",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `event.inject`, returns `string`. Since XenServer 6.1 (tampa). Least role: read-only.
    "event.inject" Inject [no_async] -> String {
        /// `string`
        class: String,
        /// `string`
        r#ref: String,
    }
}

call! {
    /// `event.get_current_id`, returns `int`. Least role: read-only.
    "event.get_current_id" GetCurrentId [no_async] -> i64 {
    }
}

call! {
    /// `event.from`, returns `an event batch`. Since XenServer 6.0 (boston). Least role: read-only.
    /// Fails with `SESSION_NOT_REGISTERED`, `EVENTS_LOST`, among others.
    "event.from" From [no_async] -> EventBatch {
        /// `string set`
        classes: Vec<String>,
        /// `string`
        [secret] token: String,
        /// `float`
        timeout: f64,
    }
}

call! {
    /// `event.next`, returns `event record set`. Deprecated since XenServer 6.0 (boston). Least
    /// role: read-only. Fails with `SESSION_NOT_REGISTERED`, `EVENTS_LOST`, among others.
    "event.next" Next [no_async] -> Vec<EventRecord> {
    }
}

call! {
    /// `event.unregister`, returns `void`. Deprecated since XenServer 6.0 (boston). Least role:
    /// read-only.
    "event.unregister" Unregister -> () {
        /// `string set`
        classes: Vec<String>,
    }
}

call! {
    /// `event.register`, returns `void`. Deprecated since XenServer 6.0 (boston). Least role:
    /// read-only.
    "event.register" Register -> () {
        /// `string set`
        classes: Vec<String>,
    }
}
