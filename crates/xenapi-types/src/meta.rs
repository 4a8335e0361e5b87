//! The datamodel as tables, for servers.
//!
//! [`CLASSES`] holds what the facts say; [`messages`] adds to the explicit messages the implicit ones
//! that follow from them (`get_record`, `set_name_label` …), so that a server can dispatch, check
//! types and fill in defaults from one table. [`message`] and [`class`] look up by name.

use std::collections::HashMap;
use std::sync::LazyLock;

pub use crate::generated::meta::{CLASSES, ENUMS, RELEASES};

/// A type of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ty {
    /// Text.
    String,
    /// A 64-bit integer.
    Int,
    /// A double.
    Float,
    /// A boolean.
    Bool,
    /// A date.
    DateTime,
    /// No result.
    Void,
    /// Not known, or depends on another value.
    Any,
    /// The result of `event.from`.
    EventBatch,
    /// One of the values of the enum of this name; see [`enum_values`].
    Enum(&'static str),
    /// A reference to an object of the class.
    Ref(&'static str),
    /// A record of the class.
    Record(&'static str),
    /// A set: ordered, with duplicates, in truth.
    Set(&'static Ty),
    /// A map.
    Map(&'static Ty, &'static Ty),
    /// A value or none. As a field: left out when there is none.
    Option(&'static Ty),
}

/// Roles, from the mightiest to the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// `pool-admin`
    PoolAdmin,
    /// `pool-operator`
    PoolOperator,
    /// `vm-power-admin`
    VmPowerAdmin,
    /// `vm-admin`
    VmAdmin,
    /// `vm-operator`
    VmOperator,
    /// `client-cert`
    ClientCert,
    /// `read-only`
    ReadOnly,
}

impl Role {
    /// The spelling on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PoolAdmin => "pool-admin",
            Self::PoolOperator => "pool-operator",
            Self::VmPowerAdmin => "vm-power-admin",
            Self::VmAdmin => "vm-admin",
            Self::VmOperator => "vm-operator",
            Self::ClientCert => "client-cert",
            Self::ReadOnly => "read-only",
        }
    }
}

/// A default value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Default {
    /// Nothing.
    Void,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A double.
    Float(f64),
    /// Text, a reference, an enum's value or a date: see the type.
    Text(&'static str),
    /// A set.
    Set(&'static [Default]),
    /// A map of texts.
    Map(&'static [(&'static str, &'static str)]),
}

/// When something came and went: code names (`orlando`) or versions of XAPI (`24.19.1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Life {
    /// The first release; empty when it is not known.
    pub since: &'static str,
    /// It may still change.
    pub prototyped: bool,
    /// The release from which on its use is discouraged.
    pub deprecated: Option<&'static str>,
    /// The release from which on calls answer `MESSAGE_REMOVED`; fields are still sent.
    pub removed: Option<&'static str>,
}

impl Life {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { since: "", prototyped: false, deprecated: None, removed: None };
}

/// Who may set a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// `create` and the setters.
    Rw,
    /// `create`.
    Constructor,
    /// The server alone.
    Runtime,
}

/// A class.
#[derive(Debug)]
#[non_exhaustive]
pub struct ClassMeta {
    /// The name: `VDI`.
    pub name: &'static str,
    /// When it came and went.
    pub life: Life,
    /// There are objects of it; otherwise it is a record inside results, or a bag of calls.
    pub objects: bool,
    /// `get_all` and its relatives exist.
    pub get_all: bool,
    /// `get_by_name_label` exists.
    pub labelled: bool,
    /// The least role for `create` and `destroy`, where these are implicit.
    pub create: Option<Role>,
    /// The least role for the implicit messages that read.
    pub read_role: Role,
    /// `VDI ref`
    pub ty: Ty,
    /// `VDI ref set`
    pub set_ty: Ty,
    /// `(VDI ref -> VDI record) map`
    pub records_ty: Ty,
    /// The fields in the order of the server.
    pub fields: &'static [FieldMeta],
    /// The explicit messages.
    pub explicit: &'static [ExplicitMeta],
}

/// A field.
#[derive(Debug)]
#[non_exhaustive]
pub struct FieldMeta {
    /// The name on the wire: `memory_static_max`.
    pub name: &'static str,
    /// The name in the database, in queries and in some errors: `memory__static_max`.
    pub db_name: &'static str,
    /// The type of its values.
    pub ty: Ty,
    /// Who may set it.
    pub mode: Mode,
    /// The value when `create` does not give one; without it, `create` must.
    pub default: Option<Default>,
    /// The least role for the setters, where there are any.
    pub set_role: Option<Role>,
    /// Whether records hold it; internal fields only have a getter.
    pub in_record: bool,
    /// When it came and went.
    pub life: Life,
}

/// An explicit message.
#[derive(Debug)]
#[non_exhaustive]
pub struct ExplicitMeta {
    /// The name without the class.
    pub name: &'static str,
    /// The parameters without the session; `None` when they are not known.
    pub params: Option<&'static [ParamMeta]>,
    /// The type of the result.
    pub result: Ty,
    /// Whether `Async.` may go before it.
    pub has_async: bool,
    /// Whether a session goes before the parameters.
    pub needs_session: bool,
    /// The least role; `None`: any session will do.
    pub role: Option<Role>,
    /// The documented errors, a part of those there are.
    pub errors: &'static [&'static str],
    /// Internal to pools and storage drivers.
    pub hidden: bool,
    /// When it came and went.
    pub life: Life,
}

