//! The config drive on its way: written or the spawn fails, known by its digest ever after, and another one
//! wherever an instance is to be told something else.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use bytes::Bytes;
use e2e::pool::{LVM, NETWORK, Pool};
use examples::demo_image::DemoImage;
use tempfile::TempDir;
use xapi_simulator::World;
use xapi_simulator::fault::Fault;
use xenapi_client::{ExportFormat, ImportFormat};
use xenapi_driver::live::MigrateOptions;
use xenapi_driver::rescue::RescueOptions;
use xenapi_driver::resize::{RebuildOptions, ResizeOptions};
use xenapi_driver::spec::{Address, ConfigDrive, Flavor, InstanceSpec, MacChoice, Nic, SrChoice};
use xenapi_driver::{
    Cause, Checks, Instance, NewDrive, PowerChange, Progress, Shutdown, SpawnOptions, Stage, Which,
};
use xenapi_types::{Ref, Vbd, VbdMode, Vdi, Vm, vdi};

/// The key that says what was written.
const DIGEST: &str = "xenapi-rs:config-drive-digest";
const MAC: &str = "00:16:3e:01:02:03";

struct Bench {
    pool: Pool,
    _files: TempDir,
    image: PathBuf,
}

impl Bench {
    async fn new(hosts: usize) -> Result<Self> {
        let files = tempfile::tempdir()?;
        let image = files.path().join("demo.img");
        DemoImage { virtual_bytes: 40 << 20, payload_bytes: 1 << 20 }.write(&image)?;
        let pool = Pool::of(World::demo().with_hosts(hosts)).await?;
        Ok(Self { pool, _files: files, image })
    }

    async fn spec(&self) -> Result<InstanceSpec> {
        let home = self.pool.client().all_records::<xenapi_types::Pool>().await?;
        let home = home.into_values().next().context("a pool")?.master;
        let nodes = self.pool.driver.nodes().await?;
        let node = nodes.iter().find(|node| node.reference == home).context("a node")?;
        let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, 0), &self.image);
        spec.node = Some(node.uuid.parse()?);
        spec.nics = vec![Nic { mac: MacChoice::Given(MAC.parse()?), ..Nic::on(NETWORK) }];
        spec.config_drive = Some(saying("first words"));
        Ok(spec)
    }

    async fn spawn(&self) -> Result<(Instance, Which)> {
        let instance = self.pool.spawn(self.spec().await?).await?;
        let which = Which::Instance(instance.uuid);
        Ok((instance, which))
    }

    /// The config drive at device 3.
    async fn drive(&self, instance: &Instance) -> Result<Ref<Vdi>> {
        let client = self.pool.client();
        let vm = client.by_uuid::<Vm>(&instance.vm_uuid).await?;
        for vbd in client.record(&vm).await?.vbds {
            let vbd = client.record::<Vbd>(&vbd).await?;
            if vbd.userdevice == "3" {
                assert_eq!(vbd.mode, VbdMode::Ro);
                return Ok(vbd.vdi);
            }
        }
        anyhow::bail!("nothing is at device 3")
    }

    /// Whether the config drive has this text on it.
    async fn says(&self, instance: &Instance, text: &str) -> Result<bool> {
        let vdi = self.drive(instance).await?;
        let mut export = self.pool.client().export_vdi(&vdi, ExportFormat::Raw, None).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = export.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    }

    async fn check(&self, which: &Which) -> xenapi_driver::Result<()> {
        self.pool.driver.check_config_drive(which.clone(), Progress::none()).await
    }

    /// Writes over a disk that no running guest has.
    async fn damage(&self, vdi: &Ref<Vdi>) -> Result<()> {
        let body = http_body_util::Full::new(Bytes::from(vec![7; 4096]));
        self.pool.client().import_vdi(vdi, ImportFormat::Raw, body).await?;
        Ok(())
    }

    async fn power(&self, which: &Which, change: PowerChange) -> Result<()> {
        self.pool.driver.power(which.clone(), change, Progress::none()).await?;
        Ok(())
    }
}

fn saying(text: &str) -> ConfigDrive {
    ConfigDrive { user_data: Some(text.as_bytes().to_vec()), ..ConfigDrive::default() }
}

fn new_drive(text: &str) -> NewDrive {
    NewDrive { content: saying(text), ..NewDrive::default() }
}

