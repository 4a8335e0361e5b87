//! Bad input row by row, through the door by which XAPI's calls come, on disks with real file systems: each is
//! refused by name, and not a byte of the disk is another one afterwards.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, symlink};
use std::path::PathBuf;

use xenapi_wire::plugin::{PluginCall, decode_response};
use xenapi_wire::{Failure, Limits};

use crate::dom0::{Dom0, Finished, Real};
use crate::testing::{Except, is_possible, run};

const MIB: u64 = 1 << 20;
const TOOLS: &[&str] = &["mkfs.ext4", "e2fsck", "resize2fs", "debugfs", "sfdisk", "mkswap", "mount"];

/// A disk of 64 MiB under a name that an attached VDI has.
pub(crate) struct Vdi {
    folder: tempfile::TempDir,
    pub(crate) name: String,
}

impl Vdi {
    /// With a table as `sfdisk` is told, and an ext4 that fills the first partition.
    pub(crate) fn new(table: &str) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let nth = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!(
            "sm/backend/{0}/{0}",
            format_args!("0badf00d-0000-4000-{nth:04x}-{:012}", std::process::id())
        );
        let vdi = Self { folder: tempfile::tempdir().unwrap(), name };
        let file = File::create(vdi.file()).unwrap();
        file.set_len(64 * MIB).unwrap();
        let part = vdi.folder.path().join("part");
        File::create(&part).unwrap().set_len(40 * MIB).unwrap();
        run("mkfs.ext4", &["-q", part.to_str().unwrap()], "");
        file.write_all_at(&std::fs::read(&part).unwrap(), MIB).unwrap();
        run("sfdisk", &["-q", vdi.file().to_str().unwrap()], table);
        std::fs::create_dir_all(vdi.device().parent().unwrap()).unwrap();
        symlink(vdi.file(), vdi.device()).unwrap();
        vdi
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn device(&self) -> PathBuf {
        PathBuf::from("/dev").join(&self.name)
    }

    fn write(&self, bytes: &[u8], offset: u64) {
        File::options().write(true).open(self.file()).unwrap().write_all_at(bytes, offset).unwrap();
    }

    fn debugfs(&self, commands: &[&str]) {
        let part = self.folder.path().join("part");
        for command in commands {
            run("debugfs", &["-w", "-R", command, part.to_str().unwrap()], "");
        }
        self.write(&std::fs::read(part).unwrap(), MIB);
    }

    fn digest(&self) -> u32 {
        crc32fast::hash(&std::fs::read(self.file()).unwrap())
    }

    fn loops(&self) -> String {
        run("losetup", &["-j", self.file().to_str().unwrap()], "")
    }
}

impl Drop for Vdi {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.device());
        let _ = std::fs::remove_dir(self.device().parent().unwrap());
    }
}

pub(crate) fn call(dom0: &dyn Dom0, function: &str, args: &[(&str, &str)]) -> Result<String, Failure> {
    let args: BTreeMap<_, _> = args.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let call = PluginCall { function: function.to_owned(), session: "OpaqueRef:NULL".to_owned(), args };
    let output = crate::respond("partition_utils.py", &call.encode().unwrap(), dom0);
    decode_response(output.as_bytes(), &Limits::REQUEST).unwrap()
}

/// A row: what is wrong, with which disk; the call; the failure's class and words.
type Row<'a> = (&'a str, Vdi, &'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

const ONE: &str = "label: dos\n2048,81920,83,*\n";
const GPT: &str = "label: gpt\nstart=2048,size=81920\n";
const GROW: &str = "auto_configure_disk";
const SHRINK: &[(&str, &str)] = &[("size_bytes", "33554432")];

