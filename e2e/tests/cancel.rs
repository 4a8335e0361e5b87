//! Every verb can be cancelled: it ends, says that it was cancelled, and leaves what its documentation says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cancels;
use e2e::cancels::table::{Row, TABLE};
use e2e::facade::operations;
use e2e::pool::{NETWORK, Pool};
use e2e::sweep::scene::Scene;
use e2e::sweep::verb::{Step, Verb};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use xapi_simulator::fault::Fault;
use xenapi_client::Secret;
use xenapi_driver::evacuate::EvacuateOptions;
use xenapi_driver::live::MigrateOptions;
use xenapi_driver::membership::EjectOptions;
use xenapi_driver::rescue::RescueOptions;
use xenapi_driver::resize::{RebuildOptions, ResizeOptions};
use xenapi_driver::spec::{Flavor, InstanceSpec, Nic};
use xenapi_driver::{
    AgentTimeouts, Cause, DiskWork, Driver, Event, Operation, PowerChange, Progress, Shutdown, Stage, Which,
};

/// At so many calls and so many stages each verb is cancelled; `CANCEL_AT_MOST` says otherwise.
const AT_MOST: usize = 1;
/// Rows that are tried so in every build, the others during their first call; `CANCEL_ALL=1` tries all so,
/// `CANCEL_ONLY` one alone.
const SAMPLE: &[&str] = &[
    "spawn",
    "adopt",
    "destroy",
    "rescue",
    "unrescue",
    "confirm",
    "off",
    "on",
    "reboot",
    "pause",
    "resume_guests",
    "soft-delete",
    "restore",
    "snapshot",
    "attach",
    "detach",
    "plug",
    "unplug",
    "lock_interface",
    "network",
    "drain",
];
/// Rows that move data, and take as long as there are some.
const LONG: &[&str] = &[
    "snapshot",
    "upload",
    "backup",
    "rescue",
    "rebuild",
    "cold migration",
    "live migration",
    "move_to_pool",
    "swap",
    "import",
    "export",
    "cache",
];
/// Verbs that are cancelled elsewhere, and the test.
const ELSEWHERE: &[(&str, &str)] = &[
    ("join_pool", "membership.rs::waiting_for_the_host_ends_when_it_is_cancelled"),
    ("eject_node", "cancel.rs::before_they_begin"),
    ("reboot_node", "cancel.rs::before_they_begin"),
    ("shutdown_node", "cancel.rs::before_they_begin"),
    ("work_on_disk", "cancel.rs::before_they_begin"),
    ("set_admin_password", "cancel.rs::an_agent_that_is_not_waited_for"),
    ("inject_file", "cancel.rs::an_agent_that_is_not_waited_for"),
    ("reset_network", "cancel.rs::an_agent_that_is_not_waited_for"),
    ("version", "cancel.rs::an_agent_that_is_not_waited_for"),
    ("set_password", "cancel.rs::an_agent_that_is_not_waited_for"),
    ("update", "cancel.rs::an_agent_that_is_not_waited_for"),
];

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_as_before_or_as_after_or_as_documented() -> Result<()> {
    let at_most = std::env::var("CANCEL_AT_MOST").ok().and_then(|text| text.parse().ok()).unwrap_or(AT_MOST);
    let only = std::env::var("CANCEL_ONLY").ok();
    let all = std::env::var_os("CANCEL_ALL").is_some() || only.is_some();
    let (turns, mut rows) = (Arc::new(Semaphore::new(4)), JoinSet::new());
    for row in TABLE.iter().filter(|row| only.as_ref().is_none_or(|only| row.name == only)) {
        let turns = Arc::clone(&turns);
        let at_most = if all || SAMPLE.contains(&row.name) { at_most } else { 0 };
        rows.spawn(async move {
            let _turn = turns.acquire().await;
            (row.name, cancels::run(row, at_most).await)
        });
    }
    let (mut counts, mut wrong) = (BTreeMap::new(), Vec::new());
    while let Some(done) = rows.join_next().await {
        match done? {
            (name, Ok(count)) => {
                counts.insert(name, count);
            }
            (_, Err(error)) => wrong.push(format!("{error:#}")),
        }
    }
    wrong.sort();
    ensure!(!(counts.is_empty() && wrong.is_empty()), "no row is called so");
    ensure!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), TABLE.len(), wrong.join("\n\n"));
    let deaf: Vec<_> = counts.iter().filter(|(_, count)| count.cancelled == 0).collect();
    ensure!(deaf.is_empty(), "whenever they were cancelled, they were done before they noticed: {deaf:?}");
    Ok(())
}

