//! Somebody else's hand in the middle of a verb: the pool changes between two of its steps, and it ends well or says why
//! not, leaves nothing, and touches nothing that is not its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use e2e::sweep::scene::{self, Scene};
use e2e::sweep::verb::{Step, Verb};
use image_store::{FileSink, ImageSink};
use tokio::runtime::Handle;
use uuid::Uuid;
use xenapi_client::Client;
use xenapi_driver::evacuate::EvacuateOptions;
use xenapi_driver::live::MigrateOptions;
use xenapi_driver::node::DrainOptions;
use xenapi_driver::reconcile::ReconcileOptions;
use xenapi_driver::rescue::RescueOptions;
use xenapi_driver::resize::{RebuildOptions, ResizeOptions};
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec, Nic, SrChoice};
use xenapi_driver::upload::UploadOptions;
use xenapi_driver::volume::AttachOptions;
use xenapi_driver::{Error, Event, Existing, PowerChange, Progress, Shutdown, SpawnOptions, Stage};
use xenapi_types::{
    Host, Network, Sr, Vdi, Vm, VmPowerState, host, network, pbd, sr, vbd, vdi, vif, vlan, vm,
};

type Call<'a> = Pin<Box<dyn Future<Output = xenapi_driver::Result<()>> + 'a>>;

/// What somebody does, with XAPI's own calls.
#[derive(Debug, Clone, Copy)]
enum Deed {
    DestroyRootDisk,
    DestroyVm,
    StartVm,
    HaltVm,
    RenameVm,
    RemoveDrives,
    DisableHosts,
    DestroySnapshots,
    /// The hosts lose their connections to the volume's repository.
    UnplugVolume,
    /// And nobody knows the repository any more.
    ForgetVolume,
    DestroyNetwork,
    RemoveInterfaces,
}

impl Deed {
    async fn done(self, client: &Client) -> Result<()> {
        let vm = async || client.by_name_label::<Vm>("web1").await;
        match self {
            Self::DestroyRootDisk => {
                let vdi = client.by_name_label::<Vdi>("web1").await?;
                client.call(vdi::Destroy { vdi }).await?;
            }
            Self::DestroyVm => client.call(vm::Destroy { vm: vm().await? }).await?,
            Self::StartVm => {
                client.call(vm::Start { vm: vm().await?, start_paused: false, force: false }).await?;
            }
            Self::HaltVm => client.call(vm::HardShutdown { vm: vm().await? }).await?,
            Self::RenameVm => {
                client.set_field(&vm().await?, vm::field::NAME_LABEL, "renamed".to_owned()).await?;
            }
            Self::RemoveDrives => {
                for vbd in client.get_field(&vm().await?, vm::field::VBDS).await? {
                    client.call(vbd::Destroy { vbd }).await?;
                }
            }
            Self::DestroySnapshots => {
                for (vdi, record) in client.all_records::<Vdi>().await? {
                    if record.is_a_snapshot {
                        client.call(vdi::Destroy { vdi }).await?;
                    }
                }
            }
            Self::UnplugVolume | Self::ForgetVolume => {
                for (sr, record) in client.all_records::<Sr>().await? {
                    if record.r#type != "lvmoiscsi" && record.r#type != "iscsi" {
                        continue;
                    }
                    for pbd in record.pbds {
                        client.call(pbd::Unplug { pbd }).await?;
                    }
                    if let Self::ForgetVolume = self {
                        client.call(sr::Forget { sr }).await?;
                    }
                }
            }
            Self::DestroyNetwork => {
                let network = client.by_name_label::<Network>(TENANT).await?;
                for pif in client.get_field(&network, network::field::PIFS).await? {
                    let vlan = client.record(&pif).await?.vlan_master_of;
                    client.call(vlan::Destroy { vlan }).await?;
                }
                client.destroy(&network).await?;
            }
            Self::RemoveInterfaces => {
                for vif in client.get_field(&vm().await?, vm::field::VIFS).await? {
                    client.call(vif::Unplug { vif: vif.clone() }).await?;
                    client.destroy(&vif).await?;
                }
            }
            Self::DisableHosts => {
                for host in client.all::<Host>().await? {
                    client.call(host::Disable { host, auto_enable: None }).await?;
                }
            }
        }
        Ok(())
    }
}

