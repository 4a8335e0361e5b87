//! The connections to the pool's ports: how many there are, and what passes over each.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::core::Core;
use crate::http::Stream;

/// The connections to the pool's ports.
#[derive(Debug, Default)]
pub struct Connections {
    count: watch::Sender<Count>,
    meters: Mutex<HashMap<SocketAddr, Arc<Meter>>>,
}

/// How many connections there are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Count {
    /// Now.
    pub open: usize,
    /// At most at a time, since the pool was started.
    pub most: usize,
}

/// What has passed over a connection, as its host sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Bytes from the client.
    pub received_bytes: u64,
    /// Bytes to the client.
    pub sent_bytes: u64,
    /// The host has looked for more from the client, and found nothing yet.
    pub is_waiting: bool,
}

#[derive(Debug, Default)]
struct Meter {
    received: AtomicU64,
    sent: AtomicU64,
    is_waiting: AtomicBool,
}

impl Connections {
    /// How many there are, of clients that came by a port; for who waits for a number.
    pub fn count(&self) -> watch::Receiver<Count> {
        self.count.subscribe()
    }

    /// What has passed over the connection from an address; nothing before it is accepted and once it has ended.
    ///
    /// A host that has received and sent all and is waiting will do nothing before its client does.
    pub fn traffic(&self, client: SocketAddr) -> Option<Traffic> {
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let meter = meters.get(&client)?;
        // In this order: who waits after it has received the last byte has sent its answer to it.
        let received_bytes = meter.received.load(Ordering::Acquire);
        let is_waiting = meter.is_waiting.load(Ordering::Acquire);
        let sent_bytes = meter.sent.load(Ordering::Acquire);
        Some(Traffic { received_bytes, sent_bytes, is_waiting })
    }
}

/// A connection that is counted until this is dropped.
pub(crate) struct Open {
    core: Arc<Core>,
    client: Option<SocketAddr>,
}

impl Open {
    /// Counts a connection and what passes over it.
    pub(crate) fn new(core: &Arc<Core>, stream: TcpStream) -> (Self, Metered) {
        let connections = &core.connections;
        connections.count.send_modify(|count| {
            count.open += 1;
            count.most = count.most.max(count.open);
        });
        let (client, meter) = (stream.peer_addr().ok(), Arc::<Meter>::default());
        if let Some(client) = client {
            let mut meters = connections.meters.lock().unwrap_or_else(PoisonError::into_inner);
            meters.insert(client, meter.clone());
        }
        (Self { core: Arc::clone(core), client }, Metered { stream, meter })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let connections = &self.core.connections;
        if let Some(client) = self.client {
            connections.meters.lock().unwrap_or_else(PoisonError::into_inner).remove(&client);
        }
        connections.count.send_modify(|count| count.open -= 1);
    }
}

/// A connection whose bytes are counted.
pub(crate) struct Metered {
    stream: TcpStream,
    meter: Arc<Meter>,
}

impl Stream for Metered {
    fn reset_on_close(&mut self) {
        self.stream.reset_on_close();
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.meter.is_waiting.store(false, Ordering::Release);
        let len = buf.filled().len() - before;
        self.meter.received.fetch_add(len as u64, Ordering::Release);
        self.meter.is_waiting.store(polled.is_pending(), Ordering::Release);
        polled
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(len)) = &polled {
            self.meter.sent.fetch_add(*len as u64, Ordering::Release);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
