//! The one who changes the tables: a table of each class that is worked on, copies of which are
//! published when they are consistent with each other.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use xenapi_types::implicit::GetAllRecords;
use xenapi_wire::{Call, Ref};

use super::Watched;
use super::decode::Against;
use super::listen::Listeners;
use super::table::{Object, Table};
use crate::client::Client;
use crate::error::Result;

type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Only this crate knows what is in a cache.
pub trait Sealed {}

/// A class of the cache, whichever it is.
pub trait Slot: Sealed + Send + Sync {
    /// The name of the class.
    fn name(&self) -> &'static str;

    /// How many objects there are.
    fn count(&self) -> usize;

    /// Puts in the record of an object, or takes the object out. `record` is of this class.
    fn apply(&mut self, reference: &str, record: Option<Box<dyn Any + Send>>);

    /// Reads all records again.
    fn load<'a>(&'a mut self, client: &'a Client) -> Pending<'a, Result<()>>;

    /// Takes out what the server does not list any more.
    fn prune<'a>(&'a mut self, client: &'a Client) -> Pending<'a, Result<()>>;

    /// A copy of the table, if it was changed since the last one.
    fn publish(&mut self) -> Option<Arc<dyn Any + Send + Sync>>;

    /// Tells those who listen, after the copy was made visible.
    fn tell(&mut self);

    /// Those who listen: `Arc<Listeners<C>>`.
    fn listeners(&self) -> Arc<dyn Any + Send + Sync>;
}

pub(super) struct Writer<C: Watched> {
    table: Table<C>,
    /// What was changed since it was published last, as it was then.
    changed: HashMap<Ref<C>, Option<Arc<Object<C>>>>,
    listeners: Arc<Listeners<C>>,
    /// Nothing was ever published.
    fresh: bool,
}

impl<C: Watched> Default for Writer<C> {
    fn default() -> Self {
        Self { table: Table::default(), changed: HashMap::new(), listeners: Arc::default(), fresh: true }
    }
}

impl<C: Watched> Writer<C> {
    fn put(&mut self, object: Arc<Object<C>>) {
        let reference = object.reference.clone();
        let before = self.table.put(object);
        self.note(reference, before);
    }

    fn take(&mut self, reference: Ref<C>) {
        if let Some(before) = self.table.take(&reference) {
            self.note(reference, Some(before));
        }
    }

    fn note(&mut self, reference: Ref<C>, before: Option<Arc<Object<C>>>) {
        // Nobody can listen to what was never published.
        if !self.fresh {
            self.changed.entry(reference).or_insert(before);
        }
    }

    fn retain(&mut self, there: impl Fn(&Ref<C>) -> bool) {
        let gone: Vec<Ref<C>> = self
            .table
            .iter()
            .map(|object| &object.reference)
            .filter(|reference| !there(reference))
            .cloned()
            .collect();
        for reference in gone {
            self.take(reference);
        }
    }
}

impl<C: Watched> Sealed for Writer<C> {}

impl<C: Watched> Slot for Writer<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn count(&self) -> usize {
        self.table.len()
    }

    fn apply(&mut self, reference: &str, record: Option<Box<dyn Any + Send>>) {
        let reference = Ref::from(reference);
        match record.map(<Box<dyn Any + Send>>::downcast::<C::Record>) {
            Some(Ok(record)) => self.put(Arc::new(Object { reference, record: *record })),
            Some(Err(_)) => unreachable!("the place of the class was told when the record was read"),
            None => self.take(reference),
        }
    }

    fn load<'a>(&'a mut self, client: &'a Client) -> Pending<'a, Result<()>> {
        Box::pin(async move {
            let method = GetAllRecords::<C>::METHOD;
            // Objects that are equal to what is here are not among the news, so that nobody is told of a change.
            let loaded = client.invoke_with(method, &[(); 0], Against(&self.table)).await?;
            for object in loaded.news {
                self.put(object);
            }
            self.retain(|reference| loaded.there.contains(reference));
            Ok(())
        })
    }

    fn prune<'a>(&'a mut self, client: &'a Client) -> Pending<'a, Result<()>> {
        Box::pin(async move {
            let there: HashSet<Ref<C>> = client.all::<C>().await?.into_iter().collect();
            self.retain(|reference| there.contains(reference));
            Ok(())
        })
    }

    fn publish(&mut self) -> Option<Arc<dyn Any + Send + Sync>> {
        let changed = std::mem::take(&mut self.fresh) || !self.changed.is_empty();
        changed.then(|| Arc::new(self.table.clone()) as Arc<dyn Any + Send + Sync>)
    }

    fn tell(&mut self) {
        let changed = std::mem::take(&mut self.changed);
        self.listeners.tell(changed.iter().map(|(reference, before)| (reference, before.as_ref())));
    }

    fn listeners(&self) -> Arc<dyn Any + Send + Sync> {
        Arc::clone(&self.listeners) as Arc<dyn Any + Send + Sync>
    }
}
