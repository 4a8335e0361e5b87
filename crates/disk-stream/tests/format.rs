//! A format that the library does not know, in this one file: what any image can do, it can.

mod common;

use std::path::{Path, PathBuf};

use common::*;
use disk_stream::{
    BlockSource, Consume, DiskFile, Error, Existing, Extent, Format, Image, Memo, Progress, Upload, Verifier,
};
use tempfile::{TempDir, tempdir};
use vhd::format::BLOCK_SIZE;

/// Runs of bytes: `RUNS`, their number, and for each its length and the byte that fills it, or 256 where the run is
/// in the file, behind all that. Lengths are of 64 bits, the others of 32, all in big-endian order.
#[derive(Debug)]
struct Runs(Vec<Run>);

#[derive(Debug)]
struct Run {
    /// Of the disk.
    end: u64,
    len: u64,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Fill(u8),
    /// From this byte of the file on.
    Stored(u64),
}

fn open_runs(path: &Path) -> Result<Image, Error> {
    Image::of_source(path, |file| Ok(Box::new(Runs::read(file)?)))
}

impl Runs {
    fn read(file: &DiskFile) -> Result<Self, Error> {
        let mut head = [0; 8];
        file.read_at(0, &mut head)?;
        let [b'R', b'U', b'N', b'S', number @ ..] = head else {
            return Err(Error::of_source(file, "it does not begin with RUNS"));
        };
        let number = u64::from(u32::from_be_bytes(number));
        // Read one by one: the number may be anything.
        let (mut runs, mut end, mut stored) = (Vec::new(), 0_u64, 8 + number * 12);
        for index in 0..number {
            let mut run = [0; 12];
            file.read_at(8 + index * 12, &mut run)?;
            let len = u64::from_be_bytes(*run.first_chunk().unwrap());
            let what = match u32::from_be_bytes(*run.last_chunk().unwrap()) {
                256 => What::Stored(stored),
                byte => What::Fill(u8::try_from(byte).map_err(|_| Error::of_source(file, "no such byte"))?),
            };
            end = end.checked_add(len).ok_or_else(|| Error::of_source(file, "the runs are too long"))?;
            if let What::Stored(at) = what {
                stored = at.saturating_add(len);
            }
            runs.push(Run { end, len, what });
        }
        if stored > file.len() || end == 0 {
            return Err(Error::of_source(file, "bytes are missing"));
        }
        Ok(Self(runs))
    }

    fn at(&self, at: u64) -> Option<&Run> {
        self.0.get(self.0.partition_point(|run| run.end <= at))
    }
}

impl BlockSource for Runs {
    fn format(&self) -> Format {
        Format::Other("runs")
    }

    fn virtual_size(&self) -> u64 {
        self.0.last().map_or(0, |run| run.end)
    }

    fn extent(&self, _: &DiskFile, at: u64, _: &mut Memo) -> Result<Option<(Extent, u64)>, Error> {
        Ok(self.at(at).map(|run| {
            let extent = match run.what {
                What::Fill(0) => Extent::Zeros,
                What::Fill(_) => Extent::Encoded,
                What::Stored(from) => Extent::At(from + at - (run.end - run.len)),
            };
            (extent, run.end - at)
        }))
    }

    fn decode(&self, file: &DiskFile, at: u64, buffer: &mut [u8], _: &mut Memo) -> Result<(), Error> {
        match self.at(at).map(|run| run.what) {
            Some(What::Fill(byte)) => buffer.fill(byte),
            _ => return Err(Error::of_source(file, "it was asked for what is not filled")),
        }
        Ok(())
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        vec![("runs", self.0.len().to_string())]
    }
}

/// The file of these runs, and the disk.
fn sample_of(runs: &[(u64, u32)]) -> (TempDir, PathBuf, Vec<u8>) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("disk.runs");
    let (mut head, mut stored, mut disk) = (b"RUNS".to_vec(), Vec::new(), Vec::new());
    head.extend(u32::try_from(runs.len()).unwrap().to_be_bytes());
    for (len, byte) in runs {
        head.extend(len.to_be_bytes());
        head.extend(byte.to_be_bytes());
        let bytes: Vec<u8> =
            (0..*len).map(|at| u8::try_from(*byte).unwrap_or_else(|_| content(at))).collect();
        disk.extend(&bytes);
        if *byte == 256 {
            stored.extend(bytes);
        }
    }
    std::fs::write(&path, [head, stored].concat()).unwrap();
    (folder, path, disk)
}

