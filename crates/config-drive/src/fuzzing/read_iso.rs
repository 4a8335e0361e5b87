//! A strict reader of ISO 9660 with Rock Ridge and Joliet, written from the standards and not from the
//! writer: it checks what lenient readers let pass.

use std::collections::{BTreeMap, BTreeSet};

/// What is on a volume.
#[derive(Debug)]
pub struct Volume {
    /// The label of the primary and of Joliet's descriptor.
    pub labels: [String; 2],
    /// Files by path, as Rock Ridge names them.
    pub rock_ridge: BTreeMap<String, Vec<u8>>,
    /// Files by path, as Joliet names them.
    pub joliet: BTreeMap<String, Vec<u8>>,
}

type Result<T> = std::result::Result<T, String>;

macro_rules! ensure {
    ($condition:expr, $($fault:tt)*) => {
        if !$condition { return Err(format!($($fault)*)) }
    };
}

/// Reads a volume whole.
///
/// # Errors
///
/// In words, the first rule that is broken.
pub fn read(image: &[u8]) -> Result<Volume> {
    ensure!(image[..32768].iter().all(|byte| *byte == 0), "the system area is not empty");
    let (primary, joliet, end) = (sector(image, 16)?, sector(image, 17)?, sector(image, 18)?);
    for (descriptor, kind) in [(primary, 1), (joliet, 2), (end, 255)] {
        ensure!(descriptor[0] == kind && &descriptor[1..7] == b"CD001\x01", "no descriptor {kind}");
    }
    ensure!(&joliet[88..91] == b"%/E", "the second descriptor is not Joliet's");
    let sectors = u32_both(&primary[80..88])?;
    ensure!(u32_both(&joliet[80..88])? == sectors, "the descriptors tell different sizes");
    ensure!(u64::from(sectors) * 2048 <= image.len() as u64, "the volume is longer than the image");
    let behind = &image[sectors as usize * 2048..];
    ensure!(behind.iter().all(|byte| *byte == 0), "something is behind the volume");
    Ok(Volume {
        labels: [ascii(&primary[40..72])?, ucs2(&joliet[40..72])?.trim_end().to_owned()],
        rock_ridge: Reader { image, sectors, is_joliet: false }.all(primary)?,
        joliet: Reader { image, sectors, is_joliet: true }.all(joliet)?,
    })
}

struct Reader<'a> {
    image: &'a [u8],
    sectors: u32,
    is_joliet: bool,
}

#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

struct Record<'a> {
    sector: u32,
    len: u32,
    is_directory: bool,
    identifier: &'a [u8],
    fields: &'a [u8],
}

impl<'a> Reader<'a> {
    fn all(&self, descriptor: &[u8]) -> Result<BTreeMap<String, Vec<u8>>> {
        let root = self.record(&descriptor[156..190])?;
        let table_len = u32_both(&descriptor[132..140])? as usize;
        let little = u32::from_le_bytes(descriptor[140..144].try_into().expect("4 bytes"));
        let big = u32::from_be_bytes(descriptor[148..152].try_into().expect("4 bytes"));
        let little = self.path_table(little, table_len, Order::Little)?;
        let big = self.path_table(big, table_len, Order::Big)?;
        ensure!(little == big, "the path tables differ");

        let mut files = BTreeMap::new();
        // As the path table has them: breadth first.
        let mut directories = vec![(root.sector, root.len, 1u16, vec![0u8], String::new(), root.sector)];
        let mut at = 0;
        while at < directories.len() {
            let (sector, len, _, _, path, parent) = directories[at].clone();
            at += 1;
            let number = u16::try_from(at).map_err(|_| "too many directories".to_owned())?;
            let mut previous: Option<Vec<u8>> = None;
            for record in self.directory(sector, len, parent)? {
                let name = if self.is_joliet { ucs2(record.identifier)? } else { self.name(&record)? };
                let path = if path.is_empty() { name } else { format!("{path}/{name}") };
                let key = sort_key(record.identifier, self.is_joliet);
                ensure!(previous.as_ref().is_none_or(|before| *before < key), "{path} is out of order");
                previous = Some(key);
                if record.is_directory {
                    directories.push((
                        record.sector,
                        record.len,
                        number,
                        record.identifier.to_vec(),
                        path,
                        sector,
                    ));
                } else {
                    ensure!(record.sector >= 19, "{path} begins at sector {}", record.sector);
                    let content = self.bytes(record.sector, record.len)?.to_vec();
                    ensure!(files.insert(path.clone(), content).is_none(), "{path} is there twice");
                }
            }
        }
        let expected: Vec<_> = directories.into_iter().map(|(s, _, p, id, ..)| (id, s, p)).collect();
        ensure!(little == expected, "the path table is not that of the directories");
        let starts: BTreeSet<_> = expected.iter().map(|(_, sector, _)| sector).collect();
        ensure!(starts.len() == expected.len(), "two directories share sectors");
        Ok(files)
    }

