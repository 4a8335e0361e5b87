//! `cargo xtask fuzz`: every fuzz target for some minutes, and what came of it as a table.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

struct Options {
    targets: Vec<String>,
    seconds: u64,
    /// How long one input may take; on a busy machine a program may stand still for many seconds.
    timeout_seconds: u64,
    /// How many targets run at a time.
    jobs: usize,
    /// 0 draws other inputs each time.
    seed: u32,
    /// Afterwards `fuzz/corpora` gets the smallest inputs that reach all that is reached.
    minimise: bool,
}

/// What came of a target.
#[derive(Debug, Default, PartialEq)]
struct Row {
    target: String,
    executions: u64,
    /// Edges between basic blocks that were gone through.
    edges: u64,
    /// The same with how often, and with values that were compared.
    features: u64,
    /// The last lines of a run that ended with a panic, a hang or too much memory.
    finding: Option<String>,
}

pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let options = options(arguments)?;
    // Without a sanitizer it builds on stable; panics and hangs are what safe Rust can show.
    if !cargo_fuzz("build", &["--sanitizer", "none"]).status()?.success() {
        bail!("the fuzz targets do not build");
    }
    let mut rows = each(&options, |target| fuzz(target, &options))?;
    rows.sort_by(|one, other| one.target.cmp(&other.target));
    print(&rows, options.seconds);
    if options.minimise {
        seed()?;
        each(&options, minimise)?;
    }
    match rows.iter().filter(|row| row.finding.is_some()).count() {
        0 => Ok(()),
        n => bail!("{n} targets found something: see above; the inputs are in fuzz/artifacts"),
    }
}

fn options(arguments: &[&str]) -> Result<Options> {
    let mut options =
        Options { targets: Vec::new(), seconds: 60, timeout_seconds: 10, jobs: 1, seed: 0, minimise: false };
    for argument in arguments {
        match argument.split_once('=') {
            Some(("--minutes", n)) => options.seconds = 60 * n.parse::<u64>()?,
            Some(("--seconds", n)) => options.seconds = n.parse()?,
            Some(("--timeout", n)) => options.timeout_seconds = n.parse()?,
            Some(("--jobs", n)) => options.jobs = n.parse::<usize>()?.max(1),
            Some(("--seed", n)) => options.seed = n.parse()?,
            _ if *argument == "--minimise" => options.minimise = true,
            _ => options.targets.push((*argument).to_owned()),
        }
    }
    let all = targets()?;
    if let Some(unknown) = options.targets.iter().find(|target| !all.contains(target)) {
        bail!("no target is called {unknown:?}; there are {}", all.join(", "));
    }
    if options.targets.is_empty() {
        options.targets = all;
    }
    Ok(options)
}

fn cargo_fuzz(what: &str, arguments: &[&str]) -> Command {
    let mut cargo = crate::cargo();
    cargo.args(["fuzz", what, "--fuzz-dir", "fuzz"]).args(arguments);
    cargo
}

fn targets() -> Result<Vec<String>> {
    let output = cargo_fuzz("list", &[]).stderr(Stdio::inherit()).output().context("cargo fuzz")?;
    if !output.status.success() {
        bail!("cargo fuzz cannot list the targets");
    }
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// Does something for every target, so many at a time.
fn each<T: Send>(options: &Options, what: impl Fn(&str) -> Result<T> + Sync) -> Result<Vec<T>> {
    let targets = Mutex::new(options.targets.iter());
    let next = || targets.lock().unwrap_or_else(PoisonError::into_inner).next();
    let worker = || std::iter::from_fn(next).map(|target| what(target)).collect::<Result<Vec<T>>>();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs).map(|_| scope.spawn(worker)).collect();
        let done = workers.into_iter().map(|worker| worker.join().expect("a worker panicked"));
        Ok(done.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    })
}

/// A folder of inputs: `corpora` is in the repository, `corpus` is this machine's and grows.
fn folder(kind: &str, target: &str) -> Result<PathBuf> {
    let path = crate::root().join("fuzz").join(kind).join(target);
    std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
    Ok(path)
}

