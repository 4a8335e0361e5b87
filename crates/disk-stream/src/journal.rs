//! Uploads that go on where they broke.
//!
//! XAPI acknowledges nothing on the way: what it has written is known when the task of a whole transfer has
//! succeeded. So a disk is sent in several transfers, batches, of XAPI's `chunked` framing, which may hold
//! any blocks; a journal beside the image notes which blocks were in one that succeeded, and what they
//! were. After a break, in the connection or of this program, only the others are sent.
//!
//! ```text
//! xenapi-rs upload 1          header: lines of text up to an empty one
//! target 5f0c…                whatever the caller calls the target
//! size 42949672960            of the disk, in bytes
//! source 17-1234-1763712000.5 file, length and time of modification of each layer
//!
//! number, digest, check       one record of 24 bytes for each accepted block, little-endian
//! ```

use std::fmt::Write as _;
use std::fs::File;
use std::hash::Hasher;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use twox_hash::XxHash64;
use vhd::BlockSet;
use vhd::format::BLOCK_SIZE;

use crate::body::DiskBody;
use crate::error::Error;
use crate::image::Image;
use crate::pool::PIECE;
use crate::produce::{ChunkedStream, Piece, Produce};
use crate::progress::Progress;
use crate::repair::lock;
use crate::scan::{Zeros, scan_while};

const MAGIC: &str = "xenapi-rs upload 1\n";
const RECORD: usize = 24;
/// Instead of the digest of a block that was accepted and has to be sent again.
const STALE: u64 = u64::MAX;
/// A header is shorter.
const HEADER: usize = 64 << 10;

/// Which blocks of 2 MiB of a disk were accepted by a target, kept in a file.
///
/// The target must read as zeros where nothing was written, as a new VDI does, and nobody else may write to
/// it. The image may change between two runs: blocks that were accepted and are different now are sent again
/// (all of them are read for that, if a file has another length or time of modification than before).
///
/// Digests are XXH64: they find what changed by accident, and are no proof against malice. When all is
/// accepted, a [`Verifier`](crate::Verifier) of an export compares every byte.
///
/// Memory: 8 bytes for each accepted block (8 MiB for 2 TiB).
#[derive(Debug)]
pub struct UploadJournal {
    path: PathBuf,
    file: File,
    /// Where the next record is written: bytes of the file.
    end: u64,
    image: Image,
    missing: BlockSet,
    accepted: u64,
}

/// What [`UploadJournal::accept`] wants when the transfer of a batch has succeeded.
#[derive(Debug)]
pub struct Receipt {
    blocks: BlockSet,
    sent: Digests,
}

/// Numbers and digests of the blocks that were read for a batch.
type Digests = Arc<Mutex<Vec<(u64, u64)>>>;

impl UploadJournal {
    /// Begins the journal at `path`, or goes on with the one that is there. Blocking: looks the disk through
    /// for what there is to send.
    ///
    /// `target` names where the disk goes, for example the VDI's uuid; it must not change, or what was
    /// accepted by one would be missing in another.
    ///
    /// # Errors
    /// [`Error::Refused`] for a journal of another target or another size, or no journal;
    /// [`Error::InUse`] while another upload has it; [`Error::Open`], [`Error::Read`], [`Error::Write`],
    /// [`Error::Changed`].
    pub fn open(path: &Path, image: &Image, target: &str, zeros: Zeros) -> Result<Self, Error> {
        let failed = |source| Error::Open { path: path.to_owned(), source };
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        lock(&file, path)?;
        let mut head = Vec::new();
        (&mut file).take(HEADER as u64).read_to_end(&mut head).map_err(failed)?;
        let header = header_of(image, target)?;
        let wanted = scan_while(image, BLOCK_SIZE, zeros, &Progress::new(), &AtomicBool::new(true))?;
        let mut journal =
            Self { path: path.to_owned(), file, end: 0, image: image.clone(), missing: wanted, accepted: 0 };
        // A header that did not get to its end was not followed by anything.
        let Some(len) = head.windows(2).position(|pair| pair == b"\n\n").map(|at| at + 2) else {
            if !MAGIC.as_bytes().starts_with(&head[..head.len().min(MAGIC.len())]) {
                return Err(journal.refused("it is not the journal of an upload"));
            }
            return journal.begin(&header);
        };
        let known = String::from_utf8_lossy(&head[..len]).into_owned();
        if !known.starts_with(MAGIC) {
            return Err(journal.refused("it is not the journal of an upload"));
        }
        let same = |name: &str| line(&known, name) == line(&header, name);
        if !same("target ") || !same("size ") {
            return Err(journal.refused("it is of an upload of another disk, or to another target"));
        }
        let accepted = journal.records(len as u64)?;
        let changed = !same("source ");
        journal.judge(&accepted, changed)?;
        if changed {
            // Written anew, because what it says of the source is no longer so.
            journal.begin(&header)?.rewrite(&accepted)
        } else {
            Ok(journal)
        }
    }

