//! What somebody sees of a published crate before anything else: the first page of its documentation, its
//! readme, its licences.

use std::path::Path;

use anyhow::{Context, Result};

use super::{Finding, Package};

/// The files that a package brings along, and what the same ones of the workspace are.
const LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];

/// What a manifest says, in so many words: cargo warns of none of them before it publishes.
const METADATA: [&str; 7] = [
    "description",
    "repository.workspace",
    "license.workspace",
    "readme",
    "keywords",
    "categories",
    "rust-version.workspace",
];

pub(super) fn check(root: &Path, package: &Package) -> Result<Vec<Finding>> {
    let read =
        |path: &Path| std::fs::read_to_string(root.join(path)).with_context(|| path.display().to_string());
    let manifest_path = package.dir.join("Cargo.toml");
    let manifest = read(&manifest_path)?;
    let source = package.dir.join("src/lib.rs");
    let mut missing: Vec<(String, String)> = Vec::new();
    for lack in of_page(&page(&read(&source)?), &features(&manifest)) {
        missing.push((source.display().to_string(), lack));
    }
    for field in
        METADATA.iter().filter(|field| !manifest.lines().any(|line| line.starts_with(&format!("{field} = "))))
    {
        missing.push((manifest_path.display().to_string(), format!("says no {field}")));
    }
    for licence in LICENCES {
        let path = package.dir.join(licence);
        if !std::fs::read(root.join(&path))
            .is_ok_and(|text| std::fs::read(root.join(licence)).is_ok_and(|own| own == text))
        {
            missing.push((path.display().to_string(), format!("is not the workspace's {licence}")));
        }
    }
    let readme = package.dir.join("README.md");
    if !read(&readme)?.starts_with(&format!("# {}\n", package.name)) {
        missing.push((readme.display().to_string(), "does not begin with the crate's name".to_owned()));
    }
    Ok(missing.into_iter().map(|(place, text)| Finding::error(place, text)).collect())
}

/// The documentation of the crate itself.
fn page(source: &str) -> String {
    let lines = source.lines().filter_map(|line| line.strip_prefix("//!"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// The features of a manifest, but `default`.
fn features(manifest: &str) -> Vec<String> {
    let section = manifest.split("\n[features]\n").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.to_owned());
    names.filter(|name| name != "default" && !name.starts_with([' ', '#'])).collect()
}

/// What a first page lacks.
fn of_page(page: &str, features: &[String]) -> Vec<String> {
    let mut lacks = Vec::new();
    if !page.lines().next().is_some_and(|line| line.ends_with(['.', ':']) || line.len() > 40) {
        lacks.push("the first page does not begin with a sentence on what this is".to_owned());
    }
    // A block without a word behind the backticks is compiled and run.
    if !page.lines().filter(|line| line.starts_with("```")).step_by(2).any(|fence| fence == "```") {
        lacks.push("the first page has no example that runs".to_owned());
    }
    if !page.contains("does not do: ") {
        lacks.push("the first page does not say what this does not do".to_owned());
    }
    for feature in features {
        if !page.contains(&format!("feature `{feature}`")) {
            lacks.push(format!("the first page does not tell of the feature `{feature}`"));
        }
    }
    lacks
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "//! A format, without IO.\n//!\n//! ```\n//! run();\n//! ```\n//!\n//! The feature `zip` adds zip.\n//!\n\
        //! What it does not do: open files.\n\nuse std::fmt;\n";

    #[test]
    fn what_a_first_page_lacks_is_found() {
        let features = features(
            "[package]\n\n[features]\ndefault = [\"zip\"]\n# Why.\nzip = [\n  \"dep:zip\",\n]\n\n[dependencies]\na = \"1\"\n",
        );
        assert_eq!(features, ["zip"]);
        assert_eq!(of_page(&page(GOOD), &features), [""; 0]);
        for (there, instead) in [
            ("A format, without IO.", ""),
            ("```\n//! run", "```text\n//! run"),
            ("```\n//! run", "```no_run\n//! run"),
            ("does not do: ", "does: "),
            ("feature `zip`", "feature `zap`"),
        ] {
            let page = page(&GOOD.replacen(there, instead, 1));
            assert_eq!(of_page(&page, &features).len(), 1, "{instead:?} for {there:?}");
        }
    }

    #[test]
    fn the_licences_and_the_metadata_are_looked_at() -> Result<()> {
        let root = tempfile::tempdir()?;
        let own = root.path().join("crates/zip");
        std::fs::create_dir_all(own.join("src"))?;
        let metadata: String = METADATA.iter().map(|field| format!("{field} = \"\"\n")).collect();
        for (path, text) in [("src/lib.rs", GOOD), ("README.md", "# zip\n"), ("Cargo.toml", &metadata)] {
            std::fs::write(own.join(path), text)?;
        }
        for licence in LICENCES {
            std::fs::write(root.path().join(licence), licence)?;
            std::fs::write(own.join(licence), licence)?;
        }
        let package = Package { name: "zip".into(), dir: "crates/zip".into(), dependencies: Vec::new() };
        assert_eq!(check(root.path(), &package)?, []);
        std::fs::write(own.join("LICENSE-MIT"), "another")?;
        std::fs::write(own.join("README.md"), "# zap\n")?;
        std::fs::write(own.join("Cargo.toml"), metadata.replace("keywords", "words"))?;
        assert_eq!(check(root.path(), &package)?.len(), 3);
        Ok(())
    }
}
