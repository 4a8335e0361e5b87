//! Virtual block devices: the drives of VMs.

mod device;

use xenapi_wire::{Failure, Value};

use super::vdi::copy::changed;
use super::vm::power::device_name;
use super::{change, constructor};
use crate::db::{NULL, Object, Tx, View};
use crate::dispatch::{Router, void};
use crate::sr_types::backend_failure;
use crate::targets;

pub(crate) fn register(router: &mut Router) {
    constructor(router, "VBD", created);
    change(router, "VBD.destroy", destroy);
    router.future("VBD.plug", |ctx, args| async move {
        targets::touch(&ctx, targets::pbd_of(&ctx, args.str(0))).await?;
        ctx.write(|tx| plug(tx, args.str(0)))?;
        Ok(void())
    });
    router.future("VBD.unplug", |ctx, args| async move {
        targets::touch(&ctx, targets::pbd_of(&ctx, args.str(0))).await?;
        ctx.write(|tx| unplug(tx, args.str(0)))?;
        Ok(void())
    });
    change(router, "VBD.unplug_force", unplug);
    change(router, "VBD.eject", |tx, vbd| {
        check(tx, tx.object("VBD", vbd)?, "eject")?;
        set_medium(tx, vbd, NULL)
    });
    router.raw("VBD.insert", |ctx, args| {
        let (vbd, vdi) = (args.str(0), args.str(1));
        ctx.write(|tx| {
            check(tx, tx.object("VBD", vbd)?, "insert")?;
            let medium = tx.object("VDI", vdi)?;
            let sr = tx.object("SR", medium.str("SR"))?;
            if sr.str("content_type") != "iso" && sr.str("type") != "udev" {
                return Err(Failure::new("VDI_IS_NOT_ISO", [vdi, medium.str("type")]));
            }
            set_medium(tx, vbd, vdi)
        })?;
        Ok(void())
    });
    router.raw("VBD.assert_attachable", |ctx, args| {
        ctx.read(|view| assert_free(view, view.object("VBD", args.str(0))?))?;
        Ok(void())
    });
    router.raw("VBD.set_mode", |ctx, args| {
        let vbd = args.str(0);
        ctx.write(|tx| {
            let vm = tx.object("VM", tx.object("VBD", vbd)?.str("VM"))?;
            if vm.str("power_state") != "Halted" {
                let state = vm.str("power_state").to_lowercase();
                return Err(Failure::new("VM_BAD_POWER_STATE", [vm.reference(), "halted", &state]));
            }
            tx.set("VBD", vbd, "mode", args.str(1))
        })?;
        Ok(void())
    });
}

/// What a disk must be of to be a drive's content.
const DISK_TYPES: [&str; 8] =
    ["system", "user", "ephemeral", "suspend", "crashdump", "metadata", "rrd", "pvs_cache"];

/// Checks and finishes a VBD whose constructor fields have been stored.
///
/// # Errors
/// In XAPI's order: a disk of the wrong type, a writable CD, an empty disk, a read-only disk to be written, a device
/// that is none or taken.
pub(crate) fn created(tx: &mut Tx<'_>, reference: &str) -> Result<(), Failure> {
    let vbd = tx.object("VBD", reference)?;
    let (empty, is_cd) = (vbd.bool("empty"), vbd.str("type") == "CD");
    let writes = vbd.str("mode") == "RW";
    let vm = tx.object("VM", vbd.str("VM"))?;
    let vdi = if empty { None } else { Some(tx.object("VDI", vbd.str("VDI"))?) };
    if let Some(vdi) = vdi
        && !DISK_TYPES.contains(&vdi.str("type"))
    {
        return Err(Failure::new("VDI_INCOMPATIBLE_TYPE", [vdi.reference(), vdi.str("type")]));
    }
    if is_cd && writes {
        return Err(Failure::new("VBD_CDS_MUST_BE_READONLY", [] as [&str; 0]));
    }
    if empty && !is_cd {
        return Err(Failure::new("VBD_NOT_REMOVABLE_MEDIA", ["in constructor"]));
    }
    if let Some(vdi) = vdi.filter(|vdi| writes && vdi.bool("read_only")) {
        return Err(Failure::new("VDI_READONLY", [vdi.reference()]));
    }
    if let Some((task, operation)) = vm
        .map("current_operations")
        .iter()
        .find(|(_, operation)| ["migrate_send", "pool_migrate"].contains(&View::text_of(operation).as_str()))
    {
        let operation = View::text_of(operation);
        let params = ["VM", vm.reference(), &operation, task];
        return Err(Failure::new("OTHER_OPERATION_IN_PROGRESS", params));
    }
    let others = tx.follow(vm, "VBDs", "VBD").filter(|other| other.reference() != reference);
    let taken: Vec<&str> = others.map(|other| other.str("userdevice")).collect();
    let userdevice = device::choose(vbd.str("userdevice"), vbd.str("type"), &taken)?;
    let suspended = vm.str("power_state") == "Suspended";
    tx.set("VBD", reference, "userdevice", userdevice)?;
    if empty {
        tx.set("VBD", reference, "VDI", NULL)?;
    }
    if !suspended {
        tx.set("VBD", reference, "device", "")?;
        tx.set("VBD", reference, "currently_attached", false)?;
    }
    let metrics = tx.create("VBD_metrics", [] as [(&str, Value); 0]);
    tx.set("VBD", reference, "metrics", metrics)
}

