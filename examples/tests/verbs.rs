//! The tools for instances, volumes and migrations, as a user starts them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// One of the examples, which Cargo builds before their tests, on a simulated pool that is kept.
fn tool(name: &str, state: &Path, args: &[&str]) -> Result<Output> {
    Ok(command(name, state, args)?.stdin(Stdio::null()).output()?)
}

/// Where Cargo puts them.
fn examples() -> Result<PathBuf> {
    let mut path: PathBuf = std::env::current_exe()?;
    path.pop();
    path.pop();
    Ok(path.join("examples"))
}

fn command(name: &str, state: &Path, args: &[&str]) -> Result<Command> {
    let mut command = Command::new(examples()?.join(name));
    for variable in ["XENAPI_URL", "XENAPI_USER", "XENAPI_PASSWORD", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command.arg("--simulator-state").arg(state).args(args);
    Ok(command)
}

/// The objects that a tool printed, one a line.
fn json(output: &Output) -> Result<Vec<Value>> {
    let (text, errors) = (str::from_utf8(&output.stdout)?, str::from_utf8(&output.stderr)?);
    ensure!(output.status.success() && errors.is_empty(), "{text} {errors}");
    text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

#[test]
fn a_day_of_an_instance() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let state = directory.path().join("state");
    let run = |name: &str, args: &[&str]| json(&tool(name, &state, &[args, &["--json"]].concat())?);
    let spawned = run("spawn", &["--name", "web1", "--flavor", "1:512:0"])?;
    let sr = |rows: &[Value]| rows.first().and_then(|row| row["sr"].as_str()).map(str::to_owned);
    ensure!(sr(&spawned).is_some(), "{spawned:?}");

    let listed = run("instances", &["list"])?;
    assert_eq!(
        (listed.len(), &listed[0]["name"], &listed[0]["state"]),
        (1, &"web1".into(), &"Running".into())
    );
    assert_eq!(run("instances", &["power", "web1", "off", "--hard"])?[0]["state"], "Halted");
    run("instances", &["resize", "web1", "--flavor", "2:1024:2"])?;
    let listed = run("instances", &["list"])?;
    assert_eq!((&listed[0]["state"], &listed[0]["resized"]), (&"Halted".into(), &true.into()));
    let people = tool("instances", &state, &["list"])?;
    assert!(str::from_utf8(&people.stdout)?.contains("Halted (resized)"), "{people:?}");
    run("instances", &["revert", "web1"])?;
    let listed = run("instances", &["list"])?;
    assert_eq!((&listed[0]["vcpus"], &listed[0]["state"]), (&1.into(), &"Halted".into()));
    // What is an instance already is not taken over once more.
    assert_eq!(run("instances", &["power", "web1", "on", "--adopt"])?[0]["state"], "Running");
    assert_eq!(run("instances", &["adopt", "web1"])?[0]["kept"], Value::Array(vec![]));
    assert!(run("instances", &["reconcile", "--older-than", "0"])?.is_empty());
    assert!(run("volumes", &["list", "web1"])?.is_empty());
    assert_eq!(run("instances", &["console-log", "web1"])?[0]["log"], "\r\nweb1 login: ");
    // What is measured of a guest that has just been started depends on the moment.
    run("instances", &["diagnostics", "web1"])?;
    assert!(run("instances", &["traffic", "web1"])?.is_empty(), "it has no interface");
    let shown = run("instances", &["show", "web1"])?;
    assert_eq!(shown[0]["volumes"], Value::Array(vec![]));
    let node = listed[0]["node"].as_str().context("a node")?;
    let plan = run("migrate", &["web1", "--to", node, "--plan"])?;
    assert_eq!(plan[0]["node"], node);
    let plan = run("migrate", &["web1", "--simulated-pool", "--plan"])?;
    assert!(plan[0]["node"].as_str().is_some_and(|other| other != node), "{plan:?}");
    let wrong = tool("migrate", &state, &["web1", "--simulated-pool", "--plan", "--over", "nowhere"])?;
    assert!(str::from_utf8(&wrong.stderr)?.contains("nowhere"), "{wrong:?}");
    let moved = run("migrate", &["web1", "--simulated-pool", "--cold", "--hard", "--flavor", "1:256:0"])?;
    assert_eq!(moved[0]["state"], "Running, to be confirmed or reverted");
    // It is kept where it was until somebody decides.
    let kept = run("instances", &["list"])?;
    assert_eq!((&kept[0]["state"], &kept[0]["moved"]), (&"Halted".into(), &true.into()));
    run("instances", &["destroy", "web1"])?;
    assert!(run("instances", &["list"])?.is_empty());
    Ok(())
}

#[test]
fn a_dry_run_tells_and_does_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let state = directory.path().join("state");
    let run = |name: &str, args: &[&str]| json(&tool(name, &state, &[args, &["--json"]].concat())?);
    let steps = |rows: &[Value]| rows[0]["would"].as_array().map_or(0, Vec::len);
    let spawned = run("spawn", &["--name", "web1", "--dry-run"])?;
    assert!(steps(&spawned) >= 4, "{spawned:?}");
    assert!(run("instances", &["list"])?.is_empty());

    run("spawn", &["--name", "web1", "--flavor", "1:512:0", "--no-verify"])?;
    let before = run("instances", &["list"])?;
    let node = before[0]["node"].as_str().context("a node")?;
    for (name, args) in [
        ("instances", &["power", "web1", "off"][..]),
        ("instances", &["resize", "web1", "--flavor", "2:1024:2"]),
        ("instances", &["destroy", "web1"]),
        ("instances", &["metadata", "web1", "role=web"]),
        ("migrate", &["web1", "--to", node, "--cold"]),
        ("migrate", &["web1", "--simulated-pool"]),
        ("migrate", &["web1", "--simulated-pool", "--cold"]),
        ("snapshot", &["--instance", "web1", "--output", "web1.vhd"]),
    ] {
        let told = run(name, &[args, &["--dry-run"]].concat())?;
        assert!(steps(&told) > 0, "{name} {args:?}: {told:?}");
    }
    assert!(!Path::new("web1.vhd").exists());
    assert_eq!(run("instances", &["list"])?, before);
    let text = tool("instances", &state, &["destroy", "web1", "--dry-run"])?;
    assert!(str::from_utf8(&text.stdout)?.starts_with("1. switch VM "), "{text:?}");
    let wrong = tool("instances", &state, &["unrescue", "web1", "--dry-run"])?;
    assert_eq!(wrong.status.code(), Some(1));
    Ok(())
}

