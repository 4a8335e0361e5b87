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

/// Requests and answers of the dom0 protocol: read or refused, and what is read is the same when it is written again.
fn protocol(bytes: &[u8]) {
    use dom0_protocol::{CopyDisk, FetchKernel, Inject, RemoveKernels, Reply, Report, WriteDisk};
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
    both_ways::<CopyDisk>(&text);
    both_ways::<FetchKernel>(&text);
    both_ways::<Inject>(&text);
    both_ways::<RemoveKernels>(&text);
    both_ways::<WriteDisk>(&text);
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
        fn any_arguments(text in "([a-z]{0,3}=?[a-z\\PC]{0,3}\0?){0,5}") {
            arguments(text.as_bytes());
        }
    }
}
