//! What a real server took and returned over JSON-RPC, which tells numbers from texts, has the types
//! of the tables.
#![cfg(feature = "meta")]

use std::collections::BTreeSet;

use xenapi_types::meta::{self, Ty};
use xenapi_wire::{DateTime, Limits, Value, jsonrpc};

/// Where a value does not have a type, as XAPI writes it.
fn misfit(ty: Ty, value: &Value, path: &str) -> Option<String> {
    let fits = match (ty, value) {
        (Ty::Any, _) | (Ty::Record("event") | Ty::EventBatch, Value::Struct(_)) => true,
        (Ty::Void, Value::String(s)) => s.is_empty(),
        (Ty::String | Ty::Ref(_), Value::String(_)) => true,
        (Ty::Int, Value::Int(_)) | (Ty::Bool, Value::Bool(_)) | (Ty::Float, Value::Double(_)) => true,
        // Numbers are taken from text as well.
        (Ty::Int | Ty::Float | Ty::DateTime, Value::String(_)) if path.starts_with("parameter") => true,
        // Floats without fraction are written as such, but a reader of JSON sees an integer.
        (Ty::Float, Value::Int(_)) => true,
        (Ty::Float, Value::String(s)) => ["Infinity", "-Infinity", "NaN"].contains(&s.as_str()),
        (Ty::DateTime, Value::DateTime(_)) => true,
        (Ty::DateTime, Value::String(s)) => s.parse::<DateTime>().is_ok(),
        (Ty::Enum(name), Value::String(s)) => {
            meta::enum_values(name).unwrap().iter().any(|v| v.eq_ignore_ascii_case(s))
        }
        (Ty::Set(item), Value::Array(list)) => {
            return list.iter().find_map(|v| misfit(*item, v, path));
        }
        (Ty::Map(key, item), Value::Struct(map)) => {
            return map.iter().find_map(|(k, v)| {
                let as_key = match key {
                    Ty::Int => k.parse().map_or(Value::Nil, Value::Int),
                    _ => Value::String(k.clone()),
                };
                misfit(*key, &as_key, path).or_else(|| misfit(*item, v, path))
            });
        }
        (Ty::Record(class), Value::Struct(record)) => {
            let class = meta::class(class).unwrap();
            return record.iter().find_map(|(name, v)| match class.field(name) {
                Some(field) => misfit(field.ty, v, &format!("{path}.{name}")),
                None => Some(format!("{path}.{name} is no field")),
            });
        }
        _ => false,
    };
    (!fits).then(|| format!("{path}: {value:?} is no {ty:?}"))
}

#[test]
fn recorded_results_and_parameters_have_the_types_of_the_tables() {
    let (mut results, mut params) = (0, 0);
    let mut misfits = BTreeSet::new();
    for name in testdata::scenario_names() {
        for step in testdata::scenario(&name).steps {
            let Some(method) = step.method_name.as_deref() else { continue };
            if step.transport != "jsonrpc2" || step.response.status != Some(200) {
                continue;
            }
            let body = step.response.body();
            let Ok(answer) = jsonrpc::decode_response::<Value>(&body, &Limits::RESPONSE) else { continue };
            let (Some(message), Ok(result)) = (meta::message(method), answer.result) else { continue };
            misfits.extend(misfit(message.result, &result, &format!("result of {method}")));
            results += 1;

            let request = step.request.body().unwrap();
            let Ok(call) = jsonrpc::decode_call(&request, &Limits::RESPONSE) else { continue };
            let Some(declared) = &message.params else { continue };
            let sent = &call.params[usize::from(message.needs_session).min(call.params.len())..];
            let required = message.required_params().unwrap();
            // The log-in takes any number of further parameters.
            let most = if method == "session.login_with_password" { usize::MAX } else { declared.len() };
            if !(required..=most).contains(&sent.len()) {
                misfits.insert(format!("{name}: {method} took {} parameters", sent.len()));
            }
            for (param, value) in declared.iter().zip(sent) {
                misfits.extend(misfit(param.ty, value, &format!("parameter {} of {method}", param.name)));
                params += 1;
            }
        }
    }
    assert!(misfits.is_empty(), "{misfits:#?}");
    assert!(results > 400 && params > 400, "only {results} results and {params} parameters");
}
