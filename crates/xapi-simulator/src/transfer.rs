//! The import and export handlers.
//!
//! XAPI hands the socket of `PUT /import_raw_vdi` and `GET /export_raw_vdi` to a helper process and
//! says `200` before the helper has looked at it; whatever goes wrong later is
//! `VDI_IO_ERROR ["Device I/O errors"]` in the task, and only there.
//!
//! * [`import`] and [`export`]: the helper's part: streams from and to disks.
//! * `archive`: the members of an archive on its way in; `packing`: gzip and zstd.
//! * `blob`: files that belong to objects; `database`: whether a backup of the pool could be restored.
//! * [`handler`]: XAPI's part: who may, which disk, what is answered.
//! * `source`: the disk behind a VDI, attached.
//! * `nbd`: disks to read, without HTTP.
//! * `xva`: whole VMs.
//! * `pipe`: overlaps the socket with the disk.

mod archive;
mod backup;
mod blob;
mod database;
pub(crate) mod export;
mod handler;
pub(crate) mod import;
pub(crate) mod nbd;
mod packing;
mod pipe;
mod source;
#[cfg(test)]
mod tests;
mod whole;
mod xva;

pub(crate) use self::source::peek;
use crate::disk::DiskError;
use crate::dispatch::Router;

/// Registers the handlers.
pub(crate) fn register(router: &mut Router) {
    blob::register(router);
    backup::register(router);
    database::register(router);
    handler::register(router);
    xva::register(router);
}

/// Why a transfer failed. Clients never see this, only the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    /// The connection broke, or the other end closed it too early.
    #[error("the connection: {0}")]
    Connection(#[from] std::io::Error),
    /// The disk could not be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The stream is not a VHD that XAPI takes.
    #[error("the VHD stream: {0}")]
    Vhd(#[from] vhd::Error),
    /// The stream breaks a rule of its format.
    #[error("the stream: {0}")]
    Stream(&'static str),
}

/// Told how much of the work is done, from 0 to 1.
pub(crate) type Progress<'a> = &'a mut (dyn FnMut(f64) + Send);
