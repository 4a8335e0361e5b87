//! What is made to go wrong, and where.

use std::fmt;
use std::time::Duration;

use xapi_simulator::fault::Fault;
use xenapi_client::Timeouts;
use xenapi_wire::Failure;

use crate::sweep::scene::THERE;

/// A fault at the k-th call of a method or HTTP path.
#[derive(Debug, Clone)]
pub struct Mischief {
    /// The method or path.
    pub target: String,
    /// Which of its calls, counted from one.
    pub k: usize,
    /// What goes wrong.
    pub fault: Fault,
}

impl fmt::Display for Mischief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            Fault::Failure(failure) => write!(f, "{} at call {} of {}", failure.code, self.k, self.target),
            Fault::FailureAfter(failure) => {
                write!(f, "{} after call {} of {}", failure.code, self.k, self.target)
            }
            fault => write!(f, "{fault:?} at call {} of {}", self.k, self.target),
        }
    }
}

impl Mischief {
    /// Whether the host may have done what was asked without us hearing of it.
    pub fn loses_the_answer(&self) -> bool {
        matches!(
            self.fault,
            Fault::DropAfterExecution
                | Fault::DropAfterBytes(_)
                | Fault::DropHalfway
                | Fault::RestartAfter
                | Fault::Silence
        )
    }
}

/// How patient the driver is: a host that hangs shall not hang the sweep, and one that is only busy with other
/// cases shall not be taken for it.
pub fn timeouts() -> Timeouts {
    let patience = Duration::from_secs(8);
    Timeouts {
        connect: patience,
        call: patience,
        stall: patience,
        settle: Duration::from_secs(2),
        upload_head: Duration::from_secs(2),
        reconnect: patience,
    }
}

/// Every fault for every call.
pub fn cases(calls: &[(String, usize)]) -> Vec<Mischief> {
    let mut cases = Vec::new();
    for (target, k) in calls {
        let called = target.strip_prefix(THERE).unwrap_or(target);
        let mut faults = match called.starts_with('/') {
            true => transfer_faults(called),
            false => call_faults(called),
        };
        // The other pool has one host.
        faults.retain(|fault| called == target || *fault != Fault::OtherMaster);
        cases.extend(faults.into_iter().map(|fault| Mischief { target: target.clone(), k: *k, fault }));
    }
    cases
}

/// One code of each class of `docs/retries.md`: nothing to be done, later, soon, no room, the host is away, a parameter that
/// it does not know, events that are lost; another coordinator and a session that has gone are faults of their own.
fn call_faults(target: &str) -> Vec<Fault> {
    let mut codes = vec![
        ("INTERNAL_ERROR", vec!["a fault of the sweep"]),
        ("OTHER_OPERATION_IN_PROGRESS", vec!["VM", "OpaqueRef:busy"]),
        ("TOO_MANY_PENDING_TASKS", vec![]),
        ("CANNOT_CONTACT_HOST", vec!["OpaqueRef:away"]),
        ("HOST_OFFLINE", vec!["OpaqueRef:away"]),
        ("MESSAGE_PARAMETER_COUNT_MISMATCH", vec![target, "1", "2"]),
    ];
    if target.starts_with("event.") {
        codes.push(("EVENTS_LOST", vec![]));
    }
    let makes_disks = ["VDI.", "SR.", "VM.clone", "VM.copy", "VM.snapshot", "VM.suspend", "VM.migrate_send"];
    if makes_disks.iter().any(|prefix| target.starts_with(prefix)) {
        codes.push(("SR_BACKEND_FAILURE_44", vec!["", "There is insufficient space", ""]));
    }
    if target.starts_with("VM.start") {
        codes.push(("HOST_NOT_ENOUGH_FREE_MEMORY", vec!["1", "0"]));
    }
    let failures = codes.into_iter().map(|(code, params)| Fault::Failure(Failure::new(code, params)));
    let crash = || Failure::new("XENAPI_PLUGIN_FAILURE", ["signal: SIGKILL", "", ""]);
    let crashes = match target.ends_with(".call_plugin") {
        true => vec![Fault::Failure(crash()), Fault::FailureAfter(crash())],
        false => Vec::new(),
    };
    let wire = [
        Fault::DropBefore,
        Fault::DropAfterExecution,
        Fault::DropAfterBytes(120),
        Fault::DropHalfway,
        Fault::SessionExpired,
        Fault::Restart,
        Fault::RestartAfter,
        Fault::OtherMaster,
        Fault::Hang,
        Fault::Silence,
    ];
    failures.chain(crashes).chain(wire).collect()
}

fn transfer_faults(target: &str) -> Vec<Fault> {
    let refused = Failure::new("INTERNAL_ERROR", ["a fault of the sweep"]);
    let mut faults = vec![
        Fault::Failure(refused),
        Fault::DropBefore,
        Fault::DropAfterExecution,
        Fault::DropAfterBytes(0),
        Fault::DropAfterBytes(600 << 10),
        Fault::SessionExpired,
        Fault::Restart,
        Fault::RestartAfter,
        Fault::OtherMaster,
        Fault::Hang,
        Fault::Silence,
    ];
    if target.starts_with("/import") {
        let full = Failure::new("SR_BACKEND_FAILURE_44", ["", "There is insufficient space", ""]);
        faults.push(Fault::FailureAfter(full));
    }
    faults
}

/// How a fault is named on the command line.
pub fn name(fault: &Fault) -> String {
    match fault {
        Fault::Failure(failure) | Fault::FailureAfter(failure) => failure.code.to_string(),
        Fault::DropAfterBytes(_) => "DropAfterBytes".to_owned(),
        fault => format!("{fault:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::mem::{Discriminant, discriminant};

    use xenapi_types::{FailureExt, Retry};

    use super::*;

    #[test]
    fn every_class_of_retries_is_tried() {
        let calls = ["event.from", "VM.start"].map(|call| (call.to_owned(), 1));
        let faults: Vec<Fault> = cases(&calls).into_iter().map(|case| case.fault).collect();
        let mut tried: Vec<Discriminant<Retry>> = Vec::new();
        for fault in &faults {
            match fault {
                Fault::Failure(failure) => tried.push(discriminant(&failure.retry())),
                Fault::SessionExpired => tried.push(discriminant(&Retry::LogIn)),
                Fault::OtherMaster => tried.push(discriminant(&Retry::Coordinator(String::new()))),
                _ => {}
            }
        }
        let all = [
            Retry::No,
            Retry::LogIn,
            Retry::Coordinator(String::new()),
            Retry::Later,
            Retry::Resync,
            Retry::FewerParameters,
            Retry::CheckState,
        ];
        let missing: Vec<_> = all.iter().filter(|class| !tried.contains(&discriminant(class))).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let names: BTreeSet<String> = faults.iter().map(name).collect();
        assert!(names.len() > 12, "{names:?}");
    }
}
