//! What the fuzz targets do, here so that the tests can run it too.

use std::collections::BTreeMap;

use crate::convention::{Convention, Function};
use crate::partition_table::{SECTOR, Table};
use crate::{pickle, plugins};

/// A pickle that is read, written and read again is the same.
///
/// # Panics
/// If it is not.
pub fn pickle(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(value) = pickle::loads(&text) else { return };
    assert_eq!(pickle::loads(&pickle::dumps(&value)), Ok(value));
}

/// Arguments of every function, plain, pickled and in JSON: read or refused.
///
/// # Panics
/// If a plain call loses an argument, or a request in JSON is another one when it is written again.
pub fn arguments(bytes: &[u8]) {
    protocol(bytes);
    let text = String::from_utf8_lossy(bytes);
    let pairs = text.split('\0').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let map: BTreeMap<String, String> = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    validated(&text);
    for function in plugins::PLUGINS.iter().flat_map(|(_, functions)| *functions) {
        let args = function.arguments(&map);
        if function.convention == Convention::Plain {
            let args = args.expect("texts are arguments");
            assert!(map.iter().all(|(name, value)| args.optional(name) == Some(value)));
        }
        exercise(function, &text);
    }
}

fn exercise(function: &Function, text: &str) {
    for name in ["params", dom0_protocol::ARGUMENT] {
        let _ = function.arguments(&BTreeMap::from([(name.to_owned(), text.to_owned())]));
    }
}

