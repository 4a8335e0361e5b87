//! Where a verb is tried: a pool of its own, somebody else's instance in it, and what the verb needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use disk_stream::DiskBody;
use tempfile::TempDir;
use uuid::Uuid;
use xapi_simulator::World;
use xapi_simulator::core::Config as Behaviour;
use xapi_simulator::fault::{Fault, Faults};
use xapi_simulator::targets::Target;
use xenapi_client::{ImportFormat, Secret};
use xenapi_driver::volume::{Iscsi, Storage, Volume, VolumeDisk};
use xenapi_driver::{Driver, Which};
use xenapi_types::{Failure, Pbd, Ref, Vbd, Vdi, Vm, host, sr, vdi, vm};

use crate::dom0::Dom0;
use crate::pool::{Census, Pool, personality};
use crate::ports;
use crate::sweep::Expected;
use crate::sweep::mischief;
use crate::sweep::site::{self, Place, Site};
use crate::sweep::verb::{Step, Verb};
use crate::tools;

/// Size of the image of the scenes, in bytes.
pub const IMAGE_BYTES: u64 = 16 << 20;

/// The repository that all hosts reach, where there is one.
pub const SHARED: &str = "shared";

/// Before the names of calls to the other pool.
pub const THERE: &str = "there: ";

/// What the volume of the scenes is called.
pub const VOLUME: &str = "vol-1";
const PORTAL: &str = "192.0.2.1";
const IQN: &str = "iqn.2010-10.org.openstack:volume-00000001";
const CHAP: &str = "correct-horse";

/// A LUN of a target that the pool does not know.
pub fn volume() -> Volume {
    lun(VOLUME, 0)
}

/// The other LUN of that target.
pub fn other_volume() -> Volume {
    lun("vol-2", 1)
}

fn lun(id: &str, number: u32) -> Volume {
    let chap = Some(("user".to_owned(), Secret::new(CHAP)));
    let storage = Storage::Iscsi(Iscsi { portal: PORTAL.parse().expect("a portal"), iqn: IQN.into(), chap });
    Volume { id: Some(id.into()), ..Volume::new(storage, VolumeDisk::Lun(number)) }
}

/// A pool with somebody else's instance in it, and ours if the verb needs one.
pub struct Scene {
    /// The pool.
    pub pool: Pool,
    /// Files on our side.
    pub files: TempDir,
    /// The uuid of our instance, there or not.
    pub instance: Uuid,
    /// The host that our instance is made on.
    pub home: Uuid,
    /// Another host and a repository of its own, for verbs that need one.
    pub elsewhere: Option<(Uuid, Uuid)>,
    /// Another pool, for the verb that needs one, and what is in it.
    pub there: Option<(Pool, Census)>,
    /// What was there before ours.
    pub bare: Census,
    /// What was there before the verb.
    pub before: Census,
    foreign: Foreign,
    leftovers: Arc<AtomicUsize>,
    /// The control domain with what there is of ports, for verbs that need one.
    pub(super) ports: Option<Dom0>,
    /// … and that of the other host, where there is one.
    ports_elsewhere: Option<Dom0>,
    /// That in which disks are worked on.
    pub(super) disks: Option<Dom0>,
    /// Whether file systems are made larger or smaller in it.
    pub(super) resizes: bool,
    /// What the verb is to end in; nothing where that is not known.
    pub(super) expected: Option<Arc<Expected>>,
    /// What there was in the control domain before ours.
    pub(super) bare_dom0: BTreeSet<String>,
}

/// Somebody else's instance.
struct Foreign {
    vm: Ref<Vm>,
    vdi: Ref<Vdi>,
    looks: Vec<String>,
}

impl Scene {
    /// Makes it.
    ///
    /// # Errors
    ///
    /// When the pool or what the verb needs cannot be made.
    pub async fn set(verb: &Verb) -> Result<Self> {
        Self::of(verb, verb.hosts()).await
    }

    /// As [`Scene::set`], in a pool of so many hosts.
    ///
    /// # Errors
    ///
    /// When the pool or what the verb needs cannot be made.
    pub async fn of(verb: &Verb, hosts: usize) -> Result<Self> {
        Self::made(verb, hosts, Behaviour { personality: personality(), ..Behaviour::default() }).await
    }

