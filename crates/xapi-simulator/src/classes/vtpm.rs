//! `VTPM`.

use xenapi_wire::{Failure, Value};

use super::change;
use super::vm::operations::check;
use crate::db::{NULL, Tx};
use crate::dispatch::Router;

pub(super) fn register(router: &mut Router) {
    router.raw("VTPM.create", |ctx, args| {
        ctx.write(|tx| create(tx, args.str(0), args.bool(1))).map(Value::from)
    });
    change(router, "VTPM.destroy", |tx, vtpm| {
        let vm = tx.object("VTPM", vtpm)?.str("VM").to_owned();
        check(tx.object("VM", &vm)?, "create_vtpm", None)?;
        tx.delete("VTPM", vtpm);
        Ok(())
    });
}

/// # Errors
/// `LICENCE_RESTRICTION` where the edition lacks it; `VTPM_MAX_AMOUNT_REACHED` for a second one; what a VM that is
/// not halted answers.
fn create(tx: &mut Tx<'_>, vm: &str, is_unique: bool) -> Result<String, Failure> {
    if tx.objects("pool").any(|pool| pool.entry("restrictions", "restrict_vtpm") == Some("true")) {
        return Err(Failure::new("LICENCE_RESTRICTION", ["VTPM"]));
    }
    let object = tx.object("VM", vm)?;
    check(object, "create_vtpm", None)?;
    if object.strs("VTPMs").next().is_some() {
        return Err(Failure::new("VTPM_MAX_AMOUNT_REACHED", ["1"]));
    }
    Ok(tx.create(
        "VTPM",
        [
            ("VM", vm.into()),
            ("backend", NULL.into()),
            ("persistence_backend", "xapi".into()),
            ("is_unique", is_unique.into()),
        ],
    ))
}
