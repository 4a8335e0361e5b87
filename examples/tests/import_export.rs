//! `disk import` and `disk export`, as a user starts them, on a simulated pool that is on a port.

mod bench;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench::Bench;
use disk_stream::DiskBody;
use examples::demo_image::DemoImage;
use serde_json::Value;
use xapi_simulator::fault::Fault;
use xapi_simulator::{Simulator, World};
use xenapi_client::{Client, Config, ImportFormat};
use xenapi_types::{Sr, Vbd, Vdi, Vm, sr, vdi};

const PASSWORD: &str = "in-and-out";
const SR: [&str; 2] = ["--sr", "Local storage"];

struct Pool {
    simulator: Simulator,
    url: String,
    client: Client,
    bench: Bench,
}

impl Pool {
    async fn new() -> Result<Self> {
        let simulator = Simulator::builder().world(World::demo()).password(PASSWORD).build().await?;
        let url = simulator.listen("127.0.0.1:0").await?;
        let client = Client::new(Config::new(&url, "root", PASSWORD)?)?;
        Ok(Self { simulator, url, client, bench: Bench::new()? })
    }

    fn at(&self, mut command: Command) -> Command {
        command.env_remove("RUST_LOG").env_remove("XENAPI_USER");
        command.env("XENAPI_URL", &self.url).env("XENAPI_PASSWORD", PASSWORD);
        command
    }

    /// Runs `disk`, with a file as what comes through standard input.
    fn fed(&self, args: &[&str], file: Option<&str>) -> Result<Output> {
        let input = match file {
            Some(file) => fs::File::open(self.bench.path(file))?.into(),
            None => Stdio::null(),
        };
        let mut command = self.at(self.bench.disk(args));
        Ok(tokio::task::block_in_place(|| command.stdin(input).output())?)
    }

