//! Disks in tar archives that can be read at random: the members are layers where they are, nothing is unpacked.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use crate::error::Error;
use crate::image::{Declared, Opening};
use crate::layer::{DiskFile, Layer};
use crate::unpack::levels::{admit, order};
use crate::unpack::problem::{Fault, Problem};
use crate::unpack::tar::{self, Archive, Member};

/// The files of the layers, from the leaf on, if it is an archive of a disk: `0.vhd` and so on as XenServer's images have
/// them, or an OVA with one disk. Any other archive is a raw disk like another, as far as anybody can tell.
pub(crate) fn files(file: &DiskFile) -> Result<Option<Vec<DiskFile>>, Error> {
    let Some(first) = first_member(file)? else { return Ok(None) };
    if !first.name.ends_with(".vhd") && !is_description(&first.name) {
        return Ok(None);
    }
    let path = || file.path().to_owned();
    members(file).map(Some).map_err(|fault| match fault {
        Fault::Problem(source) => Error::Archive { path: path(), source: Box::new(source) },
        Fault::Read(source) => Error::Open { path: path(), source },
        Fault::Other(error) => error,
    })
}

/// The layers in an archive, from the leaf on.
pub(crate) fn layers(file: &DiskFile, opening: &Opening) -> Result<Option<Vec<Layer>>, Error> {
    let Some(files) = files(file)? else { return Ok(None) };
    let open = |file: DiskFile| {
        // The name says it; what a guest wrote does not.
        let vhd = file.path().extension().is_some_and(|extension| extension == "vhd");
        Layer::of(file, if vhd { Declared::Vhd } else { Declared::Raw }, opening)
    };
    files.into_iter().map(open).collect::<Result<_, _>>().map(Some)
}

fn first_member(file: &DiskFile) -> Result<Option<Member>, Error> {
    let mut head = [0; 512];
    if file.len() < head.len() as u64 {
        return Ok(None);
    }
    file.read_at(0, &mut head)?;
    if !tar::recognises(&head) {
        return Ok(None);
    }
    Ok(Archive::at(From { file, at: 0 }, 0).next().ok().flatten())
}

fn members(file: &DiskFile) -> Result<Vec<DiskFile>, Fault> {
    let (mut layers, mut places, mut at) = (Vec::new(), BTreeMap::new(), 0);
    loop {
        let mut archive = Archive::at(From { file, at }, at);
        let Some(member) = archive.next()? else { break };
        let content = content(file, archive.position(), member.size)?;
        at = content.end.next_multiple_of(512);
        if is_description(&member.name) {
            continue;
        }
        if let Some(layer) = admit(&mut layers, &member.name, member.size)? {
            places.insert(layer.level, content);
        }
    }
    if layers.is_empty() {
        return Err(Problem::NoDisk.into());
    }
    order(&mut layers)?;
    Ok(layers.iter().map(|layer| file.part(&layer.name, &places[&layer.level])).collect())
}

fn content(file: &DiskFile, start: u64, size: u64) -> Result<Range<u64>, Problem> {
    match start.checked_add(size).filter(|end| *end <= file.len()) {
        Some(end) => Ok(start..end),
        None => {
            let problem = "it ends in the middle of a member".to_owned();
            Err(Problem::Archive { at: start, problem })
        }
    }
}

/// What an OVA has beside its disk.
fn is_description(name: &str) -> bool {
    [".ovf", ".mf", ".cert"].iter().any(|end| name.ends_with(end))
}

/// The bytes of a file from here on.
struct From<'a> {
    file: &'a DiskFile,
    at: u64,
}

impl io::Read for From<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.file.len().saturating_sub(self.at);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        self.file.read_at(self.at, &mut buffer[..len]).map_err(io::Error::other)?;
        self.at += len as u64;
        Ok(len)
    }
}
