//! The objects: tables of records, their relations and their history.
//!
//! Everything is read under [`Db::read`] and changed under [`Db::write`]:
//!
//! ```
//! # use xapi_simulator::{db::Db, schema::Schema};
//! # use xenapi_wire::Failure;
//! let db = Db::in_memory(Schema::xapi());
//! let vm = db.write(|tx| Ok::<_, Failure>(tx.create("VM", [("name_label", "web".into())])))?;
//! let vbd = db.write(|tx| {
//!     tx.object("VM", &vm)?;
//!     Ok::<_, Failure>(tx.create("VBD", [("VM", vm.as_str().into()), ("type", "Disk".into())]))
//! })?;
//! db.read(|view| {
//!     let vm = view.object("VM", &vm)?;
//!     assert_eq!(vm.str("name_label"), "web");
//!     assert!(vm.strs("VBDs").eq([&*vbd]));
//!     Ok::<_, Failure>(())
//! })?;
//! # Ok::<_, Failure>(())
//! ```
//!
//! * All changes of one [`Db::write`] get one generation number, become visible at once, and are undone when the
//!   closure returns an error or panics.
//! * Relations are kept on both sides: setting `VBD.VM` changes `VM.VBDs`. Only the single reference is to be
//!   written, the set follows. Deleting an object takes it out of the sets; references to it stay, as in XAPI.
//! * A write of the value a field already has is no change and no event.
//! * Fields that follow from others (`allowed_operations`) are computed by a [`Derive`] function at the end of each
//!   write, for every object of its class that was touched, in the same generation.
//! * Neither closure may wait or do file work: every other call waits for it.
//!
//! Class and field names are the program's, not the client's: the accessors panic on unknown ones. Unknown
//! *references* are `HANDLE_INVALID` failures.

mod journal;
mod log;
mod object;
mod relation;
#[cfg(test)]
mod tests;
mod tx;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use xenapi_wire::{Failure, Value};

use crate::schema::{Class, Schema};

use journal::Journal;
pub use journal::StateError;
pub use log::Change;
use log::Log;
use object::Stored;
pub use object::{NULL, Object, is_null};
pub use tx::{Derive, Tx};

/// The database.
pub struct Db {
    state: Mutex<View>,
    derivers: HashMap<&'static str, Derive>,
    journal: Option<Journal>,
    changed: watch::Sender<u64>,
}

/// The state of all tables at one moment.
pub struct View {
    schema: &'static Schema,
    tables: HashMap<&'static str, Table>,
    generation: u64,
    /// Where each object was changed last: what `event.from` walks along.
    history: BTreeMap<(u64, u64), (&'static str, String)>,
    sequence: u64,
    deleted: BTreeMap<(u64, u64), Deleted>,
    log: Option<Log>,
}

#[derive(Default)]
struct Table {
    rows: BTreeMap<String, Stored>,
    /// Position of each row in the history.
    place: HashMap<String, (u64, u64)>,
    by_uuid: HashMap<String, String>,
    by_label: HashMap<String, Vec<String>>,
}

/// An object that is no more.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Deleted {
    /// Its class.
    pub class: &'static str,
    /// Its reference.
    pub reference: String,
    /// The generation it was created in.
    pub created: u64,
}

/// How many deletions `event.from` can look back on.
const DELETIONS_KEPT: usize = 10_000;

impl Db {
    /// A database in memory.
    pub fn in_memory(schema: &'static Schema) -> Self {
        Self {
            state: Mutex::new(View::new(schema)),
            derivers: HashMap::new(),
            journal: None,
            changed: watch::Sender::new(0),
        }
    }

