//! The links of `network_data.json`: cards, bonds of cards, and VLANs on either.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::network::FILE;
use crate::{Error, MacAddr};

/// What addresses can be on: a network card, or what the guest makes of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// How networks and other links refer to it: the name of the host's device, or `interface0` and on.
    pub id: String,
    /// The id of the port, in Neutron's terms.
    pub vif_id: Option<String>,
    /// What it is.
    pub kind: LinkKind,
    /// The largest packet, when it is not for the guest to find out.
    pub mtu: Option<u32>,
    /// The hardware address: by it the guest finds a card; a bond or a VLAN is given it.
    pub mac: MacAddr,
}

/// What a link is. All but bonds and VLANs are cards to a guest; what they hang on in the host is told all the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LinkKind {
    /// A plain card.
    #[default]
    Phy,
    /// A bridge of the host.
    Bridge,
    /// Open vSwitch.
    Ovs,
    /// A virtual interface of Xen.
    Vif,
    /// A tap device.
    Tap,
    /// A distributed switch of VMware.
    Dvs,
    /// A function of a card with a bridge in hardware.
    HwVeb,
    /// A switch of Hyper-V.
    Hyperv,
    /// A program in user space.
    VhostUser,
    /// Cards that the guest makes one of.
    Bond {
        /// Their [`Link::id`]s.
        links: Vec<String>,
        /// How they share the work.
        mode: BondMode,
        /// How often each is looked at, in milliseconds; `None` leaves it to the guest.
        miimon: Option<u32>,
        /// By what a packet's card is chosen: `layer2`, `layer2+3`, `layer3+4`, `encap2+3` or `encap3+4`.
        xmit_hash_policy: Option<String>,
    },
    /// A VLAN on a card or a bond.
    Vlan {
        /// The [`Link::id`] of what it is on.
        link: String,
        /// Its tag, from 1 to 4094.
        tag: u16,
    },
}

/// How the cards of a bond share the work, by Linux's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BondMode {
    /// One after the other.
    BalanceRr,
    /// One works, the others wait.
    ActiveBackup,
    /// By a hash of addresses.
    BalanceXor,
    /// All the same.
    Broadcast,
    /// As agreed with the switch, by LACP.
    Ieee8023ad,
    /// Sending is shared.
    BalanceTlb,
    /// Sending and receiving are shared.
    BalanceAlb,
}

const HASH_POLICIES: [&str; 5] = ["layer2", "layer2+3", "layer3+4", "encap2+3", "encap3+4"];

impl BondMode {
    /// Linux's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BalanceRr => "balance-rr",
            Self::ActiveBackup => "active-backup",
            Self::BalanceXor => "balance-xor",
            Self::Broadcast => "broadcast",
            Self::Ieee8023ad => "802.3ad",
            Self::BalanceTlb => "balance-tlb",
            Self::BalanceAlb => "balance-alb",
        }
    }
}

impl LinkKind {
    const fn as_str(&self) -> &'static str {
        match self {
            Self::Phy => "phy",
            Self::Bridge => "bridge",
            Self::Ovs => "ovs",
            Self::Vif => "vif",
            Self::Tap => "tap",
            Self::Dvs => "dvs",
            Self::HwVeb => "hw_veb",
            Self::Hyperv => "hyperv",
            Self::VhostUser => "vhostuser",
            Self::Bond { .. } => "bond",
            Self::Vlan { .. } => "vlan",
        }
    }

    const fn is_card(&self) -> bool {
        !matches!(self, Self::Bond { .. } | Self::Vlan { .. })
    }
}

impl Link {
    pub(crate) fn to_json(&self) -> Value {
        let mut link = json!({
            "id": self.id, "vif_id": self.vif_id, "type": self.kind.as_str(), "mtu": self.mtu,
            "ethernet_mac_address": self.mac,
        });
        match &self.kind {
            LinkKind::Bond { links, mode, miimon, xmit_hash_policy } => {
                link["bond_links"] = json!(links);
                link["bond_mode"] = json!(mode.as_str());
                // Guests pass on what is there, and `null` means nothing to them.
                if let Some(miimon) = miimon {
                    link["bond_miimon"] = json!(miimon);
                }
                if let Some(policy) = xmit_hash_policy {
                    link["bond_xmit_hash_policy"] = json!(policy);
                }
            }
            LinkKind::Vlan { link: on, tag } => {
                link["vlan_link"] = json!(on);
                link["vlan_id"] = json!(tag);
                link["vlan_mac_address"] = json!(self.mac);
            }
            _ => {}
        }
        link
    }
}

