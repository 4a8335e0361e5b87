//! `cargo xtask bench`: every benchmark in turn, with its peers installed first and what it printed kept.

mod peers;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

/// What a line begins with that says that a target is missed (`benches/src/target.rs`).
const MISSED: &str = "target missed: ";

/// Above this much work for each processor, times say more about the other work.
const QUIET: f64 = 0.3;

/// Runs those that are named, or all; in the end, fails if one has missed a target. With `--plots` the pictures in the
/// documentation are drawn anew, with `--no-install` peers that are not there are left out, with `--report` a target that is
/// missed is told and no failure.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let (flags, names): (Vec<&str>, Vec<&str>) =
        arguments.iter().partition(|argument| argument.starts_with('-'));
    let root = crate::root();
    let all = benchmarks(&fs::read_to_string(root.join("benches/Cargo.toml"))?);
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|known| known == *name)) {
        bail!("there is no benchmark {unknown}; there are {}", all.join(", "));
    }
    let mut environment = peers::provide(&root, !flags.contains(&"--no-install"));
    if flags.contains(&"--plots") {
        environment.push(("BENCH_PLOTS", root.join("docs/plots")));
    }
    let kept = root.join("target/bench");
    fs::create_dir_all(&kept)?;
    let versions = peers::versions(&root, &environment);
    print!("{versions}");
    fs::write(kept.join("peers.txt"), versions)?;
    let mut missed = Vec::new();
    for name in all.iter().filter(|name| names.is_empty() || names.contains(&name.as_str())) {
        let load = load();
        println!("\n=== {name} (load {load:.2})");
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        if load > QUIET * processors as f64 {
            println!("the machine is busy: take ratios of one run, and no times, from this");
        }
        let of_this = one(name, &environment, &kept.join(format!("{name}.txt")))?;
        missed.extend(of_this.into_iter().map(|target| format!("{name}: {target}")));
    }
    println!("\nkept in {}", kept.display());
    judge(&missed, flags.contains(&"--report"))
}

fn judge(missed: &[String], report: bool) -> Result<()> {
    match missed.len() {
        0 => println!("every target is reached"),
        n => println!("{n} targets are missed:\n  {}", missed.join("\n  ")),
    }
    if !missed.is_empty() && !report {
        bail!("{} targets are missed; with --report that is no failure", missed.len());
    }
    Ok(())
}

/// Runs it, and says which targets it has missed.
fn one(name: &str, environment: &peers::Places, kept: &Path) -> Result<Vec<String>> {
    let mut cargo = crate::cargo();
    cargo.args(["bench", "--quiet", "--package", "benches", "--bench", name]);
    let mut child =
        cargo.envs(environment.iter().map(|(name, path)| (name, path))).stdout(Stdio::piped()).spawn()?;
    let mut file = fs::File::create(kept).with_context(|| kept.display().to_string())?;
    let mut targets = Vec::new();
    for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
        let line = line?;
        println!("{line}");
        writeln!(file, "{line}")?;
        targets.extend(missed(&line).map(str::to_owned));
    }
    if !child.wait()?.success() {
        bail!("benchmark {name} failed; what it printed is in {}", kept.display());
    }
    Ok(targets)
}

/// The target that a line says is missed.
fn missed(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix(MISSED)
}

/// The names in the manifest's `[[bench]]` tables.
fn benchmarks(manifest: &str) -> Vec<String> {
    let tables = manifest.split("[[bench]]").skip(1);
    let name = |table: &str| table.lines().find_map(|line| line.strip_prefix("name = ").map(str::to_owned));
    tables.filter_map(name).map(|name| name.trim_matches('"').to_owned()).collect()
}

/// Programs that wanted to run in the last minute, on average; 0 where the system does not tell.
fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_fails_unless_only_a_report_is_wanted() {
        let missed =
            ["  target reached: a: 0.60, at most 0.70", "  target missed: b: 0.77, at most 0.70", "b 0.77"];
        let missed: Vec<String> = missed.into_iter().filter_map(super::missed).map(str::to_owned).collect();
        assert_eq!(missed, ["b: 0.77, at most 0.70"]);
        assert!(judge(&missed, false).is_err());
        assert!(judge(&missed, true).is_ok() && judge(&[], false).is_ok());
        let source = fs::read_to_string(crate::root().join("benches/src/target.rs")).expect("the source");
        assert!(
            source.contains("\"missed\"") && source.contains("target {word}: "),
            "benchmarks say it otherwise"
        );
    }

    #[test]
    fn names_of_benchmarks() {
        let manifest = "[package]\nname = \"benches\"\n\n[[bench]]\nname = \"disk\"\npath = \"disk.rs\"\n\n[[bench]]\nname = \"codec\"\n";
        assert_eq!(benchmarks(manifest), ["disk", "codec"]);
    }
}
