//! The images that other tests start from are what they say they are.

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::Result;
use e2e::image::{Ext4Disk, PROGRAMS, ext4_inodes_used};
use e2e::tools;
use examples::demo_image::{BOOT_MARKER, DemoImage};

#[test]
fn the_ext4_disk_is_sound_in_all_its_forms() -> Result<()> {
    if !tools::present(PROGRAMS) || !tools::present(&["sgdisk", "dumpe2fs"]) {
        return Ok(());
    }
    let disk = Ext4Disk::get()?;
    let report = tools::run("sgdisk", ["-v".as_ref(), disk.raw.as_os_str()])?;
    assert!(report.contains("No problems found"), "{report}");
    let table = gpt::GptConfig::new().only_valid_headers(true).open(&disk.raw)?;
    assert_eq!(table.partitions()[&1].first_lba * 512, Ext4Disk::PARTITION_OFFSET_BYTES);
    tools::e2fsck_clean(&disk.raw, Ext4Disk::PARTITION_OFFSET_BYTES)?;
    let inodes = ext4_inodes_used(&disk.raw, Ext4Disk::PARTITION_OFFSET_BYTES)?;
    assert!(inodes >= Ext4Disk::MIN_FILES as u64, "{inodes} inodes");

    for (path, format) in [(&disk.raw, "raw"), (&disk.dynamic_vhd, "vpc")] {
        let info = tools::qemu_img_info(path)?;
        assert_eq!((info.format.as_str(), info.virtual_size), (format, Ext4Disk::VIRTUAL_BYTES));
        assert!(info.actual_size < 1 << 30, "{info:?}");
    }
    // A fixed VHD is the raw disk and a footer.
    assert_eq!(fs::metadata(&disk.fixed_vhd)?.len(), Ext4Disk::VIRTUAL_BYTES + 512);
    tools::qemu_img_check(&disk.dynamic_vhd)?;
    tools::qemu_img_compare(&disk.raw, &disk.dynamic_vhd)
}

#[test]
fn faults_are_found() -> Result<()> {
    if !tools::present(PROGRAMS) {
        return Ok(());
    }
    let disk = Ext4Disk::get()?;
    let directory = tempfile::tempdir()?;
    let broken = directory.path().join("broken");
    // Without its second half, the table of the VHD points behind the end of the file.
    fs::copy(&disk.dynamic_vhd, &broken)?;
    let file = fs::File::options().write(true).open(&broken)?;
    file.set_len(fs::metadata(&broken)?.len() / 2)?;
    assert!(tools::qemu_img_compare(&disk.raw, &broken).is_err());
    assert!(tools::e2fsck_clean(&disk.raw, 0).is_err());
    assert!(tools::e2fsck_clean(&disk.dynamic_vhd, Ext4Disk::PARTITION_OFFSET_BYTES).is_err());
    assert!(tools::qemu_img_info(&directory.path().join("missing")).is_err());
    Ok(())
}

#[test]
fn the_demo_image_is_sound() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("demo.raw");
    let started = std::time::Instant::now();
    DemoImage::default().write(&path)?;
    let took = started.elapsed();
    let metadata = fs::metadata(&path)?;
    assert_eq!(metadata.len(), DemoImage::default().virtual_bytes);
    assert!(metadata.blocks() * 512 < 20 << 20, "{} blocks", metadata.blocks());
    assert!(took.as_secs() < 5, "{took:?}");
    if !tools::present(&["sgdisk", "fsck.vfat", "mtype", "dd"]) {
        return Ok(());
    }
    let report = tools::run("sgdisk", ["-v".as_ref(), path.as_os_str()])?;
    assert!(report.contains("No problems found"), "{report}");
    let partition = directory.path().join("partition");
    let dd = &mut tools::command("dd")?;
    dd.arg(format!("if={}", path.display())).arg(format!("of={}", partition.display()));
    tools::output(dd.args(["bs=1M", "skip=1", "count=1022", "conv=sparse", "status=none"]))?;
    let report = tools::run("fsck.vfat", ["-n".as_ref(), "-v".as_ref(), partition.as_os_str()])?;
    // The label is a fourth entry.
    assert!(report.contains("4 files") && !report.contains("should be"), "{report}");
    let marker = tools::run("mtype", ["-i".as_ref(), partition.as_os_str(), "::BOOT.MRK".as_ref()])?;
    assert_eq!(marker, BOOT_MARKER);
    Ok(())
}
