//! The marks on disks of which snapshots and clones are made.
//!
//! A snapshot or a clone has the keys of its original until it gets its own. If the answer to the call is
//! lost, or the program ends before that, it has to be found all the same: so the original has a key
//! meanwhile, with the operation, whose value is its uuid. XAPI copies it, into ours and into whatever
//! somebody else makes of the disk in that moment. An operation makes at most one of each original: where it
//! has said of one that it is its own, all others are somebody else's; and where there is one only, that
//! nobody uses and that is called as its original is, it is the operation's.

use std::collections::BTreeMap;

use uuid::Uuid;
use xenapi_storage::ownership::Claim;
use xenapi_types::{Ref, Vdi, VdiRecord};

/// What an object with a mark is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marked {
    /// That which something is made of.
    Original,
    /// What the operation has made.
    Made,
    /// What somebody else has made.
    Theirs,
    /// The one or the other.
    Unknown,
}

/// Whether an operation made this object, which is no copy of one that it made.
pub(crate) fn made_by(other_config: &BTreeMap<String, String>, uuid: &str, operation: Uuid) -> bool {
    match Claim::read(other_config, uuid) {
        Claim::Original(maker) | Claim::Unsealed(maker) => maker.operation == operation,
        Claim::None | Claim::Copy(_) | Claim::Broken => false,
    }
}

/// What the disks with a mark are, among all that there are.
pub(crate) fn sort<'a>(
    disks: &'a BTreeMap<Ref<Vdi>, VdiRecord>,
    key: &str,
    operation: Uuid,
) -> Vec<(&'a Ref<Vdi>, &'a VdiRecord, Marked)> {
    let has_made = |disk: &VdiRecord| made_by(&disk.other_config, &disk.uuid, operation);
    let marked = || disks.iter().filter(|(_, disk)| disk.managed && disk.other_config.contains_key(key));
    let judge = |disk: &VdiRecord| {
        let of = &disk.other_config[key];
        let is_original = |disk: &VdiRecord| disk.uuid == *of;
        let is_copy = |disk: &VdiRecord| {
            disk.other_config.get(key) == Some(of) && !is_original(disk) && !has_made(disk)
        };
        let original = disks.iter().find(|(_, disk)| is_original(disk));
        let is_made = |disk: &VdiRecord| {
            let is_of = original.is_some_and(|(original, _)| disk.snapshot_of == *original);
            has_made(disk) && !is_original(disk) && (is_of || disk.other_config.get(key) == Some(of))
        };
        if is_original(disk) {
            return Marked::Original;
        }
        if has_made(disk) {
            return Marked::Made;
        }
        if !disk.vbds.is_empty() || disks.values().any(is_made) {
            return Marked::Theirs;
        }
        let looks_alike = original.is_none_or(|(_, original)| disk.name_label == original.name_label);
        match disks.values().filter(|disk| is_copy(disk) && disk.vbds.is_empty()).count() {
            1 if looks_alike => Marked::Made,
            _ => Marked::Unknown,
        }
    };
    marked().map(|(reference, disk)| (reference, disk, judge(disk))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use xenapi_storage::ownership::{self, Ownership};
    use xenapi_types::Vbd;

    const KEY: &str = "xenapi-rs:resize:7";
    const OPERATION: Uuid = Uuid::from_u128(7);

    fn disk(uuid: &str, sealed: Option<(&str, Uuid)>) -> VdiRecord {
        let mut disk = VdiRecord::default();
        (disk.uuid, disk.managed, disk.name_label) = (uuid.into(), true, "web1".into());
        disk.other_config.insert(KEY.into(), "original".into());
        if let Some((as_uuid, operation)) = sealed {
            let (owner, instance) = ("me".into(), Uuid::nil());
            disk.other_config.extend(Ownership { owner, instance, operation }.keys());
            disk.other_config.insert(ownership::SELF.into(), as_uuid.into());
        }
        disk
    }

    #[test]
    fn only_what_is_surely_the_operations_is_taken_for_it() {
        let spawn = Uuid::from_u128(1);
        let original = || disk("original", Some(("original", spawn)));
        let copy = |uuid| disk(uuid, Some(("original", spawn)));
        let made = |uuid| disk(uuid, Some((uuid, OPERATION)));
        let used = |mut disk: VdiRecord| {
            disk.vbds = vec![Ref::<Vbd>::NULL];
            disk
        };
        let renamed = |mut disk: VdiRecord| {
            disk.name_label = "a backup".into();
            disk
        };
        let kept = |mut disk: VdiRecord| {
            disk.other_config.remove(KEY);
            disk.snapshot_of = Ref::from("OpaqueRef:0".to_owned());
            disk
        };
        for (what, disks, expected) in [
            ("nothing else", vec![original()], vec![Marked::Original]),
            ("the one", vec![original(), copy("a")], vec![Marked::Original, Marked::Made]),
            (
                "of a volume",
                vec![disk("original", None), disk("a", None)],
                vec![Marked::Original, Marked::Made],
            ),
            (
                "two",
                vec![original(), copy("a"), copy("b")],
                vec![Marked::Original, Marked::Unknown, Marked::Unknown],
            ),
            (
                "beside its own",
                vec![original(), made("a"), copy("b")],
                vec![Marked::Original, Marked::Made, Marked::Theirs],
            ),
            (
                "beside one that is kept",
                vec![original(), kept(made("a")), copy("b")],
                vec![Marked::Original, Marked::Theirs],
            ),
            (
                "a VM's",
                vec![original(), used(copy("a")), copy("b")],
                vec![Marked::Original, Marked::Theirs, Marked::Made],
            ),
            ("renamed", vec![original(), renamed(copy("a"))], vec![Marked::Original, Marked::Unknown]),
        ] {
            let disks =
                disks.into_iter().enumerate().map(|(n, disk)| (Ref::from(format!("OpaqueRef:{n}")), disk));
            let disks: BTreeMap<Ref<Vdi>, VdiRecord> = disks.collect();
            let sorted: Vec<_> =
                sort(&disks, KEY, OPERATION).into_iter().map(|(.., marked)| marked).collect();
            assert_eq!(sorted, expected, "{what}");
        }
    }
}
