//! Whatever a user gets wrong, or a host does: one sentence that names the object and the remedy, and
//! a pool that holds exactly what it held before.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Result;
use disk_stream::DiskBody;
use e2e::bench::Bench;
use e2e::pool::{EXT, LVM, NETWORK, PASSWORD, Pool, personality, writes};
use examples::demo_image::DemoImage;
use xapi_simulator::fault::Fault;
use xapi_simulator::{Simulator, World};
use xenapi_client::{Config, ImportFormat, Trust};
use xenapi_driver::spec::{
    Address, AdminPassword, AgentNeed, AgentSetup, ConfigDrive, ConfigDriveFormat, ConfigDriveLabel,
    ConfigDriveSize, Flavor, InstanceSpec, MacChoice, Nic, Power, SrChoice,
};
use xenapi_driver::{Driver, Error, Event, Progress, SpawnOptions, Stage};
use xenapi_types::{Sr, VdiType, vdi};

/// A pool and an image that make an instance, as long as nothing is changed.
async fn bench() -> Result<Bench> {
    let image = DemoImage { virtual_bytes: 64 << 20, payload_bytes: 12 << 20 };
    Bench::with(Pool::demo().await?, image).await
}

fn spec_of(bench: &Bench) -> InstanceSpec {
    let mut spec = bench.spec();
    spec.nics = vec![Nic::on(NETWORK)];
    spec.config_drive = Some(ConfigDrive::default());
    spec
}

/// Another SR of type ext, of so many bytes.
async fn small_sr(bench: &mut Bench, bytes: i64) -> Result<SrChoice> {
    bench.make_sr("small", "ext", &[("device", "/dev/sdz")], bytes, false).await?;
    bench.before = bench.census().await?;
    Ok(SrChoice::Named("small".into()))
}

async fn refused(bench: &Bench, spec: InstanceSpec) -> Result<String> {
    Ok(sentence(&bench.refused(spec).await?))
}

