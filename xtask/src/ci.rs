//! `cargo xtask ci`: the steps of `.ci/run` that need nothing but Rust and binutils, for use before a push.
//!
//! `readelf`, of binutils, is what `cargo xtask dist-plugins` looks at its binary with. The tests that ask other programs
//! skip where these are not installed, unless `CI=true`.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// What else the steps want to have installed.
const TOOLS: [&str; 2] = ["cargo deny", "cargo fuzz"];

pub(crate) fn run(mode: Mode) -> Result<()> {
    let root = crate::root();
    let script = std::fs::read_to_string(root.join(".ci/run")).context(".ci/run")?;
    let readme = std::fs::read_to_string(root.join("README.md")).context("README.md")?;
    let steps = steps(&script, &readme)?;
    if steps.is_empty() {
        bail!(".ci/run has no steps that begin with cargo");
    }
    for step in steps {
        println!("{step}");
        if mode == Mode::List {
            continue;
        }
        let mut shell = Command::new("bash");
        shell.args(["-c", &step]).current_dir(&root);
        crate::hide_this_package(&mut shell);
        if !shell.status()?.success() {
            bail!("failed: {step}");
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    Run,
    List,
}

/// The commands of the script that start at the margin with cargo, variables before it allowed; and those of
/// the README that it has a shell run, at their places.
fn steps(script: &str, readme: &str) -> Result<Vec<String>> {
    let mut steps = Vec::new();
    for line in script.lines() {
        if let Some(variable) = line.strip_prefix("bash -c \"$").and_then(|rest| rest.strip_suffix('"')) {
            let mark = mark_of(script, variable).with_context(|| format!(".ci/run: what is ${variable}?"))?;
            let command =
                behind(readme, mark).with_context(|| format!("README.md has no command behind {mark}"))?;
            steps.push(command.to_owned());
        } else if is_step(line) {
            steps.push(line.to_owned());
        }
    }
    Ok(steps)
}

fn is_step(line: &str) -> bool {
    let command = line.split_once("\" ").filter(|(v, _)| v.contains("=\"")).map_or(line, |(_, c)| c);
    command.starts_with("cargo ") && !TOOLS.iter().any(|tool| command.starts_with(tool))
}

/// The comment of the README behind which the script takes the command of this variable from.
fn mark_of<'a>(script: &'a str, variable: &str) -> Option<&'a str> {
    let start = format!("{variable}=$(sed -n '/");
    let mark = script.lines().find_map(|line| line.strip_prefix(&start))?;
    mark.split('/').next()
}

/// The command that follows a comment of the README.
fn behind<'a>(readme: &'a str, mark: &str) -> Option<&'a str> {
    let mut block = readme.split_once(mark)?.1.lines().take_while(|line| *line != "```");
    block.find(|line| line.starts_with("cargo "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_cargo_commands_are_steps() {
        let script = "step \"x\"\ncargo fmt --all\nRUSTDOCFLAGS=\"-D warnings\" cargo doc\n  cargo inner\n\
                      command -v cargo-deny || cargo install x\ncargo deny check\necho \"cargo test\"\n";
        let expected = ["cargo fmt --all", "RUSTDOCFLAGS=\"-D warnings\" cargo doc"];
        assert_eq!(steps(script, "").expect("steps"), expected);
    }

    #[test]
    fn the_readme_s_commands_are_steps_at_their_places() {
        let script = "cargo a\ntest_command=$(sed -n '/<!-- test -->/,/^```$/{/^cargo /p}' README.md)\n\
                      echo \"$test_command\"\nbash -c \"$test_command\"\ncargo b\n";
        let readme = "```sh\ncargo no\n```\n<!-- test -->\n```sh\ncargo test --workspace\n```\n";
        assert_eq!(steps(script, readme).expect("steps"), ["cargo a", "cargo test --workspace", "cargo b"]);
        for damaged in ["", "cargo test\n", "<!-- test -->\n```sh\nmake\n```\ncargo test\n"] {
            assert!(steps(script, damaged).is_err(), "{damaged}");
        }
        assert!(steps("bash -c \"$other\"\n", readme).is_err());
    }

    /// What guards main runs the tests, and so does the chore.
    #[test]
    fn the_tests_are_among_the_steps() {
        let read = |name: &str| std::fs::read_to_string(crate::root().join(name)).expect("a file");
        let steps = steps(&read(".ci/run"), &read("README.md")).expect("steps");
        for start in ["cargo test --workspace", "cargo run --release", "cargo clippy", "cargo xtask tidy"] {
            assert!(steps.iter().any(|step| step.starts_with(start)), "{start}: {steps:?}");
        }
    }
}
