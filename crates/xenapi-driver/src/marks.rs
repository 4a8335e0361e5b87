//! The marks on disks of which snapshots and clones are made.
//!
//! A snapshot or a clone has the keys of its original until it gets its own. If the answer to the call is
//! lost, or the program ends before that, it has to be found all the same: so the original has a key
//! meanwhile, with the operation, whose value is its uuid. XAPI copies it, into ours and into whatever
//! somebody else makes of the disk in that moment. An operation makes at most one of each original: where it
//! has said of one that it is its own, all others are somebody else's; and where there is one only, that
//! nobody uses and that is called as its original is, it is the operation's. But a mark may stay for days
//! after a program has died before it made anything: a snapshot of later days is not taken for the operation's.

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

/// For how long after its beginning an operation may have taken a snapshot.
const SOON_SECONDS: i64 = 3600;

/// Whether a snapshot may be of an operation's time, both by the pool's clock. What has no date may be.
fn is_of_its_time(disk: &VdiRecord, operation: Uuid) -> bool {
    let began = operation.get_timestamp().and_then(|time| i64::try_from(time.to_unix().0).ok());
    let taken = disk.snapshot_time.unix_micros().ok().map(|micros| micros / 1_000_000);
    !disk.is_a_snapshot || began.zip(taken).is_none_or(|(began, taken)| taken <= began + SOON_SECONDS)
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
            1 if looks_alike && is_of_its_time(disk, operation) => Marked::Made,
            _ => Marked::Unknown,
        }
    };
    marked().map(|(reference, disk)| (reference, disk, judge(disk))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::{NoContext, Timestamp};
    use xenapi_storage::ownership::{self, Ownership};
    use xenapi_types::{DateTime, Vbd};

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

    /// An operation that began at ten, and died before it made anything; and who takes a snapshot afterwards.
    #[test]
    fn a_snapshot_of_another_day_is_not_the_operations() {
        let ten = Timestamp::from_unix(NoContext, 1_700_000_000, 0);
        let operation = Uuid::new_v7(ten);
        for (later, is_a_snapshot, expected) in [
            (1, true, Marked::Made),
            (-30, true, Marked::Made),
            (SOON_SECONDS + 1, true, Marked::Unknown),
            (86_400, true, Marked::Unknown),
            // A clone has no date.
            (86_400, false, Marked::Made),
        ] {
            let mut copy = disk("a", None);
            copy.is_a_snapshot = is_a_snapshot;
            copy.snapshot_time = DateTime::from_unix_seconds(1_700_000_000 + later);
            let disks = BTreeMap::from([
                (Ref::from("OpaqueRef:0".to_owned()), disk("original", None)),
                (Ref::from("OpaqueRef:1".to_owned()), copy),
            ]);
            let judged = sort(&disks, KEY, operation)[1].2;
            assert_eq!(judged, expected, "{later} s later, {is_a_snapshot}");
        }
    }
}
