//! `disk` between pipes: what it reads from standard input, and writes to standard output.

mod bench;
#[path = "../disk/place.rs"]
mod place;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use bench::{Bench, qemu, qemu_img};
use serde_json::Value;

/// The disk, as the bytes that it has.
fn raw_of(bench: &Bench) -> Result<Vec<u8>> {
    Ok(fs::read(bench.path("disk.raw"))?)
}

/// What is told for programs is not among the bytes of the disk.
#[test]
fn standard_output_has_nothing_but_the_disk() -> Result<()> {
    let bench = Bench::new()?;
    let raw = raw_of(&bench)?;
    let told = bench.run(0, &["stream", "-O", "raw", "disk.raw", "--digest", "--json"]);
    ensure!(told.stdout == raw);
    ensure!(serde_json::from_slice::<Value>(&told.stderr)?["sha256"].is_string());
    let told = bench.run(0, &["convert", "-O", "raw", "disk.raw", "-", "--json"]);
    ensure!(told.stdout == raw && told.stderr.starts_with(b"{"));
    let told = bench.run(1, &["stream", "none", "--json"]);
    ensure!(told.stdout.is_empty() && told.stderr.starts_with(b"{\"error\""));
    ensure!(bench.run(0, &["stream", "-O", "raw", "disk.raw"]).stdout == raw);
    let said = bench.run(0, &["stream", "-O", "tar", "--digest", "disk.raw"]);
    ensure!(String::from_utf8(said.stderr)?.starts_with("sha256 "));
    Ok(())
}

#[test]
fn what_arrives_becomes_a_file() -> Result<()> {
    let bench = Bench::new()?;
    let raw = raw_of(&bench)?;
    let size = raw.len().to_string();
    let streamed = |format| bench.run(0, &["stream", "-O", format, "disk.raw"]).stdout;
    let (vhd, tar, chunks) = (streamed("vhd"), streamed("tar"), streamed("chunked"));
    let forms: [(&[u8], &[&str]); 4] = [
        (&vhd, &[]),
        (&raw, &["-f", "raw", "--size", &size]),
        (&tar, &[]),
        // XAPI's records tell nothing of the disk's size.
        (&chunks, &["--chunked", "--size", &size]),
    ];
    for (bytes, how) in forms {
        for format in ["raw", "vhd", "vhd-fixed", "qcow2"] {
            bench.feed(0, &[&["convert", "-O", format, "--force", "-", "out"], how].concat(), bytes)?;
            bench.same("out", "disk.raw");
        }
    }
    let unsized_raw = bench.feed(1, &["convert", "-f", "raw", "-", "e.vhd"], &raw)?;
    ensure!(String::from_utf8(unsized_raw.stderr)?.contains("--size"));
    // Of a file, its size is known.
    let mut command = bench.disk(&["convert", "-f", "raw", "-O", "raw", "-", "known.raw"]);
    ensure!(command.stdin(fs::File::open(bench.path("disk.raw"))?).status()?.success());
    ensure!(fs::read(bench.path("known.raw"))? == raw);
    Ok(())
}

/// A VHD from pipe to pipe is the one that is written to files, and an archive is a disk.
#[test]
fn from_pipe_to_pipe() -> Result<()> {
    let bench = Bench::new()?;
    let raw = raw_of(&bench)?;
    let streamed = |format| bench.run(0, &["stream", "-O", format, "disk.raw"]).stdout;
    let vhd = streamed("vhd");
    ensure!(bench.feed(0, &["convert", "-O", "raw", "-", "-"], &vhd)?.stdout == raw);
    // What is not known in advance goes through a file.
    for bytes in [vhd, streamed("tar")] {
        let out = bench.feed(0, &["convert", "-", "-"], &bytes)?.stdout;
        fs::write(bench.path("out.vhd"), out)?;
        bench.same("out.vhd", "disk.raw");
    }
    Ok(())
}

/// A pipe that breaks leaves nothing that looks like a disk, nor anything else.
#[test]
fn what_is_cut_leaves_nothing() -> Result<()> {
    let bench = Bench::new()?;
    let vhd = bench.run(0, &["stream", "disk.raw"]).stdout;
    let before = fs::read_dir(bench.folder.path())?.count();
    for args in [
        &["convert", "-", "d.vhd"][..],
        &["convert", "-O", "raw", "-", "d.raw"],
        &["convert", "-O", "vhd-fixed", "-", "d.vhd"],
    ] {
        bench.feed(1, args, &vhd[..vhd.len() / 2])?;
    }
    assert_eq!(fs::read_dir(bench.folder.path())?.count(), before);
    Ok(())
}