#[tokio::test]
async fn a_drive_that_was_never_written_does_not_go_unnoticed() -> Result<()> {
    let bench = Bench::new(1).await?;
    let before = bench.pool.census().await?;
    let spec = InstanceSpec { image: (&bench.image).into(), ..bench.spec().await? };
    // Both disks are uploaded, in any order: nothing of either arrives, and the host says that all is well.
    bench.pool.simulator.faults().on_every("/import_raw_vdi", Fault::LoseUpload);
    let error = bench.pool.spawn(spec).await.unwrap_err();
    bench.pool.simulator.faults().clear();
    assert_eq!(error.stage(), Stage::ConfigDriveCheck, "{error}");
    assert!(matches!(error.cause(), Cause::Differs { .. }), "{error}");
    bench.pool.census().await?.assert_as(&before, "after the failure");

    // With the comparison off, the digest tells it at any later time.
    bench.pool.simulator.faults().on_every("/import_raw_vdi", Fault::LoseUpload);
    let options = SpawnOptions { checks: Checks::None, ..SpawnOptions::default() };
    let instance = bench.pool.driver.spawn(bench.spec().await?, options).await?;
    bench.pool.simulator.faults().clear();
    let error = bench.check(&Which::Instance(instance.uuid)).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::ConfigDriveChanged { .. }), "{error}");
    Ok(())
}

#[tokio::test]
async fn the_digest_tells_what_became_of_a_drive() -> Result<()> {
    let bench = Bench::new(1).await?;
    let client = bench.pool.client();
    let (instance, which) = bench.spawn().await?;
    let drive = bench.drive(&instance).await?;
    let digest =
        client.get_field(&drive, vdi::field::OTHER_CONFIG).await?.remove(DIGEST).context("a digest")?;
    assert!(digest.ends_with(&sha256(client, &drive).await?), "{digest}");
    bench.check(&which).await?;
    bench.power(&which, PowerChange::Off(Shutdown::Hard)).await?;
    bench.damage(&drive).await?;
    let error = bench.check(&which).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::ConfigDriveChanged { .. }), "{error}");
    client.remove_from(&drive, vdi::field::OTHER_CONFIG, DIGEST).await?;
    let error = bench.check(&which).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::ConfigDriveUnwritten { .. }), "{error}");

    let spec = InstanceSpec { name: "bare".into(), config_drive: None, nics: vec![], ..bench.spec().await? };
    let bare = bench.pool.spawn(spec).await?;
    let error = bench.check(&Which::Instance(bare.uuid)).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NoConfigDrive(_)), "{error}");
    Ok(())
}

/// Of the whole disk, which here is as large as what was written.
async fn sha256(client: &xenapi_client::Client, vdi: &Ref<Vdi>) -> Result<String> {
    let mut export = client.export_vdi(vdi, ExportFormat::Raw, None).await?;
    let file = tempfile::NamedTempFile::new()?;
    let mut bytes = Vec::new();
    while let Some(chunk) = export.chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    std::fs::write(file.path(), bytes)?;
    let output = std::process::Command::new("sha256sum").arg(file.path()).output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split(' ').next().context("a sum")?.to_owned())
}

#[tokio::test]
async fn another_one_with_a_rebuild() -> Result<()> {
    let bench = Bench::new(1).await?;
    let (instance, which) = bench.spawn().await?;
    let old = bench.drive(&instance).await?;
    let address = Address::new("10.0.0.77".parse()?, 24);
    let drive = NewDrive {
        metadata: BTreeMap::from([("role".to_owned(), "back-end".to_owned())]),
        addresses: BTreeMap::from([(MAC.parse()?, vec![address])]),
        ..new_drive("second words")
    };
    let options = RebuildOptions { config_drive: Some(drive), ..RebuildOptions::with(&bench.image) };
    bench.pool.driver.rebuild(which.clone(), options).await?;
    for text in ["second words", "back-end", "10.0.0.77", MAC, &instance.uuid.to_string()] {
        assert!(bench.says(&instance, text).await?, "{text}");
    }
    assert!(!bench.says(&instance, "first words").await?);
    assert!(bench.pool.client().record_opt(&old).await?.is_none(), "the old one is gone");
    bench.check(&which).await?;

    // Without another one it stays.
    let kept = bench.drive(&instance).await?;
    bench.pool.driver.rebuild(which.clone(), RebuildOptions::with(&bench.image)).await?;
    assert_eq!(bench.drive(&instance).await?, kept);
    let destroyed = bench.pool.driver.destroy(which, Progress::none()).await?;
    assert_eq!((destroyed.disk_uuids.len(), destroyed.kept_disk_uuids.len()), (2, 0));
    Ok(())
}

