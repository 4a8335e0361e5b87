//! The datamodel in the form the database reads it: `xenapi_types::meta` with places for the fields.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::OnceLock;

use xenapi_types::meta::{
    self, ClassMeta, Default as MetaDefault, FieldMeta, Life, MessageKind, MessageMeta, ParamMeta, Release,
    Ty,
};
use xenapi_wire::{DateTime, Value};

use crate::personality::Personality;

/// A class.
#[derive(Debug)]
pub struct Class {
    /// What the datamodel says.
    pub meta: &'static ClassMeta,
    /// Whether changes of its objects are events.
    pub events: bool,
    /// Whether its objects outlive the server process; sessions and tasks do not.
    pub persistent: bool,
    /// Whether the release has it.
    pub exists: bool,
    places: HashMap<&'static str, usize>,
    defaults: Vec<Value>,
    /// What the release shows of the fields.
    shown: Vec<Shown>,
}

/// What a release shows of a field.
#[derive(Debug)]
struct Shown {
    exists: bool,
    /// The values of its enum that came later.
    unknown: Vec<&'static str>,
}

/// All classes. The database holds every one and all their fields, whatever the release; clients are shown what
/// the release has.
#[derive(Debug)]
pub struct Schema {
    /// Which release is played.
    pub personality: Personality,
    release: Option<Release>,
    classes: BTreeMap<&'static str, Class>,
    /// The methods that came later.
    absent: HashSet<&'static str>,
}

impl Schema {
    /// The datamodel of the newest server.
    pub fn xapi() -> &'static Self {
        Self::of(Personality::Xapi26)
    }

    /// The datamodel of a release.
    pub fn of(personality: Personality) -> &'static Self {
        static ALL: [OnceLock<Schema>; Personality::ALL.len()] =
            [const { OnceLock::new() }; Personality::ALL.len()];
        ALL[personality as usize].get_or_init(|| Self::new(personality))
    }

    fn new(personality: Personality) -> Self {
        let release = personality.release();
        let classes = meta::CLASSES.iter().map(|meta| (meta.name, Class::new(meta, release.as_ref())));
        let absent = meta::messages().iter().filter(|message| {
            let exists = has(release.as_ref(), &message.class.life) && has(release.as_ref(), &message.life);
            // Only the newest server was seen to have it.
            !exists || release.is_some() && matches!(message.kind, MessageKind::GetAllWhere)
        });
        let absent = absent.map(|message| message.method.as_str()).collect();
        Self { personality, classes: classes.collect(), absent, release }
    }

    /// A message by its method, if the release has it.
    pub fn message(&self, method: &str) -> Option<&'static MessageMeta> {
        meta::message(method).filter(|message| !self.absent.contains(message.method.as_str()))
    }

    /// All messages that the release has.
    pub fn messages(&self) -> impl Iterator<Item = &'static MessageMeta> {
        meta::messages().iter().filter(|message| !self.absent.contains(message.method.as_str()))
    }

    /// Whether calls of a message answer `MESSAGE_REMOVED`.
    pub fn is_removed(&self, message: &MessageMeta) -> bool {
        message.life.removed.is_some_and(|removed| self.has(removed))
    }

    /// Whether the release takes a parameter.
    pub fn has_param(&self, param: &ParamMeta) -> bool {
        param.since.is_none_or(|since| self.has(since))
    }

    /// The values of an enum that the release knows.
    pub fn enum_values(&self, name: &str) -> impl Iterator<Item = &'static str> {
        let found = meta::ENUMS.iter().find(|e| e.name == name).into_iter();
        found.flat_map(|e| e.values.iter().copied().filter(|value| is_known(self.release.as_ref(), e, value)))
    }

    fn has(&self, since: &str) -> bool {
        self.release.as_ref().is_none_or(|release| release.has(since))
    }

    /// A class by its exact name.
    pub fn class(&self, name: &str) -> Option<&Class> {
        self.classes.get(name)
    }

    /// A class by its name in any case, as `event.from` takes it.
    pub fn class_ignoring_case(&self, name: &str) -> Option<&Class> {
        self.classes.values().find(|class| class.exists && class.meta.name.eq_ignore_ascii_case(name))
    }

    /// All classes, sorted by name.
    pub fn classes(&self) -> impl Iterator<Item = &Class> {
        self.classes.values()
    }
}

fn has(release: Option<&Release>, life: &Life) -> bool {
    release.is_none_or(|release| release.has(life.since))
}

fn is_known(release: Option<&Release>, e: &meta::EnumMeta, value: &str) -> bool {
    let since = e.since.iter().find(|(name, _)| *name == value);
    since.is_none_or(|(_, since)| release.is_none_or(|release| release.has(since)))
}

/// The values that an enum got after a release.
fn unknown(release: Option<&Release>, ty: &Ty) -> Vec<&'static str> {
    match ty {
        Ty::Set(inner) | Ty::Map(_, inner) => unknown(release, inner),
        Ty::Enum(name) => {
            let found = meta::ENUMS.iter().filter(|e| e.name == *name);
            found.flat_map(|e| e.values.iter().filter(|v| !is_known(release, e, v)).copied()).collect()
        }
        _ => Vec::new(),
    }
}

