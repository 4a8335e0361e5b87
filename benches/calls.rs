//! What the client adds to HTTP: small calls beside the same requests made with bare hyper.
//!
//! Another process plays the server. In turns, the client and hyper make the same calls on one connection
//! each; then 64 callers at once do, to see whether they stand in each other's way. Hyper sends the bytes
//! that the client would send and lets go of the answer unread; the client decodes it, watches the time,
//! the session and the number of calls in flight, and has a span for each call.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use benches::process::{Part, cpu_seconds};
use benches::{http, target};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use xenapi_client::{Client, Config, Encoding, Limits};
use xenapi_types::{Ref, Vm};
use xenapi_wire::jsonrpc::{self, Version};

const CALLS: usize = 1_000;
const CALLERS: usize = 64;
const ROUNDS: usize = 15;
const METHOD: &str = "VM.get_name_label";
const SESSION: &str = "OpaqueRef:5e551011-0000-4000-8000-000000000001";

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("--serve") => serve(),
        // Cargo runs this with --bench; what a debug build says would only mislead.
        _ if std::env::args().any(|arg| arg == "--bench") => measure(),
        _ => {}
    }
}

fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    std::io::stdout().flush().expect("somebody reads");
    for stream in listener.incoming() {
        std::thread::spawn(move || {
            drop(http::serve(stream.expect("a connection"), |body| {
                let call = jsonrpc::decode_call(body, &xenapi_wire::Limits::REQUEST).expect("a call");
                let result = if call.method == METHOD { "web-1" } else { SESSION };
                jsonrpc::encode_response(Version::V2, &call.id, Ok(result)).expect("text can be encoded")
            }));
        });
    }
}

fn vm() -> Ref<Vm> {
    Ref::from_uuid_bits(0x6d0c_0de5_0000_4000_8000_0000_0000_0001)
}

fn client(address: &str) -> Client {
    let config = Config::new(&format!("http://{address}"), "root", "secret").expect("a URL");
    let limits = Limits { concurrent_calls: CALLERS, ..Limits::default() };
    Client::new(config.encoding(Encoding::JsonRpc).limits(limits)).expect("a client")
}

async fn with_client(client: &Client, calls: usize) {
    for _ in 0..calls {
        let name: String = client.invoke(METHOD, &(vm(),)).await.expect("a name");
        assert_eq!(name, "web-1");
    }
}

struct Bare {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    body: Bytes,
}

impl Bare {
    async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("connects");
        stream.set_nodelay(true).expect("a socket");
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("speaks HTTP");
        tokio::spawn(connection);
        let body = jsonrpc::encode_call(Version::V2, &1_000.into(), METHOD, Some(SESSION), &(vm(),));
        Self { sender, host: address.to_owned(), body: body.expect("a call").into() }
    }

    async fn calls(&mut self, calls: usize) {
        for _ in 0..calls {
            let request = hyper::Request::post("/jsonrpc")
                .header("host", &self.host)
                .header("user-agent", "xenapi-rs/0.1.0")
                .header("content-type", "application/json")
                .body(Full::new(self.body.clone()))
                .expect("a request");
            self.sender.ready().await.expect("an open connection");
            let response = self.sender.send_request(request).await.expect("an answer");
            assert!(response.status().is_success());
            let body = response.into_body().collect().await.expect("all of it").to_bytes();
            assert!(!body.is_empty());
        }
    }
}

/// The time of the best round, and the processor time of all.
#[derive(Clone, Copy)]
struct Taken {
    wall: f64,
    cpu: f64,
    rounds: usize,
}

impl Taken {
    const NOTHING_YET: Self = Self { wall: f64::INFINITY, cpu: 0.0, rounds: 0 };

    /// What disturbs a round only ever makes it slower. The system's clock of processor time is too coarse for one.
    fn add(&mut self, since: Instant, cpu_before: f64) {
        self.wall = self.wall.min(since.elapsed().as_secs_f64());
        self.cpu += cpu_seconds() - cpu_before;
        self.rounds += 1;
    }
}

