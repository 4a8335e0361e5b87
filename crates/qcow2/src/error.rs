//! What can be wrong with an image.

/// Why an image is not read. Places are bytes of the file unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It does not begin as a qcow2 image does.
    #[error("not a qcow2 image")]
    NotQcow2,
    /// A version that nobody has written yet, or the first one.
    #[error("qcow2 version {0}; versions 2 and 3 are read")]
    Version(u32),
    /// The file ends too early.
    #[error(
        "the {what} reaches {missing} bytes behind the end of the file at byte {at}: the image is cut off"
    )]
    Truncated {
        /// What is not whole.
        what: &'static str,
        /// Where the file ends.
        at: u64,
        /// How many bytes are missing.
        missing: u64,
    },
    /// The header has a length it cannot have.
    #[error("a header of {0} bytes")]
    HeaderLength(u32),
    /// An extension of the header reaches behind the first cluster.
    #[error("the header extension at byte {0} reaches out of the header")]
    Extension(u64),
    /// Clusters of less than 512 bytes or more than 2 MiB.
    #[error("clusters of 2^{0} bytes; 2^9 to 2^21 exist")]
    ClusterBits(u32),
    /// Subclusters of less than a sector.
    #[error("subclusters need clusters of 16 KiB or more, not 2^{0} bytes")]
    Subclusters(u32),
    /// A disk without a byte.
    #[error("a disk of 0 bytes")]
    EmptyDisk,
    /// A disk larger than the limit.
    #[error("a disk of {virtual_size} bytes; the limit is {limit}")]
    TooLarge {
        /// Its size in bytes.
        virtual_size: u64,
        /// The largest size that is read.
        limit: u64,
    },
    /// Its data are encrypted.
    #[error("the image is encrypted ({0}); decrypt it with qemu-img convert first")]
    Encrypted(&'static str),
    /// It holds only what differs from another image.
    #[error(
        "the image has the backing file {0:?} and is not a whole disk without it; flatten it with qemu-img convert first"
    )]
    BackingFile(String),
    /// Its data are in another file.
    #[error(
        "the image's data are in an external data file ({0:?}); bring them together with qemu-img convert first"
    )]
    ExternalData(String),
    /// Features without which the image cannot be understood, and which are not known here.
    #[error("the image needs features that are not known here (bits {0:#x})")]
    Features(u64),
    /// A compression that is neither deflate nor Zstandard.
    #[error("compression type {0} is not known here")]
    Compression(u8),
    /// The first table is too small for the disk.
    #[error("the L1 table has {entries} entries, the disk needs {needed}")]
    L1TooSmall {
        /// Entries it has.
        entries: u32,
        /// Entries the disk needs.
        needed: u64,
    },
    /// The first table is too large for memory.
    #[error("the L1 table has {entries} entries; the limit is {limit}")]
    L1TooLarge {
        /// Entries it has.
        entries: u64,
        /// The most that are read.
        limit: u32,
    },
    /// The first table is where it cannot be.
    #[error("the L1 table cannot be at byte {0}")]
    L1Offset(u64),
    /// A second table is where it cannot be.
    #[error("entry {index} of the L1 table is {entry:#x}: {why}")]
    L1Entry {
        /// Number of the entry.
        index: u32,
        /// The entry.
        entry: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A cluster is where it cannot be.
    #[error("the cluster at byte {at} of the disk has the entry {entry:#x}: {why}")]
    L2Entry {
        /// First byte of the cluster on the disk.
        at: u64,
        /// The entry.
        entry: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A compressed cluster cannot be unpacked.
    #[error("the compressed cluster at byte {at} of the disk is damaged: {why}")]
    Damaged {
        /// First byte of the cluster on the disk.
        at: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The image cannot be read forward only.
    #[error("the image cannot be read while it arrives: {0}; save it to a file first")]
    NotStreamable(&'static str),
}

/// Why an image could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError<E> {
    /// It is not an acceptable qcow2 image.
    #[error(transparent)]
    Format(#[from] Error),
    /// The file could not be read.
    #[error("cannot read the file")]
    Io(E),
}
