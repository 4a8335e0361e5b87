//! The expressions of `get_all_where` and `get_all_records_where`.
//!
//! ```
//! use xenapi_types::query::Query;
//!
//! let query = Query::eq("name__label", "web")?.and(Query::eq("is_a_template", "false")?);
//! assert_eq!(query.to_string(), r#"(field "name__label"="web" and field "is_a_template"="false")"#);
//! assert_eq!(query.to_string().parse(), Ok(query));
//! # Ok::<(), xenapi_types::query::QuoteError>(())
//! ```
//!
//! Fields have their database names here (`memory__static_max`, `name__label`), and every value is
//! compared as text: a number in decimal digits, a boolean as `true` or `false`, a reference as it is.
//!
//! The grammar is that of XAPI's `db_filter`: strings have no escapes, so that a text with a double
//! quote cannot be looked for; `and` and `or` bind equally and to the left; `not` takes all that follows.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// An expression that is true or false of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// `true`: every record.
    True,
    /// `false`: no record.
    False,
    /// Two texts are equal.
    Eq(Operand, Operand),
    /// The expression does not hold.
    Not(Box<Query>),
    /// Both hold.
    And(Box<Query>, Box<Query>),
    /// One of them holds, or both.
    Or(Box<Query>, Box<Query>),
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// The value of a field, by its name in the database.
    Field(Quoted),
    /// This text.
    Literal(Quoted),
}

/// A text without double quotes: what a string of an expression can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted(String);

/// A text that no string of an expression can hold: the grammar has no escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuoteError {
    /// The text.
    pub text: String,
}

/// Why a text is not an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParseError {
    /// Where in the text, in bytes.
    pub offset: usize,
    /// What is wrong there.
    pub kind: ParseErrorKind,
}

/// What is wrong with the text of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// No word of the grammar starts here; a string that does not end is such a place too.
    Token,
    /// The word is known but does not belong here, or the text ends too early.
    Syntax,
    /// More nested, or longer, than any sensible expression.
    Depth,
}

/// How deep expressions may nest.
const MAX_DEPTH: usize = 200;
/// How many `and` and `or` there may be, each of which is a level of the tree.
const MAX_JOINS: usize = 2_000;

impl Query {
    /// The field, by its name in the database, has this value.
    ///
    /// # Errors
    /// When a text has a double quote in it: no expression can say that.
    pub fn eq(db_name: impl Into<String>, value: impl Into<String>) -> Result<Self, QuoteError> {
        let field = Quoted::new(db_name)?;
        Ok(Self::Eq(Operand::Field(field), Operand::Literal(Quoted::new(value)?)))
    }

    /// Both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::And(Box::new(self), Box::new(other))
    }

    /// One of them holds, or both.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self::Or(Box::new(self), Box::new(other))
    }

    /// Whether the expression holds of a record; `value` gives a field's value as text.
    ///
    /// # Errors
    /// The name of the first field that was needed and that `value` does not know.
    pub fn eval<'v>(&self, value: &impl Fn(&str) -> Option<Cow<'v, str>>) -> Result<bool, String> {
        Ok(match self {
            Self::True => true,
            Self::False => false,
            Self::Eq(left, right) => left.text(value)? == right.text(value)?,
            Self::Not(inner) => !inner.eval(value)?,
            Self::And(left, right) => left.eval(value)? && right.eval(value)?,
            Self::Or(left, right) => left.eval(value)? || right.eval(value)?,
        })
    }
}

/// The expression does not hold.
impl std::ops::Not for Query {
    type Output = Self;

    fn not(self) -> Self {
        Self::Not(Box::new(self))
    }
}

impl Operand {
    fn text<'v>(&self, value: &impl Fn(&str) -> Option<Cow<'v, str>>) -> Result<Cow<'v, str>, String> {
        match self {
            Self::Literal(text) => Ok(Cow::Owned(text.0.clone())),
            Self::Field(name) => value(&name.0).ok_or_else(|| name.0.clone()),
        }
    }
}

