//! From packed bytes to the sectors of one disk. Blocking, and without I/O of its own but for the reader.

use std::io::Read;

use vhd::chain::{self, ChainError, ChainWarning, Link, ParentLink, Rules};
use vhd::format::{DiskType, DynamicHeader, FOOTER_LEN, Footer};
use vhd::{Decoder, Event, Structure};

use crate::image::{Declared, Format};
use crate::source;
use crate::unpack::assembly::Assembly;
use crate::unpack::inflate::{Ahead, Compression, inflate};
use crate::unpack::levels::{self, Layer};
use crate::unpack::problem::{Fault, Problem};
use crate::unpack::tar::{self, Archive, fill};
use crate::unpack::{Found, Packing, Unpack, Unpacked};

/// Bytes handled at a time, whole sectors.
const PIECE: usize = 256 << 10;
const SECTOR: usize = vhd::format::SECTOR as usize;

/// Makes the assembly when it is known what for.
pub(crate) type Begin<'a> = &'a mut dyn FnMut(Found) -> Result<Assembly, Fault>;

/// Reads everything, whatever it is.
pub(crate) fn decode(from: impl Read, options: &Unpack, begin: Begin<'_>) -> Result<Unpacked, Fault> {
    let from = Ahead::new(from)?;
    if from.head().is_empty() {
        return Err(Problem::Empty.into());
    }
    let compression = Compression::of(from.head()).filter(|_| options.packing != Packing::Bare);
    let Some(how) = compression else { return unarchive(from, None, options, begin) };
    let compressed = |fault| match fault {
        Fault::Read(source) => Problem::Compressed { format: how.name(), source }.into(),
        fault => fault,
    };
    let plain = inflate(from, how).and_then(|plain| {
        Ahead::new(plain).map_err(|source| Problem::Compressed { format: how.name(), source })
    })?;
    if plain.head().is_empty() {
        return Err(Problem::Empty.into());
    }
    if Compression::of(plain.head()).is_some() && options.declared != Declared::Raw {
        return Err(Problem::CompressedTwice.into());
    }
    unarchive(plain, compression, options, begin).map_err(compressed)
}

fn unarchive<R: Read>(
    from: Ahead<R>,
    compression: Option<Compression>,
    options: &Unpack,
    begin: Begin<'_>,
) -> Result<Unpacked, Fault> {
    let archive = options.packing != Packing::Bare && tar::recognises(from.head());
    if options.packing == Packing::Archive && !archive {
        let found = if compression.is_some() { "compressed, and no archive" } else { "no archive" };
        return Err(Problem::NotAsDeclared { declared: "a tar archive", found }.into());
    }
    let len = options.len.filter(|_| compression.is_none());
    let mut work =
        Work { options, begin, found: None, assembly: None, layers: Vec::new(), compression, archive };
    if archive {
        let archive = Archive::new(from);
        work.members(if compression.is_some() { archive.whole() } else { archive })?;
    } else {
        work.disk("it", 0, from, len)?;
    }
    work.finish()
}

struct Work<'a> {
    options: &'a Unpack,
    begin: Begin<'a>,
    found: Option<Found>,
    assembly: Option<Assembly>,
    layers: Vec<Layer>,
    compression: Option<Compression>,
    archive: bool,
}

