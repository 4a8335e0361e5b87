//! AES-128-CBC with OpenSSL's old derivation of key and vector from a pass phrase.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use md5::Md5;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::Error;

/// The digest that turns the secret into a key.
///
/// OpenSSL before 1.1 derives with MD5, and so do the agents in images of those years; 1.1 and later
/// derive with SHA-256. Nothing in the protocol tells which an agent wants: a wrong guess shows as a
/// refusal of the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// What agents built on OpenSSL before 1.1 expect.
    Md5,
    /// What agents that call a newer `openssl enc` expect.
    Sha256,
}

pub(crate) fn encrypt(secret: &[u8], text: &[u8], digest: Digest) -> String {
    let key = Key::derive(secret, digest);
    let cipher = cbc::Encryptor::<aes::Aes128>::new(key.key().into(), key.vector().into());
    BASE64_STANDARD.encode(cipher.encrypt_padded_vec_mut::<Pkcs7>(text))
}

pub(crate) fn decrypt(secret: &[u8], sealed: &str, digest: Digest) -> Result<Vec<u8>, Error> {
    let bytes = BASE64_STANDARD.decode(sealed.trim()).map_err(|_| Error::Sealed("it is not base64"))?;
    let key = Key::derive(secret, digest);
    let cipher = cbc::Decryptor::<aes::Aes128>::new(key.key().into(), key.vector().into());
    cipher
        .decrypt_padded_vec_mut::<Pkcs7>(&bytes)
        .map_err(|_| Error::Sealed("damaged, or another key or digest"))
}

/// 16 bytes of key, 16 of vector.
struct Key(Zeroizing<[u8; 32]>);

impl Key {
    /// `EVP_BytesToKey` without salt and with one round: digests of (the digest before, the secret),
    /// one after the other until there are 32 bytes.
    fn derive(secret: &[u8], digest: Digest) -> Self {
        let mut all = Zeroizing::new([0; 32]);
        match digest {
            Digest::Md5 => fill::<Md5>(secret, &mut *all),
            Digest::Sha256 => fill::<Sha256>(secret, &mut *all),
        }
        Self(all)
    }

    fn key(&self) -> &[u8; 16] {
        self.0.first_chunk().expect("32 bytes hold 16")
    }

    fn vector(&self) -> &[u8; 16] {
        self.0.last_chunk().expect("32 bytes hold 16")
    }
}

fn fill<D: md5::Digest>(secret: &[u8], all: &mut [u8]) {
    let size = <D as md5::Digest>::output_size();
    for start in (0..all.len()).step_by(size) {
        let before = &all[start.saturating_sub(size)..start];
        let block = D::new().chain_update(before).chain_update(secret).finalize();
        all[start..start + size].copy_from_slice(&block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// What `openssl enc -aes-128-cbc -nosalt -md DIGEST -pass pass:12345` makes of a line.
    #[test]
    fn as_openssl_does() {
        for (digest, key, vector, sealed) in [
            (
                Digest::Md5,
                "827ccb0eea8a706c4c34a16891f84e7b",
                "c9d297bfbe75522a2157e1c12a319668",
                "aYvs9TBR5YquqTn5K2XoqA==",
            ),
            (
                Digest::Sha256,
                "5994471abb01112afcc18159f6cc74b4",
                "f511b99806da59b3caf5a9c173cacfc5",
                "j2KIqIgAqfAiJQBTk46M1w==",
            ),
        ] {
            let derived = Key::derive(b"12345", digest);
            assert_eq!((hex(derived.key()), hex(derived.vector())), (key.to_owned(), vector.to_owned()));
            assert_eq!(encrypt(b"12345", b"hello\n", digest), sealed);
            assert_eq!(decrypt(b"12345", sealed, digest).as_deref(), Ok(&b"hello\n"[..]));
        }
    }

    #[test]
    fn what_does_not_open() {
        for sealed in ["", "!", "AAAA", "aYvs9TBR5YquqTn5K2XoqQ=="] {
            assert!(matches!(decrypt(b"12345", sealed, Digest::Md5), Err(Error::Sealed(_))), "{sealed}");
        }
    }
}