/// Does the deed once, when the stage begins: the verb waits for it.
fn meddling(client: Client, stage: Stage, deed: Deed, done: Arc<Mutex<Option<Result<()>>>>) -> Progress {
    let handle = Handle::current();
    Progress::to(move |event| {
        let mut done = done.lock().expect("nobody panics");
        if matches!(event, Event::Started(begun) if begun == stage) && done.is_none() {
            *done = Some(tokio::task::block_in_place(|| handle.block_on(deed.done(&client))));
        }
    })
}

#[derive(Clone, Copy)]
struct Row {
    verb: &'static str,
    /// What is done before.
    prepare: &'static [Step],
    call: for<'a> fn(&'a Scene, Progress) -> Call<'a>,
    stage: Stage,
    deed: Deed,
    /// What the error says; nothing where the verb gets over it.
    says: Option<&'static str>,
}

fn spawn(scene: &Scene, progress: Progress) -> Call<'_> {
    let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, 0), scene.image());
    (spec.uuid, spec.node) = (scene.instance, Some(scene.home));
    spec.config_drive = Some(ConfigDrive::default());
    let spawning = scene.pool.driver.spawn(spec, SpawnOptions { progress, ..SpawnOptions::default() });
    Box::pin(async { spawning.await.map(drop) })
}

fn attach(scene: &Scene, progress: Progress) -> Call<'_> {
    let options = AttachOptions { progress, ..AttachOptions::default() };
    Box::pin(async {
        scene.pool.driver.attach_volume(scene.which(), scene::volume(), options).await.map(drop)
    })
}

fn off(scene: &Scene, progress: Progress) -> Call<'_> {
    let off = PowerChange::Off(Shutdown::Hard);
    Box::pin(async move { scene.pool.driver.power(scene.which(), off, progress).await.map(drop) })
}

fn resize(scene: &Scene, progress: Progress) -> Call<'_> {
    let options = ResizeOptions {
        flavor: Some(Flavor::new(2, 1024, 1)),
        shutdown: Shutdown::Hard,
        progress,
        ..ResizeOptions::default()
    };
    Box::pin(async { scene.pool.driver.resize(scene.which(), options).await.map(drop) })
}

fn rescue(scene: &Scene, progress: Progress) -> Call<'_> {
    let options = RescueOptions { progress, ..RescueOptions::with(scene.image()) };
    Box::pin(async { scene.pool.driver.rescue(scene.which(), options).await })
}

fn migrate(scene: &Scene, progress: Progress) -> Call<'_> {
    let (there, sr) = scene.elsewhere.unwrap_or((Uuid::nil(), Uuid::nil()));
    let sr = Some(SrChoice::Uuid(sr.to_string()));
    let options = MigrateOptions { progress, sr, ..MigrateOptions::to(there) };
    Box::pin(async { scene.pool.driver.live_migrate(scene.which(), options).await.map(drop) })
}

fn destroy(scene: &Scene, progress: Progress) -> Call<'_> {
    Box::pin(async move { scene.pool.driver.destroy(scene.which(), progress).await.map(drop) })
}

fn snapshot(scene: &Scene, progress: Progress) -> Call<'_> {
    let saving = scene.pool.driver.snapshot(scene.which(), scene.output(), Existing::Refuse, progress);
    Box::pin(async { saving.await.map(drop) })
}

fn upload(scene: &Scene, progress: Progress) -> Call<'_> {
    let sink: Arc<dyn ImageSink> = Arc::new(FileSink::new(scene.output()));
    let options = UploadOptions { progress, ..UploadOptions::default() };
    Box::pin(async { scene.pool.driver.upload(scene.which(), sink, options).await.map(drop) })
}

fn rebuild(scene: &Scene, progress: Progress) -> Call<'_> {
    let options = RebuildOptions { progress, ..RebuildOptions::with(scene.image()) };
    Box::pin(async { scene.pool.driver.rebuild(scene.which(), options).await.map(drop) })
}

fn evacuate(scene: &Scene, progress: Progress) -> Call<'_> {
    let (there, _) = scene.elsewhere.unwrap_or_default();
    let options = EvacuateOptions { progress, ..EvacuateOptions::to(there) };
    Box::pin(async move { scene.pool.driver.evacuate(scene.which(), options).await })
}

fn detach(scene: &Scene, progress: Progress) -> Call<'_> {
    let detaching = scene.pool.driver.detach_volume(scene.which(), scene::VOLUME, progress);
    Box::pin(async { detaching.await.map(drop) })
}

fn swap(scene: &Scene, progress: Progress) -> Call<'_> {
    let other = scene::other_volume();
    let swapping = scene.pool.driver.swap_volume(scene.which(), scene::VOLUME, other, progress);
    Box::pin(async { swapping.await.map(drop) })
}

