//! What can be wrong with a packed disk.

use std::io;

use vhd::chain::ChainError;

use crate::error::Error;

/// Why a packed disk cannot be used. Nothing of it was given out as complete.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is something else than was said.
    #[error("it is declared as {declared}, but its content is {found}; correct the declaration or the image")]
    NotAsDeclared {
        /// What was said.
        declared: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A format that cannot be read while it arrives.
    #[error("it is {format}, which cannot be read while it arrives; convert it to VHD or raw first")]
    NotStreamable {
        /// The format.
        format: &'static str,
    },
    /// There is no byte in it.
    #[error("it is empty")]
    Empty,
    /// The compressed stream is damaged or ends too soon.
    #[error("its {format} stream is damaged or cut short")]
    Compressed {
        /// The compression.
        format: &'static str,
        /// What the decoder said.
        source: io::Error,
    },
    /// Decompressing would need more memory than is allowed.
    #[error(
        "its zstd stream needs a window of {window} bytes, at most {limit} are allowed; compress it again without --long or --ultra"
    )]
    Window {
        /// What the stream asks for.
        window: u64,
        /// The limit.
        limit: u64,
    },
    /// What was compressed is compressed itself.
    #[error("it is compressed twice")]
    CompressedTwice,
    /// The archive is malformed.
    #[error("its tar archive is malformed at byte {at}: {problem}")]
    Archive {
        /// Byte of the unpacked archive.
        at: u64,
        /// What is wrong.
        problem: String,
    },
    /// A member of the archive that no disk image has.
    #[error("its tar archive has a member {name:?}, {problem}")]
    Member {
        /// Name of the member.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No disk in the archive.
    #[error("there is no disk in its tar archive")]
    NoDisk,
    /// More than one disk in the archive.
    #[error("there are several disks in its tar archive, {first:?} and {second:?}; give one")]
    TwoDisks {
        /// The first one.
        first: String,
        /// The next one.
        second: String,
    },
    /// A gap in the numbers of the layers.
    #[error("its tar archive has layers up to {last}.vhd, but no {missing}.vhd")]
    MissingLayer {
        /// The missing number.
        missing: u32,
        /// The highest number.
        last: u32,
    },
    /// A layer is no VHD, or malformed.
    #[error("{name} is not a usable VHD")]
    Vhd {
        /// Name of the member, or "it".
        name: String,
        /// What is wrong, and where.
        source: vhd::Error,
    },
    /// A differencing VHD without the disk that it differs from.
    #[error("its layers are no chain")]
    Chain(#[source] ChainError),
    /// A layer that ends before what is below it does: nothing of that shows behind its end, and it may be in the target by now.
    #[error(
        "{name} has a disk of {size} bytes and the layer below it one of {parent}, of which the rest is not seen: make one \
         VHD of the archive first, with disk convert ARCHIVE.tar DISK.vhd"
    )]
    ChildSmaller {
        /// Name of the member.
        name: String,
        /// Size of its disk in bytes.
        size: u64,
        /// That of the disk below, in bytes.
        parent: u64,
    },
    /// A qcow2 image that is malformed or not read.
    #[error("it is no usable qcow2 image")]
    Qcow2(#[source] qcow2::Error),
    /// A layer that cannot be merged while it arrives.
    #[error("{name} has blocks of {block_size} bytes; layers are merged in blocks of 2 MiB only")]
    BlockSize {
        /// Name of the member.
        name: String,
        /// Its block size in bytes.
        block_size: u32,
    },
    /// So many blocks are half full that what is known of them does not fit.
    #[error(
        "its layers are scattered over more than {limit} partly filled blocks; flatten it to one VHD first"
    )]
    Scattered {
        /// The limit.
        limit: u32,
    },
    /// It holds more than the disk that it is to be written to.
    #[error("it holds a disk of {at_least} bytes{}, which does not fit into {limit} bytes", if *.exact { "" } else { " or more" })]
    TooLarge {
        /// Size of the image in bytes, as far as it is known.
        at_least: u64,
        /// Whether it is exactly so large.
        exact: bool,
        /// Size of the disk in bytes.
        limit: u64,
    },
}

/// What is wrong with the packing, with the stream that brings it, or with where it goes.
#[derive(Debug)]
pub(crate) enum Fault {
    Problem(Problem),
    Read(io::Error),
    Other(Error),
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl Fault {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Problem(problem) => Error::Packed(Box::new(problem)),
            Self::Other(error) => error,
            // Not of a decompressor, so of the stream, which tells by itself what happened.
            Self::Read(_) => Error::Interrupted,
        }
    }
}
