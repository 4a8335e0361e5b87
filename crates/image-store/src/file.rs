//! Files and pipes.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::content::{Content, Pending, Pull};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::draft::{Draft, folder};
use crate::error::{Error, Result};
use crate::image::{Declared, Image, ImageSink, ImageSource, Stored};

const PIECE_BYTES: usize = 1 << 20;

/// A file to read.
#[derive(Debug, Clone)]
pub struct FileSource {
    path: PathBuf,
    declared: Declared,
    digests: Vec<Digest>,
}

impl FileSource {
    /// The file at a path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), declared: Declared::default(), digests: Vec::new() }
    }

    /// What the user says it is.
    pub fn declared(mut self, declared: Declared) -> Self {
        self.declared = declared;
        self
    }

    /// A digest it must have.
    pub fn digest(mut self, digest: Digest) -> Self {
        self.digests.push(digest);
        self
    }
}

impl ImageSource for FileSource {
    fn open(&self) -> Pending<'_, Result<Image>> {
        Box::pin(async {
            let what = self.path.display().to_string();
            let failed = |source| Error::Io { doing: "open", what: what.clone(), source };
            let file = tokio::fs::File::open(&self.path).await.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => Error::NotFound { what: what.clone() },
                _ => failed(error),
            })?;
            let facts = file.metadata().await.map_err(failed)?;
            if facts.is_dir() {
                return Err(failed(io::ErrorKind::IsADirectory.into()));
            }
            // Devices and pipes have no length of their own.
            let len = facts.is_file().then_some(facts.len());
            let mut content = Content::new(what.clone(), len, Reader { what: what.clone(), from: file });
            self.digests.iter().cloned().for_each(|digest| content.check(digest));
            Ok(Image { declared: self.declared.clone(), len, content })
        })
    }
}

/// The standard input. It can be opened once: what was read of it is gone.
#[derive(Debug, Default)]
pub struct StdinSource {
    declared: Declared,
    digests: Vec<Digest>,
    opened: std::sync::atomic::AtomicBool,
}

impl StdinSource {
    /// The standard input of this process, with what the user says of it.
    pub fn new(declared: Declared, digests: Vec<Digest>) -> Self {
        Self { declared, digests, opened: false.into() }
    }
}

impl ImageSource for StdinSource {
    fn open(&self) -> Pending<'_, Result<Image>> {
        Box::pin(async {
            let what = "standard input".to_owned();
            if self.opened.swap(true, std::sync::atomic::Ordering::Relaxed) {
                let problem = "it can be read only once; give a file where attempts are repeated".to_owned();
                return Err(Error::Invalid { what, problem });
            }
            let reader = Reader { what: what.clone(), from: tokio::io::stdin() };
            let mut content = Content::new(what, None, reader);
            self.digests.iter().cloned().for_each(|digest| content.check(digest));
            Ok(Image { declared: self.declared.clone(), len: None, content })
        })
    }
}

struct Reader<R> {
    what: String,
    from: R,
}

impl<R: AsyncRead + Unpin + Send + 'static> Pull for Reader<R> {
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>>> {
        Box::pin(async {
            let mut piece = BytesMut::with_capacity(PIECE_BYTES);
            match self.from.read_buf(&mut piece).await {
                Ok(0) => Ok(None),
                Ok(_) => Ok(Some(piece.freeze())),
                Err(source) => Err(Error::Io { doing: "read", what: self.what.clone(), source }),
            }
        })
    }
}

/// A file to write. It appears complete or not at all.
#[derive(Debug, Clone)]
pub struct FileSink {
    path: PathBuf,
    replace: bool,
}

impl FileSink {
    /// A file that must not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), replace: false }
    }

    /// A file that may exist, and is then replaced when its successor is complete.
    pub fn replacing(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), replace: true }
    }

    fn failed(&self, doing: &'static str) -> impl Fn(io::Error) -> Error {
        let what = self.path.display().to_string();
        move |source| Error::Io { doing, what: what.clone(), source }
    }
}

impl ImageSink for FileSink {
    fn store<'a>(
        &'a self,
        make: &'a (dyn Fn() -> Pending<'a, Result<Image>> + Send + Sync),
    ) -> Pending<'a, Result<Stored>> {
        Box::pin(async {
            let what = self.path.display().to_string();
            if !self.replace && self.path.exists() {
                return Err(Error::Exists { what });
            }
            let mut content = make().await?.content;
            let mut file = Draft::beside(&self.path).map_err(self.failed("create"))?;
            let (mut hasher, mut len) = (Hasher::new(Algorithm::Sha512), 0);
            while let Some(piece) = content.chunk().await? {
                hasher.update(&piece);
                len += piece.len() as u64;
                file = blocking(move || file.as_file().write_all(&piece).map(|()| file))
                    .await
                    .map_err(self.failed("write"))?;
            }
            let (path, replace) = (self.path.clone(), self.replace);
            blocking(move || {
                file.as_file().sync_all()?;
                match replace {
                    true => file.replace(&path)?,
                    false => file.appear(&path)?,
                }
                // The name is durable when the folder is.
                File::open(folder(&path))?.sync_all()
            })
            .await
            .map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Error::Exists { what: what.clone() },
                _ => self.failed("write")(error),
            })?;
            Ok(Stored { place: what, len, digest: hasher.finish() })
        })
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(io::Error::other("the runtime shut down")))
}
