//! One connection, request after request.

use std::io;
use std::sync::Arc;

use super::head::{Head, HeadError, Verb};
use super::page::{self, Page};
use super::{After, Conn, Exchange, Handler};
use crate::classes::{session, task};
use crate::core::Core;
use crate::dispatch::internal_error;
use crate::fault::{Cut, Fault, Wire};
use crate::rpc::{self, Encoding};

/// Bytes of a header block with its blank line: XAPI's 1024 minus the 18 that its reader keeps free.
const MAX_HEADER: usize = 1006;
/// Bytes of an RPC body.
const MAX_BODY: u64 = 307_200;

/// Serves a connection to the host of this reference until it ends.
pub(crate) async fn serve(core: Arc<Core>, host: String, mut conn: Conn) {
    conn.through(core.link.clone());
    let head = Head::parse("GET / HTTP/1.1").expect("a request line");
    let mut exchange = Exchange { core, host, head, fault: None, conn };
    loop {
        match next(&mut exchange).await {
            Ok(After::KeepOpen) => {}
            Ok(After::Close) if exchange.conn.buffered().is_empty() => return exchange.conn.close().await,
            Ok(After::Close | After::Reset) | Err(_) => return exchange.conn.reset(),
        }
    }
}

async fn next(exchange: &mut Exchange) -> io::Result<After> {
    let Some(text) = read_head(&mut exchange.conn).await? else {
        return Ok(After::Close);
    };
    let text = match text {
        Ok(text) => text,
        Err(page) => {
            exchange.conn.send(&page.bytes("HTTP/1.1")).await?;
            return Ok(After::Reset);
        }
    };
    exchange.head = match Head::parse(&text) {
        Ok(head) => head,
        Err(HeadError::NotARequest) => {
            // XAPI says nothing and waits.
            while exchange.conn.fill().await? {
                exchange.conn.discard(exchange.conn.buffered().len());
            }
            return Ok(After::Close);
        }
        Err(HeadError::BadHeader) => {
            let page = Page::internal_error(Some("The HTTP headers could not be parsed."));
            exchange.conn.send(&page.bytes("HTTP/1.1")).await?;
            return Ok(After::Close);
        }
    };
    let version = exchange.head.version();
    let verb = match &exchange.head.verb {
        Ok(verb) => *verb,
        Err(word) => {
            let page = Page::not_implemented(word);
            exchange.conn.send(&page.bytes(version)).await?;
            return Ok(After::Close);
        }
    };
    if let Some(handler) = exchange.core.router().http.find(verb, &exchange.head.path) {
        exchange.fault = exchange.core.faults().strike(&exchange.head.path);
        exchange.core.link_latency().await;
        return handled(exchange, handler).await;
    }
    match verb {
        Verb::Post => post(exchange).await,
        Verb::Options => {
            let keep = exchange.head.keep_alive();
            let requested = exchange.head.header("access-control-request-headers");
            let answer = page::options(version, keep, requested);
            exchange.conn.send(&answer).await?;
            Ok(if keep { After::KeepOpen } else { After::Close })
        }
        Verb::Get => {
            // The page says close, the connection stays open.
            exchange.conn.send(&Page::forbidden().bytes(version)).await?;
            Ok(After::KeepOpen)
        }
        Verb::Put | Verb::Connect => {
            exchange.conn.send(&Page::forbidden().bytes(version)).await?;
            Ok(After::Close)
        }
    }
}

/// Has a handler answer, or the fault that has struck this request.
async fn handled(exchange: &mut Exchange, handler: Handler) -> io::Result<After> {
    let Some(fault) = exchange.fault.clone() else { return handler(exchange).await };
    if let Fault::SessionExpired = fault {
        if let Some(session) = exchange.head.param("session_id") {
            session::end(&exchange.core, session);
        }
        return handler(exchange).await;
    }
    let core = exchange.core.clone();
    match fault.before(&core).await {
        Wire::Go => {}
        Wire::Failure(failure) => {
            let page = Page::internal_error(Some(&failure.to_string()));
            if let Some(task) = exchange.head.task() {
                task::finish(&core, task, Err(failure));
            }
            let version = exchange.head.version();
            exchange.conn.send(&page.bytes(version)).await?;
            return Ok(After::Close);
        }
        Wire::Drop => return Ok(After::Reset),
    }
    if let Fault::DropAfterBytes(len) = fault {
        exchange.conn.break_after(len);
    }
    let after = handler(exchange).await?;
    Ok(match fault {
        Fault::Silence => {
            core.faults().hang().await;
            After::Reset
        }
        Fault::DropAfterExecution => After::Reset,
        Fault::RestartAfter => {
            core.stop_toolstack();
            core.start_toolstack();
            After::Reset
        }
        _ => after,
    })
}

