//! Whose an object is: the `other_config` keys that every object of ours carries.
//!
//! They are all the driver has to find its objects again: there is no database beside XAPI's. XAPI
//! copies `other_config` whenever a disk or a VM is cloned, copied or snapshotted, so the keys alone would
//! make a user's backup of our disk look like ours. Therefore an object is *sealed* as soon as its
//! uuid is known: [`SELF`] holds the object's own uuid, which no copy can match.

use std::collections::BTreeMap;

use uuid::Uuid;

/// The instance's uuid.
pub const INSTANCE: &str = "xenapi-rs:instance";
/// The operation that created the object, one uuid for each call of a verb.
pub const OPERATION: &str = "xenapi-rs:operation";
/// Who created it: the owner name of the driver's configuration.
pub const OWNER: &str = "xenapi-rs:owner";
/// The object's own uuid. Without it the object was being created when its creator went away.
pub const SELF: &str = "xenapi-rs:self";

/// Nova's key on a VM for the instance's uuid.
pub const NOVA_UUID: &str = "nova_uuid";
/// Nova's key on a disk for the instance's uuid.
pub const NOVA_INSTANCE_UUID: &str = "nova_instance_uuid";
/// Nova's key on a disk for its use: `root`, `configdrive`.
pub const NOVA_DISK_TYPE: &str = "nova_disk_type";

/// Names the creator of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) owner: String,
    pub(crate) instance: Uuid,
    pub(crate) operation: Uuid,
}

impl Mark {
    /// Our three keys.
    pub(crate) fn keys(&self) -> BTreeMap<String, String> {
        [
            (INSTANCE, self.instance.to_string()),
            (OPERATION, self.operation.to_string()),
            (OWNER, self.owner.clone()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// Our keys and Nova's, for a VM.
    pub(crate) fn vm_keys(&self) -> BTreeMap<String, String> {
        let mut keys = self.keys();
        keys.insert(NOVA_UUID.to_owned(), self.instance.to_string());
        keys
    }

    /// Our keys and Nova's, for a disk used as `disk_type`.
    pub(crate) fn disk_keys(&self, disk_type: &str) -> BTreeMap<String, String> {
        let mut keys = self.keys();
        keys.insert(NOVA_INSTANCE_UUID.to_owned(), self.instance.to_string());
        keys.insert(NOVA_DISK_TYPE.to_owned(), disk_type.to_owned());
        keys
    }
}

/// Whether an object was created by `owner` for `instance`, and is no copy of such an object.
///
/// `uuid` is the object's own.
pub(crate) fn is_ours<'a>(
    other_config: impl IntoIterator<Item = (&'a String, &'a String)>,
    uuid: &str,
    owner: &str,
    instance: Uuid,
) -> bool {
    let instance = instance.to_string();
    let (mut has_owner, mut has_instance, mut sealed_for_another) = (false, false, false);
    for (key, value) in other_config {
        match key.as_str() {
            OWNER => has_owner = value == owner,
            INSTANCE => has_instance = *value == instance,
            SELF => sealed_for_another = value != uuid,
            _ => {}
        }
    }
    has_owner && has_instance && !sealed_for_another
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_made_is_ours() {
        let mark =
            Mark { owner: "cloud-1".into(), instance: Uuid::from_u128(7), operation: Uuid::from_u128(9) };
        let with = |extra: &[(&str, &str)]| {
            let mut keys = mark.disk_keys("root");
            keys.extend(extra.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
            keys
        };
        let ours = |keys: &BTreeMap<String, String>| is_ours(keys, "u-1", "cloud-1", mark.instance);
        assert!(ours(&with(&[(SELF, "u-1")])));
        assert!(ours(&with(&[])), "created, not sealed yet");
        assert!(!ours(&with(&[(SELF, "u-0")])), "a copy carries its original's seal");
        assert!(!ours(&with(&[(OWNER, "cloud-2")])));
        assert!(!ours(&with(&[(INSTANCE, "another")])));
        assert!(!ours(&BTreeMap::from([(NOVA_INSTANCE_UUID.to_owned(), mark.instance.to_string())])));
        assert!(!ours(&BTreeMap::new()));
    }
}
