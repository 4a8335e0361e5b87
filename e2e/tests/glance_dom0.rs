//! Images between a real Glance and a host, moved by the plugins of dom0: into a repository's folder as Nova's driver has
//! them do it, into `/boot/guest` as ours does, and back to Glance. What arrives is what was sent.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use disk_stream::{Declared, Existing, Image, Upload};
use e2e::dom0::Dom0;
use e2e::openstack::OpenStack;
use e2e::pool::{EXT, Pool};
use e2e::tools;
use image_store::glance::{Glance, GlanceSource};
use image_store::{ImageSource, Remote};
use tempfile::TempDir;
use uuid::Uuid;
use xapi_plugins::pickle::{self, Pickle};
use xapi_simulator::World;
use xapi_simulator::core::Config;
use xenapi_client::Timeouts;
use xenapi_driver::spec::{Flavor, InstanceSpec, Kernel, RootImage, SrChoice};
use xenapi_driver::{Checks, Progress, SpawnOptions, Which};
use xenapi_types::{Host, Ref, Sr, Vdi, Vm, sr, vdi};

const TOOLS: &[&str] = &["curl", "tar", "timeout", "prlimit", "sha512sum"];
const PLUGINS: &[&str] = &["dom0_plugin_version.py", "dom0_protocol.py", "glance.py"];
const DISK_BYTES: u64 = 8 << 20;

struct Bench {
    openstack: OpenStack,
    pool: Pool,
    dom0: Dom0,
    mounts: PathBuf,
    files: TempDir,
    host: Ref<Host>,
    sr: Ref<Sr>,
}

