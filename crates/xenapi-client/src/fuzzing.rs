//! What the fuzz targets do, here so that the tests can run it too.

mod known_hosts;
mod nbd;

use std::any::Any;
use std::fmt::Debug;

use xenapi_types::{EventBatch, EventOperation, EventRecord, Task, Vm};
use xenapi_wire::{Class, Limits, jsonrpc, xmlrpc};

pub use self::known_hosts::known_hosts;
pub use self::nbd::nbd;
use crate::cache::Typed;
use crate::rrd::{Rrd, RrdArchive, RrdSource, RrdUpdates};

const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_depth: 64 };

/// Bytes as an answer of `event.from`, read straight into the records of a cache and by way of values: where both
/// read it, they are the same changes.
///
/// # Panics
/// When they are not.
pub fn events(bytes: &[u8]) {
    type Watched = (Vm, (Task, ()));
    if let (Ok(Ok(typed)), Ok(Ok(plain))) = (
        xmlrpc::decode_response::<Typed<Watched>>(bytes, &LIMITS),
        xmlrpc::decode_response::<EventBatch>(bytes, &LIMITS),
    ) {
        same(&typed, &plain);
    }
    if let (Ok(typed), Ok(plain)) = (
        jsonrpc::decode_response::<Typed<Watched>>(bytes, &LIMITS),
        jsonrpc::decode_response::<EventBatch>(bytes, &LIMITS),
    ) && let (Ok(typed), Ok(plain)) = (typed.result, plain.result)
    {
        same(&typed, &plain);
    }
}

