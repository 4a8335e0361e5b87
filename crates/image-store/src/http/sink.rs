//! A place behind an address.

use http::{HeaderMap, HeaderValue, Method, Uri, header};

use crate::content::Pending;
use crate::error::Result;
use crate::http::client::{Client, Request, address, shown};
use crate::http::outgoing::Outgoing;
use crate::image::{Image, ImageSink, Stored};
use crate::retry::{Attempts, Retry};

/// A place on an HTTP server that takes a PUT.
///
/// The last bytes are sent only when the image has been found complete and right. Whether an incomplete
/// PUT leaves something behind is the server's matter; WebDAV servers and object stores keep nothing.
#[derive(Debug, Clone)]
pub struct HttpSink {
    client: Client,
    uri: Uri,
    replace: bool,
    retry: Retry,
}

impl HttpSink {
    /// The place at an address, which must be free: `If-None-Match: *` is sent with the PUT.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for an address that is none, or that has a user or password in it.
    pub fn new(client: Client, url: &str) -> Result<Self> {
        Ok(Self { client, uri: address(url)?, replace: false, retry: Retry::default() })
    }

    /// As [`HttpSink::new`], but what is there is replaced.
    ///
    /// # Errors
    /// As [`HttpSink::new`].
    pub fn replacing(client: Client, url: &str) -> Result<Self> {
        Ok(Self { replace: true, ..Self::new(client, url)? })
    }

    /// How often to try.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    async fn put(&self, what: &str, image: Image) -> Result<Stored> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        if !self.replace {
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        let body = Outgoing::image(image.content);
        let seen = body.seen();
        let request = Request { method: Method::PUT, uri: self.uri.clone(), headers, body };
        let answer = self.client.send(request).await?;
        if answer.status.as_u16() == 412 {
            return Err(crate::Error::Exists { what: what.to_owned() });
        }
        answer.expect(what, &[200, 201, 204]).await?;
        let (len, digest) = seen.finish();
        Ok(Stored { place: what.to_owned(), len, digest })
    }
}

impl ImageSink for HttpSink {
    fn store<'a>(
        &'a self,
        make: &'a (dyn Fn() -> Pending<'a, Result<Image>> + Send + Sync),
    ) -> Pending<'a, Result<Stored>> {
        Box::pin(async {
            let what = shown(&self.uri);
            let mut attempts = Attempts::new(self.retry);
            loop {
                let put = async { self.put(&what, make().await?).await };
                match put.await {
                    Ok(stored) => return Ok(stored),
                    Err(error) => attempts.failed(&what, error).await?,
                }
            }
        })
    }
}
