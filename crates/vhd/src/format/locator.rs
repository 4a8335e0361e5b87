//! Parent locators: where a differencing disk says its parent is.

use std::ops::Range;

use nom::number::complete::{be_u32, be_u64};

use super::footer::{FOOTER_LEN, fields};

/// The kind of path a locator holds, by its code.
///
/// Codes this library does not know are kept: VirtualBox mistypes two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Platform(pub u32);

impl Platform {
    /// Relative Windows path, UTF-16 little-endian.
    pub const W2RU: Self = Self(0x5732_7275);
    /// Absolute Windows path, UTF-16 little-endian (blktap puts a relative one here, too).
    pub const W2KU: Self = Self(0x5732_6b75);
    /// A file URL in UTF-8; the one that blktap and XAPI use.
    pub const MACX: Self = Self(0x4d61_6358);
    /// A Mac alias.
    pub const MAC: Self = Self(0x4d61_6320);
    /// Relative Windows path in an unknown code page; deprecated.
    pub const WI2R: Self = Self(0x5769_3272);
    /// Absolute Windows path in an unknown code page; deprecated.
    pub const WI2K: Self = Self(0x5769_326b);
}

impl std::fmt::Display for Platform {
    /// The four letters, as far as they are letters.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.to_be_bytes().escape_ascii().fmt(f)
    }
}

/// An entry of the dynamic header's locator table; the path itself stands elsewhere in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParentLocator {
    /// The kind of path.
    pub platform: Platform,
    /// Room for the path as it is written in the file: in sectors by the specification, in bytes
    /// by Microsoft, VirtualBox and blktap. [`ParentLocator::space_bytes`] tells.
    pub space: u32,
    /// Length of the path in bytes.
    pub len: u32,
    /// Where the path is, in bytes from the start of the file.
    pub offset: u64,
}

/// Length of an entry in bytes.
pub(super) const LOCATOR_LEN: usize = 24;

impl ParentLocator {
    /// Reads an entry; `None` when the slot is free.
    pub(super) fn parse(bytes: &[u8; LOCATOR_LEN]) -> Option<Self> {
        let ((platform, space, len, _reserved, offset), _) =
            fields(bytes.as_slice(), (be_u32, be_u32, be_u32, be_u32, be_u64), |fields| fields);
        (platform != 0).then_some(Self { platform: Platform(platform), space, len, offset })
    }

    pub(super) fn to_bytes(self) -> [u8; LOCATOR_LEN] {
        let mut out = [0; LOCATOR_LEN];
        out[..4].copy_from_slice(&self.platform.0.to_be_bytes());
        out[4..8].copy_from_slice(&self.space.to_be_bytes());
        out[8..12].copy_from_slice(&self.len.to_be_bytes());
        out[16..].copy_from_slice(&self.offset.to_be_bytes());
        out
    }

    /// The room in bytes: values under 512 are sectors, others must be whole sectors in bytes.
    pub fn space_bytes(self) -> Option<u64> {
        match self.space {
            0 => None,
            sectors @ 1..512 => Some(u64::from(sectors) * 512),
            bytes if bytes % 512 == 0 => Some(u64::from(bytes)),
            _ => None,
        }
    }

    /// Longest path that is read or written, in bytes.
    pub const MAX_LEN: u32 = 4096;

    /// Where the path is in a file of `file_len` bytes; `None` when it cannot be there or is longer
    /// than [`ParentLocator::MAX_LEN`]. Such a locator is passed over, as long as others are left.
    pub fn range(self, file_len: u64) -> Option<Range<u64>> {
        let range = self.offset..self.offset.checked_add(u64::from(self.len))?;
        let fits = (1..=Self::MAX_LEN).contains(&self.len)
            && self.space_bytes().is_some_and(|space| u64::from(self.len) <= space)
            && self.offset >= FOOTER_LEN as u64
            && range.end <= file_len;
        fits.then_some(range)
    }

    /// The path in `bytes`, which stand at [`ParentLocator::range`]; `None` for platforms whose
    /// paths cannot be known, and for what is no path.
    pub fn path(self, bytes: &[u8]) -> Option<ParentPath> {
        match self.platform {
            Platform::W2RU | Platform::W2KU => {
                let (units, _) = bytes.as_chunks::<2>();
                let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
                let text = char::decode_utf16(units).collect::<Result<String, _>>().ok()?;
                ParentPath::new(&text.trim_end_matches('\0').replace('\\', "/"))
            }
            Platform::MACX => {
                let url = str::from_utf8(bytes).ok()?.trim_end_matches('\0');
                let path = url.strip_prefix("file://").unwrap_or(url);
                ParentPath::new(path.strip_prefix("localhost").filter(|p| p.starts_with('/')).unwrap_or(path))
            }
            _ => None,
        }
    }
}

