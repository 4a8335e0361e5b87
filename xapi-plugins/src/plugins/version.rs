//! `dom0_plugin_version`: which calls these plugins understand.

use crate::convention::Function;
use crate::pickle::Pickle;

/// Nova's clients want the same major version and at least this minor one.
const VERSION: &str = "2.1";

pub(super) const FUNCTIONS: &[Function] =
    &[Function::serialized("get_version", |_, _| Ok(Pickle::Str(VERSION.to_owned())))];
