//! Storage repositories with their disks: a type's rules over a [`Store`].

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;
use xenapi_wire::{Failure, Value};

use crate::db::View;
use crate::disk::{Disk, DiskError, DiskInfo, Store};
use crate::sr_types::{Layout, SrType, backend_failure, no_space};

/// The disks of all SRs, each SR in a directory of its own.
#[derive(Debug)]
pub(crate) struct Storage {
    root: PathBuf,
    temporary: bool,
    stores: Mutex<HashMap<String, Opened>>,
}

#[derive(Debug, Clone)]
struct Opened {
    store: Option<Arc<Store>>,
    gate: Arc<Mutex<()>>,
}

impl Storage {
    /// Storage in a directory, which is made when something is stored.
    pub(crate) fn at(root: &Path) -> Self {
        Self::new(root.to_owned(), false)
    }

    /// Storage that is gone with this value.
    pub(crate) fn temporary() -> Self {
        let root = std::env::temp_dir().join(format!("xapi-simulator-{}", Uuid::new_v4()));
        Self::new(root, true)
    }

    fn new(root: PathBuf, temporary: bool) -> Self {
        Self { root, temporary, stores: Mutex::default() }
    }

    /// Waits until a disk has reached the medium, if it is to outlive the simulator. Does file work.
    ///
    /// # Errors
    /// Those of [`Disk::sync`].
    pub(crate) fn settle(&self, disk: &Disk) -> Result<(), DiskError> {
        if self.temporary { Ok(()) } else { disk.sync() }
    }

    /// Where the images of an ISO library are expected that names no directory of its own.
    pub(crate) fn directory(&self, sr_uuid: &str) -> PathBuf {
        self.root.join(sr_uuid)
    }

    /// Where the content of a blob is.
    pub(crate) fn blob(&self, uuid: &str) -> PathBuf {
        self.root.join("blobs").join(uuid)
    }

    /// Opens an SR. Does file work.
    ///
    /// # Errors
    /// What the driver says when the SR cannot be read.
    pub(crate) fn open(&self, sr: Sr) -> Result<Backend, Failure> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let Opened { store, gate } = match stores.get(&sr.uuid) {
            Some(opened) => opened.clone(),
            None => {
                let opened = Opened { store: self.open_store(&sr)?, gate: Arc::default() };
                stores.insert(sr.uuid.clone(), opened.clone());
                opened
            }
        };
        Ok(Backend { sr, store, gate })
    }

    fn open_store(&self, sr: &Sr) -> Result<Option<Arc<Store>>, Failure> {
        if sr.kind.layout == Layout::Nothing {
            return Ok(None);
        }
        // Thick disks have paid for their space when they are made.
        let limit = if sr.kind.is_thick() { u64::MAX } else { sr.capacity() };
        let store = Store::open(&self.directory(&sr.uuid), limit, sr.kind.overrun());
        store.map(|store| Some(Arc::new(store))).map_err(|e| backend_failure(40, &e.to_string()))
    }

    /// Takes what an SR has stored from another storage. Nobody may use the SR meanwhile. Does file work.
    ///
    /// # Errors
    /// When its files cannot be moved.
    pub(crate) fn take_over(&self, from: &Self, sr: &Sr) -> std::io::Result<()> {
        from.stores.lock().unwrap_or_else(PoisonError::into_inner).remove(&sr.uuid);
        let (old, new) = (from.directory(&sr.uuid), self.directory(&sr.uuid));
        if !old.exists() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.root)?;
        // Not the same medium, perhaps: copied then.
        if std::fs::rename(&old, &new).is_err() {
            std::fs::create_dir_all(&new)?;
            for entry in std::fs::read_dir(&old)? {
                let entry = entry?;
                std::fs::copy(entry.path(), new.join(entry.file_name()))?;
            }
            std::fs::remove_dir_all(&old)?;
        }
        Ok(())
    }

    /// Removes what an SR stored.
    ///
    /// # Errors
    /// What the driver says when something cannot be removed.
    pub(crate) fn remove(&self, backend: &Backend) -> Result<(), Failure> {
        let Some(store) = &backend.store else { return Ok(()) };
        let failed = |e: DiskError| backend_failure(80, &e.to_string());
        for disk in store.list().iter().filter(|disk| !disk.hidden) {
            store.remove(disk.uuid).map_err(failed)?;
        }
        store.sweep().map_err(failed)?;
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).remove(&backend.sr.uuid);
        // Files that are none of ours keep it.
        let _ = std::fs::remove_dir(self.directory(&backend.sr.uuid));
        Ok(())
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if self.temporary {
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }
}

