//! The messages that every class has, answered from the database.

use std::collections::BTreeMap;

use xenapi_types::meta::{FieldMeta, MessageKind};
use xenapi_wire::{Failure, Value};

use super::query::Query;
use super::unmarshal::internal_error;
use super::{Args, Ctx};
use crate::db::Object;

pub(super) fn run(ctx: &Ctx, args: &Args) -> Result<Value, Failure> {
    let class = ctx.message.class.name;
    match &ctx.message.kind {
        MessageKind::GetAll => {
            Ok(ctx.read(|view| view.objects(class).map(|o| o.reference()).collect::<Vec<_>>().into()))
        }
        MessageKind::GetAllRecords => Ok(ctx.read(|view| {
            Value::Struct(view.objects(class).map(|o| (o.reference().to_owned(), o.record())).collect())
        })),
        MessageKind::GetAllWhere => {
            let found = select(ctx, args, |object| Value::from(object.reference()))?;
            Ok(Value::Array(found))
        }
        MessageKind::GetAllRecordsWhere => {
            let found = select(ctx, args, |object| (object.reference().to_owned(), object.record()))?;
            Ok(Value::Struct(found.into_iter().collect()))
        }
        MessageKind::GetRecord => ctx.read(|view| Ok(view.object(class, args.str(0))?.record())),
        MessageKind::GetByUuid => ctx.read(|view| Ok(view.by_uuid(class, args.str(0))?.reference().into())),
        MessageKind::GetByNameLabel => Ok(ctx.read(|view| view.by_name_label(class, args.str(0))).into()),
        MessageKind::Create => create(ctx, args),
        MessageKind::Destroy => ctx.write(|tx| {
            tx.object(class, args.str(0))?;
            tx.delete(class, args.str(0));
            Ok(void())
        }),
        MessageKind::Get(field) => ctx.read(|view| Ok(view.object(class, args.str(0))?.shown(field.name))),
        MessageKind::Set(field) => {
            storable(args.get(1))?;
            ctx.write(|tx| tx.set(class, args.str(0), field.name, args.get(1).clone()))?;
            Ok(void())
        }
        MessageKind::AddTo(field) => {
            let key = key_of(args.get(1));
            storable(&Value::Struct(BTreeMap::from([(key.clone(), args.get(2).clone())])))?;
            ctx.write(|tx| tx.add_to(class, args.str(0), field.name, &key, args.get(2).clone()))?;
            Ok(void())
        }
        MessageKind::RemoveFrom(field) => {
            let key = key_of(args.get(1));
            ctx.write(|tx| tx.remove_from(class, args.str(0), field.name, &key))?;
            Ok(void())
        }
        MessageKind::Add(field) => {
            storable(args.get(1))?;
            change_set(ctx, field, args, |items, item| {
                if !items.contains(item) {
                    items.push(item.clone());
                }
            })
        }
        MessageKind::Remove(field) => change_set(ctx, field, args, |items, item| items.retain(|i| i != item)),
        MessageKind::Explicit(_) => Err(Failure::new("NOT_IMPLEMENTED", [&ctx.message.method])),
    }
}

/// Something of each object that fits the expression in the first argument.
fn select<T>(ctx: &Ctx, args: &Args, take: impl Fn(Object<'_>) -> T) -> Result<Vec<T>, Failure> {
    let query = Query::parse(args.str(0))?;
    ctx.read(|view| {
        let mut found = Vec::new();
        for object in view.objects(ctx.message.class.name) {
            if query.matches(&object)? {
                found.push(take(object));
            }
        }
        Ok(found)
    })
}

fn change_set(
    ctx: &Ctx,
    field: &FieldMeta,
    args: &Args,
    change: impl FnOnce(&mut Vec<Value>, &Value),
) -> Result<Value, Failure> {
    let (class, reference) = (ctx.message.class.name, args.str(0));
    ctx.write(|tx| {
        let mut items = match tx.object(class, reference)?.get(field.name) {
            Value::Array(items) => items.clone(),
            _ => Vec::new(),
        };
        change(&mut items, args.get(1));
        tx.set(class, reference, field.name, Value::Array(items))
    })?;
    Ok(void())
}

/// What a call without a result returns.
pub(crate) fn void() -> Value {
    Value::String(String::new())
}

fn create(ctx: &Ctx, args: &Args) -> Result<Value, Failure> {
    let class = ctx.message.class.name;
    let members = args.map(0);
    for value in members.values() {
        storable(value)?;
    }
    let reference = ctx.write(|tx| {
        let fields: Vec<(&str, Value)> = members.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
        Ok::<_, Failure>(tx.create(class, fields))
    })?;
    Ok(reference.into())
}

fn key_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Int(n) => n.to_string(),
        _ => String::new(),
    }
}

/// What XAPI's database refuses: control characters, and empty keys of maps.
pub(crate) fn storable(value: &Value) -> Result<(), Failure> {
    match value {
        Value::String(text) => text_storable(text),
        Value::Array(items) => items.iter().try_for_each(storable),
        Value::Struct(map) => map.iter().try_for_each(|(key, value)| {
            if key.is_empty() {
                return Err(internal_error("Db_exn.Empty_key_in_map"));
            }
            text_storable(key)?;
            storable(value)
        }),
        _ => Ok(()),
    }
}

fn text_storable(text: &str) -> Result<(), Failure> {
    if text.chars().any(|c| c < ' ' && !matches!(c, '\t' | '\n' | '\r')) {
        return Err(internal_error("Db_exn.Invalid_value"));
    }
    Ok(())
}
