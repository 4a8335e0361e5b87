//! Guests: their records, their life, what is refused when, templates, snapshots, memory.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use xenapi_types::{Cls, Host, VbdRecord, VdiRecord, Vm, VmMetrics, VmOperations, VmPowerState, message, vm};
use xenapi_wire::{DateTime, Ref, Value};

use super::clean::Made;
use super::expect::{not_applicable, refused, refused_with, same};
use super::lab::{Lab, MIB};

super::checks! { "vm";
    creation_fills_in_the_rest,
    creation_checks_almost_nothing,
    creation_needs_most_fields,
    creation_drops_blocked_operations,
    a_halted_guest_allows_what_it_can_do,
    a_running_guest_allows_what_it_can_do,
    wrong_states_name_the_right_ones,
    a_running_guest_cannot_be_started,
    an_operation_can_be_asked_about,
    a_guest_starts_pauses_and_stops,
    a_guest_may_start_paused,
    a_guest_may_start_on_a_given_host,
    a_guest_suspends_and_resumes,
    a_guest_shuts_down_cleanly,
    starting_leaves_a_message,
    a_blocked_operation_gives_its_reason,
    more_memory_than_there_is_cannot_start,
    memory_limits_stand_in_order,
    at_least_one_vcpu_starts,
    static_memory_of_a_running_guest_stays,
    a_destroyed_guest_leaves_its_disks,
    a_clone_is_another_guest,
    a_guest_becomes_a_template_and_back,
    a_clone_of_a_template_must_be_provisioned,
    a_snapshot_knows_its_guest,
    a_snapshot_does_not_start,
    a_snapshot_outlives_its_guest,
    reverting_brings_back_name_and_disks,
    only_snapshots_are_reverted_to,
    a_checkpoint_needs_a_running_guest,
}

const UNKNOWN: &str = "OpaqueRef:00000000-0000-4000-8000-000000000000";

impl Lab {
    async fn power_state(&self, vm: &Ref<Vm>) -> Result<VmPowerState> {
        Ok(self.client.get_field(vm, vm::field::POWER_STATE).await?)
    }

    async fn allows(&self, vm: &Ref<Vm>) -> Result<BTreeSet<String>> {
        let operations = self.client.record(vm).await?.allowed_operations;
        Ok(operations.iter().map(|operation| operation.as_str().to_owned()).collect())
    }

    /// A call that takes nothing but the guest.
    pub(super) async fn command(&self, method: &str, vm: &Ref<Vm>) -> xenapi_client::Result<Value> {
        self.rpc(method, (vm,)).await
    }

    /// A call that takes a guest with drivers in it.
    async fn cooperative(&self, method: &str, vm: &Ref<Vm>) -> Result<()> {
        match self.command(method, vm).await {
            Err(error)
                if ["VM_LACKS_FEATURE", "VM_LACKS_FEATURE_SHUTDOWN", "VM_LACKS_FEATURE_SUSPEND"]
                    .iter()
                    .chain(&["VM_MISSING_PV_DRIVERS", "VM_OLD_PV_DRIVERS", "SR_BACKEND_FAILURE_44"])
                    .chain(&["VM_NO_SUSPEND_SR", "VM_NON_SUSPENDABLE", "VM_SUSPEND_TIMEOUT"])
                    .chain(&["VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT", "VM_SHUTDOWN_TIMEOUT"])
                    .any(|code| error.is(code)) =>
            {
                Err(not_applicable(format!("an empty guest cannot do it: {error}")))
            }
            result => Ok(result.map(drop)?),
        }
    }

    /// Takes a snapshot with the guest's disks.
    async fn snapshot(&self, vm: &Ref<Vm>) -> Result<Ref<Vm>> {
        self.site.needs_feature("VDI_SNAPSHOT")?;
        let snapshot: Ref<Vm> = self.rpc("VM.snapshot", (vm, self.name())).await?;
        self.keep(Made::Vm(snapshot.clone()));
        Ok(snapshot)
    }

    /// The disks of a guest with what attaches them.
    async fn disks_of(&self, vm: &Ref<Vm>) -> Result<Vec<(VbdRecord, VdiRecord)>> {
        let mut disks = Vec::new();
        for vbd in self.client.record(vm).await?.vbds {
            let vbd = self.client.record(&vbd).await?;
            let vdi = self.client.record(&vbd.vdi).await?;
            disks.push((vbd, vdi));
        }
        Ok(disks)
    }
}

