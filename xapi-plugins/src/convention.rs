//! How Nova's clients pass arguments and read results: plainly, or pickled.

use std::collections::BTreeMap;

use dom0_protocol::{Reply, Request};
use serde_json::{Map, Value};

use crate::pickle::{self, Pickle};
use crate::plugins::{Body, Error};

/// A function of a plugin.
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// How arguments arrive and results leave.
    pub convention: Convention,
    /// The names of what may be given by place, in order: Nova's clients name little of what they pickle.
    pub places: &'static [&'static str],
    pub(crate) body: Body,
}

/// The calling conventions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convention {
    /// The map of strings is the arguments; the result is a string.
    Plain,
    /// The map has one key `params`, a pickle of `{"args": …, "kwargs": …}`; the result is a pickle.
    Serialized,
    /// The map has one key `request`, JSON of `dom0-protocol`; so is the result, also of what fails.
    Protocol,
}

impl Function {
    pub(crate) const fn plain(name: &'static str, body: Body) -> Self {
        Self { name, convention: Convention::Plain, places: &[], body }
    }

    pub(crate) const fn serialized(name: &'static str, places: &'static [&'static str], body: Body) -> Self {
        Self { name, convention: Convention::Serialized, places, body }
    }

    pub(crate) const fn protocol(name: &'static str, body: Body) -> Self {
        Self { name, convention: Convention::Protocol, places: &[], body }
    }

    /// Reads the arguments as this function's convention has them.
    ///
    /// # Errors
    /// When a pickle is not plain data of the expected shape, and when JSON is no request.
    pub fn arguments(&self, map: &BTreeMap<String, String>) -> Result<Args, Error> {
        if self.convention == Convention::Protocol {
            let text = map.get(dom0_protocol::ARGUMENT).map_or("", String::as_str);
            let request = Request::<Map<String, Value>>::decode(text)?;
            let args = Args::from_json(request.params);
            return Ok(Args { job: request.job, ..args });
        }
        let Some(params) = map.get("params").filter(|_| self.convention == Convention::Serialized) else {
            return Ok(Args { texts: map.clone(), ..Args::default() });
        };
        let refused = |reason: String| Error::Argument { name: "params", reason };
        let Pickle::Dict(call) = pickle::loads(params).map_err(|e| refused(e.to_string()))? else {
            return Err(refused("a pickled dict is wanted".to_owned()));
        };
        let Some(Pickle::Dict(kwargs)) = call.get("kwargs") else {
            return Err(refused("\"kwargs\" is missing".to_owned()));
        };
        let mut kwargs = kwargs.clone();
        let by_place = match call.get("args") {
            Some(Pickle::List(values)) => values.as_slice(),
            _ => &[],
        };
        if by_place.len() > self.places.len() {
            let (most, given) = (self.places.len(), by_place.len());
            return Err(refused(format!("{} takes {most} arguments, not {given}", self.name)));
        }
        for (name, value) in self.places.iter().zip(by_place) {
            if kwargs.insert((*name).to_owned(), value.clone()).is_some() {
                return Err(refused(format!("{name} is given twice")));
            }
        }
        Args::from_dict(&kwargs).map_err(refused)
    }

    /// Writes a result as this function's convention has it.
    pub fn result(&self, value: &Pickle) -> String {
        match (self.convention, value) {
            (Convention::Serialized, value) => pickle::dumps(value),
            (Convention::Plain, Pickle::Str(text)) => text.clone(),
            (Convention::Plain, Pickle::None) => String::new(),
            (Convention::Plain, other) => pickle::dumps(other),
            (Convention::Protocol, value) => Reply::Answer(json_of(value)).encode(),
        }
    }

    /// Writes a failure as this function's convention has it: as a result, or for XAPI to pass on.
    ///
    /// # Errors
    /// `XENAPI_PLUGIN_FAILURE`, in the shape that Python's plugins give it.
    pub fn failure(&self, plugin: &str, error: &Error) -> Result<String, xenapi_wire::Failure> {
        match self.convention {
            Convention::Protocol => Ok(Reply::<()>::Failed(error.to_protocol()).encode()),
            Convention::Plain | Convention::Serialized => {
                Err(crate::plugin_failure(self.name, error.class_in(plugin), error))
            }
        }
    }
}

fn json_of(value: &Pickle) -> Value {
    match value {
        Pickle::None => Value::Null,
        Pickle::Bool(value) => Value::from(*value),
        Pickle::Int(number) => Value::from(*number),
        Pickle::Str(text) => Value::from(text.as_str()),
        Pickle::List(items) => items.iter().map(json_of).collect(),
        Pickle::Dict(map) => map.iter().map(|(key, value)| (key.clone(), json_of(value))).collect(),
    }
}

/// Arguments by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Args {
    texts: BTreeMap<String, String>,
    nested: BTreeMap<String, Args>,
    lists: BTreeMap<String, Vec<String>>,
    session: String,
    job: Option<String>,
}

