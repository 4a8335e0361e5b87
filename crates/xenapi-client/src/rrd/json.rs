//! The JSON form, with the liberties that hosts take: numbers that are none as bare words, and names without quotes.

use std::borrow::Cow;

use super::tree::Tree;
use super::{malformed, too_many};
use crate::error::Result;

/// How deep things may be nested; the documents need six.
const MAX_DEPTH: usize = 16;

/// Values, lists and objects together are `max_values` at most: two bytes of JSON are some tens of a tree.
pub(super) fn parse(text: &str, max_values: u32) -> Result<Tree<'_>> {
    let mut reader = Reader { text, at: 0, values: 0, max_values };
    let tree = reader.value(MAX_DEPTH)?;
    match reader.peek() {
        None => Ok(tree),
        Some(_) => Err(reader.wrong("its end")),
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    values: u32,
    max_values: u32,
}

impl<'t> Reader<'t> {
    fn wrong(&self, expected: &str) -> crate::error::Error {
        let found: String = self.text[self.at..].chars().take(20).collect();
        malformed(&format!("{found:?} at byte {} where {expected} belongs", self.at))
    }

    /// The next character behind blanks.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_ascii_start().len();
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        let is_there = self.peek() == Some(wanted);
        self.at += usize::from(is_there);
        is_there
    }

    fn value(&mut self, depth: usize) -> Result<Tree<'t>> {
        self.values += 1;
        if self.values > self.max_values {
            return Err(too_many(self.max_values));
        }
        let below = depth.checked_sub(1).ok_or_else(|| self.wrong("less nesting"))?;
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                let mut parts = Vec::new();
                while !self.take(b'}') {
                    self.comma(parts.is_empty())?;
                    let name = self.word()?;
                    if !self.take(b':') {
                        return Err(self.wrong("a colon"));
                    }
                    parts.push((name, self.value(below)?));
                }
                Ok(Tree::Parts(parts))
            }
            Some(b'[') => {
                self.at += 1;
                let mut items = Vec::new();
                while !self.take(b']') {
                    self.comma(items.is_empty())?;
                    items.push(self.value(below)?);
                }
                Ok(Tree::List(items))
            }
            _ => self.word().map(Tree::Text),
        }
    }

    fn comma(&mut self, is_first: bool) -> Result<()> {
        if is_first || self.take(b',') { Ok(()) } else { Err(self.wrong("a comma")) }
    }

    /// Text in quotes, or what is there up to the next sign.
    fn word(&mut self) -> Result<Cow<'t, str>> {
        if self.take(b'"') {
            return self.quoted();
        }
        let rest: &'t str = &self.text[self.at..];
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.' | '_');
        let len = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        if len == 0 {
            return Err(self.wrong("a value"));
        }
        self.at += len;
        Ok(Cow::Borrowed(&rest[..len]))
    }

    fn quoted(&mut self) -> Result<Cow<'t, str>> {
        let mut out = Cow::Borrowed("");
        loop {
            let rest: &'t str = &self.text[self.at..];
            let len = rest.find(['"', '\\']).ok_or_else(|| self.wrong("text with an end"))?;
            out += &rest[..len];
            self.at += len + 1;
            if rest[len..].starts_with('"') {
                return Ok(out);
            }
            out.to_mut().push(self.escaped()?);
        }
    }

    fn escaped(&mut self) -> Result<char> {
        let rest: &'t str = &self.text[self.at..];
        let sign = rest.chars().next().ok_or_else(|| self.wrong("text with an end"))?;
        self.at += sign.len_utf8();
        Ok(match sign {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => {
                let code = rest.get(1..5).and_then(|hex| u32::from_str_radix(hex, 16).ok());
                let code = code.ok_or_else(|| self.wrong("four digits"))?;
                self.at += 4;
                // Names of data sources have no characters beyond, which come as two of these.
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            other => other,
        })
    }
}
