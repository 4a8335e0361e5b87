//! Tasks: calls that run by themselves, and tasks that clients make.

use std::time::Duration;

use anyhow::{Result, ensure};
use xenapi_types::{Task, TaskRecord, TaskStatusType, Vm, task, vm};
use xenapi_wire::{Ref, Value};

use super::clean::Made;
use super::expect::{refused, refused_with, same};
use super::lab::Lab;

super::checks! { "tasks";
    a_task_ends_with_the_result_of_its_call,
    the_result_of_a_call_without_result_is_an_empty_value,
    a_reference_is_a_result,
    sets_and_booleans_are_results,
    a_task_ends_with_the_failure_of_its_call,
    a_task_of_a_call_on_nothing_fails_by_itself,
    calls_that_only_read_have_no_async_form,
    an_unknown_async_method_is_named_without_its_prefix,
    a_new_task_is_pending,
    the_owner_sets_progress_result_and_error,
    any_status_follows_any_other,
    an_unknown_status_is_refused,
    names_of_tasks_do_not_change,
    task_settings_are_a_map,
    cancelling_our_own_pending_task_changes_nothing,
    cancelling_a_finished_task_succeeds,
    a_finished_task_is_destroyed_once,
    a_pending_task_survives_its_destruction,
    a_task_survives_its_session,
    tasks_are_found_by_name,
    the_client_waits_for_tasks,
}

impl Lab {
    /// The record of a task once it has ended.
    pub(super) async fn ended(&self, task: &Ref<Task>) -> Result<TaskRecord> {
        let is_over = |record: &TaskRecord| {
            !matches!(record.status, TaskStatusType::Pending | TaskStatusType::Cancelling)
        };
        Ok(self.client.wait_until(task, Duration::from_secs(120), is_over).await?)
    }

    async fn set_status(&self, task: &Ref<Task>, value: TaskStatusType) -> xenapi_client::Result<()> {
        self.client.call(task::SetStatus { task: task.clone(), value }).await
    }
}

async fn a_task_ends_with_the_result_of_its_call(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let overhead: i64 = lab.rpc("VM.compute_memory_overhead", (&vm,)).await?;
    let record = lab.ended(&lab.spawn("VM.compute_memory_overhead", (&vm,)).await?).await?;
    same("status", &record.status, &TaskStatusType::Success)?;
    same("result", record.result.as_str(), format!("<value>{overhead}</value>").as_str())?;
    same("name_label", record.name_label.as_str(), "Async.VM.compute_memory_overhead")?;
    same("error_info", record.error_info, Vec::<String>::new())?;
    same("progress", record.progress, 1.0)?;
    ensure!(!record.finished.is_epoch(), "finished is not set");
    ensure!(!record.resident_on.is_null(), "resident_on is not set");
    Ok(())
}

async fn the_result_of_a_call_without_result_is_an_empty_value(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let record = lab.ended(&lab.spawn("VM.assert_agile", (&vm,)).await?).await?;
    same("status", &record.status, &TaskStatusType::Success)?;
    ensure!(["", "<value></value>", "<value/>"].contains(&record.result.as_str()), "{:?}", record.result);
    Ok(())
}

async fn a_reference_is_a_result(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let record = lab.ended(&lab.spawn("VM.clone", (&vm, lab.name())).await?).await?;
    same("status", &record.status, &TaskStatusType::Success)?;
    let reference = record.result.strip_prefix("<value>").and_then(|rest| rest.strip_suffix("</value>"));
    let clone = Ref::<Vm>::from(reference.unwrap_or_default());
    lab.keep(Made::Vm(clone.clone()));
    ensure!(lab.client.record_opt(&clone).await?.is_some(), "the result {:?} is no VM", record.result);
    Ok(())
}

async fn sets_and_booleans_are_results(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let hosts = lab.ended(&lab.spawn("VM.get_possible_hosts", (&vm,)).await?).await?.result;
    ensure!(
        hosts.starts_with("<value><array><data>") && hosts.ends_with("</data></array></value>"),
        "{hosts}"
    );
    let cooperative = lab.ended(&lab.spawn("VM.get_cooperative", (&vm,)).await?).await?.result;
    same("VM.get_cooperative", cooperative.as_str(), "<value><boolean>1</boolean></value>")
}