/// The ids that addresses can be on: of all links but the cards in bonds.
pub(super) fn check(links: &[Link]) -> Result<BTreeSet<&str>, Error> {
    let (mut by_id, mut macs) = (BTreeMap::new(), BTreeSet::new());
    for (i, link) in links.iter().enumerate() {
        let invalid = |field: &str, value: String, reason| Err(invalid(i, field, value, reason));
        if link.id.is_empty() || by_id.insert(&*link.id, link).is_some() {
            return invalid("id", link.id.clone(), "must be unique and not empty");
        }
        if link.kind.is_card() && !macs.insert(link.mac) {
            let reason = "is also the address of another link, and guests find cards by it";
            return invalid("ethernet_mac_address", link.mac.to_string(), reason);
        }
        if let Some(mtu) = link.mtu.filter(|mtu| !(68..=65535).contains(mtu)) {
            return invalid("mtu", mtu.to_string(), "is not between 68 and 65535");
        }
    }
    let (mut enslaved, mut vlans) = (BTreeSet::new(), BTreeSet::new());
    for (i, link) in links.iter().enumerate() {
        match &link.kind {
            LinkKind::Bond { links, xmit_hash_policy, .. } => {
                check_bond(i, links, xmit_hash_policy.as_deref(), &by_id, &mut enslaved)?;
            }
            LinkKind::Vlan { tag, .. } if !(1..=4094).contains(tag) => {
                return Err(invalid(i, "vlan_id", tag.to_string(), "is not between 1 and 4094"));
            }
            LinkKind::Vlan { link: on, tag } => {
                let base = by_id.get(&**on).filter(|base| !matches!(base.kind, LinkKind::Vlan { .. }));
                if base.is_none() {
                    return Err(invalid(i, "vlan_link", on.clone(), "is not the id of a card or a bond"));
                }
                if !vlans.insert((on, tag)) {
                    return Err(invalid(
                        i,
                        "vlan_id",
                        tag.to_string(),
                        "is that of another VLAN on the same link",
                    ));
                }
            }
            _ => {}
        }
    }
    if let Some((i, link)) = links.iter().enumerate().find_map(|(i, link)| match &link.kind {
        LinkKind::Vlan { link, .. } if enslaved.contains(&**link) => Some((i, link)),
        _ => None,
    }) {
        return Err(invalid(i, "vlan_link", link.clone(), "is a card in a bond; put the VLAN on the bond"));
    }
    Ok(by_id.into_keys().filter(|id| !enslaved.contains(id)).collect())
}

fn check_bond<'a>(
    i: usize,
    cards: &'a [String],
    policy: Option<&str>,
    by_id: &BTreeMap<&str, &Link>,
    enslaved: &mut BTreeSet<&'a str>,
) -> Result<(), Error> {
    if cards.is_empty() {
        return Err(invalid(i, "bond_links", String::new(), "names no card"));
    }
    for card in cards {
        if !by_id.get(&**card).is_some_and(|link| link.kind.is_card()) {
            return Err(invalid(i, "bond_links", card.clone(), "is not the id of a card"));
        }
        if !enslaved.insert(card) {
            return Err(invalid(i, "bond_links", card.clone(), "is in a bond already"));
        }
    }
    match policy.filter(|policy| !HASH_POLICIES.contains(policy)) {
        Some(policy) => {
            Err(invalid(i, "bond_xmit_hash_policy", policy.to_owned(), "is none that Linux knows"))
        }
        None => Ok(()),
    }
}

fn invalid(i: usize, field: &str, value: String, reason: &'static str) -> Error {
    Error::InvalidField { file: FILE, field: format!("links[{i}].{field}"), value, reason }
}
