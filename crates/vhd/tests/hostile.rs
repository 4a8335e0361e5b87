//! Malformed and malicious VHDs: each with its verdict, as a file and as a stream.
//!
//! The rows are damages that other readers were seen to crash on, hang on or misread. Checksums are
//! made right again after the damage, unless the checksum is the damage.

mod common;

use common::{MIB, TABLE, disk, end, entry, footers, front, header};
use uuid::Uuid;
use vhd::format::{Creator, DynamicHeader, MAX_VIRTUAL_SIZE, Timestamp};
use vhd::fuzzing::{self, Found};
use vhd::layout::{Dialect, Layout, Parameters};
use vhd::{Decoder, EndFooterPolicy, Error, Limits, Neighbour, Place, ReadError, Structure, Warning, Window};

const SIZE: u64 = 16 * MIB;
const BLOCK: u64 = 2 * MIB + 512;
const FIRST: u64 = 2048;

/// A disk of 16 MiB with blocks 1, 3 and 6.
fn valid() -> Vec<u8> {
    disk([2 * MIB..3 * MIB, 6 * MIB..7 * MIB, 12 * MIB..13 * MIB])
}

/// `None`: accepted, with the data of the undamaged disk (or what is left of it by the new size).
struct Verdict {
    file: Option<Error>,
    stream: Option<Error>,
}

fn both(error: Error) -> Verdict {
    Verdict { file: Some(error.clone()), stream: Some(error) }
}

fn accepted() -> Verdict {
    Verdict { file: None, stream: None }
}

fn split(file: Option<Error>, stream: Option<Error>) -> Verdict {
    Verdict { file, stream }
}

#[track_caller]
fn check(name: &str, damage: impl Fn(&mut Vec<u8>), verdict: Verdict) {
    let Verdict { file: file_verdict, stream: stream_verdict } = verdict;
    let mut file = valid();
    damage(&mut file);
    let map = fuzzing::map(&file, EndFooterPolicy::Required);
    assert_eq!(map.as_ref().err(), file_verdict.as_ref(), "{name}: file");
    if let Ok(map) = map {
        for block in [1_u64, 3, 6] {
            let at = block * 2 * MIB + 4096 * 5;
            if at + 600 < map.virtual_size() {
                let read = fuzzing::read(&map, &file, at..at + 600);
                assert_eq!(read, vec![(at >> 12) as u8 | 1; 600], "{name}: block {block}");
            }
        }
    }
    for cuts in [&[][..], &[1_000, 1, 511]] {
        let (found, summary) = fuzzing::decode(Decoder::new(), &file, cuts);
        assert_eq!(summary.as_ref().err(), stream_verdict.as_ref(), "{name}: stream");
        let late = matches!(
            stream_verdict,
            None | Some(
                Error::MissingEndFooter { .. }
                    | Error::TrailingData { .. }
                    | Error::FooterMismatch { .. }
                    | Error::Truncated { .. }
                    | Error::Checksum { what: Structure::EndFooter, .. }
            )
        );
        let data = found.iter().any(|found| matches!(found, Found::Data(..)));
        assert!(late || !data, "{name}: data were given out before the refusal");
    }
}

#[test]
fn the_valid_disk_is_accepted() {
    check("valid", |_| {}, accepted());
}

