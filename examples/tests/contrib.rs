//! `contrib`: the Containerfile and the units are sound, and what they start runs as they say.
#![allow(clippy::print_stderr, reason = "a skip is to be seen")]

mod bench;
mod written;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bench::program;
use written::root;
use xapi_simulator::{Simulator, World};

fn read(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| path.to_owned())
}

/// The names that Cargo gives to our programs.
fn programs() -> Result<BTreeSet<String>> {
    let manifest = read("examples/Cargo.toml")?;
    let targets = manifest.split("[[example]]\nname = \"").skip(1);
    Ok(targets.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect())
}

/// The instructions of a Containerfile: each with its words, without comments.
fn instructions(text: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let text = lines.join("\n").replace("\\\n", " ");
    let split =
        |line: &str| line.split_once(' ').map(|(name, rest)| (name.to_owned(), rest.trim().to_owned()));
    text.lines().filter_map(split).collect()
}

/// What is wrong with a Containerfile, for a checkout that has `sources`.
fn lint(text: &str, rust: &str, has: impl Fn(&str) -> bool) -> Vec<String> {
    let all = instructions(text);
    let of = |name: &str| {
        all.iter().filter(move |(n, _)| n == name).map(|(_, rest)| rest.as_str()).collect::<Vec<_>>()
    };
    let mut wrong = Vec::new();
    let mut stages = BTreeSet::new();
    for from in of("FROM") {
        let words: Vec<&str> = from.split_whitespace().collect();
        let (name, tag) = words[0].rsplit_once(':').unwrap_or((words[0], "latest"));
        if tag == "latest" || tag.contains('/') || name.split('/').count() < 3 {
            wrong.push(format!("FROM {from}: it names no registry, or no version"));
        }
        if name.ends_with("/rust") && !tag.starts_with(&format!("{rust}-")) {
            wrong.push(format!("FROM {from}: the workspace is built with Rust {rust}"));
        }
        stages.extend(words.iter().skip_while(|word| **word != "AS").nth(1).copied());
    }
    wrong.extend(of("ADD").iter().map(|add| format!("ADD {add}: COPY does no more than it says")));
    for copy in of("COPY") {
        let (options, paths): (Vec<&str>, Vec<&str>) =
            copy.split_whitespace().partition(|word| word.starts_with("--"));
        let stage = options.iter().find_map(|option| option.strip_prefix("--from="));
        if stage.is_some_and(|stage| !stages.contains(stage)) {
            wrong.push(format!("COPY {copy}: there is no such stage"));
        }
        for path in &paths[..paths.len() - 1] {
            let local = if stage.is_some() { path.strip_prefix("/src/") } else { Some(*path) };
            if !local.is_some_and(|local| local.starts_with("target/release/") || has(local)) {
                wrong.push(format!("COPY {copy}: there is no {path}"));
            }
        }
    }
    for run in of("RUN").into_iter().filter(|run| run.contains("apt-get")) {
        for part in ["apt-get update", "--no-install-recommends", "rm -rf /var/lib/apt/lists"] {
            if !run.contains(part) {
                wrong.push(format!("RUN {run}: without {part}"));
            }
        }
    }
    let at = |name: &str| all.iter().rposition(|(n, _)| n == name);
    let user = of("USER").last().copied().unwrap_or("root").to_owned();
    if user == "root" || user == "0" || at("USER") > at("CMD") {
        wrong.push("it runs as root".to_owned());
    }
    for (name, rest) in
        all.iter().filter(|(name, _)| ["CMD", "ENTRYPOINT", "HEALTHCHECK"].contains(&name.as_str()))
    {
        let command = rest.split_once("CMD ").map_or(rest.as_str(), |(_, command)| command);
        if serde_json::from_str::<Vec<String>>(command).is_err() {
            wrong.push(format!("{name} {rest}: a shell stands between it and its signals"));
        }
    }
    for name in ["CMD", "HEALTHCHECK", "STOPSIGNAL"] {
        if at(name).is_none() {
            wrong.push(format!("without {name}"));
        }
    }
    wrong
}

/// The words of an instruction in JSON, the last one of its name.
fn words(text: &str, name: &str) -> Result<Vec<String>> {
    let all = instructions(text);
    let (_, rest) = all.iter().rfind(|(n, _)| n == name).with_context(|| name.to_owned())?;
    let command = rest.split_once("CMD ").map_or(rest.as_str(), |(_, command)| command);
    Ok(serde_json::from_str(command)?)
}

