//! A disk image to spawn from when there is no other: real, partitioned, small, the same every time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};
use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition::Partition;
use uuid::Uuid;

/// What the image is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoImage {
    /// The size of the disk in bytes: a multiple of 1 MiB, from 40 MiB to 1 TiB.
    pub virtual_bytes: u64,
    /// Bytes of data that does not compress, in a file of its own: what there is to transfer.
    pub payload_bytes: u64,
}

impl Default for DemoImage {
    /// 1 GiB, of which 16 MiB hold data.
    fn default() -> Self {
        Self { virtual_bytes: 1 << 30, payload_bytes: 16 << 20 }
    }
}

const SECTOR_BYTES: u64 = 512;
const MIB: u64 = 1 << 20;
/// Partitions begin and end at whole MiB; the last one is left to the table's backup.
const FIRST_LBA: u64 = MIB / SECTOR_BYTES;
const LABEL: [u8; 11] = *b"XENAPI-DEMO";

const README: &str = "A disk image for trying out xenapi-rs.\r\n\
    \r\n\
    One GPT partition with a FAT file system. PAYLOAD.BIN is noise, so that there is something to transfer.\r\n";

/// What a guest, or whoever reads the disk back, looks for to know that this is the disk.
pub const BOOT_MARKER: &str = "xenapi-rs demo image, version 1\n";

impl DemoImage {
    /// Writes the image as a sparse file: only what is not zero takes space.
    ///
    /// The same image is the same bytes, whenever and wherever it is made. A file that is there is replaced.
    ///
    /// # Errors
    ///
    /// If the sizes are out of bounds, or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        ensure!(
            self.virtual_bytes.is_multiple_of(MIB) && (40 * MIB..=1 << 40).contains(&self.virtual_bytes),
            "a demo image of {} bytes cannot be made: give a multiple of 1 MiB from 40 MiB to 1 TiB",
            self.virtual_bytes
        );
        ensure!(
            self.payload_bytes <= self.virtual_bytes * 3 / 4,
            "{} bytes of payload are too much for a demo image of {} bytes: give at most three quarters",
            self.payload_bytes,
            self.virtual_bytes
        );
        self.try_write(path).with_context(|| format!("cannot write the demo image {}", path.display()))
    }

    fn try_write(&self, path: &Path) -> Result<()> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len(self.virtual_bytes)?;
        let mut disk = SparseFile { file, written: BTreeSet::new() };
        let last_lba = self.virtual_bytes / SECTOR_BYTES - FIRST_LBA - 1;
        write_partition_table(&mut disk, self.virtual_bytes, last_lba)?;
        let partition_bytes = (last_lba + 1 - FIRST_LBA) * SECTOR_BYTES;
        write_file_system(Window::new(&mut disk, MIB, partition_bytes), self.payload_bytes)?;
        Ok(())
    }
}

fn write_partition_table(disk: &mut SparseFile, disk_bytes: u64, last_lba: u64) -> Result<()> {
    let sectors = disk_bytes / SECTOR_BYTES;
    let mut device = Window::new(disk, 0, disk_bytes);
    ProtectiveMBR::with_lb_size(u32::try_from(sectors - 1).unwrap_or(u32::MAX))
        .overwrite_lba0(&mut device)?;
    let guid = |n: u128| Uuid::from_u128(0x7865_6e61_7069_4d65_8d65_6d6f_0000_0000 + n);
    let mut table = gpt::GptConfig::new()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512)
        .create_from_device(device, Some(guid(0)))?;
    let partition = Partition {
        part_type_guid: gpt::partition_types::BASIC,
        part_guid: guid(1),
        first_lba: FIRST_LBA,
        last_lba,
        flags: 0,
        name: "demo".to_owned(),
    };
    table.update_partitions(BTreeMap::from([(1, partition)]))?;
    table.write()?;
    Ok(())
}

/// Without directories: fatfs 0.3 writes `.` and `..` in a way that file system checkers complain about.
fn write_file_system(mut partition: Window<'_>, payload_bytes: u64) -> io::Result<()> {
    let options = FormatVolumeOptions::new().volume_label(LABEL).volume_id(0x7865_6e01);
    fatfs::format_volume(&mut partition, options)?;
    partition.rewind()?;
    // Without a clock, fatfs dates files to the first day of 1980.
    let volume = FileSystem::new(partition, FsOptions::new().update_accessed_date(false))?;
    if volume.fat_type() == FatType::Fat32 {
        // Counts the free clusters, so that the count kept on the volume is right from here on.
        volume.stats()?;
    }
    let root = volume.root_dir();
    root.create_file("README.TXT")?.write_all(README.as_bytes())?;
    root.create_file("BOOT.MRK")?.write_all(BOOT_MARKER.as_bytes())?;
    let mut payload = root.create_file("PAYLOAD.BIN")?;
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut left = payload_bytes;
    while left > 0 {
        let mut buffer = [0; 64 << 10];
        noise.fill(&mut buffer);
        let len = left.min(buffer.len() as u64);
        payload.write_all(&buffer[..usize::try_from(len).expect("at most 64 KiB")])?;
        left -= len;
    }
    payload.flush()?;
    drop(payload);
    drop(root);
    volume.unmount()
}

