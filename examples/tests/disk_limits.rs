//! The largest disks, long chains and a merge that is killed, with `disk` as a user starts it.

mod bench;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench::Bench;

const GIB: u64 = 1 << 30;

/// The most memory that a command took, in MiB.
fn peak(bench: &Bench, args: &[&str]) -> Result<u64> {
    let said = bench.run(0, &[args, &["--stats"]].concat()).stderr;
    let said = String::from_utf8(said)?;
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
        let mut merge =
            bench.disk(&["coalesce", "child.vhd"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let status = loop {
            let journal = bench.path(".base.vhd.coalesce").exists();
            if journal && fs::metadata(bench.path("base.vhd"))?.len() >= begun + grown {
                // SIGKILL.
                merge.kill()?;
                break merge.wait()?;
            }
            match merge.try_wait()? {
                Some(status) => break status,
                None => thread::sleep(Duration::from_micros(50)),
            }
        };
        killed += u32::from(status.signal() == Some(9));
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
