//! Faults on demand, at methods and at handlers.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xapi_simulator::Simulator;
use xapi_simulator::fault::Fault;
use xenapi_wire::Failure;

use crate::client::Client;
use crate::pool;

#[tokio::test]
async fn each_fault_strikes_once() {
    let simulator = pool().await;
    let url = simulator.listen("127.0.0.1:0").await.unwrap();
    let address = url.strip_prefix("http://").unwrap();
    let connect = || async { Client::log_in(TcpStream::connect(address).await.unwrap()).await };
    let mut client = connect().await;
    let create = [json!("label"), json!("")];
    let tasks = |simulator: &Simulator| simulator.core().db().read(|view| view.count("task"));

    let failure = Failure::new("TOO_BUSY", ["never"]);
    simulator.faults().on_nth("task.create", 2, Fault::Failure(failure));
    assert!(client.call("task.create", &create).await.is_ok());
    let error = client.call("task.create", &create).await.unwrap_err();
    assert_eq!((&error["message"], &error["data"]), (&json!("TOO_BUSY"), &json!(["never"])));
    assert!(client.call("task.create", &create).await.is_ok());
    assert_eq!(tasks(&simulator), 2);

    let cuts = [Fault::DropAfterExecution, Fault::DropAfterBytes(40), Fault::DropHalfway];
    for (fault, done) in [(Fault::DropBefore, 0)].into_iter().chain(cuts.map(|cut| (cut, 1))) {
        let before = tasks(&simulator);
        simulator.faults().on("task.create", fault.clone());
        let params = json!([client.session, "label", ""]);
        assert_eq!(client.raw("task.create", params).await, None, "{fault:?}");
        assert_eq!(tasks(&simulator) - before, done, "{fault:?}");
        client = connect().await;
    }

    simulator.faults().on("task.create", Fault::SessionExpired);
    let error = client.call("task.create", &create).await.unwrap_err();
    assert_eq!((&error["message"], &error["data"]), (&json!("SESSION_INVALID"), &json!([client.session])));
    let error = client.call("task.create", &create).await.unwrap_err();
    assert_eq!(error["message"], "SESSION_INVALID", "the session is gone for good");

    let mut client = connect().await;
    simulator.faults().on("task.create", Fault::Slow(Duration::from_millis(120)));
    let begun = Instant::now();
    assert!(client.call("task.create", &create).await.is_ok());
    assert!(begun.elapsed() >= Duration::from_millis(120));

    simulator.faults().on("task.create", Fault::Hang);
    let params = json!([client.session, "label", ""]);
    let answer = tokio::time::timeout(Duration::from_millis(100), client.raw("task.create", params)).await;
    assert!(answer.is_err(), "no answer and no end: {answer:?}");
    assert_eq!(simulator.faults().clear(), 0);
}

#[tokio::test]
async fn a_lasting_fault_strikes_until_it_is_cleared() {
    let simulator = pool().await;
    let mut client = Client::log_in(simulator.connect()).await;
    simulator.faults().on_every("*", Fault::Failure(Failure::new("TOO_BUSY", [""; 0])));
    for method in ["host.get_all", "host.get_all", "VM.get_all"] {
        assert_eq!(client.call(method, &[]).await.unwrap_err()["message"], "TOO_BUSY", "{method}");
    }
    assert_eq!(simulator.faults().clear(), 0, "it has struck");
    assert!(client.call("host.get_all", &[]).await.is_ok());
    simulator.faults().on_every("VM.get_all", Fault::DropBefore);
    assert_eq!(simulator.faults().clear(), 1, "it has not");
}

/// A disk of 2 MiB and somebody who transfers it.
struct Bench {
    simulator: Simulator,
    client: Client<TcpStream>,
    address: String,
    vdi: String,
}

const SIZE: usize = 2 << 20;

/// An answer: the status, and how much of the body came.
#[derive(Debug, PartialEq)]
struct Transferred {
    status: u16,
    body: usize,
}

impl Bench {
    async fn new() -> Self {
        let simulator = pool().await;
        let url = simulator.listen("127.0.0.1:0").await.unwrap();
        let address = url.strip_prefix("http://").unwrap().to_owned();
        let mut client = Client::log_in(TcpStream::connect(&address).await.unwrap()).await;
        let sr = client.call("SR.get_by_name_label", &[json!("Local storage")]).await.unwrap()[0].clone();
        let disk = json!({"SR": sr, "virtual_size": SIZE.to_string(), "type": "user", "sharable": false,
            "read_only": false, "other_config": {}, "name_label": "", "name_description": ""});
        let vdi = client.call("VDI.create", &[disk]).await.unwrap().as_str().unwrap().to_owned();
        Self { simulator, client, address, vdi }
    }

