//! The members of an archive as they come from the connection.

use std::io::Write;

use flate2::write::GzDecoder;
use tokio::io::AsyncReadExt;
use xenapi_types::archive::{Header, RECORD};
use xenapi_wire::Failure;

use crate::http::Conn;

/// An archive on its way in.
///
/// XAPI reads on until it has what it needs, whatever length was announced: a client that has sent too little is waited
/// for until it closes the connection.
pub(super) struct Archive<'a> {
    conn: &'a mut Conn,
    consumed: u64,
    gzip: Option<GzDecoder<Vec<u8>>>,
    /// What came out of the decompressor, and how much of it has been read.
    plain: Vec<u8>,
    at: usize,
    is_begun: bool,
}

/// How much is read of a compressed stream at once.
const CHUNK: usize = 16 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The failure for everything that is no archive, or not all of one.
pub(super) fn premature_eof() -> Failure {
    Failure::new("IMPORT_ERROR_PREMATURE_EOF", [] as [&str; 0])
}

impl<'a> Archive<'a> {
    pub(super) fn new(conn: &'a mut Conn) -> Self {
        Self { conn, consumed: 0, gzip: None, plain: Vec::new(), at: 0, is_begun: false }
    }

    /// How many bytes have been read from the connection.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Reads and drops `len` bytes of the connection; `false` when they do not come.
    pub(super) async fn drain(&mut self, len: u64) -> bool {
        let drained = tokio::io::copy(&mut (&mut *self.conn).take(len), &mut tokio::io::sink()).await;
        drained.is_ok_and(|drained| drained == len)
    }

    /// The next member, whose content is to be read before the one after it. Nothing at the end.
    ///
    /// # Errors
    /// `IMPORT_ERROR_PREMATURE_EOF`, of junk too.
    pub(super) async fn next(&mut self) -> Result<Option<Header>, Failure> {
        let mut record = [0; RECORD];
        self.fill(&mut record).await?;
        Header::parse(&record).map_err(|_| premature_eof())
    }

    /// The content of a member, which has at most `max` bytes.
    ///
    /// # Errors
    /// `IMPORT_ERROR` when it has more; `IMPORT_ERROR_PREMATURE_EOF`.
    pub(super) async fn content(&mut self, header: &Header, max: u64) -> Result<Vec<u8>, Failure> {
        if header.len > max {
            let text = format!("{} has {} bytes, more than {max}", header.name, header.len);
            return Err(Failure::new("IMPORT_ERROR", [text]));
        }
        let mut content = vec![0; header.len as usize + header.padding()];
        self.fill(&mut content).await?;
        content.truncate(header.len as usize);
        Ok(content)
    }

    async fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), Failure> {
        if !self.is_begun {
            self.begin().await?;
        }
        while !buffer.is_empty() {
            let len = if self.gzip.is_some() {
                self.inflated(buffer).await?
            } else {
                let len = self.conn.read(buffer).await.map_err(|_| premature_eof())?;
                self.consumed += len as u64;
                len
            };
            if len == 0 {
                return Err(premature_eof());
            }
            buffer = &mut buffer[len..];
        }
        Ok(())
    }

    /// Looks whether it is compressed.
    async fn begin(&mut self) -> Result<(), Failure> {
        self.is_begun = true;
        while self.conn.buffered().len() < GZIP.len() {
            if !self.conn.fill().await.map_err(|_| premature_eof())? {
                return Err(premature_eof());
            }
        }
        if self.conn.buffered().starts_with(&GZIP) {
            self.gzip = Some(GzDecoder::new(Vec::new()));
        }
        Ok(())
    }

    async fn inflated(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        while self.at == self.plain.len() {
            self.plain.clear();
            self.at = 0;
            let mut chunk = [0; CHUNK];
            let len = self.conn.read(&mut chunk).await.map_err(|_| premature_eof())?;
            self.consumed += len as u64;
            let Some(gzip) = self.gzip.as_mut().filter(|_| len > 0) else { return Ok(0) };
            let mut rest = &chunk[..len];
            while !rest.is_empty() {
                let taken = gzip.write(rest).map_err(|_| premature_eof())?;
                if taken == 0 {
                    // What is behind the end of the compressed stream belongs to nobody.
                    break;
                }
                rest = &rest[taken..];
            }
            // It keeps some of what it has decompressed.
            gzip.flush().map_err(|_| premature_eof())?;
            std::mem::swap(&mut self.plain, gzip.get_mut());
        }
        let len = buffer.len().min(self.plain.len() - self.at);
        buffer[..len].copy_from_slice(&self.plain[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}
