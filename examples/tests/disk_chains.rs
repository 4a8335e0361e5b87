//! Chains as a user works on them: what `disk coalesce` is told, what a layer says whose parents are missing, files that have
//! several names, and what is said to somebody who wants it all the same.

mod bench;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use anyhow::{Context, Result, ensure};
use bench::{Bench, qemu, qemu_img};

/// `base.vhd`, `one.vhd` on it and `two.vhd` on that, which show `disk.raw`, `one.raw` and `two.raw`.
fn chain() -> Result<Bench> {
    let bench = Bench::new()?;
    bench.changed("disk.raw", "one.raw", 5_000_000, b"one")?;
    bench.changed("one.raw", "two.raw", 40_000_000, b"two")?;
    bench.run(0, &["convert", "disk.raw", "base.vhd"]);
    bench.run(0, &["diff", "base.vhd", "one.raw", "one.vhd"]);
    bench.run(0, &["diff", "one.vhd", "two.raw", "two.vhd"]);
    Ok(bench)
}

/// A merge that is refused, in these words, without the option, and done with it.
#[track_caller]
fn needs(bench: &Bench, child: &str, why: &str, option: &[&str]) -> Result<()> {
    let said = String::from_utf8(bench.run(1, &["coalesce", child]).stderr)?;
    ensure!(said.contains(why), "{option:?}: {said}");
    bench.run(0, &[&["coalesce", child], option].concat());
    Ok(())
}

#[test]
fn a_merge_finds_its_parents_where_it_is_told() -> Result<()> {
    let bench = chain()?;
    fs::remove_file(bench.path("two.vhd"))?;
    fs::create_dir(bench.path("elsewhere"))?;
    fs::rename(bench.path("base.vhd"), bench.path("elsewhere/base.vhd"))?;
    needs(&bench, "one.vhd", "--parents their folder", &["--parents", "elsewhere"])?;
    bench.same("elsewhere/base.vhd", "one.raw");
    // One by one.
    let bench = chain()?;
    fs::remove_file(bench.path("two.vhd"))?;
    fs::create_dir(bench.path("elsewhere"))?;
    fs::rename(bench.path("base.vhd"), bench.path("elsewhere/image"))?;
    needs(&bench, "one.vhd", "--chain names the files", &["--chain", "elsewhere/image"])?;
    bench.same("elsewhere/image", "one.raw");
    // With another uuid.
    bench.run(0, &["convert", "disk.raw", "other.vhd"]);
    let said = String::from_utf8(bench.run(1, &["coalesce", "one.vhd", "--chain", "other.vhd"]).stderr)?;
    ensure!(said.contains("(--chain with --trusted"), "{said}");
    bench.run(0, &["coalesce", "one.vhd", "--chain", "other.vhd", "--trusted"]);
    bench.same("other.vhd", "one.raw");
    Ok(())
}

#[test]
fn a_merge_takes_what_it_is_told_to_take() -> Result<()> {
    let bench = chain()?;
    let said = String::from_utf8(bench.run(1, &["coalesce", "two.vhd", "--depth", "2"]).stderr)?;
    ensure!(said.contains("(--depth allows more)"), "{said}");
    // Two footers that disagree.
    bench.footer("two.vhd", "two.vhd", false, 68, &[9; 16])?;
    needs(&bench, "two.vhd", "--footer front or --footer end", &["--footer", "end"])?;
    bench.same("one.vhd", "two.raw");
    // Something behind the last one.
    let bench = chain()?;
    let two = fs::read(bench.path("two.vhd"))?;
    fs::write(bench.path("two.vhd"), [&two[..], &[7; 9000]].concat())?;
    needs(&bench, "two.vhd", "(--surplus passes over them)", &["--surplus"])?;
    bench.same("one.vhd", "two.raw");
    // More than XenServer takes.
    let bench = chain()?;
    fs::remove_file(bench.path("two.vhd"))?;
    ["base.vhd", "one.vhd"].iter().try_for_each(|name| enlarge(&bench, name))?;
    needs(&bench, "one.vhd", "(--large reads it)", &["--large"])?;
    bench.run(0, &["compare", "--large", "base.vhd", "one.raw"]);
    // Data of the parent in sectors that are said to be absent: looked at where its grandchildren are moved.
    let bench = chain()?;
    let mut base = fs::read(bench.path("base.vhd"))?;
    let entry = base[1536..1536 + 32 * 4].chunks(4).find(|entry| **entry != [0xff; 4]).context("a block")?;
    let bitmap = u32::from_be_bytes(entry.try_into()?) as usize * 512;
    base[bitmap..bitmap + 512].fill(0);
    fs::write(bench.path("base.vhd"), base)?;
    let refused = bench.run(1, &["coalesce", "--delete", "--bitmaps", "refuse", "one.vhd"]).stderr;
    ensure!(String::from_utf8(refused)?.contains("--bitmaps honour") && bench.path("one.vhd").exists());
    bench.run(0, &["coalesce", "--delete", "one.vhd"]);
    ensure!(!bench.path("one.vhd").exists());
    Ok(())
}

