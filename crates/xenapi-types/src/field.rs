//! Fields as types, so that getters and setters are checked when they are compiled.
//!
//! Each class's module has its fields: `vm::field::NAME_LABEL`. They are values without content and
//! types at the same time: `implicit::get(vm, vm::field::NAME_LABEL)`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use xenapi_wire::Class;

/// A field of a class, for which `get_<field>` exists.
pub trait Field: Copy + Send + Sync + 'static {
    /// The class.
    type Class: Class;
    /// The type of its values.
    type Value: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// The name on the wire.
    const NAME: &'static str;
}

/// A field for which `set_<field>` exists.
///
/// Some others have an explicit call that sets them, such as `vdi::SetNameLabel`.
pub trait Settable: Field {}

mod sealed {
    pub trait Sealed {}

    impl<K, V> Sealed for std::collections::BTreeMap<K, V> {}
    impl<T> Sealed for Vec<T> {}
}

/// The values of a field that is a map.
pub trait MapValue: sealed::Sealed {
    /// The type of its keys.
    type Key: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// The type of what stands under a key.
    type Item: Serialize + DeserializeOwned + Send + Sync + 'static;
}

/// The values of a field that is a set.
pub trait SetValue: sealed::Sealed {
    /// The type of its elements.
    type Item: Serialize + DeserializeOwned + Send + Sync + 'static;
}

impl<K, V> MapValue for BTreeMap<K, V>
where
    K: Serialize + DeserializeOwned + Send + Sync + 'static,
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    type Key = K;
    type Item = V;
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> SetValue for Vec<T> {
    type Item = T;
}

/// Declares the fields of a class: `rw NAME "wire name" Type;`.
macro_rules! field_names {
    ($class:ident; $($mode:ident $field:ident $name:literal $ty:ty;)*) => {
        $(
            #[doc = concat!("`", $name, "`, `", stringify!($ty), "`")]
            #[allow(non_camel_case_types, reason = "used as a value first")]
            #[derive(Debug, Clone, Copy)]
            pub struct $field;

            impl $crate::field::Field for $field {
                type Class = $class;
                type Value = $ty;
                const NAME: &'static str = $name;
            }

            $crate::field::settable! { $mode $field }
        )*
    };
}

macro_rules! settable {
    (rw $field:ident) => {
        impl $crate::field::Settable for $field {}
    };
    (ro $field:ident) => {};
}

pub(crate) use {field_names, settable};
