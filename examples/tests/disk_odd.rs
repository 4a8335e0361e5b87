//! VHDs that `disk` refuses unless it is asked to read them.

mod bench;

use std::fs;

use anyhow::{Context, Result, ensure};
use bench::Bench;

#[track_caller]
fn refused(bench: &Bench, file: &str, why: &str) -> Result<()> {
    let said = bench.run(1, &["convert", "-O", "raw", "--force", file, "refused.raw"]).stderr;
    let said = String::from_utf8(said)?;
    ensure!(said.contains(why), "{file}: {said}");
    Ok(())
}

/// Reads it, from a file and from a pipe, and says whether it is the disk.
fn read(bench: &Bench, file: &str, asked: &[&str]) -> Result<()> {
    let raw = fs::read(bench.path("disk.raw"))?;
    bench.run(0, &[&["convert", "-O", "raw", "--force", file, "back.raw"], asked].concat());
    ensure!(fs::read(bench.path("back.raw"))? == raw, "{file} {asked:?}");
    let piped = bench.fed(0, &[&["convert", "-O", "raw", "-", "-"], asked].concat(), &bench.path(file))?;
    ensure!(piped.stdout == raw, "{file} {asked:?} from a pipe");
    Ok(())
}

#[test]
fn the_footer_that_counts_is_chosen() -> Result<()> {
    let bench = Bench::new()?;
    bench.run(0, &["convert", "disk.raw", "d.vhd"]);
    let half = (32_u64 << 20).to_be_bytes();
    bench.footer("d.vhd", "end.vhd", true, 48, &half)?;
    bench.footer("d.vhd", "front.vhd", false, 68, &[9; 16])?;
    for (file, right, other) in [("end.vhd", "front", "end"), ("front.vhd", "end", "front")] {
        refused(&bench, file, "disagree")?;
        read(&bench, file, &["--footer", right])?;
        let info = bench.json(0, &["info", "--footer", other, file]);
        ensure!(info["warnings"].to_string().contains("disagree"), "{info}");
    }
    assert_eq!(bench.json(0, &["info", "--footer", "end", "end.vhd"])["virtual-size"], 32 << 20);
    // One that is missing, as a host leaves it that has died.
    let vhd = fs::read(bench.path("d.vhd"))?;
    fs::write(bench.path("cut.vhd"), &vhd[..vhd.len() - 512])?;
    refused(&bench, "cut.vhd", "no footer at the end")?;
    read(&bench, "cut.vhd", &["--footer", "front"])
}

#[test]
fn what_is_too_much_is_passed_over() -> Result<()> {
    let bench = Bench::new()?;
    bench.run(0, &["convert", "disk.raw", "d.vhd"]);
    bench.run(0, &["convert", "-O", "vhd-fixed", "disk.raw", "f.vhd"]);
    let (dynamic, fixed) = (fs::read(bench.path("d.vhd"))?, fs::read(bench.path("f.vhd"))?);
    let (disk, end) = fixed.split_at(fixed.len() - 512);
    fs::write(bench.path("junk.vhd"), [&dynamic[..], &[7; 9000]].concat())?;
    fs::write(bench.path("gap.vhd"), [disk, &[7; 9000], end].concat())?;
    for (file, why) in [("junk.vhd", "follow the footer"), ("gap.vhd", "a fixed disk of")] {
        refused(&bench, file, why)?;
        read(&bench, file, &["--surplus"])?;
    }
    // Zeros are no question, where it is said that they are behind a VHD.
    fs::write(bench.path("zeros.vhd"), [&fixed[..], &[0; 9000]].concat())?;
    bench.run(0, &["compare", "-f", "vhd", "zeros.vhd", "disk.raw"]);
    bench.run(0, &["compare", "-f", "raw", "-F", "raw", "zeros.vhd", "zeros.vhd"]);
    bench.run(3, &["check", "-f", "vhd", "zeros.vhd"]);
    bench.run(0, &["repair", "zeros.vhd"]);
    ensure!(fs::read(bench.path("zeros.vhd"))? == fixed);
    Ok(())
}