/// Gives a copy of a VM the same drive, with another disk in it. XAPI marks what it made with the key `owner`.
pub(crate) fn copy(tx: &mut Tx<'_>, vbd: &str, vm: &str, vdi: &str) -> Result<(), Failure> {
    const COPIED: [&str; 8] = [
        "userdevice",
        "bootable",
        "mode",
        "type",
        "unpluggable",
        "empty",
        "qos_algorithm_type",
        "qos_algorithm_params",
    ];
    let source = tx.object("VBD", vbd)?;
    let mut other_config = source.map("other_config").clone();
    other_config.insert("owner".to_owned(), "".into());
    let mut fields: Vec<(&str, Value)> = COPIED.into_iter().map(|f| (f, source.get(f).clone())).collect();
    fields.extend([("VM", vm.into()), ("VDI", vdi.into()), ("other_config", Value::Struct(other_config))]);
    let copy = tx.create("VBD", fields);
    let metrics = tx.create("VBD_metrics", [] as [(&str, Value); 0]);
    tx.set("VBD", &copy, "metrics", metrics)
}

/// `VBD.destroy`: not while it is plugged.
///
/// # Errors
/// `HANDLE_INVALID`, `OPERATION_NOT_ALLOWED`.
pub(crate) fn destroy(tx: &mut Tx<'_>, reference: &str) -> Result<(), Failure> {
    let vbd = tx.object("VBD", reference)?;
    let vm = tx.find("VM", vbd.str("VM"));
    let alive = vm.is_some_and(|vm| vm.str("power_state") != "Halted");
    if vbd.bool("currently_attached") && alive {
        let user = vm.map_or("", |vm| vm.str("uuid"));
        let text = format!("VBD '{}' still attached to '{user}'", vbd.str("uuid"));
        return Err(Failure::new("OPERATION_NOT_ALLOWED", [text]));
    }
    let (metrics, vdi) = (vbd.str("metrics").to_owned(), vbd.str("VDI").to_owned());
    tx.delete("VBD_metrics", &metrics);
    tx.delete("VBD", reference);
    tx.touch("VDI", &vdi);
    Ok(())
}

fn set_medium(tx: &mut Tx<'_>, vbd: &str, vdi: &str) -> Result<(), Failure> {
    tx.set("VBD", vbd, "VDI", vdi)?;
    tx.set("VBD", vbd, "empty", vdi == NULL)
}

/// Whether an operation may begin, with XAPI's checks in XAPI's order.
fn check(view: &View, vbd: Object<'_>, operation: &str) -> Result<(), Failure> {
    let this = || [vbd.reference()];
    if let Some((task, other)) = vbd.map("current_operations").iter().next() {
        let other = View::text_of(other);
        let params = ["VBD", vbd.reference(), &other, task];
        return Err(Failure::new("OTHER_OPERATION_IN_PROGRESS", params));
    }
    let unplugs = matches!(operation, "unplug" | "unplug_force");
    if unplugs && !vbd.bool("unpluggable") {
        return Err(Failure::new("VBD_NOT_UNPLUGGABLE", this()));
    }
    let is_cd = vbd.str("type") == "CD";
    match operation {
        "insert" | "eject" if !is_cd => return Err(Failure::new("VBD_NOT_REMOVABLE_MEDIA", this())),
        "insert" if !vbd.bool("empty") => return Err(Failure::new("VBD_NOT_EMPTY", this())),
        "eject" if vbd.bool("empty") => return Err(Failure::new("VBD_IS_EMPTY", this())),
        _ => {}
    }
    let vdi = vbd.ref_opt("VDI").and_then(|vdi| view.find("VDI", vdi));
    if vdi.is_some_and(|vdi| !vdi.bool("managed")) {
        return Err(Failure::new("VDI_NOT_MANAGED", this()));
    }
    if operation == "attach" {
        return Ok(());
    }
    let vm = view.object("VM", vbd.str("VM"))?;
    let state = vm.str("power_state");
    let bad_state = || {
        let state = state.to_lowercase();
        Err(Failure::new("VM_BAD_POWER_STATE", [vm.reference(), "running", &state]))
    };
    let attached = vbd.bool("currently_attached");
    match (operation, state) {
        ("insert" | "eject", "Suspended") | ("pause" | "unpause", "Halted" | "Suspended") => bad_state(),
        ("plug" | "unplug" | "unplug_force", "Halted" | "Suspended" | "Paused") => bad_state(),
        ("plug" | "unplug" | "unplug_force", _) if is_cd && vm.str("domain_type") == "hvm" => {
            let text = "HVM CDROMs cannot be hotplugged/unplugged, only inserted or ejected";
            Err(Failure::new("OPERATION_NOT_ALLOWED", [text]))
        }
        ("plug", _) if attached => Err(Failure::new("DEVICE_ALREADY_ATTACHED", this())),
        ("unplug" | "unplug_force", _) if !attached => Err(Failure::new("DEVICE_ALREADY_DETACHED", this())),
        _ => Ok(()),
    }
}

