//! A real disk: GPT, ext4, thousands of files. Built once, kept in the target directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::tools::{self, command, output, run};

/// The programs that [`Ext4Disk::get`] needs, for [`tools::present`]: Debian's e2fsprogs, fdisk and
/// qemu-utils.
pub const PROGRAMS: &[&str] = &["mkfs.ext4", "e2fsck", "sfdisk", "qemu-img"];

/// A disk of 4 GiB with one partition that holds an ext4 file system with thousands of files.
///
/// The three files have the same content and are not to be written to: other tests read them.
#[derive(Debug, Clone)]
pub struct Ext4Disk {
    /// The disk as it is, with holes.
    pub raw: PathBuf,
    /// The disk as a dynamic VHD, made by qemu-img.
    pub dynamic_vhd: PathBuf,
    /// The disk as a fixed VHD, made by qemu-img.
    pub fixed_vhd: PathBuf,
}

impl Ext4Disk {
    /// The size of the disk, in bytes.
    pub const VIRTUAL_BYTES: u64 = 4 << 30;
    /// Where the file system begins, in bytes.
    pub const PARTITION_OFFSET_BYTES: u64 = 1 << 20;
    /// How many files there are, at least.
    pub const MIN_FILES: usize = 3000;

    /// The disk, which is built if this is the first time.
    ///
    /// Takes some ten seconds then. Several tests may ask at the same time: one builds, the others wait.
    ///
    /// # Errors
    ///
    /// If one of [`PROGRAMS`] is missing or fails, or the disk is full.
    pub fn get() -> Result<Self> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"));
        // The name changes with what is built, so that an older one is not taken for it.
        let directory = target.join("e2e-images").join("ext4-v1");
        let parent = directory.parent().expect("it was just joined");
        fs::create_dir_all(parent)?;
        let lock = File::create(parent.join("lock"))?;
        lock.lock().with_context(|| format!("cannot lock {}", parent.display()))?;
        if !directory.is_dir() {
            let scratch = tempfile::Builder::new().prefix("building-").tempdir_in(parent)?;
            Self::in_directory(scratch.path()).build(scratch.path())?;
            fs::rename(scratch.keep(), &directory)?;
        }
        Ok(Self::in_directory(&directory))
    }

    fn in_directory(directory: &Path) -> Self {
        let file = |name| directory.join(name);
        Self { raw: file("disk.raw"), dynamic_vhd: file("dynamic.vhd"), fixed_vhd: file("fixed.vhd") }
    }

    fn build(&self, directory: &Path) -> Result<()> {
        let content = directory.join("content");
        stage(&content).context("cannot gather the files of the test disk")?;
        File::create_new(&self.raw)?.set_len(Self::VIRTUAL_BYTES)?;
        self.write_partition_table()?;
        // The last MiB is left to the backup of the partition table.
        let kib = (Self::VIRTUAL_BYTES - Self::PARTITION_OFFSET_BYTES - (1 << 20)) / 1024;
        let offset = format!("offset={}", Self::PARTITION_OFFSET_BYTES);
        let mkfs = &mut command("mkfs.ext4")?;
        mkfs.args(["-q", "-F", "-L", "e2e-root", "-E", &offset, "-d"]).arg(&content).arg(&self.raw);
        output(mkfs.arg(format!("{kib}k")))?;
        fs::remove_dir_all(&content)?;
        tools::e2fsck_clean(&self.raw, Self::PARTITION_OFFSET_BYTES)?;
        for (vhd, subformat) in [(&self.dynamic_vhd, "dynamic"), (&self.fixed_vhd, "fixed")] {
            // Without force_size, qemu-img rounds the size up to a whole number of cylinders.
            let options = format!("subformat={subformat},force_size=on");
            let convert = &mut command("qemu-img")?;
            output(
                convert.args(["convert", "-f", "raw", "-O", "vpc", "-o", &options]).arg(&self.raw).arg(vhd),
            )?;
        }
        Ok(())
    }

    fn write_partition_table(&self) -> Result<()> {
        let script = self.raw.with_extension("sfdisk");
        let sectors = |bytes: u64| bytes / 512;
        let start = sectors(Self::PARTITION_OFFSET_BYTES);
        let size = sectors(Self::VIRTUAL_BYTES) - start - sectors(1 << 20);
        fs::write(&script, format!("label: gpt\nstart={start}, size={size}, type=linux, name=root\n"))?;
        output(command("sfdisk")?.arg("--quiet").arg(&self.raw).stdin(Stdio::from(File::open(&script)?)))?;
        Ok(fs::remove_file(&script)?)
    }
}

/// Copies files that every Linux has into a directory: real names, real sizes, real content. What there
/// is too little of on a small system is made up.
fn stage(content: &Path) -> Result<()> {
    const MAX_FILES: usize = 5000;
    const MAX_BYTES: u64 = 256 << 20;
    const MAX_FILE_BYTES: u64 = 4 << 20;
    let source = Path::new("/usr/share");
    let (mut files, mut bytes) = (0, 0);
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        fs::create_dir_all(content.join(&directory))?;
        let Ok(entries) = fs::read_dir(source.join(&directory)) else { continue };
        let mut names: Vec<_> =
            entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name())).collect();
        names.sort();
        // Not all from the first few directories: those can be large.
        let mut here = 0;
        for name in names {
            let path = directory.join(&name);
            let Ok(metadata) = source.join(&path).symlink_metadata() else { continue };
            let fits =
                files < MAX_FILES && here < 40 && metadata.len() <= MAX_FILE_BYTES.min(MAX_BYTES - bytes);
            if metadata.is_dir() && files < MAX_FILES {
                directories.push(path);
            } else if metadata.is_file() && fits && fs::copy(source.join(&path), content.join(&path)).is_ok()
            {
                (files, here, bytes) = (files + 1, here + 1, bytes + metadata.len());
            }
        }
    }
    let made_up = content.join("made up");
    fs::create_dir_all(&made_up)?;
    for i in files..Ext4Disk::MIN_FILES {
        fs::write(made_up.join(format!("file {i}")), format!("file number {i}\n").repeat(i))?;
    }
    ensure!(content.read_dir()?.next().is_some(), "there is nothing in {}", source.display());
    Ok(())
}

/// How many files an ext4 file system inside a raw disk holds, by e2fsprogs' reckoning.
///
/// # Errors
///
/// If there is no ext4 file system at that offset.
pub fn ext4_inodes_used(raw: &Path, offset_bytes: u64) -> Result<u64> {
    let text = run("dumpe2fs", ["-h".into(), format!("{}?offset={offset_bytes}", raw.display())])?;
    let field = |name: &str| -> Result<u64> {
        let line =
            text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        Ok(line.trim().parse()?)
    };
    Ok(field("Inode count:")? - field("Free inodes:")?)
}