/// Makes a disk of 3 TiB of a small one, with its table behind everything else.
fn enlarge(bench: &Bench, name: &str) -> Result<()> {
    let mut file = fs::read(bench.path(name))?;
    let entries = (3_u64 << 40) / (2 << 20);
    let mut footer = file.split_off(file.len() - 512);
    footer[48..56].copy_from_slice(&(3_u64 << 40).to_be_bytes());
    vhd::fuzzing::make_sum(&mut footer, 64);
    file[..512].copy_from_slice(&footer);
    let old = usize::try_from(u64::from_be_bytes(file[528..536].try_into()?))?;
    let mut table = file[old..old + 32 * 4].to_vec();
    table.resize(usize::try_from(entries)? * 4, 0xff);
    let at = file.len() as u64;
    file[528..536].copy_from_slice(&at.to_be_bytes());
    file[540..544].copy_from_slice(&u32::try_from(entries)?.to_be_bytes());
    vhd::fuzzing::make_sum(&mut file[512..1536], 36);
    Ok(fs::write(bench.path(name), [file, table, footer].concat())?)
}

#[test]
fn a_layer_is_no_disk_without_its_parents() -> Result<()> {
    let bench = chain()?;
    let whole = bench.json(0, &["check", "two.vhd"]);
    assert_eq!(whole["layers-below"], 2, "{whole}");
    fs::create_dir(bench.path("moved"))?;
    fs::rename(bench.path("base.vhd"), bench.path("moved/base.vhd"))?;
    // Whoever is nearer to the root is missed.
    for file in ["one.vhd", "two.vhd"] {
        let missed = bench.json(1, &["check", file]);
        ensure!(missed["verdict"].as_str().is_some_and(|verdict| verdict.contains("not found")), "{missed}");
        let finding = missed["findings"].to_string();
        ensure!(finding.contains("--parents") && finding.contains("without all of its parents"), "{missed}");
    }
    bench.run(1, &["check", "two.vhd", "moved/base.vhd"]);
    assert_eq!(bench.json(0, &["check", "one.vhd", "--parents", "moved"])["layers-below"], 1);
    bench.run(0, &["check", "two.vhd", "--chain", "one.vhd", "moved/base.vhd"]);
    let alone = bench.json(0, &["check", "--layer", "two.vhd"]);
    ensure!(alone["findings"].to_string().contains("was not looked at"), "{alone}");
    ensure!(alone["verdict"].as_str().is_some_and(|verdict| verdict.contains("as a layer")), "{alone}");
    // Another disk in the parent's place, and more layers than are taken.
    bench.run(0, &["convert", "disk.raw", "base.vhd"]);
    let other = bench.json(2, &["check", "one.vhd"]);
    ensure!(other["findings"].to_string().contains("it makes no disk"), "{other}");
    let other = bench.json(2, &["check", "one.vhd", "--chain", "base.vhd"]);
    ensure!(other["verdict"].as_str().is_some_and(|verdict| verdict.contains("no disk")), "{other}");
    bench.run(2, &["check", "two.vhd", "--chain", "one.vhd", "moved/base.vhd", "--depth", "2"]);
    // What is damaged itself is not usable, whatever it stands on.
    bench.changed("two.vhd", "two.vhd", 600, &[7; 64])?;
    bench.run(2, &["check", "two.vhd"]);
    Ok(())
}

