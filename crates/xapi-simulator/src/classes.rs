//! What the methods do, one file a class, each with a `register(&mut Router)`.

mod blob;
pub(crate) mod event;
pub(crate) mod extension;
mod gpu;
mod host;
mod message;
mod network;
mod pbd;
mod pif;
mod plugin;
pub(crate) mod pool;
pub(crate) mod role;
pub(crate) mod session;
pub(crate) mod sm;
mod sr;
mod sriov;
pub(crate) mod task;
pub(crate) mod vbd;
pub(crate) mod vdi;
pub(crate) mod vif;
mod vlan;
pub(crate) mod vm;
mod vtpm;

use std::collections::BTreeMap;

use xenapi_wire::{Failure, Value};

use crate::db::{Db, Tx};
use crate::dispatch::{Router, storable, void};

/// Registers the methods of every class.
pub(crate) fn register(router: &mut Router) {
    blob::register(router);
    event::register(router);
    gpu::register(router);
    host::register(router);
    message::register(router);
    network::register(router);
    pbd::register(router);
    pif::register(router);
    plugin::register(router);
    extension::register(router);
    pool::register(router);
    role::register(router);
    session::register(router);
    sr::register(router);
    sriov::register(router);
    task::register(router);
    vbd::register(router);
    vdi::register(router);
    vif::register(router);
    vlan::register(router);
    vm::register(router);
    vtpm::register(router);
    crate::console::register(&mut router.http);
    crate::rrd::register(&mut router.http);
    crate::http::dump::register(&mut router.http);
    crate::http::absent::register(&mut router.http);
    crate::transfer::register(router);
}

/// Registers what computes the derived fields.
pub(crate) fn derive(db: &mut Db) {
    db.derive("PBD", pbd::derive);
    db.derive("SR", sr::derive);
    db.derive("VBD", vbd::derive);
    db.derive("VDI", vdi::derive);
    db.derive("VIF", vif::derive);
    db.derive("VM", vm::derive);
    db.derive("host", host::derive);
}

/// Ends what was in progress when the server was ended: no task outlives it.
pub(crate) fn recover(db: &Db) -> Result<(), Failure> {
    db.write(|tx| {
        let schema = tx.schema();
        let classes = schema.classes().filter(|class| class.index("current_operations").is_some());
        for class in classes.map(crate::schema::Class::name) {
            let busy: Vec<String> = tx
                .objects(class)
                .filter(|object| !object.map("current_operations").is_empty())
                .map(|object| object.reference().to_owned())
                .collect();
            for object in busy {
                tx.set(class, &object, "current_operations", Value::Struct(BTreeMap::new()))?;
            }
        }
        vbd::recover(tx)
    })
}

/// Registers a constructor: the fields are stored as they came, then `created` checks them and sets the others.
/// When it refuses, nothing is left.
fn constructor(
    router: &mut Router,
    class: &'static str,
    created: impl Fn(&mut Tx<'_>, &str) -> Result<(), Failure> + Send + Sync + 'static,
) {
    router.raw(&format!("{class}.create"), move |ctx, args| {
        let members = args.map(0);
        members.values().try_for_each(storable)?;
        ctx.write(|tx| {
            let reference =
                tx.create(class, members.iter().map(|(name, value)| (name.as_str(), value.clone())));
            created(tx, &reference)?;
            Ok(reference.into())
        })
    });
}

/// Registers a call whose only argument is the object and whose work is one change of the database.
fn change(
    router: &mut Router,
    method: &str,
    work: impl Fn(&mut Tx<'_>, &str) -> Result<(), Failure> + Send + Sync + 'static,
) {
    router.raw(method, move |ctx, args| {
        ctx.write(|tx| work(tx, args.str(0)))?;
        Ok(void())
    });
}
