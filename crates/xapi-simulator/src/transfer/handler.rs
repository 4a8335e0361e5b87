//! `PUT /import_raw_vdi` and `GET /export_raw_vdi` with the real server's order of events: who may, which host, which
//! disk, what format, then `200`, then the work, then the outcome in the task, then the end of the connection.

use std::sync::Arc;

use tokio::io::AsyncReadExt;
use xenapi_wire::{Failure, Value};

use super::source::{Source, attachable, find_vdi, io_failure, new_vdi};
use super::{export, import};
use crate::classes::vbd::Plugged;
use crate::classes::{session, task};
use crate::core::Core;
use crate::db::{NULL, View};
use crate::disk::Disk;
use crate::dispatch::{Router, internal_error};
use crate::fault::Fault;
use crate::http::page::Page;
use crate::http::{After, Exchange, Login, Verb, authenticate};

pub(crate) fn register(router: &mut Router) {
    router.http.add(Verb::Put, "/import_raw_vdi", |exchange| {
        Box::pin(
            async move { Request { action: "put_import_raw_vdi", exchange }.answer(Direction::In).await },
        )
    });
    router.http.add(Verb::Get, "/export_raw_vdi", |exchange| {
        Box::pin(
            async move { Request { action: "get_export_raw_vdi", exchange }.answer(Direction::Out).await },
        )
    });
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    In,
    Out,
}

/// A task of the client's, or one that lives as long as the request.
pub(super) struct Task {
    pub(super) reference: String,
    own: bool,
}

/// A request of a known client.
pub(super) struct Opened {
    pub(super) login: Login,
    pub(super) task: Task,
}

impl Opened {
    /// Ends what was made for this request alone.
    pub(super) fn close(self, core: &Core) {
        if self.login.own {
            session::end(core, &self.login.session);
        }
        if self.task.own {
            // The client knows it from the answer's header only; XAPI removes it when it has ended.
            let _ = core.db().write(|tx| {
                tx.delete("task", &self.task.reference);
                Ok::<_, Failure>(())
            });
        }
    }
}

/// An answer other than `200`.
pub(super) enum Refusal {
    /// No answer at all; the task fails.
    Silence(Failure),
    /// A page, and the failure for the task if it is told.
    Page(Box<Page>, Option<Failure>),
    /// Only a status line; the task fails with this text.
    NotFound(String),
    /// Only a status line; the task fails.
    BadRequest(Failure),
    /// Another host sees the disk; the task waits for the next attempt.
    Elsewhere(String),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Raw,
    Chunked,
    Vhd,
    Tar,
}

impl Format {
    /// Content type and file suffix of an export.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Raw | Self::Chunked => ("application/octet-stream", "raw"),
            Self::Vhd => ("application/vhd", "vhd"),
            Self::Tar => ("application/x-tar", "tar"),
        }
    }
}

pub(super) struct Request<'a> {
    pub(super) action: &'static str,
    pub(super) exchange: &'a mut Exchange,
}

/// Headers that every answer of these handlers has.
pub(super) const CLOSING: &str = "Connection: close\r\nCache-Control: no-cache, no-store\r\n";

