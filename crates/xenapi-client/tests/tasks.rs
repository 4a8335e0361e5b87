//! Tasks and waiting, with everything that a host does on the way.

mod support;

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_core::Stream;
use support::{Peer, client, config, in_process, session_calls, text};
use tokio::sync::watch;
use xenapi_client::{Client, ErrorKind, Task};
use xenapi_types::{Vm, VmPowerState};
use xenapi_wire::{Failure, Ref, Value};

type Script = Arc<Mutex<dyn FnMut(&str, &[Value]) -> Act + Send>>;

enum Act {
    Answer(Result<Value, Failure>),
    /// Close the connection without an answer.
    Cut,
}

fn host(script: impl FnMut(&str, &[Value]) -> Act + Send + 'static) -> Client {
    let script: Script = Arc::new(Mutex::new(script));
    let connector = in_process(move |mut peer: Peer, _| {
        let script = Arc::clone(&script);
        async move {
            while let Some(head) = peer.head().await {
                let body = peer.body(&head).await;
                let call = xenapi_wire::jsonrpc::decode_call(&body, &xenapi_wire::Limits::REQUEST).unwrap();
                let act = match session_calls(&call.method) {
                    Some(answer) => Act::Answer(answer),
                    None => script.lock().unwrap()(&call.method, &call.params),
                };
                let Act::Answer(answer) = act else { return };
                let text = xenapi_wire::jsonrpc::encode_response(call.version, &call.id, answer.as_ref());
                peer.answer("200 OK", "application/json", text.unwrap()).await;
            }
        }
    });
    Client::over(config(), connector).unwrap()
}

fn record(fields: &[(&str, Value)]) -> Value {
    Value::Struct(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

fn task(status: &str, progress: f64, result: &str, error: &[&str]) -> Result<Value, Failure> {
    Ok(record(&[
        ("status", text(status)),
        ("progress", Value::Double(progress)),
        ("result", text(result)),
        ("error_info", Value::Array(error.iter().map(|e| text(e)).collect())),
    ]))
}

fn no_events() -> Act {
    Act::Answer(Ok(record(&[("events", Value::Array(Vec::new())), ("token", text("1,1"))])))
}

/// A host with one task, which goes through `states`, one at each look.
fn host_with_task(
    states: Vec<Result<Value, Failure>>,
    events: impl Fn() -> Act + Send + 'static,
) -> (Client, Arc<Mutex<Vec<String>>>) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&log);
    let mut states = states.into_iter();
    let client = host(move |method, _| {
        log.lock().unwrap().push(method.to_owned());
        match method {
            "Async.VM.clone" => Act::Answer(Ok(text("OpaqueRef:task"))),
            "task.get_record" => Act::Answer(states.next().expect("no more looks were expected")),
            "event.from" => events(),
            "task.destroy" | "task.cancel" => Act::Answer(Ok(text(""))),
            other => panic!("unexpected call {other}"),
        }
    });
    (client, seen)
}

async fn clone_vm(client: &Client) -> Task<Ref<Vm>> {
    client.spawn_task_of("VM.clone", &("OpaqueRef:vm", "name")).await.unwrap()
}

#[tokio::test]
async fn the_status_ends_a_task_and_not_its_progress() {
    let states = vec![
        task("pending", 0.0, "", &[]),
        task("pending", 1.0, "<value>half writ", &[]),
        task("success", 1.0, "<value>OpaqueRef:copy</value>", &[]),
    ];
    let (client, log) = host_with_task(states, no_events);
    let mut told = Vec::new();
    let copy = clone_vm(&client).await.wait_with(|progress| told.push(progress)).await.unwrap();
    assert_eq!(copy.to_string(), "OpaqueRef:copy");
    assert_eq!(told, [0.0, 1.0]);
    assert_eq!(log.lock().unwrap().last().unwrap(), "task.destroy");
}

#[tokio::test]
async fn failures_and_cancellations() {
    let (client, _) = host_with_task(vec![task("failure", 1.0, "", &["VM_BAD_POWER_STATE", "r"])], no_events);
    let error = clone_vm(&client).await.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failure);
    assert!(error.is("VM_BAD_POWER_STATE") && error.to_string().contains("Async.VM.clone"), "{error}");

    let states = vec![
        task("pending", 0.0, "", &[]),
        task("cancelled", 1.0, "", &["TASK_CANCELLED", "OpaqueRef:task"]),
    ];
    let (client, log) = host_with_task(states, no_events);
    let running = clone_vm(&client).await;
    running.cancel().await.unwrap();
    let error = running.wait().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert!(log.lock().unwrap().contains(&"task.cancel".to_owned()));
}