/// The next header block, or the page that refuses it; nothing at the end of the connection.
async fn read_head(conn: &mut Conn) -> io::Result<Option<Result<String, Page>>> {
    let mut from = 0;
    loop {
        let buffered = conn.buffered();
        let limit = buffered.len().min(MAX_HEADER);
        if let Some(end) = end_of_head(&buffered[..limit], from) {
            let text = String::from_utf8_lossy(&buffered[..end]).into_owned();
            conn.discard(end);
            return Ok(Some(Ok(text)));
        }
        if buffered.len() >= MAX_HEADER {
            return Ok(Some(Err(Page::header_too_large())));
        }
        from = buffered.len().saturating_sub(3);
        if !conn.fill().await? {
            return Ok(None);
        }
    }
}

/// The length of the block with its blank line.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len()).find_map(|i| {
        let rest = &bytes[i..];
        if rest.starts_with(b"\r\n\r\n") {
            Some(i + 4)
        } else if rest.starts_with(b"\n\n") {
            Some(i + 2)
        } else {
            None
        }
    })
}

/// A method that XAPI answers before all others, and stumbles over.
const IS_ALIVE: &str = "system.isAlive:";

async fn post(exchange: &mut Exchange) -> io::Result<After> {
    let version = exchange.head.version();
    let refusal = match exchange.head.content_length() {
        None => Some("a content-length header is required"),
        Some(len) if len > MAX_BODY => Some("the body is longer than the limit"),
        Some(_) => None,
    };
    if let Some(reason) = refusal {
        exchange.conn.send(&Page::internal_error(Some(reason)).bytes(version)).await?;
        // A length that is none is the only one of these without bytes behind it that nobody reads.
        let nonsense =
            exchange.head.content_length().is_none() && exchange.head.header("content-length").is_some();
        return Ok(if nonsense { After::Close } else { After::Reset });
    }
    let len = exchange.head.content_length().unwrap_or(0);
    let body = exchange.conn.read_body(usize::try_from(len).unwrap_or(0)).await?;
    let speaks_json = exchange.core.config.personality.speaks_json();
    let path = if speaks_json { exchange.head.path.as_str() } else { "/" };
    let (encoding, mut call) = match rpc::decode(path, &body) {
        Ok(decoded) => decoded,
        Err(malformed) if !speaks_json => return not_xml(exchange, &malformed.to_string()).await,
        Err(malformed) => {
            let page = Page::internal_error(Some(&malformed.to_string()));
            exchange.conn.send(&page.bytes(version)).await?;
            return Ok(After::Close);
        }
    };
    if call.method.starts_with(IS_ALIVE) {
        let page = Page::internal_error(Some("Invalid_argument(\"String.sub / Bytes.sub\")"));
        exchange.conn.send(&page.bytes(version)).await?;
        return Ok(After::Close);
    }
    call.task_keys = exchange.head.task_keys();
    let core = exchange.core.clone();
    let Some((outcome, cut)) = core.call(&exchange.host, call).await else {
        return Ok(After::Reset);
    };
    let keep = exchange.head.keep_alive();
    let body = match rpc::encode(&encoding, &outcome) {
        Ok(body) => body,
        Err(error) => {
            let page = Page::internal_error(Some(&error.to_string()));
            exchange.conn.send(&page.bytes(version)).await?;
            return Ok(After::Close);
        }
    };
    let answer = page::reply(version, keep, encoding.content_type(), body.as_bytes());
    if let Some(cut) = cut {
        let len = match cut {
            Cut::After(len) => len,
            Cut::Halfway => answer.len() - body.len().div_ceil(2),
        };
        exchange.conn.send(&answer[..answer.len().min(len)]).await?;
        return Ok(After::Reset);
    }
    exchange.conn.send(&answer).await?;
    Ok(if keep { After::KeepOpen } else { After::Close })
}

/// The answer of a server that knows no JSON to what is no XML: a failure in its own encoding.
async fn not_xml(exchange: &mut Exchange, reason: &str) -> io::Result<After> {
    let failure = internal_error(&format!("Xmlm.Error({reason})"));
    let encoding = Encoding::Xml;
    let body = rpc::encode(&encoding, &Err(failure)).map_err(io::Error::other)?;
    let (version, keep) = (exchange.head.version(), exchange.head.keep_alive());
    exchange.conn.send(&page::reply(version, keep, encoding.content_type(), body.as_bytes())).await?;
    Ok(if keep { After::KeepOpen } else { After::Close })
}