#[test]
fn the_image_is_sound_and_has_all_programs() -> Result<()> {
    let image = read("contrib/Containerfile")?;
    let manifest = read("Cargo.toml")?;
    let rust = manifest.split("rust-version = \"").nth(1).and_then(|rest| rest.split('"').next());
    let wrong = lint(&image, rust.context("the oldest Rust")?, |path| root().join(path).exists());
    assert_eq!(wrong, [""; 0]);
    for left_out in [".git", "**/target"] {
        ensure!(
            read(".dockerignore")?.lines().any(|line| line == left_out),
            "{left_out} would be sent to the builder"
        );
    }
    let copied =
        image.split_whitespace().filter_map(|word| word.strip_prefix("/src/target/release/examples/"));
    assert_eq!(copied.map(str::to_owned).collect::<BTreeSet<_>>(), programs()?);
    for name in ["CMD", "HEALTHCHECK"] {
        let started = words(&image, name)?;
        let port =
            started.last().and_then(|address| address.rsplit(':').next()).context("a port")?.to_owned();
        let exposed =
            instructions(&image).into_iter().any(|(n, ports)| n == "EXPOSE" && ports.contains(&port));
        ensure!(exposed && programs()?.contains(&started[0]), "{name} {started:?}");
    }
    Ok(())
}

/// The lines that build an image with podman in the format of its own choice, which knows no health check.
fn builds_without_health_checks(text: &str) -> Vec<&str> {
    let builds = |line: &&str| line.contains("podman build") && !line.contains("--format docker");
    text.lines().filter(builds).collect()
}

#[test]
fn the_image_s_health_check_is_built_into_it() -> Result<()> {
    let image = read("contrib/Containerfile")?;
    words(&image, "HEALTHCHECK")?;
    let mut builds = 0;
    for page in written::pages()?.into_iter().chain(["contrib/Containerfile".to_owned()]) {
        let text = read(&page)?;
        assert_eq!(builds_without_health_checks(&text), [""; 0], "{page}");
        builds += text.matches("podman build").count();
    }
    ensure!(builds > 1, "no page builds it");
    assert_eq!(
        builds_without_health_checks("podman build -t x .\n$ podman build --format docker .\n").len(),
        1
    );
    Ok(())
}

/// The workflow starts the script that guards main, where its tools are, with a Rust that builds this.
#[test]
fn the_workflow_runs_what_guards_main() -> Result<()> {
    let (workflow, manifest) = (read(".github/workflows/ci.yml")?, read("Cargo.toml")?);
    ensure!(workflow.lines().any(|line| line.trim() == "- run: .ci/run"), "it does not run .ci/run");
    let mode = fs::metadata(root().join(".ci/run"))?.permissions().mode();
    ensure!(mode & 0o111 != 0, ".ci/run cannot be run");
    let version = |text: &str, after: &str| -> Option<(u32, u32)> {
        let (major, rest) = text.split_once(after)?.1.split_once('.')?;
        let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let oldest = version(&manifest, "rust-version = \"").context("the oldest Rust")?;
    let used = version(&workflow, "/rust:").context("the image's Rust")?;
    ensure!(used >= oldest, "the workflow has Rust {used:?}, and this wants {oldest:?}");
    ensure!(workflow.contains("-bookworm\n"), ".ci/packages names the packages of another Debian");
    Ok(())
}

#[test]
fn ci_runs_every_program() -> Result<()> {
    let script = read(".ci/examples")?;
    let is_run = |name: &String| {
        let starts = [format!("example {name} "), format!("\"$bin/{name}\" ")];
        script.lines().any(|line| starts.iter().any(|start| line.starts_with(start)))
    };
    let missing: Vec<_> = programs()?.into_iter().filter(|name| !is_run(name)).collect();
    assert_eq!(missing, [""; 0], ".ci/examples does not run them");
    Ok(())
}

#[test]
fn what_is_wrong_with_an_image_is_found() {
    let good = "FROM docker.io/library/rust:1.90-bookworm AS build\nCOPY . .\nFROM docker.io/library/debian:bookworm-slim\n\
        COPY --from=build /src/target/release/x /src/LICENSE /usr/\nUSER x\nSTOPSIGNAL SIGTERM\n\
        HEALTHCHECK --timeout=5s CMD [\"x\"]\nCMD [\"x\"]\n";
    let lint = |text: &str| lint(text, "1.90", |path| [".", "LICENSE"].contains(&path));
    assert_eq!(lint(good), [""; 0]);
    for (sound, damaged) in [
        ("debian:bookworm-slim", "debian"),
        ("debian:bookworm-slim", "debian:latest"),
        ("docker.io/library/debian", "debian"),
        ("rust:1.90", "rust:1.80"),
        ("COPY . .", "ADD . ."),
        ("/src/LICENSE", "/src/LICENCE"),
        ("--from=build", "--from=other"),
        ("USER x", "USER root"),
        ("USER x\n", ""),
        ("HEALTHCHECK --timeout=5s CMD [\"x\"]\n", ""),
        ("\nCMD [\"x\"]", "\nCMD x"),
        ("CMD [\"x\"]\nCMD", "CMD x\nCMD"),
        ("COPY . .", "RUN apt-get update && apt-get install x"),
    ] {
        assert_ne!(lint(&good.replace(sound, damaged)), [""; 0], "{damaged}");
    }
}

/// systemd itself reads them, and judges how far they are shut in.
#[test]
fn the_units_are_sound() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut units = Vec::new();
    for name in ["xenapi-agent.service", "xapi-simulator.service"] {
        let unit = read(&format!("contrib/{name}"))?;
        ensure!(unit.contains("\nType=notify\n") && unit.contains("\nWatchdogSec="), "{name} is not watched");
        ensure!(unit.contains("\nDynamicUser=yes\n") && unit.contains("\nRestart=on-failure\n"), "{name}");
        // The programs are not installed here.
        let path = folder.path().join(name);
        fs::write(&path, unit.replace("/usr/local/bin/", "/bin/true "))?;
        units.push(path);
    }
    let analyze = |arguments: &[&str]| Command::new("systemd-analyze").args(arguments).args(&units).output();
    match analyze(&["verify"]) {
        Ok(verdict) => assert!(verdict.status.success() && verdict.stderr.is_empty(), "{verdict:?}"),
        Err(_) if std::env::var_os("CI").is_some() => bail!("systemd-analyze is not installed"),
        Err(_) => {
            eprintln!("skipped: systemd-analyze is not installed");
            return Ok(());
        }
    }
    // In tenths: 10 is a service that may do anything.
    let verdict = analyze(&["security", "--offline=yes", "--threshold=25", "--no-pager"])?;
    assert!(verdict.status.success(), "{}", String::from_utf8_lossy(&verdict.stdout));
    Ok(())
}