/// The text of an error, which must be one line that ends without a dot and says something.
#[track_caller]
fn sentence(error: &Error) -> String {
    let text = error.to_string();
    assert!(text.len() > 20 && !text.contains('\n') && !text.ends_with('.'), "{text:?}");
    assert!(!text.contains(PASSWORD), "{text:?}");
    text
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

#[tokio::test]
async fn the_bench_itself_spawns() -> Result<()> {
    let bench = bench().await?;
    let instance = bench.pool.spawn(spec_of(&bench)).await?;
    assert_eq!(instance.root_bytes, 64 << 20);
    let after = bench.pool.census().await?;
    let more =
        |class: &str| after.objects[class].len() - bench.before.objects.get(class).map_or(0, BTreeSet::len);
    for (class, count) in [("VM", 1), ("VDI", 2), ("VBD", 2), ("VIF", 1)] {
        assert_eq!(more(class), count, "{class}");
    }
    assert!(after.disk_files.len() >= bench.before.disk_files.len() + 2, "{:?}", after.disk_files);
    Ok(())
}

#[tokio::test]
async fn log_in() -> Result<()> {
    let simulator = Simulator::builder()
        .world(World::demo())
        .password(PASSWORD)
        .personality(personality())
        .build()
        .await?;
    let http = simulator.listen("127.0.0.1:0").await?;
    let before = simulator.snapshot_of_objects();
    let error = Driver::connect(Config::new(&http, "root", "wrong")?).await.expect_err("a refusal");
    says(&sentence(&error), &[&http, "\"root\"", "check user and password"]);

    let (https, fingerprint) = simulator.listen_tls("127.0.0.1:0").await?;
    let config = || Config::new(&https, "root", PASSWORD);
    let error = Driver::connect(config()?).await.expect_err("a refusal");
    says(&sentence(&error), &[&https, "certificate is not trusted", &fingerprint, "trust that fingerprint"]);
    let trust = Trust::Fingerprints(vec![fingerprint.parse()?]);
    Driver::connect(config()?.trust(trust)).await?;

    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let nobody = format!("http://127.0.0.1:{port}");
    let error = Driver::connect(Config::new(&nobody, "root", "x")?).await.expect_err("nobody is there");
    says(&sentence(&error), &[&nobody, "connection refused", "check the port"]);

    assert_eq!(simulator.snapshot_of_objects(), before);
    Ok(())
}

#[tokio::test]
async fn unknown_sr_and_network() -> Result<()> {
    let bench = bench().await?;
    let spec = InstanceSpec { sr: SrChoice::Named("fast".into()), ..spec_of(&bench) };
    says(&refused(&bench, spec).await?, &["\"web1\"", "no SR matches \"fast\"", EXT, LVM, "use another SR"]);
    let spec = InstanceSpec { nics: vec![Nic::on("wan")], ..spec_of(&bench) };
    says(
        &refused(&bench, spec).await?,
        &["no network has the uuid, name or bridge \"wan\"", "use one of", NETWORK],
    );
    Ok(())
}

/// What no guest could use is found out before the host is asked to change anything.
#[tokio::test]
async fn what_a_guest_could_not_use() -> Result<()> {
    let bench = bench().await?;
    let drive = |change: fn(&mut ConfigDrive)| {
        let mut drive = ConfigDrive::default();
        change(&mut drive);
        Some(drive)
    };
    let address = |text: &str| Address::new(text.parse().expect("an address"), 24);
    let nic = |mac: &str, address: Address| Nic {
        mac: MacChoice::Given(mac.parse().expect("a MAC address")),
        addresses: vec![address],
        ..Nic::on(NETWORK)
    };
    let one = "00:16:3e:00:00:01";
    let spec = || spec_of(&bench);
    let routed = |via: &str| Address { gateway: via.parse().ok(), ..address("10.0.0.5") };
    let noise: Vec<u8> = vec![0xff, 0xfe, 0x00];
    let tagged = |tag: &str| vec![Nic { tags: vec![tag.to_owned()], ..Nic::on(NETWORK) }];
    for (spec, says) in [
        (
            InstanceSpec {
                config_drive: drive(|drive| drive.user_data = Some(vec![b'#'; 50_000])),
                ..spec()
            },
            "user_data of 50000 bytes is longer than the 49149 bytes allowed",
        ),
        (
            InstanceSpec {
                config_drive: drive(|drive| drive.user_data = Some(b"caf\xe9".to_vec())),
                ..spec()
            },
            "the byte at offset 3 is not UTF-8",
        ),
        (
            InstanceSpec {
                config_drive: drive(|drive| {
                    drive.size = ConfigDriveSize::Bytes(2 << 20);
                    drive.files = [("/big".to_owned(), vec![7; 3 << 20])].into();
                }),
                ..spec()
            },
            "does not fit in an image of 2097152 bytes",
        ),
        (
            InstanceSpec {
                config_drive: drive(|drive| {
                    drive.format = ConfigDriveFormat::Vfat;
                    drive.size = ConfigDriveSize::Bytes(2 << 20);
                    drive.files = [("/big".to_owned(), vec![7; 3 << 20])].into();
                }),
                ..spec()
            },
            "does not fit in an image of 2097152 bytes",
        ),
        (
            InstanceSpec {
                config_drive: drive(|drive| drive.size = ConfigDriveSize::Bytes(1 << 20)),
                ..spec()
            },
            "1048576 bytes cannot be made: give a multiple of 2 MiB",
        ),
        (
            InstanceSpec {
                config_drive: drive(|drive| drive.files = [("/../etc/shadow".to_owned(), vec![])].into()),
                ..spec()
            },
            "leads through \"..\"",
        ),
        (
            InstanceSpec { config_drive: drive(|drive| drive.hostname = Some("web_1".to_owned())), ..spec() },
            "\"web_1\" is not a host name",
        ),
        (
            InstanceSpec {
                config_drive: drive(|drive| {
                    drive.label = ConfigDriveLabel::NoCloud;
                    drive.files = [("/etc/motd".to_owned(), vec![])].into();
                }),
                ..spec()
            },
            "cannot be given to the guest in NoCloud's layout",
        ),
        (
            InstanceSpec {
                nics: vec![nic(one, address("10.0.0.5")), nic(one, address("10.0.0.6"))],
                ..spec()
            },
            "two interfaces have the MAC address 00:16:3e:00:00:01",
        ),
        (
            InstanceSpec {
                nics: vec![Nic { addresses: vec![address("10.0.0.5"); 2], ..nic(one, address("10.0.0.5")) }],
                ..spec()
            },
            "\"10.0.0.5\" is also the address of another network",
        ),
        // Without a config drive, xenstore tells the guest of its addresses.
        (
            InstanceSpec { nics: vec![nic(one, routed("fd00::1"))], config_drive: None, ..spec() },
            "mixes IPv4 and IPv6",
        ),
        (
            InstanceSpec {
                nics: vec![nic(one, Address { prefix_len: 33, ..address("10.0.0.5") })],
                ..spec()
            },
            "is longer than the address",
        ),
        (InstanceSpec { nics: tagged("a,b"), ..spec() }, "\"a,b\" is not a tag"),
        (
            InstanceSpec { disk_tags: [("2".parse()?, vec!["swap".to_owned()])].into(), ..spec() },
            "there are tags for device 2, where no disk of the instance is",
        ),
        (
            InstanceSpec { agent: Some(AgentSetup::default()), power: Power::Off, ..spec() },
            "an agent answers only in a guest that runs",
        ),
        (
            InstanceSpec {
                agent: Some(AgentSetup { password: Some(AdminPassword::Generated), ..AgentSetup::default() }),
                ..spec()
            },
            "only to the owner of an ssh key of type ssh-rsa",
        ),
        (
            InstanceSpec {
                agent: Some(AgentSetup { owner_key: Some("ssh-rsa AAAA".into()), ..AgentSetup::default() }),
                ..spec()
            },
            "the ssh key cannot be read",
        ),
        (
            InstanceSpec {
                agent: Some(AgentSetup { files: [("/a,b".into(), noise)].into(), ..AgentSetup::default() }),
                ..spec()
            },
            "an agent cannot write a file \"/a,b\"",
        ),
        (
            InstanceSpec {
                agent: Some(AgentSetup { need: AgentNeed::Required, ..AgentSetup::default() }),
                ..spec()
            },
            "has no plugin agent.py",
        ),
    ] {
        bench.pool.simulator.faults().record();
        let text = refused(&bench, spec).await?;
        self::says(&text, &[says]);
        let writes = writes(bench.pool.simulator.faults().recorded());
        assert!(writes.is_empty(), "{text}: {writes:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_image_larger_than_the_flavor() -> Result<()> {
    let bench = bench().await?;
    fs::File::options().write(true).open(&bench.image)?.set_len((1 << 30) + 512)?;
    let spec = InstanceSpec { flavor: Flavor::new(1, 512, 1), ..spec_of(&bench) };
    let text = refused(&bench, spec).await?;
    says(&text, &["demo.img", "1073742336 bytes", "only 1 GiB", "use a flavor with a larger root disk"]);
    Ok(())
}

#[tokio::test]
async fn a_name_in_use() -> Result<()> {
    let mut bench = bench().await?;
    let first = bench.pool.spawn(spec_of(&bench)).await?;
    bench.before = bench.pool.census().await?;
    let text = refused(&bench, spec_of(&bench)).await?;
    says(&text, &["the name \"web1\" is already in use", &first.vm_uuid, "choose another name"]);
    Ok(())
}

#[tokio::test]
async fn damaged_images() -> Result<()> {
    let bench = bench().await?;
    let whole = bench.files.path().join("whole.vhd");
    let image = disk_stream::Image::open(&bench.image, disk_stream::Declared::Raw).await?;
    write_vhd(&image, &whole).await?;
    let bytes = fs::read(&whole)?;
    let damaged = |name: &str, bytes: &[u8]| -> Result<PathBuf> {
        let path = bench.files.path().join(name);
        fs::write(&path, bytes)?;
        Ok(path)
    };

    let truncated = damaged("truncated.vhd", &bytes[..bytes.len() - 4096])?;
    let text = refused(&bench, InstanceSpec { image: truncated.into(), ..spec_of(&bench) }).await?;
    says(&text, &["truncated.vhd", "is not a usable VHD", "use an intact"]);

    let mut corrupt = bytes.clone();
    // The block table, at the place that the header names: a block behind the end of the file.
    let table = usize::try_from(u64::from_be_bytes(bytes[512 + 16..512 + 24].try_into()?))?;
    corrupt[table..table + 4].copy_from_slice(&0x7fff_fff0_u32.to_be_bytes());
    let corrupt = damaged("corrupt.vhd", &corrupt)?;
    let text = refused(&bench, InstanceSpec { image: corrupt.into(), ..spec_of(&bench) }).await?;
    says(&text, &["corrupt.vhd", "is not a usable VHD", "use an intact"]);

    let text = refused(
        &bench,
        InstanceSpec { image: bench.files.path().join("missing.img").into(), ..spec_of(&bench) },
    );
    says(&text.await?, &["missing.img", "cannot open"]);
    let text =
        refused(&bench, InstanceSpec { image: damaged("empty.img", b"")?.into(), ..spec_of(&bench) }).await?;
    says(&text, &["empty.img", "is empty"]);
    Ok(())
}

async fn write_vhd(image: &disk_stream::Image, path: &Path) -> Result<()> {
    let body = image.vhd_body(disk_stream::Upload::default()).await?;
    let sink = disk_stream::VhdSink::create(path, disk_stream::Existing::Refuse)?;
    disk_stream::receive(body, sink, disk_stream::Progress::new()).await?;
    Ok(())
}

/// The host waits for the rest of a block until it hears that nothing more will come; `stall` is far beyond
/// the patience of whoever runs the tests.
#[tokio::test]
async fn a_vhd_that_lacks_its_end_is_told_without_waiting_for_ever() -> Result<()> {
    let bench = bench().await?;
    let image = disk_stream::Image::open(&bench.image, disk_stream::Declared::Raw).await?;
    let path = bench.files.path().join("whole.vhd");
    write_vhd(&image, &path).await?;
    let bytes = fs::read(&path)?;
    let url = bench.pool.simulator.listen("127.0.0.1:0").await?;
    let timeouts = xenapi_client::Timeouts { settle: Duration::from_millis(300), ..Default::default() };
    let config = Config::new(&url, "root", PASSWORD)?.timeouts(timeouts);
    let client = xenapi_client::Client::connect(config).await?;
    let create = vdi::Create {
        name_label: "cut".into(),
        sr: client.by_name_label::<Sr>(EXT).await?,
        virtual_size: image.virtual_size() as i64,
        r#type: VdiType::User,
        ..vdi::Create::default()
    };
    let vdi = client.call(create).await?;
    let body = DiskBody::from_bytes(bytes[..bytes.len() - 4096].to_vec());
    let error = client.import_vdi(&vdi, ImportFormat::Vhd, body).await.unwrap_err();
    assert_eq!(error.kind(), xenapi_client::ErrorKind::Transfer, "{error}");
    // The same connection closed early takes nothing from an upload that is whole.
    client.import_vdi(&vdi, ImportFormat::Vhd, DiskBody::from_bytes(bytes)).await?;
    client.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_full_thick_sr_is_noticed_beforehand() -> Result<()> {
    let bench = bench().await?;
    let spec =
        InstanceSpec { sr: SrChoice::Named(LVM.into()), flavor: Flavor::new(1, 512, 600), ..spec_of(&bench) };
    says(&refused(&bench, spec).await?, &[LVM, "512 GiB free", "are needed", "free some space"]);
    Ok(())
}

#[tokio::test]
async fn a_full_thin_sr_is_noticed_beforehand() -> Result<()> {
    let mut bench = bench().await?;
    let sr = small_sr(&mut bench, 8 << 20).await?;
    let text = refused(&bench, InstanceSpec { sr, ..spec_of(&bench) }).await?;
    says(&text, &["\"small\"", "8 MiB free", "are needed", "free some space"]);
    Ok(())
}

/// Somebody else takes the room between the check and the import.
#[tokio::test]
async fn a_thin_sr_that_fills_up_in_between() -> Result<()> {
    let mut bench = bench().await?;
    let sr = small_sr(&mut bench, 26 << 20).await?;
    let client = bench.pool.client().clone();
    let other = vdi::Create {
        name_label: "other".into(),
        sr: client.by_name_label::<Sr>("small").await?,
        virtual_size: 16 << 20,
        r#type: VdiType::User,
        ..vdi::Create::default()
    };
    let other = client.call(other).await?;
    let fill = async |len: usize| {
        let data = DiskBody::from_bytes(vec![0xa5; len]);
        client.import_vdi(&other, ImportFormat::Raw, data).await
    };
    fill(512).await?;
    bench.before = bench.pool.census().await?;

    let (checked, is_checked) = tokio::sync::oneshot::channel();
    let checked = Mutex::new(Some(checked));
    let progress = Progress::to(move |event| {
        if matches!(event, Event::Finished(Stage::Scan, _)) {
            checked.lock().unwrap().take().map(|sender| sender.send(()));
        }
    });
    bench.pool.simulator.faults().on("VDI.create", Fault::Slow(Duration::from_secs(3)));
    let spec = InstanceSpec { sr, config_drive: None, ..spec_of(&bench) };
    let options = SpawnOptions { progress, ..SpawnOptions::default() };
    let spawning = bench.pool.driver.spawn(spec, options);
    let (result, filled) = tokio::join!(spawning, async {
        is_checked.await?;
        anyhow::Ok(fill(16 << 20).await?)
    });
    filled?;
    let error = result.expect_err("an error");
    says(
        &sentence(&error),
        &["SR \"small\" ran full", "has room for", "take 16783872 bytes", "free some space"],
    );
    assert!(error.leftovers().is_empty(), "{error}");
    bench.pool.census().await?.assert_as(&bench.before, "in the end");
    Ok(())
}

#[tokio::test]
async fn an_import_broken_off_half_way() -> Result<()> {
    let bench = bench().await?;
    bench.pool.cut_uploads_after(6 << 20);
    let text = refused(&bench, spec_of(&bench)).await?;
    says(&text, &["demo.img", "of 16783872 bytes were sent", "broken off", "try again"]);
    // The same again, now that the network holds.
    bench.pool.cut_uploads_after(u64::MAX);
    bench.pool.spawn(spec_of(&bench)).await?;
    Ok(())
}

#[tokio::test]
async fn an_import_broken_off_by_the_server() -> Result<()> {
    let bench = bench().await?;
    // Without a config drive, so that it is the root disk's upload that is cut.
    let spec = InstanceSpec { config_drive: None, ..spec_of(&bench) };
    for taken in [0, 1 << 20, 9 << 20] {
        bench.pool.simulator.faults().on("/import_raw_vdi", Fault::DropAfterBytes(taken));
        let text = refused(&bench, spec.clone()).await?;
        says(&text, &["demo.img", "of 16783872 bytes were sent", "broken off", "try again"]);
    }
    bench.pool.spawn(spec).await?;
    Ok(())
}
