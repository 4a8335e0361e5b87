//! Two programs at one instance: the one that is quicker has what it asked for, and the other is told, has done nothing, and
//! takes back nothing that is not its own.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::bench::{Bench, Running};
use e2e::pool::{NETWORK, Pool};
use tokio::runtime::Handle;
use xapi_simulator::World;
use xapi_simulator::fault::Fault;
use xenapi_driver::pool_move::MoveOptions;
use xenapi_driver::pools::PoolMigrateOptions;
use xenapi_driver::reconcile::ReconcileOptions;
use xenapi_driver::rescue::RescueOptions;
use xenapi_driver::resize::{RebuildOptions, ResizeOptions, ResizeState};
use xenapi_driver::spec::{ConfigDrive, Flavor, Nic};
use xenapi_driver::{Cause, Driver, Error, Event, Progress, Settings, Shutdown, Stage};
use xenapi_types::{Vdi, VmPowerState, pool, vm};

type Doing = Pin<Box<dyn Future<Output = xenapi_driver::Result<()>> + Send>>;

/// What an instance is: its power, its memory, its disks by their places, and all disks that there are.
#[derive(Debug, PartialEq, Eq)]
struct State {
    power: VmPowerState,
    memory: i64,
    places: BTreeMap<String, String>,
    all: Vec<String>,
}

async fn state(bench: &Running) -> Result<State> {
    let client = bench.client();
    let record = bench.record().await?;
    let mut places = BTreeMap::new();
    for vbd in &record.vbds {
        let vbd = client.record(vbd).await?;
        places.insert(vbd.userdevice, client.record(&vbd.vdi).await?.uuid);
    }
    let disks = client.all_records::<Vdi>().await?.into_values().filter(|vdi| vdi.managed);
    let mut all: Vec<String> = disks.map(|vdi| vdi.uuid).collect();
    all.sort();
    Ok(State { power: record.power_state, memory: record.memory_static_max, places, all })
}

async fn bench() -> Result<Running> {
    let own = Bench::new().await?;
    let mut spec = own.spec();
    spec.nics = vec![Nic::on(NETWORK)];
    spec.config_drive = Some(ConfigDrive::default());
    own.start(spec).await
}

/// A driver of the same owner, as another program has it.
fn other(pool: &Pool) -> Result<Driver> {
    pool.driver_with(Settings::default())
}

/// Does it once when a stage begins: whoever is told waits for it.
fn at(stage: Stage, deed: impl FnOnce() -> Doing + Send + 'static) -> (Progress, Arc<Mutex<Option<bool>>>) {
    let (handle, done) = (Handle::current(), Arc::new(Mutex::new(None)));
    let (deed, told) = (Mutex::new(Some(deed)), Arc::clone(&done));
    let progress = Progress::to(move |event| {
        if !matches!(event, Event::Started(begun) if begun == stage) {
            return;
        }
        let Some(deed) = deed.lock().expect("nobody panics").take() else { return };
        let result = tokio::task::block_in_place(|| handle.block_on(deed()));
        *told.lock().expect("nobody panics") = Some(result.is_ok());
    });
    (progress, done)
}

/// What the program that is slower asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Resize,
    Rescue,
    Rebuild,
}

fn doing(verb: Verb, driver: &Driver, bench: &Running, progress: Progress) -> Doing {
    let (driver, which, image) = (driver.clone(), bench.which.clone(), bench.image.clone());
    let shutdown = Shutdown::Hard;
    match verb {
        Verb::Resize => {
            let flavor = Some(Flavor::new(2, 1024, 1));
            let options = ResizeOptions { flavor, shutdown, progress, ..ResizeOptions::default() };
            Box::pin(async move { driver.resize(which, options).await.map(drop) })
        }
        Verb::Rescue => {
            let options = RescueOptions { progress, ..RescueOptions::with(&image) };
            Box::pin(async move { driver.rescue(which, options).await })
        }
        Verb::Rebuild => {
            let options = RebuildOptions { progress, ..RebuildOptions::with(&image) };
            Box::pin(async move { driver.rebuild(which, options).await.map(drop) })
        }
    }
}

