//! One call as one HTTP request, in the encoding that the server understands.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderName};
use secret::Secret;
use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer};
use xenapi_types::Safety;
use xenapi_wire::jsonrpc::{Id, Version};
use xenapi_wire::{DecodeError, Failure, Limits, jsonrpc, xmlrpc};

use crate::config::{Config, Encoding};
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::http::{Http, Reply};
use crate::redact::Secrets;
use crate::task::MARK_HEADER;

/// What XAPI reads of a request's body; it answers HTTP 500 to more.
const MAX_REQUEST_BYTES: usize = 307_200;

const MARK: HeaderName = HeaderName::from_static(MARK_HEADER);

/// Calls to any host of a pool. The encoding is found out once: all hosts of a pool run the same
/// version.
pub(crate) struct Rpc {
    pub(crate) http: Http,
    encoding: AtomicU8,
    next_id: AtomicI64,
    limits: Limits,
    /// Any host may repeat it.
    password: Secret,
}

const UNKNOWN: u8 = 0;
const JSON: u8 = 1;
const XML: u8 = 2;

/// Who makes a call.
#[derive(Clone, Copy, Default)]
pub(crate) struct Caller<'a> {
    pub(crate) session: Option<&'a str>,
    /// What goes with it into its task.
    pub(crate) mark: Option<&'a str>,
}

/// An encoding in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Xml,
}

/// How a result is read: into a type ([`Typed`]), or with something at hand. Once for each attempt.
pub(crate) trait Read<T>: for<'de> DeserializeSeed<'de, Value = T> + Copy + Send {}

impl<T, R: for<'de> DeserializeSeed<'de, Value = T> + Copy + Send> Read<T> for R {}

/// Reads a type.
pub(crate) struct Typed<T>(PhantomData<fn() -> T>);

impl<T> Typed<T> {
    pub(crate) const NEW: Self = Self(PhantomData);
}

impl<T> Clone for Typed<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Typed<T> {}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for Typed<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::deserialize(deserializer)
    }
}

impl Rpc {
    pub(crate) fn new(http: Http, config: &Config) -> Self {
        let encoding = match config.encoding {
            Encoding::Auto => UNKNOWN,
            Encoding::JsonRpc => JSON,
            Encoding::XmlRpc => XML,
        };
        let limits = Limits { max_bytes: config.limits.response_bytes, ..Limits::RESPONSE };
        let password = config.password.clone();
        Self { http, encoding: encoding.into(), next_id: AtomicI64::new(1), limits, password }
    }

    /// Makes one call; the inner result is what XAPI says.
    ///
    /// # Errors
    /// Everything that keeps XAPI from saying something, with the endpoint in it.
    pub(crate) async fn exchange<P: Serialize + Sync + ?Sized, T>(
        &self,
        endpoint: &Endpoint,
        method: &str,
        caller: Caller<'_>,
        params: &P,
        read: impl Read<T>,
    ) -> Result<Result<T, Failure>> {
        let (mut form, probing) = match self.encoding.load(Ordering::Relaxed) {
            UNKNOWN => (Form::Json, true),
            JSON => (Form::Json, false),
            _ => (Form::Xml, false),
        };
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut reply = self.post(endpoint, form, id, method, caller, params).await?;
        if probing {
            // A server without JSON-RPC takes the request for broken XML-RPC and executes nothing:
            // it answers 404, or 500 with a page, or in its own encoding.
            if reply.status != StatusCode::OK || !reply.content_type_is("application/json") {
                tracing::debug!(%endpoint, status = %reply.status, "no JSON-RPC here, using XML-RPC");
                form = Form::Xml;
                reply = self.post(endpoint, form, id, method, caller, params).await?;
            }
        }
        // A page or an answer that cannot be read may repeat all that was sent, and a failure the parameters.
        let secrets = || {
            let secrets = Secrets::of(params).and(&self.password, "(the password)");
            caller.session.into_iter().fold(secrets, Secrets::and_session)
        };
        let answer = self.read(form, id, reply, read, &secrets).map_err(|error| error.at(endpoint))?;
        if probing {
            self.encoding.store(if form == Form::Json { JSON } else { XML }, Ordering::Relaxed);
        }
        Ok(answer.map_err(|failure| Secrets::of(params).cut_out(failure)))
    }

    async fn post<P: Serialize + Sync + ?Sized>(
        &self,
        endpoint: &Endpoint,
        form: Form,
        id: i64,
        method: &str,
        caller: Caller<'_>,
        params: &P,
    ) -> Result<Reply> {
        let text = match form {
            Form::Json => jsonrpc::encode_call(Version::V2, &Id::Int(id), method, caller.session, params),
            Form::Xml => xmlrpc::encode_call(method, caller.session, params),
        };
        let text = text.map_err(|e| {
            Error::new(ErrorKind::Config, format!("the parameters cannot be sent: {e}"))
                .because(e)
                .at(endpoint)
        })?;
        let body = Bytes::from(text);
        if body.len() > MAX_REQUEST_BYTES {
            let message = format!("the call has {} bytes and XAPI accepts {MAX_REQUEST_BYTES}", body.len());
            return Err(Error::new(ErrorKind::Config, message).at(endpoint));
        }
        let (path, content_type) = match form {
            Form::Json => ("/jsonrpc", "application/json"),
            Form::Xml => ("/", "text/xml"),
        };
        let mark = caller.mark.map(|mark| (MARK, mark));
        let headers: Vec<_> = [(header::CONTENT_TYPE, content_type)].into_iter().chain(mark).collect();
        self.http.post(endpoint, path, &headers, &body, Safety::of(method)).await
    }

    fn read<T>(
        &self,
        form: Form,
        id: i64,
        reply: Reply,
        read: impl Read<T>,
        secrets: &dyn Fn() -> Secrets,
    ) -> Result<Result<T, Failure>> {
        if reply.status != StatusCode::OK {
            let page = secrets().page(&reply.body.joined());
            let message = format!("HTTP {} instead of an answer: {page}", reply.status);
            return Err(Error::new(ErrorKind::Protocol, message)
                .remedy("check that this is the address of a XenServer or XCP-ng host"));
        }
        let unreadable = |e: DecodeError| {
            let (told, whole) = (secrets().cut_from(&e.to_string()), e.to_string());
            let error = Error::new(ErrorKind::Protocol, format!("the answer cannot be read: {told}"));
            if told == whole { error.because(e) } else { error }
        };
        match form {
            Form::Xml => xmlrpc::decode_pieces_with(read, reply.body, &self.limits).map_err(unreadable),
            Form::Json => {
                let answer = jsonrpc::decode_response_with(read, &reply.body.joined(), &self.limits)
                    .map_err(unreadable)?;
                // XAPI answers with id 0 when it failed before it had read the request.
                if answer.id != Some(Id::Int(id)) && answer.result.is_ok() {
                    return Err(Error::new(ErrorKind::Protocol, "the answer belongs to another call"));
                }
                Ok(answer.result)
            }
        }
    }
}