impl Args {
    /// Texts, numbers and truth values as texts, dicts as arguments of their own, lists of texts; `None` is
    /// left out.
    fn from_dict(dict: &BTreeMap<String, Pickle>) -> Result<Self, String> {
        let mut args = Self::default();
        for (name, value) in dict {
            let text = match value {
                Pickle::Str(text) => text.clone(),
                Pickle::Int(number) => number.to_string(),
                Pickle::Bool(value) => if *value { "True" } else { "False" }.to_owned(),
                Pickle::None => continue,
                Pickle::Dict(inner) => {
                    args.nested.insert(name.clone(), Self::from_dict(inner)?);
                    continue;
                }
                Pickle::List(items) => {
                    let text = |item: &Pickle| match item {
                        Pickle::Str(text) => Ok(text.clone()),
                        _ => Err(format!("{name} is a list of something else than texts")),
                    };
                    args.lists.insert(name.clone(), items.iter().map(text).collect::<Result<_, _>>()?);
                    continue;
                }
            };
            args.texts.insert(name.clone(), text);
        }
        Ok(args)
    }

    /// Texts, numbers and truth values as texts, lists of texts; other things as texts of JSON; `null` is left out.
    fn from_json(map: Map<String, Value>) -> Self {
        let mut args = Self::default();
        for (name, value) in map {
            let texts = || value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect();
            if let Some(list) = texts() {
                args.lists.insert(name, list);
            } else {
                match value {
                    Value::Null => {}
                    Value::String(text) => drop(args.texts.insert(name, text)),
                    other => drop(args.texts.insert(name, other.to_string())),
                }
            }
        }
        args
    }

    /// The name under which to tell how far it is.
    pub(crate) fn job(&self) -> Option<&str> {
        self.job.as_deref()
    }