#[test]
fn truncation_at_every_boundary() {
    let len = valid().len() as u64;
    assert_eq!(len, FIRST + 3 * BLOCK + 512);
    let cut = |name: &str, at: u64, file: Error, stream: Error| {
        check(name, |f| f.truncate(usize::try_from(at).unwrap()), split(Some(file), Some(stream)));
    };
    let gone = |what, at, end: u64| Error::Truncated { what, at, missing: end - at };
    let front = |at| gone(Structure::FrontFooter, at, 512);
    for at in [0, 1, 511] {
        cut("front footer", at, gone(Structure::EndFooter, at, 512), front(at));
    }
    cut("after front footer", 512, gone(Structure::Header, 512, 1536), gone(Structure::Gap, 512, 1536));
    cut("mid header", 1000, gone(Structure::Header, 1000, 1536), gone(Structure::Header, 1000, 1536));
    cut("after header", 1536, gone(Structure::Table, 1536, 1568), gone(Structure::Table, 1536, 2048));
    cut("mid table", 1540, gone(Structure::Table, 1540, 1568), gone(Structure::Table, 1540, 2048));
    for (at, what) in [
        (FIRST, Structure::Gap),
        (FIRST + 100, Structure::Bitmap),
        (FIRST + 512, Structure::Data),
        (FIRST + 9999, Structure::Data),
        (FIRST + BLOCK, Structure::Gap),
        (FIRST + 2 * BLOCK + 600, Structure::Data),
        (len - 513, Structure::Data),
    ] {
        let what = if at == FIRST || at == FIRST + BLOCK { Structure::Bitmap } else { what };
        let stream = match what {
            // Nothing of the bitmap has come.
            Structure::Bitmap if at != FIRST + 100 => gone(Structure::Gap, at, len),
            what => gone(what, at, len),
        };
        cut("blocks", at, gone(Structure::Data, at, len), stream);
    }
    let missing = Error::MissingEndFooter { at: len - 512 };
    cut("no end footer", len - 512, missing.clone(), missing);
    let half = gone(Structure::EndFooter, len - 256, len);
    cut("half end footer", len - 256, half.clone(), half);
}

#[test]
fn truncation_of_what_is_announced() {
    let file = valid();
    let len = file.len() as u64;
    let end = |cut: usize, what| {
        let (_, summary) = fuzzing::decode(Decoder::with_len(len), &file[..cut], &[]);
        let at = cut as u64;
        assert_eq!(summary, Err(Error::Truncated { what, at, missing: len - at }), "{cut}");
    };
    for (cut, what) in [
        (0, Structure::FrontFooter),
        (1000, Structure::Header),
        (1540, Structure::Table),
        (5000, Structure::Data),
        (file.len() - 512, Structure::EndFooter),
        (file.len() - 1, Structure::EndFooter),
    ] {
        end(cut, what);
    }
    // An announced length that the table contradicts is refused before any data.
    let (found, summary) = fuzzing::decode(Decoder::with_len(len - 1024), &file, &[]);
    assert!(matches!(summary, Err(Error::BlockBounds { block: 6, .. })), "{summary:?}");
    assert!(!found.iter().any(|found| matches!(found, Found::Data(..))));
    let (_, summary) = fuzzing::decode(Decoder::with_len(1024), &file, &[]);
    assert_eq!(summary, Err(Error::Truncated { what: Structure::Header, at: 1024, missing: 512 }));
}

#[test]
fn truncation_of_an_empty_disk() {
    let mut file = valid();
    [1, 3, 6].iter().for_each(|block| entry(&mut file, *block, u32::MAX));
    let footer = file.split_off(file.len() - 512);
    file.truncate(2048);
    file.extend(footer);
    assert!(fuzzing::decode(Decoder::new(), &file, &[]).1.is_ok());
    for (cut, expected) in [
        (1600, Error::Truncated { what: Structure::Table, at: 1600, missing: 960 }),
        (2048, Error::MissingEndFooter { at: 2048 }),
        (2300, Error::Truncated { what: Structure::EndFooter, at: 2300, missing: 260 }),
    ] {
        assert_eq!(fuzzing::decode(Decoder::new(), &file[..cut], &[]).1, Err(expected));
    }
}

#[test]
fn a_511_byte_footer_is_accepted_in_a_file() {
    let len = valid().len() as u64;
    let truncated = Error::Truncated { what: Structure::EndFooter, at: len - 1, missing: 1 };
    check("511", |f| f.truncate(f.len() - 1), split(None, Some(truncated)));
}

