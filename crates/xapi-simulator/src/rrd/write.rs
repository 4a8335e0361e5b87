//! The documents as `xcp-rrdd` writes them, in XML and in JSON.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use super::source::Owner;
use super::{ARCHIVES, Archive, Consolidation, STEP};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Xml,
    Json,
}

impl Form {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Xml => "text/xml",
            Self::Json => "application/json",
        }
    }
}

/// The rows of one archive from `start` on, the latest first.
pub(super) fn updates(
    owners: &[Owner],
    kept: &[Consolidation],
    archive: Archive,
    start: i64,
    now: i64,
    form: Form,
) -> String {
    let columns = kept.iter().flat_map(|cf| {
        owners.iter().flat_map(move |owner| owner.sources.iter().map(move |source| (*cf, owner, source)))
    });
    let columns: Vec<_> = columns.collect();
    let end = archive.last(now);
    let oldest = (end - archive.step() * (archive.rows - 1)).max(start);
    let times: Vec<i64> =
        (0..archive.rows).map(|row| end - row * archive.step()).take_while(|time| *time >= oldest).collect();
    let legend = columns
        .iter()
        .map(|(cf, owner, source)| format!("{}:{}:{}:{}", cf.name(), owner.kind, owner.uuid, source.name));
    let row = |time: i64| {
        columns.iter().map(move |(cf, owner, source)| owner.value(source, *cf, archive, time)).map(number)
    };
    let (first, rows) = (times.last().copied().unwrap_or(end), times.len());
    match form {
        Form::Xml => {
            let mut out = format!(
                "<?xml version=\"1.0\"?><xport><meta><start>{first}</start><step>{}</step><end>{end}</end>\
                 <rows>{rows}</rows><columns>{}</columns><legend>",
                archive.step(),
                columns.len()
            );
            legend.for_each(|entry| element(&mut out, "entry", &entry));
            out.push_str("</legend></meta><data>");
            for time in times {
                let _ = write!(out, "<row><t>{time}</t>");
                row(time).for_each(|value| element(&mut out, "v", &value));
                out.push_str("</row>");
            }
            out.push_str("</data></xport>");
            out
        }
        Form::Json => {
            let legend = Json::Array(legend.map(Json::String).collect());
            let mut out = format!(
                "{{\"meta\":{{\"start\":{first},\"step\":{},\"end\":{end},\"rows\":{rows},\"columns\":{},\
                 \"legend\":{legend}}},\"data\":[",
                archive.step(),
                columns.len()
            );
            for (i, time) in times.into_iter().enumerate() {
                let comma = if i == 0 { "" } else { "," };
                // What is no number is written as a bare word, which JSON does not know.
                let values = row(time).collect::<Vec<_>>().join(",");
                let _ = write!(out, "{comma}{{\"t\":{time},\"values\":[{values}]}}");
            }
            out.push_str("]}");
            out
        }
    }
}

/// Everything that is kept of one object, the latest rows last.
pub(super) fn whole(owner: &Owner, now: i64, form: Form) -> String {
    match form {
        Form::Xml => whole_xml(owner, now),
        Form::Json => whole_json(owner, now),
    }
}

/// Each resolution with each consolidation that it has.
fn archives() -> impl Iterator<Item = (Archive, Consolidation)> {
    ARCHIVES.into_iter().flat_map(|archive| {
        let kept = Consolidation::ALL.into_iter();
        kept.filter(move |cf| !archive.is_plain || *cf == Consolidation::Average).map(move |cf| (archive, cf))
    })
}

fn rows(
    owner: &Owner,
    archive: Archive,
    cf: Consolidation,
    now: i64,
) -> impl Iterator<Item = Vec<String>> + '_ {
    let times = (0..archive.rows).rev().map(move |row| archive.last(now) - row * archive.step());
    times.map(move |time| owner.sources.iter().map(|s| number(owner.value(s, cf, archive, time))).collect())
}

fn whole_xml(owner: &Owner, now: i64) -> String {
    let mut out = format!(
        "<?xml version=\"1.0\"?><rrd><version>0003</version><step>{STEP}</step><lastupdate>{now}.0</lastupdate>"
    );
    for source in &owner.sources {
        out.push_str("<ds>");
        source_fields(owner, source, now).iter().for_each(|(name, value)| element(&mut out, name, value));
        out.push_str("</ds>");
    }
    for (archive, cf) in archives() {
        let _ = write!(
            out,
            "<rra><cf>{}</cf><pdp_per_row>{}</pdp_per_row><params><xff>0.5000</xff></params><cdp_prep>",
            cf.name(),
            archive.per_row
        );
        for _ in &owner.sources {
            out.push_str("<ds>");
            PREPARED.iter().for_each(|(name, value)| element(&mut out, name, value));
            out.push_str("</ds>");
        }
        out.push_str("</cdp_prep><database>");
        for row in rows(owner, archive, cf, now) {
            out.push_str("<row>");
            row.iter().for_each(|value| element(&mut out, "v", value));
            out.push_str("</row>");
        }
        out.push_str("</database></rra>");
    }
    out.push_str("</rrd>");
    out
}

fn whole_json(owner: &Owner, now: i64) -> String {
    let prepared: Json = PREPARED.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let fields =
        |source| source_fields(owner, source, now).into_iter().map(|(n, v)| (n.to_owned(), json!(v)));
    let sources: Vec<Json> = owner.sources.iter().map(|source| fields(source).collect()).collect();
    let archive = |(archive, cf): (Archive, Consolidation)| {
        json!({
            "cf": cf.name(),
            "pdp_per_row": archive.per_row.to_string(),
            "params": {"xff": "0.5000"},
            "cdp_prep": {"ds": vec![&prepared; owner.sources.len()]},
            "database": rows(owner, archive, cf, now).collect::<Vec<_>>(),
        })
    };
    let rrd = json!({
        "version": "0003", "step": STEP.to_string(), "lastupdate": format!("{now}.0"),
        "ds": sources, "rra": archives().map(archive).collect::<Vec<_>>(),
    });
    rrd.to_string()
}

/// The row that is not complete yet: not simulated.
const PREPARED: [(&str, &str); 4] =
    [("primary_value", "0.0"), ("secondary_value", "0.0"), ("value", "0.0"), ("unknown_datapoints", "0")];

fn source_fields(owner: &Owner, source: &super::source::Source, now: i64) -> Vec<(&'static str, String)> {
    let last = number(owner.value(source, Consolidation::Average, ARCHIVES[0], ARCHIVES[0].last(now)));
    vec![
        ("name", source.name.clone()),
        ("type", source.kind.to_owned()),
        ("minimal_heartbeat", "300.0000".to_owned()),
        ("min", "0.0".to_owned()),
        ("max", number(source.max)),
        ("last_ds", last),
        ("value", "0.0".to_owned()),
        ("unknown_sec", "0".to_owned()),
    ]
}

fn element(out: &mut String, name: &str, text: &str) {
    let _ = write!(out, "<{name}>{}</{name}>", crate::http::page::escape(text));
}

/// A number in the spelling of OCaml.
fn number(value: f64) -> String {
    match value {
        _ if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        value if value == value.trunc() => format!("{value:.1}"),
        value => format!("{value:.4}"),
    }
}
