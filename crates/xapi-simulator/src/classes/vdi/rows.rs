//! The rows of an SR's disks.

use std::collections::BTreeMap;

use uuid::Uuid;
use xenapi_wire::{DateTime, Failure, Value};

use super::{delete, is_raw, uuid_of};
use crate::db::{NULL, Tx};
use crate::sr_types::Layout;
use crate::storage::{Backend, Volume};
use crate::targets::Lun;

/// Makes the row of a disk; `fields` win over what follows from the disk.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    backend: &Backend,
    volume: &Volume,
    fields: Vec<(&str, Value)>,
) -> String {
    let uuid = volume.uuid.to_string();
    let mut all: BTreeMap<&str, Value> = BTreeMap::from([
        ("location", location(backend, &uuid).into()),
        ("uuid", uuid.into()),
        ("SR", backend.sr.reference.as_str().into()),
        ("virtual_size", int(volume.virtual_size)),
        ("physical_utilisation", int(volume.physical_utilisation)),
        ("type", "user".into()),
        ("managed", (!volume.hidden).into()),
        ("on_boot", "persist".into()),
        ("parent", NULL.into()),
        ("snapshot_of", NULL.into()),
        ("snapshot_time", DateTime::epoch().into()),
        ("sm_config", Value::Struct(sm_config(backend, volume, BTreeMap::new()))),
    ]);
    all.extend(fields);
    let reference = tx.create("VDI", all);
    let _ = refresh_sr(tx, backend);
    reference
}

/// Makes the rows of LUNs that have none. They are not managed: nobody has taken them over yet.
pub(crate) fn insert_luns(tx: &mut Tx<'_>, backend: &Backend, luns: &[(Lun, Uuid)]) {
    for (lun, uuid) in luns {
        if tx.by_uuid("VDI", &uuid.to_string()).is_ok() {
            continue;
        }
        let config =
            [("LUNid", lun.number.to_string()), ("SCSIid", format!("3{}", &uuid.simple().to_string()[..16]))];
        let config = config.map(|(key, value)| (key.to_owned(), Value::from(value)));
        let volume = backend.volume(*uuid, lun.bytes);
        let fields = vec![("managed", false.into()), ("sm_config", Value::Struct(config.into()))];
        insert(tx, backend, &volume, fields);
    }
}

/// The name under which the driver knows a disk.
fn location(backend: &Backend, uuid: &str) -> String {
    match backend.sr.kind.layout {
        Layout::Isos => format!("{uuid}.img"),
        _ => uuid.to_owned(),
    }
}

fn int(n: u64) -> Value {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

/// What the driver keeps in `sm_config`: the chain, and on volumes the format.
fn sm_config(
    backend: &Backend,
    volume: &Volume,
    mut config: BTreeMap<String, Value>,
) -> BTreeMap<String, Value> {
    if backend.sr.kind.layout == Layout::VhdVolumes && !is_raw(&config) {
        config.insert("vdi_type".into(), "vhd".into());
    }
    match volume.parent {
        Some(parent) => config.insert("vhd-parent".into(), parent.to_string().into()),
        None => config.remove("vhd-parent"),
    };
    config
}

/// Brings a row up to what the driver says.
pub(super) fn update(tx: &mut Tx<'_>, vdi: &str, backend: &Backend, volume: &Volume) -> Result<(), Failure> {
    let config = tx.object("VDI", vdi)?.map("sm_config").clone();
    tx.set("VDI", vdi, "virtual_size", int(volume.virtual_size))?;
    tx.set("VDI", vdi, "physical_utilisation", int(volume.physical_utilisation))?;
    tx.set("VDI", vdi, "sm_config", Value::Struct(sm_config(backend, volume, config)))
}

/// Brings the sums of an SR up to date. The drivers of plain files do not keep them.
pub(crate) fn refresh_sr(tx: &mut Tx<'_>, backend: &Backend) -> Result<(), Failure> {
    if !backend.sr.kind.is_vhd() {
        return Ok(());
    }
    let sr = &backend.sr.reference;
    let object = tx.object("SR", sr)?;
    let sizes = tx.follow(object, "VDIs", "VDI").filter(|vdi| vdi.bool("managed"));
    let allocated: i64 = sizes.map(|vdi| vdi.int("virtual_size")).sum();
    tx.set("SR", sr, "virtual_allocation", allocated)?;
    tx.set("SR", sr, "physical_utilisation", int(backend.used()))
}

/// Makes the rows of an SR fit its disks and images: new ones appear, vanished ones go.
///
/// # Errors
/// `HANDLE_INVALID` when the SR is gone.
pub(crate) fn sync(
    tx: &mut Tx<'_>,
    backend: &Backend,
    volumes: &[Volume],
    isos: &[(String, u64)],
) -> Result<(), Failure> {
    let sr = tx.object("SR", &backend.sr.reference)?;
    let rows: Vec<(String, Uuid, String)> = tx
        .follow(sr, "VDIs", "VDI")
        .map(|vdi| (vdi.reference().to_owned(), uuid_of(vdi), vdi.str("location").to_owned()))
        .collect();
    for volume in volumes {
        match rows.iter().find(|row| row.1 == volume.uuid) {
            Some(row) => update(tx, &row.0, backend, volume)?,
            None => {
                let label = if volume.hidden { "base copy" } else { "" };
                insert(tx, backend, volume, vec![("name_label", label.into())]);
            }
        }
    }
    for (file, len) in isos {
        if rows.iter().any(|row| row.2 == *file) {
            continue;
        }
        let volume = Volume {
            uuid: Uuid::new_v4(),
            virtual_size: *len,
            physical_utilisation: *len,
            parent: None,
            hidden: false,
        };
        let file = file.as_str();
        let fields = [("location", file.into()), ("name_label", file.into()), ("read_only", true.into())];
        insert(tx, backend, &volume, fields.into());
    }
    if backend.has_content() {
        let known = |row: &(String, Uuid, String)| {
            volumes.iter().any(|volume| volume.uuid == row.1) || isos.iter().any(|iso| iso.0 == row.2)
        };
        rows.iter().filter(|row| !known(row)).for_each(|row| delete(tx, &row.0));
    }
    refresh_sr(tx, backend)
}
