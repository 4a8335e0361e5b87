//! The first table of an image: where its second tables are.

use std::ops::Range;

use crate::cluster::OFFSET;
use crate::header::Header;
use crate::{Error, Limits, ReadError};

/// Bytes of the table that are read at a time to check all of it.
const PIECE: usize = 64 << 10;
/// Bytes of a table that is not in memory which are read where one entry is asked for.
const WINDOW: u64 = 16 << 10;
/// Clusters of the file that 16 bits tell apart, as an exponent.
const GROUP_BITS: u32 = 16;
/// Most groups of clusters; the table of a larger file (16 TiB in clusters of 2 KiB) is in memory.
const MOST_GROUPS: u64 = 1 << 17;
/// Parts of a group.
const PARTS: usize = 256;

/// What an entry has to keep to.
#[derive(Debug)]
pub(crate) struct Rules {
    cluster_bits: u32,
    /// Where the first table is.
    own: Range<u64>,
    /// Length of the file.
    len: u64,
}

impl Rules {
    pub(crate) fn of(header: &Header, len: u64) -> Self {
        Self { cluster_bits: header.cluster_bits, own: header.l1_range(), len }
    }

    fn entries(&self) -> u64 {
        (self.own.end - self.own.start) / 8
    }

    /// Where the table is that an entry names; 0: there is none.
    fn check(&self, index: u64, entry: u64) -> Result<u64, Error> {
        let wrong = |why| wrong(index, entry, why);
        let size = 1 << self.cluster_bits;
        let offset = entry & OFFSET;
        let end = offset + size;
        if entry & !(OFFSET | 1 << 63) != 0 {
            return Err(wrong("reserved bits are set"));
        }
        if !offset.is_multiple_of(size) {
            return Err(wrong("it is not at the start of a cluster"));
        }
        if offset != 0 && (offset < self.own.end && self.own.start < end) {
            return Err(wrong("the table would overlap the L1 table"));
        }
        if offset != 0 && end > self.len {
            return Err(Error::Truncated { what: "L2 table", at: self.len, missing: end - self.len });
        }
        Ok(offset)
    }

    /// Calls `take` with each entry: its number and the table that it names.
    fn each<E>(
        &self,
        mut read_at: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
        mut take: impl FnMut(u64, u64) -> Result<(), Error>,
    ) -> Result<(), ReadError<E>> {
        let (mut bytes, mut index) = (vec![0; PIECE], 0);
        for at in self.own.clone().step_by(PIECE) {
            // At most a piece.
            let piece = &mut bytes[..usize::try_from(self.own.end - at).unwrap_or(PIECE).min(PIECE)];
            read_at(at, piece).map_err(ReadError::Io)?;
            for entry in words(piece) {
                take(index, self.check(index, entry)?)?;
                index += 1;
            }
        }
        Ok(())
    }
}

fn wrong(index: u64, entry: u64, why: &'static str) -> Error {
    Error::L1Entry { index: u32::try_from(index).unwrap_or(u32::MAX), entry, why }
}

fn changed(index: u64, entry: u64) -> Error {
    wrong(index, entry, "it is not what it was when the image was opened")
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.as_chunks::<8>().0.iter().map(|entry| u64::from_be_bytes(*entry))
}

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The table is at this byte of the file.
    Table(u64),
    /// There is none, nor have the entries behind it one, so many in all.
    Nothing { entries: u64 },
}

/// The table, in memory or in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum First {
    Kept {
        /// Offsets; 0 where there is no table.
        l1: Vec<u64>,
        /// The same without the zeros, ascending.
        tables: Vec<u64>,
    },
    InFile(Places),
}