/// A parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ParamMeta {
    /// The name.
    pub name: &'static str,
    /// The type.
    pub ty: Ty,
    /// The value when it is left out; without it, it must be given.
    pub default: Option<Default>,
    /// The release that brought it, when that is not the message's own.
    pub since: Option<&'static str>,
}

/// An enum.
#[derive(Debug)]
#[non_exhaustive]
pub struct EnumMeta {
    /// The name: `vm_power_state`.
    pub name: &'static str,
    /// The values in their spelling on the wire.
    pub values: &'static [&'static str],
    /// The values that came after the enum did, with their releases.
    pub since: &'static [(&'static str, &'static str)],
}

/// A release with a code name.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReleaseMeta {
    /// The code name: `stockholm`.
    pub name: &'static str,
    /// The product: `Citrix Hypervisor 8.2`.
    pub product: &'static str,
}

/// A release of the API, by its place in time: code names come in their order ([`RELEASES`]), then versions of XAPI by
/// their numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(usize, Vec<u32>);

impl Release {
    /// Reads a code name (`stockholm`) or a version of XAPI (`24.19.2`); nothing when it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let numbers = text.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
            return Some(Self(RELEASES.len(), numbers));
        }
        let place = RELEASES.iter().position(|release| release.name == text)?;
        Some(Self(place, Vec::new()))
    }

    /// Whether it is `since` or came after it. What is not known to have come later counts as always there.
    pub fn has(&self, since: &str) -> bool {
        Self::parse(since).is_none_or(|since| since <= *self)
    }
}

/// What a message does, as far as that follows from the datamodel.
#[derive(Debug, Clone, Copy)]
pub enum MessageKind {
    /// Something of its own.
    Explicit(&'static ExplicitMeta),
    /// `get_record`
    GetRecord,
    /// `get_by_uuid`
    GetByUuid,
    /// `get_by_name_label`
    GetByNameLabel,
    /// `get_all`
    GetAll,
    /// `get_all_records`
    GetAllRecords,
    /// `get_all_where`
    GetAllWhere,
    /// `get_all_records_where`
    GetAllRecordsWhere,
    /// The implicit `create`.
    Create,
    /// The implicit `destroy`.
    Destroy,
    /// `get_<field>`
    Get(&'static FieldMeta),
    /// `set_<field>`
    Set(&'static FieldMeta),
    /// `add_to_<field>`, of a map.
    AddTo(&'static FieldMeta),
    /// `remove_from_<field>`, of a map.
    RemoveFrom(&'static FieldMeta),
    /// `add_<field>`, of a set.
    Add(&'static FieldMeta),
    /// `remove_<field>`, of a set.
    Remove(&'static FieldMeta),
}

/// A message, explicit or implicit.
#[derive(Debug)]
#[non_exhaustive]
pub struct MessageMeta {
    /// The method: `VDI.get_name_label`.
    pub method: String,
    /// The class it belongs to.
    pub class: &'static ClassMeta,
    /// What it does.
    pub kind: MessageKind,
    /// The parameters without the session; `None` when the server has the method but its signature
    /// is not known.
    pub params: Option<Vec<ParamMeta>>,
    /// The type of the result.
    pub result: Ty,
    /// Whether `Async.` may go before it.
    pub has_async: bool,
    /// Whether a session goes before the parameters.
    pub needs_session: bool,
    /// The least role; `None`: any session will do.
    pub role: Option<Role>,
    /// When it came and went.
    pub life: Life,
}

impl MessageMeta {
    /// How many parameters must be given, the session not counted.
    pub fn required_params(&self) -> Option<usize> {
        Some(self.params.as_ref()?.iter().filter(|p| p.default.is_none()).count())
    }
}

impl ClassMeta {
    /// A field by its name on the wire.
    pub fn field(&self, name: &str) -> Option<&'static FieldMeta> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// A field by its name in the database.
    pub fn field_by_db_name(&self, name: &str) -> Option<&'static FieldMeta> {
        self.fields.iter().find(|f| f.db_name == name)
    }

    /// The fields that records hold.
    pub fn record_fields(&self) -> impl Iterator<Item = &'static FieldMeta> {
        self.fields.iter().filter(|f| f.in_record)
    }

    /// The fields that the implicit `create` takes.
    pub fn create_fields(&self) -> impl Iterator<Item = &'static FieldMeta> {
        self.record_fields().filter(|f| f.mode != Mode::Runtime)
    }
}

/// A class by its name, in XAPI's spelling.
pub fn class(name: &str) -> Option<&'static ClassMeta> {
    CLASSES.iter().find(|c| c.name == name)
}

/// A class by its name in any case, as `event.from` takes and sends it.
pub fn class_ignoring_case(name: &str) -> Option<&'static ClassMeta> {
    CLASSES.iter().find(|c| c.name.eq_ignore_ascii_case(name))
}

/// The values of an enum.
pub fn enum_values(name: &str) -> Option<&'static [&'static str]> {
    ENUMS.iter().find(|e| e.name == name).map(|e| e.values)
}

/// All messages, explicit and implicit, by class.
pub fn messages() -> &'static [MessageMeta] {
    &TABLE.messages
}

