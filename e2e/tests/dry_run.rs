//! Every verb tells what it would do, and does nothing: neither through its own decision nor by a call that changes
//! something.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::pool::{EXT, writes};
use e2e::sweep::scene::{self, Scene};
use e2e::sweep::verb::{Step, VERBS, Verb};
use uuid::Uuid;
use xapi_simulator::World;
use xenapi_client::Secret;
use xenapi_driver::disks::{DiskFormat, DiskImport, DiskTarget};
use xenapi_driver::evacuate::EvacuateOptions;
use xenapi_driver::host_boot::ResumeOptions;
use xenapi_driver::image_cache::{CachePolicy, CacheRequest, Eviction};
use xenapi_driver::node::DrainOptions;
use xenapi_driver::pool_move::MoveOptions;
use xenapi_driver::pools::PoolMigrateOptions;
use xenapi_driver::reconcile::ReconcileOptions;
use xenapi_driver::rescue::RescueOptions;
use xenapi_driver::resize::RebuildOptions;
use xenapi_driver::spec::{ImageFormat, Locking, RootImage, SrChoice};
use xenapi_driver::{AgentTimeouts, DiskWork, Driver, Existing, Operation, PowerChange, Progress, Shutdown};
use xenapi_types::{Host, HostMetrics, Vm, vm};

#[tokio::test]
async fn what_the_sweep_does_is_only_told() -> Result<()> {
    let mut faults = Vec::new();
    for verb in VERBS {
        faults.extend(told(verb).await.err().map(|error| format!("{}: {error:#}", verb.name)));
    }
    ensure!(faults.is_empty(), "{faults:#?}");
    Ok(())
}

async fn told(verb: &Verb) -> Result<()> {
    let mut scene = Scene::set(verb).await?;
    scene.pool.driver = scene.pool.driver.rehearsing();
    scene.faults().record();
    let error = verb.act.run(&scene).await.err().context("it was done")?;
    let written = writes(scene.faults().recorded());
    let steps = error.planned().with_context(|| format!("no plan: {error}"))?;
    ensure!(written.is_empty(), "written: {written:?}");
    ensure!(!steps.is_empty() && steps.iter().all(|step| !step.is_empty()), "nothing is told");
    ensure!(!error.to_string().contains("correct-horse"), "a password is told: {error}");
    scene.pool.census().await?.assert_as(&scene.before, verb.name);
    ensure!(!scene.output().exists(), "a file was made");
    Ok(())
}

/// Runs one verb dry; it has to tell a step with this in it.
async fn one<T>(scene: &Scene, wanted: &str, verb: impl FnOnce(&Driver) -> Operation<T>) -> Result<()> {
    scene.faults().record();
    let run = scene.pool.driver.dry_run(verb).await;
    let written = writes(scene.faults().recorded());
    let run = run?;
    ensure!(written.is_empty(), "{run}: written: {written:?}");
    ensure!(run.to_string().contains(wanted), "{run}: nothing of {wanted:?}");
    Ok(())
}

