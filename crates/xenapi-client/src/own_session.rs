//! Sessions beside the client's.

use crate::client::Client;
use crate::error::Result;
use crate::session::Session;

impl Client {
    /// Ends a session of this pool that a host has made and handed out, as `host.migrate_receive` does for another host
    /// to use. One that is gone already is what was wanted, and the client's own stays, should it be that.
    ///
    /// # Errors
    /// When the host does not confirm it: then XAPI ends the session when nobody has used it for a day.
    pub async fn end_session(&self, reference: &str) -> Result<()> {
        let own = self.inner.sessions.current()?;
        if reference.is_empty() || own.is_some_and(|own| own.reference.expose() == reference) {
            return Ok(());
        }
        let session = Session::new(self.endpoint(), reference.to_owned());
        let course = self.course();
        course.under_way(true);
        self.within("session.logout", &course, self.log_out(&session)).await
    }
}

/// A session for one purpose, logged out when that is over.
pub(crate) struct OwnSession {
    client: Client,
    session: Option<Session>,
}

impl OwnSession {
    pub(crate) async fn new(client: &Client) -> Result<Self> {
        let seat = client.session().await?.endpoint.clone();
        let course = client.course();
        course.under_way(true);
        let session = client.within("session.login_with_password", &course, client.login_at(seat)).await?;
        Ok(Self { client: client.clone(), session: Some(session) })
    }

    pub(crate) fn get(&self) -> &Session {
        self.session.as_ref().expect("only end and drop take the session")
    }

    pub(crate) async fn end(mut self) {
        if let Some(session) = self.session.take() {
            log_out(&self.client, &session).await;
        }
    }
}

impl Drop for OwnSession {
    fn drop(&mut self) {
        let (Some(session), Ok(runtime)) = (self.session.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let client = self.client.clone();
        runtime.spawn(async move { log_out(&client, &session).await });
    }
}

async fn log_out(client: &Client, session: &Session) {
    let course = client.course();
    course.under_way(true);
    if let Err(error) = client.within("session.logout", &course, client.log_out(session)).await {
        tracing::debug!(%error, "a session is left to XAPI");
    }
}