#[test]
fn the_front_copy_suffices_when_asked() {
    let mut file = valid();
    file.truncate(file.len() - 512);
    let map = fuzzing::map(&file, EndFooterPolicy::FrontSuffices).unwrap();
    assert_eq!(map.warnings(), [Warning::EndFooterMissing]);
    // blktap's mark of a file in use.
    file.extend_from_slice(&[0xc7; 512]);
    assert_eq!(
        fuzzing::map(&file, EndFooterPolicy::Required),
        Err(Error::MissingEndFooter { at: file.len() as u64 })
    );
    assert!(fuzzing::map(&file, EndFooterPolicy::FrontSuffices).is_ok());
}

#[test]
fn what_stands_around_the_footers() {
    let len = valid().len() as u64;
    let junk = Error::TrailingData { at: len, len: MIB };
    check("junk behind", |f| f.resize(f.len() + (1 << 20), 0x55), both(junk));
    check("odd junk behind", |f| f.extend([1; 100]), both(Error::TrailingData { at: len, len: 100 }));
    let gap = |f: &mut Vec<u8>| {
        let footer = f.split_off(f.len() - 512);
        f.resize(f.len() + 5120, 0);
        f.extend(footer);
    };
    check("gap before", gap, accepted());
    let not_vhd = |found: &[u8; 8]| Error::NotVhd { at: 0, found: *found };
    check("front cookie", |f| f[0] = b'X', split(None, Some(not_vhd(b"Xonectix"))));
    let both_cookies = |f: &mut Vec<u8>| {
        let end = f.len() - 512;
        f[0] = b'X';
        f[end] = b'X';
    };
    check("both cookies", both_cookies, both(not_vhd(b"Xonectix")));
    check("html", |f| *f = b"HTTP/1.1 500 Internal Error".repeat(40), both(not_vhd(b"HTTP/1.1")));
    let poisoned = |at| Some(Error::Poisoned { at });
    check("v_poison", |f| footers(f, 0, b"v_poison"), split(poisoned(len - 512), poisoned(0)));
}

#[test]
fn checksums_of_footers() {
    let stored = u32::from_be_bytes(*valid()[64..].first_chunk().unwrap());
    let wrong = |what, at| Error::Checksum { what, at, stored, computed: stored - 1 };
    let end_at = |f: &[u8]| f.len() - 512;
    let len = valid().len() as u64;
    let front_wrong = wrong(Structure::FrontFooter, 0);
    check("front", |f| f[400] = 1, split(None, Some(front_wrong.clone())));
    let mut file = valid();
    file[400] = 1;
    let map = fuzzing::map(&file, EndFooterPolicy::Required).unwrap();
    assert_eq!(map.warnings(), [Warning::FrontFooterDamaged]);
    let end_wrong = wrong(Structure::EndFooter, len - 512);
    let damage = |f: &mut Vec<u8>| {
        let at = end_at(f);
        f[at + 400] = 1;
    };
    check("end", damage, split(None, Some(end_wrong)));
    let damage = |f: &mut Vec<u8>| {
        let at = end_at(f);
        f[at + 400] = 1;
        f[400] = 1;
    };
    check("both", damage, both(front_wrong));
}

#[test]
fn footers_that_disagree() {
    let mismatch = |field| both(Error::FooterMismatch { field });
    check("size", |f| end(f, 48, &(8 * MIB).to_be_bytes()), mismatch("size"));
    check("uuid", |f| end(f, 68, &[9; 16]), mismatch("uuid"));
    check("type", |f| end(f, 60, &2_u32.to_be_bytes()), mismatch("disk type"));
    check("time", |f| end(f, 24, &[0, 0, 0, 7]), accepted());
    check("hidden in one only", |f| front(f, 85, &[1]), accepted());
}