    /// The records but the first two, which are checked.
    fn directory(&self, sector: u32, len: u32, parent: u32) -> Result<Vec<Record<'a>>> {
        ensure!(len > 0 && len.is_multiple_of(2048), "a directory of {len} bytes");
        let mut records = Vec::new();
        for block in self.bytes(sector, len)?.chunks(2048) {
            let mut at = 0;
            while at < block.len() && block[at] != 0 {
                let end = at + usize::from(block[at]);
                ensure!(end <= block.len(), "a record crosses the end of a sector");
                ensure!(block[at] % 2 == 0, "a record of odd length");
                records.push(self.record(&block[at..end])?);
                at = end;
            }
            ensure!(block[at..].iter().all(|byte| *byte == 0), "something is behind the records");
        }
        ensure!(records.len() >= 2, "a directory without . and ..");
        let rest = records.split_off(2);
        for (record, identifier, expected) in [(&records[0], 0, sector), (&records[1], 1, parent)] {
            ensure!(record.identifier == [identifier], "no {identifier} where . or .. is expected");
            ensure!(record.sector == expected, "{identifier} points to sector {}", record.sector);
        }
        ensure!(records[0].len == len, ". has another length");
        if !self.is_joliet {
            let is_root = parent == sector && sector == self.root_sector()?;
            let mut fields = self.fields(records[0].fields)?.into_iter().map(|(kind, _)| kind);
            ensure!(fields.any(|kind| kind == *b"ER") == is_root, "ER is missing or misplaced");
        }
        Ok(rest)
    }

    fn root_sector(&self) -> Result<u32> {
        Ok(self.record(&sector(self.image, 16)?[156..190])?.sector)
    }

    fn record(&self, bytes: &'a [u8]) -> Result<Record<'a>> {
        let name_len = usize::from(bytes[32]);
        let fields_at = (33 + name_len).next_multiple_of(2);
        ensure!(fields_at <= bytes.len(), "a name longer than its record");
        ensure!(bytes[28..32] == [1, 0, 0, 1], "a volume number that is not 1");
        Ok(Record {
            sector: u32_both(&bytes[2..10])?,
            len: u32_both(&bytes[10..18])?,
            is_directory: bytes[25] & 2 == 2,
            identifier: &bytes[33..33 + name_len],
            fields: &bytes[fields_at..],
        })
    }

    fn bytes(&self, sector: u32, len: u32) -> Result<&'a [u8]> {
        let start = sector as usize * 2048;
        let end = start + len as usize;
        ensure!(end.div_ceil(2048) <= self.sectors as usize, "sector {sector} + {len} is outside the volume");
        Ok(&self.image[start..end])
    }

    /// The fields of Rock Ridge, with those that they continue in.
    fn fields(&self, mut area: &'a [u8]) -> Result<Vec<([u8; 2], &'a [u8])>> {
        let mut fields = Vec::new();
        let mut next = None;
        loop {
            while area.len() >= 4 && area[0] != 0 {
                let len = usize::from(area[2]);
                ensure!((4..=area.len()).contains(&len), "a field of {len} bytes in {}", area.len());
                let (field, rest) = area.split_at(len);
                if &field[..2] == b"CE" {
                    let [sector, offset, len] =
                        [u32_both(&field[4..12])?, u32_both(&field[12..20])?, u32_both(&field[20..28])?];
                    ensure!(offset + len <= 2048, "a continuation crosses the end of a sector");
                    ensure!(next.is_none(), "two continuations");
                    next = Some(&self.bytes(sector, 2048)?[offset as usize..(offset + len) as usize]);
                } else {
                    fields.push(([field[0], field[1]], &field[4..]));
                }
                area = rest;
            }
            ensure!(area.iter().all(|byte| *byte == 0), "something is behind the fields");
            match next.take() {
                Some(continued) => area = continued,
                None => return Ok(fields),
            }
        }
    }

    fn name(&self, record: &Record<'a>) -> Result<String> {
        let (mut name, mut continues, mut mode) = (Vec::new(), true, None);
        for (kind, payload) in self.fields(record.fields)? {
            match &kind {
                b"NM" => {
                    ensure!(continues, "a name goes on behind its end");
                    continues = payload[0] & 1 == 1;
                    name.extend(&payload[1..]);
                }
                b"PX" => mode = Some(u32_both(&payload[..8])?),
                b"TF" => {}
                other => return Err(format!("field {other:?}")),
            }
        }
        ensure!(!continues, "a name does not end");
        let expected = if record.is_directory { 0o040_555 } else { 0o100_444 };
        ensure!(mode == Some(expected), "mode {mode:?}");
        let plain = |c: &u8| c.is_ascii_uppercase() || c.is_ascii_digit() || b"_.;".contains(c);
        ensure!(record.identifier.iter().all(plain) && record.identifier.len() <= 33, "not a plain name");
        ensure!(record.is_directory != record.identifier.ends_with(b";1"), "a version where none belongs");
        String::from_utf8(name).map_err(|_| "a name is not UTF-8".to_owned())
    }

    fn path_table(&self, sector: u32, len: usize, order: Order) -> Result<Vec<(Vec<u8>, u32, u16)>> {
        let mut table = self.bytes(sector, len as u32)?;
        let mut entries = Vec::new();
        while let [name_len, _, a, b, c, d, low, high, ..] = *table {
            let name_end = 8 + usize::from(name_len);
            let (sector, parent) = match order {
                Order::Little => (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([low, high])),
                Order::Big => (u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([low, high])),
            };
            entries.push((table[8..name_end].to_vec(), sector, parent));
            table = &table[name_end.next_multiple_of(2)..];
        }
        ensure!(table.is_empty(), "a path table ends inside an entry");
        Ok(entries)
    }
}

