//! Requests over HTTP by `curl`, with the certificates that the host trusts. What is sent, such as tokens, goes to it
//! through a pipe, and the heads of answers come through another: no file and no command line has any of it, whatever is
//! killed when. A transfer that makes no progress for 90 seconds ends; an upload that is complete waits
//! longer for its answer.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::Error;
use crate::dom0::{CommandError, Dom0, Finished};

/// For a small answer.
const SHORT: Duration = Duration::from_secs(300);
/// What a small answer may have.
const MAX_ANSWER_BYTES: u64 = 4 << 20;
/// Statuses after which it is no use to try again.
const PERMANENT: &[u16] = &[
    400, 401, 402, 403, 405, 406, 407, 409, 410, 411, 412, 413, 414, 415, 416, 417, 422, 423, 424, 426, 501,
    505, 510,
];

/// Whether a text is an address without a login or a fragment.
pub(super) fn is_url(text: &str) -> bool {
    let is_http = text.starts_with("http://") || text.starts_with("https://");
    is_http && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/[]%?=&+,;".contains(&b))
}

/// A `curl` that could not be run.
pub(super) fn broken(error: CommandError) -> Error {
    match error.is_missing() {
        true => Error::CommandNotFound(error),
        false => Error::Retryable(error.to_string()),
    }
}

/// A header, which must be one line.
pub(super) fn header(argument: &'static str, name: &str, text: &str) -> Result<String, Error> {
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    match is_name && !text.chars().any(char::is_control) {
        true => Ok(format!("{name}: {text}")),
        // The text may be a secret.
        false => {
            let reason = format!("{name:?} cannot be a header");
            Err(Error::Argument { name: argument, reason })
        }
    }
}

/// A line of curl's file of options.
pub(super) fn option(name: &str, value: &str) -> String {
    let mut line = format!("{name} = \"");
    for c in value.chars() {
        match c {
            '"' | '\\' => _ = write!(line, "\\{c}"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c => line.push(c),
        }
    }
    line.push('"');
    line
}

/// A request.
pub(super) struct Curl {
    /// What `curl --config` is given, secrets and all.
    pub(super) config: String,
    /// The address without its query, which may be a secret.
    pub(super) place: String,
}

impl Curl {
    pub(super) fn new(headers: &[String], url: &str, lines: &[String]) -> Self {
        let headers = headers.iter().map(|header| option("header", header));
        let common = [
            option("url", url),
            option("proto", "=http,https"),
            option("proto-redir", "=http,https"),
            option("dump-header", "/dev/stderr"),
            option("connect-timeout", "90"),
            option("speed-time", "90"),
            option("speed-limit", "1"),
            // `Expect` costs a second with servers that do not know it.
            option("header", "Expect:"),
            "silent\nshow-error\ngloboff".to_owned(),
        ];
        let text: Vec<String> = common.into_iter().chain(headers).chain(lines.iter().cloned()).collect();
        let place = url.split('?').next().unwrap_or_default().to_owned();
        Self { config: text.join("\n"), place }
    }

    /// A request with a small answer: its head and its body.
    pub(super) fn run(&self, dom0: &dyn Dom0) -> Result<(Head, String), Error> {
        // Of no use where the answer does not say its length, which is what the limit on any program's words is for.
        let config = format!("{}\nmax-filesize = {MAX_ANSWER_BYTES}", self.config);
        let done = dom0.execute("curl", &["--config", "-"], &config, SHORT).map_err(broken)?;
        Ok((self.check(&done)?, done.stdout))
    }

    /// The head of the answer; a failure of the network, or a status that is no success, is what it means.
    pub(super) fn check(&self, done: &Finished) -> Result<Head, Error> {
        let head = Head::of(&done.stderr);
        let status = head.0.first().and_then(|line| line.split(' ').nth(1)?.parse::<u16>().ok());
        let said = |status: u16| format!("{} answers {status}", self.place);
        match status {
            Some(404) => Err(Error::ImageNotFound),
            Some(status) if PERMANENT.contains(&status) => Err(Error::Other(said(status))),
            Some(status) if !(200..300).contains(&status) => Err(Error::Retryable(said(status))),
            _ if done.code != 0 => {
                Err(Error::Retryable(format!("{}: {}", self.place, complaint(&done.stderr))))
            }
            _ => Ok(head),
        }
    }

    /// Compares what came with the digest that the service sent along, if any.
    pub(super) fn compare(&self, head: &Head, digest: &[u8]) -> Result<(), Error> {
        let sent = ["etag", "content-md5", "x-image-meta-checksum"].iter().find_map(|name| head.get(name));
        let Some(sent) = sent else { return Ok(()) };
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let sent = sent.trim_matches('"').to_owned();
        match sent.eq_ignore_ascii_case(&hex) || sent == BASE64_STANDARD.encode(digest) {
            true => Ok(()),
            false => Err(Error::Retryable(format!("{}: checksum {hex} instead of {sent}", self.place))),
        }
    }
}

/// The head of the last answer, line by line: `100 Continue` and those of proxies come before it.
pub(super) struct Head(Vec<String>);

impl Head {
    /// From what curl wrote to standard error, with complaints of its own before or after.
    fn of(stderr: &str) -> Self {
        let lines: Vec<&str> = stderr.lines().collect();
        let Some(first) = lines.iter().rposition(|line| line.starts_with("HTTP/")) else {
            return Self(Vec::new());
        };
        Self(
            lines[first..]
                .iter()
                .take_while(|line| !line.is_empty())
                .map(|line| (*line).to_owned())
                .collect(),
        )
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.0.iter().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }
}

/// Curl's own words, without heads, which may hold secrets.
fn complaint(stderr: &str) -> String {
    let own: Vec<&str> = stderr.lines().filter(|line| line.starts_with("curl: ")).collect();
    own.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_complaints_in_any_order() {
        let heads = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nETag: \"x\"\r\nSet-Cookie: s\r\n\r\n";
        let words = "curl: (18) transfer closed\n";
        let curl = Curl::new(&[], "http://a/b?sig=secret", &[]);
        for stderr in [format!("{heads}{words}"), format!("{words}{heads}")] {
            assert_eq!(Head::of(&stderr).get("etag").as_deref(), Some("\"x\""));
            let done = Finished { code: 18, stdout: String::new(), stderr };
            let error = curl.check(&done).err().unwrap();
            assert_eq!(error, Error::Retryable("http://a/b: curl: (18) transfer closed".to_owned()));
        }
        assert!(Head::of(words).0.is_empty());
    }
}