#[test]
fn footer_fields() {
    for kind in [0_u32, 1, 5, 7, u32::MAX] {
        check("type", |f| footers(f, 60, &kind.to_be_bytes()), both(Error::DiskType { at: 0, found: kind }));
    }
    let len = valid().len() as u64;
    let fixed = Error::FixedSize { virtual_size: SIZE, file_len: len };
    check("fixed", |f| footers(f, 60, &[0, 0, 0, 2]), split(Some(fixed), Some(Error::FrontFooterFixed)));
    check("diff without parent", |f| footers(f, 60, &[0, 0, 0, 4]), both(Error::NoParent));
    let version = Error::Version { what: Structure::FrontFooter, at: 0, found: 0x2_0000 };
    check("version", |f| footers(f, 12, &[0, 2, 0, 0]), both(version));
    for offset in [0_u64, 1, 256, 513, u64::MAX, u64::MAX - 511] {
        let verdict = both(Error::HeaderOffset { offset });
        check("header offset", |f| footers(f, 16, &offset.to_be_bytes()), verdict);
    }
    check("header past the end", |f| footers(f, 16, &(1_u64 << 40).to_be_bytes()), {
        let gap = Error::GapTooLong {
            before: Structure::Header,
            offset: 1 << 40,
            len: (1 << 40) - 512,
            limit: (64 << 20) + 8,
        };
        split(Some(Error::HeaderOffset { offset: 1 << 40 }), Some(gap))
    });
    check("empty", |f| footers(f, 48, &[0; 8]), both(Error::EmptyDisk));
    for size in [1 << 63, u64::MAX, (8 << 50) + 2 * MIB, MAX_VIRTUAL_SIZE + 1] {
        let verdict = both(Error::TooLarge { virtual_size: size, limit: MAX_VIRTUAL_SIZE });
        check("size", |f| footers(f, 48, &size.to_be_bytes()), verdict);
    }
    let small = Error::TableTooSmall { entries: 8, needed: 9 };
    check("larger than the table", |f| footers(f, 48, &(SIZE + 1).to_be_bytes()), both(small));
    check("odd size", |f| footers(f, 48, &(SIZE - 3).to_be_bytes()), accepted());
    check("uneven size", |f| footers(f, 48, &(SIZE - 512).to_be_bytes()), accepted());
    check("original size", |f| footers(f, 40, &(1_u64 << 50).to_be_bytes()), accepted());
    check("geometry", |f| footers(f, 56, &[0; 4]), accepted());
    check("geometry of Virtual PC", |f| footers(f, 28, b"vpc "), accepted());
    for minor in [0, 1] {
        let old = both(Error::OldBlktap { major: 0, minor: minor.into() });
        check(
            "bitmaps in another byte order",
            |f| footers(f, 28, &[b't', b'a', b'p', 0, 0, 0, 0, minor]),
            old,
        );
    }
}

#[test]
fn oddities_are_accepted_with_a_warning() {
    let warns = |damage: &dyn Fn(&mut Vec<u8>), expected: Warning| {
        check(&expected.to_string(), damage, accepted());
        let mut file = valid();
        damage(&mut file);
        let map = fuzzing::map(&file, EndFooterPolicy::Required).unwrap();
        assert_eq!(map.warnings(), [expected]);
    };
    warns(&|f| footers(f, 8, &[0; 4]), Warning::Features(0));
    warns(&|f| footers(f, 85, &[1]), Warning::Hidden(1));
    warns(&|f| footers(f, 85, &[7]), Warning::Hidden(7));
    warns(&|f| footers(f, 84, &[1]), Warning::SavedState);
    warns(&|f| footers(f, 300, &[1]), Warning::StrayBytes(Structure::EndFooter));
    warns(&|f| footers(f, 68, &[0; 16]), Warning::NullUuid);
    warns(&|f| header(f, 8, &[0, 0, 0, 0]), Warning::HeaderLink(0xffff_ffff));
    warns(&|f| header(f, 900, &[1]), Warning::StrayBytes(Structure::Header));
    check("tap 0.2", |f| footers(f, 28, b"tap\0\0\0\0\x02"), accepted());
    check("tap 9.9", |f| footers(f, 28, b"tap\0\0\x09\0\x09"), accepted());
    check("future", |f| footers(f, 24, &[0xff; 4]), accepted());
}