#[test]
fn a_qcow2_image_tells_of_its_backing_file() -> Result<()> {
    let bench = Bench::new()?;
    bench.run(0, &["convert", "-O", "qcow2", "disk.raw", "base.qcow2"]);
    let mut overlay = fs::read(bench.path("base.qcow2"))?;
    // As qemu-img writes it: an extension with the format, its end, and then the name.
    let header_len = usize::try_from(u32::from_be_bytes(overlay[100..104].try_into()?))?;
    let extension = [&[0xe2, 0x79, 0x2a, 0xca, 0, 0, 0, 5][..], b"qcow2\0\0\0", &[0; 8]].concat();
    overlay[header_len..header_len + extension.len()].copy_from_slice(&extension);
    let (at, name) = (header_len + extension.len(), b"../base.qcow2");
    overlay[at..at + name.len()].copy_from_slice(name);
    overlay[8..16].copy_from_slice(&(at as u64).to_be_bytes());
    overlay[16..20].copy_from_slice(&13_u32.to_be_bytes());
    fs::create_dir(bench.path("sub"))?;
    fs::write(bench.path("sub/overlay.qcow2"), overlay)?;
    for format in [&[][..], &["-f", "qcow2"]] {
        let info = bench.json(0, &[&["info", "sub/overlay.qcow2"], format].concat());
        assert_eq!(info["backing-filename"], "../base.qcow2", "{info}");
        assert_eq!(info["format-specific"]["backing file format"], "qcow2", "{info}");
        assert_eq!(info["virtual-size"], 64 << 20);
        for args in [&["convert", "sub/overlay.qcow2", "out.vhd"][..], &["map", "sub/overlay.qcow2"]] {
            let said = String::from_utf8(bench.run(1, &[args, format].concat()).stderr)?;
            ensure!(said.contains("backing file \"../base.qcow2\""), "{args:?}: {said}");
        }
    }
    let said = bench.run(1, &["convert", "--layer", "sub/overlay.qcow2", "out.vhd"]).stderr;
    ensure!(String::from_utf8(said)?.contains("is nothing without it"));
    bench.run(63, &["check", "sub/overlay.qcow2"]);
    ensure!(!bench.path("out.vhd").exists());
    if qemu_img() {
        let folder = bench.path("sub");
        qemu(&folder, &["create", "-f", "qcow2", "-b", "../base.qcow2", "-F", "qcow2", "theirs.qcow2"])?;
        assert_eq!(bench.json(0, &["info", "sub/theirs.qcow2"])["backing-filename"], "../base.qcow2");
    }
    Ok(())
}

/// The usual layout of a host with QEMU: its images stand on a raw one.
#[test]
fn a_qcow2_image_is_a_child_as_well() -> Result<()> {
    let bench = chain()?;
    bench.run(0, &["diff", "disk.raw", "one.raw", "on-raw.vhd"]);
    if !qemu_img() {
        return Ok(());
    }
    let folder = bench.folder.path();
    qemu(folder, &["create", "-f", "qcow2", "-b", "disk.raw", "-F", "raw", "overlay.qcow2"])?;
    let before = fs::read(bench.path("disk.raw"))?;
    for args in [&["coalesce", "--delete", "on-raw.vhd"][..], &["apply", "on-raw.vhd", "disk.raw"]] {
        let said = String::from_utf8(bench.run(1, args).stderr)?;
        ensure!(said.contains("overlay.qcow2 has the same parent"), "{args:?}: {said}");
    }
    ensure!(fs::read(bench.path("disk.raw"))? == before);
    // On what would be removed.
    qemu(folder, &["create", "-f", "qcow2", "-b", "two.vhd", "-F", "vpc", "overlay.qcow2"])?;
    let said = String::from_utf8(bench.run(1, &["coalesce", "--delete", "two.vhd"]).stderr)?;
    ensure!(said.contains("qemu-img rebase") && bench.path("two.vhd").exists(), "{said}");
    bench.same("one.vhd", "one.raw");
    fs::remove_file(bench.path("overlay.qcow2"))?;
    bench.run(0, &["coalesce", "--delete", "on-raw.vhd"]);
    bench.same("disk.raw", "one.raw");
    Ok(())
}

