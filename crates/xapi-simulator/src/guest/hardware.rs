//! What a VM's record asks for, as QEMU's command line.
//!
//! It is not a Xen guest that comes out: disks and interfaces are virtio's, in the order of `userdevice` and `device`
//! and without gaps, and there is no xenstore. The firmware boots from what `HVM_boot_params` says.

use std::io;
use std::path::Path;

use serde_json::{Value, json};
use xenapi_wire::Failure;

use crate::classes::vdi;
use crate::db::{Object, View};

/// Firmware for VMs that want UEFI.
const OVMF: &str = "/usr/share/ovmf/OVMF.fd";

/// A VM's hardware.
#[derive(Debug)]
pub(super) struct Hardware {
    pub(super) uuid: String,
    name: String,
    memory_mib: i64,
    vcpus: i64,
    vcpus_max: i64,
    is_uefi: bool,
    /// The letters of `HVM_boot_params/order`: disk, CD, network.
    order: String,
    drives: Vec<Drive>,
    macs: Vec<String>,
}

/// A drive, with a medium in it or not.
#[derive(Debug)]
struct Drive {
    /// The name of its export: its uuid.
    vbd: String,
    vdi: Option<String>,
    is_cd: bool,
    is_writable: bool,
}

/// Where the programs of a machine meet: sockets in a directory of its own.
pub(super) struct Sockets<'a>(pub(super) &'a Path);

impl Sockets<'_> {
    pub(super) fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Hardware {
    /// # Errors
    /// `HANDLE_INVALID`.
    pub(super) fn of(view: &View, vm: &str) -> Result<Self, Failure> {
        let vm = view.object("VM", vm)?;
        let memory_bytes = match vm.int("memory_target") {
            0 => vm.int("memory_dynamic_max"),
            target => target,
        };
        let mut vbds: Vec<Object<'_>> = view.follow(vm, "VBDs", "VBD").collect();
        vbds.sort_by_key(|vbd| number(vbd.str("userdevice")));
        let mut vifs: Vec<Object<'_>> = view.follow(vm, "VIFs", "VIF").collect();
        vifs.sort_by_key(|vif| number(vif.str("device")));
        let order = vm.entry("HVM_boot_params", "order").filter(|order| !order.is_empty());
        Ok(Self {
            uuid: vm.str("uuid").to_owned(),
            name: vm.str("name_label").to_owned(),
            memory_mib: memory_bytes >> 20,
            vcpus: vm.int("VCPUs_at_startup"),
            vcpus_max: vm.int("VCPUs_max"),
            is_uefi: vm.entry("HVM_boot_params", "firmware") == Some("uefi"),
            order: order.unwrap_or("cd").to_owned(),
            drives: vbds.into_iter().map(|vbd| Drive::of(view, vbd)).collect(),
            macs: vifs.into_iter().map(|vif| vif.str("MAC").to_owned()).collect(),
        })
    }

    /// # Errors
    /// When what it needs is not installed, with the package that has it.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.is_uefi && !Path::new(OVMF).is_file() {
            let text = format!("{OVMF} is not installed: UEFI for guests is in Debian's package ovmf");
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        Ok(())
    }

    /// The arguments with which QEMU sets the machine up and waits to be told to go on.
    pub(super) fn arguments(&self, sockets: &Sockets<'_>, accelerator: &str) -> Vec<String> {
        // The name is the client's: in QEMU's syntax, a comma is written twice.
        let name = format!("guest={}", self.name.replace(',', ",,"));
        let smp = format!("cpus={},maxcpus={}", self.vcpus, self.vcpus_max);
        let memory = format!("{}M", self.memory_mib);
        let mut arguments: Vec<String> = [
            ["-name", &name],
            ["-uuid", &self.uuid],
            ["-machine", "pc"],
            ["-accel", accelerator],
            ["-cpu", "max"],
            ["-m", &memory],
            ["-smp", &smp],
            ["-rtc", "base=utc"],
            ["-vga", "std"],
            ["-display", "none"],
            ["-vnc", &format!("unix:{},share=force-shared", sockets.path("vnc"))],
            ["-chardev", &format!("socket,id=monitor,path={}", sockets.path("monitor"))],
            ["-mon", "chardev=monitor,mode=control"],
            ["-chardev", &format!("socket,id=serial,path={}", sockets.path("serial"))],
            ["-device", "isa-serial,chardev=serial"],
        ]
        .into_iter()
        .flatten()
        .map(str::to_owned)
        .collect();
        arguments.extend(
            ["-nodefaults", "-no-user-config", "-no-shutdown", "-no-reboot", "-S"].map(str::to_owned),
        );
        if self.is_uefi {
            arguments.extend(["-bios".to_owned(), OVMF.to_owned()]);
        }
        let devices = self.drives(sockets).into_iter().chain(self.interfaces());
        arguments.extend(devices.flat_map(|(option, value)| [option.to_owned(), value.to_string()]));
        arguments
    }

    fn drives(&self, sockets: &Sockets<'_>) -> Vec<(&'static str, Value)> {
        let (mut options, mut cds) = (Vec::new(), 0);
        for (number, drive) in self.drives.iter().enumerate() {
            let node = format!("drive{number}");
            if drive.vdi.is_some() {
                options.push((
                    "-blockdev",
                    json!({
                        "driver": "nbd",
                        "node-name": node,
                        "server": { "type": "unix", "path": sockets.path("disks") },
                        "export": drive.vbd,
                        "read-only": !drive.is_writable,
                    }),
                ));
            }
            let mut device = match drive.is_cd {
                true => json!({ "driver": "ide-cd", "bus": format!("ide.{}", cds / 2), "unit": cds % 2 }),
                false => json!({ "driver": "virtio-blk-pci" }),
            };
            cds += usize::from(drive.is_cd);
            device["id"] = json!(format!("vbd-{}", drive.vbd));
            if let Some(vdi) = &drive.vdi {
                device["drive"] = json!(node);
                // As many characters as virtio has room for.
                device["serial"] = json!(vdi.chars().take(20).collect::<String>());
            }
            if let Some(index) = self.boot_index(if drive.is_cd { 'd' } else { 'c' }, number) {
                device["bootindex"] = json!(index);
            }
            options.push(("-device", device));
        }
        options
    }

    /// Interfaces with their addresses, each in a network of its own where nobody else is.
    fn interfaces(&self) -> Vec<(&'static str, Value)> {
        let pairs = self.macs.iter().enumerate().map(|(number, mac)| {
            let net = format!("net{number}");
            let mut device = json!({
                "driver": "virtio-net-pci", "id": format!("vif{number}"), "netdev": net, "mac": mac, "romfile": "",
            });
            if let Some(index) = self.boot_index('n', number) {
                device["bootindex"] = json!(index);
            }
            let options: [(&str, Value); 2] = [
                ("-netdev", json!({ "type": "user", "id": net, "restrict": true })),
                ("-device", device),
            ];
            options
        });
        pairs.flatten().collect()
    }

    /// When this device of its kind is tried, if it is: by kind in the order of the letters, then by number.
    fn boot_index(&self, letter: char, number: usize) -> Option<usize> {
        let kind = self.order.chars().position(|other| other == letter)?;
        Some(kind * 1000 + number + 1)
    }
}

