//! What counts of an archive of VMs: its members, and the description as a tree.

use std::collections::HashMap;

use serde_json::{Value as Json, json};
use sha2::Digest;
use xenapi_types::archive::{DESCRIPTION, Header, RECORD};
use xenapi_wire::{Limits, Value, xmlrpc};

use crate::compare::tree;

/// The members in order, with names that count from zero; nothing if it is no such archive.
///
/// The recorded server goes on counting from one export to the next.
pub fn members(archive: &[u8]) -> Option<Json> {
    let mut names = Numbers::default();
    let mut members = Vec::new();
    let (mut rest, mut is_ended) = (archive, false);
    while let Some((record, after)) = rest.split_first_chunk::<RECORD>() {
        rest = after;
        let Some(header) = Header::parse(record).ok()? else {
            is_ended = true;
            continue;
        };
        let (content, after) = rest.split_at_checked(usize::try_from(header.len).ok()?)?;
        rest = after.get(header.padding()..)?;
        let content = if header.name == DESCRIPTION {
            let value: Value =
                xmlrpc::decode_value(std::str::from_utf8(content).ok()?, &Limits::RESPONSE).ok()?;
            names.in_order(tree(&value))
        } else {
            json!(format!("{:x}", sha2::Sha256::digest(content)))
        };
        members.push((format!("{:03} {}", members.len(), names.name(&header.name)), content));
    }
    let members: serde_json::Map<_, _> = members.into_iter().collect();
    members.keys().next()?.ends_with(DESCRIPTION).then(|| json!({"members": members, "ended": is_ended}))
}

/// New numbers for `Ref:18`, in the order of the objects.
#[derive(Default)]
struct Numbers(HashMap<String, String>);

impl Numbers {
    fn name(&mut self, text: &str) -> String {
        let (name, rest) = text.split_once('/').map_or((text, ""), |(name, rest)| (name, rest));
        if !name.starts_with("Ref:") {
            return text.to_owned();
        }
        let next = self.0.len();
        let name = self.0.entry(name.to_owned()).or_insert_with(|| format!("object {next}")).clone();
        if rest.is_empty() { name } else { format!("{name}/{rest}") }
    }

    /// The description's objects, by the number that each has got.
    fn in_order(&mut self, mut description: Json) -> Json {
        let objects = description["objects"].as_array().cloned().unwrap_or_default();
        for object in &objects {
            self.name(object["id"].as_str().unwrap_or_default());
        }
        // The member `id` of other things has any value.
        let named: serde_json::Map<_, _> = objects
            .into_iter()
            .map(|object| {
                let id = self.name(object["id"].as_str().unwrap_or_default());
                (format!("{id}, a {}", object["class"].as_str().unwrap_or_default()), object)
            })
            .collect();
        description["objects"] = Json::Object(named);
        self.renamed(description)
    }

    fn renamed(&mut self, value: Json) -> Json {
        match value {
            Json::String(text) => Json::String(self.name(&text)),
            Json::Array(items) => items.into_iter().map(|item| self.renamed(item)).collect(),
            Json::Object(map) => map.into_iter().map(|(key, value)| (key, self.renamed(value))).collect(),
            other => other,
        }
    }
}
