//! A simulated pool, a driver that works on it, and a count of everything that is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result};
use disk_stream::DiskBody;
pub use examples::foreign::{disk as foreign_disk, drive as foreign_drive, vm as foreign};
use jiff::SignedDuration;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use xapi_simulator::clock::Clock;
use xapi_simulator::core::Config as Behaviour;
use xapi_simulator::targets::Target;
use xapi_simulator::{Acceleration, Builder, Guests, Personality, Qemu, Simulator, World};
use xenapi_client::{Client, Config, ExportFormat, ImportFormat, TaskMark, Timeouts, private_connect_fn};
use xenapi_driver::reconcile::{Kind, ReconcileOptions};
use xenapi_driver::{Driver, Progress, Settings};
use xenapi_types::{Ref, Safety, Task, TaskStatusType, Vdi, Vm, vm};

/// A pool of one host with an SR of type ext ([`EXT`], the default) and one of type lvm ([`LVM`]).
pub struct Pool {
    /// The simulator.
    pub simulator: Arc<Simulator>,
    /// A driver whose connections end in it.
    pub driver: Driver,
    /// Where the simulator keeps its state.
    pub state: TempDir,
    observer: Client,
    cut: Arc<AtomicU64>,
}

/// Name of the SR of type ext.
pub const EXT: &str = "Local storage";
/// Name of the SR of type lvm.
pub const LVM: &str = "Local LVM";
/// Name of a network.
pub const NETWORK: &str = "Pool-wide network associated with eth0";
/// The password of root.
pub const PASSWORD: &str = "xapi-test";

/// The variable of the environment with the release that the pools of all tests play.
pub const PERSONALITY: &str = "XAPI_SIMULATOR_RELEASE";

/// The release that pools play: the newest, unless [`PERSONALITY`] names another one.
///
/// # Panics
///
/// When it names none.
pub fn personality() -> Personality {
    match std::env::var(PERSONALITY) {
        Ok(name) => name.parse().unwrap_or_else(|e| panic!("{PERSONALITY}: {e}")),
        Err(_) => Personality::default(),
    }
}

/// Whether pools play this release or a later one: tests of what came with it have nothing to try before.
pub fn plays(since: Personality) -> bool {
    personality() >= since
}

/// The calls that change something, of those that a simulator has seen. Sessions come and go; and the plugins that a
/// verb asks before its first change only tell what they are.
pub fn writes(seen: Vec<String>) -> Vec<String> {
    let passes = |call: &str| call.starts_with("session.") || call == "host.call_plugin";
    seen.into_iter().filter(|call| !passes(call) && Safety::of(call) != Safety::Reads).collect()
}

/// Everything that an operation which was undone must leave as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    /// References of the objects by class.
    pub objects: BTreeMap<String, BTreeSet<String>>,
    /// Names and references of the tasks.
    pub tasks: BTreeSet<String>,
    /// Files with the data of disks.
    pub disk_files: BTreeSet<String>,
}

impl Census {
    /// What was added to `before` (`+`) and what is missing (`-`); empty when nothing changed.
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        let (new, old) = (self.all(), before.all());
        let added = new.difference(&old).map(|what| format!("+{what}"));
        added.chain(old.difference(&new).map(|what| format!("-{what}"))).collect()
    }

    /// Makes sure that nothing changed.
    ///
    /// # Panics
    ///
    /// With what changed, and `when`.
    #[track_caller]
    pub fn assert_as(&self, before: &Self, when: &str) {
        let changes = self.changes_since(before);
        assert!(changes.is_empty(), "{when}: {changes:#?}");
    }

    fn all(&self) -> BTreeSet<String> {
        let objects =
            self.objects.iter().flat_map(|(class, all)| all.iter().map(move |o| format!("{class} {o}")));
        let tasks = self.tasks.iter().map(|task| format!("task {task}"));
        objects.chain(tasks).chain(self.disk_files.iter().cloned()).collect()
    }
}

