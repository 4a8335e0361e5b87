//! Changing the state.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Deref;

use uuid::Uuid;
use xenapi_wire::{Failure, Value};

use super::relation::{MANY_TO_MANY, ONE_TO_MANY};
use super::{Change, Object};
use super::{DELETIONS_KEPT, Deleted, Stored, Table, View, is_null};
use crate::schema::Class;

/// Computes the fields of one object that follow from others.
///
/// It is called at the end of a write for every object of its class that was touched, while the object exists, and
/// sets the fields through the transaction. What it changes is derived in turn; [`Tx::touch`] has other objects
/// derived too. It must come to rest: setting a field to the value it has ends the chain.
pub type Derive = fn(&mut Tx<'_>, &str);

/// A write in progress: reads see its changes already.
pub struct Tx<'a> {
    view: &'a mut View,
    derivers: &'a HashMap<&'static str, Derive>,
    /// What was there before, oldest first.
    undo: Vec<Before>,
    to_derive: VecDeque<(&'static str, String)>,
    touched: HashSet<(&'static str, String)>,
    /// Objects that get a `mod` event without a change.
    injected: Vec<(&'static str, String)>,
    committed: bool,
}

struct Before {
    class: &'static str,
    reference: String,
    row: Option<Stored>,
}

/// What a commit changed.
pub(super) struct Changes {
    pub(super) touched: Vec<(&'static str, String)>,
}

impl Deref for Tx<'_> {
    type Target = View;

    fn deref(&self) -> &View {
        self.view
    }
}

impl<'a> Tx<'a> {
    pub(super) fn new(view: &'a mut View, derivers: &'a HashMap<&'static str, Derive>) -> Self {
        Self {
            view,
            derivers,
            undo: Vec::new(),
            to_derive: VecDeque::new(),
            touched: HashSet::new(),
            injected: Vec::new(),
            committed: false,
        }
    }

    /// Creates an object with a random reference; see [`Tx::create_as`].
    pub fn create<'f>(&mut self, class: &str, fields: impl IntoIterator<Item = (&'f str, Value)>) -> String {
        let reference = format!("OpaqueRef:{}", Uuid::new_v4());
        self.insert(class, &reference, fields);
        reference
    }

    /// Creates an object under a given reference.
    ///
    /// Fields that are not given have their default, or the zero of their type; the uuid is random. An object that
    /// was there under this reference is replaced.
    ///
    /// # Panics
    /// When there is no such class or field.
    pub fn create_as<'f>(
        &mut self,
        class: &str,
        reference: &str,
        fields: impl IntoIterator<Item = (&'f str, Value)>,
    ) {
        if self.view.exists(class, reference) {
            self.delete(class, reference);
        }
        self.insert(class, reference, fields);
        // Other objects may refer to this one already: a world is loaded in any order.
        let class = self.view.class(class);
        self.collect_links(class, reference);
    }

    fn insert<'f>(
        &mut self,
        class: &str,
        reference: &str,
        fields: impl IntoIterator<Item = (&'f str, Value)>,
    ) {
        let class = self.view.class(class);
        let mut values = class.defaults().to_vec();
        for (name, value) in fields {
            let index = class.index(name).unwrap_or_else(|| panic!("{} has no field {name}", class.name()));
            values[index] = value;
        }
        if let Some(uuid) = class.index("uuid")
            && matches!(&values[uuid], Value::String(text) if text.is_empty())
        {
            values[uuid] = Value::String(Uuid::new_v4().to_string());
        }
        self.replace(class, reference, Some(Stored { created: 0, modified: 0, values: values.clone() }));
        for relation in ONE_TO_MANY.iter().filter(|r| *r.class == *class.name()) {
            if let Some(Value::String(target)) = class.index(relation.field).map(|i| &values[i]) {
                self.link(relation.other, target, relation.set, reference);
            }
        }
        for (index, field) in class.fields().iter().enumerate() {
            if let Value::Array(items) = &values[index]
                && let Some((other, set)) = mirror(class.name(), field.name)
            {
                for target in items.iter().filter_map(text) {
                    self.link(other, target, set, reference);
                }
            }
        }
    }

    /// Sets a field.
    ///
    /// # Errors
    /// `HANDLE_INVALID` when there is no such object.
    ///
    /// # Panics
    /// When there is no such class or field.
    pub fn set(
        &mut self,
        class: &str,
        reference: &str,
        field: &str,
        value: impl Into<Value>,
    ) -> Result<(), Failure> {
        let value = value.into();
        let before = self.view.object(class, reference)?.get(field).clone();
        if before == value {
            return Ok(());
        }
        let class = self.view.class(class);
        self.put(class, reference, field, value.clone());
        if let Some(relation) = ONE_TO_MANY.iter().find(|r| *r.class == *class.name() && r.field == field) {
            if let Some(old) = text(&before) {
                self.unlink(relation.other, old, relation.set, reference);
            }
            if let Some(new) = text(&value) {
                self.link(relation.other, new, relation.set, reference);
            }
        }
        if let Some((other, set)) = mirror(class.name(), field) {
            for old in items(&before) {
                self.unlink(other, old, set, reference);
            }
            for new in items(&value) {
                self.link(other, new, set, reference);
            }
        }
        Ok(())
    }

    /// Adds a pair to a map.
    ///
    /// # Errors
    /// `HANDLE_INVALID`; `MAP_DUPLICATE_KEY` when the key is there.
    pub fn add_to(
        &mut self,
        class: &str,
        reference: &str,
        field: &str,
        key: &str,
        value: impl Into<Value>,
    ) -> Result<(), Failure> {
        let object = self.view.object(class, reference)?;
        let mut map = object.map(field).clone();
        if map.contains_key(key) {
            let field = object.class().meta.field(field).map_or(field, |f| f.db_name);
            return Err(Failure::new("MAP_DUPLICATE_KEY", [class, field, reference, key]));
        }
        map.insert(key.to_owned(), value.into());
        self.set(class, reference, field, Value::Struct(map))
    }

    /// Sets a pair of a map, whether or not the key is there.
    ///
    /// # Errors
    /// `HANDLE_INVALID`.
    pub fn set_entry(
        &mut self,
        class: &str,
        reference: &str,
        field: &str,
        key: &str,
        value: impl Into<Value>,
    ) -> Result<(), Failure> {
        let mut map = self.view.object(class, reference)?.map(field).clone();
        map.insert(key.to_owned(), value.into());
        self.set(class, reference, field, Value::Struct(map))
    }

    /// Removes a key from a map; an absent one is no error.
    ///
    /// # Errors
    /// `HANDLE_INVALID`.
    pub fn remove_from(
        &mut self,
        class: &str,
        reference: &str,
        field: &str,
        key: &str,
    ) -> Result<(), Failure> {
        let mut map = self.view.object(class, reference)?.map(field).clone();
        if map.remove(key).is_none() {
            return Ok(());
        }
        self.set(class, reference, field, Value::Struct(map))
    }

    /// Deletes an object and takes it out of the sets that hold it.
    ///
    /// # Panics
    /// When there is no such class. An unknown reference is no error.
    pub fn delete(&mut self, class: &str, reference: &str) {
        let Some(object) = self.view.find(class, reference) else { return };
        let values = object.stored.values.clone();
        let class = self.view.class(class);
        for relation in ONE_TO_MANY.iter().filter(|r| *r.class == *class.name()) {
            if let Some(target) = class.index(relation.field).and_then(|i| text(&values[i])) {
                self.unlink(relation.other, target, relation.set, reference);
            }
        }
        for (field, value) in class.fields().iter().zip(&values) {
            if let Some((other, set)) = mirror(class.name(), field.name) {
                for target in items(value) {
                    self.unlink(other, target, set, reference);
                }
            }
        }
        self.replace(class, reference, None);
    }

    /// Has the derived fields of an object computed again.
    pub fn touch(&mut self, class: &str, reference: &str) {
        let name = self.view.class(class).name();
        self.to_derive.push_back((name, reference.to_owned()));
    }

    /// Has the derived fields of an object not computed for its changes so far.
    pub fn leave(&mut self, class: &str, reference: &str) {
        self.to_derive.retain(|(c, r)| *c != class || r != reference);
    }

    /// Makes an event of an object that did not change.
    ///
    /// # Errors
    /// `HANDLE_INVALID` when there is no such object.
    pub fn inject(&mut self, class: &str, reference: &str) -> Result<(), Failure> {
        self.view.object(class, reference)?;
        self.injected.push((self.view.class(class).name(), reference.to_owned()));
        Ok(())
    }

    fn put(&mut self, class: &'static Class, reference: &str, field: &str, value: Value) {
        let index = class.index(field).unwrap_or_else(|| panic!("{} has no field {field}", class.name()));
        if let Some(mut stored) = self.view.table(class.name()).rows.get(reference).cloned() {
            stored.values[index] = value;
            self.replace(class, reference, Some(stored));
        }
    }

    fn link(&mut self, class: &str, target: &str, set: &str, member: &str) {
        if is_null(target) || !self.knows(class, set) {
            return;
        }
        let Some(object) = self.view.find(class, target) else { return };
        if object.strs(set).any(|r| r == member) {
            return;
        }
        let mut members: Vec<Value> = object.strs(set).map(|r| Value::String(r.to_owned())).collect();
        members.push(Value::String(member.to_owned()));
        let class = self.view.class(class);
        self.put(class, target, set, Value::Array(members));
    }

    fn unlink(&mut self, class: &str, target: &str, set: &str, member: &str) {
        if is_null(target) || !self.knows(class, set) {
            return;
        }
        let Some(object) = self.view.find(class, target) else { return };
        if !object.strs(set).any(|r| r == member) {
            return;
        }
        let members =
            object.strs(set).filter(|r| *r != member).map(|r| Value::String(r.to_owned())).collect();
        let class = self.view.class(class);
        self.put(class, target, set, Value::Array(members));
    }

    /// Fills the sets of a new object from the references to it that are there already.
    fn collect_links(&mut self, class: &'static Class, reference: &str) {
        for relation in ONE_TO_MANY.iter().filter(|r| *r.other == *class.name()) {
            if !self.knows(relation.class, relation.field) || !self.knows(relation.other, relation.set) {
                continue;
            }
            let members: Vec<String> = self
                .view
                .objects(relation.class)
                .filter(|object| object.str(relation.field) == reference)
                .map(|object| object.reference().to_owned())
                .collect();
            for member in members {
                self.link(relation.other, reference, relation.set, &member);
            }
        }
    }

    fn knows(&self, class: &str, field: &str) -> bool {
        self.view.schema.class(class).is_some_and(|class| class.index(field).is_some())
    }

    /// The only place where rows change.
    fn replace(&mut self, class: &'static Class, reference: &str, row: Option<Stored>) {
        let table = self.view.tables.get_mut(&class.name()).expect("every class has a table");
        let before = table.swap(class, reference, row);
        let key = (class.name(), reference.to_owned());
        self.undo.push(Before { class: key.0, reference: key.1.clone(), row: before });
        self.touched.insert(key.clone());
        self.to_derive.push_back(key);
    }

    /// Derives what follows, gives the changes their generation and makes them history.
    pub(super) fn commit(mut self) -> Option<Changes> {
        while let Some((class, reference)) = self.to_derive.pop_front() {
            if let Some(derive) = self.derivers.get(class).copied()
                && self.view.exists(class, &reference)
            {
                derive(&mut self, &reference);
            }
        }
        self.committed = true;
        let mut existed: BTreeMap<(&'static str, String), Option<u64>> = BTreeMap::new();
        for before in &self.undo {
            existed
                .entry((before.class, before.reference.clone()))
                .or_insert_with(|| before.row.as_ref().map(|row| row.created));
        }
        for key in &self.injected {
            existed.entry(key.clone()).or_insert(Some(0));
        }
        if existed.is_empty() {
            return None;
        }
        self.view.generation += 1;
        let generation = self.view.generation;
        // In the order in which they were touched first, as clients then see them.
        let mut order: Vec<(&'static str, String)> = Vec::new();
        let mut seen = HashSet::new();
        let undone = self.undo.iter().map(|b| (b.class, b.reference.clone()));
        for key in undone.chain(self.injected.iter().cloned()) {
            if seen.insert(key.clone()) {
                order.push(key);
            }
        }
        for (class, reference) in &order {
            let created = existed[&(*class, reference.clone())];
            self.view.record(class, reference, created, generation);
            self.log(class, reference, created.is_some());
        }
        Some(Changes { touched: order })
    }
}

impl Tx<'_> {
    /// Keeps what happened to an object, if somebody listens.
    fn log(&mut self, class: &'static str, reference: &str, existed: bool) {
        if self.view.log.is_none() {
            return;
        }
        let last = |before: &&Before| before.class == class && before.reference == reference;
        let (operation, stored) = match self.view.table(class).rows.get(reference) {
            Some(row) => (if existed { "mod" } else { "add" }, Some(row)),
            None if existed => ("del", self.undo.iter().rev().filter(last).find_map(|b| b.row.as_ref())),
            None => return,
        };
        let Some(stored) = stored else { return };
        let record = Object { class: self.view.class(class), reference, stored }.record();
        let (generation, reference) = (self.view.generation, reference.to_owned());
        if let Some(log) = &mut self.view.log {
            log.push(Change { generation, class, reference, operation, record });
        }
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        for before in self.undo.drain(..).rev() {
            let class = self.view.class(before.class);
            let table = self.view.tables.get_mut(before.class).expect("every class has a table");
            table.swap(class, &before.reference, before.row);
        }
    }
}

impl View {
    /// Notes in the history that an object changed in this generation.
    pub(super) fn record(
        &mut self,
        class: &'static str,
        reference: &str,
        created_before: Option<u64>,
        generation: u64,
    ) {
        self.sequence += 1;
        let place = (generation, self.sequence);
        let table = self.tables.get_mut(class).expect("every class has a table");
        if let Some(old) = table.place.remove(reference) {
            self.history.remove(&old);
        }
        match table.rows.get_mut(reference) {
            Some(row) => {
                if created_before.is_none() || row.created == 0 {
                    row.created = generation;
                }
                row.modified = generation;
                table.place.insert(reference.to_owned(), place);
                self.history.insert(place, (class, reference.to_owned()));
            }
            // Made and deleted within one write: nobody ever saw it.
            None => {
                if let Some(created) = created_before {
                    let deleted = Deleted { class, reference: reference.to_owned(), created };
                    self.deleted.insert(place, deleted);
                    while self.deleted.len() > DELETIONS_KEPT {
                        self.deleted.pop_first();
                    }
                }
            }
        }
    }
}

impl Table {
    /// Puts, replaces or removes a row and keeps the indexes.
    pub(super) fn swap(&mut self, class: &Class, reference: &str, row: Option<Stored>) -> Option<Stored> {
        let uuid = class.index("uuid");
        let label = class.index("name_label");
        if let Some(old) = self.rows.get(reference) {
            if let Some(uuid) = uuid.and_then(|i| text(&old.values[i]))
                && self.by_uuid.get(uuid).is_some_and(|r| r == reference)
            {
                self.by_uuid.remove(uuid);
            }
            if let Some(label) = label.and_then(|i| text(&old.values[i]))
                && let Some(same) = self.by_label.get_mut(label)
            {
                same.retain(|r| r != reference);
                if same.is_empty() {
                    self.by_label.remove(label);
                }
            }
        }
        match row {
            None => self.rows.remove(reference),
            Some(row) => {
                if let Some(uuid) = uuid.and_then(|i| text(&row.values[i])) {
                    self.by_uuid.insert(uuid.to_owned(), reference.to_owned());
                }
                if let Some(label) = label.and_then(|i| text(&row.values[i])) {
                    self.by_label.entry(label.to_owned()).or_default().push(reference.to_owned());
                }
                self.rows.insert(reference.to_owned(), row)
            }
        }
    }
}

/// The other side of a set that is one end of a many-to-many relation.
fn mirror(class: &str, field: &str) -> Option<(&'static str, &'static str)> {
    MANY_TO_MANY.iter().find_map(|relation| {
        if relation.left == (class, field) {
            Some(relation.right)
        } else if relation.right == (class, field) {
            Some(relation.left)
        } else {
            None
        }
    })
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn items(value: &Value) -> impl Iterator<Item = &str> {
    let items: &[Value] = match value {
        Value::Array(items) => items,
        _ => &[],
    };
    items.iter().filter_map(text)
}
