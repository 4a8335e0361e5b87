//! The type strings of the datamodel: `(VM ref -> string set) map`.

use anyhow::{Result, bail};

/// A type of the API.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ty {
    String,
    Int,
    Float,
    Bool,
    DateTime,
    Void,
    /// A value whose type is not known, or depends on another value.
    Any,
    /// The result of `event.from`.
    EventBatch,
    Enum(String),
    Ref(String),
    Record(String),
    Set(Box<Ty>),
    Map(Box<Ty>, Box<Ty>),
    Option(Box<Ty>),
}

impl Ty {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "string" => Self::String,
            "int" => Self::Int,
            "float" => Self::Float,
            "bool" => Self::Bool,
            "datetime" => Self::DateTime,
            "void" => Self::Void,
            "any" => Self::Any,
            "an event batch" => Self::EventBatch,
            _ => return Self::parse_compound(text),
        })
    }

    fn parse_compound(text: &str) -> Result<Self> {
        // The operators bind to what is on their left, so the last one is the outermost.
        if let Some(inner) = text.strip_suffix(" set") {
            return Ok(Self::Set(Box::new(Self::parse(inner)?)));
        }
        if let Some(inner) = text.strip_suffix(" option") {
            return Ok(Self::Option(Box::new(Self::parse(inner)?)));
        }
        if let Some(inner) = text.strip_suffix(") map").and_then(|t| t.strip_prefix('(')) {
            let Some((key, value)) = inner.split_once(" -> ") else { bail!("map without arrow: {text:?}") };
            return Ok(Self::Map(Box::new(Self::parse(key)?), Box::new(Self::parse(value)?)));
        }
        if let Some(class) = text.strip_suffix(" ref") {
            return Ok(Self::Ref(class.to_owned()));
        }
        if let Some(class) = text.strip_suffix(" record") {
            return Ok(Self::Record(class.to_owned()));
        }
        match text.strip_prefix("enum ") {
            Some(name) => Ok(Self::Enum(name.to_owned())),
            None => bail!("no such type: {text:?}"),
        }
    }

    /// Whether values of this type hold a session reference, which is as good as a password.
    pub(crate) fn is_secret(&self) -> bool {
        match self {
            Self::Ref(class) => class == "session",
            Self::Set(inner) | Self::Option(inner) => inner.is_secret(),
            Self::Map(key, value) => key.is_secret() || value.is_secret(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_bind_to_the_left() {
        let ty = Ty::parse("(VM ref -> (string -> string set) map) map").unwrap();
        let strings = Ty::Set(Box::new(Ty::String));
        let inner = Ty::Map(Box::new(Ty::String), Box::new(strings));
        assert_eq!(ty, Ty::Map(Box::new(Ty::Ref("VM".into())), Box::new(inner)));
    }

    #[test]
    fn unknown_types_are_refused() {
        for text in ["strin", "(string) map", "set", ""] {
            assert!(Ty::parse(text).is_err(), "{text:?}");
        }
    }
}