async fn creation_fills_in_the_rest(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let record = lab.client.record(&vm).await?;
    same("power_state", record.power_state, VmPowerState::Halted)?;
    same("domid", record.domid, -1)?;
    same("is_a_snapshot", record.is_a_snapshot, false)?;
    same("is_control_domain", record.is_control_domain, false)?;
    same("resident_on is null", record.resident_on.is_null(), true)?;
    ensure!(record.other_config.contains_key("mac_seed"), "no mac_seed in other_config");
    ensure!(!record.uuid.is_empty(), "no uuid");
    let metrics = lab.client.record::<VmMetrics>(&record.metrics).await?;
    same("VCPUs_number", metrics.vcpus_number, 0)
}

/// Memory and vCPUs are looked at when they are set or the guest is started.
async fn creation_checks_almost_nothing(lab: &Lab) -> Result<()> {
    lab.vm_of(vm::Create { memory_static_max: -1, ..lab.vm_fields() }).await?;
    lab.vm_of(vm::Create { memory_dynamic_min: 999 * MIB, ..lab.vm_fields() }).await?;
    lab.vm_of(vm::Create { vcpus_max: 0, ..lab.vm_fields() }).await?;
    lab.vm_of(vm::Create { vcpus_at_startup: 9, ..lab.vm_fields() }).await?;
    lab.vm_of(vm::Create { affinity: Ref::<Host>::from(UNKNOWN), ..lab.vm_fields() }).await?;
    let empty = lab.vm_of(vm::Create { affinity: Ref::<Host>::from(""), ..lab.vm_fields() }).await?;
    same("affinity is null", lab.client.record(&empty).await?.affinity.is_null(), true)
}

async fn creation_needs_most_fields(lab: &Lab) -> Result<()> {
    let parameters = Value::encode(&lab.vm_fields())?;
    let fields = parameters.as_array().and_then(|all| all.first()).and_then(Value::as_struct);
    let fields = fields.context("VM.create does not take a struct")?;
    for field in ["memory_static_max", "VCPUs_max", "affinity", "platform", "user_version", "is_a_template"] {
        let mut fields = fields.clone();
        fields.remove(field);
        let answer: xenapi_client::Result<Value> = lab.rpc("VM.create", (fields,)).await;
        let reason = format!("Server_helpers.Dispatcher_FieldNotFound(\"{field}\")");
        refused_with(answer, "INTERNAL_ERROR", &[&reason])?;
    }
    let mut fewer = fields.clone();
    for field in ["ha_restart_priority", "tags", "xenstore_data", "name_description", "power_state"] {
        fewer.remove(field);
    }
    let vm: Ref<Vm> = lab.rpc("VM.create", (fewer,)).await?;
    lab.keep(Made::Vm(vm));
    Ok(())
}

async fn creation_drops_blocked_operations(lab: &Lab) -> Result<()> {
    let blocked = [(VmOperations::Start, "NO".to_owned())].into();
    let vm = lab.vm_of(vm::Create { blocked_operations: blocked, ..lab.vm_fields() }).await?;
    same("blocked_operations", lab.client.record(&vm).await?.blocked_operations.len(), 0)
}

fn allows_exactly(what: &str, allowed: &BTreeSet<String>, yes: &[&str], no: &[&str]) -> Result<()> {
    for operation in yes {
        ensure!(allowed.contains(*operation), "a {what} guest does not allow {operation}: {allowed:?}");
    }
    for operation in no {
        ensure!(!allowed.contains(*operation), "a {what} guest allows {operation}: {allowed:?}");
    }
    Ok(())
}

const ONLY_HALTED: &[&str] = &[
    "start",
    "start_on",
    "destroy",
    "clone",
    "copy",
    "export",
    "make_into_template",
    "changing_static_range",
];
const ONLY_RUNNING: &[&str] = &["hard_shutdown", "hard_reboot", "pause"];

