//! Trust on first use, with a file like ssh's.
//!
//! ```text
//! # a comment
//! xen1.example.org:443 AB:CD:…
//! [fd00::2]:443 12:34:…
//! ```
//!
//! One line is one certificate of one host; a host may have several lines, of which any will do. The check is
//! made after the handshake, in which the server proves that it holds the certificate's key, and before
//! anything is sent.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::tls::Fingerprint;

/// A certificate that is known of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) host: String,
    pub(crate) fingerprint: Fingerprint,
    line: usize,
}

/// Compares a certificate with what is known of its host, and remembers it when nothing is.
///
/// # Errors
/// `Untrusted` when other certificates are known of the host; `Config` when the file cannot be read or written.
pub(crate) fn check(path: &Path, endpoint: &Endpoint, shown: Fingerprint) -> Result<()> {
    let host = key(endpoint);
    if judge(path, &host, shown)? {
        return Ok(());
    }
    // Others may meet the same host for the first time now.
    let _lock = lock(path).map_err(|error| unusable(path, "be locked", error))?;
    if judge(path, &host, shown)? {
        return Ok(());
    }
    remember(path, &host, shown).map_err(|error| unusable(path, "be written", error))?;
    tracing::warn!(%host, fingerprint = %shown, file = %path.display(), "first contact: the certificate is trusted from now on");
    Ok(())
}

/// Whether the file can be used.
///
/// # Errors
/// `Config` when it cannot be read. That it does not exist yet is no error.
pub(crate) fn validate(path: &Path) -> Result<()> {
    read(path).map(drop)
}

/// Whether the certificate is known; `false` when none is of this host.
fn judge(path: &Path, host: &str, shown: Fingerprint) -> Result<bool> {
    let all = read(path)?;
    let mut known = all.iter().filter(|known| known.host == host).peekable();
    let Some(first) = known.peek() else { return Ok(false) };
    let line = first.line;
    let fingerprints: Vec<String> = known.clone().map(|known| known.fingerprint.to_string()).collect();
    if known.any(|known| known.fingerprint == shown) {
        return Ok(true);
    }
    let file = path.display();
    let expected = fingerprints.join(" or ");
    let message = format!(
        "the server's certificate has changed: it shows the SHA-256 fingerprint {shown}, and known of it is {expected}"
    );
    Err(Error::new(ErrorKind::Untrusted, message).remedy(format!(
        "if the host was installed anew or was given another certificate, remove line {line} of {file}; \
         otherwise somebody is between this machine and the host"
    )))
}

fn read(path: &Path) -> Result<Vec<Known>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unusable(path, "be read", error)),
    };
    // To skip what cannot be read would be to believe whoever comes first.
    parse(&text).map_err(|line| {
        let message = format!("known hosts file {}: line {line} cannot be read", path.display());
        Error::new(ErrorKind::Config, message)
            .remedy("write HOST:PORT and a SHA-256 fingerprint, or remove the line")
    })
}

/// The hosts of a file, or the number of the first line that cannot be read.
pub(crate) fn parse(text: &str) -> std::result::Result<Vec<Known>, usize> {
    let lines = text.lines().zip(1..).map(|(line, number)| (line.trim(), number));
    lines
        .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
        .map(|(text, line)| {
            let (host, fingerprint) = text.split_once(char::is_whitespace).ok_or(line)?;
            Ok(Known { host: host.to_owned(), fingerprint: fingerprint.parse().map_err(|_| line)?, line })
        })
        .collect()
}

/// A file with one more line.
pub(crate) fn with_line(mut text: String, host: &str, shown: Fingerprint) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&format!("{host} {shown}\n"));
    text
}

/// Adds a line. The file is replaced as a whole: whoever reads it sees the old one or the new one.
fn remember(path: &Path, host: &str, shown: Fingerprint) -> io::Result<()> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let text = with_line(text, host, shown);
    let new = beside(path, ".new");
    let written = private().truncate(true).open(&new).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&new, path)).inspect_err(|_| drop(fs::remove_file(&new)))
}

/// Keeps other processes from writing until it is dropped.
fn lock(path: &Path) -> io::Result<File> {
    let lock = beside(path, ".lock");
    let file = private().open(&lock)?;
    file.lock()?;
    Ok(file)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// `host:port`, with brackets around IPv6 addresses.
fn key(endpoint: &Endpoint) -> String {
    let host = endpoint.host().unwrap_or_default().to_ascii_lowercase();
    let port = endpoint.port().unwrap_or_default();
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn unusable(path: &Path, what: &str, error: io::Error) -> Error {
    let message = format!("known hosts file {} cannot {what}: {error}", path.display());
    Error::new(ErrorKind::Config, message).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        url.parse().unwrap()
    }

    fn print(of: &str) -> Fingerprint {
        Fingerprint::of_certificate(of.as_bytes())
    }

    #[test]
    fn the_first_certificate_is_kept_and_another_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_hosts");
        let one = endpoint("https://Xen1.example.org");
        validate(&file).unwrap();
        check(&file, &one, print("a")).unwrap();
        check(&file, &endpoint("https://[fd00::2]:444"), print("b")).unwrap();
        check(&file, &endpoint("https://xen1.example.org:8443"), print("b")).unwrap();
        check(&file, &one, print("a")).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let a = print("a");
        assert_eq!(text.lines().next(), Some(&*format!("xen1.example.org:443 {a}")));
        assert!(text.contains("\n[fd00::2]:444 ") && text.lines().count() == 3, "{text}");

        let error = check(&file, &one, print("c")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Untrusted);
        let shown = error.to_string();
        for part in [&a.to_string(), &print("c").to_string(), "line 1 of", file.to_str().unwrap()] {
            assert!(shown.contains(part), "{shown}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), text);

        fs::write(&file, format!("# hosts\n\nxen1.example.org:443 {a}\nxen1.example.org:443 {}", print("c")))
            .unwrap();
        check(&file, &one, print("c")).unwrap();
        check(&file, &endpoint("https://new"), print("d")).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 5);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_or_write_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_hosts");
        check(&file, &endpoint("https://h"), print("a")).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["known_hosts", "known_hosts.lock"]);
    }

    #[test]
    fn what_cannot_be_read_is_not_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_hosts");
        for text in ["h:443", "h:443 ab", "h:443 zz:zz", "\u{0}"] {
            fs::write(&file, format!("# first\n{text}\n")).unwrap();
            let error = check(&file, &endpoint("https://h"), print("a")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{text:?}");
            assert!(error.to_string().contains("line 2"), "{error}");
        }
        let nowhere = folder.path().join("missing/known_hosts");
        assert_eq!(
            check(&nowhere, &endpoint("https://h"), print("a")).unwrap_err().kind(),
            ErrorKind::Config
        );
    }

    #[test]
    fn many_first_contacts_at_once_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_hosts");
        std::thread::scope(|scope| {
            for number in 0..16 {
                let file = &file;
                scope.spawn(move || {
                    check(file, &endpoint(&format!("https://h{number}")), print("a")).unwrap();
                    check(file, &endpoint("https://shared"), print("a")).unwrap();
                });
            }
        });
        assert_eq!(read(&file).unwrap().len(), 17);
    }
}
