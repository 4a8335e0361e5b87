//! Grows and shrinks the only partition of a disk together with its file system: looked at and checked
//! first, refused while the disk is as it was, verified afterwards. Each can be repeated after a failure.

use std::time::Duration;

use crate::disk::{Attached, Disk};
use crate::dom0::{CommandError, Finished};
use crate::filesystem::{Ext, FileSystem, HEAD_BYTES};
use crate::partition_table::{Partition, SECTOR};
use crate::plugins::Error;

/// Checking and moving the blocks of a large disk over a slow network takes hours; hanging takes for ever.
const FS_LIMIT: Duration = Duration::from_secs(4 * 3_600);
const TOOL_LIMIT: Duration = Duration::from_secs(120);

/// What a disk is like after a resize.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resized {
    pub(crate) partition: Partition,
    pub(crate) fs: &'static str,
    pub(crate) fs_bytes: u64,
}

/// Makes the partition end with the disk and its file system fill it.
pub(crate) fn grow(disk: &Disk<'_>) -> Result<Resized, Error> {
    let table = disk.table()?;
    let before = table.single().map_err(|e| disk.refuse(e))?;
    let plan = table.resize(disk.sectors()?).map_err(|e| disk.refuse(e))?;
    if plan.partition.sectors < before.sectors {
        return Err(disk.refuse("the partition reaches into what should be the end of the disk's table"));
    }
    let (_, fs) = checked(disk)?;

    disk.write(&plan)?;
    let attached = disk.attach(&plan.partition)?;
    let device = attached.device();
    match &fs {
        FileSystem::Ext(_) => {
            disk.dom0.run("resize2fs", &[device], "", FS_LIMIT)?;
            verify(disk, device)?;
        }
        FileSystem::Xfs { .. } => mounted(&attached, "xfs", &["xfs_growfs", "-d"], disk)?,
        FileSystem::Btrfs { .. } => {
            mounted(&attached, "btrfs", &["btrfs", "filesystem", "resize", "max"], disk)?;
        }
        FileSystem::Other(what) => return Err(not_resized(disk, what)),
    }
    attached.detach()?;
    resized(disk, plan.partition)
}

/// Makes the file system and its partition fit a disk of `len_bytes`, so that what is beyond can be cut off.
pub(crate) fn shrink(disk: &Disk<'_>, len_bytes: u64) -> Result<Resized, Error> {
    let table = disk.table()?;
    let before = table.single().map_err(|e| disk.refuse(e))?;
    let fs = probe(disk, &before)?;
    let FileSystem::Ext(ext) = &fs else {
        let text = format!("{} cannot be made smaller; ext2, ext3 and ext4 can", fs.name());
        return Err(disk.refuse(text));
    };
    let plan = table.resize(len_bytes / SECTOR).map_err(|e| disk.refuse(e))?;
    // A page at least, which is what the kernel's caches and the usual block have.
    let kib = plan.partition.sectors * SECTOR / 4096 * 4;
    if plan.partition.sectors > before.sectors {
        return Err(disk.refuse(format!("it already fits {len_bytes} bytes; grow it instead")));
    }
    let attached = disk.attach(&before)?;
    look(disk, &attached, &fs)?;
    let device = attached.device();
    let least = least_bytes(disk, device, ext)?;
    if least > kib * 1024 {
        let text =
            format!("its files need {least} bytes, and a disk of {len_bytes} has {} for them", kib * 1024);
        return Err(disk.refuse(text));
    }
    settle(disk, &attached, &fs)?;
    if fs.len_bytes().unwrap_or_default() > kib * 1024 {
        disk.dom0.run("resize2fs", &[device, &format!("{kib}K")], "", FS_LIMIT)?;
        verify(disk, device)?;
    }
    attached.detach()?;

    disk.write(&plan)?;
    resized(disk, plan.partition)
}