#[test]
fn doctor_puts_a_pool_in_order() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let state = directory.path().join("state");
    let reconciled = |args: &[&str]| -> Result<Value> {
        let args = [&["--reconcile", "--older-than", "0", "--json"], args].concat();
        let output = tool("doctor", &state, &args)?;
        let report: Value = serde_json::from_slice(&output.stdout).context("a report")?;
        Ok(report["reconciled"].clone())
    };
    // A spawn that is killed leaves what it made.
    let mut path: PathBuf = std::env::current_exe()?;
    path.pop();
    path.pop();
    let spawn = path.join("examples").join("spawn");
    let mut killed = Command::new(spawn)
        .args(["--name", "victim", "--simulator-state"])
        .arg(&state)
        .env_remove("XENAPI_URL")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let lines = BufReader::new(killed.stderr.take().context("standard error")?);
    let made = BufRead::lines(lines).map_while(Result::ok).find(|line| line.starts_with("root disk: done"));
    killed.kill()?;
    killed.wait()?;
    assert!(made.is_some(), "it ended before its root disk was made");
    let would = reconciled(&["--dry-run"])?;
    let rows = would.as_array().context("rows")?;
    assert!(!rows.is_empty() && rows.iter().all(|row| row["how"] == "would"), "{would}");
    let done = reconciled(&[])?;
    let is_done =
        |done: &Value| done.as_array().is_some_and(|rows| rows.iter().all(|row| row["how"] == "done"));
    assert!(is_done(&done) && !done.as_array().context("rows")?.is_empty(), "{done}");
    assert_eq!(reconciled(&[])?.as_array().map(Vec::len), Some(0));
    Ok(())
}

