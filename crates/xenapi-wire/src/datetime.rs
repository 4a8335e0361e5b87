//! XAPI's dates.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name under which a date passes through serde, so that XML-RPC writes its tag.
pub(crate) const NEWTYPE: &str = "$xenapi::DateTime";

/// A point in time as XAPI sends it: `20261121T10:11:12Z`.
///
/// The text is kept as it came, so that a record goes back unchanged; [`DateTime::unix_seconds`]
/// reads it, whatever the spelling.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime(Box<str>);

/// A text that no spelling of a date fits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a date: {0:?}; expected a form like 20261121T10:11:12Z")]
pub struct DateTimeError(pub String);

impl DateTime {
    /// `19700101T00:00:00Z`, XAPI's "never" or "not known".
    pub fn epoch() -> Self {
        Self("19700101T00:00:00Z".into())
    }

    /// The text as it is on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A date from text that is not looked at.
    pub(crate) fn from_wire(text: &str) -> Self {
        Self(text.into())
    }
}

impl Default for DateTime {
    fn default() -> Self {
        Self::epoch()
    }
}

impl FromStr for DateTime {
    type Err = DateTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::from_wire(text))
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for DateTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(NEWTYPE, &*self.0)
    }
}

impl<'de> Deserialize<'de> for DateTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = DateTime;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a date")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<DateTime, E> {
                Ok(DateTime::from_wire(text))
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<DateTime, D::Error> {
                inner.deserialize_str(self)
            }
        }
        deserializer.deserialize_newtype_struct(NEWTYPE, Visitor)
    }
}
