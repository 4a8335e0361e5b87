//! A disk image in a file or on a block device, raw or VHD.

use std::fs::{File, FileType};
use std::io::{self, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use vhd::format::DiskType;
use vhd::{BlockPlace, DiskMap, EndFooterPolicy, Limits, Place, Probe, ReadError, bitmap};

use crate::error::Error;
use crate::scan::next_extent;

/// An open disk image. Clones share the file.
///
/// Everything a VHD says about itself was checked when it was opened: footers, header, table, and
/// that no block overlaps another or lies outside of the file.
#[derive(Debug, Clone)]
pub struct Image(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    /// Of the file or device, in bytes.
    len: u64,
    device: bool,
    modified: (i64, i64),
    map: Option<DiskMap>,
}

/// What an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// The disk's bytes and nothing else.
    Raw,
    /// A VHD of this type.
    Vhd(DiskType),
}

/// What an image is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Declared {
    /// Nothing is said; the content decides.
    ///
    /// The content of a raw disk belongs to whoever used it, and may imitate a VHD. Where the
    /// format is known (an image service says it), say it.
    #[default]
    Unknown,
    /// A raw disk, whatever it contains.
    Raw,
    /// A VHD; anything else is an error.
    Vhd,
}

impl Image {
    /// Opens an image and finds out what it is.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::NotADisk`], [`Error::Empty`], [`Error::Read`]; for a VHD
    /// [`Error::Format`] with place and kind of the damage, and [`Error::Differencing`].
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
        let failed = |source| Error::Open { path: path.to_owned(), source };
        let check = |kind: FileType| match kind {
            kind if kind.is_file() || kind.is_block_device() => Ok(kind),
            kind => Err(Error::NotADisk { path: path.to_owned(), kind: kind_name(kind) }),
        };
        // Before it is opened, because opening some devices has effects, and again on what was
        // opened. Without O_NONBLOCK, a FIFO put in its place would wait for a writer.
        check(std::fs::metadata(path).map_err(failed)?.file_type())?;
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let mut file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let kind = check(metadata.file_type())?;
        let len = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if len == 0 {
            return Err(Error::Empty { path: path.to_owned() });
        }
        let mut inner = Inner {
            path: path.to_owned(),
            file,
            len,
            device: kind.is_block_device(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            map: None,
        };
        if inner.is_vhd(declared)? {
            inner.map = Some(inner.read_map()?);
        }
        Ok(Self(Arc::new(inner)))
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What it is.
    pub fn format(&self) -> Format {
        self.0.map.as_ref().map_or(Format::Raw, |map| Format::Vhd(map.footer().disk_type))
    }

    /// The disk's size in bytes: of a raw image exactly the file's.
    pub fn virtual_size(&self) -> u64 {
        self.0.map.as_ref().map_or(self.0.len, DiskMap::virtual_size)
    }

    /// Length of the file or device in bytes.
    pub fn file_len(&self) -> u64 {
        self.0.len
    }

    /// Footer, header and block map of a VHD.
    pub fn map(&self) -> Option<&DiskMap> {
        self.0.map.as_ref()
    }

    /// A reader of the disk's content.
    pub fn reader(&self) -> Reader {
        Reader { image: self.clone(), current: None }
    }

    /// Says whether the file is still the one that was opened: same length, same time of
    /// modification (of a device: same length).
    ///
    /// Writes through a memory map show late, and two writes within one tick of the file system's
    /// clock look like one.
    ///
    /// # Errors
    /// [`Error::Changed`], or [`Error::Open`] when the file cannot be asked.
    pub fn check_unchanged(&self) -> Result<(), Error> {
        let inner = &*self.0;
        let failed = |source| Error::Open { path: inner.path.clone(), source };
        let changed = |what| Err(Error::Changed { path: inner.path.clone(), what });
        let metadata = inner.file.metadata().map_err(failed)?;
        if inner.device {
            let len = (&inner.file).seek(SeekFrom::End(0)).map_err(failed)?;
            return if len == inner.len { Ok(()) } else { changed("the size of the device") };
        }
        if metadata.len() != inner.len {
            changed("its size")
        } else if (metadata.mtime(), metadata.mtime_nsec()) != inner.modified {
            changed("its time of modification")
        } else {
            Ok(())
        }
    }

    pub(crate) fn file(&self) -> &File {
        &self.0.file
    }

    pub(crate) fn is_device(&self) -> bool {
        self.0.device
    }

    pub(crate) fn read_file(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.0.read_file(offset, buffer)
    }
}

impl Inner {
    fn is_vhd(&self, declared: Declared) -> Result<bool, Error> {
        match declared {
            Declared::Raw => return Ok(false),
            Declared::Vhd => return Ok(true),
            Declared::Unknown => {}
        }
        let sector = self.len.min(512);
        let (mut first, mut last) = ([0; 512], [0; 512]);
        // At most 512.
        let len = usize::try_from(sector).unwrap_or(512);
        self.read_file(0, &mut first[..len])?;
        self.read_file(self.len - sector, &mut last[..len])?;
        match vhd::probe(&first[..len], &last[..len], self.len) {
            Probe::Raw => Ok(false),
            Probe::Vhd(_) => Ok(true),
            // The map's errors are more precise.
            Probe::Damaged(_) if sector == 512 => Ok(true),
            Probe::Damaged(source) => Err(Error::Format { path: self.path.clone(), source }),
        }
    }