/// Somebody else's lock on one of several children is told before the first of them is moved.
#[test]
fn a_child_in_use_stands_in_the_way_of_a_removal() -> Result<()> {
    let bench = chain()?;
    bench.changed("two.raw", "three.raw", 50_000_000, b"three")?;
    bench.run(0, &["diff", "one.vhd", "three.raw", "three.vhd"]);
    let user = fs::File::open(bench.path("three.vhd"))?;
    user.lock()?;
    for _ in 0..2 {
        let said = String::from_utf8(bench.run(1, &["coalesce", "--delete", "one.vhd"]).stderr)?;
        ensure!(said.contains("three.vhd is in use"), "{said}");
        bench.same("base.vhd", "disk.raw");
    }
    drop(user);
    let done = bench.json(0, &["coalesce", "--delete", "one.vhd"]);
    assert_eq!(done["rebased"].as_array().map(Vec::len), Some(2), "{done}");
    bench.same("two.vhd", "two.raw");
    bench.same("three.vhd", "three.raw");
    // What is odd about a chain is told where something of it is removed.
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    fs::File::options().write(true).open(bench.path("base.vhd"))?.set_modified(later)?;
    fs::remove_file(bench.path("two.vhd"))?;
    let done = bench.json(0, &["coalesce", "--delete", "three.vhd"]);
    ensure!(done["warnings"].to_string().contains("was written"), "{done}");
    Ok(())
}

/// What is written anew keeps what it was to others: the file behind a link, its permissions; other names of it are told of
/// before anything is written.
#[test]
fn what_is_written_anew_is_the_same_file_to_others() -> Result<()> {
    let bench = chain()?;
    symlink("two.vhd", bench.path("a-link.vhd"))?;
    fs::set_permissions(bench.path("two.vhd"), fs::Permissions::from_mode(0o600))?;
    fs::hard_link(bench.path("two.vhd"), bench.path("same.vhd"))?;
    let before = fs::read(bench.path("base.vhd"))?;
    for args in [&["coalesce", "--delete", "one.vhd"][..], &["rebase", "two.vhd", "base.vhd"]] {
        let said = String::from_utf8(bench.run(1, args).stderr)?;
        ensure!(said.contains("2 names"), "{args:?}: {said}");
    }
    ensure!(fs::read(bench.path("base.vhd"))? == before);
    fs::remove_file(bench.path("same.vhd"))?;
    bench.run(0, &["coalesce", "--delete", "one.vhd"]);
    ensure!(bench.path("a-link.vhd").is_symlink() && !bench.path("one.vhd").exists());
    let mode =
        |name: &str| Ok::<_, anyhow::Error>(fs::metadata(bench.path(name))?.permissions().mode() & 0o777);
    assert_eq!(mode("two.vhd")?, 0o600);
    bench.same("two.vhd", "two.raw");
    bench.same("a-link.vhd", "two.raw");
    // In another folder, the way to the parent is another one.
    fs::create_dir(bench.path("far"))?;
    bench.run(0, &["diff", "base.vhd", "two.raw", "far/leaf.vhd"]);
    symlink("far/leaf.vhd", bench.path("leaf.vhd"))?;
    bench.run(0, &["rebase", "leaf.vhd", "base.vhd", "--parents", "."]);
    ensure!(bench.path("leaf.vhd").is_symlink());
    bench.run(0, &["compare", "far/leaf.vhd", "two.raw", "--parents", "."]);
    let error = bench.run(1, &["coalesce", "--delete", "a-link.vhd"]).stderr;
    ensure!(String::from_utf8(error)?.contains("is a link"));
    // The mark of a base copy on what becomes the disk.
    for end in [false, true] {
        bench.footer("base.vhd", "base.vhd", end, 85, &[1])?;
    }
    fs::remove_file(bench.path("leaf.vhd"))?;
    bench.run(0, &["convert", "base.vhd", "other.vhd"]);
    bench.run(0, &["diff", "base.vhd", "two.raw", "moved.vhd"]);
    bench.run(0, &["rebase", "two.vhd", "other.vhd"]);
    // The last one that stood on it leaves it to XenServer, which is told.
    let done = bench.json(0, &["rebase", "moved.vhd", "other.vhd"]);
    ensure!(done["warnings"].to_string().contains("base.vhd is marked hidden"), "{done}");
    bench.run(0, &["rebase", "two.vhd", "base.vhd"]);
    let done = bench.json(0, &["coalesce", "--delete", "two.vhd"]);
    ensure!(done["unhidden"] == true && !done["warnings"].to_string().contains("hidden"), "{done}");
    let base = fs::read(bench.path("base.vhd"))?;
    ensure!((base[85], base[base.len() - 512 + 85]) == (0, 0));
    bench.run(0, &["check", "base.vhd"]);
    Ok(())
}

