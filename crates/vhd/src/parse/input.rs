//! Taking bytes from an input that ends anywhere.

use super::{Decoder, Event};
use crate::error::{Error, Structure};

impl Decoder {
    /// Moves bytes into the buffer until it holds `want`; `false` when the input ends before.
    pub(super) fn collect(&mut self, input: &mut &[u8], want: usize) -> bool {
        let len = (want - self.buffer.len()).min(input.len());
        let (part, rest) = input.split_at(len);
        self.buffer.extend_from_slice(part);
        *input = rest;
        self.position += len as u64;
        self.buffer.len() == want
    }

    /// The collected structure; `collect` has seen to its length.
    pub(super) fn take_array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(&self.buffer);
        self.buffer.clear();
        array
    }

    /// Passes over unused bytes up to `offset`, where `before` starts; `None` when it is there.
    pub(super) fn skip_to<'a>(
        &mut self,
        input: &mut &'a [u8],
        offset: u64,
        before: Structure,
    ) -> Result<Option<Event<'a>>, Error> {
        if !self.buffer.is_empty() || self.position == offset {
            return Ok(None);
        }
        self.gap_to(offset, before)?;
        let gap = self.pass(input, offset);
        if let Event::Gap { len, .. } = gap {
            self.unused += len;
        }
        Ok(Some(gap))
    }

    /// Whether what lies between here and `offset`, where `before` starts, may be there.
    pub(super) fn gap_to(&mut self, offset: u64, before: Structure) -> Result<(), Error> {
        self.forward(before, offset)?;
        let ahead = offset - self.position;
        self.unused += ahead;
        self.slack(before, offset)?;
        self.unused -= ahead;
        Ok(())
    }

    pub(super) fn pass<'a>(&mut self, input: &mut &'a [u8], end: u64) -> Event<'a> {
        let offset = self.position;
        let len = usize::try_from(end - offset).unwrap_or(usize::MAX).min(input.len());
        *input = &input[len..];
        self.position += len as u64;
        Event::Gap { offset, len: len as u64 }
    }

    pub(super) fn slack(&self, before: Structure, offset: u64) -> Result<(), Error> {
        let limit = self.limits.stream_gap + self.position / 64;
        if self.unused > limit {
            return Err(Error::GapTooLong { before, offset, len: self.unused, limit });
        }
        Ok(())
    }

    pub(super) fn forward(&self, what: Structure, offset: u64) -> Result<(), Error> {
        if offset < self.position {
            return Err(Error::NotForward { what, offset, position: self.position });
        }
        Ok(())
    }
}
