//! The simulator as a library: connections, faults, time, sessions, events, plugins, restarts.

#![allow(missing_docs, unreachable_pub, reason = "a test is no library")]

mod client;
mod faults;
mod personality;
mod plugins;
mod toolstack;

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::Client;
use serde_json::json;
use tokio::net::TcpStream;
use xapi_simulator::clock::Clock;
use xapi_simulator::core::Config;
use xapi_simulator::{Simulator, World};

async fn pool() -> Simulator {
    Simulator::builder().world(World::demo()).build().await.unwrap()
}

#[tokio::test]
async fn a_connection_needs_no_port() {
    let simulator = pool().await;
    let mut client = Client::log_in(simulator.connect()).await;
    let hosts = client.call("host.get_all", &[]).await.unwrap();
    assert_eq!(hosts.as_array().unwrap().len(), 1);
    let error = client.call("VM.get_record", &[json!("OpaqueRef:x")]).await.unwrap_err();
    assert_eq!(
        (&error["message"], &error["data"]),
        (&json!("HANDLE_INVALID"), &json!(["VM", "OpaqueRef:x"]))
    );
}

#[tokio::test]
async fn tls_has_the_certificate_it_announces() {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use sha2::Digest;

    #[derive(Debug)]
    struct Pinned(String);
    impl ServerCertVerifier for Pinned {
        fn verify_server_cert(
            &self,
            certificate: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            let digest = sha2::Sha256::digest(certificate);
            let print: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
            assert_eq!(print.join(":"), self.0);
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
        }
    }

    let simulator = pool().await;
    let (url, fingerprint) = simulator.listen_tls("127.0.0.1:0").await.unwrap();
    let address = url.strip_prefix("https://").unwrap();
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned(fingerprint)))
            .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let mut client = Client::log_in(stream).await;
    assert!(client.call("pool.get_all", &[]).await.is_ok());
}

#[tokio::test]
async fn a_manual_clock_decides_what_time_it_is() {
    let clock = Clock::manual("2030-01-02T03:04:05Z".parse().unwrap());
    let config = Config { auth_delay: Duration::from_secs(3600), ..Config::default() };
    let builder = Simulator::builder().world(World::demo()).clock(clock).config(config);
    let simulator = builder.build().await.unwrap();
    let mut client = Client::log_in(simulator.connect()).await;
    let task = client.call("task.create", &[json!("a"), json!("")]).await.unwrap();
    assert_eq!(client.call("task.get_created", &[task]).await.unwrap(), "20300102T03:04:05Z");
    // A wrong password costs an hour of this clock, not of ours.
    client.send("session.login_with_password", json!(["root", "wrong"])).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    simulator.core().clock().advance(Duration::from_secs(3600));
    let answer = tokio::time::timeout(Duration::from_secs(5), client.receive()).await.unwrap().unwrap();
    assert_eq!(answer["error"]["message"], "SESSION_AUTHENTICATION_FAILED");
}

#[tokio::test]
async fn the_oldest_of_too_many_sessions_ends() {
    let simulator = pool().await;
    let mut first = Client::log_in(simulator.connect()).await;
    let mut second = Client::log_in(simulator.connect()).await;
    for _ in 0..499 {
        let answer = second.raw("session.login_with_password", json!(["root", "xapi-test"])).await.unwrap();
        assert!(answer["result"].is_string());
    }
    let error = first.call("pool.get_all", &[]).await.unwrap_err();
    assert_eq!(error["message"], "SESSION_INVALID");
    assert!(second.call("pool.get_all", &[]).await.is_ok());
    // Another originator has a count of its own.
    let answer =
        second.raw("session.login_with_password", json!(["root", "xapi-test", "1.0", "other"])).await;
    assert!(answer.unwrap()["result"].is_string());
    assert!(second.call("pool.get_all", &[]).await.is_ok());
}