impl Request<'_> {
    async fn answer(mut self, direction: Direction) -> std::io::Result<After> {
        let label = match direction {
            Direction::In => "Importing raw VDI",
            Direction::Out => "Exporting raw VDI",
        };
        let Some(opened) = self.open(label).await? else { return Ok(self.refused()) };
        let core = self.exchange.core.clone();
        let after = self.with_task(&core, &opened.task, direction).await;
        opened.close(&core);
        after
    }

    /// Finds out who asks, and makes the task unless the client brings one. Nothing when the client has been refused.
    pub(super) async fn open(&mut self, label: &str) -> std::io::Result<Option<Opened>> {
        let (core, host) = (self.exchange.core.clone(), self.exchange.host.clone());
        let login = match authenticate(&core, &host, &self.exchange.head, self.action).await {
            Ok(login) => login,
            Err(page) => {
                self.exchange.conn.send(&page.bytes("HTTP/1.1")).await?;
                return Ok(None);
            }
        };
        let task = match self.exchange.head.task() {
            Some(given) => Task { reference: given.to_owned(), own: false },
            None => {
                let made = task::create(&core, &host, &login.session, label, "");
                if let Ok(made) = &made {
                    task::note(&core, made, &self.exchange.head.task_keys());
                }
                Task { reference: made.unwrap_or_else(|_| NULL.to_owned()), own: true }
            }
        };
        Ok(Some(Opened { login, task }))
    }

    /// How a connection ends whose request was not carried out: TCP resets it when bytes of a body are left.
    pub(super) fn refused(&self) -> After {
        let body = self.exchange.head.content_length().unwrap_or(0);
        if body > 0 { After::Reset } else { After::Close }
    }

    async fn with_task(
        &mut self,
        core: &Arc<Core>,
        task: &Task,
        direction: Direction,
    ) -> std::io::Result<After> {
        let refusal = match direction {
            Direction::In => match self.import_plan() {
                Ok(plan) => return self.import(core, task, plan).await,
                Err(refusal) => refusal,
            },
            Direction::Out => match self.export_plan() {
                Ok((vdi, format)) => return self.export(core, task, &vdi, format).await,
                Err(refusal) => refusal,
            },
        };
        self.refuse(core, task, refusal).await
    }

    pub(super) async fn refuse(
        &mut self,
        core: &Core,
        task: &Task,
        refusal: Refusal,
    ) -> std::io::Result<After> {
        let conn = &mut self.exchange.conn;
        match refusal {
            Refusal::Silence(failure) => {
                task::finish(core, &task.reference, Err(failure));
                Ok(self.refused())
            }
            Refusal::Page(page, failure) => {
                if let Some(failure) = failure {
                    task::finish(core, &task.reference, Err(failure));
                }
                conn.send(&page.bytes("HTTP/1.1")).await?;
                Ok(self.refused())
            }
            Refusal::NotFound(text) => {
                task::finish(core, &task.reference, Err(internal_error(&text)));
                conn.send(format!("HTTP/1.0 404 Not Found\r\n{CLOSING}\r\n").as_bytes()).await?;
                Ok(self.refused())
            }
            Refusal::BadRequest(failure) => {
                task::finish(core, &task.reference, Err(failure));
                conn.send(format!("HTTP/1.1 400 Bad Request\r\n{CLOSING}\r\n").as_bytes()).await?;
                // In spite of the header.
                Ok(After::KeepOpen)
            }
            Refusal::Elsewhere(location) => {
                let answer = format!("HTTP/1.1 302 Found\r\n{CLOSING}Location: {location}\r\n\r\n");
                conn.send(answer.as_bytes()).await?;
                // In spite of the header: what the client has sent of the body is the next request.
                Ok(After::KeepOpen)
            }
        }
    }

    /// The VDI of this name, by reference or uuid. XAPI looks it up while it checks the caller's role, and so calls an
    /// unknown one a lack of permission.
    fn vdi(&self, name: &str) -> Result<String, Refusal> {
        let found = self.exchange.core.db().read(|view| find_vdi(view, name));
        found.map_err(|failure| {
            let reason = format!("UUID_INVALID: [ VDI; {name} ]");
            let page = Page::internal_error(Some(&missing_text(&failure)));
            Refusal::Page(Box::new(page), Some(self.denied(&reason)))
        })
    }

    pub(super) fn denied(&self, reason: &str) -> Failure {
        Failure::new("RBAC_PERMISSION_DENIED", [&format!("http/{}", self.action), reason])
    }

    fn format(&self) -> Result<Format, Refusal> {
        let head = &self.exchange.head;
        match head.param("format") {
            None | Some("raw") => Ok(Format::Raw),
            Some("vhd") => Ok(Format::Vhd),
            Some("tar") => Ok(Format::Tar),
            Some(other) => Err(Refusal::NotFound(format!("Unknown format {other}"))),
        }
    }

    /// Refuses to work on an SR that this host does not see.
    pub(super) fn route(&self, sr: &str) -> Result<(), Refusal> {
        let exchange = &self.exchange;
        exchange.core.db().read(|view| {
            let hosts = hosts_of(view, sr);
            if hosts.contains(&exchange.host.as_str()) {
                return Ok(());
            }
            match hosts.first() {
                Some(host) => Err(self.elsewhere(view, host)),
                None => {
                    let failure = Failure::new("SR_HAS_NO_PBDS", [sr]);
                    let page = Box::new(Page::internal_error(Some(&shown(&failure))));
                    Err(Refusal::Page(page, Some(failure)))
                }
            }
        })
    }

    /// Sends the client to another host with the same request.
    pub(super) fn elsewhere(&self, view: &View, host: &str) -> Refusal {
        let url = self.exchange.core.url_of(view, host);
        Refusal::Elsewhere(format!("{url}{}", self.exchange.head.target))
    }

    fn import_plan(&self) -> Result<ImportPlan, Refusal> {
        let (db, head) = (self.exchange.core.db(), &self.exchange.head);
        let vdi = head.param("vdi").map(|name| self.vdi(name)).transpose()?;
        let sr = match &vdi {
            Some(vdi) => db.read(|view| view.find("VDI", vdi).map(|vdi| vdi.str("SR").to_owned())),
            None => db.read(|view| {
                let by_ref = head.param("sr_id").and_then(|sr| view.find("SR", sr));
                let sr = by_ref.or_else(|| view.by_uuid("SR", head.param("sr_uuid")?).ok())?;
                Some(sr.reference().to_owned())
            }),
        };
        let Some(sr) = sr else {
            return Err(Refusal::BadRequest(Failure::new("VDI_MISSING", [] as [&str; 0])));
        };
        self.route(&sr)?;
        let mut format = self.format()?;
        if head.param("chunked").is_some() {
            if format != Format::Raw {
                return Err(Refusal::NotFound("Cannot handle chunked VHD".to_owned()));
            }
            format = Format::Chunked;
        }
        if let Some(encoding) = head.header("transfer-encoding") {
            return Err(Refusal::NotFound(format!("Cannot handle encoding: {encoding}")));
        }
        let length = head.content_length();
        if vdi.is_none() && (format != Format::Raw || length.is_none()) {
            let text = "Importing anything but raw of a known length directly into an SR not yet supported";
            return Err(Refusal::BadRequest(internal_error(text)));
        }
        Ok(ImportPlan { vdi, sr, format, length })
    }

    async fn import(&mut self, core: &Arc<Core>, task: &Task, plan: ImportPlan) -> std::io::Result<After> {
        let answer = format!(
            "HTTP/1.1 200 OK\r\n{CLOSING}task-id:{}\r\ncontent-type: application/octet-stream\r\n\r\n",
            task.reference
        );
        self.begin(core, task, &answer).await?;
        let length = plan.length.unwrap_or(0);
        let mut taken = 0;
        let outcome = self.receive(core, task, plan, &mut taken).await;
        let page = outcome.as_ref().err().map(|failure| {
            let failed = failure.code == "VDI_IO_ERROR";
            let status =
                if failed { format!("HTTP/1.1 400 Bad Request\r\n{CLOSING}\r\n") } else { String::new() };
            [status.into_bytes(), Page::internal_error(Some(&shown(failure))).bytes("HTTP/1.1")].concat()
        });
        task::finish(core, &task.reference, outcome.map(Value::from));
        let cut = matches!(self.exchange.fault, Some(Fault::DropAfterBytes(_) | Fault::DropAfterExecution));
        if cut {
            return Ok(After::Reset);
        }
        if let Some(page) = page {
            self.exchange.conn.send(&page).await?;
        }
        // TCP resets a connection that is closed with bytes unread.
        Ok(if taken < length { After::Reset } else { After::Close })
    }

    /// Sends the head of the answer. A client that is gone by then has its task failed, too.
    pub(super) async fn begin(&mut self, core: &Core, task: &Task, answer: &str) -> std::io::Result<()> {
        let sent = self.exchange.conn.send(answer.as_bytes()).await;
        if sent.is_err() {
            let failure = Failure::new("VDI_IO_ERROR", ["Device I/O errors"]);
            task::finish(core, &task.reference, Err(failure));
        }
        sent
    }

    /// Reads the body into the disk; the result is the VDI. `taken` says how many bytes were read.
    async fn receive(
        &mut self,
        core: &Arc<Core>,
        task: &Task,
        plan: ImportPlan,
        taken: &mut u64,
    ) -> Result<String, Failure> {
        let host = self.exchange.host.clone();
        let (vdi, plugged, disk) = {
            let (core, sr) = (core.clone(), plan.sr.clone());
            let (given, length, task) = (plan.vdi, plan.length, task.reference.clone());
            blocking(move || {
                let vdi = match given {
                    Some(vdi) => vdi,
                    None => new_vdi(&core, &sr, length.unwrap_or(0))?,
                };
                let disk = attachable(&core, &vdi, plan.format)?;
                let plugged = Plugged::new(&core, &host, &vdi, "RW", &task)?;
                Ok((vdi, plugged, disk))
            })
            .await?
        };
        let mut note = progress_of(core, &task.reference);
        let limit = match self.exchange.fault {
            Some(Fault::DropAfterBytes(limit)) => limit as u64,
            _ => u64::MAX,
        };
        let mut body = (&mut self.exchange.conn).take(limit);
        let failed = |error| io_failure("import", &error);
        let result = match plan.format {
            _ if self.exchange.fault == Some(Fault::LoseUpload) => {
                let mut upload = (&mut body).take(plan.length.unwrap_or(u64::MAX));
                let lost = tokio::io::copy(&mut upload, &mut tokio::io::sink()).await;
                lost.map(drop).map_err(|error| failed(error.into()))
            }
            Format::Raw => import::raw(&mut body, plan.length, &disk, &mut note).await.map_err(failed),
            Format::Chunked => import::chunked(&mut body, &disk).await.map_err(failed),
            Format::Vhd => import::vhd(&mut body, plan.length, &disk, &mut note).await.map_err(failed),
            // XAPI reads these itself, and has more to say than its helper.
            Format::Tar => import::tar(&mut body, &disk, &mut note).await,
        };
        *taken = limit - body.limit();
        result?;
        settle(core, disk).await?;
        drop(plugged);
        match &self.exchange.fault {
            Some(Fault::FailureAfter(failure)) => Err(failure.clone()),
            _ => Ok(vdi),
        }
    }

    fn export_plan(&self) -> Result<(String, Format), Refusal> {
        let Some(name) = self.exchange.head.param("vdi") else {
            let text = "Failure(\"Missing vdi query parameter\")";
            let failure = self.denied(&format!("INTERNAL_ERROR: [ {text} ]"));
            let page = Box::new(Page::internal_error(Some(text)));
            return Err(Refusal::Page(page, Some(failure)));
        };
        let vdi = self.vdi(name)?;
        let format = self.format()?;
        let sr = self
            .exchange
            .core
            .db()
            .read(|view| view.find("VDI", &vdi).map_or_else(String::new, |vdi| vdi.str("SR").to_owned()));
        self.route(&sr)?;
        Ok((vdi, format))
    }

    async fn export(
        &mut self,
        core: &Arc<Core>,
        task: &Task,
        vdi: &str,
        format: Format,
    ) -> std::io::Result<After> {
        let uuid = core
            .db()
            .read(|view| view.find("VDI", vdi).map_or_else(String::new, |vdi| vdi.str("uuid").to_owned()));
        let (content_type, suffix) = format.names();
        let answer = format!(
            "HTTP/1.1 200 OK\r\n{CLOSING}task-id:{}\r\ncontent-type:{content_type}\r\n\
             content-disposition: attachment; filename=\"{uuid}.{suffix}\"\r\n\r\n",
            task.reference
        );
        self.begin(core, task, &answer).await?;
        let outcome = self.transmit(core, task, vdi, format).await;
        let page = outcome.as_ref().err().map(|failure| {
            let text = match failure.code.as_str() {
                "INTERNAL_ERROR" => failure.param(0).to_owned(),
                "UUID_INVALID" => missing_text(failure),
                _ => shown(failure),
            };
            Page::internal_error(Some(&text)).bytes("HTTP/1.1")
        });
        // Without a result of its own.
        task::finish(core, &task.reference, outcome.map(|()| Value::Nil));
        if matches!(self.exchange.fault, Some(Fault::DropAfterBytes(_) | Fault::DropAfterExecution)) {
            return Ok(After::Reset);
        }
        if let Some(page) = page {
            self.exchange.conn.send(&page).await?;
        }
        Ok(After::Close)
    }

    async fn transmit(
        &mut self,
        core: &Arc<Core>,
        task: &Task,
        vdi: &str,
        format: Format,
    ) -> Result<(), Failure> {
        let base = self.exchange.head.param("base").map(str::to_owned);
        let source = {
            let (core, host, vdi) = (core.clone(), self.exchange.host.clone(), vdi.to_owned());
            let task = task.reference.clone();
            blocking(move || Source::open(&core, &host, &vdi, format, base.as_deref(), &task)).await?
        };
        let mut note = progress_of(core, &task.reference);
        let limit = match self.exchange.fault {
            Some(Fault::DropAfterBytes(limit)) => limit as u64,
            _ => u64::MAX,
        };
        let mut out = Limited { inner: &mut self.exchange.conn, left: limit };
        let Source { disk, len_bytes, blocks, base, .. } = &source;
        let result = match blocks {
            None if format == Format::Tar => export::tar(&mut out, disk, *len_bytes, &mut note).await,
            None => export::raw(&mut out, disk, *len_bytes, &mut note).await,
            Some(blocks) => export::vhd(&mut out, disk, *len_bytes, blocks, base.as_ref(), &mut note).await,
        };
        drop(source);
        result.map_err(|error| io_failure("export", &error))
    }
}