impl First {
    pub(crate) fn read<E>(
        rules: &Rules,
        limits: &Limits,
        mut read_at: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Self, ReadError<E>> {
        if rules.entries() > u64::from(limits.kept_entries)
            && let Some(places) = Places::read(rules, &mut read_at)?
        {
            return Ok(Self::InFile(places));
        }
        let mut l1 = reserved(rules);
        rules.each(read_at, |_, offset| {
            l1.push(offset);
            Ok(())
        })?;
        Ok(Self::of(l1)?)
    }

    pub(crate) fn new(rules: &Rules, bytes: &[u8]) -> Result<Self, Error> {
        let mut l1 = reserved(rules);
        for (entry, index) in words(bytes).zip(0..) {
            l1.push(rules.check(index, entry)?);
        }
        Self::of(l1)
    }

    fn of(l1: Vec<u64>) -> Result<Self, Error> {
        let present = l1.iter().filter(|offset| **offset != 0);
        let mut tables = Vec::with_capacity(present.clone().count());
        tables.extend(present);
        tables.sort_unstable();
        if let Some(twice) = tables.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]) {
            let index = l1.iter().rposition(|offset| *offset == twice).unwrap_or_default();
            return Err(same(index as u64, twice));
        }
        Ok(Self::Kept { l1, tables })
    }

    /// All entries, and all tables in the order of the file, where they are in memory.
    pub(crate) fn kept(&self) -> Option<(&[u64], &[u64])> {
        match self {
            Self::Kept { l1, tables } => Some((l1, tables)),
            Self::InFile(_) => None,
        }
    }

    /// Whether there is a second table at this byte of the file.
    pub(crate) fn has(&self, offset: u64, cluster_bits: u32) -> bool {
        match self {
            Self::Kept { tables, .. } => tables.binary_search(&offset).is_ok(),
            Self::InFile(places) => places.has(offset >> cluster_bits),
        }
    }

    pub(crate) fn kept_entry(&self, index: u64) -> Option<Entry> {
        let (l1, _) = self.kept()?;
        let from = l1.get(usize::try_from(index).ok()?..)?;
        Some(match *from.first()? {
            0 => Entry::Nothing { entries: from.iter().take_while(|offset| **offset == 0).count() as u64 },
            offset => Entry::Table(offset),
        })
    }

    pub(crate) fn entry<E>(
        &self,
        rules: &Rules,
        index: u64,
        window: &mut Window,
        read_at: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Option<Entry>, ReadError<E>> {
        let Self::InFile(places) = self else { return Ok(self.kept_entry(index)) };
        if index >= rules.entries() {
            return Ok(None);
        }
        let mut entries = window.from(rules, index, read_at)?;
        let word = entries.next().unwrap_or_default();
        let offset = rules.check(index, word).map_err(|_| changed(index, word))?;
        if offset == 0 {
            let more = entries.take_while(|word| word & !(1 << 63) == 0).count() as u64;
            return Ok(Some(Entry::Nothing { entries: 1 + more }));
        }
        if !places.has(offset >> rules.cluster_bits) {
            return Err(changed(index, word).into());
        }
        Ok(Some(Entry::Table(offset)))
    }
}

/// Room for all entries, which the limits bound.
fn reserved(rules: &Rules) -> Vec<u64> {
    Vec::with_capacity(usize::try_from(rules.entries()).unwrap_or(usize::MAX))
}

fn same(index: u64, entry: u64) -> Error {
    wrong(index, entry, "another entry has the same table")
}

/// Part of a first table that is not in memory: what was read last.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// Where it is in the table, in bytes.
    at: Option<u64>,
    bytes: Vec<u8>,
}

impl Window {
    /// The entries from this one on, as many as are at hand.
    fn from<E>(
        &mut self,
        rules: &Rules,
        index: u64,
        mut read_at: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<impl Iterator<Item = u64> + '_, ReadError<E>> {
        let byte = index * 8;
        let start = byte - byte % WINDOW;
        if self.at != Some(start) {
            // Half-read bytes are nobody's.
            self.at = None;
            let len = (rules.own.end - rules.own.start - start).min(WINDOW);
            self.bytes.resize(usize::try_from(len).unwrap_or_default(), 0);
            read_at(rules.own.start + start, &mut self.bytes).map_err(ReadError::Io)?;
            self.at = Some(start);
        }
        Ok(words(&self.bytes[usize::try_from(byte - start).unwrap_or_default()..]))
    }
}

/// The clusters of a file in which second tables are, in 10 bits each where every 257th is one. Clusters are in groups, by
/// all but their low 16 bits, and these in 256 parts; of a table, its group and part are told by where its bit is, and the low 8 bits
/// by a byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// How many tables there are before each group, and in all.
    starts: Vec<u32>,
    /// The parts, one after the other: a bit for each table in it, and a zero at its end.
    parts: Vec<u64>,
    /// Two low bytes each, in the order of the tables in the file.
    low: Vec<u16>,
}