#[test]
fn names_need_not_be_unicode() -> Result<()> {
    let bench = Bench::new()?;
    let odd = |name: &'static [u8]| OsStr::from_bytes(name);
    let run = |args: &[&str], names: &[&OsStr]| -> Result<()> {
        let output = bench.disk(args).args(names).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(0), "{args:?}: {said}");
        ensure!(
            !args.contains(&"--json") || serde_json::from_slice::<serde_json::Value>(&output.stdout).is_ok()
        );
        Ok(())
    };
    let (base, child) = (odd(b"base\xff.vhd"), odd(b"child\xff.vhd"));
    for json in [&[][..], &["--json"]] {
        let run = |args: &[&str], names: &[&OsStr]| run(&[args, json].concat(), names);
        run(&["convert", "--force", "disk.raw"], &[base])?;
        run(&["info"], &[base])?;
        run(&["check"], &[base])?;
        run(&["map"], &[base])?;
        run(&["compare", "disk.raw"], &[base])?;
        run(&["repair"], &[base])?;
        run(&["repair", "--dry-run"], &[base])?;
        run(&["tree", "."], &[])?;
        run(&["convert", "--force", "disk.raw"], &[child])?;
    }
    Ok(())
}

/// Who wants it all the same is told how, by the command that has such an option and by no other.
#[test]
fn an_error_names_the_option_by_which_it_is_done() -> Result<()> {
    let bench = chain()?;
    let end = fs::metadata(bench.path("base.vhd"))?.len();
    fs::copy(bench.path("base.vhd"), bench.path("cut.vhd"))?;
    fs::File::options().write(true).open(bench.path("cut.vhd"))?.set_len(end - 512)?;
    fs::copy(bench.path("disk.raw"), bench.path("named.vmdk"))?;
    fs::rename(bench.path("one.vhd"), bench.path("gone"))?;
    bench.run(0, &["convert", "disk.raw", "copy.vhd"]);
    for (args, hint) in [
        (&["convert", "disk.raw", "base.vhd"][..], "(--force replaces it)"),
        (&["convert", "cut.vhd", "out.vhd"], "(--footer front does without it)"),
        (&["convert", "named.vmdk", "out.vhd"], "(--format raw takes its bytes for a disk's)"),
        (&["stream", "two.vhd"], "(--chain names the files"),
        (&["apply", "gone", "copy.vhd"], "(--trusted takes it all the same)"),
        (&["info", "--backing-chain", "--depth", "1", "gone"], "(--depth allows more)"),
    ] {
        let said = String::from_utf8(bench.run(1, args).stderr)?;
        ensure!(said.trim_end().ends_with(')') && said.contains(hint), "{args:?}: {said}");
        let json = bench.disk(args).arg("--json").output()?;
        ensure!(String::from_utf8([json.stdout, json.stderr].concat())?.contains(hint), "{args:?}");
    }
    let json = bench.run(2, &["compare", "cut.vhd", "disk.raw"]).stderr;
    ensure!(String::from_utf8(json)?.contains("--footer front"));
    let said = String::from_utf8(bench.run(1, &["repair", "disk.raw"]).stderr)?;
    ensure!(!said.contains("--"), "it has none: {said}");
    Ok(())
}

