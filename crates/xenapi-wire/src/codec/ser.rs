//! The serializer.

use std::fmt::Display;

use serde::ser::{self, Impossible, Serialize, Serializer};

use super::Sink;
use crate::error::EncodeError;
use crate::{confidential, datetime, value};

/// Writes a value.
pub(crate) fn write<T: Serialize + ?Sized, S: Sink>(value: &T, sink: &mut S) -> Result<(), EncodeError> {
    value.serialize(Writer { sink, as_int32: false }).map(drop)
}

/// Whether anything was there to write: a `None` that is a field is left out, as XAPI does.
#[derive(Clone, Copy, PartialEq)]
enum Wrote {
    Value,
    None,
}

struct Writer<'a, S> {
    sink: &'a mut S,
    as_int32: bool,
}

impl<S: Sink> Writer<'_, S> {
    fn int(self, number: i64) -> Result<Wrote, EncodeError> {
        match i32::try_from(number) {
            Ok(small) if self.as_int32 => self.sink.int32(small),
            _ => self.sink.int(number),
        }
        Ok(Wrote::Value)
    }
}

const WITH_DATA: EncodeError = EncodeError::Unsupported("an enum variant with data");

impl<'a, S: Sink> Serializer for Writer<'a, S> {
    type Ok = Wrote;
    type Error = EncodeError;
    type SerializeSeq = Compound<'a, S>;
    type SerializeTuple = Compound<'a, S>;
    type SerializeTupleStruct = Compound<'a, S>;
    type SerializeTupleVariant = Impossible<Wrote, EncodeError>;
    type SerializeMap = Compound<'a, S>;
    type SerializeStruct = Compound<'a, S>;
    type SerializeStructVariant = Impossible<Wrote, EncodeError>;

    fn serialize_bool(self, value: bool) -> Result<Wrote, EncodeError> {
        self.sink.bool(value);
        Ok(Wrote::Value)
    }

