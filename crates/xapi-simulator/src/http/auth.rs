//! Who asks, on the paths that are not RPC.

use base64::Engine;

use super::{Head, Page};
use crate::classes::session;
use crate::core::Core;

/// The session of a request.
pub(crate) struct Login {
    /// Its reference.
    pub(crate) session: String,
    /// It was made for this request and ends with it.
    pub(crate) own: bool,
}

/// Finds the session in the parameters, or makes one for the pool's secret or for user and password.
///
/// # Errors
/// The page that says no; `action` is its realm.
pub(crate) async fn authenticate(core: &Core, host: &str, head: &Head, action: &str) -> Result<Login, Page> {
    let denied = || Page::unauthorised(action);
    if let Some(session) = head.param("session_id") {
        session::check(core, session).map_err(|_| denied())?;
        return Ok(Login { session: session.to_owned(), own: false });
    }
    if head.cookie("pool_secret").is_some_and(|secret| secret == core.config().pool_secret) {
        let session = session::start(core, host, "", "", true);
        return Ok(Login { session, own: true });
    }
    let Some(authorization) = head.header("authorization") else { return Err(denied()) };
    let malformed = || Page::internal_error(Some("Failure(\"Failed to parse the authorization header\")"));
    let encoded = authorization.strip_prefix("Basic ").ok_or_else(malformed)?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).map_err(|_| malformed())?;
    let decoded = String::from_utf8(decoded).map_err(|_| malformed())?;
    let (user, password) = decoded.split_once(':').ok_or_else(malformed)?;
    session::password(core, user, password).await.map_err(|_| denied())?;
    let session = session::start(core, host, user, "", false);
    Ok(Login { session, own: true })
}
