//! A client that looks at every byte.

use std::io::ErrorKind;
use std::time::Duration;

use testdata::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

pub struct Connection {
    read: OwnedReadHalf,
    write: Option<OwnedWriteHalf>,
    writer: Option<tokio::task::JoinHandle<(OwnedWriteHalf, bool)>>,
    buffer: Vec<u8>,
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
    Silence,
}

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// The same, once a scenario has waited in vain: the test shall end some day.
pub const LATE_PATIENCE: Duration = Duration::from_secs(3);
/// How long silence must last to be taken for such.
const SILENCE: Duration = Duration::from_millis(150);

impl Connection {
    pub async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the simulator listens");
        stream.set_nodelay(true).expect("a socket option");
        let (read, write) = stream.into_split();
        Self { read, write: Some(write), writer: None, buffer: Vec::new() }
    }

    /// Starts to send; the answer may come before the end.
    pub async fn send(&mut self, bytes: &[u8]) {
        if let Some(writer) = self.writer.take() {
            self.write = Some(writer.await.expect("the writer ends").0);
        }
        let mut write = self.write.take().expect("the writing half is back");
        let bytes = bytes.to_vec();
        self.writer = Some(tokio::spawn(async move {
            // The server may refuse to read all of it: that is for the reading side to see.
            let complete = write.write_all(&bytes).await.is_ok();
            (write, complete)
        }));
    }

    async fn more(&mut self, patience: Duration) -> More {
        let mut chunk = vec![0; 64 << 10];
        match timeout(patience, self.read.read(&mut chunk)).await {
            Err(_) => More::Silence,
            // A reset is told once, to whoever comes first: that may have been the writer.
            Ok(Ok(0)) if self.write_failed().await => More::Rst,
            Ok(Ok(0)) => More::Fin,
            Ok(Ok(len)) => {
                self.buffer.extend_from_slice(&chunk[..len]);
                More::Bytes
            }
            Ok(Err(e)) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => More::Rst,
            Ok(Err(e)) => panic!("reading: {e}"),
        }
    }

    async fn write_failed(&mut self) -> bool {
        let Some(writer) = &mut self.writer else { return false };
        let Ok(done) = timeout(SILENCE, writer).await else { return false };
        let (write, complete) = done.expect("the writer ends");
        self.writer = None;
        self.write = Some(write);
        !complete
    }

    /// Reads an answer; what is expected only tells how long to wait for the end.
    pub async fn receive(&mut self, expected: &Response, patience: &mut Duration) -> Reply {
        let mut reply = Reply::default();
        let wait = if expected.status.is_none() && expected.end == "timeout" { SILENCE } else { *patience };
        let head = loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 4);
                break head;
            }
            reply.end = match self.more(wait).await {
                More::Bytes => continue,
                More::Fin => "fin",
                More::Rst => "rst",
                More::Silence => {
                    // Silence that was recorded says nothing of how long the others take.
                    if expected.end != "timeout" {
                        *patience = (*patience).min(LATE_PATIENCE);
                    }
                    "timeout"
                }
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
        // Without a length, the body goes on until the end, or until nothing more comes.
        let silence = if expected.end == "timeout" || expected.end == "keep" { SILENCE } else { *patience };
        let end = loop {
            if length.is_some_and(|length| self.buffer.len() >= length) {
                break None;
            }
            match self.more(silence).await {
                More::Bytes => {}
                More::Fin => break Some("fin"),
                More::Rst => break Some("rst"),
                More::Silence => break Some(if expected.end == "keep" { "keep" } else { "timeout" }),
            }
        };
        let length = length.unwrap_or(self.buffer.len()).min(self.buffer.len());
        reply.body = self.buffer.drain(..length).collect();
        reply.end = match end {
            Some(end) => end,
            None => self.end_of(expected, patience).await,
        };
        reply
    }

    /// How the connection goes on after a complete answer.
    async fn end_of(&mut self, expected: &Response, patience: &mut Duration) -> &'static str {
        let wait = match expected.end.as_str() {
            "keep" => Duration::ZERO,
            "timeout" => SILENCE,
            _ => (*patience).min(LATE_PATIENCE),
        };
        if !self.buffer.is_empty() {
            return "keep";
        }
        match self.more(wait).await {
            More::Bytes => "keep",
            More::Fin => "fin",
            More::Rst => "rst",
            More::Silence if expected.end == "timeout" => "timeout",
            More::Silence => {
                if expected.end != "keep" {
                    *patience = (*patience).min(LATE_PATIENCE);
                }
                "keep"
            }
        }
    }
}
