//! What the fuzz targets do, here so that the tests can run it too.

mod query;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use xenapi_types::meta::{self, Ty};
use xenapi_wire::{Limits, Value, jsonrpc, xmlrpc};

pub use self::query::query;
use crate::{Simulator, World};

/// A new pool after so many requests: what they make would gather, and one may have stopped the toolstack.
const REQUESTS: usize = 64;

/// How much of an answer is read. The contents of disks and the database can be longer.
const ANSWER: usize = 1 << 20;

/// How long an answer is waited for: what is no whole request has none, and some calls wait for events that never come.
const PATIENCE: Duration = Duration::from_millis(20);

/// The reference in its place is a good session.
const SESSION: &str = "$session";

/// The handlers beside calls, with queries that lead into them.
const HANDLERS: [&str; 12] = [
    "GET /export_raw_vdi?session_id=$session&",
    "PUT /import_raw_vdi?session_id=$session&",
    "GET /export?session_id=$session&",
    "PUT /import?session_id=$session&",
    "GET /export_metadata?session_id=$session&",
    "PUT /import_metadata?session_id=$session&",
    "GET /rrd_updates?session_id=$session&",
    "GET /vm_rrd?session_id=$session&",
    "PUT /blob?session_id=$session&",
    "CONNECT /console?session_id=$session&",
    "PUT /pool/xmldbdump?session_id=$session&",
    "GET /",
];

/// The references of each class.
type Objects = BTreeMap<String, Vec<String>>;

struct Pool {
    runtime: Runtime,
    simulator: Simulator,
    session: String,
    objects: Objects,
    left: usize,
}

thread_local! {
    static POOL: RefCell<Option<Pool>> = const { RefCell::new(None) };
}

/// Bytes as what a client sends to a pool in this process: the first one says whether as they are, as the body of a
/// call of either encoding, as the rest of a handler's request, or as the choice of a method and its parameters. The
/// word `$session` stands for a session that is good.
///
/// # Panics
/// When a call is not answered by a message of its encoding, or what is answered is no HTTP. A panic in the simulator
/// itself is one of a task: a fuzzer ends by its hook, a test has to set one.
pub fn requests(bytes: &[u8]) {
    let Some((form, rest)) = bytes.split_first() else { return };
    POOL.with_borrow_mut(|slot| {
        let pool = match slot.take_if(|pool| pool.left == 0) {
            None => slot.get_or_insert_with(Pool::new),
            Some(_) => slot.insert(Pool::new()),
        };
        pool.left -= 1;
        pool.request(*form, rest);
    });
}

impl Pool {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let simulator = runtime
            .block_on(Simulator::builder().world(World::demo()).password("secret").build())
            .expect("a pool in memory");
        let of_class =
            |(class, references): (String, BTreeSet<String>)| (class, references.into_iter().collect());
        let objects = simulator.snapshot_of_objects().into_iter().map(of_class).collect();
        let mut pool = Self { runtime, simulator, session: String::new(), objects, left: REQUESTS };
        let login = xmlrpc::encode_call("session.login_with_password", None, &["root", "secret"]);
        let answer = pool.call("/", login.expect("two texts").as_bytes(), Duration::from_secs(60));
        let session: Result<String, _> =
            xmlrpc::decode_response(&answer, &Limits::RESPONSE).expect("an answer");
        pool.session = session.expect("the password is right");
        pool
    }

    fn request(&self, form: u8, rest: &[u8]) {
        match form % 5 {
            0 => drop(self.exchange(&self.with_session(rest), PATIENCE)),
            1 => {
                let body = self.call("/", &self.with_session(rest), PATIENCE);
                if !body.is_empty() {
                    let _ = xmlrpc::decode_response::<Value>(&body, &Limits::RESPONSE)
                        .expect("an answer in XML-RPC");
                }
            }
            2 => {
                let body = self.call("/jsonrpc", &self.with_session(rest), PATIENCE);
                if !body.is_empty() {
                    jsonrpc::decode_response::<Value>(&body, &Limits::RESPONSE)
                        .expect("an answer in JSON-RPC");
                }
            }
            3 => {
                let Some((handler, rest)) = rest.split_first() else { return };
                let handler = HANDLERS[usize::from(*handler) % HANDLERS.len()];
                drop(self.exchange(&self.with_session(&[handler.as_bytes(), rest].concat()), PATIENCE));
            }
            _ => self.any_call(rest),
        }
    }

    /// A method by its number, and parameters as the bytes say.
    fn any_call(&self, bytes: &[u8]) {
        let [high, low, rest @ ..] = bytes else { return };
        let messages = meta::messages();
        let message = &messages[usize::from(u16::from_be_bytes([*high, *low])) % messages.len()];
        let mut choices = Choices { bytes: rest, objects: &self.objects };
        let wanted = message.params.iter().flatten().map(|param| Some(&param.ty));
        let beyond = std::iter::repeat_n(None, 2);
        let params: Vec<Value> = wanted.chain(beyond).map_while(|ty| choices.param(ty)).collect();
        let Ok(body) = xmlrpc::encode_call(&message.method, Some(&self.session), &params) else { return };
        let answer = self.call("/", body.as_bytes(), PATIENCE);
        if !answer.is_empty() {
            let _ = xmlrpc::decode_response::<Value>(&answer, &Limits::RESPONSE).expect("an answer");
        }
    }

    fn with_session(&self, bytes: &[u8]) -> Vec<u8> {
        let mut sent = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while let Some(at) = rest.windows(SESSION.len()).position(|word| word == SESSION.as_bytes()) {
            sent.extend_from_slice(&rest[..at]);
            sent.extend_from_slice(self.session.as_bytes());
            rest = &rest[at + SESSION.len()..];
        }
        sent.extend_from_slice(rest);
        sent
    }

    /// The body of the answer to a call; nothing when XAPI answers such a call with an HTTP error, or not yet.
    fn call(&self, path: &str, body: &[u8], patience: Duration) -> Vec<u8> {
        let head = format!("POST {path} HTTP/1.1\r\ncontent-length: {}\r\n\r\n", body.len());
        let answer = self.exchange(&[head.as_bytes(), body].concat(), patience);
        match end_of_head(&answer).filter(|_| is_complete(&answer) && answer.starts_with(b"HTTP/1.1 200 ")) {
            Some(end) => answer[end..].to_vec(),
            None => Vec::new(),
        }
    }

    fn exchange(&self, sent: &[u8], patience: Duration) -> Vec<u8> {
        self.runtime.block_on(async {
            let mut connection = self.simulator.connect();
            let mut answer = Vec::new();
            let talking = async {
                // The other end may have heard enough.
                let _ = connection.write_all(sent).await;
                while answer.len() < ANSWER && !is_complete(&answer) {
                    if !matches!(connection.read_buf(&mut answer).await, Ok(1..)) {
                        break;
                    }
                }
            };
            let _ = tokio::time::timeout(patience, talking).await;
            let begin = &answer[..answer.len().min(7)];
            assert_eq!(begin, &b"HTTP/1."[..begin.len()], "something other than HTTP");
            answer
        })
    }
}