/// A VHD whose parent was given another name has its locators behind its blocks. Where its last footer is lost, the one
/// before them is none.
#[test]
fn a_repair_keeps_what_the_header_refers_to() -> Result<()> {
    let bench = chain()?;
    bench.run(0, &["convert", "disk.raw", "other.vhd"]);
    fs::remove_file(bench.path("two.vhd"))?;
    bench.run(0, &["rebase", "--metadata", "one.vhd", "other.vhd"]);
    let whole = fs::read(bench.path("one.vhd"))?;
    fs::write(bench.path("one.vhd"), &whole[..whole.len() - 512])?;
    bench.run(3, &["check", "one.vhd"]);
    bench.run(0, &["repair", "one.vhd"]);
    ensure!(fs::read(bench.path("one.vhd"))? == whole);
    bench.run(0, &["check", "one.vhd"]);
    bench.same("one.vhd", "one.raw");
    Ok(())
}

/// Disks whose sizes are no whole number of sectors or blocks, and layers of other sizes than what they are on.
#[test]
fn sizes_that_do_not_fit_each_other() -> Result<()> {
    let bench = Bench::new()?;
    let write = |name: &str, size: u64, bytes: &[(u64, &[u8])]| -> Result<()> {
        use std::os::unix::fs::FileExt;
        let file = fs::File::create(bench.path(name))?;
        file.set_len(size)?;
        Ok(bytes.iter().try_for_each(|(at, bytes)| file.write_all_at(bytes, *at))?)
    };
    // A difference at the last bytes of the base's, and one at the first of the block behind.
    write("base.raw", 2_097_128, &[(0, &[7; 97])])?;
    write("top.raw", 4 << 20, &[(0, &[7; 97]), (2_097_128, b"A"), (2_097_152, b"B")])?;
    bench.run(0, &["diff", "base.raw", "top.raw", "top.vhd"]);
    bench.same("top.vhd", "top.raw");
    // Behind the end of the layer in the middle there is nothing, whatever is below it.
    write("g.raw", 8 << 20, &[(0, &[1; 9000]), (5 << 20, &[2; 9000])])?;
    write("p.raw", 3 << 20, &[(4096, &[3; 9000])])?;
    write("x.raw", 8 << 20, &[(4096, &[3; 9000]), (5 << 20, &[4; 512])])?;
    bench.run(0, &["convert", "g.raw", "g.vhd", "--size", "8388608"]);
    bench.run(0, &["diff", "g.vhd", "g.raw", "p.vhd"]);
    for end in [false, true] {
        bench.footer("p.vhd", "p.vhd", end, 48, &(3_u64 << 20).to_be_bytes())?;
    }
    bench.run(0, &["diff", "p.vhd", "x.raw", "x.vhd"]);
    bench.same("x.vhd", "x.raw");
    Ok(())
}