/// What systemd would be told.
struct Systemd(UnixDatagram);

impl Systemd {
    /// Gives up a program that says nothing at all.
    fn at(path: &Path) -> Result<Self> {
        let socket = UnixDatagram::bind(path)?;
        socket.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok(Self(socket))
    }

    fn hear(&self) -> Result<String> {
        let mut said = [0; 4096];
        let len = self.0.recv(&mut said)?;
        Ok(String::from_utf8(said[..len].to_vec())?.trim().to_owned())
    }
}

struct Running(Child);

impl Running {
    fn terminate(mut self) -> Result<()> {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.0),
            rustix::process::Signal::TERM,
        )?;
        ensure!(self.0.wait()?.success(), "it does not end well");
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// With the unit's own arguments, its environment and credential: ready when it serves, alive while it answers, and with a
/// status that says whether it follows the pool.
#[tokio::test(flavor = "multi_thread")]
async fn the_agent_s_unit_hears_of_it() -> Result<()> {
    let pool = Simulator::builder().world(World::demo()).password("of-the-credential").build().await?;
    let url = pool.listen("127.0.0.1:0").await?;
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(at("xenapi-agent"))?;
    fs::write(at("password"), "of-the-credential\n")?;
    let systemd = Systemd::at(&folder.path().join("notify"))?;

    let unit = read("contrib/xenapi-agent.service")?;
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/agent "))
        .context("ExecStart")?;
    let start = start.replace("%d", &at("")).replace("%S", &at(""));
    let mut agent = program("agent");
    agent.args(start.split_whitespace()).args(["--listen", "127.0.0.1:0"]).env("XENAPI_URL", url);
    agent.env("NOTIFY_SOCKET", at("notify")).env("WATCHDOG_USEC", "200000").stderr(Stdio::null());
    let agent = Running(agent.spawn()?);
    assert_eq!(systemd.hear()?, "READY=1");
    for _ in 0..2 {
        assert_eq!(systemd.hear()?, "STATUS=following\nWATCHDOG=1");
    }
    // A pool that is gone is told, and no reason to start the agent anew.
    pool.stop_toolstack();
    while !systemd.hear()?.starts_with("STATUS=the pool is not followed: ") {}
    pool.start_toolstack();
    while systemd.hear()? != "STATUS=following\nWATCHDOG=1" {}
    let ending = tokio::task::spawn_blocking(move || agent.terminate());
    while systemd.hear()? != "STOPPING=1" {}
    ending.await?
}

/// The image's command and its health check, at another port, with a pool that the environment names.
#[tokio::test(flavor = "multi_thread")]
async fn the_image_s_command_is_healthy() -> Result<()> {
    let pool = Simulator::builder().world(World::demo()).password("of-the-environment").build().await?;
    let url = pool.listen("127.0.0.1:0").await?;
    let image = read("contrib/Containerfile")?;
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let start = |name: &str| -> Result<Command> {
        let words = words(&image, name)?;
        let mut command = program(&words[0]);
        command.args(words[1..].iter().map(|word| word.replace("9618", &free.to_string())));
        Ok(command)
    };
    ensure!(!start("HEALTHCHECK")?.output()?.status.success(), "healthy before it runs");
    let folder = tempfile::tempdir()?;
    let systemd = Systemd::at(&folder.path().join("notify"))?;
    let mut agent = start("CMD")?;
    agent.env("XENAPI_URL", url).env("XENAPI_PASSWORD", "of-the-environment");
    agent.env("NOTIFY_SOCKET", folder.path().join("notify")).stderr(Stdio::null());
    let agent = Running(agent.spawn()?);
    assert_eq!(systemd.hear()?, "READY=1");
    let healthy = start("HEALTHCHECK")?.output()?;
    ensure!(healthy.status.success(), "{healthy:?}");
    agent.terminate()
}
