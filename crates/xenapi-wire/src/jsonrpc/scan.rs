//! The scanner: JSON in place, with the tokens `Infinity`, `-Infinity` and `NaN` that XAPI sends.

use std::borrow::Cow;

use memchr::memchr;

use crate::codec::{Event, Source};
use crate::error::{DecodeError, DecodeErrorKind};

pub(super) struct Scanner<'de> {
    text: &'de str,
    at: usize,
    depth: usize,
    max_depth: usize,
}

impl<'de> Scanner<'de> {
    pub(super) fn new(text: &'de str, max_depth: usize) -> Self {
        Self { text, at: 0, depth: 0, max_depth }
    }

    /// A mark for [`Scanner::back_to`].
    pub(super) fn mark(&self) -> (usize, usize) {
        (self.at, self.depth)
    }

    pub(super) fn back_to(&mut self, (at, depth): (usize, usize)) {
        self.at = at;
        self.depth = depth;
    }

    pub(super) fn rest(&self) -> &'de str {
        &self.text[self.at..]
    }

    fn bytes(&self) -> &'de [u8] {
        &self.text.as_bytes()[self.at..]
    }

    pub(super) fn malformed(&self, what: &'static str) -> DecodeError {
        if self.at >= self.text.len() { self.truncated() } else { DecodeError::malformed(what, self.at) }
    }

    fn truncated(&self) -> DecodeError {
        DecodeError::new(DecodeErrorKind::Truncated, self.text.len())
    }

    #[inline]
    pub(super) fn skip_blanks(&mut self) {
        // XAPI sends none.
        if self.bytes().first().is_some_and(|byte| *byte > b' ') {
            return;
        }
        let blanks = self.bytes().iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')).count();
        self.at += blanks;
    }

    /// The next byte that is not blank, which stays.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        self.skip_blanks();
        self.bytes().first().copied()
    }

    #[inline]
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Nothing but white space may follow.
    pub(super) fn end(&mut self) -> Result<(), DecodeError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.malformed("text after the end of the document")),
        }
    }

    fn deeper(&mut self) -> Result<(), DecodeError> {
        self.at += 1;
        self.depth += 1;
        if self.depth > self.max_depth {
            return Err(DecodeError::new(DecodeErrorKind::TooDeep { limit: self.max_depth }, self.at));
        }
        Ok(())
    }

    /// A string without escapes, as nearly all are; the quote has been read. Nothing is passed if it is another.
    ///
    /// It is on its own because two words go through registers: a result on the stack, written in parts and
    /// read as a whole, stalls the processor for longer than the rest takes.
    #[inline]
    fn plain(&mut self) -> Option<&'de str> {
        let start = self.at;
        let len = plain_len(self.bytes());
        if self.bytes().get(len) != Some(&b'"') {
            return None;
        }
        self.at += len + 1;
        Some(&self.text[start..start + len])
    }

    /// A string that is not plain; the quote has been read.
    #[cold]
    fn escaped(&mut self) -> Result<String, DecodeError> {
        let mut text = String::new();
        loop {
            text.push_str(self.part()?);
            if self.text.as_bytes()[self.at - 1] == b'"' {
                return Ok(text);
            }
            self.escape(&mut text)?;
        }
    }

    /// Text up to a quote or backslash, which is passed.
    fn part(&mut self) -> Result<&'de str, DecodeError> {
        let start = self.at;
        let len = plain_len(self.bytes());
        match self.bytes().get(len) {
            Some(b'"' | b'\\') => {}
            Some(_) => return Err(DecodeError::malformed("a control character in a string", start + len)),
            None => return Err(self.truncated()),
        }
        let part = &self.text[start..start + len];
        self.at += len + 1;
        Ok(part)
    }

    /// What follows a backslash.
    fn escape(&mut self, text: &mut String) -> Result<(), DecodeError> {
        let byte = *self.bytes().first().ok_or_else(|| self.truncated())?;
        self.at += 1;
        text.push(match byte {
            b'"' | b'\\' | b'/' => byte as char,
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.code_point()?,
            _ => return Err(DecodeError::malformed("an escape that JSON does not have", self.at - 1)),
        });
        Ok(())
    }

    fn code_point(&mut self) -> Result<char, DecodeError> {
        let lone = "half of a surrogate pair";
        let first = self.four_digits()?;
        let code = match first {
            0xd800..0xdc00 => {
                if !self.bytes().starts_with(b"\\u") {
                    return Err(self.malformed(lone));
                }
                self.at += 2;
                let second = self.four_digits()?;
                if !(0xdc00..0xe000).contains(&second) {
                    return Err(self.malformed(lone));
                }
                0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            code => code,
        };
        char::from_u32(code).ok_or_else(|| self.malformed(lone))
    }

    fn four_digits(&mut self) -> Result<u32, DecodeError> {
        let digits = self.bytes().get(..4).ok_or_else(|| self.truncated())?;
        let mut code = 0;
        for &digit in digits {
            let digit = (digit as char).to_digit(16);
            code = code << 4 | digit.ok_or_else(|| self.malformed("an escape without four digits"))?;
        }
        self.at += 4;
        Ok(code)
    }

    /// A number, or one of the words that stand for a value.
    fn word(&mut self) -> Result<Event<'de>, DecodeError> {
        let start = self.at;
        let is_word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        let len = self.bytes().iter().take_while(|b| is_word(b)).count();
        let word = &self.text[start..start + len];
        self.at += len;
        let event = match word {
            "null" => Event::Nil,
            "true" => Event::Bool(true),
            "false" => Event::Bool(false),
            "NaN" => Event::Double(f64::NAN),
            "Infinity" => Event::Double(f64::INFINITY),
            "-Infinity" => Event::Double(f64::NEG_INFINITY),
            _ => match number(word) {
                Some(event) => event,
                None if self.at == self.text.len() => return Err(self.truncated()),
                None => {
                    return Err(DecodeError::malformed(
                        "neither a number of 64 bits nor a word of JSON",
                        start,
                    ));
                }
            },
        };
        Ok(event)
    }
}