/// One program is about to note what it does, when another one does all of something else to the same instance.
#[tokio::test(flavor = "multi_thread")]
async fn the_loser_leaves_what_the_winner_has_done() -> Result<()> {
    for (loser, stage, winner) in [
        (Verb::Resize, Stage::Storage, Verb::Resize),
        (Verb::Rescue, Stage::Vm, Verb::Rescue),
        (Verb::Rebuild, Stage::Vm, Verb::Resize),
        (Verb::Resize, Stage::Storage, Verb::Rescue),
        (Verb::Rescue, Stage::Vm, Verb::Resize),
        (Verb::Resize, Stage::Storage, Verb::Rebuild),
    ] {
        let what = format!("{loser:?} after {winner:?}");
        let bench = bench().await?;
        let before = state(&bench).await?;
        let winning = doing(winner, &other(&bench)?, &bench, Progress::none());
        let (progress, won) = at(stage, move || winning);
        let result = doing(loser, &bench.driver, &bench, progress).await;
        ensure!(*won.lock().expect("nobody panics") == Some(true), "{what}");
        let error = result.expect_err(&what);
        assert!(error.leftovers().is_empty(), "{what}: {error}");
        let is_told = match winner {
            Verb::Resize => matches!(error.cause(), Cause::ResizePending { .. }),
            Verb::Rescue => matches!(error.cause(), Cause::Rescued { .. }),
            Verb::Rebuild => matches!(error.cause(), Cause::WrongState { .. }),
        };
        assert!(is_told, "{what}: {error}");
        let (now, info) = (state(&bench).await?, bench.driver.instance(&bench.which).await?);
        let drives = before.places.len() + usize::from(winner == Verb::Rescue);
        assert_eq!((&now.power, now.places.len()), (&before.power, drives), "{what}: {now:?}");
        let (resize, rescued) = match winner {
            Verb::Resize => (Some(ResizeState::Done), false),
            Verb::Rescue => (None, true),
            Verb::Rebuild => (None, false),
        };
        assert_eq!((info.resize, info.rescued), (resize, rescued), "{what}");
        match winner {
            Verb::Resize => bench.driver.revert_resize(bench.which.clone(), Progress::none()).await?,
            Verb::Rescue => bench.driver.unrescue(bench.which.clone(), Progress::none()).await?,
            Verb::Rebuild => continue,
        }
        assert_eq!(state(&bench).await?, before, "{what}, and back");
    }
    Ok(())
}

