//! The expressions of `get_all_records_where`.
//!
//! ```text
//! expr  := term (("and" | "or") term)*
//! term  := "not" expr | "(" expr ")" | "true" | "false" | value "=" value
//! value := field "name" | "text"
//! ```
//!
//! As in XAPI, `and` and `or` bind alike and to the left, `not` takes all that follows it, and a text has no escapes.

use xenapi_wire::Failure;

use crate::db::{Object, View};

/// A parsed expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Query {
    Constant(bool),
    Equal(Operand, Operand),
    Not(Box<Query>),
    And(Box<Query>, Box<Query>),
    Or(Box<Query>, Box<Query>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    /// A field by its name in the server's database, `name__label`.
    Field(String),
    Text(String),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(&'static str),
    Text(String),
}

/// What the real server's lexer and parser say.
pub(crate) const LEX: &str = "Failure(\"lexing: empty token\")";
const PARSE: &str = "Xapi_database.Db_filter_parse.MenhirBasics.Error";

impl Query {
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let invalid = |reason: &str| Failure::new("INVALID_VALUE", [text, reason]);
        let tokens = lex(text).ok_or_else(|| invalid(LEX))?;
        let mut parser = Parser { tokens: &tokens, depth: 0, joins: 0 };
        let query = parser.expr().filter(|_| parser.tokens.is_empty());
        query.ok_or_else(|| invalid(PARSE))
    }

    pub(super) fn matches(&self, object: &Object<'_>) -> Result<bool, Failure> {
        Ok(match self {
            Self::Constant(truth) => *truth,
            Self::Equal(left, right) => left.value(object)? == right.value(object)?,
            Self::Not(inner) => !inner.matches(object)?,
            Self::And(left, right) => left.matches(object)? && right.matches(object)?,
            Self::Or(left, right) => left.matches(object)? || right.matches(object)?,
        })
    }
}

impl Operand {
    fn value(&self, object: &Object<'_>) -> Result<String, Failure> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Field(name) => {
                if name == "_ref" || name == "ref" {
                    return Ok(object.reference().to_owned());
                }
                let class = object.class();
                let field = class.meta.field_by_db_name(name).filter(|field| class.has_field(field.name));
                let field =
                    field.ok_or_else(|| Failure::new("INTERNAL_ERROR", ["missing field", name, ""]))?;
                Ok(View::text_of(object.get(field.name)))
            }
        }
    }
}

/// What stands between words.
const BLANK: [char; 3] = [' ', '\t', '\n'];

fn lex(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(BLANK);
    while !rest.is_empty() {
        let behind = if let Some(quoted) = rest.strip_prefix('"') {
            let (text, behind) = quoted.split_once('"')?;
            tokens.push(Token::Text(text.to_owned()));
            behind
        } else {
            let words = ["field", "true", "false", "not", "and", "or", "(", ")", "="];
            let word = words.into_iter().find(|word| rest.starts_with(word))?;
            tokens.push(Token::Word(word));
            &rest[word.len()..]
        };
        rest = behind.trim_start_matches(BLANK);
    }
    Some(tokens)
}

struct Parser<'a> {
    tokens: &'a [Token],
    depth: usize,
    joins: usize,
}

/// Deeper expressions are refused: they come from nobody's hand.
const MAX_DEPTH: usize = 500;
/// As are longer ones: each `and` and `or` is a level of the tree.
const MAX_JOINS: usize = 2_000;

impl Parser<'_> {
    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.first(), Some(Token::Word(w)) if *w == word);
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn expr(&mut self) -> Option<Query> {
        let mut left = self.term()?;
        loop {
            let join = if self.word("and") {
                Query::And
            } else if self.word("or") {
                Query::Or
            } else {
                return Some(left);
            };
            self.joins += 1;
            if self.joins > MAX_JOINS {
                return None;
            }
            left = join(Box::new(left), Box::new(self.term()?));
        }
    }

    fn term(&mut self) -> Option<Query> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let query = if self.word("not") {
            Query::Not(Box::new(self.expr()?))
        } else if self.word("(") {
            let inner = self.expr()?;
            self.word(")").then_some(inner)?
        } else {
            self.atom()?
        };
        self.depth -= 1;
        Some(query)
    }

    fn atom(&mut self) -> Option<Query> {
        for (word, truth) in [("true", true), ("false", false)] {
            if self.word(word) {
                return Some(Query::Constant(truth));
            }
        }
        let left = self.operand()?;
        if !self.word("=") {
            return None;
        }
        Some(Query::Equal(left, self.operand()?))
    }

    fn operand(&mut self) -> Option<Operand> {
        let field = self.word("field");
        let (Token::Text(text), rest) = self.tokens.split_first()? else { return None };
        self.tokens = rest;
        Some(if field { Operand::Field(text.clone()) } else { Operand::Text(text.clone()) })
    }
}
