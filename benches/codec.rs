//! Decoding `VM.get_all_records` of a large pool, 20 MB as XAPI writes it.
//!
//! The peers are Python's `xmlrpc.client` (left out, with a word, where there is no Python), the
//! `xmlrpc` crate and `serde_json`, on the same records in the same run. First the table of ratios, best of a
//! few runs each; then the memory of a process that does nothing but decode; then divan's statistics
//! for ours and `serde_json`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Read;
use std::marker::PhantomData;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use benches::process::{Part, forget_peak, memory, peak};
use benches::target;
use divan::counter::BytesCount;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use testdata::scenario;
use xenapi_types::{Ref, Vm, VmRecord};
use xenapi_wire::{Limits, Value, jsonrpc, xmlrpc as ours};

type Records<R> = BTreeMap<Ref<Vm>, R>;

/// What a client that lists machines would ask for.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only read from the wire")]
struct Brief {
    uuid: String,
    name_label: String,
    power_state: String,
    memory_static_max: i64,
    #[serde(rename = "VCPUs_max")]
    vcpus_max: i64,
    #[serde(rename = "VBDs")]
    vbds: Vec<Ref<Vm>>,
    other_config: BTreeMap<String, String>,
}

struct Bodies {
    records: usize,
    xml: String,
    json: String,
}

static BODIES: LazyLock<Bodies> = LazyLock::new(|| {
    let step = scenario("records_main")
        .steps
        .into_iter()
        .find(|step| step.transport == "xmlrpc" && step.method_name.as_deref() == Some("VM.get_all_records"))
        .expect("the recording has the records of all VMs");
    let recorded: Records<VmRecord> = ours::decode_response(&step.response.body(), &Limits::RESPONSE)
        .expect("a recorded answer decodes")
        .expect("a recorded success");
    let size = |records: &Records<VmRecord>| ours::encode_response(Ok(records)).map_or(0, |text| text.len());
    let needed = 20_000_000 * recorded.len() / size(&recorded);
    let records: Records<VmRecord> = (0..needed as u128)
        .map(|number| Ref::from_uuid_bits(number << 64 | 0x4000_8000_0000_0000_0000))
        .zip(recorded.into_values().collect::<Vec<_>>().into_iter().cycle())
        .collect();
    Bodies {
        records: records.len(),
        xml: ours::encode_response(Ok(&records)).expect("records can be encoded"),
        json: jsonrpc::encode_response(jsonrpc::Version::V2, &1.into(), Ok(&records))
            .expect("records can be encoded"),
    }
});

fn xml<T: DeserializeOwned>() -> T {
    ours::decode_response(BODIES.xml.as_bytes(), &Limits::RESPONSE).expect("decodes").expect("a result")
}

fn json<T: DeserializeOwned>() -> T {
    let answer = jsonrpc::decode_response(BODIES.json.as_bytes(), &Limits::RESPONSE).expect("decodes");
    answer.result.expect("a result")
}

#[derive(Deserialize)]
struct Envelope<T> {
    result: T,
}

fn serde_json<T: DeserializeOwned>() -> T {
    serde_json::from_slice::<Envelope<T>>(BODIES.json.as_bytes()).expect("decodes").result
}

struct Canned;

impl xmlrpc::Transport for Canned {
    type Stream = &'static [u8];

    fn transmit(
        self,
        _: &xmlrpc::Request<'_>,
    ) -> Result<Self::Stream, Box<dyn std::error::Error + Send + Sync>> {
        Ok(BODIES.xml.as_bytes())
    }
}

fn xmlrpc_crate() -> xmlrpc::Value {
    xmlrpc::Request::new("VM.get_all_records").call(Canned).expect("decodes")
}

fn bench<T>(bencher: divan::Bencher<'_, '_>, body: &str, decode: fn() -> T) {
    bencher.counter(BytesCount::of_str(body)).bench(decode);
}

#[divan::bench_group(sample_count = 10, sample_size = 1)]
mod xml_rpc {
    use super::*;

    #[divan::bench]
    fn ours_typed(bencher: divan::Bencher<'_, '_>) {
        bench(bencher, &BODIES.xml, xml::<Records<VmRecord>>);
    }

    #[divan::bench]
    fn ours_seven_fields(bencher: divan::Bencher<'_, '_>) {
        bench(bencher, &BODIES.xml, xml::<Records<Brief>>);
    }

    #[divan::bench]
    fn ours_value(bencher: divan::Bencher<'_, '_>) {
        bench(bencher, &BODIES.xml, xml::<Value>);
    }

    #[divan::bench]
    fn ours_skipped(bencher: divan::Bencher<'_, '_>) {
        bench(bencher, &BODIES.xml, xml::<IgnoredAny>);
    }
}

#[divan::bench_group(sample_count = 10, sample_size = 1)]
mod json_rpc {
    use super::*;

    #[divan::bench]
    fn ours_typed(bencher: divan::Bencher<'_, '_>) {
        bench(bencher, &BODIES.json, json::<Records<VmRecord>>);
    }

