//! Paths of a real server behind which nothing is simulated: they ask who is there, and have nothing.

use super::auth::authenticate;
use super::{After, Exchange, Handlers, Page, Verb};
use crate::classes::session;

pub(crate) fn register(handlers: &mut Handlers) {
    handlers.add(Verb::Get, "/console", |exchange| Box::pin(answer(exchange, "connect_console_ws")));
}

async fn answer(exchange: &mut Exchange, action: &str) -> std::io::Result<After> {
    let page = match authenticate(&exchange.core, &exchange.host, &exchange.head, action).await {
        Ok(login) => {
            if login.own {
                session::end(&exchange.core, &login.session);
            }
            Page::not_found()
        }
        Err(page) => page,
    };
    exchange.conn.send(&page.bytes(exchange.head.version())).await?;
    Ok(After::Close)
}
