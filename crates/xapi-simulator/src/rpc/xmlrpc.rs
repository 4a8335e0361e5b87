//! XML-RPC as XAPI's parser and printer speak it.
//!
//! The printer leaves integers, enums and references untagged, adds no white space, drops control characters and
//! does not escape the names of members, so that a map key with `<` in it makes the answer ill-formed, as it does on
//! a real server.

use std::borrow::Cow;

use xenapi_wire::{DateTime, Failure, Value};

use super::{Answer, Malformed, Outcome, Request, significant};

/// How deep values may be nested.
const MAX_DEPTH: usize = 200;

/// Reads a call.
pub(crate) fn decode(body: &[u8]) -> Result<Request, Malformed> {
    let text = std::str::from_utf8(body).map_err(|_| Malformed("malformed UTF-8".into()))?;
    let mut scanner = Scanner { rest: text.strip_prefix('\u{feff}').unwrap_or(text) };
    if scanner.rest.starts_with([' ', '\t', '\r', '\n']) && scanner.rest.trim_start().starts_with("<?xml") {
        return Err(Malformed("white space before the XML declaration".into()));
    }
    scanner.open("methodCall")?;
    scanner.open("methodName")?;
    let method = scanner.text()?;
    scanner.close("methodName")?;
    if method.is_empty() {
        return Err(Malformed("no method name".into()));
    }
    let mut params = Vec::new();
    match scanner.next_tag()? {
        Tag::Empty("params") => {}
        Tag::Open("params") => loop {
            match scanner.next_tag()? {
                Tag::Open("param") => {
                    params.push(scanner.value(0)?);
                    scanner.close("param")?;
                }
                Tag::Close("params") => break,
                tag => return Err(tag.unexpected("param")),
            }
        },
        tag => return Err(tag.unexpected("params")),
    }
    scanner.close("methodCall")?;
    Ok(Request { method, params })
}

#[derive(Debug)]
enum Tag<'a> {
    Open(&'a str),
    Close(&'a str),
    Empty(&'a str),
}

impl Tag<'_> {
    fn unexpected(&self, expected: &str) -> Malformed {
        Malformed(format!("expected <{expected}>, got {self:?}"))
    }
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    /// Skips comments, declarations and instructions; says whether there was one.
    fn skip_one(&mut self) -> Result<bool, Malformed> {
        for (start, end) in [("<!--", "-->"), ("<?", "?>")] {
            if self.rest.starts_with(start) {
                let at = self.rest.find(end).ok_or_else(|| Malformed(format!("no {end}")))?;
                self.rest = &self.rest[at + end.len()..];
                return Ok(true);
            }
        }
        if self.rest.starts_with("<!DOCTYPE") {
            let mut depth = 0usize;
            for (i, c) in self.rest.char_indices() {
                match c {
                    '[' => depth += 1,
                    ']' => depth = depth.saturating_sub(1),
                    '>' if depth == 0 => {
                        self.rest = &self.rest[i + 1..];
                        return Ok(true);
                    }
                    _ => {}
                }
            }
            return Err(Malformed("the document type does not end".into()));
        }
        Ok(false)
    }

    /// The next tag, white space before it skipped.
    fn next_tag(&mut self) -> Result<Tag<'a>, Malformed> {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
            if !self.skip_one()? {
                break;
            }
        }
        let Some(inner) = self.rest.strip_prefix('<') else {
            let near: String = self.rest.chars().take(20).collect();
            return Err(Malformed(format!("expected a tag, got {near:?}")));
        };
        let end = inner.find('>').ok_or_else(|| Malformed("a tag does not end".into()))?;
        let tag = &inner[..end];
        self.rest = &inner[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            return Ok(Tag::Close(name.trim_end()));
        }
        let empty = tag.ends_with('/');
        let name = tag.trim_end_matches('/').split([' ', '\t', '\r', '\n']).next().unwrap_or_default();
        Ok(if empty { Tag::Empty(name) } else { Tag::Open(name) })
    }

    fn open(&mut self, name: &str) -> Result<(), Malformed> {
        match self.next_tag()? {
            Tag::Open(found) if found == name => Ok(()),
            tag => Err(tag.unexpected(name)),
        }
    }

    fn close(&mut self, name: &str) -> Result<(), Malformed> {
        match self.next_tag()? {
            Tag::Close(found) if found == name => Ok(()),
            tag => Err(tag.unexpected(name)),
        }
    }

    /// Character data up to the next tag, decoded.
    fn text(&mut self) -> Result<String, Malformed> {
        let mut out = String::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix("<![CDATA[") {
                let end = rest.find("]]>").ok_or_else(|| Malformed("CDATA does not end".into()))?;
                out.push_str(&line_ends(&rest[..end])?);
                self.rest = &rest[end + 3..];
            } else if self.rest.starts_with('<') {
                if !self.skip_one()? {
                    return Ok(out);
                }
            } else {
                let end = self.rest.find('<').ok_or_else(|| Malformed("unexpected end".into()))?;
                unescape(&line_ends(&self.rest[..end])?, &mut out)?;
                self.rest = &self.rest[end..];
            }
        }
    }

    /// A `<value>` with its tags.
    fn value(&mut self, depth: usize) -> Result<Value, Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed("values are nested too deep".into()));
        }
        match self.next_tag()? {
            Tag::Empty("value") => return Ok(Value::String(String::new())),
            Tag::Open("value") => {}
            tag => return Err(tag.unexpected("value")),
        }
        let text = self.text()?;
        let value = match self.next_tag()? {
            Tag::Close("value") => return Ok(Value::String(text)),
            Tag::Empty(name) => Self::empty(name)?,
            Tag::Open(name) => self.typed(name, depth)?,
            tag => return Err(tag.unexpected("value")),
        };
        self.close("value")?;
        Ok(value)
    }

    fn empty(name: &str) -> Result<Value, Malformed> {
        Ok(match name {
            "nil" => Value::Nil,
            "string" => Value::String(String::new()),
            "struct" => Value::Struct(Default::default()),
            other => return Err(Malformed(format!("<{other}/> is no value"))),
        })
    }

    fn typed(&mut self, name: &'a str, depth: usize) -> Result<Value, Malformed> {
        let value = match name {
            "array" => self.array(depth)?,
            "struct" => return self.members(depth),
            "nil" => Value::Nil,
            _ => scalar(name, self.text()?)?,
        };
        self.close(name)?;
        Ok(value)
    }

    fn array(&mut self, depth: usize) -> Result<Value, Malformed> {
        match self.next_tag()? {
            Tag::Empty("data") => return Ok(Value::Array(Vec::new())),
            Tag::Open("data") => {}
            tag => return Err(tag.unexpected("data")),
        }
        let mut items = Vec::new();
        loop {
            let before = self.rest;
            match self.next_tag()? {
                Tag::Close("data") => return Ok(Value::Array(items)),
                _ => {
                    self.rest = before;
                    items.push(self.value(depth + 1)?);
                }
            }
        }
    }

    fn members(&mut self, depth: usize) -> Result<Value, Malformed> {
        let mut members = std::collections::BTreeMap::new();
        loop {
            match self.next_tag()? {
                Tag::Close("struct") => return Ok(Value::Struct(members)),
                Tag::Open("member") => {
                    self.open("name")?;
                    let name = self.text()?;
                    if name.is_empty() {
                        return Err(Malformed("a member without a name".into()));
                    }
                    self.close("name")?;
                    let value = self.value(depth + 1)?;
                    members.insert(name, value);
                    self.close("member")?;
                }
                tag => return Err(tag.unexpected("member")),
            }
        }
    }
}