async fn a_task_ends_with_the_failure_of_its_call(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let record = lab.ended(&lab.spawn("VM.hard_shutdown", (&vm,)).await?).await?;
    same("status", &record.status, &TaskStatusType::Failure)?;
    same("result", record.result.as_str(), "")?;
    same("progress", record.progress, 1.0)?;
    same("code", record.error_info.first().map(String::as_str), Some("VM_BAD_POWER_STATE"))?;
    same("VM", record.error_info.get(1), Some(&vm.to_string()))
}

/// Unlike the call itself, its Async form gives out a task before it looks at its arguments.
async fn a_task_of_a_call_on_nothing_fails_by_itself(lab: &Lab) -> Result<()> {
    let nothing = "OpaqueRef:00000000-0000-4000-8000-000000000000";
    let record = lab.ended(&lab.spawn("VM.destroy", (nothing,)).await?).await?;
    same("status", &record.status, &TaskStatusType::Failure)?;
    same("error_info", record.error_info, ["HANDLE_INVALID", "VM", nothing])
}

/// The answer's first element is no code of XAPI here.
async fn calls_that_only_read_have_no_async_form(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    for method in ["VM.get_record", "VM.get_boot_record", "VM.get_allowed_VBD_devices"] {
        let answer: xenapi_client::Result<Value> = lab.rpc(&format!("Async.{method}"), (&vm,)).await;
        let reason = format!("No async mode for this operation (rpc: {method})");
        refused_with(answer, "Fault", &[&reason])?;
    }
    let answer: xenapi_client::Result<Value> = lab.rpc("Async.VM.set_name_label", (&vm, "x")).await;
    refused(answer, "Fault").map(drop)
}

async fn an_unknown_async_method_is_named_without_its_prefix(lab: &Lab) -> Result<()> {
    let answer: xenapi_client::Result<Value> = lab.rpc("Async.VM.nosuch", ("x",)).await;
    refused_with(answer, "MESSAGE_METHOD_UNKNOWN", &["VM.nosuch"])
}

