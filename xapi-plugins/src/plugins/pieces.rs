//! A disk's content that comes in pieces, each in a call of its own.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::DeserializeOwned;

use super::partition_utils::device;
use super::{Error, Outcome};
use crate::convention::Args;
use crate::disk::Disk;
use crate::dom0::Dom0;
use crate::partition_table::SECTOR;
use crate::pickle::Pickle;

/// What is compared or made zero at once, at most.
const STEP: usize = 1 << 20;

/// A place on a disk, and what belongs there.
type Piece<'a> = (u64, &'a [u8]);

/// `write_disk(dev, pieces, zeros)`: see [`dom0_protocol::WriteDisk`]. All of it is looked at before anything is written.
pub(super) fn write_disk(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let dev = device(args, "dev")?;
    let encoded: Vec<(u64, String)> = list(args, "pieces")?;
    let zeros: Vec<(u64, u64)> = list(args, "zeros")?;
    let decoded =
        encoded.into_iter().map(|(offset, text)| Some((offset, BASE64_STANDARD.decode(text).ok()?)));
    let decoded: Option<Vec<_>> = decoded.collect();
    let decoded = decoded.ok_or_else(|| wrong("pieces", "one of them is not in base64"))?;
    let disk = Disk::open(dom0, &dev)?;
    let places = decoded.iter().map(|(offset, bytes)| (*offset, bytes.len() as u64));
    check(places.chain(zeros.iter().copied()).collect(), disk.sectors()? * SECTOR)?;

    let zero = vec![0; STEP];
    let zeros = zeros.iter().flat_map(|(offset, len)| {
        let (zero, end) = (&zero, offset + len);
        let steps = (*offset..end).step_by(STEP);
        steps.map(move |at| (at, &zero[..(end - at).min(STEP as u64) as usize]))
    });
    let pieces = decoded.iter().map(|(offset, bytes)| (*offset, &bytes[..])).chain(zeros);
    write(&disk, pieces).map(|written| Pickle::Int(i64::try_from(written).unwrap_or(i64::MAX)))
}

/// Writes what differs, and reads it again from the disk. Answers how many bytes were written.
fn write<'a>(disk: &Disk<'_>, pieces: impl Iterator<Item = Piece<'a>>) -> Result<usize, Error> {
    let mut written: Vec<Piece<'_>> = Vec::new();
    for (offset, bytes) in pieces {
        if disk.read(offset, bytes.len() as u64)? != bytes {
            disk.write_at(bytes, offset)?;
            written.push((offset, bytes));
        }
    }
    if written.is_empty() {
        return Ok(0);
    }
    disk.sync()?;
    disk.forget_cached()?;
    for (offset, bytes) in &written {
        if disk.read(*offset, bytes.len() as u64)? != *bytes {
            let text = format!("the disk does not keep what is written to its bytes from {offset} on");
            return Err(Error::Other(text));
        }
    }
    Ok(written.iter().map(|(_, bytes)| bytes.len()).sum())
}

/// Whole sectors of the disk, none of them twice.
fn check(mut places: Vec<(u64, u64)>, disk_len: u64) -> Result<(), Error> {
    places.sort_unstable();
    let mut end = 0;
    for (offset, len) in places {
        if !offset.is_multiple_of(SECTOR) || !len.is_multiple_of(SECTOR) {
            return Err(wrong("pieces", "one of them is not of whole sectors"));
        }
        if offset < end {
            return Err(wrong("pieces", "two of them overlap"));
        }
        end = offset.checked_add(len).filter(|end| *end <= disk_len).ok_or_else(|| {
            wrong("pieces", &format!("{len} bytes from {offset} on are not within the disk's {disk_len}"))
        })?;
    }
    Ok(())
}

fn list<T: DeserializeOwned>(args: &Args, name: &'static str) -> Result<Vec<T>, Error> {
    // An empty list is one of texts as well.
    let Some(text) = args.optional(name) else { return Ok(Vec::new()) };
    serde_json::from_str(text)
        .map_err(|_| wrong(name, "a list of pairs is wanted, each with its offset first"))
}

fn wrong(name: &'static str, reason: &str) -> Error {
    Error::Argument { name, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    const LEN: usize = 4 << 20;

    fn sector(byte: u8) -> String {
        BASE64_STANDARD.encode([byte; 512])
    }

    #[test]
    fn pieces_are_written_where_they_belong() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut expected = vec![7; LEN];
        std::fs::write(file.path(), &expected).unwrap();
        let dom0 = Fake::default().with_file_as_disk("/dev/xvdb", file.path());
        let write = |pieces: &str, zeros: &str| {
            let args = Args::of(&[("dev", "xvdb"), ("pieces", pieces), ("zeros", zeros)]);
            write_disk(&dom0, &args).unwrap()
        };
        let last = LEN - 512;
        let pieces = format!(r#"[[{last},"{}"],[512,"{}"]]"#, sector(2), sector(1));
        let zeros = "[[1024,3000320],[0,512]]";
        assert_eq!(write(&pieces, zeros), Pickle::Int(1024 + 3_000_320 + 512));
        expected[512..1024].fill(1);
        expected[last..].fill(2);
        expected[1024..1024 + 3_000_320].fill(0);
        expected[..512].fill(0);
        assert!(std::fs::read(file.path()).unwrap() == expected);
        assert_eq!(write(&pieces, zeros), Pickle::Int(0), "it is there already");
        assert_eq!(write("[]", "[]"), Pickle::Int(0));
        assert!(std::fs::read(file.path()).unwrap() == expected);
    }

    #[test]
    fn what_is_wrong_is_told_before_anything_is_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![7; LEN]).unwrap();
        let dom0 = Fake::default().with_file_as_disk("/dev/xvdb", file.path());
        let one = sector(1);
        let good = format!(r#"[0,"{one}"]"#);
        for (pieces, zeros) in [
            (String::new(), "[]"),
            ("{}".to_owned(), "[]"),
            (format!(r#"[{good},[512,"!"]]"#), "[]"),
            (format!(r#"[{good},[{LEN},"{one}"]]"#), "[]"),
            (format!(r#"[{good},[100,"{one}"]]"#), "[]"),
            (format!(r#"[{good},[18446744073709551104,"{one}"]]"#), "[]"),
            (format!(r#"[{good},[512,"AAAA"]]"#), "[]"),
            (format!("[{good},{good}]"), "[]"),
            (format!("[{good}]"), "[[0,1024]]"),
            (format!("[{good}]"), "[[512,18446744073709551104]]"),
            (format!("[{good}]"), "[[512,-512]]"),
            (format!("[{good}]"), "[[512]]"),
        ] {
            let args = Args::of(&[("dev", "xvdb"), ("pieces", &pieces), ("zeros", zeros)]);
            let refused = write_disk(&dom0, &args);
            assert!(matches!(refused, Err(Error::Argument { .. })), "{pieces} {zeros}: {refused:?}");
        }
        assert!(std::fs::read(file.path()).unwrap() == [7; LEN]);
        let args = Args::of(&[("dev", "sda"), ("pieces", "[]")]);
        assert!(matches!(write_disk(&dom0, &args), Err(Error::Argument { name: "dev", .. })));
    }
}