impl Drive {
    fn of(view: &View, vbd: Object<'_>) -> Self {
        let vdi = vbd.ref_opt("VDI").and_then(|vdi| view.find("VDI", vdi));
        Self {
            vbd: vbd.str("uuid").to_owned(),
            vdi: vdi.map(|vdi| vdi::uuid_of(vdi).to_string()),
            is_cd: vbd.str("type") == "CD",
            is_writable: vbd.str("mode") == "RW",
        }
    }
}

/// A device's number; what has a name comes last.
fn number(device: &str) -> u32 {
    device.parse().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hardware() -> Hardware {
        let drive = |vbd: &str, vdi: Option<&str>, is_cd, is_writable| Drive {
            vbd: vbd.to_owned(),
            vdi: vdi.map(str::to_owned),
            is_cd,
            is_writable,
        };
        Hardware {
            uuid: "9b1c6e3c-0000-0000-0000-000000000001".to_owned(),
            name: "a,b".to_owned(),
            memory_mib: 256,
            vcpus: 1,
            vcpus_max: 2,
            is_uefi: false,
            order: "dc".to_owned(),
            drives: vec![
                drive("root", Some("00000000-1111-2222-3333-444444444444"), false, true),
                drive("config", Some("55555555-1111-2222-3333-444444444444"), false, false),
                drive("cd", None, true, false),
            ],
            macs: vec!["fa:16:3e:00:00:01".to_owned()],
        }
    }

    /// The values of an option.
    fn values(option: &str) -> Vec<String> {
        let arguments = hardware().arguments(&Sockets(Path::new("/run/x")), "tcg");
        arguments.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1].clone()).collect()
    }

    fn parsed(option: &str) -> Vec<Value> {
        values(option).iter().filter_map(|value| serde_json::from_str(value).ok()).collect()
    }

    #[test]
    fn a_name_cannot_add_options() {
        assert_eq!(values("-name"), ["guest=a,,b"]);
    }

    #[test]
    fn drives_are_exports_that_can_be_written_as_their_vbds() {
        let exports = parsed("-blockdev");
        let shown: Vec<_> =
            exports.iter().map(|e| (e["export"].as_str(), e["read-only"].as_bool())).collect();
        assert_eq!(shown, [(Some("root"), Some(false)), (Some("config"), Some(true))]);
        let devices = parsed("-device");
        let shown: Vec<_> = devices
            .iter()
            .map(|d| (d["driver"].as_str().unwrap(), d["drive"].as_str(), d["bootindex"].as_i64()))
            .collect();
        assert_eq!(
            shown,
            [
                ("virtio-blk-pci", Some("drive0"), Some(1001)),
                ("virtio-blk-pci", Some("drive1"), Some(1002)),
                ("ide-cd", None, Some(3)),
                ("virtio-net-pci", None, None),
            ]
        );
        assert_eq!(devices[3]["mac"], "fa:16:3e:00:00:01");
    }
}
