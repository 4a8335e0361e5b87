//! What goes wrong on the way in and on the way out.

use std::fmt;

/// Why bytes could not be decoded, where, and in which part of the value.
///
/// It never quotes the text of a value: responses carry passwords and session references.
#[derive(Clone, PartialEq, Eq)]
pub struct DecodeError(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    kind: DecodeErrorKind,
    offset: Option<usize>,
    /// Innermost first.
    path: Vec<Segment>,
}

#[derive(Clone, PartialEq, Eq)]
enum Segment {
    Key(String),
    Index(usize),
}

/// The kinds of [`DecodeError`], for callers that act on them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The input ends in the middle of the document: the connection was cut, or the peer stopped.
    #[error("the document is cut off")]
    Truncated,
    /// This is not a message of the encoding at all.
    #[error("expected {expected}, found {found}")]
    NotRpc {
        /// What was looked for: `an XML-RPC response`.
        expected: &'static str,
        /// What is there: `an HTML page`, `nothing`.
        found: &'static str,
    },
    /// The document breaks the rules of its encoding.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// Arrays and structs are nested deeper than [`Limits::max_depth`](crate::Limits::max_depth).
    #[error("nested deeper than {limit} levels")]
    TooDeep {
        /// The limit in force.
        limit: usize,
    },
    /// The document is larger than [`Limits::max_bytes`](crate::Limits::max_bytes).
    #[error("{size} bytes, more than the limit of {limit}")]
    TooBig {
        /// The size of the document.
        size: usize,
        /// The limit in force.
        limit: usize,
    },
    /// A value of another type than the one that was asked for.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// The type asked for.
        expected: String,
        /// The type found.
        found: String,
    },
    /// A member that has no default is missing.
    #[error("member {0:?} is missing")]
    Missing(String),
    /// What a type's own deserialization objects to.
    #[error("{0}")]
    Invalid(String),
}

impl DecodeError {
    pub(crate) fn new(kind: DecodeErrorKind, offset: usize) -> Self {
        Self(Box::new(Inner { kind, offset: Some(offset), path: Vec::new() }))
    }

    pub(crate) fn malformed(what: &'static str, offset: usize) -> Self {
        Self::new(DecodeErrorKind::Malformed(what), offset)
    }

    /// What went wrong.
    pub fn kind(&self) -> &DecodeErrorKind {
        &self.0.kind
    }

    /// The byte of the document where it was noticed; `None` for a value that came from no document.
    pub fn offset(&self) -> Option<usize> {
        self.0.offset
    }

    /// The part of the value that was being read, `VBDs[2]`; empty for the whole.
    pub fn path(&self) -> String {
        let mut text = String::new();
        for segment in self.0.path.iter().rev() {
            match segment {
                Segment::Index(index) => text.push_str(&format!("[{index}]")),
                Segment::Key(key) => {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push_str(key);
                }
            }
        }
        text
    }

    /// The error of a part that begins at this byte of the document.
    pub(crate) fn moved(mut self, by: usize) -> Self {
        self.0.offset = self.0.offset.map(|offset| offset + by);
        self
    }

    pub(crate) fn at(mut self, offset: usize) -> Self {
        self.0.offset.get_or_insert(offset);
        self
    }

    pub(crate) fn in_key(mut self, key: &str) -> Self {
        // A key is shown whole unless it is absurd: keys are names, not data.
        let shown = key.char_indices().nth(64).map_or(key, |(end, _)| &key[..end]);
        self.0.path.push(Segment::Key(shown.to_owned()));
        self
    }

    pub(crate) fn in_element(mut self, index: usize) -> Self {
        self.0.path.push(Segment::Index(index));
        self
    }

    /// An error whose place is not known, or not known yet.
    pub(crate) fn unplaced(kind: DecodeErrorKind) -> Self {
        Self(Box::new(Inner { kind, offset: None, path: Vec::new() }))
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.kind.fmt(f)?;
        if !self.0.path.is_empty() {
            write!(f, ", in {}", self.path())?;
        }
        match self.0.offset {
            Some(offset) => write!(f, ", at byte {offset}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodeError")
            .field("kind", &self.0.kind)
            .field("path", &self.path())
            .field("offset", &self.0.offset)
            .finish()
    }
}

impl std::error::Error for DecodeError {}

impl serde::de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::unplaced(DecodeErrorKind::Invalid(message.to_string()))
    }

    fn invalid_type(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        let found = kind_of(&found).to_owned();
        Self::unplaced(DecodeErrorKind::WrongType { expected: expected.to_string(), found })
    }

    fn invalid_value(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        use serde::de::Unexpected as U;
        let found = match found {
            U::Signed(_) | U::Unsigned(_) => "an integer beyond its range",
            _ => "another value",
        };
        let found = found.to_owned();
        Self::unplaced(DecodeErrorKind::WrongType { expected: expected.to_string(), found })
    }

    fn unknown_variant(_variant: &str, expected: &'static [&'static str]) -> Self {
        let expected = format!("one of {}", expected.join(", "));
        Self::unplaced(DecodeErrorKind::WrongType { expected, found: "another value".to_owned() })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::unplaced(DecodeErrorKind::Missing(field.to_owned()))
    }
}

/// The kind of a value, never the value.
fn kind_of(found: &serde::de::Unexpected<'_>) -> &'static str {
    use serde::de::Unexpected as U;
    match found {
        U::Bool(_) => "a boolean",
        U::Unsigned(_) | U::Signed(_) => "an integer",
        U::Float(_) => "a float",
        U::Char(_) | U::Str(_) | U::Bytes(_) => "text",
        U::Unit | U::Option => "nil",
        U::Seq => "an array",
        U::Map => "a struct",
        _ => "a value of another type",
    }
}

/// What a body that is no message looks like.
pub(crate) fn nature_of(text: &str) -> &'static str {
    let text = text.trim_ascii_start();
    let begins = |word: &str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    match text.as_bytes().first() {
        None => "nothing",
        Some(_) if begins("<html") || begins("<!doctype html") => "an HTML page",
        Some(b'<') => "other XML",
        Some(b'{' | b'[') => "JSON",
        Some(_) => "text that is neither XML nor JSON",
    }
}

/// Why a value cannot be put on the wire. Nothing of it has been sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// XML has no way to write this character, escaped or not (XML 1.0, section 2.2). JSON has.
    #[error("a text holds the character U+{:04X}, which XML cannot carry", *.0 as u32)]
    Character(char),
    /// XAPI answers HTTP 500 to an empty member name, and its database refuses an empty map key.
    #[error("a map has an empty key, which XAPI does not accept")]
    EmptyKey,
    /// XAPI answers HTTP 500 to an empty date.
    #[error("a date is empty, which XAPI does not accept")]
    EmptyDate,
    /// Parameters are a sequence: a tuple, an array, or a type that serializes as one.
    #[error("the parameters of a call must serialize as a sequence")]
    NotASequence,
    /// A kind of value that the wire has no form for.
    #[error("{0} cannot be put on the wire")]
    Unsupported(&'static str),
    /// What a type's own serialization objects to.
    #[error("{0}")]
    Custom(String),
}

impl serde::ser::Error for EncodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Custom(message.to_string())
    }
}
