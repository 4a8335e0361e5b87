//! Digests that content is checked with while it passes.

use std::fmt;
use std::str::FromStr;

use md5::Md5;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// What a digest is computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Glance's `checksum` of old: finds accidents, not attacks.
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512: what Glance uses unless configured otherwise.
    Sha512,
}

impl Algorithm {
    const ALL: [(Self, &'static str, usize); 4] = [
        (Self::Md5, "md5", 16),
        (Self::Sha256, "sha256", 32),
        (Self::Sha384, "sha384", 48),
        (Self::Sha512, "sha512", 64),
    ];

    /// The algorithm of a name as Glance's `os_hash_algo` has it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known, _)| *known == name).map(|(algorithm, ..)| algorithm)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.facts().1
    }

    fn facts(self) -> (Self, &'static str, usize) {
        Self::ALL.into_iter().find(|(algorithm, ..)| *algorithm == self).expect("all are listed")
    }
}

/// A digest: `sha256:` and so on, with the value in hexadecimal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    value: Vec<u8>,
}

/// Text that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a digest: give md5, sha256, sha384 or sha512, a colon and the value in hexadecimal")]
#[non_exhaustive]
pub struct InvalidDigest {
    /// The text as it was given.
    pub text: String,
}

impl Digest {
    /// A digest from its value in hexadecimal, of either case.
    ///
    /// # Errors
    /// [`InvalidDigest`] if there are not as many digits as the algorithm gives.
    pub fn new(algorithm: Algorithm, hex: &str) -> Result<Self, InvalidDigest> {
        let invalid = || InvalidDigest { text: format!("{}:{hex}", algorithm.name()) };
        let digits: Option<Vec<u32>> = hex.chars().map(|c| c.to_digit(16)).collect();
        let digits = digits.filter(|digits| digits.len() == 2 * algorithm.facts().2).ok_or_else(invalid)?;
        let value = digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect();
        Ok(Self { algorithm, value })
    }

    /// The digest of some bytes.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// What it was computed with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The value in lower-case hexadecimal.
    pub fn hex(&self) -> String {
        self.value.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let invalid = || InvalidDigest { text: text.to_owned() };
        let (name, hex) = text.split_once(':').ok_or_else(invalid)?;
        Self::new(Algorithm::named(&name.to_ascii_lowercase()).ok_or_else(invalid)?, hex)
            .map_err(|_| invalid())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A digest in the making.
#[derive(Clone)]
pub(crate) enum Hasher {
    Md5(Md5),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Md5 => Self::Md5(Md5::new()),
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha384 => Self::Sha384(Sha384::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha384(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        let (algorithm, value) = match self {
            Self::Md5(hasher) => (Algorithm::Md5, hasher.finalize().to_vec()),
            Self::Sha256(hasher) => (Algorithm::Sha256, hasher.finalize().to_vec()),
            Self::Sha384(hasher) => (Algorithm::Sha384, hasher.finalize().to_vec()),
            Self::Sha512(hasher) => (Algorithm::Sha512, hasher.finalize().to_vec()),
        };
        Digest { algorithm, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        let md5 = "md5:900150983cd24fb0d6963f7d28e17f72";
        assert_eq!(Digest::of(Algorithm::Md5, b"abc"), md5.parse().unwrap());
        assert_eq!(md5.to_uppercase().parse::<Digest>().unwrap().to_string(), md5);
        let sha256 = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(Algorithm::Sha256, b"abc").to_string(), sha256);
        for bad in [
            "",
            "md5",
            "md5:",
            "md5:90",
            &md5[..md5.len() - 1],
            "sha1:00",
            "md5:g00150983cd24fb0d6963f7d28e17f72",
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