fn attach_interface(scene: &Scene, progress: Progress) -> Call<'_> {
    let attaching = scene.pool.driver.attach_interface(scene.which(), Nic::on(TENANT), progress);
    Box::pin(async { attaching.await.map(drop) })
}

fn detach_interface(scene: &Scene, progress: Progress) -> Call<'_> {
    let detaching = scene.pool.driver.detach_interface(scene.which(), "0", progress);
    Box::pin(async { detaching.await.map(drop) })
}

fn move_cold(scene: &Scene, progress: Progress) -> Call<'_> {
    let (there, sr) = scene.elsewhere.unwrap_or_default();
    let options = ResizeOptions {
        node: Some(there),
        sr: Some(SrChoice::Uuid(sr.to_string())),
        shutdown: Shutdown::Hard,
        progress,
        ..ResizeOptions::default()
    };
    Box::pin(async { scene.pool.driver.resize(scene.which(), options).await.map(drop) })
}

fn migrate_memory(scene: &Scene, progress: Progress) -> Call<'_> {
    let (there, _) = scene.elsewhere.unwrap_or_default();
    let options = MigrateOptions { progress, ..MigrateOptions::to(there) };
    Box::pin(async { scene.pool.driver.live_migrate(scene.which(), options).await.map(drop) })
}

fn drain(scene: &Scene, progress: Progress) -> Call<'_> {
    let options = DrainOptions { progress, ..DrainOptions::default() };
    Box::pin(async { scene.pool.driver.drain_node(scene.home, options).await.map(drop) })
}

/// The network that the verb before has made.
const TENANT: &str = "tenant";
const SHARED: &[Step] = &[Step::SpawnOnShared];
const LOST: &[Step] = &[Step::SpawnOnShared, Step::LoseHost];
const WITH_VOLUME: &[Step] = &[Step::Spawn, Step::AttachVolume];
const WITH_VOLUME_OFF: &[Step] =
    &[Step::Spawn, Step::AttachVolume, Step::Power(PowerChange::Off(Shutdown::Hard), VmPowerState::Halted)];
const WITH_NETWORK: &[Step] = &[Step::Spawn, Step::EnsureNetwork];

const fn row(
    verb: &'static str,
    call: for<'a> fn(&'a Scene, Progress) -> Call<'a>,
    stage: Stage,
    deed: Deed,
    says: Option<&'static str>,
) -> Row {
    Row { verb, prepare: &[Step::Spawn], call, stage, deed, says }
}

const fn after(prepare: &'static [Step], row: Row) -> Row {
    Row { prepare, ..row }
}