async fn a_halted_guest_allows_what_it_can_do(lab: &Lab) -> Result<()> {
    let allowed = lab.allows(&lab.vm().await?).await?;
    allows_exactly("halted", &allowed, ONLY_HALTED, ONLY_RUNNING)?;
    allows_exactly(
        "halted",
        &allowed,
        &["snapshot", "metadata_export"],
        &["resume", "unpause", "revert", "provision"],
    )
}

async fn a_running_guest_allows_what_it_can_do(lab: &Lab) -> Result<()> {
    let vm = lab.running_vm().await?;
    let allowed = lab.allows(&vm).await?;
    allows_exactly("running", &allowed, ONLY_RUNNING, ONLY_HALTED)?;
    lab.command("VM.pause", &vm).await?;
    let allowed = lab.allows(&vm).await?;
    allows_exactly(
        "paused",
        &allowed,
        &["unpause", "hard_shutdown", "hard_reboot"],
        &["pause", "start", "destroy"],
    )
}

/// The states are in lower case and in an order of their own.
async fn wrong_states_name_the_right_ones(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    for (method, expected) in [
        ("VM.pause", "running"),
        ("VM.unpause", "paused"),
        ("VM.suspend", "running"),
        ("VM.clean_reboot", "running"),
        ("VM.hard_reboot", "paused, running"),
        ("VM.clean_shutdown", "running"),
        ("VM.hard_shutdown", "paused, suspended, running"),
        ("VM.shutdown", "paused, suspended, running"),
        ("VM.get_boot_record", "paused, suspended, running"),
        ("VM.get_data_sources", "running"),
    ] {
        let answer = lab.command(method, &vm).await;
        refused_with(answer, "VM_BAD_POWER_STATE", &[&vm.to_string(), expected, "halted"])
            .with_context(|| method.to_owned())?;
    }
    let resume: xenapi_client::Result<Value> = lab.rpc("VM.resume", (&vm, false, false)).await;
    refused_with(resume, "VM_BAD_POWER_STATE", &[&vm.to_string(), "suspended", "halted"])?;
    same("power_state", lab.power_state(&vm).await?, VmPowerState::Halted)
}

async fn a_running_guest_cannot_be_started(lab: &Lab) -> Result<()> {
    let vm = lab.running_vm().await?;
    let wrong = [&vm.to_string(), "halted", "running"];
    let answer: xenapi_client::Result<Value> = lab.rpc("VM.start", (&vm, false, false)).await;
    refused_with(answer, "VM_BAD_POWER_STATE", &wrong)?;
    let answer: xenapi_client::Result<Value> =
        lab.rpc("VM.start_on", (&vm, &lab.site.host, false, false)).await;
    refused_with(answer, "VM_BAD_POWER_STATE", &wrong)?;
    refused(lab.command("VM.unpause", &vm).await, "VM_BAD_POWER_STATE")?;
    refused(lab.client.destroy(&vm).await, "VM_BAD_POWER_STATE").map(drop)
}

async fn an_operation_can_be_asked_about(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let ask = async |operation: &str| -> xenapi_client::Result<Value> {
        lab.rpc("VM.assert_operation_valid", (&vm, operation)).await
    };
    for operation in ["start", "destroy", "clone", "snapshot", "export"] {
        ask(operation).await?;
    }
    for (operation, expected) in
        [("clean_shutdown", "running"), ("resume", "suspended"), ("unpause", "paused")]
    {
        refused_with(ask(operation).await, "VM_BAD_POWER_STATE", &[&vm.to_string(), expected, "halted"])?;
    }
    Ok(())
}

async fn a_guest_starts_pauses_and_stops(lab: &Lab) -> Result<()> {
    let vm = lab.running_vm().await?;
    let record = lab.client.record(&vm).await?;
    same("power_state", record.power_state, VmPowerState::Running)?;
    let host = lab.client.record::<Host>(&record.resident_on).await?;
    ensure!(host.resident_vms.contains(&vm), "host.resident_VMs does not list it");
    ensure!(record.domid > 0, "domid is {}", record.domid);
    for (method, state) in [
        ("VM.pause", VmPowerState::Paused),
        ("VM.unpause", VmPowerState::Running),
        ("VM.hard_reboot", VmPowerState::Running),
        ("VM.hard_shutdown", VmPowerState::Halted),
    ] {
        lab.command(method, &vm).await?;
        same(method, lab.power_state(&vm).await?, state)?;
    }
    let record = lab.client.record(&vm).await?;
    same("resident_on is null", record.resident_on.is_null(), true)?;
    same("domid", record.domid, -1)
}

