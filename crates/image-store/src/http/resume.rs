//! Content that goes on where its connection broke.

use bytes::Bytes;

use crate::content::{Pending, Pull};
use crate::error::{Error, Result};
use crate::http::client::Answer;
use crate::retry::{Attempts, Retry};
use http::{HeaderMap, HeaderValue, header};

/// Sends a GET with these further headers, somewhere.
pub(crate) trait Fetch: Send + Sync + 'static {
    fn fetch(&self, headers: HeaderMap) -> Pending<'_, Result<Answer>>;
}

/// After so many bytes the server is good again, and failures are counted anew. With every byte it would
/// be possible that they never end.
const PROGRESS_BYTES: u64 = 4 << 20;

/// The content behind a GET.
pub(crate) struct Resuming<F> {
    what: String,
    fetch: F,
    answer: Option<Answer>,
    validator: Option<HeaderValue>,
    etag: Option<HeaderValue>,
    len: Option<u64>,
    position: u64,
    /// Where the last failure was.
    failed_at: u64,
    attempts: Attempts,
    /// Whether the bytes are known to stay the same, because a digest of them is.
    immutable: bool,
}

impl<F: Fetch> Resuming<F> {
    /// Sends the first request, repeating it as `retry` says.
    pub(crate) async fn open(what: String, fetch: F, retry: Retry, immutable: bool) -> Result<Self> {
        let mut attempts = Attempts::new(retry);
        let answer = loop {
            let asked = async { fetch.fetch(HeaderMap::new()).await?.expect(&what, &[200]).await };
            match asked.await {
                Ok(answer) => break answer,
                Err(error) => attempts.failed(&what, error).await?,
            }
        };
        let etag = answer.headers.get(header::ETAG).cloned();
        // A weak one says that it means the same, not that the bytes are the same.
        let strong = etag.clone().filter(|etag| !etag.as_bytes().starts_with(b"W/"));
        let validator = strong.or_else(|| answer.headers.get(header::LAST_MODIFIED).cloned());
        let len = match answer.text(header::CONTENT_LENGTH) {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| Error::Protocol {
                what: what.clone(),
                problem: format!("its length is {text:?}, which is no number"),
            })?),
        };
        // The end of a connection is then the end of the content (RFC 9112 section 6.3), also when the server has died.
        let has_end = len.is_some() || answer.text(header::TRANSFER_ENCODING).is_some();
        if !has_end && !immutable {
            let problem = "the server tells neither its length nor its end; give a digest".to_owned();
            return Err(Error::Protocol { what, problem });
        }
        let answer = Some(answer);
        attempts.reset();
        Ok(Self { what, fetch, answer, validator, etag, len, position: 0, failed_at: 0, attempts, immutable })
    }

    /// Its length, as the server tells it.
    pub(crate) fn len(&self) -> Option<u64> {
        self.len
    }

    async fn piece(&mut self) -> Result<Option<Bytes>> {
        loop {
            let result = match &mut self.answer {
                Some(answer) => answer.chunk().await,
                None => self.go_on().await.map(|answer| {
                    self.answer = Some(answer);
                    Some(Bytes::new())
                }),
            };
            match result {
                Ok(Some(piece)) if piece.is_empty() => {}
                Ok(Some(piece)) => {
                    self.position += piece.len() as u64;
                    return Ok(Some(piece));
                }
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.answer = None;
                    if self.position - self.failed_at >= PROGRESS_BYTES {
                        self.attempts.reset();
                        self.failed_at = self.position;
                    }
                    self.attempts.failed(&self.what, error).await?;
                    if self.validator.is_none() && !self.immutable {
                        return Err(self.lost("the server gives neither ETag nor date; give a digest"));
                    }
                }
            }
        }
    }

    /// Asks for what is missing.
    async fn go_on(&self) -> Result<Answer> {
        let mut headers = HeaderMap::new();
        if self.position > 0 {
            let range = format!("bytes={}-", self.position);
            headers.insert(header::RANGE, range.parse().expect("digits"));
            if let Some(validator) = &self.validator {
                headers.insert(header::IF_RANGE, validator.clone());
            }
        }
        let mut answer = self.fetch.fetch(headers).await?.expect(&self.what, &[200, 206, 416]).await?;
        let etag = answer.headers.get(header::ETAG);
        if etag.is_some() && self.etag.is_some() && etag != self.etag.as_ref() {
            return Err(self.lost("it has been replaced in the meantime (its ETag is another one)"));
        }
        match answer.status.as_u16() {
            206 => self.check_range(&answer)?,
            416 => return Err(self.lost("it has become shorter in the meantime")),
            _ => {
                // No ranges here. The same content, known by its ETag or digest, is read over again.
                let same = etag.is_some() || self.immutable;
                if self.position > 0 && !same {
                    return Err(
                        self.lost("it has been replaced in the meantime, or the server has no ranges")
                    );
                }
                self.skip(&mut answer).await?;
            }
        }
        Ok(answer)
    }

    /// `bytes FIRST-LAST/TOTAL`
    fn check_range(&self, answer: &Answer) -> Result<()> {
        let text = answer.text(header::CONTENT_RANGE).unwrap_or_default();
        let parts = text.strip_prefix("bytes ").and_then(|rest| rest.split_once('/'));
        let first = parts.and_then(|(range, _)| range.split_once('-')?.0.parse::<u64>().ok());
        if first != Some(self.position) {
            let problem = format!("asked for the rest, the server gave range {text:?}");
            return Err(self.lost(&problem));
        }
        let total = parts.and_then(|(_, total)| total.parse::<u64>().ok());
        match (total, self.len) {
            (Some(total), Some(len)) if total != len => {
                Err(self.lost(&format!("it has {total} bytes now instead of {len}")))
            }
            _ => Ok(()),
        }
    }

    async fn skip(&self, answer: &mut Answer) -> Result<()> {
        let mut left = self.position;
        while left > 0 {
            let Some(piece) = answer.chunk().await? else {
                return Err(self.lost("it has become shorter in the meantime"));
            };
            let Some(rest) = left.checked_sub(piece.len() as u64) else {
                answer.unread(piece.slice(left as usize..));
                return Ok(());
            };
            left = rest;
        }
        Ok(())
    }

    fn lost(&self, problem: &str) -> Error {
        let (what, position) = (self.what.clone(), self.position);
        Error::NotResumable { what, position, problem: problem.to_owned() }
    }
}

impl<F: Fetch> Pull for Resuming<F> {
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>>> {
        Box::pin(self.piece())
    }
}
