//! The largest disks, long chains and a merge that is killed, with `disk` as a user starts it.

mod bench;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bench::Bench;

const GIB: u64 = 1 << 30;

/// The most memory that a command took, in MiB.
fn peak(bench: &Bench, args: &[&str]) -> Result<u64> {
    peak_of(bench.run(0, &[args, &["--stats"]].concat()).stderr)
}

fn peak_of(stats: Vec<u8>) -> Result<u64> {
    let said = String::from_utf8(stats)?;
    let kib = said.lines().find_map(|line| line.strip_prefix("memory ")?.split_once(" kB"));
    Ok(kib.context("the peak")?.0.parse::<u64>()? / 1024)
}

/// A sparse raw disk of this size with a MiB at each of these places.
fn sparse(bench: &Bench, name: &str, size: u64, places: &[u64]) -> Result<()> {
    let file = File::options().create(true).truncate(false).write(true).open(bench.path(name))?;
    file.set_len(size)?;
    let data: Vec<u8> = (0..1 << 20).map(|at: u32| (at / 7) as u8 | 1).collect();
    for place in places {
        file.write_all_at(&data, *place)?;
    }
    Ok(())
}

#[test]
fn a_disk_of_2040_gib_goes_round_in_little_memory() -> Result<()> {
    let bench = Bench::new()?;
    let size = 2040 * GIB;
    sparse(&bench, "huge.raw", size, &[0, 5 * GIB, 1023 * GIB, size - (1 << 20)])?;
    for args in [
        &["convert", "huge.raw", "huge.vhd"][..],
        &["check", "huge.vhd"],
        &["convert", "-O", "raw", "huge.vhd", "back.raw"],
        &["convert", "huge.vhd", "again.vhd"],
        &["compare", "--strict", "back.raw", "huge.raw"],
        &["compare", "--strict", "again.vhd", "huge.raw"],
        &["info", "huge.vhd"],
        &["convert", "-O", "qcow2", "huge.vhd", "huge.qcow2"],
        &["compare", "--strict", "huge.qcow2", "huge.raw"],
    ] {
        let peak = peak(&bench, args)?;
        ensure!(peak < 32, "disk {args:?} took {peak} MiB");
    }
    sparse(&bench, "larger.raw", size + 1, &[0])?;
    for format in ["vhd", "vhd-fixed"] {
        let error = bench.run(1, &["convert", "-O", format, "larger.raw", "larger.vhd"]);
        let said = String::from_utf8(error.stderr)?;
        ensure!(said.contains("2190433320960"), "it says what the limit is: {said}");
        ensure!(!bench.path("larger.vhd").exists());
    }
    Ok(())
}

#[test]
fn a_chain_of_30_in_little_memory() -> Result<()> {
    let bench = Bench::new()?;
    let size = 2040 * GIB;
    sparse(&bench, "disk.raw", size, &[0])?;
    bench.run(0, &["convert", "disk.raw", "layer0.vhd"]);
    for layer in 1..30 {
        sparse(&bench, "disk.raw", size, &[layer * 61 * GIB, layer * GIB / 2])?;
        let (base, child) = (format!("layer{}.vhd", layer - 1), format!("layer{layer}.vhd"));
        bench.run(0, &["diff", &base, "disk.raw", &child]);
    }
    for args in [
        &["convert", "-O", "raw", "layer29.vhd", "flat.raw"][..],
        &["convert", "layer29.vhd", "flat.vhd"],
        &["compare", "layer29.vhd", "disk.raw"],
        &["map", "layer29.vhd"],
        &["compare", "flat.raw", "flat.vhd"],
        &["compare", "flat.raw", "disk.raw"],
    ] {
        let peak = peak(&bench, args)?;
        ensure!(peak < 64, "disk {args:?} took {peak} MiB");
    }
    // One more is too many for XenServer.
    bench.run(0, &["diff", "layer29.vhd", "disk.raw", "layer30.vhd"]);
    let error = bench.run(1, &["info", "--backing-chain", "layer30.vhd"]);
    ensure!(String::from_utf8(error.stderr)?.contains("30"));
    bench.run(0, &["compare", "--depth", "31", "layer30.vhd", "disk.raw"]);
    in_disorder(&bench)
}

