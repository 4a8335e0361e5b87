//! dom0 plugins: how XAPI runs one, and how it answers.
//!
//! XAPI executes the file with one argument, an XML-RPC call whose method is the function and whose
//! parameters are the caller's session and a struct of texts. The plugin prints one XML-RPC response
//! on its standard output, with nothing before or after, and exits with 0.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::failure::Failure;
use crate::xmlrpc::{self, Answer};
use crate::{Limits, Value};

/// What a plugin is asked to do.
#[derive(Clone, PartialEq, Eq)]
pub struct PluginCall {
    /// The function.
    pub function: String,
    /// The session of whoever called `host.call_plugin`, for calls back into XAPI.
    pub session: String,
    /// The arguments.
    pub args: BTreeMap<String, String>,
}

impl std::fmt::Debug for PluginCall {
    /// Session and arguments may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.args.keys().collect();
        f.debug_struct("PluginCall")
            .field("function", &self.function)
            .field("args", &names)
            .finish_non_exhaustive()
    }
}

impl PluginCall {
    /// The command-line argument, as XAPI makes it, but well-formed whatever the names of the arguments.
    ///
    /// # Errors
    /// When a text cannot be put into XML.
    pub fn encode(&self) -> Result<String, EncodeError> {
        xmlrpc::encode_call(&self.function, Some(&self.session), &(&self.args,))
    }

    /// Reads the command-line argument.
    ///
    /// # Errors
    /// When it is not what XAPI passes to plugins.
    pub fn decode(argument: &str) -> Result<Self, DecodeError> {
        let call = xmlrpc::decode_call_of_xapi(argument, &Limits::REQUEST)?;
        let params: Result<[Value; 2], _> = call.params.try_into();
        let Ok([session, args]) = params else {
            return Err(wrong("a session and a struct of arguments", "other parameters"));
        };
        Ok(Self {
            function: call.method,
            session: session.decode().map_err(|e| e.in_key("session"))?,
            args: args.decode().map_err(|e| e.in_key("args"))?,
        })
    }
}

/// Writes what a plugin prints.
///
/// # Errors
/// When a text cannot be put into XML; a plugin should then report that as its failure.
pub fn encode_response(result: Result<&str, &Failure>) -> Result<String, EncodeError> {
    xmlrpc::encode_exact_response(result)
}

/// Reads what a plugin printed, as XAPI does: a fault is the failure `XENAPI_PLUGIN_FAILURE`.
///
/// # Errors
/// [`DecodeErrorKind::WrongType`] for a response without a text in it, which XAPI reports as
/// `INTERNAL_ERROR`; another kind for output that is no response, which it reports as
/// `XENAPI_PLUGIN_FAILURE` with `failed to parse plugin output`.
pub fn decode_response(output: &[u8], limits: &Limits) -> Result<Result<String, Failure>, DecodeError> {
    Ok(match xmlrpc::decode_answer(PhantomData, output, limits)? {
        Answer::Returned(text) => Ok(text),
        Answer::Bare(_) => return Err(wrong("a struct with a Status", "a value without")),
        Answer::Failed(failure) => Err(failure),
        Answer::Fault { code, text } => Err(Failure::new("XENAPI_PLUGIN_FAILURE", ["fault", &code, &text])),
    })
}

fn wrong(expected: &str, found: &str) -> DecodeError {
    let kind = DecodeErrorKind::WrongType { expected: expected.to_owned(), found: found.to_owned() };
    DecodeError::new(kind, 0)
}
