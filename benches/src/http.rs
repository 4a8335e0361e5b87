//! The smallest server that speaks HTTP/1.1: what it costs is not the client's.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// Answers each request on a connection with what `answer` makes of its body, until the client closes it.
///
/// # Errors
/// When the connection breaks.
pub fn serve(stream: TcpStream, mut answer: impl FnMut(&[u8]) -> String) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut len = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                len = value.trim().parse().unwrap_or_default();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; len];
        reader.read_exact(&mut body)?;
        let body = answer(&body);
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        // One segment for a small answer, and no copy of a large one.
        if body.len() < 64 << 10 {
            writer.write_all((head + &body).as_bytes())?;
        } else {
            writer.write_all(head.as_bytes())?;
            writer.write_all(body.as_bytes())?;
        }
    }
}
