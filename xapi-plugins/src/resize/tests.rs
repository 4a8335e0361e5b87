//! Real file systems on plain files, with the real tools: looked at from outside before and after.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::bad_input::{self, Vdi};
use crate::dom0::{Dom0, Real};
use crate::partition_table::HEAD_BYTES as TABLE_BYTES;
use crate::testing::{Killing, is_possible, run};

const MIB: u64 = 1 << 20;

/// A disk in a file.
struct Image {
    folder: tempfile::TempDir,
}

impl Image {
    /// A table of the kind that `sfdisk` is told, with a file system in partition 1.
    fn new(table: &str, mkfs: &[&str]) -> Self {
        let image = Self { folder: tempfile::tempdir().unwrap() };
        let file = std::fs::File::create(image.path()).unwrap();
        let len = if mkfs[0] == "mkfs.xfs" { 400 } else { 160 };
        file.set_len(len * MIB).unwrap();
        run("sfdisk", &["-q", &image.text()], table);
        image.on_partition(|device| {
            let args: Vec<&str> = mkfs[1..].iter().copied().chain([device]).collect();
            run(mkfs[0], &args, "");
        });
        let (small, large) = ("s".repeat(100), "l".repeat(3_000_000));
        image.on_mount(|at| {
            std::fs::create_dir_all(at.join("etc/deep")).unwrap();
            std::fs::write(at.join("etc/hostname"), &small).unwrap();
            std::fs::write(at.join("etc/deep/data"), &large).unwrap();
        });
        image
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn text(&self) -> String {
        self.path().display().to_string()
    }

    fn set_len(&self, len: u64) {
        std::fs::File::options().write(true).open(self.path()).unwrap().set_len(len).unwrap();
    }

    fn head(&self) -> Vec<u8> {
        let file = std::fs::File::open(self.path()).unwrap();
        let mut head = vec![0; TABLE_BYTES as usize];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut head, 0).unwrap();
        head
    }

    /// What `sfdisk` says of partition 1: start and sectors.
    fn partition(&self) -> (u64, u64) {
        let dump = run("sfdisk", &["-d", &self.text()], "");
        let line = dump.lines().find(|line| line.contains("start=")).unwrap().replace(' ', "");
        let value = |name: &str| -> u64 {
            let rest = line.split(&format!("{name}=")).nth(1).unwrap();
            rest.split(',').next().unwrap().parse().unwrap()
        };
        (value("start"), value("size"))
    }

    fn on_partition(&self, f: impl FnOnce(&str)) {
        let (start, sectors) = self.partition();
        let (offset, len) = ((start * 512).to_string(), (sectors * 512).to_string());
        let args = ["--find", "--show", "--offset", &offset, "--sizelimit", &len, &self.text()];
        let device = run("losetup", &args, "").trim().to_owned();
        f(&device);
        run("losetup", &["-d", &device], "");
    }

    fn on_mount(&self, f: impl FnOnce(&Path)) {
        let at = tempfile::tempdir().unwrap();
        self.on_partition(|device| {
            run("mount", &[device, &at.path().display().to_string()], "");
            f(at.path());
            run("umount", &[&at.path().display().to_string()], "");
        });
    }

    /// Bytes that the files can take, and every file.
    fn contents(&self) -> (u64, BTreeMap<String, Vec<u8>>) {
        let (mut room, mut files) = (0, BTreeMap::new());
        self.on_mount(|at| {
            let df = run("df", &["--output=size", "-B1", &at.display().to_string()], "");
            room = df.lines().nth(1).unwrap().trim().parse().unwrap();
            for name in ["etc/hostname", "etc/deep/data"] {
                files.insert(name.to_owned(), std::fs::read(at.join(name)).unwrap());
            }
        });
        (room, files)
    }

    fn fsck(&self) {
        self.on_partition(|device| {
            run("e2fsck", &["-f", "-n", device], "");
        });
    }

