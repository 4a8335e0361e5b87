//! `event.from`, and the older `event.register` and `event.next`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use xenapi_types::{
    Cls, EventBatch, EventOperation, EventRecord, Host, Task, TaskStatusType, event, message, task, vm,
};
use xenapi_wire::{Call, Class, Ref, Value};

use super::clean::Made;
use super::expect::{refused, refused_with, same};
use super::lab::{Lab, MIB};

super::checks! { "events";
    the_empty_token_gives_everything_as_added,
    the_zero_token_gives_everything_too,
    classes_are_asked_for_in_any_case_and_told_in_lower_case,
    one_object_can_be_asked_for,
    nothing_new_is_told_at_the_timeout,
    the_timeout_may_be_an_integer,
    a_negative_timeout_is_none,
    unknown_things_never_happen,
    tokens_that_make_no_sense_are_refused,
    a_token_from_the_future_comes_back,
    objects_are_counted,
    a_new_object_is_added_with_its_record,
    several_changes_are_one_event,
    attaching_a_disk_changes_guest_and_disk,
    destroyed_objects_come_without_record,
    what_came_and_went_in_between_is_not_told,
    a_change_ends_a_wait_at_once,
    tasks_are_told_of,
    messages_are_told_of,
    an_injected_event_is_a_change,
    nothing_is_injected_for_unknown_objects,
    the_current_id_is_zero,
    logging_out_ends_a_wait_at_once,
    the_old_way_needs_a_registration,
    the_old_way_tells_every_change,
}

const UNKNOWN: &str = "OpaqueRef:00000000-0000-4000-8000-000000000000";

/// Longer than any answer with news in it takes.
const LONG: Duration = Duration::from_secs(60);

impl Lab {
    async fn events(
        &self,
        classes: &[&str],
        token: &str,
        timeout: Duration,
    ) -> xenapi_client::Result<EventBatch> {
        self.client.events_from(classes, token, timeout).await
    }

    /// The token of now.
    async fn token(&self, classes: &[&str]) -> Result<String> {
        Ok(self.events(classes, "", Duration::ZERO).await?.token)
    }

    /// The next event of an object, which may be in a later batch when others are busy too.
    async fn event_of<C: Class>(
        &self,
        object: &Ref<C>,
        classes: &[&str],
        mut token: String,
    ) -> Result<EventRecord> {
        let begin = Instant::now();
        while begin.elapsed() < LONG {
            let batch = self.events(classes, &token, LONG).await?;
            if let Some(event) = batch.events.into_iter().find(|event| is_about(event, object)) {
                return Ok(event);
            }
            token = batch.token;
        }
        bail!("no event of {} {object} within {} s", C::NAME, LONG.as_secs())
    }
}

fn is_about<C: Class>(event: &EventRecord, object: &Ref<C>) -> bool {
    event.object::<C>().as_ref() == Some(object)
}

fn text<'a>(event: &'a EventRecord, field: &str) -> Result<&'a str> {
    event.snapshot.get(field).and_then(Value::as_str).with_context(|| format!("{event:?} has no {field}"))
}

async fn the_empty_token_gives_everything_as_added(lab: &Lab) -> Result<()> {
    let batch = lab.events(&["pool", "host"], "", Duration::ZERO).await?;
    let hosts = batch.events.iter().filter(|event| event.class == "host").count();
    let pools = batch.events.iter().filter(|event| event.class == "pool").count();
    same("hosts and pools", (hosts, pools), (lab.site.host_count, 1))?;
    same("all events", batch.events.len(), hosts + pools)?;
    ensure!(batch.events.iter().all(|event| event.operation == EventOperation::Add), "not all are additions");
    let numbers: Vec<_> = batch.token.split(',').collect();
    ensure!(numbers.len() == 2 && numbers.iter().all(|n| n.len() == 20), "odd token {:?}", batch.token);
    Ok(())
}

async fn the_zero_token_gives_everything_too(lab: &Lab) -> Result<()> {
    let batch = lab.events(&["host"], "0,0", Duration::ZERO).await?;
    same("hosts", batch.events.len(), lab.site.host_count)
}

