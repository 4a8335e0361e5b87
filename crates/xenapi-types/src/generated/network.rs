//! `network`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `network`.
        class Network is Listed Labelled;
        /// The record of a `network`, as `get_record` returns it.
        "network" NetworkRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `string`, read-write.
            1 "name_label" name_label: String;
            /// `string`, read-write.
            2 "name_description" name_description: String;
            /// `enum network_operations set`, read-only.
            3 "allowed_operations" allowed_operations: Vec<NetworkOperations>;
            /// `(string -> enum network_operations) map`, read-only.
            4 "current_operations" current_operations: BTreeMap<String, NetworkOperations>;
            /// `VIF ref set`, read-only.
            5 "VIFs" vifs: Vec<Ref<Vif>>;
            /// `PIF ref set`, read-only.
            6 "PIFs" pifs: Vec<Ref<Pif>>;
            /// `int`, read-write. Since XenServer 5.6 (midnight-ride).
            7 "MTU" mtu: i64 = 1500;
            /// `(string -> string) map`, read-write.
            8 "other_config" other_config: BTreeMap<String, String>;
            /// `string`, set by `create` only.
            9 "bridge" bridge: String;
            /// `bool`, set by `create` only. Since XenServer 7.2 (falcon).
            10 "managed" managed: bool = true;
            /// `(string -> blob ref) map`, read-only. Since XenServer 5.0 (orlando).
            11 "blobs" blobs: BTreeMap<String, Ref<Blob>>;
            /// `string set`, read-write. Since XenServer 5.0 (orlando).
            12 "tags" tags: Vec<String>;
            /// `enum network_default_locking_mode`, read-only. Since XenServer 6.1 (tampa).
            13 "default_locking_mode" default_locking_mode: NetworkDefaultLockingMode = NetworkDefaultLockingMode::Unlocked;
            /// `(VIF ref -> string) map`, read-only. Since XenServer 6.5 (creedence).
            14 "assigned_ips" assigned_ips: BTreeMap<Ref<Vif>, String>;
            /// `enum network_purpose set`, read-only. Since XenServer 7.3 (inverness).
            15 "purpose" purpose: Vec<NetworkPurpose>;
        }
    }

    open_enum! {
        /// `enum network_default_locking_mode`
        NetworkDefaultLockingMode {
            Unlocked "unlocked",
            Disabled "disabled",
        }
    }

    open_enum! {
        /// `enum network_operations`
        NetworkOperations {
            Attaching "attaching",
        }
    }

    open_enum! {
        /// `enum network_purpose`
        NetworkPurpose {
            Nbd "nbd",
            InsecureNbd "insecure_nbd",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

create! {
    /// `network.create`: makes an object from its constructor fields. Least role: vm-admin.
    "network.create" Create -> Ref<Network> {
        /// `string`, has a default.
        0 "name_label" name_label: String;
        /// `string`, has a default.
        1 "name_description" name_description: String;
        /// `int`, has a default. Since XenServer 5.6 (midnight-ride).
        2 "MTU" mtu: i64 = 1500;
        /// `(string -> string) map`, required.
        3 "other_config" other_config: BTreeMap<String, String>;
        /// `string`, has a default.
        4 "bridge" bridge: String;
        /// `bool`, has a default. Since XenServer 7.2 (falcon).
        5 "managed" managed: bool = true;
        /// `string set`, has a default. Since XenServer 5.0 (orlando).
        6 "tags" tags: Vec<String>;
    }
}

call! {
    /// `network.destroy`: removes an object. Least role: vm-admin.
    "network.destroy" Destroy -> () {
        /// `network ref`
        network: Ref<Network>,
    }
}

call! {
    /// `network.remove_purpose`, returns `void`. Since XenServer 7.3 (inverness). Least role:
    /// pool-admin.
    "network.remove_purpose" RemovePurpose -> () {
        /// `network ref`
        network: Ref<Network>,
        /// `enum network_purpose`
        value: NetworkPurpose,
    }
}

call! {
    /// `network.add_purpose`, returns `void`. Since XenServer 7.3 (inverness). Least role:
    /// pool-admin. Fails with `NETWORK_INCOMPATIBLE_PURPOSES`, among others.
    "network.add_purpose" AddPurpose -> () {
        /// `network ref`
        network: Ref<Network>,
        /// `enum network_purpose`
        value: NetworkPurpose,
    }
}

call! {
    /// `network.set_default_locking_mode`, returns `void`. Since XenServer 6.1 (tampa). Least role:
    /// pool-operator.
    "network.set_default_locking_mode" SetDefaultLockingMode -> () {
        /// `network ref`
        network: Ref<Network>,
        /// `enum network_default_locking_mode`
        value: NetworkDefaultLockingMode,
    }
}

call! {
    /// `network.create_new_blob`, returns `blob ref`. Since XenServer 5.0 (orlando). Least role:
    /// pool-operator.
    "network.create_new_blob" CreateNewBlob -> Ref<Blob> {
        /// `network ref`
        network: Ref<Network>,
        /// `string`
        name: String,
        /// `string`
        mime_type: String,
        ;
        /// `bool`, has a default on the server. Since XenServer 6.1 (tampa).
        public: bool = Default::default(),
    }
}

/// Names of the fields of `network`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Network;
        ro UUID "uuid" String;
        rw NAME_LABEL "name_label" String;
        rw NAME_DESCRIPTION "name_description" String;
        ro ALLOWED_OPERATIONS "allowed_operations" Vec<NetworkOperations>;
        ro CURRENT_OPERATIONS "current_operations" BTreeMap<String, NetworkOperations>;
        ro VIFS "VIFs" Vec<Ref<Vif>>;
        ro PIFS "PIFs" Vec<Ref<Pif>>;
        rw MTU "MTU" i64;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro BRIDGE "bridge" String;
        ro MANAGED "managed" bool;
        ro BLOBS "blobs" BTreeMap<String, Ref<Blob>>;
        rw TAGS "tags" Vec<String>;
        ro DEFAULT_LOCKING_MODE "default_locking_mode" NetworkDefaultLockingMode;
        ro ASSIGNED_IPS "assigned_ips" BTreeMap<Ref<Vif>, String>;
        ro PURPOSE "purpose" Vec<NetworkPurpose>;
    }
}
