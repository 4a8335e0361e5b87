//! What is behind `VDI_IO_ERROR`.
//!
//! XAPI hands a transfer to a helper process and reports every failure of it with this one code: a
//! body that is too short or too long, a damaged VHD, a full repository, a broken disk. What is
//! known on this side narrows it down.

use std::error::Error as _;
use std::fmt;

use xenapi_types::{FailureExt, Vdi, sr, vdi};
use xenapi_wire::{Failure, Ref};

use super::ImportFormat;
use crate::client::Client;
use crate::error::Error;

/// What is known about an upload that failed. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnosis {
    /// How much of the body left this side; the host has read at most that.
    pub sent: u64,
    /// The length of the body, if it was known.
    pub total: Option<u64>,
    /// The size of the disk, if it could be asked for.
    pub virtual_size: Option<u64>,
    /// What was free in the storage repository afterwards, if it could be asked for.
    pub sr_free: Option<u64>,
    /// What XAPI said.
    pub failure: Option<Failure>,
    /// What was probably wrong.
    pub cause: Cause,
}

/// What was probably wrong with an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The raw body is longer than the disk.
    LongerThanDisk,
    /// The storage repository is full.
    RepositoryFull,
    /// The connection ended before the body did.
    CutOff,
    /// Neither bytes nor the task moved for [`Timeouts::stall`](crate::Timeouts::stall).
    StoodStill,
    /// All was sent and not accepted: for a VHD, its content does not hold together or does not
    /// fit the disk.
    ContentRefused,
    /// XAPI says itself what it was.
    Stated,
    /// Nothing is known.
    Unknown,
}

impl Diagnosis {
    /// Puts together what can be found out; it asks the host, which may no longer answer.
    pub(super) async fn of_import(
        client: &Client,
        vdi: &Ref<Vdi>,
        format: ImportFormat,
        sent: u64,
        total: Option<u64>,
        error: &Error,
    ) -> Self {
        let failure = error.failure().cloned();
        let size = |value: Option<i64>| value.and_then(|bytes| u64::try_from(bytes).ok());
        let virtual_size = size(client.get_field(vdi, vdi::field::VIRTUAL_SIZE).await.ok());
        let sr_free = async {
            let sr = client.get_field(vdi, vdi::field::SR).await.ok()?;
            let all = client.get_field(&sr, sr::field::PHYSICAL_SIZE).await.ok()?;
            let used = client.get_field(&sr, sr::field::PHYSICAL_UTILISATION).await.ok()?;
            size(Some(all.saturating_sub(used).max(0)))
        };
        let sr_free = sr_free.await;
        let cause = match error.source() {
            Some(source) if source.is::<StoodStill>() => Cause::StoodStill,
            _ => cause(format, sent, total, virtual_size, sr_free, failure.as_ref()),
        };
        Self { sent, total, virtual_size, sr_free, failure, cause }
    }
}

/// Why a transfer was given up.
#[derive(Debug, thiserror::Error)]
#[error("neither bytes nor the task moved")]
pub(super) struct StoodStill;

/// Less than this is taken for full: a block of a VHD and its bitmap do not fit.
const FULL: u64 = 4 << 20;

fn cause(
    format: ImportFormat,
    sent: u64,
    total: Option<u64>,
    virtual_size: Option<u64>,
    sr_free: Option<u64>,
    failure: Option<&Failure>,
) -> Cause {
    match failure {
        Some(failure) if failure.code != "VDI_IO_ERROR" && !failure.is_sr_full() => return Cause::Stated,
        _ => {}
    }
    if format == ImportFormat::Raw && virtual_size.is_some_and(|size| total > Some(size)) {
        return Cause::LongerThanDisk;
    }
    if sr_free.is_some_and(|free| free < FULL) || failure.is_some_and(FailureExt::is_sr_full) {
        return Cause::RepositoryFull;
    }
    match failure {
        Some(_) if total == Some(sent) => Cause::ContentRefused,
        None if total != Some(sent) => Cause::CutOff,
        _ => Cause::Unknown,
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total {
            Some(total) => write!(f, "{} of {total} bytes were sent", self.sent)?,
            None => write!(f, "{} bytes were sent", self.sent)?,
        }
        if let Some(size) = self.virtual_size {
            write!(f, " to a disk of {size}")?;
        }
        match self.cause {
            Cause::LongerThanDisk => f.write_str("; the data are longer than the disk: make the disk larger"),
            Cause::RepositoryFull => match self.sr_free.filter(|free| *free < FULL) {
                Some(free) => {
                    write!(f, "; only {free} bytes are free in the storage repository: make room there")
                }
                None => f.write_str("; the storage repository is full: make room there"),
            },
            Cause::CutOff => f.write_str("; the connection was cut off: try again"),
            Cause::ContentRefused => f.write_str(
                "; all was sent and the host refused it: check that the image is intact and not larger than the disk",
            ),
            Cause::StoodStill => {
                f.write_str("; look at the host's storage and network, and do the transfer again")
            }
            Cause::Stated => f.write_str("; mend that, and send everything again"),
            // The helper in the host gives up without a reason when its input ends early, too.
            Cause::Unknown => f.write_str(
                "; it was broken off: try again, or look into /var/log/daemon.log of the host for vhd-tool",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_code_many_causes() {
        let io = Failure::new("VDI_IO_ERROR", ["Device I/O errors"]);
        let full = Failure::new("SR_BACKEND_FAILURE_44", ["", "There is insufficient space", ""]);
        let vdi_in_use = Failure::new("VDI_IN_USE", ["OpaqueRef:x"]);
        let gib = 1 << 30;
        for (format, sent, total, free, failure, expected) in [
            (ImportFormat::Raw, 9, 2 * gib, 9 * gib, Some(&io), Cause::LongerThanDisk),
            (ImportFormat::Raw, 9, gib, 0, Some(&io), Cause::RepositoryFull),
            (ImportFormat::Vhd, 2 * gib, 2 * gib, 9 * gib, Some(&io), Cause::ContentRefused),
            (ImportFormat::Vhd, 9, gib, 9 * gib, None, Cause::CutOff),
            (ImportFormat::Vhd, 9, gib, 9 * gib, Some(&io), Cause::Unknown),
            (ImportFormat::Vhd, 9, gib, 9 * gib, Some(&full), Cause::RepositoryFull),
            (ImportFormat::Raw, 9, 2 * gib, 0, Some(&vdi_in_use), Cause::Stated),
        ] {
            assert_eq!(cause(format, sent, Some(total), Some(gib), Some(free), failure), expected);
        }
    }
}