    fn serialize_i8(self, value: i8) -> Result<Wrote, EncodeError> {
        self.int(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<Wrote, EncodeError> {
        self.int(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<Wrote, EncodeError> {
        self.int(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<Wrote, EncodeError> {
        self.int(value)
    }

    fn serialize_u8(self, value: u8) -> Result<Wrote, EncodeError> {
        self.int(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<Wrote, EncodeError> {
        self.int(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<Wrote, EncodeError> {
        self.int(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<Wrote, EncodeError> {
        let value = i64::try_from(value).map_err(|_| EncodeError::Unsupported("an integer beyond 2^63-1"))?;
        self.int(value)
    }

    fn serialize_f32(self, value: f32) -> Result<Wrote, EncodeError> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<Wrote, EncodeError> {
        self.sink.double(value);
        Ok(Wrote::Value)
    }

    fn serialize_char(self, value: char) -> Result<Wrote, EncodeError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<Wrote, EncodeError> {
        self.sink.text(value)?;
        Ok(Wrote::Value)
    }

    fn serialize_bytes(self, _value: &[u8]) -> Result<Wrote, EncodeError> {
        Err(EncodeError::Unsupported("a byte string"))
    }

    fn serialize_none(self) -> Result<Wrote, EncodeError> {
        self.sink.nil();
        Ok(Wrote::None)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Wrote, EncodeError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Wrote, EncodeError> {
        self.serialize_str("")
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Wrote, EncodeError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Wrote, EncodeError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        mut self,
        name: &'static str,
        value: &T,
    ) -> Result<Wrote, EncodeError> {
        match name {
            datetime::NEWTYPE => {
                let text = value.serialize(Text)?;
                self.sink.date(&text)?;
                Ok(Wrote::Value)
            }
            value::I4_NEWTYPE => {
                self.as_int32 = true;
                value.serialize(self)
            }
            confidential::NEWTYPE => {
                self.sink.confidential(true);
                let wrote = value.serialize(Writer { sink: &mut *self.sink, as_int32: false });
                self.sink.confidential(false);
                wrote
            }
            _ => value.serialize(self),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<Wrote, EncodeError> {
        Err(WITH_DATA)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Compound<'a, S>, EncodeError> {
        self.sink.begin_array();
        Ok(Compound { sink: self.sink, first: true, name: String::new() })
    }

    fn serialize_tuple(self, len: usize) -> Result<Compound<'a, S>, EncodeError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<Compound<'a, S>, EncodeError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant, EncodeError> {
        Err(WITH_DATA)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Compound<'a, S>, EncodeError> {
        self.sink.begin_struct();
        Ok(Compound { sink: self.sink, first: true, name: String::new() })
    }

    fn serialize_struct(self, _name: &'static str, len: usize) -> Result<Compound<'a, S>, EncodeError> {
        self.serialize_map(Some(len))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStructVariant, EncodeError> {
        Err(WITH_DATA)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<Wrote, EncodeError> {
        self.serialize_str(&value.to_string())
    }
}

/// An array or a struct being written.
struct Compound<'a, S> {
    sink: &'a mut S,
    first: bool,
    name: String,
}

impl<S: Sink> Compound<'_, S> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.sink.element(std::mem::take(&mut self.first));
        write(value, self.sink)
    }

    fn member<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), EncodeError> {
        self.sink.key(std::mem::take(&mut self.first), name)?;
        write(value, self.sink)?;
        self.sink.end_member();
        Ok(())
    }

    fn end_array(self) -> Result<Wrote, EncodeError> {
        self.sink.end_array();
        Ok(Wrote::Value)
    }

    fn end_struct(self) -> Result<Wrote, EncodeError> {
        self.sink.end_struct();
        Ok(Wrote::Value)
    }
}

impl<S: Sink> ser::SerializeSeq for Compound<'_, S> {
    type Ok = Wrote;
    type Error = EncodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.element(value)
    }

    fn end(self) -> Result<Wrote, EncodeError> {
        self.end_array()
    }
}

impl<S: Sink> ser::SerializeTuple for Compound<'_, S> {
    type Ok = Wrote;
    type Error = EncodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.element(value)
    }

    fn end(self) -> Result<Wrote, EncodeError> {
        self.end_array()
    }
}

impl<S: Sink> ser::SerializeTupleStruct for Compound<'_, S> {
    type Ok = Wrote;
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.element(value)
    }

    fn end(self) -> Result<Wrote, EncodeError> {
        self.end_array()
    }
}

impl<S: Sink> ser::SerializeMap for Compound<'_, S> {
    type Ok = Wrote;
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        self.name = key.serialize(Text)?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        let name = std::mem::take(&mut self.name);
        self.member(&name, value)
    }

    fn end(self) -> Result<Wrote, EncodeError> {
        self.end_struct()
    }
}

impl<S: Sink> ser::SerializeStruct for Compound<'_, S> {
    type Ok = Wrote;
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        let (mark, first) = (self.sink.mark(), self.first);
        self.sink.key(first, name)?;
        if value.serialize(Writer { sink: self.sink, as_int32: false })? == Wrote::None {
            self.sink.undo(mark);
        } else {
            self.first = false;
            self.sink.end_member();
        }
        Ok(())
    }

    fn end(self) -> Result<Wrote, EncodeError> {
        self.end_struct()
    }
}

/// Takes a map's key, or what is inside a date, as text.
struct Text;

const NOT_A_KEY: EncodeError = EncodeError::Unsupported("a map key that is neither text nor a number");

macro_rules! displayed {
    ($($method:ident: $type:ty,)*) => {$(
        fn $method(self, value: $type) -> Result<String, EncodeError> {
            Ok(value.to_string())
        }
    )*};
}

impl Serializer for Text {
    type Ok = String;
    type Error = EncodeError;
    type SerializeSeq = Impossible<String, EncodeError>;
    type SerializeTuple = Impossible<String, EncodeError>;
    type SerializeTupleStruct = Impossible<String, EncodeError>;
    type SerializeTupleVariant = Impossible<String, EncodeError>;
    type SerializeMap = Impossible<String, EncodeError>;
    type SerializeStruct = Impossible<String, EncodeError>;
    type SerializeStructVariant = Impossible<String, EncodeError>;

    displayed! {
        serialize_bool: bool, serialize_char: char, serialize_str: &str,
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
    }

    fn serialize_f32(self, _value: f32) -> Result<String, EncodeError> {
        Err(NOT_A_KEY)
    }

    fn serialize_f64(self, _value: f64) -> Result<String, EncodeError> {
        Err(NOT_A_KEY)
    }

    fn serialize_bytes(self, _value: &[u8]) -> Result<String, EncodeError> {
        Err(NOT_A_KEY)
    }

    fn serialize_none(self) -> Result<String, EncodeError> {
        Err(NOT_A_KEY)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<String, EncodeError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<String, EncodeError> {
        Err(NOT_A_KEY)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<String, EncodeError> {
        Err(NOT_A_KEY)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<String, EncodeError> {
        Ok(variant.to_owned())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<String, EncodeError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<String, EncodeError> {
        Err(WITH_DATA)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Self::SerializeSeq, EncodeError> {
        Err(NOT_A_KEY)
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self::SerializeTuple, EncodeError> {
        Err(NOT_A_KEY)
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleStruct, EncodeError> {
        Err(NOT_A_KEY)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant, EncodeError> {
        Err(WITH_DATA)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Self::SerializeMap, EncodeError> {
        Err(NOT_A_KEY)
    }

    fn serialize_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStruct, EncodeError> {
        Err(NOT_A_KEY)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStructVariant, EncodeError> {
        Err(WITH_DATA)
    }
}
