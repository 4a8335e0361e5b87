//! `GET /host_backup` and `PUT /host_restore`: what a host needs to be set up again.
//!
//! On a real host programs of dom0 write and read it, and XAPI passes the bytes on without a look at them. Here it is a
//! tar archive of two files, which name the host and hold the pool's database. What is sent back is looked at and put
//! aside, as on a real host, where it counts after the next boot; here, nothing comes of it.

use xenapi_types::archive::{self, Header, RECORD};
use xenapi_wire::{Failure, Value};

use super::handler::{CLOSING, Request};
use super::whole;
use crate::classes::task;
use crate::core::Core;
use crate::dispatch::{Router, internal_error};
use crate::http::{After, Exchange, Verb, dump};

pub(super) fn register(router: &mut Router) {
    router.http.add(Verb::Get, "/host_backup", |exchange| Box::pin(get(exchange)));
    router.http.add(Verb::Put, "/host_restore", |exchange| Box::pin(put(exchange)));
}

/// The file that says whose backup it is.
const INVENTORY: &str = "etc/xensource-inventory";

async fn get(exchange: &mut Exchange) -> std::io::Result<After> {
    let core = exchange.core.clone();
    let mut request = Request { action: "get_host_backup", exchange };
    let Some(opened) = request.open("Downloading host backup").await? else { return Ok(request.refused()) };
    let host = request.exchange.host.clone();
    let head = format!("HTTP/1.1 200 OK\r\n{CLOSING}task-id:{}\r\n\r\n", opened.task.reference);
    request.begin(&core, &opened.task, &head).await?;
    let outcome = match backup(&core, &host) {
        Ok(backup) => match request.exchange.conn.send(&backup).await {
            Ok(()) => Ok(Value::Nil),
            Err(error) => Err(internal_error(&error.to_string())),
        },
        Err(failure) => Err(failure),
    };
    task::finish(&core, &opened.task.reference, outcome);
    opened.close(&core);
    Ok(After::Close)
}

async fn put(exchange: &mut Exchange) -> std::io::Result<After> {
    let judge = |exchange: &Exchange, backup: &[u8]| check(&exchange.core, &exchange.host, backup);
    whole::take(exchange, "put_host_restore", "Uploading host backup", judge).await
}

/// What names a host, in the notation of the shell.
fn inventory(core: &Core, host: &str) -> Result<String, Failure> {
    core.db().read(|view| {
        let host = view.object("host", host)?;
        let version = host.entry("software_version", "product_version").unwrap_or_default();
        Ok(format!("INSTALLATION_UUID='{}'\nPRODUCT_VERSION='{version}'\n", host.str("uuid")))
    })
}

fn backup(core: &Core, host: &str) -> Result<Vec<u8>, Failure> {
    let modified = u32::try_from(core.clock().now().as_second()).unwrap_or(u32::MAX);
    let mut all = Vec::new();
    let database = core.db().read(dump::write);
    for (name, content) in [(INVENTORY, inventory(core, host)?), ("var/xapi/state.db", database)] {
        let member = archive::member(name, content.as_bytes(), modified);
        all.extend(member.map_err(|e| internal_error(&e.to_string()))?);
    }
    all.extend_from_slice(&archive::END);
    Ok(all)
}

/// That a backup is whole, and of this host.
fn check(core: &Core, host: &str, backup: &[u8]) -> Result<(), Failure> {
    let refused = |reason: &str| Failure::new("RESTORE_SCRIPT_FAILED", [reason]);
    let inventory = inventory(core, host)?;
    let (mut rest, mut is_ours) = (backup, false);
    loop {
        let (record, after) =
            rest.split_first_chunk::<RECORD>().ok_or_else(|| refused("the archive is cut off"))?;
        let header = Header::parse(record).map_err(|e| refused(&e.to_string()))?;
        let Some(header) = header else { break };
        let len = usize::try_from(header.len).unwrap_or(usize::MAX);
        let (content, after) =
            after.split_at_checked(len).ok_or_else(|| refused("the archive is cut off"))?;
        is_ours |= header.name == INVENTORY && content == inventory.as_bytes();
        rest = after.get(header.padding()..).unwrap_or_default();
    }
    if is_ours { Ok(()) } else { Err(refused("the backup is of another host or of another release")) }
}
