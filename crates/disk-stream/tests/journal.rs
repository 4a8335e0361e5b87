//! Uploads in batches, and what their journal remembers.

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::{MIB, collect, content_of, open, raw_disk};
use disk_stream::{Error, Image, Progress, UploadJournal, Zeros};

/// What a host makes of a stream in the chunked framing. Whole or not at all is not what it does: it writes
/// what has come.
fn write_chunks(target: &File, mut stream: &[u8]) {
    while let Some((header, rest)) = stream.split_at_checked(12) {
        let offset = u64::from_le_bytes(header[..8].try_into().unwrap());
        let len = u32::from_le_bytes(header[8..].try_into().unwrap()) as usize;
        if len == 0 {
            return;
        }
        let data = &rest[..len.min(rest.len())];
        target.write_all_at(data, offset).unwrap();
        stream = &rest[data.len()..];
    }
}

const SIZE: u64 = 40 * MIB + 700;

fn disk(folder: &Path) -> Image {
    let path = folder.join("disk.raw");
    raw_disk(&path, SIZE, &[(0, 5 * MIB), (17 * MIB, 100), (30 * MIB, 4 * MIB), (SIZE - 100, 100)]);
    open(&path).unwrap()
}

fn journal(folder: &Path, image: &Image) -> UploadJournal {
    UploadJournal::open(&folder.join("journal"), image, "vdi-1", Zeros::Detect).unwrap()
}

#[tokio::test]
async fn only_what_is_missing_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let image = disk(folder.path());
    let target =
        File::options().read(true).write(true).create_new(true).open(folder.path().join("target")).unwrap();
    target.set_len(SIZE.next_multiple_of(512)).unwrap();
    let mut sent = Vec::new();
    let mut broken = 0;
    loop {
        // Each round is a program of its own.
        let mut journal = journal(folder.path(), &image);
        let Some((body, receipt)) = journal.batch(4 * MIB, Progress::new()) else { break };
        let stream = collect(body).await;
        sent.push(journal.missing().len());
        // Every second transfer breaks, somewhere.
        if sent.len() % 2 == 1 {
            broken += 1;
            write_chunks(&target, &stream[..stream.len() * broken / 7]);
            continue;
        }
        write_chunks(&target, &stream);
        journal.accept(receipt).unwrap();
    }
    assert_eq!(sent, [7, 7, 5, 5, 3, 3, 1, 1], "two blocks each, nothing twice that was accepted");
    let mut content = vec![0; usize::try_from(SIZE).unwrap()];
    target.read_exact_at(&mut content, 0).unwrap();
    assert!(content == content_of(&image));
    let journal = journal(folder.path(), &image);
    assert_eq!((journal.accepted(), journal.missing().len()), (7, 0));
    journal.remove().unwrap();
    assert!(!folder.path().join("journal").exists());
}

#[tokio::test]
async fn a_source_that_changed_is_sent_where_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let image = disk(folder.path());
    let mut first = journal(folder.path(), &image);
    let (body, receipt) = first.batch(u64::MAX, Progress::new()).unwrap();
    collect(body).await;
    first.accept(receipt).unwrap();
    drop(first);
    // One block is different now, one became zeros.
    let file = File::options().write(true).open(image.path()).unwrap();
    file.write_all_at(b"other", 31 * MIB).unwrap();
    file.write_all_at(&[0; 100], 17 * MIB).unwrap();
    file.set_times(std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH)).unwrap();
    let image = open(image.path()).unwrap();
    for _ in 0..2 {
        let journal = journal(folder.path(), &image);
        assert_eq!(journal.missing().iter().collect::<Vec<_>>(), [8, 15]);
        assert_eq!(journal.accepted(), 5);
    }
}

#[tokio::test]
async fn what_a_crash_leaves_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let image = disk(folder.path());
    let path = folder.path().join("journal");
    let mut whole = journal(folder.path(), &image);
    let (body, receipt) = whole.batch(u64::MAX, Progress::new()).unwrap();
    collect(body).await;
    whole.accept(receipt).unwrap();
    drop(whole);
    let bytes = std::fs::read(&path).unwrap();
    // Of each block, that it is being sent, and then what it was.
    let (header, accepted) = (bytes.len() - 14 * 24, bytes.len() - 7 * 24);
    for len in 0..=bytes.len() {
        std::fs::write(&path, &bytes[..len]).unwrap();
        let records = len.saturating_sub(accepted) as u64 / 24;
        let cut = journal(folder.path(), &image);
        assert_eq!((cut.accepted(), cut.missing().len()), (records, 7 - records), "cut to {len}");
    }
    assert_eq!(len_of(&bytes), header);
    // Rubbish behind what was written, as after a loss of power.
    let mut torn = bytes[..accepted + 48].to_vec();
    torn.extend_from_slice(&[0xff; 100]);
    std::fs::write(&path, torn).unwrap();
    assert_eq!(journal(folder.path(), &image).accepted(), 2);
}