/// Gives a VHD a table in which every block is allocated, none of them behind the one before it: as much as a table can
/// say. The bitmaps of most blocks are empty, so that the disk has little in it.
fn disorder(bench: &Bench, name: &str) -> Result<()> {
    let file = File::options().read(true).write(true).open(bench.path(name))?;
    let (mut footer, mut word) = ([0; 512], [0; 4]);
    file.read_exact_at(&mut footer, 0)?;
    // Of the header, which follows: where the table is, in the low half of its field, and its entries.
    let mut field = |at| file.read_exact_at(&mut word, at).map(|()| u32::from_be_bytes(word));
    let (table, entries) = (u64::from(field(532)?), u64::from(field(540)?));
    file.write_all_at(&[0; 512], file.metadata()?.len() - 512)?;
    let (first, step) = ((table + entries * 4).div_ceil(512), 4097);
    // Each place once: they have no factor in common.
    let places = (0..entries).map(|block| first + block * 48_271 % entries * step);
    let bytes: Vec<u8> = places.flat_map(|sector| (sector as u32).to_be_bytes()).collect();
    file.write_all_at(&bytes, table)?;
    Ok(file.write_all_at(&footer, (first + entries * step) * 512)?)
}

/// Tables that say as much as they can are not in memory.
fn in_disorder(bench: &Bench) -> Result<()> {
    for layer in 0..30 {
        disorder(bench, &format!("layer{layer}.vhd"))?;
    }
    for (most, args) in [
        (32, &["info", "layer0.vhd"][..]),
        (32, &["check", "layer0.vhd"]),
        (32, &["info", "layer29.vhd"]),
        (64, &["info", "--backing-chain", "layer29.vhd"]),
        (64, &["check", "layer29.vhd"]),
    ] {
        let peak = peak(bench, args)?;
        ensure!(peak < most, "disk {args:?} took {peak} MiB with tables in disorder");
    }
    for (most, leaf) in [(32, "layer0.vhd"), (64, "layer29.vhd")] {
        let (_, peak) = begin_to_read(bench, leaf)?;
        ensure!(peak < most, "reading {leaf} took {peak} MiB with tables in disorder");
    }
    Ok(())
}

/// The first bytes of a disk, and the most memory that was taken for them: to look at all of it takes a while.
fn begin_to_read(bench: &Bench, name: &str) -> Result<(Vec<u8>, u64)> {
    let mut reading = bench.disk(&["convert", "-O", "raw", name, "-", "--stats"]);
    let mut reading = reading.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut first = vec![0; 64 << 20];
    reading.stdout.take().context("its output")?.read_exact(&mut first)?;
    Ok((first, peak_of(reading.wait_with_output()?.stderr)?))
}

