//! Pipes: what they hold, and how their ends wait for each other.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, splice};

/// What a pipe is made to hold: the most that the system allows everybody.
const LARGE: usize = 1 << 20;

/// Lets a pipe hold 1 MiB, the most that the system allows everybody: with the usual 64 KiB its two ends
/// wait for each other. Of a user who has many pipes it allows less; what it allows is taken. Does nothing to what is no pipe.
pub fn enlarge_pipe(pipe: impl AsFd) {
    let sizes = [LARGE, LARGE / 2, LARGE / 4, LARGE / 8];
    let _as_it_was = sizes.into_iter().find(|size| fcntl_setpipe_size(&pipe, *size).is_ok());
}

/// How long to look away from a pipe that has nothing. The system makes about a tenth of a millisecond of it, in which
/// the quickest writer there is fills half of a large pipe.
const NAP: Duration = Duration::from_micros(50);
/// After so many in vain, the other end is slow: the system is left to tell when it goes on.
const NAPS: usize = 4;

/// Moves bytes between two files, one of which is a pipe, without copying them (`splice`).
///
/// Who waits in the system for a pipe is woken by the other end's next write, however small it is, and it is the other
/// end whose time that takes: nearly as much as its copying does, where it is no slower than this end. So large pipes
/// are left alone for a moment instead, and found with much in them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passage {
    naps: usize,
}

impl Passage {
    pub(crate) fn between(input: &File, output: &File) -> Self {
        // A smaller one is full, or empty, long before a nap ends.
        let large = |end| fcntl_getpipe_size(end).map_or(true, |size| size >= LARGE);
        Self { naps: if large(input) && large(output) { NAPS } else { 0 } }
    }

    /// Moves at most `len` bytes and tells how many: none at the end of the input. Blocks until there are some.
    ///
    /// # Errors
    /// Those of `splice`, but for interruptions.
    pub(crate) fn pass(self, input: &File, output: &File, len: usize) -> Result<usize, Errno> {
        let mut naps = self.naps;
        loop {
            let flags = if naps > 0 { SpliceFlags::NONBLOCK } else { SpliceFlags::empty() };
            match splice(input, None, output, None, len, flags) {
                Err(Errno::AGAIN) if naps > 0 => {
                    naps -= 1;
                    std::thread::sleep(NAP);
                }
                Err(Errno::INTR) => {}
                passed => return passed,
            }
        }
    }
}