#[test]
fn every_tool_has_completions_for_every_shell() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut path: PathBuf = std::env::current_exe()?;
    path.pop();
    path.pop();
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))?;
    let manifest: Vec<&str> = manifest.split("[[example]]").skip(1).collect();
    assert!(manifest.len() >= 11);
    for part in manifest {
        let name = part.split('"').nth(1).context("a name")?;
        let run = |args: &[&str]| Command::new(path.join("examples").join(name)).args(args).output();
        for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
            let output = run(&["--completions", shell])?;
            let script = str::from_utf8(&output.stdout)?;
            assert!(output.status.success() && script.contains(name) && script.len() > 500, "{name} {shell}");
            if shell == "bash" {
                let file = directory.path().join(name);
                std::fs::write(&file, script)?;
                let read = Command::new("bash").arg("-n").arg(&file).output()?;
                assert!(read.status.success(), "{name}: {read:?}");
            }
        }
        assert_eq!(run(&["--completions", "tcsh"])?.status.code(), Some(2), "{name}");
        let help = String::from_utf8(run(&["--help"])?.stdout)?;
        assert!(help.contains("--completions SHELL"), "{help}");
        assert!(help.contains("--json"), "{name}: {help}");
    }
    Ok(())
}

#[test]
fn images_out_and_in_and_from_a_disc() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let state = directory.path().join("state");
    let at = |name: &str| directory.path().join(name).display().to_string();
    let run = |name: &str, args: &[&str]| json(&tool(name, &state, &[args, &["--json"]].concat())?);
    run("spawn", &["--name", "web1", "--flavor", "1:512:0"])?;
    for format in ["vhd-archive", "vhd-chain", "vhd", "raw-archive", "qcow2"] {
        let (place, name) = (at(format), format!("from-{format}"));
        let args = ["--instance", "web1", "--to", &place, "--format", format, "--compression-level", "1"];
        if matches!(format, "vhd" | "qcow2") {
            let refused = tool("snapshot", &state, &args)?;
            assert!(String::from_utf8(refused.stderr)?.contains("nothing of this format is compressed"));
            run("snapshot", &args[..6])?;
        } else {
            run("snapshot", &args)?;
        }
        // Of a compressed raw disk nobody knows the size.
        run("spawn", &["--name", &name, "--image", &place, "--flavor", "1:128:1"])?;
        run("instances", &["destroy", &name])?;
    }
    let refused = tool(
        "snapshot",
        &state,
        &["--instance", "web1", "--to", &at("image"), "--property", "os_type=linux"],
    )?;
    assert!(String::from_utf8(refused.stderr)?.contains("told to Glance"));
    run("snapshot", &["--instance", "web1", "--all", "--to", &at("{}.vhd"), "--format", "vhd"])?;
    ensure!(Path::new(&at("0.vhd")).exists(), "the root disk's image");

    let cached = run("images", &["cache", "--id", "one", "--image", &at("vhd")])?;
    assert_eq!(run("images", &["list"])?, cached);
    let told = run("images", &["evict", "--keep-mib", "0", "--dry-run"])?;
    assert!(
        told[0]["would"][0].as_str().is_some_and(|step| step.starts_with("remove image \"one\"")),
        "{told:?}"
    );
    assert_eq!(run("images", &["list"])?, cached);
    let nowhere = tool("images", &state, &["evict", "--keep-mib", "0", "--sr", "nowhere"])?;
    assert!(str::from_utf8(&nowhere.stderr)?.contains("no SR matches \"nowhere\""), "{nowhere:?}");
    let named = ["evict", "--keep-mib", "0", "--sr", "Local storage"];
    assert_eq!(run("images", &named)?, cached);
    // It prints one object for all of them.
    assert_eq!(run("images", &["list"])?[0]["images"], Value::Array(vec![]));

    let mut disc = vec![0; 64 << 10];
    disc[16 * 2048..][..6].copy_from_slice(b"\x01CD001");
    std::fs::write(at("installer.iso"), disc)?;
    run("spawn", &["--name", "new", "--image", &at("installer.iso"), "--flavor", "1:128:1"])?;
    let refused = tool("spawn", &state, &["--image", &at("vhd"), "--image-format", "iso"])?;
    let text = str::from_utf8(&refused.stderr)?;
    assert!(!refused.status.success() && text.contains("no disc"), "{text}");
    Ok(())
}

