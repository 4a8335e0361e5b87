//! An archive into objects and disks. Whatever fails, nothing of it is left.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;
use tokio::io::AsyncRead;
use uuid::Uuid;
use xenapi_types::archive::{DESCRIPTION, PIECE_LEN};
use xenapi_types::meta::Ty;
use xenapi_wire::{Failure, Limits, Value, xmlrpc};

use super::super::archive::{Archive, damaged, premature_eof, unexpected};
use super::super::handler::{blocking, progress_of};
use super::super::pipe::Sink;
use super::super::source::io_failure;
use super::exit_if_cancelled;
use crate::classes::vbd::{self, Plugged};
use crate::classes::{vdi, vif, vm};
use crate::db::{NULL, Tx, View};
use crate::dispatch::{Ctx, unmarshal};
use crate::sr_types::Layout;
use crate::storage::Backend;

/// How an archive is taken.
pub(super) struct Options {
    /// VMs, MAC addresses and seeds stay what they were.
    pub(super) restores: bool,
    /// Wrong checksums and newer versions do not matter.
    pub(super) forces: bool,
    /// The description alone; the disks exist.
    pub(super) is_metadata: bool,
    /// Where disks are made.
    pub(super) sr: Option<String>,
}

/// The longest description: some thousand VMs.
const MAX_DESCRIPTION: u64 = 64 << 20;

/// Makes the VMs of an archive; the result is their references.
///
/// # Errors
/// `IMPORT_ERROR…`, `VM_TO_IMPORT_IS_NOT_NEWER_VERSION`, and those of the SR.
pub(super) async fn import(
    ctx: &Arc<Ctx>,
    archive: &mut Archive<impl AsyncRead + Unpin>,
    options: Options,
) -> Result<Vec<String>, Failure> {
    let first = archive.next().await?.ok_or_else(premature_eof)?;
    if first.name != DESCRIPTION {
        return Err(unexpected(DESCRIPTION, &first.name));
    }
    let description = Description::parse(archive.content(&first, MAX_DESCRIPTION).await?)?;
    description.check_version(ctx, &options)?;
    let (forces, worker) = (options.forces, ctx.clone());
    let made = blocking(move || {
        let mut made = Made::default();
        match made.make(&worker, &description, &options) {
            Ok(()) => Ok(made),
            Err(failure) => {
                made.undo(&worker);
                Err(failure)
            }
        }
    })
    .await?;
    ctx.write(|tx| {
        tx.set_entry("task", &ctx.task, "other_config", "object_creation", "complete")
            .or(Ok::<_, Failure>(()))
    })?;
    let filled = fill(ctx, archive, &made.disks, forces).await;
    let worker = ctx.clone();
    blocking(move || match filled {
        Ok(()) => made.announce(&worker),
        Err(failure) => {
            made.undo(&worker);
            Err(failure)
        }
    })
    .await
}

#[derive(Deserialize)]
struct Description {
    version: BTreeMap<String, Value>,
    objects: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    class: String,
    id: String,
    snapshot: BTreeMap<String, Value>,
}

impl Entry {
    fn text(&self, field: &str) -> &str {
        self.snapshot.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    fn is_true(&self, field: &str) -> bool {
        self.snapshot.get(field) == Some(&Value::Bool(true))
    }

    /// An integer, which is text without a type in the archive.
    fn int(&self, field: &str) -> i64 {
        match self.snapshot.get(field) {
            Some(Value::Int(number)) => *number,
            _ => self.text(field).parse().unwrap_or(0),
        }
    }

    /// The fields of a class that are plain values and are not left out, with their types. What this datamodel does not
    /// know, as of a newer host, is left out.
    fn fields(&self, view: &View, left_out: &[&str]) -> Vec<(&'static str, Value)> {
        let Some(class) = view.schema().class(&self.class) else { return Vec::new() };
        let plain = class
            .fields()
            .iter()
            .filter(|f| class.has_field(f.name) && !has_ref(&f.ty) && !left_out.contains(&f.name));
        plain
            .filter_map(|f| {
                Some((f.name, unmarshal(view.schema(), self.snapshot.get(f.name)?.clone(), &f.ty).ok()?))
            })
            .collect()
    }
}

fn has_ref(ty: &Ty) -> bool {
    match ty {
        Ty::Ref(_) => true,
        Ty::Set(inner) | Ty::Option(inner) => has_ref(inner),
        Ty::Map(key, value) => has_ref(key) || has_ref(value),
        _ => false,
    }
}

impl Description {
    fn parse(xml: Vec<u8>) -> Result<Self, Failure> {
        let broken = |text: String| Failure::new("IMPORT_ERROR", [text]);
        let xml = String::from_utf8(xml).map_err(|e| broken(e.to_string()))?;
        let limits = Limits { max_bytes: MAX_DESCRIPTION as usize, ..Limits::RESPONSE };
        xmlrpc::decode_value(&xml, &limits).map_err(|e| broken(e.to_string()))
    }

