//! The way of one call: name, arguments, session, handler, task.

use std::sync::Arc;

use tracing::debug;
use uuid::Uuid;
use xenapi_types::meta::{self, MessageMeta, Role, Ty};
use xenapi_wire::{Failure, Value};

use super::unmarshal::{internal_error, unmarshal};
use super::{Args, Ctx, implicit};
use crate::classes::{extension, session, task};
use crate::core::Core;
use crate::fault::{Cut, Fault, Wire};
use crate::rpc::{Answer, Outcome, Request};
use crate::schema::{self, Schema};

/// How a method was named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Sync,
    Async,
}

impl Core {
    /// Carries out a call to a host. The second part says where the answer is to be cut; nothing means
    /// that the connection is to be reset without an answer.
    pub(crate) async fn call(
        self: &Arc<Self>,
        host: &str,
        request: Request,
    ) -> Option<(Outcome, Option<Cut>)> {
        let (mode, name) = split_mode(&request.method);
        let name = dotted(name);
        let fault = self.faults().strike(&name);
        let server = self.toolstack.starts();
        self.link_latency().await;
        if let Some(fault) = &fault {
            match fault.before(self).await {
                Wire::Go => {}
                Wire::Drop => return None,
                Wire::Failure(failure) if *fault == Fault::SessionExpired => {
                    return Some((Err(self.expire(request.params.first(), failure)), None));
                }
                Wire::Failure(failure) => return Some((Err(failure), None)),
            }
        }
        let is_stuck = fault == Some(Fault::Stuck);
        let how = (mode, is_stuck, &*name);
        let outcome = self.carry_out(host, server, how, request.params, &request.task_keys).await;
        if !self.toolstack.is_still(server) {
            // A process that has ended does not answer.
            return None;
        }
        match &outcome {
            Ok(_) => debug!(method = %request.method, "done"),
            Err(failure) => debug!(method = %request.method, code = %failure.code, "failed"),
        }
        match fault {
            Some(Fault::DropAfterExecution) => None,
            Some(Fault::RestartAfter) => {
                self.stop_toolstack();
                self.start_toolstack();
                None
            }
            Some(Fault::FailureAfter(failure)) => Some((Err(failure), None)),
            Some(Fault::Silence) => {
                self.faults().hang().await;
                None
            }
            Some(Fault::DropAfterBytes(len)) => Some((outcome, Some(Cut::After(len)))),
            Some(Fault::DropHalfway) => Some((outcome, Some(Cut::Halfway))),
            _ => Some((outcome, None)),
        }
    }

    /// Waits as long as a request takes on its way.
    pub(crate) async fn link_latency(&self) {
        let latency = self.link.latency();
        if !latency.is_zero() {
            self.clock.sleep(latency).await;
        }
    }

    /// Ends the session of a call as if it had been idle for too long.
    fn expire(&self, session: Option<&Value>, mut failure: Failure) -> Failure {
        if let Some(Value::String(session)) = session {
            session::end(self, session);
            failure.params = vec![session.clone()];
        }
        failure
    }

    async fn carry_out(
        self: &Arc<Self>,
        host: &str,
        server: u64,
        (mode, is_stuck, name): (Mode, bool, &str),
        params: Vec<Value>,
        task_keys: &[(String, String)],
    ) -> Outcome {
        if name == "system.listMethods" {
            let names = self.schema().messages().map(|m| m.method.as_str().into()).collect();
            return Ok(Answer::Bare(Value::Array(names)));
        }
        session::stays_here(self, host, name, params.first())?;
        let Some(message) = self.schema().message(name) else {
            return self.extend(name, &params).await;
        };
        let (session, args) = arguments(self.schema(), message, params)?;
        if let Some(session) = &session {
            session::check(self, session)?;
        }
        self.check_form(message, mode)?;
        let session = session.unwrap_or_default();
        let ctx = |task: String| {
            Arc::new(Ctx {
                core: self.clone(),
                message,
                session: session.clone(),
                task,
                host: host.to_owned(),
                server,
            })
        };
        if mode == Mode::Async {
            let reference = task::create(self, host, &session, &format!("Async.{name}"), "")?;
            task::note(self, &reference, task_keys);
            in_background(ctx(reference.clone()), args, is_stuck);
            return Ok(Answer::Value(Value::String(reference)));
        }
        // XAPI makes a task of its own for a call that changes something; one that only looks gets by without.
        let task = match message.role {
            Some(Role::ReadOnly) | None => format!("DummyRef:|{}|{name}", Uuid::new_v4()),
            Some(_) => format!("OpaqueRef:{}", Uuid::new_v4()),
        };
        let ctx = ctx(task);
        let mut value = guarded(ctx, args).await?;
        if let Some(strangeness) = &self.strangeness {
            value = strangeness.answer(value, &message.result);
        }
        Ok(if message.result == Ty::EventBatch { Answer::Batch(value) } else { Answer::Value(value) })
    }

