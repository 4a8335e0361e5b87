//! The other way for data onto a disk, for hosts whose handlers of imports cannot be used: the disk is attached to the
//! control domain, the plugin `dom0_protocol` writes to it, and it is detached, whatever happens.
//!
//! The data go through calls of a plugin, each with room for [`WRITE_DISK_ROOM`]. What is zero takes no room.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Buf, Bytes, BytesMut};
use dom0_protocol::{Call, WRITE_DISK_ROOM, WriteDisk};
use http_body::Body;
use xenapi_client::ImportFormat;
use xenapi_types::{Host, Ref, Sr};

use crate::cancel::Stop;
use crate::dom0_disk::{self, Target};
use crate::error::Cause;
use crate::job::{Disk, Job};

/// How data get onto disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ImportVia {
    /// Through the host's handler of imports, `/import_raw_vdi`.
    #[default]
    Handler,
    /// Through the control domain of a host that sees the disk's SR, by the plugin `dom0_protocol` of `xapi-plugins`: for
    /// hosts whose handler cannot be reached or does not work. Each call carries 64 KiB and starts a program in dom0, so
    /// that it is slow: some MiB a second.
    ///
    /// What was written is compared on the way, by the plugin, for each piece. Reading back needs a handler too, that of
    /// exports: it is left out.
    Dom0,
}

impl fmt::Display for ImportVia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Dom0 { "dom0" } else { "handler" })
    }
}

impl FromStr for ImportVia {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "handler" => Ok(Self::Handler),
            "dom0" => Ok(Self::Dom0),
            _ => Err(format!("unknown way {text:?}: use handler or dom0")),
        }
    }
}

/// How long a call may take: it waits up to a minute for its disk.
const CALL_LIMIT: Duration = Duration::from_secs(300);
/// What one call makes zero at most, so that it can be cancelled soon.
const MOST_ZEROS: u64 = 256 << 20;
/// Pieces of one call, at most: each takes some 40 bytes beside its content.
const MOST_PIECES: usize = 200;
/// Zeros are found in units of this.
const UNIT: usize = 4 << 10;
const SECTOR: usize = 512;

/// Sees that a host can do this, before anything is made.
pub(crate) async fn check(job: &Job, sr: &Ref<Sr>) -> Result<(), Cause> {
    match job.driver.settings().import_via {
        ImportVia::Handler => Ok(()),
        ImportVia::Dom0 => dom0_disk::able_host(job, sr, WriteDisk::FUNCTION).await.map(drop),
    }
}

/// Writes what `body` brings, raw or in XAPI's `chunked` framing, and tells how much of it went; `sent` hears of it
/// meanwhile.
///
/// Asked to stop, it does so after the call that is under way: a disk that a program works on cannot be detached.
pub(crate) async fn pour<B>(
    job: &Job,
    disk: &Disk,
    format: ImportFormat,
    body: B,
    sent: impl Fn(u64),
    stop: &Stop,
) -> Result<u64, Cause>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    stop.check()?;
    let (vdi, _, mark) = dom0_disk::ours(job, &disk.uuid).await?;
    let host = dom0_disk::able_host(job, &disk.sr, WriteDisk::FUNCTION).await?;
    let target = Target { vdi, host, mark };
    dom0_disk::attached(job, &target, async |dev| {
        let writer = Writer { job, host: &target.host, dev, stop, waiting: Waiting::default() };
        writer.pour(format, body, sent).await
    })
    .await
}

struct Writer<'a> {
    job: &'a Job,
    host: &'a Ref<Host>,
    dev: String,
    stop: &'a Stop,
    waiting: Waiting,
}

