//! The deserializer.

use std::borrow::Cow;
use std::fmt::Display;
use std::marker::PhantomData;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::{Event, Source};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::{datetime, number, value};

/// Reads a value of type `T`.
pub(crate) fn read<'de, T: de::Deserialize<'de>, S: Source<'de>>(source: &mut S) -> Result<T, DecodeError> {
    read_with(PhantomData, source)
}

/// Reads what `seed` makes of a value.
pub(crate) fn read_with<'de, D: DeserializeSeed<'de>, S: Source<'de>>(
    seed: D,
    source: &mut S,
) -> Result<D::Value, DecodeError> {
    let result = seed.deserialize(Reader { source, ahead: None });
    result.map_err(|e| located(e, source))
}

/// Adds the place to an error that a type's own deserialization raised.
fn located<'de, S: Source<'de>>(error: DecodeError, source: &S) -> DecodeError {
    match source.offset() {
        Some(offset) => error.at(offset),
        None => error,
    }
}

/// One value about to be read.
struct Reader<'a, 'de, S> {
    source: &'a mut S,
    /// The value's beginning, when it had to be looked at already.
    ahead: Option<Event<'de>>,
}

impl<'de, S: Source<'de>> Reader<'_, 'de, S> {
    fn event(&mut self) -> Result<Event<'de>, DecodeError> {
        match self.ahead.take() {
            Some(event) => Ok(event),
            None => self.source.event(),
        }
    }

    fn wrong(&self, expected: impl Display, found: &str) -> DecodeError {
        let kind = DecodeErrorKind::WrongType { expected: expected.to_string(), found: found.to_owned() };
        match self.source.offset() {
            Some(offset) => DecodeError::new(kind, offset),
            None => DecodeError::unplaced(kind),
        }
    }

    /// An integer, however it is written.
    fn integer(&mut self) -> Result<i64, DecodeError> {
        let event = self.event()?;
        let number = match &event {
            Event::Int(number) => return Ok(*number),
            Event::Text(text) => number::parse_int(text),
            Event::Double(float) => number::int_of_float(*float),
            other => return Err(self.wrong("an integer", other.kind())),
        };
        number.ok_or_else(|| self.wrong("an integer", event.kind()))
    }

    fn float(&mut self) -> Result<f64, DecodeError> {
        let event = self.event()?;
        match &event {
            Event::Double(float) => Ok(*float),
            Event::Int(number) => Ok(*number as f64),
            Event::Text(text) => number::parse_float(text).ok_or_else(|| self.wrong("a float", event.kind())),
            other => Err(self.wrong("a float", other.kind())),
        }
    }

    fn any<V: Visitor<'de>>(mut self, visitor: V, dates: Dates) -> Result<V::Value, DecodeError> {
        match self.event()? {
            Event::Nil => visitor.visit_none(),
            Event::Bool(value) => visitor.visit_bool(value),
            Event::Int(value) => visitor.visit_i64(value),
            Event::Double(value) => visitor.visit_f64(value),
            Event::Text(text) => visit_text(visitor, text),
            Event::Date(text) => match dates {
                Dates::AsText => visit_text(visitor, text),
                Dates::AsBytes => visitor.visit_bytes(text.as_bytes()),
            },
            Event::Array => self.array(visitor),
            Event::Struct => self.members(visitor),
        }
    }

    fn array<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let mut elements = Elements::new(self.source);
        let value = visitor.visit_seq(&mut elements)?;
        elements.finish()?;
        Ok(value)
    }

    fn members<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let mut members = Members::new(self.source);
        let value = visitor.visit_map(&mut members)?;
        members.finish()?;
        Ok(value)
    }
}

/// How a date is shown to a visitor that takes anything: only [`crate::Value`] knows dates.
#[derive(Clone, Copy)]
enum Dates {
    AsText,
    AsBytes,
}

fn visit_text<'de, V: Visitor<'de>, E: de::Error>(visitor: V, text: Cow<'de, str>) -> Result<V::Value, E> {
    match text {
        Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
        Cow::Owned(text) => visitor.visit_string(text),
    }
}

