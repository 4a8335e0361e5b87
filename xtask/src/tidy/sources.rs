//! Source files: their length, the length of their functions, and what they must not mention.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::stability::{self, Closed};
use super::{Finding, Package};

/// Crates that only turn bytes and values into others: whoever uses them brings files, sockets, the
/// clock and the environment.
const PURE: [&str; 10] = [
    "config-drive",
    "dom0-protocol",
    "guest-agent",
    "qcow2",
    "secret",
    "vhd",
    "xenapi-config",
    "xenapi-storage",
    "xenapi-types",
    "xenapi-wire",
];

const IMPURE_MODULES: [&str; 6] = ["env", "fs", "net", "process", "thread", "time"];

/// Words that start a shell: what comes from elsewhere could become a command there. It cannot where the
/// script is a constant of the source, and all else its arguments.
const SHELLS: [&str; 5] = ["\"sh\"", "\"bash\"", "\"dash\"", "/bin/sh", "/bin/bash"];

const MAX_FILE_LINES: usize = 1_000;
const MAX_FUNCTION_LINES: usize = 60;

pub(super) fn check(root: &Path, package: &Package) -> Result<Vec<Finding>> {
    let mut files = Vec::new();
    rust_files(&root.join(&package.dir), &mut files)?;
    files.sort();
    let mut findings = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let place = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let within = path.strip_prefix(root.join(&package.dir)).unwrap_or(&path);
        let is_source = within.starts_with("src") && !within.ends_with("tests.rs");
        findings.extend(lengths(&place, &text));
        if is_source && PURE.contains(&package.name.as_str()) {
            findings.extend(impure(&place, &text));
        }
        let ships = package.is_library() || package.name == "xapi-plugins";
        if is_source && ships {
            findings.extend(shells(&place, &text));
        }
        let is_binary = within.ends_with("main.rs") || within.starts_with("src/bin");
        if is_source && package.is_library() && !is_binary {
            findings.extend(prints(&place, &text));
        }
    }
    Ok(findings)
}

/// What of a library's interface is closed. What is there for fuzzing only is no part of it, nor are binaries.
pub(super) fn closed(root: &Path, package: &Package) -> Result<Vec<Closed>> {
    let source = root.join(&package.dir).join("src");
    let mut files = Vec::new();
    rust_files(&source, &mut files)?;
    files.sort();
    let mut found = Vec::new();
    for path in files {
        let within = path.strip_prefix(&source).unwrap_or(&path);
        if within.starts_with("fuzzing") || within.ends_with("fuzzing.rs") || within.starts_with("bin") {
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        found.extend(stability::closed(
            &path.strip_prefix(root).unwrap_or(&path).display().to_string(),
            &text,
        ));
    }
    Ok(found)
}

/// Every Rust file of a package but those that are generated or belong to a package inside.
fn rust_files(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            let skip = name == "generated" || name == "target" || name.starts_with('.');
            if !skip && !path.join("Cargo.toml").exists() {
                rust_files(&path, files)?;
            }
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn lengths(place: &str, text: &str) -> Vec<Finding> {
    let lines: Vec<&str> = text.lines().collect();
    let mut findings = Vec::new();
    if lines.len() > MAX_FILE_LINES {
        let text = format!("{} lines; a file may have {MAX_FILE_LINES}", lines.len());
        findings.push(Finding::error(place, text));
    }
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        // rustfmt puts the end of a function under its beginning.
        let indent = line.len() - line.trim_start().len();
        // A declaration of a trait has no body, and so no length.
        if lines[start..].iter().find(|l| l.ends_with(['{', ';'])).is_some_and(|l| l.ends_with(';')) {
            continue;
        }
        let end = format!("{}}}", &line[..indent]);
        let Some(len) = lines[start..].iter().position(|l| *l == end) else { continue };
        if len + 1 > MAX_FUNCTION_LINES {
            let text = format!("fn {name} has {} lines; {MAX_FUNCTION_LINES} is a good limit", len + 1);
            findings.push(Finding::warning(format!("{place}:{}", start + 1), text));
        }
    }
    findings
}

/// The name of the function that a line begins, if its body is not on the same line.
fn function_name(line: &str) -> Option<&str> {
    let words = line.trim_start();
    let is_comment = words.starts_with("//");
    let is_whole = words.ends_with('}') || words.ends_with(';');
    if is_comment || is_whole {
        return None;
    }
    let before = words.split_once("fn ")?;
    let qualifiers =
        ["", "pub ", "const ", "async ", "pub const ", "pub async ", "pub(crate) ", "pub(super) "];
    let known = qualifiers.contains(&before.0) || before.0.starts_with("pub(");
    known.then(|| before.1.split(['(', '<']).next().unwrap_or_default())
}

/// The lines of a file that run outside of tests, which are last in a file.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn impure(place: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in code(text) {
        for module in IMPURE_MODULES {
            if names_std_module(line, module) {
                let text = format!("std::{module} in a crate that must be pure");
                findings.push(Finding::error(format!("{place}:{}", index + 1), text));
            }
        }
    }
    findings
}

