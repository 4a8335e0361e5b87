//! Disks, what attaches them, and storage repositories.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use xenapi_types::{Host, Pbd, Sr, Vbd, VbdMode, VbdType, Vdi, VdiType, sr, vbd, vdi, vm};
use xenapi_wire::{Ref, Value};

use super::clean::Made;
use super::expect::{not_applicable, refused, refused_with, same};
use super::lab::{Lab, MIB};

super::checks! { "storage";
    a_new_disk_is_detached,
    a_disk_is_at_least_as_big_as_asked,
    types_of_disks_are_read_in_any_case,
    a_disk_needs_most_fields,
    a_disk_needs_a_storage_repository,
    a_disk_grows_and_does_not_shrink,
    a_snapshot_knows_its_disk,
    a_clone_needs_no_parameters,
    a_copy_is_a_disk_of_its_own,
    a_copy_needs_a_target,
    some_fields_of_disks_are_for_storage_alone,
    some_fields_of_disks_never_change,
    names_and_settings_of_disks_change,
    calls_that_are_no_more_say_so,
    a_detached_disk_does_not_migrate,
    a_disk_is_destroyed_once,
    a_destroyed_disk_takes_its_attachments_along,
    a_scan_keeps_what_is_there,
    an_attachment_knows_both_ends,
    a_device_number_is_used_once,
    a_device_number_may_be_left_to_xapi,
    device_names_that_make_no_sense_are_refused,
    free_device_numbers_are_listed,
    enums_of_attachments_are_read_in_any_case,
    an_attachment_needs_guest_and_disk,
    only_cd_drives_are_empty,
    cd_drives_are_read_only,
    disks_are_not_ejected,
    an_empty_drive_is_not_ejected,
    nothing_is_plugged_into_a_halted_guest,
    a_disk_in_dom0_is_in_use,
    a_disk_in_dom0_may_be_snapshotted,
    plugging_twice_is_refused,
    two_guests_do_not_share_a_disk,
    a_running_guest_holds_its_disk,
    pbds_agree_with_hosts_and_repositories,
    an_unknown_type_of_repository_is_refused,
    a_repository_without_pbd_does_nothing,
    a_repository_is_introduced_once,
    a_host_has_one_pbd_for_a_repository,
}

const UNKNOWN: &str = "OpaqueRef:00000000-0000-4000-8000-000000000000";

type Answer = xenapi_client::Result<Value>;

impl Lab {
    /// A disk made by a call that gives back its reference.
    async fn derived(&self, method: &str, params: impl serde::Serialize + Sync) -> Result<Ref<Vdi>> {
        let vdi: Ref<Vdi> = self.rpc(method, params).await?;
        self.keep(Made::Vdi(vdi.clone()));
        Ok(vdi)
    }

    /// Attaches a disk to the coordinator's dom0, plugged in.
    async fn in_dom0(&self, vdi: &Ref<Vdi>) -> Result<Ref<Vbd>> {
        let vbd = self.vbd(self.site.dom0()?, vdi, "autodetect").await?;
        self.client.call(vbd::Plug { vbd: vbd.clone() }).await?;
        Ok(vbd)
    }

    /// Makes an attachment that should be refused.
    async fn unwelcome(&self, fields: vbd::Create) -> xenapi_client::Result<Ref<Vbd>> {
        let answer = self.client.call(fields).await;
        if let Ok(vbd) = &answer {
            self.keep(Made::Vbd(vbd.clone()));
        }
        answer
    }

    /// A storage repository that exists in the database alone.
    async fn introduced(&self) -> Result<(Ref<Sr>, sr::Introduce)> {
        self.site.sr()?;
        let introduce = sr::Introduce {
            uuid: uuid::Uuid::new_v4().to_string(),
            name_label: self.name(),
            name_description: String::new(),
            r#type: self.site.sr_type().to_owned(),
            content_type: "user".to_owned(),
            shared: false,
            sm_config: Some(BTreeMap::new()),
        };
        let sr = self.client.call(introduce.clone()).await?;
        self.keep(Made::Sr(sr.clone()));
        for (key, value) in self.tag() {
            self.client.add_to(&sr, sr::field::OTHER_CONFIG, key, value).await?;
        }
        Ok((sr, introduce))
    }
}

