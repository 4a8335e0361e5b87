//! What a guest is told at its first start: by tags and files on its config drive, in either layout, and by its agent.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use e2e::dom0::Dom0;
use e2e::guest::{Answer, Guest};
use e2e::pool::{NETWORK, Pool};
use e2e::tools;
use examples::demo_image::DemoImage;
use guest_agent::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;
use xenapi_client::{ExportFormat, Secret};
use xenapi_driver::rescue::RescueOptions;
use xenapi_driver::resize::RebuildOptions;
use xenapi_driver::spec::{
    AdminPassword, AgentNeed, AgentSetup, ConfigDrive, ConfigDriveFormat, ConfigDriveLabel, ConfigDriveSize,
    Flavor, InstanceSpec, MacChoice, Nic, OsType,
};
use xenapi_driver::{AgentBuild, AgentStep, AgentTimeouts, Cause, Instance, NewDrive, Stage, Which};
use xenapi_types::{Vdi, Vm};

const MAC: &str = "00:16:3e:01:02:03";
/// The public half of a key that nobody has.
const ED25519: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH me@example.org";

struct Bench {
    pool: Pool,
    dom0: Arc<Dom0>,
    files: TempDir,
    image: PathBuf,
}

impl Bench {
    async fn new() -> Result<Self> {
        let files = tempfile::tempdir()?;
        let image = files.path().join("demo.img");
        DemoImage { virtual_bytes: 40 << 20, payload_bytes: 1 << 20 }.write(&image)?;
        let plugins = &["agent.py", "dom0_plugin_version.py", "xenstore.py"];
        let dom0 = Arc::new(Dom0::new(env!("CARGO_BIN_EXE_dom0-plugins"), plugins)?);
        let pool = Pool::with_plugins(&dom0.plugins()).await?;
        Ok(Self { pool, dom0, files, image })
    }

    fn spec(&self) -> InstanceSpec {
        let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, 0), &self.image);
        spec.nics = vec![Nic { mac: MacChoice::Given(MAC.parse().expect("a MAC")), ..Nic::on(NETWORK) }];
        spec
    }

    async fn spawn(&self, spec: InstanceSpec) -> Result<Instance> {
        Ok(self.pool.spawn(spec).await?)
    }

    /// A guest, and an instance whose agent is asked.
    async fn asked(&self, guest: &[(&str, Answer)], agent: AgentSetup) -> Result<(Guest, Instance)> {
        let guest = Guest::start(self.dom0.clone(), Digest::Md5, guest)?;
        let instance = self.spawn(InstanceSpec { agent: Some(agent), ..self.spec() }).await?;
        Ok((guest, instance))
    }

    /// The config drive in a file.
    async fn drive(&self, vm_uuid: &str) -> Result<String> {
        let client = self.pool.client();
        let vm = client.by_uuid::<Vm>(vm_uuid).await?;
        for vbd in client.record(&vm).await?.vbds {
            let vdi = client.record(&vbd).await?.vdi;
            let record = client.record::<Vdi>(&vdi).await?;
            if record.name_description != "configdrive" {
                continue;
            }
            let mut export = client.export_vdi(&vdi, ExportFormat::Raw, None).await?;
            let mut bytes = Vec::new();
            while let Some(chunk) = export.chunk().await? {
                bytes.extend_from_slice(&chunk);
            }
            let path = self.files.path().join("drive.img");
            std::fs::write(&path, bytes)?;
            return Ok(path.display().to_string());
        }
        anyhow::bail!("there is no config drive")
    }

    async fn on_drive(&self, instance: &Instance, file: &str) -> Result<String> {
        tools::run("7zz", ["x", "-so", &self.drive(&instance.vm_uuid).await?, file])
    }
}

fn soon() -> AgentTimeouts {
    let second = Duration::from_secs(1);
    AgentTimeouts { answer: second, version: second, reset_network: second }
}

/// With time enough for a machine that has much to do.
fn patient() -> AgentTimeouts {
    let minute = Duration::from_secs(60);
    AgentTimeouts { answer: minute, version: minute, reset_network: minute }
}

