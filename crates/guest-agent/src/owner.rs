//! A password that only its owner can read: sealed with the public half of his ssh key, as Nova seals the ones that
//! its drivers set (`nova get-password`).

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use num_bigint::BigUint;
use zeroize::Zeroizing;

const KIND: &str = "ssh-rsa";
/// What padding needs besides the text: two bytes in front, a zero behind, and at least eight that are random.
const PADDING_BYTES: usize = 11;
/// Nova keeps a sealed password in four pieces of so many characters.
const PIECE: usize = 255;
const PIECES: usize = 4;
/// Shorter ones are not safe; OpenSSH takes none either.
const MIN_BITS: u64 = 1024;

/// The public half of an owner's RSA key.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnerKey {
    exponent: BigUint,
    modulus: BigUint,
}

/// Why a password cannot be sealed for its owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerKeyError {
    /// Not a line of an `authorized_keys` file.
    #[error("the ssh key cannot be read: {0}; give one line, as ssh-keygen writes it to id_rsa.pub")]
    Unreadable(&'static str),
    /// A key that is no use.
    #[error("an RSA key of {bits} bits cannot seal a password here; use one of 1024 to 6120 bits")]
    Size {
        /// Its length.
        bits: u64,
    },
    /// More than goes into one block.
    #[error("a password of {len} bytes is too long for an RSA key that seals {max}; use a shorter one")]
    PasswordTooLong {
        /// Its length in bytes.
        len: usize,
        /// The most.
        max: usize,
    },
}

impl OwnerKey {
    /// Reads a line of an `authorized_keys` file. `None` for keys of another kind: nothing can be sealed with those.
    ///
    /// # Errors
    ///
    /// [`OwnerKeyError`] for what is no such line, and for an RSA key that is too short or too long.
    pub fn parse(line: &str) -> Result<Option<Self>, OwnerKeyError> {
        let mut words = line.split_ascii_whitespace().skip_while(|word| !is_kind(word));
        let kind = words.next().ok_or(OwnerKeyError::Unreadable("it names no kind of key"))?;
        let blob =
            words.next().ok_or(OwnerKeyError::Unreadable("there is nothing behind the kind of key"))?;
        let blob = BASE64_STANDARD.decode(blob).map_err(|_| OwnerKeyError::Unreadable("it is not base64"))?;
        let mut fields = Fields(&blob);
        if fields.next()? != kind.as_bytes() {
            return Err(OwnerKeyError::Unreadable("it is of another kind than it says"));
        }
        if kind != KIND {
            return Ok(None);
        }
        let exponent = BigUint::from_bytes_be(fields.next()?);
        let modulus = BigUint::from_bytes_be(fields.next()?);
        if !fields.0.is_empty() || !modulus.bit(0) || !exponent.bit(0) || exponent.bits() < 2 {
            return Err(OwnerKeyError::Unreadable("its numbers are not those of an RSA key"));
        }
        let key = Self { exponent, modulus };
        let sealed_len = key.len_bytes().div_ceil(3) * 4;
        if key.modulus.bits() < MIN_BITS || key.exponent >= key.modulus || sealed_len > PIECE * PIECES {
            return Err(OwnerKeyError::Size { bits: key.modulus.bits() });
        }
        Ok(Some(key))
    }

    /// Seals a password: RSA with the padding of PKCS #1 v1.5, in base64. The random bytes, of which zeros are passed
    /// over, come from a source fit for keys and must not run out.
    ///
    /// `openssl pkeyutl -decrypt -inkey id_rsa` opens it. The number that the password becomes on the way is not wiped.
    ///
    /// # Errors
    ///
    /// [`OwnerKeyError::PasswordTooLong`].
    ///
    /// # Panics
    ///
    /// When the random bytes run out.
    pub fn seal(
        &self,
        password: &str,
        random: impl IntoIterator<Item = u8>,
    ) -> Result<String, OwnerKeyError> {
        let len = self.len_bytes();
        let max = len - PADDING_BYTES;
        if password.len() > max {
            return Err(OwnerKeyError::PasswordTooLong { len: password.len(), max });
        }
        let mut block = Zeroizing::new(vec![0, 2]);
        let padding_end = len - password.len() - 1;
        block.extend(random.into_iter().filter(|byte| *byte != 0).take(padding_end - 2));
        assert_eq!(block.len(), padding_end, "the random bytes have run out");
        block.push(0);
        block.extend_from_slice(password.as_bytes());
        let sealed = BigUint::from_bytes_be(&block).modpow(&self.exponent, &self.modulus).to_bytes_be();
        // As long as the modulus, whatever the number begins with.
        let padded = [vec![0; len - sealed.len()], sealed].concat();
        Ok(BASE64_STANDARD.encode(padded))
    }

    /// The numbers, the exponent first, in as few bytes as it takes.
    pub(crate) fn numbers(&self) -> [Vec<u8>; 2] {
        [&self.exponent, &self.modulus].map(BigUint::to_bytes_be)
    }

    fn len_bytes(&self) -> usize {
        usize::try_from(self.modulus.bits().div_ceil(8)).expect("a key that is in memory")
    }
}

/// Shows how long the key is.
impl fmt::Debug for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerKey").field("bits", &self.modulus.bits()).finish_non_exhaustive()
    }
}

/// A sealed password as Nova keeps it in an instance's system metadata: `password_0` to `password_3`, all of which are
/// there.
pub fn pieces(sealed: &str) -> [(String, String); PIECES] {
    let piece = |n: usize| sealed.chars().skip(n * PIECE).take(PIECE).collect();
    std::array::from_fn(|n| (format!("password_{n}"), piece(n)))
}

