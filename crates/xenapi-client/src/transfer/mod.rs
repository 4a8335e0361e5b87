//! Disks and VMs to and from a host (`/import_raw_vdi`, `/export_raw_vdi`, `/import`, `/export`).
//!
//! XAPI answers `200 OK` before it does anything, reports every mishap on the way as
//! `VDI_IO_ERROR`, and ends a broken export like a finished one. So each transfer has a task, is
//! sent to a host that sees the disk's storage, and its result is the task's result:
//!
//! ```text
//! route -> task.create -> head of the request -> 200 -> body -> connection closed -> task's end
//!                                  |-> 302: the same again at another host, before any body
//!                                  '-> else: the task says why, or is ended by us
//! ```

mod accept;
mod attached;
mod blob;
mod body;
mod diagnosis;
mod export;
mod guest;
mod import;
mod route;
mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use accept::redirect_target;
pub(crate) use body::read_some;
pub use diagnosis::{Cause, Diagnosis};
pub use export::{Export, ExportFormat, Exported};
pub use guest::{VmExport, VmImport};
pub use import::{Import, ImportFormat, Imported};
pub use route::Route;

use crate::error::{BoxError, Error, ErrorKind, root_cause};
use crate::http::Unanswered;

/// Bytes moved.
#[derive(Debug, Clone)]
struct Meter(Arc<AtomicU64>);

impl Meter {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn lost(error: impl Into<BoxError>) -> Error {
    let error = error.into();
    let cause = root_cause(&*error);
    Error::new(ErrorKind::Transfer, format!("the connection broke ({cause})")).because(error)
}

fn unanswered(error: Unanswered) -> Error {
    match error {
        Unanswered::NotSent => {
            Error::new(ErrorKind::Unreachable, "the host closed the connection before the request was sent")
        }
        Unanswered::Lost(error) => lost(error),
    }
}
