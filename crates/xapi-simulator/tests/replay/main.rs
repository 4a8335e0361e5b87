//! Replays recordings of a real server against the simulator, over real sockets.
//!
//! Same requests in, same answers out, but for what `compare` leaves aside. Steps that do not match yet are listed in
//! `tests/replay_exceptions.txt`, which may only get shorter: the test fails when a listed step matches and when one
//! that is not listed does not.
//!
//! What both encodings can say is replayed in the other one, too; there, answers are compared as values.
//!
//! `REPLAY=name` replays one scenario and prints each difference; `REPLAY=name:17` prints one step in full.

#![allow(
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a test is no library, and tells how much it has judged"
)]

mod compare;
mod names;
mod transcode;
mod wire;
mod xva;

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use testdata::Step;
use xapi_simulator::Guests;
use xapi_simulator::core::Config;
use xapi_simulator::{Simulator, World};

use names::Names;
use wire::{Connection, Reply};

/// Longer steps are told of: they are what the test's time goes into.
const SLOW: Duration = Duration::from_secs(2);

/// How the calls of a recording are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// Byte for byte.
    Recorded,
    /// JSON-RPC where the recording has XML-RPC and the other way round.
    Other,
}

/// What a step came to: what it is, and how it differs. Nothing for a step that is not judged.
type Judged = (String, Option<Vec<String>>);

#[tokio::test(flavor = "multi_thread")]
async fn recordings_are_reproduced() {
    reproduce(Encoding::Recorded, testdata::scenario_names()).await;
}

/// Left out of the other encoding: the scenarios about bytes, and those that say each thing in both encodings already.
const ABOUT_BYTES: [&str; 4] = ["http_bodies", "http_framing", "strings_jsonrpc2", "strings_xmlrpc"];

#[tokio::test(flavor = "multi_thread")]
async fn recordings_are_reproduced_in_the_other_encoding() {
    let mut scenarios = testdata::scenario_names();
    scenarios.retain(|scenario| !ABOUT_BYTES.contains(&scenario.as_str()));
    reproduce(Encoding::Other, scenarios).await;
}

/// Replays scenarios. Exactly the steps on the list of exceptions must differ; in the other encoding they may.
async fn reproduce(encoding: Encoding, scenarios: Vec<String>) {
    let listed = exceptions();
    let wanted = std::env::var("REPLAY").ok();
    let (only, step) = match wanted.as_deref().map(|w| w.split_once(':').unwrap_or((w, ""))) {
        Some((scenario, step)) => (Some(scenario), step.parse().ok()),
        None => (None, None),
    };
    let mut unexpected = Vec::new();
    let mut obsolete = Vec::new();
    let (mut matched_all, mut total_all, mut replayed) = (0, 0, 0);
    let plugins = testdata::plugins_dir();
    let chosen = chosen(scenarios, only, plugins.is_some());
    let replays: Vec<_> = chosen
        .into_iter()
        .map(|scenario| (scenario.clone(), tokio::spawn(replay(scenario, encoding, plugins.clone()))))
        .collect();
    for (scenario, replay) in replays {
        let results = replay.await.unwrap_or_else(|e| panic!("{scenario}: {e}"));
        let judged = results.iter().filter_map(|(_, differences)| differences.as_ref());
        let (matched, total) = (judged.clone().filter(|d| d.is_empty()).count(), judged.count());
        println!("{scenario:20} {matched:4} of {total:4}");
        matched_all += matched;
        total_all += total;
        replayed += results.len();
        for (index, (title, differences)) in results.into_iter().enumerate() {
            let key = (scenario.clone(), index);
            let Some(differences) = differences else { continue };
            match (differences.is_empty(), listed.contains_key(&key)) {
                (true, true) if encoding == Encoding::Recorded => {
                    obsolete.push(format!("{scenario}:{index}"));
                }
                (false, false) => unexpected.push(format!("{scenario}:{index} {title}: {}", differences[0])),
                _ => {}
            }
            if only.is_some() && !differences.is_empty() && step.is_none_or(|s: usize| s == index) {
                println!("--- {scenario}:{index} {title}");
                for difference in differences {
                    println!("    {difference}");
                }
            }
        }
    }
    println!("{:20} {matched_all:4} of {total_all:4} {encoding:?}", "all");
    if encoding == Encoding::Other && only.is_none() {
        tell_of_one_encoding(total_all, replayed);
    }
    for (scenario, _) in listed.keys() {
        let known = testdata::scenario_names().contains(scenario);
        assert!(known, "the list of exceptions names an unknown scenario: {scenario}");
    }
    assert!(obsolete.is_empty(), "these match now, take them off the list of exceptions: {obsolete:#?}");
    assert!(unexpected.is_empty(), "{} steps differ:\n{}", unexpected.len(), unexpected.join("\n"));
}

