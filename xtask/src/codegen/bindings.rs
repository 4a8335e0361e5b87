//! One file a class: record, enums, names of fields, calls.

use anyhow::{Result, bail};

use super::BASELINE;
use super::rust::{self, HEADER, doc};
use crate::facts::{Class, Facts, Field, FieldMode, Message, Param};
use crate::names::{camel, snake, variant};
use crate::ty::Ty;

/// What every module of the generated code may use.
const PRELUDE: &str =
    "#[allow(unused_imports, reason = \"one list for all classes\")]\nuse crate::prelude::*;\n";

/// `generated/mod.rs`.
pub(super) fn index(facts: &Facts) -> String {
    let mut out = HEADER.to_owned();
    out += "pub(crate) mod errors;\n#[cfg(feature = \"meta\")]\npub(crate) mod meta;\n\n";
    for class in &facts.classes {
        out += &format!("pub mod {};\n", class.name.to_ascii_lowercase());
    }
    out += "\n/// Classes, records and enums of the whole API.\npub(crate) mod types {\n";
    for class in &facts.classes {
        if has_types(facts, class) {
            out += &format!("    pub use super::{}::types::*;\n", class.name.to_ascii_lowercase());
        }
    }
    out + "}\n"
}

fn has_types(facts: &Facts, class: &Class) -> bool {
    !class.fields.is_empty() || facts.enums.values().any(|e| e.class == class.name)
}

/// The file of one class.
pub(super) fn file(facts: &Facts, class: &Class) -> Result<String> {
    let mut out = format!("//! `{}`: its record, enums, names of fields, and calls.\n", class.name);
    out += &format!("//{}", HEADER.trim_start_matches("//"));
    if has_types(facts, class) {
        out += &format!("pub(crate) mod types {{\n{PRELUDE}\n");
        out += &record(facts, class)?;
        for (name, values) in facts.enums.iter().filter(|(_, e)| e.class == class.name) {
            out += &open_enum(name, &values.values);
        }
        out += "}\n\n";
    }
    let calls = calls(facts, class)?;
    if !calls.is_empty() {
        out += &format!("{PRELUDE}\n");
        out += &calls;
    }
    if class.objects && !class.fields.is_empty() {
        out += &field_names(class)?;
    }
    Ok(out)
}

fn open_enum(name: &str, values: &[String]) -> String {
    let mut out = String::new();
    out = out + "    open_enum! {\n" + &doc("        ", &format!("`enum {name}`"));
    out += &format!("        {} {{\n", camel(name));
    for value in values {
        out += &format!("            {} {value:?},\n", variant(value));
    }
    out + "        }\n    }\n\n"
}

fn record(facts: &Facts, class: &Class) -> Result<String> {
    if class.fields.is_empty() {
        return Ok(String::new());
    }
    let name = camel(&class.name);
    let mut out = "    record! {\n".to_owned();
    if has_references(class) {
        let text = format!("The class `{}`.{}", class.name, rust::life(facts, &class.life));
        out += &doc("        ", &text);
        let kinds = match (class.get_all, class.labelled) {
            (true, true) => " is Listed Labelled",
            (true, false) => " is Listed",
            (false, true) => " is Labelled",
            (false, false) => "",
        };
        out += &format!("        class {name}{kinds};\n");
    }
    let origin = if class.objects { "as `get_record` returns it" } else { "as results of calls hold it" };
    out += &doc("        ", &format!("The record of a `{}`, {origin}.", class.name));
    out += &format!("        {:?} {name}Record {{\n", class.name);
    for (index, field) in class.fields.iter().filter(|f| f.in_record).enumerate() {
        out += &record_field(facts, index, field, Use::Record)?;
    }
    Ok(out + "        }\n    }\n\n")
}

/// Whether values of this class are referred to; `message` is, though all its messages are explicit.
fn has_references(class: &Class) -> bool {
    class.objects || class.fields.iter().any(|f| f.name == "uuid" && f.ty == "string")
}

#[derive(Clone, Copy, PartialEq)]
enum Use {
    Record,
    Create,
}

fn record_field(facts: &Facts, index: usize, field: &Field, used: Use) -> Result<String> {
    let ty = Ty::parse(&field.ty)?;
    let mode = match (used, field.mode, field.default.is_some()) {
        (Use::Record, FieldMode::Rw, _) => "read-write",
        (Use::Record, FieldMode::Constructor, _) => "set by `create` only",
        (Use::Record, FieldMode::Runtime, _) => "read-only",
        (Use::Create, _, true) => "has a default",
        (Use::Create, _, false) => "required",
    };
    let text = format!("`{}`, {mode}.{}", field.ty, rust::life(facts, &field.life));
    let newer = match &field.life.since {
        Some(release) => facts.is_after(release, BASELINE)?,
        None => false,
    };
    let mut rust_ty = rust::ty(&ty);
    let mut default = match &field.default {
        Some(value) => rust::default(&ty, value)?,
        None => None,
    };
    let optional = newer || matches!(ty, Ty::Option(_));
    if newer {
        rust_ty = format!("Option<{rust_ty}>");
        default = None;
    }
    let secret = field.secret || ty.is_secret() || carries_secret(&field.name, &ty);
    let mark = match (optional, secret) {
        (true, true) => bail!("field {} is both optional and secret: extend the macro", field.name),
        (true, false) => "[opt] ",
        (false, true) => "[secret] ",
        (false, false) => "",
    };
    let default = default.map(|d| format!(" = {d}")).unwrap_or_default();
    let indent = if used == Use::Record { "            " } else { "        " };
    let (wire, rust_name) = (&field.name, snake(&field.name));
    Ok(doc(indent, &text) + &format!("{indent}{index} {wire:?} {mark}{rust_name}: {rust_ty}{default};\n"))
}

