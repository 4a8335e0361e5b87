//! Python's pickle, protocol 0, as data.
//!
//! Nova's clients send the arguments of the "serialized" functions as a pickle and expect one back.
//! Unpickling in Python runs code by design; here only the opcodes that build plain data are known,
//! and everything else (`c`, `R`, `i`, `o`, `b` …) is an error. Protocol 0 is text: one opcode
//! letter, then its argument up to the end of the line.

use std::collections::BTreeMap;
use std::fmt::Write;

/// A plain Python value.
#[derive(Debug, Clone, PartialEq)]
pub enum Pickle {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// `int`.
    Int(i64),
    /// `str` or `unicode`.
    Str(String),
    /// `list` or `tuple`.
    List(Vec<Pickle>),
    /// `dict` with text keys.
    Dict(BTreeMap<String, Pickle>),
}

/// Why a text is not a pickle that is accepted here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PickleError {
    /// The text ends before the `.` opcode.
    #[error("the pickle ends at byte {0} without its final '.'")]
    Truncated(usize),
    /// An opcode that could run code, or is not of protocol 0.
    #[error("opcode {0:?} at byte {1} is not accepted: only plain data of protocol 0 is")]
    Opcode(char, usize),
    /// An argument that cannot be read.
    #[error("malformed {0} at byte {1}")]
    Malformed(&'static str, usize),
    /// More values than any caller sends.
    #[error("more than {0} values")]
    TooLarge(usize),
}

/// Callers send a dozen. A value can be repeated through the memo, so this also bounds the memory.
const MAX_VALUES: usize = 1_000;

enum Slot {
    Mark,
    Value(Pickle),
}

/// Reads a pickle.
///
/// # Errors
/// Anything but plain data, and any damage.
pub fn loads(text: &str) -> Result<Pickle, PickleError> {
    Reader { text, at: 0, stack: Vec::new(), memo: BTreeMap::new(), values: 0 }.run()
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    stack: Vec<Slot>,
    memo: BTreeMap<String, Pickle>,
    values: usize,
}

impl<'a> Reader<'a> {
    fn memoise(&mut self, start: usize) -> Result<(), PickleError> {
        let key = self.line()?.to_owned();
        let Some(Slot::Value(top)) = self.stack.last() else {
            return Err(PickleError::Malformed("stack", start));
        };
        // A container is memoised while it is empty and filled afterwards. Nothing that is
        // accepted here refers back to a container, so its later content does not matter.
        let top = top.clone();
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, start: usize) -> Result<(), PickleError> {
        let key = self.line()?;
        let value = self.memo.get(key).ok_or(PickleError::Malformed("memo", start))?.clone();
        if matches!(value, Pickle::List(_) | Pickle::Dict(_)) {
            return Err(PickleError::Malformed("reference to a container", start));
        }
        self.push(Slot::Value(value))
    }

    fn run(mut self) -> Result<Pickle, PickleError> {
        loop {
            let start = self.at;
            let op = self.text[self.at..].chars().next().ok_or(PickleError::Truncated(start))?;
            self.at += op.len_utf8();
            match op {
                '.' => return self.pop(start),
                '(' => self.push(Slot::Mark)?,
                'N' => self.push(Slot::Value(Pickle::None))?,
                'I' | 'L' => {
                    let value = int(self.line()?).ok_or(PickleError::Malformed("integer", start))?;
                    self.push(Slot::Value(value))?;
                }
                'S' => {
                    let value = quoted(self.line()?).ok_or(PickleError::Malformed("string", start))?;
                    self.push(Slot::Value(Pickle::Str(value)))?;
                }
                'V' => {
                    let value = unescaped(self.line()?).ok_or(PickleError::Malformed("string", start))?;
                    self.push(Slot::Value(Pickle::Str(value)))?;
                }
                't' | 'l' => {
                    let items = self.pop_to_mark(start)?;
                    self.push(Slot::Value(Pickle::List(items)))?;
                }
                'd' => {
                    let items = self.pop_to_mark(start)?;
                    let dict = pairs(items).ok_or(PickleError::Malformed("dict", start))?;
                    self.push(Slot::Value(Pickle::Dict(dict)))?;
                }
                'p' => self.memoise(start)?,
                'g' => self.recall(start)?,
                's' => {
                    let (value, key) = (self.pop(start)?, self.pop(start)?);
                    match (self.stack.last_mut(), key) {
                        (Some(Slot::Value(Pickle::Dict(dict))), Pickle::Str(key)) => dict.insert(key, value),
                        _ => return Err(PickleError::Malformed("dict", start)),
                    };
                }
                'a' => {
                    let value = self.pop(start)?;
                    match self.stack.last_mut() {
                        Some(Slot::Value(Pickle::List(list))) => list.push(value),
                        _ => return Err(PickleError::Malformed("list", start)),
                    }
                }
                other => return Err(PickleError::Opcode(other, start)),
            }
        }
    }