impl<'de, S: Source<'de>> Deserializer<'de> for Reader<'_, 'de, S> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.any(visitor, Dates::AsText)
    }

    fn deserialize_bool<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.event()? {
            Event::Bool(value) => visitor.visit_bool(value),
            other => Err(self.wrong(Expected(&visitor), other.kind())),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_i64(self.integer()?)
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.event()? {
            Event::Text(text) | Event::Date(text) => visit_text(visitor, text),
            other => Err(self.wrong(Expected(&visitor), other.kind())),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.event()? {
            Event::Nil => visitor.visit_none(),
            event => visitor.visit_some(Reader { source: self.source, ahead: Some(event) }),
        }
    }

    /// Void is the empty text.
    fn deserialize_unit<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.event()? {
            Event::Nil => visitor.visit_unit(),
            Event::Text(text) if text.is_empty() => visitor.visit_unit(),
            other => Err(self.wrong("nothing", other.kind())),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match name {
            value::NEWTYPE => self.any(visitor, Dates::AsBytes),
            datetime::NEWTYPE => match self.event()? {
                Event::Text(text) | Event::Date(text) => visit_text(visitor, text),
                Event::Int(seconds) => visitor.visit_string(seconds.to_string()),
                Event::Double(seconds) => visitor.visit_string(format!("{seconds:?}")),
                other => Err(self.wrong("a date", other.kind())),
            },
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.event()? {
            Event::Array => self.array(visitor),
            other => Err(self.wrong(Expected(&visitor), other.kind())),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.event()? {
            Event::Struct => self.members(visitor),
            other => Err(self.wrong(Expected(&visitor), other.kind())),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.event()? {
            Event::Text(text) => visitor.visit_enum(Word(text)),
            other => Err(self.wrong(Expected(&visitor), other.kind())),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.ahead {
            None => {
                self.source.skip()?;
                visitor.visit_unit()
            }
            Some(_) => self.any(visitor, Dates::AsText),
        }
    }

    forward_to_deserialize_any! { i128 u128 bytes byte_buf }
}

/// What a visitor asks for, as text.
struct Expected<'a, V>(&'a V);

impl<'de, V: Visitor<'de>> Display for Expected<'_, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.expecting(f)
    }
}

/// The elements of an array.
struct Elements<'a, S> {
    source: &'a mut S,
    index: usize,
    done: bool,
}

impl<'a, 'de, S: Source<'de>> Elements<'a, S> {
    /// To be called after [`Event::Array`].
    fn new(source: &'a mut S) -> Self {
        Self { source, index: 0, done: false }
    }

    /// Reads to the end of the array, past elements that a tuple did not ask for.
    fn finish(mut self) -> Result<(), DecodeError> {
        while !self.done && self.source.element(self.index == 0)? {
            self.source.skip()?;
            self.index += 1;
        }
        Ok(())
    }
}

impl<'de, S: Source<'de>> SeqAccess<'de> for &mut Elements<'_, S> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        if self.done || !self.source.element(self.index == 0)? {
            self.done = true;
            return Ok(None);
        }
        let index = self.index;
        self.index += 1;
        let value = seed.deserialize(Reader { source: self.source, ahead: None });
        value.map(Some).map_err(|e| located(e, self.source).in_element(index))
    }
}

/// The members of a struct.
struct Members<'a, 'de, S> {
    source: &'a mut S,
    first: bool,
    done: bool,
    key: Cow<'de, str>,
}

impl<'a, 'de, S: Source<'de>> Members<'a, 'de, S> {
    /// To be called after [`Event::Struct`].
    fn new(source: &'a mut S) -> Self {
        Self { source, first: true, done: false, key: Cow::Borrowed("") }
    }

    fn name(&mut self) -> Result<Option<Cow<'de, str>>, DecodeError> {
        if self.done {
            return Ok(None);
        }
        self.source.recycle(std::mem::take(&mut self.key));
        let key = self.source.key(std::mem::take(&mut self.first))?;
        self.done = key.is_none();
        Ok(key)
    }

    fn finish(mut self) -> Result<(), DecodeError> {
        while self.name()?.is_some() {
            self.source.skip()?;
        }
        Ok(())
    }
}

impl<'de, S: Source<'de>> MapAccess<'de> for &mut Members<'_, 'de, S> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        let Some(key) = self.name()? else { return Ok(None) };
        self.key = key;
        let read = seed.deserialize(Word(Cow::Borrowed(&self.key)));
        read.map(Some).map_err(|e| located(e, self.source).in_key(&self.key))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, DecodeError> {
        let value = seed.deserialize(Reader { source: self.source, ahead: None });
        value.map_err(|e| located(e, self.source).in_key(&self.key))
    }
}

/// A member's name or an enum's variant: text that may stand for something else.
struct Word<'w>(Cow<'w, str>);

macro_rules! integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            match number::parse_int(&self.0) {
                Some(number) => visitor.visit_i64(number),
                None => Err(de::Error::invalid_type(Unexpected::Str(""), &visitor)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Word<'_> {
    type Error = DecodeError;

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_str(&self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match name {
            value::NEWTYPE | datetime::NEWTYPE => visitor.visit_str(&self.0),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Word<'_> {
    type Error = DecodeError;
    type Variant = UnitOnly;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, UnitOnly), DecodeError> {
        Ok((seed.deserialize(self)?, UnitOnly))
    }
}

/// A variant without data: the API's enums have no other.
struct UnitOnly;

impl<'de> VariantAccess<'de> for UnitOnly {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _seed: T) -> Result<T::Value, DecodeError> {
        Err(de::Error::invalid_type(Unexpected::Str(""), &"a variant with data"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, DecodeError> {
        Err(de::Error::invalid_type(Unexpected::Str(""), &"a variant with data"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, DecodeError> {
        Err(de::Error::invalid_type(Unexpected::Str(""), &"a variant with data"))
    }
}
