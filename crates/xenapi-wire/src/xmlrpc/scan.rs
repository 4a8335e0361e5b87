//! The scanner: tags and text in place, without a tree, without entities of the document's own.

use std::borrow::Cow;

use memchr::{memchr, memmem};

use crate::codec::{Event, Source};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::number;

/// How strictly a document is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Reading {
    /// As XAPI reads requests: what it answers with HTTP 500 is an error, line ends become LF.
    Request,
    /// What XAPI sends: member names may be unescaped, text is kept as it is.
    Response,
}

pub(super) struct Scanner<'de> {
    text: &'de str,
    at: usize,
    depth: usize,
    max_depth: usize,
    reading: Reading,
    /// The array or struct just begun was `<array/>`, `<data/>` or `<struct/>`: it is over already.
    hollow: bool,
}

/// Where a scanner is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct State {
    pub(super) at: usize,
    pub(super) depth: usize,
    pub(super) hollow: bool,
}

/// An opening tag that has been read.
struct Tag<'de> {
    name: &'de str,
    /// `<nil/>`: there is no closing tag.
    empty: bool,
}

impl<'de> Scanner<'de> {
    pub(super) fn new(text: &'de str, max_depth: usize, reading: Reading) -> Self {
        Self { text, at: 0, depth: 0, max_depth, reading, hollow: false }
    }

    /// A scanner that goes on where another one was in the same text.
    pub(super) fn resume(text: &'de str, state: State, max_depth: usize, reading: Reading) -> Self {
        let State { at, depth, hollow } = state;
        Self { text, at, depth, max_depth, reading, hollow }
    }

    pub(super) fn state(&self) -> State {
        State { at: self.at, depth: self.depth, hollow: self.hollow }
    }

    /// A mark for [`Scanner::back_to`].
    pub(super) fn mark(&self) -> (usize, usize) {
        (self.at, self.depth)
    }

    pub(super) fn back_to(&mut self, (at, depth): (usize, usize)) {
        self.at = at;
        self.depth = depth;
        self.hollow = false;
    }

