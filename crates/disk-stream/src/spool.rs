//! Images that cannot be read while they arrive: kept for a while, up to a limit.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::image::{Declared, Image, Opening};
use crate::layer::DiskFile;
use crate::progress::Progress;
use crate::receive::Consume;

/// How a stream has to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// That shows with more bytes of it.
    Unknown,
    /// As it comes.
    Forward,
    /// At any place, so that all of it has to be there first: [`Spool`].
    Random,
}

/// Looks at the beginning of a stream, whose bytes somebody keeps meanwhile: 16 MiB at most, unless [`Preview::up_to`] says more.
///
/// Only a qcow2 image is ever [`Reading::Random`]: one whose tables do not precede its data, or that has compressed
/// clusters. What is wrong with a stream is told by those who read it.
#[derive(Debug)]
pub struct Preview {
    reading: Reading,
    seen: u64,
    limit: u64,
    decoder: qcow2::Decoder,
}

/// Where a streamable image has long come to its data.
const LOOK: u64 = 16 << 20;

impl Preview {
    /// Of a stream that is said to be this.
    pub fn new(declared: Declared) -> Self {
        let reading = match declared {
            Declared::Unknown | Declared::Qcow2 => Reading::Unknown,
            Declared::Raw | Declared::Vhd => Reading::Forward,
        };
        Self { reading, seen: 0, limit: LOOK, decoder: qcow2::Decoder::default() }
    }

    /// Of a stream whose first bytes are kept where there is more room: at most so many.
    #[must_use]
    pub fn up_to(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    /// Takes the next bytes, which are not empty.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Reading {
        if self.seen == 0 && !qcow2::MAGIC.starts_with(&bytes[..bytes.len().min(qcow2::MAGIC.len())]) {
            self.reading = Reading::Forward;
        }
        self.seen += bytes.len() as u64;
        while self.reading == Reading::Unknown {
            match self.decoder.feed(&mut bytes) {
                Ok(Some(qcow2::Event::Header(_))) => {}
                Ok(Some(_)) => self.reading = Reading::Forward,
                Ok(None) if self.seen > self.limit => self.reading = Reading::Random,
                Ok(None) => break,
                Err(qcow2::Error::NotStreamable(_)) => self.reading = Reading::Random,
                Err(_) => self.reading = Reading::Forward,
            }
        }
        self.reading
    }

    /// What is known so far.
    pub fn reading(&self) -> Reading {
        self.reading
    }
}

/// Keeps a stream in a file without a name in [`std::env::temp_dir`], which is gone when the image is dropped or the
/// process ends, and opens it as an image.
#[derive(Debug)]
pub struct Spool {
    file: File,
    name: PathBuf,
    declared: Declared,
    len: u64,
    limit: u64,
}

impl Spool {
    /// Of an image with this name, for messages, and at most so many bytes.
    ///
    /// # Errors
    /// [`Error::Create`] when there can be no such file.
    pub fn new(name: impl AsRef<Path>, declared: Declared, limit: u64) -> Result<Self, Error> {
        let file = tempfile::tempfile();
        let file = file.map_err(|source| Error::Create { path: std::env::temp_dir(), source })?;
        Ok(Self { file, name: name.as_ref().to_owned(), declared, len: 0, limit })
    }
}

impl Consume for Spool {
    type Output = Image;

    fn feed(&mut self, bytes: &[u8], _: &Progress) -> Result<(), Error> {
        let end = self.len + bytes.len() as u64;
        if end > self.limit {
            return Err(Error::TooLargeToKeep { path: self.name.clone(), limit: self.limit });
        }
        let written = self.file.write_all_at(bytes, self.len);
        written.map_err(|source| Error::Write { path: std::env::temp_dir(), source })?;
        self.len = end;
        Ok(())
    }

    fn finish(self) -> Result<Image, Error> {
        let opening = Opening { declared: self.declared, ..Opening::default() };
        Image::of_file(DiskFile::of(&self.name, self.file)?, &opening)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_must_be_is_kept() {
        let mut short = Preview::new(Declared::Unknown);
        // Two bytes do not tell yet.
        assert_eq!(short.feed(b"QF"), Reading::Unknown);
        for (declared, bytes, reading) in [
            (Declared::Unknown, &b"conectix"[..], Reading::Forward),
            (Declared::Raw, b"QFI\xfb", Reading::Forward),
            (Declared::Vhd, b"QFI\xfb", Reading::Forward),
            (Declared::Qcow2, b"QFI\xfb", Reading::Unknown),
            (Declared::Qcow2, b"no such", Reading::Forward),
        ] {
            assert_eq!(Preview::new(declared).feed(bytes), reading, "{declared:?} {bytes:?}");
        }
        // Whatever is declared long enough without coming to data.
        let large = qcow2::Layout::new(1 << 40, |from| (from < 1 << 40).then_some(0..1 << 40)).unwrap();
        let mut long = Preview::new(Declared::Unknown);
        let mut tables = large.into_segments().filter_map(|segment| match segment {
            qcow2::Segment::Meta(cluster) => Some(cluster),
            qcow2::Segment::Payload { .. } => None,
        });
        assert!(tables.any(|cluster| long.feed(&cluster) == Reading::Random));
    }
}