async fn a_new_disk_is_detached(lab: &Lab) -> Result<()> {
    let fields = lab.disk_fields(8 * MIB)?;
    let vdi = lab.disk_of(fields.clone()).await?;
    let record = lab.client.record(&vdi).await?;
    same("name_label", record.name_label, fields.name_label)?;
    same("SR", record.sr, fields.sr)?;
    same("type", record.r#type, VdiType::User)?;
    same("VBDs", record.vbds.len(), 0)?;
    same("managed", record.managed, true)?;
    same("missing", record.missing, false)?;
    same("is_a_snapshot", record.is_a_snapshot, false)?;
    let allowed: Vec<_> = record.allowed_operations.iter().map(ToString::to_string).collect();
    for operation in ["destroy", "copy", "forget", "update"] {
        ensure!(
            allowed.iter().any(|allowed| allowed == operation),
            "{operation} is not allowed: {allowed:?}"
        );
    }
    Ok(())
}

async fn a_disk_is_at_least_as_big_as_asked(lab: &Lab) -> Result<()> {
    for asked in [1, 512, MIB, 2 * MIB + 1, 5_000_000] {
        let vdi = lab.disk(asked).await?;
        let size = lab.client.get_field(&vdi, vdi::field::VIRTUAL_SIZE).await?;
        ensure!(size >= asked && size % 512 == 0, "{asked} bytes asked for, {size} given");
        ensure!(size < asked + 64 * MIB, "{asked} bytes asked for, {size} given");
    }
    Ok(())
}

async fn types_of_disks_are_read_in_any_case(lab: &Lab) -> Result<()> {
    for text in ["User", "user", "USER"] {
        let create = vdi::Create { r#type: VdiType::Unknown(text.to_owned()), ..lab.disk_fields(2 * MIB)? };
        let vdi = lab.disk_of(create).await?;
        same("type", lab.client.record(&vdi).await?.r#type, VdiType::User)?;
    }
    for text in ["banana", ""] {
        let create = vdi::Create { r#type: VdiType::Unknown(text.to_owned()), ..lab.disk_fields(2 * MIB)? };
        refused(lab.client.call(create).await, "INTERNAL_ERROR")?;
    }
    Ok(())
}

async fn a_disk_needs_most_fields(lab: &Lab) -> Result<()> {
    let parameters = Value::encode(&lab.disk_fields(2 * MIB)?)?;
    let fields = parameters.as_array().and_then(|all| all.first()).and_then(Value::as_struct);
    let fields = fields.context("VDI.create does not take a struct")?;
    for field in ["SR", "virtual_size", "type", "sharable", "read_only", "other_config"] {
        let mut fields = fields.clone();
        fields.remove(field);
        let answer: Answer = lab.rpc("VDI.create", (fields,)).await;
        let reason = format!("Server_helpers.Dispatcher_FieldNotFound(\"{field}\")");
        refused_with(answer, "INTERNAL_ERROR", &[&reason])?;
    }
    let mut fewer = fields.clone();
    for field in ["name_description", "xenstore_data", "sm_config", "tags"] {
        fewer.remove(field);
    }
    lab.derived("VDI.create", (fewer,)).await.map(drop)
}

async fn a_disk_needs_a_storage_repository(lab: &Lab) -> Result<()> {
    for wrong in [UNKNOWN, "OpaqueRef:NULL"] {
        let create = vdi::Create { sr: Ref::from(wrong), ..lab.disk_fields(2 * MIB)? };
        refused_with(lab.client.call(create).await, "HANDLE_INVALID", &["SR", wrong])?;
    }
    Ok(())
}

async fn a_disk_grows_and_does_not_shrink(lab: &Lab) -> Result<()> {
    lab.site.needs_feature("VDI_RESIZE")?;
    let vdi = lab.disk(8 * MIB).await?;
    lab.client.call(vdi::Resize { vdi: vdi.clone(), size: 16 * MIB }).await?;
    let size = lab.client.get_field(&vdi, vdi::field::VIRTUAL_SIZE).await?;
    ensure!(size >= 16 * MIB, "virtual_size is {size}");
    for smaller in [8 * MIB, 0] {
        let shrink = vdi::Resize { vdi: vdi.clone(), size: smaller };
        // Which code it is, is the driver's choice: those of XenServer say 79.
        let refusal = lab.client.call(shrink).await.err().context("the disk shrinks")?;
        let code = refusal.failure().map_or("", |failure| failure.code.as_str());
        ensure!(code.starts_with("SR_BACKEND_FAILURE") || code == "VDI_TOO_SMALL", "{refusal}");
    }
    same("virtual_size", lab.client.get_field(&vdi, vdi::field::VIRTUAL_SIZE).await?, size)
}

async fn a_snapshot_knows_its_disk(lab: &Lab) -> Result<()> {
    lab.site.needs_feature("VDI_SNAPSHOT")?;
    let vdi = lab.disk(4 * MIB).await?;
    let snapshot = lab.derived("VDI.snapshot", (&vdi, BTreeMap::<String, String>::new())).await?;
    let (record, original) = (lab.client.record(&snapshot).await?, lab.client.record(&vdi).await?);
    same("is_a_snapshot", record.is_a_snapshot, true)?;
    same("snapshot_of", &record.snapshot_of, &vdi)?;
    same("VDI.snapshots", &original.snapshots, &vec![snapshot.clone()])?;
    same("name_label", &record.name_label, &original.name_label)?;
    same("virtual_size", record.virtual_size, original.virtual_size)?;
    same("other_config", record.other_config, original.other_config)?;
    lab.client.destroy(&snapshot).await?;
    same("VDI.snapshots", lab.client.record(&vdi).await?.snapshots.len(), 0)
}

async fn a_clone_needs_no_parameters(lab: &Lab) -> Result<()> {
    lab.site.needs_feature("VDI_CLONE")?;
    let vdi = lab.disk(4 * MIB).await?;
    let clone = lab.derived("VDI.clone", (&vdi,)).await?;
    let (record, original) = (lab.client.record(&clone).await?, lab.client.record(&vdi).await?);
    same("is_a_snapshot", record.is_a_snapshot, false)?;
    same("virtual_size", record.virtual_size, original.virtual_size)?;
    same("SR", record.sr, original.sr)?;
    ensure!(record.uuid != original.uuid && record.location != original.location, "it is the same disk");
    Ok(())
}

async fn a_copy_is_a_disk_of_its_own(lab: &Lab) -> Result<()> {
    let vdi = lab.disk(4 * MIB).await?;
    let copy = lab.client.spawn_task(vdi::Copy {
        vdi: vdi.clone(),
        sr: Some(lab.site.sr()?.clone()),
        base_vdi: None,
        into_vdi: None,
    });
    let copy = copy.await?.await?;
    lab.keep(Made::Vdi(copy.clone()));
    let (record, original) = (lab.client.record(&copy).await?, lab.client.record(&vdi).await?);
    same("is_a_snapshot", record.is_a_snapshot, false)?;
    same("name_label", record.name_label, original.name_label)?;
    same("virtual_size", record.virtual_size, original.virtual_size)?;
    lab.client.wait_until_detached(&vdi, std::time::Duration::from_secs(60)).await?;
    lab.client.destroy(&vdi).await?;
    ensure!(lab.client.record_opt(&copy).await?.is_some(), "the copy went with the original");
    Ok(())
}

async fn a_copy_needs_a_target(lab: &Lab) -> Result<()> {
    let vdi = lab.disk(2 * MIB).await?;
    for wrong in [UNKNOWN, "OpaqueRef:NULL"] {
        let answer: Answer = lab.rpc("VDI.copy", (&vdi, wrong)).await;
        refused_with(answer, "HANDLE_INVALID", &["SR", wrong])?;
    }
    let answer: Answer = lab.rpc("VDI.copy", (UNKNOWN, lab.site.sr()?)).await;
    refused_with(answer, "HANDLE_INVALID", &["VDI", UNKNOWN])
}

/// These setters exist for the storage manager's own use.
async fn some_fields_of_disks_are_for_storage_alone(lab: &Lab) -> Result<()> {
    let vdi = lab.disk(2 * MIB).await?;
    for method in ["VDI.set_read_only", "VDI.set_sharable", "VDI.set_managed", "VDI.set_missing"] {
        let answer: Answer = lab.rpc(method, (&vdi, true)).await;
        refused_with(answer, "PERMISSION_DENIED", &[""]).context(method)?;
    }
    for method in ["VDI.set_virtual_size", "VDI.set_physical_utilisation"] {
        let answer: Answer = lab.rpc(method, (&vdi, 5)).await;
        refused_with(answer, "PERMISSION_DENIED", &[""]).context(method)?;
    }
    Ok(())
}

async fn some_fields_of_disks_never_change(lab: &Lab) -> Result<()> {
    let vdi = lab.disk(2 * MIB).await?;
    for method in ["VDI.set_SR", "VDI.set_type", "VDI.set_uuid", "VDI.set_location"] {
        let answer: Answer = lab.rpc(method, (&vdi, "x")).await;
        refused_with(answer, "MESSAGE_METHOD_UNKNOWN", &[method])?;
    }
    Ok(())
}

async fn names_and_settings_of_disks_change(lab: &Lab) -> Result<()> {
    let vdi = lab.disk(2 * MIB).await?;
    let name = lab.name();
    let _: Value = lab.rpc("VDI.set_name_label", (&vdi, &name)).await?;
    let _: Value = lab.rpc("VDI.set_name_description", (&vdi, "é <&>")).await?;
    lab.client.add_to(&vdi, vdi::field::OTHER_CONFIG, "x", "y").await?;
    let again = lab.client.add_to(&vdi, vdi::field::OTHER_CONFIG, "x", "z").await;
    refused_with(again, "MAP_DUPLICATE_KEY", &["VDI", "other_config", &vdi.to_string(), "x"])?;
    let record = lab.client.record(&vdi).await?;
    same("name_label", record.name_label, name)?;
    same("name_description", record.name_description.as_str(), "é <&>")?;
    same("other_config[x]", record.other_config.get("x").map(String::as_str), Some("y"))
}

async fn calls_that_are_no_more_say_so(lab: &Lab) -> Result<()> {
    let vdi = lab.disk(2 * MIB).await?;
    let answer: Answer = lab.rpc("VDI.resize_online", (&vdi, 4 * MIB)).await;
    if !answer.as_ref().is_err_and(|error| error.is("MESSAGE_REMOVED")) && lab.site.is_before_removals() {
        return Err(not_applicable("this release has not removed it yet"));
    }
    refused_with(answer, "MESSAGE_REMOVED", &[])
}

async fn a_detached_disk_does_not_migrate(lab: &Lab) -> Result<()> {
    let vdi = lab.disk(2 * MIB).await?;
    let call = (&vdi, lab.site.sr()?, BTreeMap::<String, String>::new());
    let answer: Answer = lab.rpc("VDI.pool_migrate", call).await;
    refused_with(answer, "VDI_NEEDS_VM_FOR_MIGRATE", &[&vdi.to_string()])
}

async fn a_disk_is_destroyed_once(lab: &Lab) -> Result<()> {
    let vdi = lab.disk(2 * MIB).await?;
    lab.client.destroy(&vdi).await?;
    refused_with(lab.client.destroy(&vdi).await, "HANDLE_INVALID", &["VDI", &vdi.to_string()])?;
    let sr = lab.client.record(lab.site.sr()?).await?;
    ensure!(!sr.vdis.contains(&vdi), "SR.VDIs still lists it");
    Ok(())
}

async fn a_destroyed_disk_takes_its_attachments_along(lab: &Lab) -> Result<()> {
    let (vm, vdi) = (lab.vm().await?, lab.disk(2 * MIB).await?);
    let vbd = lab.vbd(&vm, &vdi, "0").await?;
    lab.client.destroy(&vdi).await?;
    ensure!(lab.client.record_opt(&vbd).await?.is_none(), "the VBD is still there");
    same("VM.VBDs", lab.client.record(&vm).await?.vbds.len(), 0)
}

async fn a_scan_keeps_what_is_there(lab: &Lab) -> Result<()> {
    let vdi = lab.disk(2 * MIB).await?;
    let before = lab.client.record(&vdi).await?;
    lab.client.call(sr::Scan { sr: lab.site.sr()?.clone() }).await?;
    let after = lab.client.record(&vdi).await?;
    same("uuid", after.uuid, before.uuid)?;
    same("name_label", after.name_label, before.name_label)?;
    same("other_config", after.other_config, before.other_config)
}

async fn an_attachment_knows_both_ends(lab: &Lab) -> Result<()> {
    let (vm, vdi) = (lab.vm().await?, lab.disk(2 * MIB).await?);
    let vbd = lab.vbd(&vm, &vdi, "0").await?;
    let record = lab.client.record(&vbd).await?;
    same("VM", &record.vm, &vm)?;
    same("VDI", &record.vdi, &vdi)?;
    same("userdevice", record.userdevice.as_str(), "0")?;
    same("device", record.device.as_str(), "")?;
    same("mode", record.mode, VbdMode::Rw)?;
    same("type", record.r#type, VbdType::Disk)?;
    same("currently_attached", record.currently_attached, false)
}

async fn a_device_number_is_used_once(lab: &Lab) -> Result<()> {
    let (vm, vdi) = (lab.vm().await?, lab.disk(2 * MIB).await?);
    let vbd = lab.vbd(&vm, &vdi, "0").await?;
    // However it is spelled.
    for device in ["0", "hda", "xvda"] {
        let again = lab.unwelcome(lab.vbd_fields(&vm, &vdi, device)).await;
        refused_with(again, "DEVICE_ALREADY_EXISTS", &[device])?;
    }
    lab.client.destroy(&vbd).await?;
    lab.vbd(&vm, &vdi, "0").await.map(drop)
}

async fn a_device_number_may_be_left_to_xapi(lab: &Lab) -> Result<()> {
    let (vm, vdi) = (lab.vm().await?, lab.disk(2 * MIB).await?);
    lab.vbd(&vm, &vdi, "0").await?;
    for expected in ["1", "2"] {
        let vbd = lab.vbd(&vm, &vdi, "autodetect").await?;
        same("userdevice", lab.client.record(&vbd).await?.userdevice.as_str(), expected)?;
    }
    Ok(())
}

async fn device_names_that_make_no_sense_are_refused(lab: &Lab) -> Result<()> {
    let (vm, vdi) = (lab.vm().await?, lab.disk(2 * MIB).await?);
    for device in ["banana", ""] {
        let answer = lab.unwelcome(lab.vbd_fields(&vm, &vdi, device)).await;
        refused_with(answer, "INVALID_DEVICE", &[device])?;
    }
    Ok(())
}

async fn free_device_numbers_are_listed(lab: &Lab) -> Result<()> {
    let (vm, vdi) = (lab.vm().await?, lab.disk(2 * MIB).await?);
    lab.vbd(&vm, &vdi, "1").await?;
    let free: Vec<String> = lab.rpc("VM.get_allowed_VBD_devices", (&vm,)).await?;
    ensure!(free.starts_with(&["0".to_owned(), "2".to_owned()]), "{free:?}");
    Ok(())
}

async fn enums_of_attachments_are_read_in_any_case(lab: &Lab) -> Result<()> {
    let (vm, vdi) = (lab.vm().await?, lab.disk(2 * MIB).await?);
    let mode = |text: &str| VbdMode::Unknown(text.to_owned());
    let fields = vbd::Create {
        mode: mode("rw"),
        r#type: VbdType::Unknown("disk".to_owned()),
        ..lab.vbd_fields(&vm, &vdi, "0")
    };
    let vbd = lab.client.call(fields).await?;
    lab.keep(Made::Vbd(vbd.clone()));
    let record = lab.client.record(&vbd).await?;
    same("mode", record.mode, VbdMode::Rw)?;
    same("type", record.r#type, VbdType::Disk)?;
    let wrong = vbd::Create { mode: mode("X"), ..lab.vbd_fields(&vm, &vdi, "1") };
    refused(lab.unwelcome(wrong).await, "INTERNAL_ERROR").map(drop)
}

async fn an_attachment_needs_guest_and_disk(lab: &Lab) -> Result<()> {
    let (vm, vdi) = (lab.vm().await?, lab.disk(2 * MIB).await?);
    let answer = lab.unwelcome(lab.vbd_fields(&Ref::from(UNKNOWN), &vdi, "0")).await;
    refused_with(answer, "HANDLE_INVALID", &["VM", UNKNOWN])?;
    for wrong in [UNKNOWN, "OpaqueRef:NULL"] {
        let answer = lab.unwelcome(lab.vbd_fields(&vm, &Ref::from(wrong), "0")).await;
        refused_with(answer, "HANDLE_INVALID", &["VDI", wrong])?;
    }
    Ok(())
}

/// The fields of an empty CD drive.
fn cd_drive(lab: &Lab, vm: &Ref<xenapi_types::Vm>) -> vbd::Create {
    let fields = lab.vbd_fields(vm, &Ref::default(), "autodetect");
    vbd::Create { mode: VbdMode::Ro, r#type: VbdType::Cd, empty: true, ..fields }
}

async fn only_cd_drives_are_empty(lab: &Lab) -> Result<()> {
    let (vm, vdi) = (lab.vm().await?, lab.disk(2 * MIB).await?);
    let empty = vbd::Create { empty: true, ..lab.vbd_fields(&vm, &vdi, "0") };
    refused_with(lab.unwelcome(empty).await, "VBD_NOT_REMOVABLE_MEDIA", &["in constructor"])?;
    let drive = lab.client.call(cd_drive(lab, &vm)).await?;
    lab.keep(Made::Vbd(drive.clone()));
    let record = lab.client.record(&drive).await?;
    same("empty", record.empty, true)?;
    same("VDI is null", record.vdi.is_null(), true)?;
    same("type", record.r#type, VbdType::Cd)
}

async fn cd_drives_are_read_only(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let writable = vbd::Create { mode: VbdMode::Rw, ..cd_drive(lab, &vm) };
    refused_with(lab.unwelcome(writable).await, "VBD_CDS_MUST_BE_READONLY", &[])
}

async fn disks_are_not_ejected(lab: &Lab) -> Result<()> {
    let (vm, vdi) = (lab.vm().await?, lab.disk(2 * MIB).await?);
    let vbd = lab.vbd(&vm, &vdi, "0").await?;
    let named = [&vbd.to_string()[..]];
    refused_with(lab.client.call(vbd::Eject { vbd: vbd.clone() }).await, "VBD_NOT_REMOVABLE_MEDIA", &named)?;
    let insert = vbd::Insert { vbd: vbd.clone(), vdi };
    refused_with(lab.client.call(insert).await, "VBD_NOT_REMOVABLE_MEDIA", &named)
}

async fn an_empty_drive_is_not_ejected(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let drive = lab.client.call(cd_drive(lab, &vm)).await?;
    lab.keep(Made::Vbd(drive.clone()));
    let eject = vbd::Eject { vbd: drive.clone() };
    refused_with(lab.client.call(eject).await, "VBD_IS_EMPTY", &[&drive.to_string()])
}

async fn nothing_is_plugged_into_a_halted_guest(lab: &Lab) -> Result<()> {
    let (vm, vdi) = (lab.vm().await?, lab.disk(2 * MIB).await?);
    let vbd = lab.vbd(&vm, &vdi, "0").await?;
    let plug = lab.client.call(vbd::Plug { vbd }).await;
    refused_with(plug, "VM_BAD_POWER_STATE", &[&vm.to_string(), "running", "halted"])
}

/// XAPI's own transfers attach disks to dom0 like this.
async fn a_disk_in_dom0_is_in_use(lab: &Lab) -> Result<()> {
    let vdi = lab.disk(4 * MIB).await?;
    let vbd = lab.in_dom0(&vdi).await?;
    same("currently_attached", lab.client.record(&vbd).await?.currently_attached, true)?;
    let vdi_name = vdi.to_string();
    refused_with(lab.client.destroy(&vdi).await, "VDI_IN_USE", &[&vdi_name, "destroy"])?;
    let resize = vdi::Resize { vdi: vdi.clone(), size: 8 * MIB };
    refused_with(lab.client.call(resize).await, "VDI_IN_USE", &[&vdi_name, "resize"])?;
    let (vbd_uuid, dom0) = (lab.client.record(&vbd).await?.uuid, lab.site.dom0()?);
    let dom0_uuid = lab.client.get_field(dom0, vm::field::UUID).await?;
    let reason = format!("VBD '{vbd_uuid}' still attached to '{dom0_uuid}'");
    refused_with(lab.client.destroy(&vbd).await, "OPERATION_NOT_ALLOWED", &[&reason])?;
    lab.client.call(vbd::Unplug { vbd: vbd.clone() }).await?;
    lab.client.destroy(&vbd).await?;
    lab.client.destroy(&vdi).await?;
    Ok(())
}

async fn a_disk_in_dom0_may_be_snapshotted(lab: &Lab) -> Result<()> {
    lab.site.needs_feature("VDI_SNAPSHOT")?;
    let vdi = lab.disk(4 * MIB).await?;
    lab.in_dom0(&vdi).await?;
    let snapshot = lab.derived("VDI.snapshot", (&vdi, BTreeMap::<String, String>::new())).await?;
    same("snapshot_of", lab.client.record(&snapshot).await?.snapshot_of, vdi)
}

async fn plugging_twice_is_refused(lab: &Lab) -> Result<()> {
    let vdi = lab.disk(2 * MIB).await?;
    let vbd = lab.in_dom0(&vdi).await?;
    let again = lab.client.call(vbd::Plug { vbd: vbd.clone() }).await;
    refused_with(again, "DEVICE_ALREADY_ATTACHED", &[&vbd.to_string()])?;
    lab.client.call(vbd::Unplug { vbd: vbd.clone() }).await?;
    let again = lab.client.call(vbd::Unplug { vbd: vbd.clone() }).await;
    refused_with(again, "DEVICE_ALREADY_DETACHED", &[&vbd.to_string()])
}

async fn two_guests_do_not_share_a_disk(lab: &Lab) -> Result<()> {
    let (first, second, vdi) = (lab.vm().await?, lab.vm().await?, lab.disk(2 * MIB).await?);
    lab.vbd(&first, &vdi, "0").await?;
    lab.vbd(&second, &vdi, "0").await?;
    lab.start(&first).await?;
    let start = vm::Start { vm: second.clone(), start_paused: false, force: false };
    refused_with(lab.client.call(start.clone()).await, "VDI_IN_USE", &[&vdi.to_string()])?;
    lab.client.call(vm::HardShutdown { vm: first }).await?;
    lab.client.call(start).await?;
    Ok(())
}

async fn a_running_guest_holds_its_disk(lab: &Lab) -> Result<()> {
    let (vm, vdi) = (lab.vm().await?, lab.disk(2 * MIB).await?);
    let vbd = lab.vbd(&vm, &vdi, "0").await?;
    lab.start(&vm).await?;
    let record = lab.client.record(&vbd).await?;
    same("currently_attached", record.currently_attached, true)?;
    ensure!(!record.device.is_empty(), "device is empty");
    let vdi_name = vdi.to_string();
    refused_with(lab.client.destroy(&vdi).await, "VDI_IN_USE", &[&vdi_name, "destroy"])?;
    let copy: Answer = lab.rpc("VDI.copy", (&vdi, lab.site.sr()?)).await;
    refused_with(copy, "VDI_IN_USE", &[&vdi_name, "copy"])?;
    lab.client.call(vm::HardShutdown { vm }).await?;
    same("currently_attached", lab.client.record(&vbd).await?.currently_attached, false)
}

async fn pbds_agree_with_hosts_and_repositories(lab: &Lab) -> Result<()> {
    let attached: Vec<_> = lab.client.record(lab.site.sr()?).await?.pbds;
    let mut plugged = 0;
    for pbd in attached {
        let record = lab.client.record::<Pbd>(&pbd).await?;
        same("PBD.SR", &record.sr, lab.site.sr()?)?;
        ensure!(
            lab.client.record::<Host>(&record.host).await?.pbds.contains(&pbd),
            "host.PBDs does not list {pbd}"
        );
        plugged += usize::from(record.currently_attached);
    }
    ensure!(plugged > 0, "a repository that takes disks has no plugged PBD");
    Ok(())
}

async fn an_unknown_type_of_repository_is_refused(lab: &Lab) -> Result<()> {
    let supported: Vec<String> = lab.rpc("SR.get_supported_types", ()).await?;
    if lab.site.sr().is_ok() {
        ensure!(supported.iter().any(|kind| kind == lab.site.sr_type()), "{supported:?}");
    }
    let none = BTreeMap::<String, String>::new();
    let call = (&lab.site.host, &none, 0, lab.name(), "", "nosuchtype", "user", false, &none);
    let answer: Answer = lab.rpc("SR.create", call).await;
    refused_with(answer, "SR_UNKNOWN_DRIVER", &["nosuchtype"])
}

async fn a_repository_without_pbd_does_nothing(lab: &Lab) -> Result<()> {
    let (sr, _) = lab.introduced().await?;
    let named = [&sr.to_string()[..]];
    let create = vdi::Create { sr: sr.clone(), ..lab.disk_fields(2 * MIB)? };
    refused_with(lab.client.call(create).await, "SR_HAS_NO_PBDS", &named)?;
    refused_with(lab.client.call(sr::Scan { sr: sr.clone() }).await, "SR_HAS_NO_PBDS", &named)?;
    lab.client.call(sr::Forget { sr: sr.clone() }).await?;
    ensure!(lab.client.record_opt(&sr).await?.is_none(), "it is still there");
    Ok(())
}

async fn a_repository_is_introduced_once(lab: &Lab) -> Result<()> {
    let (sr, introduce) = lab.introduced().await?;
    let uuid = introduce.uuid.clone();
    same("uuid", lab.client.record(&sr).await?.uuid, uuid.clone())?;
    refused_with(lab.client.call(introduce).await, "SR_UUID_EXISTS", &[&uuid])
}

async fn a_host_has_one_pbd_for_a_repository(lab: &Lab) -> Result<()> {
    let (sr, _) = lab.introduced().await?;
    let fields = |host: &Ref<Host>| -> Result<BTreeMap<&'static str, Value>> {
        let none = BTreeMap::<String, String>::new();
        Ok([
            ("host", Value::encode(host)?),
            ("SR", Value::encode(&sr)?),
            ("device_config", Value::encode(&none)?),
            ("other_config", Value::encode(&none)?),
        ]
        .into())
    };
    let host = &lab.site.host;
    let pbd: Ref<Pbd> = lab.rpc("PBD.create", (fields(host)?,)).await?;
    same("currently_attached", lab.client.record(&pbd).await?.currently_attached, false)?;
    let again: Answer = lab.rpc("PBD.create", (fields(host)?,)).await;
    refused_with(again, "PBD_EXISTS", &[&sr.to_string(), &host.to_string(), &pbd.to_string()])?;
    // Forgetting the repository takes the PBD along.
    lab.client.call(sr::Forget { sr: sr.clone() }).await?;
    ensure!(lab.client.record_opt(&pbd).await?.is_none(), "the PBD is still there");
    Ok(())
}