/// Refuses a disk that another VM uses: unless it may be shared, one writer excludes everybody else. Control domains
/// do not count, neither as users nor as those in the way.
fn assert_free(view: &View, vbd: Object<'_>) -> Result<(), Failure> {
    let Some(vdi) = vbd.ref_opt("VDI").and_then(|vdi| view.find("VDI", vdi)) else { return Ok(()) };
    let writes = |vbd: Object<'_>| vbd.str("mode") == "RW";
    if writes(vbd) && vdi.bool("read_only") {
        return Err(Failure::new("VDI_READONLY", [vdi.reference()]));
    }
    let is_system =
        |vbd: Object<'_>| view.find("VM", vbd.str("VM")).is_some_and(|vm| vm.bool("is_control_domain"));
    if vdi.bool("sharable") || is_system(vbd) {
        return Ok(());
    }
    let clash = view.follow(vdi, "VBDs", "VBD").any(|other| {
        other.reference() != vbd.reference()
            && other.bool("currently_attached")
            && !is_system(other)
            && (writes(vbd) || writes(other))
    });
    if clash { Err(Failure::new("VDI_IN_USE", [vdi.reference()])) } else { Ok(()) }
}

/// Refuses a disk that another host has open for writing, or that is to be written while another host has it open. The
/// storage manager sees to that, and so it holds for control domains too.
fn assert_detached_elsewhere(
    view: &View,
    vbd: Object<'_>,
    vdi: Object<'_>,
    host: &str,
) -> Result<(), Failure> {
    let writes = |vbd: Object<'_>| vbd.str("mode") == "RW";
    let elsewhere = view.follow(vdi, "VBDs", "VBD").any(|other| {
        let other_host = view.find("VM", other.str("VM")).map_or("", |vm| vm.str("resident_on"));
        other.bool("currently_attached") && other_host != host && (writes(vbd) || writes(other))
    });
    if !elsewhere || vdi.bool("sharable") {
        return Ok(());
    }
    let text = format!("The VDI is not available [opterr=VDI {} not detached cleanly]", vdi.str("uuid"));
    Err(backend_failure(46, &text))
}

/// Plugs a drive into a running VM, or into the control domain.
///
/// # Errors
/// Those of the operation check; `VDI_IN_USE`, `SR_HAS_NO_PBDS`.
pub(crate) fn plug(tx: &mut Tx<'_>, reference: &str) -> Result<(), Failure> {
    let vbd = tx.object("VBD", reference)?;
    check(tx, vbd, "plug")?;
    assert_free(tx, vbd)?;
    let vm = tx.object("VM", vbd.str("VM"))?;
    let vdi = vbd.ref_opt("VDI").and_then(|vdi| tx.find("VDI", vdi));
    if let Some(vdi) = vdi {
        super::vdi::require_plugged(tx, vdi.str("SR"))?;
        assert_detached_elsewhere(tx, vbd, vdi, vm.str("resident_on"))?;
    }
    let (device, caching) = match (vm.bool("is_control_domain"), vdi) {
        (true, Some(vdi)) => {
            let sr = tx.object("SR", vdi.str("SR"))?;
            let host = tx.find("host", vm.str("resident_on")).map_or("", |host| host.str("uuid"));
            let device = format!("sm/backend/{}/{}", sr.str("uuid"), vdi.str("uuid"));
            (device, Some((vdi.reference().to_owned(), read_caching_key(host))))
        }
        _ => (device_name(vbd.str("userdevice")), None),
    };
    if let Some((vdi, key)) = caching {
        tx.set_entry("VDI", &vdi, "sm_config", &key, "true")?;
    }
    tx.set("VBD", reference, "device", device)?;
    tx.set("VBD", reference, "currently_attached", true)
}