    /// A database whose persistent classes are kept in a directory, with what is there already.
    ///
    /// A commit has been handed to the operating system before [`Db::write`] returns, so the death of the process
    /// loses nothing; it reaches the disk within five seconds and at [`Db::sync`].
    ///
    /// # Errors
    /// When the directory cannot be made, read or written, or its content is damaged beyond a torn last line.
    pub fn open(schema: &'static Schema, directory: &Path) -> Result<Self, StateError> {
        let mut view = View::new(schema);
        let journal = Journal::open(directory, &mut view)?;
        let generation = view.generation;
        Ok(Self {
            state: Mutex::new(view),
            derivers: HashMap::new(),
            journal: Some(journal),
            changed: watch::Sender::new(generation),
        })
    }

    /// Registers the function that computes the derived fields of a class.
    pub fn derive(&mut self, class: &'static str, derive: Derive) {
        self.derivers.insert(class, derive);
    }

    /// Looks at the state. The closure must not call back into the database.
    pub fn read<T>(&self, f: impl FnOnce(&View) -> T) -> T {
        f(&self.lock())
    }

    /// Changes the state, completely or, on an error, not at all.
    ///
    /// # Errors
    /// What the closure returns.
    pub fn write<T, E>(&self, f: impl FnOnce(&mut Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        let mut state = self.lock();
        let mut tx = Tx::new(&mut state, &self.derivers);
        let result = f(&mut tx)?;
        let changes = tx.commit();
        if let Some(changes) = changes {
            if let Some(journal) = &self.journal {
                journal.append(&state, &changes);
            }
            let generation = state.generation;
            drop(state);
            self.changed.send_replace(generation);
        }
        Ok(result)
    }

    /// Drops what is not kept on disk, sessions and tasks, and what is known of the past. Nobody is told: there is no
    /// event of their end.
    pub fn forget(&self) {
        let mut state = self.lock();
        let View { schema, tables, history, deleted, log, .. } = &mut *state;
        for class in schema.classes().filter(|class| !class.persistent) {
            let table = tables.remove(class.name()).unwrap_or_default();
            table.place.values().for_each(|place| drop(history.remove(place)));
            tables.insert(class.name(), Table::default());
        }
        deleted.clear();
        *log = None;
    }

    /// Keeps each change from now on. Returns the present generation, after which all of them are known.
    pub fn begin_log(&self) -> u64 {
        let mut state = self.lock();
        let generation = state.generation;
        state.log.get_or_insert_with(|| Log::new(generation));
        generation
    }

    /// Forgets the changes that were kept, and keeps no more of them.
    pub fn end_log(&self) {
        self.lock().log = None;
    }

    /// Tells the generation of each commit, for waiters.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits until everything committed has reached the disk.
    ///
    /// # Errors
    /// When the operating system reports, or reported before, that something could not be written.
    pub fn sync(&self) -> Result<(), StateError> {
        match &self.journal {
            Some(journal) => journal.sync(),
            None => Ok(()),
        }
    }

    /// Waits until everything committed has reached the disk, and keeps nothing that is committed later.
    ///
    /// # Errors
    /// When the operating system reports, or reported before, that something could not be written.
    pub fn close(&self) -> Result<(), StateError> {
        // No commit is half way between memory and disk.
        let _state = self.lock();
        match &self.journal {
            Some(journal) => journal.close(),
            None => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, View> {
        // A panic in a closure has been undone by the transaction's drop: the state is sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    fn new(schema: &'static Schema) -> Self {
        let tables = schema.classes().map(|class| (class.name(), Table::default())).collect();
        Self {
            schema,
            tables,
            generation: 0,
            history: BTreeMap::new(),
            sequence: 0,
            deleted: BTreeMap::new(),
            log: None,
        }
    }

    /// The classes.
    pub fn schema(&self) -> &'static Schema {
        self.schema
    }

    /// The number of the last commit.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    fn class(&self, class: &str) -> &'static Class {
        self.schema.class(class).unwrap_or_else(|| panic!("no class {class}"))
    }

    fn table(&self, class: &str) -> &Table {
        self.tables.get(class).unwrap_or_else(|| panic!("no class {class}"))
    }

    /// An object by its reference.
    ///
    /// # Errors
    /// `HANDLE_INVALID` when there is none of that class.
    pub fn object<'a>(&'a self, class: &str, reference: &str) -> Result<Object<'a>, Failure> {
        self.find(class, reference).ok_or_else(|| Failure::new("HANDLE_INVALID", [class, reference]))
    }

    /// An object by its reference, if there is one.
    pub fn find<'a>(&'a self, class: &str, reference: &str) -> Option<Object<'a>> {
        let (reference, stored) = self.table(class).rows.get_key_value(reference)?;
        Some(Object { class: self.class(class), reference, stored })
    }

    /// Whether there is such an object.
    pub fn exists(&self, class: &str, reference: &str) -> bool {
        self.table(class).rows.contains_key(reference)
    }

    /// All objects of a class, in the order of their references.
    pub fn objects<'a>(&'a self, class: &str) -> impl Iterator<Item = Object<'a>> + use<'a> {
        let class = self.class(class);
        self.tables[class.name()].rows.iter().map(move |(reference, stored)| Object {
            class,
            reference,
            stored,
        })
    }

    /// How many objects a class has.
    pub fn count(&self, class: &str) -> usize {
        self.table(class).rows.len()
    }

    /// An object by its uuid.
    ///
    /// # Errors
    /// `UUID_INVALID` when there is none of that class.
    pub fn by_uuid<'a>(&'a self, class: &str, uuid: &str) -> Result<Object<'a>, Failure> {
        let reference = self.table(class).by_uuid.get(uuid);
        reference
            .and_then(|reference| self.find(class, reference))
            .ok_or_else(|| Failure::new("UUID_INVALID", [class, uuid]))
    }

    /// The references of the objects with this name, sorted.
    pub fn by_name_label(&self, class: &str, label: &str) -> Vec<String> {
        let mut found = self.table(class).by_label.get(label).cloned().unwrap_or_default();
        found.sort();
        found
    }

    /// The objects behind a set of references; dangling ones are left out.
    pub fn follow<'a>(
        &'a self,
        object: Object<'a>,
        set: &str,
        class: &'static str,
    ) -> impl Iterator<Item = Object<'a>> + use<'a> {
        object.strs(set).filter_map(move |reference| self.find(class, reference))
    }

    /// The objects changed after a generation, oldest change first.
    pub fn changed_since(&self, generation: u64) -> impl Iterator<Item = Object<'_>> {
        self.history
            .range((generation + 1, 0)..)
            .filter_map(|(_, (class, reference))| self.find(class, reference))
    }

    /// The objects deleted after a generation, with the generation of their end, oldest first.
    pub fn deleted_since(&self, generation: u64) -> impl Iterator<Item = (u64, &Deleted)> {
        self.deleted.range((generation + 1, 0)..).map(|(place, deleted)| (place.0, deleted))
    }

    /// Each change after a generation, oldest first; nothing when some of them are not known any more, see
    /// [`Db::begin_log`].
    pub fn each_change_since(&self, generation: u64) -> Option<impl Iterator<Item = &Change>> {
        self.log.as_ref()?.since(generation)
    }

    /// A value as the server's database holds it, which is what queries compare.
    pub fn text_of(value: &Value) -> String {
        match value {
            Value::Nil => String::new(),
            Value::Bool(b) => b.to_string(),
            Value::Int(n) => n.to_string(),
            Value::Double(x) => x.to_string(),
            Value::String(text) => text.clone(),
            Value::DateTime(date) => date.as_str().to_owned(),
            Value::Array(items) => {
                let items: Vec<String> =
                    items.iter().map(|item| format!("'{}'", Self::text_of(item))).collect();
                format!("({})", items.join(" "))
            }
            Value::Struct(map) => {
                let items: Vec<String> =
                    map.iter().map(|(k, v)| format!("('{k}' '{}')", Self::text_of(v))).collect();
                format!("({})", items.join(" "))
            }
        }
    }
}
