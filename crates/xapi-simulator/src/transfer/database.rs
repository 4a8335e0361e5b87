//! `PUT /pool/xmldbdump`: whether a pool could be made again what it was when its database was dumped.
//!
//! Only `dry_run=true` is simulated: a real restore replaces the database and restarts every host.

use roxmltree::{Document, Node};
use xenapi_wire::Failure;

use super::whole;
use crate::db::View;
use crate::dispatch::{Router, internal_error};
use crate::http::{After, Exchange, Verb, dump};

pub(super) fn register(router: &mut Router) {
    router.http.add(Verb::Put, "/pool/xmldbdump", |exchange| Box::pin(put(exchange)));
}

async fn put(exchange: &mut Exchange) -> std::io::Result<After> {
    let judge = |exchange: &Exchange, document: &[u8]| match exchange.head.param("dry_run") {
        Some("true") => exchange.core.db().read(|view| check(view, document)),
        _ => Err(Failure::new("NOT_IMPLEMENTED", ["restore_database"])),
    };
    whole::take(exchange, "put_pool_xml_db_sync", "Restore database", judge).await
}

/// What stands against a restore: another schema, or a coordinator whose management interface the backup does not know.
fn check(view: &View, document: &[u8]) -> Result<(), Failure> {
    let text = std::str::from_utf8(document).map_err(|e| internal_error(&e.to_string()))?;
    let document = Document::parse(text).map_err(|e| internal_error(&format!("Xmlm.Error({e})")))?;
    let root = document.root_element();
    let manifest: Vec<(&str, &str)> = children(root, "manifest")
        .flat_map(|manifest| children(manifest, "pair"))
        .filter_map(|pair| pair.attribute("key").zip(pair.attribute("value")))
        .collect();
    let version = |key| manifest.iter().find(|(k, _)| *k == key).and_then(|(_, v)| v.parse::<u32>().ok());
    let schema = version("schema_major_vsn").zip(version("schema_minor_vsn"));
    if !root.has_tag_name("database") || schema.is_none_or(|schema| schema > dump::SCHEMA) {
        return Err(Failure::new("RESTORE_INCOMPATIBLE_VERSION", [] as [&str; 0]));
    }
    let rows = |class: &str| {
        let tables = children(root, "table").filter(move |table| table.attribute("name") == Some(class));
        tables.flat_map(|table| children(table, "row")).collect::<Vec<_>>()
    };
    let masters: Vec<&str> = rows("pool").iter().filter_map(|pool| pool.attribute("master")).collect();
    let known: Vec<&str> = rows("PIF")
        .iter()
        .filter(|pif| pif.attribute("host").is_some_and(|host| masters.contains(&host)))
        .filter_map(|pif| pif.attribute("device"))
        .collect();
    let here = view.objects("pool").next().map_or("", |pool| pool.str("master"));
    let mut management = view.objects("PIF").filter(|pif| pif.bool("management") && pif.str("host") == here);
    if management.any(|pif| !known.contains(&pif.str("device"))) {
        return Err(Failure::new("RESTORE_TARGET_MGMT_IF_NOT_IN_BACKUP", [] as [&str; 0]));
    }
    Ok(())
}

fn children<'a, 'd>(node: Node<'a, 'd>, name: &'static str) -> impl Iterator<Item = Node<'a, 'd>> {
    node.children().filter(move |child| child.has_tag_name(name))
}
