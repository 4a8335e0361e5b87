//! The implicit messages, which every class has: records, fields, looking up by name.

use std::collections::BTreeMap;

use xenapi_types::FailureExt;
use xenapi_types::field::{Field, MapValue, Settable};
use xenapi_types::implicit::{self, Labelled, Listed};
use xenapi_types::query::{Query, QuoteError};
use xenapi_wire::{Class, Ref};

use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};

/// How often a key that others put in at the same time is put in again.
const PUTS: usize = 4;

impl Client {
    /// The record of an object.
    ///
    /// # Errors
    /// `NotFound` when there is no such object (any more).
    pub async fn record<C: Class>(&self, object: &Ref<C>) -> Result<C::Record> {
        gone(self.call(implicit::get_record(object.clone())).await, object)
    }

    /// The record of an object, or `None` when there is no such object (any more).
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn record_opt<C: Class>(&self, object: &Ref<C>) -> Result<Option<C::Record>> {
        match self.record(object).await {
            Ok(record) => Ok(Some(record)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects of a class with their records.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn all_records<C: Listed>(&self) -> Result<BTreeMap<Ref<C>, C::Record>> {
        self.call(implicit::get_all_records()).await
    }

    /// All objects of a class.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn all<C: Listed>(&self) -> Result<Vec<Ref<C>>> {
        self.call(implicit::get_all()).await
    }

    /// The objects that a query matches, with their records; the host does the choosing.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn records_where<C: Listed>(&self, query: &Query) -> Result<BTreeMap<Ref<C>, C::Record>> {
        self.call(implicit::get_all_records_where(query)).await
    }

    /// The objects with a name, with their records. Any name will do, also one with quotation
    /// marks, which no [`Query`] can hold.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn records_named<C: Listed + Labelled>(
        &self,
        name: &str,
    ) -> Result<BTreeMap<Ref<C>, C::Record>> {
        if let Ok(query) = Query::eq("name__label", name) {
            return self.records_where(&query).await;
        }
        let mut found = BTreeMap::new();
        for object in self.all_by_name_label::<C>(name).await? {
            if let Some(record) = self.record_opt(&object).await? {
                found.insert(object, record);
            }
        }
        Ok(found)
    }