#[track_caller]
fn all_refused(rows: &[Row<'_>], dom0: &dyn Dom0) {
    for (what, vdi, function, args, class, words) in rows {
        let before = vdi.digest();
        let args = [&[("dev", vdi.name.as_str())][..], args].concat();
        let failure = call(dom0, function, &args).expect_err(what);
        assert_eq!(failure.params[..2], [*function, *class], "{what}: {failure}");
        assert!(failure.params[2].contains(words), "{what}: {failure}");
        assert_eq!(vdi.digest(), before, "{what}: the disk was written to");
        assert_eq!(vdi.loops(), "", "{what}");
    }
}

/// A disk with something else than the usual in some places.
fn with(table: &str, change: impl FnOnce(&Vdi)) -> Vdi {
    let vdi = Vdi::new(table);
    change(&vdi);
    vdi
}

#[test]
fn partition_tables_that_lie() {
    if !is_possible(TOOLS) {
        return;
    }
    let beyond = |vdi: &Vdi| vdi.write(&0x7fff_0000_u32.to_le_bytes(), 446 + 12);
    let start_beyond = |vdi: &Vdi| vdi.write(&0x7fff_0000_u32.to_le_bytes(), 446 + 8);
    let none = |vdi: &Vdi| vdi.write(&[0; 2], 510);
    let broken_crc = |vdi: &Vdi| vdi.write(&[0xff; 4], 512 + 16);
    let no_header = |vdi: &Vdi| vdi.write(&[0; 512], 512);
    let broken_entries = |vdi: &Vdi| vdi.write(&[0xee; 16], 1024);
    all_refused(
        &[
            ("end beyond the disk", with(ONE, beyond), GROW, &[], "CannotResizeDisk", ""),
            ("start beyond the disk", with(ONE, start_beyond), GROW, &[], "CannotResizeDisk", ""),
            ("no signature", with(ONE, none), GROW, &[], "CannotResizeDisk", "no partition table"),
            ("checksum of the header", with(GPT, broken_crc), GROW, &[], "CannotResizeDisk", ""),
            ("GPT without header", with(GPT, no_header), GROW, &[], "CannotResizeDisk", ""),
            ("checksum of the entries", with(GPT, broken_entries), GROW, &[], "CannotResizeDisk", ""),
            ("the same when shrinking", with(GPT, broken_crc), "resize_down", SHRINK, "CannotResizeDisk", ""),
            (
                "two partitions",
                Vdi::new("label: dos\n2048,81920,83\n,,83\n"),
                GROW,
                &[],
                "CannotResizeDisk",
                "2 partitions",
            ),
            (
                "a missing one",
                Vdi::new(ONE),
                "mkfs",
                &[("partnum", "2"), ("fs_type", "ext3")],
                "CannotResizeDisk",
                "no partition 2",
            ),
        ],
        &Real,
    );
}

#[test]
fn file_systems_that_are_none_or_not_sound() {
    if !is_possible(TOOLS) {
        return;
    }
    let errors = |vdi: &Vdi| vdi.debugfs(&["clri <2>"]);
    let bitmap = |vdi: &Vdi| vdi.debugfs(&["freei <2>", "mkdir a", "clri a", "ssv free_blocks_count 7"]);
    let empty = |vdi: &Vdi| vdi.write(&vec![0; 4 << 20], MIB);
    let luks = |vdi: &Vdi| vdi.write(b"LUKS\xba\xbe", MIB);
    let too_large = |vdi: &Vdi| vdi.write(&u32::MAX.to_le_bytes(), MIB + 1028);
    let newer = |vdi: &Vdi| vdi.write(&0x8000_0000_u32.to_le_bytes(), MIB + 1120);
    all_refused(
        &[
            ("errors", with(ONE, errors), GROW, &[], "CannotResizeDisk", "the ext4 has errors"),
            ("errors, shrinking", with(ONE, errors), "resize_down", SHRINK, "CannotResizeDisk", "has errors"),
            (
                "errors, injecting",
                with(ONE, errors),
                "inject",
                &[("ssh_key", "k")],
                "CannotResizeDisk",
                "has errors",
            ),
            ("more errors", with(GPT, bitmap), GROW, &[], "CannotResizeDisk", "the ext4 has errors"),
            ("nothing", with(ONE, empty), GROW, &[], "CannotResizeDisk", "no file system that is known"),
            ("encrypted", with(ONE, luks), GROW, &[], "CannotResizeDisk", "LUKS"),
            (
                "larger than it can be",
                with(ONE, too_large),
                GROW,
                &[],
                "CannotResizeDisk",
                "larger than its partition",
            ),
            ("a feature of the future", with(ONE, newer), GROW, &[], "CannotResizeDisk", ""),
            (
                "too little room",
                Vdi::new(ONE),
                "resize_down",
                &[("size_bytes", "2097152")],
                "CannotResizeDisk",
                "",
            ),
        ],
        &Real,
    );
}

#[test]
fn arguments_that_reach_for_something_else() {
    if !is_possible(TOOLS) {
        return;
    }
    let label = |label| [("partnum", "1"), ("fs_type", "ext3"), ("fs_label", label)];
    let labels = ["$(reboot)", ";reboot", "`id`", "-n", "a\"b", "a\nb"].map(label);
    let files =
        [r#"[["/etc/../../etc/passwd", ""]]"#, r#"[["etc/passwd", ""]]"#].map(|files| [("files", files)]);
    let mut rows: Vec<Row<'_>> = Vec::new();
    for args in &labels {
        rows.push((args[2].1, Vdi::new(ONE), "mkfs", args, "ArgumentError", "cannot be a label"));
    }
    for args in &files {
        rows.push((args[0].1, Vdi::new(ONE), "inject", args, "ArgumentError", "absolute path"));
    }
    rows.push((
        "another end",
        Vdi::new(ONE),
        "make_partition",
        &[("partition_start", "2048"), ("partition_end", "-1")],
        "PluginError",
        "",
    ));
    rows.push((
        "no such file system",
        Vdi::new(ONE),
        "mkfs",
        &[("partnum", "1"), ("fs_type", "ext4; reboot")],
        "PluginError",
        "is not known",
    ));
    rows.push((
        "half a sector",
        Vdi::new(ONE),
        "resize_down",
        &[("size_bytes", "1000")],
        "ArgumentError",
        "whole sectors",
    ));
    all_refused(&rows, &Real);
    for dev in ["sda", "nvme0n1", "../sda", "xvdb/../sda", "sm/backend/../../sda", "mapper/root", "", "loop0"]
    {
        let failure = call(&Real, GROW, &[("dev", dev)]).expect_err(dev);
        assert_eq!(failure.params[1], "ArgumentError", "{dev:?}: {failure}");
    }
    let failure = call(&Real, GROW, &[("dev", "xvdzz")]).expect_err("it is not attached");
    assert_eq!(failure.params[1], "IOError", "{failure}");
}

/// What dom0 itself works with has the names of attached disks too where dom0 is a guest of another host.
#[test]
fn a_disk_that_dom0_uses() {
    if !is_possible(TOOLS) {
        return;
    }
    let vdi = Vdi::new(ONE);
    let part = vdi.folder.path().join("part");
    let device = run("losetup", &["--find", "--show", part.to_str().unwrap()], "").trim().to_owned();
    let at = tempfile::tempdir().unwrap();
    run("mount", &[&device, at.path().to_str().unwrap()], "");
    std::fs::write(at.path().join("used"), "by dom0").unwrap();
    std::fs::remove_file(vdi.device()).unwrap();
    symlink(&device, vdi.device()).unwrap();
    for (function, more) in [
        (GROW, &[][..]),
        ("resize_down", SHRINK),
        ("make_partition", &[("partition_start", "2048"), ("partition_end", "-")]),
        ("mkfs", &[("partnum", "1"), ("fs_type", "ext4")]),
        ("generate_disk", &[("fs_type", "ext4")]),
        ("inject", &[("ssh_key", "k")]),
    ] {
        let failure =
            call(&Real, function, &[&[("dev", vdi.name.as_str())][..], more].concat()).expect_err(function);
        assert_eq!(failure.params[1], "IOError", "{function}: {failure}");
        assert!(failure.params[2].contains("busy"), "{function}: {failure}");
    }
    assert_eq!(std::fs::read_to_string(at.path().join("used")).unwrap(), "by dom0");
    run("umount", &[at.path().to_str().unwrap()], "");
    run("e2fsck", &["-f", "-n", &device], "");
    run("losetup", &["-d", &device], "");
}

#[test]
fn a_checker_that_is_killed() {
    if !is_possible(TOOLS) {
        return;
    }
    let killed = Except::new(|program, args| {
        let is_check = program == "e2fsck" && !args.contains(&"-V");
        is_check.then(|| Finished { code: -9, stdout: String::new(), stderr: String::new() })
    });
    let rows: [Row<'_>; 3] = [
        ("growing", Vdi::new(ONE), GROW, &[], "CannotResizeDisk", "e2fsck ended with -9"),
        ("shrinking", Vdi::new(GPT), "resize_down", SHRINK, "CannotResizeDisk", "e2fsck ended with -9"),
        (
            "injecting",
            Vdi::new(ONE),
            "inject",
            &[("ssh_key", "k")],
            "CannotResizeDisk",
            "e2fsck ended with -9",
        ),
    ];
    all_refused(&rows, &killed);
    // Nothing of it stays in the way.
    call(&Real, GROW, &[("dev", &rows[0].1.name)]).unwrap();
}