fn field_names(class: &Class) -> Result<String> {
    let name = camel(&class.name);
    let mut out = format!(
        "/// Names of the fields of `{}`, for getters and setters.\npub mod field {{\n{PRELUDE}\n    field_names! {{\n        {name};\n",
        class.name
    );
    for field in &class.fields {
        let mode = if field.mode == FieldMode::Rw { "rw" } else { "ro" };
        let constant = field.name.to_ascii_uppercase();
        let ty = rust::ty(&Ty::parse(&field.ty)?);
        out += &format!("        {mode} {constant} {:?} {ty};\n", field.name);
    }
    out += "    }\n}\n";
    Ok(out)
}

fn calls(facts: &Facts, class: &Class) -> Result<String> {
    let mut out = String::new();
    if let Some(role) = &class.create {
        out += &constructor(facts, class, role)?;
    }
    for message in &class.messages {
        let removed_long_ago = match &message.life.removed {
            Some(release) => !facts.is_after(release, BASELINE)?,
            None => false,
        };
        if message.hidden || removed_long_ago {
            continue;
        }
        if let Some(params) = &message.params {
            out += &call(facts, class, message, params)?;
        }
    }
    Ok(out)
}

fn constructor(facts: &Facts, class: &Class, role: &str) -> Result<String> {
    let (name, module) = (&class.name, camel(&class.name));
    let mut out = "create! {\n".to_owned();
    out += &doc(
        "    ",
        &format!("`{name}.create`: makes an object from its constructor fields. Least role: {role}."),
    );
    out += &format!("    \"{name}.create\" Create -> Ref<{module}> {{\n");
    let fields = class.fields.iter().filter(|f| f.in_record && f.mode != FieldMode::Runtime);
    for (index, field) in fields.enumerate() {
        out += &record_field(facts, index, field, Use::Create)?;
    }
    out += "    }\n}\n\ncall! {\n";
    out += &doc("    ", &format!("`{name}.destroy`: removes an object. Least role: {role}."));
    out += &format!("    \"{name}.destroy\" Destroy -> () {{\n");
    out += &format!("        /// `{name} ref`\n        {}: Ref<{module}>,\n    }}\n}}\n\n", own_name(class));
    Ok(out)
}

/// What a parameter that refers to the object of the call is named: `vdi`.
fn own_name(class: &Class) -> String {
    class.name.to_ascii_lowercase()
}

fn call(facts: &Facts, class: &Class, message: &Message, params: &[Param]) -> Result<String> {
    let method = format!("{}.{}", class.name, message.name);
    let result = message.result.as_deref().unwrap_or("void");
    let mut text = format!("`{method}`, returns `{result}`.{}", rust::life(facts, &message.life));
    if let Some(role) = &message.role {
        text += &format!(" Least role: {role}.");
    }
    if !message.errors.is_empty() {
        let errors: Vec<String> = message.errors.iter().map(|e| format!("`{e}`")).collect();
        text += &format!(" Fails with {}, among others.", errors.join(", "));
    }
    let flags = match (message.session, message.has_async) {
        (true, true) => "",
        (false, true) => "[no_session] ",
        (true, false) => "[no_async] ",
        (false, false) => "[no_session no_async] ",
    };
    let output = rust::ty(&Ty::parse(result)?);
    let mut out = "call! {\n".to_owned() + &doc("    ", &text);
    out += &format!("    {method:?} {} {flags}-> {output} {{\n", camel(&message.name));
    let mut in_defaults = false;
    for param in params {
        if param.default.is_some() && !in_defaults {
            in_defaults = true;
            out += "        ;\n";
        } else if param.default.is_none() && in_defaults {
            bail!("{method}: required parameter {} after one with a default", param.name);
        }
        out += &call_param(facts, class, param)?;
    }
    Ok(out + "    }\n}\n\n")
}

fn call_param(facts: &Facts, class: &Class, param: &Param) -> Result<String> {
    let ty = Ty::parse(&param.ty)?;
    let name = match param.name.as_str() {
        "self" => own_name(class),
        name => snake(name),
    };
    let secret = ty.is_secret() || carries_secret(&param.name, &ty);
    let mark = if secret { "[secret] " } else { "" };
    let rust_ty = rust::ty(&ty);
    let mut text = format!("`{}`", param.ty);
    if param.default.is_some() {
        text += ", has a default on the server.";
    }
    if let Some(release) = &param.since {
        text += &format!(" Since {}.", facts.release_text(release));
    }
    let mut out = doc("        ", &text) + &format!("        {mark}{name}: {rust_ty}");
    if let Some(default) = &param.default {
        out += &format!(" = {}", rust::expression(&ty, default)?);
    }
    Ok(out + ",\n")
}

/// Whether a value must not be shown, by the name of its parameter or field: passwords and keys, and
/// maps and texts that carry them (`password` in a device configuration or the arguments of a plugin, the
/// session of the other pool in the destination of a migration).
fn carries_secret(name: &str, ty: &Ty) -> bool {
    const CARRIERS: [&str; 8] =
        ["args", "config", "dest", "device_config", "private_key", "psecret", "token", "unattend"];
    if !matches!(ty, Ty::String | Ty::Map(..)) {
        return false;
    }
    name.ends_with("pwd") || name.ends_with("password") || CARRIERS.contains(&name)
}
