//! `message`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `message`. Since XenServer 5.0 (orlando).
        class Message;
        /// The record of a `message`, as results of calls hold it.
        "message" MessageRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `string`, read-only.
            1 "name" name: String;
            /// `int`, read-only.
            2 "priority" priority: i64;
            /// `enum cls`, read-only. Since XenServer 5.0 (orlando).
            3 "cls" cls: Cls;
            /// `string`, read-only.
            4 "obj_uuid" obj_uuid: String;
            /// `datetime`, read-only.
            5 "timestamp" timestamp: DateTime;
            /// `string`, read-only.
            6 "body" body: String;
        }
    }

    open_enum! {
        /// `enum cls`
        Cls {
            Vm "VM",
            Host "Host",
            Sr "SR",
            Pool "Pool",
            Vmpp "VMPP",
            Vmss "VMSS",
            PvsProxy "PVS_proxy",
            Vdi "VDI",
            Certificate "Certificate",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `message.get_all_records_where`, returns `(message ref -> message record) map`. Since
    /// XenServer 5.0 (orlando). Least role: read-only.
    "message.get_all_records_where" GetAllRecordsWhere [no_async] -> BTreeMap<Ref<Message>, MessageRecord> {
        /// `string`
        expr: String,
    }
}

call! {
    /// `message.get_all_records`, returns `(message ref -> message record) map`. Since XenServer
    /// 5.0 (orlando). Least role: read-only.
    "message.get_all_records" GetAllRecords [no_async] -> BTreeMap<Ref<Message>, MessageRecord> {
    }
}

call! {
    /// `message.get_by_uuid`, returns `message ref`. Since XenServer 5.0 (orlando). Least role:
    /// read-only.
    "message.get_by_uuid" GetByUuid [no_async] -> Ref<Message> {
        /// `string`
        uuid: String,
    }
}

call! {
    /// `message.get_record`, returns `message record`. Since XenServer 5.0 (orlando). Least role:
    /// read-only.
    "message.get_record" GetRecord [no_async] -> MessageRecord {
        /// `message ref`
        message: Ref<Message>,
    }
}

call! {
    /// `message.get_since`, returns `(message ref -> message record) map`. Since XenServer 5.0
    /// (orlando). Least role: read-only.
    "message.get_since" GetSince [no_async] -> BTreeMap<Ref<Message>, MessageRecord> {
        /// `datetime`
        since: DateTime,
    }
}

call! {
    /// `message.get_all`, returns `message ref set`. Since XenServer 5.0 (orlando). Least role:
    /// read-only.
    "message.get_all" GetAll [no_async] -> Vec<Ref<Message>> {
    }
}

call! {
    /// `message.get`, returns `(message ref -> message record) map`. Since XenServer 5.0 (orlando).
    /// Least role: read-only.
    "message.get" Get [no_async] -> BTreeMap<Ref<Message>, MessageRecord> {
        /// `enum cls`
        cls: Cls,
        /// `string`
        obj_uuid: String,
        /// `datetime`
        since: DateTime,
    }
}

call! {
    /// `message.destroy_many`, returns `void`. Since XAPI 22.19.0. Prototype: may change. Least
    /// role: pool-operator.
    "message.destroy_many" DestroyMany -> () {
        /// `message ref set`
        messages: Vec<Ref<Message>>,
    }
}

call! {
    /// `message.destroy`, returns `void`. Since XenServer 5.0 (orlando). Least role: pool-operator.
    "message.destroy" Destroy [no_async] -> () {
        /// `message ref`
        message: Ref<Message>,
    }
}

call! {
    /// `message.create`, returns `message ref`. Since XenServer 5.0 (orlando). Least role:
    /// pool-operator.
    "message.create" Create [no_async] -> Ref<Message> {
        /// `string`
        name: String,
        /// `int`
        priority: i64,
        /// `enum cls`
        cls: Cls,
        /// `string`
        obj_uuid: String,
        /// `string`
        body: String,
    }
}

call! {
    /// `message.destroy_all`, returns `void`. Since XAPI 26.6.0. Least role: pool-operator.
    "message.destroy_all" DestroyAll -> () {
        /// `(string -> string) map`
        filters: BTreeMap<String, String>,
    }
}