#[tokio::test]
async fn a_copy_that_was_cancelled_fails_in_its_own_way() {
    let states = || {
        let failed = task("failure", 1.0, "", &["VDI_COPY_FAILED", "Task was asked to cancel"]);
        vec![task("pending", 0.5, "", &[]), failed]
    };
    let (client, _) = host_with_task(states(), no_events);
    let copying = clone_vm(&client).await;
    let canceller = copying.canceller();
    canceller.cancel().await.unwrap();
    let error = copying.wait().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert!(error.is("VDI_COPY_FAILED"), "{error}");

    let (client, _) = host_with_task(states(), no_events);
    let error = clone_vm(&client).await.wait().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failure, "nobody has cancelled it: {error}");
}

#[tokio::test]
async fn progress_only_goes_forward() {
    let mut states: Vec<_> = [0.1, 0.5, 0.3, 0.5, 1.0].map(|at| task("pending", at, "", &[])).into();
    states.push(task("failure", 1.0, "", &["INTERNAL_ERROR", "x"]));
    let (client, _) = host_with_task(states, no_events);
    let mut progress = clone_vm(&client).await.progress();
    let mut told = Vec::new();
    while let Some(now) = std::future::poll_fn(|cx| Pin::new(&mut progress).poll_next(cx)).await {
        told.push(now);
    }
    assert_eq!(told, [0.1, 0.5, 1.0]);
}

