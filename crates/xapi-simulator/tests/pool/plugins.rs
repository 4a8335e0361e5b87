//! Plugins that do not end by themselves, and extensions.

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

/// A program in a directory of its own.
fn script(directory: &Path, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

const VALUE: &str = "<methodResponse><params><param><value><struct><member><name>Status</name><value>Success</value>\
    </member><member><name>Value</name><value>turned</value></member></struct></value></param></params>\
    </methodResponse>";

#[tokio::test]
async fn extensions_add_methods() {
    let directory = tempfile::tempdir().unwrap();
    let seen = directory.path().join("seen");
    script(
        directory.path(),
        "Widget.turn",
        &format!("cat > {}; echo \"$1\" >&2\necho '{VALUE}'", seen.display()),
    );
    let failure = VALUE.replace("Success", "Failure").replace("Value<", "ErrorDescription<");
    let list = "<value><array><data><value>WIDGET_STUCK</value><value>left</value></data></array></value>";
    let failure = failure.replace("<value>turned</value>", list);
    script(directory.path(), "Widget.fail", &format!("echo '{failure}'"));
    script(directory.path(), "Widget.die", "echo out; echo err >&2; exit 3");
    script(directory.path(), "Widget.mumble", "echo nonsense");
    let config = Config { extensions: Some(directory.path().to_owned()), ..Config::default() };
    let simulator = Simulator::builder().world(World::demo()).config(config).build().await.unwrap();
    let mut client = Client::log_in(simulator.connect()).await;
    let host = client.call("host.get_all", &[]).await.unwrap()[0].clone();
    let pool = client.call("pool.get_all", &[]).await.unwrap()[0].clone();

    for (name, is_there) in [("Widget.turn", true), ("Widget.bend", false), ("../Widget.turn", false)] {
        let answer = client.call("host.has_extension", &[host.clone(), json!(name)]).await;
        assert_eq!(answer, Ok(json!(is_there)), "{name}");
        assert_eq!(
            client.call("pool.has_extension", &[pool.clone(), json!(name)]).await,
            Ok(json!(is_there))
        );
    }
    // As a method of the API: it gets the whole call.
    assert_eq!(client.call("Widget.turn", &[json!("left"), json!(3)]).await, Ok(json!("turned")));
    let call = std::fs::read_to_string(&seen).unwrap();
    for part in ["<methodName>Widget.turn</methodName>", &client.session, "left", "3"] {
        assert!(call.contains(part), "{part} in {call}");
    }
    // Wrapped in JSON.
    let wrapped = |method: &str| json!(json!({"method": method, "params": ["x"]}).to_string());
    let answer = client.call("host.call_extension", &[host.clone(), wrapped("Widget.turn")]).await;
    assert_eq!(answer, Ok(json!("\"turned\"")));
    assert!(std::fs::read_to_string(&seen).unwrap().contains("<value>x</value>"));

    let path = |name: &str| directory.path().join(name).display().to_string();
    for (name, expected) in [
        ("Widget.fail", vec!["WIDGET_STUCK".to_owned(), "left".to_owned()]),
        (
            "Widget.die",
            ["INTERNAL_ERROR", &path("Widget.die"), "non-zero exit", "out\n", "err\n"].map(Into::into).into(),
        ),
        ("Widget.bend", vec!["MESSAGE_METHOD_UNKNOWN".to_owned(), "Widget.bend".to_owned()]),
    ] {
        let wrapped = client.call("host.call_extension", &[host.clone(), wrapped(name)]).await.unwrap_err();
        let direct = client.call(name, &[]).await.unwrap_err();
        for error in [wrapped, direct] {
            let mut list = vec![error["message"].as_str().unwrap().to_owned()];
            list.extend(
                error["data"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()),
            );
            assert_eq!(list, expected);
        }
    }
    let error = client.call("Widget.mumble", &[]).await.unwrap_err();
    assert_eq!(error["data"][1], "failed to parse extension output");
    // Nobody else may even look.
    let answer = client.raw("Widget.turn", json!(["OpaqueRef:none"])).await.unwrap();
    assert_eq!(answer["error"]["message"], "SESSION_INVALID");
}
