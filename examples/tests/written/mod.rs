//! What people read of this repository.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Folders of which nothing is in the repository.
const MADE: [&str; 5] = ["artifacts", "book", "corpus", "node_modules", "target"];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every page, by its path in the repository: readmes, the guide, forms for issues, whatever ends with `.md`.
pub(crate) fn pages() -> Result<Vec<String>> {
    let mut pages = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let name = entry.file_name().into_string().ok().context("a name in UTF-8")?;
            let path = folder.join(&name);
            let is_hidden = name.starts_with('.') && name != ".github";
            if entry.file_type()?.is_dir() && !is_hidden && !MADE.contains(&&*name) {
                folders.push(path);
            } else if name.ends_with(".md") {
                pages.push(path.display().to_string());
            }
        }
    }
    pages.sort();
    Ok(pages)
}