    /// Refuses what the datamodel has, but not in this form or not any more.
    fn check_form(&self, message: &MessageMeta, mode: Mode) -> Result<(), Failure> {
        if mode == Mode::Async && !message.has_async {
            let text = format!("No async mode for this operation (rpc: {})", message.method);
            return Err(Failure::new("Fault", [text]));
        }
        if self.schema().is_removed(message) {
            return Err(Failure::new("MESSAGE_REMOVED", [] as [&str; 0]));
        }
        Ok(())
    }

    /// A method that the datamodel does not have might be an extension, which only users may look for.
    async fn extend(self: &Arc<Self>, name: &str, params: &[Value]) -> Outcome {
        if let Some(Value::String(session)) = params.first() {
            session::check(self, session)?;
            if let Some(answer) = extension::run(self, name, params).await {
                return answer.map(Answer::Value);
            }
        }
        Err(extension::unknown(name))
    }
}

/// Carries a call out beside its answer, which is its task.
fn in_background(ctx: Arc<Ctx>, args: Args, is_stuck: bool) {
    tokio::spawn(async move {
        if is_stuck {
            stuck(&ctx, args.str(0)).await;
        }
        let outcome = guarded(ctx.clone(), args).await;
        task::finish(&ctx.core, &ctx.task, outcome);
    });
}

/// Announces a call on its object, and waits until the faults are cleared.
async fn stuck(ctx: &Ctx, object: &str) {
    let Some((class, operation)) = ctx.message.method.split_once('.') else { return };
    let (field, task) = ("current_operations", &ctx.task);
    let has_field = ctx.core.schema().class(class).is_some_and(|class| class.index(field).is_some());
    if has_field {
        let _ = ctx.write(|tx| tx.set_entry(class, object, field, task, operation));
    }
    ctx.core.faults().hang().await;
    if has_field {
        let _ = ctx.write(|tx| tx.remove_from(class, object, field, task));
    }
}

/// Runs the handler in a task of its own: a call goes on when its client hangs up, and a panic is one call's failure.
/// It ends with the server that runs now.
fn guarded(ctx: Arc<Ctx>, args: Args) -> impl Future<Output = Result<Value, Failure>> + Send {
    let ended = ctx.core.toolstack.ended();
    let handler = async move {
        tokio::select! {
            outcome = run(ctx.clone(), args) => outcome,
            () = ctx.core.stopped() => Err(internal_error("the simulator ends")),
            () = ended => Err(internal_error("the toolstack ends")),
        }
    };
    async move {
        tokio::spawn(handler).await.unwrap_or_else(|e| {
            tracing::error!(error = %e, "a handler panicked");
            Err(internal_error(&e.to_string()))
        })
    }
}

async fn run(ctx: Arc<Ctx>, args: Args) -> Result<Value, Failure> {
    let handler = ctx.core.router.handlers.get(ctx.message.method.as_str()).cloned();
    match handler {
        Some(handler) => handler(ctx, args).await,
        None => implicit::run(&ctx, &args),
    }
}

fn split_mode(method: &str) -> (Mode, &str) {
    for prefix in ["Async.", "InternalAsync."] {
        if let Some(name) = method.strip_prefix(prefix) {
            return (Mode::Async, name);
        }
    }
    (Mode::Sync, method)
}

/// The other spelling, `VM_get_all`, as the usual one.
fn dotted(name: &str) -> String {
    if meta::message(name).is_some() || name.contains('.') {
        return name.to_owned();
    }
    let candidates = name.match_indices('_').map(|(i, _)| format!("{}.{}", &name[..i], &name[i + 1..]));
    candidates.into_iter().find(|dotted| meta::message(dotted).is_some()).unwrap_or_else(|| name.to_owned())
}

/// Checks the number of arguments, takes the session off and gives the rest their types.
fn arguments(
    schema: &Schema,
    message: &MessageMeta,
    mut params: Vec<Value>,
) -> Result<(Option<String>, Args), Failure> {
    let session = usize::from(message.needs_session);
    let received = params.len() as i64 - session as i64;
    let (required, optional) = match &message.params {
        Some(declared) => {
            let known = declared.iter().filter(|param| schema.has_param(param));
            let optional = known.clone().any(|param| param.default.is_some());
            (known.filter(|param| param.default.is_none()).count() as i64, optional)
        }
        // Nothing is known about this method's parameters.
        None => (0, true),
    };
    // Methods with optional parameters do not look at surplus ones.
    let fits = if optional { received >= required } else { received == required };
    if !fits {
        let counts = [message.method.clone(), required.to_string(), received.to_string()];
        return Err(Failure::new("MESSAGE_PARAMETER_COUNT_MISMATCH", counts));
    }
    let session = match message.needs_session {
        true => match unmarshal(schema, params.remove(0), &Ty::String)? {
            Value::String(text) => Some(text),
            other => return Err(internal_error(&format!("{other:?}"))),
        },
        false => None,
    };
    let Some(declared) = &message.params else { return Ok((session, Args::new(params))) };
    let mut given = params.into_iter();
    let mut values = Vec::with_capacity(declared.len());
    for param in declared {
        let given = if schema.has_param(param) { given.next() } else { None };
        values.push(match given {
            Some(value) => unmarshal(schema, value, &param.ty)?,
            None => schema::default(param.default.as_ref(), &param.ty),
        });
    }
    Ok((session, Args::new(values)))
}