/// Where no temporary file can be made, none is needed.
#[test]
fn all_bytes_of_a_disk_pass_without_a_file() -> Result<()> {
    let bench = Bench::new()?;
    let raw = raw_of(&bench)?;
    let size = raw.len().to_string();
    let streamed = |format| bench.run(0, &["stream", "-O", format, "disk.raw"]).stdout;
    let fixed = bench.run(0, &["convert", "-O", "vhd-fixed", "disk.raw", "-"]).stdout;
    let feed = |code, args: &[&str], bytes: &[u8]| {
        fs::write(bench.path("input"), bytes)?;
        let mut cat =
            std::process::Command::new("cat").arg(bench.path("input")).stdout(Stdio::piped()).spawn()?;
        let input = cat.stdout.take().context("a pipe")?;
        let output = bench.disk(args).env("TMPDIR", "/nonexistent").stdin(input).output()?;
        cat.wait()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(code), "disk {args:?}: {said}");
        Ok((output.stdout, said))
    };
    let vhd = streamed("vhd");
    let forms: [(&[u8], &[&str]); 5] = [
        (&raw, &["-f", "raw", "--size", &size]),
        (&vhd, &[]),
        (&vhd, &["-f", "vhd"]),
        (&fixed, &["-f", "vhd"]),
        (&streamed("qcow2"), &[]),
    ];
    for (bytes, how) in forms {
        let out = feed(0, &[&["convert", "-O", "vhd-fixed", "-", "-"], how].concat(), bytes)?.0;
        ensure!(out[..raw.len()] == raw && out.len() == raw.len() + 512, "{how:?}");
        fs::write(bench.path("out.vhd"), out)?;
        bench.run(0, &["check", "--thorough", "out.vhd"]);
        ensure!(feed(0, &[&["convert", "-O", "raw", "-", "-"], how].concat(), bytes)?.0 == raw, "{how:?}");
    }
    let larger = feed(0, &["convert", "-O", "vhd-fixed", "--size", "100000000", "-", "-"], &vhd)?.0;
    assert_eq!(larger.len(), 100_000_256 + 512);
    // Blocks in another order would have to wait for each other: in a file, and that is told.
    let mut swapped = vhd;
    swap_two_blocks(&mut swapped)?;
    let said = feed(1, &["convert", "-O", "vhd-fixed", "-", "-"], &swapped)?.1;
    ensure!(said.contains("TMPDIR"), "{said}");
    let through = bench.feed(0, &["convert", "-O", "vhd-fixed", "-", "-"], &swapped)?;
    ensure!(through.stdout[..raw.len()] == raw);
    ensure!(String::from_utf8(through.stderr)?.contains("another order"));
    // In a file they may come in any order.
    bench.feed(0, &["convert", "-O", "vhd-fixed", "-", "any.vhd"], &swapped)?;
    bench.same("any.vhd", "disk.raw");
    Ok(())
}

/// The first two blocks change places in the table and in the file.
fn swap_two_blocks(vhd: &mut [u8]) -> Result<()> {
    const BLOCK: usize = (2 << 20) + 512;
    let entry =
        |vhd: &[u8], at: usize| -> Result<u32> { Ok(u32::from_be_bytes(vhd[at..at + 4].try_into()?)) };
    let mut there = Vec::new();
    for at in (1536..1536 + 32 * 4).step_by(4) {
        if entry(vhd, at)? != u32::MAX {
            there.push(at);
        }
    }
    let [a, b, ..] = there[..] else { anyhow::bail!("the disk has one block only") };
    let (first, second) = (entry(vhd, a)? as usize * 512, entry(vhd, b)? as usize * 512);
    (0..4).for_each(|byte| vhd.swap(a + byte, b + byte));
    let (left, right) = vhd.split_at_mut(second);
    left[first..first + BLOCK].swap_with_slice(&mut right[..BLOCK]);
    Ok(())
}