    pub(super) fn rest(&self) -> &'de str {
        &self.text[self.at..]
    }

    fn bytes(&self) -> &'de [u8] {
        &self.text.as_bytes()[self.at..]
    }

    pub(super) fn malformed(&self, what: &'static str) -> DecodeError {
        // At the end of the input, or at a tag without end, every complaint has the same cause.
        match self.bytes().first() {
            None => self.truncated(),
            Some(b'<') if memchr(b'>', self.bytes()).is_none() => self.truncated(),
            Some(_) => DecodeError::malformed(what, self.at),
        }
    }

    fn truncated(&self) -> DecodeError {
        DecodeError::new(DecodeErrorKind::Truncated, self.text.len())
    }

    fn starts_with(&self, literal: &str) -> bool {
        self.bytes().starts_with(literal.as_bytes())
    }

    fn eat(&mut self, literal: &str) -> bool {
        let found = self.starts_with(literal);
        if found {
            self.at += literal.len();
        }
        found
    }

    fn skip_blanks(&mut self) {
        let blanks = self.bytes().iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')).count();
        self.at += blanks;
    }

    fn skip_past(&mut self, end: &str) -> Result<(), DecodeError> {
        if self.eat(end) {
            return Ok(());
        }
        let found = memmem::find(self.bytes(), end.as_bytes()).ok_or_else(|| self.truncated())?;
        self.at += found + end.len();
        Ok(())
    }

    /// White space, comments and processing instructions between tags.
    pub(super) fn skip_misc(&mut self) -> Result<(), DecodeError> {
        loop {
            self.skip_blanks();
            if self.starts_with("<!--") {
                self.at += 4;
                self.skip_past("-->")?;
            } else if self.starts_with("<?") {
                self.skip_past("?>")?;
            } else {
                return Ok(());
            }
        }
    }

    /// Everything before the root element. A document type is passed over, its entities with it.
    pub(super) fn prolog(&mut self) -> Result<(), DecodeError> {
        self.eat("\u{feff}");
        let blank = self.bytes().first().is_some_and(u8::is_ascii_whitespace);
        if self.reading == Reading::Request && blank {
            self.skip_blanks();
            if self.starts_with("<?xml") {
                return Err(self.malformed("white space before the XML declaration"));
            }
        }
        self.skip_misc()?;
        if self.eat("<!DOCTYPE") {
            self.doctype()?;
            self.skip_misc()?;
        }
        Ok(())
    }

    fn doctype(&mut self) -> Result<(), DecodeError> {
        let mut brackets = 0usize;
        while let Some(&byte) = self.bytes().first() {
            self.at += 1;
            match byte {
                quote @ (b'"' | b'\'') => {
                    self.at += 1 + memchr(quote, self.bytes()).ok_or_else(|| self.truncated())?;
                }
                b'<' if self.starts_with("!--") => self.skip_past("-->")?,
                b'[' => brackets += 1,
                b']' => brackets = brackets.saturating_sub(1),
                b'>' if brackets == 0 => return Ok(()),
                _ => {}
            }
        }
        Err(self.truncated())
    }

    /// Nothing but white space and comments may follow.
    pub(super) fn end(&mut self) -> Result<(), DecodeError> {
        self.skip_misc()?;
        if self.at < self.text.len() {
            return Err(self.malformed("text after the end of the document"));
        }
        Ok(())
    }

    /// Whether the next tag opens `name`; blanks and comments before it are passed over.
    pub(super) fn next_is(&mut self, name: &str) -> Result<bool, DecodeError> {
        self.skip_misc()?;
        let found = self.rest().strip_prefix('<').and_then(|rest| rest.strip_prefix(name));
        Ok(found.is_some_and(|rest| rest.is_empty() || !rest.starts_with(is_name)))
    }

    /// Reads `<name>`; true if it was `<name/>`.
    pub(super) fn open(&mut self, name: &'static str, missing: &'static str) -> Result<bool, DecodeError> {
        if !self.next_is(name)? {
            return Err(self.malformed(missing));
        }
        Ok(self.tag()?.empty)
    }

    /// Reads `</name>`.
    pub(super) fn close(&mut self, name: &str) -> Result<(), DecodeError> {
        self.skip_misc()?;
        self.close_here(name)
    }

    fn close_here(&mut self, name: &str) -> Result<(), DecodeError> {
        let rest = self.bytes().strip_prefix(b"</").and_then(|rest| rest.strip_prefix(name.as_bytes()));
        let Some(rest) = rest else {
            return Err(self.malformed("another tag or text where an element should end"));
        };
        let blanks = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
        if rest.get(blanks) != Some(&b'>') {
            return Err(self.malformed("a closing tag of another name"));
        }
        self.at += 2 + name.len() + blanks + 1;
        Ok(())
    }

    /// Reads any opening tag. Attributes mean nothing in XML-RPC.
    fn tag(&mut self) -> Result<Tag<'de>, DecodeError> {
        if !self.eat("<") {
            return Err(self.malformed("text where a tag should be"));
        }
        let rest = self.rest();
        let len = rest.find(|c| !is_name(c)).ok_or_else(|| self.truncated())?;
        if len == 0 {
            return Err(self.malformed("a tag without a name"));
        }
        self.at += len;
        let name = &rest[..len];
        if self.eat(">") {
            return Ok(Tag { name, empty: false });
        }
        loop {
            let found = self.bytes().iter().position(|b| matches!(b, b'>' | b'"' | b'\'' | b'<'));
            self.at += found.ok_or_else(|| self.truncated())?;
            match self.bytes()[0] {
                b'>' => break,
                b'<' => return Err(self.malformed("a tag inside a tag")),
                quote => {
                    self.at += 1;
                    self.at += 1 + memchr(quote, self.bytes()).ok_or_else(|| self.truncated())?;
                }
            }
        }
        let empty = self.text.as_bytes()[self.at - 1] == b'/';
        self.at += 1;
        Ok(Tag { name, empty })
    }

    /// Text up to the next tag, with entities, comments and CDATA sections resolved.
    fn text(&mut self) -> Result<Cow<'de, str>, DecodeError> {
        let mut text = self.run()?;
        while self.bytes().get(1).is_some_and(|b| matches!(b, b'!' | b'?')) {
            if self.eat("<![CDATA[") {
                let start = self.at;
                self.skip_past("]]>")?;
                let part = &self.text[start..self.at - 3];
                self.check(part, start)?;
                text.to_mut().push_str(&self.lines(part));
            } else if self.eat("<!--") {
                self.skip_past("-->")?;
            } else if self.eat("<?") {
                self.skip_past("?>")?;
            } else {
                return Err(self.malformed("a declaration inside text"));
            }
            let more = self.run()?;
            if !more.is_empty() {
                text.to_mut().push_str(&more);
            }
        }
        Ok(text)
    }

    /// Text up to the next `<`.
    fn run(&mut self) -> Result<Cow<'de, str>, DecodeError> {
        let start = self.at;
        let len = memchr(b'<', self.bytes()).ok_or_else(|| self.truncated())?;
        let run = &self.text[start..start + len];
        self.at += len;
        self.check(run, start)?;
        let run = self.lines(run);
        match memchr(b'&', run.as_bytes()) {
            None => Ok(run),
            Some(_) => unescape(&run).map(Cow::Owned).map_err(|what| DecodeError::malformed(what, start)),
        }
    }

    /// XAPI's parser refuses what is no character of XML; what XAPI sends is taken as it is.
    fn check(&self, run: &str, start: usize) -> Result<(), DecodeError> {
        if self.reading == Reading::Request && run.chars().any(|c| !super::is_char(c)) {
            return Err(DecodeError::malformed("a character that XML does not allow", start));
        }
        Ok(())
    }

    /// Line ends as a parser must report them (XML 1.0, section 2.11), for requests. XAPI does not
    /// escape a carriage return when it writes one, so in responses it is kept.
    fn lines<'t>(&self, run: &'t str) -> Cow<'t, str> {
        if self.reading == Reading::Request && memchr(b'\r', run.as_bytes()).is_some() {
            return Cow::Owned(run.replace("\r\n", "\n").replace('\r', "\n"));
        }
        Cow::Borrowed(run)
    }

    /// The text of an element that holds nothing else; the opening tag has been read.
    pub(super) fn content(&mut self, name: &str) -> Result<Cow<'de, str>, DecodeError> {
        let text = self.text()?;
        self.close_here(name)?;
        Ok(text)
    }

    /// A scalar inside its type's tag, up to the end of the value.
    fn scalar(&mut self, tag: &Tag<'de>) -> Result<Cow<'de, str>, DecodeError> {
        let text = if tag.empty { Cow::Borrowed("") } else { self.content(tag.name)? };
        self.close("value")?;
        Ok(text)
    }

    fn deeper(&mut self) -> Result<(), DecodeError> {
        self.depth += 1;
        if self.depth > self.max_depth {
            return Err(DecodeError::new(DecodeErrorKind::TooDeep { limit: self.max_depth }, self.at));
        }
        Ok(())
    }

    /// The end of a value that was an array or a struct.
    fn leave(&mut self) -> Result<(), DecodeError> {
        self.depth = self.depth.saturating_sub(1);
        self.close("value")
    }

    /// A struct member's name; `<name>` has been read.
    ///
    /// XAPI escapes text but not names, so that a map key with `<` or `&` makes the document
    /// ill-formed (it does since the first release, and xcp-ng/xcp issue 332 met it). A name that is
    /// well-formed is read as XML, any other one literally.
    fn name(&mut self) -> Result<Cow<'de, str>, DecodeError> {
        if self.reading == Reading::Request {
            let name = self.content("name")?;
            if name.is_empty() {
                return Err(self.malformed("an empty member name"));
            }
            return Ok(name);
        }
        let (name, well_formed) = self.raw_name()?;
        match memchr(b'&', name.as_bytes()) {
            Some(_) if well_formed => Ok(unescape(name).map_or(Cow::Borrowed(name), Cow::Owned)),
            _ => Ok(Cow::Borrowed(name)),
        }
    }

    /// What stands before `</name>`, and whether it has no markup in it.
    fn raw_name(&mut self) -> Result<(&'de str, bool), DecodeError> {
        let (start, end) = (self.at, "</name>");
        self.at += memchr(b'<', self.bytes()).ok_or_else(|| self.truncated())?;
        let well_formed = self.starts_with(end);
        self.skip_past(end)?;
        Ok((&self.text[start..self.at - end.len()], well_formed))
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | ':')
}

