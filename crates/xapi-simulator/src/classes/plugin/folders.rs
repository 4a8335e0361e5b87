//! The disks of file-based SRs, as the files that programs find in dom0.
//!
//! A call of a plugin that names such an SR by its uuid finds a folder of that name in
//! [`Config::sr_mounts`](crate::core::Config::sr_mounts) with a VHD for each disk, base copies included. VHDs that the
//! program leaves there are disks of the SR from then on; it is the next scan that gives them rows, as on a real host.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;
use uuid::Uuid;
use vhd::Structure;
use vhd::format::{DynamicHeader, FOOTER_LEN, Footer, HEADER_LEN, Timestamp};
use xenapi_wire::Failure;

use crate::core::Core;
use crate::db::View;
use crate::disk::Disk;
use crate::sr_types::{Layout, no_space};
use crate::storage::{Backend, Sr, Volume};
use crate::transfer::{export, import};

/// The folder of an SR, as long as a program runs.
struct Folder {
    path: PathBuf,
    backend: Backend,
}

/// The SRs of files that `texts` name and `host` reaches.
fn named(view: &View, host: &str, texts: &[String]) -> Result<Vec<Sr>, Failure> {
    let is_here = |pbd: &crate::db::Object<'_>| pbd.str("host") == host && pbd.bool("currently_attached");
    let mut found = Vec::new();
    for pbd in view.objects("PBD").filter(is_here) {
        let sr = Sr::of(view, pbd.str("SR"))?;
        if sr.kind.layout == Layout::VhdFiles && texts.iter().any(|text| text.contains(&sr.uuid)) {
            found.push(sr);
        }
    }
    Ok(found)
}

/// Runs `program` while the SRs that its arguments name are folders. One at a time: two calls for one SR would each
/// have the files of it.
pub(super) async fn with<T>(
    core: &Arc<Core>,
    host: &str,
    texts: &[String],
    program: impl Future<Output = T>,
) -> T {
    static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let Some(mounts) = core.config().sr_mounts.clone() else { return program.await };
    let srs = core.db().read(|view| named(view, host, texts)).unwrap_or_default();
    if srs.is_empty() {
        return program.await;
    }
    let _one = ONE.lock().await;
    let inside = core.clone();
    let made = tokio::task::spawn_blocking(move || {
        let made = srs.into_iter().map(|sr| Folder::make(&inside, &mounts, sr));
        let told = |error: &Failure| tracing::warn!(%error, "the program will not find an SR's folder");
        made.filter_map(|folder| folder.inspect_err(told).ok()).collect::<Vec<_>>()
    });
    let folders = made.await.unwrap_or_default();
    let value = program.await;
    let taken = tokio::task::spawn_blocking(move || {
        for folder in folders {
            if let Err(error) = folder.take_back() {
                tracing::warn!(folder = %folder.path.display(), %error, "what the program left is lost");
            }
            folder.clear();
        }
    });
    let _ = taken.await;
    value
}

fn refused(error: impl std::fmt::Display) -> Failure {
    crate::dispatch::internal_error(&error.to_string())
}

impl Folder {
    /// Writes the files. Does file work.
    fn make(core: &Core, mounts: &Path, sr: Sr) -> Result<Self, Failure> {
        let path = mounts.join(&sr.uuid);
        let backend = core.storage().open(sr)?;
        std::fs::create_dir_all(&path).map_err(refused)?;
        let folder = Self { path, backend };
        let modified = Timestamp::from_unix(core.clock().now().as_second().try_into().unwrap_or(0));
        for volume in folder.backend.volumes() {
            folder.write(&volume, modified).map_err(refused)?;
        }
        Ok(folder)
    }

    fn file(&self, uuid: Uuid) -> PathBuf {
        self.path.join(format!("{uuid}.vhd"))
    }

