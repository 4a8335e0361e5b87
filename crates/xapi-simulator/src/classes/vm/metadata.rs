//! `VM.snapshot_metadata`: a VM's record in the notation of XAPI's database.

use xenapi_wire::Value;

use crate::db::{Object, View};

/// The record as text: `(('key' 'value') …)`, the keys in descending order.
pub(super) fn write(vm: Object<'_>) -> String {
    let fields = vm.class().fields().iter().filter(|field| vm.class().has_field(field.name));
    let mut pairs: Vec<(String, String)> =
        fields.map(|field| (field.db_name.to_owned(), text(vm.get(field.name)))).collect();
    pairs.push(("_ref".to_owned(), vm.reference().to_owned()));
    pairs.sort_by(|a, b| b.0.cmp(&a.0));
    let pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("({} {})", quoted(key), quoted(value))).collect();
    format!("({})", pairs.join(" "))
}

/// The value of a key.
pub(super) fn read(metadata: &str, key: &str) -> Option<String> {
    let (_, rest) = metadata.split_once(&format!("({} '", quoted(key)))?;
    let mut value = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '\'' => return Some(value),
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
            let name = r"it's a \ name";
            let vm = tx.create(
                "VM",
                [
                    ("name_label", name.into()),
                    ("other_config", Value::Struct([("a".to_owned(), "b".into())].into())),
                ],
            );
            let text = write(tx.object("VM", &vm)?);
            assert!(text.starts_with("(('xenstore_data' '()') ('version' '0') ("), "{text}");
            assert!(text.contains(r"('other_config' '((\'a\' \'b\'))')"), "{text}");
            assert!(text.contains("('actions__after_reboot' "), "{text}");
            assert_eq!(read(&text, "name__label").as_deref(), Some(name));
            assert_eq!(read(&text, "memory__target").as_deref(), Some("0"));
            assert_eq!(read(&text, "_ref").as_deref(), Some(vm.as_str()));
            assert_eq!(read(&text, "nothing"), None);
            Ok::<_, xenapi_wire::Failure>(())
        })
        .unwrap();
    }
}
