//! Records: what they share, so that the generated code is a list of fields.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{SerializeStruct, Serializer};

/// A struct whose fields go over the wire by name.
pub(crate) trait Fields: Default {
    /// What it is called in error messages.
    const NAME: &'static str;

    /// The names on the wire, in the order of the server.
    const FIELDS: &'static [&'static str];

    /// How many fields have a value to send.
    fn present(&self) -> usize;

    /// Sends every field that has a value.
    ///
    /// # Errors
    /// What the serializer reports.
    fn write<S: SerializeStruct>(&self, to: &mut S) -> Result<(), S::Error>;

    /// Takes the value of field number `index`.
    ///
    /// # Errors
    /// What the deserializer reports: the value does not have the type of the field.
    fn read<'de, A: MapAccess<'de>>(&mut self, index: usize, from: &mut A) -> Result<(), A::Error>;

    /// The value of a field by its name on the wire, if it has this type.
    fn value<T: 'static>(&self, name: &str) -> Option<&T>;
}

pub(crate) fn serialize<T: Fields, S: Serializer>(record: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let mut to = serializer.serialize_struct(T::NAME, record.present())?;
    record.write(&mut to)?;
    to.end()
}

pub(crate) fn deserialize<'de, T: Fields, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_struct(T::NAME, T::FIELDS, RecordVisitor(PhantomData))
}

/// [`Fields`] by reference or by value, as a map.
pub(crate) struct AsMap<T>(pub(crate) T);

impl<T: Fields> serde::Serialize for AsMap<&T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(self.0, serializer)
    }
}

impl<'de, T: Fields> serde::Deserialize<'de> for AsMap<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer).map(AsMap)
    }
}

struct RecordVisitor<T>(PhantomData<T>);

impl<'de, T: Fields> Visitor<'de> for RecordVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} record", T::NAME)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut record = T::default();
        let mut expected = 0;
        while let Some(found) = map.next_key_seed(FieldIndex { fields: T::FIELDS, expected })? {
            match found {
                Some(index) => {
                    record.read(index, &mut map)?;
                    expected = index + 1;
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(record)
    }
}

/// Finds a field by name; servers send fields in a fixed order, so the next one is tried first.
struct FieldIndex {
    fields: &'static [&'static str],
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for FieldIndex {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for FieldIndex {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        if self.fields.get(self.expected).is_some_and(|field| *field == name) {
            return Ok(Some(self.expected));
        }
        Ok(self.fields.iter().position(|field| *field == name))
    }
}

/// Declares a struct with [`Fields`]: `index "wire name" [opt] rust_name: Type = default;`.
macro_rules! fields {
    (
        $(#[$meta:meta])*
        $what:literal $record:ident {
            $(
                $(#[$field_meta:meta])*
                $index:literal $name:literal $([$mark:ident])? $field:ident: $ty:ty $(= $default:expr)?;
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq)]
        pub struct $record {
            $($(#[$field_meta])* pub $field: $ty,)*
        }

        impl Default for $record {
            fn default() -> Self {
                Self { $($field: $crate::record::or_default!($($default)?),)* }
            }
        }

        impl $crate::record::Fields for $record {
            const NAME: &'static str = $what;
            const FIELDS: &'static [&'static str] = &[$($name),*];

            fn present(&self) -> usize {
                0 $(+ $crate::record::present!([$($mark)?] self.$field))*
            }

            fn write<S: serde::ser::SerializeStruct>(&self, to: &mut S) -> Result<(), S::Error> {
                $($crate::record::send!([$($mark)?] to, $name, self.$field);)*
                Ok(())
            }

            fn read<'de, A: serde::de::MapAccess<'de>>(
                &mut self,
                index: usize,
                from: &mut A,
            ) -> Result<(), A::Error> {
                match index {
                    $($index => self.$field = from.next_value()?,)*
                    _ => drop(from.next_value::<serde::de::IgnoredAny>()?),
                }
                Ok(())
            }

            fn value<T: 'static>(&self, name: &str) -> Option<&T> {
                let value: &dyn std::any::Any = match name {
                    $($name => &self.$field,)*
                    _ => return None,
                };
                value.downcast_ref()
            }
        }

        impl std::fmt::Debug for $record {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($record))
                    $(.field($name, $crate::record::shown!([$($mark)?] self.$field)))*
                    .finish()
            }
        }
    };
}

/// Declares a record, and with `Vdi = "VDI",` before it the class it belongs to.
macro_rules! record {
    ($(#[$class_meta:meta])* class $class:ident $(is $($kind:ident)*)?; $(#[$meta:meta])* $name:literal $record:ident $body:tt) => {
        $(#[$class_meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $class {}

        impl xenapi_wire::Class for $class {
            const NAME: &'static str = $name;
            type Record = $record;
        }

        $($($crate::record::is!($kind $class);)*)?

        $crate::record::record! { $(#[$meta])* $name $record $body }
    };
    ($(#[$meta:meta])* $name:literal $record:ident $body:tt) => {
        $crate::record::fields! { $(#[$meta])* #[non_exhaustive] $name $record $body }

        impl serde::Serialize for $record {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::record::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $record {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::record::deserialize(deserializer)
            }
        }
    };
}

macro_rules! is {
    (Listed $class:ident) => {
        impl $crate::implicit::Listed for $class {
            fn uuid(record: &<Self as xenapi_wire::Class>::Record) -> Option<&str> {
                $crate::record::Fields::value::<String>(record, "uuid").map(String::as_str)
            }

            fn name_label(record: &<Self as xenapi_wire::Class>::Record) -> Option<&str> {
                $crate::record::Fields::value::<String>(record, "name_label").map(String::as_str)
            }
        }
    };
    (Labelled $class:ident) => {
        impl $crate::implicit::Labelled for $class {}
    };
}

macro_rules! or_default {
    () => {
        Default::default()
    };
    ($default:expr) => {
        $default
    };
}

macro_rules! present {
    ([opt] $value:expr) => {
        usize::from($value.is_some())
    };
    ([$($mark:ident)?] $value:expr) => {
        1
    };
}

macro_rules! send {
    ([opt] $to:ident, $name:literal, $value:expr) => {
        match &$value {
            Some(value) => $to.serialize_field($name, value)?,
            None => $to.skip_field($name)?,
        }
    };
    ([$($mark:ident)?] $to:ident, $name:literal, $value:expr) => {
        $to.serialize_field($name, &$crate::record::sent!([$($mark)?] $value))?
    };
}

macro_rules! sent {
    ([secret] $value:expr) => {
        xenapi_wire::Confidential(&$value)
    };
    ([] $value:expr) => {
        &$value
    };
}

macro_rules! shown {
    ([secret] $value:expr) => {
        &format_args!("(secret)")
    };
    ([$(opt)?] $value:expr) => {
        &$value
    };
}

pub(crate) use {fields, is, or_default, present, record, send, sent, shown};
