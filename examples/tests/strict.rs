//! Whether the programs start with an operator's options, as they are started.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

/// All that work on a pool with options, and what each is to do.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("agent", &["--simulated", "--listen", "127.0.0.1:0"]),
    ("console", &[]),
    ("images", &["list"]),
    ("instances", &["list"]),
    ("migrate", &["web1", "--to", "00000000-0000-0000-0000-000000000000"]),
    ("networks", &["list"]),
    ("pool", &["eject", "00000000-0000-0000-0000-000000000000"]),
    ("snapshot", &["--output", "/nonexistent/disk.vhd"]),
    ("spawn", &["--name", "web1"]),
    ("volumes", &["list", "web1"]),
];

/// The first line that a program prints, whether it ends then or goes on.
fn first_line(name: &str, args: &[&str], variable: Option<(&str, &str)>) -> Result<Value> {
    let mut path = std::env::current_exe()?;
    path.pop();
    path.pop();
    let mut command = Command::new(path.join("examples").join(name));
    for variable in ["XENAPI_URL", "XENAPI_USER", "XENAPI_PASSWORD", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command.envs(variable).args(args).arg("--json").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().context(name.to_owned())?;
    let mut line = String::new();
    let read = BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line);
    // It has ended already unless it serves somebody.
    let _ = child.kill();
    child.wait()?;
    read?;
    serde_json::from_str(&line).with_context(|| format!("{name} {args:?} prints {line:?}"))
}

fn error(line: &Value) -> &str {
    line["error"].as_str().unwrap_or_default()
}

#[test]
fn every_program_refuses_all_conflicts_in_one_error_before_it_does_anything() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("options.toml");
    std::fs::write(&config, "[xenserver]\nstrictness = \"strict\"\n[DEFAULT]\nflat_injected = true\n")?;
    let config = config.display().to_string();
    for (name, words) in PROGRAMS {
        let line = first_line(name, &[words, &["--config", &config][..]].concat(), None)?;
        let told = error(&line);
        for part in [
            "the options do not fit where this driver runs: check_host (default) is true",
            &format!("; flat_injected ({config}"),
            "which the specification refuses in independent mode",
        ] {
            assert!(told.contains(part), "{name}: {line}");
        }
    }
    Ok(())
}

#[test]
fn strictness_comes_from_where_the_other_options_come_from() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let conf = folder.path().join("nova.conf");
    std::fs::write(&conf, "[xenserver]\nstrictness = strict\n")?;
    let conf = conf.display().to_string();
    let strict = Some(("OS_XENSERVER__STRICTNESS", "strict"));
    for (args, variable, refuses) in [
        (&[][..], None, false),
        (&["--nova-conf", &conf], None, true),
        (&[], strict, true),
        (&["--set", "strictness=strict"], None, true),
        (&["--set", "strictness=able"], strict, false),
        (&["--set", "check_host=false"], strict, false),
        // What nobody asks for is refused strictly alone; what somebody asks for and cannot have, always.
        (&["--set", "check_host=true"], None, true),
        (&["--set", "flat_injected=true"], None, true),
    ] {
        let args = [&["--name", "web1", "--dry-run"], args].concat();
        let line = first_line("spawn", &args, variable)?;
        assert_eq!(error(&line).contains("the options do not fit"), refuses, "{args:?} {variable:?} {line}");
        assert_eq!(line.get("would").is_some(), !refuses, "{args:?} {variable:?} {line}");
    }
    for name in ["spawn", "doctor"] {
        let line = first_line(name, &["--set", "strictness=strickt", "--dry-run"], None)?;
        let told = "strictness: one of able, strict is wanted, not \"strickt\"";
        assert!(line.to_string().replace('\\', "").contains(told), "{name}: {line}");
        assert!(line.get("would").is_none(), "{name}: {line}");
    }
    let line = first_line("doctor", &["--set", "check_host=false"], strict)?;
    assert_eq!(line["strictness"], "strict", "{line}");
    assert_eq!(line["options"]["strictness"]["value"], "strict", "{line}");
    assert_eq!(line["options"]["strictness"]["origin"], "environment OS_XENSERVER__STRICTNESS", "{line}");
    Ok(())
}
