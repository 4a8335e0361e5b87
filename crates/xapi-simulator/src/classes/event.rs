//! Events: what changed since a token.

mod legacy;

pub(crate) use legacy::Listeners;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use xenapi_wire::{Failure, Value};

use super::session;
use crate::core::Core;
use crate::db::{Object, View};
use crate::dispatch::{Args, Ctx, Router};
use crate::schema::Class;

pub(crate) fn register(router: &mut Router) {
    router.future("event.from", from);
    router.raw("event.get_current_id", |_, _| Ok(Value::Int(0)));
    router.raw("event.inject", inject);
    legacy::register(router);
}

/// Which objects a client wants to hear of.
struct Subscription(Vec<Wanted>);

struct Wanted {
    /// The class in lower case; nothing for all.
    class: Option<String>,
    reference: Option<String>,
}

impl Subscription {
    fn parse<'a>(classes: impl Iterator<Item = &'a str>) -> Self {
        let wanted = classes.map(|text| match text.split_once('/') {
            _ if text == "*" => Wanted { class: None, reference: None },
            Some((class, reference)) => {
                Wanted { class: Some(class.to_ascii_lowercase()), reference: Some(reference.to_owned()) }
            }
            None => Wanted { class: Some(text.to_ascii_lowercase()), reference: None },
        });
        Self(wanted.collect())
    }

    fn wants(&self, class: &str, reference: &str) -> bool {
        self.0.iter().any(|wanted| {
            wanted.class.as_ref().is_none_or(|c| c.eq_ignore_ascii_case(class))
                && wanted.reference.as_ref().is_none_or(|r| r == reference)
        })
    }

    fn only_tasks(&self) -> bool {
        self.0.iter().all(|wanted| wanted.class.as_deref() == Some("task"))
    }
}

/// Two generations: of the objects and of the messages.
#[derive(Clone, Copy)]
struct Token {
    objects: u64,
    messages: u64,
}

impl Token {
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self { objects: 0, messages: 0 });
        }
        let (objects, messages) = text.split_once(',')?;
        let number = |text: &str| text.parse::<i64>().ok().and_then(|n| u64::try_from(n).ok());
        Some(Self { objects: number(objects)?, messages: number(messages)? })
    }

    fn text(self) -> String {
        format!("{:020},{:020}", self.objects, self.messages)
    }
}

/// A call that waits for an event, counted until this is dropped.
struct Waiting(Arc<Core>);

impl Waiting {
    fn new(core: &Arc<Core>) -> Self {
        core.event_waits.send_modify(|count| *count += 1);
        Self(Arc::clone(core))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.event_waits.send_modify(|count| *count -= 1);
    }
}

async fn from(ctx: Arc<Ctx>, args: Args) -> Result<Value, Failure> {
    let subscription = Subscription::parse(args.strs(0));
    let token = Token::parse(args.str(1))
        .ok_or_else(|| Failure::new("EVENT_FROM_TOKEN_PARSE_FAILURE", [args.str(1)]))?;
    let timeout = Duration::try_from_secs_f64(args.float(2).clamp(0.0, 86_400.0)).unwrap_or_default();
    let batching = if subscription.only_tasks() { Duration::ZERO } else { ctx.core.config.event_batching };
    let mut changes = ctx.core.db.subscribe();
    let deadline = ctx.core.clock.sleep(timeout);
    tokio::pin!(deadline);
    let mut over = timeout.is_zero();
    let mut waiting = None;
    loop {
        session::check(&ctx.core, &ctx.session)?;
        changes.mark_unchanged();
        let found = ctx.read(|view| any(view, &subscription, token));
        if found {
            // More may follow at once: clients shall hear of it in one go.
            ctx.core.clock.sleep(batching).await;
        }
        if found || over {
            return Ok(ctx.read(|view| batch(view, &subscription, token)));
        }
        waiting.get_or_insert_with(|| Waiting::new(&ctx.core));
        tokio::select! {
            () = &mut deadline => over = true,
            changed = changes.changed() => if changed.is_err() { over = true },
        }
    }
}

