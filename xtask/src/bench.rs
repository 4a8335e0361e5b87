//! `cargo xtask bench`: every benchmark in turn, with its peers installed first and what it printed kept.

mod peers;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

/// Above this much work for each processor, times say more about the other work.
const QUIET: f64 = 0.3;

/// Runs those that are named, or all. With `--plots` the pictures in the documentation are drawn anew, with
/// `--no-install` peers that are not there are left out.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let (flags, names): (Vec<&str>, Vec<&str>) =
        arguments.iter().partition(|argument| argument.starts_with('-'));
    if let Some(flag) = flags.iter().find(|flag| !["--plots", "--no-install"].contains(flag)) {
        bail!("{flag} is no option of bench; there are --plots and --no-install");
    }
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
    for name in all.iter().filter(|name| names.is_empty() || names.contains(&name.as_str())) {
        let load = load();
        println!("\n=== {name} (load {load:.2})");
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        if load > QUIET * processors as f64 {
            println!("the machine is busy: take ratios of one run, and no times, from this");
        }
        one(name, &environment, &kept.join(format!("{name}.txt")))?;
    }
    println!("\nkept in {}", kept.display());
    Ok(())
}

fn one(name: &str, environment: &peers::Places, kept: &Path) -> Result<()> {
    let mut cargo = crate::cargo();
    cargo.args(["bench", "--quiet", "--package", "benches", "--bench", name]);
    let mut child =
        cargo.envs(environment.iter().map(|(name, path)| (name, path))).stdout(Stdio::piped()).spawn()?;
    let mut file = fs::File::create(kept).with_context(|| kept.display().to_string())?;
    for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
        let line = line?;
        println!("{line}");
        writeln!(file, "{line}")?;
    }
    if !child.wait()?.success() {
        bail!("benchmark {name} failed; what it printed is in {}", kept.display());
    }
    Ok(())
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
    fn names_of_benchmarks() {
        let manifest = "[package]\nname = \"benches\"\n\n[[bench]]\nname = \"disk\"\npath = \"disk.rs\"\n\n[[bench]]\nname = \"codec\"\n";
        assert_eq!(benchmarks(manifest), ["disk", "codec"]);
    }
}