    fn refused(&self, why: &str) -> Error {
        Error::Refused { path: self.path.clone(), why: why.to_owned() }
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Write { path: self.path.clone(), source }
    }

    fn begin(mut self, header: &str) -> Result<Self, Error> {
        self.file.set_len(0).map_err(|source| self.failed(source))?;
        self.file.write_all_at(header.as_bytes(), 0).map_err(|source| self.failed(source))?;
        self.file.sync_all().map_err(|source| self.failed(source))?;
        self.end = header.len() as u64;
        Ok(self)
    }

    /// After a change of the source: what still holds, and what was accepted and does not hold: if that is
    /// zeros now, nothing but the journal knows that they have to be sent.
    fn rewrite(mut self, accepted: &[(u64, u64)]) -> Result<Self, Error> {
        let stale = |block| if self.missing.contains(block) { Some(STALE) } else { None };
        let records: Vec<(u64, u64)> =
            accepted.iter().map(|(block, digest)| (*block, stale(*block).unwrap_or(*digest))).collect();
        self.append(&records)?;
        Ok(self)
    }

    /// The accepted blocks and their digests. What a crash left half-written ends them.
    fn records(&mut self, from: u64) -> Result<Vec<(u64, u64)>, Error> {
        let mut records = Vec::new();
        let mut reader = io::BufReader::new(&self.file);
        io::Seek::seek(&mut reader, io::SeekFrom::Start(from)).map_err(|source| self.failed(source))?;
        self.end = from;
        let mut record = [0; RECORD];
        while reader.read_exact(&mut record).is_ok() {
            let [block, digest, check] = words(&record);
            if check != check_of(block, digest) || block >= self.missing.capacity() {
                break;
            }
            records.push((block, digest));
            self.end += RECORD as u64;
        }
        Ok(records)
    }

    /// Takes from what is missing what was accepted and is still the same.
    fn judge(&mut self, accepted: &[(u64, u64)], changed: bool) -> Result<(), Error> {
        let mut reader = self.image.reader();
        let mut buffer = vec![0; PIECE];
        // The last record of a block is the one that holds.
        let mut latest: std::collections::BTreeMap<u64, u64> = std::collections::BTreeMap::new();
        latest.extend(accepted.iter().copied());
        let mut missing = BlockSet::new(self.image.virtual_size(), BLOCK_SIZE);
        for (block, digest) in &latest {
            let mut sum = XxHash64::with_seed(0);
            let bytes = self.missing.block_bytes(*block);
            let mut at = bytes.start;
            while changed && at < sectors(bytes.end) {
                // At most a piece.
                let len = usize::try_from(sectors(bytes.end) - at).unwrap_or(PIECE).min(PIECE);
                reader.read(at, &mut buffer[..len])?;
                sum.write(&buffer[..len]);
                at += len as u64;
            }
            if *digest == STALE || changed && sum.finish() != *digest {
                missing.insert(*block);
            } else {
                self.accepted += 1;
            }
        }
        for block in self.missing.iter().filter(|block| !latest.contains_key(block)) {
            missing.insert(block);
        }
        self.missing = missing;
        Ok(())
    }

    /// The blocks that are still to be sent.
    pub fn missing(&self) -> &BlockSet {
        &self.missing
    }