#[test]
fn header_fields() {
    let stored = u32::from_be_bytes(*valid()[512 + 36..].first_chunk().unwrap());
    let checksum = Error::Checksum { what: Structure::Header, at: 512, stored, computed: stored - 1 };
    check("checksum", |f| f[1500] = 1, both(checksum));
    let cookie = Error::HeaderCookie { at: 512, found: *b"cxspursE" };
    check("cookie", |f| f[512..520].copy_from_slice(b"cxspursE"), both(cookie));
    let version = Error::Version { what: Structure::Header, at: 512, found: 2 };
    check("version", |f| header(f, 24, &[0, 0, 0, 2]), both(version));
    for size in [0_u32, 1, 256, 512, 3 << 20, 1 << 31, u32::MAX] {
        check("block size", |f| header(f, 32, &size.to_be_bytes()), both(Error::BlockSize { found: size }));
    }
    for size in [4096_u32, 65536, 1 << 20] {
        let needed = SIZE / u64::from(size);
        let verdict = both(Error::TableTooSmall { entries: 8, needed });
        check("smaller blocks", |f| header(f, 32, &size.to_be_bytes()), verdict);
    }
    let overlap = Error::BlockOverlap { block: 3, offset: FIRST + BLOCK, other: Neighbour::Block(1) };
    check("larger blocks", |f| header(f, 32, &(4_u32 << 20).to_be_bytes()), both(overlap));
    for entries in [0_u32, 7] {
        let verdict = both(Error::TableTooSmall { entries, needed: 8 });
        check("few entries", |f| header(f, 28, &entries.to_be_bytes()), verdict);
    }
    for entries in [0x1000_0000_u32, 0x4000_0000, 0x4000_0001, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let verdict = both(Error::TableTooLarge { entries, limit: 4 << 20 });
        check("entries", |f| header(f, 28, &entries.to_be_bytes()), verdict);
    }
    let overlap =
        Error::BlockOverlap { block: 1, offset: FIRST, other: Neighbour::Structure(Structure::Table) };
    check("table over blocks", |f| header(f, 28, &0x1_0000_u32.to_be_bytes()), both(overlap));
    check("nine entries", |f| header(f, 28, &9_u32.to_be_bytes()), accepted());
}

#[test]
fn places_of_the_table() {
    let wrong = |offset| Error::TableOffset { offset, entries: 8 };
    for offset in [0, 0x200, 0x400, 0x601, u64::MAX - 511, u64::MAX] {
        check("table", |f| header(f, 16, &offset.to_be_bytes()), both(wrong(offset)));
    }
    for offset in [1_u64 << 40, 1 << 63] {
        let gap = Error::GapTooLong {
            before: Structure::Table,
            offset,
            len: offset - 1536,
            limit: (64 << 20) + 24,
        };
        let verdict = split(Some(wrong(offset)), Some(gap));
        check("far table", |f| header(f, 16, &offset.to_be_bytes()), verdict);
    }
    let inside = FIRST + 4096;
    let mut file = valid();
    header(&mut file, 16, &inside.to_be_bytes());
    let map = fuzzing::map(&file, EndFooterPolicy::Required);
    assert!(matches!(map, Err(Error::BlockOverlap { .. } | Error::BlockBounds { .. })), "{map:?}");
    let (found, stream) = fuzzing::decode(Decoder::with_len(file.len() as u64), &file, &[]);
    assert!(matches!(stream, Err(Error::BlockOverlap { .. } | Error::BlockBounds { .. })), "{stream:?}");
    assert!(!found.iter().any(|found| matches!(found, Found::Data(..))));
}