impl Writer<'_> {
    async fn pour<B>(mut self, format: ImportFormat, body: B, sent: impl Fn(u64)) -> Result<u64, Cause>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut body = pin!(body);
        let (mut position, mut buffer) = (0, BytesMut::new());
        let mut frames = Frames::of(format);
        while let Some(frame) = self.stop.guard(poll_fn(|context| body.as_mut().poll_frame(context))).await? {
            let failed =
                |error: B::Error| Cause::Image(disk_stream::Error::Body { position, source: error.into() });
            let Ok(bytes) = frame.map_err(failed)?.into_data() else { continue };
            position += bytes.len() as u64;
            buffer.extend_from_slice(&bytes);
            while let Some((at, unit)) = frames.next(&mut buffer) {
                if !self.waiting.has_room(at, &unit) {
                    self.flush().await?;
                }
                self.waiting.push(at, &unit);
            }
            sent(position);
        }
        if !frames.is_whole() || !buffer.is_empty() {
            return Err(Cause::Image(disk_stream::Error::Interrupted));
        }
        self.flush().await?;
        Ok(position)
    }

    async fn flush(&mut self) -> Result<(), Cause> {
        let Waiting { pieces, zeros, .. } = std::mem::take(&mut self.waiting);
        if pieces.is_empty() && zeros.is_empty() {
            return Ok(());
        }
        self.stop.check()?;
        let pieces = pieces.into_iter().map(|(at, bytes)| (at, BASE64_STANDARD.encode(bytes))).collect();
        let call = WriteDisk { dev: self.dev.clone(), pieces, zeros };
        let client = self.job.client().with_deadline(CALL_LIMIT);
        dom0_disk::request(&client, self.host, &call, None).await.map(drop)
    }
}

/// What the next call is to say.
#[derive(Debug, Default)]
struct Waiting {
    pieces: Vec<(u64, Vec<u8>)>,
    zeros: Vec<(u64, u64)>,
    /// Bytes in the pieces.
    len: usize,
    /// Bytes that are to be zero.
    zero_len: u64,
}

impl Waiting {
    /// Whether one call can say this as well. No place is in a call twice: in which order would they be written?
    fn has_room(&self, at: u64, unit: &[u8]) -> bool {
        let end = at + unit.len() as u64;
        let apart = |from: u64, len: u64| end <= from || from + len <= at;
        self.len + unit.len() <= WRITE_DISK_ROOM
            && self.zero_len < MOST_ZEROS
            && self.pieces.len() + self.zeros.len() < MOST_PIECES
            && self.pieces.iter().all(|(from, bytes)| apart(*from, bytes.len() as u64))
            && self.zeros.iter().all(|(from, len)| apart(*from, *len))
    }

    fn push(&mut self, at: u64, unit: &[u8]) {
        if unit.iter().all(|byte| *byte == 0) {
            let len = unit.len() as u64;
            self.zero_len += len;
            match self.zeros.last_mut() {
                Some((from, so_far)) if *from + *so_far == at => *so_far += len,
                _ => self.zeros.push((at, len)),
            }
            return;
        }
        self.len += unit.len();
        match self.pieces.last_mut() {
            Some((from, bytes)) if *from + bytes.len() as u64 == at => bytes.extend_from_slice(unit),
            _ => self.pieces.push((at, unit.to_vec())),
        }
    }
}

/// Takes a stream apart: raw, or in XAPI's framing, which is a header of 12 bytes, offset and length, then so many bytes;
/// a header of zeros is the end.
struct Frames {
    chunked: bool,
    at: u64,
    left: usize,
    ended: bool,
}

impl Frames {
    fn of(format: ImportFormat) -> Self {
        Self { chunked: format == ImportFormat::RawChunked, at: 0, left: 0, ended: false }
    }

    /// The next whole sectors and their place, at most a unit; the rest of a sector comes with the next bytes.
    fn next(&mut self, buffer: &mut BytesMut) -> Option<(u64, Bytes)> {
        if !self.chunked {
            self.left = buffer.len();
        }
        while self.left == 0 {
            if self.ended || buffer.len() < 12 {
                return None;
            }
            (self.at, self.left) = (buffer.get_u64_le(), buffer.get_u32_le() as usize);
            self.ended = (self.at, self.left) == (0, 0);
        }
        let len = self.left.min(UNIT).min(buffer.len()) / SECTOR * SECTOR;
        if len == 0 {
            return None;
        }
        let unit = (self.at, buffer.split_to(len).freeze());
        self.at += len as u64;
        self.left -= len;
        Some(unit)
    }

