//! `cargo xtask recording`: the picture in the README, from a real run of the command beside it.

use std::fs;
use std::num::NonZero;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

const COLUMNS: NonZero<u16> = NonZero::new(112).unwrap();
const ROWS: NonZero<u16> = NonZero::new(60).unwrap();

/// Runs README's command in a terminal and writes what is on the screen at its end to `docs/spawn.svg`.
pub(crate) fn run() -> Result<()> {
    let root = crate::root();
    let readme = fs::read_to_string(root.join("README.md"))?;
    let command = command(&readme).context("README.md has no command after <!-- run -->")?;
    // Built before: what the compiler prints is not of interest.
    let build = command.replacen("cargo run", "cargo build", 1);
    if !Command::new("sh").args(["-c", &build]).current_dir(&root).status()?.success() {
        bail!("failed: {build}");
    }
    let quiet = command.replacen("cargo run", "cargo run --quiet", 1);
    let inside = format!("stty cols {COLUMNS} rows {ROWS}; {quiet}");
    // script is part of every Debian (bsdutils), and gives the program a terminal.
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &inside, "/dev/null"]).env("TERM", "xterm-256color");
    let output =
        script.current_dir(&root).stdin(Stdio::null()).output().context("script (package bsdutils)")?;
    if !output.status.success() {
        bail!("failed: {quiet}\n{}", String::from_utf8_lossy(&output.stdout));
    }
    let path = root.join("docs/spawn.svg");
    fs::write(&path, picture(command, &output.stdout)?)?;
    println!("{}", path.display());
    Ok(())
}

fn command(readme: &str) -> Option<&str> {
    readme.split("<!-- run -->").nth(1)?.lines().find(|line| line.starts_with("cargo "))
}

/// The screen after all that was written to it, below the command. A line that does not fit is refused: it would be shown
/// broken in two, in the middle of a word.
fn picture(command: &str, written: &[u8]) -> Result<String> {
    let mut terminal = vt100::Parser::new(ROWS, COLUMNS, 0);
    terminal.process(format!("$ {command}\r\n").as_bytes());
    terminal.process(written);
    if let Some(row) = (0..ROWS.get()).find(|row| terminal.screen().row_wrapped(*row)) {
        bail!("line {} of what {command} prints is longer than {COLUMNS} characters", row + 1);
    }
    let rows: Vec<String> =
        terminal.screen().rows_formatted(0, COLUMNS.get()).map(|row| format!("{row}\u{1b}[0m")).collect();
    let text: Vec<String> = terminal.screen().rows(0, COLUMNS.get()).collect();
    let used = text.iter().rposition(|row| !row.trim().is_empty()).map_or(0, |last| last + 1);
    Ok(anstyle_svg::Term::new().render_svg(&rows[..used].join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_of_the_readme() {
        assert_eq!(command("# x\n<!-- run -->\n```sh\ncargo run -p y\n```\n"), Some("cargo run -p y"));
        assert_eq!(command("cargo run\n"), None);
    }

    #[test]
    fn what_was_drawn_over_is_gone() {
        let svg =
            picture("spawn", b"\x1b[32mstarting\x1b[0m\r\n50 %\r100 %\r\n\x1b[1A\x1b[2Kdone\r\n").unwrap();
        assert!(svg.contains("starting") && svg.contains("done") && svg.contains("$ spawn"), "{svg}");
        assert!(!svg.contains("50 %") && !svg.contains("100 %"), "{svg}");
    }

    #[test]
    fn a_line_that_is_too_long_is_refused() {
        let fits = "x".repeat(COLUMNS.get().into());
        assert!(picture("spawn", fits.as_bytes()).is_ok());
        assert!(picture("spawn", (fits + "y").as_bytes()).is_err());
    }
}
