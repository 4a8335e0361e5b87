//! Disks into streams, byte for byte as XAPI sends them.

use std::collections::HashSet;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use uuid::Uuid;
use vhd::format::{
    Creator, DiskType, DynamicHeader, FOOTER_LEN, Footer, Geometry, HEADER_LEN, ParentLocator, Platform,
    SECTOR, Timestamp, UNALLOCATED,
};
use xenapi_types::archive::{self, PieceName};

use super::pipe::{Piece, read_ahead};
use super::{Progress, TransferError};
use crate::disk::{BLOCK, BlockMap, Disk, DiskError};

static ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];
static ONES: [u8; SECTOR as usize] = [0xff; SECTOR as usize];

/// Where the allocation table of an exported VHD is: behind footer, header and a sector for a locator.
const TABLE_OFFSET: u64 = 2048;
const LOCATOR_OFFSET: u64 = 1536;

/// Sends `len_bytes` of the disk, zeros included.
///
/// # Errors
/// A closed connection, an unreadable disk.
pub(crate) async fn raw(
    out: &mut (impl AsyncWrite + Unpin),
    disk: &Disk,
    len_bytes: u64,
    progress: Progress<'_>,
) -> Result<(), TransferError> {
    let starts = (0..len_bytes).step_by(BLOCK as usize);
    let ranges = starts.map(move |start| (start, BLOCK.min(len_bytes - start) as usize));
    let mut pieces = read_ahead(disk.clone(), ranges);
    let mut sent = 0;
    while let Some(piece) = pieces.recv().await {
        sent += send(out, piece?).await?;
        progress(sent as f64 / len_bytes as f64);
    }
    Ok(out.flush().await?)
}

async fn send(out: &mut (impl AsyncWrite + Unpin), piece: Piece) -> Result<u64, TransferError> {
    match piece {
        Piece::Zeros(len) => out.write_all(&ZEROS[..len]).await.map(|()| len as u64),
        Piece::Data(bytes) => out.write_all(&bytes).await.map(|()| bytes.len() as u64),
    }
    .map_err(TransferError::Connection)
}

/// The disk that a differencing VHD is to be built on.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    /// Its uuid.
    pub(crate) uuid: Uuid,
    /// The name of its file on the host.
    pub(crate) path: String,
    /// When it was last written.
    pub(crate) modified: Timestamp,
}

/// The blocks that are allocated in a layer of one of the two chains and not of the other.
pub(crate) fn changed_blocks(disk: &Disk, base: &Disk) -> BlockMap {
    let (ours, theirs) = (disk.chain(), base.chain());
    let ids = |chain: &[(Uuid, BlockMap)]| chain.iter().map(|layer| layer.0).collect::<HashSet<_>>();
    let (our_ids, their_ids) = (ids(&ours), ids(&theirs));
    let mut changed = BlockMap::new(disk.len_bytes());
    for (id, own) in ours.iter().chain(&theirs) {
        if our_ids.contains(id) != their_ids.contains(id) {
            changed.union(own);
        }
    }
    changed
}

/// The blocks that are not all zeros: what is exported of a disk that is no VHD. Reads the whole disk.
///
/// # Errors
/// An unreadable disk.
pub(crate) fn nonzero_blocks(disk: &Disk, len_bytes: u64) -> Result<BlockMap, DiskError> {
    let mut found = BlockMap::new(len_bytes);
    let mut buffer = vec![0; BLOCK as usize];
    for block in disk.allocated().iter().take_while(|block| block * BLOCK < len_bytes) {
        if disk.is_hole(block) {
            continue;
        }
        let start = block * BLOCK;
        let bytes = &mut buffer[..BLOCK.min(len_bytes - start) as usize];
        disk.read_at(start, bytes)?;
        if bytes[..] != ZEROS[..bytes.len()] {
            found.set(block);
        }
    }
    Ok(found)
}

