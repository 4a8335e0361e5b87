//! Buffers that come back.
//!
//! A fresh megabyte from the allocator is a megabyte of page faults; a returned one is warm.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Bytes read at a time, and so the size of the pieces of a body.
pub(crate) const PIECE: usize = 1 << 20;

/// A set of buffers of [`PIECE`] bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    /// A buffer with arbitrary content.
    pub(crate) fn take(&self) -> Buffer {
        let free = self.lock().pop();
        Buffer { bytes: free.unwrap_or_else(|| vec![0; PIECE]), len: PIECE, pool: self.clone() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        // A vector of spare buffers is good whatever the thread that held it did.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer that returns to its pool when it, or the `Bytes` made of it, is dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    pool: Pool,
}

impl Buffer {
    /// The first `len` bytes, to be filled.
    pub(crate) fn fill(&mut self, len: usize) -> &mut [u8] {
        self.len = len.min(self.bytes.len());
        &mut self.bytes[..self.len]
    }

    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.pool.lock().push(bytes);
    }
}

static ZEROS: [u8; PIECE] = [0; PIECE];

/// Up to [`PIECE`] zeros, without memory of their own.
pub(crate) fn zeros(len: u64) -> Bytes {
    let len = usize::try_from(len).unwrap_or(PIECE).min(PIECE);
    Bytes::from_static(&ZEROS[..len])
}
