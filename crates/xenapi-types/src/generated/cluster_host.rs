//! `Cluster_host`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `Cluster_host`. Since XenServer 7.6 (lima).
        class ClusterHost is Listed;
        /// The record of a `Cluster_host`, as `get_record` returns it.
        "Cluster_host" ClusterHostRecord {
            /// `string`, read-only. Since XenServer 7.6 (lima).
            0 "uuid" uuid: String;
            /// `Cluster ref`, set by `create` only. Since XenServer 7.6 (lima).
            1 "cluster" cluster: Ref<Cluster>;
            /// `host ref`, set by `create` only. Since XenServer 7.6 (lima).
            2 "host" host: Ref<Host>;
            /// `bool`, read-only. Since XenServer 7.6 (lima).
            3 "enabled" enabled: bool;
            /// `PIF ref`, set by `create` only. Since XenServer 7.6 (lima).
            4 "PIF" pif: Ref<Pif>;
            /// `bool`, read-only. Since XenServer 7.6 (lima).
            5 "joined" joined: bool = true;
            /// `bool`, read-only. Since XAPI 24.3.0. Prototype: may change.
            6 "live" [opt] live: Option<bool>;
            /// `datetime`, read-only. Since XAPI 24.3.0. Prototype: may change.
            7 "last_update_live" [opt] last_update_live: Option<DateTime>;
            /// `enum cluster_host_operation set`, read-only.
            8 "allowed_operations" allowed_operations: Vec<ClusterHostOperation>;
            /// `(string -> enum cluster_host_operation) map`, read-only.
            9 "current_operations" current_operations: BTreeMap<String, ClusterHostOperation>;
            /// `(string -> string) map`, set by `create` only. Since XenServer 7.6 (lima).
            10 "other_config" other_config: BTreeMap<String, String>;
        }
    }

    open_enum! {
        /// `enum cluster_host_operation`
        ClusterHostOperation {
            Enable "enable",
            Disable "disable",
            Destroy "destroy",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `Cluster_host.disable`, returns `void`. Since XenServer 7.6 (lima). Least role:
    /// pool-operator. Fails with `CLUSTER_STACK_IN_USE`, among others.
    "Cluster_host.disable" Disable -> () {
        /// `Cluster_host ref`
        cluster_host: Ref<ClusterHost>,
    }
}

call! {
    /// `Cluster_host.force_destroy`, returns `void`. Since XenServer 7.6 (lima). Least role:
    /// pool-operator. Fails with `CLUSTER_STACK_IN_USE`, among others.
    "Cluster_host.force_destroy" ForceDestroy -> () {
        /// `Cluster_host ref`
        cluster_host: Ref<ClusterHost>,
    }
}

call! {
    /// `Cluster_host.enable`, returns `void`. Since XenServer 7.6 (lima). Least role:
    /// pool-operator. Fails with `PIF_ALLOWS_UNPLUG`, `REQUIRED_PIF_IS_UNPLUGGED`, among others.
    "Cluster_host.enable" Enable -> () {
        /// `Cluster_host ref`
        cluster_host: Ref<ClusterHost>,
    }
}

call! {
    /// `Cluster_host.destroy`, returns `void`. Since XenServer 7.6 (lima). Least role:
    /// pool-operator. Fails with `CLUSTER_STACK_IN_USE`, `CLUSTERING_DISABLED`,
    /// `CLUSTER_HOST_IS_LAST`, among others.
    "Cluster_host.destroy" Destroy -> () {
        /// `Cluster_host ref`
        cluster_host: Ref<ClusterHost>,
    }
}

call! {
    /// `Cluster_host.create`, returns `Cluster_host ref`. Since XenServer 7.6 (lima). Least role:
    /// pool-operator. Fails with `PIF_NOT_ATTACHED_TO_HOST`, `NO_CLUSTER_HOSTS_REACHABLE`, among
    /// others.
    "Cluster_host.create" Create -> Ref<ClusterHost> {
        /// `Cluster ref`
        cluster: Ref<Cluster>,
        /// `host ref`
        host: Ref<Host>,
        /// `PIF ref`
        pif: Ref<Pif>,
    }
}

/// Names of the fields of `Cluster_host`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        ClusterHost;
        ro UUID "uuid" String;
        ro CLUSTER "cluster" Ref<Cluster>;
        ro HOST "host" Ref<Host>;
        ro ENABLED "enabled" bool;
        ro PIF "PIF" Ref<Pif>;
        ro JOINED "joined" bool;
        ro LIVE "live" bool;
        ro LAST_UPDATE_LIVE "last_update_live" DateTime;
        ro ALLOWED_OPERATIONS "allowed_operations" Vec<ClusterHostOperation>;
        ro CURRENT_OPERATIONS "current_operations" BTreeMap<String, ClusterHostOperation>;
        ro OTHER_CONFIG "other_config" BTreeMap<String, String>;
    }
}
