//! The messages that every class has, answered from the database.

use std::collections::BTreeMap;

use xenapi_wire::{Failure, Value};

use super::query::Query;
use super::unmarshal::internal_error;
use super::{Args, Ctx};
use crate::schema::{Field, Kind, Type};

pub(super) fn run(ctx: &Ctx, args: &Args) -> Result<Value, Failure> {
    let class = &*ctx.message.class;
    match &ctx.message.kind {
        Kind::GetAll => {
            Ok(ctx.read(|view| view.objects(class).map(|o| o.reference()).collect::<Vec<_>>().into()))
        }
        Kind::GetAllRecords => Ok(ctx.read(|view| {
            Value::Struct(view.objects(class).map(|o| (o.reference().to_owned(), o.record())).collect())
        })),
        Kind::GetAllWhere => {
            let query = Query::parse(args.str(0))?;
            ctx.read(|view| {
                let mut found = Vec::new();
                for object in view.objects(class) {
                    if query.matches(&object)? {
                        found.push(object.reference());
                    }
                }
                Ok(found.into())
            })
        }
        Kind::GetAllRecordsWhere => {
            let query = Query::parse(args.str(0))?;
            ctx.read(|view| {
                let mut found = BTreeMap::new();
                for object in view.objects(class) {
                    if query.matches(&object)? {
                        found.insert(object.reference().to_owned(), object.record());
                    }
                }
                Ok(Value::Struct(found))
            })
        }
        Kind::GetRecord => ctx.read(|view| Ok(view.object(class, args.str(0))?.record())),
        Kind::GetByUuid => ctx.read(|view| Ok(view.by_uuid(class, args.str(0))?.reference().into())),
        Kind::GetByNameLabel => Ok(ctx.read(|view| view.by_name_label(class, args.str(0))).into()),
        Kind::Create => create(ctx, args),
        Kind::Destroy => ctx.write(|tx| {
            tx.object(class, args.str(0))?;
            tx.delete(class, args.str(0));
            Ok(void())
        }),
        Kind::Get(field) => {
            let field = field_of(ctx, *field)?;
            ctx.read(|view| Ok(view.object(class, args.str(0))?.get(&field.name).clone()))
        }
        Kind::Set(field) => {
            let field = field_of(ctx, *field)?;
            storable(args.get(1))?;
            ctx.write(|tx| tx.set(class, args.str(0), &field.name, args.get(1).clone()))?;
            Ok(void())
        }
        Kind::Add(field) => {
            let field = field_of(ctx, *field)?;
            add(ctx, &field, args)?;
            Ok(void())
        }
        Kind::Remove(field) => {
            let field = field_of(ctx, *field)?;
            remove(ctx, &field, args)?;
            Ok(void())
        }
        Kind::Explicit => Err(Failure::new("NOT_IMPLEMENTED", [ctx.message.method.to_string()])),
    }
}

/// What a call without a result returns.
pub(crate) fn void() -> Value {
    Value::String(String::new())
}

fn create(ctx: &Ctx, args: &Args) -> Result<Value, Failure> {
    let class = &*ctx.message.class;
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

fn add(ctx: &Ctx, field: &Field, args: &Args) -> Result<(), Failure> {
    let (class, reference) = (&*ctx.message.class, args.str(0));
    match &field.ty {
        Type::Map(..) => {
            let key = key_of(args.get(1));
            storable(&Value::Struct(BTreeMap::from([(key.clone(), args.get(2).clone())])))?;
            ctx.write(|tx| tx.add_to(class, reference, &field.name, &key, args.get(2).clone()))
        }
        _ => ctx.write(|tx| {
            storable(args.get(1))?;
            let mut items = items(tx.object(class, reference)?.get(&field.name));
            if !items.contains(args.get(1)) {
                items.push(args.get(1).clone());
            }
            tx.set(class, reference, &field.name, Value::Array(items))
        }),
    }
}

fn remove(ctx: &Ctx, field: &Field, args: &Args) -> Result<(), Failure> {
    let (class, reference) = (&*ctx.message.class, args.str(0));
    match &field.ty {
        Type::Map(..) => {
            let key = key_of(args.get(1));
            ctx.write(|tx| tx.remove_from(class, reference, &field.name, &key))
        }
        _ => ctx.write(|tx| {
            let mut items = items(tx.object(class, reference)?.get(&field.name));
            items.retain(|item| item != args.get(1));
            tx.set(class, reference, &field.name, Value::Array(items))
        }),
    }
}

fn items(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.clone(),
        _ => Vec::new(),
    }
}

fn key_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Int(n) => n.to_string(),
        _ => String::new(),
    }
}

fn field_of(ctx: &Ctx, index: usize) -> Result<Field, Failure> {
    let class = ctx.core.schema().class(&ctx.message.class);
    class
        .and_then(|class| class.fields.get(index).cloned())
        .ok_or_else(|| Failure::new("MESSAGE_METHOD_UNKNOWN", [ctx.message.method.to_string()]))
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
