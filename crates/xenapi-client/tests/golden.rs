//! Answers of a real server, given to the client as they were recorded.

mod support;

use std::collections::BTreeMap;

use support::{Peer, client, config, in_process, session_calls};
use testdata::Step;
use xenapi_client::{Client, Encoding, ErrorKind, ExportFormat, ImportFormat, Task};
use xenapi_wire::jsonrpc::Id;
use xenapi_wire::{Limits, Ref, Value, jsonrpc, xmlrpc};

/// A client whose every call, but for the session's, gets the recorded answer of one step.
fn replaying(step: &Step) -> Client {
    let json = step.transport == "jsonrpc2";
    let body = String::from_utf8(step.response.body()).unwrap();
    let content_type = if json { "application/json" } else { "text/xml" };
    let encoding = if json { Encoding::JsonRpc } else { Encoding::XmlRpc };
    let script = move |mut peer: Peer, _| {
        let body = body.clone();
        async move {
            while let Some(head) = peer.head().await {
                let request = peer.body(&head).await;
                let (method, id) = if json {
                    let call = jsonrpc::decode_call(&request, &Limits::REQUEST).unwrap();
                    (call.method, call.id)
                } else {
                    (xmlrpc::decode_call(&request, &Limits::REQUEST).unwrap().method, Id::Int(0))
                };
                let answer = match session_calls(&method) {
                    Some(answer) if json => {
                        jsonrpc::encode_response(jsonrpc::Version::V2, &id, answer.as_ref()).unwrap()
                    }
                    Some(answer) => xmlrpc::encode_response(answer.as_ref()).unwrap(),
                    // The answer to another client's request, but for its number.
                    None if json => format!("{}\"id\":{id}}}", &body[..body.rfind("\"id\":").unwrap()]),
                    None => body.clone(),
                };
                peer.answer("200 OK", content_type, answer).await;
            }
        }
    };
    Client::over(config().encoding(encoding), in_process(script)).unwrap()
}

/// The steps of a scenario that call `method`.
fn steps(scenario: &str, method: &str) -> Vec<Step> {
    let steps = testdata::scenario(scenario).steps;
    steps.into_iter().filter(|step| step.method_name.as_deref() == Some(method)).collect()
}

/// Those among them that were answered in XML-RPC.
fn xml_steps(scenario: &str, method: &str) -> Vec<Step> {
    let answered = |step: &Step| step.transport == "xmlrpc" && step.response.status == Some(200);
    steps(scenario, method).into_iter().filter(answered).collect()
}

#[tokio::test]
async fn every_batch_of_events_is_read() {
    let (mut batches, mut failures, mut snapshots) = (0, 0, 0);
    for scenario in ["events_from", "events_from_json"] {
        for step in steps(scenario, "event.from") {
            let answer = replaying(&step).events_from(&["*"], "", std::time::Duration::ZERO).await;
            match answer {
                Ok(batch) => {
                    batches += 1;
                    assert!(!batch.token.is_empty(), "{}", step.note);
                    snapshots += batch.events.iter().filter(|event| event.snapshot != Value::Nil).count();
                }
                Err(error) => {
                    failures += 1;
                    assert_eq!(error.kind(), ErrorKind::Failure, "{}: {error}", step.note);
                }
            }
        }
    }
    assert!(batches >= 60 && failures >= 8 && snapshots >= 200, "{batches} {failures} {snapshots}");
}

#[tokio::test]
async fn every_ended_task_gives_its_result_or_its_failure() {
    let (mut results, mut failures) = (0, 0);
    for scenario in ["tasks", "plugins", "vdi_ops"] {
        for step in xml_steps(scenario, "task.get_record") {
            let body = step.response.body();
            let Ok(record) = xmlrpc::decode_response::<Value>(&body, &Limits::RESPONSE).unwrap() else {
                continue;
            };
            let status = record.get("status").and_then(Value::as_str).unwrap().to_owned();
            if !["success", "failure", "cancelled"].contains(&status.as_str()) {
                continue;
            }
            let task = Task::<Value>::attach(&replaying(&step), Ref::NULL, step.note.clone());
            let told = record.get("error_info").and_then(Value::as_array).unwrap().to_vec();
            match task.wait().await {
                Ok(_) => {
                    results += 1;
                    assert_eq!(status, "success", "{}", step.note);
                }
                Err(error) => {
                    failures += 1;
                    assert_ne!(status, "success", "{}: {error}", step.note);
                    let code = error.failure().unwrap().code.as_str();
                    assert_eq!(Some(code), told.first().map_or(Some(""), Value::as_str), "{}", step.note);
                }
            }
        }
    }
    assert!(results >= 12 && failures >= 6, "{results} {failures}");
}