/// Those of the scenarios that are wanted and can be replayed; what cannot is said.
fn chosen(mut scenarios: Vec<String>, only: Option<&str>, has_plugins: bool) -> Vec<String> {
    scenarios.retain(|scenario| only.is_none_or(|only| only == scenario));
    if !has_plugins && scenarios.iter().any(|scenario| scenario == "plugins") {
        scenarios.retain(|scenario| scenario != "plugins");
        let steps = testdata::scenario("plugins").steps.len();
        // Not with `println!`, whose text is kept back of tests that pass.
        writeln!(
            std::io::stderr(),
            "skipped: the {steps} steps of plugins, for want of python3, which runs them"
        )
        .expect("a place for messages");
    }
    scenarios
}

/// Says how much of the recordings is held to one encoding only. As recorded, every step is judged.
fn tell_of_one_encoding(in_both: usize, replayed: usize) {
    let about_bytes: usize = ABOUT_BYTES.iter().map(|name| testdata::scenario(name).steps.len()).sum();
    let unsayable = replayed - in_both;
    println!(
        "{in_both} steps judged in both encodings, {} as recorded only: {unsayable} that are about bytes or cannot be \
         said in the other one, {about_bytes} of {}",
        unsayable + about_bytes,
        ABOUT_BYTES.join(", "),
    );
}

/// The steps that need not match, with the reason.
fn exceptions() -> BTreeMap<(String, usize), String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/replay_exceptions.txt");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let parsed = lines.map(|line| {
        let (place, reason) = line.split_once(' ').unwrap_or_else(|| panic!("no reason: {line}"));
        let (scenario, step) = place.split_once(':').unwrap_or_else(|| panic!("no step: {line}"));
        let step = step.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        ((scenario.to_owned(), step), reason.to_owned())
    });
    parsed.collect()
}

/// A pool of this world, which nobody has called yet.
async fn fresh(world: &str, plugins: Option<PathBuf>, state: &Path) -> Arc<Simulator> {
    let world = World::from_json(world).expect("the recordings' world");
    let config = Config {
        auth_delay: Duration::from_millis(5),
        guests: Guests::recorded(),
        plugins,
        pool_secret: POOL_SECRET.to_owned(),
        ..Config::default()
    };
    let builder = Simulator::builder().world(world).config(config).state_dir(state);
    let simulator = Arc::new(builder.build().await.expect("a pool"));
    iso_library(state);
    simulator
}

