//! Events and records straight into the types of the watched classes, with nothing in between.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use xenapi_types::EventOperation;
use xenapi_wire::{Ref, Value};

use super::Watched;
use super::table::{Object, Table};
use super::writer::{Sealed, Slot, Writer};
use crate::follow;

/// The classes of a cache, as a list of types: `()`, or a class and the others. Made by
/// [`Builder::watch`](super::Builder::watch), and of no other use.
pub trait Classes: Sealed + 'static {
    /// The classes' names, in the order of their places.
    #[doc(hidden)]
    fn names(names: &mut Vec<&'static str>);

    #[doc(hidden)]
    fn classes(classes: &mut Vec<TypeId>);

    #[doc(hidden)]
    fn slots(slots: &mut Vec<Box<dyn Slot>>);

    /// Reads the record of the class at a place.
    #[doc(hidden)]
    fn record<'de, A: MapAccess<'de>>(place: usize, map: &mut A) -> Result<Option<Record>, A::Error>;

    /// The same, of a record that came before its class was known.
    #[doc(hidden)]
    fn record_of(place: usize, value: &Value) -> Result<Option<Record>, xenapi_wire::DecodeError>;
}

/// A record of a class that the place of the change tells.
pub(crate) type Record = Box<dyn Any + Send>;

impl Sealed for () {}

impl Classes for () {
    fn names(_: &mut Vec<&'static str>) {}

    fn classes(_: &mut Vec<TypeId>) {}

    fn slots(_: &mut Vec<Box<dyn Slot>>) {}

    fn record<'de, A: MapAccess<'de>>(_: usize, map: &mut A) -> Result<Option<Record>, A::Error> {
        map.next_value::<IgnoredAny>()?;
        Ok(None)
    }

    fn record_of(_: usize, _: &Value) -> Result<Option<Record>, xenapi_wire::DecodeError> {
        Ok(None)
    }
}

impl<C, L> Sealed for (C, L) {}

impl<C: Watched, L: Classes> Classes for (C, L) {
    fn names(names: &mut Vec<&'static str>) {
        names.push(C::NAME);
        L::names(names);
    }

    fn classes(classes: &mut Vec<TypeId>) {
        classes.push(TypeId::of::<C>());
        L::classes(classes);
    }

    fn slots(slots: &mut Vec<Box<dyn Slot>>) {
        slots.push(Box::new(Writer::<C>::default()));
        L::slots(slots);
    }

    fn record<'de, A: MapAccess<'de>>(place: usize, map: &mut A) -> Result<Option<Record>, A::Error> {
        match place.checked_sub(1) {
            None => Ok(Some(Box::new(map.next_value::<C::Record>()?))),
            Some(place) => L::record(place, map),
        }
    }

    fn record_of(place: usize, value: &Value) -> Result<Option<Record>, xenapi_wire::DecodeError> {
        match place.checked_sub(1) {
            None => Ok(Some(Box::new(value.decode::<C::Record>()?))),
            Some(place) => L::record_of(place, value),
        }
    }
}

/// An object of a watched class that was changed or, without a record, destroyed.
pub(crate) struct Change {
    /// The place of the class in the list.
    pub(crate) class: usize,
    pub(crate) reference: String,
    pub(crate) record: Option<Record>,
}

/// What `event.from` returns, for these classes.
pub(crate) struct Changes<L> {
    pub(crate) changes: Vec<Change>,
    /// How many objects of each class the server has; `None` when it does not say.
    pub(super) counts: Vec<Option<usize>>,
    pub(crate) token: String,
    /// Events of any class, watched or not.
    events: usize,
    classes: PhantomData<fn() -> L>,
}

impl<L: Classes> follow::Batch for Changes<L> {
    fn token(&self) -> &str {
        &self.token
    }

    fn is_empty(&self) -> bool {
        self.events == 0
    }
}

impl<'de, L: Classes> Deserialize<'de> for Changes<L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct(
            "event batch",
            &["events", "valid_ref_counts", "token"],
            BatchVisitor(PhantomData),
        )
    }
}

struct BatchVisitor<L>(PhantomData<fn() -> L>);

impl<'de, L: Classes> Visitor<'de> for BatchVisitor<L> {
    type Value = Changes<L>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a batch of events")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut names = Vec::new();
        L::names(&mut names);
        let mut batch = Changes {
            changes: Vec::new(),
            counts: vec![None; names.len()],
            token: String::new(),
            events: 0,
            classes: PhantomData,
        };
        while let Some(key) = map.next_key::<Key>()? {
            match key.0 {
                Some("events") => {
                    let events: Vec<Event<L>> = map.next_value()?;
                    batch.events = events.len();
                    batch.changes = events.into_iter().filter_map(|event| event.change).collect();
                }
                Some("valid_ref_counts") => {
                    let counts: BTreeMap<String, i64> = map.next_value()?;
                    for (name, count) in names.iter().zip(&mut batch.counts) {
                        let found = counts.get(&name.to_ascii_lowercase());
                        *count = found.and_then(|&found| usize::try_from(found).ok());
                    }
                }
                Some("token") => batch.token = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if batch.token.is_empty() {
            return Err(A::Error::missing_field("token"));
        }
        Ok(batch)
    }
}

/// One event; nothing if it is of a class that is not watched.
struct Event<L> {
    change: Option<Change>,
    classes: PhantomData<fn() -> L>,
}

impl<'de, L: Classes> Deserialize<'de> for Event<L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct(
            "event",
            &["class", "operation", "ref", "snapshot"],
            EventVisitor(PhantomData),
        )
    }
}