/// A message by its method, without `Async.`.
pub fn message(method: &str) -> Option<&'static MessageMeta> {
    TABLE.by_method.get(method).map(|&index| &TABLE.messages[index])
}

struct Table {
    messages: Vec<MessageMeta>,
    by_method: HashMap<String, usize>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let messages: Vec<MessageMeta> = CLASSES.iter().flat_map(class_messages).collect();
    let by_method = messages.iter().enumerate().map(|(i, m)| (m.method.clone(), i)).collect();
    Table { messages, by_method }
});

fn class_messages(class: &'static ClassMeta) -> Vec<MessageMeta> {
    let mut list: Vec<MessageMeta> = Vec::new();
    if class.objects {
        object_messages(class, &mut list);
        class.fields.iter().for_each(|field| field_messages(class, field, &mut list));
    }
    list.extend(class.explicit.iter().map(|m| MessageMeta {
        method: format!("{}.{}", class.name, m.name),
        class,
        kind: MessageKind::Explicit(m),
        params: m.params.map(<[ParamMeta]>::to_vec),
        result: m.result,
        has_async: m.has_async,
        needs_session: m.needs_session,
        role: m.role,
        life: m.life,
    }));
    list
}

const fn param(name: &'static str, ty: Ty) -> ParamMeta {
    ParamMeta { name, ty, default: None, since: None }
}

fn object_messages(class: &'static ClassMeta, list: &mut Vec<MessageMeta>) {
    let mut reader = |name: &str, kind, params: &[ParamMeta], result| {
        list.push(implicit(class, name, kind, params, result, class.read_role, class.life));
    };
    let this = param("self", class.ty);
    let query = param("expr", Ty::String);
    reader("get_record", MessageKind::GetRecord, &[this], Ty::Record(class.name));
    reader("get_by_uuid", MessageKind::GetByUuid, &[param("uuid", Ty::String)], class.ty);
    if class.labelled {
        let label = param("label", Ty::String);
        reader("get_by_name_label", MessageKind::GetByNameLabel, &[label], class.set_ty);
    }
    if class.get_all {
        reader("get_all", MessageKind::GetAll, &[], class.set_ty);
        reader("get_all_records", MessageKind::GetAllRecords, &[], class.records_ty);
        reader("get_all_where", MessageKind::GetAllWhere, &[query], class.set_ty);
        reader("get_all_records_where", MessageKind::GetAllRecordsWhere, &[query], class.records_ty);
    }
    if let Some(role) = class.create {
        let mut writer = |name: &str, kind, params: &[ParamMeta], result| {
            let message = implicit(class, name, kind, params, result, role, class.life);
            list.push(MessageMeta { has_async: true, ..message });
        };
        writer("create", MessageKind::Create, &[param("args", Ty::Record(class.name))], class.ty);
        writer("destroy", MessageKind::Destroy, &[this], Ty::Void);
    }
}

fn field_messages(class: &'static ClassMeta, field: &'static FieldMeta, list: &mut Vec<MessageMeta>) {
    let this = param("self", class.ty);
    let mut add = |prefix: &str, kind, params: &[ParamMeta], result, role| {
        let name = format!("{prefix}{}", field.name);
        list.push(implicit(class, &name, kind, params, result, role, field.life));
    };
    add("get_", MessageKind::Get(field), &[this], field.ty, class.read_role);
    if field.mode != Mode::Rw {
        return;
    }
    let role = field.set_role.unwrap_or(Role::PoolAdmin);
    add("set_", MessageKind::Set(field), &[this, param("value", field.ty)], Ty::Void, role);
    match field.ty {
        Ty::Map(&key, &value) => {
            let (key, value) = (param("key", key), param("value", value));
            add("add_to_", MessageKind::AddTo(field), &[this, key, value], Ty::Void, role);
            add("remove_from_", MessageKind::RemoveFrom(field), &[this, key], Ty::Void, role);
        }
        Ty::Set(&item) => {
            let value = param("value", item);
            add("add_", MessageKind::Add(field), &[this, value], Ty::Void, role);
            add("remove_", MessageKind::Remove(field), &[this, value], Ty::Void, role);
        }
        _ => {}
    }
}

fn implicit(
    class: &'static ClassMeta,
    name: &str,
    kind: MessageKind,
    params: &[ParamMeta],
    result: Ty,
    role: Role,
    life: Life,
) -> MessageMeta {
    MessageMeta {
        method: format!("{}.{name}", class.name),
        class,
        kind,
        params: Some(params.to_vec()),
        result,
        has_async: false,
        needs_session: true,
        role: Some(role),
        life,
    }
}