/// The devices as Nova tells them: one entry for a NIC, and four for each of the first disks.
fn devices(nic: &[&str], root: &[&str]) -> Value {
    let disk = |bus: &str, address: &str, path: &str| json!({"type": "disk", "bus": bus, "address": address, "path": path, "tags": root});
    let windows = r"HKLM\SYSTEM\ControlSet001\Enum\SCSI\Disk&Ven_XENSRC&Prod_PVDISK\000000";
    json!([
        {
            "type": "nic", "bus": "pci", "address": "none", "mac": MAC, "tags": nic, "vf_trusted": false,
        },
        disk("ide", "0:0", "/dev/xvda"),
        disk("xen", "000000", windows),
        disk("xen", "51712", "/sys/devices/vbd-51712"),
        disk("xen", "768", "/sys/devices/vbd-768"),
    ])
}

#[tokio::test]
async fn tags_of_devices_and_files() -> Result<()> {
    if !tools::present(&["7zz"]) {
        return Ok(());
    }
    let bench = Bench::new().await?;
    let mut spec = bench.spec();
    let tags = |tags: [&str; 2]| tags.map(str::to_owned).to_vec();
    spec.nics[0].tags = tags(["management", "backup"]);
    spec.disk_tags = [("0".parse()?, tags(["system", "boot"]))].into();
    spec.config_drive = Some(ConfigDrive {
        files: [("/etc/motd".to_owned(), b"hello\n".to_vec())].into(),
        vendor_data2: Some(json!({"static": {"region": 1}})),
        project_id: Some("p1".to_owned()),
        size: ConfigDriveSize::Nova,
        ..ConfigDrive::default()
    });
    let instance = bench.spawn(spec).await?;
    assert_eq!(std::fs::metadata(bench.drive(&instance.vm_uuid).await?)?.len(), 64 << 20);
    let meta_data: Value =
        serde_json::from_str(&bench.on_drive(&instance, "openstack/latest/meta_data.json").await?)?;
    assert_eq!(
        meta_data["devices"],
        devices(&["management", "backup"], &["system", "boot"]),
        "in their order"
    );
    assert_eq!(meta_data["files"], json!([{"path": "/etc/motd", "content_path": "/content/0000"}]));
    assert_eq!(meta_data["project_id"], "p1");
    assert_eq!(bench.on_drive(&instance, "openstack/content/0000").await?, "hello\n");
    let vendor: Value =
        serde_json::from_str(&bench.on_drive(&instance, "openstack/latest/vendor_data2.json").await?)?;
    assert_eq!(vendor["static"]["region"], 1);

    // Another drive is told them again, and of disks that there are only.
    let which = Which::Instance(instance.uuid);
    let mut drive = NewDrive {
        nic_tags: [(MAC.parse()?, vec!["front".to_owned()])].into(),
        disk_tags: [("7".parse()?, vec!["data".to_owned()])].into(),
        ..NewDrive::default()
    };
    let rebuild = async |drive: &NewDrive| {
        let options =
            RebuildOptions { config_drive: Some(drive.clone()), ..RebuildOptions::with(&*bench.image) };
        bench.pool.driver.rebuild(which.clone(), options).await
    };
    let error = rebuild(&drive).await.unwrap_err().to_string();
    assert!(error.contains("there are tags for device 7, where no disk of the instance is"), "{error}");
    drive.disk_tags = [("0".parse()?, vec!["new".to_owned()])].into();
    rebuild(&drive).await?;
    let meta_data: Value =
        serde_json::from_str(&bench.on_drive(&instance, "openstack/latest/meta_data.json").await?)?;
    assert_eq!(meta_data["devices"], devices(&["front"], &["new"]));
    Ok(())
}

