//! Files that belong to objects, and the pool's database, against a simulated pool.

mod support;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use support::simulated;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xapi_simulator::Simulator;
use xapi_simulator::fault::Fault;
use xenapi_client::{Client, ErrorKind};
use xenapi_types::{Message, Pool, Task, blob, message, pool};
use xenapi_wire::{DateTime, Failure, Ref};

async fn bench() -> (Arc<Simulator>, Client) {
    let simulator = simulated::demo().await;
    let client = simulated::client(&simulator, |config| config);
    (simulator, client)
}

async fn new_blob(client: &Client, name: &str, public: bool) -> Ref<xenapi_types::Blob> {
    let pool = client.all::<Pool>().await.unwrap().remove(0);
    let (mime_type, public) = ("text/plain".to_owned(), Some(public));
    client.call(pool::CreateNewBlob { pool, name: name.to_owned(), mime_type, public }).await.unwrap()
}

/// What somebody without a name gets.
async fn anonymous(simulator: &Simulator, blob: &Ref<xenapi_types::Blob>) -> String {
    let mut connection = simulator.connect();
    let head = format!("GET /blob?ref={blob} HTTP/1.0\r\n\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_blob_keeps_what_is_put_into_it() {
    let (simulator, client) = bench().await;
    let blob = new_blob(&client, "notes", false).await;
    assert_eq!(client.blob(&blob).await.unwrap(), Bytes::new());
    for content in ["the first", "and the second one"] {
        client.put_blob(&blob, Full::new(Bytes::from(content))).await.unwrap();
        assert_eq!(client.blob(&blob).await.unwrap(), content);
        let size = client.get_field(&blob, blob::field::SIZE).await.unwrap();
        assert_eq!(usize::try_from(size), Ok(content.len()));
    }
    simulator.faults().on("/blob", Fault::DropAfterBytes(300));
    let cut = client.put_blob(&blob, Full::new(Bytes::from(vec![1; 100_000]))).await;
    assert!(cut.is_err());
    assert_eq!(client.blob(&blob).await.unwrap(), "and the second one");
    let pool = client.all::<Pool>().await.unwrap().remove(0);
    assert_eq!(client.get_field(&pool, pool::field::BLOBS).await.unwrap()["notes"], blob);
    client.destroy(&blob).await.unwrap();
    assert!(client.get_field(&pool, pool::field::BLOBS).await.unwrap().is_empty());
    assert_eq!(client.blob(&blob).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(client.all::<Task>().await.unwrap(), []);
}

#[tokio::test]
async fn only_public_blobs_are_for_all() {
    let (simulator, client) = bench().await;
    for (name, public, status) in [("a", false, "401 Unauthorised"), ("b", true, "200 OK")] {
        let blob = new_blob(&client, name, public).await;
        client.put_blob(&blob, Full::new(Bytes::from("hello"))).await.unwrap();
        let answer = anonymous(&simulator, &blob).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert_eq!(answer.ends_with("hello"), public);
    }
}

#[tokio::test]
async fn the_database_comes_whole_or_not_at_all() {
    let (simulator, client) = bench().await;
    let mut file = Vec::new();
    client.export_database().await.unwrap().copy_to(&mut file, |_| {}).await.unwrap();
    let text = String::from_utf8(file).unwrap();
    let document = roxmltree::Document::parse(&text).unwrap();
    let rows = document.descendants().filter(|node| node.has_tag_name("row")).count();
    let objects: usize = simulator.snapshot_of_objects().values().map(std::collections::BTreeSet::len).sum();
    assert!(rows >= objects, "{rows} rows of {objects} objects");
    let pool = client.all::<Pool>().await.unwrap().remove(0).to_string();
    assert!(document.descendants().any(|row| row.attribute("ref") == Some(&pool)));
    simulator.faults().on("/pool/xmldbdump", Fault::DropAfterBytes(50_000));
    let mut file = Vec::new();
    let error = client.export_database().await.unwrap().copy_to(&mut file, |_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transfer, "{error}");
    assert_eq!(client.all::<Task>().await.unwrap(), []);
}

#[tokio::test]
async fn a_backup_is_tried_before_it_is_needed() {
    let (simulator, client) = bench().await;
    let mut file = Vec::new();
    client.export_database().await.unwrap().copy_to(&mut file, |_| {}).await.unwrap();
    let before = simulator.snapshot_of_objects();
    let check = async |document: &str| {
        client.check_database(Full::new(Bytes::copy_from_slice(document.as_bytes()))).await
    };
    let backup = String::from_utf8(file).unwrap();
    check(&backup).await.unwrap();
    let newer = backup.replacen("value=\"909\"", "value=\"910\"", 1);
    let foreign = backup.replace("device=\"eth0\"", "device=\"eth7\"");
    for (document, code) in [
        (newer.as_str(), "RESTORE_INCOMPATIBLE_VERSION"),
        ("<html/>", "RESTORE_INCOMPATIBLE_VERSION"),
        (&foreign, "RESTORE_TARGET_MGMT_IF_NOT_IN_BACKUP"),
        (&backup[..backup.len() / 2], "INTERNAL_ERROR"),
    ] {
        let error = check(document).await.unwrap_err();
        assert!(error.is(code), "{error}, not {code}");
    }
    assert_eq!(simulator.snapshot_of_objects(), before);
    assert_eq!(client.all::<Task>().await.unwrap(), []);
}

#[tokio::test]
async fn a_host_is_backed_up_and_takes_its_own_backup_alone() {
    let (simulator, client) = bench().await;
    let host = client.all::<xenapi_types::Host>().await.unwrap().remove(0);
    let backup = async || {
        let mut file = Vec::new();
        client.export_host_backup(&host).await?.copy_to(&mut file, |_| {}).await?;
        Ok::<_, xenapi_client::Error>(file)
    };
    let file = backup().await.unwrap();
    let before = simulator.snapshot_of_objects();
    let restore =
        async |file: &[u8]| client.restore_host(&host, Full::new(Bytes::copy_from_slice(file))).await;
    restore(&file).await.unwrap();
    let mut foreign = file.clone();
    foreign[512 + "INSTALLATION_UUID='".len()] ^= 1;
    for broken in [&foreign[..], &file[..file.len() / 2], b"no backup"] {
        let error = restore(broken).await.unwrap_err();
        assert!(error.is("RESTORE_SCRIPT_FAILED"), "{error}");
    }
    simulator.faults().on("/host_backup", Fault::DropAfterBytes(20_000));
    assert_eq!(backup().await.unwrap_err().kind(), ErrorKind::Transfer);
    let error = client.export_host_backup(&Ref::from("OpaqueRef:none")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(simulator.snapshot_of_objects(), before);
    assert_eq!(client.all::<Task>().await.unwrap(), []);
}

#[tokio::test]
async fn a_handler_that_fails_ends_its_task() {
    let (simulator, client) = bench().await;
    let failure = Failure::new("SR_BACKEND_FAILURE_46", ["", "The VDI is not available", ""]);
    simulator.faults().on("/pool/xmldbdump", Fault::Failure(failure));
    let error = client.export_database().await.unwrap_err();
    assert!(error.is("SR_BACKEND_FAILURE_46"), "{error}");
    assert_eq!(client.all::<Task>().await.unwrap(), []);
}

#[tokio::test]
async fn messages_are_left_and_found() {
    let (_simulator, client) = bench().await;
    let pool = client.all::<Pool>().await.unwrap().remove(0);
    let obj_uuid = client.get_field(&pool, pool::field::UUID).await.unwrap();
    let create = message::Create {
        name: "BACKUP_DONE".to_owned(),
        priority: 5,
        cls: xenapi_types::Cls::Pool,
        obj_uuid: obj_uuid.clone(),
        body: "all of it".to_owned(),
    };
    let left: Ref<Message> = client.call(create).await.unwrap();
    let since = DateTime::from_unix_seconds(1_000_000_000);
    let found = client.call(message::GetSince { since: since.clone() }).await.unwrap();
    assert_eq!(found[&left].body, "all of it");
    let get = message::Get { cls: xenapi_types::Cls::Pool, obj_uuid, since };
    assert_eq!(client.call(get).await.unwrap().len(), 1);
    client.call(message::Destroy { message: left }).await.unwrap();
    assert!(client.call(message::GetAllRecords {}).await.unwrap().is_empty());
}