async fn a_guest_may_start_paused(lab: &Lab) -> Result<()> {
    // Finds out whether guests can run here.
    lab.running_vm().await?;
    let vm = lab.vm().await?;
    lab.client.call(vm::Start { vm: vm.clone(), start_paused: true, force: false }).await?;
    same("power_state", lab.power_state(&vm).await?, VmPowerState::Paused)
}

async fn a_guest_may_start_on_a_given_host(lab: &Lab) -> Result<()> {
    lab.running_vm().await?;
    let vm = lab.vm().await?;
    let possible: Vec<Ref<Host>> = lab.rpc("VM.get_possible_hosts", (&vm,)).await?;
    let host = possible.first().context("no host can run the guest")?;
    let _: Value = lab.rpc("VM.assert_can_boot_here", (&vm, host)).await?;
    let _: Value = lab.rpc("VM.start_on", (&vm, host, false, false)).await?;
    same("resident_on", &lab.client.record(&vm).await?.resident_on, host)
}

async fn a_guest_suspends_and_resumes(lab: &Lab) -> Result<()> {
    lab.site.sr()?;
    let vm = lab.running_vm().await?;
    lab.cooperative("VM.suspend", &vm).await?;
    let record = lab.client.record(&vm).await?;
    same("power_state", record.power_state, VmPowerState::Suspended)?;
    same("suspend_VDI is null", record.suspend_vdi.is_null(), false)?;
    allows_exactly("suspended", &lab.allows(&vm).await?, &["resume", "hard_shutdown"], &["start", "pause"])?;
    let _: Value = lab.rpc("VM.resume", (&vm, false, false)).await?;
    let record = lab.client.record(&vm).await?;
    same("power_state", record.power_state, VmPowerState::Running)?;
    same("suspend_VDI is null", record.suspend_vdi.is_null(), true)
}

async fn a_guest_shuts_down_cleanly(lab: &Lab) -> Result<()> {
    let vm = lab.running_vm().await?;
    lab.cooperative("VM.clean_reboot", &vm).await?;
    same("power_state", lab.power_state(&vm).await?, VmPowerState::Running)?;
    lab.cooperative("VM.clean_shutdown", &vm).await?;
    same("power_state", lab.power_state(&vm).await?, VmPowerState::Halted)
}

async fn starting_leaves_a_message(lab: &Lab) -> Result<()> {
    let vm = lab.running_vm().await?;
    let uuid = lab.client.record(&vm).await?.uuid;
    let about = message::Get { cls: Cls::Vm, obj_uuid: uuid.clone(), since: DateTime::epoch() };
    let messages = lab.client.call(about).await?;
    let started = messages.values().find(|message| message.name == "VM_STARTED").context("no VM_STARTED")?;
    same("priority", started.priority, 5)?;
    ensure!(started.body.contains(&uuid), "the message says {:?}", started.body);
    Ok(())
}

/// An empty reason blocks as well.
async fn a_blocked_operation_gives_its_reason(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    for reason in ["FOR_A_TEST", ""] {
        let blocked = [(VmOperations::Start, reason.to_owned()), (VmOperations::Destroy, reason.to_owned())];
        lab.client.set_field(&vm, vm::field::BLOCKED_OPERATIONS, blocked).await?;
        allows_exactly("blocked", &lab.allows(&vm).await?, &["clone"], &["start", "destroy"])?;
        let start: xenapi_client::Result<Value> = lab.rpc("VM.start", (&vm, false, false)).await;
        refused_with(start, "OPERATION_BLOCKED", &[&vm.to_string(), reason])?;
        refused_with(lab.client.destroy(&vm).await, "OPERATION_BLOCKED", &[&vm.to_string(), reason])?;
    }
    lab.client.remove_from(&vm, vm::field::BLOCKED_OPERATIONS, VmOperations::Destroy).await?;
    allows_exactly("freed", &lab.allows(&vm).await?, &["destroy"], &["start"])?;
    lab.client.remove_from(&vm, vm::field::BLOCKED_OPERATIONS, VmOperations::Start).await?;
    lab.client.destroy(&vm).await?;
    Ok(())
}

