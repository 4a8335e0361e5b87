//! Physical block devices: how hosts reach SRs.

use xenapi_wire::{Failure, Value};

use super::{change, constructor, sr};
use crate::db::{Tx, View};
use crate::dispatch::{Ctx, Router, internal_error, void};
use crate::storage::Sr;
use crate::targets;

pub(crate) fn register(router: &mut Router) {
    constructor(router, "PBD", created);
    change(router, "PBD.destroy", destroy);
    router.future("PBD.unplug", |ctx, args| async move {
        let plugged =
            ctx.read(|view| view.object("PBD", args.str(0)).is_ok_and(|pbd| pbd.bool("currently_attached")));
        targets::touch(&ctx, plugged.then(|| args.str(0).to_owned())).await?;
        ctx.write(|tx| unplug(tx, args.str(0)))?;
        Ok(void())
    });
    router.future("PBD.plug", |ctx, args| async move {
        targets::reach(&ctx, args.str(0)).await?;
        tokio::task::spawn_blocking(move || plug(&ctx, args.str(0)))
            .await
            .unwrap_or_else(|e| Err(internal_error(&e.to_string())))
    });
    router.raw("PBD.set_device_config", |ctx, args| {
        ctx.write(|tx| tx.set("PBD", args.str(0), "device_config", args.get(1).clone()))?;
        Ok(void())
    });
}

fn plug(ctx: &Ctx, pbd: &str) -> Result<Value, Failure> {
    let (sr, already) = ctx.read(|view| {
        let object = view.object("PBD", pbd)?;
        let sr = object.str("SR");
        Sr::of(view, sr)?;
        assert_sharable(view, pbd)?;
        Ok::<_, Failure>((sr.to_owned(), object.bool("currently_attached")))
    })?;
    if already {
        return Ok(void());
    }
    ctx.write(|tx| tx.set("PBD", pbd, "currently_attached", true))?;
    if let Err(failure) = sr::scan(ctx, &sr) {
        ctx.write(|tx| tx.set("PBD", pbd, "currently_attached", false))?;
        return Err(failure);
    }
    // XAPI's mark for what a scan is to look at; the one that belongs to plugging does not clear it.
    ctx.write(|tx| tx.set_entry("SR", &sr, "other_config", "dirty", ""))?;
    Ok(void())
}

/// Checks and finishes a PBD whose constructor fields have been stored.
///
/// # Errors
/// `HANDLE_INVALID`; `PBD_EXISTS` when the host has one for the SR.
fn created(tx: &mut Tx<'_>, reference: &str) -> Result<(), Failure> {
    let pbd = tx.object("PBD", reference)?;
    let (sr, host) = (pbd.str("SR"), pbd.str("host"));
    tx.object("host", host)?;
    let sr_object = tx.object("SR", sr)?;
    let existing = tx
        .follow(sr_object, "PBDs", "PBD")
        .find(|other| other.reference() != reference && other.str("host") == host);
    if let Some(existing) = existing {
        return Err(Failure::new("PBD_EXISTS", [sr, host, existing.reference()]));
    }
    tx.set("PBD", reference, "currently_attached", false)
}

fn destroy(tx: &mut Tx<'_>, pbd: &str) -> Result<(), Failure> {
    if tx.object("PBD", pbd)?.bool("currently_attached") {
        return Err(Failure::new("OPERATION_NOT_ALLOWED", ["PBD is currently attached"]));
    }
    tx.delete("PBD", pbd);
    Ok(())
}

/// Refuses a second host for an SR that is not shared.
fn assert_sharable(view: &View, pbd: &str) -> Result<(), Failure> {
    let pbd = view.object("PBD", pbd)?;
    let sr = view.object("SR", pbd.str("SR"))?;
    let elsewhere = view
        .follow(sr, "PBDs", "PBD")
        .find(|other| other.reference() != pbd.reference() && other.bool("currently_attached"));
    match elsewhere {
        Some(other) if !sr.bool("shared") => {
            Err(Failure::new("SR_NOT_SHARABLE", [sr.reference(), other.str("host")]))
        }
        _ => Ok(()),
    }
}

/// Unplugs; once more is no error. Disks in use on the host keep it plugged.
fn unplug(tx: &mut Tx<'_>, reference: &str) -> Result<(), Failure> {
    let pbd = tx.object("PBD", reference)?;
    let host = pbd.str("host");
    let sr = tx.object("SR", pbd.str("SR"))?;
    let used: Vec<String> = tx
        .follow(sr, "VDIs", "VDI")
        .filter(|vdi| {
            tx.follow(*vdi, "VBDs", "VBD").any(|vbd| {
                let here = tx.find("VM", vbd.str("VM")).is_some_and(|vm| vm.str("resident_on") == host);
                vbd.bool("currently_attached") && here
            })
        })
        .map(|vdi| vdi.reference().to_owned())
        .collect();
    if !used.is_empty() {
        return Err(Failure::new("VDI_IN_USE", used));
    }
    tx.set("PBD", reference, "currently_attached", Value::Bool(false))
}

/// Has the SR's operations computed: they depend on its PBDs.
pub(crate) fn derive(tx: &mut Tx<'_>, reference: &str) {
    let Some(pbd) = tx.find("PBD", reference) else { return };
    let sr = pbd.str("SR").to_owned();
    tx.touch("SR", &sr);
}
