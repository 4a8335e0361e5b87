//! Answers of an NBD server: what is read of a disk is what they say, or an error.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use xenapi_types::nbd::{self, Request};

use crate::error::Result;
use crate::nbd::wire::{Wire, export, greet};

/// Two bytes choose in what pieces the disk is asked for and in what pieces answers arrive; the rest is all that a server
/// ever says. Read by a second reader that has all of it before it, it is the same disk or as little one; what is asked for
/// is the disk, each byte once and in order; and however it arrives, it is the same.
///
/// # Panics
/// When it is not.
pub fn nbd(bytes: &[u8]) {
    let [piece, arriving, said @ ..] = bytes else { return };
    let piece = u32::from(*piece) + 1;
    let expected = disk(said, piece);
    for arriving in [usize::from(*arriving) + 1, usize::MAX] {
        let mut peer = Peer { said, arriving, heard: Vec::new() };
        let mut out = Vec::new();
        let copied = now(copy(&mut peer, piece, &mut out));
        assert_eq!(copied.ok(), expected.as_ref().map(|disk| disk.len() as u64));
        if let Some(disk) = &expected {
            assert!(out == *disk, "another disk");
        }
        asked_in_order(&peer.heard, piece);
    }
}

async fn copy(peer: &mut Peer<'_>, piece: u32, out: &mut Vec<u8>) -> Result<u64> {
    greet(peer).await?;
    let size = export(peer, b"/export").await?;
    let mut wire = Wire::new(peer, size);
    let mut told = 0;
    // What has not come never comes.
    wire.copy_to(out, piece, None, &mut |written| told = written).await?;
    assert_eq!(told, size);
    Ok(size)
}

/// The disk as the server says it is, read at once.
fn disk(said: &[u8], piece: u32) -> Option<Vec<u8>> {
    let rest = said.strip_prefix(&nbd::GREETING)?;
    let (flags, rest) = rest.split_first_chunk()?;
    (u16::from_be_bytes(*flags) & nbd::FIXED_NEWSTYLE != 0).then_some(())?;
    let (size, rest) = rest.split_first_chunk()?;
    let (_, mut rest) = rest.split_first_chunk::<{ 2 + nbd::EXPORT_PADDING }>()?;
    let size = u64::from_be_bytes(*size);
    // Answers that are not there say nothing.
    let len = usize::try_from(size).ok().filter(|len| *len <= rest.len())?;
    let mut disk = vec![None; len];
    let pieces = size.div_ceil(u64::from(piece));
    let mut first_open = 0;
    for _ in 0..pieces {
        let (magic, after) = rest.split_first_chunk()?;
        let (errno, after) = after.split_first_chunk()?;
        let (handle, after) = after.split_first_chunk()?;
        let handle = u64::from_be_bytes(*handle);
        let is_answer = u32::from_be_bytes(*magic) == nbd::REPLY_MAGIC && *errno == [0; 4];
        // Four are asked for, from the first one that is not there yet.
        (is_answer && handle < pieces.min(first_open + 4)).then_some(())?;
        let from = usize::try_from(handle * u64::from(piece)).ok()?;
        let to = len.min(from + piece as usize);
        let (data, after) = after.split_at_checked(to - from)?;
        disk[from].is_none().then_some(())?;
        disk[from..to].iter_mut().zip(data).for_each(|(place, byte)| *place = Some(*byte));
        while first_open < pieces && disk[usize::try_from(first_open * u64::from(piece)).ok()?].is_some() {
            first_open += 1;
        }
        rest = after;
    }
    disk.into_iter().collect()
}

/// What the client says: its flags, the option, and then nothing but reads, one behind the other.
fn asked_in_order(heard: &[u8], piece: u32) {
    let option = nbd::option(nbd::OPTION_EXPORT_NAME, b"/export");
    let Some(requests) = heard.get(4 + option.len()..) else { return };
    let mut end = 0;
    for (number, request) in requests.chunks(nbd::REQUEST_LEN).enumerate() {
        let request = request.try_into().ok().and_then(Request::parse).expect("a whole request");
        assert_eq!((request.command, request.handle), (nbd::COMMAND_READ, number as u64));
        assert!(request.offset == end && (1..=piece).contains(&request.len), "{request:?}");
        end += u64::from(request.len);
    }
}

/// A server that has said everything already.
struct Peer<'a> {
    said: &'a [u8],
    /// At most so much of it arrives at once.
    arriving: usize,
    heard: Vec<u8>,
}

impl AsyncRead for Peer<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = self.said.len().min(self.arriving).min(buf.remaining());
        let (now, later) = self.said.split_at(len);
        buf.put_slice(now);
        self.said = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.heard.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The end of what never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits for what has come"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a server says of a disk, its answers to pieces of `piece` bytes in this order.
    fn said(disk: &[u8], piece: usize, order: &[usize]) -> Vec<u8> {
        let mut said = [&nbd::GREETING[..], &nbd::FIXED_NEWSTYLE.to_be_bytes()].concat();
        said.extend((disk.len() as u64).to_be_bytes());
        said.extend([0; 2 + nbd::EXPORT_PADDING]);
        let pieces: Vec<&[u8]> = disk.chunks(piece).collect();
        for handle in order.iter().filter(|handle| **handle < pieces.len()) {
            said.extend(nbd::REPLY_MAGIC.to_be_bytes());
            said.extend([0; 4]);
            said.extend((*handle as u64).to_be_bytes());
            said.extend(pieces[*handle]);
        }
        said
    }

    #[test]
    fn a_disk_in_any_order_that_was_asked_for() {
        let bytes: Vec<u8> = (0..40).collect();
        for (order, fits) in [
            ([0, 1, 2, 3, 4], true),
            ([3, 2, 1, 0, 4], true),
            ([4, 0, 1, 2, 3], false),
            ([0, 0, 1, 2, 3], false),
        ] {
            let said = said(&bytes, 8, &order);
            assert_eq!(disk(&said, 8), fits.then(|| bytes.clone()), "{order:?}");
            nbd(&[&[7, 2], &said[..]].concat());
        }
    }

    proptest! {
        #[test]
        fn any_server(
            content in prop::collection::vec(any::<u8>(), 0..60),
            piece in 1_usize..20,
            arriving in 0_u8..40,
            order in Just((0..12).collect::<Vec<usize>>()).prop_shuffle(),
            in_order in any::<bool>(),
            flip in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            len in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let order = if in_order { (0..60).collect() } else { order };
            let mut said = said(&content, piece, &order);
            if let Some((at, byte)) = flip {
                let at = at.index(said.len());
                said[at] = byte;
            }
            if let Some(len) = len {
                said.truncate(len.index(said.len()));
            }
            nbd(&[&[u8::try_from(piece - 1).unwrap(), arriving], &said[..]].concat());
        }
    }
}
