//! The tools as a user starts them: exit codes, what goes where, and what an interrupt leaves behind.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xapi_simulator::fault::Fault;
use xapi_simulator::{Simulator, World};

const NETWORK: &str = "xenbr0";

/// One of the examples, which Cargo builds before their tests.
fn tool(name: &str) -> Command {
    let mut path = std::env::current_exe().expect("a test has a path");
    path.pop();
    path.pop();
    let mut command = Command::new(path.join("examples").join(name));
    for variable in ["XENAPI_URL", "XENAPI_USER", "XENAPI_PASSWORD", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the tools write UTF-8")
}

/// The object that a tool printed.
fn json(output: &Output) -> Result<Value> {
    ensure!(output.status.success(), "{}", text(&output.stderr));
    let mut said = text(&output.stderr).lines();
    // That nobody has named a pool is told in any case.
    ensure!(said.all(|line| line.starts_with("no --url: ")), "no progress: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).context("the result is not JSON")
}

/// The one line that a tool ended with.
#[track_caller]
fn error(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    let mut errors = text(&output.stderr).lines().filter_map(|line| line.strip_prefix("error: "));
    let (first, second) = (errors.next(), errors.next());
    assert_eq!(second, None);
    assert_eq!(first, text(&output.stderr).lines().last().and_then(|line| line.strip_prefix("error: ")));
    first.expect("an error")
}

#[test]
fn spawn_and_snapshot_on_the_same_simulated_pool() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let state = directory.path().join("state");
    let spawn = || {
        let mut command = tool("spawn");
        command.arg("--simulator-state").arg(&state).args(["--network", NETWORK]);
        command
    };
    let made = json(&spawn().args(["--name", "web1", "--sr", "Local LVM", "--json"]).output()?)?;
    assert_eq!(
        (&made["name"], &made["sr"], &made["verified"]),
        (&"web1".into(), &"Local LVM".into(), &true.into())
    );
    assert!(made["wire_bytes"].as_u64() < made["virtual_bytes"].as_u64(), "{made}");
    assert!(made["seconds"]["root_disk"].as_f64() > Some(0.0), "{made}");

    let taken = error(&spawn().args(["--name", "web1"]).output()?).to_owned();
    assert!(taken.contains("the name \"web1\" is already in use"), "{taken}");

    let people = spawn().args(["--name", "web2", "--user-data", "/dev/null"]).output()?;
    assert!(people.status.success(), "{}", text(&people.stderr));
    for part in ["root disk", "verified", "the disk read back through export equals the image", "on the wire"]
    {
        assert!(text(&people.stdout).contains(part), "{part}: {}", text(&people.stdout));
    }
    assert!(text(&people.stderr).contains("start: done"), "{}", text(&people.stderr));

    let file = directory.path().join("web1.vhd");
    let mut snapshot = tool("snapshot");
    snapshot
        .arg("--simulator-state")
        .arg(&state)
        .args(["--instance", "web1", "--json", "--output"])
        .arg(&file);
    let written = json(&snapshot.output()?)?;
    assert_eq!(written["file_bytes"].as_u64(), Some(file.metadata()?.len()));
    assert_eq!(written["virtual_bytes"], made["virtual_bytes"]);
    assert_eq!(written["leftovers"], Value::Array(Vec::new()));
    qemu_agrees(&file)?;
    assert!(String::from_utf8(snapshot.output()?.stdout)?.contains("exists already"));
    Ok(())
}

fn qemu_agrees(file: &Path) -> Result<()> {
    // Before version 10, QEMU has to be told that the size is what the VHD says.
    let file = file.display();
    let opened = format!("driver=vpc,force_size_calc=current_size,file.driver=file,file.filename={file}");
    let arguments = ["info", "--output=json", "--image-opts", &opened];
    let Ok(info) = Command::new("qemu-img").args(arguments).output() else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "qemu-img is missing");
        return Ok(());
    };
    let info: Value = serde_json::from_slice(&info.stdout)?;
    assert_eq!((&info["format"], info["virtual-size"].as_u64()), (&"vpc".into(), Some(1 << 30)), "{info}");
    Ok(())
}