/// A server that keeps what is put there. The first answer to each question breaks off half-way.
fn server() -> Result<(String, Arc<Mutex<Vec<String>>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/disk.vhd", listener.local_addr()?);
    let heads = Arc::new(Mutex::new(Vec::new()));
    let noted = heads.clone();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for socket in listener.incoming().flatten() {
            let mut noted = noted.lock().expect("nobody panics");
            let _ = serve(BufReader::new(socket), &mut kept, &mut noted);
        }
    });
    Ok((url, heads))
}

fn serve(mut socket: BufReader<TcpStream>, kept: &mut Vec<u8>, heads: &mut Vec<String>) -> Result<()> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        ensure!(socket.read_line(&mut head)? > 0, "no more");
    }
    let head = head.to_ascii_lowercase();
    heads.push(head.clone());
    if head.starts_with("put") {
        ensure!(head.contains("transfer-encoding: chunked"), "its length is not known before: {head}");
        kept.clear();
        loop {
            let mut size = String::new();
            socket.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16)?;
            let mut piece = vec![0; size + 2];
            socket.read_exact(&mut piece)?;
            kept.extend_from_slice(&piece[..size]);
            if size == 0 {
                return Ok(socket.get_mut().write_all(b"HTTP/1.1 201 made\r\nContent-Length: 0\r\n\r\n")?);
            }
        }
    }
    let from = head.split_once("range: bytes=").and_then(|(_, rest)| rest.split('-').next()?.parse().ok());
    let (from, len): (usize, usize) = (from.unwrap_or(0), kept.len());
    let status = match from {
        0 => "200 all".to_owned(),
        _ => format!("206 rest\r\nContent-Range: bytes {from}-{}/{len}", len - 1),
    };
    let end = if from == 0 { len / 2 } else { len };
    let left = len - from;
    let answer =
        format!("HTTP/1.1 {status}\r\nETag: \"1\"\r\nContent-Length: {left}\r\nConnection: close\r\n\r\n");
    socket.get_mut().write_all(answer.as_bytes())?;
    Ok(socket.get_mut().write_all(&kept[from..end])?)
}

#[test]
fn images_to_and_from_a_server_and_from_the_standard_input() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let state = directory.path().join("state");
    let at = |name: &str| directory.path().join(name).display().to_string();
    let run = |name: &str, args: &[&str]| json(&tool(name, &state, &[args, &["--json"]].concat())?);
    run("spawn", &["--name", "web1", "--flavor", "1:512:0"])?;
    let (url, heads) = server()?;
    run("snapshot", &["--instance", "web1", "--to", &url, "--format", "vhd"])?;
    run("spawn", &["--name", "web2", "--image", &url])?;
    let heads = heads.lock().expect("nobody panics").clone();
    assert!(heads.len() >= 3 && heads.last().is_some_and(|head| head.contains("range: bytes=")), "{heads:?}");

    let vhd = at("out.vhd");
    run("snapshot", &["--instance", "web2", "--output", &vhd])?;
    let mut spawn = command("spawn", &state, &["--name", "web3", "--image", "-", "--json"])?;
    let spawned = json(&spawn.stdin(std::fs::File::open(&vhd)?).output()?)?;
    assert_eq!(spawned[0]["verified"], true);
    let again = at("again.vhd");
    run("snapshot", &["--instance", "web3", "--output", &again])?;
    let same = Command::new(examples()?.join("disk")).args(["compare", &vhd, &again]).output()?;
    ensure!(same.status.success(), "{same:?}");
    Ok(())
}