const SAMPLE: [(u64, u32); 6] =
    [(632, 256), (3 << 20, 0), (5000, 7), (1 << 20, 256), (2 << 20, 0xff), ((2 << 20) + 512, 0)];

#[tokio::test]
async fn an_unknown_format_is_read_sent_written_and_compared() {
    let (folder, path, disk) = sample_of(&SAMPLE);
    let image = open_runs(&path).unwrap();
    assert_eq!((image.format().name(), image.virtual_size()), ("runs", disk.len() as u64));
    assert_eq!(image.layers()[0].details(), [("runs", "6".to_owned())]);
    assert!(content_of(&image) == disk);
    let at = |name: &str| folder.path().join(name);
    let exact = || Upload { virtual_size: Some(disk.len() as u64), ..Upload::default() };
    image.save_raw(&at("raw"), Existing::Refuse, &exact()).unwrap();
    assert!(std::fs::read(at("raw")).unwrap() == disk);
    image.save_vhd(&at("vhd"), Existing::Refuse, &exact()).unwrap();
    image.save_qcow2(&at("qcow2"), Existing::Refuse, &exact()).unwrap();
    for name in ["vhd", "qcow2"] {
        assert!(content_of(&open(&at(name)).unwrap()) == disk, "{name}");
    }
    // What is zero is not in them: the block from 6 MiB on is the only one that is none.
    assert_eq!(open(&at("vhd")).unwrap().map().unwrap().allocated_blocks(), 4);
    let (raw, vhd) =
        (collect(image.raw_body(exact()).unwrap()).await, image.vhd_body(exact()).await.unwrap());
    assert!(raw == disk);
    let mut verifier = Verifier::of_vhd(&image);
    verifier.feed(&collect(vhd).await, &Progress::new()).unwrap();
    verifier.finish().unwrap();
    let copy = open(&at("raw")).unwrap();
    assert_eq!(image.differing_blocks(&copy, &Progress::new()).unwrap().len(), 0);
    let other = sample_of(&[(700, 256), (disk.len() as u64 - 700, 0)]);
    let differing = image.differing_blocks(&open_runs(&other.1).unwrap(), &Progress::new()).unwrap();
    assert!(differing.len() > 1 && differing.block_size() == BLOCK_SIZE);
    // No VHD can have it as its parent.
    let refused = copy.save_difference(&image, &at("child.vhd"), Existing::Refuse, &Upload::default());
    assert!(matches!(refused, Err(Error::Layout { .. })), "{refused:?}");
}

#[test]
fn what_its_reader_finds_wrong_is_told_with_the_file() {
    let (_folder, path, _) = sample_of(&SAMPLE);
    let good = std::fs::read(&path).unwrap();
    let long = [b"RUNS", &u32::MAX.to_be_bytes()[..], &good[8..]].concat();
    for (bytes, what) in [
        (&good[..good.len() - 1], "bytes are missing"),
        (b"no disk at all", "does not begin with RUNS"),
        (&long, "no such byte"),
        (b"RUNS\0\0\0\x09", "behind its end"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = open_runs(&path).unwrap_err();
        let said = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(said.contains("disk.runs") && said.contains(what), "{said}");
    }
}

/// A reader that says nonsense is no reason to read forever or elsewhere.
#[derive(Debug)]
struct Liar(Extent, u64);

impl BlockSource for Liar {
    fn format(&self) -> Format {
        Format::Other("a lie")
    }

    fn virtual_size(&self) -> u64 {
        MIB
    }

    fn extent(&self, _: &DiskFile, _: u64, _: &mut Memo) -> Result<Option<(Extent, u64)>, Error> {
        Ok(Some((self.0, self.1)))
    }
}

#[test]
fn a_reader_that_lies() {
    let (folder, path, _) = sample_of(&[(9, 256)]);
    for (extent, len) in [
        (Extent::Zeros, 0),
        (Extent::At(0), MIB),
        (Extent::At(u64::MAX), 100),
        (Extent::At(u64::MAX - 5), u64::MAX),
        (Extent::Encoded, 5),
    ] {
        let image = Image::of_source(&path, |_| Ok(Box::new(Liar(extent, len)))).unwrap();
        let result = image.save_raw(&folder.path().join("raw"), Existing::Refuse, &Upload::default());
        assert!(matches!(result, Err(Error::Read { .. } | Error::Source { .. })), "{extent:?}: {result:?}");
    }
    assert_eq!(names(folder.path()), ["disk.runs"]);
}