/// Sends a dynamic VHD of the given blocks, or with `base` a differencing one: footer, header, an empty sector,
/// table, blocks in virtual order with all bits set, footer.
///
/// # Errors
/// A closed connection, an unreadable disk.
pub(crate) async fn vhd(
    out: &mut (impl AsyncWrite + Unpin),
    disk: &Disk,
    len_bytes: u64,
    blocks: &BlockMap,
    base: Option<&Base>,
    progress: Progress<'_>,
) -> Result<(), TransferError> {
    let (front, footer) = vhd_front(len_bytes, blocks, base);
    out.write_all(&front).await?;
    let chosen: Vec<u64> = blocks.iter().collect();
    let count = chosen.len();
    let ranges = chosen.into_iter().map(move |block| {
        let start = block * BLOCK;
        (start, BLOCK.min(len_bytes - start) as usize)
    });
    let mut pieces = read_ahead(disk.clone(), ranges);
    let mut sent = 0;
    while let Some(piece) = pieces.recv().await {
        out.write_all(&ONES).await?;
        let len = send(out, piece?).await?;
        // The last block is whole even when the disk is not.
        out.write_all(&ZEROS[..(BLOCK - len) as usize]).await?;
        sent += 1;
        progress(f64::from(sent) / count as f64);
    }
    out.write_all(&footer).await?;
    Ok(out.flush().await?)
}

/// Everything in front of the blocks, and the footer.
fn vhd_front(len_bytes: u64, blocks: &BlockMap, base: Option<&Base>) -> (Vec<u8>, [u8; FOOTER_LEN]) {
    let kind = if base.is_some() { DiskType::Differencing } else { DiskType::Dynamic };
    let mut footer = Footer::new(kind, len_bytes, Uuid::new_v4(), Timestamp(0), Creator::XAPI);
    footer.geometry = Geometry::for_size_as_vhd_tool(len_bytes);
    let footer = footer.to_bytes();
    let entries = len_bytes.div_ceil(BLOCK) as u32;
    let mut header = DynamicHeader::new(TABLE_OFFSET, entries);
    if let Some(base) = base {
        header.parent_uuid = base.uuid;
        header.parent_timestamp = base.modified;
        header.parent_name = base.path.clone();
        let len = "file://".len() + base.path.len();
        header.locators.push(ParentLocator {
            platform: Platform::MACX,
            space: SECTOR as u32,
            len: len as u32,
            offset: LOCATOR_OFFSET,
        });
    }
    let mut front = Vec::with_capacity((TABLE_OFFSET + header.table_len()) as usize);
    front.extend_from_slice(&footer);
    front.extend_from_slice(&header.to_bytes());
    front.resize(TABLE_OFFSET as usize, 0);
    let table_len = (u64::from(entries) * 4).next_multiple_of(SECTOR);
    let mut next = ((TABLE_OFFSET + table_len) / SECTOR) as u32;
    for block in 0..u64::from(entries) {
        let entry = if blocks.get(block) { next } else { UNALLOCATED };
        if entry != UNALLOCATED {
            next += (1 + BLOCK / SECTOR) as u32;
        }
        front.extend_from_slice(&entry.to_be_bytes());
    }
    front.resize((TABLE_OFFSET + table_len) as usize, 0xff);
    debug_assert_eq!(LOCATOR_OFFSET as usize, FOOTER_LEN + HEADER_LEN);
    (front, footer)
}

/// Sends the archive form.
///
/// # Errors
/// A closed connection, an unreadable disk.
pub(crate) async fn tar(
    out: &mut (impl AsyncWrite + Unpin),
    disk: &Disk,
    len_bytes: u64,
    progress: Progress<'_>,
) -> Result<(), TransferError> {
    pieces(out, "vdi", disk, len_bytes, progress).await?;
    out.write_all(&archive::END).await?;
    Ok(out.flush().await?)
}

/// Sends a disk as the pieces of an archive: the first and the last always, others unless they are all zeros.
///
/// # Errors
/// A closed connection, an unreadable disk.
pub(crate) async fn pieces(
    out: &mut (impl AsyncWrite + Unpin),
    name: &str,
    disk: &Disk,
    len_bytes: u64,
    progress: Progress<'_>,
) -> Result<(), TransferError> {
    let count = len_bytes.div_ceil(archive::PIECE_LEN);
    let ranges = (0..count).map(move |index| {
        let start = index * archive::PIECE_LEN;
        (start, archive::PIECE_LEN.min(len_bytes - start) as usize)
    });
    let mut pieces = read_ahead(disk.clone(), ranges);
    let mut index = 0;
    while let Some(piece) = pieces.recv().await {
        let always = index == 0 || index + 1 == count;
        let content = match piece? {
            Piece::Zeros(len) => always.then(|| vec![0; len]),
            Piece::Data(bytes) => (always || bytes[..] != ZEROS[..bytes.len()]).then_some(bytes),
        };
        if let Some(content) = content {
            let members = archive::piece(PieceName { disk: name, index }, &content);
            out.write_all(&members.map_err(|_| TransferError::Stream("a name is too long"))?).await?;
        }
        index += 1;
        progress(index as f64 / count as f64);
    }
    Ok(())
}
