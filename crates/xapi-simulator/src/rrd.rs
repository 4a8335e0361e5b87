//! `/rrd_updates`, `/vm_rrd`, `/host_rrd`, `/sr_rrd`: what a host measures of itself, of the VMs on it and of the SRs
//! plugged into it.
//!
//! Nothing is measured and nothing stored: each value follows from the object, the source's name and the time, so that
//! whoever asks twice, in either form and at any resolution, gets the same. Values are there from the moment at which
//! the VM was started.
//!
//! * `source`: what is measured, and the values.
//! * `write`: the two forms of the two documents.
//!
//! Not done: archives of VMs that do not run.

mod source;
mod write;

use self::source::Owner;
use self::write::Form;
use crate::classes::session;
use crate::core::Core;
use crate::db::{Object, View};
use crate::http::{After, Exchange, Handlers, Head, Page, Verb, authenticate, page};

pub(crate) fn register(handlers: &mut Handlers) {
    handlers.add(Verb::Get, "/rrd_updates", |e| Box::pin(answer(e, "rrd_updates", updates)));
    handlers.add(Verb::Get, "/vm_rrd", |e| Box::pin(answer(e, "vm_rrd", vm)));
    handlers.add(Verb::Get, "/host_rrd", |e| Box::pin(answer(e, "host_rrd", host)));
    handlers.add(Verb::Get, "/sr_rrd", |e| Box::pin(answer(e, "sr_rrd", sr)));
}

/// Seconds between measurements.
const STEP: i64 = 5;

/// A resolution that is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Archive {
    /// Measurements in a row.
    per_row: i64,
    rows: i64,
    /// Whether it has averages only: of one measurement the extremes are the same.
    is_plain: bool,
}

impl Archive {
    /// Seconds between rows.
    fn step(self) -> i64 {
        self.per_row * STEP
    }

    /// The end of the last row that is complete.
    fn last(self, now: i64) -> i64 {
        now - now.rem_euclid(self.step())
    }
}

/// Ten minutes, two hours, a week, a year.
const ARCHIVES: [Archive; 4] = [
    Archive { per_row: 1, rows: 120, is_plain: true },
    Archive { per_row: 12, rows: 120, is_plain: false },
    Archive { per_row: 720, rows: 168, is_plain: false },
    Archive { per_row: 17_280, rows: 366, is_plain: false },
];

/// How the measurements of a row become one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Consolidation {
    Average,
    Min,
    Max,
}

impl Consolidation {
    const ALL: [Self; 3] = [Self::Average, Self::Min, Self::Max];

    fn name(self) -> &'static str {
        match self {
            Self::Average => "AVERAGE",
            Self::Min => "MIN",
            Self::Max => "MAX",
        }
    }
}

/// What a request comes to.
enum Outcome {
    Document(String),
    /// The page that says no.
    No(Page),
    /// Another host, by reference, has it.
    Elsewhere(String),
}

type Answer = fn(&Core, &View, &str, &Head, Form) -> Outcome;

async fn answer(exchange: &mut Exchange, action: &str, document: Answer) -> std::io::Result<After> {
    let core = exchange.core.clone();
    let (host, head) = (&exchange.host, &exchange.head);
    let form = if head.param("json") == Some("true") { Form::Json } else { Form::Xml };
    let outcome = match authenticate(&core, host, head, action).await {
        Ok(login) => {
            if login.own {
                session::end(&core, &login.session);
            }
            // The recorded server has no daemon that measures.
            let is_measured = core.config().guests.report_memory;
            let outcome = is_measured.then(|| core.db().read(|view| document(&core, view, host, head, form)));
            outcome.unwrap_or_else(|| Outcome::No(Page::not_found()))
        }
        Err(page) => Outcome::No(page),
    };
    let bytes = match outcome {
        Outcome::Document(text) => page::reply(head.version(), false, form.content_type(), text.as_bytes()),
        Outcome::No(page) => page.bytes(head.version()),
        Outcome::Elsewhere(host) => {
            let url = core.db().read(|view| core.url_of(view, &host));
            let rest = format!(
                "Connection: close\r\nCache-Control: no-cache, no-store\r\nLocation: {url}{}\r\n\r\n",
                head.target
            );
            format!("HTTP/1.1 302 Found\r\n{rest}").into_bytes()
        }
    };
    exchange.conn.send(&bytes).await?;
    Ok(After::Close)
}