/// The same with moves to another pool: what the winner has made there stays, and what the loser noted there goes.
#[tokio::test(flavor = "multi_thread")]
async fn the_loser_of_a_move_leaves_what_the_winner_has_made_elsewhere() -> Result<()> {
    let bench = bench().await?;
    let there = Pool::of(World::demo().elsewhere(2)).await?;
    let (which, before) = (bench.which.clone(), state(&bench).await?);
    let move_to = |driver: &Driver, progress: Progress| -> Doing {
        let (driver, pool, which) = (driver.clone(), there.driver.clone(), which.clone());
        let options = MoveOptions { shutdown: Shutdown::Hard, progress, ..MoveOptions::default() };
        Box::pin(async move { driver.move_to_pool(which, &pool, options).await.map(drop) })
    };
    let winning = move_to(&other(&bench)?, Progress::none());
    let (progress, won) = at(Stage::Storage, move || winning);
    let error = move_to(&bench.driver, progress).await.expect_err("the other one was quicker");
    ensure!(*won.lock().expect("nobody panics") == Some(true), "{error}");
    assert!(matches!(error.cause(), Cause::MovePending { .. }) && error.leftovers().is_empty(), "{error}");
    assert_eq!(bench.power_state().await?, VmPowerState::Halted);
    assert_eq!(there.driver.instance(&which).await?.power_state, VmPowerState::Running);
    bench.driver.revert_move(which.clone(), &there.driver, Progress::none()).await?;
    assert_eq!(state(&bench).await?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_loser_of_a_migration_noted_in_the_other_pool_goes() -> Result<()> {
    let bench = bench().await?;
    let there = Pool::demo().await?;
    bench.simulator.meet(&there.simulator);
    let (client, vm, before) = (bench.client().clone(), bench.vm.clone(), state(&bench).await?);
    // As another program writes it, which is about to move the instance.
    let theirs =
        format!(r#"{{"operation":"{}","vm":"","host":"OpaqueRef:NULL","disks":[]}}"#, uuid::Uuid::now_v7());
    let noted = theirs.clone();
    let (progress, won) = at(Stage::Migrate, move || {
        Box::pin(async move {
            let noting = client.add_to(&vm, vm::field::OTHER_CONFIG, "xenapi-rs:moving", noted).await;
            noting.expect("it can be noted");
            Ok(())
        })
    });
    let options = PoolMigrateOptions { progress, ..PoolMigrateOptions::default() };
    let result = bench.driver.migrate_to_pool(bench.which.clone(), &there.driver, options).await;
    let error = result.expect_err("the other one was quicker");
    ensure!(*won.lock().expect("nobody panics") == Some(true), "{error}");
    assert!(matches!(error.cause(), Cause::WrongState { .. }) && error.leftovers().is_empty(), "{error}");
    assert_eq!(state(&bench).await?, before);
    assert_eq!(bench.record().await?.other_config["xenapi-rs:moving"], theirs);
    let pools = there.client().all::<xenapi_types::Pool>().await?;
    let keys = there.client().get_field(pools.first().context("a pool")?, pool::field::OTHER_CONFIG).await?;
    assert!(!keys.keys().any(|key| key.starts_with("xenapi-rs:arriving")), "{keys:?}");
    Ok(())
}

/// Two that end a rescue, in one program and in two: nothing is left that would end the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_rescue_that_two_have_ended_can_be_begun_anew() -> Result<()> {
    let bench = bench().await?;
    let before = bench.record().await?.other_config;
    let end = |driver: &Driver, progress: Progress| driver.unrescue(bench.which.clone(), progress);
    doing(Verb::Rescue, &bench.driver, &bench, Progress::none()).await?;
    let (first, second) =
        tokio::join!(end(&bench.driver, Progress::none()), end(&bench.driver, Progress::none()));
    let both = [first.err(), second.err()];
    let told: Vec<_> = both.iter().flatten().map(Error::cause).collect();
    assert!(matches!(told[..], [Cause::NotRescued { .. }]), "{told:?}");

    doing(Verb::Rescue, &bench.driver, &bench, Progress::none()).await?;
    let quicker = end(&other(&bench)?, Progress::none());
    let (progress, won) = at(Stage::Remove, move || Box::pin(quicker));
    end(&bench.driver, progress).await?;
    ensure!(*won.lock().expect("nobody panics") == Some(true), "it was not ended in between");
    let mut after = bench.record().await?.other_config;
    after.insert("last_dom_id".into(), before["last_dom_id"].clone());
    assert_eq!(after, before);

    // As a program leaves it that dies between the two.
    let ending = format!("{} {}", uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
    let field = vm::field::OTHER_CONFIG;
    bench.client().add_to(&bench.vm, field, "xenapi-rs:rescue-ending", ending).await?;
    doing(Verb::Rescue, &bench.driver, &bench, Progress::none()).await?;
    let options = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
    let done = other(&bench)?.reconcile(options).await?.done;
    assert!(done.is_empty() && bench.driver.instance(&bench.which).await?.rescued, "{done:?}");
    Ok(())
}

/// One program is held up when it notes that it decides the one way, and another one decides the other way
/// meanwhile: that is done, and the first one is told.
async fn pass(
    bench: &Running,
    is_kept: bool,
    end: impl AsyncFn(&Driver, bool) -> xenapi_driver::Result<()>,
) -> Result<()> {
    let faults = bench.simulator.faults();
    let mut struck = faults.struck();
    struck.mark_unchanged();
    faults.on("VM.add_to_other_config", Fault::Slow(Duration::from_secs(4)));
    let quicker = other(bench)?;
    let quicker = async {
        struck.changed().await.expect("the pool is there");
        end(&quicker, is_kept).await
    };
    let (late, quicker) = tokio::join!(end(&bench.driver, !is_kept), quicker);
    quicker?;
    late.expect_err("the other one was quicker");
    Ok(())
}

/// One program is about to decide on a resize, and another one goes the other way out of it: one of the two
/// sets of disks is there, and the instance has it.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_ways_out_of_a_resize_one_is_gone() -> Result<()> {
    for is_kept in [true, false] {
        let bench = bench().await?;
        let before = state(&bench).await?;
        doing(Verb::Resize, &bench.driver, &bench, Progress::none()).await?;
        let after = state(&bench).await?;
        let end = async |driver: &Driver, keep: bool| match keep {
            true => driver.confirm_resize(bench.which.clone(), Progress::none()).await.map(drop),
            false => driver.revert_resize(bench.which.clone(), Progress::none()).await,
        };
        pass(&bench, is_kept, end).await?;
        let now = state(&bench).await?;
        match is_kept {
            true => assert_eq!((&now.places, now.all.len()), (&after.places, before.all.len())),
            false => assert_eq!(now, before),
        }
        let keys = bench.record().await?.other_config;
        assert!(!keys.keys().any(|key| key.starts_with("xenapi-rs:resize")), "{keys:?}");
    }
    Ok(())
}

/// The same of a move to another pool: the instance is in one of them.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_ways_out_of_a_move_one_is_gone() -> Result<()> {
    for is_kept in [true, false] {
        let bench = bench().await?;
        let there = Pool::of(World::demo().elsewhere(2)).await?;
        let before = state(&bench).await?;
        let options = MoveOptions { shutdown: Shutdown::Hard, ..MoveOptions::default() };
        bench.driver.move_to_pool(bench.which.clone(), &there.driver, options).await?;
        let end = async |driver: &Driver, keep: bool| match keep {
            true => driver.confirm_move(bench.which.clone(), &there.driver, Progress::none()).await,
            false => driver.revert_move(bench.which.clone(), &there.driver, Progress::none()).await,
        };
        pass(&bench, is_kept, end).await?;
        let arrived = there.driver.instance(&bench.which).await;
        match is_kept {
            true => {
                assert_eq!(arrived?.power_state, VmPowerState::Running);
                assert!(bench.client().record_opt(&bench.vm).await?.is_none());
            }
            false => {
                assert!(arrived.is_err(), "{arrived:?}");
                assert_eq!(state(&bench).await?, before);
            }
        }
    }
    Ok(())
}

/// Who puts the pool in order takes an operation that goes on for one that broke off: that is noticed, and
/// nothing is left of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_meanwhile_does_not_go_on() -> Result<()> {
    for (verb, stage) in [
        (Verb::Resize, Stage::Stop),
        (Verb::Resize, Stage::RootDisk),
        (Verb::Resize, Stage::Start),
        (Verb::Rescue, Stage::Stop),
        (Verb::Rescue, Stage::Start),
        (Verb::Rebuild, Stage::Stop),
        (Verb::Rebuild, Stage::Devices),
        (Verb::Rebuild, Stage::Remove),
    ] {
        let what = format!("{verb:?} at {stage:?}");
        let bench = bench().await?;
        let before = state(&bench).await?;
        let (progress, tidied) = at(stage, tidying(other(&bench)?));
        let result = doing(verb, &bench.driver, &bench, progress).await;
        ensure!(*tidied.lock().expect("nobody panics") == Some(true), "{what}");
        let error = result.expect_err(&what);
        assert!(error.leftovers().is_empty(), "{what}: {error}");
        assert_eq!(state(&bench).await?, before, "{what}: {error}");
    }
    Ok(())
}

