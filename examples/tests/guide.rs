//! The commands in README.md and the guide: every option is one that there is, and the tour does what it says.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

const PROGRAMS: [&str; 12] = [
    "agent",
    "console",
    "disk",
    "doctor",
    "images",
    "instances",
    "migrate",
    "plugins",
    "pool",
    "snapshot",
    "spawn",
    "volumes",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn program(name: &str) -> Command {
    let mut path = std::env::current_exe().expect("the test's own path");
    path.pop();
    path.pop();
    let mut command = Command::new(path.join("examples").join(name));
    for variable in ["XENAPI_URL", "XENAPI_USER", "XENAPI_PASSWORD", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command
}

/// The words of the lines of a page's shell blocks that start one of our programs.
fn commands(page: &Path) -> Result<Vec<Vec<String>>> {
    let text = std::fs::read_to_string(page).with_context(|| page.display().to_string())?;
    let mut commands = Vec::new();
    for block in text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        for line in block.replace("\\\n", " ").lines() {
            let words = words(line.split(" # ").next().unwrap_or_default());
            let of_cargo = words.iter().position(|word| word == "--example").map(|at| at + 1);
            let command = words.iter().skip(of_cargo.unwrap_or(0)).filter(|word| *word != "--");
            let words: Vec<_> = command.take_while(|word| *word != "&&").cloned().collect();
            // `cargo build --example disk` starts nothing.
            let starts = words.len() > 1 || of_cargo.is_none();
            if starts && words.first().is_some_and(|first| PROGRAMS.contains(&first.as_str())) {
                commands.push(words);
            }
        }
    }
    Ok(commands)
}

/// As a shell splits them, as far as the pages need it.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, part) in line.split('"').enumerate() {
        match number % 2 {
            1 => words.push(part.to_owned()),
            _ => words.extend(part.split_whitespace().map(str::to_owned)),
        }
    }
    words
}

fn pages() -> Result<Vec<PathBuf>> {
    let mut pages = vec![root().join("README.md")];
    for entry in std::fs::read_dir(root().join("docs/guide"))? {
        pages.push(entry?.path());
    }
    Ok(pages)
}

#[test]
fn every_option_is_one_that_there_is() -> Result<()> {
    let mut checked = 0;
    for page in pages()? {
        for words in commands(&page)? {
            let at = format!("{}: {}", page.display(), words.join(" "));
            let mut help = program(&words[0]);
            let general = String::from_utf8(program(&words[0]).arg("--help").output()?.stdout)?;
            if let Some((_, verbs)) = general.split_once("\nCommands:\n") {
                let mut plain = words[1..].iter().filter(|word| !word.starts_with('-'));
                let verb = plain.find(|word| verbs.contains(&format!("  {word} ")));
                help.arg(verb.with_context(|| format!("{at}: no such command"))?);
            }
            let special = String::from_utf8(help.arg("--help").output()?.stdout)?;
            for option in words.iter().filter(|word| word.starts_with("--")) {
                let option = option.split('=').next().unwrap_or_default();
                let is_there =
                    |help: &str| help.split_whitespace().any(|word| word.trim_end_matches(',') == option);
                ensure!(is_there(&special) || is_there(&general), "{at}: no option {option}");
            }
            checked += 1;
        }
    }
    assert!(checked > 30, "only {checked} commands were found");
    Ok(())
}

#[test]
fn the_tour_can_be_taken() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("pool").display().to_string();
    for words in commands(&root().join("docs/guide/tour.md"))? {
        let arguments = words[1..].iter().map(|word| word.replace("/tmp/pool", &state));
        let output = program(&words[0]).args(arguments).current_dir(folder.path()).output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {told}", words.join(" "));
    }
    Ok(())
}

#[test]
fn codes_of_errors_are_xapi_s_own() -> Result<()> {
    let page = std::fs::read_to_string(root().join("docs/guide/troubleshooting.md"))?;
    let known = std::fs::read_to_string(root().join("xtask/datamodel/errors.json"))?;
    let mut checked = 0;
    for code in page.split('`').skip(1).step_by(2) {
        // These end with a number of the storage driver's.
        let code = if code.starts_with("SR_BACKEND_FAILURE_") { "SR_BACKEND_FAILURE" } else { code };
        if code.contains('_')
            && code.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        {
            ensure!(known.contains(&format!("\"{code}\"")), "{code} is none of XAPI's errors");
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} codes were found");
    Ok(())
}

#[test]
fn no_page_leads_nowhere() -> Result<()> {
    let contents = std::fs::read_to_string(root().join("docs/guide/SUMMARY.md"))?;
    for page in pages()? {
        let name = page.file_name().and_then(|name| name.to_str()).context("a name")?;
        ensure!(
            name == "README.md" || name == "SUMMARY.md" || contents.contains(name),
            "{name} is not in SUMMARY.md"
        );
        let text = std::fs::read_to_string(&page)?;
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") {
                let path = page.parent().context("a folder")?.join(target);
                ensure!(path.exists(), "{}: {link} leads nowhere", page.display());
            }
        }
    }
    Ok(())
}

/// The picture in README.md shows what the program says today. `cargo xtask recording` draws it anew.
#[test]
fn the_recording_is_of_this_program() -> Result<()> {
    let labels = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| Some(line.trim().split_once("  ")?.0.to_owned())).collect()
    };
    let output = program("spawn").output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let svg = std::fs::read_to_string(root().join("docs/spawn.svg"))?;
    let shown: Vec<&str> = svg.split('<').filter_map(|piece| Some(piece.split_once('>')?.1)).collect();
    let said = labels(&String::from_utf8(output.stdout)?);
    ensure!(said.len() > 5, "{said:?}");
    assert_eq!(labels(&shown.concat()), said, "docs/spawn.svg is old: cargo xtask recording");
    Ok(())
}
