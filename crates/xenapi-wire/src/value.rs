//! A value whose type is not known.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::{TreeSink, TreeSource, read, write};
use crate::{DateTime, DecodeError, EncodeError, Ref};

/// The name under which a value of any type is asked for, so that dates arrive as dates.
pub(crate) const NEWTYPE: &str = "$xenapi::Value";

/// The name under which an integer to be tagged passes through serde.
pub(crate) const I4_NEWTYPE: &str = "$xenapi::I4";

/// A value of the API without its type, as XML-RPC and JSON-RPC carry it.
///
/// Over XML-RPC, XAPI sends integers, enums and references as untagged text, so all of these arrive
/// as [`Value::String`]: only a typed decoder can tell them apart. What a client tagged as an
/// integer arrives as [`Value::Int`], so that a server can object to it where text is wanted. On
/// the way out over XML-RPC every integer is untagged text again, whether it came from a
/// [`Value::Int`] or a Rust integer; only [`I4`] is tagged.
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

/// An integer that XML-RPC tags `<i4>`: the counts in the answer of `event.from`, and nothing else
/// that XAPI sends. In JSON-RPC it is a number like any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct I4(pub i32);

impl Value {
    /// Reads a typed value, with the same leniency as from the wire: integers from text, dates from
    /// text, unknown members passed over.
    ///
    /// # Errors
    /// When the value is not of that type. The error has no offset.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        read(&mut TreeSource::new(self))
    }

    /// The untyped form of a value. Integers stay [`Value::Int`], dates [`Value::DateTime`]; the
    /// void result is the empty string.
    ///
    /// # Errors
    /// For what has no form on the wire, such as enum variants with data.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        let mut sink = TreeSink::default();
        write(value, &mut sink)?;
        Ok(sink.finish())
    }

    /// The text of a [`Value::String`].
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a [`Value::Bool`].
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// An integer, be it a number or text in the syntax that XAPI reads (`-5`, `0x10`, `1_000`).
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Double(number) => crate::number::int_of_float(*number),
            Self::String(text) => crate::number::parse_int(text),
            _ => None,
        }
    }

    /// A floating-point number, be it a number, as in JSON, or text, as XML-RPC may carry it.
    ///
    /// ```
    /// use xenapi_wire::Value;
    /// assert_eq!(Value::from("0.25").as_double(), Some(0.25));
    /// assert_eq!(Value::Int(3).as_double(), Some(3.0));
    /// ```
    pub fn as_double(&self) -> Option<f64> {
        match self {
            Self::Double(number) => Some(*number),
            Self::Int(number) => Some(*number as f64),
            Self::String(text) => crate::number::parse_float(text),
            _ => None,
        }
    }

    /// The elements of a [`Value::Array`].
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The members of a [`Value::Struct`].
    pub fn as_struct(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Struct(members) => Some(members),
            _ => None,
        }
    }

    /// The member `name` of a [`Value::Struct`].
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.as_struct()?.get(name)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nil => serializer.serialize_none(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Double(value) => serializer.serialize_f64(*value),
            Self::String(text) => serializer.serialize_str(text),
            Self::DateTime(date) => date.serialize(serializer),
            Self::Array(elements) => serializer.collect_seq(elements),
            Self::Struct(members) => serializer.collect_map(members),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(NEWTYPE, AnyVisitor)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value of the API")
    }

    /// Deserializers other than ours know nothing of the name, and come here.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Double(value as f64), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Double(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    /// Our deserializer's way to show a date.
    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Value, E> {
        let text = std::str::from_utf8(bytes).map_err(|_| E::custom("a date that is not text"))?;
        Ok(Value::DateTime(DateTime::from_wire(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(element) = elements.next_element()? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((name, value)) = members.next_entry()? {
            // A name that comes twice: the last one counts.
            map.insert(name, value);
        }
        Ok(Value::Struct(map))
    }
}

impl Serialize for I4 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(I4_NEWTYPE, &self.0)
    }
}

impl<'de> Deserialize<'de> for I4 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i32::deserialize(deserializer).map(Self)
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident,)*) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

from! {
    bool => Bool,
    i32 => Int,
    u32 => Int,
    i64 => Int,
    f64 => Double,
    &str => String,
    String => String,
    DateTime => DateTime,
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(elements: Vec<T>) -> Self {
        Self::Array(elements.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>> From<BTreeMap<String, T>> for Value {
    fn from(members: BTreeMap<String, T>) -> Self {
        members.into_iter().collect()
    }
}

impl<C: ?Sized> From<&Ref<C>> for Value {
    fn from(reference: &Ref<C>) -> Self {
        Self::String(reference.to_string())
    }
}

impl<C: ?Sized> From<Ref<C>> for Value {
    fn from(reference: Ref<C>) -> Self {
        (&reference).into()
    }
}

impl From<()> for Value {
    /// The void result.
    fn from((): ()) -> Self {
        Self::String(String::new())
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Value {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(members: I) -> Self {
        Self::Struct(members.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}
