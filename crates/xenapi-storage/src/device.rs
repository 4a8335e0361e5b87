//! The numbers of a VM's disks, and the names guests see.
//!
//! A disk's place in a VM is its VBD's `userdevice`, a number that XAPI also accepts as a device name:
//! `0`, `xvda`, `hda` and `sda` are one place.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The place of a disk in a VM: a number from 0 to 254.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserDevice(u8);

/// Text that is no place of a disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not the place of a disk in a VM: give a number from 0 to 254 or a name such as \"xvdb\""
)]
#[non_exhaustive]
pub struct InvalidUserDevice {
    /// The text.
    pub text: String,
}

// Where OpenStack Nova puts the disks of an instance. HVM guests see only the first four until their
// paravirtual drivers are loaded, so that what a guest needs to boot comes first.
impl UserDevice {
    /// The root disk.
    pub const ROOT: Self = Self(0);
    /// The disc that an instance is installed from.
    pub const BOOT_CD: Self = Self(1);
    /// The instance's own root disk while it is being rescued.
    pub const RESCUED_ROOT: Self = Self(1);
    /// The swap disk.
    pub const SWAP: Self = Self(2);
    /// The config drive.
    pub const CONFIG_DRIVE: Self = Self(3);
    /// The first ephemeral disk; the others follow.
    pub const FIRST_EPHEMERAL: Self = Self(4);
    /// The last place there is.
    pub const LAST: Self = Self(254);

    /// The place with this number, if there is one.
    pub const fn new(number: u8) -> Option<Self> {
        if number <= Self::LAST.0 { Some(Self(number)) } else { None }
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// What a Linux guest with paravirtual drivers calls the disk: `xvda` to `xvdz`, then `xvdaa` and on.
    pub fn linux_name(self) -> String {
        match (self.0 / 26, char::from(b'a' + self.0 % 26)) {
            (0, last) => format!("xvd{last}"),
            (n, last) => format!("xvd{}{last}", char::from(b'a' + n - 1)),
        }
    }
}

/// The lowest place from `first` on that the VM can have a disk in and has none.
///
/// `allowed` is what `VM.get_allowed_VBD_devices` returns, which may or may not leave out the places that
/// are taken; `taken` is the `userdevice` of each of the VM's VBDs. Text that is no place, such as
/// `autodetect`, is passed over.
pub fn next_free<'a>(
    allowed: impl IntoIterator<Item = &'a str>,
    taken: impl IntoIterator<Item = &'a str>,
    first: UserDevice,
) -> Option<UserDevice> {
    let places = |text: &str| text.parse::<UserDevice>().ok();
    let taken: BTreeSet<_> = taken.into_iter().filter_map(places).collect();
    allowed.into_iter().filter_map(places).filter(|place| *place >= first && !taken.contains(place)).min()
}

impl fmt::Display for UserDevice {
    /// The number, as XAPI stores it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for UserDevice {
    type Err = InvalidUserDevice;

    /// Accepts a number, or a name of a whole disk with or without `/dev/`.
    fn from_str(text: &str) -> Result<Self, InvalidUserDevice> {
        let invalid = || InvalidUserDevice { text: text.to_owned() };
        let number = if text.starts_with(|c: char| c.is_ascii_digit()) {
            text.parse().ok()
        } else {
            let name = text.strip_prefix("/dev/").unwrap_or(text);
            ["xvd", "hd", "sd"].into_iter().find_map(|bus| name.strip_prefix(bus)).and_then(number_of_letters)
        };
        number.and_then(Self::new).ok_or_else(invalid)
    }
}

fn number_of_letters(letters: &str) -> Option<u8> {
    let value = |letter: &u8| letter.is_ascii_lowercase().then(|| u16::from(letter - b'a'));
    let number = match letters.as_bytes() {
        [only] => value(only)?,
        [first, last] => (value(first)? + 1) * 26 + value(last)?,
        _ => return None,
    };
    number.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (number, name) in [
            (0, "xvda"),
            (3, "xvdd"),
            (25, "xvdz"),
            (26, "xvdaa"),
            (51, "xvdaz"),
            (52, "xvdba"),
            (254, "xvdiu"),
        ] {
            assert_eq!(UserDevice::new(number).unwrap().linux_name(), name);
        }
        for number in 0..=254 {
            let place = UserDevice::new(number).unwrap();
            assert_eq!(place.linux_name().parse(), Ok(place));
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        assert_eq!(UserDevice::new(255), None);
    }

    #[test]
    fn text() {
        for (text, expected) in [
            ("0", Some(0)),
            ("15", Some(15)),
            ("254", Some(254)),
            ("255", None),
            ("256", None),
            ("-1", None),
            ("+1", None),
            ("1x", None),
            ("hda", Some(0)),
            ("sdb", Some(1)),
            ("/dev/xvdc", Some(2)),
            ("xvda1", None),
            ("xvdiv", None),
            ("xvdzz", None),
            ("xvdaaa", None),
            ("xvd", None),
            ("xvdA", None),
            ("vda", None),
            ("autodetect", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<UserDevice>().ok().map(UserDevice::number), expected, "{text:?}");
        }
    }

    #[test]
    fn free_places() {
        let allowed = ["0", "1", "2", "3", "4", "5", "10"];
        for (taken, first, expected) in [
            (&[][..], UserDevice::ROOT, Some(0)),
            (&["0", "xvdb", "autodetect"], UserDevice::ROOT, Some(2)),
            (&["hdc"], UserDevice::SWAP, Some(3)),
            (&["4", "5"], UserDevice::FIRST_EPHEMERAL, Some(10)),
            (&["4", "5", "10"], UserDevice::FIRST_EPHEMERAL, None),
        ] {
            let found = next_free(allowed, taken.iter().copied(), first);
            assert_eq!(found.map(UserDevice::number), expected, "{taken:?}");
        }
        assert_eq!(
            next_free(["10", "9", "100"], [], UserDevice::ROOT),
            UserDevice::new(9),
            "as numbers, not as text"
        );
    }
}
