//! The messages that follow from a class and its fields, generic over these.
//!
//! ```
//! use xenapi_types::{Call, Vm, implicit, vm};
//!
//! let call = implicit::get_by_name_label::<Vm>("web");
//! assert_eq!(implicit::GetByNameLabel::<Vm>::METHOD, "VM.get_by_name_label");
//! # let reference = xenapi_types::Ref::NULL;
//! let call = implicit::set(reference, vm::field::NAME_LABEL, "web".to_owned());
//! ```
//!
//! None of them can run as `Async.`; the `create` and `destroy` of a class can, and are in its module.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, SeqAccess};
use serde::ser::{SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};
use xenapi_wire::{Call, Class, Ref};

use crate::call::{self, Params, Sequence};
use crate::field::{Field, MapValue, SetValue, Settable};
use crate::query::Query;

/// A class for which `get_all` and its relatives exist.
pub trait Listed: Class {
    /// The uuid of an object by its record; `None` for the few classes without uuids.
    fn uuid(record: &Self::Record) -> Option<&str>;

    /// The name of an object by its record; `None` for classes without names.
    fn name_label(record: &Self::Record) -> Option<&str>;
}

/// A class for which `get_by_name_label` exists.
pub trait Labelled: Class {}

/// `Class.prefix` and `Class.prefix_field` as constants.
struct Method<C, V>(PhantomData<fn() -> (C, V)>);

/// The part of a method after the class, before the name of the field.
trait Verb {
    const VERB: &'static str;
    /// The name of the field, or nothing.
    const FIELD: &'static str;
}

impl<C: Class, V: Verb> Method<C, V> {
    const LEN: usize = C::NAME.len() + 1 + V::VERB.len() + V::FIELD.len();
    const BYTES: [u8; 128] = {
        let mut bytes = [0; 128];
        let at = copy(C::NAME, &mut bytes, 0);
        let at = copy(".", &mut bytes, at);
        let at = copy(V::VERB, &mut bytes, at);
        copy(V::FIELD, &mut bytes, at);
        bytes
    };
    const NAME: &'static str = match str::from_utf8(Self::BYTES.split_at(Self::LEN).0) {
        Ok(name) => name,
        Err(_) => panic!("names of the API are ASCII"),
    };
}

const fn copy(text: &str, to: &mut [u8; 128], at: usize) -> usize {
    let text = text.as_bytes();
    let mut i = 0;
    while i < text.len() {
        to[at + i] = text[i];
        i += 1;
    }
    at + i
}

/// Declares an implicit call: `"verb" Call<Parameter: Bound>, class, field { parameters } -> Output`.
macro_rules! implicit {
    (
        $(#[$meta:meta])*
        $verb:literal $call:ident<$g:ident: $bound:path>, $class:ty, $field:expr;
        { $($param:ident: $ty:ty),* } -> $output:ty
        $(where $value:ty: $value_bound:path)?
    ) => {
        $(#[$meta])*
        pub struct $call<$g: $bound> $(where $value: $value_bound)? {
            $(
                #[doc = concat!("Parameter `", stringify!($param), "`.")]
                pub $param: $ty,
            )*
            of: PhantomData<fn() -> $g>,
        }

        impl<$g: $bound> Verb for $call<$g> $(where $value: $value_bound)? {
            const VERB: &'static str = $verb;
            const FIELD: &'static str = $field;
        }

        impl<$g: $bound> Call for $call<$g> $(where $value: $value_bound)? {
            const METHOD: &'static str = Method::<$class, Self>::NAME;
            const HAS_ASYNC: bool = false;
            type Output = $output;
        }

        impl<$g: $bound> Serialize for $call<$g> $(where $value: $value_bound)? {
            #[allow(unused_mut, reason = "calls without parameters")]
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut seq = serializer.serialize_seq(Some(<Self as Params>::REQUIRED))?;
                $(seq.serialize_element(&self.$param)?;)*
                seq.end()
            }
        }

        impl<$g: $bound> Params for $call<$g> $(where $value: $value_bound)? {
            const REQUIRED: usize = <[&str]>::len(&[$(stringify!($param)),*]);

            #[allow(unused_variables, reason = "calls without parameters")]
            fn read<'de, A: SeqAccess<'de>>(from: &mut Sequence<A>) -> Result<Self, A::Error> {
                Ok(Self { $($param: from.required()?,)* of: PhantomData })
            }
        }

        impl<'de, $g: $bound> Deserialize<'de> for $call<$g> $(where $value: $value_bound)? {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                call::deserialize(deserializer)
            }
        }

        /// Names the call only: values may be secret.
        impl<$g: $bound> fmt::Debug for $call<$g> $(where $value: $value_bound)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Self::METHOD)
            }
        }
    };
}

