//! The objects of one class, and the ways to find them.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;
use std::sync::Arc;

use xenapi_types::implicit::Listed;
use xenapi_wire::{Class, Ref};

use super::trie::Trie;

/// An object as it was at some moment: its reference, and its record, to which it dereferences.
pub struct Object<C: Class> {
    pub(super) reference: Ref<C>,
    pub(super) record: C::Record,
}

impl<C: Class> Object<C> {
    /// The reference.
    pub fn reference(&self) -> &Ref<C> {
        &self.reference
    }

    /// The record.
    pub fn record(&self) -> &C::Record {
        &self.record
    }
}

impl<C: Class> Deref for Object<C> {
    type Target = C::Record;

    fn deref(&self) -> &C::Record {
        &self.record
    }
}

impl<C: Class<Record: fmt::Debug>> fmt::Debug for Object<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("reference", &self.reference).field("record", &self.record).finish()
    }
}

/// A copy is cheap and stays as it is.
pub(super) struct Table<C: Listed> {
    hasher: RandomState,
    objects: Trie<Arc<Object<C>>>,
    /// From the hash of a uuid to that of a reference.
    uuids: Trie<u64>,
    /// From the hash of a name, with that of the reference in the lower half, to that of the
    /// reference: any number of objects may have one name.
    names: Trie<u64>,
}

impl<C: Listed> Default for Table<C> {
    fn default() -> Self {
        let hasher = RandomState::new();
        Self { hasher, objects: Trie::default(), uuids: Trie::default(), names: Trie::default() }
    }
}

impl<C: Listed> Clone for Table<C> {
    fn clone(&self) -> Self {
        Self {
            hasher: self.hasher.clone(),
            objects: self.objects.clone(),
            uuids: self.uuids.clone(),
            names: self.names.clone(),
        }
    }
}

impl<C: Listed> Table<C> {
    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(super) fn get(&self, reference: &Ref<C>) -> Option<&Arc<Object<C>>> {
        self.objects.find(self.hash(reference), |object| object.reference == *reference)
    }

    pub(super) fn by_uuid(&self, uuid: &str) -> Option<&Arc<Object<C>>> {
        self.with_hash(self.hasher.hash_one(uuid), uuid)
    }

    fn with_hash(&self, hash: u64, uuid: &str) -> Option<&Arc<Object<C>>> {
        let is_it = |object: &Arc<Object<C>>| C::uuid(&object.record) == Some(uuid);
        let mut found = None;
        self.uuids.find(hash, |reference| {
            found = self.objects.find(*reference, is_it);
            found.is_some()
        });
        found
    }

    pub(super) fn by_name_label(&self, name: &str) -> impl Iterator<Item = &Arc<Object<C>>> {
        let hash = self.hasher.hash_one(name);
        self.names
            .with_upper_half(hash)
            .filter_map(|reference| self.objects.find(*reference, |_| true))
            .filter(move |object| C::name_label(&object.record) == Some(name))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Object<C>>> {
        self.objects.iter()
    }

    /// Puts an object in, and gives back the one that was there.
    pub(super) fn put(&mut self, object: Arc<Object<C>>) -> Option<Arc<Object<C>>> {
        let hash = self.hash(&object.reference);
        let before = self.objects.remove(hash, |old| old.reference == object.reference);
        let old_keys = before.as_ref().map(|before| self.keys(hash, before));
        let keys = self.keys(hash, &object);
        if old_keys != Some(keys) {
            self.unlist(hash, old_keys);
            if let Some(uuid) = keys.uuid {
                self.uuids.insert(uuid, hash);
            }
            if let Some(name) = keys.name {
                self.names.insert(name, hash);
            }
        }
        self.objects.insert(hash, object);
        before
    }

    pub(super) fn take(&mut self, reference: &Ref<C>) -> Option<Arc<Object<C>>> {
        let hash = self.hash(reference);
        let before = self.objects.remove(hash, |old| old.reference == *reference)?;
        let keys = self.keys(hash, &before);
        self.unlist(hash, Some(keys));
        Some(before)
    }

    fn unlist(&mut self, hash: u64, keys: Option<Keys>) {
        let Some(keys) = keys else { return };
        if let Some(uuid) = keys.uuid {
            self.uuids.remove(uuid, |reference| *reference == hash);
        }
        if let Some(name) = keys.name {
            self.names.remove(name, |reference| *reference == hash);
        }
    }

    pub(super) fn hash(&self, reference: &Ref<C>) -> u64 {
        self.hasher.hash_one(reference)
    }

    fn keys(&self, hash: u64, object: &Object<C>) -> Keys {
        let of = |text: &str| self.hasher.hash_one(text);
        Keys {
            uuid: C::uuid(&object.record).map(of),
            name: C::name_label(&object.record).map(|name| of(name) & !0xffff_ffff | hash & 0xffff_ffff),
        }
    }
}

/// Where the indexes have an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Keys {
    uuid: Option<u64>,
    name: Option<u64>,
}

#[cfg(test)]
mod tests {
    use xenapi_types::{Vm, VmRecord};

    use super::*;

    fn vm(number: u128, uuid: &str, name: &str) -> Arc<Object<Vm>> {
        let mut record = VmRecord::default();
        uuid.clone_into(&mut record.uuid);
        name.clone_into(&mut record.name_label);
        Arc::new(Object { reference: Ref::from_uuid_bits(number), record })
    }

    #[test]
    fn indexes_follow_the_objects() {
        let mut table = Table::default();
        for number in 0..100 {
            assert!(table.put(vm(number, &format!("u{number}"), "same")).is_none());
        }
        let then = table.clone();
        let old = table.put(vm(7, "u7", "other")).unwrap();
        assert_eq!(old.name_label, "same");
        assert!(table.take(&Ref::from_uuid_bits(8)).is_some());
        assert!(table.take(&Ref::from_uuid_bits(8)).is_none());
        assert_eq!(table.len(), 99);
        assert_eq!(table.by_name_label("same").count(), 98);
        assert_eq!(table.by_name_label("other").map(|vm| vm.uuid.as_str()).collect::<Vec<_>>(), ["u7"]);
        assert_eq!(table.by_uuid("u7").unwrap().name_label, "other");
        assert!(table.by_uuid("u8").is_none() && table.get(&Ref::from_uuid_bits(8)).is_none());
        assert_eq!(then.by_name_label("same").count(), 100);
        assert_eq!(then.by_uuid("u7").unwrap().name_label, "same");
    }
}