    /// An argument that has to be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn required(&self, name: &'static str) -> Result<&str, Error> {
        self.optional(name).ok_or_else(|| Error::Argument { name, reason: "it is required".to_owned() })
    }

    /// An argument that may be left out.
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// An argument that is a dict.
    ///
    /// # Errors
    /// When it is not there.
    pub fn dict(&self, name: &'static str) -> Result<&Self, Error> {
        self.nested.get(name).ok_or_else(|| Error::Argument { name, reason: "a dict is required".to_owned() })
    }

    /// An argument that is a list of texts.
    ///
    /// # Errors
    /// When it is not there.
    pub fn list(&self, name: &'static str) -> Result<&[String], Error> {
        let missing = || Error::Argument { name, reason: "a list is required".to_owned() };
        self.lists.get(name).map(Vec::as_slice).ok_or_else(missing)
    }

    /// The texts by name, without dicts and lists.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The session of whoever called, for calls back into XAPI.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// These arguments in a call of a session.
    pub(crate) fn in_session(self, session: String) -> Self {
        Self { session, ..self }
    }

    /// A number within limits, or `default` when it is left out.
    ///
    /// # Errors
    /// When it is something else.
    pub fn number(&self, name: &'static str, default: Option<u64>, limit: u64) -> Result<u64, Error> {
        match (self.optional(name), default) {
            (None, Some(default)) => Ok(default),
            (None, None) => self.required(name).map(|_| 0),
            (Some(text), _) => text.parse().ok().filter(|n| *n <= limit).ok_or_else(|| Error::Argument {
                name,
                reason: format!("{text:?} is not a number from 0 to {limit}"),
            }),
        }
    }

    /// Arguments that are texts.
    pub(crate) fn of(args: &[(&str, &str)]) -> Self {
        let texts = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { texts, ..Self::default() }
    }

    #[cfg(test)]
    pub(crate) fn with_list(mut self, name: &str, items: &[&str]) -> Self {
        self.lists.insert(name.to_owned(), items.iter().map(|item| (*item).to_owned()).collect());
        self
    }

    #[cfg(test)]
    pub(crate) fn with_dict(mut self, name: &str, inner: Self) -> Self {
        self.nested.insert(name.to_owned(), inner);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_conventions() {
        let plain = Function::plain("f", |_, _| Ok(Pickle::None));
        let serialized = Function::serialized("f", &["dev", "n"], |_, _| Ok(Pickle::None));
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
    fn by_place_as_nova_s_clients_give_them() {
        let serialized =
            Function::serialized("mkfs", &["dev", "partnum", "fs_label"], |_, _| Ok(Pickle::None));
        let pickled = "(dp0\nS'args'\np1\n(S'xvdb'\np2\nI1\nNtp3\nsS'kwargs'\np4\n(dp5\ns.";
        let map = BTreeMap::from([("params".to_owned(), pickled.to_owned())]);
        assert_eq!(serialized.arguments(&map), Ok(Args::of(&[("dev", "xvdb"), ("partnum", "1")])));
    }

    #[test]
    fn a_dict_within() {
        let serialized = Function::serialized("f", &["dev", "n"], |_, _| Ok(Pickle::None));
        let pickled = "(dp0\nVkwargs\np1\n(dp2\nVcmd\np3\nVa\np4\nsVargs\np5\n(dp6\nVb\np7\nVc\np8\nsss.";
        let map = BTreeMap::from([("params".to_owned(), pickled.to_owned())]);
        let args = serialized.arguments(&map).unwrap();
        assert_eq!(args.required("cmd"), Ok("a"));
        assert_eq!(args.dict("args").and_then(|inner| inner.required("b")), Ok("c"));
        assert!(args.dict("cmd").is_err());
    }

    #[test]
    fn a_list_within() {
        let serialized = Function::serialized("f", &["dev", "n"], |_, _| Ok(Pickle::None));
        let list = |item| {
            let pickled = format!("(dp0\nVkwargs\np1\n(dp2\nVuuids\np3\n(lp4\nVa\np5\na{item}ass.");
            serialized.arguments(&BTreeMap::from([("params".to_owned(), pickled)]))
        };
        assert_eq!(list("Vb\np6\n").unwrap().list("uuids"), Ok(&["a".to_owned(), "b".to_owned()][..]));
        assert!(list("Vb\np6\n").unwrap().list("others").is_err());
        assert!(list("I1\n").is_err());
    }

    #[test]
    fn malformed_pickles() {
        let serialized = Function::serialized("f", &["dev", "n"], |_, _| Ok(Pickle::None));
        for params in [
            "",
            "N.",
            "(dp0\n.",
            "cos\nsystem\n.",
            "(dp0\nVargs\np1\n(I1\nI2\nI3\ntsVkwargs\np2\n(dp3\ns.",
            "(dp0\nVargs\np1\n(I1\ntsVkwargs\np2\n(dp3\nVdev\np4\nI2\nss.",
        ] {
            let map = BTreeMap::from([("params".to_owned(), params.to_owned())]);
            assert!(serialized.arguments(&map).is_err(), "{params:?}");
        }
    }
}
