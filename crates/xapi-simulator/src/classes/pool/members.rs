//! Hosts that join a pool and leave it.
//!
//! Two simulators that [have met](crate::Simulator::meet) are two pools on one network: the host of the one can join
//! the other. From then on it answers as a member of that pool, until it is ejected: then it is a pool of its own
//! again, without guests and disks. Hosts that were there from the beginning are just gone when they are ejected.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use xenapi_wire::{Failure, Value};

use super::super::session;
use crate::core::{Core, Membership};
use crate::db::{NULL, Tx, View};
use crate::dispatch::{Args, Ctx, Router, internal_error, void};
use crate::storage::Sr;

/// How long after the answer the server of a host that changes its pool ends.
const RESTART_AFTER: Duration = Duration::from_millis(200);
/// What every pool has of its own.
const POOLS_OWN: &[&str] = &["pool", "role", "subject", "SM", "message", "event", "user"];

pub(super) fn register(router: &mut Router) {
    router.future("pool.join", |ctx, args| join(ctx, args, false));
    router.future("pool.join_force", |ctx, args| join(ctx, args, true));
    router.future("pool.eject", |ctx, args| async move {
        let host = args.str(0).to_owned();
        ctx.read(|view| assert_can_leave(view, &host))?;
        let leaving = ctx.clone();
        let left = tokio::task::spawn_blocking(move || leave(&leaving.core, &host)).await;
        left.unwrap_or_else(|e| Err(internal_error(&e.to_string())))?;
        Ok(void())
    });
}

async fn join(ctx: Arc<Ctx>, args: Args, force: bool) -> Result<Value, Failure> {
    let pool = pool_at(&ctx.core, args.str(0))?;
    session::password(&pool, args.str(1), args.str(2)).await?;
    let theirs = pool.db.read(|view| view.objects("host").next().map(Traits::of));
    ctx.read(|view| assert_can_join(view, theirs.filter(|_| !force)))?;
    let (joining, to) = (ctx.clone(), pool.clone());
    let joined = tokio::task::spawn_blocking(move || hand_over(&joining.core, &to)).await;
    let host = joined.unwrap_or_else(|e| Err(internal_error(&e.to_string())))?;
    tokio::spawn(async move {
        // The caller shall still hear that it has joined.
        ctx.core.clock().sleep(RESTART_AFTER).await;
        ctx.core.stop_toolstack();
        let membership = Membership { pool: Arc::downgrade(&pool), host: host.clone() };
        *ctx.core.membership.lock().unwrap_or_else(PoisonError::into_inner) = Some(membership);
        ctx.core.start_toolstack();
        let enabled = pool.db.write(|tx| tx.set("host", &host, "enabled", true));
        if let Err(failure) = enabled {
            tracing::warn!(%failure, "the host was ejected before it had joined");
        }
    });
    Ok(void())
}

/// The pool whose coordinator has this address.
///
/// # Errors
/// `JOINING_HOST_CONNECTION_FAILED`; `HOST_IS_SLAVE` from a member.
fn pool_at(own: &Core, address: &str) -> Result<Arc<Core>, Failure> {
    for core in own.peers() {
        let found = core.db.read(|view| {
            let host = view.objects("host").find(|host| host.str("address") == address)?;
            let master = view.objects("pool").next()?.str("master").to_owned();
            let is_master = host.reference() == master;
            let at =
                view.find("host", &master).map_or_else(String::new, |host| host.str("address").to_owned());
            Some(is_master.then_some(()).ok_or(at))
        });
        match found {
            Some(Ok(())) => return Ok(core),
            Some(Err(master)) => return Err(Failure::new("HOST_IS_SLAVE", [master])),
            None => {}
        }
    }
    Err(Failure::new("JOINING_HOST_CONNECTION_FAILED", [""; 0]))
}

/// What hosts of a pool have in common.
#[derive(PartialEq)]
struct Traits {
    product: String,
    vendor: String,
}

impl Traits {
    fn of(host: crate::db::Object<'_>) -> Self {
        let text = |field, key| host.entry(field, key).unwrap_or_default().to_owned();
        Self { product: text("software_version", "product_version"), vendor: text("cpu_info", "vendor") }
    }
}