impl Places {
    /// Reads the table twice, to count and to sort; `None`: the file has too many clusters.
    fn read<E>(
        rules: &Rules,
        mut read_at: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Option<Self>, ReadError<E>> {
        let groups = (rules.len >> rules.cluster_bits >> GROUP_BITS) + 1;
        if groups > MOST_GROUPS {
            return Ok(None);
        }
        let group =
            |offset: u64| usize::try_from(offset >> rules.cluster_bits >> GROUP_BITS).unwrap_or(usize::MAX);
        // The number of a group's clusters is noted two groups further, so that each start has moved to its place when all
        // are filled in.
        let mut starts = vec![0_u32; usize::try_from(groups).unwrap_or_default() + 2];
        rules.each(&mut read_at, |_, offset| {
            if offset != 0 {
                starts[group(offset) + 2] += 1;
            }
            Ok(())
        })?;
        let mut all = 0;
        for start in &mut starts {
            all += *start;
            *start = all;
        }
        let mut low = vec![0; all as usize];
        rules.each(&mut read_at, |index, offset| {
            if offset != 0 {
                let next = &mut starts[group(offset) + 1];
                let place = low.get_mut(*next as usize).ok_or_else(|| changed(index, offset))?;
                // The low bits are wanted.
                *place = (offset >> rules.cluster_bits) as u16;
                *next += 1;
            }
            Ok(())
        })?;
        starts.pop();
        if let Some(twice) = sort(&starts, &mut low)? {
            return Err(twice_at(rules, twice << rules.cluster_bits, read_at));
        }
        Ok(Some(Self::packed(starts, low)))
    }

    /// Packs the low 16 bits of clusters, in the place where they are.
    fn packed(starts: Vec<u32>, mut low: Vec<u16>) -> Self {
        let mut parts = vec![0_u64; (low.len() + starts.len() * PARTS) / 64 + 1];
        for (group, bounds) in starts.windows(2).enumerate() {
            for index in bounds[0] as usize..bounds[1] as usize {
                let [byte, part] = low[index].to_le_bytes();
                let bit = index + group * PARTS + usize::from(part);
                parts[bit / 64] |= 1 << (bit % 64);
                let pair = low[index / 2].to_le_bytes();
                low[index / 2] = u16::from_le_bytes(if index % 2 == 0 { [byte, 0] } else { [pair[0], byte] });
            }
        }
        low.truncate(low.len().div_ceil(2));
        low.shrink_to_fit();
        Self { starts, parts, low }
    }

    fn has(&self, cluster: u64) -> bool {
        let group = usize::try_from(cluster >> GROUP_BITS).unwrap_or(usize::MAX);
        // There is an end behind the last group.
        if group >= self.starts.len() - 1 {
            return false;
        }
        let [byte, part, ..] = cluster.to_le_bytes();
        let before = group * PARTS;
        let first = self.behind(self.starts[group] as usize + before, part.into());
        let tables = (first..).take_while(|bit| self.parts[bit / 64] >> (bit % 64) & 1 != 0);
        tables
            .map(|bit| bit - before - usize::from(part))
            .any(|index| self.low[index / 2].to_le_bytes()[index % 2] == byte)
    }

    /// The bit behind so many zeros, from this bit on.
    fn behind(&self, mut bit: usize, mut zeros: u32) -> usize {
        while zeros > 0 {
            let word = self.parts[bit / 64] >> (bit % 64);
            let len = 64 - bit % 64;
            // What was shifted in is zero.
            let here = u32::try_from(len).unwrap_or(64) - word.count_ones();
            if here < zeros {
                zeros -= here;
                bit += len;
            } else {
                zeros -= u32::from(word & 1 == 0);
                bit += 1;
            }
        }
        bit
    }
}

/// Orders the clusters of each group; returns the first one that is there twice.
fn sort(starts: &[u32], low: &mut [u16]) -> Result<Option<u64>, Error> {
    for (bounds, group) in starts.windows(2).zip(0_u64..) {
        let range = bounds[0] as usize..bounds[1] as usize;
        // The table had other entries when it was read again.
        let own = low.get_mut(range).ok_or_else(|| changed(0, group << GROUP_BITS))?;
        own.sort_unstable();
        if let Some(pair) = own.windows(2).find(|pair| pair[0] == pair[1]) {
            return Ok(Some(group << GROUP_BITS | u64::from(pair[0])));
        }
    }
    Ok(None)
}

/// The last entry that has this table, which another one has, too.
fn twice_at<E>(
    rules: &Rules,
    twice: u64,
    read_at: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> ReadError<E> {
    let mut last = 0;
    let found = rules.each(read_at, |index, offset| {
        if offset == twice {
            last = index;
        }
        Ok(())
    });
    found.map_or_else(|error| error, |()| same(last, twice).into())
}
