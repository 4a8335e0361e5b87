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
