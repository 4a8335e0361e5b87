//! How far a transfer is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Counters of one transfer that others may watch from any thread while it runs.
///
/// Clones show the same transfer. Counting costs three stores for each piece of up to 1 MiB.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    stage: AtomicU8,
    wire_bytes: AtomicU64,
    wire_len: AtomicU64,
    virtual_bytes: AtomicU64,
    virtual_size: AtomicU64,
    data_bytes: AtomicU64,
    data_size: AtomicU64,
}

/// What a transfer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Stage {
    /// It has not begun.
    #[default]
    Waiting,
    /// It looks for what is allocated, to know the length of the stream.
    Scanning,
    /// Bytes flow.
    Streaming,
}

/// The state of a transfer at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// What it is doing.
    pub stage: Stage,
    /// Bytes of the stream handed over.
    pub wire_bytes: u64,
    /// Length of the stream in bytes; 0 while it is not known.
    pub wire_len: u64,
    /// How far on the disk the current stage is, in bytes.
    pub virtual_bytes: u64,
    /// Size of the disk in bytes; 0 while it is not known.
    pub virtual_size: u64,
    /// Allocated bytes of the disk that were moved.
    pub data_bytes: u64,
    /// Allocated bytes of the disk that there are to move; 0 while it is not known.
    pub data_size: u64,
}

impl Progress {
    /// A transfer that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state now.
    pub fn snapshot(&self) -> Snapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            stage: match self.0.stage.load(Ordering::Relaxed) {
                0 => Stage::Waiting,
                1 => Stage::Scanning,
                _ => Stage::Streaming,
            },
            wire_bytes: load(&self.0.wire_bytes),
            wire_len: load(&self.0.wire_len),
            virtual_bytes: load(&self.0.virtual_bytes),
            virtual_size: load(&self.0.virtual_size),
            data_bytes: load(&self.0.data_bytes),
            data_size: load(&self.0.data_size),
        }
    }

    pub(crate) fn begin(&self, stage: Stage, wire_len: u64, virtual_size: u64) {
        let number = match stage {
            Stage::Waiting => 0,
            Stage::Scanning => 1,
            Stage::Streaming => 2,
        };
        self.0.wire_bytes.store(0, Ordering::Relaxed);
        self.0.wire_len.store(wire_len, Ordering::Relaxed);
        self.0.virtual_bytes.store(0, Ordering::Relaxed);
        self.0.virtual_size.store(virtual_size, Ordering::Relaxed);
        self.0.data_bytes.store(0, Ordering::Relaxed);
        self.0.data_size.store(0, Ordering::Relaxed);
        self.0.stage.store(number, Ordering::Relaxed);
    }

    pub(crate) fn add_wire(&self, len: usize) {
        self.0.wire_bytes.fetch_add(len as u64, Ordering::Relaxed);
    }

    pub(crate) fn reach(&self, virtual_bytes: u64) {
        self.0.virtual_bytes.store(virtual_bytes, Ordering::Relaxed);
    }

    pub(crate) fn set_virtual_size(&self, virtual_size: u64) {
        self.0.virtual_size.store(virtual_size, Ordering::Relaxed);
    }

    pub(crate) fn set_data_size(&self, data_size: u64) {
        self.0.data_size.store(data_size, Ordering::Relaxed);
    }

    pub(crate) fn add_data(&self, len: usize) {
        self.0.data_bytes.fetch_add(len as u64, Ordering::Relaxed);
    }
}
