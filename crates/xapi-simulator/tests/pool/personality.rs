//! Old and new releases, as their clients see them.

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xapi_simulator::{Personality, Simulator, World};

use crate::client::Client;

async fn playing(personality: Personality) -> Simulator {
    Simulator::builder().world(World::demo()).personality(personality).build().await.unwrap()
}

/// What a call of a message ends with when its arguments are nonsense: whether the server has it.
async fn has(
    client: &mut Client<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>,
    method: &str,
) -> bool {
    match client.call(method, &[]).await {
        Err(error) => error["message"] != json!("MESSAGE_METHOD_UNKNOWN"),
        Ok(_) => true,
    }
}

#[tokio::test]
async fn messages_come_with_their_releases() {
    use Personality::{Xapi26, XcpNg82, XcpNg83, XenServer76};
    // Method and the first of the releases that has it.
    let table = [
        ("VM.migrate_send", XenServer76),
        ("VDI.enable_cbt", XenServer76),
        ("VDI.get_nbd_info", XenServer76),
        ("network.add_purpose", XenServer76),
        ("VM.get_NVRAM", XcpNg82),
        ("pool.get_uefi_certificates", XcpNg82),
        ("VTPM.create", XcpNg83),
        ("VTPM.get_all", XcpNg83),
        ("VM.get_groups", XcpNg83),
        ("Repository.get_all", XcpNg83),
        ("VDI.revert", Xapi26),
        ("VM.sysprep", Xapi26),
        ("VM.get_all_where", Xapi26),
    ];
    for personality in Personality::ALL.into_iter().skip(1) {
        let simulator = playing(personality).await;
        let mut client = Client::log_in(simulator.connect()).await;
        let listed = client.raw("system.listMethods", json!([])).await.unwrap();
        let listed: Vec<&str> =
            listed["result"].as_array().unwrap().iter().filter_map(Json::as_str).collect();
        for (method, first) in table {
            let expected = personality as usize >= first as usize;
            assert_eq!(has(&mut client, method).await, expected, "{method} of {personality}");
            assert_eq!(listed.contains(&method), expected, "{method} in the list of {personality}");
        }
    }
}

#[tokio::test]
async fn records_hold_what_the_release_has() {
    for (personality, product, minor, fields) in [
        (Personality::XenServer76, "XenServer 7.6.0", 11, [true, false, false, false]),
        (Personality::XcpNg82, "XCP-ng 8.2.1", 16, [true, true, false, false]),
        (Personality::XcpNg83, "XCP-ng 8.3.0", 21, [true, true, true, false]),
        (Personality::Xapi26, "XenServer 8.4.0", 23, [true, true, true, true]),
    ] {
        let simulator = playing(personality).await;
        let mut client = Client::log_in(simulator.connect()).await;
        let vms = client.call("VM.get_all_records", &[]).await.unwrap();
        for vm in vms.as_object().unwrap().values() {
            let names = ["domain_type", "NVRAM", "groups", "secureboot_certificates_state"];
            assert_eq!(names.map(|name| vm.get(name).is_some()), fields, "{personality}");
        }
        let hosts = client.call("host.get_all_records", &[]).await.unwrap();
        let host = hosts.as_object().unwrap().values().next().unwrap();
        let version = |key: &str| host["software_version"][key].as_str().unwrap().to_owned();
        assert_eq!(format!("{} {}", version("product_brand"), version("product_version")), product);
        assert_eq!(host["API_version_minor"], json!(minor), "{personality}");
        let events = client.call("event.from", &[json!(["*"]), json!(""), json!(0.0)]).await.unwrap();
        let classes = events["valid_ref_counts"].as_object().unwrap();
        assert_eq!(classes.contains_key("vtpm"), fields[2], "{personality}");
    }
}

#[tokio::test]
async fn later_operations_and_parameters_are_unknown() {
    for (personality, is_later) in [(Personality::XenServer70, false), (Personality::XenServer76, true)] {
        let simulator = playing(personality).await;
        let text = xml_call(&simulator, "session.login_with_password", &["root", "xapi-test"]).await;
        let session = text.split("OpaqueRef:").nth(1).unwrap()[..36].to_owned();
        let session = format!("OpaqueRef:{session}");
        let srs = xml_call(&simulator, "SR.get_all_records", &[&session]).await;
        assert!(srs.contains("vdi_snapshot"), "{srs}");
        assert_eq!(srs.contains("vdi_enable_cbt"), is_later, "{personality}: {srs}");
        // The seventh parameter, a map of GPUs, came with 7.3.
        let arguments = [&session, "OpaqueRef:a", "b", "c", "d", "e", "f", "g"];
        let refused = xml_call(&simulator, "VM.migrate_send", &arguments).await;
        assert_eq!(refused.contains("MESSAGE_PARAMETER_COUNT_MISMATCH"), !is_later, "{refused}");
    }
}

#[tokio::test]
async fn the_oldest_takes_json_for_broken_xml() {
    let simulator = playing(Personality::XenServer70).await;
    let answer = post(&simulator, "/jsonrpc", r#"{"method":"system.listMethods","params":[],"id":1}"#).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("text/xml") && answer.contains("INTERNAL_ERROR"), "{answer}");
}

async fn xml_call(simulator: &Simulator, method: &str, arguments: &[&str]) -> String {
    let params: String = arguments
        .iter()
        .map(|text| format!("<param><value><string>{text}</string></value></param>"))
        .collect();
    let body = format!(
        "<?xml version=\"1.0\"?><methodCall><methodName>{method}</methodName><params>{params}</params></methodCall>"
    );
    post(simulator, "/", &body).await
}

async fn post(simulator: &Simulator, path: &str, body: &str) -> String {
    let mut stream = simulator.connect();
    let head = format!("POST {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