implicit! {
    /// The record of an object. Fails with `HANDLE_INVALID` when it is gone.
    "get_record" GetRecord<C: Class>, C, ""; { this: Ref<C> } -> C::Record
}
implicit! {
    /// The object with a uuid. Fails with `UUID_INVALID` when there is none.
    "get_by_uuid" GetByUuid<C: Class>, C, ""; { uuid: String } -> Ref<C>
}
implicit! {
    /// The objects with a name; several may have the same one.
    "get_by_name_label" GetByNameLabel<C: Labelled>, C, ""; { label: String } -> Vec<Ref<C>>
}
implicit! {
    /// All objects of a class.
    "get_all" GetAll<C: Listed>, C, ""; {} -> Vec<Ref<C>>
}
implicit! {
    /// All objects of a class with their records. Objects that vanish meanwhile are left out.
    "get_all_records" GetAllRecords<C: Listed>, C, ""; {} -> BTreeMap<Ref<C>, C::Record>
}
implicit! {
    /// The objects that a query matches.
    "get_all_where" GetAllWhere<C: Listed>, C, ""; { query: String } -> Vec<Ref<C>>
}
implicit! {
    /// The objects that a query matches, with their records.
    "get_all_records_where" GetAllRecordsWhere<C: Listed>, C, "";
    { query: String } -> BTreeMap<Ref<C>, C::Record>
}
implicit! {
    /// The value of a field.
    "get_" Get<F: Field>, F::Class, F::NAME; { this: Ref<F::Class> } -> F::Value
}
implicit! {
    /// Sets a field.
    "set_" Set<F: Settable>, F::Class, F::NAME; { this: Ref<F::Class>, value: F::Value } -> ()
}
implicit! {
    /// Puts an entry into a field that is a map. Fails with `MAP_DUPLICATE_KEY` when the key is there:
    /// remove it first.
    "add_to_" AddTo<F: Settable>, F::Class, F::NAME;
    { this: Ref<F::Class>, key: <F::Value as MapValue>::Key, value: <F::Value as MapValue>::Item } -> ()
    where F::Value: MapValue
}
implicit! {
    /// Removes an entry from a field that is a map. A key that is not there is not an error.
    "remove_from_" RemoveFrom<F: Settable>, F::Class, F::NAME;
    { this: Ref<F::Class>, key: <F::Value as MapValue>::Key } -> ()
    where F::Value: MapValue
}
implicit! {
    /// Adds an element to a field that is a set, unless it is there.
    "add_" Add<F: Settable>, F::Class, F::NAME;
    { this: Ref<F::Class>, value: <F::Value as SetValue>::Item } -> ()
    where F::Value: SetValue
}
implicit! {
    /// Removes an element from a field that is a set. One that is not there is not an error.
    "remove_" Remove<F: Settable>, F::Class, F::NAME;
    { this: Ref<F::Class>, value: <F::Value as SetValue>::Item } -> ()
    where F::Value: SetValue
}

/// The record of `this`.
pub fn get_record<C: Class>(this: Ref<C>) -> GetRecord<C> {
    GetRecord { this, of: PhantomData }
}

/// The object with this uuid.
pub fn get_by_uuid<C: Class>(uuid: impl Into<String>) -> GetByUuid<C> {
    GetByUuid { uuid: uuid.into(), of: PhantomData }
}

/// The objects with this name.
pub fn get_by_name_label<C: Labelled>(label: impl Into<String>) -> GetByNameLabel<C> {
    GetByNameLabel { label: label.into(), of: PhantomData }
}