fn end_of_head(answer: &[u8]) -> Option<usize> {
    Some(answer.windows(4).position(|end| end == b"\r\n\r\n")? + 4)
}

/// Whether all that an answer promises has come; one that promises nothing ends with its connection.
fn is_complete(answer: &[u8]) -> bool {
    let Some(end) = end_of_head(answer) else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let promised = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    promised.is_some_and(|promised: usize| answer.len() >= end + promised)
}

/// Values as bytes choose them.
struct Choices<'a> {
    bytes: &'a [u8],
    objects: &'a Objects,
}

impl Choices<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*byte)
    }

    fn text(&mut self) -> Option<String> {
        let len = usize::from(self.byte()? % 24).min(self.bytes.len());
        let (text, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    fn object(&mut self, class: &str) -> Option<Value> {
        let number = usize::from(self.byte()?);
        let of_class = self.objects.get(class).filter(|all| !all.is_empty());
        let found = of_class.map_or("OpaqueRef:NULL", |all| all[number % all.len()].as_str());
        Some(Value::String(found.to_owned()))
    }

    /// A parameter, most often of the type that is wanted.
    fn param(&mut self, wanted: Option<&Ty>) -> Option<Value> {
        match wanted.filter(|_| self.bytes.first().is_none_or(|byte| *byte < 0xe0)) {
            Some(Ty::Ref(class)) => self.object(class),
            Some(Ty::String) => Some(Value::String(self.text()?)),
            Some(Ty::Int) => Some(Value::Int(i64::from(self.byte()?))),
            Some(Ty::Bool) => Some(Value::Bool(self.byte()? % 2 == 1)),
            _ => self.value(0),
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        Some(match self.byte()? % 9 {
            0 => Value::String(self.text()?),
            1 => Value::Int(i64::from(self.byte()?)),
            2 => Value::Int(i64::MIN >> (self.byte()? % 64)),
            3 => Value::Bool(self.byte()? % 2 == 1),
            4 => Value::Double(f64::from(self.byte()?) / 16.0),
            5 => Value::Array((0..self.byte()? % 4).map_while(|_| self.inner(depth)).collect()),
            6 => {
                let pairs = 0..self.byte()? % 8;
                Value::Struct(pairs.map_while(|_| Some((self.text()?, self.inner(depth)?))).collect())
            }
            _ => {
                let class = usize::from(self.byte()?) % self.objects.len();
                let class = self.objects.keys().nth(class)?.clone();
                self.object(&class)?
            }
        })
    }

    fn inner(&mut self, depth: usize) -> Option<Value> {
        if depth < 3 { self.value(depth + 1) } else { Some(Value::String(self.text()?)) }
    }
}