async fn more_memory_than_there_is_cannot_start(lab: &Lab) -> Result<()> {
    lab.running_vm().await?;
    let too_much = 1 << 45;
    let vm = lab
        .vm_of(vm::Create {
            memory_static_max: too_much,
            memory_dynamic_max: too_much,
            memory_dynamic_min: too_much,
            memory_target: too_much,
            ..lab.vm_fields()
        })
        .await?;
    let start: xenapi_client::Result<Value> = lab.rpc("VM.start", (&vm, false, false)).await;
    refused_with(start, "NO_HOSTS_AVAILABLE", &[])?;
    let start: xenapi_client::Result<Value> =
        lab.rpc("VM.start_on", (&vm, &lab.site.host, false, false)).await;
    let failure = refused(start, "HOST_NOT_ENOUGH_FREE_MEMORY")?;
    let needed: i64 = failure.param(0).parse().with_context(|| failure.to_string())?;
    let free: i64 = failure.param(1).parse().with_context(|| failure.to_string())?;
    ensure!(needed >= too_much && free < too_much, "{failure}");
    same("power_state", lab.power_state(&vm).await?, VmPowerState::Halted)
}

async fn memory_limits_stand_in_order(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let limits = async |static_min: i64, static_max: i64, dynamic_min: i64, dynamic_max: i64| {
        let limits = (&vm, static_min * MIB, static_max * MIB, dynamic_min * MIB, dynamic_max * MIB);
        let done: xenapi_client::Result<Value> = lab.rpc("VM.set_memory_limits", limits).await;
        done
    };
    limits(128, 512, 256, 256).await?;
    let record = lab.client.record(&vm).await?;
    let found =
        [record.memory_static_min, record.memory_dynamic_min, record.memory_static_max].map(|n| n / MIB);
    same("static minimum, dynamic minimum, static maximum", found, [128, 256, 512])?;
    for wrong in [(512, 128, 256, 256), (0, 512, 256, 128), (0, 128, 256, 256)] {
        let answer = limits(wrong.0, wrong.1, wrong.2, wrong.3).await;
        refused_with(answer, "MEMORY_CONSTRAINT_VIOLATION_ORDER", &[])?;
    }
    let answer: xenapi_client::Result<Value> = lab.rpc("VM.set_memory_static_max", (&vm, MIB)).await;
    refused_with(answer, "MEMORY_CONSTRAINT_VIOLATION_ORDER", &[])?;
    same("static maximum", lab.client.record(&vm).await?.memory_static_max, 512 * MIB)
}

/// The first parameter of the failure is a sentence, not a field.
async fn at_least_one_vcpu_starts(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let rule = "VCPU values must satisfy: 0 < VCPUs_at_startup ≤ VCPUs_max";
    let _: Value = lab.rpc("VM.set_VCPUs_max", (&vm, 4)).await?;
    let _: Value = lab.rpc("VM.set_VCPUs_at_startup", (&vm, 4)).await?;
    for (method, value) in
        [("VM.set_VCPUs_at_startup", 5), ("VM.set_VCPUs_at_startup", 0), ("VM.set_VCPUs_max", 3)]
    {
        let answer: xenapi_client::Result<Value> = lab.rpc(method, (&vm, value)).await;
        refused_with(answer, "INVALID_VALUE", &[rule, &value.to_string()])?;
    }
    same("VCPUs_max", lab.client.record(&vm).await?.vcpus_max, 4)
}

async fn static_memory_of_a_running_guest_stays(lab: &Lab) -> Result<()> {
    let vm = lab.running_vm().await?;
    for method in ["VM.set_memory_static_max", "VM.set_memory"] {
        let answer: xenapi_client::Result<Value> = lab.rpc(method, (&vm, 512 * MIB)).await;
        if answer.as_ref().is_err_and(|error| error.is("MESSAGE_METHOD_UNKNOWN")) {
            // The second one came with XenServer 7.1.
            continue;
        }
        refused_with(answer, "VM_BAD_POWER_STATE", &[&vm.to_string(), "halted", "running"])?;
    }
    Ok(())
}

