//! Servers that repeat what they were told: nothing of it that is secret comes into an error.

mod support;

use std::collections::BTreeMap;

use support::{Peer, SESSION, calls, config, in_process, session_calls, simulated, text};
use xapi_simulator::fault::Fault;
use xenapi_client::{Client, Config, Encoding, Error};
use xenapi_types::{ConsoleProtocol, Host, Vm, pool, secret, sr};
use xenapi_wire::{Failure, Ref, Value};

const PASSWORD: &str = "hun\"t&er<7/'";

/// The error in all the ways in which it may be shown.
fn shown(error: &Error) -> String {
    let mut shown = format!("{error} {error:?}");
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        shown += &format!(" {error} {error:?}");
        source = error.source();
    }
    shown
}

#[tokio::test]
async fn a_page_with_the_log_in() {
    for encoding in [Encoding::JsonRpc, Encoding::XmlRpc] {
        let script = |mut peer: Peer, _| async move {
            while let Some(head) = peer.head().await {
                let call = String::from_utf8(peer.body(&head).await).unwrap();
                peer.answer("400 Bad Request", "text/html", format!("<h1>bad request</h1>{call}")).await;
            }
        };
        let config = Config::new("http://10.0.0.1", "root", PASSWORD).unwrap().encoding(encoding);
        let error = Client::over(config, in_process(script)).unwrap().login().await.unwrap_err();
        let shown = shown(&error);
        assert!(shown.contains("bad request") && shown.contains("(the password)"), "{encoding:?}: {shown}");
        assert!(!shown.contains("hun"), "{encoding:?}: {shown}");
    }
}

#[tokio::test]
async fn pages_with_the_cookie() {
    let script = |mut peer: Peer, _| async move {
        while let Some(head) = peer.head().await {
            if let Some(cookie) = head.header("cookie").map(str::to_owned) {
                peer.answer("400 Bad Request", "text/html", format!("<p>odd request: {cookie}</p>")).await;
                continue;
            }
            peer.answer_call(&head, |method, _| match method {
                "VM.get_consoles" => Ok(Value::Array(vec![text("OpaqueRef:c")])),
                "console.get_protocol" => Ok(text("rfb")),
                "host.get_uuid" => Ok(text("uuid")),
                "VM.get_resident_on" => Ok(text("OpaqueRef:h")),
                "console.get_VM" | "task.create" => Ok(text("OpaqueRef:x")),
                "pool.get_all_records" => {
                    let pool = Value::Struct([("master".to_owned(), text("OpaqueRef:h"))].into());
                    Ok(Value::Struct([("OpaqueRef:p".to_owned(), pool)].into()))
                }
                method => session_calls(method)
                    .unwrap_or_else(|| Err(Failure::new("MESSAGE_METHOD_UNKNOWN", [method]))),
            })
            .await;
        }
    };
    let client = Client::over(config(), in_process(script)).unwrap();
    let errors = [
        client.host_rrd(&Ref::<Host>::from("OpaqueRef:h")).await.map(drop).unwrap_err(),
        client.vm_console(&Ref::<Vm>::from("OpaqueRef:v"), ConsoleProtocol::Rfb).await.map(drop).unwrap_err(),
        client.export_database().await.map(drop).unwrap_err(),
    ];
    for error in errors {
        let shown = shown(&error);
        assert!(shown.contains("odd request: session_id=(this session)"), "{shown}");
        assert!(!shown.contains(SESSION), "{shown}");
    }
}

/// Passwords and other secrets that are parameters, of calls and of tasks.
#[tokio::test]
async fn failures_with_parameters() {
    for encoding in [Encoding::JsonRpc, Encoding::XmlRpc] {
        let repeat = |_: &str, params: &[Value]| {
            Err::<Value, _>(Failure::new("INTERNAL_ERROR", [format!("{params:?}")]))
        };
        let client = Client::over(config().encoding(encoding), in_process(calls(repeat))).unwrap();
        let join = pool::Join {
            master_address: "192.0.2.1".to_owned(),
            master_username: "root".to_owned(),
            master_password: PASSWORD.to_owned(),
        };
        let config = [("target", "192.0.2.7"), ("chappassword", PASSWORD)];
        let probe = sr::Probe {
            host: Ref::from("OpaqueRef:h"),
            device_config: config.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            r#type: "lvmoiscsi".to_owned(),
            sm_config: None,
        };
        let keep = secret::Create { value: PASSWORD.to_owned(), other_config: BTreeMap::new() };
        let args = BTreeMap::from([("password".to_owned(), PASSWORD.to_owned())]);
        let errors = [
            client.call(join.clone()).await.map(drop).unwrap_err(),
            client.call(probe).await.map(drop).unwrap_err(),
            client.call(keep).await.map(drop).unwrap_err(),
            client.spawn_task(join).await.map(drop).unwrap_err(),
            client.call_plugin(&Ref::from("OpaqueRef:h"), "p", "f", &args).await.unwrap_err(),
        ];
        for error in errors {
            let shown = shown(&error);
            assert!(shown.contains("(secret)") && !shown.contains("hun"), "{shown}");
        }
    }
}

#[tokio::test]
async fn a_task_that_fails_with_parameters() {
    let simulator = simulated::demo().await;
    let client = simulated::client(&simulator, |config| config);
    let failure = Failure::new("INTERNAL_ERROR", [format!("cannot log in with {PASSWORD}")]);
    simulator.faults().on("pool.join", Fault::Failure(failure));
    let join = pool::Join {
        master_address: "192.0.2.1".to_owned(),
        master_username: "root".to_owned(),
        master_password: PASSWORD.to_owned(),
    };
    let error = async { client.spawn_task(join).await?.wait().await }.await.unwrap_err();
    assert!(error.to_string().contains("cannot log in with (secret)"), "{error}");
    assert!(!shown(&error).contains("hun"), "{error:?}");
}
