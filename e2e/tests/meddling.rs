//! Somebody else's hand in the middle of a verb: the pool changes between two of its steps, and it ends well or says why
//! not, leaves nothing, and touches nothing that is not its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use e2e::sweep::scene::{self, Scene};
use e2e::sweep::verb::{Step, Verb};
use tokio::runtime::Handle;
use uuid::Uuid;
use xenapi_client::Client;
use xenapi_driver::live::MigrateOptions;
use xenapi_driver::reconcile::ReconcileOptions;
use xenapi_driver::rescue::RescueOptions;
use xenapi_driver::resize::ResizeOptions;
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec, SrChoice};
use xenapi_driver::volume::AttachOptions;
use xenapi_driver::{Error, Event, PowerChange, Progress, Shutdown, SpawnOptions, Stage};
use xenapi_types::{Host, Vdi, Vm, host, vbd, vdi, vm};

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

struct Row {
    verb: &'static str,
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

const fn row(
    verb: &'static str,
    call: for<'a> fn(&'a Scene, Progress) -> Call<'a>,
    stage: Stage,
    deed: Deed,
    says: Option<&'static str>,
) -> Row {
    Row { verb, call, stage, deed, says }
}

static ROWS: &[Row] = &[
    row("spawn", spawn, Stage::Devices, Deed::DestroyRootDisk, Some("HANDLE_INVALID")),
    row("spawn", spawn, Stage::Start, Deed::DestroyVm, Some("HANDLE_INVALID")),
    row("spawn", spawn, Stage::Start, Deed::RemoveDrives, Some("without a disk that it was made with")),
    row("spawn", spawn, Stage::Start, Deed::StartVm, Some("VM_BAD_POWER_STATE")),
    row("spawn", spawn, Stage::Start, Deed::RenameVm, None),
    row("spawn", spawn, Stage::RootDisk, Deed::DisableHosts, Some("HOST_DISABLED")),
    row("attach-volume", attach, Stage::Devices, Deed::HaltVm, Some("VM_BAD_POWER_STATE")),
    row("off", off, Stage::Power, Deed::HaltVm, None),
    row("resize", resize, Stage::Stop, Deed::HaltVm, None),
    row("resize", resize, Stage::Start, Deed::DestroyVm, Some("HANDLE_INVALID")),
    row("rescue", rescue, Stage::Stop, Deed::HaltVm, None),
    row("rescue", rescue, Stage::Start, Deed::StartVm, Some("VM_BAD_POWER_STATE")),
    row("live-migrate", migrate, Stage::Migrate, Deed::HaltVm, Some("VM_BAD_POWER_STATE")),
    row("destroy", destroy, Stage::Stop, Deed::HaltVm, None),
];

async fn tried(row: &'static Row) -> Result<()> {
    let prepare: &[Step] = if row.verb == "spawn" { &[] } else { &[Step::Spawn] };
    let scene = Scene::set(&Verb { name: "meddling", prepare, act: Step::LiveMigrate }).await?;
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
