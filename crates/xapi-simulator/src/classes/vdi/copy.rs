//! Snapshots, clones and copies of disks.

use std::sync::Arc;

use uuid::Uuid;
use xenapi_wire::{Failure, Value};

use super::{backend, disk_of, insert, remove, rows};
use crate::db::{NULL, Object, is_null};
use crate::disk::{BLOCK, BlockMap, Disk};
use crate::dispatch::{Args, Ctx, internal_error};
use crate::sr_types::{Layout, backend_failure};
use crate::storage::{Backend, Copied, Volume};
use crate::transfer::export;

/// What a copy of any kind takes over.
const INHERITED: [&str; 7] =
    ["name_label", "name_description", "type", "sharable", "other_config", "xenstore_data", "tags"];

/// What a disk keeps that moves to another SR with its VM.
const MOVED: [&str; 4] = ["name_label", "name_description", "type", "tags"];
/// On a mirror: the SR and the location of the disk that it is one of.
const BASE_MIRROR: &str = "base_mirror";

pub(super) fn snapshot(ctx: &Arc<Ctx>, args: &Args) -> Result<Value, Failure> {
    duplicate(ctx, args.str(0), true).map(Value::from)
}

pub(super) fn clone(ctx: &Arc<Ctx>, args: &Args) -> Result<Value, Failure> {
    duplicate(ctx, args.str(0), false).map(Value::from)
}

/// Makes a snapshot or a clone: a disk on the same SR that shares blocks with this one.
pub(crate) fn duplicate(ctx: &Ctx, vdi: &str, is_snapshot: bool) -> Result<String, Failure> {
    let (backend, uuid) = disk_of(ctx, vdi)?;
    let size = ctx.read(|view| view.object("VDI", vdi).map(|vdi| vdi.int("virtual_size")))? as u64;
    let _exclusive = backend.exclusive();
    let Copied { copy, base } = backend.duplicate(uuid, size)?;
    let source = backend.volume(uuid, size);
    let made = ctx.write(|tx| {
        let object = tx.object("VDI", vdi)?;
        let mut fields = inherited(object);
        // The recorded driver makes its snapshots read-only, the VHD drivers do not.
        let read_only = is_snapshot && backend.sr.kind.layout == Layout::RawFiles;
        fields.extend([
            ("read_only", read_only.into()),
            ("on_boot", object.get("on_boot").clone()),
            ("allow_caching", object.get("allow_caching").clone()),
            ("is_a_snapshot", is_snapshot.into()),
            ("snapshot_of", if is_snapshot { vdi } else { NULL }.into()),
            ("snapshot_time", ctx.date().into()),
            ("metadata_of_pool", NULL.into()),
        ]);
        if let Some(base) = &base {
            let fields = vec![
                ("name_label", "base copy".into()),
                ("read_only", true.into()),
                ("type", object.get("type").clone()),
                ("metadata_of_pool", NULL.into()),
            ];
            insert(tx, &backend, base, fields);
        }
        rows::update(tx, vdi, &backend, &source)?;
        Ok::<_, Failure>(insert(tx, &backend, &copy, fields))
    });
    if made.is_err() {
        // The source went meanwhile: what was made for it has no owner.
        backend.remove(copy.uuid)?;
    }
    made
}

fn inherited<'a>(vdi: Object<'_>) -> Vec<(&'a str, Value)> {
    INHERITED.into_iter().map(|name| (name, vdi.get(name).clone())).collect()
}

