//! What a VHD may cost that lies about itself: memory and reading are bounded by [`Limits`], never by what
//! it claims. Alone in its binary: the peak is the process's.

use std::cell::Cell;
use std::convert::Infallible;

use uuid::Uuid;
use vhd::format::{FOOTER_LEN, Timestamp};
use vhd::layout::{Dialect, Layout, Parameters};
use vhd::{Decoder, DiskMap, EndFooterPolicy, Limits, fuzzing};

const MIB: u64 = 1 << 20;

/// Fields of the footer (at 0) and the header (at 512): what is at which byte, in how many bytes.
const FIELDS: [(&str, usize, usize); 14] = [
    ("features", 8, 4),
    ("version", 12, 4),
    ("header offset", 16, 8),
    ("original size", 40, 8),
    ("size", 48, 8),
    ("geometry", 56, 4),
    ("type", 60, 4),
    ("link", 520, 8),
    ("table offset", 528, 8),
    ("header version", 536, 4),
    ("entries", 540, 4),
    ("block size", 544, 4),
    ("locator's space and length", 512 + 580, 8),
    ("locator's offset", 512 + 592, 8),
];

const VALUES: [u64; 16] = [
    0,
    1,
    511,
    512,
    513,
    4096,
    1 << 20,
    1 << 21,
    1 << 22,
    1 << 28,
    1 << 30,
    1 << 31,
    u32::MAX as u64,
    1 << 40,
    1 << 63,
    u64::MAX,
];

fn valid() -> Vec<u8> {
    let parameters = Parameters {
        virtual_size: 16 * MIB,
        uuid: Uuid::from_u128(7),
        timestamp: Timestamp(1),
        dialect: Dialect::XenapiRs,
    };
    let extents = [2 * MIB..3 * MIB, 6 * MIB..7 * MIB];
    fuzzing::render(Layout::dynamic_from_extents(&parameters, extents).unwrap(), |_| 1)
}

fn put(file: &mut [u8], at: usize, width: usize, value: u64) {
    file[at..at + width].copy_from_slice(&value.to_be_bytes()[8 - width..]);
}

/// Bytes read, and the longest piece, of a file of `len` bytes that begins with `head`, ends with its first
/// sector, and is `fill` between.
fn cost(head: &[u8], len: u64, fill: u8) -> (u64, u64) {
    let (all, longest) = (Cell::new(0), Cell::new(0));
    let read = |offset: u64, buffer: &mut [u8]| {
        assert!(offset + buffer.len() as u64 <= len, "read behind the end");
        all.set(all.get() + buffer.len() as u64);
        longest.set(longest.get().max(buffer.len() as u64));
        buffer.fill(fill);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        if let Some(known) = head.get(start..) {
            let known = &known[..known.len().min(buffer.len())];
            buffer[..known.len()].copy_from_slice(known);
        }
        if offset == len - FOOTER_LEN as u64 {
            buffer.copy_from_slice(&head[..FOOTER_LEN]);
        }
        Ok::<_, Infallible>(())
    };
    // What comes of it is in the tables of `hostile.rs`.
    let _verdict = DiskMap::read(len, EndFooterPolicy::FrontSuffices, &Limits::default(), read);
    (all.get(), longest.get())
}

fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Any field, and any two of them, with any extreme.
#[test]
fn no_claim_costs_more_than_the_limits_allow() {
    let good = valid();
    // The largest table that is read, and what stands around it.
    let most = u64::from(Limits::default().table_entries) * 4 + 16 * 1024;
    let (mut accepted, mut refused) = (0, 0);
    let mut check = |name: &str, mut file: Vec<u8>| {
        fuzzing::make_sum(&mut file[..512], 64);
        fuzzing::make_sum(&mut file[512..1536], 36);
        let end = file.len() - FOOTER_LEN;
        file.copy_within(..FOOTER_LEN, end);
        for (len, fill) in [(file.len() as u64, 0), (2 << 40, 0), (2 << 40, 0xff)] {
            let (all, longest) = cost(&file[..4096], len, fill);
            // Again where it is in disorder, and once more where a block cannot be where it is said to be.
            assert!(longest <= most && all <= 3 * most, "{name}: {all} bytes were read, {longest} at once");
        }
        match fuzzing::decode(Decoder::new(), &file, &[70_000]).1 {
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
    };
    check("nothing", good.clone());
    for (i, (name, at, width)) in FIELDS.iter().enumerate() {
        for value in VALUES {
            let mut file = good.clone();
            put(&mut file, *at, *width, value);
            check(name, file.clone());
            // Another lie beside it: a table that is large enough for a large disk, for example.
            let (other, at, width) = FIELDS[(i + 6) % FIELDS.len()];
            for value in [0, 1 << 22, 1 << 40, u64::MAX] {
                put(&mut file, at, width, value);
                check(&format!("{name} and {other}"), file.clone());
            }
        }
    }
    assert!(accepted > 50 && refused > 500, "{accepted} accepted, {refused} refused");
    // A table, its runs, and the disk itself a few times.
    let peak = peak();
    assert!(peak < 96, "{peak} MiB");
}