fn scalar(name: &str, text: String) -> Result<Value, Malformed> {
    let bad = || Malformed(format!("{text:?} is no {name}"));
    Ok(match name {
        "string" => Value::String(text),
        "int" | "i4" | "i8" => Value::Int(text.parse().map_err(|_| bad())?),
        "double" => Value::Double(text.trim().parse().map_err(|_| bad())?),
        "boolean" => Value::Bool(text == "1"),
        "dateTime.iso8601" => Value::DateTime(text.parse::<DateTime>().map_err(|_| bad())?),
        "base64" => Value::String(text),
        other => return Err(Malformed(format!("unknown type {other}"))),
    })
}

/// Line ends as XML wants them; control characters are no XML.
fn line_ends(text: &str) -> Result<Cow<'_, str>, Malformed> {
    if text.bytes().any(|b| b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r')) {
        return Err(Malformed("a control character".into()));
    }
    Ok(if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n").into() } else { text.into() })
}

fn unescape(text: &str, out: &mut String) -> Result<(), Malformed> {
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let end = rest[at..].find(';').ok_or_else(|| Malformed("an entity does not end".into()))?;
        let entity = &rest[at + 1..at + end];
        let number = entity.strip_prefix('#').map(|n| match n.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => n.parse(),
        });
        out.push(match (entity, number) {
            ("lt", _) => '<',
            ("gt", _) => '>',
            ("amp", _) => '&',
            ("quot", _) => '"',
            ("apos", _) => '\'',
            (_, Some(Ok(code))) => char::from_u32(code)
                .filter(|c| *c >= ' ' || matches!(c, '\t' | '\n' | '\r'))
                .ok_or_else(|| Malformed(format!("&{entity}; is no character")))?,
            _ => return Err(Malformed(format!("unknown entity &{entity};"))),
        });
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    Ok(())
}

const OPEN: &str = r#"<?xml version="1.0"?><methodResponse><params><param>"#;
const CLOSE: &str = "</param></params></methodResponse>";

