//! Requests to the image service, at one of its endpoints.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, HeaderValue, Method, Uri, header};
use secret::Secret;
use serde::Deserialize;

use crate::content::Content;
use crate::digest::Algorithm;
use crate::error::{Error, Result};
use crate::glance::keystone::Keystone;
use crate::glance::record::{ImageRecord, NewImage};
use crate::http::{Answer, Outgoing, Request, address};
use crate::image::Remote;
use crate::retry::{Attempts, Retry};

/// The image service. Clones share its endpoints and the token.
///
/// Each attempt goes to the next endpoint, beginning anywhere, so that many clients share the load and one
/// endpoint that is down costs one pause.
#[derive(Debug, Clone)]
pub struct Glance {
    keystone: Keystone,
    endpoints: Vec<Uri>,
    next: Arc<AtomicUsize>,
    /// The endpoint of an attempt that takes several requests.
    turn: Option<usize>,
    pub(super) retry: Retry,
}

#[derive(Deserialize)]
struct Page {
    images: Vec<ImageRecord>,
    #[serde(default)]
    next: Option<String>,
}

impl Glance {
    /// The image service that `keystone` has in its catalog.
    pub fn new(keystone: Keystone) -> Self {
        // Seeded at random by the standard library.
        let anywhere = RandomState::new().hash_one(0) as usize;
        let next = Arc::new(anywhere.into());
        Self { keystone, endpoints: Vec::new(), next, turn: None, retry: Retry::default() }
    }