fn sort_key(identifier: &[u8], is_joliet: bool) -> Vec<u8> {
    if is_joliet {
        return identifier.to_vec();
    }
    let plain = identifier.split(|c| *c == b';').next().unwrap_or_default();
    let (stem, extension) = match plain.iter().position(|c| *c == b'.') {
        Some(dot) => (&plain[..dot], &plain[dot + 1..]),
        None => (plain, &[][..]),
    };
    let mut key = stem.to_vec();
    key.resize(32, b' ');
    key.extend(extension);
    key
}

fn sector(image: &[u8], number: usize) -> Result<&[u8]> {
    image.get(number * 2048..(number + 1) * 2048).ok_or_else(|| format!("no sector {number}"))
}

fn u32_both(bytes: &[u8]) -> Result<u32> {
    let (little, big) = bytes.split_at(4);
    let little = u32::from_le_bytes(little.try_into().expect("4 bytes"));
    let big = u32::from_be_bytes(big.try_into().expect("4 bytes"));
    ensure!(little == big, "{little} in one byte order is {big} in the other");
    Ok(little)
}

fn ascii(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map(|text| text.trim_end().to_owned()).map_err(|e| e.to_string())
}

fn ucs2(bytes: &[u8]) -> Result<String> {
    ensure!(bytes.len().is_multiple_of(2), "UCS-2 of odd length");
    let units: Vec<_> = bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    String::from_utf16(&units).map_err(|error| error.to_string())
}
