//! Which of this run's references and uuids stands for which recorded one.

use std::collections::{HashMap, HashSet};

use testdata::Step;

const PREFIX: &str = "OpaqueRef:";

pub struct Names {
    /// The name of each recorded reference or uuid, without its number.
    recorded: HashMap<String, String>,
    /// The name of each of ours that has been found.
    ours: HashMap<String, String>,
    /// Recorded to ours.
    map: HashMap<String, String>,
    /// Recorded tokens of `event.from` to ours, the last answer's.
    tokens: HashMap<String, String>,
    /// The Ethernet addresses that requests hold. Those that the server makes up have no value of their own.
    addresses: HashSet<String>,
}

const TOKEN: &str = "dddddddddddddddddddd,dddddddddddddddddddd";

impl Names {
    pub fn new(steps: &[Step]) -> Self {
        let mut recorded = HashMap::new();
        for (name, value) in steps.iter().flat_map(|step| &step.binds) {
            // `message#2.uuid` is another `message.uuid`.
            let name = match name.split_once('#') {
                Some((name, rest)) => {
                    format!("{name}{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()))
                }
                None => name.clone(),
            };
            recorded.insert(value.clone(), name);
        }
        let mut addresses = HashSet::new();
        for body in steps.iter().filter_map(|step| step.request.body()) {
            let text = String::from_utf8_lossy(&body).into_owned();
            addresses.extend(text.split(['"', '<', '>']).filter(|text| is_address(text)).map(str::to_owned));
        }
        Self { recorded, ours: HashMap::new(), map: HashMap::new(), tokens: HashMap::new(), addresses }
    }

    /// Notes that ours stands for a recorded one.
    pub fn bind(&mut self, recorded: &str, ours: &str) {
        if self.map.contains_key(recorded) {
            return;
        }
        if let Some(name) = self.recorded.get(recorded) {
            self.ours.insert(ours.to_owned(), name.clone());
            self.map.insert(recorded.to_owned(), ours.to_owned());
        }
    }

    /// Notes which of our tokens is from the time of a recorded one.
    pub fn bind_tokens(&mut self, recorded: &str, ours: &str) {
        if let (Some(recorded), Some(ours)) = (find_token(recorded), find_token(ours))
            && recorded.contains(['1', '2', '3', '4', '5', '6', '7', '8', '9'])
        {
            self.tokens.insert(recorded.to_owned(), ours.to_owned());
        }
    }

    pub fn get(&self, recorded: &str) -> Option<&str> {
        self.map.get(recorded).map(String::as_str)
    }

    /// A recorded text with ours in place of what is bound.
    pub fn translate(&self, text: &str) -> String {
        let mut out =
            replace(text, |found| match (self.map.get(found), self.map.get(&format!("{PREFIX}{found}"))) {
                (Some(ours), _) => ours.clone(),
                // A reference whose prefix is spelled in an unusual way.
                (None, Some(ours)) => ours[PREFIX.len()..].to_owned(),
                (None, None) => found.to_owned(),
            });
        let token = find_token(&out).and_then(|token| Some((token.to_owned(), self.tokens.get(token)?)));
        if let Some((recorded, ours)) = token {
            out = out.replace(&recorded, ours);
        }
        out
    }

    pub fn translate_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.translate(text).into_bytes(),
            // A raw request with a binary body: references are in its head.
            Err(_) => match bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                Some(end) if std::str::from_utf8(&bytes[..end]).is_ok() => {
                    let head = String::from_utf8_lossy(&bytes[..end]);
                    let mut out = self.translate(&head).into_bytes();
                    out.extend_from_slice(&bytes[end..]);
                    out
                }
                _ => bytes.to_vec(),
            },
        }
    }

    /// A recorded text with names in place of references, uuids, dates and tokens.
    pub fn name_recorded(&self, text: &str) -> String {
        if is_address(text) && !self.addresses.contains(text) {
            return "<address>".to_owned();
        }
        blank(&replace(text, |found| name(&self.recorded, found)))
    }

    /// The same for a text of ours.
    pub fn name_ours(&self, text: &str) -> String {
        if is_address(text) && !self.addresses.contains(text) {
            return "<address>".to_owned();
        }
        // The pool starts with the recorded references.
        blank(&replace(text, |found| match self.ours.contains_key(found) {
            true => name(&self.ours, found),
            false => name(&self.recorded, found),
        }))
    }
}

/// Whether a text is an Ethernet address.
fn is_address(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    parts.len() == 6 && parts.iter().all(|part| part.len() == 2 && u8::from_str_radix(part, 16).is_ok())
}

fn name(names: &HashMap<String, String>, found: &str) -> String {
    let unknown = if found.starts_with(PREFIX) { "ref" } else { "uuid" };
    format!("{{{}}}", names.get(found).map_or(unknown, String::as_str))
}

/// The references and uuids in a text, in order.
pub fn find(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    replace(text, |item| {
        found.push(item.to_owned());
        String::new()
    });
    found
}

fn replace(text: &str, mut f: impl FnMut(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, len)) = next(rest) {
        out.push_str(&rest[..at]);
        out.push_str(&f(&rest[at..at + len]));
        rest = &rest[at + len..];
    }
    out.push_str(rest);
    out
}

/// Where the next reference or uuid is, and how long.
fn next(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let at = (0..bytes.len().checked_sub(35)?).find(|&i| is_uuid(&bytes[i..i + 36]))?;
    Some(match text[..at].ends_with(PREFIX) {
        true => (at - PREFIX.len(), 36 + PREFIX.len()),
        false => (at, 36),
    })
}

fn is_uuid(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().all(|(i, b)| match i {
        8 | 13 | 18 | 23 => *b == b'-',
        _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
    })
}

/// Dates and tokens have no value of their own.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < bytes.len() {
        let rest = &text[i..];
        if is_shaped(rest, "dddddddd?dd:dd:dd?") && !rest.starts_with("19700101T") {
            out.push_str("<date>");
            i += 18;
        } else if is_shaped(rest, "dddddddd?dd:dd:dd") && !rest.starts_with("19700101T") {
            out.push_str("<local date>");
            i += 17;
        } else if rest.starts_with("trackid=") {
            // The digest of a session's reference.
            out.push_str("trackid=<digest>");
            i += rest.find(|c: char| c != '=' && !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        } else if is_shaped(rest, TOKEN) {
            out.push_str("<token>");
            i += 41;
        } else {
            let c = rest.chars().next().expect("not at the end");
            out.push(c);
            i += c.len_utf8();
        }
    }
    out
}

fn find_token(text: &str) -> Option<&str> {
    let at = (0..text.len().checked_sub(TOKEN.len() - 1)?)
        .filter(|&at| text.is_char_boundary(at))
        .find(|&at| is_shaped(&text[at..], TOKEN))?;
    Some(&text[at..at + TOKEN.len()])
}

/// `d` is a digit, `?` one of T and Z, the rest itself.
fn is_shaped(text: &str, shape: &str) -> bool {
    text.len() >= shape.len()
        && text.bytes().zip(shape.bytes()).all(|(b, s)| match s {
            b'd' => b.is_ascii_digit(),
            b'?' => matches!(b, b'T' | b'Z'),
            s => b == s,
        })
}
