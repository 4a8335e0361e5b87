//! Which certificates are believed, and what is said about one that is not.
//!
//! XAPI's certificates are self-signed unless an operator installed others, so refusing one is the
//! usual first encounter: the error tells the fingerprint that was seen, for a person to compare.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};

use crate::config::Trust;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::known_hosts;

/// The SHA-256 of a certificate, as `openssl x509 -fingerprint -sha256` and XAPI's
/// `Certificate.fingerprint_sha256` show it: `AB:CD:…`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// A text that is not a SHA-256 fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a SHA-256 fingerprint: 32 bytes in hexadecimal, with or without colons, are expected")]
pub struct FingerprintError(String);

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of_certificate(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let error = || FingerprintError(text.to_owned());
        let body = text.trim();
        let body = ["sha256:", "SHA256:", "sha-256:", "sha256 Fingerprint="]
            .iter()
            .find_map(|prefix| body.strip_prefix(prefix))
            .unwrap_or(body);
        let digits: Vec<u8> = body
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or_else(error)?;
        let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        if digits.len() != 64 {
            return Err(error());
        }
        bytes.try_into().map(Self).map_err(|_| error())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if i == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a certificate was refused; found again inside the I/O error of the handshake.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) seen: Fingerprint,
    pub(crate) reason: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate {} refused: {}", self.seen, self.reason)
    }
}

impl std::error::Error for Refused {}

impl Refused {
    /// The refusal that ended a handshake, if that is what ended it.
    pub(crate) fn find(error: &std::io::Error) -> Option<&Self> {
        match error.get_ref()?.downcast_ref::<rustls::Error>()? {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
                inner.downcast_ref()
            }
            _ => None,
        }
    }
}

/// The TLS side of a configuration, made when it is first needed: a client that never leaves the
/// process needs no certificates.
pub(crate) struct Tls {
    trust: Trust,
    config: OnceLock<Arc<ClientConfig>>,
}

impl Tls {
    pub(crate) fn new(trust: Trust) -> Self {
        Self { trust, config: OnceLock::new() }
    }

    /// # Errors
    /// `Config` when the certificates to trust cannot be read.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = client_config(&self.trust)?;
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }

    /// Decides about a server after its handshake, where that was not decided in it.
    ///
    /// # Errors
    /// `Untrusted`; `Config` when the known hosts cannot be read or written.
    pub(crate) async fn admit(&self, endpoint: &Endpoint, session: &ClientConnection) -> Result<()> {
        let Trust::KnownHosts(path) = &self.trust else { return Ok(()) };
        let Some(certificate) = session.peer_certificates().and_then(<[_]>::first) else {
            return Err(Error::new(ErrorKind::Untrusted, "the server has shown no certificate"));
        };
        let (path, endpoint, shown) =
            (path.clone(), endpoint.clone(), Fingerprint::of_certificate(certificate));
        // Files, and perhaps a lock that others hold.
        let checking = tokio::task::spawn_blocking(move || known_hosts::check(&path, &endpoint, shown));
        checking.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, "the runtime is shutting down")))
    }
}

fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let policy = match trust {
        Trust::SystemRoots => Policy::Chain(chain_verifier(system_roots(), &provider)?),
        Trust::CaFile(path) => Policy::Chain(chain_verifier(roots_in(path)?, &provider)?),
        Trust::Fingerprints(pins) if pins.is_empty() => {
            return Err(Error::new(ErrorKind::Config, "the list of trusted fingerprints is empty"));
        }
        Trust::Fingerprints(pins) => Policy::Pinned(pins.clone()),
        Trust::KnownHosts(path) => {
            known_hosts::validate(path)?;
            Policy::AfterHandshake
        }
        Trust::DangerAcceptAny => Policy::Any,
    };
    let verifier = Arc::new(Verifier { policy, provider: Arc::clone(&provider) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::new(ErrorKind::Config, "TLS cannot be set up").because(e))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn roots_in(path: &Path) -> Result<RootCertStore> {
    let refuse =
        |problem: String| Error::new(ErrorKind::Config, format!("CA file {}: {problem}", path.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| refuse(e.to_string()))? {
        let certificate = certificate.map_err(|e| refuse(e.to_string()))?;
        roots.add(certificate).map_err(|e| refuse(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refuse("there is no PEM certificate in it".to_owned()));
    }
    Ok(roots)
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::warn!(errors = found.errors.len(), "this system has no root certificates");
    }
    roots
}

/// `None` when there are no roots: then no certificate is believed, but each can be told.
fn chain_verifier(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<WebPkiServerVerifier>>> {
    if roots.is_empty() {
        return Ok(None);
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map(Some)
        .map_err(|e| Error::new(ErrorKind::Config, "the root certificates cannot be used").because(e))
}

#[derive(Debug)]
enum Policy {
    Chain(Option<Arc<WebPkiServerVerifier>>),
    Pinned(Vec<Fingerprint>),
    /// [`Tls::admit`] decides, when the server has proved that the certificate is its own.
    AfterHandshake,
    Any,
}

#[derive(Debug)]
struct Verifier {
    policy: Policy,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let seen = Fingerprint::of_certificate(end_entity);
        let reason = match &self.policy {
            Policy::Any | Policy::AfterHandshake => return Ok(ServerCertVerified::assertion()),
            Policy::Pinned(pins) if pins.contains(&seen) => return Ok(ServerCertVerified::assertion()),
            Policy::Pinned(pins) => {
                let pins: Vec<String> = pins.iter().map(Fingerprint::to_string).collect();
                format!("trusted are only {}", pins.join(", "))
            }
            Policy::Chain(None) => "this system has no root certificates".to_owned(),
            Policy::Chain(Some(verifier)) => {
                match verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                {
                    Ok(verified) => return Ok(verified),
                    Err(rustls::Error::InvalidCertificate(error)) => describe(&error),
                    Err(error) => error.to_string(),
                }
            }
        };
        let refused = Refused { seen, reason };
        Err(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused)))))
    }

    // A pinned certificate proves nothing unless the server holds its key: signatures are always
    // checked.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn describe(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => "it is self-signed or its issuer is unknown".to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it was issued for another name".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::Other(OtherError(inner)) if inner.to_string().contains("CaUsedAsEndEntity") => {
            "it is self-signed".to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_read_as_tools_write_them() {
        let plain = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        let print: Fingerprint = plain.parse().unwrap();
        assert_eq!(print.to_string(), colons);
        assert_eq!(colons.parse::<Fingerprint>().unwrap(), print);
        assert_eq!(format!("sha256:{plain}").parse::<Fingerprint>().unwrap(), print);
        for bad in ["", "ab", &"zz".repeat(32), &"ab".repeat(31), &"ab".repeat(33), &"é".repeat(64)] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
