//! Whose an object is: the `other_config` keys that every object of ours carries.
//!
//! They are all there is to find our objects again by; there is no database beside XAPI's. XAPI copies
//! `other_config` whenever a disk or a VM is cloned, copied or snapshotted, so that these keys alone
//! would make a user's backup of our disk look like ours. Therefore an object is sealed as soon as its
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

/// On a snapshot that stays, so that the next backup can be based on it. It ends with its instance.
pub const KEPT: &str = "xenapi-rs:kept";

/// On a VM that is still being made: without it, the instance is complete. On a drive or an interface that is being
/// attached or detached, with the operation: without it, what is unplugged was unplugged by somebody.
pub const UNFINISHED: &str = "xenapi-rs:unfinished";

/// Nova's key on a VM for the instance's uuid.
pub const NOVA_UUID: &str = "nova_uuid";
/// Nova's key on a disk for the instance's uuid.
pub const NOVA_INSTANCE_UUID: &str = "nova_instance_uuid";
/// Nova's key on a disk for its use.
pub const NOVA_DISK_TYPE: &str = "nova_disk_type";

/// Who created an object, for which instance, in which operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// The owner name of the driver's configuration.
    pub owner: String,
    /// The instance.
    pub instance: Uuid,
    /// The operation.
    pub operation: Uuid,
}

/// What a disk is used for, in Nova's words: its `nova_disk_type` and `name_description`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskUse {
    /// The root disk.
    Root,
    /// The swap disk.
    Swap,
    /// A disk that ends with its instance.
    Ephemeral,
    /// A disc image to install from.
    Iso,
    /// A blank root disk to install on.
    User,
    /// The config drive.
    ConfigDrive,
}

/// What the keys of an object say about whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// None of our keys: it is somebody else's.
    None,
    /// Created as this says, and it is that very object.
    Original(Ownership),
    /// Created as this says, by someone who went away before its uuid was written to it, or a copy of
    /// such an object.
    Unsealed(Ownership),
    /// A copy of an object of ours: it belongs to whoever made it.
    Copy(Ownership),
    /// Some of our keys, but not all, or not as we write them. It must be left alone.
    Broken,
}

impl DiskUse {
    /// Nova's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Swap => "swap",
            Self::Ephemeral => "ephemeral",
            Self::Iso => "iso",
            Self::User => "user",
            Self::ConfigDrive => "configdrive",
        }
    }
}

impl Ownership {
    /// Our keys, for any object.
    pub fn keys(&self) -> BTreeMap<String, String> {
        [
            (INSTANCE, self.instance.to_string()),
            (OPERATION, self.operation.to_string()),
            (OWNER, self.owner.clone()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// Our keys and Nova's, for a VM.
    pub fn vm_keys(&self) -> BTreeMap<String, String> {
        let mut keys = self.keys();
        keys.insert(NOVA_UUID.to_owned(), self.instance.to_string());
        keys
    }

    /// Our keys and Nova's, for a disk.
    pub fn disk_keys(&self, disk_use: DiskUse) -> BTreeMap<String, String> {
        let mut keys = self.keys();
        keys.insert(NOVA_INSTANCE_UUID.to_owned(), self.instance.to_string());
        keys.insert(NOVA_DISK_TYPE.to_owned(), disk_use.as_str().to_owned());
        keys
    }
}

impl Claim {
    /// Reads the `other_config` of the object with this uuid.
    pub fn read(other_config: &BTreeMap<String, String>, object_uuid: &str) -> Self {
        let value = |key: &str| other_config.get(key).map(String::as_str);
        let keys = (value(OWNER), value(INSTANCE), value(OPERATION), value(SELF));
        let (owner, instance, operation, sealed) = match keys {
            (None, None, None, None) => return Self::None,
            (Some(owner), Some(instance), Some(operation), sealed) => (owner, instance, operation, sealed),
            _ => return Self::Broken,
        };
        let (Ok(instance), Ok(operation)) = (instance.parse(), operation.parse()) else {
            return Self::Broken;
        };
        let ownership = Ownership { owner: owner.to_owned(), instance, operation };
        match sealed {
            None => Self::Unsealed(ownership),
            Some(uuid) if uuid == object_uuid => Self::Original(ownership),
            Some(_) => Self::Copy(ownership),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ownership() -> Ownership {
        Ownership { owner: "cloud-1".into(), instance: Uuid::from_u128(7), operation: Uuid::from_u128(9) }
    }

    fn with(change: impl FnOnce(&mut BTreeMap<String, String>)) -> Claim {
        let mut keys = ownership().disk_keys(DiskUse::Root);
        change(&mut keys);
        Claim::read(&keys, "u-1")
    }

    #[test]
    fn claims() {
        let insert = |key: &str, value: &str| {
            with(|keys| {
                keys.insert(key.into(), value.into());
            })
        };
        let remove = |key: &str| {
            with(|keys| {
                keys.remove(key);
            })
        };
        assert_eq!(insert(SELF, "u-1"), Claim::Original(ownership()));
        assert_eq!(insert(SELF, "u-0"), Claim::Copy(ownership()));
        assert_eq!(insert("x", "y"), Claim::Unsealed(ownership()));
        assert_eq!(insert(INSTANCE, "no uuid"), Claim::Broken);
        assert_eq!(remove(OWNER), Claim::Broken);
        assert_eq!(remove(OPERATION), Claim::Broken);
        assert_eq!(Claim::read(&BTreeMap::new(), "u-1"), Claim::None);
        let novas = [(NOVA_INSTANCE_UUID, "7"), (NOVA_DISK_TYPE, "root")].map(|(k, v)| (k.into(), v.into()));
        assert_eq!(Claim::read(&novas.into(), "u-1"), Claim::None);
        assert_eq!(Claim::read(&[(SELF.to_owned(), "u-1".to_owned())].into(), "u-1"), Claim::Broken);
    }

    #[test]
    fn novas_keys() {
        let keys = ownership().disk_keys(DiskUse::ConfigDrive);
        assert_eq!(keys[NOVA_DISK_TYPE], "configdrive");
        assert_eq!(keys[NOVA_INSTANCE_UUID], "00000000-0000-0000-0000-000000000007");
        assert_eq!(ownership().vm_keys()[NOVA_UUID], keys[NOVA_INSTANCE_UUID]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(owner in any::<String>(), instance in any::<u128>(), operation in any::<u128>()) {
            let (instance, operation) = (Uuid::from_u128(instance), Uuid::from_u128(operation));
            let ownership = Ownership { owner, instance, operation };
            prop_assert_eq!(Claim::read(&ownership.vm_keys(), "u"), Claim::Unsealed(ownership));
        }
    }
}
