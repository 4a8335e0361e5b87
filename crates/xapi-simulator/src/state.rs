//! The state directory: one simulator at a time, and nobody else's business.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::db::StateError;

/// The right to use a state directory, given up when dropped or when the process ends.
#[derive(Debug)]
pub(crate) struct StateLock {
    _file: File,
}

/// How long a simulator that is about to end may keep its directory: its last connections end in the background.
const PATIENCE: Duration = Duration::from_secs(5);

impl StateLock {
    /// Makes the directory, readable to its owner only, and takes it.
    ///
    /// # Errors
    /// [`StateError::InUse`] when another simulator has it and keeps it.
    pub(crate) async fn acquire(directory: &Path) -> Result<Self, StateError> {
        let io_error = |source| StateError::Io { path: directory.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io_error)?;
        let path = directory.join("lock");
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(io_error)?;
        let begun = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(StateError::InUse { path: directory.to_owned() });
                }
                Err(error) => return Err(io_error(error.into())),
            }
        }
    }
}
