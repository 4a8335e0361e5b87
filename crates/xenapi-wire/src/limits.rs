//! What a peer may make us read.

use crate::error::{DecodeError, DecodeErrorKind};

/// Limits on a document that is decoded.
///
/// Memory stays in proportion to the size of the document, since no entity is expanded; the stack
/// stays in proportion to the depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest document, in bytes.
    pub max_bytes: usize,
    /// How deep arrays and structs may be nested. The API needs five levels.
    pub max_depth: usize,
}

impl Limits {
    /// What XAPI sets for requests: 300 KiB.
    pub const REQUEST: Self = Self { max_bytes: 307_200, max_depth: 64 };

    /// What a client allows a pool to answer: 512 MiB, fifty thousand VM records.
    pub const RESPONSE: Self = Self { max_bytes: 512 << 20, max_depth: 64 };
}

impl Limits {
    pub(crate) fn check_size(&self, size: usize) -> Result<(), DecodeError> {
        if size > self.max_bytes {
            let kind = DecodeErrorKind::TooBig { size, limit: self.max_bytes };
            return Err(DecodeError::new(kind, self.max_bytes));
        }
        Ok(())
    }
}

impl Default for Limits {
    /// [`Limits::RESPONSE`].
    fn default() -> Self {
        Self::RESPONSE
    }
}