/// A fixed VHD is the disk and a footer behind it, so that it passes as it comes; that it was one shows at its end.
#[test]
fn fixed_vhds_through_pipes() -> Result<()> {
    let bench = Bench::new()?;
    let folder = bench.folder.path();
    let raw = fs::read(bench.path("disk.raw"))?;
    let fixed = bench.run(0, &["convert", "-O", "vhd-fixed", "disk.raw", "-"]).stdout;
    ensure!(fixed.len() == raw.len() + 512 && fixed[..raw.len()] == raw);
    fs::write(bench.path("piped.vhd"), &fixed)?;
    bench.run(0, &["check", "--thorough", "piped.vhd"]);
    assert_eq!(bench.json(0, &["info", "piped.vhd"])["type"], "fixed");
    let mut files = vec!["piped.vhd"];
    if qemu_img() {
        let options = "subformat=fixed,force_size=on";
        qemu(folder, &["convert", "-O", "vpc", "-o", options, "disk.raw", "qemu.vhd"])?;
        files.push("qemu.vhd");
    }
    let fed = |code, args: &[&str], file| bench.fed(code, args, &bench.path(file));
    for file in files {
        fed(0, &["convert", "-f", "vhd", "-O", "raw", "-", "--force", "back.raw"], file)?;
        ensure!(fs::read(bench.path("back.raw"))? == raw, "{file}");
        for format in ["vhd", "vhd-fixed"] {
            let out = fed(0, &["convert", "-f", "vhd", "-O", format, "-", "-"], file)?.stdout;
            fs::write(bench.path("out.vhd"), out)?;
            bench.run(0, &["compare", "out.vhd", "disk.raw"]);
        }
        // It may as well be a raw disk, if nobody says what it is.
        let unsaid = fed(1, &["convert", "-O", "raw", "-", "unsaid.raw"], file)?;
        ensure!(String::from_utf8(unsaid.stderr)?.contains("a fixed VHD"));
    }
    // Nothing appears of what was none: a raw disk, or a fixed VHD without its last sector, or with one too many.
    fs::write(bench.path("short"), &fixed[..fixed.len() - 512])?;
    fs::write(bench.path("long"), [&fixed[..], &[0; 512]].concat())?;
    fs::write(bench.path("page"), b"<html>no disk</html>")?;
    let before = fs::read_dir(folder)?.count();
    for file in ["disk.raw", "short", "long", "page"] {
        let none = fed(1, &["convert", "-f", "vhd", "-O", "raw", "-", "none.raw"], file)?;
        let said = String::from_utf8(none.stderr)?;
        ensure!(said.contains("not a complete VHD"), "{file}: {said}");
    }
    assert_eq!(fs::read_dir(folder)?.count(), before);
    Ok(())
}

/// Whatever is read at random may come from a pipe, too.
#[test]
fn standard_input_is_an_image() -> Result<()> {
    let bench = Bench::new()?;
    bench.changed("disk.raw", "one.raw", 5_000_000, b"one")?;
    bench.run(0, &["convert", "disk.raw", "base.vhd"]);
    let fed = |code, args: &[&str], file| bench.fed(code, args, &bench.path(file));
    let one = fed(0, &["diff", "base.vhd", "-", "-"], "one.raw")?.stdout;
    fs::write(bench.path("one.vhd"), &one)?;
    bench.run(0, &["compare", "one.vhd", "one.raw"]);
    // The parent is looked for in this folder, or where it is said to be.
    fed(0, &["compare", "-", "one.raw"], "one.vhd")?;
    fed(0, &["compare", "one.raw", "-", "--chain", "base.vhd"], "one.vhd")?;
    fed(1, &["compare", "-", "disk.raw"], "one.vhd")?;
    let twice = fed(2, &["compare", "-", "-"], "one.vhd")?;
    ensure!(String::from_utf8(twice.stderr)?.contains("one image"));
    let info: Value = serde_json::from_slice(&fed(0, &["info", "-", "--json"], "one.vhd")?.stdout)?;
    assert_eq!(info["parent"]["name"], "base.vhd");
    fed(0, &["check", "-", "--thorough"], "one.vhd")?;
    let svg = String::from_utf8(fed(0, &["map", "-", "--svg", "-"], "one.vhd")?.stdout)?;
    ensure!(svg.starts_with("<svg ") && svg.contains("base.vhd"), "{svg}");
    let streamed = fed(0, &["stream", "-", "-O", "raw"], "one.vhd")?.stdout;
    ensure!(streamed == fs::read(bench.path("one.raw"))?);
    // What stays beside the parent would show another disk afterwards.
    fed(1, &["apply", "-", "base.vhd"], "one.vhd")?;
    fs::create_dir(bench.path("away"))?;
    fs::rename(bench.path("one.vhd"), bench.path("away/one.vhd"))?;
    fed(0, &["apply", "-", "base.vhd"], "away/one.vhd")?;
    bench.run(0, &["compare", "base.vhd", "one.raw"]);
    Ok(())
}

