//! `event.register` and `event.next`, which clients of old servers use.
//!
//! Changes of one object between two calls of `event.next` are one event here, where the real server sends each; and
//! `del` events have no snapshot.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use md5::{Digest, Md5};
use xenapi_wire::{Failure, Value};

use super::{Subscription, Token, any, batch};
use crate::classes::session;
use crate::db::View;
use crate::dispatch::{Args, Ctx, Router, void};

/// The clients that called `event.register`, by session.
#[derive(Default)]
pub(crate) struct Listeners {
    sessions: HashMap<String, Listener>,
    /// Events are numbered by server, not by client.
    next_id: i64,
}

struct Listener {
    classes: Vec<String>,
    /// What it has heard of.
    token: Token,
}

/// How long changes are gathered before `event.next` returns.
const BATCHING: Duration = Duration::from_millis(200);

impl Listeners {
    /// Forgets a session that has ended.
    pub(crate) fn forget(&mut self, session: &str) {
        self.sessions.remove(session);
    }

    /// An event with the number and the time that the old calls give it.
    fn number(&mut self, event: &Value, time: &str) -> Value {
        let mut event = event.as_struct().cloned().unwrap_or_default();
        event.insert("id".to_owned(), Value::Int(self.next_id));
        event.insert("timestamp".to_owned(), time.into());
        self.next_id += 1;
        Value::Struct(event)
    }

    fn get(&self, session: &str) -> Result<(Subscription, Token), Failure> {
        let listener = self.sessions.get(session).ok_or_else(|| {
            // The reference is a secret: logs and errors have its digest.
            let digest: String = Md5::digest(session).iter().map(|byte| format!("{byte:02x}")).collect();
            Failure::new("SESSION_NOT_REGISTERED", [format!("trackid={digest}")])
        })?;
        Ok((Subscription::parse(listener.classes.iter().map(String::as_str)), listener.token))
    }
}

pub(super) fn register(router: &mut Router) {
    router.raw("event.register", |ctx, args| {
        let now = ctx.read(View::generation);
        let mut listeners = ctx.core.listeners();
        let listener = listeners.sessions.entry(ctx.session.clone()).or_insert_with(|| Listener {
            classes: Vec::new(),
            token: Token { objects: now, messages: now },
        });
        listener.classes.extend(args.strs(0).map(str::to_ascii_lowercase));
        Ok(void())
    });
    router.raw("event.unregister", |ctx, args| {
        if let Some(listener) = ctx.core.listeners().sessions.get_mut(&ctx.session) {
            let gone: Vec<String> = args.strs(0).map(str::to_ascii_lowercase).collect();
            listener.classes.retain(|class| !gone.contains(class));
        }
        Ok(void())
    });
    router.future("event.next", next);
}

async fn next(ctx: Arc<Ctx>, _: Args) -> Result<Value, Failure> {
    let mut changes = ctx.core.db().subscribe();
    loop {
        session::check(&ctx.core, &ctx.session)?;
        changes.mark_unchanged();
        let (subscription, token) = ctx.core.listeners().get(&ctx.session)?;
        if ctx.read(|view| any(view, &subscription, token)) {
            ctx.core.clock().sleep(BATCHING).await;
            let (found, now) = ctx.read(|view| (batch(view, &subscription, token), view.generation()));
            let mut listeners = ctx.core.listeners();
            if let Some(listener) = listeners.sessions.get_mut(&ctx.session) {
                listener.token = Token { objects: now, messages: now };
            }
            let time = format!("{}.", ctx.core.clock().now().as_second());
            let events = found.get("events").and_then(Value::as_array).unwrap_or_default();
            return Ok(Value::Array(events.iter().map(|event| listeners.number(event, &time)).collect()));
        }
        if changes.changed().await.is_err() {
            return Ok(Value::Array(Vec::new()));
        }
    }
}
