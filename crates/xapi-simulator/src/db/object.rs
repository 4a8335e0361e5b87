//! Reading one object.

use std::collections::BTreeMap;

use xenapi_wire::{DateTime, Value};

use crate::schema::Class;

/// One stored object.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    /// The generation it was created in.
    pub(super) created: u64,
    /// The generation of its last change.
    pub(super) modified: u64,
    /// One value for each field of the class, in the class's order.
    pub(super) values: Vec<Value>,
}

/// A view of one object.
///
/// The accessors panic when the class has no field of that name: the names are the program's, not
/// the client's. A value of another type than asked for reads as empty.
#[derive(Clone, Copy)]
pub struct Object<'a> {
    pub(super) class: &'a Class,
    pub(super) reference: &'a str,
    pub(super) stored: &'a Stored,
}

impl<'a> Object<'a> {
    /// The object's reference.
    pub fn reference(&self) -> &'a str {
        self.reference
    }

    /// The object's class.
    pub fn class(&self) -> &'a Class {
        self.class
    }

    /// The generation it was created in.
    pub fn created(&self) -> u64 {
        self.stored.created
    }

    /// The generation of its last change.
    pub fn modified(&self) -> u64 {
        self.stored.modified
    }

    /// A field's value.
    ///
    /// # Panics
    /// When the class has no such field.
    pub fn get(&self, field: &str) -> &'a Value {
        let index =
            self.class.index(field).unwrap_or_else(|| panic!("{} has no field {field}", self.class.name()));
        &self.stored.values[index]
    }

    /// A text, an enum or a reference.
    pub fn str(&self, field: &str) -> &'a str {
        match self.get(field) {
            Value::String(text) => text,
            _ => "",
        }
    }

    /// A reference, `None` for the null reference and the empty text.
    pub fn ref_opt(&self, field: &str) -> Option<&'a str> {
        Some(self.str(field)).filter(|text| !is_null(text))
    }

    /// An integer.
    pub fn int(&self, field: &str) -> i64 {
        match self.get(field) {
            Value::Int(n) => *n,
            _ => 0,
        }
    }

    /// A floating-point number.
    pub fn float(&self, field: &str) -> f64 {
        match self.get(field) {
            Value::Double(x) => *x,
            _ => 0.0,
        }
    }

    /// A boolean.
    pub fn bool(&self, field: &str) -> bool {
        matches!(self.get(field), Value::Bool(true))
    }

    /// A date.
    pub fn date(&self, field: &str) -> DateTime {
        match self.get(field) {
            Value::DateTime(date) => date.clone(),
            _ => DateTime::epoch(),
        }
    }

    /// The items of a set of texts, enums or references.
    pub fn strs(&self, field: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let items: &[Value] = match self.get(field) {
            Value::Array(items) => items,
            _ => &[],
        };
        items.iter().filter_map(|item| match item {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A map, empty when the field is no map.
    pub fn map(&self, field: &str) -> &'a BTreeMap<String, Value> {
        static EMPTY: BTreeMap<String, Value> = BTreeMap::new();
        match self.get(field) {
            Value::Struct(map) => map,
            _ => &EMPTY,
        }
    }

    /// The text under a key of a map.
    pub fn entry(&self, field: &str, key: &str) -> Option<&'a str> {
        match self.map(field).get(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The record as clients see it.
    pub fn record(&self) -> Value {
        let fields = self.class.fields().iter().zip(&self.stored.values).enumerate();
        let sent = fields.filter(|(place, (field, value))| {
            field.in_record && **value != Value::Nil && self.class.shows(*place)
        });
        let sent =
            sent.map(|(place, (field, value))| (field.name.to_owned(), self.class.shown(place, value)));
        Value::Struct(sent.collect())
    }

    /// A field's value as clients see it.
    ///
    /// # Panics
    /// When the class has no such field.
    pub fn shown(&self, field: &str) -> Value {
        let value = self.get(field);
        self.class.index(field).map_or(Value::Nil, |place| self.class.shown(place, value))
    }
}

/// Whether a text stands for no object.
pub fn is_null(reference: &str) -> bool {
    reference.is_empty() || reference == NULL || reference.starts_with("Ref:")
}

/// The null reference.
pub const NULL: &str = "OpaqueRef:NULL";
