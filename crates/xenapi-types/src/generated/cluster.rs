//! `Cluster`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `Cluster`. Since XenServer 7.6 (lima).
        class Cluster is Listed;
        /// The record of a `Cluster`, as `get_record` returns it.
        "Cluster" ClusterRecord {
            /// `string`, read-only. Since XenServer 7.6 (lima).
            0 "uuid" uuid: String;
            /// `Cluster_host ref set`, read-only. Since XenServer 7.6 (lima).
            1 "cluster_hosts" cluster_hosts: Vec<Ref<ClusterHost>>;
            /// `string set`, read-only. Since XenServer 7.6 (lima).
            2 "pending_forget" pending_forget: Vec<String>;
            /// `string`, set by `create` only. Since XenServer 7.6 (lima).
            3 "cluster_token" cluster_token: String;
            /// `string`, set by `create` only. Since XenServer 7.6 (lima).
            4 "cluster_stack" cluster_stack: String = "corosync".into();
            /// `bool`, read-only. Since XAPI 24.3.0. Prototype: may change.
            5 "is_quorate" [opt] is_quorate: Option<bool>;
            /// `int`, read-only. Since XAPI 24.3.0. Prototype: may change.
            6 "quorum" [opt] quorum: Option<i64>;
            /// `int`, read-only. Since XAPI 24.3.0. Prototype: may change.
            7 "live_hosts" [opt] live_hosts: Option<i64>;
            /// `enum cluster_operation set`, read-only.
            8 "allowed_operations" allowed_operations: Vec<ClusterOperation>;
            /// `(string -> enum cluster_operation) map`, read-only.
            9 "current_operations" current_operations: BTreeMap<String, ClusterOperation>;
            /// `bool`, set by `create` only. Since XenServer 7.6 (lima).
            10 "pool_auto_join" pool_auto_join: bool = true;
            /// `float`, set by `create` only. Since XenServer 7.6 (lima).
            11 "token_timeout" token_timeout: f64 = 20.0;
            /// `float`, set by `create` only. Since XenServer 7.6 (lima).
            12 "token_timeout_coefficient" token_timeout_coefficient: f64 = 1.0;
            /// `(string -> string) map`, set by `create` only. Since XenServer 7.6 (lima).
            13 "cluster_config" cluster_config: BTreeMap<String, String>;
            /// `(string -> string) map`, read-write. Since XenServer 7.6 (lima).
            14 "other_config" other_config: BTreeMap<String, String>;
            /// `int`, read-only. Since XAPI 24.15.0.
            15 "cluster_stack_version" [opt] cluster_stack_version: Option<i64>;
            /// `int`, read-only. Since XAPI 25.17.0.
            16 "expected_hosts" [opt] expected_hosts: Option<i64>;
        }
    }

    open_enum! {
        /// `enum cluster_operation`
        ClusterOperation {
            Add "add",
            Remove "remove",
            Enable "enable",
            Disable "disable",
            Destroy "destroy",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `Cluster.pool_resync`, returns `void`. Since XenServer 7.6 (lima). Least role:
    /// pool-operator.
    "Cluster.pool_resync" PoolResync -> () {
        /// `Cluster ref`
        cluster: Ref<Cluster>,
    }
}

call! {
    /// `Cluster.pool_destroy`, returns `void`. Since XenServer 7.6 (lima). Least role:
    /// pool-operator. Fails with `CLUSTER_STACK_IN_USE`, `CLUSTERING_DISABLED`,
    /// `CLUSTER_HOST_IS_LAST`, among others.
    "Cluster.pool_destroy" PoolDestroy -> () {
        /// `Cluster ref`
        cluster: Ref<Cluster>,
    }
}

call! {
    /// `Cluster.pool_force_destroy`, returns `void`. Since XenServer 7.6 (lima). Least role:
    /// pool-operator. Fails with `CLUSTER_FORCE_DESTROY_FAILED`, among others.
    "Cluster.pool_force_destroy" PoolForceDestroy -> () {
        /// `Cluster ref`
        cluster: Ref<Cluster>,
    }
}

call! {
    /// `Cluster.pool_create`, returns `Cluster ref`. Since XenServer 7.6 (lima). Least role:
    /// pool-operator.
    "Cluster.pool_create" PoolCreate -> Ref<Cluster> {
        /// `network ref`
        network: Ref<Network>,
        /// `string`
        cluster_stack: String,
        /// `float`
        token_timeout: f64,
        /// `float`
        token_timeout_coefficient: f64,
    }
}

call! {
    /// `Cluster.get_network`, returns `network ref`. Since XenServer 7.6 (lima). Least role:
    /// read-only.
    "Cluster.get_network" GetNetwork -> Ref<Network> {
        /// `Cluster ref`
        cluster: Ref<Cluster>,
    }
}

call! {
    /// `Cluster.destroy`, returns `void`. Since XenServer 7.6 (lima). Least role: pool-operator.
    /// Fails with `CLUSTER_DOES_NOT_HAVE_ONE_NODE`, `CLUSTER_STACK_IN_USE`, among others.
    "Cluster.destroy" Destroy -> () {
        /// `Cluster ref`
        cluster: Ref<Cluster>,
    }
}

call! {
    /// `Cluster.create`, returns `Cluster ref`. Since XenServer 7.6 (lima). Least role:
    /// pool-operator. Fails with `INVALID_CLUSTER_STACK`, `INVALID_VALUE`, `PIF_ALLOWS_UNPLUG`,
    /// `REQUIRED_PIF_IS_UNPLUGGED`, among others.
    "Cluster.create" Create -> Ref<Cluster> {
        /// `PIF ref`
        pif: Ref<Pif>,
        /// `string`
        cluster_stack: String,
        /// `bool`
        pool_auto_join: bool,
        /// `float`
        token_timeout: f64,
        /// `float`
        token_timeout_coefficient: f64,
    }
}

/// Names of the fields of `Cluster`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Cluster;
        ro UUID "uuid" String;
        ro CLUSTER_HOSTS "cluster_hosts" Vec<Ref<ClusterHost>>;
        ro PENDING_FORGET "pending_forget" Vec<String>;
        ro CLUSTER_TOKEN "cluster_token" String;
        ro CLUSTER_STACK "cluster_stack" String;
        ro IS_QUORATE "is_quorate" bool;
        ro QUORUM "quorum" i64;
        ro LIVE_HOSTS "live_hosts" i64;
        ro ALLOWED_OPERATIONS "allowed_operations" Vec<ClusterOperation>;
        ro CURRENT_OPERATIONS "current_operations" BTreeMap<String, ClusterOperation>;
        ro POOL_AUTO_JOIN "pool_auto_join" bool;
        ro TOKEN_TIMEOUT "token_timeout" f64;
        ro TOKEN_TIMEOUT_COEFFICIENT "token_timeout_coefficient" f64;
        ro CLUSTER_CONFIG "cluster_config" BTreeMap<String, String>;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro CLUSTER_STACK_VERSION "cluster_stack_version" i64;
        ro EXPECTED_HOSTS "expected_hosts" i64;
    }
}
