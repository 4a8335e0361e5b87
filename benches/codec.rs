//! Decoding `VM.get_all_records` of a large pool, 20 MB as XAPI writes it.
//!
//! The peers are the `xmlrpc` crate and `serde_json`, on the same records in the same run. First the
//! table of ratios, best of a few runs each; then divan's statistics for ours and `serde_json`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

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

fn ratios() {
    let Bodies { records, xml: xml_body, json: json_body } = &*BODIES;
    let megabytes = |body: &str| body.len() as f64 / 1e6;
    println!(
        "{records} VM records: {:.1} MB of XML-RPC, {:.1} MB of JSON-RPC",
        megabytes(xml_body),
        megabytes(json_body)
    );
    let slowest = best(2, xmlrpc_crate);
    println!("{:<44} {:>9} {:>7} {:>9}", "", "ms", "MB/s", "x xmlrpc");
    for (what, body, taken) in [
        ("XML-RPC, xmlrpc crate, its Value", xml_body, slowest),
        ("XML-RPC, ours, Value", xml_body, best(5, xml::<Value>)),
        ("XML-RPC, ours, all fields typed", xml_body, best(5, xml::<Records<VmRecord>>)),
        ("XML-RPC, ours, seven fields typed", xml_body, best(5, xml::<Records<Brief>>)),
        ("JSON-RPC, serde_json, its Value", json_body, best(5, serde_json::<serde_json::Value>)),
        ("JSON-RPC, ours, Value", json_body, best(5, json::<Value>)),
        ("JSON-RPC, serde_json, all fields typed", json_body, best(5, serde_json::<Records<VmRecord>>)),
        ("JSON-RPC, ours, all fields typed", json_body, best(5, json::<Records<VmRecord>>)),
        ("JSON-RPC, serde_json, seven fields typed", json_body, best(5, serde_json::<Records<Brief>>)),
        ("JSON-RPC, ours, seven fields typed", json_body, best(5, json::<Records<Brief>>)),
    ] {
        let seconds = taken.as_secs_f64();
        let (rate, ratio) = (megabytes(body) / seconds, slowest.as_secs_f64() / seconds);
        println!("{what:<44} {:>9.1} {rate:>7.0} {ratio:>9.1}", seconds * 1e3);
    }
}

fn main() {
    // Cargo runs this with --bench; `cargo test` compiles and runs it without, where figures of a
    // debug build would only mislead.
    if std::env::args().any(|arg| arg == "--bench") {
        ratios();
    }
    divan::main();
}
