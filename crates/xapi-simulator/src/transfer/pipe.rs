//! Overlaps the socket with the disk: file work happens on a thread of its own, a few blocks ahead or behind.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::TransferError;
use crate::disk::{BLOCK, Disk, DiskError};

/// How many blocks may be under way.
const DEPTH: usize = 3;

/// Writes blocks to a disk in the order given.
pub(super) struct Sink {
    jobs: mpsc::Sender<(u64, Vec<u8>)>,
    spare: mpsc::Receiver<Vec<u8>>,
    unused: usize,
    writer: JoinHandle<Result<(), DiskError>>,
}

impl Sink {
    pub(super) fn new(disk: Disk) -> Self {
        let (jobs, mut todo) = mpsc::channel::<(u64, Vec<u8>)>(DEPTH);
        let (give, spare) = mpsc::channel(DEPTH);
        let writer = tokio::task::spawn_blocking(move || {
            while let Some((offset, bytes)) = todo.blocking_recv() {
                disk.write_at(offset, &bytes)?;
                // The other end may be gone already, when these were the last bytes.
                let _ = give.try_send(bytes);
            }
            Ok(())
        });
        Self { jobs, spare, unused: DEPTH, writer }
    }

    /// A buffer of `len` bytes of any content; [`Sink::write`] takes it back.
    pub(super) async fn buffer(&mut self, len: usize) -> Vec<u8> {
        let mut buffer = if self.unused > 0 {
            self.unused -= 1;
            Vec::with_capacity(BLOCK as usize)
        } else {
            self.spare.recv().await.unwrap_or_default()
        };
        buffer.resize(len, 0);
        buffer
    }

    /// Has `bytes` written at `offset`.
    ///
    /// # Errors
    /// When an earlier write failed; [`Sink::settle`] says why.
    pub(super) async fn write(&mut self, offset: u64, bytes: Vec<u8>) -> Result<(), TransferError> {
        self.jobs.send((offset, bytes)).await.map_err(|_| STOPPED)
    }

    /// Waits for everything to be written, whatever `result` the transfer has had so far.
    ///
    /// # Errors
    /// A failed write, or else the error in `result`.
    pub(super) async fn settle(self, result: Result<(), TransferError>) -> Result<(), TransferError> {
        drop(self.jobs);
        self.writer.await.map_err(|_| STOPPED)??;
        result
    }
}

const STOPPED: TransferError = TransferError::Stream("the thread that works on the disk stopped");

/// A piece of a disk on its way out.
pub(super) enum Piece {
    /// This many zeros.
    Zeros(usize),
    /// These bytes.
    Data(Vec<u8>),
}

/// Reads the given ranges (offset and length, each within one block) of a disk ahead of their use.
pub(super) fn read_ahead(
    disk: Disk,
    ranges: impl Iterator<Item = (u64, usize)> + Send + 'static,
) -> mpsc::Receiver<Result<Piece, DiskError>> {
    let (send, pieces) = mpsc::channel(DEPTH);
    tokio::task::spawn_blocking(move || {
        for (offset, len) in ranges {
            let piece = read_piece(&disk, offset, len);
            let failed = piece.is_err();
            // Nobody listens any more: the connection broke.
            if send.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    });
    pieces
}

fn read_piece(disk: &Disk, offset: u64, len: usize) -> Result<Piece, DiskError> {
    if disk.is_hole(offset / BLOCK) {
        return Ok(Piece::Zeros(len));
    }
    let mut bytes = vec![0; len];
    disk.read_at(offset, &mut bytes)?;
    Ok(Piece::Data(bytes))
}