static ROWS: &[Row] = &[
    after(&[], row("spawn", spawn, Stage::Devices, Deed::DestroyRootDisk, Some("HANDLE_INVALID"))),
    after(&[], row("spawn", spawn, Stage::Start, Deed::DestroyVm, Some("HANDLE_INVALID"))),
    after(
        &[],
        row("spawn", spawn, Stage::Start, Deed::RemoveDrives, Some("without a disk that it was made with")),
    ),
    after(&[], row("spawn", spawn, Stage::Start, Deed::StartVm, Some("VM_BAD_POWER_STATE"))),
    after(&[], row("spawn", spawn, Stage::Start, Deed::RenameVm, None)),
    after(&[], row("spawn", spawn, Stage::RootDisk, Deed::DisableHosts, Some("HOST_DISABLED"))),
    row("attach-volume", attach, Stage::Devices, Deed::HaltVm, None),
    row("off", off, Stage::Power, Deed::HaltVm, None),
    row("resize", resize, Stage::Stop, Deed::HaltVm, None),
    row("resize", resize, Stage::Start, Deed::DestroyVm, Some("HANDLE_INVALID")),
    row("rescue", rescue, Stage::Stop, Deed::HaltVm, None),
    row("rescue", rescue, Stage::Start, Deed::StartVm, Some("VM_BAD_POWER_STATE")),
    row("live-migrate", migrate, Stage::Migrate, Deed::HaltVm, Some("VM_BAD_POWER_STATE")),
    row("destroy", destroy, Stage::Stop, Deed::HaltVm, None),
    row("snapshot", snapshot, Stage::Export, Deed::DestroySnapshots, Some("UUID_INVALID")),
    row("snapshot", snapshot, Stage::Export, Deed::HaltVm, None),
    row("upload", upload, Stage::Export, Deed::DestroySnapshots, Some("UUID_INVALID")),
    row("rebuild", rebuild, Stage::Stop, Deed::HaltVm, None),
    row("rebuild", rebuild, Stage::Devices, Deed::DestroyVm, Some("there is no VM")),
    row("rebuild", rebuild, Stage::Start, Deed::StartVm, Some("VM_BAD_POWER_STATE")),
    after(LOST, row("evacuate", evacuate, Stage::Start, Deed::HaltVm, None)),
    after(LOST, row("evacuate", evacuate, Stage::Start, Deed::DisableHosts, Some("HOST_DISABLED"))),
    row("attach-volume", attach, Stage::Devices, Deed::UnplugVolume, Some("SR_HAS_NO_PBDS")),
    row("attach-volume", attach, Stage::Devices, Deed::ForgetVolume, Some("HANDLE_INVALID")),
    after(WITH_VOLUME, row("detach-volume", detach, Stage::Storage, Deed::HaltVm, None)),
    after(WITH_VOLUME, row("swap-volume", swap, Stage::Devices, Deed::HaltVm, None)),
    after(
        WITH_VOLUME_OFF,
        row("swap-volume", swap, Stage::Devices, Deed::StartVm, Some("started while it was copied")),
    ),
    after(WITH_NETWORK, row("attach-interface", attach_interface, Stage::Devices, Deed::HaltVm, None)),
    after(
        WITH_NETWORK,
        row(
            "attach-interface",
            attach_interface,
            Stage::Devices,
            Deed::DestroyNetwork,
            Some("HANDLE_INVALID"),
        ),
    ),
    row("detach-interface", detach_interface, Stage::Devices, Deed::HaltVm, None),
    row("detach-interface", detach_interface, Stage::Devices, Deed::RemoveInterfaces, None),
    row("move", move_cold, Stage::Stop, Deed::HaltVm, None),
    row("move", move_cold, Stage::Start, Deed::DestroyVm, Some("HANDLE_INVALID")),
    after(
        SHARED,
        row("live-migrate", migrate_memory, Stage::Migrate, Deed::HaltVm, Some("VM_BAD_POWER_STATE")),
    ),
    after(
        SHARED,
        row("live-migrate", migrate_memory, Stage::Migrate, Deed::DisableHosts, Some("HOST_DISABLED")),
    ),
    after(SHARED, row("drain", drain, Stage::Migrate, Deed::HaltVm, None)),
];

async fn tried(row: &'static Row) -> Result<()> {
    let verb = Verb { name: "meddling", prepare: row.prepare, act: Step::LiveMigrate };
    let scene = Scene::set(&verb).await?;
    let done = Arc::new(Mutex::new(None));
    let progress = meddling(scene.pool.client().clone(), row.stage, row.deed, Arc::clone(&done));
    let result = (row.call)(&scene, progress).await;
    done.lock().expect("nobody panics").take().context("the stage never began")?.context("the deed")?;
    match (&result, row.says) {
        (Ok(()), None) => {}
        (Err(error), Some(says)) => told(error, says)?,
        (result, says) => anyhow::bail!("{result:?} instead of {says:?}"),
    }
    scene.look_at_the_foreign_instance().await?;
    // Whatever is left of ours is found by its uuid, and goes.
    scene.pool.driver.destroy(scene.which(), Progress::none()).await?;
    scene.pool.driver.remove_network(TENANT, Progress::none()).await?;
    let all = ReconcileOptions { older_than: std::time::Duration::ZERO, ..ReconcileOptions::default() };
    let reconciled = scene.pool.driver.reconcile(all).await?;
    ensure!(reconciled.leftovers.is_empty() && reconciled.waiting.is_empty(), "{reconciled:?}");
    let mut changes = scene.pool.census().await?.changes_since(&scene.bare);
    // The LUN keeps what is on it.
    changes.retain(|change| !change.contains("/disks/"));
    ensure!(changes.is_empty(), "{changes:#?}");
    scene.look_at_the_foreign_instance().await
}

fn told(error: &Error, says: &str) -> Result<()> {
    let text = error.to_string();
    ensure!(text.contains(says) && text.contains("instance"), "{text}");
    ensure!(!text.contains('\n') && error.leftovers().is_empty(), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_does_in_the_middle_is_got_over_or_told() -> Result<()> {
    let mut wrong = Vec::new();
    for row in ROWS {
        let what = format!("{}, {:?} at {}", row.verb, row.deed, row.stage);
        wrong.extend(tried(row).await.err().map(|error| format!("{what}: {error:#}")));
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}