#[tokio::test]
async fn nocloud_in_either_format() -> Result<()> {
    if !tools::present(&["7zz", "blkid"]) {
        return Ok(());
    }
    let bench = Bench::new().await?;
    for format in [ConfigDriveFormat::Iso9660, ConfigDriveFormat::Vfat] {
        let mut spec = InstanceSpec { name: format!("web {format}"), ..bench.spec() };
        spec.nics = vec![Nic::on(NETWORK)];
        spec.config_drive = Some(ConfigDrive {
            user_data: Some(b"#cloud-config\n{}\n".to_vec()),
            vendor_data: Some(json!({"cloud-init": "#cloud-config\nbootcmd: []\n"})),
            ssh_keys: [("mine".to_owned(), ED25519.to_owned())].into(),
            label: ConfigDriveLabel::NoCloud,
            format,
            ..ConfigDrive::default()
        });
        let instance = bench.spawn(spec).await?;
        let path = bench.drive(&instance.vm_uuid).await?;
        let report = tools::run("blkid", ["-p", "-o", "export", &path])?;
        assert!(report.lines().any(|line| line == "LABEL=cidata"), "{report}");
        assert_eq!(bench.on_drive(&instance, "user-data").await?, "#cloud-config\n{}\n");
        assert_eq!(bench.on_drive(&instance, "vendor-data").await?, "#cloud-config\nbootcmd: []\n");
        let meta_data: Value = serde_json::from_str(&bench.on_drive(&instance, "meta-data").await?)?;
        assert_eq!(meta_data["instance-id"], instance.uuid.to_string());
        assert_eq!(meta_data["local-hostname"], format!("web-{format}"));
        assert_eq!(meta_data["public-keys"], json!([ED25519]));
        let network: Value = serde_json::from_str(&bench.on_drive(&instance, "network-config").await?)?;
        assert_eq!(network["ethernets"]["interface0"]["match"]["macaddress"], instance.macs[0]);
        assert_eq!(network["ethernets"]["interface0"]["dhcp4"], true);

        // A rescue is told in the layout that it asks for.
        let content = ConfigDrive { label: ConfigDriveLabel::NoCloud, format, ..ConfigDrive::default() };
        let options = RescueOptions {
            config_drive: Some(NewDrive { content, ..NewDrive::default() }),
            ..RescueOptions::with(&*bench.image)
        };
        bench.pool.driver.rescue(Which::Instance(instance.uuid), options).await?;
        assert_eq!(bench.on_drive(&instance, "user-data").await?, "");
    }
    Ok(())
}

#[tokio::test]
async fn an_agent_is_asked_after_the_first_start() -> Result<()> {
    let bench = Bench::new().await?;
    let setup = AgentSetup {
        need: AgentNeed::Required,
        timeouts: patient(),
        owner_key: Some(ED25519.to_owned()),
        files: [("/etc/motd".to_owned(), b"hello\n".to_vec()), ("/bin".to_owned(), vec![0, 255])].into(),
        password: Some(AdminPassword::Given("pa$$w\u{f6}rd".into())),
        update: Some(AgentBuild {
            version: "1.10".to_owned(),
            url: "http://agents/1.10".to_owned(),
            md5: "0f".to_owned(),
        }),
        ..AgentSetup::default()
    };
    let (guest, instance) = bench.asked(&[], setup.clone()).await?;
    let report = instance.agent.context("a report")?;
    assert_eq!((report.version.as_deref(), report.sealed_password), (Some("1.2.0"), None));
    assert_eq!(report.faults, []);
    let file = |path: &str| AgentStep::File(path.to_owned());
    let done = [
        AgentStep::Key,
        file("/bin"),
        file("/etc/motd"),
        AgentStep::Password,
        AgentStep::Network,
        AgentStep::Update,
    ];
    assert_eq!(report.done, done);
    let seen = guest.seen();
    let commands =
        ["version", "file_inject", "file_inject", "file_inject", "password", "resetnetwork", "agentupdate"];
    assert_eq!(seen.commands, commands);
    assert_eq!(seen.password.as_deref(), Some("pa$$w\u{f6}rd"));
    assert_eq!((&*seen.files["/etc/motd"], &*seen.files["/bin"]), (&b"hello\n"[..], &[0, 255][..]));
    let keys = String::from_utf8(seen.files["/root/.ssh/authorized_keys"].clone())?;
    assert!(keys.starts_with("\n# ") && keys.ends_with(&format!("\n{ED25519}\n")), "{keys:?}");
    // Nothing is left in the guest's xenstore, and its host name was for this start only.
    for folder in ["data/host", "data/guest"] {
        for domid in 1..32 {
            assert!(bench.dom0.below(domid, folder).is_empty(), "{folder} of {domid}");
        }
    }
    let vm = bench.pool.client().by_uuid::<Vm>(&instance.vm_uuid).await?;
    let record = bench.pool.client().record(&vm).await?;
    assert!(!record.xenstore_data.contains_key("vm-data/hostname"), "{:?}", record.xenstore_data);
    assert_eq!(bench.pool.driver.sealed_password(&Which::Instance(instance.uuid)).await?, None);

    // Later, too.
    let agent = bench.pool.driver.agent(&Which::Instance(instance.uuid), patient()).await?;
    agent.inject_file("/etc/later", b"later\n").await?;
    assert_eq!(agent.set_password("another").await?, Digest::Md5);
    assert_eq!(
        (guest.seen().password.as_deref(), &*guest.seen().files["/etc/later"]),
        (Some("another"), &b"later\n"[..])
    );

    // Windows has no such file of keys, and agents that are new enough stay.
    let mut spec = InstanceSpec { name: "win".to_owned(), nics: vec![], ..bench.spec() };
    spec.os_type = Some(OsType::Windows);
    let update = setup.update.clone().map(|build| AgentBuild { version: "1.2".to_owned(), ..build });
    spec.agent = Some(AgentSetup { files: [].into(), password: None, update, ..setup });
    let report = bench.spawn(spec).await?.agent.context("a report")?;
    assert_eq!(report.done, [AgentStep::Network, AgentStep::Update]);
    assert_eq!(guest.seen().commands.iter().filter(|command| *command == "agentupdate").count(), 1);
    Ok(())
}

