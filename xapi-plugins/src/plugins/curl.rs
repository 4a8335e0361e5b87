//! Requests over HTTP by `curl`, with the certificates that the host trusts. What is sent, such as tokens, goes to it in
//! a file that only root can read. A transfer that makes no progress for 90 seconds ends.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::Error;
use crate::dom0::{CommandError, Dom0};
use crate::staging;

/// For a small answer.
const SHORT: Duration = Duration::from_secs(300);
/// Statuses after which it is no use to try again.
const PERMANENT: &[u16] = &[
    400, 401, 402, 403, 405, 406, 407, 409, 410, 411, 412, 413, 414, 415, 416, 417, 422, 423, 424, 426, 501,
    505, 510,
];

/// The files of a request, in its folder.
pub(super) const REQUEST: &str = "request";
pub(super) const ANSWER: &str = "answer";

/// Whether a text is an address without a login or a fragment.
pub(super) fn is_url(text: &str) -> bool {
    let is_http = text.starts_with("http://") || text.starts_with("https://");
    is_http && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/[]%?=&+,;".contains(&b))
}

/// What fails between the programs is not the image service's word, which counts more.
pub(super) fn broken(curl: &Curl, error: &CommandError) -> Error {
    match error.is_missing() {
        true => Error::CommandNotFound(error.clone()),
        false => curl.check("", 0).err().unwrap_or_else(|| Error::Retryable(error.to_string())),
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

/// A request, in files that curl reads and writes.
pub(super) struct Curl {
    pub(super) config: String,
    answer: PathBuf,
    /// The address without its query, which may be a secret.
    pub(super) place: String,
}

impl Curl {
    /// In this folder, which only root may enter.
    pub(super) fn new(folder: &Path, headers: &[String], url: &str, lines: &[String]) -> Result<Self, Error> {
        let (config, answer) = (folder.join(REQUEST), folder.join(ANSWER));
        let path = config.clone();
        let at = |e: io::Error| Error::file(&path, &e);
        let headers = headers.iter().map(|header| option("header", header));
        let common = [
            option("url", url),
            option("proto", "=http,https"),
            option("proto-redir", "=http,https"),
            option("dump-header", staging::text(&answer)?),
            option("connect-timeout", "90"),
            option("speed-time", "90"),
            option("speed-limit", "1"),
            // `Expect` costs a second with servers that do not know it.
            option("header", "Expect:"),
            "silent\nshow-error\ngloboff".to_owned(),
        ];
        let text: Vec<String> = common.into_iter().chain(headers).chain(lines.iter().cloned()).collect();
        for old in [&config, &answer] {
            let _ = fs::remove_file(old);
        }
        let mut file =
            fs::File::options().write(true).create_new(true).mode(0o600).open(&config).map_err(at)?;
        file.write_all(text.join("\n").as_bytes()).map_err(at)?;
        let place = url.split('?').next().unwrap_or_default().to_owned();
        Ok(Self { config: staging::text(&config)?.to_owned(), answer, place })
    }

    /// A request with a small answer: its body.
    pub(super) fn run(&self, dom0: &dyn Dom0) -> Result<String, Error> {
        let done =
            dom0.execute("curl", &["--config", &self.config], "", SHORT).map_err(|e| broken(self, &e))?;
        self.check(&done.stderr, done.code)?;
        Ok(done.stdout)
    }

    /// Turns a failure of the network, or a status that is no success, into what it means.
    pub(super) fn check(&self, stderr: &str, code: i32) -> Result<(), Error> {
        let status = self.lines().first().and_then(|line| line.split(' ').nth(1)?.parse::<u16>().ok());
        let said = |status: u16| format!("{} answers {status}", self.place);
        match status {
            Some(404) => Err(Error::ImageNotFound),
            Some(status) if PERMANENT.contains(&status) => Err(Error::Other(said(status))),
            Some(status) if !(200..300).contains(&status) => Err(Error::Retryable(said(status))),
            _ if code != 0 => Err(Error::Retryable(format!("{}: {}", self.place, stderr.trim()))),
            _ => Ok(()),
        }
    }

    /// Compares what came with the digest that the service sent along, if any.
    pub(super) fn compare(&self, digest: &[u8]) -> Result<(), Error> {
        let sent = ["etag", "content-md5", "x-image-meta-checksum"].iter().find_map(|name| self.header(name));
        let Some(sent) = sent else { return Ok(()) };
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let sent = sent.trim_matches('"').to_owned();
        match sent.eq_ignore_ascii_case(&hex) || sent == BASE64_STANDARD.encode(digest) {
            true => Ok(()),
            false => Err(Error::Retryable(format!("{}: checksum {hex} instead of {sent}", self.place))),
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.lines().iter().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }

    /// The last answer's head: `100 Continue` and those of proxies come before it.
    fn lines(&self) -> Vec<String> {
        let text = fs::read(&self.answer).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).replace("\r\n", "\n");
        let last = text.trim_end().rsplit("\n\n").next().unwrap_or_default();
        last.lines().map(str::to_owned).collect()
    }
}
