//! `partition_utils`: partitions and file systems on disks attached to the control domain.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, Outcome, is_uuid};
use crate::convention::{Args, Function};
use crate::disk::Disk;
use crate::dom0::Dom0;
use crate::inject::Injection;
use crate::partition_table::{self, Partition, PartitionKind, SECTOR};
use crate::pickle::Pickle;
use crate::resize::{self, Resized};

/// `mkfs` on a large thick disk writes inode tables for minutes.
const MKFS_LIMIT: Duration = Duration::from_secs(1_800);
/// A MiB: on a block of every medium.
const ALIGNED_START: u64 = 2_048;
/// What the client's own request is likely to wait for.
const MAX_WAIT_SECONDS: u64 = 3_600;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::serialized("wait_for_dev", &["dev_path", "max_seconds"], wait_for_dev),
    Function::serialized("make_partition", &["dev", "partition_start", "partition_end"], make_partition),
    Function::serialized("mkfs", &["dev", "partnum", "fs_type", "fs_label"], mkfs),
    Function::serialized("generate_disk", &[], generate_disk),
    Function::serialized("auto_configure_disk", &[], auto_configure_disk),
    Function::serialized("resize_down", &[], resize_down),
    Function::serialized("copy_disk", &[], copy_disk),
    Function::serialized("inject", &[], inject),
];

/// `wait_for_dev(dev_path, max_seconds)`: the path once it exists, or `None`.
///
/// `None` is what Nova's client tests for: the old plugin answered the empty string, so that a
/// device that never came was taken for one that had.
fn wait_for_dev(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let (path, device) = (args.required("dev_path")?, device(args, "dev_path")?);
    let seconds = args.number("max_seconds", None, MAX_WAIT_SECONDS)?;
    for waited in 0..=seconds {
        if dom0.exists(&device) {
            return Ok(Pickle::Str(path.to_owned()));
        }
        if waited < seconds {
            dom0.sleep(Duration::from_secs(1));
        }
    }
    Ok(Pickle::None)
}

/// `make_partition(dev, partition_start, partition_end)`: one Linux partition from a sector to the
/// end of the disk, in an MBR table.
fn make_partition(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let dev = device(args, "dev")?;
    let start: u64 = args.required("partition_start")?.trim_end_matches('s').parse().map_err(|_| {
        Error::Argument { name: "partition_start", reason: "a sector number is wanted".to_owned() }
    })?;
    if args.required("partition_end")? != "-" {
        return Err(Error::Argument {
            name: "partition_end",
            reason: "only \"-\", the end of the disk, is accepted".to_owned(),
        });
    }
    let disk = Disk::open(dom0, &dev)?;
    partition(&disk, start, PartitionKind::Linux)?;
    Ok(Pickle::None)
}

/// `mkfs(dev, partnum, fs_type, fs_label)`: a file system or swap space on a partition.
fn mkfs(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let dev = device(args, "dev")?;
    let number = args.number("partnum", None, 128)?;
    let format = Format::of(args)?;
    let disk = Disk::open(dom0, &dev)?;
    let table = disk.table()?;
    let partition = table.partitions().into_iter().find(|p| u64::from(p.number) == number);
    let partition = partition.ok_or_else(|| disk.refuse(format!("there is no partition {number}")))?;
    format.write(&disk, &partition)?;
    Ok(Pickle::None)
}

/// `generate_disk(dev, fs_type, fs_label)`: a swap or ephemeral disk in one call: its only partition, of
/// the type that belongs to what is in it, and the file system.
pub(super) fn generate_disk(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let dev = device(args, "dev")?;
    let format = Format::of(args)?;
    let disk = Disk::open(dom0, &dev)?;
    let made = partition(&disk, ALIGNED_START, format.partition_kind())?;
    format.write(&disk, &made)?;
    Ok(Pickle::None)
}

/// `auto_configure_disk(dev)`: grows the only partition and its file system to the disk. Answers
/// `{"partition_start", "partition_sectors", "fs_type", "fs_bytes"}`.
pub(super) fn auto_configure_disk(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let disk = Disk::open(dom0, &device(args, "dev")?)?;
    resize::grow(&disk).map(|resized| answer(&resized))
}

