//! Files that appear complete or not at all.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use vhd::zero;

use crate::error::Error;

/// What to do when the target exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// Fail, and leave it alone.
    #[default]
    Refuse,
    /// Replace it, in one step, when the new one is complete.
    Replace,
}

/// A file in the making, beside its target as `.NAME.XXXXXX.partial`: whatever interrupts the
/// work, nobody takes a part for the whole. Dropped, it is removed.
#[derive(Debug)]
pub(crate) struct Partial {
    file: NamedTempFile,
    path: PathBuf,
    existing: Existing,
}

/// Zeros are left out of the file in units of this size.
const GRAIN: usize = 64 << 10;

impl Partial {
    pub(crate) fn create(path: &Path, existing: Existing) -> Result<Self, Error> {
        let path = path.to_owned();
        if existing == Existing::Refuse && path.symlink_metadata().is_ok() {
            return Err(Error::Exists { path });
        }
        // A rename would put a file in the place of a device's node.
        if let Ok(metadata) = path.metadata()
            && !metadata.is_file()
        {
            let source = io::Error::other("it is not a regular file; only those are written");
            return Err(Error::Create { path, source });
        }
        let Some(name) = path.file_name() else {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "the path names no file");
            return Err(Error::Create { path, source });
        };
        let prefix = format!(".{}.", name.to_string_lossy());
        let made = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(".partial")
            // The target's own permissions follow the umask, as for any new file.
            .permissions(std::fs::Permissions::from_mode(0o666))
            .tempfile_in(folder(&path));
        match made {
            Ok(file) => Ok(Self { file, path, existing }),
            Err(source) => Err(Error::Create { path, source }),
        }
    }

    /// Writes at a place that was not written before; zeros become holes.
    pub(crate) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        for run in zero::nonzero_runs(bytes, GRAIN) {
            self.file
                .as_file()
                .write_all_at(&bytes[run.clone()], offset + run.start as u64)
                .map_err(|source| Error::Write { path: self.path.clone(), source })?;
        }
        Ok(())
    }

    /// Makes the file `len` bytes long, durable, and visible.
    pub(crate) fn complete(self, len: u64) -> Result<(), Error> {
        let Self { file, path, existing } = self;
        let failed = |source| Error::Write { path: path.clone(), source };
        file.as_file().set_len(len).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        match existing {
            Existing::Replace => file.persist(&path).map_err(|error| failed(error.error))?,
            Existing::Refuse => file.persist_noclobber(&path).map_err(|error| match error.error.kind() {
                io::ErrorKind::AlreadyExists => Error::Exists { path: path.clone() },
                _ => failed(error.error),
            })?,
        };
        // The new name is durable only with its folder.
        File::open(folder(&path)).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
