//! serde over any encoding of the API.
//!
//! Both encodings carry the same few kinds of value, and XAPI is lenient in the same way in both:
//! what an integer looks like depends on the encoding, whether one was wanted is known only to the
//! type being read. So an encoding gives a [`Source`] of events and a [`Sink`] for them, and one
//! deserializer and one serializer, directed by the types, serve all.

mod de;
mod ser;
mod tree;

use std::borrow::Cow;

pub(crate) use de::{read, read_with};
pub(crate) use ser::write;
pub(crate) use tree::{TreeSink, TreeSource};

use crate::{DecodeError, EncodeError};

/// The beginning of a value; for scalars the whole of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event<'de> {
    Nil,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'de, str>),
    Date(Cow<'de, str>),
    Array,
    Struct,
}

impl Event<'_> {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Double(_) => "a float",
            Self::Text(_) => "text",
            Self::Date(_) => "a date",
            Self::Array => "an array",
            Self::Struct => "a struct",
        }
    }
}

/// A document being read, one event at a time.
pub(crate) trait Source<'de> {
    /// Reads a value, or the beginning of an array or struct.
    fn event(&mut self) -> Result<Event<'de>, DecodeError>;

    /// Inside an array: whether another element follows; if not, the array has been left.
    fn element(&mut self, first: bool) -> Result<bool, DecodeError>;

    /// Inside a struct: the next member's name; if there is none, the struct has been left.
    fn key(&mut self, first: bool) -> Result<Option<Cow<'de, str>>, DecodeError>;

    /// Takes back the name of a member that is done with.
    #[inline]
    fn recycle(&mut self, _name: Cow<'de, str>) {}

    /// Passes over a value without decoding it.
    fn skip(&mut self) -> Result<(), DecodeError>;

    /// Where the source is, for messages; `None` when it is no document.
    fn offset(&self) -> Option<usize>;
}

/// A document being written.
pub(crate) trait Sink {
    fn nil(&mut self);
    fn bool(&mut self, value: bool);
    fn int(&mut self, value: i64);
    /// An integer that XAPI tags as 32-bit.
    fn int32(&mut self, value: i32);
    fn double(&mut self, value: f64);
    fn text(&mut self, value: &str) -> Result<(), EncodeError>;
    fn date(&mut self, value: &str) -> Result<(), EncodeError>;
    fn begin_array(&mut self);
    /// Before each element.
    fn element(&mut self, first: bool);
    fn end_array(&mut self);
    fn begin_struct(&mut self);
    /// Before each member's value.
    fn key(&mut self, first: bool, name: &str) -> Result<(), EncodeError>;
    /// After each member's value.
    fn end_member(&mut self);
    fn end_struct(&mut self);
    /// A place to which [`Sink::undo`] can go back within the same struct.
    fn mark(&self) -> usize;
    /// Takes back what was written since the mark: a member that turned out to have no value.
    fn undo(&mut self, mark: usize);
    /// Around a value that nobody may be shown.
    fn confidential(&mut self, _begins: bool) {}
}