/// What was accepted and is zero by now, only the journal knows: it is never without its records, wherever a kill comes.
#[tokio::test]
async fn a_journal_is_written_anew_beside_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let (image, path) = (disk(folder.path()), folder.path().join("journal"));
    let mut first = journal(folder.path(), &image);
    let (body, receipt) = first.batch(u64::MAX, Progress::new()).unwrap();
    collect(body).await;
    first.accept(receipt).unwrap();
    drop(first);
    let before = std::fs::read(&path).unwrap();
    std::fs::hard_link(&path, folder.path().join("old")).unwrap();
    // A block becomes zeros.
    let file = File::options().write(true).open(folder.path().join("disk.raw")).unwrap();
    file.write_all_at(&[0; 100], 17 * MIB).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    drop(file);
    let image = open(&folder.path().join("disk.raw")).unwrap();
    for _ in 0..2 {
        let again = journal(folder.path(), &image);
        assert_eq!(again.missing().iter().collect::<Vec<_>>(), [8]);
    }
    assert_eq!(
        std::fs::read(folder.path().join("old")).unwrap(),
        before,
        "nothing was written into the old one"
    );
    let after = std::fs::read(&path).unwrap();
    assert_eq!(after.len(), len_of(&after) + 7 * 24, "one record of each block");
    // What is locked is the one that has the name.
    let again = journal(folder.path(), &image);
    let twice = UploadJournal::open(&path, &image, "vdi-1", Zeros::Detect).unwrap_err();
    assert!(matches!(twice, Error::InUse { .. }), "{twice:?}");
    drop(again);
}

/// Of the header.
fn len_of(journal: &[u8]) -> usize {
    journal.windows(2).position(|pair| pair == b"\n\n").unwrap() + 2
}

#[tokio::test]
async fn journals_of_others_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let image = disk(folder.path());
    let path = folder.path().join("journal");
    let mut first = journal(folder.path(), &image);
    let open_as =
        |image: &Image, target| UploadJournal::open(&path, image, target, Zeros::Detect).unwrap_err();
    assert!(matches!(open_as(&image, "vdi-1"), Error::InUse { .. }));
    // A receipt for what was not sent is none.
    let (body, receipt) = first.batch(u64::MAX, Progress::new()).unwrap();
    drop(body);
    assert!(matches!(first.accept(receipt), Err(Error::Refused { .. })));
    drop(first);
    assert!(matches!(open_as(&image, "vdi-2"), Error::Refused { .. }));
    assert!(matches!(open_as(&image, "vdi-1\nsize 1"), Error::Refused { .. }));
    let other = folder.path().join("other.raw");
    raw_disk(&other, MIB, &[(0, 5)]);
    assert!(matches!(open_as(&open(&other).unwrap(), "vdi-1"), Error::Refused { .. }));
    let letter = b"Dear reader, this is no journal, but something that somebody wants to keep.";
    std::fs::write(&path, letter).unwrap();
    assert!(matches!(open_as(&image, "vdi-1"), Error::Refused { .. }));
    assert_eq!(std::fs::read(&path).unwrap(), letter);
}

/// Whoever goes on with an upload hears where it went and whether the source is still that, before anything is made or sent.
#[tokio::test]
async fn what_was_begun_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let image = disk(folder.path());
    let path = folder.path().join("journal");
    let begun = |image: &Image| UploadJournal::begun(&path, image).unwrap();
    assert_eq!(begun(&image), None);
    let mut first = journal(folder.path(), &image);
    let told = begun(&image).unwrap();
    assert_eq!((&*told.target, told.same_source, told.sent), ("vdi-1", true, false));
    let (body, receipt) = first.batch(4 * MIB, Progress::new()).unwrap();
    collect(body).await;
    assert!(begun(&image).unwrap().sent, "and nobody knows how much of it");
    first.accept(receipt).unwrap();
    assert!(begun(&image).unwrap().sent && begun(&image).unwrap().same_source);
    let other = folder.path().join("other.raw");
    raw_disk(&other, SIZE, &[(0, 5)]);
    assert!(!begun(&open(&other).unwrap()).unwrap().same_source);
    let file = File::options().write(true).open(image.path()).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    assert!(!begun(&open(image.path()).unwrap()).unwrap().same_source);
    drop(first);
    let whole = std::fs::read(&path).unwrap();
    for len in 0..len_of(&whole) {
        std::fs::write(&path, &whole[..len]).unwrap();
        assert_eq!(begun(&open(image.path()).unwrap()), None, "cut to {len}");
    }
    for text in ["a letter", "xenapi-rs upload 2\n\n"] {
        std::fs::write(&path, text).unwrap();
        let error = UploadJournal::begun(&path, &open(image.path()).unwrap()).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    }
}

/// A transfer that breaks off has written some of its blocks, whoever knows which: one that is zeros by the next time would stay
/// on the target as it was.
#[tokio::test]
async fn what_a_broken_transfer_may_have_written_is_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let image = disk(folder.path());
    let path = folder.path().join("journal");
    let first = journal(folder.path(), &image);
    let (unread, _) = first.batch(u64::MAX, Progress::new()).unwrap();
    drop(unread);
    let begun = std::fs::read(&path).unwrap().len();
    let (body, _) = first.batch(u64::MAX, Progress::new()).unwrap();
    collect(body).await;
    let (body, _) = first.batch(u64::MAX, Progress::new()).unwrap();
    collect(body).await;
    drop(first);
    assert_eq!(
        std::fs::read(&path).unwrap().len(),
        begun + 7 * 24,
        "noted once, when the first byte is taken"
    );
    let file = File::options().write(true).open(image.path()).unwrap();
    file.write_all_at(&[0; 100], 17 * MIB).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let image = open(image.path()).unwrap();
    for _ in 0..2 {
        let again = journal(folder.path(), &image);
        assert_eq!((again.accepted(), again.missing().len()), (0, 7));
        assert!(again.missing().contains(8), "zeros now, and to be sent");
    }
    let mut again = journal(folder.path(), &image);
    let (body, receipt) = again.batch(u64::MAX, Progress::new()).unwrap();
    collect(body).await;
    again.accept(receipt).unwrap();
    drop(again);
    assert_eq!(journal(folder.path(), &image).missing().len(), 0);
}