/// `VDI.copy`: to another SR, or into a disk that exists.
pub(super) fn copy(ctx: &Arc<Ctx>, args: &Args) -> Result<Value, Failure> {
    let [vdi, sr, base, into] = [0, 1, 2, 3].map(|index| args.str(index));
    if is_null(into) {
        return copy_to(ctx, vdi, sr, base).map(Value::from);
    }
    let (from, uuid) = disk_of(ctx, vdi)?;
    let (needed, size, read_only, in_use) = ctx.read(|view| {
        let target = view.object("VDI", into)?;
        let in_use = view.follow(target, "VBDs", "VBD").any(|vbd| vbd.bool("currently_attached"));
        let needed = view.object("VDI", vdi)?.int("virtual_size");
        Ok::<_, Failure>((needed, target.int("virtual_size"), target.bool("read_only"), in_use))
    })?;
    if read_only {
        return Err(Failure::new("VDI_READONLY", [into]));
    }
    if size < needed {
        return Err(Failure::new("VDI_TOO_SMALL", [into, &needed.to_string()]));
    }
    if in_use {
        return Err(Failure::new("VDI_IN_USE", [into, "copy"]));
    }
    let (to, target) = disk_of(ctx, into)?;
    let volume = to.volume(target, size as u64);
    fill(ctx, &from, uuid, base, &to, &volume, false)?;
    ctx.write(|tx| {
        rows::update(tx, into, &to, &to.volume(target, size as u64))?;
        changed(tx, into)
    })?;
    Ok(into.into())
}

/// Copies a disk to an SR; with `base`, only what it holds else than that one.
pub(crate) fn copy_to(ctx: &Ctx, vdi: &str, sr: &str, base: &str) -> Result<String, Failure> {
    let (from, uuid) = disk_of(ctx, vdi)?;
    let to = backend(ctx, sr)?;
    if to.sr.kind.layout == Layout::Isos {
        return Err(backend_failure(1200, "disks of an ISO library cannot be attached for writing"));
    }
    let (copy, volume) = empty_copy(ctx, vdi, &to)?;
    let filled = fill(ctx, &from, uuid, base, &to, &volume, true).and_then(|()| {
        ctx.write(|tx| {
            rows::update(tx, &copy, &to, &to.volume(volume.uuid, volume.virtual_size))?;
            changed(tx, &copy)
        })
    });
    if let Err(failure) = filled {
        remove(ctx, &to, volume.uuid, &copy)?;
        return Err(failure);
    }
    Ok(copy)
}

/// Copies a disk of a VM on the move to an SR of this pool or another one. As in XAPI, nothing of its `other_config` goes
/// along; a mirror says in `sm_config` which disk it is one of, until it is [complete](mirrored).
///
/// # Errors
/// `INTERNAL_ERROR` when the move does not go on any more; those of the SR.
pub(crate) fn send(
    ctx: &Ctx,
    vdi: &str,
    pool: &Ctx,
    sr: &str,
    mirror: bool,
    goes_on: &dyn Fn() -> bool,
) -> Result<String, Failure> {
    let ((from, uuid), to) = (disk_of(ctx, vdi)?, backend(pool, sr)?);
    let (size, mut fields, origin) = ctx.read(|view| {
        let vdi = view.object("VDI", vdi)?;
        let fields: Vec<_> = MOVED.into_iter().map(|name| (name, vdi.get(name).clone())).collect();
        let from = view.object("SR", vdi.str("SR"))?.str("uuid");
        Ok::<_, Failure>((vdi.int("virtual_size"), fields, format!("{from}/{}", vdi.str("location"))))
    })?;
    fields.push(("metadata_of_pool", "".into()));
    let volume = {
        let _exclusive = to.exclusive();
        to.create(size)?
    };
    if !goes_on() {
        to.remove(volume.uuid)?;
        return Err(internal_error("the toolstack has ended"));
    }
    let copy = pool.write(|tx| {
        let copy = insert(tx, &to, &volume, fields);
        if mirror {
            tx.set_entry("VDI", &copy, "sm_config", BASE_MIRROR, origin)?;
        }
        Ok::<_, Failure>(copy)
    })?;
    let filled = fill(ctx, &from, uuid, NULL, &to, &volume, true).and_then(|()| {
        pool.write(|tx| {
            rows::update(tx, &copy, &to, &to.volume(volume.uuid, volume.virtual_size))?;
            changed(tx, &copy)
        })
    });
    match filled {
        Ok(()) => Ok(copy),
        Err(failure) => {
            remove(pool, &to, volume.uuid, &copy)?;
            Err(failure)
        }
    }
}

