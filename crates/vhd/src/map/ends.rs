//! The footers of a file or device: which one counts, and where the last one is.

use std::ops::Range;

use super::{DiskMap, EndFooterPolicy, ReadError, Warning};
use crate::error::{Error, Structure};
use crate::format::{DiskType, FOOTER_LEN, Footer, SECTOR};
use crate::limits::{Limits, Surplus};
use crate::parse::check_fixed;
use crate::probe::end_footer;
use crate::zero;

/// Bytes that are looked through at a time.
const PIECE: u64 = 256 << 10;

type Ends = (Footer, Option<u64>);

/// The footer to trust, and where the end footer starts if there is one.
///
/// Of a fixed disk, the end footer may have zeros behind it, as where the file was copied onto a larger device. It is
/// found there by them: it is what the file ends with but for zeros, and stands where its disk ends.
pub(super) fn find<E>(
    len: u64,
    policy: EndFooterPolicy,
    limits: &Limits,
    read: &mut impl FnMut(u64, &mut [u8]) -> Result<(), ReadError<E>>,
    warnings: &mut Vec<Warning>,
) -> Result<Ends, ReadError<E>> {
    let Some(end_at) = len.checked_sub(FOOTER_LEN as u64) else {
        let missing = FOOTER_LEN as u64 - len;
        return Err(Error::Truncated { what: Structure::EndFooter, at: len, missing }.into());
    };
    let (mut front, mut last) = ([0; FOOTER_LEN], [0; FOOTER_LEN]);
    read(end_at, &mut last)?;
    read(0, &mut front)?;
    let error = match choose(&front, &last, len, policy, warnings) {
        Ok(ends) => return Ok(ends),
        Err(error) => error,
    };
    if matches!(error, Error::NotVhd { .. }) && last.ends_with(&[0]) && !Footer::has_cookie(&front) {
        let floor = if limits.surplus == Surplus::Anything { 0 } else { len.saturating_sub(limits.padding) };
        if let Some((footer, at)) = before_zeros(floor..len, read)? {
            warnings.push(Warning::Trailing(len - at - FOOTER_LEN as u64));
            return Ok((footer, Some(at)));
        }
    }
    Err(error.into())
}

/// The footer of a fixed disk that is the last of these bytes of a file but for zeros, and where it starts.
fn before_zeros<E>(
    within: Range<u64>,
    read: &mut impl FnMut(u64, &mut [u8]) -> Result<(), ReadError<E>>,
) -> Result<Option<(Footer, u64)>, ReadError<E>> {
    let (mut end, mut buffer) = (within.end, Vec::new());
    let last = loop {
        if end == within.start {
            return Ok(None);
        }
        let start = end.saturating_sub(PIECE).max(within.start);
        // At most a piece.
        buffer.resize(usize::try_from(end - start).unwrap_or_default(), 0);
        read(start, &mut buffer)?;
        if !zero::is_zero(&buffer)
            && let Some(at) = buffer.iter().rposition(|byte| *byte != 0)
        {
            break start + at as u64;
        }
        end = start;
    };
    // A footer has zeros of its own at its end: it may start at any of the bytes before, and not later.
    let first = last.saturating_sub(FOOTER_LEN as u64 - 1);
    let window = (last + FOOTER_LEN as u64).min(within.end) - first;
    buffer.resize(usize::try_from(window).unwrap_or_default(), 0);
    read(first, &mut buffer)?;
    for (at, bytes) in (first..=last).zip(buffer.windows(FOOTER_LEN)) {
        let Some(bytes) = bytes.first_chunk().filter(|bytes| Footer::has_cookie(*bytes)) else { continue };
        let footer = Footer::parse(bytes, at, Structure::EndFooter)?;
        if footer.disk_type == DiskType::Fixed {
            return Ok(Some((footer, at)));
        }
    }
    Ok(None)
}

/// Checks the footer of a fixed disk that starts at byte `at`, and what lies between it and the disk.
pub(super) fn fixed<E>(
    footer: &Footer,
    at: u64,
    limits: &Limits,
    read: &mut impl FnMut(u64, &mut [u8]) -> Result<(), ReadError<E>>,
    warnings: &mut Vec<Warning>,
) -> Result<(), ReadError<E>> {
    let checked = check_fixed(footer, at + FOOTER_LEN as u64, limits);
    let gap = footer.current_size..at;
    // Behind zeros, only a footer at the end of its disk is one: any other may be a part of the disk.
    let padded = warnings.iter().any(|warning| matches!(warning, Warning::Trailing(_)));
    if matches!(checked, Err(Error::FixedSize { .. })) && !gap.is_empty() && !padded {
        warnings.push(Warning::Gap(gap.end - gap.start));
        if unused(gap, limits, read)? {
            return Ok(());
        }
    }
    Ok(checked?)
}

/// Whether these bytes may be there and belong to nothing.
fn unused<E>(
    bytes: Range<u64>,
    limits: &Limits,
    read: &mut impl FnMut(u64, &mut [u8]) -> Result<(), ReadError<E>>,
) -> Result<bool, ReadError<E>> {
    if limits.surplus == Surplus::Anything {
        return Ok(true);
    }
    if bytes.end - bytes.start > limits.padding {
        return Ok(false);
    }
    let (mut at, mut buffer) = (bytes.start, Vec::new());
    while at < bytes.end {
        buffer.resize(usize::try_from(PIECE.min(bytes.end - at)).unwrap_or_default(), 0);
        read(at, &mut buffer)?;
        if !zero::is_zero(&buffer) {
            return Ok(false);
        }
        at += buffer.len() as u64;
    }
    Ok(true)
}

