//! Why a config drive cannot be made.

/// Why a config drive cannot be made. Every variant names the file, or the field of the file, that is at
/// fault; none carries content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A path that cannot stand on the drive.
    #[error("config drive file {path:?} cannot be made: {reason}")]
    InvalidPath {
        /// The path as it was given.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two paths that a file system without letter case cannot tell apart, or the same path twice.
    #[error(
        "config drive files {path:?} and {other:?} are one name on a vfat file system; rename one of them"
    )]
    Collision {
        /// The path that came second.
        path: String,
        /// The path that was there.
        other: String,
    },
    /// A path that would have to be a file and a directory at once.
    #[error("config drive path {path:?} is a file and also the directory of {other:?}; rename one of them")]
    FileIsDirectory {
        /// The file.
        path: String,
        /// A file below it.
        other: String,
    },
    /// More files than a config drive is for.
    #[error("config drive file {path:?} is one too many: a drive holds at most {limit} files")]
    TooManyFiles {
        /// The first file over the limit.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// The content does not fit in the image.
    #[error(
        "config drive content of {content_bytes} bytes does not fit in an image of {image_bytes} bytes: \
         the largest file is {largest:?} with {largest_bytes} bytes"
    )]
    DoesNotFit {
        /// The sum of all files.
        content_bytes: u64,
        /// The size of the image that was asked for, or the largest one allowed.
        image_bytes: u64,
        /// The path of the largest file.
        largest: String,
        /// Its length.
        largest_bytes: u64,
    },
    /// An image size that is not offered.
    #[error(
        "a config drive image of {image_bytes} bytes cannot be made: give a multiple of 2 MiB from 2 MiB to 1 GiB"
    )]
    ImageSize {
        /// The size that was asked for.
        image_bytes: u64,
    },
    /// A field with a value that a guest could not use.
    #[error("{file}: {field} {value:?} {reason}")]
    InvalidField {
        /// The file the field goes into, without its version directory.
        file: &'static str,
        /// The field, with its index in a list.
        field: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More user data than guests are promised room for.
    #[error(
        "{file} of {len} bytes is longer than the {limit} bytes allowed; compress it with gzip, which cloud-init \
         understands, or have it fetch the rest with #include"
    )]
    UserDataTooLong {
        /// The file on the drive.
        file: &'static str,
        /// Its length.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// User data that no reader of it understands.
    #[error(
        "{file} is neither text nor gzip: the byte at offset {offset} is not UTF-8; convert the text to UTF-8, or \
         compress what is not text with gzip"
    )]
    UserDataNotText {
        /// The file on the drive.
        file: &'static str,
        /// The first byte that is no part of a character.
        offset: usize,
    },
    /// The file system writer refused.
    #[error("cannot write {path:?} to the config drive image: {message}")]
    Vfat {
        /// The file or directory that was being written, empty for the volume itself.
        path: String,
        /// What the file system writer said.
        message: String,
    },
}