    fn is_whole(&self) -> bool {
        !self.chunked || self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_in_pieces_of_any_length() {
        let frame = |at: u64, bytes: &[u8]| {
            [&at.to_le_bytes()[..], &(bytes.len() as u32).to_le_bytes(), bytes].concat()
        };
        let stream = [frame(1024, &[1; 1536]), frame(0, &[2; 512]), frame(0, &[])].concat();
        for step in [1, 7, 511, 512, 513, 5000] {
            let mut frames = Frames::of(ImportFormat::RawChunked);
            let (mut disk, mut buffer) = (vec![0; 4096], BytesMut::new());
            for piece in stream.chunks(step) {
                assert!(!frames.is_whole());
                buffer.extend_from_slice(piece);
                while let Some((at, bytes)) = frames.next(&mut buffer) {
                    assert!(bytes.len() % 512 == 0);
                    disk[at as usize..][..bytes.len()].copy_from_slice(&bytes);
                }
            }
            assert!(frames.is_whole() && buffer.is_empty(), "{step}");
            assert!(disk[..512] == [2; 512] && disk[1024..2560] == [1; 1536] && disk[512..1024] == [0; 512]);
        }
    }

    #[test]
    fn what_fits_into_a_call() {
        let mut waiting = Waiting::default();
        let (data, zero) = ([1; UNIT], [0; UNIT]);
        let unit = UNIT as u64;
        for n in 0..8 {
            waiting.push(n * unit, &data);
            waiting.push((100 + n) * unit, &zero);
        }
        assert_eq!((waiting.pieces.len(), &waiting.zeros[..]), (1, &[(100 * unit, 8 * unit)][..]));
        assert!(waiting.has_room(8 * unit, &data));
        for (at, what) in [(7, "written"), (107, "zeroed")] {
            assert!(!waiting.has_room(at * unit, &data), "what is {what} already");
        }
        for n in 8..16 {
            waiting.push(n * unit, &data);
        }
        assert!(!waiting.has_room(50 * unit, &data), "no more bytes");
        let mut waiting = Waiting::default();
        for n in 0..MOST_PIECES as u64 {
            assert!(waiting.has_room(2 * n * unit, &[1; SECTOR]), "{n}");
            waiting.push(2 * n * unit, if n % 2 == 0 { &[1; SECTOR] } else { &[0; SECTOR] });
        }
        assert!(!waiting.has_room(1 << 30, &[1; SECTOR]), "no more pieces");
    }

    /// Linux takes 128 KiB as one argument, and XAPI writes quotation marks as entities.
    #[test]
    fn the_fullest_call_is_short_enough() {
        let piece = |n: u64| (u64::from(u32::MAX) << 9 | n, vec![0xff; WRITE_DISK_ROOM / MOST_PIECES + 1]);
        let pieces = (0..MOST_PIECES as u64).map(piece);
        let call = WriteDisk {
            dev: "sm/backend/".to_owned() + &"x".repeat(73),
            pieces: pieces.map(|(at, bytes)| (at, BASE64_STANDARD.encode(bytes))).collect(),
            zeros: Vec::new(),
        };
        let text = dom0_protocol::encode(&call, None)[dom0_protocol::ARGUMENT].replace('"', "&quot;");
        assert!(text.len() < 120 << 10, "{}", text.len());
    }

    #[test]
    fn names_of_the_ways() {
        for via in [ImportVia::Handler, ImportVia::Dom0] {
            assert_eq!(via.to_string().parse(), Ok(via));
        }
        assert!("http".parse::<ImportVia>().is_err());
    }
}