/// Resolves the five entities of XML and character references; there are no others.
pub(super) fn unescape(text: &str) -> Result<String, &'static str> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr(b'&', rest.as_bytes()) {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end =
            rest.bytes().take(12).position(|b| b == b';').ok_or("an ampersand that begins no entity")?;
        let entity = &rest[..end];
        result.push(match entity {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            _ => reference(entity).ok_or("an entity other than the five of XML")?,
        });
        rest = &rest[end + 1..];
    }
    result.push_str(rest);
    Ok(result)
}

/// `#65` or `#x41`.
fn reference(entity: &str) -> Option<char> {
    let digits = entity.strip_prefix('#')?;
    let (digits, base) = match digits.strip_prefix('x') {
        Some(digits) => (digits, 16),
        None => (digits, 10),
    };
    if !digits.starts_with(|c: char| c.is_digit(base)) {
        return None;
    }
    char::from_u32(u32::from_str_radix(digits, base).ok()?).filter(|&c| super::is_char(c))
}

impl<'de> Scanner<'de> {
    /// Goes into an array, whose data may be left out, or be empty.
    fn array(&mut self, tag: &Tag<'_>) -> Result<Event<'de>, DecodeError> {
        self.deeper()?;
        self.hollow = tag.empty;
        if !tag.empty && self.open("data", "an array without data")? {
            self.close("array")?;
            self.hollow = true;
        }
        Ok(Event::Array)
    }
}

impl<'de> Source<'de> for Scanner<'de> {
    fn event(&mut self) -> Result<Event<'de>, DecodeError> {
        if !self.eat("<value>") && self.open("value", "no value where one should be")? {
            return Ok(Event::Text(Cow::Borrowed("")));
        }
        let text = self.text()?;
        if self.starts_with("</") {
            self.close_here("value")?;
            return Ok(Event::Text(text));
        }
        if !text.trim_ascii().is_empty() {
            return Err(self.malformed("text beside a typed value"));
        }
        let start = self.at;
        let wrong = |what| DecodeError::malformed(what, start);
        let tag = self.tag()?;
        match tag.name {
            "string" => Ok(Event::Text(self.scalar(&tag)?)),
            "int" | "i4" | "i8" => {
                let text = self.scalar(&tag)?;
                let number = number::parse_int(text.trim_ascii());
                number.map(Event::Int).ok_or_else(|| wrong("an integer that is none"))
            }
            "boolean" => match (self.scalar(&tag)?.trim_ascii(), self.reading) {
                ("1", _) => Ok(Event::Bool(true)),
                ("0", _) | (_, Reading::Request) => Ok(Event::Bool(false)),
                _ => Err(wrong("a boolean that is none")),
            },
            "double" => {
                let text = self.scalar(&tag)?;
                let number = number::parse_float(text.trim_ascii());
                number.map(Event::Double).ok_or_else(|| wrong("a double that is none"))
            }
            "dateTime.iso8601" => {
                let text = self.scalar(&tag)?;
                if text.is_empty() && self.reading == Reading::Request {
                    return Err(wrong("an empty date"));
                }
                Ok(Event::Date(text))
            }
            "nil" => {
                if !self.scalar(&tag)?.is_empty() {
                    return Err(wrong("text inside nil"));
                }
                Ok(Event::Nil)
            }
            "array" => self.array(&tag),
            "struct" => {
                self.deeper()?;
                self.hollow = tag.empty;
                Ok(Event::Struct)
            }
            _ => Err(wrong("a type that XML-RPC does not have")),
        }
    }

    fn element(&mut self, _first: bool) -> Result<bool, DecodeError> {
        if std::mem::take(&mut self.hollow) {
            self.leave()?;
            return Ok(false);
        }
        if self.starts_with("<value") || self.next_is("value")? {
            return Ok(true);
        }
        self.close("data")?;
        self.close("array")?;
        self.leave()?;
        Ok(false)
    }

    fn key(&mut self, first: bool) -> Result<Option<Cow<'de, str>>, DecodeError> {
        if std::mem::take(&mut self.hollow) {
            self.leave()?;
            return Ok(None);
        }
        if !first && !self.eat("</member>") {
            self.close("member")?;
        }
        if !self.eat("<member>") {
            if !self.next_is("member")? {
                self.close("struct")?;
                self.leave()?;
                return Ok(None);
            }
            if self.tag()?.empty {
                return Err(self.malformed("a member without name and value"));
            }
        }
        if !self.eat("<name>") && self.open("name", "a member without a name")? {
            return Err(self.malformed("an empty member name"));
        }
        self.name().map(Some)
    }

    /// Jumps from tag to tag; what is inside is not looked at, so it need not be well-formed.
    fn skip(&mut self) -> Result<(), DecodeError> {
        if self.open("value", "no value where one should be")? {
            return Ok(());
        }
        let mut depth = 1usize;
        while depth > 0 {
            self.at += memchr(b'<', self.bytes()).ok_or_else(|| self.truncated())?;
            let rest = self.bytes();
            if rest.starts_with(b"</value>") {
                depth -= 1;
                self.at += 8;
            } else if rest.starts_with(b"<value>") {
                depth += 1;
                self.at += 7;
            } else if rest.starts_with(b"<name>") {
                self.at += 6;
                self.raw_name()?;
            } else if rest.starts_with(b"</value") {
                depth -= 1;
                self.close_here("value")?;
            } else if rest.starts_with(b"<!--") {
                self.skip_past("-->")?;
            } else if rest.starts_with(b"<![CDATA[") {
                self.skip_past("]]>")?;
            } else if rest.starts_with(b"<value") && self.next_is("value")? {
                depth += usize::from(!self.tag()?.empty);
            } else {
                self.at += 1;
            }
        }
        Ok(())
    }

    fn offset(&self) -> Option<usize> {
        Some(self.at)
    }
}