    /// How many blocks were accepted and hold.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// The next missing blocks in XAPI's `chunked` framing, at most `bytes` of them, but at least one block;
    /// `None` when all were accepted.
    ///
    /// Each batch is a transfer of its own, which XAPI begins with attaching the disk: some seconds. One of
    /// 1 GiB or more makes that not matter.
    pub fn batch(&self, bytes: u64, progress: Progress) -> Option<(DiskBody, Receipt)> {
        let most = usize::try_from(bytes / u64::from(BLOCK_SIZE)).unwrap_or(usize::MAX).max(1);
        let mut blocks = BlockSet::new(self.image.virtual_size(), BLOCK_SIZE);
        self.missing.iter().take(most).for_each(|block| {
            blocks.insert(block);
        });
        if blocks.is_empty() {
            return None;
        }
        let sent = Digests::default();
        let len = ChunkedStream::stream_len(&blocks);
        let stream = ChunkedStream::new(self.image.reader(), blocks.clone());
        let produce = Observed { stream, sum: XxHash64::with_seed(0), sent: sent.clone() };
        let body = DiskBody::new(Box::new(produce), len, self.image.virtual_size(), progress);
        Some((body, Receipt { blocks, sent }))
    }

    /// Notes that the transfer of a batch has succeeded; before it returns, that is on the disk. Blocking,
    /// for as long as the file system takes for that.
    ///
    /// # Errors
    /// [`Error::Refused`] when not all of the batch was read: then it cannot have been accepted;
    /// [`Error::Write`].
    pub fn accept(&mut self, receipt: Receipt) -> Result<(), Error> {
        let Receipt { blocks, sent } = receipt;
        let sent = std::mem::take(&mut *sent.lock().unwrap_or_else(PoisonError::into_inner));
        if sent.len() as u64 != blocks.len() {
            return Err(self.refused("a transfer is said to have succeeded that was not sent to its end"));
        }
        self.append(&sent)?;
        let mut missing = BlockSet::new(self.image.virtual_size(), BLOCK_SIZE);
        self.missing.iter().filter(|block| !blocks.contains(*block)).for_each(|block| {
            missing.insert(block);
        });
        self.accepted += blocks.len();
        self.missing = missing;
        Ok(())
    }

    fn append(&mut self, records: &[(u64, u64)]) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(records.len() * RECORD);
        for (block, digest) in records {
            for word in [*block, *digest, check_of(*block, *digest)] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
        }
        self.file.write_all_at(&bytes, self.end).map_err(|source| self.failed(source))?;
        self.file.sync_data().map_err(|source| self.failed(source))?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Removes the journal of an upload that is complete, or given up.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn remove(self) -> Result<(), Error> {
        std::fs::remove_file(&self.path).map_err(|source| self.failed(source))
    }
}

/// Notes the digest of each block that is read.
struct Observed {
    stream: ChunkedStream,
    sum: XxHash64,
    sent: Digests,
}

impl Produce for Observed {
    fn next(&mut self) -> Result<Option<Piece>, Error> {
        let piece = self.stream.next()?;
        if let Some(piece) = piece.as_ref().filter(|piece| piece.data) {
            self.sum.write(&piece.bytes);
            let size = u64::from(BLOCK_SIZE);
            // The framing ends a chunk with each block.
            if piece.virtual_end.is_multiple_of(size) || piece.virtual_end >= self.stream.virtual_size() {
                let block = (piece.virtual_end - 1) / size;
                let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
                sent.push((block, self.sum.finish()));
                self.sum = XxHash64::with_seed(0);
            }
        }
        Ok(piece)
    }

    fn data_len(&self) -> u64 {
        self.stream.data_len()
    }
}

/// What is sent of a disk that has no whole number of sectors is padded.
fn sectors(bytes: u64) -> u64 {
    bytes.next_multiple_of(512)
}

fn words(record: &[u8; RECORD]) -> [u64; 3] {
    let (words, _) = record.as_chunks::<8>();
    std::array::from_fn(|at| u64::from_le_bytes(words[at]))
}

fn check_of(block: u64, digest: u64) -> u64 {
    let mut sum = XxHash64::with_seed(block);
    sum.write_u64(digest);
    sum.finish()
}

fn header_of(image: &Image, target: &str) -> Result<String, Error> {
    let mut header =
        format!("{MAGIC}target {}\nsize {}\nsource", target.escape_default(), image.virtual_size());
    for layer in image.layers() {
        let (device, inode, _) = layer.identity();
        let (seconds, nanos) = layer.disk_file().modified();
        // Writing to a string does not fail.
        let _ = write!(header, " {device}-{inode}-{}-{seconds}.{nanos}", layer.file_len());
    }
    header.push_str("\n\n");
    image.check_unchanged()?;
    Ok(header)
}

fn line<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.lines().find_map(|line| line.strip_prefix(name))
}