/// The most memory that a command has taken when it is done, or so much later: what it looks at does not change from then on.
fn peak_within(bench: &Bench, args: &[&str], patience: Duration) -> Result<u64> {
    let mut running = bench.disk(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let (begun, mut peak) = (Instant::now(), 0);
    loop {
        let status = fs::read_to_string(format!("/proc/{}/status", running.id()))?;
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak = most.map_or(Ok(peak), str::parse)?;
        if let Some(status) = running.try_wait()? {
            ensure!(status.success(), "disk {args:?}: {status}");
            return Ok(peak / 1024);
        }
        if begun.elapsed() > patience {
            running.kill()?;
            running.wait()?;
            return Ok(peak / 1024);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// What changes a chain, or looks at several, with as much in each table as there can be.
#[test]
fn chains_in_disorder_are_changed_in_little_memory() -> Result<()> {
    let bench = Bench::new()?;
    fs::remove_file(bench.path("disk.raw"))?;
    sparse(&bench, "disk.raw", 2040 * GIB, &[0])?;
    bench.run(0, &["convert", "disk.raw", "layer0.vhd"]);
    for (base, child) in
        [("layer0.vhd", "layer1.vhd"), ("layer1.vhd", "layer2.vhd"), ("layer0.vhd", "other.vhd")]
    {
        bench.run(0, &["diff", base, "disk.raw", child]);
    }
    for name in ["layer0.vhd", "layer1.vhd", "layer2.vhd", "other.vhd"] {
        disorder(&bench, name)?;
    }
    for args in [
        &["tree", "."][..],
        &["map", "layer2.vhd"],
        &["diff", "layer1.vhd", "disk.raw", "new.vhd"],
        &["rebase", "layer2.vhd", "other.vhd"],
        &["rebase", "--metadata", "layer2.vhd", "other.vhd"],
        &["coalesce", "layer2.vhd"],
        &["coalesce", "--delete", "layer2.vhd"],
    ] {
        let peak = peak_within(&bench, args, Duration::from_secs(8))?;
        ensure!(peak < 32, "disk {args:?} took {peak} MiB with tables in disorder");
        writeln!(io::stderr(), "disk {args:?}: {peak} MiB")?;
    }
    Ok(())
}

/// A qcow2 image in clusters of 2^`bits` bytes with all second tables that its disk needs, so many clusters `apart` and none behind
/// the one before it. The first 64 MiB of the disk have a cluster in each table, which begins with the number of the table.
fn small_clusters(bench: &Bench, name: &str, bits: u32, size: u64, apart: u64) -> Result<u64> {
    let cluster = 1_u64 << bits;
    let reach = cluster * cluster / 8;
    let (entries, l1, tables) = (size / reach, 1 << 20, 64 << 20);
    let mut head = [0; 112];
    for (at, bytes) in [
        (0, &b"QFI\xfb\0\0\0\x03"[..]),
        (20, &bits.to_be_bytes()),
        (24, &size.to_be_bytes()),
        (36, &u32::try_from(entries)?.to_be_bytes()),
        (40, &u64::to_be_bytes(l1)),
        (48, &cluster.to_be_bytes()),
        (56, &1_u32.to_be_bytes()),
        (96, &4_u32.to_be_bytes()),
        (100, &112_u32.to_be_bytes()),
    ] {
        head[at..at + bytes.len()].copy_from_slice(bytes);
    }
    let file = File::create(bench.path(name))?;
    file.set_len(tables + entries * apart * cluster)?;
    file.write_all_at(&head, 0)?;
    // Each place once: they have no factor in common.
    let place = |index: u64| tables + index * 48_271 % entries * apart * cluster;
    let first: Vec<u8> = (0..entries).flat_map(|index| place(index).to_be_bytes()).collect();
    file.write_all_at(&first, l1)?;
    for index in 0..(64 << 20) / reach {
        let data = place(index) + cluster;
        file.write_all_at(&data.to_be_bytes(), place(index))?;
        file.write_all_at(&(index + 1).to_le_bytes(), data)?;
    }
    Ok(reach)
}

/// Small clusters have many tables, which are not in memory either.
#[test]
fn qcow2_images_in_small_clusters_in_disorder() -> Result<()> {
    let bench = Bench::new()?;
    // As if all clusters were there, and close to each other.
    for (bits, size, apart) in [
        (9, 128 * GIB, 65),
        (10, 512 * GIB, 129),
        (11, 2040 * GIB, 257),
        (11, 2040 * GIB, 3),
        (12, 2040 * GIB, 513),
        (13, 2040 * GIB, 1025),
    ] {
        let reach = small_clusters(&bench, "small.qcow2", bits, size, apart)?;
        let told = peak(&bench, &["info", "small.qcow2"])?;
        let (first, peak) = begin_to_read(&bench, "small.qcow2")?;
        ensure!(told.max(peak) < 32, "clusters of 2^{bits} bytes took {told} and {peak} MiB");
        writeln!(io::stderr(), "clusters of 2^{bits} bytes: {told} MiB told, {peak} MiB read")?;
        for (table, index) in first.chunks(usize::try_from(reach)?).zip(1_u64..) {
            ensure!(table[..8] == index.to_le_bytes(), "table {index} of clusters of 2^{bits} bytes");
        }
    }
    Ok(())
}

/// A block device over a file.
struct Loop(String);

impl Loop {
    /// Where there are none, the test is skipped, but not in CI.
    fn over(file: &Path) -> Result<Option<Self>> {
        let made = Command::new("losetup").args(["--find", "--show"]).arg(file).output();
        let why = match made {
            Ok(made) if made.status.success() => {
                return Ok(Some(Self(String::from_utf8(made.stdout)?.trim().to_owned())));
            }
            Ok(made) => String::from_utf8_lossy(&made.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        ensure!(std::env::var("CI").as_deref() != Ok("true"), "no loop device: {why}");
        // Past the harness, which keeps to itself what a test that passes prints.
        writeln!(io::stderr(), "skipped: no loop device, which root can make: losetup: {}", why.trim())?;
        Ok(None)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        drop(Command::new("losetup").arg("--detach").arg(&self.0).output());
    }
}

/// The folder of devices is empty when the machine is started anew, and the device has another name: the journal is elsewhere,
/// and is found.
/// Whether a program was killed, with SIGKILL, as soon as that was there which it waits for, or else had ended before.
fn killed_once(mut program: Command, there: impl Fn() -> Result<bool>) -> Result<bool> {
    let mut program = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    loop {
        if there()? {
            program.kill()?;
            return Ok(program.wait()?.signal() == Some(9));
        }
        if program.try_wait()?.is_some() {
            return Ok(false);
        }
        thread::sleep(Duration::from_micros(50));
    }
}

#[test]
fn a_merge_into_a_device_goes_on_after_the_machine_was_started_anew() -> Result<()> {
    let bench = Bench::new()?;
    File::create(bench.path("backing"))?.set_len(512 << 20)?;
    let Some(mut device) = Loop::over(&bench.path("backing"))? else { return Ok(()) };
    let size = 256 << 20;
    let places: Vec<u64> = (0..60).map(|block| (block * 4 + 1) << 20).collect();
    sparse(&bench, "base.raw", size, &[0, 40 << 20])?;
    sparse(&bench, "disk.raw", size, &places)?;
    fs::copy(bench.path("disk.raw"), bench.path("top.raw"))?;
    sparse(&bench, "top.raw", size, &[200 << 20, 10 << 20])?;
    let state = bench.path("state").display().to_string();
    let removal = |device: &str| {
        let mut removal = bench.disk(&["coalesce", "--delete", "child.vhd", "--chain", device, "--json"]);
        removal.env("XDG_STATE_HOME", &state);
        removal
    };
    bench.run(0, &["convert", "--force", "base.raw", "-O", "vhd", &device.0]);
    bench.run(0, &["diff", &device.0, "disk.raw", "child.vhd"]);
    bench.run(0, &["diff", "child.vhd", "top.raw", "top.vhd", "--chain", &device.0]);
    let merges = bench.path("state/xenapi-rs/merges");
    let files = || fs::read_dir(&merges).into_iter().flatten().flatten().map(|file| file.path());
    let is_journal = |path: &PathBuf| path.extension() == Some("coalesce".as_ref());
    let journal = || Some(fs::read_to_string(files().find(is_journal)?).unwrap_or_default());
    let mut killed = 0;
    for end in ["", "moving\n", "removing\n"] {
        let there = || journal().is_some_and(|text| text.starts_with("xenapi-rs") && text.ends_with(end));
        killed += u32::from(killed_once(removal(&device.0), || Ok(there()))?);
        ensure!(
            fs::read_dir("/dev")?
                .flatten()
                .all(|entry| entry.path().extension() != Some("coalesce".as_ref()))
        );
        let again = Loop::over(&bench.path("backing"))?.context("another device")?;
        ensure!(again.0 != device.0, "as long as both are there");
        device = again;
    }
    ensure!(killed > 0, "every merge was done before it could be killed");
    if bench.path("child.vhd").exists() {
        let done = removal(&device.0).output()?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        ensure!(String::from_utf8(done.stdout)?.contains("\"resumed\":true"));
        ensure!(files().next().is_none(), "{:?} stay", files().collect::<Vec<_>>());
    }
    bench.run(0, &["compare", &device.0, "disk.raw"]);
    bench.run(0, &["compare", "top.vhd", "top.raw", "--chain", &device.0]);
    bench.run(0, &["check", &device.0]);
    Ok(())
}

#[test]
fn a_merge_that_is_killed_goes_on() -> Result<()> {
    let bench = Bench::new()?;
    let size = 256 << 20;
    sparse(&bench, "base.raw", size, &[0, 40 << 20])?;
    fs::copy(bench.path("base.raw"), bench.path("disk.raw"))?;
    let places: Vec<u64> = (0..60).map(|block| (block * 4 + 1) << 20).collect();
    sparse(&bench, "disk.raw", size, &places)?;
    bench.run(0, &["convert", "base.raw", "base.vhd"]);
    bench.run(0, &["diff", "base.vhd", "disk.raw", "child.vhd"]);
    let begun = fs::metadata(bench.path("base.vhd"))?.len();
    let mut killed = 0;
    // As soon as there is a journal, and when the parent has grown by so much.
    for grown in [0, 1, 10 << 20, 50 << 20, 100 << 20] {
        let there = || {
            let journal = bench.path(".base.vhd.coalesce").exists();
            Ok(journal && fs::metadata(bench.path("base.vhd"))?.len() >= begun + grown)
        };
        killed += u32::from(killed_once(bench.disk(&["coalesce", "child.vhd"]), there)?);
        // Nobody sees another disk, and the parent is a VHD that is sound, or lacks a footer.
        bench.run(0, &["compare", "child.vhd", "disk.raw"]);
    }
    ensure!(killed > 0, "every merge was done before it could be killed");
    let done = bench.json(0, &["coalesce", "child.vhd"]);
    ensure!(done["resumed"] == true || killed < 5, "{done}");
    bench.run(0, &["compare", "base.vhd", "disk.raw"]);
    bench.run(0, &["check", "--thorough", "base.vhd"]);
    ensure!(!bench.path(".base.vhd.coalesce").exists());
    Ok(())
}