/// A key of RSA in a file, and its public half as ssh has it.
fn rsa(bench: &Bench) -> Result<(String, String)> {
    let path = bench.files.path().join("id_rsa").display().to_string();
    tools::run("openssl", ["genrsa", "-out", &path, "2048"])?;
    let modulus = tools::run("openssl", ["rsa", "-in", &path, "-noout", "-modulus"])?;
    let digits = modulus.trim().strip_prefix("Modulus=").context("a modulus")?;
    let bytes = digits.as_bytes().chunks(2).map(|two| Ok(u8::from_str_radix(str::from_utf8(two)?, 16)?));
    // A number with its highest bit set would be negative.
    let modulus: Vec<u8> = std::iter::once(Ok(0)).chain(bytes).collect::<Result<_>>()?;
    let mut blob = Vec::new();
    for field in [&b"ssh-rsa"[..], &[1, 0, 1], &modulus] {
        blob.extend(u32::try_from(field.len())?.to_be_bytes());
        blob.extend_from_slice(field);
    }
    Ok((path, format!("ssh-rsa {} me@example.org", BASE64_STANDARD.encode(blob))))
}

/// What OpenSSL opens with the private half.
fn open(bench: &Bench, key: &str, sealed: &str) -> Result<String> {
    let file = bench.files.path().join("sealed");
    std::fs::write(&file, BASE64_STANDARD.decode(sealed)?)?;
    let padding = ["-pkeyopt", "rsa_padding_mode:pkcs1"];
    let file = file.display().to_string();
    tools::run("openssl", ["pkeyutl", "-decrypt", "-inkey", key, padding[0], padding[1], "-in", &file])
}

