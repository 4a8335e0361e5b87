//! Archives on their way to a host, checked as they go.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use xenapi_types::archive::{DESCRIPTION, Decoder, Header, RECORD};

use crate::error::{BoxError, Error, ErrorKind, Result};

/// A body that fails at the first wrong byte, as far as it is an archive that can be read here.
pub(super) struct Checked<B> {
    /// What has been read of it already.
    begin: Option<Bytes>,
    rest: Pin<Box<B>>,
    length: SizeHint,
    decoder: Option<Decoder>,
}

/// What compressed archives begin with: gzip and zstd.
const COMPRESSED: [&[u8]; 2] = [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd]];

impl<B> Checked<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// A body of a disk's data; one that is not the archive of a disk is not looked at.
    pub(super) fn disk(body: B, is_archive: bool) -> Self {
        let length = body.size_hint();
        Self { begin: None, rest: Box::pin(body), length, decoder: is_archive.then(Decoder::of_disk) }
    }

    /// The archive of a guest, and its length in bytes. Reads the first record.
    ///
    /// # Errors
    /// `Body` when it does not begin like one, or does not know its length.
    pub(super) async fn guest(body: B, is_forced: bool) -> Result<(Self, u64)> {
        let Some(len) = body.size_hint().exact() else {
            return Err(wrong("the body does not know its length, which XAPI needs"));
        };
        let mut rest = Box::pin(body);
        let mut begin = BytesMut::new();
        while begin.len() < RECORD {
            let Some(frame) = rest.frame().await else { break };
            let frame = frame.map_err(|error| {
                let error = error.into();
                Error::new(ErrorKind::Body, error.to_string()).because(error)
            })?;
            begin.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        }
        let is_compressed = COMPRESSED.iter().any(|magic| begin.starts_with(magic));
        if !is_compressed {
            let first = begin.first_chunk::<RECORD>().map(Header::parse);
            match first {
                Some(Ok(Some(header))) if header.name == DESCRIPTION => {}
                Some(Ok(Some(header))) => {
                    let text = format!("its first member is {:?}, not {DESCRIPTION}", header.name);
                    return Err(wrong(format!("this is no archive of a VM: {text}")));
                }
                _ => return Err(wrong("this is no archive of a VM: it does not begin like a tar file")),
            }
        }
        let decoder = (!is_compressed && !is_forced).then(Decoder::of_guest);
        Ok((Self { begin: Some(begin.freeze()), rest, length: SizeHint::with_exact(len), decoder }, len))
    }
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Body, message.into()).remedy("give an XVA file, as an export of a VM makes it")
}

impl<B> Body for Checked<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match self.begin.take() {
            Some(begin) => Some(Ok(Frame::data(begin))),
            None => std::task::ready!(self.rest.as_mut().poll_frame(cx)),
        };
        Poll::Ready(match (frame, &mut self.decoder) {
            (None, Some(decoder)) => decoder.finish().err().map(|error| Err(error.into())),
            (None, None) => None,
            (Some(Err(error)), _) => Some(Err(error.into())),
            (Some(Ok(frame)), decoder) => Some(match (decoder, frame.data_ref()) {
                (Some(decoder), Some(data)) => look(decoder, data).map(|()| frame),
                _ => Ok(frame),
            }),
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.length
    }
}

fn look(decoder: &mut Decoder, mut data: &[u8]) -> Result<(), BoxError> {
    while !data.is_empty() {
        decoder.next(&mut data)?;
    }
    Ok(())
}