/// A host whose tasks all succeed when `done` is told, of which only its events tell.
fn host_with_tasks(done: watch::Receiver<bool>, log: Arc<Mutex<Vec<String>>>) -> (Client, Arc<AtomicUsize>) {
    let (waits, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let started = Arc::new(AtomicUsize::new(0));
    let connector = in_process(move |mut peer: Peer, _| {
        let (mut done, log, started) = (done.clone(), Arc::clone(&log), Arc::clone(&started));
        let (waits, most) = (Arc::clone(&waits), Arc::clone(&most));
        async move {
            while let Some(head) = peer.head().await {
                let body = peer.body(&head).await;
                let call = xenapi_wire::jsonrpc::decode_call(&body, &xenapi_wire::Limits::REQUEST).unwrap();
                log.lock().unwrap().push(call.method.clone());
                let waiting = call.method == "event.from" && call.params[2] == text("1,1");
                if waiting {
                    most.fetch_max(waits.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    done.wait_for(|done| *done).await.unwrap();
                    waits.fetch_sub(1, Ordering::SeqCst);
                }
                let ended = (0..started.load(Ordering::SeqCst)).map(|number| {
                    record(&[
                        ("class", text("task")),
                        ("operation", text("mod")),
                        ("ref", text(&format!("OpaqueRef:task{number}"))),
                        ("snapshot", task("success", 1.0, "<value>OpaqueRef:copy</value>", &[]).unwrap()),
                    ])
                });
                let answer = session_calls(&call.method).unwrap_or_else(|| match &*call.method {
                    "Async.VM.clone" => {
                        Ok(text(&format!("OpaqueRef:task{}", started.fetch_add(1, Ordering::SeqCst))))
                    }
                    "task.get_record" => task("pending", 0.0, "", &[]),
                    "event.from" if waiting => {
                        Ok(record(&[("events", Value::Array(ended.collect())), ("token", text("2,2"))]))
                    }
                    "event.from" => {
                        Ok(record(&[("events", Value::Array(Vec::new())), ("token", text("1,1"))]))
                    }
                    _ => Ok(text("")),
                });
                let answer = xenapi_wire::jsonrpc::encode_response(call.version, &call.id, answer.as_ref());
                peer.answer("200 OK", "application/json", answer.unwrap()).await;
            }
        }
    });
    (Client::over(config(), connector).unwrap(), seen)
}

#[tokio::test]
async fn all_tasks_share_one_wait_for_events() {
    const TASKS: usize = 20;
    let (done, is_done) = watch::channel(false);
    let log = Arc::new(Mutex::new(Vec::new()));
    let (client, most_waits) = host_with_tasks(is_done, Arc::clone(&log));
    let count = |method: &str| log.lock().unwrap().iter().filter(|called| *called == method).count();
    let mut waits = Vec::new();
    for _ in 0..TASKS {
        waits.push(tokio::spawn(clone_vm(&client).await.wait()));
    }
    while count("task.get_record") < TASKS || most_waits.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    done.send(true).unwrap();
    for wait in waits {
        assert_eq!(wait.await.unwrap().unwrap().to_string(), "OpaqueRef:copy");
    }
    assert_eq!(most_waits.load(Ordering::SeqCst), 1);
    let looks = count("task.get_record");
    assert!(looks <= 2 * TASKS, "{looks}: one before, and one for those who wait when the events begin");
    assert_eq!(count("task.destroy"), TASKS);
}

#[tokio::test]
async fn a_task_that_vanishes_has_an_unknown_outcome() {
    let gone = Err(Failure::new("HANDLE_INVALID", ["task", "OpaqueRef:task"]));
    let (client, _) = host_with_task(vec![task("pending", 0.0, "", &[]), gone], no_events);
    let error = clone_vm(&client).await.wait().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    assert!(error.to_string().contains("toolstack"), "{error}");
}

#[tokio::test]
async fn an_unreadable_result_is_no_success() {
    let (client, _) = host_with_task(vec![task("success", 1.0, "<value><array>", &[])], no_events);
    let error = clone_vm(&client).await.wait().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
}

#[tokio::test]
async fn hosts_without_event_from_are_polled() {
    let states = vec![
        task("pending", 0.0, "", &[]),
        task("pending", 0.5, "", &[]),
        task("success", 1.0, "<value>r</value>", &[]),
    ];
    let (client, _) =
        host_with_task(states, || Act::Answer(Err(Failure::new("MESSAGE_METHOD_UNKNOWN", ["event.from"]))));
    clone_vm(&client).await.wait().await.unwrap();
}

#[tokio::test]
async fn lost_events_and_refused_tokens_begin_anew() {
    for code in ["EVENTS_LOST", "EVENT_FROM_TOKEN_PARSE_FAILURE"] {
        let states = vec![task("pending", 0.0, "", &[]), task("success", 1.0, "<value>r</value>", &[])];
        let (client, _) = host_with_task(states, move || Act::Answer(Err(Failure::new(code, ["1,1"]))));
        clone_vm(&client).await.wait().await.unwrap();
    }
}

#[tokio::test]
async fn a_short_outage_while_waiting_is_put_up_with() {
    let mut cuts = 3;
    let client = host(move |method, _| match method {
        "Async.VM.clone" => Act::Answer(Ok(text("OpaqueRef:task"))),
        "task.destroy" => Act::Answer(Ok(text(""))),
        "event.from" => no_events(),
        _ if cuts > 0 => {
            cuts -= 1;
            Act::Cut
        }
        "task.get_record" => Act::Answer(task("success", 1.0, "<value>OpaqueRef:copy</value>", &[])),
        other => panic!("unexpected call {other}"),
    });
    assert_eq!(clone_vm(&client).await.wait().await.unwrap().to_string(), "OpaqueRef:copy");
}

#[tokio::test]
async fn a_host_that_stays_away_leaves_the_outcome_unknown() {
    let client = host(|method, _| match method {
        "Async.VM.clone" => Act::Answer(Ok(text("OpaqueRef:task"))),
        _ => Act::Cut,
    });
    let error = clone_vm(&client).await.wait().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
}

#[tokio::test]
async fn waiting_for_a_state() {
    let states = Arc::new(Mutex::new(vec!["Running", "Running", "Halted"].into_iter()));
    let client = host(move |method, _| match method {
        "event.from" => no_events(),
        _ => Act::Answer(match states.lock().unwrap().next() {
            Some(state) => Ok(record(&[("power_state", text(state))])),
            None => Err(Failure::new("HANDLE_INVALID", ["VM", "OpaqueRef:vm"])),
        }),
    });
    let vm: Ref<Vm> = "OpaqueRef:vm".into();
    let halted = |vm: &xenapi_types::VmRecord| vm.power_state == VmPowerState::Halted;
    let record = client.wait_until(&vm, Duration::from_secs(5), halted).await.unwrap();
    assert_eq!(record.power_state, VmPowerState::Halted);
    let error = client.wait_until(&vm, Duration::from_secs(5), halted).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn patience_ends() {
    let client = client(|mut peer, _| async move {
        while let Some(head) = peer.head().await {
            let waits = {
                let mut waits = false;
                peer.answer_call(&head, |method, _| {
                    waits = method == "event.from";
                    session_calls(method).unwrap_or_else(|| match method {
                        "event.from" => {
                            Ok(record(&[("events", Value::Array(Vec::new())), ("token", text("1,1"))]))
                        }
                        _ => Ok(record(&[("power_state", text("Running"))])),
                    })
                })
                .await;
                waits
            };
            if waits {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    let vm: Ref<Vm> = "OpaqueRef:vm".into();
    let error = client.wait_until(&vm, Duration::from_millis(300), |_| false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("VM OpaqueRef:vm"), "{error}");
}