#[tokio::test]
async fn what_the_sweep_does_not_do_is_only_told_too() -> Result<()> {
    let prepare = &[Step::Spawn, Step::AttachVolume, Step::AttachInterface];
    let scene = Scene::set(&Verb { name: "others", prepare, act: Step::LiveMigrate }).await?;
    let (which, none) = (|| scene.which(), Progress::none);
    let (there, _) = scene.elsewhere.context("two hosts")?;
    let nics = scene.pool.driver.interfaces(&which()).await?;
    let nic = nics.first().context("an interface")?.mac.clone();
    let metadata = || BTreeMap::from([("role".to_owned(), Some("web".to_owned()))]);

    // The disks of its instance are on a repository that only its host has.
    let with_disks = || DrainOptions { sr: Some(SrChoice::NameLabel(EXT.into())), ..DrainOptions::default() };
    let extended = one(&scene, "", |d| d.extend_volume(which(), scene::VOLUME, Some(64 << 20), none())).await;
    let refused = extended.err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(refused.contains("detach the volume first"), "a guest that runs has it: {refused:?}");
    one(&scene, "scan", |d| d.extend_volume(which(), scene::VOLUME, None, none())).await?;
    one(&scene, "set interface", |d| d.lock_interface(which(), &*nic, Locking::Disabled, none())).await?;
    one(&scene, "write vm-data/user-metadata/role", |d| d.change_metadata(which(), metadata(), none()))
        .await?;
    one(&scene, "write vm-data/networking/", |d| d.tell_network(which(), BTreeMap::new(), none())).await?;
    one(&scene, "compare it", |d| d.check_config_drive(which(), none())).await?;
    one(&scene, "no new guests", |d| d.set_node_enabled(there, false, none())).await?;
    one(&scene, "nothing to do", |d| d.set_node_enabled(there, true, none())).await?;
    let all = || ResumeOptions { instances: Some(vec![scene.instance]), ..ResumeOptions::default() };
    one(&scene, "have VM", |d| d.resume_guests(scene.home, all())).await?;
    one(&scene, "nothing to do", |d| d.resume_guests(scene.home, ResumeOptions::default())).await?;
    one(&scene, "move VM", |d| d.drain_node(scene.home, with_disks())).await?;
    scene.pool.driver.set_node_enabled(there, false, none()).await?;
    one(&scene, "reboot host", |d| d.reboot_node(there, none())).await?;
    one(&scene, "switch off host", |d| d.shutdown_node(there, none())).await?;
    let request = || CacheRequest::new("image-2", scene.image());
    one(&scene, "fetch image", |d| d.root_image(request(), CachePolicy::default(), true, none())).await?;
    one(&scene, "nothing to do", |d| d.reconcile(ReconcileOptions::default())).await?;
    let import = || DiskImport {
        name: "data".into(),
        image: RootImage::File(scene.image()),
        image_format: ImageFormat::default(),
        virtual_bytes: None,
        sr: SrChoice::default(),
        journal: None,
    };
    one(&scene, "make disk", |d| d.import_disk(import(), none())).await?;
    let disk: Uuid = scene.pool.driver.import_disk(import(), none()).await?.uuid.parse()?;
    let file = scene.files.path().join("never");
    let target = || DiskTarget::File(file.clone(), Existing::Refuse);
    one(&scene, "write disk", |d| d.export_disk(disk, DiskFormat::Raw, target(), none())).await?;
    ensure!(!file.exists(), "it was written");

    let rehearsing = scene.pool.driver.rehearsing();
    let agent = rehearsing.agent(&which(), AgentTimeouts::default()).await?;
    let error = agent.reset_network("web1").await.err().context("an agent that is asked")?;
    ensure!(error.planned().is_some_and(|steps| steps[0].contains("resetnetwork")), "{error}");
    one(&scene, "nothing to do", |d| d.evict_images(Eviction::default(), none())).await?;
    scene.pool.driver.cache_image(request(), none()).await?;
    let all = || Eviction { keep_bytes: Some(0), ..Eviction::default() };
    one(&scene, "remove image", |d| d.evict_images(all(), none())).await?;
    ensure!(scene.pool.driver.cached_images().await?.len() == 1, "it was removed");
    one(&scene, "scan storage repository", |d| d.check_volumes(which(), none())).await?;
    one(&scene, "for key_init", |d| d.set_admin_password(which(), Secret::new("correct-horse"), none()))
        .await?;
    one(&scene, "for inject_file", |d| d.inject_file(which(), "/etc/motd", b"hi".to_vec(), none())).await?;
    one(&scene, "for resetnetwork", |d| d.reset_network(which(), "web1", none())).await?;
    for asked in ["version", "set_password", "update"] {
        let error = match asked {
            "version" => agent.version().await.err(),
            "set_password" => agent.set_password("correct-horse").await.err(),
            _ => agent.update("1.0", "2.0", "http://agents/2.0", "0f").await.err(),
        };
        let error = error.context("an agent that is asked")?;
        ensure!(error.planned().is_some() && !error.to_string().contains("correct-horse"), "{error}");
    }
    // Not as long as the guest has it.
    scene.pool.driver.power(which(), PowerChange::Off(Shutdown::Hard), none()).await?;
    let root = scene.pool.client().all_records::<xenapi_types::Vdi>().await?;
    let root = root.into_values().find(|vdi| vdi.name_label == "web1").context("the root disk")?.uuid;
    let work = || DiskWork::ResizeDown { len_bytes: 8 << 20 };
    // `dom0_disk.rs` has a host with plugins.
    let refused = one(&scene, "", |d| d.work_on_disk(&root, work(), none())).await.err();
    let refused = refused.map(|error| error.to_string()).unwrap_or_default();
    ensure!(refused.contains("its plugins lack resize_down"), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn moves_to_other_pools_and_from_dead_hosts_are_only_told() -> Result<()> {
    let scene = Scene::set(&Verb { name: "move", prepare: &[Step::Spawn], act: Step::LiveMigrate }).await?;
    let other = e2e::pool::Pool::of(World::demo().elsewhere(2)).await?;
    let untouched = || {
        let written = writes(other.simulator.faults().recorded());
        ensure!(written.is_empty(), "the other pool: {written:?}");
        Ok(())
    };
    other.simulator.faults().record();
    let options = PoolMigrateOptions::default;
    one(&scene, "move VM", |d| d.migrate_to_pool(scene.which(), &other.driver, options())).await?;
    let hard = || MoveOptions { shutdown: Shutdown::Hard, ..MoveOptions::default() };
    one(&scene, "until it is confirmed", |d| d.move_to_pool(scene.which(), &other.driver, hard())).await?;
    untouched()?;
    scene.pool.driver.move_to_pool(scene.which(), &other.driver, hard()).await?;
    other.simulator.faults().record();
    one(&scene, "which was moved", |d| d.confirm_move(scene.which(), &other.driver, Progress::none()))
        .await?;
    one(&scene, "was moved to", |d| d.revert_move(scene.which(), &other.driver, Progress::none())).await?;
    untouched()?;
    scene.pool.driver.revert_move(scene.which(), &other.driver, Progress::none()).await?;

    // The host of the instance dies; its disk would have to be where others reach it.
    let client = scene.pool.client();
    let host = client.by_uuid::<Host>(&scene.home.to_string()).await?;
    let metrics = client.record(&host).await?.metrics;
    ensure!(client.record::<HostMetrics>(&metrics).await?.live, "hosts are live");
    let (there, _) = scene.elsewhere.context("two hosts")?;
    let refused = scene.pool.driver.dry_run(|d| d.evacuate(scene.which(), EvacuateOptions::to(there))).await;
    let text = refused.err().context("a live host is left")?.to_string();
    ensure!(text.contains("alive") || text.contains("live"), "{text}");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_is_refused_as_when_it_is_done() -> Result<()> {
    let scene = Scene::set(&Verb { name: "refused", prepare: &[Step::Spawn], act: Step::Destroy }).await?;
    let driver = &scene.pool.driver;
    both(driver, |d| d.unrescue(scene.which(), Progress::none())).await?;
    both(driver, |d| d.confirm_resize(scene.which(), Progress::none())).await?;
    both(driver, |d| d.revert_resize(scene.which(), Progress::none())).await?;
    let path = scene.files.path().join("no-image");
    fs::write(&path, b"QFI\xfb and no more")?;
    for image in [path, scene.files.path().join("not-there")] {
        both(driver, |d| d.rescue(scene.which(), RescueOptions::with(&*image))).await?;
        both(driver, |d| d.rebuild(scene.which(), RebuildOptions::with(&*image))).await?;
    }
    Ok(())
}

/// It fails for the same reason, done or only told of.
async fn both<T>(driver: &Driver, verb: impl Fn(&Driver) -> Operation<T>) -> Result<()> {
    let dry = driver.dry_run(&verb).await.err().context("a plan")?;
    let wet = verb(driver).await.err().context("it was done")?;
    ensure!(dry.to_string() == wet.to_string(), "{dry}, and done: {wet}");
    Ok(())
}

#[tokio::test]
async fn a_rehearsing_driver_cannot_change_anything() -> Result<()> {
    let scene = Scene::set(&Verb { name: "cannot", prepare: &[Step::Spawn], act: Step::Destroy }).await?;
    let client = scene.pool.driver.rehearsing().client().clone();
    scene.faults().record();
    let vm = client.by_name_label::<Vm>("web1").await?;
    let error = client.call(vm::HardShutdown { vm: vm.clone() }).await.err().context("a call")?;
    assert!(error.to_string().contains("only reads"), "{error}");
    client.spawn_task(vm::HardShutdown { vm: vm.clone() }).await.err().context("a task")?;
    client.add_to(&vm, vm::field::OTHER_CONFIG, "key", "value").await.err().context("a key")?;
    let host = client.record(&vm).await?.resident_on;
    let plugin = client.call_plugin(&host, "xenstore.py", "write_record", &BTreeMap::new()).await;
    assert!(plugin.err().context("a plugin")?.to_string().contains("only reads"));
    let disk = client.all_records::<xenapi_types::Vdi>().await?.into_keys().next().context("a disk")?;
    let export = tokio::time::timeout(
        Duration::from_secs(60),
        client.export_vdi(&disk, xenapi_client::ExportFormat::Raw, None),
    );
    export.await?.err().context("a transfer")?;
    let written = writes(scene.faults().recorded());
    assert!(written.is_empty(), "{written:?}");
    Ok(())
}

#[test]
fn no_verb_is_left_out() -> Result<()> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut sources = Vec::new();
    read(&root.join("crates/xenapi-driver/src"), &mut sources)?;
    let mut verbs = BTreeSet::new();
    for source in &sources {
        for part in source.split("    pub fn ").skip(1) {
            let head = part.split('{').next().unwrap_or_default();
            if head.contains("&self") && head.contains("-> Operation<") {
                verbs.insert(head.split(['(', '<']).next().unwrap_or_default().to_owned());
            }
        }
    }
    let here = fs::read_to_string(root.join("e2e/tests/dry_run.rs"))?
        + &fs::read_to_string(root.join("e2e/src/sweep/verb.rs"))?
        + &fs::read_to_string(root.join("e2e/src/sweep/beside.rs"))?
        + &fs::read_to_string(root.join("e2e/tests/membership.rs"))?
        + &fs::read_to_string(root.join("e2e/tests/adopt.rs"))?
        + &fs::read_to_string(root.join("e2e/tests/bridges.rs"))?;
    let missing: Vec<_> = verbs.iter().filter(|verb| !here.contains(&format!(".{verb}("))).collect();
    assert!(verbs.len() > 30 && missing.is_empty(), "{} verbs, never tried dry: {missing:?}", verbs.len());
    Ok(())
}

fn read(folder: &Path, into: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => read(&path, into)?,
            false => into.push(fs::read_to_string(&path)?),
        }
    }
    Ok(())
}
