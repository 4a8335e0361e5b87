//! Uploads that are judged when all of them is there.

use tokio::io::AsyncReadExt;
use xenapi_wire::{Failure, Value};

use super::handler::{CLOSING, Request, shown};
use crate::classes::task;
use crate::dispatch::internal_error;
use crate::http::page::Page;
use crate::http::{After, Exchange};

/// The longest upload that is taken, in bytes.
const MOST: u64 = 256 << 20;

/// Takes an upload to its end, has it judged, and ends its task with the verdict. `200` is said before, as everywhere.
pub(super) async fn take(
    exchange: &mut Exchange,
    action: &'static str,
    label: &str,
    judge: impl FnOnce(&Exchange, &[u8]) -> Result<(), Failure>,
) -> std::io::Result<After> {
    let core = exchange.core.clone();
    let mut request = Request { action, exchange };
    let Some(opened) = request.open(label).await? else { return Ok(request.refused()) };
    let head = format!("HTTP/1.1 200 OK\r\n{CLOSING}task-id:{}\r\n\r\n", opened.task.reference);
    request.begin(&core, &opened.task, &head).await?;
    let length = request.exchange.head.content_length().unwrap_or(0);
    let mut bytes = Vec::new();
    let read = (&mut request.exchange.conn).take(length.min(MOST)).read_to_end(&mut bytes).await;
    let outcome = match read {
        Ok(read) if (read as u64) < length => Err(internal_error("End_of_file")),
        Ok(_) => judge(request.exchange, &bytes),
        Err(error) => Err(internal_error(&error.to_string())),
    };
    let page = outcome.as_ref().err().map(|failure| Page::internal_error(Some(&shown(failure))));
    task::finish(&core, &opened.task.reference, outcome.map(|()| Value::Nil));
    if let Some(page) = page {
        request.exchange.conn.send(&page.bytes("HTTP/1.1")).await?;
    }
    opened.close(&core);
    Ok(if length > MOST { After::Reset } else { After::Close })
}
