//! Whether what is there is what the outcome says.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use xapi_simulator::fault::Fault;
use xenapi_driver::image_cache::Eviction;
use xenapi_driver::reconcile::ReconcileOptions;
use xenapi_driver::{Error, Progress};
use xenapi_types::{Host, Sr, Vdi, Vm, VmPowerState, sr};

use crate::pool::{Census, Pool};
use crate::sweep::beside;
use crate::sweep::mischief::Mischief;
use crate::sweep::portrait::Portrait;
use crate::sweep::scene::{self, Scene, THERE};
use crate::sweep::site::DISK_NOTE;
use crate::sweep::verb::{self, Step, Verb};

/// What is wrong.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) leaks: Vec<String>,
    pub(crate) wrong: Vec<String>,
    /// What the driver put in order in the end.
    pub(crate) reconciled: usize,
}

/// Looks at everything. The faults are over.
pub(super) async fn judge(
    scene: &Scene,
    verb: &Verb,
    mischief: &Mischief,
    outcome: &Result<(), Error>,
) -> Result<Found> {
    let mut found = Found::default();
    if let Err(error) = outcome {
        let text = error.to_string();
        if text.contains('\n') || text.len() < 20 {
            found.wrong.push(format!("not a sentence: {text:?}"));
        }
        found.leaks.extend(error.leftovers().iter().map(|left| format!("said to be left: {left}")));
    }
    forgotten_tasks(scene, mischief).await?;
    let now = scene.pool.census().await?;
    found.leaks.extend(now.tasks.iter().map(|task| format!("task {task}")));
    portrayed(scene, verb, mischief, outcome, &mut found).await?;
    by_verb(scene, verb, outcome, now, &mut found).await?;
    removed(scene, verb, &mut found).await?;
    quiet_dom0(scene, mischief, &mut found).await?;
    let sessions = scene.pool.simulator.count_of_sessions();
    // One each for the driver and for who looks; XAPI itself collects one that was told to nobody, or whose end was
    // refused.
    let begins = mischief.target.starts_with("session.") || mischief.target == "host.migrate_receive";
    let lost = usize::from(begins && mischief.loses_the_answer() || mischief.target == "session.logout");
    if sessions > 2 + lost {
        found.leaks.push(format!("{sessions} sessions"));
    }
    if let Some((there, _)) = &scene.there {
        let sessions = there.simulator.count_of_sessions();
        let lost = usize::from(mischief.target.starts_with(THERE));
        if sessions > 2 + lost {
            found.leaks.push(format!("{sessions} sessions in the other pool"));
        }
    }
    Ok(found)
}

/// Everything is as after a run without a fault, or as before it where the verb failed. What may be in between is what
/// `Driver::reconcile` puts in order, and then it is the one or the other: anything where a verb failed, and a promise of
/// memory where one succeeded. Where a verb failed, half of the cases leave that to the verb itself, which is repeated.
async fn portrayed(
    scene: &Scene,
    verb: &Verb,
    mischief: &Mischief,
    outcome: &Result<(), Error>,
    found: &mut Found,
) -> Result<()> {
    let Some(expected) = &scene.expected else { return Ok(()) };
    let tells = matches!(
        verb.act,
        Step::Drain | Step::Reconcile | Step::Backup | Step::Increment | Step::ResumeGuests
    );
    if tells && scene.leftovers() > 0 {
        // It tells what is left: it is done once more, or that is counted.
        return Ok(());
    }
    let differences = async || {
        let now = Portrait::of(scene).await?;
        let mut before = now.against(&expected.before);
        // Images that were complete before one failed stay.
        before.retain(|line| {
            verb.act != Step::UploadAll || !(line.starts_with("+file ") && line.ends_with(", whole"))
        });
        anyhow::Ok((before, now.against(&expected.after)))
    };
    let (mut before, mut after) = differences().await?;
    let fits =
        |before: &[String], after: &[String]| after.is_empty() || outcome.is_err() && before.is_empty();
    // Whoever promised memory to a guest on a host takes that back, or it expires; so does the key of a fetch.
    let is_promise = |line: &String| {
        line.contains("host ") && line.contains("enabled: ") || line[1..].starts_with("repository ")
    };
    let may_be_between = match outcome {
        Ok(()) => after.iter().all(is_promise),
        Err(_) if mischief.k % 2 == 1 && repeats(verb) => return Ok(()),
        Err(_) => true,
    };
    if !fits(&before, &after) && may_be_between {
        found.reconciled += reconcile(scene).await?;
        (before, after) = differences().await?;
    }
    let is_other_end = match &expected.failed {
        Some(failed) if outcome.is_err() => Portrait::of(scene).await?.against(failed).is_empty(),
        _ => false,
    };
    if !fits(&before, &after) && !is_other_end {
        found.wrong.push(match outcome {
            Ok(()) => format!("it succeeded, and differs from a run without a fault: {after:#?}"),
            Err(error) => {
                format!("it failed ({error}), and is neither as before {before:#?} nor as after {after:#?}")
            }
        });
    }
    Ok(())
}