    /// Refuses what a newer host has written.
    fn check_version(&self, ctx: &Ctx, options: &Options) -> Result<(), Failure> {
        let number = |value: Option<&Value>| match value {
            Some(Value::Int(number)) => *number,
            Some(Value::String(text)) => text.parse().unwrap_or(0),
            _ => 0,
        };
        let theirs = (number(self.version.get("xapi_major")), number(self.version.get("xapi_minor")));
        let ours = ctx.read(|view| {
            let version = view.find("host", &ctx.host)?.entry("software_version", "xapi")?.to_owned();
            let (major, minor) = version.split_once('.')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        });
        if ours.is_some_and(|ours| theirs > ours) && !options.forces {
            return Err(Failure::new("IMPORT_INCOMPATIBLE_VERSION", [] as [&str; 0]));
        }
        Ok(())
    }

    fn of<'a>(&'a self, class: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.objects.iter().filter(move |entry| entry.class == class)
    }
}

/// A disk whose content is to come.
struct Empty {
    /// Its name in the archive.
    name: String,
    vdi: String,
    len: u64,
}

/// What an import has made so far.
#[derive(Default)]
struct Made {
    vms: Vec<String>,
    networks: Vec<String>,
    disks: Vec<Empty>,
    /// The objects here by their names in the archive.
    found: HashMap<String, String>,
}

impl Made {
    fn make(&mut self, ctx: &Arc<Ctx>, from: &Description, options: &Options) -> Result<(), Failure> {
        for vm in from.of("VM").filter(|_| options.restores) {
            ctx.write(|tx| replace(tx, vm))?;
        }
        let written: HashSet<&str> =
            from.of("VBD").filter(|vbd| vbd.text("type") == "Disk").map(|vbd| vbd.text("VDI")).collect();
        for disk in from.of("VDI") {
            if options.is_metadata || !written.contains(&*disk.id) {
                // A medium, or a disk that was not exported: the same one if it is here.
                let here = ctx
                    .read(|view| Some(view.by_uuid("VDI", disk.text("uuid")).ok()?.reference().to_owned()));
                self.found.extend(here.map(|here| (disk.id.clone(), here)));
                continue;
            }
            let sr = options.sr.as_deref().unwrap_or(NULL);
            let (vdi, len) = new_disk(ctx, sr, disk)?;
            self.found.insert(disk.id.clone(), vdi.clone());
            self.disks.push(Empty { name: disk.id.clone(), vdi, len });
        }
        ctx.write(|tx| {
            for network in from.of("network") {
                self.network(tx, network);
            }
            for entry in from.of("VM") {
                let vm = new_vm(tx, entry, options, &ctx.task)?;
                tx.set_entry("VM", &vm, "current_operations", &ctx.task, "import")?;
                self.found.insert(entry.id.clone(), vm.clone());
                self.vms.push(vm);
            }
            for entry in from.of("VM").filter(|entry| entry.is_true("is_a_snapshot")) {
                if let Some(of) = self.found.get(entry.text("snapshot_of")) {
                    tx.set("VM", &self.found[&entry.id], "snapshot_of", of.as_str())?;
                }
            }
            for vbd in from.of("VBD") {
                self.vbd(tx, vbd)?;
            }
            for vif in from.of("VIF") {
                self.vif(tx, vif, options)?;
            }
            Ok(())
        })
    }

    /// The network of this uuid, name or bridge, or else a new one without a way out.
    fn network(&mut self, tx: &mut Tx<'_>, entry: &Entry) {
        let same = |field: &str| {
            let wanted = entry.text(field);
            tx.objects("network").find(|n| n.str(field) == wanted).map(|n| n.reference().to_owned())
        };
        let here = same("uuid").or_else(|| same("name_label")).or_else(|| same("bridge"));
        let network = here.unwrap_or_else(|| {
            let made = tx.create(
                "network",
                entry.fields(
                    tx,
                    &["uuid", "bridge", "assigned_ips", "current_operations", "allowed_operations"],
                ),
            );
            self.networks.push(made.clone());
            made
        });
        self.found.insert(entry.id.clone(), network);
    }