impl Work<'_> {
    fn members<R: Read>(&mut self, mut archive: Archive<R>) -> Result<(), Fault> {
        while let Some(member) = archive.next()? {
            let Some(layer) = levels::admit(&mut self.layers, &member.name, member.size)? else { continue };
            let (name, level) = (layer.name.clone(), layer.level);
            if self.options.declared == Declared::Raw && name.ends_with(".vhd") {
                return Err(Problem::NotAsDeclared { declared: "raw", found: "a VHD" }.into());
            }
            let content = Ahead::new(&mut archive)?;
            self.disk(&name, level, content, Some(member.size))?;
            let left = archive.left();
            if left > 0 {
                let problem = format!("{left} bytes of member {name:?} are missing or too many");
                return Err(Problem::Archive { at: archive.position(), problem }.into());
            }
        }
        if self.layers.is_empty() {
            return Err(Problem::NoDisk.into());
        }
        self.check_chain()
    }

    /// A disk that is one stream, of `len` bytes where that is known.
    fn disk<R: Read>(
        &mut self,
        name: &str,
        level: u32,
        from: Ahead<R>,
        len: Option<u64>,
    ) -> Result<(), Fault> {
        let footer = match self.options.declared {
            Declared::Raw => Tail::Data,
            Declared::Qcow2 => return self.qcow2(level, from),
            Declared::Unknown if !self.archive && qcow2::Header::is_qcow2(from.head()) => {
                return self.qcow2(level, from);
            }
            _ if Footer::has_cookie(from.head()) => {
                return self.blocks(name, level, from, len.map_or_else(Decoder::new, Decoder::with_len));
            }
            Declared::Vhd => Tail::Footer,
            _ if name.ends_with(".vhd") => Tail::Footer,
            _ => Tail::Either,
        };
        if let Some(format) = foreign(from.head()).filter(|_| footer != Tail::Data) {
            return Err(Problem::NotStreamable { format }.into());
        }
        self.flat(name, level, from, len, footer)
    }

    /// Starts the assembly with the first disk.
    fn begin(&mut self, format: Format, virtual_size: Option<u64>) -> Result<&mut Assembly, Fault> {
        if self.assembly.is_none() {
            let leaf = self.layers.first().is_none_or(|layer| layer.level == 0);
            let (compression, archive) = (self.compression, self.archive);
            let found = Found { compression, archive, format, virtual_size, leaf };
            self.found = Some(found);
            self.assembly = Some((self.begin)(found)?);
        }
        Ok(self.assembly.as_mut().expect("it is made"))
    }

    /// A dynamic or differencing VHD.
    fn blocks<R: Read>(
        &mut self,
        name: &str,
        level: u32,
        mut from: Ahead<R>,
        mut decoder: Decoder,
    ) -> Result<(), Fault> {
        let failed = |source| Problem::Vhd { name: name.to_owned(), source };
        let mut buffer = vec![0; PIECE];
        loop {
            // Full buffers, so that data always come in whole sectors.
            let len = fill(&mut from, &mut buffer)?;
            if len == 0 {
                break;
            }
            let mut input = &buffer[..len];
            while let Some(event) = decoder.feed(&mut input).map_err(failed)? {
                match (event, self.assembly.as_mut()) {
                    (Event::Table { .. }, _) => self.layer(level, &decoder)?,
                    (Event::Block { bytes, .. }, Some(assembly)) => {
                        let block_size = decoder.header().map_or(0, |header| header.block_size);
                        assembly.block(name, bytes, block_size, decoder.bitmap())?;
                    }
                    (Event::Data { virtual_offset, bytes }, Some(assembly)) => {
                        assembly.data(virtual_offset, bytes)?;
                    }
                    _ => {}
                }
            }
        }
        let summary = decoder.finish().map_err(failed)?;
        if let Some(layer) = self.layers.last_mut() {
            layer.link = Some(link(&summary.footer, summary.header.as_deref()));
        }
        Ok(())
    }

    fn layer(&mut self, level: u32, decoder: &Decoder) -> Result<(), Fault> {
        let footer = decoder.footer().expect("it comes before the table");
        // What is below a change is in the target already: nothing comes behind it.
        let differencing = footer.disk_type == DiskType::Differencing && !self.options.change;
        if differencing && !self.archive {
            let uuid = link(footer, decoder.header()).parent.and_then(|parent| parent.uuid);
            return Err(Problem::Chain(ChainError::ParentMissing { layer: 0, uuid }).into());
        }
        let assembly = self.begin(Format::Vhd(footer.disk_type), Some(footer.current_size))?;
        Ok(assembly.layer(level, differencing, footer.current_size)?)
    }

    /// A qcow2 image, if its tables precede its data.
    fn qcow2<R: Read>(&mut self, level: u32, mut from: Ahead<R>) -> Result<(), Fault> {
        let failed = |source| match source {
            qcow2::Error::NotStreamable(_) => Problem::NotStreamable { format: "a qcow2 image" },
            qcow2::Error::NotQcow2 => Problem::NotAsDeclared { declared: "a qcow2 image", found: "none" },
            source => Problem::Qcow2(source),
        };
        if self.archive {
            return Err(Problem::NotStreamable { format: "a qcow2 image in an archive" }.into());
        }
        let (mut decoder, mut buffer) = (qcow2::Decoder::default(), vec![0; PIECE]);
        loop {
            // Full buffers, so that data always come in whole sectors.
            let len = fill(&mut from, &mut buffer)?;
            if len == 0 {
                break;
            }
            let mut input = &buffer[..len];
            while let Some(event) = decoder.feed(&mut input).map_err(failed)? {
                match (event, self.assembly.as_mut()) {
                    (qcow2::Event::Header(header), _) => {
                        let assembly = self.begin(Format::Qcow2, Some(header.virtual_size))?;
                        assembly.layer(level, false, header.virtual_size)?;
                    }
                    (qcow2::Event::Tables { .. }, Some(assembly)) => assembly.pieces(decoder.allocation())?,
                    (qcow2::Event::Data { virtual_offset, bytes }, Some(assembly)) => {
                        assembly.data(virtual_offset, bytes)?;
                    }
                    _ => {}
                }
            }
        }
        decoder.finish().map_err(failed)?;
        Ok(())
    }

    /// A raw disk, or a fixed VHD, which is one with a footer behind it.
    fn flat<R: Read>(
        &mut self,
        name: &str,
        level: u32,
        mut from: Ahead<R>,
        len: Option<u64>,
        tail: Tail,
    ) -> Result<(), Fault> {
        if self.layers.len() > 1 {
            let problem = "which is no dynamic VHD; such a layer must come first";
            return Err(Problem::Member { name: name.to_owned(), problem }.into());
        }
        let (format, behind) = match tail {
            Tail::Footer => (Format::Vhd(DiskType::Fixed), FOOTER_LEN as u64),
            Tail::Either | Tail::Data => (Format::Raw, 0),
        };
        let assembly = self.begin(format, len.map(|len| len.saturating_sub(behind)))?;
        assembly.layer(level, false, 0)?;
        // The last piece is held until it is known to be the last, and takes what follows it if that is less than a
        // footer, which may begin anywhere: a disk need not have a whole number of sectors.
        let (mut piece, mut next, mut at) = (vec![0; PIECE + SECTOR], vec![0; PIECE + SECTOR], 0);
        let mut held = fill(&mut from, &mut piece[..PIECE])?;
        let mut footer = None;
        while held > 0 {
            let mut more = fill(&mut from, &mut next[..PIECE])?;
            if more < FOOTER_LEN {
                piece[held..held + more].copy_from_slice(&next[..more]);
                held += std::mem::take(&mut more);
            }
            if more == 0 && tail != Tail::Data {
                footer = end_footer(&piece[..held], at);
                held -= if footer.is_some() { FOOTER_LEN } else { 0 };
            }
            let whole = held.next_multiple_of(SECTOR);
            piece[held..whole].fill(0);
            let assembly = self.assembly.as_mut().expect("it was begun");
            assembly.raw(at, &piece[..whole])?;
            at += held as u64;
            std::mem::swap(&mut piece, &mut next);
            held = more;
        }
        match footer {
            None if tail == Tail::Footer && self.options.declared == Declared::Vhd => {
                Err(Problem::NotAsDeclared { declared: "a VHD", found: "none" }.into())
            }
            None if tail == Tail::Footer => {
                let source = vhd::Error::MissingEndFooter { at };
                Err(Problem::Vhd { name: name.to_owned(), source }.into())
            }
            None => Ok(()),
            Some(footer) => {
                if let Some(layer) = self.layers.last_mut() {
                    layer.link = Some(link(&footer, None));
                }
                Ok(())
            }
        }
    }

    /// Whether the layers belong together, now that all are there.
    fn check_chain(&mut self) -> Result<(), Fault> {
        levels::order(&mut self.layers)?;
        let links: Vec<Link> = self.layers.iter().filter_map(|layer| layer.link.clone()).collect();
        let warnings = chain::check(&links, &Rules::default()).map_err(Problem::Chain)?;
        let smaller = warnings.into_iter().find_map(|warning| match warning {
            ChainWarning::ChildSmaller { layer, size, parent } => {
                Some(Problem::ChildSmaller { name: self.layers[layer].name.clone(), size, parent })
            }
            _ => None,
        });
        smaller.map_or(Ok(()), |problem| Err(problem.into()))
    }

    fn finish(self) -> Result<Unpacked, Fault> {
        let (Some(found), Some(assembly)) = (self.found, self.assembly) else {
            return Err(Problem::NoDisk.into());
        };
        assembly.finish()?;
        Ok(Unpacked { found, layers: self.layers.len().max(1) })
    }
}

