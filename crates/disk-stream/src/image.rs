//! A disk image: a raw disk, a qcow2 image, a VHD, or a chain of VHDs, in files or on block devices.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vhd::chain::{ChainWarning, Link, Rules, TopMap};
use vhd::format::DiskType;
use vhd::{DiskMap, EndFooterPolicy, Limits};

use crate::archive;
use crate::error::Error;
use crate::layer::{DiskFile, Layer};
use crate::parents::{Parents, find_parents};
use crate::reader::Reader;
use crate::source::BlockSource;

/// An open disk image. Clones share the files.
///
/// Everything a VHD says about itself was checked when it was opened: footers, header, table, and
/// that no block overlaps another or lies outside of the file. Of a chain, this is true for each
/// layer, and the layers were found to belong together. The second tables of a qcow2 image are checked
/// when they are read.
#[derive(Debug, Clone)]
pub struct Image(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// From the leaf to the root, at least one.
    layers: Vec<Layer>,
    /// Only for a chain.
    top: Option<TopMap>,
    /// For each layer, the byte of the disk up to which it is seen: where the smallest disk above it ends.
    ends: Vec<u64>,
    warnings: Vec<ChainWarning>,
}

/// What an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// The disk's bytes and nothing else.
    Raw,
    /// A VHD of this type.
    Vhd(DiskType),
    /// A qcow2 image.
    Qcow2,
    /// A format of this name, which somebody else reads: see [`BlockSource`].
    Other(&'static str),
}

impl Format {
    /// Its name: `raw`, `vhd`, `qcow2`, or what its reader calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Vhd(_) => "vhd",
            Self::Qcow2 => "qcow2",
            Self::Other(name) => name,
        }
    }
}

/// What an image is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Declared {
    /// Nothing is said; the content decides.
    ///
    /// The content of a raw disk belongs to whoever used it, and may imitate another format. Where the
    /// format is known (an image service says it), say it.
    #[default]
    Unknown,
    /// A raw disk, whatever it contains.
    Raw,
    /// A VHD; anything else is an error.
    Vhd,
    /// A qcow2 image; anything else is an error.
    Qcow2,
}

/// How to open an image.
///
/// ```no_run
/// use disk_stream::{Image, Opening, Parents};
///
/// # fn demo() -> Result<(), disk_stream::Error> {
/// let opening = Opening { parents: Parents::Within("/images".into()), ..Opening::default() };
/// let disk = Image::open_with(std::path::Path::new("/images/leaf.vhd"), &opening)?;
/// println!("{} layers", disk.layers().len());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// What it is said to be.
    pub declared: Declared,
    /// Where the parents of a differencing VHD are.
    pub parents: Parents,
    /// How long a chain may be, and whether its order is believed.
    pub rules: Rules,
    /// What a VHD may claim.
    pub limits: Limits,
    /// Whether the footer at the end must be there, and which one counts.
    pub end_footer: EndFooterPolicy,
    /// What sectors are that a bitmap says are not there.
    pub bitmaps: Bitmaps,
    /// Where [`coalesce`](crate::coalesce()) keeps the journal of a merge into a block device, in whose own folder it would be gone
    /// when the machine is started anew; a file is called by the uuid of the VHD, or by the path of a raw disk. Without this,
    /// `xenapi-rs/merges` in `$XDG_STATE_HOME`, or else in `/var/lib` for root and in `~/.local/state` for others.
    pub journals: Option<PathBuf>,
}

/// What sectors of a block are whose bitmap says that they are not there. In a differencing VHD they are the parent's
/// whatever is said here; in a dynamic one they should be zero in the file, and readers disagree where they are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bitmaps {
    /// Zero, as blktap has it.
    #[default]
    Honour,
    /// What the file has there, as QEMU and Xen Orchestra have it.
    Ignore,
    /// Zero; where the file has anything else there, reading fails with [`vhd::Error::AbsentData`].
    Refuse,
}

impl Image {
    /// Opens an image that is a whole disk and finds out what it is.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::NotADisk`], [`Error::Empty`], [`Error::Read`]; for a VHD
    /// [`Error::Format`] with place and kind of the damage, and [`Error::Differencing`]; for a qcow2 image
    /// [`Error::Qcow2`].
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn open(path: impl Into<PathBuf>, declared: Declared) -> Result<Self, Error> {
        let path = path.into();
        tokio::task::spawn_blocking(move || Self::open_blocking(&path, declared))
            .await
            .unwrap_or(Err(Error::Interrupted))
    }

    /// As [`Image::open`], for callers without a runtime.
    ///
    /// # Errors
    /// As [`Image::open`].
    pub fn open_blocking(path: &Path, declared: Declared) -> Result<Self, Error> {
        Self::open_with(path, &Opening { declared, ..Opening::default() })
    }

    /// Opens an image, and the parents of a differencing VHD as asked. Blocking.
    ///
    /// A tar archive of `0.vhd` (the leaf), `1.vhd` and so on, of `snap.vhd`, `image.vhd` and `base.vhd`, or of one disk
    /// of any name, as in an OVA, is read where it is, if nothing was declared; its layers are the chain.
    ///
    /// # Errors
    /// As [`Image::open`], for each layer; and [`Error::ParentNotFound`] and [`Error::Chain`]; for an archive
    /// [`Error::Archive`].
    pub fn open_with(path: &Path, opening: &Opening) -> Result<Self, Error> {
        Self::of_file(DiskFile::open(path)?, opening)
    }

