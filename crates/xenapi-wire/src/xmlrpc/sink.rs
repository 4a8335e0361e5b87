//! The writer.

use serde::Serialize;

use crate::codec::{Sink, write};
use crate::error::EncodeError;
use crate::number;

/// Whose manner of writing is followed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Manner {
    /// Well-formed XML that carries every text exactly, or an error.
    Exact,
    /// XAPI's own: member names are not escaped, control characters are dropped, doubles have 16
    /// digits.
    Xapi,
}

pub(super) struct XmlSink {
    pub(super) out: String,
    manner: Manner,
    params: Params,
    depth: usize,
}

/// Whether the outermost array is the parameters of a call, which have tags of their own.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Params {
    No,
    /// Not begun yet.
    Wanted,
    /// Begun; no parameter written.
    None,
    /// At least one parameter written.
    Some,
}

impl XmlSink {
    pub(super) fn new(manner: Manner) -> Self {
        Self { out: String::with_capacity(512), manner, params: Params::No, depth: 0 }
    }

    /// For a call, whose parameters are written by [`XmlSink::params`].
    pub(super) fn for_params() -> Self {
        Self { params: Params::Wanted, ..Self::new(Manner::Exact) }
    }

    /// Writes a sequence as the parameters of a call; `()` is the empty one.
    pub(super) fn params<P: Serialize + ?Sized>(&mut self, params: &P) -> Result<(), EncodeError> {
        let start = self.out.len();
        write(params, self)?;
        if self.params == Params::Wanted {
            if &self.out[start..] != "<value></value>" {
                return Err(EncodeError::NotASequence);
            }
            self.out.truncate(start);
        }
        Ok(())
    }

    fn is_params(&self) -> bool {
        self.params != Params::No && self.depth == 0
    }

    pub(super) fn raw(&mut self, markup: &str) {
        self.out.push_str(markup);
    }

    /// Text with what XML reserves escaped.
    pub(super) fn escaped(&mut self, text: &str) -> Result<(), EncodeError> {
        let exact = self.manner == Manner::Exact;
        let bytes = text.as_bytes();
        let mut done = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            let replacement = match byte {
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'&' => "&amp;",
                b'"' => "&quot;",
                b'\t' | b'\n' => continue,
                // A parser turns a bare one into a line feed.
                b'\r' if exact => "&#13;",
                b'\r' => continue,
                0..0x20 if exact => return Err(EncodeError::Character(byte.into())),
                0..0x20 => "",
                0xef if exact && matches!(bytes[at..], [_, 0xbf, 0xbe | 0xbf, ..]) => {
                    let last = char::from_u32(0xff40 + u32::from(bytes[at + 2]));
                    return Err(EncodeError::Character(last.unwrap_or_default()));
                }
                _ => continue,
            };
            self.out.push_str(&text[done..at]);
            self.out.push_str(replacement);
            done = at + 1;
        }
        self.out.push_str(&text[done..]);
        Ok(())
    }

    fn tagged(&mut self, tag: &str, content: &str) {
        for part in ["<value><", tag, ">", content, "</", tag, "></value>"] {
            self.out.push_str(part);
        }
    }
}

impl Sink for XmlSink {
    fn nil(&mut self) {
        self.raw("<value><nil/></value>");
    }

    fn bool(&mut self, value: bool) {
        self.tagged("boolean", if value { "1" } else { "0" });
    }

    fn int(&mut self, value: i64) {
        self.out.push_str("<value>");
        self.out.push_str(&value.to_string());
        self.out.push_str("</value>");
    }

    fn int32(&mut self, value: i32) {
        self.tagged("i4", &value.to_string());
    }

    fn double(&mut self, value: f64) {
        let mut text = String::new();
        match (value.is_nan(), value.is_infinite(), self.manner) {
            (true, _, _) => text.push_str("nan"),
            (_, true, _) => text.push_str(if value > 0.0 { "inf" } else { "-inf" }),
            (_, _, Manner::Exact) => number::write_exact(&mut text, value),
            (_, _, Manner::Xapi) => number::write_g(&mut text, value, 16),
        }
        self.tagged("double", &text);
    }

    fn text(&mut self, value: &str) -> Result<(), EncodeError> {
        self.raw("<value>");
        self.escaped(value)?;
        self.raw("</value>");
        Ok(())
    }

    fn date(&mut self, value: &str) -> Result<(), EncodeError> {
        if self.manner == Manner::Exact && value.is_empty() {
            return Err(EncodeError::EmptyDate);
        }
        self.raw("<value><dateTime.iso8601>");
        self.escaped(value)?;
        self.raw("</dateTime.iso8601></value>");
        Ok(())
    }

    fn begin_array(&mut self) {
        if self.params == Params::Wanted && self.depth == 0 {
            self.params = Params::None;
            return;
        }
        self.depth += 1;
        self.raw("<value><array><data>");
    }

    fn element(&mut self, first: bool) {
        if self.is_params() {
            self.raw(if first { "<param>" } else { "</param><param>" });
            self.params = Params::Some;
        }
    }

    fn end_array(&mut self) {
        if !self.is_params() {
            self.depth -= 1;
            self.raw("</data></array></value>");
        } else if self.params == Params::Some {
            self.raw("</param>");
        }
    }

    fn begin_struct(&mut self) {
        self.depth += 1;
        self.raw("<value><struct>");
    }

    fn key(&mut self, _first: bool, name: &str) -> Result<(), EncodeError> {
        self.raw("<member><name>");
        match self.manner {
            Manner::Xapi => self.raw(name),
            Manner::Exact if name.is_empty() => return Err(EncodeError::EmptyKey),
            Manner::Exact => self.escaped(name)?,
        }
        self.raw("</name>");
        Ok(())
    }

    fn end_member(&mut self) {
        self.raw("</member>");
    }

    fn end_struct(&mut self) {
        self.depth -= 1;
        self.raw("</struct></value>");
    }

    fn mark(&self) -> usize {
        self.out.len()
    }

    fn undo(&mut self, mark: usize) {
        self.out.truncate(mark);
    }
}
