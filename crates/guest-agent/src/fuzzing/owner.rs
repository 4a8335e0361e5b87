//! Lines with an owner's public key, as they are and from a list of what is in them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::{OwnerKey, OwnerKeyError};

/// The kinds that a line from a list has; the first one is read.
const KINDS: [&str; 6] =
    ["ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com", "ssh-rsa2", "rsa"];
/// What words of a line stand between.
const BLANKS: [&str; 6] = [" ", "\t", "  ", "\n", "\x0c", "\r \t"];
/// Sealing takes a while with a longer one.
const EXPONENT: usize = 4;

/// Bytes as the line of a key, and as the list of what one is made of: it is read as a second reader does, whatever is
/// between its words; a key, written again, is the same key; and what it seals has the length of one that does.
///
/// # Panics
/// When one of that is not so.
pub fn owner_key(bytes: &[u8]) {
    let Some((blank, rest)) = bytes.split_first() else { return };
    line(&String::from_utf8_lossy(rest), *blank);
    if let Some(made) = made(rest) {
        line(&made, *blank);
    }
}

fn line(line: &str, blank: u8) {
    let read = OwnerKey::parse(line);
    assert_eq!(verdict(&read), second_reader(line), "{line:?}");
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let between = |at: usize| BLANKS[(usize::from(blank) + at) % BLANKS.len()];
    let redrawn: String = words.iter().enumerate().flat_map(|(at, word)| [between(at), *word]).collect();
    assert_eq!(OwnerKey::parse(&redrawn), read, "{redrawn:?}, of {line:?}");
    let Ok(Some(key)) = read else { return };
    let [exponent, modulus] = key.numbers();
    let written = written(KINDS[0], &[&exponent, &modulus]);
    assert_eq!(OwnerKey::parse(&written).as_ref(), Ok(&Some(key.clone())), "{written}");
    // ssh-keygen puts a zero in front of a number whose first bit is set.
    let signed = [[&[0][..], &exponent].concat(), [&[0][..], &modulus].concat()];
    assert_eq!(OwnerKey::parse(&self::written(KINDS[0], &[&signed[0], &signed[1]])), Ok(Some(key.clone())));
    if exponent.len() <= EXPONENT {
        sealed(&key, modulus.len(), blank);
    }
}

fn sealed(key: &OwnerKey, len: usize, password: u8) {
    let max = len - 11;
    for password_len in [0, usize::from(password), max, max + 1] {
        let sealed = key.seal(&"p".repeat(password_len), (0..=255).cycle());
        match sealed {
            Ok(sealed) => {
                assert!(password_len <= max);
                assert_eq!(sealed.len(), len.div_ceil(3) * 4);
                assert!(sealed.len() <= 1020, "it does not go into four pieces");
                let number = BASE64_STANDARD.decode(sealed).expect("base64");
                let [_, modulus] = key.numbers();
                // Of the same length, so that the order of the bytes is that of the numbers.
                assert!(number.len() == len && number < modulus);
            }
            Err(error) => {
                assert!(password_len > max);
                assert_eq!(error, OwnerKeyError::PasswordTooLong { len: password_len, max });
            }
        }
    }
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Key(Vec<u8>, Vec<u8>),
    OtherKind,
    Unreadable,
    Size(u64),
}

fn verdict(read: &Result<Option<OwnerKey>, OwnerKeyError>) -> Verdict {
    match read {
        Ok(Some(key)) => {
            let [exponent, modulus] = key.numbers();
            Verdict::Key(exponent, modulus)
        }
        Ok(None) => Verdict::OtherKind,
        Err(OwnerKeyError::Size { bits }) => Verdict::Size(*bits),
        Err(OwnerKeyError::Unreadable(_)) => Verdict::Unreadable,
        Err(other) => panic!("{other}"),
    }
}