    /// The loop devices on it. Those of this test itself go when the kernel finds the time.
    fn loops(&self) -> String {
        for _ in 0..100 {
            if run("losetup", &["-j", &self.text()], "").is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        run("losetup", &["-j", &self.text()], "")
    }

    fn grow(&self) -> Result<Resized, Error> {
        grow(&Disk::open(&Real, &self.path())?)
    }

    fn shrink(&self, len: u64) -> Result<Resized, Error> {
        shrink(&Disk::open(&Real, &self.path())?, len)
    }
}

const MBR: &str = "label: dos\n2048,,83,*\n";
const GPT: &str = "label: gpt\nstart=2048\n";

#[track_caller]
fn grows(table: &str, mkfs: &[&str], fs: &str, tools: &[&str]) {
    if !is_possible(&[&[mkfs[0]], tools].concat()) {
        return;
    }
    let image = Image::new(table, mkfs);
    let (room, files) = image.contents();
    image.set_len(700 * MIB);
    let grown = image.grow().unwrap();
    let end = 700 * MIB / 512;
    let wanted_end = if table == GPT { end - 33 } else { end };
    assert_eq!((grown.partition.start, grown.partition.start + grown.partition.sectors), (2048, wanted_end));
    assert_eq!(grown.fs, fs);
    assert_eq!(image.partition(), (grown.partition.start, grown.partition.sectors));
    let (larger, same) = image.contents();
    assert!(larger > room + 250 * MIB, "{room} became {larger}");
    assert!(same == files, "files changed");
    if table == GPT {
        assert!(run("sgdisk", &["-v", &image.text()], "").contains("No problems found"));
    } else {
        assert!(run("sfdisk", &["-d", &image.text()], "").contains("bootable"));
    }
    if fs.starts_with("ext") {
        image.fsck();
    }
    assert_eq!(image.loops(), "");
    // Again, with nothing to do.
    let head = image.head();
    assert_eq!(image.grow().unwrap(), grown);
    assert!(image.head() == head, "the table was written again");
}

/// Each as the program that reads such things says it is.
#[test]
fn every_format_with_its_label() {
    let tools = ["mkswap", "mkfs.ext2", "mkfs.ext3", "mkfs.ext4", "mkfs.xfs", "mkfs.vfat", "sfdisk", "blkid"];
    if !is_possible(&tools) {
        return;
    }
    for (fs, label, kind) in [
        ("swap", "swap one", "82"),
        ("ext2", "ephemeral0", "83"),
        ("ext3", "ephemeral0", "83"),
        ("ext4", "a.b_c-d", "83"),
        ("xfs", "twelve-chars", "83"),
        ("vfat", "EPHEMERAL0", "c"),
    ] {
        let vdi = Vdi::new(MBR);
        // The least that an XFS takes, and more.
        std::fs::File::options().write(true).open(vdi.file()).unwrap().set_len(400 * MIB).unwrap();
        let args = [("dev", vdi.name.as_str()), ("fs_type", fs), ("fs_label", label)];
        bad_input::call(&Real, "generate_disk", &args).unwrap();
        let file = vdi.file().display().to_string();
        let found = run("blkid", &["-p", "-O", "1048576", "-o", "export", &file], "").replace('\\', "");
        for wanted in [format!("TYPE={fs}"), format!("LABEL={label}")] {
            assert!(found.lines().any(|line| line == wanted), "{fs}: {found}");
        }
        let dump = run("sfdisk", &["-d", &file], "");
        assert!(dump.contains(&format!("type={kind}")), "{dump}");
    }
}

#[test]
fn ext4_on_mbr_grows() {
    grows(MBR, &["mkfs.ext4", "-q"], "ext4", &["e2fsck", "resize2fs"]);
}

#[test]
fn ext4_on_gpt_grows() {
    grows(GPT, &["mkfs.ext4", "-q"], "ext4", &["e2fsck", "resize2fs", "sgdisk"]);
}

#[test]
fn ext3_and_ext2_grow() {
    grows(MBR, &["mkfs.ext3", "-q"], "ext3", &["e2fsck", "resize2fs"]);
    grows(MBR, &["mkfs.ext2", "-q"], "ext2", &["e2fsck", "resize2fs"]);
}

#[test]
fn xfs_grows() {
    grows(GPT, &["mkfs.xfs", "-q"], "xfs", &["xfs_repair", "xfs_growfs", "sgdisk"]);
}

#[test]
fn btrfs_grows() {
    grows(MBR, &["mkfs.btrfs", "-q"], "btrfs", &["btrfs"]);
}

#[test]
fn ext4_shrinks_and_what_is_cut_off_is_not_missed() {
    if !is_possible(&["mkfs.ext4", "e2fsck", "resize2fs", "sgdisk"]) {
        return;
    }
    for table in [MBR, GPT] {
        let image = Image::new(table, &["mkfs.ext4", "-q"]);
        let (_, files) = image.contents();
        let shrunk = image.shrink(64 * MIB).unwrap();
        assert!(shrunk.fs_bytes <= 63 * MIB && shrunk.fs_bytes > 62 * MIB, "{shrunk:?}");
        assert_eq!(image.shrink(64 * MIB).unwrap(), shrunk);
        image.set_len(64 * MIB);
        image.fsck();
        assert!(image.contents().1 == files, "files changed");
        if table == GPT {
            assert!(run("sgdisk", &["-v", &image.text()], "").contains("No problems found"));
        }
        assert_eq!(image.loops(), "");
    }
}

#[test]
fn a_journal_is_replayed_before_anything_is_decided() {
    if !is_possible(&["mkfs.ext4", "e2fsck", "resize2fs", "dumpe2fs"]) {
        return;
    }
    let image = Image::new(MBR, &["mkfs.ext4", "-q"]);
    let (_, files) = image.contents();
    image.on_mount(|at| std::fs::write(at.join("large"), vec![1; 100 << 20]).unwrap());
    let broken_off = Image { folder: tempfile::tempdir().unwrap() };
    image.on_mount(|at| {
        // The journal knows that the room is free; the file system itself does not yet.
        std::fs::remove_file(at.join("large")).unwrap();
        std::fs::File::create(at.join("last")).unwrap().sync_all().unwrap();
        std::fs::copy(image.path(), broken_off.path()).unwrap();
    });
    broken_off.on_partition(|device| {
        assert!(run("dumpe2fs", &["-h", device], "").contains("needs_recovery"));
    });
    broken_off.shrink(64 * MIB).unwrap();
    broken_off.set_len(64 * MIB);
    broken_off.fsck();
    assert!(broken_off.contents().1 == files, "files changed");
}

/// A refusal that says why, of a disk that is not touched.
#[track_caller]
fn refused(image: &Image, result: Result<Resized, Error>, head: &[u8], why: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.class(), "CannotResizeDisk", "{error}");
    assert!(error.to_string().contains(why), "{error}");
    assert!(image.head() == head, "the table was written");
    assert_eq!(image.loops(), "");
}