/// The only partition and its file system, found sound.
pub(crate) fn checked(disk: &Disk<'_>) -> Result<(Partition, FileSystem), Error> {
    let partition = disk.table()?.single().map_err(|e| disk.refuse(e))?;
    let fs = probe(disk, &partition)?;
    let attached = disk.attach(&partition)?;
    check(disk, &attached, &fs)?;
    attached.detach()?;
    Ok((partition, fs))
}

/// What the partition holds; refused when it is not a file system of a kind that is resized.
fn probe(disk: &Disk<'_>, partition: &Partition) -> Result<FileSystem, Error> {
    let len = (partition.sectors * SECTOR).min(HEAD_BYTES as u64);
    let fs = FileSystem::probe(&disk.read(partition.start * SECTOR, len)?);
    match fs {
        FileSystem::Other(what) => Err(not_resized(disk, what)),
        FileSystem::Btrfs { devices, .. } if devices != 1 => {
            Err(disk.refuse(format!("the btrfs is on {devices} devices")))
        }
        // The system of a btrfs over several devices is larger than one of them; that is refused above.
        _ if fs.len_bytes().unwrap_or_default() > partition.sectors * SECTOR => {
            let text = format!("the {} says that it is larger than its partition", fs.name());
            Err(disk.refuse(text))
        }
        _ => Ok(fs),
    }
}

fn not_resized(disk: &Disk<'_>, what: &str) -> Error {
    disk.refuse(format!("the partition holds {what}"))
}

/// Checks a file system; `e2fsck` mends what needs nobody's opinion.
fn check(disk: &Disk<'_>, attached: &Attached<'_>, fs: &FileSystem) -> Result<(), Error> {
    look(disk, attached, fs)?;
    settle(disk, attached, fs)
}

/// Checks a file system without writing to it, but for the replay of its journal.
fn look(disk: &Disk<'_>, attached: &Attached<'_>, fs: &FileSystem) -> Result<(), Error> {
    let device = attached.device();
    match fs {
        FileSystem::Ext(ext) => {
            let version = e2fsprogs(disk)?;
            let unknown = ext.unknown_to(version);
            if !unknown.is_empty() {
                let text = format!(
                    "e2fsprogs {}.{} of this host does not know {} of this file system: leave it to the guest",
                    version.0,
                    version.1,
                    unknown.join(", ")
                );
                return Err(disk.refuse(text));
            }
            // As any mount does: what is in the journal alone would not be seen, nor what was freed.
            if ext.needs_recovery() && !replay(disk, attached, fs)? {
                return Ok(());
            }
            let done = disk.dom0.execute("e2fsck", &["-f", "-n", device], "", FS_LIMIT)?;
            sound(disk, fs, "e2fsck", &done, done.code == 0)
        }
        FileSystem::Xfs { .. } => {
            // 2: the log has to be replayed, which mounting does.
            let done = disk.dom0.execute("xfs_repair", &["-n", device], "", FS_LIMIT)?;
            sound(disk, fs, "xfs_repair", &done, matches!(done.code, 0 | 2))
        }
        FileSystem::Btrfs { .. } => {
            let done = disk.dom0.execute("btrfs", &["check", "--readonly", device], "", FS_LIMIT)?;
            sound(disk, fs, "btrfs check", &done, done.code == 0)
        }
        FileSystem::Other(what) => Err(not_resized(disk, what)),
    }
}

/// Replays the journal of an ext and mends nothing; whether e2fsprogs of this host can do the one without the other.
fn replay(disk: &Disk<'_>, attached: &Attached<'_>, fs: &FileSystem) -> Result<bool, Error> {
    let options = ["-p", "-E", "journal_only", attached.device()];
    let done = disk.dom0.execute("e2fsck", &options, "", FS_LIMIT)?;
    if done.stderr.contains("Unknown extended option")
        || done.stderr.contains("Extended options are separated")
    {
        return Ok(false);
    }
    sound(disk, fs, "e2fsck", &done, done.code & !3 == 0).map(|()| true)
}