impl Quoted {
    /// A text to put between double quotes.
    ///
    /// # Errors
    /// When it has a double quote in it.
    pub fn new(text: impl Into<String>) -> Result<Self, QuoteError> {
        let text = text.into();
        if text.contains('"') { Err(QuoteError { text }) } else { Ok(Self(text)) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::True => f.write_str("true"),
            Self::False => f.write_str("false"),
            Self::Eq(left, right) => write!(f, "{left}={right}"),
            // `not` would take in whatever follows it.
            Self::Not(inner) => write!(f, "(not {inner})"),
            Self::And(left, right) => write!(f, "({left} and {right})"),
            Self::Or(left, right) => write!(f, "({left} or {right})"),
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, "field \"{}\"", name.0),
            Self::Literal(text) => write!(f, "\"{}\"", text.0),
        }
    }
}

impl fmt::Display for QuoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} has a double quote, which a query cannot express; compare records instead", self.text)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ParseErrorKind::Token => "an unknown word",
            ParseErrorKind::Syntax => "a misplaced word or the end",
            ParseErrorKind::Depth => "too deep or too long an expression",
        };
        write!(f, "not a query: {what} at byte {}", self.offset)
    }
}

impl std::error::Error for QuoteError {}
impl std::error::Error for ParseError {}

impl FromStr for Query {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser { text, next: 0, at: 0, token: Token::End, joins: 0 };
        parser.advance()?;
        let query = parser.expression(0)?;
        match parser.token {
            Token::End => Ok(query),
            _ => Err(parser.error(ParseErrorKind::Syntax)),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Token<'a> {
    Equals,
    Open,
    Close,
    True,
    False,
    Field,
    And,
    Or,
    Not,
    String(&'a str),
    End,
}

struct Parser<'a> {
    text: &'a str,
    /// Where the next token is looked for.
    next: usize,
    /// Where `token` starts.
    at: usize,
    token: Token<'a>,
    /// How many `and` and `or` were read.
    joins: usize,
}

const WORDS: [(&str, Token<'static>); 9] = [
    ("=", Token::Equals),
    ("(", Token::Open),
    (")", Token::Close),
    ("true", Token::True),
    ("false", Token::False),
    ("field", Token::Field),
    ("and", Token::And),
    ("or", Token::Or),
    ("not", Token::Not),
];

impl<'a> Parser<'a> {
    fn error(&self, kind: ParseErrorKind) -> ParseError {
        ParseError { offset: self.at, kind }
    }

    fn advance(&mut self) -> Result<(), ParseError> {
        let rest = &self.text[self.next..];
        let trimmed = rest.trim_start_matches([' ', '\t', '\n']);
        self.at = self.text.len() - trimmed.len();
        let (token, len) = if trimmed.is_empty() {
            (Token::End, 0)
        } else if let Some((word, token)) = WORDS.into_iter().find(|(word, _)| trimmed.starts_with(word)) {
            (token, word.len())
        } else {
            let quoted = trimmed.strip_prefix('"').and_then(|text| text.split_once('"'));
            let Some((text, _)) = quoted else { return Err(self.error(ParseErrorKind::Token)) };
            (Token::String(text), text.len() + 2)
        };
        self.token = token;
        self.next = self.at + len;
        Ok(())
    }

    /// Everything that binds to the left from here on.
    fn expression(&mut self, depth: usize) -> Result<Query, ParseError> {
        let mut left = self.term(depth)?;
        loop {
            let join = match self.token {
                Token::And => Query::and,
                Token::Or => Query::or,
                _ => return Ok(left),
            };
            self.joins += 1;
            if self.joins > MAX_JOINS {
                return Err(self.error(ParseErrorKind::Depth));
            }
            self.advance()?;
            left = join(left, self.term(depth)?);
        }
    }

    fn term(&mut self, depth: usize) -> Result<Query, ParseError> {
        if depth > MAX_DEPTH {
            return Err(self.error(ParseErrorKind::Depth));
        }
        match self.token {
            Token::True => self.advance().map(|()| Query::True),
            Token::False => self.advance().map(|()| Query::False),
            Token::Not => {
                self.advance()?;
                Ok(!self.expression(depth + 1)?)
            }
            Token::Open => {
                self.advance()?;
                let inner = self.expression(depth + 1)?;
                self.expect(Token::Close)?;
                Ok(inner)
            }
            _ => {
                let left = self.operand()?;
                self.expect(Token::Equals)?;
                Ok(Query::Eq(left, self.operand()?))
            }
        }
    }

    fn operand(&mut self) -> Result<Operand, ParseError> {
        let is_field = self.token == Token::Field;
        if is_field {
            self.advance()?;
        }
        let Token::String(text) = self.token else { return Err(self.error(ParseErrorKind::Syntax)) };
        self.advance()?;
        let text = Quoted(text.to_owned());
        Ok(if is_field { Operand::Field(text) } else { Operand::Literal(text) })
    }

    fn expect(&mut self, token: Token<'_>) -> Result<(), ParseError> {
        if self.token != token {
            return Err(self.error(ParseErrorKind::Syntax));
        }
        self.advance()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, canonical: &str) {
        let query: Query = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(query.to_string(), canonical);
        assert_eq!(canonical.parse(), Ok(query), "the canonical text means the same");
    }

    #[test]
    fn operators_bind_as_in_xapi() {
        let (a, b, c) = (r#"field "a"="1""#, r#"field "b"="2""#, r#""x"="x""#);
        check("true", "true");
        check(" ( false )\n", "false");
        check(&format!("{a} and {b} or {c}"), &format!("(({a} and {b}) or {c})"));
        check(&format!("{a} or {b} and {c}"), &format!("(({a} or {b}) and {c})"));
        check(&format!("not {a} and {b}"), &format!("(not ({a} and {b}))"));
        check(&format!("(not {a}) and {b}"), &format!("((not {a}) and {b})"));
        check(&format!("not({a})and {b}"), &format!("(not ({a} and {b}))"));
    }

    #[test]
    fn errors_tell_words_from_order() {
        let syntax = ["", "true true", "field", "\"a\"", "(true", "\"a\"=", "true and"];
        let token = ["nonsense", "field \"a\"=\"unterminated", "\"a\"='a'", "tru", "\rtrue"];
        for (texts, kind) in [(&syntax[..], ParseErrorKind::Syntax), (&token[..], ParseErrorKind::Token)] {
            for text in texts {
                assert_eq!(text.parse::<Query>().unwrap_err().kind, kind, "{text:?}");
            }
        }
        let deep = "(".repeat(100_000);
        assert_eq!(deep.parse::<Query>().unwrap_err().kind, ParseErrorKind::Depth);
        // Each level of a long one, too, is one of the stack when it is dropped.
        assert!(format!("true{}", " or true".repeat(2_000)).parse::<Query>().is_ok());
        let long = format!("true{}", " or true".repeat(1_000_000));
        assert_eq!(long.parse::<Query>().unwrap_err().kind, ParseErrorKind::Depth);
    }

    #[test]
    fn values_cannot_break_out_of_their_quotes() {
        assert!(Query::eq("name__label", "a\" or true or \"").is_err());
        assert!(Query::eq("name__label", "back\\slash 'single' = and").is_ok());
    }

    #[test]
    fn evaluation_compares_texts() {
        let record = |name: &str| (name == "a").then_some(Cow::Borrowed("1"));
        let eval = |text: &str| text.parse::<Query>().unwrap().eval(&record);
        assert_eq!(eval(r#"field "a"="1" and not false"#), Ok(true));
        assert_eq!(eval(r#"not field "a"="1" or true"#), Ok(false));
        assert_eq!(eval(r#"field "b"="1""#), Err("b".to_owned()));
    }
}