/// A path to a parent, with `/` between names, as locators hold it.
///
/// Whoever wrote the VHD chose it. It must not be opened without confining it: `../../etc/passwd` is
/// a path, too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ParentPath(String);

impl ParentPath {
    /// Takes a path that ends in a file name and has no control characters; a leading `./` goes.
    pub fn new(path: &str) -> Option<Self> {
        let mut path = path;
        while let Some(rest) = path.strip_prefix("./") {
            path = rest.trim_start_matches('/');
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        let usable = !matches!(name, "" | "." | "..") && !path.chars().any(char::is_control);
        usable.then(|| Self(path.to_owned()))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it starts at a root: `/`, a server's share or a Windows drive.
    pub fn is_absolute(&self) -> bool {
        let drive = matches!(self.0.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
        drive || self.0.starts_with('/')
    }

    /// What stands behind the last `/`.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The bytes for a locator of `platform`; `None` when it cannot hold this path.
    ///
    /// Nothing is percent-encoded, and relative paths start with `./` or `.\`: blktap wants both.
    pub fn encode(&self, platform: Platform) -> Option<Vec<u8>> {
        let dot = if self.is_absolute() { "" } else { "./" };
        match platform {
            Platform::MACX => Some(format!("file://{dot}{}", self.0).into_bytes()),
            Platform::W2RU if self.is_absolute() => None,
            Platform::W2RU | Platform::W2KU => {
                let path = format!("{dot}{}", self.0).replace('/', "\\");
                Some(path.encode_utf16().flat_map(u16::to_le_bytes).collect())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(platform: Platform, bytes: &[u8], expected: Option<&str>) {
        let locator = ParentLocator { platform, space: 512, len: 0, offset: 512 };
        assert_eq!(locator.path(bytes).as_ref().map(ParentPath::as_str), expected);
    }

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn paths_as_writers_put_them() {
        // blktap: all three relative, with a dot.
        check(Platform::MACX, b"file://./parent.vhd", Some("parent.vhd"));
        check(Platform::W2KU, &utf16(".\\parent.vhd"), Some("parent.vhd"));
        check(Platform::W2RU, &utf16(".\\sub\\parent.vhd"), Some("sub/parent.vhd"));
        // Hyper-V and VirtualBox: a drive, a bare name, a terminator.
        check(Platform::W2KU, &utf16("C:\\vms\\parent.vhd"), Some("C:/vms/parent.vhd"));
        check(Platform::W2RU, &utf16("parent.vhd\0"), Some("parent.vhd"));
        check(Platform::MACX, b"file://localhost/vms/parent.vhd", Some("/vms/parent.vhd"));
        // An alias, code pages that nobody knows, and the codes that VirtualBox mistypes.
        for platform in [Platform::MAC, Platform::WI2R, Platform::WI2K, Platform(0x4d16_3220)] {
            check(platform, b".\\parent.vhd", None);
        }
        check(Platform(0x4d16_3258), b"file://./parent.vhd", None);
        // No paths.
        check(Platform::MACX, b"file://./a\0\nb.vhd", None);
        check(Platform::MACX, b"file://./\xff.vhd", None);
        check(Platform::W2RU, &[0, 0xd8], None);
        check(Platform::MACX, b"file://..", None);
    }

    #[test]
    fn roots_are_seen() {
        for (path, absolute) in [
            ("/a", true),
            ("C:/a", true),
            ("c:a", true),
            ("//server/a", true),
            ("a:/b/../c", true),
            ("a/b", false),
            ("../a", false),
        ] {
            assert_eq!(ParentPath::new(path).unwrap().is_absolute(), absolute, "{path}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for path in ["p.vhd", "../d/p \u{1f4be}.vhd", "/vms/p.vhd"] {
            let path = ParentPath::new(path).unwrap();
            for platform in [Platform::MACX, Platform::W2KU, Platform::W2RU] {
                if let Some(bytes) = path.encode(platform) {
                    check(platform, &bytes, Some(path.as_str()));
                }
            }
        }
        assert_eq!(ParentPath::new("/vms/p.vhd").unwrap().encode(Platform::W2RU), None);
    }
}