/// Has what was imported, and the objects that know of it, reach the medium.
pub(super) async fn settle(core: &Arc<Core>, disk: Disk) -> Result<(), Failure> {
    let core = core.clone();
    let settled = blocking(move || {
        let disk = core.storage().settle(&disk).map_err(|e| e.to_string());
        disk.and_then(|()| core.db().sync().map_err(|e| e.to_string())).map_err(|e| internal_error(&e))
    });
    settled.await.inspect_err(|failure| tracing::error!(%failure, "an import may be lost with the power"))
}

struct ImportPlan {
    vdi: Option<String>,
    sr: String,
    format: Format,
    length: Option<u64>,
}

/// An output that breaks after so many bytes: a fault on demand.
struct Limited<'a> {
    inner: &'a mut crate::http::Conn,
    left: u64,
}

impl tokio::io::AsyncWrite for Limited<'_> {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        if self.left == 0 {
            return std::task::Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()));
        }
        let len = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let written = std::pin::Pin::new(&mut *self.inner).poll_write(cx, &bytes[..len]);
        if let std::task::Poll::Ready(Ok(n)) = &written {
            self.left -= *n as u64;
        }
        written
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut *self.inner).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut *self.inner).poll_shutdown(cx)
    }
}

/// The hosts that have an SR plugged.
pub(super) fn hosts_of<'v>(view: &'v View, sr: &str) -> Vec<&'v str> {
    let plugged = view.objects("PBD").filter(|pbd| pbd.str("SR") == sr && pbd.bool("currently_attached"));
    plugged.map(|pbd| pbd.str("host")).collect()
}

/// What the page says about a VDI that is not there.
fn missing_text(failure: &Failure) -> String {
    format!("Db_exn.Read_missing_uuid(\"VDI\", \"\", \"{}\")", failure.param(1))
}

/// A failure as XAPI's pages print it.
pub(super) fn shown(failure: &Failure) -> String {
    format!("{}: [ {} ]", failure.code, failure.params.join("; "))
}

pub(super) async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(f).await.unwrap_or_else(|e| Err(internal_error(&e.to_string())))
}

/// Notes progress in a task, a percent at a time.
pub(super) fn progress_of(core: &Arc<Core>, task: &str) -> impl FnMut(f64) + Send + use<> {
    let (core, task) = (core.clone(), task.to_owned());
    let mut noted = 0;
    move |done| {
        let percent = (done * 100.0) as u32;
        // The end is noted with the outcome.
        if percent > noted && percent < 100 {
            noted = percent;
            // A task that was destroyed meanwhile needs no progress.
            let _ = core.db().write(|tx| tx.set("task", &task, "progress", f64::from(percent) / 100.0));
        }
    }
}