/// Writes the answer.
pub(crate) fn encode(outcome: &Outcome) -> Vec<u8> {
    let mut out = String::from(OPEN);
    match outcome {
        Ok(Answer::Bare(value)) => push(&mut out, value),
        Ok(answer) => {
            out.push_str("<value><struct><member><name>Status</name><value>Success</value></member>");
            out.push_str("<member><name>Value</name>");
            match answer {
                Answer::Batch(batch) => push_batch(&mut out, batch),
                Answer::Value(value) | Answer::Bare(value) => push(&mut out, value),
            }
            out.push_str("</member></struct></value>");
        }
        Err(failure) => push_failure(&mut out, failure),
    }
    out.push_str(CLOSE);
    out.into_bytes()
}

fn push_failure(out: &mut String, failure: &Failure) {
    out.push_str("<value><struct><member><name>Status</name><value>Failure</value></member>");
    out.push_str("<member><name>ErrorDescription</name>");
    let list = Vec::from(failure.clone()).into_iter().map(Value::String).collect();
    push(out, &Value::Array(list));
    out.push_str("</member></struct></value>");
}

/// A value as a fragment, the form of a task's result.
pub(crate) fn fragment(value: &Value) -> String {
    let mut out = String::new();
    push(&mut out, value);
    out
}

fn push(out: &mut String, value: &Value) {
    out.push_str("<value>");
    match value {
        Value::Nil => out.push_str("<nil/>"),
        Value::Bool(b) => out.push_str(if *b { "<boolean>1</boolean>" } else { "<boolean>0</boolean>" }),
        Value::Int(n) => out.push_str(&n.to_string()),
        Value::Double(x) => {
            out.push_str("<double>");
            out.push_str(&significant(*x, 16));
            out.push_str("</double>");
        }
        Value::String(text) => push_text(out, text),
        Value::DateTime(date) => {
            out.push_str("<dateTime.iso8601>");
            push_text(out, date.as_str());
            out.push_str("</dateTime.iso8601>");
        }
        Value::Array(items) => {
            out.push_str("<array><data>");
            for item in items {
                push(out, item);
            }
            out.push_str("</data></array>");
        }
        Value::Struct(map) => push_members(out, map.iter(), push),
    }
    out.push_str("</value>");
}

/// The batch of `event.from`: the counts are tagged.
fn push_batch(out: &mut String, batch: &Value) {
    let Value::Struct(map) = batch else { return push(out, batch) };
    out.push_str("<value>");
    push_members(out, map.iter(), |out, value| match value {
        Value::Struct(counts) => {
            out.push_str("<value>");
            push_members(out, counts.iter(), |out, count| match count {
                Value::Int(n) => {
                    out.push_str("<value><i4>");
                    out.push_str(&n.to_string());
                    out.push_str("</i4></value>");
                }
                other => push(out, other),
            });
            out.push_str("</value>");
        }
        other => push(out, other),
    });
    out.push_str("</value>");
}

fn push_members<'v>(
    out: &mut String,
    members: impl Iterator<Item = (&'v String, &'v Value)>,
    push: impl Fn(&mut String, &Value),
) {
    out.push_str("<struct>");
    for (name, value) in members {
        out.push_str("<member><name>");
        out.push_str(name);
        out.push_str("</name>");
        push(out, value);
        out.push_str("</member>");
    }
    out.push_str("</struct>");
}

fn push_text(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(c),
            c if c < ' ' => {}
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(value: &str) -> Result<Value, Malformed> {
        let body = format!(
            "<?xml version='1.0'?><methodCall><methodName>m</methodName><params><param>{value}</param></params></methodCall>"
        );
        decode(body.as_bytes()).map(|mut call| call.params.remove(0))
    }

    #[test]
    fn values_are_read() {
        for (text, value) in [
            ("<value>a &lt;b&#x3e; </value>", Value::from("a <b> ")),
            ("<value/>", Value::from("")),
            ("<value> <int>-5</int> </value>", Value::Int(-5)),
            ("<value><boolean>1</boolean></value>", Value::Bool(true)),
            ("<value><![CDATA[<a>]]></value>", Value::from("<a>")),
            ("<value>a\r\nb<!-- c --></value>", Value::from("a\nb")),
            ("<value><array><data/></array></value>", Value::Array(Vec::new())),
            ("<value><array><data><value>x</value></data></array></value>", Value::from(vec!["x"])),
        ] {
            assert_eq!(call(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for text in [
            "<value><long>5</long></value>",
            "<value>\u{1}</value>",
            "<value>&nbsp;</value>",
            "<value><struct><member><name></name><value>x</value></member></struct></value>",
            "<value>x",
        ] {
            assert!(call(text).is_err(), "{text}");
        }
        let deep = "<value><array><data>".repeat(100_000);
        assert!(call(&deep).is_err());
    }
}
