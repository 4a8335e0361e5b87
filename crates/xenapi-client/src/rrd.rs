//! What hosts measure: round-robin databases (RRDs) of hosts, VMs and SRs.
//!
//! The documents come in two forms with the same content, XML and a JSON in which `NaN` and `Infinity` are bare words;
//! old hosts leave out the quotes of its keys, too. [`RrdUpdates`] and [`Rrd`] read both, whatever their origin.

mod json;
mod tree;
mod xml;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use xenapi_types::handler::{HostRrd, RrdUpdates as Updates, SrRrd, VmRrd};
use xenapi_types::{Host, Sr, Vm, host, sr, vm};
use xenapi_wire::Ref;

use self::tree::Tree;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::event::name;

/// The longest document that is read, in bytes: that of a host with a thousand VMs has some tens of megabytes.
const MAX_BYTES: usize = 256 << 20;
/// The values that one may have, with what holds them: a thousand VMs have six million in two hours.
const MAX_VALUES: u32 = 8 << 20;

/// How measurements become one value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Consolidation {
    /// Their mean.
    Average,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// The last one.
    Last,
    /// Something that this version does not know.
    Other(String),
}

impl Consolidation {
    fn parse(text: &str) -> Self {
        match text {
            "AVERAGE" => Self::Average,
            "MIN" => Self::Min,
            "MAX" => Self::Max,
            "LAST" => Self::Last,
            other => Self::Other(other.to_owned()),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Average => "AVERAGE",
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::Last => "LAST",
            Self::Other(other) => other,
        }
    }
}

/// What is wanted of the latest measurements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RrdQuery {
    /// From when on. Hosts keep 5-second values for 10 minutes, those of a minute for 2 hours, of an hour for a week, of
    /// a day for a year.
    pub since: SystemTime,
    /// The time between values, at least. One of those.
    pub interval: Option<Duration>,
    /// One way of consolidation instead of all.
    pub consolidation: Option<Consolidation>,
    /// The host's own, too.
    pub with_host: bool,
    /// Of one VM only, by uuid.
    pub vm_uuid: Option<String>,
    /// Of this SR, too, by uuid.
    pub sr_uuid: Option<String>,
}

impl RrdQuery {
    /// The averages of everything on the host since then.
    pub fn since(since: SystemTime) -> Self {
        let consolidation = Some(Consolidation::Average);
        Self { since, interval: None, consolidation, with_host: true, vm_uuid: None, sr_uuid: None }
    }
}

/// The latest measurements on a host.
#[derive(Debug, Clone, PartialEq)]
pub struct RrdUpdates {
    /// Seconds between values.
    pub step: u64,
    /// When each value was complete, in seconds since 1970, the earliest first.
    pub times: Vec<i64>,
    /// What was measured.
    pub series: Vec<RrdSeries>,
}

/// One thing that was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct RrdSeries {
    /// How the values were consolidated.
    pub consolidation: Consolidation,
    /// What it was measured of: `vm`, `host`, `sr`.
    pub kind: String,
    /// The uuid of that.
    pub uuid: String,
    /// The data source, `cpu0`.
    pub name: String,
    /// A value for each of the times; not a number where there was none.
    pub values: Vec<f64>,
}

/// Everything that is kept of one object.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Rrd {
    /// Seconds between measurements.
    pub step: u64,
    /// When the last one was made, in seconds since 1970.
    pub last_update: f64,
    /// What is measured.
    pub sources: Vec<RrdSource>,
    /// The resolutions.
    pub archives: Vec<RrdArchive>,
}

/// A data source.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RrdSource {
    /// Its name, `cpu0`.
    pub name: String,
    /// `GAUGE`, `DERIVE` or `ABSOLUTE`.
    pub kind: String,
    /// The smallest value that is taken for one.
    pub min: f64,
    /// The largest one, perhaps infinite.
    pub max: f64,
}

/// A resolution of an [`Rrd`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RrdArchive {
    /// How the values were consolidated.
    pub consolidation: Consolidation,
    /// Seconds between rows.
    pub step: u64,
    /// When the last row was complete, in seconds since 1970.
    pub end: i64,
    /// A value for each source in each row, the earliest first; not a number where there was none.
    pub rows: Vec<Vec<f64>>,
}