#[tokio::test]
async fn what_plugins_print_and_how_they_fail() {
    let (mut texts, mut failures) = (0, 0);
    for step in xml_steps("plugins", "host.call_plugin") {
        let body = step.response.body();
        let recorded = xmlrpc::decode_response::<Value>(&body, &Limits::RESPONSE).unwrap();
        let answer = replaying(&step).call_plugin(&Ref::NULL, "golden", "f", &BTreeMap::new()).await;
        match (recorded, answer) {
            (Ok(value), Ok(text)) => {
                texts += 1;
                assert_eq!(value.as_str(), Some(text.as_str()));
            }
            (Err(failure), Err(error)) => {
                assert_eq!(error.failure(), Some(&failure), "{}", step.note);
                let plugin = error.plugin_failure();
                assert_eq!(plugin.is_some(), failure.code == "XENAPI_PLUGIN_FAILURE");
                if let Some(plugin) = plugin {
                    failures += 1;
                    assert_eq!(
                        vec![&plugin.status, &plugin.stdout, &plugin.stderr],
                        [&failure.params[0], &failure.params[1], &failure.params[2]]
                    );
                }
                assert!(error.to_string().contains("plugin golden, function f"), "{error}");
            }
            (recorded, answer) => panic!("{}: {recorded:?} became {answer:?}", step.note),
        }
    }
    assert!(texts >= 5 && failures >= 8, "{texts} {failures}");
}

#[tokio::test]
async fn refused_log_ins() {
    let mut seen = 0;
    for step in steps("session_denied", "session.login_with_password") {
        if step.transport == "jsonrpc1" || step.response.body().windows(7).any(|w| w == b"Success") {
            continue;
        }
        let body = step.response.body();
        if step.transport == "jsonrpc2" && !body.windows(7).any(|w| w == b"\"error\"") {
            continue;
        }
        seen += 1;
        let json = step.transport == "jsonrpc2";
        let client = client(move |mut peer, _| {
            let body = String::from_utf8(body.clone()).unwrap();
            async move {
                while let Some(head) = peer.head().await {
                    peer.body(&head).await;
                    match (json, head.path()) {
                        (true, _) => peer.answer("200 OK", "application/json", &body).await,
                        (false, "/jsonrpc") => {
                            peer.answer("500 Internal Error", "text/html", "<html/>").await;
                        }
                        (false, _) => peer.answer("200 OK", "text/xml", &body).await,
                    }
                }
            }
        });
        let error = client.login().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Credentials, "{}: {error}", step.note);
    }
    assert!(seen >= 2, "{seen}");
}

/// The end of the task of a transfer that was recorded at `index`, as its record tells.
fn task_after(steps: &[Step], index: usize) -> Option<Value> {
    steps[index + 1..]
        .iter()
        .take_while(|step| step.transport != "http")
        .filter(|step| step.method_name.as_deref() == Some("task.get_record"))
        .find_map(|step| {
            xmlrpc::decode_response::<Value>(&step.response.body(), &Limits::RESPONSE).unwrap().ok()
        })
        .filter(|record| record.get("status").and_then(Value::as_str) != Some("pending"))
}

/// The recorded answer, as it was on the wire.
fn wire_bytes(step: &Step) -> Vec<u8> {
    let response = &step.response;
    let mut bytes =
        format!("HTTP/1.1 {} {}\r\n", response.status.unwrap(), response.reason.clone().unwrap_or_default());
    for (name, value) in &response.headers {
        bytes += &format!("{name}:{value}\r\n");
    }
    [bytes.as_bytes(), b"\r\n", response.body().as_slice()].concat()
}

#[tokio::test]
async fn every_transfer_ends_as_its_task_did() {
    let (mut good, mut bad) = (0, 0);
    for scenario in ["import_raw", "import_vhd", "export_vdi"] {
        let steps = testdata::scenario(scenario).steps;
        for (index, step) in steps.iter().enumerate() {
            let transfer = step.transport == "http" && step.response.status.is_some();
            let Some(task) = transfer.then(|| task_after(&steps, index)).flatten() else { continue };
            let (query, upload) = (step.request.path.clone(), step.request.method == "PUT");
            let body = step.request.body().unwrap_or_default();
            if upload && body.is_empty() {
                continue;
            }
            let answer = wire_bytes(step);
            let pool = support::pool::Pool::new();
            pool.with(|state| state.virtual_size = 0);
            let ended = task.clone();
            let client = pool.client(move |pool, mut peer: Peer, head, _| {
                let (answer, ended) = (answer.clone(), ended.clone());
                async move {
                    // The head at once, as it was; then the body is taken, whatever becomes of it.
                    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
                    peer.write(&answer[..end]).await;
                    peer.body(&head).await;
                    peer.write(&answer[end..]).await;
                    pool.with(|state| state.ended = Some(ended));
                }
            });
            let vhd = query.contains("format=vhd");
            let result = if upload {
                let format = if vhd { ImportFormat::Vhd } else { ImportFormat::Raw };
                let body = http_body_util::Full::new(bytes::Bytes::from(body));
                client.import_vdi(&support::pool::disk(), format, body).await.map(drop)
            } else {
                let format = if vhd { ExportFormat::Vhd } else { ExportFormat::Raw };
                match client.export_vdi(&support::pool::disk(), format, None).await {
                    Ok(export) => export.finish().await.map(drop),
                    Err(error) => Err(error),
                }
            };
            let status = task.get("status").and_then(Value::as_str).unwrap();
            match result {
                Ok(()) => {
                    good += 1;
                    assert_eq!(status, "success", "{scenario}: {}", step.note);
                }
                Err(error) => {
                    bad += 1;
                    assert_eq!(status, "failure", "{scenario}: {}: {error}", step.note);
                    let told = task.get("error_info").and_then(Value::as_array).unwrap();
                    assert_eq!(error.failure().map(|f| f.code.as_str()), told[0].as_str(), "{}", step.note);
                }
            }
        }
    }
    assert!(good >= 20 && bad >= 15, "{good} {bad}");
}