async fn a_destroyed_guest_leaves_its_disks(lab: &Lab) -> Result<()> {
    let (vm, vdi) = (lab.vm().await?, lab.disk(4 * MIB).await?);
    let vbd = lab.vbd(&vm, &vdi, "0").await?;
    let metrics = lab.client.record(&vm).await?.metrics;
    lab.client.destroy(&vm).await?;
    refused_with(lab.client.destroy(&vm).await, "HANDLE_INVALID", &["VM", &vm.to_string()])?;
    ensure!(lab.client.record_opt(&vbd).await?.is_none(), "the VBD is still there");
    ensure!(lab.client.record_opt(&metrics).await?.is_none(), "the metrics are still there");
    same("VDI.VBDs", lab.client.record(&vdi).await?.vbds.len(), 0)
}

async fn a_clone_is_another_guest(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    lab.client.set_field(&vm, vm::field::NAME_DESCRIPTION, "the original").await?;
    let name = lab.name();
    let clone = lab.client.call(vm::Clone { vm: vm.clone(), new_name: name.clone() }).await?;
    lab.keep(Made::Vm(clone.clone()));
    let (original, copy) = (lab.client.record(&vm).await?, lab.client.record(&clone).await?);
    same("name_label", copy.name_label, name)?;
    same("name_description", copy.name_description, original.name_description)?;
    same("is_a_template", copy.is_a_template, false)?;
    same("memory_static_max", copy.memory_static_max, original.memory_static_max)?;
    ensure!(copy.uuid != original.uuid, "it has the uuid of the original");
    ensure!(copy.metrics != original.metrics, "it has the metrics of the original");
    ensure!(
        lab.tag().iter().all(|(key, run)| copy.other_config.get(key) == Some(run)),
        "other_config is not copied"
    );
    Ok(())
}

/// What becomes a template loses its metrics for good.
async fn a_guest_becomes_a_template_and_back(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    lab.client.set_field(&vm, vm::field::IS_A_TEMPLATE, true).await?;
    let allowed = lab.allows(&vm).await?;
    allows_exactly("template", &allowed, &["clone", "copy", "provision", "destroy"], &["start", "snapshot"])?;
    let start: xenapi_client::Result<Value> = lab.rpc("VM.start", (&vm, false, false)).await;
    refused_with(start, "VM_IS_TEMPLATE", &[&vm.to_string(), "start"])?;
    lab.client.set_field(&vm, vm::field::IS_A_TEMPLATE, false).await?;
    let record = lab.client.record(&vm).await?;
    same("is_a_template", record.is_a_template, false)?;
    same("metrics are null", record.metrics.is_null(), true)
}

async fn a_clone_of_a_template_must_be_provisioned(lab: &Lab) -> Result<()> {
    let template = lab.vm().await?;
    lab.client.set_field(&template, vm::field::IS_A_TEMPLATE, true).await?;
    let vm = lab.client.call(vm::Clone { vm: template, new_name: lab.name() }).await?;
    lab.keep(Made::Vm(vm.clone()));
    same("is_a_template", lab.client.record(&vm).await?.is_a_template, true)?;
    lab.command("VM.provision", &vm).await?;
    same("is_a_template", lab.client.record(&vm).await?.is_a_template, false)?;
    ensure!(lab.allows(&vm).await?.contains("start"), "it cannot be started");
    refused_with(lab.command("VM.provision", &vm).await, "PROVISION_ONLY_ALLOWED_ON_TEMPLATE", &[])
}