/// # Errors
/// `JOINING_HOST_…`, `POOL_JOINING_…`, and `HOSTS_NOT_HOMOGENEOUS` unless it is forced.
fn assert_can_join(view: &View, theirs: Option<Traits>) -> Result<(), Failure> {
    let refuse = |code: &str| Err(Failure::new(code, [""; 0]));
    if view.count("host") > 1 {
        return refuse("JOINING_HOST_CANNOT_BE_MASTER_OF_OTHER_HOSTS");
    }
    let guests = || view.objects("VM").filter(|vm| !vm.bool("is_control_domain"));
    if guests().any(|vm| vm.str("power_state") == "Running" || vm.str("power_state") == "Paused") {
        return refuse("JOINING_HOST_CANNOT_HAVE_RUNNING_VMS");
    }
    if guests().any(|vm| !vm.map("current_operations").is_empty()) {
        return refuse("JOINING_HOST_CANNOT_HAVE_VMS_WITH_CURRENT_OPERATIONS");
    }
    if view.objects("SR").any(|sr| sr.bool("shared")) {
        return refuse("JOINING_HOST_CANNOT_CONTAIN_SHARED_SRS");
    }
    let ours = view.objects("host").next().map(Traits::of);
    if let Some((ours, theirs)) = ours.zip(theirs) {
        if ours.product != theirs.product {
            return refuse("POOL_JOINING_HOST_MUST_HAVE_SAME_PRODUCT_VERSION");
        }
        if ours != theirs {
            return Err(Failure::new("HOSTS_NOT_HOMOGENEOUS", ["CPUs differ"]));
        }
    }
    Ok(())
}

/// Gives all that the host has to the pool, and keeps the host itself; its reference. Does file work.
fn hand_over(from: &Core, to: &Core) -> Result<String, Failure> {
    let host = from.db.read(|view| view.objects("host").next().map(|host| host.reference().to_owned()));
    let host = host.ok_or_else(|| internal_error("a pool without a host"))?;
    let objects = from.db.read(|view| belongings(view, to));
    for sr in local_srs(from, &host)? {
        to.storage.take_over(&from.storage, &sr).map_err(|e| internal_error(&e.to_string()))?;
    }
    to.db.write(|tx| {
        for (class, reference, fields) in &objects {
            tx.create_as(class, reference, fields.iter().cloned());
        }
        // Until its server has started again.
        tx.set("host", &host, "enabled", false)
    })?;
    if let Some(url) = from.urls().get(&host).cloned() {
        to.urls().insert(host.clone(), url);
    }
    from.db.write(forget_guests)?;
    Ok(host)
}

type Row = (&'static str, String, Vec<(&'static str, Value)>);

/// What there is of a pool of one host, in words of the pool that it goes to: networks are one when their bridges
/// have the same name.
fn belongings(view: &View, to: &Core) -> Vec<Row> {
    let bridges: BTreeMap<String, String> = to.db.read(|there| {
        let networks = there.objects("network");
        networks.map(|network| (network.str("bridge").to_owned(), network.reference().to_owned())).collect()
    });
    let same = |network: &crate::db::Object<'_>| {
        Some((network.reference().to_owned(), bridges.get(network.str("bridge"))?.clone()))
    };
    let renamed: BTreeMap<String, String> = view.objects("network").filter_map(|n| same(&n)).collect();
    let is_template =
        |object: crate::db::Object<'_>| object.class().name() == "VM" && object.bool("is_default_template");
    let mut rows = Vec::new();
    let classes = view.schema().classes().filter(|c| c.persistent && !POOLS_OWN.contains(&c.name()));
    for class in classes {
        for object in view.objects(class.name()) {
            if renamed.contains_key(object.reference()) || is_template(object) {
                continue;
            }
            let fields = class.fields().iter();
            let fields = fields.map(|field| (field.name, replaced(object.get(field.name), &renamed)));
            rows.push((class.name(), object.reference().to_owned(), fields.collect()));
        }
    }
    rows
}

fn replaced(value: &Value, renamed: &BTreeMap<String, String>) -> Value {
    match value {
        Value::String(text) => renamed.get(text).unwrap_or(text).clone().into(),
        Value::Array(items) => Value::Array(items.iter().map(|item| replaced(item, renamed)).collect()),
        Value::Struct(map) => {
            Value::Struct(map.iter().map(|(key, value)| (key.clone(), replaced(value, renamed))).collect())
        }
        other => other.clone(),
    }
}

/// The repositories that only this host has.
fn local_srs(core: &Core, host: &str) -> Result<Vec<Sr>, Failure> {
    core.db.read(|view| {
        let own = view.objects("SR").filter(|sr| {
            let mut hosts = view.follow(*sr, "PBDs", "PBD").map(|pbd| pbd.str("host") == host).peekable();
            !sr.bool("shared") && hosts.peek().is_some() && hosts.all(|is_own| is_own)
        });
        own.map(|sr| Sr::of(view, sr.reference())).collect()
    })
}

