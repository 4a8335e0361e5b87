//! What a partition holds, read from its first bytes: kind, size, and what e2fsprogs has to know about it.

/// How much of a partition is looked at.
pub const HEAD_BYTES: usize = 0x1_1000;

/// A file system, or what else is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSystem {
    /// ext2, ext3 or ext4.
    Ext(Ext),
    /// XFS.
    Xfs {
        /// Its size.
        len_bytes: u64,
    },
    /// Btrfs.
    Btrfs {
        /// Its size on all devices together.
        len_bytes: u64,
        /// How many devices it is on.
        devices: u64,
    },
    /// Something that is not resized, or nothing that is known.
    Other(&'static str),
}

/// An ext2, ext3 or ext4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ext {
    /// Bytes of a block.
    pub block_bytes: u64,
    /// How many blocks it has.
    pub blocks: u64,
    /// Feature words: compatible, incompatible, read-only compatible.
    features: [u32; 3],
}

/// Features that e2fsprogs learned after 1.42, the version of XenServer 7 and later: word, bit, name, and
/// the release of e2fsprogs that has it (of its release notes).
const NEWER: &[(usize, u32, &str, (u32, u32))] = &[
    (0, 0x400, "fast_commit", (1, 46)),
    (0, 0x800, "stable_inodes", (1, 46)),
    (0, 0x1000, "orphan_file", (1, 47)),
    (1, 0x400, "ea_inode", (1, 44)),
    (1, 0x2000, "metadata_csum_seed", (1, 43)),
    (1, 0x4000, "large_dir", (1, 44)),
    (1, 0x8000, "inline_data", (1, 43)),
    (1, 0x1_0000, "encrypt", (1, 43)),
    (1, 0x2_0000, "casefold", (1, 45)),
    (2, 0x400, "metadata_csum", (1, 43)),
    (2, 0x2000, "project", (1, 43)),
    (2, 0x8000, "verity", (1, 45)),
    (2, 0x1_0000, "orphan_present", (1, 47)),
];

impl Ext {
    /// `ext2`, `ext3` or `ext4`.
    pub fn name(&self) -> &'static str {
        const HAS_JOURNAL: u32 = 0x4;
        // Features of ext4: extents, 64bit, flex_bg; huge_file, gdt_csum, dir_nlink, extra_isize, metadata_csum.
        let ext4 = self.features[1] & 0x2c0 != 0 || self.features[2] & 0x478 != 0;
        match (ext4, self.features[0] & HAS_JOURNAL != 0) {
            (true, _) => "ext4",
            (false, true) => "ext3",
            (false, false) => "ext2",
        }
    }

    /// Whether its journal holds what has not reached its place yet.
    pub fn needs_recovery(&self) -> bool {
        const RECOVER: u32 = 4;
        self.features[1] & RECOVER != 0
    }

    /// The features that a version of e2fsprogs does not know, with the version that does.
    pub fn unknown_to(&self, version: (u32, u32)) -> Vec<String> {
        NEWER
            .iter()
            .filter(|(word, bit, _, since)| self.features[*word] & bit != 0 && *since > version)
            .map(|(_, _, name, (major, minor))| format!("{name} (e2fsprogs {major}.{minor})"))
            .collect()
    }
}

