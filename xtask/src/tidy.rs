//! `cargo xtask tidy`: what no compiler checks about how the workspace is built.

mod arrows;
mod first_page;
mod sources;
mod stability;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Something that is not as it should be.
#[derive(Debug, PartialEq)]
pub(crate) struct Finding {
    /// Relative to the root, with a line number where there is one.
    pub(crate) place: String,
    pub(crate) text: String,
    pub(crate) severity: Severity,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Severity {
    Error,
    Warning,
}

impl Finding {
    pub(crate) fn error(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place: place.into(), text: text.into(), severity: Severity::Error }
    }

    pub(crate) fn warning(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, text) }
    }
}

/// A member of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Its folder, relative to the root.
    pub(crate) dir: PathBuf,
    /// Members it depends on, those for tests not counted.
    pub(crate) dependencies: Vec<String>,
}

impl Package {
    /// Whether it is a library, by where it is: the working rooms are beside `crates`.
    pub(crate) fn is_library(&self) -> bool {
        self.dir.starts_with("crates")
    }
}

pub(crate) fn run() -> Result<()> {
    let root = crate::root();
    let packages = packages(&root)?;
    let architecture = root.join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(&architecture).context("ARCHITECTURE.md")?;

    let stability = std::fs::read_to_string(root.join(stability::PAGE)).context(stability::PAGE)?;

    let mut findings = arrows::check(&text, &packages)?;
    for package in &packages {
        findings.extend(manifest(&root, package)?);
        findings.extend(sources::check(&root, package)?);
        if package.is_library() {
            findings.extend(first_page::check(&root, package)?);
            findings.extend(stability::check(&stability, &package.name, &sources::closed(&root, package)?));
        }
    }
    let errors = findings.iter().filter(|f| f.severity == Severity::Error).count();
    for finding in &findings {
        let severity = if finding.severity == Severity::Error { "error" } else { "warning" };
        println!("{severity}: {}: {}", finding.place, finding.text);
    }
    if errors > 0 {
        bail!("{errors} things are not tidy");
    }
    println!("{} packages are tidy, {} warnings", packages.len(), findings.len());
    Ok(())
}

fn packages(root: &Path) -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Member>,
    }
    #[derive(Deserialize)]
    struct Member {
        name: String,
        manifest_path: PathBuf,
        dependencies: Vec<Dependency>,
    }
    #[derive(Deserialize)]
    struct Dependency {
        name: String,
        kind: Option<String>,
        path: Option<PathBuf>,
    }

    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    metadata
        .packages
        .into_iter()
        .map(|member| {
            let dir = member.manifest_path.parent().context("a manifest has a folder")?;
            let ours = |d: &Dependency| d.path.is_some() && d.kind.as_deref() != Some("dev");
            Ok(Package {
                name: member.name,
                dir: dir.strip_prefix(root).context("a member outside of the root")?.to_owned(),
                dependencies: member.dependencies.into_iter().filter(ours).map(|d| d.name).collect(),
            })
        })
        .collect()
}

/// Every package takes its lints from the workspace.
fn manifest(root: &Path, package: &Package) -> Result<Option<Finding>> {
    let path = package.dir.join("Cargo.toml");
    let text = std::fs::read_to_string(root.join(&path)).with_context(|| path.display().to_string())?;
    let inherits = text.split_once("\n[lints]\n").is_some_and(|(_, rest)| {
        let section = rest.split("\n[").next().unwrap_or_default();
        section.lines().any(|line| line.replace(' ', "") == "workspace=true")
    });
    Ok((!inherits)
        .then(|| Finding::error(path.display().to_string(), "wants `[lints]` with `workspace = true`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/security.md counts on it.
    #[test]
    fn no_package_allows_unsafe_code() {
        let root = crate::root();
        let workspace = std::fs::read_to_string(root.join("Cargo.toml")).expect("the workspace's manifest");
        assert!(workspace.contains("\nunsafe_code = \"forbid\"\n"));
        let packages = packages(&root).expect("the packages");
        assert!(packages.len() > 15);
        for package in packages {
            assert_eq!(manifest(&root, &package).expect("its manifest"), None, "{}", package.name);
        }
    }
}
