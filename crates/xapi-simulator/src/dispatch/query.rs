//! The expressions of `get_all_records_where`.
//!
//! ```text
//! or    := and ("or" and)*          and  := not ("and" not)*
//! not   := "not" not | atom         atom := "(" or ")" | "true" | "false" | value "=" value
//! value := field "name" | "text"    texts are in single or double quotes
//! ```

use xenapi_wire::Failure;

use crate::db::{Object, View};

/// A parsed expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Query {
    Constant(bool),
    Equal(Operand, Operand),
    Not(Box<Query>),
    And(Box<Query>, Box<Query>),
    Or(Box<Query>, Box<Query>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
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
const LEX: &str = "Failure(\"lexing: empty token\")";
const PARSE: &str = "Xapi_database.Db_filter_parse.MenhirBasics.Error";

impl Query {
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let invalid = |reason: &str| Failure::new("INVALID_VALUE", [text, reason]);
        let tokens = lex(text).ok_or_else(|| invalid(LEX))?;
        let mut parser = Parser { tokens: &tokens, depth: 0 };
        let query = parser.or().filter(|_| parser.tokens.is_empty());
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

fn lex(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    'next: while let Some(first) = rest.chars().next() {
        if let quote @ ('"' | '\'') = first {
            let mut out = String::new();
            let mut chars = rest.char_indices().skip(1);
            while let Some((i, c)) = chars.next() {
                if c == quote {
                    tokens.push(Token::Text(out));
                    rest = rest[i + 1..].trim_start();
                    continue 'next;
                }
                if c == '\\' {
                    out.push(chars.next()?.1);
                } else {
                    out.push(c);
                }
            }
            return None;
        }
        let words = ["field", "true", "false", "not", "and", "or", "(", ")", "="];
        let word = words.into_iter().find(|word| rest.starts_with(word))?;
        tokens.push(Token::Word(word));
        rest = rest[word.len()..].trim_start();
    }
    Some(tokens)
}

struct Parser<'a> {
    tokens: &'a [Token],
    depth: usize,
}

/// Deeper expressions are refused: they come from nobody's hand.
const MAX_DEPTH: usize = 500;

impl Parser<'_> {
    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.first(), Some(Token::Word(w)) if *w == word);
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn or(&mut self) -> Option<Query> {
        let mut left = self.and()?;
        while self.word("or") {
            left = Query::Or(Box::new(left), Box::new(self.and()?));
        }
        Some(left)
    }

    fn and(&mut self) -> Option<Query> {
        let mut left = self.not()?;
        while self.word("and") {
            left = Query::And(Box::new(left), Box::new(self.not()?));
        }
        Some(left)
    }

    fn not(&mut self) -> Option<Query> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let query = if self.word("not") { Query::Not(Box::new(self.not()?)) } else { self.atom()? };
        self.depth -= 1;
        Some(query)
    }

    fn atom(&mut self) -> Option<Query> {
        if self.word("(") {
            let inner = self.or()?;
            return self.word(")").then_some(inner);
        }
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
