//! `event.register` and `event.next`, which clients of old servers use: every single change is an event.
//!
//! The real server sends a `mod` of the pool after 30 quiet seconds, so that `event.next` returns; here it waits on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use md5::{Digest, Md5};
use xenapi_wire::{Failure, Value};

use super::{Subscription, Waiting, event, is_event};
use crate::classes::session;
use crate::db::{Change, Db};
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
    /// The generation up to which it has heard.
    heard: u64,
}

/// How long changes are gathered before `event.next` returns.
const BATCHING: Duration = Duration::from_millis(200);

impl Listeners {
    /// Forgets a session that has ended.
    pub(crate) fn forget(&mut self, session: &str, db: &Db) {
        if self.sessions.remove(session).is_some() && self.sessions.is_empty() {
            db.end_log();
        }
    }

    /// An event with the number and the time that the old calls give it.
    fn number(&mut self, change: &Change, time: &str) -> Value {
        let (class, reference) = (change.class, &change.reference);
        let event = event(0, class, change.operation, reference, Some(change.record.clone()));
        let mut event = event.as_struct().cloned().unwrap_or_default();
        event.insert("id".to_owned(), Value::Int(self.next_id));
        event.insert("timestamp".to_owned(), time.into());
        self.next_id += 1;
        Value::Struct(event)
    }

    fn get(&self, session: &str) -> Result<(Subscription, u64), Failure> {
        let listener = self.sessions.get(session).ok_or_else(|| {
            // The reference is a secret: logs and errors have its digest.
            let digest: String = Md5::digest(session).iter().map(|byte| format!("{byte:02x}")).collect();
            Failure::new("SESSION_NOT_REGISTERED", [format!("trackid={digest}")])
        })?;
        Ok((Subscription::parse(listener.classes.iter().map(String::as_str)), listener.heard))
    }
}

pub(super) fn register(router: &mut Router) {
    router.raw("event.register", |ctx, args| {
        let mut listeners = ctx.core.listeners();
        let heard = ctx.core.db().begin_log();
        let new = || Listener { classes: Vec::new(), heard };
        let listener = listeners.sessions.entry(ctx.session.clone()).or_insert_with(new);
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

/// `event.next`: gathers changes for a while, and waits for the first one when there is none.
async fn next(ctx: Arc<Ctx>, _: Args) -> Result<Value, Failure> {
    let mut changes = ctx.core.db().subscribe();
    ctx.core.listeners().get(&ctx.session)?;
    ctx.core.clock().sleep(BATCHING).await;
    // Who waits is woken by the first change, and hears of that one alone.
    let mut waiting = None;
    loop {
        session::check(&ctx.core, &ctx.session)?;
        changes.mark_unchanged();
        let events = news(&ctx, waiting.is_some())?;
        if !events.is_empty() {
            return Ok(Value::Array(events));
        }
        waiting.get_or_insert_with(|| Waiting::new(&ctx.core));
        if changes.changed().await.is_err() {
            return Ok(Value::Array(Vec::new()));
        }
    }
}

/// What the session has not heard of yet: all of it, or only the first commit that concerns it.
///
/// # Errors
/// `SESSION_NOT_REGISTERED`; `EVENTS_LOST` for a client that has not listened for too long.
fn news(ctx: &Ctx, only_first: bool) -> Result<Vec<Value>, Failure> {
    let mut listeners = ctx.core.listeners();
    let (subscription, heard) = listeners.get(&ctx.session)?;
    let (found, now) = ctx.read(|view| {
        let wanted = |change: &&Change| {
            let class = view.schema().class(change.class);
            class.is_some_and(is_event) && subscription.wants(change.class, &change.reference)
        };
        let found = view.each_change_since(heard).map(|all| all.filter(wanted).cloned().collect::<Vec<_>>());
        (found, view.generation())
    });
    let mut found = found.ok_or_else(|| Failure::new("EVENTS_LOST", [""; 0]))?;
    let heard = found.first().filter(|_| only_first).map_or(now, |first| first.generation);
    found.retain(|change| change.generation <= heard);
    if let Some(listener) = listeners.sessions.get_mut(&ctx.session) {
        listener.heard = heard;
    }
    let time = format!("{}.", ctx.core.clock().now().as_second());
    Ok(found.iter().map(|change| listeners.number(change, &time)).collect())
}
