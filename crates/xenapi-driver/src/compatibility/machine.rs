//! Which VM this machine is.

use std::path::PathBuf;
use std::time::Duration;

/// xenstored answers at once, or not at all.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the control domain itself has where guests have a uuid.
const DOM0: &str = "00000000-0000-0000-0000-000000000000";

/// Where this machine's identity is read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Machine {
    /// The kernel's word; `/sys/hypervisor/uuid`.
    pub hypervisor_uuid: PathBuf,
    /// The program that reads xenstore, for kernels that do not tell; `xenstore-read`.
    pub xenstore_read: PathBuf,
}

impl Default for Machine {
    fn default() -> Self {
        Self { hypervisor_uuid: "/sys/hypervisor/uuid".into(), xenstore_read: "xenstore-read".into() }
    }
}

impl Machine {
    /// The uuid of the VM that this machine is; `None` when it is none of Xen's, or the control domain.
    pub async fn vm_uuid(&self) -> Option<String> {
        let uuid = match tokio::fs::read_to_string(&self.hypervisor_uuid).await {
            Ok(text) => text.lines().next().unwrap_or_default().trim().to_owned(),
            Err(_) => {
                let domid = self.xenstore("domid").await?;
                let vm = self.xenstore(&format!("/local/domain/{domid}/vm")).await?;
                vm.strip_prefix("/vm/")?.to_owned()
            }
        };
        // What other hypervisors put there is no uuid of a VM.
        uuid::Uuid::try_parse(&uuid).ok().map(|uuid| uuid.to_string()).filter(|uuid| uuid != DOM0)
    }

    async fn xenstore(&self, path: &str) -> Option<String> {
        let run = tokio::process::Command::new(&self.xenstore_read).arg(path).kill_on_drop(true).output();
        let output = tokio::time::timeout(PATIENCE, run).await.ok()?.ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const UUID: &str = "6bdbfb6a-6f4e-4b9a-9f43-0c6d5e1a2b3c";

    async fn found(sysfs: Option<&str>, script: Option<&str>) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine {
            hypervisor_uuid: folder.path().join("uuid"),
            xenstore_read: folder.path().join("xenstore-read"),
        };
        if let Some(text) = sysfs {
            std::fs::write(&machine.hypervisor_uuid, text).unwrap();
        }
        if let Some(script) = script {
            std::fs::write(&machine.xenstore_read, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&machine.xenstore_read, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        machine.vm_uuid().await
    }

    #[tokio::test]
    async fn the_kernels_word_then_xenstores() {
        assert_eq!(found(Some(&format!("{UUID}\n")), None).await.as_deref(), Some(UUID));
        let script =
            format!("case $1 in domid) echo 7;; /local/domain/7/vm) echo /vm/{UUID};; *) exit 1;; esac");
        assert_eq!(found(None, Some(&script)).await.as_deref(), Some(UUID));
    }

    #[tokio::test]
    async fn machines_that_are_no_vm_of_xen() {
        assert_eq!(found(None, None).await, None);
        assert_eq!(found(Some(DOM0), None).await, None);
        assert_eq!(found(Some("\n"), None).await, None);
        assert_eq!(found(None, Some("exit 1")).await, None);
    }
}