impl Pool {
    /// The demo pool.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub async fn demo() -> Result<Self> {
        Self::of(World::demo()).await
    }

    /// A pool of a world of one's own.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub async fn of(world: World) -> Result<Self> {
        Self::with(world, Timeouts::default()).await
    }

    /// As [`Pool::of`], its driver being as patient as this.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub async fn with(world: World, timeouts: Timeouts) -> Result<Self> {
        Self::behaving(world, timeouts, Behaviour::default()).await
    }

    /// The demo pool, whose hosts have the plugins in this directory.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub async fn with_plugins(plugins: &Path) -> Result<Self> {
        Self::of_plugins(World::demo(), plugins).await
    }

    /// A pool of a world of one's own, whose hosts have the plugins in this directory.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub async fn of_plugins(world: World, plugins: &Path) -> Result<Self> {
        let behaviour = Behaviour { plugins: Some(plugins.to_owned()), ..Behaviour::default() };
        Self::behaving(world, Timeouts::default(), behaviour).await
    }

    /// The demo pool, whose guests do this.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub async fn of_guests(guests: Guests) -> Result<Self> {
        let behaviour = Behaviour { guests, ..Behaviour::default() };
        Self::behaving(World::demo(), Timeouts::default(), behaviour).await
    }

    /// The demo pool, whose guests are run by QEMU.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub async fn booting() -> Result<Self> {
        // Without KVM: it is not there in most places where tests are run.
        let qemu = Qemu { acceleration: Acceleration::Software, ..Qemu::default() };
        let behaviour = Behaviour { qemu: Some(qemu), ..Behaviour::default() };
        Self::behaving(World::demo(), Timeouts::default(), behaviour).await
    }

    /// As [`Pool::with`], the simulator behaving like this.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub async fn behaving(world: World, timeouts: Timeouts, behaviour: Behaviour) -> Result<Self> {
        Self::started(world, timeouts, Behaviour { personality: personality(), ..behaviour }).await
    }

    /// As [`Pool::with`], whose server behaves like this: its release, too, is what is said here.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub async fn started(world: World, timeouts: Timeouts, behaviour: Behaviour) -> Result<Self> {
        Self::built(Simulator::builder().world(world).config(behaviour), timeouts).await
    }

    /// The demo pool, whose clock is ahead of this machine's.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub async fn ahead(by: SignedDuration) -> Result<Self> {
        let behaviour = Behaviour { personality: personality(), ..Behaviour::default() };
        let builder = Simulator::builder().world(World::demo()).config(behaviour).clock(Clock::ahead(by));
        Self::built(builder, Timeouts::default()).await
    }

    async fn built(builder: Builder, timeouts: Timeouts) -> Result<Self> {
        let state = tempfile::tempdir()?;
        let simulator = Arc::new(builder.state_dir(state.path()).password(PASSWORD).build().await?);
        let cut = Arc::new(AtomicU64::new(u64::MAX));
        let client = client(&simulator, timeouts, &cut)?;
        let settings = Settings { detach_timeout: Duration::from_secs(20), ..Settings::default() };
        let observer = self::client(&simulator, Timeouts::default(), &Arc::new(AtomicU64::new(u64::MAX)))?;
        Ok(Self { driver: Driver::over(client, settings), simulator, state, observer, cut })
    }

    /// A driver that is another one: with an owner of its own, or with other patience.
    ///
    /// # Errors
    ///
    /// When there can be no client for it.
    pub fn driver_with(&self, settings: Settings) -> Result<Driver> {
        Ok(Driver::over(
            client(&self.simulator, Timeouts::default(), &Arc::new(AtomicU64::new(u64::MAX)))?,
            settings,
        ))
    }

    /// Makes a repository of type nfs that all hosts reach.
    ///
    /// # Errors
    ///
    /// When there is one already that is kept there.
    pub async fn share(&self, name: &str) -> Result<()> {
        let (server, path) = ("192.0.2.2", "/srv");
        self.simulator.targets().add(Target::share(server, path));
        let device_config = [("server", server), ("serverpath", path)];
        self.make_sr(name, "nfs", &device_config, 1 << 32, true).await?;
        Ok(())
    }

    /// Makes somebody else's VM ([`foreign`]) with a disk in the default repository, and these keys.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub async fn make_foreign(
        &self,
        name: &str,
        disk: &str,
        other_config: BTreeMap<String, String>,
    ) -> Result<(Ref<Vm>, Ref<Vdi>)> {
        let client = self.client();
        let vm = client.call(vm::Create { other_config, ..foreign(name) }).await?;
        let pools = client.all_records::<xenapi_types::Pool>().await?;
        let sr = pools.into_values().next().context("a pool")?.default_sr;
        let vdi = client.call(foreign_disk(disk, sr)).await?;
        client.call(foreign_drive(&vm, &vdi, 0)).await?;
        Ok((vm, vdi))
    }

    /// A client beside the driver's.
    pub fn client(&self) -> &Client {
        &self.observer
    }

    /// Breaks every connection that carries an upload once so many bytes have gone over it.
    pub fn cut_uploads_after(&self, bytes: u64) {
        self.cut.store(bytes, Ordering::Relaxed);
    }

    /// What is on a disk.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn content(&self, vdi_uuid: &str) -> Result<Vec<u8>> {
        let vdi = self.client().by_uuid::<Vdi>(vdi_uuid).await?;
        let mut export = self.client().export_vdi(&vdi, ExportFormat::Raw, None).await?;
        let mut disk = Vec::new();
        while let Some(chunk) = export.chunk().await? {
            disk.extend_from_slice(&chunk);
        }
        Ok(disk)
    }

    /// Writes whole sectors to a disk, as its guest would. It must not be in use.
    ///
    /// # Errors
    ///
    /// When that cannot be done.
    pub async fn write(&self, vdi_uuid: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        let vdi = self.client().by_uuid::<Vdi>(vdi_uuid).await?;
        let len = u32::try_from(bytes.len())?;
        let chunk = [&offset.to_le_bytes()[..], &len.to_le_bytes(), bytes, &[0; 12]].concat();
        let body = DiskBody::from_bytes(chunk);
        self.client().import_vdi(&vdi, ImportFormat::RawChunked, body).await?;
        self.client().wait_until_detached(&vdi, Duration::from_secs(60)).await?;
        Ok(())
    }

    /// Has the driver tell of tasks that have ended and that nobody waits for, and removes those: what else
    /// there is to put in order stays. Waits a little for those that have not ended.
    ///
    /// # Errors
    ///
    /// When the pool cannot be asked.
    pub async fn remove_forgotten_tasks(&self) -> Result<()> {
        for _ in 0..400 {
            let looks =
                ReconcileOptions { older_than: Duration::ZERO, dry_run: true, progress: Progress::none() };
            for found in self.driver.reconcile(looks).await?.done {
                if found.kind == Kind::ForgottenTask
                    && let Some(task) = self.client().by_uuid_opt::<Task>(&found.uuid).await?
                {
                    // It may go by itself in between.
                    let _ = self.client().destroy(&task).await;
                }
            }
            let tasks = self.client().all_records::<Task>().await?;
            if !tasks
                .values()
                .any(|task| task.status == TaskStatusType::Pending && TaskMark::of(task).is_some())
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Ok(())
    }

    /// Removes the records of transfers that have ended. The driver makes and removes them itself; where
    /// their removal fails, nothing tells whose they are, and XAPI removes them after an hour.
    ///
    /// # Errors
    ///
    /// When the pool cannot be asked.
    pub async fn remove_transfer_tasks(&self) -> Result<()> {
        for (task, record) in self.client().all_records::<Task>().await? {
            let is_transfer = !record.name_label.starts_with("Async.") && TaskMark::of(&record).is_none();
            if is_transfer && record.status != TaskStatusType::Pending {
                self.client().destroy(&task).await?;
            }
        }
        Ok(())
    }

    /// Counts what there is. Waits a little for what goes away by itself: the records of finished
    /// transfers.
    ///
    /// # Errors
    ///
    /// When the pool cannot be asked.
    pub async fn census(&self) -> Result<Census> {
        let mut tasks = BTreeMap::new();
        for _ in 0..1_000 {
            tasks = self.client().all_records::<Task>().await?;
            if tasks.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut disk_files = BTreeSet::new();
        list(self.state.path(), &mut disk_files)?;
        let mut objects = self.simulator.snapshot_of_objects();
        // The pool's diary: that a VM was started stays true when the VM is gone.
        objects.remove("message");
        Ok(Census {
            objects,
            tasks: tasks.iter().map(|(task, record)| format!("{:?} {task}", record.name_label)).collect(),
            disk_files: disk_files.into_iter().filter(|path| !path.contains("/objects/")).collect(),
        })
    }
}

/// The files below a directory.
fn list(directory: &Path, files: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            list(&entry.path(), files)?;
        } else {
            files.insert(entry.path().display().to_string());
        }
    }
    Ok(())
}

