//! `PIF`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `PIF`.
        class Pif is Listed;
        /// The record of a `PIF`, as `get_record` returns it.
        "PIF" PifRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `string`, set by `create` only.
            1 "device" device: String;
            /// `network ref`, set by `create` only.
            2 "network" network: Ref<Network>;
            /// `host ref`, set by `create` only.
            3 "host" host: Ref<Host>;
            /// `string`, set by `create` only.
            4 "MAC" mac: String;
            /// `int`, set by `create` only.
            5 "MTU" mtu: i64;
            /// `int`, set by `create` only.
            6 "VLAN" vlan: i64;
            /// `PIF_metrics ref`, read-only.
            7 "metrics" metrics: Ref<PifMetrics>;
            /// `bool`, read-only. Since XenServer 4.1 (miami).
            8 "physical" physical: bool;
            /// `bool`, read-only. Since XenServer 4.1 (miami).
            9 "currently_attached" currently_attached: bool = true;
            /// `enum ip_configuration_mode`, read-only. Since XenServer 4.1 (miami).
            10 "ip_configuration_mode" ip_configuration_mode: IpConfigurationMode = IpConfigurationMode::None;
            /// `string`, read-only. Since XenServer 4.1 (miami).
            11 "IP" ip: String;
            /// `string`, read-only. Since XenServer 4.1 (miami).
            12 "netmask" netmask: String;
            /// `string`, read-only. Since XenServer 4.1 (miami).
            13 "gateway" gateway: String;
            /// `string`, read-only. Since XenServer 4.1 (miami).
            14 "DNS" dns: String;
            /// `Bond ref`, read-only. Since XenServer 4.1 (miami).
            15 "bond_slave_of" bond_slave_of: Ref<Bond>;
            /// `Bond ref set`, read-only. Since XenServer 4.1 (miami).
            16 "bond_master_of" bond_master_of: Vec<Ref<Bond>>;
            /// `VLAN ref`, read-only. Since XenServer 4.1 (miami).
            17 "VLAN_master_of" vlan_master_of: Ref<Vlan>;
            /// `VLAN ref set`, read-only. Since XenServer 4.1 (miami).
            18 "VLAN_slave_of" vlan_slave_of: Vec<Ref<Vlan>>;
            /// `bool`, read-only. Since XenServer 4.1 (miami).
            19 "management" management: bool;
            /// `(string -> string) map`, read-write. Since XenServer 4.1 (miami).
            20 "other_config" other_config: BTreeMap<String, String>;
            /// `bool`, read-only. Since XenServer 5.0 (orlando).
            21 "disallow_unplug" disallow_unplug: bool;
            /// `tunnel ref set`, read-only. Since XenServer 5.6 FP1 (cowley).
            22 "tunnel_access_PIF_of" tunnel_access_pif_of: Vec<Ref<Tunnel>>;
            /// `tunnel ref set`, read-only. Since XenServer 5.6 FP1 (cowley).
            23 "tunnel_transport_PIF_of" tunnel_transport_pif_of: Vec<Ref<Tunnel>>;
            /// `enum ipv6_configuration_mode`, read-only. Since XenServer 6.1 (tampa).
            24 "ipv6_configuration_mode" ipv6_configuration_mode: Ipv6ConfigurationMode = Ipv6ConfigurationMode::None;
            /// `string set`, read-only. Since XenServer 6.1 (tampa).
            25 "IPv6" ipv6: Vec<String>;
            /// `string`, read-only. Since XenServer 6.1 (tampa).
            26 "ipv6_gateway" ipv6_gateway: String;
            /// `enum primary_address_type`, read-only. Since XenServer 6.1 (tampa).
            27 "primary_address_type" primary_address_type: PrimaryAddressType = PrimaryAddressType::Ipv4;
            /// `bool`, set by `create` only. Since XenServer 6.2 SP1 (vgpu-productisation).
            28 "managed" managed: bool = true;
            /// `(string -> string) map`, read-only. Since XenServer 6.5 (creedence).
            29 "properties" properties: BTreeMap<String, String>;
            /// `string set`, read-only. Since XenServer 7.0 (dundee).
            30 "capabilities" capabilities: Vec<String>;
            /// `enum pif_igmp_status`, read-only. Since XenServer 7.3 (inverness).
            31 "igmp_snooping_status" igmp_snooping_status: PifIgmpStatus = PifIgmpStatus::NotKnown;
            /// `network_sriov ref set`, read-only. Since XenServer 7.5 (kolkata).
            32 "sriov_physical_PIF_of" sriov_physical_pif_of: Vec<Ref<NetworkSriov>>;
            /// `network_sriov ref set`, read-only. Since XenServer 7.5 (kolkata).
            33 "sriov_logical_PIF_of" sriov_logical_pif_of: Vec<Ref<NetworkSriov>>;
            /// `PCI ref`, read-only. Since XenServer 7.5 (kolkata).
            34 "PCI" pci: Ref<Pci>;
        }
    }

    open_enum! {
        /// `enum ip_configuration_mode`
        IpConfigurationMode {
            None "None",
            Dhcp "DHCP",
            Static "Static",
        }
    }

    open_enum! {
        /// `enum ipv6_configuration_mode`
        Ipv6ConfigurationMode {
            None "None",
            Dhcp "DHCP",
            Static "Static",
            Autoconf "Autoconf",
        }
    }

    open_enum! {
        /// `enum pif_igmp_status`
        PifIgmpStatus {
            Enabled "enabled",
            Disabled "disabled",
            NotKnown "unknown",
        }
    }

    open_enum! {
        /// `enum primary_address_type`
        PrimaryAddressType {
            Ipv4 "IPv4",
            Ipv6 "IPv6",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `PIF.set_property`, returns `void`. Since XenServer 6.5 (creedence). Least role:
    /// pool-operator.
    "PIF.set_property" SetProperty -> () {
        /// `PIF ref`
        pif: Ref<Pif>,
        /// `string`
        name: String,
        /// `string`
        value: String,
    }
}

call! {
    /// `PIF.db_forget`, returns `void`. Since XenServer 5.0 (orlando). Least role: pool-operator.
    "PIF.db_forget" DbForget -> () {
        /// `PIF ref`
        pif: Ref<Pif>,
    }
}

call! {
    /// `PIF.db_introduce`, returns `PIF ref`. Since XenServer 5.0 (orlando). Least role:
    /// pool-operator.
    "PIF.db_introduce" DbIntroduce -> Ref<Pif> {
        /// `string`
        device: String,
        /// `network ref`
        network: Ref<Network>,
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        mac: String,
        /// `int`
        mtu: i64,
        /// `int`
        vlan: i64,
        /// `bool`
        physical: bool,
        /// `enum ip_configuration_mode`
        ip_configuration_mode: IpConfigurationMode,
        /// `string`
        ip: String,
        /// `string`
        netmask: String,
        /// `string`
        gateway: String,
        /// `string`
        dns: String,
        /// `Bond ref`
        bond_slave_of: Ref<Bond>,
        /// `VLAN ref`
        vlan_master_of: Ref<Vlan>,
        /// `bool`
        management: bool,
        /// `(string -> string) map`
        other_config: BTreeMap<String, String>,
        ;
        /// `bool`, has a default on the server.
        disallow_unplug: bool = Default::default(),
        /// `enum ipv6_configuration_mode`, has a default on the server.
        ipv6_configuration_mode: Ipv6ConfigurationMode = Ipv6ConfigurationMode::None,
        /// `string set`, has a default on the server.
        ipv6: Vec<String> = Default::default(),
        /// `string`, has a default on the server.
        ipv6_gateway: String = Default::default(),
        /// `enum primary_address_type`, has a default on the server.
        primary_address_type: PrimaryAddressType = PrimaryAddressType::Ipv4,
        /// `bool`, has a default on the server.
        managed: bool = true,
        /// `(string -> string) map`, has a default on the server.
        properties: BTreeMap<String, String> = Default::default(),
    }
}

call! {
    /// `PIF.plug`, returns `void`. Since XenServer 4.1 (miami). Least role: pool-operator. Fails
    /// with `TRANSPORT_PIF_NOT_CONFIGURED`, among others.
    "PIF.plug" Plug -> () {
        /// `PIF ref`
        pif: Ref<Pif>,
    }
}

call! {
    /// `PIF.set_disallow_unplug`, returns `void`. Since XenServer 5.0 (orlando). Least role:
    /// pool-operator. Fails with `OTHER_OPERATION_IN_PROGRESS`, `CLUSTERING_ENABLED`, among others.
    "PIF.set_disallow_unplug" SetDisallowUnplug -> () {
        /// `PIF ref`
        pif: Ref<Pif>,
        /// `bool`
        value: bool,
    }
}

call! {
    /// `PIF.unplug`, returns `void`. Since XenServer 4.1 (miami). Least role: pool-operator. Fails
    /// with `HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN`, `VIF_IN_USE`, `PIF_DOES_NOT_ALLOW_UNPLUG`,
    /// `PIF_HAS_FCOE_SR_IN_USE`, among others.
    "PIF.unplug" Unplug -> () {
        /// `PIF ref`
        pif: Ref<Pif>,
    }
}

call! {
    /// `PIF.forget`, returns `void`. Since XenServer 4.1 (miami). Least role: pool-operator. Fails
    /// with `PIF_TUNNEL_STILL_EXISTS`, `CLUSTERING_ENABLED`, among others.
    "PIF.forget" Forget -> () {
        /// `PIF ref`
        pif: Ref<Pif>,
    }
}

call! {
    /// `PIF.introduce`, returns `PIF ref`. Since XenServer 4.1 (miami). Least role: pool-operator.
    "PIF.introduce" Introduce -> Ref<Pif> {
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        mac: String,
        /// `string`
        device: String,
        /// `bool`
        managed: bool,
    }
}

call! {
    /// `PIF.scan`, returns `void`. Since XenServer 4.1 (miami). Least role: pool-operator.
    "PIF.scan" Scan -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `PIF.set_primary_address_type`, returns `void`. Since XenServer 6.1 (tampa). Least role:
    /// pool-operator.
    "PIF.set_primary_address_type" SetPrimaryAddressType -> () {
        /// `PIF ref`
        pif: Ref<Pif>,
        /// `enum primary_address_type`
        primary_address_type: PrimaryAddressType,
    }
}

call! {
    /// `PIF.reconfigure_ipv6`, returns `void`. Since XenServer 6.1 (tampa). Least role:
    /// pool-operator. Fails with `CLUSTERING_ENABLED`, among others.
    "PIF.reconfigure_ipv6" ReconfigureIpv6 -> () {
        /// `PIF ref`
        pif: Ref<Pif>,
        /// `enum ipv6_configuration_mode`
        mode: Ipv6ConfigurationMode,
        /// `string`
        ipv6: String,
        /// `string`
        gateway: String,
        /// `string`
        dns: String,
    }
}

call! {
    /// `PIF.reconfigure_ip`, returns `void`. Since XenServer 4.1 (miami). Least role:
    /// pool-operator. Fails with `CLUSTERING_ENABLED`, among others.
    "PIF.reconfigure_ip" ReconfigureIp -> () {
        /// `PIF ref`
        pif: Ref<Pif>,
        /// `enum ip_configuration_mode`
        mode: IpConfigurationMode,
        /// `string`
        ip: String,
        /// `string`
        netmask: String,
        /// `string`
        gateway: String,
        /// `string`
        dns: String,
    }
}

call! {
    /// `PIF.destroy`, returns `void`. Deprecated since XenServer 4.1 (miami). Least role:
    /// pool-operator. Fails with `PIF_IS_PHYSICAL`, among others.
    "PIF.destroy" Destroy -> () {
        /// `PIF ref`
        pif: Ref<Pif>,
    }
}

call! {
    /// `PIF.create_VLAN`, returns `PIF ref`. Deprecated since XenServer 4.1 (miami). Least role:
    /// pool-operator. Fails with `VLAN_TAG_INVALID`, among others.
    "PIF.create_VLAN" CreateVlan -> Ref<Pif> {
        /// `string`
        device: String,
        /// `network ref`
        network: Ref<Network>,
        /// `host ref`
        host: Ref<Host>,
        /// `int`
        vlan: i64,
    }
}

/// Names of the fields of `PIF`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Pif;
        ro UUID "uuid" String;
        ro DEVICE "device" String;
        ro NETWORK "network" Ref<Network>;
        ro HOST "host" Ref<Host>;
        ro MAC "MAC" String;
        ro MTU "MTU" i64;
        ro VLAN "VLAN" i64;
        ro METRICS "metrics" Ref<PifMetrics>;
        ro PHYSICAL "physical" bool;
        ro CURRENTLY_ATTACHED "currently_attached" bool;
        ro IP_CONFIGURATION_MODE "ip_configuration_mode" IpConfigurationMode;
        ro IP "IP" String;
        ro NETMASK "netmask" String;
        ro GATEWAY "gateway" String;
        ro DNS "DNS" String;
        ro BOND_SLAVE_OF "bond_slave_of" Ref<Bond>;
        ro BOND_MASTER_OF "bond_master_of" Vec<Ref<Bond>>;
        ro VLAN_MASTER_OF "VLAN_master_of" Ref<Vlan>;
        ro VLAN_SLAVE_OF "VLAN_slave_of" Vec<Ref<Vlan>>;
        ro MANAGEMENT "management" bool;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro DISALLOW_UNPLUG "disallow_unplug" bool;
        ro TUNNEL_ACCESS_PIF_OF "tunnel_access_PIF_of" Vec<Ref<Tunnel>>;
        ro TUNNEL_TRANSPORT_PIF_OF "tunnel_transport_PIF_of" Vec<Ref<Tunnel>>;
        ro IPV6_CONFIGURATION_MODE "ipv6_configuration_mode" Ipv6ConfigurationMode;
        ro IPV6 "IPv6" Vec<String>;
        ro IPV6_GATEWAY "ipv6_gateway" String;
        ro PRIMARY_ADDRESS_TYPE "primary_address_type" PrimaryAddressType;
        ro MANAGED "managed" bool;
        ro PROPERTIES "properties" BTreeMap<String, String>;
        ro CAPABILITIES "capabilities" Vec<String>;
        ro IGMP_SNOOPING_STATUS "igmp_snooping_status" PifIgmpStatus;
        ro SRIOV_PHYSICAL_PIF_OF "sriov_physical_PIF_of" Vec<Ref<NetworkSriov>>;
        ro SRIOV_LOGICAL_PIF_OF "sriov_logical_PIF_of" Vec<Ref<NetworkSriov>>;
        ro PCI "PCI" Ref<Pci>;
    }
}
