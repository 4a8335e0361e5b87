//! Uploads that go on where they broke.
//!
//! XAPI acknowledges nothing on the way: what it has written is known when the task of a whole transfer has
//! succeeded. So a disk is sent in several transfers, batches, of XAPI's `chunked` framing, which may hold
//! any blocks; a journal beside the image notes which blocks were in one that succeeded, and what they
//! were. After a break, in the connection or of this program, only the others are sent. Before a transfer begins, it is
//! noted of each of its blocks that nobody knows what the target has there: if it breaks off and the block is
//! zeros by the next time, it has to be sent all the same.
//!
//! ```text
//! xenapi-rs upload 1          header: lines of text up to an empty one
//! target 5f0c…                whatever the caller calls the target
//! size 42949672960            of the disk, in bytes
//! source 17-1234-1763712000.5 file, length and time of modification of each layer
//!
//! number, digest, check       records of 24 bytes, little-endian; of a block, the last one holds
//! ```

use std::fmt::Write as _;
use std::fs::File;
use std::hash::Hasher;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use twox_hash::XxHash64;
use vhd::BlockSet;
use vhd::format::BLOCK_SIZE;

use crate::body::DiskBody;
use crate::error::Error;
use crate::image::Image;
use crate::layer::identity;
use crate::pool::PIECE;
use crate::produce::{ChunkedStream, Piece, Produce};
use crate::progress::Progress;
use crate::repair::lock;
use crate::scan::{Zeros, scan_while};
use crate::target::folder;

const MAGIC: &str = "xenapi-rs upload 1\n";
const RECORD: usize = 24;
/// Instead of the digest of a block of which the target may have anything: it was sent by a transfer of which the end is not
/// known, or was accepted and is different now.
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
/// Memory: while it is opened, 8 bytes for each block of the disk (8 MiB for 2 TiB); then only sets of blocks.
#[derive(Debug)]
pub struct UploadJournal {
    log: Arc<Log>,
    image: Image,
    missing: BlockSet,
    accepted: u64,
}

/// The file, to which transfers write as well.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    file: File,
    /// Where the next record is written: bytes of the file.
    end: u64,
    /// The blocks whose last record is [`STALE`].
    stale: BlockSet,
}

/// What a journal says of the blocks of a disk.
struct Known {
    /// By the number of the block, as far as one has a record.
    digests: Vec<u64>,
    blocks: BlockSet,
}

/// What the journal of an upload says that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BegunUpload {
    /// What [`UploadJournal::open`] was given, with its letters beyond printable ASCII as [`str::escape_default`] writes them.
    pub target: String,
    /// Whether it is of a disk of this size in these very files, to which nobody has written since. Of a device, nobody knows
    /// the latter.
    pub same_source: bool,
    /// Whether anything may have arrived.
    pub sent: bool,
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
        // Whoever had it may have put another one in its place while this one was waiting to be locked.
        if identity(&file.metadata().map_err(failed)?) != identity(&path.metadata().map_err(failed)?) {
            return Err(Error::InUse { path: path.to_owned() });
        }
        let mut head = Vec::new();
        (&mut file).take(HEADER as u64).read_to_end(&mut head).map_err(failed)?;
        let header = header_of(image, target)?;
        let wanted = scan_while(image, BLOCK_SIZE, zeros, &Progress::new(), &AtomicBool::new(true))?;
        let Some(known) = header_in(path, &head)? else {
            let stale = BlockSet::new(image.virtual_size(), BLOCK_SIZE);
            let log = Arc::new(Log::begin(path, file, &header, stale)?);
            return Ok(Self { log, image: image.clone(), missing: wanted, accepted: 0 });
        };
        let same = |name: &str| line(&known, name) == line(&header, name);
        if !same("target ") || !same("size ") {
            return Err(refused(path, "it is of an upload of another disk, or to another target"));
        }
        let (known, end) = Known::read(&file, known.len() as u64, image.virtual_size()).map_err(failed)?;
        // Of a device, nobody knows when it was written.
        let changed = !same("source ") || image.layers().iter().any(|layer| layer.disk_file().is_device());
        let (stale, missing) = known.judge(image, &wanted, changed)?;
        let accepted = known.blocks.len() - stale.len();
        let log = if changed {
            // Written anew, because what it says of the source is no longer so.
            Log::rewrite(path, &header, &known, stale)?
        } else {
            Log { path: path.to_owned(), written: Mutex::new(Written { file, end, stale }) }
        };
        Ok(Self { log: Arc::new(log), image: image.clone(), missing, accepted })
    }

    /// What the journal at `path` says, if there is one: to where an upload of `image` goes on, and whether it should.
    /// [`UploadJournal::open`] takes another image of the same size, too, and compares. Blocking.
    ///
    /// # Errors
    /// [`Error::Refused`] for what is no journal; [`Error::Open`], [`Error::Changed`].
    pub fn begun(path: &Path, image: &Image) -> Result<Option<BegunUpload>, Error> {
        let failed = |source| Error::Open { path: path.to_owned(), source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut head = Vec::new();
        (&file).take(HEADER as u64).read_to_end(&mut head).map_err(failed)?;
        let Some(known) = header_in(path, &head)? else { return Ok(None) };
        let header = header_of(image, "")?;
        let same = |name: &str| line(&known, name) == line(&header, name);
        Ok(Some(BegunUpload {
            target: line(&known, "target ").unwrap_or_default().to_owned(),
            same_source: same("size ") && same("source "),
            sent: file.metadata().map_err(failed)?.len() > known.len() as u64,
        }))
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
    /// 1 GiB or more makes that not matter. It needs the journal, and notes there what it is about to send before it gives out its first byte.
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
        // Whoever has given up the journal must not find it locked because a body is still there.
        let first = Some((Arc::downgrade(&self.log), blocks.clone()));
        let produce = Observed { first, stream, sum: XxHash64::with_seed(0), sent: sent.clone() };
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
            let why = "a transfer is said to have succeeded that was not sent to its end";
            return Err(refused(&self.log.path, why));
        }
        self.log.accept(&sent)?;
        self.missing = without(&self.missing, |block| blocks.contains(block));
        self.accepted += blocks.len();
        Ok(())
    }

    /// Removes the journal of an upload that is complete, or given up.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn remove(self) -> Result<(), Error> {
        std::fs::remove_file(&self.log.path).map_err(|source| self.log.failed(source))
    }
}

