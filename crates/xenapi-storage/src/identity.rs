//! The uuids of storage repositories that several parties must find under the same name.

use uuid::{Uuid, uuid};

/// Nova's namespace: `uuid5(nil, "volume_utils-SR_UUID")`.
const NOVA_SR_NAMESPACE: Uuid = uuid!("3cca4135-a809-5bb3-af62-275fbfe87178");

/// The uuid of the SR of an iSCSI target, as Nova computes it: whoever attaches a volume of the same target
/// comes to the same SR, and finds it again without a note.
///
/// `host` is an IPv4 address, an IPv6 address without brackets, or a name.
pub fn iscsi_sr_uuid(host: &str, port: u16, iqn: &str) -> Uuid {
    Uuid::new_v5(&NOVA_SR_NAMESPACE, format!("{host}/{port}/{iqn}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn novas_vector() {
        assert_eq!(NOVA_SR_NAMESPACE, Uuid::new_v5(&Uuid::nil(), b"volume_utils-SR_UUID"));
        let uuid = iscsi_sr_uuid("127.0.0.1", 3260, "iqn.2010-10.org.openstack:volume-00000001");
        assert_eq!(uuid, uuid!("720a7f2c-2324-5adb-be82-25f67fd3f33e"));
    }
}
