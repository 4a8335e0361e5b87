//! Finding out what has become of a call whose answer was lost ([`ErrorKind::OutcomeUnknown`]).
//!
//! An object that a call makes can be found again when the call gives it something that nothing else has: a
//! key in its `other_config`, with a value made for this one call.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use xenapi_types::field::Field;
use xenapi_types::implicit::Listed;
use xenapi_wire::{Call, Class, Ref};

use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};

impl Client {
    /// One field of all objects of a class. The records come whole, but only this field is kept of them.
    /// Objects whose record lacks it are left out.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn all_fields<F: Field<Class: Listed>>(
        &self,
        _field: F,
    ) -> Result<BTreeMap<Ref<F::Class>, F::Value>> {
        let method = format!("{}.get_all_records", <F::Class as Class>::NAME);
        let all: BTreeMap<_, One<F>> = self.invoke(&method, &()).await?;
        Ok(all.into_iter().filter_map(|(object, one)| Some((object, one.0?))).collect())
    }

    /// The object that carries `value` under `key` in a map of its own, such as `vm::field::OTHER_CONFIG`:
    /// the answer to what has become of a call that should have made it.
    ///
    /// `None` means that there is none now. XAPI finishes what it has begun although its client is gone, so
    /// that an object may still appear; and one that is there may still be filled, as by `VDI.copy`.
    ///
    /// # Errors
    /// `Ambiguous` when several objects carry it; else as [`Client::call`].
    pub async fn resolve_created<F>(&self, field: F, key: &str, value: &str) -> Result<Option<Ref<F::Class>>>
    where
        F: Field<Class: Listed, Value = BTreeMap<String, String>>,
    {
        let all = self.all_fields(field).await?;
        let mut found = all.into_iter().filter(|(_, map)| map.get(key).is_some_and(|has| has == value));
        let first = found.next().map(|(object, _)| object);
        if found.next().is_some() {
            let class = <F::Class as Class>::NAME;
            let message = format!("several objects of class {class} have {key}={value} in {}", F::NAME);
            return Err(Error::new(ErrorKind::Ambiguous, message)
                .remedy("mark each with a value of its own, as a new uuid")
                .at(&self.endpoint()));
        }
        Ok(first)
    }

    /// Makes an object by a call which marks it with `value` under `key`, and looks for that mark when the
    /// answer is lost.
    ///
    /// # Errors
    /// As [`Client::call`]; `OutcomeUnknown` remains when there is no such object, for it may still appear.
    pub async fn create_marked<C, F>(&self, create: C, field: F, key: &str, value: &str) -> Result<C::Output>
    where
        C: Call<Output = Ref<F::Class>>,
        F: Field<Class: Listed, Value = BTreeMap<String, String>>,
    {
        let error = match self.call(create).await {
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => error,
            known => return known,
        };
        match self.resolve_created(field, key, value).await {
            Ok(Some(object)) => {
                tracing::info!(%error, %object, "it was carried out all the same");
                Ok(object)
            }
            Ok(None) => {
                Err(error.remedy(format!("there is no object with {key}={value} so far: look again later")))
            }
            Err(looking) => {
                tracing::warn!(error = %looking, "the outcome of a call cannot be found out");
                Err(error)
            }
        }
    }
}

/// A record of which one field is read.
struct One<F: Field>(Option<F::Value>);

impl<'de, F: Field> Deserialize<'de> for One<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<F>(PhantomData<F>);

        impl<'de, F: Field> Visitor<'de> for Fields<F> {
            type Value = One<F>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<One<F>, A::Error> {
                let mut value = None;
                while let Some(name) = map.next_key::<String>()? {
                    if name == F::NAME {
                        value = Some(map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(One(value))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData))
    }
}
