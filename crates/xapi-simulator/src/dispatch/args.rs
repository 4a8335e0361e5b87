//! The arguments of a call.

use std::collections::BTreeMap;

use xenapi_wire::{DateTime, Value};

/// The arguments after the session, of the types that the datamodel declares.
///
/// The accessors return the empty value for an argument of another type, which unmarshalling rules out.
#[derive(Debug, Clone, PartialEq)]
pub struct Args(Vec<Value>);

impl Args {
    pub(crate) fn new(values: Vec<Value>) -> Self {
        Self(values)
    }

    /// The argument at a position, counted from zero.
    pub fn get(&self, index: usize) -> &Value {
        self.0.get(index).unwrap_or(&Value::Nil)
    }

    /// A text, an enum or a reference.
    pub fn str(&self, index: usize) -> &str {
        match self.get(index) {
            Value::String(text) => text,
            _ => "",
        }
    }

    /// An integer.
    pub fn int(&self, index: usize) -> i64 {
        match self.get(index) {
            Value::Int(n) => *n,
            _ => 0,
        }
    }

    /// A floating-point number.
    pub fn float(&self, index: usize) -> f64 {
        match self.get(index) {
            Value::Double(x) => *x,
            _ => 0.0,
        }
    }

    /// A boolean.
    pub fn bool(&self, index: usize) -> bool {
        matches!(self.get(index), Value::Bool(true))
    }

    /// A date.
    pub fn date(&self, index: usize) -> DateTime {
        match self.get(index) {
            Value::DateTime(date) => date.clone(),
            _ => DateTime::epoch(),
        }
    }

    /// A map or a record.
    pub fn map(&self, index: usize) -> &BTreeMap<String, Value> {
        static EMPTY: BTreeMap<String, Value> = BTreeMap::new();
        match self.get(index) {
            Value::Struct(map) => map,
            _ => &EMPTY,
        }
    }

    /// The texts of a set.
    pub fn strs(&self, index: usize) -> impl Iterator<Item = &str> {
        let items: &[Value] = match self.get(index) {
            Value::Array(items) => items,
            _ => &[],
        };
        items.iter().filter_map(|item| match item {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The values in order.
    pub fn iter(&self) -> impl Iterator<Item = &Value> {
        self.0.iter()
    }
}
