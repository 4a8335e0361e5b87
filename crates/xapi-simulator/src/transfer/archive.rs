//! The members of an archive as they come from the connection.

use std::io;
use std::ops::Range;

use tokio::io::{AsyncRead, AsyncReadExt};
use xenapi_types::archive::{Checksum, Header, PIECE_LEN, PieceName, RECORD};
use xenapi_wire::Failure;

use super::packing::Unpacker;

/// An archive on its way in.
///
/// XAPI reads on until it has what it needs, whatever length was announced: a client that has sent too little is waited
/// for until it closes the connection.
pub(super) struct Archive<R> {
    body: R,
    consumed: u64,
    /// What has been read to see how it is packed, and is not used yet.
    begin: Vec<u8>,
    unpacker: Option<Unpacker>,
    /// What came out of the unpacker, and how much of it has been read.
    plain: Vec<u8>,
    at: usize,
    is_begun: bool,
}

/// A piece of a disk.
pub(super) struct Piece {
    /// It begins at this many MiB.
    pub(super) index: u64,
    /// None, of one that says nothing.
    pub(super) content: Vec<u8>,
    /// Whether its checksum is right.
    pub(super) is_intact: bool,
}

/// How much is read of a packed stream at once.
const CHUNK: usize = 16 << 10;

/// The failure for everything that is no archive, or not all of one.
pub(super) fn premature_eof() -> Failure {
    Failure::new("IMPORT_ERROR_PREMATURE_EOF", [] as [&str; 0])
}

/// The failure for a member that does not belong where it is.
pub(super) fn unexpected(expected: &str, found: &str) -> Failure {
    Failure::new("IMPORT_ERROR_UNEXPECTED_FILE", [expected, found])
}

/// The failure for an archive with damaged pieces.
pub(super) fn damaged() -> Failure {
    Failure::new("IMPORT_ERROR_SOME_CHECKSUMS_FAILED", [] as [&str; 0])
}

impl<R: AsyncRead + Unpin> Archive<R> {
    /// One that may be packed.
    pub(super) fn new(body: R) -> Self {
        Self {
            body,
            consumed: 0,
            begin: Vec::new(),
            unpacker: None,
            plain: Vec::new(),
            at: 0,
            is_begun: false,
        }
    }

    /// One that is not packed.
    pub(super) fn plain(body: R) -> Self {
        Self { is_begun: true, ..Self::new(body) }
    }

    /// How many bytes have been read from the connection.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Reads and drops `len` bytes of the connection; `false` when they do not come.
    pub(super) async fn drain(&mut self, len: u64) -> bool {
        let drained = tokio::io::copy(&mut (&mut self.body).take(len), &mut tokio::io::sink()).await;
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

    /// The next piece of a disk, which is one of `within`, and its checksum. Nothing at the end of the archive.
    ///
    /// # Errors
    /// `IMPORT_ERROR_UNEXPECTED_FILE`; as [`Archive::content`].
    pub(super) async fn piece(&mut self, disk: &str, within: Range<u64>) -> Result<Option<Piece>, Failure> {
        let Some(header) = self.next().await? else { return Ok(None) };
        let named = PieceName::parse(&header.name).filter(|piece| piece.disk == disk);
        let Some(PieceName { index, .. }) = named.filter(|piece| within.contains(&piece.index)) else {
            let expected = PieceName { disk, index: within.start }.to_string();
            return Err(unexpected(&expected, &header.name));
        };
        let content = self.content(&header, PIECE_LEN).await?;
        let checksum = self.next().await?.ok_or_else(premature_eof)?;
        let Some(kind) = Checksum::parse(&checksum.name, &header.name) else {
            return Err(unexpected(&format!("{}.xxhash", header.name), &checksum.name));
        };
        let is_intact = kind.is_of(&content, &self.content(&checksum, 64).await?);
        Ok(Some(Piece { index, content, is_intact }))
    }

    async fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), Failure> {
        if !self.is_begun {
            self.begin().await?;
        }
        while !buffer.is_empty() {
            let len = match self.unpacker {
                Some(_) => self.unpacked(buffer).await,
                None => self.raw(buffer).await,
            };
            match len.map_err(|_| premature_eof())? {
                0 => return Err(premature_eof()),
                len => buffer = &mut buffer[len..],
            }
        }
        Ok(())
    }

    /// Looks whether it is packed.
    async fn begin(&mut self) -> Result<(), Failure> {
        let mut begin = [0; Unpacker::MAGIC_LEN];
        let read = self.body.read_exact(&mut begin).await.map_err(|_| premature_eof())?;
        self.consumed += read as u64;
        self.is_begun = true;
        self.begin = begin.to_vec();
        self.unpacker = Unpacker::of(begin);
        Ok(())
    }

    /// What comes, as it comes.
    async fn raw(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.begin.is_empty() {
            let len = buffer.len().min(self.begin.len());
            buffer[..len].copy_from_slice(&self.begin[..len]);
            self.begin.drain(..len);
            return Ok(len);
        }
        let len = self.body.read(buffer).await?;
        self.consumed += len as u64;
        Ok(len)
    }

    async fn unpacked(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.plain.len() {
            self.plain.clear();
            self.at = 0;
            let mut chunk = [0; CHUNK];
            let len = self.raw(&mut chunk).await?;
            let Some(unpacker) = &mut self.unpacker else { return Ok(0) };
            unpacker.unpack(&chunk[..len], &mut self.plain)?;
            if len == 0 && self.plain.is_empty() {
                return Ok(0);
            }
        }
        let len = buffer.len().min(self.plain.len() - self.at);
        buffer[..len].copy_from_slice(&self.plain[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}