#[test]
fn what_cannot_shrink() {
    if !is_possible(&["mkfs.ext4", "e2fsck", "resize2fs", "mkfs.xfs"]) {
        return;
    }
    let image = Image::new(MBR, &["mkfs.ext4", "-q"]);
    image.on_mount(|at| std::fs::write(at.join("large"), vec![1; 100 << 20]).unwrap());
    let head = image.head();
    refused(&image, image.shrink(64 * MIB), &head, "its files need");
    refused(&image, image.shrink(MIB / 2), &head, "too small");
    refused(&image, image.shrink(1024 * MIB), &head, "already fits");
    image.fsck();
    let image = Image::new(MBR, &["mkfs.xfs", "-q"]);
    refused(&image, image.shrink(64 * MIB), &image.head(), "xfs cannot be made smaller");
}

#[test]
fn a_file_system_with_errors_stays_as_it_is() {
    if !is_possible(&["mkfs.ext4", "e2fsck", "debugfs"]) {
        return;
    }
    let image = Image::new(MBR, &["mkfs.ext4", "-q"]);
    image.on_partition(|device| {
        run("debugfs", &["-w", "-R", "clri <2>", device], "");
    });
    image.set_len(700 * MIB);
    refused(&image, image.grow(), &image.head(), "the ext4 has errors: e2fsck ended with");
    refused(&image, image.shrink(64 * MIB), &image.head(), "the ext4 has errors");
}

#[test]
fn more_partitions_swap_and_a_file_system_larger_than_its_partition() {
    if !is_possible(&["mkfs.ext4", "mkswap"]) {
        return;
    }
    let image = Image::new("label: gpt\nstart=2048,size=102400\n,,\n", &["mkfs.ext4", "-q"]);
    refused(&image, image.grow(), &image.head(), "has 2 partitions");
    let image = Image::new(MBR, &["mkfs.ext4", "-q"]);
    run("sfdisk", &["-q", "--no-reread", &image.text()], "label: dos\n2048,102400,83\n");
    refused(&image, image.grow(), &image.head(), "larger than its partition");
    image.on_partition(|device| {
        run("wipefs", &["-qa", device], "");
        run("mkswap", &[device], "");
    });
    refused(&image, image.grow(), &image.head(), "the partition holds swap space");
}

