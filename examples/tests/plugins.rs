//! The installer of the plugins, with a program in ssh's place that notes what it is told.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::Result;

const ARCHIVE: &[u8] = b"\x1f\x8b stands for an archive";

fn plugins(args: &[&str]) -> Result<Output> {
    let mut path = std::env::current_exe()?;
    path.pop();
    path.pop();
    let mut command = Command::new(path.join("examples").join("plugins"));
    for variable in ["XENAPI_URL", "XENAPI_USER", "XENAPI_PASSWORD", "RUST_LOG"] {
        command.env_remove(variable);
    }
    Ok(command.args(args).output()?)
}

/// An archive, and a program that writes its arguments and input to files named after the host; xen2
/// refuses.
fn files(folder: &Path) -> Result<(String, String)> {
    let (archive, ssh) = (folder.join("plugins.tar.gz"), folder.join("ssh"));
    std::fs::write(&archive, ARCHIVE)?;
    let script = "#!/bin/sh\ncd \"$(dirname \"$0\")\"\nprintf '%s\\n' \"$@\" > \"$3.args\"\ncat > \"$3.input\"\n\
                  if [ \"$3\" = root@xen2 ]; then echo Permission denied >&2; exit 255; fi\necho xapi-plugins 1.0\n";
    std::fs::write(&ssh, script)?;
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755))?;
    let text = |path: PathBuf| path.display().to_string();
    Ok((text(archive), text(ssh)))
}

#[test]
fn every_host_gets_the_archive_and_a_failure_is_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (archive, ssh) = files(folder.path())?;
    let output = plugins(&["install", "--archive", &archive, "--ssh", &ssh, "root@xen2", "root@xen1"])?;
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr)?;
    assert!(error.contains("root@xen1: xapi-plugins 1.0"), "{error}");
    assert!(error.contains("root@xen2: exit status: 255: Permission denied"), "{error}");
    let args = std::fs::read_to_string(folder.path().join("root@xen1.args"))?;
    assert!(args.starts_with("-o\nBatchMode=yes\nroot@xen1\n--\nset -e; "), "{args}");
    assert!(args.trim_end().ends_with("install.sh\""), "{args}");
    assert_eq!(std::fs::read(folder.path().join("root@xen1.input"))?, ARCHIVE);
    let output = plugins(&["remove", "--archive", &archive, "--ssh", &ssh, "root@xen1"])?;
    assert!(output.status.success());
    assert!(std::fs::read_to_string(folder.path().join("root@xen1.args"))?.trim_end().ends_with("--remove"));
    Ok(())
}

#[test]
fn a_dry_run_runs_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (archive, ssh) = files(folder.path())?;
    let output = plugins(&["install", "--dry-run", "--archive", &archive, "--ssh", &ssh, "root@xen1"])?;
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout)?;
    assert!(text.starts_with(&format!("{ssh} -o BatchMode=yes root@xen1 -- 'set -e; ")), "{text}");
    assert!(!folder.path().join("root@xen1.args").exists());
    // Whoever pastes the line has the host run what this program would have.
    let pasted = Command::new("sh").args(["-c", &text]).output()?;
    assert!(pasted.status.success(), "{}", String::from_utf8_lossy(&pasted.stderr));
    let run = std::fs::read_to_string(folder.path().join("root@xen1.args"))?;
    plugins(&["install", "--archive", &archive, "--ssh", &ssh, "root@xen1"])?;
    assert_eq!(run, std::fs::read_to_string(folder.path().join("root@xen1.args"))?);
    Ok(())
}

#[test]
fn hosts_and_files_that_are_none() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (archive, ssh) = files(folder.path())?;
    for host in ["root@xen1;reboot", "$(id)", "a b"] {
        let output = plugins(&["install", "--archive", &archive, "--ssh", &ssh, host])?;
        assert!(String::from_utf8(output.stderr)?.contains("is not USER@HOST"), "{host}");
    }
    let output = plugins(&["install", "--archive", &ssh, "--ssh", &ssh, "root@xen1"])?;
    assert!(String::from_utf8(output.stderr)?.contains("is no .tar.gz"));
    Ok(())
}

#[test]
fn a_simulated_pool_has_none() -> Result<()> {
    let output = plugins(&["list", "--json"])?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(report["state"]["plugins"], "missing");
    Ok(())
}
