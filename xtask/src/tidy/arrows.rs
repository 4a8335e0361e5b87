//! The arrows between crates are those drawn in ARCHITECTURE.md.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::{Finding, Package};

/// Who may know whom.
type Arrows = BTreeMap<String, Vec<String>>;

/// Compares the drawing with the packages. Packages beside `crates` that are not drawn may know any
/// library, and no library may know them.
pub(super) fn check(architecture: &str, packages: &[Package]) -> Result<Vec<Finding>> {
    let arrows = parse(architecture)?;
    let mut findings = Vec::new();
    for package in packages {
        let place = package.dir.join("Cargo.toml").display().to_string();
        // The ground floor is drawn as the end of arrows alone.
        let is_drawn = arrows.values().flatten().any(|name| *name == package.name);
        let allowed = arrows.get(&package.name).map(Vec::as_slice);
        match allowed.or(is_drawn.then_some(&[])) {
            Some(allowed) => {
                for dependency in package.dependencies.iter().filter(|d| !allowed.contains(d)) {
                    let text = format!(
                        "{} -> {dependency} is not drawn in ARCHITECTURE.md, \"Who may know whom\"",
                        package.name
                    );
                    findings.push(Finding::error(&place, text));
                }
                for unused in allowed.iter().filter(|name| !package.dependencies.contains(name)) {
                    let text =
                        format!("{} -> {unused} is drawn in ARCHITECTURE.md, but not there", package.name);
                    findings.push(Finding::warning(&place, text));
                }
            }
            None if package.is_library() => {
                let text = format!("{} is missing in ARCHITECTURE.md, \"Who may know whom\"", package.name);
                findings.push(Finding::error(&place, text));
            }
            None => {}
        }
    }
    Ok(findings)
}

/// Reads the first ```` ```text ```` block that has arrows: `name -> name, name`, continued by lines
/// that begin with blanks.
fn parse(architecture: &str) -> Result<Arrows> {
    let block = architecture
        .split("```text\n")
        .skip(1)
        .filter_map(|rest| rest.split("\n```").next())
        .find(|block| block.contains("->"));
    let Some(block) = block else { bail!("ARCHITECTURE.md draws no arrows") };
    let mut arrows = Arrows::new();
    let mut current = String::new();
    for line in block.lines() {
        let targets = match line.split_once("->") {
            Some((name, targets)) if !line.starts_with(' ') => {
                current = name.trim().to_owned();
                targets
            }
            None if line.starts_with(' ') && !current.is_empty() => line,
            _ => bail!("ARCHITECTURE.md: no arrow: {line:?}"),
        };
        let names = targets.split(',').map(str::trim).filter(|name| !name.is_empty());
        arrows.entry(current.clone()).or_default().extend(names.map(str::to_owned));
    }
    Ok(arrows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWING: &str =
        "# A\n```text\nno drawing\n```\n\n```text\nlow ->\nhigh -> low,\n        middle\n```\n";

    fn package(name: &str, dir: &str, dependencies: &[&str]) -> Package {
        let dependencies = dependencies.iter().map(|d| (*d).to_owned()).collect();
        Package { name: name.into(), dir: dir.into(), dependencies }
    }

    #[test]
    fn drawn_arrows_are_fine_and_others_are_not() {
        let packages = [
            package("middle", "crates/middle", &["low"]),
            package("high", "crates/high", &["low", "middle"]),
            package("low", "crates/low", &["high"]),
            package("new", "crates/new", &[]),
            package("tool", "tool", &["high", "low"]),
        ];
        let findings = check(DRAWING, &packages).unwrap();
        let texts: Vec<_> = findings.iter().map(|f| f.text.as_str()).collect();
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert!(texts[0].starts_with("middle -> low is not drawn"));
        assert!(texts[1].starts_with("low -> high is not drawn"));
        assert!(texts[2].starts_with("new is missing"));
    }

    #[test]
    fn a_drawing_that_is_none_is_an_error() {
        assert!(parse("no block").is_err());
        assert!(parse("```text\na -> b\nwhat is this\n```").is_err());
    }
}