/// How many bytes there are before a quote, a backslash or a control character. Most strings are
/// short, so eight bytes are looked at in one word rather than by a routine made for long ones.
fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // The high bit of each byte that is less than `n`; right up to the first such byte.
    let less = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word & HIGH;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = less(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = less(word ^ (ONES * u64::from(b'\\')), 1);
        let found = less(word, 0x20) | quote | backslash;
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_plain = |b: &&u8| !matches!(b, 0..0x20 | b'"' | b'\\');
    words.len() * 8 + rest.iter().take_while(is_plain).count()
}

/// A number in JSON's syntax. An integer beyond 64 bits is none: XAPI refuses it too, and a float
/// would be another number.
fn number(word: &str) -> Option<Event<'static>> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let unsigned = word.strip_prefix('-').unwrap_or(word);
    let whole = digits(unsigned);
    if whole == 0 || (whole > 1 && unsigned.starts_with('0')) {
        return None;
    }
    let mut rest = &unsigned[whole..];
    if rest.is_empty() {
        return word.parse().ok().map(Event::Int);
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        let len = digits(fraction);
        if len == 0 {
            return None;
        }
        rest = &fraction[len..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if exponent.is_empty() {
            return None;
        }
        rest = &exponent[digits(exponent)..];
    }
    if !rest.is_empty() {
        return None;
    }
    word.parse().ok().map(Event::Double)
}

impl<'de> Source<'de> for Scanner<'de> {
    fn event(&mut self) -> Result<Event<'de>, DecodeError> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                match self.plain() {
                    Some(text) => Ok(Event::Text(Cow::Borrowed(text))),
                    None => Ok(Event::Text(Cow::Owned(self.escaped()?))),
                }
            }
            Some(b'[') => self.deeper().map(|()| Event::Array),
            Some(b'{') => self.deeper().map(|()| Event::Struct),
            _ => self.word(),
        }
    }

    fn element(&mut self, first: bool) -> Result<bool, DecodeError> {
        if first && self.peek() != Some(b']') {
            return Ok(true);
        }
        if !first && self.eat(b',') {
            return Ok(true);
        }
        if !self.eat(b']') {
            return Err(self.malformed("neither a comma nor the end of the array"));
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(false)
    }

    fn key(&mut self, first: bool) -> Result<Option<Cow<'de, str>>, DecodeError> {
        if first && self.peek() == Some(b'}') || !first && !self.eat(b',') {
            if !self.eat(b'}') {
                return Err(self.malformed("neither a comma nor the end of the object"));
            }
            self.depth = self.depth.saturating_sub(1);
            return Ok(None);
        }
        if !self.eat(b'"') {
            return Err(self.malformed("a member without a name"));
        }
        let name = match self.plain() {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(self.escaped()?),
        };
        if !self.eat(b':') {
            return Err(self.malformed("a member without a value"));
        }
        Ok(Some(name))
    }

    /// Counts brackets; what is inside is not looked at, so it need not be well-formed.
    fn skip(&mut self) -> Result<(), DecodeError> {
        let mut depth = 0usize;
        loop {
            match self.peek().ok_or_else(|| self.truncated())? {
                b'"' => {
                    self.at += 1;
                    self.skip_string()?;
                }
                b'[' | b'{' => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                b']' | b'}' if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                _ => drop(self.word()?),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn offset(&self) -> Option<usize> {
        Some(self.at)
    }
}

impl Scanner<'_> {
    fn skip_string(&mut self) -> Result<(), DecodeError> {
        loop {
            let quote = memchr(b'"', self.bytes()).ok_or_else(|| self.truncated())?;
            let before = &self.bytes()[..quote];
            let backslashes = before.iter().rev().take_while(|&&b| b == b'\\').count();
            self.at += quote + 1;
            // An odd number of backslashes escapes the quote.
            if backslashes % 2 == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn plain_bytes_are_counted() {
        for before in 0..20 {
            for byte in 0..=255u8 {
                let mut bytes = vec![b'a'; before];
                bytes.extend([byte, b'x', b'"', b'\\', 0x1f, 0xff, b'y', b'z', b'"']);
                let stops = |b: &u8| *b < 0x20 || *b == b'"' || *b == b'\\';
                let expected = bytes.iter().position(stops);
                assert_eq!(Some(super::plain_len(&bytes)), expected, "{bytes:?}");
                assert_eq!(super::plain_len(&bytes[..before]), before);
            }
        }
    }
}
