//! A part of the sweep in every build; `cargo xtask faults` runs all of it.

#![allow(clippy::print_stdout, reason = "the table is what the run is for")]

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::facade::operations;
use e2e::pool;
use e2e::sweep::scene::Scene;
use e2e::sweep::verb::{Step, VERBS, Verb};
use e2e::sweep::{self, Act, Sample, Table};
use e2e::tools;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use xapi_simulator::fault::Fault;
use xenapi_driver::Settings;
use xenapi_types::{Vm, vm};
use xenapi_wire::Failure;

/// One case in so many of each verb. It is no divisor of the number of faults of a call, so that all kinds come up.
const EVERY: usize = 83;

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_faults_leaves_nothing_behind() -> Result<()> {
    let mut table = Table::default();
    // Most of the time is spent on hosts that hang.
    let dom0 = tools::can_be_dom0();
    let verbs: Vec<_> = VERBS.iter().filter(|verb| dom0 || !verb.needs_dom0()).collect();
    // What works on real file systems takes seconds each time.
    let every = |verb: &Verb| if verb.needs_dom0() { 7 * EVERY } else { EVERY };
    let sample = |verb: &Verb, first| Sample { every: every(verb), first, ..Sample::all(4) };
    let runs: Vec<_> = verbs
        .iter()
        .enumerate()
        .map(|(first, verb)| (verb, tokio::spawn(sweep::run(verb, sample(verb, first)))))
        .collect();
    for (verb, run) in runs {
        table.0.push((verb.name, run.await??));
    }
    println!("{table}");
    ensure!(table.is_clean(), "\n{table}");
    ensure!(table.0.iter().all(|(_, row)| row.faults + row.missed > 0), "a verb was not tried\n{table}");
    Ok(())
}

/// The verbs without a row, and why.
const NOT_SWEPT: &[(&str, &str)] = &[
    ("move_to_pool", "e2e/tests/pool_move.rs refuses each of its calls, and kills it at each of its stages"),
    ("confirm_move", "e2e/tests/pool_move.rs breaks it off, and kills it"),
    ("revert_move", "e2e/tests/pool_move.rs does it after each failure of a move"),
    ("root_image", "cache_image, which it is made of, has a row"),
    ("check_volumes", "it looks, and reads the sizes of disks anew"),
    ("check_config_drive", "it only reads"),
    ("tell_network", "it is change_metadata's way, with other keys"),
    ("work_on_disk", "what is done to the disk is the caller's"),
    ("join_pool", "a pool has to be made anew for each case"),
    ("eject_node", "a pool has to be made anew for each case"),
    ("reboot_node", "a single call after those of drain_node"),
    ("shutdown_node", "a single call after those of drain_node"),
    ("set_admin_password", "the guest's agent answers it, and not XAPI"),
    ("inject_file", "as set_admin_password"),
    ("reset_network", "as set_admin_password"),
    ("version", "as set_admin_password"),
    ("set_password", "as set_admin_password"),
    ("update", "as set_admin_password"),
];

#[test]
fn no_verb_is_left_out_without_a_reason() -> Result<()> {
    let all = operations()?;
    let swept: BTreeSet<&str> = VERBS.iter().filter_map(|verb| verb.act.method()).collect();
    for verb in &all {
        let reasons = NOT_SWEPT.iter().filter(|(left_out, _)| left_out == verb).count();
        ensure!(
            reasons == usize::from(!swept.contains(&**verb)),
            "{verb}: {reasons} reasons to leave it out"
        );
    }
    let known = swept.into_iter().chain(NOT_SWEPT.iter().map(|(verb, _)| *verb));
    let unknown: Vec<_> = known.filter(|verb| !all.contains(*verb)).collect();
    ensure!(all.len() > 40 && unknown.is_empty(), "of {}, there are no such verbs: {unknown:?}", all.len());
    Ok(())
}

/// How many scenes there are at a time where the oracle is tried.
const JOBS: usize = 6;

/// A verb of each kind; `--ignored` takes all of them.
const KINDS: &[&str] = &[
    "spawn",
    "destroy",
    "snapshot",
    "reboot",
    "soft-delete",
    "resize",
    "detach-volume",
    "rebuild",
    "live-migrate",
    "make-network",
    "import-disk",
];

/// Verbs that end where they began, so that nobody can tell whether they have done anything: rebuilding is from the image
/// that the instance was made of.
const UNSEEN: &[&str] = &["reboot", "rebuild"];

#[tokio::test(flavor = "multi_thread")]
async fn a_verb_that_says_it_has_done_what_it_has_not_is_noticed() -> Result<()> {
    let kinds: Vec<_> = VERBS.iter().filter(|verb| KINDS.contains(&verb.name)).collect();
    ensure!(kinds.len() == KINDS.len(), "verbs are called otherwise");
    nothing_is_noticed(kinds).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "every verb takes minutes, a verb of each kind is tried in every build: cargo test -p e2e --test sweep -- --ignored"]
async fn no_verb_can_say_it_has_done_what_it_has_not() -> Result<()> {
    nothing_is_noticed(VERBS.iter().filter(|verb| !verb.needs_dom0()).collect()).await
}

