//! The server ends and starts again; the hosts' network is slow.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::client::Client;
use crate::pool;

#[tokio::test]
async fn a_restart_takes_sessions_and_tasks_without_a_word() {
    let simulator = pool().await;
    let mut client = Client::log_in(simulator.connect()).await;
    let task = client.call("task.create", &[json!("before"), json!("")]).await.unwrap();
    let vm = client.call("VM.get_all", &[]).await.unwrap()[0].clone();
    let batch = client.call("event.from", &[json!(["task", "vm"]), json!(""), json!(0.0)]).await.unwrap();
    let token = batch["token"].clone();
    // One that waits when it happens.
    let mut waiting = Client { stream: simulator.connect(), session: client.session.clone() };
    waiting.send("event.from", json!([waiting.session, ["pool"], token, 60.0])).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    simulator.stop_toolstack();
    assert!(waiting.receive().await.is_none(), "the waiter is told nothing");
    let mut refused = Client { stream: simulator.connect(), session: String::new() };
    let mut byte = [0];
    assert_eq!(refused.stream.read(&mut byte).await.unwrap(), 0, "nobody listens");
    assert_eq!(client.stream.read(&mut byte).await.unwrap(), 0, "nobody listens any more");
    simulator.start_toolstack();

    let mut again = Client { stream: simulator.connect(), session: client.session.clone() };
    let error = again.call("VM.get_all", &[]).await.unwrap_err();
    assert_eq!(error["message"], "SESSION_INVALID");
    let mut client = Client::log_in(simulator.connect()).await;
    let gone = client.call("task.get_status", std::slice::from_ref(&task)).await.unwrap_err();
    assert_eq!(gone["message"], "HANDLE_INVALID");
    client.call("VM.set_name_label", &[vm.clone(), json!("renamed")]).await.unwrap();
    let news = client.call("event.from", &[json!(["task", "vm"]), token, json!(5.0)]).await.unwrap();
    let told: Vec<_> =
        news["events"].as_array().unwrap().iter().map(|e| (&e["ref"], &e["operation"])).collect();
    assert_eq!(told, [(&vm, &json!("mod"))], "no event tells of the end of {task}");
}

#[tokio::test]
async fn ports_reset_connections_while_the_server_is_down() {
    let simulator = pool().await;
    let url = simulator.listen("127.0.0.1:0").await.unwrap();
    let address = url.strip_prefix("http://").unwrap();
    simulator.stop_toolstack();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut byte = [0];
    assert!(!matches!(stream.read(&mut byte).await, Ok(1..)));
    simulator.start_toolstack();
    let mut client = Client::log_in(TcpStream::connect(address).await.unwrap()).await;
    assert!(client.call("host.get_all", &[]).await.is_ok());
}

#[tokio::test]
async fn clients_can_restart_it_too() {
    let simulator = pool().await;
    let mut client = Client::log_in(simulator.connect()).await;
    let host = client.call("host.get_all", &[]).await.unwrap()[0].clone();
    client.call("host.restart_agent", &[host]).await.unwrap();
    let mut byte = [0];
    assert_eq!(client.stream.read(&mut byte).await.unwrap(), 0, "the connection ends with the server");
    Client::log_in(simulator.connect()).await;
}

/// Only that the slow one takes as long as it must is asserted, never that anything is fast.
#[tokio::test]
async fn a_slow_link_takes_its_time() {
    let simulator = pool().await;
    let mut client = Client::log_in(simulator.connect()).await;
    let host = client.call("host.get_all", &[]).await.unwrap()[0].clone();
    let record = client.call("host.get_record", std::slice::from_ref(&host)).await.unwrap().to_string();
    simulator.link().set_bandwidth(Some(record.len() as u64));
    let begun = Instant::now();
    client.call("host.get_record", std::slice::from_ref(&host)).await.unwrap();
    assert!(begun.elapsed() > Duration::from_millis(900), "{:?}", begun.elapsed());
    simulator.link().set_bandwidth(None);
    simulator.link().set_latency(Duration::from_millis(200));
    let begun = Instant::now();
    client.call("host.get_uuid", &[host]).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn every_host_of_a_pool_listens() {
    let world = xapi_simulator::World::demo().with_hosts(3);
    let simulator = xapi_simulator::Simulator::builder().world(world).build().await.unwrap();
    let hosts = simulator.listen_pool("127.0.0.1:0").await.unwrap();
    let (_, port) = hosts[0].url.rsplit_once(':').unwrap();
    let urls: Vec<&str> = hosts.iter().map(|host| host.url.as_str()).collect();
    let expected = [1, 2, 3].map(|n| format!("http://127.0.0.{n}:{port}"));
    assert_eq!(urls, expected);
    for (n, url) in urls.iter().enumerate() {
        let stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
        let mut client = Client { stream, session: String::new() };
        let answer = client.raw("session.login_with_password", json!(["root", "xapi-test"])).await.unwrap();
        match n {
            0 => assert!(answer["result"].is_string(), "{answer}"),
            _ => assert_eq!(answer["error"]["message"], "HOST_IS_SLAVE"),
        }
    }
}