/// Whether a verb that failed is done once more.
fn repeats(verb: &Verb) -> bool {
    matches!(
        &verb.act,
        Step::Power(..)
            | Step::SoftDelete
            | Step::Restore
            | Step::Reconcile
            | Step::ConfirmResize
            | Step::RevertResize
            | Step::Unrescue
            | Step::UnplugPort
            | Step::DetachVolume
            | Step::DetachInterface
            | Step::DetachPort
            | Step::RemoveNetwork
            | Step::Adopt
            | Step::Drain
            | Step::Rebuild
            | Step::LiveMigrate
            | Step::ResumeGuests
            | Step::EvictImages
    )
}

/// Puts all pools in order, and says how much there was to do.
async fn reconcile(scene: &Scene) -> Result<usize> {
    let options = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
    let mut done = 0;
    for pool in [&scene.pool].into_iter().chain(scene.there.as_ref().map(|(there, _)| there)) {
        done += pool.driver.reconcile(options.clone()).await.context("reconciling")?.done.len();
    }
    Ok(done)
}

/// Everything is as after a run without a fault, or as before it.
async fn as_expected(scene: &Scene, when: &str, after: bool, found: &mut Found) -> Result<()> {
    let Some(expected) = &scene.expected else { return Ok(()) };
    let expected = if after { &expected.after } else { &expected.before };
    let differs = Portrait::of(scene).await?.against(expected);
    if !differs.is_empty() {
        found.wrong.push(format!("{when}: {differs:#?}"));
    }
    Ok(())
}

/// What is in dom0 is what was there before: no file, folder, mount, loop device or lock, and nothing runs any more.
///
/// Where the toolstack's processes are killed, what a plugin last told of its job stays, some bytes in memory.
async fn quiet_dom0(scene: &Scene, mischief: &Mischief, found: &mut Found) -> Result<()> {
    let kills = matches!(mischief.fault, Fault::OtherMaster | Fault::Restart | Fault::RestartAfter);
    let left = left_in_dom0(scene).await?.into_iter().filter(|what| !(kills && is_last_word(what)));
    found.leaks.extend(left.map(|left| format!("in dom0: {left}")));
    Ok(())
}

/// What a plugin last told of its job: who was to hear it removes it.
pub(crate) fn is_last_word(what: &str) -> bool {
    what.contains("/run/xapi-plugins/") && what.ends_with(".json")
}

