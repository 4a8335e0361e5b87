//! Packing a disk while it leaves: the other direction.

use std::fmt;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use flate2::write::GzEncoder;
use http_body::{Body, Frame};
use qcow2::{CLUSTER, Layout, Segment};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use vhd::format::{DiskType, FOOTER_LEN};
use vhd::{Decoder, Event};

use crate::error::Error;
use crate::sink::whole_disk;
use crate::unpack::body::{AHEAD, BodyReader, pump};
use crate::unpack::tar;

/// What a disk is packed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Package {
    /// A gzip tar of VHDs, `0.vhd` the leaf: what XenServer's images are. The body brings so many of them, one right
    /// after the other; all but the last are differencing ones.
    VhdArchive {
        /// How many; one is a whole disk.
        layers: usize,
    },
    /// The VHD as it comes.
    Vhd,
    /// A gzip tar of a raw disk, `disk.raw`, of so many bytes.
    RawArchive(u64),
    /// A qcow2 image of the VHD that comes: uncompressed, its tables before its data.
    Qcow2,
}

/// A disk that is packed while it comes. Its length is known before its end only for [`Package::Vhd`], and there not
/// to this body.
///
/// It fails if what comes is not a whole disk. Dropping it ends the transfer.
pub struct PackBody {
    pieces: mpsc::Receiver<Bytes>,
    work: Work,
    ended: bool,
}

struct Work(JoinHandle<Result<(), Error>>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl PackBody {
    /// Packs what `body` brings: for [`Package::RawArchive`] the disk's bytes, otherwise VHDs. `level` is
    /// gzip's, from 1 to 9, or its usual one.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn new<B>(body: B, package: Package, level: Option<u32>) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (sender, pieces) = mpsc::channel(AHEAD);
        let to = Pieces { sender, piece: BytesMut::new() };
        let level =
            level.map_or_else(flate2::Compression::default, |level| flate2::Compression::new(level.min(9)));
        let work = Work(tokio::spawn(pump(body, move |from| match package {
            Package::Vhd => layers(from, to, 1),
            Package::VhdArchive { layers: count } => layers(from, GzEncoder::new(to, level), count),
            Package::Qcow2 => qcow2(from, to),
            Package::RawArchive(len) => raw(from, GzEncoder::new(to, level), len),
        })));
        Self { pieces, work, ended: false }
    }
}

const PIECE: usize = 256 << 10;

/// Where a disk is written to, with an archive around it or without one.
trait Around: Write {
    fn begin_member(&mut self, name: &str, len: u64) -> io::Result<()>;
    fn end_member(&mut self, len: u64) -> io::Result<()>;
    fn end(self) -> io::Result<()>;
}