async fn a_snapshot_knows_its_guest(lab: &Lab) -> Result<()> {
    let (vm, vdi) = (lab.vm().await?, lab.disk(4 * MIB).await?);
    lab.vbd(&vm, &vdi, "0").await?;
    let (first, second) = (lab.snapshot(&vm).await?, lab.snapshot(&vm).await?);
    let record = lab.client.record(&first).await?;
    same("is_a_snapshot", record.is_a_snapshot, true)?;
    same("snapshot_of", &record.snapshot_of, &vm)?;
    same("power_state", record.power_state, VmPowerState::Halted)?;
    same("children", &record.children, &vec![second.clone()])?;
    let state = record.snapshot_info.get("power-state-at-snapshot").map(String::as_str);
    same("power-state-at-snapshot", state, Some("Halted"))?;
    ensure!(!record.snapshot_metadata.is_empty(), "no snapshot_metadata");
    let guest = lab.client.record(&vm).await?;
    same(
        "VM.snapshots",
        guest.snapshots.into_iter().collect::<BTreeSet<_>>(),
        [first.clone(), second.clone()].into(),
    )?;
    same("VM.parent", guest.parent, second)?;
    let disks = lab.disks_of(&first).await?;
    same("disks", disks.len(), 1)?;
    same("VDI.is_a_snapshot", disks[0].1.is_a_snapshot, true)?;
    same("VDI.snapshot_of", &disks[0].1.snapshot_of, &vdi)?;
    same("userdevice", disks[0].0.userdevice.as_str(), "0")
}

async fn a_snapshot_does_not_start(lab: &Lab) -> Result<()> {
    let snapshot = lab.snapshot(&lab.vm().await?).await?;
    allows_exactly(
        "snapshotted",
        &lab.allows(&snapshot).await?,
        &["revert", "clone", "destroy"],
        &["start"],
    )?;
    let start: xenapi_client::Result<Value> = lab.rpc("VM.start", (&snapshot, false, false)).await;
    refused_with(start, "VM_IS_SNAPSHOT", &[&snapshot.to_string(), "start"])
}

async fn a_snapshot_outlives_its_guest(lab: &Lab) -> Result<()> {
    let (vm, vdi) = (lab.vm().await?, lab.disk(4 * MIB).await?);
    lab.vbd(&vm, &vdi, "0").await?;
    let snapshot = lab.snapshot(&vm).await?;
    lab.keep(Made::MessagesOf(lab.client.record(&vm).await?.uuid));
    lab.client.destroy(&vm).await?;
    same("is_a_snapshot", lab.client.record(&snapshot).await?.is_a_snapshot, true)?;
    let disk = lab.disks_of(&snapshot).await?.pop().context("its disk is gone")?.0.vdi;
    lab.client.destroy(&snapshot).await?;
    same("VBDs of the snapshot's disk", lab.client.record(&disk).await?.vbds.len(), 0)?;
    lab.keep(Made::Vdi(disk));
    Ok(())
}

/// The guest keeps its uuid; its disks do not keep theirs, unless the storage reverts them in place.
async fn reverting_brings_back_name_and_disks(lab: &Lab) -> Result<()> {
    let (vm, vdi) = (lab.vm().await?, lab.disk(4 * MIB).await?);
    lab.vbd(&vm, &vdi, "0").await?;
    let before = lab.client.record(&vm).await?;
    let snapshot = lab.snapshot(&vm).await?;
    lab.client.set_field(&vm, vm::field::NAME_LABEL, lab.name()).await?;
    lab.client.add_to(&vm, vm::field::OTHER_CONFIG, "after", "the snapshot").await?;
    lab.command("VM.revert", &snapshot).await?;
    let after = lab.client.record(&vm).await?;
    for vbd in &after.vbds {
        lab.keep(Made::Vdi(lab.client.record(vbd).await?.vdi));
    }
    same("name_label", after.name_label, before.name_label)?;
    same("uuid", after.uuid, before.uuid)?;
    same("other_config[after]", after.other_config.get("after"), None)?;
    same("disks", after.vbds.len(), 1)?;
    if !lab.site.has_feature("VDI_REVERT") {
        ensure!(after.vbds != before.vbds, "the VBD is still the same");
        ensure!(lab.client.record_opt(&vdi).await?.is_none(), "the old disk is still there");
    }
    Ok(())
}

async fn only_snapshots_are_reverted_to(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let answer = lab.command("VM.revert", &vm).await;
    refused_with(answer, "VM_REVERT_FAILED", &[&vm.to_string(), "OpaqueRef:NULL"])
}

async fn a_checkpoint_needs_a_running_guest(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let answer: xenapi_client::Result<Value> = lab.rpc("VM.checkpoint", (&vm, lab.name())).await;
    let expected = [&vm.to_string(), "paused, suspended, running", "halted"];
    refused_with(answer, "VM_BAD_POWER_STATE", &expected)
}