/// Whoever waits for it sees that it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_long_says_how_far_it_is() -> Result<()> {
    let (turns, mut rows) = (Arc::new(Semaphore::new(4)), JoinSet::new());
    for name in LONG {
        let row: &'static Row =
            TABLE.iter().find(|row| row.name == *name).with_context(|| format!("no row {name}"))?;
        let turns = Arc::clone(&turns);
        rows.spawn(async move {
            let _turn = turns.acquire().await;
            cancels::tells(row).await
        });
    }
    let mut wrong = Vec::new();
    while let Some(done) = rows.join_next().await {
        wrong.extend(done?.err().map(|error| format!("{error:#}")));
    }
    wrong.sort();
    ensure!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), LONG.len(), wrong.join("\n\n"));
    Ok(())
}

#[test]
fn no_verb_is_left_out() -> Result<()> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let verbs = operations()?;
    let known: BTreeSet<&str> =
        TABLE.iter().map(|row| row.verb).chain(ELSEWHERE.iter().map(|(verb, _)| *verb)).collect();
    let missing: Vec<_> = verbs.iter().filter(|verb| !known.contains(&***verb)).collect();
    ensure!(verbs.len() > 40 && missing.is_empty(), "of {}, never cancelled: {missing:?}", verbs.len());
    let unknown: Vec<_> = known.iter().filter(|verb| !verbs.contains(**verb)).collect();
    ensure!(unknown.is_empty(), "there are no such verbs: {unknown:?}");
    for (verb, test) in ELSEWHERE {
        let (file, name) = test.split_once("::").context("file::test")?;
        let text = fs::read_to_string(root.join("e2e/tests").join(file))?;
        let body =
            text.split(&format!("async fn {name}(")).nth(1).with_context(|| format!("no test {test}"))?;
        let body = body.split("\n}\n").next().unwrap_or_default();
        ensure!(body.contains(&format!(".{verb}(")), "{verb} is not in {test}");
    }
    Ok(())
}

/// It ends, and says that it was cancelled. Nothing else ends what it waits for.
async fn cancelled<T>(what: &str, operation: Operation<T>) -> Result<()> {
    operation.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(60), operation).await;
    let error = ended
        .with_context(|| format!("{what} goes on"))?
        .err()
        .with_context(|| format!("{what} was done"))?;
    ensure!(matches!(error.cause(), Cause::Cancelled), "{what}: {error}");
    Ok(())
}

/// On one thread, so that none has begun when it is cancelled.
#[tokio::test]
async fn before_they_begin() -> Result<()> {
    let scene = Scene::set(&Verb { name: "nodes", prepare: &[Step::Spawn], act: Step::LiveMigrate }).await?;
    let (there, _) = scene.elsewhere.context("two hosts")?;
    let driver = &scene.pool.driver;
    driver.set_node_enabled(there, false, Progress::none()).await?;
    let disk = scene.pool.client().all_records::<xenapi_types::Vdi>().await?;
    let disk = disk.into_values().find(|vdi| vdi.name_label == "web1").context("the root disk")?.uuid;
    driver.power(scene.which(), PowerChange::Off(Shutdown::Hard), Progress::none()).await?;
    let before = scene.pool.census().await?;
    cancelled("reboot_node", driver.reboot_node(there, Progress::none())).await?;
    cancelled("shutdown_node", driver.shutdown_node(there, Progress::none())).await?;
    cancelled("eject_node", driver.eject_node(there, EjectOptions::default())).await?;
    let work = DiskWork::ResizeDown { len_bytes: 8 << 20 };
    cancelled("work_on_disk", driver.work_on_disk(&disk, work, Progress::none())).await?;
    scene.pool.census().await?.assert_as(&before, "cancelled before they began");
    scene.look_at_the_foreign_instance().await
}

/// Whoever waits for another operation on the same instance does not have to.
#[tokio::test]
async fn while_another_one_is_at_the_instance() -> Result<()> {
    let scene = Scene::set(&Verb { name: "turns", prepare: &[Step::Spawn], act: Step::LiveMigrate }).await?;
    let (there, _) = scene.elsewhere.context("two hosts")?;
    let (driver, which) = (&scene.pool.driver, || scene.which());
    let mut struck = scene.faults().struck();
    scene.faults().on("VM.hard_shutdown", Fault::Slow(Duration::from_secs(3_600)));
    let first = driver.rebuild(which(), RebuildOptions::with(scene.image()));
    struck.changed().await?;
    let (flavor, image) = (Some(Flavor::new(2, 512, 0)), || scene.image());
    in_vain("rescue", |p| {
        driver.rescue(which(), RescueOptions { progress: p, ..RescueOptions::with(image()) })
    })
    .await?;
    in_vain("rebuild", |p| {
        driver.rebuild(which(), RebuildOptions { progress: p, ..RebuildOptions::with(image()) })
    })
    .await?;
    in_vain("unrescue", |p| driver.unrescue(which(), p)).await?;
    in_vain("resize", |p| {
        driver.resize(which(), ResizeOptions { flavor, progress: p, ..ResizeOptions::default() })
    })
    .await?;
    in_vain("confirm_resize", |p| driver.confirm_resize(which(), p)).await?;
    in_vain("revert_resize", |p| driver.revert_resize(which(), p)).await?;
    in_vain("evacuate", |p| {
        driver.evacuate(which(), EvacuateOptions { progress: p, ..EvacuateOptions::to(there) })
    })
    .await?;
    in_vain("live_migrate", |p| {
        driver.live_migrate(which(), MigrateOptions { progress: p, ..MigrateOptions::to(there) })
    })
    .await?;
    in_vain("attach_interface", |p| driver.attach_interface(which(), Nic::on(NETWORK), p)).await?;
    drop(first);
    Ok(())
}