/// The same with bytes in the place of numbers, and without a loop over the fields.
fn second_reader(line: &str) -> Verdict {
    let words: Vec<&str> =
        line.split([' ', '\t', '\n', '\x0c', '\r']).filter(|word| !word.is_empty()).collect();
    let is_kind = |word: &&str| {
        word.starts_with("ssh-")
            || word.starts_with("ecdsa-sha2-")
            || word.starts_with("sk-ssh-")
            || word.starts_with("sk-ecdsa-")
    };
    let Some(at) = words.iter().position(is_kind) else { return Verdict::Unreadable };
    let blob = words.get(at + 1).and_then(|word| BASE64_STANDARD.decode(word).ok());
    let Some((kind, rest)) = blob.as_deref().and_then(field) else { return Verdict::Unreadable };
    if kind != words[at].as_bytes() {
        return Verdict::Unreadable;
    }
    if words[at] != KINDS[0] {
        return Verdict::OtherKind;
    }
    let Some((exponent, rest)) = field(rest) else { return Verdict::Unreadable };
    let Some((modulus, [])) = field(rest) else { return Verdict::Unreadable };
    let [exponent, modulus] = [exponent, modulus].map(digits);
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    if !is_odd(modulus) || !is_odd(exponent) || exponent == [1] {
        return Verdict::Unreadable;
    }
    let bits = modulus.len() as u64 * 8 - u64::from(modulus[0].leading_zeros());
    let larger = (modulus.len(), modulus) > (exponent.len(), exponent);
    if bits < 1024 || modulus.len() > 765 || !larger {
        return Verdict::Size(bits);
    }
    Verdict::Key(exponent.to_vec(), modulus.to_vec())
}

fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_be_bytes(*len) as usize)
}

/// A number without the zeros in front of it.
fn digits(number: &[u8]) -> &[u8] {
    &number[number.iter().position(|byte| *byte != 0).unwrap_or(number.len())..]
}

fn written(kind: &str, fields: &[&[u8]]) -> String {
    let mut blob = Vec::new();
    for field in [kind.as_bytes()].iter().chain(fields) {
        let len = u32::try_from(field.len()).expect("some hundred bytes");
        blob.extend_from_slice(&len.to_be_bytes());
        blob.extend_from_slice(field);
    }
    format!("{kind} {}", BASE64_STANDARD.encode(blob))
}

/// A line whose kind and fields the bytes choose: of each field its first bytes, how many follow and of which value, and
/// its last byte.
fn made(bytes: &[u8]) -> Option<String> {
    let (&[said, is, before], mut rest) = bytes.split_first_chunk::<3>()?;
    let mut fields = Vec::new();
    while let Some((&[first, second, high, low, fill, last], behind)) = rest.split_first_chunk::<6>() {
        rest = behind;
        let mut field = vec![first, second];
        field.resize(2 + usize::from(u16::from_be_bytes([high % 4, low])), fill);
        field.push(last);
        fields.push(field);
        if fields.len() == 3 {
            break;
        }
    }
    let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
    let kind = |choice: u8| KINDS[usize::from(choice) % KINDS.len()];
    let line = written(kind(is), &fields).replacen(kind(is), kind(said), 1);
    let options = ["", "no-pty ", "command=\"a b\",no-pty ", "ssh-rsa "][usize::from(before % 4)];
    let comment = ["", " me@example.org", " ssh-rsa AAAA", "="][usize::from(before / 4 % 4)];
    Some(format!("{options}{line}{comment}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_line(blank: u8, text in "(ssh-rsa |ssh-ed25519 |no-pty )?[A-Za-z0-9+/=]{0,40}([ \t\n].{0,9})?") {
            owner_key(&[&[blank][..], text.as_bytes()].concat());
        }

        #[test]
        fn any_list(
            head in any::<[u8; 4]>(),
            exponent in prop_oneof![Just([1, 0, 0, 0, 0, 1]), any::<[u8; 6]>()],
            mut modulus in any::<[u8; 6]>(),
            short: bool,
            odd in 0..10_u8,
        ) {
            let [blank, said, is, before] = head;
            let rsa = if short { [blank, 0, 0, before] } else { [blank, said, is, before] };
            modulus[5] |= u8::from(odd > 0);
            owner_key(&[&rsa[..], &exponent, &modulus].concat());
        }
    }
}
