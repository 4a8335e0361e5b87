//! Taking a body apart on a thread that may block.

use std::pin::pin;

use bytes::Bytes;
use http_body::Body;
use tokio::sync::mpsc;

use crate::error::Error;
use crate::progress::{Progress, Stage};

/// Something that takes a stream, piece by piece. Its methods may block.
pub trait Consume: Send + 'static {
    /// What is known at the end.
    type Output: Send + 'static;

    /// Takes the next bytes.
    ///
    /// # Errors
    /// Whatever makes the rest of the stream useless.
    fn feed(&mut self, bytes: &[u8], progress: &Progress) -> Result<(), Error>;

    /// Takes the end.
    ///
    /// # Errors
    /// When the stream is not complete, or what was made of it cannot be kept.
    fn finish(self) -> Result<Self::Output, Error>;
}

/// Frames that wait between network and consumer.
const AHEAD: usize = 4;

/// Feeds all data of `body` to `consumer`, which runs on Tokio's blocking pool.
///
/// Dropping the future stops the consumer without [`Consume::finish`]: a target in the making is
/// removed.
///
/// # Errors
/// [`Error::Body`] when the body fails, and whatever the consumer says.
///
/// # Panics
/// Outside of a Tokio runtime.
pub async fn receive<B, C>(body: B, consumer: C, progress: Progress) -> Result<C::Output, Error>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    C: Consume,
{
    let mut body = pin!(body);
    progress.begin(Stage::Streaming, body.size_hint().exact().unwrap_or(0), 0);
    let (sender, mut receiver) = mpsc::channel::<Option<Bytes>>(AHEAD);
    let counters = progress.clone();
    let worker = tokio::task::spawn_blocking(move || {
        let mut consumer = consumer;
        loop {
            match receiver.blocking_recv() {
                Some(Some(bytes)) => consumer.feed(&bytes, &counters)?,
                Some(None) => return consumer.finish(),
                // The sender vanished before it said that this was all.
                None => return Err(Error::Interrupted),
            }
        }
    });
    let mut position = 0;
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                drop(sender);
                // Wait for it, so that a partial target is gone when the error is seen.
                let _interrupted = worker.await;
                return Err(Error::Body { position, source: error.into() });
            }
        };
        let Ok(bytes) = frame.into_data() else { continue };
        position += bytes.len() as u64;
        progress.add_wire(bytes.len());
        if sender.send(Some(bytes)).await.is_err() {
            // The consumer gave up; it says why below.
            break;
        }
    }
    let _gave_up = sender.send(None).await;
    worker.await.unwrap_or(Err(Error::Interrupted))
}