/// What the guest is told of waits for what it is being told: that may never end.
#[tokio::test]
async fn while_the_guest_is_being_told_something_else() -> Result<()> {
    let scene = Scene::set(&Verb { name: "told", prepare: &[Step::Spawn], act: Step::LiveMigrate }).await?;
    let (driver, which) = (&scene.pool.driver, || scene.which());
    let change = || BTreeMap::from([("role".to_owned(), Some("web".to_owned()))]);
    let mut struck = scene.faults().struck();
    scene.faults().on("VM.remove_from_xenstore_data", Fault::Slow(Duration::from_secs(3_600)));
    let first = driver.change_metadata(which(), change(), Progress::none());
    struck.changed().await?;
    in_vain("change_metadata", |p| driver.change_metadata(which(), change(), p)).await?;
    in_vain("tell_network", |p| driver.tell_network(which(), BTreeMap::new(), p)).await?;
    drop(first);
    Ok(())
}

/// Cancels an operation that has found its instance, and waits for its turn.
async fn in_vain<T>(name: &str, begin: impl FnOnce(Progress) -> Operation<T>) -> Result<()> {
    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
    let operation = begin(Progress::to(move |event| drop(sender.send(event))));
    loop {
        let event = events.recv().await.with_context(|| format!("{name} found nothing"))?;
        if matches!(event, Event::Finished(Stage::Find, _)) {
            break;
        }
    }
    // On one thread it goes on from there before this does.
    tokio::task::yield_now().await;
    cancelled(name, operation).await
}

/// The guest is asked, and does not answer. Whatever it does later, nobody waits for it.
#[tokio::test]
async fn an_agent_that_is_not_waited_for() -> Result<()> {
    let plugins = tempfile::tempdir()?;
    symlink(env!("CARGO_BIN_EXE_fake-agent"), plugins.path().join("agent.py"))?;
    let pool = Pool::with_plugins(plugins.path()).await?;
    let image = plugins.path().join("image");
    fs::File::create(&image)?.set_len(4 << 20)?;
    let instance = pool.spawn(InstanceSpec::new("web1", Flavor::new(1, 512, 0), image)).await?;
    let (driver, which) = (&pool.driver, || Which::Instance(instance.uuid));
    let hour = Duration::from_secs(3_600);
    let timeouts = AgentTimeouts { answer: hour, version: hour, reset_network: hour };
    let agent = driver.agent(&which(), timeouts).await?;
    let silent = async |name: &str, begin: &dyn Fn(&Driver) -> Operation<()>| -> Result<()> {
        let mut struck = pool.simulator.faults().struck();
        pool.simulator.faults().on("host.call_plugin", Fault::Hang);
        let operation = begin(driver);
        struck.changed().await?;
        cancelled(name, operation).await?;
        pool.simulator.faults().clear();
        Ok(())
    };
    silent("set_admin_password", &|d| d.set_admin_password(which(), Secret::new("secret"), Progress::none()))
        .await?;
    silent("inject_file", &|d| d.inject_file(which(), "/etc/motd", b"hi".to_vec(), Progress::none())).await?;
    silent("reset_network", &|d| d.reset_network(which(), "web1", Progress::none())).await?;
    silent("inject_file", &|_| agent.inject_file("/etc/motd", b"hi")).await?;
    silent("reset_network", &|_| agent.reset_network("web1")).await?;
    // It says that nobody answers, again and again.
    fs::write(plugins.path().join("mood"), "silent")?;
    cancelled("version", agent.version()).await?;
    cancelled("set_password", agent.set_password("secret")).await?;
    cancelled("update", agent.update("1.0", "2.0", "http://agents/2.0", "0f")).await?;
    let vm = pool.client().by_uuid::<xenapi_types::Vm>(&instance.vm_uuid).await?;
    let data = pool.client().record(&vm).await?.xenstore_data;
    ensure!(!data.contains_key("vm-data/hostname"), "the name is for the next boot: {data:?}");
    Ok(())
}
