//! A certificate for the occasion.

use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// The certificate that a pool shows: made when it is first wanted, and again for each address it listens on.
#[derive(Default)]
pub(crate) struct Certificate(Mutex<Option<String>>);

impl Certificate {
    /// The latest certificate as PEM.
    ///
    /// # Errors
    /// When none can be made.
    pub(crate) fn pem(&self) -> Result<String, String> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pem) = &*latest {
            return Ok(pem.clone());
        }
        let (certificate, _) = certify("localhost")?;
        Ok(latest.insert(certificate.pem()).clone())
    }

    /// An acceptor with a self-signed certificate for an address, and the certificate's SHA-256 fingerprint.
    ///
    /// # Errors
    /// When none can be made.
    pub(crate) fn acceptor(&self, address: &str) -> Result<(TlsAcceptor, String), String> {
        let (certificate, key) = certify(address)?;
        let der = certificate.der().clone();
        let fingerprint = fingerprint(&der);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_no_client_auth()
            .with_single_cert(vec![der], key)
            .map_err(|e| e.to_string())?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(certificate.pem());
        Ok((TlsAcceptor::from(Arc::new(config)), fingerprint))
    }
}

fn certify(address: &str) -> Result<(rcgen::Certificate, KeyPair), String> {
    let mut names = vec!["localhost".to_owned(), address.to_owned()];
    names.dedup();
    let params = CertificateParams::new(names).map_err(|e| e.to_string())?;
    let key = KeyPair::generate().map_err(|e| e.to_string())?;
    let certificate = params.self_signed(&key).map_err(|e| e.to_string())?;
    Ok((certificate, key))
}

/// SHA-256 in upper-case hexadecimal with colons, as XAPI's certificate records have it.
fn fingerprint(der: &[u8]) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(der);
    let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}
