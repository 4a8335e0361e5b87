//! One disk: its own blocks, and its parent's where it has none.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustix::fs::{FallocateFlags, SeekFrom};
use uuid::Uuid;

use super::map::MapFile;
use super::store::Overrun;
use super::{BlockMap, DiskError};

/// Bytes in a block: what a VHD allocates at a time in XenServer.
pub(crate) const BLOCK: u64 = 2 << 20;

static ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];

/// How many blocks the disks of a store may have together, and have.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) limit: u64,
    pub(super) used: AtomicU64,
}

impl Space {
    fn take(&self) -> bool {
        let more = |used| (used < self.limit).then_some(used + 1);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(super) fn give_back(&self, blocks: u64) {
        self.used.fetch_sub(blocks, Ordering::Relaxed);
    }
}

/// The files of a disk.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    pub(super) data: PathBuf,
    pub(super) map: PathBuf,
}

impl Paths {
    pub(super) fn new(dir: &Path, uuid: Uuid) -> Self {
        Self { data: dir.join(format!("{uuid}.raw")), map: dir.join(format!("{uuid}.map")) }
    }

    /// Writes the map file in one step: a reader sees the old one or the new one.
    pub(super) fn replace_map(&self, content: &MapFile) -> Result<File, DiskError> {
        let new = self.map.with_extension("map.new");
        let write = || {
            std::fs::write(&new, content.to_bytes())?;
            std::fs::rename(&new, &self.map)?;
            OpenOptions::new().read(true).write(true).open(&self.map)
        };
        write().map_err(|e| DiskError::Io(self.map.clone(), e))
    }
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) data: File,
    pub(super) map_file: File,
    pub(super) own: BlockMap,
    pub(super) virtual_size: u64,
    pub(super) parent: Option<Arc<Layer>>,
    pub(super) hidden: bool,
    pub(super) removed: bool,
}

