//! A Linux guest made of Debian's packages, that boots and tells what its config drive says.
//!
//! A kernel for virtual machines and busybox in an initramfs, on a FAT partition that syslinux boots. Making it needs
//! no root and mounts nothing. The guest finds its config drive by its label, shows on its serial console what is in
//! it, notes on its root disk that it has booted, switches itself off when its power button is pressed, and offers a
//! shell.

mod cpio;
mod kernel;

use std::fs::File;
use std::io::{Cursor, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};

use cpio::Cpio;
use kernel::{Kernel, run};

/// What the guest says last, before it offers its shell.
pub const READY: &str = "guest: ready";

/// The file of the root disk's partition to which each boot adds a line.
pub const BOOT_RECORD: &str = "BOOTED.TXT";

/// Where the partition begins, in bytes.
pub const PARTITION_OFFSET: u64 = 1 << 20;

/// The size of the disk: room for the kernel, and for what a guest may want to write.
const DISK_BYTES: u64 = 64 << 20;
const LABEL: &str = "GUEST-BOOT";
const SECTOR_BYTES: u64 = 512;

/// Where Debian has them.
const BUSYBOX: &str = "/bin/busybox";
const BOOT_CODE: &str = "/usr/lib/syslinux/mbr/mbr.bin";

/// Disks of virtio and IDE, the file systems of config drives and root, the power button, the network.
const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "ata_piix",
    "sr_mod",
    "sd_mod",
    "isofs",
    "vfat",
    "nls_cp437",
    "nls_ascii",
    "nls_utf8",
    "nls_iso8859_1",
    "button",
    "evdev",
    "virtio_net",
];

const BOOT_MENU: &str = "DEFAULT linux\nPROMPT 0\nLABEL linux\n LINUX vmlinuz\n INITRD initrd\n \
    APPEND console=tty0 console=ttyS0,115200 loglevel=4 panic=-1\n";

/// What must be installed to make the image, with the packages that have it.
const NEEDED: &[(&str, &str)] = &[
    (BUSYBOX, "busybox-static"),
    (BOOT_CODE, "syslinux-common"),
    ("/usr/bin/syslinux", "syslinux"),
    ("/usr/bin/mcopy", "mtools"),
];

/// The packages that are missing to make the image, and what of them.
pub fn missing() -> Vec<(&'static str, &'static str)> {
    NEEDED.iter().copied().filter(|(file, _)| !Path::new(file).exists()).collect()
}

/// Writes the image, a raw disk of 64 MiB. A file that is there is replaced.
///
/// # Errors
///
/// When something is not installed (the package is named), no kernel can be had, or the file cannot be written.
pub fn write(path: &Path) -> Result<()> {
    let missing = missing();
    let names: Vec<String> =
        missing.iter().map(|(file, package)| format!("{package} (for {file})")).collect();
    ensure!(missing.is_empty(), "a guest image needs more Debian packages: {}", names.join(", "));
    let scratch =
        tempfile::Builder::new().prefix("xenapi-rs-").tempdir().context("no temporary directory")?;
    let kernel = Kernel::get(scratch.path())?;
    let initrd = initramfs(&kernel)?;
    let image = std::fs::read(&kernel.image).context("the kernel cannot be read")?;
    let partition =
        partition(&[("vmlinuz", &image), ("initrd", &initrd), ("syslinux.cfg", BOOT_MENU.as_bytes())]);
    let partition = partition.context("the guest's file system cannot be made")?;
    write_disk(path, &partition)
        .with_context(|| format!("cannot write the guest image {}", path.display()))?;
    let offset = PARTITION_OFFSET.to_string();
    run(Command::new("syslinux").args(["--install", "--offset", &offset]).arg(path))?;
    Ok(())
}

fn initramfs(kernel: &Kernel) -> Result<Vec<u8>> {
    let mut archive = Cpio::default();
    for directory in ["bin", "dev", "modules"] {
        archive.directory(directory);
    }
    archive.device("dev/console", 5, 1);
    archive.file("bin/busybox", &std::fs::read(BUSYBOX).context(BUSYBOX)?);
    archive.file("init", include_str!("guest_image/init.sh").replace("@LABEL@", LABEL).as_bytes());
    archive.file("json.awk", include_bytes!("guest_image/json.awk"));
    let modules = kernel.modules(MODULES)?;
    for (name, content) in &modules {
        archive.file(&format!("modules/{name}.ko"), content);
    }
    let order: String = modules.iter().map(|(name, _)| format!("{name}\n")).collect();
    archive.file("modules/order", order.as_bytes());
    Ok(archive.finish())
}

/// A FAT file system with these files.
fn partition(files: &[(&str, &[u8])]) -> std::io::Result<Vec<u8>> {
    let mut volume = Cursor::new(vec![0; usize::try_from(DISK_BYTES - PARTITION_OFFSET).expect("64 bits")]);
    let mut label = [b' '; 11];
    label[..LABEL.len()].copy_from_slice(LABEL.as_bytes());
    fatfs::format_volume(&mut volume, FormatVolumeOptions::new().volume_label(label).volume_id(0x7865_6e02))?;
    {
        let system = FileSystem::new(&mut volume, FsOptions::new().update_accessed_date(false))?;
        for (name, content) in files {
            let mut file = system.root_dir().create_file(name)?;
            file.write_all(content)?;
            file.flush()?;
        }
        system.unmount()?;
    }
    let mut bytes = volume.into_inner();
    // fatfs does not know what comes before it, which boot code does want to know.
    let hidden_sectors = (PARTITION_OFFSET / SECTOR_BYTES) as u32;
    bytes[0x1c..0x20].copy_from_slice(&hidden_sectors.to_le_bytes());
    Ok(bytes)
}

fn write_disk(path: &Path, partition: &[u8]) -> Result<()> {
    let mut first = [0; SECTOR_BYTES as usize];
    let code = std::fs::read(BOOT_CODE).context(BOOT_CODE)?;
    ensure!(code.len() <= 440, "{BOOT_CODE} is too long to be boot code");
    first[..code.len()].copy_from_slice(&code);
    // One partition, to be booted, of type FAT16 with LBA; nobody looks at cylinders.
    let (begin, len) = (PARTITION_OFFSET / SECTOR_BYTES, partition.len() as u64 / SECTOR_BYTES);
    first[446..454].copy_from_slice(&[0x80, 0xfe, 0xff, 0xff, 0x0e, 0xfe, 0xff, 0xff]);
    first[454..458].copy_from_slice(&u32::try_from(begin)?.to_le_bytes());
    first[458..462].copy_from_slice(&u32::try_from(len)?.to_le_bytes());
    first[510..].copy_from_slice(&[0x55, 0xaa]);
    let mut file = File::create(path)?;
    file.write_all(&first)?;
    for (number, chunk) in (0..).zip(partition.chunks(64 << 10)) {
        // Zeros are left to be a hole.
        if chunk.iter().any(|&byte| byte != 0) {
            file.seek(SeekFrom::Start(PARTITION_OFFSET + number * (64 << 10)))?;
            file.write_all(chunk)?;
        }
    }
    file.set_len(DISK_BYTES)?;
    Ok(())
}
