//! What is made to go wrong, and where.

use std::fmt;
use std::time::Duration;

use xapi_simulator::fault::Fault;
use xenapi_client::Timeouts;
use xenapi_wire::Failure;

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
            fault => write!(f, "{fault:?} at call {} of {}", self.k, self.target),
        }
    }
}

impl Mischief {
    /// Whether the host may have done what was asked without us hearing of it.
    pub fn loses_the_answer(&self) -> bool {
        matches!(self.fault, Fault::DropAfterExecution | Fault::DropAfterBytes(_))
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
        let faults = match target.starts_with('/') {
            true => transfer_faults(),
            false => call_faults(target),
        };
        cases.extend(faults.into_iter().map(|fault| Mischief { target: target.clone(), k: *k, fault }));
    }
    cases
}

/// One code of each class: nothing to be done, wait for somebody else, try again, no room, no such object, the
/// host is away, not the coordinator.
fn call_faults(target: &str) -> Vec<Fault> {
    let mut codes = vec![
        ("INTERNAL_ERROR", vec!["a fault of the sweep"]),
        ("OTHER_OPERATION_IN_PROGRESS", vec!["VM", "OpaqueRef:busy"]),
        ("TOO_MANY_PENDING_TASKS", vec![]),
        ("HOST_OFFLINE", vec!["OpaqueRef:away"]),
    ];
    if target.starts_with("VDI.") || target.starts_with("SR.") {
        codes.push(("SR_BACKEND_FAILURE_44", vec!["", "There is insufficient space", ""]));
    }
    if target.starts_with("VM.start") {
        codes.push(("HOST_NOT_ENOUGH_FREE_MEMORY", vec!["1", "0"]));
    }
    let failures = codes.into_iter().map(|(code, params)| Fault::Failure(Failure::new(code, params)));
    let wire = [
        Fault::DropBefore,
        Fault::DropAfterExecution,
        Fault::DropAfterBytes(120),
        Fault::SessionExpired,
        Fault::Hang,
    ];
    failures.chain(wire).collect()
}

fn transfer_faults() -> Vec<Fault> {
    let refused = Failure::new("INTERNAL_ERROR", ["a fault of the sweep"]);
    vec![
        Fault::Failure(refused),
        Fault::DropBefore,
        Fault::DropAfterExecution,
        Fault::DropAfterBytes(0),
        Fault::DropAfterBytes(600 << 10),
        Fault::Hang,
    ]
}
