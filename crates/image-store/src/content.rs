//! The bytes of an image on their way.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};

/// A future that is not named.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where bytes come from, piece by piece.
pub(crate) trait Pull: Send + 'static {
    /// The next piece, or `None` at the end.
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>>>;
}

/// The content of an image as a body.
///
/// What is known of it beforehand is checked as it passes: a content of another length or digest ends in
/// an error and never in a plain end, so that whoever keeps what was read only after the end keeps
/// nothing that is wrong.
///
/// Dropping it closes the connection or file it comes from.
pub struct Content {
    what: String,
    state: State,
    len: Option<u64>,
    position: u64,
    checks: Vec<(Hasher, Digest)>,
}

type Pulled = (Box<dyn Pull>, Result<Option<Bytes>>);

enum State {
    Idle(Box<dyn Pull>),
    Pulling(Pending<'static, Pulled>),
    Ended,
}

impl Content {
    pub(crate) fn new(what: String, len: Option<u64>, source: impl Pull) -> Self {
        Self { what, state: State::Idle(Box::new(source)), len, position: 0, checks: Vec::new() }
    }

    /// Content that is in memory.
    pub fn from_bytes(what: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        struct Once(Option<Bytes>);
        impl Pull for Once {
            fn next(&mut self) -> Pending<'_, Result<Option<Bytes>>> {
                let piece = self.0.take();
                Box::pin(async { Ok(piece) })
            }
        }
        let bytes = bytes.into();
        let len = bytes.len() as u64;
        Self::new(what.into(), Some(len), Once(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    /// Content made by another body, as one that packs a disk; `len` is its length where it is known.
    pub fn from_body<B>(what: impl Into<String>, len: Option<u64>, body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        struct Frames<B> {
            what: String,
            body: Pin<Box<B>>,
        }
        impl<B> Pull for Frames<B>
        where
            B: Body<Data = Bytes> + Send + 'static,
            B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        {
            fn next(&mut self) -> Pending<'_, Result<Option<Bytes>>> {
                Box::pin(async {
                    loop {
                        match std::future::poll_fn(|cx| self.body.as_mut().poll_frame(cx)).await {
                            None => return Ok(None),
                            Some(Ok(frame)) => match frame.into_data() {
                                Ok(data) => return Ok(Some(data)),
                                Err(_) => continue,
                            },
                            Some(Err(error)) => {
                                let source = std::io::Error::other(error);
                                return Err(Error::Io { doing: "make", what: self.what.clone(), source });
                            }
                        }
                    }
                })
            }
        }
        let what = what.into();
        Self::new(what.clone(), len, Frames { what, body: Box::pin(body) })
    }

    /// What it is the content of, in words.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Adds a digest that the whole content must have.
    pub fn check(&mut self, digest: Digest) {
        debug_assert_eq!(self.position, 0, "a digest is of the whole");
        self.checks.push((Hasher::new(digest.algorithm()), digest));
    }

    /// The next piece, or `None` at the end.
    ///
    /// # Errors
    /// Those of the place it comes from, and [`Error::Length`] and [`Error::Digest`]. There is nothing
    /// after an error.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        match std::future::poll_fn(|cx| self.poll_chunk(cx)).await {
            Some(result) => result.map(Some),
            None => Ok(None),
        }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Idle(mut source) => {
                    self.state = State::Pulling(Box::pin(async move {
                        let result = source.next().await;
                        (source, result)
                    }));
                }
                State::Pulling(mut pulling) => {
                    let Poll::Ready((source, result)) = pulling.as_mut().poll(cx) else {
                        self.state = State::Pulling(pulling);
                        return Poll::Pending;
                    };
                    let piece = match result {
                        Ok(Some(piece)) => piece,
                        Ok(None) => return Poll::Ready(self.end().err().map(Err)),
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    };
                    if let Err(error) = self.pass(&piece) {
                        return Poll::Ready(Some(Err(error)));
                    }
                    self.state = State::Idle(source);
                    return Poll::Ready(Some(Ok(piece)));
                }
            }
        }
    }

    fn pass(&mut self, piece: &Bytes) -> Result<()> {
        self.position += piece.len() as u64;
        if let Some(expected) = self.len.filter(|len| self.position > *len) {
            return Err(Error::Length { what: self.what.clone(), got: self.position, expected });
        }
        for (hasher, _) in &mut self.checks {
            hasher.update(piece);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let what = || self.what.clone();
        if let Some(expected) = self.len.filter(|len| self.position != *len) {
            return Err(Error::Length { what: what(), got: self.position, expected });
        }
        for (hasher, expected) in self.checks.drain(..) {
            let got = hasher.finish();
            if got != expected {
                return Err(Error::Digest { what: self.what.clone(), got, expected });
            }
        }
        Ok(())
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let piece = ready!(self.poll_chunk(cx));
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        match self.len {
            Some(len) => SizeHint::with_exact(len.saturating_sub(self.position)),
            None => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("what", &self.what)
            .field("len", &self.len)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
