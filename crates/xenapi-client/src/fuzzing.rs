//! What the fuzz targets do, here so that the tests can run it too.

use std::any::Any;
use std::fmt::Debug;

use xenapi_types::{EventBatch, EventOperation, EventRecord, Task, Vm};
use xenapi_wire::{Class, Limits, jsonrpc, xmlrpc};

use crate::cache::Typed;

const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_depth: 64 };

/// Bytes as an answer of `event.from`, read straight into the records of a cache and by way of values: where both
/// read it, they are the same changes.
///
/// # Panics
/// When they are not.
pub fn events(bytes: &[u8]) {
    type Watched = (Vm, (Task, ()));
    if let (Ok(Ok(typed)), Ok(Ok(plain))) = (
        xmlrpc::decode_response::<Typed<Watched>>(bytes, &LIMITS),
        xmlrpc::decode_response::<EventBatch>(bytes, &LIMITS),
    ) {
        same(&typed, &plain);
    }
    if let (Ok(typed), Ok(plain)) = (
        jsonrpc::decode_response::<Typed<Watched>>(bytes, &LIMITS),
        jsonrpc::decode_response::<EventBatch>(bytes, &LIMITS),
    ) && let (Ok(typed), Ok(plain)) = (typed.result, plain.result)
    {
        same(&typed, &plain);
    }
}

fn same<L>(typed: &Typed<L>, plain: &EventBatch) {
    assert_eq!(typed.token, plain.token);
    let watched = |event: &&EventRecord| place(&event.class).is_some();
    let events: Vec<_> = plain.events.iter().filter(watched).collect();
    assert_eq!(typed.changes.len(), events.len());
    for (change, event) in typed.changes.iter().zip(events) {
        assert_eq!((change.class, &change.reference), (place(&event.class).unwrap_or(2), &event.r#ref));
        assert_eq!(change.record.is_none(), event.operation == EventOperation::Del);
        match (&change.record, change.class) {
            (Some(record), 0) => same_record::<Vm>(record.as_ref(), event),
            (Some(record), _) => same_record::<Task>(record.as_ref(), event),
            (None, _) => {}
        }
    }
}

fn place(class: &str) -> Option<usize> {
    [Vm::NAME, Task::NAME].iter().position(|name| name.eq_ignore_ascii_case(class))
}

fn same_record<C: Class<Record: Debug>>(record: &(dyn Any + Send), event: &EventRecord) {
    let typed = record.downcast_ref::<C::Record>().expect("the record is of the class of its event");
    let plain: C::Record = event.snapshot.decode().expect("what reads at once reads from a value");
    // Not by equality: NaN is not equal to itself.
    assert_eq!(format!("{typed:?}"), format!("{plain:?}"));
}