#[test]
fn a_snapshot_without_anything_spawns_its_own_instance() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("demo.vhd");
    let written = json(&tool("snapshot").arg("--json").arg("--output").arg(&file).output()?)?;
    assert_eq!(written["file_bytes"].as_u64(), Some(file.metadata()?.len()));
    qemu_agrees(&file)
}

#[test]
fn what_a_user_gets_wrong_ends_in_one_sentence() -> Result<()> {
    let cases: [(&[&str], &[&str]); 6] = [
        (&["--sr", "fast"], &["no SR matches \"fast\"", "use another SR"]),
        (&["--network", "wan"], &["no network", "\"wan\"", "use one of"]),
        (&["--image", "/nowhere/disk.img"], &["/nowhere/disk.img", "cannot open"]),
        (&["--user-data", "/nowhere/user-data"], &["/nowhere/user-data", "cannot be read"]),
        (&["--url", "https://127.0.0.1:1"], &["no password", "XENAPI_PASSWORD", "--password-file"]),
        (&["--url", "ftp://host", "--password-file", "/dev/null"], &["\"ftp://host\"", "write https://HOST"]),
    ];
    for (arguments, parts) in cases {
        let output = tool("spawn").args(arguments).output()?;
        let error = error(&output);
        for part in parts {
            assert!(error.contains(part), "{arguments:?}: {part:?} is missing in: {error}");
        }
    }
    let output = tool("spawn").args(["--sr", "fast", "--json"]).output()?;
    assert_eq!(output.status.code(), Some(1));
    let object: Value = serde_json::from_slice(&output.stdout)?;
    assert!(object["error"].as_str().is_some_and(|error| error.contains("\"fast\"")), "{object}");
    assert_eq!((&object["verb"], &object["leftovers"]), (&"spawn".into(), &Value::Array(vec![])), "{object}");
    for part in ["object", "stage"] {
        assert!(object[part].as_str().is_some_and(|part| !part.is_empty()), "{object}");
    }
    Ok(())
}

/// A pool in this process that tools in other processes reach over TCP and TLS.
struct Host {
    simulator: Simulator,
    url: String,
    fingerprint: String,
    files: tempfile::TempDir,
}

impl Host {
    async fn start() -> Result<Self> {
        let simulator = Simulator::builder().world(World::demo()).password("s3cret").build().await?;
        let (url, fingerprint) = simulator.listen_tls("127.0.0.1:0").await?;
        Ok(Self { simulator, url, fingerprint, files: tempfile::tempdir()? })
    }

    fn password_file(&self, password: &str) -> Result<PathBuf> {
        let path = self.files.path().join("password");
        std::fs::write(&path, format!("{password}\n"))?;
        Ok(path)
    }

    fn spawn(&self, password: &str) -> Result<Command> {
        let mut command = tool("spawn");
        command.args(["--url", &self.url, "--password-file"]).arg(self.password_file(password)?);
        Ok(command)
    }
}

