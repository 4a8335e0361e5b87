//! Tasks: what asynchronous calls and transfers are watched by.

use std::sync::Arc;

use xenapi_types::task as calls;
use xenapi_wire::{Failure, Value, xmlrpc};

use crate::core::Core;
use crate::db::NULL;
use crate::dispatch::{Ctx, Router, void};

/// With more tasks than this, finished ones go, oldest first.
const MAX_TASKS: usize = 200;

pub(crate) fn register(router: &mut Router) {
    router.on(|ctx, call: calls::Create| {
        Ok(create(&ctx.core, &ctx.host, &ctx.session, &call.label, &call.description)?.into())
    });
    router.on(cancel);
    router.on(destroy);
    for field in ["status", "progress", "result", "error_info"] {
        router.raw(&format!("task.set_{field}"), move |ctx, args| {
            ctx.write(|tx| tx.set("task", args.str(0), field, args.get(1).clone()))?;
            Ok(void())
        });
    }
}

/// Makes a pending task.
///
/// # Errors
/// None at present; callers are ready for the database to refuse.
pub(crate) fn create(
    core: &Core,
    host: &str,
    session: &str,
    label: &str,
    description: &str,
) -> Result<String, Failure> {
    core.db.write(|tx| {
        let mut finished: Vec<(u64, String)> = Vec::new();
        if tx.count("task") >= MAX_TASKS {
            let done = tx.objects("task").filter(|task| task.str("status") != "pending");
            finished.extend(done.map(|task| (task.created(), task.reference().to_owned())));
            finished.sort();
        }
        let surplus = (tx.count("task") + 1).saturating_sub(MAX_TASKS);
        for (_, oldest) in finished.iter().take(surplus) {
            tx.delete("task", oldest);
        }
        let mut fields = vec![
            ("name_label", label.into()),
            ("name_description", description.into()),
            ("created", core.clock.date().into()),
            ("status", "pending".into()),
            ("resident_on", host.into()),
            ("type", "<none/>".into()),
            ("subtask_of", NULL.into()),
            ("backtrace", "()".into()),
        ];
        if core.schema().class("task").is_some_and(|class| class.index("session").is_some()) {
            fields.push(("session", session.into()));
        }
        Ok(tx.create("task", fields))
    })
}

/// Notes in a new task what the headers of its request said.
pub(crate) fn note(core: &Core, task: &str, keys: &[(String, String)]) {
    for (key, value) in keys {
        // It has only just been made.
        let _ = core.db.write(|tx| tx.set_entry("task", task, "other_config", key, value.as_str()));
    }
}

/// Ends a pending task with its outcome; [`Value::Nil`] is success without a result. A task that was
/// completed by hand stays as it is.
pub(crate) fn finish(core: &Core, task: &str, outcome: Result<Value, Failure>) {
    let _ = core.db.write(|tx| {
        let object = tx.object("task", task)?;
        if object.str("status") != "pending" {
            return Ok(());
        }
        let unwanted = object.entry("current_operations", "task") == Some("destroy");
        tx.set("task", task, "finished", core.clock.date())?;
        tx.set("task", task, "progress", 1.0)?;
        tx.set("task", task, "allowed_operations", Value::Array(Vec::new()))?;
        match outcome {
            Ok(value) => {
                if value != Value::Nil {
                    // The value came from a handler: it has a form on the wire, or none was promised.
                    tx.set("task", task, "result", xmlrpc::encode_value(&value).unwrap_or_default())?;
                }
                tx.set("task", task, "status", "success")?;
            }
            Err(failure) => {
                let cancelled = failure.code == "TASK_CANCELLED";
                tx.set("task", task, "error_info", Vec::from(failure))?;
                tx.set("task", task, "status", if cancelled { "cancelled" } else { "failure" })?;
            }
        }
        if unwanted {
            tx.delete("task", task);
        }
        Ok::<_, Failure>(())
    });
}

/// Only a mark: whoever carries out the task may look at it.
fn cancel(ctx: &Arc<Ctx>, calls::Cancel { task }: calls::Cancel) -> Result<(), Failure> {
    let task = task.to_string();
    ctx.write(|tx| {
        if tx.object("task", &task)?.str("status") == "pending" {
            tx.set_entry("task", &task, "current_operations", &ctx.task, "cancel")?;
        }
        Ok(())
    })
}

/// A pending task is only marked; it goes when it ends.
fn destroy(ctx: &Arc<Ctx>, calls::Destroy { task }: calls::Destroy) -> Result<(), Failure> {
    let task = task.to_string();
    ctx.write(|tx| {
        if tx.object("task", &task)?.str("status") == "pending" {
            tx.set_entry("task", &task, "current_operations", "task", "destroy")?;
        } else {
            tx.delete("task", &task);
        }
        Ok(())
    })
}
