//! Sessions beside the client's.

use crate::client::Client;
use crate::error::Result;
use crate::session::Session;

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
