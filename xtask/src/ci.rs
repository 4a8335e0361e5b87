//! `cargo xtask ci`: the steps of `.ci/run` that need nothing but Rust, for use before a push.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// What else the steps want to have installed.
const TOOLS: [&str; 2] = ["cargo deny", "cargo fuzz"];

pub(crate) fn run(mode: Mode) -> Result<()> {
    let root = crate::root();
    let script = std::fs::read_to_string(root.join(".ci/run")).context(".ci/run")?;
    let steps = steps(&script);
    if steps.is_empty() {
        bail!(".ci/run has no steps that begin with cargo");
    }
    for step in steps {
        println!("{step}");
        if mode == Mode::List {
            continue;
        }
        let status = Command::new("bash").args(["-c", step]).current_dir(&root).status()?;
        if !status.success() {
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

/// The commands of the script that start at the margin with cargo, variables before it allowed.
fn steps(script: &str) -> Vec<&str> {
    let is_step = |line: &&str| {
        let command = line.split_once("\" ").filter(|(v, _)| v.contains("=\"")).map_or(*line, |(_, c)| c);
        command.starts_with("cargo ") && !TOOLS.iter().any(|tool| command.starts_with(tool))
    };
    script.lines().filter(is_step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_cargo_commands_are_steps() {
        let script = "step \"x\"\ncargo fmt --all\nRUSTDOCFLAGS=\"-D warnings\" cargo doc\n  cargo inner\n\
                      command -v cargo-deny || cargo install x\ncargo deny check\necho \"cargo test\"\n";
        assert_eq!(steps(script), ["cargo fmt --all", "RUSTDOCFLAGS=\"-D warnings\" cargo doc"]);
    }
}
