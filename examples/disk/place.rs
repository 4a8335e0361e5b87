//! Where files go that nobody keeps.

use std::path::{Path, PathBuf};

/// Where the output will be, or if it has no place, where all files go that nobody keeps.
pub(crate) fn folder(output: &Path, device: bool) -> PathBuf {
    match output.parent() {
        // The folder of a device is in memory, and has devices only.
        _ if device || output == Path::new("-") => std::env::temp_dir(),
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}
