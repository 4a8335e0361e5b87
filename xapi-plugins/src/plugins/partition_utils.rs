//! `partition_utils`: partitions and file systems on disks attached to the control domain.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, Outcome};
use crate::convention::{Args, Function};
use crate::dom0::Dom0;
use crate::pickle::Pickle;

/// `mkfs` on a large thick disk writes inode tables for minutes; `kpartx` and `sfdisk` are quick.
const MKFS_LIMIT: Duration = Duration::from_secs(1_800);
const TOOL_LIMIT: Duration = Duration::from_secs(120);
/// What the client's own request is likely to wait for.
const MAX_WAIT_SECONDS: u64 = 3_600;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::serialized("wait_for_dev", wait_for_dev),
    Function::serialized("make_partition", make_partition),
    Function::serialized("mkfs", mkfs),
];

/// `wait_for_dev(dev_path, max_seconds)`: the path once it exists, or `None`.
///
/// `None` is what Nova's client tests for: the old plugin answered the empty string, so that a
/// device that never came was taken for one that had.
fn wait_for_dev(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let path = args.required("dev_path")?;
    let seconds = args.number("max_seconds", None, MAX_WAIT_SECONDS)?;
    for waited in 0..=seconds {
        if dom0.exists(Path::new(path)) {
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
    let dev = device(args)?;
    let start: u64 = args.required("partition_start")?.trim_end_matches('s').parse().map_err(|_| {
        Error::Argument { name: "partition_start", reason: "a sector number is wanted".to_owned() }
    })?;
    if args.required("partition_end")? != "-" {
        return Err(Error::Argument {
            name: "partition_end",
            reason: "only \"-\", the end of the disk, is accepted".to_owned(),
        });
    }
    dom0.run("sfdisk", &["-uS", &dev.to_string_lossy()], &format!("{start},;\n"), TOOL_LIMIT)?;
    Ok(Pickle::None)
}

/// `mkfs(dev, partnum, fs_type, fs_label)`: a file system or swap space on a partition.
fn mkfs(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let dev = device(args)?;
    let number = args.required("partnum")?;
    if number.is_empty() || number.len() > 3 || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::Argument {
            name: "partnum",
            reason: format!("{number:?} is not a partition number"),
        });
    }
    let label = args.optional("fs_label").unwrap_or_default();
    if label.len() > 16 || label.starts_with('-') || label.contains(['/', '\0', '\n']) {
        return Err(Error::Argument {
            name: "fs_label",
            reason: format!("{label:?} cannot be a label: at most 16 bytes"),
        });
    }
    let (program, mut options): (&str, Vec<&str>) = match args.required("fs_type")? {
        "swap" => ("mkswap", vec![]),
        "ext2" => ("mkfs.ext2", vec!["-F"]),
        "ext3" => ("mkfs.ext3", vec!["-F"]),
        "ext4" => ("mkfs.ext4", vec!["-F"]),
        other => {
            let reason = format!("{other:?} is not known; swap, ext2, ext3 and ext4 are");
            return Err(Error::Argument { name: "fs_type", reason });
        }
    };
    if !label.is_empty() {
        options.extend(["-L", label]);
    }
    let device = dev.to_string_lossy();
    let name = dev.file_name().unwrap_or_default().to_string_lossy();
    let target = format!("/dev/mapper/{name}p{number}");
    dom0.run("kpartx", &["-avspp", &device], "", TOOL_LIMIT)?;
    options.push(&target);
    let made = dom0.run(program, &options, "", MKFS_LIMIT);
    // The mapping goes in any case: while it is there the disk cannot be unplugged.
    let unmapped = dom0.run("kpartx", &["-dvspp", &device], "", TOOL_LIMIT);
    made?;
    unmapped?;
    Ok(Pickle::None)
}

/// `/dev/<dev>` for a plain device name; anything with a path in it is refused.
fn device(args: &Args) -> Result<PathBuf, Error> {
    let name = args.required("dev")?;
    let name = name.strip_prefix("/dev/").unwrap_or(name);
    let plain = !name.is_empty()
        && name.len() <= 32
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !plain {
        return Err(Error::Argument {
            name: "dev",
            reason: format!("{name:?} is not a device name such as xvdb"),
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

    #[test]
    fn the_mapping_goes_even_when_mkfs_fails() {
        let dom0 = Fake::default().failing("mkfs.ext3");
        let args = Args::of(&[("dev", "xvdb"), ("partnum", "1"), ("fs_type", "ext3"), ("fs_label", "eph")]);
        assert!(matches!(mkfs(&dom0, &args), Err(Error::Command(_))));
        assert_eq!(
            dom0.commands(),
            ["kpartx -avspp /dev/xvdb", "mkfs.ext3 -F -L eph /dev/mapper/xvdbp1", "kpartx -dvspp /dev/xvdb",]
        );
    }

    #[test]
    fn partition_input() {
        let dom0 = Fake::default();
        let args = Args::of(&[("dev", "xvdb"), ("partition_start", "2048"), ("partition_end", "-")]);
        assert_eq!(make_partition(&dom0, &args), Ok(Pickle::None));
        assert_eq!(dom0.commands(), ["sfdisk -uS /dev/xvdb < 2048,;"]);
    }

    #[test]
    fn hostile_arguments() {
        let dom0 = Fake::default();
        for dev in ["", "../sda", "xvd b", "a/b", "-x", "XVDB"] {
            let args = Args::of(&[("dev", dev), ("partnum", "1"), ("fs_type", "ext3"), ("fs_label", "")]);
            assert!(matches!(mkfs(&dom0, &args), Err(Error::Argument { name: "dev", .. })), "{dev:?}");
        }
        let args = Args::of(&[("dev", "xvdb"), ("partnum", "1"), ("fs_type", "ext3"), ("fs_label", "-n")]);
        assert!(mkfs(&dom0, &args).is_err());
        assert!(dom0.commands().is_empty());
    }
}
