//! What a peer may make us read.

use std::borrow::Cow;

use crate::error::{DecodeError, DecodeErrorKind};

/// Limits on a document that is decoded.
///
/// Memory stays in proportion to the size of the document, since no entity is expanded; the stack
/// stays in proportion to the depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest document, in bytes.
    pub max_bytes: usize,
    /// How deep arrays and structs may be nested. Records inside events need six levels.
    pub max_depth: usize,
}

impl Limits {
    /// What XAPI sets for requests: 300 KiB.
    pub const REQUEST: Self = Self { max_bytes: 307_200, max_depth: 64 };

    /// What a client allows a pool to answer: 512 MiB, some sixty thousand VM records.
    pub const RESPONSE: Self = Self { max_bytes: 512 << 20, max_depth: 64 };
}

impl Limits {
    /// The text of what a client sent, which must be UTF-8.
    pub(crate) fn request_text<'b>(&self, body: &'b [u8]) -> Result<&'b str, DecodeError> {
        self.check_size(body.len())?;
        let invalid =
            |e: std::str::Utf8Error| DecodeError::malformed("the text is not UTF-8", e.valid_up_to());
        std::str::from_utf8(body).map_err(invalid)
    }

    /// The text of what a server sent. XAPI copies bytes from its database as they are: one name in
    /// another encoding must not make all records unreadable, so such bytes become U+FFFD.
    pub(crate) fn response_text<'b>(&self, body: &'b [u8]) -> Result<Cow<'b, str>, DecodeError> {
        self.check_size(body.len())?;
        Ok(std::str::from_utf8(body).map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed))
    }

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
