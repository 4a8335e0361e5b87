//! What a transfer works on: the disk behind a VDI, attached to the control domain of the host that was asked.

use std::sync::Arc;

use uuid::Uuid;
use vhd::format::Timestamp;
use xenapi_wire::Failure;

use super::handler::Format;
use super::{TransferError, export};
use crate::classes::vbd::Plugged;
use crate::classes::vdi;
use crate::core::Core;
use crate::db::View;
use crate::disk::{BlockMap, Disk, DiskError};
use crate::dispatch::internal_error;
use crate::sr_types::Layout;
use crate::storage::{Backend, Sr};

/// A disk on its way out, attached for reading.
pub(super) struct Source {
    pub(super) disk: Disk,
    pub(super) len_bytes: u64,
    /// The blocks of a VHD.
    pub(super) blocks: Option<BlockMap>,
    /// What a differencing VHD is built on.
    pub(super) base: Option<export::Base>,
    _plugged: Vec<Plugged>,
}

/// VHDs are not exported beyond this size, 2040 GiB.
const MAX_VHD: u64 = vhd::format::MAX_VIRTUAL_SIZE;

impl Source {
    /// Opens it. Does file work.
    pub(super) fn open(
        core: &Arc<Core>,
        host: &str,
        vdi: &str,
        format: Format,
        base: Option<&str>,
        task: &str,
    ) -> Result<Self, Failure> {
        let size = core.db().read(|view| view.object("VDI", vdi).map(|vdi| vdi.int("virtual_size")))?;
        let len_bytes = u64::try_from(size).unwrap_or(0);
        if format == Format::Vhd && len_bytes > MAX_VHD {
            return Err(Failure::new("VDI_TOO_LARGE", [vdi, &MAX_VHD.to_string()]));
        }
        let base = match base.filter(|_| format == Format::Vhd) {
            Some(name) => {
                let found = core.db().read(|view| find_vdi(view, name));
                Some(found.map_err(|_| Failure::new("UUID_INVALID", ["VDI", name]))?)
            }
            None => None,
        };
        let (backend, uuid) = opened(core, vdi)?;
        let disk = backend.disk(uuid)?;
        let mut plugged = vec![Plugged::new(core, host, vdi, "RO", task)?];
        if format != Format::Vhd {
            return Ok(Self { disk, len_bytes, blocks: None, base: None, _plugged: plugged });
        }
        let is_vhd = backend.sr.kind.is_vhd() && !is_raw(core, vdi);
        let Some(base) = base else {
            let blocks = if is_vhd {
                disk.allocated()
            } else {
                let unreadable = |e: DiskError| io_failure("export", &e.into());
                export::nonzero_blocks(&disk, len_bytes).map_err(unreadable)?
            };
            return Ok(Self { disk, len_bytes, blocks: Some(blocks), base: None, _plugged: plugged });
        };
        let (base_backend, base_uuid) = opened(core, &base)?;
        if !is_vhd || !base_backend.sr.kind.is_vhd() || is_raw(core, &base) {
            return Err(internal_error("Failure(\"Cannot compute differences on non-VHD images\")"));
        }
        let base_disk = base_backend.disk(base_uuid)?;
        plugged.push(Plugged::new(core, host, &base, "RO", task)?);
        let blocks = export::changed_blocks(&disk, &base_disk);
        let base = export::Base {
            uuid: base_uuid,
            path: format!("/run/sr-mount/{}/{base_uuid}.vhd", base_backend.sr.uuid),
            modified: Timestamp::from_unix(core.clock().now().as_second().try_into().unwrap_or(0)),
        };
        Ok(Self { disk, len_bytes, blocks: Some(blocks), base: Some(base), _plugged: plugged })
    }
}

/// A VDI by reference or uuid.
pub(super) fn find_vdi(view: &View, name: &str) -> Result<String, Failure> {
    if let Some(vdi) = view.find("VDI", name) {
        return Ok(vdi.reference().to_owned());
    }
    view.by_uuid("VDI", name).map(|vdi| vdi.reference().to_owned())
}

/// What becomes of everything that goes wrong with the bytes. The log says what it was.
pub(super) fn io_failure(what: &str, error: &TransferError) -> Failure {
    tracing::info!(%error, "{what} failed");
    Failure::new("VDI_IO_ERROR", ["Device I/O errors"])
}

/// The SR and the disk of a VDI. Does file work.
fn opened(core: &Core, vdi: &str) -> Result<(Backend, Uuid), Failure> {
    let (sr, uuid) = core.db().read(|view| {
        let vdi = view.object("VDI", vdi)?;
        vdi::require_plugged(view, vdi.str("SR"))?;
        Ok::<_, Failure>((Sr::of(view, vdi.str("SR"))?, vdi::uuid_of(vdi)))
    })?;
    Ok((core.storage().open(sr)?, uuid))
}

/// Bytes of a disk, by the uuid of its VDI, whoever uses it and whether its SR is attached anywhere; fewer at its end.
/// Does file work.
pub(crate) fn peek(core: &Core, vdi_uuid: &str, offset: u64, len: usize) -> Result<Vec<u8>, Failure> {
    let (sr, uuid) = core.db().read(|view| {
        let vdi = view.by_uuid("VDI", vdi_uuid)?;
        Ok::<_, Failure>((Sr::of(view, vdi.str("SR"))?, vdi::uuid_of(vdi)))
    })?;
    let disk = core.storage().open(sr)?.disk(uuid)?;
    let left = usize::try_from(disk.len_bytes().saturating_sub(offset)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; len.min(left)];
    let unreadable = |e: DiskError| io_failure("a look at a disk", &e.into());
    disk.read_at(offset, &mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// Whether a VDI is a volume without a VHD in it.
fn is_raw(core: &Core, vdi: &str) -> bool {
    core.db().read(|view| view.find("VDI", vdi).is_some_and(|vdi| vdi::is_raw(vdi.map("sm_config"))))
}

/// Opens a disk to be written in this format. Does file work.
pub(super) fn attachable(core: &Core, vdi: &str, format: Format) -> Result<Disk, Failure> {
    let (backend, uuid) = opened(core, vdi)?;
    let raw = is_raw(core, vdi);
    if format == Format::Vhd && !backend.sr.is_prezeroed(raw) {
        let error = TransferError::Stream("unimplemented: a VHD into a disk that does not read as zeros");
        return Err(io_failure("import", &error));
    }
    backend.disk(uuid)
}

/// The disk for an upload that names only an SR.
pub(super) fn new_vdi(core: &Core, sr: &str, length: u64) -> Result<String, Failure> {
    let sr = core.db().read(|view| Sr::of(view, sr))?;
    let backend = core.storage().open(sr)?;
    if backend.sr.kind.layout == Layout::Isos {
        return Err(Failure::new("SR_OPERATION_NOT_SUPPORTED", [backend.sr.reference]));
    }
    let _exclusive = backend.exclusive();
    let volume = backend.create(i64::try_from(length).unwrap_or(i64::MAX))?;
    let fields =
        vec![("name_label", "Imported VDI".into()), ("type", "user".into()), ("metadata_of_pool", "".into())];
    let made = core.db().write(|tx| Ok(vdi::insert(tx, &backend, &volume, fields)));
    if made.is_err() {
        backend.remove(volume.uuid)?;
    }
    made
}
