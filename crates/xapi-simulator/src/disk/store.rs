//! A directory of disks.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use uuid::Uuid;

use super::layer::{Layer, Paths, Space, State};
use super::map::MapFile;
use super::{BLOCK, BlockMap, Disk, DiskError};

/// What happens to a write behind the end of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overrun {
    /// It fails, as on a block device.
    Refuse,
    /// The disk becomes longer, as a plain file does.
    Grow,
}

/// What a store knows of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DiskInfo {
    /// Its name.
    pub(crate) uuid: Uuid,
    /// Bytes a guest sees.
    pub(crate) virtual_size: u64,
    /// The disk it is built on.
    pub(crate) parent: Option<Uuid>,
    /// Whether it is only the parent of others.
    pub(crate) hidden: bool,
    /// Bytes of its own blocks.
    pub(crate) own_bytes: u64,
}

/// The disks of one SR, in a directory of their own.
///
/// Everything is written so that a killed process leaves a store that [`Store::open`] puts right. A loss
/// of power may lose what was written since the last [`Disk::sync`].
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
    space: Arc<Space>,
    overrun: Overrun,
    layers: Mutex<BTreeMap<Uuid, Arc<Layer>>>,
}

impl Store {
    /// Opens the store in `dir`, which is made when it is missing, and finishes what a killed process
    /// left half done. `limit_bytes` is the space for the own blocks of all disks together.
    ///
    /// # Errors
    /// Errors of the file system; [`DiskError::BadMap`] and [`DiskError::Missing`] when a disk or its
    /// parent cannot be read: nothing is changed then.
    pub(crate) fn open(dir: &Path, limit_bytes: u64, overrun: Overrun) -> Result<Self, DiskError> {
        std::fs::create_dir_all(dir).map_err(|e| DiskError::Io(dir.into(), e))?;
        let store = Self {
            dir: dir.into(),
            space: Arc::new(Space { limit: limit_bytes / BLOCK, used: AtomicU64::new(0) }),
            overrun,
            layers: Mutex::default(),
        };
        store.tidy().map_err(|e| DiskError::Io(dir.into(), e))?;
        store.load()?;
        store.sweep()?;
        Ok(store)
    }

