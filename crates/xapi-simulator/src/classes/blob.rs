//! `blob`: files that belong to other objects. Their content comes and goes at `/blob`.

use xenapi_wire::{DateTime, Failure, Value};

use crate::db::{Tx, View};
use crate::dispatch::{Router, void};

/// The classes whose objects may have blobs.
const OWNERS: [&str; 5] = ["VM", "SR", "network", "host", "pool"];

pub(super) fn register(router: &mut Router) {
    router.raw("blob.create", |ctx, args| {
        let now = ctx.date();
        ctx.write(|tx| Ok(create(tx, "", args.str(0), args.bool(1), &now).into()))
    });
    router.raw("blob.destroy", |ctx, args| {
        let uuid = ctx.write(|tx| {
            let uuid = tx.object("blob", args.str(0))?.str("uuid").to_owned();
            destroy(tx, args.str(0))?;
            Ok::<_, Failure>(uuid)
        })?;
        // There is no file when nothing was ever put.
        let _ = std::fs::remove_file(ctx.core.storage().blob(&uuid));
        Ok(void())
    });
    for class in OWNERS {
        router.raw(&format!("{class}.create_new_blob"), move |ctx, args| {
            let (owner, name, now) = (args.str(0), args.str(1), ctx.date());
            ctx.write(|tx| {
                tx.object(class, owner)?;
                let blob = create(tx, name, args.str(2), args.bool(3), &now);
                tx.add_to(class, owner, "blobs", name, blob.as_str())?;
                Ok(blob.into())
            })
        });
    }
}

fn create(tx: &mut Tx<'_>, name: &str, mime_type: &str, public: bool, now: &DateTime) -> String {
    let mime_type = if mime_type.is_empty() { "application/octet-stream" } else { mime_type };
    tx.create(
        "blob",
        [
            ("name_label", name.into()),
            ("mime_type", mime_type.into()),
            ("public", public.into()),
            ("last_updated", Value::DateTime(now.clone())),
        ],
    )
}

/// Deletes the row, and takes it out of its owner's.
fn destroy(tx: &mut Tx<'_>, blob: &str) -> Result<(), Failure> {
    for class in OWNERS {
        let owners = tx.objects(class).filter_map(|owner| {
            let blobs = owner.map("blobs").iter();
            let key = blobs.into_iter().find(|(_, value)| value.as_str() == Some(blob))?.0;
            Some((owner.reference().to_owned(), key.clone()))
        });
        for (owner, key) in owners.collect::<Vec<_>>() {
            tx.remove_from(class, &owner, "blobs", &key)?;
        }
    }
    tx.delete("blob", blob);
    Ok(())
}

/// Removes those of an object that goes.
pub(super) fn destroy_all(tx: &mut Tx<'_>, class: &str, object: &str) -> Result<(), Failure> {
    let blobs: Vec<String> = tx.object(class, object)?.map("blobs").values().map(View::text_of).collect();
    blobs.iter().for_each(|blob| tx.delete("blob", blob));
    Ok(())
}