    /// The object with this uuid.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub async fn by_uuid<C: Class>(&self, uuid: &str) -> Result<Ref<C>> {
        let found = self.by_uuid_opt(uuid).await?;
        found.ok_or_else(|| self.not_found(format!("there is no {} with uuid {uuid}", C::NAME)))
    }

    /// The object with this uuid, if there is one.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn by_uuid_opt<C: Class>(&self, uuid: &str) -> Result<Option<Ref<C>>> {
        match self.call(implicit::get_by_uuid(uuid)).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.failure().is_some_and(FailureExt::is_uuid_invalid) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The one object with this name. Names are not unique in XAPI.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Ambiguous` when there are several.
    pub async fn by_name_label<C: Labelled>(&self, name: &str) -> Result<Ref<C>> {
        let found = self.by_name_label_opt(name).await?;
        found.ok_or_else(|| self.not_found(format!("there is no {} named {name:?}", C::NAME)))
    }

    /// The one object with this name, if there is one.
    ///
    /// # Errors
    /// `Ambiguous` when there are several.
    pub async fn by_name_label_opt<C: Labelled>(&self, name: &str) -> Result<Option<Ref<C>>> {
        let mut found = self.all_by_name_label(name).await?;
        if found.len() > 1 {
            let message = format!("there are {} objects of class {} named {name:?}", found.len(), C::NAME);
            return Err(Error::new(ErrorKind::Ambiguous, message)
                .remedy("name it by its uuid")
                .at(&self.endpoint()));
        }
        Ok(found.pop())
    }

    /// All objects with this name.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn all_by_name_label<C: Labelled>(&self, name: &str) -> Result<Vec<Ref<C>>> {
        self.call(implicit::get_by_name_label(name)).await
    }

    /// One field of an object: `client.get_field(&vdi, vdi::field::VIRTUAL_SIZE)`.
    ///
    /// # Errors
    /// `NotFound` when there is no such object.
    pub async fn get_field<F: Field>(&self, object: &Ref<F::Class>, field: F) -> Result<F::Value> {
        gone(self.call(implicit::get(object.clone(), field)).await, object)
    }

    /// Sets one field of an object.
    ///
    /// # Errors
    /// `NotFound` when there is no such object.
    pub async fn set_field<F: Settable>(
        &self,
        object: &Ref<F::Class>,
        field: F,
        value: impl Into<F::Value>,
    ) -> Result<()> {
        gone(self.call(implicit::set(object.clone(), field, value.into())).await, object)
    }

    /// Adds a key to a map of an object.
    ///
    /// # Errors
    /// `NotFound` when there is no such object; `MAP_DUPLICATE_KEY` when the key is there already.
    pub async fn add_to<F: Settable<Value: MapValue>>(
        &self,
        object: &Ref<F::Class>,
        field: F,
        key: impl Into<<F::Value as MapValue>::Key>,
        item: impl Into<<F::Value as MapValue>::Item>,
    ) -> Result<()> {
        gone(self.call(implicit::add_to(object.clone(), field, key.into(), item.into())).await, object)
    }

    /// Removes a key from a map of an object. That the key is not there is no error.
    ///
    /// # Errors
    /// `NotFound` when there is no such object.
    pub async fn remove_from<F: Settable<Value: MapValue>>(
        &self,
        object: &Ref<F::Class>,
        field: F,
        key: impl Into<<F::Value as MapValue>::Key>,
    ) -> Result<()> {
        gone(self.call(implicit::remove_from(object.clone(), field, key.into())).await, object)
    }

    /// Sets a key of a map of an object, whether it is there or not. Not atomic: in between there
    /// is no key.
    ///
    /// # Errors
    /// As [`Client::add_to`].
    pub async fn put_in<F>(
        &self,
        object: &Ref<F::Class>,
        field: F,
        key: impl Into<<F::Value as MapValue>::Key>,
        item: impl Into<<F::Value as MapValue>::Item>,
    ) -> Result<()>
    where
        F: Settable<Value: MapValue<Key: Clone, Item: Clone>>,
    {
        let (key, item) = (key.into(), item.into());
        for _ in 0..PUTS {
            self.remove_from(object, field, key.clone()).await?;
            match self.add_to(object, field, key.clone(), item.clone()).await {
                // Somebody else put it in between the two calls; whoever comes last wins.
                Err(error) if error.is("MAP_DUPLICATE_KEY") => {}
                done => return done,
            }
        }
        self.remove_from(object, field, key.clone()).await?;
        self.add_to(object, field, key, item).await
    }

    /// Destroys an object.
    ///
    /// # Errors
    /// `NotFound` when there is no such object (any more).
    pub async fn destroy<C: Class>(&self, object: &Ref<C>) -> Result<()> {
        // Its own call in each class's module; the same message in all of them.
        gone(self.invoke(&format!("{}.destroy", C::NAME), &(object,)).await, object)
    }

    fn not_found(&self, message: String) -> Error {
        Error::new(ErrorKind::NotFound, message).at(&self.endpoint())
    }
}

impl From<QuoteError> for Error {
    fn from(error: QuoteError) -> Self {
        Self::new(ErrorKind::Config, error.to_string()).because(error)
    }
}

/// `NotFound` for the failure by which XAPI says that the very object of the call does not exist.
fn gone<C: Class, T>(result: Result<T>, object: &Ref<C>) -> Result<T> {
    result.map_err(|error| match error.failure() {
        Some(failure) if failure.is_gone(object) => error
            .into_kind(ErrorKind::NotFound)
            .saying(format!("there is no {} {object} (any more)", C::NAME)),
        _ => error,
    })
}