/// What must be known of an SR to use it.
#[derive(Debug, Clone)]
pub(crate) struct Sr {
    /// Its reference.
    pub(crate) reference: String,
    /// Its uuid.
    pub(crate) uuid: String,
    /// Its type.
    pub(crate) kind: &'static SrType,
    physical_size: i64,
    sm_config: BTreeMap<String, Value>,
    /// The directory of an ISO library.
    location: Option<PathBuf>,
}

impl Sr {
    /// Reads it from the database.
    ///
    /// # Errors
    /// `HANDLE_INVALID`; `SR_UNKNOWN_DRIVER` when the simulator has no such type.
    pub(crate) fn of(view: &View, reference: &str) -> Result<Self, Failure> {
        let sr = view.object("SR", reference)?;
        let name = sr.str("type");
        let kind = SrType::find(name).ok_or_else(|| Failure::new("SR_UNKNOWN_DRIVER", [name]))?;
        let local = view.follow(sr, "PBDs", "PBD").find_map(|pbd| {
            let legacy = pbd.entry("device_config", "legacy_mode") == Some("true");
            pbd.entry("device_config", "location").filter(|_| legacy).map(PathBuf::from)
        });
        Ok(Self {
            reference: reference.to_owned(),
            uuid: sr.str("uuid").to_owned(),
            kind,
            physical_size: sr.int("physical_size"),
            sm_config: sr.map("sm_config").clone(),
            location: local.filter(|path| path.is_dir()),
        })
    }

    /// Bytes it can hold.
    fn capacity(&self) -> u64 {
        u64::try_from(self.physical_size).ok().filter(|size| *size > 0).unwrap_or(u64::MAX)
    }

    /// Whether fresh disks read as zeros.
    pub(crate) fn is_prezeroed(&self, raw_disk: bool) -> bool {
        let use_vhd = self.sm_config.get("use_vhd") == Some(&Value::from("true"));
        self.kind.is_prezeroed(use_vhd, raw_disk)
    }
}

/// What an SR says about one of its disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    /// The disk's uuid.
    pub(crate) uuid: Uuid,
    /// Bytes a guest sees.
    pub(crate) virtual_size: u64,
    /// Bytes it takes.
    pub(crate) physical_utilisation: u64,
    /// The base copy it is built on.
    pub(crate) parent: Option<Uuid>,
    /// Whether it is a base copy.
    pub(crate) hidden: bool,
}

/// A copy that shares blocks with its source.
#[derive(Debug, Clone)]
pub(crate) struct Copied {
    /// The copy.
    pub(crate) copy: Volume,
    /// The base copy that was made for it.
    pub(crate) base: Option<Volume>,
}

/// An opened SR.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    /// What it is.
    pub(crate) sr: Sr,
    store: Option<Arc<Store>>,
    gate: Arc<Mutex<()>>,
}

/// How much of a volume that is not zeroed has one sector that is not zero.
const SOILED_EVERY: u64 = 256 << 10;

/// A chain may have this many disks.
const MAX_CHAIN: usize = 30;

