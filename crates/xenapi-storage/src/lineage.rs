//! What disks on a VHD repository have to do with each other.
//!
//! Each snapshot or clone puts what there was into a hidden base copy, and two disks on top of it. `sm_config` says
//! which base copy a disk is built on (`vhd-parent`, its uuid). The repository's garbage collector merges a base copy
//! with its parent when nothing else is built on that, some minutes later.

use std::collections::BTreeMap;

use xenapi_types::{Ref, SrRecord, Vdi, VdiRecord};

/// The key in a disk's `sm_config` with the uuid of what it is built on.
pub const VHD_PARENT: &str = "vhd-parent";
/// Nova's key on a disk that is a cached image, which is never written to.
pub const IMAGE_ID: &str = "image-id";

/// All disks, by reference.
pub type Disks = BTreeMap<Ref<Vdi>, VdiRecord>;

/// The uuids of what a disk is built on, down to the root.
pub fn ancestors(disks: &Disks, disk: &VdiRecord) -> Vec<String> {
    let mut chain: Vec<String> = Vec::new();
    let mut parent = disk.sm_config.get(VHD_PARENT);
    // A record that leads in a circle is not followed for ever.
    while let Some(uuid) = parent.filter(|uuid| !chain.contains(uuid)) {
        chain.push(uuid.clone());
        let below = disks.values().find(|other| other.uuid == *uuid && other.sr == disk.sr);
        parent = below.and_then(|record| record.sm_config.get(VHD_PARENT));
    }
    chain
}

/// What all of a disk takes where it is, in bytes: itself and what it is built on, all of which a copy to another repository
/// has to hold. That is less where they have the same blocks. `None` when something that it is built on is unknown.
pub fn whole_bytes(disks: &Disks, disk: &VdiRecord) -> Option<u64> {
    let bytes = |disk: &VdiRecord| u64::try_from(disk.physical_utilisation).unwrap_or(0);
    ancestors(disks, disk).iter().try_fold(bytes(disk), |sum, uuid| {
        let below = disks.values().find(|other| other.uuid == *uuid && other.sr == disk.sr)?;
        Some(sum.saturating_add(bytes(below)))
    })
}

/// Disks that show what a snapshot was at earlier times, the newest first: snapshots and cached images that are built
/// on something that the snapshot is built on as well, and are not written to.
///
/// Base copies themselves cannot be read through XAPI; these can.
pub fn versions(disks: &Disks, snapshot: &VdiRecord) -> Vec<Ref<Vdi>> {
    let chain = ancestors(disks, snapshot);
    // What is built on the nearest one has the same content.
    let older = chain.iter().skip(1).filter_map(|ancestor| {
        disks.iter().find(|(_, other)| {
            other.managed
                && other.sr == snapshot.sr
                && other.uuid != snapshot.uuid
                && other.virtual_size <= snapshot.virtual_size
                && other.sm_config.get(VHD_PARENT) == Some(ancestor)
                && (other.is_a_snapshot || other.vbds.is_empty() && other.other_config.contains_key(IMAGE_ID))
        })
    });
    older.map(|(reference, _)| reference.clone()).collect()
}

/// Whether the garbage collector will merge what a snapshot has just split: the new base copy has a parent that
/// nothing else is built on. `before` is what the disk was built on before the snapshot.
pub fn will_coalesce(disks: &Disks, sr: &SrRecord, before: &[String]) -> bool {
    let off = |key: &str| sr.other_config.get(key).is_some_and(|value| value == "false");
    let Some(parent) = before.first() else { return false };
    let children = disks.values().filter(|disk| disk.sm_config.get(VHD_PARENT) == Some(parent)).count();
    children == 1 && !off("gc") && !off("coalesce")
}

