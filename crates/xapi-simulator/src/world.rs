//! What a pool holds before anybody calls.

mod devices;
mod hosts;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;
use xenapi_wire::{Failure, Value};

use crate::db::Db;
use crate::json;

/// The objects a new pool starts with.
#[derive(Debug, Clone)]
pub struct World {
    objects: Vec<Seed>,
}

/// One object: its class, its reference and those fields that differ from the default.
#[derive(Debug, Clone, Deserialize)]
struct Seed {
    class: String,
    #[serde(rename = "ref")]
    reference: String,
    fields: BTreeMap<String, Json>,
}

/// A world that does not fit the datamodel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the world cannot be made: {0}")]
pub struct WorldError(String);

impl World {
    /// A world without a single object, for tests that make their own.
    pub fn empty() -> Self {
        Self { objects: Vec::new() }
    }

    /// A pool to try things on: one host with 8 CPUs and 64 GiB of memory, two networks, a thin SR of type ext
    /// ("Local storage", the default) and a thick one of type lvm ("Local LVM"), 512 GiB each.
    pub fn demo() -> Self {
        Self::from_json(include_str!("world/demo.json")).expect("a part of this program")
    }

    /// A world from JSON: a list of `{"class": "VM", "ref": "OpaqueRef:…", "fields": {…}}`. Sets that follow from
    /// references (`VM.VBDs`) need not be given.
    ///
    /// # Errors
    /// When the text is not of that form.
    pub fn from_json(text: &str) -> Result<Self, WorldError> {
        let objects = serde_json::from_str(text).map_err(|e| WorldError(e.to_string()))?;
        Ok(Self { objects })
    }

    /// The same pool with a driver for every type of SR that the simulator knows, instead of those of its own.
    pub fn with_all_drivers(mut self) -> Self {
        self.objects.retain(|seed| seed.class != "SM");
        self
    }

    /// The same pool with so many hosts: copies of the first, each with CPUs, interfaces, local storage and control
    /// domain of its own. The first stays the master.
    pub fn with_hosts(mut self, count: usize) -> Self {
        let copies: Vec<Seed> = (2..=count).flat_map(|n| hosts::copy(&self.objects, n)).collect();
        self.objects.extend(copies);
        self
    }

    /// Another pool like this one, on the same network: number `n`, from 2 on, has references and uuids of its own, and
    /// names and addresses as host number `n` of [`World::with_hosts`] would.
    pub fn elsewhere(mut self, n: usize) -> Self {
        self.objects = hosts::elsewhere(&self.objects, n);
        self
    }

    /// The same pool, whose first host has a GPU that can be two virtual ones ("GRID large") or four ("GRID small"),
    /// and whose network cards can be divided.
    pub fn with_devices(mut self) -> Self {
        devices::add(&mut self.objects);
        self
    }

    /// The same pool, whose edition lacks these features: `restrict_vtpm`.
    pub fn restricted(mut self, features: &[&str]) -> Self {
        for pool in self.objects.iter_mut().filter(|seed| seed.class == "pool") {
            let restrictions =
                pool.fields.entry("restrictions".to_owned()).or_insert_with(|| Json::Object(<_>::default()));
            for feature in features {
                restrictions[*feature] = "true".into();
            }
        }
        self
    }

    /// Puts the objects into an empty database.
    pub(crate) fn populate(&self, db: &Db) -> Result<(), WorldError> {
        db.write(|tx| {
            let schema = tx.schema();
            for seed in &self.objects {
                let wrong = |what: &str| WorldError(format!("{} {}: {what}", seed.class, seed.reference));
                let class = schema.class(&seed.class).ok_or_else(|| wrong("unknown class"))?;
                let mut fields: Vec<(&str, Value)> = Vec::new();
                for (name, value) in &seed.fields {
                    let field =
                        class.meta.field(name).ok_or_else(|| wrong(&format!("unknown field {name}")))?;
                    let value =
                        json::decode(value.clone(), &field.ty).map_err(|e| wrong(&format!("{name}: {e}")))?;
                    fields.push((name, value));
                }
                tx.create_as(class.name(), &seed.reference, fields);
            }
            Ok(())
        })
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

impl Default for World {
    /// [`World::demo`].
    fn default() -> Self {
        Self::demo()
    }
}

impl From<Failure> for WorldError {
    fn from(failure: Failure) -> Self {
        Self(failure.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    #[test]
    fn the_demo_pool_fits_the_datamodel() {
        let db = Db::in_memory(Schema::xapi());
        World::demo().populate(&db).unwrap();
        db.read(|view| {
            for (class, count) in [("pool", 1), ("host", 1), ("SR", 2), ("PBD", 2), ("VM", 2)] {
                assert_eq!(view.count(class), count, "{class}");
            }
            for pbd in view.objects("PBD") {
                assert!(view.exists("SR", pbd.str("SR")), "{}", pbd.str("SR"));
            }
        });
    }

    #[test]
    fn hosts_are_alike_and_apart() {
        let db = Db::in_memory(Schema::xapi());
        World::demo().with_hosts(3).populate(&db).unwrap();
        db.read(|view| {
            for (class, count) in
                [("pool", 1), ("host", 3), ("SR", 6), ("PBD", 6), ("PIF", 6), ("VM", 4), ("network", 3)]
            {
                assert_eq!(view.count(class), count, "{class}");
            }
            let mut distinct = std::collections::BTreeSet::new();
            for host in view.objects("host") {
                distinct.insert(host.str("name_label"));
                distinct.insert(host.str("address"));
                distinct.insert(host.str("uuid"));
                assert_eq!(host.strs("PBDs").count(), 2);
                assert_eq!(host.strs("host_CPUs").count(), 8);
                let dom0 = view.object("VM", host.str("control_domain")).unwrap();
                assert_eq!(dom0.str("resident_on"), host.reference());
                assert!(view.exists("host_metrics", host.str("metrics")));
            }
            distinct.extend(view.objects("PIF").map(|pif| pif.str("MAC")));
            assert_eq!(distinct.len(), 9 + 6);
            assert!(view.objects("network").all(|n| matches!(n.strs("PIFs").count(), 0 | 3)));
        });
    }
}
