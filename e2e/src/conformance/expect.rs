//! What checks say when something is not as it should be.

use std::fmt;

use anyhow::{Result, bail, ensure};
use xenapi_wire::Failure;

/// The end of a check that this endpoint cannot be put to.
#[derive(Debug)]
pub(super) struct NotApplicable(String);

impl fmt::Display for NotApplicable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotApplicable {}

/// Ends a check that this endpoint cannot be put to.
pub(super) fn not_applicable(reason: impl Into<String>) -> anyhow::Error {
    NotApplicable(reason.into()).into()
}

/// The failure with which XAPI has refused a call.
///
/// # Errors
/// When it has not refused it, or with another code.
pub(super) fn refused<T: fmt::Debug>(result: xenapi_client::Result<T>, code: &str) -> Result<Failure> {
    match result {
        Ok(value) => bail!("expected {code}, but the call succeeded with {value:?}"),
        Err(error) => match error.failure() {
            Some(failure) if failure.code == code => Ok(failure.clone()),
            Some(failure) => bail!("expected {code}, got {failure}"),
            None => bail!("expected {code}, got no answer of XAPI: {error}"),
        },
    }
}

/// That XAPI has refused a call with exactly this failure.
///
/// # Errors
/// When it has not.
pub(super) fn refused_with<T: fmt::Debug>(
    result: xenapi_client::Result<T>,
    code: &str,
    params: &[&str],
) -> Result<()> {
    let failure = refused(result, code)?;
    ensure!(failure.params == params, "expected {code} with {params:?}, got {:?}", failure.params);
    Ok(())
}

/// That two things are equal.
///
/// # Errors
/// When they are not, naming `what`.
#[expect(clippy::needless_pass_by_value, reason = "checks compare values that nobody needs afterwards")]
pub(super) fn same<A: fmt::Debug + PartialEq<B>, B: fmt::Debug>(
    what: &str,
    found: A,
    expected: B,
) -> Result<()> {
    ensure!(found == expected, "{what} is {found:?}, expected {expected:?}");
    Ok(())
}