#[tokio::test]
async fn a_rebuild_that_fails_leaves_the_old_one() -> Result<()> {
    let bench = Bench::new(1).await?;
    let (instance, which) = bench.spawn().await?;
    let (old, before) = (bench.drive(&instance).await?, bench.pool.census().await?);
    let rebuild = |drive| {
        let options = RebuildOptions { config_drive: Some(drive), ..RebuildOptions::with(&bench.image) };
        bench.pool.driver.rebuild(which.clone(), options)
    };
    // Wrong from the start: nothing is touched.
    let mut foreign = new_drive("x");
    foreign.addresses.insert("00:16:3e:ff:ff:ff".parse()?, vec![]);
    let error = rebuild(foreign).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NoSuchInterface { .. }), "{error}");
    let error = rebuild(new_drive(&"x".repeat(70_000))).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::ConfigDrive(_)), "{error}");
    assert_eq!(error.stage(), Stage::Plan);
    bench.pool.census().await?.assert_as(&before, "after what cannot be");

    bench.pool.simulator.faults().on_every("/import_raw_vdi", Fault::LoseUpload);
    let error = rebuild(new_drive("second words")).await.unwrap_err();
    bench.pool.simulator.faults().clear();
    assert!(matches!(error.cause(), Cause::Differs { .. }), "{error}");
    assert_eq!(bench.drive(&instance).await?, old);
    bench.check(&which).await?;
    bench.pool.census().await?.assert_as(&before, "after the failure");
    Ok(())
}

#[tokio::test]
async fn another_one_with_a_resize_and_back() -> Result<()> {
    let bench = Bench::new(1).await?;
    let (instance, which) = bench.spawn().await?;
    let old = bench.drive(&instance).await?;
    let resize = || ResizeOptions {
        flavor: Some(Flavor::new(2, 512, 0)),
        config_drive: Some(new_drive("second words")),
        shutdown: Shutdown::Hard,
        ..ResizeOptions::default()
    };
    let driver = &bench.pool.driver;
    assert_eq!(driver.resize(which.clone(), resize()).await?.replaced_disks, 1);
    assert!(bench.says(&instance, "second words").await?);
    driver.revert_resize(which.clone(), Progress::none()).await?;
    assert_eq!(bench.drive(&instance).await?, old);
    driver.resize(which.clone(), resize()).await?;
    driver.confirm_resize(which.clone(), Progress::none()).await?;
    assert!(bench.says(&instance, "second words").await?);
    bench.check(&which).await?;
    assert!(bench.pool.client().record_opt(&old).await?.is_none(), "the old one is gone");
    Ok(())
}

#[tokio::test]
async fn another_one_for_the_time_of_a_rescue() -> Result<()> {
    let bench = Bench::new(1).await?;
    let (instance, which) = bench.spawn().await?;
    let (old, before) = (bench.drive(&instance).await?, bench.pool.census().await?);
    let options =
        RescueOptions { config_drive: Some(new_drive("only for now")), ..RescueOptions::with(&bench.image) };
    bench.pool.driver.rescue(which.clone(), options).await?;
    assert!(bench.says(&instance, "only for now").await?);
    bench.check(&which).await?;
    bench.pool.driver.unrescue(which.clone(), Progress::none()).await?;
    assert_eq!(bench.drive(&instance).await?, old);
    bench.check(&which).await?;
    let changes = bench.pool.census().await?.changes_since(&before);
    assert!(!changes.iter().any(|change| change.contains("VDI")), "{changes:?}");
    Ok(())
}