/// A text as what functions take for a device, a folder, a name, an address or a command: what is accepted leads nowhere
/// else and starts nothing else.
fn validated(text: &str) {
    if let Some(device) = plugins::accepted::device(text) {
        let device = device.to_str().expect("a text");
        let rest = device.strip_prefix("/dev/xvd").or(device.strip_prefix("/dev/sm/backend/"));
        let rest = rest.expect("a disk of a guest");
        assert!(rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-/".contains(&b)), "{device}");
    }
    if let Some(folder) = plugins::accepted::sr(text) {
        panic!("{}: no SR is plugged here", folder.display());
    }
    if plugins::accepted::kernel(text) {
        assert!(
            !text.contains('/') && !text.starts_with(['.', '-']) && !text.starts_with("cache-"),
            "{text:?}"
        );
    }
    if plugins::accepted::url(text) {
        let bytes = text.bytes();
        assert!(
            text.starts_with("http")
                && bytes.into_iter().all(|b| b.is_ascii_graphic() && !b"\"'@#\\$`".contains(&b))
        );
        // A line of curl's file stays one.
        assert_eq!(plugins::accepted::option(text), format!("url = \"{text}\""));
    }
    let option = plugins::accepted::option(text);
    assert!(!option.contains(['\n', '\r']) && option.ends_with('"'), "{option:?}");
    if let Some(header) = plugins::accepted::header(text) {
        assert!(!header.contains(['\n', '\r', '\0']), "{header:?}");
    }
    if let Some(script) = plugins::accepted::boot_menu(text) {
        assert!(script.lines().any(|line| line == format!("chain {text}")), "{script}");
    }
    let words: Vec<&str> = text.split(' ').collect();
    if plugins::accepted::command(&words, text) {
        let starts = |word: &&str| word.contains("modprobe") || *word == "exec";
        let of_tables = ["ip", "iptables-restore", "ip6tables-restore", "iptables-save", "ip6tables-save"];
        assert!(!(of_tables.contains(&words[0]) && words.iter().any(starts)), "{text:?}");
        let plain: Vec<&str> = words[1..].iter().copied().filter(|word| !word.starts_with('-')).collect();
        if words[0] == "ip" && plain.first() == Some(&"netns") {
            assert!(plain.len() <= 3 && !text.contains('/') && !plain.contains(&".."), "{text:?}");
        }
        assert!(words[0] != "sysctl" || !text.contains(".."), "{text:?}");
    }
}

/// Requests and answers of the dom0 protocol: read or refused, and what is read is the same when it is written again.
fn protocol(bytes: &[u8]) {
    use dom0_protocol::{
        AutoConfigureDisk, CacheKernel, Cancel, CopyDisk, Describe, FetchKernel, GenerateDisk, Inject,
        PlaceKernel, Progress, RemoveKernels, Reply, Report, ResizeDown, WriteDisk,
    };
    fn both_ways<C: dom0_protocol::Call + PartialEq + std::fmt::Debug>(text: &str) {
        let Ok(request) = dom0_protocol::Request::<C>::decode(text) else { return };
        let again = dom0_protocol::encode(&request.params, request.job.as_deref());
        let again = &again[dom0_protocol::ARGUMENT];
        assert_eq!(dom0_protocol::Request::<C>::decode(again).expect("a request").params, request.params);
        let function = plugins::PLUGINS.iter().flat_map(|(_, functions)| *functions);
        let function = function.filter(|function| function.convention == Convention::Protocol);
        for function in function.filter(|function| function.name == C::FUNCTION) {
            let map = BTreeMap::from([(dom0_protocol::ARGUMENT.to_owned(), again.clone())]);
            assert!(function.arguments(&map).is_ok(), "{}: {again}", C::FUNCTION);
        }
    }
    let text = String::from_utf8_lossy(bytes);
    macro_rules! all {
        ($($call:ty)*) => {
            // A request that is added is tried, too.
            assert_eq!([$(<$call as dom0_protocol::Call>::FUNCTION),*], dom0_protocol::FUNCTIONS);
            $(both_ways::<$call>(&text);)*
        };
    }
    all! {
        Describe Progress Cancel AutoConfigureDisk ResizeDown GenerateDisk CopyDisk WriteDisk CacheKernel PlaceKernel
        RemoveKernels FetchKernel Inject
    }
    if let Ok(reply) = Reply::<Option<Report>>::decode(&text) {
        assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
    }
}

/// Tables that are accepted, resized: only the table's own sectors are written, never one of the partition,
/// and what is read back is what was planned.
///
/// # Panics
/// If one of these does not hold.
pub fn partition_table(bytes: &[u8]) {
    let Some((sizes, head)) = bytes.split_first_chunk::<4>() else { return };
    let sectors = |low: u8, high: u8| 64 + u64::from(u16::from_le_bytes([low, high])) % 2_048;
    let (before, after) = (sectors(sizes[0], sizes[1]), sectors(sizes[2], sizes[3]));
    let mut disk = head.to_vec();
    disk.resize((before * SECTOR) as usize, 0);
    let Ok(table) = Table::parse(&disk, before) else { return };
    let Ok(plan) = table.resize(after) else { return };
    disk.resize((before.max(after) * SECTOR) as usize, 0);
    let kept = plan.partition;
    assert!(kept.start + kept.sectors <= after, "{plan:?}");
    for write in &plan.writes {
        let (first, last) = (write.offset / SECTOR, (write.offset + write.bytes.len() as u64 - 1) / SECTOR);
        assert!(last < kept.start || first >= kept.start + kept.sectors, "{plan:?}");
        disk[write.offset as usize..][..write.bytes.len()].copy_from_slice(&write.bytes);
    }
    let again = Table::parse(&disk[..(after * SECTOR) as usize], after).expect("what was written is a table");
    assert_eq!(again.single(), Ok(kept));
    assert!(again.resize(after).expect("it fits").writes.is_empty());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::partition_table::{PartitionKind, single};

    /// A disk with a table, damaged in some places.
    fn damaged() -> impl Strategy<Value = Vec<u8>> {
        let places = proptest::collection::vec((0_usize..516, any::<u8>()), 0..4);
        (1_u64..64, any::<[u8; 4]>(), places).prop_map(|(start, sizes, places)| {
            let plan = single(start, PartitionKind::Linux, 64).expect("it fits");
            let mut bytes = [sizes.to_vec(), plan.writes[0].bytes.clone()].concat();
            places.into_iter().for_each(|(at, value)| bytes[at] = value);
            bytes
        })
    }

    proptest! {
        #[test]
        fn any_table(bytes in damaged()) {
            partition_table(&bytes);
        }

        #[test]
        fn any_pickle(text in "[(]?d?(p[0-9]\n)?(V[a-c]\n|S'[a-c\\\\n]*'\n|I[0-9]{1,3}\n|N|[(]|s|a|l|t|d|g[0-9]\n){0,12}[.]") {
            pickle(text.as_bytes());
        }

        #[test]
        fn any_request(text in r#"\{"version":\{"major":1,"minor":[0-9]\}(,"job":"[a-z/]{1,3}")?,("params":\{("(dev|source|url|name|digest)":("[a-z\\\\"]{0,2}"|1|null),?|"(size_bytes|max_bytes)":[0-9]{1,20},?|"(names|pieces|zeros|files)":\[(("a"|\[[0-9],[0-9]\]|\["[a-z]","AA=="\]),?)?\],?|"headers":\{("a":"b")?\},?){0,5}\}|"answer":(null|\{"step":"a","done":1,"total":2\}))\}"#) {
            protocol(text.as_bytes());
        }

        #[test]
        fn any_text(text in r#"(/dev/)?(xvd[a-z]{1,3}|sm/backend/[0-9a-f/-]{0,80}|/run/sr-mount/[.a-f0-9/]{0,4}|[a-z./-]{0,6})|https?://[!-~]{0,12}|(cache-|[.-])?[a-z0-9._-]{0,9}|(ip|sysctl|iptables-restore)( (-[a-zM]{1,2}|--mod[a-z=/]{0,8}|netns|exec|net[./a-z]{0,9}=?|[a-z]{1,4})){0,4}|[ -~\n]{0,20}"#) {
            validated(&text);
        }

        #[test]
        fn any_arguments(text in "([a-z]{0,3}=?[a-z\\PC]{0,3}\0?){0,5}") {
            arguments(text.as_bytes());
        }
    }
}
