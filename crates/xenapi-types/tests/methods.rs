//! The messages of the tables are exactly the methods of a real server.
#![cfg(feature = "meta")]

use std::collections::BTreeSet;

use xenapi_types::meta::{self, MessageKind, Mode, Ty};
use xenapi_wire::{Limits, Value, jsonrpc};

fn recorded_methods() -> BTreeSet<String> {
    let scenario = testdata::scenario("list_methods");
    let step = scenario
        .steps
        .iter()
        .find(|s| s.transport == "jsonrpc2" && s.method_name.as_deref() == Some("system.listMethods"))
        .expect("the recording lists methods over JSON-RPC");
    let answer: serde_json::Value = serde_json::from_slice(&step.response.body()).unwrap();
    let list = answer["result"].as_array().unwrap();
    list.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_tables_have_exactly_the_methods_of_the_server() {
    let recorded = recorded_methods();
    let ours: BTreeSet<String> = meta::messages().iter().map(|m| m.method.clone()).collect();
    assert_eq!(ours.len(), meta::messages().len(), "a method is there twice");
    let missing: Vec<_> = recorded.difference(&ours).collect();
    let invented: Vec<_> = ours.difference(&recorded).collect();
    assert!(missing.is_empty() && invented.is_empty(), "missing {missing:?}, invented {invented:?}");
    assert_eq!(ours.len(), 2258);
}

#[test]
fn every_type_named_is_known() {
    fn check(ty: Ty, at: &str) {
        match ty {
            Ty::Enum(name) => assert!(meta::enum_values(name).is_some(), "{at}: enum {name}"),
            Ty::Ref(name) | Ty::Record(name) => assert!(meta::class(name).is_some(), "{at}: class {name}"),
            Ty::Set(inner) | Ty::Option(inner) => check(*inner, at),
            Ty::Map(key, value) => {
                check(*key, at);
                check(*value, at);
            }
            _ => {}
        }
    }
    for message in meta::messages() {
        check(message.result, &message.method);
        message.params.iter().flatten().for_each(|p| check(p.ty, &message.method));
    }
    for class in meta::CLASSES {
        class.fields.iter().for_each(|f| check(f.ty, f.name));
    }
}

#[test]
fn implicit_messages_follow_from_the_fields() {
    let set = meta::message("VM.add_to_other_config").unwrap();
    assert!(matches!(set.kind, MessageKind::AddTo(f) if f.name == "other_config"));
    assert_eq!(set.params.as_ref().unwrap().len(), 3);
    let create = meta::message("VDI.create").unwrap();
    assert!(create.has_async);
    assert!(create.class.create_fields().all(|f| f.mode != Mode::Runtime));
    let copy = meta::message("VDI.copy").unwrap();
    assert_eq!(copy.required_params(), Some(1));
    let field = copy.class.field("name_label").unwrap();
    assert_eq!(field.db_name, "name__label");
    assert!(meta::message("VM.get_all").is_some() && meta::message("Async.VM.get_all").is_none());
}

/// `MESSAGE_PARAMETER_COUNT_MISMATCH [method, expected, received]`: the server counts what must be given.
#[test]
fn required_parameters_are_counted_as_the_server_counts_them() {
    let mut seen = BTreeSet::new();
    for name in testdata::scenario_names() {
        for step in testdata::scenario(&name).steps {
            if step.transport != "jsonrpc2" || step.method_name.is_none() {
                continue;
            }
            let body = step.response.body();
            let Ok(answer) = jsonrpc::decode_response::<Value>(&body, &Limits::RESPONSE) else { continue };
            let Err(failure) = answer.result else { continue };
            if failure.code != "MESSAGE_PARAMETER_COUNT_MISMATCH" {
                continue;
            }
            let message = meta::message(failure.param(0)).unwrap();
            let required = message.required_params().unwrap();
            assert_eq!(required.to_string(), failure.param(1), "{}", message.method);
            seen.insert(message.method.clone());
        }
    }
    assert!(seen.len() > 5, "only {seen:?}");
}