fn same<L>(typed: &Typed<L>, plain: &EventBatch) {
    assert_eq!(typed.token, plain.token);
    let watched = |event: &&EventRecord| place(&event.class).is_some();
    let events: Vec<_> = plain.events.iter().filter(watched).collect();
    assert_eq!(typed.changes.len(), events.len());
    for (change, event) in typed.changes.iter().zip(events) {
        assert_eq!((change.class, &change.reference), (place(&event.class).unwrap_or(2), &event.r#ref));
        assert_eq!(change.record.is_none(), event.operation == EventOperation::Del);
        match (&change.record, change.class) {
            (Some(record), 0) => same_record::<Vm>(record.as_ref(), event),
            (Some(record), _) => same_record::<Task>(record.as_ref(), event),
            (None, _) => {}
        }
    }
}

fn place(class: &str) -> Option<usize> {
    [Vm::NAME, Task::NAME].iter().position(|name| name.eq_ignore_ascii_case(class))
}

fn same_record<C: Class<Record: Debug>>(record: &(dyn Any + Send), event: &EventRecord) {
    let typed = record.downcast_ref::<C::Record>().expect("the record is of the class of its event");
    let plain: C::Record = event.snapshot.decode().expect("what reads at once reads from a value");
    // Not by equality: NaN is not equal to itself.
    assert_eq!(format!("{typed:?}"), format!("{plain:?}"));
}

/// Bytes as measurements in whatever form: what is read is the same when it is written as XML, as JSON and as the JSON of
/// old hosts, and read again.
///
/// # Panics
/// When it is not.
pub fn rrd(bytes: &[u8]) {
    // Not by equality, either.
    if let Ok(updates) = RrdUpdates::parse(bytes) {
        for form in Form::ALL {
            let Some(document) = form.updates(&updates) else { continue };
            let again = RrdUpdates::parse(document.as_bytes()).map(|again| format!("{again:?}"));
            assert_eq!(again.ok(), Some(format!("{updates:?}")), "{document}");
        }
    }
    if let Ok(rrd) = Rrd::parse(bytes) {
        for form in Form::ALL {
            let Some(document) = form.database(&rrd) else { continue };
            let again = Rrd::parse(document.as_bytes()).map(|again| format!("{again:?}"));
            assert_eq!(again.ok(), Some(format!("{rrd:?}")), "{document}");
        }
    }
}

/// How measurements are written.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Xml,
    Json,
    /// Names without quotes.
    OldJson,
}

impl Form {
    const ALL: [Self; 3] = [Self::Xml, Self::Json, Self::OldJson];

    /// A text; none of a character that XML cannot say.
    fn text(self, text: &str) -> Option<String> {
        if self != Self::Xml {
            return Some(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")));
        }
        let is_sayable = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
        text.chars().map(|c| is_sayable(c).then(|| format!("&#{};", u32::from(c)))).collect()
    }

    /// Something with a name.
    fn part(self, name: &str, value: &str) -> String {
        match self {
            Self::Xml => format!("<{name}>{value}</{name}>"),
            Self::Json => format!("\"{name}\":{value}"),
            Self::OldJson => format!("{name}:{value}"),
        }
    }

    fn parts(self, parts: &[(&str, String)]) -> String {
        let parts: Vec<String> = parts.iter().map(|(name, value)| self.part(name, value)).collect();
        match self {
            Self::Xml => parts.concat(),
            _ => format!("{{{}}}", parts.join(",")),
        }
    }

    /// A list: in XML as many parts of a name, and in JSON one of all.
    fn list(self, name: &str, items: impl Iterator<Item = Option<String>>) -> Option<String> {
        let items = items.collect::<Option<Vec<_>>>()?;
        Some(match self {
            Self::Xml => items.iter().map(|item| self.part(name, item)).collect(),
            _ => format!("[{}]", items.join(",")),
        })
    }

    fn number(self, value: f64) -> Option<String> {
        // As hosts write it; a number in JSON has quotes or not.
        Some(if self == Self::Json { format!("\"{value:?}\"") } else { format!("{value:?}") })
    }

    fn updates(self, updates: &RrdUpdates) -> Option<String> {
        let legend = updates.series.iter().map(|series| {
            let (cf, kind, uuid) = (series.consolidation.as_str(), &series.kind, &series.uuid);
            self.text(&format!("{cf}:{kind}:{uuid}:{}", series.name))
        });
        let meta = [("step", updates.step.to_string()), ("legend", self.list("entry", legend)?)];
        let row = |at: usize| {
            let values = updates.series.iter().map(|series| self.number(series.values[at]));
            let (time, values) = (updates.times[at].to_string(), self.list("v", values)?);
            Some(match self {
                Self::Xml => self.part("t", &time) + &values,
                _ => self.parts(&[("t", time), ("values", values)]),
            })
        };
        // The latest first, as hosts do.
        let rows = self.list("row", (0..updates.times.len()).rev().map(row))?;
        let all = self.parts(&[("meta", self.parts(&meta)), ("data", rows)]);
        Some(if self == Self::Xml { self.part("xport", &all) } else { all })
    }

    fn database(self, rrd: &Rrd) -> Option<String> {
        let source = |source: &RrdSource| {
            let (name, kind) = (self.text(&source.name)?, self.text(&source.kind)?);
            let (min, max) = (self.number(source.min)?, self.number(source.max)?);
            Some(self.parts(&[("name", name), ("type", kind), ("min", min), ("max", max)]))
        };
        let row = |row: &Vec<f64>| self.list("v", row.iter().map(|value| self.number(*value)));
        let archive = |archive: &RrdArchive| {
            let rows = self.list("row", archive.rows.iter().map(row))?;
            let per_row = (archive.step / rrd.step).to_string();
            let cf = self.text(archive.consolidation.as_str())?;
            Some(self.parts(&[("cf", cf), ("pdp_per_row", per_row), ("database", rows)]))
        };
        let (sources, archives) = (
            self.list("ds", rrd.sources.iter().map(source))?,
            self.list("rra", rrd.archives.iter().map(archive))?,
        );
        let head = [("step", rrd.step.to_string()), ("lastupdate", self.number(rrd.last_update)?)];
        Some(match self {
            Self::Xml => self.part("rrd", &(self.parts(&head) + &sources + &archives)),
            _ => self.parts(&[&head[..], &[("ds", sources), ("rra", archives)]].concat()),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::rrd;

    proptest! {
        #[test]
        fn any_updates(
            json in r#"\{meta:\{step:[0-9]{1,17},legend:\[("[A-Z]{1,3}:[vh\\nt]{0,2}:[ü0]?:[a-c<&\\" ]{0,4}",?){0,2}\]\},data:\[(\{t:-?[0-9]{1,4},values:\[(NaN|-?Infinity|"1\.5"|[0-9]e[0-9])(,0\.1)?\]\},?){0,4}\]\}"#,
            xml in "<xport><meta><step>[0-9]{1,3}</step><legend>(<entry>[A-Z]:vm:u:[a-c &;#1\u{fc}]{0,6}</entry>){0,2}</legend></meta><data>(<row><t>[0-9]{1,3}</t><v>[0-9]\\.[0-9]</v>(<v>NaN</v>)?</row>){0,4}</data></xport>",
        ) {
            rrd(json.replace(",]", "]").as_bytes());
            rrd(xml.as_bytes());
        }

        #[test]
        fn any_database(
            json in r#"\{"step":"?[0-9]{1,2}"?,"lastupdate":"?[0-9.]{1,5}"?,"ds":\[\{"name":"[a-c\\nu0041]{0,6}","type":"GAUGE","min":"-?[0-9]","max":Infinity\}\],"rra":\[(\{"cf":"[MAX ]{0,3}","pdp_per_row":[0-9],"database":\[(\["?[0-9]"?\],?){0,3}\]\},?){0,2}\]\}"#,
        ) {
            rrd(json.replace(",]", "]").as_bytes());
        }

        #[test]
        fn any_text(text in "[<>{}\\[\\]:,\"a-c0-9 /]{0,30}") {
            rrd(text.as_bytes());
        }
    }
}
