//! Streams into disks, read the way XAPI's helper reads them.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};

use tokio::io::{AsyncRead, AsyncReadExt};
use vhd::Structure;
use vhd::format::{DiskType, DynamicHeader, FOOTER_LEN, Footer, HEADER_LEN, SECTOR, UNALLOCATED};

use xenapi_types::archive::PIECE_LEN;
use xenapi_wire::Failure;

use super::archive::{Archive, damaged, premature_eof};
use super::pipe::Sink;
use super::source::io_failure;
use super::{Progress, TransferError};
use crate::disk::{BLOCK, Disk};

/// The largest allocation table that is read: 8 TiB of disk.
const MAX_TABLE_ENTRIES: u32 = 4 << 20;

/// Reads `length` raw bytes, or as many as the disk has, to the start of the disk; zeros too.
///
/// # Errors
/// An empty stream, one that ends early (what came is on the disk then), one that is longer than a disk
/// that cannot grow.
pub(crate) async fn raw(
    body: &mut (impl AsyncRead + Unpin),
    length: Option<u64>,
    disk: &Disk,
    progress: Progress<'_>,
) -> Result<(), TransferError> {
    let length = length.unwrap_or_else(|| disk.len_bytes());
    if length == 0 {
        return Err(TransferError::Stream("it has no bytes"));
    }
    let mut sink = Sink::new(disk.clone());
    let result = raw_blocks(body, length, &mut sink, progress).await;
    sink.settle(result).await
}

async fn raw_blocks(
    body: &mut (impl AsyncRead + Unpin),
    length: u64,
    sink: &mut Sink,
    progress: Progress<'_>,
) -> Result<(), TransferError> {
    let mut at = 0;
    while at < length {
        let len = BLOCK.min(length - at);
        copy(body, sink, at, len).await?;
        at += len;
        progress(at as f64 / length as f64);
    }
    Ok(())
}

/// Reads records of a little-endian 64-bit offset, a little-endian 32-bit length and data, up to the record
/// of twelve zero bytes. Gaps stay as they were.
///
/// # Errors
/// A stream without the last record; offsets and lengths that are not whole sectors, since the real device is
/// open for direct access; data behind the end of the disk.
pub(crate) async fn chunked(body: &mut (impl AsyncRead + Unpin), disk: &Disk) -> Result<(), TransferError> {
    let mut sink = Sink::new(disk.clone());
    let result = chunks(body, &mut sink).await;
    sink.settle(result).await
}

async fn chunks(body: &mut (impl AsyncRead + Unpin), sink: &mut Sink) -> Result<(), TransferError> {
    loop {
        let mut head = [0; 12];
        body.read_exact(&mut head).await?;
        let offset = u64::from_le_bytes(head[..8].try_into().expect("eight bytes"));
        let len = u64::from(u32::from_le_bytes(head[8..].try_into().expect("four bytes")));
        if (offset, len) == (0, 0) {
            return Ok(());
        }
        if !offset.is_multiple_of(SECTOR) || !len.is_multiple_of(SECTOR) {
            return Err(TransferError::Stream("a chunk does not consist of whole sectors"));
        }
        if len > i32::MAX as u64 || offset.checked_add(len).is_none() {
            return Err(TransferError::Stream("a chunk is too long"));
        }
        let (mut at, end) = (offset, offset + len);
        while at < end {
            let len = (BLOCK - at % BLOCK).min(end - at);
            copy(body, sink, at, len).await?;
            at += len;
        }
    }
}

/// Reads the archive form up to its end: pieces of a MiB of a disk called `vdi`, each with its checksum. What is left
/// out stays as it was. Everything is written before wrong checksums are told.
///
/// # Errors
/// `IMPORT_ERROR…` as of a guest's archive; a piece behind the end of the disk is an unexpected file.
pub(crate) async fn tar(
    body: &mut (impl AsyncRead + Unpin),
    disk: &Disk,
    progress: Progress<'_>,
) -> Result<(), Failure> {
    let mut archive = Archive::plain(body);
    let mut sink = Sink::new(disk.clone());
    let result = tar_pieces(&mut archive, disk.len_bytes(), &mut sink, progress).await;
    let settled = sink.settle(Ok(())).await.map_err(|error| io_failure("import", &error));
    let is_intact = settled.and(result)?;
    // The second of the two empty records.
    archive.next().await?.map_or(Ok(()), |_| Err(premature_eof()))?;
    if is_intact { Ok(()) } else { Err(damaged()) }
}

/// Writes all pieces; whether all checksums are right.
async fn tar_pieces(
    archive: &mut Archive<impl AsyncRead + Unpin>,
    len_bytes: u64,
    sink: &mut Sink,
    progress: Progress<'_>,
) -> Result<bool, Failure> {
    let count = len_bytes.div_ceil(PIECE_LEN);
    let (mut next, mut is_intact) = (0, true);
    while let Some(piece) = archive.piece("vdi", next..count).await? {
        is_intact &= piece.is_intact;
        if piece.content.is_empty() {
            continue;
        }
        next = piece.index + 1;
        let written = sink.write(piece.index * PIECE_LEN, piece.content).await;
        written.map_err(|error| io_failure("import", &error))?;
        progress(next as f64 / count as f64);
    }
    Ok(is_intact)
}

