//! `disk` as a user starts it, with `qemu-img` beside it.

#![allow(clippy::print_stderr, reason = "a skip is to be seen")]

mod bench;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bench::{Bench, qemu, qemu_img};
use serde_json::Value;

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
    let volumes = bench.json(2, &["tree", "VG"]);
    let root = &volumes["trees"][0];
    assert_eq!((&root["name"], &root["parent-missing"]), (&"VHD-1".into(), &true.into()), "{volumes}");
    assert_eq!(root["children"][0]["name"], "VHD-2");
    let map =
        String::from_utf8(bench.run(0, &["map", "two.vhd", "--width", "32", "--svg", "map.svg"]).stdout)?;
    assert_eq!(map.lines().filter(|line| line.contains('|')).count(), 4, "{map}");
    assert!(fs::read_to_string(bench.path("map.svg"))?.contains("two.vhd"));
    // It replaces a drawing if that is asked for, and a disk never.
    for (args, why) in [
        (&["map", "two.vhd", "--svg", "map.svg"][..], "--force"),
        (&["map", "two.vhd", "--svg", "two.vhd"], "--force"),
        (&["map", "two.vhd", "--svg", "base.vhd", "--force"], "name another one"),
    ] {
        let error = String::from_utf8(bench.run(1, args).stderr)?;
        ensure!(error.contains(why), "{error}");
    }
    ensure!(
        Command::new("tar")
            .args(["--format=ustar", "-cf", "two.tar", "base.vhd"])
            .current_dir(bench.folder.path())
            .status()?
            .success()
    );
    let archive = fs::read(bench.path("two.tar"))?;
    let error = String::from_utf8(bench.run(1, &["map", "two.tar", "--svg", "two.tar", "--force"]).stderr)?;
    ensure!(error.contains("name another one") && fs::read(bench.path("two.tar"))? == archive, "{error}");
    fs::remove_file(bench.path("two.tar"))?;
    bench.run(0, &["map", "base.vhd", "--svg", "map.svg", "--force"]);
    assert!(!fs::read_to_string(bench.path("map.svg"))?.contains("two.vhd"));
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
fn the_children_of_what_is_merged_and_removed_are_moved_whatever_they_are_called() -> Result<()> {
    let bench = Bench::new()?;
    bench.changed("disk.raw", "one.raw", 5_000_000, b"one")?;
    bench.changed("one.raw", "two.raw", 40_000_000, b"two")?;
    bench.run(0, &["convert", "disk.raw", "base.vhd"]);
    bench.run(0, &["diff", "base.vhd", "one.raw", "one.vhd"]);
    bench.run(0, &["diff", "one.vhd", "two.raw", "VHD-two"]);
    fs::copy(bench.path("VHD-two"), bench.path("broken.img"))?;
    bench.changed("broken.img", "broken.img", 600, &[7; 64])?;
    let before = fs::read(bench.path("base.vhd"))?;
    let error = bench.run(1, &["coalesce", "--delete", "one.vhd"]);
    ensure!(String::from_utf8(error.stderr)?.contains("broken.img looks like a VHD and cannot be read"));
    ensure!(fs::read(bench.path("base.vhd"))? == before && bench.path("one.vhd").exists());
    fs::remove_file(bench.path("broken.img"))?;
    let done = bench.json(0, &["coalesce", "--delete", "one.vhd"]);
    assert_eq!(done["rebased"].as_array().map(Vec::len), Some(1), "{done}");
    bench.run(0, &["compare", "VHD-two", "two.raw"]);
    // Deeper than is usual, with what was said of that.
    bench.run(0, &["diff", "base.vhd", "two.raw", "two.vhd", "--depth", "1"]);
    fs::remove_file(bench.path("VHD-two"))?;
    bench.run(1, &["coalesce", "two.vhd", "--depth", "1"]);
    bench.run(0, &["coalesce", "two.vhd", "--depth", "2"]);
    bench.run(0, &["compare", "base.vhd", "two.raw"]);
    Ok(())
}

#[test]
fn a_layer_is_written_without_its_parent() -> Result<()> {
    let bench = Bench::new()?;
    bench.changed("disk.raw", "one.raw", 5_000_000, b"one")?;
    bench.run(0, &["convert", "disk.raw", "base.vhd"]);
    bench.run(0, &["diff", "base.vhd", "one.raw", "one.vhd"]);
    let away = bench.path("away");
    fs::create_dir(&away)?;
    fs::rename(bench.path("base.vhd"), away.join("base.vhd"))?;
    bench.run(1, &["convert", "one.vhd", "away/one.vhd"]);
    bench.run(0, &["convert", "--layer", "one.vhd", "away/one.vhd"]);
    bench.same("away/one.vhd", "one.raw");
    let written = fs::read(away.join("one.vhd"))?;
    ensure!(bench.run(0, &["stream", "--layer", "one.vhd"]).stdout == written);
    ensure!(bench.fed(0, &["convert", "--layer", "-", "-"], &bench.path("one.vhd"))?.stdout == written);
    for args in [
        &["convert", "--layer", "away/base.vhd", "out.vhd"][..],
        &["convert", "--layer", "-O", "raw", "one.vhd", "out.vhd"],
        &["convert", "--layer", "--force", "away/one.vhd", "away/base.vhd"],
    ] {
        bench.run(1, args);
    }
    bench.same("away/one.vhd", "one.raw");
    Ok(())
}