/// Whether a line names `std::module`, alone or in a list: `use std::{fmt, fs::File};`.
fn names_std_module(line: &str, module: &str) -> bool {
    line.match_indices("std::").any(|(at, _)| {
        let rest = &line[at + "std::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => {
                list.split([',', '}', ';']).any(|item| item.trim().split("::").next() == Some(module))
            }
            None => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                &rest[..end] == module
            }
        }
    })
}

fn prints(place: &str, text: &str) -> Vec<Finding> {
    code(text)
        .filter(|(_, line)| ["println!(", "print!(", "dbg!("].iter().any(|word| line.contains(word)))
        .map(|(index, _)| {
            Finding::error(format!("{place}:{}", index + 1), "a library prints; return or trace it instead")
        })
        .collect()
}

fn shells(place: &str, text: &str) -> Vec<Finding> {
    let rest = |index: usize| text.lines().skip(index).take(4).collect::<Vec<_>>().join(" ");
    code(text)
        .filter(|(_, line)| SHELLS.iter().any(|word| line.contains(word)))
        .filter(|(index, _)| !has_constant_script(&rest(*index)))
        .map(|(index, _)| {
            let text = "what ships starts no shell, but for a script that is a constant";
            Finding::error(format!("{place}:{}", index + 1), text)
        })
        .collect()
}

/// Whether what comes behind `-c` is the name of a constant.
fn has_constant_script(start: &str) -> bool {
    let Some((_, script)) = start.split_once("\"-c\")").or_else(|| start.split_once("\"-c\"")) else {
        return false;
    };
    let script = script.trim_start_matches([',', ' ', '&']);
    let end = script.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(script.len());
    end > 1 && script[..end].chars().all(|c| !c.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_are_found() {
        let text = "// \"sh\"\nlet a = \"bashful\";\nCommand::new(\"sh\");\nrun(\"/bin/sh\");\n";
        let found: Vec<String> = shells("a.rs", text).into_iter().map(|finding| finding.place).collect();
        assert_eq!(found, ["a.rs:3", "a.rs:4"]);
    }

    #[test]
    fn a_shell_runs_constants_alone() {
        let start = |script: &str| {
            format!("let mut shell = Command::new(\"/bin/sh\");\nshell.args([\"-c\", {script}, path]);\n")
        };
        for constant in ["WATCHMAN", "WATCHMAN.as_ref()", "&SCRIPT_2"] {
            assert_eq!(shells("a.rs", &start(constant)), [], "{constant}");
        }
        for other in ["script", "&format!(\"rm {path}\")", "\"exec $0\"", "Script::new()", "A"] {
            assert_eq!(shells("a.rs", &start(other)).len(), 1, "{other}");
        }
        let wrapped = "Command::new(\"/bin/sh\");\ncommand.args([\n    OsStr::new(\"-c\"),\n    WATCHMAN.as_ref(),\n]);\n";
        assert_eq!(shells("a.rs", wrapped), []);
    }

    #[test]
    fn modules_of_std_are_found_however_they_are_named() {
        for line in ["use std::fs;", "std::fs::read(path)", "use std::{fmt, fs::File};", "use std::{fs, io};"]
        {
            assert!(names_std_module(line, "fs"), "{line}");
        }
        for line in ["use std::fmt;", "use std::{fmt, io};", "my_std::offset()", "use std::fs_like;"] {
            assert!(!names_std_module(line, "fs"), "{line}");
        }
    }

    #[test]
    fn tests_and_comments_may_mention_what_code_may_not() {
        let text = "//! std::fs\nuse std::fmt;\n\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert_eq!(impure("a.rs", text), []);
        assert_eq!(impure("a.rs", "use std::time::Instant;\n").len(), 1);
    }

    #[test]
    fn long_files_and_functions_are_found() {
        let body = "        one();\n".repeat(59);
        let long = format!("impl A {{\n    pub fn long(&self) {{\n{body}    }}\n}}\n");
        let findings = lengths("a.rs", &long);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].place, "a.rs:2");
        assert!(findings[0].text.starts_with("fn long has 61 lines"));
        let declared = format!(
            "    fn declared(\n        &self,\n    ) -> u8;\n\n    fn other(\n        &self,\n    )\n    -> u8 {{\n{body}    }}\n}}\n"
        );
        let findings = lengths("a.rs", &declared);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].text.starts_with("fn other has 64 lines"), "{findings:?}");
        assert_eq!(lengths("a.rs", &"// x\n".repeat(1_001)).len(), 1);
        assert_eq!(lengths("a.rs", &"// x\n".repeat(1_000)).len(), 0);
    }
}