    /// Ends creations, changes and removals that were broken off.
    fn tidy(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let parse = |suffix| name.strip_suffix(suffix).and_then(|stem| Uuid::parse_str(stem).ok());
            if let Some(uuid) = parse(".map.gone") {
                remove_if_there(&Paths::new(&self.dir, uuid).data)?;
                std::fs::remove_file(&path)?;
            } else if let Some(uuid) = parse(".map.new") {
                let paths = Paths::new(&self.dir, uuid);
                if !paths.map.exists() {
                    remove_if_there(&paths.data)?;
                }
                std::fs::remove_file(&path)?;
            } else if parse(".raw.new").is_some() {
                std::fs::remove_file(&path)?;
            } else if let Some(uuid) = parse(".raw")
                && !Paths::new(&self.dir, uuid).map.exists()
                && std::fs::metadata(&path).is_ok_and(|file| file.nlink() > 1)
            {
                // A snapshot was broken off when its base had no map yet; the data have another name.
                std::fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn load(&self) -> Result<(), DiskError> {
        let mut files = BTreeMap::new();
        let at = |path: &Path| {
            let path = path.to_owned();
            move |e| DiskError::Io(path, e)
        };
        for entry in std::fs::read_dir(&self.dir).map_err(at(&self.dir))? {
            let path = entry.map_err(at(&self.dir))?.path();
            if path.extension().is_none_or(|extension| extension != "map") {
                continue;
            }
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let Ok(uuid) = Uuid::parse_str(stem) else { continue };
            let bytes = std::fs::read(&path).map_err(at(&path))?;
            let file = MapFile::from_bytes(&bytes).map_err(|why| DiskError::BadMap(path, why))?;
            files.insert(uuid, file);
        }
        let mut layers = BTreeMap::new();
        for &uuid in files.keys() {
            self.load_layer(uuid, &files, &mut layers, 0)?;
        }
        *self.layers() = layers;
        Ok(())
    }

    fn load_layer(
        &self,
        uuid: Uuid,
        files: &BTreeMap<Uuid, MapFile>,
        layers: &mut BTreeMap<Uuid, Arc<Layer>>,
        depth: usize,
    ) -> Result<Arc<Layer>, DiskError> {
        if let Some(layer) = layers.get(&uuid) {
            return Ok(layer.clone());
        }
        let paths = Paths::new(&self.dir, uuid);
        let file = files.get(&uuid).ok_or(DiskError::Missing(uuid))?;
        if depth > files.len() {
            return Err(DiskError::BadMap(paths.map, "its parents form a circle"));
        }
        let parent =
            file.parent.map(|parent| self.load_layer(parent, files, layers, depth + 1)).transpose()?;
        let open = |path: &Path| {
            let file = OpenOptions::new().read(true).write(true).open(path);
            file.map_err(|e| DiskError::Io(path.to_owned(), e))
        };
        let mut data = open(&paths.data)?;
        if let Some(parent) = &parent
            && same_file(&data, &parent.read().data).map_err(|e| DiskError::Io(paths.data.clone(), e))?
        {
            // A snapshot was broken off after the new map and before the new data file.
            data = new_data(&paths, file.virtual_size)?;
        }
        self.space.used.fetch_add(file.map.used(), Ordering::Relaxed);
        let state = State {
            data,
            map_file: open(&paths.map)?,
            own: file.map.clone(),
            virtual_size: file.virtual_size,
            parent,
            hidden: file.hidden,
            removed: false,
        };
        let layer = self.layer(uuid, paths, state);
        layers.insert(uuid, layer.clone());
        Ok(layer)
    }

    fn layer(&self, uuid: Uuid, paths: Paths, state: State) -> Arc<Layer> {
        let (space, overrun) = (self.space.clone(), self.overrun);
        Arc::new(Layer { uuid, paths, space, overrun, state: RwLock::new(state) })
    }

    fn layers(&self) -> MutexGuard<'_, BTreeMap<Uuid, Arc<Layer>>> {
        self.layers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Makes an empty disk.
    ///
    /// # Errors
    /// [`DiskError::Exists`]; errors of the file system.
    pub(crate) fn create(&self, uuid: Uuid, virtual_size: u64) -> Result<(), DiskError> {
        self.create_on(&mut self.layers(), uuid, virtual_size, None).map(drop)
    }

    /// Makes an empty disk on another one.
    ///
    /// # Errors
    /// [`DiskError::Missing`], [`DiskError::Exists`]; errors of the file system.
    pub(crate) fn create_above(
        &self,
        uuid: Uuid,
        virtual_size: u64,
        parent: Option<Uuid>,
    ) -> Result<(), DiskError> {
        let mut layers = self.layers();
        let find = |uuid| layers.get(&uuid).cloned().ok_or(DiskError::Missing(uuid));
        let parent = parent.map(find).transpose()?;
        self.create_on(&mut layers, uuid, virtual_size, parent).map(drop)
    }

    /// Makes a disk one that is only the parent of others.
    ///
    /// # Errors
    /// [`DiskError::Missing`]; errors of the file system.
    pub(crate) fn hide(&self, uuid: Uuid) -> Result<(), DiskError> {
        let layer = self.disk(uuid)?.0;
        let mut state = layer.write();
        state.hidden = true;
        state.map_file = layer.paths.replace_map(&state.to_map_file())?;
        Ok(())
    }

    fn create_on(
        &self,
        layers: &mut BTreeMap<Uuid, Arc<Layer>>,
        uuid: Uuid,
        virtual_size: u64,
        parent: Option<Arc<Layer>>,
    ) -> Result<Arc<Layer>, DiskError> {
        if layers.contains_key(&uuid) {
            return Err(DiskError::Exists(uuid));
        }
        let paths = Paths::new(&self.dir, uuid);
        let content = MapFile {
            virtual_size,
            parent: parent.as_ref().map(|parent| parent.uuid),
            hidden: false,
            map: BlockMap::new(virtual_size),
        };
        let data = new_data(&paths, virtual_size)?;
        let map_file = match paths.replace_map(&content) {
            Ok(file) => file,
            Err(e) => {
                let _ = std::fs::remove_file(&paths.data);
                return Err(e);
            }
        };
        let own = content.map;
        let state = State { data, map_file, own, virtual_size, parent, hidden: false, removed: false };
        let layer = self.layer(uuid, paths, state);
        layers.insert(uuid, layer.clone());
        Ok(layer)
    }

    /// Opens a disk for reading and writing.
    ///
    /// # Errors
    /// [`DiskError::Missing`].
    pub(crate) fn disk(&self, uuid: Uuid) -> Result<Disk, DiskError> {
        self.layers().get(&uuid).cloned().map(Disk).ok_or(DiskError::Missing(uuid))
    }

    /// What is known of a disk.
    pub(crate) fn info(&self, uuid: Uuid) -> Option<DiskInfo> {
        self.layers().get(&uuid).map(|layer| info(layer))
    }

    /// All disks, hidden ones included.
    pub(crate) fn list(&self) -> Vec<DiskInfo> {
        self.layers().values().map(|layer| info(layer)).collect()
    }

    /// Bytes of the own blocks of all disks.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.space.used.load(Ordering::Relaxed) * BLOCK
    }

    /// Makes a disk longer.
    ///
    /// # Errors
    /// [`DiskError::Shrinking`], [`DiskError::Missing`], errors of the file system.
    pub(crate) fn resize(&self, uuid: Uuid, to: u64) -> Result<(), DiskError> {
        let layer = self.disk(uuid)?.0;
        let mut state = layer.write();
        let from = state.virtual_size;
        if to < from {
            return Err(DiskError::Shrinking { uuid, from, to });
        }
        if to > from { layer.grow(&mut state, to) } else { Ok(()) }
    }

    /// Makes `copy` with the content of `uuid`, sharing its blocks. The blocks move to the hidden disk
    /// `base`; a disk that has written nothing since it got its parent shares that parent instead.
    /// Returns whether `base` was made.
    ///
    /// # Errors
    /// [`DiskError::Missing`], [`DiskError::Exists`], errors of the file system. The content of `uuid`
    /// is unchanged in any case.
    pub(crate) fn snapshot(&self, uuid: Uuid, base: Uuid, copy: Uuid) -> Result<bool, DiskError> {
        let mut layers = self.layers();
        if let Some(taken) = [base, copy].into_iter().find(|taken| layers.contains_key(taken)) {
            return Err(DiskError::Exists(taken));
        }
        let leaf = layers.get(&uuid).cloned().ok_or(DiskError::Missing(uuid))?;
        let mut state = leaf.write();
        let shared = state.parent.clone().filter(|_| state.own.used() == 0);
        let made = shared.is_none();
        let parent = match shared {
            Some(parent) => parent,
            None => self.push_down(&mut layers, &leaf, &mut state, base)?,
        };
        let virtual_size = state.virtual_size;
        drop(state);
        self.create_on(&mut layers, copy, virtual_size, Some(parent))?;
        Ok(made)
    }

    /// Moves the blocks of `leaf` to a new hidden parent.
    fn push_down(
        &self,
        layers: &mut BTreeMap<Uuid, Arc<Layer>>,
        leaf: &Layer,
        state: &mut State,
        base: Uuid,
    ) -> Result<Arc<Layer>, DiskError> {
        let paths = Paths::new(&self.dir, base);
        let at = |path: &Path| {
            let path = path.to_owned();
            move |e| DiskError::Io(path, e)
        };
        std::fs::hard_link(&leaf.paths.data, &paths.data).map_err(at(&paths.data))?;
        let undo = |e| {
            let _ = std::fs::remove_file(&paths.map);
            let _ = std::fs::remove_file(&paths.data);
            e
        };
        let below = MapFile { hidden: true, ..state.to_map_file() };
        let base_map = paths.replace_map(&below).map_err(undo)?;
        let data = state.data.try_clone().map_err(at(&paths.data)).map_err(undo)?;
        let fresh = leaf.paths.data.with_extension("raw.new");
        let fresh_data = sparse_file(&fresh, state.virtual_size).map_err(at(&fresh)).map_err(undo)?;
        let above =
            MapFile { parent: Some(base), map: BlockMap::new(state.virtual_size), ..state.to_map_file() };
        // From here on a killed process leaves a disk whose data file is its parent's: `load_layer`
        // sees that and makes the new one.
        let leaf_map = leaf.paths.replace_map(&above).map_err(undo)?;
        if let Err(e) = std::fs::rename(&fresh, &leaf.paths.data) {
            leaf.paths.replace_map(&state.to_map_file())?;
            return Err(undo(at(&fresh)(e)));
        }
        let base_state = State {
            data,
            map_file: base_map,
            own: std::mem::replace(&mut state.own, above.map),
            virtual_size: state.virtual_size,
            parent: state.parent.take(),
            hidden: true,
            removed: false,
        };
        let layer = self.layer(base, paths.clone(), base_state);
        state.data = fresh_data;
        state.map_file = leaf_map;
        state.parent = Some(layer.clone());
        layers.insert(base, layer.clone());
        Ok(layer)
    }

    /// Makes `copy` with the content of `uuid` in blocks of its own.
    ///
    /// # Errors
    /// [`DiskError::Missing`], [`DiskError::Exists`], [`DiskError::Full`], errors of the file system;
    /// `copy` does not exist then.
    pub(crate) fn duplicate(&self, uuid: Uuid, copy: Uuid) -> Result<(), DiskError> {
        let from = self.disk(uuid)?;
        self.create(copy, from.len_bytes())?;
        let copied = self.disk(copy).and_then(|to| copy_blocks(&from, &to));
        if copied.is_err() {
            self.remove(copy)?;
        }
        copied
    }

    /// Removes a disk and its data.
    ///
    /// # Errors
    /// [`DiskError::Missing`], [`DiskError::HasChildren`], errors of the file system.
    pub(crate) fn remove(&self, uuid: Uuid) -> Result<(), DiskError> {
        let mut layers = self.layers();
        self.remove_from(&mut layers, uuid)
    }

    fn remove_from(&self, layers: &mut BTreeMap<Uuid, Arc<Layer>>, uuid: Uuid) -> Result<(), DiskError> {
        let layer = layers.get(&uuid).cloned().ok_or(DiskError::Missing(uuid))?;
        if has_children(layers, uuid) {
            return Err(DiskError::HasChildren(uuid));
        }
        let mut state = layer.write();
        let paths = &layer.paths;
        let gone = paths.map.with_extension("map.gone");
        std::fs::rename(&paths.map, &gone)
            .and_then(|()| std::fs::remove_file(&paths.data))
            .and_then(|()| std::fs::remove_file(&gone))
            .map_err(|e| DiskError::Io(paths.data.clone(), e))?;
        state.removed = true;
        state.parent = None;
        self.space.give_back(state.own.used());
        layers.remove(&uuid);
        Ok(())
    }

    /// Removes hidden disks that no visible one is built on; returns them.
    ///
    /// # Errors
    /// Errors of the file system.
    pub(crate) fn sweep(&self) -> Result<Vec<Uuid>, DiskError> {
        let mut layers = self.layers();
        let mut swept = Vec::new();
        loop {
            let garbage = layers.values().find(|layer| {
                let hidden = layer.read().hidden;
                hidden && !has_children(&layers, layer.uuid)
            });
            let Some(uuid) = garbage.map(|layer| layer.uuid) else { return Ok(swept) };
            self.remove_from(&mut layers, uuid)?;
            swept.push(uuid);
        }
    }
}

/// Writes every block of `from` that is not all zeros to `to`; both have the same length, or `to` is longer.
///
/// # Errors
/// As [`Disk::write_at`].
fn copy_blocks(from: &Disk, to: &Disk) -> Result<(), DiskError> {
    let len = from.len_bytes();
    let mut buf = vec![0; BLOCK as usize];
    for block in from.allocated().iter() {
        let start = block * BLOCK;
        let now = &mut buf[..BLOCK.min(len - start) as usize];
        if from.is_hole(block) {
            now.fill(0);
        } else {
            from.read_at(start, now)?;
        }
        to.write_at(start, now)?;
    }
    Ok(())
}

fn info(layer: &Layer) -> DiskInfo {
    let state = layer.read();
    DiskInfo {
        uuid: layer.uuid,
        virtual_size: state.virtual_size,
        parent: state.parent.as_ref().map(|parent| parent.uuid),
        hidden: state.hidden,
        own_bytes: state.own.used() * BLOCK,
    }
}

fn has_children(layers: &BTreeMap<Uuid, Arc<Layer>>, uuid: Uuid) -> bool {
    layers.values().any(|layer| layer.read().parent.as_ref().is_some_and(|parent| parent.uuid == uuid))
}

fn sparse_file(path: &Path, len_bytes: u64) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    file.set_len(len_bytes)?;
    Ok(file)
}

/// Makes the data file anew, empty and in one step.
fn new_data(paths: &Paths, len_bytes: u64) -> Result<File, DiskError> {
    let new = paths.data.with_extension("raw.new");
    let make = || {
        let file = sparse_file(&new, len_bytes)?;
        std::fs::rename(&new, &paths.data)?;
        Ok(file)
    };
    make().map_err(|e| DiskError::Io(paths.data.clone(), e))
}

fn same_file(a: &File, b: &File) -> io::Result<bool> {
    let (a, b) = (a.metadata()?, b.metadata()?);
    Ok((a.dev(), a.ino()) == (b.dev(), b.ino()))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