async fn classes_are_asked_for_in_any_case_and_told_in_lower_case(lab: &Lab) -> Result<()> {
    for class in ["SR", "sr", "Sr"] {
        let batch = lab.events(&[class], "", Duration::from_secs(5)).await?;
        ensure!(!batch.events.is_empty(), "no events for {class:?}");
        ensure!(batch.events.iter().all(|event| event.class == "sr"), "{:?}", batch.events[0].class);
    }
    Ok(())
}

async fn one_object_can_be_asked_for(lab: &Lab) -> Result<()> {
    let (vm, _other) = (lab.vm().await?, lab.vm().await?);
    let batch = lab.events(&[&format!("VM/{vm}")], "", Duration::from_secs(5)).await?;
    same("events", batch.events.len(), 1)?;
    ensure!(is_about(&batch.events[0], &vm), "it is about {:?}", batch.events[0].r#ref);
    Ok(())
}

async fn nothing_new_is_told_at_the_timeout(lab: &Lab) -> Result<()> {
    let subscription = format!("VM/{}", lab.vm().await?);
    let token = lab.token(&[&subscription]).await?;
    let begin = Instant::now();
    let batch = lab.events(&[&subscription], &token, Duration::from_secs(1)).await?;
    let waited = begin.elapsed().as_secs_f32();
    same("events", batch.events.len(), 0)?;
    ensure!((0.9..LONG.as_secs_f32()).contains(&waited), "it took {waited} s");
    Ok(())
}

async fn the_timeout_may_be_an_integer(lab: &Lab) -> Result<()> {
    let batch: EventBatch = lab.rpc("event.from", (["pool"], "", 1)).await?;
    same("events", batch.events.len(), 1)
}

async fn a_negative_timeout_is_none(lab: &Lab) -> Result<()> {
    let begin = Instant::now();
    let batch: EventBatch = lab.rpc("event.from", (["pool"], "", -1.0)).await?;
    same("events", batch.events.len(), 1)?;
    ensure!(begin.elapsed() < LONG, "it took {:?}", begin.elapsed());
    Ok(())
}

/// Nobody is told that there is no such class or object: the wait just ends.
async fn unknown_things_never_happen(lab: &Lab) -> Result<()> {
    let one = format!("pool/{UNKNOWN}");
    for classes in [&[][..], &["nosuch"], &["pool/"], &["a/b/c"], &[&one]] {
        let batch = lab.events(classes, "", Duration::from_millis(200)).await?;
        same("events", batch.events.len(), 0)?;
    }
    Ok(())
}

async fn tokens_that_make_no_sense_are_refused(lab: &Lab) -> Result<()> {
    for token in ["zzz", "5", "1,2,3", "99999999999999999999,99999999999999999999"] {
        let answer = lab.events(&["pool"], token, Duration::ZERO).await;
        refused_with(answer, "EVENT_FROM_TOKEN_PARSE_FAILURE", &[token])?;
    }
    Ok(())
}

/// A token of a toolstack that has been restarted since is no error: its holder waits in vain.
async fn a_token_from_the_future_comes_back(lab: &Lab) -> Result<()> {
    let token = "00000000009999999999,00000000009999999999";
    let batch = lab.events(&["pool"], token, Duration::from_millis(200)).await?;
    same("events", batch.events.len(), 0)?;
    same("token", batch.token.as_str(), token)
}

async fn objects_are_counted(lab: &Lab) -> Result<()> {
    let batch = lab.events(&["pool"], "", Duration::ZERO).await?;
    same("hosts", batch.valid_ref_counts.get("host").copied(), i64::try_from(lab.site.host_count).ok())?;
    same("pools", batch.valid_ref_counts.get("pool").copied(), Some(1))?;
    ensure!(
        batch.valid_ref_counts.keys().all(|class| *class == class.to_lowercase()),
        "not all in lower case"
    );
    Ok(())
}

async fn a_new_object_is_added_with_its_record(lab: &Lab) -> Result<()> {
    let token = lab.token(&["vm"]).await?;
    let vm = lab.vm().await?;
    let event = lab.event_of(&vm, &["vm"], token).await?;
    same("operation", &event.operation, &EventOperation::Add)?;
    let record = lab.client.record(&vm).await?;
    same("name_label", text(&event, "name_label")?, record.name_label.as_str())?;
    same("uuid", text(&event, "uuid")?, record.uuid.as_str())
}

async fn several_changes_are_one_event(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let subscription = format!("VM/{vm}");
    let token = lab.token(&[&subscription]).await?;
    for name in ["one", "two", "three"] {
        lab.client.set_field(&vm, vm::field::NAME_DESCRIPTION, name).await?;
    }
    let batch = lab.events(&[&subscription], &token, LONG).await?;
    same("events", batch.events.len(), 1)?;
    same("operation", &batch.events[0].operation, &EventOperation::Mod)?;
    same("name_description", text(&batch.events[0], "name_description")?, "three")
}

async fn attaching_a_disk_changes_guest_and_disk(lab: &Lab) -> Result<()> {
    let (vm, vdi) = (lab.vm().await?, lab.disk(4 * MIB).await?);
    let classes = [&format!("VM/{vm}")[..], &format!("VDI/{vdi}")[..], "vbd"];
    let token = lab.token(&classes).await?;
    let vbd = lab.vbd(&vm, &vdi, "0").await?;
    let added = lab.event_of(&vbd, &classes, token.clone()).await?;
    same("operation on the VBD", added.operation, EventOperation::Add)?;
    let event = lab.event_of(&vm, &classes, token.clone()).await?;
    same("operation on the VM", &event.operation, &EventOperation::Mod)?;
    let listed = event.snapshot.get("VBDs").and_then(Value::as_array);
    same("VM.VBDs", listed.map(<[_]>::len), Some(1))?;
    same("operation on the VDI", lab.event_of(&vdi, &classes, token).await?.operation, EventOperation::Mod)
}

async fn destroyed_objects_come_without_record(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let token = lab.token(&["vm"]).await?;
    lab.client.destroy(&vm).await?;
    let event = lab.event_of(&vm, &["vm"], token).await?;
    same("operation", &event.operation, &EventOperation::Del)?;
    same("record", event.snapshot, Value::Nil)
}

async fn what_came_and_went_in_between_is_not_told(lab: &Lab) -> Result<()> {
    let token = lab.token(&["vm"]).await?;
    let vm = lab.vm().await?;
    lab.client.destroy(&vm).await?;
    let batch = lab.events(&["vm"], &token, Duration::from_millis(500)).await?;
    ensure!(!batch.events.iter().any(|event| is_about(event, &vm)), "an event of a VM that is gone");
    Ok(())
}

async fn a_change_ends_a_wait_at_once(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let subscription = format!("VM/{vm}");
    let token = lab.token(&[&subscription]).await?;
    let begin = Instant::now();
    let change = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        lab.client.set_field(&vm, vm::field::NAME_DESCRIPTION, "changed").await
    };
    let classes = [subscription.as_str()];
    let (batch, changed) = tokio::join!(lab.events(&classes, &token, LONG), change);
    changed?;
    same("events", batch?.events.len(), 1)?;
    let waited = begin.elapsed();
    ensure!(waited >= Duration::from_millis(300) && waited < LONG, "the wait took {waited:?}");
    Ok(())
}

