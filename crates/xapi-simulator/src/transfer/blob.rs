//! `GET /blob` and `PUT /blob`: the content of blobs, each in a file.

use std::path::PathBuf;

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xenapi_wire::{Failure, Value};

use super::handler::{CLOSING, Request, shown};
use crate::classes::task;
use crate::core::Core;
use crate::db::{Object, View};
use crate::dispatch::{Router, internal_error};
use crate::http::page::Page;
use crate::http::{After, Exchange, Head, Verb};

pub(super) fn register(router: &mut Router) {
    router.http.add(Verb::Get, "/blob", |exchange| Box::pin(get(exchange)));
    router.http.add(Verb::Put, "/blob", |exchange| Box::pin(put(exchange)));
}

/// A blob of the request's.
struct Blob {
    reference: String,
    file: PathBuf,
    mime_type: String,
    is_public: bool,
}

impl Blob {
    fn find(core: &Core, head: &Head) -> Option<Self> {
        let find = |view: &View| {
            let found: Option<Object<'_>> = match (head.param("ref"), head.param("uuid")) {
                (Some(reference), _) => view.find("blob", reference),
                (None, uuid) => view.by_uuid("blob", uuid?).ok(),
            };
            let blob = found?;
            Some(Self {
                reference: blob.reference().to_owned(),
                file: core.storage().blob(blob.str("uuid")),
                mime_type: blob.str("mime_type").to_owned(),
                is_public: blob.bool("public"),
            })
        };
        core.db().read(find)
    }
}

/// Gives a public blob to anybody.
async fn get(exchange: &mut Exchange) -> std::io::Result<After> {
    let core = exchange.core.clone();
    let blob = Blob::find(&core, &exchange.head);
    let opened = if blob.as_ref().is_some_and(|blob| blob.is_public) {
        None
    } else {
        let mut request = Request { action: "get_blob", exchange };
        match request.open("Downloading blob").await? {
            Some(opened) => Some(opened),
            None => return Ok(After::Close),
        }
    };
    let result = send(exchange, blob).await;
    if let Some(opened) = opened {
        task::finish(&core, &opened.task.reference, Ok(Value::Nil));
        opened.close(&core);
    }
    result.map(|()| After::Close)
}

async fn send(exchange: &mut Exchange, blob: Option<Blob>) -> std::io::Result<()> {
    let conn = &mut exchange.conn;
    let Some(blob) = blob else {
        return conn.send(&Page::not_found().bytes("HTTP/1.1")).await;
    };
    // Nothing was ever put into it: it is empty.
    let mut file = File::open(&blob.file).await.ok();
    let length = match &file {
        Some(file) => file.metadata().await?.len(),
        None => 0,
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\n{CLOSING}content-type: {}\r\ncontent-length: {length}\r\n\r\n",
        blob.mime_type
    );
    conn.write_all(head.as_bytes()).await?;
    if let Some(file) = &mut file {
        tokio::io::copy(&mut file.take(length), conn).await?;
    }
    conn.flush().await
}

async fn put(exchange: &mut Exchange) -> std::io::Result<After> {
    let core = exchange.core.clone();
    let mut request = Request { action: "put_blob", exchange };
    let Some(opened) = request.open("Uploading blob").await? else { return Ok(request.refused()) };
    let task = &opened.task.reference;
    let found = Blob::find(&core, &request.exchange.head).zip(request.exchange.head.content_length());
    let after = match found {
        None => {
            let failure = internal_error("Failure(\"a blob and a content-length are required\")");
            request.exchange.conn.send(&Page::bad_request().bytes("HTTP/1.1")).await?;
            task::finish(&core, task, Err(failure));
            request.refused()
        }
        Some((blob, length)) => {
            let head = format!("HTTP/1.1 200 OK\r\n{CLOSING}task-id:{task}\r\n\r\n");
            request.begin(&core, &opened.task, &head).await?;
            let outcome = match receive(&mut request, &blob, length).await {
                Ok(()) => updated(&core, &blob, length),
                Err(error) => Err(internal_error(&error.to_string())),
            };
            let page = outcome.as_ref().err().map(|failure| Page::internal_error(Some(&shown(failure))));
            task::finish(&core, task, outcome.map(|()| Value::Nil));
            if let Some(page) = page {
                request.exchange.conn.send(&page.bytes("HTTP/1.1")).await?;
            }
            After::Close
        }
    };
    opened.close(&core);
    Ok(after)
}

/// Takes exactly so many bytes. What was there before stays until all have come.
async fn receive(request: &mut Request<'_>, blob: &Blob, length: u64) -> std::io::Result<()> {
    if let Some(directory) = blob.file.parent() {
        tokio::fs::create_dir_all(directory).await?;
    }
    let coming = blob.file.with_extension(uuid::Uuid::new_v4().to_string());
    let write = async {
        let mut file = File::create(&coming).await?;
        let copied = tokio::io::copy(&mut (&mut request.exchange.conn).take(length), &mut file).await?;
        file.flush().await?;
        if copied < length { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    };
    let written = write.await;
    match written {
        Ok(()) => tokio::fs::rename(&coming, &blob.file).await,
        Err(error) => {
            let _ = tokio::fs::remove_file(&coming).await;
            Err(error)
        }
    }
}

fn updated(core: &Core, blob: &Blob, length: u64) -> Result<(), Failure> {
    core.db().write(|tx| {
        tx.set("blob", &blob.reference, "size", Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))?;
        tx.set("blob", &blob.reference, "last_updated", core.clock().date())
    })
}