impl Around for Pieces {
    fn begin_member(&mut self, _: &str, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn end_member(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn end(mut self) -> io::Result<()> {
        self.send()
    }
}

impl Around for GzEncoder<Pieces> {
    fn begin_member(&mut self, name: &str, len: u64) -> io::Result<()> {
        self.write_all(&tar::header(name, len))
    }

    fn end_member(&mut self, len: u64) -> io::Result<()> {
        self.write_all(tar::padding(len))
    }

    fn end(mut self) -> io::Result<()> {
        self.write_all(&tar::END)?;
        self.finish()?.send()
    }
}

/// Passes VHDs on, leaf first, and looks at them on the way.
fn layers(mut from: BodyReader, mut to: impl Around, layers: usize) -> Result<(), Error> {
    for layer in 0..layers {
        vhd(&mut from, &mut to, layer, layer + 1 == layers)?;
    }
    match from.read(&mut [0]).map_err(gone)? {
        0 => to.end().map_err(gone),
        _ => Err(Error::Kind { wanted: "what was announced: it goes on behind the last VHD" }),
    }
}

/// Passes one VHD on. Its length, which an archive wants first, follows from its table; nothing behind it is read.
fn vhd(from: &mut BodyReader, to: &mut impl Around, layer: usize, last: bool) -> Result<(), Error> {
    let (mut decoder, mut buffer, mut held) = (Decoder::new(), vec![0; PIECE], Vec::new());
    let (mut announced, mut position) = (None, 0_u64);
    loop {
        // The table ends before the VHD does, by a footer at least.
        let most = announced.map_or(FOOTER_LEN, |len: u64| usize::try_from(len - position).unwrap_or(PIECE));
        let len = tar::fill(from, &mut buffer[..most.min(PIECE)]).map_err(gone)?;
        if len == 0 {
            break;
        }
        position += len as u64;
        let mut input = &buffer[..len];
        while let Some(event) = decoder.feed(&mut input).map_err(Error::Stream)? {
            if last {
                whole_disk(&event)?;
            } else if matches!(&event, Event::Footer(footer) if footer.disk_type != DiskType::Differencing) {
                return Err(Error::Kind { wanted: "the difference to an earlier disk" });
            }
            if let Event::Table { stream_len, .. } = event {
                announced = Some(stream_len);
                to.begin_member(&format!("{layer}.vhd"), stream_len).map_err(gone)?;
                to.write_all(&std::mem::take(&mut held)).map_err(gone)?;
            }
        }
        match announced {
            Some(_) => to.write_all(&buffer[..len]).map_err(gone)?,
            None => held.extend_from_slice(&buffer[..len]),
        }
    }
    let summary = decoder.finish().map_err(Error::Stream)?;
    let expected = announced.unwrap_or(0);
    if summary.stream_len != expected {
        return Err(Error::Length { got: summary.stream_len, expected });
    }
    to.end_member(expected).map_err(gone)
}

/// Makes a qcow2 image of a VHD: each of its blocks becomes clusters, in the disk's order, in which XAPI exports them.
fn qcow2(mut from: BodyReader, mut to: Pieces) -> Result<(), Error> {
    let (mut decoder, mut buffer) = (Decoder::new(), vec![0; PIECE]);
    // The bytes of the current block that are still missing.
    let mut missing = 0..0;
    loop {
        let len = tar::fill(&mut from, &mut buffer).map_err(gone)?;
        if len == 0 {
            break;
        }
        let mut input = &buffer[..len];
        while let Some(event) = decoder.feed(&mut input).map_err(Error::Stream)? {
            whole_disk(&event)?;
            match event {
                Event::Table { .. } => {
                    let footer = decoder.footer().expect("it comes before the table");
                    if decoder
                        .header()
                        .is_none_or(|header| !u64::from(header.block_size).is_multiple_of(CLUSTER))
                    {
                        return Err(Error::Kind { wanted: "a VHD with blocks of whole clusters (64 KiB)" });
                    }
                    let blocks: Vec<_> = decoder.allocation().collect();
                    if !blocks.is_sorted_by_key(|bytes| bytes.start) {
                        return Err(Error::OutOfOrder);
                    }
                    let next = |from| blocks.get(blocks.partition_point(|bytes| bytes.end <= from)).cloned();
                    let layout = Layout::new(footer.current_size, next).map_err(Error::Qcow2Stream)?;
                    for segment in layout.into_segments() {
                        // The rest comes with the blocks.
                        let Segment::Meta(cluster) = segment else { break };
                        to.write_all(&cluster).map_err(gone)?;
                    }
                }
                Event::Block { bytes, .. } => {
                    zeros(&mut to, missing.end - missing.start).map_err(gone)?;
                    missing = bytes.start..bytes.end.next_multiple_of(CLUSTER);
                }
                // What the block's bitmap leaves out is zero.
                Event::Data { virtual_offset, bytes } => {
                    zeros(&mut to, virtual_offset - missing.start).map_err(gone)?;
                    to.write_all(bytes).map_err(gone)?;
                    missing.start = virtual_offset + bytes.len() as u64;
                }
                _ => {}
            }
        }
    }
    decoder.finish().map_err(Error::Stream)?;
    zeros(&mut to, missing.end - missing.start).and_then(|()| to.send()).map_err(gone)
}

fn zeros(to: &mut impl Write, len: u64) -> io::Result<()> {
    io::copy(&mut io::repeat(0).take(len), to).map(drop)
}

/// Packs exactly `len` bytes.
fn raw(mut from: BodyReader, mut to: impl Around, len: u64) -> Result<(), Error> {
    to.begin_member("disk.raw", len).map_err(gone)?;
    let got = io::copy(&mut from.by_ref().take(len), &mut to).map_err(gone)?;
    let more = from.read(&mut [0]).map_err(gone)? as u64;
    if got + more != len {
        return Err(Error::Length { got: got + more, expected: len });
    }
    to.end_member(len).and_then(|()| to.end()).map_err(gone)
}

/// The stream broke, which it tells by itself; or nobody wants the pieces.
fn gone(_: io::Error) -> Error {
    Error::Interrupted
}

/// What is written, in pieces.
struct Pieces {
    sender: mpsc::Sender<Bytes>,
    piece: BytesMut,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        let piece = self.piece.split().freeze();
        if piece.is_empty() {
            return Ok(());
        }
        self.sender.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Body for PackBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(piece) = ready!(self.pieces.poll_recv(context)) {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let ended = ready!(Pin::new(&mut self.work.0).poll(context));
        self.ended = true;
        Poll::Ready(ended.unwrap_or(Err(Error::Interrupted)).err().map(Err))
    }
}

impl fmt::Debug for PackBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackBody").field("ended", &self.ended).finish_non_exhaustive()
    }
}
