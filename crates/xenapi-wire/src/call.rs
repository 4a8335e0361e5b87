//! The grammar of typed bindings.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A class of the API.
pub trait Class: 'static {
    /// The name as XAPI spells it: `VDI`, `host`, `VM_guest_metrics`.
    const NAME: &'static str;

    /// What `get_record` returns.
    type Record: Serialize + DeserializeOwned + Send + Sync + 'static;
}

/// An explicit message of the API, as one value: what a client sends is what a server receives.
///
/// It serializes as the sequence of its parameters, without the session that goes before them
/// ([`Call::NEEDS_SESSION`]). Trailing parameters that have a default on the server are left out
/// while they are `None`, so that older hosts, which do not know them, accept the call.
pub trait Call: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The method, `VDI.snapshot`.
    const METHOD: &'static str;

    /// Whether the session reference goes before the parameters. The log-in calls have none.
    const NEEDS_SESSION: bool = true;

    /// Whether the server knows `Async.<method>`.
    const HAS_ASYNC: bool = true;

    /// What a successful call returns; `()` for the API's void.
    type Output: Serialize + DeserializeOwned + Send + 'static;
}