fn choose(
    front: &[u8; FOOTER_LEN],
    last: &[u8; FOOTER_LEN],
    len: u64,
    policy: EndFooterPolicy,
    warnings: &mut Vec<Warning>,
) -> Result<Ends, Error> {
    let end_at = len - FOOTER_LEN as u64;
    let front_has_cookie = Footer::has_cookie(front);
    let front = Footer::parse(front, 0, Structure::FrontFooter);
    let short = !Footer::has_cookie(last) && Footer::has_cookie(&last[1..]) && len % 512 == 511;
    let end = end_footer(last, len);
    if short && end.is_ok() {
        warnings.push(Warning::ShortEndFooter);
    }
    let placed = |footer| Ok((footer, Some(end_at + u64::from(short))));
    match (end, front) {
        (Err(Error::Poisoned { at }), _) => Err(Error::Poisoned { at }),
        // The first sector of a fixed disk belongs to whoever writes the disk.
        (Ok(end), Err(_)) if end.disk_type == DiskType::Fixed && policy != EndFooterPolicy::FrontCounts => {
            placed(end)
        }
        (_, Err(Error::Poisoned { at })) => Err(Error::Poisoned { at }),
        (Err(error), _) if policy == EndFooterPolicy::EndCounts => Err(error),
        (_, Err(error)) if policy == EndFooterPolicy::FrontCounts => Err(error),
        // One sector alone is the copy at the start of a disk that was cut behind it.
        (Ok(only), Ok(_)) if end_at == 0 && only.disk_type != DiskType::Fixed => Ok((only, None)),
        (Ok(end), Ok(front)) => placed(of_both(front, end, policy, warnings)?),
        (Ok(end), Err(_)) => {
            warnings.push(Warning::FrontFooterDamaged);
            placed(end)
        }
        (Err(_), Ok(front)) if front.disk_type == DiskType::Fixed => Err(Error::FrontFooterFixed),
        (Err(Error::NotVhd { .. }), Ok(front)) => Ok((front, None)),
        (Err(_), Ok(front)) => {
            warnings.push(Warning::EndFooterDamaged);
            Ok((front, Some(end_at)))
        }
        (Err(_), Err(front)) if front_has_cookie => Err(front),
        (Err(end), Err(front)) => Err(if matches!(end, Error::NotVhd { .. }) { front } else { end }),
    }
}

/// Of two sound footers, the one that counts.
fn of_both(
    front: Footer,
    end: Footer,
    policy: EndFooterPolicy,
    warnings: &mut Vec<Warning>,
) -> Result<Footer, Error> {
    // A footer of another type at the start of a fixed disk is either damage or an attempt to be misread.
    let guests = end.disk_type == DiskType::Fixed && front.disk_type == DiskType::Fixed;
    let Some(field) = front.difference(&end).filter(|_| !guests) else { return Ok(end) };
    let chosen = match policy {
        EndFooterPolicy::Required | EndFooterPolicy::FrontSuffices => {
            return Err(Error::FooterMismatch { field });
        }
        EndFooterPolicy::FrontCounts if front.disk_type == DiskType::Fixed => {
            return Err(Error::FrontFooterFixed);
        }
        EndFooterPolicy::FrontCounts => front,
        EndFooterPolicy::EndCounts => end,
    };
    warnings.push(Warning::FootersDisagree(field));
    Ok(chosen)
}

/// Says why a dynamic disk has no footer in its last sector, or that it needs none: how many bytes follow one, if that
/// is why.
pub(super) fn missing<E>(
    blocks_end: u64,
    len: u64,
    footer: &Footer,
    (policy, limits): (EndFooterPolicy, &Limits),
    read: &mut impl FnMut(u64, &mut [u8]) -> Result<(), ReadError<E>>,
) -> Result<Option<u64>, ReadError<E>> {
    let whole = blocks_end + FOOTER_LEN as u64;
    if blocks_end > len {
        return Err(Error::Truncated { what: Structure::Data, at: len, missing: whole - len }.into());
    }
    let mut sector = [0; FOOTER_LEN];
    // Less than a sector is left when the footer itself is cut.
    let left = usize::try_from(len - blocks_end).unwrap_or(usize::MAX).min(FOOTER_LEN);
    read(blocks_end, &mut sector[..left])?;
    if left > 0 && left < FOOTER_LEN && footer.to_bytes()[..left.min(8)] == sector[..left.min(8)] {
        return Err(Error::Truncated { what: Structure::EndFooter, at: len, missing: whole - len }.into());
    }
    if Footer::parse(&sector, blocks_end, Structure::EndFooter)
        .is_ok_and(|end| end.difference(footer).is_none())
    {
        let extra = len - whole;
        if unused(whole..len, limits, read)? {
            return Ok(Some(extra));
        }
        return Err(Error::TrailingData { at: whole, len: extra }.into());
    }
    match policy {
        EndFooterPolicy::Required | EndFooterPolicy::EndCounts => {
            Err(Error::MissingEndFooter { at: len }.into())
        }
        EndFooterPolicy::FrontSuffices | EndFooterPolicy::FrontCounts => Ok(None),
    }
}

/// Where blktap's map of full blocks ends, which stands behind the table, if it is there.
pub(super) fn batmap<E>(
    footer: &Footer,
    table_end: u64,
    len: u64,
    read: &mut impl FnMut(u64, &mut [u8]) -> Result<(), ReadError<E>>,
) -> Result<u64, ReadError<E>> {
    let head_end = table_end + FOOTER_LEN as u64;
    if footer.creator.application != *b"tap\0" || head_end > len {
        return Ok(0);
    }
    let mut head = [0; FOOTER_LEN];
    read(table_end, &mut head)?;
    let end = DiskMap::batmap_range(&head).map(|range| range.end.max(head_end).next_multiple_of(SECTOR));
    Ok(end.filter(|end| *end <= len).unwrap_or_default())
}