/// All objects.
pub fn get_all<C: Listed>() -> GetAll<C> {
    GetAll { of: PhantomData }
}

/// All objects with their records.
pub fn get_all_records<C: Listed>() -> GetAllRecords<C> {
    GetAllRecords { of: PhantomData }
}

/// The objects that `query` matches.
pub fn get_all_where<C: Listed>(query: &Query) -> GetAllWhere<C> {
    GetAllWhere { query: query.to_string(), of: PhantomData }
}

/// The objects that `query` matches, with their records.
pub fn get_all_records_where<C: Listed>(query: &Query) -> GetAllRecordsWhere<C> {
    GetAllRecordsWhere { query: query.to_string(), of: PhantomData }
}

/// The value of a field of `this`.
pub fn get<F: Field>(this: Ref<F::Class>, _field: F) -> Get<F> {
    Get { this, of: PhantomData }
}

/// Sets a field of `this`.
pub fn set<F: Settable>(this: Ref<F::Class>, _field: F, value: F::Value) -> Set<F> {
    Set { this, value, of: PhantomData }
}

/// Puts an entry into a map of `this`.
pub fn add_to<F: Settable<Value: MapValue>>(
    this: Ref<F::Class>,
    _field: F,
    key: <F::Value as MapValue>::Key,
    value: <F::Value as MapValue>::Item,
) -> AddTo<F> {
    AddTo { this, key, value, of: PhantomData }
}

/// Removes an entry from a map of `this`.
pub fn remove_from<F: Settable<Value: MapValue>>(
    this: Ref<F::Class>,
    _field: F,
    key: <F::Value as MapValue>::Key,
) -> RemoveFrom<F> {
    RemoveFrom { this, key, of: PhantomData }
}

/// Adds an element to a set of `this`.
pub fn add<F: Settable<Value: SetValue>>(
    this: Ref<F::Class>,
    _field: F,
    value: <F::Value as SetValue>::Item,
) -> Add<F> {
    Add { this, value, of: PhantomData }
}

/// Removes an element from a set of `this`.
pub fn remove<F: Settable<Value: SetValue>>(
    this: Ref<F::Class>,
    _field: F,
    value: <F::Value as SetValue>::Item,
) -> Remove<F> {
    Remove { this, value, of: PhantomData }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Vbd, VbdRecord, Vdi, Vm, VmRecord, vm};

    #[test]
    fn methods_are_spelled_from_class_verb_and_field() {
        assert_eq!(GetRecord::<Vdi>::METHOD, "VDI.get_record");
        assert_eq!(GetAll::<Vm>::METHOD, "VM.get_all");
        assert_eq!(Get::<vm::field::MEMORY_STATIC_MAX>::METHOD, "VM.get_memory_static_max");
        assert_eq!(AddTo::<vm::field::OTHER_CONFIG>::METHOD, "VM.add_to_other_config");
        assert_eq!(Remove::<vm::field::TAGS>::METHOD, "VM.remove_tags");
    }

    #[test]
    fn a_record_tells_uuid_and_name() {
        let vm = VmRecord { uuid: "u".into(), name_label: "n".into(), ..VmRecord::default() };
        assert_eq!((Vm::uuid(&vm), Vm::name_label(&vm)), (Some("u"), Some("n")));
        let vbd = VbdRecord { uuid: "u".into(), ..VbdRecord::default() };
        assert_eq!((Vbd::uuid(&vbd), Vbd::name_label(&vbd)), (Some("u"), None));
    }

    #[test]
    fn parameters_go_in_order() {
        let call = add_to(Ref::NULL, vm::field::OTHER_CONFIG, "key".into(), "value".into());
        let json = serde_json::to_value(&call).unwrap();
        assert_eq!(json, serde_json::json!(["OpaqueRef:NULL", "key", "value"]));
        let back: AddTo<vm::field::OTHER_CONFIG> = serde_json::from_value(json).unwrap();
        assert_eq!((back.key.as_str(), back.value.as_str()), ("key", "value"));
        assert_eq!(serde_json::to_string(&get_all::<Vm>()).unwrap(), "[]");
    }
}
