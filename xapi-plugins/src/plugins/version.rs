//! `dom0_plugin_version`: which calls these plugins understand.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Outcome, PLUGINS};
use crate::convention::{Args, Function};
use crate::dom0::Dom0;
use crate::pickle::Pickle;

/// Nova's clients want the same major version and at least this minor one.
const VERSION: &str = "2.1";

pub(super) const FUNCTIONS: &[Function] = &[
    Function::serialized("get_version", &[], |_, _| Ok(Pickle::Str(VERSION.to_owned()))),
    Function::plain("get_functions", get_functions),
];

/// `get_functions()`: JSON with this binary's version, and its plugins with their functions. Other plugins
/// of this name do not have it.
fn get_functions(_: &dyn Dom0, _: &Args) -> Outcome {
    let names = |functions: &[Function]| functions.iter().map(|f| f.name).collect::<Vec<_>>();
    let plugins: BTreeMap<_, _> = PLUGINS.iter().map(|(name, functions)| (*name, names(functions))).collect();
    let answer = json!({"xapi-plugins": env!("CARGO_PKG_VERSION"), "plugins": plugins});
    Ok(Pickle::Str(answer.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    #[test]
    fn what_there_is() {
        let Ok(Pickle::Str(text)) = get_functions(&Fake::default(), &Args::default()) else {
            panic!("no text")
        };
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        let functions = answer["plugins"]["partition_utils"].as_array().unwrap();
        assert!(functions.iter().any(|name| name == "auto_configure_disk"), "{answer}");
        assert!(answer["xapi-plugins"].is_string());
    }
}
