//! A client that looks at every byte.
//!
//! It never takes silence for an answer because it has lasted a while: it asks the pool, which says that it has
//! received and sent all and waits for its client.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testdata::{Response, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use xapi_simulator::Simulator;

pub struct Connection {
    simulator: Arc<Simulator>,
    /// By which the pool knows it.
    local: SocketAddr,
    read: OwnedReadHalf,
    write: Option<OwnedWriteHalf>,
    writer: Option<tokio::task::JoinHandle<(OwnedWriteHalf, bool)>>,
    buffer: Vec<u8>,
    /// All bytes that were given to the writer, and all that came.
    sent_bytes: u64,
    received_bytes: u64,
}

/// An answer as it came.
#[derive(Debug, Default)]
pub struct Reply {
    pub status: Option<u16>,
    pub reason: Option<String>,
    pub version: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub end: &'static str,
}

/// How the stream went on.
enum More {
    Bytes,
    Fin,
    Rst,
    /// The pool waits for its client.
    Silence,
    /// It did nothing for [`PATIENCE`], and does not wait either.
    Late,
}

/// How long anything may take: as long as a machine with other things to do may need.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How often the pool is asked.
const PERIOD: Duration = Duration::from_millis(1);

impl Connection {
    pub async fn open(address: &str, simulator: &Arc<Simulator>) -> Self {
        let stream = TcpStream::connect(address).await.expect("the simulator listens");
        stream.set_nodelay(true).expect("a socket option");
        let local = stream.local_addr().expect("it is connected");
        let (read, write) = stream.into_split();
        Self {
            simulator: Arc::clone(simulator),
            local,
            read,
            write: Some(write),
            writer: None,
            buffer: Vec::new(),
            sent_bytes: 0,
            received_bytes: 0,
        }
    }

    /// Starts to send; the answer may come before the end.
    pub async fn send(&mut self, bytes: &[u8]) {
        if let Some(writer) = self.writer.take() {
            self.write = Some(writer.await.expect("the writer ends").0);
        }
        let mut write = self.write.take().expect("the writing half is back");
        let bytes = bytes.to_vec();
        self.sent_bytes += bytes.len() as u64;
        self.writer = Some(tokio::spawn(async move {
            // The server may refuse to read all of it: that is for the reading side to see.
            let complete = write.write_all(&bytes).await.is_ok();
            (write, complete)
        }));
    }

    /// Waits until the call that was sent waits for an event, beside others that do, or has an answer.
    pub async fn waits(&mut self, others: usize) {
        let mut waits = self.simulator.event_waits();
        tokio::select! {
            waiting = timeout(PATIENCE, waits.wait_for(|count| *count > others)) => {
                waiting.expect("the call waits").expect("the simulator runs");
            }
            _ = self.more(false) => {}
        }
    }

    /// Whether the pool will do nothing before its client does: it has everything, and so have we.
    fn is_silent(&self, is_call: bool) -> bool {
        // A connection that is not known yet is about to be accepted, one that is not known any more has ended.
        let Some(traffic) = self.simulator.connections().traffic(self.local) else { return false };
        let is_waiting =
            if is_call { *self.simulator.event_waits().borrow() > 0 } else { traffic.is_waiting };
        is_waiting && (traffic.received_bytes, traffic.sent_bytes) == (self.sent_bytes, self.received_bytes)
    }

    /// What comes next. A call that may wait for an event for ever is silent when it does.
    async fn more(&mut self, is_call: bool) -> More {
        let mut chunk = vec![0; 64 << 10];
        let begun = Instant::now();
        loop {
            let is_silent = self.is_silent(is_call);
            if is_silent {
                return More::Silence;
            }
            match timeout(PERIOD, self.read.read(&mut chunk)).await {
                Err(_) if begun.elapsed() > PATIENCE => return More::Late,
                Err(_) => {}
                // A reset is told once, to whoever comes first: that may have been the writer.
                Ok(Ok(0)) if self.write_failed().await => return More::Rst,
                Ok(Ok(0)) => return More::Fin,
                Ok(Ok(len)) => {
                    self.received_bytes += len as u64;
                    self.buffer.extend_from_slice(&chunk[..len]);
                    return More::Bytes;
                }
                Ok(Err(e)) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return More::Rst;
                }
                Ok(Err(e)) => panic!("reading: {e}"),
            }
        }
    }

    async fn write_failed(&mut self) -> bool {
        let Some(writer) = &mut self.writer else { return false };
        // The other side has gone: what is still to be written fails.
        let done = timeout(PATIENCE, writer).await.expect("the writer ends with the connection");
        let (write, complete) = done.expect("the writer ends");
        self.writer = None;
        self.write = Some(write);
        !complete
    }

    /// Reads an answer; what is expected only tells what its end is called.
    pub async fn receive(&mut self, step: &Step) -> Reply {
        let expected = &step.response;
        let waits_for_ever = step.method_name.is_some() && expected.status.is_none();
        let mut reply = Reply::default();
        let head = loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 4);
                break head;
            }
            reply.end = match self.more(waits_for_ever).await {
                More::Bytes => continue,
                More::Fin => "fin",
                More::Rst => "rst",
                More::Silence => "timeout",
                More::Late => "late",
            };
            return reply;
        };
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().splitn(3, ' ');
        reply.version = words.next().map(str::to_owned);
        reply.status = words.next().and_then(|status| status.parse().ok());
        reply.reason = words.next().map(str::to_owned);
        reply.headers = lines
            .filter_map(|line| line.split_once(':').map(|(name, value)| (name.to_owned(), value.to_owned())))
            .collect();
        let length = reply.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|(_, value)| value.trim().parse::<usize>().ok());
        // Without a length, the body goes on until the end, or until the server waits.
        let end = loop {
            if length.is_some_and(|length| self.buffer.len() >= length) {
                break None;
            }
            match self.more(false).await {
                More::Bytes => {}
                end => break Some(named(&end, expected)),
            }
        };
        let length = length.unwrap_or(self.buffer.len()).min(self.buffer.len());
        reply.body = self.buffer.drain(..length).collect();
        reply.end = match end {
            Some(end) => end,
            // The next answer is there already.
            None if !self.buffer.is_empty() => "keep",
            None => named(&self.more(false).await, expected),
        };
        reply
    }
}

/// What the recordings call it when a connection goes on like this after an answer: one that was announced to end and
/// does not is a `timeout`.
fn named(more: &More, expected: &Response) -> &'static str {
    match more {
        More::Fin => "fin",
        More::Rst => "rst",
        More::Silence if expected.end == "timeout" => "timeout",
        More::Bytes | More::Silence => "keep",
        More::Late => "late",
    }
}