#[test]
fn bitmaps_and_sizes() -> Result<()> {
    let bench = Bench::new()?;
    bench.run(0, &["convert", "disk.raw", "d.vhd"]);
    // The bitmap of the first block, of which nothing is said to be there.
    let mut vhd = fs::read(bench.path("d.vhd"))?;
    vhd[2048..2560].fill(0);
    fs::write(bench.path("bits.vhd"), vhd)?;
    bench.run(1, &["compare", "bits.vhd", "disk.raw"]);
    read(&bench, "bits.vhd", &["--bitmaps", "ignore"])?;
    let said = bench.run(1, &["convert", "--bitmaps", "refuse", "-O", "raw", "bits.vhd", "r.raw"]).stderr;
    ensure!(String::from_utf8(said)?.contains("bitmap says"));
    // Both footers say 3 TiB; what else is wrong then is told when that is allowed.
    let large = (3_u64 << 40).to_be_bytes();
    bench.footer("d.vhd", "half.vhd", false, 48, &large)?;
    bench.footer("half.vhd", "large.vhd", true, 48, &large)?;
    refused(&bench, "large.vhd", "the limit is")?;
    let said = bench.run(1, &["info", "--large", "large.vhd"]).stderr;
    ensure!(String::from_utf8(said)?.contains("the disk needs 1572864"));
    Ok(())
}

/// What a damaged VHD is named as is not made up for by taking its bytes for those of a disk.
#[test]
fn what_is_not_what_its_name_says_is_no_raw_disk() -> Result<()> {
    let bench = Bench::new()?;
    bench.run(0, &["convert", "disk.raw", "d.vhd"]);
    bench.run(0, &["convert", "-O", "vhd-fixed", "disk.raw", "f.vhd"]);
    let (dynamic, fixed) = (fs::read(bench.path("d.vhd"))?, fs::read(bench.path("f.vhd"))?);
    let mut blind = dynamic.clone();
    blind[..8].fill(b'x');
    let end = blind.len() - 512;
    blind[end..end + 8].fill(b'x');
    for (name, bytes) in [
        ("blind.vhd", &blind[..]),
        ("cut.VHD", &fixed[..fixed.len() - 512]),
        ("half.vhd", &fixed[..fixed.len() / 2]),
        ("raw.qcow2", &fixed[..1 << 20]),
    ] {
        fs::write(bench.path(name), bytes)?;
        for args in [&["info", name][..], &["convert", name, "out.vhd"], &["map", name], &["stream", name]] {
            let error = String::from_utf8(bench.run(1, args).stderr)?;
            ensure!(error.contains("does not look like one"), "{args:?}: {error}");
        }
        assert_eq!(bench.json(0, &["info", "-f", "raw", name])["virtual-size"], bytes.len());
    }
    // From a pipe nothing has a name, and by another name it is a disk like any other.
    fs::copy(bench.path("cut.VHD"), bench.path("cut"))?;
    bench.same("cut", "disk.raw");
    Ok(())
}

