//! Zeros for what is made or grows on a repository that leaves there what others wrote before.
//!
//! Such are LVM repositories without VHDs (`use_vhd` is not in their `sm_config`), and some of other makes
//! ([`Facts::prezeroed`](xenapi_storage::Facts)). An image that is imported covers its disk; what is blank,
//! and what a disk grows by, would show the guest what other tenants left.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use xenapi_client::ImportFormat;
use xenapi_storage::Repository;

use crate::cancel::Stop;
use crate::error::Cause;
use crate::job::{Disk, Job};
use crate::progress::Stage;
use crate::transfer;

/// Of one record of XAPI's chunked framing.
const RECORD_BYTES: u64 = 1 << 20;

static ZEROS: [u8; RECORD_BYTES as usize] = [0; RECORD_BYTES as usize];

/// Writes zeros from byte `from` to the disk's end, where its repository does not read as zeros by itself. It
/// takes as long as to write so much. The disk must not be plugged.
///
/// # Errors
///
/// [`Cause::Host`]; [`Cause::Cancelled`]: the disk is not to be used then.
pub(crate) async fn fill(
    job: &Job,
    sr: &Repository,
    disk: &Disk,
    from: u64,
    stage: Stage,
    stop: &Stop,
) -> Result<(), Cause> {
    if sr.facts().prezeroed || from >= disk.virtual_bytes {
        return Ok(());
    }
    let doing = || {
        format!("writing zeros to disk {}, for SR {:?} shows what was there before", disk.uuid, sr.name_label)
    };
    let body = Zeros { at: from, end: disk.virtual_bytes, is_ended: false, data: None };
    let label = format!("zeros for disk {}", disk.uuid);
    let format = ImportFormat::RawChunked;
    transfer::import(job, stage, disk, format, disk.virtual_bytes, body, label, doing, stop).await?;
    Ok(())
}

/// Records of an offset (u64) and a length (u32), little-endian, and zeros; a record of nothing is the end.
struct Zeros {
    at: u64,
    end: u64,
    is_ended: bool,
    /// Of the record whose head was given.
    data: Option<Bytes>,
}

impl Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if self.is_ended {
            return Poll::Ready(None);
        }
        let len = (self.end - self.at).min(RECORD_BYTES);
        let mut head = BytesMut::with_capacity(12);
        head.put_u64_le(if len == 0 { 0 } else { self.at });
        head.put_u32_le(len as u32);
        self.at += len;
        self.is_ended = len == 0;
        self.data = (len > 0).then(|| Bytes::from_static(&ZEROS).slice(..len as usize));
        Poll::Ready(Some(Ok(Frame::data(head.freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_ended
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.end - self.at;
        let end = if self.is_ended { 0 } else { 12 };
        let data = self.data.as_ref().map_or(0, |data| data.len() as u64);
        SizeHint::with_exact(data + left + 12 * left.div_ceil(RECORD_BYTES) + end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_covered_once_and_the_length_is_exact() {
        for (from, end) in [(0, 512), (512, 2 << 20), (3 << 20, (5 << 20) + 512)] {
            let mut body = Zeros { at: from, end, is_ended: false, data: None };
            let wanted = body.size_hint().exact().unwrap();
            let mut bytes = Vec::new();
            let mut cx = Context::from_waker(std::task::Waker::noop());
            while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) {
                bytes.extend_from_slice(frame.data_ref().unwrap());
                assert_eq!(bytes.len() as u64 + body.size_hint().exact().unwrap(), wanted, "{from} to {end}");
            }
            assert!(body.is_end_stream());
            let (mut rest, mut at) = (&bytes[..], from);
            loop {
                let (head, data) = rest.split_at(12);
                let offset = u64::from_le_bytes(head[..8].try_into().unwrap());
                let len = u32::from_le_bytes(head[8..].try_into().unwrap()) as usize;
                rest = &data[len..];
                if len == 0 {
                    break;
                }
                assert!(offset == at && data[..len].iter().all(|byte| *byte == 0));
                at += len as u64;
            }
            assert_eq!((at, rest.len()), (end, 0));
        }
    }
}
