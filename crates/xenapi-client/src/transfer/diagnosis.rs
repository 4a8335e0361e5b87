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
use crate::endpoint::Endpoint;
use crate::error::Error;

/// What is known about an upload that failed. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnosis {
    /// How much of the body left this side; the host has read at most that.
    pub sent: u64,
    /// The length of the body, if it was known.
    pub total: Option<u64>,
    /// The size of the disk that the stream describes, if the stream was made or looked through on this side and
    /// holds together ([`Import::validated`](super::Import::validated)).
    pub validated: Option<u64>,
    /// Where the request was sent on to, if it was.
    pub redirect: Option<Redirect>,
    /// The size of the disk that was written to, if it could be asked for.
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
    /// The raw body, or the disk that a stream describes, is longer than the disk.
    LongerThanDisk,
    /// The storage repository is full.
    RepositoryFull,
    /// The connection ended before the body did.
    CutOff,
    /// Neither bytes nor the task moved for [`Timeouts::stall`](crate::Timeouts::stall).
    StoodStill,
    /// All was sent and not accepted, and nobody has looked at it on this side: for a VHD, its content does not
    /// hold together or does not fit the disk.
    ContentRefused,
    /// All was sent and not accepted, and it is known to hold together and to fit: the host could not write it.
    HostFailed,
    /// The host that was asked sent the request on to one that took nothing.
    PassedOn,
    /// XAPI says itself what it was.
    Stated,
    /// Nothing is known.
    Unknown,
}

/// A request that the host which was asked sent on to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redirect {
    /// The host that was asked first.
    pub from: Endpoint,
    /// The host that had the last word.
    pub to: Endpoint,
}

impl Redirect {
    /// Nothing where the host that was asked had the last word itself.
    pub(super) fn between(from: &Endpoint, to: &Endpoint) -> Option<Self> {
        (from != to).then(|| Self { from: from.clone(), to: to.clone() })
    }
}

/// What this side knows of an upload without asking; sizes in bytes.
#[derive(Debug, Default)]
pub(super) struct Ours {
    pub(super) sent: u64,
    pub(super) total: Option<u64>,
    pub(super) validated: Option<u64>,
    pub(super) redirect: Option<Redirect>,
}

impl Diagnosis {
    /// Puts together what can be found out; it asks the host, which may no longer answer.
    pub(super) async fn of_import(
        client: &Client,
        vdi: &Ref<Vdi>,
        format: ImportFormat,
        ours: Ours,
        error: &Error,
    ) -> Self {
        let size = |value: Option<i64>| value.and_then(|bytes| u64::try_from(bytes).ok());
        let virtual_size = size(client.get_field(vdi, vdi::field::VIRTUAL_SIZE).await.ok());
        let sr_free = async {
            let sr = client.get_field(vdi, vdi::field::SR).await.ok()?;
            let all = client.get_field(&sr, sr::field::PHYSICAL_SIZE).await.ok()?;
            let used = client.get_field(&sr, sr::field::PHYSICAL_UTILISATION).await.ok()?;
            size(Some(all.saturating_sub(used).max(0)))
        };
        let sr_free = sr_free.await;
        let mut diagnosis = Self::new(ours, virtual_size, sr_free, error.failure().cloned());
        diagnosis.cause = match error.source() {
            Some(source) if source.is::<StoodStill>() => Cause::StoodStill,
            _ => diagnosis.likely(format),
        };
        diagnosis
    }

    fn new(ours: Ours, virtual_size: Option<u64>, sr_free: Option<u64>, failure: Option<Failure>) -> Self {
        let Ours { sent, total, validated, redirect } = ours;
        Self { sent, total, validated, redirect, virtual_size, sr_free, failure, cause: Cause::Unknown }
    }