    fn line(&mut self) -> Result<&'a str, PickleError> {
        let text = self.text;
        let rest = &text[self.at..];
        let end = rest.find('\n').ok_or(PickleError::Truncated(self.text.len()))?;
        self.at += end + 1;
        Ok(&rest[..end])
    }

    fn push(&mut self, slot: Slot) -> Result<(), PickleError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(PickleError::TooLarge(MAX_VALUES));
        }
        self.stack.push(slot);
        Ok(())
    }

    fn pop(&mut self, at: usize) -> Result<Pickle, PickleError> {
        match self.stack.pop() {
            Some(Slot::Value(value)) => Ok(value),
            _ => Err(PickleError::Malformed("stack", at)),
        }
    }

    fn pop_to_mark(&mut self, at: usize) -> Result<Vec<Pickle>, PickleError> {
        let mut items = Vec::new();
        while let Slot::Value(value) = self.stack.pop().ok_or(PickleError::Malformed("stack", at))? {
            items.push(value);
        }
        items.reverse();
        Ok(items)
    }
}

fn pairs(items: Vec<Pickle>) -> Option<BTreeMap<String, Pickle>> {
    let mut dict = BTreeMap::new();
    let mut items = items.into_iter();
    while let Some(key) = items.next() {
        let (Pickle::Str(key), Some(value)) = (key, items.next()) else { return None };
        dict.insert(key, value);
    }
    Some(dict)
}

/// Protocol 0 writes booleans as the integers `01` and `00`, and longs with a final `L`.
fn int(text: &str) -> Option<Pickle> {
    match text {
        "01" => Some(Pickle::Bool(true)),
        "00" => Some(Pickle::Bool(false)),
        _ => text.strip_suffix('L').unwrap_or(text).parse().ok().map(Pickle::Int),
    }
}

/// The text of a Python string literal as `repr` writes it.
fn quoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inner = text.get(1..)?.strip_suffix(quote)?;
    let (mut out, mut chars) = (Vec::new(), inner.chars());
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match chars.next()? {
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            c @ ('\\' | '\'' | '"') => out.push(c as u8),
            'x' => {
                let digits: String = chars.by_ref().take(2).collect();
                out.push(u8::from_str_radix(&digits, 16).ok()?);
            }
            _ => return None,
        }
    }
    String::from_utf8(out).ok()
}

/// Raw-unicode-escape: only `\uXXXX` and `\UXXXXXXXX` are special.
fn unescaped(text: &str) -> Option<String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let digits = match rest[at + 1..].chars().next() {
            Some('u') => 4,
            Some('U') => 8,
            _ => {
                out.push('\\');
                rest = &rest[at + 1..];
                continue;
            }
        };
        let code = u32::from_str_radix(rest.get(at + 2..at + 2 + digits)?, 16).ok()?;
        out.push(char::from_u32(code)?);
        rest = &rest[at + 2 + digits..];
    }
    out.push_str(rest);
    Some(out)
}

/// Writes a pickle that Python's `loads` reads back.
pub fn dumps(value: &Pickle) -> String {
    let (mut out, mut memo) = (String::new(), 0);
    write_value(value, &mut out, &mut memo);
    out.push('.');
    out
}

