//! A server from the future: fields, enum values and classes that no client of today has heard of.
//!
//! Records get fields of every type. Where a set of an enum's values is sent, an unknown one is among them; plain enums
//! that only describe take one. Batches of events tell of objects of unknown classes, in unknown ways. What a client
//! steers by (power states, statuses of tasks, types of disks and drives) keeps its meaning.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use xenapi_types::meta::{self, ClassMeta, Ty};
use xenapi_wire::{Failure, Value};

/// Decides by a seed what is strange: the n-th answer of two pools with the same seed is the same.
#[derive(Debug)]
pub(crate) struct Strangeness {
    seed: u64,
    state: AtomicU64,
}

/// Enums that only describe: a new value changes nothing that a client does. All others are left alone, as their values
/// say what is, or what may be done next.
const DESCRIPTIVE: &[&str] = &[
    "domain_type",
    "host_display",
    "host_numa_affinity_policy",
    "host_sched_gran",
    "latest_synced_updates_applied_state",
    "network_default_locking_mode",
    "on_boot",
    "persistence_backend",
    "pgpu_dom0_access",
    "pif_igmp_status",
    "primary_address_type",
    "sr_health",
    "telemetry_frequency",
    "tristate_type",
    "update_sync_frequency",
    "vgpu_type_implementation",
    "vif_ipv4_configuration_mode",
    "vif_ipv6_configuration_mode",
    "vif_locking_mode",
];

/// An enum value that nobody knows.
const UNKNOWN: &str = "entangled";

impl Strangeness {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, state: AtomicU64::new(seed) }
    }

    /// A failure that no release has.
    pub(crate) fn failure(&self) -> Failure {
        let n = self.next();
        let params = (0..n % 4).map(|i| format!("parameter {i} of something new"));
        Failure::new(format!("QUANTUM_STATE_LOST_{}", n % 1000), params.collect::<Vec<_>>())
    }

    /// SplitMix64.
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn one_in(&self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    /// Whether the values of an enum are unknown: the same in every answer, as what is only described stays as it is.
    fn replaces(&self, name: &str) -> bool {
        let mixed = name
            .bytes()
            .fold(self.seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
        DESCRIPTIVE.contains(&name) && mixed >> 20 & 1 == 1
    }

    /// Makes an answer of a type strange.
    pub(crate) fn answer(&self, value: Value, ty: &Ty) -> Value {
        match (ty, value) {
            (Ty::Record(class), Value::Struct(record)) => self.record(meta::class(class), record),
            (Ty::Set(Ty::Enum(_)), Value::Array(mut values)) => {
                values.push(UNKNOWN.into());
                Value::Array(values)
            }
            (Ty::Enum(name), _) if self.replaces(name) => UNKNOWN.into(),
            (Ty::Map(_, inner @ Ty::Record(_)), Value::Struct(all)) => {
                Value::Struct(all.into_iter().map(|(key, value)| (key, self.answer(value, inner))).collect())
            }
            (Ty::Set(inner @ Ty::Record(_)), Value::Array(all)) => {
                Value::Array(all.into_iter().map(|value| self.answer(value, inner)).collect())
            }
            (Ty::EventBatch, Value::Struct(batch)) => self.batch(batch),
            (_, value) => value,
        }
    }

    fn record(&self, class: Option<&ClassMeta>, record: BTreeMap<String, Value>) -> Value {
        let field = |name: &str| class.and_then(|class| class.field(name));
        let mut all: BTreeMap<String, Value> = record
            .into_iter()
            .map(|(name, value)| match field(&name) {
                Some(field) => (name, self.answer(value, &field.ty)),
                None => (name, value),
            })
            .collect();
        for (i, value) in self.values().into_iter().enumerate() {
            if self.one_in(2) {
                all.insert(format!("of_the_future_{i}"), value);
            }
        }
        Value::Struct(all)
    }

    /// A value of each type that the wire has.
    fn values(&self) -> Vec<Value> {
        let inner = BTreeMap::from([("deep".to_owned(), Value::Array(vec![Value::Struct(BTreeMap::new())]))]);
        vec![
            "text <&> \u{1F600}".into(),
            Value::Int(self.next() as i64),
            Value::Double(-0.5),
            Value::Bool(true),
            "OpaqueRef:NULL".into(),
            Value::Array(vec![Value::Int(1), "mixed".into()]),
            Value::Struct(inner),
        ]
    }

    fn batch(&self, mut batch: BTreeMap<String, Value>) -> Value {
        if let Some(Value::Array(events)) = batch.get_mut("events") {
            for event in events.iter_mut() {
                if let Value::Struct(event) = event {
                    let class =
                        event.get("class").and_then(Value::as_str).and_then(meta::class_ignoring_case);
                    if let Some(Value::Struct(snapshot)) = event.remove("snapshot") {
                        event.insert("snapshot".to_owned(), self.record(class, snapshot));
                    }
                    event.insert("of_the_future".to_owned(), Value::Array(Vec::new()));
                }
            }
            if self.one_in(2) {
                let at = usize::try_from(self.next()).unwrap_or(0) % (events.len() + 1);
                events.insert(at, self.event());
            }
        }
        if let Some(Value::Struct(counts)) = batch.get_mut("valid_ref_counts") {
            counts.insert("quantum_disk".to_owned(), Value::Int(1));
        }
        Value::Struct(batch)
    }

    /// An event of a class that nobody knows.
    fn event(&self) -> Value {
        let operation = if self.one_in(2) { UNKNOWN } else { "add" };
        let fields = [("spin".to_owned(), Value::Double(0.5)), ("uuid".to_owned(), "up".into())];
        Value::Struct(BTreeMap::from([
            ("id".to_owned(), Value::Int(1)),
            ("timestamp".to_owned(), "0.0".into()),
            ("class".to_owned(), "quantum_disk".into()),
            ("operation".to_owned(), operation.into()),
            ("ref".to_owned(), "OpaqueRef:of-the-future".into()),
            ("snapshot".to_owned(), Value::Struct(BTreeMap::from(fields))),
        ]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_steer_by_is_left_alone() {
        let record = BTreeMap::from([
            ("power_state".to_owned(), Value::from("Running")),
            ("allowed_operations".to_owned(), Value::from(vec!["start"])),
            ("domain_type".to_owned(), Value::from("hvm")),
        ]);
        let mut seen = [false; 3];
        for seed in 0..50 {
            let strange = Strangeness::new(seed);
            let answer = strange.answer(Value::Struct(record.clone()), &Ty::Record("VM"));
            let vm = answer.as_struct().unwrap();
            assert_eq!(vm["power_state"], "Running".into());
            assert_eq!(vm["allowed_operations"], vec!["start", UNKNOWN].into());
            seen[0] |= vm["domain_type"] == "hvm".into();
            seen[1] |= vm["domain_type"] == UNKNOWN.into();
            seen[2] |= vm.keys().any(|name| name.starts_with("of_the_future"));
        }
        assert_eq!(seen, [true; 3]);
        let strange = Strangeness::new(1);
        assert_ne!(strange.failure().code, strange.failure().code);
    }
}
