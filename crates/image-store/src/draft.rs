//! Files without a name. `disk-stream` has its own: neither crate may know the other, and this is all that they would share.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use tempfile::NamedTempFile;

/// As in `disk-stream`, which this crate does not know: a file in the folder of its place, which takes its
/// name when it is complete. The system removes what has no name when the process ends, however that ends.
#[derive(Debug)]
pub(crate) enum Draft {
    Nameless(File),
    /// Where file systems have nothing better: `.NAME.XXXXXX.partial`, which a kill leaves.
    Named(NamedTempFile),
}

/// Images are nobody else's business.
const MODE: u32 = 0o600;

impl Draft {
    pub(crate) fn beside(path: &Path) -> io::Result<Self> {
        let Some(name) = path.file_name() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
        };
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        if let Ok(file) = open(folder(path), flags, Mode::from_raw_mode(MODE)).map(File::from)
            && place(&file).try_exists().unwrap_or(false)
        {
            return Ok(Self::Nameless(file));
        }
        let prefix = format!(".{}.", name.to_string_lossy());
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".partial");
        Ok(Self::Named(builder.tempfile_in(folder(path))?))
    }

    pub(crate) fn as_file(&self) -> &File {
        match self {
            Self::Nameless(file) => file,
            Self::Named(file) => file.as_file(),
        }
    }

    /// Takes a name that nobody else has.
    pub(crate) fn appear(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Nameless(file) => Ok(linkat(CWD, place(&file), CWD, path, AtFlags::SYMLINK_FOLLOW)?),
            Self::Named(file) => file.persist_noclobber(path).map(drop).map_err(|error| error.error),
        }
    }

    /// Takes a name, whoever has it, in one step.
    pub(crate) fn replace(self, path: &Path) -> io::Result<()> {
        let named = match self {
            // A link replaces nothing and a rename does: for that it needs a name of its own first.
            Self::Nameless(file) => {
                let link = |free: &Path| Ok(linkat(CWD, place(&file), CWD, free, AtFlags::SYMLINK_FOLLOW)?);
                let mut builder = tempfile::Builder::new();
                builder.prefix(".").suffix(".partial").make_in(folder(path), link)?.into_temp_path()
            }
            Self::Named(file) => file.into_temp_path(),
        };
        named.persist(path).map_err(|error| error.error)
    }
}

/// By which the system knows it.
fn place(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// Where a file is.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
