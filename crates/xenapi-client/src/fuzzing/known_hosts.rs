//! Files of known hosts.

use crate::known_hosts::{Known, parse, with_line};
use crate::tls::Fingerprint;

/// Bytes as such a file: each of its lines is a host or nothing, or the error names the first one that is neither;
/// what is read, written again, is read as the same; and a line that is added is the only change.
///
/// # Panics
/// When one of that is not so.
pub fn known_hosts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let shown = Fingerprint::of_certificate(bytes);
    let added = parse(&with_line(text.clone(), "new:443", shown));
    match parse(&text) {
        Ok(known) => {
            let alone = |line: &str| parse(line).map(|known| known.len());
            let each: Result<Vec<usize>, usize> = lines.iter().copied().map(alone).collect();
            assert_eq!(each.map(|each| each.iter().sum()), Ok(known.len()));
            let written =
                known.iter().fold(String::new(), |all, one| with_line(all, &one.host, one.fingerprint));
            let again = parse(&written).expect("what was written is read");
            let said = |all: &[Known]| -> Vec<(String, Fingerprint)> {
                all.iter().map(|one| (one.host.clone(), one.fingerprint)).collect()
            };
            assert_eq!(said(&again), said(&known));
            let added = added.expect("the new line can be read");
            let (last, before) = added.split_last().expect("it has the new line");
            assert_eq!((before, &*last.host, last.fingerprint), (&*known, "new:443", shown));
        }
        Err(line) => {
            assert_eq!(added, Err(line));
            assert!(parse(lines[line - 1]).is_err());
            assert!(parse(&lines[..line - 1].join("\n")).is_ok());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_file(lines in prop::collection::vec("(# .{0,4}|[a-c:0-9\\[\\]]{0,6}[ \t]{0,2}((SHA256:)?([0-9A-Fa-f]{2}:?){32})?|\\PC{0,6})(\r?\n)?", 0..6)) {
            known_hosts(lines.concat().as_bytes());
        }
    }
}
