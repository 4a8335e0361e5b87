//! The datamodel in the form the database reads it: `xenapi_types::meta` with places for the fields.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use xenapi_types::meta::{self, ClassMeta, Default as MetaDefault, FieldMeta, Ty};
use xenapi_wire::{DateTime, Value};

/// A class.
#[derive(Debug)]
pub struct Class {
    /// What the datamodel says.
    pub meta: &'static ClassMeta,
    /// Whether changes of its objects are events.
    pub events: bool,
    /// Whether its objects outlive the server process; sessions and tasks do not.
    pub persistent: bool,
    places: HashMap<&'static str, usize>,
    defaults: Vec<Value>,
}

/// All classes.
#[derive(Debug)]
pub struct Schema {
    classes: BTreeMap<&'static str, Class>,
}

static XAPI: LazyLock<Schema> = LazyLock::new(|| Schema {
    classes: meta::CLASSES.iter().map(|meta| (meta.name, Class::new(meta))).collect(),
});

impl Schema {
    /// The datamodel of the server that is simulated.
    pub fn xapi() -> &'static Self {
        &XAPI
    }

    /// A class by its exact name.
    pub fn class(&self, name: &str) -> Option<&Class> {
        self.classes.get(name)
    }

    /// A class by its name in any case, as `event.from` takes it.
    pub fn class_ignoring_case(&self, name: &str) -> Option<&Class> {
        self.classes.values().find(|class| class.meta.name.eq_ignore_ascii_case(name))
    }

    /// All classes, sorted by name.
    pub fn classes(&self) -> impl Iterator<Item = &Class> {
        self.classes.values()
    }
}

impl Class {
    fn new(meta: &'static ClassMeta) -> Self {
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
