//! A value whose type is not known.

use std::collections::BTreeMap;

use crate::DateTime;

/// A value of the API without its type, as XML-RPC and JSON-RPC carry it.
///
/// Over XML-RPC, XAPI sends integers, enums and references as untagged text, so all of these arrive
/// as [`Value::String`]: only a typed decoder can tell them apart.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// `null`, `<nil/>`: never a result of the API, but seen as an argument.
    #[default]
    Nil,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number; XAPI sends infinities and NaN too.
    Double(f64),
    /// Text: strings, enums, references, and over XML-RPC integers.
    String(String),
    /// A date; over JSON-RPC it arrives as [`Value::String`].
    DateTime(DateTime),
    /// A set.
    Array(Vec<Value>),
    /// A map or a record.
    Struct(BTreeMap<String, Value>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Double(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<DateTime> for Value {
    fn from(date: DateTime) -> Self {
        Self::DateTime(date)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>> From<BTreeMap<String, T>> for Value {
    fn from(map: BTreeMap<String, T>) -> Self {
        Self::Struct(map.into_iter().map(|(key, value)| (key, value.into())).collect())
    }
}
