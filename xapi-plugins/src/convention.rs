//! How Nova's clients pass arguments and read results: plainly, or pickled.

use std::collections::BTreeMap;

use crate::pickle::{self, Pickle};
use crate::plugins::{Body, Error};

/// A function of a plugin.
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// How arguments arrive and results leave.
    pub convention: Convention,
    pub(crate) body: Body,
}

/// The two calling conventions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convention {
    /// The map of strings is the arguments; the result is a string.
    Plain,
    /// The map has one key `params`, a pickle of `{"args": …, "kwargs": …}`; the result is a pickle.
    Serialized,
}

impl Function {
    pub(crate) const fn plain(name: &'static str, body: Body) -> Self {
        Self { name, convention: Convention::Plain, body }
    }

    pub(crate) const fn serialized(name: &'static str, body: Body) -> Self {
        Self { name, convention: Convention::Serialized, body }
    }

    /// Reads the arguments as this function's convention has them.
    ///
    /// # Errors
    /// When a pickle is not plain data of the expected shape.
    pub fn arguments(&self, map: &BTreeMap<String, String>) -> Result<Args, Error> {
        let Some(params) = map.get("params").filter(|_| self.convention == Convention::Serialized) else {
            return Ok(Args(map.clone()));
        };
        let refused = |reason: String| Error::Argument { name: "params", reason };
        let Pickle::Dict(call) = pickle::loads(params).map_err(|e| refused(e.to_string()))? else {
            return Err(refused("a pickled dict is wanted".to_owned()));
        };
        if matches!(call.get("args"), Some(Pickle::List(args)) if !args.is_empty()) {
            return Err(refused("arguments are passed by name".to_owned()));
        }
        let Some(Pickle::Dict(kwargs)) = call.get("kwargs") else {
            return Err(refused("\"kwargs\" is missing".to_owned()));
        };
        let text = |value: &Pickle| match value {
            Pickle::Str(text) => Some(text.clone()),
            Pickle::Int(number) => Some(number.to_string()),
            Pickle::Bool(value) => Some(if *value { "True" } else { "False" }.to_owned()),
            _ => None,
        };
        let args = kwargs.iter().filter(|(_, value)| **value != Pickle::None);
        args.map(|(name, value)| {
            let value = text(value).ok_or_else(|| refused(format!("{name} is neither text nor a number")))?;
            Ok((name.clone(), value))
        })
        .collect::<Result<_, _>>()
        .map(Args)
    }

    /// Writes a result as this function's convention has it.
    pub fn result(&self, value: &Pickle) -> String {
        match (self.convention, value) {
            (Convention::Serialized, value) => pickle::dumps(value),
            (Convention::Plain, Pickle::Str(text)) => text.clone(),
            (Convention::Plain, Pickle::None) => String::new(),
            (Convention::Plain, other) => pickle::dumps(other),
        }
    }
}

/// Arguments by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args(BTreeMap<String, String>);

impl Args {
    /// An argument that has to be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn required(&self, name: &'static str) -> Result<&str, Error> {
        self.optional(name).ok_or_else(|| Error::Argument { name, reason: "it is required".to_owned() })
    }

    /// An argument that may be left out.
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    #[cfg(test)]
    pub(crate) fn of(args: &[(&str, &str)]) -> Self {
        Self(args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_conventions() {
        let plain = Function::plain("f", |_, _| Ok(Pickle::None));
        let serialized = Function::serialized("f", |_, _| Ok(Pickle::None));
        let map = BTreeMap::from([("dev".to_owned(), "xvdb".to_owned())]);
        assert_eq!(plain.arguments(&map), Ok(Args::of(&[("dev", "xvdb")])));
        let pickled =
            "(dp0\nVargs\np1\n(tsVkwargs\np2\n(dp3\nVdev\np4\nVxvdb\np5\nsVn\np6\nI7\nsVnone\np7\nNss.";
        let map = BTreeMap::from([("params".to_owned(), pickled.to_owned())]);
        assert_eq!(serialized.arguments(&map), Ok(Args::of(&[("dev", "xvdb"), ("n", "7")])));
        assert_eq!(
            (plain.result(&Pickle::None), serialized.result(&Pickle::None)),
            (String::new(), "N.".to_owned())
        );
    }

    #[test]
    fn malformed_pickles() {
        let serialized = Function::serialized("f", |_, _| Ok(Pickle::None));
        for params in ["", "N.", "(dp0\n.", "cos\nsystem\n.", "(dp0\nVargs\np1\n(I1\ntsVkwargs\np2\n(dp3\ns."]
        {
            let map = BTreeMap::from([("params".to_owned(), params.to_owned())]);
            assert!(serialized.arguments(&map).is_err(), "{params:?}");
        }
    }
}
