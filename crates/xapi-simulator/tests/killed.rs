//! A simulator that is killed in the middle of its work starts again with everything that it said was done.

#![allow(missing_docs, unreachable_pub, reason = "a test is no library")]

#[path = "storage/client.rs"]
#[allow(dead_code, reason = "each test uses a part of this")]
mod client;
#[path = "storage/program.rs"]
mod program;

use client::Client;
use program::start;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MIB: usize = 1 << 20;

async fn create_disk(client: &Client, name: &str, size: usize) -> String {
    let sr = client.call("SR.get_by_name_label", [json!("Local storage")]).await[0].clone();
    let disk = json!({"SR": sr, "virtual_size": size.to_string(), "type": "user", "sharable": false,
        "read_only": false, "other_config": {}, "name_label": name, "name_description": ""});
    client.call("VDI.create", [disk]).await.as_str().unwrap().to_owned()
}

async fn records(client: &Client, class: &str) -> Value {
    client.call(&format!("{class}.get_all_records"), []).await
}

async fn export(client: &Client, vdi: &str) -> Vec<u8> {
    let mut body = Vec::new();
    let path = format!("/export_raw_vdi?vdi={vdi}&format=raw");
    client.download(&path, |bytes| body.extend_from_slice(bytes)).await;
    body
}

/// Bytes that differ from place to place.
fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i / 512) as u8 ^ seed).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_done_is_lost() {
    let state = tempfile::tempdir().unwrap();
    let (mut child, url) = start(state.path()).await;
    let client = Client::log_in(&url).await;
    let done = create_disk(&client, "done", 8 * MIB).await;
    let content = pattern(8 * MIB, 1);
    client.put(&format!("/import_raw_vdi?vdi={done}&format=raw"), &[&content]).await;
    let snapshot = client.call("VDI.snapshot", [json!(done)]).await.as_str().unwrap().to_owned();
    let after = pattern(2 * MIB, 77);
    client.put(&format!("/import_raw_vdi?vdi={done}&format=raw"), &[&after, &content[2 * MIB..]]).await;
    let doomed = create_disk(&client, "doomed", 64 * MIB).await;
    let known = records(&client, "VDI").await;

    // An upload that has begun to arrive, announced in the disk's operations and by a VBD of the control domain.
    let mut upload = client.begin_put(&format!("/import_raw_vdi?vdi={doomed}&format=raw"), 64 * MIB).await;
    let mut status = [0; 12];
    upload.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    upload.write_all(&pattern(20 * MIB, 5)).await.unwrap();
    let attached = records(&client, "VBD").await;
    assert!(attached.as_object().unwrap().values().any(|vbd| vbd["VDI"] == doomed.as_str()), "{attached}");
    child.kill().await.unwrap();

    let (_child, url) = start(state.path()).await;
    let client = Client::log_in(&url).await;
    let now = records(&client, "VDI").await;
    for vdi in [&done, &snapshot, &doomed] {
        for field in ["uuid", "name_label", "virtual_size", "snapshot_of"] {
            assert_eq!(now[vdi][field], known[vdi][field], "{field} of {vdi}");
        }
        assert_eq!(now[vdi]["current_operations"], json!({}));
        assert_eq!(now[vdi]["VBDs"], json!([]));
    }
    assert_eq!(records(&client, "task").await, json!({}));
    assert!(export(&client, &done).await == [after, content[2 * MIB..].to_vec()].concat());
    assert!(export(&client, &snapshot).await == content);
    // What was cut off can be done again, and undone.
    let again = pattern(64 * MIB, 9);
    client.put(&format!("/import_raw_vdi?vdi={doomed}&format=raw"), &[&again]).await;
    assert!(export(&client, &doomed).await == again);
    for vdi in [doomed, snapshot, done] {
        client.call("VDI.destroy", [json!(vdi)]).await;
    }
    assert_eq!(records(&client, "VDI").await, json!({}));
}