    fn here(&self, id: &str) -> Result<Value, Failure> {
        let missing = || Failure::new("IMPORT_ERROR_FAILED_TO_FIND_OBJECT", [id]);
        self.found.get(id).map(|here| here.as_str().into()).ok_or_else(missing)
    }

    fn vbd(&self, tx: &mut Tx<'_>, entry: &Entry) -> Result<(), Failure> {
        let is_cd = entry.text("type") == "CD";
        let disk = self.found.get(entry.text("VDI"));
        if disk.is_none() && !is_cd && !entry.is_true("empty") {
            return Err(Failure::new("IMPORT_ERROR_ATTACHED_DISKS_NOT_FOUND", [] as [&str; 0]));
        }
        let mut fields =
            entry.fields(tx, &["uuid", "allowed_operations", "current_operations", "empty", "storage_lock"]);
        fields.push(("VM", self.here(entry.text("VM"))?));
        fields.push(("VDI", disk.map_or(NULL, String::as_str).into()));
        fields.push(("empty", disk.is_none().into()));
        let made = tx.create("VBD", fields);
        vbd::created(tx, &made)
    }

    fn vif(&self, tx: &mut Tx<'_>, entry: &Entry, options: &Options) -> Result<(), Failure> {
        let mut fields =
            entry.fields(tx, &["uuid", "allowed_operations", "current_operations", "MAC_autogenerated"]);
        fields.push(("VM", self.here(entry.text("VM"))?));
        fields.push(("network", self.here(entry.text("network"))?));
        if !options.restores {
            // Another VM needs another address.
            fields.retain(|(name, _)| *name != "MAC");
        }
        let made = tx.create("VIF", fields);
        vif::created(tx, &made)
    }

    /// Ends the import; the result is what the task tells.
    fn announce(self, ctx: &Ctx) -> Result<Vec<String>, Failure> {
        ctx.write(|tx| {
            for vm in &self.vms {
                tx.remove_from("VM", vm, "current_operations", &ctx.task)?;
            }
            let mut vms = self.vms;
            vms.retain(|vm| tx.find("VM", vm).is_some_and(|vm| !vm.bool("is_a_snapshot")));
            Ok(vms)
        })
    }

    /// Removes everything again; what cannot be removed is logged.
    fn undo(self, ctx: &Arc<Ctx>) {
        let gone = ctx.write(|tx| {
            for vm in self.vms.iter().filter(|vm| tx.exists("VM", vm)).cloned().collect::<Vec<_>>() {
                tx.set("VM", &vm, "current_operations", Value::Struct(BTreeMap::new()))?;
                tx.set("VM", &vm, "is_a_template", false)?;
                vm::destroy(tx, &vm)?;
            }
            self.networks.iter().for_each(|network| tx.delete("network", network));
            Ok::<_, Failure>(())
        });
        let disks = self.disks.iter().map(|disk| vdi::discard(ctx, &disk.vdi));
        for failure in std::iter::once(gone).chain(disks).filter_map(Result::err) {
            tracing::warn!(%failure, "something of a failed import is left");
        }
    }
}

/// Makes room for a VM that keeps its uuid: an older version of it goes.
fn replace(tx: &mut Tx<'_>, entry: &Entry) -> Result<(), Failure> {
    let Ok(existing) = tx.by_uuid("VM", entry.text("uuid")) else { return Ok(()) };
    let (here, theirs) = (existing.int("version"), entry.int("version"));
    let reference = existing.reference().to_owned();
    if here >= theirs {
        let params = [reference, here.to_string(), theirs.to_string()];
        return Err(Failure::new("VM_TO_IMPORT_IS_NOT_NEWER_VERSION", params));
    }
    vm::destroy(tx, &reference)
}

/// What an imported VM does not take over as it is.
const OWN: &[&str] = &[
    "uuid",
    "allowed_operations",
    "current_operations",
    "power_state",
    "domid",
    "domarch",
    "is_control_domain",
    "is_default_template",
    "last_boot_CPU_flags",
    "last_booted_record",
    "requires_reboot",
    "generation_id",
    "memory_overhead",
    "attached_PCIs",
];