/// Removes the guests and disks of a host that has given them away, or lost them.
fn forget_guests(tx: &mut Tx<'_>) -> Result<(), Failure> {
    for class in ["VBD", "VIF", "VDI"] {
        let all: Vec<String> = tx.objects(class).map(|object| object.reference().to_owned()).collect();
        all.iter().for_each(|reference| tx.delete(class, reference));
    }
    let guests =
        tx.objects("VM").filter(|vm| !vm.bool("is_control_domain") && !vm.bool("is_default_template"));
    let guests: Vec<String> = guests.map(|vm| vm.reference().to_owned()).collect();
    guests.iter().for_each(|vm| tx.delete("VM", vm));
    Ok(())
}

/// # Errors
/// An internal error for the coordinator; `OPERATION_NOT_ALLOWED` while guests are there.
fn assert_can_leave(view: &View, host: &str) -> Result<(), Failure> {
    view.object("host", host)?;
    if view.objects("pool").any(|pool| pool.str("master") == host) {
        return Err(internal_error("Cannot_eject_master"));
    }
    let resident =
        |vm: &crate::db::Object<'_>| vm.str("resident_on") == host && !vm.bool("is_control_domain");
    match view.objects("VM").any(|vm| resident(&vm)) {
        true => Err(Failure::new("OPERATION_NOT_ALLOWED", ["VMs resident on host"])),
        false => Ok(()),
    }
}

/// Takes a host out of the pool with its local repositories, which are wiped. Does file work.
fn leave(pool: &Arc<Core>, host: &str) -> Result<(), Failure> {
    for sr in local_srs(pool, host)? {
        let backend = pool.storage.open(sr.clone())?;
        pool.storage.remove(&backend)?;
        pool.db.write(|tx| remove_sr(tx, &sr.reference))?;
    }
    pool.db.write(|tx| remove_host(tx, host))?;
    pool.urls().remove(host);
    for core in pool.peers() {
        let mut membership = core.membership.lock().unwrap_or_else(PoisonError::into_inner);
        if membership.as_ref().is_some_and(|of| of.host == host) {
            core.stop_toolstack();
            *membership = None;
            core.start_toolstack();
        }
    }
    Ok(())
}

fn remove_sr(tx: &mut Tx<'_>, sr: &str) -> Result<(), Failure> {
    let disks: BTreeSet<String> = tx.object("SR", sr)?.strs("VDIs").map(str::to_owned).collect();
    let drives = tx.objects("VBD").filter(|vbd| disks.contains(vbd.str("VDI")));
    let drives: Vec<String> = drives.map(|vbd| vbd.reference().to_owned()).collect();
    drives.iter().for_each(|vbd| tx.delete("VBD", vbd));
    disks.iter().for_each(|vdi| tx.delete("VDI", vdi));
    for field in ["default_SR", "suspend_image_SR", "crash_dump_SR"] {
        let of = tx.objects("pool").filter(|pool| pool.str(field) == sr);
        let of: Vec<String> = of.map(|pool| pool.reference().to_owned()).collect();
        of.iter().try_for_each(|pool| tx.set("pool", pool, field, NULL))?;
    }
    tx.delete("SR", sr);
    Ok(())
}

fn remove_host(tx: &mut Tx<'_>, host: &str) -> Result<(), Failure> {
    let metrics = tx.object("host", host)?.str("metrics").to_owned();
    for (class, field) in
        [("PBD", "host"), ("PIF", "host"), ("host_cpu", "host"), ("PCI", "host"), ("PGPU", "host")]
    {
        let own = tx.objects(class).filter(|object| object.str(field) == host);
        let own: Vec<String> = own.map(|object| object.reference().to_owned()).collect();
        own.iter().for_each(|reference| tx.delete(class, reference));
    }
    let domains = tx.objects("VM").filter(|vm| vm.bool("is_control_domain") && vm.str("resident_on") == host);
    let domains: Vec<String> = domains.map(|vm| vm.reference().to_owned()).collect();
    domains.iter().for_each(|vm| tx.delete("VM", vm));
    let homes = tx.objects("VM").filter(|vm| vm.str("affinity") == host);
    let homes: Vec<String> = homes.map(|vm| vm.reference().to_owned()).collect();
    homes.iter().try_for_each(|vm| tx.set("VM", vm, "affinity", NULL))?;
    tx.delete("host_metrics", &metrics);
    tx.delete("host", host);
    Ok(())
}