fn refused(path: &Path, why: &str) -> Error {
    Error::Refused { path: path.to_owned(), why: why.to_owned() }
}

/// The blocks of a set that are not left out.
fn without(set: &BlockSet, left_out: impl Fn(u64) -> bool) -> BlockSet {
    let mut rest = BlockSet::new(set.virtual_size(), set.block_size());
    set.iter().filter(|block| !left_out(*block)).for_each(|block| {
        rest.insert(block);
    });
    rest
}

impl Log {
    fn failed(&self, source: io::Error) -> Error {
        Error::Write { path: self.path.clone(), source }
    }

    fn begin(path: &Path, file: File, header: &str, stale: BlockSet) -> Result<Self, Error> {
        let write = || {
            file.set_len(0)?;
            file.write_all_at(header.as_bytes(), 0)?;
            file.sync_all()
        };
        write().map_err(|source| Error::Write { path: path.to_owned(), source })?;
        let end = header.len() as u64;
        Ok(Self { path: path.to_owned(), written: Mutex::new(Written { file, end, stale }) })
    }

    /// After a change of the source: what still holds, and what was sent and does not hold: if that is
    /// zeros now, nothing but the journal knows that they have to be sent. So the old one is there until the new one is whole.
    fn rewrite(path: &Path, header: &str, known: &Known, stale: BlockSet) -> Result<Self, Error> {
        let failed = |source| Error::Write { path: path.to_owned(), source };
        let fresh = tempfile::Builder::new().prefix(".upload.").tempfile_in(folder(path)).map_err(failed)?;
        lock(fresh.as_file(), path)?;
        let write = |file: &File| {
            let mut writer = BufWriter::new(file);
            writer.write_all(header.as_bytes())?;
            for (block, digest) in known.records() {
                let digest = if stale.contains(block) { STALE } else { digest };
                writer.write_all(&record_of(block, digest))?;
            }
            writer.flush()?;
            drop(writer);
            file.sync_all()
        };
        write(fresh.as_file()).map_err(failed)?;
        let file = fresh.persist(path).map_err(|error| failed(error.error))?;
        let end = header.len() as u64 + known.blocks.len() * RECORD as u64;
        File::open(folder(path)).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(Self { path: path.to_owned(), written: Mutex::new(Written { file, end, stale }) })
    }

