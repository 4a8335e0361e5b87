//! Faults on demand.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use xenapi_wire::Failure;

use crate::classes::pool;
use crate::core::Core;
use crate::strange::Strangeness;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The call ends with this failure and has no effect.
    Failure(Failure),
    /// The call ends with a failure that no release has, and has no effect.
    Unheard,
    /// The connection is reset before anything happens.
    DropBefore,
    /// The call is carried out and the connection reset instead of answering.
    DropAfterExecution,
    /// The call is carried out and the connection reset after so many bytes of the answer, headers included. Of an
    /// upload, so many bytes of the body are read; of a download, so many are sent.
    DropAfterBytes(usize),
    /// The call is carried out and the connection reset in the middle of the answer's body. Not for transfers, whose
    /// bytes are counted.
    DropHalfway,
    /// An upload is read to its end and answered as if it were on the disk now, which stays as it was.
    LoseUpload,
    /// The call is carried out after a delay.
    Slow(Duration),
    /// The task of an `Async.` call is announced, and goes on only after [`Faults::clear`]: a host or its storage hangs.
    /// It is not cancelled while it waits.
    Stuck,
    /// Nothing happens and no answer ever comes; the connection stays open until [`Faults::clear`].
    Hang,
    /// The call is carried out and no answer ever comes; the connection stays open until [`Faults::clear`].
    Silence,
    /// The session has just expired and is gone: `SESSION_INVALID`, or 401 from a handler that is given a session.
    SessionExpired,
    /// The call is carried out, and then answered with this failure: a program that crashed after its work. An upload
    /// is read to its end, and then its task fails.
    FailureAfter(Failure),
    /// The server ends and starts again instead of carrying the call out, as by
    /// [`Simulator::restart_toolstack`](crate::Simulator::restart_toolstack): every connection breaks, sessions and
    /// tasks are gone.
    Restart,
    /// The call is carried out, and then the server ends and starts again instead of answering.
    RestartAfter,
    /// As [`Fault::Restart`], and afterwards another host of the pool, if it has one, is the master.
    OtherMaster,
}

/// Where an answer is cut.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    /// After so many bytes, headers included.
    After(usize),
    /// In the middle of its body.
    Halfway,
}

/// The faults that wait for their call.
///
/// Each is planned for the k-th call from now of a method (`VDI.create`; `Async.` calls count too), of an HTTP path
/// (`/import_raw_vdi`) or of anything (`*`), and strikes once or, with [`Faults::on_every`], from then on.
#[derive(Debug, Default)]
pub struct Faults {
    planned: Mutex<Vec<Planned>>,
    /// The calls since [`Faults::record`].
    seen: Mutex<Option<Vec<String>>>,
    struck: watch::Sender<usize>,
    /// How often they were cleared: what hangs ends then.
    cleared: watch::Sender<usize>,
}

#[derive(Debug)]
struct Planned {
    target: String,
    left: usize,
    fault: Fault,
    /// It stays when it has struck.
    lasting: bool,
    struck: bool,
}

/// What a fault does to a request before it is carried out.
pub(crate) enum Wire {
    Go,
    Failure(Failure),
    Drop,
}

impl Faults {
    /// Plans a fault for the next call of a method or path.
    pub fn on(&self, target: &str, fault: Fault) {
        self.on_nth(target, 1, fault);
    }

    /// Plans a fault for the `k`-th call from now, counted from one.
    pub fn on_nth(&self, target: &str, k: usize, fault: Fault) {
        self.plan(target, k, fault, false);
    }

    /// Plans a fault for every call from the next one on, until [`Faults::clear`].
    pub fn on_every(&self, target: &str, fault: Fault) {
        self.plan(target, 1, fault, true);
    }

    fn plan(&self, target: &str, k: usize, fault: Fault, lasting: bool) {
        let target = target.to_owned();
        self.lock().push(Planned { target, left: k.max(1), fault, lasting, struck: false });
    }

    /// How many faults have struck so far, for who waits for the next: [`Fault::Silence`] counts when the call has been
    /// carried out, the others when it arrives.
    pub fn struck(&self) -> watch::Receiver<usize> {
        self.struck.subscribe()
    }

    /// Forgets all faults, ends the connections of those that hang, and says how many have not struck.
    pub fn clear(&self) -> usize {
        self.cleared.send_modify(|times| *times += 1);
        std::mem::take(&mut *self.lock()).iter().filter(|plan| !plan.struck).count()
    }

    /// From now on notes every call: what faults can be planned for.
    pub fn record(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }

    /// The methods and paths since [`Faults::record`], in the order in which they were called.
    pub fn recorded(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }

    /// Counts a call and returns the fault that is due.
    pub(crate) fn strike(&self, target: &str) -> Option<Fault> {
        if let Some(seen) = &mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner) {
            seen.push(target.to_owned());
        }
        let mut planned = self.lock();
        if planned.is_empty() {
            return None;
        }
        let mut due = None;
        for (i, plan) in planned.iter_mut().enumerate().filter(|(_, p)| p.target == target || p.target == "*")
        {
            plan.left -= 1;
            if plan.left == 0 && due.is_none() {
                due = Some(i);
            } else if plan.left == 0 {
                // Two for one call: the other takes the next.
                plan.left = 1;
            }
        }
        let plan = planned.get_mut(due?)?;
        if plan.lasting {
            (plan.left, plan.struck) = (1, true);
            return Some(plan.fault.clone());
        }
        due.map(|i| planned.remove(i).fault)
    }

    /// Tells that a fault has struck, and waits until all are cleared.
    pub(crate) async fn hang(&self) {
        let mut cleared = self.cleared.subscribe();
        self.count();
        // It lives as long as the pool.
        let _ = cleared.changed().await;
    }

    fn count(&self) {
        self.struck.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Planned>> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fault {
    /// What happens before the request is carried out; may take until the faults are cleared.
    pub(crate) async fn before(&self, core: &Core) -> Wire {
        if !matches!(self, Self::Hang | Self::Silence | Self::Stuck) {
            core.faults.count();
        }
        match self {
            Self::Failure(failure) => Wire::Failure(failure.clone()),
            Self::Unheard => {
                Wire::Failure(core.strangeness.as_ref().map_or_else(
                    || Failure::new("QUANTUM_STATE_LOST", [] as [&str; 0]),
                    Strangeness::failure,
                ))
            }
            Self::SessionExpired => Wire::Failure(Failure::new("SESSION_INVALID", [""])),
            Self::DropBefore => Wire::Drop,
            Self::Restart | Self::OtherMaster => {
                core.stop_toolstack();
                if *self == Self::OtherMaster {
                    pool::hand_over(core);
                }
                core.start_toolstack();
                Wire::Drop
            }
            Self::Slow(delay) => {
                core.clock().sleep(*delay).await;
                Wire::Go
            }
            Self::Hang => {
                core.faults.hang().await;
                Wire::Drop
            }
            Self::DropAfterExecution
            | Self::DropAfterBytes(_)
            | Self::DropHalfway
            | Self::LoseUpload
            | Self::Silence
            | Self::Stuck
            | Self::FailureAfter(_)
            | Self::RestartAfter => Wire::Go,
        }
    }
}