impl FileSystem {
    /// Recognises what a partition begins with. Bytes that are missing are taken for zeros.
    pub fn probe(head: &[u8]) -> Self {
        let mut bytes = head[..head.len().min(HEAD_BYTES)].to_vec();
        bytes.resize(HEAD_BYTES, 0);
        let le32 = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let le64 = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let be32 = |at: usize| u32::from_be_bytes(std::array::from_fn(|i| bytes[at + i]));
        let be64 = |at: usize| u64::from_be_bytes(std::array::from_fn(|i| bytes[at + i]));
        let is = |at: usize, magic: &[u8]| bytes[at..].starts_with(magic);
        // These come first: what was there before they were made may still be in the bytes between.
        if is(0, b"LUKS\xba\xbe") {
            return Self::Other("an encrypted volume (LUKS)");
        }
        if is(512, b"LABELONE") {
            return Self::Other("a physical volume of LVM");
        }
        const EXT: usize = 1024;
        const BTRFS: usize = 0x1_0000;
        if is(EXT + 56, &[0x53, 0xef]) {
            let features = [le32(EXT + 92), le32(EXT + 96), le32(EXT + 100)];
            const HAS_64BIT: u32 = 0x80;
            let high = if features[1] & HAS_64BIT != 0 { le32(EXT + 0x150) } else { 0 };
            let blocks = u64::from(high) << 32 | u64::from(le32(EXT + 4));
            // At most 64 KiB; a larger exponent is damage, which the size then shows.
            let block_bytes = 1024 << le32(EXT + 24).min(6);
            return Self::Ext(Ext { block_bytes, blocks, features });
        }
        if is(0, b"XFSB") {
            return Self::Xfs { len_bytes: be64(8).saturating_mul(be32(4).into()) };
        }
        if is(BTRFS + 0x40, b"_BHRfS_M") {
            return Self::Btrfs { len_bytes: le64(BTRFS + 0x70), devices: le64(BTRFS + 0x88) };
        }
        Self::Other(match () {
            () if is(4086, b"SWAPSPACE2") => "swap space",
            () if is(3, b"NTFS    ") => "NTFS",
            () if is(82, b"FAT32") || is(54, b"FAT1") => "FAT",
            () => "no file system that is known",
        })
    }

    /// Its name, as in `/etc/fstab` where there is one.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ext(ext) => ext.name(),
            Self::Xfs { .. } => "xfs",
            Self::Btrfs { .. } => "btrfs",
            Self::Other(name) => name,
        }
    }

    /// Its size, where it says it.
    pub fn len_bytes(&self) -> Option<u64> {
        match self {
            Self::Ext(ext) => Some(ext.blocks.saturating_mul(ext.block_bytes)),
            Self::Xfs { len_bytes } | Self::Btrfs { len_bytes, .. } => Some(*len_bytes),
            Self::Other(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ext(features: [u32; 3]) -> Ext {
        let mut head = vec![0; 2048];
        head[1080..1082].copy_from_slice(&[0x53, 0xef]);
        head[1028..1032].copy_from_slice(&100_u32.to_le_bytes());
        head[1048] = 2;
        for (word, value) in features.iter().enumerate() {
            head[1116 + word * 4..][..4].copy_from_slice(&value.to_le_bytes());
        }
        let FileSystem::Ext(ext) = FileSystem::probe(&head) else { panic!("not recognised") };
        ext
    }

    #[test]
    fn the_three_ext() {
        assert_eq!(ext([0, 2, 1]).name(), "ext2");
        assert_eq!(ext([4, 2, 1]).name(), "ext3");
        assert_eq!(ext([4, 0x42, 1]).name(), "ext4");
        assert_eq!(FileSystem::Ext(ext([0, 2, 1])).len_bytes(), Some(409_600));
    }

    #[test]
    fn features_that_an_old_e2fsprogs_does_not_know() {
        let new = ext([0x1004, 0x2c2, 0x46b]);
        assert_eq!(
            new.unknown_to((1, 42)),
            ["orphan_file (e2fsprogs 1.47)", "metadata_csum (e2fsprogs 1.43)"]
        );
        assert_eq!(new.unknown_to((1, 46)), ["orphan_file (e2fsprogs 1.47)"]);
        assert!(new.unknown_to((1, 47)).is_empty());
        assert!(ext([4, 0x42, 1]).unknown_to((1, 42)).is_empty());
    }

    #[test]
    fn others_by_name() {
        let at = |offset: usize, magic: &[u8]| {
            let mut head = vec![0; offset];
            head.extend(magic);
            FileSystem::probe(&head).name()
        };
        assert_eq!(at(4086, b"SWAPSPACE2"), "swap space");
        assert_eq!(at(0, b"LUKS\xba\xbe"), "an encrypted volume (LUKS)");
        assert_eq!(at(512, b"LABELONE"), "a physical volume of LVM");
        assert_eq!(at(3, b"NTFS    "), "NTFS");
        assert_eq!(at(82, b"FAT32   "), "FAT");
        assert_eq!(at(0x1_0040, b"_BHRfS_M"), "btrfs");
        assert_eq!(at(0, b"XFSB"), "xfs");
        assert_eq!(at(0, b""), "no file system that is known");
    }
}
