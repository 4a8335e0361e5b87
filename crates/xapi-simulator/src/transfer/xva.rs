//! Whole VMs as archives (XVA): `GET /export`, `GET /export_metadata`, `PUT /import`, `PUT /import_metadata`.
//!
//! What an archive looks like is in [`xenapi_types::archive`]. An export sends head, description and pieces as it
//! reads the disks; an import makes the objects as soon as it has the description, and fills the disks as pieces come,
//! so that neither holds more than some pieces.
//!
//! * `manifest`: records into the description, references replaced.
//! * `objects`: the description into objects, undone when the import fails.
//! * `output`: the way out, compressed or not.
//!
//! Not done: `dry_run`, the memory of suspended VMs.

mod manifest;
mod objects;
mod output;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xenapi_types::archive;
use xenapi_types::handler::Compression;
use xenapi_types::meta;
use xenapi_wire::{Failure, Value};

use self::manifest::{Manifest, Scope};
use self::output::Output;
use super::archive::Archive;
use super::handler::{CLOSING, Opened, Refusal, Request, Task, blocking, hosts_of, progress_of, shown};
use super::source::{Source, io_failure};
use super::{TransferError, export};
use crate::classes::{task, vm};
use crate::core::Core;
use crate::db::View;
use crate::dispatch::{Busy, Ctx, Router, internal_error};
use crate::fault::Fault;
use crate::http::page::Page;
use crate::http::{After, Exchange, Verb};

pub(super) fn register(router: &mut Router) {
    router.http.add(Verb::Get, "/export", |e| Box::pin(serve(e, &EXPORT)));
    router.http.add(Verb::Get, "/export_metadata", |e| Box::pin(serve(e, &EXPORT_METADATA)));
    router.http.add(Verb::Put, "/import", |e| Box::pin(serve(e, &IMPORT)));
    router.http.add(Verb::Put, "/import_metadata", |e| Box::pin(serve(e, &IMPORT_METADATA)));
}

struct Action {
    name: &'static str,
    /// Of the task that is made when the client brings none.
    label: &'static str,
    is_import: bool,
    is_metadata: bool,
}

const EXPORT: Action =
    Action { name: "get_export", label: "VM.export", is_import: false, is_metadata: false };
const EXPORT_METADATA: Action =
    Action { name: "get_export_metadata", label: "VM.export_metadata", is_import: false, is_metadata: true };
const IMPORT: Action = Action { name: "put_import", label: "VM.import", is_import: true, is_metadata: false };
const IMPORT_METADATA: Action =
    Action { name: "put_import_metadata", label: "VM.metadata_import", is_import: true, is_metadata: true };

/// How much of a refused archive is read before the connection is closed, so that the client sees why.
const MAX_DRAINED: u64 = 64 << 10;

async fn serve(exchange: &mut Exchange, action: &'static Action) -> std::io::Result<After> {
    let mut request = Request { action: action.name, exchange };
    let Some(opened) = request.open(action.label).await? else { return Ok(request.refused()) };
    let core = request.exchange.core.clone();
    let ctx = Arc::new(Ctx {
        core: core.clone(),
        message: meta::message("VM.import").expect("the datamodel has it"),
        session: opened.login.session.clone(),
        task: opened.task.reference.clone(),
        host: request.exchange.host.clone(),
        server: core.toolstack.starts(),
    });
    let mut call = Call { request, core, ctx, action };
    let after = if action.is_import { call.import(&opened).await } else { call.export(&opened).await };
    opened.close(&call.core);
    after
}

/// A request of a known client.
struct Call<'a> {
    request: Request<'a>,
    core: Arc<Core>,
    ctx: Arc<Ctx>,
    action: &'static Action,
}

