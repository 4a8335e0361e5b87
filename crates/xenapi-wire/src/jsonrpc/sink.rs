//! The writer.

use serde::Serialize;

use crate::codec::{Sink, write};
use crate::error::EncodeError;
use crate::number;

/// How numbers that JSON does not have are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Manner {
    /// As text, `"inf"` and `"nan"`, which XAPI reads where it wants a float: the document stays JSON.
    Exact,
    /// XAPI's own: the words `Infinity` and `NaN`.
    Xapi,
}

pub(super) struct JsonSink {
    pub(super) out: String,
    manner: Manner,
    params: Params,
    depth: usize,
}

/// Whether the outermost array is the parameters of a call, before which a session may go.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Params {
    No,
    Wanted { after_session: bool },
    Begun { after_session: bool },
}

impl JsonSink {
    pub(super) fn new(manner: Manner) -> Self {
        Self { out: String::with_capacity(512), manner, params: Params::No, depth: 0 }
    }

    pub(super) fn raw(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// Writes a sequence as the parameters of a call; `()` is the empty one.
    pub(super) fn params<P: Serialize + ?Sized>(
        &mut self,
        session: Option<&str>,
        params: &P,
    ) -> Result<(), EncodeError> {
        self.raw("[");
        if let Some(session) = session {
            self.quoted(session);
        }
        let start = self.out.len();
        self.params = Params::Wanted { after_session: session.is_some() };
        write(params, self)?;
        if matches!(self.params, Params::Wanted { .. }) {
            if &self.out[start..] != "\"\"" {
                return Err(EncodeError::NotASequence);
            }
            self.out.truncate(start);
        }
        self.raw("]");
        Ok(())
    }

    /// A string with the escapes that XAPI uses.
    pub(super) fn quoted(&mut self, text: &str) {
        use std::fmt::Write;

        self.out.push('"');
        let mut done = 0;
        for (at, byte) in text.bytes().enumerate() {
            let escape = match byte {
                b'"' => "\\\"",
                b'\\' => "\\\\",
                b'\n' => "\\n",
                b'\r' => "\\r",
                b'\t' => "\\t",
                0x08 => "\\b",
                0x0c => "\\f",
                0..0x20 | 0x7f => "",
                _ => continue,
            };
            self.out.push_str(&text[done..at]);
            self.out.push_str(escape);
            if escape.is_empty() {
                // Writing to a String cannot fail.
                let _ = write!(self.out, "\\u{byte:04x}");
            }
            done = at + 1;
        }
        self.out.push_str(&text[done..]);
        self.out.push('"');
    }
}

impl Sink for JsonSink {
    fn nil(&mut self) {
        self.raw("null");
    }

    fn bool(&mut self, value: bool) {
        self.raw(if value { "true" } else { "false" });
    }

    fn int(&mut self, value: i64) {
        self.out.push_str(&value.to_string());
    }

    fn int32(&mut self, value: i32) {
        self.int(value.into());
    }

    fn double(&mut self, value: f64) {
        let words = match self.manner {
            Manner::Exact => ["\"nan\"", "\"inf\"", "\"-inf\""],
            Manner::Xapi => ["NaN", "Infinity", "-Infinity"],
        };
        if value.is_nan() {
            return self.raw(words[0]);
        }
        if value.is_infinite() {
            return self.raw(if value > 0.0 { words[1] } else { words[2] });
        }
        let start = self.out.len();
        number::write_exact(&mut self.out, value);
        if !self.out[start..].contains(['.', 'e']) {
            self.out.push_str(".0");
        }
    }

    fn text(&mut self, value: &str) -> Result<(), EncodeError> {
        self.quoted(value);
        Ok(())
    }

    fn date(&mut self, value: &str) -> Result<(), EncodeError> {
        self.text(value)
    }

    fn begin_array(&mut self) {
        match self.params {
            Params::Wanted { after_session } if self.depth == 0 => {
                self.params = Params::Begun { after_session }
            }
            _ => self.raw("["),
        }
        self.depth += 1;
    }

    fn element(&mut self, first: bool) {
        let after_session = self.depth == 1 && self.params == Params::Begun { after_session: true };
        if !first || after_session {
            self.raw(",");
        }
    }

    fn end_array(&mut self) {
        self.depth -= 1;
        if self.depth > 0 || self.params == Params::No {
            self.raw("]");
        }
    }

    fn begin_struct(&mut self) {
        self.depth += 1;
        self.raw("{");
    }

    fn key(&mut self, first: bool, name: &str) -> Result<(), EncodeError> {
        if !first {
            self.raw(",");
        }
        self.quoted(name);
        self.raw(":");
        Ok(())
    }

    fn end_member(&mut self) {}

    fn end_struct(&mut self) {
        self.depth -= 1;
        self.raw("}");
    }

    fn mark(&self) -> usize {
        self.out.len()
    }

    fn undo(&mut self, mark: usize) {
        self.out.truncate(mark);
    }
}