/// What was read in one way of several, or is odd, is told by what makes another disk of it.
#[test]
fn oddities_are_told_where_they_were_read() -> Result<()> {
    let bench = Bench::new()?;
    bench.run(0, &["convert", "disk.raw", "d.vhd"]);
    let good = fs::read(bench.path("d.vhd"))?;
    let end = good.len() - 512;
    let info = bench.json(0, &["info", "d.vhd"]);
    ensure!(info["warnings"].as_array().is_some_and(Vec::is_empty), "{info}");
    let told = |bytes: &[u8], what: &str| -> Result<()> {
        fs::write(bench.path("odd.vhd"), bytes)?;
        let json = bench.json(0, &["convert", "--force", "odd.vhd", "out.vhd"]);
        ensure!(json["warnings"][0].as_str().is_some_and(|warning| warning.contains(what)), "{what}: {json}");
        let lines = bench.run(0, &["convert", "--force", "odd.vhd", "out.vhd"]).stdout;
        ensure!(String::from_utf8(lines)?.contains(what));
        let piped = bench.run(0, &["convert", "-O", "raw", "odd.vhd", "-"]).stderr;
        ensure!(String::from_utf8(piped)?.contains(what));
        Ok(())
    };
    let with = |at: usize, bytes: &[u8]| {
        let mut odd = good.clone();
        odd[at..at + bytes.len()].copy_from_slice(bytes);
        odd
    };
    told(&with(0, &[b'x'; 8]), "the front footer is damaged")?;
    told(&with(64, &[9; 4]), "the front footer is damaged")?;
    told(&with(end + 64, &[9; 4]), "the end footer is damaged")?;
    // The first block that is there has its bitmap behind the table, and all of its data are left out.
    let entry = good[1536..1536 + 32 * 4].chunks(4).find(|entry| **entry != [0xff; 4]).context("a block")?;
    let block = u32::from_be_bytes(entry.try_into()?) as usize * 512;
    told(&with(block, &[0; 512]), "leaves out sectors that have data")?;
    told(&with(block, &[0; 256]), "leaves out sectors that have data")?;
    bench.json(0, &["convert", "--force", "d.vhd", "out.vhd"])["warnings"]
        .as_array()
        .filter(|warnings| warnings.is_empty())
        .context("nothing is odd about it")?;
    Ok(())
}

/// What `check` says is what can be done, and `repair` does it.
#[test]
fn advice_names_the_option_that_helps() -> Result<()> {
    let bench = Bench::new()?;
    bench.run(0, &["convert", "disk.raw", "d.vhd"]);
    bench.footer("d.vhd", "two.vhd", true, 48, &(32_u64 << 20).to_be_bytes())?;
    let said = String::from_utf8(bench.run(2, &["check", "two.vhd"]).stdout)?;
    ensure!(said.contains("--footer front or --footer end says which footer counts"), "{said}");
    let said = String::from_utf8(bench.run(1, &["repair", "two.vhd"]).stderr)?;
    ensure!(said.contains("disagree") && said.contains("--footer front"), "{said}");
    bench.run(3, &["check", "--footer", "front", "two.vhd"]);
    bench.run(0, &["repair", "--dry-run", "--footer", "front", "two.vhd"]);
    bench.run(2, &["check", "two.vhd"]);
    bench.run(0, &["repair", "--footer", "front", "two.vhd"]);
    bench.run(0, &["check", "two.vhd"]);
    bench.same("two.vhd", "disk.raw");
    bench.footer("d.vhd", "front.vhd", false, 48, &(3_u64 << 40).to_be_bytes())?;
    bench.footer("front.vhd", "large.vhd", true, 48, &(3_u64 << 40).to_be_bytes())?;
    let said = String::from_utf8(bench.run(2, &["check", "large.vhd"]).stdout)?;
    ensure!(said.contains("--large reads"), "{said}");
    let said = String::from_utf8(bench.run(2, &["check", "--large", "large.vhd"]).stdout)?;
    ensure!(said.contains("table"), "{said}");
    Ok(())
}

/// One that cannot be read hides none of the others.
#[test]
fn a_tree_tells_of_what_it_cannot_read() -> Result<()> {
    let bench = Bench::new()?;
    bench.run(0, &["convert", "disk.raw", "d.vhd"]);
    // A file that cannot be read by anybody: its first bytes are the memory of nobody.
    std::os::unix::fs::symlink("/proc/1/mem", bench.path("no.vhd"))?;
    let tree = bench.json(2, &["tree", "."]);
    ensure!(tree["trees"].as_array().map(Vec::len) == Some(2), "{tree}");
    ensure!(tree["trees"].to_string().contains("unreadable"), "{tree}");
    Ok(())
}
