//! An image behind an address.

use http::{HeaderMap, Uri};

use crate::content::{Content, Pending};
use crate::digest::Digest;
use crate::error::Result;
use crate::http::client::{Answer, Client, address, shown};
use crate::http::resume::{Fetch, Resuming};
use crate::image::{Declared, Image, ImageSource};
use crate::retry::Retry;

/// An image on an HTTP server.
///
/// A broken connection is resumed where it broke with `Range` and `If-Range`. Servers without ranges are
/// read from the start again, and the bytes that are known are left out. Where neither an ETag, a date nor
/// a digest shows that the rest belongs to the beginning, a break is an error.
#[derive(Debug, Clone)]
pub struct HttpSource {
    client: Client,
    uri: Uri,
    declared: Declared,
    digests: Vec<Digest>,
    retry: Retry,
}

impl HttpSource {
    /// The image at an address.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for an address that is none, or that has a user or password in it.
    pub fn new(client: Client, url: &str) -> Result<Self> {
        let (declared, digests) = (Declared::default(), Vec::new());
        Ok(Self { client, uri: address(url)?, declared, digests, retry: Retry::default() })
    }

    /// What the user says it is.
    pub fn declared(mut self, declared: Declared) -> Self {
        self.declared = declared;
        self
    }

    /// A digest it must have.
    pub fn digest(mut self, digest: Digest) -> Self {
        self.digests.push(digest);
        self
    }

    /// How often to try.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }
}

struct Get {
    client: Client,
    uri: Uri,
}

impl Fetch for Get {
    fn fetch(&self, headers: HeaderMap) -> Pending<'_, Result<Answer>> {
        Box::pin(self.client.follow(self.uri.clone(), headers))
    }
}

impl ImageSource for HttpSource {
    fn open(&self) -> Pending<'_, Result<Image>> {
        Box::pin(async {
            let what = shown(&self.uri);
            let get = Get { client: self.client.clone(), uri: self.uri.clone() };
            let immutable = !self.digests.is_empty();
            let body = Resuming::open(what.clone(), get, self.retry, immutable).await?;
            let len = body.len();
            let mut content = Content::new(what, len, body);
            self.digests.iter().cloned().for_each(|digest| content.check(digest));
            Ok(Image { declared: self.declared.clone(), len, content })
        })
    }
}
