//! The classes, fields and messages the simulator knows: the datamodel in the form the dispatcher
//! and the database read it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use xenapi_wire::{DateTime, Value};

/// A type of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Text.
    String,
    /// A 64-bit integer.
    Int,
    /// A floating-point number.
    Float,
    /// A boolean.
    Bool,
    /// A date.
    DateTime,
    /// No result.
    Void,
    /// One of the values of the named enum.
    Enum(Arc<str>),
    /// A reference to an object of the named class.
    Ref(Arc<str>),
    /// A record of the named class.
    Record(Arc<str>),
    /// An ordered set.
    Set(Box<Type>),
    /// A map.
    Map(Box<Type>, Box<Type>),
    /// A value that may be absent.
    Option(Box<Type>),
    /// What `event.from` returns.
    EventBatch,
}

impl Type {
    /// The value a field of this type has when nobody gave one.
    pub fn zero(&self) -> Value {
        match self {
            Self::String | Self::Void => Value::String(String::new()),
            Self::Int => Value::Int(0),
            Self::Float => Value::Double(0.0),
            Self::Bool => Value::Bool(false),
            Self::DateTime => Value::DateTime(DateTime::epoch()),
            Self::Enum(_) => Value::String(String::new()),
            Self::Ref(_) => Value::String("OpaqueRef:NULL".into()),
            Self::Set(_) => Value::Array(Vec::new()),
            Self::Map(..) | Self::Record(_) | Self::EventBatch => Value::Struct(BTreeMap::new()),
            Self::Option(_) => Value::Nil,
        }
    }
}

/// Who may set a field, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qualifier {
    /// Any time.
    ReadWrite,
    /// Only in the constructor.
    Constructor,
    /// Only the server.
    Runtime,
}

/// A field of a class.
#[derive(Debug, Clone)]
pub struct Field {
    /// `name_label`.
    pub name: Arc<str>,
    /// The name in the server's database, which queries and some errors use: `name__label`.
    pub db_name: Arc<str>,
    /// The field's type.
    pub ty: Type,
    /// The value when the constructor does not give one; `None` for required members.
    pub default: Option<Value>,
    /// Who may set it.
    pub qualifier: Qualifier,
    /// Whether records on the wire hold it; removed fields and internal ones are not sent.
    pub on_wire: bool,
}

/// A class.
#[derive(Debug, Clone)]
pub struct Class {
    /// As XAPI spells it: `VM`, `host`.
    pub name: Arc<str>,
    /// In the datamodel's order.
    pub fields: Vec<Field>,
    /// Whether changes of its objects are events.
    pub events: bool,
    /// Whether its objects outlive the server process; sessions and tasks do not.
    pub persistent: bool,
    by_name: HashMap<Arc<str>, usize>,
}

impl Class {
    /// A class from its fields.
    pub fn new(name: &str, fields: Vec<Field>) -> Self {
        let by_name = fields.iter().enumerate().map(|(i, f)| (f.name.clone(), i)).collect();
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
            "event",
        ];
        Self {
            name: name.into(),
            fields,
            events: !silent.contains(&name),
            persistent: !matches!(name, "session" | "task"),
            by_name,
        }
    }

    /// The position of a field, by its API name.
    pub fn index(&self, field: &str) -> Option<usize> {
        self.by_name.get(field).copied()
    }

    /// A field by its API name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.index(name).map(|i| &self.fields[i])
    }
}

/// A parameter of a message, the session not counted.
#[derive(Debug, Clone)]
pub struct Param {
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub ty: Type,
    /// What the server assumes when it is left out.
    pub default: Option<Value>,
}

/// What a generic implementation exists for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `get_all`.
    GetAll,
    /// `get_all_records`.
    GetAllRecords,
    /// `get_all_where`.
    GetAllWhere,
    /// `get_all_records_where`.
    GetAllRecordsWhere,
    /// `get_record`.
    GetRecord,
    /// `get_by_uuid`.
    GetByUuid,
    /// `get_by_name_label`.
    GetByNameLabel,
    /// A constructor.
    Create,
    /// A destructor.
    Destroy,
    /// A getter of the field at this position.
    Get(usize),
    /// A setter.
    Set(usize),
    /// `add_to_<map>` or `add_<set>`.
    Add(usize),
    /// `remove_from_<map>` or `remove_<set>`.
    Remove(usize),
    /// Needs an implementation of its own.
    Explicit,
}

/// A message.
#[derive(Debug, Clone)]
pub struct Message {
    /// `VM.start`.
    pub method: Arc<str>,
    /// `VM`.
    pub class: Arc<str>,
    /// `start`.
    pub name: Arc<str>,
    /// The parameters after the session.
    pub params: Vec<Param>,
    /// What it returns.
    pub result: Type,
    /// Whether the first parameter is a session.
    pub needs_session: bool,
    /// Whether `Async.<method>` exists.
    pub has_async: bool,
    /// Whether there is no implementation any more: calls end with `MESSAGE_REMOVED`.
    pub removed: bool,
    /// The generic implementation that fits.
    pub kind: Kind,
}

/// All classes and messages.
#[derive(Debug, Default)]
pub struct Schema {
    classes: BTreeMap<Arc<str>, Arc<Class>>,
    messages: HashMap<Arc<str>, Arc<Message>>,
    order: Vec<Arc<str>>,
    enums: HashMap<Arc<str>, Vec<Arc<str>>>,
}

impl Schema {
    /// An empty schema.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an enum with its values in the spelling of the API.
    pub fn add_enum(&mut self, name: &str, values: impl IntoIterator<Item = Arc<str>>) {
        self.enums.insert(name.into(), values.into_iter().collect());
    }

    /// Adds a class.
    pub fn add_class(&mut self, class: Class) {
        self.classes.insert(class.name.clone(), Arc::new(class));
    }

    /// Adds a message.
    pub fn add_message(&mut self, message: Message) {
        if self.messages.insert(message.method.clone(), Arc::new(message.clone())).is_none() {
            self.order.push(message.method);
        }
    }

    /// A class by its exact name.
    pub fn class(&self, name: &str) -> Option<&Arc<Class>> {
        self.classes.get(name)
    }

    /// A class by its name in any case, as `event.from` takes it.
    pub fn class_ignoring_case(&self, name: &str) -> Option<&Arc<Class>> {
        self.classes.values().find(|class| class.name.eq_ignore_ascii_case(name))
    }

    /// All classes, sorted by name.
    pub fn classes(&self) -> impl Iterator<Item = &Arc<Class>> {
        self.classes.values()
    }

    /// A message by `Class.name`.
    pub fn message(&self, method: &str) -> Option<&Arc<Message>> {
        self.messages.get(method)
    }

    /// All messages in the order in which they were added.
    pub fn messages(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.order.iter().map(|name| &self.messages[name])
    }

    /// The API's spelling of an enum value given in any case.
    pub fn enum_value(&self, name: &str, text: &str) -> Option<&Arc<str>> {
        self.enums.get(name)?.iter().find(|value| value.eq_ignore_ascii_case(text))
    }
}

impl Schema {
    /// The datamodel of the server that is simulated.
    pub fn xapi() -> Self {
        Self::new()
    }
}
