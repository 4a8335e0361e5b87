//! Answers in XAPI's spelling.

/// An answer with a body, in XAPI's order of headers.
pub(crate) fn reply(version: &str, keep_alive: bool, content_type: &str, body: &[u8]) -> Vec<u8> {
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let mut out = format!(
        "{version} 200 OK\r\ncontent-length: {}\r\nconnection: {connection}\r\ncache-control: no-cache, no-store\r\n\
         content-type: {content_type}\r\nAccess-Control-Allow-Origin: *\r\n\
         Access-Control-Allow-Headers: X-Requested-With\r\n\r\n",
        body.len()
    )
    .into_bytes();
    out.extend_from_slice(body);
    out
}

/// The answer to OPTIONS.
pub(crate) fn options(version: &str, keep_alive: bool, requested: Option<&str>) -> Vec<u8> {
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let headers = match requested {
        Some(headers) => format!("{headers}, X-Requested-With"),
        None => "X-Requested-With".into(),
    };
    format!(
        "{version} 200 OK\r\ncontent-length: 0\r\nconnection: {connection}\r\ncache-control: no-cache, no-store\r\n\
         Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Headers: {headers}\r\n\
         Access-Control-Allow-Methods: PUT\r\n\r\n"
    )
    .into_bytes()
}

/// An error page.
pub struct Page {
    status: &'static str,
    title: String,
    text: String,
    extra: String,
}

impl Page {
    /// The request cannot be understood.
    pub fn bad_request() -> Self {
        Self::new(
            "400 Bad Request",
            "HTTP 400 bad request",
            "The HTTP request was malformed. Please correct and retry.",
        )
    }

    /// No, or wrong, credentials. The realm is the handler's name, `put_import_raw_vdi`.
    pub fn unauthorised(realm: &str) -> Self {
        let page = Self::new(
            "401 Unauthorised",
            "HTTP 401 unauthorised",
            "Please check your credentials and retry.",
        );
        Self { extra: format!("WWW-Authenticate: Basic realm=\"{realm}\"\r\n"), ..page }
    }

    /// Nothing here, or nothing for you.
    pub fn forbidden() -> Self {
        Self::new("403 Forbidden", "HTTP 403 forbidden", "Access to the requested resource is forbidden.")
    }

    /// Nothing of that name.
    pub fn not_found() -> Self {
        Self::new("404 Not Found", "HTTP 404 not found", "The requested resource was not found.")
    }

    /// More header than the server reads.
    pub fn header_too_large() -> Self {
        Self::new(
            "431 Request Header Fields Too Large",
            "HTTP 431 request header fields too large",
            "Exceeded the maximum header size.",
        )
    }

    /// Anything unforeseen, with what XAPI prints as the exception, if any.
    pub fn internal_error(reason: Option<&str>) -> Self {
        let mut page = Self::new(
            "500 Internal Error",
            "HTTP 500 internal server error",
            "An unexpected error occurred; please wait a while and try again. If the problem persists, please \
             contact your support representative.",
        );
        if let Some(reason) = reason {
            page.text.push_str("<h1> Additional information </h1>");
            page.text.push_str(&escape(reason));
        }
        page
    }

    /// A method XAPI does not know.
    pub fn not_implemented(verb: &str) -> Self {
        Self::new(
            "501 Method not implemented",
            "HTTP 501 Method Not Implemented",
            &format!("<p>Unknown {} not supported.<br /></p>", escape(verb)),
        )
    }

    fn new(status: &'static str, title: &str, text: &str) -> Self {
        Self { status, title: title.into(), text: text.into(), extra: String::new() }
    }

    /// The page's HTML.
    pub fn body(&self) -> String {
        format!("<html><body><h1>{}</h1>{}</body></html>", self.title, self.text)
    }

    /// The whole answer, for a version such as `HTTP/1.1`.
    pub fn bytes(&self, version: &str) -> Vec<u8> {
        let body = self.body();
        format!(
            "{version} {}\r\ncontent-length: {}\r\ncontent-type: text/html\r\nconnection: close\r\n\
             cache-control: no-cache, no-store\r\n{}\r\n{body}",
            self.status,
            body.len(),
            self.extra
        )
        .into_bytes()
    }
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