impl State {
    pub(super) fn to_map_file(&self) -> MapFile {
        MapFile {
            virtual_size: self.virtual_size,
            parent: self.parent.as_ref().map(|parent| parent.uuid),
            hidden: self.hidden,
            map: self.own.clone(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Layer {
    pub(super) uuid: Uuid,
    pub(super) paths: Paths,
    pub(super) space: Arc<Space>,
    pub(super) overrun: Overrun,
    pub(super) state: RwLock<State>,
}

impl Layer {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn io(&self, error: io::Error) -> DiskError {
        DiskError::Io(self.paths.data.clone(), error)
    }

    /// Reads within one block; what lies behind the layer's end is zeros.
    fn read_block(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        let state = self.read();
        let within = state.virtual_size.saturating_sub(offset).min(buf.len() as u64) as usize;
        let (buf, rest) = buf.split_at_mut(within);
        rest.fill(0);
        if state.own.get(offset / BLOCK) {
            read_padded(&state.data, buf, offset).map_err(|e| self.io(e))
        } else if let Some(parent) = &state.parent {
            parent.read_block(offset, buf)
        } else {
            buf.fill(0);
            Ok(())
        }
    }

    /// Whether this layer or one above it has data in `block`.
    fn has(&self, block: u64) -> bool {
        let state = self.read();
        state.own.get(block) || state.parent.as_ref().is_some_and(|parent| parent.has(block))
    }

    /// Writes within one block.
    fn write_block(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let mut state = self.write();
        if state.removed {
            return Err(DiskError::Missing(self.uuid));
        }
        let end = offset + bytes.len() as u64;
        if end > state.virtual_size {
            match self.overrun {
                Overrun::Refuse => {
                    return Err(DiskError::OutOfRange { uuid: self.uuid, offset, len: bytes.len() as u64 });
                }
                Overrun::Grow => self.grow(&mut state, end)?,
            }
        }
        let block = offset / BLOCK;
        if state.own.get(block) {
            return state.data.write_all_at(bytes, offset).map_err(|e| self.io(e));
        }
        if !self.space.take() {
            return Err(DiskError::Full(self.uuid));
        }
        let result = self.fill_block(&state, block, offset, bytes);
        if result.is_err() {
            self.space.give_back(1);
            // What was written of the block must not show up when the block is used later.
            let (start, flags) = (block * BLOCK, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE);
            let _ = rustix::fs::fallocate(&state.data, flags, start, BLOCK);
            return result;
        }
        state.own.set(block);
        let (at, byte) = state.own.stored(block);
        state.map_file.write_all_at(&[byte], at).map_err(|e| DiskError::Io(self.paths.map.clone(), e))
    }

    /// Writes the first content of an own block: `bytes`, and around them what the parent has.
    fn fill_block(&self, state: &State, block: u64, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let start = block * BLOCK;
        let len = BLOCK.min(state.virtual_size - start);
        let parent = state.parent.as_ref().filter(|parent| parent.has(block));
        let Some(parent) = parent.filter(|_| (bytes.len() as u64) < len) else {
            // The file has a hole here: zeros need no writing.
            if bytes == &ZEROS[..bytes.len()] {
                return Ok(());
            }
            return state.data.write_all_at(bytes, offset).map_err(|e| self.io(e));
        };
        let mut whole = vec![0; len as usize];
        parent.read_block(start, &mut whole)?;
        let at = (offset - start) as usize;
        whole[at..at + bytes.len()].copy_from_slice(bytes);
        state.data.write_all_at(&whole, start).map_err(|e| self.io(e))
    }

    /// Makes the disk `len_bytes` long, which is not less than before.
    pub(super) fn grow(&self, state: &mut State, len_bytes: u64) -> Result<(), DiskError> {
        state.data.set_len(len_bytes).map_err(|e| self.io(e))?;
        let mut content = state.to_map_file();
        content.virtual_size = len_bytes;
        content.map.grow(len_bytes);
        state.map_file = self.paths.replace_map(&content)?;
        state.own = content.map;
        state.virtual_size = len_bytes;
        Ok(())
    }
}

/// Reads `buf.len()` bytes; what is missing at the end of the file is zeros.
fn read_padded(file: &File, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match file.read_at(buf, offset) {
            Ok(0) => {
                buf.fill(0);
                break;
            }
            Ok(n) => {
                buf = &mut buf[n..];
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// An open disk. Clones are the same disk; a snapshot taken meanwhile does not disturb it.
#[derive(Debug, Clone)]
pub(crate) struct Disk(pub(super) Arc<Layer>);

impl Disk {
    /// Bytes of the disk.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.0.read().virtual_size
    }

    /// Fills `buf` from `offset` on.
    ///
    /// # Errors
    /// [`DiskError::OutOfRange`] behind the end of the disk; errors of the file system.
    pub(crate) fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> Result<(), DiskError> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.len_bytes()) {
            return Err(DiskError::OutOfRange { uuid: self.0.uuid, offset, len: buf.len() as u64 });
        }
        while !buf.is_empty() {
            let step = (BLOCK - offset % BLOCK).min(buf.len() as u64);
            let (now, later) = buf.split_at_mut(step as usize);
            self.0.read_block(offset, now)?;
            buf = later;
            offset += step;
        }
        Ok(())
    }

    /// Writes `bytes` at `offset`; what was written before an error stays.
    ///
    /// # Errors
    /// [`DiskError::OutOfRange`] behind the end of the disk, [`DiskError::Full`] when the store has no
    /// block left, errors of the file system.
    pub(crate) fn write_at(&self, mut offset: u64, mut bytes: &[u8]) -> Result<(), DiskError> {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > i64::MAX as u64) {
            return Err(DiskError::OutOfRange { uuid: self.0.uuid, offset, len: bytes.len() as u64 });
        }
        while !bytes.is_empty() {
            let step = (BLOCK - offset % BLOCK).min(bytes.len() as u64);
            let (now, later) = bytes.split_at(step as usize);
            self.0.write_block(offset, now)?;
            bytes = later;
            offset += step;
        }
        Ok(())
    }

    /// Waits until everything written to the disk and its ancestors has reached the medium.
    ///
    /// # Errors
    /// Errors of the file system.
    pub(crate) fn sync(&self) -> Result<(), DiskError> {
        let mut next = Some(self.0.clone());
        while let Some(layer) = next {
            let state = layer.read();
            let synced = state.data.sync_all().and_then(|()| state.map_file.sync_all());
            synced.map_err(|e| layer.io(e))?;
            let parent = state.parent.clone();
            drop(state);
            next = parent;
        }
        // The files' names are in the directory.
        let directory = self.0.paths.data.parent().unwrap_or(Path::new("."));
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|e| self.0.io(e))
    }

    /// The disk's own blocks and those of its ancestors, from itself to the root.
    pub(crate) fn chain(&self) -> Vec<(Uuid, BlockMap)> {
        let mut chain = Vec::new();
        let mut next = Some(self.0.clone());
        while let Some(layer) = next {
            let state = layer.read();
            chain.push((layer.uuid, state.own.clone()));
            let parent = state.parent.clone();
            drop(state);
            next = parent;
        }
        chain
    }

    /// Every block that is allocated in the disk or an ancestor.
    pub(crate) fn allocated(&self) -> BlockMap {
        let mut all = BlockMap::new(self.len_bytes());
        for (_, own) in self.chain() {
            all.union(&own);
        }
        all
    }

    /// Whether nothing but a hole is under `block` wherever it is allocated, so that it reads as zeros.
    /// `false` means that it must be read to know.
    pub(crate) fn is_hole(&self, block: u64) -> bool {
        let mut next = Some(self.0.clone());
        while let Some(layer) = next {
            let state = layer.read();
            if state.own.get(block) {
                let start = block * BLOCK;
                return match rustix::fs::seek(&state.data, SeekFrom::Data(start)) {
                    Ok(data) => data >= start + BLOCK,
                    Err(e) => e == rustix::io::Errno::NXIO,
                };
            }
            let parent = state.parent.clone();
            drop(state);
            next = parent;
        }
        true
    }
}