    /// The endpoints to use instead of the catalog's, in turn.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an address that is none.
    pub fn endpoints(mut self, urls: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self> {
        self.endpoints = urls.into_iter().map(|url| address(url.as_ref())).collect::<Result<_>>()?;
        Ok(self)
    }

    /// How often to try.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// The same at its next endpoint only. What takes several requests, as an upload does, would otherwise need
    /// all of the endpoints to be there.
    pub(super) fn at_next_endpoint(&self) -> Self {
        Self { turn: Some(self.next.fetch_add(1, Ordering::Relaxed)), ..self.clone() }
    }

    /// The same at all endpoints, the one after its own first, without a turn of anybody else's being taken for that.
    pub(super) fn beside(&self) -> Self {
        let next = Arc::new(self.turn.map_or(0, |turn| turn.wrapping_add(1)).into());
        Self { next, turn: None, ..self.clone() }
    }

    /// All images that can be seen, or those of a name.
    ///
    /// # Errors
    /// Those of the services, after as many attempts as [`Glance::retry`] allows.
    pub async fn list(&self, name: Option<&str>) -> Result<Vec<ImageRecord>> {
        // Without the operator, what stands before a colon in the name would be taken for one.
        let filter = name.map_or(String::new(), |name| format!("?name=eq:{}", escaped(name)));
        let (mut path, mut images) = (format!("/v2/images{filter}"), Vec::new());
        loop {
            let page: Page = self.get_json("the list of images", &path).await?;
            let is_empty = page.images.is_empty();
            images.extend(page.images);
            match page.next {
                Some(next) if !is_empty && next != path => path = next,
                _ => return Ok(images),
            }
        }
    }

    /// The image of an id, or the only one of a name.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] with the ids if several have the name; and those of the services.
    pub async fn find(&self, id_or_name: &str) -> Result<ImageRecord> {
        if is_uuid(id_or_name) {
            match self.show(id_or_name).await {
                // It may still be somebody's name.
                Err(Error::NotFound { .. }) => {}
                found => return found,
            }
        }
        let mut named = self.list(Some(id_or_name)).await?;
        match (named.pop(), named.is_empty()) {
            (None, _) => Err(Error::NotFound { what: format!("image {id_or_name:?}") }),
            (Some(only), true) => Ok(only),
            (Some(last), false) => {
                let ids: Vec<_> = named.iter().chain([&last]).map(|image| image.id.as_str()).collect();
                let problem =
                    format!("several images have this name; give one of the ids {}", ids.join(", "));
                Err(Error::Invalid { what: format!("image {id_or_name:?}"), problem })
            }
        }
    }

    /// The image of an id.
    ///
    /// # Errors
    /// [`Error::NotFound`], and those of the services.
    pub async fn show(&self, id: &str) -> Result<ImageRecord> {
        self.get_json(&format!("image {id}"), &format!("/v2/images/{}", escaped(id))).await
    }

    /// An image as somebody else can fetch it, with a token of this session: for as long as that is good.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an image that Glance has no SHA-2 digest of; else as [`Glance::find`].
    pub async fn remote(&self, id_or_name: &str) -> Result<Remote> {
        let record = self.find(id_or_name).await?;
        let invalid = |problem: &str| Error::Invalid {
            what: format!("image {}", record.id),
            problem: problem.to_owned(),
        };
        let digest = record.digest()?.filter(|digest| digest.algorithm() != Algorithm::Md5);
        let digest =
            digest.ok_or_else(|| invalid("Glance knows no SHA-2 digest of it, so nobody can check it"))?;
        let path = format!("/v2/images/{}/file", escaped(&record.id));
        let session = self.keystone.session().await?;
        let request = self.addressed(&session, Method::GET, &path, HeaderMap::new(), Outgoing::empty())?;
        let text = |value: &HeaderValue| value.to_str().map(Secret::new).ok();
        let headers = request.headers.iter().map(|(name, value)| Some((name.to_string(), text(value)?)));
        let headers = headers.collect::<Option<_>>().ok_or_else(|| invalid("its token is no text"))?;
        Ok(Remote { url: request.uri.to_string(), headers, digest })
    }

    /// Removes an image. One that is not there is none to remove.
    ///
    /// # Errors
    /// Those of the services, such as a protected image.
    pub async fn delete(&self, id: &str) -> Result<()> {
        let what = format!("image {id}");
        let path = format!("/v2/images/{}", escaped(id));
        let mut attempts = Attempts::new(self.retry);
        loop {
            let deleted = async {
                let answer = self.request(Method::DELETE, &path, HeaderMap::new(), Outgoing::empty()).await?;
                answer.expect(&what, &[200, 204]).await
            };
            match deleted.await {
                Ok(_) | Err(Error::NotFound { .. }) => return Ok(()),
                Err(error) => attempts.failed(&what, error).await?,
            }
        }
    }

    /// Makes an image without content under an id that nobody has; the id that it has got. It is not tried again: who
    /// has no answer removes what may have been made.
    pub(super) async fn create(&self, image: &NewImage, id: &str) -> Result<String> {
        let what = format!("new image {:?}", image.name);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = Outgoing::text(image.body(id).to_string());
        let answer = self.request(Method::POST, "/v2/images", headers, body).await?;
        match answer.expect(&what, &[200, 201]).await {
            Ok(mut answer) => Ok(answer.json::<ImageRecord>().await?.id),
            // Nobody else has thought of this id: a proxy has sent the request a second time.
            Err(Error::Status { status: 409, what, said }) => match self.show(id).await {
                Ok(record) => Ok(record.id),
                Err(_) => Err(Error::Status { status: 409, what, said }),
            },
            Err(error) => Err(error),
        }
    }

    /// Gives an image its content, once. Returns how much was sent, and its digest.
    pub(super) async fn upload(&self, id: &str, content: Content) -> Result<(u64, crate::Digest)> {
        let what = format!("image {id}");
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let body = Outgoing::image(content);
        let seen = body.seen();
        let path = format!("/v2/images/{}/file", escaped(id));
        // With a token that has just been good for making the image.
        let session = self.keystone.session().await?;
        let request = self.addressed(&session, Method::PUT, &path, headers, body)?;
        self.keystone.client.send(request).await?.expect(&what, &[200, 201, 204]).await?;
        Ok(seen.finish())
    }

    /// The beginning of an image's content, or of its rest.
    pub(super) async fn download(&self, id: &str, headers: HeaderMap) -> Result<Answer> {
        let path = format!("/v2/images/{}/file", escaped(id));
        let answer = self.request(Method::GET, &path, headers, Outgoing::empty()).await?;
        answer.expect(&format!("image {id}"), &[200, 206, 416]).await
    }

    async fn get_json<T: serde::de::DeserializeOwned>(&self, what: &str, path: &str) -> Result<T> {
        let mut attempts = Attempts::new(self.retry);
        loop {
            let got = async {
                let answer = self.request(Method::GET, path, HeaderMap::new(), Outgoing::empty()).await?;
                answer.expect(what, &[200]).await?.json().await
            };
            match got.await {
                Ok(got) => return Ok(got),
                Err(error) => attempts.failed(what, error).await?,
            }
        }
    }

    /// Sends a request to the next endpoint; once more with a new token if the old one is refused.
    async fn request(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Outgoing,
    ) -> Result<Answer> {
        let session = self.keystone.session().await?;
        let repeatable = body.again();
        let request = self.addressed(&session, method.clone(), path, headers.clone(), body)?;
        let answer = self.keystone.client.send(request).await?;
        if answer.status.as_u16() != 401 || !self.keystone.forget(&session).await {
            return Ok(answer);
        }
        let Some(body) = repeatable else { return Ok(answer) };
        let session = self.keystone.session().await?;
        let request = self.addressed(&session, method, path, headers, body)?;
        self.keystone.client.send(request).await
    }

    fn addressed(
        &self,
        session: &super::keystone::Session,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: Outgoing,
    ) -> Result<Request> {
        let known = if self.endpoints.is_empty() { &session.endpoints } else { &self.endpoints };
        if known.is_empty() {
            let problem = format!(
                "there is no {} in the catalog; name its address, or another region or interface",
                self.keystone.describe_choice()
            );
            return Err(Error::Invalid { what: "the image service".into(), problem });
        }
        let turn = self.turn.unwrap_or_else(|| self.next.fetch_add(1, Ordering::Relaxed));
        let base = known[turn % known.len()].to_string();
        let base = base.trim_end_matches('/').trim_end_matches("/v2");
        headers.insert("x-auth-token", session.header()?);
        Ok(Request { method, uri: address(&format!("{base}{path}"))?, headers, body })
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// Text as a part of an address.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(byte.into()),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_their_place_in_an_address() {
        assert_eq!(escaped("a b&c/../é"), "a%20b%26c%2F..%2F%C3%A9");
        assert!(is_uuid("6f70656e-7374-4163-8b00-000000000001"));
        assert!(!is_uuid("debian-13"));
    }
}
