//! Extensions: programs in dom0 that add methods to the API.
//!
//! They are real programs in the directory of [`Config::extensions`](crate::core::Config::extensions), each with the
//! name of a method that XAPI does not have (`Widget.turn`). One is started with `--xmlrpc`, gets the whole call on its
//! standard input, and prints the answer.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value as Json;
use xenapi_types::meta::Ty;
use xenapi_wire::{Failure, Limits, Value, xmlrpc};

use super::plugin::{find, online};
use crate::core::Core;
use crate::dispatch::{Args, Ctx, Router, internal_error};
use crate::json;
use crate::process::{self, Ended};

pub(super) fn register(router: &mut Router) {
    router.raw("host.has_extension", |ctx, args| {
        ctx.read(|view| online(view, args.str(0)))?;
        Ok(Value::Bool(program(&ctx.core, args.str(1)).is_some()))
    });
    router.raw("pool.has_extension", |ctx, args| {
        ctx.read(|view| view.object("pool", args.str(0)).map(drop))?;
        Ok(Value::Bool(program(&ctx.core, args.str(1)).is_some()))
    });
    router.future("host.call_extension", call_extension);
}

fn program(core: &Core, name: &str) -> Option<PathBuf> {
    find(core.config().extensions.as_deref(), name)
}

/// A call in JSON, whose answer comes as text in JSON.
#[derive(Deserialize)]
struct Wrapped {
    method: String,
    #[serde(default)]
    params: Vec<Json>,
}

async fn call_extension(ctx: Arc<Ctx>, args: Args) -> Result<Value, Failure> {
    ctx.read(|view| online(view, args.str(0)))?;
    let call: Wrapped = serde_json::from_str(args.str(1))
        .map_err(|e| internal_error(&format!("Yojson__Common.Json_error({:?})", e.to_string())))?;
    let unreadable = |text: String| Failure::new("EXTENSION_PROTOCOL_FAILURE", [text]);
    let params: Result<Vec<Value>, _> = call.params.into_iter().map(|p| json::decode(p, &Ty::Any)).collect();
    let answer = run(&ctx.core, &call.method, &params.map_err(unreadable)?).await;
    let answer = answer.ok_or_else(|| unknown(&call.method))??;
    Ok(Value::String(json::encode(&answer).to_string()))
}

/// What is said of a method that neither XAPI nor an extension has.
pub(crate) fn unknown(method: &str) -> Failure {
    Failure::new("MESSAGE_METHOD_UNKNOWN", [method])
}

/// Has an extension answer a call, whose first parameter is the session; nothing when there is none of that name.
pub(crate) async fn run(core: &Core, method: &str, params: &[Value]) -> Option<Result<Value, Failure>> {
    let program = program(core, method)?;
    let call = match xmlrpc::encode_call(method, None, params) {
        Ok(call) => call,
        Err(error) => return Some(Err(internal_error(&error.to_string()))),
    };
    let path = program.display().to_string();
    let ended = process::run(&program, "--xmlrpc", call.as_bytes(), core.config().plugin_timeout).await;
    Some(match ended {
        Ok(ended) => outcome(&path, &ended),
        Err(error) => {
            tracing::warn!(program = path, %error, "cannot run an extension");
            Err(failed(&path, "non-zero exit", "", ""))
        }
    })
}

/// What an extension's end means to its caller.
fn outcome(path: &str, ended: &Ended) -> Result<Value, Failure> {
    let (stdout, stderr) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    if let Some(signal) = process::signal_name(ended.status) {
        return Err(failed(path, &format!("signal: {signal}"), &stdout, &stderr));
    }
    if !ended.status.success() {
        return Err(failed(path, "non-zero exit", &stdout, &stderr));
    }
    let limits = Limits { max_bytes: ended.stdout.len(), ..Limits::RESPONSE };
    xmlrpc::decode_response::<Value>(&ended.stdout, &limits)
        .unwrap_or_else(|_| Err(failed(path, "failed to parse extension output", &stdout, &stderr)))
}

fn failed(path: &str, how: &str, stdout: &str, stderr: &str) -> Failure {
    Failure::new("INTERNAL_ERROR", [path, how, stdout, stderr])
}