#[tokio::test]
async fn copied_to_another_repository_and_compared() -> Result<()> {
    let bench = Bench::new(1).await?;
    let (instance, which) = bench.spawn().await?;
    let old = bench.drive(&instance).await?;
    let there = || ResizeOptions {
        sr: Some(SrChoice::NameLabel(LVM.into())),
        shutdown: Shutdown::Hard,
        ..ResizeOptions::default()
    };
    let driver = &bench.pool.driver;
    driver.resize(which.clone(), there()).await?;
    assert_ne!(bench.drive(&instance).await?, old);
    bench.check(&which).await?;
    driver.revert_resize(which.clone(), Progress::none()).await?;

    // What is damaged is not passed on.
    bench.power(&which, PowerChange::Off(Shutdown::Hard)).await?;
    bench.damage(&old).await?;
    let before = bench.pool.census().await?;
    let error = driver.resize(which.clone(), there()).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::ConfigDriveChanged { .. }), "{error}");
    assert_eq!(bench.drive(&instance).await?, old);
    let changes = bench.pool.census().await?.changes_since(&before);
    assert!(!changes.iter().any(|change| change.contains("VDI")), "{changes:?}");
    // A new one is the way out.
    let renewed = ResizeOptions { config_drive: Some(new_drive("second words")), ..there() };
    driver.resize(which.clone(), renewed).await?;
    assert!(bench.says(&instance, "second words").await?);
    bench.check(&which).await?;
    Ok(())
}

#[tokio::test]
async fn compared_after_a_live_migration_with_disks() -> Result<()> {
    let bench = Bench::new(2).await?;
    let (instance, which) = bench.spawn().await?;
    let old = bench.drive(&instance).await?;
    let nodes = bench.pool.driver.nodes().await?;
    let there = nodes.iter().find(|node| node.uuid != instance.node_uuid).context("two nodes")?;
    let node = there.uuid.parse()?;
    let options = || MigrateOptions { sr: Some(SrChoice::NameLabel(LVM.into())), ..MigrateOptions::to(node) };
    bench.power(&which, PowerChange::Off(Shutdown::Hard)).await?;
    bench.damage(&old).await?;
    bench.power(&which, PowerChange::On).await?;
    let error = bench.pool.driver.live_migrate(which.clone(), options()).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::ConfigDriveChanged { .. }), "{error}");
    let vm = bench.pool.client().by_uuid::<Vm>(&instance.vm_uuid).await?;
    assert_eq!(bench.pool.client().record(&vm).await?.resident_on, there.reference, "it has arrived");
    Ok(())
}

/// What no guest could use is said before anything is made on the host.
#[tokio::test]
async fn bad_input_is_told_before_anything_is_made() -> Result<()> {
    type Change = fn(&mut InstanceSpec);
    let bench = Bench::new(1).await?;
    let before = bench.pool.census().await?;
    let rows: [(Change, &str); 8] = [
        (|spec| spec.config_drive = Some(saying(&"x".repeat(49_150))), "49150"),
        (|spec| drive_of(spec).hostname = Some("no spaces".into()), "hostname \"no spaces\""),
        (|spec| drive_of(spec).ssh_keys = [("k".into(), "a\nb".into())].into(), "more than one line"),
        (|spec| spec.nics.push(spec.nics[0].clone()), MAC),
        (|spec| addresses_of(spec, &["10.0.0.5/33"]), "longer than the address"),
        (|spec| addresses_of(spec, &["10.0.0.5/24", "10.0.0.5/16"]), "also the address of another network"),
        (|spec| addresses_of(spec, &["0.0.0.0/24"]), "not the address of a single host"),
        (
            |spec| {
                addresses_of(spec, &["10.0.0.5/24"]);
                spec.nics[0].addresses[0].gateway = "fd00::1".parse().ok();
            },
            "mixes IPv4 and IPv6",
        ),
    ];
    for (change, expected) in rows {
        let mut spec = bench.spec().await?;
        change(&mut spec);
        let error = bench.pool.spawn(spec).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert_eq!(error.stage(), Stage::Plan, "{error}");
        bench.pool.census().await?.assert_as(&before, expected);
    }
    Ok(())
}

fn drive_of(spec: &mut InstanceSpec) -> &mut ConfigDrive {
    spec.config_drive.get_or_insert_default()
}

fn addresses_of(spec: &mut InstanceSpec, addresses: &[&str]) {
    let parse = |text: &&str| {
        let (ip, len) = text.split_once('/').expect("an address and a length");
        Address::new(ip.parse().expect("an address"), len.parse().expect("a length"))
    };
    spec.nics[0].addresses = addresses.iter().map(parse).collect();
}