/// Not even what no program can catch.
#[test]
fn a_signal_leaves_nothing_behind() -> Result<()> {
    use rustix::process::{Pid, Signal, kill_process};

    let bench = Bench::new()?;
    let work = bench.path("work");
    fs::create_dir(&work)?;
    for args in [&["info", "-"][..], &["convert", "-f", "raw", "--size", "1048576", "-", "work/o.vhd"]] {
        for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
            let mut command = bench.disk(args);
            command.env("TMPDIR", &work).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn()?;
            let mut input = child.stdin.take().context("its input")?;
            input.write_all(&[7; 100_000])?;
            // It has taken that, and waits for more.
            let files = format!("/proc/{}/fd", child.id());
            let keeps = || {
                let links = fs::read_dir(&files).into_iter().flatten().flatten();
                links.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|to| to.starts_with(&work))
            };
            while !keeps() {
                ensure!(child.try_wait()?.is_none(), "{args:?} ended by itself");
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            kill_process(Pid::from_child(&child), signal)?;
            ensure!(!child.wait()?.success());
            let left: Vec<_> = fs::read_dir(&work)?.flatten().map(|entry| entry.file_name()).collect();
            ensure!(left.is_empty(), "{args:?} and {signal:?}: {left:?}");
        }
    }
    Ok(())
}

/// As a program has them that was started for a connection.
#[test]
fn both_ends_may_be_sockets() -> Result<()> {
    let bench = Bench::new()?;
    bench.run(0, &["convert", "-O", "vhd", "disk.raw", "disk.vhd"]);
    let vhd = fs::read(bench.path("disk.vhd"))?;
    for format in ["vhd", "raw", "vhd-fixed", "qcow2"] {
        let (input, mut feeder) = UnixStream::pair()?;
        let (output, mut taker) = UnixStream::pair()?;
        let mut command = bench.disk(&["convert", "-O", format, "-", "-"]);
        let mut child = command.stdin(OwnedFd::from(input)).stdout(OwnedFd::from(output)).spawn()?;
        // It has our copies of its ends.
        drop(command);
        let vhd = vhd.clone();
        let feeding = std::thread::spawn(move || feeder.write_all(&vhd));
        let mut came = Vec::new();
        taker.read_to_end(&mut came)?;
        ensure!(child.wait()?.success(), "{format}");
        feeding.join().expect("the feeder ends")?;
        fs::write(bench.path("came"), came)?;
        bench.same("came", "disk.raw");
    }
    Ok(())
}

/// What only comes as a stream is read from a file as well, and never taken for the bytes of a disk.
#[test]
fn an_archive_of_a_host_is_read_from_a_file() -> Result<()> {
    let bench = Bench::new()?;
    fs::write(bench.path("disk.tar"), bench.run(0, &["stream", "-O", "tar", "disk.raw"]).stdout)?;
    for (format, output) in [("raw", "back.raw"), ("vhd", "back.vhd"), ("qcow2", "back.qcow2")] {
        bench.run(0, &["convert", "-O", format, "disk.tar", output]);
        bench.run(0, &["compare", output, "disk.raw"]);
    }
    bench.same("back.vhd", "disk.raw");
    let error = String::from_utf8(bench.run(1, &["info", "disk.tar"]).stderr)?;
    ensure!(error.contains("read from its beginning to its end only"), "{error}");
    Ok(())
}

/// What `qemu-img` and distributions make can be read when all of it is there only.
#[test]
fn compressed_qcow2_goes_through_a_file() -> Result<()> {
    if !qemu_img() {
        return Ok(());
    }
    let bench = Bench::new()?;
    let raw = raw_of(&bench)?;
    qemu(bench.folder.path(), &["convert", "-c", "-O", "qcow2", "disk.raw", "packed.qcow2"])?;
    for format in ["vhd", "raw", "vhd-fixed", "qcow2"] {
        bench.fed(0, &["convert", "-O", format, "--force", "-", "out"], &bench.path("packed.qcow2"))?;
        bench.same("out", "disk.raw");
        let piped = bench.fed(0, &["convert", "-O", format, "-", "-"], &bench.path("packed.qcow2"))?.stdout;
        fs::write(bench.path("piped"), &piped)?;
        bench.same("piped", "disk.raw");
        ensure!(format != "raw" || piped == raw);
    }
    bench.fed(0, &["convert", "-f", "qcow2", "-", "said.vhd"], &bench.path("packed.qcow2"))?;
    bench.same("said.vhd", "disk.raw");
    // What is said to be raw is, whatever it begins with.
    let packed = fs::read(bench.path("packed.qcow2"))?;
    let len = packed.len().to_string();
    bench.feed(0, &["convert", "-f", "raw", "--size", &len, "-O", "raw", "-", "same"], &packed)?;
    ensure!(fs::read(bench.path("same"))? == packed);
    Ok(())
}

#[test]
fn nothing_is_kept_among_devices() {
    let temporary = std::env::temp_dir();
    for (output, device, folder) in [
        ("-", false, temporary.as_path()),
        ("/dev/sdb", true, &temporary),
        ("/images/disk.vhd", false, Path::new("/images")),
        ("disk.vhd", false, Path::new(".")),
    ] {
        assert_eq!(place::folder(Path::new(output), device), folder, "{output}");
    }
}
