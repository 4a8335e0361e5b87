//! Calls as sequences of parameters: what recorded clients sent, and what ours send.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use testdata::{Scenario, Step};
use xenapi_types::handler::{self, ExportRawVdi, Handler, ImportRawVdi, Request};
use xenapi_types::*;
use xenapi_wire::{Limits, Value, jsonrpc, xmlrpc};

static RECORDINGS: LazyLock<Vec<Scenario>> =
    LazyLock::new(|| testdata::scenario_names().iter().map(|name| testdata::scenario(name)).collect());

/// Reads a call from its parameters and writes them again.
#[track_caller]
fn round_trip<C: Call + PartialEq + std::fmt::Debug>(call: &C, params: &serde_json::Value) {
    let written = serde_json::to_value(call).unwrap();
    assert_eq!(&written, params);
    assert_eq!(&serde_json::from_value::<C>(written).unwrap(), call);
}

#[test]
fn trailing_defaults_are_left_out_until_one_is_given() {
    let vdi = Ref::<Vdi>::from("OpaqueRef:v");
    let mut copy = vdi::Copy { vdi, sr: None, base_vdi: None, into_vdi: None };
    round_trip(&copy, &serde_json::json!(["OpaqueRef:v"]));
    copy.sr = Some(Ref::from("OpaqueRef:s"));
    round_trip(&copy, &serde_json::json!(["OpaqueRef:v", "OpaqueRef:s"]));
    // What stands before a given parameter goes with the server's default.
    copy.sr = None;
    copy.into_vdi = Some(Ref::from("OpaqueRef:i"));
    let full = serde_json::to_value(&copy).unwrap();
    assert_eq!(full, serde_json::json!(["OpaqueRef:v", "OpaqueRef:NULL", "OpaqueRef:NULL", "OpaqueRef:i"]));
    let read: vdi::Copy = serde_json::from_value(full).unwrap();
    assert_eq!(read.sr, Some(Ref::NULL));
}