    /// Opens a file or block device as a disk in a format that is not known here: `open` looks at it and makes its
    /// reader. Blocking. The image is whole, and can do what any other can but be the parent of a VHD.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::NotADisk`], [`Error::Empty`], and those of `open`.
    pub fn of_source(
        path: &Path,
        open: impl FnOnce(&DiskFile) -> Result<Box<dyn BlockSource>, Error>,
    ) -> Result<Self, Error> {
        Ok(Self::of_layers(vec![Layer::of_source(DiskFile::open(path)?, open)?], Vec::new()))
    }

    pub(crate) fn of_file(file: DiskFile, opening: &Opening) -> Result<Self, Error> {
        let path = &file.path().to_owned();
        if opening.declared == Declared::Unknown
            && let Some(mut layers) = archive::layers(&file, opening)?
        {
            if opening.parents == Parents::Ignore {
                layers.truncate(1);
                return Ok(Self::of_layers(layers, Vec::new()));
            }
            return Self::of_chain(path, layers, opening);
        }
        let leaf = Layer::of(file, opening.declared, opening)?;
        if !leaf.is_differencing() {
            return Ok(Self::of_layers(vec![leaf], Vec::new()));
        }
        let layers = match &opening.parents {
            Parents::Refuse => {
                let parent = leaf.parent_name().unwrap_or_default();
                return Err(Error::Differencing { path: path.to_owned(), parent });
            }
            Parents::Ignore => {
                return Ok(Self::of_layers(vec![leaf], Vec::new()));
            }
            parents => find_parents(leaf, parents, opening)?,
        };
        Self::of_chain(path, layers, opening)
    }

    /// Of layers that may belong together, from the leaf on.
    fn of_chain(path: &Path, layers: Vec<Layer>, opening: &Opening) -> Result<Self, Error> {
        let links: Vec<Link> = layers.iter().map(Layer::link).collect();
        let failed = |source| Error::Chain { path: path.to_owned(), source };
        let warnings = vhd::chain::check(&links, &opening.rules).map_err(failed)?;
        Ok(Self::of_layers(layers, warnings))
    }

    /// The path it was opened by; of a chain, the leaf's.
    pub fn path(&self) -> &Path {
        self.leaf().path()
    }

    /// What it is; of a chain, what the leaf is.
    pub fn format(&self) -> Format {
        self.leaf().format()
    }

    /// The disk's size in bytes: of a raw image exactly the file's.
    pub fn virtual_size(&self) -> u64 {
        self.leaf().virtual_size()
    }

    /// Length of the (leaf's) file or device in bytes.
    pub fn file_len(&self) -> u64 {
        self.leaf().file_len()
    }

    /// Footer, header and block map of a VHD; of a chain, the leaf's.
    pub fn map(&self) -> Option<&DiskMap> {
        self.leaf().map()
    }

    /// The layers of a chain from the leaf to the root; of everything else the one there is.
    pub fn layers(&self) -> &[Layer] {
        &self.0.layers
    }

    /// The disk that everything but the leaf of a chain makes.
    pub(crate) fn parent(&self) -> Option<Self> {
        let layers = self.layers().get(1..).filter(|layers| !layers.is_empty())?.to_vec();
        Some(Self::of_layers(layers, Vec::new()))
    }

    /// The leaf without what is below it.
    pub(crate) fn leaf_alone(&self) -> Self {
        Self::of_layers(vec![self.leaf().clone()], Vec::new())
    }

    /// Of layers that belong together.
    fn of_layers(layers: Vec<Layer>, warnings: Vec<ChainWarning>) -> Self {
        let of_layer = |layer| Layer::map(layer).ok_or_else(|| layer.virtual_size());
        let top =
            (layers.len() > 1).then(|| TopMap::new(layers[0].virtual_size(), layers.iter().map(of_layer)));
        let smallest = |least: &mut u64, layer: &Layer| {
            let end = *least;
            *least = end.min(layer.virtual_size());
            Some(end)
        };
        let ends = layers.iter().scan(u64::MAX, smallest).collect();
        Self(Arc::new(Inner { layers, top, ends, warnings }))
    }

    /// Oddities of the chain.
    pub fn chain_warnings(&self) -> &[ChainWarning] {
        &self.0.warnings
    }

    /// A reader of the disk's content.
    pub fn reader(&self) -> Reader {
        Reader::new(self.clone())
    }

    /// Says whether the files are still the ones that were opened: same length, same time of
    /// modification (of a device: same length).
    ///
    /// Writes through a memory map show late, and two writes within one tick of the file system's
    /// clock look like one.
    ///
    /// # Errors
    /// [`Error::Changed`], or [`Error::Open`] when a file cannot be asked.
    pub fn check_unchanged(&self) -> Result<(), Error> {
        self.layers().iter().try_for_each(Layer::check_unchanged)
    }

    fn leaf(&self) -> &Layer {
        &self.0.layers[0]
    }

    /// For how many bytes from `at` on a layer is seen. Behind the end of a disk above it there are zeros.
    pub(crate) fn seen(&self, layer: usize, at: u64) -> u64 {
        self.0.ends[layer].saturating_sub(at)
    }

    /// The first layer to ask for a byte, and for how many bytes that is the answer.
    pub(crate) fn first_layer(&self, at: u64) -> (Option<usize>, u64) {
        self.0.top.as_ref().map_or((Some(0), u64::MAX), |top| top.first(at))
    }
}