/// `resize_down(dev, size_bytes)`: makes the only partition and its file system fit the first
/// `size_bytes` of the disk, so that these can be copied to a smaller one; with its table's end there.
/// Answers as `auto_configure_disk`.
pub(super) fn resize_down(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let dev = device(args, "dev")?;
    let len_bytes = args.number("size_bytes", None, u64::MAX)?;
    if len_bytes == 0 || !len_bytes.is_multiple_of(SECTOR) {
        let reason = format!("{len_bytes} is not a number of whole sectors");
        return Err(Error::Argument { name: "size_bytes", reason });
    }
    let disk = Disk::open(dom0, &dev)?;
    resize::shrink(&disk, len_bytes).map(|resized| answer(&resized))
}

/// `copy_disk(source, dev, size_bytes)`: makes the first bytes of a disk those of another, and reads both again to
/// compare them. Only what differs is written, so that a sparse disk stays sparse, and a call that is repeated goes
/// on where the last one stopped. Answers how many bytes that was.
pub(super) fn copy_disk(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let (source, dev) = (device(args, "source")?, device(args, "dev")?);
    let len = args.number("size_bytes", None, u64::MAX)?;
    if source == dev {
        return Err(Error::Argument { name: "source", reason: "it is the target too".to_owned() });
    }
    let (source, target) = (Disk::open(dom0, &source)?, Disk::open(dom0, &dev)?);
    let room = source.sectors()?.min(target.sectors()?) * SECTOR;
    if len > room {
        let reason = format!("{len} is more than the {room} bytes that both disks have");
        return Err(Error::Argument { name: "size_bytes", reason });
    }
    let mut written = 0;
    source.compare(&target, "copying", len, |offset, bytes| {
        written += bytes.len();
        target.write_at(bytes, offset)
    })?;
    target.sync()?;
    for disk in [&source, &target] {
        disk.forget_cached()?;
    }
    source.compare(&target, "comparing", len, |offset, _| {
        Err(Error::Other(format!("the disks differ at byte {offset} after the copy")))
    })?;
    Ok(Pickle::Int(i64::try_from(written).unwrap_or(i64::MAX)))
}

/// `inject(dev, files, ssh_key, root_password_hash, interfaces, agent_path)`: writes into the root file
/// system of a guest that does not run; each may be left out. Answers whether it did: `False` for a guest
/// whose file `agent_path` says that it has an agent. Not done: labels of SELinux, which such a guest sets
/// itself when `/.autorelabel` is among the files.
pub(super) fn inject(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let dev = device(args, "dev")?;
    let injection = Injection::of(args)?;
    injection.write(&Disk::open(dom0, &dev)?).map(Pickle::Bool)
}

fn answer(resized: &Resized) -> Pickle {
    let number = |n: u64| Pickle::Int(i64::try_from(n).unwrap_or(i64::MAX));
    Pickle::Dict(BTreeMap::from([
        ("partition_start".to_owned(), number(resized.partition.start)),
        ("partition_sectors".to_owned(), number(resized.partition.sectors)),
        ("fs_type".to_owned(), Pickle::Str(resized.fs.to_owned())),
        ("fs_bytes".to_owned(), number(resized.fs_bytes)),
    ]))
}

fn partition(disk: &Disk<'_>, start: u64, kind: PartitionKind) -> Result<Partition, Error> {
    let plan = partition_table::single(start, kind, disk.sectors()?).map_err(|e| disk.refuse(e))?;
    disk.write(&plan)?;
    Ok(plan.partition)
}

/// What a partition is formatted with.
struct Format<'a> {
    kind: FormatKind,
    label: &'a str,
}

/// Name, program, options, longest label, the label's option.
type FormatKind = &'static (&'static str, &'static str, &'static [&'static str], usize, &'static str);

const FORMATS: &[(&str, &str, &[&str], usize, &str)] = &[
    ("swap", "mkswap", &[], 16, "-L"),
    ("ext2", "mkfs.ext2", &["-q", "-F"], 16, "-L"),
    ("ext3", "mkfs.ext3", &["-q", "-F"], 16, "-L"),
    ("ext4", "mkfs.ext4", &["-q", "-F"], 16, "-L"),
    ("xfs", "mkfs.xfs", &["-q", "-f"], 12, "-L"),
    ("vfat", "mkfs.vfat", &[], 11, "-n"),
];

