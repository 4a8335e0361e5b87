//! The table of facts about the API, `xtask/datamodel/*.json`, that the bindings are made from.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// When something came and went. A release is a code name or a version of XAPI.
#[derive(Debug, Deserialize)]
pub(crate) struct Life {
    #[serde(default)]
    pub(crate) since: Option<String>,
    #[serde(default)]
    pub(crate) prototyped: bool,
    pub(crate) deprecated: Option<String>,
    pub(crate) removed: Option<String>,
}

/// A class of the API, with the flags from which its implicit messages follow.
#[derive(Debug, Deserialize)]
pub(crate) struct Class {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) life: Life,
    /// It has objects: `get_record`, `get_by_uuid` and the getters exist.
    #[serde(default)]
    pub(crate) objects: bool,
    /// `get_all` and its relatives exist.
    #[serde(default)]
    pub(crate) get_all: bool,
    /// `get_by_name_label` exists.
    #[serde(default)]
    pub(crate) labelled: bool,
    /// Least role for `create` and `destroy`, where these exist.
    pub(crate) create: Option<String>,
    /// Least role for reading, where it is not `read-only`.
    pub(crate) read_role: Option<String>,
    #[serde(skip)]
    pub(crate) fields: Vec<Field>,
    #[serde(skip)]
    pub(crate) messages: Vec<Message>,
}

/// Who may set a field.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FieldMode {
    /// Anyone with the role, at any time.
    Rw,
    /// Only `create`.
    Constructor,
    /// Only the server.
    Runtime,
}

/// A field of a class.
#[derive(Debug, Deserialize)]
pub(crate) struct Field {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) ty: String,
    pub(crate) mode: FieldMode,
    /// The name in the database, where it differs.
    pub(crate) db: Option<String>,
    pub(crate) default: Option<Value>,
    pub(crate) set_role: Option<String>,
    #[serde(flatten)]
    pub(crate) life: Life,
    #[serde(default = "yes")]
    pub(crate) in_record: bool,
    #[serde(default)]
    pub(crate) secret: bool,
}

/// An explicit message.
#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    pub(crate) name: String,
    /// `None` when the method exists but its signature is not known.
    pub(crate) params: Option<Vec<Param>>,
    pub(crate) result: Option<String>,
    #[serde(default = "yes")]
    pub(crate) session: bool,
    #[serde(default = "yes", rename = "async")]
    pub(crate) has_async: bool,
    pub(crate) role: Option<String>,
    #[serde(default)]
    pub(crate) errors: Vec<String>,
    #[serde(flatten)]
    pub(crate) life: Life,
    /// Internal to the pool or to storage drivers: known to the server, of no use to clients.
    #[serde(default)]
    pub(crate) hidden: bool,
}

/// A parameter: name, type and, where the server has one, the default, with the release that brought
/// the parameter when that is not the message's own.
#[derive(Debug, Deserialize)]
#[serde(from = "Vec<Value>")]
pub(crate) struct Param {
    pub(crate) name: String,
    pub(crate) ty: String,
    pub(crate) default: Option<Value>,
    pub(crate) since: Option<String>,
}

impl From<Vec<Value>> for Param {
    fn from(list: Vec<Value>) -> Self {
        let text = |i: usize| list.get(i).and_then(Value::as_str).unwrap_or_default().to_owned();
        let since = list.get(3).and_then(Value::as_str).map(str::to_owned);
        Self { name: text(0), ty: text(1), default: list.get(2).cloned(), since }
    }
}

/// An enumeration, with the class in whose module it lives.
#[derive(Debug, Deserialize)]
pub(crate) struct Enum {
    pub(crate) class: String,
    pub(crate) values: Vec<String>,
    /// The releases of values that came after the enum did.
    #[serde(default)]
    pub(crate) since: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Release {
    pub(crate) name: String,
    pub(crate) product: String,
}

fn yes() -> bool {
    true
}

/// All facts.
pub(crate) struct Facts {
    pub(crate) classes: Vec<Class>,
    pub(crate) enums: BTreeMap<String, Enum>,
    /// Codes with the names of their parameters; `None` where these are not documented.
    pub(crate) errors: BTreeMap<String, Option<Vec<String>>>,
    pub(crate) releases: Vec<Release>,
}

impl Facts {
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let mut classes: Vec<Class> = read(dir, "classes.json")?;
        let mut fields: BTreeMap<String, Vec<Field>> = read(dir, "fields.json")?;
        let mut messages: BTreeMap<String, Vec<Message>> = read(dir, "messages.json")?;
        for class in &mut classes {
            class.fields = fields.remove(&class.name).unwrap_or_default();
            class.messages = messages.remove(&class.name).unwrap_or_default();
        }
        if let Some(class) = fields.keys().chain(messages.keys()).next() {
            bail!("classes.json has no class {class:?}, though it has fields or messages");
        }
        let facts = Self {
            classes,
            enums: read(dir, "enums.json")?,
            errors: read(dir, "errors.json")?,
            releases: read(dir, "releases.json")?,
        };
        facts.check_releases()?;
        Ok(facts)
    }

    /// Every release that is named is one.
    fn check_releases(&self) -> Result<()> {
        for class in &self.classes {
            let members = class.fields.iter().map(|f| (&f.name, &f.life));
            let members = members.chain(class.messages.iter().map(|m| (&m.name, &m.life)));
            for (name, life) in members.chain([(&class.name, &class.life)]) {
                for release in [&life.since, &life.deprecated, &life.removed].into_iter().flatten() {
                    self.order(release).with_context(|| format!("{}: {name}", class.name))?;
                }
            }
            for param in class.messages.iter().flat_map(|m| m.params.iter().flatten()) {
                param.since.iter().try_for_each(|release| self.order(release).map(drop))?;
            }
        }
        for (name, e) in &self.enums {
            for (value, release) in &e.since {
                self.order(release).with_context(|| format!("enum {name}: {value}"))?;
                if !e.values.contains(value) {
                    bail!("enum {name} has no value {value:?}, though it has a release");
                }
            }
        }
        Ok(())
    }

    /// The place of a release in time: code names by their order, then versions by their numbers.
    fn order(&self, release: &str) -> Result<(usize, Vec<u32>)> {
        if release.starts_with(|c: char| c.is_ascii_digit()) {
            let numbers: Result<Vec<u32>, _> = release.split('.').map(str::parse).collect();
            return Ok((usize::MAX, numbers.with_context(|| format!("release {release:?}"))?));
        }
        match self.releases.iter().position(|r| r.name == release) {
            Some(place) => Ok((place, Vec::new())),
            None => bail!("releases.json has no release {release:?}"),
        }
    }

    /// Whether `release` came after `baseline`.
    pub(crate) fn is_after(&self, release: &str, baseline: &str) -> Result<bool> {
        Ok(self.order(release)? > self.order(baseline)?)
    }

    /// A release as a person knows it.
    pub(crate) fn release_text(&self, release: &str) -> String {
        match self.releases.iter().find(|r| r.name == release) {
            Some(known) => format!("{} ({release})", known.product),
            None => format!("XAPI {release}"),
        }
    }
}

fn read<T: DeserializeOwned>(dir: &Path, name: &str) -> Result<T> {
    let path = dir.join(name);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}
