//! The description of VMs: their records and those of everything they need.

use std::collections::{BTreeMap, HashMap};

use serde::{Serialize, Serializer};
use xenapi_types::archive;
use xenapi_types::meta::Ty;
use xenapi_wire::{Failure, Value, xmlrpc};

use crate::db::{NULL, Object, View, is_null};
use crate::dispatch::internal_error;

/// What an archive shall hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scope {
    /// VMs to be made elsewhere: without snapshots.
    Full {
        /// A suspended VM stays one.
        keeps_power_state: bool,
    },
    /// The records alone.
    Metadata {
        /// Those of the snapshots, too.
        has_snapshots: bool,
    },
}

impl Scope {
    fn has_snapshots(self) -> bool {
        matches!(self, Self::Metadata { has_snapshots: true })
    }

    fn keeps_power_state(self) -> bool {
        matches!(self, Self::Metadata { .. } | Self::Full { keeps_power_state: true })
    }
}

/// The description, and the disks to be sent after it.
pub(super) struct Manifest {
    /// The archive's first member.
    pub(super) member: Vec<u8>,
    /// The disks in order.
    pub(super) disks: Vec<Disk>,
    /// The version that XAPI calls itself.
    pub(super) server: String,
}

/// A disk to be sent.
pub(super) struct Disk {
    /// Its name in the archive.
    pub(super) name: String,
    /// The VDI.
    pub(super) vdi: String,
}

#[derive(Serialize)]
struct Description {
    version: Members,
    objects: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    class: &'static str,
    id: String,
    snapshot: Members,
}