#[test]
fn places_of_the_blocks() {
    let first = u32::try_from(FIRST / 512).unwrap();
    let step = u32::try_from(BLOCK / 512).unwrap();
    let end_at = FIRST + 3 * BLOCK;
    let block = |number, offset, other| both(Error::BlockOverlap { block: number, offset, other });
    let structure = |offset, structure| block(3, offset, Neighbour::Structure(structure));
    check("all the same", |f| (0..8).for_each(|n| entry(f, n, first)), block(1, FIRST, Neighbour::Block(0)));
    check("duplicate", |f| entry(f, 3, first), block(3, FIRST, Neighbour::Block(1)));
    let partial = FIRST + BLOCK - 512;
    check("partial overlap", |f| entry(f, 3, first + step - 1), block(3, partial, Neighbour::Block(1)));
    check("over the footer", |f| entry(f, 3, 0), structure(0, Structure::FrontFooter));
    check("over the header", |f| entry(f, 3, 1), structure(512, Structure::Header));
    check("over the table", |f| entry(f, 3, 3), structure(1536, Structure::Table));
    let descending = |f: &mut Vec<u8>| {
        let block = usize::try_from(BLOCK).unwrap();
        let at = usize::try_from(FIRST).unwrap();
        let (one, six) = (f[at..at + block].to_vec(), f[at + 2 * block..at + 3 * block].to_vec());
        f[at..at + block].copy_from_slice(&six);
        f[at + 2 * block..at + 3 * block].copy_from_slice(&one);
        entry(f, 6, first);
        entry(f, 1, first + 2 * step);
    };
    check("descending", descending, accepted());
    check("padding of the table", |f| f[TABLE + 32..2048].fill(0), accepted());

    // Where a stream of unknown length would have to go on for terabytes, the gap is refused; where
    // the length is known, the place itself.
    for (sector, at) in
        [(0x8000_0000_u32, 1), (0xffff_fffe, 1), (first + 3 * step + 1, 1), (first + 2 * step + 1, 6)]
    {
        let mut file = valid();
        entry(&mut file, at, sector);
        let offset = u64::from(sector) * 512;
        let number = u32::try_from(at).unwrap();
        let expected = Error::BlockBounds { block: number, offset, first: 512, end: end_at };
        assert_eq!(fuzzing::map(&file, EndFooterPolicy::Required), Err(expected.clone()));
        let (found, stream) = fuzzing::decode(Decoder::with_len(file.len() as u64), &file, &[]);
        assert_eq!(stream, Err(expected));
        assert!(!found.iter().any(|found| matches!(found, Found::Data(..))));
        let (_, stream) = fuzzing::decode(Decoder::new(), &file, &[]);
        assert!(
            matches!(
                stream,
                Err(Error::GapTooLong { .. } | Error::Truncated { .. } | Error::MissingEndFooter { .. })
            ),
            "{stream:?}"
        );
    }
}

/// What was checked is what is used: a table that stays in the file may change there.
#[test]
fn a_table_that_changes_after_it_was_checked() {
    let mut file = valid();
    let mut limits = Limits::default();
    limits.runs = 0;
    let map = fuzzing::map_with(&file, EndFooterPolicy::Required, &limits).unwrap();
    let blocks = |file: &[u8]| {
        map.blocks(|at, bytes| fuzzing::read_at(file, at, bytes)).collect::<Result<Vec<_>, _>>()
    };
    let found = blocks(&file).unwrap();
    assert_eq!(found.iter().map(|block| block.block).collect::<Vec<_>>(), [1, 3, 6]);
    let (mut window, at) = (Window::default(), found[0].bytes.start);
    let place = |file: &[u8], window: &mut Window| {
        map.place(at, window, |at, bytes| fuzzing::read_at(file, at, bytes))
    };
    assert_eq!(place(&file, &mut window), Ok(Some(Place::Block(found[0].clone()))));
    // Two blocks would be at one place.
    entry(&mut file, 3, u32::try_from(FIRST / 512).unwrap());
    let changed = Err(ReadError::Format(Error::TableChanged { at: TABLE as u64 }));
    assert_eq!(blocks(&file), changed.clone().map(|_: ()| Vec::new()));
    assert_eq!(place(&file, &mut Window::default()), changed.map(|_: ()| None));
    // What is kept was checked.
    assert_eq!(place(&file, &mut window), Ok(Some(Place::Block(found[0].clone()))));
}