async fn a_new_task_is_pending(lab: &Lab) -> Result<()> {
    lab.site.needs_tasks()?;
    let label = format!("{} é<&>", lab.name());
    let create = task::Create { label: label.clone(), description: "of a check".to_owned() };
    let task = lab.client.call(create).await?;
    lab.keep(Made::Task(task.clone()));
    let record = lab.client.record(&task).await?;
    same("name_label", record.name_label, label)?;
    same("name_description", record.name_description.as_str(), "of a check")?;
    same("status", record.status, TaskStatusType::Pending)?;
    same("progress", record.progress, 0.0)?;
    same("finished is the epoch", record.finished.is_epoch(), true)?;
    same("type", record.r#type.as_str(), "<none/>")?;
    same("result", record.result.as_str(), "")?;
    same("subtask_of is null", record.subtask_of.is_null(), true)
}

async fn the_owner_sets_progress_result_and_error(lab: &Lab) -> Result<()> {
    let task = lab.task().await?;
    lab.client.call(task::SetProgress { task: task.clone(), value: 0.25 }).await?;
    lab.client.call(task::SetResult { task: task.clone(), value: "<value>hello</value>".to_owned() }).await?;
    let info = vec!["A".to_owned(), "b".to_owned()];
    lab.client.call(task::SetErrorInfo { task: task.clone(), value: info.clone() }).await?;
    let record = lab.client.record(&task).await?;
    same("progress", record.progress, 0.25)?;
    same("result", record.result.as_str(), "<value>hello</value>")?;
    same("error_info", record.error_info, info)?;
    same("status", record.status, TaskStatusType::Pending)
}

/// Not even the end is the end, and the progress stays where it was.
async fn any_status_follows_any_other(lab: &Lab) -> Result<()> {
    let task = lab.task().await?;
    lab.client.call(task::SetProgress { task: task.clone(), value: 0.5 }).await?;
    use TaskStatusType::{Cancelled, Failure, Pending, Success};
    for status in [Success, Pending, Cancelled, Failure] {
        lab.set_status(&task, status.clone()).await?;
        let record = lab.client.record(&task).await?;
        same("status", record.status, status)?;
        same("progress", record.progress, 0.5)?;
    }
    Ok(())
}

async fn an_unknown_status_is_refused(lab: &Lab) -> Result<()> {
    let task = lab.task().await?;
    refused(lab.set_status(&task, TaskStatusType::Unknown("banana".into())).await, "INTERNAL_ERROR").map(drop)
}

async fn names_of_tasks_do_not_change(lab: &Lab) -> Result<()> {
    let task = lab.task().await?;
    for method in ["task.set_name_label", "task.set_type", "task.set_resident_on"] {
        let answer: xenapi_client::Result<Value> = lab.rpc(method, (&task, "x")).await;
        refused_with(answer, "MESSAGE_METHOD_UNKNOWN", &[method])?;
    }
    Ok(())
}

async fn task_settings_are_a_map(lab: &Lab) -> Result<()> {
    let task = lab.task().await?;
    lab.client.add_to(&task, task::field::OTHER_CONFIG, "q", "r").await?;
    let again = lab.client.add_to(&task, task::field::OTHER_CONFIG, "q", "s").await;
    refused_with(again, "MAP_DUPLICATE_KEY", &["task", "other_config", &task.to_string(), "q"])
}

/// XAPI notes the wish in `current_operations`; whoever made the task must honour it.
async fn cancelling_our_own_pending_task_changes_nothing(lab: &Lab) -> Result<()> {
    let task = lab.task().await?;
    lab.client.call(task::Cancel { task: task.clone() }).await?;
    let record = lab.client.record(&task).await?;
    same("status", record.status, TaskStatusType::Pending)?;
    let operations: Vec<_> = record.current_operations.into_values().collect();
    same("current_operations", operations, [xenapi_types::TaskAllowedOperations::Cancel])
}

async fn cancelling_a_finished_task_succeeds(lab: &Lab) -> Result<()> {
    let task = lab.task().await?;
    lab.set_status(&task, TaskStatusType::Success).await?;
    lab.client.call(task::Cancel { task: task.clone() }).await?;
    same("status", lab.client.record(&task).await?.status, TaskStatusType::Success)
}

async fn a_finished_task_is_destroyed_once(lab: &Lab) -> Result<()> {
    let task = lab.task().await?;
    lab.set_status(&task, TaskStatusType::Success).await?;
    lab.client.destroy(&task).await?;
    refused_with(lab.client.destroy(&task).await, "HANDLE_INVALID", &["task", &task.to_string()])?;
    let status = lab.client.get_field(&task, task::field::STATUS).await;
    refused_with(status, "HANDLE_INVALID", &["task", &task.to_string()])
}

async fn a_pending_task_survives_its_destruction(lab: &Lab) -> Result<()> {
    let task = lab.task().await?;
    lab.client.destroy(&task).await?;
    let record = lab.client.record(&task).await?;
    same("status", record.status, TaskStatusType::Pending)?;
    let operations: Vec<_> = record.current_operations.into_values().collect();
    same("current_operations", operations, [xenapi_types::TaskAllowedOperations::Destroy])?;
    lab.set_status(&task, TaskStatusType::Success).await?;
    same("status", lab.client.record(&task).await?.status, TaskStatusType::Success)
}

async fn a_task_survives_its_session(lab: &Lab) -> Result<()> {
    lab.site.needs_tasks()?;
    let other = lab.other_client("conformance, second").await?;
    let create = task::Create { label: lab.name(), description: String::new() };
    let task = other.call(create).await?;
    lab.keep(Made::Task(task.clone()));
    other.close().await?;
    same("status", lab.client.record(&task).await?.status, TaskStatusType::Pending)
}

async fn tasks_are_found_by_name(lab: &Lab) -> Result<()> {
    let task = lab.task().await?;
    let name = lab.client.record(&task).await?.name_label;
    same("found", lab.client.all_by_name_label::<Task>(&name).await?, [task.clone()])?;
    ensure!(lab.client.all::<Task>().await?.contains(&task), "task.get_all does not list it");
    ensure!(lab.client.all_records::<Task>().await?.contains_key(&task), "nor does task.get_all_records");
    Ok(())
}

async fn the_client_waits_for_tasks(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let clone = lab.client.spawn_task(vm::Clone { vm: vm.clone(), new_name: lab.name() }).await?.await?;
    lab.keep(Made::Vm(clone.clone()));
    ensure!(lab.client.record_opt(&clone).await?.is_some(), "the clone {clone} is not there");
    let failing = lab.client.spawn_task(vm::HardShutdown { vm }).await?;
    refused(failing.await, "VM_BAD_POWER_STATE").map(drop)
}
