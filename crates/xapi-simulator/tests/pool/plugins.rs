//! Plugins that do not end by themselves.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value as Json, json};
use xapi_simulator::core::Config;
use xapi_simulator::{Simulator, World};

use crate::client::Client;

/// Calls a plugin; the failure is its code and parameters.
async fn call(simulator: &Simulator, plugin: &str, function: &str, args: Json) -> Result<Json, Vec<Json>> {
    let mut client = Client::log_in(simulator.connect()).await;
    let host = client.call("host.get_all", &[]).await.unwrap()[0].clone();
    let answer = client.call("host.call_plugin", &[host, json!(plugin), json!(function), args]).await;
    answer.map_err(|error| {
        let mut list = vec![error["message"].clone()];
        list.extend(error["data"].as_array().unwrap().iter().cloned());
        list
    })
}

async fn pool(plugins: &Path, timeout: Duration) -> Simulator {
    let config = Config { plugins: Some(plugins.to_owned()), plugin_timeout: timeout, ..Config::default() };
    Simulator::builder().world(World::demo()).config(config).build().await.unwrap()
}

#[tokio::test]
async fn one_that_writes_without_end_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/usr/bin/yes", directory.path().join("flood")).unwrap();
    let simulator = pool(directory.path(), Duration::from_secs(600)).await;
    let failure = call(&simulator, "flood", "f", json!({})).await.unwrap_err();
    assert_eq!(failure[..2], ["XENAPI_PLUGIN_FAILURE", "signal: SIGKILL"]);
    let output = failure[2].as_str().unwrap();
    assert_eq!(output.len(), 16 << 20);
    assert!(output.starts_with("<?xml"), "{}", &output[..100]);
}

#[tokio::test]
async fn one_that_takes_too_long_is_killed() {
    let Some(directory) = testdata::plugins_dir() else { return };
    let simulator = pool(&directory, Duration::from_millis(300)).await;
    let failure = call(&simulator, "golden", "hang", json!({"seconds": "600"})).await.unwrap_err();
    assert_eq!(failure, ["XENAPI_PLUGIN_FAILURE", "signal: SIGKILL", "", ""]);
}

#[tokio::test]
async fn none_outlives_the_simulator() {
    let Some(directory) = testdata::plugins_dir() else { return };
    let simulator = pool(&directory, Duration::from_secs(600)).await;
    let scratch = tempfile::tempdir().unwrap();
    let pid_file = scratch.path().join("pid");
    let args = json!({"seconds": "600", "pid_file": pid_file});
    let pid = async {
        loop {
            match std::fs::read_to_string(&pid_file) {
                Ok(pid) if pid.ends_with('\n') => return pid.trim().to_owned(),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let pid = tokio::select! {
        pid = pid => pid,
        ended = call(&simulator, "golden", "hang", args) => panic!("{ended:?}"),
    };
    let running = || {
        // A zombie has been killed; the runtime collects it when it gets to it.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    };
    assert!(running());
    simulator.shutdown().unwrap();
    while running() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