    #[divan::bench]
    fn serde_json_typed(bencher: divan::Bencher<'_, '_>) {
        bench(bencher, &BODIES.json, serde_json::<Records<VmRecord>>);
    }

    #[divan::bench]
    fn ours_seven_fields(bencher: divan::Bencher<'_, '_>) {
        bench(bencher, &BODIES.json, json::<Records<Brief>>);
    }

    #[divan::bench]
    fn serde_json_seven_fields(bencher: divan::Bencher<'_, '_>) {
        bench(bencher, &BODIES.json, serde_json::<Records<Brief>>);
    }

    #[divan::bench]
    fn ours_value(bencher: divan::Bencher<'_, '_>) {
        bench(bencher, &BODIES.json, json::<Value>);
    }

    #[divan::bench]
    fn serde_json_value(bencher: divan::Bencher<'_, '_>) {
        bench(bencher, &BODIES.json, serde_json::<serde_json::Value>);
    }
}

/// The best of a few runs: what disturbs a run only ever makes it slower.
fn best<T>(runs: u32, decode: fn() -> T) -> Duration {
    let run = || {
        let start = Instant::now();
        let value = black_box(decode());
        let taken = start.elapsed();
        drop(value);
        taken
    };
    (0..runs).map(|_| run()).min().unwrap_or_default()
}