    /// As [`Scene::set`], at a server that behaves like this.
    ///
    /// # Errors
    ///
    /// When the pool or what the verb needs cannot be made.
    pub async fn set_at(verb: &Verb, server: Behaviour) -> Result<Self> {
        Self::made(verb, verb.hosts(), server).await
    }

    async fn made(verb: &Verb, hosts: usize, server: Behaviour) -> Result<Self> {
        let world = World::demo().with_hosts(hosts).with_all_drivers();
        let disks = if verb.needs_dom0() { Some(disks_dom0()?) } else { None };
        let ports = if verb.has_ports() { Some(ports_dom0()?) } else { None };
        let plugins = disks.as_ref().or(ports.as_ref()).map(Dom0::plugins);
        let there = match verb.act {
            Step::MoveToPool => {
                Some(Pool::started(World::demo().elsewhere(2), mischief::timeouts(), server.clone()).await?)
            }
            _ => None,
        };
        let server = Behaviour { plugins, ..server };
        let mut pool = Pool::started(world, mischief::timeouts(), server).await?;
        let settings = verb.settings(pool.driver.settings().clone());
        pool.driver = Driver::over(pool.driver.client().clone(), settings);
        if ports.is_some() {
            ports::nic(&pool, ports::PORT).await.context("the port's network")?;
        }
        pool.simulator
            .targets()
            .add(Target::iscsi(PORTAL, IQN, [(0, 8 << 20), (1, 8 << 20)]).login("user", CHAP));
        if verb.prepare.contains(&Step::SpawnOnShared) {
            pool.share(SHARED).await.context("the shared repository")?;
        }
        let files = tempfile::tempdir()?;
        image(verb, &files.path().join("image.raw"))?;
        if verb.act == Step::SpawnFromDisc {
            fs::write(files.path().join("disc.iso"), disc())?;
        }
        let foreign = Foreign::make(&pool).await.context("somebody else's instance")?;
        let bare = pool.census().await?;
        let instance = Uuid::new_v4();
        let (home, elsewhere) = places(&pool).await.context("the hosts")?;
        let ports_elsewhere = match (&ports, elsewhere) {
            (Some(ports), Some((host, _))) => {
                let other = ports_dom0()?;
                symlink(other.plugins(), ports.plugins().join(host.to_string()))?;
                Some(other)
            }
            _ => None,
        };
        let (before, leftovers) = (bare.clone(), Arc::default());
        let there = match there {
            Some(other) => {
                pool.simulator.meet(&other.simulator);
                let census = other.census().await?;
                Some((other, census))
            }
            None => None,
        };
        let mut scene = Self {
            pool,
            files,
            instance,
            home,
            elsewhere,
            there,
            before,
            bare,
            foreign,
            leftovers,
            ports,
            ports_elsewhere,
            disks,
            resizes: verb.resizes_file_systems(),
            expected: None,
            bare_dom0: BTreeSet::new(),
        };
        scene.bare_dom0 = scene.dom0()?;
        for step in verb.prepare {
            step.run(&scene).await.context("preparing")?;
        }
        scene.before = scene.pool.census().await?;
        Ok(scene)
    }

    /// The image to spawn from.
    pub fn image(&self) -> PathBuf {
        site::image(self.files.path())
    }

    /// A disc to install from, as far as anybody looks.
    pub fn disc(&self) -> PathBuf {
        site::disc(self.files.path())
    }

    /// Where files are written to.
    pub fn output(&self) -> PathBuf {
        site::output(self.files.path())
    }

    /// Our instance.
    pub fn which(&self) -> Which {
        Which::Instance(self.instance)
    }

    /// Where a verb is done, but for the pools.
    pub fn place(&self) -> Place {
        let files = self.files.path().to_owned();
        Place { files, instance: self.instance, home: self.home, elsewhere: self.elsewhere }
    }

    /// What a verb is done with.
    pub(crate) fn site(&self) -> Site {
        let there = self.there.as_ref().map(|(there, _)| there.driver.clone());
        Site::new(self.pool.driver.clone(), there, self.place(), Arc::clone(&self.leftovers))
    }

