//! What the driver can do, as its source says.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Result;

/// The methods that give operations.
///
/// # Errors
///
/// When the source of the driver cannot be read.
pub fn operations() -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    below(
        &Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join("crates/xenapi-driver/src"),
        &mut found,
    )?;
    Ok(found)
}

fn below(folder: &Path, into: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            below(&path, into)?;
            continue;
        }
        let text = fs::read_to_string(path)?;
        for part in text.split("    pub fn ").skip(1) {
            let head = part.split('{').next().unwrap_or_default();
            if head.contains("&self") && head.contains("-> Operation<") {
                into.insert(head.split(['(', '<']).next().unwrap_or_default().to_owned());
            }
        }
    }
    Ok(())
}