async fn nothing_is_noticed(verbs: Vec<&'static Verb>) -> Result<()> {
    let (mut running, turns) = (JoinSet::new(), Arc::new(Semaphore::new(JOBS)));
    for verb in verbs {
        let turns = Arc::clone(&turns);
        running.spawn(async move {
            let _turn = turns.acquire().await?;
            let (is_seen, found) = sweep::instead(verb, |_| Box::pin(async { Ok(()) })).await?;
            anyhow::Ok((verb.name, is_seen, found))
        });
    }
    let mut unseen = Vec::new();
    while let Some(done) = running.join_next().await {
        let (name, is_seen, found) = done??;
        ensure!(is_seen != found.is_empty(), "{name}: {is_seen}, {found:?}");
        unseen.extend(found.is_empty().then_some(name));
    }
    unseen.sort_unstable();
    ensure!(unseen == UNSEEN, "{unseen:?} end where they begin");
    Ok(())
}

/// What a verb may do wrong beside what it is asked for, and what the oracle says then.
const MUTANTS: &[(&str, Act, &str)] = &[
    ("right", |scene| Box::pin(attach(scene)), ""),
    ("leaves a disk", |scene| Box::pin(leave_disk(scene)), "+VDI"),
    ("leaves a session", |scene| Box::pin(leave_session(scene)), "sessions"),
    ("leaves a file", |scene| Box::pin(leave_file(scene)), "+file out.vhd"),
    ("leaves a key", |scene| Box::pin(leave_key(scene)), "xenapi-rs:left=1"),
    ("leaves a key, and fails", |scene| Box::pin(fail_with_key(scene)), "xenapi-rs:left=1"),
    ("does it, and fails", |scene| Box::pin(fail_when_done(scene)), "+VIF"),
    (
        "changes a byte of somebody else's",
        |scene| Box::pin(change_theirs(scene)),
        "somebody else's instance was changed",
    ),
    ("changes a byte of its instance's", |scene| Box::pin(change_ours(scene)), "+disk "),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_verb_that_does_harm_is_noticed() -> Result<()> {
    let verb = VERBS.iter().find(|verb| verb.act == Step::AttachInterface).context("a verb")?;
    let (mut running, turns) = (JoinSet::new(), Arc::new(Semaphore::new(JOBS)));
    for (name, act, said) in MUTANTS {
        let turns = Arc::clone(&turns);
        running.spawn(async move {
            let _turn = turns.acquire().await?;
            anyhow::Ok((name, said, sweep::instead(verb, *act).await?.1))
        });
    }
    while let Some(done) = running.join_next().await {
        let (name, said, found) = done??;
        match said.is_empty() {
            true => ensure!(found.is_empty(), "{name}: {found:?}"),
            false => ensure!(found.iter().any(|what| what.contains(said)), "{name}: {found:?}"),
        }
    }
    Ok(())
}

type Done = xenapi_driver::Result<()>;

async fn attach(scene: &Scene) -> Done {
    Step::AttachInterface.run(scene).await
}

async fn leave_disk(scene: &Scene) -> Done {
    attach(scene).await?;
    let client = scene.pool.client();
    let pools = client.all_records::<xenapi_types::Pool>().await.expect("they can be read");
    let sr = pools.into_values().next().expect("a pool").default_sr;
    client.call(pool::foreign_disk("left", sr)).await.expect("a disk can be made");
    Ok(())
}

async fn leave_session(scene: &Scene) -> Done {
    attach(scene).await?;
    let other = scene.pool.driver_with(Settings::default()).expect("a driver");
    other.client().login().await.expect("it may log in");
    // One that is dropped logs out.
    std::mem::forget(other);
    Ok(())
}

async fn leave_file(scene: &Scene) -> Done {
    attach(scene).await?;
    std::fs::write(scene.output(), "half of it").expect("it can be written");
    Ok(())
}

async fn leave_key(scene: &Scene) -> Done {
    attach(scene).await?;
    note(scene).await;
    Ok(())
}

async fn note(scene: &Scene) {
    let client = scene.pool.client();
    let vm = client.by_name_label::<Vm>("web1").await.expect("the instance");
    client.add_to(&vm, vm::field::OTHER_CONFIG, "xenapi-rs:left", "1").await.expect("it can be noted");
}

async fn fail_with_key(scene: &Scene) -> Done {
    scene
        .faults()
        .on_every("VIF.create", Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"])));
    let failed = attach(scene).await;
    scene.faults().clear();
    note(scene).await;
    failed
}

/// The second time it is there already.
async fn fail_when_done(scene: &Scene) -> Done {
    attach(scene).await?;
    attach(scene).await
}

async fn change_theirs(scene: &Scene) -> Done {
    attach(scene).await?;
    let uuid = scene.foreign_disk().await.expect("it has a disk");
    change(scene, |path| path.contains(&uuid)).await;
    Ok(())
}

async fn change_ours(scene: &Scene) -> Done {
    attach(scene).await?;
    let (before, bare) = (&scene.before.disk_files, &scene.bare.disk_files);
    change(scene, |path| before.contains(path) && !bare.contains(path)).await;
    Ok(())
}

/// Changes a byte in the files of disks, behind the back of XAPI.
async fn change(scene: &Scene, of: impl Fn(&String) -> bool) {
    let files = scene.pool.census().await.expect("it can be counted").disk_files;
    for path in files.iter().filter(|path| of(path)) {
        let file = OpenOptions::new().read(true).write(true).open(path).expect("it can be written");
        let mut byte = [0];
        // What is smaller says what is where.
        if file.metadata().expect("it is there").len() >= 4 << 20 {
            file.read_exact_at(&mut byte, 5000).expect("it is long enough");
            file.write_all_at(&[byte[0] ^ 1], 5000).expect("it can be written");
        }
    }
}
