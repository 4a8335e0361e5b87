//! What of a library could not change in a minor version: enums that can be matched whole, structs that can be written out,
//! traits that anybody can implement. Each is `#[non_exhaustive]`, sealed, or named in `docs/stability.md`,
//! under its crate; and what is named there is there.

use std::collections::BTreeSet;

use super::Finding;

/// Where closed types and open traits are named.
pub(super) const PAGE: &str = "docs/stability.md";

/// A type or trait that users of a crate could rely on as it is.
#[derive(Debug, PartialEq)]
pub(super) struct Closed {
    pub(super) name: String,
    /// File and line.
    pub(super) place: String,
}

/// Those of a file. Items begin where a line does; tests come last.
pub(super) fn closed(place: &str, text: &str) -> Vec<Closed> {
    let lines: Vec<&str> = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some((kind, rest)) = line.strip_prefix("pub ").and_then(|item| item.split_once(' ')) else {
            continue;
        };
        let is_closed = match kind {
            "enum" => !may_grow(&lines[..index]),
            "struct" => !may_grow(&lines[..index]) && is_written_out(&lines[index..]),
            "trait" => !is_sealed(&lines[index..]),
            _ => false,
        };
        if is_closed {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            found.push(Closed { name: rest[..end].to_owned(), place: format!("{place}:{}", index + 1) });
        }
    }
    found
}

/// Attributes and docs are right above an item, and an empty line above them.
fn may_grow(above: &[&str]) -> bool {
    above.iter().rev().take_while(|line| !line.is_empty()).any(|line| *line == "#[non_exhaustive]")
}

/// Whether every field is public, and there is one.
fn is_written_out(item: &[&str]) -> bool {
    let body = || item[1..].iter().take_while(|line| **line != "}");
    let is_field = |line: &&&str| {
        let field = line.strip_prefix("    ").filter(|field| !field.starts_with([' ', '/', '#', '}', ')']));
        field.is_some_and(|field| field.contains(':'))
    };
    item[0].ends_with('{')
        && body().any(|line| is_field(&line))
        && body().filter(is_field).all(|line| line.starts_with("    pub "))
}

fn is_sealed(item: &[&str]) -> bool {
    let head = item.iter().position(|line| line.ends_with(['{', '}'])).map_or(item, |end| &item[..=end]);
    head.iter().any(|line| line.contains("Sealed"))
}

/// Compares what a crate has with the names in its section of the page: those in backticks below the heading `## crate`.
pub(super) fn check(page: &str, package: &str, found: &[Closed]) -> Vec<Finding> {
    let named = names(page, package);
    let missing = found.iter().filter(|closed| !named.contains(closed.name.as_str()));
    let missing = missing.map(|Closed { name, place }| {
        let text = format!(
            "{name} could not change in a minor version: make it #[non_exhaustive] (or seal the trait), or name it in {PAGE} under {package}"
        );
        Finding::error(place, text)
    });
    let is_there = |name: &str| found.iter().any(|closed| closed.name == name);
    let stale = named.iter().filter(|name| !is_there(name));
    let stale =
        stale.map(|name| Finding::error(PAGE, format!("{package} has no closed type or open trait {name}")));
    missing.chain(stale).collect()
}

fn names<'a>(page: &'a str, package: &str) -> BTreeSet<&'a str> {
    let heading = format!("## {package}");
    let section = page.lines().skip_while(|line| *line != heading).skip(1);
    let section = section.take_while(|line| !line.starts_with("## "));
    section.flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(text: &str) -> Vec<String> {
        closed("a.rs", text).into_iter().map(|closed| closed.name).collect()
    }

    #[test]
    fn what_can_be_matched_or_written_out_is_closed() {
        assert_eq!(names_in("pub enum A {\n    B,\n}\n"), ["A"]);
        assert_eq!(
            names_in("/// Doc.\n#[non_exhaustive]\n#[derive(\n    Debug,\n)]\npub enum A {\n    B,\n}\n"),
            [""; 0]
        );
        assert_eq!(names_in("#[non_exhaustive]\npub enum A {}\n\npub enum B<T> {\n    C(T),\n}\n"), ["B"]);
        assert_eq!(names_in("pub struct A {\n    /// A: field.\n    pub b: u8,\n}\n"), ["A"]);
        assert_eq!(names_in("pub struct A {\n    pub b: u8,\n    c: u8,\n}\n"), [""; 0]);
        assert_eq!(names_in("pub struct A {\n    pub b: u8,\n    pub(crate) c: u8,\n}\n"), [""; 0]);
        assert_eq!(
            names_in("pub struct A;\n\npub struct B(pub u8);\n\npub(crate) enum C {\n    D,\n}\n"),
            [""; 0]
        );
        assert_eq!(names_in("#[cfg(test)]\nmod tests {\n}\n\npub enum A {\n    B,\n}\n"), [""; 0]);
    }

    #[test]
    fn traits_are_open_unless_they_are_sealed() {
        assert_eq!(names_in("pub trait A: Send {\n    fn b();\n}\n"), ["A"]);
        assert_eq!(names_in("pub trait A: sealed::Sealed {\n    fn b();\n}\n"), [""; 0]);
        assert_eq!(names_in("pub trait A<T>\nwhere\n    T: Sealed,\n{\n    fn b();\n}\n"), [""; 0]);
    }

    #[test]
    fn the_page_and_the_crate_agree() {
        let page = "# Page\n\n`Other`\n\n## vhd\n\nfilled in: `A`,\n`B`\n\n## qcow2\n\n`C`\n";
        let found = |names: &[&str]| -> Vec<Closed> {
            names.iter().map(|name| Closed { name: (*name).into(), place: "a.rs:1".into() }).collect()
        };
        assert_eq!(check(page, "vhd", &found(&["A", "B"])), []);
        let findings = check(page, "vhd", &found(&["A", "C"]));
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert_eq!(findings[0].place, "a.rs:1");
        assert_eq!(findings[1], Finding::error(PAGE, "vhd has no closed type or open trait B"));
        assert_eq!(check(page, "secret", &[]), []);
    }
}