/// A disk of a host is rounded up to whole blocks, and the file that has changed is not.
#[test]
fn the_sizes_of_a_difference_need_not_be_the_same() -> Result<()> {
    let bench = Bench::new()?;
    let disk = fs::read(bench.path("disk.raw"))?;
    let old = &disk[..21 << 19];
    let mut new = old.to_vec();
    new[9 << 20..(9 << 20) + 3].copy_from_slice(b"new");
    fs::write(bench.path("old.raw"), old)?;
    fs::write(bench.path("new.raw"), &new)?;
    bench.run(0, &["convert", "old.raw", "base.vhd"]);
    for (out, more) in [("child.vhd", &[][..]), ("larger.vhd", &["--size", "16777216", "--aligned"])] {
        bench.run(0, &[&["diff", "base.vhd", "new.raw", out], more].concat());
        bench.same(out, "new.raw");
    }
    ensure!(bench.json(0, &["info", "child.vhd"])["virtual-size"] == 12 << 20);
    ensure!(bench.json(0, &["info", "larger.vhd"])["virtual-size"] == 16 << 20);
    let piped = bench.run(0, &["diff", "base.vhd", "new.raw", "-"]).stdout;
    fs::write(bench.path("piped.vhd"), piped)?;
    bench.same("piped.vhd", "new.raw");
    // What the base has behind the end of the disk is zero in the child.
    fs::write(bench.path("short.raw"), &old[..5 << 20])?;
    fs::write(bench.path("full.raw"), vec![7; 12 << 20])?;
    bench.run(0, &["convert", "full.raw", "full.vhd"]);
    bench.run(0, &["diff", "full.vhd", "short.raw", "cut.vhd"]);
    bench.same("cut.vhd", "short.raw");
    let error = String::from_utf8(
        bench.run(1, &["diff", "--size", "1048576", "base.vhd", "new.raw", "no.vhd"]).stderr,
    )?;
    ensure!(error.contains("does not fit"), "{error}");
    Ok(())
}

/// However many disks are in the folder, few of them are open at a time.
#[test]
fn a_parent_is_found_among_more_files_than_may_be_open() -> Result<()> {
    let bench = Bench::new()?;
    fs::write(bench.path("small.raw"), [1; 4096])?;
    bench.run(0, &["convert", "small.raw", "base.vhd"]);
    bench.run(0, &["diff", "base.vhd", "small.raw", "child.vhd"]);
    fs::create_dir(bench.path("many"))?;
    for number in 0..60 {
        bench.footer("base.vhd", "other.vhd", true, 68, &[number + 1; 16])?;
        bench.footer("other.vhd", &format!("many/{number:02}.vhd"), false, 68, &[number + 1; 16])?;
    }
    fs::rename(bench.path("base.vhd"), bench.path("many/zz.vhd"))?;
    let disk = bench.disk(&["compare", "--parents", "many", "child.vhd", "small.raw"]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 40; exec \"$0\" \"$@\""]).arg(disk.get_program()).args(disk.get_args());
    let output = limited.current_dir(bench.folder.path()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// What is told before it is too late: names that blktap does not follow, and options that do nothing.
#[test]
fn what_would_pass_without_a_word_is_told() -> Result<()> {
    let bench = Bench::new()?;
    bench.run(0, &["convert", "disk.raw", "größe.vhd"]);
    let json = bench.json(0, &["diff", "größe.vhd", "disk.raw", "child.vhd"]);
    ensure!(json["warnings"].to_string().contains("not ASCII"), "{json}");
    for format in ["raw", "qcow2", "vhd-fixed"] {
        let error = bench.run(1, &["convert", "--aligned", "-O", format, "disk.raw", "out"]).stderr;
        ensure!(String::from_utf8(error)?.contains("--aligned"));
    }
    // A raw disk on which another one stands.
    bench.run(0, &["diff", "disk.raw", "disk.raw", "on-raw.vhd"]);
    bench.run(0, &["convert", "größe.vhd", "other.raw", "-O", "raw"]);
    let error = bench.run(1, &["convert", "--force", "-O", "raw", "other.raw", "disk.raw"]).stderr;
    let error = String::from_utf8(error)?;
    ensure!(error.contains("on-raw.vhd is a difference to it"), "{error}");
    // Nor by what arrives.
    let before = fs::read(bench.path("disk.raw"))?;
    let mut convert = bench.disk(&["convert", "--force", "-f", "raw", "-O", "raw", "-", "disk.raw"]);
    let output = convert.stdin(fs::File::open(bench.path("other.raw"))?).output()?;
    let error = String::from_utf8(output.stderr)?;
    ensure!(error.contains("on-raw.vhd is a difference to it") && output.status.code() == Some(1), "{error}");
    ensure!(fs::read(bench.path("disk.raw"))? == before);
    Ok(())
}
