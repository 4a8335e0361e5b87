//! Hardware addresses.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// The hardware address of a virtual network card, written as guests read it: lower case, colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr([u8; 6]);

/// Text that is not the hardware address of one network card.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a unicast MAC address: give six two-digit hexadecimal numbers, as in \"fa:16:3e:00:00:01\""
)]
#[non_exhaustive]
pub struct InvalidMac {
    /// The text as it was given.
    pub text: String,
}

impl MacAddr {
    /// An address from its six bytes.
    ///
    /// # Errors
    ///
    /// [`InvalidMac`] for a group address (broadcast, multicast) and for all zeros, which no card can have.
    pub fn new(bytes: [u8; 6]) -> Result<Self, InvalidMac> {
        if bytes[0] & 1 == 1 || bytes == [0; 6] {
            return Err(InvalidMac { text: Self(bytes).to_string() });
        }
        Ok(Self(bytes))
    }
}

impl FromStr for MacAddr {
    type Err = InvalidMac;

    /// Accepts either letter case, and colons or dashes between the numbers.
    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let invalid = || InvalidMac { text: text.to_owned() };
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0; 6];
        let mut parts = text.split(separator);
        for byte in &mut bytes {
            let part = parts.next().ok_or_else(invalid)?;
            if part.len() != 2 || !part.bytes().all(|c| c.is_ascii_hexdigit()) {
                return Err(invalid());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
        }
        if parts.next().is_some() {
            return Err(invalid());
        }
        Self::new(bytes).map_err(|_| invalid())
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl Serialize for MacAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        for (text, expected) in [
            ("fa:16:3e:00:0A:ff", Some("fa:16:3e:00:0a:ff")),
            ("FA-16-3E-00-0A-FF", Some("fa:16:3e:00:0a:ff")),
            ("fa:16:3e:00:0a", None),
            ("fa:16:3e:00:0a:ff:00", None),
            ("fa:16:3e:00:0a:+f", None),
            ("fa:16-3e:00:0a:ff", None),
            ("01:00:5e:00:00:01", None),
            ("ff:ff:ff:ff:ff:ff", None),
            ("00:00:00:00:00:00", None),
            ("", None),
        ] {
            assert_eq!(
                text.parse::<MacAddr>().ok().map(|mac| mac.to_string()).as_deref(),
                expected,
                "{text}"
            );
        }
    }
}
