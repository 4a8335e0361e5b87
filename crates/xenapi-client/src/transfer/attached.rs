//! Disks that somebody still holds.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;
use xenapi_types::{FailureExt, Vdi, Vm, vdi};
use xenapi_wire::Ref;

use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::event::name;
use crate::retry::RetryPolicy;

/// How long may be looked for who holds a disk.
pub(crate) const LOOK_FOR_HOLDERS: Duration = Duration::from_secs(5);

/// How many of those who hold a disk are named.
const NAMED: usize = 3;

/// A domain that has a disk attached.
struct Holder {
    vm: String,
    vbd: String,
    is_control_domain: bool,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} (VBD {})", self.vm, self.vbd)
    }
}

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
            let holders = self.holders_of(vdi).await?;
            let Some(holder) = holders.iter().find(|holder| holder.is_control_domain) else { return Ok(()) };
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

    async fn holders_of(&self, vdi: &Ref<Vdi>) -> Result<Vec<Holder>> {
        let mut holders = Vec::new();
        for vbd in &self.get_field(vdi, vdi::field::VBDS).await? {
            // The one that is being detached may vanish between two questions.
            let Some(record) = self.record_opt(vbd).await? else { continue };
            if !record.currently_attached {
                continue;
            }
            let Some(vm) = self.record_opt::<Vm>(&record.vm).await? else { continue };
            let is_control_domain = vm.is_control_domain;
            holders.push(Holder { vm: vm.name_label, vbd: record.uuid, is_control_domain });
        }
        Ok(holders)
    }

    /// Adds to `VDI_IN_USE`, which names nothing but the disk, who holds it and what helps. Any other error stays as
    /// it is, and so does this one when that cannot be found out within `patience`.
    ///
    /// Boxed, because it makes calls and is part of each of them.
    pub(crate) fn say_who_holds(
        &self,
        error: Error,
        patience: Duration,
    ) -> Pin<Box<dyn Future<Output = Error> + Send + '_>> {
        Box::pin(async move {
            let disk =
                error.failure().filter(|failure| failure.is_vdi_in_use()).map(|failure| failure.param(0));
            let Some(disk) = disk.filter(|disk| disk.starts_with("OpaqueRef:")) else { return error };
            let vdi = Ref::<Vdi>::from(disk);
            let client = self.with_retries(RetryPolicy::OFF);
            let looking = async {
                let holders = client.holders_of(&vdi).await?;
                let operations = client.get_field(&vdi, vdi::field::CURRENT_OPERATIONS).await?;
                Ok::<_, Error>((holders, operations))
            };
            match tokio::time::timeout(patience, looking).await {
                Ok(Ok((holders, operations))) => {
                    let operations: Vec<_> = operations.values().map(ToString::to_string).collect();
                    let (who, help) = in_words(&holders, &operations);
                    error.noting(&who).or_remedy(help)
                }
                _ => error.or_remedy("it cannot be found out who holds the disk: look at its VBDs"),
            }
        })
    }
}

/// Who holds a disk, and what to do about it.
fn in_words(holders: &[Holder], operations: &[String]) -> (String, &'static str) {
    if holders.is_empty() {
        return match operations.is_empty() {
            true => ("nobody has it any more".to_owned(), "try again"),
            false => (
                format!("nobody has it attached, but it is in use by {}", operations.join(", ")),
                "try again when that has ended",
            ),
        };
    }
    let mut named: Vec<_> = holders.iter().take(NAMED).map(ToString::to_string).collect();
    if holders.len() > NAMED {
        named.push(format!("{} more", holders.len() - NAMED));
    }
    let help = match holders.iter().any(|holder| holder.is_control_domain) {
        true => {
            "dom0 lets go of a disk some seconds after a transfer: wait for that (Client::wait_until_detached)"
        }
        false => "unplug it there, or shut that VM down",
    };
    (format!("attached to {}", named.join(", ")), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_who_may_hold_a_disk_is_told_of() {
        let holder = |vm: &str| Holder {
            vm: vm.to_owned(),
            vbd: format!("vbd of {vm}"),
            is_control_domain: vm == "dom0",
        };
        let of = |vms: &[&str]| vms.iter().map(|vm| holder(vm)).collect::<Vec<_>>();
        let copy = ["copy".to_owned()];
        for (holders, operations, who, help) in [
            (of(&[]), &[][..], "nobody has it any more", "try again"),
            (of(&[]), &copy, "in use by copy", "when that has ended"),
            (of(&["web"]), &copy, "attached to \"web\" (VBD vbd of web)", "unplug it there"),
            (of(&["web", "dom0"]), &[], "\"dom0\" (VBD vbd of dom0)", "wait_until_detached"),
            (of(&["a", "b", "c", "d", "e"]), &[], "2 more", "unplug it there"),
        ] {
            let told = in_words(&holders, operations);
            assert!(told.0.contains(who) && told.1.contains(help), "{told:?}, and not {who}; {help}");
        }
    }
}