impl Client {
    /// What a host has measured lately of itself and of the VMs on it.
    ///
    /// # Errors
    /// `Protocol` when what comes cannot be read; else as [`Client::call`].
    pub async fn rrd_updates(&self, host: &Ref<Host>, query: &RrdQuery) -> Result<RrdUpdates> {
        let since = query.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let request = Updates {
            start: Some(i64::try_from(since).unwrap_or(i64::MAX)),
            cf: query.consolidation.as_ref().map(|cf| cf.as_str().to_owned()),
            interval: query.interval.map(|interval| i64::try_from(interval.as_secs()).unwrap_or(i64::MAX)),
            host: query.with_host,
            vm_uuid: query.vm_uuid.clone(),
            sr_uuid: query.sr_uuid.clone(),
            json: true,
        };
        let subject = format!("measurements on {}", name(host));
        let reading = async {
            let endpoint = self.endpoint_of(host).await?;
            let body = self.fetch(request, endpoint.clone(), MAX_BYTES).await?;
            RrdUpdates::parse(&body).map_err(|error| error.at(&endpoint))
        };
        reading.await.map_err(|error| error.renamed(subject))
    }

    /// Everything that is kept of a running VM's measurements.
    ///
    /// # Errors
    /// `NotFound` when there is nothing, as of a VM that has not run for long; else as [`Client::rrd_updates`].
    pub async fn vm_rrd(&self, vm: &Ref<Vm>) -> Result<Rrd> {
        let subject = format!("measurements of {}", name(vm));
        let reading = async {
            let uuid = self.get_field(vm, vm::field::UUID).await?;
            let host = self.get_field(vm, vm::field::RESIDENT_ON).await?;
            let endpoint = match host.is_null() {
                true => self.session().await?.endpoint.clone(),
                false => self.endpoint_of(&host).await?,
            };
            let body =
                self.fetch(VmRrd { uuid: Some(uuid), json: true }, endpoint.clone(), MAX_BYTES).await?;
            Rrd::parse(&body).map_err(|error| error.at(&endpoint))
        };
        reading.await.map_err(|error| error.renamed(subject))
    }

    /// Everything that is kept of a host's measurements.
    ///
    /// # Errors
    /// As [`Client::rrd_updates`].
    pub async fn host_rrd(&self, host: &Ref<Host>) -> Result<Rrd> {
        let subject = format!("measurements of {}", name(host));
        let reading = async {
            // That there is such a host, before one speaks to it.
            self.get_field(host, host::field::UUID).await?;
            let endpoint = self.endpoint_of(host).await?;
            let body = self.fetch(HostRrd { json: true }, endpoint.clone(), MAX_BYTES).await?;
            Rrd::parse(&body).map_err(|error| error.at(&endpoint))
        };
        reading.await.map_err(|error| error.renamed(subject))
    }

    /// Everything that is kept of an SR's measurements, of a host that it is plugged into.
    ///
    /// # Errors
    /// `NotFound` when nothing is measured of it, as of most types; else as [`Client::rrd_updates`].
    pub async fn sr_rrd(&self, sr: &Ref<Sr>) -> Result<Rrd> {
        let subject = format!("measurements of {}", name(sr));
        let reading = async {
            let uuid = self.get_field(sr, sr::field::UUID).await?;
            let endpoint = self.route_to_sr(sr).await?.endpoint().clone();
            let request = SrRrd { uuid: Some(uuid), json: true };
            let body = self.fetch(request, endpoint.clone(), MAX_BYTES).await?;
            Rrd::parse(&body).map_err(|error| error.at(&endpoint))
        };
        reading.await.map_err(|error| error.renamed(subject))
    }
}