    /// Sends a request and reads until the end; nothing when there is no answer.
    async fn transfer(&mut self, verb: &str, path: &str, body: &[u8]) -> Option<Transferred> {
        let (session, vdi) = (&self.client.session, &self.vdi);
        let head = format!(
            "{verb} {path}?session_id={session}&vdi={vdi}&format=raw HTTP/1.1\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        // A reset keeps what came before.
        let mut chunk = vec![0; 64 << 10];
        while let Ok(len @ 1..) = stream.read(&mut chunk).await {
            answer.extend_from_slice(&chunk[..len]);
        }
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
        let status = String::from_utf8_lossy(&answer[9..12]).parse().ok()?;
        Some(Transferred { status, body: answer.len() - end - 4 })
    }

    async fn import(&mut self) -> Option<Transferred> {
        self.transfer("PUT", "/import_raw_vdi", &vec![7; SIZE]).await
    }

    async fn export(&mut self) -> Option<Transferred> {
        self.transfer("GET", "/export_raw_vdi", &[]).await
    }
}

#[tokio::test]
async fn handlers_fail_on_demand() {
    let mut bench = Bench::new().await;
    let whole = Some(Transferred { status: 200, body: SIZE });
    assert_eq!(bench.import().await, Some(Transferred { status: 200, body: 0 }));
    assert_eq!(bench.export().await, whole);

    for path in ["/import_raw_vdi", "/export_raw_vdi"] {
        let fail = Fault::Failure(Failure::new("TOO_BUSY", [""; 0]));
        for (fault, status) in [(Fault::DropBefore, None), (fail, Some(500))] {
            bench.simulator.faults().on(path, fault.clone());
            let answer = if path == "/import_raw_vdi" { bench.import().await } else { bench.export().await };
            assert_eq!(answer.map(|answer| answer.status), status, "{path} {fault:?}");
        }
    }

    bench.simulator.faults().on("/export_raw_vdi", Fault::DropAfterBytes(100_000));
    let cut = bench.export().await.unwrap();
    assert!(cut.status == 200 && (99_000..100_000).contains(&cut.body), "{cut:?}, the head counts");
    bench.simulator.faults().on_nth("/export_raw_vdi", 2, Fault::Slow(Duration::from_millis(150)));
    assert_eq!(bench.export().await, whole);
    let begun = Instant::now();
    assert_eq!(bench.export().await, whole);
    assert!(begun.elapsed() >= Duration::from_millis(150));

    bench.simulator.faults().on("/export_raw_vdi", Fault::Hang);
    let answer = tokio::time::timeout(Duration::from_millis(150), bench.export()).await;
    assert!(answer.is_err(), "no answer and no end: {answer:?}");

    bench.simulator.faults().on("/export_raw_vdi", Fault::SessionExpired);
    assert_eq!(bench.export().await.unwrap().status, 401);
    assert_eq!(bench.client.call("host.get_all", &[]).await.unwrap_err()["message"], "SESSION_INVALID");
    assert_eq!(bench.simulator.faults().clear(), 0);
}

#[tokio::test]
async fn the_server_restarts_at_a_call() {
    let simulator = pool().await;
    let tasks = || simulator.core().db().read(|view| view.count("task"));
    for fault in [Fault::Restart, Fault::RestartAfter] {
        let mut client = Client::log_in(simulator.connect()).await;
        let vm = client.call("VM.get_all", &[]).await.unwrap()[0].clone();
        client.call("task.create", &[json!("label"), json!("")]).await.unwrap();
        simulator.faults().on("VM.set_name_label", fault.clone());
        let params = json!([client.session, vm, format!("{fault:?}")]);
        assert_eq!(client.raw("VM.set_name_label", params).await, None, "{fault:?}");
        assert_eq!((simulator.count_of_sessions(), tasks()), (0, 0), "{fault:?}");
        let mut client = Client::log_in(simulator.connect()).await;
        let name = client.call("VM.get_name_label", &[vm]).await.unwrap();
        assert_eq!(name == format!("{fault:?}"), fault == Fault::RestartAfter, "{fault:?}: {name}");
    }
}

#[tokio::test]
async fn another_host_becomes_the_master_at_a_call() {
    let world = xapi_simulator::World::demo().with_hosts(2);
    let simulator = Simulator::builder().world(world).build().await.unwrap();
    let mut client = Client::log_in(simulator.connect()).await;
    let hosts = client.call("host.get_all_records", &[]).await.unwrap();
    let pools = client.call("pool.get_all_records", &[]).await.unwrap();
    let before = pools.as_object().unwrap().values().next().unwrap()["master"].clone();
    let before = hosts[before.as_str().unwrap()]["address"].as_str().unwrap();
    simulator.faults().on("VM.get_all", Fault::OtherMaster);
    assert_eq!(client.raw("VM.get_all", json!([client.session])).await, None);
    let mut former = Client { stream: simulator.connect_to(before), session: String::new() };
    let answer = former.raw("session.login_with_password", json!(["root", "xapi-test"])).await.unwrap();
    assert_eq!(answer["error"]["message"], "HOST_IS_SLAVE");
    let named = answer["error"]["data"][0].as_str().unwrap();
    assert_ne!(named, before);
    let mut client = Client::log_in(simulator.connect_to(named)).await;
    assert!(client.call("VM.get_all", &[]).await.is_ok());
}

#[tokio::test]
async fn a_call_fails_after_its_work() {
    let simulator = pool().await;
    let mut client = Client::log_in(simulator.connect()).await;
    let failure = Failure::new("XENAPI_PLUGIN_FAILURE", ["signal: SIGKILL", "", ""]);
    simulator.faults().on("task.create", Fault::FailureAfter(failure));
    let error = client.call("task.create", &[json!("label"), json!("")]).await.unwrap_err();
    assert_eq!(error["message"], "XENAPI_PLUGIN_FAILURE");
    assert_eq!(simulator.core().db().read(|view| view.count("task")), 1);
}
