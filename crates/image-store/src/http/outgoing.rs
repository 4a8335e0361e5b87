//! Bodies of requests.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::content::Content;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::Error;

/// What is sent: nothing, a text, or an image.
///
/// The last piece of an image is held back until the image has been found complete and right: a server
/// never has all bytes of one that is not.
pub(crate) struct Outgoing {
    /// What can be sent a second time: everything but images.
    text: Option<Bytes>,
    content: Option<Content>,
    held: Option<Bytes>,
    /// Bytes that are still to be given out, where that is known.
    left: Option<u64>,
    moved: Arc<AtomicU64>,
    is_out: Arc<AtomicBool>,
    failure: Arc<Mutex<Option<Error>>>,
    seen: Arc<Mutex<Hasher>>,
}

/// The digest of what was sent.
pub(crate) struct Seen {
    hasher: Arc<Mutex<Hasher>>,
    moved: Arc<AtomicU64>,
}

impl Seen {
    pub(crate) fn finish(&self) -> (u64, Digest) {
        let hasher = self.hasher.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.moved.load(Ordering::Relaxed), hasher.finish())
    }
}

impl Outgoing {
    pub(crate) fn empty() -> Self {
        Self::text(Bytes::new())
    }

    pub(crate) fn text(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        let content = (!text.is_empty()).then(|| Content::from_bytes("the request", text.clone()));
        let left = Some(text.len() as u64);
        Self { text: Some(text), ..Self::new(content, left) }
    }

    /// The same once more, if that is possible.
    pub(crate) fn again(&self) -> Option<Self> {
        self.text.clone().map(Self::text)
    }

    pub(crate) fn image(content: Content) -> Self {
        let left = content.size_hint().exact();
        Self::new(Some(content), left)
    }

    fn new(content: Option<Content>, left: Option<u64>) -> Self {
        let hasher = Arc::new(Mutex::new(Hasher::new(Algorithm::Sha512)));
        Self {
            text: None,
            content,
            held: None,
            left,
            moved: Arc::default(),
            is_out: Arc::default(),
            failure: Arc::default(),
            seen: hasher,
        }
    }

    pub(crate) fn moved(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.moved)
    }

    /// Becomes true when all of an image has been given out.
    pub(crate) fn is_out(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_out)
    }

    /// Where the image's own error goes: hyper tells of none but its own.
    pub(crate) fn failure(&self) -> Arc<Mutex<Option<Error>>> {
        Arc::clone(&self.failure)
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen { hasher: Arc::clone(&self.seen), moved: Arc::clone(&self.moved) }
    }

    fn give(&mut self, piece: Bytes) -> Frame<Bytes> {
        self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
        self.moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).update(&piece);
        Frame::data(piece)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        loop {
            let Some(content) = &mut self.content else {
                let held = self.held.take();
                self.is_out.store(self.text.is_none(), Ordering::Relaxed);
                return Poll::Ready(held.map(|piece| Ok(self.give(piece))));
            };
            match std::task::ready!(Pin::new(content).poll_frame(cx)) {
                None => self.content = None,
                Some(Err(error)) => {
                    let text = error.to_string();
                    self.content = None;
                    self.held = None;
                    *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return Poll::Ready(Some(Err(std::io::Error::other(text))));
                }
                Some(Ok(frame)) => {
                    let Ok(piece) = frame.into_data() else { continue };
                    if piece.is_empty() {
                        continue;
                    }
                    if let Some(held) = self.held.replace(piece) {
                        return Poll::Ready(Some(Ok(self.give(held))));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_none() && self.held.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