#[test]
fn a_block_before_the_table_is_for_files_only() {
    // Front footer, header far behind, a block between.
    let mut file = valid();
    let table = FIRST + 3 * BLOCK;
    let footer = file.split_off(usize::try_from(table).unwrap());
    file.extend_from_within(TABLE..TABLE + 512);
    file.extend(footer);
    header(&mut file, 16, &table.to_be_bytes());
    let map = fuzzing::map(&file, EndFooterPolicy::Required).unwrap();
    assert_eq!(fuzzing::read(&map, &file, 2 * MIB..2 * MIB + 1), [1]);
    let (found, stream) = fuzzing::decode(Decoder::new(), &file, &[]);
    let position = table + 32;
    assert_eq!(stream, Err(Error::NotForward { what: Structure::Bitmap, offset: FIRST, position }));
    assert!(!found.iter().any(|found| matches!(found, Found::Data(..))));
}

#[test]
fn bitmaps_are_honoured() {
    let mut file = valid();
    let bitmap = usize::try_from(FIRST).unwrap();
    file[bitmap..bitmap + 256].fill(0);
    let (found, summary) = fuzzing::decode(Decoder::new(), &file, &[777]);
    assert!(summary.is_ok());
    let data: Vec<_> = found
        .iter()
        .filter_map(|found| match found {
            Found::Data(at, bytes) => Some((*at, bytes.len() as u64)),
            _ => None,
        })
        .collect();
    assert_eq!(data, [(3 * MIB, MIB), (6 * MIB, 2 * MIB), (12 * MIB, 2 * MIB)]);
    let map = fuzzing::map(&file, EndFooterPolicy::Required).unwrap();
    assert_eq!(fuzzing::read(&map, &file, 3 * MIB - 1..3 * MIB + 1), [0, 1]);
}

#[test]
fn small_and_large_blocks_are_read_right() {
    // Blocks of 4 KiB have bitmaps of one bit a sector, padded to 512 bytes all the same.
    for (block_size, size) in
        [(4096_u32, 40_000_u64), (512 << 10, 1 << 20), (8 << 20, 9 << 20), (256 << 20, 1 << 20)]
    {
        let bitmap = (block_size / 4096).div_ceil(512) * 512;
        let blocks = u32::try_from(size.div_ceil(u64::from(block_size))).unwrap();
        let mut plan = DynamicHeader::new(1536, blocks);
        plan.block_size = block_size;
        let mut footer = vhd::format::Footer::new(
            vhd::format::DiskType::Dynamic,
            size,
            Uuid::from_u128(1),
            Timestamp(1),
            Creator { application: *b"win ", version: 0x000a_0000, os: *b"Wi2k" },
        );
        footer.features = 2;
        let mut file = footer.to_bytes().to_vec();
        file.extend_from_slice(&plan.to_bytes());
        let first = 1536 + (blocks * 4).next_multiple_of(512);
        for block in 0..blocks {
            file.extend_from_slice(&((first + block * (bitmap + block_size)) / 512).to_be_bytes());
        }
        file.resize(first as usize, 0xff);
        for block in 0..blocks {
            file.resize(file.len() + bitmap as usize, 0xff);
            let start = u64::from(block) * u64::from(block_size);
            file.extend((start..start + u64::from(block_size)).map(|at| (at >> 9) as u8 | 1));
        }
        file.extend_from_slice(&footer.to_bytes());
        let map = fuzzing::map(&file, EndFooterPolicy::Required).unwrap();
        let expected: Vec<u8> = (0..size).map(|at| (at >> 9) as u8 | 1).collect();
        let (found, summary) = fuzzing::decode(Decoder::with_len(file.len() as u64), &file, &[65_000]);
        assert_eq!(summary.map(|s| s.blocks), Ok(blocks));
        let mut disk = vec![0; expected.len()];
        for found in found {
            if let Found::Data(at, bytes) = found {
                let at = usize::try_from(at).unwrap();
                disk[at..at + bytes.len()].copy_from_slice(&bytes);
            }
        }
        assert!(disk == expected, "{block_size}");
        let sample = size - 5000..size;
        let start = usize::try_from(sample.start).unwrap();
        assert!(fuzzing::read(&map, &file, sample) == expected[start..], "{block_size}");
    }
}