fn inject(ctx: &Arc<Ctx>, args: &Args) -> Result<Value, Failure> {
    let (class, reference) = (args.str(0), args.str(1));
    let unknown = || Failure::new("HANDLE_INVALID", [class, reference]);
    let name = ctx.core.schema().class_ignoring_case(class).ok_or_else(unknown)?.name();
    ctx.write(|tx| {
        if !tx.exists(name, reference) {
            return Err(unknown());
        }
        let before = Token { objects: tx.generation(), messages: 0 };
        tx.inject(name, reference)?;
        Ok(before.text().into())
    })
}

/// The class of alerts, which has a history of its own.
const MESSAGE: &str = "message";

fn is_event(class: &Class) -> bool {
    class.exists && (class.events || class.name() == MESSAGE)
}

fn since(token: Token, class: &str) -> u64 {
    if class == MESSAGE { token.messages } else { token.objects }
}

fn changed<'v>(view: &'v View, sub: &Subscription, token: Token) -> impl Iterator<Item = Object<'v>> {
    view.changed_since(token.objects.min(token.messages)).filter(move |object| {
        let class = object.class();
        is_event(class)
            && object.modified() > since(token, class.name())
            && sub.wants(class.name(), object.reference())
    })
}

fn any(view: &View, sub: &Subscription, token: Token) -> bool {
    changed(view, sub, token).next().is_some() || !deleted(view, sub, token).is_empty()
}

/// The generation, class and reference of what ended and was known at the token.
fn deleted(view: &View, sub: &Subscription, token: Token) -> Vec<(u64, String, String)> {
    let ended = view.deleted_since(token.objects.min(token.messages)).filter(|(generation, gone)| {
        let known = since(token, gone.class);
        let events = view.schema().class(gone.class).is_some_and(is_event);
        events && *generation > known && gone.created <= known && sub.wants(gone.class, &gone.reference)
    });
    ended.map(|(generation, gone)| (generation, gone.class.to_string(), gone.reference.clone())).collect()
}

fn batch(view: &View, sub: &Subscription, token: Token) -> Value {
    let mut next = token;
    let mut adds = Vec::new();
    let mut mods = Vec::new();
    let mut messages = Vec::new();
    for object in changed(view, sub, token) {
        let class = object.class().name();
        let added = object.created() > since(token, class);
        let operation = if added { "add" } else { "mod" };
        if class == MESSAGE {
            next.messages = next.messages.max(object.modified());
            messages.push(event(0, class, operation, object.reference(), Some(object.record())));
        } else {
            next.objects = next.objects.max(object.modified());
            let event = event(object.modified(), class, operation, object.reference(), Some(object.record()));
            if added { adds.push(event) } else { mods.push(event) }
        }
    }
    let mut dels = Vec::new();
    for (generation, class, reference) in deleted(view, sub, token) {
        if class == MESSAGE {
            next.messages = next.messages.max(generation);
            messages.push(event(0, &class, "del", &reference, None));
        } else {
            next.objects = next.objects.max(generation);
            dels.push(event(generation, &class, "del", &reference, None));
        }
    }
    let events = messages.into_iter().chain(adds).chain(mods).chain(dels).collect();
    Value::Struct(BTreeMap::from([
        ("events".to_owned(), Value::Array(events)),
        ("valid_ref_counts".to_owned(), counts(view)),
        ("token".to_owned(), next.text().into()),
    ]))
}

fn event(id: u64, class: &str, operation: &str, reference: &str, snapshot: Option<Value>) -> Value {
    let mut event = BTreeMap::from([
        ("id".to_owned(), Value::Int(i64::try_from(id).unwrap_or(i64::MAX))),
        ("timestamp".to_owned(), "0.0".into()),
        ("class".to_owned(), class.to_ascii_lowercase().into()),
        ("operation".to_owned(), operation.into()),
        ("ref".to_owned(), reference.into()),
    ]);
    if let Some(snapshot) = snapshot {
        event.insert("snapshot".to_owned(), snapshot);
    }
    Value::Struct(event)
}

/// How many objects there are, by class in lower case.
fn counts(view: &View) -> Value {
    let counts = view.schema().classes().filter(|class| class.exists).map(|class| {
        // Alerts and roles are not in the real server's database.
        let stored = !matches!(class.name(), "message" | "role");
        let count = if stored { view.count(class.name()) } else { 0 };
        (class.name().to_ascii_lowercase(), Value::Int(i64::try_from(count).unwrap_or(i64::MAX)))
    });
    Value::Struct(counts.collect())
}
