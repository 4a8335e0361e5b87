//! What can go wrong while a disk is read or written.

use std::io;
use std::path::PathBuf;

use crate::tar::TarError;

/// A failure, with the file it is about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The image.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The image is neither a file nor a block device.
    #[error("{} is a {kind}; a disk image is a regular file or a block device", path.display())]
    NotADisk {
        /// The path.
        path: PathBuf,
        /// What it is instead.
        kind: &'static str,
    },
    /// The image is of a format that is not read, and nobody said that it is raw.
    #[error(
        "{} is {format}, which is not read here; convert it with qemu-img convert -O qcow2 or unpack it, or declare it \
         as raw if it is a disk that happens to begin so",
        path.display()
    )]
    Foreign {
        /// The image.
        path: PathBuf,
        /// What it is.
        format: &'static str,
    },
    /// The image is in a format that is read from its beginning to its end only, as it comes through a pipe.
    #[error("{} is {format}, which is read from its beginning to its end only: make another file of it with disk convert", path.display())]
    ForwardOnly {
        /// The image.
        path: PathBuf,
        /// What it is.
        format: &'static str,
    },
    /// The image is named as a format, and nothing in it is of that format or of another that is known.
    #[error(
        "{} is named as {format} and does not look like one: it may be damaged or cut short; declare what it is, as raw \
         if its bytes are those of the disk",
        path.display()
    )]
    Misnamed {
        /// The image.
        path: PathBuf,
        /// What its name says.
        format: &'static str,
    },
    /// A raw image without a byte.
    #[error("{} is empty: a disk has at least one byte", path.display())]
    Empty {
        /// The image.
        path: PathBuf,
    },
    /// The image is a VHD, and malformed.
    #[error("{} is not a usable VHD", path.display())]
    Format {
        /// The image.
        path: PathBuf,
        /// What is wrong, and where.
        source: vhd::Error,
    },
    /// The image is in the qcow2 format, and malformed, or needs what is not read here.
    #[error("{} is not a usable qcow2 image", path.display())]
    Qcow2 {
        /// The image.
        path: PathBuf,
        /// What is wrong, and where.
        source: qcow2::Error,
    },
    /// The image is in a format that somebody else reads, and malformed.
    #[error("{} cannot be used", path.display())]
    Source {
        /// The image.
        path: PathBuf,
        /// What is wrong, as its reader says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The image holds only what differs from another one.
    #[error("{} holds only what differs from its parent {parent:?}, and is nothing without it; give the whole disk", path.display())]
    Differencing {
        /// The image.
        path: PathBuf,
        /// The parent's name, or its uuid where no name is given.
        parent: String,
    },
    /// A target that is another disk than the parent of what would be applied to it.
    #[error(
        "the parent of {} is {expected}, {} is {found}: applied to it, it may make another disk", path.display(), target.display()
    )]
    OtherParent {
        /// The difference.
        path: PathBuf,
        /// What it would be applied to.
        target: PathBuf,
        /// The parent's uuid.
        expected: String,
        /// The target's uuid.
        found: String,
    },
    /// A differencing VHD whose parent is nowhere it may be looked for.
    #[error("the parent {parent:?} of {} is not found{}", path.display(), if tried.is_empty() { " (no usable locator)".to_owned() } else { format!(" ({tried})") })]
    ParentNotFound {
        /// The child.
        path: PathBuf,
        /// The parent's name, or its uuid where no name is given.
        parent: String,
        /// What was tried, and why it is not the parent.
        tried: String,
    },
    /// The layers are no chain.
    #[error("{} is not the leaf of a usable chain", path.display())]
    Chain {
        /// The leaf.
        path: PathBuf,
        /// What is wrong.
        source: vhd::chain::ChainError,
    },
    /// A VHD cannot be made of this disk.
    #[error("cannot make a VHD of {}", path.display())]
    Layout {
        /// The image.
        path: PathBuf,
        /// Why not.
        source: vhd::Error,
    },
    /// The chunks of an archive are numbered with eight digits.
    #[error("{} has more chunks of 1 MiB than an archive can number", path.display())]
    TooLargeForTar {
        /// The image.
        path: PathBuf,
    },
    /// The disk was asked to be smaller than the image.
    #[error("{} holds a disk of {virtual_size} bytes, which does not fit into {asked} bytes", path.display())]
    DoesNotFit {
        /// The image.
        path: PathBuf,
        /// The image's size in bytes.
        virtual_size: u64,
        /// The size asked for.
        asked: u64,
    },
    /// Reading failed.
    #[error("cannot read {len} bytes at byte {offset} of {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Byte of the file.
        offset: u64,
        /// How many bytes.
        len: usize,
        /// The system's reason.
        source: io::Error,
    },
    /// The image is a device whose writing was interrupted.
    #[error("{} is incomplete: whoever wrote the disk was interrupted; write it again", path.display())]
    Incomplete {
        /// The device.
        path: PathBuf,
    },
    /// A device that cannot hold the disk. Nothing was written, unless the disk arrived as an archive of chunks, which
    /// shows its size as it comes.
    #[error("{} has {len} bytes, and {size} are needed", path.display())]
    DeviceTooSmall {
        /// The device.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
        /// How many bytes the disk takes in its format.
        size: u64,
    },
    /// Somebody writes the image while it is read.
    #[error("{} changed while it was read ({what}); what was sent is not a consistent disk", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// What changed.
        what: &'static str,
    },
    /// The target cannot be made.
    #[error("cannot create {}", path.display())]
    Create {
        /// The target.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The target exists and must not be replaced.
    #[error("{} exists already; remove it or allow it to be replaced", path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// Writing failed; the partial target is removed.
    #[error("cannot write {}", path.display())]
    Write {
        /// The target.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The stream is not the VHD it should be.
    #[error("the received stream is not a complete VHD")]
    Stream(#[source] vhd::Error),
    /// The stream is not the qcow2 image it should be.
    #[error("the received stream is not a usable qcow2 image")]
    Qcow2Stream(#[source] qcow2::Error),
    /// The stream is not the archive of a disk that it should be.
    #[error("the received stream is not the archive of a disk")]
    Tar(#[source] TarError),
    /// A stream that does not tell what it is.
    #[error(
        "the received stream is no dynamic VHD, no qcow2 image and no archive of a disk; \
         a raw disk has to be named as one, with its size, and so has a fixed VHD"
    )]
    UnknownStream,
    /// A stream that cannot be written anew while it passes.
    #[error("the stream has its blocks in another order than the disk; save it to a file first")]
    OutOfOrder,
    /// A stream of which it is not known in advance what it will hold.
    #[error("the stream does not tell in advance where the disk has data; save it to a file first")]
    Unplanned,
    /// A stream in XAPI's chunked framing is damaged, or of another disk.
    #[error(transparent)]
    Chunked(crate::chunked::ChunkedError),
    /// What a stream is read from failed.
    #[error("cannot read the stream")]
    Input(#[source] io::Error),
    /// What a stream is written to failed.
    #[error("cannot write the stream")]
    Output(#[source] io::Error),
    /// The stream is a VHD that holds only what differs from another disk.
    #[error("the received stream is a differencing VHD: only a part of a disk")]
    PartOfDisk,
    /// The stream is another kind of VHD than was asked for.
    #[error("the received stream is not {wanted}")]
    Kind {
        /// What it should be.
        wanted: &'static str,
    },
    /// A stream of more or fewer bytes than it must have.
    #[error("the stream has {got} bytes{}, it must have {expected}", if got > expected { " or more" } else { "" })]
    Length {
        /// Bytes seen.
        got: u64,
        /// Bytes there must be.
        expected: u64,
    },
    /// The received disk is not the image.
    #[error("the disk differs from {} at byte {offset} of the disk", path.display())]
    Differs {
        /// The image.
        path: PathBuf,
        /// The first difference that was found, in bytes of the disk.
        offset: u64,
    },
    /// The received disk is smaller than the image.
    #[error("the disk has {got} bytes, {} has {expected}", path.display())]
    TooSmall {
        /// The image.
        path: PathBuf,
        /// The disk's size.
        got: u64,
        /// The image's size.
        expected: u64,
    },
    /// The body that brings the bytes failed.
    #[error("the stream broke off after {position} bytes")]
    Body {
        /// Bytes received before.
        position: u64,
        /// What the body said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An image that cannot be read while it arrives, and is larger than what may be kept of it.
    #[error(
        "{} cannot be read while it arrives, and has more than {limit} bytes, the most that are kept meanwhile; \
         convert it to VHD or raw first",
        path.display()
    )]
    TooLargeToKeep {
        /// The image.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// Somebody else has the file open and locked: to change it, or because a guest runs on it.
    #[error("{} is in use by another program, which has locked it; wait for that to end", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A file that cannot be changed as asked. Nothing was written.
    #[error("{} is left as it is: {why}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why, and what to do instead.
        why: String,
    },
    /// What was written is not what is there now.
    #[error("{} does not hold what was written to it ({what}); look at the health of its disk", path.display())]
    NotKept {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// A tar archive that is no archive of one disk.
    #[error("{}: the archive is none of one disk", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<crate::unpack::Problem>,
    },
    /// A packed disk cannot be used.
    #[error("the image cannot be unpacked")]
    Packed(#[source] Box<crate::unpack::Problem>),
    /// The worker thread ended without an answer, as when the runtime shuts down.
    #[error("the transfer was interrupted")]
    Interrupted,
}

impl Error {
    /// Whether a stream that cannot be read as it comes can be once all of it is there.
    pub fn is_not_streamable(&self) -> bool {
        let qcow2 = matches!(self, Self::Qcow2Stream(qcow2::Error::NotStreamable(_)));
        qcow2 || matches!(self, Self::OutOfOrder | Self::Unplanned)
    }

    /// What the reader of a format finds wrong with an image.
    pub fn of_source(
        file: &crate::layer::DiskFile,
        what: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Source { path: file.path().to_owned(), source: what.into() }
    }
}