/// What the last 512 bytes of a disk that begins with data can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    Data,
    Footer,
    Either,
}

/// The footer of a fixed VHD whose data end before it.
fn end_footer(piece: &[u8], at: u64) -> Option<Footer> {
    let bytes = piece.last_chunk::<FOOTER_LEN>()?;
    let data = at + (piece.len() - FOOTER_LEN) as u64;
    let footer = Footer::parse(bytes, data, Structure::EndFooter).ok()?;
    (footer.disk_type == DiskType::Fixed && footer.current_size == data).then_some(footer)
}

fn link(footer: &Footer, header: Option<&DynamicHeader>) -> Link {
    let differencing = footer.disk_type == DiskType::Differencing;
    Link {
        uuid: Some(footer.uuid),
        parent: header.filter(|_| differencing).map(|header| ParentLink {
            uuid: Some(header.parent_uuid).filter(|uuid| !uuid.is_nil()),
            timestamp: header.parent_timestamp,
        }),
        virtual_size: footer.current_size,
        block_size: header.map(|header| header.block_size),
        hidden: footer.hidden != 0,
        written: None,
    }
}

/// Formats that need their end or their middle before their beginning, and those that are not read at all.
fn foreign(head: &[u8]) -> Option<&'static str> {
    let is_qcow2 = qcow2::Header::is_qcow2(head);
    source::foreign(head).or_else(|| is_qcow2.then_some("a qcow2 image"))
}
