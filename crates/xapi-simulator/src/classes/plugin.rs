//! Plugins: programs in dom0 that clients may run.
//!
//! Without a directory of its own, a simulated dom0 has one: [`console`], which shows what simulated guests write. Else
//! they are real programs in the directory of [`Config::plugins`](crate::core::Config::plugins). A disk that dom0 has
//! attached is there as a device while a program runs that is told of it, and an SR of files as a folder.

mod console;
mod devices;
mod folders;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use xenapi_wire::plugin::{PluginCall, decode_response};
use xenapi_wire::{DecodeError, DecodeErrorKind, Failure, Limits, Value};

use super::vm::operations;
use crate::db::View;
use crate::dispatch::{Args, Ctx, Router, internal_error};
use crate::process::{self, Ended};

pub(super) fn register(router: &mut Router) {
    router.future("host.call_plugin", call);
    router.raw("VM.call_plugin", |ctx, args| {
        // These go to the agent of a guest, which has none.
        ctx.read(|view| operations::check(view.object("VM", args.str(0))?, "call_plugin", None))?;
        Err(missing(args.str(1)))
    });
}

/// Checks that there is a host to send a call to.
///
/// # Errors
/// `HOST_OFFLINE`, also for a host that never was.
pub(super) fn online(view: &View, host: &str) -> Result<(), Failure> {
    match view.exists("host", host) {
        true => Ok(()),
        false => Err(Failure::new("HOST_OFFLINE", [host])),
    }
}

fn missing(plugin: &str) -> Failure {
    Failure::new("XENAPI_MISSING_PLUGIN", [plugin])
}

async fn call(ctx: Arc<Ctx>, args: Args) -> Result<Value, Failure> {
    let uuid = ctx.read(|view| {
        online(view, args.str(0))?;
        Ok::<_, Failure>(view.object("host", args.str(0))?.str("uuid").to_owned())
    })?;
    let plugins = ctx.core.config().plugins.as_deref();
    let own = plugins.map(|all| all.join(uuid)).filter(|own| own.is_dir());
    let plugins = own.as_deref().or(plugins);
    if plugins.is_none() && args.str(1) == console::NAME {
        return console::answer(&ctx, &args).map(Value::String);
    }
    let program = find(plugins, args.str(1)).ok_or_else(|| missing(args.str(1)))?;
    let texts = args.map(3).iter();
    let call = PluginCall {
        function: args.str(2).to_owned(),
        session: ctx.session.clone(),
        args: texts.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect(),
    };
    let argument = call.encode().map_err(|e| internal_error(&e.to_string()))?;
    let texts: Vec<String> = call.args.into_values().collect();
    let running = process::run(&program, argument, &[], ctx.core.config().plugin_timeout);
    let running = folders::with(&ctx.core, args.str(0), &texts, running);
    match devices::with(&ctx.core, args.str(0), texts.clone(), running).await {
        Ok(ended) => outcome(&ended).map(Value::String),
        Err(error) => {
            // XAPI's child starts the plugin, and dies without a word when that cannot be done.
            tracing::warn!(program = %program.display(), %error, "cannot run a plugin");
            Err(failed(["non-zero exit", "", ""]))
        }
    }
}

/// A program is an entry of the directory and nothing else: no path leads out of it.
pub(super) fn find(directory: Option<&Path>, name: &str) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(directory?).ok()?;
    entries
        .any(|entry| entry.is_ok_and(|entry| entry.file_name() == name))
        .then(|| directory.map(|directory| directory.join(name)))?
}

fn failed<const N: usize>(params: [&str; N]) -> Failure {
    Failure::new("XENAPI_PLUGIN_FAILURE", params)
}

/// What a plugin's end means to its caller.
fn outcome(ended: &Ended) -> Result<String, Failure> {
    let (stdout, stderr) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    if let Some(signal) = process::signal_name(ended.status) {
        return Err(failed([&format!("signal: {signal}"), &stdout, &stderr]));
    }
    if !ended.status.success() {
        return Err(failed(["non-zero exit", &stdout, &stderr]));
    }
    let limits = Limits { max_bytes: ended.stdout.len(), ..Limits::RESPONSE };
    match decode_response(&ended.stdout, &limits) {
        Ok(answer) => answer,
        Err(error) if matches!(error.kind(), DecodeErrorKind::WrongType { .. }) => {
            Err(internal_error(&format!("XMLRPC.RunTimeTypeError({:?}, _)", error.to_string())))
        }
        Err(error) => Err(failed(["failed to parse plugin output", &stdout, &complaint(&error, &stdout)])),
    }
}

/// What XAPI's parser says of output that is no answer.
fn complaint(error: &DecodeError, output: &str) -> String {
    match error.kind() {
        _ if output.trim().is_empty() => "unexpected end of input line 1".to_owned(),
        DecodeErrorKind::NotRpc { .. } => "expected root element line 1".to_owned(),
        _ => error.to_string(),
    }
}