/// Marsaglia's xorshift: noise that is the same every time.
struct Noise(u64);

impl Noise {
    fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A new file of zeros, in which writing zeros takes no space.
struct SparseFile {
    file: File,
    /// The chunks that hold something else.
    written: BTreeSet<u64>,
}

const CHUNK_BYTES: u64 = 64 << 10;

impl SparseFile {
    fn write_at(&mut self, offset: u64, buffer: &[u8]) -> io::Result<usize> {
        let len =
            usize::try_from(CHUNK_BYTES - offset % CHUNK_BYTES).expect("at most 64 KiB").min(buffer.len());
        let buffer = &buffer[..len];
        let chunk = offset / CHUNK_BYTES;
        if buffer.iter().any(|&byte| byte != 0) || self.written.contains(&chunk) {
            self.written.insert(chunk);
            self.file.seek(SeekFrom::Start(offset))?;
            self.file.write_all(buffer)?;
        }
        Ok(len)
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.read(buffer)
    }
}

/// A part of the disk, as a device of its own.
struct Window<'a> {
    disk: &'a mut SparseFile,
    start: u64,
    len: u64,
    position: u64,
}

impl<'a> Window<'a> {
    fn new(disk: &'a mut SparseFile, start: u64, len: u64) -> Self {
        Self { disk, start, len, position: 0 }
    }

    /// How much of a buffer of that length lies inside.
    fn inside(&self, len: usize) -> usize {
        usize::try_from(self.len.saturating_sub(self.position)).unwrap_or(usize::MAX).min(len)
    }
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inside(buffer.len());
        let len = self.disk.read_at(self.start + self.position, &mut buffer[..len])?;
        self.position += len as u64;
        Ok(len)
    }
}

impl Write for Window<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let len = self.inside(buffer.len());
        if len == 0 {
            return Ok(0);
        }
        let len = self.disk.write_at(self.start + self.position, &buffer[..len])?;
        self.position += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
            SeekFrom::End(delta) => self.len.checked_add_signed(delta),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl fmt::Debug for Window<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window").field("start", &self.start).field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use sha2::{Digest, Sha256};

    use super::*;

    const SMALL: DemoImage = DemoImage { virtual_bytes: 64 * MIB, payload_bytes: 3_000_000 };

    #[test]
    fn the_same_every_time_and_sparse() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        let sha256 = || {
            SMALL.write(&path).unwrap();
            format!("{:x}", Sha256::digest(std::fs::read(&path).unwrap()))
        };
        let first = sha256();
        std::fs::write(&path, "what was there before").unwrap();
        assert_eq!(sha256(), first);
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!(metadata.len(), SMALL.virtual_bytes);
        assert!(metadata.blocks() * 512 < SMALL.payload_bytes + MIB, "{} blocks", metadata.blocks());
    }

    #[test]
    fn the_partition_holds_the_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        for image in [SMALL, DemoImage { virtual_bytes: 40 * MIB, payload_bytes: 0 }, DemoImage::default()] {
            image.write(&path).unwrap();
            let table = gpt::GptConfig::new().only_valid_headers(true).open(&path).unwrap();
            let partition = &table.partitions()[&1];
            assert_eq!(partition.first_lba, 2048);
            let start = partition.first_lba * SECTOR_BYTES;
            let len = (partition.last_lba + 1) * SECTOR_BYTES - start;
            assert_eq!(start + len, image.virtual_bytes - MIB);
            let file = File::options().read(true).write(true).open(&path).unwrap();
            let mut disk = SparseFile { file, written: BTreeSet::new() };
            let volume = FileSystem::new(Window::new(&mut disk, start, len), FsOptions::new()).unwrap();
            assert_eq!(volume.volume_label(), "XENAPI-DEMO");
            let mut marker = String::new();
            volume.root_dir().open_file("BOOT.MRK").unwrap().read_to_string(&mut marker).unwrap();
            assert_eq!(marker, BOOT_MARKER);
            let payload =
                volume.root_dir().iter().map(Result::unwrap).find(|e| e.file_name() == "PAYLOAD.BIN");
            assert_eq!(payload.unwrap().len(), image.payload_bytes);
        }
    }

    #[test]
    fn sizes_that_cannot_be() {
        for (virtual_bytes, payload_bytes) in
            [(0, 0), (39 * MIB, 0), (64 * MIB + 1, 0), (2 << 40, 0), (64 * MIB, 50 * MIB)]
        {
            let path = Path::new("/nonexistent/image");
            let error = DemoImage { virtual_bytes, payload_bytes }.write(path).unwrap_err();
            assert!(!error.to_string().contains("nonexistent"), "{error}");
        }
        let error = SMALL.write(Path::new("/nonexistent/image")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/image"), "{error}");
    }
}
