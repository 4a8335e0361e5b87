//! Pieces of data that belong to an object.

use xenapi_wire::{Failure, Value};

use crate::db::Tx;
use crate::dispatch::{Args, Ctx};

/// `create_new_blob` of a class: the object, the name, the media type, and whether anybody may read it.
///
/// # Errors
/// `HANDLE_INVALID`; `MAP_DUPLICATE_KEY` when the object has one of this name.
pub(super) fn create(ctx: &Ctx, class: &str, args: &Args) -> Result<Value, Failure> {
    let (object, name) = (args.str(0), args.str(1));
    ctx.write(|tx| {
        tx.object(class, object)?;
        let fields = [
            ("name_label", name.into()),
            ("mime_type", args.str(2).into()),
            ("public", args.bool(3).into()),
            ("last_updated", ctx.date().into()),
        ];
        let blob = tx.create("blob", fields);
        tx.add_to(class, object, "blobs", name, blob.clone())?;
        Ok(blob.into())
    })
}

/// Removes those of an object that goes.
pub(super) fn destroy_all(tx: &mut Tx<'_>, class: &str, object: &str) -> Result<(), Failure> {
    let blobs: Vec<Value> = tx.object(class, object)?.map("blobs").values().cloned().collect();
    for blob in blobs {
        if let Value::String(blob) = blob {
            tx.delete("blob", &blob);
        }
    }
    Ok(())
}
