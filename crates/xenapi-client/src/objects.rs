//! The implicit messages, which every class has: records, fields, looking up by name.

use std::collections::HashMap;

use xenapi_types::field::{Field, MapValue, Settable};
use xenapi_wire::{Class, Ref};

use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};

impl Client {
    /// The record of an object.
    ///
    /// # Errors
    /// `NotFound` when there is no such object (any more).
    pub async fn record<C: Class>(&self, object: &Ref<C>) -> Result<C::Record> {
        let record = self.invoke(&method::<C>("get_record"), &(object,)).await;
        record.map_err(|error| gone(error, object))
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

    /// The records of all objects of a class.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn all_records<C: Class>(&self) -> Result<HashMap<Ref<C>, C::Record>> {
        self.invoke(&method::<C>("get_all_records"), &()).await
    }

    /// All objects of a class.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn all<C: Class>(&self) -> Result<Vec<Ref<C>>> {
        self.invoke(&method::<C>("get_all"), &()).await
    }

    /// The records of the objects for which an expression holds, chosen by the server:
    /// `field "name__label" = "x" and not (field "power_state" = "Running")`.
    ///
    /// Fields have their database names here: `name__label`, `memory__static_max`. Text that comes
    /// from elsewhere must be quoted with [`quote`].
    ///
    /// # Errors
    /// As [`Client::call`]; `INVALID_VALUE` for an expression that cannot be read.
    pub async fn records_where<C: Class>(&self, expression: &str) -> Result<HashMap<Ref<C>, C::Record>> {
        self.invoke(&method::<C>("get_all_records_where"), &(expression,)).await
    }

    /// The object with this uuid.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub async fn by_uuid<C: Class>(&self, uuid: &str) -> Result<Ref<C>> {
        let found = self.by_uuid_opt(uuid).await?;
        found.ok_or_else(|| {
            let message = format!("there is no {} with uuid {uuid}", C::NAME);
            Error::new(ErrorKind::NotFound, message).at(&self.endpoint())
        })
    }

    /// The object with this uuid, if there is one.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn by_uuid_opt<C: Class>(&self, uuid: &str) -> Result<Option<Ref<C>>> {
        match self.invoke(&method::<C>("get_by_uuid"), &(uuid,)).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is("UUID_INVALID") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The one object with this name. Names are not unique in XAPI.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Ambiguous` when there are several.
    pub async fn by_name_label<C: Class>(&self, name: &str) -> Result<Ref<C>> {
        let found = self.by_name_label_opt(name).await?;
        found.ok_or_else(|| {
            let message = format!("there is no {} named {name:?}", C::NAME);
            Error::new(ErrorKind::NotFound, message).at(&self.endpoint())
        })
    }

    /// The one object with this name, if there is one.
    ///
    /// # Errors
    /// `Ambiguous` when there are several.
    pub async fn by_name_label_opt<C: Class>(&self, name: &str) -> Result<Option<Ref<C>>> {
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
    pub async fn all_by_name_label<C: Class>(&self, name: &str) -> Result<Vec<Ref<C>>> {
        self.invoke(&method::<C>("get_by_name_label"), &(name,)).await
    }

    /// One field of an object: `client.get_field(&vdi, vdi::field::VIRTUAL_SIZE)`.
    ///
    /// # Errors
    /// `NotFound` when there is no such object.
    pub async fn get_field<F: Field>(&self, object: &Ref<F::Class>, _field: F) -> Result<F::Value> {
        let value = self.invoke(&method::<F::Class>(&format!("get_{}", F::NAME)), &(object,)).await;
        value.map_err(|error| gone(error, object))
    }

    /// Sets one field of an object.
    ///
    /// # Errors
    /// `NotFound` when there is no such object.
    pub async fn set_field<F: Settable>(
        &self,
        object: &Ref<F::Class>,
        _field: F,
        value: impl Into<F::Value> + Send,
    ) -> Result<()> {
        let value: F::Value = value.into();
        let done = self.invoke(&method::<F::Class>(&format!("set_{}", F::NAME)), &(object, value)).await;
        done.map_err(|error| gone(error, object))
    }

    /// Adds a key to a map of an object.
    ///
    /// # Errors
    /// `NotFound` when there is no such object; `MAP_DUPLICATE_KEY` when the key is there already.
    pub async fn add_to<F: Settable>(
        &self,
        object: &Ref<F::Class>,
        _field: F,
        key: impl Into<<F::Value as MapValue>::Key> + Send,
        item: impl Into<<F::Value as MapValue>::Item> + Send,
    ) -> Result<()>
    where
        F::Value: MapValue,
    {
        let params: (_, <F::Value as MapValue>::Key, <F::Value as MapValue>::Item) =
            (object, key.into(), item.into());
        let done = self.invoke(&method::<F::Class>(&format!("add_to_{}", F::NAME)), &params).await;
        done.map_err(|error| gone(error, object))
    }

    /// Removes a key from a map of an object. That the key is not there is no error.
    ///
    /// # Errors
    /// `NotFound` when there is no such object.
    pub async fn remove_from<F: Settable>(
        &self,
        object: &Ref<F::Class>,
        _field: F,
        key: impl Into<<F::Value as MapValue>::Key> + Send,
    ) -> Result<()>
    where
        F::Value: MapValue,
    {
        let params: (_, <F::Value as MapValue>::Key) = (object, key.into());
        let done = self.invoke(&method::<F::Class>(&format!("remove_from_{}", F::NAME)), &params).await;
        done.map_err(|error| gone(error, object))
    }

    /// Sets a key of a map of an object, whether it is there or not. Not atomic: in between there
    /// is no key.
    ///
    /// # Errors
    /// As [`Client::add_to`].
    pub async fn put_in<F: Settable>(
        &self,
        object: &Ref<F::Class>,
        field: F,
        key: impl Into<<F::Value as MapValue>::Key> + Send,
        item: impl Into<<F::Value as MapValue>::Item> + Send,
    ) -> Result<()>
    where
        F::Value: MapValue<Key: Clone>,
    {
        let key: <F::Value as MapValue>::Key = key.into();
        self.remove_from(object, field, key.clone()).await?;
        self.add_to(object, field, key, item).await
    }

    /// Destroys an object.
    ///
    /// # Errors
    /// `NotFound` when there is no such object (any more).
    pub async fn destroy<C: Class>(&self, object: &Ref<C>) -> Result<()> {
        let done = self.invoke(&method::<C>("destroy"), &(object,)).await;
        done.map_err(|error| gone(error, object))
    }
}

/// A string literal for [`Client::records_where`].
pub fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn method<C: Class>(name: &str) -> String {
    format!("{}.{name}", C::NAME)
}

/// `NotFound` for the failure by which XAPI says that the very object of the call does not exist.
fn gone<C: Class>(error: Error, object: &Ref<C>) -> Error {
    match error.failure() {
        Some(failure) if failure.code == "HANDLE_INVALID" && failure.param(1) == object.to_string() => {
            error.into_kind(ErrorKind::NotFound)
        }
        _ => error,
    }
}