impl Bench {
    async fn new(openstack: OpenStack) -> Result<Self> {
        let dom0 = Dom0::new(env!("CARGO_BIN_EXE_dom0-plugins"), PLUGINS)?;
        dom0.tool("vhd-util", &format!("exec '{}' \"$@\"", env!("CARGO_BIN_EXE_vhd-util")))?;
        let mounts = dom0.path("/run/sr-mount");
        fs::create_dir_all(&mounts)?;
        let (plugins, sr_mounts) = (Some(dom0.plugins()), Some(mounts.clone()));
        let behaviour = Config { plugins, sr_mounts, ..Config::default() };
        let pool = Pool::behaving(World::demo().with_all_drivers(), Timeouts::default(), behaviour).await?;
        let hosts: Vec<Ref<Host>> = pool.client().all().await?;
        let host = hosts.into_iter().next().context("a host")?;
        let srs = pool.client().all_records::<Sr>().await?;
        let sr = srs.into_iter().find(|(_, sr)| sr.name_label == EXT).context("its repository")?.0;
        Ok(Self { openstack, pool, dom0, mounts, files: tempfile::tempdir()?, host, sr })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn glance(&self) -> Glance {
        self.openstack.glance()
    }

    async fn put(&self, path: &Path, container: &str, disk: &str) -> Result<String> {
        self.openstack.put(path, container, disk).await
    }

    /// An image without data, as Nova's API makes it before the driver is asked for a snapshot.
    fn queued(&self, remote: &Remote) -> Result<String> {
        let endpoint = endpoint(remote)?;
        let mut words = vec!["-s".into(), "-f".into(), "-d".into(), r#"{"name": "by dom0"}"#.into()];
        words.extend(["-H".to_owned(), "Content-Type: application/json".to_owned()]);
        for (name, text) in &remote.headers {
            words.extend(["-H".to_owned(), format!("{name}: {}", text.expose())]);
        }
        let answer = tools::run("curl", words.iter().chain([&format!("{endpoint}/v2/images")]))?;
        let record: serde_json::Value = serde_json::from_str(&answer)?;
        Ok(record["id"].as_str().context("an id")?.to_owned())
    }

    /// A call of `glance.py` as Nova's driver makes it.
    async fn call(
        &self,
        function: &str,
        id: &str,
        remote: &Remote,
        more: [(&str, Pickle); 2],
    ) -> Result<Pickle> {
        let text = |text: String| Pickle::Str(text);
        let sr = self.pool.client().get_field(&self.sr, sr::field::UUID).await?;
        let headers =
            remote.headers.iter().map(|(name, value)| (name.clone(), text(value.expose().to_owned())));
        let kwargs = [
            ("image_id", text(id.to_owned())),
            ("endpoint", text(endpoint(remote)?.to_owned())),
            ("sr_path", text(self.mounts.join(sr).display().to_string())),
            ("extra_headers", Pickle::Dict(headers.collect())),
            ("api_version", Pickle::Int(2)),
        ];
        let kwargs = kwargs.into_iter().chain(more).map(|(name, value)| (name.to_owned(), value)).collect();
        let call = [("args".to_owned(), Pickle::List(vec![])), ("kwargs".to_owned(), Pickle::Dict(kwargs))];
        let args = BTreeMap::from([("params".to_owned(), pickle::dumps(&Pickle::Dict(call.into())))]);
        let answer = self.pool.client().call_plugin(&self.host, "glance.py", function, &args).await?;
        Ok(pickle::loads(&answer)?)
    }

    /// An image as VDIs of the repository: the leaf's uuid.
    async fn download(&self, id: &str, layers: usize) -> Result<String> {
        let stack: Vec<Pickle> = (0..layers).map(|_| Pickle::Str(Uuid::new_v4().to_string())).collect();
        let remote = self.glance().remote(id).await?;
        let none = ("properties_of_nobody", Pickle::None);
        let answer = self
            .call("download_vhd2", id, &remote, [("uuid_stack", Pickle::List(stack.clone())), none])
            .await?;
        let Some(Pickle::Str(leaf)) = stack.last() else { anyhow::bail!("a stack") };
        let root = Pickle::Dict([("uuid".to_owned(), Pickle::Str(leaf.clone()))].into());
        ensure!(answer == Pickle::Dict([("root".to_owned(), root)].into()), "{answer:?}");
        self.pool.client().call(sr::Scan { sr: self.sr.clone() }).await?;
        Ok(leaf.clone())
    }

    async fn upload(&self, id: &str, chain: &[String], remote: &Remote) -> Result<()> {
        let uuids = chain.iter().map(|uuid| Pickle::Str(uuid.clone())).collect();
        let properties =
            [("auto_disk_config", Pickle::Bool(true)), ("os_type", Pickle::Str("linux".to_owned()))];
        let properties = properties.map(|(name, value)| (name.to_owned(), value));
        let more = [("vdi_uuids", Pickle::List(uuids)), ("properties", Pickle::Dict(properties.into()))];
        let answer = self.call("upload_vhd2", id, remote, more).await?;
        ensure!(answer == Pickle::None, "{answer:?}");
        Ok(())
    }

    /// A disk and those below it.
    async fn chain(&self, leaf: &str) -> Result<Vec<String>> {
        let mut chain = vec![leaf.to_owned()];
        loop {
            let vdi = self.pool.client().by_uuid::<Vdi>(chain.last().context("a disk")?).await?;
            match self.pool.client().get_field(&vdi, vdi::field::SM_CONFIG).await?.get("vhd-parent") {
                Some(parent) => chain.push(parent.clone()),
                None => return Ok(chain),
            }
        }
    }
}

fn endpoint(remote: &Remote) -> Result<&str> {
    remote.url.split_once("/v2/").map(|(base, _)| base).context("an address of Glance")
}

#[tokio::test]
async fn a_disk_comes_by_the_plugin_and_goes_back_changed() -> Result<()> {
    let Some(openstack) = OpenStack::get().filter(|_| tools::present(TOOLS)) else { return Ok(()) };
    let bench = Bench::new(openstack).await?;
    let (raw, folder, archive) = (bench.at("disk.raw"), bench.at("archive"), bench.at("disk.tar.gz"));
    let mut disk: Vec<u8> = (0..DISK_BYTES as usize).map(|at| (at / 512 % 251) as u8).collect();
    fs::write(&raw, &disk)?;
    fs::create_dir(&folder)?;
    Image::open_blocking(&raw, Declared::Raw)?.save_vhd(
        &folder.join("0.vhd"),
        Existing::Refuse,
        &Upload::default(),
    )?;
    let words = ["-czf".as_ref(), archive.as_os_str(), "-C".as_ref(), folder.as_os_str(), "0.vhd".as_ref()];
    tools::run("tar", words)?;
    let id = bench.put(&archive, "ovf", "vhd").await?;

    let leaf = bench.download(&id, 1).await?;
    assert!(bench.pool.content(&leaf).await? == disk, "the disk differs from the image");
    // A layer below, and something in each.
    bench.pool.write(&leaf, 4096, &[0xa5; 4096]).await?;
    let root = bench.pool.client().by_uuid::<Vdi>(&leaf).await?;
    bench.pool.client().call(vdi::Snapshot { vdi: root, driver_params: None }).await?;
    bench.pool.write(&leaf, 1 << 20, &[0x5a; 4096]).await?;
    disk[4096..8192].fill(0xa5);
    disk[1 << 20..(1 << 20) + 4096].fill(0x5a);
    let chain = bench.chain(&leaf).await?;
    assert_eq!(chain.len(), 2);
    let remote = bench.glance().remote(&id).await?;
    let snapshot = bench.queued(&remote)?;
    bench.upload(&snapshot, &chain, &remote).await?;
    // Data that is there is not replaced.
    let again = bench.upload(&snapshot, &chain, &remote).await.expect_err("it is not queued any more");
    assert!(again.to_string().contains("only one that is queued takes data"), "{again}");

    let record = bench.glance().show(&snapshot).await?;
    assert_eq!(
        (record.disk_format.as_deref(), record.container_format.as_deref()),
        (Some("vhd"), Some("ovf"))
    );
    assert_eq!(record.properties()["auto_disk_config"], "True");
    assert_eq!(record.properties()["os_type"], "linux");
    // By the plugin again, and by the driver, which reads the archive itself.
    let second = bench.download(&snapshot, 2).await?;
    assert!(bench.pool.content(&second).await? == disk, "what the plugin brought back differs");
    let source: Arc<dyn ImageSource> = Arc::new(GlanceSource::new(bench.glance(), &*snapshot));
    let mut spec = InstanceSpec::new("web1", Flavor::new(1, 128, 0), RootImage::from(source));
    spec.sr = SrChoice::Named(EXT.into());
    let options = SpawnOptions { checks: Checks::AllDisks, ..SpawnOptions::default() };
    let instance = bench.pool.driver.spawn(spec, options).await?;
    assert!(bench.pool.content(&instance.root_uuid).await? == disk, "what the driver brought back differs");
    assert_eq!(fs::read_dir(&bench.mounts)?.count(), 0, "nothing is left in dom0");
    Ok(())
}

#[tokio::test]
async fn a_kernel_and_a_ramdisk_are_fetched_into_dom0() -> Result<()> {
    let Some(openstack) = OpenStack::get().filter(|_| tools::present(TOOLS)) else { return Ok(()) };
    let bench = Bench::new(openstack).await?;
    let contents =
        [("ami", vec![7; 4 << 20]), ("aki", b"kernel ".repeat(100_001)), ("ari", b"ramdisk".repeat(200_003))];
    let mut ids = Vec::new();
    for (name, bytes) in &contents {
        fs::write(bench.at(name), bytes)?;
        ids.push(bench.put(&bench.at(name), name, name).await?);
    }
    let source: Arc<dyn ImageSource> = Arc::new(GlanceSource::new(bench.glance(), &*ids[0]));
    let mut spec = InstanceSpec::new("web1", Flavor::new(1, 128, 0), RootImage::from(source));
    let kernel = Kernel::new(bench.glance().remote(&ids[1]).await?);
    spec.kernel = Some(Kernel { ramdisk: Some(bench.glance().remote(&ids[2]).await?.into()), ..kernel });
    spec.sr = SrChoice::Named(EXT.into());
    let before = bench.pool.census().await?;
    let instance = bench.pool.driver.spawn(spec, SpawnOptions::default()).await?;
    let vm = bench.pool.client().by_uuid::<Vm>(&instance.vm_uuid).await?;
    let vm = bench.pool.client().record(&vm).await?;
    for (path, (name, wanted)) in [&vm.pv_kernel, &vm.pv_ramdisk].into_iter().zip(&contents[1..]) {
        assert!(Path::new(path).starts_with(bench.dom0.path("/boot/guest")), "{path}");
        assert!(fs::read(path).with_context(|| path.clone())? == *wanted, "{name} differs");
    }
    bench.pool.driver.destroy(Which::Instance(instance.uuid), Progress::none()).await?;
    assert_eq!(fs::read_dir(bench.dom0.path("/boot/guest"))?.count(), 0);
    bench.pool.census().await?.assert_as(&before, "after it was destroyed");
    Ok(())
}