/// The VM uses the copy from now on.
pub(crate) fn mirrored(tx: &mut crate::db::Tx<'_>, copy: &str) -> Result<(), Failure> {
    let mut config = tx.object("VDI", copy)?.map("sm_config").clone();
    config.remove(BASE_MIRROR);
    tx.set("VDI", copy, "sm_config", Value::Struct(config))
}

/// Makes a disk like another one, without its content.
fn empty_copy(ctx: &Ctx, vdi: &str, to: &Backend) -> Result<(String, Volume), Failure> {
    let size = ctx.read(|view| view.object("VDI", vdi).map(|vdi| vdi.int("virtual_size")))?;
    let _exclusive = to.exclusive();
    let volume = to.create(size)?;
    let made = ctx.write(|tx| {
        let mut fields = inherited(tx.object("VDI", vdi)?);
        fields.push(("metadata_of_pool", "".into()));
        tx.object("SR", &to.sr.reference)?;
        Ok::<_, Failure>(insert(tx, to, &volume, fields))
    });
    match made {
        Ok(copy) => Ok((copy, volume)),
        Err(failure) => {
            to.remove(volume.uuid)?;
            Err(failure)
        }
    }
}

/// Notes that a disk has other content than before.
pub(crate) fn changed(tx: &mut crate::db::Tx<'_>, vdi: &str) -> Result<(), Failure> {
    tx.set_entry("VDI", vdi, "other_config", "content_id", Uuid::new_v4().to_string())
}

/// Copies what a disk holds, or with `base` what it holds else than that one. Zeros are left out of a fresh disk.
fn fill(
    ctx: &Ctx,
    from: &Backend,
    uuid: Uuid,
    base: &str,
    to: &Backend,
    volume: &Volume,
    fresh: bool,
) -> Result<(), Failure> {
    if !from.has_content() && !to.has_content() {
        return Ok(());
    }
    let (source, target) = (from.disk(uuid)?, to.disk(volume.uuid)?);
    let blocks = if !is_null(base) {
        let (base, base_uuid) = disk_of(ctx, base)?;
        export::changed_blocks(&source, &base.disk(base_uuid)?)
    } else if fresh {
        source.allocated()
    } else {
        // Where neither has anything, both have zeros.
        let mut written = source.allocated();
        let end = written.blocks();
        target.allocated().iter().filter(|block| *block < end).for_each(|block| written.set(block));
        written
    };
    copy_blocks(ctx, &source, &target, &blocks, fresh && is_null(base))
        .and_then(|()| ctx.core.storage().settle(&target))
        .map_err(|e| backend_failure(1200, &e.to_string()))
}

fn copy_blocks(
    ctx: &Ctx,
    source: &Disk,
    target: &Disk,
    blocks: &BlockMap,
    skip_zeros: bool,
) -> Result<(), crate::disk::DiskError> {
    let len = source.len_bytes();
    let zeros = vec![0; BLOCK as usize];
    let mut buffer = vec![0; BLOCK as usize];
    let (mut percent, count) = (0, blocks.used().max(1));
    for (done, block) in blocks.iter().enumerate() {
        let start = block * BLOCK;
        let bytes = &mut buffer[..BLOCK.min(len - start) as usize];
        source.read_at(start, bytes)?;
        if !skip_zeros || bytes[..] != zeros[..bytes.len()] {
            target.write_at(start, bytes)?;
        }
        let now = (done as u64 + 1) * 100 / count;
        if now > percent {
            percent = now;
            ctx.progress(now as f64 / 100.0);
        }
    }
    Ok(())
}
