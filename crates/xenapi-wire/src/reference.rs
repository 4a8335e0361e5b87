//! Object references: opaque text on the wire, typed by class here.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A reference to an object of class `C`, `OpaqueRef:<uuid>` on the wire.
///
/// The usual form is held in sixteen bytes without an allocation; whatever else a server sends
/// (`DummyRef:…`, `Ref:3`, the empty string) is kept as it came, so that every reference goes back
/// to the server exactly as it was received. XAPI never checks the syntax of a reference: nonsense
/// is answered with `HANDLE_INVALID`.
pub struct Ref<C: ?Sized> {
    repr: Repr,
    class: PhantomData<fn() -> Box<C>>,
}

/// The class of a reference whose class is not known, or does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnyClass {}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Repr {
    Null,
    Uuid(u128),
    Other(Box<str>),
}

const PREFIX: &str = "OpaqueRef:";
const NULL: &str = "OpaqueRef:NULL";

impl<C: ?Sized> Ref<C> {
    /// The null reference, `OpaqueRef:NULL`.
    pub const NULL: Self = Self { repr: Repr::Null, class: PhantomData };

    /// A reference made from the 128 bits of a uuid.
    pub const fn from_uuid_bits(bits: u128) -> Self {
        Self { repr: Repr::Uuid(bits), class: PhantomData }
    }

    /// Whether this refers to no object: `OpaqueRef:NULL`, or the empty string and the `Ref:…`
    /// forms that old and imported records carry.
    pub fn is_null(&self) -> bool {
        match &self.repr {
            Repr::Null => true,
            Repr::Uuid(_) => false,
            Repr::Other(text) => text.is_empty() || text.starts_with("Ref:"),
        }
    }

    /// The reference, or `None` when it [is null](Self::is_null).
    pub fn non_null(self) -> Option<Self> {
        if self.is_null() { None } else { Some(self) }
    }

    /// The same reference seen as one to another class.
    pub fn cast<D: ?Sized>(self) -> Ref<D> {
        Ref { repr: self.repr, class: PhantomData }
    }
}

impl<C: ?Sized> From<&str> for Ref<C> {
    fn from(text: &str) -> Self {
        let repr = if text == NULL {
            Repr::Null
        } else if let Some(bits) = text.strip_prefix(PREFIX).and_then(parse_uuid) {
            Repr::Uuid(bits)
        } else {
            Repr::Other(text.into())
        };
        Self { repr, class: PhantomData }
    }
}

impl<C: ?Sized> From<String> for Ref<C> {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl<C: ?Sized> FromStr for Ref<C> {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.into())
    }
}

/// Only the canonical spelling, so that text and reference map one to one.
fn parse_uuid(text: &str) -> Option<u128> {
    let bytes = text.as_bytes();
    if bytes.len() != 36 {
        return None;
    }
    let part = |from: usize, to: usize| {
        let digits = bytes[from..to].iter().map(|&byte| DIGITS[usize::from(byte)]);
        // Wrong digits are seen at the end: every reference of every record goes through here.
        digits.fold((0u64, 0u8), |(bits, seen), digit| (bits << 4 | u64::from(digit & 15), seen | digit))
    };
    let [(a, w1), (b, w2), (c, w3), (d, w4), (e, w5)] =
        [part(0, 8), part(9, 13), part(14, 18), part(19, 23), part(24, 36)];
    let dashes = [8, 13, 18, 23].iter().all(|&at| bytes[at] == b'-');
    if !dashes || (w1 | w2 | w3 | w4 | w5) > 15 {
        return None;
    }
    Some(u128::from(a << 32 | b << 16 | c) << 64 | u128::from(d << 48 | e))
}

/// The value of each lower-case hexadecimal digit, more than 15 for what is none.
const DIGITS: [u8; 256] = {
    let mut values = [0xf0; 256];
    let mut digit = 0;
    while digit < 16 {
        values[b"0123456789abcdef"[digit as usize] as usize] = digit;
        digit += 1;
    }
    values
};

impl<C: ?Sized> fmt::Display for Ref<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.repr {
            Repr::Null => f.write_str(NULL),
            Repr::Other(text) => f.write_str(text),
            Repr::Uuid(bits) => {
                let part = |shift: u32, mask: u128| bits >> shift & mask;
                write!(
                    f,
                    "{PREFIX}{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                    part(96, 0xffff_ffff),
                    part(80, 0xffff),
                    part(64, 0xffff),
                    part(48, 0xffff),
                    part(0, 0xffff_ffff_ffff)
                )
            }
        }
    }
}

impl<C: ?Sized> fmt::Debug for Ref<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<C: ?Sized> Default for Ref<C> {
    fn default() -> Self {
        Self::NULL
    }
}

impl<C: ?Sized> Clone for Ref<C> {
    fn clone(&self) -> Self {
        Self { repr: self.repr.clone(), class: PhantomData }
    }
}

impl<C: ?Sized> PartialEq for Ref<C> {
    fn eq(&self, other: &Self) -> bool {
        self.repr == other.repr
    }
}

impl<C: ?Sized> Eq for Ref<C> {}

impl<C: ?Sized> PartialOrd for Ref<C> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<C: ?Sized> Ord for Ref<C> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.repr.cmp(&other.repr)
    }
}

impl<C: ?Sized> Hash for Ref<C> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.repr.hash(state);
    }
}

impl<C: ?Sized> Serialize for Ref<C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, C: ?Sized> Deserialize<'de> for Ref<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<C: ?Sized>(PhantomData<fn() -> Box<C>>);
        impl<C: ?Sized> serde::de::Visitor<'_> for Visitor<C> {
            type Value = Ref<C>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object reference")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Ref<C>, E> {
                Ok(text.into())
            }
        }
        deserializer.deserialize_str(Visitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives() {
        for text in [
            "OpaqueRef:NULL",
            "OpaqueRef:8f3c1f5e-0a64-4d8e-9b1c-00112233aabb",
            "OpaqueRef:00000000-0000-0000-0000-000000000001",
            "OpaqueRef:8F3C1F5E-0a64-4d8e-9b1c-00112233aabb",
            "OpaqueRef:8f3c1f5e-0a64-4d8e-9b1c000112233aabb",
            "OpaqueRef:8f3c1f5e-0a64-4d8e-9b1c-00112233aabg",
            "OpaqueRef:8f3c1f5e-0a64-4d8e-9b1c-00112233aa\u{e4}",
            "OpaqueRef:nonsense",
            "DummyRef:|3f|Async.VM.start",
            "Ref:12",
            "",
        ] {
            assert_eq!(Ref::<AnyClass>::from(text).to_string(), text);
        }
    }

    #[test]
    fn null_forms() {
        for (text, null) in [("OpaqueRef:NULL", true), ("", true), ("Ref:7", true), ("OpaqueRef:x", false)] {
            assert_eq!(Ref::<AnyClass>::from(text).is_null(), null, "{text:?}");
        }
    }

    #[test]
    fn a_reference_is_small() {
        assert!(size_of::<Ref<AnyClass>>() <= 32);
    }
}
