//! What the simulated pool costs: calls, changes in memory and on disk, and the records of a large pool.

use std::path::Path;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use xapi_simulator::{Simulator, World};
use xenapi_wire::{Failure, Value};

fn main() {
    divan::main();
}

/// A pool with so many virtual machines, and a client on a connection inside the process.
struct Pool {
    runtime: Runtime,
    simulator: Simulator,
    stream: tokio::io::BufStream<Box<dyn Both>>,
    session: String,
    vms: Vec<String>,
}

trait Both: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Both for T {}

impl Pool {
    fn new(vms: usize, state: Option<&Path>) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let mut builder = Simulator::builder().world(World::demo());
        if let Some(state) = state {
            builder = builder.state_dir(state);
        }
        let simulator = runtime.block_on(builder.build()).expect("a pool");
        let vms = simulator.core().db().write(|tx| {
            let made = (0..vms).map(|i| {
                let name = Value::from(format!("vm {i}"));
                tx.create("VM", [("name_label", name), ("power_state", "Halted".into())])
            });
            Ok::<_, Failure>(made.collect())
        });
        let stream: Box<dyn Both> = Box::new(runtime.block_on(async { simulator.connect() }));
        let stream = tokio::io::BufStream::new(stream);
        let mut pool =
            Self { runtime, simulator, stream, session: String::new(), vms: vms.expect("virtual machines") };
        let answer = pool.call("session.login_with_password", &json!(["root", "xapi-test"]));
        let answer: Json = serde_json::from_slice(&answer).expect("JSON");
        answer["result"].as_str().expect("a session").clone_into(&mut pool.session);
        pool
    }

    fn call(&mut self, method: &str, params: &Json) -> Vec<u8> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let request = format!("POST /jsonrpc HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let stream = &mut self.stream;
        self.runtime.block_on(async {
            stream.write_all(request.as_bytes()).await.expect("sent");
            stream.flush().await.expect("sent");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("an answer"));
            }
            let head = String::from_utf8(head).expect("text");
            let length = head.split("content-length: ").nth(1).expect("a length");
            let length = length.split("\r\n").next().expect("a line").parse().expect("a number");
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.expect("a body");
            body
        })
    }
}

#[divan::bench]
fn one_getter(bencher: Bencher<'_, '_>) {
    let mut pool = Pool::new(10, None);
    let params = json!([pool.session, pool.vms[0]]);
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| pool.call("VM.get_name_label", &params));
}

#[divan::bench]
fn one_record(bencher: Bencher<'_, '_>) {
    let mut pool = Pool::new(10, None);
    let params = json!([pool.session, pool.vms[0]]);
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| pool.call("VM.get_record", &params));
}

#[divan::bench(sample_count = 10)]
fn records_of_2000_vms(bencher: Bencher<'_, '_>) {
    let mut pool = Pool::new(2000, None);
    let params = json!([pool.session]);
    let len = pool.call("VM.get_all_records", &params).len();
    bencher.counter(BytesCount::new(len)).bench_local(|| pool.call("VM.get_all_records", &params));
}

#[divan::bench(args = [false, true])]
fn one_setter(bencher: Bencher<'_, '_>, on_disk: bool) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut pool = Pool::new(2000, on_disk.then(|| directory.path()));
    let mut n = 0;
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        n += 1;
        let params = json!([pool.session, pool.vms[n % 2000], format!("renamed {n}")]);
        pool.call("VM.set_name_label", &params)
    });
}

#[divan::bench(sample_count = 5)]
fn reopening_5000_objects(bencher: Bencher<'_, '_>) {
    let directory = tempfile::tempdir().expect("a directory");
    let pool = Pool::new(5000, Some(directory.path()));
    pool.simulator.shutdown().expect("all on disk");
    drop(pool);
    bencher.counter(ItemsCount::new(5000usize)).bench_local(|| Pool::new(0, Some(directory.path())));
}