    /// Notes that nobody will know what the target has in these blocks. Those of which that is noted already are left out.
    fn doubt(&self, blocks: &BlockSet) -> Result<(), Error> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let new = blocks.iter().filter(|block| !written.stale.contains(*block));
        let bytes: Vec<u8> = new.flat_map(|block| record_of(block, STALE)).collect();
        written.append(&bytes).map_err(|source| self.failed(source))?;
        blocks.iter().for_each(|block| {
            written.stale.insert(block);
        });
        Ok(())
    }

    fn accept(&self, sent: &[(u64, u64)]) -> Result<(), Error> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = sent.iter().flat_map(|(block, digest)| record_of(*block, *digest)).collect();
        written.append(&bytes).map_err(|source| self.failed(source))?;
        let mut accepted = BlockSet::new(written.stale.virtual_size(), BLOCK_SIZE);
        sent.iter().for_each(|(block, _)| {
            accepted.insert(*block);
        });
        written.stale = without(&written.stale, |block| accepted.contains(block));
        Ok(())
    }
}

impl Written {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !bytes.is_empty() {
            self.file.write_all_at(bytes, self.end)?;
            self.file.sync_data()?;
            self.end += bytes.len() as u64;
        }
        Ok(())
    }
}

impl Known {
    /// The records from byte `from` of the journal on, and where they end. What a crash left half-written ends them.
    fn read(file: &File, from: u64, virtual_size: u64) -> io::Result<(Self, u64)> {
        let blocks = BlockSet::new(virtual_size, BLOCK_SIZE);
        let (mut known, mut end) = (Self { digests: Vec::new(), blocks }, from);
        let mut reader = BufReader::new(file);
        reader.seek(SeekFrom::Start(from))?;
        let mut record = [0; RECORD];
        loop {
            match reader.read_exact(&mut record) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
            let [block, digest, check] = words(&record);
            if check != check_of(block, digest) || block >= known.blocks.capacity() {
                break;
            }
            // Counted as blocks are, of which that many fit into memory.
            let at = usize::try_from(block).map_err(io::Error::other)?;
            if known.digests.is_empty() {
                known.digests = vec![0; usize::try_from(known.blocks.capacity()).map_err(io::Error::other)?];
            }
            known.digests[at] = digest;
            known.blocks.insert(block);
            end += RECORD as u64;
        }
        Ok((known, end))
    }

    fn records(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let digest = |block: u64| usize::try_from(block).ok().and_then(|at| self.digests.get(at));
        self.blocks.iter().filter_map(move |block| Some((block, *digest(block)?)))
    }

    /// What was sent and does not hold, and all that is missing, of the blocks that are `wanted` and of those.
    fn judge(&self, image: &Image, wanted: &BlockSet, changed: bool) -> Result<(BlockSet, BlockSet), Error> {
        let mut reader = image.reader();
        let mut buffer = vec![0; PIECE];
        let mut stale = BlockSet::new(image.virtual_size(), BLOCK_SIZE);
        for (block, digest) in self.records() {
            let mut sum = XxHash64::with_seed(0);
            let bytes = wanted.block_bytes(block);
            let mut at = bytes.start;
            while changed && digest != STALE && at < sectors(bytes.end) {
                // At most a piece.
                let len = usize::try_from(sectors(bytes.end) - at).unwrap_or(PIECE).min(PIECE);
                reader.read(at, &mut buffer[..len])?;
                sum.write(&buffer[..len]);
                at += len as u64;
            }
            if digest == STALE || changed && sum.finish() != digest {
                stale.insert(block);
            }
        }
        let mut missing = without(wanted, |block| self.blocks.contains(block));
        stale.iter().for_each(|block| {
            missing.insert(block);
        });
        Ok((stale, missing))
    }
}

/// Notes the digest of each block that is read.
struct Observed {
    /// What is to be noted before the first byte is given out, and where.
    first: Option<(Weak<Log>, BlockSet)>,
    stream: ChunkedStream,
    sum: XxHash64,
    sent: Digests,
}

impl Produce for Observed {
    fn next(&mut self) -> Result<Option<Piece>, Error> {
        if let Some((log, blocks)) = self.first.take() {
            log.upgrade().ok_or(Error::Interrupted)?.doubt(&blocks)?;
        }
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

fn record_of(block: u64, digest: u64) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    let words = [block, digest, check_of(block, digest)].map(u64::to_le_bytes);
    record.copy_from_slice(words.as_flattened());
    record
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

/// The header that a journal begins with; one that did not get to its end was not followed by anything.
fn header_in(path: &Path, head: &[u8]) -> Result<Option<String>, Error> {
    let none = || refused(path, "it is not the journal of an upload");
    if !MAGIC.as_bytes().starts_with(&head[..head.len().min(MAGIC.len())]) {
        return Err(none());
    }
    let Some(end) = head.windows(2).position(|pair| pair == b"\n\n") else { return Ok(None) };
    String::from_utf8(head[..end + 2].to_vec()).map(Some).map_err(|_| none())
}

fn line<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.lines().find_map(|line| line.strip_prefix(name))
}
