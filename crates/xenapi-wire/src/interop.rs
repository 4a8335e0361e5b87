//! From and to the values of the `xmlrpc` crate, for code that has them already.

use crate::{DateTime, EncodeError, Value};

const BASE64: EncodeError = EncodeError::Unsupported("base64, which XAPI does not have,");
const DATE: EncodeError =
    EncodeError::Unsupported("a date in a spelling that the xmlrpc crate does not read");

impl TryFrom<xmlrpc::Value> for Value {
    type Error = EncodeError;

    /// Integers of either size become [`Value::Int`]; dates are spelled as XAPI does.
    ///
    /// # Errors
    /// For `base64`, which XAPI's parser refuses.
    fn try_from(value: xmlrpc::Value) -> Result<Self, EncodeError> {
        use xmlrpc::Value as V;
        Ok(match value {
            V::Nil => Self::Nil,
            V::Bool(value) => Self::Bool(value),
            V::Int(number) => Self::Int(number.into()),
            V::Int64(number) => Self::Int(number),
            V::Double(number) => Self::Double(number),
            V::String(text) => Self::String(text),
            V::DateTime(date) => {
                let spelled = DateTime::from_wire(&date.to_string());
                let seconds = spelled.unix_seconds().map_err(|e| EncodeError::Custom(e.to_string()))?;
                Self::DateTime(DateTime::from_unix_seconds(seconds))
            }
            V::Base64(_) => return Err(BASE64),
            V::Array(elements) => {
                Self::Array(elements.into_iter().map(Self::try_from).collect::<Result<_, _>>()?)
            }
            V::Struct(members) => {
                let members = members.into_iter().map(|(name, value)| Ok((name, value.try_into()?)));
                Self::Struct(members.collect::<Result<_, EncodeError>>()?)
            }
        })
    }
}

impl TryFrom<Value> for xmlrpc::Value {
    type Error = EncodeError;

    /// An integer of more than 32 bits becomes an `i8`, which XAPI reads.
    ///
    /// # Errors
    /// For a date in a spelling that the crate does not know, such as seconds since the epoch.
    fn try_from(value: Value) -> Result<Self, EncodeError> {
        Ok(match value {
            Value::Nil => Self::Nil,
            Value::Bool(value) => Self::Bool(value),
            Value::Int(number) => i32::try_from(number).map_or(Self::Int64(number), Self::Int),
            Value::Double(number) => Self::Double(number),
            Value::String(text) => Self::String(text),
            Value::DateTime(date) => Self::DateTime(iso8601::datetime(date.as_str()).map_err(|_| DATE)?),
            Value::Array(elements) => {
                Self::Array(elements.into_iter().map(Self::try_from).collect::<Result<_, _>>()?)
            }
            Value::Struct(members) => {
                let members = members.into_iter().map(|(name, value)| Ok((name, value.try_into()?)));
                Self::Struct(members.collect::<Result<_, EncodeError>>()?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_and_come_back() {
        let value: Value = [
            (
                "list",
                Value::from(vec![Value::Nil, true.into(), 5i64.into(), (1i64 << 40).into(), 0.5.into()]),
            ),
            ("text", "a".into()),
            ("date", DateTime::from_unix_seconds(1_795_169_472).into()),
        ]
        .into_iter()
        .collect();
        let theirs = xmlrpc::Value::try_from(value.clone()).expect("has a form");
        assert_eq!(theirs["list"][3], xmlrpc::Value::Int64(1 << 40));
        assert_eq!(Value::try_from(theirs), Ok(value));
        assert_eq!(Value::try_from(xmlrpc::Value::Base64(vec![1])), Err(BASE64));
        let seconds = Value::DateTime(DateTime::from_wire("1627478400."));
        assert_eq!(xmlrpc::Value::try_from(seconds), Err(DATE));
    }
}
