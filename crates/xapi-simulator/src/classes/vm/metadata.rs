//! `VM.snapshot_metadata`: a VM's record in the notation of XAPI's database.

use std::collections::BTreeMap;

use xenapi_types::meta::Ty;
use xenapi_wire::Value;

use crate::db::{Object, View};
use crate::schema::Class;

/// The record as text: `(('key' 'value') …)`, the keys in descending order. Of a VM that
/// has just been suspended, host and domain are still the old ones: they are given apart.
pub(super) fn write(vm: Object<'_>, resident_on: &str, domid: i64) -> String {
    let fields = vm.class().fields().iter().filter(|field| vm.class().has_field(field.name));
    let value = |field: &str| match field {
        "domid" => domid.to_string(),
        "resident_on" => resident_on.to_owned(),
        field => text(vm.get(field)),
    };
    let mut pairs: Vec<(String, String)> =
        fields.map(|field| (field.db_name.to_owned(), value(field.name))).collect();
    pairs.push(("_ref".to_owned(), vm.reference().to_owned()));
    // The database has kept it, the API has not.
    pairs.push(("recommended_guidances".to_owned(), "()".to_owned()));
    pairs.sort_by(|a, b| b.0.cmp(&a.0));
    let pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("({} {})", quoted(key), quoted(value))).collect();
    format!("({})", pairs.join(" "))
}

/// The saved values of those fields that the class has; nothing when the text is no such record.
pub(super) fn read(class: &Class, metadata: &str) -> BTreeMap<&'static str, Value> {
    let saved: BTreeMap<String, String> = pairs(metadata).unwrap_or_default().into_iter().collect();
    let fields = class.fields().iter().filter(|field| class.has_field(field.name));
    fields.filter_map(|field| Some((field.name, value(saved.get(field.db_name)?, &field.ty)?))).collect()
}

/// A field's value from its text.
fn value(text: &str, ty: &Ty) -> Option<Value> {
    Some(match ty {
        Ty::String | Ty::Ref(_) | Ty::Enum(_) => text.into(),
        Ty::Int => Value::Int(text.parse().ok()?),
        Ty::Float => Value::Double(text.parse().ok()?),
        Ty::Bool => Value::Bool(text.parse().ok()?),
        Ty::DateTime => Value::DateTime(text.parse().ok()?),
        Ty::Set(item) => {
            Value::Array(texts(text)?.iter().map(|text| value(text, item)).collect::<Option<_>>()?)
        }
        Ty::Map(_, item) => {
            let members = pairs(text)?.into_iter().map(|(key, text)| Some((key, value(&text, item)?)));
            Value::Struct(members.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// The members of `(('key' 'value') …)`.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut rest = text.trim().strip_prefix('(')?;
    let mut pairs = Vec::new();
    while let Some(after) = rest.trim_start().strip_prefix('(') {
        let (key, after) = quotation(after)?;
        let (value, after) = quotation(after)?;
        rest = after.trim_start().strip_prefix(')')?;
        pairs.push((key, value));
    }
    (rest.trim_start() == ")").then_some(pairs)
}

/// The members of `('text' …)`.
fn texts(text: &str) -> Option<Vec<String>> {
    let mut rest = text.trim().strip_prefix('(')?.trim_start();
    let mut texts = Vec::new();
    while rest != ")" {
        let (text, after) = quotation(rest)?;
        texts.push(text);
        rest = after.trim_start();
    }
    Some(texts)
}

/// A text in quotation marks, and what comes after it.
fn quotation(text: &str) -> Option<(String, &str)> {
    let mut chars = text.trim_start().strip_prefix('\'')?.chars();
    let mut value = String::new();
    loop {
        match chars.next()? {
            '\'' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            other => value.push(other),
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| quoted(&text(item))).collect();
            format!("({})", items.join(" "))
        }
        Value::Struct(members) => {
            let pairs: Vec<String> =
                members.iter().map(|(k, v)| format!("({} {})", quoted(k), quoted(&text(v)))).collect();
            format!("({})", pairs.join(" "))
        }
        other => View::text_of(other),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Db;
    use crate::schema::Schema;

    #[test]
    fn what_is_written_is_read() {
        let db = Db::in_memory(Schema::xapi());
        db.write(|tx| {
            let given: [(&str, Value); 7] = [
                ("name_label", r"it's a \ name".into()),
                ("memory_static_max", Value::Int(1 << 40)),
                ("HVM_shadow_multiplier", Value::Double(1.5)),
                ("is_a_template", Value::Bool(true)),
                ("tags", Value::Array(vec!["b".into(), "it's".into(), "".into()])),
                ("other_config", Value::Struct([("a'\\".to_owned(), "('b' 'c')".into())].into())),
                ("blocked_operations", Value::Struct([("start".to_owned(), "no".into())].into())),
            ];
            let vm = tx.create("VM", given.clone());
            let object = tx.object("VM", &vm)?;
            let text = write(object, object.str("resident_on"), object.int("domid"));
            assert!(text.starts_with("(('xenstore_data' '()') ('version' '0') ("), "{text}");
            assert!(text.contains("('actions__after_reboot' "), "{text}");
            let read = read(object.class(), &text);
            for (field, value) in given {
                assert_eq!(read.get(field), Some(&value), "{field}");
            }
            for field in object.class().fields().iter().filter(|f| object.class().has_field(f.name)) {
                assert_eq!(read.get(field.name), Some(object.get(field.name)), "{}", field.name);
            }
            Ok::<_, xenapi_wire::Failure>(())
        })
        .unwrap();
    }

    #[test]
    fn what_is_no_record_has_no_fields() {
        let class = Schema::xapi().class("VM").unwrap();
        for text in
            ["", "(", "()", "nonsense", "(('name__label' 'x'", "(('name__label'))", "(('name__label' 'x')) y"]
        {
            assert_eq!(read(class, text).len(), 0, "{text}");
        }
        assert_eq!(read(class, "(('name__label' 'x') ('later' 'y'))").len(), 1);
    }
}
