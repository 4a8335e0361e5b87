//! What both forms of a document are read into.

use std::borrow::Cow;

use super::malformed;
use crate::error::Result;

/// A document, or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree<'d> {
    /// Text or a number.
    Text(Cow<'d, str>),
    /// What has no names, in JSON.
    List(Vec<Self>),
    /// Named parts. In XML one name may be there many times.
    Parts(Vec<(Cow<'d, str>, Self)>),
}

impl Tree<'_> {
    pub(super) fn find(&self, name: &str) -> Option<&Self> {
        let Self::Parts(parts) = self else { return None };
        parts.iter().find(|(part, _)| part == name).map(|(_, tree)| tree)
    }

    pub(super) fn get(&self, name: &str) -> Result<&Self> {
        self.find(name).ok_or_else(|| malformed(&format!("it has no {name}")))
    }

    /// The things in a list, or in XML the parts of this name. Nothing at all is an empty list.
    pub(super) fn items(&self, name: &str) -> Result<Vec<&Self>> {
        match self {
            Self::List(items) => Ok(items.iter().collect()),
            Self::Parts(parts) => match parts.iter().find(|(part, _)| part == name) {
                // JSON has a list of that name instead of several parts.
                Some((_, Self::List(items))) => Ok(items.iter().collect()),
                _ => Ok(parts.iter().filter(|(part, _)| part == name).map(|(_, tree)| tree).collect()),
            },
            Self::Text(text) if text.trim().is_empty() => Ok(Vec::new()),
            Self::Text(text) => Err(malformed(&format!("{text:?} where a list of {name} belongs"))),
        }
    }

    pub(super) fn text(&self) -> Result<&str> {
        match self {
            Self::Text(text) => Ok(text.trim()),
            _ => Err(malformed("something else where text belongs")),
        }
    }

    /// A number, `NaN`, `Infinity` or `-Infinity`.
    pub(super) fn number(&self) -> Result<f64> {
        let text = self.text()?;
        text.parse().map_err(|_| malformed(&format!("{text:?} where a number belongs")))
    }

    pub(super) fn integer(&self) -> Result<i64> {
        let number = self.number()?;
        if number.is_finite() && number.abs() < 1e15 {
            return Ok(number as i64);
        }
        Err(malformed(&format!("{number} where a whole number belongs")))
    }
}
