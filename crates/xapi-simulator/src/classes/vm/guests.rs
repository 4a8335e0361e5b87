//! How the guests of a simulated pool behave.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What a guest does once its VM runs.
#[derive(Debug, Clone)]
pub struct Guests {
    /// The tools are installed: `VM_guest_metrics` appear and clean shutdowns work.
    pub have_tools: bool,
    /// A running VM has a graphical and a text console.
    pub have_consoles: bool,
    /// `VM_metrics.memory_actual` is what the guest was given; otherwise it stays 0.
    pub report_memory: bool,
    /// `VM.xenstore_data` survives the start.
    pub keep_xenstore_data: bool,
    /// `VM_guest_metrics` survive a shutdown.
    pub keep_guest_metrics: bool,
    /// They crash before they have done anything, so that a start succeeds and nothing runs.
    pub crash_at_boot: bool,
    /// They hear that they are to come down or to reboot, and never do it.
    pub ignore_requests: bool,
    /// A reboot keeps the domain.
    pub keep_domain: bool,
    /// They are run: what they report of themselves is not made up, but that they hear their power button.
    pub(crate) are_real: bool,
    /// The last domain number of each host. They only grow, also across restarts of a VM.
    last_domid: Arc<Mutex<HashMap<String, i64>>>,
}

impl Guests {
    /// Guests as on a real host.
    pub fn new() -> Self {
        Self {
            have_tools: true,
            have_consoles: true,
            report_memory: true,
            keep_xenstore_data: true,
            keep_guest_metrics: false,
            crash_at_boot: false,
            ignore_requests: false,
            keep_domain: false,
            are_real: false,
            last_domid: Arc::default(),
        }
    }

    /// Guests of the server whose recordings are replayed, which ran on a simulated hypervisor.
    pub fn recorded() -> Self {
        Self {
            have_consoles: false,
            report_memory: false,
            keep_xenstore_data: false,
            keep_guest_metrics: true,
            keep_domain: true,
            ..Self::new()
        }
    }

    /// A domain number that was never used before on a host; `in_use` is the highest one that is.
    pub(super) fn next_domid(&self, host: &str, in_use: i64) -> i64 {
        let mut last = self.last_domid.lock().unwrap_or_else(PoisonError::into_inner);
        let number = last.entry(host.to_owned()).or_default();
        *number = in_use.max(*number) + 1;
        *number
    }
}

impl Default for Guests {
    fn default() -> Self {
        Self::new()
    }
}
