//! Inspecting and repairing, with what must hold of any file.

use std::ops::Range;

use uuid::Uuid;

use super::{make_sum, map, map_with, read, read_at};
use crate::error::Error;
use crate::format::{FOOTER_LEN, HEADER_LEN, Timestamp};
use crate::inspect::{Grade, Inspection, Plan, Report};
use crate::limits::Limits;
use crate::map::{DiskMap, EndFooterPolicy};

/// How much of each block is compared.
const SAMPLE: u64 = 1536;

/// Bytes as a VHD of which the first byte says how it is inspected, and which of its structures are given the checksum
/// that belongs to them. What the inspector finds usable can be read; what it does not say is refused by XenServer's
/// readers is read by the strictest reader here; a repair writes into nothing but footers, leaves a readable disk of the
/// same data after each of its writes, and what it was for is not found again.
///
/// # Panics
/// When one of that is not so.
pub fn inspect(bytes: &[u8]) {
    let Some((how, file)) = bytes.split_first() else { return };
    let mut file = file.to_vec();
    seal(&mut file, *how);
    let end_footer = match how >> 4 & 3 {
        0 | 1 => EndFooterPolicy::FrontSuffices,
        2 => EndFooterPolicy::FrontCounts,
        _ => EndFooterPolicy::EndCounts,
    };
    let now = (how >> 6 & 1 == 1).then_some(Timestamp(800_000_000));
    let inspection = Inspection { now, end_footer, bitmaps: how >> 7 == 1, limits: Limits::default() };
    let report = look(&inspection, &file);
    judge(&report, &file);
    let repairs = report.repairs();
    if report.grade() == Some(Grade::Fatal) || repairs.is_empty() {
        return;
    }
    mend(&inspection, &report, &file, &report.plan(&repairs, Uuid::from_u128(7)));
}

/// Makes the checksums right that the bits name, and the footer at the end a copy of the one in front.
fn seal(file: &mut [u8], how: u8) {
    let len = file.len();
    if len < 2 * FOOTER_LEN + HEADER_LEN {
        return;
    }
    if how & 1 == 1 {
        make_sum(&mut file[..FOOTER_LEN], 64);
    }
    if how & 2 == 2 {
        make_sum(&mut file[FOOTER_LEN..FOOTER_LEN + HEADER_LEN], 36);
    }
    if how & 4 == 4 {
        file.copy_within(..FOOTER_LEN, len - FOOTER_LEN);
    }
    if how & 8 == 8 {
        make_sum(&mut file[len - FOOTER_LEN..], 64);
    }
}

fn look(inspection: &Inspection, file: &[u8]) -> Report {
    let Ok(report) = inspection.run(file.len() as u64, |at, buffer| read_at(file, at, buffer));
    report
}

/// What is said of a file is so.
fn judge(report: &Report, file: &[u8]) {
    assert_eq!(report.map.is_none(), report.error.is_some());
    if let Some(error) = &report.error {
        assert_eq!(report.grade(), Some(Grade::Fatal), "{error}");
    }
    assert!(report.findings.is_sorted_by_key(|finding| std::cmp::Reverse(finding.grade)));
    for finding in &report.findings {
        assert!(!finding.what.is_empty());
    }
    let strict = map(file, EndFooterPolicy::Required);
    match &report.map {
        // What XenServer's readers take, the strictest reader here takes for the same disk.
        Some(found) if report.grade() <= Some(Grade::Accepted) => assert_eq!(strict.as_ref(), Ok(found)),
        Some(found) => {
            if let Ok(strict) = &strict {
                assert_eq!(strict.virtual_size(), found.virtual_size());
            }
        }
        // What is no disk is none for the strictest reader either.
        None => assert!(strict.is_err(), "{:?}", report.findings),
    }
}

/// Carries out a plan, write by write.
fn mend(inspection: &Inspection, report: &Report, file: &[u8], plan: &Plan) {
    let before = report.map.as_ref().expect("it is no disk that is fatal");
    let used = used(before, file);
    let data = sample(before, file);
    let mut mended = file.to_vec();
    for (at, bytes) in &plan.writes {
        assert_eq!(bytes.len(), FOOTER_LEN);
        let end = at + bytes.len() as u64;
        for part in &used {
            assert!(end <= part.start || part.end <= *at, "a footer at byte {at} is written over {part:?}");
        }
        let (at, end) = (at_most(*at), at_most(end));
        mended.resize(mended.len().max(end), 0);
        mended[at..end].copy_from_slice(bytes);
        assert!(readable(&mended), "after the footer at byte {at}");
    }
    if let Some(len) = plan.truncate {
        assert!(len < mended.len() as u64);
        assert!(used.iter().all(|part| part.end <= len), "{len} cuts one of {used:?}");
        mended.truncate(at_most(len));
    }
    let after = look(inspection, &mended);
    let map = after.map.as_ref().expect("it was one before");
    assert_eq!(after.repairs(), [], "{:?}, of {:?}", after.findings, report.findings);
    assert_ne!(after.grade(), Some(Grade::Fatal), "{:?}, of {:?}", after.findings, report.findings);
    assert_eq!(sample(map, &mended), data);
    // What a finding says in words; its numbers may have changed.
    let words =
        |what: &str| -> String { what.chars().take_while(|letter| !letter.is_ascii_digit()).collect() };
    for finding in &after.findings {
        let known = report.findings.iter().any(|other| words(&other.what) == words(&finding.what));
        assert!(known || finding.grade == Grade::Accepted, "{finding:?} is new");
    }
}

/// Whether one of two footers at least makes a disk of it. What is behind the last one may be there still.
fn readable(file: &[u8]) -> bool {
    use EndFooterPolicy::{EndCounts, FrontCounts, FrontSuffices};
    let read = |file: &[u8], policy| map_with(file, policy, &Limits::default());
    [FrontSuffices, FrontCounts, EndCounts].into_iter().any(|policy| match read(file, policy) {
        Ok(_) => true,
        Err(Error::TrailingData { at, .. }) => read(&file[..at_most(at)], policy).is_ok(),
        Err(_) => false,
    })
}

/// The parts of a file that are no footer.
fn used(map: &DiskMap, file: &[u8]) -> Vec<Range<u64>> {
    let Some(header) = map.header() else { return std::iter::once(0..map.virtual_size()).collect() };
    let own = map.footer().data_offset;
    let table = header.table_offset;
    let block_size = u64::from(header.block_size);
    let entries = u64::from(header.max_table_entries);
    let mut parts = vec![own..own + HEADER_LEN as u64, table..table + 4 * entries];
    parts.extend(map.blocks(|at, buffer| read_at(file, at, buffer)).map(|block| {
        let block = block.expect("the table does not change");
        block.bitmap_offset..block.data_offset + block_size
    }));
    parts
}

/// Bytes from the beginning and the end of each block that is there.
fn sample(map: &DiskMap, file: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let of = |bytes: Range<u64>| {
        let middle = bytes.end.min(bytes.start + SAMPLE);
        [bytes.start..middle, middle.max(bytes.end.saturating_sub(SAMPLE))..bytes.end]
    };
    let extents: Vec<_> = map.allocated().flat_map(of).collect();
    extents.into_iter().map(|bytes| (bytes.start, read(map, file, bytes))).collect()
}

fn at_most(at: u64) -> usize {
    usize::try_from(at).expect("a place of a file in memory")
}
