//! A pool with one disk, whose transfers follow a script.

use std::future::Future;
use std::sync::{Arc, Mutex};

use xenapi_client::{Client, Connect};
use xenapi_types::Vdi;
use xenapi_wire::{Failure, Ref, Value};

use super::{Head, Peer, SESSION, config, in_process, session_calls, text};

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: no-cache, no-store\r\n\
                  task-id:OpaqueRef:t\r\ncontent-type: application/octet-stream\r\n\r\n";
pub(crate) const PAGE: &str = "HTTP/1.1 500 Internal Error\r\ncontent-length: 30\r\ncontent-type: text/html\r\n\r\n\
                    <html><h1>HTTP 500</h1></html>";

/// A pool with one disk, whose transfers follow a script.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Mutex<State>>);

pub(crate) struct State {
    /// What the hosts are told the transfer's task has come to.
    pub(crate) task: (&'static str, Vec<String>),
    /// A record in its place.
    pub(crate) ended: Option<Value>,
    pub(crate) progress: f64,
    pub(crate) tasks_made: usize,
    pub(crate) log: Vec<String>,
    pub(crate) received: Vec<u8>,
    pub(crate) virtual_size: i64,
    pub(crate) sr_free: i64,
    pub(crate) dom0_holds: usize,
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            task: ("pending", Vec::new()),
            ended: None,
            progress: 0.0,
            tasks_made: 0,
            log: Vec::new(),
            received: Vec::new(),
            virtual_size: 1 << 20,
            sr_free: 1 << 40,
            dom0_holds: 0,
        })))
    }

    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }

    pub(crate) fn end_task(&self, status: &'static str, error: &[&str]) {
        self.with(|state| state.task = (status, error.iter().map(ToString::to_string).collect()));
    }

    /// A client of it; `script` serves everything that is not a call.
    pub(crate) fn client<F, Fut>(&self, script: F) -> Client
    where
        F: Fn(Self, Peer, Head, String) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Client::over(config(), self.connector(script)).unwrap()
    }

    /// The way to it; `script` serves everything that is not a call.
    pub(crate) fn connector<F, Fut>(&self, script: F) -> impl Connect
    where
        F: Fn(Self, Peer, Head, String) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let pool = self.clone();
        in_process(move |mut peer: Peer, url| {
            let (pool, script) = (pool.clone(), script.clone());
            async move {
                while let Some(head) = peer.head().await {
                    if head.method != "POST" {
                        assert!(head.bytes <= 1_006, "{head:?}");
                        let session = format!("session_id={SESSION}");
                        assert_eq!(head.header("cookie"), Some(session.as_str()));
                        assert!(!head.target.contains(SESSION), "the session is no part of a URL");
                        return script(pool, peer, head, url).await;
                    }
                    let pool = pool.clone();
                    peer.answer_call(&head, |method, params| {
                        session_calls(method).unwrap_or_else(|| pool.with(|state| state.call(method, params)))
                    })
                    .await;
                }
            }
        })
    }
}

impl State {
    pub(crate) fn call(&mut self, method: &str, params: &[Value]) -> Result<Value, Failure> {
        let record = |fields: &[(&str, Value)]| {
            Value::Struct(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
        };
        let refs = |list: &[&str]| Value::Array(list.iter().map(|r| text(r)).collect());
        Ok(match method {
            "VDI.get_SR" => text("OpaqueRef:sr"),
            "PBD.get_all_records_where" => {
                record(&[("OpaqueRef:pbd", record(&[("host", text("OpaqueRef:host"))]))])
            }
            "host.get_address" => text("10.0.0.9"),
            "pool.get_all_records" => {
                record(&[("OpaqueRef:pool", record(&[("master", text("OpaqueRef:host"))]))])
            }
            "VDI.get_virtual_size" => Value::Int(self.virtual_size),
            "SR.get_physical_size" => Value::Int(1 << 41),
            "SR.get_physical_utilisation" => Value::Int((1 << 41) - self.sr_free),
            "task.create" => {
                self.tasks_made += 1;
                self.task = ("pending", Vec::new());
                text(&format!("OpaqueRef:t{}", self.tasks_made))
            }
            "task.get_record" if self.ended.is_some() => self.ended.clone().unwrap(),
            "task.get_record" => record(&[
                ("status", text(self.task.0)),
                ("progress", Value::Double(self.progress)),
                ("error_info", Value::Array(self.task.1.iter().map(|t| text(t)).collect())),
                ("result", text("")),
            ]),
            "task.destroy" | "task.set_status" => {
                self.log.push(format!("{method} {}", params[1].as_str().unwrap()));
                text("")
            }
            "event.from" => record(&[("events", Value::Array(Vec::new())), ("token", text("1,1"))]),
            "VDI.get_VBDs" => refs(&["OpaqueRef:vbd"]),
            "VBD.get_record" => {
                let attached = self.dom0_holds > 0;
                self.dom0_holds = self.dom0_holds.saturating_sub(1);
                record(&[("currently_attached", Value::Bool(attached)), ("VM", text("OpaqueRef:dom0"))])
            }
            "VM.get_record" => {
                record(&[("is_control_domain", Value::Bool(true)), ("name_label", text("Control domain"))])
            }
            other => panic!("unexpected call {other}"),
        })
    }
}

pub(crate) fn disk() -> Ref<Vdi> {
    "OpaqueRef:00000000-0000-4000-8000-00000000000d".into()
}
