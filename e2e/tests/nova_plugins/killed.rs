//! A plugin that is killed in the middle of a request leaves nothing of the request's secrets.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dom0_protocol::FetchKernel;
use serde_json::json;

use crate::host::{self, Host};
use crate::table::{Args, VDI, by_name};

const TOKEN: &str = "t0ken-of-a-tenant";

/// What is asked, and where the server begins to be silent.
fn requests(host: &Host, url: &str) -> Vec<(&'static str, &'static str, Args)> {
    let headers = json!({"X-Auth-Token": TOKEN});
    let image = |more: serde_json::Value| {
        let mut all = json!({
            "image_id": "silent", "endpoint": url, "sr_path": host.sr(), "extra_headers": headers, "api_version": 2,
        });
        if let (Some(all), serde_json::Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
        by_name(all)
    };
    let kernel = FetchKernel {
        url: format!("{url}/silent"),
        headers: [("X-Auth-Token".to_owned(), TOKEN.to_owned())].into(),
        digest: "0".repeat(64),
        max_bytes: 6,
        name: "kernel".to_owned(),
    };
    let kernel =
        dom0_protocol::encode(&kernel, Some("job")).remove(dom0_protocol::ARGUMENT).unwrap_or_default();
    vec![
        ("glance", "download_vhd2", image(json!({"uuid_stack": [VDI]}))),
        ("glance", "upload_vhd2", image(json!({"vdi_uuids": [VDI], "properties": {}}))),
        ("dom0_protocol", "fetch_kernel", Args::Plain(vec![(dom0_protocol::ARGUMENT, kernel)])),
    ]
}

#[test]
fn nothing_of_a_token_stays() -> Result<()> {
    if !e2e::tools::present(&["curl", "prlimit", "tar"]) {
        return Ok(());
    }
    let host = Host::new()?;
    let (tell, told) = mpsc::channel();
    let url = host::silent(tell)?;
    for (plugin, function, args) in requests(&host, &url) {
        let temporary = tempfile::tempdir()?;
        let mut child = host.command(plugin, function, &args)?.env("TMPDIR", temporary.path()).spawn()?;
        // The server has the request, and holds the connection.
        let (head, connection) = told.recv_timeout(Duration::from_secs(60)).context(function)?;
        ensure!(head.contains(TOKEN), "{function}: {head}");
        // The call itself is one, as XAPI makes it.
        let shown =
            command_lines()?.into_iter().find(|line| line.contains(TOKEN) && !line.contains("methodCall"));
        ensure!(shown.is_none(), "{function}: {shown:?}");
        for is_killed in [false, true] {
            if is_killed {
                child.kill()?;
                child.wait()?;
            }
            for folder in [temporary.path(), host.dom0.root()] {
                ensure!(!holds(folder, TOKEN)?, "{function}: {} has the token", folder.display());
            }
        }
        drop(connection);
    }
    Ok(())
}

/// Of all processes; those that end meanwhile are passed over.
fn command_lines() -> Result<Vec<String>> {
    let processes = std::fs::read_dir("/proc")?.filter_map(|entry| Some(entry.ok()?.path().join("cmdline")));
    Ok(processes
        .filter_map(|path| Some(String::from_utf8_lossy(&std::fs::read(path).ok()?).into_owned()))
        .collect())
}

fn holds(folder: &Path, text: &str) -> Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let is_found = match kind.is_dir() {
            true => holds(&entry.path(), text)?,
            false if !kind.is_file() => false,
            false => std::fs::read(entry.path())?.windows(text.len()).any(|bytes| bytes == text.as_bytes()),
        };
        if is_found {
            return Ok(true);
        }
    }
    Ok(false)
}
