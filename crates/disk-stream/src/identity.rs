//! A VHD stream under an identity of one's own.

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame};
use uuid::Uuid;
use vhd::Structure;
use vhd::format::{DiskType, DynamicHeader, FOOTER_LEN, Footer, HEADER_LEN, Timestamp};
use vhd::layout::Parent;

use crate::difference::parent_of;
use crate::error::Error;
use crate::image::Image;

/// What a VHD is called, and what it builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its own uuid.
    pub uuid: Uuid,
    /// The parent of a differencing VHD; `None` for a whole disk.
    pub parent: Option<Parent>,
}

impl Identity {
    /// Of a whole disk.
    pub fn whole(uuid: Uuid) -> Self {
        Self { uuid, parent: None }
    }

    /// Of what differs from a VHD with the uuid `parent`, which will be found at `path`: relative to the folder of the
    /// new one, with `/` between names.
    pub fn child(uuid: Uuid, parent: Uuid, path: impl Into<String>) -> Self {
        Self { uuid, parent: Some(Parent { uuid: parent, timestamp: Timestamp(0), path: path.into() }) }
    }

    /// Of what differs from the VHD `base`, to be kept at `place`.
    ///
    /// # Errors
    /// When `base` cannot be named from there, or cannot be anybody's parent.
    pub fn child_of(uuid: Uuid, base: &Image, place: &Path) -> Result<Self, Error> {
        Ok(Self { uuid, parent: Some(parent_of(base, place)?) })
    }
}

/// A dynamic or differencing VHD stream that gets another identity while it passes.
///
/// XAPI gives each VHD that it exports a uuid of chance, and says of a differencing one neither what its parent's is
/// nor where it would be found. With names of our own, layers that are exported one by one are a chain.
///
/// The stream must have the order of XAPI's: footer, header, in a differencing one a sector for a locator, table.
/// Nothing else of it is changed or checked; whoever takes it decodes it.
pub struct Identified<B> {
    body: B,
    identity: Identity,
    /// The beginning, until all of it is there.
    head: Option<BytesMut>,
    /// What stands at the beginning now, and goes to the end.
    footer: [u8; FOOTER_LEN],
    /// The last bytes so far, which may be the footer.
    tail: BytesMut,
    ended: bool,
}

const LOCATOR_AT: usize = FOOTER_LEN + HEADER_LEN;
const LOCATOR_ROOM: usize = 512;
const HEAD: usize = LOCATOR_AT + LOCATOR_ROOM;

impl<B> Identified<B> {
    /// Gives the stream in `body` this identity. If it is not of the kind that the identity says, the stream ends with
    /// [`Error::Kind`].
    pub fn new(body: B, identity: Identity) -> Self {
        let head = Some(BytesMut::with_capacity(HEAD));
        Self { body, identity, head, footer: [0; FOOTER_LEN], tail: BytesMut::new(), ended: false }
    }

    /// Writes another beginning over that of the stream.
    fn rewrite(&mut self, head: &mut [u8]) -> Result<(), Error> {
        let (footer, rest) = head.split_first_chunk_mut().ok_or(Error::Interrupted)?;
        let (header, locator) = rest.split_first_chunk_mut::<HEADER_LEN>().ok_or(Error::Interrupted)?;
        let mut own = Footer::parse(footer, 0, Structure::FrontFooter).map_err(Error::Stream)?;
        if own.disk_type == DiskType::Fixed || own.data_offset != FOOTER_LEN as u64 {
            return Err(Error::Kind { wanted: "a VHD as XAPI sends it" });
        }
        let differencing = own.disk_type == DiskType::Differencing;
        match (&self.identity.parent, differencing) {
            (Some(_), false) => return Err(Error::Kind { wanted: "the difference to an earlier disk" }),
            (None, true) => return Err(Error::PartOfDisk),
            _ => {}
        }
        let mut dynamic = DynamicHeader::parse(header, FOOTER_LEN as u64).map_err(Error::Stream)?;
        let room = if self.identity.parent.is_some() { HEAD } else { LOCATOR_AT };
        if dynamic.table_offset < room as u64 {
            return Err(Error::Kind { wanted: "a VHD as XAPI sends it" });
        }
        if let Some(parent) = &self.identity.parent {
            let (mut locators, data) = parent.locators(LOCATOR_AT as u64).map_err(Error::Stream)?;
            // The first one is what blktap and XAPI look at; for more there is no room.
            locators.truncate(1);
            if locators.iter().any(|locator| locator.len as usize > LOCATOR_ROOM) {
                locators.clear();
            }
            dynamic.set_parent(parent, locators);
            locator[..LOCATOR_ROOM].copy_from_slice(&data[..LOCATOR_ROOM]);
        }
        own.uuid = self.identity.uuid;
        self.footer = own.to_bytes();
        *footer = self.footer;
        *header = dynamic.to_bytes();
        Ok(())
    }

    /// What can be passed on once these bytes have come.
    fn take(&mut self, bytes: &[u8]) -> Result<Bytes, Error> {
        let mut held = match self.head.take() {
            Some(mut head) => {
                head.extend_from_slice(bytes);
                if head.len() < HEAD {
                    self.head = Some(head);
                    return Ok(Bytes::new());
                }
                self.rewrite(&mut head[..HEAD])?;
                head
            }
            None => {
                self.tail.extend_from_slice(bytes);
                self.tail.split()
            }
        };
        self.tail = held.split_off(held.len().saturating_sub(FOOTER_LEN));
        Ok(held.freeze())
    }

    /// What comes last.
    fn end(&mut self) -> Bytes {
        if let Some(head) = self.head.take() {
            // Too short for a VHD, which whoever reads it will say.
            return head.freeze();
        }
        let is_footer =
            self.tail.first_chunk().is_some_and(|tail| Footer::parse(tail, 0, Structure::EndFooter).is_ok());
        if is_footer { Bytes::copy_from_slice(&self.footer) } else { self.tail.split().freeze() }
    }
}

impl<B> Body for Identified<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        while !self.ended {
            let bytes = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.take(&bytes)?,
                    Err(_) => continue,
                },
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => {
                    self.ended = true;
                    self.end()
                }
            };
            if bytes.has_remaining() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
        Poll::Ready(None)
    }
}

impl<B> fmt::Debug for Identified<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identified").field("identity", &self.identity).finish_non_exhaustive()
    }
}
