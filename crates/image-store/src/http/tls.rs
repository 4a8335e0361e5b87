//! Whom to believe.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::digest::{Algorithm, Digest};
use crate::error::{Error, Result};

/// The SHA-256 of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(Digest);

impl FromStr for Fingerprint {
    type Err = Error;

    /// 64 hexadecimal digits, with or without colons, as `openssl x509 -fingerprint -sha256` writes them, its own words
    /// before them or not: what `xenapi-client` takes.
    fn from_str(text: &str) -> Result<Self> {
        let body = text.trim();
        let begins = ["sha256:", "SHA256:", "sha-256:", "sha256 Fingerprint="];
        let body = begins.iter().find_map(|begin| body.strip_prefix(begin)).unwrap_or(body);
        let hex: String = body.chars().filter(|c| *c != ':').collect();
        Digest::new(Algorithm::Sha256, &hex).map(Self).map_err(|_| Error::Invalid {
            what: format!("fingerprint {text:?}"),
            problem: "give a SHA-256 as 64 hexadecimal digits, with or without colons".into(),
        })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.hex())
    }
}

/// Which certificates are believed.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// Those that this system's authorities vouch for.
    #[default]
    SystemRoots,
    /// Those that the certificates in this PEM file vouch for, and no others.
    CaFile(PathBuf),
    /// These very certificates, whatever name they were issued for.
    Pinned(Vec<Fingerprint>),
}

impl Trust {
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| invalid("TLS", error))?;
        let config = match self {
            Self::SystemRoots => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                builder.with_root_certificates(roots)
            }
            Self::CaFile(path) => builder.with_root_certificates(roots_in(path)?),
            Self::Pinned(pins) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Pinned { pins: pins.clone(), provider })),
        };
        Ok(Arc::new(config.with_no_client_auth()))
    }
}

fn invalid(what: impl fmt::Display, problem: impl fmt::Display) -> Error {
    Error::Invalid { what: what.to_string(), problem: problem.to_string() }
}

fn roots_in(path: &std::path::Path) -> Result<RootCertStore> {
    let refuse = |problem: String| invalid(format_args!("CA file {}", path.display()), problem);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| refuse(error.to_string()))? {
        let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
        roots.add(certificate).map_err(|error| refuse(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refuse("there is no PEM certificate in it".into()));
    }
    Ok(roots)
}

/// Believes certificates by their fingerprint. That the server holds the key is still checked.
#[derive(Debug)]
struct Pinned {
    pins: Vec<Fingerprint>,
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
        let seen = Fingerprint(Digest::of(Algorithm::Sha256, certificate));
        if self.pins.contains(&seen) {
            return Ok(ServerCertVerified::assertion());
        }
        let seen = std::io::Error::other(format!("its fingerprint is {seen}"));
        Err(CertificateError::Other(rustls::OtherError(Arc::new(seen))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What a failed handshake means.
pub(crate) fn handshake_failed(what: &str, error: &std::io::Error) -> Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            let problem = match reason {
                CertificateError::Other(other) => other.0.to_string(),
                CertificateError::UnknownIssuer => "it is self-signed or its issuer is unknown".into(),
                other => other.to_string(),
            };
            Error::Untrusted { what: what.to_owned(), problem }
        }
        Some(rustls::Error::InvalidMessage(_)) => Error::Protocol {
            what: what.to_owned(),
            problem: "what answers there does not speak TLS; check the port and the https in the address"
                .into(),
        },
        _ => Error::Unreachable {
            what: what.to_owned(),
            problem: format!("the TLS handshake failed ({error})"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_fingerprint() {
        let digits = "ab".repeat(32);
        let colons = ["AB"; 32].join(":");
        for text in [
            digits.clone(),
            colons.clone(),
            format!(" sha256:{digits}\n"),
            format!("SHA256:{colons}"),
            format!("sha-256:{digits}"),
            format!("sha256 Fingerprint={colons}"),
        ] {
            let read: Fingerprint = text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!(read.to_string(), digits, "{text:?}");
        }
        for text in [String::new(), format!("md5:{digits}"), format!("{digits}00"), "xy".repeat(32)] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text:?}");
        }
    }
}