/// The latest rows of everything on this host.
fn updates(core: &Core, view: &View, host: &str, head: &Head, form: Form) -> Outcome {
    let number = |name: &str| head.param(name).and_then(|text| text.parse::<i64>().ok());
    let Some(start) = number("start") else {
        return Outcome::No(Page::bad_request());
    };
    let now = core.clock().now().as_second();
    let interval = number("interval").unwrap_or(STEP);
    // The finest resolution that is wanted and goes back that far.
    let reaches = |archive: &&Archive| archive.last(now) - archive.step() * archive.rows <= start;
    let fine_enough = || ARCHIVES.iter().filter(|archive| archive.step() >= interval);
    let archive = *fine_enough().find(reaches).unwrap_or(&ARCHIVES[3]);
    let wanted = head.param("vm_uuid").or_else(|| head.param("uuid"));
    let mut owners = Vec::new();
    if head.param("host") == Some("true") {
        owners.extend(view.find("host", host).map(|host| Owner::host(view, host)));
    }
    let here = view.objects("VM").filter(|vm| vm.str("resident_on") == host);
    let here = here.filter(|vm| wanted.is_none_or(|wanted| vm.str("uuid") == wanted));
    owners.extend(here.map(|vm| Owner::vm(view, vm)));
    let sr = head.param("sr_uuid").and_then(|uuid| view.by_uuid("SR", uuid).ok());
    owners.extend(sr.filter(|sr| is_plugged(view, *sr, host)).map(Owner::sr));
    let only = head.param("cf");
    let kept = Consolidation::ALL.into_iter().filter(|cf| only.is_none_or(|only| only == cf.name()));
    let kept: Vec<_> = kept.filter(|cf| !archive.is_plain || *cf == Consolidation::Average).collect();
    Outcome::Document(write::updates(&owners, &kept, archive, start, now, form))
}

fn vm(core: &Core, view: &View, host: &str, head: &Head, form: Form) -> Outcome {
    let Some(vm) = head.param("uuid").and_then(|uuid| view.by_uuid("VM", uuid).ok()) else {
        return Outcome::No(Page::not_found());
    };
    match vm.ref_opt("resident_on") {
        None => Outcome::No(Page::not_found()),
        Some(other) if other != host => Outcome::Elsewhere(other.to_owned()),
        Some(_) => {
            let now = core.clock().now().as_second();
            Outcome::Document(write::whole(&Owner::vm(view, vm), now, form))
        }
    }
}

fn host(core: &Core, view: &View, host: &str, _: &Head, form: Form) -> Outcome {
    let Some(host) = view.find("host", host) else { return Outcome::No(Page::not_found()) };
    let now = core.clock().now().as_second();
    Outcome::Document(write::whole(&Owner::host(view, host), now, form))
}

fn sr(core: &Core, view: &View, host: &str, head: &Head, form: Form) -> Outcome {
    let sr = head.param("uuid").and_then(|uuid| view.by_uuid("SR", uuid).ok());
    match sr.filter(|sr| is_plugged(view, *sr, host)) {
        None => Outcome::No(Page::not_found()),
        Some(sr) => {
            let now = core.clock().now().as_second();
            Outcome::Document(write::whole(&Owner::sr(sr), now, form))
        }
    }
}

fn is_plugged(view: &View, sr: Object<'_>, host: &str) -> bool {
    view.follow(sr, "PBDs", "PBD").any(|pbd| pbd.str("host") == host && pbd.bool("currently_attached"))
}
