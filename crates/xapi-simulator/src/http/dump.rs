//! `GET /pool/xmldbdump`: all objects of the pool, as XAPI keeps them in its file.

use std::fmt::Write as _;

use xenapi_wire::Value;

use super::page::escape;
use super::{After, Exchange, Handlers, Verb, authenticate};
use crate::classes::{session, task};
use crate::db::{Object, View};

pub(crate) fn register(handlers: &mut Handlers) {
    handlers.add(Verb::Get, "/pool/xmldbdump", |exchange| Box::pin(answer(exchange)));
}

/// Of the tables and their columns: major and minor version.
pub(crate) const SCHEMA: (u32, u32) = (5, 909);

const ACCEPTED: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: no-cache, no-store\r\n\r\n";

async fn answer(exchange: &mut Exchange) -> std::io::Result<After> {
    let core = exchange.core.clone();
    let head = &exchange.head;
    let login = match authenticate(&core, &exchange.host, head, "get_pool_xml_db_sync").await {
        Ok(login) => login,
        Err(page) => {
            exchange.conn.send(&page.bytes("HTTP/1.1")).await?;
            return Ok(After::Close);
        }
    };
    let task = head.param("task_id").map(str::to_owned);
    let document = core.db().read(write);
    let mut sent = exchange.conn.send(ACCEPTED).await;
    if sent.is_ok() {
        sent = exchange.conn.send(document.as_bytes()).await;
    }
    if let Some(task) = task {
        let outcome = sent.as_ref().map(|()| Value::Nil);
        task::finish(&core, &task, outcome.map_err(|e| crate::dispatch::internal_error(&e.to_string())));
    }
    if login.own {
        session::end(&core, &login.session);
    }
    sent.map(|()| After::Close)
}

/// Tables with a row for each object. Sessions and tasks are not kept.
pub(crate) fn write(view: &View) -> String {
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><database><manifest>\
         <pair key=\"schema_major_vsn\" value=\"{}\"/><pair key=\"schema_minor_vsn\" value=\"{}\"/>\
         <pair key=\"generation_count\" value=\"{}\"/></manifest>",
        SCHEMA.0,
        SCHEMA.1,
        view.generation()
    );
    for class in view.schema().classes().filter(|class| class.persistent) {
        let _ = write!(out, "<table name=\"{}\">", class.name());
        view.objects(class.name()).for_each(|object| row(&mut out, object));
        out.push_str("</table>");
    }
    out.push_str("</database>");
    out
}

fn row(out: &mut String, object: Object<'_>) {
    let reference = escape(object.reference());
    let _ = write!(out, "<row ref=\"{reference}\" _ref=\"{reference}\"");
    for field in object.class().fields() {
        let _ = write!(out, " {}=\"{}\"", field.db_name, escape(&text(object.get(field.name))));
    }
    out.push_str("/>");
}

/// A value as XAPI keeps it: sets and maps in parentheses, their parts in quotes.
fn text(value: &Value) -> String {
    match value {
        Value::Nil => String::new(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::DateTime(date) => date.as_str().to_owned(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| quoted(&text(item))).collect();
            format!("({})", items.join(" "))
        }
        Value::Struct(map) => {
            let pairs = map.iter().map(|(key, value)| format!("({} {})", quoted(key), quoted(&text(value))));
            format!("({})", pairs.collect::<Vec<_>>().join(" "))
        }
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
