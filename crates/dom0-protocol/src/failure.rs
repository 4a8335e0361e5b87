//! Why a request was not carried out.

use serde::{Deserialize, Serialize};

/// A failure with what a program can decide by, and what a person should read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Of what kind it is.
    pub kind: FailureKind,
    /// In one sentence, what failed, on which object.
    pub message: String,
    /// The parameter that is wrong, for [`FailureKind::Argument`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argument: Option<String>,
    /// The program that failed, for [`FailureKind::Command`] and [`FailureKind::MissingProgram`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// What that wrote to its standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
}

/// Kinds of failures. One that is not known, of a later version, is [`FailureKind::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// The request is not one of the protocol, or of another version of it.
    Protocol,
    /// A parameter is missing or not acceptable. Nothing was touched.
    Argument,
    /// A disk is not changed because that would not be safe, or cannot be done. It is as it was.
    Refused,
    /// A program failed, or took too long and was killed.
    Command,
    /// The host does not have a program.
    MissingProgram,
    /// A file of the host cannot be read or written.
    File,
    /// XAPI on the host refused a call.
    Xapi,
    /// Its job was ended, as somebody asked for that.
    Cancelled,
    /// Trying again may help.
    Retryable,
    /// Something else.
    #[serde(other)]
    Other,
}

impl Failure {
    /// A failure without more to say.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), argument: None, program: None, stderr: None }
    }
}
