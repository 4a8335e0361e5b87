//! From a method's name and untyped arguments to a handler and an answer.
//!
//! Each class registers what its methods do:
//!
//! ```text
//! pub(crate) fn register(router: &mut Router) {
//!     router.on(|ctx, call: vbd::Plug| ctx.write(|tx| …));       // a typed call
//!     router.raw("VBD.plug", |ctx, args| ctx.write(|tx| …));           // its arguments as values
//!     router.blocking("VDI.copy", |ctx, args| …);                      // does file work
//!     router.future("VM.start", |ctx, args| async move { … });         // waits
//! }
//! ```
//!
//! Before a handler runs, the number of arguments and the session have been checked and the arguments have the types
//! of the datamodel, with defaults filled in: `args.str(0)` is a text for certain, and the argument of a constructor
//! is a struct with every optional member present. Methods without a handler that the datamodel declares implicitly
//! (`get_record`, `set_name_label`, `add_to_other_config`, ...) are answered from the database; other methods without
//! one are `NOT_IMPLEMENTED`.

mod args;
mod call;
mod implicit;
pub(crate) mod query;
mod unmarshal;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use xenapi_types::meta::{self, MessageMeta};
use xenapi_wire::{Call, DateTime, Failure, Value};

use crate::core::Core;
use crate::db::{Tx, View};
use crate::http::Handlers;
use crate::schema::Schema;

pub use args::Args;
pub(crate) use implicit::{storable, void};
pub(crate) use unmarshal::{internal_error, unmarshal};

type HandlerFuture = Pin<Box<dyn Future<Output = Result<Value, Failure>> + Send>>;
type Handler = Arc<dyn Fn(Arc<Ctx>, Args) -> HandlerFuture + Send + Sync>;

/// What the methods do.
pub struct Router {
    pub(crate) schema: &'static Schema,
    handlers: HashMap<&'static str, Handler>,
    /// The HTTP handlers besides RPC.
    pub http: Handlers,
}

/// One call in progress.
pub struct Ctx {
    /// The pool.
    pub core: Arc<Core>,
    /// The message.
    pub message: &'static MessageMeta,
    /// The session it was made with; empty for calls without one.
    pub session: String,
    /// The task: an object of the database for asynchronous calls, otherwise only a name.
    pub task: String,
    /// The reference of the host the client is connected to.
    pub host: String,
    /// Which [start](crate::toolstack::Toolstack::starts) of the server took it.
    pub(crate) server: u64,
}

impl Router {
    /// A router without handlers.
    pub fn new(schema: &'static Schema) -> Self {
        Self { schema, handlers: HashMap::new(), http: Handlers::default() }
    }

    /// Registers a quick function that takes the call as a type.
    pub fn on<C: Call>(
        &mut self,
        f: impl Fn(&Arc<Ctx>, C) -> Result<C::Output, Failure> + Send + Sync + 'static,
    ) {
        self.raw(C::METHOD, move |ctx, args| {
            let output = f(ctx, typed(args)?)?;
            untyped(&output)
        });
    }

    /// Registers a quick function.
    pub fn raw(
        &mut self,
        method: &str,
        f: impl Fn(&Arc<Ctx>, &Args) -> Result<Value, Failure> + Send + Sync + 'static,
    ) {
        self.insert(method, Arc::new(move |ctx, args| Box::pin(std::future::ready(f(&ctx, &args)))));
    }

    /// Registers a function that may do file work: it gets a thread of its own.
    pub fn blocking(
        &mut self,
        method: &str,
        f: impl Fn(&Arc<Ctx>, &Args) -> Result<Value, Failure> + Send + Sync + 'static,
    ) {
        let f = Arc::new(f);
        let handler: Handler = Arc::new(move |ctx, args| {
            let f = f.clone();
            Box::pin(async move {
                tokio::task::spawn_blocking(move || f(&ctx, &args))
                    .await
                    .unwrap_or_else(|e| Err(internal_error(&e.to_string())))
            })
        });
        self.insert(method, handler);
    }

