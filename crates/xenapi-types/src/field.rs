//! Names of fields that know their class, their type, and whether they can be set.

use std::fmt;
use std::marker::PhantomData;

/// A field of class `C` with values of type `T`; `M` is [`ReadWrite`] or [`ReadOnly`].
///
/// The constants of these are in each class's module: `vm::field::NAME_LABEL`.
pub struct Field<C, T, M = ReadOnly> {
    name: &'static str,
    class: PhantomData<fn() -> C>,
    value: PhantomData<fn() -> T>,
    mode: PhantomData<fn() -> M>,
}

/// Mode of a field for which `set_<field>` exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadWrite {}

/// Mode of a field that only has a getter. Some have an explicit call that sets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOnly {}

impl<C, T, M> Field<C, T, M> {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, class: PhantomData, value: PhantomData, mode: PhantomData }
    }

    /// The name on the wire.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<C, T, M> Clone for Field<C, T, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C, T, M> Copy for Field<C, T, M> {}

impl<C, T, M> fmt::Debug for Field<C, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Declares the constants of a class: `rw NAME "wire name" Type;`.
macro_rules! field_names {
    ($class:ident; $($mode:ident $constant:ident $name:literal $ty:ty;)*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub const $constant: $crate::field::Field<$class, $ty, $crate::field::mode!($mode)> =
                $crate::field::Field::new($name);
        )*
    };
}

macro_rules! mode {
    (rw) => {
        $crate::field::ReadWrite
    };
    (ro) => {
        $crate::field::ReadOnly
    };
}

pub(crate) use {field_names, mode};
