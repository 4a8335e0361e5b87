//! Telling a VHD from a raw disk.

use crate::error::{Error, Structure};
use crate::format::{DiskType, FOOTER_LEN, Footer};

/// What a file looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// No footer at either end: a raw disk, as far as VHD is concerned.
    Raw,
    /// A footer is there.
    Vhd(DiskType),
    /// A footer is there, and damaged at both ends or at its only one.
    Damaged(Error),
}

/// Looks at the first and the last bytes of a file of `len` bytes; 512 of each, fewer if the file
/// is shorter.
///
/// The owner of a raw disk's content can make it look like anything: ask only when nobody said
/// what the file is.
pub fn probe(first: &[u8], last: &[u8], len: u64) -> Probe {
    let end = last.last_chunk::<FOOTER_LEN>().map(|last| end_footer(last, len));
    let front = first.first_chunk::<FOOTER_LEN>().map(|b| Footer::parse(b, 0, Structure::FrontFooter));
    match (end, front) {
        (Some(Ok(footer)), _) => Probe::Vhd(footer.disk_type),
        (_, Some(Ok(footer))) if footer.disk_type != DiskType::Fixed => Probe::Vhd(footer.disk_type),
        (Some(Err(error)), _) if !matches!(error, Error::NotVhd { .. }) => Probe::Damaged(error),
        (_, Some(Err(error))) if !matches!(error, Error::NotVhd { .. }) => Probe::Damaged(error),
        _ if Footer::has_cookie(first) && front_is_short(first) => Probe::Damaged(Error::Truncated {
            what: Structure::FrontFooter,
            at: len,
            missing: (FOOTER_LEN - first.len()) as u64,
        }),
        _ => Probe::Raw,
    }
}

fn front_is_short(first: &[u8]) -> bool {
    first.len() < FOOTER_LEN
}

/// The footer in the last 512 bytes, or in the last 511: an old Microsoft writer cut the last one.
pub(crate) fn end_footer(last: &[u8; FOOTER_LEN], len: u64) -> Result<Footer, Error> {
    let at = len.saturating_sub(FOOTER_LEN as u64);
    let short = Footer::has_cookie(&last[1..]) && len % 512 == 511;
    if short {
        let mut whole = [0; FOOTER_LEN];
        whole[..FOOTER_LEN - 1].copy_from_slice(&last[1..]);
        return Footer::parse(&whole, at + 1, Structure::EndFooter);
    }
    Footer::parse(last, at, Structure::EndFooter)
}