impl RrdUpdates {
    /// Reads what `/rrd_updates` gives, in either form.
    ///
    /// # Errors
    /// `Protocol`, with what is wrong.
    pub fn parse(document: &[u8]) -> Result<Self> {
        let root = read(document, "xport")?;
        let meta = root.get("meta")?;
        let legend = meta.get("legend")?.items("entry")?;
        let mut series =
            legend.iter().map(|entry| RrdSeries::of(entry.text()?)).collect::<Result<Vec<_>>>()?;
        let mut times = Vec::new();
        for row in root.get("data")?.items("row")? {
            times.push(row.get("t")?.integer()?);
            // The rows of the XML hold their values without anything around.
            let values = match row.find("values") {
                Some(values) => values.items("v")?,
                None => row.items("v")?,
            };
            if values.len() != series.len() {
                return Err(malformed(&format!(
                    "a row of {} values for {} series",
                    values.len(),
                    series.len()
                )));
            }
            for (series, value) in series.iter_mut().zip(values) {
                series.values.push(value.number()?);
            }
        }
        // The latest comes first.
        times.reverse();
        series.iter_mut().for_each(|series| series.values.reverse());
        if !times.is_sorted() {
            sort_by_time(&mut times, &mut series);
        }
        Ok(Self { step: meta.get("step")?.integer()?.unsigned_abs(), times, series })
    }
}

/// What no host writes: rows in another order. Those of one time stay as they are to each other.
fn sort_by_time(times: &mut Vec<i64>, series: &mut [RrdSeries]) {
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by_key(|&at| times[at]);
    *times = order.iter().map(|&at| times[at]).collect();
    for series in series {
        series.values = order.iter().map(|&at| series.values[at]).collect();
    }
}

impl RrdSeries {
    /// Of an entry of the legend: `AVERAGE:vm:<uuid>:cpu0`.
    fn of(entry: &str) -> Result<Self> {
        let mut parts = entry.splitn(4, ':');
        let mut next = || parts.next().map(str::to_owned);
        let (Some(cf), Some(kind), Some(uuid), Some(name)) = (next(), next(), next(), next()) else {
            return Err(malformed(&format!("the legend's entry {entry:?}")));
        };
        Ok(Self { consolidation: Consolidation::parse(&cf), kind, uuid, name, values: Vec::new() })
    }
}

impl Rrd {
    /// Reads what `/vm_rrd`, `/host_rrd` and `/sr_rrd` give, in either form.
    ///
    /// # Errors
    /// `Protocol`, with what is wrong.
    pub fn parse(document: &[u8]) -> Result<Self> {
        let root = read(document, "rrd")?;
        let step = root.get("step")?.integer()?.unsigned_abs();
        let last_update = root.get("lastupdate")?.number()?;
        let sources = root.items("ds")?.into_iter().map(RrdSource::of).collect::<Result<Vec<_>>>()?;
        let archive = |rra: &Tree<'_>| RrdArchive::of(rra, step, last_update, sources.len());
        let archives = root.items("rra")?.into_iter().map(archive).collect::<Result<Vec<_>>>()?;
        Ok(Self { step, last_update, sources, archives })
    }

    /// The latest value of a source.
    pub fn latest(&self, source: &str) -> Option<f64> {
        let column = self.sources.iter().position(|candidate| candidate.name == source)?;
        let finest = self.archives.iter().min_by_key(|archive| archive.step)?;
        finest.rows.last()?.get(column).copied()
    }
}

impl RrdSource {
    fn of(tree: &Tree<'_>) -> Result<Self> {
        Ok(Self {
            name: tree.get("name")?.text()?.to_owned(),
            kind: tree.get("type")?.text()?.to_owned(),
            min: tree.get("min")?.number()?,
            max: tree.get("max")?.number()?,
        })
    }
}

impl RrdArchive {
    fn of(tree: &Tree<'_>, step: u64, last_update: f64, columns: usize) -> Result<Self> {
        let per_row = tree.get("pdp_per_row")?.integer()?.unsigned_abs();
        let step = step.checked_mul(per_row).filter(|step| *step > 0);
        let step = step.ok_or_else(|| malformed(&format!("rows of {per_row} measurements")))?;
        let mut rows = Vec::new();
        for row in tree.get("database")?.items("row")? {
            let values = row.items("v")?.into_iter().map(Tree::number).collect::<Result<Vec<_>>>()?;
            if values.len() != columns {
                return Err(malformed(&format!("a row of {} values for {columns} sources", values.len())));
            }
            rows.push(values);
        }
        let end = last_update - last_update.rem_euclid(step as f64);
        let consolidation = Consolidation::parse(tree.get("cf")?.text()?);
        Ok(Self { consolidation, step, end: end as i64, rows })
    }
}

