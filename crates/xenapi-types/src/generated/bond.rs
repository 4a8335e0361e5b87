//! `Bond`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `Bond`. Since XenServer 4.1 (miami).
        class Bond is Listed;
        /// The record of a `Bond`, as `get_record` returns it.
        "Bond" BondRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `PIF ref`, set by `create` only. Since XenServer 4.1 (miami).
            1 "master" master: Ref<Pif>;
            /// `PIF ref set`, read-only. Since XenServer 4.1 (miami).
            2 "slaves" slaves: Vec<Ref<Pif>>;
            /// `(string -> string) map`, read-write. Since XenServer 4.1 (miami).
            3 "other_config" other_config: BTreeMap<String, String>;
            /// `PIF ref`, read-only. Since XenServer 6.0 (boston).
            4 "primary_slave" primary_slave: Ref<Pif>;
            /// `enum bond_mode`, read-only. Since XenServer 6.0 (boston).
            5 "mode" mode: BondMode = BondMode::BalanceSlb;
            /// `(string -> string) map`, read-only. Since XenServer 6.1 (tampa).
            6 "properties" properties: BTreeMap<String, String>;
            /// `int`, read-only. Since XenServer 6.1 (tampa).
            7 "links_up" links_up: i64;
            /// `bool`, read-only. Since Citrix Hypervisor 8.1 (quebec).
            8 "auto_update_mac" auto_update_mac: bool = true;
        }
    }

    open_enum! {
        /// `enum bond_mode`
        BondMode {
            BalanceSlb "balance-slb",
            ActiveBackup "active-backup",
            Lacp "lacp",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `Bond.set_property`, returns `void`. Since XenServer 6.1 (tampa). Least role: pool-operator.
    "Bond.set_property" SetProperty -> () {
        /// `Bond ref`
        bond: Ref<Bond>,
        /// `string`
        name: String,
        /// `string`
        value: String,
    }
}

call! {
    /// `Bond.set_mode`, returns `void`. Since XenServer 6.0 (boston). Least role: pool-operator.
    "Bond.set_mode" SetMode -> () {
        /// `Bond ref`
        bond: Ref<Bond>,
        /// `enum bond_mode`
        value: BondMode,
    }
}

call! {
    /// `Bond.destroy`, returns `void`. Since XenServer 4.1 (miami). Least role: pool-operator.
    "Bond.destroy" Destroy -> () {
        /// `Bond ref`
        bond: Ref<Bond>,
    }
}

call! {
    /// `Bond.create`, returns `Bond ref`. Since XenServer 4.1 (miami). Least role: pool-operator.
    "Bond.create" Create -> Ref<Bond> {
        /// `network ref`
        network: Ref<Network>,
        /// `PIF ref set`
        members: Vec<Ref<Pif>>,
        /// `string`
        mac: String,
        ;
        /// `enum bond_mode`, has a default on the server. Since XenServer 6.0 (boston).
        mode: BondMode = BondMode::BalanceSlb,
        /// `(string -> string) map`, has a default on the server. Since XenServer 6.1 (tampa).
        properties: BTreeMap<String, String> = Default::default(),
    }
}

/// Names of the fields of `Bond`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Bond;
        ro UUID "uuid" String;
        ro MASTER "master" Ref<Pif>;
        ro SLAVES "slaves" Vec<Ref<Pif>>;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro PRIMARY_SLAVE "primary_slave" Ref<Pif>;
        ro MODE "mode" BondMode;
        ro PROPERTIES "properties" BTreeMap<String, String>;
        ro LINKS_UP "links_up" i64;
        ro AUTO_UPDATE_MAC "auto_update_mac" bool;
    }
}