#[test]
fn wrong_numbers_of_parameters_are_errors() {
    let error = |params: &str| serde_json::from_str::<vm::Start>(params).unwrap_err().to_string();
    assert!(error(r#"["OpaqueRef:v"]"#).starts_with("1 parameters instead of 3"));
    assert!(error(r#"["OpaqueRef:v", false, false, 1]"#).starts_with("more parameters"));
    assert!(serde_json::from_str::<vm::Start>(r#"["OpaqueRef:v", false, true]"#).unwrap().force);
}

#[test]
fn constructors_send_their_fields_alone() {
    let create = vdi::Create {
        sr: Ref::from("OpaqueRef:s"),
        virtual_size: 1 << 30,
        r#type: VdiType::User,
        name_label: "root".into(),
        ..Default::default()
    };
    let written = serde_json::to_value(&create).unwrap();
    let fields = written[0].as_object().unwrap();
    assert!(!fields.contains_key("uuid") && !fields.contains_key("allowed_operations"));
    for required in ["SR", "virtual_size", "type", "sharable", "read_only", "other_config"] {
        assert!(fields.contains_key(required), "{required}");
    }
    assert_eq!(serde_json::from_value::<vdi::Create>(written).unwrap(), create);
    // Defaults are the server's, not Rust's.
    let vbd = vbd::Create::default();
    assert!(vbd.unpluggable && !vbd.currently_attached);
    assert_eq!(network::Create::default().mtu, 1500);
    // What older hosts do not know is not sent unless it is set.
    let vm = serde_json::to_value(vm::Create::default()).unwrap();
    assert!(vm[0].get("name_label").is_some() && vm[0].get("actions_after_softreboot").is_none());
}

#[test]
fn enums_are_open() {
    let state: VmPowerState = serde_json::from_str(r#""Hibernating""#).unwrap();
    assert_eq!(state, VmPowerState::Unknown("Hibernating".into()));
    assert_eq!(serde_json::to_string(&state).unwrap(), r#""Hibernating""#);
    for known in VmOperations::KNOWN {
        assert_eq!(&VmOperations::from(known.as_str()), known);
    }
    // A value that is itself called "unknown" is not what is not known.
    assert_eq!(PifIgmpStatus::from("unknown"), PifIgmpStatus::NotKnown);
}

#[test]
fn records_tolerate_what_is_missing_and_what_is_new() {
    let old = r#"{"uuid": "u", "no_such_field": {"deep": [1, null]}, "MTU": 9000}"#;
    let network: NetworkRecord = serde_json::from_str(old).unwrap();
    assert_eq!((network.uuid.as_str(), network.mtu, network.managed), ("u", 9000, true));
    let vm: VmRecord = serde_json::from_str("{}").unwrap();
    assert_eq!((vm.pending_guidances, vm.power_state), (None, VmPowerState::Halted));
}

#[test]
fn secrets_are_not_shown() {
    let login = session::LoginWithPassword {
        uname: "root".into(),
        pwd: "pa55word".into(),
        version: None,
        originator: None,
    };
    let shown = format!("{login:?}");
    assert!(shown.contains("root") && !shown.contains("pa55word"), "{shown}");
    let config = BTreeMap::from([("chappassword".to_owned(), "pa55word".to_owned())]);
    let pbd = PbdRecord::default();
    let create = pbd::Create { device_config: config.clone(), host: pbd.host, ..Default::default() };
    assert!(!format!("{create:?}").contains("pa55word"));
    let plugin = host::CallPlugin { host: Ref::NULL, plugin: "p".into(), r#fn: "f".into(), args: config };
    assert!(!format!("{plugin:?}").contains("pa55word"));
    let secret = secret::Create { value: "pa55word".into(), ..Default::default() };
    assert!(!format!("{secret:?}").contains("pa55word"));
    const { assert!(!session::LoginWithPassword::NEEDS_SESSION && !session::LoginWithPassword::HAS_ASYNC) };
}

/// Recorded requests of one call, read and written again.
fn recorded<C: Call + PartialEq + std::fmt::Debug>() -> usize {
    let mut count = 0;
    for scenario in RECORDINGS.iter() {
        let name = &scenario.scenario;
        for step in &scenario.steps {
            if step.method_name.as_deref() != Some(C::METHOD) || !succeeded(step) {
                continue;
            }
            let body = step.request.body().unwrap();
            let params = match step.transport.as_str() {
                "xmlrpc" => xmlrpc::decode_call(&body, &Limits::REQUEST).unwrap().params,
                _ => jsonrpc::decode_call(&body, &Limits::REQUEST).unwrap().params,
            };
            let own = params[usize::from(C::NEEDS_SESSION)..].to_vec();
            let call: C = Value::Array(own).decode().unwrap_or_else(|e| panic!("{name}: {}: {e}", C::METHOD));
            let again: C = Value::encode(&call).unwrap().decode().unwrap();
            assert_eq!(again, call);
            count += 1;
        }
    }
    count
}

fn succeeded(step: &Step) -> bool {
    let body = step.response.body();
    match step.transport.as_str() {
        "xmlrpc" => matches!(xmlrpc::decode_response::<Value>(&body, &Limits::RESPONSE), Ok(Ok(_))),
        "jsonrpc2" | "jsonrpc1" => {
            jsonrpc::decode_response::<Value>(&body, &Limits::RESPONSE).is_ok_and(|r| r.result.is_ok())
        }
        _ => false,
    }
}

#[test]
fn recorded_calls_are_typed() {
    let counts = BTreeMap::from([
        (vm::Start::METHOD, recorded::<vm::Start>()),
        (vm::Create::METHOD, recorded::<vm::Create>()),
        (vm::Snapshot::METHOD, recorded::<vm::Snapshot>()),
        (vdi::Create::METHOD, recorded::<vdi::Create>()),
        (vdi::Copy::METHOD, recorded::<vdi::Copy>()),
        (vdi::Snapshot::METHOD, recorded::<vdi::Snapshot>()),
        (vbd::Create::METHOD, recorded::<vbd::Create>()),
        (vbd::Plug::METHOD, recorded::<vbd::Plug>()),
        (vif::Create::METHOD, recorded::<vif::Create>()),
        (sr::Create::METHOD, recorded::<sr::Create>()),
        (task::Create::METHOD, recorded::<task::Create>()),
        (event::From::METHOD, recorded::<event::From>()),
        (host::CallPlugin::METHOD, recorded::<host::CallPlugin>()),
    ]);
    assert!(counts.values().all(|&count| count > 0), "{counts:?}");
}

#[test]
fn recorded_transfers_are_understood() {
    fn check<H: Handler + PartialEq + std::fmt::Debug>(target: &str) -> bool {
        let Some(request) = Request::<H>::parse(target) else { return false };
        let request = request.unwrap();
        assert!(target.contains("session_id=") == request.session_id.is_some());
        assert_eq!(Request::<H>::parse(&request.path_and_query()), Some(Ok(request)));
        true
    }
    let (mut imports, mut exports) = (0, 0);
    for scenario in RECORDINGS.iter() {
        for step in &scenario.steps {
            imports += usize::from(check::<ImportRawVdi>(&step.request.path));
            exports += usize::from(check::<ExportRawVdi>(&step.request.path));
            check::<handler::Import>(&step.request.path);
            check::<handler::Export>(&step.request.path);
        }
    }
    assert!(imports > 40 && exports > 30, "{imports} imports, {exports} exports");
}