struct EventVisitor<L>(PhantomData<fn() -> L>);

impl<'de, L: Classes> Visitor<'de> for EventVisitor<L> {
    type Value = Event<L>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut class: Option<Option<usize>> = None;
        let mut operation = None;
        let mut reference = String::new();
        // With the class it was read for: a broken server may name another one later.
        let mut record: Option<(usize, Record)> = None;
        let mut early = None;
        while let Some(key) = map.next_key::<Key>()? {
            match (key.0, class) {
                (Some("class"), _) => class = Some(map.next_value::<Place<L>>()?.0),
                (Some("operation"), _) => operation = Some(map.next_value::<EventOperation>()?),
                (Some("ref"), _) => reference = map.next_value()?,
                // XAPI names the class first, so that the record is read into its type at once.
                (Some("snapshot"), Some(Some(place))) if operation != Some(EventOperation::Del) => {
                    record = L::record(place, &mut map)?.map(|record| (place, record));
                }
                (Some("snapshot"), None) => early = Some(map.next_value::<Value>()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let operation = operation.ok_or_else(|| A::Error::missing_field("operation"))?;
        let class = class.ok_or_else(|| A::Error::missing_field("class"))?;
        let Some(class) = class else { return Ok(Event { change: None, classes: PhantomData }) };
        let change = match operation {
            EventOperation::Del => Change { class, reference, record: None },
            _ => {
                if let (None, Some(early)) = (&record, early) {
                    record =
                        L::record_of(class, &early).map_err(A::Error::custom)?.map(|record| (class, record));
                }
                let record = record.filter(|(place, _)| *place == class);
                let (_, record) = record.ok_or_else(|| A::Error::missing_field("snapshot"))?;
                Change { class, reference, record: Some(record) }
            }
        };
        Ok(Event { change: Some(change), classes: PhantomData })
    }
}

/// The place of a class in the list, by its name in whatever case.
struct Place<L>(Option<usize>, PhantomData<fn() -> L>);

impl<'de, L: Classes> Deserialize<'de> for Place<L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name<L>(PhantomData<fn() -> L>);
        impl<L: Classes> Visitor<'_> for Name<L> {
            type Value = Option<usize>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a class")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                let mut names = Vec::new();
                L::names(&mut names);
                Ok(names.iter().position(|name| name.eq_ignore_ascii_case(text)))
            }
        }
        deserializer.deserialize_str(Name::<L>(PhantomData)).map(|place| Self(place, PhantomData))
    }
}

/// A member's name, if it is one that matters.
struct Key(Option<&'static str>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a member")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Key, E> {
                const KNOWN: [&str; 7] =
                    ["class", "operation", "ref", "snapshot", "events", "valid_ref_counts", "token"];
                Ok(Key(KNOWN.into_iter().find(|known| *known == text)))
            }
        }
        deserializer.deserialize_identifier(Name)
    }
}

/// What `get_all_records` told of a class that was known before.
pub(super) struct Loaded<C: Watched> {
    /// All objects there are.
    pub(super) there: HashSet<Ref<C>>,
    /// Those that were not known, or not with this record.
    pub(super) news: Vec<Arc<Object<C>>>,
}

/// Reads [`Loaded`] and lets go of each record that is known already: never are there two copies of
/// a pool that has hardly changed.
pub(super) struct Against<'a, C: Watched>(pub(super) &'a Table<C>);

impl<C: Watched> Clone for Against<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C: Watched> Copy for Against<'_, C> {}

impl<'de, C: Watched> DeserializeSeed<'de> for Against<'_, C> {
    type Value = Loaded<C>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, C: Watched> Visitor<'de> for Against<'_, C> {
    type Value = Loaded<C>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the records of class {}", C::NAME)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut loaded = Loaded { there: HashSet::new(), news: Vec::new() };
        while let Some(reference) = map.next_key::<Ref<C>>()? {
            let record: C::Record = map.next_value()?;
            if self.0.get(&reference).is_none_or(|known| known.record != record) {
                loaded.news.push(Arc::new(Object { reference: reference.clone(), record }));
            }
            loaded.there.insert(reference);
        }
        Ok(loaded)
    }
}
