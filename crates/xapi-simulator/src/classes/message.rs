//! `message`: what happened, for people.

use std::collections::BTreeMap;

use xenapi_wire::{DateTime, Failure, Value};

use crate::db::{Object, Tx};
use crate::dispatch::{Ctx, Router};

/// The priority of what is worth knowing but needs nobody's attention.
const INFORMATION: i64 = 5;

/// Leaves a message about an object.
pub(crate) fn post(tx: &mut Tx<'_>, name: &str, class: &str, uuid: &str, body: String, now: &DateTime) {
    tx.create(
        "message",
        [
            ("name", name.into()),
            ("priority", Value::Int(INFORMATION)),
            ("cls", class.into()),
            ("obj_uuid", uuid.into()),
            ("timestamp", Value::DateTime(now.clone())),
            ("body", body.into()),
        ],
    );
}

/// The class of the object that a message is about, by the name its `cls` gives it.
fn class_of(cls: &str) -> &str {
    match cls {
        "Host" => "host",
        "Pool" => "pool",
        "VMPP" | "VMSS" | "PVS_proxy" | "VDI" | "Certificate" | "VM" | "SR" => cls,
        other => other,
    }
}

pub(super) fn register(router: &mut Router) {
    router.raw("message.create", |ctx, args| {
        let (class, uuid) = (args.str(2).to_owned(), args.str(3).to_owned());
        ctx.write(|tx| {
            if tx.schema().class(class_of(&class)).is_some() && tx.by_uuid(class_of(&class), &uuid).is_err() {
                return Err(Failure::new("UUID_INVALID", [&class, &uuid]));
            }
            let message = tx.create(
                "message",
                [
                    ("name", args.str(0).into()),
                    ("priority", Value::Int(args.int(1))),
                    ("cls", class.as_str().into()),
                    ("obj_uuid", uuid.as_str().into()),
                    ("timestamp", Value::DateTime(ctx.date())),
                    ("body", args.str(4).into()),
                ],
            );
            Ok(message.into())
        })
    });
    router.raw("message.destroy", |ctx, args| {
        ctx.write(|tx| {
            tx.object("message", args.str(0))?;
            tx.delete("message", args.str(0));
            Ok(crate::dispatch::void())
        })
    });
    router.raw("message.destroy_many", |ctx, args| {
        ctx.write(|tx| {
            let messages: Vec<String> = args.strs(0).map(str::to_owned).collect();
            for message in &messages {
                tx.object("message", message)?;
            }
            messages.iter().for_each(|message| tx.delete("message", message));
            Ok(crate::dispatch::void())
        })
    });
    questions(router);
}

fn questions(router: &mut Router) {
    router.raw("message.get_all", |ctx, _| {
        Ok(ctx.read(|view| view.objects("message").map(|m| m.reference()).collect::<Vec<_>>().into()))
    });
    router.raw("message.get_record", |ctx, args| {
        ctx.read(|view| Ok(view.object("message", args.str(0))?.record()))
    });
    router.raw("message.get_by_uuid", |ctx, args| {
        ctx.read(|view| Ok(view.by_uuid("message", args.str(0))?.reference().into()))
    });
    router.raw("message.get_all_records", |ctx, _| Ok(select(ctx, |_| true)));
    // XAPI does not look at the expression.
    router.raw("message.get_all_records_where", |ctx, _| Ok(select(ctx, |_| true)));
    router.raw("message.get", |ctx, args| {
        let since = args.date(2).unix_seconds().unwrap_or(0);
        Ok(select(ctx, |message| {
            message.str("cls") == args.str(0)
                && message.str("obj_uuid") == args.str(1)
                && seconds(message) >= since
        }))
    });
    router.raw("message.get_since", |ctx, args| {
        let since = args.date(0).unix_seconds().unwrap_or(0);
        Ok(select(ctx, |message| seconds(message) > since))
    });
}

fn seconds(message: Object<'_>) -> i64 {
    message.date("timestamp").unix_seconds().unwrap_or(0)
}

fn select(ctx: &Ctx, wanted: impl Fn(Object<'_>) -> bool) -> Value {
    ctx.read(|view| {
        let found = view.objects("message").filter(|message| wanted(*message));
        Value::Struct(found.map(|m| (m.reference().to_owned(), m.record())).collect::<BTreeMap<_, _>>())
    })
}

/// Leaves the message of a VM's change of state, `VM 'name' (uuid: …) <what>`.
pub(super) fn about_vm(
    tx: &mut Tx<'_>,
    vm: &str,
    name: &str,
    what: &str,
    now: &DateTime,
) -> Result<(), Failure> {
    let object = tx.object("VM", vm)?;
    let uuid = object.str("uuid").to_owned();
    let body = format!("VM '{}' (uuid: {uuid}) {what}", object.str("name_label"));
    post(tx, name, "VM", &uuid, body, now);
    Ok(())
}