/// The same of a move: the instance is where it was, and nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_was_taken_back_meanwhile_does_not_go_on() -> Result<()> {
    let bench = bench().await?;
    let there = Pool::of(World::demo().elsewhere(2)).await?;
    let (before, elsewhere) = (state(&bench).await?, there.census().await?);
    for stage in [Stage::Stop, Stage::RootDisk, Stage::Vm] {
        let (progress, tidied) = at(stage, tidying(other(&bench)?));
        let options = MoveOptions { shutdown: Shutdown::Hard, progress, ..MoveOptions::default() };
        let moving = bench.driver.move_to_pool(bench.which.clone(), &there.driver, options);
        let error = moving.await.expect_err("it was taken back");
        ensure!(*tidied.lock().expect("nobody panics") == Some(true), "{stage:?}");
        assert!(error.leftovers().is_empty(), "{stage:?}: {error}");
        assert_eq!(state(&bench).await?, before, "{stage:?}: {error}");
        there.remove_transfer_tasks().await?;
        there.census().await?.assert_as(&elsewhere, &format!("{stage:?}: {error}"));
    }
    Ok(())
}

/// Puts the pool in order, whatever is how young.
fn tidying(driver: Driver) -> impl FnOnce() -> Doing + Send + 'static {
    let options = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
    move || Box::pin(async move { driver.reconcile(options).await.map(drop) })
}
