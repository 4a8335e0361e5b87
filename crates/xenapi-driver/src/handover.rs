//! What a host hands out to receive a VM with, and the session in it.
//!
//! `host.migrate_receive` makes a session of its own, with the rights of whoever asks, for the host that sends: that one
//! knows it from then on, and it is good for everything in the pool until somebody ends it. XAPI does not.

use std::collections::BTreeMap;

use xenapi_client::{Client, ErrorKind};
use xenapi_types::{Host, Network, Ref, Vm, VmOperations, host};

use crate::error::Cause;

const SESSION: &str = "session_id";

/// What `VM.migrate_send` and its check are called with. To be [ended](Handover::end) after the last of them. A program
/// that is killed before leaves the session to XAPI, which ends what nobody uses for a day.
#[must_use = "its session stays open until it is ended"]
pub(crate) struct Handover {
    /// Of the pool that receives.
    client: Client,
    dest: BTreeMap<String, String>,
}

impl Handover {
    /// Asks a host to receive a VM.
    ///
    /// # Errors
    /// [`Cause::Host`], with `doing`.
    pub(crate) async fn ask(
        client: &Client,
        host: &Ref<Host>,
        network: &Ref<Network>,
        doing: &str,
    ) -> Result<Self, Cause> {
        let (host, network) = (host.clone(), network.clone());
        let receive = host::MigrateReceive { host, network, options: BTreeMap::new() };
        let dest = client.call(receive).await.map_err(Cause::host(doing))?;
        Ok(Self { client: client.clone(), dest })
    }

    /// The parameter of the calls.
    pub(crate) fn dest(&self) -> BTreeMap<String, String> {
        self.dest.clone()
    }

    /// Ends its session.
    pub(crate) async fn end(mut self) {
        let Some(session) = self.dest.remove(SESSION) else { return };
        if let Err(error) = self.client.end_session(&session).await {
            tracing::warn!(%error, "the session of a migration is left to XAPI");
        }
    }

    /// Ends its session after a migration that failed, unless the host that sends may still be at it: that would be left
    /// half way. `sender` is the client of the pool that the VM is in.
    pub(crate) async fn end_after(self, cause: &Cause, sender: &Client, vm: &Ref<Vm>) {
        let is_over = !may_go_on(cause)
            || match sender.record_opt(vm).await {
                Ok(Some(vm)) => !is_sent(&vm.current_operations),
                Ok(None) => true,
                Err(_) => false,
            };
        match is_over {
            true => self.end().await,
            false => tracing::warn!("the migration may go on, and its session with it"),
        }
    }
}

/// Whether the end of the task was not seen: a host may not answer, or not stop at once.
fn may_go_on(cause: &Cause) -> bool {
    match cause {
        Cause::Host { source, .. } => {
            matches!(source.kind(), ErrorKind::OutcomeUnknown | ErrorKind::Unreachable | ErrorKind::Timeout)
        }
        Cause::Cancelled => true,
        _ => false,
    }
}

fn is_sent(operations: &BTreeMap<String, VmOperations>) -> bool {
    operations.values().any(|operation| *operation == VmOperations::MigrateSend)
}
