//! Which release of XAPI is played.
//!
//! Classes, fields, messages, parameters and enum values of a release follow from the table of facts
//! (`xtask/datamodel`, the releases in which they came); what the table cannot say is here.

use std::fmt;
use std::str::FromStr;

use xenapi_types::meta::Release;
use xenapi_wire::{Failure, Value};

use crate::db::Tx;

/// A server that people run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Personality {
    /// XenServer 7.0, which speaks XML-RPC alone.
    XenServer70,
    /// XenServer 7.6.
    XenServer76,
    /// XCP-ng 8.2, made from Citrix Hypervisor 8.2 CU1.
    XcpNg82,
    /// XCP-ng 8.3 as it came out, with XAPI 24.19.
    XcpNg83,
    /// XAPI 26.17, which the recordings show.
    #[default]
    Xapi26,
}

/// What a release says of itself.
struct Facts {
    name: &'static str,
    /// Its place among the releases of the datamodel; empty for the newest.
    datamodel: &'static str,
    api_version_minor: i64,
    software: &'static [(&'static str, &'static str)],
}

const XENSERVER_70: Facts = Facts {
    name: "xenserver-7.0",
    datamodel: "dundee",
    api_version_minor: 5,
    software: &[
        ("product_brand", "XenServer"),
        ("product_version", "7.0.0"),
        ("product_version_text", "7.0"),
        ("product_version_text_short", "7.0"),
        ("platform_version", "2.1.0"),
        ("xapi", "1.9"),
        ("xen", "4.6.1"),
        ("linux", "3.10.0+10"),
        ("date", "2016-05-20"),
    ],
};

const XENSERVER_76: Facts = Facts {
    name: "xenserver-7.6",
    datamodel: "lima",
    api_version_minor: 11,
    software: &[
        ("product_brand", "XenServer"),
        ("product_version", "7.6.0"),
        ("product_version_text", "7.6"),
        ("product_version_text_short", "7.6"),
        ("platform_version", "2.7.1"),
        ("xapi", "1.14"),
        ("xen", "4.7.6"),
        ("linux", "4.4.0+10"),
        ("date", "2018-08-10"),
    ],
};

const XCP_NG_82: Facts = Facts {
    name: "xcp-ng-8.2",
    datamodel: "stockholm_psr",
    api_version_minor: 16,
    software: &[
        ("product_brand", "XCP-ng"),
        ("product_version", "8.2.1"),
        ("product_version_text", "8.2"),
        ("product_version_text_short", "8.2"),
        ("platform_version", "3.2.1"),
        ("xapi", "1.20"),
        ("xen", "4.13.5"),
        ("linux", "4.19.0+1"),
        ("date", "2022-02-11"),
    ],
};

const XCP_NG_83: Facts = Facts {
    name: "xcp-ng-8.3",
    datamodel: "24.19.2",
    api_version_minor: 21,
    software: &[
        ("product_brand", "XCP-ng"),
        ("product_version", "8.3.0"),
        ("product_version_text", "8.3"),
        ("product_version_text_short", "8.3"),
        ("platform_version", "3.4.0"),
        ("xapi", "24.19"),
        ("xapi_build", "24.19.2"),
        ("xen", "4.17.5"),
        ("linux", "4.19.0+1"),
        ("date", "2024-10-07"),
    ],
};

const XAPI_26: Facts = Facts { name: "xapi-26", datamodel: "", api_version_minor: 23, software: &[] };

/// What storage drivers learned, by release.
const SR_FEATURES: &[(&str, &str)] = &[("VDI_CONFIG_CBT", "inverness")];

impl Personality {
    /// All of them, the oldest first.
    pub const ALL: [Self; 5] =
        [Self::XenServer70, Self::XenServer76, Self::XcpNg82, Self::XcpNg83, Self::Xapi26];

    /// As the command line spells it: `xcp-ng-8.2`.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    fn facts(self) -> &'static Facts {
        match self {
            Self::XenServer70 => &XENSERVER_70,
            Self::XenServer76 => &XENSERVER_76,
            Self::XcpNg82 => &XCP_NG_82,
            Self::XcpNg83 => &XCP_NG_83,
            Self::Xapi26 => &XAPI_26,
        }
    }

    /// Its place among the releases; nothing for the newest, which has everything.
    pub(crate) fn release(self) -> Option<Release> {
        Release::parse(self.facts().datamodel)
    }

    /// Whether calls in JSON-RPC are understood. What does not understand them takes them for XML-RPC, as any POST.
    pub(crate) fn speaks_json(self) -> bool {
        self != Self::XenServer70
    }

    /// Has hosts and storage drivers say which release they are. The newest leaves what the world says.
    pub(crate) fn introduce(self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let Some(release) = self.release() else { return Ok(()) };
        let facts = self.facts();
        for host in references(tx, "host") {
            tx.set("host", &host, "API_version_minor", facts.api_version_minor)?;
            let hostname =
                tx.object("host", &host)?.entry("software_version", "hostname").unwrap_or("localhost");
            let own = [("platform_name", "XCP"), ("build_number", "simulator"), ("hostname", hostname)];
            let all = facts.software.iter().copied().chain(own);
            let all = all.map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
            tx.set("host", &host, "software_version", Value::Struct(all))?;
            let object = tx.object("host", &host)?;
            if !object.class().has_field("iscsi_iqn") {
                let iqn = object.str("iscsi_iqn").to_owned();
                tx.set_entry("host", &host, "other_config", "iscsi_iqn", iqn)?;
            }
        }
        if !release.has("22.26.0") {
            for pool in references(tx, "pool") {
                let mut restrictions = tx.object("pool", &pool)?.map("restrictions").clone();
                restrictions.remove("restrict_vtpm");
                tx.set("pool", &pool, "restrictions", Value::Struct(restrictions))?;
            }
        }
        let has =
            |feature: &str| SR_FEATURES.iter().all(|(name, since)| *name != feature || release.has(since));
        for sm in references(tx, "SM") {
            let driver = tx.object("SM", &sm)?;
            let capabilities: Vec<&str> = driver.strs("capabilities").filter(|name| has(name)).collect();
            let capabilities = Value::from(capabilities);
            let mut features = driver.map("features").clone();
            features.retain(|name, _| has(name));
            tx.set("SM", &sm, "capabilities", capabilities)?;
            tx.set("SM", &sm, "features", Value::Struct(features))?;
        }
        Ok(())
    }
}

fn references(tx: &Tx<'_>, class: &str) -> Vec<String> {
    tx.objects(class).map(|object| object.reference().to_owned()).collect()
}

impl fmt::Display for Personality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Personality {
    type Err = UnknownPersonality;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|personality| personality.name() == text);
        found.ok_or_else(|| UnknownPersonality { name: text.to_owned() })
    }
}

/// A name that no [`Personality`] has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no release {name:?} to play; use one of {}", Personality::ALL.map(Personality::name).join(", "))]
pub struct UnknownPersonality {
    name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_releases_are_in_order() {
        for personality in Personality::ALL {
            assert_eq!(personality.name().parse(), Ok(personality));
            assert_eq!(personality.release().is_none(), personality == Personality::Xapi26);
        }
        assert!(Personality::ALL[..4].is_sorted_by_key(|personality| personality.release()));
        let text = "xcp-ng-9".parse::<Personality>().unwrap_err().to_string();
        assert!(
            text.ends_with("use one of xenserver-7.0, xenserver-7.6, xcp-ng-8.2, xcp-ng-8.3, xapi-26"),
            "{text}"
        );
    }
}
