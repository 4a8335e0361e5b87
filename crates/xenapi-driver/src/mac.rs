//! Addresses for interfaces that were given none.

use config_drive::MacAddr;
use uuid::Uuid;

use crate::spec::MacChoice;

/// The address of interface number `device` of `instance`, different from all in `taken`.
///
/// A generated address depends on nothing but the arguments: planning twice gives the same one.
pub(crate) fn choose(choice: MacChoice, instance: Uuid, device: usize, taken: &[MacAddr]) -> MacAddr {
    let seed = instance.as_u128();
    let seed = (seed as u64) ^ ((seed >> 64) as u64) ^ (device as u64).rotate_left(32);
    (0..)
        .filter_map(|attempt: u64| {
            let [a, b, c, d, e, f, ..] = mix(seed.wrapping_add(attempt)).to_be_bytes();
            match choice {
                MacChoice::Given(mac) => return Some(mac),
                // Bit 0 of the first octet means a group, bit 1 a locally administered address.
                MacChoice::Local => MacAddr::new([a & 0xfc | 0x02, b, c, d, e, f]).ok(),
                MacChoice::XenSource => MacAddr::new([0x00, 0x16, 0x3e, d & 0x7f, e, f]).ok(),
            }
            .filter(|mac| !taken.contains(mac))
        })
        .next()
        .expect("fewer interfaces than addresses")
}

/// The finaliser of SplitMix64: every bit of the result depends on every bit of the input.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_addresses() {
        let instance = Uuid::from_u128(0x1234_5678_9abc_def0_0011_2233_4455_6677);
        let local = choose(MacChoice::Local, instance, 0, &[]);
        assert_eq!(local, choose(MacChoice::Local, instance, 0, &[]));
        assert!(
            matches!(local.to_string().as_bytes()[1], b'2' | b'6' | b'a' | b'e'),
            "local, not a group: {local}"
        );
        assert_ne!(local, choose(MacChoice::Local, instance, 1, &[]));
        assert_ne!(local, choose(MacChoice::Local, instance, 0, &[local]));
        let xen = choose(MacChoice::XenSource, instance, 0, &[]);
        assert!(xen.to_string().starts_with("00:16:3e:"), "{xen}");
        let given = MacAddr::new([0, 1, 2, 3, 4, 5]).unwrap();
        assert_eq!(choose(MacChoice::Given(given), instance, 0, &[given]), given);
    }
}