#[test]
fn a_fixed_disk_is_judged_by_its_end() {
    let parameters = Parameters {
        virtual_size: 3 * MIB,
        uuid: Uuid::from_u128(1),
        timestamp: Timestamp(1),
        dialect: Dialect::XenapiRs,
    };
    let file = fuzzing::render(Layout::fixed(&parameters).unwrap(), |at| at as u8);
    let map = fuzzing::map(&file, EndFooterPolicy::Required).unwrap();
    assert_eq!(map.virtual_size(), 3 * MIB);
    let (_, summary) = fuzzing::decode(Decoder::fixed(file.len() as u64), &file, &[4000]);
    assert_eq!(summary.map(|s| s.stream_len), Ok(file.len() as u64));
    let (data, summary) = fuzzing::fixed(&file, &[4000, 1, 511]);
    assert_eq!(summary.map(|s| s.stream_len), Ok(file.len() as u64));
    assert!(data == file[..file.len() - 512]);
    let not_vhd = fuzzing::fixed(&file[..9000], &[]).1;
    assert!(matches!(not_vhd, Err(Error::NotVhd { at: 8488, .. })), "{not_vhd:?}");
    let (_, cut) = fuzzing::decode(Decoder::fixed(file.len() as u64), &file[..9000], &[]);
    let missing = file.len() as u64 - 9000;
    assert_eq!(cut, Err(Error::Truncated { what: Structure::Data, at: 9000, missing }));
    // A guest that writes the footer of a dynamic disk into its first sector gains nothing.
    let mut forged = file.clone();
    forged[..512].copy_from_slice(&valid()[..512]);
    assert_eq!(
        fuzzing::map(&forged, EndFooterPolicy::Required),
        Err(Error::FooterMismatch { field: "disk type" })
    );
    let mut longer = file.clone();
    longer.splice(0..0, [0; 512]);
    let wrong = Error::FixedSize { virtual_size: 3 * MIB, file_len: 3 * MIB + 1024 };
    assert_eq!(fuzzing::map(&longer, EndFooterPolicy::Required), Err(wrong.clone()));
    assert_eq!(fuzzing::decode(Decoder::fixed(longer.len() as u64), &longer, &[]).1, Err(wrong));
}

#[test]
fn gaps_have_a_limit_in_streams() {
    let mut file = valid();
    let footer = file.split_off(file.len() - 512);
    file.resize(file.len() + (70 << 20), 0);
    file.extend(footer);
    assert!(fuzzing::map(&file, EndFooterPolicy::Required).is_ok());
    let (_, stream) = fuzzing::decode(Decoder::new(), &file, &[1 << 20]);
    assert!(matches!(stream, Err(Error::GapTooLong { before: Structure::EndFooter, .. })), "{stream:?}");
    let (_, stream) = fuzzing::decode(Decoder::with_len(file.len() as u64), &file, &[1 << 20]);
    assert!(matches!(stream, Err(Error::GapTooLong { before: Structure::EndFooter, .. })), "{stream:?}");
}
