//! Calls: parameters as a sequence, so that the generated code is a list of them.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::ser::{SerializeSeq, Serializer};

use xenapi_wire::Call;

use crate::record::{AsMap, Fields};

/// The parameters of a call, in order.
pub(crate) trait Params: Call {
    /// How many parameters there must be.
    const REQUIRED: usize;

    fn read<'de, A: SeqAccess<'de>>(from: &mut Sequence<A>) -> Result<Self, A::Error>;
}

/// A sequence of parameters that is being read.
pub(crate) struct Sequence<A> {
    inner: A,
    required: usize,
    taken: usize,
}

impl<'de, A: SeqAccess<'de>> Sequence<A> {
    pub(crate) fn required<T: Deserialize<'de>>(&mut self) -> Result<T, A::Error> {
        match self.inner.next_element()? {
            Some(value) => {
                self.taken += 1;
                Ok(value)
            }
            None => Err(serde::de::Error::custom(format_args!(
                "{} parameters instead of {}",
                self.taken, self.required
            ))),
        }
    }

    pub(crate) fn optional<T: Deserialize<'de>>(&mut self) -> Result<Option<T>, A::Error> {
        self.inner.next_element()
    }
}

pub(crate) fn deserialize<'de, T: Params, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_seq(ParamsVisitor(PhantomData))
}

struct ParamsVisitor<T>(PhantomData<T>);

impl<'de, T: Params> Visitor<'de> for ParamsVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the parameters of {}", T::METHOD)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<T, A::Error> {
        let mut from = Sequence { inner: seq, required: T::REQUIRED, taken: 0 };
        let params = T::read(&mut from)?;
        if from.inner.next_element::<IgnoredAny>()?.is_some() {
            return Err(serde::de::Error::custom("more parameters than the call has"));
        }
        Ok(params)
    }
}

/// The one parameter of `create`: a struct of constructor fields.
pub(crate) fn serialize_create<T: Fields, S: Serializer>(
    fields: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut seq = serializer.serialize_seq(Some(1))?;
    seq.serialize_element(&AsMap(fields))?;
    seq.end()
}

pub(crate) fn read_create<'de, T: Fields, A: SeqAccess<'de>>(from: &mut Sequence<A>) -> Result<T, A::Error> {
    from.required::<AsMap<T>>().map(|map| map.0)
}

/// The optional parameters to send: whatever stands before the last given one is sent too.
pub(crate) fn tail(given: &[bool]) -> std::ops::Range<usize> {
    0..given.iter().rposition(|given| *given).map_or(0, |last| last + 1)
}

/// Declares a call: required parameters, then `;` and those that the server has defaults for.
macro_rules! call {
    (
        $(#[$meta:meta])*
        $method:literal $call:ident $([$($flag:ident)*])? -> $output:ty {
            $($(#[$req_meta:meta])* $([$req_mark:ident])? $req:ident: $req_ty:ty,)*
            $(; $($(#[$opt_meta:meta])* $([$opt_mark:ident])? $opt:ident: $opt_ty:ty = $default:expr,)*)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq)]
        pub struct $call {
            $($(#[$req_meta])* pub $req: $req_ty,)*
            $($($(#[$opt_meta])* pub $opt: Option<$opt_ty>,)*)?
        }

        impl xenapi_wire::Call for $call {
            const METHOD: &'static str = $method;
            $($($crate::call::flag! { $flag })*)?
            type Output = $output;
        }

        impl serde::Serialize for $call {
            #[allow(unused_mut, unused_variables, reason = "calls without optional parameters")]
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeSeq;
                let mut tail = $crate::call::tail(&[$($(self.$opt.is_some()),*)?]);
                let required = <Self as $crate::call::Params>::REQUIRED;
                let mut seq = serializer.serialize_seq(Some(required + tail.len()))?;
                $(seq.serialize_element(&$crate::record::sent!([$($req_mark)?] self.$req))?;)*
                $($(
                    if tail.next().is_some() {
                        match &self.$opt {
                            Some(value) => seq.serialize_element(&$crate::record::sent!([$($opt_mark)?] *value))?,
                            None => seq.serialize_element::<$opt_ty>(&$default)?,
                        }
                    }
                )*)?
                seq.end()
            }
        }

        impl $crate::call::Params for $call {
            const REQUIRED: usize = <[&str]>::len(&[$(stringify!($req)),*]);

            #[allow(unused_variables, reason = "calls without parameters")]
            fn read<'de, A: serde::de::SeqAccess<'de>>(
                from: &mut $crate::call::Sequence<A>,
            ) -> Result<Self, A::Error> {
                Ok(Self {
                    $($req: from.required()?,)*
                    $($($opt: from.optional()?,)*)?
                })
            }
        }

        $crate::call::deserialize_params! { $call }

        impl std::fmt::Debug for $call {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct($method)
                    $(.field(stringify!($req), $crate::record::shown!([$($req_mark)?] self.$req)))*
                    $($(.field(stringify!($opt), $crate::record::shown!([$($opt_mark)?] self.$opt)))*)?
                    .finish()
            }
        }
    };
}

/// Declares a constructor: a call whose one parameter is a struct of fields.
macro_rules! create {
    ($(#[$meta:meta])* $method:literal $call:ident -> $output:ty { $($body:tt)* }) => {
        $crate::record::fields! { $(#[$meta])* $method $call { $($body)* } }

        impl xenapi_wire::Call for $call {
            const METHOD: &'static str = $method;
            type Output = $output;
        }

        impl serde::Serialize for $call {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::call::serialize_create(self, serializer)
            }
        }

        impl $crate::call::Params for $call {
            const REQUIRED: usize = 1;

            fn read<'de, A: serde::de::SeqAccess<'de>>(
                from: &mut $crate::call::Sequence<A>,
            ) -> Result<Self, A::Error> {
                $crate::call::read_create(from)
            }
        }

        $crate::call::deserialize_params! { $call }
    };
}

macro_rules! deserialize_params {
    ($call:ident) => {
        impl<'de> serde::Deserialize<'de> for $call {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::call::deserialize(deserializer)
            }
        }
    };
}

macro_rules! flag {
    (no_session) => {
        const NEEDS_SESSION: bool = false;
    };
    (no_async) => {
        const HAS_ASYNC: bool = false;
    };
}

pub(crate) use {call, create, deserialize_params, flag};