    fn read_map(&self) -> Result<DiskMap, Error> {
        let read_at = |offset, buffer: &mut [u8]| self.read_file(offset, buffer);
        let map = DiskMap::read(self.len, EndFooterPolicy::Required, &Limits::default(), read_at);
        let map = map.map_err(|error| match error {
            ReadError::Format(source) => Error::Format { path: self.path.clone(), source },
            ReadError::Io { source, .. } => source,
        })?;
        if let Some(header) = map.header().filter(|_| map.footer().disk_type == DiskType::Differencing) {
            let name = &header.parent_name;
            let parent = if name.is_empty() { header.parent_uuid.to_string() } else { name.clone() };
            return Err(Error::Differencing { path: self.path.clone(), parent });
        }
        Ok(map)
    }

    fn read_file(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let len = buffer.len();
        self.file.read_exact_at(buffer, offset).map_err(|source| match source.kind() {
            // Nothing is read behind the length found at opening.
            io::ErrorKind::UnexpectedEof => {
                Error::Changed { path: self.path.clone(), what: "it became shorter" }
            }
            _ => Error::Read { path: self.path.clone(), offset, len, source },
        })
    }
}

fn kind_name(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "directory"
    } else if kind.is_char_device() {
        "character device"
    } else if kind.is_fifo() {
        "FIFO"
    } else if kind.is_socket() {
        "socket"
    } else {
        "special file"
    }
}

/// Reads the content of a disk; keeps the bitmap of the block it is in.
#[derive(Debug)]
pub struct Reader {
    image: Image,
    current: Option<(BlockPlace, Vec<u8>)>,
}