impl Class {
    fn new(meta: &'static ClassMeta, release: Option<&Release>) -> Self {
        let silent = [
            "session",
            "user",
            "secret",
            "data_source",
            "sr_stat",
            "probe_result",
            "vdi_nbd_server_info",
            "auth",
            "Diagnostics",
            "message",
            "role",
            "event",
        ];
        Self {
            meta,
            events: !silent.contains(&meta.name),
            persistent: !matches!(meta.name, "session" | "task"),
            exists: has(release, &meta.life),
            shown: meta
                .fields
                .iter()
                .map(|field| Shown {
                    exists: has(release, &field.life),
                    unknown: unknown(release, &field.ty),
                })
                .collect(),
            places: meta.fields.iter().enumerate().map(|(i, field)| (field.name, i)).collect(),
            defaults: meta.fields.iter().map(|field| initial(meta.name, field)).collect(),
        }
    }

    /// As XAPI spells it: `VM`, `host`.
    pub fn name(&self) -> &'static str {
        self.meta.name
    }

    /// The fields in the order of the datamodel, which is the order of [`Class::defaults`].
    pub fn fields(&self) -> &'static [FieldMeta] {
        self.meta.fields
    }

    /// The place of a field.
    pub fn index(&self, field: &str) -> Option<usize> {
        self.places.get(field).copied()
    }

    /// Whether the release has the field in this place.
    pub(crate) fn shows(&self, place: usize) -> bool {
        self.shown[place].exists
    }

    /// Whether the release has the field of this name.
    pub fn has_field(&self, name: &str) -> bool {
        self.index(name).is_some_and(|place| self.shows(place))
    }

    /// A field's value as the release sends it, by the field's place: without operations that came later.
    pub(crate) fn shown(&self, place: usize, value: &Value) -> Value {
        let unknown = &self.shown[place].unknown;
        let is_known =
            |value: &Value| !matches!(value, Value::String(text) if unknown.contains(&text.as_str()));
        match value {
            Value::Array(items) if !unknown.is_empty() => {
                Value::Array(items.iter().filter(|item| is_known(item)).cloned().collect())
            }
            Value::Struct(map) if !unknown.is_empty() => Value::Struct(
                map.iter().filter(|(_, v)| is_known(v)).map(|(k, v)| (k.clone(), v.clone())).collect(),
            ),
            value => value.clone(),
        }
    }

    /// The values of the fields when nobody gives them.
    pub fn defaults(&self) -> &[Value] {
        &self.defaults
    }
}

/// What a field holds when nobody gives it.
///
/// The datamodel declares `false` for `VM.has_vendor_device`, but the server takes the contrary of
/// `pool.policy_no_vendor_device`, which is `false` unless somebody changed it.
pub(crate) fn initial(class: &str, field: &FieldMeta) -> Value {
    match (class, field.name) {
        ("VM", "has_vendor_device") => Value::Bool(true),
        _ => default(field.default.as_ref(), &field.ty),
    }
}

/// A declared default, or the zero of the type.
pub(crate) fn default(default: Option<&MetaDefault>, ty: &Ty) -> Value {
    match (default, ty) {
        (None | Some(MetaDefault::Void), _) => zero(ty),
        (Some(MetaDefault::Text(text)), Ty::DateTime) => {
            Value::DateTime(text.parse().unwrap_or_else(|_| DateTime::epoch()))
        }
        (Some(MetaDefault::Text(text)), _) => Value::from(*text),
        (Some(MetaDefault::Bool(b)), _) => Value::Bool(*b),
        (Some(MetaDefault::Int(n)), Ty::Float) => Value::Double(*n as f64),
        (Some(MetaDefault::Int(n)), _) => Value::Int(*n),
        (Some(MetaDefault::Float(x)), _) => Value::Double(*x),
        (Some(MetaDefault::Set(items)), Ty::Set(item)) => {
            Value::Array(items.iter().map(|i| self::default(Some(i), item)).collect())
        }
        (Some(MetaDefault::Set(items)), _) => {
            Value::Array(items.iter().map(|i| self::default(Some(i), &Ty::String)).collect())
        }
        (Some(MetaDefault::Map(pairs)), _) => {
            Value::Struct(pairs.iter().map(|(k, v)| ((*k).to_owned(), Value::from(*v))).collect())
        }
    }
}

/// The value of a type that nothing has been put into.
fn zero(ty: &Ty) -> Value {
    match ty {
        Ty::String | Ty::Void => Value::from(""),
        Ty::Int => Value::Int(0),
        Ty::Float => Value::Double(0.0),
        Ty::Bool => Value::Bool(false),
        Ty::DateTime => Value::DateTime(DateTime::epoch()),
        Ty::Enum(name) => {
            let first = meta::enum_values(name).and_then(|values| values.first());
            Value::from(first.copied().unwrap_or_default())
        }
        Ty::Ref(_) => Value::from(crate::db::NULL),
        Ty::Set(_) => Value::Array(Vec::new()),
        Ty::Map(..) | Ty::Record(_) | Ty::EventBatch => Value::Struct(BTreeMap::new()),
        Ty::Option(_) | Ty::Any => Value::Nil,
    }
}