/// Whether that has happened, by the disk's record.
pub fn has_coalesced(disk: &VdiRecord, before: &[String]) -> bool {
    disk.sm_config.get(VHD_PARENT).is_none_or(|parent| before.contains(parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Disks as `(uuid, parent, kind)`: `h`idden, `d`isk, `s`napshot, cached `i`mage.
    fn disks(of: &[(&str, &str, char)]) -> Disks {
        let record = |(uuid, parent, kind): &(&str, &str, char)| {
            let mut record = VdiRecord::default();
            (record.uuid, record.virtual_size) = ((*uuid).to_owned(), 1);
            record.managed = *kind != 'h';
            record.is_a_snapshot = *kind == 's';
            if *kind == 'i' {
                record.other_config.insert(IMAGE_ID.to_owned(), "7".to_owned());
            }
            if !parent.is_empty() {
                record.sm_config.insert(VHD_PARENT.to_owned(), (*parent).to_owned());
            }
            (Ref::from(format!("OpaqueRef:{uuid}")), record)
        };
        of.iter().map(record).collect()
    }

    fn of<'a>(disks: &'a Disks, uuid: &str) -> &'a VdiRecord {
        disks.values().find(|disk| disk.uuid == uuid).unwrap()
    }

    #[test]
    fn earlier_times() {
        // A cached image; a disk cloned from it; snapshots of that after it was written to.
        let all = disks(&[
            ("image", "b0", 'i'),
            ("b0", "", 'h'),
            ("b1", "b0", 'h'),
            ("s1", "b1", 's'),
            ("b2", "b1", 'h'),
            ("disk", "b2", 'd'),
            ("s2", "b2", 's'),
            ("other", "b1", 'd'),
        ]);
        assert_eq!(ancestors(&all, of(&all, "s2")), ["b2", "b1", "b0"]);
        let names = |uuid: &str| -> Vec<String> {
            versions(&all, of(&all, uuid)).iter().map(|reference| all[reference].uuid.clone()).collect()
        };
        assert_eq!(names("s2"), ["s1", "image"]);
        assert_eq!(names("s1"), ["image"]);
        assert_eq!(names("image"), Vec::<String>::new());
        let circle = disks(&[("a", "b", 'd'), ("b", "a", 'h')]);
        assert_eq!(ancestors(&circle, of(&circle, "a")), ["b", "a"]);
    }

    #[test]
    fn what_a_whole_disk_takes() {
        let mut all =
            disks(&[("base", "", 'h'), ("b1", "base", 'h'), ("disk", "b1", 'd'), ("lost", "gone", 'd')]);
        let sizes = [("base", 500), ("b1", 70), ("disk", 3), ("lost", 9)];
        for record in all.values_mut() {
            let size = sizes.iter().find(|(uuid, _)| record.uuid == *uuid);
            record.physical_utilisation = size.map_or(-1, |(_, bytes)| *bytes);
        }
        for (uuid, wanted) in [("base", Some(500)), ("b1", Some(570)), ("disk", Some(573)), ("lost", None)] {
            assert_eq!(whole_bytes(&all, of(&all, uuid)), wanted, "{uuid}");
        }
        // Some repositories do not tell.
        let unknown = disks(&[("disk", "", 'd')]);
        assert_eq!(whole_bytes(&unknown, of(&unknown, "disk")), Some(0));
    }

    #[test]
    fn when_there_is_something_to_wait_for() {
        let before = ["p".to_owned(), "q".to_owned()];
        let alone = disks(&[("p", "q", 'h'), ("b", "p", 'h'), ("disk", "b", 'd'), ("s", "b", 's')]);
        let shared = disks(&[("p", "q", 'h'), ("b", "p", 'h'), ("i", "p", 'i'), ("disk", "b", 'd')]);
        let mut sr = SrRecord::default();
        assert!(will_coalesce(&alone, &sr, &before));
        assert!(!will_coalesce(&shared, &sr, &before));
        assert!(!will_coalesce(&alone, &sr, &[]));
        assert!(!has_coalesced(of(&alone, "disk"), &before));
        let merged = disks(&[("p", "q", 'h'), ("disk", "p", 'd'), ("lone", "", 'd')]);
        assert!(has_coalesced(of(&merged, "disk"), &before) && has_coalesced(of(&merged, "lone"), &before));
        sr.other_config.insert("coalesce".to_owned(), "false".to_owned());
        assert!(!will_coalesce(&alone, &sr, &before));
    }
}
