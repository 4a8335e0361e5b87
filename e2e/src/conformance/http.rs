//! HTTP by hand, for what no well-behaved client sends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use xenapi_client::{Connect, Endpoint, Fingerprint, Io, Trust};

use super::expect::not_applicable;
use super::lab::Lab;

/// How long a connection may be silent before it counts as left open. XAPI needs less than a second for
/// the disks of these checks; slow storage may need more.
const SILENCE: Duration = Duration::from_secs(20);

/// An answer, read until the connection ended or fell silent.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Names in lower case.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// What was read, when there is the head of an answer in it.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Self { status, headers, body: bytes[end + 4..].to_vec() })
    }

    /// Whether nothing more can come. What has no length ends with the connection, except for refusals
    /// that have no body and after which XAPI leaves the connection open.
    fn is_complete(&self) -> bool {
        match self.header("content-length").and_then(|len| len.parse::<usize>().ok()) {
            Some(len) => self.body.len() >= len,
            None => matches!(self.status, 302 | 400 | 404),
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

impl Lab {
    /// Sends a request, `PUT /path?query` with header lines if any, and reads the answer: `None` if the
    /// connection ends without one.
    ///
    /// # Errors
    /// When there is no connection, or nothing ever comes.
    pub(super) async fn http(&self, request: &str, headers: &[&str], body: &[u8]) -> Result<Option<Answer>> {
        let endpoint = self.client.endpoint();
        let stream = self.open(&endpoint).await?;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut head = format!("{request} HTTP/1.1\r\nHost: {}\r\n", endpoint.host().unwrap_or("localhost"));
        if request.starts_with("PUT") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        let send = async {
            // A server that has refused the request does not read its body: what it answered counts.
            let _ = writer.write_all(head.as_bytes()).await;
            let _ = writer.write_all(body).await;
            let _ = writer.flush().await;
        };
        let mut received = Vec::new();
        let receive = async {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(Ok(count @ 1..)) = tokio::time::timeout(SILENCE, reader.read(&mut buffer)).await {
                received.extend_from_slice(&buffer[..count]);
                if Answer::parse(&received).is_some_and(|answer| answer.is_complete()) {
                    break;
                }
            }
        };
        tokio::join!(send, receive);
        if received.is_empty() {
            return Ok(None);
        }
        Answer::parse(&received).map(Some).with_context(|| format!("no HTTP: {received:?}"))
    }

    /// As [`Lab::http`], of a server that answers.
    pub(super) async fn answer(&self, request: &str, headers: &[&str], body: &[u8]) -> Result<Answer> {
        let answer = self.http(request, headers, body).await?;
        answer.with_context(|| format!("the connection ended without an answer to {request}"))
    }

    /// Opens a connection, with the same trust as the client's.
    pub(super) async fn open(&self, endpoint: &Endpoint) -> Result<Box<dyn Io>> {
        let connector = &self.target.connector;
        let stream = connector.connect(endpoint).await?;
        if !endpoint.is_tls() || connector.is_private() {
            return Ok(stream);
        }
        let trusted = match &self.target.trust {
            Trust::Fingerprints(fingerprints) => Some(fingerprints.clone()),
            Trust::DangerAcceptAny => None,
            _ => return Err(not_applicable("over TLS, requests by hand need the server's fingerprint")),
        };
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned { trusted, provider }))
            .with_no_client_auth();
        let name = ServerName::try_from(endpoint.host().unwrap_or_default().to_owned())?;
        Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
    }
}

/// Trusts the certificates with these fingerprints, or all.
#[derive(Debug)]
struct Pinned {
    trusted: Option<Vec<Fingerprint>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let seen = Fingerprint::of_certificate(certificate);
        match &self.trusted {
            Some(trusted) if !trusted.contains(&seen) => {
                Err(rustls::Error::General(format!("certificate {seen} is not the one that was pinned")))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
