//! Where a XAPI server listens.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The address of one XAPI server: `https://host`, `http://host:8080`, `unix:/var/lib/xcp/xapi`.
///
/// XAPI has one server behind both ports: 443 with TLS, 80 without. A path, a user or a query in a
/// URL is refused rather than ignored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint(pub(crate) Place);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Tcp { tls: bool, host: String, port: u16 },
    Unix(PathBuf),
}

/// A URL that does not name a XAPI server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is not the address of a host: {problem}; write https://HOST, http://HOST or unix:/PATH")]
pub struct EndpointError {
    url: String,
    problem: &'static str,
}

impl Endpoint {
    /// Whether what is sent there is encrypted, or does not leave the machine.
    pub fn is_private(&self) -> bool {
        match &self.0 {
            Place::Tcp { tls, .. } => *tls,
            Place::Unix(_) => true,
        }
    }

    /// The host's name or address without brackets, or `None` for a socket file.
    pub fn host(&self) -> Option<&str> {
        match &self.0 {
            Place::Tcp { host, .. } => Some(host),
            Place::Unix(_) => None,
        }
    }

    /// The TCP port, or `None` for a socket file.
    pub fn port(&self) -> Option<u16> {
        match &self.0 {
            Place::Tcp { port, .. } => Some(*port),
            Place::Unix(_) => None,
        }
    }

    /// Whether connections there are wrapped in TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self.0, Place::Tcp { tls: true, .. })
    }

    /// The path of the socket file, or `None` for a TCP address.
    pub fn unix_path(&self) -> Option<&std::path::Path> {
        match &self.0 {
            Place::Tcp { .. } => None,
            Place::Unix(path) => Some(path),
        }
    }

    /// Another host of the same pool, reached the way this one is: same scheme, same port.
    ///
    /// XAPI gives addresses without a port, IPv6 ones without brackets.
    pub(crate) fn sibling(&self, address: &str) -> Self {
        let host = address.trim_start_matches('[').trim_end_matches(']').to_owned();
        match &self.0 {
            Place::Tcp { tls, port, .. } => Self(Place::Tcp { tls: *tls, host, port: *port }),
            Place::Unix(_) => Self(Place::Tcp { tls: true, host, port: 443 }),
        }
    }

    /// What goes into the `Host` header.
    pub(crate) fn host_header(&self) -> String {
        match &self.0 {
            Place::Tcp { tls, host, port } => {
                let default = if *tls { 443 } else { 80 };
                let host = bracketed(host);
                if *port == default { host } else { format!("{host}:{port}") }
            }
            Place::Unix(_) => "localhost".to_owned(),
        }
    }

    fn parse(url: &str) -> Result<Self, &'static str> {
        if let Some(path) = url.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if !path.starts_with('/') {
                return Err("the path of a socket must start with /");
            }
            return Ok(Self(Place::Unix(path.into())));
        }
        let (scheme, rest) = url.split_once("://").ok_or("it has no scheme")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("the scheme is unknown"),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            return Err("user and password do not belong into the URL");
        }
        if rest.contains(['/', '?', '#']) {
            return Err("it has a path or a query");
        }
        let (host, port) = match rest.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']').ok_or("the bracket is not closed")?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| "the IPv6 address is malformed")?;
                let port = match after {
                    "" => None,
                    _ => Some(after.strip_prefix(':').ok_or("there is text after the bracket")?),
                };
                (host, port)
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("the host's name is missing or malformed");
        }
        let port = match port {
            None if tls => 443,
            None => 80,
            Some(text) => text.parse().map_err(|_| "the port is not a number from 1 to 65535")?,
        };
        if port == 0 {
            return Err("the port is not a number from 1 to 65535");
        }
        Ok(Self(Place::Tcp { tls, host: host.to_owned(), port }))
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(url: &str) -> Result<Self, EndpointError> {
        Self::parse(url.trim()).map_err(|problem| {
            // A URL with a user in it may hold a password: it is not repeated.
            let url = if url.contains('@') { "(not shown)".to_owned() } else { url.to_owned() };
            EndpointError { url, problem }
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Tcp { tls, .. } => {
                write!(f, "{}://{}", if *tls { "https" } else { "http" }, self.host_header())
            }
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, shown) in [
            ("https://xen1", "https://xen1"),
            ("https://xen1/", "https://xen1"),
            ("HTTPS://xen1:443", "https://xen1"),
            ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
            ("https://[fe80::1]:444", "https://[fe80::1]:444"),
            ("unix:/var/lib/xcp/xapi", "unix:/var/lib/xcp/xapi"),
            ("unix:///var/lib/xcp/xapi", "unix:/var/lib/xcp/xapi"),
        ] {
            assert_eq!(url.parse::<Endpoint>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_not_a_host() {
        for url in [
            "",
            "xen1",
            "ftp://xen1",
            "https://",
            "https://xen1/path",
            "https://xen1:0",
            "https://xen1:99999",
            "https://[::1",
            "https://[xen]",
            "https://[::1]443",
            "unix:relative",
            "https://xen1?x",
        ] {
            assert!(url.parse::<Endpoint>().is_err(), "{url:?}");
        }
        let error = "https://root:secret@xen1".parse::<Endpoint>().unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn siblings_keep_scheme_and_port() {
        let seed: Endpoint = "http://10.0.0.1:8080".parse().unwrap();
        assert_eq!(seed.sibling("10.0.0.2").to_string(), "http://10.0.0.2:8080");
        assert_eq!(seed.sibling("fd00::2").to_string(), "http://[fd00::2]:8080");
    }
}