/// Python's time for the same, or `None` where there is no Python.
fn python(body: &Path, decode: &str) -> Option<Duration> {
    let program = format!(
        "import json, sys, time, xmlrpc.client\n\
         body = open(sys.argv[1], 'rb').read()\n\
         def run():\n    \
             start = time.perf_counter()\n    \
             {decode}\n    \
             return time.perf_counter() - start\n\
         print(min(run() for _ in range(2)))"
    );
    let output = Command::new("python3").arg("-c").arg(program).arg(body).output().ok()?;
    let seconds = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
    if seconds.is_none() {
        println!("python3 failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    seconds.map(Duration::from_secs_f64)
}

/// A body in pieces, as the client holds it.
fn pieces(mut body: impl Read) -> Vec<Vec<u8>> {
    let mut next = || {
        let mut piece = Vec::new();
        body.by_ref().take(256 << 10).read_to_end(&mut piece).expect("the body can be read");
        piece
    };
    std::iter::from_fn(|| Some(next()).filter(|piece| !piece.is_empty())).collect()
}

fn in_pieces<T: DeserializeOwned>(pieces: Vec<Vec<u8>>) -> T {
    ours::decode_pieces_with(PhantomData::<T>, pieces, &Limits::RESPONSE).expect("decodes").expect("a result")
}

/// Cutting the body is no part of it: it comes in pieces.
fn best_in_pieces<T: DeserializeOwned>(runs: u32) -> Duration {
    let run = |_| {
        let pieces = pieces(BODIES.xml.as_bytes());
        let start = Instant::now();
        let value = black_box(in_pieces::<T>(pieces));
        let taken = start.elapsed();
        drop(value);
        taken
    };
    (0..runs).map(run).min().unwrap_or_default()
}

/// In a process of its own: how much the records take, and how much decoding them took, body included.
fn decode_once(form: &str, path: &str) {
    let before = memory();
    let file = std::fs::File::open(path).expect("the body is there");
    let pieces = pieces(file);
    forget_peak();
    let records: Records<VmRecord> = match form {
        "xml" => in_pieces(pieces),
        _ => {
            let body = pieces.concat();
            drop(pieces);
            jsonrpc::decode_response(&body, &Limits::RESPONSE).expect("decodes").result.expect("a result")
        }
    };
    let peak = peak() - before;
    println!("{} {peak}", memory() - before);
    drop(records);
}

fn memory_of(form: &str, path: &Path) {
    let path = path.to_str().expect("a temporary path");
    let (_part, said) = Part::start(&["--decode-once", form, path]).expect("this program runs again");
    let numbers: Vec<f64> = said.split(' ').filter_map(|number| number.parse().ok()).collect();
    let [typed, peak] = numbers[..] else { panic!("two numbers and not {said:?}") };
    println!(
        "{form}: {:.1} MB of typed records; {:.1} MB at the peak, body included",
        typed / 1e6,
        peak / 1e6
    );
    target::at_most(&format!("{form}, memory at the peak to the typed records"), peak / typed, 2.0);
}

/// Before anything is timed.
fn all_read_the_same(records: usize) {
    let typed = xml::<Records<VmRecord>>();
    assert_eq!(typed.len(), records);
    assert!(typed == json() && typed == serde_json(), "an encoding tells of other records");
    assert!(typed == in_pieces(pieces(BODIES.xml.as_bytes())), "pieces tell of other records");
    let xmlrpc::Value::Struct(answer) = xmlrpc_crate() else { panic!("no answer of XAPI") };
    let Some(xmlrpc::Value::Struct(theirs)) = answer.get("Value") else { panic!("no records") };
    assert_eq!(theirs.len(), records, "the xmlrpc crate has other records");
    for (reference, record) in typed {
        let Some(xmlrpc::Value::Struct(theirs)) = theirs.get(&reference.to_string()) else {
            panic!("no {reference}")
        };
        let name = theirs.get("name_label").and_then(xmlrpc::Value::as_str);
        assert_eq!(name, Some(&*record.name_label), "the xmlrpc crate has another name");
    }
}

/// What is to be decoded at least as fast, in megabytes a second.
const TARGETS: [(&str, f64); 3] = [
    ("XML-RPC, ours, all fields typed", 400.0),
    ("XML-RPC, ours, in pieces, all fields typed", 400.0),
    ("JSON-RPC, ours, all fields typed", 600.0),
];

fn ratios() {
    let Bodies { records, xml: xml_body, json: json_body } = &*BODIES;
    let megabytes = |body: &str| body.len() as f64 / 1e6;
    println!(
        "{records} VM records: {:.1} MB of XML-RPC, {:.1} MB of JSON-RPC",
        megabytes(xml_body),
        megabytes(json_body)
    );
    all_read_the_same(*records);
    let folder = tempfile::tempdir().expect("a directory");
    let (xml_path, json_path) = (folder.path().join("xml"), folder.path().join("json"));
    std::fs::write(&xml_path, xml_body).expect("room for the bodies");
    std::fs::write(&json_path, json_body).expect("room for the bodies");
    let slowest = best(2, xmlrpc_crate);
    let python_xml = python(&xml_path, "xmlrpc.client.loads(body)");
    println!("{:<44} {:>9} {:>7} {:>9} {:>9}", "", "ms", "MB/s", "x xmlrpc", "x Python");
    let peers = [
        ("XML-RPC, Python's xmlrpc.client", xml_body, python_xml),
        ("JSON-RPC, Python's json", json_body, python(&json_path, "json.loads(body)")),
        ("XML-RPC, xmlrpc crate, its Value", xml_body, Some(slowest)),
    ];
    if python_xml.is_none() {
        println!("there is no python3 here: left out");
    }
    let ours = [
        ("XML-RPC, ours, Value", xml_body, best(5, xml::<Value>)),
        ("XML-RPC, ours, all fields typed", xml_body, best(5, xml::<Records<VmRecord>>)),
        ("XML-RPC, ours, in pieces, all fields typed", xml_body, best_in_pieces::<Records<VmRecord>>(5)),
        ("XML-RPC, ours, seven fields typed", xml_body, best(5, xml::<Records<Brief>>)),
        ("JSON-RPC, serde_json, its Value", json_body, best(5, serde_json::<serde_json::Value>)),
        ("JSON-RPC, ours, Value", json_body, best(5, json::<Value>)),
        ("JSON-RPC, serde_json, all fields typed", json_body, best(5, serde_json::<Records<VmRecord>>)),
        ("JSON-RPC, ours, all fields typed", json_body, best(5, json::<Records<VmRecord>>)),
        ("JSON-RPC, serde_json, seven fields typed", json_body, best(5, serde_json::<Records<Brief>>)),
        ("JSON-RPC, ours, seven fields typed", json_body, best(5, json::<Records<Brief>>)),
    ];
    let peers = peers.into_iter().filter_map(|(what, body, taken)| Some((what, body, taken?)));
    let rate = |body: &str, taken: Duration| megabytes(body) / taken.as_secs_f64();
    let times = |peer: Duration, taken: Duration| peer.as_secs_f64() / taken.as_secs_f64();
    for (what, body, taken) in peers.chain(ours) {
        let (ms, rate, ratio) = (taken.as_secs_f64() * 1e3, rate(body, taken), times(slowest, taken));
        let to_python = python_xml.map_or(0.0, |python| times(python, taken));
        println!("{what:<44} {ms:>9.1} {rate:>7.0} {ratio:>9.1} {to_python:>9.1}");
    }
    for (what, body, taken) in ours {
        let Some((_, least)) = TARGETS.into_iter().find(|(name, _)| *name == what) else { continue };
        target::at_least(&format!("{what}, MB/s"), rate(body, taken), least);
        target::at_least(&format!("{what}, to the xmlrpc crate"), times(slowest, taken), 20.0);
        if let Some(python) = python_xml {
            target::at_least(&format!("{what}, to xmlrpc.client"), times(python, taken), 20.0);
        }
    }
    memory_of("xml", &xml_path);
    memory_of("json", &json_path);
}

fn main() {
    // Cargo runs this with --bench; `cargo test` compiles and runs it without, where figures of a
    // debug build would only mislead.
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [first, form, path] = &args[..]
        && first == "--decode-once"
    {
        return decode_once(form, path);
    }
    // Who names a benchmark wants only that.
    let named = args.iter().any(|arg| !arg.starts_with('-'));
    if !named && args.iter().any(|arg| arg == "--bench") {
        ratios();
    }
    divan::main();
}
