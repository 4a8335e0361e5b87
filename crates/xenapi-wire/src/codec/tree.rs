//! A [`Value`] as source and as sink.

use std::borrow::Cow;
use std::collections::{BTreeMap, btree_map};

use super::{Event, Sink, Source};
use crate::error::DecodeErrorKind;
use crate::{DateTime, DecodeError, EncodeError, Value};

/// Reads from a value in memory.
pub(crate) struct TreeSource<'v> {
    next: Option<&'v Value>,
    open: Vec<Open<'v>>,
}

enum Open<'v> {
    Array(std::slice::Iter<'v, Value>),
    Struct(btree_map::Iter<'v, String, Value>),
}

impl<'v> TreeSource<'v> {
    pub(crate) fn new(value: &'v Value) -> Self {
        Self { next: Some(value), open: Vec::new() }
    }
}

fn out_of_order() -> DecodeError {
    DecodeError::unplaced(DecodeErrorKind::Malformed("a value was asked for where none is"))
}

impl<'v> Source<'v> for TreeSource<'v> {
    fn event(&mut self) -> Result<Event<'v>, DecodeError> {
        Ok(match self.next.take().ok_or_else(out_of_order)? {
            Value::Nil => Event::Nil,
            Value::Bool(value) => Event::Bool(*value),
            Value::Int(value) => Event::Int(*value),
            Value::Double(value) => Event::Double(*value),
            Value::String(text) => Event::Text(Cow::Borrowed(text)),
            Value::DateTime(date) => Event::Date(Cow::Borrowed(date.as_str())),
            Value::Array(elements) => {
                self.open.push(Open::Array(elements.iter()));
                Event::Array
            }
            Value::Struct(members) => {
                self.open.push(Open::Struct(members.iter()));
                Event::Struct
            }
        })
    }

    fn element(&mut self, _first: bool) -> Result<bool, DecodeError> {
        let Some(Open::Array(elements)) = self.open.last_mut() else { return Err(out_of_order()) };
        self.next = elements.next();
        if self.next.is_none() {
            self.open.pop();
        }
        Ok(self.next.is_some())
    }

    fn key(&mut self, _first: bool) -> Result<Option<Cow<'v, str>>, DecodeError> {
        let Some(Open::Struct(members)) = self.open.last_mut() else { return Err(out_of_order()) };
        let Some((key, value)) = members.next() else {
            self.open.pop();
            return Ok(None);
        };
        self.next = Some(value);
        Ok(Some(Cow::Borrowed(key)))
    }

    fn skip(&mut self) -> Result<(), DecodeError> {
        self.next.take().map(drop).ok_or_else(out_of_order)
    }

    fn offset(&self) -> Option<usize> {
        None
    }
}

/// Builds a value in memory.
#[derive(Default)]
pub(crate) struct TreeSink {
    done: Value,
    open: Vec<Building>,
}

enum Building {
    Array(Vec<Value>),
    Struct(BTreeMap<String, Value>, String),
}

impl TreeSink {
    pub(crate) fn finish(self) -> Value {
        self.done
    }

    fn put(&mut self, value: Value) {
        match self.open.last_mut() {
            None => self.done = value,
            Some(Building::Array(elements)) => elements.push(value),
            Some(Building::Struct(members, name)) => {
                members.insert(name.clone(), value);
            }
        }
    }

    fn close(&mut self) {
        let value = match self.open.pop() {
            Some(Building::Array(elements)) => Value::Array(elements),
            Some(Building::Struct(members, _)) => Value::Struct(members),
            None => return,
        };
        self.put(value);
    }
}

impl Sink for TreeSink {
    fn nil(&mut self) {
        self.put(Value::Nil);
    }

    fn bool(&mut self, value: bool) {
        self.put(Value::Bool(value));
    }

    fn int(&mut self, value: i64) {
        self.put(Value::Int(value));
    }

    fn int32(&mut self, value: i32) {
        self.put(Value::Int(value.into()));
    }

    fn double(&mut self, value: f64) {
        self.put(Value::Double(value));
    }

    fn text(&mut self, value: &str) -> Result<(), EncodeError> {
        self.put(Value::String(value.to_owned()));
        Ok(())
    }

    fn date(&mut self, value: &str) -> Result<(), EncodeError> {
        self.put(Value::DateTime(DateTime::from_wire(value)));
        Ok(())
    }

    fn begin_array(&mut self) {
        self.open.push(Building::Array(Vec::new()));
    }

    fn element(&mut self, _first: bool) {}

    fn end_array(&mut self) {
        self.close();
    }

    fn begin_struct(&mut self) {
        self.open.push(Building::Struct(BTreeMap::new(), String::new()));
    }

    fn key(&mut self, _first: bool, key: &str) -> Result<(), EncodeError> {
        if let Some(Building::Struct(_, name)) = self.open.last_mut() {
            key.clone_into(name);
        }
        Ok(())
    }

    fn end_member(&mut self) {}

    fn end_struct(&mut self) {
        self.close();
    }

    fn mark(&self) -> usize {
        0
    }

    fn undo(&mut self, _mark: usize) {
        if let Some(Building::Struct(members, name)) = self.open.last_mut() {
            members.remove(name.as_str());
        }
    }
}