/// The sealed password that such pieces are of, if there is one.
pub fn joined<'a>(value: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let sealed: String = (0..PIECES).filter_map(|n| value(&format!("password_{n}"))).collect();
    Some(sealed).filter(|sealed| !sealed.is_empty())
}

fn is_kind(word: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|kind| word.starts_with(kind))
}

/// Fields with their length in four bytes before each.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<&'a [u8], OwnerKeyError> {
        let short = || OwnerKeyError::Unreadable("it ends too early");
        let (len, rest) = self.0.split_first_chunk::<4>().ok_or_else(short)?;
        let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| short())?;
        let (field, rest) = rest.split_at_checked(len).ok_or_else(short)?;
        self.0 = rest;
        Ok(field)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// `(2^607 - 1) * (2^521 - 1)`: both are primes, and no secret.
    fn factors() -> (BigUint, BigUint) {
        let mersenne = |bits: u32| (BigUint::from(1u8) << bits) - 1u8;
        (mersenne(607), mersenne(521))
    }

    fn line(kind: &str, fields: &[&[u8]]) -> String {
        let mut blob = Vec::new();
        for field in [kind.as_bytes()].iter().chain(fields) {
            blob.extend(u32::try_from(field.len()).unwrap().to_be_bytes());
            blob.extend_from_slice(field);
        }
        format!("{kind} {} me@example.org", BASE64_STANDARD.encode(blob))
    }

    fn rsa_line() -> String {
        let (p, q) = factors();
        line("ssh-rsa", &[&[1, 0, 1], &(p * q).to_bytes_be()])
    }

    /// What who has the private key reads.
    fn open(sealed: &str) -> Vec<u8> {
        let (p, q) = factors();
        let sealed = BigUint::from_bytes_be(&BASE64_STANDARD.decode(sealed).unwrap());
        let private = BigUint::from(65537u32).modinv(&((&p - 1u8) * (&q - 1u8))).unwrap();
        // The leading zero is no digit of a number.
        let block = sealed.modpow(&private, &(p * q)).to_bytes_be();
        assert_eq!(block[0], 2);
        let padding = block.iter().position(|byte| *byte == 0).unwrap();
        assert!(padding >= 9, "{padding}");
        block[padding + 1..].to_vec()
    }

    proptest! {
        #[test]
        fn its_owner_reads_it(password in ".{0,30}", first: u8) {
            let key = OwnerKey::parse(&rsa_line()).unwrap().unwrap();
            let sealed = key.seal(&password, (first..=255).chain(0..=255).cycle()).unwrap();
            prop_assert_eq!(sealed.len(), 188);
            prop_assert_eq!(open(&sealed), password.as_bytes());
        }

        #[test]
        fn no_line_is_too_odd(line in "(ssh-rsa |ssh-ed25519 |no-pty )?[A-Za-z0-9+/=]{0,40}( .*)?") {
            let _ = OwnerKey::parse(&line);
        }
    }

    #[test]
    fn lines() {
        assert!(OwnerKey::parse(&rsa_line()).unwrap().is_some());
        assert!(OwnerKey::parse(&format!("no-pty {}", rsa_line())).unwrap().is_some());
        assert_eq!(OwnerKey::parse(&line("ssh-ed25519", &[&[7; 32]])), Ok(None));
        let short = line("ssh-rsa", &[&[3], &[0xff; 64]]);
        assert_eq!(OwnerKey::parse(&short), Err(OwnerKeyError::Size { bits: 512 }));
        let long = line("ssh-rsa", &[&[3], &[0xff; 766]]);
        assert_eq!(OwnerKey::parse(&long), Err(OwnerKeyError::Size { bits: 6128 }));
        for odd in [
            "",
            "AAAA",
            "ssh-rsa",
            "ssh-rsa !",
            "ssh-rsa AAAA",
            &line("ssh-rsa", &[&[3]]),
            &line("ssh-rsa", &[&[3], &[0xfe; 128]]),
            &line("ssh-rsa", &[&[1], &[0xff; 128]]),
            &line("ssh-rsa", &[&[3], &[0xff; 128], &[1]]),
            &rsa_line().replacen("ssh-rsa", "ssh-dss", 1),
        ] {
            assert!(matches!(OwnerKey::parse(odd), Err(OwnerKeyError::Unreadable(_))), "{odd}");
        }
    }

    #[test]
    fn the_longest_password() {
        let key = OwnerKey::parse(&rsa_line()).unwrap().unwrap();
        let longest = "x".repeat(141 - 11);
        assert_eq!(open(&key.seal(&longest, 1..=255).unwrap()), longest.as_bytes());
        let refused = key.seal(&format!("{longest}x"), 1..=255);
        assert_eq!(refused, Err(OwnerKeyError::PasswordTooLong { len: 131, max: 130 }));
    }

    #[test]
    fn kept_in_pieces() {
        let sealed = "0123456789".repeat(60);
        let kept: BTreeMap<_, _> = pieces(&sealed).into();
        assert_eq!(kept.values().map(String::len).collect::<Vec<_>>(), [255, 255, 90, 0]);
        assert_eq!(joined(|key| kept.get(key).map(String::as_str)), Some(sealed));
        assert_eq!(joined(|_| None), None);
        assert_eq!(joined(|_| Some("")), None);
    }
}