impl Reader {
    /// The image it reads.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Fills `buffer` with the disk's bytes from `virtual_offset` on. What is not allocated and
    /// what lies behind the end of the disk is zero.
    ///
    /// # Errors
    /// [`Error::Read`], and [`Error::Changed`] when the file is shorter than it was.
    pub fn read(&mut self, virtual_offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let mut at = virtual_offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let block = match self.image.map().and_then(|map| map.place(at)) {
                Some(Place::Block(block)) => Some(block),
                _ => None,
            };
            let (source, len) = match &block {
                Some(block) => (None, block.bytes.end - at),
                None => self.piece(at)?,
            };
            // At most the rest of a buffer.
            let len = usize::try_from(len).unwrap_or(usize::MAX).min(rest.len());
            let (part, behind) = rest.split_at_mut(len);
            match (block, source) {
                (Some(block), _) => self.read_block(&block, at, part)?,
                (None, Some(offset)) => self.image.read_file(offset, part)?,
                (None, None) => part.fill(0),
            }
            at += len as u64;
            rest = behind;
        }
        Ok(())
    }

    /// Reads a part of one block at once, and clears what its bitmap says is not there.
    fn read_block(&mut self, block: &BlockPlace, at: u64, part: &mut [u8]) -> Result<(), Error> {
        let end = at + part.len() as u64;
        let (place, len) = self.in_block(block, at)?;
        let mixed = len < part.len() as u64;
        if place.is_none() && !mixed {
            part.fill(0);
            return Ok(());
        }
        self.image.read_file(block.data_offset + (at - block.bytes.start), part)?;
        let mut from = at;
        while mixed && from < end {
            let (place, len) = self.in_block(block, from)?;
            let behind = end.min(from + len);
            if place.is_none() {
                // Both lie in the part.
                let place = |byte: u64| usize::try_from(byte - at).unwrap_or(usize::MAX);
                part[place(from)..place(behind)].fill(0);
            }
            from = behind;
        }
        Ok(())
    }

    /// The next part of the disk from `from` on, and before `end`, that may hold something else than
    /// zeros: what the file system calls data, or what a VHD's table and bitmaps call allocated.
    /// Neighbouring parts may come one by one.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn next_data(&mut self, from: u64, end: u64) -> Result<Option<Range<u64>>, Error> {
        let end = end.min(self.image.virtual_size());
        if self.image.map().is_none_or(|map| map.header().is_none()) {
            // A raw image and the data of a fixed VHD both start at byte 0 of the file.
            return Ok(next_extent(&self.image, from, end));
        }
        let mut at = from;
        while at < end {
            let (place, len) = self.piece(at)?;
            let behind = at.saturating_add(len).min(end);
            if place.is_some() {
                return Ok(Some(at..behind));
            }
            at = behind;
        }
        Ok(None)
    }

    /// Where the byte of the disk is in the file (`None`: it is zero), and for how many bytes
    /// that goes on.
    pub(crate) fn piece(&mut self, at: u64) -> Result<(Option<u64>, u64), Error> {
        let Some(left) = self.image.virtual_size().checked_sub(at).filter(|left| *left > 0) else {
            return Ok((None, u64::MAX - at));
        };
        let Some(map) = self.image.map() else { return Ok((Some(at), left)) };
        match map.place(at) {
            Some(Place::File { offset, len }) => Ok((Some(offset), len)),
            Some(Place::Unallocated { len }) => Ok((None, len)),
            None => Ok((None, left)),
            Some(Place::Block(block)) => self.in_block(&block, at),
        }
    }

    fn in_block(&mut self, block: &BlockPlace, at: u64) -> Result<(Option<u64>, u64), Error> {
        let bits = self.bitmap(block)?;
        let inside = at - block.bytes.start;
        // A block has at most 256 MiB.
        let sector = u32::try_from(inside / 512).unwrap_or(u32::MAX);
        let end = bitmap::run_end(bits, sector, block.sectors());
        let end = block.bytes.end.min(block.bytes.start + u64::from(end) * 512);
        let place = bitmap::is_set(bits, sector).then_some(block.data_offset + inside);
        Ok((place, end - at))
    }

    /// The sector bitmap of a block.
    pub(crate) fn bitmap(&mut self, block: &BlockPlace) -> Result<&[u8], Error> {
        let known = matches!(&self.current, Some((current, _)) if current == block);
        if !known {
            let mut bits = self.current.take().map(|(_, bits)| bits).unwrap_or_default();
            bits.resize(block.bitmap_len as usize, 0);
            self.image.read_file(block.bitmap_offset, &mut bits)?;
            self.current = Some((block.clone(), bits));
        }
        Ok(self.current.as_ref().map(|(_, bits)| bits.as_slice()).unwrap_or_default())
    }
}
