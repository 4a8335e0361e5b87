//! Disks that dom0 still holds.

use std::time::Duration;

use tokio::time::Instant;
use xenapi_types::{Vdi, Vm, vdi};
use xenapi_wire::Ref;

use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::event::name;

impl Client {
    /// Waits until no control domain has the disk attached.
    ///
    /// A transfer attaches the disk to dom0 and detaches it a little after its end, some seconds as
    /// a rule; until then the disk cannot be destroyed, resized or given to a VM on another host
    /// (`VDI_IN_USE`). Guests that have it attached are not waited for.
    ///
    /// # Errors
    /// `Timeout`, which names the domain that holds the disk.
    pub async fn wait_until_detached(&self, vdi: &Ref<Vdi>, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_millis(100);
        loop {
            let Some(holder) = self.control_domain_holding(vdi).await? else { return Ok(()) };
            if Instant::now() + pause > deadline {
                let message = format!("still attached to {holder} after {} s", patience.as_secs_f32());
                return Err(Error::new(ErrorKind::Timeout, message)
                    .remedy("another transfer may be under way; if not, unplug that VBD")
                    .about(name(vdi))
                    .at(&self.endpoint()));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    async fn control_domain_holding(&self, vdi: &Ref<Vdi>) -> Result<Option<String>> {
        let vbds = self.get_field(vdi, vdi::field::VBDS).await?;
        for vbd in &vbds {
            // The one that is being detached may vanish between two questions.
            let Some(record) = self.record_opt(vbd).await? else { continue };
            if !record.currently_attached {
                continue;
            }
            let Some(vm) = self.record_opt::<Vm>(&record.vm).await? else { continue };
            if vm.is_control_domain {
                return Ok(Some(format!("{:?} (VBD {})", vm.name_label, record.uuid)));
            }
        }
        Ok(None)
    }
}