/// Reads a document of either form; `root` is the name of the XML's outermost element.
fn read<'d>(document: &'d [u8], root: &str) -> Result<Tree<'d>> {
    let text = std::str::from_utf8(document).map_err(|_| malformed("it is not UTF-8"))?;
    match text.trim_start().starts_with('<') {
        true => xml::parse(text, root, MAX_VALUES),
        false => json::parse(text, MAX_VALUES),
    }
}

fn too_many(max_values: u32) -> Error {
    malformed(&format!("it has more than {max_values} values"))
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("the measurements cannot be read: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEGEND: &str = "AVERAGE:vm:ecd8d7a0-1be3-4d91-bd0e-4888c0e30ab3:cpu1";

    fn updates() -> RrdUpdates {
        let series = RrdSeries {
            consolidation: Consolidation::Average,
            kind: "vm".to_owned(),
            uuid: "ecd8d7a0-1be3-4d91-bd0e-4888c0e30ab3".to_owned(),
            name: "cpu1".to_owned(),
            values: vec![0.25, f64::INFINITY],
        };
        RrdUpdates { step: 60, times: vec![1_213_617_840, 1_213_617_900], series: vec![series] }
    }

    #[test]
    fn updates_in_every_form() {
        let xml = format!(
            "<xport>\n<meta><start>1213617840</start><step>60</step><end>1213617900</end><rows>2</rows>\
             <columns>1</columns><legend><entry>{LEGEND}</entry></legend></meta><data>\
             <row><t>1213617900</t><v>Infinity</v></row><row><t>1213617840</t><v>0.25</v></row></data></xport>"
        );
        let json = format!(
            "{{\"meta\": {{\"start\":1213617840, \"step\":60,\"end\":1213617900,\"rows\":2,\"columns\":1,\
             \"legend\":[\"{LEGEND}\"]}},\n\"data\":[{{\"t\":1213617900,\"values\":[Infinity]}},\
             {{\"t\":1213617840,\"values\":[\"0.25\"]}}]}}"
        );
        let old = format!(
            "{{meta:{{start:1213617840,step:60,end:1213617900,rows:2,columns:1,legend:[\"{LEGEND}\"]}},\
             data:[{{t:1213617900,values:[Infinity]}},{{t:1213617840,values:[2.5e-1]}}]}}"
        );
        for document in [xml, json, old] {
            assert_eq!(RrdUpdates::parse(document.as_bytes()).unwrap(), updates(), "{document}");
        }
        let nothing = "<xport><meta><step>5</step><legend/></meta><data/></xport>";
        assert_eq!(RrdUpdates::parse(nothing.as_bytes()).unwrap().series, []);
    }

    #[test]
    fn rows_in_any_order_come_out_by_time() {
        let cases: [(&str, &[(i64, f64)]); 4] = [
            ("3 30 2 20 1 10", &[(1, 10.0), (2, 20.0), (3, 30.0)]),
            ("1 10 2 20 3 30", &[(1, 10.0), (2, 20.0), (3, 30.0)]),
            ("2 20 3 30 1 10", &[(1, 10.0), (2, 20.0), (3, 30.0)]),
            ("5 2 5 1", &[(5, 1.0), (5, 2.0)]),
        ];
        for (rows, expected) in cases {
            let rows: Vec<&str> = rows.split(' ').collect();
            let rows: Vec<String> =
                rows.chunks(2).map(|row| format!("{{t:{},values:[{}]}}", row[0], row[1])).collect();
            let document = format!("{{meta:{{step:1,legend:[{LEGEND:?}]}},data:[{}]}}", rows.join(","));
            let updates = RrdUpdates::parse(document.as_bytes()).unwrap();
            let values = updates.series[0].values.iter().copied();
            assert_eq!(updates.times.iter().copied().zip(values).collect::<Vec<_>>(), expected, "{document}");
        }
    }

    #[test]
    fn databases_in_both_forms() {
        let ds = "<ds><name>memory</name><type>GAUGE</type><min>0.0</min><max>Infinity</max></ds>";
        let xml = format!(
            "<rrd><version>0003</version><step>5</step><lastupdate>1213617903.5</lastupdate>{ds}\
             <rra><cf>MAX</cf><pdp_per_row>12</pdp_per_row><database><row><v>NaN</v></row><row><v>1024.0</v></row>\
             </database></rra></rrd>"
        );
        let json = "{\"version\":\"0003\",\"step\":\"5\",\"lastupdate\":\"1213617903.5\",\"ds\":[{\"name\":\
                    \"memory\",\"type\":\"GAUGE\",\"min\":\"0.0\",\"max\":\"Infinity\"}],\"rra\":[{\"cf\":\"MAX\",\
                    \"pdp_per_row\":\"12\",\"database\":[[\"NaN\"],[\"1024.0\"]]}]}";
        for document in [xml.as_str(), json] {
            let rrd = Rrd::parse(document.as_bytes()).unwrap();
            assert_eq!((rrd.step, rrd.latest("memory"), rrd.latest("cpu0")), (5, Some(1024.0), None));
            assert!(rrd.sources[0].max.is_infinite());
            let [archive] = &rrd.archives[..] else { panic!("{rrd:?}") };
            assert_eq!((archive.step, archive.end), (60, 1_213_617_900));
            assert_eq!(archive.consolidation, Consolidation::Max);
            assert!(archive.rows[0][0].is_nan());
        }
    }

    /// A few bytes are one value more, which takes many more: their number counts, not their bytes.
    #[test]
    fn values_without_end_are_not_kept() {
        let many = |max: u32| {
            let count = max as usize;
            let xml = format!("<xport>{}</xport>", "<v/>".repeat(count));
            [
                xml,
                format!("[{}]", "1,".repeat(count)).replace(",]", "]"),
                format!("[{}[]]", "[],".repeat(count)),
            ]
        };
        for document in many(100) {
            for (max_values, is_read) in [(100, false), (110, true)] {
                let read = match document.starts_with('<') {
                    true => xml::parse(&document, "xport", max_values),
                    false => json::parse(&document, max_values),
                };
                assert_eq!(read.is_ok(), is_read, "{document}");
                assert!(is_read || read.unwrap_err().to_string().contains("more than 100 values"));
            }
        }
        let [xml, ..] = many(MAX_VALUES);
        assert!(
            RrdUpdates::parse(xml.as_bytes()).unwrap_err().to_string().contains("more than 8388608 values")
        );
    }

    #[test]
    fn what_is_none_is_an_error() {
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        let elements = format!("<xport>{}{}</xport>", "<a>".repeat(500), "</a>".repeat(500));
        let cases = [
            ("", "a value"),
            ("<html><body/></html>", "<html>"),
            ("<xport><meta>", "root node"),
            ("<xport/>", "no meta"),
            ("{\"meta\":", "a value"),
            ("{\"meta\":{}}x", "its end"),
            ("{\"meta\":{\"step\":5,\"legend\":[\"cpu0\"]},\"data\":[]}", "legend"),
            ("{meta:{step:5,legend:[]},data:[{t:1,values:[1]}]}", "a row of 1 values"),
            ("{meta:{step:x,legend:[]},data:[]}", "a number"),
            ("{meta:{step:NaN,legend:[]},data:[]}", "whole number"),
            ("{\"meta", "an end"),
            ("{\"\\u12\":1}", "four digits"),
            (&deep, "less nesting"),
            (&elements, "nested"),
        ];
        for (document, text) in cases {
            let error = RrdUpdates::parse(document.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(error.to_string().contains(text), "{error}, not {text}");
        }
        assert!(
            Rrd::parse(
                b"<rrd><step>5</step><lastupdate>1</lastupdate><rra><cf>MAX</cf>\
            <pdp_per_row>0</pdp_per_row><database/></rra></rrd>"
            )
            .is_err()
        );
        assert!(Rrd::parse(&[0xff, 0xfe]).is_err());
    }
}