fn write_value(value: &Pickle, out: &mut String, memo: &mut u32) {
    let mut put = |out: &mut String| {
        let _ = writeln!(out, "p{memo}");
        *memo += 1;
    };
    match value {
        Pickle::None => out.push('N'),
        Pickle::Bool(value) => out.push_str(if *value { "I01\n" } else { "I00\n" }),
        Pickle::Int(value) => {
            let _ = writeln!(out, "I{value}");
        }
        Pickle::Str(text) => {
            out.push('V');
            for c in text.chars() {
                match c {
                    '\\' | '\n' | '\r' | '\0' | '\u{1a}' => {
                        let _ = write!(out, "\\u{:04x}", c as u32);
                    }
                    // Latin-1 is what Python reads the line as; the rest is escaped.
                    c if c.is_ascii() => out.push(c),
                    c if (c as u32) < 0x1_0000 => {
                        let _ = write!(out, "\\u{:04x}", c as u32);
                    }
                    c => {
                        let _ = write!(out, "\\U{:08x}", c as u32);
                    }
                }
            }
            out.push('\n');
            put(out);
        }
        Pickle::List(items) => {
            out.push_str("(l");
            put(out);
            for item in items {
                write_value(item, out, memo);
                out.push('a');
            }
        }
        Pickle::Dict(dict) => {
            out.push_str("(d");
            put(out);
            for (key, item) in dict {
                write_value(&Pickle::Str(key.clone()), out, memo);
                write_value(item, out, memo);
                out.push('s');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> Pickle {
        Pickle::Str(s.to_owned())
    }

    #[test]
    fn what_clients_and_plugins_exchange() {
        let no_arguments = Pickle::Dict(BTreeMap::from([
            ("args".to_owned(), Pickle::List(vec![])),
            ("kwargs".to_owned(), Pickle::Dict(BTreeMap::new())),
        ]));
        for (pickle, value) in [
            ("(dp0\nVargs\np1\n(tsVkwargs\np2\n(dp3\ns.", no_arguments),
            ("S'2.1'\np1\n.", text("2.1")),
            ("S''\n.", text("")),
            ("V/dev/null\np1\n.", text("/dev/null")),
            ("N.", Pickle::None),
            ("(dp1\n.", Pickle::Dict(BTreeMap::new())),
            (
                "(lp0\nI5\naI01\naL7L\na.",
                Pickle::List(vec![Pickle::Int(5), Pickle::Bool(true), Pickle::Int(7)]),
            ),
            ("Vgr\\u00fc\\u00df\n.", text("grüß")),
        ] {
            assert_eq!(loads(pickle), Ok(value), "{pickle:?}");
        }
    }

    #[test]
    fn more_values_than_anybody_sends_are_refused() {
        let list = |values: usize| format!("(l{}.", "I1\na".repeat(values));
        assert!(loads(&list(MAX_VALUES - 2)).is_ok());
        assert_eq!(loads(&list(MAX_VALUES + 1)), Err(PickleError::TooLarge(MAX_VALUES)));
    }

    #[test]
    fn code_is_refused() {
        for (pickle, op) in
            [("cos\nsystem\n(S'true'\ntR.", 'c'), ("(ios\nsystem\n.", 'i'), ("\u{80}\u{2}.", '\u{80}')]
        {
            match loads(pickle) {
                Err(PickleError::Opcode(found, _)) => assert_eq!(found, op),
                other => panic!("{pickle:?} gave {other:?}"),
            }
        }
    }

    #[test]
    fn damage_is_refused() {
        for pickle in ["", "(", "S'x", "S'x\n.", "I5x\n.", "s.", "t.", "(dp0\nVa\ns.", "g7\n.", "(I1\nd."] {
            assert!(loads(pickle).is_err(), "{pickle:?}");
        }
    }

    #[test]
    fn written_and_read_back() {
        let value = Pickle::Dict(BTreeMap::from([
            ("a\\b\n".to_owned(), Pickle::List(vec![text("grüß 你 🦀"), Pickle::None, Pickle::Int(-3)])),
            ("yes".to_owned(), Pickle::Bool(true)),
        ]));
        assert_eq!(loads(&dumps(&value)), Ok(value));
    }
}