fn fuzz(target: &str, options: &Options) -> Result<Row> {
    eprintln!("{target} ...");
    let mut cargo = cargo_fuzz("run", &["--sanitizer", "none", target]);
    cargo.args([folder("corpus", target)?, folder("corpora", target)?]);
    cargo.args(["--", "-print_final_stats=1", "-rss_limit_mb=2048"]);
    cargo.arg(format!("-timeout={}", options.timeout_seconds));
    cargo.args([format!("-max_total_time={}", options.seconds), format!("-seed={}", options.seed)]);
    let output = cargo.output().context("cargo fuzz")?;
    Ok(row(target, output.status.success(), &String::from_utf8_lossy(&output.stderr)))
}

/// Reads what libFuzzer tells.
fn row(target: &str, success: bool, log: &str) -> Row {
    let number = |text: &str| text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let last =
        |word: &str| log.lines().rev().find_map(|line| line.split_once(word)).map_or(0, |(_, n)| number(n));
    let end: Vec<&str> = log.lines().rev().take(12).collect();
    Row {
        target: target.to_owned(),
        executions: last("stat::number_of_executed_units:"),
        edges: last(" cov: "),
        features: last(" ft: "),
        finding: (!success).then(|| end.into_iter().rev().collect::<Vec<_>>().join("\n")),
    }
}

fn print(rows: &[Row], seconds: u64) {
    println!("target             seconds  executions  edges  features  findings");
    for Row { target, executions, edges, features, finding } in rows {
        let findings = u8::from(finding.is_some());
        println!("{target:17}{seconds:9}{executions:12}{edges:7}{features:10}{findings:10}");
    }
    for row in rows {
        if let Some(finding) = &row.finding {
            println!("\n{}:\n{finding}", row.target);
        }
    }
}

/// Has `corpus` the recordings and what other programs make, of which `corpora` is then made, too.
fn seed() -> Result<()> {
    let script = crate::root().join("fuzz/seed.sh");
    if !Command::new(&script).status().with_context(|| script.display().to_string())?.success() {
        bail!("{} fails", script.display());
    }
    Ok(())
}

/// Puts into `corpora` the few inputs of 4 KiB at most that go through every edge that any such input goes through.
fn minimise(target: &str) -> Result<()> {
    let (old, new) = (folder("corpora", target)?, folder("corpora.new", target)?);
    std::fs::remove_dir_all(&new)?;
    std::fs::create_dir(&new)?;
    let mut cargo = cargo_fuzz("run", &["--sanitizer", "none", target]);
    cargo.args([&new, &old, &folder("corpus", target)?]);
    cargo.args(["--", "-set_cover_merge=1", "-use_counters=0", "-max_len=4096"]);
    let output = cargo.output().context("cargo fuzz")?;
    if !output.status.success() {
        bail!("{target} cannot be minimised: {}", String::from_utf8_lossy(&output.stderr));
    }
    // What somebody gave a name, because it once found a defect, stays.
    for entry in std::fs::read_dir(&old)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_hash = name.len() == 40 && name.to_string_lossy().bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hash {
            std::fs::copy(entry.path(), new.join(name))?;
        }
    }
    std::fs::remove_dir_all(&old)?;
    std::fs::rename(&new, &old)?;
    // Gone with the last target.
    let _ = std::fs::remove_dir(crate::root().join("fuzz/corpora.new"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_tells_is_read() {
        let log = "#2\tINITED cov: 12 ft: 20 corp: 1/1b\n#9\tNEW    cov: 57 ft: 91 corp: 3/12b lim: 4\n\
                   stat::number_of_executed_units: 1234\nstat::average_exec_per_sec: 9\n";
        let read = Row { target: "dates".into(), executions: 1234, edges: 57, features: 91, finding: None };
        assert_eq!(row("dates", true, log), read);
        let broken = row("dates", false, "#2\tINITED cov: 1 ft: 2 corp: 1/1b\npanicked at x.rs");
        assert!(broken.finding.is_some_and(|text| text.ends_with("panicked at x.rs")));
    }
}
