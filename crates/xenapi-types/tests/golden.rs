//! Recorded records decode into typed ones, in both encodings, and hold exactly the recorded fields.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use testdata::Step;
use xenapi_types::*;
use xenapi_wire::{Limits, Value, jsonrpc, xmlrpc};

/// The result of a recorded call, or `None` when it is a failure or no RPC answer at all.
fn result<T: DeserializeOwned>(step: &Step) -> Option<T> {
    let body = step.response.body();
    let decoded = match step.transport.as_str() {
        "xmlrpc" => xmlrpc::decode_response(&body, &Limits::RESPONSE),
        _ => jsonrpc::decode_response(&body, &Limits::RESPONSE).map(|response| response.result),
    };
    match decoded {
        Ok(Ok(result)) => Some(result),
        Ok(Err(_)) => None,
        Err(e) => panic!("{} over {}: {e}", step.method_name.as_deref().unwrap_or("?"), step.transport),
    }
}

/// Recorded calls that were answered over RPC with success.
fn successes() -> impl Iterator<Item = (String, Step)> {
    testdata::scenario_names().into_iter().flat_map(|name| {
        testdata::scenario(&name).steps.into_iter().filter_map(|step| {
            let method = step.method_name.clone()?;
            let body = step.response.body();
            let rpc = step.response.status == Some(200) && !body.is_empty();
            let text = String::from_utf8_lossy(&body);
            // Strings that XAPI itself writes ill-formed are the business of the codec's tests.
            let ok = text.contains("<value>Success</value>") || text.contains("\"result\":");
            (rpc && ok && step.transport != "http").then_some((method, step))
        })
    })
}

/// What an untyped reader sees of a value when all scalars are text.
fn flat(value: &Value) -> Value {
    match value {
        Value::Int(n) => Value::String(n.to_string()),
        Value::Double(d) => Value::String(format!("{d:?}")),
        Value::DateTime(date) => Value::String(date.to_string()),
        Value::Array(list) => Value::Array(list.iter().map(flat).collect()),
        Value::Struct(map) => Value::Struct(map.iter().map(|(k, v)| (k.clone(), flat(v))).collect()),
        other => other.clone(),
    }
}

#[derive(Default)]
struct Seen {
    /// Class and encoding.
    classes: BTreeSet<(&'static str, String)>,
    records: usize,
}

impl Seen {
    /// The typed record says the same as the recorded value, field for field.
    fn same<C: Class>(&mut self, record: &C::Record, raw: &Value, step: &Step) {
        let written = flat(&Value::encode(record).unwrap());
        let raw = flat(raw);
        if written != raw {
            let (ours, theirs) = (written.as_struct().unwrap(), raw.as_struct().unwrap());
            for name in ours.keys().chain(theirs.keys()) {
                assert_eq!(ours.get(name), theirs.get(name), "{}.{name}, {}", C::NAME, step.note);
            }
        }
        self.classes.insert((C::NAME, step.transport.clone()));
        self.records += 1;
    }

    fn class<C: Class>(&mut self, method: &str, step: &Step) {
        match method.strip_prefix(C::NAME).and_then(|rest| rest.strip_prefix('.')) {
            Some("get_record") => {
                let Some(record) = result::<C::Record>(step) else { return };
                self.same::<C>(&record, &result::<Value>(step).unwrap(), step);
            }
            Some("get_all_records" | "get_all_records_where") => {
                let Some(records) = result::<BTreeMap<Ref<C>, C::Record>>(step) else { return };
                let raw: BTreeMap<Ref<C>, Value> = result(step).unwrap();
                assert_eq!(records.len(), raw.len());
                for (reference, record) in &records {
                    self.same::<C>(record, &raw[reference], step);
                }
            }
            _ if method == "event.from" => {
                let Some(batch) = result::<EventBatch>(step) else { return };
                for event in &batch.events {
                    if let Some(record) = event.record::<C>() {
                        assert!(event.object::<C>().is_some_and(|r| !r.is_null()));
                        self.same::<C>(&record.unwrap(), &event.snapshot, step);
                    }
                }
            }
            _ => {}
        }
    }
}

macro_rules! every_class {
    ($seen:ident, $method:ident, $step:ident: $($class:ident)*) => {
        $($seen.class::<$class>($method, $step);)*
    };
}

fn check(seen: &mut Seen, method: &str, step: &Step) {
    every_class!(seen, method, step:
        Session Subject Role Task Pool PoolPatch PoolUpdate Vm VmMetrics VmGuestMetrics Vmpp Vmss VmAppliance
        DrTask Host HostCrashdump HostPatch HostMetrics HostCpu Network Vif VifMetrics Pif PifMetrics Bond Vlan
        Sm Sr Vdi Vbd VbdMetrics Pbd Crashdump Vtpm Console User Blob Message Secret Tunnel NetworkSriov Pci
        Pgpu GpuGroup Vgpu VgpuType PvsSite PvsServer PvsProxy PvsCacheStorage Feature SdnController Pusb
        UsbGroup Vusb Cluster ClusterHost Certificate Repository Observer VmGroup HostDriver DriverVariant
        RateLimit Caller);
}

#[test]
fn recorded_records_are_typed_without_loss() {
    let mut seen = Seen::default();
    for (method, step) in successes() {
        check(&mut seen, &method, &step);
    }
    let names: BTreeSet<_> = seen.classes.iter().map(|(name, _)| *name).collect();
    for name in
        ["VM", "VDI", "VBD", "SR", "PBD", "host", "pool", "network", "VIF", "PIF", "task", "SM", "session"]
    {
        assert!(names.contains(name), "no {name} was recorded?");
        for transport in ["xmlrpc", "jsonrpc2"] {
            assert!(seen.classes.contains(&(name, transport.to_owned())), "no {name} over {transport}");
        }
    }
    assert!(names.len() >= 23, "only {names:?}");
    assert!(seen.records > 700, "only {} records", seen.records);
}

#[test]
fn recorded_archives_are_read() {
    use xenapi_types::archive::{Decoder, Item};

    let mut guests = 0;
    let mut disks = 0;
    for scenario in ["xva", "export_vdi"] {
        for step in testdata::scenario(scenario).steps {
            let (body, path) = (step.response.body(), &step.request.path);
            let is_guest = path.starts_with("/export?") || path.starts_with("/export_metadata?");
            let is_disk = path.starts_with("/export_raw_vdi?") && path.contains("format=tar");
            if step.response.status != Some(200) || !(is_guest || is_disk) {
                continue;
            }
            let mut decoder = if is_guest { Decoder::of_guest() } else { Decoder::of_disk() };
            let (mut input, mut items) = (&body[..], Vec::new());
            while let Some(item) = decoder.next(&mut input).unwrap_or_else(|e| panic!("{path}: {e}")) {
                items.push(item);
            }
            decoder.finish().unwrap_or_else(|e| panic!("{path}: {e}"));
            if is_guest {
                let Some(Item::Description(xml)) = items.first() else { panic!("{path}: {items:?}") };
                let xml = std::str::from_utf8(xml).unwrap();
                let description: Value = xmlrpc::decode_value(xml, &Limits::RESPONSE).unwrap();
                assert!(description.as_struct().is_some_and(|parts| parts.contains_key("objects")));
                guests += 1;
            } else {
                assert!(items.iter().all(|item| matches!(item, Item::Piece { disk, .. } if disk == "vdi")));
                disks += 1;
            }
        }
    }
    assert!(guests >= 3 && disks >= 1, "{guests} guests, {disks} disks");
}
