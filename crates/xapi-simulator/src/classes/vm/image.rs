//! The memory of suspended VMs: a disk of type `suspend`, without any content.

use xenapi_wire::{Failure, Value};

use crate::classes::vdi;
use crate::db::{NULL, Tx, is_null};
use crate::dispatch::Ctx;

/// Makes a disk for the memory of a VM on the first SR that is set for it. Does file work.
///
/// # Errors
/// `VM_NO_SUSPEND_SR`; what the SR says.
pub(super) fn make(ctx: &Ctx, vm: &str) -> Result<String, Failure> {
    let (sr, memory) = ctx.read(|view| {
        let object = view.object("VM", vm)?;
        let pool = view.objects("pool").next().map(|pool| pool.str("suspend_image_SR"));
        let host = view.find("host", object.str("resident_on")).map(|host| host.str("suspend_image_sr"));
        let candidates = [Some(object.str("suspend_SR")), pool, host];
        let sr = candidates.into_iter().flatten().find(|sr| view.exists("SR", sr));
        let sr = sr.ok_or_else(|| Failure::new("VM_NO_SUSPEND_SR", [vm]))?;
        Ok::<_, Failure>((sr.to_owned(), object.int("memory_dynamic_max")))
    })?;
    let backend = vdi::backend(ctx, &sr)?;
    let _exclusive = backend.exclusive();
    let volume = backend.create(memory)?;
    let fields = vec![
        ("name_label", Value::from("Suspend image")),
        ("name_description", "Suspend image".into()),
        ("type", "suspend".into()),
    ];
    let made = ctx.write(|tx| Ok::<_, Failure>(vdi::insert(tx, &backend, &volume, fields)));
    if made.is_err() {
        backend.remove(volume.uuid)?;
    }
    made
}

/// The disk with a VM's memory once more: of a snapshot, or for a VM that becomes what it was. Does file work.
///
/// # Errors
/// What the SR says.
pub(super) fn copy(ctx: &Ctx, image: &str, is_snapshot: bool) -> Result<Option<String>, Failure> {
    if is_null(image) { Ok(None) } else { vdi::duplicate(ctx, image, is_snapshot).map(Some) }
}

/// Takes its memory off a VM that does not need it any more; [`discard`] it when that is done.
pub(super) fn take_off(tx: &mut Tx<'_>, vm: &str) -> Result<Option<String>, Failure> {
    let image = tx.object("VM", vm)?.str("suspend_VDI").to_owned();
    if is_null(&image) {
        return Ok(None);
    }
    tx.set("VM", vm, "suspend_VDI", NULL)?;
    Ok(Some(image))
}

/// Removes the disk. A VM goes on without, whatever the SR says. Does file work.
pub(super) fn discard(ctx: &Ctx, image: Option<&str>) {
    if let Some(failure) = image.and_then(|image| vdi::discard(ctx, image).err()) {
        tracing::warn!(%failure, "the memory of a VM that is not suspended any more is left");
    }
}