/// What is in dom0 that was not there before, once no program runs there any more, or after ten seconds.
pub(crate) async fn left_in_dom0(scene: &Scene) -> Result<Vec<String>> {
    for _ in 0..400 {
        let now = scene.dom0()?;
        let left: Vec<_> = now.difference(&scene.bare_dom0).cloned().collect();
        // A call that nobody waits for any more may still end by itself.
        if !left.iter().any(|what| what.starts_with("program")) {
            return Ok(left);
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Ok(scene.dom0()?.difference(&scene.bare_dom0).cloned().collect())
}

/// What the outcome of the verb says.
async fn by_verb(
    scene: &Scene,
    verb: &Verb,
    outcome: &Result<(), Error>,
    now: Census,
    found: &mut Found,
) -> Result<()> {
    match &verb.act {
        Step::Spawn
        | Step::SpawnOnLvm
        | Step::SpawnOnShared
        | Step::SpawnSetUp
        | Step::SpawnViaDom0
        | Step::SpawnFromDisc
        | Step::SpawnFromVolume => match outcome {
            Err(_) => found.leaks.extend(changes(verb, &now, &scene.bare)),
            Ok(()) => state(scene, &[VmPowerState::Running], found).await?,
        },
        Step::Destroy => {
            if outcome.is_ok() {
                found.leaks.extend(changes(verb, &now, &scene.bare));
            }
        }
        Step::SpawnCached(_) => match outcome {
            Err(_) => found.leaks.extend(visible_changes(scene, verb, now).await?),
            Ok(()) => state(scene, &[VmPowerState::Running], found).await?,
        },
        Step::CacheImage => image_cached(scene, verb, outcome, &now, found).await?,
        Step::Backup | Step::Increment => backed_up(scene, verb, outcome, found).await?,
        Step::Snapshot | Step::Upload | Step::UploadAll => {
            files(scene, verb, outcome, found)?;
            found.leaks.extend(visible_changes(scene, verb, now).await?);
        }
        Step::Power(_, end) => powered(scene, verb, outcome, end, found).await?,
        Step::SoftDelete | Step::Restore => again(scene, verb, found).await?,
        Step::Reconcile => {
            // What could not be put in order is at the next time.
            if outcome.is_err() || scene.leftovers() > 0 {
                again(scene, verb, found).await?;
            }
        }
        Step::MoveToPool => moved(scene, verb, outcome, found).await?,
        Step::Evacuate => evacuated(scene, verb, outcome, found).await?,
        Step::Resize | Step::Shrink | Step::MoveCold | Step::Rescue | Step::Rebuild | Step::LiveMigrate => {
            changed(scene, verb, outcome, found).await?;
            if verb.act == Step::LiveMigrate && verb.prepare.contains(&Step::SpawnOnBridge) {
                beside::bridged_elsewhere(scene, found)?;
            }
        }
        Step::SwapVolume => swapped(scene, outcome, found).await?,
        Step::ConfirmResize | Step::RevertResize | Step::Unrescue => {
            if outcome.is_err() {
                // What failed is finished, unless only its answer was lost.
                finish(scene, verb, found).await?;
            }
            state(scene, &[VmPowerState::Running], found).await?;
        }
        Step::AttachVolume | Step::AttachInterface | Step::EnsureNetwork => {
            added(scene, verb, outcome, &now, found).await?;
        }
        Step::AttachPort => {
            added(scene, verb, outcome, &now, found).await?;
            beside::expect_files(scene, 0, found)?;
        }
        Step::ImportDisk => beside::disk_imported(scene, verb, outcome, found).await?,
        Step::ExportDisk => beside::disk_exported(scene, verb, outcome, found).await?,
        Step::SpawnOnBridge | Step::PlugPort | Step::UnplugPort => {
            beside::bridged(scene, verb, outcome, found).await?;
        }
        Step::DisableNode => added(scene, verb, outcome, &now, found).await?,
        // Each sets what is there to what it is to be, whatever it was.
        Step::ExtendVolume
        | Step::ResumeGuests
        | Step::LockInterface
        | Step::ChangeMetadata
        | Step::EvictImages
        | Step::EnableNode => again(scene, verb, found).await?,
        Step::Drain => beside::drained(scene, verb, outcome, found).await?,
        Step::Adopt => beside::adopted(scene, verb, outcome, found).await?,
        Step::LoseHost | Step::LeaveSpawn | Step::MakeTheirs | Step::SpawnForPort => {
            unreachable!("they prepare")
        }
        // What failed may be finished, or has been done.
        Step::DetachVolume | Step::DetachInterface | Step::DetachPort | Step::RemoveNetwork => {
            if outcome.is_err() {
                finish(scene, verb, found).await?;
            }
            if verb.act == Step::DetachPort {
                beside::expect_files(scene, 0, found)?;
            }
        }
    }
    Ok(())
}

/// The file and the snapshot that the next backup is based on are there, or what was before.
async fn backed_up(scene: &Scene, verb: &Verb, outcome: &Result<(), Error>, found: &mut Found) -> Result<()> {
    files(scene, verb, outcome, found)?;
    // An increment's snapshot stands in for that of the full one.
    let had = usize::from(verb.act == Step::Increment);
    let left = scene.leftovers();
    let disks = scene.pool.client().all_records::<Vdi>().await?;
    let kept = disks.values().filter(|vdi| vdi.is_a_snapshot).count();
    if kept != if outcome.is_ok() { 1 + left } else { had } {
        found.leaks.push(format!("{kept} snapshots, {left} said to be left"));
    }
    Ok(())
}

/// It runs, and there is as much as before: taken back where that can be, else done once more.
async fn changed(scene: &Scene, verb: &Verb, outcome: &Result<(), Error>, found: &mut Found) -> Result<()> {
    state(scene, &[VmPowerState::Running], found).await?;
    match (outcome, verb.act.inverse()) {
        (Ok(()), Some(inverse)) => match inverse.run(scene).await {
            Ok(()) => as_expected(scene, "taken back", false, found).await?,
            Err(error) => found.wrong.push(format!("cannot be taken back: {error}")),
        },
        // Its last part may have been what failed: then it is done by the next one.
        (Err(_), None) => again(scene, verb, found).await?,
        _ => {}
    }
    // Drives are made anew when it is taken back, so that their references differ.
    let back = visible(scene, scene.pool.census().await?).await?;
    let before = visible(scene, scene.before.clone()).await?;
    for (class, objects) in &back.objects {
        let there = before.objects.get(class).map_or(0, BTreeSet::len);
        if objects.len() != there {
            found.leaks.push(format!("{} objects of class {class} instead of {there}", objects.len()));
        }
    }
    state(scene, &[VmPowerState::Running], found).await?;
    Ok(())
}

/// One of the two volumes is attached: the one that the outcome says.
async fn swapped(scene: &Scene, outcome: &Result<(), Error>, found: &mut Found) -> Result<()> {
    state(scene, &[VmPowerState::Running], found).await?;
    let volumes = scene.pool.driver.volumes(&scene.which()).await.context("listing volumes")?;
    let wanted = if outcome.is_ok() { "vol-2" } else { scene::VOLUME };
    if !matches!(&volumes[..], [only] if only.plugged && only.device == "4" && only.id == wanted) {
        found.wrong.push(format!("{volumes:?} instead of {wanted}"));
    }
    Ok(())
}

/// What was added can be removed again, and what was not has left nothing.
async fn added(
    scene: &Scene,
    verb: &Verb,
    outcome: &Result<(), Error>,
    now: &Census,
    found: &mut Found,
) -> Result<()> {
    if outcome.is_err() {
        found.leaks.extend(changes(verb, now, &scene.before));
    } else if let Some(inverse) = verb.act.inverse() {
        match inverse.run(scene).await {
            Ok(()) => as_expected(scene, "taken back", false, found).await?,
            Err(error) => found.wrong.push(format!("cannot be taken back: {error}")),
        }
        let back = scene.pool.census().await?;
        found.leaks.extend(changes(verb, &back, &scene.before));
    }
    Ok(())
}

/// The image is in the cache, or nothing of it is anywhere.
async fn image_cached(
    scene: &Scene,
    verb: &Verb,
    outcome: &Result<(), Error>,
    now: &Census,
    found: &mut Found,
) -> Result<()> {
    if outcome.is_err() {
        found.leaks.extend(changes(verb, now, &scene.bare));
    }
    let images = scene.pool.driver.cached_images().await?.len();
    if images != usize::from(outcome.is_ok()) {
        found.wrong.push(format!("{images} images in the cache"));
    }
    Ok(())
}

/// It is in the state that was wanted, or on the way; the verb can be repeated.
async fn powered(
    scene: &Scene,
    verb: &Verb,
    outcome: &Result<(), Error>,
    end: &VmPowerState,
    found: &mut Found,
) -> Result<()> {
    let begin = scene_begin(verb);
    let fitting =
        if outcome.is_ok() { vec![end.clone()] } else { vec![begin, end.clone(), VmPowerState::Halted] };
    state(scene, &fitting, found).await?;
    again(scene, verb, found).await?;
    state(scene, std::slice::from_ref(end), found).await?;
    Ok(())
}

/// Whatever became of the verb: all can be removed, and nothing is left.
pub(crate) async fn removed(scene: &Scene, verb: &Verb, found: &mut Found) -> Result<()> {
    // Whatever became of it, an instance can be removed, with everything that belongs to it.
    let has_instance = !matches!(
        verb.act,
        Step::EnsureNetwork
            | Step::RemoveNetwork
            | Step::CacheImage
            | Step::EvictImages
            | Step::DisableNode
            | Step::EnableNode
            | Step::Reconcile
            | Step::ImportDisk
            | Step::ExportDisk
    );
    if has_instance && let Err(error) = scene.pool.driver.destroy(scene.which(), Progress::none()).await {
        found.wrong.push(format!("cannot be destroyed afterwards: {error}"));
    }
    beside::expect_files(scene, 0, found)?;
    if let Err(error) = scene.look_at_the_foreign_instance().await {
        found.wrong.push(format!("{error:#}"));
    }
    // Looking through the SRs changes what is known of everybody's disks.
    if verb.act == Step::CacheImage || verb.prepare.contains(&Step::CacheImage) {
        let all = Eviction { keep_bytes: Some(0), ..Eviction::default() };
        let srs = scene.pool.client().all::<Sr>().await?;
        for sr in srs {
            // What is no file or volume cannot be looked through.
            let _ = scene.pool.client().call(sr::Scan { sr }).await;
        }
        if let Err(error) = scene.pool.driver.evict_images(all, Progress::none()).await {
            found.wrong.push(format!("the image cannot be evicted: {error}"));
        }
    }
    let mut end = scene.pool.census().await?;
    let has_volume = verb.prepare.contains(&Step::AttachVolume) || verb.act == Step::SpawnFromVolume;
    if has_volume && !changes(verb, &end, &scene.bare).is_empty() {
        // The instance is gone, and nothing but the owner's keys leads to its repository.
        let options = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
        let done = scene.pool.driver.reconcile(options).await.context("reconciling")?;
        found.reconciled = done.done.len();
        end = scene.pool.census().await?;
    }
    found
        .leaks
        .extend(changes(verb, &end, &scene.bare).into_iter().map(|left| format!("after destroy: {left}")));
    Ok(())
}

/// Only where an answer was lost.
async fn forgotten_tasks(scene: &Scene, mischief: &Mischief) -> Result<()> {
    if !mischief.loses_the_answer() && !matches!(mischief.target.as_str(), "task.destroy" | "task.get_record")
    {
        return Ok(());
    }
    if mischief.target == "task.destroy" {
        scene.pool.remove_transfer_tasks().await?;
    }
    scene.pool.remove_forgotten_tasks().await
}

/// Tasks are counted on their own. The file of a LUN is its target's, not the pool's.
pub(super) fn changes(verb: &Verb, now: &Census, before: &Census) -> Vec<String> {
    let lun = matches!(verb.act, Step::AttachVolume | Step::SpawnFromVolume)
        || verb.prepare.contains(&Step::AttachVolume);
    let counts = |change: &String| !(change.contains("task ") || lun && change.contains("/disks/"));
    now.changes_since(before).into_iter().filter(counts).collect()
}

/// As [`changes`], of what is [visible] since before the verb.
async fn visible_changes(scene: &Scene, verb: &Verb, now: Census) -> Result<Vec<String>> {
    let before = visible(scene, scene.before.clone()).await?;
    Ok(changes(verb, &visible(scene, now).await?, &before))
}

/// Without what XAPI keeps of a snapshot that is gone until it coalesces.
pub(crate) async fn visible(scene: &Scene, mut census: Census) -> Result<Census> {
    let vdis = scene.pool.client().all_records::<Vdi>().await?;
    let hidden: BTreeSet<String> =
        vdis.iter().filter(|(_, vdi)| !vdi.managed).map(|(vdi, _)| vdi.to_string()).collect();
    if let Some(all) = census.objects.get_mut("VDI") {
        all.retain(|vdi| !hidden.contains(vdi));
    }
    census.disk_files.clear();
    Ok(census)
}

/// The files that are there, and that should be.
pub(super) fn files(
    scene: &Scene,
    verb: &Verb,
    outcome: &Result<(), Error>,
    found: &mut Found,
) -> Result<()> {
    let mut left: Vec<_> = fs::read_dir(scene.files.path())?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    left.retain(|name| name != "image.raw" && name != DISK_NOTE);
    left.sort();
    let (made, before): (&[&str], &[&str]) = match verb.act {
        Step::Backup => (&[verb::FULL], &[]),
        Step::Increment => (&[verb::FULL, "out.vhd"], &[verb::FULL]),
        Step::UploadAll => (&["out.cd", "out.vhd"], &[]),
        _ => (&["out.vhd"], &[]),
    };
    match outcome {
        Ok(()) if left == made => {
            if verb.act != Step::Upload
                && !verb::is_whole_vhd(&scene.files.path().join(made[made.len() - 1]))?
            {
                found.wrong.push("the file is not whole".into());
            }
        }
        Err(_) if left == before => {}
        // Images that were complete before one failed stay.
        Err(_) if verb.act == Step::UploadAll && left.iter().all(|name| made.contains(&&**name)) => {}
        _ => found.leaks.push(format!("files {left:?} after {outcome:?}")),
    }
    Ok(())
}

/// The state from which the verb begins.
fn scene_begin(verb: &Verb) -> VmPowerState {
    match verb.prepare.last() {
        Some(Step::Power(_, end)) => end.clone(),
        _ => VmPowerState::Running,
    }
}

pub(super) async fn state(scene: &Scene, fitting: &[VmPowerState], found: &mut Found) -> Result<()> {
    let instances = scene.pool.driver.instances().await.context("listing instances")?;
    let ours: Vec<_> = instances.iter().filter(|info| info.uuid == scene.instance).collect();
    match ours[..] {
        [info] if fitting.contains(&info.power_state) => {}
        [info] => found.wrong.push(format!("it is {}, not {fitting:?}", info.power_state)),
        _ => found.wrong.push(format!("{} instances instead of one", ours.len())),
    }
    Ok(())
}

/// It runs on the other host; where that failed, it is where it was, or off as it was before, and can be brought up there.
async fn evacuated(scene: &Scene, verb: &Verb, outcome: &Result<(), Error>, found: &mut Found) -> Result<()> {
    let (node, _) = scene.elsewhere.context("another host")?;
    let client = scene.pool.client();
    let vm = async || {
        let instances = scene.pool.driver.instances().await.context("listing instances")?;
        let ours = instances.iter().find(|info| info.uuid == scene.instance).context("the instance")?;
        anyhow::Ok(client.record(&client.by_uuid::<Vm>(&ours.vm_uuid).await?).await?)
    };
    let there = async || {
        let host = client.record_opt::<Host>(&vm().await?.resident_on).await?;
        anyhow::Ok(host.is_some_and(|host| host.uuid == node.to_string()))
    };
    if outcome.is_err() {
        let record = vm().await?;
        state(scene, &[VmPowerState::Running, VmPowerState::Halted], found).await?;
        // The pool had been told that it is off, as it was; nothing else is other than before.
        let prefers = client.record_opt::<Host>(&record.affinity).await?.map(|host| host.uuid);
        let is_off = record.power_state == VmPowerState::Halted;
        if is_off && scene.leftovers() == 0 && prefers != Some(scene.home.to_string()) {
            found.wrong.push(format!("it is off, and prefers host {prefers:?}"));
        }
    }
    // One that failed may have done it.
    if outcome.is_err() && !there().await? {
        again(scene, verb, found).await?;
    }
    if !there().await? {
        found.wrong.push("it is not on the other host".into());
    }
    state(scene, &[VmPowerState::Running], found).await
}

/// It runs in the other pool, with nothing here; where that failed, it is where it was, or there, and can go on from either.
async fn moved(scene: &Scene, verb: &Verb, outcome: &Result<(), Error>, found: &mut Found) -> Result<()> {
    let (there, bare) = scene.there.as_ref().context("another pool")?;
    let has = async |pool: &Pool| {
        let instances = pool.driver.instances().await.context("listing instances")?;
        anyhow::Ok(instances.iter().any(|info| info.uuid == scene.instance))
    };
    match (outcome, has(&scene.pool).await?, has(there).await?) {
        (Ok(()), false, true) => {}
        (Err(_), true, false) => {
            let left = changes(verb, &there.census().await?, bare);
            found.leaks.extend(left.into_iter().map(|left| format!("in the other pool: {left}")));
            again(scene, verb, found).await?;
        }
        (Err(_), false, true) => {
            let options = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
            found.reconciled = there.driver.reconcile(options).await.context("reconciling there")?.done.len();
        }
        (_, here, there) => found.wrong.push(format!("here: {here}, there: {there}, after {outcome:?}")),
    }
    if let Err(error) = there.driver.destroy(scene.which(), Progress::none()).await {
        found.wrong.push(format!("cannot be destroyed in the other pool: {error}"));
    }
    let left = changes(verb, &there.census().await?, bare);
    found.leaks.extend(left.into_iter().map(|left| format!("in the other pool after destroy: {left}")));
    Ok(())
}

/// Without a fault, the verb can be repeated, and then everything is as after it.
pub(super) async fn again(scene: &Scene, verb: &Verb, found: &mut Found) -> Result<()> {
    if let Err(error) = verb.act.run(scene).await {
        found.wrong.push(format!("cannot be repeated: {error}"));
        return Ok(());
    }
    as_expected(scene, "done once more", true, found).await
}

/// What may have failed at its very end is done once more: that fails when it was complete already.
async fn finish(scene: &Scene, verb: &Verb, found: &mut Found) -> Result<()> {
    let finished = verb.act.run(scene).await;
    if finished.is_err() && verb.act == Step::DetachVolume {
        // XAPI removes a drive whose disk it has forgotten, and then only the owner's keys lead to the password.
        found.reconciled += reconcile(scene).await?;
    }
    as_expected(scene, "finished", true, found).await
}
