//! Diffie-Hellman as the agents do it: p = 2^107 - 1, g = 5, numbers as decimal text.

use std::fmt;

use zeroize::Zeroizing;

use crate::cipher::{self, Digest};
use crate::{Error, message};

/// A Mersenne prime, so that reduction is a shift and an addition.
const P: u128 = (1 << 107) - 1;
const G: u128 = 5;

/// One side's half of an exchange. The private number is wiped when it is dropped.
pub struct Offer {
    private: Zeroizing<u128>,
}

impl Offer {
    /// An offer from 80 random bits, which the caller takes from a source fit for keys.
    ///
    /// All zero bits would make the secret 1; they are taken for all ones.
    pub fn new(random: [u8; 10]) -> Self {
        let private = random.iter().fold(0, |n, byte| n << 8 | u128::from(*byte));
        Self { private: Zeroizing::new(if private == 0 { (1 << 80) - 1 } else { private }) }
    }

    /// The public number in decimal: old agents for Windows crash on anything but text.
    pub fn public(&self) -> String {
        power(G, *self.private).to_string()
    }

    /// Completes the exchange with the other side's public number.
    ///
    /// # Errors
    /// [`Error::WeakKey`] when it is no decimal number from 2 to p-2: 0, 1 and p-1 would fix the
    /// secret whatever our half is.
    pub fn agree(&self, theirs: &str) -> Result<Channel, Error> {
        let weak = || Error::WeakKey(message::shorten(theirs));
        let digits = theirs.trim();
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(weak());
        }
        let number: u128 = digits.parse().map_err(|_| weak())?;
        if !(2..P - 1).contains(&number) {
            return Err(weak());
        }
        Ok(Channel { secret: Zeroizing::new(power(number, *self.private).to_string()) })
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").field("public", &self.public()).finish_non_exhaustive()
    }
}

/// A completed exchange: a secret that both sides know, wiped when it is dropped.
pub struct Channel {
    /// In decimal, which is the pass phrase of the cipher.
    secret: Zeroizing<String>,
}

impl Channel {
    /// Seals a password for the agent: AES-128-CBC as `openssl enc -nosalt` does it, base64 on one line.
    ///
    /// A line feed is appended first, without which some old agents find no end.
    pub fn seal(&self, password: &str, digest: Digest) -> String {
        let text = Zeroizing::new(format!("{password}\n"));
        cipher::encrypt(self.secret.as_bytes(), text.as_bytes(), digest)
    }

    /// Opens what [`seal`](Self::seal) sealed, as an agent does.
    ///
    /// # Errors
    /// [`Error::Sealed`] when it does not open to text.
    pub fn open(&self, sealed: &str, digest: Digest) -> Result<Zeroizing<String>, Error> {
        let bytes = Zeroizing::new(cipher::decrypt(self.secret.as_bytes(), sealed, digest)?);
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::Sealed("it is not text"))?;
        Ok(Zeroizing::new(text.strip_suffix('\n').unwrap_or(text).to_owned()))
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}

fn power(base: u128, exponent: u128) -> u128 {
    let bits = u128::BITS - exponent.leading_zeros();
    (0..bits).rev().fold(1, |result, bit| {
        let square = product(result, result);
        if exponent >> bit & 1 == 1 { product(square, base) } else { square }
    })
}

/// `a * b mod p` for numbers below 2^107, in halves of 54 bits so that no step exceeds 128.
fn product(a: u128, b: u128) -> u128 {
    const HALF: u128 = (1 << 54) - 1;
    let (a1, a0, b1, b0) = (a >> 54, a & HALF, b >> 54, b & HALF);
    // 2^107 = 1, so that 2^108 = 2 and a cross term's bits from the 53rd on wrap around to the lowest.
    let high = reduce(a1 * b1 * 2);
    let cross = a1 * b0 + a0 * b1;
    let middle = reduce((cross >> 53) + ((cross & ((1 << 53) - 1)) << 54));
    reduce(high + middle + reduce(a0 * b0))
}

/// `n mod p` for any number.
fn reduce(n: u128) -> u128 {
    let n = (n & P) + (n >> 107);
    if n >= P { n - P } else { n }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same by doubling and adding, which needs no thought about carries.
    fn slow_product(a: u128, mut b: u128) -> u128 {
        let (mut sum, mut term) = (0, a % P);
        while b > 0 {
            if b & 1 == 1 {
                sum = (sum + term) % P;
            }
            term = term * 2 % P;
            b >>= 1;
        }
        sum
    }

    proptest! {
        #[test]
        fn products(a in 0..P, b in 0..P) {
            prop_assert_eq!(product(a, b), slow_product(a, b));
        }

        #[test]
        fn both_sides_agree(ours: [u8; 10], theirs: [u8; 10], password in ".{0,64}") {
            let (host, guest) = (Offer::new(ours), Offer::new(theirs));
            for digest in [Digest::Md5, Digest::Sha256] {
                let sealed = host.agree(&guest.public()).unwrap().seal(&password, digest);
                let opened = guest.agree(&host.public()).unwrap().open(&sealed, digest).unwrap();
                prop_assert_eq!(opened.as_str(), password.as_str());
            }
        }
    }

    #[test]
    fn the_edges_of_the_field() {
        for (a, b, wanted) in [(P - 1, P - 1, 1), (P - 1, 2, P - 2), (0, P - 1, 0), (1, P - 1, P - 1)] {
            assert_eq!(product(a, b), wanted, "{a} {b}");
        }
        assert_eq!(P, 162_259_276_829_213_363_391_578_010_288_127);
        // Fermat: the field's order holds for the generator.
        assert_eq!(power(G, P - 1), 1);
        assert_eq!(power(G, 0), 1);
    }

    #[test]
    fn a_key_that_fixes_the_secret_is_refused() {
        let offer = Offer::new([1; 10]);
        for theirs in ["", "0", "1", "x", "-2", "+5", &(P - 1).to_string(), &P.to_string(), &"9".repeat(60)] {
            assert!(matches!(offer.agree(theirs), Err(Error::WeakKey(_))), "{theirs}");
        }
        assert!(offer.agree(" 25\r\n").is_ok());
    }

    #[test]
    fn no_secret_in_debug() {
        let offer = Offer::new([1; 10]);
        let channel = offer.agree("25").unwrap();
        let shown = format!("{offer:?} {channel:?}");
        assert!(
            !shown.contains(&offer.private.to_string()) && !shown.contains(channel.secret.as_str()),
            "{shown}"
        );
    }
}
