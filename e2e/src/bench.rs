//! What a test of the driver begins with: a pool, an image of a disk, and often an instance made of it.

use std::ops::Deref;
use std::path::PathBuf;

use anyhow::{Context, Result};
use examples::demo_image::DemoImage;
use tempfile::TempDir;
use xapi_simulator::World;
use xenapi_driver::spec::{Flavor, InstanceSpec};
use xenapi_driver::{Destroyed, Error, Instance, Node, PowerChange, Progress, Shutdown, SpawnOptions, Which};
use xenapi_types::{PoolRecord, Ref, Sr, Vdi, Vm, VmPowerState, VmRecord, sr, vm};

use crate::pool::{Census, Pool};

const IMAGE: DemoImage = DemoImage { virtual_bytes: 64 << 20, payload_bytes: 1 << 20 };

/// A pool, as which it can be used, and an image.
pub struct Bench {
    /// The pool.
    pub pool: Pool,
    /// Files on our side.
    pub files: TempDir,
    /// A raw disk: 64 MiB, unless it was made with another.
    pub image: PathBuf,
    /// What is in the pool.
    pub before: Census,
}

impl Bench {
    /// The demo pool.
    ///
    /// # Errors
    ///
    /// When it cannot be started, or the image cannot be written.
    pub async fn new() -> Result<Self> {
        Self::of(World::demo()).await
    }

    /// The pool of a world of one's own.
    ///
    /// # Errors
    ///
    /// As [`Bench::new`].
    pub async fn of(world: World) -> Result<Self> {
        Self::with(Pool::of(world).await?, IMAGE).await
    }

    /// This pool.
    ///
    /// # Errors
    ///
    /// As [`Bench::new`].
    pub async fn over(pool: Pool) -> Result<Self> {
        Self::with(pool, IMAGE).await
    }

    /// This pool and that image.
    ///
    /// # Errors
    ///
    /// As [`Bench::new`].
    pub async fn with(pool: Pool, demo: DemoImage) -> Result<Self> {
        let files = tempfile::tempdir()?;
        let image = files.path().join("demo.img");
        demo.write(&image)?;
        let before = pool.census().await?;
        Ok(Self { pool, files, image, before })
    }

    /// A place for a file.
    pub fn at(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// A small instance of the image, on the default repository.
    pub fn spec(&self) -> InstanceSpec {
        InstanceSpec::new("web1", Flavor::new(1, 512, 0), &self.image)
    }

    /// Spawns, expects an error, and that it leaves nothing.
    ///
    /// # Errors
    ///
    /// When the pool cannot be asked.
    ///
    /// # Panics
    ///
    /// When the instance is made, or something is left.
    pub async fn refused(&self, spec: InstanceSpec) -> Result<Error> {
        let error = self.pool.spawn(spec).await.expect_err("an error");
        assert!(error.leftovers().is_empty(), "{error}");
        self.as_before(&format!("after: {error}")).await?;
        Ok(error)
    }

    /// Makes sure that the pool is as it was.
    ///
    /// # Errors
    ///
    /// When the pool cannot be asked.
    ///
    /// # Panics
    ///
    /// With what changed, and `when`.
    pub async fn as_before(&self, when: &str) -> Result<()> {
        self.pool.census().await?.assert_as(&self.before, when);
        Ok(())
    }

    /// Makes the instance that the test is about.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub async fn start(self, spec: InstanceSpec) -> Result<Running> {
        let instance = self.pool.spawn(spec).await?;
        let (vm, _) = self.pool.vm(&instance).await?;
        let before = self.pool.census().await?;
        let Self { pool, files, image, .. } = self;
        Ok(Running { pool, files, image, which: Which::Instance(instance.uuid), instance, vm, before })
    }
}

/// A pool, as which it can be used, with an instance in it.
pub struct Running {
    /// The pool.
    pub pool: Pool,
    /// Files on our side.
    pub files: TempDir,
    /// The image that the instance is made of.
    pub image: PathBuf,
    /// The instance, as it was made.
    pub instance: Instance,
    /// Its name for the driver.
    pub which: Which,
    /// Its VM.
    pub vm: Ref<Vm>,
    /// What is in the pool, the instance included.
    pub before: Census,
}

impl Running {
    /// Changes the instance's power.
    ///
    /// # Errors
    ///
    /// The driver's.
    pub async fn power(&self, change: PowerChange) -> xenapi_driver::Result<VmPowerState> {
        self.pool.driver.power(self.which.clone(), change, Progress::none()).await
    }