    /// Registers an asynchronous function.
    pub fn future<F>(&mut self, method: &str, f: impl Fn(Arc<Ctx>, Args) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<Value, Failure>> + Send + 'static,
    {
        self.insert(method, Arc::new(move |ctx, args| Box::pin(f(ctx, args))));
    }

    fn insert(&mut self, method: &str, handler: Handler) {
        let message = meta::message(method).unwrap_or_else(|| panic!("the datamodel has no method {method}"));
        let before = self.handlers.insert(&message.method, handler);
        assert!(before.is_none(), "two handlers for {method}");
    }
}

impl Ctx {
    /// Looks at the objects.
    pub fn read<T>(&self, f: impl FnOnce(&View) -> T) -> T {
        self.core.db.read(f)
    }

    /// Changes objects; see [`crate::db::Db::write`].
    ///
    /// # Errors
    /// What the closure returns; `INTERNAL_ERROR` when the server that took the call has ended: what still works on
    /// its files is a thread that no process has any more.
    pub fn write<T, E: From<Failure>>(&self, f: impl FnOnce(&mut Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        self.core.db.write(|tx| match self.core.toolstack.is_still(self.server) {
            true => f(tx),
            false => Err(internal_error("the toolstack has ended").into()),
        })
    }

    /// The simulated time as XAPI writes it.
    pub fn date(&self) -> DateTime {
        self.core.clock.date()
    }

    /// Whether [`Ctx::task`] is an object of the database.
    pub fn has_task_object(&self) -> bool {
        self.read(|view| view.exists("task", &self.task))
    }

    /// Notes how much of an asynchronous call is done, from 0 to 1.
    pub fn progress(&self, done: f64) {
        if self.has_task_object() {
            // A task that was destroyed meanwhile needs no progress.
            let _ = self.write(|tx| tx.set("task", &self.task, "progress", done));
        }
    }

    /// Notes how often the hypervisor's daemon looked whether an asynchronous call had been cancelled.
    pub fn cancel_points(&self, seen: u32) {
        if self.has_task_object() {
            let key = "debug_info:cancel_points_seen";
            let _ = self.write(|tx| tx.set_entry("task", &self.task, "other_config", key, seen.to_string()));
        }
    }

    /// Whether somebody has asked for the end of an asynchronous call.
    pub fn is_cancelled(&self) -> bool {
        self.read(|view| {
            let asked = Value::from("cancel");
            let task = view.find("task", &self.task);
            task.is_some_and(|task| task.map("current_operations").values().any(|op| *op == asked))
        })
    }

    /// The guard of an operation that has been announced in `current_operations` already.
    pub fn announced(self: &Arc<Self>, class: &'static str, reference: &str) -> Busy {
        Busy { ctx: self.clone(), class, reference: reference.to_owned() }
    }

    /// Marks an object as busy with an operation of this call until the guard is dropped.
    ///
    /// # Errors
    /// `HANDLE_INVALID` when there is no such object.
    pub fn operation(
        self: &Arc<Self>,
        class: &'static str,
        reference: &str,
        operation: &str,
    ) -> Result<Busy, Failure> {
        self.write(|tx| tx.set_entry(class, reference, "current_operations", &self.task, operation))?;
        Ok(self.announced(class, reference))
    }
}

/// An entry in an object's `current_operations`.
pub struct Busy {
    ctx: Arc<Ctx>,
    class: &'static str,
    reference: String,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Self { ctx, class, reference } = self;
        // The operation may have ended the object.
        let _ = ctx.write(|tx| tx.remove_from(class, reference, "current_operations", &ctx.task));
    }
}

fn typed<C: Call>(args: &Args) -> Result<C, Failure> {
    let list = Value::Array(args.iter().cloned().collect());
    list.decode().map_err(|e| internal_error(&e.to_string()))
}

fn untyped<T: serde::Serialize>(output: &T) -> Result<Value, Failure> {
    Value::encode(output).map_err(|e| internal_error(&e.to_string()))
}