async fn tasks_are_told_of(lab: &Lab) -> Result<()> {
    let token = lab.token(&["task"]).await?;
    let task = lab.task().await?;
    let event = lab.event_of::<Task>(&task, &["task"], token).await?;
    same("operation", &event.operation, &EventOperation::Add)?;
    same("status", text(&event, "status")?, "pending")?;
    let token = lab.token(&["task"]).await?;
    let done = task::SetStatus { task: task.clone(), value: TaskStatusType::Success };
    lab.client.call(done).await?;
    let event = lab.event_of(&task, &["task"], token).await?;
    same("status", text(&event, "status")?, "success")?;
    let token = lab.token(&["task"]).await?;
    lab.client.destroy(&task).await?;
    same("operation", lab.event_of(&task, &["task"], token).await?.operation, EventOperation::Del)
}

/// Messages have a counter of their own, the second number of the token.
async fn messages_are_told_of(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let uuid = lab.client.get_field(&vm, vm::field::UUID).await?;
    let token = lab.token(&["message"]).await?;
    let create = message::Create {
        name: "CONFORMANCE".into(),
        priority: 3,
        cls: Cls::Vm,
        obj_uuid: uuid,
        body: "<&>".into(),
    };
    let message = lab.client.call(create).await?;
    lab.keep(Made::Message(message.clone()));
    let event = lab.event_of(&message, &["message"], token).await?;
    same("operation", &event.operation, &EventOperation::Add)?;
    same("body", text(&event, "body")?, "<&>")
}