    /// A disk as a file: what it has itself, and the name of what it is built on.
    fn write(&self, volume: &Volume, modified: Timestamp) -> std::io::Result<()> {
        let disk = self.backend.disk(volume.uuid).map_err(|e| std::io::Error::other(e.to_string()))?;
        let Some((_, own)) = disk.chain().into_iter().next() else { return Ok(()) };
        let base = volume.parent.map(|uuid| {
            let path = format!("{uuid}.vhd");
            export::Base { uuid, path, modified }
        });
        let (path, len) = (self.file(volume.uuid), disk.len_bytes());
        let written = Handle::current().block_on(async {
            let mut file = tokio::fs::File::create(&path).await?;
            let sent = export::vhd(&mut file, &disk, len, &own, base.as_ref(), &mut |_| {}).await;
            sent.map_err(std::io::Error::other)
        });
        written.and_then(|()| mark(&path, volume))
    }

    /// Takes in what the program has left, parents first. Does file work.
    fn take_back(&self) -> Result<(), Failure> {
        let _exclusive = self.backend.exclusive();
        let mut left = BTreeMap::new();
        for entry in std::fs::read_dir(&self.path).map_err(refused)? {
            let path = entry.map_err(refused)?.path();
            if let Some(uuid) = uuid_of(&path).filter(|uuid| self.backend.disk(*uuid).is_err()) {
                left.insert(uuid, Head::read(&path).map_err(refused)?);
            }
        }
        let mut hidden = Vec::new();
        while let Some(uuid) = left.iter().find_map(|(uuid, head)| {
            head.parent.is_none_or(|parent| !left.contains_key(&parent)).then_some(*uuid)
        }) {
            let Some(head) = left.remove(&uuid) else { break };
            let disk = self.backend.adopt(uuid, head.virtual_size, head.parent)?;
            self.read(uuid, &disk).map_err(|_| no_space())?;
            hidden.extend(head.is_hidden.then_some(uuid));
        }
        hidden.into_iter().try_for_each(|uuid| self.backend.hide(uuid))
    }

    fn read(&self, uuid: Uuid, disk: &Disk) -> std::io::Result<()> {
        let path = self.file(uuid);
        Handle::current().block_on(async {
            let len = tokio::fs::metadata(&path).await?.len();
            let mut file = tokio::fs::File::open(&path).await?;
            let read = import::vhd(&mut file, Some(len), disk, &mut |_| {}).await;
            read.map_err(std::io::Error::other)
        })
    }

    /// Takes the files away. What is none of ours keeps the folder.
    fn clear(&self) {
        for volume in self.backend.volumes() {
            let _ = std::fs::remove_file(self.file(volume.uuid));
        }
        let _ = std::fs::remove_dir(&self.path);
    }
}

fn uuid_of(path: &Path) -> Option<Uuid> {
    let stem = path.file_stem().filter(|_| path.extension() == Some(OsStr::new("vhd")))?;
    Uuid::parse_str(stem.to_str()?).ok()
}

/// What the head of a file says of its disk.
struct Head {
    virtual_size: u64,
    parent: Option<Uuid>,
    is_hidden: bool,
}

impl Head {
    fn read(path: &Path) -> std::io::Result<Self> {
        let mut file = std::fs::File::open(path)?;
        let (mut footer, mut header) = ([0; FOOTER_LEN], [0; HEADER_LEN]);
        file.read_exact(&mut footer)?;
        let footer = Footer::parse(&footer, 0, Structure::FrontFooter).map_err(std::io::Error::other)?;
        file.seek(SeekFrom::Start(footer.data_offset))?;
        file.read_exact(&mut header)?;
        let header = DynamicHeader::parse(&header, footer.data_offset).map_err(std::io::Error::other)?;
        let parent = uuid_of(Path::new(&header.parent_name));
        Ok(Self { virtual_size: footer.current_size, parent, is_hidden: footer.hidden != 0 })
    }
}

/// Gives a file the uuid by which the files above it know it, and says whether it is a base copy's: in both its footers.
fn mark(path: &Path, volume: &Volume) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().read(true).write(true).open(path)?;
    let mut bytes = [0; FOOTER_LEN];
    file.read_exact(&mut bytes)?;
    let footer = Footer::parse(&bytes, 0, Structure::FrontFooter).map_err(std::io::Error::other)?;
    let bytes = Footer { uuid: volume.uuid, hidden: volume.hidden.into(), ..footer }.to_bytes();
    for at in [SeekFrom::Start(0), SeekFrom::End(-(FOOTER_LEN as i64))] {
        file.seek(at)?;
        file.write_all(&bytes)?;
    }
    Ok(())
}
