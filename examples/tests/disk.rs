//! `disk` as a user starts it, with `qemu-img` beside it.

#![allow(clippy::print_stderr)]

mod bench;

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use bench::Bench;
use serde_json::Value;

/// Whether `qemu-img` is here. On CI it must be.
fn qemu_img() -> bool {
    let here = Command::new("qemu-img").arg("--version").output().is_ok();
    assert!(here || std::env::var_os("CI").is_none(), "qemu-img is missing: apt-get install qemu-utils");
    if !here {
        eprintln!("SKIPPED: qemu-img is not installed");
    }
    here
}

fn qemu(folder: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new("qemu-img").args(args).current_dir(folder).output()?;
    ensure!(output.status.success(), "qemu-img {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn what_is_written_is_read_by_qemu_and_back() -> Result<()> {
    let bench = Bench::new()?;
    let folder = bench.folder.path();
    for (format, file, subformat) in [("vhd", "d.vhd", "dynamic"), ("vhd-fixed", "f.vhd", "fixed")] {
        bench.run(0, &["convert", "-O", format, "disk.raw", file]);
        bench.run(0, &["check", "--thorough", file]);
        let info = bench.json(0, &["info", file]);
        assert_eq!(info["type"], subformat);
        assert_eq!(info["virtual-size"], 64 << 20);
        if qemu_img() {
            // Before version 10, QEMU has to be told that the size is what the VHD says.
            let ours =
                format!("driver=vpc,force_size_calc=current_size,file.driver=file,file.filename={file}");
            let theirs: Value =
                serde_json::from_str(&qemu(folder, &["info", "--output=json", "--image-opts", &ours])?)?;
            assert_eq!(theirs["virtual-size"], info["virtual-size"]);
            let raw = "driver=raw,file.driver=file,file.filename=disk.raw";
            qemu(folder, &["compare", "--image-opts", &ours, raw])?;
            let theirs = format!("qemu-{file}");
            let subformat = format!("subformat={subformat},force_size=on");
            qemu(folder, &["convert", "-O", "vpc", "-o", &subformat, "disk.raw", &theirs])?;
            bench.run(0, &["compare", &theirs, "disk.raw"]);
            bench.run(0, &["convert", "--force", "-O", "raw", &theirs, "back.raw"]);
            ensure!(fs::read(bench.path("back.raw"))? == fs::read(bench.path("disk.raw"))?);
        }
    }
    let error = bench.run(1, &["convert", "disk.raw", "d.vhd"]);
    assert!(String::from_utf8(error.stderr)?.contains("exists already"));
    Ok(())
}

#[test]
fn pipes() -> Result<()> {
    let bench = Bench::new()?;
    let vhd = bench.run(0, &["stream", "disk.raw"]).stdout;
    // What is told for programs is not among it.
    let told = bench.run(0, &["stream", "-O", "raw", "disk.raw", "--digest", "--json"]);
    ensure!(told.stdout == fs::read(bench.path("disk.raw"))?);
    ensure!(serde_json::from_slice::<Value>(&told.stderr)?["sha256"].is_string());
    let told = bench.run(0, &["convert", "-O", "raw", "disk.raw", "-", "--json"]);
    ensure!(told.stdout == fs::read(bench.path("disk.raw"))? && told.stderr.starts_with(b"{"));
    let told = bench.run(1, &["stream", "none", "--json"]);
    ensure!(told.stdout.is_empty() && told.stderr.starts_with(b"{\"error\""));
    let raw = bench.run(0, &["stream", "-O", "raw", "disk.raw"]).stdout;
    ensure!(raw == fs::read(bench.path("disk.raw"))?);
    let feed = |args: &[&str], bytes: &[u8]| -> Result<Output> {
        let mut child =
            bench.disk(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().context("a pipe")?;
        let bytes = bytes.to_vec();
        // A tool that has seen enough closes its end.
        let feeder = std::thread::spawn(move || drop(input.write_all(&bytes)));
        let output = child.wait_with_output()?;
        feeder.join().expect("the feeder ends");
        Ok(output)
    };
    let same = |name: &str| bench.run(0, &["compare", name, "disk.raw"]);
    ensure!(feed(&["convert", "-", "a.vhd"], &vhd)?.status.success());
    same("a.vhd");
    ensure!(feed(&["convert", "-O", "raw", "-", "b.raw"], &vhd)?.status.success());
    ensure!(fs::read(bench.path("b.raw"))? == raw);
    let size = raw.len().to_string();
    ensure!(feed(&["convert", "-f", "raw", "--size", &size, "-", "c.vhd"], &raw)?.status.success());
    same("c.vhd");
    let through = feed(&["convert", "-O", "raw", "-", "-"], &vhd)?;
    ensure!(through.stdout == raw);
    // A VHD from pipe to pipe is the one that is written to files, and an archive is a disk.
    let again = feed(&["convert", "-", "-"], &vhd)?.stdout;
    fs::write(bench.path("again.vhd"), again)?;
    same("again.vhd");
    let said = bench.run(0, &["stream", "-O", "tar", "--digest", "disk.raw"]);
    ensure!(String::from_utf8(said.stderr)?.starts_with("sha256 "));
    for output in ["t.raw", "t.vhd"] {
        let format = output.rsplit('.').next().context("a format")?;
        ensure!(feed(&["convert", "-O", format, "-", output], &said.stdout)?.status.success());
        same(output);
    }
    // What is not known in advance goes through a file.
    let spooled = feed(&["convert", "-", "-"], &said.stdout)?.stdout;
    fs::write(bench.path("spooled.vhd"), spooled)?;
    same("spooled.vhd");
    // XAPI's records tell nothing of the disk's size.
    let chunks = bench.run(0, &["stream", "-O", "chunked", "disk.raw"]).stdout;
    for output in ["k.raw", "k.vhd"] {
        let format = output.rsplit('.').next().context("a format")?;
        ensure!(
            feed(&["convert", "--chunked", "--size", &size, "-O", format, "-", output], &chunks)?
                .status
                .success()
        );
        same(output);
    }
    // A pipe that breaks leaves nothing that looks like a disk, nor anything else.
    let before = fs::read_dir(bench.folder.path())?.count();
    for args in [&["convert", "-", "d.vhd"][..], &["convert", "-O", "raw", "-", "d.raw"]] {
        let cut = feed(args, &vhd[..vhd.len() / 2])?;
        assert_eq!(cut.status.code(), Some(1));
    }
    assert_eq!(fs::read_dir(bench.folder.path())?.count(), before);
    let unsized_raw = feed(&["convert", "-f", "raw", "-", "e.vhd"], &raw)?;
    ensure!(String::from_utf8(unsized_raw.stderr)?.contains("--size"));
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
    fs::rename(bench.path("one.vhd"), bench.path("away"))?;
    fed(0, &["apply", "-", "base.vhd"], "away")?;
    bench.run(0, &["compare", "base.vhd", "one.raw"]);
    Ok(())
}

#[test]
fn a_chain_from_its_making_to_its_merging() -> Result<()> {
    let bench = Bench::new()?;
    bench.changed("disk.raw", "one.raw", 5_000_000, b"one")?;
    bench.changed("one.raw", "two.raw", 40_000_000, b"two")?;
    bench.run(0, &["convert", "disk.raw", "base.vhd"]);
    bench.run(0, &["diff", "base.vhd", "one.raw", "one.vhd"]);
    bench.run(0, &["diff", "one.vhd", "two.raw", "two.vhd"]);
    for (name, wanted) in [("one", "one.raw"), ("two", "two.raw")] {
        bench.run(0, &["compare", &format!("{name}.vhd"), wanted]);
    }
    let differ = bench.json(1, &["compare", "two.vhd", "one.raw"]);
    assert_eq!(differ["first-difference"], 40_000_000);

    let tree = String::from_utf8(bench.run(0, &["tree", "."]).stdout)?;
    let starts = ["base.vhd  ", "└── one.vhd  ", "    └── two.vhd  "];
    assert!(tree.lines().zip(starts).all(|(line, start)| line.starts_with(start)), "{tree}");
    // The volumes of an LVM repository have other names; a parent that is not there is missed.
    fs::create_dir(bench.path("VG"))?;
    for (from, to) in [("one.vhd", "VG/VHD-1"), ("two.vhd", "VG/VHD-2"), ("disk.raw", "VG/MGT")] {
        fs::copy(bench.path(from), bench.path(to))?;
    }
    let volumes = bench.json(0, &["tree", "VG"]);
    let root = &volumes["trees"][0];
    assert_eq!((&root["name"], &root["parent-missing"]), (&"VHD-1".into(), &true.into()), "{volumes}");
    assert_eq!(root["children"][0]["name"], "VHD-2");
    let map =
        String::from_utf8(bench.run(0, &["map", "two.vhd", "--width", "32", "--svg", "map.svg"]).stdout)?;
    assert_eq!(map.lines().filter(|line| line.contains('|')).count(), 4, "{map}");
    assert!(fs::read_to_string(bench.path("map.svg"))?.contains("two.vhd"));
    let layers = bench.json(0, &["info", "--backing-chain", "two.vhd"]);
    assert_eq!(layers["layers"].as_array().map(Vec::len), Some(3));

    // The one in the middle goes; what was on it is on the base.
    bench.run(0, &["coalesce", "--delete", "one.vhd"]);
    assert!(!bench.path("one.vhd").exists());
    bench.run(0, &["compare", "base.vhd", "one.raw"]);
    bench.run(0, &["compare", "two.vhd", "two.raw"]);
    bench.run(0, &["check", "--thorough", "base.vhd"]);
    let tree = String::from_utf8(bench.run(0, &["tree", "."]).stdout)?;
    assert!(tree.starts_with("base.vhd") && tree.contains("\n└── two.vhd"), "{tree}");

    // Another parent, the same disk.
    bench.run(0, &["convert", "two.raw", "other.vhd"]);
    bench.run(0, &["rebase", "two.vhd", "other.vhd"]);
    bench.run(0, &["compare", "two.vhd", "two.raw"]);
    assert_eq!(bench.json(0, &["info", "two.vhd"])["allocated-blocks"], 0);
    let error = bench.run(1, &["rebase", "other.vhd", "two.vhd"]);
    assert!(String::from_utf8(error.stderr)?.starts_with("error: "));
    fs::remove_file(bench.path("other.vhd"))?;
    let error = bench.run(1, &["convert", "two.vhd", "lost.raw", "-O", "raw"]);
    assert!(!bench.path("lost.raw").exists(), "{}", String::from_utf8_lossy(&error.stderr));
    Ok(())
}

#[test]
fn a_new_parent_by_the_header_alone_and_a_difference_on_a_copy() -> Result<()> {
    let bench = Bench::new()?;
    bench.changed("disk.raw", "one.raw", 5_000_000, b"one")?;
    bench.run(0, &["convert", "disk.raw", "base.vhd"]);
    bench.run(0, &["diff", "base.vhd", "one.raw", "one.vhd"]);
    let blocks = bench.json(0, &["info", "one.vhd"])["allocated-blocks"].clone();
    bench.run(0, &["convert", "disk.raw", "moved.vhd"]);
    bench.run(0, &["rebase", "--metadata", "one.vhd", "moved.vhd"]);
    let info = bench.json(0, &["info", "one.vhd"]);
    assert_eq!((&info["parent"]["name"], &info["allocated-blocks"]), (&"moved.vhd".into(), &blocks));
    bench.run(0, &["compare", "one.vhd", "one.raw"]);
    let error = bench.run(1, &["rebase", "--metadata", "one.vhd", "one.raw"]);
    ensure!(String::from_utf8(error.stderr)?.contains("differ"));

    fs::copy(bench.path("disk.raw"), bench.path("copy.raw"))?;
    bench.run(0, &["apply", "one.vhd", "copy.raw"]);
    bench.run(0, &["compare", "copy.raw", "one.raw"]);
    let error = bench.run(1, &["apply", "one.vhd", "base.vhd"]);
    ensure!(String::from_utf8(error.stderr)?.contains("its parent is"));
    bench.run(0, &["apply", "--trusted", "one.vhd", "base.vhd"]);
    bench.run(0, &["compare", "base.vhd", "one.raw"]);
    bench.run(0, &["check", "--thorough", "base.vhd"]);
    Ok(())
}

#[test]
fn damage_is_found_and_repaired() -> Result<()> {
    let bench = Bench::new()?;
    bench.run(0, &["convert", "disk.raw", "d.vhd"]);
    let good = fs::read(bench.path("d.vhd"))?;
    bench.changed("d.vhd", "d.vhd", good.len() - 512, &[0xc7; 512])?;
    let found = bench.json(3, &["check", "d.vhd"]);
    let findings = found["findings"].as_array().context("findings")?;
    assert_eq!(findings.iter().filter(|finding| finding["grade"] == "misread").count(), 1, "{found}");
    let would = bench.json(0, &["repair", "--dry-run", "d.vhd"]);
    assert_eq!(would["would"].as_array().map(Vec::len), Some(1));
    assert_eq!(bench.json(3, &["check", "d.vhd"]), found);
    bench.run(0, &["repair", "d.vhd"]);
    assert!(fs::read(bench.path("d.vhd"))? == good);
    // What is left is told, and no fault: the size of nearly every disk.
    let good_again = bench.json(0, &["check", "d.vhd"]);
    assert_eq!(good_again["findings"][0]["misread-by"][0], "QEMU before version 10", "{good_again}");
    for file in ["disk.raw", "-"] {
        let raw = bench.fed(63, &["check", "--json", file], &bench.path("disk.raw"))?;
        assert_eq!(serde_json::from_slice::<Value>(&raw.stdout)?["format"], "raw");
    }
    bench.run(2, &["check", "-f", "vhd", "disk.raw"]);
    fs::write(bench.path("cut.vhd"), &good[..good.len() / 2])?;
    bench.run(2, &["check", "cut.vhd"]);
    let error = bench.run(1, &["repair", "cut.vhd"]);
    assert!(String::from_utf8(error.stderr)?.contains("left as it is"));
    bench.run(1, &["check", "nothing.vhd"]);
    bench.run(2, &["compare", "d.vhd", "nothing.vhd"]);
    Ok(())
}

#[test]
fn an_archive_is_a_disk() -> Result<()> {
    let bench = Bench::new()?;
    bench.run(0, &["convert", "disk.raw", "1.vhd"]);
    bench.changed("disk.raw", "later.raw", 5 << 20, b"a later write")?;
    bench.run(0, &["diff", "1.vhd", "later.raw", "0.vhd"]);
    let mut tar = Command::new("tar");
    tar.args(["-cf", "disk.tar", "./1.vhd", "./0.vhd"]).current_dir(bench.folder.path());
    ensure!(tar.status()?.success());
    let info = bench.json(0, &["info", "--backing-chain", "disk.tar"]);
    assert_eq!(info["layers"].as_array().map(Vec::len), Some(2), "{info}");
    assert_eq!(bench.json(0, &["info", "disk.tar"])["virtual-size"], 64 << 20);
    bench.run(0, &["compare", "disk.tar", "later.raw"]);
    bench.run(0, &["convert", "-O", "raw", "disk.tar", "back.raw"]);
    ensure!(fs::read(bench.path("back.raw"))? == fs::read(bench.path("later.raw"))?);
    assert_eq!(bench.json(0, &["map", "disk.tar"])["virtual-size"], 64 << 20);
    let checked = bench.json(0, &["check", "disk.tar"]);
    assert_eq!(checked["layers"].as_array().map(Vec::len), Some(2), "{checked}");
    // A footer that could be put right in a file of its own.
    let len = fs::read(bench.path("1.vhd"))?.len();
    bench.changed("1.vhd", "1.vhd", len - 512, &[0xc7; 512])?;
    ensure!(tar.status()?.success());
    bench.run(2, &["check", "disk.tar"]);
    bench.run(1, &["repair", "disk.tar"]);
    Ok(())
}

#[test]
fn qcow2_is_written() -> Result<()> {
    let bench = Bench::new()?;
    bench.run(0, &["convert", "-O", "qcow2", "disk.raw", "disk.qcow2"]);
    bench.run(0, &["compare", "--strict", "disk.qcow2", "disk.raw"]);
    let streamed = bench.run(0, &["stream", "-O", "qcow2", "disk.raw"]).stdout;
    ensure!(streamed == fs::read(bench.path("disk.qcow2"))?, "as a file and as a stream");
    // What is streamed can be read forward only, by way of a file or not.
    let piped = bench.fed(0, &["convert", "-O", "qcow2", "-", "-"], &bench.path("disk.qcow2"))?.stdout;
    ensure!(piped == streamed);
    bench.fed(0, &["convert", "-O", "raw", "-", "back.raw"], &bench.path("disk.qcow2"))?;
    ensure!(fs::read(bench.path("back.raw"))? == fs::read(bench.path("disk.raw"))?);
    let large = fs::File::create(bench.path("large.raw"))?;
    large.write_all_at(b"the end of a disk that no VHD can hold", (3 << 40) - 4096)?;
    bench.run(
        0,
        &["convert", "-O", "qcow2", "--size", &(5_u64 << 40).to_string(), "large.raw", "large.qcow2"],
    );
    if qemu_img() {
        for (image, disk) in [("disk.qcow2", "disk.raw"), ("large.qcow2", "large.raw")] {
            qemu(bench.folder.path(), &["check", "-f", "qcow2", image])?;
            qemu(bench.folder.path(), &["compare", "-f", "qcow2", "-F", "raw", image, disk])?;
        }
    }
    Ok(())
}

#[test]
fn qcow2_is_read() -> Result<()> {
    if !qemu_img() {
        return Ok(());
    }
    let bench = Bench::new()?;
    qemu(bench.folder.path(), &["convert", "-c", "-O", "qcow2", "disk.raw", "disk.qcow2"])?;
    let info = bench.json(0, &["info", "disk.qcow2"]);
    assert_eq!((&info["format"], &info["virtual-size"]), (&"qcow2".into(), &(64 << 20).into()));
    assert_eq!(info["format-specific"]["compression"], "deflate");
    bench.run(0, &["compare", "disk.qcow2", "disk.raw"]);
    bench.run(0, &["convert", "disk.qcow2", "disk.vhd"]);
    bench.run(0, &["compare", "--strict", "disk.vhd", "disk.raw"]);
    ensure!(bench.run(0, &["stream", "-O", "raw", "disk.qcow2"]).stdout == fs::read(bench.path("disk.raw"))?);
    let map = bench.json(0, &["map", "disk.qcow2"]);
    assert_eq!(map["virtual-size"], 64 << 20);
    // The payload, in clusters of 64 KiB.
    let bytes = map["layers"][0]["bytes"].as_u64().context("a number")?;
    ensure!((3 << 20..4 << 20).contains(&bytes), "{bytes}");
    Ok(())
}

/// The disks of a repository are asked of its host, here one that is simulated.
#[test]
fn a_repository_is_a_tree() -> Result<()> {
    let bench = Bench::new()?;
    let tree = |code, args: &[&str]| {
        let mut command = bench.disk(&[&["tree", "--simulator-state", "state"], args].concat());
        let output = command.env_remove("XENAPI_URL").output().expect("disk can be started");
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        output
    };
    let (name, uuid) = disk_with_a_snapshot(&bench.path("state"))?;
    let told: Value = serde_json::from_slice(&tree(0, &["--sr", &uuid, "--json"]).stdout)?;
    let by_name = tree(0, &["--sr", &name]).stdout;
    ensure!(told["missing-parents"] == 0, "{told}");
    let has =
        |tree: &&Value| tree["notes"].as_array().is_some_and(|notes| notes.contains(&"base copy".into()));
    let root = told["trees"].as_array().and_then(|trees| trees.iter().find(has)).context("a base copy")?;
    let below = root["children"].as_array().context("children")?;
    assert!(below.iter().any(|child| child["notes"] == serde_json::json!(["snapshot"])), "{told}");
    assert!(below.iter().all(|child| child["health"] == "good" && child["layers"] == 2), "{told}");
    let drawn = String::from_utf8(by_name)?;
    ensure!(drawn.contains("[base copy]\n├── ") && drawn.contains("0 parents missing"), "{drawn}");
    let error = String::from_utf8(tree(1, &["--sr", "no such repository"]).stderr)?;
    ensure!(error.contains("no repository is called"), "{error}");
    Ok(())
}

/// Leaves a pool in `state` with a disk and a snapshot of it; the name and uuid of their repository.
fn disk_with_a_snapshot(state: &Path) -> Result<(String, String)> {
    use std::sync::Arc;
    use xapi_simulator::{Simulator, World};
    use xenapi_client::{Client, Config, connect_fn};
    use xenapi_types::{Pool, VdiType, sr, vdi};

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let simulator = Simulator::builder().world(World::demo()).state_dir(state).password("demo").build();
        let simulator = Arc::new(simulator.await?);
        let host = Arc::clone(&simulator);
        let connect = connect_fn(move |_| {
            let connection = host.connect();
            async move { Ok(connection) }
        });
        let client = Client::over(Config::new("http://simulator", "root", "demo")?, connect)?;
        let pools = client.all_records::<Pool>().await?;
        let repository = pools.into_values().next().context("a pool")?.default_sr;
        let (name_label, sr) = ("root".into(), repository.clone());
        let (virtual_size, r#type) = (1 << 30, VdiType::User);
        let create = vdi::Create { name_label, sr, virtual_size, r#type, ..vdi::Create::default() };
        let disk = client.call(create).await?;
        client.call(vdi::Snapshot { vdi: disk, driver_params: None }).await?;
        let name = client.get_field(&repository, sr::field::NAME_LABEL).await?;
        let uuid = client.get_field(&repository, sr::field::UUID).await?;
        client.close().await?;
        simulator.shutdown()?;
        Ok((name, uuid))
    })
}