fn row(what: &str, calls: usize, taken: Taken, floor: Taken) {
    let micros = |seconds: f64| seconds / calls as f64 * 1e6;
    println!(
        "{what:<36} {:>9.1} {:>9.0} {:>9.1} {:>9.2}",
        micros(taken.wall),
        calls as f64 / taken.wall,
        micros(taken.cpu / taken.rounds as f64),
        taken.wall / floor.wall,
    );
}

fn measure() {
    let (_server, address) = Part::start(&["--serve"]).expect("the server starts");
    println!("{:<36} {:>9} {:>9} {:>9} {:>9}", "", "µs/call", "calls/s", "cpu µs", "to hyper");
    one_connection(&address);
    many_callers(&address);
}

fn one_connection(address: &str) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (mut ours, mut floor) = (Taken::NOTHING_YET, Taken::NOTHING_YET);
    runtime.block_on(async {
        let client = client(address);
        let mut bare = Bare::open(address).await;
        with_client(&client, 100).await;
        bare.calls(100).await;
        for _ in 0..ROUNDS {
            let (start, cpu) = (Instant::now(), cpu_seconds());
            bare.calls(CALLS).await;
            floor.add(start, cpu);
            let (start, cpu) = (Instant::now(), cpu_seconds());
            with_client(&client, CALLS).await;
            ours.add(start, cpu);
        }
    });
    row("one caller, bare hyper", CALLS, floor, floor);
    row("one caller, xenapi-client", CALLS, ours, floor);
    target::at_most("one caller, to bare hyper", ours.wall / floor.wall, 1.30);
}

fn many_callers(address: &str) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let client = client(address);
    let (mut one, mut ours, mut floor) = (Taken::NOTHING_YET, Taken::NOTHING_YET, Taken::NOTHING_YET);
    let mut spread: f64 = 1.0;
    runtime.block_on(async { with_client(&client, 100).await });
    for _ in 0..ROUNDS / 3 {
        let (start, cpu) = (Instant::now(), cpu_seconds());
        let caller = client.clone();
        runtime.block_on(runtime.spawn(async move { with_client(&caller, CALLS).await })).expect("ends");
        one.add(start, cpu);
        bare_at_once(&runtime, address, &mut floor);
        let (start, cpu) = (Instant::now(), cpu_seconds());
        let each = runtime.block_on(at_once(&client));
        ours.add(start, cpu);
        let slowest = each.iter().max().map_or(0.0, Duration::as_secs_f64);
        let fastest = each.iter().min().map_or(0.0, Duration::as_secs_f64);
        spread = spread.max(slowest / fastest);
    }
    row("one caller, two threads, client", CALLS, one, one);
    row("64 callers, bare hyper", CALLS * CALLERS, floor, floor);
    row("64 callers, xenapi-client", CALLS * CALLERS, ours, floor);
    let gain = one.wall * CALLERS as f64 / ours.wall;
    println!(
        "  {gain:.2} times the calls a second of one caller; the last of 64 took {spread:.2} times the first"
    );
}

fn bare_at_once(runtime: &Runtime, address: &str, floor: &mut Taken) {
    runtime.block_on(async {
        let mut connections = Vec::new();
        for _ in 0..CALLERS {
            connections.push(Bare::open(address).await);
        }
        let (start, cpu) = (Instant::now(), cpu_seconds());
        let callers =
            connections.into_iter().map(|mut bare| tokio::spawn(async move { bare.calls(CALLS).await }));
        for caller in callers.collect::<Vec<_>>() {
            caller.await.expect("ends");
        }
        floor.add(start, cpu);
    });
}

/// How long each caller takes.
async fn at_once(client: &Client) -> Vec<Duration> {
    let start = Instant::now();
    let callers = (0..CALLERS).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            with_client(&client, CALLS).await;
            start.elapsed()
        })
    });
    let mut each = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        each.push(caller.await.expect("ends"));
    }
    each
}