impl Call<'_> {
    fn flag(&self, name: &str) -> bool {
        self.request.exchange.head.param(name) == Some("true")
    }

    async fn export(&mut self, opened: &Opened) -> std::io::Result<After> {
        let task = &opened.task;
        let plan = self.core.db().read(|view| self.export_plan(view));
        let vms = match plan {
            Ok(vms) => vms,
            Err(refusal) => return self.request.refuse(&self.core, task, refusal).await,
        };
        let operation = if self.action.is_metadata { "metadata_export" } else { "export" };
        let busy = match announced(&self.ctx, &vms, operation).await {
            Ok(busy) => busy,
            Err(failure) => {
                let page = Box::new(Page::internal_error(Some(&shown(&failure))));
                return self.request.refuse(&self.core, task, Refusal::Page(page, Some(failure))).await;
            }
        };
        let scope = if self.action.is_metadata {
            Scope::Metadata {
                has_snapshots: self.request.exchange.head.param("export_snapshots") != Some("false"),
            }
        } else {
            Scope::Full { keeps_power_state: self.flag("preserve_power_state") }
        };
        let host = self.request.exchange.host.clone();
        let outcome = match self.core.db().read(|view| manifest::describe(view, &vms, scope, &host)) {
            Ok(manifest) => {
                let head = self.export_head(task, &manifest);
                self.request.begin(&self.core, task, &head).await?;
                self.send(task, &manifest).await
            }
            Err(failure) => Err(failure),
        };
        drop(busy);
        self.end(task, outcome.map(|()| Value::Nil)).await
    }

    /// The VMs to export, of which this host sees all disks.
    fn export_plan(&self, view: &View) -> Result<Vec<String>, Refusal> {
        let head = &self.request.exchange.head;
        if self.action.is_metadata && self.flag("all") {
            let dom0 = self.flag("include_dom0");
            let all = view.objects("VM").filter(|vm| {
                !vm.bool("is_a_template")
                    && !vm.bool("is_a_snapshot")
                    && (dom0 || !vm.bool("is_control_domain"))
            });
            return Ok(all.map(|vm| vm.reference().to_owned()).collect());
        }
        let vm = match (head.param("ref"), head.param("uuid")) {
            (Some(reference), _) => view.find("VM", reference),
            (None, Some(uuid)) => view.by_uuid("VM", uuid).ok(),
            (None, None) => {
                let failure = self.request.denied("INTERNAL_ERROR: [ Not_found ]");
                return Err(Refusal::Page(Box::new(Page::internal_error(Some("Not_found"))), Some(failure)));
            }
        };
        let nowhere = || Refusal::Silence(Failure::new("NO_HOSTS_AVAILABLE", [] as [&str; 0]));
        let vm = vm.ok_or_else(nowhere)?;
        let disks = view.follow(vm, "VBDs", "VBD").filter_map(|vbd| view.find("VDI", vbd.ref_opt("VDI")?));
        let srs: Vec<Vec<&str>> = disks.map(|vdi| hosts_of(view, vdi.str("SR"))).collect();
        let sees_all = |host: &str| srs.iter().all(|hosts| hosts.contains(&host));
        if !self.action.is_metadata && !sees_all(&self.ctx.host) {
            let other = srs.iter().flatten().find(|host| sees_all(host)).ok_or_else(nowhere)?;
            return Err(self.request.elsewhere(view, other));
        }
        Ok(vec![vm.reference().to_owned()])
    }

    fn export_head(&self, task: &Task, manifest: &Manifest) -> String {
        let length = match self.action.is_metadata {
            true => format!("Content-Length: {}\r\n", manifest.member.len() + archive::END.len()),
            false => String::new(),
        };
        format!(
            "HTTP/1.0 200 OK\r\n{CLOSING}task-id: {}\r\nServer: xapi/{}\r\n\
             content-type: application/octet-stream\r\n{length}\
             Content-Disposition: attachment; filename=\"export.xva\"\r\n\r\n",
            task.reference, manifest.server
        )
    }

    /// The archive: the description, the disks one after the other, the end.
    async fn send(&mut self, task: &Task, manifest: &Manifest) -> Result<(), Failure> {
        let compression = self.request.exchange.head.param("use_compression").map(Compression::from);
        let compression = compression.filter(|_| !self.action.is_metadata);
        let mut out = Output::new(&mut self.request.exchange.conn, compression.as_ref())?;
        out.write_all(&manifest.member).await.map_err(|e| failure_of(&e.into()))?;
        let disks: &[_] = if self.action.is_metadata { &[] } else { &manifest.disks };
        let mut note = progress_of(&self.core, &task.reference);
        for (done, disk) in disks.iter().enumerate() {
            exit_if_cancelled(&self.core, &task.reference)?;
            let source = {
                let (core, host) = (self.core.clone(), self.ctx.host.clone());
                let (vdi, task) = (disk.vdi.clone(), task.reference.clone());
                blocking(move || Source::open(&core, &host, &vdi, super::handler::Format::Raw, None, &task))
                    .await?
            };
            let mut progress = |part: f64| note((done as f64 + part) / disks.len() as f64);
            let sent =
                export::pieces(&mut out, &disk.name, &source.disk, source.len_bytes, &mut progress).await;
            sent.map_err(|error| failure_of(&error))?;
        }
        let ended = async {
            out.write_all(&archive::END).await?;
            out.shutdown().await
        };
        ended.await.map_err(|error| failure_of(&error.into()))
    }

    async fn import(&mut self, opened: &Opened) -> std::io::Result<After> {
        let task = &opened.task;
        let sr = match self.import_plan() {
            Ok(sr) => sr,
            Err(refusal) => return self.request.refuse(&self.core, task, refusal).await,
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\n{CLOSING}task-id:{}\r\ncontent-type: application/octet-stream\r\n\r\n",
            task.reference
        );
        self.request.begin(&self.core, task, &head).await?;
        let length = self.request.exchange.head.content_length();
        let limit = match self.request.exchange.fault {
            Some(Fault::DropAfterBytes(limit)) => limit as u64,
            _ => u64::MAX,
        };
        let mut archive = Archive::new((&mut self.request.exchange.conn).take(limit));
        let options = objects::Options {
            restores: self.request.exchange.head.param("restore") == Some("true"),
            forces: self.request.exchange.head.param("force") == Some("true"),
            is_metadata: self.action.is_metadata,
            sr,
        };
        let outcome = objects::import(&self.ctx, &mut archive, options).await;
        // With bytes unread the connection is reset, which the reason may not survive.
        let left = length.map_or(0, |length| length.saturating_sub(archive.consumed()));
        let unreadable = outcome.as_ref().is_err_and(|failure| failure.code == "IMPORT_ERROR_PREMATURE_EOF");
        let drained = unreadable && left <= MAX_DRAINED && archive.drain(left).await;
        let is_success = outcome.is_ok();
        let after = self.end(task, outcome.map(Value::from)).await?;
        Ok(if is_success || left > 0 && !drained { After::Reset } else { after })
    }

    /// The SR for the disks. For a description alone there may be none.
    fn import_plan(&self) -> Result<Option<String>, Refusal> {
        let head = &self.request.exchange.head;
        if head.header("transfer-encoding").is_some() {
            let failure = Failure::new("IMPORT_ERROR_CANNOT_HANDLE_CHUNKED", [] as [&str; 0]);
            return Err(Refusal::Page(Box::new(Page::forbidden()), Some(failure)));
        }
        let found = self.core.db().read(|view| {
            let given = match (head.param("sr_id"), head.param("sr_uuid")) {
                (Some(reference), _) => view.find("SR", reference),
                (None, Some(uuid)) => view.by_uuid("SR", uuid).ok(),
                (None, None) => {
                    let sr = view.objects("pool").next().map_or("", |pool| pool.str("default_SR"));
                    let missing = || Failure::new("DEFAULT_SR_NOT_FOUND", [sr]);
                    return view.find("SR", sr).map(|sr| sr.reference().to_owned()).ok_or_else(missing);
                }
            };
            let unknown = || Failure::new("NO_HOSTS_AVAILABLE", [] as [&str; 0]);
            given.map(|sr| sr.reference().to_owned()).ok_or_else(unknown)
        });
        match found {
            Ok(sr) if !self.action.is_metadata => self.request.route(&sr).map(|()| Some(sr)),
            Ok(sr) => Ok(Some(sr)),
            Err(_) if self.action.is_metadata => Ok(None),
            // XAPI looks for a host while it checks the caller's role.
            Err(failure) => {
                let text = shown(&failure);
                let page = Box::new(Page::internal_error(Some(&text)));
                Err(Refusal::Page(page, Some(self.request.denied(&text))))
            }
        }
    }

    /// Ends the task, and says on the connection what went wrong.
    async fn end(&mut self, task: &Task, outcome: Result<Value, Failure>) -> std::io::Result<After> {
        let page = outcome.as_ref().err().map(|failure| Page::internal_error(Some(&shown(failure))));
        task::finish(&self.core, &task.reference, outcome);
        let fault = &self.request.exchange.fault;
        if matches!(fault, Some(Fault::DropAfterBytes(_) | Fault::DropAfterExecution)) {
            return Ok(After::Reset);
        }
        if let Some(page) = page {
            // The task has ended, whether the client is still there to hear it or not.
            self.request.exchange.conn.send(&page.bytes("HTTP/1.1")).await?;
        }
        Ok(After::Close)
    }
}

/// Announces an operation in each VM.
async fn announced(ctx: &Arc<Ctx>, vms: &[String], operation: &'static str) -> Result<Vec<Busy>, Failure> {
    let mut busy = Vec::new();
    for vm in vms {
        busy.push(vm::begin(ctx, vm, operation).await?);
    }
    Ok(busy)
}

/// Ends the transfer of a task that somebody has asked to stop. XAPI looks, too, now and then.
fn exit_if_cancelled(core: &Core, task: &str) -> Result<(), Failure> {
    let cancelled = core.db().read(|view| {
        let operations: Option<&BTreeMap<String, Value>> =
            view.find("task", task).map(|task| task.map("current_operations"));
        operations.is_some_and(|operations| operations.values().any(|op| View::text_of(op) == "cancel"))
    });
    if cancelled { Err(Failure::new("TASK_CANCELLED", [task])) } else { Ok(()) }
}

fn failure_of(error: &TransferError) -> Failure {
    match error {
        TransferError::Connection(error) => internal_error(&error.to_string()),
        other => io_failure("export", other),
    }
}
