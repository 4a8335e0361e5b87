//! Calls back into XAPI of this host, in the session of whoever called the plugin.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use xenapi_wire::{Limits, Value, xmlrpc};

use crate::dom0::Dom0;
use crate::plugins::Error;

/// What this host is called, written when it was installed.
const INVENTORY: &str = "/etc/xensource-inventory";
const DETACH_POLLS: u32 = 30;

/// XAPI on this host.
pub(crate) struct Xapi<'a> {
    dom0: &'a dyn Dom0,
    session: &'a str,
}

/// A VDI that is attached to this host's control domain, until the guard goes.
pub(crate) struct AttachedVdi<'a> {
    xapi: &'a Xapi<'a>,
    vbd: String,
    is_attached: bool,
}

impl<'a> Xapi<'a> {
    pub(crate) fn new(dom0: &'a dyn Dom0, session: &'a str) -> Self {
        Self { dom0, session }
    }

    /// # Errors
    /// [`Error::Xapi`] with XAPI's refusal.
    pub(crate) fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: &(impl Serialize + ?Sized),
    ) -> Result<T, Error> {
        let failed = |e: &dyn std::fmt::Display| Error::Other(format!("calling {method} on this host: {e}"));
        let request = xmlrpc::encode_call(method, Some(self.session), params).map_err(|e| failed(&e))?;
        let answer = self.dom0.xapi(&request).map_err(|e| failed(&e))?;
        xmlrpc::decode_response(&answer, &Limits::RESPONSE).map_err(|e| failed(&e))?.map_err(Error::Xapi)
    }

    /// Attaches a VDI to the control domain of the host that this runs on, whichever host the session is of.
    pub(crate) fn attach(&'a self, vdi: &str) -> Result<AttachedVdi<'a>, Error> {
        let uuid = inventory(self.dom0, "CONTROL_DOMAIN_UUID")?;
        let domain: String = self.call("VM.get_by_uuid", &(uuid,))?;
        let texts = [
            ("VM", domain.as_str()),
            ("VDI", vdi),
            ("userdevice", "autodetect"),
            ("mode", "RO"),
            ("type", "Disk"),
            ("qos_algorithm_type", ""),
        ];
        let flags = [("bootable", false), ("empty", false), ("unpluggable", true)];
        let maps = ["other_config", "qos_algorithm_params"];
        let record: BTreeMap<&str, Value> = texts
            .map(|(name, text)| (name, Value::from(text)))
            .into_iter()
            .chain(flags.map(|(name, flag)| (name, Value::from(flag))))
            .chain(maps.map(|name| (name, Value::Struct(BTreeMap::new()))))
            .collect();
        let vbd: String = self.call("VBD.create", &(record,))?;
        let attached = AttachedVdi { xapi: self, vbd, is_attached: true };
        self.call::<()>("VBD.plug", &(&attached.vbd,))?;
        Ok(attached)
    }
}

impl AttachedVdi<'_> {
    /// Where it is.
    pub(crate) fn device(&self) -> Result<PathBuf, Error> {
        let name: String = self.xapi.call("VBD.get_device", &(&self.vbd,))?;
        Ok(Path::new("/dev").join(name))
    }

    /// Detaches it; it is waited for while something of this host still has it open.
    pub(crate) fn detach(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        if !std::mem::take(&mut self.is_attached) {
            return Ok(());
        }
        for poll in 0.. {
            match self.xapi.call::<()>("VBD.unplug", &(&self.vbd,)) {
                Err(Error::Xapi(e)) if e.code == "DEVICE_DETACH_REJECTED" && poll < DETACH_POLLS => {
                    self.xapi.dom0.sleep(Duration::from_secs(1));
                }
                Err(Error::Xapi(e)) if e.code == "DEVICE_ALREADY_DETACHED" => break,
                other => {
                    other?;
                    break;
                }
            }
        }
        self.xapi.call("VBD.destroy", &(&self.vbd,))
    }
}

impl Drop for AttachedVdi<'_> {
    fn drop(&mut self) {
        // Whoever did not ask has an error of its own to tell.
        let _ = self.end();
    }
}

/// A value of the host's inventory.
pub(crate) fn inventory(dom0: &dyn Dom0, name: &str) -> Result<String, Error> {
    let text = dom0.read_to_string(Path::new(INVENTORY)).map_err(|e| Error::file(INVENTORY, &e))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = value.map(|value| value.trim().trim_matches('\'').to_owned());
    value.ok_or_else(|| Error::Other(format!("{INVENTORY} has no {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    fn fake() -> Fake {
        Fake::default()
            .with_file(INVENTORY, "PRODUCT_BRAND='XCP-ng'\nCONTROL_DOMAIN_UUID='dom0-uuid'\n")
            .with_xapi("VM.get_by_uuid", Ok("OpaqueRef:dom0"))
            .with_xapi("VBD.create", Ok("OpaqueRef:vbd"))
            .with_xapi("VBD.get_device", Ok("xvdc"))
    }

    #[test]
    fn this_hosts_own_control_domain() {
        let dom0 = fake();
        let xapi = Xapi::new(&dom0, "OpaqueRef:session");
        let attached = xapi.attach("OpaqueRef:vdi").unwrap();
        assert_eq!(attached.device(), Ok(PathBuf::from("/dev/xvdc")));
        attached.detach().unwrap();
        assert_eq!(
            dom0.commands(),
            [
                "VM.get_by_uuid dom0-uuid",
                "VBD.create",
                "VBD.plug OpaqueRef:vbd",
                "VBD.get_device OpaqueRef:vbd",
                "VBD.unplug OpaqueRef:vbd",
                "VBD.destroy OpaqueRef:vbd",
            ]
        );
    }

    #[test]
    fn what_cannot_be_plugged_leaves_no_vbd() {
        let dom0 = fake()
            .with_xapi("VBD.plug", Err("SR_BACKEND_FAILURE_46"))
            .with_xapi("VBD.unplug", Err("DEVICE_ALREADY_DETACHED"));
        let error = Xapi::new(&dom0, "s").attach("OpaqueRef:vdi").err().unwrap();
        assert!(error.to_string().contains("SR_BACKEND_FAILURE_46"), "{error}");
        assert_eq!(dom0.commands().last().unwrap(), "VBD.destroy OpaqueRef:vbd");
    }

    #[test]
    fn a_disk_that_stays_in_use_is_waited_for() {
        let dom0 = fake().with_xapi("VBD.unplug", Err("DEVICE_DETACH_REJECTED"));
        let xapi = Xapi::new(&dom0, "s");
        let error = xapi.attach("OpaqueRef:vdi").unwrap().detach().unwrap_err();
        assert!(error.to_string().contains("DEVICE_DETACH_REJECTED"), "{error}");
        assert_eq!(dom0.slept(), Duration::from_secs(30));
    }
}