    /// What there is in the control domain, beside its plugins and its xenstore; nothing where there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    pub(crate) fn dom0(&self) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for dom0 in [&self.disks, &self.ports, &self.ports_elsewhere].into_iter().flatten() {
            found.extend(dom0.census(self.pool.state.path())?);
        }
        Ok(found)
    }

    /// What there is of ports in the control domains, with the host.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    pub(crate) fn port_files(&self) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for (place, dom0) in [("at home", &self.ports), ("elsewhere", &self.ports_elsewhere)] {
            let Some(dom0) = dom0 else { continue };
            found.extend(ports::files(dom0)?.into_iter().map(|file| format!("of a port {place}: {file}")));
        }
        Ok(found)
    }

    /// The uuid of the disk of somebody else's instance.
    ///
    /// # Errors
    ///
    /// When it cannot be asked for.
    pub async fn foreign_disk(&self) -> Result<String> {
        Ok(self.pool.client().get_field(&self.foreign.vdi, vdi::field::UUID).await?)
    }

    /// The faults of the pool.
    pub fn faults(&self) -> &Faults {
        self.pool.simulator.faults()
    }

    /// The faults of the pool in which a call is made, and what that pool calls it: calls to the other pool have
    /// [`THERE`] before their names.
    pub(crate) fn faults_at<'a>(&self, target: &'a str) -> (&Faults, &'a str) {
        match (target.strip_prefix(THERE), &self.there) {
            (Some(target), Some((there, _))) => (there.simulator.faults(), target),
            _ => (self.faults(), target),
        }
    }

    /// Begins to note the calls to all pools.
    pub(crate) fn record(&self) {
        self.faults().record();
        if let Some((there, _)) = &self.there {
            there.simulator.faults().record();
        }
    }

    /// The calls since then, those to each pool in their order.
    pub(crate) fn recorded(&self) -> Vec<String> {
        let there = self.there.iter().flat_map(|(there, _)| there.simulator.faults().recorded());
        let there = there.map(|target| format!("{THERE}{target}"));
        self.faults().recorded().into_iter().chain(there).collect()
    }

    /// What was noted last.
    pub(crate) fn leftovers(&self) -> usize {
        self.leftovers.load(Ordering::Relaxed)
    }

    /// Refuses all calls of these methods until the faults are cleared.
    pub(crate) fn refuse(&self, methods: &[&str]) {
        for method in methods {
            let failure = Failure::new("INTERNAL_ERROR", ["a fault of the scene"]);
            self.faults().on_every(method, Fault::Failure(failure));
        }
    }

    /// Lets a host die: the pool hears nothing of it any more.
    pub(crate) fn lose_host(&self, uuid: Uuid) {
        let uuid = uuid.to_string();
        let lost = self.pool.simulator.core().db().write(|tx| {
            let host = tx.objects("host").find(|host| host.str("uuid") == uuid);
            let metrics = host.expect("it was there").str("metrics").to_owned();
            tx.set("host_metrics", &metrics, "live", false)
        });
        lost.expect("a host has metrics");
    }

    /// Makes sure that somebody else's instance and its data are as they were.
    ///
    /// # Errors
    ///
    /// When they are not, or cannot be looked at.
    pub async fn look_at_the_foreign_instance(&self) -> Result<()> {
        let looks = self.foreign.look(&self.pool).await?;
        ensure!(looks == self.foreign.looks, "somebody else's instance was changed: {looks:?}");
        Ok(())
    }
}

/// The program that is all plugins of dom0. Tests are in a folder below that of the programs.
fn program() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let program = here.ancestors().skip(1).take(2).map(|folder| folder.join("dom0-plugins"));
    program.into_iter().find(|path| path.is_file()).context("the program dom0-plugins")
}

/// A control domain with the plugin that connects ports.
fn ports_dom0() -> Result<Dom0> {
    let program = program()?;
    let program = program.to_str().context("a path in UTF-8")?;
    let dom0 = Dom0::new(program, &["xenhost.py", "dom0_plugin_version.py"])?;
    ports::tools(&dom0)?;
    Ok(dom0)
}

/// A control domain with the plugins that work on disks.
fn disks_dom0() -> Result<Dom0> {
    let program = program()?;
    Dom0::new(program.to_str().context("a path in UTF-8")?, &["dom0_protocol.py", "dom0_plugin_version.py"])
}