/// Replays a scenario against a fresh pool and returns each step's title and differences.
async fn replay(name: String, encoding: Encoding, plugins: Option<PathBuf>) -> Vec<Judged> {
    let scenario = testdata::scenario(&name);
    let state = tempfile::tempdir().expect("a temporary directory");
    let late = OPENED_LATE.iter().find(|(scenario, _)| *scenario == name).map(|(_, step)| *step);
    let simulator = fresh(&world(&name, late.is_some()), plugins, state.path()).await;
    let pool = Pool::of(&simulator).await;

    let mut names = Names::new(&scenario.steps);
    let mut connections: HashMap<String, Connection> = HashMap::new();
    let mut results: Vec<Judged> = Vec::new();
    // Steps whose answer is read only after a later one.
    let mut waiting: Vec<(usize, usize)> = Vec::new();
    results.resize_with(scenario.steps.len(), Default::default);
    for (index, step) in scenario.steps.iter().enumerate() {
        results[index].0 = title(step);
        if late == Some(index) {
            open_own_session(&pool, &scenario.steps[0]).await;
        }
        if let Some(after) = step.read_after_step {
            let connection = connect(&mut connections, &pool, step).await;
            let others = *simulator.event_waits().borrow();
            connection.send(&request(step, encoding, &names)).await;
            connection.waits(others).await;
            waiting.push((index, after));
            continue;
        }
        let begun = Instant::now();
        let reply = loop {
            if !step.pipelined {
                let connection = connect(&mut connections, &pool, step).await;
                connection.send(&request(step, encoding, &names)).await;
            }
            let reply = receive(&mut connections, &pool, step).await;
            // Some tasks of the recordings never end either.
            let pending = step.repeat_until.is_some()
                && compare::is_pending(&reply.body)
                && !compare::is_pending(&step.response.body());
            if !pending || begun.elapsed() > wire::PATIENCE {
                break reply;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        };
        if begun.elapsed() > SLOW {
            println!("{name}:{index} took {:?}", begun.elapsed());
        }
        results[index].1 = judge(step, encoding, &reply, &mut names);
        let ready = waiting.iter().position(|(_, after)| *after == index);
        if let Some(at) = ready {
            let (earlier, _) = waiting.remove(at);
            let step = &scenario.steps[earlier];
            let reply = receive(&mut connections, &pool, step).await;
            results[earlier].1 = judge(step, encoding, &reply, &mut names);
        }
    }
    results
}

/// The recorded server opens a session of its own some seconds after its start, which `valid_ref_counts` shows. These
/// recordings began before, and saw it from this step on.
const OPENED_LATE: &[(&str, usize)] = &[("events_from", 7), ("events_from_json", 7), ("http_bodies", 31)];

/// The world of the recordings, with the session that its server opens late or without it.
fn world(scenario: &str, without_late_session: bool) -> String {
    let text = testdata::world_of(scenario);
    if !without_late_session {
        return text;
    }
    let mut objects: Vec<serde_json::Value> = serde_json::from_str(&text).expect("a list of objects");
    let late =
        objects.iter().rposition(|object| object["class"] == "session").expect("the server's sessions");
    objects.remove(late);
    serde_json::Value::from(objects).to_string()
}

const POOL_SECRET: &str = "the pool's own";

/// Does what the recorded server did: it logs in to itself with the secret of the pool.
async fn open_own_session(pool: &Pool, like: &Step) {
    let host = "OpaqueRef:74be1a1b-5bc8-20e4-a3f2-96de54870ac5";
    let body = serde_json::json!({
        "jsonrpc": "2.0", "id": 1, "method": "session.slave_login", "params": [host, POOL_SECRET],
    })
    .to_string();
    let head = format!("POST /jsonrpc HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut connection = Connection::open(&pool.master, &pool.simulator).await;
    connection.send(format!("{head}{body}").as_bytes()).await;
    let reply = connection.receive(like).await;
    assert!(reply.body.starts_with(b"{\"jsonrpc\":\"2.0\",\"result\":"), "{reply:?}");
}

/// Puts the one image into the ISO library that the recorded server's had.
fn iso_library(state: &Path) {
    let library = state.join("disks/e441136d-1024-e541-ac83-f5b5dadab5df");
    std::fs::create_dir_all(&library).expect("a directory");
    std::fs::write(library.join("disc.iso"), [0; 2048]).expect("a file");
}

/// A pool, and where its hosts listen.
struct Pool {
    simulator: Arc<Simulator>,
    master: String,
    member: Option<String>,
}

impl Pool {
    async fn of(simulator: &Arc<Simulator>) -> Self {
        let port = |url: String| url.strip_prefix("http://").expect("plain HTTP").to_owned();
        let member = simulator.listen_as("xapi-sim2", "127.0.0.1:0").await.ok();
        let master = simulator.listen("127.0.0.1:0").await.expect("a port");
        Self { simulator: Arc::clone(simulator), master: port(master), member: member.map(port) }
    }

    /// The host that a step was sent to: of fresh connections, the note tells.
    fn address(&self, step: &Step) -> &str {
        let fresh = step.conn.strip_prefix('c').is_some_and(|n| n.parse::<usize>().is_ok());
        match &self.member {
            Some(member) if step.conn == "member" || fresh && step.note.contains("the member") => member,
            _ => &self.master,
        }
    }
}

async fn connect<'c>(
    connections: &'c mut HashMap<String, Connection>,
    pool: &Pool,
    step: &Step,
) -> &'c mut Connection {
    if !connections.contains_key(&step.conn) {
        connections.insert(step.conn.clone(), Connection::open(pool.address(step), &pool.simulator).await);
    }
    connections.get_mut(&step.conn).expect("it was just put there")
}

/// The answer to a step. A connection that has ended is not used again.
async fn receive(connections: &mut HashMap<String, Connection>, pool: &Pool, step: &Step) -> Reply {
    let reply = connect(connections, pool, step).await.receive(step).await;
    if reply.end != "keep" {
        connections.remove(&step.conn);
    }
    reply
}

fn judge(step: &Step, encoding: Encoding, reply: &Reply, names: &mut Names) -> Option<Vec<String>> {
    let transcoded = encoding == Encoding::Other && transcode::request(step).is_some();
    if transcoded {
        return Some(compare::values(step, reply, names));
    }
    compare::bind(step, reply, names);
    (encoding == Encoding::Recorded).then(|| compare::differences(step, reply, names))
}

fn title(step: &Step) -> String {
    format!("[{}] {} ({})", step.transport, step.method_name.as_deref().unwrap_or("-"), step.note)
}

/// The bytes of a request with this run's references in place of the recorded ones.
fn request(step: &Step, encoding: Encoding, names: &Names) -> Vec<u8> {
    if encoding == Encoding::Other
        && let Some(transcoded) = transcode::request(step)
    {
        return names.translate_bytes(&transcoded);
    }
    if let Some(raw) = step.request.raw() {
        return names.translate_bytes(&raw);
    }
    let request = &step.request;
    let version = request.version.as_deref().unwrap_or("HTTP/1.1");
    let version = if version.starts_with("HTTP/") { version.to_owned() } else { format!("HTTP/{version}") };
    let mut out = format!("{} {} {version}\r\n", request.method, names.translate(&request.path));
    for (name, value) in &request.headers {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        out.push_str(&format!("{name}: {}\r\n", names.translate(&value)));
    }
    out.push_str("\r\n");
    let mut out = out.into_bytes();
    out.extend(names.translate_bytes(&request.body().unwrap_or_default()));
    out
}
