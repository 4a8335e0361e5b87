//! `cargo xtask bench`: every benchmark in turn, with what it printed kept and its peers looked for first.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Programs that benchmarks run beside ours, and what brings them on Debian.
const PEERS: [(&str, &str); 4] =
    [("python3", "python3"), ("qemu-img", "qemu-utils"), ("gzip", "gzip"), ("tar", "tar")];
/// Above this much work for each processor, times say more about the other work.
const QUIET: f64 = 0.3;

/// Runs those that are named, or all. With `--plots` the pictures in the documentation are drawn anew.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let (flags, names): (Vec<&str>, Vec<&str>) =
        arguments.iter().partition(|argument| argument.starts_with('-'));
    if let Some(flag) = flags.iter().find(|flag| **flag != "--plots") {
        bail!("{flag} is no option of bench; there is --plots");
    }
    let root = crate::root();
    let all = benchmarks(&fs::read_to_string(root.join("benches/Cargo.toml"))?);
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|known| known == *name)) {
        bail!("there is no benchmark {unknown}; there are {}", all.join(", "));
    }
    for (program, package) in PEERS {
        if Command::new(program).arg("--version").stdout(Stdio::null()).status().is_err() {
            println!("{program} is missing, so that its rows will be: apt-get install {package}");
        }
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
        one(&root, name, &kept.join(format!("{name}.txt")), flags.contains(&"--plots"))?;
    }
    println!("\nkept in {}", kept.display());
    Ok(())
}

fn one(root: &Path, name: &str, kept: &Path, draw: bool) -> Result<()> {
    let mut cargo = crate::cargo();
    cargo.args(["bench", "--quiet", "--package", "benches", "--bench", name]);
    if draw {
        cargo.env("BENCH_PLOTS", root.join("docs/plots"));
    }
    let mut child = cargo.stdout(Stdio::piped()).spawn()?;
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