/// Reads a dynamic or differencing VHD: footer, header, table, blocks in the order in which they come, the footer
/// in the last sector of `length` (or of the disk's size).
///
/// Of each block the sectors are written whose bit is set. Everything is written before the last footer is looked
/// at. The size in the footer and the parent are not looked at.
///
/// # Errors
/// As soon as an element is missing, not what it must be, or lies before what was read already; a block behind the
/// end of a disk that cannot grow. What was read before is on the disk then.
pub(crate) async fn vhd(
    body: &mut (impl AsyncRead + Unpin),
    length: Option<u64>,
    disk: &Disk,
    progress: Progress<'_>,
) -> Result<(), TransferError> {
    let mut stream = Forward { body, at: 0 };
    let mut footer = [0; FOOTER_LEN];
    stream.element(&mut footer).await?;
    let footer = Footer::parse(&footer, 0, Structure::FrontFooter)?;
    if footer.disk_type == DiskType::Fixed {
        return Err(TransferError::Stream("a fixed VHD has no blocks to read"));
    }
    let mut header = [0; HEADER_LEN];
    stream.skip_to(footer.data_offset).await?;
    stream.element(&mut header).await?;
    let header = DynamicHeader::parse(&header, footer.data_offset)?;
    if u64::from(header.block_size) != BLOCK {
        // XAPI reads these without padding the bitmaps to sectors, and writes the wrong bytes.
        return Err(TransferError::Stream("its blocks are not of 2 MiB"));
    }
    if header.max_table_entries > MAX_TABLE_ENTRIES {
        return Err(TransferError::Stream("its table has too many entries"));
    }
    let mut table = vec![0; (header.max_table_entries as usize * 4).next_multiple_of(SECTOR as usize)];
    stream.skip_to(header.table_offset).await?;
    stream.element(&mut table).await?;
    let blocks: BTreeMap<u32, u64> = table
        .chunks_exact(4)
        .map(|entry| u32::from_be_bytes(entry.try_into().expect("four bytes")))
        .take(header.max_table_entries as usize)
        .zip(0..)
        .filter(|&(sector, _)| sector != UNALLOCATED)
        .collect();

    let mut sink = Sink::new(disk.clone());
    let result = vhd_blocks(&mut stream, &blocks, &mut sink, progress).await;
    sink.settle(result).await?;

    let length = length.unwrap_or_else(|| disk.len_bytes());
    let last = length.saturating_sub(1) / SECTOR * SECTOR;
    let mut footer = [0; FOOTER_LEN];
    stream.skip_to(last).await?;
    stream.element(&mut footer).await?;
    Footer::parse(&footer, last, Structure::EndFooter)?;
    Ok(())
}

/// Reads the blocks of a VHD, given by the sector at which each starts.
async fn vhd_blocks<R: AsyncRead + Unpin>(
    stream: &mut Forward<'_, R>,
    blocks: &BTreeMap<u32, u64>,
    sink: &mut Sink,
    progress: Progress<'_>,
) -> Result<(), TransferError> {
    for (done, (&sector, &block)) in blocks.iter().enumerate() {
        stream.skip_to(u64::from(sector) * SECTOR).await?;
        let mut bitmap = [0; SECTOR as usize];
        stream.element(&mut bitmap).await?;
        let data = stream.at;
        for (start, len) in set_runs(&bitmap) {
            stream.skip_to(data + start).await?;
            copy(stream.body, sink, block * BLOCK + start, len).await?;
            stream.at += len;
        }
        stream.skip_to(data + BLOCK).await?;
        progress((done + 1) as f64 / blocks.len() as f64);
    }
    Ok(())
}

/// The runs of set bits, most significant first, as offset and length in bytes.
fn set_runs(bitmap: &[u8; SECTOR as usize]) -> impl Iterator<Item = (u64, u64)> + '_ {
    let sectors = bitmap.len() as u64 * 8;
    let set = |sector: u64| bitmap[(sector / 8) as usize] & (0x80 >> (sector % 8)) != 0;
    let mut next = 0;
    std::iter::from_fn(move || {
        let start = (next..sectors).find(|&sector| set(sector))?;
        next = (start..sectors).find(|&sector| !set(sector)).unwrap_or(sectors);
        Some((start * SECTOR, (next - start) * SECTOR))
    })
}

/// Copies `len` bytes to `offset`, which are within one block; of a stream that ends early, what there is.
async fn copy(
    body: &mut (impl AsyncRead + Unpin),
    sink: &mut Sink,
    offset: u64,
    len: u64,
) -> Result<(), TransferError> {
    let mut buffer = sink.buffer(len as usize).await;
    let mut filled = 0;
    let end = loop {
        if filled == buffer.len() {
            break Ok(());
        }
        match body.read(&mut buffer[filled..]).await {
            Ok(0) => break Err(Error::from(ErrorKind::UnexpectedEof)),
            Ok(n) => filled += n,
            Err(e) => break Err(e),
        }
    };
    buffer.truncate(filled);
    sink.write(offset, buffer).await?;
    Ok(end?)
}

/// A stream that knows how far it has been read.
struct Forward<'a, R> {
    body: &'a mut R,
    at: u64,
}

impl<R: AsyncRead + Unpin> Forward<'_, R> {
    async fn skip_to(&mut self, offset: u64) -> Result<(), TransferError> {
        let Some(gap) = offset.checked_sub(self.at) else {
            return Err(TransferError::Stream("an element lies before one that was read already"));
        };
        let skipped = tokio::io::copy(&mut (&mut *self.body).take(gap), &mut tokio::io::sink()).await?;
        self.at += skipped;
        if skipped < gap { Err(Error::from(ErrorKind::UnexpectedEof).into()) } else { Ok(()) }
    }

    async fn element(&mut self, bytes: &mut [u8]) -> Result<(), TransferError> {
        self.body.read_exact(bytes).await?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}
