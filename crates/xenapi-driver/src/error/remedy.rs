//! What to do about an error, apart from the rest of its sentence: for programs that show it by itself.

use super::{Cause, Error};

impl Error {
    /// What to do about it, as the end of its sentence says; several remedies are separated by `; `. `None` where nothing is
    /// known that would help, or nothing has to be done.
    pub fn remedy(&self) -> Option<String> {
        self.cause().remedy()
    }
}

impl Cause {
    fn remedy(&self) -> Option<String> {
        match self {
            Self::Cancelled | Self::DryRun(_) => None,
            Self::Host { source, .. } => {
                let all: Vec<&str> = source.advice().into_iter().chain(of_code(source)).collect();
                (!all.is_empty()).then(|| all.join("; "))
            }
            Self::Conflicts(conflicts) => {
                let all: Vec<String> = conflicts.iter().filter_map(|one| behind(&one.to_string())).collect();
                (!all.is_empty()).then(|| all.join("; "))
            }
            other => behind(&other.to_string()),
        }
    }
}

/// What is behind the last semicolon of a sentence.
fn behind(sentence: &str) -> Option<String> {
    sentence.rsplit_once("; ").map(|(_, remedy)| remedy.to_owned())
}

/// What to do about what XAPI answered. A diagnosis has its own remedy.
pub(super) fn of_code(source: &xenapi_client::Error) -> Option<&'static str> {
    let failure = source.failure().filter(|_| source.diagnosis().is_none());
    failure.and_then(|failure| of(&failure.code))
}

/// What to do about a code of XAPI that a user of this driver is likely to meet.
fn of(code: &str) -> Option<&'static str> {
    Some(match code {
        "SR_BACKEND_FAILURE_44" => "the storage repository is full: free space there or use another one",
        "SR_BACKEND_FAILURE_46" => "another host still holds the disk: detach it there",
        "SR_BACKEND_FAILURE_79" => "the storage repository cannot make a disk of this size: use another size",
        "SR_BACKEND_FAILURE_109" => {
            "the disk's chain of snapshots is too long: delete snapshots and wait until they are merged"
        }
        "SR_HAS_NO_PBDS" | "SR_NOT_ATTACHED" => "the storage repository is not attached: plug its PBD",
        "SR_BACKEND_FAILURE_68" => "check the name and the password for the storage server",
        "SR_BACKEND_FAILURE_73" | "SR_BACKEND_FAILURE_111" | "SR_BACKEND_FAILURE_141" => {
            "see whether the storage server is up, exports what was asked for, and lets the host in"
        }
        "DEVICE_DETACH_REJECTED" | "DEVICE_DETACH_TIMEOUT" => {
            "the guest does not let go of it: unmount it there, or switch the instance off"
        }
        "VIF_IN_USE" | "NETWORK_CONTAINS_VIF" => "detach the interfaces on the network first",
        "VLAN_TAG_INVALID" => "use a tag from 0 to 4094",
        "PIF_VLAN_EXISTS" => "use the network that has this tag already, or another tag",
        "VDI_IN_USE" => "the disk is in use: wait until whatever holds it is done",
        "VDI_IO_ERROR" => {
            "the host could not write or read the disk: look at the health and the free space of its \
             storage repository, then try again"
        }
        "NO_HOSTS_AVAILABLE" => "no host can run the VM now: check memory, storage and networks",
        "HOST_NOT_ENOUGH_FREE_MEMORY" => "free memory on the host or use a smaller flavor",
        "HOST_DISABLED" => "enable the host or use another one",
        "HOST_OFFLINE" => "bring the host back or use another one",
        "VM_HVM_REQUIRED" => {
            "switch the processor's virtualisation on in the host's firmware, or use mode xen"
        }
        "LICENCE_RESTRICTION" => "the host's licence does not allow it",
        "RBAC_PERMISSION_DENIED" => "use an account with the role vm-admin or higher",
        _ => return of_guest(code),
    })
}

/// What to do about what a guest cannot, as it is.
fn of_guest(code: &str) -> Option<&'static str> {
    match code {
        // Nothing is plugged into a guest without them, and old releases neither suspend nor move it.
        "VM_MISSING_PV_DRIVERS" => Some(
            "the guest runs no Xen drivers: wait until it has booted, or install its guest tools, or do this while it is \
             switched off",
        ),
        "VM_OLD_PV_DRIVERS" => Some(
            "the guest's Xen drivers are too old: update its guest tools, or do this while it is switched off",
        ),
        "VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT" | "VM_FAILED_SUSPEND_ACKNOWLEDGMENT" => {
            Some("the guest does not answer: wait until it has booted, or install its guest tools")
        }
        "VM_LACKS_FEATURE"
        | "VM_LACKS_FEATURE_SHUTDOWN"
        | "VM_LACKS_FEATURE_SUSPEND"
        | "VM_LACKS_FEATURE_VCPU_HOTPLUG" => {
            Some("the guest's tools do not offer this: wait until it has booted, or install or update them")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use xenapi_storage::device::UserDevice;

    use crate::error::{Cause, Op};
    use crate::plan::{Conflict, Conflicts};
    use crate::{Error, Stage};

    #[test]
    fn a_remedy_is_the_end_of_the_sentence() {
        let conflicts = vec![Conflict::TpmOfBios, Conflict::PlaceTaken(UserDevice::ROOT)];
        for (cause, wanted) in [
            (Cause::Cancelled, None),
            (Cause::DryRun(vec!["make it".into(), "start it".into()]), None),
            (Cause::NoSuchInstance("a; b".into()), Some("check the spelling")),
            (
                Cause::HostDown { host: "xen1".into() },
                Some("bring it back, or, if it is lost, remove it from the pool"),
            ),
            (
                Conflicts::new(conflicts).into(),
                Some("use it, or do without the TPM; give the volume another place, or none"),
            ),
        ] {
            let error = Error::new(Op::Spawn, "instance web1", Stage::Plan, cause);
            assert_eq!(error.remedy().as_deref(), wanted, "{error}");
        }
    }

    #[test]
    fn what_a_guest_without_drivers_cannot_is_explained() {
        for code in ["VM_MISSING_PV_DRIVERS", "VM_OLD_PV_DRIVERS", "VM_LACKS_FEATURE_SUSPEND"] {
            let remedy = super::of(code).expect(code);
            assert!(remedy.contains("guest") && remedy.contains("tools"), "{remedy}");
        }
        assert_eq!(super::of("INTERNAL_ERROR"), None);
    }
}
