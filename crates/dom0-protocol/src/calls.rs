//! The requests, and what answers each.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Call, Version};

/// Declares requests, in one place for both ends.
macro_rules! calls {
    ($($(#[$doc:meta])* $function:literal $name:ident -> $answer:ty { $($(#[$field_doc:meta])* $field:ident: $ty:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
            pub struct $name {
                $($(#[$field_doc])* pub $field: $ty,)*
            }

            impl Call for $name {
                const FUNCTION: &'static str = $function;
                type Answer = $answer;
            }
        )*

        /// The functions of all requests, in the order of their declaration.
        pub const FUNCTIONS: &[&str] = &[$($function,)* FetchKernel::FUNCTION, Inject::FUNCTION];
    };
}

calls! {
    /// Which requests this host answers.
    "describe" Describe -> Description {}

    /// How far a job on this host is. Nothing for one that is not under way.
    "progress" Progress -> Option<Report> {
        /// The job's name.
        of: String,
    }

    /// End a job on this host that nobody wants any more: it ends with
    /// [`FailureKind::Cancelled`](crate::FailureKind::Cancelled), and takes away what it has put around its
    /// disks. What only reads, copies or formats ends at once. A program that is changing a file system is
    /// waited for, and none is begun after it: what was done so far is whole, and can be gone on with.
    /// Answers whether the job was under way; one that has yet to begin has to be ended once more.
    "cancel" Cancel -> bool {
        /// The job's name.
        of: String,
        /// The disks that it changes are thrown away: nothing is waited for.
        at_once: bool,
    }

    /// Grow the only partition of a disk and its file system (ext2, ext3, ext4, xfs, btrfs) to the disk.
    "auto_configure_disk" AutoConfigureDisk -> Resized {
        /// What XAPI calls the attached VDI (`VBD.device`): `xvdb`, `sm/backend/…`.
        dev: String,
    }

    /// Make the only partition and its file system (ext2, ext3, ext4) fit the first bytes of the disk.
    "resize_down" ResizeDown -> Resized {
        /// The attached VDI.
        dev: String,
        /// How many bytes, a multiple of 512.
        size_bytes: u64,
    }

    /// Give an empty disk one partition with a file system or swap space. What is on it is lost.
    "generate_disk" GenerateDisk -> () {
        /// The attached VDI.
        dev: String,
        /// `swap`, `ext2`, `ext3`, `ext4`, `xfs` or `vfat`.
        fs_type: String,
        /// The label; may be empty.
        fs_label: String,
    }

    /// Make the first bytes of a disk those of another one, and compare both. Answers how many bytes were written.
    "copy_disk" CopyDisk -> u64 {
        /// The attached VDI that is read.
        source: String,
        /// The attached VDI that is written.
        dev: String,
        /// How many bytes.
        size_bytes: u64,
    }

    /// Make pieces of a disk what is said here, and read them from the disk again to compare them. What is there already
    /// is not written, so that a call can be repeated and a sparse disk stays sparse. Pieces must not overlap. Answers how
    /// many bytes were written.
    ///
    /// XAPI gives a call to a plugin as one argument, of which Linux takes 128 KiB: [`WRITE_DISK_ROOM`].
    "write_disk" WriteDisk -> u64 {
        /// The attached VDI.
        dev: String,
        /// Offset in bytes, and content in base64; both whole sectors of 512 bytes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pieces: Vec<(u64, String)>,
        /// Offset and length in bytes of what is to be zero; both whole sectors of 512 bytes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        zeros: Vec<(u64, u64)>,
    }

    /// Keep the first bytes of a disk as a kernel or ramdisk in the host's cache, if they have this digest, and give it to
    /// a guest as [`PlaceKernel`] does. Answers the file's path.
    "cache_kernel" CacheKernel -> String {
        /// The attached VDI.
        dev: String,
        /// How many bytes.
        size_bytes: u64,
        /// Their SHA-256, 64 hexadecimal digits in lower case: the name in the cache.
        sha256: String,
        /// The guest's file: its uuid and what it is.
        name: String,
    }

    /// Give a guest a kernel or ramdisk of the cache under a name of its own. Answers the file's path, which is the VM's
    /// `PV_kernel` or `PV_ramdisk`; nothing when the cache does not have it.
    "place_kernel" PlaceKernel -> Option<String> {
        /// Its SHA-256, SHA-384 or SHA-512 in hexadecimal: what it was cached by.
        sha256: String,
        /// The guest's file: its uuid and what it is.
        name: String,
    }

    /// Remove kernels and ramdisks of guests, and those of the cache that no guest has any more. Answers how many files
    /// that were.
    "remove_kernels" RemoveKernels -> u64 {
        /// The files' names; one that is not there is no error.
        names: Vec<String>,
    }
}

/// How many bytes one [`WriteDisk`] has room for in its pieces, in base64 and with up to 256 offsets beside them.
pub const WRITE_DISK_ROOM: usize = 64 << 10;

/// Fetch a kernel or ramdisk over HTTP into the host's cache, unless it is there, and give it to a guest as [`PlaceKernel`]
/// does. Answers the file's path. Nothing stays when it is not what the digest says.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FetchKernel {
    /// Where it is, for the host: `http://` or `https://`.
    pub url: String,
    /// Headers of the request by name, such as a token.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Its SHA-256, SHA-384 or SHA-512 in hexadecimal digits in lower case: the name in the cache.
    pub digest: String,
    /// The most that it may have, in bytes.
    pub max_bytes: u64,
    /// The guest's file: its uuid and what it is.
    pub name: String,
}

impl Call for FetchKernel {
    const FUNCTION: &'static str = "fetch_kernel";
    type Answer = String;
}

impl fmt::Debug for FetchKernel {
    /// Headers and the address's query, which may be secrets, are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.split('?').next();
        f.debug_struct("FetchKernel").field("url", &url).field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// Write into the root file system of a guest that does not run. Answers whether it did: not for a guest whose file
/// `agent_path` says that it has an agent.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Inject {
    /// The attached VDI.
    pub dev: String,
    /// Absolute paths, and contents in base64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<(String, String)>,
    /// A line for root's `authorized_keys`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_key: Option<String>,
    /// Root's password as `crypt(3)` hashes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_password_hash: Option<String>,
    /// The text of `/etc/network/interfaces`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<String>,
    /// A file whose presence in the guest means that its agent does the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_path: Option<String>,
}

impl Call for Inject {
    const FUNCTION: &'static str = "inject";
    type Answer = bool;
}

impl fmt::Debug for Inject {
    /// Contents, which may be secrets, are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<&str> = self.files.iter().map(|(path, _)| path.as_str()).collect();
        f.debug_struct("Inject").field("dev", &self.dev).field("files", &paths).finish_non_exhaustive()
    }
}

/// What a host's plugins are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// What they speak.
    pub protocol: Version,
    /// The program's version.
    pub program: String,
    /// The requests that they answer, by function.
    pub functions: Vec<String>,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What is being done: `e2fsck`, `copying`.
    pub step: String,
    /// How much of it, of `total`; 0 where that is not known.
    pub done: u64,
    /// How much there is to do, in bytes; 0 where that is not known.
    pub total: u64,
}

/// What a disk is like after a resize.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resized {
    /// First sector of the partition, of 512 bytes.
    pub partition_start: u64,
    /// Its length in sectors.
    pub partition_sectors: u64,
    /// Its file system.
    pub fs_type: String,
    /// The file system's size in bytes.
    pub fs_bytes: u64,
}