/// A struct whose members stay in order.
struct Members(Vec<(&'static str, Value)>);

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Describes VMs as seen by a host.
///
/// # Errors
/// `HANDLE_INVALID` when an object has gone meanwhile.
pub(super) fn describe(view: &View, vms: &[String], scope: Scope, host: &str) -> Result<Manifest, Failure> {
    let mut names = Names { scope, ids: HashMap::new(), order: Vec::new() };
    for vm in vms {
        names.add_vm(view, view.object("VM", vm)?);
    }
    let mut objects = Vec::new();
    for class in CLASSES {
        for reference in names.order.iter().filter(|(of, _)| *of == class).map(|(_, reference)| reference) {
            let id = names.ids[reference].clone();
            let snapshot = names.record(view.object(class, reference)?);
            objects.push(Entry { class, id, snapshot });
        }
    }
    let is_written = |vbd: Object<'_>| vbd.str("type") == "Disk";
    let of_disks =
        |vdi: &str| view.find("VDI", vdi).is_some_and(|vdi| view.follow(vdi, "VBDs", "VBD").any(is_written));
    let disks = names.order.iter().filter(|(class, vdi)| *class == "VDI" && of_disks(vdi));
    let disks = disks.map(|(_, vdi)| Disk { name: names.ids[vdi].clone(), vdi: vdi.clone() }).collect();
    let software = view.object("host", host)?;
    let server = software.entry("software_version", "xapi").unwrap_or("26.17").to_owned();
    let description = Description { version: version(software, &server), objects };
    let xml = xmlrpc::encode_value(&description).map_err(|e| internal_error(&e.to_string()))?;
    let modified = u32::try_from(jiff::Timestamp::now().as_second()).unwrap_or(u32::MAX);
    let member = archive::member(archive::DESCRIPTION, xml.as_bytes(), modified)
        .map_err(|e| internal_error(&e.to_string()))?;
    Ok(Manifest { member, disks, server })
}

/// The order of the description.
const CLASSES: [&str; 8] = ["VM", "VM_metrics", "VM_guest_metrics", "VBD", "VIF", "network", "VDI", "SR"];

/// The version of the export format.
const EXPORT_VERSION: i64 = 2;

fn version(host: Object<'_>, server: &str) -> Members {
    let software = |key| Value::from(host.entry("software_version", key).unwrap_or_default());
    let (major, minor) = server.split_once('.').unwrap_or((server, "0"));
    Members(vec![
        ("hostname", software("hostname")),
        ("date", software("date")),
        ("product_version", software("product_version")),
        ("product_brand", software("product_brand")),
        ("build_number", software("build_number")),
        ("xapi_major", major.into()),
        ("xapi_minor", minor.into()),
        ("export_vsn", Value::Int(EXPORT_VERSION)),
    ])
}

/// The names of objects inside an archive: `Ref:0` and so on.
struct Names {
    scope: Scope,
    ids: HashMap<String, String>,
    /// Class and reference of what is described.
    order: Vec<(&'static str, String)>,
}

impl Names {
    fn id(&mut self, reference: &str) {
        let next = self.ids.len();
        self.ids.entry(reference.to_owned()).or_insert_with(|| format!("Ref:{next}"));
    }

    /// Adds an object; `false` when it is there already.
    fn add(&mut self, class: &'static str, reference: &str) -> bool {
        let is_new = !self.ids.contains_key(reference);
        if is_new {
            self.id(reference);
            self.order.push((class, reference.to_owned()));
        }
        is_new
    }

    fn add_vm(&mut self, view: &View, vm: Object<'_>) {
        if !self.add("VM", vm.reference()) {
            return;
        }
        for vif in view.follow(vm, "VIFs", "VIF") {
            self.add("VIF", vif.reference());
            self.add_if_any(view, "network", vif.str("network"));
        }
        for vbd in view.follow(vm, "VBDs", "VBD") {
            self.add("VBD", vbd.reference());
            self.add_vdi(view, vbd.str("VDI"));
        }
        if self.scope.keeps_power_state() {
            self.add_vdi(view, vm.str("suspend_VDI"));
        }
        self.add_if_any(view, "VM_metrics", vm.str("metrics"));
        self.add_if_any(view, "VM_guest_metrics", vm.str("guest_metrics"));
        // These are named whatever they refer to: of a halted VM, the second is the null reference.
        for field in ["guest_metrics", "resident_on", "affinity"] {
            self.id(vm.str(field));
        }
        if self.scope.has_snapshots() {
            for snapshot in view.follow(vm, "snapshots", "VM") {
                self.add_vm(view, snapshot);
            }
        }
    }

    fn add_vdi(&mut self, view: &View, vdi: &str) {
        if let Some(vdi) = view.find("VDI", vdi) {
            self.add("VDI", vdi.reference());
            self.add_if_any(view, "SR", vdi.str("SR"));
        }
    }

    /// Adds an object if it exists.
    fn add_if_any(&mut self, view: &View, class: &'static str, reference: &str) {
        if view.exists(class, reference) {
            self.add(class, reference);
        }
    }

    /// The record with names in place of references, without what has no meaning elsewhere.
    fn record(&self, object: Object<'_>) -> Members {
        let class = object.class();
        let fields = class.fields().iter().filter(|field| class.has_field(field.name));
        Members(fields.map(|field| (field.name, self.value(object, field.name, &field.ty))).collect())
    }

    fn value(&self, object: Object<'_>, field: &str, ty: &Ty) -> Value {
        let value = object.get(field);
        match (field, ty) {
            ("allowed_operations", _) => Value::Array(Vec::new()),
            ("current_operations", _) => Value::Struct(BTreeMap::new()),
            ("power_state", _) if !self.scope.keeps_power_state() => "Halted".into(),
            (_, Ty::Ref(_)) => self.reference(object.class().name(), field, value.as_str().unwrap_or(NULL)),
            (_, Ty::Set(Ty::Ref(_))) => {
                let kept = object.strs(field).filter_map(|target| self.ids.get(target));
                Value::Array(kept.map(|id| id.as_str().into()).collect())
            }
            (_, Ty::Map(Ty::Ref(_), _) | Ty::Map(_, Ty::Ref(_))) => Value::Struct(BTreeMap::new()),
            _ => value.clone(),
        }
    }

    /// XAPI has a name for the null reference as soon as a halted VM is described, but uses it in some fields only.
    fn reference(&self, class: &str, field: &str, target: &str) -> Value {
        let named = match (class, field) {
            ("VM", "resident_on" | "guest_metrics" | "affinity") => true,
            ("VM", "snapshot_of" | "parent") => self.scope.has_snapshots(),
            ("VM", "suspend_VDI") => self.scope.keeps_power_state(),
            _ => !is_null(target),
        };
        match self.ids.get(target) {
            Some(id) if named => id.as_str().into(),
            _ if target.is_empty() => "".into(),
            _ => NULL.into(),
        }
    }
}