/// What XAPI notes in a VDI's `sm_config` while the disk is attached to a host's control domain.
fn read_caching_key(host_uuid: &str) -> String {
    format!("read-caching-enabled-on-{host_uuid}")
}

/// Unplugs a drive.
///
/// # Errors
/// Those of the operation check.
pub(crate) fn unplug(tx: &mut Tx<'_>, reference: &str) -> Result<(), Failure> {
    let vbd = tx.object("VBD", reference)?;
    check(tx, vbd, "unplug")?;
    let (writes, vdi) = (vbd.str("mode") == "RW", vbd.str("VDI").to_owned());
    let vm = tx.object("VM", vbd.str("VM"))?;
    let host = tx.find("host", vm.str("resident_on")).map_or("", |host| host.str("uuid"));
    let key = read_caching_key(host);
    tx.set("VBD", reference, "currently_attached", false)?;
    if tx.exists("VDI", &vdi) {
        tx.remove_from("VDI", &vdi, "sm_config", &key)?;
        if writes {
            changed(tx, &vdi)?;
        }
    }
    Ok(())
}

/// Computes `allowed_operations`, and has those of the disk computed.
pub(crate) fn derive(tx: &mut Tx<'_>, reference: &str) {
    let Some(vbd) = tx.find("VBD", reference) else { return };
    let all = ["attach", "unpause", "insert", "eject", "plug", "unplug", "unplug_force", "pause"];
    let allowed: Vec<&str> = all.into_iter().filter(|operation| check(tx, vbd, operation).is_ok()).collect();
    let vdi = vbd.str("VDI").to_owned();
    // The object was found above, so this cannot fail.
    let _ = tx.set("VBD", reference, "allowed_operations", allowed);
    tx.touch("VDI", &vdi);
}

/// The key under which XAPI notes in `other_config` for which task it has plugged a disk into a control domain.
const TASK: &str = "task_id";

/// Takes back what transfers had plugged when the server ended.
pub(crate) fn recover(tx: &mut Tx<'_>) -> Result<(), Failure> {
    let left: Vec<String> = tx
        .objects("VBD")
        .filter(|vbd| vbd.entry("other_config", TASK).is_some())
        .filter(|vbd| tx.find("VM", vbd.str("VM")).is_some_and(|vm| vm.bool("is_control_domain")))
        .map(|vbd| vbd.reference().to_owned())
        .collect();
    for vbd in left {
        if tx.object("VBD", &vbd)?.bool("currently_attached") {
            unplug(tx, &vbd)?;
        }
        destroy(tx, &vbd)?;
    }
    Ok(())
}

/// A disk that is plugged into the control domain of a host for as long as this lives.
pub(crate) struct Plugged {
    core: std::sync::Arc<crate::core::Core>,
    vbd: String,
}

impl Plugged {
    /// Plugs it.
    ///
    /// # Errors
    /// As `VBD.create` and `VBD.plug`.
    pub(crate) fn new(
        core: &std::sync::Arc<crate::core::Core>,
        host: &str,
        vdi: &str,
        mode: &str,
        task: &str,
    ) -> Result<Self, Failure> {
        let vbd = core.db().write(|tx| {
            let dom0 = tx
                .objects("VM")
                .find(|vm| vm.bool("is_control_domain") && vm.str("resident_on") == host)
                .map(|vm| vm.reference().to_owned())
                .ok_or_else(|| Failure::new("INTERNAL_ERROR", ["the host has no control domain"]))?;
            let vbd = tx.create(
                "VBD",
                [
                    ("VM", dom0.into()),
                    ("VDI", vdi.into()),
                    ("userdevice", "autodetect".into()),
                    ("mode", mode.into()),
                    ("type", "Disk".into()),
                    ("unpluggable", true.into()),
                    ("other_config", Value::Struct([(TASK.to_owned(), task.into())].into())),
                ],
            );
            created(tx, &vbd)?;
            plug(tx, &vbd)?;
            Ok::<_, Failure>(vbd)
        })?;
        Ok(Self { core: core.clone(), vbd })
    }
}

impl Drop for Plugged {
    fn drop(&mut self) {
        // Whoever unplugged or removed it by hand has done the work.
        let _ = self.core.db().write(|tx| {
            if tx.object("VBD", &self.vbd)?.bool("currently_attached") {
                unplug(tx, &self.vbd)?;
            }
            destroy(tx, &self.vbd)
        });
    }
}
