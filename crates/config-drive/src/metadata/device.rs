//! Tagged devices, as `devices` of `meta_data.json` lists them.

use serde_json::{Map, Value, json};

use super::Version;
use crate::MacAddr;

/// A device of the guest that the user gave tags to, so that software inside can find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// What it is.
    pub kind: DeviceKind,
    /// The bus the guest sees it on.
    pub bus: Bus,
    /// The address on that bus, if it is known.
    pub address: Option<String>,
    /// The user's tags.
    pub tags: Vec<String>,
}

/// What a tagged device is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceKind {
    /// A network card.
    Nic {
        /// Its hardware address.
        mac: MacAddr,
        /// The VLAN it is on, for a passed-through card. From version 2017-02-22.
        vlan: Option<u16>,
        /// Whether a virtual function is trusted. From version 2018-08-27.
        vf_trusted: bool,
    },
    /// A disk.
    Disk {
        /// Its serial number.
        serial: Option<String>,
        /// Where the guest finds it.
        path: Option<String>,
    },
}

/// The bus a tagged device is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// PCI.
    Pci,
    /// IDE.
    Ide,
    /// Xen's paravirtual bus.
    Xen,
    /// Not known.
    None,
}

impl Device {
    /// A network card of a guest on Xen.
    pub fn nic(mac: MacAddr, tags: Vec<String>) -> Self {
        Self {
            kind: DeviceKind::Nic { mac, vlan: None, vf_trusted: false },
            bus: Bus::Pci,
            address: None,
            tags,
        }
    }

    /// The entries for the disk in position `userdevice` of a guest on Xen.
    ///
    /// One disk has several: which is right depends on the guest's drivers. Linux names a disk by the
    /// number `202 * 256 + n * 16` of its `xvd` device, or `2^28 + n * 256` from the seventeenth on;
    /// Windows by its place on the paravirtual SCSI adapter; and the first four also show up as IDE.
    pub fn xen_disk(userdevice: u32, device_name: &str, tags: &[String]) -> Vec<Self> {
        let n = userdevice;
        let entry = |bus, address: String, path: String| Self {
            kind: DeviceKind::Disk { serial: None, path: Some(path) },
            bus,
            address: Some(address),
            tags: tags.to_vec(),
        };
        let vbd = |number: u32| entry(Bus::Xen, number.to_string(), format!("/sys/devices/vbd-{number}"));
        let mut entries = Vec::new();
        if n < 4 {
            entries.push(entry(Bus::Ide, format!("{}:{}", n / 2, n % 2), device_name.to_owned()));
        }
        let place = format!("00{n:02}00");
        let key = format!(r"HKLM\SYSTEM\ControlSet001\Enum\SCSI\Disk&Ven_XENSRC&Prod_PVDISK\{place}");
        entries.push(entry(Bus::Xen, place, key));
        entries.push(vbd(if n < 16 { 202 * 256 + n * 16 } else { (1 << 28) + n * 256 }));
        match n {
            0 | 1 => entries.push(vbd(3 * 256 + n * 64)),
            2 | 3 => entries.push(vbd(22 * 256 + (n - 2) * 64)),
            _ => {}
        }
        entries
    }

    pub(crate) fn to_json(&self, version: Version) -> Value {
        let mut object = Map::new();
        match &self.kind {
            DeviceKind::Nic { mac, vlan, vf_trusted } => {
                object.insert("type".into(), json!("nic"));
                object.insert("mac".into(), json!(mac));
                if let Some(vlan) = vlan.filter(|_| version >= Version::Ocata) {
                    object.insert("vlan".into(), json!(vlan));
                }
                if version >= Version::Rocky {
                    object.insert("vf_trusted".into(), json!(vf_trusted));
                }
            }
            DeviceKind::Disk { serial, path } => {
                object.insert("type".into(), json!("disk"));
                if let Some(serial) = serial {
                    object.insert("serial".into(), json!(serial));
                }
                if let Some(path) = path {
                    object.insert("path".into(), json!(path));
                }
            }
        }
        let bus = match self.bus {
            Bus::Pci => "pci",
            Bus::Ide => "ide",
            Bus::Xen => "xen",
            Bus::None => "none",
        };
        object.insert("bus".into(), json!(bus));
        object.insert("address".into(), json!(self.address.as_deref().unwrap_or("none")));
        object.insert("tags".into(), json!(self.tags));
        object.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_xen_disks() {
        for (n, expected) in [
            (0, &["0:0", "000000", "51712", "768"][..]),
            (1, &["0:1", "000100", "51728", "832"]),
            (2, &["1:0", "000200", "51744", "5632"]),
            (3, &["1:1", "000300", "51760", "5696"]),
            (4, &["000400", "51776"]),
            (15, &["001500", "51952"]),
            (16, &["001600", "268439552"]),
        ] {
            let entries = Device::xen_disk(n, "/dev/sda", &[]);
            let addresses: Vec<_> = entries.iter().map(|entry| entry.address.as_deref().unwrap()).collect();
            assert_eq!(addresses, expected, "device {n}");
        }
    }

    #[test]
    fn keys_by_version() {
        let mut nic = Device::nic("fa:16:3e:00:00:01".parse().unwrap(), vec!["db".into()]);
        nic.kind = match nic.kind {
            DeviceKind::Nic { mac, .. } => DeviceKind::Nic { mac, vlan: Some(7), vf_trusted: true },
            disk => disk,
        };
        let common = json!({
            "type": "nic", "mac": "fa:16:3e:00:00:01", "bus": "pci", "address": "none", "tags": ["db"],
        });
        assert_eq!(nic.to_json(Version::NewtonTwo), common);
        let mut with_vlan = common.clone();
        with_vlan["vlan"] = json!(7);
        assert_eq!(nic.to_json(Version::Ocata), with_vlan);
        with_vlan["vf_trusted"] = json!(true);
        assert_eq!(nic.to_json(Version::Latest), with_vlan);
    }
}
