//! Secrets that a server repeats.

use secret::Secret;
use xenapi_wire::Failure;

/// A failure in which the server repeats the secret, without it.
pub(crate) fn cut_out(secret: &Secret, mut failure: Failure, instead: &str) -> Failure {
    let secret = secret.expose();
    if !secret.is_empty() {
        for param in failure.params.iter_mut().filter(|param| param.contains(secret)) {
            *param = param.replace(secret, instead);
        }
    }
    failure
}
