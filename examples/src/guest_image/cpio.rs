//! The archive in which a kernel takes its first files: cpio's `newc`, as `initramfs/buffer-format` of its
//! documentation has it.

/// An archive that grows.
#[derive(Debug, Default)]
pub(super) struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
}

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

impl Cpio {
    pub(super) fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY, [0, 0], &[]);
    }

    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        self.entry(path, PROGRAM, [0, 0], content);
    }

    pub(super) fn device(&mut self, path: &str, major: u32, minor: u32) {
        self.entry(path, CHARACTER_DEVICE, [major, minor], &[]);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, [0, 0], &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, device: [u32; 2], content: &[u8]) {
        self.entries += 1;
        let len = u32::try_from(content.len()).expect("files of an initramfs have less than 4 GiB");
        let name = u32::try_from(path.len() + 1).expect("paths are short");
        // inode, mode, uid, gid, links, time, size, the file system's device, the entry's, name, checksum
        let fields = [self.entries, mode, 0, 0, 1, 0, len, 0, 0, device[0], device[1], name, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes().chain([0]));
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_contents_are_padded() {
        let mut cpio = Cpio::default();
        cpio.file("init", b"#!/bin/sh\n");
        let bytes = cpio.finish();
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[54..62], b"0000000a", "the size");
        // 110 bytes of header, 5 of name, 1 of padding.
        assert_eq!(&bytes[116..126], b"#!/bin/sh\n");
        assert_eq!(&bytes[128..134], b"070701");
        assert_eq!(bytes.len() % 4, 0);
    }
}