    /// Switches the instance off.
    ///
    /// # Errors
    ///
    /// The driver's.
    pub async fn off(&self) -> xenapi_driver::Result<()> {
        self.power(PowerChange::Off(Shutdown::Hard)).await.map(drop)
    }

    /// The state of its VM.
    ///
    /// # Errors
    ///
    /// When the pool cannot be asked.
    pub async fn power_state(&self) -> Result<VmPowerState> {
        Ok(self.pool.client().get_field(&self.vm, vm::field::POWER_STATE).await?)
    }

    /// The record of its VM.
    ///
    /// # Errors
    ///
    /// When the pool cannot be asked.
    pub async fn record(&self) -> Result<VmRecord> {
        Ok(self.pool.client().record(&self.vm).await?)
    }
}

impl Deref for Bench {
    type Target = Pool;

    fn deref(&self) -> &Pool {
        &self.pool
    }
}

impl Deref for Running {
    type Target = Pool;

    fn deref(&self) -> &Pool {
        &self.pool
    }
}

impl Pool {
    /// Makes an instance, as it is usually made.
    ///
    /// # Errors
    ///
    /// The driver's.
    pub async fn spawn(&self, spec: InstanceSpec) -> xenapi_driver::Result<Instance> {
        self.driver.spawn(spec, SpawnOptions::default()).await
    }

    /// Removes an instance.
    ///
    /// # Errors
    ///
    /// The driver's.
    pub async fn destroy(&self, instance: &Instance) -> xenapi_driver::Result<Destroyed> {
        self.driver.destroy(Which::Instance(instance.uuid), Progress::none()).await
    }

    /// An instance's VM.
    ///
    /// # Errors
    ///
    /// When it is not there.
    pub async fn vm(&self, instance: &Instance) -> Result<(Ref<Vm>, VmRecord)> {
        let vm = self.client().by_uuid::<Vm>(&instance.vm_uuid).await?;
        let record = self.client().record(&vm).await?;
        Ok((vm, record))
    }

    /// The disk that a VM has in a place, such as `3`.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub async fn disk_at(&self, vm: &VmRecord, userdevice: &str) -> Result<Ref<Vdi>> {
        for vbd in &vm.vbds {
            let vbd = self.client().record(vbd).await?;
            if vbd.userdevice == userdevice {
                return Ok(vbd.vdi);
            }
        }
        anyhow::bail!("VM {} has nothing at device {userdevice}", vm.uuid)
    }

    /// Makes a repository of the master's, or of all hosts.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub async fn make_sr(
        &self,
        name: &str,
        sr_type: &str,
        device_config: &[(&str, &str)],
        bytes: i64,
        shared: bool,
    ) -> Result<Ref<Sr>> {
        let device_config = device_config.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        let call = sr::Create {
            host: self.settings().await?.master,
            device_config: device_config.collect(),
            physical_size: bytes,
            name_label: name.to_owned(),
            name_description: String::new(),
            r#type: sr_type.to_owned(),
            content_type: "user".to_owned(),
            shared,
            sm_config: None,
        };
        Ok(self.client().call(call).await?)
    }

    /// The settings of the pool.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub async fn settings(&self) -> Result<PoolRecord> {
        let pools = self.client().all_records::<xenapi_types::Pool>().await?;
        pools.into_values().next().context("a pool")
    }

    /// The host that is the master, and then the others.
    ///
    /// # Errors
    ///
    /// When the pool cannot be asked.
    pub async fn nodes(&self) -> Result<Vec<Node>> {
        let master = self.settings().await?.master;
        let mut nodes = self.driver.nodes().await?;
        nodes.sort_by_key(|node| node.reference != master);
        Ok(nodes)
    }

    /// What a user can see: the SR joins what a snapshot has split when it gets round to it.
    ///
    /// # Errors
    ///
    /// When the pool cannot be asked.
    pub async fn visible(&self) -> Result<Census> {
        let mut census = self.census().await?;
        let vdis = self.client().all_records::<Vdi>().await?;
        let hidden = vdis.iter().filter(|(_, record)| !record.managed).map(|(vdi, _)| vdi.to_string());
        let disks = census.objects.entry("VDI".to_owned()).or_default();
        for vdi in hidden {
            disks.remove(&vdi);
        }
        census.disk_files.clear();
        Ok(census)
    }
}