/// Replays its journal. `e2fsck -p` comes after the look, for it writes to file systems of which it finds out later
/// that it cannot mend them; `resize2fs` wants that it has been there.
fn settle(disk: &Disk<'_>, attached: &Attached<'_>, fs: &FileSystem) -> Result<(), Error> {
    match fs {
        FileSystem::Ext(_) => {
            let done = disk.dom0.execute("e2fsck", &["-f", "-p", attached.device()], "", FS_LIMIT)?;
            // 1 and 2: errors were corrected; 2 asks for a restart, which concerns a mounted root alone.
            sound(disk, fs, "e2fsck", &done, done.code & !3 == 0)
        }
        other => attached.mount(other.name())?.unmount(),
    }
}

/// Turns a checker's verdict into a refusal that has its words.
fn sound(
    disk: &Disk<'_>,
    fs: &FileSystem,
    program: &str,
    done: &Finished,
    is_sound: bool,
) -> Result<(), Error> {
    if is_sound {
        return Ok(());
    }
    let words = format!("{}\n{}", done.stdout.trim(), done.stderr.trim());
    let words: Vec<&str> = words.lines().filter(|line| !line.is_empty()).collect();
    // The verdict is at the end; a file system that is all wrong has pages before it.
    let last = words[words.len().saturating_sub(8)..].join("; ");
    Err(disk.refuse(format!("the {} has errors: {program} ended with {}: {last}", fs.name(), done.code)))
}

/// A last look that changes nothing.
fn verify(disk: &Disk<'_>, device: &str) -> Result<(), Error> {
    let done = disk.dom0.execute("e2fsck", &["-f", "-n", device], "", FS_LIMIT)?;
    match done.code {
        0 => Ok(()),
        code => Err(CommandError {
            program: "e2fsck".to_owned(),
            reason: format!("the resized file system is not sound: exit status: {code}"),
            stderr: format!("{}\n{}", done.stdout.trim(), done.stderr.trim()),
        }
        .into()),
    }
}

/// The smallest size that the files allow, as `resize2fs` estimates it.
fn least_bytes(disk: &Disk<'_>, device: &str, ext: &Ext) -> Result<u64, Error> {
    let estimate = disk.dom0.run("resize2fs", &["-P", device], "", FS_LIMIT)?;
    let blocks = estimate.rsplit(':').next().and_then(|number| number.trim().parse::<u64>().ok());
    let blocks =
        blocks.ok_or_else(|| Error::Other(format!("resize2fs -P said {estimate:?}, which is no number")))?;
    Ok(blocks.saturating_mul(ext.block_bytes))
}

/// The version of e2fsprogs here.
fn e2fsprogs(disk: &Disk<'_>) -> Result<(u32, u32), Error> {
    let said = disk.dom0.execute("e2fsck", &["-V"], "", TOOL_LIMIT)?;
    let version = |text: &str| {
        let (major, rest) = text.split_whitespace().nth(1)?.split_once('.')?;
        let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    version(&said.stderr)
        .ok_or_else(|| Error::Other(format!("e2fsck -V said {:?}, which is no version", said.stderr)))
}

/// Runs a command that wants the file system mounted, with the place as its last argument.
fn mounted(attached: &Attached<'_>, fs: &str, command: &[&str], disk: &Disk<'_>) -> Result<(), Error> {
    let mount = attached.mount(fs)?;
    let at = mount.path().to_string_lossy().into_owned();
    let args: Vec<&str> = command[1..].iter().copied().chain([at.as_str()]).collect();
    disk.dom0.run(command[0], &args, "", FS_LIMIT)?;
    mount.unmount()
}

fn resized(disk: &Disk<'_>, partition: Partition) -> Result<Resized, Error> {
    disk.sync()?;
    let fs = probe(disk, &partition)?;
    Ok(Resized { partition, fs: fs.name(), fs_bytes: fs.len_bytes().unwrap_or_default() })
}

#[cfg(test)]
mod tests;