    fn done(&self, args: &[&str], file: Option<&str>) -> Result<Value> {
        let output = self.fed(&[args, &["--json"]].concat(), file)?;
        ensure!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Runs what must fail with a sentence that has this in it.
    fn refused(&self, args: &[&str], file: Option<&str>, part: &str) -> Result<()> {
        let output = self.fed(args, file)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1) && said.contains(part), "{args:?}: {said}");
        ensure!(output.stdout.is_empty(), "{args:?} prints something");
        Ok(())
    }

    async fn disks(&self) -> Result<BTreeSet<String>> {
        Ok(self.client.all_records::<Vdi>().await?.into_values().map(|disk| disk.uuid).collect())
    }

    fn files(&self) -> Result<usize> {
        Ok(fs::read_dir(self.bench.folder.path())?.count())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_in_comes_out() -> Result<()> {
    let pool = Pool::new().await?;
    let bench = &pool.bench;
    let raw = fs::read(bench.path("disk.raw"))?;
    bench.run(0, &["convert", "disk.raw", "disk.vhd"]);
    bench.run(0, &["convert", "-O", "qcow2", "disk.raw", "disk.qcow2"]);
    let packed = Command::new("gzip").arg("-k").arg(bench.path("disk.vhd")).status()?;
    ensure!(packed.success(), "gzip: {packed}");
    for (i, (image, input)) in [
        ("disk.raw", None),
        ("disk.vhd", None),
        ("disk.qcow2", None),
        ("disk.vhd.gz", None),
        ("-", Some("disk.vhd")),
        ("-", Some("disk.vhd.gz")),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("disk {i}");
        let made = pool.done(&[&["import", image, "--name", &name], &SR[..]].concat(), input)?;
        assert_eq!((made["name"].as_str(), &made["virtual-size"]), (Some(&*name), &(64 << 20).into()));
        let out = format!("{i}.raw");
        let told = pool.done(&["export", &name, &out, "-O", "raw"], None)?;
        assert_eq!((&told["uuid"], &told["filename"]), (&made["uuid"], &out.clone().into()));
        ensure!(fs::read(bench.path(&out))? == raw, "{image} {input:?}");
        // It is like any disk that somebody has made: no mark makes it anybody's.
        let disk = pool.client.by_uuid::<Vdi>(made["uuid"].as_str().context("a uuid")?).await?;
        ensure!(pool.client.record(&disk).await?.other_config.is_empty());
    }
    pool.done(&["export", "disk 1", "out.vhd"], None)?;
    bench.run(0, &["check", "--thorough", "out.vhd"]);
    bench.run(0, &["compare", "out.vhd", "disk.raw"]);
    // Nothing but the disk on standard output, and what it is on standard error.
    for (format, file) in [("raw", "p.raw"), ("vhd", "p.vhd")] {
        let piped = pool.fed(&["export", "disk 2", "-", "-O", format, "--json"], None)?;
        ensure!(piped.status.success(), "{piped:?}");
        assert_eq!(serde_json::from_slice::<Value>(&piped.stderr)?["filename"], "-");
        fs::write(bench.path(file), &piped.stdout)?;
        bench.run(0, &["compare", file, "disk.raw"]);
    }
    // A raw disk through a pipe has the size that is said, and a name can be that of the file.
    let gib = [&["import", "-", "--format", "raw", "--gib", "1", "--name", "large"], &SR[..]].concat();
    assert_eq!(pool.done(&gib, Some("disk.raw"))?["virtual-size"], 1 << 30);
    assert_eq!(pool.done(&[&["import", "disk.vhd.gz"], &SR[..]].concat(), None)?["name"], "disk");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_and_leaves_nothing() -> Result<()> {
    let pool = Pool::new().await?;
    let bench = &pool.bench;
    bench.run(0, &["convert", "disk.raw", "disk.vhd"]);
    let whole = fs::read(bench.path("disk.vhd"))?;
    fs::write(bench.path("cut.vhd"), &whole[..whole.len() / 2])?;
    let twin = [&["import", "disk.vhd", "--name", "twin"], &SR[..]].concat();
    let one = pool.done(&twin, None)?;
    pool.done(&twin, None)?;
    let disk = bench.disk(&[]);
    let mut spawn = pool.at(Command::new(Path::new(disk.get_program()).with_file_name("spawn")));
    spawn.args(["--name", "web1", "--image"]).arg(bench.path("disk.vhd")).args(["--flavor", "1:512:0"]);
    let spawned = tokio::task::block_in_place(|| spawn.stdin(Stdio::null()).output())?;
    ensure!(spawned.status.success(), "{spawned:?}");
    let vm = pool.client.by_name_label::<Vm>("web1").await?;
    let vbds = pool.client.all_records::<Vbd>().await?;
    let root = vbds.into_values().find(|vbd| vbd.vm == vm && vbd.userdevice == "0");
    let vdi = root.context("a root disk")?.vdi;
    let running = pool.client.record(&vdi).await?.uuid;

    let (disks, files) = (pool.disks().await?, pool.files()?);
    let one = one["uuid"].as_str().context("a uuid")?;
    let zeros = format!("sha256:{}", "0".repeat(64));
    for (args, input, part) in [
        (&["import", "none.vhd"][..], None, "none.vhd"),
        (&["import", "cut.vhd"], None, "cut.vhd"),
        (&["import", "-", "--name", "cut"], Some("cut.vhd"), "truncated"),
        (&["import", "disk.vhd", "--digest", &zeros], None, "digest"),
        (&["import", "-"], Some("disk.vhd"), "--name"),
        (&["import", "-", "--name", "raw", "--format", "raw"], Some("disk.raw"), "how large"),
        (&["import", "disk.vhd", "--sr", "nowhere"], None, "nowhere"),
        (&["export", "nobody", "out.vhd"], None, "no disk is called \"nobody\""),
        (&["export", "00000000-0000-0000-0000-000000000001", "out.vhd"], None, "00000000-"),
        (&["export", "twin", "out.vhd"], None, "by its uuid"),
        (&["export", &running, "out.vhd"], None, "is attached to VM"),
        (&["export", &running, "-"], None, "is attached to VM"),
        (&["export", one, "disk.vhd"], None, "exists already"),
        (&["export", one, "disk.raw", "-O", "raw"], None, "exists already"),
        (&["export", one, "none/out.vhd"], None, "none/out.vhd"),
    ] {
        pool.refused(args, input, part)?;
    }
    for (path, args) in [
        ("/import_raw_vdi", &["import", "disk.vhd"][..]),
        ("/export_raw_vdi", &["export", one, "out.vhd"]),
        ("/export_raw_vdi", &["export", one, "out.raw", "-O", "raw"]),
    ] {
        pool.simulator.faults().on(path, Fault::DropAfterBytes(1 << 20));
        pool.refused(args, None, "disk")?;
        assert_eq!(pool.simulator.faults().clear(), 0, "{path} was not asked for");
    }
    let lvm = pool.client.by_name_label::<Sr>("Local LVM").await?;
    let call = sr::SetNameLabel { sr: lvm, value: "Local storage".to_owned() };
    pool.client.call(call).await?;
    pool.refused(&twin, None, "by its uuid")?;
    assert_eq!((pool.disks().await?, pool.files()?), (disks.clone(), files));
    ensure!(fs::read(bench.path("disk.vhd"))? == whole);
    Ok(())
}

/// An import of a disk with 30 MiB in it, in transfers of 8 MiB.
const LARGE: [&str; 7] = ["import", "large.raw", "--resume", "--batch-mib", "8", "--sr", "Local storage"];
const JOURNAL: &str = ".large.raw.upload";

impl Pool {
    async fn with_large() -> Result<Self> {
        let pool = Self::new().await?;
        let large = DemoImage { virtual_bytes: 64 << 20, payload_bytes: 30 << 20 };
        large.write(&pool.bench.path("large.raw"))?;
        Ok(pool)
    }

    /// Imports until the connection breaks in the middle of the second transfer; the uuid of the disk that is there then.
    async fn broken(&self, args: &[&str]) -> Result<String> {
        let before = self.disks().await?;
        self.simulator.faults().on_nth("/import_raw_vdi", 2, Fault::DropAfterBytes(3 << 20));
        self.refused(args, None, "the same command sends the rest")?;
        assert_eq!(self.simulator.faults().clear(), 0, "there was no second transfer");
        let mut new = self.disks().await?.difference(&before).cloned().collect::<Vec<_>>();
        ensure!(new.len() == 1, "{new:?}");
        Ok(new.remove(0))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_import_goes_on() -> Result<()> {
    let pool = Pool::with_large().await?;
    let bench = &pool.bench;
    let disks = pool.disks().await?.len();
    let uuid = pool.broken(&LARGE).await?;
    ensure!(bench.path(JOURNAL).exists(), "no journal");
    let disk = pool.client.by_uuid::<Vdi>(&uuid).await?;
    let keys = pool.client.record(&disk).await?.other_config;
    // XAPI has one of its own.
    ensure!(keys.keys().all(|key| key == "content_id"), "somebody would take it for theirs: {keys:?}");
    // Nothing of this one arrives, and what had arrived is still kept.
    pool.simulator.faults().on("/import_raw_vdi", Fault::DropAfterBytes(1 << 20));
    pool.refused(&LARGE, None, JOURNAL)?;
    let made = pool.done(&LARGE, None)?;
    assert_eq!((&made["uuid"], &made["kept"]), (&uuid.clone().into(), &(8 << 20).into()));
    let sent = made["sent"].as_u64().context("what was sent")?;
    ensure!((16 << 20..56 << 20).contains(&sent), "{sent} bytes for the rest");
    ensure!(!bench.path(JOURNAL).exists(), "the journal is still there");
    pool.done(&["export", &uuid, "back.raw", "-O", "raw"], None)?;
    ensure!(fs::read(bench.path("back.raw"))? == fs::read(bench.path("large.raw"))?);
    assert_eq!(pool.disks().await?.len(), disks + 1);
    // One that does not break, with its journal elsewhere.
    fs::create_dir(bench.path("state"))?;
    let elsewhere = [&LARGE[..], &["--journal-folder", "state", "--name", "second"]].concat();
    let uuid = pool.broken(&elsewhere).await?;
    ensure!(bench.path("state").join(JOURNAL).exists() && !bench.path(JOURNAL).exists());
    let second = pool.done(&elsewhere, None)?;
    assert_eq!((&second["uuid"], &second["kept"]), (&uuid.into(), &(8 << 20).into()));
    let whole = pool.done(&[&LARGE[..], &["--name", "third"]].concat(), None)?;
    assert_eq!((&whole["kept"], fs::read_dir(bench.path("state"))?.count()), (&0.into(), 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_changed_meanwhile_is_not_gone_on_with() -> Result<()> {
    let pool = Pool::with_large().await?;
    let bench = &pool.bench;
    let uuid = pool.broken(&LARGE).await?;
    let journal = fs::read(bench.path(JOURNAL))?;
    let gib = [&LARGE[..], &["--gib", "1"]].concat();
    pool.refused(&gib, None, "bytes by now")?;
    let other = [&LARGE[..5], &["--sr", "Local LVM"]].concat();
    pool.refused(&other, None, "which is not in repository \"Local LVM\"")?;
    let image = fs::File::options().write(true).open(bench.path("large.raw"))?;
    let written = image.metadata()?.modified()?;
    image.set_modified(written - Duration::from_secs(5))?;
    pool.refused(&LARGE, None, "is not what it was when its import")?;
    image.set_modified(written)?;
    assert_eq!(fs::read(bench.path(JOURNAL))?, journal, "a refusal changes nothing");

    // What somebody writes to the disk is found when it is compared.
    let disk = pool.client.by_uuid::<Vdi>(&uuid).await?;
    pool.client.import_vdi(&disk, ImportFormat::Raw, DiskBody::from_bytes(vec![7; 512])).await?;
    pool.client.wait_until_detached(&disk, Duration::from_secs(60)).await?;
    pool.refused(&LARGE, None, "differs from its source at byte 0")?;
    ensure!(bench.path(JOURNAL).exists());
    // The host lets go of it when it sees that the program is gone.
    pool.client.wait_until_detached(&disk, Duration::from_secs(60)).await?;
    pool.client.call(vdi::Destroy { vdi: disk }).await?;
    pool.refused(&LARGE, None, "is gone")?;
    // Nothing had arrived in this one: there is nothing to lose.
    let text = fs::read(bench.path(JOURNAL))?;
    let head = text.windows(2).position(|pair| pair == b"\n\n").context("a header")? + 2;
    fs::write(bench.path(JOURNAL), &text[..head])?;
    assert_eq!(pool.done(&LARGE, None)?["kept"], 0);
    ensure!(!bench.path(JOURNAL).exists());

    let lvm = pool.client.by_name_label::<Sr>("Local LVM").await?;
    pool.client.remove_from(&lvm, sr::field::SM_CONFIG, "use_vhd").await?;
    let (disks, files) = (pool.disks().await?, pool.files()?);
    fs::write(bench.path("letter"), "Dear reader")?;
    bench.run(0, &["convert", "large.raw", "large.vhd"]);
    let packed = Command::new("gzip").arg(bench.path("large.vhd")).status()?;
    ensure!(packed.success(), "gzip: {packed}");
    for (image, rest, part) in [
        ("-", &SR[..], "needs an image in a file"),
        ("https://127.0.0.1:1/disk.vhd", &SR, "needs an image in a file"),
        ("large.vhd.gz", &SR, "give a file that is not packed"),
        ("large.raw", &["--sr", "Local LVM"], "is not empty in the beginning"),
    ] {
        pool.refused(&[&["import", image, "--resume", "--name", "n"], rest].concat(), None, part)?;
    }
    fs::rename(bench.path("letter"), bench.path(JOURNAL))?;
    pool.refused(&LARGE, None, "it is not the journal of an upload")?;
    assert_eq!(fs::read(bench.path(JOURNAL))?, b"Dear reader");
    assert_eq!((pool.disks().await?, pool.files()?), (disks, files + 2));
    Ok(())
}
