//! More hosts like the first one.

use std::collections::{BTreeMap, BTreeSet};

use md5::{Digest, Md5};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::Seed;

/// Copies of the first host and of what belongs to it alone: its CPUs, interfaces, local storage and control domain.
///
/// Copy number `n`, counted from 2, has `-n` behind its name and counts its addresses up by `n - 1`. References and
/// uuids follow from those of the original, so that a world is the same each time.
pub(super) fn copy(objects: &[Seed], n: usize) -> Vec<Seed> {
    let Some(host) = objects.iter().find(|seed| seed.class == "host") else { return Vec::new() };
    let owned = belongings(objects, &host.reference);
    let mut renamed = BTreeMap::new();
    for seed in objects.iter().filter(|seed| owned.contains(seed.reference.as_str())) {
        renamed.insert(seed.reference.clone(), format!("OpaqueRef:{}", derived(&seed.reference, n)));
        if let Some(Json::String(uuid)) = seed.fields.get("uuid") {
            renamed.insert(uuid.clone(), derived(uuid, n).to_string());
        }
    }
    let name = text(host, "name_label").to_owned();
    let copies = objects.iter().filter(|seed| owned.contains(seed.reference.as_str())).map(|seed| Seed {
        class: seed.class.clone(),
        reference: renamed[&seed.reference].clone(),
        fields: seed.fields.iter().map(|(key, value)| (key.clone(), replaced(value, &renamed))).collect(),
    });
    copies.map(|seed| told_apart(seed, &name, n)).collect()
}

/// Everything as it would be in another pool on the same network: under references and uuids of its own.
pub(super) fn elsewhere(objects: &[Seed], n: usize) -> Vec<Seed> {
    let name =
        objects.iter().find(|seed| seed.class == "host").map(|seed| text(seed, "name_label").to_owned());
    let mut renamed = BTreeMap::new();
    for seed in objects {
        renamed.insert(seed.reference.clone(), format!("OpaqueRef:{}", derived(&seed.reference, n)));
        if let Some(Json::String(uuid)) = seed.fields.get("uuid") {
            renamed.insert(uuid.clone(), derived(uuid, n).to_string());
        }
    }
    let copies = objects.iter().map(|seed| Seed {
        class: seed.class.clone(),
        reference: renamed[&seed.reference].clone(),
        fields: seed.fields.iter().map(|(key, value)| (key.clone(), replaced(value, &renamed))).collect(),
    });
    copies.map(|seed| told_apart(seed, name.as_deref().unwrap_or_default(), n)).collect()
}

/// The references of the objects that exist for this host only.
fn belongings<'o>(objects: &'o [Seed], host: &'o str) -> BTreeSet<&'o str> {
    let mut owned = BTreeSet::from([host]);
    loop {
        let before = owned.len();
        for seed in objects {
            let refers = |field: &str| owned.contains(text(seed, field));
            let dom0 = seed.class == "VM" && seed.fields.get("is_control_domain") == Some(&json!(true));
            if refers("host") || dom0 && refers("resident_on") || seed.class != "VM" && refers("VM") {
                owned.insert(&seed.reference);
            }
            if owned.contains(seed.reference.as_str()) && !text(seed, "metrics").is_empty() {
                owned.insert(text(seed, "metrics"));
            }
        }
        for sr in objects.iter().filter(|seed| seed.class == "SR") {
            let mut plugs =
                objects.iter().filter(|seed| seed.class == "PBD" && text(seed, "SR") == sr.reference);
            let shared = sr.fields.get("shared") == Some(&json!(true));
            if !shared && plugs.any(|pbd| owned.contains(pbd.reference.as_str())) {
                owned.insert(&sr.reference);
            }
        }
        if owned.len() == before {
            return owned;
        }
    }
}

fn text<'s>(seed: &'s Seed, field: &str) -> &'s str {
    seed.fields.get(field).and_then(Json::as_str).unwrap_or_default()
}

fn derived(text: &str, n: usize) -> Uuid {
    uuid::Builder::from_md5_bytes(Md5::digest(format!("{text} {n}")).into()).into_uuid()
}

/// A value with the copies' references in it.
fn replaced(value: &Json, renamed: &BTreeMap<String, String>) -> Json {
    match value {
        Json::String(text) => json!(renamed.get(text).unwrap_or(text)),
        Json::Array(items) => Json::Array(items.iter().map(|item| replaced(item, renamed)).collect()),
        Json::Object(map) => {
            Json::Object(map.iter().map(|(key, value)| (key.clone(), replaced(value, renamed))).collect())
        }
        other => other.clone(),
    }
}

/// Gives a copy its own names and addresses.
fn told_apart(mut seed: Seed, name: &str, n: usize) -> Seed {
    for (field, value) in &mut seed.fields {
        let Json::String(text) = value else { continue };
        match field.as_str() {
            "address" | "IP" => *text = counted_up(text, ".", 10, n),
            "MAC" => *text = counted_up(text, ":", 16, n),
            "name_label" | "hostname" | "iscsi_iqn" if text.contains(name) => {
                *text = text.replace(name, &format!("{name}-{n}"));
            }
            _ => {}
        }
    }
    seed
}

/// An address whose last but one part, for MACs, or last part, for IPs, is greater by `n - 1`.
fn counted_up(address: &str, separator: &str, radix: u32, n: usize) -> String {
    let mut parts: Vec<String> = address.split(separator).map(str::to_owned).collect();
    // Interfaces of one host differ in the last byte of their MAC: hosts differ in the one before.
    let place = parts.len().checked_sub(if radix == 16 { 2 } else { 1 });
    if let Some(part) = place.and_then(|place| parts.get_mut(place))
        && let Ok(number) = u8::from_str_radix(part, radix)
    {
        let number = number.wrapping_add(u8::try_from(n - 1).unwrap_or(u8::MAX));
        *part = if radix == 16 { format!("{number:02x}") } else { number.to_string() };
    }
    parts.join(separator)
}