impl<'a> Format<'a> {
    fn of(args: &'a Args) -> Result<Self, Error> {
        let wanted = args.required("fs_type")?;
        let Some(kind) = FORMATS.iter().find(|(name, ..)| *name == wanted) else {
            let names: Vec<&str> = FORMATS.iter().map(|(name, ..)| *name).collect();
            let reason = format!("{wanted:?} is not known; {} are", names.join(", "));
            return Err(Error::Argument { name: "fs_type", reason });
        };
        let (label, longest) = (args.optional("fs_label").unwrap_or_default(), kind.3);
        let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_. ".contains(&b));
        if label.len() > longest || label.starts_with('-') || !plain {
            let reason = format!(
                "{label:?} cannot be a label of {wanted}: at most {longest} letters, digits, '-', '_', '.'"
            );
            return Err(Error::Argument { name: "fs_label", reason });
        }
        Ok(Self { kind, label })
    }

    fn partition_kind(&self) -> PartitionKind {
        match self.kind.0 {
            "swap" => PartitionKind::Swap,
            "vfat" => PartitionKind::Fat,
            _ => PartitionKind::Linux,
        }
    }

    fn write(&self, disk: &Disk<'_>, partition: &Partition) -> Result<(), Error> {
        let attached = disk.attach(partition)?;
        let (_, program, options, _, label_option) = *self.kind;
        let mut options = options.to_vec();
        if !self.label.is_empty() {
            options.extend([label_option, self.label]);
        }
        options.push(attached.device());
        disk.dom0.run(program, &options, "", MKFS_LIMIT)?;
        attached.detach()?;
        disk.sync()
    }
}

