//! A disk into a file, by two threads: while one of them writes, the other one reads.
//!
//! A file system lets one write at a time into a file, but reads go on beside it. More than two threads
//! therefore gain nothing, and one is as much processor time as two.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::error::Error;
use crate::image::Image;
use crate::produce::Source;
use crate::progress::Progress;
use crate::target::Partial;

/// A part of the work.
pub(crate) enum Step {
    /// Bytes of the disk, to this place in the file.
    Move { from: u64, len: u64, to: u64 },
    /// Bytes of the format.
    Put { bytes: Bytes, to: u64 },
    /// The last bytes of the format, which belong to the end of a device.
    Footer { bytes: Bytes, to: u64 },
}

/// Does all that `next` says, in no order, and finds the image unchanged at the end. `next` is asked by one
/// thread at a time, and not again after an error.
pub(crate) fn copy(
    image: &Image,
    target: &Partial,
    progress: &Progress,
    next: impl FnMut() -> Result<Option<Step>, Error> + Send,
) -> Result<(), Error> {
    let (next, failed) = (Mutex::new(next), AtomicBool::new(false));
    let work = || {
        let done = (|| {
            let mut source = Source::new(image.reader());
            while !failed.load(Ordering::Relaxed) {
                // The lock is not held while the step is done.
                let step = next.lock().unwrap_or_else(PoisonError::into_inner)()?;
                match step {
                    None => break,
                    Some(step) => step.run(&mut source, target, progress)?,
                }
            }
            Ok(())
        })();
        failed.fetch_or(done.is_err(), Ordering::Relaxed);
        done
    };
    std::thread::scope(|scope| {
        // Without a second processor, or a second thread, one does it all.
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let other = (processors > 1).then(|| std::thread::Builder::new().spawn_scoped(scope, work).ok());
        let own = work();
        let other = other.flatten().map(|thread| thread.join().unwrap_or(Err(Error::Interrupted)));
        own.and(other.unwrap_or(Ok(())))
    })?;
    image.check_unchanged()
}

impl Step {
    fn run(self, source: &mut Source, target: &Partial, progress: &Progress) -> Result<(), Error> {
        let (from, len, to) = match self {
            Self::Put { bytes, to } => {
                progress.add_wire(bytes.len());
                return target.write_at(to, &bytes);
            }
            Self::Footer { bytes, to } => {
                progress.add_wire(bytes.len());
                return target.write_footer(to, &bytes);
            }
            Self::Move { from, len, to } => (from, len, to),
        };
        let mut done = 0;
        while done < len {
            let bytes = source.read(from + done, len - done)?;
            target.write_at(to + done, &bytes)?;
            done += bytes.len() as u64;
            progress.add_wire(bytes.len());
            progress.add_data(bytes.len());
            progress.reach(from + done);
        }
        Ok(())
    }
}
