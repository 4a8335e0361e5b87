//! Digests of streams, computed on the way.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::progress::Progress;
use crate::receive::Consume;

/// The SHA-256 of a stream, for whoever waits for its end.
#[derive(Debug)]
pub struct StreamDigest(oneshot::Receiver<String>);

impl StreamDigest {
    /// For a stream, and who will know it at its end.
    pub(crate) fn new() -> (oneshot::Sender<String>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }

    /// In hexadecimal, once all of the stream was read; `None` for one that broke off or was dropped.
    pub async fn wait(self) -> Option<String> {
        self.0.await.ok()
    }
}

/// Takes a stream, computes its SHA-256, and hands it on to another one.
#[derive(Debug)]
pub struct Digesting<C> {
    consumer: C,
    sum: Sha256,
}

impl<C> Digesting<C> {
    /// Around `consumer`.
    pub fn new(consumer: C) -> Self {
        Self { consumer, sum: Sha256::new() }
    }
}

impl<C: Consume> Consume for Digesting<C> {
    /// What the consumer knows at the end, and the digest in hexadecimal.
    type Output = (C::Output, String);

    fn feed(&mut self, bytes: &[u8], progress: &Progress) -> Result<(), Error> {
        self.sum.update(bytes);
        self.consumer.feed(bytes, progress)
    }

    fn finish(self) -> Result<Self::Output, Error> {
        Ok((self.consumer.finish()?, hex(self.sum)))
    }
}

pub(crate) fn hex(sum: Sha256) -> String {
    sum.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
