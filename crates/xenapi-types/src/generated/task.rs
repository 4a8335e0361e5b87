//! `task`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `task`.
        class Task is Listed Labelled;
        /// The record of a `task`, as `get_record` returns it.
        "task" TaskRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `string`, read-only.
            1 "name_label" name_label: String;
            /// `string`, read-only.
            2 "name_description" name_description: String;
            /// `enum task_allowed_operations set`, read-only.
            3 "allowed_operations" allowed_operations: Vec<TaskAllowedOperations>;
            /// `(string -> enum task_allowed_operations) map`, read-only.
            4 "current_operations" current_operations: BTreeMap<String, TaskAllowedOperations>;
            /// `datetime`, read-only.
            5 "created" created: DateTime;
            /// `datetime`, read-only.
            6 "finished" finished: DateTime;
            /// `enum task_status_type`, read-only.
            7 "status" status: TaskStatusType;
            /// `host ref`, read-only.
            8 "resident_on" resident_on: Ref<Host>;
            /// `float`, read-only.
            9 "progress" progress: f64;
            /// `string`, read-only.
            10 "type" r#type: String;
            /// `string`, read-only.
            11 "result" result: String;
            /// `string set`, read-only.
            12 "error_info" error_info: Vec<String>;
            /// `(string -> string) map`, read-write. Since XenServer 4.1 (miami).
            13 "other_config" other_config: BTreeMap<String, String>;
            /// `task ref`, read-only. Since XenServer 5.0 (orlando).
            14 "subtask_of" subtask_of: Ref<Task>;
            /// `task ref set`, read-only. Since XenServer 5.0 (orlando).
            15 "subtasks" subtasks: Vec<Ref<Task>>;
            /// `string`, read-only. Since XenServer 7.0 (dundee).
            16 "backtrace" backtrace: String = "()".into();
        }
    }

    open_enum! {
        /// `enum task_allowed_operations`
        TaskAllowedOperations {
            Cancel "cancel",
            Destroy "destroy",
        }
    }

    open_enum! {
        /// `enum task_status_type`
        TaskStatusType {
            Pending "pending",
            Success "success",
            Failure "failure",
            Cancelling "cancelling",
            Cancelled "cancelled",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `task.set_error_info`, returns `void`. Since XAPI 21.3.0. Least role: read-only.
    "task.set_error_info" SetErrorInfo [no_async] -> () {
        /// `task ref`
        task: Ref<Task>,
        /// `string set`
        value: Vec<String>,
    }
}

call! {
    /// `task.set_result`, returns `void`. Since XAPI 21.3.0. Least role: read-only.
    "task.set_result" SetResult [no_async] -> () {
        /// `task ref`
        task: Ref<Task>,
        /// `string`
        value: String,
    }
}

call! {
    /// `task.set_progress`, returns `void`. Since Citrix Hypervisor 8.2 (stockholm). Least role:
    /// read-only.
    "task.set_progress" SetProgress [no_async] -> () {
        /// `task ref`
        task: Ref<Task>,
        /// `float`
        value: f64,
    }
}

call! {
    /// `task.set_status`, returns `void`. Since XenServer 7.2 (falcon). Least role: read-only.
    "task.set_status" SetStatus [no_async] -> () {
        /// `task ref`
        task: Ref<Task>,
        /// `enum task_status_type`
        value: TaskStatusType,
    }
}

call! {
    /// `task.cancel`, returns `void`. Least role: read-only. Fails with `OPERATION_NOT_ALLOWED`,
    /// among others.
    "task.cancel" Cancel -> () {
        /// `task ref`
        task: Ref<Task>,
    }
}

call! {
    /// `task.destroy`, returns `void`. Least role: read-only.
    "task.destroy" Destroy [no_async] -> () {
        /// `task ref`
        task: Ref<Task>,
    }
}

call! {
    /// `task.create`, returns `task ref`. Least role: read-only.
    "task.create" Create [no_async] -> Ref<Task> {
        /// `string`
        label: String,
        /// `string`
        description: String,
    }
}

/// Names of the fields of `task`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Task;
        ro UUID "uuid" String;
        ro NAME_LABEL "name_label" String;
        ro NAME_DESCRIPTION "name_description" String;
        ro ALLOWED_OPERATIONS "allowed_operations" Vec<TaskAllowedOperations>;
        ro CURRENT_OPERATIONS "current_operations" BTreeMap<String, TaskAllowedOperations>;
        ro CREATED "created" DateTime;
        ro FINISHED "finished" DateTime;
        ro STATUS "status" TaskStatusType;
        ro RESIDENT_ON "resident_on" Ref<Host>;
        ro PROGRESS "progress" f64;
        ro TYPE "type" String;
        ro RESULT "result" String;
        ro ERROR_INFO "error_info" Vec<String>;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro SUBTASK_OF "subtask_of" Ref<Task>;
        ro SUBTASKS "subtasks" Vec<Ref<Task>>;
        ro BACKTRACE "backtrace" String;
    }
}