#[tokio::test]
async fn waiters_hear_of_changes_at_once() {
    let simulator = pool().await;
    let mut client = Client::log_in(simulator.connect()).await;
    let pool = client.call("pool.get_all", &[]).await.unwrap()[0].clone();
    let token = client.call("event.inject", &[json!("pool"), pool.clone()]).await.unwrap();
    let batch = client.call("event.from", &[json!(["pool"]), token, json!(30.0)]).await.unwrap();
    assert_eq!(batch["events"].as_array().unwrap().len(), 1, "an injected event is one");
    let mut waiters = Vec::new();
    for _ in 0..20 {
        let mut waiter = Client::log_in(simulator.connect()).await;
        let token = batch["token"].clone();
        waiters.push(tokio::spawn(async move {
            waiter.call("event.from", &[json!(["pool"]), token, json!(30.0)]).await.unwrap()
        }));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    client.call("pool.set_name_label", &[pool, json!("renamed")]).await.unwrap();
    for waiter in waiters {
        let batch = waiter.await.unwrap();
        assert_eq!(batch["events"][0]["snapshot"]["name_label"], "renamed");
        assert_eq!(batch["events"][0]["operation"], "mod");
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_restarted_pool_has_its_objects_but_no_sessions() {
    let state = tempfile::tempdir().unwrap();
    let start = || Simulator::builder().world(World::demo()).state_dir(state.path()).build();
    let simulator = start().await.unwrap();
    let mut client = Client::log_in(simulator.connect()).await;
    let pool = client.call("pool.get_all", &[]).await.unwrap()[0].clone();
    client.call("pool.add_to_other_config", &[pool.clone(), json!("key"), json!("value")]).await.unwrap();
    let before = simulator.snapshot_of_objects();
    // Somebody waits for a long time: that is no reason to stay.
    let mut waiter = Client { stream: simulator.connect(), session: client.session.clone() };
    waiter.send("event.from", json!([client.session, ["VM"], "9999,9999", 3600.0])).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    simulator.shutdown().unwrap();
    drop(simulator);
    let simulator = start().await.unwrap();
    assert_eq!(simulator.snapshot_of_objects(), before);
    let refused = start().await.err().unwrap().to_string();
    assert!(refused.contains("is in use by another simulator"), "{refused}");
    let mut late = Client { stream: simulator.connect(), session: client.session };
    assert_eq!(late.call("pool.get_all", &[]).await.unwrap_err()["message"], "SESSION_INVALID");
    let mut client = Client::log_in(simulator.connect()).await;
    let config = client.call("pool.get_other_config", &[pool]).await.unwrap();
    assert_eq!(config["key"], "value");
}

#[tokio::test]
async fn an_asynchronous_call_outlives_its_connection() {
    let simulator = pool().await;
    let mut client = Client::log_in(simulator.connect()).await;
    let error = client.call("Async.VM.get_all", &[]).await.unwrap_err();
    assert_eq!(error["message"], "Fault");
    let task = client.call("Async.VM.destroy", &[json!("OpaqueRef:x")]).await.unwrap();
    let mut other = Client { stream: simulator.connect(), session: client.session.clone() };
    drop(client);
    loop {
        let record = other.call("task.get_record", std::slice::from_ref(&task)).await.unwrap();
        if record["status"] != "pending" {
            assert_eq!(record["status"], "failure");
            assert_eq!(record["error_info"], json!(["HANDLE_INVALID", "VM", "OpaqueRef:x"]));
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn finished_tasks_make_room_for_new_ones() {
    let simulator = pool().await;
    let mut client = Client::log_in(simulator.connect()).await;
    let first = client.call("task.create", &[json!("first"), json!("")]).await.unwrap();
    let second = client.call("task.create", &[json!("second"), json!("")]).await.unwrap();
    client.call("task.set_status", &[second.clone(), json!("success")]).await.unwrap();
    for _ in 0..199 {
        client.call("task.create", &[json!("more"), json!("")]).await.unwrap();
    }
    let error = client.call("task.get_record", &[second]).await.unwrap_err();
    assert_eq!(error["message"], "HANDLE_INVALID");
    assert!(client.call("task.get_record", &[first]).await.is_ok(), "pending tasks stay");
}

#[tokio::test]
async fn old_clients_are_told_too() {
    let simulator = pool().await;
    let mut client = Client::log_in(simulator.connect()).await;
    let error = client.call("event.next", &[]).await.unwrap_err();
    assert_eq!(error["message"], "SESSION_NOT_REGISTERED");
    assert!(error["data"][0].as_str().unwrap().starts_with("trackid="));
    client.call("event.register", &[json!(["pool", "task"])]).await.unwrap();
    let mut listener = Client { stream: simulator.connect(), session: client.session.clone() };
    let heard = tokio::spawn(async move { listener.call("event.next", &[]).await.unwrap() });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let task = client.call("task.create", &[json!("heard"), json!("")]).await.unwrap();
    let events = heard.await.unwrap();
    assert_eq!((&events[0]["class"], &events[0]["operation"]), (&json!("task"), &json!("add")));
    assert_eq!((&events[0]["ref"], &events[0]["snapshot"]["name_label"]), (&task, &json!("heard")));
    // What has been told is not told again.
    let mut listener = Client { stream: simulator.connect(), session: client.session.clone() };
    let heard = tokio::spawn(async move { listener.call("event.next", &[]).await.unwrap_err() });
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.call("session.logout", &[]).await.unwrap();
    assert_eq!(heard.await.unwrap()["message"], "SESSION_INVALID");
}

#[tokio::test]
async fn members_send_clients_to_the_master() {
    let simulator = Simulator::builder().world(World::demo().with_hosts(2)).build().await.unwrap();
    let mut client = Client::log_in(simulator.connect()).await;
    assert_eq!(client.call("host.get_all", &[]).await.unwrap().as_array().unwrap().len(), 2);
    let url = simulator.listen_as("demo-host-2", "127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    let mut member = Client { stream, session: client.session.clone() };
    let slave = json!({"code": 1, "message": "HOST_IS_SLAVE", "data": ["127.0.0.1"]});
    for method in ["host.get_all", "VM.nosuch", "session.logout"] {
        assert_eq!(member.call(method, &[]).await.unwrap_err(), slave, "{method}");
    }
    let answer = member.raw("session.login_with_password", json!(["root", "wrong"])).await.unwrap();
    assert_eq!(answer["error"], slave);
    let answer = member.raw("host.get_all", json!(["OpaqueRef:none"])).await.unwrap();
    assert_eq!(answer["error"]["message"], "SESSION_INVALID");
    let local = member.raw("session.slave_local_login_with_password", json!(["root", "xapi-test"])).await;
    let local = local.unwrap()["result"].clone();
    let answer = member.raw("host.get_all", json!([local])).await.unwrap();
    assert_eq!(answer["result"].as_array().unwrap().len(), 2);
    assert!(client.call("pool.get_all", &[]).await.is_ok());
    let unknown = simulator.listen_as("nobody", "127.0.0.1:0").await.unwrap_err().to_string();
    assert!(unknown.contains("nobody"), "{unknown}");
}

/// What has been done to the guest since goes, what has been done to the snapshot does not come.
#[tokio::test]
async fn a_reverted_guest_is_what_it_was() {
    let simulator = pool().await;
    let mut client = Client::log_in(simulator.connect()).await;
    let template = client.call("VM.get_by_name_label", &[json!("Other install media")]).await.unwrap();
    let vm = client.call("VM.clone", &[template[0].clone(), json!("guest")]).await.unwrap();
    client.call("VM.provision", std::slice::from_ref(&vm)).await.unwrap();
    client.call("VM.set_blocked_operations", &[vm.clone(), json!({"pause": "no"})]).await.unwrap();
    let before = client.call("VM.get_record", std::slice::from_ref(&vm)).await.unwrap();
    let snapshot = client.call("VM.snapshot", &[vm.clone(), json!("snapshot")]).await.unwrap();
    for object in [&vm, &snapshot] {
        for (field, value) in [
            ("name_label", json!("it's another's")),
            ("name_description", json!("other")),
            ("other_config", json!({"other": "yes"})),
            ("platform", json!({"other": "yes"})),
            ("actions_after_crash", json!("restart")),
            ("blocked_operations", json!({})),
            ("user_version", json!(7)),
        ] {
            client.call(&format!("VM.set_{field}"), &[object.clone(), value]).await.unwrap();
        }
    }
    client.call("VM.set_tags", &[vm.clone(), json!(["kept"])]).await.unwrap();
    client.call("VM.revert", &[snapshot]).await.unwrap();
    let after = client.call("VM.get_record", &[vm]).await.unwrap();
    let changes = ["tags", "parent", "snapshots", "generation_id", "metrics", "VIFs", "VBDs"];
    for (field, value) in before.as_object().unwrap() {
        if !changes.contains(&field.as_str()) {
            assert_eq!(&after[field], value, "{field}");
        }
    }
    assert_eq!(after["tags"], json!(["kept"]));
}
