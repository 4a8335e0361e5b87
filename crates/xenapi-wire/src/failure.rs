//! What a server answers instead of a result.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Value;

/// The code under which a `<fault>` of XML-RPC is reported; XAPI has the same word for failures that
/// are none of its codes.
pub(crate) const FAULT: &str = "Fault";

/// A XAPI error: a code and its parameters, as in `ErrorDescription`.
///
/// The codes with their meaning are in `xenapi-types`; this crate does not know any.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Failure {
    /// `SR_BACKEND_FAILURE_44`, `HANDLE_INVALID`; empty when the server sent an empty list.
    pub code: String,
    /// What the code says about this case; references and uuids as text.
    pub params: Vec<String>,
}

impl Failure {
    /// A failure from its code and parameters.
    pub fn new<P: Into<String>>(code: impl Into<String>, params: impl IntoIterator<Item = P>) -> Self {
        Self { code: code.into(), params: params.into_iter().map(Into::into).collect() }
    }

    /// Parameter number `index`, counted from zero, or the empty string.
    pub fn param(&self, index: usize) -> &str {
        self.params.get(index).map_or("", String::as_str)
    }
}

impl Failure {
    /// The failure in an `ErrorDescription` or an `error` member, however a server spells it: a list
    /// of texts, a list with numbers in it, or a single text.
    pub(crate) fn from_value(value: &Value) -> Self {
        match value {
            Value::Array(list) => list.iter().map(text_of).collect::<Vec<_>>().into(),
            other => vec![text_of(other)].into(),
        }
    }
}

/// A parameter of a failure as text.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Double(number) => number.to_string(),
        Value::DateTime(date) => date.to_string(),
        Value::Nil => String::new(),
        Value::Array(list) => list.iter().map(text_of).collect::<Vec<_>>().join(", "),
        Value::Struct(members) => {
            let members: Vec<_> = members.iter().map(|(k, v)| format!("{k}={}", text_of(v))).collect();
            members.join(", ")
        }
    }
}

impl From<Vec<String>> for Failure {
    fn from(mut list: Vec<String>) -> Self {
        if list.is_empty() {
            return Self { code: String::new(), params: list };
        }
        let code = list.remove(0);
        Self { code, params: list }
    }
}

impl From<Failure> for Vec<String> {
    fn from(failure: Failure) -> Self {
        if failure.code.is_empty() && failure.params.is_empty() {
            return Self::new();
        }
        std::iter::once(failure.code).chain(failure.params).collect()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.code.is_empty() { "(no error code)" } else { &self.code })?;
        if self.params.is_empty() {
            return Ok(());
        }
        write!(f, " [{}]", self.params.join(", "))
    }
}

impl std::error::Error for Failure {}
