//! The request line and the headers.

/// The methods XAPI knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `GET`
    Get,
    /// `PUT`
    Put,
    /// `POST`
    Post,
    /// `CONNECT`
    Connect,
    /// `OPTIONS`
    Options,
}

/// What was asked, without the body.
#[derive(Debug, Clone)]
pub struct Head {
    /// The method, or the word that is none of XAPI's.
    pub verb: Result<Verb, String>,
    /// The path, percent-decoded, without the query.
    pub path: String,
    /// The path and query as they came.
    pub target: String,
    /// The query's pairs, decoded, in order.
    pub query: Vec<(String, String)>,
    /// The headers in order, names in lower case, values without blanks around.
    pub headers: Vec<(String, String)>,
    /// Whether the request spoke HTTP/1.0.
    pub http_1_0: bool,
}

/// Why there is no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// The request line is none: XAPI never answers.
    NotARequest,
    /// A header line is none.
    BadHeader,
}

impl Head {
    /// Reads the head from its text, the blank line excluded.
    pub(crate) fn parse(text: &str) -> Result<Self, HeadError> {
        let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        let line = lines.next().unwrap_or_default();
        let mut words = line.split(' ').filter(|word| !word.is_empty());
        let (Some(verb), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
            return Err(HeadError::NotARequest);
        };
        let http_1_0 = match version {
            "HTTP/1.0" => true,
            v if v.starts_with("HTTP/1.") => false,
            _ => return Err(HeadError::NotARequest),
        };
        let mut headers = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or(HeadError::BadHeader)?;
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
        let verb = match verb {
            "GET" => Ok(Verb::Get),
            "PUT" => Ok(Verb::Put),
            "POST" => Ok(Verb::Post),
            "CONNECT" => Ok(Verb::Connect),
            "OPTIONS" => Ok(Verb::Options),
            other => Err(other.to_owned()),
        };
        // An absolute form is allowed: only the path counts.
        let local = match target.split_once("://") {
            Some((_, rest)) => &rest[rest.find('/').unwrap_or(rest.len())..],
            None => target,
        };
        let (path, query) = local.split_once('?').unwrap_or((local, ""));
        let query = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(key, value)| (decode(&key.replace('+', " ")), decode(&value.replace('+', " "))))
            .collect();
        let path = if path.is_empty() { "/".into() } else { decode(path) };
        Ok(Self { verb, path, target: target.to_owned(), query, headers, http_1_0 })
    }

    /// The first header of this name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A value from the cookies.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let cookies = self.headers.iter().filter(|(n, _)| n == "cookie");
        let mut pairs = cookies.flat_map(|(_, value)| value.split([';', '&']));
        pairs
            .find_map(|pair| pair.trim().split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
    }

    /// A parameter: from the cookies first, then from the query, as XAPI looks them up.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.cookie(name)
            .or_else(|| self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()))
    }

    /// The client's task that the request is to end, if it names one.
    pub fn task(&self) -> Option<&str> {
        self.param("task_id").or_else(|| self.header("task-id"))
    }

    /// What a task that is made for the request gets into its `other_config`.
    pub(crate) fn task_keys(&self) -> Vec<(String, String)> {
        let named = self.headers.iter().filter_map(|(name, value)| {
            Some((format!("http:{}", name.strip_prefix("x-http-other-config-")?), value.clone()))
        });
        named.collect()
    }

    /// The length of the body, when it is announced.
    pub fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// Whether the connection stays open after an ordinary answer.
    pub fn keep_alive(&self) -> bool {
        match self.header("connection") {
            Some(value) if value.eq_ignore_ascii_case("close") => false,
            Some(value) if value.eq_ignore_ascii_case("keep-alive") => true,
            _ => !self.http_1_0,
        }
    }

    /// The version of the answer.
    pub fn version(&self) -> &'static str {
        if self.http_1_0 { "HTTP/1.0" } else { "HTTP/1.1" }
    }
}

/// Percent-decodes; a broken escape stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = bytes.get(i + 1..i + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (bytes[i], hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                i += 3;
            }
            (byte, _) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