async fn run(mut command: Command) -> Result<Output> {
    Ok(tokio::task::spawn_blocking(move || command.output()).await??)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_behind_tls() -> Result<()> {
    let host = Host::start().await?;
    let before = host.simulator.snapshot_of_objects();
    let untrusted = run(host.spawn("s3cret")?).await?;
    let untrusted = error(&untrusted);
    assert!(untrusted.contains(&host.fingerprint) && untrusted.contains("not trusted"), "{untrusted}");

    let with_trust = |password: &str| -> Result<Command> {
        let mut command = host.spawn(password)?;
        command.args(["--fingerprint", &host.fingerprint]);
        Ok(command)
    };
    let refused = run(with_trust("wrong")?).await?;
    let refused = error(&refused);
    assert!(refused.contains("check user and password") && !refused.contains("wrong"), "{refused}");
    assert_eq!(host.simulator.snapshot_of_objects(), before);

    let mut command = with_trust("s3cret")?;
    command.arg("--json");
    assert_eq!(json(&run(command).await?)?["verified"], true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_undoes_what_was_done() -> Result<()> {
    let host = Host::start().await?;
    let before = host.simulator.snapshot_of_objects();
    // Both disks are there by then, and the user has time to press Ctrl-C.
    host.simulator.faults().on("VM.create", Fault::Slow(Duration::from_secs(2)));
    let mut command = host.spawn("s3cret")?;
    let child =
        command.args(["--fingerprint", &host.fingerprint]).stderr(Stdio::piped()).stdout(Stdio::piped());
    let child = child.spawn()?;
    let pid = child.id().to_string();
    let waiting = tokio::task::spawn_blocking(move || child.wait_with_output());
    while host.simulator.snapshot_of_objects().get("VDI").map_or(0, BTreeSet::len) < 2 {
        ensure!(!waiting.is_finished(), "it ended too soon");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ensure!(Command::new("kill").args(["-INT", &pid]).status()?.success(), "no signal was sent");
    let output = waiting.await??;
    let error = error(&output);
    assert!(error.contains("it was cancelled"), "{error}");
    assert!(text(&output.stderr).contains("interrupted: undoing what was done"), "{}", text(&output.stderr));
    assert_eq!(host.simulator.snapshot_of_objects(), before);
    Ok(())
}

/// Both ways through the bridge, and an orderly end.
#[test]
fn a_console_is_bridged_to_a_port() -> Result<()> {
    let mut child =
        tool("console").args(["--text", "--once"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut address = String::new();
    BufReader::new(child.stdout.take().context("a pipe")?).read_line(&mut address)?;
    let mut viewer = TcpStream::connect(address.trim())?;
    viewer.write_all(b"root")?;
    let mut seen = [0; "\r\ndemo login: root".len()];
    viewer.read_exact(&mut seen)?;
    assert_eq!(text(&seen), "\r\ndemo login: root");
    drop(viewer);
    ensure!(child.wait()?.success());
    Ok(())
}

/// A port is everybody's on this machine; a socket is nobody's but its owner's, from its first moment to its last.
#[test]
fn a_console_at_a_socket_is_for_its_owner() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("console");
    let args = ["--text", "--once", "--socket", socket.to_str().context("a path")?];
    let mut child = tool("console").args(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut address = String::new();
    BufReader::new(child.stdout.take().context("a pipe")?).read_line(&mut address)?;
    assert_eq!(address.trim(), args[3]);
    assert_eq!(std::fs::metadata(&socket)?.permissions().mode() & 0o777, 0o600);
    // What is there is not replaced.
    let second = tool("console").args(args).output()?;
    let told = text(&second.stderr);
    assert!(told.contains("cannot listen on") && told.contains("remove it"), "{told}");
    let mut viewer = UnixStream::connect(&socket)?;
    viewer.write_all(b"root")?;
    let mut seen = [0; "\r\ndemo login: root".len()];
    viewer.read_exact(&mut seen)?;
    assert_eq!(text(&seen), "\r\ndemo login: root");
    drop(viewer);
    ensure!(child.wait()?.success());
    assert!(!socket.exists());
    Ok(())
}

/// Two look at once, and whoever stops the program leaves no socket behind.
#[test]
fn several_viewers_at_a_console_that_is_stopped() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("console");
    let args = ["--text", "--socket", socket.to_str().context("a path")?];
    let mut child = tool("console").args(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut address = String::new();
    BufReader::new(child.stdout.take().context("a pipe")?).read_line(&mut address)?;
    let mut viewers = [UnixStream::connect(&socket)?, UnixStream::connect(&socket)?];
    for viewer in &mut viewers {
        viewer.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut seen = [0; "\r\ndemo login: ".len()];
        viewer.read_exact(&mut seen)?;
        assert_eq!(text(&seen), "\r\ndemo login: ");
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    ensure!(child.wait()?.success());
    assert!(!socket.exists());
    Ok(())
}

/// A pool that is made up, and options that nobody knows, are told to those too who read JSON.
#[test]
fn warnings_are_not_silenced() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state").display().to_string();
    let chosen = ["--simulator-state", &state];
    let set = ["--json", "--set", "check_hots=true"];
    for (name, args, simulated) in [
        ("instances", &["list"][..], true),
        ("instances", &[chosen[0], chosen[1], "list"], false),
        ("snapshot", &["--output", "/nonexistent/disk.vhd", "--instance", "nobody"], true),
        ("agent", &["--simulated", "--dry-run"], false),
    ] {
        // What is no Unicode is none of our options.
        let odd = OsStr::from_bytes(b"\xff\xfe");
        let output = tool(name).args(args).args(set).env("ODD", odd).output()?;
        let said = text(&output.stderr);
        assert!(said.contains("check_hots is not an option"), "{name} {args:?}: {said}");
        assert_eq!(said.contains("simulating a pool"), simulated, "{name} {args:?}: {said}");
        let told: Result<Vec<Value>, _> = text(&output.stdout).lines().map(serde_json::from_str).collect();
        told.with_context(|| format!("{name} {args:?}"))?;
    }
    Ok(())
}

/// Programs that are told to use the simulator do so, wherever the environment leads.
#[test]
fn simulated_whatever_the_environment_names() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("demo.vhd").display().to_string();
    let state = folder.path().join("state").display().to_string();
    for (name, args) in [
        ("snapshot", &["--simulated", "--output", &file][..]),
        (
            "doctor",
            &[
                "--simulated",
                "--set",
                "independent_compute=true",
                "--set",
                "connection_url=http://127.0.0.1:1",
            ],
        ),
        ("instances", &["--simulated", "--simulator-state", &state, "list"]),
    ] {
        let output = tool(name).args(args).env("XENAPI_URL", "http://127.0.0.1:1").output()?;
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    }
    Ok(())
}

/// Numbers that do not fit are refused, and not folded into ones that do.
#[test]
fn numbers_without_measure() -> Result<()> {
    for (name, args) in [
        ("volumes", &["extend", "web1", "data", "--gib", "17179869185"][..]),
        ("spawn", &["--swap-mib", "17592186044417"]),
        ("spawn", &["--memory-min-mib", "17592186044417"]),
        ("spawn", &["--ephemeral-gib", "17179869185"]),
    ] {
        let output = tool(name).args(args).output()?;
        assert_eq!(output.status.code(), Some(2), "{name} {args:?}: {}", text(&output.stderr));
    }
    Ok(())
}

/// Options of a migration that would do nothing or harm are refused; the same ones in their place are not, and it
/// goes on to what is missing here.
#[test]
fn options_of_a_migration() -> Result<()> {
    let pool = ["--pool", "https://127.0.0.1:1"];
    let simulated = ["--simulated-pool", "--plan"];
    let to = ["--to", "2f5d2e0c-7a55-4a0e-9a0c-0f4f5c1f2c11"];
    for (place, more, refused) in [
        (&pool[..], &["--confirm"][..], false),
        (&pool, &["--confirm", "--plan"], true),
        (&pool, &["--revert", "--plan"], true),
        (&pool, &["--revert", "--cold"], true),
        (&pool, &["--plan"], false),
        (&pool, &["--network", "a=b", "--pool-user", "me", "--pool-password-file", "f"], false),
        (&pool, &["--cold", "--leave-snapshots"], false),
        (&to, &["--network", "a=b"], true),
        (&to, &["--pool-user", "me"], true),
        (&to, &["--pool-password-file", "f"], true),
        (&to, &["--cold", "--leave-snapshots"], true),
        (&to, &["--plan"], false),
        // One that is simulated lets this program in as it is.
        (&simulated, &["--network", "a=b"], false),
        (&simulated, &["--pool-user", "me"], true),
        (&simulated, &["--pool-password-file", "f"], true),
    ] {
        let output = tool("migrate").arg("web1").args(place).args(more).output()?;
        let code = if refused { 2 } else { 1 };
        assert_eq!(output.status.code(), Some(code), "{place:?} {more:?}: {}", text(&output.stderr));
    }
    Ok(())
}