fn new_vm(tx: &mut Tx<'_>, entry: &Entry, options: &Options, task: &str) -> Result<String, Failure> {
    let mut fields = entry.fields(tx, OWN);
    let is_hvm = !entry.text("HVM_boot_policy").is_empty();
    for (name, value) in &mut fields {
        let Value::Struct(map) = value else { continue };
        match *name {
            "other_config" => {
                map.insert("import_task".to_owned(), task.into());
                let seed = map.entry("mac_seed".to_owned()).or_insert_with(|| "".into());
                if !options.restores || *seed == Value::from("") {
                    *seed = Uuid::new_v4().to_string().into();
                }
            }
            "platform" if is_hvm => {
                map.entry("device-model".to_owned()).or_insert_with(|| "qemu-upstream-compat".into());
            }
            _ => {}
        }
    }
    let generation =
        if options.restores { entry.text("generation_id").to_owned() } else { vm::new_generation_id() };
    fields.extend([
        ("power_state", "Halted".into()),
        ("domid", Value::Int(-1)),
        ("affinity", NULL.into()),
        ("generation_id", generation.into()),
    ]);
    if options.restores {
        fields.push(("uuid", entry.text("uuid").into()));
    }
    let metrics = vm::new_metrics(tx);
    fields.push(("metrics", metrics.into()));
    Ok(tx.create("VM", fields))
}

/// Makes a disk like the one described, without its content. Does file work.
fn new_disk(ctx: &Ctx, sr: &str, entry: &Entry) -> Result<(String, u64), Failure> {
    let backend: Backend = vdi::backend(ctx, sr)?;
    if backend.sr.kind.layout == Layout::Isos {
        return Err(Failure::new("SR_OPERATION_NOT_SUPPORTED", [sr]));
    }
    let _exclusive = backend.exclusive();
    let volume = backend.create(entry.int("virtual_size"))?;
    let made = ctx.write(|tx| {
        let given = entry.fields(tx, &[]).into_iter().filter(|(name, _)| KEPT.contains(name));
        let fields = given.chain([("metadata_of_pool", "".into())]).collect();
        Ok::<_, Failure>(vdi::insert(tx, &backend, &volume, fields))
    });
    if made.is_err() {
        backend.remove(volume.uuid)?;
    }
    Ok((made?, u64::try_from(entry.int("virtual_size")).unwrap_or(0)))
}

/// What a new disk has of the one described.
const KEPT: [&str; 9] = [
    "name_label",
    "name_description",
    "type",
    "sharable",
    "read_only",
    "other_config",
    "xenstore_data",
    "tags",
    "on_boot",
];

/// Fills the disks with the pieces that follow.
async fn fill(
    ctx: &Arc<Ctx>,
    archive: &mut Archive<impl AsyncRead + Unpin>,
    disks: &[Empty],
    forces: bool,
) -> Result<(), Failure> {
    let mut note = progress_of(&ctx.core, &ctx.task);
    let mut is_damaged = false;
    for (done, disk) in disks.iter().enumerate() {
        let (vdi, worker) = (disk.vdi.clone(), ctx.clone());
        let (target, plugged) = blocking(move || {
            let plugged = Plugged::new(&worker.core, &worker.host, &vdi, "RW", &worker.task)?;
            let (backend, uuid) = vdi::disk_of(&worker, &vdi)?;
            Ok((backend.disk(uuid)?, plugged))
        })
        .await?;
        let mut sink = Sink::new(target);
        let mut progress = |part: f64| note((done as f64 + part) / disks.len() as f64);
        let filled = pieces(ctx, archive, disk, &mut sink, &mut progress).await;
        let settled = sink.settle(Ok(())).await.map_err(|error| io_failure("import", &error));
        drop(plugged);
        is_damaged |= !filled?;
        settled?;
    }
    if is_damaged && !forces {
        return Err(damaged());
    }
    Ok(())
}

/// Writes the pieces of one disk up to its last one; whether all checksums are right.
async fn pieces(
    ctx: &Ctx,
    archive: &mut Archive<impl AsyncRead + Unpin>,
    disk: &Empty,
    sink: &mut Sink,
    progress: &mut (dyn FnMut(f64) + Send),
) -> Result<bool, Failure> {
    let count = disk.len.div_ceil(PIECE_LEN);
    let mut next = 0;
    let mut is_intact = true;
    while next < count {
        exit_if_cancelled(&ctx.core, &ctx.task)?;
        let piece = archive.piece(&disk.name, next..count).await?.ok_or_else(premature_eof)?;
        is_intact &= piece.is_intact;
        if piece.content.is_empty() {
            continue;
        }
        let written = sink.write(piece.index * PIECE_LEN, piece.content).await;
        written.map_err(|error| io_failure("import", &error))?;
        next = piece.index + 1;
        progress(next as f64 / count as f64);
    }
    Ok(is_intact)
}
