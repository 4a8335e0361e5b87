//! Servers that do exactly what a test tells them, in process or on a port.
#![allow(dead_code, reason = "each test uses a part of this")]

pub(crate) mod pool;
pub(crate) mod simulated;

use std::future::Future;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use xenapi_client::{Client, Config, Connect, Io, Timeouts, private_connect_fn};
use xenapi_wire::jsonrpc::{self, Version};
use xenapi_wire::{Failure, Limits, Value, xmlrpc};

/// The session that scripted hosts give out.
pub(crate) const SESSION: &str = "OpaqueRef:5e551011-0000-4000-8000-000000000001";

/// The server's end of a connection.
pub(crate) struct Peer {
    io: Box<dyn Io>,
    unread: Vec<u8>,
}

/// The head of a request.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) bytes: usize,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }
}

impl Peer {
    pub(crate) fn new(io: impl Io) -> Self {
        Self { io: Box::new(io), unread: Vec::new() }
    }

    /// The next request's head, or `None` when the client has closed the connection.
    pub(crate) async fn head(&mut self) -> Option<Head> {
        loop {
            if let Some(end) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                let rest = self.unread.split_off(end + 4);
                let head = std::mem::replace(&mut self.unread, rest);
                let text = String::from_utf8(head).unwrap();
                let mut lines = text.lines();
                let mut first = lines.next().unwrap().split(' ');
                return Some(Head {
                    method: first.next().unwrap().to_owned(),
                    target: first.next().unwrap().to_owned(),
                    headers: lines
                        .filter_map(|line| line.split_once(':'))
                        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                        .collect(),
                    bytes: text.len(),
                });
            }
            self.fill().await?;
        }
    }

    /// The body that belongs to a head; cut short when the client closes the connection.
    pub(crate) async fn body(&mut self, head: &Head) -> Vec<u8> {
        let len = head.header("content-length").map_or(0, |len| len.parse().unwrap());
        while self.unread.len() < len && self.fill().await.is_some() {}
        let len = len.min(self.unread.len());
        let rest = self.unread.split_off(len);
        std::mem::replace(&mut self.unread, rest)
    }

    /// Reads whatever comes next; `None` at the end.
    pub(crate) async fn fill(&mut self) -> Option<usize> {
        let mut chunk = vec![0; 64 << 10];
        match self.io.read(&mut chunk).await {
            Ok(0) | Err(_) => None,
            Ok(len) => {
                self.unread.extend_from_slice(&chunk[..len]);
                Some(len)
            }
        }
    }

    pub(crate) fn unread(&self) -> usize {
        self.unread.len()
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        // A client that is gone is part of some scripts.
        let _ = self.io.write_all(bytes.as_ref()).await;
        let _ = self.io.flush().await;
    }

    /// Whether the client still takes these bytes.
    pub(crate) async fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.io.write_all(bytes.as_ref()).await.is_ok() && self.io.flush().await.is_ok()
    }

    /// A complete answer as XAPI gives it, on a connection that stays open.
    pub(crate) async fn answer(&mut self, status: &str, content_type: &str, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: keep-alive\r\ncontent-type: {content_type}\r\n\r\n",
            body.len()
        );
        self.write([head.as_bytes(), body].concat()).await;
    }

    /// Answers a call, in the encoding in which it came.
    pub(crate) async fn answer_call(
        &mut self,
        head: &Head,
        f: impl FnOnce(&str, &[Value]) -> Result<Value, Failure>,
    ) {
        let body = self.body(head).await;
        if head.path() == "/jsonrpc" {
            let call = jsonrpc::decode_call(&body, &Limits::REQUEST).unwrap();
            let answer = f(&call.method, &call.params);
            let text = jsonrpc::encode_response(Version::V2, &call.id, answer.as_ref()).unwrap();
            self.answer("200 OK", "application/json", text).await;
        } else {
            let call = xmlrpc::decode_call(&body, &Limits::REQUEST).unwrap();
            let answer = f(&call.method, &call.params);
            let text = xmlrpc::encode_response(answer.as_ref()).unwrap();
            self.answer("200 OK", "text/xml", text).await;
        }
    }

    /// Reads and drops what comes until the client closes the connection.
    pub(crate) async fn until_closed(&mut self) {
        while self.fill().await.is_some() {
            self.unread.clear();
        }
    }
}

/// A host in this process: `script` is run for each connection, with the URL it was opened to.
pub(crate) fn in_process<F, Fut>(script: F) -> impl Connect
where
    F: Fn(Peer, String) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    private_connect_fn(move |endpoint| {
        let (near, far) = tokio::io::duplex(64 << 10);
        tokio::spawn(script(Peer::new(far), endpoint.to_string()));
        std::future::ready(Ok(near))
    })
}

/// A client of a host in this process.
pub(crate) fn client<F, Fut>(script: F) -> Client
where
    F: Fn(Peer, String) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    Client::over(config(), in_process(script)).unwrap()
}

/// A configuration for tests: short waits.
pub(crate) fn config() -> Config {
    Config::new("http://10.0.0.1", "root", "hunter2").unwrap().timeouts(timeouts())
}

pub(crate) fn timeouts() -> Timeouts {
    let mut timeouts = Timeouts::default();
    let second = std::time::Duration::from_secs(1);
    timeouts.connect = second * 5;
    timeouts.call = second * 20;
    timeouts.stall = second;
    timeouts.upload_head = second;
    timeouts.reconnect = second;
    timeouts
}

/// A script that answers calls with `f`, log-in and log-out included.
pub(crate) fn calls<F>(
    f: F,
) -> impl Fn(Peer, String) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync
where
    F: Fn(&str, &[Value]) -> Result<Value, Failure> + Send + Sync + 'static,
{
    let f = Arc::new(f);
    move |mut peer, _| {
        let f = Arc::clone(&f);
        Box::pin(async move {
            while let Some(head) = peer.head().await {
                peer.answer_call(&head, |method, params| {
                    session_calls(method).unwrap_or_else(|| f(method, params))
                })
                .await;
            }
        })
    }
}

/// Log-in and log-out.
pub(crate) fn session_calls(method: &str) -> Option<Result<Value, Failure>> {
    match method {
        "session.login_with_password" => Some(Ok(text(SESSION))),
        "session.logout" => Some(Ok(text(""))),
        _ => None,
    }
}

pub(crate) fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// A server on a port of this machine, with TLS or without.
pub(crate) async fn listen<F, Fut>(tls: Option<ServerConfig>, script: F) -> u16
where
    F: Fn(Peer) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    let script = Arc::new(script);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, script) = (acceptor.clone(), Arc::clone(&script));
            tokio::spawn(async move {
                match acceptor {
                    None => script(Peer::new(stream)).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            script(Peer::new(stream)).await;
                        }
                    }
                }
            });
        }
    });
    port
}