    /// The likely cause, from all the rest.
    fn likely(&self, format: ImportFormat) -> Cause {
        let failure = self.failure.as_ref();
        match failure {
            Some(failure) if failure.code != "VDI_IO_ERROR" && !failure.is_sr_full() => return Cause::Stated,
            None if self.redirect.is_some() && self.sent == 0 => return Cause::PassedOn,
            _ => {}
        }
        let raw = if format == ImportFormat::Raw { self.total } else { None };
        if self.virtual_size.is_some_and(|size| self.validated.max(raw) > Some(size)) {
            return Cause::LongerThanDisk;
        }
        if self.sr_free.is_some_and(|free| free < FULL) || failure.is_some_and(FailureExt::is_sr_full) {
            return Cause::RepositoryFull;
        }
        match failure {
            Some(_) if self.total == Some(self.sent) && self.validated.is_some() => Cause::HostFailed,
            Some(_) if self.total == Some(self.sent) => Cause::ContentRefused,
            None if self.total != Some(self.sent) => Cause::CutOff,
            _ => Cause::Unknown,
        }
    }
}

/// Why a transfer was given up.
#[derive(Debug, thiserror::Error)]
#[error("neither bytes nor the task moved")]
pub(super) struct StoodStill;

/// Less than this is taken for full: a block of a VHD and its bitmap do not fit.
const FULL: u64 = 4 << 20;

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total {
            Some(total) => write!(f, "{} of {total} bytes were sent", self.sent)?,
            None => write!(f, "{} bytes were sent", self.sent)?,
        }
        if let Some(size) = self.validated {
            write!(f, " of a stream that was found sound here and holds a disk of {size}")?;
        }
        if let Some(size) = self.virtual_size {
            write!(f, " to a disk of {size}")?;
        }
        if let Some(Redirect { from, to }) = &self.redirect {
            write!(f, " through {to} ({from} sent the request on to it)")?;
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
            Cause::HostFailed => f.write_str(
                "; the image is not the reason: look into /var/log/SMlog and /var/log/daemon.log of the host, and \
                 at its storage",
            ),
            Cause::PassedOn => f.write_str(
                "; it took nothing: see that this address can be reached and trusted from here, or name a host that \
                 sees the storage repository",
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
        let moved = Redirect::between(&"http://a".parse().unwrap(), &"http://b".parse().unwrap());
        let (raw, vhd) = (ImportFormat::Raw, ImportFormat::Vhd);
        for (format, sent, total, free, failure, validated, redirect, expected) in [
            (raw, 9, 2 * gib, 9 * gib, Some(&io), None, None, Cause::LongerThanDisk),
            (raw, 9, gib, 0, Some(&io), None, None, Cause::RepositoryFull),
            (vhd, 2 * gib, 2 * gib, 9 * gib, Some(&io), None, None, Cause::ContentRefused),
            (vhd, 9, 9, 9 * gib, Some(&io), Some(gib), None, Cause::HostFailed),
            (vhd, 9, 9, 9 * gib, Some(&io), Some(gib + 1), None, Cause::LongerThanDisk),
            (vhd, 9, 2 * gib, 9 * gib, Some(&io), Some(gib), None, Cause::Unknown),
            (vhd, 9, gib, 9 * gib, None, None, None, Cause::CutOff),
            (vhd, 9, gib, 9 * gib, Some(&io), None, None, Cause::Unknown),
            (vhd, 9, gib, 9 * gib, Some(&full), None, None, Cause::RepositoryFull),
            (raw, 9, 2 * gib, 0, Some(&vdi_in_use), None, None, Cause::Stated),
            (raw, 0, gib, 9 * gib, None, None, moved.clone(), Cause::PassedOn),
            (raw, 9, gib, 9 * gib, None, None, moved.clone(), Cause::CutOff),
            (vhd, 9, 9, 9 * gib, Some(&io), None, moved, Cause::ContentRefused),
        ] {
            let ours = Ours { sent, total: Some(total), validated, redirect };
            let diagnosis = Diagnosis::new(ours, Some(gib), Some(free), failure.cloned());
            assert_eq!(diagnosis.likely(format), expected, "{diagnosis:?}");
        }
    }
}