/// A client whose connections end in `simulator`, and break after so many bytes of an upload. It knows the pool by the
/// host that is the master now.
fn client(simulator: &Arc<Simulator>, timeouts: Timeouts, cut: &Arc<AtomicU64>) -> Result<Client> {
    let master = simulator.core().db().read(|view| {
        let master = view.objects("pool").next()?.str("master");
        Some(view.find("host", master)?.str("address").to_owned())
    });
    let master = master.context("a master")?;
    let (simulator, cut) = (Arc::clone(simulator), Arc::clone(cut));
    let config = Config::new("http://simulator", "root", PASSWORD)?.timeouts(timeouts);
    let connector = private_connect_fn(move |endpoint| {
        let url = endpoint.to_string();
        let address = url.rsplit('/').next().and_then(|place| place.split(':').next()).unwrap_or_default();
        let address = if address == "simulator" { &master } else { address };
        let wire = Wire {
            inner: Some(simulator.connect_to(address)),
            written: 0,
            upload: None,
            cut: Arc::clone(&cut),
        };
        async move { Ok(wire) }
    });
    Ok(Client::over(config, connector)?)
}

/// A connection that may break.
struct Wire<S> {
    inner: Option<S>,
    written: u64,
    upload: Option<bool>,
    cut: Arc<AtomicU64>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_read(cx, buf),
            None => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let upload = *this.upload.get_or_insert_with(|| buf.starts_with(b"PUT /import_raw_vdi"));
        if upload && this.written >= this.cut.load(Ordering::Relaxed) {
            this.inner = None;
        }
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let result = Pin::new(inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(len)) = &result {
            this.written += *len as u64;
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_flush(cx),
            None => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_change_something_are_told_from_others() {
        let seen = [
            "session.logout",
            "VM.get_record",
            "event.from",
            "VM.start",
            "/import_raw_vdi",
            "Async.VM.start",
        ];
        let seen = seen.map(str::to_owned).to_vec();
        assert_eq!(writes(seen), ["VM.start", "/import_raw_vdi", "Async.VM.start"]);
    }
}
