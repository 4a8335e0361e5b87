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
mod checked;
mod diagnosis;
mod export;
mod guest;
mod import;
mod queue;
mod request;
mod route;
mod task;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

pub(crate) use accept::redirect_target;
pub(crate) use attached::LOOK_FOR_HOLDERS;
pub(crate) use body::read_some;
pub use diagnosis::{Cause, Diagnosis, Redirect};
pub(crate) use export::fail_task;
pub use export::{Export, ExportFormat, Exported};
pub use guest::{VmExport, VmImport};
pub use import::{Import, ImportFormat, Imported};
pub(crate) use queue::Queues;
pub use queue::{Direction, TransferQueue};
pub use request::ExportRequest;
pub use route::Route;

use crate::error::{BoxError, Error, ErrorKind, root_cause};
use crate::http::Unanswered;

/// Bytes moved, and their checksum if it is wanted.
#[derive(Debug, Clone)]
struct Meter {
    bytes: Arc<AtomicU64>,
    sha256: Option<Arc<Mutex<Sha256>>>,
}

impl Meter {
    fn new() -> Self {
        Self { bytes: Arc::default(), sha256: None }
    }

    fn with_checksum() -> Self {
        Self { sha256: Some(Arc::default()), ..Self::new() }
    }

    fn data(&self, data: &[u8]) {
        if let Some(sha256) = &self.sha256 {
            sha256.lock().unwrap_or_else(PoisonError::into_inner).update(data);
        }
        self.add(data.len());
    }

    fn checksum(&self) -> Option<[u8; 32]> {
        let sha256 = self.sha256.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(sha256.clone().finalize().into())
    }

    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
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
