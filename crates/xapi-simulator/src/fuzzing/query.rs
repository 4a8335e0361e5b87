//! Queries, as the client's types read them and as a simulated host does.

use xenapi_types::query::{Operand, ParseErrorKind, Query, Quoted};

use crate::dispatch::query as host;

/// How deep an expression is that bytes choose.
const DEPTH: usize = 12;

/// Bytes as the text of a query, and as choices of which one is made: both readers accept the same texts and mean the
/// same by them, each says whether a word is unknown or misplaced as the other does, and what is written is read as the
/// same again.
///
/// # Panics
/// When one of that is not so.
pub fn query(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    agree(&text);
    let mut choices = bytes.iter().copied();
    let made = expression(&mut choices, 0);
    let written = made.to_string();
    agree(&written);
    assert_eq!(written.parse().as_ref(), Ok(&made), "{written}");
}

fn agree(text: &str) {
    let here = text.parse::<Query>();
    let there = host::Query::parse(text);
    match (&here, &there) {
        (Ok(here), Ok(there)) => {
            assert_eq!(*here, meaning(there), "{text}");
            let written = here.to_string();
            assert_eq!(written.parse().as_ref(), Ok(here), "{written}, of {text}");
        }
        (Err(here), Err(there)) => {
            // The host looks at all words first, the client at each when it comes to it.
            let unknown = there.params.iter().any(|reason| reason == host::LEX);
            let token = here.kind == ParseErrorKind::Token;
            assert!(unknown || !token, "{text}: {here}, and {there:?}");
            assert!(text.is_char_boundary(here.offset), "{text}: {here}");
        }
        // The client refuses less deep ones.
        (Err(error), Ok(_)) if error.kind == ParseErrorKind::Depth => {}
        _ => panic!("{text}: {here:?}, and {there:?}"),
    }
}

fn meaning(query: &host::Query) -> Query {
    let both = |left: &host::Query, right: &host::Query| (meaning(left), meaning(right));
    match query {
        host::Query::Constant(true) => Query::True,
        host::Query::Constant(false) => Query::False,
        host::Query::Equal(left, right) => Query::Eq(operand(left), operand(right)),
        host::Query::Not(inner) => !meaning(inner),
        host::Query::And(left, right) => {
            let (left, right) = both(left, right);
            left.and(right)
        }
        host::Query::Or(left, right) => {
            let (left, right) = both(left, right);
            left.or(right)
        }
    }
}

fn operand(operand: &host::Operand) -> Operand {
    let quoted = |text: &String| Quoted::new(text.clone()).expect("it was between double quotes");
    match operand {
        host::Operand::Field(name) => Operand::Field(quoted(name)),
        host::Operand::Text(text) => Operand::Literal(quoted(text)),
    }
}

/// What the next bytes choose; `true` where there are none.
fn expression(bytes: &mut impl Iterator<Item = u8>, depth: usize) -> Query {
    let choice = bytes.next().unwrap_or(0);
    match choice % 6 {
        2 => Query::Eq(text(bytes), text(bytes)),
        _ if depth == DEPTH => Query::False,
        3 => !expression(bytes, depth + 1),
        4 => expression(bytes, depth + 1).and(expression(bytes, depth + 1)),
        5 => expression(bytes, depth + 1).or(expression(bytes, depth + 1)),
        1 => Query::False,
        _ => Query::True,
    }
}

fn text(bytes: &mut impl Iterator<Item = u8>) -> Operand {
    let choice = bytes.next().unwrap_or(0);
    let text: Vec<u8> = bytes.take(usize::from(choice / 2 % 12)).collect();
    let text = String::from_utf8_lossy(&text).replace('"', "'");
    let text = Quoted::new(text).expect("it has no double quote any more");
    if choice.is_multiple_of(2) { Operand::Field(text) } else { Operand::Literal(text) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text(text in r#"((not |and |or |true|false|field |"[a-z \\']{0,3}"|=|[() \t\n\r])){0,12}\PC{0,1}"#) {
            query(text.as_bytes());
        }

        #[test]
        fn any_choices(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            query(&bytes);
        }
    }

    /// As XAPI's grammar has it, which its two readers here could both have wrong.
    #[test]
    fn operators_bind_as_in_xapi() {
        for (text, same) in [
            ("true or false and false", "(true or false) and false"),
            ("not true or true", "not (true or true)"),
            ("true and not true or true", "true and (not (true or true))"),
            ("not not true and false", "not (not (true and false))"),
        ] {
            assert_eq!(host::Query::parse(text), host::Query::parse(same), "{text}");
            agree(text);
        }
        for refused in ["field 'a'='b'", r#""a\"b"="a""#, "\rtrue", "\u{a0}true", "(true", "true)"] {
            assert!(host::Query::parse(refused).is_err(), "{refused:?}");
            agree(refused);
        }
        let backslash = r#""\"="\""#;
        assert!(host::Query::parse(backslash).is_ok());
        agree(&format!("true{}", " and true".repeat(3_000)));
        agree(&"(".repeat(3_000));
    }
}