#[test]
fn files_go_into_the_guest_alone() {
    if !is_possible(&["mkfs.ext4", "e2fsck", "mkfs.xfs", "xfs_repair"]) {
        return;
    }
    for mkfs in [["mkfs.ext4", "-q"], ["mkfs.ext3", "-q"], ["mkfs.xfs", "-q"]] {
        let image = Image::new(GPT, &mkfs);
        let host = tempfile::tempdir().unwrap();
        image.on_mount(|at| std::os::unix::fs::symlink(host.path(), at.join("opt")).unwrap());
        let args = [("files", r#"[["/opt/motd", "aGk="]]"#), ("ssh_key", "ssh-ed25519 AAAA me")];
        let injection = crate::inject::Injection::of(&crate::convention::Args::of(&args)).unwrap();
        assert_eq!(injection.write(&Disk::open(&Real, &image.path()).unwrap()), Ok(true));
        assert_eq!(std::fs::read_dir(host.path()).unwrap().count(), 0);
        image.on_mount(|at| {
            let within = at.join(host.path().strip_prefix("/").unwrap()).join("motd");
            assert_eq!(std::fs::read_to_string(within).unwrap(), "hi");
            let key = std::fs::read_to_string(at.join("root/.ssh/authorized_keys")).unwrap();
            assert_eq!(key, "ssh-ed25519 AAAA me\n");
        });
        assert_eq!(image.loops(), "");
    }
}

#[test]
fn a_full_disk_keeps_the_old_file() {
    if !is_possible(&["mkfs.ext4", "e2fsck"]) {
        return;
    }
    let image = Image::new(MBR, &["mkfs.ext4", "-q", "-m", "0"]);
    image.on_mount(|at| {
        let mut file = std::fs::File::create(at.join("fill")).unwrap();
        while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    });
    let content = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, vec![b'x'; 100_000]);
    let files = format!(r#"[["/etc/hostname", "{content}"]]"#);
    let injection = crate::inject::Injection::of(&crate::convention::Args::of(&[("files", &files)])).unwrap();
    let error = injection.write(&Disk::open(&Real, &image.path()).unwrap()).unwrap_err().to_string();
    assert!(error.contains("/etc/hostname of the guest: No space left on device"), "{error}");
    assert_eq!(image.contents().1["etc/hostname"], vec![b's'; 100]);
    assert_eq!(image.loops(), "");
}

/// Whichever program is killed: the next call does all of it, and nothing is left behind.
#[test]
fn killed_at_every_command() {
    if !is_possible(&["mkfs.ext4", "e2fsck", "resize2fs"]) {
        return;
    }
    for commands in 0.. {
        let image = Image::new(GPT, &["mkfs.ext4", "-q"]);
        let (_, files) = image.contents();
        image.set_len(700 * MIB);
        let killing = Killing::after(commands);
        let dom0 = killing.dom0();
        let result = Disk::open(&dom0, &image.path()).and_then(|disk| grow(&disk));
        if !killing.was_killed.get() {
            assert!(commands >= 9, "only {commands} commands");
            break;
        }
        assert!(result.is_err(), "command {commands} was not missed");
        image.grow().unwrap();
        image.fsck();
        assert_eq!(image.loops(), "");
        assert!(image.contents().1 == files, "command {commands}: files changed");
    }
}

#[test]
fn a_mount_that_a_dead_call_left() {
    if !is_possible(&["mkfs.ext4", "e2fsck", "resize2fs"]) {
        return;
    }
    let image = Image::new(MBR, &["mkfs.ext4", "-q"]);
    image.set_len(700 * MIB);
    {
        let disk = Disk::open(&Real, &image.path()).unwrap();
        let partition = disk.table().unwrap().single().unwrap();
        let attached = disk.attach(&partition).unwrap();
        std::mem::forget(attached.mount("ext4").unwrap());
        std::mem::forget(attached);
    }
    assert_ne!(run("losetup", &["-j", &image.text()], ""), "");
    image.grow().unwrap();
    assert_eq!(image.loops(), "");
}

#[test]
fn two_calls_do_not_work_on_one_disk() {
    let image = tempfile::NamedTempFile::new().unwrap();
    let first = Real.open_disk(image.path()).unwrap();
    first.lock().unwrap();
    // A second description of the same file waits, and a time-out says for what.
    let waiting = crate::testing::Fake::default().with_file_as_disk("/dev/xvdc", image.path());
    let error = Disk::open(&waiting, Path::new("/dev/xvdc")).err().unwrap().to_string();
    assert_eq!(error, "/dev/xvdc: another call has been working on it for 60 s");
    assert_eq!(waiting.slept(), Duration::from_secs(60));
    drop(first);
    assert!(Disk::open(&waiting, Path::new("/dev/xvdc")).is_ok());
}

/// The kernel lets nobody else open a block device that a call has to itself: the lock is not come to then.
#[test]
fn a_disk_that_another_call_has_open_is_waited_for() {
    let path = Path::new("/dev/xvdc");
    let dom0 = crate::testing::Fake::default().with_disk("/dev/xvdc", 100).busy(2);
    assert!(Disk::open(&dom0, path).is_ok());
    assert_eq!(dom0.slept(), Duration::from_secs(1));
    let dom0 = crate::testing::Fake::default().with_disk("/dev/xvdc", 100).busy(u32::MAX);
    let error = Disk::open(&dom0, path).err().unwrap().to_string();
    assert!(error.starts_with("/dev/xvdc: ") && error.contains("busy"), "{error}");
    assert_eq!(dom0.slept(), Duration::from_secs(60));
    // Of what is mounted the end is not waited for.
    for (source, waited) in [("/dev/xvdc1", 0), ("/dev/xvdc", 0), ("/dev/xvdca1", 60)] {
        let dom0 = crate::testing::Fake::default().busy(u32::MAX);
        let dom0 = dom0.with_file("/proc/mounts", &format!("{source} / ext4 rw 0 0\n"));
        assert!(Disk::open(&dom0, path).is_err());
        assert_eq!(dom0.slept().as_secs(), waited, "{source}");
    }
}