async fn an_injected_event_is_a_change(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let subscription = format!("VM/{vm}");
    let token = lab.token(&[&subscription]).await?;
    let injected = event::Inject { class: "VM".into(), r#ref: vm.to_string() };
    let after = lab.client.call(injected).await?;
    ensure!(after.contains(','), "event.inject gave {after:?}, which is no token");
    let batch = lab.events(&[&subscription], &token, LONG).await?;
    same("events", batch.events.len(), 1)?;
    same("operation", &batch.events[0].operation, &EventOperation::Mod)
}

async fn nothing_is_injected_for_unknown_objects(lab: &Lab) -> Result<()> {
    let pool = lab.site.pool.to_string();
    for (class, object) in [("pool", UNKNOWN), ("nosuch", &pool), ("VM", &pool)] {
        let inject = event::Inject { class: class.into(), r#ref: object.into() };
        refused_with(lab.client.call(inject).await, "HANDLE_INVALID", &[class, object])?;
    }
    Ok(())
}

async fn the_current_id_is_zero(lab: &Lab) -> Result<()> {
    same("event.get_current_id", lab.client.call(event::GetCurrentId {}).await?, 0)
}

/// A wait with any session, which the client leaves alone.
#[derive(Debug, Serialize, Deserialize)]
struct From(Vec<Value>);

impl Call for From {
    const METHOD: &'static str = "event.from";
    const NEEDS_SESSION: bool = false;
    type Output = Value;
}

async fn logging_out_ends_a_wait_at_once(lab: &Lab) -> Result<()> {
    let classes = [format!("VM/{}", lab.vm().await?)];
    let token = lab.token(&[&classes[0]]).await?;
    let session = lab.log_in(&[]).await?;
    let wait = From(vec![
        Value::encode(&session)?,
        Value::encode(&classes)?,
        Value::encode(&token)?,
        Value::encode(&LONG.as_secs_f64())?,
    ]);
    let begin = Instant::now();
    let log_out = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        lab.log_out(&session).await
    };
    let (answer, done) = tokio::join!(lab.client.call(wait), log_out);
    done?;
    refused_with(answer, "SESSION_INVALID", &[&session])?;
    ensure!(begin.elapsed() < LONG, "the wait took {:?}", begin.elapsed());
    Ok(())
}

async fn the_old_way_needs_a_registration(lab: &Lab) -> Result<()> {
    let client = lab.other_client("conformance, old events").await?;
    let failure = refused(client.call(event::Next {}).await, "SESSION_NOT_REGISTERED")?;
    ensure!(failure.param(0).starts_with("trackid="), "{failure} names something else");
    client.call(event::Unregister { classes: vec!["vm".into()] }).await?;
    Ok(())
}

async fn the_old_way_tells_every_change(lab: &Lab) -> Result<()> {
    let client = lab.other_client("conformance, old events").await?;
    client.call(event::Register { classes: vec!["vm".into()] }).await?;
    let vm = lab.vm().await?;
    let begin = Instant::now();
    let mut found = false;
    while !found && begin.elapsed() < LONG {
        let events: Vec<Value> = client.invoke("event.next", &()).await?;
        found = events.iter().any(|event| {
            let is = |field: &str, value: &str| event.get(field).and_then(Value::as_str) == Some(value);
            is("ref", &vm.to_string()) && is("operation", "add") && is("class", "vm")
        });
    }
    client.call(event::Unregister { classes: vec!["vm".into()] }).await?;
    ensure!(found, "no event of the new VM");
    let hosts = client.all::<Host>().await?;
    same("hosts, asked for with the same session", hosts.len(), lab.site.host_count)
}