/// Bytes in two places; for dom0 to work on, a partition with a file system, made once.
fn image(verb: &Verb, path: &Path) -> Result<()> {
    static EXT4: Mutex<Option<Vec<u8>>> = Mutex::new(None);
    if verb.needs_dom0() {
        let mut made = EXT4.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match made.take() {
            Some(bytes) => bytes,
            None => fs::read(tools::disk_with_ext4(tempfile::tempdir()?.path(), IMAGE_BYTES >> 20)?)?,
        };
        fs::write(path, made.insert(bytes))?;
        return Ok(());
    }
    let mut image = File::create(path)?;
    image.write_all(pattern(1 << 20))?;
    image.seek(SeekFrom::Start(9 << 20))?;
    image.write_all(pattern(64 << 10))?;
    image.set_len(IMAGE_BYTES)?;
    Ok(())
}

/// As much of an ISO 9660 disc as says that it is one.
fn disc() -> Vec<u8> {
    let mut disc = pattern(1 << 20).to_vec();
    disc[16 * 2048..][..6].copy_from_slice(b"\x01CD001");
    disc
}

/// The host that has the default repository, and, if there is another one, that and its own repository.
async fn places(pool: &Pool) -> Result<(Uuid, Option<(Uuid, Uuid)>)> {
    let client = pool.client();
    let settings = client.all_records::<xenapi_types::Pool>().await?;
    let default = settings.into_values().next().context("a pool")?.default_sr;
    let (mut home, mut elsewhere) = (None, None);
    let pbds = client.all_records::<Pbd>().await?;
    for pbd in pbds.values() {
        let uuid = client.get_field(&pbd.host, host::field::UUID).await?.parse()?;
        if pbd.sr == default {
            home = Some((pbd.host.clone(), uuid));
        }
    }
    let (here, home) = home.context("the home of the default repository")?;
    for pbd in pbds.values().filter(|pbd| pbd.host != here) {
        let host = client.get_field(&pbd.host, host::field::UUID).await?.parse()?;
        elsewhere = Some((host, client.get_field(&pbd.sr, sr::field::UUID).await?.parse()?));
    }
    Ok((home, elsewhere))
}

impl Foreign {
    async fn make(pool: &Pool) -> Result<Self> {
        let client = pool.client();
        let made = pool.make_foreign("somebody else's", "somebody else's disk", BTreeMap::new()).await?;
        let (vm, vdi) = made;
        let content = DiskBody::from_bytes(pattern(4 << 20));
        client.import_vdi(&vdi, ImportFormat::Raw, content).await?;
        client.wait_until_detached(&vdi, Duration::from_secs(60)).await?;
        client.call(vm::Start { vm: vm.clone(), start_paused: false, force: false }).await?;
        let mut made = Self { vm, vdi, looks: Vec::new() };
        made.looks = made.look(pool).await?;
        Ok(made)
    }

    /// Its records, but for what XAPI computes, and its data.
    async fn look(&self, pool: &Pool) -> Result<Vec<String>> {
        let client = pool.client();
        let mut vm = client.record(&self.vm).await?;
        (vm.allowed_operations, vm.current_operations) = (Vec::new(), BTreeMap::new());
        let mut vdi = client.record(&self.vdi).await?;
        (vdi.allowed_operations, vdi.current_operations) = (Vec::new(), BTreeMap::new());
        let mut looks = vec![format!("{vm:?}"), format!("{vdi:?}")];
        for vbd in &vm.vbds {
            let mut vbd = client.record::<Vbd>(vbd).await?;
            (vbd.allowed_operations, vbd.current_operations) = (Vec::new(), BTreeMap::new());
            looks.push(format!("{vbd:?}"));
        }
        let files = pool.census().await?.disk_files;
        for path in files.iter().filter(|path| path.contains(&vdi.uuid)) {
            let same = fs::read(path)?.windows(4 << 20).any(|data| data == pattern(4 << 20));
            looks.push(format!("{path}: {same}"));
        }
        ensure!(looks.len() > 3, "its disk has no file");
        Ok(looks)
    }
}

/// Bytes that are not zeros, made once: each case looks for them in somebody else's disk.
fn pattern(len: usize) -> &'static [u8] {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| (0..4 << 20).map(|i| (i % 251) as u8 | 1).collect());
    &BYTES[..len]
}