#[test]
fn a_tree_tells_what_is_wrong_in_it() -> Result<()> {
    let bench = Bench::new()?;
    let chain = |folder: &str| -> Result<()> {
        fs::create_dir(bench.path(folder))?;
        let at = |name: &str| format!("{folder}/{name}.vhd");
        bench.run(0, &["convert", "disk.raw", &at("base")]);
        bench.run(0, &["diff", &at("base"), "disk.raw", &at("one")]);
        bench.run(0, &["diff", &at("one"), "disk.raw", &at("two")]);
        Ok(())
    };
    let uuid = |file: &str| -> Result<Vec<u8>> {
        Ok(bench.json(0, &["info", file])["uuid"]
            .as_str()
            .context("a uuid")?
            .parse::<uuid::Uuid>()?
            .into_bytes()
            .to_vec())
    };
    let told = |folder: &str, code| {
        let json = bench.json(code, &["tree", folder]);
        (
            json["faults"].clone(),
            json["missing-parents"].clone(),
            json["circles"].clone(),
            json["shared-uuids"].clone(),
        )
    };
    let is = |a: u64, b: u64, c: u64, d: u64| (a.into(), b.into(), c.into(), d.into());
    chain("sound")?;
    assert_eq!(told("sound", 0), is(0, 0, 0, 0));
    chain("twins")?;
    fs::copy(bench.path("twins/two.vhd"), bench.path("twins/copy.vhd"))?;
    assert_eq!(told("twins", 2), is(0, 0, 0, 1));
    chain("fatal")?;
    bench.changed("fatal/two.vhd", "fatal/two.vhd", 600, &[7; 64])?;
    assert_eq!(told("fatal", 2), is(1, 0, 0, 0));
    // One's parent is two, whose parent is one.
    chain("circle")?;
    let (one, two) = ("circle/one.vhd", uuid("circle/two.vhd")?);
    let mut header = fs::read(bench.path(one))?[512..1536].to_vec();
    header[40..56].copy_from_slice(&two);
    header[36..40].fill(0);
    let sum = !header.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    header[36..40].copy_from_slice(&sum.to_be_bytes());
    bench.changed(one, one, 512, &header)?;
    assert_eq!(told("circle", 2), is(0, 0, 1, 0));
    let drawn = String::from_utf8(bench.run(2, &["tree", "circle"]).stdout)?;
    assert_eq!(drawn.matches("its parents go round in a circle").count(), 1, "{drawn}");
    // A raw disk is known by its name, and has no tree of its own.
    fs::create_dir(bench.path("raw"))?;
    fs::copy(bench.path("disk.raw"), bench.path("raw/base.raw"))?;
    bench.run(0, &["diff", "raw/base.raw", "disk.raw", "raw/one.vhd"]);
    assert_eq!(told("raw", 0), is(0, 0, 0, 0));
    fs::remove_file(bench.path("raw/base.raw"))?;
    assert_eq!(told("raw", 2), is(0, 1, 0, 0));
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
    ensure!(String::from_utf8(error.stderr)?.contains("the parent of"));
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
    // Of several, each is told, and the worst is the exit code.
    let several = bench.run(2, &["check", "d.vhd", "cut.vhd", "disk.raw", "--json"]);
    let lines: Vec<Value> =
        serde_json::Deserializer::from_slice(&several.stdout).into_iter().collect::<Result<_, _>>()?;
    let names: Vec<_> = lines.iter().map(|line| line["filename"].as_str().unwrap_or_default()).collect();
    assert_eq!(names, ["d.vhd", "cut.vhd", "disk.raw"]);
    bench.run(63, &["check", "d.vhd", "disk.raw"]);
    let error = bench.run(1, &["repair", "cut.vhd"]);
    assert!(String::from_utf8(error.stderr)?.contains("left as it is"));
    let error = bench.run(1, &["repair", "--dry-run", "cut.vhd"]);
    assert!(String::from_utf8(error.stderr)?.contains("left as it is"));
    bench.run(1, &["check", "nothing.vhd"]);
    // One that is not there keeps nobody from looking at the others.
    let rest = bench.run(1, &["check", "d.vhd", "nothing.vhd", "cut.vhd", "--json"]);
    let lines = String::from_utf8(rest.stdout)?;
    assert!(lines.lines().count() == 3 && lines.contains("cannot open nothing.vhd"), "{lines}");
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
    use xenapi_client::{Client, Config, private_connect_fn};
    use xenapi_types::{Pool, VdiType, sr, vdi};

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let simulator = Simulator::builder().world(World::demo()).state_dir(state).password("demo").build();
        let simulator = Arc::new(simulator.await?);
        let host = Arc::clone(&simulator);
        let connect = private_connect_fn(move |_| {
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