/// `/dev/<dev>` where `dev` is what XAPI calls a VDI that is attached to the control domain: `xvdb`, or
/// `sm/backend/<SR>/<VDI>`. The host's own disks have other names and are out of reach.
pub(super) fn device(args: &Args, argument: &'static str) -> Result<PathBuf, Error> {
    let name = args.required(argument)?;
    let name = name.strip_prefix("/dev/").unwrap_or(name);
    let is_xvd =
        |letters: &str| (1..=2).contains(&letters.len()) && letters.bytes().all(|b| b.is_ascii_lowercase());
    let is_vdi = match (name.strip_prefix("xvd"), name.strip_prefix("sm/backend/")) {
        (Some(letters), _) => is_xvd(letters),
        (_, Some(rest)) => rest.split_once('/').is_some_and(|(sr, vdi)| is_uuid(sr) && is_uuid(vdi)),
        _ => false,
    };
    if !is_vdi {
        return Err(Error::Argument {
            name: argument,
            reason: format!(
                "{name:?} is not what a VDI attached to the control domain is called, such as xvdb"
            ),
        });
    }
    Ok(Path::new("/dev").join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    #[test]
    fn a_device_that_never_comes_is_none() {
        let dom0 = Fake::default().with_file("/dev/xvdb", "");
        let wait = |path| wait_for_dev(&dom0, &Args::of(&[("dev_path", path), ("max_seconds", "3")]));
        assert_eq!(wait("/dev/xvdb"), Ok(Pickle::Str("/dev/xvdb".to_owned())));
        assert_eq!(wait("/dev/xvdz"), Ok(Pickle::None));
        assert_eq!(dom0.slept(), Duration::from_secs(3));
    }

    fn args(fs_type: &'static str, fs_label: &'static str) -> Args {
        Args::of(&[("dev", "xvdb"), ("partnum", "1"), ("fs_type", fs_type), ("fs_label", fs_label)])
    }

    #[test]
    fn the_loop_device_goes_even_when_mkfs_fails() {
        let dom0 = Fake::default().with_disk("/dev/xvdb", 8192).failing("mkfs.ext3").answering(
            "losetup",
            0,
            "/dev/loop7\n",
            "",
        );
        let partitioned = Args::of(&[("dev", "xvdb"), ("partition_start", "2048s"), ("partition_end", "-")]);
        assert_eq!(make_partition(&dom0, &partitioned), Ok(Pickle::None));
        assert!(matches!(mkfs(&dom0, &args("ext3", "eph")), Err(Error::Command(_))));
        assert_eq!(
            dom0.commands()[2..],
            [
                "losetup --find --show --offset 1048576 --sizelimit 3145728 /dev/xvdb",
                "mkfs.ext3 -q -F -L eph /dev/loop7",
                "losetup -d /dev/loop7",
            ]
        );
    }

    #[test]
    fn a_partition_that_is_not_there() {
        let dom0 = Fake::default().with_disk("/dev/xvdb", 8192);
        let error = mkfs(&dom0, &args("ext3", "")).unwrap_err();
        assert_eq!(error.to_string(), "/dev/xvdb: there is no partition table");
        assert_eq!(error.class(), "CannotResizeDisk");
    }

    #[test]
    fn a_disk_is_copied_as_far_as_it_differs() {
        let files = [(); 2].map(|()| tempfile::NamedTempFile::new().unwrap());
        let [source, target] = [0, 1].map(|n: usize| files[n].path());
        let mut bytes = vec![0; 24 << 20];
        bytes[5] = 1;
        bytes[17 << 20] = 2;
        std::fs::write(source, &bytes).unwrap();
        files[1].as_file().set_len(20 << 20).unwrap();
        let dom0 =
            Fake::default().with_file_as_disk("/dev/xvdb", source).with_file_as_disk("/dev/xvdc", target);
        let copy = |from, len| {
            copy_disk(&dom0, &Args::of(&[("source", from), ("dev", "xvdc"), ("size_bytes", len)]))
        };
        let wrong = |outcome| matches!(outcome, Err(Error::Argument { .. }));
        assert!(
            wrong(copy("xvdc", "512")) && wrong(copy("../xvdb", "512")) && wrong(copy("xvdb", "20971521"))
        );
        assert!(matches!(copy("xvdb", "20971520"), Ok(Pickle::Int(n)) if n > 0 && n < 16 << 20));
        assert!(std::fs::read(target).unwrap() == bytes[..20 << 20]);
        assert_eq!(copy("xvdb", "20971520"), Ok(Pickle::Int(0)));
    }

    #[test]
    fn hostile_arguments() {
        let dom0 = Fake::default();
        let long = "sm/backend/../../../sda1/6bdbfb6a-6f4e-4b9a-9f43-0c6d5e1a2b3c";
        for dev in
            ["", "../sda", "xvd b", "a/b", "-x", "XVDB", "sda", "nvme0n1", "xvd", "xvdabc", "xvdb1", long]
        {
            let args = Args::of(&[("dev", dev), ("partnum", "1"), ("fs_type", "ext3"), ("fs_label", "")]);
            assert!(matches!(mkfs(&dom0, &args), Err(Error::Argument { name: "dev", .. })), "{dev:?}");
        }
        for (fs, label) in
            [("ext3", "-n"), ("ext3", "$(id)"), ("xfs", "thirteen-char"), ("vfat", "twelve-chars")]
        {
            let refused = mkfs(&dom0, &args(fs, label));
            assert!(matches!(refused, Err(Error::Argument { name: "fs_label", .. })), "{label:?}");
        }
        assert!(matches!(mkfs(&dom0, &args("zfs", "")), Err(Error::Argument { name: "fs_type", .. })));
        for size in ["0", "1000", "-1"] {
            let args = Args::of(&[("dev", "xvdb"), ("size_bytes", size)]);
            assert!(matches!(resize_down(&dom0, &args), Err(Error::Argument { name: "size_bytes", .. })));
        }
        assert!(dom0.commands().is_empty());
    }

    #[test]
    fn both_names_of_an_attached_vdi() {
        let uuid = "6bdbfb6a-6f4e-4b9a-9f43-0c6d5e1a2b3c";
        let device =
            |dev: &str| device(&Args::of(&[("dev", dev)]), "dev").map(|path| path.display().to_string());
        assert_eq!(device("/dev/xvdab"), Ok("/dev/xvdab".to_owned()));
        let backend = format!("sm/backend/{uuid}/{uuid}");
        assert_eq!(device(&backend), Ok(format!("/dev/{backend}")));
    }
}