/// Those of `nova.conf` count, and the command line before them.
#[test]
fn options_of_nova_apply() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let state = directory.path().join("state");
    let at = |name: &str| directory.path().join(name).display().to_string();
    let conf = at("nova.conf");
    std::fs::write(&conf, "[xenserver]\nimage_compression_level = 9\nimport_via = dom0\n")?;
    let run = |name: &str, args: &[&str]| json(&tool(name, &state, &[args, &["--json"]].concat())?);
    let raw = at("text.raw");
    std::fs::write(&raw, (0..1 << 20).map(|n| format!("{:015}\n", n % 7919)).collect::<String>())?;
    run("spawn", &["--name", "web1", "--image", &raw, "--image-format", "raw"])?;
    let archive = |name: &str, args: &[&str]| -> Result<u64> {
        let place = at(name);
        run("snapshot", &[&["--instance", "web1", "--to", &place], args].concat())?;
        Ok(std::fs::metadata(place)?.len())
    };
    let fast = archive("fast", &["--nova-conf", &conf, "--compression-level", "1"])?;
    let small = archive("small", &["--nova-conf", &conf])?;
    let set = archive("set", &["--set", "image_compression_level=9"])?;
    assert!(small < fast && small.abs_diff(set) < 64, "{small} {fast} {set}");

    // The simulated host has no plugins.
    for args in [&["--nova-conf", &conf][..], &["--import-via", "dom0"]] {
        let refused = tool("spawn", &state, &[&["--name", "web2"], args].concat())?;
        let text = str::from_utf8(&refused.stderr)?;
        assert!(!refused.status.success() && text.contains("its plugins lack write_disk"), "{text}");
    }
    let args = ["--name", "web2", "--nova-conf", &conf, "--import-via", "handler"];
    run("spawn", &args)?;
    Ok(())
}

/// Where disks go, and whether there is a config drive.
#[test]
fn options_of_nova_choose() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let state = directory.path().join("state");
    let steps = |args: &[&str]| -> Result<String> {
        let args = [&["--name", "web1", "--dry-run", "--json"], args].concat();
        Ok(serde_json::to_string(&json(&tool("spawn", &state, &args)?)?)?)
    };
    let elsewhere = ["--set", "sr_matching_filter=name:Local LVM"];
    assert!(steps(&[])?.contains("Local storage"));
    assert!(steps(&elsewhere)?.contains("Local LVM"));
    assert!(steps(&[&elsewhere[..], &["--sr", "Local storage"]].concat())?.contains("Local storage"));

    let without = ["--no-config-drive"];
    let forced = [&without[..], &["--set", "force_config_drive=true"]].concat();
    for (args, wanted) in [(&[][..], true), (&without, false), (&forced, true)] {
        assert_eq!(steps(args)?.contains("config drive"), wanted, "{args:?}");
    }
    Ok(())
}

/// A host that says nothing is given up on when the operator says so.
#[test]
fn a_login_takes_as_long_as_it_may() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let mut command = Command::new(examples()?.join("instances"));
    let args = ["--url", &url, "--set", "login_timeout=1", "list"];
    let output = command.args(args).env("XENAPI_PASSWORD", "x").env_remove("RUST_LOG").output()?;
    let text = str::from_utf8(&output.stderr)?;
    assert!(!output.status.success() && text.contains("within the 1 s of login_timeout"), "{text}");
    drop(listener);
    Ok(())
}

#[test]
fn errors_are_one_sentence() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let state = directory.path().join("state");
    for (name, args, part) in [
        ("instances", &["show", "nobody"][..], "nobody"),
        ("instances", &["power", "nobody", "pause", "--hard"], "only off and reboot"),
        ("instances", &["power", "nobody", "on", "--adopt"], "nobody"),
        ("volumes", &["detach", "nobody", "5"], "nobody"),
        ("volumes", &["attach", "nobody"], "where is the volume?"),
        ("migrate", &["nobody", "--to", "00000000-0000-0000-0000-000000000001"], "nobody"),
    ] {
        let output = tool(name, &state, args)?;
        let text = str::from_utf8(&output.stderr)?;
        assert_eq!(output.status.code(), Some(1), "{name} {args:?}: {text}");
        let last = text.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: ") && last.contains(part), "{name} {args:?}: {text}");
        // The same for programs, and nothing else.
        let told = tool(name, &state, &[args, &["--json"]].concat())?;
        let told: Value = serde_json::from_slice(&told.stdout).with_context(|| format!("{name} {args:?}"))?;
        assert!(told["error"].as_str().is_some_and(|error| error.contains(part)), "{name} {args:?}: {told}");
    }
    Ok(())
}