#[tokio::test]
async fn a_generated_password_is_its_owners() -> Result<()> {
    if !tools::present(&["openssl"]) {
        return Ok(());
    }
    let bench = Bench::new().await?;
    let (key, public) = rsa(&bench)?;
    let setup = AgentSetup {
        need: AgentNeed::Required,
        timeouts: patient(),
        owner_key: Some(public.clone()),
        password: Some(AdminPassword::Generated),
        ..AgentSetup::default()
    };
    let (guest, instance) = bench.asked(&[], setup).await?;
    let password = guest.seen().password.context("a password")?;
    let sealed = instance.agent.context("a report")?.sealed_password.context("a sealed password")?;
    assert_eq!(open(&bench, &key, &sealed)?, password);
    // It is kept as Nova keeps it, and told at any time.
    let which = Which::Instance(instance.uuid);
    assert_eq!(bench.pool.driver.sealed_password(&which).await?.as_deref(), Some(&*sealed));
    let vm = bench.pool.client().by_uuid::<Vm>(&instance.vm_uuid).await?;
    let kept = bench.pool.client().record(&vm).await?.other_config;
    assert_eq!(format!("{}{}", kept["password_0"], kept["password_1"]), sealed);
    assert_eq!(kept["password_0"].len(), 255);

    // One that is set later takes its place; with a key of another kind there is none.
    let agent = bench.pool.driver.agent(&which, patient()).await?;
    let sealed = agent.seal_password(&public, &Secret::new("later")).await?.context("a sealed password")?;
    assert_eq!(open(&bench, &key, &sealed)?, "later");
    assert_eq!(bench.pool.driver.sealed_password(&which).await?, Some(sealed));
    assert_eq!(agent.seal_password(ED25519, &Secret::new("later")).await?, None);
    assert_eq!(bench.pool.driver.sealed_password(&which).await?, None);
    Ok(())
}

#[tokio::test]
async fn an_agent_that_never_answers() -> Result<()> {
    let bench = Bench::new().await?;
    let before = bench.pool.census().await?;
    let mut setup = AgentSetup { need: AgentNeed::Required, timeouts: soon(), ..AgentSetup::default() };
    let silent = [("version", Answer::Nothing)];
    let guest = Guest::start(bench.dom0.clone(), Digest::Md5, &silent)?;
    let spec = InstanceSpec { agent: Some(setup.clone()), ..bench.spec() };
    let error = bench.pool.spawn(spec).await.unwrap_err();
    assert_eq!(error.stage(), Stage::Agent, "{error}");
    assert!(matches!(error.cause(), Cause::Agent { .. }) && error.leftovers().is_empty(), "{error}");
    bench.pool.census().await?.assert_as(&before, "after an agent that was needed did not answer");
    drop(guest);

    setup.need = AgentNeed::IfFound;
    let (guest, instance) = bench.asked(&silent, setup).await?;
    let report = instance.agent.context("a report")?;
    assert_eq!((report.version, &*report.done), (None, &[][..]));
    let [(AgentStep::Version, why)] = &report.faults[..] else { panic!("{:?}", report.faults) };
    assert!(why.contains("did not answer"), "{why}");
    assert!(guest.seen().commands.iter().all(|command| command == "version"), "{:?}", guest.seen().commands);
    Ok(())
}

#[tokio::test]
async fn an_agent_that_refuses() -> Result<()> {
    let bench = Bench::new().await?;
    let refusals = [("file_inject", Answer::Refuses), ("password", Answer::Refuses)];
    let setup = AgentSetup {
        timeouts: patient(),
        files: [("/etc/motd".to_owned(), Vec::new())].into(),
        password: Some(AdminPassword::Given("swordfish".into())),
        ..AgentSetup::default()
    };
    let (guest, instance) = bench.asked(&refusals, setup.clone()).await?;
    let report = instance.agent.context("a report")?;
    assert_eq!(report.done, [AgentStep::Network]);
    let failed: Vec<_> = report.faults.iter().map(|(step, _)| step.clone()).collect();
    assert_eq!(failed, [AgentStep::File("/etc/motd".to_owned()), AgentStep::Password]);
    let told = format!("{:?}", report.faults);
    assert!(told.contains("it was told not to") && !told.contains("swordfish"), "{told}");
    // Both digests were tried.
    assert_eq!(guest.seen().commands, ["version", "file_inject", "password", "password", "resetnetwork"]);

    let before = bench.pool.census().await?;
    let setup = AgentSetup { need: AgentNeed::Required, ..setup };
    let spec = InstanceSpec { name: "web2".to_owned(), nics: vec![], agent: Some(setup), ..bench.spec() };
    let error = bench.pool.spawn(spec).await.unwrap_err();
    assert!(error.stage() == Stage::Agent && error.leftovers().is_empty(), "{error}");
    bench.pool.census().await?.assert_as(&before, "after an agent that was needed refused");
    Ok(())
}
