//! A body that is sent only after the host has said where it wants it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use super::Meter;
use crate::error::BoxError;
use crate::service::Arriving;

/// What is kept of an answer for an error's text.
const MAX_PAGE_BYTES: usize = 8 << 10;

/// What hyper sends: nothing until the body is handed over, then that, counted and checked.
///
/// The body stays with its owner until then, so a redirect costs nothing.
pub(super) struct Gated<B> {
    waiting: Option<oneshot::Receiver<B>>,
    body: Option<Pin<Box<B>>>,
    /// The last frame, kept until it is known to be the last: hyper does not ask for more than the
    /// announced length, and a body that has more must not pass for a complete one.
    last: Option<Frame<Bytes>>,
    len: Length,
    sent: Meter,
    fault: Fault,
}

/// The length of a body: known beforehand, or when it has ended.
#[derive(Debug, Clone)]
pub(super) struct Length {
    announced: u64,
    total: Arc<AtomicU64>,
}

/// What is announced for a body with an end mark of its own. XAPI wants a number there and does not look at it.
const OPEN_ENDED: u64 = 1 << 50;

impl Length {
    pub(super) fn exact(len: u64) -> Self {
        Self { announced: len, total: Arc::new(len.into()) }
    }

    pub(super) fn open_ended() -> Self {
        Self { announced: OPEN_ENDED, total: Arc::new(u64::MAX.into()) }
    }

    /// In bytes, if it is known.
    pub(super) fn known(&self) -> Option<u64> {
        Some(self.bytes()).filter(|bytes| *bytes != u64::MAX)
    }

    /// In bytes; of one that is not known yet, more than any body has.
    pub(super) fn bytes(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

/// What was wrong with the body itself, told apart from what was wrong with the network.
#[derive(Clone, Default)]
pub(super) struct Fault(Arc<Mutex<Option<BoxError>>>);

impl Fault {
    pub(super) fn take(&self) -> Option<BoxError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, error: BoxError) -> BoxError {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        "the body failed".into()
    }
}

/// The side from which the gate is opened.
pub(super) type Gate<B> = oneshot::Sender<B>;

impl<B> Gated<B> {
    pub(super) fn new(len: Length, sent: Meter, fault: Fault) -> (Gate<B>, Self) {
        let (gate, waiting) = oneshot::channel();
        (gate, Self { waiting: Some(waiting), body: None, last: None, len, sent, fault })
    }
}

impl<B> Body for Gated<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Some(waiting) = &mut this.waiting {
            let body = ready!(Pin::new(waiting).poll(cx));
            this.waiting = None;
            match body {
                Ok(body) => this.body = Some(Box::pin(body)),
                Err(_) => return Poll::Ready(Some(Err("the transfer was given up".into()))),
            }
        }
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        loop {
            let frame = ready!(body.as_mut().poll_frame(cx));
            match frame {
                Some(Ok(frame)) => {
                    let len = frame.data_ref().map_or(0, Bytes::len);
                    if len == 0 {
                        continue;
                    }
                    let sent = this.sent.bytes() + len as u64;
                    let announced = this.len.announced;
                    if this.last.is_some() || sent > announced {
                        let text = format!("the body is longer than the {announced} bytes it announced");
                        return Poll::Ready(Some(Err(this.fault.put(text.into()))));
                    }
                    if sent == announced {
                        this.last = Some(frame);
                        continue;
                    }
                    this.sent.data(frame.data_ref().map_or(&[], |data| data));
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(this.fault.put(error.into())))),
                None if this.len.announced == OPEN_ENDED => {
                    this.len.total.store(this.sent.bytes(), Ordering::Relaxed);
                    // The host knows from the end mark that this was all. For hyper there is more to come, until
                    // the connection is closed.
                    return Poll::Pending;
                }
                None => {
                    this.body = None;
                    if let Some(last) = this.last.take() {
                        this.sent.data(last.data_ref().map_or(&[], |data| data));
                        return Poll::Ready(Some(Ok(last)));
                    }
                    let sent = this.sent.bytes();
                    let text = format!(
                        "the body ended after {sent} of the {} bytes it announced",
                        this.len.announced
                    );
                    return Poll::Ready(Some(Err(this.fault.put(text.into()))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.len.announced == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len.announced)
    }
}

/// The beginning of a body, as much as there is within `patience`.
pub(crate) async fn read_some(mut incoming: Arriving, patience: Duration) -> Bytes {
    let mut page = BytesMut::new();
    let reading = async {
        while let Some(Ok(frame)) = incoming.frame().await {
            if let Some(data) = frame.data_ref() {
                let room = MAX_PAGE_BYTES - page.len();
                page.extend_from_slice(&data[..data.len().min(room)]);
            }
            if page.len() == MAX_PAGE_BYTES {
                break;
            }
        }
    };
    // What has come by then is enough.
    let _ = tokio::time::timeout(patience, reading).await;
    page.freeze()
}