impl Backend {
    /// Keeps disks and rows together: whoever makes or removes both, or compares them, holds this.
    pub(crate) fn exclusive(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a disk of at least the requested size.
    ///
    /// # Errors
    /// An impossible size; no space.
    pub(crate) fn create(&self, requested: i64) -> Result<Volume, Failure> {
        let virtual_size = self.sr.kind.round_size(requested)?;
        self.check_space(virtual_size)?;
        let uuid = Uuid::new_v4();
        if let Some(store) = &self.store {
            store.create(uuid, virtual_size).map_err(|e| self.failure(78, &e))?;
        }
        Ok(self.volume(uuid, virtual_size))
    }

    /// Has a disk of this name and at least this size: a LUN comes from elsewhere.
    ///
    /// # Errors
    /// What the driver says.
    pub(crate) fn ensure(&self, uuid: Uuid, bytes: u64) -> Result<(), Failure> {
        let Some(store) = &self.store else { return Ok(()) };
        let done = match store.info(uuid) {
            None => store.create(uuid, bytes),
            Some(info) if info.virtual_size < bytes => store.resize(uuid, bytes),
            Some(_) => Ok(()),
        };
        done.map_err(|e| self.failure(46, &e))
    }

    /// Has a disk that was put into the SR from outside, built on one that is there.
    ///
    /// # Errors
    /// What the driver says.
    pub(crate) fn adopt(&self, uuid: Uuid, bytes: u64, parent: Option<Uuid>) -> Result<Disk, Failure> {
        if let Some(store) = &self.store {
            store.create_above(uuid, bytes, parent).map_err(|e| self.failure(46, &e))?;
        }
        self.disk(uuid)
    }

    /// Makes a disk a base copy.
    ///
    /// # Errors
    /// What the driver says.
    pub(crate) fn hide(&self, uuid: Uuid) -> Result<(), Failure> {
        let Some(store) = &self.store else { return Ok(()) };
        store.hide(uuid).map_err(|e| self.failure(46, &e))
    }

    /// Refuses a disk for which a thick SR has no room, and any disk on a thin one that is full.
    fn check_space(&self, virtual_size: u64) -> Result<(), Failure> {
        let kind = self.sr.kind;
        let more = if kind.is_thick() { kind.physical_utilisation(virtual_size, 0, false) } else { 1 };
        let used = self.used();
        if used.checked_add(more).is_none_or(|sum| sum > self.sr.capacity()) {
            return Err(no_space());
        }
        Ok(())
    }

    /// Bytes taken by all disks.
    pub(crate) fn used(&self) -> u64 {
        let kind = self.sr.kind;
        let Some(store) = &self.store else { return 0 };
        if kind.is_thick() {
            self.volumes().iter().map(|volume| volume.physical_utilisation).sum()
        } else {
            store.used_bytes()
        }
    }

    /// Removes a disk, and the base copies that only it needed; returns these.
    ///
    /// # Errors
    /// What the driver says; a disk that is gone already is no error.
    pub(crate) fn remove(&self, uuid: Uuid) -> Result<Vec<Uuid>, Failure> {
        let Some(store) = &self.store else { return Ok(Vec::new()) };
        match store.remove(uuid) {
            Ok(()) | Err(DiskError::Missing(_)) => {}
            Err(e) => return Err(self.failure(80, &e)),
        }
        store.sweep().map_err(|e| self.failure(80, &e))
    }

    /// Makes a disk longer; returns what it is then.
    ///
    /// # Errors
    /// `SR_BACKEND_FAILURE_79` for a smaller size; no space.
    pub(crate) fn resize(&self, uuid: Uuid, from: u64, requested: i64) -> Result<Volume, Failure> {
        let to = self.sr.kind.round_size(requested)?;
        if to < from {
            return Err(backend_failure(79, "VDI Invalid size [opterr=shrinking not allowed]"));
        }
        if self.sr.kind.is_thick() {
            self.check_space(to - from)?;
        }
        if let Some(store) = &self.store {
            store.resize(uuid, to).map_err(|e| self.failure(110, &e))?;
        }
        Ok(self.volume(uuid, to))
    }

    /// Copies a disk, sharing blocks where the type does so.
    ///
    /// # Errors
    /// A chain that is too long; no space.
    pub(crate) fn duplicate(&self, uuid: Uuid, virtual_size: u64) -> Result<Copied, Failure> {
        let copy = Uuid::new_v4();
        let Some(store) = &self.store else {
            return Ok(Copied { copy: self.volume(copy, virtual_size), base: None });
        };
        if !self.sr.kind.is_vhd() {
            store.duplicate(uuid, copy).map_err(|e| self.failure(82, &e))?;
            return Ok(Copied { copy: self.volume(copy, virtual_size), base: None });
        }
        let disk = store.disk(uuid).map_err(|e| self.failure(82, &e))?;
        if disk.chain().len() >= MAX_CHAIN {
            return Err(backend_failure(109, "The snapshot chain is too long"));
        }
        self.check_space(virtual_size)?;
        let base = Uuid::new_v4();
        let made = store.snapshot(uuid, base, copy).map_err(|e| self.failure(82, &e))?;
        let base = made.then(|| self.volume(base, virtual_size));
        Ok(Copied { copy: self.volume(copy, virtual_size), base })
    }

    /// Leaves on a new disk, or on what it grows by, what others wrote there before: a sector in each
    /// [`SOILED_EVERY`] bytes, at changing places.
    ///
    /// # Errors
    /// What the driver says.
    pub(crate) fn soil(&self, uuid: Uuid, from: u64, virtual_size: u64) -> Result<(), Failure> {
        if self.store.is_none() {
            return Ok(());
        }
        let disk = self.disk(uuid)?;
        for (number, start) in (0..virtual_size).step_by(SOILED_EVERY as usize).enumerate() {
            let at = start + (number as u64 * 7 * 512) % SOILED_EVERY;
            if at >= from && at + 512 <= virtual_size {
                disk.write_at(at, &[0xa5; 512]).map_err(|e| self.failure(46, &e))?;
            }
        }
        Ok(())
    }

    /// Opens a disk's content.
    ///
    /// # Errors
    /// What the driver says when there is none.
    pub(crate) fn disk(&self, uuid: Uuid) -> Result<Disk, Failure> {
        let Some(store) = &self.store else {
            return Err(backend_failure(1200, "disks of this SR cannot be attached"));
        };
        store.disk(uuid).map_err(|e| self.failure(46, &e))
    }

    /// What is known of a disk; `virtual_size` is believed when there is no content.
    pub(crate) fn volume(&self, uuid: Uuid, virtual_size: u64) -> Volume {
        match self.store.as_ref().and_then(|store| store.info(uuid)) {
            Some(info) => self.describe(&info),
            None => Volume { uuid, virtual_size, physical_utilisation: 0, parent: None, hidden: false },
        }
    }

    fn describe(&self, info: &DiskInfo) -> Volume {
        let kind = self.sr.kind;
        Volume {
            uuid: info.uuid,
            virtual_size: info.virtual_size,
            physical_utilisation: kind.physical_utilisation(info.virtual_size, info.own_bytes, info.hidden),
            parent: info.parent,
            hidden: info.hidden,
        }
    }

    /// Whether the SR keeps disks at all.
    pub(crate) fn has_content(&self) -> bool {
        self.store.is_some()
    }

    /// All disks.
    pub(crate) fn volumes(&self) -> Vec<Volume> {
        let disks = self.store.as_ref().map(|store| store.list()).unwrap_or_default();
        disks.iter().map(|info| self.describe(info)).collect()
    }

    /// The images of an ISO library: file names and lengths.
    pub(crate) fn isos(&self, storage: &Storage) -> Vec<(String, u64)> {
        if self.sr.kind.layout != Layout::Isos {
            return Vec::new();
        }
        let directory = self.sr.location.clone().unwrap_or_else(|| storage.directory(&self.sr.uuid));
        let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
        let mut isos: Vec<_> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name().into_string().ok()?;
                let is_iso = name.to_ascii_lowercase().ends_with(".iso");
                Some((name, entry.metadata().ok().filter(|file| is_iso && file.is_file())?.len()))
            })
            .collect();
        isos.sort();
        isos
    }

    fn failure(&self, code: u32, error: &DiskError) -> Failure {
        match error {
            DiskError::Full(_) => no_space(),
            DiskError::Io(_, e) if e.kind() == std::io::ErrorKind::StorageFull => no_space(),
            DiskError::Missing(uuid) => Failure::new("VDI_MISSING", [self.sr.uuid.clone(), uuid.to_string()]),
            _ => backend_failure(code, &error.to_string()),
        }
    }
}
